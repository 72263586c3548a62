/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmu_walk.c - the shape of the paging structures, and looking through them.
 *
 * x86_walk() is for people and debuggers: it works on the state of any engine,
 * sets no accessed bits, raises nothing and does not complain about reserved
 * bits (it has no CPU model to know them by). What executes guest code is in
 * mmu.c.
 */
#include "x86/paging.h"
#include "x86/mmu.h"

static const struct x86_paging_format format_legacy = {
    2, 4, 0xfffff000u, {{"PDE", 22, 10, true}, {"PTE", 12, 10, true}},
};

static const struct x86_paging_format format_pae = {
    3, 8, 0xffffffe0u, {{"PDPTE", 30, 2, false}, {"PDE", 21, 9, true}, {"PTE", 12, 9, true}},
};

static const struct x86_paging_format format_long = {
    4, 8, X86_PTE_ADDR,
    {{"PML4E", 39, 9, true}, {"PDPTE", 30, 9, true}, {"PDE", 21, 9, true}, {"PTE", 12, 9, true}},
};

const struct x86_paging_format *x86_paging_format(const struct x86_state *s)
{
    if (!(s->cr0 & X86_CR0_PG))
        return NULL;
    if (s->msr.efer & X86_EFER_LMA)
        return &format_long;
    return s->cr4 & X86_CR4_PAE ? &format_pae : &format_legacy;
}

bool x86_paging_leaf(const struct x86_state *s, const struct x86_paging_format *f,
                     unsigned level, uint64_t entry, bool gbpages)
{
    if (level == f->levels - 1)
        return true;
    if (!(entry & X86_PTE_PS))
        return false;
    if (f->entry_bytes == 4)                    /* PS is ignored without CR4.PSE */
        return s->cr4 & X86_CR4_PSE;
    if (f->level[level].shift == 30)
        return gbpages && f->levels == 4;
    return f->level[level].shift == 21;
}

uint64_t x86_paging_leaf_address(const struct x86_paging_format *f, unsigned level,
                                 uint64_t entry)
{
    unsigned shift = f->level[level].shift;
    if (f->entry_bytes == 4 && shift == 22)     /* PSE-36: bits 20-13 are bits 39-32 */
        return (entry & 0xffc00000u) | (entry & 0x1fe000) << 19;
    return entry & X86_PTE_ADDR & ~((1ull << shift) - 1);
}

/* One entry of entry_bytes, through a reader of naturally aligned 8 bytes. */
static int entry_read(const struct x86_paging_format *f, uint64_t at, uint64_t *entry,
                      int (*read64)(void *opaque, gpa_t at, uint64_t *value), void *opaque)
{
    int rc = read64(opaque, gpa(at & ~7ull), entry);
    if (f->entry_bytes == 4)
        *entry = (uint32_t)(*entry >> (at & 4 ? 32 : 0));
    return rc;
}

void x86_walk(const struct x86_state *s, gva_t a,
              int (*read64)(void *opaque, gpa_t at, uint64_t *value), void *opaque,
              struct x86_walk *out)
{
    const struct x86_paging_format *f = x86_paging_format(s);
    *out = (struct x86_walk){.writable = true, .user = true, .executable = true,
                             .page_bytes = PAGE_SIZE};
    if (!f) {
        out->mapped = true;
        out->phys = gpa(a.v & UINT32_MAX);
        return;
    }
    if (f->levels < 4)
        a.v &= UINT32_MAX;
    uint64_t table = s->cr3 & f->root_mask;
    for (unsigned i = 0; i < f->levels; i++) {
        const struct x86_paging_level *l = &f->level[i];
        uint64_t index = a.v >> l->shift & ((1u << l->index_bits) - 1), entry;
        struct x86_walk_step *step = &out->step[out->steps];
        *step = (struct x86_walk_step){gpa(table + index * f->entry_bytes), 0, l->name};
        if (entry_read(f, step->entry.v, &entry, read64, opaque) < 0)
            return;
        step->value = entry;
        out->steps++;
        if (!(entry & X86_PTE_P))
            return;
        if (l->permissions) {
            out->writable &= !!(entry & X86_PTE_W);
            out->user &= !!(entry & X86_PTE_U);
            out->executable &= !(entry & X86_PTE_NX && s->msr.efer & X86_EFER_NXE);
        }
        if (x86_paging_leaf(s, f, i, entry, true)) {
            out->mapped = true;
            out->page_bytes = 1ull << l->shift;
            out->phys = gpa(x86_paging_leaf_address(f, i, entry) | (a.v & (out->page_bytes - 1)));
            return;
        }
        table = entry & (f->entry_bytes == 4 ? 0xfffff000u : X86_PTE_ADDR);
    }
}
