/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * operand.c - see operand.h.
 *
 * Little-endian host: a register of 1, 2 or 4 bytes is the low end of its
 * 64-bit slot, AH-BH the byte above it.
 */
#include "x86/operand.h"

#include "base/bug.h"
#include "base/byteorder.h"

static uint64_t truncate_to(uint64_t v, unsigned bits)
{
    return bits == 64 ? v : v & ((1ull << bits) - 1);
}

uint64_t x86_ea(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    const struct x86_mem *m = &insn->mem;
    uint64_t ea = (uint64_t)m->disp;

    if (m->base == X86_REG_RIP)
        ea += cpu->s.rip + insn->length;
    else if (m->base != X86_REG_NONE)
        ea += cpu->s.gpr[m->base];
    if (m->index != X86_REG_NONE)
        ea += cpu->s.gpr[m->index] * m->scale;
    return truncate_to(ea, insn->address_bits);
}

gva_t x86_ea_linear(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size,
                    enum x86_access access)
{
    return x86_linear(cpu, (enum x86_seg)insn->mem.seg, x86_ea(cpu, insn), size, access);
}

uint64_t x86_gpr_read(const struct x86_cpu *cpu, unsigned reg, unsigned size)
{
    uint64_t v = cpu->s.gpr[reg];

    return size == 8 ? v : size == 4 ? (uint32_t)v : size == 2 ? (uint16_t)v : (uint8_t)v;
}

void x86_gpr_write(struct x86_cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t *slot = &cpu->s.gpr[reg];

    switch (size) {
    case 1: *slot = (*slot & ~0xffull) | (uint8_t)value; break;
    case 2: *slot = (*slot & ~0xffffull) | (uint16_t)value; break;
    case 4: *slot = (uint32_t)value; break;
    default: *slot = value; break;
    }
}

uint64_t x86_operand_read(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned n)
{
    const struct x86_operand *o = &insn->op[n];

    switch (o->kind) {
    case X86_OPND_GPR: return x86_gpr_read(cpu, o->reg, o->size);
    case X86_OPND_GPR_HIGH: return (uint8_t)(cpu->s.gpr[o->reg] >> 8);
    case X86_OPND_MEM: return x86_read(cpu, x86_ea_linear(cpu, insn, o->size, X86_READ), o->size);
    case X86_OPND_IMM: return (uint64_t)insn->imm[o->reg];
    case X86_OPND_SEG: return cpu->s.seg[o->reg].selector;
    default: BUG("operand kind has no integer value");
    }
}

void x86_operand_write(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned n,
                       uint64_t value)
{
    const struct x86_operand *o = &insn->op[n];

    switch (o->kind) {
    case X86_OPND_GPR:
        x86_gpr_write(cpu, o->reg, o->size, value);
        break;
    case X86_OPND_GPR_HIGH:
        cpu->s.gpr[o->reg] = (cpu->s.gpr[o->reg] & ~0xff00ull) | (uint64_t)(uint8_t)value << 8;
        break;
    case X86_OPND_MEM:
        x86_write(cpu, x86_ea_linear(cpu, insn, o->size, X86_WRITE), o->size, value);
        break;
    default:
        BUG("operand kind cannot be written");
    }
}

void x86_push(struct x86_cpu *cpu, unsigned size, uint64_t value)
{
    unsigned bits = cpu->mode.stack_bits;
    uint64_t sp = truncate_to(cpu->s.gpr[X86_RSP] - size, bits);

    x86_write(cpu, x86_linear(cpu, X86_SS, sp, size, X86_WRITE), size, value);
    x86_gpr_write(cpu, X86_RSP, bits / 8, sp);
}

uint64_t x86_pop(struct x86_cpu *cpu, unsigned size)
{
    unsigned bits = cpu->mode.stack_bits;
    uint64_t sp = truncate_to(cpu->s.gpr[X86_RSP], bits);
    uint64_t value = x86_read(cpu, x86_linear(cpu, X86_SS, sp, size, X86_READ), size);

    x86_gpr_write(cpu, X86_RSP, bits / 8, sp + size);
    return value;
}

void x86_next(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    cpu->s.rip = truncate_to(cpu->s.rip + insn->length, cpu->mode.code_bits);
}
