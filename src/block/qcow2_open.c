/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_open.c - from a file to an image in memory, and back at the end.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!q->corrupt_reason)
        q->corrupt_reason = strdup(text);
    if (q->readonly || q->broken || q->repairing)
        return -EIO;
    if (q->h.version == 3) {
        q->h.incompatible |= QCOW2_CORRUPT;
        (void)qcow2_header_write(q);
        (void)qcow2_file_flush(q);
    }
    pthread_mutex_lock(&q->map_lock);
    q->broken = true;
    pthread_mutex_unlock(&q->map_lock);
    return -EIO;
}

int qcow2_mark_dirty(struct qcow2 *q, bool dirty)
{
    uint64_t old = q->h.incompatible;

    if (q->h.version < 3 || q->readonly)
        return 0;
    q->h.incompatible = dirty ? old | QCOW2_DIRTY : old & ~(uint64_t)QCOW2_DIRTY;
    int rc = qcow2_header_write(q);
    if (!rc)
        rc = qcow2_file_flush(q);
    if (rc)
        q->h.incompatible = old;
    else
        q->dirty_marked = dirty;
    return rc;
}

static void geometry(struct qcow2 *q)
{
    q->cluster_bits = q->h.cluster_bits;
    q->cluster_bytes = 1ull << q->cluster_bits;
    q->l2_entry_bytes = q->h.incompatible & QCOW2_EXTENDED_L2 ? 16 : 8;
    q->l2_bits = q->cluster_bits - (q->l2_entry_bytes == 16 ? 4 : 3);
    q->subcluster_bits = q->cluster_bits - (q->l2_entry_bytes == 16 ? 5 : 0);
    q->refcount_bits = 1u << q->h.refcount_order;
    q->rb_bits = q->cluster_bits + 3 - q->h.refcount_order;
}

/* Tables that the header places must lie in the file and apart. */
static int check_places(const struct qcow2 *q, const char *name, struct error **err)
{
    const struct { const char *what; uint64_t at, bytes; } place[] = {
        {"header", 0, q->cluster_bytes},
        {"L1 table", q->h.l1_offset, q->h.l1_entries * 8ull},
        {"reference count table", q->h.reftable_offset,
         (uint64_t)q->h.reftable_clusters << q->cluster_bits},
        {"snapshot table", q->h.snapshots_offset, q->h.snapshots ? q->h.snapshots * 40ull : 0},
    };
    uint64_t end = align_up(q->file->bytes, q->cluster_bytes);

    for (size_t i = 0; i < ARRAY_SIZE(place); i++) {
        if (place[i].bytes && !range_inside(place[i].at, place[i].bytes, end))
            return error_set(err, EINVAL, "'%s' is not a sound qcow2 image: its %s lies outside "
                             "the file (at %#llx, the file has %#llx bytes)", name, place[i].what,
                             (unsigned long long)place[i].at,
                             (unsigned long long)q->file->bytes);
        for (size_t k = 0; k < i; k++)
            if (place[i].bytes && place[k].bytes && place[i].at < place[k].at + place[k].bytes &&
                place[k].at < place[i].at + place[i].bytes)
                return error_set(err, EINVAL, "'%s' is not a sound qcow2 image: its %s and its %s "
                                 "overlap", name, place[k].what, place[i].what);
    }
    unsigned span = q->cluster_bits + q->l2_bits;
    uint64_t needed = (q->h.bytes >> span) + ((q->h.bytes & ((1ull << span) - 1)) != 0);
    if (q->h.bytes > 1ull << 62 || needed > q->h.l1_entries)
        return error_set(err, EINVAL, "'%s' is not a sound qcow2 image: its L1 table is too short "
                         "for its size", name);
    return 0;
}

