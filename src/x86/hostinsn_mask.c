/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn_mask.c - instructions that access only some elements of memory.
 *
 * An element that a mask excludes is not accessed and cannot fault (SDM vol. 1,
 * 15.6.2 for EVEX; vol. 2 for VMASKMOV, MASKMOV, gathers and scatters). Within
 * a page of RAM the host does that itself; across pages and for MMIO elements
 * are moved one by one, all of them probed before anything is written.
 * Gathers and scatters, which access many places, are done here as a whole;
 * they may fault half-way and then keep what they have done, mask included.
 */
#include "x86/hostinsn_priv.h"

#include <string.h>

enum { MASK_MAX = 64 };

/* Elements that the mask register lets through, bit per mask element. */
static uint64_t mask_bits(const struct x86_cpu *cpu, const struct x86_hostinsn *st)
{
    uint64_t all = st->mask.count == 64 ? UINT64_MAX : (1ull << st->mask.count) - 1;
    uint64_t bits = 0;

    if (!st->mask.vector)
        return cpu->s.fpu.k[st->mask.reg] & all;
    for (unsigned i = 0; i < st->mask.count; i++) {
        unsigned top = (i + 1) * st->mask.elem_bytes - 1;

        bits |= (uint64_t)(cpu->s.fpu.vec[st->mask.reg][top] >> 7) << i;
    }
    return bits;
}

/* The same per element of the memory operand: a broadcast element is needed
 * when any of its copies is. */
static uint64_t memory_bits(const struct x86_cpu *cpu, const struct x86_hostinsn *st)
{
    uint64_t mask = mask_bits(cpu, st), bits = 0;

    if (st->mask.packed) {
        unsigned n = (unsigned)__builtin_popcountll(mask);
        return n == 64 ? UINT64_MAX : (1ull << n) - 1;
    }
    if (st->mask.elems >= st->mask.count)
        return mask;
    for (unsigned i = 0; i < st->mask.count; i++) {
        if (mask & 1ull << i)
            bits |= 1ull << i % st->mask.elems;
    }
    return bits;
}

/* ---- elements of one contiguous operand -------------------------------- */

/* An operand of which only `bits` elements of `size` bytes are accessed. */
struct partial {
    enum x86_seg seg;
    uint64_t ea;
    unsigned size;
    uint64_t bits;
};

static uint64_t truncated(uint64_t ea, unsigned bits)
{
    return bits == 64 ? ea : ea & ((1ull << bits) - 1);
}

/* Only the address of the whole operand is truncated to the address size: an
 * element beyond it is beyond the limit. */
static uint64_t element_offset(const struct partial *m, unsigned i)
{
    return m->ea + i * m->size;
}

static gva_t element(struct x86_cpu *cpu, const struct partial *m, unsigned i,
                     enum x86_access access)
{
    return x86_linear(cpu, m->seg, element_offset(m, i), m->size, access);
}

static void read_elements(struct x86_cpu *cpu, const struct partial *m, uint8_t *to)
{
    for (unsigned i = 0; i < MASK_MAX; i++) {
        if (m->bits & 1ull << i)
            x86_read_block(cpu, element(cpu, m, i, X86_READ), to + i * m->size, m->size);
    }
}

static void probe_elements(struct x86_cpu *cpu, const struct partial *m)
{
    for (unsigned i = 0; i < MASK_MAX; i++) {
        if (m->bits & 1ull << i)
            x86_probe(cpu, element(cpu, m, i, X86_WRITE), m->size, X86_WRITE);
    }
}

static void write_elements(struct x86_cpu *cpu, const struct partial *m, const uint8_t *from)
{
    for (unsigned i = 0; i < MASK_MAX; i++) {
        if (m->bits & 1ull << i)
            x86_write_block(cpu, element(cpu, m, i, X86_WRITE), from + i * m->size, m->size);
    }
}

/* Host address that stands for the whole operand, when what is accessed of it
 * lies in one page of RAM; else NULL. */
