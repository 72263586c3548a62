/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata_disk.c - the commands of a hard disk (ATA-7 volume 1, clause 6).
 *
 * A table row per opcode. Those that move data differ in six bits only. What a drive
 * without moving parts cannot do (seek, spin down) it says it did.
 */
#include "device/ata_priv.h"

enum { WRITES = 1, EXT = 2, DMA = 4, MULTIPLE = 8, FUA = 16, CHECK = 32 };

/* ---- addresses ------------------------------------------------------------- */

static uint32_t count_of(const struct ata_drive_state *s, bool ext)
{
    uint32_t n = ext ? (uint32_t)s->count[1] << 8 | s->count[0] : s->count[0];

    return n ? n : ext ? 65536 : 256;
}

/* False: cylinder, head, sector name nothing. */
static bool chs(const struct ata_drive_state *s, uint64_t *sector)
{
    uint32_t cylinder = (uint32_t)s->high[0] << 8 | s->mid[0], head = s->device & 15;

    if (!s->low[0] || s->low[0] > s->sectors || head >= s->heads)
        return false;
    *sector = ((uint64_t)cylinder * s->heads + head) * s->sectors + s->low[0] - 1;
    return true;
}

static bool address_of(const struct ata_drive_state *s, bool ext, uint64_t *sector)
{
    uint64_t low = (uint64_t)s->high[0] << 16 | (uint64_t)s->mid[0] << 8 | s->low[0];

    if (!(s->device & DEVICE_LBA))
        return !ext && chs(s, sector);
    *sector = ext ? (uint64_t)s->high[1] << 40 | (uint64_t)s->mid[1] << 32 |
                    (uint64_t)s->low[1] << 24 | low
                  : (uint64_t)(s->device & 15) << 24 | low;
    return true;
}

static void set_address(struct ata_drive *d, uint64_t sector, bool ext)
{
    struct ata_drive_state *s = state_of(d);

    s->low[0] = (uint8_t)sector;
    s->mid[0] = (uint8_t)(sector >> 8);
    s->high[0] = (uint8_t)(sector >> 16);
    s->low[1] = ext ? (uint8_t)(sector >> 24) : 0;
    s->mid[1] = ext ? (uint8_t)(sector >> 32) : 0;
    s->high[1] = ext ? (uint8_t)(sector >> 40) : 0;
    if (!ext)
        s->device = (uint8_t)((s->device & 0xf0) | (sector >> 24 & 15));
}

/* ---- data ------------------------------------------------------------------ */

static void transfer(struct ata_drive *d, unsigned how)
{
    struct ata_drive_state *s = state_of(d);
    struct ata_state *c = &d->channel->state;
    uint32_t count = count_of(s, how & EXT);
    uint64_t sector;

    if ((how & DMA && !ata_dma_possible(d)) || (how & MULTIPLE && !s->multiple) ||
        (how & WRITES && d->readonly)) {
        ata_fail(d, ERROR_ABRT);
        return;
    }
    if (!address_of(s, how & EXT, &sector) || !range_inside(sector, count, d->units)) {
        ata_fail(d, ERROR_IDNF);
        return;
    }
    if (how & CHECK) {               /* VERIFY: what is in an image can be read */
        ata_done(d);
        return;
    }
    c->write = how & WRITES;
    c->dma = how & DMA;
    c->fua = how & FUA;
    c->block_bytes = how & MULTIPLE ? s->multiple * SECTOR_BYTES : SECTOR_BYTES;
    ata_start_media(d, sector, count);
}

static void identify(struct ata_drive *d, unsigned how)
{
    struct ata *c = d->channel;

    ata_identify(d, c->state.buffer);
    c->state.dma = false;
    c->state.block_bytes = SECTOR_BYTES;
    ata_start_buffer(d, SECTOR_BYTES);
}

static void flush(struct ata_drive *d, unsigned how)
{
    d->channel->state.write = false;
    ata_flush(d);
}

