/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pieces.c - a request as calls on plain buffers of bounded size: what libraries for
 * remote storage take. An iovec of one entry is used as it is, others are copied.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/node.h"

static int zeroes(struct block *b, const struct block_request *r, size_t piece, node_piece_fn *fn)
{
    char *buf = calloc(1, min_u64(r->bytes, piece));
    int rc = buf ? 0 : -ENOMEM;

    for (uint64_t at = 0; at < r->bytes && !rc; at += piece)
        rc = fn(b, BLOCK_WRITE, r->flags, r->offset + at, buf, min_u64(r->bytes - at, piece));
    free(buf);
    return rc;
}

int node_pieces(struct block *b, const struct block_request *r, size_t piece, node_piece_fn *fn)
{
    bool copies = r->iovs != 1;
    uint64_t at = 0;
    int rc = 0;

    if (r->op == BLOCK_WRITE_ZEROES)
        return zeroes(b, r, piece, fn);
    char *buf = copies ? malloc(min_u64(r->bytes, piece)) : NULL;
    if (copies && !buf)
        return -ENOMEM;
    while (at < r->bytes && !rc) {
        size_t len = min_u64(r->bytes - at, piece);
        char *p = copies ? buf : (char *)r->iov[0].iov_base + at;

        if (copies && r->op == BLOCK_WRITE)
            iov_to_buffer(r->iov, r->iovs, at, p, len);
        rc = fn(b, r->op, r->flags, r->offset + at, p, len);
        if (!rc && copies && r->op == BLOCK_READ)
            iov_from_buffer(r->iov, r->iovs, at, p, len);
        at += len;
    }
    free(buf);
    return rc;
}
