/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_check.c - does every cluster have the count that the tables say?
 *
 * Walks all that refers to clusters (header, count table and blocks, active and
 * snapshots' L1 and L2 tables, snapshot table, bitmaps) and compares. A count that is
 * too high is a leak; one that is too low, a flag that lies, a pointer out of the file
 * is an error. Memory is a 32-bit count per cluster, touched where it is needed.
 *
 * Repairs in this order, so that a kill in between leaves less wrong than there was:
 * bad entries cleared, counts raised, flags, then counts lowered. Count blocks that are
 * no blocks make a whole new set of counts, which the header names when it is complete.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/byteorder.h"
#include "base/strbuf.h"

enum { MAX_LINES = 100 };
#define MAX_CLUSTERS (1ull << 28)

struct walk {
    struct qcow2 *q;
    enum qcow2_repair repair;
    struct qcow2_check_result *r;
    uint32_t *refs;
    uint64_t clusters;           /* of the file: refs[] has so many */
    bool rebuild;                /* the counts' own tables are broken */
    unsigned lines;
};

static void PRINTF_LIKE(2, 3) say(struct walk *w, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    if (!w->r->report || w->lines++ >= MAX_LINES)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    strbuf_addf(w->r->report, "%s\n", text);
}

/* Counts a reference to [offset, offset + bytes). False, and an error: outside the file. */
static bool refer(struct walk *w, const char *what, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> w->q->cluster_bits;

    if (!bytes)
        return true;
    uint64_t last = (offset + bytes - 1) >> w->q->cluster_bits;
    if (offset + bytes < offset || last >= w->clusters) {
        w->r->errors++;
        say(w, "error: %s at %#llx lies outside the file", what, (unsigned long long)offset);
        return false;
    }
    for (uint64_t c = first; c <= last; c++)
        if (w->refs[c] < UINT32_MAX)
            w->refs[c]++;
    w->r->image_end = max_u64(w->r->image_end, (last + 1) << w->q->cluster_bits);
    return true;
}

static void fixed(struct walk *w, int rc)
{
    if (!rc && w->repair == QCOW2_REPAIR_ALL)
        w->r->errors_fixed++;
}

/* ---- the walk ---- */

static void count_kind(struct walk *w, struct qcow2_entry e, bool active)
{
    if (!active)
        return;
    w->r->allocated += (e.word & (QCOW2_COMPRESSED | QCOW2_OFFSET)) != 0;
    w->r->packed += (e.word & QCOW2_COMPRESSED) != 0;
}

static bool bits_sound(const struct qcow2 *q, struct qcow2_entry e, uint64_t bytes)
{
    return q->l2_entry_bytes != 16 || e.word & QCOW2_COMPRESSED ||
           (!((uint32_t)e.bitmap & e.bitmap >> 32) && (bytes || !(uint32_t)e.bitmap));
}

static int walk_l2(struct walk *w, uint64_t table, bool active)
{
    struct qcow2 *q = w->q;

    for (unsigned i = 0; i < 1u << q->l2_bits; i++) {
        struct qcow2_table *t;
        uint64_t host, bytes;
        int rc = qcow2_cache_get(q, &q->l2, table, false, &t);
        if (rc)
            return rc;
        struct qcow2_entry e = qcow2_l2_entry(q, t, i);
        if (!e.word && !e.bitmap)
            continue;
        count_kind(w, e, active);
        bool bad = qcow2_entry_host(q, e, &host, &bytes) || !bits_sound(q, e, bytes);
        if (bad) {
            w->r->errors++;
            say(w, "error: L2 entry %u of the table at %#llx points nowhere (%#llx)", i,
                (unsigned long long)table, (unsigned long long)e.word);
        } else {
            bad = !refer(w, "a guest cluster", host, bytes);
        }
        if (bad && w->repair == QCOW2_REPAIR_ALL) {
            qcow2_l2_set(q, t, i, (struct qcow2_entry){0, 0});
            fixed(w, 0);
        }
    }
    return 0;
}

static int walk_l1(struct walk *w, uint64_t offset, uint64_t *l1, uint32_t entries, bool active)
{
    struct qcow2 *q = w->q;

    if (!refer(w, "an L1 table", offset, entries * 8ull))
        return 0;
    uint64_t tables = 0;
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t at = l1[i] & QCOW2_OFFSET;
        if (!at)
            continue;
        /* Tables that are named many times would be walked for ever. */
        if (++tables > w->clusters) {
            w->r->errors++;
            say(w, "error: the L1 table at %#llx names tables twice", (unsigned long long)offset);
            return 0;
        }
        bool sound = !(at & (q->cluster_bytes - 1));
        if (!sound) {
            w->r->errors++;
            say(w, "error: L1 entry %u: no table can be at %#llx", i, (unsigned long long)at);
        }
        if (sound && refer(w, "an L2 table", at, q->cluster_bytes)) {
            int rc = walk_l2(w, at, active);
            if (rc)
                return rc;
        } else if (active && w->repair == QCOW2_REPAIR_ALL) {
            qcow2_l1_set(q, i, 0);
            fixed(w, 0);
        }
    }
    return 0;
}

