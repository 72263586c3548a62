/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iov.c - pieces of iovecs: slices of them, and copies to and from plain buffers. */
#include <string.h>

#include "block/node.h"

unsigned iov_slice(const struct iovec *iov, unsigned iovs, uint64_t skip, uint64_t bytes,
                   struct iovec *out, unsigned max, uint64_t *got)
{
    unsigned n = 0;

    *got = 0;
    for (unsigned i = 0; i < iovs && *got < bytes && n < max; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        uint64_t len = min_u64(iov[i].iov_len - skip, bytes - *got);
        out[n++] = (struct iovec){(char *)iov[i].iov_base + skip, len};
        *got += len;
        skip = 0;
    }
    return n;
}

/* Calls `fn` for every contiguous piece of [skip, skip + n). */
static void each_piece(const struct iovec *iov, unsigned iovs, uint64_t skip, uint64_t n,
                       void (*fn)(void *piece, void *buf, size_t len), void *buf)
{
    char *at = buf;

    for (unsigned i = 0; i < iovs && n; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t len = min_u64(iov[i].iov_len - skip, n);
        fn((char *)iov[i].iov_base + skip, at, len);
        at = at ? at + len : NULL;
        n -= len;
        skip = 0;
    }
}

static void copy_out(void *piece, void *buf, size_t len)
{
    memcpy(buf, piece, len);
}

static void copy_in(void *piece, void *buf, size_t len)
{
    memcpy(piece, buf, len);
}

static void clear(void *piece, void *buf, size_t len)
{
    memset(piece, 0, len);
}

void iov_to_buffer(const struct iovec *iov, unsigned iovs, uint64_t skip, void *buf, size_t n)
{
    each_piece(iov, iovs, skip, n, copy_out, buf);
}

void iov_from_buffer(const struct iovec *iov, unsigned iovs, uint64_t skip, const void *buf,
                     size_t n)
{
    each_piece(iov, iovs, skip, n, copy_in, (void *)(uintptr_t)buf);
}

void iov_zero(const struct iovec *iov, unsigned iovs, uint64_t skip, uint64_t n)
{
    each_piece(iov, iovs, skip, n, clear, NULL);
}
