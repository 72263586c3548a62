/* SPDX-License-Identifier: GPL-2.0-or-later */
/* simple_power.c - the simple machine's switch: off, an exit status, reset. */
#include "device/simple.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "ring3/simple.h"

enum { STATUS_MAX = 127 };

struct simple_power {
    struct device dev;
    struct power_line power;
};

static struct simple_power *to_power(struct device *dev)
{
    return container_of(dev, struct simple_power, dev);
}

static void power_write(void *opaque, uint32_t value)
{
    struct simple_power *p = opaque;

    if (!p->power.request)
        return;
    if (value == RING3_SIMPLE_POWER_RESET)
        p->power.request(p->power.opaque, POWER_RESET, 0);
    else if (value == 0)
        p->power.request(p->power.opaque, POWER_OFF, 0);
    else
        p->power.request(p->power.opaque, POWER_DEBUG_EXIT,
                         (int)((value & STATUS_MAX) << 1 | 1));
}

static void power_reset(struct device *dev)
{
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc desc = {"simple_power", 1, fields};

static const struct state_desc *power_describe(struct device *dev, void **state)
{
    *state = to_power(dev);
    return &desc;
}

static void power_destroy(struct device *dev)
{
    free(to_power(dev));
}

static const struct device_ops power_ops = {
    .type = "simple_power",
    .reset = power_reset,
    .describe = power_describe,
    .destroy = power_destroy,
};

struct device *simple_power_new(const struct device_env *env, const struct simple_slot *slot,
                                struct error **err)
{
    struct simple_power *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "no memory for the power switch");
        return NULL;
    }
    device_init(&p->dev, &power_ops, slot->name);
    p->power = env->power;
    *slot->port = (struct simple_port){NULL, power_write, p};
    return &p->dev;
}
