/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_refcount.c - who owns which cluster of the file.
 *
 * "Host cluster management" of the specification. Counts change in memory; a new
 * count block lies behind the clusters it was made for and counts itself. When the
 * count table is too short it moves: the new one is complete and durable before the
 * header names it.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"

/* How many counts one allocation looks at before it calls the counts nonsense. */
enum { SEARCH_LIMIT = 1 << 28 };
#define REFTABLE_OFFSET (~0x1ffull)

uint64_t qcow2_rc_get(const uint8_t *block, unsigned order, uint64_t index)
{
    switch (order) {
    case 3: return block[index];
    case 4: return get_be16(block + index * 2);
    case 5: return get_be32(block + index * 4);
    case 6: return get_be64(block + index * 8);
    default: {
        unsigned bits = 1u << order, per_byte = 8 / bits;
        return block[index / per_byte] >> (index % per_byte * bits) & ((1u << bits) - 1);
    }
    }
}

void qcow2_rc_set(uint8_t *block, unsigned order, uint64_t index, uint64_t value)
{
    switch (order) {
    case 3: block[index] = (uint8_t)value; break;
    case 4: put_be16(block + index * 2, (uint16_t)value); break;
    case 5: put_be32(block + index * 4, (uint32_t)value); break;
    case 6: put_be64(block + index * 8, value); break;
    default: {
        unsigned bits = 1u << order, per_byte = 8 / bits;
        unsigned shift = (unsigned)(index % per_byte) * bits;
        uint8_t mask = (uint8_t)(((1u << bits) - 1) << shift);
        block[index / per_byte] =
            (uint8_t)((block[index / per_byte] & ~mask) | (value << shift & mask));
    }
    }
}

static uint64_t max_count(const struct qcow2 *q)
{
    return q->refcount_bits == 64 ? UINT64_MAX : (1ull << q->refcount_bits) - 1;
}

/* The count block of `cluster`; *out NULL when it has none (all its counts are 0). */
static int block_get(struct qcow2 *q, uint64_t cluster, struct qcow2_table **out)
{
    uint64_t i = cluster >> q->rb_bits;

    *out = NULL;
    if (i >= q->reftable_entries || !q->reftable[i])
        return 0;
    uint64_t offset = q->reftable[i];
    if (offset & (q->cluster_bytes - 1) || offset >= align_up(q->file->bytes, q->cluster_bytes))
        if (!qcow2_cache_find(&q->rb, offset) || offset & (q->cluster_bytes - 1))
            return qcow2_corrupt(q, "reference count block %llu at %#llx lies outside the file",
                                 (unsigned long long)i, (unsigned long long)offset);
    return qcow2_cache_get(q, &q->rb, offset, false, out);
}

int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
    struct qcow2_table *t;
    int rc = block_get(q, cluster, &t);

    *count = 0;
    if (!rc && t)
        *count = qcow2_rc_get(t->data, q->h.refcount_order,
                              cluster & ((1ull << q->rb_bits) - 1));
    return rc;
}

