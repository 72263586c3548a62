/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmio.c - virtio over MMIO, version 2 (virtio 1.2, 4.2).
 *
 * Registers are 32 bits wide; the device's configuration space follows them at 0x100 and
 * is accessed in its fields' widths. The interrupt is a level: any bit of InterruptStatus.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"
#include "virtio/thread.h"

enum {
    REG_MAGIC = 0x000, REG_VERSION = 0x004, REG_DEVICE_ID = 0x008, REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010, REG_DEVICE_FEATURES_SEL = 0x014, REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024, REG_QUEUE_SEL = 0x030, REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038, REG_QUEUE_READY = 0x044, REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060, REG_INTERRUPT_ACK = 0x064, REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080, REG_QUEUE_DRIVER = 0x090, REG_QUEUE_DEVICE = 0x0a0,
    REG_SHM_LENGTH = 0x0b0, REG_SHM_BASE = 0x0b8, REG_GENERATION = 0x0fc, REG_CONFIG = 0x100,
};
enum { MAGIC = 0x74726976, VERSION = 2, VENDOR = 0x474e3352 /* "R3NG" */ };

struct virtio_mmio {
    struct device dev;
    struct virtio_device *vd;
    struct irq_line irq;
    struct bus_claims claims;
};

static struct virtio_mmio *to_mmio(struct device *dev)
{
    return container_of(dev, struct virtio_mmio, dev);
}

static void line_update(const struct virtio_mmio *t)
{
    irq_line_set(&t->irq, t->vd->state.isr != 0);
}

static uint64_t register_read(struct virtio_mmio *t, uint64_t offset)
{
    struct virtio_device *vd = t->vd;
    const struct virtio_state *s = &vd->state;
    const struct virtio_queue *q = virtio_queue_of(vd, s->queue_select);

    switch (offset) {
    case REG_MAGIC: return MAGIC;
    case REG_VERSION: return VERSION;
    case REG_DEVICE_ID: return vd->ops->id;
    case REG_VENDOR_ID: return VENDOR;
    case REG_DEVICE_FEATURES: return virtio_get_features(vd, s->device_features_select);
    case REG_QUEUE_NUM_MAX: return q ? q->size_max : 0;
    case REG_QUEUE_READY: return q ? q->state->ready : 0;
    case REG_INTERRUPT_STATUS: return s->isr;
    case REG_STATUS: return s->status;
    case REG_SHM_LENGTH: case REG_SHM_LENGTH + 4:
    case REG_SHM_BASE: case REG_SHM_BASE + 4: return UINT32_MAX;   /* 4.2.2.1: no such region */
    case REG_GENERATION: return s->config_generation;
    default: return 0;
    }
}

static void put_half(uint64_t *field, unsigned high, uint32_t value)
{
    *field = (*field & ~(0xffffffffull << 32 * high)) | (uint64_t)value << 32 * high;
}

static void queue_write(struct virtio_queue *q, uint64_t offset, uint32_t value)
{
    struct virtio_queue_state *s = q->state;

    if (offset == REG_QUEUE_READY) {
        virtio_queue_set_ready(q, value & 1);
        return;
    }
    if (s->ready)
        return;
    switch (offset) {
    case REG_QUEUE_NUM: virtio_queue_set_size(q, value); return;
    case REG_QUEUE_DESC: case REG_QUEUE_DESC + 4:
        put_half(&s->descriptors, offset >> 2 & 1, value);
        return;
    case REG_QUEUE_DRIVER: case REG_QUEUE_DRIVER + 4:
        put_half(&s->driver, offset >> 2 & 1, value);
        return;
    case REG_QUEUE_DEVICE: case REG_QUEUE_DEVICE + 4:
        put_half(&s->device, offset >> 2 & 1, value);
        return;
    }
}

