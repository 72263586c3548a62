/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block_fixture.h - a context, a directory, and requests that are waited for. */
#ifndef RING3_TESTS_BLOCK_FIXTURE_H
#define RING3_TESTS_BLOCK_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/loop.h"
#include "block/block.h"
#include "block/fault.h"
#include "block/io.h"
#include "unit.h"

struct fixture {
    struct loop *loop;
    struct block_io *io;
    pthread_mutex_t lock;
    char dir[64], name[PATH_MAX];
    struct error *err;
};

/* In the build directory: on the real file system, unlike /tmp perhaps. */
static inline void fixture_init(struct fixture *f, bool ring)
{
    *f = (struct fixture){.lock = PTHREAD_MUTEX_INITIALIZER};
    signal(SIGXFSZ, SIG_IGN);        /* as main() does */
    strcpy(f->dir, "block-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->loop = loop_new(&f->err);
    assert_non_null(f->loop);
    loop_attach(f->loop, &f->lock, NULL);
    pthread_mutex_lock(&f->lock);
    f->io = ring ? block_io_new(f->loop, &f->lock, &f->err) :
            block_io_new_threads(f->loop, &f->lock, &f->err);
    assert_non_null(f->io);
}

static inline int fixture_remove(const char *path, const struct stat *st, int type,
                                 struct FTW *ftw)
{
    return remove(path);
}

static inline void fixture_fini(struct fixture *f)
{
    block_io_free(f->io);
    pthread_mutex_unlock(&f->lock);
    loop_free(f->loop);
    error_free(&f->err);
    nftw(f->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the directory, valid until the next call. */
static inline const char *in_dir(struct fixture *f, const char *name)
{
    snprintf(f->name, sizeof f->name, "%s/%s", f->dir, name);
    return f->name;
}

static inline void make_file(const char *path, uint64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    close(fd);
}

static inline struct block *open_raw(struct fixture *f, const char *name, enum block_cache cache)
{
    struct block_open how = {.name = name, .format = "raw", .cache = cache, .discard = true};
    struct block *b = block_open(f->io, &how, &f->err);

    if (!b)
        print_message("%s\n", f->err->what);
    return b;
}

struct waited {
    struct block_request r;
    bool finished;
    int rc;
};

static inline void waited_done(struct block_request *r, int rc)
{
    struct waited *w = container_of(r, struct waited, r);

    w->finished = true;
    w->rc = rc;
}

/* Submits and serves the loop, as a VM does, until it is done. */
static inline int do_request(struct fixture *f, struct block *b, struct block_request r)
{
    struct waited w = {.r = r};

    w.r.done = waited_done;
    block_submit(b, &w.r);
    while (!w.finished) {
        pthread_mutex_unlock(&f->lock);
        loop_run_once(f->loop, -1);
        pthread_mutex_lock(&f->lock);
    }
    return w.rc;
}

static inline int do_rw(struct fixture *f, struct block *b, enum block_op op, uint64_t offset,
                        void *buf, size_t bytes)
{
    struct iovec iov = {buf, bytes};

    return do_request(f, b, (struct block_request){.op = op, .offset = offset, .bytes = bytes,
                                                   .iov = &iov, .iovs = 1});
}

static inline int do_op(struct fixture *f, struct block *b, enum block_op op, uint64_t offset,
                        uint64_t bytes, unsigned flags)
{
    return do_request(f, b, (struct block_request){.op = op, .offset = offset, .bytes = bytes,
                                                   .flags = flags});
}

#endif
