/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paging.c - what a change of translations does to tables and jump tables.
 *
 * The shared x86 code knows no PCIDs: what it flushes is flushed here for all
 * of them, and a load of CR3 shows only by its result. The helpers of MOV CR3,
 * INVLPG and INVPCID know more and keep more (SDM vol. 3, 4.10.4.1). The soft
 * TLB, which the interpreter and instruction fetches use, has no PCIDs: it
 * loses what the tables may keep.
 */
#include "engine/dbt/vcpu.h"

#include "base/log.h"

#include "x86/cpuid.h"

static uint16_t pcid_now(const struct dbt_vcpu *d)
{
    const struct x86_state *s = &d->interp.cpu.s;

    return s->cr4 & X86_CR4_PCIDE ? s->cr3 & 0xfff : 0;
}

void dbt_paging_jumps_flush(struct dbt_vcpu *d)
{
    struct dbt_tables *t = d->tables;

    dbt_jumps_flush(&t->kernel, &d->thunks);
    for (unsigned i = 0; i < t->users; i++)
        dbt_jumps_flush(&t->user[i], &d->thunks);
}

static void flush_page(struct dbt_vcpu *d, struct dbt_space *s, gva_t page)
{
    dbt_tables_flush_page(s, page);
    dbt_jumps_flush_page(s, page, &d->thunks);
}

/* `page` for DBT_FLUSH_PAGE. */
static void note(struct dbt_vcpu *d, enum dbt_flush what, gva_t page)
{
    d->stats.flushes[what]++;
    if (likely(!log_tracing(d->interp.vcpu.vm->config.log, LOG_TRANSLATE)))
        return;
    dbt_fpu_park(d);
    dbt_trace_flush(d, what, page);
}

void dbt_paging_flushed(struct dbt_vcpu *d, const gva_t *lin, bool global)
{
    struct dbt_tables *t = d->tables;

    if (lin) {
        note(d, DBT_FLUSH_PAGE, *lin);
        flush_page(d, &t->kernel, *lin);
        for (unsigned i = 0; i < t->users; i++)
            flush_page(d, &t->user[i], *lin);
        return;
    }
    note(d, global ? DBT_FLUSH_ALL : DBT_FLUSH_LOCAL, gva(0));
    if (global) {
        dbt_tables_flush(t);
        dbt_paging_jumps_flush(d);
    } else {
        dbt_tables_flush_local(t);
        dbt_jumps_flush_local(&t->kernel, &d->thunks);
        for (unsigned i = 0; i < t->users; i++) {
            dbt_tables_flush_user(&t->user[i]);
            dbt_jumps_flush(&t->user[i], &d->thunks);
        }
    }
    if (!dbt_tables_switch(t, pcid_now(d)))
        dbt_jumps_flush(t->now[DBT_RING_USER], &d->thunks);
}

/* ---- the soft TLB --------------------------------------------------------------- */

/* As x86_tlb_flush() and x86_tlb_flush_page(), which were not compiled for here. */
static void soft_drop(struct x86_cpu *cpu, unsigned kind, unsigned slot)
{
    struct x86_tlb_entry *e = &cpu->tlb[kind][slot];

    e->read = e->write = e->exec = X86_TLB_NONE;
    cpu->tlb_map[kind].used[slot / 64] &= ~(1ull << slot % 64);
}

static void soft_flush(struct dbt_vcpu *d, bool global)
{
    struct x86_cpu *cpu = &d->interp.cpu;

    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        struct x86_tlb_map *map = &cpu->tlb_map[kind];
        map->large_gib = global ? 0 : map->large_gib;
        for (unsigned w = 0; w < ARRAY_SIZE(map->used); w++) {
            uint64_t victims = map->used[w] & (global ? ~0ull : ~map->global[w]);
            for (; victims; victims &= victims - 1)
                soft_drop(cpu, kind, w * 64 + (unsigned)__builtin_ctzll(victims));
        }
    }
    COUNT(cpu->counters, tlb_flushes);
    interp_key_update(&d->interp, true);
}

