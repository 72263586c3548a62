/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.c - RAM, the region list, copies in and out, the dirty log.
 *
 * RAM is a memfd so that it can be shared with other processes, and so that
 * untouched pages cost nothing: the size is checked against what the host
 * has, but nothing is reserved.
 */
#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "memory/backing.h"

enum { SLOTS_MAX = 256, WORD_BITS = 64 };

struct memory {
    int fd;
    uint64_t ram_bytes;
    uint8_t *ram;
    struct memory_region *regions;   /* ascending, not overlapping */
    size_t count;
    uint64_t slots[SLOTS_MAX / WORD_BITS];   /* bitmap of those in use */
    struct memory_listener *listeners;
    _Atomic bool logging;
    _Atomic uint64_t *dirty;         /* a bit per page of RAM backing */
    size_t dirty_words;
};

struct memory *memory_new(uint64_t ram_bytes, struct error **err)
{
    if (ram_bytes == 0 || ram_bytes & PAGE_OFFSET_MASK) {
        error_set(err, EINVAL, "guest memory of %" PRIu64 " bytes is not a number of 4 KiB pages",
                  ram_bytes);
        return NULL;
    }
    if (backing_check_host(ram_bytes, err) < 0)
        return NULL;

    struct memory *m = calloc(1, sizeof *m);
    BUG_ON(!m);
    m->ram_bytes = ram_bytes;
    m->fd = memfd_create("ring3-ram", MFD_CLOEXEC);
    if (m->fd < 0 || ftruncate(m->fd, (off_t)ram_bytes) < 0)
        goto fail;
    m->ram = backing_map(ram_bytes, m->fd);
    if (!m->ram)
        goto fail;
    return m;
fail:
    error_set(err, errno, "cannot allocate %" PRIu64 " MiB of guest memory: %s", ram_bytes >> 20,
              strerror(errno));
    memory_free(m);
    return NULL;
}

static bool is_ram(const struct memory *m, const struct memory_region *r)
{
    return r->host.p >= m->ram && r->host.p < m->ram + m->ram_bytes;
}

static void region_release(struct memory_region *r)
{
    if (r->owned)
        backing_unmap(r->host.p, r->size_bytes);
    free((char *)r->name);
}

void memory_free(struct memory *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        region_release(&m->regions[i]);
    free(m->regions);
    free(m->dirty);
    backing_unmap(m->ram, m->ram_bytes);
    if (m->fd >= 0)
        close(m->fd);
    free(m);
}

int memory_fd(const struct memory *m)
{
    return m->fd;
}

uint64_t memory_ram_bytes(const struct memory *m)
{
    return m->ram_bytes;
}

hva_t memory_ram_base(const struct memory *m)
{
    return hva(m->ram);
}

/* ---- the region list ---- */

static bool region_has(const struct memory_region *r, uint64_t a)
{
    return a - r->base.v < r->size_bytes;
}

/* Index of the first region that ends above `a`. */
static size_t region_index(const struct memory *m, uint64_t a)
{
    size_t lo = 0, hi = m->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->regions[mid].base.v + (m->regions[mid].size_bytes - 1) < a)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int slot_take(struct memory *m)
{
    for (int i = 0; i < SLOTS_MAX; i++) {
        uint64_t bit = 1ull << i % WORD_BITS;
        if (!(m->slots[i / WORD_BITS] & bit)) {
            m->slots[i / WORD_BITS] |= bit;
            return i;
        }
    }
    return -1;
}

static int check_place(const struct memory *m, const char *name, uint64_t base, uint64_t size,
                       struct error **err)
{
    if (size == 0 || (base | size) & PAGE_OFFSET_MASK || base + (size - 1) < base)
        return error_set(err, EINVAL, "memory region '%s' at 0x%" PRIx64 "+0x%" PRIx64
                         " is not made of whole pages", name, base, size);
    size_t i = region_index(m, base);
    if (i < m->count && m->regions[i].base.v <= base + (size - 1))
        return error_set(err, EEXIST, "memory region '%s' at 0x%" PRIx64 "+0x%" PRIx64
                         " overlaps '%s' at 0x%" PRIx64 "+0x%" PRIx64, name, base, size,
                         m->regions[i].name, m->regions[i].base.v, m->regions[i].size_bytes);
    return 0;
}

