/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cache.c - decoded blocks by guest-physical address.
 *
 * Memory comes from one arena that is emptied as a whole when it is full: no
 * lists of free pieces, no block outlives its neighbours by much. Blocks are
 * found through a hash of (physical address, decoding mode), in front of which
 * sits a direct-mapped cache by RIP.
 *
 * A page becomes code before its first byte is decoded: from then on this vCPU
 * does not store to it unseen, so what was decoded stays true until a drop.
 * Other vCPUs may hold a write translation a little longer. Nobody waits for
 * them (they may not even have a host processor): until the last one has
 * answered, the page is not settled and its blocks are not trusted.
 */
#include "engine/interp/interp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/bug.h"
#include "base/error.h"
#include "engine/interp/chain.h"

enum { GRANULE_SHIFT = 6 };

/* ---- arena ------------------------------------------------------------- */

int interp_cache_init(struct interp *v, struct error **err)
{
    size_t scratch = sizeof(struct block) + (INTERP_BLOCK_MAX + 1) * sizeof(struct op);

    v->arena = mmap(NULL, INTERP_CACHE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->arena == MAP_FAILED) {
        v->arena = NULL;
        return error_set(err, ENOMEM, "cannot reserve %d MiB for decoded code",
                         INTERP_CACHE_BYTES >> 20);
    }
    v->scratch = calloc(1, scratch);
    if (!v->scratch)
        return error_set(err, ENOMEM, "out of memory");
    pthread_mutex_init(&v->inbox.lock, NULL);
    return 0;
}

void interp_cache_fini(struct interp *v)
{
    if (v->arena) {
        interp_cache_flush(v);
        munmap(v->arena, INTERP_CACHE_BYTES);
        v->arena = NULL;
    }
    while (v->free_pages) {
        struct code_page *p = v->free_pages;

        v->free_pages = p->next;
        free(p);
    }
    free(v->scratch);
    v->scratch = NULL;
}

static size_t ops_end(unsigned n)
{
    return sizeof(struct block) + (n + 1) * sizeof(struct op);
}

static size_t block_bytes(unsigned n)
{
    return (ops_end(n) + n * sizeof(struct x86_insn) + 63) & ~(size_t)63;
}

/* Room for two blocks of any size. Only here, between blocks and before any
 * page is prepared, does memory of dropped blocks get used again: v->patch and
 * the block that just ran may point there until now. */
static void reserve(struct interp *v)
{
    if (v->arena_used + 2 * block_bytes(INTERP_BLOCK_MAX) > INTERP_CACHE_BYTES)
        interp_cache_flush(v);
    if (v->flushed) {
        v->flushed = false;
        v->arena_used = 0;
        v->patch = NULL;
    }
}

struct block *interp_block_alloc(struct interp *v, unsigned n)
{
    size_t ops = ops_end(n);
    struct block *b = (struct block *)(v->arena + v->arena_used);

    v->arena_used += block_bytes(n);
    BUG_ON(v->arena_used > INTERP_CACHE_BYTES);
    memset(b, 0, sizeof *b);
    b->n = (uint16_t)n;
    b->phys2 = INTERP_NO_PAGE;
    for (unsigned i = 0; i < n; i++)
        b->op[i].insn = (struct x86_insn *)((uint8_t *)b + ops) + i;
    return b;
}

/* ---- messages to another vCPU -------------------------------------------- */

/* Any thread. Returns what inbox.seen will be when it was read. */
static uint64_t post(struct interp *v, uint64_t start, uint64_t size)
{
    struct inbox *in = &v->inbox;
    uint64_t ticket;

    pthread_mutex_lock(&in->lock);
    if (in->n < INTERP_INBOX)
        in->item[in->n++] = (struct inbox_item){start, size};
    else if (size)
        in->lost_writes = true;
    else
        in->lost_protects = true;
    ticket = ++in->posted;
    pthread_mutex_unlock(&in->lock);
    interp_attend(v);
    return ticket;
}

/* ---- pages that hold code ---------------------------------------------- */

static struct code_page **page_slot(struct interp *v, uint64_t page)
{
    struct code_page **p =
        &v->page[(page >> PAGE_SHIFT) & ((1 << INTERP_PAGE_HASH_BITS) - 1)];

    while (*p && (*p)->page != page)
        p = &(*p)->next;
    return p;
}

