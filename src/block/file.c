/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file.c - requests on files and block devices.
 *
 * Aligned reads, writes and syncs go to io_uring; what it does not take, or not
 * finish, a worker does with plain system calls. With O_DIRECT, what is not
 * aligned goes through a bounce buffer, and a write that covers a part of a block
 * reads the rest of it first.
 */
#include "block/file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "block/drivers.h"

enum { SLICES = 64, BOUNCE_BYTES = 1 << 20 };

int file_errno(int code)
{
    return code == EDQUOT || code == EFBIG ? -ENOSPC : -code;
}

bool file_aligned(const struct file *f, uint64_t offset, uint64_t bytes)
{
    return ((offset | bytes) & (f->align - 1)) == 0;
}

static bool memory_aligned(const struct file *f, const struct iovec *iov, unsigned iovs)
{
    if (f->memory_align == 1)
        return true;
    for (unsigned i = 0; i < iovs; i++)
        if (((uintptr_t)iov[i].iov_base & (f->memory_align - 1)) ||
            (iov[i].iov_len & (f->align - 1)))
            return false;
    return true;
}

uint64_t file_bytes(const struct file *f)
{
    struct stat st;

    if (f->is_device || fstat(f->fd, &st) < 0)
        return f->device_bytes;
    return (uint64_t)st.st_size;
}

/* ---- system calls, until they have done all -------------------------------- */

/* Beyond the end of the file it is zero. */
static int read_all(struct file *f, const struct block_request *r)
{
    struct iovec slice[SLICES];
    uint64_t at = 0, got;

    while (at < r->bytes) {
        unsigned n = iov_slice(r->iov, r->iovs, at, r->bytes - at, slice, SLICES, &got);
        ssize_t rc = preadv(f->fd, slice, (int)n, (off_t)(r->offset + at));
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc < 0)
            return -errno;
        /* A count that is not whole blocks is the end of a file read with O_DIRECT. */
        if (rc == 0 || (f->align > 1 && (uint64_t)rc % f->align)) {
            iov_zero(r->iov, r->iovs, at + (uint64_t)rc, r->bytes - at - (uint64_t)rc);
            return 0;
        }
        at += (uint64_t)rc;
    }
    return 0;
}

static int write_all(struct file *f, const struct block_request *r)
{
    struct iovec slice[SLICES];
    uint64_t at = 0, got;

    while (at < r->bytes) {
        unsigned n = iov_slice(r->iov, r->iovs, at, r->bytes - at, slice, SLICES, &got);
        ssize_t rc = pwritev2(f->fd, slice, (int)n, (off_t)(r->offset + at),
                              r->flags & BLOCK_FUA ? RWF_DSYNC : 0);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc < 0)
            return file_errno(errno);
        if (rc == 0)
            return -EIO;
        at += (uint64_t)rc;
    }
    return 0;
}

/* ---- O_DIRECT with what is not aligned ------------------------------------- */

static int buffer_io(struct file *f, enum block_op op, unsigned flags, uint64_t offset, void *buf,
                     uint64_t bytes)
{
    struct iovec iov = {buf, bytes};
    struct block_request r = {.op = op, .flags = flags, .offset = offset, .bytes = bytes,
                              .iov = &iov, .iovs = 1};

    return op == BLOCK_READ ? read_all(f, &r) : write_all(f, &r);
}

/* One buffer's worth: [from, to) of the file, whose blocks are [start, end). */
static int bounce_piece(struct file *f, const struct block_request *r, char *buf, uint64_t from,
                        uint64_t to)
{
    uint64_t start = from & ~(uint64_t)(f->align - 1);
    uint64_t end = (to + f->align - 1) & ~(uint64_t)(f->align - 1);
    bool partial = start != from || end != to;
    int rc = 0;

    if (r->op == BLOCK_READ) {
        rc = buffer_io(f, BLOCK_READ, 0, start, buf, end - start);
        if (!rc)
            iov_from_buffer(r->iov, r->iovs, from - r->offset, buf + (from - start), to - from);
        return rc;
    }
    if (partial)
        pthread_mutex_lock(&f->partial);
    if (start != from)
        rc = buffer_io(f, BLOCK_READ, 0, start, buf, f->align);
    if (!rc && end != to && (start == from || end - start > f->align))
        rc = buffer_io(f, BLOCK_READ, 0, end - f->align, buf + (end - start - f->align), f->align);
    if (!rc) {
        iov_to_buffer(r->iov, r->iovs, from - r->offset, buf + (from - start), to - from);
        rc = buffer_io(f, BLOCK_WRITE, r->flags, start, buf, end - start);
    }
    if (partial)
        pthread_mutex_unlock(&f->partial);
    return rc;
}

static int bounce(struct file *f, const struct block_request *r)
{
    uint64_t at = r->offset, end = r->offset + r->bytes;
    void *buf;
    int rc = 0;

    if (posix_memalign(&buf, f->memory_align > PAGE_SIZE ? f->memory_align : PAGE_SIZE,
                       min_u64(BOUNCE_BYTES, r->bytes + 2 * (uint64_t)f->align) + f->align))
        return -ENOMEM;
    while (at < end && !rc) {
        uint64_t limit = (at & ~(uint64_t)(f->align - 1)) + BOUNCE_BYTES;
        uint64_t to = min_u64(end, limit);

        rc = bounce_piece(f, r, buf, at, to);
        at = to;
    }
    free(buf);
    return rc;
}

static bool needs_bounce(const struct file *f, const struct block_request *r)
{
    return f->align > 1 && (!file_aligned(f, r->offset, r->bytes) ||
                            !memory_aligned(f, r->iov, r->iovs));
}

