/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2_tools.c - the verbs of block/tool.h for qcow2 images. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/params.h"
#include "block/qcow2_image.h"

enum { PIECE_BYTES = 1 << 20 };

static struct qcow2_image *image_of(struct block *b)
{
    return b->state;
}

/* ---- create ---- */

static const char *const compat_names[] = {"0.10", "1.1", NULL};
static const char *const compression_names[] = {"zlib", "zstd", NULL};
static const char *const preallocate_names[] = {"off", "metadata", "falloc", "full", NULL};

struct options {
    char *backing, *backing_format;
    uint64_t cluster_bytes, refcount_bits;
    unsigned compat, compression, preallocate;
    bool lazy_refcounts, extended_l2;
};
static const struct param params[] = {
    {"backing", PARAM_STRING, offsetof(struct options, backing),
     .help = "image that is read where this one has nothing"},
    {"backing-format", PARAM_STRING, offsetof(struct options, backing_format),
     .help = "format of that one"},
    {"cluster-size", PARAM_SIZE, offsetof(struct options, cluster_bytes),
     .help = "512 to 2M (64K)"},
    {"compat", PARAM_CHOICE, offsetof(struct options, compat), .choices = compat_names,
     .help = "0.10 (version 2) or 1.1 (version 3)"},
    {"compression", PARAM_CHOICE, offsetof(struct options, compression),
     .choices = compression_names, .help = "of compressed clusters: zlib or zstd"},
    {"extended-l2", PARAM_FLAG, offsetof(struct options, extended_l2),
     .help = "allocate by subclusters"},
    {"lazy-refcounts", PARAM_FLAG, offsetof(struct options, lazy_refcounts),
     .help = "write reference counts at the end only"},
    {"preallocate", PARAM_CHOICE, offsetof(struct options, preallocate),
     .choices = preallocate_names, .help = "off, metadata, falloc or full"},
    {"refcount-bits", PARAM_NUMBER, offsetof(struct options, refcount_bits), .min = 1, .max = 64,
     .help = "1 to 64 (16)"},
    {NULL},
};

/* The backing file must be there, and says how big the disk is when nobody else does. */
static int look_at_backing(struct block *below, const struct options *o, uint64_t *bytes,
                           struct error **err)
{
    if (!o->backing)
        return *bytes == BLOCK_SIZE_OF_BACKING
                   ? error_set(err, EINVAL, "an image without a backing file needs a size") : 0;
    if (!o->backing_format) {
        error_set(err, EINVAL, "the format of the backing file '%s' must be named", o->backing);
        error_hint(err, "add backing-format=raw or backing-format=qcow2");
        return -EINVAL;
    }
    struct block_open how = {0};            /* locked: nobody writes it, it is not this one */
    struct block *backing = node_open_backing(below, &how, o->backing, o->backing_format, err);
    if (!backing)
        return err && *err ? -(*err)->code : -EIO;
    if (*bytes == BLOCK_SIZE_OF_BACKING)
        *bytes = backing->info.bytes;
    return block_close(backing, NULL);
}

/* Every mapped run as the host's file system is to have it. */
static int reserve(struct qcow2 *q, struct block *below, unsigned how)
{
    int rc = 0;

    for (uint64_t at = 0; !rc && how >= QCOW2_PREALLOC_FALLOC && at < q->h.bytes;) {
        struct qcow2_extent e;
        rc = qcow2_map(q, at, q->h.bytes - at, &e);
        if (!rc && how == QCOW2_PREALLOC_FALLOC)
            rc = node_zero(below, e.host, align_up(e.bytes, q->cluster_bytes), 0);
        else if (!rc)
            rc = qcow2_file_zero(q, e.host, align_up(e.bytes, q->cluster_bytes));
        at += e.bytes;
    }
    return rc;
}

static int preallocate(struct block *below, struct qcow2_file *f, unsigned how,
                       struct error **err)
{
    struct qcow2 q;
    int rc = qcow2_open(&q, f, below->name, 0, err);

