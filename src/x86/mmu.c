/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmu.c - guest-linear memory for the software engines: walk, soft TLB, access.
 *
 * Layers, from below: translate() walks the paging structures, checks rights
 * and sets A/D; resolve() puts a TLB entry in front of that; the access
 * functions cut an access at page boundaries, resolve every page before they
 * touch the first, and move bytes through the host pointer or, for what is not
 * RAM, through phys_read/phys_write in naturally aligned pieces.
 *
 * A TLB tag is fast (the page address), slow (with X86_TLB_SLOW: paging allows
 * it, but it must come through here) or none. Slow pages are MMIO, pages whose
 * stores the engine watches and pages with a data breakpoint.
 *
 * Accessed bits are set when the access as a whole is allowed, all levels at
 * once; the architecture permits earlier (SDM vol. 3, 4.8), no software
 * depends on it.
 */
#include "x86/mmu.h"

#include "base/byteorder.h"
#include "x86/cpuid.h"
#include "x86/paging.h"
#include "x86/system.h"

struct translation {
    uint64_t phys;                  /* of the 4 KiB page */
    bool user, writable, nx, dirty, global, large;
    uint8_t key;                    /* protection key, in long mode */
};

/* One paging-structure entry as met on the way down. */
struct walked { uint64_t at, entry; };

/* ---- paging structures in guest memory ---------------------------------- */

static uint64_t entry_read(struct x86_cpu *cpu, uint64_t at, unsigned bytes)
{
    uint8_t *page = cpu->ops->ram_page(cpu->env, gpa(at & PAGE_MASK), false);
    if (!page)
        return cpu->ops->phys_read(cpu->env, gpa(at), bytes);
    const void *p = page + (at & PAGE_OFFSET_MASK);
    return bytes == 8 ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)
                      : __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
}