/* The block exists. */
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
    uint64_t i = cluster & ((1ull << q->rb_bits) - 1);
    struct qcow2_table *t;
    int rc = block_get(q, cluster, &t);

    if (rc)
        return rc;
    if (!t)
        return count ? qcow2_corrupt(q, "cluster %#llx has no reference count block",
                                     (unsigned long long)cluster << q->cluster_bits) : 0;
    qcow2_rc_set(t->data, q->h.refcount_order, i, count);
    qcow2_cache_touch(&q->rb, t, (i << q->h.refcount_order) / 8,
                      max_u64(1, q->refcount_bits / 8));
    if (!count)
        q->free_hint = min_u64(q->free_hint, cluster);
    return 0;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t clusters, int delta)
{
    for (uint64_t end = cluster + clusters; cluster < end; cluster++) {
        uint64_t count;
        int rc = qcow2_refcount(q, cluster, &count);
        if (rc)
            return rc;
        if (delta < 0 && !count)
            return qcow2_corrupt(q, "the reference count of cluster %#llx would fall below 0",
                                 (unsigned long long)cluster << q->cluster_bits);
        if (delta > 0 && count == max_count(q))
            return -ERANGE;
        rc = qcow2_refcount_set(q, cluster, count + (uint64_t)(int64_t)delta);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- finding room ---- */

/* The first free cluster at or after `from`. */
static int next_free(struct qcow2 *q, uint64_t from, uint64_t *budget, uint64_t *out)
{
    for (;; from = ((from >> q->rb_bits) + 1) << q->rb_bits) {
        struct qcow2_table *t;
        int rc = block_get(q, from, &t);
        if (rc)
            return rc;
        if (!t) {
            *out = from;
            return 0;
        }
        uint64_t mask = (1ull << q->rb_bits) - 1;
        for (uint64_t i = from & mask; i <= mask; i++) {
            if (!qcow2_rc_get(t->data, q->h.refcount_order, i)) {
                *out = (from & ~mask) + i;
                return 0;
            }
            if (!--*budget)
                return qcow2_corrupt(q, "no free cluster in sight: its reference counts are wrong");
        }
    }
}

/* How many clusters from `from` on are free, at most `want`. */
static int count_free(struct qcow2 *q, uint64_t from, uint64_t want, uint64_t *out)
{
    *out = 0;
    while (*out < want) {
        uint64_t count;
        int rc = qcow2_refcount(q, from + *out, &count);
        if (rc)
            return rc;
        if (count)
            return 0;
        ++*out;
    }
    return 0;
}

/* Count blocks that [from, from + n) and the blocks themselves, put behind it, lack. */
static uint64_t blocks_missing(const struct qcow2 *q, uint64_t from, uint64_t n)
{
    uint64_t missing = 0, i = from >> q->rb_bits;

    for (; i <= (from + n + missing - 1) >> q->rb_bits; i++)
        missing += i >= q->reftable_entries || !q->reftable[i];
    return missing;
}

static int make_blocks(struct qcow2 *q, uint64_t from, uint64_t n, uint64_t missing)
{
    uint64_t at = from + n;

    if (qcow2_is_metadata(q, at << q->cluster_bits, missing << q->cluster_bits))
        return qcow2_corrupt(q, "a table at %#llx is counted as free",
                             (unsigned long long)at << q->cluster_bits);
    for (uint64_t i = from >> q->rb_bits; i <= (from + n + missing - 1) >> q->rb_bits; i++) {
        struct qcow2_table *t;
        if (q->reftable[i])
            continue;
        int rc = qcow2_cache_get(q, &q->rb, at << q->cluster_bits, true, &t);
        if (rc)
            return rc;
        q->reftable[i] = at++ << q->cluster_bits;
        if (!q->reftable_dirty_to)
            q->reftable_dirty_from = (uint32_t)i;
        q->reftable_dirty_from = (uint32_t)min_u64(q->reftable_dirty_from, i);
        q->reftable_dirty_to = (uint32_t)max_u64(q->reftable_dirty_to, i + 1);
    }
    return qcow2_refcount_add(q, from + n, missing, 1);
}

static int reftable_grow(struct qcow2 *q, uint64_t cluster);

/* Takes clusters; the caller counts them. */
static int find_room(struct qcow2 *q, uint64_t want, bool fewer, uint64_t *got, uint64_t *first)
{
    uint64_t from = q->free_hint, budget = SEARCH_LIMIT;
    bool moved_hint = false;

    for (;;) {
        uint64_t n;
        int rc = next_free(q, from, &budget, &from);
        if (!rc && !moved_hint) {
            q->free_hint = from;
            moved_hint = true;
        }
        if (!rc)
            rc = count_free(q, from, want, &n);
        if (rc)
            return rc;
        if (n < want && !fewer) {
            from += n;
            continue;
        }
        uint64_t missing = blocks_missing(q, from, n), all;
        if (missing) {
            rc = count_free(q, from, n + missing, &all);
            if (rc)
                return rc;
            if (all < n + missing) {
                from += fewer ? 1 : all;
                continue;
            }
        }
        uint64_t last = from + n + missing - 1;
        if (last > QCOW2_OFFSET >> q->cluster_bits)
            return -EFBIG;
        if (last >> q->rb_bits >= q->reftable_entries) {
            rc = reftable_grow(q, last);
            if (rc)
                return rc;
            continue;
        }
        rc = missing ? make_blocks(q, from, n, missing) : 0;
        *got = n;
        *first = from;
        return rc;
    }
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *got, uint64_t *offset)
{
    uint64_t n, first;

    if (q->readonly)
        return -EROFS;
    if (q->broken && !q->repairing)
        return -EIO;
    if (q->h.compatible & QCOW2_LAZY_REFCOUNTS && !q->dirty_marked) {
        int rc = qcow2_mark_dirty(q, true);
        if (rc)
            return rc;
    }
    int rc = find_room(q, want, got != NULL, &n, &first);
    if (rc)
        return rc;
    if (qcow2_is_metadata(q, first << q->cluster_bits, n << q->cluster_bits))
        return qcow2_corrupt(q, "a table at %#llx is counted as free",
                             (unsigned long long)first << q->cluster_bits);
    rc = qcow2_refcount_add(q, first, n, 1);
    if (first == q->free_hint)
        q->free_hint = first + n;
    if (got)
        *got = n;
    *offset = first << q->cluster_bits;
    return rc;
}

/* ---- a longer table ---- */

static int reftable_publish(struct qcow2 *q, uint64_t offset, uint64_t clusters)
{
    struct qcow2_header old = q->h;
    int rc = qcow2_cache_write(q, &q->rb);

    if (!rc)
        rc = qcow2_words_write(q, offset, q->reftable, q->reftable_entries);
    if (!rc)
        rc = qcow2_file_flush(q);
    if (rc)
        return rc;
    pthread_mutex_lock(&q->map_lock);
    q->h.reftable_offset = offset;
    q->h.reftable_clusters = (uint32_t)clusters;
    pthread_mutex_unlock(&q->map_lock);
    rc = qcow2_header_write(q);
    if (!rc)
        rc = qcow2_file_flush(q);
    if (rc) {
        q->h.reftable_offset = old.reftable_offset;
        q->h.reftable_clusters = old.reftable_clusters;
        return rc;
    }
    q->reftable_dirty_to = 0;
    return qcow2_free(q, old.reftable_offset,
                      (uint64_t)old.reftable_clusters << q->cluster_bits);
}

/* Makes the table reach past `cluster` with some to spare. */
static int reftable_grow(struct qcow2 *q, uint64_t cluster)
{
    uint64_t per_cluster = q->cluster_bytes / 8;
    uint64_t entries = ((cluster >> q->rb_bits) + 2) * 3 / 2 + 1;
    uint64_t clusters = (entries + per_cluster - 1) / per_cluster, offset;
    uint32_t old_entries = q->reftable_entries;

    if (q->reftable_moving)
        return -EFBIG;
    entries = clusters * per_cluster;
    if (entries * 8 > QCOW2_MAX_REFTABLE_BYTES)
        return -EFBIG;
    uint64_t *table = realloc(q->reftable, entries * 8);
    if (!table)
        return -ENOMEM;
    memset(table + old_entries, 0, (entries - old_entries) * 8);
    q->reftable = table;
    q->reftable_entries = (uint32_t)entries;
    q->reftable_moving = true;
    int rc = qcow2_alloc(q, clusters, NULL, &offset);
    if (!rc)
        rc = reftable_publish(q, offset, clusters);
    q->reftable_moving = false;
    /* The longer table in memory has no place in the file: nothing more may be allocated. */
    if (rc)
        q->broken = true;
    return rc;
}

/* ---- giving back ---- */

int qcow2_free(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> q->cluster_bits;
    uint64_t count = ((offset + bytes - 1) >> q->cluster_bits) - first + 1;
    struct qcow2_freed *last = q->freed_count ? &q->freed[q->freed_count - 1] : NULL;

    if (last && last->cluster + last->count == first) {
        last->count += count;
        return 0;
    }
    if (q->freed_count == q->freed_cap) {
        size_t cap = q->freed_cap ? q->freed_cap * 2 : 64;
        struct qcow2_freed *more = realloc(q->freed, cap * sizeof *more);
        if (!more)
            return 0;            /* a leak, which check repairs, is better than a failed write */
        q->freed = more;
        q->freed_cap = cap;
    }
    q->freed[q->freed_count++] = (struct qcow2_freed){first, count};
    return 0;
}

void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t clusters)
{
    (void)qcow2_refcount_add(q, offset >> q->cluster_bits, clusters, -1);
}

int qcow2_freed_apply(struct qcow2 *q)
{
    int rc = 0;

    for (size_t i = 0; i < q->freed_count; i++) {
        const struct qcow2_freed *f = &q->freed[i];
        int one = qcow2_refcount_add(q, f->cluster, f->count, -1);
        rc = rc ? rc : one;
        for (uint64_t c = f->cluster; !one && c < f->cluster + f->count; c++) {
            uint64_t count;
            one = qcow2_refcount(q, c, &count);
            if (one || count)
                continue;
            qcow2_cache_drop(q, &q->l2, c << q->cluster_bits);
            if (c == q->compressed_next >> q->cluster_bits)
                q->compressed_next = 0;
            if (q->discard_below && q->file->ops->discard)
                (void)q->file->ops->discard(q->file, c << q->cluster_bits, q->cluster_bytes);
        }
    }
    q->freed_count = 0;
    return rc;
}

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a_bytes && b_bytes && a < b + b_bytes && b < a + a_bytes;
}

bool qcow2_is_metadata(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    if (overlaps(offset, bytes, 0, q->cluster_bytes) ||
        overlaps(offset, bytes, q->h.l1_offset, q->l1_entries * 8ull) ||
        overlaps(offset, bytes, q->h.reftable_offset,
                 (uint64_t)q->h.reftable_clusters << q->cluster_bits) ||
        (q->snapshots &&
         overlaps(offset, bytes, q->h.snapshots_offset, q->snapshot_table_bytes)))
        return true;
    for (uint32_t i = 0; i < q->snapshots; i++)
        if (overlaps(offset, bytes, q->snapshot[i].l1_offset, q->snapshot[i].l1_entries * 8ull))
            return true;
    uint64_t at = align_down(offset, q->cluster_bytes);
    for (; at < offset + bytes; at += q->cluster_bytes)
        if (qcow2_cache_find(&q->l2, at) || qcow2_cache_find(&q->rb, at))
            return true;
    return false;
}