static void register_write(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
    struct virtio_device *vd = t->vd;
    struct virtio_state *s = &vd->state;
    struct virtio_queue *q = virtio_queue_of(vd, s->queue_select);

    switch (offset) {
    case REG_DEVICE_FEATURES_SEL: s->device_features_select = value; return;
    case REG_DRIVER_FEATURES_SEL: s->driver_features_select = value; return;
    case REG_DRIVER_FEATURES: virtio_set_features(vd, s->driver_features_select, value); return;
    case REG_QUEUE_SEL:
        s->queue_select = value < VIRTIO_QUEUES_MAX ? (uint16_t)value : UINT16_MAX;
        return;
    case REG_QUEUE_NOTIFY: virtio_kick(vd, value); return;
    case REG_INTERRUPT_ACK: s->isr &= (uint8_t)~value; line_update(t); return;
    case REG_STATUS: virtio_set_status(vd, (uint8_t)value); line_update(t); return;
    default:
        if (q)
            queue_write(q, offset, value);
        return;
    }
}

static uint64_t region_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_mmio *t = opaque;
    uint64_t value = 0;

    virtio_enter(t->vd);
    if (offset >= REG_CONFIG)
        virtio_config_access(t->vd, (unsigned)(offset - REG_CONFIG), &value, size, false);
    else if (size == 4)
        value = register_read(t, offset);
    virtio_leave(t->vd);
    return value;
}

static void region_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_mmio *t = opaque;

    virtio_enter(t->vd);
    if (offset >= REG_CONFIG)
        virtio_config_access(t->vd, (unsigned)(offset - REG_CONFIG), &value, size, true);
    else if (size == 4)
        register_write(t, offset, (uint32_t)value);
    virtio_leave(t->vd);
}

static void raise(void *opaque, enum virtio_interrupt what, unsigned queue)
{
    struct virtio_mmio *t = opaque;

    t->vd->state.isr |= what;
    line_update(t);
}

/* ---- the device ---------------------------------------------------------- */

static void mmio_reset(struct device *dev)
{
    struct virtio_mmio *t = to_mmio(dev);

    virtio_enter(t->vd);
    virtio_device_reset(t->vd);
    line_update(t);
    virtio_leave(t->vd);
}

static void mmio_quiesce(struct device *dev)
{
    struct virtio_mmio *t = to_mmio(dev);

    virtio_enter(t->vd);
    virtio_device_quiesce(t->vd);
    virtio_leave(t->vd);
}

static void mmio_resume(struct device *dev)
{
    struct virtio_mmio *t = to_mmio(dev);

    virtio_enter(t->vd);
    virtio_device_resume(t->vd);
    line_update(t);
    virtio_leave(t->vd);
}

static const struct state_desc *mmio_describe(struct device *dev, void **state)
{
    return virtio_device_describe(to_mmio(dev)->vd, state);
}

static void mmio_destroy(struct device *dev)
{
    struct virtio_mmio *t = to_mmio(dev);

    if (t->vd->thread)
        virtio_thread_unbell(t->vd->thread, t->claims.bus);
    bus_claims_release(&t->claims);
    virtio_device_destroy(t->vd);
    free(t);
}

static const struct device_ops mmio_ops = {
    .type = "virtio-mmio",
    .reset = mmio_reset,
    .quiesce = mmio_quiesce,
    .resume = mmio_resume,
    .describe = mmio_describe,
    .destroy = mmio_destroy,
};

struct virtio_device *virtio_mmio_vd(struct device *dev)
{
    return dev->ops == &mmio_ops ? to_mmio(dev)->vd : NULL;
}

struct device *virtio_mmio_new(const struct device_env *env, const struct virtio_mmio_config *cfg,
                               struct virtio_device *vd, struct error **err)
{
    const struct bus_region region = {"virtio-mmio", cfg->base, VIRTIO_MMIO_BYTES, region_read,
                                      region_write, NULL, 8, 0};
    struct virtio_mmio *t = calloc(1, sizeof *t);

    if (!t) {
        error_set(err, ENOMEM, "no memory for device '%s'", vd->name);
        virtio_device_destroy(vd);
        return NULL;
    }
    device_init(&t->dev, &mmio_ops, vd->name);
    t->vd = vd;
    t->irq = cfg->irq;
    vd->transport = (struct virtio_transport){raise, t};
    if (bus_claims_add(&t->claims, env->bus, BUS_MMIO, &region, 1, t, err)) {
        virtio_device_destroy(vd);
        free(t);
        return NULL;
    }
    for (unsigned i = 0; vd->thread && i < vd->queues; i++)
        virtio_thread_bell(vd->thread, env->bus, i, cfg->base + REG_QUEUE_NOTIFY, true);
    return &t->dev;
}
