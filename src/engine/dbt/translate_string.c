/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_string.c - MOVS, STOS, LODS, CMPS, SCAS.
 *
 * A single one is ordinary accesses followed by LEAs of the pointers. With REP
 * a block calls a thunk (thunks_string.c), which does everything that lies in
 * pages the tables know; a miss is filled like any other and the instruction,
 * partly done, starts again. REP LODS, REP where segments count and whatever the
 * thunk does not do are the interpreter's, as is everything while DF is set.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include "base/bug.h"

#define M(name) ZYDIS_MNEMONIC_##name

enum operation { MOVS, STOS, LODS, CMPS, SCAS };

static enum operation operation(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(MOVSB): case M(MOVSW): case M(MOVSD): case M(MOVSQ): return MOVS;
    case M(STOSB): case M(STOSW): case M(STOSD): case M(STOSQ): return STOS;
    case M(LODSB): case M(LODSW): case M(LODSD): case M(LODSQ): return LODS;
    case M(CMPSB): case M(CMPSW): case M(CMPSD): case M(CMPSQ): return CMPS;
    default: return SCAS;
    }
}

/* ---- a single one -------------------------------------------------------- */

static void emit_df_check(struct dbt_translation *t)
{
    uint8_t *clear;

    dbt_reach(t, 40);
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, flags_system)));
    emit_pext(&t->e, H_RCX, H_RCX, h_frame(offsetof(struct dbt_frame, df_mask)));
    clear = emit_jrcxz(&t->e);
    dbt_exit_here(t, DBT_EXIT_INTERP);
    emit_patch8(&t->e, clear);
}

/* r11 = linear address, rcx = addend of what RSI points to. */
static bool emit_source(struct dbt_translation *t, const struct x86_insn *insn)
{
    struct x86_insn as = *insn;

    as.mem.base = X86_RSI;
    as.mem.index = X86_REG_NONE;
    as.mem.disp = 0;
    if (!dbt_emit_address(t, &as, true))
        return false;
    dbt_emit_access(t, insn->mem.size, false);
    return true;
}

static void emit_destination(struct dbt_translation *t, const struct x86_insn *insn, bool write)
{
    dbt_emit_pointer(t, insn->address_bits, H_RDI, X86_ES);
    dbt_emit_access(t, insn->mem.size, write);
}

/* `opcode` is the byte form of the instruction; the others are one more. */
static void emit_sized(struct dbt_translation *t, unsigned opcode, unsigned size,
                       enum host_reg reg, struct host_mem m)
{
    if (size == 2)
        e8(&t->e, 0x66);
    emit_rm(&t->e, opcode | (size > 1), size == 8, reg, m);
}

static void emit_step(struct dbt_translation *t, const struct x86_insn *insn, enum host_reg reg)
{
    dbt_emit_pointer_add(t, insn->address_bits, reg, insn->mem.size);
}

static bool emit_single(struct dbt_translation *t, const struct x86_insn *insn)
{
    static const struct host_mem operand = {H_R11, H_RCX, 1, H_SEG_NONE, 0};
    const struct host_mem tmp = h_frame(offsetof(struct dbt_frame, tmp));
    enum operation o = operation(insn);
    unsigned size = insn->mem.size;

    emit_df_check(t);
    switch (o) {
    case MOVS:
        if (!emit_source(t, insn))
            return false;
        emit_sized(t, 0x8a, size, H_RCX, operand);
        emit_store(&t->e, tmp, H_RCX);
        emit_destination(t, insn, true);
        dbt_emit_fold(t);
        emit_load(&t->e, H_RCX, tmp);
        emit_sized(t, 0x88, size, H_RCX, h_base(H_R11, 0));
        break;
    case CMPS:                      /* the destination faults first */
        emit_destination(t, insn, false);
        emit_sized(t, 0x8a, size, H_RCX, operand);
        emit_store(&t->e, tmp, H_RCX);
        if (!emit_source(t, insn))
            return false;
        emit_sized(t, 0x8a, size, H_RCX, operand);
        emit_sized(t, 0x3a, size, H_RCX, tmp);
        break;
    case LODS:
        if (!emit_source(t, insn))
            return false;
        emit_sized(t, 0x8a, size, H_RAX, operand);
        break;
    case STOS:
        emit_destination(t, insn, true);
        emit_sized(t, 0x88, size, H_RAX, operand);
        break;
    case SCAS:
        emit_destination(t, insn, false);
        emit_sized(t, 0x3a, size, H_RAX, operand);
        break;
    }
    if (o == MOVS || o == CMPS || o == LODS)
        emit_step(t, insn, H_RSI);
    if (o != LODS)
        emit_step(t, insn, H_RDI);
    return true;
}

/* ---- repeated ------------------------------------------------------------ */

static bool thunk_kind(const struct x86_insn *insn, enum dbt_string *kind)
{
    switch (operation(insn)) {
    case MOVS: *kind = DBT_MOVS; return true;
    case STOS: *kind = DBT_STOS; return true;
    case CMPS: *kind = insn->rep ? DBT_REPE_CMPS : DBT_REPNE_CMPS; return true;
    case SCAS: *kind = insn->rep ? DBT_REPE_SCAS : DBT_REPNE_SCAS; return true;
    default: return false;
    }
}

/* rcx one less: to the dispatcher if that is 0, which fills the table. */
static void emit_if_miss(struct dbt_translation *t, const struct x86_insn *insn, bool write)
{
    struct dbt_stub *s;

    emit_lea(&t->e, H_RCX, h_base(H_RCX, -1));
    s = dbt_stub_here(t, DBT_STUB_EXIT, DBT_EXIT_SLOW);
    s->size = (uint8_t)insn->mem.size;
    s->write = write;
}

static bool emit_repeated(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned shift = (unsigned)__builtin_ctz(insn->mem.size);
    enum dbt_string kind;
    uint8_t *done;

    if (!thunk_kind(insn, &kind))
        return false;
    if (kind != DBT_STOS && kind != DBT_REPE_SCAS && kind != DBT_REPNE_SCAS &&
        (insn->mem.seg == X86_FS || insn->mem.seg == X86_GS ||
         (insn->mem.seg == X86_CS && t->code_bits != 64)))
        return false;
    dbt_reach(t, 100);
    emit_call_rel(&t->e, t->thunks->string[kind][shift][insn->address_bits == 64]);
    done = emit_jrcxz(&t->e);
    _Static_assert(DBT_STRING_READ_MISS == 1 && DBT_STRING_WRITE_MISS == 2, "counted down");
    emit_if_miss(t, insn, false);
    emit_if_miss(t, insn, true);
    dbt_exit_here(t, DBT_EXIT_INTERP);
    emit_patch8(&t->e, done);
    return true;
}

bool dbt_emit_string(struct dbt_translation *t, const struct x86_insn *insn)
{
    if (!insn->rep && !insn->repne)
        return emit_single(t, insn);
    return insn->address_bits != 16 && !(t->mode & DBT_MODE_SEGMENTS) && emit_repeated(t, insn);
}
