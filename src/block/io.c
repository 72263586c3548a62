/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io.c - a context: its worker threads, its ring, and how both wake the loop.
 *
 * Workers are started when there is work and nobody idle, up to a limit that
 * covers the queue depths guests use; they stay until the context goes. What they
 * finish goes on a list, and the ring's completions into its own; one eventfd
 * announces both, and whoever holds the context's lock takes them off: the loop's
 * watch, or a thread that waits.
 */
#include "block/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/loop.h"

enum { WORKERS_MAX = 32 };

struct job_list {
    struct block_job *first, **end;
};

struct block_io {
    struct loop_watch *watch;
    int event_fd;
    struct ring *ring;               /* NULL: worker threads do everything */
    unsigned plugged;
    pthread_mutex_t pool_lock;       /* what follows; taken with or without the context's */
    pthread_cond_t more;
    struct job_list todo, finished;
    unsigned queued, idle, workers;
    bool stop;
    pthread_t worker[WORKERS_MAX];
};

static void list_init(struct job_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_add(struct job_list *l, struct block_job *job)
{
    job->next = NULL;
    *l->end = job;
    l->end = &job->next;
}

static struct block_job *list_take(struct job_list *l)
{
    struct block_job *job = l->first;

    l->first = job->next;
    if (!l->first)
        l->end = &l->first;
    return job;
}

static void announce(struct block_io *io)
{
    uint64_t one = 1;
    ssize_t ignored = write(io->event_fd, &one, sizeof one);     /* full is awake too */

    (void)ignored;
}

static void *worker_main(void *opaque)
{
    struct block_io *io = opaque;

    pthread_mutex_lock(&io->pool_lock);
    for (;;) {
        while (!io->todo.first && !io->stop) {
            io->idle++;
            pthread_cond_wait(&io->more, &io->pool_lock);
            io->idle--;
        }
        if (!io->todo.first)
            break;
        struct block_job *job = list_take(&io->todo);
        io->queued--;
        pthread_mutex_unlock(&io->pool_lock);
        job->run(job);
        pthread_mutex_lock(&io->pool_lock);
        bool first = !io->finished.first;
        list_add(&io->finished, job);
        if (first)
            announce(io);
    }
    pthread_mutex_unlock(&io->pool_lock);
    return NULL;
}

/* Signals belong to the threads that expect them. Without a first worker there is
 * nobody to do the work. */
static int start_worker(struct block_io *io)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&io->worker[io->workers], NULL, worker_main, io);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!rc) {
        pthread_setname_np(io->worker[io->workers], "block-worker");
        io->workers++;
    }
    return rc;
}

void block_work(struct block_io *io, struct block_job *job)
{
    pthread_mutex_lock(&io->pool_lock);
    list_add(&io->todo, job);
    io->queued++;
    if (io->queued > io->idle && io->workers < WORKERS_MAX)
        start_worker(io);            /* one is there from the beginning: failing is no harm */
    pthread_cond_signal(&io->more);
    pthread_mutex_unlock(&io->pool_lock);
}

static bool reap_jobs(struct block_io *io)
{
    pthread_mutex_lock(&io->pool_lock);
    struct block_job *job = io->finished.first;
    list_init(&io->finished);
    pthread_mutex_unlock(&io->pool_lock);
    bool any = job != NULL;
    while (job) {
        struct block_job *next = job->next;
        job->done(job);
        job = next;
    }
    return any;
}

/* What completions submit goes to the kernel as one batch. */
static bool reap(struct block_io *io)
{
    block_plug(io);
    bool any = reap_jobs(io);
    if (io->ring)
        any |= ring_reap(io->ring);
    block_unplug(io);
    return any;
}

static void clear_event(struct block_io *io)
{
    uint64_t n;
    ssize_t ignored = read(io->event_fd, &n, sizeof n);

    (void)ignored;
}

static void on_event(void *opaque, unsigned events)
{
    struct block_io *io = opaque;

    clear_event(io);
    reap(io);
}

void block_io_wait(struct block_io *io)
{
    if (io->ring)
        ring_submit(io->ring);       /* plugged or not: it is waited for */
    while (!reap(io)) {
        struct pollfd p = {.fd = io->event_fd, .events = POLLIN};

        BUG_ON(poll(&p, 1, -1) < 0 && errno != EINTR);
        clear_event(io);
    }
    /* What the loop's watch was woken for may be done already; it looks, and finds nothing. */
}

bool block_ring_submit(struct block_io *io, struct block_ring_op *op)
{
    if (!io->ring || !ring_queue(io->ring, op))
        return false;
    if (!io->plugged)
        ring_submit(io->ring);
    return true;
}

void block_plug(struct block_io *io)
{
    io->plugged++;
}

void block_unplug(struct block_io *io)
{
    BUG_ON(!io->plugged);
    if (--io->plugged == 0 && io->ring)
        ring_submit(io->ring);
}

static struct block_io *io_new(struct loop *loop, bool want_ring, struct error **err)
{
    struct block_io *io = calloc(1, sizeof *io);

    BUG_ON(!io);
    pthread_mutex_init(&io->pool_lock, NULL);
    pthread_cond_init(&io->more, NULL);
    list_init(&io->todo);
    list_init(&io->finished);
    io->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->event_fd < 0) {
        error_set(err, errno, "cannot make an event descriptor for disks: %s", strerror(errno));
        goto fail;
    }
    int rc = start_worker(io);
    if (rc) {
        error_set(err, rc, "cannot start a worker thread for disks: %s", strerror(rc));
        goto fail;
    }
    io->watch = loop_watch_fd(loop, io->event_fd, LOOP_READ, on_event, io, err);
    if (!io->watch)
        goto fail;
    if (want_ring)
        io->ring = ring_new(io->event_fd);
    return io;
fail:
    block_io_free(io);
    return NULL;
}

struct block_io *block_io_new(struct loop *loop, pthread_mutex_t *lock, struct error **err)
{
    return io_new(loop, true, err);
}

struct block_io *block_io_new_threads(struct loop *loop, pthread_mutex_t *lock,
                                      struct error **err)
{
    return io_new(loop, false, err);
}

void block_io_free(struct block_io *io)
{
    if (!io)
        return;
    pthread_mutex_lock(&io->pool_lock);
    BUG_ON(io->todo.first || io->finished.first);
    io->stop = true;
    pthread_cond_broadcast(&io->more);
    pthread_mutex_unlock(&io->pool_lock);
    for (unsigned i = 0; i < io->workers; i++)
        pthread_join(io->worker[i], NULL);
    loop_unwatch(io->watch);
    ring_free(io->ring);
    if (io->event_fd >= 0)
        close(io->event_fd);
    pthread_cond_destroy(&io->more);
    pthread_mutex_destroy(&io->pool_lock);
    free(io);
}

const char *block_io_kind(const struct block_io *io)
{
    return io->ring ? "io_uring" : "threads";
}
