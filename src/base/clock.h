/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock.h - guest time and the timers that run on it.
 *
 * A `struct clock` counts nanoseconds of guest time: it starts at 0, stands
 * still while the VM is paused, and can be set when a VM is restored. Devices
 * keep absolute clock times, never host times.
 *
 * Two kinds: a host clock follows CLOCK_MONOTONIC; a manual clock moves only
 * by clock_advance(), which is what tests and deterministic runs use.
 *
 * Threads: reading the time is lock-free and allowed anywhere. Everything
 * about timers happens with the VM lock held (see bus/bus.h); callbacks run
 * from clock_run_timers() in the thread that calls it, with that lock held.
 * clock_pause, _resume, _set_ns and _advance are called by one thread at a time.
 * A callback may arm, re-arm or disarm any timer, its own included.
 */
#ifndef RING3_BASE_CLOCK_H
#define RING3_BASE_CLOCK_H

#include "base/types.h"

struct clock;

struct timer {
    void (*fire)(void *opaque);   /* set once by timer_init */
    void *opaque;
    struct clock *clock;
    uint64_t deadline_ns;         /* absolute clock time; meaningful while armed */
    bool armed;
    struct timer *next;           /* sorted list, owned by the clock */
};

#define CLOCK_NEVER UINT64_MAX

struct clock *clock_new_host(void);
struct clock *clock_new_manual(void);
void clock_free(struct clock *clock);          /* BUG if a timer is still armed */

uint64_t clock_now_ns(const struct clock *clock);

/* The finest unit the clock counts in; clock_now_ns() is derived from it. On a
 * host with an invariant TSC this is the host TSC minus a constant (so that a
 * translator can read it with one RDTSC), else nanoseconds. Software engines
 * give the guest a TSC of clock_ticks() plus a per-vCPU offset, with
 * clock_tick_khz() as its frequency. Stands still while paused. */
uint64_t clock_ticks(const struct clock *clock);
uint32_t clock_tick_khz(const struct clock *clock);
/* Is clock_ticks() the host's TSC minus *base until the clock is paused or set? */
bool clock_is_tsc(const struct clock *clock, uint64_t *base);
uint64_t clock_ticks_to_ns(const struct clock *clock, uint64_t ticks);   /* rounds up */
void clock_advance(struct clock *clock, uint64_t ns);   /* manual clocks only */
void clock_set_ns(struct clock *clock, uint64_t now_ns); /* restore */
void clock_pause(struct clock *clock);         /* idempotent */
void clock_resume(struct clock *clock);

/* Called (VM lock held) when the earliest deadline changes, so that whoever
 * sleeps until then can sleep less. One listener: the event loop. */
void clock_on_rearm(struct clock *clock, void (*fn)(void *opaque), void *opaque);

uint64_t clock_next_deadline_ns(const struct clock *clock);  /* or CLOCK_NEVER */

/* How long to sleep until a timer is due: 0 when one is, CLOCK_NEVER when none
 * is armed or when time stands still until somebody moves it. */
uint64_t clock_wait_ns(const struct clock *clock);

/* Fires all that are due at the time of the call, in order. A timer that its
 * callback arms again for a time not after that fires again in the same call,
 * so a periodic device catches up by itself; it must step forward, and it
 * bounds how many periods it catches up when the guest chooses the period. */
void clock_run_timers(struct clock *clock);

void timer_init(struct timer *t, struct clock *clock, void (*fire)(void *), void *opaque);
void timer_arm(struct timer *t, uint64_t deadline_ns);   /* absolute; past = fires at once */
void timer_disarm(struct timer *t);            /* idempotent; also on a zeroed timer */

#endif
