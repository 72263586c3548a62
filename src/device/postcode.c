/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * postcode.c - the port that firmware reports its progress to.
 *
 * Kernels also write it to pass a microsecond, so a write does next to nothing.
 */
#include "device/postcode.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"

struct postcode_state {
    uint8_t last;
};

struct postcode {
    struct device dev;
    struct postcode_state state;
    struct log *log;
    struct bus_claims claims;
};

static struct postcode *to_postcode(struct device *dev)
{
    return container_of(dev, struct postcode, dev);
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct postcode *p = opaque;

    return p->state.last;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct postcode *p = opaque;

    p->state.last = (uint8_t)value;
    log_trace(p->log, DEVICE, "post code %02x", p->state.last);
}

uint8_t postcode_last(struct device *dev)
{
    return to_postcode(dev)->state.last;
}

static void postcode_reset(struct device *dev)
{
    to_postcode(dev)->state = (struct postcode_state){0};
}

static const struct state_field fields[] = {STATE_U8(struct postcode_state, last), STATE_END};
static const struct state_desc desc = {"postcode", 1, fields};

static const struct state_desc *postcode_describe(struct device *dev, void **state)
{
    *state = &to_postcode(dev)->state;
    return &desc;
}

static void postcode_destroy(struct device *dev)
{
    struct postcode *p = to_postcode(dev);

    bus_claims_release(&p->claims);
    free(p);
}

static const struct device_ops postcode_ops = {
    .type = "postcode",
    .reset = postcode_reset,
    .describe = postcode_describe,
    .destroy = postcode_destroy,
};

struct device *postcode_new(const struct device_env *env, const struct postcode_config *cfg,
                            struct error **err)
{
    const struct bus_region region = {"postcode", cfg->port, 1, port_read, port_write, NULL, 1, 0};
    struct postcode *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "no memory for the POST port");
        return NULL;
    }
    device_init(&p->dev, &postcode_ops, "postcode");
    p->log = env->log;
    if (bus_claims_add(&p->claims, env->bus, BUS_PIO, &region, 1, p, err)) {
        free(p);
        return NULL;
    }
    return &p->dev;
}
