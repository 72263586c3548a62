/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata_transfer.c - how data gets from image to guest and back.
 *
 * PIO reads fill the buffer with as much of the command as it holds, and the guest takes
 * it in DRQ blocks; PIO writes the other way round. DMA goes from image to guest memory
 * in rounds of as many pieces as the bus master hands out. A request that completes at
 * once calls back while it is being submitted; ata_step() therefore loops instead of
 * recursing.
 *
 * A state saved amid a request (one that failed and waits) says everything that is needed
 * to make the request again: ata_transfer_resume().
 */
#include "device/ata_priv.h"

#include <errno.h>

#include "memory/memory.h"

static struct ata_drive *owner(struct ata *c)
{
    return &c->drive[c->state.owner];
}

/* ---- the end --------------------------------------------------------------- */

/* Where it failed (ATA-7 volume 1, 6.x, "error outputs"). */
static void report_address(struct ata_drive *d)
{
    struct ata_drive_state *s = state_of(d);
    uint64_t unit = d->channel->state.unit;

    s->low[0] = (uint8_t)unit;
    s->mid[0] = (uint8_t)(unit >> 8);
    s->high[0] = (uint8_t)(unit >> 16);
    s->low[1] = (uint8_t)(unit >> 24);
    s->mid[1] = (uint8_t)(unit >> 32);
    s->high[1] = (uint8_t)(unit >> 40);
}

/* rc: 0, or why the image or the bus master did not do it. */
static void finish(struct ata *c, int rc, bool interrupt)
{
    struct ata_drive *d = owner(c);
    bool changes = c->state.write || c->state.phase == PHASE_FLUSHING;

    c->state.phase = PHASE_IDLE;
    if (d->kind == ATA_CDROM) {
        atapi_transfer_done(d, rc);
    } else if (rc == -EFAULT) {
        ata_fail(d, ERROR_ABRT);
    } else if (rc) {
        report_address(d);
        ata_fail(d, changes ? ERROR_ABRT : ERROR_UNC);
        if (changes)
            state_of(d)->status |= STATUS_DF;
    } else if (interrupt) {
        ata_done(d);
    } else {
        state_of(d)->status = STATUS_DRDY | STATUS_DSC;
    }
}

void ata_transfer_drop(struct ata *c)
{
    c->waiting = false;
    c->state.phase = c->in_flight ? PHASE_RESETTING : PHASE_IDLE;
}

/* ---- requests to the image ------------------------------------------------- */

static void submit(struct ata *c, enum block_op op, uint64_t bytes, const struct iovec *iov,
                   unsigned iovs)
{
    struct ata_drive *d = owner(c);
    bool through = c->state.fua || !state_of(d)->write_cache;

    if (!d->block) {                 /* a state from elsewhere, or the disc is gone */
        finish(c, -ENOMEDIUM, true);
        return;
    }
    c->request = (struct block_request){
        .op = op, .offset = op == BLOCK_FLUSH ? 0 : c->state.unit * unit_bytes(d),
        .bytes = bytes, .iov = iov, .iovs = iovs, .done = ata_request_done, .opaque = c,
        .flags = op == BLOCK_WRITE && d->write_back && through ? BLOCK_FUA : 0,
    };
    c->in_flight = true;
    block_submit(d->block, &c->request);
}

/* As much of the transfer as the buffer holds. */
static uint32_t buffer_share(const struct ata *c, const struct ata_drive *d)
{
    return (uint32_t)min_u64(c->state.left, BUFFER_BYTES / unit_bytes(d)) * unit_bytes(d);
}

static void submit_buffer(struct ata *c, enum ata_phase phase)
{
    c->state.phase = (uint8_t)phase;
    c->iov = (struct iovec){c->state.buffer, buffer_share(c, owner(c))};
    submit(c, phase == PHASE_READING ? BLOCK_READ : BLOCK_WRITE, c->iov.iov_len, &c->iov, 1);
}

