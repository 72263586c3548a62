/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_loader.c - the script that relocates the tables (QEMU, hw/acpi/bios-linker-loader;
 * fields: ACPI 6.4, 5.2).
 *
 * The tables are found the way a system finds them: from the RSDP on. Checksums were right
 * before a pointer changed, so the command, which subtracts the sum of all bytes, makes
 * them right again.
 */
#include "boot/acpi_loader.h"

#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"

enum { COMMAND_BYTES = 128, FILE_BYTES = 56, ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3,
       ZONE_HIGH = 1, ZONE_FSEG = 2 };
enum { HEADER_BYTES = 36, AT_LENGTH = 4, AT_CHECKSUM = 9, RSDP_V1_BYTES = 20, RSDP_CHECKSUM = 8,
       RSDP_RSDT = 16, RSDP_XSDT = 24, RSDP_CHECKSUM_ALL = 32, FADT_FACS = 36, FADT_DSDT = 40,
       FADT_X_DSDT = 140, FACS_ALIGN = 64 };

struct script {
    uint8_t *next, *end;
};

static uint8_t *command(struct script *s, uint32_t what, const char *file)
{
    uint8_t *c = s->next;

    BUG_ON(s->next == s->end);
    s->next += COMMAND_BYTES;
    put_le32(c, what);
    memcpy(c + 4, file, strlen(file));
    return c + 4 + FILE_BYTES;
}

static void allocate(struct script *s, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *rest = command(s, ALLOCATE, file);

    put_le32(rest, align);
    rest[4] = zone;
}

static void add_pointer(struct script *s, const char *file, uint32_t at, uint8_t size)
{
    uint8_t *rest = command(s, ADD_POINTER, file);

    memcpy(rest, ACPI_LOADER_TABLES, strlen(ACPI_LOADER_TABLES));
    put_le32(rest + FILE_BYTES, at);
    rest[FILE_BYTES + 4] = size;
}

static void add_checksum(struct script *s, const char *file, uint32_t at, uint32_t start,
                         uint32_t len)
{
    uint8_t *rest = command(s, ADD_CHECKSUM, file);

    put_le32(rest, at);
    put_le32(rest + 4, start);
    put_le32(rest + 8, len);
}

static void table_checksum(struct script *s, const uint8_t *tables, uint32_t at)
{
    add_checksum(s, ACPI_LOADER_TABLES, at + AT_CHECKSUM, at, get_le32(tables + at + AT_LENGTH));
}

static void relocate_fadt(struct script *s, const uint8_t *tables, uint32_t at)
{
    add_pointer(s, ACPI_LOADER_TABLES, at + FADT_FACS, 4);
    add_pointer(s, ACPI_LOADER_TABLES, at + FADT_DSDT, 4);
    add_pointer(s, ACPI_LOADER_TABLES, at + FADT_X_DSDT, 8);
    table_checksum(s, tables, at);
}

static void relocate_root(struct script *s, const uint8_t *tables, uint32_t at, uint8_t width)
{
    uint32_t len = get_le32(tables + at + AT_LENGTH);

    for (uint32_t i = HEADER_BYTES; i < len; i += width)
        add_pointer(s, ACPI_LOADER_TABLES, at + i, width);
    table_checksum(s, tables, at);
}

void acpi_loader_build(uint8_t *tables, size_t bytes, uint8_t rsdp[ACPI_LOADER_RSDP_BYTES],
                       uint8_t script[ACPI_LOADER_SCRIPT_BYTES])
{
    struct script s = {script, script + ACPI_LOADER_SCRIPT_BYTES};
    uint32_t rsdt = get_le32(tables + RSDP_RSDT), xsdt = get_le32(tables + RSDP_XSDT);
    uint32_t end = xsdt + get_le32(tables + xsdt + AT_LENGTH);

    BUG_ON(end > bytes);
    memset(script, 0, ACPI_LOADER_SCRIPT_BYTES);
    allocate(&s, ACPI_LOADER_RSDP, 16, ZONE_FSEG);
    allocate(&s, ACPI_LOADER_TABLES, FACS_ALIGN, ZONE_HIGH);
    for (uint32_t at = xsdt + HEADER_BYTES; at < end; at += 8) {
        uint32_t table = get_le32(tables + at);

        if (memcmp(tables + table, "FACP", 4) == 0)
            relocate_fadt(&s, tables, table);
    }
    relocate_root(&s, tables, rsdt, 4);
    relocate_root(&s, tables, xsdt, 8);
    add_pointer(&s, ACPI_LOADER_RSDP, RSDP_RSDT, 4);
    add_pointer(&s, ACPI_LOADER_RSDP, RSDP_XSDT, 8);
    add_checksum(&s, ACPI_LOADER_RSDP, RSDP_CHECKSUM, 0, RSDP_V1_BYTES);
    add_checksum(&s, ACPI_LOADER_RSDP, RSDP_CHECKSUM_ALL, 0, ACPI_LOADER_RSDP_BYTES);
    memcpy(rsdp, tables, ACPI_LOADER_RSDP_BYTES);
    memset(tables, 0, ACPI_LOADER_RSDP_BYTES);         /* nobody shall find a second one */
}
