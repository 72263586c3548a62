/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_cache.c - tables in memory, and the order in which they reach the file.
 *
 * Two caches of the same kind: L2 tables and reference count blocks. A table is a
 * cluster; what changed in it is known to a 64th, so that a lone entry does not cost
 * a write of 64 KiB. A count block may be written at any moment (counts in memory
 * only go up before the sync that lets them go down); an L2 table only by
 * qcow2_sync(). See ORDER in qcow2.h.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"

enum { CACHE_BYTES = 32 << 20, CACHE_MIN_TABLES = 16, CACHE_MAX_TABLES = 16384,
       ZERO_CHUNK = 1 << 20, WORDS_CHUNK = 8192 };

/* ---- the file ---- */

int qcow2_file_read(struct qcow2 *q, uint64_t offset, void *buf, size_t bytes)
{
    return q->file->ops->read(q->file, offset, buf, bytes);
}

int qcow2_file_write(struct qcow2 *q, uint64_t offset, const void *buf, size_t bytes)
{
    if (q->readonly)
        return -EROFS;
    if (q->broken && !q->repairing)
        return -EIO;
    int rc = q->file->ops->write(q->file, offset, buf, bytes);
    if (!rc)
        qcow2_file_grew(q, offset + bytes);
    return rc;
}

int qcow2_file_flush(struct qcow2 *q)
{
    return q->file->ops->flush(q->file);
}

int qcow2_file_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t chunk = min_u64(bytes, ZERO_CHUNK);
    uint8_t *zeros = calloc(1, chunk + 1);
    int rc = zeros ? 0 : -ENOMEM;

    while (!rc && bytes) {
        uint64_t n = min_u64(bytes, chunk);
        rc = qcow2_file_write(q, offset, zeros, n);
        offset += n;
        bytes -= n;
    }
    free(zeros);
    return rc;
}

int qcow2_words_read(struct qcow2 *q, uint64_t offset, uint64_t *words, size_t count)
{
    int rc = qcow2_file_read(q, offset, words, count * 8);

    for (size_t i = 0; !rc && i < count; i++)
        words[i] = get_be64(&words[i]);
    return rc;
}

int qcow2_words_write(struct qcow2 *q, uint64_t offset, const uint64_t *words, size_t count)
{
    uint64_t *chunk = malloc(WORDS_CHUNK * 8);
    int rc = chunk ? 0 : -ENOMEM;

    while (!rc && count) {
        size_t n = min_u64(count, WORDS_CHUNK);
        for (size_t i = 0; i < n; i++)
            put_be64(&chunk[i], words[i]);
        rc = qcow2_file_write(q, offset, chunk, n * 8);
        words += n;
        offset += n * 8;
        count -= n;
    }
    free(chunk);
    return rc;
}

/* ---- the caches ---- */

static unsigned hash_of(const struct qcow2_cache *c, uint64_t offset)
{
    return (unsigned)((offset >> QCOW2_MIN_CLUSTER_BITS) * 0x9e3779b97f4a7c15ull >> 32) % c->count;
}

int qcow2_cache_init(struct qcow2_cache *c, unsigned cluster_bits, bool holds_l2)
{
    uint64_t count = CACHE_BYTES >> cluster_bits;

    c->count = (unsigned)min_u64(max_u64(count, CACHE_MIN_TABLES), CACHE_MAX_TABLES);
    c->dirty_unit = cluster_bits > 18 ? 1u << (cluster_bits - 6)
                                      : 1u << (cluster_bits < 12 ? cluster_bits : 12);
    c->holds_l2 = holds_l2;
    c->table = calloc(c->count, sizeof *c->table);
    c->hash = malloc(c->count * sizeof *c->hash);
    if (!c->table || !c->hash)
        return -ENOMEM;
    memset(c->hash, 0xff, c->count * sizeof *c->hash);
    return 0;
}

void qcow2_cache_fini(struct qcow2_cache *c)
{
    for (unsigned i = 0; c->table && i < c->count; i++)
        free(c->table[i].data);
    free(c->table);
    free(c->hash);
    memset(c, 0, sizeof *c);
}

struct qcow2_table *qcow2_cache_find(const struct qcow2_cache *c, uint64_t offset)
{
    for (int i = c->hash[hash_of(c, offset)]; i >= 0; i = c->table[i].next)
        if (c->table[i].offset == offset)
            return &c->table[i];
    return NULL;
}

static void unhash(struct qcow2_cache *c, struct qcow2_table *t)
{
    int *link = &c->hash[hash_of(c, t->offset)];

    while (*link != (int)(t - c->table))
        link = &c->table[*link].next;
    *link = t->next;
    t->offset = 0;
}

static void clean(struct qcow2_cache *c, struct qcow2_table *t)
{
    if (t->dirty)
        c->dirty_tables--;
    t->dirty = 0;
}

void qcow2_cache_touch(struct qcow2_cache *c, struct qcow2_table *t, size_t at, size_t bytes)
{
    size_t first = at / c->dirty_unit, last = (at + bytes - 1) / c->dirty_unit;

    if (!t->dirty)
        c->dirty_tables++;
    for (size_t i = first; i <= last; i++)
        t->dirty |= 1ull << i;
}

