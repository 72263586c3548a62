/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h - the architectural state of one x86-64 processor.
 *
 * One struct for every engine: that is what makes snapshots, lockstep tests
 * and moving a VM from one engine to another possible. It is a value: no
 * pointers, described field by field in x86_state_desc (state_desc.c).
 * Layout follows the Intel SDM vol. 1 ch. 3 and vol. 3 ch. 2; register
 * numbering is the instruction encoding's.
 *
 * The local APIC is not here: it is a device (irqchip/lapic.h), in whichever
 * place it runs.
 */
#ifndef RING3_X86_STATE_H
#define RING3_X86_STATE_H

#include "base/types.h"

enum x86_gpr { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
               X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
               X86_GPR_COUNT };
enum x86_seg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SEG_COUNT };

/* attr: bits 8-23 of the descriptor's second dword, shifted down by 8 (the
 * layout of VMX access rights), plus "unusable". */
enum {
    X86_ATTR_TYPE = 0xf, X86_ATTR_S = 1 << 4, X86_ATTR_DPL_SHIFT = 5, X86_ATTR_DPL = 3 << 5,
    X86_ATTR_P = 1 << 7, X86_ATTR_AVL = 1 << 12, X86_ATTR_L = 1 << 13, X86_ATTR_DB = 1 << 14,
    X86_ATTR_G = 1 << 15, X86_ATTR_UNUSABLE = 1 << 16,
};

struct x86_segment {
    uint64_t base;
    uint32_t limit;      /* in bytes, G already applied */
    uint32_t attr;
    uint16_t selector;
};

struct x86_table { uint64_t base; uint16_t limit; };

/* Vector, mask and x87 registers, without the XSAVE image's split halves.
 * xsave.h converts from and to the architectural images. */
struct x86_fpu {
    uint8_t vec[32][64] __attribute__((aligned(64)));  /* xmm/ymm/zmm, full width */
    uint64_t k[8];                /* opmasks */
    uint8_t st[8][16];            /* ST(0)..ST(7) in stack order, 10 bytes used */
    uint16_t fcw, fsw, fop;
    uint8_t ftw;                  /* abridged tag: bit i = physical register i valid */
    uint64_t fip, fdp;
    uint16_t fcs, fds;
    uint32_t mxcsr;
    uint32_t pkru;
};

struct x86_msrs {
    uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_adjust, tsc_aux, misc_enable, spec_ctrl, xss, pkrs;
    uint64_t apic_base;           /* IA32_APIC_BASE; the APIC itself is a device */
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_var[16];   /* base, mask pairs */
    uint64_t mcg_status, mcg_ctl, mc_bank[4 * 10];
    uint64_t debugctl, ucode_rev, smbase;
    uint64_t amd_syscfg, amd_hwcr, amd_de_cfg, amd_top_mem, amd_top_mem2;
    uint64_t kvm_system_time, kvm_wall_clock, kvm_async_pf, kvm_steal_time, kvm_pv_eoi;
};

enum x86_mp_state { X86_MP_RUNNABLE, X86_MP_HALTED, X86_MP_WAIT_FOR_SIPI, X86_MP_INIT };

/* What is in flight between instructions. */
struct x86_events {
    bool exception_valid, exception_has_error;
    uint8_t exception_vector;
    uint32_t exception_error;
    bool interrupt_valid, interrupt_soft;   /* accepted, not yet delivered */
    uint8_t interrupt_vector;
    bool nmi_pending, nmi_masked;           /* masked: until IRET */
    bool shadow_sti, shadow_mov_ss;         /* one-instruction interrupt shadow */
    bool smm;
    uint8_t mp_state;                       /* enum x86_mp_state */
};

struct x86_state {
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t rip;
    uint64_t rflags;              /* always complete; bit 1 set */
    struct x86_segment seg[X86_SEG_COUNT], ldtr, tr;
    struct x86_table gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t dr[4], dr6, dr7;
    uint64_t xcr0;
    uint64_t tsc;                 /* guest TSC at the moment the state was read */
    struct x86_msrs msr;
    struct x86_events ev;
    struct x86_fpu fpu;
};

