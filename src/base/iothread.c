/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iothread.c - loop, lock and thread in one. */
#include "base/iothread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/loop.h"

enum { THREAD_NAME_MAX = 15 };

struct iothread {
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_t thread;
};

static void *run(void *opaque)
{
    struct iothread *t = opaque;

    loop_run(t->loop);
    return NULL;
}

/* Signals are for the thread that waits for them. */
static int start(struct iothread *t)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct iothread *iothread_new(const char *name, struct error **err)
{
    struct iothread *t = calloc(1, sizeof *t);
    char cut[THREAD_NAME_MAX + 1];
    int rc;

    if (!t) {
        error_set(err, ENOMEM, "cannot start I/O thread %s: out of memory", name);
        return NULL;
    }
    t->loop = loop_new(err);
    if (!t->loop) {
        error_wrap(err, "cannot start I/O thread %s", name);
        free(t);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    loop_attach(t->loop, &t->lock, NULL);
    rc = start(t);
    if (rc) {
        error_set(err, rc, "cannot start I/O thread %s: %s", name, strerror(rc));
        pthread_mutex_destroy(&t->lock);
        loop_free(t->loop);
        free(t);
        return NULL;
    }
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(t->thread, cut);
    return t;
}

void iothread_free(struct iothread *t)
{
    if (!t)
        return;
    loop_stop(t->loop);
    pthread_join(t->thread, NULL);
    loop_free(t->loop);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct loop *iothread_loop(struct iothread *t)
{
    return t->loop;
}

pthread_mutex_t *iothread_lock(struct iothread *t)
{
    return &t->lock;
}
