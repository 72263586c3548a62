/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bus_bus.c - who answers, splitting, overlaps, the lock. */
#include "unit.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "bus/bus.h"

/* A device that writes down what it is asked. Reads give the offset in every
 * byte, so that the assembled value shows how an access was cut. */
struct probe {
    struct bus *bus;
    struct strbuf log;
    bool expect_lock;
};

static void check_lock(struct probe *p)
{
    int r = pthread_mutex_trylock(bus_lock(p->bus));

    assert_int_equal(r, p->expect_lock ? EBUSY : 0);
    if (r == 0)
        pthread_mutex_unlock(bus_lock(p->bus));
}

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
    struct probe *p = opaque;

    check_lock(p);
    strbuf_addf(&p->log, "r%u@%llu ", size, (unsigned long long)offset);
    return 0xffffffff00000000ull | offset;    /* excess bits must be cut off */
}

static void probe_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *p = opaque;

    check_lock(p);
    strbuf_addf(&p->log, "w%u@%llu=%llx ", size, (unsigned long long)offset,
                (unsigned long long)value);
}

static int setup(void **state)
{
    struct probe *p = calloc(1, sizeof *p);

    p->bus = bus_new(NULL);
    p->expect_lock = true;
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct probe *p = *state;

    bus_free(p->bus);
    strbuf_fini(&p->log);
    free(p);
    return 0;
}

static int add(struct probe *p, enum bus_space space, const char *name, uint64_t base,
               uint64_t size, unsigned width, unsigned flags, struct error **err)
{
    struct bus_region r = {name, base, size, probe_read, probe_write, p, width, flags};

    return bus_add(p->bus, space, &r, err);
}

static void expect_log(struct probe *p, const char *text)
{
    assert_string_equal(strbuf_text(&p->log), text);
    strbuf_clear(&p->log);
}

static void offsets_are_relative(void **state)
{
    struct probe *p = *state;

    add(p, BUS_PIO, "com1", 0x3f8, 8, 0, 0, NULL);
    add(p, BUS_MMIO, "apic", 0xfee00000, 4096, 0, 0, NULL);
    assert_int_equal(bus_read(p->bus, BUS_PIO, 0x3fd, 1), 5);
    bus_write(p->bus, BUS_MMIO, 0xfee00080, 4, 0x123456789);
    expect_log(p, "r1@5 w4@128=23456789 ");
    assert_int_equal(bus_unclaimed(p->bus), 0);
}

static void unclaimed_reads_are_ones(void **state)
{
    struct probe *p = *state;

    assert_true(bus_read(p->bus, BUS_PIO, 0x80, 1) == 0xff);
    assert_true(bus_read(p->bus, BUS_PIO, 0x80, 4) == 0xffffffff);
    assert_true(bus_read(p->bus, BUS_MMIO, UINT64_MAX, 8) == UINT64_MAX);
    bus_write(p->bus, BUS_PIO, 0x80, 1, 1);
    assert_int_equal(bus_unclaimed(p->bus), 4);
}

static void missing_callbacks_are_harmless(void **state)
{
    struct probe *p = *state;
    struct bus_region r = {.name = "null", .base = 0x10, .size = 4};

    assert_int_equal(bus_add(p->bus, BUS_PIO, &r, NULL), 0);
    assert_true(bus_read(p->bus, BUS_PIO, 0x10, 2) == 0xffff);
    bus_write(p->bus, BUS_PIO, 0x10, 2, 1);
    assert_int_equal(bus_unclaimed(p->bus), 0);
}

static void wide_accesses_are_cut(void **state)
{
    struct probe *p = *state;

    add(p, BUS_PIO, "bytes", 0x100, 8, 1, 0, NULL);
    add(p, BUS_MMIO, "words", 0x1000, 16, 4, 0, NULL);
    assert_true(bus_read(p->bus, BUS_PIO, 0x102, 4) == 0x05040302);
    expect_log(p, "r1@2 r1@3 r1@4 r1@5 ");
    bus_write(p->bus, BUS_MMIO, 0x1004, 8, 0x1122334455667788);
    expect_log(p, "w4@4=55667788 w4@8=11223344 ");
    assert_true(bus_read(p->bus, BUS_MMIO, 0x1004, 8) == 0x0000000800000004);
    expect_log(p, "r4@4 r4@8 ");
    assert_int_equal(bus_read(p->bus, BUS_MMIO, 0x1003, 2), 3);
    expect_log(p, "r2@3 ");
}

