/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_rtc.c - time of day, formats, alarm, periodic and update interrupts. */
#include "device_fixture.h"

#include "device/mc146818.h"

enum { SECONDS = 0, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, DAY_OF_WEEK, DAY,
       MONTH, YEAR, A, B, C, D, CENTURY = 0x32 };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 0x04, H24 = 0x02 };
enum { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10 };

#define SECOND 1000000000ull

/* 2024-02-28 23:59:50 UTC, a Wednesday before a leap day. */
enum { BASE_S = 1709164790 };

static void init(struct bench *b)
{
    uint8_t cmos[MC146818_CMOS_BYTES] = {0};
    struct device_env env = bench_init(b);
    struct mc146818_config cfg = {.port = 0x70, .irq = bench_line(b), .base_s = BASE_S,
                                  .cmos = cmos};

    cmos[0x15] = 0x80;
    b->dev = mc146818_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
}

static uint8_t get(struct bench *b, uint8_t reg)
{
    outb(b, 0x70, reg);
    return inb(b, 0x71);
}

static void set(struct bench *b, uint8_t reg, uint8_t value)
{
    outb(b, 0x70, reg);
    outb(b, 0x71, value);
}

static void expect_date(struct bench *b, unsigned century, unsigned year, unsigned month,
                        unsigned day, unsigned weekday)
{
    assert_int_equal(get(b, CENTURY), century);
    assert_int_equal(get(b, YEAR), year);
    assert_int_equal(get(b, MONTH), month);
    assert_int_equal(get(b, DAY), day);
    assert_int_equal(get(b, DAY_OF_WEEK), weekday);
}

static void expect_time(struct bench *b, unsigned hours, unsigned minutes, unsigned seconds)
{
    assert_int_equal(get(b, HOURS), hours);
    assert_int_equal(get(b, MINUTES), minutes);
    assert_int_equal(get(b, SECONDS), seconds);
}

static void shows_the_time_of_day(void **state)
{
    struct bench b;

    init(&b);
    expect_date(&b, 0x20, 0x24, 0x02, 0x28, 4);
    expect_time(&b, 0x23, 0x59, 0x50);
    bench_run(&b, 10 * SECOND);
    expect_date(&b, 0x20, 0x24, 0x02, 0x29, 5);
    expect_time(&b, 0x00, 0x00, 0x00);
    bench_run(&b, 86400 * SECOND);
    expect_date(&b, 0x20, 0x24, 0x03, 0x01, 6);
    assert_int_equal(get(&b, D), 0x80);
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);   /* costs nothing */
    bench_fini(&b);
}

static void number_formats(void **state)
{
    struct bench b;

    init(&b);
    set(&b, B, BINARY | H24);
    expect_time(&b, 23, 59, 50);
    set(&b, B, BINARY);
    expect_time(&b, 0x80 | 11, 59, 50);
    set(&b, B, 0);
    expect_time(&b, 0x91, 0x59, 0x50);
    bench_run(&b, 11 * SECOND);
    expect_time(&b, 0x12, 0x00, 0x01);        /* midnight is 12 AM */
    bench_fini(&b);
}

static void set_stops_and_starts_the_clock(void **state)
{
    static const uint8_t values[][2] = {{SECONDS, 0x30}, {MINUTES, 0x45}, {HOURS, 0x12},
                                        {DAY, 0x31}, {MONTH, 0x12}, {YEAR, 0x99}, {CENTURY, 0x19}};
    struct bench b;

    init(&b);
    set(&b, B, SET | H24 | UIE);
    assert_int_equal(get(&b, B), SET | H24);  /* SET clears UIE */
    bench_run(&b, 5 * SECOND);
    expect_time(&b, 0x23, 0x59, 0x50);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        set(&b, values[i][0], values[i][1]);
    set(&b, B, H24);
    expect_date(&b, 0x19, 0x99, 0x12, 0x31, 6);
    bench_run(&b, 30 * SECOND);
    expect_time(&b, 0x12, 0x46, 0x00);
    bench_run(&b, 86400 * SECOND);
    expect_date(&b, 0x20, 0x00, 0x01, 0x01, 7);
    /* One register written while it runs. */
    set(&b, HOURS, 0x06);
    expect_time(&b, 0x06, 0x46, 0x00);
    bench_fini(&b);
}

static void divider_reset_starts_half_a_second_before_an_update(void **state)
{
    struct bench b;

    init(&b);
    set(&b, A, 0x70);
    bench_run(&b, 100 * SECOND);
    set(&b, A, 0x26);
    bench_run(&b, SECOND / 2 - 1);
    assert_int_equal(get(&b, SECONDS), 0x50);
    bench_run(&b, 1);
    assert_int_equal(get(&b, SECONDS), 0x51);
    bench_fini(&b);
}

