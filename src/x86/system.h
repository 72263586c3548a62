/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system.h - everything about the processor that is not plain computing.
 *
 * Both software engines call these for system instructions, far transfers,
 * exceptions and interrupts. Every x86_op function executes one whole
 * instruction under the rules of cpu.h. The table in system.c maps mnemonics
 * to them; adding an instruction is adding a row.
 */
#ifndef RING3_X86_SYSTEM_H
#define RING3_X86_SYSTEM_H

#include "x86/cpu.h"
#include "x86/decode.h"

/* INS and OUTS with REP may return with s.rip unmoved after part of the work,
 * so that interrupts get their turn; the engine simply goes on at s.rip. */
typedef void x86_op(struct x86_cpu *cpu, const struct x86_insn *insn);

/* The function for a X86_CLASS_SYSTEM mnemonic, or NULL (then #UD). */
x86_op *x86_system_op(unsigned mnemonic);

/* ---- events ------------------------------------------------------------ */

/* Delivers cpu->pending (as left by x86_raise), including double faults and
 * their exceptions. False on a triple fault: the vCPU is shut down and
 * cpu->halted_by_shutdown is set. Does not unwind. s.rip is the faulting
 * instruction (or the next one for traps). */
bool x86_exception_deliver(struct x86_cpu *cpu);

/* External interrupt or NMI, between instructions. The caller checked IF and
 * shadows (x86_interruptible). Same result as above. Does not unwind. */
bool x86_interrupt_deliver(struct x86_cpu *cpu, uint8_t vector);
bool x86_nmi_deliver(struct x86_cpu *cpu);
bool x86_interruptible(const struct x86_cpu *cpu);       /* IF set, no shadow */
bool x86_nmi_possible(const struct x86_cpu *cpu);

/* ---- debug: single step, breakpoints, interrupt shadows -----------------
 * x86_step_watch() is true while TF or RF is set, DR7 enables something, a
 * shadow is active or a debug trap is due: rarely. The engine asks at each
 * block boundary; everything that can make it true ends a block (POPF, IRET,
 * STI, MOV SS, MOV DR, ...). While it is true, instructions go one by one:
 *
 *     [interrupts, NMI: x86_interruptible(), x86_nmi_possible()]
 *     if (x86_step_watch(cpu)) {
 *         uint64_t flags_before = cpu->s.rflags;
 *         x86_step_begin(cpu);
 *         ... one instruction (one iteration of a REP string instruction) ...
 *         x86_step_done(cpu, flags_before);
 *     }
 *
 * x86_step_begin ends the shadows and RF, which have done their work at this
 * boundary, and raises instruction breakpoints and traps left from before.
 * x86_step_done raises single-step and data-breakpoint traps; it is not called
 * for an instruction that unwound. Both may unwind. */
static inline bool x86_step_watch(const struct x86_cpu *cpu)
{
    return (cpu->s.rflags & (X86_FLAG_TF | X86_FLAG_RF)) | (cpu->s.dr7 & 0xff) |
           cpu->debug_due | cpu->s.ev.shadow_sti | cpu->s.ev.shadow_mov_ss |
           (cpu->debugger != NULL);
}
void x86_step_begin(struct x86_cpu *cpu);
void x86_step_done(struct x86_cpu *cpu, uint64_t flags_before);
/* Records data-breakpoint hits of an access; called by mmu.c slow paths, which
 * the MMU takes for pages with a data breakpoint. */
void x86_debug_data_access(struct x86_cpu *cpu, gva_t a, unsigned len, bool write);

/* Chip-level reset of the CPU through INIT or SIPI is the machine's: x86/state.h. */

/* ---- control, used by several instructions and by engines --------------- */
void x86_cr_write(struct x86_cpu *cpu, unsigned cr, uint64_t value);   /* raises #GP */
uint64_t x86_cr_read(struct x86_cpu *cpu, unsigned cr);
void x86_xcr0_write(struct x86_cpu *cpu, uint64_t value);
int x86_msr_read(struct x86_cpu *cpu, uint32_t msr, uint64_t *value);  /* -1: #GP */
int x86_msr_write(struct x86_cpu *cpu, uint32_t msr, uint64_t value);
/* Loads a data/stack segment register with all checks. */
void x86_segment_load(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector);
/* Raises #GP when the I/O permission rules forbid [port, port+size). */
void x86_io_check(struct x86_cpu *cpu, uint16_t port, unsigned size);
/* Raises #NM/#UD/#MF as CR0.EM/TS, CR4.OSFXSR/OSXSAVE and XCR0 demand for a
 * X86_CLASS_HOST instruction. */
void x86_fpu_check(struct x86_cpu *cpu, const struct x86_insn *insn);

#endif
