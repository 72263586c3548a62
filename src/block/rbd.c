/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rbd.c - images in Ceph clusters, by librbd: "rbd://pool/image". Which cluster, and as
 * whom, the usual ceph.conf and CEPH_ARGS say.
 *
 * librbd is thread-safe, so workers call it as they come.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rados/librados.h>
#include <rbd/librbd.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/module.h"

enum { PIECE_BYTES = 4 << 20 };
#define CONNECT_S "10"

struct rbd {
    rados_t cluster;
    rados_ioctx_t pool;
    rbd_image_t image;
    uint64_t bytes;
};

static int code_of(ssize_t rc)
{
    return rc == -ENOSPC || rc == -EDQUOT ? -ENOSPC : rc == -EROFS ? -EROFS : -EIO;
}

static int piece(struct block *b, enum block_op op, unsigned flags, uint64_t offset, void *buf,
                 size_t bytes)
{
    struct rbd *s = b->state;
    ssize_t rc = op == BLOCK_READ ? rbd_read(s->image, offset, bytes, buf) :
                 rbd_write(s->image, offset, bytes, buf);

    return rc < 0 ? code_of(rc) : (size_t)rc == bytes ? 0 : -EIO;
}

static int flush(struct block *b)
{
    struct rbd *s = b->state;

    if (b->cache == BLOCK_UNSAFE || b->readonly)
        return 0;
    int rc = rbd_flush(s->image);
    return rc < 0 ? code_of(rc) : 0;
}

static int rbd_perform(struct block *b, const struct block_request *r)
{
    struct rbd *s = b->state;
    int rc;

    if (r->op == BLOCK_FLUSH)
        return flush(b);
    if (r->offset + r->bytes > s->bytes)
        return r->op == BLOCK_READ ? -EIO : -ENOSPC;
    if (r->op == BLOCK_DISCARD) {
        if (!b->discard)
            return -ENOTSUP;
        rc = rbd_discard(s->image, r->offset, r->bytes);
        return rc < 0 ? code_of(rc) : 0;
    }
    rc = node_pieces(b, r, PIECE_BYTES, piece);
    bool through = b->cache == BLOCK_WRITETHROUGH || r->flags & BLOCK_FUA;
    return rc || r->op == BLOCK_READ || !through ? rc : flush(b);
}

/* ---- open and close ------------------------------------------------------- */

static void let_go(struct rbd *s)
{
    if (s->image)
        rbd_close(s->image);
    if (s->pool)
        rados_ioctx_destroy(s->pool);
    if (s->cluster)
        rados_shutdown(s->cluster);
    free(s);
}

/* *what is the step that failed. */
static int connect_to(struct rbd *s, const char *pool, const char *image, bool readonly,
                      const char **what)
{
    int rc;

    *what = "the client";
    rc = rados_create(&s->cluster, NULL);
    if (rc < 0)
        return rc;
    *what = "ceph.conf";
    rc = rados_conf_read_file(s->cluster, NULL);
    if (rc < 0)
        return rc;
    rados_conf_parse_env(s->cluster, NULL);
    rados_conf_set(s->cluster, "client_mount_timeout", CONNECT_S);
    rados_conf_set(s->cluster, "rados_mon_op_timeout", CONNECT_S);
    *what = "the cluster";
    rc = rados_connect(s->cluster);
    if (rc < 0)
        return rc;
    *what = "the pool";
    rc = rados_ioctx_create(s->cluster, pool, &s->pool);
    if (rc < 0)
        return rc;
    *what = "the image";
    rc = readonly ? rbd_open_read_only(s->pool, image, &s->image, NULL) :
         rbd_open(s->pool, image, &s->image, NULL);
    return rc < 0 ? rc : rbd_get_size(s->image, &s->bytes);
}

static int rbd_node_open(struct block *b, const struct block_open *how, struct error **err)
{
    const char *path = b->name + strlen("rbd://"), *slash = strchr(path, '/');
    struct rbd *s = calloc(1, sizeof *s);
    const char *what;

    BUG_ON(!s);
    if (!slash || slash == path || !slash[1]) {
        free(s);
        return error_set(err, EINVAL, "'%s' is not rbd://pool/image", b->name);
    }
    char *pool = strndup(path, (size_t)(slash - path));
    BUG_ON(!pool);
    int rc = connect_to(s, pool, slash + 1, b->readonly, &what);
    free(pool);
    if (rc < 0) {
        error_set(err, -rc, "cannot open '%s': %s: %s", b->name, what, strerror(-rc));
        error_hint(err, "ceph.conf and CEPH_ARGS say which cluster, and as whom");
        let_go(s);
        return rc;
    }
    b->state = s;
    return 0;
}

static int rbd_node_close(struct block *b, struct error **err)
{
    let_go(b->state);
    return 0;
}

static void rbd_info(const struct block *b, struct block_info *out)
{
    const struct rbd *s = b->state;

    out->bytes = s->bytes;
    out->request_align = 1;
    out->best_align = PIECE_BYTES;
    out->max_discard_bytes = b->discard && !b->readonly ? 1u << 30 : 0;
}

/* Which ones is in drivers.c; that there are any makes it a protocol. */
static const char *const schemes[] = {NULL};

static const struct block_driver driver = {
    .name = "rbd",
    .summary = "an image in a Ceph cluster",
    .schemes = schemes,
    .open = rbd_node_open,
    .close = rbd_node_close,
    .info = rbd_info,
    .perform = rbd_perform,
};

BLOCK_MODULE(driver);
