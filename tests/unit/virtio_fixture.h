/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_fixture.h - a small driver for tests: rings built by hand in guest memory.
 *
 * Layout: descriptors at DESC, driver area at DRIVER, device area at DEVICE, buffers
 * from DATA on. One queue at a time.
 */
#ifndef RING3_TESTS_VIRTIO_FIXTURE_H
#define RING3_TESTS_VIRTIO_FIXTURE_H

#include "unit.h"

#include <stdlib.h>

#include "base/byteorder.h"
#include "base/clock.h"
#include "base/log.h"
#include "bus/bus.h"
#include "memory/memory.h"
#include "virtio/virtio.h"

enum { RAM_BYTES = 1 << 20, DESC = 0x1000, DRIVER = 0x6000, DEVICE = 0x9000, DATA = 0x10000 };
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

struct sink {                    /* a device with no mind of its own */
    struct virtio_device vd;
    unsigned notified, resets;
};

struct rig {
    struct log log;
    struct memory *memory;
    struct bus *bus;
    struct device_env env;
    struct sink *sink;
    struct virtio_device *vd;
    struct virtio_queue *q;
    unsigned interrupts, config_interrupts;
    /* the driver's side */
    uint16_t next, used, size;
    bool wrap, used_wrap;
};

static inline void sink_notify(struct virtio_device *vd, struct virtio_queue *q)
{
    container_of(vd, struct sink, vd)->notified++;
}
static inline void sink_reset(struct virtio_device *vd)
{
    container_of(vd, struct sink, vd)->resets++;
}
static inline void sink_destroy(struct virtio_device *vd)
{
    free(container_of(vd, struct sink, vd));
}

static const struct virtio_ops sink_ops = {
    .type = "virtio-sink", .id = 42, .notify = sink_notify, .reset = sink_reset,
    .destroy = sink_destroy,
};

static inline void rig_interrupt(void *opaque, enum virtio_interrupt what, unsigned queue)
{
    struct rig *rig = opaque;

    if (what == VIRTIO_INTERRUPT_QUEUE)
        rig->interrupts++;
    else
        rig->config_interrupts++;
}

static inline uint64_t unit_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static inline uint8_t *ram(const struct rig *rig, uint64_t at)
{
    return memory_ram_base(rig->memory).p + at;
}

/* A device in DRIVER_OK with these features, its queue 0 of `size` entries. */
static inline void rig_start(struct rig *rig, uint64_t features, uint16_t size)
{
    struct virtio_device *vd = rig->vd;

    features |= VIRTIO_F_VERSION_1;
    virtio_set_status(vd, 0);
    memset(ram(rig, 0), 0, DATA);
    virtio_set_status(vd, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    virtio_set_features(vd, 0, (uint32_t)features);
    virtio_set_features(vd, 1, (uint32_t)(features >> 32));
    virtio_set_status(vd, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    assert_true(vd->state.status & VIRTIO_FEATURES_OK);
    rig->q = virtio_queue_of(vd, 0);
    virtio_queue_set_size(rig->q, size);
    rig->q->state->descriptors = DESC;
    rig->q->state->driver = DRIVER;
    rig->q->state->device = DEVICE;
    virtio_queue_set_ready(rig->q, true);
    virtio_set_status(vd, vd->state.status | VIRTIO_DRIVER_OK);
    rig->next = rig->used = 0;
    rig->size = size;
    rig->wrap = rig->used_wrap = true;
    rig->interrupts = rig->config_interrupts = 0;
}

static inline void rig_init(struct rig *rig)
{
    *rig = (struct rig){.bus = bus_new(NULL)};
    log_init(&rig->log, -1);
    rig->memory = memory_new(RAM_BYTES, NULL);
    assert_non_null(rig->memory);
    assert_int_equal(memory_map_ram(rig->memory, "low", gpa(0), 0, RAM_BYTES / 2, 0, NULL), 0);
    assert_int_equal(memory_map_ram(rig->memory, "high", gpa(RAM_BYTES / 2), RAM_BYTES / 2,
                                    RAM_BYTES / 2, 0, NULL), 0);
    rig->env = (struct device_env){.memory = rig->memory, .bus = rig->bus, .log = &rig->log};
    rig->sink = calloc(1, sizeof *rig->sink);
    rig->vd = &rig->sink->vd;
    virtio_device_init(rig->vd, &sink_ops, &rig->env, "sink0", VIRTIO_F_PACKED, 0, 2, 256);
    rig->vd->transport = (struct virtio_transport){rig_interrupt, rig};
}

static inline void rig_fini(struct rig *rig)
{
    virtio_device_destroy(rig->vd);
    bus_free(rig->bus);
    memory_free(rig->memory);
}

static inline void put_descriptor(struct rig *rig, uint64_t table, unsigned i, uint64_t at,
                                  uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t *d = ram(rig, table + 16ull * i);

    put_le64(d, at);
    put_le32(d + 8, len);
    put_le16(d + 12, flags);
    put_le16(d + 14, next);
}

/* Split: makes chain `head` available. */
static inline void offer(struct rig *rig, uint16_t head)
{
    put_le16(ram(rig, DRIVER + 4 + 2 * (rig->next % rig->size)), head);
    put_le16(ram(rig, DRIVER + 2), ++rig->next);
}

/* Packed: the next slot. */
static inline void offer_packed(struct rig *rig, uint64_t at, uint32_t len, uint16_t flags,
                                uint16_t id)
{
    uint8_t *d = ram(rig, DESC + 16ull * rig->next);

    put_le64(d, at);
    put_le32(d + 8, len);
    put_le16(d + 12, id);
    put_le16(d + 14, (uint16_t)(flags | (rig->wrap ? 1 << 7 : 1 << 15)));
    if (++rig->next == rig->size) {
        rig->next = 0;
        rig->wrap = !rig->wrap;
    }
}

#endif
