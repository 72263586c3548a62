/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_flow.c - the stack and the ways out of a block.
 *
 * Jumps within a page are linked to their target for good: whoever executes
 * here has this page at this address, so the target is mapped as well. Jumps to
 * other pages and indirect jumps go through the jump table of the ring, which
 * is emptied whenever translations of addresses change.
 *
 * Every jump that may close a loop looks at frame.go: backward ones and
 * indirect ones. That bounds the time until an interrupt is seen by the longest
 * run of forward jumps, which is a few thousand instructions.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>

#define M(name) ZYDIS_MNEMONIC_##name

/* ---- push, pop, leave ---------------------------------------------------- */

unsigned dbt_stack_bytes(const struct dbt_translation *t, const struct x86_insn *insn)
{
    if (t->code_bits == 64)
        return insn->operand_bits == 16 ? 0 : 8;
    return insn->operand_bits / 8u;
}

static unsigned stack_bits(const struct dbt_translation *t)
{
    return t->code_bits == 64 ? 64 : t->mode & DBT_MODE_STACK16 ? 16 : 32;
}

void dbt_emit_pointer(struct dbt_translation *t, unsigned bits, enum host_reg reg,
                      enum x86_seg seg)
{
    t->seg = (uint8_t)seg;
    if (bits == 64)
        emit_mov_rr(&t->e, H_R11, reg);
    else if (bits == 32)
        emit_mov32_rr(&t->e, H_R11, reg);
    else
        emit_movzx16(&t->e, H_R11, reg);
}

void dbt_emit_pointer_add(struct dbt_translation *t, unsigned bits, enum host_reg reg, int32_t n)
{
    if (bits == 16)
        e8(&t->e, 0x66);
    emit_rm(&t->e, 0x8d, bits == 64, reg, h_base(reg, n));
}

void dbt_emit_top(struct dbt_translation *t, enum host_reg reg)
{
    dbt_emit_pointer(t, stack_bits(t), reg, X86_SS);
}

void dbt_emit_sp_add(struct dbt_translation *t, int32_t n)
{
    dbt_emit_pointer_add(t, stack_bits(t), H_R9, n);
}

void dbt_emit_load_value(struct dbt_translation *t, unsigned bytes, enum host_reg to,
                         struct host_mem from)
{
    emit_rm(&t->e, bytes == 2 ? 0x0f | 0xb7 << 8 : 0x8b, bytes == 8, to, from);
}

void dbt_emit_store_value(struct dbt_translation *t, unsigned bytes, struct host_mem to,
                          enum host_reg from)
{
    if (bytes == 2)
        e8(&t->e, 0x66);
    emit_rm(&t->e, 0x89, bytes == 8, from, to);
}

/* To a register, of which the rest stays if it is 2 bytes. */
static void emit_load_part(struct dbt_translation *t, unsigned bytes, enum host_reg to,
                           struct host_mem from)
{
    if (bytes == 2)
        e8(&t->e, 0x66);
    emit_rm(&t->e, 0x8b, bytes == 8, to, from);
}

void dbt_emit_push_address(struct dbt_translation *t, unsigned bytes)
{
    struct host_mem top = h_base(H_R9, -(int32_t)bytes);
    unsigned bits = stack_bits(t);

    t->seg = X86_SS;
    if (bits == 64)
        emit_lea(&t->e, H_R11, top);
    else
        emit_lea32(&t->e, H_R11, top);
    if (bits == 16)
        emit_movzx16(&t->e, H_R11, H_R11);
    dbt_emit_access(t, bytes, true);
}

/* Where a push stores; rcx is free. */
static struct host_mem push_place(struct dbt_translation *t, unsigned bytes)
{
    struct host_mem place;

    if (dbt_cluster_operand(t, &place))
        return place;
    dbt_emit_push_address(t, bytes);
    dbt_emit_fold(t);
    return h_base(H_R11, 0);
}

/* Where a pop loads from: the top of stack as `reg` has it. May use rcx and r11. */
static struct host_mem pop_place(struct dbt_translation *t, unsigned bytes, enum host_reg reg)
{
    struct host_mem place;

