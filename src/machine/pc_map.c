/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_map.c - RAM ranges and memory map of a PC from the size of its RAM. */
#include "machine/pc_map.h"

unsigned pc_ram_layout(uint64_t ram_bytes, struct pc_ram out[PC_RAM_RANGES])
{
    uint64_t below = min_u64(ram_bytes, PC_HOLE);
    unsigned n = 0;

    out[n++] = (struct pc_ram){"ram-low", 0, 0, PC_LOW_END};
    if (below > PC_EXTENDED)
        out[n++] = (struct pc_ram){"ram", PC_EXTENDED, PC_EXTENDED, below - PC_EXTENDED};
    if (ram_bytes > PC_HOLE)
        out[n++] = (struct pc_ram){"ram-high", PC_HIGH, PC_HOLE, ram_bytes - PC_HOLE};
    return n;
}

void pc_e820(uint64_t ram_bytes, struct e820_map *map)
{
    struct pc_ram ram[PC_RAM_RANGES];
    unsigned n = pc_ram_layout(ram_bytes, ram);

    map->count = 0;
    for (unsigned i = 0; i < n; i++)
        e820_set(map, ram[i].base, ram[i].size_bytes, E820_RAM);
    e820_set(map, PC_EBDA, PC_LOW_END - PC_EBDA, E820_RESERVED);
    e820_set(map, PC_ROM, PC_ROM_BYTES, E820_RESERVED);
    e820_set(map, PC_PCI_ECAM, PC_PCI_ECAM_BYTES, E820_RESERVED);
}

uint64_t pc_pci_memory64(uint64_t ram_bytes, unsigned phys_bits, uint64_t *base)
{
    enum { BITS_MAX = 40 };      /* no need to go higher */
    unsigned bits = phys_bits < BITS_MAX ? phys_bits : BITS_MAX;
    uint64_t half = 1ull << (bits - 1);

    *base = half;
    return ram_bytes + (PC_HIGH - PC_HOLE) <= half ? half / 2 : 0;
}
