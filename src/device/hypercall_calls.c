/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hypercall_calls.c - the calls behind RING3_HC_PORT: a function and a row each.
 *
 * A function gets the shared page, all of which is memory, and gives a RING3_HC_ number.
 */
#include <errno.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/clock.h"
#include "block/block.h"
#include "bus/bus.h"
#include "device/hypercall_priv.h"
#include "memory/memory.h"
#include "ring3/hypercall.h"

enum { SECTOR_BYTES = 512, STATUS_MAX = 127 };

struct call {
    struct hypercalls *h;
    uint8_t *page;
    gpa_t at;
};

static void page_written(const struct call *c, uint64_t len)
{
    memory_written(c->h->memory, c->at, len);
}

/* ---- screen ----------------------------------------------------------------- */

static uint32_t put_cells(struct hypercalls *h, unsigned first, const uint8_t *cells,
                          unsigned count)
{
    bool shown;

    if (!h->config.screen)
        return RING3_HC_ENODEV;
    pthread_mutex_lock(h->lock);
    shown = h->config.screen(h->config.screen_opaque, first, cells, count);
    pthread_mutex_unlock(h->lock);
    return shown ? RING3_HC_OK : RING3_HC_ENODEV;
}

static uint32_t vga_put(struct call *c)
{
    struct ring3_hc_cell cell;
    uint8_t pair[2];

    memcpy(&cell, c->page, sizeof cell);
    if (cell.column >= HYPERCALL_COLUMNS || cell.row >= HYPERCALL_ROWS)
        return RING3_HC_EINVAL;
    pair[0] = cell.character;
    pair[1] = cell.attribute;
    return put_cells(c->h, cell.row * HYPERCALL_COLUMNS + cell.column, pair, 1);
}

static uint32_t vga_screen(struct call *c)
{
    return put_cells(c->h, 0, c->page, HYPERCALL_COLUMNS * HYPERCALL_ROWS);
}

/* ---- disk ------------------------------------------------------------------- */

static uint32_t guest_error(int rc)
{
    return rc == 0 ? RING3_HC_OK : rc == -EROFS ? RING3_HC_EROFS : RING3_HC_EIO;
}

static uint32_t disk_info(struct call *c)
{
    struct ring3_hc_disk_info out = {.sector_bytes = SECTOR_BYTES};
    struct block_info info;

    if (!c->h->config.disk)
        return RING3_HC_ENODEV;
    block_info(c->h->config.disk, &info);
    out.sectors = info.bytes / SECTOR_BYTES;
    out.read_only = info.readonly;
    memcpy(c->page, &out, sizeof out);
    page_written(c, sizeof out);
    return RING3_HC_OK;
}

/* `buf` is `count` sectors of host memory. */
static uint32_t transfer(struct hypercalls *h, bool write, uint64_t sector, void *buf,
                         uint32_t count)
{
    struct block *b = h->config.disk;
    struct block_info info;
    uint32_t result;

    if (!b)
        return RING3_HC_ENODEV;
    block_info(b, &info);
    if (!count || count > RING3_HC_RUN_MAX ||
        !range_inside(sector, count, info.bytes / SECTOR_BYTES))
        return RING3_HC_EINVAL;
    if (write && info.readonly)
        return RING3_HC_EROFS;
    pthread_mutex_lock(h->lock);
    result = guest_error(write ? block_write(b, sector * SECTOR_BYTES, buf, count * SECTOR_BYTES)
                               : block_read(b, sector * SECTOR_BYTES, buf, count * SECTOR_BYTES));
    pthread_mutex_unlock(h->lock);
    return result;
}

static uint32_t one_sector(struct call *c, bool write)
{
    uint64_t sector = get_le64(c->page);
    uint32_t result = transfer(c->h, write, sector, c->page + 8, 1);

    if (!write && result == RING3_HC_OK)
        page_written(c, 8 + SECTOR_BYTES);
    return result;
}

static uint32_t disk_write(struct call *c)
{
    return one_sector(c, true);
}

static uint32_t disk_read(struct call *c)
{
    return one_sector(c, false);
}