static void page_release(struct interp *v, struct code_page **slot)
{
    struct code_page *p = *slot;

    atomic_fetch_sub(&v->vm->code_users[p->page >> PAGE_SHIFT], 1);
    *slot = p->next;
    p->next = v->free_pages;
    v->free_pages = p;
}

static void protect(struct interp *v, uint64_t page)
{
    x86_tlb_protect_phys(&v->cpu, gpa(page));
    if (v->observer)
        v->observer->protect(v, page);
}

static struct code_page *page_new(struct interp *v, uint64_t page)
{
    struct code_page *p = v->free_pages;

    if (p)
        v->free_pages = p->next;
    else
        p = malloc(sizeof *p + v->vm->vm.config.cpus * sizeof p->ticket[0]);
    if (p)
        *p = (struct code_page){.page = page};
    return p;
}

/* Makes `page` code of this vCPU and asks the others to drop their write
 * translations of it. False when it cannot be tracked. */
static bool page_prepare(struct interp *v, uint64_t page)
{
    struct code_page **slot = page_slot(v, page), *p;

    if (*slot)
        return true;
    if (page >> PAGE_SHIFT >= v->vm->code_pages)
        return false;
    p = page_new(v, page);
    if (!p)
        return false;
    *slot = p;
    atomic_fetch_add(&v->vm->code_users[page >> PAGE_SHIFT], 1);
    protect(v, page);
    for (unsigned i = 0; i < v->vm->vm.config.cpus; i++) {
        struct interp *o = atomic_load(&v->vm->vcpu[i]);

        p->ticket[i] = o && o != v ? post(o, page, 0) : 0;
    }
    return true;
}

/* Have they? Until then one may store to the page unseen. A vCPU that is not
 * running reads its inbox before it does anything else. */
static bool page_settled(struct interp *v, uint64_t page)
{
    struct code_page *p = *page_slot(v, page);

    for (unsigned i = 0; !p->settled && i < v->vm->vm.config.cpus; i++) {
        struct interp *o = atomic_load(&v->vm->vcpu[i]);

        if (o && o != v && atomic_load(&o->running) &&
            atomic_load(&o->inbox.seen) < p->ticket[i])
            return false;
    }
    return p->settled = true;
}

bool interp_code_hold(struct interp *v, uint64_t page)
{
    if (!page_prepare(v, page) || !page_settled(v, page))
        return false;
    (*page_slot(v, page))->held = true;
    return true;
}

static uint64_t granules(uint64_t first, uint64_t last)
{
    unsigned a = (first & PAGE_OFFSET_MASK) >> GRANULE_SHIFT;
    unsigned b = (last & PAGE_OFFSET_MASK) >> GRANULE_SHIFT;

    return (~0ull << a) & (~0ull >> (63 - b));
}

/* The bytes of `b` in its first or second page: [*first, *last]. */
static void block_range(const struct block *b, unsigned part, uint64_t *first, uint64_t *last)
{
    uint64_t end = b->phys + b->bytes - 1;

    *first = part ? b->phys2 : b->phys;
    if (b->phys2 == INTERP_NO_PAGE)
        *last = end;
    else
        *last = part ? b->phys2 + (end & PAGE_OFFSET_MASK) : b->phys | PAGE_OFFSET_MASK;
}

static unsigned part_in(const struct block *b, uint64_t page)
{
    return (b->phys & PAGE_MASK) != page;
}

/* ---- adding and dropping ----------------------------------------------- */

static struct block **hash_slot(struct interp *v, uint64_t phys, unsigned mode)
{
    uint64_t h = (phys * 16 + mode) * 0x9e3779b97f4a7c15ull;

    return &v->hash[h >> (64 - INTERP_HASH_BITS)];
}

static void insert(struct interp *v, struct block *b)
{
    struct block **slot = hash_slot(v, b->phys, b->mode);
    unsigned parts = b->phys2 == INTERP_NO_PAGE ? 1 : 2;

    b->hash_next = *slot;
    *slot = b;
    for (unsigned i = 0; i < parts; i++) {
        struct code_page *p = *page_slot(v, (i ? b->phys2 : b->phys) & PAGE_MASK);
        uint64_t first, last;

        BUG_ON(!p);
        block_range(b, i, &first, &last);
        b->page_next[i] = p->blocks;
        p->blocks = b;
        p->granules |= granules(first, last);
    }
}

static void poison(struct block *b)
{
    for (unsigned i = 0; i <= b->n; i++)
        b->op[i].fn = interp_left;
}