static int walk_snapshot(struct walk *w, const struct qcow2_snapshot *s)
{
    uint64_t *l1 = NULL;
    int rc = 0;

    if (range_inside(s->l1_offset, s->l1_entries * 8ull, w->clusters << w->q->cluster_bits)) {
        l1 = calloc(s->l1_entries + 1ull, 8);
        rc = l1 ? qcow2_words_read(w->q, s->l1_offset, l1, s->l1_entries) : -ENOMEM;
    }
    if (!rc)
        rc = walk_l1(w, s->l1_offset, l1, s->l1_entries, false);
    free(l1);
    return rc;
}

/* Bitmaps' clusters ("Bitmap directory", "Bitmap table"). */
static int walk_bitmaps(struct walk *w)
{
    struct qcow2 *q = w->q;
    uint64_t bytes = q->h.bitmaps_bytes, at = 0;
    int rc = 0;

    if (!q->h.bitmaps || !refer(w, "the bitmap directory", q->h.bitmaps_offset, bytes) ||
        bytes > QCOW2_MAX_SNAPSHOT_BYTES)
        return 0;
    uint8_t *dir = malloc(bytes + 1);
    rc = dir ? qcow2_file_read(q, q->h.bitmaps_offset, dir, bytes) : -ENOMEM;
    for (uint32_t n = 0; !rc && n < q->h.bitmaps && at + 24 <= bytes; n++) {
        uint64_t table = get_be64(dir + at), entries = get_be32(dir + at + 8);
        at += align_up(24ull + get_be16(dir + at + 18) + get_be32(dir + at + 20), 8);
        if (!refer(w, "a bitmap table", table, entries * 8))
            continue;
        uint64_t *words = calloc(entries + 1, 8);
        rc = words ? qcow2_words_read(q, table, words, entries) : -ENOMEM;
        for (uint64_t i = 0; !rc && i < entries; i++)
            if (words[i] & QCOW2_OFFSET)
                refer(w, "a bitmap's cluster", words[i] & QCOW2_OFFSET, q->cluster_bytes);
        free(words);
    }
    free(dir);
    return rc;
}

static void walk_counts(struct walk *w)
{
    struct qcow2 *q = w->q;

    refer(w, "the reference count table", q->h.reftable_offset,
          (uint64_t)q->h.reftable_clusters << q->cluster_bits);
    for (uint32_t i = 0; i < q->reftable_entries; i++) {
        uint64_t at = q->reftable[i];
        if (!at)
            continue;
        if (at & (q->cluster_bytes - 1)) {
            w->r->errors++;
            say(w, "error: no reference count block can be at %#llx", (unsigned long long)at);
            w->rebuild = true;
        } else if (!refer(w, "a reference count block", at, q->cluster_bytes) ||
                   w->refs[at >> q->cluster_bits] > 1) {
            say(w, "error: the reference count block at %#llx is something else, too",
                (unsigned long long)at);
            w->r->errors += w->refs[min_u64(at >> q->cluster_bits, w->clusters - 1)] > 1;
            w->rebuild = true;
        }
    }
}

static int walk_all(struct walk *w)
{
    struct qcow2 *q = w->q;

    refer(w, "the header", 0, q->cluster_bytes);
    int rc = walk_l1(w, q->h.l1_offset, q->l1, q->l1_entries, true);
    for (uint32_t i = 0; !rc && i < min_u64(q->snapshots, w->clusters); i++)
        rc = walk_snapshot(w, &q->snapshot[i]);
    if (q->snapshots)
        refer(w, "the snapshot table", q->h.snapshots_offset, q->snapshot_table_bytes);
    if (!rc)
        rc = walk_bitmaps(w);
    if (!rc)
        walk_counts(w);
    return rc;
}

/* ---- counts ---- */

/* Clusters that are counted and lie past the file's end: taken, and never written. */
static int compare_past_end(struct walk *w)
{
    struct qcow2 *q = w->q;

    for (uint64_t i = w->clusters >> q->rb_bits; i < q->reftable_entries; i++) {
        uint64_t c = max_u64(w->clusters, i << q->rb_bits);
        for (; q->reftable[i] && c < (i + 1) << q->rb_bits; c++) {
            uint64_t count;
            int rc = qcow2_refcount(q, c, &count);
            if (!rc && count) {
                w->r->leaks++;
                w->r->leaks_fixed += w->repair != QCOW2_REPAIR_NOTHING;
                if (w->repair != QCOW2_REPAIR_NOTHING)
                    rc = qcow2_refcount_set(q, c, 0);
            }
            if (rc)
                return rc;
        }
    }
    return 0;
}