static void update_in_progress_announces_the_change(void **state)
{
    struct bench b;

    init(&b);
    assert_int_equal(get(&b, A), 0x26);
    bench_run(&b, SECOND - 244001);
    assert_int_equal(get(&b, A), 0x26);
    bench_run(&b, 1);
    assert_int_equal(get(&b, A), 0xa6);
    bench_run(&b, 244000);
    assert_int_equal(get(&b, A), 0x26);
    assert_int_equal(get(&b, SECONDS), 0x51);
    bench_fini(&b);
}

static void update_interrupt(void **state)
{
    struct bench b;

    init(&b);
    set(&b, B, H24 | UIE);
    for (unsigned i = 1; i <= 5; i++) {
        bench_run_to(&b, i * SECOND);
        assert_int_equal(b.rises, i);
        assert_int_equal(b.rise_ns, i * SECOND);
        assert_int_equal(get(&b, C) & (IRQF | UF), IRQF | UF);
        assert_false(b.line);
        assert_int_equal(get(&b, C), 0);
    }
    /* Not acknowledged: the line stays, and nothing wakes the host. */
    bench_run(&b, SECOND);
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    bench_fini(&b);
}

static void periodic_interrupt(void **state)
{
    static const struct { uint8_t rs; unsigned hz; } rates[] = {
        {1, 256}, {2, 128}, {3, 8192}, {6, 1024}, {10, 64}, {15, 2}};
    struct bench b;

    for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
        unsigned count = 0;
        init(&b);
        set(&b, A, 0x20 | rates[i].rs);
        set(&b, B, H24 | PIE);
        while (clock_next_deadline_ns(b.clock) <= 2 * SECOND) {
            bench_run_to(&b, clock_next_deadline_ns(b.clock));
            assert_int_equal(get(&b, C) & (IRQF | PF), IRQF | PF);
            count++;
        }
        assert_int_equal(count, rates[i].hz * 2);
        set(&b, A, 0x20);
        assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
        bench_fini(&b);
    }
}

static void alarm_at_a_time(void **state)
{
    struct bench b;

    init(&b);
    set(&b, HOURS_ALARM, 0x00);
    set(&b, MINUTES_ALARM, 0x30);
    set(&b, SECONDS_ALARM, 0x05);
    set(&b, B, H24 | AIE);
    bench_run(&b, 86400 * SECOND);
    assert_int_equal(b.rises, 1);
    assert_int_equal(b.rise_ns, (10 + 1805) * SECOND);
    assert_int_equal(get(&b, C) & (IRQF | AF), IRQF | AF);
    bench_run(&b, 86400 * SECOND);
    assert_int_equal(b.rise_ns, (10 + 1805 + 86400) * SECOND);
    bench_fini(&b);
}

static void alarm_with_wildcards(void **state)
{
    struct bench b;

    init(&b);
    set(&b, HOURS_ALARM, 0xff);
    set(&b, MINUTES_ALARM, 0xc0);
    set(&b, SECONDS_ALARM, 0x15);             /* every minute */
    set(&b, B, H24 | AIE);
    for (unsigned i = 0; i < 5; i++) {
        bench_run_to(&b, (25 + i * 60) * SECOND);
        assert_int_equal(b.rise_ns, (25 + i * 60) * SECOND);
        get(&b, C);
    }
    assert_int_equal(b.rises, 5);
    set(&b, MINUTES_ALARM, 0x77);             /* never */
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    bench_fini(&b);
}

static void flags_are_set_without_interrupts(void **state)
{
    struct bench b;

    init(&b);
    get(&b, C);
    assert_int_equal(get(&b, C), 0);
    bench_run(&b, 2 * SECOND);
    assert_int_equal(get(&b, C), PF | UF);    /* asked for, not waited for */
    assert_int_equal(b.rises, 0);
    bench_fini(&b);
}

static void memory_and_nmi_mask(void **state)
{
    struct bench b;

    init(&b);
    assert_int_equal(get(&b, 0x15), 0x80);
    set(&b, 0x40, 0x5a);
    assert_int_equal(get(&b, 0x40), 0x5a);
    assert_int_equal(get(&b, 0xc0), 0x5a);    /* bit 7 is not part of the index */
    assert_true(mc146818_nmi_masked(b.dev));
    get(&b, 0x40);
    assert_false(mc146818_nmi_masked(b.dev));
    assert_int_equal(inb(&b, 0x70), 0xff);
    device_reset(b.dev);
    assert_int_equal(get(&b, 0x40), 0);
    assert_int_equal(get(&b, 0x15), 0x80);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_the_time_of_day),
        cmocka_unit_test(number_formats),
        cmocka_unit_test(set_stops_and_starts_the_clock),
        cmocka_unit_test(divider_reset_starts_half_a_second_before_an_update),
        cmocka_unit_test(update_in_progress_announces_the_change),
        cmocka_unit_test(update_interrupt),
        cmocka_unit_test(periodic_interrupt),
        cmocka_unit_test(alarm_at_a_time),
        cmocka_unit_test(alarm_with_wildcards),
        cmocka_unit_test(flags_are_set_without_interrupts),
        cmocka_unit_test(memory_and_nmi_mask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
