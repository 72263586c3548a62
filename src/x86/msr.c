/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * msr.c - model-specific registers of the software engines, as one table.
 *
 * A row says which numbers it covers, what CPUID must offer, where the value is
 * kept and which bits a guest may set; what does not fit that has functions of
 * its own. What the table lacks is asked of the platform (APIC base, x2APIC,
 * TSC deadline, paravirtual MSRs); what the platform does not know either is
 * #GP, counted and shown by --trace msr.
 *
 * References: Intel SDM vol. 4 ch. 2, vol. 3 11.11-11.12 (MTRR, PAT), 15.3
 * (machine check); AMD APM vol. 2 appendix A and the family 19h PPR.
 */
#include "x86/control.h"

#include <inttypes.h>
#include "base/log.h"
#include "x86/cpuid.h"
#include "x86/mmu.h"
#include "x86/system.h"

#define ANY UINT64_MAX

enum { ALWAYS = -1, ON_AMD = -2, ON_INTEL = -3 };

struct msr {
    uint32_t first, count;
    const char *name;
    int needs;              /* a feature, or one of the above */
    uint16_t field;         /* offset of the (first) value in struct x86_msrs */
    uint64_t writable;      /* setting any other bit is #GP */
    /* 0, or -1 for #GP. NULL: the value is in `field`. `i` counts from first. */
    int (*read)(struct x86_cpu *cpu, unsigned i, uint64_t *value);
    int (*write)(struct x86_cpu *cpu, unsigned i, uint64_t value);
};

/* ---- registers with rules ------------------------------------------------- */

static int read_zero(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = 0;
    return 0;
}

static int write_ignored(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return 0;
}

static int write_refused(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return -1;
}

static int read_refused(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    return -1;
}

static int efer_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return x86_efer_write(cpu, value);
}

static int tsc_read(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = cpu->ops->tsc(cpu->env);
    return 0;
}

/* Writing either of TSC and TSC_ADJUST moves the other by as much (SDM vol. 3,
 * 17.17.3). */
static void tsc_move(struct x86_cpu *cpu, uint64_t delta)
{
    cpu->ops->tsc_set(cpu->env, cpu->ops->tsc(cpu->env) + delta);
    cpu->s.msr.tsc_adjust += delta;
}

static int tsc_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    tsc_move(cpu, value - cpu->ops->tsc(cpu->env));
    return 0;
}

static int tsc_adjust_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    tsc_move(cpu, value - cpu->s.msr.tsc_adjust);
    return 0;
}

/* AMD drops the upper half, Intel refuses it. */
static int tsc_aux_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    if (value >> 32 && !cpu->model->amd)
        return -1;
    cpu->s.msr.tsc_aux = (uint32_t)value;
    return 0;
}

static int write_canonical(struct x86_cpu *cpu, uint64_t *field, uint64_t value)
{
    if (!x86_canonical(cpu, value))
        return -1;
    *field = value;
    return 0;
}

static int pkrs_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    cpu->s.msr.pkrs = value;
    if (cpu->s.cr4 & X86_CR4_PKS)
        x86_tlb_flush(cpu, true);
    return 0;
}

static int lstar_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return write_canonical(cpu, i ? &cpu->s.msr.cstar : &cpu->s.msr.lstar, value);
}

/* AMD has no SYSENTER in long mode and therefore checks nothing. */
static int sysenter_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    uint64_t *field = i ? &cpu->s.msr.sysenter_eip : &cpu->s.msr.sysenter_esp;
    if (!cpu->model->amd)
        return write_canonical(cpu, field, value);
    *field = value;
    return 0;
}

static uint64_t *base_field(struct x86_cpu *cpu, unsigned i)
{
    return i == 0 ? &cpu->s.seg[X86_FS].base
         : i == 1 ? &cpu->s.seg[X86_GS].base : &cpu->s.msr.kernel_gs_base;
}

static int base_read(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = *base_field(cpu, i);
    return 0;
}

static int base_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return write_canonical(cpu, base_field(cpu, i), value);
}

/* Memory types: UC, WC, WT, WP, WB, and for the PAT UC-. */
static bool types_valid(uint64_t types, unsigned n, bool pat)
{
    for (; n--; types >>= 8) {
        uint8_t t = (uint8_t)types;
        if (t > (pat ? 7 : 6) || t == 2 || t == 3)
            return false;
    }
    return true;
}

static int pat_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    if (!types_valid(value, 8, true))
        return -1;
    cpu->s.msr.pat = value;
    return 0;
}