    if (rc)
        return rc;
    rc = qcow2_preallocate(&q, 0, q.h.bytes);
    if (!rc)
        rc = reserve(&q, below, how);
    int rc_close = qcow2_close(&q);
    rc = rc ? rc : rc_close;
    return rc ? error_set(err, -rc, "cannot reserve space for '%s': %s", below->name,
                          strerror(-rc)) : 0;
}

int qcow2_tool_create(struct block *below, uint64_t bytes, const char *options,
                      struct error **err)
{
    struct qcow2_node_file file = {.f.ops = &qcow2_node_ops, .b = below};
    struct options o = {.cluster_bytes = 65536, .refcount_bits = 0, .compat = 1};
    struct qcow2_create c;
    int rc = params_parse(params, &o, options, err);

    if (!rc)
        rc = look_at_backing(below, &o, &bytes, err);
    if (!rc) {
        c = (struct qcow2_create){
            .bytes = align_up(bytes, 512), .cluster_bytes = o.cluster_bytes,
            .refcount_bits = o.refcount_bits ? o.refcount_bits : 16,
            .version = o.compat ? 3 : 2, .compression = o.compression,
            .preallocation = o.preallocate, .lazy_refcounts = o.lazy_refcounts,
            .extended_l2 = o.extended_l2, .backing = o.backing,
            .backing_format = o.backing_format};
        rc = qcow2_create_in(&file.f, &c, err);
    }
    if (!rc && o.preallocate != QCOW2_PREALLOC_OFF)
        rc = preallocate(below, &file.f, o.preallocate, err);
    params_fini(params, &o);
    return rc;
}

/* ---- resize, map, check ---- */

int qcow2_tool_resize(struct block *b, uint64_t bytes, struct error **err)
{
    struct qcow2_image *image = image_of(b);

    pthread_mutex_lock(&image->lock);
    int rc = qcow2_resize(&image->q, align_up(bytes, 512), err);
    pthread_mutex_unlock(&image->lock);
    return rc;
}

static int map_behind(struct qcow2_image *image, uint64_t offset, struct block_extent *out)
{
    struct block *backing = image->backing;

    if (backing && offset < backing->info.bytes) {
        int rc = block_map(backing, offset, out->bytes, out);
        out->depth++;
        return rc;
    }
    out->flags = BLOCK_EXTENT_ZERO;
    for (; backing; backing = block_backing(backing))
        out->depth++;
    return 0;
}

int qcow2_tool_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out)
{
    struct qcow2_image *image = image_of(b);
    struct qcow2_extent e;

    pthread_mutex_lock(&image->lock);
    int rc = qcow2_map(&image->q, offset, bytes, &e);
    pthread_mutex_unlock(&image->lock);
    if (rc)
        return rc;
    *out = (struct block_extent){.bytes = e.bytes};
    if (e.kind == QCOW2_UNALLOCATED)
        return map_behind(image, offset, out);
    out->flags = BLOCK_EXTENT_ALLOCATED | (e.kind == QCOW2_ZEROS ? BLOCK_EXTENT_ZERO
                                                                : BLOCK_EXTENT_DATA);
    if (e.kind == QCOW2_PACKED)
        out->flags |= BLOCK_EXTENT_COMPRESSED;
    if (e.kind == QCOW2_DATA) {
        out->flags |= BLOCK_EXTENT_OFFSET;
        out->host_offset = e.host;
    }
    return 0;
}

int qcow2_tool_check(struct block *b, unsigned repair, struct block_check *out,
                     struct error **err)
{
    struct qcow2_image *image = image_of(b);
    struct qcow2_check_result r = {0};

    pthread_mutex_lock(&image->lock);
    int rc = qcow2_check(&image->q, repair & BLOCK_REPAIR_ALL ? QCOW2_REPAIR_ALL :
                         repair ? QCOW2_REPAIR_LEAKS : QCOW2_REPAIR_NOTHING, &r);
    pthread_mutex_unlock(&image->lock);
    *out = (struct block_check){
        .corruptions = r.errors, .leaks = r.leaks, .corruptions_fixed = r.errors_fixed,
        .leaks_fixed = r.leaks_fixed, .clusters = r.clusters, .allocated = r.allocated,
        .compressed = r.packed, .file_end = r.image_end};
    return rc ? error_set(err, -rc, "cannot check '%s': %s", b->name,
                          image->q.corrupt_reason ? image->q.corrupt_reason : strerror(-rc)) : 0;
}

