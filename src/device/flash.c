/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flash.c - Intel's basic command set (Intel StrataFlash J3 data sheet 316577, chapter 9;
 * JEDEC JESD68.01 for the query).
 *
 * Programming clears bits and takes no time here; status is "ready" as soon as somebody
 * looks. It is 0 after it was cleared, by which UEFI's driver tells flash from RAM and ROM.
 */
#include "device/flash.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/error.h"
#include "bus/claims.h"

enum command {
    READ_ARRAY = 0xff, PROGRAM = 0x10, PROGRAM_ALSO = 0x40, ERASE = 0x20, ERASE_CONFIRM = 0xd0,
    CLEAR_STATUS = 0x50, READ_STATUS = 0x70, READ_ID = 0x90, QUERY = 0x98,
    WRITE_BUFFER = 0xe8,
};
enum { STATUS_READY = 0x80, STATUS_SEQUENCE_ERROR = 0x30, ERASED = 0xff, BUFFER_BYTES = 32 };

struct flash_state {
    uint8_t mode;                /* what reads give, or what the next write means */
    uint8_t status;
    uint8_t buffer_step;         /* WRITE_BUFFER: 0 count, 1 data, 2 confirm */
    uint8_t buffer_left;
    uint8_t buffer[BUFFER_BYTES];
    uint8_t buffer_used;
    uint64_t buffer_at;
};

struct flash {
    struct device dev;
    struct flash_state state;
    struct flash_config config;
    struct bus_claims claims;
};

static struct flash *to_flash(struct device *dev)
{
    return container_of(dev, struct flash, dev);
}

/* ---- reading ------------------------------------------------------------------ */

/* From 0x10 on: "QRY", command set 1, its table at 0x31 (which says nothing more). */
static uint8_t query_byte(const struct flash *f, uint64_t offset)
{
    static const uint8_t table[] = {'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00};
    uint64_t sectors = f->config.bytes / FLASH_SECTOR_BYTES - 1;

    if (offset >= 0x10 && offset - 0x10 < sizeof table)
        return table[offset - 0x10];
    switch (offset) {
    case 0x27: return (uint8_t)(63 - __builtin_clzll(f->config.bytes));
    case 0x2c: return 1;                               /* one kind of sector: */
    case 0x2d: return (uint8_t)sectors;
    case 0x2e: return (uint8_t)(sectors >> 8);
    case 0x2f: return (uint8_t)(FLASH_SECTOR_BYTES / 256);
    case 0x30: return FLASH_SECTOR_BYTES / 256 >> 8;
    default: return 0;
    }
}

static uint8_t read_byte(struct flash *f, uint64_t offset)
{
    switch (f->state.mode) {
    case READ_ARRAY: return f->config.data[offset];
    case READ_ID: return offset == 0 ? 0x89 : offset == 1 ? 0x18 : 0;
    case QUERY: return query_byte(f, offset);
    default: return f->state.status;
    }
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
    struct flash *f = opaque;
    uint64_t v = 0;

    if (f->state.mode == READ_ARRAY) {
        memcpy(&v, f->config.data + offset, size);
        return v;
    }
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)read_byte(f, offset + i) << 8 * i;
    return v;
}

/* ---- writing ------------------------------------------------------------------ */

static void changed(struct flash *f, uint64_t offset, uint64_t bytes)
{
    if (f->config.changed)
        f->config.changed(f->config.opaque, offset, bytes);
}

static void program(struct flash *f, uint64_t offset, const void *bytes, unsigned len)
{
    const uint8_t *p = bytes;

    for (unsigned i = 0; i < len; i++)
        f->config.data[offset + i] &= p[i];
    changed(f, offset, len);
}

static void sequence_error(struct flash *f)
{
    f->state.status |= STATUS_READY | STATUS_SEQUENCE_ERROR;
    f->state.mode = READ_STATUS;
}

static void erase(struct flash *f, uint64_t offset)
{
    uint64_t sector = align_down(offset, FLASH_SECTOR_BYTES);

    memset(f->config.data + sector, ERASED, FLASH_SECTOR_BYTES);
    changed(f, sector, FLASH_SECTOR_BYTES);
    f->state.status |= STATUS_READY;
    f->state.mode = READ_STATUS;
}

