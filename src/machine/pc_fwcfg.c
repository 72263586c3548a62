/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_fwcfg.c - fw_cfg files and CMOS bytes of a PC, named and laid out as SeaBIOS and OVMF
 * read them (QEMU, docs/specs/fw_cfg; SeaBIOS, docs/Runtime_config.md).
 */
#include "machine/pc_fwcfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "boot/acpi.h"
#include "boot/acpi_loader.h"
#include "boot/boot.h"
#include "boot/smbios.h"
#include "device/fwcfg.h"
#include "machine/pc_devices.h"
#include "machine/pc_firmware.h"
#include "machine/pc_map.h"
#include "machine/plug.h"
#include "memory/memory.h"

enum { TABLES_BYTES = 64 << 10, TABLES_SPARE = 1024, TABLES_GRAIN = 4096 };

/* ---- memory ------------------------------------------------------------------ */

static int add_e820(struct machine *m, struct device *fwcfg, struct error **err)
{
    struct pc_ram ram[PC_RAM_RANGES];
    unsigned n = pc_ram_layout(m->config.memory_bytes, ram), at = 0;
    uint8_t entries[(PC_RAM_RANGES + 2) * 20] = {0};

    /* Firmware takes what it needs of the first MiB away itself. */
    for (unsigned i = 0; i < n; i++) {
        uint64_t base = ram[i].base == PC_EXTENDED ? 0 : ram[i].base;

        if (ram[i].base == 0 && n > 1)
            continue;
        put_le64(entries + at, base);
        put_le64(entries + at + 8, ram[i].base + ram[i].size_bytes - base);
        put_le32(entries + at + 16, E820_RAM);
        at += 20;
    }
    put_le64(entries + at, PC_PCI_ECAM);
    put_le64(entries + at + 8, PC_PCI_ECAM_BYTES);
    put_le32(entries + at + 16, E820_RESERVED);
    return fwcfg_file(fwcfg, "etc/e820", entries, at + 20, err);
}

static void put_units(uint8_t *p, uint64_t bytes, uint64_t unit)
{
    put_le16(p, (uint16_t)min_u64(bytes / unit, UINT16_MAX));
}

void pc_cmos(const struct machine *m, uint8_t cmos[128])
{
    enum { EQUIPMENT = 0x14, BASE = 0x15, EXTENDED = 0x17, EXTENDED2 = 0x30, ABOVE_16M = 0x34,
           ABOVE_4G = 0x5b, CPUS = 0x5f, FPU = 2, PS2_MOUSE = 4, KIB = 1024, UNIT = 64 * KIB };
    const uint64_t below = min_u64(m->config.memory_bytes, PC_HOLE), sixteen = 16 << 20;
    uint64_t above = (m->config.memory_bytes - below) / UNIT;

    memset(cmos, 0, 128);
    cmos[EQUIPMENT] = FPU | PS2_MOUSE;
    put_le16(cmos + BASE, 640);
    put_units(cmos + EXTENDED, below > PC_EXTENDED ? below - PC_EXTENDED : 0, KIB);
    memcpy(cmos + EXTENDED2, cmos + EXTENDED, 2);
    put_units(cmos + ABOVE_16M, below > sixteen ? below - sixteen : 0, UNIT);
    put_le16(cmos + ABOVE_4G, (uint16_t)above);
    cmos[ABOVE_4G + 2] = (uint8_t)(above >> 16);
    cmos[CPUS] = (uint8_t)(m->cpus - 1);
}

/* ---- tables ------------------------------------------------------------------- */

static int add_smbios(struct machine *m, struct device *fwcfg, struct error **err)
{
    struct smbios_config cfg = {.cpus = m->cpus, .memory_bytes = m->config.memory_bytes};
    struct pc_ram ram[PC_RAM_RANGES];
    uint8_t anchor[SMBIOS_ANCHOR_BYTES], tables[SMBIOS_TABLES_MAX];
    unsigned n = pc_ram_layout(m->config.memory_bytes, ram);
    size_t len;
    int rc;

    for (unsigned i = 0; i < n; i++) {
        if (ram[i].base == PC_EXTENDED) {            /* one with what is below 1 MiB */
            cfg.ram[0].size = PC_EXTENDED + ram[i].size_bytes;
            continue;
        }
        cfg.ram[cfg.rams].base = ram[i].base;
        cfg.ram[cfg.rams++].size = ram[i].size_bytes;
    }
    len = smbios_build(&cfg, anchor, tables);
    rc = fwcfg_file(fwcfg, "etc/smbios/smbios-anchor", anchor, sizeof anchor, err);
    return rc ? rc : fwcfg_file(fwcfg, "etc/smbios/smbios-tables", tables, len, err);
}