/* ---- snapshots ---- */

int qcow2_tool_snapshot(struct block *b, enum block_snapshot_verb verb, const char *name,
                        struct error **err)
{
    struct qcow2_image *image = image_of(b);
    int rc;

    pthread_mutex_lock(&image->lock);
    if (verb == BLOCK_SNAPSHOT_CREATE)
        rc = qcow2_snapshot_create(&image->q, name, err);
    else if (verb == BLOCK_SNAPSHOT_APPLY)
        rc = qcow2_snapshot_apply(&image->q, name, err);
    else
        rc = qcow2_snapshot_delete(&image->q, name, err);
    pthread_mutex_unlock(&image->lock);
    return rc;
}

int qcow2_tool_snapshots(struct block *b, block_snapshot_fn *fn, void *opaque, struct error **err)
{
    const struct qcow2 *q = &image_of(b)->q;

    for (uint32_t i = 0; i < q->snapshots; i++) {
        const struct qcow2_snapshot *s = &q->snapshot[i];
        fn(opaque, &(struct block_snapshot){
            .id = s->id, .name = s->name, .bytes = s->disk_bytes,
            .state_bytes = s->vm_state_bytes, .time_s = s->date_s, .time_ns = s->date_ns});
    }
    return 0;
}

/* ---- commit ---- */

/* What the image has of its own in [at, at + e->bytes). */
static int commit_run(struct qcow2_image *image, struct block *to, uint64_t at,
                      const struct qcow2_extent *e, uint8_t *buf)
{
    uint64_t end = at + e->bytes;
    int rc = 0;

    if (e->kind == QCOW2_UNALLOCATED)
        return 0;
    if (e->kind == QCOW2_ZEROS)
        return node_zero(to, at, e->bytes, BLOCK_MAY_UNMAP);
    while (!rc && at < end) {
        uint64_t n = min_u64(end - at, PIECE_BYTES);
        rc = qcow2_read(&image->q, at, buf, n);
        if (!rc)
            rc = node_write(to, at, buf, n);
        at += n;
    }
    return rc;
}

static int commit_all(struct qcow2_image *image, struct block *to, struct error **err)
{
    struct qcow2 *q = &image->q;
    uint8_t *buf = malloc(PIECE_BYTES);
    int rc = buf ? 0 : -ENOMEM;

    if (!rc && to->info.bytes < q->h.bytes)
        rc = node_resize(to, q->h.bytes, err);
    for (uint64_t at = 0; !rc && at < q->h.bytes;) {
        struct qcow2_extent e;
        rc = qcow2_map(q, at, q->h.bytes - at, &e);
        if (!rc)
            rc = commit_run(image, to, at, &e, buf);
        at += e.bytes;
    }
    if (!rc)
        rc = node_flush(to);
    free(buf);
    if (rc || !q->h.bytes)
        return rc;
    /* Now the backing file has it all, and holes may show it. */
    q->backing = NULL;
    rc = qcow2_discard(q, 0, q->h.bytes);
    return rc ? rc : qcow2_sync(q);
}

int qcow2_tool_commit(struct block *b, struct error **err)
{
    struct qcow2_image *image = image_of(b);
    const char *name = image->q.h.backing;
    int rc;

    if (!name)
        return error_set(err, EINVAL, "'%s' has no backing file to commit to", b->name);
    char *path = node_backing_path(block_name_path(b->name), name);
    struct block_open how = {.name = path, .format = image->q.h.backing_format,
                             .cache = b->cache, .discard = true, .log = b->log};
    struct block_open again = {.cache = b->cache, .log = b->log};
    (void)block_close(image->backing, NULL);
    qcow2_use_backing(image, NULL);
    struct block *to = block_open(b->io, &how, err);
    if (!to) {
        rc = err && *err ? -(*err)->code : -EIO;
    } else {
        rc = commit_all(image, to, err);
        if (rc && (!err || !*err))
            error_set(err, -rc, "cannot commit '%s' to '%s': %s", b->name, path, strerror(-rc));
        int rc_close = block_close(to, rc ? NULL : err);
        rc = rc ? rc : rc_close;
    }
    struct block *backing = node_open_backing(b, &again, name, image->q.h.backing_format,
                                              rc ? NULL : err);
    if (!backing && !rc)
        rc = -EIO;
    qcow2_use_backing(image, backing);
    free(path);
    return rc;
}

