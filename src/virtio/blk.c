/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blk.c - block device (virtio 1.2, 5.2).
 *
 * A request is a chain: header (16 bytes to read), data, status (the last byte to be
 * written). How it is cut into descriptors is the driver's business, so header and
 * status are taken off the iovecs here, and what is left goes to the image as it is.
 * Requests live in a free list and carry their chain; there are never more of them than
 * queue entries.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "memory/memory.h"

enum { QUEUE_SIZE = 256, SEGMENTS_MAX = 126, CHAIN_ROOM = SEGMENTS_MAX + 6, SECTOR_BYTES = 512,
       HEADER_BYTES = 16, RANGE_BYTES = 16, CONFIG_BYTES = 60 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { F_SEG_MAX = 1 << 2, F_RO = 1 << 5, F_BLK_SIZE = 1 << 6, F_FLUSH = 1 << 9,
       F_TOPOLOGY = 1 << 10, F_CONFIG_WCE = 1 << 11, F_MQ = 1 << 12, F_DISCARD = 1 << 13,
       F_WRITE_ZEROES = 1 << 14 };
/* From so many requests in flight on, no notifications are asked for: completions look
 * into the queues. */
enum { BUSY = 8 };
enum { CONFIG_WCE = 32, RANGE_UNMAP = 1, RANGE_SECTORS_MAX = 1 << 22 };

struct blk_state {
    uint8_t write_cache;             /* writeback as the driver sees and sets it */
};

struct virtio_blk {
    struct virtio_device vd;
    struct blk_state state;
    struct block *block;
    struct block_io *io;
    struct block_info info;
    bool write_back;
    void (*failed)(void *opaque, const char *name, int error);
    void *opaque;
    struct request *spare, *waiting;         /* waiting: failed, to be tried again */
    unsigned waits, in_flight;
    bool serving;
    uint8_t config[CONFIG_BYTES];
    char serial[VIRTIO_BLK_SERIAL_BYTES];
};

struct request {
    struct block_request r;
    struct virtio_blk *blk;
    struct virtio_queue *queue;
    struct virtio_chain *chain;
    struct iovec *cut;                       /* the iovec that lost its last byte */
    uint8_t *status;
    uint32_t written;
    struct request *next;
};

static struct virtio_blk *to_blk(const struct virtio_device *vd)
{
    return container_of(vd, struct virtio_blk, vd);
}

/* ---- requests ------------------------------------------------------------ */

static struct request *request_get(struct virtio_blk *b)
{
    struct request *r = b->spare;

