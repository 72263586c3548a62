/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * emit.h - writing x86-64 host code.
 *
 * An `struct emit` is a cursor into code-cache memory (its writable mapping).
 * Running out of room is remembered, never written past: the translator looks
 * at `overflow` once per block. All offsets into the frame use the host stack
 * pointer as base, which costs a SIB byte and saves a register.
 *
 * Instruction names say what they leave of the flags: everything here either
 * is flag-free (mov, lea, pext, movzx, not, jrcxz) or says so in its name or
 * comment, because guest flags live in host flags.
 */
#ifndef RING3_ENGINE_DBT_EMIT_H
#define RING3_ENGINE_DBT_EMIT_H

#include <string.h>
#include "base/types.h"

enum host_reg { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
                H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15, H_NONE = 0xff };
enum host_seg { H_SEG_NONE = 0, H_SEG_FS = 0x64, H_SEG_GS = 0x65 };

struct host_mem {
    uint8_t base, index, scale;     /* H_NONE: absent; scale 1 2 4 8 */
    uint8_t seg;                    /* enum host_seg */
    int32_t disp;
    bool disp32;                    /* never 8 bits: EVEX would scale them */
};

/* What the host lacks: emit_plain.c has other sequences then. They are longer, so
 * that conditional jumps on rcx are made to reach any distance. */
struct emit_host {
    bool no_bmi2;
    bool slow_pext;                 /* PEXT and PDEP are microcode */
    bool shifts_overwrite;          /* SHL, SHR, SAR by a constant make all flags anew */
    const void *frame;              /* whose masks are known when code is emitted */
};

struct emit {
    uint8_t *start, *p, *end;       /* writable mapping */
    bool overflow;
    bool too_far;                   /* a JRCXZ would not reach: all of this is of no use */
    const struct emit_host *host;   /* NULL: lacks nothing */
    uint8_t *restore, *restored;    /* emit_plain.c: the flags come back from, to here */
};

/* Something leads here: what comes must not lean on what went before. */
static inline void emit_label(struct emit *e)
{
    e->restored = NULL;
}
static inline void e8(struct emit *e, uint8_t b)
{
    if (likely(e->p < e->end))
        *e->p++ = b;
    else
        e->overflow = true;
}
static inline void e16(struct emit *e, uint16_t v)
{
    e8(e, (uint8_t)v);
    e8(e, (uint8_t)(v >> 8));
}
static inline void e32(struct emit *e, uint32_t v)
{
    if (likely(e->end - e->p >= 4)) {
        memcpy(e->p, &v, 4);
        e->p += 4;
    } else {
        e->overflow = true;
    }
}
static inline void e64(struct emit *e, uint64_t v)
{
    e32(e, (uint32_t)v);
    e32(e, (uint32_t)(v >> 32));
}

static inline struct host_mem h_base(enum host_reg base, int32_t disp)
{
    return (struct host_mem){.base = base, .index = H_NONE, .scale = 1, .disp = disp};
}
/* The frame pointer lies below the frame, at an address of 55 modulo 64, so that a
 * shift by it (SHLX) is a shift by 55: see emit_cross_check(). */
enum { H_FRAME_BIAS = 64 - 55 };
static inline struct host_mem h_frame(size_t offset)
{
    return h_base(H_RSP, (int32_t)offset + H_FRAME_BIAS);
}
static inline struct host_mem h_index(enum host_reg base, enum host_reg index, uint8_t scale,
                                      int32_t disp)
{
    return (struct host_mem){.base = base, .index = index, .scale = scale, .disp = disp};
}

/* ModRM (+SIB, +disp) for a memory operand, without prefixes. */
void emit_modrm_mem(struct emit *e, unsigned reg, const struct host_mem *m);

/* A legacy-encoded instruction. `opcode` is up to three bytes, first byte in
 * the low bits: 0x8b, 0x0f | 0xb6 << 8, ... REX is added as needed. */
void emit_rr(struct emit *e, unsigned opcode, bool w, enum host_reg reg, enum host_reg rm);
void emit_rm(struct emit *e, unsigned opcode, bool w, enum host_reg reg, struct host_mem m);

