/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_loader.h - ACPI tables for a firmware that places them itself.
 *
 * QEMU's linker-loader interface: firmware is given two files of bytes and a script of
 * 128-byte commands: allocate a file, add a file's address to a field, repair a checksum.
 * The tables are built for address 0, so every pointer in them holds an offset.
 *
 * The files are named ACPI_LOADER_RSDP and ACPI_LOADER_TABLES, the script
 * ACPI_LOADER_SCRIPT.
 */
#ifndef RING3_BOOT_ACPI_LOADER_H
#define RING3_BOOT_ACPI_LOADER_H

#include "boot/acpi.h"

#define ACPI_LOADER_RSDP   "etc/acpi/rsdp"
#define ACPI_LOADER_TABLES "etc/acpi/tables"
#define ACPI_LOADER_SCRIPT "etc/table-loader"
enum { ACPI_LOADER_RSDP_BYTES = 36, ACPI_LOADER_SCRIPT_BYTES = 32 * 128 };

/* `tables` is what acpi_build() wrote for address 0 (cfg.facs too). Splits off the RSDP;
 * the rest keeps its offsets. The script is filled up with commands that do nothing. */
void acpi_loader_build(uint8_t *tables, size_t bytes, uint8_t rsdp[ACPI_LOADER_RSDP_BYTES],
                       uint8_t script[ACPI_LOADER_SCRIPT_BYTES]);

#endif
