/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * select.c - from a decoded instruction to its handler.
 *
 * A form without a hot handler gets interp_general; so does every memory
 * operand that is not simply base plus offset in a flat segment.
 */
#include "engine/interp/hot.h"

#include <Zydis/Zydis.h>
#include "x86/cpuid.h"
#include "x86/cpuid_features.h"

#define SLOT(member) ((uint16_t)offsetof(struct interp, member))
#define M(name) ZYDIS_MNEMONIC_##name

/* ---- operand references ------------------------------------------------ */

static uint16_t gpr_slot(unsigned reg)
{
    return (uint16_t)(SLOT(cpu.s.gpr[0]) + reg * sizeof(uint64_t));
}

/* AH-BH are the second bytes of their registers. */
static uint16_t register_slot(const struct x86_operand *o)
{
    return (uint16_t)(gpr_slot(o->reg) + (o->kind == X86_OPND_GPR_HIGH));
}

static bool is_register(const struct x86_operand *o)
{
    return o->kind == X86_OPND_GPR || o->kind == X86_OPND_GPR_HIGH;
}

/* Fills in how to compute the address. False when only the general way, with
 * all segment checks, will do. */
static bool set_address(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    const struct x86_mem *m = &insn->mem;
    bool based = m->seg == X86_FS || m->seg == X86_GS;

    if (insn->code_bits == 64)
        op->seg = based ? (uint16_t)(SLOT(cpu.s.seg[0].base) + m->seg * sizeof(struct x86_segment))
                        : SLOT(zero);
    else if (v->cpu.mode.flat_data && !based && m->seg != X86_CS)
        op->seg = SLOT(zero);
    else
        return false;
    op->base = m->base == X86_REG_RIP    ? SLOT(block_rip)
               : m->base == X86_REG_NONE ? SLOT(zero)
                                         : gpr_slot(m->base);
    op->index = m->index == X86_REG_NONE ? SLOT(zero) : gpr_slot(m->index);
    op->shift = (uint8_t)__builtin_ctz(m->scale);
    op->disp = m->base == X86_REG_RIP ? m->disp + op->next : m->disp;
    op->ea_mask = insn->address_bits == 64   ? UINT64_MAX
                  : insn->address_bits == 32 ? UINT32_MAX
                                             : UINT16_MAX;
    return true;
}

/* The form of a one- or two-operand instruction with its references set, or
 * HOT_FORMS when it has none. With one operand that is HOT_RR or HOT_MR. */
static enum hot_form form_of(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    const struct x86_operand *a = &insn->op[0], *b = &insn->op[1];
    bool one = insn->operands == 1, imm = !one && b->kind == X86_OPND_IMM;

    if (!insn->operands || insn->lock)
        return HOT_FORMS;
    if (imm)
        op->imm = insn->imm[b->reg];
    if (!one && !imm && is_register(b))
        op->src = register_slot(b);
    if (is_register(a)) {
        op->dst = register_slot(a);
        if (one || is_register(b))
            return HOT_RR;
        if (imm)
            return HOT_RI;
        return b->kind == X86_OPND_MEM && set_address(v, insn, op) ? HOT_RM : HOT_FORMS;
    }
    if (a->kind != X86_OPND_MEM || !set_address(v, insn, op))
        return HOT_FORMS;
    return imm ? HOT_MI : one || is_register(b) ? HOT_MR : HOT_FORMS;
}

/* ---- groups ------------------------------------------------------------ */

static unsigned log2_size(unsigned bytes)
{
    return (unsigned)__builtin_ctz(bytes);
}

/* 4 or 8 bytes as table index; -1 for others. */
static int word_index(unsigned bytes)
{
    return bytes == 4 ? 0 : bytes == 8 ? 1 : -1;
}

static op_fn *binary(const struct interp *v, const struct x86_insn *insn, struct op *op,
                     enum hot_binary which)
{
    enum hot_form form = form_of(v, insn, op);

