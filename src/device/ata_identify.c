/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata_identify.c - the 256 words a drive describes itself with (ATA-7 volume 1, 6.17
 * and 6.18; words by their numbers there).
 */
#include "base/byteorder.h"
#include "device/ata_priv.h"

enum { CYLINDERS_MAX = 16383, HEADS = 16, SECTORS = 63 };

static void put(uint8_t *out, unsigned word, uint16_t v)
{
    put_le16(out + 2 * word, v);
}

/* Two characters a word, the first in the upper byte, padded with blanks. */
static void put_text(uint8_t *out, unsigned word, unsigned words, const char *text)
{
    size_t len = strlen(text);

    for (unsigned i = 0; i < words * 2; i++)
        out[2 * word + (i ^ 1)] = i < len ? (uint8_t)text[i] : ' ';
}

static void put_geometry(const struct ata_drive *d, uint8_t *out)
{
    const struct ata_drive_state *s = state_of(d);
    uint64_t cylinders = min_u64(d->units / (HEADS * SECTORS), CYLINDERS_MAX);
    uint32_t track = (uint32_t)s->heads * s->sectors;
    uint64_t now = track ? min_u64(d->units / track, UINT16_MAX) : 0;
    uint64_t lba28 = min_u64(d->units, 0xfffffff);

    put(out, 1, (uint16_t)cylinders);
    put(out, 3, HEADS);
    put(out, 6, SECTORS);
    put(out, 53, 7);
    put(out, 54, (uint16_t)now);
    put(out, 55, s->heads);
    put(out, 56, s->sectors);
    put_le32(out + 2 * 57, (uint32_t)(now * track));
    put_le32(out + 2 * 60, (uint32_t)lba28);
    put_le64(out + 2 * 100, d->units);
}

/* Words 63 and 88: modes there are, and the chosen one. */
static void put_modes(const struct ata_drive *d, uint8_t *out)
{
    uint8_t mode = state_of(d)->mode;

    for (unsigned i = 65; i <= 68; i++)
        put(out, i, 120);            /* cycle times, ns */
    put(out, 64, 3);                 /* PIO 3 and 4 */
    if (!ata_dma_possible(d))
        return;
    put(out, 63, 0x07 | (mode >> 3 == 4 ? 0x100 << (mode & 7) : 0));
    put(out, 88, 0x3f | (mode >> 3 == 8 ? 0x100 << (mode & 7) : 0));
}

static void identify_disk(const struct ata_drive *d, uint8_t *out)
{
    const struct ata_drive_state *s = state_of(d);
    enum { SMART = 1, POWER = 1 << 3, WRITE_CACHE = 1 << 5, LOOK_AHEAD = 1 << 6 };
    enum { LBA48 = 1 << 10, FLUSH = 1 << 12, FLUSH_EXT = 1 << 13, VALID = 1 << 14, FUA = 1 << 6 };

    put(out, 0, 0x0040);             /* fixed */
    put(out, 47, 0x8000 | MULTIPLE_MAX);
    put(out, 49, (uint16_t)(0x2a00 | (ata_dma_possible(d) ? 0x100 : 0)));   /* LBA, IORDY */
    put(out, 50, VALID);
    put(out, 51, 0x0200);
    put(out, 59, s->multiple ? (uint16_t)(0x100 | s->multiple) : 0);
    put(out, 80, 0xf0);              /* ATA-4 to ATA-7 */
    put(out, 82, (uint16_t)(SMART | POWER | LOOK_AHEAD | (d->write_back ? WRITE_CACHE : 0)));
    put(out, 83, VALID | FLUSH_EXT | FLUSH | LBA48);
    put(out, 84, VALID | FUA);
    put(out, 85, (uint16_t)((s->smart ? SMART : 0) | POWER | (s->look_ahead ? LOOK_AHEAD : 0) |
                            (s->write_cache ? WRITE_CACHE : 0)));
    put(out, 86, FLUSH_EXT | FLUSH | LBA48);
    put(out, 87, VALID | FUA);
    put(out, 93, (uint16_t)(d->unit ? 0x6b00 : 0x600b));   /* 80 wires */
    put_geometry(d, out);
}

static void identify_cdrom(const struct ata_drive *d, uint8_t *out)
{
    enum { PACKET = 1 << 4, DEVICE_RESET = 1 << 9, VALID = 1 << 14 };

    put(out, 0, 0x85c0);             /* ATAPI, CD-ROM, removable, DRQ in 50 us, 12 bytes */
    put(out, 49, (uint16_t)(0x0a00 | (ata_dma_possible(d) ? 0x100 : 0)));
    put(out, 53, 6);
    put(out, 80, 0xf0);
    put(out, 82, PACKET | DEVICE_RESET);
    put(out, 83, VALID);
    put(out, 84, VALID);
    put(out, 85, PACKET | DEVICE_RESET);
    put(out, 87, VALID);
    put(out, 93, (uint16_t)(d->unit ? 0x6b00 : 0x600b));
}

void ata_identify(const struct ata_drive *d, uint8_t out[SECTOR_BYTES])
{
    bool disk = d->kind == ATA_DISK;
    uint8_t sum = 0;

    memset(out, 0, SECTOR_BYTES);
    put_text(out, 10, 10, d->serial);
    put_text(out, 23, 4, "1.0");
    put_text(out, 27, 20, disk ? "ring3 disk" : "ring3 CD-ROM");
    put_modes(d, out);
    if (disk)
        identify_disk(d, out);
    else
        identify_cdrom(d, out);
    out[510] = 0xa5;                 /* word 255: signature and checksum */
    for (unsigned i = 0; i < SECTOR_BYTES - 1; i++)
        sum += out[i];
    out[511] = (uint8_t)-sum;
}
