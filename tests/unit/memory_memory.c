/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory_memory.c - regions, copies, bounds, listeners, dirty log, digest. */
#include "unit.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/memory.h"

enum { MIB = 1 << 20 };

/* 4 MiB: 3 at 0, 1 at 16 MiB; a ROM of 64 KiB right behind the first piece. */
static int setup(void **state)
{
    struct memory *m = memory_new(4 * MIB, NULL);

    assert_non_null(m);
    assert_int_equal(memory_map_ram(m, "high", gpa(16 * MIB), 3 * MIB, MIB, 0, NULL), 0);
    assert_int_equal(memory_map_ram(m, "low", gpa(0), 0, 3 * MIB, 0, NULL), 0);
    assert_non_null(memory_map_block(m, "rom", gpa(3 * MIB), 65536, MEMORY_READONLY, NULL).p);
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    memory_free(*state);
    return 0;
}

static void bad_sizes_are_refused(void **state)
{
    struct error *err = NULL;

    assert_null(memory_new(0, &err));
    expect_error(-err->code, EINVAL, &err, "0 bytes");
    assert_null(memory_new(1024, &err));
    expect_error(-err->code, EINVAL, &err, "1024 bytes");
    assert_null(memory_new(1ull << 46, &err));
    expect_error(-err->code, ENOMEM, &err, "67108864 MiB");
    assert_null(memory_new(UINT64_MAX & PAGE_MASK, &err));
    expect_error(-err->code, ENOMEM, &err, "the host has");
    memory_free(NULL);
}

