/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_snapshot.c - taking, restoring and dropping internal snapshots.
 *
 * Counts and "count is one" flags of many clusters change together, which no order of
 * writes can hide: the image is marked dirty meanwhile (version 3), and whoever opens it
 * after a kill puts the counts right. Within that, flags fall before counts rise and
 * rise after counts fell, so that nothing shared is ever written in place.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

/* ---- walks over an L1 table ---- */

enum walk_what { ADD, SUBTRACT, CAN_ADD };

static int walk_clusters(struct qcow2 *q, enum walk_what what, uint64_t host, uint64_t bytes)
{
    uint64_t first = host >> q->cluster_bits, last = (host + bytes - 1) >> q->cluster_bits;

    if (what == SUBTRACT)
        return qcow2_free(q, host, bytes);
    for (; first <= last; first++) {
        uint64_t count;
        int rc = qcow2_refcount(q, first, &count);
        if (!rc && what == ADD)
            rc = qcow2_refcount_add(q, first, 1, 1);
        /* Several compressed clusters may share one: leave room for all that fit. */
        uint64_t max = q->refcount_bits == 64 ? UINT64_MAX : (1ull << q->refcount_bits) - 1;
        if (!rc && what == CAN_ADD && count > max / 2)
            rc = -ERANGE;
        if (rc)
            return rc;
    }
    return 0;
}

