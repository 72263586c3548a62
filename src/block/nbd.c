/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd.c - exports of NBD servers, by libnbd: "nbd://host[:port]/export",
 * "nbd+unix:///export?socket=PATH", and "nbds..." with TLS.
 *
 * Follows the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md). A request takes a
 * connection out of a small pool and has it for itself; a server that says that its
 * connections are one cache (NBD_FLAG_CAN_MULTI_CONN) gets several, others one.
 *
 * A connection that broke is made anew by the next request. What had been written but
 * not flushed may be gone with the server: the first flush after that fails, as it does
 * for a disk that lost its cache. Nothing waits for a dead server longer than
 * CONNECT_MS or ANSWER_MS.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libnbd.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/module.h"

enum { CONNECTIONS = 4, CONNECT_MS = 5000, ANSWER_MS = 30000, PIECE_BYTES = 4 << 20 };

struct nbd {
    pthread_mutex_t lock;            /* the pool and the two flags; not held while waiting */
    pthread_cond_t returned;
    struct nbd_handle *idle[CONNECTIONS];    /* NULL: to be connected */
    unsigned idles, connections;
    bool unflushed, lost;
    uint64_t bytes;
    uint32_t min_block, piece;
    bool can_flush, can_fua, can_trim, can_zero;
};

/* ---- one connection -------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Serves the connection until `finished` says so. 0 or a negative errno. */
static int wait_for(struct nbd_handle *h, int (*finished)(struct nbd_handle *h, uint64_t cookie),
                    uint64_t cookie, int limit_ms)
{
    int64_t until = now_ms() + limit_ms;

    for (;;) {
        int rc = finished(h, cookie);
        int64_t left = until - now_ms();

        if (rc)
            return rc > 0 ? 0 : nbd_get_errno() ? -nbd_get_errno() : -EIO;
        if (left <= 0)
            return -ETIMEDOUT;
        if (nbd_poll(h, (int)left) < 0)
            return nbd_get_errno() ? -nbd_get_errno() : -EIO;
    }
}

static int connected(struct nbd_handle *h, uint64_t cookie)
{
    if (nbd_aio_is_dead(h) || nbd_aio_is_closed(h))
        return -1;
    return !nbd_aio_is_connecting(h);
}

static int completed(struct nbd_handle *h, uint64_t cookie)
{
    return nbd_aio_command_completed(h, cookie);
}

/* The user named the server, so a local socket and local keys are his to name. */
static struct nbd_handle *connect_to(const char *uri, struct error **err)
{
    struct nbd_handle *h = nbd_create();
    int rc = -ENOMEM;

    if (!h)
        goto fail;
    nbd_set_uri_allow_local_file(h, true);
    rc = nbd_aio_connect_uri(h, uri) < 0 ? -EIO : wait_for(h, connected, 0, CONNECT_MS);
    if (!rc)
        return h;
fail:
    if (rc == -ETIMEDOUT)
        error_set(err, ETIMEDOUT, "cannot connect to '%s': no answer within %d s", uri,
                  CONNECT_MS / 1000);
    else
        error_set(err, h && nbd_get_errno() ? nbd_get_errno() : EIO, "cannot connect to '%s': %s",
                  uri, nbd_get_error() ? nbd_get_error() : strerror(-rc));
    error_hint(err, "is the server running, and does it have that export?");
    nbd_close(h);
    return NULL;
}

/* ---- the pool ------------------------------------------------------------- */

/* NULL: it was idle but broken, and cannot be made again. The slot is ours even then. */
static struct nbd_handle *take(struct block *b)
{
    struct nbd *n = b->state;

    pthread_mutex_lock(&n->lock);
    while (!n->idles)
        pthread_cond_wait(&n->returned, &n->lock);
    struct nbd_handle *h = n->idle[--n->idles];
    pthread_mutex_unlock(&n->lock);
    if (!h)
        h = connect_to(b->name, NULL);
    /* An export that became another one is no longer this disk. */
    if (h && nbd_get_size(h) != (int64_t)n->bytes) {
        nbd_close(h);
        h = NULL;
    }
    return h;
}

