/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_clock.c - the simple machine's real-time clock: seconds by port, nanoseconds by
 * memory. It follows the machine's clock, so it stands still while the machine does.
 */
#include "device/simple.h"

#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/clock.h"
#include "base/error.h"
#include "memory/memory.h"

struct simple_clock {
    struct device dev;
    struct simple_clock_config config;
    struct memory *memory;
    struct clock *clock;
};

static struct simple_clock *to_clock(struct device *dev)
{
    return container_of(dev, struct simple_clock, dev);
}

static uint32_t seconds_read(void *opaque)
{
    struct simple_clock *c = opaque;
    uint64_t now = c->config.base_ns + clock_now_ns(c->clock);
    uint8_t field[8];

    put_le64(field, now);
    memory_write(c->memory, gpa(c->config.slot.base), field, sizeof field);
    return (uint32_t)(now / 1000000000);
}

static void seconds_reset(struct device *dev)
{
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc desc = {"simple_clock", 1, fields};

static const struct state_desc *seconds_describe(struct device *dev, void **state)
{
    *state = to_clock(dev);
    return &desc;
}

static void seconds_destroy(struct device *dev)
{
    free(to_clock(dev));
}

static const struct device_ops clock_ops = {
    .type = "simple_clock",
    .reset = seconds_reset,
    .describe = seconds_describe,
    .destroy = seconds_destroy,
};

struct device *simple_clock_new(const struct device_env *env,
                                const struct simple_clock_config *cfg, struct error **err)
{
    struct simple_clock *c = calloc(1, sizeof *c);

    if (!c) {
        error_set(err, ENOMEM, "no memory for the clock");
        return NULL;
    }
    device_init(&c->dev, &clock_ops, cfg->slot.name);
    c->config = *cfg;
    c->memory = env->memory;
    c->clock = env->clock;
    *cfg->slot.port = (struct simple_port){seconds_read, NULL, c};
    return &c->dev;
}
