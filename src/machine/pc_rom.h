/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_rom.h - the firmware image of a PC: found, checked, and seen by the guest.
 *
 * The image ends at 4 GiB, where processors start, and its last 128 KiB are also below
 * 1 MiB while shadow RAM does not cover them (pci/pam.h). Without an image there are
 * 128 KiB of zeros, for what pc_firmware.c writes.
 */
#ifndef RING3_MACHINE_PC_ROM_H
#define RING3_MACHINE_PC_ROM_H

#include "base/types.h"

struct error;
struct memory;

enum { PC_ROM_LOW_BYTES = 128 << 10 };

struct pc_rom {
    hva_t block;
    uint64_t bytes;
    bool image;                  /* a firmware runs */
    bool uefi;                   /* it is made of UEFI firmware volumes */
    char *path;                  /* owned; of the image */
    const char *vars;            /* template of its variable store, or NULL: not known */
};

/* `firmware`: NULL or "bios", "uefi", or a file's name. -errno with one line. */
int pc_rom_open(struct pc_rom *rom, const char *firmware, struct error **err);
int pc_rom_none(struct pc_rom *rom, struct error **err);
/* Shows it below 4 GiB. */
int pc_rom_map(struct pc_rom *rom, struct memory *memory, struct error **err);
void pc_rom_close(struct pc_rom *rom);       /* a zeroed one is fine; the regions are gone */

/* The part that shadow RAM may cover. */
static inline hva_t pc_rom_low(const struct pc_rom *rom, uint64_t *bytes)
{
    *bytes = min_u64(rom->bytes, PC_ROM_LOW_BYTES);
    return hva(rom->block.p + (rom->bytes - *bytes));
}

#endif