/* The place has been checked. */
static int region_insert(struct memory *m, const char *name, gpa_t base, uint64_t size,
                         unsigned flags, uint8_t *host, bool owned, struct error **err)
{
    int slot = slot_take(m);
    if (slot < 0)
        return error_set(err, ENOSPC, "more than %d memory regions", SLOTS_MAX);

    size_t i = region_index(m, base.v);
    m->regions = realloc(m->regions, (m->count + 1) * sizeof *m->regions);
    char *copy = strdup(name);
    BUG_ON(!m->regions || !copy);
    memmove(&m->regions[i + 1], &m->regions[i], (m->count - i) * sizeof *m->regions);
    m->count++;
    m->regions[i] = (struct memory_region){
        .name = copy, .base = base, .size_bytes = size, .flags = flags,
        .host = hva(host), .slot = slot, .owned = owned};
    for (struct memory_listener *l = m->listeners; l; l = l->next)
        if (l->region_added)
            l->region_added(l->opaque, &m->regions[i]);
    return 0;
}

int memory_map_ram(struct memory *m, const char *name, gpa_t base, uint64_t ram_offset,
                   uint64_t size_bytes, unsigned flags, struct error **err)
{
    int r = check_place(m, name, base.v, size_bytes, err);

    if (r < 0)
        return r;
    if (ram_offset & PAGE_OFFSET_MASK || !range_inside(ram_offset, size_bytes, m->ram_bytes))
        return error_set(err, EINVAL, "memory region '%s' shows RAM 0x%" PRIx64 "+0x%" PRIx64
                         ", but there are only 0x%" PRIx64 " bytes", name, ram_offset,
                         size_bytes, m->ram_bytes);
    return region_insert(m, name, base, size_bytes, flags, m->ram + ram_offset, false, err);
}

hva_t memory_map_block(struct memory *m, const char *name, gpa_t base, uint64_t size_bytes,
                       unsigned flags, struct error **err)
{
    if (check_place(m, name, base.v, size_bytes, err) < 0)
        return hva(NULL);
    hva_t block = memory_block_new(name, size_bytes, err);
    if (block.p && region_insert(m, name, base, size_bytes, flags, block.p, true, err) < 0) {
        backing_unmap(block.p, size_bytes);
        return hva(NULL);
    }
    return block;
}

hva_t memory_block_new(const char *name, uint64_t size_bytes, struct error **err)
{
    uint8_t *p = backing_map(size_bytes, -1);

    if (!p)
        error_set(err, errno, "cannot allocate %" PRIu64 " KiB for memory region '%s': %s",
                  size_bytes >> 10, name, strerror(errno));
    return hva(p);
}

void memory_block_free(hva_t block, uint64_t size_bytes)
{
    if (block.p)
        backing_unmap(block.p, size_bytes);
}

int memory_map_host(struct memory *m, const char *name, gpa_t base, hva_t host,
                    uint64_t size_bytes, unsigned flags, struct error **err)
{
    int r = check_place(m, name, base.v, size_bytes, err);

    return r < 0 ? r : region_insert(m, name, base, size_bytes, flags, host.p, false, err);
}

void memory_unmap(struct memory *m, gpa_t base)
{
    size_t i = region_index(m, base.v);
    BUG_ON(i == m->count || m->regions[i].base.v != base.v);

    struct memory_region r = m->regions[i];
    for (struct memory_listener *l = m->listeners; l; l = l->next)
        if (l->region_removed)
            l->region_removed(l->opaque, &r);
    m->count--;
    memmove(&m->regions[i], &m->regions[i + 1], (m->count - i) * sizeof *m->regions);
    m->slots[r.slot / WORD_BITS] &= ~(1ull << r.slot % WORD_BITS);
    region_release(&r);
}

void memory_add_listener(struct memory *m, struct memory_listener *l)
{
    l->next = m->listeners;
    m->listeners = l;
    for (size_t i = 0; i < m->count; i++)
        if (l->region_added)
            l->region_added(l->opaque, &m->regions[i]);
}

void memory_remove_listener(struct memory *m, struct memory_listener *l)
{
    for (struct memory_listener **p = &m->listeners; *p; p = &(*p)->next) {
        if (*p == l) {
            *p = l->next;
            return;
        }
    }
}

