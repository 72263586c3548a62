/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paging.c - what a change of translations does to tables and jump tables.
 *
 * The shared x86 code knows no PCIDs: what it flushes is flushed here for all
 * of them, and a load of CR3 shows only by its result.
 */
#include "engine/dbt/vcpu.h"

static uint16_t pcid_now(const struct dbt_vcpu *d)
{
    const struct x86_state *s = &d->interp.cpu.s;

    return s->cr4 & X86_CR4_PCIDE ? s->cr3 & 0xfff : 0;
}

void dbt_paging_jumps_flush(struct dbt_vcpu *d)
{
    struct dbt_tables *t = d->tables;

    dbt_jumps_flush(&t->kernel, d->thunks.jump_miss);
    for (unsigned i = 0; i < t->users; i++)
        dbt_jumps_flush(&t->user[i], d->thunks.jump_miss);
}

static void flush_page(struct dbt_vcpu *d, struct dbt_space *s, gva_t page)
{
    dbt_tables_flush_page(s, page);
    dbt_jumps_flush_page(s, page, d->thunks.jump_miss);
}

void dbt_paging_flushed(struct dbt_vcpu *d, const gva_t *lin, bool global)
{
    struct dbt_tables *t = d->tables;

    if (lin) {
        flush_page(d, &t->kernel, *lin);
        for (unsigned i = 0; i < t->users; i++)
            flush_page(d, &t->user[i], *lin);
        return;
    }
    if (global) {
        dbt_tables_flush(t);
        dbt_paging_jumps_flush(d);
    } else {
        dbt_tables_flush_local(t);
        dbt_jumps_flush_local(&t->kernel, d->thunks.jump_miss);
        for (unsigned i = 0; i < t->users; i++) {
            dbt_tables_flush_user(&t->user[i]);
            dbt_jumps_flush(&t->user[i], d->thunks.jump_miss);
        }
    }
    if (!dbt_tables_switch(t, pcid_now(d)))
        dbt_jumps_flush(t->now[DBT_RING_USER], d->thunks.jump_miss);
}