/* Compares, and sets the counts that are too low (raise) or too high (not raise). */
static int compare_counts(struct walk *w, bool raise)
{
    struct qcow2 *q = w->q;
    bool fix = w->repair == QCOW2_REPAIR_ALL || (!raise && w->repair == QCOW2_REPAIR_LEAKS);

    for (uint64_t c = 0; c < w->clusters; c++) {
        uint64_t count;
        /* Whole blocks that are not there and not needed. */
        int rc = qcow2_refcount(q, c, &count);
        if (rc)
            return rc;
        if (count == w->refs[c] || (raise ? count > w->refs[c] : count < w->refs[c]))
            continue;
        if (raise)
            w->r->errors++;
        else
            w->r->leaks++;
        say(w, "%s: cluster at %#llx: count %llu, references %u", raise ? "error" : "leak",
            (unsigned long long)c << q->cluster_bits, (unsigned long long)count, w->refs[c]);
        if (!fix)
            continue;
        if (raise && (c >> q->rb_bits >= q->reftable_entries || !q->reftable[c >> q->rb_bits])) {
            w->rebuild = true;
            continue;
        }
        rc = qcow2_refcount_set(q, c, w->refs[c]);
        if (rc)
            return rc;
        if (raise)
            w->r->errors_fixed++;
        else
            w->r->leaks_fixed++;
    }
    return 0;
}

static bool flag_wrong(const struct walk *w, uint64_t word, uint64_t cluster)
{
    return cluster < w->clusters && (w->refs[cluster] == 1) != ((word & QCOW2_COPIED) != 0);
}

static void flag_error(struct walk *w, const char *what, uint64_t word)
{
    w->r->errors++;
    say(w, "error: %s %#llx: its \"count is one\" flag is wrong", what, (unsigned long long)word);
    fixed(w, 0);
}

static int check_l2_flags(struct walk *w, uint64_t table)
{
    struct qcow2 *q = w->q;

    for (unsigned i = 0; i < 1u << q->l2_bits; i++) {
        struct qcow2_table *t;
        int rc = qcow2_cache_get(q, &q->l2, table, false, &t);
        if (rc)
            return rc;
        struct qcow2_entry e = qcow2_l2_entry(q, t, i);
        bool packed = e.word & QCOW2_COMPRESSED;
        uint64_t host = e.word & QCOW2_OFFSET;
        if (!e.word || (packed ? !(e.word & QCOW2_COPIED)
                               : !host || !flag_wrong(w, e.word, host >> q->cluster_bits)))
            continue;
        flag_error(w, "L2 entry", e.word);
        if (w->repair == QCOW2_REPAIR_ALL) {
            e.word ^= QCOW2_COPIED;
            qcow2_l2_set(q, t, i, e);
        }
    }
    return 0;
}

static int check_flags(struct walk *w)
{
    struct qcow2 *q = w->q;

    for (uint32_t i = 0; i < q->l1_entries; i++) {
        uint64_t at = q->l1[i] & QCOW2_OFFSET;
        if (!at || at & (q->cluster_bytes - 1) || at >> q->cluster_bits >= w->clusters)
            continue;
        int rc = check_l2_flags(w, at);
        if (rc)
            return rc;
        if (!flag_wrong(w, q->l1[i], at >> q->cluster_bits))
            continue;
        flag_error(w, "L1 entry", q->l1[i]);
        if (w->repair == QCOW2_REPAIR_ALL)
            qcow2_l1_set(q, i, q->l1[i] ^ QCOW2_COPIED);
    }
    return 0;
}

/* ---- a new set of counts ---- */

/* Behind all that is in the file: blocks, then table. Sizes depend on one another. */
static void rebuild_layout(const struct walk *w, uint64_t *blocks, uint64_t *table)
{
    const struct qcow2 *q = w->q;
    uint64_t all = 0, old;

    *blocks = *table = 1;
    do {
        old = all;
        all = w->clusters + *blocks + *table;
        *blocks = ((all - 1) >> q->rb_bits) + 1;
        *table = (*blocks * 8 + q->cluster_bytes - 1) >> q->cluster_bits;
    } while (all != old);
}

static int rebuild_block(struct walk *w, uint64_t i, uint64_t end, uint64_t offset, uint8_t *buf)
{
    struct qcow2 *q = w->q;
    uint64_t per = 1ull << q->rb_bits;

    memset(buf, 0, q->cluster_bytes);
    for (uint64_t c = i * per; c < min_u64(end, (i + 1) * per); c++) {
        uint64_t n = c < w->clusters ? w->refs[c] : 1;
        if (q->refcount_bits < 64 && n >> q->refcount_bits)
            return -ERANGE;
        qcow2_rc_set(buf, q->h.refcount_order, c % per, n);
    }
    return qcow2_file_write(q, offset, buf, q->cluster_bytes);
}

