/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.c - reads, writes and data syncs by io_uring, where it is built in and the
 * kernel and the sandbox allow it.
 *
 * The submitting thread may be any that holds the context's lock, so none of the
 * flags that promise a single submitter are used. A thread that ends has its
 * operations cancelled; the caller is told (-ECANCELED) and has a worker do them.
 */
#include "block/io.h"

#ifdef RING3_URING

#include <liburing.h>
#include <stdlib.h>

#include "base/bug.h"

enum { RING_ENTRIES = 256 };

struct ring {
    struct io_uring uring;
    unsigned in_kernel, queued;      /* together at most the completion ring's size */
};

struct ring *ring_new(int event_fd)
{
    struct ring *ring = calloc(1, sizeof *ring);

    BUG_ON(!ring);
    if (io_uring_queue_init(RING_ENTRIES, &ring->uring, 0) < 0) {
        free(ring);
        return NULL;
    }
    if (io_uring_register_eventfd(&ring->uring, event_fd) < 0) {
        ring_free(ring);
        return NULL;
    }
    return ring;
}

void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    BUG_ON(ring->in_kernel || ring->queued);
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

bool ring_queue(struct ring *ring, struct block_ring_op *op)
{
    if (ring->in_kernel + ring->queued >= RING_ENTRIES)
        return false;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    if (!sqe)
        return false;
    if (op->kind == RING_READ) {
        io_uring_prep_readv2(sqe, op->fd, op->iov, op->iovs, op->offset, 0);
    } else if (op->kind == RING_WRITE) {
        io_uring_prep_writev2(sqe, op->fd, op->iov, op->iovs, op->offset,
                              op->dsync ? RWF_DSYNC : 0);
    } else {
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
    }
    io_uring_sqe_set_data(sqe, op);
    ring->queued++;
    return true;
}

/* What the kernel does not take now (no memory) stays in the ring and goes with the
 * next call, which there is: somebody waits for it. */
void ring_submit(struct ring *ring)
{
    while (ring->queued) {
        int n = io_uring_submit(&ring->uring);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        ring->queued -= (unsigned)n;
        ring->in_kernel += (unsigned)n;
    }
}

bool ring_reap(struct ring *ring)
{
    struct io_uring_cqe *cqe;
    bool any = false;

    ring_submit(ring);
    while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct block_ring_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&ring->uring, cqe);
        ring->in_kernel--;
        op->done(op, result);
        any = true;
    }
    return any;
}

#else

struct ring *ring_new(int event_fd)
{
    return NULL;
}

void ring_free(struct ring *ring)
{
}

bool ring_queue(struct ring *ring, struct block_ring_op *op)
{
    return false;
}

void ring_submit(struct ring *ring)
{
}

bool ring_reap(struct ring *ring)
{
    return false;
}

#endif
