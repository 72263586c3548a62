/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paging.h - the shape of the paging structures, private to src/x86.
 *
 * Shared by the walker that executes (mmu.c) and the one that only looks
 * (mmu_walk.c), so that what the monitor shows is what the guest gets.
 * Intel SDM vol. 3 ch. 4; AMD APM vol. 2 ch. 5.
 */
#ifndef RING3_X86_PAGING_H
#define RING3_X86_PAGING_H

#include "x86/cpu.h"

#define X86_PTE_P (1ull << 0)
#define X86_PTE_W (1ull << 1)
#define X86_PTE_U (1ull << 2)
#define X86_PTE_A (1ull << 5)
#define X86_PTE_D (1ull << 6)
#define X86_PTE_PS (1ull << 7)
#define X86_PTE_G (1ull << 8)
#define X86_PTE_NX (1ull << 63)
#define X86_PTE_KEY_SHIFT 59
#define X86_PTE_ADDR 0x000ffffffffff000ull

struct x86_paging_level {
    const char *name;
    uint8_t shift;          /* of the index in the linear address = log2 of a leaf's size */
    uint8_t index_bits;
    bool permissions;       /* R/W, U/S and A are there: not in a PAE PDPTE */
};

struct x86_paging_format {
    unsigned levels;
    unsigned entry_bytes;
    uint64_t root_mask;     /* of CR3 */
    struct x86_paging_level level[4];
};

/* NULL when paging is off. */
const struct x86_paging_format *x86_paging_format(const struct x86_state *s);

/* Does this present entry map a page rather than point to a table? `gbpages`:
 * 1 GiB pages exist; without them PS in a PDPTE is a reserved bit. */
bool x86_paging_leaf(const struct x86_state *s, const struct x86_paging_format *f,
                     unsigned level, uint64_t entry, bool gbpages);

/* Guest-physical address of the page a leaf maps, PSE-36 included. */
uint64_t x86_paging_leaf_address(const struct x86_paging_format *f, unsigned level,
                                 uint64_t entry);

/* Bits that must be zero in a PDPTE register (SDM vol. 3, 4.4.1). */
uint64_t x86_pdpte_reserved(const struct x86_cpu *cpu);

/* Re-reads cpu->pdpte[] from `cr3`. False, and nothing changed, when one of
 * them has a reserved bit set. */
bool x86_pdptes_load(struct x86_cpu *cpu, uint64_t cr3);

/* PAE paging outside long mode: the PDPTE registers are in use. */
static inline bool x86_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) && !(efer & X86_EFER_LMA);
}

#endif