static uint8_t *whole_operand(struct x86_cpu *cpu, const struct partial *m,
                              enum x86_access access)
{
    unsigned low = (unsigned)__builtin_ctzll(m->bits), first = low * m->size;
    unsigned end = (64u - (unsigned)__builtin_clzll(m->bits)) * m->size;
    uint64_t at = element_offset(m, low);
    uint8_t *p;

    if ((at & PAGE_OFFSET_MASK) + (end - first) > PAGE_SIZE)
        return NULL;
    p = x86_host_ptr(cpu, x86_linear(cpu, m->seg, at, end - first, access), end - first, access);
    return p ? p - first : NULL;
}

void x86_hostinsn_run_masked(struct x86_cpu *cpu, const struct x86_insn *insn,
                             const struct x86_hostinsn *st)
{
    struct partial m = {(enum x86_seg)insn->mem.seg, x86_ea(cpu, insn), st->mask.elem_bytes,
                        memory_bits(cpu, st)};
    enum x86_access access = st->mem_write ? X86_WRITE : X86_READ;
    gva_t a = gva(m.ea + cpu->s.seg[m.seg].base);
    struct hostinsn_bounce b;
    struct hostinsn_frame f;
    uint8_t *p;

    /* Without any element to access AMD's processors do not look at the
     * alignment; others will in the stub. */
    if (st->align && m.bits)
        x86_hostinsn_align(cpu, insn, st);
    if (st->mask.probe_all)
        x86_probe(cpu, x86_ea_linear(cpu, insn, st->mem_bytes, access), st->mem_bytes, access);
    p = m.bits ? whole_operand(cpu, &m, access) : NULL;
    if (likely(p)) {
        x86_hostinsn_enter(cpu, st, p, &f);
        return;
    }
    p = x86_hostinsn_bounce_at(&b, a);
    if (st->mem_write)
        probe_elements(cpu, &m);
    else
        read_elements(cpu, &m, p);
    x86_hostinsn_enter(cpu, st, p, &f);
    if (st->mem_write)
        write_elements(cpu, &m, p);
}

/* ---- MASKMOVQ, MASKMOVDQU ---------------------------------------------- */

/* An MMX instruction makes all registers valid and TOP 0 (SDM vol. 1, 9.5.1),
 * which renumbers the stack-ordered copies. */
static void enter_mmx(struct x86_fpu *f)
{
    x86_hostinsn_x87_set_top(f, 0);
    f->ftw = 0xff;
}

void x86_hostinsn_run_maskmov(struct x86_cpu *cpu, const struct x86_insn *insn,
                              const struct x86_hostinsn *st)
{
    struct x86_fpu *fpu = &cpu->s.fpu;
    struct partial m = {(enum x86_seg)insn->mem.seg,
                        truncated(cpu->s.gpr[X86_RDI], insn->address_bits), 1, 0};
    bool mmx = st->mem_bytes == 8;
    unsigned top = fpu->fsw >> 11 & 7;
    const uint8_t *mask = mmx ? fpu->st[(st->mask.reg - top) & 7] : fpu->vec[st->mask.reg];
    const uint8_t *data = mmx ? fpu->st[(st->mask.data - top) & 7] : fpu->vec[st->mask.data];
    uint8_t bytes[16];

    memcpy(bytes, data, st->mem_bytes);
    for (unsigned i = 0; i < st->mem_bytes; i++)
        m.bits |= (uint64_t)(mask[i] >> 7) << i;
    /* What AMD's processors do, and may: the state becomes MMX's even when it
     * faults, which it does whatever the mask says. */
    if (mmx)
        enter_mmx(fpu);
    x86_probe(cpu, x86_linear(cpu, m.seg, m.ea, st->mem_bytes, X86_WRITE), st->mem_bytes,
              X86_WRITE);
    probe_elements(cpu, &m);
    write_elements(cpu, &m, bytes);
}

