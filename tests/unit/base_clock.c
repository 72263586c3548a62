/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base_clock.c - guest time and timers, on manual clocks wherever possible. */
#include "unit.h"

#include "base/clock.h"

static void manual_time_stands_still(void **state)
{
    struct clock *c = clock_new_manual();

    assert_int_equal(clock_now_ns(c), 0);
    assert_int_equal(clock_tick_khz(c), 1000000);
    clock_advance(c, 12345);
    assert_int_equal(clock_now_ns(c), 12345);
    assert_int_equal(clock_ticks(c), 12345);
    clock_pause(c);
    clock_resume(c);
    assert_int_equal(clock_now_ns(c), 12345);
    clock_set_ns(c, 99);
    assert_int_equal(clock_now_ns(c), 99);
    clock_free(c);
}

static void host_time_pauses_and_is_set(void **state)
{
    struct clock *c = clock_new_host();

    uint64_t a = clock_now_ns(c), b = clock_now_ns(c);
    assert_true(b >= a);
    clock_pause(c);
    a = clock_now_ns(c);
    clock_pause(c);
    for (volatile int i = 0; i < 100000; i++)
        ;
    assert_int_equal(clock_now_ns(c), a);
    clock_resume(c);
    assert_true(clock_now_ns(c) >= a);
    clock_pause(c);
    clock_set_ns(c, 1000000000000);
    b = clock_now_ns(c);
    assert_true(b >= 1000000000000 && b < 1000000000002);
    clock_resume(c);
    clock_resume(c);
    assert_true(clock_now_ns(c) >= b);
    clock_free(c);
}

/* Rounding: reaching the nanosecond of a tick means the tick has come. */
static void ticks_and_nanoseconds_agree(void **state)
{
    struct clock *c = clock_new_host();
    uint64_t khz = clock_tick_khz(c);

    assert_true(khz >= 10000);
    clock_pause(c);
    for (uint64_t ns = 1; ns < UINT64_MAX / 4; ns = ns * 3 + 1) {
        clock_set_ns(c, ns);
        uint64_t ticks = clock_ticks(c), now = clock_now_ns(c);
        assert_true(now >= ns);
        assert_true(clock_ticks_to_ns(c, ticks) >= now);
        assert_true(clock_ticks_to_ns(c, ticks) <= now + 1);
        if (ticks < UINT64_MAX)
            assert_true(clock_ticks_to_ns(c, ticks + 1) > now || khz > 1000000);
    }
    assert_int_equal(clock_ticks_to_ns(c, 0), 0);
    /* One hour of ticks is an hour, to a millionth. */
    uint64_t hour = clock_ticks_to_ns(c, khz * 3600 * 1000);
    assert_true(hour > 3600000000000 - 3600000 && hour < 3600000000000 + 3600000);
    clock_free(c);
}

struct fixture {
    struct clock *clock;
    struct timer a, b, c;
    char order[64];
    unsigned rearms;
    uint64_t period_ns;
};

static void note(struct fixture *f, char who)
{
    f->order[strlen(f->order)] = who;
}

static void fire_a(void *opaque)
{
    note(opaque, 'a');
}

static void fire_b(void *opaque)
{
    struct fixture *f = opaque;

    note(f, 'b');
    if (f->period_ns)
        timer_arm(&f->b, f->b.deadline_ns + f->period_ns);
}

/* c takes a away. */
static void fire_c(void *opaque)
{
    struct fixture *f = opaque;

    note(f, 'c');
    timer_disarm(&f->a);
}

