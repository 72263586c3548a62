/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flags.c - PUSHF, POPF, CLI, STI: the flags that privilege guards.
 *
 * Intel SDM vol. 2 (tables under CLI, STI, POPF) and vol. 3, 20.3-20.4 for
 * CR4.VME and CR4.PVI, with which VIF takes the place of IF.
 */
#include "x86/event.h"
#include "x86/system_ops.h"

static void flags_set(struct x86_cpu *cpu, uint64_t flags)
{
    uint64_t changed = cpu->s.rflags ^ flags;

    cpu->s.rflags = flags | X86_FLAG_1;
    if (changed & (X86_FLAG_AC | X86_FLAG_VM))
        x86_mode_update(cpu);
}

/* Virtual-8086 code below IOPL 3 may only use the 16-bit forms, with VME. */
static bool vme_form(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (!cpu->mode.vm86 || x86_iopl(cpu) == 3)
        return false;
    if (!(cpu->s.cr4 & X86_CR4_VME) || insn->operand_bits != 16)
        x86_gp0(cpu);
    return true;
}

void x86_op_pushf(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t flags = cpu->s.rflags & ~(uint64_t)(X86_FLAG_VM | X86_FLAG_RF);

    if (vme_form(cpu, insn)) {
        flags = (flags & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL;
        if (flags & X86_FLAG_VIF)
            flags |= X86_FLAG_IF;
    }
    x86_push(cpu, insn->operand_bits / 8, flags);
    x86_next(cpu, insn);
}

static uint64_t popf_mask(const struct x86_cpu *cpu, unsigned bits)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

    if (bits > 16)
        mask |= X86_FLAG_AC | X86_FLAG_ID;
    if (cpu->mode.cpl <= x86_iopl(cpu))
        mask |= X86_FLAG_IF;
    if (cpu->mode.cpl == 0)
        mask |= X86_FLAG_IOPL;
    return mask;
}

void x86_op_popf(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bool vme = vme_form(cpu, insn);
    uint64_t mask = popf_mask(cpu, insn->operand_bits), value;
    struct x86_stack st;

    x86_stack_current(cpu, &st);
    value = x86_stack_pop(cpu, &st, insn->operand_bits / 8);
    if (vme) {
        if (value & X86_FLAG_TF || (value & X86_FLAG_IF && cpu->s.rflags & X86_FLAG_VIP))
            x86_gp0(cpu);
        mask |= X86_FLAG_VIF;
        value = (value & ~(uint64_t)X86_FLAG_VIF) | (value & X86_FLAG_IF ? X86_FLAG_VIF : 0);
    }
    x86_stack_commit(cpu, &st);
    flags_set(cpu, (cpu->s.rflags & ~(mask | X86_FLAG_RF)) | (value & mask));
    x86_next(cpu, insn);
}

/* Which flag CLI and STI act on here. */
static uint64_t interrupt_flag(struct x86_cpu *cpu)
{
    if (cpu->mode.cpl <= x86_iopl(cpu))
        return X86_FLAG_IF;
    if (cpu->mode.vm86 ? cpu->s.cr4 & X86_CR4_VME
                       : cpu->mode.cpl == 3 && cpu->s.cr4 & X86_CR4_PVI)
        return X86_FLAG_VIF;
    x86_gp0(cpu);
}

void x86_op_cli(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    cpu->s.rflags &= ~interrupt_flag(cpu);
    x86_next(cpu, insn);
}

void x86_op_sti(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t flag = interrupt_flag(cpu);

    if (flag == X86_FLAG_VIF && cpu->s.rflags & X86_FLAG_VIP)
        x86_gp0(cpu);
    if (flag == X86_FLAG_IF && !(cpu->s.rflags & X86_FLAG_IF))
        cpu->s.ev.shadow_sti = true;
    cpu->s.rflags |= flag;
    x86_next(cpu, insn);
}