/* Everything large within the same gigabyte goes, too. */
static void soft_flush_page(struct dbt_vcpu *d, gva_t a)
{
    struct x86_cpu *cpu = &d->interp.cpu;

    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        struct x86_tlb_map *map = &cpu->tlb_map[kind];
        soft_drop(cpu, kind, (a.v >> PAGE_SHIFT) & (X86_TLB_SIZE - 1));
        if (!(map->large_gib & x86_tlb_gib(a)))
            continue;
        for (unsigned w = 0; w < ARRAY_SIZE(map->used); w++) {
            uint64_t victims = map->used[w] & map->large[w];
            for (; victims; victims &= victims - 1) {
                unsigned slot = w * 64 + (unsigned)__builtin_ctzll(victims);
                const struct x86_tlb_entry *e = &cpu->tlb[kind][slot];
                uint64_t tag = e->read != X86_TLB_NONE ? e->read
                             : e->exec != X86_TLB_NONE ? e->exec : e->write;
                if ((tag ^ a.v) >> 30 == 0)
                    soft_drop(cpu, kind, slot);
            }
        }
    }
    interp_key_update(&d->interp, true);
}

/* ---- what guests do --------------------------------------------------------------- */

static void flush_user(struct dbt_vcpu *d, struct dbt_space *s)
{
    dbt_tables_flush_user(s);
    dbt_jumps_flush(s, &d->thunks);
}

/* What ring 0 has of the current PCID. */
static void flush_kernel_local(struct dbt_vcpu *d)
{
    soft_flush(d, false);
    dbt_tables_flush_local(d->tables);
    dbt_jumps_flush_local(&d->tables->kernel, &d->thunks);
}

bool dbt_paging_cr3_load(struct dbt_vcpu *d, uint64_t value)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    bool keep = false;

    if (cpu->s.cr4 & X86_CR4_PCIDE) {
        keep = value >> 63;
        value &= ~(1ull << 63);
    }
    if (!cpu->mode.long_mode || value >> cpu->model->phys_bits)
        return false;
    cpu->s.cr3 = value;
    note(d, keep ? DBT_FLUSH_SWITCH : DBT_FLUSH_LOCAL, gva(0));
    flush_kernel_local(d);
    if (!dbt_tables_switch(d->tables, pcid_now(d)) || !keep)
        flush_user(d, d->tables->now[DBT_RING_USER]);
    return true;
}

/* Global translations go from all address spaces. */
void dbt_paging_invlpg(struct dbt_vcpu *d, gva_t a)
{
    struct dbt_tables *t = d->tables;

    note(d, DBT_FLUSH_PAGE, a);
    soft_flush_page(d, a);
    flush_page(d, &t->kernel, a);
    flush_page(d, t->now[DBT_RING_USER], a);
    for (unsigned i = 0; t->user_globals && i < t->users; i++)
        flush_page(d, &t->user[i], a);
}

void dbt_paging_invpcid(struct dbt_vcpu *d, enum dbt_invpcid type, uint16_t pcid, gva_t a)
{
    struct dbt_tables *t = d->tables;
    struct dbt_space *s = dbt_tables_user(t, pcid);

    switch (type) {
    case DBT_INVPCID_ADDRESS:
        note(d, DBT_FLUSH_PAGE, a);
        if (pcid == pcid_now(d)) {
            soft_flush_page(d, a);
            flush_page(d, &t->kernel, a);
        }
        if (s)
            flush_page(d, s, a);
        break;
    case DBT_INVPCID_CONTEXT:
        note(d, DBT_FLUSH_LOCAL, gva(0));
        if (pcid == pcid_now(d))
            flush_kernel_local(d);
        if (s)
            flush_user(d, s);
        break;
    default:
        soft_flush(d, type == DBT_INVPCID_ALL_AND_GLOBAL);
        dbt_paging_flushed(d, NULL, type == DBT_INVPCID_ALL_AND_GLOBAL);
    }
}
