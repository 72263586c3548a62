/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_system.c - system instructions that are not left to the interpreter:
 * a few in line, the others by a helper (system.h).
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include "engine/dbt/system.h"

#define M(name) ZYDIS_MNEMONIC_##name
#define FRAME(field) h_frame(offsetof(struct dbt_frame, field))

bool dbt_emit_help(struct dbt_translation *t, dbt_helper *helper, uint32_t operand, bool open)
{
    struct dbt_site *site = dbt_exit_here(t, DBT_EXIT_HELPER);

    if (site) {
        site->helper = helper;
        site->operand = operand;
    }
    t->open = open;
    dbt_clusters_forget(t);
    return true;
}

/* ---- in line ----------------------------------------------------------------- */

static bool emit_swapgs(struct dbt_translation *t)
{
    struct host_mem base = h_frame(offsetof(struct dbt_frame, seg_base) + 8 * X86_GS);

    dbt_reach(t, 64);
    emit_load(&t->e, H_RCX, base);
    emit_load(&t->e, H_R11, FRAME(kernel_gs_base));
    emit_store(&t->e, base, H_R11);
    emit_store(&t->e, FRAME(kernel_gs_base), H_RCX);
    t->open = true;
    return true;
}

/* EDX:EAX plus the offset, without touching flags. */
static bool emit_rdtsc(struct dbt_translation *t, bool aux)
{
    struct emit *e = &t->e;

    if (!(t->mode & DBT_MODE_TSC))
        return false;
    dbt_reach(t, 96);
    if (aux) {                                          /* lfence: RDTSCP waits, too */
        e8(e, 0x0f);
        e8(e, 0xae);
        e8(e, 0xe8);
    }
    e8(e, 0x0f);                                        /* rdtsc */
    e8(e, 0x31);
    emit_rorx(e, H_RDX, H_RDX, 32);
    emit_load(e, H_R11, FRAME(tsc_offset));
    emit_lea(e, H_RCX, h_index(H_RAX, H_RDX, 1, 0));
    emit_lea(e, H_RCX, h_index(H_RCX, H_R11, 1, 0));
    emit_rorx(e, H_RDX, H_RCX, 32);
    emit_mov32_rr(e, H_RDX, H_RDX);
    emit_mov32_rr(e, H_RAX, H_RCX);
    if (aux)
        emit_load32(e, H_R10, FRAME(tsc_aux));          /* guest rcx */
    t->open = true;
    return true;
}

/* ---- by helpers ---------------------------------------------------------------- */

static bool emit_mov(struct dbt_translation *t, const struct x86_insn *insn)
{
    const struct x86_operand *to = &insn->op[0], *from = &insn->op[1];

    if (to->kind == X86_OPND_CR)
        return dbt_emit_help(t, dbt_help_write_cr, DBT_OPERAND(from->reg, to->reg), to->reg == 2);
    if (from->kind == X86_OPND_CR)
        return dbt_emit_help(t, dbt_help_read_cr, DBT_OPERAND(to->reg, from->reg), true);
    if (from->kind == X86_OPND_SEG && to->kind == X86_OPND_GPR)
        return dbt_emit_help(t, dbt_help_read_seg,
                             DBT_OPERAND(to->reg, from->reg | (to->size == 2) << 8), true);
    return false;
}

static bool emit_base(struct dbt_translation *t, const struct x86_insn *insn, dbt_helper *helper,
                      enum x86_seg seg)
{
    return dbt_emit_help(t, helper,
                         DBT_OPERAND(insn->op[0].reg, seg | (insn->op[0].size == 8) << 8), true);
}

static bool emit_invpcid(struct dbt_translation *t, const struct x86_insn *insn)
{
    return dbt_emit_address(t, insn, true) &&
           dbt_emit_help(t, dbt_help_invpcid, DBT_OPERAND(insn->op[0].reg, 0), false);
}

static bool emit_xsave(struct dbt_translation *t, const struct x86_insn *insn, dbt_helper *helper,
                       uint32_t which)
{
    return insn->operand_bits == 64 && dbt_emit_address(t, insn, true) &&
           dbt_emit_help(t, helper, which, true);
}

static bool emit_invlpg(struct dbt_translation *t, const struct x86_insn *insn)
{
    return dbt_emit_address(t, insn, true) && dbt_emit_help(t, dbt_help_invlpg, 0, false);
}

/* At CPL 0. */
static bool emit_privileged(struct dbt_translation *t, const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(SWAPGS): return emit_swapgs(t);
    case M(SYSRET): return insn->operand_bits == 64 && dbt_emit_help(t, dbt_help_sysret, 0, false);
    case M(IRETQ): return dbt_emit_help(t, dbt_help_iret, 0, false);
    case M(MOV): return emit_mov(t, insn);
    case M(CLTS): return dbt_emit_help(t, dbt_help_clts, 0, true);
    case M(INVLPG): return emit_invlpg(t, insn);
    case M(INVPCID): return emit_invpcid(t, insn);
    case M(RDMSR): return dbt_emit_help(t, dbt_help_rdmsr, 0, true);
    case M(WRMSR): return dbt_emit_help(t, dbt_help_wrmsr, 0, true);
    case M(XSAVES64): return emit_xsave(t, insn, dbt_help_xsave, DBT_XSAVEC);
    case M(XRSTORS64): return emit_xsave(t, insn, dbt_help_xrstor, DBT_XRSTORS);
    default: return false;
    }
}

bool dbt_emit_system(struct dbt_translation *t, const struct x86_insn *insn)
{
    if (t->code_bits != 64)
        return dbt_emit_segment(t, insn);
    switch (insn->mnemonic) {
    case M(SYSCALL): return dbt_emit_help(t, dbt_help_syscall, 0, false);
    case M(RDTSC): return emit_rdtsc(t, false);
    case M(RDTSCP): return emit_rdtsc(t, true);
    case M(RDFSBASE): return emit_base(t, insn, dbt_help_read_base, X86_FS);
    case M(RDGSBASE): return emit_base(t, insn, dbt_help_read_base, X86_GS);
    case M(WRFSBASE): return emit_base(t, insn, dbt_help_write_base, X86_FS);
    case M(WRGSBASE): return emit_base(t, insn, dbt_help_write_base, X86_GS);
    case M(XSAVE64): return emit_xsave(t, insn, dbt_help_xsave, DBT_XSAVE);
    case M(XSAVEOPT64): return emit_xsave(t, insn, dbt_help_xsave, DBT_XSAVEOPT);
    case M(XSAVEC64): return emit_xsave(t, insn, dbt_help_xsave, DBT_XSAVEC);
    case M(XRSTOR64): return emit_xsave(t, insn, dbt_help_xrstor, DBT_XRSTOR);
    default: return t->mode & DBT_MODE_IF && emit_privileged(t, insn);
    }
}

bool dbt_emit_pause(struct dbt_translation *t)
{
    return dbt_emit_help(t, dbt_help_pause, 0, true);
}

bool dbt_system_goes_on(const struct dbt_translation *t, const struct x86_insn *insn)
{
    if (dbt_loads_segment(t, insn))
        return true;
    switch (insn->mnemonic) {
    case M(SWAPGS): case M(RDTSC): case M(RDTSCP): case M(CLTS): case M(RDMSR): case M(WRMSR):
    case M(RDFSBASE): case M(RDGSBASE): case M(WRFSBASE): case M(WRGSBASE):
        return true;
    case M(MOV):
        return insn->op[0].kind != X86_OPND_CR || insn->op[0].reg == 2;
    default:
        return false;
    }
}