static void build_acpi(void *opaque, struct device *fwcfg)
{
    struct machine *m = opaque;
    uint8_t *tables = calloc(1, TABLES_BYTES), script[ACPI_LOADER_SCRIPT_BYTES];
    uint8_t rsdp[ACPI_LOADER_RSDP_BYTES];
    struct acpi_config cfg;
    size_t used, before;

    BUG_ON(!tables);
    pc_firmware_acpi(m, &cfg);
    used = acpi_build(&cfg, tables, TABLES_BYTES, gpa(0));
    acpi_loader_build(tables, used, rsdp, script);
    /* Firmware may know the size already. What is spare is enough for what can change. */
    before = fwcfg_file_size(fwcfg, ACPI_LOADER_TABLES);
    if (!before)
        before = align_up(used + TABLES_SPARE, TABLES_GRAIN);
    BUG_ON(used > before || before > TABLES_BYTES);
    fwcfg_file_set(fwcfg, ACPI_LOADER_TABLES, tables, before);
    fwcfg_file_set(fwcfg, ACPI_LOADER_RSDP, rsdp, sizeof rsdp);
    fwcfg_file_set(fwcfg, ACPI_LOADER_SCRIPT, script, sizeof script);
    free(tables);
}

static int add_acpi(struct machine *m, struct device *fwcfg, struct error **err)
{
    static const char *const names[] = {ACPI_LOADER_RSDP, ACPI_LOADER_SCRIPT, ACPI_LOADER_TABLES};
    int rc = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(names) && !rc; i++)
        rc = fwcfg_file_prepared(fwcfg, names[i], build_acpi, m, err);
    return rc;
}

/* ---- options ------------------------------------------------------------------ */

/* "etc/system-states": a byte per ACPI state, bit 7: it can be entered. */
static const uint8_t system_states[6] = {0x80, 0, 0, 0x80 | 1, 0, 0x80};

static int add_number(struct device *fwcfg, const char *name, uint64_t value, struct error **err)
{
    uint8_t raw[8];

    put_le64(raw, value);
    return fwcfg_file(fwcfg, name, raw, sizeof raw, err);
}

static int add_boot(struct machine *m, struct device *fwcfg, struct error **err)
{
    struct strbuf order = {0};
    int rc = plug_boot_order(m, &order, err);

    /* Ends with a zero; an empty file says nothing. */
    if (!rc && strbuf_text(&order)[0])
        rc = fwcfg_file(fwcfg, "bootorder", strbuf_text(&order), strlen(strbuf_text(&order)) + 1,
                        err);
    strbuf_fini(&order);
    /* Whoever finds nothing to boot says so and waits, instead of starting over. */
    if (!rc)
        rc = add_number(fwcfg, "etc/boot-fail-wait", UINT32_MAX, err);
    if (!rc && m->config.firmware_serial)
        rc = add_number(fwcfg, "etc/sercon-port", PC_COM1, err);
    return rc;
}

/* --option-rom FILE: SeaBIOS runs all of genroms/. */
static int add_rom(struct device *fwcfg, const char *path, struct error **err)
{
    enum { LARGEST = 256 << 10 };
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct boot_file f = BOOT_FILE_NONE;
    char name[FWCFG_NAME_BYTES + 1];
    uint8_t *rom = NULL;
    int rc = boot_file_open(&f, "option ROM", path, err);

    if (!rc && f.size_bytes > LARGEST)
        rc = error_set(err, EINVAL, "option ROM '%s' has %llu bytes: it can have 256 KiB", path,
                       (unsigned long long)f.size_bytes);
    if (!rc) {
        rom = malloc(f.size_bytes);
        rc = rom ? boot_file_read(&f, 0, rom, f.size_bytes, err) : -ENOMEM;
    }
    if (!rc && (f.size_bytes < 3 || get_le16(rom) != 0xaa55))
        rc = error_set(err, EINVAL, "'%s' is no option ROM: it does not start with 55 AA", path);
    snprintf(name, sizeof name, "genroms/%.47s", base);
    if (!rc)
        rc = fwcfg_file(fwcfg, name, rom, f.size_bytes, err);
    free(rom);
    boot_file_close(&f);
    return rc;
}

int pc_fwcfg_fill(struct machine *m, struct device *fwcfg, struct error **err)
{
    const char *const *rom = m->config.option_roms;
    int rc = add_e820(m, fwcfg, err);

    if (!rc)
        rc = add_acpi(m, fwcfg, err);
    if (!rc)
        rc = add_smbios(m, fwcfg, err);
    if (!rc)
        rc = fwcfg_file(fwcfg, "etc/system-states", system_states, sizeof system_states, err);
    if (!rc)
        rc = add_boot(m, fwcfg, err);
    for (; !rc && rom && *rom; rom++)
        rc = add_rom(fwcfg, *rom, err);
    return rc;
}

struct device *pc_fwcfg_new(struct machine *m, const struct device_env *env, struct error **err)
{
    const struct fwcfg_config cfg = {.port = PC_FWCFG};
    struct device *dev = fwcfg_new(env, &cfg, err);

    if (!dev)
        return NULL;
    fwcfg_number(dev, FWCFG_RAM_SIZE, 8, m->config.memory_bytes);
    fwcfg_number(dev, FWCFG_NB_CPUS, 2, m->config.cpus);
    fwcfg_number(dev, FWCFG_MAX_CPUS, 2, m->config.cpus);
    fwcfg_number(dev, FWCFG_IRQ0_OVERRIDE, 1, 1);        /* the timer is on IOAPIC pin 2 */
    return dev;
}
