/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_image.h - a qcow2 node: the image of qcow2.h between the node below and the
 * requests from above. Private to qcow2.c, qcow2_ranges.c and qcow2_tools.c.
 *
 * `lock` is held by whoever calls qcow2_*() (workers, tools), over I/O too. The loop's
 * thread never takes it: its fast path sees only what qcow2_map_cached() shows.
 *
 * RANGES (qcow2_ranges.c). Every request from submit is on the list of those in flight
 * with the clusters it touches. One that may change a mapping is there alone; others of
 * the same clusters wait for it, and it for them. So a cluster is never freed under data
 * in flight to it, and two writes that allocate the same cluster come one after the other.
 * Lists belong to the context's lock.
 */
#ifndef RING3_BLOCK_QCOW2_IMAGE_H
#define RING3_BLOCK_QCOW2_IMAGE_H

#include "block/node.h"
#include "block/qcow2.h"

struct qcow2_node_file {
    struct qcow2_file f;
    struct block *b;
};

struct qcow2_op {
    struct qcow2_op *next;
    struct qcow2_image *image;
    struct block_request *r;
    void (*done)(struct block_request *r, int rc);      /* r's own, while it is ours */
    void *opaque;
    uint64_t from, to;           /* whole clusters */
    bool alone;
};

struct qcow2_image {
    struct qcow2 q;
    struct block *b;
    struct block *backing;       /* NULL: none, or left closed */
    struct qcow2_node_file below, behind;
    pthread_mutex_t lock;
    struct qcow2_op *active, *waiting, **waiting_end;
    bool starting;               /* the waiting list is being gone through */
    bool start_again;
};

/* Whether `bytes` at `offset` can be handed on at once (true: it was, or it failed). */
bool qcow2_try_fast(struct qcow2_image *image, struct block_request *r);
/* Puts the request on the list, and starts it when nothing is in its way. */
void qcow2_ranges_submit(struct qcow2_image *image, struct block_request *r);

int qcow2_use_backing(struct qcow2_image *image, struct block *backing);

int qcow2_tool_create(struct block *below, uint64_t bytes, const char *options,
                      struct error **err);
int qcow2_tool_resize(struct block *b, uint64_t bytes, struct error **err);
int qcow2_tool_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out);
int qcow2_tool_check(struct block *b, unsigned repair, struct block_check *out,
                     struct error **err);
int qcow2_tool_snapshot(struct block *b, enum block_snapshot_verb verb, const char *name,
                        struct error **err);
int qcow2_tool_snapshots(struct block *b, block_snapshot_fn *fn, void *opaque,
                         struct error **err);
int qcow2_tool_commit(struct block *b, struct error **err);
int qcow2_tool_rebase(struct block *b, const char *backing, const char *backing_format,
                      bool unsafe, struct error **err);
void qcow2_tool_describe(struct block *b, block_fact_fn *fn, void *opaque);

extern const struct qcow2_file_ops qcow2_node_ops;

#endif
