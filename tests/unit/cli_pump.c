/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli_pump.c - output arrives, drops when nobody reads, tells failures. */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include "cli/pump.h"

struct fixture {
    int fd[2];
    sem_t failed, dropped;
    int error;
};

static void on_failed(void *opaque, int error)
{
    struct fixture *f = opaque;

    f->error = error;
    sem_post(&f->failed);
}

static void on_dropped(void *opaque)
{
    sem_post(&((struct fixture *)opaque)->dropped);
}

static struct pump *start(struct fixture *f, int fd)
{
    const struct pump_events events = {on_failed, on_dropped, f};
    struct pump *p = pump_new(fd, &events, NULL);

    assert_non_null(p);
    return p;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    sem_init(&f->failed, 0, 0);
    sem_init(&f->dropped, 0, 0);
    assert_int_equal(pipe(f->fd), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close(f->fd[0]);
    close(f->fd[1]);
    sem_destroy(&f->failed);
    sem_destroy(&f->dropped);
    free(f);
    return 0;
}

static void everything_arrives_in_order(void **state)
{
    struct fixture *f = *state;
    struct pump *p = start(f, f->fd[1]);
    char text[64] = "";

    pump_write(p, "one ", 4);
    pump_write(p, "two ", 4);
    assert_int_equal(write(pump_fd(p), "three", 5), 5);
    pump_write(p, "", 0);
    pump_free(p);
    assert_int_equal(read(f->fd[0], text, sizeof text), 13);
    assert_string_equal(text, "one two three");
    pump_free(NULL);
}

/* The user's descriptor keeps its flags: it is shared with the shell. */
static void flags_are_left_alone(void **state)
{
    struct fixture *f = *state;
    int before = fcntl(f->fd[1], F_GETFL);
    struct pump *p = start(f, f->fd[1]);

    pump_write(p, "x", 1);
    assert_int_equal(fcntl(f->fd[1], F_GETFL), before);
    pump_free(p);
    assert_int_equal(fcntl(f->fd[1], F_GETFL), before);
}

static void nonblocking_descriptors_work_too(void **state)
{
    struct fixture *f = *state;
    char block[4096];
    size_t got = 0;

    fcntl(f->fd[1], F_SETFL, O_NONBLOCK);
    struct pump *p = start(f, f->fd[1]);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 32; i++)
        pump_write(p, block, sizeof block);
    while (got < 32 * sizeof block) {
        ssize_t n = read(f->fd[0], block, sizeof block);
        assert_true(n > 0);
        got += (size_t)n;
    }
    pump_free(p);
}

/* Nobody reads: the writer gets through all the same, the rest is counted, and
 * it is said once when the reader is back. */
static void a_stuck_reader_costs_bytes_not_time(void **state)
{
    struct fixture *f = *state;
    struct pump *p = start(f, f->fd[1]);
    static char block[4096];
    uint64_t written = 0, got = 0;

    for (int i = 0; i < 1024; i++, written += sizeof block)
        pump_write(p, block, sizeof block);
    uint64_t dropped = pump_dropped_bytes(p);
    assert_true(dropped > 0 && dropped < written);
    while (got < written - dropped) {
        ssize_t n = read(f->fd[0], block, sizeof block);
        assert_true(n > 0);
        got += (uint64_t)n;
    }
    sem_wait(&f->dropped);
    pump_write(p, "x", 1);
    assert_int_equal(read(f->fd[0], block, sizeof block), 1);
    pump_free(p);
    assert_int_equal(sem_trywait(&f->dropped), -1);
    assert_int_equal(sem_trywait(&f->failed), -1);
}

static void closed_pipe_is_told_once(void **state)
{
    struct fixture *f = *state;
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    close(fd[0]);
    struct pump *p = start(f, fd[1]);
    pump_write(p, "x", 1);
    sem_wait(&f->failed);
    assert_int_equal(f->error, EPIPE);
    for (int i = 0; i < 1000; i++)
        pump_write(p, "more", 4);
    pump_free(p);
    assert_int_equal(sem_trywait(&f->failed), -1);
    close(fd[1]);
}

static void full_disk_is_told(void **state)
{
    struct fixture *f = *state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        skip();
    struct pump *p = start(f, fd);
    pump_write(p, "x", 1);
    sem_wait(&f->failed);
    assert_int_equal(f->error, ENOSPC);
    pump_free(p);
    close(fd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(everything_arrives_in_order),
        TEST(flags_are_left_alone),
        TEST(nonblocking_descriptors_work_too),
        TEST(a_stuck_reader_costs_bytes_not_time),
        TEST(closed_pipe_is_told_once),
        TEST(full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
