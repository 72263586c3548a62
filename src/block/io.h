/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io.h - what a block_io does for drivers: work in threads, and reads and writes
 * of file descriptors by io_uring. Only src/block includes this.
 *
 * Both are asked for with the context's lock held, and both report in the same way:
 * `done` with the lock held, from the loop, or from whoever waits (block_io_wait()).
 *
 * There is one way to do without io_uring: block_ring_submit() says no, and the
 * caller has a worker do it. The same is the answer to everything that io_uring
 * does not finish in one piece: a short count, an operation cancelled because the
 * thread that submitted it has ended.
 */
#ifndef RING3_BLOCK_IO_H
#define RING3_BLOCK_IO_H

#include "block/block.h"

/* Embedded in what the job is about. `run` in a worker thread, then `done`. */
struct block_job {
    void (*run)(struct block_job *job);
    void (*done)(struct block_job *job);
    struct block_job *next;          /* the context's */
};
void block_work(struct block_io *io, struct block_job *job);

struct block_ring_op {
    enum { RING_READ, RING_WRITE, RING_DATASYNC } kind;
    int fd;
    bool dsync;                      /* WRITE: durable before `done` */
    const struct iovec *iov;         /* valid until `done` */
    unsigned iovs;
    uint64_t offset;
    void (*done)(struct block_ring_op *op, int result);     /* bytes, or negative errno */
};
/* False: no ring, or no room in it; nothing happened. */
bool block_ring_submit(struct block_io *io, struct block_ring_op *op);

/* Sleeps until something completed, and calls its `done`. Something is in flight. */
void block_io_wait(struct block_io *io);

/* For tests: a context that has no io_uring. */
struct block_io *block_io_new_threads(struct loop *loop, pthread_mutex_t *lock,
                                      struct error **err);

/* ---- ring.c: the part that knows liburing -------------------------------- */

struct ring;
struct ring *ring_new(int event_fd);             /* NULL: not built in, or not allowed */
void ring_free(struct ring *ring);
bool ring_queue(struct ring *ring, struct block_ring_op *op);
void ring_submit(struct ring *ring);             /* hands the queued ones to the kernel */
bool ring_reap(struct ring *ring);               /* calls done; whether there were any */

#endif