    if (dbt_cluster_operand(t, &place))
        return place;
    dbt_emit_top(t, reg);
    dbt_emit_access(t, bytes, false);
    return h_index(H_R11, H_RCX, 1, 0);
}

/* Pushes what `slot` of the frame holds. */
static void emit_push_slot(struct dbt_translation *t, unsigned bytes, struct host_mem slot)
{
    struct host_mem place = push_place(t, bytes);

    emit_load(&t->e, H_RCX, slot);
    dbt_emit_store_value(t, bytes, place, H_RCX);
    dbt_emit_sp_add(t, -(int32_t)bytes);
}

static void emit_push_imm(struct dbt_translation *t, unsigned bytes, uint64_t value)
{
    struct host_mem place = push_place(t, bytes);

    if (bytes == 8 && (int64_t)value != (int32_t)value) {
        emit_mov_ri(&t->e, H_RCX, value);
        emit_rm(&t->e, 0x89, true, H_RCX, place);
    } else {
        if (bytes == 2)
            e8(&t->e, 0x66);
        emit_rm(&t->e, 0xc7, bytes == 8, 0, place);
        if (bytes == 2)
            e16(&t->e, (uint16_t)value);
        else
            e32(&t->e, (uint32_t)value);
    }
    dbt_emit_sp_add(t, -(int32_t)bytes);
}

/* Loads the memory operand of PUSH or CALL into frame.tmp. */
static bool emit_load_tmp(struct dbt_translation *t, const struct x86_insn *insn, unsigned bytes)
{
    struct host_mem from;

    if (!dbt_emit_operand(t, insn, false, false, &from))
        return false;
    dbt_emit_load_value(t, bytes, H_RCX, from);
    emit_store(&t->e, h_frame(offsetof(struct dbt_frame, tmp)), H_RCX);
    t->keeps_current = false;
    return true;
}

static bool emit_push(struct dbt_translation *t, const struct x86_insn *insn, unsigned bytes)
{
    const struct x86_operand *o = &insn->op[0];

    switch (o->kind) {
    case X86_OPND_GPR:
        if (t->home[o->reg] == H_NONE) {
            emit_push_slot(t, bytes, dbt_slot(o->reg));
            return true;
        }
        dbt_emit_store_value(t, bytes, push_place(t, bytes), t->home[o->reg]);
        dbt_emit_sp_add(t, -(int32_t)bytes);
        return true;
    case X86_OPND_IMM:
        emit_push_imm(t, bytes, (uint64_t)insn->imm[o->reg]);
        return true;
    case X86_OPND_MEM:
        if (!emit_load_tmp(t, insn, bytes))
            return false;
        emit_push_slot(t, bytes, h_frame(offsetof(struct dbt_frame, tmp)));
        return true;
    default:
        return false;
    }
}

static bool emit_pop(struct dbt_translation *t, const struct x86_insn *insn, unsigned bytes)
{
    const struct x86_operand *o = &insn->op[0];
    struct host_mem top;

    /* POP SP: what is popped counts, but the rest of ESP has moved. */
    if (o->kind != X86_OPND_GPR || (o->reg == X86_RSP && bytes == 2))
        return false;
    top = pop_place(t, bytes, H_R9);
    if (t->home[o->reg] != H_NONE) {
        emit_load_part(t, bytes, t->home[o->reg], top);
    } else {
        emit_rm(&t->e, 0x8b, bytes == 8, H_RCX, top);
        emit_store(&t->e, dbt_slot(o->reg), H_RCX);
    }
    if (o->reg != X86_RSP)
        dbt_emit_sp_add(t, (int32_t)bytes);
    return true;
}

static bool emit_leave(struct dbt_translation *t, unsigned bytes)
{
    struct host_mem from = pop_place(t, bytes, H_RBP);
    unsigned bits = stack_bits(t);

    /* The load first: at an address that is not canonical it faults. */
    emit_rm(&t->e, 0x8b, bytes == 8, H_RCX, from);
    if (bits == 16)
        e8(&t->e, 0x66);
    emit_rm(&t->e, 0x8d, bits == 64, H_R9, h_base(H_RBP, (int32_t)bytes));
    if (bytes == 2)
        e8(&t->e, 0x66);
    emit_rr(&t->e, 0x8b, bytes == 8, H_RBP, H_RCX);
    return true;
}

