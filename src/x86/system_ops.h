/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system_ops.h - the functions behind the mnemonic table in system.c.
 *
 * Private to src/x86: everybody else goes through x86_system_op(). Grouped by
 * the file that defines them; each executes one whole instruction under the
 * rules of cpu.h.
 */
#ifndef RING3_X86_SYSTEM_OPS_H
#define RING3_X86_SYSTEM_OPS_H

#include "x86/system.h"

/* sys_control.c: control registers, MSRs, TLB, identification, idling */
x86_op x86_op_mov_cr;            /* MOV to and from CR0, CR2, CR3, CR4, CR8 */
x86_op x86_op_lmsw;
x86_op x86_op_smsw;
x86_op x86_op_clts;
x86_op x86_op_invlpg;
x86_op x86_op_invpcid;
x86_op x86_op_rdmsr;
x86_op x86_op_wrmsr;
x86_op x86_op_cpuid;
x86_op x86_op_rdtsc;
x86_op x86_op_rdtscp;
x86_op x86_op_rdpmc;
x86_op x86_op_rdpid;
x86_op x86_op_swapgs;
x86_op x86_op_rdfsbase;
x86_op x86_op_rdgsbase;
x86_op x86_op_wrfsbase;
x86_op x86_op_wrgsbase;
x86_op x86_op_clac;
x86_op x86_op_stac;
x86_op x86_op_cache_control;     /* INVD, WBINVD, WBNOINVD */
x86_op x86_op_cache_line;        /* CLFLUSH, CLFLUSHOPT, CLWB */
x86_op x86_op_prefetch;          /* PREFETCHx and other hints with a memory operand */
x86_op x86_op_hlt;
x86_op x86_op_hypercall;         /* VMCALL, VMMCALL */
x86_op x86_op_rdrand;
x86_op x86_op_rdseed;
x86_op x86_op_undefined;         /* known, but never exposed: #UD */

/* sys_xsave.c: saving and restoring extended state */
x86_op x86_op_fxsave;            /* and FXSAVE64 */
x86_op x86_op_fxrstor;
x86_op x86_op_xsave;             /* and the 64 forms of all of these */
x86_op x86_op_xsaveopt;
x86_op x86_op_xsavec;
x86_op x86_op_xsaves;
x86_op x86_op_xrstor;
x86_op x86_op_xrstors;
x86_op x86_op_xgetbv;
x86_op x86_op_xsetbv;
x86_op x86_op_ldmxcsr;           /* and VLDMXCSR */
x86_op x86_op_stmxcsr;
x86_op x86_op_rdpkru;
x86_op x86_op_wrpkru;

/* segment.c: segment registers, descriptor tables, questions about descriptors */
x86_op x86_op_mov_seg;
x86_op x86_op_push_seg;
x86_op x86_op_pop_seg;
x86_op x86_op_lds;
x86_op x86_op_les;
x86_op x86_op_lss;
x86_op x86_op_lfs;
x86_op x86_op_lgs;
x86_op x86_op_lgdt;
x86_op x86_op_lidt;
x86_op x86_op_sgdt;
x86_op x86_op_sidt;
x86_op x86_op_lldt;
x86_op x86_op_ltr;
x86_op x86_op_sldt;
x86_op x86_op_str;
x86_op x86_op_lar;
x86_op x86_op_lsl;
x86_op x86_op_verr;
x86_op x86_op_verw;
x86_op x86_op_arpl;

/* transfer.c, syscall.c, exception.c: control transfers */
x86_op x86_op_jmp_far;
x86_op x86_op_call_far;
x86_op x86_op_ret_far;
x86_op x86_op_iret;                  /* every mode and form */
x86_op x86_op_syscall;
x86_op x86_op_sysret;
x86_op x86_op_sysenter;
x86_op x86_op_sysexit;
x86_op x86_op_int;
x86_op x86_op_int1;
x86_op x86_op_int3;
x86_op x86_op_into;
x86_op x86_op_bound;

/* flags.c, io.c, debug.c */
x86_op x86_op_pushf;
x86_op x86_op_popf;
x86_op x86_op_cli;
x86_op x86_op_sti;
x86_op x86_op_in;
x86_op x86_op_out;
x86_op x86_op_ins;
x86_op x86_op_outs;
x86_op x86_op_mov_dr;

#endif
