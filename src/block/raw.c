/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw.c - the format without a format: the guest's disk is the file.
 *
 * Every operation is the one of the node below. What raw adds is the end of the
 * disk, which the node below does not have.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/params.h"
#include "block/drivers.h"
#include "block/node.h"

static int raw_open(struct block *b, const struct block_open *how, struct error **err)
{
    b->readonly |= b->below->readonly;
    return 0;
}

static void raw_info(const struct block *b, struct block_info *out)
{
    b->below->driver->info(b->below, out);
}

static void raw_submit(struct block *b, struct block_request *r)
{
    node_forward(b, r, b->below);
}

static int raw_perform(struct block *b, const struct block_request *r)
{
    return node_perform(b->below, r);
}

static int raw_resize(struct block *b, uint64_t bytes, struct error **err)
{
    return node_resize(b->below, bytes, err);
}

static int raw_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out)
{
    if (b->below->driver->map)
        return b->below->driver->map(b->below, offset, bytes, out);
    *out = (struct block_extent){
        .bytes = bytes, .host_offset = offset,
        .flags = BLOCK_EXTENT_DATA | BLOCK_EXTENT_ALLOCATED | BLOCK_EXTENT_OFFSET};
    return 0;
}

enum { PREALLOCATE_OFF, PREALLOCATE_FALLOC, PREALLOCATE_FULL };
static const char *const preallocate_names[] = {"off", "falloc", "full", NULL};

struct raw_options {
    unsigned preallocate;
};

static const struct param raw_params[] = {
    {"preallocate", PARAM_CHOICE, offsetof(struct raw_options, preallocate),
     .choices = preallocate_names, .help = "off, falloc (reserve the space) or full (write it)"},
    {NULL},
};

static int raw_create(struct block *below, uint64_t bytes, const char *options,
                      struct error **err)
{
    struct raw_options o = {0};
    int rc = params_parse(raw_params, &o, options, err);

    if (rc)
        return rc;
    if (bytes == BLOCK_SIZE_OF_BACKING) {
        error_set(err, EINVAL, "a raw image has no backing file and needs a size");
        return -EINVAL;
    }
    /* What cannot change its size need only be large enough. */
    if (below->driver->resize)
        rc = node_resize(below, bytes, err);
    else if (node_bytes(below) < bytes)
        rc = error_set(err, ENOSPC, "'%s' has %" PRIu64 " bytes, and %" PRIu64 " are needed",
                       below->name, node_bytes(below), bytes);
    if (rc || o.preallocate == PREALLOCATE_OFF)
        return rc;
    if (o.preallocate == PREALLOCATE_FALLOC) {
        rc = node_zero(below, 0, bytes, 0);
    } else {
        static const char zeroes[1 << 16];

        for (uint64_t at = 0; at < bytes && !rc; at += sizeof zeroes)
            rc = node_write(below, at, zeroes, min_u64(sizeof zeroes, bytes - at));
    }
    if (rc)
        return error_set(err, -rc, "cannot reserve %" PRIu64 " bytes for '%s': %s", bytes,
                         below->name, strerror(-rc));
    return 0;
}

const struct block_driver block_raw = {
    .name = "raw",
    .summary = "the plain bytes of the disk",
    .open = raw_open,
    .info = raw_info,
    .submit = raw_submit,
    .perform = raw_perform,
    .create = raw_create,
    .resize = raw_resize,
    .map = raw_map,
};
