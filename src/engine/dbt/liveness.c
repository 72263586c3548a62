/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * liveness.c - where the guest's flags may be lost for a while, and how they
 * come back.
 *
 * Checks that may change flags are shorter than those that may not. Where the
 * guest is about to overwrite its flags anyway and nothing reads them before,
 * checks take the short form. But whoever leaves meanwhile (a page fault, the
 * interpreter) has to find the flags as they would be on the processor. They are
 * computed anew there, in cold code, from what the last instruction that set them
 * had worked on: the recipe. Only instructions for which that is easy count: CMP,
 * TEST, ADD, SUB, AND, OR and XOR of registers and constants. If an operand is
 * changed before the flags are overwritten, a copy of it is kept in the frame.
 *
 * All of this looks at the plan, before anything is emitted. A loop is looked at
 * twice: what was set at the end of a round holds at the beginning of the next.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include "base/bug.h"

#define M(name) ZYDIS_MNEMONIC_##name

enum { SAVED_FIRST = 1, SAVED_SECOND = 2 };

/* ---- what instructions do to flags ------------------------------------------- */

static bool reads_flags(const struct x86_insn *insn)
{
    return insn->flags_read & X86_FLAGS_ARITH;
}

static bool writes_flags(const struct x86_insn *insn)
{
    return (insn->flags_written | insn->flags_undefined) & X86_FLAGS_ARITH;
}

/* By a constant that is not 0 in effect. */
static bool shifts_by_constant(const struct x86_insn *insn)
{
    unsigned mask = insn->op[0].size == 8 ? 63 : 31;

    return insn->operands == 2 ? insn->op[1].kind == X86_OPND_IMM && insn->imm[0] & mask
                               : insn->operands == 1;
}

/* All arithmetic flags get values that do not depend on what they were. */
bool dbt_overwrites_flags(const struct dbt_translation *t, const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(ADD): case M(SUB): case M(CMP): case M(AND): case M(OR): case M(XOR): case M(TEST):
    case M(NEG): case M(COMISS): case M(COMISD): case M(UCOMISS): case M(UCOMISD):
    case M(VCOMISS): case M(VCOMISD): case M(VUCOMISS): case M(VUCOMISD):
        return true;
    case M(SHL): case M(SHR): case M(SAR):
        return t->e.host && t->e.host->shifts_overwrite && shifts_by_constant(insn);
    default:
        return false;
    }
}

static bool has_recipe(const struct x86_insn *insn)
{
    const struct x86_operand *a = &insn->op[0], *b = &insn->op[1];

    if (insn->operands != 2 || a->kind != X86_OPND_GPR ||
        (b->kind != X86_OPND_GPR && b->kind != X86_OPND_IMM))
        return false;
    switch (insn->mnemonic) {
    case M(CMP): case M(TEST): case M(AND): case M(OR): case M(XOR):
        return true;
    case M(ADD): case M(SUB):
        return b->kind == X86_OPND_IMM || b->reg != a->reg;
    default:
        return false;
    }
}

static bool has_memory(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(PUSH): case M(POP): case M(CALL): case M(RET): case M(LEAVE): return true;
    default: break;
    }
    for (unsigned i = 0; i < insn->operands; i++) {
        if (insn->op[i].kind == X86_OPND_MEM)
            return insn->mem.size;
    }
    return false;
}

bool dbt_may_leave(const struct x86_insn *insn)
{
    if (insn->class != X86_CLASS_INTEGER || has_memory(insn))
        return true;
    switch (insn->mnemonic) {
    case M(MOV): case M(MOVZX): case M(MOVSX): case M(MOVSXD): case M(LEA): case M(NOT):
    case M(ADD): case M(SUB): case M(CMP): case M(AND): case M(OR): case M(XOR): case M(TEST):
    case M(NEG): case M(SHL): case M(SHR): case M(SAR): case M(INC): case M(DEC):
    case M(IMUL): case M(ROL): case M(ROR): case M(NOP):
        for (unsigned i = 0; i < insn->operands; i++) {
            if (insn->op[i].kind != X86_OPND_GPR && insn->op[i].kind != X86_OPND_IMM &&
                insn->op[i].kind != X86_OPND_MEM)
                return true;
        }
        return false;
    default:
        return true;
    }
}

/* Code goes on behind it where nothing is known of the flags. */
bool dbt_unknown_behind(const struct dbt_step *s)
{
    const struct x86_insn *insn = &s->insn;

    if (insn->class == X86_CLASS_BRANCH)
        return s->flow != DBT_FLOW_FOLLOWED && s->flow != DBT_FLOW_LOOPS;
    return (insn->class != X86_CLASS_INTEGER && insn->class != X86_CLASS_HOST) ||
           dbt_is_flags(insn) || dbt_is_mxcsr(insn) || insn->mnemonic == M(PAUSE) ||
           insn->ends_block;
}