/* ---- gathers and scatters ---------------------------------------------- */

static uint64_t vsib_ea(const struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_hostinsn *st, unsigned i)
{
    const struct x86_mem *m = &insn->mem;
    uint64_t ea = (uint64_t)m->disp;
    int64_t index = 0;

    memcpy(&index, cpu->s.fpu.vec[m->index] + i * st->mask.index_bytes, st->mask.index_bytes);
    if (st->mask.index_bytes == 4)
        index = (int32_t)index;
    if (m->base != X86_REG_NONE)
        ea += cpu->s.gpr[m->base];
    return truncated(ea + (uint64_t)index * m->scale, insn->address_bits);
}

/* The mask records progress: a finished or skipped element's is cleared. */
static void mask_clear(struct x86_cpu *cpu, const struct x86_hostinsn *st, unsigned i)
{
    if (st->mask.vector)
        memset(cpu->s.fpu.vec[st->mask.reg] + i * st->mask.elem_bytes, 0, st->mask.elem_bytes);
    else
        cpu->s.fpu.k[st->mask.reg] &= ~(1ull << i);
}

static void mask_finish(struct x86_cpu *cpu, const struct x86_hostinsn *st)
{
    if (st->mask.vector)
        memset(cpu->s.fpu.vec[st->mask.reg], 0, sizeof cpu->s.fpu.vec[0]);
    else
        cpu->s.fpu.k[st->mask.reg] = 0;
}

static void clear_above(uint8_t dest[64], unsigned bytes)
{
    memset(dest + bytes, 0, 64 - bytes);
}

void x86_hostinsn_run_gather(struct x86_cpu *cpu, const struct x86_insn *insn,
                             const struct x86_hostinsn *st)
{
    uint64_t todo = mask_bits(cpu, st);
    uint8_t *dest = cpu->s.fpu.vec[st->mask.data];
    unsigned size = st->mask.elem_bytes;
    uint8_t value[8];

    for (unsigned i = 0; i < st->mask.elems; i++) {
        if (todo & 1ull << i) {
            gva_t a = x86_linear(cpu, (enum x86_seg)insn->mem.seg, vsib_ea(cpu, insn, st, i),
                                 size, X86_READ);
            x86_read_block(cpu, a, value, size);
            memcpy(dest + i * size, value, size);
            if (!st->mask.vector)            /* EVEX: at once, seen after a later fault */
                clear_above(dest, st->mem_bytes);
        }
        mask_clear(cpu, st, i);
    }
    clear_above(dest, (unsigned)st->mask.elems * size);
    mask_finish(cpu, st);
}

void x86_hostinsn_run_scatter(struct x86_cpu *cpu, const struct x86_insn *insn,
                              const struct x86_hostinsn *st)
{
    uint64_t todo = mask_bits(cpu, st);
    const uint8_t *data = cpu->s.fpu.vec[st->mask.data];
    unsigned size = st->mask.elem_bytes;

    for (unsigned i = 0; i < st->mask.elems; i++) {
        if (!(todo & 1ull << i))
            continue;
        gva_t a = x86_linear(cpu, (enum x86_seg)insn->mem.seg, vsib_ea(cpu, insn, st, i), size,
                             X86_WRITE);
        x86_write_block(cpu, a, data + i * size, size);
        mask_clear(cpu, st, i);
    }
    mask_finish(cpu, st);
}

/* ---- VZEROUPPER, VZEROALL ---------------------------------------------- */

void x86_hostinsn_run_zero(struct x86_cpu *cpu, const struct x86_insn *insn,
                           const struct x86_hostinsn *st)
{
    unsigned registers = insn->code_bits == 64 ? 16 : 8;
    unsigned from = insn->mnemonic == ZYDIS_MNEMONIC_VZEROALL ? 0 : 16;

    for (unsigned i = 0; i < registers; i++)
        memset(cpu->s.fpu.vec[i] + from, 0, sizeof cpu->s.fpu.vec[0] - from);
}