static int mtrr_cap_read(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = ARRAY_SIZE(cpu->s.msr.mtrr_var) / 2 | 1 << 8 | 1 << 10;   /* fixed ones, WC */
    return 0;
}

static int mtrr_def_type_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    if (!types_valid(value, 1, false))
        return -1;
    cpu->s.msr.mtrr_def_type = value;
    return 0;
}

static int mtrr_fixed_write(struct x86_cpu *cpu, unsigned n, uint64_t value)
{
    if (!types_valid(value, 8, false))
        return -1;
    cpu->s.msr.mtrr_fixed[n] = value;
    return 0;
}

static int mtrr_fix64k_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return mtrr_fixed_write(cpu, 0, value);
}

static int mtrr_fix16k_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return mtrr_fixed_write(cpu, 1 + i, value);
}

static int mtrr_fix4k_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    return mtrr_fixed_write(cpu, 3 + i, value);
}

static int mtrr_var_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    bool mask = i & 1;
    if (value >> cpu->model->phys_bits || value & (mask ? 0x7ff : 0xf00) ||
        (!mask && !types_valid(value, 1, false)))
        return -1;
    cpu->s.msr.mtrr_var[i] = value;
    return 0;
}

static int mcg_cap_read(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = ARRAY_SIZE(cpu->s.msr.mc_bank) / 4 | 1 << 8;              /* MCG_CTL is there */
    return 0;
}

static int mcg_ctl_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    if (value != 0 && value != ANY)
        return -1;
    cpu->s.msr.mcg_ctl = value;
    return 0;
}

/* MCi_CTL is all or nothing (one hole that Linux leaves for an old erratum);
 * MCi_STATUS can only be cleared, unless AMD's HWCR.McStatusWrEn is set. */
static int mc_bank_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    bool status_writable = cpu->model->amd && cpu->s.msr.amd_hwcr & 1 << 18;
    if (i % 4 == 0 && value != 0 && (value | 1 << 10 | 1) != ANY)
        return -1;
    if (i % 4 == 1 && value != 0 && !status_writable)
        return -1;
    cpu->s.msr.mc_bank[i] = value;
    return 0;
}

/* Which hardware flaws this processor does not have: guest code never runs
 * under the predictors of the processor the guest believes in. RDCL_NO,
 * IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO,
 * SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. */
static int arch_caps_read(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 7 << 13 | 1 << 20 |
             1 << 24 | 1 << 26 | 1 << 27 | 1ull << 62;
    return 0;
}

static int debugctl_write(struct x86_cpu *cpu, unsigned i, uint64_t value)
{
    /* LBR and BTF; AMD also has the four pin controls. */
    if (value & ~(cpu->model->amd ? 0x3full : 0x3ull))
        return -1;
    cpu->s.msr.debugctl = value;
    return 0;
}

static int vm_cr_read(struct x86_cpu *cpu, unsigned i, uint64_t *value)
{
    *value = 1 << 4 | 1 << 3;           /* SVMDIS, LOCK */
    return 0;
}

/* ---- the table, by number --------------------------------------------------- */

