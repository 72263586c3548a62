/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_snapshot_table.c - the directory of internal snapshots.
 *
 * "Snapshots" of the specification. Unknown extra data is kept. A changed table goes to
 * a new place, and one write of the header turns to it.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"

enum { ENTRY_BYTES = 40, MAX_EXTRA = 1024, EXTRA_KNOWN = 16 };

static void snapshot_fini(struct qcow2_snapshot *s)
{
    free(s->extra);
    free(s->id);
    free(s->name);
    memset(s, 0, sizeof *s);
}

void qcow2_snapshots_free(struct qcow2 *q)
{
    for (uint32_t i = 0; q->snapshot && i < q->snapshots; i++)
        snapshot_fini(&q->snapshot[i]);
    free(q->snapshot);
    q->snapshot = NULL;
    q->snapshots = 0;
}

static void *copy(const uint8_t *from, size_t bytes)
{
    uint8_t *p = calloc(1, bytes + 1);

    if (p && bytes)
        memcpy(p, from, bytes);
    return p;
}

/* One entry at `at`; its length goes to *used. */
static int load_one(struct qcow2 *q, uint64_t at, struct qcow2_snapshot *s, uint64_t *used)
{
    uint8_t e[ENTRY_BYTES], *rest;
    int rc = qcow2_file_read(q, at, e, sizeof e);

    if (rc)
        return rc;
    s->l1_offset = get_be64(e);
    s->l1_entries = get_be32(e + 8);
    s->id_bytes = get_be16(e + 12);
    s->name_bytes = get_be16(e + 14);
    s->date_s = get_be32(e + 16);
    s->date_ns = get_be32(e + 20);
    s->vm_clock_ns = get_be64(e + 24);
    s->vm_state_bytes = get_be32(e + 32);
    s->extra_bytes = get_be32(e + 36);
    s->disk_bytes = q->h.bytes;
    if (s->extra_bytes > MAX_EXTRA || s->l1_entries > QCOW2_MAX_L1_BYTES / 8 ||
        s->l1_offset & (q->cluster_bytes - 1))
        return -EINVAL;
    size_t bytes = s->extra_bytes + s->id_bytes + s->name_bytes;
    rest = malloc(bytes + 1);
    rc = rest ? qcow2_file_read(q, at + ENTRY_BYTES, rest, bytes) : -ENOMEM;
    if (!rc) {
        s->extra = copy(rest, s->extra_bytes);
        s->id = copy(rest + s->extra_bytes, s->id_bytes);
        s->name = copy(rest + s->extra_bytes + s->id_bytes, s->name_bytes);
        rc = s->extra && s->id && s->name ? 0 : -ENOMEM;
    }
    if (!rc && s->extra_bytes >= 8)
        s->vm_state_bytes = get_be64(rest);
    if (!rc && s->extra_bytes >= EXTRA_KNOWN)
        s->disk_bytes = get_be64(rest + 8);
    free(rest);
    *used = align_up(ENTRY_BYTES + bytes, 8);
    return rc;
}

int qcow2_snapshots_load(struct qcow2 *q, const char *name, struct error **err)
{
    uint64_t at = q->h.snapshots_offset;
    int rc = 0;

    if (!q->h.snapshots)
        return 0;
    q->snapshot = calloc(q->h.snapshots, sizeof *q->snapshot);
    if (!q->snapshot)
        return error_set(err, ENOMEM, "cannot read the snapshots of '%s'", name);
    for (; !rc && q->snapshots < q->h.snapshots; q->snapshots++) {
        uint64_t used = 0;
        rc = load_one(q, at, &q->snapshot[q->snapshots], &used);
        at += used;
        if (!rc && at - q->h.snapshots_offset > QCOW2_MAX_SNAPSHOT_BYTES)
            rc = -EINVAL;
        if (!rc && at > align_up(q->file->bytes, q->cluster_bytes))
            rc = -EINVAL;
    }
    q->snapshot_table_bytes = at - q->h.snapshots_offset;
    return rc ? error_set(err, -rc, "'%s' is not a sound qcow2 image: snapshot %u of %u makes no "
                          "sense", name, q->snapshots, q->h.snapshots) : 0;
}