static int load_tables(struct qcow2 *q, const char *name, struct error **err)
{
    q->l1_entries = q->h.l1_entries;
    q->reftable_entries = (uint32_t)(((uint64_t)q->h.reftable_clusters << q->cluster_bits) / 8);
    q->l1 = calloc(q->l1_entries + 1ull, 8);
    q->reftable = calloc(q->reftable_entries, 8);
    int rc = q->l1 && q->reftable ? 0 : -ENOMEM;
    if (!rc)
        rc = qcow2_cache_init(&q->l2, q->cluster_bits, true);
    if (!rc)
        rc = qcow2_cache_init(&q->rb, q->cluster_bits, false);
    if (!rc)
        rc = qcow2_words_read(q, q->h.l1_offset, q->l1, q->l1_entries);
    if (!rc)
        rc = qcow2_words_read(q, q->h.reftable_offset, q->reftable, q->reftable_entries);
    for (uint32_t i = 0; !rc && i < q->reftable_entries; i++)
        q->reftable[i] &= ~0x1ffull;
    if (rc)
        return error_set(err, -rc, "cannot read the tables of '%s': %s", name, strerror(-rc));
    return qcow2_snapshots_load(q, name, err);
}

/* Counts may be wrong after a kill with lazy_refcounts: puts them right. */
static int repair_dirty(struct qcow2 *q, const char *name, struct error **err)
{
    struct qcow2_check_result result = {0};
    int rc = qcow2_check(q, QCOW2_REPAIR_ALL, &result);

    if (!rc && result.errors > result.errors_fixed)
        rc = -EIO;
    if (!rc)
        rc = qcow2_mark_dirty(q, false);
    if (!rc)
        return 0;
    error_set(err, -rc, "'%s' was not closed and cannot be repaired: %s", name,
              q->corrupt_reason ? q->corrupt_reason : strerror(-rc));
    error_hint(err, "look at it with ring3 image check");
    return rc;
}

static int prepare_to_write(struct qcow2 *q, const char *name, unsigned flags, struct error **err)
{
    if (flags & QCOW2_CHECKING)
        return 0;
    if (q->h.incompatible & QCOW2_CORRUPT) {
        error_set(err, EIO, "'%s' is marked corrupt and is not written to", name);
        error_hint(err, "repair it with ring3 image check --repair, or open it read-only");
        return -EIO;
    }
    if (q->h.incompatible & QCOW2_DIRTY)
        return repair_dirty(q, name, err);
    if (!q->h.autoclear)
        return 0;
    q->h.autoclear = 0;
    int rc = qcow2_header_write(q);
    if (!rc)
        rc = qcow2_file_flush(q);
    return rc ? error_set(err, -rc, "cannot write '%s': %s", name, strerror(-rc)) : 0;
}

static void release(struct qcow2 *q)
{
    qcow2_snapshots_free(q);
    qcow2_cache_fini(&q->l2);
    qcow2_cache_fini(&q->rb);
    free(q->l1);
    free(q->reftable);
    free(q->freed);
    free(q->corrupt_reason);
    qcow2_header_fini(&q->h);
    pthread_mutex_destroy(&q->map_lock);
    memset(q, 0, sizeof *q);
}

int qcow2_open(struct qcow2 *q, struct qcow2_file *file, const char *name, unsigned flags,
               struct error **err)
{
    memset(q, 0, sizeof *q);
    int rc = qcow2_header_read(file, name, &q->h, err);
    if (rc)
        return rc;
    pthread_mutex_init(&q->map_lock, NULL);
    q->file = file;
    q->readonly = flags & QCOW2_READONLY;
    geometry(q);
    rc = check_places(q, name, err);
    if (!rc)
        rc = load_tables(q, name, err);
    if (!rc && !q->readonly)
        rc = prepare_to_write(q, name, flags, err);
    if (rc)
        release(q);
    return rc;
}

/* Twice: what the first sync freed counts down in the second. */
int qcow2_close(struct qcow2 *q)
{
    int rc = 0;

    if (!q->readonly && !q->broken) {
        rc = qcow2_sync(q);
        bool lazy = q->dirty_marked;
        q->dirty_marked = false;                /* now the counts, too */
        if (!rc && (lazy || !qcow2_is_clean(q)))
            rc = qcow2_sync(q);
        if (!rc && lazy && !q->keep_dirty)
            rc = qcow2_mark_dirty(q, false);
    }
    release(q);
    return rc;
}
