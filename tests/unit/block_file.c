/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_file.c - raw images in files: every request against a model in memory, in
 * both kinds of context and with O_DIRECT; ranges, full disks, many in flight.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#include "block_fixture.h"

enum { DISK = 1 << 20 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* A request of odd offset and length, in an iovec of odd pieces, also done to `model`. */
static void random_step(struct fixture *f, struct block *b, uint8_t *model, uint32_t *seed)
{
    static const enum block_op ops[] = {BLOCK_READ, BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE,
                                        BLOCK_WRITE, BLOCK_WRITE_ZEROES, BLOCK_FLUSH};
    enum block_op op = ops[next_random(seed) % ARRAY_SIZE(ops)];
    bool round = next_random(seed) % 2;
    uint64_t offset = next_random(seed) % DISK, bytes = next_random(seed) % 70000;
    static uint8_t buf[80000] __attribute__((aligned(4096)));
    struct iovec iov[3];

    if (round) {
        offset &= ~4095ull;
        bytes &= ~4095ull;
    }
    bytes = min_u64(bytes, DISK - offset);
    size_t cut = round ? bytes / 8192 * 4096 : bytes / 3;
    size_t gap = round ? 4096 : 7;
    iov[0] = (struct iovec){buf, cut};
    iov[1] = (struct iovec){NULL, 0};
    iov[2] = (struct iovec){buf + cut + gap, bytes - cut};
    for (size_t i = 0; op == BLOCK_WRITE && i < sizeof buf; i++)
        buf[i] = (uint8_t)next_random(seed);
    assert_int_equal(do_request(f, b, (struct block_request){
        .op = op, .offset = offset, .bytes = bytes, .iov = iov, .iovs = 3,
        .flags = next_random(seed) % 4}), 0);
    if (op == BLOCK_WRITE) {
        memcpy(model + offset, buf, cut);
        memcpy(model + offset + cut, buf + cut + gap, bytes - cut);
    } else if (op == BLOCK_WRITE_ZEROES) {
        memset(model + offset, 0, bytes);
    } else if (op == BLOCK_READ) {
        assert_memory_equal(model + offset, buf, cut);
        assert_memory_equal(model + offset + cut, buf + cut + gap, bytes - cut);
    }
}

static void check_against_model(bool ring, enum block_cache cache)
{
    struct fixture f;
    uint8_t *model = calloc(1, DISK), *whole = malloc(DISK);
    uint32_t seed = 1 + (uint32_t)cache;

    fixture_init(&f, ring);
    make_file(in_dir(&f, "disk"), DISK);
    struct block *b = open_raw(&f, f.name, cache);
    assert_non_null(b);
    for (int i = 0; i < 400; i++)
        random_step(&f, b, model, &seed);
    assert_int_equal(block_read(b, 0, whole, DISK), 0);
    assert_memory_equal(whole, model, DISK);
    assert_int_equal(block_close(b, &f.err), 0);

    int fd = open(f.name, O_RDONLY);
    assert_int_equal(read(fd, whole, DISK), DISK);
    close(fd);
    assert_memory_equal(whole, model, DISK);
    fixture_fini(&f);
    free(model);
    free(whole);
}

static void test_model(void **state)
{
    for (int ring = 0; ring < 2; ring++)
        for (enum block_cache c = BLOCK_WRITEBACK; c <= BLOCK_UNSAFE; c++)
            if (c != BLOCK_NONE)
                check_against_model(ring, c);
}

static void test_direct(void **state)
{
    struct statfs fs;

    assert_int_equal(statfs(".", &fs), 0);
    if (fs.f_type == TMPFS_MAGIC) {
        print_message("skipped: the build directory is on tmpfs, which has no O_DIRECT\n");
        skip();
    }
    check_against_model(false, BLOCK_NONE);
    check_against_model(true, BLOCK_NONE);
}

static void test_ranges(void **state)
{
    struct fixture f;
    char buf[16] = "";

    fixture_init(&f, true);
    make_file(in_dir(&f, "disk"), 1000);
    struct block *b = open_raw(&f, f.name, BLOCK_WRITEBACK);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 990, buf, 10), 0);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 990, buf, 11), -EINVAL);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 1000, buf, 1), -EINVAL);
    assert_int_equal(do_op(&f, b, BLOCK_DISCARD, UINT64_MAX - 3, 8, 0), -EINVAL);
    assert_int_equal(do_op(&f, b, BLOCK_WRITE_ZEROES, 0, UINT64_MAX, 0), -EINVAL);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 1000, buf, 0), 0);
    struct iovec iov = {buf, 4};
    assert_int_equal(do_request(&f, b, (struct block_request){
        .op = BLOCK_READ, .bytes = 8, .iov = &iov, .iovs = 1}), -EINVAL);
    struct block_stats stats;
    block_stats(b, &stats);
    assert_int_equal(stats.failed, 5);
    assert_int_equal(block_close(b, NULL), 0);

    struct block_open how = {.name = f.name, .format = "raw", .readonly = true};
    b = block_open(f.io, &how, &f.err);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, 1), -EROFS);
    assert_int_equal(do_op(&f, b, BLOCK_DISCARD, 0, 1, 0), -EROFS);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), 0);
    struct block_info info;
    block_info(b, &info);
    assert_true(info.readonly);
    assert_int_equal(info.bytes, 1000);
    assert_string_equal(info.format, "raw");
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

