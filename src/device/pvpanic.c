/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic.c - paravirtual panic notification (QEMU docs/specs/pvpanic).
 */
#include "device/pvpanic.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"

enum { PANICKED = 1, CRASH_LOADED = 2 };

struct pvpanic {
    struct device dev;
    struct power_line power;
    struct log *log;
    struct log_limit crash_limit;
    struct bus_claims claims;
};

static struct pvpanic *to_pvpanic(struct device *dev)
{
    return container_of(dev, struct pvpanic, dev);
}

/* Reading tells which events can be reported. */
static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return PANICKED | CRASH_LOADED;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pvpanic *p = opaque;

    /* The guest runs its own crash kernel next: let it. */
    if (value & CRASH_LOADED)
        log_guest(p->log, &p->crash_limit, "the guest panicked and loads a crash kernel");
    else if ((value & PANICKED) && p->power.request)
        p->power.request(p->power.opaque, POWER_PANIC, 0);
}

static void pvpanic_reset(struct device *dev)
{
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc desc = {"pvpanic", 1, fields};

static const struct state_desc *pvpanic_describe(struct device *dev, void **state)
{
    *state = to_pvpanic(dev);
    return &desc;
}

static void pvpanic_destroy(struct device *dev)
{
    struct pvpanic *p = to_pvpanic(dev);

    bus_claims_release(&p->claims);
    free(p);
}

static const struct device_ops pvpanic_ops = {
    .type = "pvpanic",
    .reset = pvpanic_reset,
    .describe = pvpanic_describe,
    .destroy = pvpanic_destroy,
};

struct device *pvpanic_new(const struct device_env *env, const struct pvpanic_config *cfg,
                           struct error **err)
{
    const struct bus_region region = {"pvpanic", cfg->port, 1, port_read, port_write, NULL, 1, 0};
    struct pvpanic *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "no memory for the panic port");
        return NULL;
    }
    device_init(&p->dev, &pvpanic_ops, "pvpanic");
    p->power = env->power;
    p->log = env->log;
    if (bus_claims_add(&p->claims, env->bus, BUS_PIO, &region, 1, p, err)) {
        free(p);
        return NULL;
    }
    return &p->dev;
}
