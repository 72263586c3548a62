/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.c - epoll, an eventfd, a queue of posted work.
 *
 * Two locks. The VM lock (the caller's) is held around watch and timer
 * callbacks and guards the list of watches, so device code in a vCPU thread
 * may change its watches too. `post_lock` guards the queue of posted work and
 * is never held while anything is called.
 *
 * A watch that is taken away may still be in the batch of events that the
 * loop's thread is working on; it is marked dead and freed at the beginning
 * of the next round.
 *
 * A vCPU that re-arms a timer wakes the loop only when the loop would sleep
 * past the new deadline (`sleep_until_ns`): guests re-arm their tick all the
 * time, and nearly always to a later moment.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/error.h"

enum { BATCH = 32, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

struct loop_watch {
    struct loop *loop;
    int fd;
    unsigned events;
    void (*fn)(void *opaque, unsigned events);
    void *opaque;
    bool in_epoll;
    bool regular_file;     /* epoll refuses it: always ready */
    bool dead;
    struct loop_watch *next;
};

struct post {
    void (*fn)(void *opaque);
    void *opaque;
    struct post *next;
};

struct loop {
    int epoll_fd, wake_fd;
    pthread_mutex_t *vm_lock;
    struct clock *clock;
    _Atomic bool stop;
    _Atomic uint64_t sleep_until_ns;   /* clock time; 0 while not sleeping */
    struct loop_watch *watches;
    pthread_mutex_t post_lock;
    struct post *posts, **posts_end;
};

static void lock_vm(struct loop *loop)
{
    if (loop->vm_lock)
        pthread_mutex_lock(loop->vm_lock);
}

static void unlock_vm(struct loop *loop)
{
    if (loop->vm_lock)
        pthread_mutex_unlock(loop->vm_lock);
}

struct loop *loop_new(struct error **err)
{
    struct loop *loop = calloc(1, sizeof *loop);
    struct epoll_event ev = {.events = EPOLLIN};

    BUG_ON(!loop);
    pthread_mutex_init(&loop->post_lock, NULL);
    loop->posts_end = &loop->posts;
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        goto fail;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        goto fail;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0)
        goto fail;
    return loop;
fail:
    error_set(err, errno, "cannot make an event loop: %s", strerror(errno));
    loop_free(loop);
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->clock)
        clock_on_rearm(loop->clock, NULL, NULL);
    while (loop->watches) {
        struct loop_watch *w = loop->watches;
        loop->watches = w->next;
        free(w);
    }
    while (loop->posts) {
        struct post *p = loop->posts;
        loop->posts = p->next;
        free(p);
    }
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->post_lock);
    free(loop);
}

static void on_rearm(void *opaque)
{
    struct loop *loop = opaque;

    if (clock_next_deadline_ns(loop->clock) < atomic_load(&loop->sleep_until_ns))
        loop_wake(loop);
}

void loop_attach(struct loop *loop, pthread_mutex_t *vm_lock, struct clock *clock)
{
    if (loop->clock)
        clock_on_rearm(loop->clock, NULL, NULL);
    loop->vm_lock = vm_lock;
    loop->clock = clock;
    if (clock)
        clock_on_rearm(clock, on_rearm, loop);
}

static uint32_t epoll_mask(unsigned events)
{
    return (events & LOOP_READ ? (uint32_t)EPOLLIN : 0) |
           (events & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0);
}

/* Makes epoll agree with w->events. A watch for nothing leaves epoll, which
 * would go on reporting hang-ups. */
static int watch_update(struct loop_watch *w)
{
    struct epoll_event ev = {.events = epoll_mask(w->events), .data.ptr = w};
    int op = !w->events ? EPOLL_CTL_DEL : w->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (w->regular_file || (!w->events && !w->in_epoll))
        return 0;
    if (epoll_ctl(w->loop->epoll_fd, op, w->fd, &ev) < 0) {
        if (op != EPOLL_CTL_ADD || errno != EPERM)
            return -errno;
        w->regular_file = true;
        return 0;
    }
    w->in_epoll = w->events != 0;
    return 0;
}

struct loop_watch *loop_watch_fd(struct loop *loop, int fd, unsigned events,
                                 void (*fn)(void *opaque, unsigned events), void *opaque,
                                 struct error **err)
{
    struct loop_watch *w = calloc(1, sizeof *w);

    BUG_ON(!w);
    *w = (struct loop_watch){.loop = loop, .fd = fd, .events = events, .fn = fn,
                             .opaque = opaque};
    int r = watch_update(w);
    if (r < 0) {
        error_set(err, -r, "cannot watch file descriptor %d: %s", fd, strerror(-r));
        free(w);
        return NULL;
    }
    w->next = loop->watches;
    loop->watches = w;
    loop_wake(loop);    /* for a regular file, which epoll will not report */
    return w;
}

void loop_watch_change(struct loop_watch *w, unsigned events)
{
    if (w->events == events)
        return;
    w->events = events;
    int r = watch_update(w);
    BUG_ON(r < 0 && r != -ENOMEM && r != -ENOSPC);
    if (w->regular_file)
        loop_wake(w->loop);
}