/* ---- flag-free --------------------------------------------------------- */
void emit_mov_rr(struct emit *e, enum host_reg dst, enum host_reg src);           /* 64-bit */
void emit_mov32_rr(struct emit *e, enum host_reg dst, enum host_reg src);
void emit_mov_ri(struct emit *e, enum host_reg dst, uint64_t imm);                /* shortest */
void emit_load(struct emit *e, enum host_reg dst, struct host_mem m);             /* 64-bit */
void emit_store(struct emit *e, struct host_mem m, enum host_reg src);
void emit_load32(struct emit *e, enum host_reg dst, struct host_mem m);
void emit_store32(struct emit *e, struct host_mem m, enum host_reg src);
void emit_store32_imm(struct emit *e, struct host_mem m, uint32_t imm);
void emit_store_imm(struct emit *e, struct host_mem m, int32_t imm);              /* sign-ext 64 */
void emit_lea(struct emit *e, enum host_reg dst, struct host_mem m);
void emit_lea32(struct emit *e, enum host_reg dst, struct host_mem m);
void emit_movzx16(struct emit *e, enum host_reg dst, enum host_reg src);
void emit_pext(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask);
/* dst = src & mask */
void emit_keep(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask);
void emit_rorx(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count);
/* Shifts left, right with sign, by the low 6 bits of `count`. */
void emit_sarx(struct emit *e, enum host_reg dst, enum host_reg src, enum host_reg count);
void emit_shlx(struct emit *e, enum host_reg dst, enum host_reg src, enum host_reg count);
/* Arithmetic shift right; uses `tmp`. */
void emit_sar(struct emit *e, enum host_reg reg, unsigned count, struct host_mem tmp);
void emit_not(struct emit *e, enum host_reg r);
/* ecx = *at and back; lea. RIP-relative: `to` is where it would be if it were as far
 * from the writable mapping as it is from the executable one. */
void emit_load_rip(struct emit *e, enum host_reg dst, const uint8_t *to);
void emit_store_rip(struct emit *e, const uint8_t *to, enum host_reg src);
void emit_load32_rip(struct emit *e, enum host_reg dst, const uint8_t *to);
void emit_store32_rip(struct emit *e, const uint8_t *to, enum host_reg src);
void emit_lea_rip(struct emit *e, enum host_reg dst, const uint8_t *to);
static inline bool emit_is_plain(const struct emit *e)
{
    return e->host && (e->host->no_bmi2 || e->host->slow_pext);
}
/* jrcxz over a distance not known yet: returns what emit_patch8 patches. */
uint8_t *emit_jrcxz(struct emit *e);
uint8_t *emit_jmp8(struct emit *e);
void emit_patch8(struct emit *e, uint8_t *at);        /* here */
void emit_jmp_mem(struct emit *e, struct host_mem m);
void emit_call_mem(struct emit *e, struct host_mem m);

/* rel32 jumps; return where the displacement is. `to` may be NULL: patch later
 * with emit_patch32. Addresses are of the writable mapping. */
uint8_t *emit_jmp(struct emit *e, const uint8_t *to);
void emit_call_rel(struct emit *e, const uint8_t *to);
uint8_t *emit_jcc(struct emit *e, unsigned cc, const uint8_t *to);
void emit_patch32(struct emit *e, uint8_t *at);       /* here */

/* ---- emit_plain.c: for hosts without BMI2, or with a slow one; flag-free too ---- */
void emit_pext_plain(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask);
void emit_keep_plain(struct emit *e, enum host_reg dst, enum host_reg src, struct host_mem mask);
void emit_rorx_plain(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count);
void emit_shl_plain(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count);
void emit_sar_plain(struct emit *e, enum host_reg dst, enum host_reg src, unsigned count);

/* ---- changes flags ----------------------------------------------------- */
void emit_test_rr(struct emit *e, enum host_reg a, enum host_reg b);
void emit_test8_ri(struct emit *e, enum host_reg r, uint8_t imm);
void emit_test32_ri(struct emit *e, enum host_reg r, uint32_t imm);
void emit_cmp_rr(struct emit *e, enum host_reg a, enum host_reg b);
void emit_cmp_rm(struct emit *e, enum host_reg a, struct host_mem b);
void emit_cmp_ri(struct emit *e, enum host_reg a, int32_t imm);
void emit_cmp_m_zero(struct emit *e, struct host_mem m);                          /* 64-bit */
void emit_xor32_rr(struct emit *e, enum host_reg dst, enum host_reg src);

enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP,
       CC_L, CC_GE, CC_LE, CC_G };

#endif