/* Count less one, bytes, confirmation. */
static void buffer_write(struct flash *f, uint64_t offset, unsigned size, uint64_t value)
{
    struct flash_state *s = &f->state;

    if (s->buffer_step == 0) {
        s->buffer_left = (uint8_t)min_u64(value & 0xff, BUFFER_BYTES - 1) + 1;
        s->buffer_used = 0;
        s->buffer_step = 1;
        return;
    }
    if (s->buffer_step == 1) {
        if (s->buffer_used == 0)
            s->buffer_at = offset;
        for (unsigned i = 0; i < size && s->buffer_left; i++, s->buffer_left--)
            s->buffer[s->buffer_used++ % BUFFER_BYTES] = (uint8_t)(value >> 8 * i);
        s->buffer_step = s->buffer_left ? 1 : 2;
        return;
    }
    s->buffer_step = 0;
    if ((value & 0xff) != ERASE_CONFIRM || s->buffer_used > BUFFER_BYTES ||
        !range_inside(s->buffer_at, s->buffer_used, f->config.bytes)) {
        sequence_error(f);
        return;
    }
    program(f, s->buffer_at, s->buffer, s->buffer_used);
    s->status |= STATUS_READY;
    s->mode = READ_STATUS;
}

static void command(struct flash *f, uint8_t value)
{
    switch (value) {
    case CLEAR_STATUS:
        f->state.status = 0;
        f->state.mode = READ_ARRAY;
        break;
    case WRITE_BUFFER:
        f->state.status |= STATUS_READY;
        f->state.buffer_step = 0;
        f->state.mode = value;
        break;
    case PROGRAM: case PROGRAM_ALSO: case ERASE: case READ_STATUS: case READ_ID: case QUERY:
        f->state.mode = value;
        break;
    default:
        f->state.mode = READ_ARRAY;
        break;
    }
}

static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct flash *f = opaque;

    switch (f->state.mode) {
    case PROGRAM: case PROGRAM_ALSO:
        program(f, offset, &value, size);
        f->state.status |= STATUS_READY;
        f->state.mode = READ_STATUS;
        break;
    case ERASE:
        if ((value & 0xff) == ERASE_CONFIRM)
            erase(f, offset);
        else
            sequence_error(f);
        break;
    case WRITE_BUFFER:
        buffer_write(f, offset, size, value);
        break;
    default:
        command(f, (uint8_t)value);
        break;
    }
}

/* ---- life ---------------------------------------------------------------------- */

static void flash_reset(struct device *dev)
{
    to_flash(dev)->state = (struct flash_state){.mode = READ_ARRAY};
}

static const struct state_field fields[] = {
    STATE_U8(struct flash_state, mode),
    STATE_U8(struct flash_state, status),
    STATE_U8(struct flash_state, buffer_step),
    STATE_U8(struct flash_state, buffer_left),
    STATE_U8_ARRAY(struct flash_state, buffer),
    STATE_U8(struct flash_state, buffer_used),
    STATE_U64(struct flash_state, buffer_at),
    STATE_END
};
static const struct state_desc desc = {"flash", 1, fields};

static const struct state_desc *flash_describe(struct device *dev, void **state)
{
    *state = &to_flash(dev)->state;
    return &desc;
}

static void flash_destroy(struct device *dev)
{
    struct flash *f = to_flash(dev);

    bus_claims_release(&f->claims);
    free(f);
}

static const struct device_ops flash_ops = {
    .type = "flash",
    .reset = flash_reset,
    .describe = flash_describe,
    .destroy = flash_destroy,
};

struct device *flash_new(const struct device_env *env, const struct flash_config *cfg,
                         struct error **err)
{
    const struct bus_region region = {cfg->name, cfg->base, cfg->bytes, flash_read, flash_write,
                                      NULL, 8, 0};
    struct flash *f = calloc(1, sizeof *f);

    BUG_ON(!cfg->bytes || cfg->bytes % FLASH_SECTOR_BYTES);
    if (!f) {
        error_set(err, ENOMEM, "no memory for the flash chip");
        return NULL;
    }
    device_init(&f->dev, &flash_ops, cfg->name);
    f->config = *cfg;
    if (bus_claims_add(&f->claims, env->bus, BUS_MMIO, &region, 1, f, err)) {
        free(f);
        return NULL;
    }
    flash_reset(&f->dev);
    return &f->dev;
}
