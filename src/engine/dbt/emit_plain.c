/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * emit_plain.c - what emit.c does with BMI2, for hosts without it or with a PEXT
 * that is microcode (Zen 1 and 2).
 *
 * Without BMI2 there is no shift that leaves flags alone, so they are saved around
 * ordinary ones. With it, SHLX and SHRX do the work; their counts need a register,
 * which the destination is until it receives the result, so the source waits in
 * memory. Both use the stack below the frame: signals have a stack of their own and
 * calls out of translated code come before or after.
 */
#include "engine/dbt/emit.h"

#include "base/bug.h"

enum shift { SHIFT_LEFT = 4, SHIFT_RIGHT = 5, SHIFT_ARITHMETIC = 7 };

/* A run of ones in a mask, and where its bits go. */
struct run { unsigned low, high, to; };

static const struct host_mem below = {H_RSP, H_NONE, 1, H_SEG_NONE, -8};
static const struct host_mem further = {H_RSP, H_NONE, 1, H_SEG_NONE, -16};
static const struct host_mem saved_rax = {H_RSP, H_NONE, 1, H_SEG_NONE, -24};

/* POPF takes tens of cycles. LAHF has all flags but OF, which SETO keeps; adding 127
 * to it brings it back. A save that follows a restore at once leaves out both. */
static void flags_save(struct emit *e)
{
    static const uint8_t code[] = {0x9f, 0x0f, 0x90, 0xc0};             /* lahf; seto al */

    if (e->restored == e->p && e->p) {
        e->p = e->restore;
        return;
    }
    emit_store(e, saved_rax, H_RAX);
    for (unsigned i = 0; i < sizeof code; i++)
        e8(e, code[i]);
}

static void flags_restore(struct emit *e)
{
    static const uint8_t code[] = {0x04, 0x7f, 0x9e};                   /* add al, 127; sahf */

    e->restore = e->p;
    for (unsigned i = 0; i < sizeof code; i++)
        e8(e, code[i]);
    emit_load(e, H_RAX, saved_rax);
    e->restored = e->p;
}

/* RAX holds the flags. */
static void check_operands(enum host_reg dst, enum host_reg src)
{
    BUG_ON(dst == H_RAX || src == H_RAX);
}

static uint64_t mask_value(const struct emit *e, const struct host_mem *mask)
{
    uint64_t v;

    BUG_ON(mask->base != H_RSP || mask->index != H_NONE);
    memcpy(&v, (const uint8_t *)e->host->frame + (mask->disp - H_FRAME_BIAS), sizeof v);
    return v;
}

/* The lowest run at or above bit `from`; false: there is none. */
static bool run_next(uint64_t mask, unsigned from, struct run *r)
{
    uint64_t rest = from < 64 ? mask >> from << from : 0;

    if (!rest)
        return false;
    r->low = (unsigned)__builtin_ctzll(rest);
    r->high = ~(rest >> r->low) ? r->low + (unsigned)__builtin_ctzll(~(rest >> r->low)) - 1 : 63;
    r->to = (unsigned)__builtin_popcountll(mask & ((1ull << r->low) - 1));
    return true;
}

/* SHL, SHR or SAR by an immediate: changes flags. */
static void shift_imm(struct emit *e, enum shift how, enum host_reg reg, unsigned count)
{
    if (!count)
        return;
    emit_rr(e, 0xc1, true, (enum host_reg)how, reg);
    e8(e, (uint8_t)count);
}

/* SHLX or SHRX reg, [below], reg: VEX.LZ.66/F2.0F38.W1 F7 /r. */
static void shift_from_stack(struct emit *e, enum shift how, enum host_reg reg, unsigned count)
{
    emit_mov_ri(e, reg, count);
    e8(e, 0xc4);
    e8(e, (uint8_t)((reg > 7 ? 0 : 0x80) | 0x40 | 0x20 | 2));
    e8(e, (uint8_t)(0x80 | (~(unsigned)reg & 15) << 3 | (how == SHIFT_LEFT ? 1 : 3)));
    e8(e, 0xf7);
    emit_modrm_mem(e, reg, &below);
}

