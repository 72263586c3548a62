/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug_exit.c - the port with which a test ends its own machine.
 *
 * Behaves as QEMU's isa-debug-exit: any write counts, at any of the four
 * ports, and reads give 0.
 */
#include "device/debug_exit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"

enum { PORTS = 4 };

struct debug_exit {
    struct device dev;
    struct power_line power;
    struct bus_claims claims;
};

static struct debug_exit *to_debug_exit(struct device *dev)
{
    return container_of(dev, struct debug_exit, dev);
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct debug_exit *d = opaque;

    if (d->power.request)
        d->power.request(d->power.opaque, POWER_DEBUG_EXIT, (int)((uint32_t)value << 1 | 1));
}

static void debug_exit_reset(struct device *dev)
{
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc desc = {"debug_exit", 1, fields};

static const struct state_desc *debug_exit_describe(struct device *dev, void **state)
{
    *state = to_debug_exit(dev);
    return &desc;
}

static void debug_exit_destroy(struct device *dev)
{
    struct debug_exit *d = to_debug_exit(dev);

    bus_claims_release(&d->claims);
    free(d);
}

static const struct device_ops debug_exit_ops = {
    .type = "debug_exit",
    .reset = debug_exit_reset,
    .describe = debug_exit_describe,
    .destroy = debug_exit_destroy,
};

struct device *debug_exit_new(const struct device_env *env, const struct debug_exit_config *cfg,
                              struct error **err)
{
    const struct bus_region region = {"debug exit", cfg->port, PORTS, port_read, port_write, NULL,
                                      4, 0};
    struct debug_exit *d = calloc(1, sizeof *d);

    if (!d) {
        error_set(err, ENOMEM, "no memory for the debug exit port");
        return NULL;
    }
    device_init(&d->dev, &debug_exit_ops, "debug-exit");
    d->power = env->power;
    if (bus_claims_add(&d->claims, env->bus, BUS_PIO, &region, 1, d, err)) {
        free(d);
        return NULL;
    }
    return &d->dev;
}
