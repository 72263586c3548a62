/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block.c - the front of an open image: checks, counts, hands on, waits.
 *
 * Opening and closing are in open.c. Everything here runs with the context's lock
 * held, but for node_*(), which perform in any thread.
 */
#include "block/block.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/node.h"

const char *const block_cache_names[] = {"writeback", "none", "writethrough", "unsafe", NULL};

static bool writes(enum block_op op)
{
    return op == BLOCK_WRITE || op == BLOCK_DISCARD || op == BLOCK_WRITE_ZEROES;
}

/* A node under a format ends where the format says. */
static int check_request(const struct block *b, const struct block_request *r)
{
    uint64_t sum = 0, end;

    if (r->op == BLOCK_FLUSH)
        return 0;
    if (__builtin_add_overflow(r->offset, r->bytes, &end) || end > INT64_MAX)
        return -EINVAL;
    if (writes(r->op) && b->readonly)
        return -EROFS;
    if (!b->is_below &&
        (end > b->info.bytes || (r->offset | r->bytes) & (b->info.request_align - 1)))
        return -EINVAL;
    if (r->op == BLOCK_DISCARD || r->op == BLOCK_WRITE_ZEROES)
        return 0;
    for (unsigned i = 0; i < r->iovs; i++)
        sum += r->iov[i].iov_len;
    return sum == r->bytes ? 0 : -EINVAL;
}

void block_complete(struct block *b, struct block_request *r, int rc)
{
    BUG_ON(!b->in_flight || rc > 0);
    b->in_flight--;
    b->stats.requests[r->op]++;
    b->stats.bytes[r->op] += r->op == BLOCK_FLUSH ? 0 : r->bytes;
    b->stats.failed += rc < 0 && rc != -ENOTSUP;
    r->done(r, rc);
}

void block_submit(struct block *b, struct block_request *r)
{
    int rc = check_request(b, r);

    BUG_ON(r->op >= BLOCK_OPS);
    b->in_flight++;
    if (rc || (r->op != BLOCK_FLUSH && !r->bytes))
        block_complete(b, r, rc);
    else if (b->driver->submit)
        b->driver->submit(b, r);
    else
        node_work(b, r);
}

void block_drain(struct block *b)
{
    while (b->in_flight)
        block_io_wait(b->io);
}

unsigned block_in_flight(const struct block *b)
{
    return b->in_flight;
}

void block_info(const struct block *b, struct block_info *out)
{
    *out = b->info;
}

void block_stats(const struct block *b, struct block_stats *out)
{
    *out = b->stats;
}

const char *block_name(const struct block *b)
{
    return b->name;
}

/* ---- synchronously -------------------------------------------------------- */

int node_perform(struct block *b, const struct block_request *r)
{
    int rc = check_request(b, r);

    if (rc || (r->op != BLOCK_FLUSH && !r->bytes))
        return rc;
    return b->driver->perform(b, r);
}

/* A piece at a time, for drivers need not be able to hold more than INT_MAX. */
static int transfer(struct block *b, enum block_op op, uint64_t offset, void *buf, uint64_t bytes)
{
    const uint64_t piece = 1u << 30;
    int rc = 0;

    while (bytes && !rc) {
        struct iovec iov = {buf, min_u64(bytes, piece)};
        struct block_request r = {.op = op, .offset = offset, .bytes = iov.iov_len, .iov = &iov,
                                  .iovs = 1};

        rc = node_perform(b, &r);
        offset += iov.iov_len;
        bytes -= iov.iov_len;
        buf = (char *)buf + iov.iov_len;
    }
    return rc;
}

int node_read(struct block *b, uint64_t offset, void *buf, uint64_t bytes)
{
    return transfer(b, BLOCK_READ, offset, buf, bytes);
}

int node_write(struct block *b, uint64_t offset, const void *buf, uint64_t bytes)
{
    return transfer(b, BLOCK_WRITE, offset, (void *)(uintptr_t)buf, bytes);
}

int node_zero(struct block *b, uint64_t offset, uint64_t bytes, unsigned flags)
{
    return node_perform(b, &(struct block_request){.op = BLOCK_WRITE_ZEROES, .flags = flags,
                                                   .offset = offset, .bytes = bytes});
}

int node_discard(struct block *b, uint64_t offset, uint64_t bytes)
{
    return node_perform(b, &(struct block_request){.op = BLOCK_DISCARD, .offset = offset,
                                                   .bytes = bytes});
}

