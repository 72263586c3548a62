/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ops_flow.c - hot handlers for the stack and for near branches.
 *
 * They exist for 64-bit code and for 32-bit code with flat segments and a
 * 32-bit stack. A branch is taken here only to a block that is known already:
 * somebody has then checked the target against the CS limit, for canonical
 * form and for being mapped. The first time it goes through the general
 * function, which raises what there is to raise.
 */
#include "engine/interp/hot.h"

/* ---- stack ------------------------------------------------------------- */

/* SP is one register in two widths: PUT_32 clears the upper half, which is
 * not visible outside 64-bit mode. */
#define PUSH_POINTER(bits, sp, p)                                                       \
    uint##bits##_t sp = (uint##bits##_t)(GPR(X86_RSP) - bits / 8);                      \
    uint8_t *p;                                                                         \
    if (!hot_pointer(v, sp, bits / 8, true, &p))                                        \
        SLOW
#define POP_POINTER(bits, sp, p)                                                        \
    uint##bits##_t sp = (uint##bits##_t)GPR(X86_RSP);                                   \
    uint8_t *p;                                                                         \
    if (!hot_pointer(v, sp, bits / 8, false, &p))                                       \
        SLOW

#define STACK(bits)                                                                     \
    HANDLER(push_reg_##bits)                                                            \
    {                                                                                   \
        PUSH_POINTER(bits, sp, p);                                                      \
        STORE(bits, p, GET_##bits(op->dst));                                            \
        GPR(X86_RSP) = sp;                                                              \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(push_imm_##bits)                                                            \
    {                                                                                   \
        PUSH_POINTER(bits, sp, p);                                                      \
        STORE(bits, p, (uint##bits##_t)op->imm);                                        \
        GPR(X86_RSP) = sp;                                                              \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(push_mem_##bits)                                                            \
    {                                                                                   \
        READ_POINTER(bits, from);                                                       \
        PUSH_POINTER(bits, sp, p);                                                      \
        LOAD(bits, x, from);                                                            \
        STORE(bits, p, x);                                                              \
        GPR(X86_RSP) = sp;                                                              \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(pop_reg_##bits)                                                             \
    {                                                                                   \
        POP_POINTER(bits, sp, p);                                                       \
        LOAD(bits, x, p);                                                               \
        GPR(X86_RSP) = (uint##bits##_t)(sp + bits / 8);                                 \
        PUT_##bits(op->dst, x);                                                         \
        NEXT;                                                                           \
    }                                                                                   \
    HANDLER(leave_##bits)                                                               \
    {                                                                                   \
        uint##bits##_t bp = (uint##bits##_t)GPR(X86_RBP);                               \
        uint8_t *p;                                                                     \
        if (!hot_pointer(v, bp, bits / 8, false, &p))                                   \
            SLOW;                                                                       \
        LOAD(bits, x, p);                                                               \
        GPR(X86_RSP) = (uint##bits##_t)(bp + bits / 8);                                 \
        GPR(X86_RBP) = x;                                                               \
        NEXT;                                                                           \
    }
STACK(32)
STACK(64)

op_fn *const hot_push_reg[2] = {push_reg_32, push_reg_64};
op_fn *const hot_push_imm[2] = {push_imm_32, push_imm_64};
op_fn *const hot_push_mem[2] = {push_mem_32, push_mem_64};
op_fn *const hot_pop_reg[2] = {pop_reg_32, pop_reg_64};
op_fn *const hot_leave[2] = {leave_32, leave_64};

/* ---- direct branches --------------------------------------------------- */

/* imm is the target's distance from the start of the block; ea_mask is that of
 * the instruction pointer. */
static inline uint64_t branch_target(const struct interp *v, const struct op *op)
{
    return (v->block_rip + (uint64_t)op->imm) & op->ea_mask;
}

#define TAKE(rip)                                                                       \
    do {                                                                                \
        struct link *link_ = &v->cur->link[1];                                          \
        if (unlikely(!interp_link_holds(v, link_, rip)))                                \
            SLOW;                                                                       \
        return interp_enter(v, link_->to, rip);                                         \
    } while (0)

#define JCC(cc)                                                                         \
    HANDLER(jcc_##cc)                                                                   \
    {                                                                                   \
        uint64_t rip;                                                                   \
        if (!x86_hf_condition(v->hf, cc))                                               \
            return interp_follow(v, &v->cur->link[0], (v->block_rip + op->next) & op->ea_mask); \
        rip = branch_target(v, op);                                                     \
        TAKE(rip);                                                                      \
    }
JCC(0)
JCC(1)
JCC(2)
JCC(3)
JCC(4)
JCC(5)
JCC(6)
JCC(7)
JCC(8)
JCC(9)
JCC(10)
JCC(11)
JCC(12)
JCC(13)
JCC(14)
JCC(15)
op_fn *const hot_jcc[16] = {jcc_0, jcc_1, jcc_2, jcc_3, jcc_4, jcc_5, jcc_6, jcc_7, jcc_8,
                            jcc_9, jcc_10, jcc_11, jcc_12, jcc_13, jcc_14, jcc_15};

const struct op *hot_jmp(struct interp *v, const struct op *op)
{
    uint64_t rip = branch_target(v, op);

    TAKE(rip);
}

#define CALL(bits)                                                                      \
    HANDLER(call_##bits)                                                                \
    {                                                                                   \
        uint64_t rip = branch_target(v, op);                                            \
        struct link *link = &v->cur->link[1];                                           \
        PUSH_POINTER(bits, sp, p);                                                      \
        if (unlikely(!interp_link_holds(v, link, rip)))                                 \
            SLOW;                                                                       \
        STORE(bits, p, (uint##bits##_t)(v->block_rip + op->next));                      \
        GPR(X86_RSP) = sp;                                                              \
        return interp_enter(v, link->to, rip);                                          \
    }
CALL(32)
CALL(64)
op_fn *const hot_call[2] = {call_32, call_64};

/* ---- indirect ones ----------------------------------------------------- */

#define INDIRECT(bits)                                                                  \
    HANDLER(ret_##bits)                                                                 \
    {                                                                                   \
        struct block *b;                                                                \
        POP_POINTER(bits, sp, p);                                                       \
        LOAD(bits, rip, p);                                                             \
        b = interp_jump_find(v, rip);                                                   \
        if (unlikely(!b))                                                               \
            SLOW;                                                                       \
        GPR(X86_RSP) = (uint##bits##_t)(sp + bits / 8 + (uint64_t)op->imm);             \
        return interp_enter(v, b, rip);                                                 \
    }                                                                                   \
    HANDLER(jump_##bits##_r)                                                            \
    {                                                                                   \
        uint##bits##_t rip = GET_##bits(op->dst);                                       \
        struct block *b = interp_jump_find(v, rip);                                     \
        if (unlikely(!b))                                                               \
            SLOW;                                                                       \
        return interp_enter(v, b, rip);                                                 \
    }                                                                                   \
    HANDLER(jump_##bits##_m)                                                            \
    {                                                                                   \
        struct block *b;                                                                \
        READ_POINTER(bits, p);                                                          \
        LOAD(bits, rip, p);                                                             \
        b = interp_jump_find(v, rip);                                                   \
        if (unlikely(!b))                                                               \
            SLOW;                                                                       \
        return interp_enter(v, b, rip);                                                 \
    }                                                                                   \
    HANDLER(call_##bits##_r)                                                            \
    {                                                                                   \
        uint##bits##_t rip = GET_##bits(op->dst);                                       \
        struct block *b = interp_jump_find(v, rip);                                     \
        PUSH_POINTER(bits, sp, p);                                                      \
        if (unlikely(!b))                                                               \
            SLOW;                                                                       \
        STORE(bits, p, (uint##bits##_t)(v->block_rip + op->next));                      \
        GPR(X86_RSP) = sp;                                                              \
        return interp_enter(v, b, rip);                                                 \
    }                                                                                   \
    HANDLER(call_##bits##_m)                                                            \
    {                                                                                   \
        struct block *b;                                                                \
        READ_POINTER(bits, from);                                                       \
        PUSH_POINTER(bits, sp, p);                                                      \
        LOAD(bits, rip, from);                                                          \
        b = interp_jump_find(v, rip);                                                   \
        if (unlikely(!b))                                                               \
            SLOW;                                                                       \
        STORE(bits, p, (uint##bits##_t)(v->block_rip + op->next));                      \
        GPR(X86_RSP) = sp;                                                              \
        return interp_enter(v, b, rip);                                                 \
    }
INDIRECT(32)
INDIRECT(64)
op_fn *const hot_ret[2] = {ret_32, ret_64};
op_fn *const hot_jump_indirect[2][2] = {{jump_32_r, jump_32_m}, {jump_64_r, jump_64_m}};
op_fn *const hot_call_indirect[2][2] = {{call_32_r, call_32_m}, {call_64_r, call_64_m}};
