/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base_iothread.c - who runs where, under which lock. */
#include "base/iothread.h"

#include <semaphore.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "unit.h"

struct probe {
    struct iothread *io;
    pthread_t ran_in;
    bool locked;
    sem_t done;
    int fd;
};

static void note(struct probe *p)
{
    p->ran_in = pthread_self();
    p->locked = pthread_mutex_trylock(iothread_lock(p->io)) != 0;
    if (!p->locked)
        pthread_mutex_unlock(iothread_lock(p->io));
    sem_post(&p->done);
}

static void on_event(void *opaque, unsigned events)
{
    struct probe *p = opaque;
    eventfd_t n;

    assert_int_equal(eventfd_read(p->fd, &n), 0);
    note(p);
}

static void on_post(void *opaque)
{
    note(opaque);
}

static void test_runs(void **state)
{
    struct error *err = NULL;
    struct probe p = {.io = iothread_new("a rather long name", &err),
                      .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

    assert_non_null(p.io);
    sem_init(&p.done, 0, 0);
    pthread_mutex_lock(iothread_lock(p.io));
    struct loop_watch *w = loop_watch_fd(iothread_loop(p.io), p.fd, LOOP_READ, on_event, &p, &err);
    pthread_mutex_unlock(iothread_lock(p.io));
    assert_non_null(w);

    eventfd_write(p.fd, 1);
    sem_wait(&p.done);
    assert_false(pthread_equal(p.ran_in, pthread_self()));
    assert_true(p.locked);

    loop_post(iothread_loop(p.io), on_post, &p);
    sem_wait(&p.done);
    assert_false(pthread_equal(p.ran_in, pthread_self()));
    assert_false(p.locked);

    pthread_mutex_lock(iothread_lock(p.io));
    loop_unwatch(w);
    pthread_mutex_unlock(iothread_lock(p.io));
    iothread_free(p.io);
    close(p.fd);
    sem_destroy(&p.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