    return form == HOT_FORMS ? NULL : hot_binary[which][form][log2_size(insn->op[0].size)];
}

static op_fn *unary(const struct interp *v, const struct x86_insn *insn, struct op *op,
                    enum hot_unary which)
{
    enum hot_form form = form_of(v, insn, op);

    return form == HOT_FORMS ? NULL
                             : hot_unary[which][log2_size(insn->op[0].size)][form == HOT_MR];
}

/* Registers only, by an immediate or CL. */
static op_fn *shift(const struct interp *v, const struct x86_insn *insn, struct op *op,
                    enum hot_shift which)
{
    unsigned size = log2_size(insn->op[0].size);
    enum hot_form form = form_of(v, insn, op);

    return form == HOT_RI   ? hot_shift_imm[which][size]
           : form == HOT_RR ? hot_shift_cl[which][size]
                            : NULL;
}

static op_fn *wide(const struct interp *v, const struct x86_insn *insn, struct op *op,
                   enum hot_wide which)
{
    int size = word_index(insn->op[0].size);
    enum hot_form form = size < 0 ? HOT_FORMS : form_of(v, insn, op);

    return form == HOT_FORMS ? NULL : hot_wide[which][size][form == HOT_MR];
}

static op_fn *imul(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    int size = word_index(insn->op[0].size);
    enum hot_form form;

    if (insn->operands == 1)
        return wide(v, insn, op, HOT_IMUL);
    form = size < 0 ? HOT_FORMS : form_of(v, insn, op);
    if (form != HOT_RR && form != HOT_RM)
        return NULL;
    if (insn->operands == 2)
        return hot_imul[size][form == HOT_RM];
    op->imm = insn->imm[0];
    return hot_imul_imm[size][form == HOT_RM];
}

static op_fn *bit(const struct interp *v, const struct x86_insn *insn, struct op *op,
                  enum hot_bit which)
{
    int size = word_index(insn->op[0].size);
    enum hot_form form = size < 0 ? HOT_FORMS : form_of(v, insn, op);

    return form == HOT_RR || form == HOT_RI ? hot_bit[which][size][form == HOT_RI] : NULL;
}

static op_fn *scan(const struct interp *v, const struct x86_insn *insn, struct op *op,
                   enum hot_scan which)
{
    int size = word_index(insn->op[0].size);
    enum hot_form form = size < 0 ? HOT_FORMS : form_of(v, insn, op);

    return form == HOT_RR || form == HOT_RM ? hot_scan[which][size][form == HOT_RM] : NULL;
}

/* TZCNT and LZCNT are BSF and BSR to a processor without them. */
static op_fn *count_zeros(const struct interp *v, const struct x86_insn *insn, struct op *op,
                          unsigned feature, enum hot_scan with, enum hot_scan without)
{
    return scan(v, insn, op, x86_feature(&v->cpu.model->features, feature) ? with : without);
}

static op_fn *mov(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    enum hot_form form = form_of(v, insn, op);

    return form == HOT_FORMS ? NULL : hot_mov[form][log2_size(insn->op[0].size)];
}

static op_fn *extend(const struct interp *v, const struct x86_insn *insn, struct op *op, bool sign)
{
    unsigned from = log2_size(insn->op[1].size), to = log2_size(insn->op[0].size);
    enum hot_form form = form_of(v, insn, op);

    if (form != HOT_RR && form != HOT_RM)
        return NULL;
    if (sign)
        return hot_movsx[from][to - 1][form == HOT_RM];
    return hot_movzx[from][to > 1][form == HOT_RM];
}

static op_fn *lea(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    int size = word_index(insn->op[0].size);

    op->dst = register_slot(&insn->op[0]);
    return size < 0 || !set_address(v, insn, op) ? NULL : hot_lea[size];
}

