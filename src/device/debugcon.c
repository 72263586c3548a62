/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debugcon.c - the debug console port of Bochs and its heirs.
 */
#include "device/debugcon.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"

struct debugcon {
    struct device dev;
    struct debugcon_config config;
    struct bus_claims claims;
};

static struct debugcon *to_debugcon(struct device *dev)
{
    return container_of(dev, struct debugcon, dev);
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return DEBUGCON_READBACK;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct debugcon *d = opaque;
    uint8_t byte = (uint8_t)value;

    if (d->config.write)
        d->config.write(d->config.opaque, &byte, 1);
}

static void debugcon_reset(struct device *dev)
{
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc desc = {"debugcon", 1, fields};

static const struct state_desc *debugcon_describe(struct device *dev, void **state)
{
    *state = to_debugcon(dev);
    return &desc;
}

static void debugcon_destroy(struct device *dev)
{
    struct debugcon *d = to_debugcon(dev);

    bus_claims_release(&d->claims);
    free(d);
}

static const struct device_ops debugcon_ops = {
    .type = "debugcon",
    .reset = debugcon_reset,
    .describe = debugcon_describe,
    .destroy = debugcon_destroy,
};

struct device *debugcon_new(const struct device_env *env, const struct debugcon_config *cfg,
                            struct error **err)
{
    const struct bus_region region = {"debugcon", cfg->port, 1, port_read, port_write, NULL, 1, 0};
    struct debugcon *d = calloc(1, sizeof *d);

    if (!d) {
        error_set(err, ENOMEM, "no memory for the debug console");
        return NULL;
    }
    device_init(&d->dev, &debugcon_ops, cfg->name ? cfg->name : "debugcon");
    d->config = *cfg;
    if (bus_claims_add(&d->claims, env->bus, BUS_PIO, &region, 1, d, err)) {
        free(d);
        return NULL;
    }
    return &d->dev;
}
