/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * emit.c - writing x86-64 host code, as emit.h describes.
 *
 * Encodings follow the Intel SDM vol. 2 ch. 2. No attempt is made at the very
 * shortest form everywhere: only at those that matter for hot code (disp8,
 * imm32 moves).
 */
#include "engine/dbt/emit.h"
#include "base/bug.h"

void emit_modrm_mem(struct emit *e, unsigned reg, const struct host_mem *m)
{
    unsigned r = (reg & 7) << 3;
    bool sib = m->index != H_NONE || (m->base & 7) == H_RSP;
    bool small = !m->disp32 && m->disp >= -128 && m->disp <= 127;
    unsigned mod = m->disp == 0 && (m->base & 7) != H_RBP ? 0 : small ? 1 : 2;

    if (m->base == H_NONE) {        /* [index*scale + disp32] or [disp32] */
        unsigned index = m->index == H_NONE ? 4 : m->index & 7;
        e8(e, (uint8_t)(r | 4));
        e8(e, (uint8_t)((unsigned)__builtin_ctz(m->scale) << 6 | index << 3 | 5));
        e32(e, (uint32_t)m->disp);
        return;
    }
    e8(e, (uint8_t)(mod << 6 | r | (sib ? 4u : m->base & 7u)));
    if (sib) {
        unsigned index = m->index == H_NONE ? 4 : m->index & 7;
        e8(e, (uint8_t)((unsigned)__builtin_ctz(m->scale) << 6 | index << 3 | (m->base & 7u)));
    }
    if (mod == 1)
        e8(e, (uint8_t)m->disp);
    else if (mod == 2)
        e32(e, (uint32_t)m->disp);
}

static void emit_opcode(struct emit *e, unsigned opcode)
{
    for (; opcode > 0xff; opcode >>= 8)
        e8(e, (uint8_t)opcode);
    e8(e, (uint8_t)opcode);
}

