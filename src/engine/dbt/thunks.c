/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * thunks.c - the way into translated code and the ways out, generated once.
 *
 * Entering saves the host's callee-saved registers on the C stack, loads the
 * guest's registers and flags from the frame and jumps. Leaving does the
 * reverse. In between the C stack pointer waits in frame.host_rsp.
 */
#include "engine/dbt/translate.h"

/* Flags travel in AX, as in x86/alu.h: POPFQ takes as long as all the rest. */
static void flags_from_frame(struct emit *e)
{
    emit_load(e, H_RAX, h_frame(offsetof(struct dbt_frame, hf)));
    e8(e, 0x04);                                                              /* add al, 0x7f */
    e8(e, 0x7f);
    e8(e, 0x9e);                                                              /* sahf */
}

static void flags_to_frame(struct emit *e)
{
    e8(e, 0x9f);                                                              /* lahf */
    e8(e, 0x0f);                                                              /* seto al */
    e8(e, 0x90);
    e8(e, 0xc0);
    emit_store(e, h_frame(offsetof(struct dbt_frame, hf)), H_RAX);
}

static const uint8_t saved[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

static void push(struct emit *e, unsigned reg)
{
    if (reg > 7)
        e8(e, 0x41);
    e8(e, (uint8_t)(0x50 | (reg & 7)));
}

static void pop(struct emit *e, unsigned reg)
{
    if (reg > 7)
        e8(e, 0x41);
    e8(e, (uint8_t)(0x58 | (reg & 7)));
}

static void make_enter(struct emit *e)
{
    for (unsigned i = 0; i < ARRAY_SIZE(saved); i++)
        push(e, saved[i]);
    emit_store(e, h_base(H_RDI, offsetof(struct dbt_frame, host_rsp)), H_RSP);
    emit_lea(e, H_RSP, h_base(H_RDI, -H_FRAME_BIAS));
    flags_from_frame(e);
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (dbt_home[g] != H_NONE)
            emit_load(e, dbt_home[g], dbt_slot(g));
    }
    emit_load(e, H_R11, h_frame(offsetof(struct dbt_frame, target)));
    emit_jmp_mem(e, h_frame(offsetof(struct dbt_frame, entry)));
}

/* The return address is on the stack: rsp is 8 below its usual place. */
static void make_leave(struct emit *e)
{
    emit_store(e, h_frame(offsetof(struct dbt_frame, target)), H_R11);
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (dbt_home[g] != H_NONE)
            emit_store(e, dbt_slot(g), dbt_home[g]);
    }
    flags_to_frame(e);
    emit_load(e, H_RSP, h_frame(offsetof(struct dbt_frame, host_rsp)));
    for (unsigned i = ARRAY_SIZE(saved); i-- > 0;)
        pop(e, saved[i]);
    e8(e, 0xc3);
}

static uint64_t here(struct dbt_cache *c, const struct emit *e)
{
    return (uint64_t)(uintptr_t)dbt_cache_exec(c, e->p);
}

/* On by the second jump table: r11 is the target. Falls through if it is not there
 * or the dispatcher is wanted. */
static void make_look_up(struct emit *e)
{
    struct host_mem rip = h_index(H_RSP, H_RCX, 8,
                                  H_FRAME_BIAS + (int32_t)offsetof(struct dbt_frame, jump2));
    struct host_mem body = rip, saved_rax = h_frame(offsetof(struct dbt_frame, jump_tmp[0])),
                    at = h_frame(offsetof(struct dbt_frame, jump_tmp[1]));
    uint8_t *wanted, *found, *not_found;

    body.disp += 8;
    emit_load(e, H_RCX, h_frame(offsetof(struct dbt_frame, go)));
    wanted = emit_jrcxz(e);
    emit_store(e, saved_rax, H_RAX);
    emit_pext(e, H_RCX, H_R11, h_frame(offsetof(struct dbt_frame, jump2_mask)));
    emit_lea(e, H_RCX, h_index(H_RCX, H_RCX, 1, 0));
    emit_store(e, at, H_RCX);
    emit_load(e, H_RAX, rip);
    emit_not(e, H_RAX);                                                       /* -1 - rip */
    emit_lea(e, H_RCX, h_index(H_RAX, H_R11, 1, 1));
    emit_load(e, H_RAX, saved_rax);
    found = emit_jrcxz(e);
    not_found = emit_jmp8(e);
    emit_patch8(e, found);
    emit_load(e, H_RCX, at);
    emit_jmp_mem(e, body);
    emit_patch8(e, not_found);
    emit_patch8(e, wanted);
}

bool dbt_thunks_make(struct dbt_cache *c, struct dbt_thunks *out)
{
    struct emit e;
    const uint8_t *leave;

    if (!dbt_cache_begin(c, &e))
        return false;
    out->enter = (void (*)(struct dbt_frame *))(uintptr_t)here(c, &e);
    make_enter(&e);
    leave = e.p;
    make_leave(&e);
    for (unsigned i = 0; i < DBT_EXITS; i++) {
        out->exit[i] = here(c, &e);
        emit_rm(&e, 0x8f, false, 0, h_frame(offsetof(struct dbt_frame, exit_pc)));   /* pop */
        if (i == DBT_EXIT_LOOKUP)
            make_look_up(&e);
        emit_store_imm(&e, h_frame(offsetof(struct dbt_frame, exit_kind)),
                       i == DBT_EXIT_DROPPED ? DBT_EXIT_LOOKUP : (int32_t)i);
        emit_jmp(&e, leave);
    }
    out->jump_miss = here(c, &e);
    emit_call_mem(&e, h_frame(offsetof(struct dbt_frame, exit) + 8 * DBT_EXIT_LOOKUP));
    out->jump2_miss = here(c, &e);
    emit_call_mem(&e, h_frame(offsetof(struct dbt_frame, exit) + 8 * DBT_EXIT_DROPPED));
    out->fault_resume = here(c, &e);
    emit_call_mem(&e, h_frame(offsetof(struct dbt_frame, exit) + 8 * DBT_EXIT_FAULT));
    if (e.overflow)
        return false;
    dbt_cache_commit(c, &e, NULL);
    if (!dbt_string_thunks_make(c, out))
        return false;
    dbt_cache_keep(c);
    return true;
}
