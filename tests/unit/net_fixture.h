/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net_fixture.h - an end of a cable: a loop, a back end, and the frames that came. */
#ifndef RING3_TESTS_NET_FIXTURE_H
#define RING3_TESTS_NET_FIXTURE_H

#include <pthread.h>
#include "base/byteorder.h"
#include "base/log.h"
#include "base/loop.h"
#include "net/net.h"
#include "unit.h"

enum { FIXTURE_FRAMES = 4096 };

struct fixture_end {
    struct net *net;
    unsigned frames, room;               /* room: how many more it takes */
    int links;                           /* ups minus downs */
    size_t len[FIXTURE_FRAMES];
    uint8_t *frame[FIXTURE_FRAMES];
    struct net_header header[FIXTURE_FRAMES];
};

struct fixture {
    struct loop *loop;
    pthread_mutex_t lock;
    struct log log;
    struct net_env env;
};

static inline void fixture_init(struct fixture *f)
{
    struct error *err = NULL;

    pthread_mutex_init(&f->lock, NULL);
    log_init(&f->log, -1);
    f->loop = loop_new(&err);
    assert_non_null(f->loop);
    loop_attach(f->loop, &f->lock, NULL);
    f->env = (struct net_env){f->loop, &f->lock, &f->log};
}

static inline void fixture_fini(struct fixture *f)
{
    loop_free(f->loop);
    pthread_mutex_destroy(&f->lock);
}

static inline bool fixture_receive(void *opaque, unsigned queue, const struct net_header *h,
                                   const struct iovec *iov, unsigned iovs)
{
    struct fixture_end *e = opaque;
    size_t len = net_iov_bytes(iov, iovs);

    if (!e->room)
        return false;
    assert_true(e->frames < FIXTURE_FRAMES);
    e->room--;
    e->frame[e->frames] = malloc(len);
    net_iov_gather(iov, iovs, e->frame[e->frames], len);
    if (h)
        e->header[e->frames] = *h;
    e->len[e->frames++] = len;
    return true;
}

static inline void fixture_link(void *opaque, bool up)
{
    ((struct fixture_end *)opaque)->links += up ? 1 : -1;
}

static inline struct fixture_end *end_new(struct fixture *f, const char *spec)
{
    struct fixture_end *e = calloc(1, sizeof *e);
    const struct net_up up = {fixture_receive, fixture_link, e};
    struct error *err = NULL;

    e->room = FIXTURE_FRAMES;
    e->net = net_open(&f->env, spec, &err);
    if (!e->net)
        fail_msg("%s: %s", spec, err->what);
    pthread_mutex_lock(&f->lock);
    net_attach(e->net, &up);
    pthread_mutex_unlock(&f->lock);
    return e;
}

static inline void end_clear(struct fixture_end *e)
{
    while (e->frames)
        free(e->frame[--e->frames]);
}

static inline void end_free(struct fixture_end *e)
{
    net_close(e->net);
    end_clear(e);
    free(e);
}

static inline void end_send(struct fixture *f, struct fixture_end *e, const struct net_header *h,
                            const void *frame, size_t len)
{
    const struct iovec iov = {(void *)(uintptr_t)frame, len};

    pthread_mutex_lock(&f->lock);
    net_send(e->net, 0, h, &iov, 1);
    pthread_mutex_unlock(&f->lock);
}

/* Turns the loop until `frames` are there, or 3 s passed in silence. */
static inline void end_wait(struct fixture *f, const struct fixture_end *e, unsigned frames)
{
    for (unsigned quiet = 0; e->frames < frames && quiet < 30;) {
        unsigned before = e->frames;

        loop_run_once(f->loop, 100000000);
        quiet = e->frames == before ? quiet + 1 : 0;
    }
}

#endif