/* The same update where the engine wants to see stores. */
static bool entry_update_watched(struct x86_cpu *cpu, const struct walked *w, unsigned bytes,
                                 uint64_t bits)
{
    uint8_t *page = cpu->ops->ram_locked ? cpu->ops->ram_locked(cpu->env, gpa(w->at & PAGE_MASK))
                                         : NULL;
    uint64_t old = w->entry;
    uint32_t old32 = (uint32_t)old;
    bool done;
    if (!page) {
        cpu->ops->phys_write(cpu->env, gpa(w->at), bytes, w->entry | bits);
        return true;
    }
    page += w->at & PAGE_OFFSET_MASK;
    done = bytes == 8 ? __atomic_compare_exchange_n((uint64_t *)(void *)page, &old, old | bits,
                                                    false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
                      : __atomic_compare_exchange_n((uint32_t *)(void *)page, &old32,
                                                    old32 | (uint32_t)bits, false,
                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    if (done)
        cpu->ops->stored(cpu->env, gpa(w->at), bytes);
    return done;
}

/* Sets `bits` in the entry if it is still what was walked; false: walk again. */
static bool entry_update(struct x86_cpu *cpu, const struct walked *w, unsigned bytes,
                         uint64_t bits)
{
    if ((w->entry & bits) == bits)
        return true;
    uint8_t *page = cpu->ops->ram_page(cpu->env, gpa(w->at & PAGE_MASK), true);
    if (!page)
        return entry_update_watched(cpu, w, bytes, bits);
    void *p = page + (w->at & PAGE_OFFSET_MASK);
    if (bytes == 8) {
        uint64_t old = w->entry;
        return __atomic_compare_exchange_n((uint64_t *)p, &old, old | bits, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    uint32_t old = (uint32_t)w->entry;
    return __atomic_compare_exchange_n((uint32_t *)p, &old, old | (uint32_t)bits, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Bits of a 52-bit physical address that this processor does not have. */
static uint64_t address_reserved(const struct x86_cpu *cpu)
{
    return X86_PTE_ADDR & ~((1ull << cpu->model->phys_bits) - 1);
}

uint64_t x86_pdpte_reserved(const struct x86_cpu *cpu)
{
    return 0xfff0000000000000ull | address_reserved(cpu) | 0x1e6;
}

bool x86_pdptes_load(struct x86_cpu *cpu, uint64_t cr3)
{
    uint64_t reserved = x86_pdpte_reserved(cpu), value[4];
    for (unsigned i = 0; i < ARRAY_SIZE(value); i++) {
        value[i] = entry_read(cpu, (cr3 & 0xffffffe0u) + i * 8, 8);
        if (value[i] & X86_PTE_P && value[i] & reserved)
            return false;
    }
    memcpy(cpu->pdpte, value, sizeof value);
    cpu->pdpte_valid = true;
    return true;
}

/* The PDPTE register for `index`. State from outside brings none: they are read
 * when first needed, and one that could not have been loaded maps nothing. */
static uint64_t pdpte(struct x86_cpu *cpu, unsigned index)
{
    if (!cpu->pdpte_valid && !x86_pdptes_load(cpu, cpu->s.cr3)) {
        memset(cpu->pdpte, 0, sizeof cpu->pdpte);
        cpu->pdpte_valid = true;
    }
    return cpu->pdpte[index];
}

/* Bits that must be zero in a present entry (SDM vol. 3, 4.3-4.5; APM vol. 2,
 * 5.3: AMD also reserves bit 8 where a PML4E or PDPTE points to a table). */
static uint64_t entry_reserved(const struct x86_cpu *cpu, const struct x86_paging_format *f,
                               unsigned level, bool leaf)
{
    unsigned shift = f->level[level].shift;
    if (f->entry_bytes == 4) {
        if (shift != 22 || !leaf)
            return 0;
        if (!x86_feature(&cpu->model->features, X86_FEATURE_PSE36))
            return 0x3fe000;
        uint64_t high = cpu->model->phys_bits >= 40 ? 0 : 0xffu << (cpu->model->phys_bits - 32);
        return 0x200000 | (high << 13 & 0x1fe000);
    }
    uint64_t reserved = address_reserved(cpu);
    if (!(cpu->s.msr.efer & X86_EFER_NXE))
        reserved |= X86_PTE_NX;
    if (f->levels == 3)
        reserved |= 0x7ff0000000000000ull;      /* bits 62-52 are available in long mode only */
    if (leaf)
        return reserved | (shift > 12 ? ((1ull << shift) - 1) & 0x3fffe000 : 0);
    if (shift >= 30)
        reserved |= X86_PTE_PS | (cpu->model->amd ? X86_PTE_G : 0);
    return reserved;
}

/* ---- the walk ------------------------------------------------------------ */

/* Protection keys (SDM vol. 3, 4.6.2): what PKRU allows for a user page, IA32_PKRS
 * for a supervisor page. Code is fetched whatever they say. */
static bool key_allows(const struct x86_cpu *cpu, enum x86_tlb_kind kind,
                       enum x86_access access, const struct translation *t)
{
    uint64_t rights = (t->user ? cpu->s.fpu.pkru : cpu->s.msr.pkrs) >> 2 * t->key;
    bool no_write = rights & 2 && (kind == X86_TLB_USER || cpu->s.cr0 & X86_CR0_WP);

    if (likely(!(cpu->s.cr4 & (t->user ? X86_CR4_PKE : X86_CR4_PKS))) || access == X86_EXEC ||
        !cpu->mode.long_mode || !cpu->mode.paging)
        return true;
    return !(rights & 1) && (access == X86_READ || !no_write);
}

static bool allowed(const struct x86_cpu *cpu, enum x86_tlb_kind kind, enum x86_access access,
                    const struct translation *t)
{
    bool user = kind == X86_TLB_USER;
    if (user && !t->user)
        return false;
    if (access == X86_EXEC)
        return !t->nx && !(t->user && !user && cpu->s.cr4 & X86_CR4_SMEP);
    if ((t->user && kind == X86_TLB_KERNEL) || !key_allows(cpu, kind, access, t))
        return false;
    return access == X86_READ || t->writable || (!user && !(cpu->s.cr0 & X86_CR0_WP));
}

static _Noreturn void page_fault(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a,
                                 enum x86_access access, uint32_t error)
{
    if (access == X86_WRITE)
        error |= X86_PF_W;
    if (kind == X86_TLB_USER)
        error |= X86_PF_U;
    if (access == X86_EXEC && (cpu->s.cr4 & X86_CR4_SMEP ||
                               (cpu->s.cr4 & X86_CR4_PAE && cpu->s.msr.efer & X86_EFER_NXE)))
        error |= X86_PF_I;
    x86_raise_pf(cpu, a, error);
}

/* Walks to the leaf; returns the number of entries in path[]. Raises for an
 * entry that is not present or has reserved bits. */
static unsigned walk(struct x86_cpu *cpu, const struct x86_paging_format *f,
                     enum x86_tlb_kind kind, gva_t a, enum x86_access access,
                     struct walked path[4], struct translation *t)
{
    bool gbpages = x86_feature(&cpu->model->features, X86_FEATURE_PDPE1GB);
    uint64_t table = cpu->s.cr3 & f->root_mask;
    *t = (struct translation){.user = true, .writable = true};
    for (unsigned i = 0; ; i++) {
        const struct x86_paging_level *l = &f->level[i];
        unsigned index = (unsigned)(a.v >> l->shift) & ((1u << l->index_bits) - 1);
        struct walked *w = &path[i];
        w->at = table + index * f->entry_bytes;
        w->entry = l->permissions ? entry_read(cpu, w->at, f->entry_bytes) : pdpte(cpu, index);
        if (!(w->entry & X86_PTE_P))
            page_fault(cpu, kind, a, access, 0);
        bool leaf = x86_paging_leaf(&cpu->s, f, i, w->entry, gbpages);
        table = w->entry & X86_PTE_ADDR;
        if (!l->permissions)
            continue;
        if (w->entry & entry_reserved(cpu, f, i, leaf))
            page_fault(cpu, kind, a, access, X86_PF_P | X86_PF_RSVD);
        t->user &= !!(w->entry & X86_PTE_U);
        t->writable &= !!(w->entry & X86_PTE_W);
        t->nx |= !!(w->entry & X86_PTE_NX);
        if (leaf) {
            uint64_t size = 1ull << l->shift;
            t->phys = x86_paging_leaf_address(f, i, w->entry) | (a.v & (size - 1) & PAGE_MASK);
            t->large = l->shift > PAGE_SHIFT;
            t->dirty = w->entry & X86_PTE_D;
            t->key = w->entry >> X86_PTE_KEY_SHIFT & 15;
            t->global = w->entry & X86_PTE_G && cpu->s.cr4 & X86_CR4_PGE;
            return i + 1;
        }
    }
}

static void translate(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a,
                      enum x86_access access, struct translation *t)
{
    const struct x86_paging_format *f = x86_paging_format(&cpu->s);
    if (!f) {
        *t = (struct translation){.phys = a.v & PAGE_MASK, .user = true, .writable = true,
                                  .dirty = true};
        return;
    }
    struct walked path[4];
again:;
    unsigned depth = walk(cpu, f, kind, a, access, path, t);
    if (!allowed(cpu, kind, access, t))
        page_fault(cpu, kind, a, access,
                   X86_PF_P | (key_allows(cpu, kind, access, t) ? 0 : X86_PF_PK));
    for (unsigned i = 0; i < depth; i++) {
        uint64_t bits = X86_PTE_A;
        if (!f->level[i].permissions)
            continue;
        if (i == depth - 1 && access == X86_WRITE)
            bits |= X86_PTE_D;
        if (!entry_update(cpu, &path[i], f->entry_bytes, bits))
            goto again;                         /* another vCPU changed it under us */
    }
    t->dirty |= access == X86_WRITE;
}

/* ---- the soft TLB -------------------------------------------------------- */

static unsigned slot_of(uint64_t a)
{
    return (a >> PAGE_SHIFT) & (X86_TLB_SIZE - 1);
}

static void map_put(uint64_t *map, unsigned slot, bool set)
{
    uint64_t bit = 1ull << (slot % 64);
    map[slot / 64] = set ? map[slot / 64] | bit : map[slot / 64] & ~bit;
}

static void drop(struct x86_cpu *cpu, unsigned kind, unsigned slot)
{
    struct x86_tlb_entry *e = &cpu->tlb[kind][slot];
    e->read = e->write = e->exec = X86_TLB_NONE;
    map_put(cpu->tlb_map[kind].used, slot, false);
}

/* Does an enabled data breakpoint (DR7 R/W 01 or 11) lie in this page? */
static bool page_watched(const struct x86_cpu *cpu, uint64_t page)
{
    uint64_t dr7 = cpu->s.dr7;

    if (unlikely(cpu->debugger) && x86_debugger_watches(cpu->debugger, page))
        return true;
    if (likely(!(dr7 & 0xff)))
        return false;
    for (unsigned i = 0; i < 4; i++)
        if (dr7 >> (2 * i) & 3 && dr7 >> (16 + 4 * i) & 1 && (cpu->s.dr[i] & PAGE_MASK) == page)
            return true;
    return false;
}

static uint64_t tag_for(uint64_t page, bool permitted, bool fast)
{
    return !permitted ? X86_TLB_NONE : fast ? page : page | X86_TLB_SLOW;
}

static struct x86_tlb_entry *fill(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a,
                                  enum x86_access access)
{
    struct translation t;
    translate(cpu, kind, a, access, &t);
    uint64_t page = a.v & PAGE_MASK;
    unsigned slot = slot_of(a.v);
    struct x86_tlb_entry *e = &cpu->tlb[kind][slot];
    struct x86_tlb_map *map = &cpu->tlb_map[kind];
    bool watched = page_watched(cpu, page);

    const uint8_t *host = cpu->ops->ram_page(cpu->env, gpa(t.phys), false);
    /* Asking for write access may mark the page dirty for migration: only when
     * there is a write. */
    bool store = access == X86_WRITE;
    bool direct = store && host && cpu->ops->ram_page(cpu->env, gpa(t.phys), true);
    e->addend = host ? (uintptr_t)host - page : 0;
    e->phys = t.phys;
    e->read = tag_for(page, allowed(cpu, kind, X86_READ, &t), host && !watched);
    e->write = tag_for(page, store, direct && !watched);
    e->exec = tag_for(page, allowed(cpu, kind, X86_EXEC, &t), host);
    map_put(map->used, slot, true);
    map_put(map->global, slot, t.global);
    map_put(map->large, slot, t.large);
    map->large_gib |= t.large ? x86_tlb_gib(a) : 0;
    COUNT(cpu->counters, tlb_fills);
    return e;
}

/* The entry that allows this access to the page of `a`; raises #PF. */
static struct x86_tlb_entry *resolve(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a,
                                     enum x86_access access)
{
    struct x86_tlb_entry *e = &cpu->tlb[kind][slot_of(a.v)];
    uint64_t tag = access == X86_WRITE ? e->write : access == X86_READ ? e->read : e->exec;
    if (likely((tag & ~X86_TLB_SLOW) == (a.v & PAGE_MASK)))
        return e;
    return fill(cpu, kind, a, access);
}

void x86_tlb_flush(struct x86_cpu *cpu, bool global)
{
    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        struct x86_tlb_map *map = &cpu->tlb_map[kind];
        map->large_gib = global ? 0 : map->large_gib;
        for (unsigned w = 0; w < ARRAY_SIZE(map->used); w++) {
            uint64_t victims = map->used[w] & (global ? ~0ull : ~map->global[w]);
            for (; victims; victims &= victims - 1)
                drop(cpu, kind, w * 64 + (unsigned)__builtin_ctzll(victims));
        }
    }
    COUNT(cpu->counters, tlb_flushes);
    if (cpu->ops->tlb_flushed)
        cpu->ops->tlb_flushed(cpu->env, NULL, global);
}

/* Entries made from a large page must go when any address in it is invalidated
 * (SDM vol. 3, 4.10.4.1). Their page's size is not kept, so everything large
 * within the same gigabyte goes: more than asked is always allowed. */
void x86_tlb_flush_page(struct x86_cpu *cpu, gva_t a)
{
    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        struct x86_tlb_map *map = &cpu->tlb_map[kind];
        const struct x86_tlb_entry *e = cpu->tlb[kind];
        drop(cpu, kind, slot_of(a.v));
        if (!(map->large_gib & x86_tlb_gib(a)))
            continue;
        for (unsigned w = 0; w < ARRAY_SIZE(map->used); w++) {
            uint64_t large = map->used[w] & map->large[w];
            for (; large; large &= large - 1) {
                unsigned slot = w * 64 + (unsigned)__builtin_ctzll(large);
                /* Any tag but NONE names the page; at least one is set. */
                uint64_t tag = e[slot].read != X86_TLB_NONE ? e[slot].read
                             : e[slot].exec != X86_TLB_NONE ? e[slot].exec : e[slot].write;
                if ((tag ^ a.v) >> 30 == 0)
                    drop(cpu, kind, slot);
            }
        }
    }
    if (cpu->ops->tlb_flushed)
        cpu->ops->tlb_flushed(cpu->env, &a, true);
}

void x86_tlb_protect_phys(struct x86_cpu *cpu, gpa_t page)
{
    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        const struct x86_tlb_map *map = &cpu->tlb_map[kind];
        for (unsigned w = 0; w < ARRAY_SIZE(map->used); w++)
            for (uint64_t used = map->used[w]; used; used &= used - 1) {
                struct x86_tlb_entry *e =
                    &cpu->tlb[kind][w * 64 + (unsigned)__builtin_ctzll(used)];
                if (e->phys == page.v && e->write != X86_TLB_NONE)
                    e->write |= X86_TLB_SLOW;
            }
    }
}

/* ---- moving bytes within one page ---------------------------------------- */

static uint64_t load_le(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;
    switch (size) {
    case 1: return *p;
    case 2: return get_le16(p);
    case 4: return get_le32(p);
    case 8: return get_le64(p);
    default: memcpy(&v, p, size); return v;     /* part of a page-crossing access */
    }
}

static void store_le(uint8_t *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: put_le16(p, (uint16_t)v); break;
    case 4: put_le32(p, (uint32_t)v); break;
    case 8: put_le64(p, v); break;
    default: memcpy(p, &v, size);
    }
}

/* The longest naturally aligned piece at the start of [at, at + size). */
static unsigned piece(uint64_t at, unsigned size)
{
    unsigned n = 8;
    while (n > size || at & (n - 1))
        n /= 2;
    return n;
}

static uint8_t *host_at(const struct x86_tlb_entry *e, gva_t a)
{
    return e->addend ? (uint8_t *)(uintptr_t)(a.v + e->addend) : NULL;
}

/* Where a store may go directly; NULL for MMIO and watched code. A page that no
 * longer holds code becomes fast again here. */
static uint8_t *host_for_store(struct x86_cpu *cpu, struct x86_tlb_entry *e, gva_t a)
{
    if (!(e->write & X86_TLB_SLOW))
        return host_at(e, a);
    if (!e->addend || !cpu->ops->ram_page(cpu->env, gpa(e->phys), true))
        return NULL;
    if (!page_watched(cpu, a.v & PAGE_MASK))
        e->write &= ~X86_TLB_SLOW;
    return host_at(e, a);
}

static uint64_t page_read(struct x86_cpu *cpu, const struct x86_tlb_entry *e, gva_t a,
                          unsigned size)
{
    const uint8_t *p = host_at(e, a);
    if (likely(p))
        return load_le(p, size);
    uint64_t at = e->phys | (a.v & PAGE_OFFSET_MASK), value = 0;
    for (unsigned done = 0, n; done < size; done += n) {
        n = piece(at + done, size - done);
        value |= cpu->ops->phys_read(cpu->env, gpa(at + done), n) << (8 * done);
    }
    return value;
}

static void page_write(struct x86_cpu *cpu, struct x86_tlb_entry *e, gva_t a, unsigned size,
                       uint64_t value)
{
    uint8_t *p = host_for_store(cpu, e, a);
    if (likely(p)) {
        store_le(p, size, value);
        return;
    }
    /* phys_write may flush or protect: `e` is not looked at after the first. */
    uint64_t at = e->phys | (a.v & PAGE_OFFSET_MASK);
    for (unsigned done = 0, n; done < size; done += n) {
        n = piece(at + done, size - done);
        uint64_t part = value >> (8 * done);
        cpu->ops->phys_write(cpu->env, gpa(at + done), n,
                             n == 8 ? part : part & ((1ull << (8 * n)) - 1));
    }
}

/* ---- accesses of any alignment ------------------------------------------- */

static unsigned in_first_page(gva_t a, unsigned len)
{
    return (unsigned)min_u64(len, PAGE_SIZE - (a.v & PAGE_OFFSET_MASK));
}

/* The address `n` bytes on; linear addresses below 4 GiB wrap there except in
 * 64-bit code. */
static gva_t advance(const struct x86_cpu *cpu, gva_t a, unsigned n)
{
    uint64_t next = a.v + n;
    return gva(cpu->mode.code_bits != 64 && a.v <= UINT32_MAX ? next & UINT32_MAX : next);
}

/* #AC for explicit data accesses; vector operands (size over 8) have their own
 * alignment rules. */
static void check_alignment(struct x86_cpu *cpu, gva_t a, unsigned size)
{
    if (unlikely(cpu->mode.align_check) && size <= 8 && (size & (size - 1)) == 0 &&
        a.v & (size - 1))
        x86_raise_error(cpu, X86_AC, 0);
}

static void note_access(struct x86_cpu *cpu, gva_t a, unsigned len, bool write)
{
    if (unlikely(cpu->debugger))
        x86_debugger_access(cpu, a, len, write);
    if (unlikely(cpu->s.dr7 & 0xff))
        x86_debug_data_access(cpu, a, len, write);
}

static uint64_t read_kind(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a, unsigned size)
{
    unsigned n = in_first_page(a, size);
    if (likely(n == size))
        return page_read(cpu, resolve(cpu, kind, a, X86_READ), a, size);
    gva_t b = advance(cpu, a, n);
    /* Copies: filling the second page may recycle nothing of the first, but MMIO
     * may flush. */
    struct x86_tlb_entry first = *resolve(cpu, kind, a, X86_READ);
    struct x86_tlb_entry second = *resolve(cpu, kind, b, X86_READ);
    uint64_t low = page_read(cpu, &first, a, n);
    return low | page_read(cpu, &second, b, size - n) << (8 * n);
}

static void write_kind(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a, unsigned size,
                       uint64_t value)
{
    unsigned n = in_first_page(a, size);
    if (likely(n == size)) {
        page_write(cpu, resolve(cpu, kind, a, X86_WRITE), a, size, value);
        return;
    }
    gva_t b = advance(cpu, a, n);
    resolve(cpu, kind, a, X86_WRITE);
    resolve(cpu, kind, b, X86_WRITE);
    page_write(cpu, resolve(cpu, kind, a, X86_WRITE), a, n, value);
    page_write(cpu, resolve(cpu, kind, b, X86_WRITE), b, size - n, value >> (8 * n));
}

uint64_t x86_read_slow(struct x86_cpu *cpu, gva_t a, unsigned size)
{
    check_alignment(cpu, a, size);
    uint64_t value = read_kind(cpu, cpu->mode.tlb, a, size);
    note_access(cpu, a, size, false);
    return value;
}

void x86_write_slow(struct x86_cpu *cpu, gva_t a, unsigned size, uint64_t value)
{
    check_alignment(cpu, a, size);
    write_kind(cpu, cpu->mode.tlb, a, size, value);
    note_access(cpu, a, size, true);
}

static void probe_kind(struct x86_cpu *cpu, enum x86_tlb_kind kind, gva_t a, unsigned len,
                       enum x86_access access)
{
    while (len) {
        unsigned n = in_first_page(a, len);
        resolve(cpu, kind, a, access);
        a = advance(cpu, a, n);
        len -= n;
    }
}

void x86_read_block(struct x86_cpu *cpu, gva_t a, void *buf, unsigned len)
{
    uint8_t *to = buf;
    gva_t at = a;
    for (unsigned left = len; left; ) {
        unsigned n = in_first_page(at, left);
        struct x86_tlb_entry e = *resolve(cpu, cpu->mode.tlb, at, X86_READ);
        const uint8_t *p = host_at(&e, at);
        if (likely(p))
            memcpy(to, p, n);
        else
            for (unsigned done = 0, size; done < n; done += size) {
                size = piece(at.v + done, n - done);
                store_le(to + done, size, page_read(cpu, &e, gva_add(at, done), size));
            }
        to += n;
        at = advance(cpu, at, n);
        left -= n;
    }
    note_access(cpu, a, len, false);
}

void x86_write_block(struct x86_cpu *cpu, gva_t a, const void *buf, unsigned len)
{
    const uint8_t *from = buf;
    gva_t at = a;
    probe_kind(cpu, cpu->mode.tlb, a, len, X86_WRITE);
    for (unsigned left = len; left; ) {
        unsigned n = in_first_page(at, left);
        struct x86_tlb_entry *e = resolve(cpu, cpu->mode.tlb, at, X86_WRITE);
        uint8_t *p = host_for_store(cpu, e, at);
        if (likely(p))
            memcpy(p, from, n);
        else
            for (unsigned done = 0, size; done < n; done += size) {
                size = piece(at.v + done, n - done);
                page_write(cpu, resolve(cpu, cpu->mode.tlb, at, X86_WRITE), gva_add(at, done),
                           size, load_le(from + done, size));
            }
        from += n;
        at = advance(cpu, at, n);
        left -= n;
    }
    note_access(cpu, a, len, true);
}

void x86_probe(struct x86_cpu *cpu, gva_t a, unsigned len, enum x86_access access)
{
    probe_kind(cpu, cpu->mode.tlb, a, len, access);
}

uint8_t *x86_host_ptr(struct x86_cpu *cpu, gva_t a, unsigned len, enum x86_access access)
{
    check_alignment(cpu, a, len);
    if (in_first_page(a, len) != len) {
        probe_kind(cpu, cpu->mode.tlb, a, len, access);
        return NULL;
    }
    struct x86_tlb_entry *e = resolve(cpu, cpu->mode.tlb, a, access);
    uint8_t *p = access == X86_WRITE ? host_for_store(cpu, e, a) : host_at(e, a);
    if (p)
        note_access(cpu, a, len, access == X86_WRITE);
    return p;
}

bool x86_locked_ptr(struct x86_cpu *cpu, gva_t a, unsigned len, struct x86_locked *out)
{
    unsigned n = in_first_page(a, len);
    gva_t at[2] = {a, advance(cpu, a, n)};
    *out = (struct x86_locked){.bytes = {n, len - n}};
    if (!cpu->ops->ram_locked)
        return false;
    probe_kind(cpu, cpu->mode.tlb, a, len, X86_WRITE);
    for (unsigned i = 0; i < 2 && out->bytes[i]; i++) {
        uint64_t page = resolve(cpu, cpu->mode.tlb, at[i], X86_WRITE)->phys;
        out->p[i] = cpu->ops->ram_locked(cpu->env, gpa(page));
        if (!out->p[i])
            return false;
        out->p[i] += at[i].v & PAGE_OFFSET_MASK;
        out->phys[i] = gpa(page | (at[i].v & PAGE_OFFSET_MASK));
    }
    out->whole = n == len || out->p[1] == out->p[0] + n;
    note_access(cpu, a, len, true);
    return true;
}

void x86_locked_done(struct x86_cpu *cpu, const struct x86_locked *l)
{
    for (unsigned i = 0; i < 2; i++)
        if (l->bytes[i])
            cpu->ops->stored(cpu->env, l->phys[i], l->bytes[i]);
}

/* ---- accesses that are not the program's own ----------------------------- */

/* SMAP holds for implicit accesses whatever RFLAGS.AC says (SDM vol. 3, 4.6.1). */
static enum x86_tlb_kind kind_sys(const struct x86_cpu *cpu)
{
    return cpu->s.cr4 & X86_CR4_SMAP ? X86_TLB_KERNEL : X86_TLB_KERNEL_AC;
}

static enum x86_tlb_kind kind_as(const struct x86_cpu *cpu, bool user)
{
    if (user)
        return X86_TLB_USER;
    return cpu->s.rflags & X86_FLAG_AC ? X86_TLB_KERNEL_AC : kind_sys(cpu);
}

uint64_t x86_read_sys(struct x86_cpu *cpu, gva_t a, unsigned size)
{
    return read_kind(cpu, kind_sys(cpu), a, size);
}

void x86_write_sys(struct x86_cpu *cpu, gva_t a, unsigned size, uint64_t value)
{
    write_kind(cpu, kind_sys(cpu), a, size, value);
}

uint8_t *x86_host_ptr_sys(struct x86_cpu *cpu, gva_t a, enum x86_access access)
{
    struct x86_tlb_entry *e = resolve(cpu, kind_sys(cpu), a, access);
    return access == X86_WRITE ? host_for_store(cpu, e, a) : host_at(e, a);
}

uint64_t x86_read_as(struct x86_cpu *cpu, bool user, gva_t a, unsigned size)
{
    return read_kind(cpu, kind_as(cpu, user), a, size);
}

void x86_write_as(struct x86_cpu *cpu, bool user, gva_t a, unsigned size, uint64_t value)
{
    write_kind(cpu, kind_as(cpu, user), a, size, value);
}

void x86_probe_as(struct x86_cpu *cpu, bool user, gva_t a, unsigned len, enum x86_access access)
{
    probe_kind(cpu, kind_as(cpu, user), a, len, access);
}

gpa_t x86_fetch_page(struct x86_cpu *cpu, gva_t a, const uint8_t **host)
{
    const struct x86_tlb_entry *e = resolve(cpu, cpu->mode.tlb, a, X86_EXEC);
    *host = host_at(e, gva(a.v & PAGE_MASK));
    return gpa(e->phys);
}