bool dbt_emit_stack(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned bytes = dbt_stack_bytes(t, insn);

    if (!bytes)
        return false;
    switch (insn->mnemonic) {
    case M(PUSH): return emit_push(t, insn, bytes);
    case M(POP): return emit_pop(t, insn, bytes);
    default: return emit_leave(t, bytes);
    }
}

/* ---- going on ------------------------------------------------------------ */

static void emit_poll(struct dbt_translation *t, uint64_t target)
{
    dbt_reach(t, 16);
    if (t->dead) {
        emit_cmp_m_zero(&t->e, h_frame(offsetof(struct dbt_frame, go)));
        dbt_late_here(t, DBT_STUB_POLL, DBT_EXIT_LOOKUP, CC_E)->target = target;
        return;
    }
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, go)));
    dbt_stub_here(t, DBT_STUB_POLL, DBT_EXIT_LOOKUP)->target = target;
}

static struct host_mem dbt_jump_entry(uint64_t rip)
{
    return h_frame(offsetof(struct dbt_frame, jump) + 8 * dbt_jump_index(rip));
}

/* Target in r11. The origin is for the dispatcher, should the target turn out
 * to be none: then the jump itself has to fault. */
void dbt_emit_indirect(struct dbt_translation *t)
{
    dbt_reach(t, 48);
    emit_store32_imm(&t->e, h_frame(offsetof(struct dbt_frame, origin)),
                     (uint32_t)(t->e.p - t->cache_start));
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, go)));
    dbt_stub_here(t, DBT_STUB_EXIT, DBT_EXIT_LOOKUP);
    emit_pext(&t->e, H_RCX, H_R11, h_frame(offsetof(struct dbt_frame, jump_mask)));
    emit_jmp_mem(&t->e, h_index(H_RSP, H_RCX, 8, H_FRAME_BIAS + offsetof(struct dbt_frame, jump)));
}

static bool same_page(const struct dbt_translation *t, uint64_t a, uint64_t b)
{
    return !((dbt_linear(t->mode, a) ^ dbt_linear(t->mode, b)) & PAGE_MASK);
}

bool dbt_may_link(const struct dbt_translation *t, uint64_t rip, uint64_t target)
{
    return same_page(t, rip, target) && !dbt_near_page_end(dbt_linear(t->mode, target));
}

void dbt_link_here(struct dbt_translation *t, uint8_t *jump, uint64_t target)
{
    struct dbt_site *site = dbt_exit_here(t, DBT_EXIT_CHAIN);

    if (site) {
        site->target = target;
        site->jump = jump;
    }
}

static bool canonical(uint64_t a)
{
    return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

/* Through the jump table, the entry of which is known. */
void dbt_emit_goto_page(struct dbt_translation *t, uint64_t target)
{
    emit_mov_ri(&t->e, H_R11, target);
    if (t->code_bits != 64 || canonical(target))
        emit_jmp_mem(&t->e, dbt_jump_entry(target));
    else
        dbt_emit_indirect(t);
}

void dbt_emit_goto(struct dbt_translation *t, uint64_t target)
{
    uint64_t rip = t->insn[t->insns].rip;

    dbt_reach(t, 48);
    if (target <= rip)
        emit_poll(t, target);
    if (dbt_may_link(t, rip, target))
        dbt_link_here(t, emit_jmp(&t->e, NULL), target);
    else
        dbt_emit_goto_page(t, target);
}

/* A trace that goes on in another page: is the page still there? Exactly then its
 * block is in the jump table. */
static void emit_page_check(struct dbt_translation *t, const struct dbt_step *s)
{
    uint8_t *same;

    dbt_reach(t, 104);
    if (t->dead) {
        emit_lea_rip(&t->e, H_R11, dbt_cache_near(t->cache, s->entry));
        emit_cmp_rm(&t->e, H_R11, dbt_jump_entry(s->onward));
        dbt_late_here(t, DBT_STUB_PAGE, DBT_EXIT_LOOKUP, CC_NE)->target = s->onward;
        t->keeps_current = false;
        return;
    }
    emit_load(&t->e, H_RCX, dbt_jump_entry(s->onward));
    emit_lea_rip(&t->e, H_R11, dbt_cache_near(t->cache, s->entry));
    emit_not(&t->e, H_RCX);                 /* -1 - entry */
    emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, 1));
    same = emit_jrcxz(&t->e);
    dbt_emit_goto_page(t, s->onward);
    emit_patch8(&t->e, same);
    t->keeps_current = false;
}