/* ---- rebase ---- */

static int read_or_zero(struct block *b, uint64_t at, uint8_t *buf, uint64_t bytes)
{
    uint64_t have = b && at < b->info.bytes ? min_u64(bytes, b->info.bytes - at) : 0;

    memset(buf + have, 0, bytes - have);
    return have ? node_read(b, at, buf, have) : 0;
}

/* Takes into the image what would look different over `to`. */
static int keep_difference(struct qcow2_image *image, struct block *to)
{
    struct qcow2 *q = &image->q;
    uint8_t *buf = malloc(2 * PIECE_BYTES);
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t at = 0; !rc && at < q->h.bytes;) {
        struct qcow2_extent e;
        uint64_t piece = min_u64(q->cluster_bytes - (at & (q->cluster_bytes - 1)), PIECE_BYTES);
        rc = qcow2_map(q, at, min_u64(piece, q->h.bytes - at), &e);
        if (!rc && e.kind == QCOW2_UNALLOCATED) {
            rc = read_or_zero(image->backing, at, buf, e.bytes);
            if (!rc)
                rc = read_or_zero(to, at, buf + PIECE_BYTES, e.bytes);
            if (!rc && memcmp(buf, buf + PIECE_BYTES, e.bytes) != 0)
                rc = qcow2_write(q, at, buf, e.bytes);
        }
        at += e.bytes;
    }
    free(buf);
    return rc ? rc : qcow2_sync(q);
}

int qcow2_tool_rebase(struct block *b, const char *backing, const char *backing_format,
                      bool unsafe, struct error **err)
{
    struct qcow2_image *image = image_of(b);
    struct block_open how = {.cache = b->cache, .log = b->log};
    const char *name = backing && *backing ? backing : NULL;
    struct block *to = NULL;
    int rc = 0;

    if (name && !backing_format) {
        error_set(err, EINVAL, "the format of the backing file '%s' must be named", name);
        error_hint(err, "add --backing-format raw or --backing-format qcow2");
        return -EINVAL;
    }
    if (unsafe)
        return qcow2_set_backing(&image->q, name, backing_format, err);
    if (name) {
        to = node_open_backing(b, &how, name, backing_format, err);
        if (!to)
            return err && *err ? -(*err)->code : -EIO;
    }
    rc = keep_difference(image, to);
    if (rc)
        error_set(err, -rc, "cannot rebase '%s': %s", b->name, strerror(-rc));
    else
        rc = qcow2_set_backing(&image->q, name, backing_format, err);
    if (rc) {
        (void)block_close(to, NULL);
        return rc;
    }
    (void)block_close(image->backing, NULL);
    return qcow2_use_backing(image, to);
}

/* ---- what there is to say ---- */

void qcow2_tool_describe(struct block *b, block_fact_fn *fn, void *opaque)
{
    const struct qcow2_header *h = &image_of(b)->q.h;
    const struct block_fact facts[] = {
        {"cluster_size", NULL, 1ull << h->cluster_bits},
        {"compat", h->version == 2 ? "0.10" : "1.1", 0},
        {"refcount_bits", NULL, 1ull << h->refcount_order},
        {"compression_type", compression_names[h->compression], 0},
        {"lazy_refcounts", NULL, h->compatible & QCOW2_LAZY_REFCOUNTS},
        {"extended_l2", NULL, (h->incompatible & QCOW2_EXTENDED_L2) != 0},
        {"dirty", NULL, (h->incompatible & QCOW2_DIRTY) != 0},
        {"corrupt", NULL, (h->incompatible & QCOW2_CORRUPT) != 0},
        {"backing_file", h->backing, 0},
        {"backing_format", h->backing_format, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        if (i < 8 || facts[i].text)
            fn(opaque, &facts[i]);
}
