/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node.h - what formats and protocols are made of. Only src/block includes this.
 *
 * A DRIVER is a row of block/drivers.c. A protocol (file, nbd, http) brings bytes
 * from somewhere; a format (raw, qcow2) stands on another node, `below`, which
 * the core opens before the format and closes after it.
 *
 * TWO WAYS TO DO A REQUEST, of which a driver needs the first only:
 *
 *   perform   plain synchronous code, which may block. Called in any thread, by
 *             several at once, WITHOUT the context's lock; the driver has a lock
 *             of its own for what it shares. Whatever it does to the node below
 *             it does with node_read() and its kin, which perform in the same
 *             thread. It never touches the context's event loop, and it never
 *             waits for a worker, so workers cannot wait for one another.
 *   submit    asynchronous: called with the context's lock held, never blocks,
 *             and makes sure that block_complete() is called once, now or later,
 *             with the lock held. A driver without it is performed in a worker.
 *
 * So a format is written synchronously first. Its fast path (`submit`) handles
 * what needs no waiting: the metadata is in memory, and the request is handed to
 * the node below as extents (node_submit_extents()); for everything else it calls
 * node_work(), and a worker performs the request. A driver's own lock that both
 * ways take must only be held for moments in `submit`: use trylock and fall back
 * on node_work() where perform keeps it over I/O.
 *
 * BELOW. A node under a format has no end: a write beyond it makes the file
 * longer (protocols that cannot say -ENOSPC), a read beyond it gives zeroes. What
 * is there now is node_bytes(). Top nodes are checked against block_info.bytes by
 * the core, and so are requests through node_read() and its kin to backing files.
 */
#ifndef RING3_BLOCK_NODE_H
#define RING3_BLOCK_NODE_H

#include <stdatomic.h>
#include "block/block.h"
#include "block/io.h"
#include "block/tool.h"

struct block {
    const struct block_driver *driver;
    struct block_io *io;
    struct block *below;         /* formats: the node they stand on */
    void *state;                 /* the driver's: set by open, freed by close */
    char *name;                  /* as given: for messages */
    enum block_cache cache;
    bool readonly, discard, compress;
    bool is_below;               /* no end, see above */
    struct log *log;             /* may be NULL */
    struct block_info info;      /* the core's copy: driver->info after open and resize */
    unsigned depth;
    unsigned in_flight;
    struct block_stats stats;
};

struct block_driver {
    const char *name, *summary;
    const char *const *schemes;      /* protocols: "nbd", "http", ...; NULL: a format */
    const char *module;              /* the rest is there (block/module.h), or NULL */
    /* Formats: how sure these first bytes are this format's: 0 to 100. */
    int (*probe)(const uint8_t *head, size_t len, uint64_t file_bytes);
    /* Sets b->state; may set b->readonly. On failure, nothing of it is left. */
    int (*open)(struct block *b, const struct block_open *how, struct error **err);
    /* Nothing is in flight. Formats write what they hold back to the node below, which the
     * core flushes; protocols are flushed already. Frees b->state. NULL: nothing to do. */
    int (*close)(struct block *b, struct error **err);
    void (*info)(const struct block *b, struct block_info *out);     /* `out` is zeroed */
    void (*submit)(struct block *b, struct block_request *r);        /* see above; may be NULL */
    int (*perform)(struct block *b, const struct block_request *r);

    /* Tools (block/tool.h says what each is to do). Called with the context's lock
     * held and nothing in flight; they may block. NULL: this driver has no such thing.
     * `create` of a format finds an empty file below, open for writing. */
    int (*create)(struct block *below, uint64_t bytes, const char *options, struct error **err);
    /* Protocols: make an empty file where `name` says; take it away again. With `replace`
     * one that is there is emptied. */
    int (*make)(const char *name, bool replace, struct error **err);
    void (*unmake)(const char *name);
    int (*resize)(struct block *b, uint64_t bytes, struct error **err);
    int (*map)(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out);
    int (*check)(struct block *b, unsigned repair, struct block_check *out, struct error **err);
    int (*snapshot)(struct block *b, enum block_snapshot_verb verb, const char *name,
                    struct error **err);
    int (*snapshots)(struct block *b, block_snapshot_fn *fn, void *opaque, struct error **err);
    int (*commit)(struct block *b, struct error **err);
    int (*rebase)(struct block *b, const char *backing, const char *backing_format, bool unsafe,
                  struct error **err);
    void (*describe)(struct block *b, block_fact_fn *fn, void *opaque);
    struct block *(*backing)(struct block *b);       /* open backing file, or NULL */
};