static void native_max(struct ata_drive *d, unsigned how)
{
    uint64_t last = d->units - 1;

    if (!(state_of(d)->device & DEVICE_LBA)) {
        ata_fail(d, ERROR_ABRT);
        return;
    }
    set_address(d, how & EXT ? last : min_u64(last, 0xfffffff), how & EXT);
    ata_done(d);
}

/* ---- settings -------------------------------------------------------------- */

static void nothing(struct ata_drive *d, unsigned how)
{
    ata_done(d);
}

static void seek(struct ata_drive *d, unsigned how)
{
    uint64_t sector;

    if (address_of(state_of(d), false, &sector) && sector < d->units)
        ata_done(d);
    else
        ata_fail(d, ERROR_IDNF);
}

static void set_geometry(struct ata_drive *d, unsigned how)
{
    struct ata_drive_state *s = state_of(d);

    if (!s->count[0]) {
        ata_fail(d, ERROR_ABRT);
        return;
    }
    s->heads = (s->device & 15) + 1;
    s->sectors = s->count[0];
    ata_done(d);
}

/* Powers of two; 0 switches READ MULTIPLE off. */
static void set_multiple(struct ata_drive *d, unsigned how)
{
    uint8_t n = state_of(d)->count[0];

    if (n > MULTIPLE_MAX || n & (n - 1)) {
        ata_fail(d, ERROR_ABRT);
        return;
    }
    state_of(d)->multiple = n;
    ata_done(d);
}

static void check_power(struct ata_drive *d, unsigned how)
{
    state_of(d)->count[0] = state_of(d)->power;
    ata_done(d);
}

static void set_power(struct ata_drive *d, unsigned how)
{
    state_of(d)->power = (uint8_t)how;
    ata_done(d);
}

/* Mode numbers are 5 bits of kind and 3 of number (ATA-7 volume 1, table 44). */
static bool set_mode(struct ata_drive *d, uint8_t mode)
{
    switch (mode >> 3) {
    case 0: return (mode & 7) <= 1;                       /* PIO default */
    case 1: return (mode & 7) <= 4;                       /* PIO with flow control */
    case 4: if ((mode & 7) > 2) return false; break;      /* multiword DMA */
    case 8: if ((mode & 7) > 5) return false; break;      /* Ultra DMA */
    default: return false;
    }
    if (!ata_dma_possible(d))
        return false;
    state_of(d)->mode = mode;
    return true;
}

bool ata_set_features(struct ata_drive *d)
{
    struct ata_drive_state *s = state_of(d);

    switch (s->features[0]) {
    case 0x03: return set_mode(d, s->count[0]);
    case 0x02: s->write_cache = d->write_back; return d->kind == ATA_DISK;
    case 0x82: s->write_cache = false; return d->kind == ATA_DISK;
    case 0xaa: s->look_ahead = true; return d->kind == ATA_DISK;
    case 0x55: s->look_ahead = false; return d->kind == ATA_DISK;
    case 0x05: case 0x85:            /* advanced power management */
    case 0x42: case 0xc2:            /* acoustics */
    case 0x66: case 0xcc:            /* what a soft reset leaves alone */
        return true;
    default: return false;
    }
}

static void set_features(struct ata_drive *d, unsigned how)
{
    if (ata_set_features(d))
        ata_done(d);
    else
        ata_fail(d, ERROR_ABRT);
}

/* ---- SMART (6.51) ---------------------------------------------------------- */

enum { SMART_READ_DATA = 0xd0, SMART_READ_THRESHOLDS = 0xd1, SMART_AUTOSAVE = 0xd2,
       SMART_OFFLINE = 0xd4, SMART_ENABLE = 0xd8, SMART_DISABLE = 0xd9, SMART_STATUS = 0xda };

