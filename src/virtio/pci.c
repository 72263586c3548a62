/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci.c - virtio over PCI (virtio 1.2, 4.1), modern devices only.
 *
 * One BAR holds everything, a page for each part. A sixth way in is the
 * configuration access capability (4.1.4.9), by which software that cannot map BARs
 * reaches into that BAR through configuration space.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "virtio/thread.h"

enum { BAR = 0, BAR_BYTES = 0x8000, AT_COMMON = 0x0000, AT_ISR = 0x1000, AT_CONFIG = 0x2000,
       AT_NOTIFY = 0x3000, AT_MSIX_TABLE = 0x4000, AT_MSIX_PENDING = 0x5000, PART_BYTES = 0x1000,
       NOTIFY_MULTIPLIER = 4, COMMON_BYTES = 56 };
enum { VIRTIO_VENDOR = 0x1af4, FIRST_DEVICE = 0x1040 };
enum { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI };

struct virtio_pci {
    struct device dev;           /* first, as in every transport: virtio_of() */
    struct virtio_device *vd;
    struct pci_function pci;
    struct pci_bus *bus;
    struct bus *memory_bus;
    unsigned access_capability;
};

static struct virtio_pci *to_virtio_pci(struct device *dev)
{
    return container_of(dev, struct virtio_pci, dev);
}

static struct virtio_pci *of_function(struct pci_function *f)
{
    return container_of(f, struct virtio_pci, pci);
}

/* ---- common configuration (4.1.4.3) --------------------------------------- */

enum {
    COMMON_DEVICE_SELECT = 0, COMMON_DEVICE_FEATURES = 4, COMMON_DRIVER_SELECT = 8,
    COMMON_DRIVER_FEATURES = 12, COMMON_CONFIG_VECTOR = 16, COMMON_QUEUES = 18,
    COMMON_STATUS = 20, COMMON_GENERATION = 21, COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24, COMMON_QUEUE_VECTOR = 26, COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY = 30, COMMON_DESCRIPTORS = 32, COMMON_DRIVER = 40, COMMON_DEVICE = 48,
};

static uint32_t queue_read(const struct virtio_queue *q, uint64_t offset)
{
    const struct virtio_queue_state *s = q->state;

    switch (offset) {
    case COMMON_QUEUE_SIZE: return s->size;
    case COMMON_QUEUE_VECTOR: return s->vector;
    case COMMON_QUEUE_ENABLE: return s->ready;
    case COMMON_QUEUE_NOTIFY: return q->index;
    case COMMON_DESCRIPTORS: return (uint32_t)s->descriptors;
    case COMMON_DESCRIPTORS + 4: return (uint32_t)(s->descriptors >> 32);
    case COMMON_DRIVER: return (uint32_t)s->driver;
    case COMMON_DRIVER + 4: return (uint32_t)(s->driver >> 32);
    case COMMON_DEVICE: return (uint32_t)s->device;
    case COMMON_DEVICE + 4: return (uint32_t)(s->device >> 32);
    default: return 0;
    }
}

static uint32_t common_read(struct virtio_device *vd, uint64_t offset)
{
    const struct virtio_state *s = &vd->state;
    const struct virtio_queue *q = virtio_queue_of(vd, s->queue_select);

    switch (offset) {
    case COMMON_DEVICE_SELECT: return s->device_features_select;
    case COMMON_DEVICE_FEATURES:
        return (uint32_t)virtio_get_features(vd, s->device_features_select);
    case COMMON_DRIVER_SELECT: return s->driver_features_select;
    case COMMON_DRIVER_FEATURES:
        return s->driver_features_select < 2
                   ? (uint32_t)(s->driver_features >> 32 * s->driver_features_select) : 0;
    case COMMON_CONFIG_VECTOR: return s->config_vector;
    case COMMON_QUEUES: return vd->queues;
    case COMMON_STATUS: return s->status;
    case COMMON_GENERATION: return s->config_generation;
    case COMMON_QUEUE_SELECT: return s->queue_select;
    default: return q ? queue_read(q, offset) : 0;
    }
}

