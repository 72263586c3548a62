/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hot.h - what hot handlers are made of, and the tables that offer them.
 *
 * A handler reads everything it needs, and only when nothing can go wrong any
 * more does it write; whenever something does, SLOW hands the untouched
 * instruction to its general function. So a handler calls nothing, needs no
 * stack frame, and ends in a jump.
 */
#ifndef RING3_ENGINE_INTERP_HOT_H
#define RING3_ENGINE_INTERP_HOT_H

#include "engine/interp/chain.h"
#include "engine/interp/interp.h"
#include "x86/alu.h"

/* Guest RAM is shared between vCPUs like any memory between processors: whether
 * guests race is their business and nothing for the thread sanitizer. */
#define HANDLER(name)                                                                   \
    __attribute__((no_sanitize("thread"))) static const struct op *name(                \
        struct interp *v, const struct op *op)
#define NEXT return op[1].fn(v, op + 1)
#define SLOW return interp_general(v, op)

/* ---- registers --------------------------------------------------------- */

#define REG(bits, at) (*(uint##bits##_t *)((uint8_t *)v + (at)))
#define GET_8(at) REG(8, at)
#define GET_16(at) REG(16, at)
#define GET_32(at) REG(32, at)
#define GET_64(at) REG(64, at)
#define PUT_8(at, x) (REG(8, at) = (x))
#define PUT_16(at, x) (REG(16, at) = (x))
#define PUT_32(at, x) (REG(64, at) = (uint32_t)(x))
#define PUT_64(at, x) (REG(64, at) = (x))
#define GPR(n) (v->cpu.s.gpr[n])

/* ---- memory ------------------------------------------------------------ */

static inline uint64_t hot_offset(struct interp *v, const struct op *op)
{
    return (REG(64, op->base) + (REG(64, op->index) << op->shift) + (uint64_t)op->disp) &
           op->ea_mask;
}

static inline uint64_t hot_address(struct interp *v, const struct op *op)
{
    return REG(64, op->seg) + hot_offset(v, op);
}

/* The tag is compared with the page of the last byte: an access that crosses
 * into the next page cannot match, because that page has another slot. */
static inline bool hot_pointer(struct interp *v, uint64_t a, unsigned size, bool write,
                               uint8_t **p)
{
    const struct x86_tlb_entry *e = x86_tlb_at(&v->cpu, gva(a));

    *p = (uint8_t *)(a + e->addend);
    return likely((write ? e->write : e->read) == ((a + size - 1) & PAGE_MASK));
}

/* Guest operands may be misaligned, which memcpy is there to say. */
#define LOAD(bits, to, p) uint##bits##_t to; memcpy(&to, p, bits / 8)
#define STORE(bits, p, x)                                                               \
    do {                                                                                \
        uint##bits##_t stored_ = (x);                                                   \
        memcpy(p, &stored_, bits / 8);                                                  \
    } while (0)
#define READ_POINTER(bits, p)                                                           \
    uint8_t *p;                                                                         \
    if (!hot_pointer(v, hot_address(v, op), bits / 8, false, &p))                       \
        SLOW
#define WRITE_POINTER(bits, p)                                                          \
    uint8_t *p;                                                                         \
    if (!hot_pointer(v, hot_address(v, op), bits / 8, true, &p))                        \
        SLOW

/* ---- tables ------------------------------------------------------------ */

/* Forms by operands: register, immediate, memory; destination first. */
enum hot_form { HOT_RR, HOT_RI, HOT_RM, HOT_MR, HOT_MI, HOT_FORMS };
enum hot_unary { HOT_INC, HOT_DEC, HOT_NEG, HOT_NOT, HOT_UNARIES };
enum hot_shift { HOT_SHL, HOT_SHR, HOT_SAR, HOT_ROL, HOT_ROR, HOT_SHIFTS };
enum hot_binary { HOT_ADD, HOT_OR, HOT_ADC, HOT_SBB, HOT_AND, HOT_SUB, HOT_XOR, HOT_CMP,
                  HOT_TEST, HOT_BINARIES };
enum hot_wide { HOT_MUL, HOT_IMUL, HOT_DIV, HOT_WIDES };
enum hot_bit { HOT_BT, HOT_BTS, HOT_BTR, HOT_BTC, HOT_BITS };
enum hot_scan { HOT_BSF, HOT_BSR, HOT_TZCNT, HOT_LZCNT, HOT_POPCNT, HOT_SCANS };

/* Sizes by log2 of the bytes; where only 4 and 8 exist, by 0 and 1. A last
 * index [2] is register, memory. */
extern op_fn *const hot_binary[HOT_BINARIES][HOT_FORMS][4];
extern op_fn *const hot_unary[HOT_UNARIES][4][2];
extern op_fn *const hot_shift_imm[HOT_SHIFTS][4], *const hot_shift_cl[HOT_SHIFTS][4];
extern op_fn *const hot_imul[2][2], *const hot_imul_imm[2][2];
extern op_fn *const hot_wide[HOT_WIDES][2][2];
extern op_fn *const hot_bit[HOT_BITS][2][2];             /* last: register, immediate */
extern op_fn *const hot_scan[HOT_SCANS][2][2];
extern op_fn *const hot_mov[HOT_FORMS][4];
extern op_fn *const hot_movzx[2][2][2];                  /* source 1 2; destination 2 4 */
extern op_fn *const hot_movsx[3][3][2];                  /* source 1 2 4; destination 2 4 8 */
extern op_fn *const hot_lea[2], *const hot_bswap[2], *const hot_xchg[2];
extern op_fn *const hot_cmov[16][2][2], *const hot_set[16][2];
/* Stack and branches by mode: 32- and 64-bit code. */
extern op_fn *const hot_push_reg[2], *const hot_push_imm[2], *const hot_push_mem[2];
extern op_fn *const hot_pop_reg[2], *const hot_leave[2];
extern op_fn *const hot_call[2], *const hot_call_indirect[2][2], *const hot_ret[2];
extern op_fn *const hot_jump_indirect[2][2];
extern op_fn *const hot_jcc[16];
op_fn hot_nop, hot_pause, hot_cdqe, hot_cwde, hot_cdq, hot_cqo, hot_jmp;

#endif
