/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_rom.c - where distributions keep SeaBIOS and OVMF, and what a firmware image must be.
 *
 * Builds of OVMF that insist on system management mode are not in the table: there is none.
 */
#include "machine/pc_rom.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "boot/boot.h"
#include "machine/pc_map.h"
#include "memory/memory.h"

enum { GRAIN_BYTES = 4 << 10, SMALLEST_BYTES = 64 << 10, LARGEST_BYTES = 8 << 20,
       VOLUME_SIGNATURE_AT = 40 };

static const struct known {
    const char *name, *code, *vars;
} known[] = {
    {"bios", "/usr/share/seabios/bios-256k.bin", NULL},
    {"bios", "/usr/share/qemu/bios-256k.bin", NULL},
    {"bios", "/usr/share/seabios/bios.bin", NULL},
    {"uefi", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {"uefi", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
    {"uefi", "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
    {"uefi", "/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
};

static int choose(struct pc_rom *rom, const char *firmware, struct error **err)
{
    bool named = false;

    for (unsigned i = 0; i < ARRAY_SIZE(known) && !rom->path; i++) {
        bool file = strcmp(firmware, known[i].code) == 0;

        named |= strcmp(firmware, known[i].name) == 0;
        if (!file && strcmp(firmware, known[i].name) != 0)
            continue;
        rom->vars = known[i].vars;
        if (file || access(known[i].code, R_OK) == 0)
            rom->path = strdup(known[i].code);
    }
    if (!named && !rom->path)
        rom->path = strdup(firmware);
    if (rom->path)
        return 0;
    error_set(err, ENOENT, "no %s firmware is installed here",
              strcmp(firmware, "uefi") == 0 ? "UEFI" : "BIOS");
    error_hint(err, "install the package %s, or name a file with --firmware FILE",
               strcmp(firmware, "uefi") == 0 ? "ovmf" : "seabios");
    return -ENOENT;
}

static int check_size(const struct boot_file *f, struct error **err)
{
    bool one_or_more = f->size_bytes == SMALLEST_BYTES || f->size_bytes >= PC_ROM_LOW_BYTES;

    if (one_or_more && f->size_bytes % GRAIN_BYTES == 0 && f->size_bytes <= LARGEST_BYTES)
        return 0;
    error_set(err, EINVAL, "firmware '%s' has %llu bytes: an image has 64 KiB, or a multiple of "
              "4 KiB from 128 KiB to 8 MiB", f->path, (unsigned long long)f->size_bytes);
    return -EINVAL;
}

int pc_rom_open(struct pc_rom *rom, const char *firmware, struct error **err)
{
    struct boot_file f = BOOT_FILE_NONE;
    int rc = choose(rom, firmware ? firmware : "bios", err);

    if (!rc)
        rc = boot_file_open(&f, "firmware", rom->path, err);
    if (!rc)
        rc = check_size(&f, err);
    if (!rc) {
        rom->image = true;
        rom->bytes = f.size_bytes;
        rom->block = memory_block_new("firmware", rom->bytes, err);
        rc = rom->block.p ? boot_file_read(&f, 0, rom->block.p, rom->bytes, err) : -ENOMEM;
    }
    /* UEFI PI specification, volume 3, 3.2.1: EFI_FIRMWARE_VOLUME_HEADER. */
    if (!rc)
        rom->uefi = memcmp(rom->block.p + VOLUME_SIGNATURE_AT, "_FVH", 4) == 0;
    boot_file_close(&f);
    return rc;
}

int pc_rom_none(struct pc_rom *rom, struct error **err)
{
    rom->bytes = PC_ROM_LOW_BYTES;
    rom->block = memory_block_new("firmware", rom->bytes, err);
    return rom->block.p ? 0 : -ENOMEM;
}

int pc_rom_map(struct pc_rom *rom, struct memory *memory, struct error **err)
{
    if (!rom->image)
        return 0;
    return memory_map_host(memory, "firmware", gpa(PC_HIGH - rom->bytes), rom->block, rom->bytes,
                           MEMORY_READONLY, err);
}

void pc_rom_close(struct pc_rom *rom)
{
    memory_block_free(rom->block, rom->bytes);
    free(rom->path);
    *rom = (struct pc_rom){0};
}