static uint16_t checked_vector(const struct virtio_pci *p, uint64_t value)
{
    return value < p->pci.vectors ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static void put_half(uint64_t *field, unsigned half, uint64_t value)
{
    *field = (*field & ~(0xffffffffull << 32 * half)) | (value & 0xffffffff) << 32 * half;
}

static void address_write(struct virtio_queue *q, uint64_t offset, uint64_t value)
{
    struct virtio_queue_state *s = q->state;
    unsigned half = offset >> 2 & 1;

    if (s->ready)
        return;                  /* 4.1.4.3.2: not while it is enabled */
    switch (offset & ~7ull) {
    case COMMON_DESCRIPTORS: put_half(&s->descriptors, half, value); return;
    case COMMON_DRIVER: put_half(&s->driver, half, value); return;
    case COMMON_DEVICE: put_half(&s->device, half, value); return;
    }
}

static void queue_write(struct virtio_pci *p, struct virtio_queue *q, uint64_t offset,
                        uint64_t value)
{
    switch (offset) {
    case COMMON_QUEUE_SIZE: virtio_queue_set_size(q, (uint16_t)value); return;
    case COMMON_QUEUE_VECTOR: q->state->vector = checked_vector(p, value); return;
    case COMMON_QUEUE_ENABLE:
        if (value == 1)          /* 0 may not be written */
            virtio_queue_set_ready(q, true);
        return;
    default: address_write(q, offset, value); return;
    }
}

static void common_write(struct virtio_pci *p, uint64_t offset, uint64_t value)
{
    struct virtio_state *s = &p->vd->state;
    struct virtio_queue *q = virtio_queue_of(p->vd, s->queue_select);

    switch (offset) {
    case COMMON_DEVICE_SELECT: s->device_features_select = (uint32_t)value; return;
    case COMMON_DRIVER_SELECT: s->driver_features_select = (uint32_t)value; return;
    case COMMON_DRIVER_FEATURES:
        virtio_set_features(p->vd, s->driver_features_select, (uint32_t)value);
        return;
    case COMMON_CONFIG_VECTOR: s->config_vector = checked_vector(p, value); return;
    case COMMON_STATUS:
        virtio_set_status(p->vd, (uint8_t)value);
        if (!(uint8_t)value)
            pci_intx_set(&p->pci, false);
        return;
    case COMMON_QUEUE_SELECT: s->queue_select = (uint16_t)value; return;
    default:
        if (q)
            queue_write(p, q, offset, value);
        return;
    }
}

/* ---- the BAR ------------------------------------------------------------- */

static uint64_t isr_read(struct virtio_pci *p)
{
    uint8_t isr = p->vd->state.isr;

    p->vd->state.isr = 0;
    pci_intx_set(&p->pci, false);
    return isr;
}

static uint64_t part_read(struct virtio_pci *p, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    switch (offset & ~(PART_BYTES - 1ull)) {
    case AT_COMMON:              /* 64-bit fields may be read whole; others are narrower */
        value = common_read(p->vd, offset);
        if (size == 8)
            value |= (uint64_t)common_read(p->vd, offset + 4) << 32;
        return value;
    case AT_ISR:
        return offset == AT_ISR ? isr_read(p) : 0;
    case AT_CONFIG:
        virtio_config_access(p->vd, (unsigned)(offset - AT_CONFIG), &value, size, false);
        return value;
    default:
        return pci_msix_read(&p->pci, offset, size, &value) ? value : 0;
    }
}

static uint64_t bar_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    struct virtio_pci *p = of_function(f);
    uint64_t value;

    virtio_enter(p->vd);
    value = part_read(p, offset, size);
    virtio_leave(p->vd);
    return value;
}

