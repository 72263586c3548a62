/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.h - the event loop: file descriptors, posted work, one guest clock.
 *
 * One loop per VM, run by one thread (the main thread of `ring3 run`). Built
 * on epoll and an eventfd. Callbacks run in the loop's thread; those of
 * watches and timers run with the VM lock held when the loop was given one,
 * so device code never locks anything itself. Posted work runs WITHOUT the
 * lock (it may pause vCPUs, which need it).
 *
 * loop_post(), loop_wake() and loop_stop() may be called from any thread;
 * loop_wake() and loop_stop() from signal handlers too.
 */
#ifndef RING3_BASE_LOOP_H
#define RING3_BASE_LOOP_H

#include <pthread.h>
#include "base/types.h"

struct clock;
struct error;
struct loop;
struct loop_watch;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop *loop_new(struct error **err);
void loop_free(struct loop *loop);             /* work still posted is not run */

/* The lock that watch and timer callbacks run under, and the clock whose
 * timers the loop drives. Either may be NULL. Call before loop_run. */
void loop_attach(struct loop *loop, pthread_mutex_t *vm_lock, struct clock *clock);

/* `fd` stays the caller's. Events not asked for (errors, hang-up) are reported
 * as whichever of LOOP_READ/LOOP_WRITE was asked for. Regular files, which
 * epoll refuses, count as always ready. */
struct loop_watch *loop_watch_fd(struct loop *loop, int fd, unsigned events,
                                 void (*fn)(void *opaque, unsigned events), void *opaque,
                                 struct error **err);
/* Watches are made, changed and taken away in the loop's thread or with the VM
 * lock held. events = 0 is legal: nothing is reported, hang-ups included.
 * Unwatch before closing the descriptor. */
void loop_watch_change(struct loop_watch *w, unsigned events);
void loop_unwatch(struct loop_watch *w);       /* safe inside any callback; NULL ok */

void loop_post(struct loop *loop, void (*fn)(void *opaque), void *opaque);
void loop_wake(struct loop *loop);
void loop_stop(struct loop *loop);             /* loop_run returns soon; sticky until it did */

void loop_run(struct loop *loop);              /* until loop_stop */
/* One round: waits at most max_wait_ns (negative: no limit), then calls what is
 * due. False after loop_stop. */
bool loop_run_once(struct loop *loop, int64_t max_wait_ns);

#endif