extern const struct block_driver *const block_drivers[];    /* ends with NULL */
/* The protocol that `name` (a file name or URL) goes to; NULL: an unknown "scheme://". */
const struct block_driver *block_protocol_for(const char *name);
/* The driver behind a row: itself, or what its module has. */
const struct block_driver *block_driver_load(const struct block_driver *d, struct error **err);
/* What is behind "scheme:"; the name itself when there is no scheme of ours. */
const char *block_name_path(const char *name);

/* For tool.c. A protocol node; the format of that name, or the message; what the driver
 * says about the image has changed. */
struct block *node_open_protocol(struct block_io *io, const struct block_open *how,
                                 struct error **err);
const struct block_driver *node_named_format(const char *name, struct error **err);
void node_refresh_info(struct block *b);

/* ---- requests ------------------------------------------------------------ */

/* Ends a request that the driver's submit got. `b` may be gone afterwards. */
void block_complete(struct block *b, struct block_request *r, int rc);

/* A worker performs `r` and completes it. */
void node_work(struct block *b, struct block_request *r);

/* `to` does the same request at the same offset, and `b` completes it then. */
void node_forward(struct block *b, struct block_request *r, struct block *to);

/* Carries out `r` (READ or WRITE) as consecutive extents that add up to r->bytes, and
 * completes it, with the first error, once all are done. A NULL node reads as zeroes.
 * Flags of `r` go to every extent. `list` is the caller's again on return. */
struct node_extent {
    struct block *node;
    uint64_t offset, bytes;
};
void node_submit_extents(struct block *b, struct block_request *r,
                         const struct node_extent *list, unsigned count);

/* Synchronous, any thread, no context lock: what perform uses on the node below and
 * on backing files. 0 or a negative errno. */
int node_perform(struct block *b, const struct block_request *r);
int node_read(struct block *b, uint64_t offset, void *buf, uint64_t bytes);
int node_write(struct block *b, uint64_t offset, const void *buf, uint64_t bytes);
int node_zero(struct block *b, uint64_t offset, uint64_t bytes, unsigned flags);
int node_discard(struct block *b, uint64_t offset, uint64_t bytes);
int node_flush(struct block *b);
int node_resize(struct block *b, uint64_t bytes, struct error **err);
uint64_t node_bytes(struct block *b);        /* how long it is now */

/* Opens `name`, found in the image file of `b` as its backing file: relative to the
 * directory of `b`'s file, read-only, with the same cache mode. -ELOOP when the chain
 * is too deep, which is also how a loop ends. */
struct block *node_open_backing(struct block *b, const struct block_open *how, const char *name,
                                const char *format, struct error **err);
/* That path by itself: for messages and tools. The caller frees it. */
char *node_backing_path(const char *image, const char *backing);

/* READ, WRITE or WRITE_ZEROES (then as writes) by calls of `fn`, of at most `piece` bytes
 * each, until one fails: for perform of protocols whose library takes plain buffers. */
typedef int node_piece_fn(struct block *b, enum block_op op, unsigned flags, uint64_t offset,
                          void *buf, size_t bytes);
int node_pieces(struct block *b, const struct block_request *r, size_t piece, node_piece_fn *fn);

/* ---- pieces of iovecs ---------------------------------------------------- */

/* The bytes [skip, skip + bytes) of `iov` as a list in `out` (of `max`): how many
 * entries; *got says how many bytes they hold, less when `max` ended it. */
unsigned iov_slice(const struct iovec *iov, unsigned iovs, uint64_t skip, uint64_t bytes,
                   struct iovec *out, unsigned max, uint64_t *got);
void iov_to_buffer(const struct iovec *iov, unsigned iovs, uint64_t skip, void *buf, size_t n);
void iov_from_buffer(const struct iovec *iov, unsigned iovs, uint64_t skip, const void *buf,
                     size_t n);
void iov_zero(const struct iovec *iov, unsigned iovs, uint64_t skip, uint64_t n);

#endif
