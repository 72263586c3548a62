/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_branch.c - near transfers of control.
 *
 * The target is checked before anything is committed: canonical in 64-bit
 * mode, within the CS limit otherwise; #GP(0) is the branch's own fault.
 */
#include "x86/exec_ops.h"

#include <Zydis/Zydis.h>

static uint64_t check_target(struct x86_cpu *cpu, uint64_t target, unsigned operand_bits)
{
    target &= x86_size_mask(operand_bits / 8);
    if (cpu->mode.code_bits == 64 ? !x86_canonical(cpu, target)
                                  : target > cpu->s.seg[X86_CS].limit)
        x86_gp0(cpu);
    return target;
}

/* Where a branch wants to go, not yet checked. */
static uint64_t wanted(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (insn->op[0].kind == X86_OPND_IMM)
        return cpu->s.rip + insn->length + (uint64_t)insn->imm[0];
    return x86_operand_read(cpu, insn, 0);
}

static uint64_t target(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    return check_target(cpu, wanted(cpu, insn), insn->operand_bits);
}

void x86_exec_JMP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    cpu->s.rip = target(cpu, insn);
}

/* A stack that cannot be written counts before a target that is none, as on
 * AMD's processors. */
static void probe_push(struct x86_cpu *cpu, unsigned size)
{
    unsigned stack = cpu->mode.stack_bits / 8;
    uint64_t sp = (cpu->s.gpr[X86_RSP] - size) & x86_size_mask(stack);

    x86_probe(cpu, x86_linear(cpu, X86_SS, sp, size, X86_WRITE), size, X86_WRITE);
}

void x86_exec_CALL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t to = wanted(cpu, insn);

    probe_push(cpu, insn->operand_bits / 8);
    to = check_target(cpu, to, insn->operand_bits);
    x86_push(cpu, insn->operand_bits / 8, cpu->s.rip + insn->length);
    cpu->s.rip = to;
}

void x86_exec_RET(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8, stack = cpu->mode.stack_bits / 8;
    uint64_t sp = cpu->s.gpr[X86_RSP] & x86_size_mask(stack), to;

    to = x86_read(cpu, x86_linear(cpu, X86_SS, sp, size, X86_READ), size);
    to = check_target(cpu, to, insn->operand_bits);
    sp += size + (insn->operands ? (uint16_t)insn->imm[0] : 0);
    x86_gpr_write(cpu, X86_RSP, stack, sp);
    cpu->s.rip = to;
}

static void branch_if(struct x86_cpu *cpu, const struct x86_insn *insn, bool taken)
{
    if (taken)
        cpu->s.rip = target(cpu, insn);
    else
        x86_next(cpu, insn);
}

void x86_exec_JZ(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    branch_if(cpu, insn, x86_hf_condition(x86_hf(cpu), x86_insn_condition(insn)));
}

void x86_exec_JCXZ(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    branch_if(cpu, insn, !x86_gpr_read(cpu, X86_RCX, insn->address_bits / 8));
}

void x86_exec_LOOP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->address_bits / 8;
    uint64_t count = (x86_gpr_read(cpu, X86_RCX, size) - 1) & x86_size_mask(size);
    bool zf = cpu->s.rflags & X86_FLAG_ZF;
    bool taken = count && (insn->mnemonic == ZYDIS_MNEMONIC_LOOPE    ? zf
                           : insn->mnemonic == ZYDIS_MNEMONIC_LOOPNE ? !zf
                                                                     : true);

    branch_if(cpu, insn, taken);      /* may raise: the counter comes after */
    x86_gpr_write(cpu, X86_RCX, size, count);
}
