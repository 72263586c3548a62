/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base_loop.c - watches, posted work, timers and stopping, over pipes. */
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

struct fixture {
    struct loop *loop;
    pthread_mutex_t lock;
    int fd[2];
    struct loop_watch *watch, *other;
    unsigned calls, events, other_calls;
    bool locked_in_callback;
    char text[16];
};

static bool is_locked(pthread_mutex_t *m)
{
    if (pthread_mutex_trylock(m) == EBUSY)
        return true;
    pthread_mutex_unlock(m);
    return false;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->loop = loop_new(NULL);
    pthread_mutex_init(&f->lock, NULL);
    loop_attach(f->loop, &f->lock, NULL);
    assert_int_equal(pipe(f->fd), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_free(f->loop);
    close(f->fd[0]);
    if (f->fd[1] >= 0)
        close(f->fd[1]);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static void on_read(void *opaque, unsigned events)
{
    struct fixture *f = opaque;

    f->calls++;
    f->events = events;
    f->locked_in_callback = is_locked(&f->lock);
    ssize_t n = read(f->fd[0], f->text, sizeof f->text - 1);
    if (n == 0)
        loop_watch_change(f->watch, 0);
}

static void watch_reports_and_is_changed(void **state)
{
    struct fixture *f = *state;

    f->watch = loop_watch_fd(f->loop, f->fd[0], LOOP_READ, on_read, f, NULL);
    assert_non_null(f->watch);
    assert_true(loop_run_once(f->loop, 0));
    assert_int_equal(f->calls, 0);
    assert_int_equal(write(f->fd[1], "hi", 2), 2);
    assert_true(loop_run_once(f->loop, -1));
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->events, LOOP_READ);
    assert_true(f->locked_in_callback);
    assert_string_equal(f->text, "hi");

    loop_watch_change(f->watch, 0);
    assert_int_equal(write(f->fd[1], "x", 1), 1);
    loop_run_once(f->loop, 0);
    assert_int_equal(f->calls, 1);
    loop_watch_change(f->watch, LOOP_READ);
    loop_run_once(f->loop, 0);
    assert_int_equal(f->calls, 2);

    /* Hang-up comes as what was asked for, and not at all when nothing was. */
    close(f->fd[1]);
    f->fd[1] = -1;
    loop_run_once(f->loop, 0);
    assert_int_equal(f->calls, 3);
    assert_int_equal(f->events, LOOP_READ);
    loop_run_once(f->loop, 0);
    assert_int_equal(f->calls, 3);
    loop_unwatch(f->watch);
    loop_unwatch(NULL);
}

static void on_other(void *opaque, unsigned events)
{
    ((struct fixture *)opaque)->other_calls++;
}

static void on_unwatch_both(void *opaque, unsigned events)
{
    struct fixture *f = opaque;

    f->calls++;
    loop_unwatch(f->watch);
    loop_unwatch(f->other);
}

/* Both are ready; whichever comes first takes both away. */
static void unwatch_inside_a_callback(void **state)
{
    struct fixture *f = *state;
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(f->fd[1], "x", 1), 1);
    assert_int_equal(write(fd[1], "x", 1), 1);
    f->watch = loop_watch_fd(f->loop, f->fd[0], LOOP_READ, on_unwatch_both, f, NULL);
    f->other = loop_watch_fd(f->loop, fd[0], LOOP_READ, on_unwatch_both, f, NULL);
    loop_run_once(f->loop, 0);
    loop_run_once(f->loop, 0);
    assert_int_equal(f->calls, 1);
    close(fd[0]);
    close(fd[1]);
}

static void regular_files_are_always_ready(void **state)
{
    struct fixture *f = *state;
    FILE *file = tmpfile();

    assert_non_null(file);
    f->other = loop_watch_fd(f->loop, fileno(file), LOOP_READ, on_other, f, NULL);
    assert_non_null(f->other);
    loop_run_once(f->loop, -1);
    loop_run_once(f->loop, -1);
    assert_int_equal(f->other_calls, 2);
    loop_watch_change(f->other, 0);
    loop_run_once(f->loop, 0);
    assert_int_equal(f->other_calls, 2);
    loop_unwatch(f->other);
    fclose(file);
}

static void bad_descriptor_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct error *err = NULL;

    assert_null(loop_watch_fd(f->loop, 1000, LOOP_READ, on_other, f, &err));
    expect_error(-err->code, EBADF, &err, "descriptor 1000");
}

static void posted(void *opaque)
{
    struct fixture *f = opaque;

    f->calls++;
    f->locked_in_callback = is_locked(&f->lock);
    if (f->calls == 100)
        loop_stop(f->loop);
}

static void *poster(void *opaque)
{
    struct fixture *f = opaque;

    for (int i = 0; i < 100; i++)
        loop_post(f->loop, posted, f);
    return NULL;
}

static void posts_from_another_thread(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;

    f->locked_in_callback = true;
    assert_int_equal(pthread_create(&thread, NULL, poster, f), 0);
    loop_run(f->loop);
    pthread_join(thread, NULL);
    assert_int_equal(f->calls, 100);
    assert_false(f->locked_in_callback);
}

static void stop_is_sticky_once(void **state)
{
    struct fixture *f = *state;

    loop_stop(f->loop);
    loop_run(f->loop);
    assert_true(loop_run_once(f->loop, 0));
    loop_wake(f->loop);
    assert_true(loop_run_once(f->loop, -1));
}

static void stop_from_timer(void *opaque)
{
    struct fixture *f = opaque;

    f->calls++;
    f->locked_in_callback = is_locked(&f->lock);
    loop_stop(f->loop);
}

static void timers_run_the_loop(void **state)
{
    struct fixture *f = *state;
    struct clock *clock = clock_new_host();
    struct timer t;

    loop_attach(f->loop, &f->lock, clock);
    timer_init(&t, clock, stop_from_timer, f);
    timer_arm(&t, clock_now_ns(clock) + 1000000);
    loop_run(f->loop);
    assert_int_equal(f->calls, 1);
    assert_true(f->locked_in_callback);
    loop_attach(f->loop, NULL, NULL);
    clock_free(clock);
}

struct armer {
    struct fixture *f;
    struct timer *t;
    struct clock *clock;
};

static void *arm_from_thread(void *opaque)
{
    struct armer *a = opaque;

    pthread_mutex_lock(&a->f->lock);
    timer_arm(a->t, clock_now_ns(a->clock));
    pthread_mutex_unlock(&a->f->lock);
    return NULL;
}

/* The loop sleeps for ever until a vCPU's thread arms a timer. */
static void arming_wakes_a_sleeping_loop(void **state)
{
    struct fixture *f = *state;
    struct clock *clock = clock_new_host();
    struct timer t;
    struct armer a = {f, &t, clock};
    pthread_t thread;

    loop_attach(f->loop, &f->lock, clock);
    timer_init(&t, clock, stop_from_timer, f);
    assert_int_equal(pthread_create(&thread, NULL, arm_from_thread, &a), 0);
    loop_run(f->loop);
    pthread_join(thread, NULL);
    assert_int_equal(f->calls, 1);
    loop_attach(f->loop, NULL, NULL);
    clock_free(clock);
}

static void dropped_posts_are_freed(void **state)
{
    struct fixture *f = *state;

    loop_post(f->loop, posted, f);
    loop_watch_fd(f->loop, f->fd[0], LOOP_READ, on_read, f, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(watch_reports_and_is_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(unwatch_inside_a_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(regular_files_are_always_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_descriptor_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(posts_from_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_is_sticky_once, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_run_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(arming_wakes_a_sleeping_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped_posts_are_freed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