/* dst = the bits of one run in their new place. */
static void run_with_flags_saved(struct emit *e, enum host_reg dst, enum host_reg src,
                                 const struct run *r)
{
    emit_mov_rr(e, dst, src);
    shift_imm(e, SHIFT_LEFT, dst, 63 - r->high);
    shift_imm(e, SHIFT_RIGHT, dst, 63 - (r->high - r->low));
    shift_imm(e, SHIFT_LEFT, dst, r->to);
}

static void run_flag_free(struct emit *e, enum host_reg dst, enum host_reg src,
                          const struct run *r)
{
    emit_store(e, below, src);
    if (r->high != 63) {
        shift_from_stack(e, SHIFT_LEFT, dst, 63 - r->high);
        emit_store(e, below, dst);
    }
    shift_from_stack(e, SHIFT_RIGHT, dst, 63 - (r->high - r->low));
    if (r->to) {
        emit_store(e, below, dst);
        shift_from_stack(e, SHIFT_LEFT, dst, r->to);
    }
}

static void pext_with_flags_saved(struct emit *e, enum host_reg dst, enum host_reg src,
                                  uint64_t mask)
{
    struct run r = {0};

    check_operands(dst, src);
    flags_save(e);
    for (bool first = true; run_next(mask, first ? 0 : r.high + 1, &r); first = false) {
        BUG_ON(!first && dst == src);
        if (!first)
            emit_store(e, below, dst);
        run_with_flags_saved(e, dst, src, &r);
        if (!first)
            emit_rm(e, 0x0b, true, dst, below);             /* or */
    }
    flags_restore(e);
}

/* With several runs the source register is borrowed to add them up. */
static void pext_flag_free(struct emit *e, enum host_reg dst, enum host_reg src, uint64_t mask)
{
    struct run r = {0};

    for (bool first = true; run_next(mask, first ? 0 : r.high + 1, &r); first = false) {
        BUG_ON(!first && dst == src);
        if (!first)
            emit_store(e, further, dst);
        run_flag_free(e, dst, src, &r);
        if (first)
            continue;
        emit_store(e, below, src);
        emit_load(e, src, further);
        emit_lea(e, dst, h_index(dst, src, 1, 0));
        emit_load(e, src, below);
    }
}

void emit_pext_plain(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask)
{
    if (e->host->no_bmi2)
        pext_with_flags_saved(e, dst, src, mask_value(e, &mask));
    else
        pext_flag_free(e, dst, src, mask_value(e, &mask));
}

/* Rare enough to be done one way only. */
void emit_keep_plain(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask)
{
    check_operands(dst, src);
    flags_save(e);
    emit_mov_rr(e, dst, src);
    emit_rm(e, 0x23, true, dst, mask);                      /* and */
    flags_restore(e);
}

static void shift_plain(struct emit *e, enum shift how, enum host_reg dst, enum host_reg src,
                        unsigned count)
{
    check_operands(dst, src);
    flags_save(e);
    emit_mov_rr(e, dst, src);
    shift_imm(e, how, dst, count);
    flags_restore(e);
}

void emit_shl_plain(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count)
{
    shift_plain(e, SHIFT_LEFT, dst, src, count);
}

void emit_sar_plain(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count)
{
    shift_plain(e, SHIFT_ARITHMETIC, dst, src, count);
}

/* RAX may take part: what the guest has in it lies where it will come back from. */
void emit_rorx_plain(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count)
{
    flags_save(e);
    if (dst == H_RAX)
        emit_store(e, saved_rax, src);
    else if (src == H_RAX)
        emit_load(e, dst, saved_rax);
    else
        emit_mov_rr(e, dst, src);
    if (dst == H_RAX)
        emit_rm(e, 0xc1, true, (enum host_reg)1, saved_rax);    /* ror */
    else
        emit_rr(e, 0xc1, true, (enum host_reg)1, dst);
    e8(e, (uint8_t)count);
    flags_restore(e);
}
