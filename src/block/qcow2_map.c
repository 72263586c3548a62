/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_map.c - from the guest's offset to the file's, and back into the tables.
 *
 * "Cluster mapping" and "Extended L2 entries" of the specification. An entry is
 * checked each time it is used: a cached table may have come from a hostile file.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <string.h>

#include "base/byteorder.h"

struct qcow2_entry qcow2_l2_entry(const struct qcow2 *q, const struct qcow2_table *t, unsigned i)
{
    const uint8_t *p = t->data + (size_t)i * q->l2_entry_bytes;

    return (struct qcow2_entry){get_be64(p), q->l2_entry_bytes == 16 ? get_be64(p + 8) : 0};
}

void qcow2_l2_set(struct qcow2 *q, struct qcow2_table *t, unsigned i, struct qcow2_entry e)
{
    size_t at = (size_t)i * q->l2_entry_bytes;

    pthread_mutex_lock(&q->map_lock);
    put_be64(t->data + at, e.word);
    if (q->l2_entry_bytes == 16)
        put_be64(t->data + at + 8, e.bitmap);
    pthread_mutex_unlock(&q->map_lock);
    qcow2_cache_touch(&q->l2, t, at, q->l2_entry_bytes);
}

void qcow2_l1_set(struct qcow2 *q, uint32_t i, uint64_t word)
{
    pthread_mutex_lock(&q->map_lock);
    q->l1[i] = word;
    pthread_mutex_unlock(&q->map_lock);
    if (!q->l1_dirty_to)
        q->l1_dirty_from = i;
    q->l1_dirty_from = (uint32_t)min_u64(q->l1_dirty_from, i);
    q->l1_dirty_to = (uint32_t)max_u64(q->l1_dirty_to, i + 1);
}

/* A whole cluster of the file, and not one that belongs to the tables. A cluster that was
 * taken and not written yet may lie past the end: those are counted in memory. */
static bool sound(const struct qcow2 *q, uint64_t offset)
{
    return !(offset & (q->cluster_bytes - 1)) && offset &&
           offset < align_up(qcow2_file_bytes(q), q->cluster_bytes);
}

int qcow2_entry_host(const struct qcow2 *q, struct qcow2_entry e, uint64_t *host, uint64_t *bytes)
{
    *bytes = 0;
    if (e.word & QCOW2_COMPRESSED) {
        unsigned x = 62 - (q->cluster_bits - 8);
        *host = e.word & ((1ull << x) - 1) & ((1ull << 56) - 1);
        uint64_t sectors = (e.word & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> x;
        *bytes = (sectors + 1) * 512 - (*host & 511);
        return *host < qcow2_file_bytes(q) && *host >= q->cluster_bytes ? 0 : -EIO;
    }
    *host = e.word & QCOW2_OFFSET;
    if (!*host)
        return e.word & QCOW2_COPIED ? -EIO : 0;
    *bytes = q->cluster_bytes;
    return sound(q, *host) ? 0 : -EIO;
}

/* ---- reading ---- */

static enum qcow2_kind kind_of(const struct qcow2 *q, struct qcow2_entry e, unsigned sub)
{
    if (e.word & QCOW2_COMPRESSED)
        return QCOW2_PACKED;
    if (q->l2_entry_bytes == 16) {
        if (e.bitmap >> (32 + sub) & 1)
            return QCOW2_ZEROS;
        return e.bitmap >> sub & 1 ? QCOW2_DATA : QCOW2_UNALLOCATED;
    }
    if (e.word & QCOW2_ZERO && q->h.version == 3)
        return QCOW2_ZEROS;
    return e.word & QCOW2_OFFSET ? QCOW2_DATA : QCOW2_UNALLOCATED;
}

static bool entry_sound(const struct qcow2 *q, struct qcow2_entry e)
{
    uint64_t host, bytes;

    if (qcow2_entry_host(q, e, &host, &bytes))
        return false;
    if (q->l2_entry_bytes != 16 || e.word & QCOW2_COMPRESSED)
        return true;
    return !((uint32_t)e.bitmap & e.bitmap >> 32) && (bytes || !(uint32_t)e.bitmap);
}

static void extent_first(const struct qcow2 *q, struct qcow2_entry e, uint64_t offset,
                         uint64_t bytes, struct qcow2_extent *out)
{
    uint64_t in_cluster = offset & (q->cluster_bytes - 1), sub_bytes = 1ull << q->subcluster_bits;
    uint64_t host, host_bytes;

    (void)qcow2_entry_host(q, e, &host, &host_bytes);
    out->kind = kind_of(q, e, (unsigned)(in_cluster >> q->subcluster_bits));
    out->in_place = out->kind == QCOW2_DATA && e.word & QCOW2_COPIED;
    out->bytes = (out->kind == QCOW2_PACKED ? q->cluster_bytes : sub_bytes) -
                 (in_cluster & (out->kind == QCOW2_PACKED ? ~0ull : sub_bytes - 1));
    out->bytes = min_u64(out->bytes, bytes);
    out->host = out->kind == QCOW2_DATA ? host + in_cluster : host;
    out->packed_bytes = out->kind == QCOW2_PACKED ? (uint32_t)host_bytes : 0;
}

/* Extends over neighbours of the same kind in the same table. False: a bad entry. */
static bool extent_of(const struct qcow2 *q, const struct qcow2_table *t, uint64_t offset,
                      uint64_t bytes, struct qcow2_extent *out)
{
    uint64_t table_bytes = 1ull << (q->cluster_bits + q->l2_bits);

    bytes = min_u64(bytes, table_bytes - (offset & (table_bytes - 1)));
    struct qcow2_entry e = qcow2_l2_entry(q, t, qcow2_l2_index(q, offset));
    if (!entry_sound(q, e))
        return false;
    extent_first(q, e, offset, bytes, out);
    while (out->kind != QCOW2_PACKED && out->bytes < bytes) {
        struct qcow2_extent next;
        uint64_t at = offset + out->bytes;
        e = qcow2_l2_entry(q, t, qcow2_l2_index(q, at));
        if (!entry_sound(q, e))
            break;
        extent_first(q, e, at, bytes - out->bytes, &next);
        if (next.kind != out->kind || next.in_place != out->in_place ||
            (next.kind == QCOW2_DATA && next.host != out->host + out->bytes))
            break;
        out->bytes += next.bytes;
    }
    return true;
}

static void extent_without_table(const struct qcow2 *q, uint64_t offset, uint64_t bytes,
                                 struct qcow2_extent *out)
{
    uint64_t table_bytes = 1ull << (q->cluster_bits + q->l2_bits);

    *out = (struct qcow2_extent){.kind = QCOW2_UNALLOCATED,
        .bytes = min_u64(bytes, table_bytes - (offset & (table_bytes - 1)))};
}

int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *out)
{
    struct qcow2_table *t;
    int rc = qcow2_l2_get(q, offset, false, &t);

    if (rc)
        return rc;
    if (!t)
        extent_without_table(q, offset, bytes, out);
    else if (!extent_of(q, t, offset, bytes, out))
        return qcow2_corrupt(q, "the L2 entry of guest offset %#llx points nowhere",
                             (unsigned long long)offset);
    return 0;
}

