/* SPDX-License-Identifier: GPL-2.0-or-later */
/* debugger.c - see debugger.h. */
#include "x86/debugger.h"

#include "x86/cpu.h"

bool x86_debugger_stops(struct x86_cpu *cpu, struct x86_debugger_hit *hit)
{
    const struct x86_debugger *d = cpu->debugger;
    uint64_t at = cpu->s.rip;
    bool passed = cpu->debugger_pass;

    *hit = cpu->debugger_hit;
    cpu->debugger_hit.hit = cpu->debugger_pass = false;
    if (cpu->mode.code_bits != 64)
        at = (at + cpu->s.seg[X86_CS].base) & UINT32_MAX;
    if (hit->hit) {                  /* an execution point here has had its stop, too */
        cpu->debugger_pass = true;
        cpu->debugger_at = at;
        return true;
    }
    if (passed && at == cpu->debugger_at)
        return false;
    for (unsigned i = 0; i < d->points; i++) {
        if (d->point[i].kind != X86_POINT_EXECUTE || d->point[i].address != at)
            continue;
        cpu->debugger_pass = true;
        cpu->debugger_at = at;
        *hit = (struct x86_debugger_hit){true, X86_POINT_EXECUTE, at};
        return true;
    }
    return false;
}

bool x86_debugger_watches(const struct x86_debugger *d, uint64_t page)
{
    for (unsigned i = 0; i < d->points; i++) {
        const struct x86_point *p = &d->point[i];

        if (p->kind != X86_POINT_EXECUTE && p->bytes && (p->address & PAGE_MASK) <= page &&
            page <= ((p->address + p->bytes - 1) & PAGE_MASK))
            return true;
    }
    return false;
}

void x86_debugger_access(struct x86_cpu *cpu, gva_t a, unsigned len, bool write)
{
    const struct x86_debugger *d = cpu->debugger;

    for (unsigned i = 0; i < d->points; i++) {
        const struct x86_point *p = &d->point[i];
        bool wanted = p->kind == X86_POINT_ACCESS ||
                      p->kind == (write ? X86_POINT_WRITE : X86_POINT_READ);

        if (wanted && a.v < p->address + p->bytes && p->address < a.v + len)
            cpu->debugger_hit = (struct x86_debugger_hit){true, p->kind, p->address};
    }
}
