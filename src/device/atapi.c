/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * atapi.c - a CD-ROM drive: the PACKET protocol, reading, the door.
 *
 * ATA/ATAPI-7 volume 2, 9.8 (PACKET), and MMC-5. What fails leaves sense data behind,
 * which REQUEST SENSE fetches. A disc that was changed is announced twice, as drives do:
 * the next command that needs the disc fails with "the medium may have changed", and GET
 * EVENT STATUS NOTIFICATION has an event.
 */
#include "base/byteorder.h"
#include "device/ata_priv.h"

#include <errno.h>

enum { SENSE_NONE = 0, SENSE_NOT_READY = 2, SENSE_MEDIUM = 3, SENSE_ILLEGAL = 5,
       SENSE_ATTENTION = 6, SENSE_ABORTED = 11 };
enum { ASC_LBA = 0x21, ASC_OPCODE = 0x20, ASC_FIELD = 0x24, ASC_CHANGED = 0x28, ASC_READ = 0x11,
       ASC_NO_DISC = 0x3a, ASC_LOCKED = 0x53 };
enum { EVENT_EJECT_REQUEST = 1, EVENT_NEW_MEDIA = 2, EVENT_MEDIA_REMOVAL = 3 };
enum { C_DEVICE_RESET = 0x08, C_PACKET = 0xa0, C_IDENTIFY_PACKET = 0xa1, C_IDENTIFY = 0xec,
       C_SET_FEATURES = 0xef, C_READ_SECTORS = 0x20 };
enum { PACKET_DMA = 1 };

/* ---- ends ------------------------------------------------------------------ */

static void good(struct ata_drive *d)
{
    state_of(d)->count[0] = REASON_COD | REASON_IO;
    state_of(d)->sense = SENSE_NONE;
    state_of(d)->asc = state_of(d)->ascq = 0;
    ata_done(d);
}

void atapi_sense(struct ata_drive *d, uint8_t sense, uint8_t asc, uint8_t ascq)
{
    struct ata_drive_state *s = state_of(d);

    s->sense = sense;
    s->asc = asc;
    s->ascq = ascq;
    s->count[0] = REASON_COD | REASON_IO;
    ata_fail(d, (uint8_t)(sense << 4 | ERROR_ABRT));
}

void atapi_transfer_done(struct ata_drive *d, int rc)
{
    if (!rc)
        good(d);
    else if (rc == -EFAULT)
        atapi_sense(d, SENSE_ABORTED, 0, 0);
    else
        atapi_sense(d, SENSE_MEDIUM, ASC_READ, 0);
}

void atapi_block_started(struct ata_drive *d, uint32_t bytes)
{
    struct ata_drive_state *s = state_of(d);

    s->count[0] = REASON_IO;
    s->mid[0] = (uint8_t)bytes;
    s->high[0] = (uint8_t)(bytes >> 8);
}

void atapi_reply(struct ata_drive *d, uint32_t bytes, uint32_t room)
{
    uint32_t n = (uint32_t)min_u64(bytes, room);

    if (n)
        ata_start_buffer(d, n);
    else
        good(d);
}

/* ---- the door -------------------------------------------------------------- */

void atapi_door(struct ata_drive *d, enum atapi_door what)
{
    struct ata_drive_state *s = state_of(d);

    switch (what) {
    case DOOR_ASKED:
        s->event = EVENT_EJECT_REQUEST;
        break;
    case DOOR_OPENED:
        s->open = true;
        s->locked = false;
        s->event = EVENT_MEDIA_REMOVAL;
        break;
    case DOOR_CLOSED:
        s->open = false;
        s->attention = true;
        s->event = EVENT_NEW_MEDIA;
        break;
    }
}

/* False: the sense says why there is nothing to read from. */
static bool ready(struct ata_drive *d)
{
    struct ata_drive_state *s = state_of(d);

    if (s->attention) {
        s->attention = false;
        atapi_sense(d, SENSE_ATTENTION, ASC_CHANGED, 0);
    } else if (!d->block || s->open) {
        atapi_sense(d, SENSE_NOT_READY, ASC_NO_DISC, s->open ? 2 : 1);
    } else {
        return true;
    }
    return false;
}

static void test_unit_ready(struct ata_drive *d, const uint8_t *p)
{
    if (ready(d))
        good(d);
}

/* START STOP UNIT: LoEj and Start. The disc of a tray that the guest opened lies in it. */
static void start_stop(struct ata_drive *d, const uint8_t *p)
{
    struct ata_drive_state *s = state_of(d);
    bool load = p[4] & 1, door = p[4] & 2;

    if (door && !load && s->locked) {
        atapi_sense(d, SENSE_ILLEGAL, ASC_LOCKED, 2);
        return;
    }
    if (door && load == s->open)
        atapi_door(d, load && d->block ? DOOR_CLOSED : DOOR_OPENED);
    if (door && load)
        s->open = false;
    good(d);
}

static void prevent(struct ata_drive *d, const uint8_t *p)
{
    state_of(d)->locked = p[4] & 1;
    good(d);
}

/* ---- reading --------------------------------------------------------------- */

static void read_units(struct ata_drive *d, uint32_t from, uint32_t count)
{
    if (!ready(d))
        return;
    if (!range_inside(from, count, d->units)) {
        atapi_sense(d, SENSE_ILLEGAL, ASC_LBA, 0);
        return;
    }
    if (!count) {
        good(d);
        return;
    }
    d->channel->state.write = false;
    ata_start_media(d, from, count);
}

