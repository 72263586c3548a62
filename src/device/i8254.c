/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8254.c - 8254 programmable interval timer, and system control port B.
 *
 * Follows Intel's 8254 data sheet (231164-005). CLK is a free-running grid of
 * I8254_HZ ticks since clock time 0, so everything is integer arithmetic on
 * tick numbers and no rate ever drifts. A counter is not stepped: it is a
 * function of the tick and of when it was loaded. A count written in one tick
 * is loaded by the next, which makes the N + 1 of the data sheet come out.
 *
 * Channel 0 wakes the host only for rising edges of OUT, the one thing an edge-
 * triggered interrupt 0 can notice; the level between two edges is brought up
 * to date when the guest programs the channel. Periodic edges that the host was too
 * late for follow, LATE_EDGES at most and the rest is merged, as systems count
 * interrupts while they wait; none comes less than MIN_PERIOD_NS after the one before.
 *
 * Port 0x61 is here because all it has to do with is channel 2 and because the
 * in-kernel twin of this chip includes it. Gates 0 and 1 are tied high.
 */
#include "device/i8254.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "bus/claims.h"
#include "irqchip/state.h"

enum { PORT_PIT = 0x40, PORT_CONTROL_B = 0x61, CHANNELS = 3, CONTROL_WORD = 3 };
enum { LATE_EDGES = 8, MIN_PERIOD_NS = 20000, REFRESH_HALF_NS = 15085 };
enum { RW_LATCH = 0, RW_LSB = 1, RW_MSB = 2, RW_BOTH = 3, READ_BACK = 3 };
enum { READ_BACK_NO_COUNT = 0x20, READ_BACK_NO_STATUS = 0x10 };
enum { STATUS_NULL = 0x40, STATUS_OUT = 0x80 };
enum { B_GATE2 = 0x01, B_SPEAKER = 0x02, B_REFRESH = 0x10, B_OUT2 = 0x20 };

#define NS_PER_S 1000000000ull
#define NEVER UINT64_MAX

struct i8254 {
    struct device dev;
    struct i8254_state state;
    struct irq_line irq;
    struct clock *clock;
    struct timer timer;
    struct bus_claims claims;
};

static struct i8254 *to_i8254(struct device *dev)
{
    return container_of(dev, struct i8254, dev);
}

/* ---- ticks ---- */

static uint64_t ns_to_tick(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * I8254_HZ / NS_PER_S);
}