/* Takes it out of the hash; its pages' lists are the caller's. */
static void drop(struct interp *v, struct block *b)
{
    struct block **slot = hash_slot(v, b->phys, b->mode);

    if (b->dropped)
        return;
    b->dropped = true;
    while (*slot && *slot != b)
        slot = &(*slot)->hash_next;
    if (*slot)
        *slot = b->hash_next;
    poison(b);
    if (v->origin == b)
        poison(v->scratch);
    COUNT(&v->vcpu.counters, blocks_dropped);
}

/* Drops what overlaps [start, end] in one page; forgets a page without blocks. */
static void page_written(struct interp *v, uint64_t start, uint64_t end)
{
    uint64_t page = start & PAGE_MASK, kept = 0;
    struct code_page **slot = page_slot(v, page), *p = *slot;
    struct block **link;
    bool any = false;

    if (!p)
        return;
    if (p->held)
        p->held = v->observer->written(v, start, end);
    if (p->blocks && !(p->granules & granules(start, end)))
        return;
    for (link = &p->blocks; *link;) {
        struct block *b = *link;
        unsigned part = part_in(b, page);
        uint64_t first, last;

        block_range(b, part, &first, &last);
        if (b->dropped || (first <= end && start <= last)) {
            drop(v, b);
            *link = b->page_next[part];
            any = true;
        } else {
            kept |= granules(first, last);
            link = &b->page_next[part];
        }
    }
    p->granules = kept;
    if (!p->blocks && !p->held)
        page_release(v, slot);
    if (any)
        interp_key_update(v, true);
}

void interp_code_written(struct interp *v, uint64_t start, uint64_t size)
{
    uint64_t end = start + size - 1;

    for (uint64_t at = start; at <= end; at = (at & PAGE_MASK) + PAGE_SIZE)
        page_written(v, at, min_u64(end, at | PAGE_OFFSET_MASK));
}

void interp_cache_flush(struct interp *v)
{
    for (unsigned i = 0; i < ARRAY_SIZE(v->page); i++) {
        while (v->page[i]) {
            for (struct block *b = v->page[i]->blocks; b;) {
                unsigned part = part_in(b, v->page[i]->page);

                drop(v, b);
                b = b->page_next[part];
            }
            page_release(v, &v->page[i]);
        }
    }
    memset(v->hash, 0, sizeof v->hash);
    v->flushed = true;
    if (v->observer)
        v->observer->flushed(v);
    interp_key_update(v, true);
}

/* ---- messages between vCPUs -------------------------------------------- */

void interp_broadcast(struct interp_vm *vm, const struct interp *from, uint64_t start,
                      uint64_t size)
{
    for (unsigned i = 0; i < vm->vm.config.cpus; i++) {
        struct interp *v = atomic_load(&vm->vcpu[i]);

        if (v && v != from)
            post(v, start, size);
    }
}

/* Every write translation goes, so that the next store to a page is seen; what
 * they allowed until now counts as written. */
static void protect_all(struct interp *v)
{
    bool logging = atomic_load(&v->vm->dirty_logging);

    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        for (unsigned i = 0; i < X86_TLB_SIZE; i++) {
            struct x86_tlb_entry *e = &v->cpu.tlb[kind][i];

            if (e->write == X86_TLB_NONE)
                continue;
            if (logging)
                memory_dirty_mark(v->vm->vm.config.memory, gpa(e->phys), PAGE_SIZE);
            e->write = X86_TLB_NONE;
        }
    }
    if (v->observer)
        v->observer->protect_all(v);
}

static void act_upon(struct interp *v, const struct inbox_item *item)
{
    if (item->size)
        interp_code_written(v, item->start, item->size);
    else if (item->start == INTERP_NO_PAGE)
        protect_all(v);
    else
        protect(v, item->start);
}

void interp_inbox_read(struct interp *v)
{
    struct inbox *in = &v->inbox;
    struct inbox_item item[INTERP_INBOX];
    unsigned n;
    bool lost_writes, lost_protects;
    uint64_t posted;

    pthread_mutex_lock(&in->lock);
    n = in->n;
    memcpy(item, in->item, n * sizeof item[0]);
    lost_writes = in->lost_writes;
    lost_protects = in->lost_protects;
    posted = in->posted;
    in->n = 0;
    in->lost_writes = in->lost_protects = false;
    pthread_mutex_unlock(&in->lock);
    for (unsigned i = 0; i < n; i++)
        act_upon(v, &item[i]);
    if (lost_protects)
        protect_all(v);
    if (lost_writes)
        interp_cache_flush(v);
    atomic_store(&in->seen, posted);
}

