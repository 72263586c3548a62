/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_pit.c - 8254 modes, tick by tick. Times are in ticks of its CLK. */
#include "device_fixture.h"

#include "device/i8254.h"

enum { COUNTER0 = 0x40, COUNTER2 = 0x42, CONTROL = 0x43, PORT_B = 0x61 };
enum { OUT2 = 0x20, GATE2 = 0x01 };

static uint64_t tick_ns(uint64_t tick)
{
    return (tick * 1000000000 + I8254_HZ - 1) / I8254_HZ;
}

static void init(struct bench *b)
{
    struct device_env env = bench_init(b);
    struct i8254_config cfg = {.irq = bench_line(b)};

    b->dev = i8254_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
}

static void at_tick(struct bench *b, uint64_t tick)
{
    bench_run_to(b, tick_ns(tick));
}

static void program(struct bench *b, unsigned channel, unsigned mode, uint16_t count)
{
    outb(b, CONTROL, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    outb(b, (uint16_t)(COUNTER0 + channel), (uint8_t)count);
    outb(b, (uint16_t)(COUNTER0 + channel), (uint8_t)(count >> 8));
}

static uint16_t count_of(struct bench *b, unsigned channel)
{
    uint16_t port = (uint16_t)(COUNTER0 + channel);

    outb(b, CONTROL, (uint8_t)(channel << 6));
    uint8_t low = inb(b, port);
    return (uint16_t)(inb(b, port) << 8 | low);
}

static bool out2(struct bench *b)
{
    return inb(b, PORT_B) & OUT2;
}

static void mode0_counts_down_once(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 0, 10);       /* written in tick 0, loaded in tick 1 */
    assert_false(out2(&b));
    at_tick(&b, 1);
    assert_int_equal(count_of(&b, 2), 10);
    at_tick(&b, 10);
    assert_int_equal(count_of(&b, 2), 1);
    assert_false(out2(&b));
    at_tick(&b, 11);             /* N + 1 */
    assert_int_equal(count_of(&b, 2), 0);
    assert_true(out2(&b));
    at_tick(&b, 13);
    assert_int_equal(count_of(&b, 2), 0xfffe);
    assert_true(out2(&b));
    bench_fini(&b);
}

static void mode0_gate_holds_the_count(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 0, 100);
    at_tick(&b, 41);
    assert_int_equal(count_of(&b, 2), 60);
    outb(&b, PORT_B, 0);
    at_tick(&b, 1000);
    assert_int_equal(count_of(&b, 2), 60);
    assert_false(out2(&b));
    outb(&b, PORT_B, GATE2);
    at_tick(&b, 1059);
    assert_false(out2(&b));
    at_tick(&b, 1060);
    assert_true(out2(&b));
    bench_fini(&b);
}

static void mode0_interrupts_once_and_on_time(void **state)
{
    struct bench b;

    init(&b);
    at_tick(&b, 5);
    program(&b, 0, 0, 1000);
    assert_false(b.line);
    bench_run(&b, 100000000);
    assert_int_equal(b.rises, 1);
    assert_int_equal(b.rise_ns, tick_ns(5 + 1001));
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    bench_fini(&b);
}

static void mode0_first_byte_stops_it(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 0, 3);
    at_tick(&b, 10);
    assert_true(out2(&b));
    outb(&b, COUNTER2, 5);
    assert_false(out2(&b));
    at_tick(&b, 100);
    assert_false(out2(&b));
    outb(&b, COUNTER2, 0);
    at_tick(&b, 105);
    assert_false(out2(&b));
    at_tick(&b, 106);
    assert_true(out2(&b));
    bench_fini(&b);
}

static void mode1_is_a_retriggerable_one_shot(void **state)
{
    struct bench b;

    init(&b);
    program(&b, 2, 1, 20);
    at_tick(&b, 50);
    assert_true(out2(&b));       /* no trigger yet */
    outb(&b, PORT_B, GATE2);
    at_tick(&b, 51);
    assert_false(out2(&b));
    at_tick(&b, 60);
    outb(&b, PORT_B, 0);
    outb(&b, PORT_B, GATE2);     /* again: starts anew */
    at_tick(&b, 80);
    assert_false(out2(&b));
    at_tick(&b, 81);
    assert_true(out2(&b));
    bench_fini(&b);
}

