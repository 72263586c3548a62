/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hypercalls.c - what hypercalls need of the machine: where a guest's addresses lead, and
 * how often its vCPUs came out.
 *
 * EXITS are counted here and not by engines: an access to a port or to memory-mapped
 * registers counts once, wherever it came from, so that a guest sees the same figures on
 * each engine. Halts, interrupt windows and kicks are the engine's business and do not
 * count.
 */
#include "device/hypercall.h"

#include <errno.h>

#include "machine/impl.h"
#include "memory/memory.h"
#include "x86/mmu.h"

static int read_entry(void *opaque, gpa_t at, uint64_t *value)
{
    return memory_read(opaque, at, value, sizeof *value);
}

/* In the vCPU's own thread. */
static int translate(void *opaque, unsigned vcpu, gva_t a, gpa_t *out)
{
    struct machine *m = opaque;
    struct engine_vcpu *e = m->vcpu[vcpu].engine;
    struct x86_walk walk = {0};
    struct x86_state s;

    if (e->ops->get_state(e, &s) != 0)
        return -EFAULT;
    x86_walk(&s, a, read_entry, m->memory, &walk);
    if (!walk.mapped)
        return -EFAULT;
    *out = walk.phys;
    return 0;
}

void machine_exits(struct machine *m, uint64_t out[HYPERCALL_EXITS])
{
    for (unsigned i = 0; i < HYPERCALL_EXITS; i++) {
        out[i] = 0;
        for (unsigned n = 0; n < m->cpus; n++)
            out[i] += atomic_load_explicit(&m->vcpu[n].exits[i], memory_order_relaxed);
    }
}

uint64_t machine_exit_count(struct machine *m)
{
    uint64_t count[HYPERCALL_EXITS], sum = 0;

    machine_exits(m, count);
    for (unsigned i = 0; i < HYPERCALL_EXITS; i++)
        sum += count[i];
    return sum;
}

static void exits(void *opaque, uint64_t out[HYPERCALL_EXITS])
{
    machine_exits(opaque, out);
}

int machine_add_hypercalls(struct machine *m, const struct device_env *env,
                           const struct hypercall_config *partial, struct error **err)
{
    const struct machine_serial *to = m->config.debugcon.write ? &m->config.debugcon
                                                               : &m->config.serial;
    struct hypercall_config cfg = *partial;
    struct device *dev;

    cfg.moved = m->config.hypercall_ports;
    cfg.cpus = m->cpus;
    cfg.translate = translate;
    cfg.exits = exits;
    cfg.machine = m;
    cfg.print = to->write;
    cfg.print_opaque = to->opaque;
    dev = hypercalls_new(env, &cfg, err);
    if (!dev)
        return -EINVAL;
    machine_add_device(m, dev);
    m->hypercalls = hypercalls_of(dev);
    return 0;
}