static void part_write(struct virtio_pci *p, uint64_t offset, unsigned size, uint64_t value)
{
    switch (offset & ~(PART_BYTES - 1ull)) {
    case AT_COMMON:
        common_write(p, offset, value);
        if (size == 8)
            common_write(p, offset + 4, value >> 32);
        return;
    case AT_ISR:
        return;
    case AT_CONFIG:
        virtio_config_access(p->vd, (unsigned)(offset - AT_CONFIG), &value, size, true);
        return;
    case AT_NOTIFY:
        virtio_kick(p->vd, (unsigned)(offset - AT_NOTIFY) / NOTIFY_MULTIPLIER);
        return;
    default:
        pci_msix_write(&p->pci, offset, size, value);
        return;
    }
}

static void bar_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_pci *p = of_function(f);

    virtio_enter(p->vd);
    part_write(p, offset, size, value);
    virtio_leave(p->vd);
}

static const struct pci_bar_ops bar_ops = {bar_read, bar_write};

/* ---- access through configuration space ----------------------------------- */

enum { CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_BYTES = 16, CAP_DATA = 16 };

/* Where the window is now; false: nowhere, or not a legal access. */
static bool window(const struct virtio_pci *p, uint64_t *offset, unsigned *size)
{
    const uint8_t *cap = p->pci.state->config + p->access_capability;
    uint32_t length = get_le32(cap + CAP_LENGTH);

    *offset = get_le32(cap + CAP_OFFSET);
    *size = length;
    return cap[CAP_BAR] == BAR && (length == 1 || length == 2 || length == 4) &&
           *offset % length == 0 && range_inside(*offset, length, BAR_BYTES);
}

static bool at_data(const struct virtio_pci *p, unsigned offset, unsigned size)
{
    unsigned data = p->access_capability + CAP_DATA;

    return offset < data + 4 && offset + size > data;
}

static void config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio_pci *p = of_function(f);
    uint64_t at;
    unsigned width;

    if (at_data(p, offset, size) && window(p, &at, &width))
        put_le32(f->state->config + p->access_capability + CAP_DATA,
                 (uint32_t)(bar_read(f, at, width) & (UINT64_MAX >> (64 - 8 * width))));
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct virtio_pci *p = of_function(f);
    uint64_t at;
    unsigned width;

    if (at_data(p, offset, size) && window(p, &at, &width))
        bar_write(f, at, width, get_le32(f->state->config + p->access_capability + CAP_DATA) &
                                    (UINT64_MAX >> (64 - 8 * width)));
}

static unsigned add_part(struct pci_function *f, uint8_t type, uint32_t offset, uint32_t length,
                         unsigned bytes)
{
    uint8_t cap[20] = {PCI_CAP_VENDOR, 0, (uint8_t)bytes, type, BAR};

    put_le32(cap + CAP_OFFSET, offset);
    put_le32(cap + CAP_LENGTH, length);
    if (type == CFG_NOTIFY)
        put_le32(cap + CAP_BYTES, NOTIFY_MULTIPLIER);
    return pci_capability_add(f, cap, bytes);
}

static void add_capabilities(struct virtio_pci *p)
{
    struct pci_function *f = &p->pci;
    unsigned vectors = p->vd->queues + 1;

    pci_msix_set(f, vectors < PCI_MSIX_VECTORS_MAX ? vectors : PCI_MSIX_VECTORS_MAX, BAR,
                 AT_MSIX_TABLE, AT_MSIX_PENDING);
    add_part(f, CFG_COMMON, AT_COMMON, COMMON_BYTES, CAP_BYTES);
    add_part(f, CFG_NOTIFY, AT_NOTIFY, p->vd->queues * NOTIFY_MULTIPLIER, CAP_BYTES + 4);
    add_part(f, CFG_ISR, AT_ISR, 1, CAP_BYTES);
    if (p->vd->config_bytes)
        add_part(f, CFG_DEVICE, AT_CONFIG, p->vd->config_bytes, CAP_BYTES);
    p->access_capability = add_part(f, CFG_PCI, 0, 0, CAP_BYTES + 4);
    f->writable[p->access_capability + CAP_BAR] = 0xff;
    memset(f->writable + p->access_capability + CAP_OFFSET, 0xff, 12);
}

/* ---- doorbells that need no VM lock ---------------------------------------- */