/* More than the ring holds, some of them one past the other, and a drain. */
static void check_many(bool ring)
{
    enum { MANY = 700 };
    struct fixture f;
    static struct waited w[MANY];
    static char data[MANY][512];
    static struct iovec iov[MANY];
    char back[512];

    fixture_init(&f, ring);
    make_file(in_dir(&f, "disk"), DISK);
    struct block *b = open_raw(&f, f.name, BLOCK_WRITEBACK);
    memset(w, 0, sizeof w);
    block_plug(f.io);
    for (unsigned i = 0; i < MANY; i++) {
        memset(data[i], (int)(i % 251) + 1, sizeof data[i]);
        iov[i] = (struct iovec){data[i], sizeof data[i]};
        w[i].r = (struct block_request){.op = BLOCK_WRITE, .offset = i * 512ull, .bytes = 512,
                                        .iov = &iov[i], .iovs = 1, .done = waited_done};
        block_submit(b, &w[i].r);
    }
    block_unplug(f.io);
    block_drain(b);
    assert_int_equal(block_in_flight(b), 0);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(w[i].finished);
        assert_int_equal(w[i].rc, 0);
        assert_int_equal(block_read(b, i * 512ull, back, 512), 0);
        assert_memory_equal(back, data[i], 512);
    }
    struct block_stats stats;
    block_stats(b, &stats);
    assert_int_equal(stats.requests[BLOCK_WRITE], MANY);
    assert_int_equal(stats.bytes[BLOCK_WRITE], MANY * 512);
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

static void test_many(void **state)
{
    check_many(false);
    check_many(true);
}

static void test_full_disk(void **state)
{
    struct rlimit before, limit;
    struct fixture f;
    char buf[8192];

    fixture_init(&f, true);
    make_file(in_dir(&f, "disk"), DISK);
    struct block *b = open_raw(&f, f.name, BLOCK_WRITEBACK);
    memset(buf, 0x5a, sizeof buf);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 65536;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 65536 - 8192, buf, 8192), 0);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 65536 - 4096, buf, 8192), -ENOSPC);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 65536, buf, 4096), -ENOSPC);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 65536 - 8192, buf, 8192), 0);
    assert_int_equal(buf[0], 0x5a);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 65536, buf, 4096), 0);
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

static void test_holes(void **state)
{
    struct fixture f;
    struct stat st;
    static uint8_t buf[65536];

    fixture_init(&f, true);
    make_file(in_dir(&f, "disk"), DISK);
    struct block *b = open_raw(&f, f.name, BLOCK_WRITEBACK);
    memset(buf, 1, sizeof buf);
    assert_int_equal(block_write(b, 0, buf, sizeof buf), 0);
    assert_int_equal(block_flush(b), 0);
    assert_int_equal(do_op(&f, b, BLOCK_DISCARD, 0, 32768, 0), 0);
    assert_int_equal(do_op(&f, b, BLOCK_WRITE_ZEROES, 32768, 16384, BLOCK_MAY_UNMAP), 0);
    assert_int_equal(stat(f.name, &st), 0);
    assert_true(st.st_blocks * 512 <= 16384 + 4096);
    assert_int_equal(block_read(b, 0, buf, sizeof buf), 0);
    for (size_t i = 0; i < sizeof buf; i++)
        assert_int_equal(buf[i], i >= 49152);
    assert_int_equal(block_close(b, NULL), 0);

    /* Not asked to pass them on: no discards at all. */
    struct block_open how = {.name = f.name, .format = "raw"};
    struct block_info info;
    b = block_open(f.io, &how, &f.err);
    block_info(b, &info);
    assert_int_equal(info.max_discard_bytes, 0);
    assert_int_equal(do_op(&f, b, BLOCK_DISCARD, 49152, 4096, 0), -ENOTSUP);
    assert_int_equal(block_read(b, 49152, buf, 1), 0);
    assert_int_equal(buf[0], 1);
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

static void refused(struct fixture *f, struct block_open how, int code, const char *words)
{
    assert_null(block_open(f->io, &how, &f->err));
    assert_non_null(f->err);
    assert_int_equal(f->err->code, code);
    char *text = error_text(f->err);
    if (!strstr(text, words))
        fail_msg("'%s' does not say '%s'", text, words);
    free(text);
    error_free(&f->err);
}

static void test_refusals(void **state)
{
    struct fixture f;

    fixture_init(&f, true);
    refused(&f, (struct block_open){.name = in_dir(&f, "none"), .format = "raw"}, ENOENT,
            "image create");
    refused(&f, (struct block_open){.name = f.dir, .format = "raw", .readonly = true}, EISDIR,
            "a directory");
    refused(&f, (struct block_open){.name = "/dev/zero", .format = "raw"}, EINVAL,
            "character device");
    make_file(in_dir(&f, "disk"), 4096);
    refused(&f, (struct block_open){.name = f.name}, EINVAL, "say format=raw");
    refused(&f, (struct block_open){.name = f.name, .format = "vdi"}, EINVAL, "there are: raw");
    refused(&f, (struct block_open){.name = "gopher://host/disk"}, EPROTONOSUPPORT,
            "knows no such protocol");
    assert_int_equal(mkfifo(in_dir(&f, "pipe"), 0600), 0);
    refused(&f, (struct block_open){.name = f.name, .format = "raw"}, EINVAL, "a pipe or socket");

    struct block_open how = {.name = in_dir(&f, "disk"), .readonly = true};
    struct block *b = block_open(f.io, &how, &f.err);
    assert_non_null(b);
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