static int write_table(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table *t)
{
    int rc = 0;

    for (unsigned i = 0; !rc && t->dirty && i < 64;) {
        if (!(t->dirty >> i & 1)) {
            i++;
            continue;
        }
        unsigned n = 1;
        while (i + n < 64 && t->dirty >> (i + n) & 1)
            n++;
        size_t at = (size_t)i * c->dirty_unit;
        rc = qcow2_file_write(q, t->offset + at, t->data + at, (size_t)n * c->dirty_unit);
        i += n;
    }
    if (!rc)
        clean(c, t);
    return rc;
}

int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *c)
{
    int rc = 0;

    for (unsigned i = 0; !rc && c->dirty_tables && i < c->count; i++)
        if (c->table[i].dirty)
            rc = write_table(q, c, &c->table[i]);
    return rc;
}

/* A place for a table: clean, out of the hash. Second chance; syncs when it has to. */
static int take_place(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_table **out)
{
    for (unsigned tries = 0;; tries++) {
        struct qcow2_table *t = &c->table[c->hand];
        c->hand = (c->hand + 1) % c->count;
        if (t->offset && t->recent && tries < 2 * c->count) {
            t->recent = false;
            continue;
        }
        if (t->dirty) {
            int rc = c->holds_l2 ? qcow2_sync(q) : write_table(q, c, t);
            if (rc)
                return rc;
        }
        BUG_ON(t->dirty);
        if (!t->data && posix_memalign((void **)&t->data, PAGE_SIZE,
                                       max_u64(q->cluster_bytes, PAGE_SIZE)))
            return -ENOMEM;
        if (t->offset) {
            pthread_mutex_lock(&q->map_lock);
            unhash(c, t);
            pthread_mutex_unlock(&q->map_lock);
        }
        *out = t;
        return 0;
    }
}

int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset, bool fresh,
                    struct qcow2_table **out)
{
    struct qcow2_table *t = qcow2_cache_find(c, offset);

    if (!offset || (fresh && t))
        return qcow2_corrupt(q, "a table at %#llx is counted as free",
                             (unsigned long long)offset);
    if (!t) {
        int rc = take_place(q, c, &t);
        if (!rc && !fresh)
            rc = qcow2_file_read(q, offset, t->data, q->cluster_bytes);
        if (rc)
            return rc;
        if (fresh)
            memset(t->data, 0, q->cluster_bytes);
        pthread_mutex_lock(&q->map_lock);
        t->offset = offset;
        t->next = c->hash[hash_of(c, offset)];
        c->hash[hash_of(c, offset)] = (int)(t - c->table);
        pthread_mutex_unlock(&q->map_lock);
        if (fresh)
            qcow2_cache_touch(c, t, 0, q->cluster_bytes);
    }
    t->recent = true;
    *out = t;
    return 0;
}

void qcow2_cache_drop(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset)
{
    struct qcow2_table *t = qcow2_cache_find(c, offset);

    if (t) {
        clean(c, t);
        pthread_mutex_lock(&q->map_lock);
        unhash(c, t);
        pthread_mutex_unlock(&q->map_lock);
    }
}

/* ---- order ---- */

static bool lazy(const struct qcow2 *q)
{
    return q->dirty_marked && q->h.compatible & QCOW2_LAZY_REFCOUNTS;
}

/* Counts and, once the blocks they point to are durable, the entries of the count table. */
static int write_counts(struct qcow2 *q)
{
    int rc = qcow2_cache_write(q, &q->rb);
    uint32_t from = q->reftable_dirty_from, to = q->reftable_dirty_to;

    if (rc || !to || q->reftable_moving)
        return rc;
    rc = qcow2_file_flush(q);
    if (!rc)
        rc = qcow2_words_write(q, q->h.reftable_offset + from * 8ull, q->reftable + from,
                               to - from);
    if (!rc)
        q->reftable_dirty_to = 0;
    return rc;
}

static int write_mapping(struct qcow2 *q)
{
    if (!q->l2.dirty_tables && !q->l1_dirty_to)
        return 0;
    int rc = qcow2_file_flush(q);
    if (!rc)
        rc = qcow2_cache_write(q, &q->l2);
    if (rc || !q->l1_dirty_to)
        return rc;
    rc = qcow2_file_flush(q);
    if (!rc)
        rc = qcow2_words_write(q, q->h.l1_offset + q->l1_dirty_from * 8ull,
                               q->l1 + q->l1_dirty_from, q->l1_dirty_to - q->l1_dirty_from);
    if (!rc)
        q->l1_dirty_to = 0;
    return rc;
}

int qcow2_sync(struct qcow2 *q)
{
    int rc = 0;

    if (q->readonly)
        return 0;
    if (q->broken && !q->repairing)
        return -EIO;
    if (!lazy(q))
        rc = write_counts(q);
    if (!rc)
        rc = write_mapping(q);
    if (!rc)
        rc = qcow2_file_flush(q);
    /* What went down need not be durable: until it is, it is a leak at worst. */
    if (!rc && q->freed_count) {
        rc = qcow2_freed_apply(q);
        if (!rc && !lazy(q))
            rc = qcow2_cache_write(q, &q->rb);
    }
    return rc;
}

bool qcow2_is_clean(struct qcow2 *q)
{
    return !q->l2.dirty_tables && !q->l1_dirty_to && !q->freed_count &&
           (lazy(q) || (!q->rb.dirty_tables && !q->reftable_dirty_to));
}
