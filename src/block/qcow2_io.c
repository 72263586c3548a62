/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_io.c - the guest's reads and writes on the tables.
 *
 * A write to what is not the guest's own yet takes clusters, fills them (with what was
 * there before around the new data) and only then turns the L2 entries to them. Clusters
 * past the file's end read as zeros by themselves; recycled ones are padded.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNCE_BYTES = 1 << 20 };
#define ALL_SUBCLUSTERS 0xffffffffull

/* ---- reading ---- */

static int read_behind(struct qcow2 *q, uint64_t offset, uint8_t *buf, uint64_t bytes)
{
    uint64_t have = 0;
    int rc = 0;

    if (q->backing && offset < q->backing->bytes) {
        have = min_u64(bytes, q->backing->bytes - offset);
        rc = q->backing->ops->read(q->backing, offset, buf, have);
    }
    memset(buf + have, 0, bytes - have);
    return rc;
}

static int read_packed(struct qcow2 *q, const struct qcow2_extent *e, uint64_t offset, uint8_t *buf)
{
    uint8_t *packed = malloc(e->packed_bytes + q->cluster_bytes);
    int rc = packed ? 0 : -ENOMEM;

    if (!rc)
        rc = qcow2_file_read(q, e->host, packed, e->packed_bytes);
    if (!rc)
        rc = qcow2_unpack(q, packed, e->packed_bytes, packed + e->packed_bytes);
    if (!rc)
        memcpy(buf, packed + e->packed_bytes + (offset & (q->cluster_bytes - 1)), e->bytes);
    free(packed);
    return rc;
}

int qcow2_read(struct qcow2 *q, uint64_t offset, void *buf, uint64_t bytes)
{
    uint8_t *to = buf;
    int rc = 0;

    /* The last cluster may reach past the disk's end (padding reads that far). */
    if (offset + bytes > q->h.bytes) {
        uint64_t inside = offset < q->h.bytes ? q->h.bytes - offset : 0;
        memset(to + inside, 0, bytes - inside);
        bytes = inside;
    }
    while (!rc && bytes) {
        struct qcow2_extent e;
        rc = qcow2_map(q, offset, bytes, &e);
        if (rc)
            break;
        if (e.kind == QCOW2_DATA)
            rc = qcow2_file_read(q, e.host, to, e.bytes);
        else if (e.kind == QCOW2_ZEROS)
            memset(to, 0, e.bytes);
        else if (e.kind == QCOW2_PACKED)
            rc = read_packed(q, &e, offset, to);
        else
            rc = read_behind(q, offset, to, e.bytes);
        offset += e.bytes;
        to += e.bytes;
        bytes -= e.bytes;
    }
    return rc;
}

/* True when the range reads as zeros without looking at data. */
static bool reads_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    if (offset + bytes > q->h.bytes)
        bytes = offset < q->h.bytes ? q->h.bytes - offset : 0;
    while (bytes) {
        struct qcow2_extent e;
        if (qcow2_map(q, offset, bytes, &e))
            return false;
        bool behind = q->backing && offset < q->backing->bytes;
        if (e.kind != QCOW2_ZEROS && (e.kind != QCOW2_UNALLOCATED || behind))
            return false;
        offset += e.bytes;
        bytes -= e.bytes;
    }
    return true;
}

/* ---- writing to new clusters ---- */

/* A write into clusters that are about to become the guest's. */
struct fill {
    uint64_t start, end;         /* guest's bytes with new data */
    uint64_t unit;               /* what must be complete: subcluster or cluster */
    uint64_t host;               /* of the cluster that holds `start` */
    bool fresh;                  /* never written: reads as zeros */
    bool reuse;                  /* the entry's own cluster */
};

/* Old contents around the new data, the parts of one unit. */
static int fill_pad(struct qcow2 *q, const struct fill *f, uint64_t host, uint64_t from,
                    uint64_t to)
{
    if (from == to || (f->fresh && reads_zero(q, from, to - from)))
        return 0;
    uint8_t *buf = malloc(to - from);
    int rc = buf ? qcow2_read(q, from, buf, to - from) : -ENOMEM;
    if (!rc)
        rc = qcow2_file_write(q, host, buf, to - from);
    free(buf);
    return rc;
}

