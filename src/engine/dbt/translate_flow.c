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
    if (insn->operand_bits == 16 || t->code_bits == 16)
        return 0;
    return t->code_bits / 8;
}

void dbt_emit_push_address(struct dbt_translation *t, unsigned bytes)
{
    struct host_mem top = h_base(H_R9, -(int32_t)bytes);

    if (bytes == 8)
        emit_lea(&t->e, H_R11, top);
    else
        emit_lea32(&t->e, H_R11, top);
    dbt_emit_access(t, bytes, true);
}

void dbt_emit_sp_add(struct dbt_translation *t, unsigned bytes, int32_t n)
{
    if (bytes == 8)
        emit_lea(&t->e, H_R9, h_base(H_R9, n));
    else
        emit_lea32(&t->e, H_R9, h_base(H_R9, n));
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
    dbt_emit_top(t, bytes, reg);
    dbt_emit_access(t, bytes, false);
    return h_index(H_R11, H_RCX, 1, 0);
}

/* Pushes what `slot` of the frame holds. */
static void emit_push_slot(struct dbt_translation *t, unsigned bytes, struct host_mem slot)
{
    struct host_mem place = push_place(t, bytes);

    emit_load(&t->e, H_RCX, slot);
    emit_rm(&t->e, 0x89, bytes == 8, H_RCX, place);
    dbt_emit_sp_add(t, bytes, -(int32_t)bytes);
}

static void emit_push_imm(struct dbt_translation *t, unsigned bytes, uint64_t value)
{
    struct host_mem place = push_place(t, bytes);

    if (bytes == 4 || (int64_t)value == (int32_t)value) {
        emit_rm(&t->e, 0xc7, bytes == 8, 0, place);
        e32(&t->e, (uint32_t)value);
    } else {
        emit_mov_ri(&t->e, H_RCX, value);
        emit_rm(&t->e, 0x89, true, H_RCX, place);
    }
    dbt_emit_sp_add(t, bytes, -(int32_t)bytes);
}

/* Loads the memory operand of PUSH or CALL into frame.tmp. */
static bool emit_load_tmp(struct dbt_translation *t, const struct x86_insn *insn, unsigned bytes)
{
    struct host_mem from;

    if (!dbt_emit_operand(t, insn, false, false, &from))
        return false;
    emit_rm(&t->e, 0x8b, bytes == 8, H_RCX, from);
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
        emit_rm(&t->e, 0x89, bytes == 8, t->home[o->reg], push_place(t, bytes));
        dbt_emit_sp_add(t, bytes, -(int32_t)bytes);
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

void dbt_emit_top(struct dbt_translation *t, unsigned bytes, enum host_reg reg)
{
    if (bytes == 8)
        emit_mov_rr(&t->e, H_R11, reg);
    else
        emit_mov32_rr(&t->e, H_R11, reg);
}

static bool emit_pop(struct dbt_translation *t, const struct x86_insn *insn, unsigned bytes)
{
    const struct x86_operand *o = &insn->op[0];
    struct host_mem top;

    if (o->kind != X86_OPND_GPR)
        return false;
    top = pop_place(t, bytes, H_R9);
    if (t->home[o->reg] != H_NONE) {
        emit_rm(&t->e, 0x8b, bytes == 8, t->home[o->reg], top);
    } else {
        emit_rm(&t->e, 0x8b, bytes == 8, H_RCX, top);
        emit_store(&t->e, dbt_slot(o->reg), H_RCX);
    }
    if (o->reg != X86_RSP)
        dbt_emit_sp_add(t, bytes, (int32_t)bytes);
    return true;
}

static bool emit_leave(struct dbt_translation *t, unsigned bytes)
{
    struct host_mem from = pop_place(t, bytes, H_RBP);

    /* The load first: at an address that is not canonical it faults. */
    emit_rm(&t->e, 0x8b, bytes == 8, H_RCX, from);
    emit_rm(&t->e, 0x8d, bytes == 8, H_R9, h_base(H_RBP, (int32_t)bytes));
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

bool dbt_may_link(uint64_t rip, uint64_t target)
{
    return !((target ^ rip) & PAGE_MASK) && !dbt_near_page_end(target);
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
    if (canonical(target))
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
    if (dbt_may_link(rip, target))
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
        if ((target ^ s->rip) & PAGE_MASK)
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
    uint64_t target = next + (uint64_t)insn->imm[0];

    return t->code_bits == 64 ? target : (uint32_t)target;
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

/* JRCXZ and LOOP, with the counter width of the address size. */
static bool emit_counted(struct dbt_translation *t, const struct x86_insn *insn, uint64_t next)
{
    bool loop = insn->mnemonic == M(LOOP);
    uint8_t *zero, *done;

    if (insn->address_bits == 16)
        return false;
    dbt_stubs_flush(t);
    if (loop && insn->address_bits == 64)
        emit_lea(&t->e, H_R10, h_base(H_R10, -1));
    else if (loop)
        emit_lea32(&t->e, H_R10, h_base(H_R10, -1));
    if (insn->address_bits == 64)
        emit_mov_rr(&t->e, H_RCX, H_R10);
    else
        emit_mov32_rr(&t->e, H_RCX, H_R10);
    zero = emit_jrcxz(&t->e);
    done = emit_jmp(&t->e, NULL);
    emit_patch8(&t->e, zero);
    dbt_emit_goto(t, loop ? next : dbt_branch_target(t, insn, next));
    emit_patch32(&t->e, done);
    dbt_emit_goto(t, loop ? dbt_branch_target(t, insn, next) : next);
    return true;
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
    if (bytes == 4)
        emit_mov32_rr(&t->e, H_RCX, H_RCX);
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
    emit_push_imm(t, bytes, next);
    if (direct) {
        emit_onward(t, s, dbt_branch_target(t, insn, next));
    } else {
        emit_load(&t->e, H_R11, h_frame(offsetof(struct dbt_frame, tmp)));
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
        emit_rm(&t->e, 0x8b, bytes == 8, H_R11, from);
    } else if (o->kind == X86_OPND_GPR) {
        dbt_emit_get(t, H_R11, o->reg);
        if (bytes == 4)
            emit_mov32_rr(&t->e, H_R11, H_R11);
    } else {
        return false;
    }
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

    emit_rm(&t->e, 0x8b, bytes == 8, H_R11, top);
    t->keeps_current = false;
    dbt_emit_sp_add(t, bytes, (int32_t)bytes + drop);
    if (s->flow == DBT_FLOW_ENDS)
        dbt_emit_indirect(t);
    else
        emit_return_to(t, s);
    return true;
}

bool dbt_emit_branch(struct dbt_translation *t, const struct dbt_step *s)
{
    unsigned bytes = dbt_stack_bytes(t, &s->insn);
    uint64_t next = s->rip + s->insn.length;

    if (!bytes)
        return false;
    if (t->code_bits != 64)
        next = (uint32_t)next;
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