/* When the tick begins; ns_to_tick() of that is the tick again. */
static uint64_t tick_to_ns(uint64_t tick)
{
    unsigned __int128 ns = ((unsigned __int128)tick * NS_PER_S + I8254_HZ - 1) / I8254_HZ;

    return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

static uint64_t tick_now(const struct i8254 *pit)
{
    return ns_to_tick(clock_now_ns(pit->clock));
}

/* ---- one channel as a function of the tick ---- */

static bool periodic(const struct i8254_channel_state *c)
{
    return c->mode == 2 || c->mode == 3;
}

/* Modes 1 and 5 start counting on a trigger, not when the count is written. */
static bool triggered(const struct i8254_channel_state *c)
{
    return c->mode == 1 || c->mode == 5;
}

static uint32_t loaded(const struct i8254_channel_state *c)
{
    uint32_t n = c->loaded ? c->loaded : c->count;

    return n ? n : 0x10000;
}

static uint32_t high_half(uint32_t n)
{
    return (n + 1) / 2;
}

/* Ticks counted since the load; 0 also in the tick before it. */
static uint64_t elapsed(const struct i8254_channel_state *c, uint64_t tick)
{
    uint64_t start = ns_to_tick(c->load_time_ns);

    if (c->held)
        return c->held_ticks;
    return tick < start ? 0 : tick - start;
}

/* Where in its period a channel in mode 2 or 3 is; mode 3 is high first. */
static uint32_t phase(const struct i8254_channel_state *c, uint64_t tick)
{
    uint32_t n = loaded(c);

    return (uint32_t)((elapsed(c, tick) + (c->start_low ? high_half(n) : 0)) % n);
}

static void load(struct i8254_channel_state *c, uint64_t tick)
{
    c->loaded = c->count;
    c->load_time_ns = tick_to_ns(tick);
    c->reload_time_ns = 0;
    c->start_low = c->waiting = c->null_count = false;
    c->held = !c->gate && !triggered(c);
    c->held_ticks = 0;
}

/* Modes 2 and 3 take a new count when the period, or the half of a square
 * wave, is over: lets that have happened if it has. */
static void catch_up(struct i8254_channel_state *c, uint64_t tick)
{
    uint64_t reload = ns_to_tick(c->reload_time_ns);

    if (!c->reload_time_ns || tick < reload)
        return;
    bool low = c->mode == 3 && phase(c, reload) != 0;
    load(c, reload);
    c->start_low = low;
}

static bool out(const struct i8254_channel_state *c, uint64_t tick)
{
    uint64_t e = elapsed(c, tick);
    uint32_t n = loaded(c);

    if (c->waiting)
        return c->mode != 0;
    switch (c->mode) {
    case 0:
    case 1:
        return e >= n;
    case 2:
        return c->held || e % n != n - 1;
    case 3:
        return c->held || phase(c, tick) < high_half(n);
    default:
        return e != n;
    }
}

/* What the counting element shows, in the channel's number system. */
static uint16_t counter(const struct i8254_channel_state *c, uint64_t tick)
{
    uint32_t n = loaded(c), modulus = c->bcd ? 10000 : 0x10000, value;

    if (c->waiting)
        value = c->count;
    else if (c->mode == 2)
        value = n - phase(c, tick);
    else if (c->mode == 3) {
        uint32_t p = phase(c, tick), half = high_half(n);
        value = (n & ~1u) - 2 * (p < half ? p : p - half);
    } else {
        value = n + modulus - (uint32_t)(elapsed(c, tick) % modulus);
    }
    value %= modulus;
    if (!c->bcd)
        return (uint16_t)value;
    return (uint16_t)(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                      value % 10);
}

/* The first tick after `tick` in which OUT rises, or NEVER. */
static uint64_t next_rise(const struct i8254_channel_state *c, uint64_t tick)
{
    uint64_t start = ns_to_tick(c->load_time_ns), at;
    uint32_t n = loaded(c);

    if (c->waiting || c->held)
        return NEVER;
    if (!periodic(c)) {
        at = start + n + (c->mode >= 4 ? 1 : 0);
        return at > tick ? at : NEVER;
    }
    if (c->reload_time_ns) {
        uint64_t reload = ns_to_tick(c->reload_time_ns);
        bool low = c->mode == 3 && phase(c, reload) != 0;
        return low ? reload + c->count - high_half(c->count) : reload;
    }
    if (n == 1)
        return NEVER;          /* not allowed in modes 2 and 3; OUT does not move */
    if (tick < start)
        tick = start;
    return tick + n - phase(c, tick);
}

/* ---- interrupt 0 ---- */

static void irq_set(struct i8254 *pit, bool level)
{
    pit->state.irq_level = level;
    irq_line_set(&pit->irq, level);
}

static void irq_arm(struct i8254 *pit)
{
    if (pit->state.irq_due_ns)
        timer_arm(&pit->timer, pit->state.irq_due_ns);
    else
        timer_disarm(&pit->timer);
}

static void irq_plan(struct i8254 *pit, uint64_t earliest_ns)
{
    uint64_t at = next_rise(&pit->state.channel[0], ns_to_tick(earliest_ns));

    pit->state.irq_due_ns = at == NEVER ? 0 : tick_to_ns(at);
    irq_arm(pit);
}

/* Delivers the edge that is due, if any. */
static void irq_catch_up(struct i8254 *pit)
{
    struct i8254_channel_state *c = &pit->state.channel[0];
    uint64_t now = clock_now_ns(pit->clock);

    if (!pit->state.irq_due_ns || now < pit->state.irq_due_ns)
        return;
    catch_up(c, ns_to_tick(now));
    irq_set(pit, false);
    irq_set(pit, true);
    /* A period below the limit skips edges; an ordinary one skips none. */
    uint64_t period_ns = periodic(c) ? tick_to_ns(loaded(c)) : 0;
    if (!period_ns || period_ns < MIN_PERIOD_NS) {
        irq_plan(pit, period_ns ? now + MIN_PERIOD_NS : now);
        return;
    }
    uint64_t late_ns = LATE_EDGES * period_ns, due_ns = pit->state.irq_due_ns;
    irq_plan(pit, now - due_ns > late_ns ? now - late_ns : due_ns);
    if (pit->state.irq_due_ns && pit->state.irq_due_ns < now + MIN_PERIOD_NS) {
        pit->state.irq_due_ns = now + MIN_PERIOD_NS;
        irq_arm(pit);
    }
}

static void fire(void *opaque)
{
    irq_catch_up(opaque);
}

/* Before and after anything that may change what a channel does. */
static void change_begin(struct i8254 *pit, struct i8254_channel_state *c)
{
    irq_catch_up(pit);
    catch_up(c, tick_now(pit));
}

static void change_end(struct i8254 *pit, struct i8254_channel_state *c)
{
    if (c != &pit->state.channel[0])
        return;
    irq_set(pit, out(c, tick_now(pit)));
    irq_plan(pit, clock_now_ns(pit->clock));
}

/* ---- gate ---- */

static void gate_set(struct i8254 *pit, struct i8254_channel_state *c, bool gate)
{
    uint64_t tick = tick_now(pit);

    if (gate == c->gate)
        return;
    change_begin(pit, c);
    if (!gate && !triggered(c) && !c->waiting) {
        c->held_ticks = elapsed(c, tick);
        c->held = true;
        c->reload_time_ns = 0;
    }
    c->gate = gate;
    if (gate && (periodic(c) || triggered(c))) {
        if (c->count)
            load(c, tick + 1);
    } else if (gate && c->held) {
        c->load_time_ns = tick_to_ns(tick - c->held_ticks);
        c->held = false;
    }
    change_end(pit, c);
}

/* ---- registers ---- */

static void count_written(struct i8254 *pit, struct i8254_channel_state *c, uint16_t raw)
{
    uint64_t tick = tick_now(pit);
    uint32_t value = raw;

    if (c->bcd) {
        value = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15);
        c->count = value ? value : 10000;
    } else {
        c->count = value ? value : 0x10000;
    }
    c->null_count = true;
    if (triggered(c))
        return;                /* loaded by the next trigger */
    if (!periodic(c) || c->waiting || c->held) {
        load(c, tick + 1);
        return;
    }
    uint32_t n = loaded(c), p = phase(c, tick), half = high_half(n);
    uint32_t left = c->mode == 3 && p < half ? half - p : n - p;
    c->reload_time_ns = tick_to_ns(tick + left);
}

