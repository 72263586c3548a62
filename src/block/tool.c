/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tool.c - the verbs of block/tool.h, each the operation of a driver with the
 * checks around it that are the same for all. Copying and comparing are in copy.c.
 */
#include <errno.h>

#include "base/error.h"
#include "block/node.h"

/* ---- creating and resizing ------------------------------------------------ */

/* The protocol node of a file that is there, for the format to write itself on. */
static int fill(struct block_io *io, const struct block_driver *format, const char *name,
                uint64_t bytes, const char *options, struct error **err)
{
    struct block *below = node_open_protocol(io, &(struct block_open){.name = name}, err);

    if (!below)
        return err && *err ? -(*err)->code : -EIO;
    int rc = format->create(below, bytes, options ? options : "", err);
    int rc_close = block_close(below, rc ? NULL : err);
    return rc ? rc : rc_close;
}

int block_create(struct block_io *io, const char *name, const char *format, uint64_t bytes,
                 const char *options, unsigned flags, struct error **err)
{
    const struct block_driver *f = node_named_format(format, err);
    const struct block_driver *protocol = block_protocol_for(name);

    if (!f)
        return -EINVAL;
    if (!f->create)
        return error_set(err, ENOTSUP, "images of format %s cannot be created", format);
    if (protocol) {
        protocol = block_driver_load(protocol, err);
        if (!protocol)
            return -ELIBACC;
    }
    if (!protocol || (!protocol->make && !(flags & BLOCK_REPLACE))) {
        error_set(err, ENOTSUP, "cannot create '%s': only files can be created", name);
        error_hint(err, "--force writes on what is there");
        return -ENOTSUP;
    }
    int rc = protocol->make ? protocol->make(name, flags & BLOCK_REPLACE, err) : 0;
    if (rc)
        return rc;
    rc = fill(io, f, name, bytes, options, err);
    if (rc && protocol->unmake)
        protocol->unmake(name);
    return rc;
}

void block_remove(const char *name)
{
    const struct block_driver *protocol = block_protocol_for(name);

    if (protocol)
        protocol = block_driver_load(protocol, NULL);
    if (protocol && protocol->unmake)
        protocol->unmake(name);
}

static int not_supported(const struct block *b, const char *what, struct error **err)
{
    return error_set(err, ENOTSUP, "'%s' is %s, which has no %s", b->name, b->driver->name, what);
}

static int must_write(const struct block *b, struct error **err)
{
    return b->readonly ? error_set(err, EROFS, "'%s' is open read-only", b->name) : 0;
}

int node_resize(struct block *b, uint64_t bytes, struct error **err)
{
    int rc = must_write(b, err);

    if (rc)
        return rc;
    if (!b->driver->resize)
        return not_supported(b, "changeable size", err);
    rc = b->driver->resize(b, bytes, err);
    node_refresh_info(b);
    return rc;
}

int block_resize(struct block *b, uint64_t bytes, struct error **err)
{
    return node_resize(b, bytes, err);
}

/* ---- the other operations of drivers -------------------------------------- */

int block_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out)
{
    if (offset >= b->info.bytes || !bytes)
        return -EINVAL;
    bytes = min_u64(bytes, b->info.bytes - offset);
    if (b->driver->map)
        return b->driver->map(b, offset, bytes, out);
    *out = (struct block_extent){.bytes = bytes,
                                 .flags = BLOCK_EXTENT_DATA | BLOCK_EXTENT_ALLOCATED};
    return 0;
}

int block_check(struct block *b, unsigned repair, struct block_check *out, struct error **err)
{
    int rc = repair ? must_write(b, err) : 0;

    *out = (struct block_check){0};
    if (rc)
        return rc;
    if (!b->driver->check)
        return not_supported(b, "metadata to check", err);
    return b->driver->check(b, repair, out, err);
}

int block_snapshot(struct block *b, enum block_snapshot_verb verb, const char *name,
                   struct error **err)
{
    int rc = must_write(b, err);

    if (rc)
        return rc;
    if (!b->driver->snapshot)
        return not_supported(b, "snapshots", err);
    rc = b->driver->snapshot(b, verb, name, err);
    node_refresh_info(b);                 /* a snapshot has a size of its own */
    return rc;
}

int block_snapshots(struct block *b, block_snapshot_fn *fn, void *opaque, struct error **err)
{
    if (!b->driver->snapshots)
        return not_supported(b, "snapshots", err);
    return b->driver->snapshots(b, fn, opaque, err);
}

int block_commit(struct block *b, struct error **err)
{
    int rc = must_write(b, err);

    if (rc)
        return rc;
    if (!b->driver->commit)
        return not_supported(b, "backing file", err);
    return b->driver->commit(b, err);
}

int block_rebase(struct block *b, const char *backing, const char *backing_format, bool unsafe,
                 struct error **err)
{
    int rc = must_write(b, err);

    if (rc)
        return rc;
    if (!b->driver->rebase)
        return not_supported(b, "backing file", err);
    return b->driver->rebase(b, backing, backing_format, unsafe, err);
}

void block_describe(struct block *b, block_fact_fn *fn, void *opaque)
{
    if (b->driver->describe)
        b->driver->describe(b, fn, opaque);
    if (b->below)
        block_describe(b->below, fn, opaque);
}

struct block *block_backing(struct block *b)
{
    return b->driver->backing ? b->driver->backing(b) : NULL;
}
