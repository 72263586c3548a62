/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_stack.c - PUSH, POP and their relatives.
 *
 * An instruction that faults half way has not moved any register; memory below
 * the stack pointer may have been written, as on a processor.
 */
#include "x86/exec_ops.h"

static unsigned stack_size(const struct x86_cpu *cpu)
{
    return cpu->mode.stack_bits / 8;
}

static gva_t stack_linear(struct x86_cpu *cpu, uint64_t sp, unsigned size, enum x86_access access)
{
    return x86_linear(cpu, X86_SS, sp & x86_size_mask(stack_size(cpu)), size, access);
}

void x86_exec_PUSH(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_push(cpu, insn->operand_bits / 8, x86_operand_read(cpu, insn, 0));
    x86_next(cpu, insn);
}

/* A memory destination based on rSP is addressed with rSP already moved. */
void x86_exec_POP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8;
    uint64_t old = cpu->s.gpr[X86_RSP], v = x86_pop(cpu, size);

    if (insn->op[0].kind == X86_OPND_MEM) {
        uint64_t moved = cpu->s.gpr[X86_RSP];
        uint64_t ea = x86_ea(cpu, insn);
        gva_t at;

        cpu->s.gpr[X86_RSP] = old;
        at = x86_linear(cpu, (enum x86_seg)insn->mem.seg, ea, size, X86_WRITE);
        x86_write(cpu, at, size, v);
        cpu->s.gpr[X86_RSP] = moved;
    } else {
        x86_operand_write(cpu, insn, 0, v);
    }
    x86_next(cpu, insn);
}

/* PUSHA and POPA exist with 16- and 32-bit operands only. */
void x86_exec_PUSHA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8;
    uint64_t sp = cpu->s.gpr[X86_RSP];

    for (unsigned i = 0; i < 8; i++) {
        gva_t at = stack_linear(cpu, sp - (i + 1) * size, size, X86_WRITE);

        x86_write(cpu, at, size, cpu->s.gpr[i]);
    }
    x86_gpr_write(cpu, X86_RSP, stack_size(cpu), sp - 8 * size);
    x86_next(cpu, insn);
}

/* Registers change one by one, as on AMD's processors: after a fault some have;
 * the stack pointer has not, so it starts over. */
void x86_exec_POPA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8;
    uint64_t sp = cpu->s.gpr[X86_RSP];

    for (unsigned i = 0; i < 8; i++) {
        uint64_t v = x86_read(cpu, stack_linear(cpu, sp + i * size, size, X86_READ), size);

        if (7 - i != X86_RSP)
            x86_gpr_write(cpu, 7 - i, size, v);
    }
    x86_gpr_write(cpu, X86_RSP, stack_size(cpu), sp + 8 * size);
    x86_next(cpu, insn);
}

/* SDM vol. 2, ENTER: with a nesting level, copies the display of outer frame
 * pointers; at last checks that the new top of stack can be written. */
void x86_exec_ENTER(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8, level = insn->imm[1] & 31;
    uint64_t sp = cpu->s.gpr[X86_RSP] - size, bp = cpu->s.gpr[X86_RBP], frame = sp;

    x86_write(cpu, stack_linear(cpu, sp, size, X86_WRITE), size, bp);
    for (unsigned i = 1; i < level; i++) {
        uint64_t outer = x86_read(cpu, stack_linear(cpu, bp - i * size, size, X86_READ), size);

        sp -= size;
        x86_write(cpu, stack_linear(cpu, sp, size, X86_WRITE), size, outer);
    }
    if (level) {
        sp -= size;
        x86_write(cpu, stack_linear(cpu, sp, size, X86_WRITE), size, frame);
    }
    sp -= (uint16_t)insn->imm[0];
    x86_probe(cpu, stack_linear(cpu, sp, size, X86_WRITE), size, X86_WRITE);
    x86_gpr_write(cpu, X86_RBP, size, frame);
    x86_gpr_write(cpu, X86_RSP, stack_size(cpu), sp);
    x86_next(cpu, insn);
}

void x86_exec_LEAVE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8;
    uint64_t bp = cpu->s.gpr[X86_RBP];
    uint64_t v = x86_read(cpu, stack_linear(cpu, bp, size, X86_READ), size);

    x86_gpr_write(cpu, X86_RSP, stack_size(cpu), bp + size);
    x86_gpr_write(cpu, X86_RBP, size, v);
    x86_next(cpu, insn);
}
