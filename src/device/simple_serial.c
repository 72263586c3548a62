/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_serial.c - the simple machine's serial port: bytes out, bytes in.
 *
 * There is no line behind it and nothing to set: a byte that is written is printed.
 */
#include "device/simple.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "ring3/simple.h"

enum { FIFO_BYTES = 256 };

struct simple_serial {
    struct device dev;
    struct simple_serial_config config;
    uint8_t fifo[FIFO_BYTES];        /* typed, not read yet */
    uint16_t head, count;
};

static struct simple_serial *to_serial(struct device *dev)
{
    return container_of(dev, struct simple_serial, dev);
}

static uint32_t serial_read(void *opaque)
{
    struct simple_serial *s = opaque;
    uint8_t byte;

    if (!s->count)
        return RING3_SIMPLE_NOTHING;
    byte = s->fifo[s->head % FIFO_BYTES];
    s->head = (uint16_t)((s->head + 1) % FIFO_BYTES);
    s->count--;
    if (s->config.ready)
        s->config.ready(s->config.opaque);
    return byte;
}

static void serial_write(void *opaque, uint32_t value)
{
    struct simple_serial *s = opaque;
    uint8_t byte = (uint8_t)value;

    if (s->config.write)
        s->config.write(s->config.opaque, &byte, 1);
}

size_t simple_serial_room(struct device *dev)
{
    return FIFO_BYTES - min_u64(to_serial(dev)->count, FIFO_BYTES);
}

void simple_serial_receive(struct device *dev, const uint8_t *data, size_t len)
{
    struct simple_serial *s = to_serial(dev);

    for (size_t i = 0; i < len && s->count < FIFO_BYTES; i++) {
        s->fifo[(s->head + s->count) % FIFO_BYTES] = data[i];
        s->count++;
        irq_line_pulse(&s->config.slot.irq);
    }
}

static void serial_reset(struct device *dev)
{
    struct simple_serial *s = to_serial(dev);

    memset(s->fifo, 0, sizeof s->fifo);
    s->head = s->count = 0;
    irq_line_set(&s->config.slot.irq, false);
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct simple_serial, fifo),
    STATE_U16(struct simple_serial, head),
    STATE_U16(struct simple_serial, count),
    STATE_END
};
static const struct state_desc desc = {"simple_serial", 1, fields};

/* Bounds hold whatever was loaded. */
static void serial_resume(struct device *dev)
{
    struct simple_serial *s = to_serial(dev);

    s->head %= FIFO_BYTES;
    s->count = (uint16_t)min_u64(s->count, FIFO_BYTES);
    irq_line_set(&s->config.slot.irq, false);
}

static const struct state_desc *serial_describe(struct device *dev, void **state)
{
    *state = to_serial(dev);
    return &desc;
}

static void serial_destroy(struct device *dev)
{
    free(to_serial(dev));
}

static const struct device_ops serial_ops = {
    .type = "simple_serial",
    .reset = serial_reset,
    .resume = serial_resume,
    .describe = serial_describe,
    .destroy = serial_destroy,
};

struct device *simple_serial_new(const struct device_env *env,
                                 const struct simple_serial_config *cfg, struct error **err)
{
    struct simple_serial *s = calloc(1, sizeof *s);

    if (!s) {
        error_set(err, ENOMEM, "no memory for the serial port");
        return NULL;
    }
    device_init(&s->dev, &serial_ops, cfg->slot.name);
    s->config = *cfg;
    *cfg->slot.port = (struct simple_port){serial_read, serial_write, s};
    return &s->dev;
}