static void smart_data(struct ata_drive *d, bool thresholds)
{
    struct ata *c = d->channel;
    uint8_t *b = c->state.buffer, sum = 0;

    memset(b, 0, SECTOR_BYTES);
    b[0] = 1;                        /* revision; no attributes */
    if (!thresholds)
        b[362] = 2;                  /* off-line collection never needed */
    for (unsigned i = 0; i < SECTOR_BYTES - 1; i++)
        sum += b[i];
    b[SECTOR_BYTES - 1] = (uint8_t)-sum;
    c->state.dma = false;
    c->state.block_bytes = SECTOR_BYTES;
    ata_start_buffer(d, SECTOR_BYTES);
}

static void smart(struct ata_drive *d, unsigned how)
{
    struct ata_drive_state *s = state_of(d);
    uint8_t feature = s->features[0];

    if (s->mid[0] != 0x4f || s->high[0] != 0xc2 || (!s->smart && feature != SMART_ENABLE)) {
        ata_fail(d, ERROR_ABRT);
        return;
    }
    switch (feature) {
    case SMART_READ_DATA: smart_data(d, false); return;
    case SMART_READ_THRESHOLDS: smart_data(d, true); return;
    case SMART_ENABLE: case SMART_DISABLE: s->smart = feature == SMART_ENABLE; break;
    case SMART_AUTOSAVE: case SMART_OFFLINE: case SMART_STATUS: break;   /* registers say: fine */
    default: ata_fail(d, ERROR_ABRT); return;
    }
    ata_done(d);
}

/* ---- the table ------------------------------------------------------------- */

static const struct {
    void (*run)(struct ata_drive *d, unsigned how);
    uint8_t how;
} commands[256] = {
    [0x20] = {transfer, 0}, [0x21] = {transfer, 0}, [0x24] = {transfer, EXT},
    [0x25] = {transfer, EXT | DMA}, [0x29] = {transfer, EXT | MULTIPLE},
    [0x30] = {transfer, WRITES}, [0x31] = {transfer, WRITES}, [0x34] = {transfer, WRITES | EXT},
    [0x35] = {transfer, WRITES | EXT | DMA}, [0x39] = {transfer, WRITES | EXT | MULTIPLE},
    [0x3d] = {transfer, WRITES | EXT | DMA | FUA},
    [0xce] = {transfer, WRITES | EXT | MULTIPLE | FUA},
    [0x40] = {transfer, CHECK}, [0x41] = {transfer, CHECK}, [0x42] = {transfer, CHECK | EXT},
    [0xc4] = {transfer, MULTIPLE}, [0xc5] = {transfer, WRITES | MULTIPLE},
    [0xc8] = {transfer, DMA}, [0xc9] = {transfer, DMA}, [0xca] = {transfer, WRITES | DMA},
    [0xcb] = {transfer, WRITES | DMA},
    [0x27] = {native_max, EXT}, [0xf8] = {native_max, 0},
    [0x10 ... 0x1f] = {nothing, 0} /* RECALIBRATE */, [0x70 ... 0x7f] = {seek, 0},
    [0x91] = {set_geometry, 0}, [0xc6] = {set_multiple, 0}, [0xef] = {set_features, 0},
    [0xe7] = {flush, 0}, [0xea] = {flush, EXT}, [0xec] = {identify, 0}, [0xb0] = {smart, 0},
    [0x94] = {set_power, 0x00}, [0xe0] = {set_power, 0x00} /* STANDBY IMMEDIATE */,
    [0x95] = {set_power, 0x80}, [0xe1] = {set_power, 0x80} /* IDLE IMMEDIATE */,
    [0x96] = {set_power, 0x00}, [0xe2] = {set_power, 0x00} /* STANDBY */,
    [0x97] = {set_power, 0x80}, [0xe3] = {set_power, 0x80} /* IDLE */,
    [0x99] = {set_power, 0x00}, [0xe6] = {set_power, 0x00} /* SLEEP */,
    [0x98] = {check_power, 0}, [0xe5] = {check_power, 0},
};

bool ata_disk_command(struct ata_drive *d, uint8_t command)
{
    if (!commands[command].run)
        return false;
    commands[command].run(d, commands[command].how);
    return true;
}
