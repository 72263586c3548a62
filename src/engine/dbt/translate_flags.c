/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_flags.c - CLI, STI, CLD, STD, PUSHF, POPF.
 *
 * The arithmetic flags are the host's, the others are in the frame: IF in a
 * word of its own. Masking is done with PEXT and PDEP by the same mask and
 * joining with LEA, because AND and OR would change the flags in question.
 *
 * Setting IF need not be followed by an interrupt at once, only soon: if one is
 * waiting, the dispatcher takes over after the instruction, otherwise the next
 * poll sees it. The one-instruction shadow of STI is then honoured by the
 * interpreter, which executes the STI.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>

#define M(name) ZYDIS_MNEMONIC_##name
#define FRAME(field) h_frame(offsetof(struct dbt_frame, field))

/* An interrupt is waiting for IF: let the interpreter do this instruction. */
static void emit_irq_check(struct dbt_translation *t)
{
    dbt_reach(t, 16);
    emit_load(&t->e, H_RCX, FRAME(no_irq_waiting));
    dbt_stub_here(t, DBT_STUB_EXIT, DBT_EXIT_INTERP);
}

/* reg &= the arithmetic flags. */
static void emit_keep_arith(struct dbt_translation *t, enum host_reg reg)
{
    emit_keep(&t->e, reg, reg, FRAME(arith_mask));
}

static bool emit_pushf(struct dbt_translation *t, unsigned bytes)
{
    dbt_emit_push_address(t, bytes);
    dbt_reach(t, 96);
    dbt_emit_fold(t);
    dbt_reach(t, 100);
    e8(&t->e, 0x9c);                                    /* pushfq */
    e8(&t->e, 0x59);                                    /* pop rcx */
    emit_keep_arith(t, H_RCX);
    emit_store(&t->e, FRAME(tmp), H_R11);
    emit_load(&t->e, H_R11, FRAME(flag_if));
    emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, 0));
    emit_load(&t->e, H_R11, FRAME(flags_system));
    emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, 0));
    emit_load(&t->e, H_R11, FRAME(tmp));
    dbt_emit_store_value(t, bytes, h_base(H_R11, 0), H_RCX);
    dbt_emit_sp_add(t, -(int32_t)bytes);
    return true;
}

/* Only the plain case: what is popped differs from what is there in IF and
 * arithmetic flags alone. Anything else is the interpreter's. */
static bool emit_popf(struct dbt_translation *t, unsigned bytes)
{
    emit_irq_check(t);
    dbt_emit_top(t, H_R9);
    dbt_emit_access(t, bytes, false);
    dbt_reach(t, 100);
    dbt_emit_load_value(t, bytes, H_R11, h_index(H_R11, H_RCX, 1, 0));
    /* rcx = 0 exactly if the rest is as it is now */
    emit_keep(&t->e, H_RCX, H_R11, FRAME(other_mask));
    emit_store(&t->e, FRAME(tmp), H_R11);
    emit_load(&t->e, H_R11, FRAME(minus_other));
    emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, 0));
    {
        uint8_t *same = emit_jrcxz(&t->e);
        dbt_exit_here(t, DBT_EXIT_INTERP);
        emit_patch8(&t->e, same);
    }
    dbt_reach(t, 100);
    emit_load(&t->e, H_R11, FRAME(tmp));
    emit_keep(&t->e, H_RCX, H_R11, FRAME(if_mask));
    emit_store(&t->e, FRAME(flag_if), H_RCX);
    emit_keep_arith(t, H_R11);
    emit_lea(&t->e, H_R11, h_base(H_R11, X86_FLAG_1 | X86_FLAG_IF));
    e8(&t->e, 0x41);                                    /* push r11 */
    e8(&t->e, 0x53);
    e8(&t->e, 0x9d);                                    /* popfq */
    dbt_emit_sp_add(t, (int32_t)bytes);
    return true;
}

/* DF has no word of its own: it is among the others. */
void dbt_emit_direction(struct dbt_translation *t, bool down)
{
    int32_t change = down ? X86_FLAG_DF : -X86_FLAG_DF;
    uint8_t *clear, *done = NULL;

    dbt_reach(t, 100);
    emit_load(&t->e, H_RCX, FRAME(flags_system));
    emit_lea(&t->e, H_R11, h_base(H_RCX, change));
    emit_pext(&t->e, H_RCX, H_RCX, FRAME(df_mask));
    clear = emit_jrcxz(&t->e);
    if (down) {                                         /* set already */
        done = emit_jmp8(&t->e);
        emit_patch8(&t->e, clear);
    }
    emit_store(&t->e, FRAME(flags_system), H_R11);
    emit_load(&t->e, H_R11, FRAME(minus_other));
    emit_lea(&t->e, H_R11, h_base(H_R11, -change));
    emit_store(&t->e, FRAME(minus_other), H_R11);
    emit_patch8(&t->e, down ? done : clear);
}

bool dbt_is_flags(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(CLI): case M(STI): case M(PUSHF): case M(PUSHFD): case M(PUSHFQ):
    case M(POPF): case M(POPFD): case M(POPFQ):
        return true;
    default:
        return false;
    }
}

/* What STI shields from interrupts has to be in the same block, or a check of
 * `go` comes before it. */
static bool shadow_fits(const struct dbt_translation *t)
{
    return t->now + 1 < t->steps && dbt_has_room(t, 2);
}

bool dbt_emit_flags(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned bytes = dbt_stack_bytes(t, insn);

    bool pushf = insn->mnemonic == M(PUSHF) || insn->mnemonic == M(PUSHFD) ||
                 insn->mnemonic == M(PUSHFQ);

    /* Outside virtual-8086 mode PUSHF needs no privilege. */
    if ((!(t->mode & DBT_MODE_IF) && !(pushf && t->code_bits == 64)) || !bytes)
        return false;
    switch (insn->mnemonic) {
    case M(CLI):
        emit_store_imm(&t->e, FRAME(flag_if), 0);
        return true;
    case M(STI):
        if (!shadow_fits(t))
            return false;
        emit_irq_check(t);
        emit_store_imm(&t->e, FRAME(flag_if), X86_FLAG_IF);
        return true;
    case M(PUSHF): case M(PUSHFD): case M(PUSHFQ):
        return emit_pushf(t, bytes);
    default:
        return emit_popf(t, bytes);
    }
}
