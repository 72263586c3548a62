/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * atapi_info.c - what a CD-ROM drive tells of itself and of its disc (MMC-5, clause 6).
 *
 * Every answer is built whole in the channel's buffer and then cut to the room that the
 * guest has for it. The disc has one session with one data track; larger than a CD, it
 * passes for a DVD.
 */
#include "base/byteorder.h"
#include "device/ata_priv.h"

enum { PROFILE_CD = 0x0008, PROFILE_DVD = 0x0010, CD_SECTORS_MAX = 99 * 60 * 75, LEAD_OUT = 0xaa,
       DATA_TRACK = 0x14, MEDIA_CLASS = 4 };

static uint8_t *buffer_of(struct ata_drive *d)
{
    return d->channel->state.buffer;
}

static uint16_t profile(const struct ata_drive *d)
{
    if (!d->block || state_of(d)->open)
        return 0;
    return d->units > CD_SECTORS_MAX ? PROFILE_DVD : PROFILE_CD;
}

static void put_text(uint8_t *to, size_t bytes, const char *text)
{
    memset(to, ' ', bytes);
    memcpy(to, text, min_u64(strlen(text), bytes));
}

static uint32_t inquiry(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    uint8_t *b = buffer_of(d);

    *room = get_be16(p + 3);
    if (p[1] & 1)                    /* no vital product data */
        return 0;
    memset(b, 0, 36);
    b[0] = 5;                        /* CD-ROM */
    b[1] = 0x80;                     /* removable */
    b[3] = 0x21;                     /* ATAPI, response format 1 */
    b[4] = 31;
    put_text(b + 8, 8, "ring3");
    put_text(b + 16, 16, "CD-ROM");
    put_text(b + 32, 4, "1.0");
    return 36;
}

static uint32_t request_sense(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    struct ata_drive_state *s = state_of(d);
    uint8_t *b = buffer_of(d);

    *room = p[4];
    memset(b, 0, 18);
    b[0] = 0x70;
    b[7] = 10;
    if (s->attention && !s->sense) {
        s->attention = false;
        b[2] = 6;
        b[12] = 0x28;
        return 18;
    }
    b[2] = s->sense;
    b[12] = s->asc;
    b[13] = s->ascq;
    return 18;
}

static uint32_t read_capacity(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    uint8_t *b = buffer_of(d);

    *room = 8;
    put_be32(b, (uint32_t)min_u64(d->units ? d->units - 1 : 0, UINT32_MAX));
    put_be32(b + 4, CD_SECTOR_BYTES);
    return 8;
}

/* ---- table of contents ----------------------------------------------------- */

static void put_address(uint8_t *to, uint64_t sector, bool msf)
{
    uint64_t frame = sector + 150;

    put_be32(to, (uint32_t)sector);
    if (msf)
        put_be32(to, (uint32_t)(min_u64(frame / (75 * 60), 255) << 16 | frame / 75 % 60 << 8 |
                                frame % 75));
}

static uint32_t put_track(uint8_t *to, uint8_t track, uint64_t sector, bool msf)
{
    memset(to, 0, 8);
    to[1] = DATA_TRACK;
    to[2] = track;
    put_address(to + 4, sector, msf);
    return 8;
}

/* Format 2: what is in the lead-in, in minutes, seconds, frames. */
static uint32_t full_toc(struct ata_drive *d, uint8_t *b)
{
    static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 1};
    uint8_t *e = b + 4;

    for (unsigned i = 0; i < ARRAY_SIZE(points); i++, e += 11) {
        uint8_t where[4] = {0, 1, 0, 0};         /* A0, A1: the first and the last track */

        if (points[i] == 0xa2)
            put_address(where, d->units, true);
        else if (points[i] == 1)
            put_address(where, 0, true);
        memset(e, 0, 11);
        e[0] = 1;
        e[1] = DATA_TRACK;
        e[3] = points[i];
        memcpy(e + 8, where + 1, 3);
    }
    return (uint32_t)(e - b);
}

static uint32_t read_toc(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    unsigned format = p[2] & 15 ? p[2] & 15 : p[9] >> 6;
    bool msf = p[1] & 2;
    uint8_t *b = buffer_of(d);
    uint32_t n = 4;

    *room = get_be16(p + 7);
    switch (format) {
    case 0:
        if (p[6] > 1 && p[6] != LEAD_OUT)
            return 0;
        if (p[6] <= 1)
            n += put_track(b + n, 1, 0, msf);
        n += put_track(b + n, LEAD_OUT, d->units, msf);
        break;
    case 1:
        n += put_track(b + n, 1, 0, msf);
        break;
    case 2:
        n = full_toc(d, b);
        break;
    default:
        return 0;
    }
    put_be16(b, (uint16_t)(n - 2));
    b[2] = b[3] = 1;
    return n;
}

static uint32_t disc_information(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    uint8_t *b = buffer_of(d);

    *room = get_be16(p + 7);
    memset(b, 0, 34);
    put_be16(b, 32);
    b[2] = 0x0e;                     /* last session complete, disc finalized */
    b[3] = b[4] = b[5] = b[6] = 1;
    return 34;
}

/* The one track, and whatever is behind it. */
static uint32_t track_information(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    uint8_t *b = buffer_of(d);

    *room = get_be16(p + 7);
    memset(b, 0, 36);
    put_be16(b, 34);
    b[2] = b[3] = 1;                 /* track, session */
    b[5] = DATA_TRACK & 15;
    b[6] = 1;                        /* data mode 1 */
    put_be32(b + 24, (uint32_t)min_u64(d->units, UINT32_MAX));
    return 36;
}