void ata_flush(struct ata_drive *d)
{
    d->channel->state.owner = (uint8_t)d->unit;
    d->channel->state.phase = PHASE_FLUSHING;
    submit(d->channel, BLOCK_FLUSH, 0, NULL, 0);
}

/* ---- PIO ------------------------------------------------------------------- */

static void start_block(struct ata *c, bool interrupt)
{
    struct ata_state *s = &c->state;

    s->end = s->at + (uint32_t)min_u64(s->block_bytes, s->filled - s->at);
    s->phase = s->write ? PHASE_DATA_OUT : PHASE_DATA_IN;
    if (owner(c)->kind == ATA_CDROM)
        atapi_block_started(owner(c), s->end - s->at);
    if (interrupt)
        ata_raise(owner(c));
}

static void start_round(struct ata *c, bool interrupt)
{
    c->state.at = 0;
    c->state.filled = buffer_share(c, owner(c));
    start_block(c, interrupt);
}

void ata_block_passed(struct ata *c)
{
    struct ata_state *s = &c->state;

    if (s->phase == PHASE_PACKET)
        atapi_packet(owner(c));
    else if (s->at < s->filled)
        start_block(c, true);
    else if (s->write)
        submit_buffer(c, PHASE_WRITING);
    else if (s->media && s->left)
        submit_buffer(c, PHASE_READING);
    else
        finish(c, 0, false);         /* data-in commands end with the data (ATA-7, 9.5) */
}

/* What passed between buffer and image. */
static void buffer_done(struct ata *c)
{
    struct ata_state *s = &c->state;
    uint32_t units = (uint32_t)(c->request.bytes / unit_bytes(owner(c)));

    s->unit += units;
    s->left -= (uint32_t)min_u64(units, s->left);
    c->sectors_pio += units;
    if (s->phase == PHASE_READING) {
        s->at = 0;
        s->filled = (uint32_t)c->request.bytes;
        start_block(c, true);
    } else if (s->left) {
        start_round(c, true);
    } else {
        finish(c, 0, true);
    }
}

/* ---- DMA ------------------------------------------------------------------- */

static void pieces_written(struct ata *c)
{
    for (unsigned i = 0; i < c->pieces.count; i++)
        memory_written(c->memory, c->pieces.at[i], c->pieces.iov[i].iov_len);
}

static void dma_done(struct ata *c)
{
    struct ata_state *s = &c->state;
    uint32_t units = (uint32_t)(c->request.bytes / unit_bytes(owner(c)));

    if (!s->write)
        pieces_written(c);
    s->unit += units;
    s->left -= (uint32_t)min_u64(units, s->left);
    c->sectors_dma += units;
    s->phase = PHASE_DMA;
    if (c->master)
        c->master->advance(c->master->opaque);
}

static void dma_from_buffer(struct ata *c)
{
    struct ata_state *s = &c->state;

    for (unsigned i = 0; i < c->pieces.count; i++) {
        memcpy(c->pieces.iov[i].iov_base, s->buffer + s->at, c->pieces.iov[i].iov_len);
        s->at += (uint32_t)c->pieces.iov[i].iov_len;
    }
    pieces_written(c);
    c->master->advance(c->master->opaque);
}

/* False: nothing goes on for now. */
static bool dma_round(struct ata *c)
{
    struct ata_state *s = &c->state;
    unsigned unit = s->media ? unit_bytes(owner(c)) : 1;
    uint64_t bytes = s->media ? (uint64_t)s->left * unit : s->filled - s->at;
    int rc;

    if (!bytes) {
        finish(c, 0, true);
        return false;
    }
    rc = c->master ? c->master->gather(c->master->opaque, !s->write, bytes, unit, &c->pieces)
                   : -EAGAIN;
    if (rc == -EFAULT)
        finish(c, rc, true);
    if (rc)
        return false;
    if (!s->media) {
        dma_from_buffer(c);
        return true;
    }
    s->phase = PHASE_DMA_IO;
    submit(c, s->write ? BLOCK_WRITE : BLOCK_READ, c->pieces.bytes, c->pieces.iov,
           c->pieces.count);
    return s->phase == PHASE_DMA;
}

