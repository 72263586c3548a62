/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fpu.c - moving the guest's vector and x87 state between cpu.s.fpu, an XSAVE
 * image and the host's registers.
 */
#include "engine/dbt/vcpu.h"

#include "base/bug.h"

static void set_live(struct dbt_vcpu *d, bool live)
{
    d->frame[DBT_RING_KERNEL]->fpu_live = live;
    d->frame[DBT_RING_USER]->fpu_live = live;
}

/* x87 keeps the address of its last instruction: ours must not leak into the
 * guest, which gets the guest address, or 0 where that is not known. */
static void hide_host_addresses(struct dbt_vcpu *d)
{
    uint64_t fip, zero = 0;

    memcpy(&fip, d->image + 8, 8);
    if (!dbt_cache_contains(d->cache, fip))
        return;
    memcpy(d->image + 8, &zero, 8);
    memcpy(d->image + 16, &zero, 8);
}

void dbt_fpu_park(struct dbt_vcpu *d)
{
    uint32_t lo = (uint32_t)d->fpu_components, hi = (uint32_t)(d->fpu_components >> 32);
    uint32_t mxcsr = 0x1f80;

    if (d->fpu != DBT_FPU_LIVE)
        return;
    __asm__ volatile("xsave64 %0\n\tfninit\n\tldmxcsr %3"
                     : "+m"(d->image) : "a"(lo), "d"(hi), "m"(mxcsr) : "memory");
    d->fpu = DBT_FPU_PARKED;
    set_live(d, false);
    hide_host_addresses(d);
}

void dbt_fpu_sync(struct dbt_vcpu *d)
{
    dbt_fpu_park(d);
    if (d->fpu == DBT_FPU_SYNCED)
        return;
    BUG_ON(x86_fpu_from_xsave(&d->interp.cpu.s.fpu, d->fpu_components, d->image));
    d->fpu = DBT_FPU_SYNCED;
}

void dbt_fpu_load(struct dbt_vcpu *d)
{
    uint32_t lo = (uint32_t)d->fpu_components, hi = (uint32_t)(d->fpu_components >> 32);

    if (d->fpu == DBT_FPU_LIVE)
        return;
    if (d->fpu == DBT_FPU_SYNCED)
        x86_fpu_to_xsave(&d->interp.cpu.s.fpu, d->fpu_components, d->image);
    __asm__ volatile("xrstor64 %0" : : "m"(d->image), "a"(lo), "d"(hi) : "memory");
    d->fpu = DBT_FPU_LIVE;
    set_live(d, true);
}
