/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hpet.c - high precision event timer.
 *
 * Follows Intel's "IA-PC HPET Specification" 1.0a. The counter is a function of
 * the clock (10 ns a tick); nothing is stepped. A comparator arms a timer for
 * the tick at which it matches; a periodic one moves itself on, and periods the
 * host was too late for are merged.
 */
#include "device/hpet.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "bus/claims.h"

enum { COMPARATORS = 3, TICK_NS = 10, REGION_BYTES = 0x400, MIN_PERIOD_TICKS = 2000 };
enum { REG_ID = 0x00, REG_CONFIG = 0x10, REG_STATUS = 0x20, REG_COUNTER = 0xf0,
       REG_COMPARATOR = 0x100, COMPARATOR_BYTES = 0x20 };
enum { CONFIG_ENABLE = 1 << 0 };
/* Comparator configuration (2.3.8). */
enum { T_LEVEL = 1 << 1, T_ENABLE = 1 << 2, T_PERIODIC = 1 << 3, T_CAN_PERIODIC = 1 << 4,
       T_IS_64BIT = 1 << 5, T_VALUE_SET = 1 << 6, T_32BIT = 1 << 8, T_ROUTE_SHIFT = 9,
       T_ROUTE = 0x1f << T_ROUTE_SHIFT };
enum { T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_VALUE_SET | T_32BIT | T_ROUTE };

#define FEMTOSECONDS_PER_TICK (TICK_NS * 1000000ull)
/* Revision 1, 64-bit counter, vendor Intel (2.3.4). */
#define ID (FEMTOSECONDS_PER_TICK << 32 | 0x8086u << 16 | 1 << 13 | (COMPARATORS - 1) << 8 | 1)

struct hpet_state {
    uint64_t config, status;
    uint64_t base;               /* counter minus ticks of the clock; the counter while stopped */
    uint64_t timer_config[COMPARATORS], compare[COMPARATORS], period[COMPARATORS];
};

struct comparator {
    struct hpet *hpet;
    unsigned n;
    struct timer timer;
};

struct hpet {
    struct device dev;
    struct hpet_state state;
    struct hpet_config config;
    struct clock *clock;
    struct comparator comparator[COMPARATORS];
    struct bus_claims claims;
};

static struct hpet *to_hpet(struct device *dev)
{
    return container_of(dev, struct hpet, dev);
}

/* ---- the counter ---- */

static bool counting(const struct hpet_state *s)
{
    return s->config & CONFIG_ENABLE;
}

static uint64_t clock_tick(const struct hpet *h)
{
    return clock_now_ns(h->clock) / TICK_NS;
}

static uint64_t counter(const struct hpet *h)
{
    return counting(&h->state) ? clock_tick(h) + h->state.base : h->state.base;
}

static void config_write(struct hpet *h, uint64_t value)
{
    struct hpet_state *s = &h->state;
    uint64_t now = counter(h);

    s->config = value & CONFIG_ENABLE;
    s->base = counting(s) ? now - clock_tick(h) : now;
}

/* ---- comparators ---- */

static uint64_t width_mask(const struct hpet_state *s, unsigned n)
{
    return s->timer_config[n] & T_32BIT ? UINT32_MAX : UINT64_MAX;
}

static bool periodic(const struct hpet_state *s, unsigned n)
{
    return s->timer_config[n] & T_PERIODIC;
}

static const struct irq_line *line_of(const struct hpet *h, unsigned n)
{
    unsigned route = (h->state.timer_config[n] & T_ROUTE) >> T_ROUTE_SHIFT;

    return route < HPET_FIRST_LINE || route >= HPET_FIRST_LINE + HPET_LINES
               ? NULL : &h->config.line[route - HPET_FIRST_LINE];
}

/* Several comparators may share a line. */
static void lines_update(struct hpet *h)
{
    const struct hpet_state *s = &h->state;

    for (unsigned i = 0; i < HPET_LINES; i++) {
        bool level = false;
        for (unsigned n = 0; n < COMPARATORS; n++)
            level |= line_of(h, n) == &h->config.line[i] && s->timer_config[n] & T_ENABLE &&
                     s->timer_config[n] & T_LEVEL && s->status >> n & 1;
        irq_line_set(&h->config.line[i], level);
    }
}