/* Goes on at `target`, behind step `s` or in its usual direction. */
static void emit_onward(struct dbt_translation *t, const struct dbt_step *s, uint64_t target)
{
    t->dead = s->dead_behind >> t->second & 1;
    switch (s->flow) {
    case DBT_FLOW_LOOPS:
        emit_poll(t, target);
        if (t->second)
            emit_jmp(&t->e, t->again);
        else if (2 * t->steps <= DBT_TRACE_INSNS)
            dbt_loop_enter(t);
        else
            emit_jmp(&t->e, t->body);
        break;
    case DBT_FLOW_FOLLOWED:
        if (target <= s->rip)
            emit_poll(t, target);
        if (!same_page(t, target, s->rip))
            emit_page_check(t, s);
        break;
    default:
        dbt_emit_goto(t, target);
        break;
    }
}

/* ---- branches ------------------------------------------------------------ */

uint64_t dbt_branch_target(const struct dbt_translation *t, const struct x86_insn *insn,
                           uint64_t next)
{
    uint64_t target = dbt_rip_add(t->mode, next, (uint64_t)insn->imm[0]);

    if (t->code_bits != 64 && insn->operand_bits == 16)
        target &= ~0xffff0000ull;
    return target;
}

/* May it lead to this address? If not, it faults. */
static bool within_code(const struct dbt_translation *t, uint64_t target)
{
    return !(t->mode & DBT_MODE_CODE64K) || (uint32_t)target <= UINT16_MAX;
}

/* Leaves if the address of 4 bytes in `reg` is not within a segment of 64 KiB. */
static void emit_limit_check(struct dbt_translation *t, enum host_reg reg)
{
    uint8_t *fine;

    dbt_reach(t, 48);
    emit_rorx(&t->e, H_RCX, reg, 16);
    emit_movzx16(&t->e, H_RCX, H_RCX);
    fine = emit_jrcxz(&t->e);
    dbt_exit_here(t, DBT_EXIT_INTERP);
    emit_patch8(&t->e, fine);
}