static void counter_write(struct i8254 *pit, struct i8254_channel_state *c, uint8_t value)
{
    change_begin(pit, c);
    if (c->rw_mode == RW_LSB) {
        count_written(pit, c, value);
    } else if (c->rw_mode == RW_MSB) {
        count_written(pit, c, (uint16_t)(value << 8));
    } else if (!c->write_state) {
        c->write_latch = value;
        c->write_state = 1;
        /* Mode 0: the first byte stops the count and takes OUT down. */
        if (c->mode == 0)
            c->waiting = true;
    } else {
        c->write_state = 0;
        count_written(pit, c, (uint16_t)(value << 8 | c->write_latch));
    }
    change_end(pit, c);
}

static void latch_count(struct i8254 *pit, struct i8254_channel_state *c)
{
    if (c->count_latched)
        return;                /* until it has been read (data sheet) */
    c->latched_count = counter(c, tick_now(pit));
    c->count_latched = c->rw_mode;
}

static void latch_status(struct i8254 *pit, struct i8254_channel_state *c)
{
    uint64_t tick = tick_now(pit);
    bool null = c->null_count || (!c->held && tick < ns_to_tick(c->load_time_ns));

    if (c->status_latched)
        return;
    c->status = (uint8_t)((out(c, tick) ? STATUS_OUT : 0) | (null ? STATUS_NULL : 0) |
                          c->rw_mode << 4 | c->mode << 1 | c->bcd);
    c->status_latched = 1;
}

static void read_back(struct i8254 *pit, uint8_t value)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct i8254_channel_state *c = &pit->state.channel[i];
        if (!(value & (2u << i)))
            continue;
        catch_up(c, tick_now(pit));
        if (!(value & READ_BACK_NO_COUNT))
            latch_count(pit, c);
        if (!(value & READ_BACK_NO_STATUS))
            latch_status(pit, c);
    }
}

static void control_write(struct i8254 *pit, uint8_t value)
{
    struct i8254_channel_state *c;

    if (value >> 6 == READ_BACK) {
        read_back(pit, value);
        return;
    }
    c = &pit->state.channel[value >> 6];
    change_begin(pit, c);
    if ((value >> 4 & 3) == RW_LATCH) {
        latch_count(pit, c);
        return;
    }
    c->rw_mode = value >> 4 & 3;
    c->mode = value >> 1 & 7;
    if (c->mode > 5)
        c->mode -= 4;          /* bit 2 is "don't care" in modes 2 and 3 */
    c->bcd = value & 1;
    c->read_state = c->write_state = 0;
    c->count_latched = c->status_latched = 0;
    c->count = c->loaded = 0;
    c->reload_time_ns = 0;
    c->held = c->start_low = false;
    c->waiting = c->null_count = true;
    change_end(pit, c);
}