#define F(f) offsetof(struct x86_msrs, f)
static const struct msr table[] = {
    {0x00000010, 1, "TSC", X86_FEATURE_TSC, 0, ANY, tsc_read, tsc_write},
    {0x00000017, 1, "PLATFORM_ID", ON_INTEL, 0, 0, read_zero, write_refused},
    {0x0000003b, 1, "TSC_ADJUST", X86_FEATURE_TSC_ADJUST, F(tsc_adjust), ANY, NULL,
     tsc_adjust_write},
    {0x00000048, 1, "SPEC_CTRL", X86_FEATURE_SPEC_CTRL, F(spec_ctrl), 7, NULL, NULL},
    {0x00000049, 1, "PRED_CMD", X86_FEATURE_SPEC_CTRL, 0, 1, read_refused, write_ignored},
    {0x00000079, 1, "BIOS_UPDT_TRIG", ALWAYS, 0, ANY, read_refused, write_ignored},
    {0x0000008b, 1, "UCODE_REV", ALWAYS, F(ucode_rev), ANY, NULL, write_ignored},
    {0x000000ce, 1, "PLATFORM_INFO", ON_INTEL, 0, 0, read_zero, write_refused},
    {0x000000fe, 1, "MTRRCAP", X86_FEATURE_MTRR, 0, 0, mtrr_cap_read, write_refused},
    {0x0000010a, 1, "ARCH_CAPABILITIES", X86_FEATURE_ARCH_CAPS, 0, 0, arch_caps_read,
     write_refused},
    {0x00000174, 1, "SYSENTER_CS", X86_FEATURE_SEP, F(sysenter_cs), UINT32_MAX, NULL, NULL},
    {0x00000175, 2, "SYSENTER_ESP/EIP", X86_FEATURE_SEP, F(sysenter_esp), ANY, NULL,
     sysenter_write},
    {0x00000179, 1, "MCG_CAP", X86_FEATURE_MCA, 0, 0, mcg_cap_read, write_refused},
    {0x0000017a, 1, "MCG_STATUS", X86_FEATURE_MCA, F(mcg_status), 7, NULL, NULL},
    {0x0000017b, 1, "MCG_CTL", X86_FEATURE_MCA, F(mcg_ctl), ANY, NULL, mcg_ctl_write},
    {0x00000198, 2, "PERF_STATUS/CTL", ON_INTEL, 0, ANY, read_zero, write_ignored},
    {0x000001a0, 1, "MISC_ENABLE", ALWAYS, F(misc_enable), ANY, NULL, NULL},
    {0x000001d9, 1, "DEBUGCTL", ALWAYS, F(debugctl), ANY, NULL, debugctl_write},
    {0x000001db, 4, "LASTBRANCH/LASTINT", ALWAYS, 0, 0, read_zero, write_refused},
    {0x00000200, ARRAY_SIZE(((struct x86_msrs *)0)->mtrr_var), "MTRR_PHYS", X86_FEATURE_MTRR,
     F(mtrr_var), ANY, NULL, mtrr_var_write},
    {0x00000250, 1, "MTRR_FIX64K", X86_FEATURE_MTRR, F(mtrr_fixed[0]), ANY, NULL,
     mtrr_fix64k_write},
    {0x00000258, 2, "MTRR_FIX16K", X86_FEATURE_MTRR, F(mtrr_fixed[1]), ANY, NULL,
     mtrr_fix16k_write},
    {0x00000268, 8, "MTRR_FIX4K", X86_FEATURE_MTRR, F(mtrr_fixed[3]), ANY, NULL,
     mtrr_fix4k_write},
    {0x00000277, 1, "PAT", X86_FEATURE_PAT, F(pat), ANY, NULL, pat_write},
    {0x000002ff, 1, "MTRR_DEF_TYPE", X86_FEATURE_MTRR, F(mtrr_def_type), 0xcff, NULL,
     mtrr_def_type_write},
    {0x00000400, ARRAY_SIZE(((struct x86_msrs *)0)->mc_bank), "MC_BANK", X86_FEATURE_MCA,
     F(mc_bank), ANY, NULL, mc_bank_write},
    {0x000006e1, 1, "PKRS", X86_FEATURE_PKS, F(pkrs), UINT32_MAX, NULL, pkrs_write},
    {0x00000da0, 1, "XSS", X86_FEATURE_XSAVES, F(xss), 0, NULL, NULL},
    {0xc0000080, 1, "EFER", ALWAYS, F(efer), ANY, NULL, efer_write},
    {0xc0000081, 1, "STAR", X86_FEATURE_SYSCALL, F(star), ANY, NULL, NULL},
    {0xc0000082, 2, "LSTAR/CSTAR", X86_FEATURE_LM, F(lstar), ANY, NULL, lstar_write},
    {0xc0000084, 1, "FMASK", X86_FEATURE_SYSCALL, F(fmask), ANY, NULL, NULL},
    {0xc0000100, 3, "FS/GS/KERNEL_GS_BASE", X86_FEATURE_LM, 0, ANY, base_read, base_write},
    {0xc0000103, 1, "TSC_AUX", X86_FEATURE_RDTSCP, F(tsc_aux), ANY, NULL, tsc_aux_write},
    /* No counters behind these, but every AMD processor since the K7 has them. */
    {0xc0010000, 8, "PERF_EVNTSEL/PERFCTR", ON_AMD, 0, ANY, read_zero, write_ignored},
    {0xc0010010, 1, "SYSCFG", ON_AMD, F(amd_syscfg), UINT32_MAX, NULL, NULL},
    {0xc0010015, 1, "HWCR", ON_AMD, F(amd_hwcr), UINT32_MAX, NULL, NULL},
    {0xc001001a, 1, "TOP_MEM", ON_AMD, F(amd_top_mem), 0x000fffffff800000, NULL, NULL},
    {0xc001001d, 1, "TOP_MEM2", ON_AMD, F(amd_top_mem2), 0x000fffffff800000, NULL, NULL},
    {0xc001001f, 1, "NB_CFG", ON_AMD, 0, ANY, read_zero, write_ignored},
    {0xc0010055, 1, "INT_PENDING_MSG", ON_AMD, 0, ANY, read_zero, write_ignored},
    {0xc0010058, 1, "MMIO_CONF_BASE", ON_AMD, 0, ANY, read_zero, write_ignored},
    {0xc0010061, 3, "PSTATE", ON_AMD, 0, ANY, read_zero, write_ignored},
    {0xc0010114, 1, "VM_CR", ON_AMD, 0, 0, vm_cr_read, write_refused},
    {0xc0011022, 1, "DC_CFG", ON_AMD, 0, ANY, read_zero, write_ignored},
    {0xc0011029, 1, "DE_CFG", ON_AMD, F(amd_de_cfg), ANY, NULL, NULL},
    {0xc001102a, 1, "BU_CFG2", ON_AMD, 0, ANY, read_zero, write_ignored},
};
#undef F

