/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_cache.c - what each cache mode makes of writes, FUA and flushes: seen in the
 * system calls (fdatasync and pwritev2 are wrapped by the linker) and in the flags of
 * the open file. In a context without io_uring, whose calls nobody can wrap.
 */
#include <dirent.h>
#include <stdatomic.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "block_fixture.h"

/* What the wrapped calls saw. One test at a time uses it. */
static struct {
    atomic_uint syncs, writes, durable_writes;
    atomic_int fail_sync;            /* errno of the next fdatasync */
} seen;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t at, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t at, int flags);

int __wrap_fdatasync(int fd)
{
    seen.syncs++;
    errno = atomic_exchange(&seen.fail_sync, 0);
    return errno ? -1 : __real_fdatasync(fd);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    seen.writes++;
    seen.durable_writes += (flags & RWF_DSYNC) != 0;
    return __real_pwritev64v2(fd, iov, n, at, flags);
}

static void forget(void)
{
    seen.syncs = seen.writes = seen.durable_writes = 0;
}

/* The flags that `name` is open with in this process. */
static int open_flags(const char *name)
{
    char want[PATH_MAX], link[PATH_MAX], path[PATH_MAX];
    DIR *d = opendir("/proc/self/fd");
    int flags = -1;

    assert_non_null(realpath(name, want));
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        snprintf(path, sizeof path, "/proc/self/fd/%.20s", e->d_name);
        ssize_t n = readlink(path, link, sizeof link - 1);
        if (n > 0 && (size_t)n == strlen(want) && memcmp(link, want, (size_t)n) == 0)
            flags = fcntl(atoi(e->d_name), F_GETFL);
    }
    closedir(d);
    assert_true(flags >= 0);
    return flags;
}

struct expected {
    enum block_cache cache;
    int flags;                       /* of O_DIRECT and O_DSYNC */
    unsigned syncs_per_flush, durable_per_fua, syncs_per_zero, syncs_per_fua_zero;
};

static const struct expected modes[] = {
    {BLOCK_WRITEBACK, 0, 1, 1, 0, 1},
    {BLOCK_NONE, O_DIRECT, 1, 1, 0, 1},
    {BLOCK_WRITETHROUGH, O_DSYNC, 0, 0, 1, 1},
    {BLOCK_UNSAFE, 0, 0, 0, 0, 0},
};

static void check_mode(const struct expected *m)
{
    static char buf[4096] __attribute__((aligned(4096))) = "x";
    struct iovec iov = {buf, sizeof buf};
    struct fixture f;

    fixture_init(&f, false);
    assert_string_equal(block_io_kind(f.io), "threads");
    make_file(in_dir(&f, "disk"), 1 << 20);
    struct block *b = open_raw(&f, f.name, m->cache);
    assert_non_null(b);
    assert_int_equal(open_flags(f.name) & (O_DIRECT | O_DSYNC), m->flags);

    forget();
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, sizeof buf), 0);
    assert_int_equal(seen.writes, 1);
    assert_int_equal(seen.durable_writes + seen.syncs, 0);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), 0);
    assert_int_equal(seen.syncs, m->syncs_per_flush);

    forget();
    assert_int_equal(do_request(&f, b, (struct block_request){
        .op = BLOCK_WRITE, .flags = BLOCK_FUA, .bytes = sizeof buf, .iov = &iov, .iovs = 1}), 0);
    assert_int_equal(seen.durable_writes, m->durable_per_fua);

    forget();
    assert_int_equal(do_op(&f, b, BLOCK_WRITE_ZEROES, 0, 8192, 0), 0);
    assert_int_equal(seen.syncs, m->syncs_per_zero);
    forget();
    assert_int_equal(do_op(&f, b, BLOCK_WRITE_ZEROES, 0, 8192, BLOCK_FUA), 0);
    assert_int_equal(seen.syncs, m->syncs_per_fua_zero);

    forget();
    assert_int_equal(block_close(b, NULL), 0);
    assert_int_equal(seen.syncs, m->syncs_per_flush);
    fixture_fini(&f);
}

static void test_modes(void **state)
{
    struct statfs fs;

    assert_int_equal(statfs(".", &fs), 0);
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (modes[i].cache != BLOCK_NONE || fs.f_type != TMPFS_MAGIC)
            check_mode(&modes[i]);
}

/* The kernel takes pages whose writing failed for clean: after one failure no sync of
 * this file is believed. */
static void test_failed_sync(void **state)
{
    char buf[512] = "x";
    struct fixture f;

    fixture_init(&f, false);
    make_file(in_dir(&f, "disk"), 4096);
    struct block *b = open_raw(&f, f.name, BLOCK_WRITEBACK);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, 512), 0);
    seen.fail_sync = ENOSPC;
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), -ENOSPC);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(block_close(b, &f.err), -EIO);
    assert_non_null(strstr(f.err->what, "durable"));
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_failed_sync),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
