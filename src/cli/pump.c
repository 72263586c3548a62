/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pump.c - a pipe, and a thread that empties it into a slow descriptor. */
#include "cli/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"

enum { CHUNK = 4096, PATIENCE_TENTHS = 10 };

struct pump {
    int fd;
    int pipe_in, pipe_out;
    struct pump_events events;
    pthread_t thread;
    _Atomic uint64_t dropped, progress;
    bool failed, told;           /* the thread's */
};

/* False when the descriptor does not take it, with errno. */
static bool write_all(struct pump *p, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(p->fd, data, len);
        if (n < 0 && errno == EAGAIN) {
            /* Somebody else made it non-blocking. */
            struct pollfd pfd = {.fd = p->fd, .events = POLLOUT};
            poll(&pfd, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
        atomic_fetch_add(&p->progress, 1);
    }
    return true;
}

static void *pump_thread(void *opaque)
{
    struct pump *p = opaque;
    char chunk[CHUNK];
    ssize_t n;

    while ((n = read(p->pipe_out, chunk, sizeof chunk)) != 0) {
        if (n < 0 || p->failed)
            continue;
        if (!write_all(p, chunk, (size_t)n)) {
            p->failed = true;
            if (p->events.failed)
                p->events.failed(p->events.opaque, errno);
        } else if (!p->told && atomic_load(&p->dropped)) {
            p->told = true;
            if (p->events.dropped)
                p->events.dropped(p->events.opaque);
        }
    }
    return NULL;
}

static int start_thread(struct pump *p)
{
    sigset_t all, before;

    /* Signals are for the main thread, save those that a mistake of ours raises. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int r = pthread_create(&p->thread, NULL, pump_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

struct pump *pump_new(int fd, const struct pump_events *events, struct error **err)
{
    struct pump *p = calloc(1, sizeof *p);
    int ends[2];

    BUG_ON(!p);
    p->fd = fd;
    p->events = *events;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        error_set(err, errno, "cannot make a pipe: %s", strerror(errno));
        free(p);
        return NULL;
    }
    p->pipe_out = ends[0];
    p->pipe_in = ends[1];
    fcntl(p->pipe_in, F_SETFL, O_NONBLOCK);
    fcntl(p->pipe_in, F_SETPIPE_SZ, PUMP_BYTES);    /* less if the host is stingy */
    int r = start_thread(p);
    if (r) {
        error_set(err, r, "cannot start an output thread: %s", strerror(r));
        close(p->pipe_in);
        close(p->pipe_out);
        free(p);
        return NULL;
    }
    return p;
}

void pump_write(struct pump *p, const void *data, size_t len)
{
    const char *at = data;

    while (len) {
        ssize_t n = write(p->pipe_in, at, len < CHUNK ? len : CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            atomic_fetch_add(&p->dropped, len);
            return;
        }
        at += n;
        len -= (size_t)n;
    }
}

int pump_fd(struct pump *p)
{
    return p->pipe_in;
}

uint64_t pump_dropped_bytes(const struct pump *p)
{
    return atomic_load(&p->dropped);
}

void pump_free(struct pump *p)
{
    uint64_t seen = UINT64_MAX;
    int idle = 0;

    if (!p)
        return;
    close(p->pipe_in);
    while (idle < PATIENCE_TENTHS) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_timedjoin_np(p->thread, NULL, &until) == 0) {
            close(p->pipe_out);
            free(p);
            return;
        }
        uint64_t now = atomic_load(&p->progress);
        idle = now == seen ? idle + 1 : 0;
        seen = now;
    }
    pthread_detach(p->thread);
}
