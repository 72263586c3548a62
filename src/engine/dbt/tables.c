/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tables.c - flat tables from guest page to host page, two for each ring.
 *
 * One reservation per ring, without memory until touched:
 *
 *     stack for exit thunks | frame | write table 512 GiB | read table 512 GiB
 *
 * so that the frame and the write table are both addressed from rsp. A journal
 * of filled entries makes a flush cost what was filled since the last one, not
 * the size of the table. Parts of large pages have a journal of their own,
 * because invalidating one address invalidates all of such a page.
 */
#include "engine/dbt/dbt.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "base/bug.h"
#include "base/error.h"

#define TABLE_BYTES (1ull << 39)                     /* 2^36 pages of 8 bytes */
#define INDEX_MASK ((1ull << 36) - 1)
enum { STACK_BYTES = 64 * 1024, JOURNAL_MAX = 1 << 20 };

struct journal {
    uint64_t *index;
    size_t count, cap;
};

struct ring_tables {
    uint8_t *reservation;
    struct dbt_frame *frame;
    uint64_t *write, *read;
    struct journal small, large;
};

struct dbt_tables {
    struct ring_tables ring[DBT_RINGS];
};

static size_t frame_bytes(void)
{
    return align_up(sizeof(struct dbt_frame), PAGE_SIZE);
}

static size_t reservation_bytes(void)
{
    return STACK_BYTES + frame_bytes() + 2 * TABLE_BYTES;
}

int32_t dbt_tables_write_disp(void)
{
    return (int32_t)frame_bytes();
}

static int ring_init(struct ring_tables *r, struct error **err)
{
    void *p = mmap(NULL, reservation_bytes(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        int ret = error_set(err, errno, "cannot reserve 1 TiB of address space for the "
                            "translator's page tables");
        error_hint(err, "raise the limit on virtual memory (ulimit -v unlimited), or use "
                   "--engine interp");
        return ret;
    }
    /* Transparent huge pages would turn every sparse entry into 2 MiB. */
    madvise(p, reservation_bytes(), MADV_NOHUGEPAGE);
    madvise(p, reservation_bytes(), MADV_DONTDUMP);
    r->reservation = p;
    r->frame = (struct dbt_frame *)(r->reservation + STACK_BYTES);
    r->write = (uint64_t *)((uint8_t *)r->frame + frame_bytes());
    r->read = r->write + TABLE_BYTES / 8;
    return 0;
}

struct dbt_tables *dbt_tables_new(struct error **err)
{
    struct dbt_tables *t = calloc(1, sizeof *t);

    BUG_ON(!t);
    for (unsigned i = 0; i < DBT_RINGS; i++) {
        if (ring_init(&t->ring[i], err)) {
            dbt_tables_free(t);
            return NULL;
        }
    }
    return t;
}

void dbt_tables_free(struct dbt_tables *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < DBT_RINGS; i++) {
        if (t->ring[i].reservation)
            munmap(t->ring[i].reservation, reservation_bytes());
        free(t->ring[i].small.index);
        free(t->ring[i].large.index);
    }
    free(t);
}

struct dbt_frame *dbt_tables_frame(struct dbt_tables *t, enum dbt_ring ring)
{
    return t->ring[ring].frame;
}

void *dbt_tables_read_base(struct dbt_tables *t, enum dbt_ring ring)
{
    return t->ring[ring].read;
}

static void journal_flush(struct ring_tables *r, struct journal *j)
{
    for (size_t i = 0; i < j->count; i++)
        r->read[j->index[i]] = r->write[j->index[i]] = 0;
    j->count = 0;
}

/* Entries may be in the journal twice (dbt_tables_flush_page), hence the limit. */
static void journal_add(struct ring_tables *r, struct journal *j, uint64_t index)
{
    if (j->count == JOURNAL_MAX)
        journal_flush(r, j);
    if (j->count == j->cap) {
        j->cap = j->cap ? 2 * j->cap : 1024;
        j->index = realloc(j->index, j->cap * sizeof *j->index);
        BUG_ON(!j->index);
    }
    j->index[j->count++] = index;
}

void dbt_tables_fill(struct dbt_tables *t, enum dbt_ring ring, gva_t page, uintptr_t addend,
                     bool read, bool write, bool large)
{
    struct ring_tables *r = &t->ring[ring];
    uint64_t index = page.v >> PAGE_SHIFT & INDEX_MASK;

    BUG_ON(!addend || (addend & PAGE_OFFSET_MASK));
    if (!r->read[index] && !r->write[index])
        journal_add(r, large ? &r->large : &r->small, index);
    if (read)
        r->read[index] = addend;
    if (write)
        r->write[index] = addend;
}

void dbt_tables_flush(struct dbt_tables *t)
{
    for (unsigned i = 0; i < DBT_RINGS; i++) {
        journal_flush(&t->ring[i], &t->ring[i].small);
        journal_flush(&t->ring[i], &t->ring[i].large);
    }
}

/* Like the soft TLB, everything large in the same gigabyte goes. */
static void large_flush(struct ring_tables *r, uint64_t index)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->large.count; i++) {
        uint64_t at = r->large.index[i];
        if ((at ^ index) >> 18)
            r->large.index[kept++] = at;
        else
            r->read[at] = r->write[at] = 0;
    }
    r->large.count = kept;
}

/* The journal of small pages keeps the index: clearing it again later does no harm. */
void dbt_tables_flush_page(struct dbt_tables *t, gva_t page)
{
    uint64_t index = page.v >> PAGE_SHIFT & INDEX_MASK;

    for (unsigned i = 0; i < DBT_RINGS; i++) {
        t->ring[i].read[index] = t->ring[i].write[index] = 0;
        large_flush(&t->ring[i], index);
    }
}

static void journal_protect(struct ring_tables *r, const struct journal *j, uintptr_t host_page)
{
    for (size_t i = 0; i < j->count; i++) {
        uint64_t index = j->index[i];
        /* Sign-extends the page to a canonical address. */
        uint64_t page = (uint64_t)((int64_t)(index << 28) >> 16);
        if (r->write[index] && page + r->write[index] == host_page)
            r->write[index] = 0;
    }
}

void dbt_tables_protect(struct dbt_tables *t, uintptr_t host_page)
{
    for (unsigned i = 0; i < DBT_RINGS; i++) {
        journal_protect(&t->ring[i], &t->ring[i].small, host_page);
        journal_protect(&t->ring[i], &t->ring[i].large, host_page);
    }
}
