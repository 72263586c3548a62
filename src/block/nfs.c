/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nfs.c - files on NFS servers without mounting them, by libnfs:
 * "nfs://server/path/file[?uid=N&gid=N...]" (RFC 1813). With "version=4" (RFC 7530) the
 * releases of the library up to 4.0 read but cannot write.
 *
 * The library serves one thread at a time, so requests go one after the other under
 * the driver's lock. It reconnects by itself; a write is only counted as done when the
 * server answered, and a flush is a COMMIT.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <nfsc/libnfs.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/module.h"

enum { ANSWER_MS = 20000, PIECE_BYTES = 1 << 20, RETRIES = 1 };

struct nfs {
    pthread_mutex_t lock;
    struct nfs_context *server;
    struct nfsfh *file;
    size_t piece;                    /* what the server takes and gives at once */
};

/* creat() opens for less than its file's owner may do, so what it made is opened again. */
static int make_and_open(struct nfs *n, const char *path, int flags)
{
    int rc = 0;

    if (flags & O_CREAT) {
        rc = nfs_creat(n->server, path, 0666, &n->file);
        if (!rc)
            rc = nfs_close(n->server, n->file);
    }
    return rc ? rc : nfs_open(n->server, path, flags & ~O_CREAT, &n->file);
}

/* Like open(2), on a server. */
static int open_file(const char *name, int flags, struct nfs *n, struct error **err)
{
    struct nfs_url *url = NULL;
    int rc = -ENOMEM;

    n->server = nfs_init_context();
    if (!n->server)
        return error_set(err, ENOMEM, "cannot open '%s': %s", name, strerror(ENOMEM));
    url = nfs_parse_url_full(n->server, name);
    rc = url ? 0 : -EINVAL;
    if (!rc) {
        nfs_set_timeout(n->server, ANSWER_MS);
        nfs_set_autoreconnect(n->server, RETRIES);
        rc = nfs_mount(n->server, url->server, url->path);
    }
    if (!rc)
        rc = make_and_open(n, url->file, flags);
    if (rc) {
        error_set(err, -rc, "cannot open '%s': %s", name, nfs_get_error(n->server));
        if (!url)
            error_hint(err, "it is nfs://server/path/file");
        nfs_destroy_context(n->server);
    }
    if (url)
        nfs_destroy_url(url);
    return rc;
}

static void close_file(struct nfs *n)
{
    nfs_close(n->server, n->file);
    nfs_destroy_context(n->server);
}

static int code_of(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG ? -ENOSPC : rc == -EROFS ? rc : -EIO;
}

/* A read that ends early is the end of the file: zeroes behind it. */
static int piece(struct block *b, enum block_op op, unsigned flags, uint64_t offset, void *buf,
                 size_t bytes)
{
    struct nfs *n = b->state;

    for (size_t at = 0; at < bytes;) {
        char *p = (char *)buf + at;
        int rc = op == BLOCK_READ ? nfs_pread(n->server, n->file, offset + at, bytes - at, p) :
                 nfs_pwrite(n->server, n->file, offset + at, bytes - at, p);

        if (rc < 0)
            return code_of(rc);
        if (rc == 0) {
            if (op != BLOCK_READ)
                return -EIO;
            memset(p, 0, bytes - at);
            return 0;
        }
        at += (size_t)rc;
    }
    return 0;
}

static int nfs_perform(struct block *b, const struct block_request *r)
{
    struct nfs *n = b->state;
    bool through = b->cache == BLOCK_WRITETHROUGH || r->flags & BLOCK_FUA;
    int rc = 0;

    if (r->op == BLOCK_DISCARD)
        return -ENOTSUP;
    pthread_mutex_lock(&n->lock);
    if (r->op != BLOCK_FLUSH)
        rc = node_pieces(b, r, n->piece, piece);
    if (!rc && r->op != BLOCK_READ && b->cache != BLOCK_UNSAFE && !b->readonly &&
        (through || r->op == BLOCK_FLUSH)) {
        rc = nfs_fsync(n->server, n->file);
        rc = rc < 0 ? code_of(rc) : 0;
    }
    pthread_mutex_unlock(&n->lock);
    return rc;
}

static int nfs_node_open(struct block *b, const struct block_open *how, struct error **err)
{
    struct nfs *n = calloc(1, sizeof *n);

    BUG_ON(!n);
    int rc = open_file(b->name, b->readonly ? O_RDONLY : O_RDWR, n, err);
    if (rc) {
        free(n);
        return rc;
    }
    n->piece = min_u64(nfs_get_readmax(n->server), nfs_get_writemax(n->server));
    n->piece = n->piece ? min_u64(n->piece, PIECE_BYTES) : PIECE_BYTES;
    pthread_mutex_init(&n->lock, NULL);
    b->state = n;
    return 0;
}

static int nfs_node_close(struct block *b, struct error **err)
{
    struct nfs *n = b->state;

    close_file(n);
    pthread_mutex_destroy(&n->lock);
    free(n);
    return 0;
}

static void nfs_info(const struct block *b, struct block_info *out)
{
    struct nfs *n = b->state;
    struct nfs_stat_64 st = {0};

    pthread_mutex_lock(&n->lock);
    if (nfs_fstat64(n->server, n->file, &st) == 0)
        out->bytes = st.nfs_size;
    pthread_mutex_unlock(&n->lock);
    out->request_align = 1;
    out->best_align = 4096;
}

static int nfs_make(const char *name, bool replace, struct error **err)
{
    struct nfs n = {0};

    if (!replace && open_file(name, O_RDONLY, &n, NULL) == 0) {
        close_file(&n);
        error_set(err, EEXIST, "cannot create '%s': %s", name, strerror(EEXIST));
        error_hint(err, "give --force to replace it");
        return -EEXIST;
    }
    int rc = open_file(name, O_RDWR | O_CREAT, &n, err);
    if (rc)
        return rc;
    rc = nfs_ftruncate(n.server, n.file, 0);
    if (rc)
        error_set(err, -rc, "cannot empty '%s': %s", name, nfs_get_error(n.server));
    close_file(&n);
    return rc;
}

static void nfs_unmake(const char *name)
{
    struct nfs_context *server = nfs_init_context();
    struct nfs_url *url = server ? nfs_parse_url_full(server, name) : NULL;

    if (url) {
        nfs_set_timeout(server, ANSWER_MS);
        if (nfs_mount(server, url->server, url->path) == 0)
            nfs_unlink(server, url->file);
        nfs_destroy_url(url);
    }
    if (server)
        nfs_destroy_context(server);
}

static int nfs_resize(struct block *b, uint64_t bytes, struct error **err)
{
    struct nfs *n = b->state;

    pthread_mutex_lock(&n->lock);
    int rc = nfs_ftruncate(n->server, n->file, bytes);
    if (rc)
        error_set(err, -rc, "cannot make '%s' %" PRIu64 " bytes long: %s", b->name, bytes,
                  nfs_get_error(n->server));
    pthread_mutex_unlock(&n->lock);
    return rc;
}

/* Which ones is in drivers.c; that there are any makes it a protocol. */
static const char *const schemes[] = {NULL};

static const struct block_driver driver = {
    .name = "nfs",
    .summary = "a file on an NFS server",
    .schemes = schemes,
    .open = nfs_node_open,
    .close = nfs_node_close,
    .info = nfs_info,
    .perform = nfs_perform,
    .make = nfs_make,
    .unmake = nfs_unmake,
    .resize = nfs_resize,
};

BLOCK_MODULE(driver);
