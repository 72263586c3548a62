/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * testdev.c - the device that the guests of kvm-unit-tests exercise a monitor
 * with. Behaves as QEMU's pc-testdev; see testdev.h for the map.
 *
 * Flushing a page is for monitors that must drop a host mapping: ours follow
 * the guest's page tables, so the port swallows the address.
 */
#include "device/testdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "bus/claims.h"
#include "memory/memory.h"

enum { PORT_LATCH = 0xe0, PORT_FLUSH = 0xe4, PORT_LINES = 0x2000, PORT_DMA = 0x2020,
       MEMORY_BYTES = 0x10000 };
#define MEMORY_BASE 0xff000000ull

struct testdev_state {
    uint32_t latch;
    uint32_t lines;
    uint32_t dma_address;
    uint8_t memory[MEMORY_BYTES];
};

struct testdev {
    struct device dev;
    struct testdev_state state;
    struct testdev_config config;
    struct bus_claims claims;
    struct memory *ram;
};

static struct testdev *to_testdev(struct device *dev)
{
    return container_of(dev, struct testdev, dev);
}

/* The bus never lets an access reach past the end of a region. */
static uint64_t latch_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct testdev *t = opaque;

    return t->state.latch >> offset * 8;
}

static void latch_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;
    uint32_t mask = (uint32_t)((1ull << size * 8) - 1) << offset * 8;

    t->state.latch = (t->state.latch & ~mask) | ((uint32_t)value << offset * 8 & mask);
}

static uint64_t nothing_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void line_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;
    uint32_t bit = 1u << offset;

    t->state.lines = value & 0xff ? t->state.lines | bit : t->state.lines & ~bit;
    irq_line_set(&t->config.line[offset], value & 0xff);
}

/* Offset 0: where to; offset 4: the dword to store there. Where no memory is, nothing
 * happens. */
static void dma_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;
    uint8_t bytes[4];

    if (size != 4 || offset & 3)
        return;
    if (offset == 0) {
        t->state.dma_address = (uint32_t)value;
        return;
    }
    put_le32(bytes, (uint32_t)value);
    if (t->ram)
        (void)memory_write(t->ram, gpa(t->state.dma_address), bytes, sizeof bytes);
}

static uint64_t storage_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct testdev *t = opaque;
    uint64_t value = 0;

    memcpy(&value, t->state.memory + offset, size);
    return value;
}

static void storage_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;

    memcpy(t->state.memory + offset, &value, size);
}

/* Lines that were never raised are left alone: other devices drive them. */
static void drive_lines(struct testdev *t, uint32_t which)
{
    for (unsigned n = 0; n < TESTDEV_LINES; n++)
        if (which >> n & 1)
            irq_line_set(&t->config.line[n], t->state.lines >> n & 1);
}

static void testdev_reset(struct device *dev)
{
    struct testdev *t = to_testdev(dev);
    uint32_t raised = t->state.lines;

    memset(&t->state, 0, sizeof t->state);
    drive_lines(t, raised);
}

static void testdev_resume(struct device *dev)
{
    struct testdev *t = to_testdev(dev);

    drive_lines(t, t->state.lines);
}

static const struct state_field fields[] = {
    STATE_U32(struct testdev_state, latch),
    STATE_U32(struct testdev_state, lines),
    STATE_U32(struct testdev_state, dma_address),
    STATE_U8_ARRAY(struct testdev_state, memory),
    STATE_END
};
static const struct state_desc desc = {"testdev", 1, fields};

static const struct state_desc *testdev_describe(struct device *dev, void **state)
{
    *state = &to_testdev(dev)->state;
    return &desc;
}

static void testdev_destroy(struct device *dev)
{
    struct testdev *t = to_testdev(dev);

    bus_claims_release(&t->claims);
    free(t);
}

static const struct device_ops testdev_ops = {
    .type = "testdev",
    .reset = testdev_reset,
    .resume = testdev_resume,
    .describe = testdev_describe,
    .destroy = testdev_destroy,
};

static const struct bus_region ports[] = {
    {"testdev latch", PORT_LATCH, 4, latch_read, latch_write, NULL, 4, 0},
    {"testdev flush", PORT_FLUSH, 4, nothing_read, NULL, NULL, 4, 0},
    {"testdev lines", PORT_LINES, TESTDEV_LINES, nothing_read, line_write, NULL, 1, 0},
    {"testdev dma", PORT_DMA, 8, nothing_read, dma_write, NULL, 4, 0},
};
static const struct bus_region memory_region = {
    "testdev memory", MEMORY_BASE, MEMORY_BYTES, storage_read, storage_write, NULL, 8, 0};

struct device *testdev_new(const struct device_env *env, const struct testdev_config *cfg,
                           struct error **err)
{
    struct testdev *t = calloc(1, sizeof *t);

    if (!t) {
        error_set(err, ENOMEM, "no memory for the test device");
        return NULL;
    }
    device_init(&t->dev, &testdev_ops, "testdev");
    t->config = *cfg;
    t->ram = env->memory;
    if (bus_claims_add(&t->claims, env->bus, BUS_PIO, ports, ARRAY_SIZE(ports), t, err) ||
        bus_claims_add(&t->claims, env->bus, BUS_MMIO, &memory_region, 1, t, err)) {
        free(t);
        return NULL;
    }
    testdev_reset(&t->dev);
    return &t->dev;
}
