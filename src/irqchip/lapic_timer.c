/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lapic_timer.c - the local APIC's timer (SDM vol. 3, "APIC Timer").
 *
 * The counter is not stepped. In one-shot and periodic mode it is a function
 * of the clock and of timer_start_ns, the time at which it last was TMICT, so
 * a read of the current count is exact whenever the host looks. timer_due_ns
 * is when the next interrupt is owed, 0 when the timer stands still; a struct
 * timer wakes us then.
 *
 * Expiries that the host was too late for are merged, as IRR would merge them,
 * and the phase of a periodic timer never slips. Periods so short that the host
 * could do nothing else are delivered at most every MIN_PERIOD_NS.
 */
#include "irqchip/lapic.h"

enum { NS_PER_COUNT = 1000000000 / INTC_LAPIC_TIMER_HZ, MIN_PERIOD_NS = 20000 };
_Static_assert(NS_PER_COUNT * (uint64_t)INTC_LAPIC_TIMER_HZ == 1000000000, "whole nanoseconds");

static unsigned divider(uint32_t tdcr)
{
    /* Bits 3, 1, 0; 111 divides by 1, 000 by 2, 001 by 4 and so on. */
    return 1u << ((((tdcr & 3) | (tdcr >> 1 & 4)) + 1) & 7);
}

static uint64_t count_ns(const struct lapic *l)
{
    return (uint64_t)NS_PER_COUNT * divider(l->state.reg[LAPIC_TDCR]);
}

static uint64_t period_ns(const struct lapic *l)
{
    return l->state.reg[LAPIC_TMICT] * count_ns(l);
}

static uint32_t mode(const struct lapic *l)
{
    return l->state.reg[LAPIC_LVT_TIMER] & LAPIC_LVT_TIMER_MODE;
}

void lapic_timer_stop(struct lapic *l)
{
    timer_disarm(&l->timer);
}

void lapic_timer_rearm(struct lapic *l)
{
    if (l->state.timer_due_ns)
        timer_arm(&l->timer, l->state.timer_due_ns);
    else
        timer_disarm(&l->timer);
}

static void stop(struct lapic *l)
{
    l->state.timer_due_ns = 0;
    timer_disarm(&l->timer);
}

/* The first expiry of a periodic timer after `now`, skipping those that come
 * faster than the host is asked to deliver. */
static uint64_t next_period(const struct lapic *l, uint64_t now)
{
    uint64_t period = period_ns(l);
    uint64_t earliest = period < MIN_PERIOD_NS ? now + MIN_PERIOD_NS - 1 : now;

    return l->state.timer_start_ns + ((earliest - l->state.timer_start_ns) / period + 1) * period;
}

static void fire(void *opaque)
{
    struct lapic *l = opaque;
    uint64_t now = clock_now_ns(l->clock);

    if (mode(l) == LAPIC_LVT_PERIODIC && l->state.reg[LAPIC_TMICT])
        l->state.timer_due_ns = next_period(l, now);
    else
        l->state.timer_due_ns = 0;
    if (mode(l) == LAPIC_LVT_TSC_DEADLINE)
        l->state.tsc_deadline = 0;
    lapic_timer_rearm(l);
    lapic_lvt_deliver(l, LAPIC_LVT_TIMER);
}

void lapic_timer_init(struct lapic *l)
{
    timer_init(&l->timer, l->clock, fire, l);
}

uint32_t lapic_timer_count(const struct lapic *l)
{
    uint32_t initial = l->state.reg[LAPIC_TMICT];
    uint64_t elapsed;

    if (!l->state.timer_due_ns || !initial || mode(l) == LAPIC_LVT_TSC_DEADLINE)
        return 0;
    elapsed = (clock_now_ns(l->clock) - l->state.timer_start_ns) / count_ns(l);
    if (mode(l) == LAPIC_LVT_PERIODIC)
        return (uint32_t)(initial - elapsed % initial);
    return elapsed >= initial ? 0 : (uint32_t)(initial - elapsed);
}

void lapic_timer_start(struct lapic *l)
{
    if (mode(l) == LAPIC_LVT_TSC_DEADLINE)
        return;
    if (!l->state.reg[LAPIC_TMICT]) {
        stop(l);
        return;
    }
    l->state.timer_start_ns = clock_now_ns(l->clock);
    l->state.timer_due_ns = l->state.timer_start_ns + period_ns(l);
    lapic_timer_rearm(l);
}

/* The count so far stays, what remains is counted at the new rate. */
void lapic_timer_divide(struct lapic *l, uint32_t tdcr)
{
    uint32_t initial = l->state.reg[LAPIC_TMICT];
    uint32_t count = lapic_timer_count(l);
    bool running = l->state.timer_due_ns && mode(l) != LAPIC_LVT_TSC_DEADLINE && initial;

    l->state.reg[LAPIC_TDCR] = tdcr;
    if (!running)
        return;
    l->state.timer_start_ns = clock_now_ns(l->clock) - (uint64_t)(initial - count) * count_ns(l);
    l->state.timer_due_ns = l->state.timer_start_ns + period_ns(l);
    lapic_timer_rearm(l);
}

/* Between one-shot and periodic the counter goes on; to and from TSC-deadline
 * mode the timer is disarmed (SDM vol. 3, "TSC-Deadline Mode"). */
void lapic_timer_mode(struct lapic *l, uint32_t lvt)
{
    uint32_t old = mode(l), now = lvt & LAPIC_LVT_TIMER_MODE;

    /* What is owed in the old mode, though its timer has not run yet: an expired
     * one-shot must not come to life as a periodic timer. */
    if (old != now && l->state.timer_due_ns && clock_now_ns(l->clock) >= l->state.timer_due_ns)
        fire(l);
    /* One-shot (mode 0) counts from the start of the period that is running. */
    if (old == LAPIC_LVT_PERIODIC && !now && l->state.timer_due_ns)
        l->state.timer_start_ns = l->state.timer_due_ns - period_ns(l);
    if ((old == LAPIC_LVT_TSC_DEADLINE) == (now == LAPIC_LVT_TSC_DEADLINE))
        return;
    stop(l);
    l->state.reg[LAPIC_TMICT] = 0;
    l->state.tsc_deadline = 0;
}

uint64_t lapic_timer_deadline(const struct lapic *l)
{
    return l->state.tsc_deadline;
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t ticks)
{
    if (mode(l) != LAPIC_LVT_TSC_DEADLINE)
        return;
    l->state.tsc_deadline = ticks;
    if (!ticks) {
        stop(l);
    } else if (ticks <= clock_ticks(l->clock)) {
        fire(l);               /* at once: the guest may wait for it without a pause */
    } else {
        l->state.timer_due_ns = clock_ticks_to_ns(l->clock, ticks);
        lapic_timer_rearm(l);
    }
}
