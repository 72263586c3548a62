/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fill.c - the usual page walk, for a table entry that is missing.
 *
 * Four levels (or, with paging off, none), plain RAM, nothing that somebody
 * wants to watch. Everything else is UNUSUAL and x86/mmu.c's, which this agrees
 * with where the two overlap (SDM vol. 3, 4.5 to 4.8). It runs while the
 * guest's vector state is in the host's registers and calls nothing that is
 * compiled to use them.
 */
#include "engine/dbt/vcpu.h"

#include "x86/cpuid.h"
#include "x86/paging.h"

enum { LEVELS = 4, CHANGED_MAX = 8 };

struct walk {
    uint64_t *at[LEVELS];
    uint64_t entry[LEVELS];
    unsigned depth;
    uint64_t phys;                          /* of the 4 KiB page */
    bool user, writable, large, global;
};

/* ---- RAM ---------------------------------------------------------------------- */

/* memory_find() was not compiled for here: regions that it found before. */
static const struct memory_region *region_at(struct dbt_vcpu *d, uint64_t a)
{
    const struct memory_region *r = d->interp.region;
    unsigned n = d->regions < DBT_REGIONS ? d->regions : DBT_REGIONS;

    for (unsigned i = 0; i < n; i++) {
        if (a - d->region[i]->base.v < d->region[i]->size_bytes)
            return d->region[i];
    }
    if (!r || a - r->base.v >= r->size_bytes)
        return NULL;
    d->region[d->regions++ % DBT_REGIONS] = r;
    return r;
}

/* Stores to this page need no watching. */
static bool storable(const struct dbt_vcpu *d, const struct memory_region *r, uint64_t a)
{
    return !(r->flags & MEMORY_READONLY) && !interp_is_code(d->interp.vm, a) &&
           !atomic_load_explicit(&d->interp.vm->dirty_logging, memory_order_relaxed);
}

/* ---- the walk ------------------------------------------------------------------- */

/* Bits that are reserved in every entry, for all we know about: whatever is
 * doubtful here is for x86/mmu.c to judge. */
static uint64_t doubtful(const struct x86_cpu *cpu, unsigned shift, bool leaf)
{
    uint64_t bits = X86_PTE_ADDR & ~((1ull << cpu->model->phys_bits) - 1);

    if (!(cpu->s.msr.efer & X86_EFER_NXE))
        bits |= X86_PTE_NX;
    if (leaf)
        return shift > 12 ? bits | (((1ull << shift) - 1) & 0x3fffe000) : bits;
    return shift >= 30 ? bits | X86_PTE_PS | X86_PTE_G : bits;
}

static enum dbt_filled walk(struct dbt_vcpu *d, gva_t a, struct walk *w)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    uint64_t table = cpu->s.cr3 & X86_PTE_ADDR;

    *w = (struct walk){.user = true, .writable = true};
    for (unsigned shift = 39;; shift -= 9) {
        const struct memory_region *r = region_at(d, table);
        uint64_t entry;
        bool leaf;

        if (!r)
            return DBT_FILL_UNUSUAL;
        w->at[w->depth] = (uint64_t *)(r->host.p + (table - r->base.v)) + (a.v >> shift & 511);
        entry = w->entry[w->depth] = __atomic_load_n(w->at[w->depth], __ATOMIC_RELAXED);
        w->depth++;
        if (!(entry & X86_PTE_P))
            return DBT_FILL_FAULT;
        leaf = shift == 12 || (shift < 39 && entry & X86_PTE_PS);
        if (entry & doubtful(cpu, shift, leaf))
            return DBT_FILL_UNUSUAL;
        if (leaf && shift == 30 && !x86_feature(&cpu->model->features, X86_FEATURE_PDPE1GB))
            return DBT_FILL_UNUSUAL;
        w->user &= !!(entry & X86_PTE_U);
        w->writable &= !!(entry & X86_PTE_W);
        table = entry & X86_PTE_ADDR;
        if (leaf) {
            uint64_t within = (1ull << shift) - 1;

            w->phys = (table & ~within) | (a.v & within & PAGE_MASK);
            w->large = shift > 12;
            w->global = entry & X86_PTE_G && cpu->s.cr4 & X86_CR4_PGE;
            return DBT_FILLED;
        }
    }
}

