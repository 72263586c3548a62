/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fpu.c - moving the guest's vector and x87 state between cpu.s.fpu, an XSAVE
 * image and the host's registers.
 */
#include "engine/dbt/vcpu.h"

#include "base/bug.h"
#include "base/byteorder.h"
#include "x86/xsave_image.h"

static void set_live(struct dbt_vcpu *d, bool live)
{
    d->frame->fpu_live = live;
}

/* FXSAVE leaves out the header, which says that both components are there. */
static void registers_save(struct dbt_vcpu *d)
{
    uint32_t lo = (uint32_t)d->host.components, hi = (uint32_t)(d->host.components >> 32);

    if (likely(!d->host.fxsave)) {
        __asm__ volatile("xsave64 %0" : "+m"(d->image) : "a"(lo), "d"(hi) : "memory");
    } else {
        __asm__ volatile("fxsave64 %0" : "+m"(d->image) : : "memory");
        put_le64(d->image + X86_XSAVE_BV, d->host.components);
    }
}

static void registers_load(const struct dbt_vcpu *d)
{
    uint32_t lo = (uint32_t)d->host.components, hi = (uint32_t)(d->host.components >> 32);

    if (likely(!d->host.fxsave))
        __asm__ volatile("xrstor64 %0" : : "m"(d->image), "a"(lo), "d"(hi) : "memory");
    else
        __asm__ volatile("fxrstor64 %0" : : "m"(d->image) : "memory");
}

void dbt_fpu_park(struct dbt_vcpu *d)
{
    uint32_t mxcsr = 0x1f80;

    if (d->fpu != DBT_FPU_LIVE)
        return;
    registers_save(d);
    __asm__ volatile("fninit\n\tldmxcsr %0" : : "m"(mxcsr));
    d->fpu = DBT_FPU_PARKED;
    set_live(d, false);
}

void dbt_fpu_sync(struct dbt_vcpu *d)
{
    struct x86_fpu *f = &d->interp.cpu.s.fpu;

    dbt_fpu_park(d);
    if (d->fpu == DBT_FPU_SYNCED)
        return;
    BUG_ON(x86_fpu_from_layout(f, &d->layout, d->host.components, d->image));
    f->fip = d->x87.fip;
    f->fdp = d->x87.fdp;
    f->fop = (uint16_t)d->x87.fop;
    f->fcs = d->fcs;
    f->fds = d->fds;
    d->fpu = DBT_FPU_SYNCED;
}

void dbt_fpu_load(struct dbt_vcpu *d)
{
    if (d->fpu == DBT_FPU_LIVE)
        return;
    if (d->fpu == DBT_FPU_SYNCED) {
        const struct x86_fpu *f = &d->interp.cpu.s.fpu;

        x86_fpu_to_layout(f, &d->layout, d->host.components, d->image);
        /* So that the processor knows as well as we do what need not be saved. */
        put_le64(d->image + X86_XSAVE_BV, x86_image_in_use(f) & d->host.components);
        d->x87 = (struct dbt_x87){f->fip, f->fdp, f->fop | DBT_X87_OLD, X86_DS | DBT_X87_OLD};
        d->fcs = f->fcs;
        d->fds = f->fds;
    }
    registers_load(d);
    d->fpu = DBT_FPU_LIVE;
    set_live(d, true);
}

bool dbt_fpu_error_pending(const struct dbt_vcpu *d)
{
    uint16_t fsw = 0;

    if (d->fpu == DBT_FPU_LIVE)
        __asm__ volatile("fnstsw %0" : "=a"(fsw));
    return fsw & 0x80;
}