/* The log may be missing where only values matter (tests, calibration). */
#define TRACE(cpu, ...)                                     \
    do {                                                    \
        if ((cpu)->log)                                     \
            log_trace((cpu)->log, MSR, __VA_ARGS__);        \
    } while (0)

static bool offered(const struct x86_cpu *cpu, int needs)
{
    switch (needs) {
    case ALWAYS: return true;
    case ON_AMD: return cpu->model->amd;
    case ON_INTEL: return !cpu->model->amd;
    default: return x86_feature(&cpu->model->features, (unsigned)needs);
    }
}

static const struct msr *find(const struct x86_cpu *cpu, uint32_t number)
{
    unsigned low = 0, high = ARRAY_SIZE(table);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct msr *m = &table[middle];
        if (number < m->first)
            high = middle;
        else if (number - m->first >= m->count)
            low = middle + 1;
        else
            return offered(cpu, m->needs) ? m : NULL;
    }
    return NULL;
}

static uint64_t *field_of(struct x86_cpu *cpu, const struct msr *m, unsigned i)
{
    return (uint64_t *)(void *)((char *)&cpu->s.msr + m->field) + i;
}

/* ---- the platform's --------------------------------------------------------- */

enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };

static bool platform_has(const struct x86_cpu *cpu, uint32_t number)
{
    const struct x86_features *f = &cpu->model->features;
    if (number == MSR_TSC_DEADLINE)
        return x86_feature(f, X86_FEATURE_TSC_DEADLINE);
    if (number >> 8 == MSR_X2APIC >> 8)
        return x86_feature(f, X86_FEATURE_X2APIC);
    return true;
}

static int unknown(struct x86_cpu *cpu, uint32_t number, const char *what)
{
    COUNT(cpu->counters, guest_errors);
    TRACE(cpu, "%s of unknown MSR %08" PRIx32 " at %" PRIx64 ": #GP", what, number,
              cpu->s.rip);
    return -1;
}

static int platform_read(struct x86_cpu *cpu, uint32_t number, uint64_t *value)
{
    if (!platform_has(cpu, number) || cpu->ops->msr_read(cpu->env, number, value) < 0)
        return unknown(cpu, number, "read");
    return 0;
}

static int platform_write(struct x86_cpu *cpu, uint32_t number, uint64_t value)
{
    if (!platform_has(cpu, number) || cpu->ops->msr_write(cpu->env, number, value) < 0)
        return unknown(cpu, number, "write");
    if (number == MSR_APIC_BASE)
        cpu->s.msr.apic_base = value;           /* CPUID shows whether the APIC is on */
    return 0;
}

/* ---- RDMSR, WRMSR ------------------------------------------------------------ */

int x86_msr_read(struct x86_cpu *cpu, uint32_t number, uint64_t *value)
{
    const struct msr *m = find(cpu, number);
    if (!m)
        return platform_read(cpu, number, value);
    unsigned i = number - m->first;
    if (m->read) {
        if (m->read(cpu, i, value) < 0)
            return -1;
    } else {
        *value = *field_of(cpu, m, i);
    }
    TRACE(cpu, "read %s+%u -> %" PRIx64, m->name, i, *value);
    return 0;
}

int x86_msr_write(struct x86_cpu *cpu, uint32_t number, uint64_t value)
{
    const struct msr *m = find(cpu, number);
    if (!m)
        return platform_write(cpu, number, value);
    unsigned i = number - m->first;
    TRACE(cpu, "write %s+%u <- %" PRIx64, m->name, i, value);
    if (value & ~m->writable)
        return -1;
    if (m->write)
        return m->write(cpu, i, value);
    *field_of(cpu, m, i) = value;
    return 0;
}
