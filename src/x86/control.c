/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.c - writing CR0, CR3, CR4, CR8, XCR0 and EFER under all their rules.
 *
 * Everything is checked before anything changes, so a #GP leaves the old state
 * (SDM vol. 3, 2.5 and 9.8.5; APM vol. 2, 3.1). Bits that CPUID does not offer
 * are reserved.
 */
#include "x86/control.h"

#include "x86/cpuid.h"
#include "x86/mmu.h"
#include "x86/paging.h"
#include "x86/system.h"

static bool has(const struct x86_cpu *cpu, enum x86_feature_id id)
{
    return x86_feature(&cpu->model->features, id);
}

/* PAE paging keeps its four PDPTEs in registers: they are read when paging comes
 * to use them and at CR3 loads (SDM vol. 3, 4.4.1). */
static void load_pdptes(struct x86_cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4,
                        uint64_t efer)
{
    if (!x86_pae_paging(cr0, cr4, efer))
        cpu->pdpte_valid = false;
    else if (!x86_pdptes_load(cpu, cr3))
        x86_gp0(cpu);
}

/* ---- CR0 ------------------------------------------------------------------ */

/* Paging goes on with EFER.LME set: the way into long mode. */
static uint64_t enter_long_mode(struct x86_cpu *cpu)
{
    const struct x86_state *s = &cpu->s;
    bool tss16 = (s->tr.attr & 0xd) == 0x1;     /* 16-bit TSS, available or busy */
    if (!(s->cr4 & X86_CR4_PAE) || s->seg[X86_CS].attr & X86_ATTR_L || tss16)
        x86_gp0(cpu);
    return s->msr.efer | X86_EFER_LMA;
}

static void cr0_write(struct x86_cpu *cpu, uint64_t value)
{
    struct x86_state *s = &cpu->s;
    const uint64_t known = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE |
                           X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG;
    if (value >> 32)
        x86_gp0(cpu);
    value = (value & known) | X86_CR0_ET;
    if (value & X86_CR0_PG && !(value & X86_CR0_PE))
        x86_gp0(cpu);
    if (value & X86_CR0_NW && !(value & X86_CR0_CD))
        x86_gp0(cpu);
    uint64_t changed = value ^ s->cr0, efer = s->msr.efer;
    if (changed & X86_CR0_PG) {
        if (value & X86_CR0_PG) {
            if (efer & X86_EFER_LME)
                efer = enter_long_mode(cpu);
        } else {
            if (cpu->mode.code_bits == 64 || s->cr4 & X86_CR4_PCIDE)
                x86_gp0(cpu);
            efer &= ~(uint64_t)X86_EFER_LMA;
        }
    }
    if (changed & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW))
        load_pdptes(cpu, value, s->cr3, s->cr4, efer);
    s->cr0 = value;
    s->msr.efer = efer;
    if (changed & (X86_CR0_PE | X86_CR0_PG | X86_CR0_WP))
        x86_tlb_flush(cpu, true);
    x86_mode_update(cpu);
}

/* ---- CR3, CR4 --------------------------------------------------------------- */

static void cr3_write(struct x86_cpu *cpu, uint64_t value)
{
    struct x86_state *s = &cpu->s;
    /* Bit 63 asks to keep this PCID's entries. The TLB is not tagged, so they
     * cannot be told from the old PCID's; the bit is never stored. */
    if (s->cr4 & X86_CR4_PCIDE)
        value &= ~(1ull << 63);
    if (s->msr.efer & X86_EFER_LMA) {
        if (value >> cpu->model->phys_bits)
            x86_gp0(cpu);
    } else {
        value &= UINT32_MAX;
    }
    load_pdptes(cpu, s->cr0, value, s->cr4, s->msr.efer);
    s->cr3 = value;
    x86_tlb_flush(cpu, false);
}

static uint64_t cr4_allowed(const struct x86_cpu *cpu)
{
    static const struct { uint8_t feature; uint32_t bits; } rule[] = {
        {X86_FEATURE_VME, X86_CR4_VME | X86_CR4_PVI},
        {X86_FEATURE_TSC, X86_CR4_TSD},
        {X86_FEATURE_DE, X86_CR4_DE},
        {X86_FEATURE_PSE, X86_CR4_PSE},
        {X86_FEATURE_PAE, X86_CR4_PAE},
        {X86_FEATURE_MCE, X86_CR4_MCE},
        {X86_FEATURE_PGE, X86_CR4_PGE},
        {X86_FEATURE_FXSR, X86_CR4_OSFXSR},
        {X86_FEATURE_SSE, X86_CR4_OSXMMEXCPT},
        {X86_FEATURE_UMIP, X86_CR4_UMIP},
        {X86_FEATURE_FSGSBASE, X86_CR4_FSGSBASE},
        {X86_FEATURE_PCID, X86_CR4_PCIDE},
        {X86_FEATURE_XSAVE, X86_CR4_OSXSAVE},
        {X86_FEATURE_SMEP, X86_CR4_SMEP},
        {X86_FEATURE_SMAP, X86_CR4_SMAP},
        {X86_FEATURE_PKU, X86_CR4_PKE},
        {X86_FEATURE_PKS, X86_CR4_PKS},
    };
    uint64_t allowed = X86_CR4_PCE;
    for (unsigned i = 0; i < ARRAY_SIZE(rule); i++)
        if (has(cpu, rule[i].feature))
            allowed |= rule[i].bits;
    return allowed;
}

