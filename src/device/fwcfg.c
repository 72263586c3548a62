/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fwcfg.c - selector, data port and DMA of QEMU's firmware configuration device (QEMU,
 * docs/specs/fw_cfg).
 *
 * A DMA request is three big-endian fields in guest memory: control, length, address. It is
 * done within the write that starts it; the control word is 0 then, or says that something
 * was wrong with it. A guest may ask for 4 GiB of zeros at an address that is no memory:
 * nothing is copied unless all of it is.
 */
#include "device/fwcfg.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"
#include "memory/memory.h"

enum { PORTS = 12, PORT_DATA = 1, PORT_DMA_HIGH = 4, PORT_DMA_LOW = 8 };
enum { ID_TRADITIONAL = 1, ID_DMA = 2 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16,
       DMA_REQUEST_BYTES = 16 };
enum { ENTRY_BYTES = 64, ENTRY_NAME = 8 };
#define DMA_SIGNATURE 0x51454d5520434647ull      /* "QEMU CFG" */

struct fwcfg_state {
    uint16_t selector;
    uint32_t offset;             /* stops at its maximum: no item is that long */
    uint64_t dma_address;
};

struct fwcfg_item {
    char name[FWCFG_NAME_BYTES];
    uint8_t *data;
    size_t len;
    void (*prepare)(void *opaque, struct device *dev);
    void *opaque;
};

struct fwcfg {
    struct device dev;
    struct fwcfg_state state;
    struct memory *memory;
    struct log *log;
    struct log_limit limit;
    struct {
        uint16_t key;
        uint8_t value[8];
        unsigned bytes;
    } number[FWCFG_NUMBERS_MAX];
    unsigned numbers;
    struct fwcfg_item file[FWCFG_FILES_MAX];
    unsigned files;
    uint8_t directory[4 + FWCFG_FILES_MAX * ENTRY_BYTES];
    struct bus_claims claims;
};

static struct fwcfg *to_fwcfg(struct device *dev)
{
    return container_of(dev, struct fwcfg, dev);
}

/* ---- items ------------------------------------------------------------------ */

static struct fwcfg_item *find(struct fwcfg *f, const char *name)
{
    for (unsigned i = 0; i < f->files; i++)
        if (strcmp(f->file[i].name, name) == 0)
            return &f->file[i];
    return NULL;
}

/* What the selector stands for. */
static const uint8_t *selected(const struct fwcfg *f, size_t *len)
{
    unsigned key = f->state.selector;

    *len = 0;
    if (key == FWCFG_DIRECTORY) {
        *len = 4 + (size_t)f->files * ENTRY_BYTES;
        return f->directory;
    }
    if (key - FWCFG_FIRST_FILE < f->files) {
        *len = f->file[key - FWCFG_FIRST_FILE].len;
        return f->file[key - FWCFG_FIRST_FILE].data;
    }
    for (unsigned i = 0; i < f->numbers; i++) {
        if (f->number[i].key == key) {
            *len = f->number[i].bytes;
            return f->number[i].value;
        }
    }
    return NULL;
}

static void write_directory(struct fwcfg *f)
{
    put_be32(f->directory, f->files);
    for (unsigned i = 0; i < f->files; i++) {
        uint8_t *e = f->directory + 4 + i * ENTRY_BYTES;

        put_be32(e, (uint32_t)f->file[i].len);
        put_be16(e + 4, (uint16_t)(FWCFG_FIRST_FILE + i));
        memcpy(e + ENTRY_NAME, f->file[i].name, FWCFG_NAME_BYTES);
    }
}

static void select_item(struct fwcfg *f, uint16_t key)
{
    f->state.selector = key;
    f->state.offset = 0;
    for (unsigned i = 0; i < f->files; i++)
        if (f->file[i].prepare && (key == FWCFG_DIRECTORY || key == FWCFG_FIRST_FILE + i))
            f->file[i].prepare(f->file[i].opaque, &f->dev);
    if (key == FWCFG_DIRECTORY)
        write_directory(f);
}

