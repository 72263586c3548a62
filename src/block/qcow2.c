/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2.c - the qcow2 format as a driver.
 *
 * A request whose whole mapping is in memory and stays as it is goes to the node below
 * (or the backing file) as extents, in the loop's thread; all others are performed by a
 * worker under the image's lock. See qcow2_image.h for who waits for whom.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "block/drivers.h"
#include "block/qcow2_image.h"

enum { MAX_EXTENTS = 64, BUFFER_BYTES = 2 << 20 };

/* ---- the file below ---- */

static struct block *node_of(struct qcow2_file *f)
{
    return container_of(f, struct qcow2_node_file, f)->b;
}

/* A file below has no end; a backing file is only read inside its own. */
static int file_read(struct qcow2_file *f, uint64_t offset, void *buf, size_t bytes)
{
    return node_read(node_of(f), offset, buf, bytes);
}

static int file_write(struct qcow2_file *f, uint64_t offset, const void *buf, size_t bytes)
{
    return node_write(node_of(f), offset, buf, bytes);
}

static int file_flush(struct qcow2_file *f)
{
    return node_flush(node_of(f));
}

static int file_truncate(struct qcow2_file *f, uint64_t bytes)
{
    return node_resize(node_of(f), bytes, NULL);
}

static int file_discard(struct qcow2_file *f, uint64_t offset, uint64_t bytes)
{
    return node_discard(node_of(f), offset, bytes);
}

const struct qcow2_file_ops qcow2_node_ops = {
    .read = file_read, .write = file_write, .flush = file_flush, .truncate = file_truncate,
    .discard = file_discard,
};

/* ---- opening ---- */

static int qcow2_probe(const uint8_t *head, size_t len, uint64_t file_bytes)
{
    return len >= 8 && get_be32(head) == QCOW2_MAGIC &&
           (get_be32(head + 4) == 2 || get_be32(head + 4) == 3) ? 100 : 0;
}

int qcow2_use_backing(struct qcow2_image *image, struct block *backing)
{
    image->backing = backing;
    image->behind = (struct qcow2_node_file){.f.ops = &qcow2_node_ops, .b = backing};
    if (backing) {
        image->behind.f.bytes = backing->info.bytes;
        image->q.backing = &image->behind.f;
    } else {
        image->q.backing = NULL;
    }
    return 0;
}

static void image_free(struct qcow2_image *image)
{
    pthread_mutex_destroy(&image->lock);
    free(image);
}

static int driver_open(struct block *b, const struct block_open *how, struct error **err)
{
    struct qcow2_image *image = calloc(1, sizeof *image);

    if (!image)
        return error_set(err, ENOMEM, "cannot open '%s'", b->name);
    pthread_mutex_init(&image->lock, NULL);
    image->b = b;
    image->waiting_end = &image->waiting;
    b->readonly |= b->below->readonly;
    image->below = (struct qcow2_node_file){.f.ops = &qcow2_node_ops, .b = b->below,
                                            .f.bytes = node_bytes(b->below)};
    unsigned flags = (b->readonly ? QCOW2_READONLY : 0) | (how->checking ? QCOW2_CHECKING : 0);
    int rc = qcow2_open(&image->q, &image->below.f, b->name, flags, err);
    if (rc) {
        image_free(image);
        return rc;
    }
    image->q.discard_below = b->discard;
    b->state = image;
    if (image->q.h.backing && !how->no_backing) {
        struct block *backing = node_open_backing(b, how, image->q.h.backing,
                                                  image->q.h.backing_format, err);
        if (!backing) {
            rc = err && *err ? -(*err)->code : -EIO;
            (void)qcow2_close(&image->q);
            image_free(image);
            return rc;
        }
        qcow2_use_backing(image, backing);
    }
    return 0;
}

static int driver_close(struct block *b, struct error **err)
{
    struct qcow2_image *image = b->state;
    int rc = qcow2_close(&image->q);

    if (rc)
        error_set(err, -rc, "cannot write back what '%s' holds: %s", b->name, strerror(-rc));
    (void)block_close(image->backing, NULL);
    image_free(image);
    return rc;
}

static void driver_info(const struct block *b, struct block_info *out)
{
    const struct qcow2_image *image = b->state;

    out->bytes = image->q.h.bytes;
    out->request_align = b->below->info.request_align;
    out->best_align = (uint32_t)image->q.cluster_bytes;
    out->max_discard_bytes = b->discard && !b->readonly ? 1u << 30 : 0;
}

static struct block *driver_backing(struct block *b)
{
    return ((struct qcow2_image *)b->state)->backing;
}

/* ---- the fast path ---- */

static int add_extent(struct qcow2_image *image, const struct block_request *r, uint64_t at,
                      const struct qcow2_extent *e, struct node_extent *list, unsigned *count)
{
    uint64_t behind = image->backing ? image->backing->info.bytes : 0;

    if (e->kind == QCOW2_PACKED || (r->op == BLOCK_WRITE && !e->in_place))
        return -EAGAIN;
    if (e->kind == QCOW2_DATA) {
        list[(*count)++] = (struct node_extent){image->b->below, e->host, e->bytes};
        return 0;
    }
    uint64_t from_backing = 0;
    if (e->kind == QCOW2_UNALLOCATED && at < behind)
        from_backing = min_u64(e->bytes, behind - at);
    if (from_backing)
        list[(*count)++] = (struct node_extent){image->backing, at, from_backing};
    if (e->bytes > from_backing)
        list[(*count)++] = (struct node_extent){NULL, 0, e->bytes - from_backing};
    return 0;
}