void loop_unwatch(struct loop_watch *w)
{
    if (!w)
        return;
    w->events = 0;
    watch_update(w);    /* fails only when the caller closed the descriptor first */
    w->dead = true;
}

void loop_post(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
    struct post *p = malloc(sizeof *p);

    BUG_ON(!p);
    *p = (struct post){fn, opaque, NULL};
    pthread_mutex_lock(&loop->post_lock);
    *loop->posts_end = p;
    loop->posts_end = &p->next;
    pthread_mutex_unlock(&loop->post_lock);
    loop_wake(loop);
}

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    int saved = errno;
    ssize_t ignored = write(loop->wake_fd, &one, sizeof one);   /* full is awake too */

    (void)ignored;
    errno = saved;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    loop_wake(loop);
}

/* Frees dead watches; says whether a regular file is ready. Lock held. */
static bool sweep_watches(struct loop *loop)
{
    struct loop_watch **p = &loop->watches;
    bool ready = false;

    while (*p) {
        struct loop_watch *w = *p;
        if (w->dead) {
            *p = w->next;
            free(w);
            continue;
        }
        ready |= w->regular_file && w->events;
        p = &w->next;
    }
    return ready;
}

static int wait_events(struct loop *loop, struct epoll_event *events, uint64_t wait_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                          .tv_nsec = (long)(wait_ns % NS_PER_S)};
    bool forever = wait_ns >= (uint64_t)INT64_MAX;
    int n = epoll_pwait2(loop->epoll_fd, events, BATCH, forever ? NULL : &ts, NULL);

    if (n < 0 && errno == ENOSYS) {
        /* Linux before 5.11: whole milliseconds, rounded up so as not to spin. */
        uint64_t ms = min_u64(wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0), INT32_MAX);
        n = epoll_wait(loop->epoll_fd, events, BATCH, forever ? -1 : (int)ms);
    }
    BUG_ON(n < 0 && errno != EINTR);
    return n < 0 ? 0 : n;
}

/* How long to sleep; also announces it to on_rearm(). The announcement is
 * "forever" while it is being worked out, so that whatever changes meanwhile
 * wakes us. */
static uint64_t choose_wait(struct loop *loop, int64_t max_wait_ns)
{
    uint64_t wait = max_wait_ns < 0 ? CLOCK_NEVER : (uint64_t)max_wait_ns;

    if (sweep_watches(loop) || atomic_load(&loop->stop))
        wait = 0;
    if (loop->clock) {
        atomic_store(&loop->sleep_until_ns, CLOCK_NEVER);
        uint64_t until = clock_wait_ns(loop->clock);
        if (until < wait)
            wait = until;
        /* A standing clock that is set going calls on_rearm() too. */
        atomic_store(&loop->sleep_until_ns,
                     until == CLOCK_NEVER ? CLOCK_NEVER : clock_next_deadline_ns(loop->clock));
    }
    return wait;
}

static void dispatch(struct loop_watch *w, uint32_t got)
{
    unsigned events = (got & EPOLLIN ? LOOP_READ : 0) | (got & EPOLLOUT ? LOOP_WRITE : 0);

    if (got & (EPOLLERR | EPOLLHUP))
        events |= LOOP_READ | LOOP_WRITE;
    events &= w->events;
    if (events && !w->dead)
        w->fn(w->opaque, events);
}

static void drain_wake(struct loop *loop)
{
    uint64_t n;
    ssize_t ignored = read(loop->wake_fd, &n, sizeof n);

    (void)ignored;
}

static void run_posts(struct loop *loop)
{
    pthread_mutex_lock(&loop->post_lock);
    struct post *p = loop->posts;
    loop->posts = NULL;
    loop->posts_end = &loop->posts;
    pthread_mutex_unlock(&loop->post_lock);
    while (p) {
        struct post *next = p->next;
        p->fn(p->opaque);
        free(p);
        p = next;
    }
}

bool loop_run_once(struct loop *loop, int64_t max_wait_ns)
{
    struct epoll_event events[BATCH];

    lock_vm(loop);
    uint64_t wait = choose_wait(loop, max_wait_ns);
    unlock_vm(loop);
    int n = wait_events(loop, events, wait);
    atomic_store(&loop->sleep_until_ns, 0);
    if (atomic_exchange(&loop->stop, false))
        return false;

    lock_vm(loop);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            dispatch(events[i].data.ptr, events[i].events);
        else
            drain_wake(loop);
    }
    for (struct loop_watch *w = loop->watches; w; w = w->next)
        if (w->regular_file)
            dispatch(w, EPOLLIN | EPOLLOUT);
    if (loop->clock)
        clock_run_timers(loop->clock);
    unlock_vm(loop);

    run_posts(loop);
    return !atomic_exchange(&loop->stop, false);
}

void loop_run(struct loop *loop)
{
    while (loop_run_once(loop, -1))
        ;
}
