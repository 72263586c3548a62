/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block.h - disk images: what a device sees.
 *
 * An open image is a stack of nodes: a format (raw, qcow2) over a protocol
 * (file, nbd, http, ...), with the backing file, if any, as another stack
 * beside it. Devices hold the top node and submit requests; completion comes by
 * callback. Nothing here knows virtio, ATA or guests. Tools (create, check,
 * convert, ...) are in block/tool.h, what a format or protocol is in
 * block/node.h.
 *
 * CONTEXT AND THREADS. All nodes of a stack belong to one `struct block_io`,
 * which belongs to one event loop and the lock its callbacks run under (the VM
 * lock, or an I/O thread's: base/loop.h, base/iothread.h). block_submit() and
 * everything else is called with that lock held; `done` runs with it held, in
 * the loop's thread, in the thread that drains, or inside block_submit() when
 * there was nothing to wait for. A `done` may submit. What blocks (metadata that
 * must be read, compressed clusters, files when there is no io_uring) runs in
 * the context's worker threads, never in the caller's.
 *
 * ORDER. Requests in flight together may complete and take effect in any order,
 * as with a real disk: whoever wants order waits. BLOCK_FLUSH covers every write
 * whose `done` ran before the flush was submitted; BLOCK_FUA on a write covers
 * that write. What each cache mode makes of that is with `enum block_cache`.
 *
 * RANGES. Bytes, multiples of block_info.request_align; the front ends check
 * guests' ranges, and block_submit() answers -EINVAL to one that is outside the
 * image or not aligned: it never reaches a format.
 *
 * ERRORS. `done` gets 0 or a negative errno: -ENOSPC (the host's disk is full,
 * a quota or a file size limit is reached), -EIO, -EROFS, -ENOTSUP (discard
 * where it makes no sense; front ends treat it as done). Opening and tools give
 * a `struct error` in words.
 */
#ifndef RING3_BLOCK_BLOCK_H
#define RING3_BLOCK_BLOCK_H

#include <pthread.h>
#include <sys/uio.h>
#include "base/types.h"

struct block;
struct block_io;
struct error;
struct log;
struct loop;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };
#define BLOCK_OPS 5u
enum block_flags {
    BLOCK_FUA = 1,           /* durable before `done` */
    BLOCK_MAY_UNMAP = 2,     /* WRITE_ZEROES may deallocate */
};

/* The caller's until block_submit(), the block layer's until `done`, then the
 * caller's again. iov covers exactly `bytes` for READ and WRITE and may be
 * changed by nobody meanwhile. */
struct block_request {
    enum block_op op;
    unsigned flags;
    uint64_t offset, bytes;
    const struct iovec *iov;
    unsigned iovs;
    void (*done)(struct block_request *r, int rc);
    void *opaque;
    struct block_request *next;      /* whoever holds it may queue it */
};

/* writeback: the host's page cache; flush is fdatasync. none: O_DIRECT; flush is
 * fdatasync. writethrough: every write is durable before `done`; flush does
 * nothing. unsafe: the page cache, flush does nothing: for throw-away VMs. */
enum block_cache { BLOCK_WRITEBACK, BLOCK_NONE, BLOCK_WRITETHROUGH, BLOCK_UNSAFE };
extern const char *const block_cache_names[];        /* NULL-terminated, in that order */

struct block_open {
    const char *name;        /* file name or URL; "nbd://", "http://", ... by protocol table */
    const char *format;      /* "raw", "qcow2"; NULL: probed. An image that is probed as raw opens
                                read-only or not at all: what its guest writes into the first
                                sector would decide what it is the next time */
    enum block_cache cache;
    bool readonly;
    bool no_lock;            /* look at an image that somebody has open */
    bool no_backing;         /* for tools: leave the backing chain closed */
    bool checking;           /* for check and repair: open it however damaged it is */
    bool compress;           /* for tools: formats that can compress whole clusters written */
    bool discard;            /* pass discards on (default: -ENOTSUP) */
    struct log *log;         /* may be NULL */
    unsigned depth;          /* block/node.h's: how many images stand on this one */
};

struct block_info {
    uint64_t bytes;              /* what the guest sees */
    uint32_t request_align;      /* 1, 512 or 4096: smallest unit of a request */
    uint32_t best_align;         /* what is fast: cluster or file system block */
    uint64_t max_discard_bytes;  /* 0: not supported */
    bool readonly;
    const char *format;          /* "qcow2" */
};

/* ---- context ------------------------------------------------------------- */

/* `lock` is the one under which the loop's callbacks run (NULL: everything happens in
 * one thread). Uses io_uring when the kernel allows it, else worker threads. Made and
 * freed in the loop's thread or with the lock held. */
struct block_io *block_io_new(struct loop *loop, pthread_mutex_t *lock, struct error **err);
void block_io_free(struct block_io *io);             /* every image is closed; NULL ok */
const char *block_io_kind(const struct block_io *io);    /* "io_uring", "threads" */

/* Around a batch of block_submit(): what is between goes to the kernel with one
 * system call, at the outermost block_unplug(). */
void block_plug(struct block_io *io);
void block_unplug(struct block_io *io);

/* ---- images -------------------------------------------------------------- */

/* Opens the whole stack; blocks. NULL with a message that names the file, what is
 * wrong with it and what to do. A locked image is -EBUSY. `how` and its strings
 * are the caller's. */
struct block *block_open(struct block_io *io, const struct block_open *how, struct error **err);
/* Waits for requests in flight, makes everything durable (unless unsafe),
 * unlocks, frees. The first failure is returned; the node is gone anyway. NULL ok. */
int block_close(struct block *b, struct error **err);

void block_info(const struct block *b, struct block_info *out);
void block_submit(struct block *b, struct block_request *r);
/* Waits, calling what completes, until nothing of this image is in flight: before
 * quiesce. Other images of the context make progress, too. */
void block_drain(struct block *b);
unsigned block_in_flight(const struct block *b);

/* Do it at once in this thread, which blocks: for tools and for reading boot
 * sectors. 0 or a negative errno. */
int block_read(struct block *b, uint64_t offset, void *buf, uint64_t bytes);
int block_write(struct block *b, uint64_t offset, const void *buf, uint64_t bytes);
int block_flush(struct block *b);

/* What was submitted and is completed so far, for `info block` and the benchmarks. */
struct block_stats {
    uint64_t requests[BLOCK_OPS], bytes[BLOCK_OPS], failed;
};
void block_stats(const struct block *b, struct block_stats *out);

#endif
