/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_space.c - holes and zeroes: discard, write-zeroes, the map of a file.
 *
 * fallocate(2) does it where the file system can; where it cannot, zeroes are
 * written. A file under a format grows when it is zeroed beyond its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "block/file.h"

static int allocate(const struct file *f, int mode, uint64_t offset, uint64_t bytes)
{
    int rc;

    do
        rc = fallocate(f->fd, mode, (off_t)offset, (off_t)bytes);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? file_errno(errno) : 0;
}

/* Not "failed", but "not that way". EPERM: a file that may not be punched; EINVAL:
 * parts of a device's blocks. */
static bool another_way(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -ENODEV || rc == -EPERM || rc == -EINVAL;
}

static int write_zeroes(struct file *f, const struct block_request *r)
{
    static const char zeroes[1 << 16] __attribute__((aligned(PAGE_SIZE)));
    int rc = 0;

    for (uint64_t at = 0; at < r->bytes && !rc;) {
        /* The first piece ends on a round offset, so that the others are aligned. */
        uint64_t n = min_u64(sizeof zeroes - (r->offset + at) % sizeof zeroes, r->bytes - at);
        struct iovec iov = {(void *)(uintptr_t)zeroes, n};
        struct block_request w = {.op = BLOCK_WRITE, .flags = r->flags & BLOCK_FUA,
                                  .offset = r->offset + at, .bytes = n, .iov = &iov, .iovs = 1};

        rc = file_write(f, &w);
        at += n;
    }
    return rc;
}

static int zero_range(const struct block *b, struct file *f, const struct block_request *r)
{
    uint64_t end = r->offset + r->bytes;
    int rc = -EOPNOTSUPP;

    /* A hole makes no file longer. */
    if (r->flags & BLOCK_MAY_UNMAP && b->discard && end <= file_bytes(f))
        rc = allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r->offset, r->bytes);
    if (another_way(rc))
        rc = allocate(f, FALLOC_FL_ZERO_RANGE | (f->is_device ? FALLOC_FL_KEEP_SIZE : 0),
                      r->offset, r->bytes);
    return rc;
}

int file_zero(struct block *b, const struct block_request *r)
{
    struct file *f = b->state;
    bool partial = f->align > 1 && !file_aligned(f, r->offset, r->bytes);

    if (partial)
        pthread_mutex_lock(&f->partial);
    int rc = zero_range(b, f, r);
    if (partial)
        pthread_mutex_unlock(&f->partial);
    return another_way(rc) ? write_zeroes(f, r) : rc;
}

int file_discard(struct block *b, const struct block_request *r)
{
    struct file *f = b->state;

    if (!b->discard)
        return -ENOTSUP;
    /* A part of a block that is read and written back meanwhile may keep its old contents:
     * a discard promises nothing. */
    int rc = allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r->offset, r->bytes);
    return another_way(rc) ? -ENOTSUP : rc;
}

int file_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out)
{
    struct file *f = b->state;
    off_t data = lseek(f->fd, (off_t)offset, SEEK_DATA);
    uint64_t end = offset + bytes;
    bool is_data = data == (off_t)offset;

    *out = (struct block_extent){
        .bytes = bytes, .host_offset = offset,
        .flags = BLOCK_EXTENT_OFFSET | BLOCK_EXTENT_ALLOCATED | BLOCK_EXTENT_DATA};
    if (data < 0 && errno != ENXIO)
        return errno == EINVAL ? 0 : -errno;         /* no holes here: all of it is data */
    if (is_data) {
        off_t hole = lseek(f->fd, (off_t)offset, SEEK_HOLE);
        if (hole > (off_t)offset)
            out->bytes = min_u64(end, (uint64_t)hole) - offset;
        return 0;
    }
    out->flags ^= BLOCK_EXTENT_DATA | BLOCK_EXTENT_ZERO;
    if (data > (off_t)offset)
        out->bytes = min_u64(end, (uint64_t)data) - offset;
    return 0;
}
