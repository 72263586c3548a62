/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linear.c - segment and offset to linear address, with the checks of the
 * current mode (SDM vol. 3, 5.3-5.5 and vol. 1, 3.3.7).
 */
#include "x86/cpuid.h"
#include "x86/mmu.h"

static _Noreturn void segment_fault(struct x86_cpu *cpu, enum x86_seg seg)
{
    x86_raise_error(cpu, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

bool x86_canonical(const struct x86_cpu *cpu, uint64_t a)
{
    unsigned unused = 64 - cpu->model->lin_bits;
    return (uint64_t)((int64_t)(a << unused) >> unused) == a;
}

static bool type_allows(const struct x86_segment *s, enum x86_access access)
{
    bool code = s->attr & 8, readable_or_writable = s->attr & 2;
    if (s->attr & X86_ATTR_UNUSABLE)
        return false;
    switch (access) {
    case X86_READ: return !code || readable_or_writable;
    case X86_WRITE: return !code && readable_or_writable;
    case X86_EXEC: return code;
    }
    return false;
}

/* Are all of [offset, offset + size) inside the limit? Expand-down segments are
 * valid above it, up to 64 KiB or 4 GiB as their B bit says. */
static bool limit_allows(const struct x86_cpu *cpu, const struct x86_segment *s,
                         uint64_t offset, unsigned size)
{
    uint64_t last = offset + (size ? size - 1 : 0);
    bool expand_down = cpu->mode.protected_mode && (s->attr & (8 | 4)) == 4;
    if (!expand_down)
        return last <= s->limit;
    return offset > s->limit && last <= (s->attr & X86_ATTR_DB ? UINT32_MAX : UINT16_MAX);
}

gva_t x86_linear(struct x86_cpu *cpu, enum x86_seg seg, uint64_t offset, unsigned size,
                 enum x86_access access)
{
    const struct x86_segment *s = &cpu->s.seg[seg];
    if (likely(cpu->mode.code_bits == 64)) {
        uint64_t a = seg == X86_FS || seg == X86_GS ? s->base + offset : offset;
        if (unlikely(!x86_canonical(cpu, a) || !x86_canonical(cpu, a + (size ? size - 1 : 0))))
            segment_fault(cpu, seg);
        return gva(a);
    }
    /* Real and virtual-8086 mode check the cached limit but no type: "unreal"
     * mode is a limit left over from protected mode. */
    if ((cpu->mode.protected_mode && !type_allows(s, access)) ||
        !limit_allows(cpu, s, offset, size))
        segment_fault(cpu, seg);
    return gva((s->base + offset) & UINT32_MAX);
}