static void read_10(struct ata_drive *d, const uint8_t *p)
{
    read_units(d, get_be32(p + 2), get_be16(p + 7));
}

static void read_12(struct ata_drive *d, const uint8_t *p)
{
    read_units(d, get_be32(p + 2), get_be32(p + 6));
}

/* READ CD: the data of a sector; its header and correction codes are not in an image. */
static void read_cd(struct ata_drive *d, const uint8_t *p)
{
    uint32_t count = (uint32_t)p[6] << 16 | get_be16(p + 7);

    if (p[9] != 0x10 && p[9] != 0)
        atapi_sense(d, SENSE_ILLEGAL, ASC_FIELD, 0);
    else
        read_units(d, get_be32(p + 2), p[9] ? count : 0);
}

static void seek(struct ata_drive *d, const uint8_t *p)
{
    read_units(d, get_be32(p + 2), 0);
}

/* ---- the rest -------------------------------------------------------------- */

static void info(struct ata_drive *d, const uint8_t *p)
{
    uint32_t room = 0, bytes = atapi_info(d, p, &room);

    if (bytes)
        atapi_reply(d, bytes, room);
    else
        atapi_sense(d, SENSE_ILLEGAL, ASC_FIELD, 0);
}

static void info_of_disc(struct ata_drive *d, const uint8_t *p)
{
    if (ready(d))
        info(d, p);
}

static void no_effect(struct ata_drive *d, const uint8_t *p)
{
    good(d);
}

static void (*const packets[256])(struct ata_drive *d, const uint8_t *p) = {
    [0x00] = test_unit_ready, [0x03] = info /* REQUEST SENSE */, [0x12] = info /* INQUIRY */,
    [0x1b] = start_stop, [0x1e] = prevent, [0x25] = info_of_disc /* READ CAPACITY */,
    [0x28] = read_10, [0x2b] = seek, [0x43] = info_of_disc /* READ TOC */,
    [0x46] = info /* GET CONFIGURATION */, [0x4a] = info /* GET EVENT STATUS */,
    [0x51] = info_of_disc /* READ DISC INFORMATION */, [0x5a] = info /* MODE SENSE */,
    [0x52] = info_of_disc /* READ TRACK INFORMATION */,
    [0x1a] = info /* MODE SENSE (6) */, [0xa8] = read_12, [0xbb] = no_effect /* SET CD SPEED */,
    [0xbd] = info /* MECHANISM STATUS */, [0xbe] = read_cd,
};

void atapi_packet(struct ata_drive *d)
{
    struct ata *c = d->channel;
    uint8_t p[PACKET_BYTES];

    memcpy(p, c->state.buffer, sizeof p);
    c->state.phase = PHASE_IDLE;
    log_trace(c->log, DEVICE, "%s: packet %02x %02x %08x %02x %04x%s", d->name, p[0], p[1],
              get_be32(p + 2), p[6], get_be16(p + 7), c->state.dma ? ", DMA" : "");
    if (packets[p[0]]) {
        packets[p[0]](d, p);
        return;
    }
    log_guest(c->log, &c->limit, "%s: packet command 0x%02x is not for a CD-ROM", d->name, p[0]);
    atapi_sense(d, SENSE_ILLEGAL, ASC_OPCODE, 0);
}

static void packet(struct ata_drive *d)
{
    struct ata_drive_state *s = state_of(d);
    struct ata_state *c = &d->channel->state;
    uint32_t limit = (uint32_t)s->high[0] << 8 | s->mid[0];

    c->dma = s->features[0] & PACKET_DMA;
    if (c->dma && !ata_dma_possible(d)) {
        ata_fail(d, ERROR_ABRT);
        return;
    }
    /* 0 and odd ones are not for use (9.8): as much as there can be, the even one below. */
    c->block_bytes = limit < 2 ? 0xfffe : limit & 0xfffe;
    c->write = c->fua = c->media = false;
    c->owner = (uint8_t)d->unit;
    c->at = 0;
    c->end = c->filled = PACKET_BYTES;
    c->phase = PHASE_PACKET;
    s->count[0] = REASON_COD;
}

static void identify(struct ata_drive *d)
{
    struct ata_state *c = &d->channel->state;

    ata_identify(d, c->buffer);
    c->dma = false;
    c->block_bytes = SECTOR_BYTES;
    ata_start_buffer(d, SECTOR_BYTES);
}

bool atapi_command(struct ata_drive *d, uint8_t command)
{
    switch (command) {
    case C_PACKET:
        packet(d);
        return true;
    case C_IDENTIFY_PACKET:
        identify(d);
        return true;
    case C_IDENTIFY: case C_READ_SECTORS:        /* who asks learns what is here (9.12) */
        ata_signature(d);
        ata_fail(d, ERROR_ABRT);
        return true;
    case C_SET_FEATURES:
        if (ata_set_features(d))
            ata_done(d);
        else
            ata_fail(d, ERROR_ABRT);
        return true;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6:      /* power */
        ata_done(d);
        return true;
    case 0xe5:
        state_of(d)->count[0] = 0xff;
        ata_done(d);
        return true;
    default:
        return false;
    }
}
