/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_hpet.c - the event timer's counter and comparators. A tick is 10 ns. */
#include "device_fixture.h"

#include "device/hpet.h"

enum { TICK_NS = 10, ID = 0x00, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, T0 = 0x100,
       T1 = 0x120, COMPARE = 8 };
enum { LEVEL = 1 << 1, ENABLE = 1 << 2, PERIODIC = 1 << 3, VALUE_SET = 1 << 6, BITS_32 = 1 << 8,
       ROUTE_16 = 16 << 9 };

static void init(struct bench *b)
{
    struct device_env env = bench_init(b);
    struct hpet_config cfg = {.base = HPET_BASE, .line = {bench_line(b)}};

    b->dev = hpet_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
}

static uint64_t get(struct bench *b, unsigned reg)
{
    return bus_read(b->bus, BUS_MMIO, HPET_BASE + reg, 8);
}

static void put(struct bench *b, unsigned reg, uint64_t value)
{
    bus_write(b->bus, BUS_MMIO, HPET_BASE + reg, 8, value);
}

static void at_tick(struct bench *b, uint64_t tick)
{
    bench_run_to(b, tick * TICK_NS);
}

static void counter_runs_while_enabled(void **state)
{
    struct bench b;

    init(&b);
    assert_int_equal(get(&b, ID) >> 32, 10000000);       /* femtoseconds */
    at_tick(&b, 100);
    assert_int_equal(get(&b, COUNTER), 0);
    put(&b, COUNTER, 0xfffffff0);
    put(&b, CONFIG, 1);
    at_tick(&b, 130);
    assert_int_equal(get(&b, COUNTER), 0x10000000eull);
    put(&b, COUNTER, 5);                                 /* not while it runs */
    assert_int_equal(get(&b, COUNTER), 0x10000000eull);
    put(&b, CONFIG, 0);
    at_tick(&b, 200);
    assert_int_equal(get(&b, COUNTER), 0x10000000eull);
    assert_int_equal(bus_read(b.bus, BUS_MMIO, HPET_BASE + COUNTER + 4, 4), 1);
    bench_fini(&b);
}

static void one_shot_fires_once(void **state)
{
    struct bench b;

    init(&b);
    put(&b, CONFIG, 1);
    put(&b, T1, ENABLE | ROUTE_16);
    put(&b, T1 + COMPARE, 5000);
    at_tick(&b, 4999);
    assert_int_equal(b.rises, 0);
    at_tick(&b, 20000);
    assert_int_equal(b.rises, 1);
    bench_fini(&b);
}

static void periodic_goes_on(void **state)
{
    struct bench b;

    init(&b);
    put(&b, CONFIG, 1);
    put(&b, T0, ENABLE | PERIODIC | VALUE_SET | ROUTE_16);
    put(&b, T0 + COMPARE, 10000);                        /* first match */
    put(&b, T0 + COMPARE, 4000);                         /* period */
    at_tick(&b, 9999);
    assert_int_equal(b.rises, 0);
    at_tick(&b, 10000);
    assert_int_equal(b.rises, 1);
    at_tick(&b, 14000);
    assert_int_equal(b.rises, 2);
    at_tick(&b, 18000);
    assert_int_equal(b.rises, 3);
    assert_int_equal(get(&b, T0 + COMPARE), 22000);
    bench_fini(&b);
}

static void level_stays_until_cleared(void **state)
{
    struct bench b;

    init(&b);
    put(&b, CONFIG, 1);
    put(&b, T0, ENABLE | LEVEL | BITS_32 | ROUTE_16);
    put(&b, T0 + COMPARE, 300);
    at_tick(&b, 301);
    assert_true(b.line);
    assert_int_equal(get(&b, STATUS), 1);
    put(&b, STATUS, 2);
    assert_true(b.line);
    put(&b, STATUS, 1);
    assert_false(b.line);
    assert_int_equal(get(&b, STATUS), 0);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_runs_while_enabled),
        cmocka_unit_test(one_shot_fires_once),
        cmocka_unit_test(periodic_goes_on),
        cmocka_unit_test(level_stays_until_cleared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