static void mode2_divides_exactly(void **state)
{
    struct bench b;
    const unsigned n = 11932;    /* 100 Hz, as Linux programs it */

    init(&b);
    program(&b, 0, 2, n);
    b.rises = 0;                 /* OUT went high with the control word */
    bench_run_to(&b, tick_ns(1 + 1000ull * n) - 1);
    assert_int_equal(b.rises, 999);
    bench_run(&b, 1);
    assert_int_equal(b.rises, 1000);
    assert_int_equal(b.rise_ns, tick_ns(1 + 1000ull * n));   /* not a tick of drift */
    assert_int_equal(count_of(&b, 0), n);
    at_tick(&b, 1000ull * n + n);
    assert_int_equal(count_of(&b, 0), 1);
    bench_fini(&b);
}

static void mode2_out_is_low_for_one_tick(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 2, 4);
    for (uint64_t tick = 1; tick < 30; tick++) {
        at_tick(&b, tick);
        assert_int_equal(count_of(&b, 2), 4 - (tick - 1) % 4);
        assert_int_equal(out2(&b), (tick - 1) % 4 != 3);
    }
    outb(&b, PORT_B, 0);         /* gate low: high at once, stops */
    at_tick(&b, 40);
    assert_true(out2(&b));
    outb(&b, PORT_B, GATE2);     /* reloads */
    at_tick(&b, 41);
    assert_int_equal(count_of(&b, 2), 4);
    bench_fini(&b);
}

static void mode2_new_count_waits_for_the_period(void **state)
{
    struct bench b;

    init(&b);
    program(&b, 0, 2, 100);
    at_tick(&b, 51);
    outb(&b, COUNTER0, 30);
    outb(&b, COUNTER0, 0);
    assert_int_equal(count_of(&b, 0), 50);
    at_tick(&b, 101);
    assert_int_equal(b.rise_ns, tick_ns(101));
    assert_int_equal(count_of(&b, 0), 30);
    at_tick(&b, 131);
    assert_int_equal(b.rise_ns, tick_ns(131));
    bench_fini(&b);
}

static void mode3_square_wave(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 3, 6);
    for (uint64_t tick = 1; tick < 40; tick++) {
        at_tick(&b, tick);
        assert_int_equal(out2(&b), (tick - 1) % 6 < 3);
        assert_int_equal(count_of(&b, 2), 6 - 2 * ((tick - 1) % 3));
    }
    program(&b, 2, 3, 5);        /* odd: three ticks high, two low */
    uint64_t start = 40;
    static const uint8_t counts[] = {4, 2, 0, 4, 2};
    for (uint64_t i = 0; i < 30; i++) {
        at_tick(&b, start + i);
        assert_int_equal(out2(&b), i % 5 < 3);
        assert_int_equal(count_of(&b, 2), counts[i % 5]);
    }
    bench_fini(&b);
}

static void mode3_interrupts_once_per_period(void **state)
{
    struct bench b;

    init(&b);
    program(&b, 0, 3, 0);        /* 65536: the BIOS's 18.2 Hz */
    b.rises = 0;
    at_tick(&b, 1 + 65536 * 10);
    assert_int_equal(b.rises, 10);
    assert_int_equal(b.rise_ns, tick_ns(1 + 65536 * 10));
    bench_fini(&b);
}

static void mode3_new_count_waits_for_the_half(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 3, 20);       /* high 1-10, low 11-20 */
    at_tick(&b, 5);
    outb(&b, COUNTER2, 8);
    outb(&b, COUNTER2, 0);
    at_tick(&b, 10);
    assert_true(out2(&b));
    at_tick(&b, 11);
    assert_false(out2(&b));      /* low half of the new wave: four ticks */
    at_tick(&b, 14);
    assert_false(out2(&b));
    at_tick(&b, 15);
    assert_true(out2(&b));
    at_tick(&b, 19);
    assert_false(out2(&b));
    bench_fini(&b);
}

static void mode4_strobes_once(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    program(&b, 2, 4, 7);
    for (uint64_t tick = 0; tick < 40; tick++) {
        at_tick(&b, tick);
        assert_int_equal(out2(&b), tick != 8);
    }
    bench_fini(&b);
}

static void mode5_strobes_after_a_trigger(void **state)
{
    struct bench b;

    init(&b);
    program(&b, 2, 5, 7);
    at_tick(&b, 30);
    outb(&b, PORT_B, GATE2);
    outb(&b, PORT_B, 0);         /* the level does not matter */
    for (uint64_t tick = 30; tick < 60; tick++) {
        at_tick(&b, tick);
        assert_int_equal(out2(&b), tick != 38);
    }
    bench_fini(&b);
}

