/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_timer.c - the simple machine's timer: nanoseconds, once or again and again.
 *
 * A guest that does not keep up finds how many periods have passed in one reading;
 * interrupts that would have come meanwhile are one. So the shortest period, which is
 * there for the host's sake, is all that has to be bounded.
 */
#include "device/simple.h"

#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/clock.h"
#include "base/error.h"
#include "memory/memory.h"
#include "ring3/simple.h"

enum { PERIOD_MIN_NS = 10000 };

struct simple_timer {
    struct device dev;
    struct simple_slot slot;
    struct memory *memory;
    struct clock *clock;
    struct timer timer;
    uint64_t due_ns;                 /* clock time; 0 = stopped */
    uint64_t period_ns;              /* 0 = once */
    uint32_t expired;                /* since the guest last read */
};

static struct simple_timer *to_timer(struct device *dev)
{
    return container_of(dev, struct simple_timer, dev);
}

static void rearm(struct simple_timer *t)
{
    if (t->due_ns)
        timer_arm(&t->timer, t->due_ns);
    else
        timer_disarm(&t->timer);
}

static void fire(void *opaque)
{
    struct simple_timer *t = opaque;
    uint64_t late = clock_now_ns(t->clock) - t->due_ns;
    uint64_t periods = t->period_ns ? 1 + late / t->period_ns : 1;

    t->expired += (uint32_t)periods;
    t->due_ns = t->period_ns ? t->due_ns + periods * t->period_ns : 0;
    rearm(t);
    irq_line_pulse(&t->slot.irq);
}

static uint32_t timer_read(void *opaque)
{
    struct simple_timer *t = opaque;
    uint32_t expired = t->expired;

    t->expired = 0;
    return expired;
}

static void timer_write(void *opaque, uint32_t value)
{
    struct simple_timer *t = opaque;
    uint64_t now = clock_now_ns(t->clock), ns;
    uint8_t field[8] = {0};

    put_le64(field, now);
    memory_write(t->memory, gpa(t->slot.base + offsetof(struct ring3_simple_timer, now_ns)),
                 field, sizeof field);
    if (value > RING3_SIMPLE_TIMER_PERIODIC)
        return;
    memory_read(t->memory, gpa(t->slot.base), field, sizeof field);
    /* What is farther away than time reaches never comes. */
    ns = min_u64(get_le64(field), INT64_MAX);
    t->due_ns = t->period_ns = 0;
    t->expired = 0;
    if (value == RING3_SIMPLE_TIMER_PERIODIC)
        t->period_ns = ns = max_u64(ns, PERIOD_MIN_NS);
    if (value != RING3_SIMPLE_TIMER_STOP)
        t->due_ns = max_u64(now + ns, 1);
    rearm(t);
}

static void timer_reset(struct device *dev)
{
    struct simple_timer *t = to_timer(dev);

    t->due_ns = t->period_ns = 0;
    t->expired = 0;
    timer_disarm(&t->timer);
    irq_line_set(&t->slot.irq, false);
}

static void timer_quiesce(struct device *dev)
{
    timer_disarm(&to_timer(dev)->timer);
}

static void timer_resume(struct device *dev)
{
    struct simple_timer *t = to_timer(dev);

    if (t->period_ns)
        t->period_ns = max_u64(t->period_ns, PERIOD_MIN_NS);
    irq_line_set(&t->slot.irq, false);
    rearm(t);
}

static const struct state_field fields[] = {
    STATE_U64(struct simple_timer, due_ns),
    STATE_U64(struct simple_timer, period_ns),
    STATE_U32(struct simple_timer, expired),
    STATE_END
};
static const struct state_desc desc = {"simple_timer", 1, fields};

static const struct state_desc *timer_describe(struct device *dev, void **state)
{
    *state = to_timer(dev);
    return &desc;
}

static void timer_destroy(struct device *dev)
{
    struct simple_timer *t = to_timer(dev);

    timer_disarm(&t->timer);
    free(t);
}

static const struct device_ops timer_ops = {
    .type = "simple_timer",
    .reset = timer_reset,
    .quiesce = timer_quiesce,
    .resume = timer_resume,
    .describe = timer_describe,
    .destroy = timer_destroy,
};

struct device *simple_timer_new(const struct device_env *env, const struct simple_slot *slot,
                                struct error **err)
{
    struct simple_timer *t = calloc(1, sizeof *t);

    if (!t) {
        error_set(err, ENOMEM, "no memory for the timer");
        return NULL;
    }
    device_init(&t->dev, &timer_ops, slot->name);
    t->slot = *slot;
    t->memory = env->memory;
    t->clock = env->clock;
    timer_init(&t->timer, env->clock, fire, t);
    *slot->port = (struct simple_port){timer_read, timer_write, t};
    return &t->dev;
}
