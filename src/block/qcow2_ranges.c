/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2_ranges.c - which requests may be in flight together (qcow2_image.h). */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2_image.h"

static bool overlap(const struct qcow2_op *a, const struct qcow2_op *b)
{
    return a->from < b->to && b->from < a->to;
}

static bool in_the_way(const struct qcow2_op *list, const struct qcow2_op *op, bool alone)
{
    for (; list && list != op; list = list->next)
        if ((alone || list->alone) && overlap(list, op))
            return true;
    return false;
}

static void start_waiting(struct qcow2_image *image);

static void op_done(struct block_request *r, int rc)
{
    struct qcow2_op *op = r->opaque, **link = &op->image->active;
    struct qcow2_image *image = op->image;

    while (*link != op)
        link = &(*link)->next;
    *link = op->next;
    r->done = op->done;
    r->opaque = op->opaque;
    free(op);
    start_waiting(image);
    r->done(r, rc);
}

static void activate(struct qcow2_image *image, struct qcow2_op *op, bool alone)
{
    op->alone = alone;
    op->next = image->active;
    image->active = op;
    op->done = op->r->done;
    op->opaque = op->r->opaque;
    op->r->done = op_done;
    op->r->opaque = op;
}

/* False: something is in its way. */
static bool start(struct qcow2_image *image, struct qcow2_op *op)
{
    struct block_request *r = op->r;

    if (in_the_way(image->active, op, false))
        return false;
    /* On the list first: it may complete inside. */
    activate(image, op, false);
    if (qcow2_try_fast(image, r))
        return true;
    if (r->op != BLOCK_READ) {
        image->active = op->next;
        r->done = op->done;
        r->opaque = op->opaque;
        if (in_the_way(image->active, op, true))
            return false;
        activate(image, op, true);
    }
    node_work(image->b, r);
    return true;
}

/* First come, first served among those that touch the same clusters. */
static void start_waiting(struct qcow2_image *image)
{
    image->start_again = true;
    if (image->starting)
        return;
    image->starting = true;
    while (image->start_again) {
        struct qcow2_op **link = &image->waiting;
        image->start_again = false;
        while (*link) {
            struct qcow2_op *op = *link, *next = op->next;
            if (in_the_way(image->waiting, op, true) || !start(image, op)) {
                op->next = next;
                link = &op->next;
                continue;
            }
            *link = next;
        }
        image->waiting_end = link;
    }
    image->starting = false;
}

void qcow2_ranges_submit(struct qcow2_image *image, struct block_request *r)
{
    struct qcow2_op *op = malloc(sizeof *op);

    if (!op) {
        block_complete(image->b, r, -ENOMEM);
        return;
    }
    *op = (struct qcow2_op){
        .image = image, .r = r, .from = align_down(r->offset, image->q.cluster_bytes),
        .to = align_up(r->offset + r->bytes, image->q.cluster_bytes)};
    if (!image->waiting && start(image, op))
        return;
    op->next = NULL;
    *image->waiting_end = op;
    image->waiting_end = &op->next;
    start_waiting(image);
}