static op_fn *on_condition(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    unsigned cc = x86_insn_condition(insn);
    enum hot_form form = form_of(v, insn, op);
    int size = word_index(insn->op[0].size);

    if (form == HOT_FORMS)
        return NULL;
    if (insn->operands == 1)
        return hot_set[cc][form == HOT_MR];
    return size < 0 ? NULL : hot_cmov[cc][size][form == HOT_RM];
}

static op_fn *in_register(const struct interp *v, const struct x86_insn *insn, struct op *op,
                          op_fn *const table[2])
{
    int size = word_index(insn->op[0].size);

    return size < 0 || form_of(v, insn, op) != HOT_RR ? NULL : table[size];
}

/* ---- stack and branches ------------------------------------------------ */

/* 0 for 32-bit code that is flat, 1 for 64-bit code, -1 when operands or stack
 * have another size or segments need checking. */
static int flow_index(const struct interp *v, const struct x86_insn *insn)
{
    const struct x86_mode *m = &v->cpu.mode;

    if (insn->operand_bits != insn->code_bits || m->stack_bits != insn->code_bits)
        return -1;
    return insn->code_bits == 64 ? 1 : insn->code_bits == 32 && m->flat_data ? 0 : -1;
}

static op_fn *push(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    int mode = flow_index(v, insn);
    enum hot_form form;

    if (mode < 0)
        return NULL;
    if (insn->op[0].kind == X86_OPND_IMM) {
        op->imm = insn->imm[0];
        return hot_push_imm[mode];
    }
    form = form_of(v, insn, op);
    return form == HOT_RR ? hot_push_reg[mode] : form == HOT_MR ? hot_push_mem[mode] : NULL;
}

static op_fn *pop(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    int mode = flow_index(v, insn);

    return mode < 0 || form_of(v, insn, op) != HOT_RR ? NULL : hot_pop_reg[mode];
}

static op_fn *indirect(const struct interp *v, const struct x86_insn *insn, struct op *op,
                       op_fn *const table[2][2])
{
    int mode = flow_index(v, insn);
    enum hot_form form = mode < 0 ? HOT_FORMS : form_of(v, insn, op);

    return form == HOT_FORMS ? NULL : table[mode][form == HOT_MR];
}

static op_fn *branch(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    int mode = flow_index(v, insn);
    bool direct = insn->operands == 1 && insn->op[0].kind == X86_OPND_IMM;

    if (insn->operand_bits != insn->code_bits)
        return NULL;
    if (direct) {
        op->imm = op->next + insn->imm[0];
        op->ea_mask = insn->code_bits == 64   ? UINT64_MAX
                      : insn->code_bits == 32 ? UINT32_MAX
                                              : UINT16_MAX;
    }
    switch (insn->mnemonic) {
    case M(JMP): return direct ? hot_jmp : indirect(v, insn, op, hot_jump_indirect);
    case M(CALL):
        if (direct)
            return mode < 0 ? NULL : hot_call[mode];
        return indirect(v, insn, op, hot_call_indirect);
    case M(RET):
        op->imm = insn->operands ? (uint16_t)insn->imm[0] : 0;
        return mode < 0 ? NULL : hot_ret[mode];
    case M(LOOP): case M(LOOPE): case M(LOOPNE):
    case M(JCXZ): case M(JECXZ): case M(JRCXZ): return NULL;
    default: return hot_jcc[x86_insn_condition(insn)];
    }
}

/* ---- all of them ------------------------------------------------------- */

