/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_disk.c - the simple machine's disk: a page that says what, a port that says when.
 *
 * One command at a time. The page may change under our eyes: the command is copied out of
 * it before it is checked. Data goes straight between the image and guest memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "base/log.h"
#include "block/block.h"
#include "device/simple.h"
#include "memory/memory.h"
#include "ring3/hypercall.h"
#include "ring3/simple.h"

enum { SECTOR_BYTES = 512, COMMAND_BYTES = 32 };

_Static_assert(offsetof(struct ring3_simple_disk, data) == 512 &&
               sizeof(struct ring3_simple_disk) == SIMPLE_DISK_BYTES, "the page is a page");

struct simple_disk {
    struct device dev;
    struct simple_slot slot;
    struct memory *memory;
    struct log *log;
    struct log_limit wrong;
    struct block *block;
    struct block_request request;
    struct iovec iov;
    gpa_t into;                          /* of a read in flight */
    bool in_flight;
    uint32_t status;                     /* state */
};

static struct simple_disk *to_disk(struct device *dev)
{
    return container_of(dev, struct simple_disk, dev);
}

static void put_status(struct simple_disk *d, uint32_t status)
{
    uint8_t field[4];

    d->status = status;
    put_le32(field, status);
    memory_write(d->memory, gpa(d->slot.base + offsetof(struct ring3_simple_disk, status)), field,
                 sizeof field);
}

static void put_size(struct simple_disk *d)
{
    struct block_info info;
    uint8_t field[8];

    block_info(d->block, &info);
    put_le64(field, info.bytes / SECTOR_BYTES);
    memory_write(d->memory, gpa(d->slot.base + offsetof(struct ring3_simple_disk, sectors)),
                 field, sizeof field);
}

static void finish(struct simple_disk *d, uint32_t status)
{
    if (status != RING3_HC_OK)
        log_guest(d->log, &d->wrong, "%s: a command ends with error %u", d->dev.name, status);
    put_status(d, status);
    irq_line_pulse(&d->slot.irq);
}

static void done(struct block_request *r, int rc)
{
    struct simple_disk *d = r->opaque;

    d->in_flight = false;
    if (!rc && r->op == BLOCK_READ)
        memory_written(d->memory, d->into, r->bytes);
    finish(d, rc == 0 ? RING3_HC_OK : rc == -EROFS ? RING3_HC_EROFS : RING3_HC_EIO);
}

static void submit(struct simple_disk *d, enum block_op op, uint64_t sector)
{
    d->request = (struct block_request){
        .op = op, .offset = sector * SECTOR_BYTES, .bytes = d->iov.iov_len, .iov = &d->iov,
        .iovs = op == BLOCK_FLUSH ? 0 : 1, .done = done, .opaque = d,
    };
    d->in_flight = true;
    put_status(d, RING3_SIMPLE_DISK_BUSY);
    block_submit(d->block, &d->request);
}

static uint32_t transfer(struct simple_disk *d, bool write)
{
    struct ring3_simple_disk c;
    struct block_info info;
    uint64_t bytes;
    gpa_t at;
    hva_t host;

    if (memory_read(d->memory, gpa(d->slot.base), &c, COMMAND_BYTES) != 0)
        return RING3_HC_EFAULT;
    block_info(d->block, &info);
    if (!c.count || c.count > RING3_SIMPLE_DISK_COUNT_MAX ||
        (!c.address && c.count > sizeof c.data / SECTOR_BYTES) ||
        !range_inside(c.sector, c.count, info.bytes / SECTOR_BYTES))
        return RING3_HC_EINVAL;
    if (write && info.readonly)
        return RING3_HC_EROFS;
    bytes = (uint64_t)c.count * SECTOR_BYTES;
    at = gpa(c.address ? c.address : d->slot.base + offsetof(struct ring3_simple_disk, data));
    host = memory_host(d->memory, at, bytes, !write);
    if (!host.p)
        return RING3_HC_EFAULT;
    d->into = at;
    d->iov = (struct iovec){host.p, bytes};
    submit(d, write ? BLOCK_WRITE : BLOCK_READ, c.sector);
    return RING3_HC_OK;
}

static uint32_t disk_read(void *opaque)
{
    return ((struct simple_disk *)opaque)->status;
}

static void disk_write(void *opaque, uint32_t value)
{
    struct simple_disk *d = opaque;
    uint32_t wrong = RING3_HC_OK;

    if (d->in_flight)
        return;
    switch (value) {
    case RING3_SIMPLE_DISK_READ:
    case RING3_SIMPLE_DISK_WRITE:
        wrong = transfer(d, value == RING3_SIMPLE_DISK_WRITE);
        break;
    case RING3_SIMPLE_DISK_FLUSH:
        d->iov = (struct iovec){NULL, 0};
        submit(d, BLOCK_FLUSH, 0);
        break;
    default:
        wrong = RING3_HC_ENOSYS;
    }
    if (wrong != RING3_HC_OK)
        finish(d, wrong);
}

/* A command in flight ends before that. */
static void disk_quiesce(struct device *dev)
{
    block_drain(to_disk(dev)->block);
}

static void disk_reset(struct device *dev)
{
    struct simple_disk *d = to_disk(dev);

    disk_quiesce(dev);
    put_status(d, 0);
    irq_line_set(&d->slot.irq, false);
}

/* The machine clears device memory after the reset: what is to be found there is put by
 * resume. */
static void disk_resume(struct device *dev)
{
    struct simple_disk *d = to_disk(dev);

    put_size(d);
    put_status(d, d->status);
    irq_line_set(&d->slot.irq, false);
}

static const struct state_field fields[] = {STATE_U32(struct simple_disk, status), STATE_END};
static const struct state_desc desc = {"simple_disk", 1, fields};

static const struct state_desc *disk_describe(struct device *dev, void **state)
{
    *state = to_disk(dev);
    return &desc;
}

static void disk_destroy(struct device *dev)
{
    struct simple_disk *d = to_disk(dev);
    struct error *err = NULL;

    if (block_close(d->block, &err) < 0) {
        char *text = error_text(err);

        log_warn(d->log, "%s: %s", d->dev.name, text);
        free(text);
        error_free(&err);
    }
    free(d);
}

static const struct device_ops disk_ops = {
    .type = "simple_disk",
    .reset = disk_reset,
    .quiesce = disk_quiesce,
    .resume = disk_resume,
    .describe = disk_describe,
    .destroy = disk_destroy,
};

struct device *simple_disk_new(const struct device_env *env, const struct simple_slot *slot,
                               struct block *block, struct error **err)
{
    struct simple_disk *d = calloc(1, sizeof *d);

    if (!d) {
        error_set(err, ENOMEM, "no memory for the disk");
        return NULL;
    }
    device_init(&d->dev, &disk_ops, slot->name);
    d->slot = *slot;
    d->memory = env->memory;
    d->log = env->log;
    d->block = block;
    put_size(d);
    *slot->port = (struct simple_port){disk_read, disk_write, d};
    return &d->dev;
}
