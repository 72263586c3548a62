/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_resize.c - a bigger or smaller disk, another backing file.
 *
 * The header's size changes last when the disk grows and first of all lies the table
 * that can hold it; when it shrinks, what is cut off is freed after the header says so.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int publish(struct qcow2 *q)
{
    int rc = qcow2_header_write(q);

    return rc ? rc : qcow2_file_flush(q);
}

/* Moves the L1 table to where it has room for `entries`. */
static int l1_grow(struct qcow2 *q, uint32_t entries)
{
    uint64_t offset, old_offset = q->h.l1_offset;
    uint32_t old_entries = q->l1_entries;
    uint64_t *l1 = calloc(entries, 8);
    int rc = l1 ? qcow2_alloc(q, qcow2_clusters(q, entries * 8ull), NULL, &offset) : -ENOMEM;

    if (!rc)
        rc = qcow2_sync(q);
    if (!rc) {
        memcpy(l1, q->l1, old_entries * 8ull);
        rc = qcow2_words_write(q, offset, l1, entries);
    }
    if (!rc)
        rc = qcow2_file_flush(q);
    if (rc) {
        free(l1);
        return rc;
    }
    q->h.l1_offset = offset;
    q->h.l1_entries = entries;
    rc = publish(q);
    if (rc) {
        q->h.l1_offset = old_offset;
        q->h.l1_entries = old_entries;
        free(l1);
        return rc;
    }
    pthread_mutex_lock(&q->map_lock);
    free(q->l1);
    q->l1 = l1;
    q->l1_entries = entries;
    pthread_mutex_unlock(&q->map_lock);
    return qcow2_free(q, old_offset, max_u64(old_entries * 8ull, 1));
}

/* Zeros [from, to) at the new end: what a shrink left there, and the backing file's. */
static int clear_tail(struct qcow2 *q, uint64_t from, uint64_t to)
{
    uint64_t partial = min_u64(to, align_up(from, q->cluster_bytes));
    uint64_t behind = q->backing ? min_u64(to, q->backing->bytes) : 0;
    int rc = 0;

    if (from < partial)
        rc = qcow2_write_zeroes(q, from, partial - from, false);
    if (!rc && partial < behind)
        rc = qcow2_write_zeroes(q, partial, behind - partial, true);
    return rc ? rc : qcow2_sync(q);
}

static int grow(struct qcow2 *q, uint64_t bytes)
{
    unsigned span = q->cluster_bits + q->l2_bits;
    uint64_t entries = (bytes >> span) + ((bytes & ((1ull << span) - 1)) != 0);
    uint64_t old = q->h.bytes;
    int rc = 0;

    if (bytes > 1ull << 62 || entries > QCOW2_MAX_L1_BYTES / 8)
        return -EFBIG;
    if (entries > q->l1_entries)
        rc = l1_grow(q, (uint32_t)entries);
    if (rc)
        return rc;
    q->h.bytes = bytes;                         /* in memory: the tail is part of the disk */
    rc = clear_tail(q, old, bytes);
    if (!rc)
        rc = publish(q);
    if (rc)
        q->h.bytes = old;
    return rc;
}

static int shrink(struct qcow2 *q, uint64_t bytes)
{
    uint64_t old = q->h.bytes, from = align_up(bytes, q->cluster_bytes);

    q->h.bytes = bytes;
    int rc = qcow2_sync(q);
    if (!rc)
        rc = publish(q);
    if (rc) {
        q->h.bytes = old;
        return rc;
    }
    /* Freed even if a backing file shows through: growing again writes zeros there. */
    struct qcow2_file *backing = q->backing;
    q->backing = NULL;
    q->h.bytes = old;
    if (from < old)
        rc = qcow2_discard(q, from, old - from);
    q->h.bytes = bytes;
    q->backing = backing;
    return rc ? rc : qcow2_sync(q);
}

int qcow2_resize(struct qcow2 *q, uint64_t bytes, struct error **err)
{
    int rc = 0;

    if (q->readonly)
        return error_set(err, EROFS, "cannot resize: the image is open read-only");
    if (q->snapshots && q->h.version < 3)
        return error_set(err, ENOTSUP, "cannot resize: version 2 images with snapshots keep their "
                         "size");
    if (bytes > q->h.bytes)
        rc = grow(q, bytes);
    else if (bytes < q->h.bytes)
        rc = shrink(q, bytes);
    return rc ? error_set(err, -rc, "cannot resize to %llu bytes: %s", (unsigned long long)bytes,
                          q->corrupt_reason ? q->corrupt_reason : strerror(-rc)) : 0;
}

int qcow2_set_backing(struct qcow2 *q, const char *backing, const char *format,
                      struct error **err)
{
    char *old = q->h.backing, *old_format = q->h.backing_format;

    if (backing && strlen(backing) > QCOW2_MAX_BACKING_NAME)
        return error_set(err, EINVAL, "the backing file's name has more than 1023 bytes");
    q->h.backing = backing ? strdup(backing) : NULL;
    q->h.backing_format = backing && format ? strdup(format) : NULL;
    int rc = qcow2_sync(q);
    if (!rc)
        rc = publish(q);
    if (rc) {
        free(q->h.backing);
        free(q->h.backing_format);
        q->h.backing = old;
        q->h.backing_format = old_format;
        return error_set(err, -rc, "cannot change the backing file: %s", strerror(-rc));
    }
    free(old);
    free(old_format);
    return 0;
}