int file_write(struct file *f, const struct block_request *r)
{
    return needs_bounce(f, r) ? bounce(f, r) : write_all(f, r);
}

/* ---- requests ------------------------------------------------------------- */

static bool flush_is_nothing(const struct block *b)
{
    return b->cache == BLOCK_UNSAFE || b->cache == BLOCK_WRITETHROUGH || b->readonly;
}

static int finish_sync(struct file *f, int rc)
{
    if (rc)
        atomic_store(&f->sync_failed, true);
    return atomic_load(&f->sync_failed) ? (rc ? rc : -EIO) : 0;
}

static int file_sync(struct block *b)
{
    struct file *f = b->state;
    int rc;

    if (flush_is_nothing(b))
        return 0;
    do
        rc = fdatasync(f->fd) < 0 ? file_errno(errno) : 0;
    while (rc == -EINTR);
    return finish_sync(f, rc);
}

/* `unsafe` promises nothing, and with O_DSYNC every write is durable anyway. */
static unsigned effective_flags(const struct block *b, unsigned flags)
{
    return b->cache == BLOCK_UNSAFE || b->cache == BLOCK_WRITETHROUGH ?
           flags & ~(unsigned)BLOCK_FUA : flags;
}

static int file_perform(struct block *b, const struct block_request *r)
{
    struct block_request mine = *r;
    struct file *f = b->state;
    int rc = -EINVAL;

    mine.flags = effective_flags(b, r->flags);
    switch (r->op) {
    case BLOCK_READ:
        return needs_bounce(f, r) ? bounce(f, &mine) : read_all(f, r);
    case BLOCK_WRITE:
        return file_write(f, &mine);
    case BLOCK_FLUSH:
        return file_sync(b);
    case BLOCK_DISCARD:
        return file_discard(b, &mine);
    case BLOCK_WRITE_ZEROES:
        rc = file_zero(b, &mine);
        /* O_DSYNC and RWF_DSYNC are about writes; making holes is none. */
        if (!rc && (b->cache == BLOCK_WRITETHROUGH || mine.flags & BLOCK_FUA))
            rc = fdatasync(f->fd) < 0 ? finish_sync(f, file_errno(errno)) : 0;
        return rc;
    }
    return rc;
}

/* ---- by io_uring ---------------------------------------------------------- */

struct ring_request {
    struct block_ring_op op;
    struct block *b;
    struct block_request *r;
};

/* Anything but all of it: a worker finds out, and finishes it where that is possible. */
static void ring_done(struct block_ring_op *op, int result)
{
    struct ring_request *q = container_of(op, struct ring_request, op);
    struct block *b = q->b;
    struct block_request *r = q->r;
    bool again = result == -EINTR || result == -EAGAIN || result == -ECANCELED ||
                 result == -EOPNOTSUPP || result == -EINVAL;

    free(q);
    if (r->op == BLOCK_FLUSH && !again)
        block_complete(b, r, finish_sync(b->state, result < 0 ? file_errno(-result) : 0));
    else if (again || (result >= 0 && (uint64_t)result != r->bytes))
        node_work(b, r);
    else
        block_complete(b, r, result < 0 ? file_errno(-result) : 0);
}

static bool submit_to_ring(struct block *b, struct block_request *r)
{
    struct file *f = b->state;
    struct ring_request *q;

    if (r->op == BLOCK_DISCARD || r->op == BLOCK_WRITE_ZEROES || r->iovs > IOV_MAX ||
        r->bytes > INT_MAX - PAGE_SIZE || (r->op != BLOCK_FLUSH && needs_bounce(f, r)))
        return false;
    q = malloc(sizeof *q);
    if (!q)
        return false;
    *q = (struct ring_request){
        .op = {.fd = f->fd, .iov = r->iov, .iovs = r->iovs, .offset = r->offset,
               .kind = r->op == BLOCK_READ ? RING_READ :
                       r->op == BLOCK_WRITE ? RING_WRITE : RING_DATASYNC,
               .dsync = effective_flags(b, r->flags) & BLOCK_FUA, .done = ring_done},
        .b = b, .r = r};
    if (block_ring_submit(b->io, &q->op))
        return true;
    free(q);
    return false;
}

static void file_submit(struct block *b, struct block_request *r)
{
    if (r->op == BLOCK_FLUSH && flush_is_nothing(b))
        block_complete(b, r, 0);
    else if (r->op == BLOCK_DISCARD && !b->discard)
        block_complete(b, r, -ENOTSUP);
    else if (!submit_to_ring(b, r))
        node_work(b, r);
}

static int file_close(struct block *b, struct error **err)
{
    struct file *f = b->state;
    int rc = close(f->fd) < 0 ? file_errno(errno) : 0;

    pthread_mutex_destroy(&f->partial);
    free(f);
    return rc ? error_set(err, -rc, "closing '%s': %s", b->name, strerror(-rc)) : 0;
}

static void file_info(const struct block *b, struct block_info *out)
{
    const struct file *f = b->state;

    out->bytes = file_bytes(f);
    out->request_align = 1;
    out->best_align = f->best_align;
    out->max_discard_bytes = b->discard && !b->readonly ? (uint64_t)1 << 40 : 0;
}

static const char *const file_schemes[] = {"file:", NULL};

const struct block_driver block_file = {
    .name = "file",
    .summary = "a file or a block device of this host",
    .schemes = file_schemes,
    .open = file_open,
    .close = file_close,
    .info = file_info,
    .submit = file_submit,
    .perform = file_perform,
    .make = file_make,
    .unmake = file_unmake,
    .resize = file_resize,
    .map = file_map,
    .describe = file_describe,
};