const struct memory_region *memory_find(const struct memory *m, gpa_t a)
{
    size_t i = region_index(m, a.v);

    return i < m->count && region_has(&m->regions[i], a.v) ? &m->regions[i] : NULL;
}

const struct memory_region *memory_regions(const struct memory *m, size_t *count)
{
    *count = m->count;
    return m->regions;
}

hva_t memory_host(const struct memory *m, gpa_t a, uint64_t len, bool for_write)
{
    const struct memory_region *r = memory_find(m, a);

    if (!r || (for_write && r->flags & MEMORY_READONLY) ||
        !range_inside(a.v - r->base.v, len, r->size_bytes))
        return hva(NULL);
    return hva(r->host.p + (a.v - r->base.v));
}

/* ---- copies ---- */

static bool all_memory(const struct memory *m, uint64_t a, uint64_t len)
{
    while (len) {
        const struct memory_region *r = memory_find(m, gpa(a));
        if (!r)
            return false;
        uint64_t n = min_u64(len, r->size_bytes - (a - r->base.v));
        a += n;
        len -= n;
    }
    return true;
}

/* One aligned access is one move: the guest may watch. */
static void copy(void *to, const void *from, size_t len)
{
    if (len <= 8 && ((uintptr_t)to & (len - 1)) == 0 && ((uintptr_t)from & (len - 1)) == 0) {
        switch (len) {
        case 1: *(volatile uint8_t *)to = *(const volatile uint8_t *)from; return;
        case 2: *(volatile uint16_t *)to = *(const volatile uint16_t *)from; return;
        case 4: *(volatile uint32_t *)to = *(const volatile uint32_t *)from; return;
        case 8: *(volatile uint64_t *)to = *(const volatile uint64_t *)from; return;
        }
    }
    memcpy(to, from, len);
}

enum pen { PEN_READ, PEN_WRITE, PEN_FILL };

/* Walks the pieces of [a, a+len), which is all memory. */
static void transfer(const struct memory *m, uint64_t a, uint8_t *buf, uint64_t len,
                     enum pen pen, uint8_t byte)
{
    while (len) {
        const struct memory_region *r = memory_find(m, gpa(a));
        uint64_t n = min_u64(len, r->size_bytes - (a - r->base.v));
        uint8_t *host = r->host.p + (a - r->base.v);
        if (pen == PEN_FILL)
            memset(host, byte, n);
        else if (pen == PEN_WRITE)
            copy(host, buf, n);
        else
            copy(buf, host, n);
        if (buf)
            buf += n;
        a += n;
        len -= n;
    }
}

int memory_read(const struct memory *m, gpa_t a, void *buf, uint64_t len)
{
    if (!all_memory(m, a.v, len))
        return -EFAULT;
    transfer(m, a.v, buf, len, PEN_READ, 0);
    return 0;
}

int memory_write(struct memory *m, gpa_t a, const void *buf, uint64_t len)
{
    if (!all_memory(m, a.v, len))
        return -EFAULT;
    transfer(m, a.v, (uint8_t *)buf, len, PEN_WRITE, 0);
    memory_written(m, a, len);
    return 0;
}

int memory_fill(struct memory *m, gpa_t a, uint8_t byte, uint64_t len)
{
    if (!all_memory(m, a.v, len))
        return -EFAULT;
    transfer(m, a.v, NULL, len, PEN_FILL, byte);
    memory_written(m, a, len);
    return 0;
}

void memory_written(struct memory *m, gpa_t a, uint64_t len)
{
    if (!len)
        return;
    /* Either who caches code from here sees the new bytes, or we see that it does. */
    barrier_full();
    for (struct memory_listener *l = m->listeners; l; l = l->next)
        if (l->written)
            l->written(l->opaque, a, len);
    memory_dirty_mark(m, a, len);
}

/* ---- dirty log ---- */

static void set_logging(struct memory *m, bool on)
{
    atomic_store(&m->logging, on);
    for (struct memory_listener *l = m->listeners; l; l = l->next)
        if (l->dirty_logging)
            l->dirty_logging(l->opaque, on);
}