/* From EIP in r11 to what stands for it here (dbt_rip). Uses rcx. */
static void emit_code_base(struct dbt_translation *t)
{
    uint64_t base = t->code_bits == 64 ? 0 : t->rip & ~(uint64_t)UINT32_MAX;

    if (!base)
        return;
    emit_mov_ri(&t->e, H_RCX, base);
    emit_lea(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
}

/* The condition of Jcc is the low nibble of its opcode, short or near. */
static unsigned condition(const struct x86_insn *insn)
{
    return insn->bytes[insn->imm_at - 1] & 15;
}

static void emit_conditional(struct dbt_translation *t, const struct dbt_step *s, uint64_t next)
{
    const struct x86_insn *insn = &s->insn;
    uint64_t taken = dbt_branch_target(t, insn, next);
    uint64_t usual = s->flow == DBT_FLOW_ENDS ? next : s->onward;

    t->keeps_current = true;
    if (usual == next)
        dbt_far_here(t, condition(insn), taken);
    else
        dbt_far_here(t, condition(insn) ^ 1, next);
    emit_onward(t, s, usual);
}

/* JRCXZ and LOOP, with the counter width of the address size. RCX is in r10. */
static bool emit_counted(struct dbt_translation *t, const struct x86_insn *insn, uint64_t next)
{
    bool loop = insn->mnemonic == M(LOOP);
    uint8_t *zero, *done;

    dbt_stubs_flush(t);
    if (loop)
        dbt_emit_pointer_add(t, insn->address_bits, H_R10, -1);
    if (insn->address_bits == 64)
        emit_mov_rr(&t->e, H_RCX, H_R10);
    else if (insn->address_bits == 32)
        emit_mov32_rr(&t->e, H_RCX, H_R10);
    else
        emit_movzx16(&t->e, H_RCX, H_R10);
    zero = emit_jrcxz(&t->e);
    done = emit_jmp(&t->e, NULL);
    emit_patch8(&t->e, zero);
    dbt_emit_goto(t, loop ? next : dbt_branch_target(t, insn, next));
    emit_patch32(&t->e, done);
    dbt_emit_goto(t, loop ? dbt_branch_target(t, insn, next) : next);
    return true;
}

/* What is left of a value of so many bytes. */
static void emit_narrow(struct dbt_translation *t, unsigned bytes, enum host_reg reg)
{
    if (bytes == 4)
        emit_mov32_rr(&t->e, reg, reg);
    else if (bytes == 2)
        emit_movzx16(&t->e, reg, reg);
}

/* The target of an indirect CALL, kept in frame.tmp. */
static bool emit_indirect_target(struct dbt_translation *t, const struct x86_insn *insn,
                                 unsigned bytes)
{
    const struct x86_operand *o = &insn->op[0];

    if (o->kind == X86_OPND_MEM)
        return emit_load_tmp(t, insn, bytes);
    if (o->kind != X86_OPND_GPR)
        return false;
    dbt_emit_get(t, H_RCX, o->reg);
    emit_narrow(t, bytes, H_RCX);
    emit_store(&t->e, h_frame(offsetof(struct dbt_frame, tmp)), H_RCX);
    return true;
}

/* A CALL to an address that is none pushes nothing: it is the interpreter's.
 * RETs and JMPs are undone by the dispatcher. */
static void emit_canonical_check(struct dbt_translation *t)
{
    uint8_t *low, *high;

    dbt_reach(t, 104);
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, tmp)));
    emit_pext(&t->e, H_RCX, H_RCX, h_frame(offsetof(struct dbt_frame, high_mask)));
    low = emit_jrcxz(&t->e);
    emit_lea(&t->e, H_RCX, h_base(H_RCX, -0x1ffff));
    high = emit_jrcxz(&t->e);
    dbt_exit_here(t, DBT_EXIT_INTERP);
    emit_patch8(&t->e, low);
    emit_patch8(&t->e, high);
}

static bool emit_call(struct dbt_translation *t, const struct dbt_step *s, unsigned bytes,
                      uint64_t next)
{
    const struct x86_insn *insn = &s->insn;
    bool direct = insn->op[0].kind == X86_OPND_IMM;

    if (!direct && !emit_indirect_target(t, insn, bytes))
        return false;
    if (!direct && bytes == 8)
        emit_canonical_check(t);
    if (!direct && bytes == 4 && t->mode & DBT_MODE_CODE64K) {
        emit_load(&t->e, H_R11, h_frame(offsetof(struct dbt_frame, tmp)));
        emit_limit_check(t, H_R11);
    }
    emit_push_imm(t, bytes, bytes == 8 ? next : (uint32_t)next);
    if (direct) {
        emit_onward(t, s, dbt_branch_target(t, insn, next));
    } else {
        emit_load(&t->e, H_R11, h_frame(offsetof(struct dbt_frame, tmp)));
        emit_code_base(t);
        dbt_emit_indirect(t);
    }
    return true;
}

/* r11 = where an indirect JMP leads. */
static bool emit_jmp_target(struct dbt_translation *t, const struct x86_insn *insn, unsigned bytes)
{
    const struct x86_operand *o = &insn->op[0];
    struct host_mem from;

    if (o->kind == X86_OPND_MEM) {
        if (!dbt_emit_operand(t, insn, false, false, &from))
            return false;
        dbt_emit_load_value(t, bytes, H_R11, from);
    } else if (o->kind == X86_OPND_GPR) {
        dbt_emit_get(t, H_R11, o->reg);
        emit_narrow(t, bytes, H_R11);
    } else {
        return false;
    }
    if (bytes == 4 && t->mode & DBT_MODE_CODE64K)
        emit_limit_check(t, H_R11);
    emit_code_base(t);
    t->keeps_current = false;
    return true;
}