static void moved(struct pci_function *f)
{
    struct virtio_pci *p = of_function(f);
    struct virtio_thread *t = p->vd->thread;
    uint64_t base;

    if (!t)
        return;
    virtio_thread_unbell(t, p->memory_bus);
    for (unsigned i = 0; pci_bar_mapped(f, BAR, &base) && i < t->queues; i++)
        virtio_thread_bell(t, p->memory_bus, i, base + AT_NOTIFY + i * NOTIFY_MULTIPLIER, false);
}

/* ---- interrupts ---------------------------------------------------------- */

static void raise(void *opaque, enum virtio_interrupt what, unsigned queue)
{
    struct virtio_pci *p = opaque;
    struct virtio_state *s = &p->vd->state;

    if (pci_msix_enabled(&p->pci)) {
        pci_msix_raise(&p->pci, what == VIRTIO_INTERRUPT_QUEUE ? s->queue[queue].vector
                                                               : s->config_vector);
        return;
    }
    s->isr |= what;
    pci_intx_set(&p->pci, true);
}

/* ---- the device ---------------------------------------------------------- */

static void transport_reset(struct device *dev)
{
    struct virtio_pci *p = to_virtio_pci(dev);

    virtio_enter(p->vd);
    virtio_device_reset(p->vd);
    pci_function_reset(&p->pci);
    virtio_leave(p->vd);
}

static void transport_quiesce(struct device *dev)
{
    struct virtio_device *vd = to_virtio_pci(dev)->vd;

    virtio_enter(vd);
    virtio_device_quiesce(vd);
    virtio_leave(vd);
}

static void transport_resume(struct device *dev)
{
    struct virtio_pci *p = to_virtio_pci(dev);

    virtio_enter(p->vd);
    pci_function_resume(&p->pci);
    virtio_device_resume(p->vd);
    virtio_leave(p->vd);
}

static const struct state_desc *transport_describe(struct device *dev, void **state)
{
    return virtio_device_describe(to_virtio_pci(dev)->vd, state);
}

static void transport_destroy(struct device *dev)
{
    struct virtio_pci *p = to_virtio_pci(dev);

    pci_bus_remove(p->bus, &p->pci);
    virtio_device_destroy(p->vd);
    free(p);
}

static const struct device_ops transport_ops = {
    .type = "virtio-pci",
    .reset = transport_reset,
    .quiesce = transport_quiesce,
    .resume = transport_resume,
    .describe = transport_describe,
    .destroy = transport_destroy,
};

static struct virtio_device *pci_vd(struct device *dev)
{
    return dev->ops == &transport_ops ? to_virtio_pci(dev)->vd : NULL;
}

struct virtio_device *virtio_of(struct device *dev)
{
    struct virtio_device *vd = pci_vd(dev);

    return vd ? vd : virtio_mmio_vd(dev);
}

struct device *virtio_pci_new(const struct device_env *env, struct pci_bus *bus,
                              struct virtio_device *vd, struct error **err)
{
    const struct pci_identity id = {
        .vendor = VIRTIO_VENDOR, .device = (uint16_t)(FIRST_DEVICE + vd->ops->id),
        .subsystem_vendor = VIRTIO_VENDOR, .subsystem = 0x1100, .class = vd->ops->pci_class,
        .revision = 1, .intx = true,
    };
    struct virtio_pci *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "no memory for device '%s'", vd->name);
        virtio_device_destroy(vd);
        return NULL;
    }
    device_init(&p->dev, &transport_ops, vd->name);
    p->vd = vd;
    p->bus = bus;
    p->memory_bus = env->bus;
    pci_function_init(&p->pci, &vd->state.pci, vd->name, &id);
    pci_bar_set(&p->pci, BAR, PCI_BAR_MEMORY64, BAR_BYTES, &bar_ops);
    add_capabilities(p);
    p->pci.config_read = config_read;
    p->pci.moved = moved;
    p->pci.config_written = config_written;
    vd->transport = (struct virtio_transport){raise, p};
    if (pci_bus_add(bus, &p->pci, -1, err)) {
        virtio_device_destroy(vd);
        free(p);
        return NULL;
    }
    return &p->dev;
}
