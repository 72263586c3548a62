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

#endif