/* ---- the plan --------------------------------------------------------------------- */

static bool again(const struct dbt_translation *t)
{
    return t->steps && t->step[t->steps - 1].flow == DBT_FLOW_LOOPS &&
           2 * t->steps <= DBT_TRACE_INSNS;
}

/* Which step's flags hold in front of each, or -1; returns those at the end. */
static int find_setters(struct dbt_translation *t, unsigned pass, int setter)
{
    for (unsigned i = 0; i < t->steps; i++) {
        struct dbt_step *s = &t->step[i];

        s->setter[pass] = (int16_t)setter;
        if (s->insn.class != X86_CLASS_BRANCH && dbt_unknown_behind(s))
            setter = -1;
        else if (writes_flags(&s->insn))
            setter = has_recipe(&s->insn) ? (int)i : -1;
    }
    return setter;
}

/* From the first step to be looked at on, up to where flags are overwritten. */
struct walk {
    unsigned at, left;
    uint32_t changed;          /* registers */
    bool partly;               /* some flags are not as the recipe makes them */
};

static bool step_on(const struct dbt_translation *t, struct walk *w)
{
    if (!w->left--)
        return false;
    if (++w->at < t->steps)
        return true;
    w->at = 0;
    return again(t);
}

/* AND, OR, XOR: the result decides alone. */
static bool only_result(const struct x86_insn *insn)
{
    return insn->mnemonic == M(AND) || insn->mnemonic == M(OR) || insn->mnemonic == M(XOR);
}

static void keep_operands(struct dbt_step *setter, uint32_t changed)
{
    const struct x86_insn *insn = &setter->insn;

    if (changed & 1u << insn->op[0].reg)
        setter->saved |= SAVED_FIRST;
    if (insn->op[1].kind == X86_OPND_GPR && changed & 1u << insn->op[1].reg && !only_result(insn))
        setter->saved |= SAVED_SECOND;
}

static uint32_t changed_between(const struct dbt_translation *t, int setter, unsigned at)
{
    uint32_t changed = 0;

    for (unsigned i = (unsigned)setter + 1; i % t->steps != at; i++)
        changed |= t->step[i % t->steps].insn.gprs_written;
    return changed;
}

/* Are the flags that `setter` made of no use from step `at` on? */
static bool dead_from(struct dbt_translation *t, int setter, unsigned at)
{
    struct walk w = {.at = at, .left = t->steps};

    if (setter < 0 || at >= t->steps)
        return false;
    w.changed = changed_between(t, setter, at);
    do {
        const struct dbt_step *s = &t->step[w.at];

        if (reads_flags(&s->insn) || dbt_unknown_behind(s) || (w.partly && dbt_may_leave(&s->insn)))
            return false;
        if (dbt_overwrites_flags(t, &s->insn)) {
            keep_operands(&t->step[setter], w.changed);
            return true;
        }
        w.partly |= writes_flags(&s->insn);
        w.changed |= s->insn.gprs_written;
    } while (step_on(t, &w));
    return false;
}

/* What holds behind step `i`, in front of the one that follows. */
static bool dead_behind(struct dbt_translation *t, unsigned pass, unsigned i, int setter)
{
    const struct dbt_step *s = &t->step[i];

    if (s->insn.class != X86_CLASS_BRANCH || dbt_unknown_behind(s))
        return false;
    if (i + 1 < t->steps)
        return dead_from(t, setter, i + 1);
    return again(t) && dead_from(t, setter, 0);
}

void dbt_liveness_find(struct dbt_translation *t)
{
    int setter = -1;

    for (unsigned i = 0; i < t->steps; i++) {
        t->step[i].dead = t->step[i].dead_behind = 0;
        t->step[i].saved = 0;
    }
    if (emit_is_plain(&t->e))
        return;
    for (unsigned pass = 0; pass < (again(t) ? 2 : 1); pass++) {
        setter = find_setters(t, pass, setter);
        for (unsigned i = 0; i < t->steps; i++) {
            struct dbt_step *s = &t->step[i];

            if (has_memory(&s->insn) && dead_from(t, s->setter[pass], i))
                s->dead |= (uint8_t)(1 << pass);
            if (dead_behind(t, pass, i, s->setter[pass]))
                s->dead_behind |= (uint8_t)(1 << pass);
        }
    }
}

/* ---- code --------------------------------------------------------------------------- */

static struct host_mem kept(unsigned i)
{
    return h_frame(offsetof(struct dbt_frame, recipe) + 8 * i);
}

