/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device_fixture.h - a bus, a manual clock and ears, for tests of one chip.
 */
#ifndef RING3_TESTS_DEVICE_FIXTURE_H
#define RING3_TESTS_DEVICE_FIXTURE_H

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus/device.h"

struct bench {
    struct log log;
    struct bus *bus;
    struct clock *clock;
    struct device *dev;
    bool line;                    /* level of the interrupt output */
    unsigned rises;
    uint64_t rise_ns;             /* clock time of the last one */
    char text[256];               /* console output */
    size_t text_len;
    unsigned power_requests;
    enum power_event power;
    int power_status;
};

static inline void bench_line_set(void *opaque, unsigned n, bool level)
{
    struct bench *b = opaque;

    if (level && !b->line) {
        b->rises++;
        b->rise_ns = clock_now_ns(b->clock);
    }
    b->line = level;
}

static inline struct irq_line bench_line(struct bench *b)
{
    return (struct irq_line){bench_line_set, b, 0};
}

static inline void bench_text(void *opaque, const uint8_t *data, size_t len)
{
    struct bench *b = opaque;

    assert_true(b->text_len + len < sizeof b->text);
    memcpy(b->text + b->text_len, data, len);
    b->text_len += len;
    b->text[b->text_len] = 0;
}

static inline void bench_power(void *opaque, enum power_event event, int status)
{
    struct bench *b = opaque;

    b->power_requests++;
    b->power = event;
    b->power_status = status;
}

static inline struct device_env bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    log_init(&b->log, -1);
    b->bus = bus_new(&b->log);
    b->clock = clock_new_manual();
    return (struct device_env){.bus = b->bus, .clock = b->clock, .log = &b->log,
                               .power = {bench_power, b}};
}

static inline void bench_fini(struct bench *b)
{
    device_destroy(b->dev);
    bus_free(b->bus);
    clock_free(b->clock);
}

/* Lets time pass, stopping at every deadline on the way as a loop would. */
static inline void bench_run(struct bench *b, uint64_t ns)
{
    uint64_t end = clock_now_ns(b->clock) + ns;

    for (;;) {
        uint64_t next = clock_next_deadline_ns(b->clock), now = clock_now_ns(b->clock);
        if (next > end)
            break;
        clock_advance(b->clock, next > now ? next - now : 0);
        clock_run_timers(b->clock);
    }
    clock_advance(b->clock, end - clock_now_ns(b->clock));
}

static inline void bench_run_to(struct bench *b, uint64_t ns)
{
    bench_run(b, ns - clock_now_ns(b->clock));
}

static inline uint8_t inb(struct bench *b, uint16_t port)
{
    return (uint8_t)bus_read(b->bus, BUS_PIO, port, 1);
}

static inline void outb(struct bench *b, uint16_t port, uint8_t value)
{
    bus_write(b->bus, BUS_PIO, port, 1, value);
}

#endif