void ata_step(struct ata *c)
{
    if (c->stepping)
        return;
    c->stepping = true;
    while (c->state.phase == PHASE_DMA && !c->in_flight && dma_round(c))
        ;
    c->stepping = false;
}

void ata_dma_started(struct device *channel)
{
    ata_step(container_of(channel, struct ata, dev));
}

/* ---- requests come back ---------------------------------------------------- */

void ata_request_done(struct block_request *r, int rc)
{
    struct ata *c = r->opaque;
    struct ata_drive *d = owner(c);

    c->in_flight = false;
    if (c->state.phase == PHASE_RESETTING) {
        if (r->op == BLOCK_READ && r->iov == c->pieces.iov)
            pieces_written(c);
        c->state.phase = PHASE_IDLE;
        return;
    }
    if (rc && d->failed && rc != -EINVAL && rc != -EROFS) {
        c->waiting = true;
        d->failed(d->opaque, d->name, -rc);
        return;
    }
    if (rc || c->state.phase == PHASE_FLUSHING)
        finish(c, rc, true);
    else if (c->state.phase == PHASE_DMA_IO)
        dma_done(c);
    else
        buffer_done(c);
    ata_step(c);
}

/* ---- beginnings ------------------------------------------------------------ */

static void start(struct ata_drive *d, bool media)
{
    struct ata_state *s = &d->channel->state;

    s->owner = (uint8_t)d->unit;
    s->media = media;
    s->at = 0;
    state_of(d)->power = 0xff;
}

void ata_start_media(struct ata_drive *d, uint64_t unit, uint32_t units)
{
    struct ata *c = d->channel;
    struct ata_state *s = &c->state;

    start(d, true);
    s->unit = unit;
    s->left = units;
    if (s->dma) {
        s->phase = PHASE_DMA;
        ata_step(c);
    } else if (s->write) {
        start_round(c, false);
    } else {
        submit_buffer(c, PHASE_READING);
    }
}

void ata_start_buffer(struct ata_drive *d, uint32_t bytes)
{
    struct ata *c = d->channel;

    start(d, false);
    c->state.write = false;
    c->state.left = 0;
    c->state.filled = bytes;
    if (c->state.dma) {
        c->state.phase = PHASE_DMA;
        ata_step(c);
    } else {
        start_block(c, true);
    }
}

/* A state may come from anywhere: nothing in it is believed before it is looked at. */
static bool sane(const struct ata *c)
{
    const struct ata_state *s = &c->state;
    const struct ata_drive *d = &c->drive[s->owner];

    if (s->phase > PHASE_FLUSHING || d->kind == ATA_NONE || !s->block_bytes)
        return false;
    if (s->filled > BUFFER_BYTES || s->end > s->filled || s->at > s->end)
        return s->phase == PHASE_READING || s->phase == PHASE_FLUSHING;
    if (s->write && (d->readonly || !s->media))
        return false;
    if (s->media && !range_inside(s->unit, s->left, d->units))
        return false;
    switch (s->phase) {
    case PHASE_PACKET: return d->kind == ATA_CDROM && s->end == PACKET_BYTES;
    case PHASE_DATA_IN: return !s->write && s->at < s->end;
    case PHASE_DATA_OUT: return s->write && s->at < s->end && s->filled == buffer_share(c, d);
    case PHASE_READING: return !s->write && s->left;
    case PHASE_WRITING: return s->write && s->left;
    default: return true;
    }
}

void ata_transfer_resume(struct ata *c)
{
    struct ata_state *s = &c->state;

    s->owner &= 1;
    if (c->in_flight || c->waiting || s->phase == PHASE_IDLE)
        return;
    if (!sane(c)) {
        s->phase = PHASE_IDLE;
        return;
    }
    switch (s->phase) {
    case PHASE_READING:
    case PHASE_WRITING: submit_buffer(c, s->phase); break;
    case PHASE_FLUSHING: ata_flush(owner(c)); break;
    case PHASE_DMA_IO: s->phase = PHASE_DMA; break;
    default: break;
    }
}
