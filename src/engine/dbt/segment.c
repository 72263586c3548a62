/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segment.c - segment registers outside 64-bit mode: what translated code knows of
 * them. In real and virtual-8086 mode it loads them, too: such a load cannot fail and
 * changes nothing that blocks depend on.
 */
#include "engine/dbt/system.h"

#include "x86/segment.h"

/* How much of it may be accessed from its beginning on. Of segments that expand down
 * nothing: the interpreter accesses them. */
static uint64_t room(const struct x86_mode *m, const struct x86_segment *seg, bool write)
{
    bool code = seg->attr & X86_SEG_CODE, allowed = seg->attr & X86_SEG_WRITABLE;

    if (m->protected_mode && ((seg->attr & X86_ATTR_UNUSABLE) || (code && (write || !allowed)) ||
                              (!code && ((write && !allowed) || seg->attr & X86_SEG_DOWN))))
        return 0;
    return seg->limit + 1ull;
}

static void segment_in(const struct x86_cpu *cpu, struct dbt_frame *f, unsigned i)
{
    const struct x86_segment *seg = &cpu->s.seg[i];

    f->seg_base[i] = seg->base;
    f->seg_selector[i] = seg->selector;
    f->seg_room[0][i] = -room(&cpu->mode, seg, false);
    f->seg_room[1][i] = -room(&cpu->mode, seg, true);
}

void dbt_segments_in(const struct x86_cpu *cpu, struct dbt_frame *f)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        segment_in(cpu, f, i);
}

/* Loading one in real mode keeps everything but selector and base, if the rest is as
 * such a load leaves it. */
static bool loaded_real(const struct x86_segment *seg)
{
    uint32_t kept = X86_ATTR_DB | X86_ATTR_G | X86_ATTR_AVL | X86_ATTR_DPL;

    return (seg->attr & ~kept) == (X86_SEG_WRITABLE | X86_SEG_ACCESSED | X86_ATTR_S | X86_ATTR_P);
}

bool dbt_segments_real(const struct x86_cpu *cpu)
{
    const struct x86_segment *seg = cpu->s.seg;
    uint32_t vm86 = cpu->mode.vm86 ? X86_ATTR_DPL : 0;

    if (cpu->mode.protected_mode)
        return false;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        if (i == X86_CS || i == X86_SS)
            continue;
        if (!loaded_real(&seg[i]) || (seg[i].attr & X86_ATTR_DPL) != vm86 ||
            (vm86 && (seg[i].limit != UINT16_MAX || seg[i].attr & (X86_ATTR_DB | X86_ATTR_G |
                                                                   X86_ATTR_AVL))))
            return false;
    }
    return true;
}

void dbt_segments_out(struct x86_cpu *cpu, const struct dbt_frame *f)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        cpu->s.seg[i].selector = (uint16_t)f->seg_selector[i];
        cpu->s.seg[i].base = f->seg_base[i];
    }
    x86_mode_update(cpu);
}
