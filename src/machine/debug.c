/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug.c - a machine under a debugger: points to stop at, steps, and how a stop travels.
 *
 * A vCPU that is to stop closes the gate itself (GATE_DEBUG), so that it executes nothing
 * more, and posts work: the loop's thread pauses the machine as a person would, then tells
 * the debugger. Of two that stop together the second finds the gate closed; it stands at
 * its point and stops there again when the first has gone on.
 *
 * Engines that cannot look for points are led by the hand, an instruction at a time.
 */
#include "machine/impl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "memory/memory.h"
#include "x86/mmu.h"

static bool looks_itself(const struct machine *m)
{
    return m->vm->caps & ENGINE_CAP_DEBUGGER;
}

uint64_t debug_budget(const struct machine_vcpu *v)
{
    const struct machine *m = v->machine;

    return v->stepping || (m->points.points && !looks_itself(m)) ? 1 : 0;
}

static void tell(void *opaque)
{
    struct machine *m = opaque;
    struct machine_stop stop;

    gate_wait(m);
    stop = m->stopped;
    machine_pause(m);
    for (unsigned i = 0; i < m->cpus; i++)
        m->vcpu[i].stepping = m->vcpu[i].frozen = false;
    atomic_store(&m->stopped_vcpu, 0);
    gate_open(m, GATE_DEBUG);
    if (m->debugger.stopped)
        m->debugger.stopped(m->debugger.opaque, &stop);
    else if (stop.reason != MACHINE_STOP_STEP)
        log_info(m->log, "vCPU %u: %s; the machine is paused", stop.vcpu,
                 stop.reason == MACHINE_STOP_SHUTDOWN ? "triple fault" : "stopped at a point");
}

static bool stop(struct machine_vcpu *v, enum machine_stop_reason reason)
{
    struct machine *m = v->machine;
    int none = 0;

    if (!atomic_compare_exchange_strong(&m->stopped_vcpu, &none, (int)v->engine->index + 1))
        return true;
    m->stopped = (struct machine_stop){.vcpu = v->engine->index, .reason = reason,
                                       .hit = v->engine->debugger_hit};
    gate_close(m, GATE_DEBUG);
    loop_post(m->loop, tell, m);
    return true;
}

/* After one instruction on an engine that does not look itself. */
static bool at_point(struct machine_vcpu *v)
{
    const struct x86_debugger *d = &v->machine->points;
    struct x86_state s;

    if (!d->points || v->engine->ops->get_state(v->engine, &s) < 0)
        return false;
    if (!(s.seg[X86_CS].attr & X86_ATTR_L))
        s.rip = (s.rip + s.seg[X86_CS].base) & UINT32_MAX;
    for (unsigned i = 0; i < d->points; i++) {
        if (d->point[i].address != s.rip)
            continue;
        v->engine->debugger_hit = (struct x86_debugger_hit){true, X86_POINT_EXECUTE, s.rip};
        return true;
    }
    return false;
}

bool debug_stopped(struct machine_vcpu *v, enum engine_exit why)
{
    if (why == ENGINE_DEBUG)
        return stop(v, v->engine->debugger_hit.hit ? MACHINE_STOP_POINT : MACHINE_STOP_STEP);
    if (why != ENGINE_BUDGET)
        return false;
    if (v->stepping)
        return stop(v, MACHINE_STOP_STEP);
    return at_point(v) && stop(v, MACHINE_STOP_POINT);
}

bool debug_shutdown(struct machine_vcpu *v)
{
    return (v->machine->debugger.stopped || v->machine->config.pause_on_triple_fault) &&
           stop(v, MACHINE_STOP_SHUTDOWN);
}

/* ---- the debugger's side ------------------------------------------------- */

/* Pages that are, or were, watched leave every TLB. */
static void points_changed(struct machine *m)
{
    for (unsigned i = 0; i < m->cpus; i++) {
        struct engine_vcpu *e = m->vcpu[i].engine;
        struct x86_state s;

        if (e->ops->get_state(e, &s) == 0)
            e->ops->set_state(e, &s);
    }
    m->vm->debugger = m->points.points && looks_itself(m) ? &m->points : NULL;
}

void machine_debugger_set(struct machine *m, const struct machine_debugger *d)
{
    m->debugger = d ? *d : (struct machine_debugger){0};
    if (!d) {
        m->points.points = 0;
        points_changed(m);
    }
}

int machine_point_add(struct machine *m, const struct x86_point *p)
{
    if (p->kind != X86_POINT_EXECUTE && !looks_itself(m))
        return -EOPNOTSUPP;
    if (m->points.points == X86_POINTS_MAX)
        return -ENOSPC;
    m->points.point[m->points.points++] = *p;
    points_changed(m);
    return 0;
}

int machine_point_remove(struct machine *m, const struct x86_point *p)
{
    struct x86_debugger *d = &m->points;

    for (unsigned i = 0; i < d->points; i++) {
        struct x86_point *at = &d->point[i];

        if (at->kind != p->kind || at->address != p->address || at->bytes != p->bytes)
            continue;
        *at = d->point[--d->points];
        points_changed(m);
        return 0;
    }
    return -ENOENT;
}

const struct x86_debugger *machine_points(const struct machine *m)
{
    return &m->points;
}

void machine_debug_go(struct machine *m, unsigned only, bool step)
{
    for (unsigned i = 0; i < m->cpus; i++) {
        m->vcpu[i].frozen = only != UINT_MAX && i != only;
        m->vcpu[i].stepping = step && !m->vcpu[i].frozen;
    }
    machine_resume(m);
}

int machine_vcpu_set_state(struct machine *m, unsigned index, const struct x86_state *in)
{
    struct engine_vcpu *e = machine_vcpu(m, index);

    return e ? e->ops->set_state(e, in) : -EINVAL;
}

static int read_table_entry(void *opaque, gpa_t at, uint64_t *value)
{
    return memory_read(opaque, at, value, sizeof *value);
}

/* Page by page: to `to`, or, if that is NULL, from `from`. */
static size_t copy_virtual(struct machine *m, const struct x86_state *s, gva_t a, uint8_t *to,
                           const uint8_t *from, size_t len)
{
    size_t done = 0;

    while (done < len) {
        gva_t at = gva_add(a, done);
        size_t chunk = min_u64(len - done, PAGE_SIZE - (at.v & PAGE_OFFSET_MASK));
        struct x86_walk walk = {0};

        x86_walk(s, at, read_table_entry, m->memory, &walk);
        if (!walk.mapped || (to ? memory_read(m->memory, walk.phys, to + done, chunk)
                                : memory_write(m->memory, walk.phys, from + done, chunk)) != 0)
            break;
        done += chunk;
    }
    return done;
}

size_t machine_read_virtual(struct machine *m, const struct x86_state *s, gva_t a, void *buf,
                            size_t len)
{
    return copy_virtual(m, s, a, buf, NULL, len);
}

size_t machine_write_virtual(struct machine *m, const struct x86_state *s, gva_t a,
                             const void *buf, size_t len)
{
    return copy_virtual(m, s, a, NULL, buf, len);
}