/* Sets A at every level and D at the last. False: an entry changed meanwhile. */
static enum dbt_filled mark(struct dbt_vcpu *d, struct walk *w, bool write)
{
    for (unsigned i = 0; i < w->depth; i++) {
        uint64_t bits = X86_PTE_A | (write && i == w->depth - 1 ? X86_PTE_D : 0);
        uint64_t table = (i ? w->entry[i - 1] : d->interp.cpu.s.cr3) & X86_PTE_ADDR;

        if ((w->entry[i] & bits) == bits)
            continue;
        if (!storable(d, region_at(d, table), table))
            return DBT_FILL_UNUSUAL;
        if (!__atomic_compare_exchange_n(w->at[i], &w->entry[i], w->entry[i] | bits, false,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return DBT_FILL_FAULT;
    }
    return DBT_FILLED;
}

/* ---- the entry --------------------------------------------------------------------- */

static bool may_write(const struct x86_cpu *cpu, enum x86_tlb_kind kind, const struct walk *w)
{
    return w->writable || (kind != X86_TLB_USER && !(cpu->s.cr0 & X86_CR0_WP));
}

/* The error code of #PF for this access, or 0 when it is allowed. */
static uint32_t denied(const struct x86_cpu *cpu, enum x86_tlb_kind kind, const struct walk *w,
                       bool write)
{
    bool user = kind == X86_TLB_USER;

    if ((user && !w->user) || (w->user && kind == X86_TLB_KERNEL) ||
        (write && !may_write(cpu, kind, w)))
        return X86_PF_P | (write ? X86_PF_W : 0) | (user ? X86_PF_U : 0);
    return 0;
}

/* Translates `a` for this access. */
static enum dbt_filled translate(struct dbt_vcpu *d, enum x86_tlb_kind kind, gva_t a,
                                 bool write, struct walk *w, uint32_t *error)
{
    const struct x86_cpu *cpu = &d->interp.cpu;

    for (unsigned tries = 0; tries < CHANGED_MAX; tries++) {
        enum dbt_filled r = walk(d, a, w);

        if (r == DBT_FILL_FAULT) {
            *error = (write ? X86_PF_W : 0) | (kind == X86_TLB_USER ? X86_PF_U : 0);
            return r;
        }
        if (r != DBT_FILLED)
            return r;
        *error = denied(cpu, kind, w, write);
        if (*error)
            return DBT_FILL_FAULT;
        r = mark(d, w, write);
        if (r != DBT_FILL_FAULT)
            return r;
    }
    return DBT_FILL_UNUSUAL;
}

enum dbt_filled dbt_fill(struct dbt_vcpu *d, enum x86_tlb_kind kind, gva_t a, bool write,
                         uint32_t *error)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    enum dbt_ring ring = kind == X86_TLB_USER ? DBT_RING_USER : DBT_RING_KERNEL;
    const struct memory_region *r;
    gva_t page = gva(a.v & PAGE_MASK);
    struct walk w;
    enum dbt_filled result;
    unsigned what = DBT_FILL_READ;

    if (!cpu->mode.long_mode || (cpu->s.dr7 & 0xff) || cpu->mode.align_check ||
        (cpu->s.cr4 & (X86_CR4_PKE | X86_CR4_PKS)))
        return DBT_FILL_UNUSUAL;
    result = translate(d, kind, a, write, &w, error);
    if (result != DBT_FILLED)
        return result;
    r = region_at(d, w.phys);
    if (!r)
        return DBT_FILL_UNUSUAL;
    /* The D bit is there for a later store: so may its entry be. */
    if (write || (w.entry[w.depth - 1] & X86_PTE_D && may_write(cpu, kind, &w))) {
        if (storable(d, r, w.phys))
            what |= DBT_FILL_WRITE;
        else if (write)
            return DBT_FILL_UNUSUAL;
    }
    what |= (w.large ? DBT_FILL_LARGE : 0) | (w.global ? DBT_FILL_GLOBAL : 0);
    dbt_tables_fill(d->tables, ring, page, (uintptr_t)r->host.p + (w.phys - r->base.v) - page.v,
                    what);
    d->fills++;
    return DBT_FILLED;
}
