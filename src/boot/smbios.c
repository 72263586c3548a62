/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smbios.c - structures of DSP0134 2.8, chapter 7; the anchor of 5.2.1.
 *
 * A structure is a fixed part with its length, then strings, each ended by a zero, then one
 * more zero. Offsets are written as the specification prints them.
 */
#include "boot/smbios.h"

#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"

enum { SYSTEM = 1, CHASSIS = 3, PROCESSOR = 4, MEMORY_ARRAY = 16, MEMORY_DEVICE = 17,
       MAPPED_ADDRESS = 19, BOOT_INFORMATION = 32, END = 127 };
enum { HANDLE_ARRAY = 0x1000, UNKNOWN = 2, SAFE = 3, NO_ERROR_HANDLE = 0xfffe };

struct tables {
    uint8_t *p;
    size_t used, largest, open;      /* open: where the structure starts */
    unsigned count;
};

static uint8_t *take(struct tables *t, size_t bytes)
{
    uint8_t *p = t->p + t->used;

    BUG_ON(t->used + bytes > SMBIOS_TABLES_MAX);
    memset(p, 0, bytes);
    t->used += bytes;
    return p;
}

/* `strings` holds them one after the other, ended by an empty one. */
static uint8_t *add(struct tables *t, uint8_t type, uint8_t len, uint16_t handle,
                    const char *strings, size_t strings_bytes)
{
    size_t start = t->used;
    uint8_t *p = take(t, len), *s = take(t, strings_bytes > 1 ? strings_bytes : 2);

    memcpy(s, strings, strings_bytes);
    p[0] = type;
    p[1] = len;
    put_le16(p + 2, handle);
    t->count++;
    if (t->used - start > t->largest)
        t->largest = t->used - start;
    return p;
}

#define ADD(t, type, len, handle, text) add(t, type, len, handle, text, sizeof text)

static void add_system(struct tables *t, const uint8_t uuid[16])
{
    uint8_t *p = ADD(t, SYSTEM, 27, 0x100, "ring3\0ring3 PC\0001.0\0");

    p[4] = 1;
    p[5] = 2;
    p[6] = 3;
    memcpy(p + 8, uuid, 16);
    p[24] = 6;                       /* woken by the power switch */
    p = ADD(t, CHASSIS, 21, 0x300, "ring3\0");
    p[4] = 1;
    p[5] = 1;                        /* other */
    p[9] = p[10] = p[11] = p[12] = SAFE;
}

static void add_processor(struct tables *t, unsigned cpus)
{
    uint8_t *p = ADD(t, PROCESSOR, 42, 0x400, "CPU 0\0ring3\0");
    uint8_t cores = (uint8_t)min_u64(cpus, 255);

    p[4] = 1;
    p[5] = 3;                        /* central processor */
    p[6] = 1;                        /* family: other */
    p[7] = 2;
    put_le16(p + 20, 2000);          /* MHz, at most and now */
    put_le16(p + 22, 2000);
    p[24] = 0x41;                    /* populated, enabled */
    p[25] = 1;
    put_le16(p + 26, 0xffff);        /* no caches are described */
    put_le16(p + 28, 0xffff);
    put_le16(p + 30, 0xffff);
    p[35] = p[36] = p[37] = cores;
    put_le16(p + 38, 4);             /* 64-bit capable */
    put_le16(p + 40, 1);
}

static void add_memory(struct tables *t, const struct smbios_config *cfg)
{
    uint64_t kib = cfg->memory_bytes >> 10, mib = cfg->memory_bytes >> 20;
    uint8_t *p = ADD(t, MEMORY_ARRAY, 23, HANDLE_ARRAY, "");

    p[4] = 1;
    p[5] = SAFE;                     /* use: system memory */
    p[6] = 6;                        /* multi-bit ECC */
    put_le32(p + 7, kib < 0x80000000u ? (uint32_t)kib : 0x80000000u);
    put_le16(p + 11, NO_ERROR_HANDLE);
    put_le16(p + 13, 1);
    if (kib >= 0x80000000u)
        put_le64(p + 15, cfg->memory_bytes);
    p = ADD(t, MEMORY_DEVICE, 40, 0x1100, "DIMM 0\0ring3\0");
    put_le16(p + 4, HANDLE_ARRAY);
    put_le16(p + 6, NO_ERROR_HANDLE);
    put_le16(p + 8, 0xffff);
    put_le16(p + 10, 0xffff);
    put_le16(p + 12, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
    if (mib >= 0x7fff)
        put_le32(p + 28, (uint32_t)min_u64(mib, 0x7fffffff));
    p[14] = 9;                       /* DIMM */
    p[16] = 1;
    p[18] = 7;                       /* RAM */
    p[19] = UNKNOWN;
    p[23] = 2;
    for (unsigned i = 0; i < cfg->rams; i++) {
        uint64_t end = cfg->ram[i].base + cfg->ram[i].size;

        p = ADD(t, MAPPED_ADDRESS, 31, (uint16_t)(0x1300 + i), "");
        if (end >> 10 < UINT32_MAX) {
            put_le32(p + 4, (uint32_t)(cfg->ram[i].base >> 10));
            put_le32(p + 8, (uint32_t)((end >> 10) - 1));
        } else {
            put_le32(p + 4, UINT32_MAX);
            put_le32(p + 8, UINT32_MAX);
            put_le64(p + 15, cfg->ram[i].base);
            put_le64(p + 23, end - 1);
        }
        put_le16(p + 12, HANDLE_ARRAY);
        p[14] = 1;
    }
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    while (len--)
        sum = (uint8_t)(sum + *p++);
    return (uint8_t)-sum;
}

size_t smbios_build(const struct smbios_config *cfg, uint8_t anchor[SMBIOS_ANCHOR_BYTES],
                    uint8_t tables[SMBIOS_TABLES_MAX])
{
    struct tables t = {.p = tables};

    add_system(&t, cfg->uuid);
    add_processor(&t, cfg->cpus);
    add_memory(&t, cfg);
    ADD(&t, BOOT_INFORMATION, 11, 0x2000, "");
    ADD(&t, END, 4, 0x7f00, "");

    memset(anchor, 0, SMBIOS_ANCHOR_BYTES);
    memcpy(anchor, "_SM_", 4);
    anchor[5] = SMBIOS_ANCHOR_BYTES;
    anchor[6] = 2;
    anchor[7] = 8;
    put_le16(anchor + 8, (uint16_t)t.largest);
    memcpy(anchor + 16, "_DMI_", 5);
    put_le16(anchor + 22, (uint16_t)t.used);
    put_le16(anchor + 28, (uint16_t)t.count);
    anchor[30] = 0x28;
    anchor[21] = checksum(anchor + 16, 15);
    anchor[4] = checksum(anchor, SMBIOS_ANCHOR_BYTES);
    return t.used;
}