int memory_dirty_start(struct memory *m, struct error **err)
{
    uint64_t pages = m->ram_bytes >> PAGE_SHIFT;

    if (!m->dirty) {
        m->dirty_words = (pages + WORD_BITS - 1) / WORD_BITS;
        m->dirty = calloc(m->dirty_words, sizeof *m->dirty);
        if (!m->dirty)
            return error_set(err, ENOMEM, "cannot allocate the dirty log of %" PRIu64 " pages",
                             pages);
    }
    for (size_t i = 0; i < m->dirty_words; i++)
        atomic_store_explicit(&m->dirty[i], 0, memory_order_relaxed);
    set_logging(m, true);
    return 0;
}

void memory_dirty_stop(struct memory *m)
{
    if (memory_dirty_logging(m))
        set_logging(m, false);
}

bool memory_dirty_logging(const struct memory *m)
{
    return atomic_load_explicit(&m->logging, memory_order_relaxed);
}

static void mark_pages(struct memory *m, uint64_t first, uint64_t last)
{
    for (uint64_t page = first; page <= last; page++) {
        uint64_t bit = 1ull << page % WORD_BITS;
        _Atomic uint64_t *word = &m->dirty[page / WORD_BITS];
        if (!(atomic_load_explicit(word, memory_order_relaxed) & bit))
            atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    }
}

void memory_dirty_mark(struct memory *m, gpa_t a, uint64_t len)
{
    if (!memory_dirty_logging(m) || !len)
        return;
    uint64_t last = a.v + (len - 1);
    for (size_t i = region_index(m, a.v); i < m->count && m->regions[i].base.v <= last; i++) {
        const struct memory_region *r = &m->regions[i];
        uint64_t from = max_u64(a.v, r->base.v) - r->base.v;
        uint64_t to = min_u64(last - r->base.v, r->size_bytes - 1);
        uint64_t ram_offset = (uint64_t)(r->host.p - m->ram);
        if (is_ram(m, r))
            mark_pages(m, (ram_offset + from) >> PAGE_SHIFT, (ram_offset + to) >> PAGE_SHIFT);
    }
}

size_t memory_dirty_fetch(struct memory *m, uint64_t *bitmap, size_t words)
{
    size_t pages = 0;

    for (size_t i = 0; i < words; i++) {
        bitmap[i] = i < m->dirty_words ? atomic_exchange(&m->dirty[i], 0) : 0;
        pages += (size_t)__builtin_popcountll(bitmap[i]);
    }
    return pages;
}

/* ---- digest ---- */

#define FNV_OFFSET 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * FNV_PRIME;
    return h ^ h >> 32;
}

/* A page of zeroes counts as absent, so holes in the memfd need not be read
 * (reading one would allocate it). */
static uint64_t digest_page(uint64_t h, uint64_t where, const uint8_t *p)
{
    uint64_t any = 0, sum = mix(FNV_OFFSET, where);

    for (size_t i = 0; i < PAGE_SIZE; i += 8) {
        uint64_t v = get_le64(p + i);
        any |= v;
        sum = mix(sum, v);
    }
    return any ? mix(h, sum) : h;
}

/* Moves *at to the next page of RAM backing that may hold anything; returns
 * where that stretch ends. */
static uint64_t next_stretch(const struct memory *m, const struct memory_region *r, uint64_t *at)
{
    off_t file = r->host.p - m->ram;
    off_t data = lseek(m->fd, file + (off_t)*at, SEEK_DATA);

    if (data < 0 || (uint64_t)(data - file) >= r->size_bytes) {
        *at = r->size_bytes;
        return r->size_bytes;
    }
    *at = (uint64_t)(data - file);
    off_t hole = lseek(m->fd, data, SEEK_HOLE);
    return hole < 0 ? r->size_bytes : min_u64((uint64_t)(hole - file), r->size_bytes);
}

uint64_t memory_digest(const struct memory *m)
{
    uint64_t h = FNV_OFFSET;

    for (size_t i = 0; i < m->count; i++) {
        const struct memory_region *r = &m->regions[i];
        if (r->flags & MEMORY_READONLY)
            continue;
        for (uint64_t at = 0; at < r->size_bytes;) {
            uint64_t end = is_ram(m, r) ? next_stretch(m, r, &at) : r->size_bytes;
            for (; at < end; at += PAGE_SIZE)
                h = digest_page(h, r->base.v + at, r->host.p + at);
        }
    }
    return h;
}