static void give_back(struct nbd *n, struct nbd_handle *h, bool broken)
{
    if (broken && h) {
        nbd_close(h);
        h = NULL;
    }
    pthread_mutex_lock(&n->lock);
    if (broken && n->unflushed)
        n->lost = true;
    /* Connections not made yet lie at the bottom, so that one that works is preferred. */
    if (!h && n->idles) {
        n->idle[n->idles] = n->idle[0];
        n->idle[0] = NULL;
    } else {
        n->idle[n->idles] = h;
    }
    n->idles++;
    pthread_cond_signal(&n->returned);
    pthread_mutex_unlock(&n->lock);
}

static int64_t start(const struct nbd *n, struct nbd_handle *h, const struct block_request *r,
                     void *buf, uint64_t offset, uint64_t bytes)
{
    uint32_t fua = r->flags & BLOCK_FUA && n->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
    uint32_t keep = r->flags & BLOCK_MAY_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;

    switch (r->op) {
    case BLOCK_READ:
        return nbd_aio_pread(h, buf, bytes, offset, NBD_NULL_COMPLETION, 0);
    case BLOCK_WRITE:
        return nbd_aio_pwrite(h, buf, bytes, offset, NBD_NULL_COMPLETION, fua);
    case BLOCK_FLUSH:
        return nbd_aio_flush(h, NBD_NULL_COMPLETION, 0);
    case BLOCK_DISCARD:
        return nbd_aio_trim(h, bytes, offset, NBD_NULL_COMPLETION, 0);
    case BLOCK_WRITE_ZEROES:
        return nbd_aio_zero(h, bytes, offset, NBD_NULL_COMPLETION, fua | keep);
    }
    return -1;
}

/* One command on a connection of its own, a second time on a new one when that broke. */
static int command(struct block *b, const struct block_request *r, void *buf, uint64_t offset,
                   uint64_t bytes)
{
    struct nbd *n = b->state;
    int rc = -EIO;

    for (int attempt = 0; attempt < 2; attempt++) {
        struct nbd_handle *h = take(b);
        int64_t cookie = h ? start(n, h, r, buf, offset, bytes) : -1;
        bool asked = cookie >= 0;

        rc = !h ? -EIO : asked ? wait_for(h, completed, (uint64_t)cookie, ANSWER_MS) :
             -(nbd_get_errno() ? nbd_get_errno() : EIO);
        bool broken = !h || rc == -ETIMEDOUT || nbd_aio_is_dead(h) || nbd_aio_is_closed(h);
        give_back(n, h, broken);
        if (!broken || rc == -ETIMEDOUT)
            break;
    }
    return rc == -ENOSPC || rc == -ENOTSUP || rc == 0 ? rc : rc == -EPERM ? -EROFS : -EIO;
}

/* ---- requests ------------------------------------------------------------- */

static int flush(struct block *b)
{
    struct nbd *n = b->state;

    if (b->cache == BLOCK_UNSAFE || b->readonly || !n->can_flush)
        return 0;
    pthread_mutex_lock(&n->lock);
    bool lost = n->lost;
    n->lost = n->unflushed = false;
    pthread_mutex_unlock(&n->lock);
    int rc = command(b, &(struct block_request){.op = BLOCK_FLUSH}, NULL, 0, 0);
    return lost ? -EIO : rc;
}

static int transfer(struct block *b, enum block_op op, unsigned flags, uint64_t offset, void *buf,
                    size_t bytes)
{
    return command(b, &(struct block_request){.op = op, .flags = flags}, buf, offset, bytes);
}

/* TRIM and WRITE_ZEROES carry no data and have lengths of 32 bits. */
static int without_data(struct block *b, const struct block_request *r)
{
    const uint64_t most = 1u << 30;
    int rc = 0;

    for (uint64_t at = 0; at < r->bytes && !rc; at += most)
        rc = command(b, r, NULL, r->offset + at, min_u64(r->bytes - at, most));
    return rc;
}

