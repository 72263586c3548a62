/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ops_move.c - hot handlers that move and convert, and those that depend on a
 * condition without branching.
 */
#include "engine/interp/hot.h"

/* ---- MOV --------------------------------------------------------------- */

#define MOV(bits)                                                                       \
    HANDLER(mov_rr_##bits)                                                              \
    {                                                                                   \
        PUT_##bits(op->dst, GET_##bits(op->src));                                       \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(mov_ri_##bits)                                                              \
    {                                                                                   \
        PUT_##bits(op->dst, (uint##bits##_t)op->imm);                                   \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(mov_rm_##bits)                                                              \
    {                                                                                   \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, x, p);                                                               \
        PUT_##bits(op->dst, x);                                                         \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(mov_mr_##bits)                                                              \
    {                                                                                   \
        WRITE_POINTER(bits, p);                                                         \
        STORE(bits, p, GET_##bits(op->src));                                            \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(mov_mi_##bits)                                                              \
    {                                                                                   \
        WRITE_POINTER(bits, p);                                                         \
        STORE(bits, p, (uint##bits##_t)op->imm);                                        \
        NEXT;                                                                           \
    }
MOV(8)
MOV(16)
MOV(32)
MOV(64)

#define SIZES(prefix) {prefix##_8, prefix##_16, prefix##_32, prefix##_64}
op_fn *const hot_mov[HOT_FORMS][4] = {
    [HOT_RR] = SIZES(mov_rr), [HOT_RI] = SIZES(mov_ri), [HOT_RM] = SIZES(mov_rm),
    [HOT_MR] = SIZES(mov_mr), [HOT_MI] = SIZES(mov_mi),
};

/* ---- MOVZX, MOVSX, LEA ------------------------------------------------- */

#define EXTEND(name, type, from, to)                                                    \
    HANDLER(name##_##from##_##to##_r)                                                   \
    {                                                                                   \
        PUT_##to(op->dst, (uint##to##_t)(type##from##_t)GET_##from(op->src));           \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(name##_##from##_##to##_m)                                                   \
    {                                                                                   \
        READ_POINTER(from, p);                                                          \
        LOAD(from, x, p);                                                               \
        PUT_##to(op->dst, (uint##to##_t)(type##from##_t)x);                             \
        NEXT;                                                                           \
    }
EXTEND(movzx, uint, 8, 16)
EXTEND(movzx, uint, 8, 32)
EXTEND(movzx, uint, 16, 16)
EXTEND(movzx, uint, 16, 32)
EXTEND(movsx, int, 8, 16)
EXTEND(movsx, int, 8, 32)
EXTEND(movsx, int, 8, 64)
EXTEND(movsx, int, 16, 16)
EXTEND(movsx, int, 16, 32)
EXTEND(movsx, int, 16, 64)
EXTEND(movsx, int, 32, 32)
EXTEND(movsx, int, 32, 64)

#define EXTENSION(name, from, to) {name##_##from##_##to##_r, name##_##from##_##to##_m}
op_fn *const hot_movzx[2][2][2] = {
    {EXTENSION(movzx, 8, 16), EXTENSION(movzx, 8, 32)},
    {EXTENSION(movzx, 16, 16), EXTENSION(movzx, 16, 32)},
};
op_fn *const hot_movsx[3][3][2] = {
    {EXTENSION(movsx, 8, 16), EXTENSION(movsx, 8, 32), EXTENSION(movsx, 8, 64)},
    {EXTENSION(movsx, 16, 16), EXTENSION(movsx, 16, 32), EXTENSION(movsx, 16, 64)},
    {{NULL, NULL}, EXTENSION(movsx, 32, 32), EXTENSION(movsx, 32, 64)},
};

HANDLER(lea_32)
{
    PUT_32(op->dst, hot_offset(v, op));
    NEXT;
}

HANDLER(lea_64)
{
    PUT_64(op->dst, hot_offset(v, op));
    NEXT;
}

op_fn *const hot_lea[2] = {lea_32, lea_64};

/* ---- within registers -------------------------------------------------- */

#define SWAP(bits)                                                                      \
    HANDLER(bswap_##bits)                                                               \
    {                                                                                   \
        PUT_##bits(op->dst, __builtin_bswap##bits(GET_##bits(op->dst)));                \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(xchg_##bits)                                                                \
    {                                                                                   \
        uint##bits##_t a = GET_##bits(op->dst), b = GET_##bits(op->src);                \
        PUT_##bits(op->dst, b);                                                         \
        PUT_##bits(op->src, a);                                                         \
        NEXT;                                                                           \
    }
SWAP(32)
SWAP(64)
op_fn *const hot_bswap[2] = {bswap_32, bswap_64};
op_fn *const hot_xchg[2] = {xchg_32, xchg_64};

const struct op *hot_nop(struct interp *v, const struct op *op)
{
    NEXT;
}

const struct op *hot_pause(struct interp *v, const struct op *op)
{
    if (unlikely(interp_paused(v)))
        interp_yield(v);
    NEXT;
}

const struct op *hot_cwde(struct interp *v, const struct op *op)
{
    GPR(X86_RAX) = (uint32_t)(int16_t)GPR(X86_RAX);
    NEXT;
}

const struct op *hot_cdqe(struct interp *v, const struct op *op)
{
    GPR(X86_RAX) = (uint64_t)(int32_t)GPR(X86_RAX);
    NEXT;
}

const struct op *hot_cdq(struct interp *v, const struct op *op)
{
    GPR(X86_RDX) = (uint32_t)((int32_t)GPR(X86_RAX) >> 31);
    NEXT;
}

const struct op *hot_cqo(struct interp *v, const struct op *op)
{
    GPR(X86_RDX) = (uint64_t)((int64_t)GPR(X86_RAX) >> 63);
    NEXT;
}

/* ---- on a condition ---------------------------------------------------- */

#define CMOV(cc, bits)                                                                  \
    HANDLER(cmov_##cc##_##bits##_r)                                                     \
    {                                                                                   \
        uint##bits##_t x = GET_##bits(op->src);                                         \
        PUT_##bits(op->dst, x86_hf_condition(v->hf, cc) ? x : GET_##bits(op->dst));     \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(cmov_##cc##_##bits##_m)                                                     \
    {                                                                                   \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, x, p);                                                               \
        PUT_##bits(op->dst, x86_hf_condition(v->hf, cc) ? x : GET_##bits(op->dst));     \
        NEXT;                                                                           \
    }
#define SET(cc)                                                                         \
    HANDLER(set_##cc##_r)                                                               \
    {                                                                                   \
        PUT_8(op->dst, x86_hf_condition(v->hf, cc));                                    \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(set_##cc##_m)                                                               \
    {                                                                                   \
        WRITE_POINTER(8, p);                                                            \
        *p = x86_hf_condition(v->hf, cc);                                               \
        NEXT;                                                                           \
    }
#define CONDITION(cc) CMOV(cc, 32) CMOV(cc, 64) SET(cc)
CONDITION(0)
CONDITION(1)
CONDITION(2)
CONDITION(3)
CONDITION(4)
CONDITION(5)
CONDITION(6)
CONDITION(7)
CONDITION(8)
CONDITION(9)
CONDITION(10)
CONDITION(11)
CONDITION(12)
CONDITION(13)
CONDITION(14)
CONDITION(15)

#define CMOV_ROW(cc)                                                                    \
    {{cmov_##cc##_32_r, cmov_##cc##_32_m}, {cmov_##cc##_64_r, cmov_##cc##_64_m}}
#define SET_ROW(cc) {set_##cc##_r, set_##cc##_m}
op_fn *const hot_cmov[16][2][2] = {
    CMOV_ROW(0), CMOV_ROW(1), CMOV_ROW(2), CMOV_ROW(3), CMOV_ROW(4), CMOV_ROW(5),
    CMOV_ROW(6), CMOV_ROW(7), CMOV_ROW(8), CMOV_ROW(9), CMOV_ROW(10), CMOV_ROW(11),
    CMOV_ROW(12), CMOV_ROW(13), CMOV_ROW(14), CMOV_ROW(15),
};
op_fn *const hot_set[16][2] = {
    SET_ROW(0), SET_ROW(1), SET_ROW(2), SET_ROW(3), SET_ROW(4), SET_ROW(5),
    SET_ROW(6), SET_ROW(7), SET_ROW(8), SET_ROW(9), SET_ROW(10), SET_ROW(11),
    SET_ROW(12), SET_ROW(13), SET_ROW(14), SET_ROW(15),
};
