/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * operand.h - reading and writing the operands of a decoded instruction.
 *
 * General and therefore not the fastest way; engines have specialised paths
 * for hot forms. All may raise. s.rip is the address of the instruction.
 */
#ifndef RING3_X86_OPERAND_H
#define RING3_X86_OPERAND_H

#include "x86/decode.h"
#include "x86/mmu.h"

/* Effective address: base + index*scale + disp, truncated to the address size. */
uint64_t x86_ea(struct x86_cpu *cpu, const struct x86_insn *insn);
/* The same through the segment, checked for an access of `size` bytes. */
gva_t x86_ea_linear(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size,
                    enum x86_access access);

uint64_t x86_operand_read(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned n);
void x86_operand_write(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned n,
                       uint64_t value);

uint64_t x86_gpr_read(const struct x86_cpu *cpu, unsigned reg, unsigned size);
/* 4-byte writes clear the upper half in every mode (invisible outside 64-bit). */
void x86_gpr_write(struct x86_cpu *cpu, unsigned reg, unsigned size, uint64_t value);

/* Stack accesses of `size` bytes with the current stack-address size; the
 * pointer moves only after the access succeeded. */
void x86_push(struct x86_cpu *cpu, unsigned size, uint64_t value);
uint64_t x86_pop(struct x86_cpu *cpu, unsigned size);

/* s.rip += length, truncated to the code size. */
void x86_next(struct x86_cpu *cpu, const struct x86_insn *insn);

#endif