static int walk_table(struct qcow2 *q, enum walk_what what, uint64_t table)
{
    for (unsigned i = 0; i < 1u << q->l2_bits; i++) {
        struct qcow2_table *t;
        uint64_t host, bytes;
        int rc = qcow2_cache_get(q, &q->l2, table, false, &t);
        if (rc)
            return rc;
        if (qcow2_entry_host(q, qcow2_l2_entry(q, t, i), &host, &bytes))
            return qcow2_corrupt(q, "L2 entry %u of the table at %#llx points nowhere", i,
                                 (unsigned long long)table);
        rc = bytes ? walk_clusters(q, what, host, bytes) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static bool table_sound(const struct qcow2 *q, uint64_t at)
{
    return qcow2_cache_find(&q->l2, at) ||
           (!(at & (q->cluster_bytes - 1)) && at < align_up(q->file->bytes, q->cluster_bytes));
}

static int walk_l1(struct qcow2 *q, enum walk_what what, const uint64_t *l1, uint32_t entries)
{
    int rc = 0;

    for (uint32_t i = 0; !rc && i < entries; i++) {
        uint64_t at = l1[i] & QCOW2_OFFSET;
        if (!at)
            continue;
        if (!table_sound(q, at))
            return qcow2_corrupt(q, "L1 entry %u: no table can be at %#llx", i,
                                 (unsigned long long)at);
        rc = walk_table(q, what, at);
        if (!rc)
            rc = walk_clusters(q, what, at, q->cluster_bytes);
    }
    return rc;
}

/* Sets the active tables' flags from the counts, or clears them all. */
static int refresh_table(struct qcow2 *q, uint64_t at, bool clear)
{
    for (unsigned k = 0; k < 1u << q->l2_bits; k++) {
        struct qcow2_table *t;
        uint64_t count = 0;
        int rc = qcow2_cache_get(q, &q->l2, at, false, &t);
        if (rc)
            return rc;
        struct qcow2_entry e = qcow2_l2_entry(q, t, k);
        uint64_t host = e.word & QCOW2_OFFSET;
        if (e.word & QCOW2_COMPRESSED || !host)
            continue;
        if (!clear)
            rc = qcow2_refcount(q, host >> q->cluster_bits, &count);
        if (rc)
            return rc;
        uint64_t word = (e.word & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
        if (word == e.word)
            continue;
        e.word = word;
        qcow2_l2_set(q, t, k, e);
    }
    return 0;
}

static int refresh_flags(struct qcow2 *q, bool clear)
{
    for (uint32_t i = 0; i < q->l1_entries; i++) {
        uint64_t at = q->l1[i] & QCOW2_OFFSET, count = 0;
        if (!at)
            continue;
        int rc = table_sound(q, at) ? refresh_table(q, at, clear)
                                    : qcow2_corrupt(q, "L1 entry %u is no table's", i);
        if (!rc && !clear)
            rc = qcow2_refcount(q, at >> q->cluster_bits, &count);
        if (rc)
            return rc;
        uint64_t word = at | (count == 1 ? QCOW2_COPIED : 0);
        if (word != q->l1[i])
            qcow2_l1_set(q, i, word);
    }
    return qcow2_sync(q);
}

/* ---- the frame: dirty while it lasts ---- */

static int begin(struct qcow2 *q)
{
    if (q->readonly)
        return -EROFS;
    int rc = qcow2_sync(q);
    return rc ? rc : qcow2_mark_dirty(q, true);
}

/* Flags as the counts now are; then clean again, unless lazy counts keep it dirty. */
static int end(struct qcow2 *q, int rc)
{
    bool lazy = q->h.compatible & QCOW2_LAZY_REFCOUNTS;

    if (!rc)
        rc = qcow2_sync(q);
    if (!rc)
        rc = refresh_flags(q, false);
    if (rc) {
        q->keep_dirty = true;
        return rc;
    }
    return lazy ? 0 : qcow2_mark_dirty(q, false);
}

static int failed(int rc, const char *what, const char *name, struct qcow2 *q, struct error **err)
{
    if (!rc)
        return 0;
    if (rc == -ERANGE) {
        error_set(err, ERANGE, "cannot %s snapshot '%s': reference counts of %u bits are too "
                  "small", what, name, q->refcount_bits);
        error_hint(err, "convert the image with refcount_bits=16 or more");
        return rc;
    }
    return error_set(err, -rc, "cannot %s snapshot '%s': %s", what, name,
                     q->corrupt_reason ? q->corrupt_reason : strerror(-rc));
}

static int load_l1(struct qcow2 *q, const struct qcow2_snapshot *s, uint64_t **l1)
{
    uint64_t end = align_up(q->file->bytes, q->cluster_bytes);

    *l1 = NULL;
    if (!range_inside(s->l1_offset, s->l1_entries * 8ull, end))
        return qcow2_corrupt(q, "a snapshot's L1 table lies outside the file");
    *l1 = calloc(s->l1_entries + 1ull, 8);
    return *l1 ? qcow2_words_read(q, s->l1_offset, *l1, s->l1_entries) : -ENOMEM;
}

/* ---- create ---- */

static int fill_entry(struct qcow2 *q, struct qcow2_snapshot *s, const char *name)
{
    unsigned long id = 0;
    struct timespec now;
    char text[24];

    for (uint32_t i = 0; i < q->snapshots; i++) {
        unsigned long one = strtoul(q->snapshot[i].id, NULL, 10);
        id = one > id ? one : id;
    }
    snprintf(text, sizeof text, "%lu", id + 1);
    clock_gettime(CLOCK_REALTIME, &now);
    *s = (struct qcow2_snapshot){
        .l1_entries = q->l1_entries, .date_s = (uint32_t)now.tv_sec,
        .date_ns = (uint32_t)now.tv_nsec, .disk_bytes = q->h.bytes, .id = strdup(text),
        .name = strdup(name), .id_bytes = strlen(text), .name_bytes = strlen(name),
    };
    return s->id && s->name ? 0 : -ENOMEM;
}

static int create(struct qcow2 *q, const char *name)
{
    uint64_t l1_bytes = max_u64(q->l1_entries * 8ull, 8);
    struct qcow2_snapshot *all = realloc(q->snapshot, (q->snapshots + 1) * sizeof *all);

    if (!all)
        return -ENOMEM;
    q->snapshot = all;
    struct qcow2_snapshot s;
    int rc = fill_entry(q, &s, name);
    if (!rc)
        rc = refresh_flags(q, true);
    if (!rc)
        rc = walk_l1(q, ADD, q->l1, q->l1_entries);
    if (!rc)
        rc = qcow2_alloc(q, qcow2_clusters(q, l1_bytes), NULL, &s.l1_offset);
    if (!rc)
        rc = qcow2_words_write(q, s.l1_offset, q->l1, q->l1_entries);
    if (rc) {
        free(s.id);
        free(s.name);
        return rc;
    }
    q->snapshot[q->snapshots++] = s;
    return qcow2_snapshots_store(q);
}

int qcow2_snapshot_create(struct qcow2 *q, const char *name, struct error **err)
{
    if (!*name || strlen(name) > 1023)
        return error_set(err, EINVAL, "a snapshot's name has 1 to 1023 bytes");
    if (qcow2_snapshot_find(q, name) >= 0)
        return error_set(err, EEXIST, "there is a snapshot '%s' already", name);
    if (q->snapshots >= QCOW2_MAX_SNAPSHOTS)
        return error_set(err, ENOSPC, "the image has %u snapshots already", q->snapshots);
    int rc = walk_l1(q, CAN_ADD, q->l1, q->l1_entries);
    if (!rc)
        rc = begin(q);
    if (!rc)
        rc = end(q, create(q, name));
    return failed(rc, "take", name, q, err);
}

/* ---- apply ---- */

/* A new active L1 table with the snapshot's entries, named by one write of the header. */
static int switch_l1(struct qcow2 *q, const struct qcow2_snapshot *s, uint64_t *l1)
{
    uint64_t offset, old_offset = q->h.l1_offset;
    uint32_t old_entries = q->l1_entries;
    uint64_t *old = q->l1;
    int rc = qcow2_alloc(q, max_u64(qcow2_clusters(q, s->l1_entries * 8ull), 1), NULL, &offset);

    for (uint32_t i = 0; i < s->l1_entries; i++)
        l1[i] &= ~QCOW2_COPIED;
    if (!rc)
        rc = qcow2_words_write(q, offset, l1, s->l1_entries);
    if (!rc)
        rc = qcow2_sync(q);
    if (rc)
        return rc;
    q->h.l1_offset = offset;
    q->h.l1_entries = s->l1_entries;
    q->h.bytes = s->disk_bytes;
    rc = qcow2_header_write(q);
    if (!rc)
        rc = qcow2_file_flush(q);
    pthread_mutex_lock(&q->map_lock);
    q->l1 = l1;
    q->l1_entries = s->l1_entries;
    pthread_mutex_unlock(&q->map_lock);
    if (!rc)
        rc = walk_l1(q, SUBTRACT, old, old_entries);
    if (!rc)
        rc = qcow2_free(q, old_offset, max_u64(old_entries * 8ull, 1));
    free(old);
    return rc;
}

static int apply(struct qcow2 *q, const struct qcow2_snapshot *s)
{
    uint64_t span = 1ull << (q->cluster_bits + q->l2_bits), *l1;
    int rc = load_l1(q, s, &l1);

    if (!rc && s->disk_bytes > s->l1_entries * span)
        rc = qcow2_corrupt(q, "the snapshot's L1 table is too short for its disk");
    if (!rc)
        rc = walk_l1(q, CAN_ADD, l1, s->l1_entries);
    if (!rc)
        rc = begin(q);
    if (rc) {
        free(l1);
        return rc;
    }
    rc = walk_l1(q, ADD, l1, s->l1_entries);
    if (!rc)
        rc = switch_l1(q, s, l1);
    if (q->l1 != l1)
        free(l1);
    return end(q, rc);
}

int qcow2_snapshot_apply(struct qcow2 *q, const char *name, struct error **err)
{
    int i = qcow2_snapshot_find(q, name);

    if (i < 0)
        return error_set(err, ENOENT, "there is no snapshot '%s'", name);
    return failed(apply(q, &q->snapshot[i]), "apply", name, q, err);
}

/* ---- delete ---- */

int qcow2_snapshot_delete(struct qcow2 *q, const char *name, struct error **err)
{
    int i = qcow2_snapshot_find(q, name);
    uint64_t *l1 = NULL;

    if (i < 0)
        return error_set(err, ENOENT, "there is no snapshot '%s'", name);
    struct qcow2_snapshot s = q->snapshot[i];
    int rc = load_l1(q, &s, &l1);
    if (!rc)
        rc = begin(q);
    if (!rc) {
        q->snapshots--;
        memmove(&q->snapshot[i], &q->snapshot[i + 1],
                (q->snapshots - (unsigned)i) * sizeof *q->snapshot);
        rc = qcow2_snapshots_store(q);
        if (!rc)
            rc = walk_l1(q, SUBTRACT, l1, s.l1_entries);
        if (!rc)
            rc = qcow2_free(q, s.l1_offset, max_u64(s.l1_entries * 8ull, 1));
        rc = end(q, rc);
        free(s.extra);
        free(s.id);
        if (!rc)
            rc = failed(rc, "delete", s.name, q, err);
        else
            failed(rc, "delete", s.name, q, err);
        free(s.name);
    } else {
        failed(rc, "delete", name, q, err);
    }
    free(l1);
    return rc;
}
