/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug.c - `explain`, `step`, `break`, `watch`, `delete`, `info breakpoints`: a debugger
 * at the monitor's prompt, beside GDB's (gdb.h) and with the same points.
 */
#include "control/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "bus/bus.h"
#include "control/info.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "x86/mmu.h"

static int address_of(struct machine *m, const char *text, struct x86_state *s, uint64_t *at,
                      struct strbuf *out)
{
    if (machine_vcpu_state(m, 0, s) < 0)
        return command_refuse(out, "cannot read the registers of vCPU 0");
    if (command_address(text, s, at) < 0)
        return command_refuse(out, "'%s' is not an address; for example 0x1000, $rip, $rsp+8",
                              text);
    return 0;
}

/* ---- explain ------------------------------------------------------------- */

static int read_table_entry(void *opaque, gpa_t at, uint64_t *value)
{
    return memory_read(opaque, at, value, sizeof *value);
}

static const struct memory_region *region_of(struct machine *m, gpa_t a)
{
    size_t n;
    const struct memory_region *r = memory_regions(machine_memory(m), &n);

    for (size_t i = 0; i < n; i++)
        if (a.v >= r[i].base.v && a.v - r[i].base.v < r[i].size_bytes)
            return &r[i];
    return NULL;
}

static void explain_physical(struct machine *m, gpa_t a, struct strbuf *out)
{
    struct bus *bus = machine_bus(m);
    const struct memory_region *r = region_of(m, a);
    const struct bus_region *device;

    if (r) {
        strbuf_addf(out, "GPA 0x%" PRIx64 ": region '%s' (slot %d) at 0x%" PRIx64 ", %" PRIu64
                    " KiB%s, offset 0x%" PRIx64 "\n", a.v, r->name, r->slot, r->base.v,
                    r->size_bytes >> 10, r->flags & MEMORY_READONLY ? ", read-only" : "",
                    a.v - r->base.v);
        strbuf_addf(out, "HVA %p\n", (void *)(r->host.p + (a.v - r->base.v)));
        return;
    }
    pthread_mutex_lock(bus_lock(bus));
    device = bus_find(bus, BUS_MMIO, a.v);
    if (device)
        strbuf_addf(out, "GPA 0x%" PRIx64 ": no memory but a device, '%s', offset 0x%" PRIx64
                    ": every access is an exit\n", a.v, device->name, a.v - device->base);
    else
        strbuf_addf(out, "GPA 0x%" PRIx64 ": nothing is there: reads give ones, writes vanish\n",
                    a.v);
    pthread_mutex_unlock(bus_lock(bus));
}

static void explain_entry(const struct x86_walk_step *step, struct strbuf *out)
{
    uint64_t e = step->value;

    strbuf_addf(out, "  %-5s at GPA 0x%-12" PRIx64 " = 0x%016" PRIx64 " %s%s%s%s%s%s\n",
                step->level, step->entry.v, e, e & 1 ? "present" : "not present",
                e & 1 && e & 2 ? " write" : "", e & 1 && e & 4 ? " user" : "",
                e & 1 && e & 0x20 ? " accessed" : "", e & 1 && e & 0x40 ? " dirty" : "",
                e & 1 && e >> 63 ? " no-execute" : "");
}

int command_explain(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct x86_walk walk = {0};
    struct x86_state s;
    uint64_t at;
    int rc;

    if (argc != 2)
        return command_refuse(out, "explain which ADDRESS? For example 'explain $rip'");
    rc = address_of(m, argv[1], &s, &at, out);
    if (rc)
        return rc;
    x86_walk(&s, gva(at), read_table_entry, machine_memory(m), &walk);
    strbuf_addf(out, "GVA 0x%" PRIx64 ", CR3 0x%" PRIx64 "%s\n", at, s.cr3,
                s.cr0 & X86_CR0_PG ? "" : ", paging is off: linear is physical");
    for (unsigned i = 0; i < walk.steps; i++)
        explain_entry(&walk.step[i], out);
    if (!walk.mapped) {
        strbuf_addf(out, "not mapped: an access is a page fault\n");
        return 0;
    }
    if (s.cr0 & X86_CR0_PG)
        strbuf_addf(out, "page of %" PRIu64 " KiB: read%s%s, for %s\n", walk.page_bytes >> 10,
                    walk.writable ? ", write" : "", walk.executable ? ", execute" : "",
                    walk.user ? "everybody" : "the kernel");
    explain_physical(m, walk.phys, out);
    return 0;
}

/* ---- points and steps ---------------------------------------------------- */

int command_step(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    uint64_t n = 0;

    if (argc > 2 || (argc == 2 && str_parse_number(argv[1], &n) < 0) || n >= machine_cpus(m))
        return command_refuse(out, "step [VCPU]: which of 0 to %u", machine_cpus(m) - 1);
    if (!machine_paused(m))
        return command_refuse(out, "the machine runs; 'pause' first");
    machine_debug_go(m, (unsigned)n, true);
    return 0;
}

static int add_point(struct machine *m, const struct x86_point *p, struct strbuf *out)
{
    bool paused = machine_paused(m);
    int rc;

    machine_pause(m);
    rc = machine_point_add(m, p);
    if (!paused)
        machine_resume(m);
    if (rc == -EOPNOTSUPP)
        return command_refuse(out, "this engine cannot watch data; '--engine dbt' can");
    return rc ? command_refuse(out, "there are %d points already", X86_POINTS_MAX) : 0;
}

int command_break(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct x86_point p = {.kind = X86_POINT_EXECUTE};
    struct x86_state s;
    int rc;

    if (argc != 2)
        return command_refuse(out, "break at which ADDRESS?");
    rc = address_of(m, argv[1], &s, &p.address, out);
    return rc ? rc : add_point(m, &p, out);
}

int command_watch(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct x86_point p = {.kind = X86_POINT_WRITE, .bytes = 8};
    struct x86_state s;
    int rc;

    if (argc < 2 || argc > 3 ||
        (argc == 3 && (str_parse_number(argv[2], &p.bytes) < 0 || !p.bytes ||
                       p.bytes > PAGE_SIZE)))
        return command_refuse(out, "watch ADDRESS [BYTES]: stop after a write to it");
    rc = address_of(m, argv[1], &s, &p.address, out);
    return rc ? rc : add_point(m, &p, out);
}

int command_delete(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    bool paused = machine_paused(m);
    const struct x86_debugger *d = machine_points(m);
    uint64_t n;

    if (argc != 2 || str_parse_number(argv[1], &n) < 0 || n >= d->points)
        return command_refuse(out, "delete which NUMBER? 'info breakpoints' lists them");
    machine_pause(m);
    const struct x86_point p = d->point[n];
    machine_point_remove(m, &p);
    if (!paused)
        machine_resume(m);
    return 0;
}

int info_breakpoints(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    static const char *const kinds[] = {"execute", "write", "read", "access"};
    const struct x86_debugger *d = machine_points(m);

    for (unsigned i = 0; i < d->points; i++) {
        const struct x86_point *p = &d->point[i];

        strbuf_addf(out, "%2u  %-8s 0x%016" PRIx64, i, kinds[p->kind], p->address);
        if (p->kind != X86_POINT_EXECUTE)
            strbuf_addf(out, " %" PRIu64 " bytes", p->bytes);
        strbuf_addf(out, "\n");
    }
    if (!d->points)
        strbuf_addf(out, "none\n");
    return 0;
}
