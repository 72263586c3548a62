/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn.h - executing one guest instruction on the host processor.
 *
 * Guest and host have the same instruction set, so an x87, MMX, SSE, AVX,
 * AVX-512, BMI, ADX, CRC32, AES, SHA... instruction of the guest is run by the
 * host itself: a small stub is generated once per distinct instruction; it
 * loads the registers the instruction names from x86_state, executes the
 * instruction with its memory operand rewritten to point at a buffer or at
 * guest RAM, and stores back what it wrote. A fault inside the stub (#XM, #MF,
 * #GP for misalignment, #UD, #DE) becomes the guest's exception.
 *
 * A pool holds the stubs of one vCPU, in memory that is never writable and
 * executable at one address (two mappings of one memfd). It is bounded; when
 * full it is emptied and a generation counter moves, so holders of a stub
 * pointer check x86_hostinsn_pool_generation().
 */
#ifndef RING3_X86_HOSTINSN_H
#define RING3_X86_HOSTINSN_H

#include "x86/cpu.h"
#include "x86/decode.h"

struct error;
struct x86_hostinsn;

struct x86_hostinsn_pool *x86_hostinsn_pool_new(struct error **err);
void x86_hostinsn_pool_free(struct x86_hostinsn_pool *pool);
uint64_t x86_hostinsn_pool_generation(const struct x86_hostinsn_pool *pool);

/* The stub for `insn`, made on first use; NULL when the host cannot execute it
 * or it is not of X86_CLASS_HOST (raise #UD). */
const struct x86_hostinsn *x86_hostinsn_get(struct x86_hostinsn_pool *pool,
                                            const struct x86_insn *insn);

/* Runs it under the rules of cpu.h: x86_fpu_check, operand access, execution,
 * write-back, s.rip moved on. Raises. */
void x86_hostinsn_run(struct x86_cpu *cpu, const struct x86_insn *insn,
                      const struct x86_hostinsn *stub);

/* For engines that run x87 instructions on the host in other ways. */
/* Control instructions (FNINIT, FLDCW, FNSTENV, ...) leave the pointers to the
 * last instruction alone. */
bool x86_hostinsn_is_x87_control(const struct x86_insn *insn);
/* The host keeps FCS and FDS. */
bool x86_hostinsn_x87_selectors(const struct x86_hostinsn_pool *pool);

#endif