static int fill_write(struct qcow2 *q, const struct fill *f, const uint8_t *data)
{
    uint64_t from = align_down(f->start, f->unit), to = align_up(f->end, f->unit);
    uint64_t base = f->host - align_down(f->start, q->cluster_bytes);
    bool head = f->start > from && !(f->fresh && reads_zero(q, from, f->start - from));
    bool tail = to > f->end && !(f->fresh && reads_zero(q, f->end, to - f->end));

    if (qcow2_is_metadata(q, base + from, to - from))
        return qcow2_corrupt(q, "guest data at %#llx lies on a table",
                             (unsigned long long)(base + from));
    if ((head || tail) && to - from <= BOUNCE_BYTES) {
        uint8_t *buf = malloc(to - from);
        int rc = buf ? qcow2_read(q, from, buf, f->start - from) : -ENOMEM;
        if (!rc)
            rc = qcow2_read(q, f->end, buf + (f->end - from), to - f->end);
        if (!rc) {
            memcpy(buf + (f->start - from), data, f->end - f->start);
            rc = qcow2_file_write(q, base + from, buf, to - from);
        }
        free(buf);
        return rc;
    }
    int rc = fill_pad(q, f, base + from, from, f->start);
    if (!rc)
        rc = qcow2_file_write(q, base + f->start, data, f->end - f->start);
    return rc ? rc : fill_pad(q, f, base + f->end, f->end, to);
}

/* The subclusters of the cluster at `cluster` that the fill completes. */
static uint64_t fill_bits(const struct qcow2 *q, const struct fill *f, uint64_t cluster)
{
    uint64_t from = max_u64(align_down(f->start, f->unit), cluster) - cluster;
    uint64_t to = min_u64(align_up(f->end, f->unit), cluster + q->cluster_bytes) - cluster;
    unsigned first = (unsigned)(from >> q->subcluster_bits);
    unsigned n = (unsigned)(to >> q->subcluster_bits) - first;

    return ((1ull << n) - 1) << first;
}

/* Turns the entries of [start, end) to the filled clusters. */
static int fill_commit(struct qcow2 *q, const struct fill *f)
{
    uint64_t host = f->host, cluster = align_down(f->start, q->cluster_bytes);
    struct qcow2_table *t;
    int rc = qcow2_l2_get(q, f->start, true, &t);

    for (; !rc && cluster < f->end; cluster += q->cluster_bytes, host += q->cluster_bytes) {
        unsigned i = qcow2_l2_index(q, cluster);
        struct qcow2_entry old = qcow2_l2_entry(q, t, i), e = {host | QCOW2_COPIED, 0};
        uint64_t old_host, old_bytes;
        if (q->l2_entry_bytes == 16) {
            uint64_t bits = fill_bits(q, f, cluster);
            e.bitmap = old.word & QCOW2_COMPRESSED ? 0 : old.bitmap;
            e.bitmap = (e.bitmap | bits) & ~(bits << 32);
        }
        rc = qcow2_entry_host(q, old, &old_host, &old_bytes);
        if (!rc)
            qcow2_l2_set(q, t, i, e);
        if (!rc && old_bytes && !f->reuse)
            rc = qcow2_free(q, old_host, old_bytes);
    }
    return rc;
}

/* Neighbouring clusters from `offset` on that all need a new place. */
static uint64_t run_length(struct qcow2 *q, const struct qcow2_table *t, uint64_t offset,
                           uint64_t bytes)
{
    uint64_t n = 1, clusters = qcow2_clusters(q, (offset & (q->cluster_bytes - 1)) + bytes);
    unsigned first = qcow2_l2_index(q, offset);

    clusters = min_u64(clusters, (1ull << q->l2_bits) - first);
    if (q->l2_entry_bytes == 16)
        return 1;
    while (n < clusters && !(qcow2_l2_entry(q, t, first + (unsigned)n).word & QCOW2_COPIED))
        n++;
    return n;
}

