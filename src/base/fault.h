/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.h - running a piece of host code that may fault, and surviving it.
 *
 * The reference engine executes guest vector and x87 instructions on the host
 * processor; when one faults (#XM, #MF, #GP for a misaligned operand, #UD,
 * #DE) the host kernel sends a signal. A thread that runs such code publishes
 * a guard: the range of host code it covers and where to resume. The handler
 * looks only at the calling thread's innermost guard; a fault outside its
 * range is a bug of ours and goes to the previous handler.
 *
 * At `resume` the thread has exactly the registers it had at the fault, RIP
 * apart: general registers, flags, x87, MMX, vector registers and MXCSR. That
 * is on purpose, because they may be the guest's. The code at `resume` saves
 * what it wants of them and then makes the processor fit for C again: DF
 * clear, x87 stack empty with the default control word and no pending
 * exception (FNINIT), default MXCSR, and the caller's RSP.
 *
 * fault_install() is reference-counted and process-wide, because signal
 * dispositions are; the guard itself is thread-local. Handlers run on an
 * alternate stack made by fault_thread_init().
 */
#ifndef RING3_BASE_FAULT_H
#define RING3_BASE_FAULT_H

#include "base/types.h"

struct error;

struct fault_guard {
    uintptr_t code_start, code_end;   /* host PCs covered: [start, end) */
    uintptr_t resume;                 /* where to continue after a fault; the
                                         general registers are as at the fault */
    int signo;                        /* out: SIGFPE, SIGSEGV, SIGILL, SIGBUS, SIGTRAP */
    uint32_t trapno;                  /* out: x86 vector, from the signal frame */
    uint32_t error_code;              /* out */
    uint64_t address;                 /* out: faulting address (CR2) */
    uintptr_t pc;                     /* out: host PC that faulted */
    struct fault_guard *outer;
};

int fault_install(struct error **err);
void fault_uninstall(void);

/* Alternate signal stack for the calling thread; idempotent. */
int fault_thread_init(struct error **err);
void fault_thread_fini(void);

/* Publishes/withdraws a guard for the calling thread. Cheap (a TLS store). */
void fault_guard_push(struct fault_guard *g);
void fault_guard_pop(struct fault_guard *g);

#endif