/* In a child, because the limit cannot be raised again. */
static void address_space_limit_is_named(void **state)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit lim = {512 * MIB, 512 * MIB};
        struct error *err = NULL;
        if (setrlimit(RLIMIT_AS, &lim) < 0 || memory_new(600 * MIB, &err) || !err)
            _exit(1);
        _exit(err->code == ENOMEM && strstr(err->what, "600 MiB") &&
              strstr(err->what, "limit of this process is 512 MiB") ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
#ifdef __SANITIZE_ADDRESS__
    return;    /* the shadow alone is larger than any sensible limit */
#endif
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void regions_are_sorted_and_found(void **state)
{
    struct memory *m = *state;
    size_t n;
    const struct memory_region *r = memory_regions(m, &n);

    assert_int_equal(n, 3);
    assert_string_equal(r[0].name, "low");
    assert_string_equal(r[1].name, "rom");
    assert_string_equal(r[2].name, "high");
    assert_true(r[0].slot != r[1].slot && r[1].slot != r[2].slot && r[0].slot != r[2].slot);
    assert_string_equal(memory_find(m, gpa(0))->name, "low");
    assert_string_equal(memory_find(m, gpa(3 * MIB - 1))->name, "low");
    assert_string_equal(memory_find(m, gpa(3 * MIB))->name, "rom");
    assert_null(memory_find(m, gpa(3 * MIB + 65536)));
    assert_null(memory_find(m, gpa(16 * MIB - 1)));
    assert_string_equal(memory_find(m, gpa(17 * MIB - 1))->name, "high");
    assert_null(memory_find(m, gpa(17 * MIB)));
    assert_null(memory_find(m, gpa(UINT64_MAX)));
    assert_int_equal(memory_ram_bytes(m), 4 * MIB);
    assert_true(memory_fd(m) >= 0);
}

static void bad_places_are_refused(void **state)
{
    struct memory *m = *state;
    struct error *err = NULL;

    expect_error(memory_map_ram(m, "x", gpa(3 * MIB - 4096), 0, 8192, 0, &err), EEXIST, &err,
                 "overlaps 'low'");
    expect_error(memory_map_ram(m, "x", gpa(12 * MIB), 0, 8 * MIB, 0, &err), EEXIST, &err,
                 "overlaps 'high'");
    expect_error(memory_map_ram(m, "x", gpa(1), 0, 4096, 0, &err), EINVAL, &err, "whole pages");
    expect_error(memory_map_ram(m, "x", gpa(32 * MIB), 0, 0, 0, &err), EINVAL, &err, "pages");
    expect_error(memory_map_ram(m, "x", gpa(32 * MIB), 4 * MIB - 4096, 8192, 0, &err), EINVAL,
                 &err, "only 0x400000 bytes");
    expect_error(memory_map_ram(m, "x", gpa(UINT64_MAX & PAGE_MASK), 0, 8192, 0, &err), EINVAL,
                 &err, "whole pages");
    assert_null(memory_map_block(m, "x", gpa(0), 4096, 0, &err).p);
    expect_error(-err->code, EEXIST, &err, "overlaps 'low'");
    /* The last page of the address space is a place like any other. */
    assert_int_equal(memory_map_ram(m, "top", gpa(UINT64_MAX & PAGE_MASK), 0, 4096, 0, NULL), 0);
    assert_string_equal(memory_find(m, gpa(UINT64_MAX))->name, "top");
    assert_int_equal(memory_write(m, gpa(UINT64_MAX), "z", 1), 0);
    assert_int_equal(memory_write(m, gpa(UINT64_MAX - 1), "yz", 2), 0);
}

static void slots_are_used_again(void **state)
{
    struct memory *m = *state;
    int slot = memory_find(m, gpa(3 * MIB))->slot;

    memory_unmap(m, gpa(3 * MIB));
    assert_null(memory_find(m, gpa(3 * MIB)));
    assert_non_null(memory_map_block(m, "rom2", gpa(8 * MIB), 4096, 0, NULL).p);
    assert_int_equal(memory_find(m, gpa(8 * MIB))->slot, slot);
}

static void host_addresses_respect_bounds(void **state)
{
    struct memory *m = *state;

    assert_ptr_equal(memory_host(m, gpa(4096), 10, true).p, memory_ram_base(m).p + 4096);
    assert_ptr_equal(memory_host(m, gpa(16 * MIB), MIB, true).p,
                     memory_ram_base(m).p + 3 * MIB);
    assert_null(memory_host(m, gpa(3 * MIB - 1), 2, false).p);
    assert_null(memory_host(m, gpa(0), UINT64_MAX, false).p);
    assert_non_null(memory_host(m, gpa(3 * MIB), 1, false).p);
    assert_null(memory_host(m, gpa(3 * MIB), 1, true).p);
    assert_null(memory_host(m, gpa(8 * MIB), 1, false).p);
}

static void copies_span_regions_or_do_nothing(void **state)
{
    struct memory *m = *state;
    char buf[16] = "abcdefgh";

    assert_int_equal(memory_write(m, gpa(3 * MIB - 4), buf, 8), 0);   /* RAM, then ROM */
    memset(buf, 0, sizeof buf);
    assert_int_equal(memory_read(m, gpa(3 * MIB - 4), buf, 8), 0);
    assert_string_equal(buf, "abcdefgh");

    assert_int_equal(memory_write(m, gpa(17 * MIB - 2), "wxyz", 4), -EFAULT);
    assert_int_equal(memory_read(m, gpa(17 * MIB - 2), buf, 2), 0);
    assert_memory_equal(buf, "\0\0", 2);
    assert_int_equal(memory_read(m, gpa(8 * MIB), buf, 1), -EFAULT);
    assert_int_equal(memory_read(m, gpa(UINT64_MAX), buf, 4), -EFAULT);
    assert_int_equal(memory_read(m, gpa(8 * MIB), buf, 0), 0);

    for (unsigned size = 1; size <= 8; size *= 2) {
        uint64_t v = 0x1122334455667788, back = 0;
        for (unsigned off = 0; off < 8; off++) {
            assert_int_equal(memory_write(m, gpa(0x1000 + off), &v, size), 0);
            back = 0;
            assert_int_equal(memory_read(m, gpa(0x1000 + off), &back, size), 0);
            assert_memory_equal(&v, &back, size);
        }
    }
    assert_int_equal(memory_fill(m, gpa(0x2000), 0xaa, 5000), 0);
    assert_int_equal(memory_ram_base(m).p[0x2000 + 4999], 0xaa);
    assert_int_equal(memory_ram_base(m).p[0x2000 + 5000], 0);
    assert_int_equal(memory_fill(m, gpa(8 * MIB), 0, 1), -EFAULT);
}

struct listener {
    struct memory_listener l;
    unsigned added, removed, written;
    uint64_t bytes;
    int logging;
};

static void on_added(void *opaque, const struct memory_region *r)
{
    ((struct listener *)opaque)->added++;
    assert_non_null(r->host.p);
}

static void on_removed(void *opaque, const struct memory_region *r)
{
    ((struct listener *)opaque)->removed++;
    assert_string_equal(r->name, "rom");
    assert_int_equal(r->host.p[0], 0);    /* still mapped */
}

static void on_written(void *opaque, gpa_t start, uint64_t size)
{
    ((struct listener *)opaque)->written++;
    ((struct listener *)opaque)->bytes += size;
}

static void on_logging(void *opaque, bool on)
{
    ((struct listener *)opaque)->logging += on ? 1 : -1;
}

static void listeners_hear_everything(void **state)
{
    struct memory *m = *state;
    struct listener a = {.l = {on_added, on_removed, on_written, on_logging, &a, NULL}};
    struct listener deaf = {.l = {.opaque = &deaf}};

    memory_add_listener(m, &deaf.l);
    memory_add_listener(m, &a.l);
    assert_int_equal(a.added, 3);         /* replayed */
    memory_unmap(m, gpa(3 * MIB));
    assert_int_equal(a.removed, 1);
    memory_map_ram(m, "alias", gpa(32 * MIB), 0, MIB, 0, NULL);
    assert_int_equal(a.added, 4);
    memory_write(m, gpa(0), "abc", 3);
    memory_fill(m, gpa(0), 0, 100);
    memory_written(m, gpa(0), 0);
    assert_int_equal(a.written, 2);
    assert_int_equal(a.bytes, 103);
    memory_dirty_start(m, NULL);
    assert_int_equal(a.logging, 1);
    memory_dirty_stop(m);
    memory_dirty_stop(m);
    assert_int_equal(a.logging, 0);
    memory_remove_listener(m, &a.l);
    memory_remove_listener(m, &a.l);
    memory_write(m, gpa(0), "abc", 3);
    assert_int_equal(a.written, 2);
}

static void dirty_log_is_by_ram_page(void **state)
{
    struct memory *m = *state;
    uint64_t bits[16 + 1];

    memory_write(m, gpa(0), "x", 1);
    assert_false(memory_dirty_logging(m));
    assert_int_equal(memory_dirty_start(m, NULL), 0);
    assert_true(memory_dirty_logging(m));
    assert_int_equal(memory_dirty_fetch(m, bits, 17), 0);

    memory_write(m, gpa(4095), "xy", 2);                  /* pages 0 and 1 */
    memory_write(m, gpa(16 * MIB + 8192), "x", 1);        /* RAM page 768 + 2 */
    memory_write(m, gpa(3 * MIB - 1), "xy", 2);           /* page 767, then ROM: not RAM */
    memory_dirty_mark(m, gpa(8 * MIB), 4096);             /* nothing there */
    memory_dirty_mark(m, gpa(17 * MIB - 1), UINT64_MAX - 17 * MIB);
    assert_int_equal(memory_dirty_fetch(m, bits, 17), 5);
    assert_true(bits[0] == 3);
    assert_true(bits[767 / 64] == 1ull << 767 % 64);
    assert_true(bits[770 / 64] == 1ull << 770 % 64);
    assert_true(bits[1023 / 64] == 1ull << 1023 % 64);
    assert_true(bits[16] == 0);
    assert_int_equal(memory_dirty_fetch(m, bits, 17), 0);

    memory_dirty_stop(m);
    memory_write(m, gpa(0), "x", 1);
    assert_int_equal(memory_dirty_fetch(m, bits, 17), 0);
}

static void digest_sees_writable_contents(void **state)
{
    struct memory *m = *state;
    uint64_t empty = memory_digest(m);

    memory_write(m, gpa(3 * MIB), "rom", 3);
    assert_true(memory_digest(m) == empty);
    memory_write(m, gpa(0x5000), "x", 1);
    uint64_t x = memory_digest(m);
    assert_true(x != empty);
    memory_write(m, gpa(0x5000), "\0x", 2);
    assert_true(memory_digest(m) != x);
    memory_write(m, gpa(0x5000), "\0\0", 2);
    memory_write(m, gpa(0x6000), "x", 1);
    assert_true(memory_digest(m) != x);
    memory_fill(m, gpa(0x6000), 0, 1);
    assert_true(memory_digest(m) == empty);
    memory_write(m, gpa(17 * MIB - 1), "x", 1);
    assert_true(memory_digest(m) != empty);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(address_space_limit_is_named),
        TEST(regions_are_sorted_and_found),
        TEST(bad_places_are_refused),
        TEST(slots_are_used_again),
        TEST(host_addresses_respect_bounds),
        TEST(copies_span_regions_or_do_nothing),
        TEST(listeners_hear_everything),
        TEST(dirty_log_is_by_ram_page),
        TEST(digest_sees_writable_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