static void plan(struct hpet *h, unsigned n)
{
    const struct hpet_state *s = &h->state;
    struct timer *timer = &h->comparator[n].timer;
    uint64_t left = (s->compare[n] - counter(h)) & width_mask(s, n);

    if (!counting(s) || !(s->timer_config[n] & T_ENABLE)) {
        timer_disarm(timer);
        return;
    }
    if (!left)                   /* a match is when it becomes equal */
        left = width_mask(s, n);
    if (left > (CLOCK_NEVER - 1) / TICK_NS - clock_tick(h))
        timer_disarm(timer);
    else
        timer_arm(timer, (clock_tick(h) + left) * TICK_NS);
}

/* A periodic comparator's next match after now. */
static void move_on(struct hpet *h, unsigned n)
{
    struct hpet_state *s = &h->state;
    uint64_t period = s->period[n] & width_mask(s, n), late;

    if (!period)
        return;
    period = period < MIN_PERIOD_TICKS ? MIN_PERIOD_TICKS : period;
    late = (counter(h) - s->compare[n]) & width_mask(s, n);
    s->compare[n] = (s->compare[n] + (late / period + 1) * period) & width_mask(s, n);
}

static void matched(void *opaque)
{
    const struct comparator *c = opaque;
    struct hpet *h = c->hpet;
    struct hpet_state *s = &h->state;
    const struct irq_line *line = line_of(h, c->n);

    if (s->timer_config[c->n] & T_LEVEL) {
        s->status |= 1u << c->n;
        lines_update(h);
    } else if (line) {
        irq_line_pulse(line);
    }
    if (periodic(s, c->n))
        move_on(h, c->n);
    plan(h, c->n);
}

static void timer_config_write(struct hpet_state *s, unsigned n, uint64_t value)
{
    uint64_t writable = T_WRITABLE & ~(n ? T_PERIODIC | T_VALUE_SET : 0);

    s->timer_config[n] = (s->timer_config[n] & ~(uint64_t)T_WRITABLE) | (value & writable);
}

/* 2.3.9: in periodic mode what is written is the period; with T_VALUE_SET, once,
 * the first match too. */
static void compare_write(struct hpet_state *s, unsigned n, uint64_t value)
{
    value &= width_mask(s, n);
    if (!periodic(s, n) || s->timer_config[n] & T_VALUE_SET)
        s->compare[n] = value;
    if (periodic(s, n))
        s->period[n] = value;
    s->timer_config[n] &= ~(uint64_t)T_VALUE_SET;
}

/* ---- registers of 64 bits, read and written in halves too ---- */

static uint64_t register_read(const struct hpet *h, uint64_t reg)
{
    const struct hpet_state *s = &h->state;
    unsigned n = (unsigned)(reg - REG_COMPARATOR) / COMPARATOR_BYTES;

    switch (reg) {
    case REG_ID: return ID;
    case REG_CONFIG: return s->config;
    case REG_STATUS: return s->status;
    case REG_COUNTER: return counter(h);
    default: break;
    }
    if (reg < REG_COMPARATOR || n >= COMPARATORS)
        return 0;
    switch (reg % COMPARATOR_BYTES) {
    case 0: return s->timer_config[n];
    case 8: return s->compare[n];
    default: return 0;
    }
}

static void register_write(struct hpet *h, uint64_t reg, uint64_t value)
{
    struct hpet_state *s = &h->state;
    unsigned n = (unsigned)(reg - REG_COMPARATOR) / COMPARATOR_BYTES;

    if (reg == REG_CONFIG) {
        config_write(h, value);
    } else if (reg == REG_STATUS) {
        s->status &= ~value;
    } else if (reg == REG_COUNTER) {
        if (!counting(s))        /* 2.3.7: only while it is halted */
            s->base = value;
    } else if (reg >= REG_COMPARATOR && n < COMPARATORS) {
        if (reg % COMPARATOR_BYTES == 0)
            timer_config_write(s, n, value);
        else if (reg % COMPARATOR_BYTES == 8)
            compare_write(s, n, value);
    }
    for (unsigned i = 0; i < COMPARATORS; i++)
        plan(h, i);
    lines_update(h);
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    return register_read(opaque, offset & ~7ull) >> (offset & 7) * 8;
}