/* ---- the drive ------------------------------------------------------------- */

struct feature {
    uint16_t number;
    uint8_t persistent, bytes, data[8];
};

static const struct feature features[] = {
    {0x0000, 1, 8, {PROFILE_DVD >> 8, PROFILE_DVD & 0xff, 0, 0, PROFILE_CD >> 8, PROFILE_CD & 0xff,
                    0, 0}},
    {0x0001, 1, 8, {0, 0, 0, 2 /* ATAPI */, 1, 0, 0, 0}},
    {0x0003, 1, 4, {0x29 /* tray, eject, lock */, 0, 0, 0}},
    {0x0010, 0, 8, {0, 0, CD_SECTOR_BYTES >> 8, 0, 0, 16, 1, 0}},
    {0x001e, 0, 4, {0}},
    {0x001f, 0, 4, {0}},
};

static bool is_current(const struct feature *f, uint16_t now)
{
    return f->persistent || (now && (f->number == 0x10 || (f->number == 0x1f) ==
                                                          (now == PROFILE_DVD)));
}

static uint32_t configuration(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    unsigned which = p[1] & 3, from = get_be16(p + 2);
    uint16_t now = profile(d);
    uint8_t *b = buffer_of(d);
    uint32_t n = 8;

    *room = get_be16(p + 7);
    memset(b, 0, 8);
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];
        bool current = is_current(f, now);

        if (f->number < from || (which == 1 && !current) || (which == 2 && f->number != from))
            continue;
        put_be16(b + n, f->number);
        b[n + 2] = (uint8_t)(f->persistent << 1 | current);
        b[n + 3] = f->bytes;
        memcpy(b + n + 4, f->data, f->bytes);
        if (!f->number) {
            b[n + 6] = now == PROFILE_DVD;
            b[n + 10] = now == PROFILE_CD;
        }
        n += 4u + f->bytes;
    }
    put_be32(b, n - 4);
    put_be16(b + 6, now);
    return n;
}

/* Polled only; of the classes there is the media one. */
static uint32_t event_status(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    struct ata_drive_state *s = state_of(d);
    uint8_t *b = buffer_of(d);

    *room = get_be16(p + 7);
    if (!(p[1] & 1))
        return 0;
    memset(b, 0, 8);
    b[3] = 1 << MEDIA_CLASS;
    if (!(p[4] & 1 << MEDIA_CLASS)) {
        b[1] = 2;
        b[2] = 0x80;                 /* no event */
        return 4;
    }
    b[1] = 6;
    b[2] = MEDIA_CLASS;
    b[4] = s->event;
    b[5] = (uint8_t)((d->block && !s->open ? 2 : 0) | s->open);
    if (*room > 4)
        s->event = 0;
    return 8;
}

static uint32_t mode_pages(const struct ata_drive *d, unsigned page, uint8_t *b)
{
    uint32_t n = 0;

    if (page == 0x01 || page == 0x3f) {          /* error recovery */
        memset(b + n, 0, 8);
        b[n] = 0x01;
        b[n + 1] = 6;
        b[n + 3] = 5;
        n += 8;
    }
    if (page == 0x2a || page == 0x3f) {          /* capabilities */
        memset(b + n, 0, 20);
        b[n] = 0x2a;
        b[n + 1] = 18;
        b[n + 2] = 0x3b;                         /* reads CD-R, CD-RW, DVD */
        b[n + 4] = 0x70;                         /* mode 2, sessions */
        b[n + 6] = (uint8_t)(0x29 | state_of(d)->locked << 1);
        put_be16(b + n + 8, 706);
        put_be16(b + n + 14, 706);
        n += 20;
    }
    return n;
}

static uint32_t mode_sense(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    bool six = p[0] == 0x1a;
    uint32_t head = six ? 4 : 8, n;
    uint8_t *b = buffer_of(d);

    *room = six ? p[4] : get_be16(p + 7);
    memset(b, 0, head);
    n = mode_pages(d, p[2] & 0x3f, b + head);
    if (!n || p[2] >> 6 == 3)        /* nothing can be saved */
        return 0;
    if (six)
        b[0] = (uint8_t)(head + n - 1);
    else
        put_be16(b, (uint16_t)(head + n - 2));
    b[six ? 1 : 2] = !d->block || state_of(d)->open ? 0x70 : 0x01;
    return head + n;
}

static uint32_t mechanism_status(struct ata_drive *d, const uint8_t *p, uint32_t *room)
{
    uint8_t *b = buffer_of(d);

    *room = get_be16(p + 8);
    memset(b, 0, 8);
    b[1] = state_of(d)->open ? 0x10 : 0;
    b[5] = 1;
    return 8;
}

uint32_t atapi_info(struct ata_drive *d, const uint8_t packet[PACKET_BYTES], uint32_t *room)
{
    switch (packet[0]) {
    case 0x03: return request_sense(d, packet, room);
    case 0x12: return inquiry(d, packet, room);
    case 0x25: return read_capacity(d, packet, room);
    case 0x43: return read_toc(d, packet, room);
    case 0x46: return configuration(d, packet, room);
    case 0x4a: return event_status(d, packet, room);
    case 0x51: return disc_information(d, packet, room);
    case 0x52: return track_information(d, packet, room);
    case 0xbd: return mechanism_status(d, packet, room);
    default: return mode_sense(d, packet, room);
    }
}