    if (r) {
        b->spare = r->next;
        return r;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->blk = b;
    r->chain = virtio_chain_new(CHAIN_ROOM);
    return r;
}

static void request_put(struct request *r)
{
    r->next = r->blk->spare;
    r->blk->spare = r;
}

static void serve_quiet(struct virtio_blk *b);

static void finish(struct request *r, uint8_t status)
{
    struct virtio_queue *q = r->queue;

    if (q->live && virtio_live(&r->blk->vd)) {
        *r->status = status;
        r->cut->iov_len++;
        virtio_queue_push(q, r->chain, status == S_OK ? r->written + 1 : 1);
        if (status != S_OK || r->written + 1 != r->chain->in_bytes)
            memory_written(r->blk->vd.memory,
                           gpa(r->chain->at[r->chain->outs + r->chain->ins - 1] +
                               r->cut->iov_len - 1), 1);
        virtio_queue_signal(q);
    }
    request_put(r);
}

static void done(struct block_request *br, int rc)
{
    struct request *r = br->opaque;
    struct virtio_blk *b = r->blk;

    b->in_flight--;
    if (rc == -ENOTSUP && br->op == BLOCK_DISCARD)
        rc = 0;
    if (!rc || !b->failed || rc == -EINVAL || rc == -EROFS) {
        finish(r, rc == 0 ? S_OK : rc == -ENOTSUP ? S_UNSUPP : S_IOERR);
        serve_quiet(b);
        return;
    }
    r->next = b->waiting;
    b->waiting = r;
    b->waits++;
    b->failed(b->opaque, b->vd.name, -rc);
}

static void submit(struct request *r, enum block_op op, uint64_t offset, uint64_t bytes,
                   const struct iovec *iov, unsigned iovs)
{
    const struct virtio_blk *b = r->blk;
    bool through = b->write_back && (!virtio_has(&b->vd, F_FLUSH) || !b->state.write_cache);

    r->r = (struct block_request){
        .op = op, .offset = offset, .bytes = bytes, .iov = iov, .iovs = iovs, .done = done,
        .opaque = r, .flags = through && (op == BLOCK_WRITE || op == BLOCK_WRITE_ZEROES)
                                  ? BLOCK_FUA : 0,
    };
    r->blk->in_flight++;
    block_submit(r->blk->block, &r->r);
}

/* Takes `bytes` off the front of an iovec list. */
static struct iovec *skip(struct iovec *iov, unsigned *n, size_t bytes)
{
    while (*n && bytes >= iov->iov_len) {
        bytes -= iov->iov_len;
        iov++;
        --*n;
    }
    if (*n && bytes) {
        iov->iov_base = (uint8_t *)iov->iov_base + bytes;
        iov->iov_len -= bytes;
    }
    return iov;
}

/* False: the range is not on the disk. */
static bool range_bytes(const struct virtio_blk *b, uint64_t sector, uint64_t bytes,
                        uint64_t *offset)
{
    uint64_t sectors = b->info.bytes / SECTOR_BYTES;

    *offset = sector * SECTOR_BYTES;
    return bytes % SECTOR_BYTES == 0 && range_inside(sector, bytes / SECTOR_BYTES, sectors);
}

static void transfer(struct request *r, bool write, uint64_t sector)
{
    struct virtio_chain *c = r->chain;
    struct virtio_blk *b = r->blk;
    unsigned n = write ? c->outs : c->ins;
    struct iovec *iov = write ? skip(c->iov, &n, HEADER_BYTES) : c->iov + c->outs;
    uint64_t bytes = write ? c->out_bytes - HEADER_BYTES : c->in_bytes - 1, offset;

    if (!write && !r->cut->iov_len)
        n--;                         /* the last iovec was the status alone */
    if (!range_bytes(b, sector, bytes, &offset) || (write && b->info.readonly)) {
        finish(r, S_IOERR);
        return;
    }
    r->written = write ? 0 : (uint32_t)bytes;
    if (bytes)
        submit(r, write ? BLOCK_WRITE : BLOCK_READ, offset, bytes, iov, n);
    else
        finish(r, S_OK);
}

/* 5.2.6.2: one range is what the configuration allows. */
static void range(struct request *r, enum block_op op)
{
    struct virtio_blk *b = r->blk;
    uint8_t raw[RANGE_BYTES];
    uint64_t bytes, offset;
    uint32_t flags;

    if (r->chain->out_bytes != HEADER_BYTES + RANGE_BYTES) {
        finish(r, S_UNSUPP);
        return;
    }
    virtio_chain_read(r->chain, HEADER_BYTES, raw, sizeof raw);
    bytes = (uint64_t)get_le32(raw + 8) * SECTOR_BYTES;
    flags = get_le32(raw + 12);
    if (flags & ~(uint32_t)RANGE_UNMAP || (op == BLOCK_DISCARD && flags)) {
        finish(r, S_UNSUPP);
        return;
    }
    if (!range_bytes(b, get_le64(raw), bytes, &offset) || b->info.readonly ||
        bytes > (uint64_t)RANGE_SECTORS_MAX * SECTOR_BYTES) {
        finish(r, S_IOERR);
        return;
    }
    if (!bytes) {
        finish(r, S_OK);
        return;
    }
    submit(r, op, offset, bytes, NULL, 0);
}

static void get_id(struct request *r)
{
    struct virtio_blk *b = r->blk;

    r->written = (uint32_t)virtio_chain_write(r->chain, 0, b->serial,
                                              min_u64(sizeof b->serial, r->chain->in_bytes - 1));
    finish(r, S_OK);
}

static void handle(struct request *r)
{
    struct virtio_chain *c = r->chain;
    uint8_t header[HEADER_BYTES];
    struct iovec *last = &c->iov[c->outs + c->ins - 1];

    if (c->out_bytes < HEADER_BYTES || !c->in_bytes) {
        virtio_break(&r->blk->vd, "a request without header or status");
        request_put(r);
        return;
    }
    virtio_chain_read(c, 0, header, sizeof header);
    last->iov_len--;
    r->cut = last;
    r->status = (uint8_t *)last->iov_base + last->iov_len;
    r->written = 0;
    switch (get_le32(header)) {
    case T_IN: transfer(r, false, get_le64(header + 8)); return;
    case T_OUT: transfer(r, true, get_le64(header + 8)); return;
    case T_FLUSH: submit(r, BLOCK_FLUSH, 0, 0, NULL, 0); return;
    case T_GET_ID: get_id(r); return;
    case T_DISCARD: range(r, BLOCK_DISCARD); return;
    case T_WRITE_ZEROES: range(r, BLOCK_WRITE_ZEROES); return;
    default: finish(r, S_UNSUPP); return;
    }
}

/* Everything that waits goes to the image in one batch. */
static void submit_all(struct virtio_blk *b, struct virtio_queue *q)
{
    struct request *r;

    block_plug(b->io);
    while ((r = request_get(b))) {
        r->queue = q;
        if (!virtio_queue_pop(q, r->chain)) {
            request_put(r);
            break;
        }
        handle(r);
    }
    block_unplug(b->io);
}

static void serve(struct virtio_blk *b, struct virtio_queue *q)
{
    b->serving = true;
    do {
        virtio_queue_kicks(q, false);
        submit_all(b, q);
    } while (b->in_flight < BUSY && virtio_queue_kicks(q, true));
    b->serving = false;
}

/* Queues whose notifications are off are looked into at every completion; what is
 * completed inside of serve() is seen by its loop. */
static void serve_quiet(struct virtio_blk *b)
{
    for (unsigned i = 0; !b->serving && i < b->vd.queues; i++)
        if (b->vd.queue[i].live && b->vd.queue[i].quiet)
            serve(b, &b->vd.queue[i]);
}

static void blk_notify(struct virtio_device *vd, struct virtio_queue *q)
{
    if (!to_blk(vd)->serving)
        serve(to_blk(vd), q);
}

void virtio_blk_retry(struct virtio_device *vd)
{
    struct virtio_blk *b = to_blk(vd);
    struct request *list;

    if (!virtio_blk_image(vd))
        return;
    virtio_enter(vd);
    list = b->waiting;
    b->waiting = NULL;
    b->waits = 0;
    while (list) {
        struct request *r = list;

        list = r->next;
        b->in_flight++;
        block_submit(b->block, &r->r);
    }
    serve_quiet(b);
    virtio_leave(vd);
}

/* ---- configuration ------------------------------------------------------- */

static void blk_config_read(struct virtio_device *vd, unsigned offset, void *buf, unsigned len)
{
    struct virtio_blk *b = to_blk(vd);

    b->config[CONFIG_WCE] = b->state.write_cache;
    memcpy(buf, b->config + offset, len);
}

static void blk_config_write(struct virtio_device *vd, unsigned offset, const void *buf,
                             unsigned len)
{
    struct virtio_blk *b = to_blk(vd);

    if (offset == CONFIG_WCE && len == 1 && virtio_has(vd, F_CONFIG_WCE) && b->write_back)
        b->state.write_cache = *(const uint8_t *)buf != 0;
}

static void fill_config(struct virtio_blk *b, unsigned queues)
{
    const struct block_info *i = &b->info;
    uint32_t unit = i->request_align > SECTOR_BYTES ? i->request_align : SECTOR_BYTES;
    uint32_t best = i->best_align > unit ? i->best_align : unit;
    uint8_t *c = b->config;

    put_le64(c, i->bytes / SECTOR_BYTES);
    put_le32(c + 12, SEGMENTS_MAX);
    put_le32(c + 20, unit);
    c[24] = best >= 4096 && unit <= 4096 ? (uint8_t)__builtin_ctz(4096 / unit) : 0;
    put_le16(c + 26, (uint16_t)min_u64(best / unit, UINT16_MAX));
    put_le32(c + 28, best / unit);
    put_le16(c + 34, (uint16_t)queues);
    put_le32(c + 36, (uint32_t)min_u64(i->max_discard_bytes / SECTOR_BYTES, RANGE_SECTORS_MAX));
    put_le32(c + 40, 1);
    put_le32(c + 44, (best > unit ? best : unit) / SECTOR_BYTES);
    put_le32(c + 48, RANGE_SECTORS_MAX);
    put_le32(c + 52, 1);
    c[56] = 1;
}

/* ---- the device ---------------------------------------------------------- */

static void blk_reset(struct virtio_device *vd)
{
    struct virtio_blk *b = to_blk(vd);

    block_drain(b->block);
    while (b->waiting) {
        struct request *r = b->waiting;

        b->waiting = r->next;
        request_put(r);
    }
    b->waits = 0;
    b->in_flight = 0;
    b->state.write_cache = b->write_back;
}

static void blk_quiesce(struct virtio_device *vd)
{
    block_drain(to_blk(vd)->block);
}

/* Notifications may have been off, or lost with whoever saved the state. */
static void blk_resume(struct virtio_device *vd)
{
    for (unsigned i = 0; i < vd->queues; i++)
        if (vd->queue[i].live)
            blk_notify(vd, &vd->queue[i]);
}

static void blk_describe(struct virtio_device *vd, struct strbuf *out)
{
    const struct virtio_blk *b = to_blk(vd);

    strbuf_addf(out, "  %llu bytes, %s%s, %u requests in flight, %u waiting after an error\n",
                (unsigned long long)b->info.bytes, b->info.format ? b->info.format : "raw",
                b->info.readonly ? ", read-only" : "", block_in_flight(b->block), b->waits);
}

static void blk_destroy(struct virtio_device *vd)
{
    struct virtio_blk *b = to_blk(vd);
    struct error *err = NULL;

    for (unsigned i = 0; i < vd->queues; i++)
        vd->queue[i].live = false;
    if (b->block && block_close(b->block, &err) < 0) {
        char *text = err ? error_text(err) : NULL;

        log_warn(vd->log, "%s: the image may lack its last writes: %s", vd->name,
                 text ? text : "no reason given");
        free(text);
        error_free(&err);
    }
    while (b->waiting) {
        struct request *r = b->waiting;

        b->waiting = r->next;
        request_put(r);
    }
    while (b->spare) {
        struct request *r = b->spare;

        b->spare = r->next;
        free(r->chain);
        free(r);
    }
    free(b);
}

static const struct state_field fields[] = {
    STATE_U8(struct blk_state, write_cache),
    STATE_END
};
static const struct state_desc desc = {"blk", 1, fields};

static const struct virtio_ops blk_ops = {
    .type = "virtio-blk",
    .id = VIRTIO_ID_BLOCK,
    .pci_class = 0x010000,
    .config_read = blk_config_read,
    .config_write = blk_config_write,
    .notify = blk_notify,
    .reset = blk_reset,
    .quiesce = blk_quiesce,
    .resume = blk_resume,
    .describe = blk_describe,
    .destroy = blk_destroy,
    .state = &desc,
    .state_offset = offsetof(struct virtio_blk, state),
};

struct block *virtio_blk_image(const struct virtio_device *vd)
{
    return vd->ops == &blk_ops ? to_blk(vd)->block : NULL;
}

static uint64_t features(const struct virtio_blk *b, const struct virtio_blk_config *cfg)
{
    uint64_t f = F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY | F_FLUSH | F_CONFIG_WCE;

    if (cfg->queues > 1)
        f |= F_MQ;
    if (b->info.readonly)
        return f | F_RO;
    if (cfg->discard && b->info.max_discard_bytes)
        f |= F_DISCARD;
    return f | F_WRITE_ZEROES;
}

struct virtio_device *virtio_blk_new(const struct device_env *env,
                                     const struct virtio_blk_config *cfg, struct error **err)
{
    struct virtio_blk *b = calloc(1, sizeof *b);
    const char *serial = cfg->serial ? cfg->serial : cfg->name;

    if (!b) {
        error_set(err, ENOMEM, "no memory for disk '%s'", cfg->name);
        block_close(cfg->block, NULL);
        return NULL;
    }
    b->block = cfg->block;
    b->io = cfg->io;
    b->write_back = cfg->write_back;
    b->failed = cfg->failed;
    b->opaque = cfg->opaque;
    b->state.write_cache = cfg->write_back;
    memcpy(b->serial, serial, min_u64(strlen(serial), sizeof b->serial));
    block_info(cfg->block, &b->info);
    fill_config(b, cfg->queues);
    virtio_device_init(&b->vd, &blk_ops, env, cfg->name, features(b, cfg), CONFIG_BYTES,
                       cfg->queues, QUEUE_SIZE);
    return &b->vd;
}