/* Narrower and misaligned writes are not allowed (2.1) and vanish. */
static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct hpet *h = opaque;
    uint64_t reg = offset & ~7ull, other = register_read(h, reg);

    if (size < 4 || offset % size)
        return;
    if (size == 4 && reg == REG_STATUS)
        other = 0;               /* written with ones to clear */
    if (size == 4)
        value = offset & 4 ? (other & UINT32_MAX) | value << 32
                           : (other & ~(uint64_t)UINT32_MAX) | (value & UINT32_MAX);
    register_write(h, reg, value);
}

/* ---- the device ---- */

static void hpet_reset(struct device *dev)
{
    struct hpet *h = to_hpet(dev);
    uint64_t routes = ((1ull << HPET_LINES) - 1) << HPET_FIRST_LINE;

    h->state = (struct hpet_state){0};
    for (unsigned n = 0; n < COMPARATORS; n++) {
        h->state.timer_config[n] = routes << 32 | T_IS_64BIT | (n ? 0 : T_CAN_PERIODIC);
        h->state.compare[n] = UINT64_MAX;
        plan(h, n);
    }
    lines_update(h);
}

static void hpet_quiesce(struct device *dev)
{
    for (unsigned n = 0; n < COMPARATORS; n++)
        timer_disarm(&to_hpet(dev)->comparator[n].timer);
}

static void hpet_resume(struct device *dev)
{
    struct hpet *h = to_hpet(dev);

    for (unsigned n = 0; n < COMPARATORS; n++)
        plan(h, n);
    lines_update(h);
}

static const struct state_field fields[] = {
    STATE_U64(struct hpet_state, config),
    STATE_U64(struct hpet_state, status),
    STATE_U64(struct hpet_state, base),
    STATE_U64_ARRAY(struct hpet_state, timer_config),
    STATE_U64_ARRAY(struct hpet_state, compare),
    STATE_U64_ARRAY(struct hpet_state, period),
    STATE_END
};
static const struct state_desc desc = {"hpet", 1, fields};

static const struct state_desc *hpet_describe(struct device *dev, void **state)
{
    *state = &to_hpet(dev)->state;
    return &desc;
}

static void hpet_destroy(struct device *dev)
{
    struct hpet *h = to_hpet(dev);

    hpet_quiesce(dev);
    bus_claims_release(&h->claims);
    free(h);
}

static const struct device_ops hpet_ops = {
    .type = "hpet",
    .reset = hpet_reset,
    .quiesce = hpet_quiesce,
    .resume = hpet_resume,
    .describe = hpet_describe,
    .destroy = hpet_destroy,
};

struct device *hpet_new(const struct device_env *env, const struct hpet_config *cfg,
                        struct error **err)
{
    const struct bus_region region = {"hpet", cfg->base, REGION_BYTES, hpet_read, hpet_write,
                                      NULL, 8, 0};
    struct hpet *h = calloc(1, sizeof *h);

    if (!h) {
        error_set(err, ENOMEM, "no memory for the event timer");
        return NULL;
    }
    device_init(&h->dev, &hpet_ops, "hpet");
    h->config = *cfg;
    h->clock = env->clock;
    for (unsigned n = 0; n < COMPARATORS; n++) {
        h->comparator[n].hpet = h;
        h->comparator[n].n = n;
        timer_init(&h->comparator[n].timer, env->clock, matched, &h->comparator[n]);
    }
    if (bus_claims_add(&h->claims, env->bus, BUS_MMIO, &region, 1, h, err)) {
        free(h);
        return NULL;
    }
    hpet_reset(&h->dev);
    return &h->dev;
}
