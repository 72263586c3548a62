/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock.c - guest time from the host's TSC (or CLOCK_MONOTONIC), and timers.
 *
 * The clock counts ticks: `ticks = raw - base` while it runs, `frozen` while it
 * is paused. Nanoseconds are ticks times a 56-bit fixed-point factor in 128-bit
 * arithmetic, the same factor in both directions, so that the rounding of
 * clock_ticks_to_ns() (up) and clock_now_ns() (down) fit together: once
 * clock_now_ns() has reached clock_ticks_to_ns(t), clock_ticks() has reached t.
 *
 * Readers take no lock: {base, frozen, paused} sit behind a sequence counter.
 * The writers (pause, resume, set, advance) are rare and never concurrent.
 */
#include "base/clock.h"

#include <cpuid.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#include "base/bug.h"

enum clock_source { SOURCE_TSC, SOURCE_MONOTONIC, SOURCE_MANUAL };

enum { NS_PER_US = 1000, KHZ_OF_NS = 1000000, FACTOR_SHIFT = 56 };

/* Slower than this and the factor below would not fit in 64 bits. */
enum { TSC_KHZ_MIN = 10000 };

struct clock {
    enum clock_source source;
    uint32_t khz;
    uint64_t factor;                 /* nanoseconds per tick << FACTOR_SHIFT */
    _Atomic uint32_t sequence;       /* odd while a writer is at work */
    _Atomic uint64_t base;           /* raw source value at tick 0 */
    _Atomic uint64_t frozen;         /* ticks, while paused; manual clocks: always */
    _Atomic bool paused;
    _Atomic uint64_t next_deadline;  /* that of `timers`, or CLOCK_NEVER */
    struct timer *timers;            /* by deadline; equal ones in order of arming */
    void (*rearm)(void *opaque);
    void *rearm_opaque;
};

static uint64_t monotonic_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A TSC value and the host time at which it was read; of a few tries the one
 * with the least time between the two clock readings around it. */
static void tsc_sample(uint64_t *tsc, uint64_t *ns)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < 8; i++) {
        uint64_t before = monotonic_ns(CLOCK_MONOTONIC_RAW);
        uint64_t t = __rdtsc();
        uint64_t after = monotonic_ns(CLOCK_MONOTONIC_RAW);
        if (after - before < best) {
            best = after - before;
            *tsc = t;
            *ns = before + (after - before) / 2;
        }
    }
}

static uint32_t tsc_khz_measured(void)
{
    const uint64_t span_ns = 2000 * NS_PER_US;
    uint64_t tsc0, ns0, tsc1, ns1;

    tsc_sample(&tsc0, &ns0);
    while (monotonic_ns(CLOCK_MONOTONIC_RAW) - ns0 < span_ns)
        _mm_pause();
    tsc_sample(&tsc1, &ns1);
    return (uint32_t)((tsc1 - tsc0) * (uint64_t)KHZ_OF_NS / (ns1 - ns0));
}

/* The TSC's rate as the processor or the hypervisor states it, or 0. Leaf 0x16
 * is not asked: it gives a nominal figure in whole MHz (Intel SDM vol. 2A,
 * CPUID), which is worse than a measurement. */
static uint32_t tsc_khz_stated(void)
{
    unsigned a, b, c, d;

    if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 31))) {
        __cpuid(0x40000000, a, b, c, d);
        if (a >= 0x40000010) {
            /* The "timing information" leaf that VMware began and KVM follows. */
            __cpuid(0x40000010, a, b, c, d);
            if (a)
                return a;
        }
    }
    if (__get_cpuid_count(0x15, 0, &a, &b, &c, &d) && a && b && c)
        return (uint32_t)((uint64_t)c * b / a / 1000);
    return 0;
}

static bool tsc_is_invariant(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}

static uint64_t raw_now(const struct clock *clock)
{
    return clock->source == SOURCE_TSC ? __rdtsc() : monotonic_ns(CLOCK_MONOTONIC);
}

static struct clock *clock_new(enum clock_source source, uint32_t khz)
{
    struct clock *clock = calloc(1, sizeof *clock);

    BUG_ON(!clock);
    clock->source = source;
    clock->khz = khz;
    clock->factor = (uint64_t)(((unsigned __int128)KHZ_OF_NS << FACTOR_SHIFT) / khz);
    clock->next_deadline = CLOCK_NEVER;
    if (source == SOURCE_MANUAL)
        clock->paused = true;
    else
        clock->base = raw_now(clock);
    return clock;
}

struct clock *clock_new_host(void)
{
    if (tsc_is_invariant()) {
        uint32_t khz = tsc_khz_stated();
        if (khz < TSC_KHZ_MIN)
            khz = tsc_khz_measured();
        if (khz >= TSC_KHZ_MIN)
            return clock_new(SOURCE_TSC, khz);
    }
    return clock_new(SOURCE_MONOTONIC, KHZ_OF_NS);
}

struct clock *clock_new_manual(void)
{
    return clock_new(SOURCE_MANUAL, KHZ_OF_NS);
}

void clock_free(struct clock *clock)
{
    if (!clock)
        return;
    BUG_ON(clock->timers);
    free(clock);
}

uint64_t clock_ticks(const struct clock *clock)
{
    uint64_t base, frozen;
    uint32_t seq;
    bool paused;

    do {
        while ((seq = atomic_load_explicit(&clock->sequence, memory_order_acquire)) & 1)
            _mm_pause();
        base = atomic_load_explicit(&clock->base, memory_order_acquire);
        frozen = atomic_load_explicit(&clock->frozen, memory_order_acquire);
        paused = atomic_load_explicit(&clock->paused, memory_order_acquire);
    } while (atomic_load_explicit(&clock->sequence, memory_order_relaxed) != seq);
    if (paused)
        return frozen;
    uint64_t raw = raw_now(clock);
    /* The TSCs of two cores may differ by a few ticks right after a resume. */
    return (int64_t)(raw - base) < 0 ? 0 : raw - base;
}

