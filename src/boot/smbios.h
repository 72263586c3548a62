/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smbios.h - the SMBIOS tables of a machine (DMTF DSP0134 2.8).
 *
 * System, chassis, one processor socket, memory, boot status. BIOS information (type 0) is
 * the firmware's own to add.
 */
#ifndef RING3_BOOT_SMBIOS_H
#define RING3_BOOT_SMBIOS_H

#include "base/types.h"

enum { SMBIOS_ANCHOR_BYTES = 31, SMBIOS_TABLES_MAX = 4096, SMBIOS_RANGES_MAX = 4 };

struct smbios_config {
    unsigned cpus;
    uint64_t memory_bytes;
    struct { uint64_t base, size; } ram[SMBIOS_RANGES_MAX];   /* as the guest sees it */
    unsigned rams;
    uint8_t uuid[16];
};

/* Returns how many bytes of `tables` are used. The anchor's table address is 0: whoever
 * places the tables puts it in and repairs the checksum. */
size_t smbios_build(const struct smbios_config *cfg, uint8_t anchor[SMBIOS_ANCHOR_BYTES],
                    uint8_t tables[SMBIOS_TABLES_MAX]);

#endif