/* Across an end: byte by byte, each to whoever is there. */
static void accesses_across_an_end(void **state)
{
    struct probe *p = *state;

    add(p, BUS_PIO, "a", 0x20, 2, 0, 0, NULL);
    add(p, BUS_PIO, "b", 0x22, 1, 0, 0, NULL);
    assert_true(bus_read(p->bus, BUS_PIO, 0x21, 4) == 0xffff0001);
    expect_log(p, "r1@1 r1@0 ");
    bus_write(p->bus, BUS_PIO, 0x1f, 4, 0x44332211);
    expect_log(p, "w1@0=22 w1@1=33 w1@0=44 ");
    assert_int_equal(bus_unclaimed(p->bus), 3);

    /* The top of both spaces does not wrap. */
    add(p, BUS_PIO, "top", 0xffff, 1, 0, 0, NULL);
    add(p, BUS_PIO, "zero", 0, 1, 0, 0, NULL);
    assert_true(bus_read(p->bus, BUS_PIO, 0xffff, 2) == 0xff00);
}

static void overlaps_are_refused(void **state)
{
    struct probe *p = *state;
    struct error *err = NULL;

    assert_int_equal(add(p, BUS_PIO, "pic", 0x20, 2, 0, 0, NULL), 0);
    expect_error(add(p, BUS_PIO, "x", 0x21, 1, 0, 0, &err), EEXIST, &err, "overlaps 'pic'");
    expect_error(add(p, BUS_PIO, "x", 0x10, 0x20, 0, 0, &err), EEXIST, &err, "'x' at 0x10+0x20");
    expect_error(add(p, BUS_PIO, "x", 0x20, 1, 0, BUS_LOCKLESS, &err), EEXIST, &err, "pic");
    assert_int_equal(add(p, BUS_PIO, "y", 0x22, 1, 0, 0, NULL), 0);
    assert_int_equal(add(p, BUS_PIO, "z", 0x1f, 1, 0, 0, NULL), 0);
    assert_int_equal(add(p, BUS_MMIO, "other space", 0x20, 2, 0, 0, NULL), 0);
    expect_error(add(p, BUS_PIO, "x", 0x10000, 1, 0, 0, &err), EINVAL, &err, "outside");
    expect_error(add(p, BUS_PIO, "x", 0xffff, 2, 0, 0, &err), EINVAL, &err, "outside");
    expect_error(add(p, BUS_PIO, "x", 0x50, 0, 0, 0, &err), EINVAL, &err, "outside");
}

static void regions_come_and_go(void **state)
{
    struct probe *p = *state;

    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(add(p, BUS_PIO, "r", i * 37 % 64 * 16, 8, 0, 0, NULL), 0);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(bus_find(p->bus, BUS_PIO, i * 16 + 7)->base, i * 16);
        assert_null(bus_find(p->bus, BUS_PIO, i * 16 + 8));
    }
    assert_int_equal(bus_read(p->bus, BUS_PIO, 0x15, 1), 5);    /* hint */
    bus_remove(p->bus, BUS_PIO, 0x10);
    assert_null(bus_find(p->bus, BUS_PIO, 0x15));
    assert_int_equal(bus_read(p->bus, BUS_PIO, 0x15, 1), 0xff);
    assert_int_equal(bus_read(p->bus, BUS_PIO, 0x25, 1), 5);
}

static void lockless_regions_run_without_the_lock(void **state)
{
    struct probe *p = *state;

    add(p, BUS_MMIO, "free", 0x1000, 4, 0, BUS_LOCKLESS, NULL);
    p->expect_lock = false;
    assert_int_equal(bus_read(p->bus, BUS_MMIO, 0x1000, 4), 0);
    bus_write(p->bus, BUS_MMIO, 0x1002, 4, 0x44332211);
    expect_log(p, "r4@0 w1@2=11 w1@3=22 ");
    assert_int_equal(bus_unclaimed(p->bus), 2);
    assert_string_equal(bus_find(p->bus, BUS_MMIO, 0x1003)->name, "free");
    bus_remove(p->bus, BUS_MMIO, 0x1000);
    assert_null(bus_find(p->bus, BUS_MMIO, 0x1000));
}