static void advance(struct fwcfg *f, uint32_t bytes)
{
    f->state.offset += (uint32_t)min_u64(bytes, UINT32_MAX - f->state.offset);
}

static uint8_t next_byte(struct fwcfg *f)
{
    size_t len;
    const uint8_t *data = selected(f, &len);
    uint8_t value = f->state.offset < len ? data[f->state.offset] : 0;

    advance(f, 1);
    return value;
}

/* ---- DMA -------------------------------------------------------------------- */

/* All or nothing. */
static int read_into(struct fwcfg *f, gpa_t to, uint32_t len)
{
    size_t have;
    const uint8_t *data = selected(f, &have);
    size_t left = have > f->state.offset ? have - f->state.offset : 0;
    uint32_t copied = (uint32_t)min_u64(left, len);

    if (len > copied && memory_fill(f->memory, gpa_add(to, copied), 0, len - copied) < 0)
        return -EFAULT;
    return copied ? memory_write(f->memory, to, data + f->state.offset, copied) : 0;
}

static void dma_run(struct fwcfg *f, uint64_t at)
{
    uint8_t request[DMA_REQUEST_BYTES], done[4];
    uint32_t control, len;
    uint64_t address;
    bool failed = false;

    if (!f->memory || memory_read(f->memory, gpa(at), request, sizeof request) < 0) {
        log_guest(f->log, &f->limit, "fw_cfg: the DMA request at 0x%llx is not in memory",
                  (unsigned long long)at);
        return;
    }
    control = get_be32(request);
    len = get_be32(request + 4);
    address = get_be64(request + 8);
    if (control & DMA_SELECT)
        select_item(f, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        failed = len && (address + (len - 1) < address || read_into(f, gpa(address), len) < 0);
    else if (control & DMA_WRITE)
        failed = true;                     /* all items are read-only */
    if (control & (DMA_READ | DMA_WRITE | DMA_SKIP))
        advance(f, len);
    put_be32(done, failed ? DMA_ERROR : 0);
    memory_write(f->memory, gpa(at), done, sizeof done);
}

/* ---- ports ------------------------------------------------------------------- */

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fwcfg *f = opaque;

    if (offset == PORT_DATA && size == 1)
        return next_byte(f);
    if (f->memory && offset == PORT_DMA_HIGH && size == 4)
        return __builtin_bswap32((uint32_t)(DMA_SIGNATURE >> 32));
    if (f->memory && offset == PORT_DMA_LOW && size == 4)
        return __builtin_bswap32((uint32_t)DMA_SIGNATURE);
    return 0;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fwcfg *f = opaque;
    uint64_t at;

    if (offset == 0 && size == 2)
        select_item(f, (uint16_t)value);
    if (offset == PORT_DMA_HIGH && size == 4)
        f->state.dma_address = (uint64_t)__builtin_bswap32((uint32_t)value) << 32;
    if (offset == PORT_DMA_LOW && size == 4) {
        at = f->state.dma_address | __builtin_bswap32((uint32_t)value);
        f->state.dma_address = 0;
        dma_run(f, at);
    }
}

/* ---- life -------------------------------------------------------------------- */

static void fwcfg_reset(struct device *dev)
{
    to_fwcfg(dev)->state = (struct fwcfg_state){0};
}

static const struct state_field fields[] = {
    STATE_U16(struct fwcfg_state, selector),
    STATE_U32(struct fwcfg_state, offset),
    STATE_U64(struct fwcfg_state, dma_address),
    STATE_END
};
static const struct state_desc desc = {"fwcfg", 2, fields};

static const struct state_desc *fwcfg_describe(struct device *dev, void **state)
{
    *state = &to_fwcfg(dev)->state;
    return &desc;
}

