/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system.c - which function executes which system instruction.
 *
 * The whole of it in one table, indexed by Zydis's mnemonic numbers. MOV, PUSH,
 * POP, JMP, CALL and RET are here for their system forms only (segment, control
 * and debug registers, far transfers): decode.c gives those X86_CLASS_SYSTEM.
 */
#include <Zydis/Mnemonic.h>
#include "x86/system_ops.h"

static void op_mov(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    for (unsigned i = 0; i < 2; i++) {
        switch (insn->op[i].kind) {
        case X86_OPND_CR: x86_op_mov_cr(cpu, insn); return;
        case X86_OPND_DR: x86_op_mov_dr(cpu, insn); return;
        case X86_OPND_SEG: x86_op_mov_seg(cpu, insn); return;
        }
    }
    x86_ud(cpu);
}

#define OP(mnemonic, function) [ZYDIS_MNEMONIC_##mnemonic] = x86_op_##function

static x86_op *const ops[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    [ZYDIS_MNEMONIC_MOV] = op_mov,

    /* segments and descriptor tables */
    OP(PUSH, push_seg), OP(POP, pop_seg),
    OP(LDS, lds), OP(LES, les), OP(LSS, lss), OP(LFS, lfs), OP(LGS, lgs),
    OP(LGDT, lgdt), OP(LIDT, lidt), OP(SGDT, sgdt), OP(SIDT, sidt),
    OP(LLDT, lldt), OP(LTR, ltr), OP(SLDT, sldt), OP(STR, str),
    OP(LAR, lar), OP(LSL, lsl), OP(VERR, verr), OP(VERW, verw), OP(ARPL, arpl),

    /* transfers and events */
    OP(JMP, jmp_far), OP(CALL, call_far), OP(RET, ret_far),
    OP(IRET, iret), OP(IRETD, iret), OP(IRETQ, iret),
    OP(INT, int), OP(INT1, int1), OP(INT3, int3), OP(INTO, into), OP(BOUND, bound),
    OP(SYSCALL, syscall), OP(SYSRET, sysret), OP(SYSENTER, sysenter), OP(SYSEXIT, sysexit),
    OP(UD0, undefined), OP(UD1, undefined), OP(UD2, undefined),

    /* flags */
    OP(PUSHF, pushf), OP(PUSHFD, pushf), OP(PUSHFQ, pushf),
    OP(POPF, popf), OP(POPFD, popf), OP(POPFQ, popf),
    OP(CLI, cli), OP(STI, sti), OP(CLAC, clac), OP(STAC, stac),

    /* ports */
    OP(IN, in), OP(OUT, out),
    OP(INSB, ins), OP(INSW, ins), OP(INSD, ins),
    OP(OUTSB, outs), OP(OUTSW, outs), OP(OUTSD, outs),

    /* control registers, MSRs, TLB */
    OP(LMSW, lmsw), OP(SMSW, smsw), OP(CLTS, clts),
    OP(INVLPG, invlpg), OP(INVPCID, invpcid),
    OP(RDMSR, rdmsr), OP(WRMSR, wrmsr), OP(SWAPGS, swapgs),
    OP(RDFSBASE, rdfsbase), OP(RDGSBASE, rdgsbase),
    OP(WRFSBASE, wrfsbase), OP(WRGSBASE, wrgsbase),

    /* identification, time, randomness */
    OP(CPUID, cpuid), OP(RDTSC, rdtsc), OP(RDTSCP, rdtscp), OP(RDPMC, rdpmc), OP(RDPID, rdpid),
    OP(RDRAND, rdrand), OP(RDSEED, rdseed),

    /* caches and idling */
    OP(INVD, cache_control), OP(WBINVD, cache_control),
    OP(CLFLUSH, cache_line), OP(CLFLUSHOPT, cache_line), OP(CLWB, cache_line),
    OP(PREFETCH, prefetch), OP(PREFETCHW, prefetch), OP(PREFETCHWT1, prefetch),
    OP(PREFETCHNTA, prefetch), OP(PREFETCHT0, prefetch), OP(PREFETCHT1, prefetch),
    OP(PREFETCHT2, prefetch),
    OP(HLT, hlt),

    /* extended state */
    OP(FXSAVE, fxsave), OP(FXSAVE64, fxsave), OP(FXRSTOR, fxrstor), OP(FXRSTOR64, fxrstor),
    OP(XSAVE, xsave), OP(XSAVE64, xsave), OP(XSAVEOPT, xsaveopt), OP(XSAVEOPT64, xsaveopt),
    OP(XSAVEC, xsavec), OP(XSAVEC64, xsavec), OP(XSAVES, xsaves), OP(XSAVES64, xsaves),
    OP(XRSTOR, xrstor), OP(XRSTOR64, xrstor), OP(XRSTORS, xrstors), OP(XRSTORS64, xrstors),
    OP(XGETBV, xgetbv), OP(XSETBV, xsetbv),
    OP(LDMXCSR, ldmxcsr), OP(VLDMXCSR, ldmxcsr), OP(STMXCSR, stmxcsr), OP(VSTMXCSR, stmxcsr),
    OP(RDPKRU, rdpkru), OP(WRPKRU, wrpkru),

    OP(VMCALL, hypercall), OP(VMMCALL, hypercall),

    /* known, and never there: virtualization, and SMM without an SMI */
    OP(VMRUN, undefined),
    OP(MONITOR, undefined), OP(MWAIT, undefined), OP(RSM, undefined), OP(GETSEC, undefined),
};

x86_op *x86_system_op(unsigned mnemonic)
{
    return mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE ? ops[mnemonic] : NULL;
}