bool clock_is_tsc(const struct clock *clock, uint64_t *base)
{
    *base = atomic_load(&clock->base);
    return clock->source == SOURCE_TSC && !atomic_load(&clock->paused);
}

static void clock_update(struct clock *clock, uint64_t base, uint64_t frozen, bool paused)
{
    atomic_fetch_add_explicit(&clock->sequence, 1, memory_order_acq_rel);
    atomic_store_explicit(&clock->base, base, memory_order_release);
    atomic_store_explicit(&clock->frozen, frozen, memory_order_release);
    atomic_store_explicit(&clock->paused, paused, memory_order_release);
    atomic_fetch_add_explicit(&clock->sequence, 1, memory_order_acq_rel);
}

uint64_t clock_now_ns(const struct clock *clock)
{
    return (uint64_t)(((unsigned __int128)clock_ticks(clock) * clock->factor) >> FACTOR_SHIFT);
}

uint32_t clock_tick_khz(const struct clock *clock)
{
    return clock->khz;
}

uint64_t clock_ticks_to_ns(const struct clock *clock, uint64_t ticks)
{
    unsigned __int128 round_up = ((unsigned __int128)1 << FACTOR_SHIFT) - 1;
    unsigned __int128 ns = ((unsigned __int128)ticks * clock->factor + round_up) >> FACTOR_SHIFT;

    return ns > CLOCK_NEVER ? CLOCK_NEVER : (uint64_t)ns;
}

/* The fewest ticks at which clock_now_ns() is `ns` or more. */
static uint64_t ns_to_ticks(const struct clock *clock, uint64_t ns)
{
    unsigned __int128 ticks =
        (((unsigned __int128)ns << FACTOR_SHIFT) + clock->factor - 1) / clock->factor;

    return ticks > UINT64_MAX ? UINT64_MAX : (uint64_t)ticks;
}

static void tell_rearm(struct clock *clock)
{
    if (clock->rearm)
        clock->rearm(clock->rearm_opaque);
}

void clock_advance(struct clock *clock, uint64_t ns)
{
    BUG_ON(clock->source != SOURCE_MANUAL);
    clock_update(clock, 0, clock->frozen + ns, true);
    tell_rearm(clock);
}

void clock_set_ns(struct clock *clock, uint64_t now_ns)
{
    uint64_t ticks = ns_to_ticks(clock, now_ns);
    uint64_t base = clock->source == SOURCE_MANUAL ? 0 : raw_now(clock) - ticks;

    clock_update(clock, base, ticks, clock->paused);
    tell_rearm(clock);
}

void clock_pause(struct clock *clock)
{
    if (!clock->paused)
        clock_update(clock, clock->base, clock_ticks(clock), true);
}

void clock_resume(struct clock *clock)
{
    if (clock->source == SOURCE_MANUAL || !clock->paused)
        return;
    clock_update(clock, raw_now(clock) - clock->frozen, clock->frozen, false);
    tell_rearm(clock);
}

void clock_on_rearm(struct clock *clock, void (*fn)(void *opaque), void *opaque)
{
    clock->rearm = fn;
    clock->rearm_opaque = opaque;
}

uint64_t clock_next_deadline_ns(const struct clock *clock)
{
    return atomic_load_explicit(&clock->next_deadline, memory_order_relaxed);
}

uint64_t clock_wait_ns(const struct clock *clock)
{
    uint64_t deadline = clock_next_deadline_ns(clock), now = clock_now_ns(clock);

    if (deadline == CLOCK_NEVER)
        return CLOCK_NEVER;
    if (deadline <= now)
        return 0;
    return clock->paused ? CLOCK_NEVER : deadline - now;
}

/* The list's head may be another one now. */
static void head_changed(struct clock *clock)
{
    uint64_t deadline = clock->timers ? clock->timers->deadline_ns : CLOCK_NEVER;

    if (deadline == clock_next_deadline_ns(clock))
        return;
    atomic_store_explicit(&clock->next_deadline, deadline, memory_order_relaxed);
    tell_rearm(clock);
}

static void list_remove(struct timer *t)
{
    struct timer **p = &t->clock->timers;

    while (*p != t) {
        BUG_ON(!*p);
        p = &(*p)->next;
    }
    *p = t->next;
    t->next = NULL;
    t->armed = false;
}

void clock_run_timers(struct clock *clock)
{
    uint64_t now = clock_now_ns(clock);

    while (clock->timers && clock->timers->deadline_ns <= now) {
        struct timer *t = clock->timers;
        list_remove(t);
        t->fire(t->opaque);
    }
    head_changed(clock);
}

void timer_init(struct timer *t, struct clock *clock, void (*fire)(void *), void *opaque)
{
    *t = (struct timer){.fire = fire, .opaque = opaque, .clock = clock};
}

void timer_arm(struct timer *t, uint64_t deadline_ns)
{
    struct timer **p = &t->clock->timers;

    if (t->armed)
        list_remove(t);
    while (*p && (*p)->deadline_ns <= deadline_ns)
        p = &(*p)->next;
    t->deadline_ns = deadline_ns;
    t->armed = true;
    t->next = *p;
    *p = t;
    head_changed(t->clock);
}

void timer_disarm(struct timer *t)
{
    if (!t->armed)
        return;
    list_remove(t);
    head_changed(t->clock);
}