/* ---- writing ---- */

static uint64_t entry_bytes(const struct qcow2_snapshot *s)
{
    return align_up(ENTRY_BYTES + max_u64(s->extra_bytes, EXTRA_KNOWN) + s->id_bytes +
                    s->name_bytes, 8);
}

static void put_entry(const struct qcow2_snapshot *s, uint8_t *e)
{
    uint32_t extra = (uint32_t)max_u64(s->extra_bytes, EXTRA_KNOWN);

    put_be64(e, s->l1_offset);
    put_be32(e + 8, s->l1_entries);
    put_be16(e + 12, (uint16_t)s->id_bytes);
    put_be16(e + 14, (uint16_t)s->name_bytes);
    put_be32(e + 16, s->date_s);
    put_be32(e + 20, s->date_ns);
    put_be64(e + 24, s->vm_clock_ns);
    put_be32(e + 32, (uint32_t)min_u64(s->vm_state_bytes, UINT32_MAX));
    put_be32(e + 36, extra);
    if (s->extra_bytes)
        memcpy(e + ENTRY_BYTES, s->extra, s->extra_bytes);
    put_be64(e + ENTRY_BYTES, s->vm_state_bytes);
    put_be64(e + ENTRY_BYTES + 8, s->disk_bytes);
    memcpy(e + ENTRY_BYTES + extra, s->id, s->id_bytes);
    memcpy(e + ENTRY_BYTES + extra + s->id_bytes, s->name, s->name_bytes);
}

int qcow2_snapshots_store(struct qcow2 *q)
{
    uint64_t bytes = 0, offset = 0, at = 0, old = q->h.snapshots_offset;
    uint64_t old_bytes = q->h.snapshots ? q->snapshot_table_bytes : 0;
    int rc = 0;

    for (uint32_t i = 0; i < q->snapshots; i++)
        bytes += entry_bytes(&q->snapshot[i]);
    uint8_t *table = calloc(1, bytes + 1);
    if (!table)
        return -ENOMEM;
    for (uint32_t i = 0; i < q->snapshots; at += entry_bytes(&q->snapshot[i]), i++)
        put_entry(&q->snapshot[i], table + at);
    if (bytes)
        rc = qcow2_alloc(q, qcow2_clusters(q, bytes), NULL, &offset);
    if (!rc && bytes)
        rc = qcow2_file_write(q, offset, table, bytes);
    free(table);
    if (!rc)
        rc = qcow2_sync(q);
    if (rc)
        return rc;
    q->h.snapshots = q->snapshots;
    q->h.snapshots_offset = offset;
    rc = qcow2_header_write(q);
    if (!rc)
        rc = qcow2_file_flush(q);
    q->snapshot_table_bytes = bytes;
    return !rc && old_bytes ? qcow2_free(q, old, old_bytes) : rc;
}

int qcow2_snapshot_find(const struct qcow2 *q, const char *name)
{
    for (uint32_t i = 0; i < q->snapshots; i++)
        if (!strcmp(q->snapshot[i].id, name))
            return (int)i;
    for (uint32_t i = 0; i < q->snapshots; i++)
        if (!strcmp(q->snapshot[i].name, name))
            return (int)i;
    return -1;
}

void qcow2_snapshot_list(const struct qcow2 *q, struct strbuf *out)
{
    strbuf_addf(out, "%-6s %-24s %20s  %s\n", "id", "name", "disk bytes", "date");
    for (uint32_t i = 0; i < q->snapshots; i++) {
        const struct qcow2_snapshot *s = &q->snapshot[i];
        time_t date = s->date_s;
        char text[32];
        struct tm tm;
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", localtime_r(&date, &tm));
        strbuf_addf(out, "%-6s %-24s %20llu  %s\n", s->id, s->name,
                    (unsigned long long)s->disk_bytes, text);
    }
}