int node_flush(struct block *b)
{
    return node_perform(b, &(struct block_request){.op = BLOCK_FLUSH});
}

uint64_t node_bytes(struct block *b)
{
    struct block_info info = {0};

    b->driver->info(b, &info);
    return info.bytes;
}

int block_read(struct block *b, uint64_t offset, void *buf, uint64_t bytes)
{
    return node_read(b, offset, buf, bytes);
}

int block_write(struct block *b, uint64_t offset, const void *buf, uint64_t bytes)
{
    return node_write(b, offset, buf, bytes);
}

int block_flush(struct block *b)
{
    return node_flush(b);
}

/* ---- in a worker ---------------------------------------------------------- */

struct work {
    struct block_job job;
    struct block *b;
    struct block_request *r;
    int rc;
};

static void work_run(struct block_job *job)
{
    struct work *w = container_of(job, struct work, job);

    w->rc = w->b->driver->perform(w->b, w->r);
}

static void work_done(struct block_job *job)
{
    struct work *w = container_of(job, struct work, job);
    struct block *b = w->b;
    struct block_request *r = w->r;
    int rc = w->rc;

    free(w);
    block_complete(b, r, rc);
}

void node_work(struct block *b, struct block_request *r)
{
    struct work *w = malloc(sizeof *w);

    if (!w) {
        block_complete(b, r, -ENOMEM);
        return;
    }
    *w = (struct work){.job = {work_run, work_done}, .b = b, .r = r};
    block_work(b->io, &w->job);
}

/* ---- by another node ------------------------------------------------------ */

struct forward {
    struct block_request child;
    struct block *b;
    struct block_request *parent;
};

static void forward_done(struct block_request *child, int rc)
{
    struct forward *f = container_of(child, struct forward, child);
    struct block *b = f->b;
    struct block_request *parent = f->parent;

    free(f);
    block_complete(b, parent, rc);
}

void node_forward(struct block *b, struct block_request *r, struct block *to)
{
    struct forward *f = malloc(sizeof *f);

    if (!f) {
        block_complete(b, r, -ENOMEM);
        return;
    }
    *f = (struct forward){.child = *r, .b = b, .parent = r};
    f->child.done = forward_done;
    block_submit(to, &f->child);
}

/* ---- as extents of other nodes -------------------------------------------- */

/* One allocation: this, a request per extent, then the slices of the iovec. */
struct split {
    struct block *b;
    struct block_request *parent;
    unsigned left;
    int rc;
    struct block_request child[];
};

static void split_done(struct block_request *child, int rc)
{
    struct split *s = child->opaque;

    if (rc && !s->rc)
        s->rc = rc;
    if (--s->left)
        return;
    struct block *b = s->b;
    struct block_request *parent = s->parent;
    rc = s->rc;
    free(s);
    block_complete(b, parent, rc);
}

/* Every extent begins in some entry of the iovec and may share it with its
 * neighbours: never more than entries + extents slices. */
void node_submit_extents(struct block *b, struct block_request *r,
                         const struct node_extent *list, unsigned count)
{
    size_t head = sizeof(struct split) + count * sizeof(struct block_request);
    struct split *s = malloc(head + (r->iovs + count) * sizeof(struct iovec));
    struct iovec *slice = s ? (struct iovec *)((char *)s + head) : NULL;
    uint64_t at = 0, got;

    if (!s) {
        block_complete(b, r, -ENOMEM);
        return;
    }
    *s = (struct split){.b = b, .parent = r, .left = count + 1};
    for (unsigned i = 0; i < count; i++) {
        unsigned n = iov_slice(r->iov, r->iovs, at, list[i].bytes, slice, r->iovs + 1, &got);

        BUG_ON(got != list[i].bytes);
        s->child[i] = (struct block_request){
            .op = r->op, .flags = r->flags, .offset = list[i].offset, .bytes = got,
            .iov = slice, .iovs = n, .done = split_done, .opaque = s};
        slice += n;
        at += got;
    }
    BUG_ON(at != r->bytes);
    block_plug(b->io);
    for (unsigned i = 0; i < count; i++) {
        if (list[i].node) {
            block_submit(list[i].node, &s->child[i]);
        } else {
            BUG_ON(r->op != BLOCK_READ);
            iov_zero(s->child[i].iov, s->child[i].iovs, 0, s->child[i].bytes);
            split_done(&s->child[i], 0);
        }
    }
    block_unplug(b->io);
    split_done(&(struct block_request){.opaque = s}, 0);
}