int qcow2_map_cached(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *out)
{
    uint64_t i = qcow2_l1_index(q, offset);
    int rc = -EAGAIN;

    pthread_mutex_lock(&q->map_lock);
    uint64_t word = i < q->l1_entries ? q->l1[i] & QCOW2_OFFSET : 0;
    struct qcow2_table *t = word ? qcow2_cache_find(&q->l2, word) : NULL;
    if (!word) {
        extent_without_table(q, offset, bytes, out);
        rc = 0;
    } else if (t && extent_of(q, t, offset, bytes, out)) {
        /* Suspicious ones are for the slow path, which says so. */
        rc = q->broken || (out->kind == QCOW2_DATA &&
                           qcow2_is_metadata(q, out->host, out->bytes)) ? -EAGAIN : 0;
    }
    pthread_mutex_unlock(&q->map_lock);
    return rc;
}

/* ---- tables ---- */

/* A new L2 table: empty, or a copy of the one at `old`, which loses a reference. */
static int l2_new(struct qcow2 *q, uint32_t i, uint64_t old, struct qcow2_table **out)
{
    struct qcow2_table *from = NULL, *t;
    uint64_t offset;
    int rc = qcow2_alloc(q, 1, NULL, &offset);

    if (rc)
        return rc;
    rc = qcow2_cache_get(q, &q->l2, offset, true, &t);
    if (!rc && old) {
        /* The cache holds 16 tables or more and takes the least recent: `t` stays. */
        rc = qcow2_cache_get(q, &q->l2, old, false, &from);
        if (!rc) {
            pthread_mutex_lock(&q->map_lock);
            memcpy(t->data, from->data, q->cluster_bytes);
            pthread_mutex_unlock(&q->map_lock);
            qcow2_cache_touch(&q->l2, t, 0, q->cluster_bytes);
        }
        if (rc)
            qcow2_cache_drop(q, &q->l2, offset);
    }
    if (rc) {
        qcow2_unalloc(q, offset, 1);
        return rc;
    }
    qcow2_l1_set(q, i, offset | QCOW2_COPIED);
    if (old)
        rc = qcow2_free(q, old, q->cluster_bytes);
    *out = t;
    return rc;
}

int qcow2_l2_get(struct qcow2 *q, uint64_t offset, bool write, struct qcow2_table **out)
{
    uint64_t i = qcow2_l1_index(q, offset);

    *out = NULL;
    if (i >= q->l1_entries)
        return write ? -EIO : 0;
    uint64_t word = q->l1[i], at = word & QCOW2_OFFSET;
    if (!at)
        return write ? l2_new(q, (uint32_t)i, 0, out) : 0;
    if (!qcow2_cache_find(&q->l2, at) && (!sound(q, at) || qcow2_is_metadata(q, at, 1)))
        return qcow2_corrupt(q, "the L2 table of guest offset %#llx cannot be at %#llx",
                             (unsigned long long)offset, (unsigned long long)at);
    if (write && !(word & QCOW2_COPIED))
        return l2_new(q, (uint32_t)i, at, out);
    return qcow2_cache_get(q, &q->l2, at, false, out);
}