static void bcd_counts_in_decimal(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, PORT_B, GATE2);
    outb(&b, CONTROL, 0xb1);     /* channel 2, both bytes, mode 0, BCD */
    outb(&b, COUNTER2, 0x00);
    outb(&b, COUNTER2, 0x10);    /* 1000 */
    at_tick(&b, 2);
    assert_int_equal(count_of(&b, 2), 0x999);
    at_tick(&b, 1002);
    assert_int_equal(count_of(&b, 2), 0x9999);
    bench_fini(&b);
}

static void latches_hold_until_read(void **state)
{
    struct bench b;

    init(&b);
    program(&b, 0, 2, 1000);
    at_tick(&b, 101);
    outb(&b, CONTROL, 0x00);     /* latch */
    at_tick(&b, 201);
    outb(&b, CONTROL, 0x00);     /* ignored */
    assert_int_equal(inb(&b, COUNTER0), 900 & 0xff);
    assert_int_equal(inb(&b, COUNTER0), 900 >> 8);
    assert_int_equal(inb(&b, COUNTER0), 800 & 0xff);   /* live again */
    assert_int_equal(inb(&b, COUNTER0), 800 >> 8);
    bench_fini(&b);
}

static void read_back_gives_status_then_count(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, CONTROL, 0x34);
    outb(&b, CONTROL, 0xe2);     /* read back status of channel 0 */
    assert_int_equal(inb(&b, COUNTER0), 0xf4);      /* OUT, null count, both bytes, mode 2 */
    program(&b, 0, 2, 1000);
    at_tick(&b, 11);
    outb(&b, CONTROL, 0xc2);     /* status and count */
    at_tick(&b, 500);
    assert_int_equal(inb(&b, COUNTER0), 0xb4);
    assert_int_equal(inb(&b, COUNTER0), 990 & 0xff);
    assert_int_equal(inb(&b, COUNTER0), 990 >> 8);
    bench_fini(&b);
}

static void single_byte_access(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, CONTROL, 0x14);     /* channel 0, LSB only, mode 2 */
    outb(&b, COUNTER0, 200);
    at_tick(&b, 11);
    assert_int_equal(inb(&b, COUNTER0), 190);
    assert_int_equal(inb(&b, COUNTER0), 190);
    outb(&b, CONTROL, 0x24);     /* MSB only */
    outb(&b, COUNTER0, 2);
    at_tick(&b, 13);
    assert_int_equal(inb(&b, COUNTER0), 1);
    bench_fini(&b);
}

static void refresh_bit_toggles(void **state)
{
    struct bench b;
    unsigned toggles = 0;
    uint8_t last;

    init(&b);
    last = inb(&b, PORT_B) & 0x10;
    for (unsigned us = 0; us < 1000; us++) {
        bench_run(&b, 1000);
        uint8_t now = inb(&b, PORT_B) & 0x10;
        toggles += now != last;
        last = now;
    }
    assert_in_range(toggles, 60, 70);
    bench_fini(&b);
}

/* A guest that asks for a million interrupts a second must not get the host. */
static void shortest_periods_are_merged(void **state)
{
    struct bench b;

    init(&b);
    program(&b, 0, 2, 2);
    b.rises = 0;
    bench_run(&b, 100000000);
    assert_in_range(b.rises, 1000, 5000);
    program(&b, 0, 2, 1);        /* not a legal count */
    b.rises = 0;
    bench_run(&b, 100000000);
    assert_true(b.rises <= 1);
    bench_fini(&b);
}

static void silent_until_programmed(void **state)
{
    struct bench b;

    init(&b);
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    outb(&b, CONTROL, 0x34);
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mode0_counts_down_once),
        cmocka_unit_test(mode0_gate_holds_the_count),
        cmocka_unit_test(mode0_interrupts_once_and_on_time),
        cmocka_unit_test(mode0_first_byte_stops_it),
        cmocka_unit_test(mode1_is_a_retriggerable_one_shot),
        cmocka_unit_test(mode2_divides_exactly),
        cmocka_unit_test(mode2_out_is_low_for_one_tick),
        cmocka_unit_test(mode2_new_count_waits_for_the_period),
        cmocka_unit_test(mode3_square_wave),
        cmocka_unit_test(mode3_interrupts_once_per_period),
        cmocka_unit_test(mode3_new_count_waits_for_the_half),
        cmocka_unit_test(mode4_strobes_once),
        cmocka_unit_test(mode5_strobes_after_a_trigger),
        cmocka_unit_test(bcd_counts_in_decimal),
        cmocka_unit_test(latches_hold_until_read),
        cmocka_unit_test(read_back_gives_status_then_count),
        cmocka_unit_test(single_byte_access),
        cmocka_unit_test(refresh_bit_toggles),
        cmocka_unit_test(shortest_periods_are_merged),
        cmocka_unit_test(silent_until_programmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