static uint32_t run(struct call *c, bool write)
{
    struct ring3_hc_run r;
    uint64_t bytes;
    gpa_t at;
    hva_t host;
    uint32_t result;

    memcpy(&r, c->page, sizeof r);
    bytes = (uint64_t)r.count * SECTOR_BYTES;
    at = r.address ? gpa(r.address) : gpa_add(c->at, RING3_HC_RUN_DATA);
    if (!r.count || r.count > (r.address ? RING3_HC_RUN_MAX : RING3_HC_RUN_IN_PAGE))
        return RING3_HC_EINVAL;
    host = memory_host(c->h->memory, at, bytes, !write);
    if (!host.p)
        return RING3_HC_EFAULT;
    result = transfer(c->h, write, r.sector, host.p, r.count);
    if (!write && result == RING3_HC_OK)
        memory_written(c->h->memory, at, bytes);
    return result;
}

static uint32_t disk_write_run(struct call *c)
{
    return run(c, true);
}

static uint32_t disk_read_run(struct call *c)
{
    return run(c, false);
}

static uint32_t disk_flush(struct call *c)
{
    uint32_t result;

    if (!c->h->config.disk)
        return RING3_HC_ENODEV;
    pthread_mutex_lock(c->h->lock);
    result = guest_error(block_flush(c->h->config.disk));
    pthread_mutex_unlock(c->h->lock);
    return result;
}

/* ---- the rest --------------------------------------------------------------- */

static uint32_t print(struct call *c)
{
    uint32_t len = get_le32(c->page);

    if (len > PAGE_SIZE - sizeof len)
        return RING3_HC_EINVAL;
    hypercall_print(c->h, c->page + sizeof len, len);
    return RING3_HC_OK;
}

static uint32_t tell_time(struct call *c)
{
    struct ring3_hc_time t = {.since_start_ns = clock_now_ns(c->h->clock)};

    t.since_1970_ns = c->h->config.base_ns + t.since_start_ns;
    memcpy(c->page, &t, sizeof t);
    page_written(c, sizeof t);
    return RING3_HC_OK;
}

static uint32_t exits(struct call *c)
{
    uint64_t count[HYPERCALL_EXITS];

    c->h->config.exits(c->h->config.machine, count);
    memcpy(c->page, count, sizeof count);
    page_written(c, sizeof count);
    return RING3_HC_OK;
}

static uint32_t end(struct call *c)
{
    uint32_t status = get_le32(c->page);

    if (status > STATUS_MAX)
        return RING3_HC_EINVAL;
    if (!c->h->power.request)
        return RING3_HC_ENODEV;
    pthread_mutex_lock(c->h->lock);
    if (status)
        c->h->power.request(c->h->power.opaque, POWER_DEBUG_EXIT, (int)(status << 1 | 1));
    else
        c->h->power.request(c->h->power.opaque, POWER_OFF, 0);
    pthread_mutex_unlock(c->h->lock);
    return RING3_HC_OK;
}

static uint32_t (*const calls[])(struct call *c) = {
    [RING3_HC_VGA_PUT] = vga_put,
    [RING3_HC_VGA_SCREEN] = vga_screen,
    [RING3_HC_DISK_INFO] = disk_info,
    [RING3_HC_DISK_WRITE] = disk_write,
    [RING3_HC_DISK_READ] = disk_read,
    [RING3_HC_DISK_WRITE_RUN] = disk_write_run,
    [RING3_HC_DISK_READ_RUN] = disk_read_run,
    [RING3_HC_DISK_FLUSH] = disk_flush,
    [RING3_HC_PRINT] = print,
    [RING3_HC_TIME] = tell_time,
    [RING3_HC_EXITS] = exits,
    [RING3_HC_EXIT] = end,
};

uint32_t hypercall_do(struct hypercalls *h, unsigned vcpu, uint32_t number)
{
    struct call c = {.h = h, .at = gpa(h->page)};
    uint32_t result;

    c.page = memory_host(h->memory, c.at, PAGE_SIZE, true).p;
    if (number >= ARRAY_SIZE(calls) || !calls[number])
        result = RING3_HC_ENOSYS;
    else if (!c.page)
        result = RING3_HC_EFAULT;
    else
        result = calls[number](&c);
    if (result != RING3_HC_OK)
        log_guest(h->log, &h->wrong, "vCPU %u: hypercall %u gives error %u", vcpu, number, result);
    return result;
}