static int nbd_perform(struct block *b, const struct block_request *r)
{
    struct nbd *n = b->state;
    struct block_request mine = *r;
    int rc;

    if (r->op == BLOCK_FLUSH)
        return flush(b);
    if (r->op == BLOCK_DISCARD && !(b->discard && n->can_trim))
        return -ENOTSUP;
    if (r->offset + r->bytes > n->bytes)
        return r->op == BLOCK_READ ? -EIO : -ENOSPC;     /* an export has an end */
    if (b->cache == BLOCK_WRITETHROUGH)
        mine.flags |= BLOCK_FUA;
    if (r->op != BLOCK_READ) {
        pthread_mutex_lock(&n->lock);
        n->unflushed = true;
        pthread_mutex_unlock(&n->lock);
    }
    if (r->op == BLOCK_DISCARD || (r->op == BLOCK_WRITE_ZEROES && n->can_zero))
        rc = without_data(b, &mine);
    else
        rc = node_pieces(b, &mine, n->piece, transfer);
    bool durable = r->op != BLOCK_READ && r->op != BLOCK_DISCARD && mine.flags & BLOCK_FUA;
    return rc || !durable || n->can_fua ? rc : flush(b);
}

/* ---- open and close ------------------------------------------------------- */

static void examine(struct nbd *n, struct nbd_handle *h, struct block *b)
{
    int64_t minimum = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
    int64_t maximum = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);

    n->bytes = (uint64_t)nbd_get_size(h);
    n->min_block = minimum > 1 && minimum <= 4096 ? (uint32_t)minimum : 1;
    n->piece = maximum > 0 && maximum < PIECE_BYTES ? (uint32_t)maximum : PIECE_BYTES;
    n->can_flush = nbd_can_flush(h) > 0;
    n->can_fua = nbd_can_fua(h) > 0;
    n->can_trim = nbd_can_trim(h) > 0;
    n->can_zero = nbd_can_zero(h) > 0;
    n->connections = b->readonly || nbd_can_multi_conn(h) > 0 ? CONNECTIONS : 1;
}

static int nbd_open(struct block *b, const struct block_open *how, struct error **err)
{
    struct nbd_handle *h = connect_to(b->name, err);
    struct nbd *n;

    if (!h)
        return err && *err ? -(*err)->code : -EIO;
    if (nbd_get_size(h) < 0 || (!b->readonly && nbd_is_read_only(h) > 0)) {
        bool sized = nbd_get_size(h) >= 0;

        error_set(err, sized ? EROFS : EIO, "'%s' %s", b->name,
                  sized ? "is exported read-only" : "has no size");
        error_hint(err, sized ? "open it read-only" : "the server is at fault");
        nbd_close(h);
        return sized ? -EROFS : -EIO;
    }
    n = calloc(1, sizeof *n);
    BUG_ON(!n);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->returned, NULL);
    examine(n, h, b);
    n->idles = n->connections;       /* all but the last are made when they are needed */
    n->idle[n->idles - 1] = h;
    b->state = n;
    return 0;
}

static int nbd_node_close(struct block *b, struct error **err)
{
    struct nbd *n = b->state;

    for (unsigned i = 0; i < n->connections; i++)
        if (n->idle[i]) {
            nbd_aio_disconnect(n->idle[i], 0);
            nbd_close(n->idle[i]);
        }
    pthread_cond_destroy(&n->returned);
    pthread_mutex_destroy(&n->lock);
    free(n);
    return 0;
}

static void nbd_info(const struct block *b, struct block_info *out)
{
    const struct nbd *n = b->state;

    out->bytes = n->bytes;
    out->request_align = n->min_block;
    out->best_align = 4096;
    out->max_discard_bytes = b->discard && n->can_trim && !b->readonly ? 1u << 30 : 0;
}

/* Which ones is in drivers.c; that there are any makes it a protocol. */
static const char *const schemes[] = {NULL};

static const struct block_driver driver = {
    .name = "nbd",
    .summary = "an export of an NBD server",
    .schemes = schemes,
    .open = nbd_open,
    .close = nbd_node_close,
    .info = nbd_info,
    .perform = nbd_perform,
};

BLOCK_MODULE(driver);