static void list_one(void *arg, const struct bus_region *r)
{
    strbuf_addf(arg, "%s ", r->name);
}

static void listing_is_in_order(void **state)
{
    struct probe *p = *state;

    add(p, BUS_PIO, "c", 0x30, 1, 0, 0, NULL);
    add(p, BUS_PIO, "b", 0x20, 1, 0, BUS_LOCKLESS, NULL);
    add(p, BUS_PIO, "a", 0x10, 1, 0, 0, NULL);
    add(p, BUS_PIO, "d", 0x40, 1, 0, BUS_LOCKLESS, NULL);
    bus_for_each(p->bus, BUS_PIO, list_one, &p->log);
    expect_log(p, "a b c d ");
}

/* As PCI does: a write moves regions, even the one being written to. */
static void moving_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *p = opaque;

    strbuf_addf(&p->log, "%u ", (unsigned)value);
    if (offset == 0) {
        bus_remove(p->bus, BUS_PIO, 0x500);
        for (unsigned i = 0; i < 32; i++)
            add(p, BUS_PIO, "new", 0x600 + i, 1, 0, 0, NULL);
    }
}

static void callbacks_may_move_regions(void **state)
{
    struct probe *p = *state;
    struct bus_region r = {.name = "bar", .base = 0x500, .size = 4, .write = moving_write,
                           .opaque = p, .max_width = 1};

    bus_add(p->bus, BUS_PIO, &r, NULL);
    bus_write(p->bus, BUS_PIO, 0x500, 4, 0x04030201);
    expect_log(p, "1 2 3 4 ");
    assert_null(bus_find(p->bus, BUS_PIO, 0x500));
}

static void bell_changed(void *opaque, const struct bus_doorbell *bell, bool on)
{
    *(int *)opaque += on ? 1 : -1;
}

static uint64_t rings(int fd)
{
    uint64_t n = 0;

    return read(fd, &n, sizeof n) == sizeof n ? n : 0;
}

/* A doorbell takes its write before the region behind it, whoever holds the VM lock. */
static void doorbells_take_writes(void **state)
{
    struct probe *p = *state;
    const struct bus_region r = {.name = "card", .base = 0x1000, .size = 0x100,
                                 .write = probe_write, .opaque = p};
    int fd = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK), known = 0;
    const struct bus_doorbell any = {.addr = 0x1010, .fd = fd};
    const struct bus_doorbell one = {.addr = 0x1020, .size = 4, .match = true, .value = 7,
                                     .fd = other};

    bus_add(p->bus, BUS_MMIO, &r, NULL);
    bus_doorbell_listen(p->bus, bell_changed, &known);
    bus_doorbell_add(p->bus, &any);
    bus_doorbell_add(p->bus, &one);
    assert_int_equal(known, 2);
    pthread_mutex_lock(bus_lock(p->bus));
    bus_write(p->bus, BUS_MMIO, 0x1010, 2, 1);
    bus_write(p->bus, BUS_MMIO, 0x1010, 4, 5);
    bus_write(p->bus, BUS_MMIO, 0x1020, 4, 7);
    pthread_mutex_unlock(bus_lock(p->bus));
    assert_int_equal(rings(fd), 2);
    assert_int_equal(rings(other), 1);
    expect_log(p, "");
    bus_write(p->bus, BUS_MMIO, 0x1020, 4, 8);          /* another value: the device's */
    bus_write(p->bus, BUS_PIO, 0x1010, 4, 8);           /* another space: nobody's */
    bus_doorbell_remove(p->bus, fd);
    bus_doorbell_remove(p->bus, fd);
    assert_int_equal(known, 1);
    bus_write(p->bus, BUS_MMIO, 0x1010, 1, 9);
    assert_int_equal(rings(fd) + rings(other), 0);
    expect_log(p, "w4@32=8 w1@16=9 ");
    close(fd);
    close(other);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(offsets_are_relative),
        TEST(unclaimed_reads_are_ones),
        TEST(missing_callbacks_are_harmless),
        TEST(wide_accesses_are_cut),
        TEST(accesses_across_an_end),
        TEST(overlaps_are_refused),
        TEST(regions_come_and_go),
        TEST(lockless_regions_run_without_the_lock),
        TEST(listing_is_in_order),
        TEST(callbacks_may_move_regions),
        TEST(doorbells_take_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