/* An operand of the setter now: a host register (true), or in memory. */
static bool operand_at(const struct dbt_translation *t, const struct dbt_step *s, unsigned i,
                       enum host_reg *reg, struct host_mem *mem)
{
    unsigned gpr = s->insn.op[i].reg;

    *reg = (enum host_reg)t->home[gpr];
    if (s->saved & (i ? SAVED_SECOND : SAVED_FIRST))
        *mem = kept(i);
    else if (*reg == H_NONE)
        *mem = dbt_slot(gpr);
    else
        return true;
    return false;
}

/* op rcx, second operand. Without REX, which emit_rr() only adds where it extends a
 * number, the byte registers 4 to 7 are AH to BH: they take the way through memory. */
static void emit_second(struct dbt_translation *t, const struct dbt_step *s, unsigned op8,
                        unsigned size)
{
    unsigned op = size == 1 ? op8 : op8 | 1;
    struct host_mem mem;
    enum host_reg reg;

    if (operand_at(t, s, 1, &reg, &mem) && (size > 1 || reg < H_RSP || reg > H_RDI)) {
        emit_rr(&t->e, op, size == 8, H_RCX, reg);
        return;
    }
    if (operand_at(t, s, 1, &reg, &mem))
        mem = kept(2);
    emit_rm(&t->e, op, size == 8, H_RCX, mem);
}

static void emit_immediate(struct dbt_translation *t, const struct dbt_step *s, unsigned size)
{
    for (unsigned i = 0; i < (size > 4 ? 4 : size); i++)
        e8(&t->e, (uint8_t)(s->insn.imm[s->insn.op[1].reg] >> 8 * i));
}

enum { OP_ADD = 0x00, OP_SUB = 0x28, OP_CMP = 0x38 };

/* op rcx, second operand, in the size of the instruction or as 64 bits. */
static void emit_alu(struct dbt_translation *t, const struct dbt_step *s, unsigned op, bool wide)
{
    unsigned size = wide ? 8 : s->insn.op[0].size;
    struct emit *e = &t->e;

    if (size == 2)
        e8(e, 0x66);
    if (s->insn.op[1].kind != X86_OPND_IMM) {
        emit_second(t, s, op | 2, size);
        return;
    }
    emit_rr(e, size == 1 ? 0x80 : 0x81, size == 8, (enum host_reg)(op >> 3), H_RCX);
    emit_immediate(t, s, size);
}

static void emit_test(struct dbt_translation *t, const struct dbt_step *s)
{
    unsigned size = s->insn.op[0].size;
    struct emit *e = &t->e;

    if (size == 2)
        e8(e, 0x66);
    if (only_result(&s->insn)) {
        emit_rr(e, size == 1 ? 0x84 : 0x85, size == 8, H_RCX, H_RCX);
    } else if (s->insn.op[1].kind != X86_OPND_IMM) {
        emit_second(t, s, 0x84, size);
    } else {
        emit_rr(e, size == 1 ? 0xf6 : 0xf7, size == 8, (enum host_reg)0, H_RCX);
        emit_immediate(t, s, size);
    }
}

void dbt_recipe_emit(struct dbt_translation *t, const struct dbt_step *s)
{
    struct host_mem mem;
    enum host_reg reg;

    if (!s)
        return;
    if (s->insn.op[0].size == 1 && s->insn.op[1].kind == X86_OPND_GPR &&
        operand_at(t, s, 1, &reg, &mem))
        emit_store(&t->e, kept(2), reg);
    if (operand_at(t, s, 0, &reg, &mem))
        emit_mov_rr(&t->e, H_RCX, reg);
    else
        emit_load(&t->e, H_RCX, mem);
    switch (s->insn.mnemonic) {
    case M(CMP):
        emit_alu(t, s, OP_CMP, false);
        break;
    case M(SUB):                            /* what it was before, once more */
        emit_alu(t, s, OP_ADD, true);
        emit_alu(t, s, OP_CMP, false);
        break;
    case M(ADD):
        emit_alu(t, s, OP_SUB, true);
        emit_alu(t, s, OP_ADD, false);
        break;
    default:
        emit_test(t, s);
        break;
    }
}

void dbt_recipe_keep(struct dbt_translation *t, const struct dbt_step *s)
{
    for (unsigned i = 0; i < 2; i++) {
        unsigned gpr = s->insn.op[i].reg;
        enum host_reg reg = H_RCX;

        if (!(s->saved & (i ? SAVED_SECOND : SAVED_FIRST)))
            continue;
        if (t->home[gpr] == H_NONE)
            emit_load(&t->e, H_RCX, dbt_slot(gpr));
        else
            reg = (enum host_reg)t->home[gpr];
        emit_store(&t->e, kept(i), reg);
    }
}
