/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fpu.c - may this instruction use the registers it names?
 *
 * Order of the checks (Intel SDM vol. 3, 2.5 and 13.1; vol. 2, 2.4 and 2.6.10):
 * #UD for what is not enabled, then #NM for a lazily switched state, then the
 * pending x87 exception. With CR0.NE = 0 the latter leaves the processor on
 * the FERR# pin and comes back as an interrupt of the platform; a real one
 * waits there for it, we tell the platform and go on, as if IGNNE# were active.
 */
#include "x86/hostinsn_priv.h"
#include "x86/system.h"

#define FSW_ES 0x80u

/* First byte after legacy prefixes and REX. */
static const uint8_t *after_prefixes(const struct x86_insn *insn)
{
    const uint8_t *p = insn->bytes;

    for (;; p++) {
        switch (*p) {
        case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
        case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
            continue;
        default:
            if (insn->code_bits == 64 && (*p & 0xf0) == 0x40)
                continue;
            return p;
        }
    }
}

static enum x86_fpu_need x87_need(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNINIT: case ZYDIS_MNEMONIC_FNCLEX: case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTSW: case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FSETPM287_NOP: case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
        return X86_NEED_X87_NOWAIT;
    default:
        return X86_NEED_X87;
    }
}

/* Bit per enum x86_operand_kind among the explicit operands. */
static uint32_t kinds(const struct x86_insn *insn)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < insn->operands; i++)
        bits |= 1u << insn->op[i].kind;
    return bits;
}

static enum x86_fpu_need legacy_need(const struct x86_insn *insn)
{
    uint32_t k = kinds(insn);
    bool mmx = k & 1u << X86_OPND_MMX, vec = k & 1u << X86_OPND_VEC;

    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_EMMS: return X86_NEED_MMX;
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_STMXCSR: return X86_NEED_SSE;
    default: break;
    }
    if (mmx)
        return vec ? X86_NEED_SSE_MMX : X86_NEED_MMX;
    return vec ? X86_NEED_SSE : X86_NEED_NOTHING;
}

enum x86_fpu_need x86_fpu_need(const struct x86_insn *insn)
{
    const uint8_t *p = after_prefixes(insn);
    uint32_t k;

    if (*p == 0x9b)
        return X86_NEED_FWAIT;
    if ((*p & 0xf8) == 0xd8)
        return x87_need(insn->mnemonic);
    if (*p == 0x62)
        return X86_NEED_AVX512;
    if (*p != 0xc4 && *p != 0xc5)
        return legacy_need(insn);
    k = kinds(insn);
    if (k & 1u << X86_OPND_MASK)
        return X86_NEED_AVX512;
    /* VZEROUPPER, VZEROALL and VLDMXCSR name no register, BMI only general ones. */
    return k & 1u << X86_OPND_GPR && !(k & 1u << X86_OPND_VEC) ? X86_NEED_VEX : X86_NEED_AVX;
}

static void check_ts(struct x86_cpu *cpu)
{
    if (cpu->s.cr0 & X86_CR0_TS)
        x86_raise(cpu, X86_NM);
}

static void check_pending(struct x86_cpu *cpu)
{
    if (likely(!(cpu->s.fpu.fsw & FSW_ES)))
        return;
    if (cpu->s.cr0 & X86_CR0_NE)
        x86_raise(cpu, X86_MF);
    if (cpu->ops->ferr)
        cpu->ops->ferr(cpu->env);
}

static void check_vex(struct x86_cpu *cpu, uint64_t components)
{
    if (!cpu->mode.protected_mode)
        x86_ud(cpu);
    if (components && (!(cpu->s.cr4 & X86_CR4_OSXSAVE) ||
                       (cpu->s.xcr0 & components) != components))
        x86_ud(cpu);
}

static void check_sse(struct x86_cpu *cpu)
{
    if ((cpu->s.cr0 & X86_CR0_EM) || !(cpu->s.cr4 & X86_CR4_OSFXSR))
        x86_ud(cpu);
    check_ts(cpu);
}

void x86_fpu_check_need(struct x86_cpu *cpu, enum x86_fpu_need need)
{
    switch (need) {
    case X86_NEED_NOTHING:
        return;
    case X86_NEED_VEX:
        check_vex(cpu, 0);
        return;
    case X86_NEED_X87:
    case X86_NEED_X87_NOWAIT:
        if (cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS))
            x86_raise(cpu, X86_NM);
        if (need == X86_NEED_X87)
            check_pending(cpu);
        return;
    case X86_NEED_FWAIT:
        if (cpu->s.cr0 & X86_CR0_MP)
            check_ts(cpu);
        check_pending(cpu);
        return;
    case X86_NEED_MMX:
        if (cpu->s.cr0 & X86_CR0_EM)
            x86_ud(cpu);
        check_ts(cpu);
        check_pending(cpu);
        return;
    case X86_NEED_SSE:
        check_sse(cpu);
        return;
    case X86_NEED_SSE_MMX:
        check_sse(cpu);
        check_pending(cpu);
        return;
    case X86_NEED_AVX:
        check_vex(cpu, X86_XCR0_SSE | X86_XCR0_AVX);
        check_ts(cpu);
        return;
    case X86_NEED_AVX512:
        check_vex(cpu, X86_XCR0_SSE | X86_XCR0_AVX | X86_XCR0_AVX512);
        check_ts(cpu);
        return;
    }
}

void x86_fpu_check(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_fpu_check_need(cpu, x86_fpu_need(insn));
}