static void fwcfg_destroy(struct device *dev)
{
    struct fwcfg *f = to_fwcfg(dev);

    bus_claims_release(&f->claims);
    for (unsigned i = 0; i < f->files; i++)
        free(f->file[i].data);
    free(f);
}

static const struct device_ops fwcfg_ops = {
    .type = "fwcfg",
    .reset = fwcfg_reset,
    .describe = fwcfg_describe,
    .destroy = fwcfg_destroy,
};

void fwcfg_number(struct device *dev, uint16_t key, unsigned bytes, uint64_t value)
{
    struct fwcfg *f = to_fwcfg(dev);

    BUG_ON(f->numbers == FWCFG_NUMBERS_MAX || !bytes || bytes > 8);
    f->number[f->numbers].key = key;
    f->number[f->numbers].bytes = bytes;
    put_le64(f->number[f->numbers++].value, value);
}

int fwcfg_file_prepared(struct device *dev, const char *name,
                        void (*prepare)(void *opaque, struct device *dev), void *opaque,
                        struct error **err)
{
    struct fwcfg *f = to_fwcfg(dev);

    if (!*name || strlen(name) >= FWCFG_NAME_BYTES)
        return error_set(err, EINVAL, "a fw_cfg file has a name of 1 to %d bytes, not '%s'",
                         FWCFG_NAME_BYTES - 1, name);
    if (find(f, name))
        return error_set(err, EEXIST, "there is a fw_cfg file '%s' already", name);
    if (f->files == FWCFG_FILES_MAX)
        return error_set(err, ENOSPC, "no more than %d fw_cfg files", FWCFG_FILES_MAX);
    struct fwcfg_item *item = &f->file[f->files++];
    memcpy(item->name, name, strlen(name));
    item->prepare = prepare;
    item->opaque = opaque;
    return 0;
}

void fwcfg_file_set(struct device *dev, const char *name, const void *data, size_t len)
{
    struct fwcfg_item *item = find(to_fwcfg(dev), name);

    BUG_ON(!item || len > UINT32_MAX);
    if (len != item->len) {
        item->data = realloc(item->data, len ? len : 1);
        BUG_ON(!item->data);
    }
    item->len = len;
    memcpy(item->data, data, len);
}

int fwcfg_file(struct device *dev, const char *name, const void *data, size_t len,
               struct error **err)
{
    int rc = fwcfg_file_prepared(dev, name, NULL, NULL, err);

    if (!rc)
        fwcfg_file_set(dev, name, data, len);
    return rc;
}

size_t fwcfg_file_size(struct device *dev, const char *name)
{
    const struct fwcfg_item *item = find(to_fwcfg(dev), name);

    return item ? item->len : 0;
}

const uint8_t *fwcfg_file_get(struct device *dev, const char *name, size_t *len)
{
    struct fwcfg_item *item = find(to_fwcfg(dev), name);

    if (item && item->prepare)
        item->prepare(item->opaque, dev);
    *len = item ? item->len : 0;
    return item ? item->data : NULL;
}

struct device *fwcfg_new(const struct device_env *env, const struct fwcfg_config *cfg,
                         struct error **err)
{
    const struct bus_region region = {"fwcfg", cfg->port, PORTS, port_read, port_write, NULL,
                                      4, 0};
    struct fwcfg *f = calloc(1, sizeof *f);

    if (!f) {
        error_set(err, ENOMEM, "no memory for the firmware configuration device");
        return NULL;
    }
    device_init(&f->dev, &fwcfg_ops, "fwcfg");
    f->memory = env->memory;
    f->log = env->log;
    fwcfg_number(&f->dev, FWCFG_SIGNATURE, 4, 0x554d4551 /* "QEMU" */);
    fwcfg_number(&f->dev, FWCFG_ID, 4, ID_TRADITIONAL | (f->memory ? ID_DMA : 0));
    if (bus_claims_add(&f->claims, env->bus, BUS_PIO, &region, 1, f, err)) {
        free(f);
        return NULL;
    }
    return &f->dev;
}
