/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_map.h - where memory is in a PC.
 *
 *   0           - 640 KiB    RAM; the last KiB is the extended BIOS data area
 *   640 KiB     - 768 KiB    video memory
 *   768 KiB     - 1 MiB      shadow RAM over the firmware's last 128 KiB (without one: read-only,
 *                            holds the ACPI tables)
 *   1 MiB       - 3 GiB      RAM
 *   3 GiB       - 3.5 GiB    the hole: PCI memory,
 *   3.5 GiB     - 4 GiB      PCI configuration space, virtio-mmio, IOAPIC, local APIC, others
 *               - 4 GiB      the firmware's image
 *   4 GiB       -            the rest of RAM
 *   the upper half of what the processor can address, at most from 512 GiB on: PCI memory
 *
 * RAM is one backing whose offsets are addresses up to the hole; what lies
 * under the video hole stays unused and therefore costs nothing.
 */
#ifndef RING3_MACHINE_PC_MAP_H
#define RING3_MACHINE_PC_MAP_H

#include "base/types.h"
#include "boot/e820.h"

#define PC_EBDA        0x9fc00ull
#define PC_FACS        0x9fc40ull       /* in the extended BIOS data area */
#define PC_TEXT_WINDOW 0xb8000ull
#define PC_LOW_END     0xa0000ull
#define PC_ROM         0xe0000ull
#define PC_EXTENDED    0x100000ull
#define PC_HOLE        0xc0000000ull
#define PC_HIGH        0x100000000ull
#define PC_ROM_BYTES   (PC_EXTENDED - PC_ROM)

#define PC_PCI_MEMORY       0xc0000000ull
#define PC_PCI_MEMORY_BYTES 0x20000000ull
#define PC_PCI_ECAM         0xe0000000ull
#define PC_PCI_LOWEST       0x80000000ull   /* where firmware starts when RAM ends below */
#define PC_PCI_MEMORY2      0xec000000ull   /* or puts BARs under the chip set's own */
#define PC_PCI_MEMORY2_END  0xfec00000ull
#define PC_PCI_ECAM_BYTES   0x00100000ull
#define PC_VIRTIO_MMIO      0xeb000000ull   /* a page for each device */
#define PC_PCI_IO           0xc000ull
#define PC_PCI_IO_BYTES     0x4000ull

enum { PC_RAM_RANGES = 3 };

struct pc_ram {
    const char *name;
    uint64_t base, offset, size_bytes;     /* offset: in the RAM backing */
};

/* `ram_bytes` is at least 1 MiB. Returns how many ranges there are. */
unsigned pc_ram_layout(uint64_t ram_bytes, struct pc_ram out[PC_RAM_RANGES]);
/* PCI memory above all RAM: *base and how many bytes; 0 = no room. */
uint64_t pc_pci_memory64(uint64_t ram_bytes, unsigned phys_bits, uint64_t *base);
void pc_e820(uint64_t ram_bytes, struct e820_map *map);

#endif
