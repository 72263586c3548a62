/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ops_alu.c - hot handlers for arithmetic, logic, shifts, bits.
 */
#include "engine/interp/hot.h"

/* ---- two operands ------------------------------------------------------ */

/* WRITE_ and SKIP_: does the result go anywhere (CMP, TEST)? */
#define WRITE_REG_(bits, at, x) PUT_##bits(at, x)
#define SKIP_REG_(bits, at, x) (void)(x)
#define WRITE_MEM_(bits, p, x) STORE(bits, p, x)
#define SKIP_MEM_(bits, p, x) (void)(x)
#define WRITE_PTR_(bits, p) WRITE_POINTER(bits, p)
#define SKIP_PTR_(bits, p) READ_POINTER(bits, p)

#define BINARY(name, alu, KEEP, bits)                                                   \
    HANDLER(name##_rr_##bits)                                                           \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        KEEP##_REG_(bits, op->dst, x86_##alu##_##bits(GET_##bits(op->dst),              \
                                                      GET_##bits(op->src), &hf));       \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_ri_##bits)                                                           \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        KEEP##_REG_(bits, op->dst, x86_##alu##_##bits(GET_##bits(op->dst),              \
                                                      (uint##bits##_t)op->imm, &hf));   \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_rm_##bits)                                                           \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, b, p);                                                               \
        KEEP##_REG_(bits, op->dst, x86_##alu##_##bits(GET_##bits(op->dst), b, &hf));    \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_mr_##bits)                                                           \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        KEEP##_PTR_(bits, p);                                                           \
        LOAD(bits, a, p);                                                               \
        KEEP##_MEM_(bits, p, x86_##alu##_##bits(a, GET_##bits(op->src), &hf));          \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_mi_##bits)                                                           \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        KEEP##_PTR_(bits, p);                                                           \
        LOAD(bits, a, p);                                                               \
        KEEP##_MEM_(bits, p, x86_##alu##_##bits(a, (uint##bits##_t)op->imm, &hf));      \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }
#define BINARIES(name, alu, KEEP)                                                       \
    BINARY(name, alu, KEEP, 8) BINARY(name, alu, KEEP, 16) BINARY(name, alu, KEEP, 32)  \
    BINARY(name, alu, KEEP, 64)
BINARIES(add, add, WRITE)
BINARIES(or, or, WRITE)
BINARIES(adc, adc, WRITE)
BINARIES(sbb, sbb, WRITE)
BINARIES(and, and, WRITE)
BINARIES(sub, sub, WRITE)
BINARIES(xor, xor, WRITE)
BINARIES(cmp, sub, SKIP)
BINARIES(test, and, SKIP)

#define SIZES(prefix) {prefix##_8, prefix##_16, prefix##_32, prefix##_64}
#define ROW(name)                                                                       \
    {[HOT_RR] = SIZES(name##_rr), [HOT_RI] = SIZES(name##_ri), [HOT_RM] = SIZES(name##_rm), \
     [HOT_MR] = SIZES(name##_mr), [HOT_MI] = SIZES(name##_mi)}
op_fn *const hot_binary[HOT_BINARIES][HOT_FORMS][4] = {
    [HOT_ADD] = ROW(add), [HOT_OR] = ROW(or),   [HOT_ADC] = ROW(adc),
    [HOT_SBB] = ROW(sbb), [HOT_AND] = ROW(and), [HOT_SUB] = ROW(sub),
    [HOT_XOR] = ROW(xor), [HOT_CMP] = ROW(cmp), [HOT_TEST] = ROW(test),
};

/* ---- one operand ------------------------------------------------------- */

#define UNARY(name, bits)                                                               \
    HANDLER(name##_r_##bits)                                                            \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        PUT_##bits(op->dst, x86_##name##_##bits(GET_##bits(op->dst), &hf));             \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_m_##bits)                                                            \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        WRITE_POINTER(bits, p);                                                         \
        LOAD(bits, a, p);                                                               \
        STORE(bits, p, x86_##name##_##bits(a, &hf));                                    \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }
#define NOT(bits)                                                                       \
    HANDLER(not_r_##bits)                                                               \
    {                                                                                   \
        PUT_##bits(op->dst, (uint##bits##_t)~GET_##bits(op->dst));                      \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(not_m_##bits)                                                               \
    {                                                                                   \
        WRITE_POINTER(bits, p);                                                         \
        LOAD(bits, a, p);                                                               \
        STORE(bits, p, (uint##bits##_t)~a);                                             \
        NEXT;                                                                           \
    }
#define UNARIES(name) UNARY(name, 8) UNARY(name, 16) UNARY(name, 32) UNARY(name, 64)
UNARIES(inc)
UNARIES(dec)
UNARIES(neg)
NOT(8)
NOT(16)
NOT(32)
NOT(64)

#define PAIR(name, bits) {name##_r_##bits, name##_m_##bits}
#define PAIRS(name) {PAIR(name, 8), PAIR(name, 16), PAIR(name, 32), PAIR(name, 64)}
op_fn *const hot_unary[HOT_UNARIES][4][2] = {
    [HOT_INC] = PAIRS(inc), [HOT_DEC] = PAIRS(dec), [HOT_NEG] = PAIRS(neg),
    [HOT_NOT] = PAIRS(not),
};

/* ---- shifts ------------------------------------------------------------ */

#define SHIFT(name, bits)                                                               \
    HANDLER(name##_imm_##bits)                                                          \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        PUT_##bits(op->dst, x86_##name##_##bits(GET_##bits(op->dst), (uint8_t)op->imm, &hf)); \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_cl_##bits)                                                           \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        PUT_##bits(op->dst,                                                             \
                   x86_##name##_##bits(GET_##bits(op->dst), (uint8_t)GPR(X86_RCX), &hf)); \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }
#define SHIFTS(name) SHIFT(name, 8) SHIFT(name, 16) SHIFT(name, 32) SHIFT(name, 64)
SHIFTS(shl)
SHIFTS(shr)
SHIFTS(sar)
SHIFTS(rol)
SHIFTS(ror)

op_fn *const hot_shift_imm[HOT_SHIFTS][4] = {
    [HOT_SHL] = SIZES(shl_imm), [HOT_SHR] = SIZES(shr_imm), [HOT_SAR] = SIZES(sar_imm),
    [HOT_ROL] = SIZES(rol_imm), [HOT_ROR] = SIZES(ror_imm),
};
op_fn *const hot_shift_cl[HOT_SHIFTS][4] = {
    [HOT_SHL] = SIZES(shl_cl), [HOT_SHR] = SIZES(shr_cl), [HOT_SAR] = SIZES(sar_cl),
    [HOT_ROL] = SIZES(rol_cl), [HOT_ROR] = SIZES(ror_cl),
};

/* ---- multiplication and division --------------------------------------- */

#define IMUL(bits)                                                                      \
    HANDLER(imul_r_##bits)                                                              \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        PUT_##bits(op->dst, x86_imul_##bits(GET_##bits(op->dst), GET_##bits(op->src), &hf)); \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(imul_m_##bits)                                                              \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, b, p);                                                               \
        PUT_##bits(op->dst, x86_imul_##bits(GET_##bits(op->dst), b, &hf));              \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(imul_imm_r_##bits)                                                          \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        PUT_##bits(op->dst, x86_imul_##bits(GET_##bits(op->src), (uint##bits##_t)op->imm, &hf)); \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(imul_imm_m_##bits)                                                          \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, a, p);                                                               \
        PUT_##bits(op->dst, x86_imul_##bits(a, (uint##bits##_t)op->imm, &hf));          \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }
IMUL(32)
IMUL(64)

#define WIDE_(alu, bits, b)                                                             \
    uint##bits##_t lo = (uint##bits##_t)GPR(X86_RAX), hi = (uint##bits##_t)GPR(X86_RDX); \
    uint16_t hf = v->hf;                                                                \
    x86_##alu##_##bits(&lo, &hi, b, &hf);                                               \
    GPR(X86_RAX) = lo;                                                                  \
    GPR(X86_RDX) = hi;                                                                  \
    v->hf = hf;                                                                         \
    NEXT
#define WIDE(name, alu, bits)                                                           \
    HANDLER(name##_r_##bits)                                                            \
    {                                                                                   \
        WIDE_(alu, bits, GET_##bits(op->dst));                                          \
    }                                                                                   \
    HANDLER(name##_m_##bits)                                                            \
    {                                                                                   \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, b, p);                                                               \
        WIDE_(alu, bits, b);                                                            \
    }
WIDE(mul, mul, 32)
WIDE(mul, mul, 64)
WIDE(imulw, imulw, 32)
WIDE(imulw, imulw, 64)

/* High half >= divisor, zero included: #DE, which is for the general function. */
#define DIV(bits)                                                                       \
    HANDLER(div_r_##bits)                                                               \
    {                                                                                   \
        uint##bits##_t b = GET_##bits(op->dst);                                         \
        if (unlikely((uint##bits##_t)GPR(X86_RDX) >= b))                                \
            SLOW;                                                                       \
        WIDE_(div, bits, b);                                                            \
    }                                                                                   \
    HANDLER(div_m_##bits)                                                               \
    {                                                                                   \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, b, p);                                                               \
        if (unlikely((uint##bits##_t)GPR(X86_RDX) >= b))                                \
            SLOW;                                                                       \
        WIDE_(div, bits, b);                                                            \
    }
DIV(32)
DIV(64)

op_fn *const hot_imul[2][2] = {PAIR(imul, 32), PAIR(imul, 64)};
op_fn *const hot_imul_imm[2][2] = {PAIR(imul_imm, 32), PAIR(imul_imm, 64)};
op_fn *const hot_wide[HOT_WIDES][2][2] = {
    [HOT_MUL] = {PAIR(mul, 32), PAIR(mul, 64)},
    [HOT_IMUL] = {PAIR(imulw, 32), PAIR(imulw, 64)},
    [HOT_DIV] = {PAIR(div, 32), PAIR(div, 64)},
};

/* ---- bits -------------------------------------------------------------- */

#define BIT_(name, bits, b, KEEP)                                                     \
    uint16_t hf = v->hf;                                                                \
    KEEP##_REG_(bits, op->dst, x86_##name##_##bits(GET_##bits(op->dst), b, &hf));     \
    v->hf = hf;                                                                         \
    NEXT
#define BIT(name, bits, KEEP)                                                         \
    HANDLER(name##_r_##bits)                                                            \
    {                                                                                   \
        BIT_(name, bits, GET_##bits(op->src), KEEP);                                  \
    }                                                                                   \
    HANDLER(name##_m_##bits)                                                            \
    {                                                                                   \
        BIT_(name, bits, (uint##bits##_t)op->imm, KEEP);                              \
    }
BIT(bt, 32, SKIP)
BIT(bt, 64, SKIP)
BIT(bts, 32, WRITE)
BIT(bts, 64, WRITE)
BIT(btr, 32, WRITE)
BIT(btr, 64, WRITE)
BIT(btc, 32, WRITE)
BIT(btc, 64, WRITE)

op_fn *const hot_bit[HOT_BITS][2][2] = {
    [HOT_BT] = {PAIR(bt, 32), PAIR(bt, 64)},
    [HOT_BTS] = {PAIR(bts, 32), PAIR(bts, 64)},
    [HOT_BTR] = {PAIR(btr, 32), PAIR(btr, 64)},
    [HOT_BTC] = {PAIR(btc, 32), PAIR(btc, 64)},
};

#define SCAN(name, bits)                                                                \
    HANDLER(name##_r_##bits)                                                            \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        PUT_64(op->dst, x86_##name##_##bits(GET_64(op->dst), GET_##bits(op->src), &hf)); \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_m_##bits)                                                            \
    {                                                                                   \
        uint16_t hf = v->hf;                                                            \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, b, p);                                                               \
        PUT_64(op->dst, x86_##name##_##bits(GET_64(op->dst), b, &hf));                  \
        v->hf = hf;                                                                     \
        NEXT;                                                                           \
    }
#define SCANS(name) SCAN(name, 32) SCAN(name, 64)
SCANS(bsf)
SCANS(bsr)
SCANS(tzcnt)
SCANS(lzcnt)
SCANS(popcnt)

op_fn *const hot_scan[HOT_SCANS][2][2] = {
    [HOT_BSF] = {PAIR(bsf, 32), PAIR(bsf, 64)},
    [HOT_BSR] = {PAIR(bsr, 32), PAIR(bsr, 64)},
    [HOT_TZCNT] = {PAIR(tzcnt, 32), PAIR(tzcnt, 64)},
    [HOT_LZCNT] = {PAIR(lzcnt, 32), PAIR(lzcnt, 64)},
    [HOT_POPCNT] = {PAIR(popcnt, 32), PAIR(popcnt, 64)},
};
