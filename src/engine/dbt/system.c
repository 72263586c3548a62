/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system.c - control registers, MSRs and segment bases in translated code.
 *
 * The translator checked the privilege (translate_system.c).
 */
#include "engine/dbt/system.h"

#include "base/log.h"
#include "engine/dbt/frame.h"

/* ---- control registers ---------------------------------------------------------- */

enum dbt_helped dbt_help_read_cr(struct dbt_vcpu *d, struct dbt_frame *f,
                                 const struct dbt_site *site)
{
    const struct x86_state *s = &d->interp.cpu.s;
    uint64_t *to = &f->gpr[site->operand & 0xff];

    switch (site->operand >> 8) {
    case 0: *to = s->cr0; return DBT_HELPED;
    case 2: *to = s->cr2; return DBT_HELPED;
    case 3: *to = s->cr3; return DBT_HELPED;
    case 4: *to = s->cr4; return DBT_HELPED;
    default: return DBT_HELPED_NOT;
    }
}

enum dbt_helped dbt_help_write_cr(struct dbt_vcpu *d, struct dbt_frame *f,
                                  const struct dbt_site *site)
{
    uint64_t value = f->gpr[site->operand & 0xff];

    switch (site->operand >> 8) {
    case 2:
        d->interp.cpu.s.cr2 = value;
        return DBT_HELPED;
    case 3:
        return dbt_paging_cr3_load(d, value) ? DBT_HELPED_JUMP : DBT_HELPED_NOT;
    default:
        return DBT_HELPED_NOT;
    }
}

enum dbt_helped dbt_help_clts(struct dbt_vcpu *d, struct dbt_frame *f,
                              const struct dbt_site *site)
{
    d->interp.cpu.s.cr0 &= ~(uint64_t)X86_CR0_TS;
    return DBT_HELPED;
}

/* ---- TLB --------------------------------------------------------------------------- */

enum dbt_helped dbt_help_invlpg(struct dbt_vcpu *d, struct dbt_frame *f,
                                const struct dbt_site *site)
{
    if (dbt_canonical(f->target))
        dbt_paging_invlpg(d, gva(f->target));
    return DBT_HELPED_JUMP;
}

enum dbt_helped dbt_help_invpcid(struct dbt_vcpu *d, struct dbt_frame *f,
                                 const struct dbt_site *site)
{
    const uint64_t *p = (const uint64_t *)dbt_kernel_ptr(d, f->target, 16, false);
    uint64_t type = f->gpr[site->operand & 0xff];

    if (!p || p[0] >> 12 || !(d->interp.cpu.s.cr4 & X86_CR4_PCIDE) ||
        (type == DBT_INVPCID_ADDRESS && !dbt_canonical(p[1])) || type > DBT_INVPCID_ALL)
        return DBT_HELPED_NOT;
    dbt_paging_invpcid(d, (enum dbt_invpcid)type, (uint16_t)p[0], gva(p[1]));
    return DBT_HELPED_JUMP;
}

/* ---- spinning ------------------------------------------------------------------------ */

enum dbt_helped dbt_help_pause(struct dbt_vcpu *d, struct dbt_frame *f,
                               const struct dbt_site *site)
{
    if (interp_paused(&d->interp)) {
        dbt_fpu_park(d);
        interp_yield(&d->interp);
    }
    return DBT_HELPED;
}

/* ---- MSRs --------------------------------------------------------------------------- */

enum { MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800, MSR_FS_BASE = 0xc0000100, MSR_GS_BASE,
       MSR_KERNEL_GS_BASE };

static uint64_t *base_msr(struct dbt_frame *f, uint32_t msr)
{
    switch (msr) {
    case MSR_FS_BASE: return &f->seg_base[X86_FS];
    case MSR_GS_BASE: return &f->seg_base[X86_GS];
    case MSR_KERNEL_GS_BASE: return &f->kernel_gs_base;
    default: return NULL;
    }
}

/* The ones that a system uses all the time and that are devices. */
static bool platform_msr(uint32_t msr)
{
    return msr == MSR_TSC_DEADLINE || msr >> 8 == MSR_X2APIC >> 8;
}

static bool tracing(const struct x86_cpu *cpu)
{
    return cpu->log && log_tracing(cpu->log, LOG_MSR);
}

enum dbt_helped dbt_help_rdmsr(struct dbt_vcpu *d, struct dbt_frame *f,
                               const struct dbt_site *site)
{
    const uint64_t *base = base_msr(f, (uint32_t)f->gpr[X86_RCX]);

    if (!base || tracing(&d->interp.cpu))
        return DBT_HELPED_NOT;
    f->gpr[X86_RAX] = (uint32_t)*base;
    f->gpr[X86_RDX] = *base >> 32;
    return DBT_HELPED;
}

enum dbt_helped dbt_help_wrmsr(struct dbt_vcpu *d, struct dbt_frame *f,
                               const struct dbt_site *site)
{
    uint32_t msr = (uint32_t)f->gpr[X86_RCX];
    uint64_t *base = base_msr(f, msr);
    uint64_t value = (uint32_t)f->gpr[X86_RAX] | f->gpr[X86_RDX] << 32;

    if (tracing(&d->interp.cpu))
        return DBT_HELPED_NOT;
    if (base && dbt_canonical(value)) {
        *base = value;
        return DBT_HELPED;
    }
    if (!platform_msr(msr))
        return DBT_HELPED_NOT;
    dbt_fpu_park(d);
    return x86_msr_write(&d->interp.cpu, msr, value) < 0 ? DBT_HELPED_NOT : DBT_HELPED;
}

/* ---- segments ------------------------------------------------------------------------ */

/* RDFSBASE, RDGSBASE; bit 16 of the operand: 64 bits. */
enum dbt_helped dbt_help_read_base(struct dbt_vcpu *d, struct dbt_frame *f,
                                   const struct dbt_site *site)
{
    uint64_t base = f->seg_base[site->operand >> 8 & 0xff];

    if (!(d->interp.cpu.s.cr4 & X86_CR4_FSGSBASE))
        return DBT_HELPED_NOT;
    f->gpr[site->operand & 0xff] = site->operand >> 16 ? base : (uint32_t)base;
    return DBT_HELPED;
}

enum dbt_helped dbt_help_write_base(struct dbt_vcpu *d, struct dbt_frame *f,
                                    const struct dbt_site *site)
{
    uint64_t base = f->gpr[site->operand & 0xff];

    if (!(site->operand >> 16))
        base = (uint32_t)base;
    if (!(d->interp.cpu.s.cr4 & X86_CR4_FSGSBASE) || !dbt_canonical(base))
        return DBT_HELPED_NOT;
    f->seg_base[site->operand >> 8 & 0xff] = base;
    return DBT_HELPED;
}

/* MOV r, Sreg; bit 16 of the operand: into 16 bits. */
enum dbt_helped dbt_help_read_seg(struct dbt_vcpu *d, struct dbt_frame *f,
                                  const struct dbt_site *site)
{
    uint64_t *to = &f->gpr[site->operand & 0xff];
    uint16_t selector = d->interp.cpu.s.seg[site->operand >> 8 & 0xff].selector;

    *to = site->operand >> 16 ? (*to & ~0xffffull) | selector : selector;
    return DBT_HELPED;
}