static int write_new(struct qcow2 *q, uint64_t offset, const uint8_t *data, uint64_t bytes,
                     uint64_t *done)
{
    struct fill f = {.start = offset, .unit = 1ull << q->subcluster_bits};
    uint64_t n, host, host_bytes;
    struct qcow2_table *t;
    int rc = qcow2_l2_get(q, offset, true, &t);

    if (rc)
        return rc;
    struct qcow2_entry old = qcow2_l2_entry(q, t, qcow2_l2_index(q, offset));
    if (qcow2_entry_host(q, old, &host, &host_bytes))
        return qcow2_corrupt(q, "the L2 entry of guest offset %#llx points nowhere",
                             (unsigned long long)offset);
    f.reuse = host_bytes && old.word & QCOW2_COPIED && !(old.word & QCOW2_COMPRESSED);
    if (f.reuse) {
        f.host = host;
        n = 1;
    } else {
        rc = qcow2_alloc(q, run_length(q, t, offset, bytes), &n, &f.host);
        if (rc)
            return rc;
        f.fresh = f.host >= q->file->bytes;
        if (host_bytes)
            f.unit = q->cluster_bytes;
    }
    f.end = min_u64(offset + bytes, align_down(offset, q->cluster_bytes) + n * q->cluster_bytes);
    rc = fill_write(q, &f, data);
    if (!rc)
        rc = fill_commit(q, &f);
    else if (!f.reuse)
        qcow2_unalloc(q, f.host, n);
    *done = f.end - offset;
    return rc;
}

int qcow2_write(struct qcow2 *q, uint64_t offset, const void *buf, uint64_t bytes)
{
    const uint8_t *data = buf;
    int rc = 0;

    while (!rc && bytes) {
        struct qcow2_extent e;
        uint64_t done = 0;
        rc = qcow2_map(q, offset, bytes, &e);
        if (!rc && e.in_place) {
            done = e.bytes;
            rc = qcow2_is_metadata(q, e.host, e.bytes)
                     ? qcow2_corrupt(q, "guest data at %#llx lies on a table",
                                     (unsigned long long)e.host)
                     : qcow2_file_write(q, e.host, data, e.bytes);
        } else if (!rc) {
            rc = write_new(q, offset, data, bytes, &done);
        }
        offset += done;
        data += done;
        bytes -= done;
    }
    return rc;
}

/* ---- zeros and holes ---- */

/* Writes zeros as data where the range does not read as zeros already. */
static int write_zero_data(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    int rc = 0;

    if (!bytes || reads_zero(q, offset, bytes))
        return 0;
    uint64_t chunk = min_u64(bytes, BOUNCE_BYTES);
    uint8_t *zeros = calloc(1, chunk);
    if (!zeros)
        return -ENOMEM;
    while (!rc && bytes) {
        uint64_t n = min_u64(bytes, chunk);
        rc = qcow2_write(q, offset, zeros, n);
        offset += n;
        bytes -= n;
    }
    free(zeros);
    return rc;
}

/* One whole cluster becomes a hole. zero: it must read as zeros, whatever is behind it;
 * keep: its place stays its own. */
static int punch(struct qcow2 *q, struct qcow2_table *t, unsigned i, bool zero, bool keep)
{
    struct qcow2_entry old = qcow2_l2_entry(q, t, i), e = {0, 0};
    uint64_t host, bytes;

    if (qcow2_entry_host(q, old, &host, &bytes))
        return qcow2_corrupt(q, "an L2 entry points nowhere");
    keep = keep && bytes && old.word & QCOW2_COPIED && !(old.word & QCOW2_COMPRESSED);
    if (keep)
        e.word = host | QCOW2_COPIED;
    if ((zero || keep) && q->l2_entry_bytes == 16)
        e.bitmap = ALL_SUBCLUSTERS << 32;
    else if (zero || keep)
        e.word |= QCOW2_ZERO;
    if (e.word == old.word && e.bitmap == old.bitmap)
        return 0;
    qcow2_l2_set(q, t, i, e);
    return bytes && !keep ? qcow2_free(q, host, bytes) : 0;
}

/* Punches whole clusters [from, to). */
static int punch_range(struct qcow2 *q, uint64_t from, uint64_t to, bool zero, bool keep)
{
    uint64_t table_bytes = 1ull << (q->cluster_bits + q->l2_bits);
    int rc = 0;

    while (!rc && from < to) {
        uint64_t end = min_u64(to, align_down(from, table_bytes) + table_bytes);
        struct qcow2_table *t;
        rc = qcow2_l2_get(q, from, false, &t);
        if (!rc && (t || zero))
            rc = qcow2_l2_get(q, from, true, &t);
        for (; !rc && t && from < end; from += q->cluster_bytes)
            rc = punch(q, t, qcow2_l2_index(q, from), zero, keep);
        from = end;
    }
    return rc;
}