static uint8_t counter_read(struct i8254 *pit, struct i8254_channel_state *c)
{
    bool latched = c->count_latched;
    uint8_t rw = latched ? c->count_latched : c->rw_mode;
    uint16_t value;
    bool msb;

    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    catch_up(c, tick_now(pit));
    value = latched ? c->latched_count : counter(c, tick_now(pit));
    msb = rw == RW_MSB || (rw == RW_BOTH && c->read_state);
    if (rw == RW_BOTH)
        c->read_state = !c->read_state;
    if (rw != RW_BOTH || msb)
        c->count_latched = 0;
    return (uint8_t)(msb ? value >> 8 : value);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8254 *pit = opaque;

    if (offset >= CHANNELS)
        return 0xff;           /* the control word cannot be read */
    return counter_read(pit, &pit->state.channel[offset]);
}

static void pit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8254 *pit = opaque;

    if (offset >= CHANNELS)
        control_write(pit, (uint8_t)value);
    else
        counter_write(pit, &pit->state.channel[offset], (uint8_t)value);
}

/* System control port B (IBM PC/AT technical reference; ICH9 data sheet 13.7.1). */
static uint64_t control_b_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8254 *pit = opaque;
    struct i8254_channel_state *c = &pit->state.channel[2];
    bool refresh = clock_now_ns(pit->clock) / REFRESH_HALF_NS & 1;

    catch_up(c, tick_now(pit));
    return (c->gate ? B_GATE2 : 0) | (pit->state.speaker_on ? B_SPEAKER : 0) |
           (refresh ? B_REFRESH : 0) | (out(c, tick_now(pit)) ? B_OUT2 : 0);
}

static void control_b_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8254 *pit = opaque;

    pit->state.speaker_on = value & B_SPEAKER;
    gate_set(pit, &pit->state.channel[2], value & B_GATE2);
}

/* ---- the device ---- */

static void i8254_reset(struct device *dev)
{
    struct i8254 *pit = to_i8254(dev);

    timer_disarm(&pit->timer);
    pit->state = (struct i8254_state){0};
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct i8254_channel_state *c = &pit->state.channel[i];
        c->rw_mode = RW_BOTH;
        c->mode = 3;           /* undefined on the chip; OUT is high then */
        c->gate = i != 2;
        c->waiting = c->null_count = true;
    }
    irq_set(pit, false);
}

static void i8254_quiesce(struct device *dev)
{
    timer_disarm(&to_i8254(dev)->timer);
}

/* Also mends what only a foreign or damaged stream can contain. */
static void i8254_resume(struct device *dev)
{
    struct i8254 *pit = to_i8254(dev);

    for (unsigned i = 0; i < CHANNELS; i++) {
        struct i8254_channel_state *c = &pit->state.channel[i];
        c->mode = c->mode > 5 ? 0 : c->mode;
        c->rw_mode &= 3;
        c->count_latched &= 3;
        c->bcd &= 1;
        c->count = (uint32_t)min_u64(c->count, 0x10000);
        c->loaded = (uint32_t)min_u64(c->loaded, 0x10000);
        if (!c->count)
            c->reload_time_ns = 0;
    }
    irq_line_set(&pit->irq, pit->state.irq_level);
    if (pit->state.irq_due_ns)
        irq_arm(pit);
    else
        irq_plan(pit, clock_now_ns(pit->clock));
}

static const struct state_desc *i8254_describe(struct device *dev, void **state)
{
    *state = &to_i8254(dev)->state;
    return &i8254_state_desc;
}

static void i8254_destroy(struct device *dev)
{
    struct i8254 *pit = to_i8254(dev);

    timer_disarm(&pit->timer);
    bus_claims_release(&pit->claims);
    free(pit);
}

static const struct device_ops i8254_ops = {
    .type = "i8254",
    .reset = i8254_reset,
    .quiesce = i8254_quiesce,
    .resume = i8254_resume,
    .describe = i8254_describe,
    .destroy = i8254_destroy,
};

static const struct bus_region regions[] = {
    {"8254 counters", PORT_PIT, 4, pit_read, pit_write, NULL, 1, 0},
    {"system control b", PORT_CONTROL_B, 1, control_b_read, control_b_write, NULL, 1, 0},
};

struct device *i8254_new(const struct device_env *env, const struct i8254_config *cfg,
                         struct error **err)
{
    struct i8254 *pit = calloc(1, sizeof *pit);

    if (!pit) {
        error_set(err, ENOMEM, "no memory for the interval timer");
        return NULL;
    }
    device_init(&pit->dev, &i8254_ops, "i8254");
    pit->irq = cfg->irq;
    pit->clock = env->clock;
    timer_init(&pit->timer, env->clock, fire, pit);
    if (bus_claims_add(&pit->claims, env->bus, BUS_PIO, regions, ARRAY_SIZE(regions), pit, err)) {
        free(pit);
        return NULL;
    }
    i8254_reset(&pit->dev);
    return &pit->dev;
}
