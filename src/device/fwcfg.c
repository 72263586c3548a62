/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fwcfg.c - QEMU's firmware configuration device, as far as guests without
 * firmware use it (QEMU, docs/specs/fw_cfg).
 *
 * A 16-bit write to the first port selects an item and rewinds it, each read
 * of the second gives its next byte. There is no DMA interface and no file
 * directory: the ID says so.
 */
#include "device/fwcfg.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"

struct fwcfg_state {
    uint16_t selector;
    uint8_t offset;              /* stops at 255: no item is that long */
};

struct fwcfg {
    struct device dev;
    struct fwcfg_state state;
    struct fwcfg_config config;
    struct bus_claims claims;
};

static struct fwcfg *to_fwcfg(struct device *dev)
{
    return container_of(dev, struct fwcfg, dev);
}

static uint8_t next_byte(struct fwcfg *f)
{
    unsigned at = f->state.offset;

    if (f->state.offset < UINT8_MAX)
        f->state.offset++;
    for (unsigned i = 0; i < f->config.items; i++) {
        const struct fwcfg_item *item = &f->config.item[i];

        if (item->key == f->state.selector)
            return at < item->bytes ? (uint8_t)(item->value >> 8 * at) : 0;
    }
    return 0;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset == 1 && size == 1 ? next_byte(opaque) : 0;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fwcfg *f = opaque;

    if (offset == 0 && size == 2)
        f->state = (struct fwcfg_state){.selector = (uint16_t)value};
}

static void fwcfg_reset(struct device *dev)
{
    to_fwcfg(dev)->state = (struct fwcfg_state){0};
}

static const struct state_field fields[] = {
    STATE_U16(struct fwcfg_state, selector),
    STATE_U8(struct fwcfg_state, offset),
    STATE_END
};
static const struct state_desc desc = {"fwcfg", 1, fields};

static const struct state_desc *fwcfg_describe(struct device *dev, void **state)
{
    *state = &to_fwcfg(dev)->state;
    return &desc;
}

static void fwcfg_destroy(struct device *dev)
{
    struct fwcfg *f = to_fwcfg(dev);

    bus_claims_release(&f->claims);
    free(f);
}

static const struct device_ops fwcfg_ops = {
    .type = "fwcfg",
    .reset = fwcfg_reset,
    .describe = fwcfg_describe,
    .destroy = fwcfg_destroy,
};

struct device *fwcfg_new(const struct device_env *env, const struct fwcfg_config *cfg,
                         struct error **err)
{
    const struct bus_region region = {"fwcfg", cfg->port, 2, port_read, port_write, NULL, 2, 0};
    struct fwcfg *f = calloc(1, sizeof *f);

    if (!f) {
        error_set(err, ENOMEM, "no memory for the firmware configuration device");
        return NULL;
    }
    device_init(&f->dev, &fwcfg_ops, "fwcfg");
    f->config = *cfg;
    BUG_ON(cfg->items > FWCFG_ITEMS_MAX);
    if (bus_claims_add(&f->claims, env->bus, BUS_PIO, &region, 1, f, err)) {
        free(f);
        return NULL;
    }
    return &f->dev;
}