/* The disk's last cluster counts as whole. */
static uint64_t whole_end(const struct qcow2 *q, uint64_t end)
{
    return end == q->h.bytes ? align_up(end, q->cluster_bytes) : align_down(end, q->cluster_bytes);
}

int qcow2_discard(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t from = align_up(offset, q->cluster_bytes), to = whole_end(q, offset + bytes);

    if (q->readonly)
        return -EROFS;
    /* Old data of the backing file must not come back; version 2 has no zero clusters. */
    if (from >= to || (q->backing && q->h.version < 3))
        return 0;
    return punch_range(q, from, to, q->backing != NULL, false);
}

/* Zeros within one cluster: by the subclusters' bits where that will do. */
static int zero_part(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t sub = 1ull << q->subcluster_bits, end = offset + bytes;
    uint64_t from = align_up(offset, sub), to = align_down(end, sub);
    struct qcow2_table *t;

    if (!bytes || q->l2_entry_bytes != 16 || from >= to)
        return write_zero_data(q, offset, bytes);
    int rc = qcow2_l2_get(q, offset, true, &t);
    if (rc)
        return rc;
    unsigned i = qcow2_l2_index(q, offset);
    struct qcow2_entry e = qcow2_l2_entry(q, t, i);
    if (e.word & QCOW2_COMPRESSED)
        return write_zero_data(q, offset, bytes);
    struct fill f = {.start = from, .end = to, .unit = sub};
    uint64_t bits = fill_bits(q, &f, align_down(from, q->cluster_bytes));
    e.bitmap = (e.bitmap & ~bits) | bits << 32;
    qcow2_l2_set(q, t, i, e);
    rc = write_zero_data(q, offset, from - offset);
    return rc ? rc : write_zero_data(q, to, end - to);
}

int qcow2_write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool may_unmap)
{
    uint64_t end = offset + bytes, from = align_up(offset, q->cluster_bytes);
    uint64_t to = whole_end(q, end);

    if (q->readonly)
        return -EROFS;
    if (from >= to) {                           /* inside one cluster or across one border */
        uint64_t border = min_u64(from, end);
        int rc = zero_part(q, offset, border - offset);
        return rc ? rc : zero_part(q, border, end - border);
    }
    int rc = zero_part(q, offset, from - offset);
    if (!rc && end > to)
        rc = zero_part(q, to, end - to);
    if (rc)
        return rc;
    if (q->h.version == 3)
        return punch_range(q, from, to, true, !may_unmap);
    if (!q->backing && may_unmap)
        return punch_range(q, from, to, false, false);
    return write_zero_data(q, from, min_u64(to, end) - from);
}

int qcow2_preallocate(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t at = align_down(offset, q->cluster_bytes), end = offset + bytes;
    int rc = 0;

    while (!rc && at < end) {
        struct qcow2_table *t;
        uint64_t host, n;
        rc = qcow2_l2_get(q, at, true, &t);
        if (rc)
            break;
        unsigned i = qcow2_l2_index(q, at);
        if (qcow2_l2_entry(q, t, i).word) {
            at += q->cluster_bytes;
            continue;
        }
        rc = qcow2_alloc(q, min_u64(run_length(q, t, at, end - at), 1u << 16), &n, &host);
        if (rc)
            break;
        if (host + n * q->cluster_bytes > q->file->bytes)
            rc = q->file->ops->truncate(q->file, host + n * q->cluster_bytes);
        if (rc) {
            qcow2_unalloc(q, host, n);
            break;
        }
        qcow2_file_grew(q, host + n * q->cluster_bytes);
        for (; n; n--, i++, host += q->cluster_bytes, at += q->cluster_bytes)
            qcow2_l2_set(q, t, i, (struct qcow2_entry){host | QCOW2_COPIED,
                         q->l2_entry_bytes == 16 ? ALL_SUBCLUSTERS : 0});
    }
    return rc;
}
