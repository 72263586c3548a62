/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frames.c - a queue of copies. */
#include "net/frames.h"

#include <stdlib.h>

struct frame {
    struct frame *next;
    bool has_header;
    struct net_header header;
    size_t len;
    uint8_t data[];
};

bool frames_add(struct frames *q, const struct net_header *h, const struct iovec *iov,
                unsigned iovs, size_t max_bytes)
{
    size_t len = net_iov_bytes(iov, iovs);
    struct frame *f;

    if (q->bytes + len > max_bytes)
        return false;
    f = malloc(sizeof *f + len);
    if (!f)
        return false;
    *f = (struct frame){.has_header = h != NULL, .len = len};
    if (h)
        f->header = *h;
    net_iov_gather(iov, iovs, f->data, len);
    if (q->last)
        q->last->next = f;
    else
        q->first = f;
    q->last = f;
    q->bytes += len;
    return true;
}

bool frames_flush(struct frames *q, struct net *n, unsigned queue)
{
    while (q->first) {
        struct frame *f = q->first;
        const struct iovec iov = {f->data, f->len};

        if (!net_receive(n, queue, f->has_header ? &f->header : NULL, &iov, 1))
            return false;
        q->bytes -= f->len;
        q->first = f->next;
        if (!q->first)
            q->last = NULL;
        free(f);
    }
    return true;
}

void frames_fini(struct frames *q)
{
    while (q->first) {
        struct frame *f = q->first;

        q->first = f->next;
        free(f);
    }
    *q = (struct frames){0};
}