#define CONDITIONS(p)                                                                   \
    case M(p##B): case M(p##BE): case M(p##L): case M(p##LE): case M(p##NB):            \
    case M(p##NBE): case M(p##NL): case M(p##NLE): case M(p##NO): case M(p##NP):        \
    case M(p##NS): case M(p##NZ): case M(p##O): case M(p##P): case M(p##S): case M(p##Z)

static op_fn *move_handler(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    switch (insn->mnemonic) {
    case M(MOV): return mov(v, insn, op);
    case M(MOVZX): return extend(v, insn, op, false);
    case M(MOVSX):
    case M(MOVSXD): return extend(v, insn, op, true);
    case M(LEA): return lea(v, insn, op);
    case M(BSWAP): return in_register(v, insn, op, hot_bswap);
    case M(XCHG): return in_register(v, insn, op, hot_xchg);
    case M(CWDE): return hot_cwde;
    case M(CDQE): return hot_cdqe;
    case M(CDQ): return hot_cdq;
    case M(CQO): return hot_cqo;
    case M(PAUSE): return hot_pause;
    case M(NOP): case M(LFENCE): case M(SFENCE): case M(ENDBR64): return hot_nop;
    case M(PUSH): return push(v, insn, op);
    case M(POP): return pop(v, insn, op);
    case M(LEAVE): return flow_index(v, insn) < 0 ? NULL : hot_leave[flow_index(v, insn)];
    CONDITIONS(CMOV):
    CONDITIONS(SET): return on_condition(v, insn, op);
    default: return NULL;
    }
}

static op_fn *integer_handler(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    switch (insn->mnemonic) {
    case M(ADD): return binary(v, insn, op, HOT_ADD);
    case M(OR): return binary(v, insn, op, HOT_OR);
    case M(ADC): return binary(v, insn, op, HOT_ADC);
    case M(SBB): return binary(v, insn, op, HOT_SBB);
    case M(AND): return binary(v, insn, op, HOT_AND);
    case M(SUB): return binary(v, insn, op, HOT_SUB);
    case M(XOR): return binary(v, insn, op, HOT_XOR);
    case M(CMP): return binary(v, insn, op, HOT_CMP);
    case M(TEST): return binary(v, insn, op, HOT_TEST);
    case M(INC): return unary(v, insn, op, HOT_INC);
    case M(DEC): return unary(v, insn, op, HOT_DEC);
    case M(NEG): return unary(v, insn, op, HOT_NEG);
    case M(NOT): return unary(v, insn, op, HOT_NOT);
    case M(SHL): return shift(v, insn, op, HOT_SHL);
    case M(SHR): return shift(v, insn, op, HOT_SHR);
    case M(SAR): return shift(v, insn, op, HOT_SAR);
    case M(ROL): return shift(v, insn, op, HOT_ROL);
    case M(ROR): return shift(v, insn, op, HOT_ROR);
    case M(IMUL): return imul(v, insn, op);
    case M(MUL): return wide(v, insn, op, HOT_MUL);
    case M(DIV): return wide(v, insn, op, HOT_DIV);
    case M(BT): return bit(v, insn, op, HOT_BT);
    case M(BTS): return bit(v, insn, op, HOT_BTS);
    case M(BTR): return bit(v, insn, op, HOT_BTR);
    case M(BTC): return bit(v, insn, op, HOT_BTC);
    case M(BSF): return scan(v, insn, op, HOT_BSF);
    case M(BSR): return scan(v, insn, op, HOT_BSR);
    case M(TZCNT): return count_zeros(v, insn, op, X86_FEATURE_BMI1, HOT_TZCNT, HOT_BSF);
    case M(LZCNT): return count_zeros(v, insn, op, X86_FEATURE_LZCNT, HOT_LZCNT, HOT_BSR);
    case M(POPCNT): return scan(v, insn, op, HOT_POPCNT);
    default: return move_handler(v, insn, op);
    }
}

void interp_select(const struct interp *v, const struct x86_insn *insn, struct op *op)
{
    op_fn *fn = NULL;

    op->exec = x86_exec_op(insn);
    if (insn->class == X86_CLASS_INTEGER)
        fn = integer_handler(v, insn, op);
    else if (insn->class == X86_CLASS_BRANCH)
        fn = branch(v, insn, op);
    else if (insn->class == X86_CLASS_HOST)
        fn = interp_host;
    op->fn = fn ? fn : interp_general;
}
