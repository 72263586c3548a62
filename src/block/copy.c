/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy.c - two images at a time: convert's copying, and comparing.
 *
 * What block_map() says reads as zeroes is not read at all, and zeroes are only written
 * where the target does not have them: an image just created has, a device may not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/node.h"

enum { PIECE_BYTES = 2 << 20, GRAIN_BYTES = 4096 };

static bool all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int read_failed(const struct block *b, uint64_t at, int rc, struct error **err)
{
    return error_set(err, -rc, "cannot read '%s' at offset %" PRIu64 ": %s", b->name, at,
                     strerror(-rc));
}

/* Makes [at, at + bytes) zero where it is not said to be so already. */
static int make_zero(struct block *to, uint64_t at, uint64_t bytes)
{
    int rc = 0;

    while (bytes && !rc) {
        struct block_extent e;

        rc = block_map(to, at, bytes, &e);
        if (!rc && !(e.flags & BLOCK_EXTENT_ZERO))
            rc = node_zero(to, at, e.bytes, BLOCK_MAY_UNMAP);
        at += rc ? 0 : e.bytes;
        bytes -= rc ? 0 : e.bytes;
    }
    return rc;
}

/* Runs of grains that are zero, and of those that are not. */
static int write_grains(struct block *to, uint64_t at, const uint8_t *buf, size_t bytes)
{
    /* Only whole clusters can be compressed. */
    const size_t grain = to->compress ? min_u64(to->info.best_align, PIECE_BYTES) : GRAIN_BYTES;
    size_t from = 0;
    int rc = 0;

    while (from < bytes && !rc) {
        size_t end = from;
        bool zero = all_zero(buf + from, min_u64(grain, bytes - from));

        do
            end += min_u64(grain, bytes - end);
        while (end < bytes && all_zero(buf + end, min_u64(grain, bytes - end)) == zero);
        rc = zero ? make_zero(to, at + from, end - from) :
             node_write(to, at + from, buf + from, end - from);
        from = end;
    }
    return rc;
}

static int write_failed(const struct block *b, uint64_t at, int rc, struct error **err)
{
    return error_set(err, -rc, "cannot write '%s' at offset %" PRIu64 ": %s", b->name, at,
                     strerror(-rc));
}

static int copy_run(struct block *from, struct block *to, uint64_t at, uint64_t bytes,
                    uint8_t *buf, struct error **err)
{
    int rc = node_read(from, at, buf, bytes);

    if (rc)
        return read_failed(from, at, rc, err);
    rc = write_grains(to, at, buf, bytes);
    return rc ? write_failed(to, at, rc, err) : 0;
}

int block_copy(struct block *from, struct block *to, block_progress_fn *progress, void *opaque,
               struct error **err)
{
    uint64_t bytes = from->info.bytes, at = 0;
    uint8_t *buf = malloc(PIECE_BYTES);
    int rc = 0;

    BUG_ON(!buf);
    if (to->info.bytes < bytes)
        rc = error_set(err, ENOSPC, "'%s' holds %" PRIu64 " bytes, and '%s' has %" PRIu64, to->name,
                       to->info.bytes, from->name, bytes);
    while (at < bytes && !rc) {
        struct block_extent e;

        rc = block_map(from, at, bytes - at, &e);
        if (rc) {
            read_failed(from, at, rc, err);
            break;
        }
        if (e.flags & BLOCK_EXTENT_ZERO) {
            rc = make_zero(to, at, e.bytes);
            if (rc)
                write_failed(to, at, rc, err);
        } else {
            /* Pieces end on round offsets: clusters of the target are filled at once. */
            e.bytes = min_u64(e.bytes, PIECE_BYTES - at % PIECE_BYTES);
            rc = copy_run(from, to, at, e.bytes, buf, err);
        }
        at += e.bytes;
        if (progress)
            progress(opaque, at, bytes);
    }
    free(buf);
    if (!rc && (rc = node_flush(to)))
        error_set(err, -rc, "cannot make '%s' durable: %s", to->name, strerror(-rc));
    return rc;
}

/* ---- comparing ------------------------------------------------------------ */

/* The run at `at` of an image that has nothing but zeroes behind its end. */
static int map_beyond(struct block *b, uint64_t at, uint64_t bytes, struct block_extent *e)
{
    if (at < b->info.bytes)
        return block_map(b, at, bytes, e);
    *e = (struct block_extent){.bytes = bytes, .flags = BLOCK_EXTENT_ZERO};
    return 0;
}

static int load(struct block *b, uint64_t at, const struct block_extent *e, uint8_t *buf,
                uint64_t bytes, struct error **err)
{
    int rc = 0;

    if (e->flags & BLOCK_EXTENT_ZERO)
        memset(buf, 0, bytes);
    else
        rc = node_read(b, at, buf, bytes);
    return rc ? read_failed(b, at, rc, err) : 0;
}

/* 0, 1 with *at moved to the difference, or an error; *step is how far it looked. */
static int compare_run(struct block *a, struct block *b, uint64_t bytes, uint64_t *at,
                       uint64_t *step, uint8_t *buf, struct error **err)
{
    struct block_extent ea, eb;
    int rc = map_beyond(a, *at, bytes, &ea);

    if (rc)
        return read_failed(a, *at, rc, err);
    rc = map_beyond(b, *at, bytes, &eb);
    if (rc)
        return read_failed(b, *at, rc, err);
    *step = min_u64(ea.bytes, eb.bytes);
    if (ea.flags & eb.flags & BLOCK_EXTENT_ZERO)
        return 0;
    *step = min_u64(*step, PIECE_BYTES);
    rc = load(a, *at, &ea, buf, *step, err);
    if (!rc)
        rc = load(b, *at, &eb, buf + PIECE_BYTES, *step, err);
    if (rc || memcmp(buf, buf + PIECE_BYTES, *step) == 0)
        return rc;
    while (buf[0] == buf[PIECE_BYTES])
        buf++, ++*at;
    return 1;
}

int block_compare(struct block *a, struct block *b, bool strict, uint64_t *at, struct error **err)
{
    uint64_t shorter = min_u64(a->info.bytes, b->info.bytes), step = 0;
    uint64_t bytes = a->info.bytes + b->info.bytes - shorter;
    uint8_t *buf = malloc(2 * (size_t)PIECE_BYTES);
    int rc = 0;

    BUG_ON(!buf);
    for (*at = 0; *at < bytes && !rc; *at += rc ? 0 : step) {
        if (strict && *at >= shorter) {
            rc = 1;
            break;
        }
        rc = compare_run(a, b, bytes - *at, at, &step, buf, err);
    }
    free(buf);
    return rc;
}
