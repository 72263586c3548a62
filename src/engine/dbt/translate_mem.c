/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_mem.c - guest addresses: computing them, translating them.
 *
 * Everything here leaves flags alone; see dbt.h for the shape of an access and
 * why it is safe.
 */
#include "engine/dbt/translate.h"

#include "base/bug.h"

void dbt_emit_get(struct dbt_translation *t, enum host_reg to, unsigned gpr)
{
    if (dbt_home[gpr] == H_NONE)
        emit_load(&t->e, to, dbt_slot(gpr));
    else
        emit_mov_rr(&t->e, to, dbt_home[gpr]);
}

void dbt_emit_put(struct dbt_translation *t, unsigned gpr, enum host_reg from)
{
    if (dbt_home[gpr] == H_NONE)
        emit_store(&t->e, dbt_slot(gpr), from);
    else
        emit_mov_rr(&t->e, dbt_home[gpr], from);
}

/* A register to use in an address: its home, or `scratch` loaded from the frame. */
static enum host_reg address_reg(struct dbt_translation *t, unsigned gpr, enum host_reg scratch)
{
    if (dbt_home[gpr] != H_NONE)
        return dbt_home[gpr];
    emit_load(&t->e, scratch, dbt_slot(gpr));
    return scratch;
}

static bool emit_segment(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned seg = insn->mem.seg;

    if (seg == X86_CS && t->code_bits != 64)
        return false;           /* not writable, perhaps not readable */
    if (seg != X86_FS && seg != X86_GS)
        return true;            /* flat: 64-bit mode, or checked by the dispatcher */
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, seg_base) + 8 * seg));
    if (t->code_bits == 64) {
        emit_lea(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
        return true;
    }
    emit_lea32(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
    return t->mode & (seg == X86_FS ? DBT_MODE_FS : DBT_MODE_GS);
}

bool dbt_emit_address(struct dbt_translation *t, const struct x86_insn *insn, bool with_segment)
{
    const struct x86_mem *m = &insn->mem;
    struct host_mem h = {H_NONE, H_NONE, m->scale, H_SEG_NONE, (int32_t)m->disp};

    if (m->vsib || insn->address_bits == 16)
        return false;
    if (m->base == X86_REG_RIP) {
        uint64_t next = t->insn[t->insns].rip + insn->length;
        uint64_t a = next + (uint64_t)m->disp;
        emit_mov_ri(&t->e, H_R11, insn->address_bits == 32 ? (uint32_t)a : a);
    } else if (m->base == X86_REG_NONE && m->index == X86_REG_NONE) {
        emit_mov_ri(&t->e, H_R11,
                    insn->address_bits == 32 ? (uint32_t)m->disp : (uint64_t)m->disp);
    } else {
        if (m->base != X86_REG_NONE)
            h.base = (uint8_t)address_reg(t, m->base, H_R11);
        if (m->index != X86_REG_NONE)
            h.index = (uint8_t)address_reg(t, m->index, H_RCX);
        if (insn->address_bits == 32)
            emit_lea32(&t->e, H_R11, h);
        else
            emit_lea(&t->e, H_R11, h);
    }
    return !with_segment || emit_segment(t, insn);
}

static unsigned cross_index(unsigned size)
{
    unsigned i = 0;

    while ((2u << i) < size)
        i++;
    BUG_ON(i >= DBT_CROSS_SIZES);
    return i;
}

struct host_mem dbt_cross_mask(unsigned size)
{
    return h_frame(offsetof(struct dbt_frame, cross_mask) + 8 * cross_index(size));
}

static void slow_if_zero(struct dbt_translation *t, enum dbt_stub_kind kind, unsigned size,
                         bool write)
{
    struct dbt_stub *s = dbt_stub_here(t, kind, DBT_EXIT_SLOW);

    s->size = (uint8_t)size;
    s->write = write;
}

/* To the stub if [r11, r11+size) is so close to the end of its page that it may
 * cross it: an address within the last slot of size (a power of two, at least 8)
 * makes the bits above the slot zero when one slot is added. For the common sizes
 * the bits are singled out by a rotation by 3 and a shift by 55, for which the
 * frame pointer serves as count: PEXT can only start once in a cycle. */
static void emit_cross_check(struct dbt_translation *t, unsigned size, bool write)
{
    struct emit *e = &t->e;

    dbt_reach(t, 24);
    if (size <= 8) {
        emit_lea(e, H_RCX, h_base(H_R11, 8));
        emit_rorx(e, H_RCX, H_RCX, 3);
        emit_shlx(e, H_RCX, H_RCX, H_RSP);
    } else {
        emit_lea(e, H_RCX, h_base(H_R11, 2 << cross_index(size)));
        emit_pext(e, H_RCX, H_RCX, dbt_cross_mask(size));
    }
    slow_if_zero(t, DBT_STUB_CROSS, size, write);
}

void dbt_emit_access(struct dbt_translation *t, unsigned size, bool write)
{
    struct emit *e = &t->e;

    if (size > 1 && !t->aligned)
        emit_cross_check(t, size, write);
    dbt_reach(t, 24);
    emit_pext(e, H_RCX, H_R11, h_frame(offsetof(struct dbt_frame, page_mask)));
    if (write)
        emit_load(e, H_RCX, h_index(H_RSP, H_RCX, 8, H_FRAME_BIAS + dbt_tables_write_disp()));
    else
        emit_load(e, H_RCX, (struct host_mem){H_NONE, H_RCX, 8, H_SEG_GS, 0});
    slow_if_zero(t, DBT_STUB_EXIT, size, write);
    dbt_reach(t, 64);           /* for whatever is done with the address */
}

void dbt_emit_fold(struct dbt_translation *t)
{
    emit_lea(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
}