enum {
    X86_FLAG_CF = 1 << 0, X86_FLAG_1 = 1 << 1, X86_FLAG_PF = 1 << 2, X86_FLAG_AF = 1 << 4,
    X86_FLAG_ZF = 1 << 6, X86_FLAG_SF = 1 << 7, X86_FLAG_TF = 1 << 8, X86_FLAG_IF = 1 << 9,
    X86_FLAG_DF = 1 << 10, X86_FLAG_OF = 1 << 11, X86_FLAG_IOPL = 3 << 12,
    X86_FLAG_NT = 1 << 14, X86_FLAG_RF = 1 << 16, X86_FLAG_VM = 1 << 17,
    X86_FLAG_AC = 1 << 18, X86_FLAG_VIF = 1 << 19, X86_FLAG_VIP = 1 << 20,
    X86_FLAG_ID = 1 << 21,
    X86_FLAGS_ARITH = X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF |
                      X86_FLAG_OF,
};
/* Hypercalls: numbers and errors of KVM's interface. */
enum { X86_KVM_EPERM = 1, X86_KVM_EINVAL = 22, X86_KVM_ENOSYS = 1000, X86_KVM_SEND_IPI = 10 };
#define X86_CR0_PE (1u << 0)
#define X86_CR0_MP (1u << 1)
#define X86_CR0_EM (1u << 2)
#define X86_CR0_TS (1u << 3)
#define X86_CR0_ET (1u << 4)
#define X86_CR0_NE (1u << 5)
#define X86_CR0_WP (1u << 16)
#define X86_CR0_AM (1u << 18)
#define X86_CR0_NW (1u << 29)
#define X86_CR0_CD (1u << 30)
#define X86_CR0_PG (1u << 31)
#define X86_CR4_VME (1u << 0)
#define X86_CR4_PVI (1u << 1)
#define X86_CR4_TSD (1u << 2)
#define X86_CR4_DE (1u << 3)
#define X86_CR4_PSE (1u << 4)
#define X86_CR4_PAE (1u << 5)
#define X86_CR4_MCE (1u << 6)
#define X86_CR4_PGE (1u << 7)
#define X86_CR4_PCE (1u << 8)
#define X86_CR4_OSFXSR (1u << 9)
#define X86_CR4_OSXMMEXCPT (1u << 10)
#define X86_CR4_UMIP (1u << 11)
#define X86_CR4_LA57 (1u << 12)
#define X86_CR4_FSGSBASE (1u << 16)
#define X86_CR4_PCIDE (1u << 17)
#define X86_CR4_OSXSAVE (1u << 18)
#define X86_CR4_SMEP (1u << 20)
#define X86_CR4_SMAP (1u << 21)
#define X86_CR4_PKE (1u << 22)
#define X86_CR4_PKS (1u << 24)
#define X86_EFER_SCE (1u << 0)
#define X86_EFER_LME (1u << 8)
#define X86_EFER_LMA (1u << 10)
#define X86_EFER_NXE (1u << 11)
#define X86_EFER_SVME (1u << 12)
#define X86_EFER_FFXSR (1u << 14)
#define X86_EFER_AIBRSE (1u << 21)
#define X86_XCR0_X87 (1u << 0)
#define X86_XCR0_SSE (1u << 1)
#define X86_XCR0_AVX (1u << 2)
#define X86_XCR0_AVX512 (7u << 5)
#define X86_XCR0_PKRU (1u << 9)

enum x86_vector {
    X86_DE, X86_DB, X86_NMI, X86_BP, X86_OF, X86_BR, X86_UD, X86_NM, X86_DF,
    X86_TS = 10, X86_NP, X86_SS_FAULT, X86_GP, X86_PF, X86_MF = 16, X86_AC, X86_MC, X86_XM,
};

struct state_desc;
extern const struct state_desc x86_state_desc;

/* Power-on and INIT values (Intel SDM vol. 3, table 10-1). x86_state_init keeps
 * what INIT keeps: FPU/vector state, MSRs, TSC, CR0.CD/NW. */
void x86_state_power_on(struct x86_state *s, bool bsp);
void x86_state_init(struct x86_state *s);
/* After SIPI: CS = vector << 8, base = vector << 12, IP = 0, runnable. */
void x86_state_sipi(struct x86_state *s, uint8_t vector);

/* Multi-line register dump for people: GPRs, segments, control, debug, MSRs. */
struct strbuf;
void x86_state_print(const struct x86_state *s, struct strbuf *out);

static inline unsigned x86_state_cpl(const struct x86_state *s)
{
    return (s->seg[X86_SS].attr & X86_ATTR_DPL) >> X86_ATTR_DPL_SHIFT;
}

#endif