/* ---- finding ----------------------------------------------------------- */

static struct block *lookup(struct interp *v, uint64_t phys, unsigned mode)
{
    struct block *b = *hash_slot(v, phys, mode);

    while (b && (b->phys != phys || b->mode != mode))
        b = b->hash_next;
    return b;
}

static uint64_t code_linear(const struct interp *v, uint64_t rip)
{
    return v->cpu.mode.code_bits == 64 ? rip : (uint32_t)(v->cpu.s.seg[X86_CS].base + rip);
}

/* The block needs the page after `lin` to be the one it was decoded from. */
static bool second_page_matches(struct interp *v, const struct block *b, uint64_t lin)
{
    const uint8_t *host;
    uint64_t next = (lin & PAGE_MASK) + PAGE_SIZE;

    if (b->phys2 == INTERP_NO_PAGE)
        return true;
    if (v->cpu.mode.code_bits != 64)
        next = (uint32_t)next;
    return x86_fetch_page(&v->cpu, gva(next), &host).v == b->phys2;
}

static bool within_limit(const struct interp *v, const struct block *b)
{
    return v->cpu.mode.code_bits == 64 ||
           v->cpu.s.rip + b->bytes - 1 <= v->cpu.s.seg[X86_CS].limit;
}

/* Is it still what memory holds? Blocks of two pages are verified from birth. */
static bool same_bytes(const struct block *b, const uint8_t *host)
{
    for (unsigned i = 0; i < b->n; i++) {
        const struct x86_insn *insn = b->op[i].insn;

        if (memcmp(host + b->op[i].off, insn->bytes, insn->length) != 0)
            return false;
    }
    return true;
}

/* Decodes the block at s.rip. A second page shows only in decoding, so then it
 * is done again with both pages under watch. */
static struct block *make(struct interp *v, const struct fetch *f)
{
    uint64_t page = f->phys & PAGE_MASK;
    struct block *b;
    bool settled;

    reserve(v);
    if (!f->host || !page_prepare(v, page))
        return interp_build(v, f, 1, true);
    settled = page_settled(v, page);
    b = interp_build(v, f, INTERP_BLOCK_MAX, false);
    if (b->phys2 != INTERP_NO_PAGE) {
        if (!page_prepare(v, b->phys2) || !settled || !page_settled(v, b->phys2))
            return interp_build(v, f, 1, true);
        b = interp_build(v, f, 1, false);
    }
    if (b != v->scratch) {
        b->verified = settled;
        insert(v, b);
        COUNT(&v->vcpu.counters, blocks_made);
    }
    return b;
}

/* While a page is not settled, what was decoded from it is compared with it
 * each time before it is executed, and once more afterwards. */
static struct block *verify(struct interp *v, struct block *b, const struct fetch *f)
{
    bool settled = page_settled(v, f->phys & PAGE_MASK);

    if (same_bytes(b, f->host)) {
        b->verified = settled;
        return b;
    }
    drop(v, b);
    interp_key_update(v, true);
    return make(v, f);
}

struct block *interp_find(struct interp *v)
{
    struct x86_cpu *cpu = &v->cpu;
    uint64_t rip = cpu->s.rip, lin = code_linear(v, rip);
    struct block *b = interp_jump_find(v, rip);
    struct fetch f;

    if (likely(b))
        return b;
    if (cpu->mode.code_bits == 64 ? !x86_canonical(cpu, rip) : rip > cpu->s.seg[X86_CS].limit)
        x86_gp0(cpu);
    f.phys = x86_fetch_page(cpu, gva(lin), &f.host).v | (lin & PAGE_OFFSET_MASK);
    if (f.host)
        f.host += lin & PAGE_OFFSET_MASK;
    b = f.host ? lookup(v, f.phys, v->key & INTERP_MODE_MASK) : NULL;
    if (b && !second_page_matches(v, b, lin)) {
        drop(v, b);
        interp_key_update(v, true);
        b = NULL;
    }
    b = !b ? make(v, &f) : b->verified ? b : verify(v, b, &f);
    if (b == v->scratch)
        return b;
    if (!within_limit(v, b))
        return interp_build(v, &f, 1, true);
    if (b->verified)
        *interp_jump_at(v, rip) = (struct jump){rip, v->key, b};
    return b;
}
