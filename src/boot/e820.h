/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e820.h - the guest-physical memory map as firmware reports it.
 *
 * A sorted list of non-overlapping ranges, each with a type (ACPI 6.4, 15,
 * table 15.4). e820_set() paints over whatever was there, so a map is made by
 * painting RAM first and the exceptions after it; neighbours of one type are
 * kept merged. Addresses no range covers are not memory.
 */
#ifndef RING3_BOOT_E820_H
#define RING3_BOOT_E820_H

#include "base/types.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

enum { E820_MAX = 32 };

struct e820_entry {
    uint64_t base, size_bytes;
    uint32_t type;
};

struct e820_map {
    struct e820_entry entry[E820_MAX];
    unsigned count;
};

/* An empty range is nothing. BUG when the map is full or the range wraps: maps
 * are made by machines from constants and a checked memory size. */
void e820_set(struct e820_map *map, uint64_t base, uint64_t size_bytes, enum e820_type type);

/* The RAM range that holds all of [base, base + size), or NULL. */
const struct e820_entry *e820_ram_at(const struct e820_map *map, uint64_t base,
                                     uint64_t size_bytes);
uint64_t e820_ram_bytes(const struct e820_map *map);
/* End of the RAM that starts at 1 MiB; 0 when there is none. */
uint64_t e820_extended_end(const struct e820_map *map);

#endif