bool qcow2_try_fast(struct qcow2_image *image, struct block_request *r)
{
    struct node_extent list[MAX_EXTENTS + 1];
    unsigned count = 0;

    if ((r->op != BLOCK_READ && r->op != BLOCK_WRITE) ||
        (r->flags & BLOCK_FUA && r->op == BLOCK_WRITE))
        return false;
    for (uint64_t done = 0; done < r->bytes;) {
        struct qcow2_extent e;
        if (count >= MAX_EXTENTS - 1 ||
            qcow2_map_cached(&image->q, r->offset + done, r->bytes - done, &e) ||
            add_extent(image, r, r->offset + done, &e, list, &count))
            return false;
        done += e.bytes;
    }
    node_submit_extents(image->b, r, list, count);
    return true;
}

static void driver_submit(struct block *b, struct block_request *r)
{
    if (r->op == BLOCK_FLUSH)
        node_work(b, r);
    else
        qcow2_ranges_submit(b->state, r);
}

/* ---- the slow one ---- */

/* Whole clusters packed, the rest as it is. */
static int write_compressed(struct qcow2 *q, uint64_t offset, const uint8_t *buf, uint64_t bytes)
{
    int rc = 0;

    while (!rc && bytes) {
        uint64_t in = offset & (q->cluster_bytes - 1), n = min_u64(bytes, q->cluster_bytes - in);
        bool whole = !in && (n == q->cluster_bytes || offset + n == q->h.bytes);
        rc = whole ? qcow2_write_packed(q, offset, buf, n) : qcow2_write(q, offset, buf, n);
        offset += n;
        buf += n;
        bytes -= n;
    }
    return rc;
}

static int transfer_piece(struct qcow2_image *image, const struct block_request *r, uint64_t at,
                          void *buf, uint64_t n)
{
    if (r->op == BLOCK_READ)
        return qcow2_read(&image->q, r->offset + at, buf, n);
    if (image->b->compress)
        return write_compressed(&image->q, r->offset + at, buf, n);
    return qcow2_write(&image->q, r->offset + at, buf, n);
}

/* A list of buffers goes through one of ours, a piece at a time. */
static int transfer(struct qcow2_image *image, const struct block_request *r)
{
    if (r->iovs == 1)
        return transfer_piece(image, r, 0, r->iov[0].iov_base, r->bytes);
    uint8_t *buf = malloc(min_u64(r->bytes, BUFFER_BYTES));
    int rc = buf ? 0 : -ENOMEM;
    for (uint64_t at = 0; !rc && at < r->bytes; at += BUFFER_BYTES) {
        uint64_t n = min_u64(r->bytes - at, BUFFER_BYTES);
        if (r->op == BLOCK_WRITE)
            iov_to_buffer(r->iov, r->iovs, at, buf, n);
        rc = transfer_piece(image, r, at, buf, n);
        if (!rc && r->op == BLOCK_READ)
            iov_from_buffer(r->iov, r->iovs, at, buf, n);
    }
    free(buf);
    return rc;
}

static int perform_locked(struct qcow2_image *image, const struct block_request *r)
{
    switch (r->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(image, r);
    case BLOCK_DISCARD:
        return image->b->discard ? qcow2_discard(&image->q, r->offset, r->bytes) : -ENOTSUP;
    case BLOCK_WRITE_ZEROES:
        return qcow2_write_zeroes(&image->q, r->offset, r->bytes, r->flags & BLOCK_MAY_UNMAP);
    case BLOCK_FLUSH:
        return qcow2_sync(&image->q);
    }
    return -ENOTSUP;
}

static int driver_perform(struct block *b, const struct block_request *r)
{
    struct qcow2_image *image = b->state;
    bool durable = r->flags & BLOCK_FUA || b->cache == BLOCK_WRITETHROUGH;

    pthread_mutex_lock(&image->lock);
    int rc = perform_locked(image, r);
    if (!rc && durable && r->op != BLOCK_READ && r->op != BLOCK_FLUSH)
        rc = qcow2_sync(&image->q);
    pthread_mutex_unlock(&image->lock);
    return rc;
}

const struct block_driver block_qcow2 = {
    .name = "qcow2",
    .summary = "thin disks with snapshots and backing files, QEMU's format",
    .probe = qcow2_probe,
    .open = driver_open,
    .close = driver_close,
    .info = driver_info,
    .submit = driver_submit,
    .perform = driver_perform,
    .create = qcow2_tool_create,
    .resize = qcow2_tool_resize,
    .map = qcow2_tool_map,
    .check = qcow2_tool_check,
    .snapshot = qcow2_tool_snapshot,
    .snapshots = qcow2_tool_snapshots,
    .commit = qcow2_tool_commit,
    .rebase = qcow2_tool_rebase,
    .describe = qcow2_tool_describe,
    .backing = driver_backing,
};