static bool emit_jmp_insn(struct dbt_translation *t, const struct dbt_step *s, unsigned bytes,
                          uint64_t next)
{
    if (s->insn.op[0].kind == X86_OPND_IMM) {
        t->keeps_current = true;
        emit_onward(t, s, dbt_branch_target(t, &s->insn, next));
        return true;
    }
    if (!emit_jmp_target(t, &s->insn, bytes))
        return false;
    dbt_emit_indirect(t);
    return true;
}

bool dbt_branch_is_ret(const struct x86_insn *insn)
{
    return insn->mnemonic == M(RET);
}

unsigned dbt_ret_drop(const struct x86_insn *insn)
{
    return insn->operands ? (uint16_t)insn->imm[0] : 0;
}

/* Returns to where the trace called from, unless r11 says otherwise. */
static void emit_return_to(struct dbt_translation *t, const struct dbt_step *s)
{
    uint64_t expected = s->onward;
    uint8_t *same;

    dbt_reach(t, 120);
    if (s->dead_behind >> t->second & 1) {
        if ((int64_t)expected == (int32_t)expected) {
            emit_cmp_ri(&t->e, H_R11, (int32_t)expected);
        } else {
            emit_mov_ri(&t->e, H_RCX, expected);
            emit_cmp_rr(&t->e, H_R11, H_RCX);
        }
        dbt_late_here(t, DBT_STUB_INDIRECT, DBT_EXIT_LOOKUP, CC_NE);
        emit_onward(t, s, expected);
        return;
    }
    if ((int64_t)expected == (int32_t)expected && (int32_t)expected != INT32_MIN) {
        emit_lea(&t->e, H_RCX, h_base(H_R11, -(int32_t)expected));
    } else {
        emit_mov_ri(&t->e, H_RCX, -expected);
        emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, 0));
    }
    same = emit_jrcxz(&t->e);
    dbt_emit_indirect(t);
    emit_patch8(&t->e, same);
    emit_onward(t, s, expected);
}

static bool emit_ret(struct dbt_translation *t, const struct dbt_step *s, unsigned bytes)
{
    int32_t drop = (int32_t)dbt_ret_drop(&s->insn);
    struct host_mem top = pop_place(t, bytes, H_R9);

    dbt_emit_load_value(t, bytes, H_R11, top);
    if (bytes == 4 && t->mode & DBT_MODE_CODE64K)
        emit_limit_check(t, H_R11);
    emit_code_base(t);
    t->keeps_current = false;
    dbt_emit_sp_add(t, (int32_t)bytes + drop);
    if (s->flow == DBT_FLOW_ENDS)
        dbt_emit_indirect(t);
    else
        emit_return_to(t, s);
    return true;
}

bool dbt_emit_branch(struct dbt_translation *t, const struct dbt_step *s)
{
    unsigned bytes = dbt_stack_bytes(t, &s->insn);
    uint64_t next = dbt_rip_add(t->mode, s->rip, s->insn.length);

    if (!bytes || (s->insn.op[0].kind == X86_OPND_IMM && !dbt_branch_is_ret(&s->insn) &&
                   !within_code(t, dbt_branch_target(t, &s->insn, next))))
        return false;
    switch (s->insn.mnemonic) {
    case M(CALL): return emit_call(t, s, bytes, next);
    case M(JMP): return emit_jmp_insn(t, s, bytes, next);
    case M(RET): return emit_ret(t, s, bytes);
    case M(JRCXZ): case M(JECXZ): case M(JCXZ): case M(LOOP):
        return emit_counted(t, &s->insn, next);
    case M(LOOPE): case M(LOOPNE):
        return false;
    default:
        emit_conditional(t, s, next);
        return true;
    }
}