static void on_rearm(void *opaque)
{
    ((struct fixture *)opaque)->rearms++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->clock = clock_new_manual();
    timer_init(&f->a, f->clock, fire_a, f);
    timer_init(&f->b, f->clock, fire_b, f);
    timer_init(&f->c, f->clock, fire_c, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    timer_disarm(&f->a);
    timer_disarm(&f->b);
    timer_disarm(&f->c);
    clock_free(f->clock);
    free(f);
    return 0;
}

static void timers_fire_in_order(void **state)
{
    struct fixture *f = *state;

    timer_arm(&f->b, 200);
    timer_arm(&f->a, 100);
    timer_arm(&f->c, 200);
    assert_int_equal(clock_next_deadline_ns(f->clock), 100);
    clock_advance(f->clock, 99);
    clock_run_timers(f->clock);
    assert_string_equal(f->order, "");
    assert_int_equal(clock_wait_ns(f->clock), CLOCK_NEVER);   /* a manual clock stands */
    clock_advance(f->clock, 1);
    assert_int_equal(clock_wait_ns(f->clock), 0);
    clock_run_timers(f->clock);
    assert_string_equal(f->order, "a");
    assert_false(f->a.armed);
    clock_advance(f->clock, 1000);
    clock_run_timers(f->clock);
    assert_string_equal(f->order, "abc");    /* equal deadlines: order of arming */
    assert_int_equal(clock_next_deadline_ns(f->clock), CLOCK_NEVER);
}

static void timers_catch_up_and_may_be_disarmed_inside(void **state)
{
    struct fixture *f = *state;

    f->period_ns = 10;
    timer_arm(&f->b, 10);
    timer_arm(&f->c, 25);
    timer_arm(&f->a, 27);
    clock_advance(f->clock, 45);
    clock_run_timers(f->clock);
    assert_string_equal(f->order, "bbcbb");   /* 10 20 25 30 40; c took a away */
    assert_int_equal(clock_next_deadline_ns(f->clock), 50);
    timer_disarm(&f->b);
    timer_disarm(&f->b);
    assert_int_equal(clock_next_deadline_ns(f->clock), CLOCK_NEVER);
}

static void timer_in_the_past_fires_at_once(void **state)
{
    struct fixture *f = *state;

    clock_advance(f->clock, 1000);
    timer_arm(&f->a, 5);
    clock_run_timers(f->clock);
    assert_string_equal(f->order, "a");
}

static void rearm_is_told(void **state)
{
    struct fixture *f = *state;
    struct timer zeroed = {0};

    clock_on_rearm(f->clock, on_rearm, f);
    timer_arm(&f->a, 100);
    assert_int_equal(f->rearms, 1);
    timer_arm(&f->b, 200);      /* not the earliest: nobody cares */
    assert_int_equal(f->rearms, 1);
    timer_arm(&f->b, 50);
    assert_int_equal(f->rearms, 2);
    timer_arm(&f->b, 300);      /* now a is the earliest again */
    assert_int_equal(f->rearms, 3);
    assert_int_equal(clock_next_deadline_ns(f->clock), 100);
    timer_disarm(&f->b);
    assert_int_equal(f->rearms, 3);
    timer_disarm(&zeroed);
}

static void waiting_follows_the_pause(void **state)
{
    struct clock *c = clock_new_host();
    struct fixture f = {0};
    struct timer t;

    timer_init(&t, c, fire_a, &f);
    assert_int_equal(clock_wait_ns(c), CLOCK_NEVER);
    timer_arm(&t, clock_now_ns(c) + 3600000000000);
    assert_true(clock_wait_ns(c) <= 3600000000000);
    clock_pause(c);
    assert_int_equal(clock_wait_ns(c), CLOCK_NEVER);
    clock_on_rearm(c, on_rearm, &f);
    clock_resume(c);
    assert_int_equal(f.rearms, 1);    /* whoever slept for ever must look again */
    timer_disarm(&t);
    clock_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manual_time_stands_still),
        cmocka_unit_test(host_time_pauses_and_is_set),
        cmocka_unit_test(ticks_and_nanoseconds_agree),
        cmocka_unit_test_setup_teardown(timers_fire_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_catch_up_and_may_be_disarmed_inside, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(timer_in_the_past_fires_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(rearm_is_told, setup, teardown),
        cmocka_unit_test(waiting_follows_the_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
