/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec.h - plain instructions in their general form: integer, branches, strings.
 *
 * One function per mnemonic, under the rules of cpu.h: whole instruction,
 * s.rip and s.rflags complete on entry and exit. General and therefore not the
 * fastest: the interpreter has specialised handlers for hot forms and falls
 * back to these on a TLB miss; the translator calls them for what it does not
 * translate. Arithmetic is the host's (alu.h).
 *
 * LOCK and XCHG with memory are host atomics on the guest's RAM. Where there
 * is no host pointer (operand across two pages, MMIO, a page that holds cached
 * code) they fall back to a read and a write that are not atomic together.
 *
 * REP string instructions do a bounded number of iterations per call; what is
 * left continues when s.rip, still at the instruction, is executed again, so
 * that interrupts get in between.
 */
#ifndef RING3_X86_EXEC_H
#define RING3_X86_EXEC_H

#include "x86/system.h"

/* What executes `insn`: one of the functions here, the system table's, or one
 * that raises #UD. NULL for X86_CLASS_HOST, which needs a stub (hostinsn.h). */
x86_op *x86_exec_op(const struct x86_insn *insn);

/* Condition code of Jcc, SETcc, CMOVcc: the low four bits of the opcode. */
static inline unsigned x86_insn_condition(const struct x86_insn *insn)
{
    return insn->bytes[(insn->modrm_at ? insn->modrm_at : insn->imm_at) - 1] & 0xf;
}

/* Iterations of a REP string instruction per call, at most. */
enum { X86_REP_CHUNK = 4096 };

#endif