static void cr4_write(struct x86_cpu *cpu, uint64_t value)
{
    struct x86_state *s = &cpu->s;
    uint64_t changed = value ^ s->cr4;
    bool lma = s->msr.efer & X86_EFER_LMA;
    if (value & ~cr4_allowed(cpu))
        x86_gp0(cpu);
    if (lma && !(value & X86_CR4_PAE))
        x86_gp0(cpu);
    if (changed & value & X86_CR4_PCIDE && (!lma || s->cr3 & 0xfff))
        x86_gp0(cpu);
    const uint64_t paging = X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_SMEP |
                            X86_CR4_SMAP | X86_CR4_PCIDE;
    if (changed & paging)
        load_pdptes(cpu, s->cr0, s->cr3, value, s->msr.efer);
    s->cr4 = value;
    if (changed & (paging | X86_CR4_PKE | X86_CR4_PKS))
        x86_tlb_flush(cpu, true);
    x86_mode_update(cpu);
}

/* ---- all of them ------------------------------------------------------------ */

void x86_cr_write(struct x86_cpu *cpu, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 0: cr0_write(cpu, value); break;
    case 2: cpu->s.cr2 = value; break;
    case 3: cr3_write(cpu, value); break;
    case 4: cr4_write(cpu, value); break;
    case 8:
        if (value > 15)
            x86_gp0(cpu);
        cpu->s.cr8 = value;
        cpu->ops->tpr_set(cpu->env, (uint8_t)value);
        break;
    default: x86_ud(cpu);
    }
}

uint64_t x86_cr_read(struct x86_cpu *cpu, unsigned cr)
{
    switch (cr) {
    case 0: return cpu->s.cr0;
    case 2: return cpu->s.cr2;
    case 3: return cpu->s.cr3;
    case 4: return cpu->s.cr4;
    case 8: return cpu->s.cr8 = cpu->ops->tpr_get(cpu->env) & 15;
    default: x86_ud(cpu);
    }
}

/* SDM vol. 1, 13.3: x87 always, AVX needs SSE, AVX-512 comes whole and needs AVX. */
void x86_xcr0_write(struct x86_cpu *cpu, uint64_t value)
{
    uint64_t avx512 = value & X86_XCR0_AVX512;
    if (value & ~cpu->model->xcr0_allowed || !(value & X86_XCR0_X87) ||
        (value & X86_XCR0_AVX && !(value & X86_XCR0_SSE)) ||
        (avx512 && (avx512 != X86_XCR0_AVX512 || !(value & X86_XCR0_AVX))))
        x86_gp0(cpu);
    cpu->s.xcr0 = value;
}

int x86_efer_write(struct x86_cpu *cpu, uint64_t value)
{
    struct x86_state *s = &cpu->s;
    uint64_t allowed = X86_EFER_LMA;
    if (has(cpu, X86_FEATURE_SYSCALL))
        allowed |= X86_EFER_SCE;
    if (has(cpu, X86_FEATURE_LM))
        allowed |= X86_EFER_LME;
    if (has(cpu, X86_FEATURE_NX))
        allowed |= X86_EFER_NXE;
    if (has(cpu, X86_FEATURE_FFXSR))
        allowed |= X86_EFER_FFXSR;
    if (has(cpu, X86_FEATURE_AUTOIBRS))
        allowed |= X86_EFER_AIBRSE;
    if (value & ~allowed)
        return -1;
    uint64_t changed = value ^ s->msr.efer;
    if (changed & X86_EFER_LME && s->cr0 & X86_CR0_PG)
        return -1;
    /* LMA is the processor's: what is written there is ignored. */
    s->msr.efer = (value & ~(uint64_t)X86_EFER_LMA) | (s->msr.efer & X86_EFER_LMA);
    if (changed & X86_EFER_NXE)
        x86_tlb_flush(cpu, true);
    x86_mode_update(cpu);
    return 0;
}