void emit_rr(struct emit *e, unsigned opcode, bool w, enum host_reg reg, enum host_reg rm)
{
    unsigned rex = 0x40 | (unsigned)w << 3 | (reg > 7) << 2 | (rm > 7);
    if (rex != 0x40)
        e8(e, (uint8_t)rex);
    emit_opcode(e, opcode);
    e8(e, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

void emit_rm(struct emit *e, unsigned opcode, bool w, enum host_reg reg, struct host_mem m)
{
    unsigned rex = 0x40 | (unsigned)w << 3 | (reg > 7) << 2 |
                   (unsigned)(m.index != H_NONE && m.index > 7) << 1 |
                   (unsigned)(m.base != H_NONE && m.base > 7);
    if (m.seg)
        e8(e, m.seg);
    if (rex != 0x40)
        e8(e, (uint8_t)rex);
    emit_opcode(e, opcode);
    emit_modrm_mem(e, reg, &m);
}

void emit_mov_rr(struct emit *e, enum host_reg dst, enum host_reg src)
{
    if (dst != src)
        emit_rr(e, 0x8b, true, dst, src);
}

void emit_mov32_rr(struct emit *e, enum host_reg dst, enum host_reg src)
{
    emit_rr(e, 0x8b, false, dst, src);      /* also when equal: clears the upper half */
}

void emit_mov_ri(struct emit *e, enum host_reg dst, uint64_t imm)
{
    if (imm <= UINT32_MAX) {
        if (dst > 7)
            e8(e, 0x41);
        e8(e, (uint8_t)(0xb8 | (dst & 7)));
        e32(e, (uint32_t)imm);
    } else if ((int64_t)imm == (int32_t)imm) {
        emit_rr(e, 0xc7, true, 0, dst);
        e32(e, (uint32_t)imm);
    } else {
        e8(e, (uint8_t)(0x48 | (dst > 7)));
        e8(e, (uint8_t)(0xb8 | (dst & 7)));
        e64(e, imm);
    }
}

void emit_load(struct emit *e, enum host_reg dst, struct host_mem m)
{
    emit_rm(e, 0x8b, true, dst, m);
}

void emit_store(struct emit *e, struct host_mem m, enum host_reg src)
{
    emit_rm(e, 0x89, true, src, m);
}

void emit_load32(struct emit *e, enum host_reg dst, struct host_mem m)
{
    emit_rm(e, 0x8b, false, dst, m);
}

void emit_store32(struct emit *e, struct host_mem m, enum host_reg src)
{
    emit_rm(e, 0x89, false, src, m);
}

void emit_lea(struct emit *e, enum host_reg dst, struct host_mem m)
{
    emit_rm(e, 0x8d, true, dst, m);
}

void emit_lea32(struct emit *e, enum host_reg dst, struct host_mem m)
{
    emit_rm(e, 0x8d, false, dst, m);
}


void emit_store32_imm(struct emit *e, struct host_mem m, uint32_t imm)
{
    emit_rm(e, 0xc7, false, 0, m);
    e32(e, imm);
}

void emit_store_imm(struct emit *e, struct host_mem m, int32_t imm)
{
    emit_rm(e, 0xc7, true, 0, m);
    e32(e, (uint32_t)imm);
}

void emit_movzx16(struct emit *e, enum host_reg dst, enum host_reg src)
{
    emit_rr(e, 0x0f | 0xb7 << 8, false, dst, src);
}

/* VEX.LZ.pp.0F38.W1 opcode /r with a memory operand. */
static void emit_vex_rm(struct emit *e, unsigned pp, uint8_t opcode, enum host_reg reg,
                        struct host_mem m, enum host_reg vvvv)
{
    BUG_ON(m.seg || m.index != H_NONE);
    e8(e, 0xc4);
    e8(e, (uint8_t)((reg > 7 ? 0 : 0x80) | 0x40 | (m.base > 7 ? 0 : 0x20) | 2));
    e8(e, (uint8_t)(0x80 | (~(unsigned)vvvv & 15) << 3 | pp));
    e8(e, opcode);
    emit_modrm_mem(e, reg, &m);
}

/* PEXT, PDEP r64a, r64b, r/m64: F3/F2 F5; vvvv = source. SARX r64a, r/m64, r64b: F3 F7. */
void emit_pext(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask)
{
    if (unlikely(emit_is_plain(e)))
        emit_pext_plain(e, dst, src, mask);
    else
        emit_vex_rm(e, 2, 0xf5, dst, mask, src);
}

void emit_keep(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask)
{
    if (unlikely(emit_is_plain(e))) {
        emit_keep_plain(e, dst, src, mask);
    } else {
        emit_vex_rm(e, 2, 0xf5, dst, mask, src);
        emit_vex_rm(e, 3, 0xf5, dst, mask, dst);
    }
}

/* What a shift by the frame pointer shifts by (emit.h, H_FRAME_BIAS). */
static unsigned frame_count(enum host_reg count)
{
    BUG_ON(count != H_RSP);
    return 64 - H_FRAME_BIAS;
}

static bool no_bmi2(const struct emit *e)
{
    return unlikely(e->host && e->host->no_bmi2);
}

/* RORX r64, r64, imm8: VEX.LZ.F2.0F3A.W1 F0 /r ib; SHLX, SARX: VEX.LZ.66
 * and F3.0F38.W1 F7 /r. */
static void emit_vex_rr(struct emit *e, unsigned map, unsigned pp, uint8_t opcode,
                        enum host_reg reg, enum host_reg rm, unsigned vvvv)
{
    e8(e, 0xc4);
    e8(e, (uint8_t)((reg > 7 ? 0 : 0x80) | 0x40 | (rm > 7 ? 0 : 0x20) | map));
    e8(e, (uint8_t)(0x80 | (~vvvv & 15) << 3 | pp));
    e8(e, opcode);
    e8(e, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

void emit_rorx(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count)
{
    if (no_bmi2(e)) {
        emit_rorx_plain(e, dst, src, count);
        return;
    }
    emit_vex_rr(e, 3, 3, 0xf0, dst, src, 0);
    e8(e, (uint8_t)count);
}

void emit_sarx(struct emit *e, enum host_reg dst, enum host_reg src, enum host_reg count)
{
    if (no_bmi2(e))
        emit_sar_plain(e, dst, src, frame_count(count));
    else
        emit_vex_rr(e, 2, 2, 0xf7, dst, src, count);
}

void emit_shlx(struct emit *e, enum host_reg dst, enum host_reg src, enum host_reg count)
{
    if (no_bmi2(e))
        emit_shl_plain(e, dst, src, frame_count(count));
    else
        emit_vex_rr(e, 2, 1, 0xf7, dst, src, count);
}

void emit_sar(struct emit *e, enum host_reg reg, unsigned count, struct host_mem tmp)
{
    if (no_bmi2(e)) {
        emit_sar_plain(e, reg, reg, count);
        return;
    }
    emit_store(e, tmp, reg);
    emit_mov_ri(e, reg, count);
    emit_vex_rm(e, 2, 0xf7, reg, tmp, reg);             /* sarx */
}

static void emit_rip(struct emit *e, unsigned opcode, bool w, enum host_reg reg, const uint8_t *to)
{
    unsigned rex = 0x40 | (unsigned)w << 3 | (reg > 7) << 2;

    if (rex != 0x40)
        e8(e, (uint8_t)rex);
    e8(e, (uint8_t)opcode);
    e8(e, (uint8_t)((reg & 7) << 3 | 5));
    e32(e, (uint32_t)((uintptr_t)to - ((uintptr_t)e->p + 4)));
}

void emit_load32_rip(struct emit *e, enum host_reg dst, const uint8_t *to)
{
    emit_rip(e, 0x8b, false, dst, to);
}

void emit_store32_rip(struct emit *e, const uint8_t *to, enum host_reg src)
{
    emit_rip(e, 0x89, false, src, to);
}

void emit_load_rip(struct emit *e, enum host_reg dst, const uint8_t *to)
{
    emit_rip(e, 0x8b, true, dst, to);
}

void emit_store_rip(struct emit *e, const uint8_t *to, enum host_reg src)
{
    emit_rip(e, 0x89, true, src, to);
}

void emit_lea_rip(struct emit *e, enum host_reg dst, const uint8_t *to)
{
    emit_rip(e, 0x8d, true, dst, to);
}

void emit_not(struct emit *e, enum host_reg r) { emit_rr(e, 0xf7, true, 2, r); }

/* The plain form: jrcxz to a long jump, over which the other way goes. */
uint8_t *emit_jrcxz(struct emit *e)
{
    e8(e, 0xe3);
    if (unlikely(emit_is_plain(e))) {
        e8(e, 2);
        e8(e, 0xeb);
        e8(e, 5);
        return emit_jmp(e, NULL);
    }
    e8(e, 0);
    return e->p - 1;
}

uint8_t *emit_jmp8(struct emit *e)
{
    if (unlikely(emit_is_plain(e)))
        return emit_jmp(e, NULL);
    e8(e, 0xeb);
    e8(e, 0);
    return e->p - 1;
}

void emit_patch8(struct emit *e, uint8_t *at)
{
    ptrdiff_t d = e->p - (at + 1);

    emit_label(e);
    if (e->overflow)
        return;
    if (unlikely(emit_is_plain(e))) {
        emit_patch32(e, at);
        return;
    }
    e->too_far |= d > 127;
    *at = (uint8_t)d;
}

void emit_jmp_mem(struct emit *e, struct host_mem m) { emit_rm(e, 0xff, false, 4, m); }
void emit_call_mem(struct emit *e, struct host_mem m) { emit_rm(e, 0xff, false, 2, m); }

static uint8_t *emit_rel32(struct emit *e, const uint8_t *to)
{
    e32(e, to ? (uint32_t)(to - (e->p + 4)) : 0);
    return e->p - 4;
}

uint8_t *emit_jmp(struct emit *e, const uint8_t *to)
{
    e8(e, 0xe9);
    return emit_rel32(e, to);
}

void emit_call_rel(struct emit *e, const uint8_t *to)
{
    e8(e, 0xe8);
    emit_rel32(e, to);
}

uint8_t *emit_jcc(struct emit *e, unsigned cc, const uint8_t *to)
{
    e8(e, 0x0f);
    e8(e, (uint8_t)(0x80 | cc));
    return emit_rel32(e, to);
}

void emit_patch32(struct emit *e, uint8_t *at)
{
    int32_t d = (int32_t)(e->p - (at + 4));

    emit_label(e);
    if (!e->overflow)
        memcpy(at, &d, 4);
}

void emit_test_rr(struct emit *e, enum host_reg a, enum host_reg b)
{
    emit_rr(e, 0x85, true, b, a);
}

void emit_test8_ri(struct emit *e, enum host_reg r, uint8_t imm)
{
    if (r > 3)
        e8(e, (uint8_t)(0x40 | (r > 7)));
    e8(e, 0xf6);
    e8(e, (uint8_t)(0xc0 | (r & 7)));
    e8(e, imm);
}

void emit_test32_ri(struct emit *e, enum host_reg r, uint32_t imm)
{
    emit_rr(e, 0xf7, false, (enum host_reg)0, r);
    e32(e, imm);
}

void emit_cmp_rr(struct emit *e, enum host_reg a, enum host_reg b)
{
    emit_rr(e, 0x3b, true, a, b);
}

void emit_cmp_rm(struct emit *e, enum host_reg a, struct host_mem b)
{
    emit_rm(e, 0x3b, true, a, b);
}

void emit_cmp_ri(struct emit *e, enum host_reg a, int32_t imm)
{
    emit_rr(e, 0x81, true, (enum host_reg)7, a);
    e32(e, (uint32_t)imm);
}

void emit_cmp_m_zero(struct emit *e, struct host_mem m)
{
    emit_rm(e, 0x83, true, (enum host_reg)7, m);
    e8(e, 0);
}

void emit_xor32_rr(struct emit *e, enum host_reg dst, enum host_reg src)
{
    emit_rr(e, 0x33, false, dst, src);
}