static int rebuild(struct walk *w)
{
    struct qcow2 *q = w->q;
    uint64_t blocks, table, first = w->clusters;

    /* The old tables hold nothing any more. */
    memset(w->refs, 0, w->clusters * sizeof *w->refs);
    memset(q->reftable, 0, q->reftable_entries * 8ull);
    struct qcow2_check_result ignore = {0}, *r = w->r;
    enum qcow2_repair repair = w->repair;
    q->h.reftable_clusters = 0;
    w->r = &ignore;
    w->repair = QCOW2_REPAIR_NOTHING;
    int rc = walk_all(w);
    w->r = r;
    w->repair = repair;
    if (rc)
        return rc;
    rebuild_layout(w, &blocks, &table);
    if (table << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES)
        return -EFBIG;
    uint64_t *entries = calloc(table, q->cluster_bytes);
    uint8_t *buf = malloc(q->cluster_bytes);
    rc = entries && buf ? 0 : -ENOMEM;
    for (uint64_t i = 0; !rc && i < blocks; i++) {
        entries[i] = (first + i) << q->cluster_bits;
        rc = rebuild_block(w, i, first + blocks + table, entries[i], buf);
    }
    if (!rc)
        rc = qcow2_words_write(q, (first + blocks) << q->cluster_bits, entries,
                               (table << q->cluster_bits) / 8);
    if (!rc)
        rc = qcow2_file_flush(q);
    free(buf);
    if (rc) {
        free(entries);
        return rc;
    }
    qcow2_cache_fini(&q->rb);
    free(q->reftable);
    q->reftable = entries;
    q->reftable_entries = (uint32_t)((table << q->cluster_bits) / 8);
    q->reftable_dirty_to = 0;
    q->h.reftable_offset = (first + blocks) << q->cluster_bits;
    q->h.reftable_clusters = (uint32_t)table;
    rc = qcow2_cache_init(&q->rb, q->cluster_bits, false);
    if (!rc)
        rc = qcow2_header_write(q);
    return rc ? rc : qcow2_file_flush(q);
}

/* ---- all together ---- */

static int check_counts(struct walk *w)
{
    bool broken = w->rebuild;
    int rc = broken ? 0 : compare_counts(w, true);

    if (!rc && w->rebuild && w->repair == QCOW2_REPAIR_ALL) {
        rc = rebuild(w);
        if (!rc)
            w->r->errors_fixed = w->r->errors;
    }
    if (!rc && (!broken || w->repair == QCOW2_REPAIR_ALL))
        rc = check_flags(w);
    if (!rc && !w->rebuild)
        rc = compare_counts(w, false);
    if (!rc && !w->rebuild)
        rc = compare_past_end(w);
    return rc;
}

static int finish_repair(struct walk *w)
{
    struct qcow2 *q = w->q;
    bool all = w->r->errors == w->r->errors_fixed;
    uint64_t marks = QCOW2_CORRUPT | (q->dirty_marked ? 0 : QCOW2_DIRTY);
    int rc = qcow2_sync(q);

    if (!rc && all && w->repair == QCOW2_REPAIR_ALL && q->h.incompatible & marks) {
        q->h.incompatible &= ~marks;
        rc = qcow2_header_write(q);
        if (!rc)
            rc = qcow2_file_flush(q);
        q->broken = false;
    }
    return rc;
}

int qcow2_check(struct qcow2 *q, enum qcow2_repair repair, struct qcow2_check_result *result)
{
    struct walk w = {.q = q, .repair = q->readonly ? QCOW2_REPAIR_NOTHING : repair, .r = result,
                     .clusters = qcow2_clusters(q, q->file->bytes)};
    uint64_t bytes = max_u64(w.clusters * sizeof *w.refs, 1);
    int rc = qcow2_is_clean(q) || q->readonly ? 0 : qcow2_sync(q);

    if (rc)
        return rc;
    if (w.clusters > MAX_CLUSTERS)
        return -EFBIG;
    w.refs = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w.refs == MAP_FAILED)
        return -ENOMEM;
    q->repairing = true;
    result->clusters = qcow2_clusters(q, q->h.bytes);
    rc = walk_all(&w);
    if (!rc)
        rc = check_counts(&w);
    if (!rc && w.repair != QCOW2_REPAIR_NOTHING)
        rc = finish_repair(&w);
    q->repairing = false;
    munmap(w.refs, bytes);
    return rc;
}
