/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi.c - building the tables (ACPI 6.4, chapter 5).
 *
 * Offsets within tables are written out as the specification prints them.
 * Tables are laid one after the other into the area; pointers between them are
 * guest-physical addresses, and every table is sealed with its checksum last.
 */
#include "boot/acpi.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "boot/aml.h"

enum { HEADER_BYTES = 36, RSDP_BYTES = 36, FADT_BYTES = 276, MADT_BYTES = 44 };
enum { OEM_REVISION = 1 };

struct area {
    const struct acpi_config *cfg;
    uint8_t *p;
    size_t size, used;
    gpa_t base;
};

static uint64_t address_of(const struct area *a, const uint8_t *table)
{
    return a->base.v + (uint64_t)(table - a->p);
}

static uint8_t *take(struct area *a, size_t bytes, size_t align)
{
    uint8_t *p;

    a->used = align_up(a->used, align);
    BUG_ON(!range_inside(a->used, bytes, a->size));
    p = a->p + a->used;
    memset(p, 0, bytes);
    a->used += bytes;
    return p;
}

/* The byte that makes the sum zero; its place must hold 0 meanwhile. */
static uint8_t checksum(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    while (len--)
        sum = (uint8_t)(sum + *p++);
    return (uint8_t)-sum;
}

static void seal(uint8_t *table, const char *signature, uint8_t revision, size_t len)
{
    memcpy(table, signature, 4);
    put_le32(table + 4, (uint32_t)len);
    table[8] = revision;
    memcpy(table + 10, "RING3 ", 6);
    memcpy(table + 16, "RING3 PC", 8);
    put_le32(table + 24, OEM_REVISION);
    memcpy(table + 28, "RNG3", 4);
    put_le32(table + 32, OEM_REVISION);
    table[9] = checksum(table, len);
}

/* ---- DSDT -------------------------------------------------------------- */

static void add_cpu(struct aml *a, unsigned n)
{
    char name[5];
    size_t dev;

    snprintf(name, sizeof name, "C%03X", n & 0xfff);
    dev = aml_device_open(a, name);
    aml_name_string(a, "_HID", "ACPI0007");
    aml_name_int(a, "_UID", n);
    aml_close(a, dev);
}

static void add_isa_device(struct aml *a, const struct acpi_isa_device *d)
{
    struct aml_resources crs = {.len = 0};
    size_t dev = aml_device_open(a, d->name);

    if (strncmp(d->hid, "PNP", 3) == 0)
        aml_name_eisaid(a, "_HID", d->hid);
    else
        aml_name_string(a, "_HID", d->hid);
    aml_name_int(a, "_UID", d->uid);
    for (unsigned i = 0; i < ARRAY_SIZE(d->port); i++)
        if (d->port[i])
            aml_resource_io(&crs, d->port[i], d->ports[i]);
    if (d->irq)
        aml_resource_irq(&crs, d->irq);
    aml_name_crs(a, &crs);
    aml_close(a, dev);
}

enum { PCI_SLOTS = 32, PCI_PINS = 4, PCI_CONFIG_PORTS = 0xcf8 };

/* 6.2.13: every slot and pin, straight to its interrupt. */
static void add_pci_lines(struct aml *a, const struct acpi_pci *pci, const char *name, bool apic)
{
    size_t prt = aml_name_package_open(a, name, PCI_SLOTS * PCI_PINS);

    for (uint32_t slot = 0; slot < PCI_SLOTS; slot++) {
        for (uint32_t pin = 0; pin < PCI_PINS; pin++) {
            uint32_t line = (slot + pin + pci->gsis - 1) % pci->gsis;
            const uint32_t entry[4] = {slot << 16 | 0xffff, pin, 0,
                                       apic ? pci->first_gsi + line : pci->irq[line]};

            aml_package(a, entry, ARRAY_SIZE(entry));
        }
    }
    aml_close(a, prt);
}

/* The system says by _PIC (5.8.1) whether it uses the IOAPIC. */
static void add_pci_routing(struct aml *a, const struct acpi_pci *pci)
{
    size_t prt, use;

    add_pci_lines(a, pci, "PRTP", false);
    add_pci_lines(a, pci, "PRTA", true);
    prt = aml_method_open(a, "_PRT", 0);
    use = aml_if_open(a, "\\PICM");
    aml_return(a, "PRTA");
    aml_close(a, use);
    aml_return(a, "PRTP");
    aml_close(a, prt);
}

/* PNP0A03: no native PCI Express features are there to be negotiated. Its
 * memory-mapped configuration space is reserved by a system device beside it (PCI
 * firmware specification 3.0, 4.1.2). */
static void add_pci(struct aml *a, const struct acpi_pci *pci)
{
    struct aml_resources crs = {.len = 0}, taken = {.len = 0};
    size_t dev = aml_device_open(a, "PCI0");

    aml_name_eisaid(a, "_HID", "PNP0A03");
    aml_name_int(a, "_UID", 0);
    aml_name_int(a, "_BBN", 0);
    aml_resource_bus_window(&crs, 0, 0);
    aml_resource_io(&crs, PCI_CONFIG_PORTS, 8);
    aml_resource_io_window(&crs, 0, PCI_CONFIG_PORTS - 1);
    aml_resource_io_window(&crs, PCI_CONFIG_PORTS + 8, 0xffff);
    aml_resource_memory_window(&crs, pci->memory.base, pci->memory.base + pci->memory.size - 1);
    if (pci->memory2.size)
        aml_resource_memory_window(&crs, pci->memory2.base,
                                   pci->memory2.base + pci->memory2.size - 1);
    if (pci->memory64.size)
        aml_resource_memory_window(&crs, pci->memory64.base,
                                   pci->memory64.base + pci->memory64.size - 1);
    aml_name_crs(a, &crs);
    add_pci_routing(a, pci);
    aml_close(a, dev);
    if (!pci->ecam)
        return;
    dev = aml_device_open(a, "ECAM");
    aml_name_eisaid(a, "_HID", "PNP0C02");
    aml_name_int(a, "_UID", 0);
    aml_resource_memory(&taken, (uint32_t)pci->ecam, 1 << 20);
    aml_name_crs(a, &taken);
    aml_close(a, dev);
}

static void add_virtio(struct aml *a, const struct acpi_virtio *v, unsigned n)
{
    struct aml_resources crs = {.len = 0};
    char name[5];
    size_t dev;

    snprintf(name, sizeof name, "VR%02X", n & 0xff);
    dev = aml_device_open(a, name);
    aml_name_string(a, "_HID", "LNRO0005");
    aml_name_int(a, "_UID", n);
    aml_resource_memory(&crs, v->base, v->bytes);
    aml_resource_gsi(&crs, v->gsi);
    aml_name_crs(a, &crs);
    aml_close(a, dev);
}

static uint8_t *build_dsdt(struct area *area)
{
    const struct acpi_config *cfg = area->cfg;
    const uint8_t s3[4] = {cfg->s3_sleep_type, cfg->s3_sleep_type, 0, 0};
    const uint8_t s5[4] = {cfg->s5_sleep_type, cfg->s5_sleep_type, 0, 0};
    uint8_t *table = take(area, HEADER_BYTES, 16);
    struct aml a = {.buf = table, .cap = area->size - (size_t)(table - area->p),
                    .len = HEADER_BYTES};
    size_t scope;

    if (cfg->s3_sleep_type)
        aml_name_package(&a, "\\_S3_", s3, sizeof s3);
    aml_name_package(&a, "\\_S5_", s5, sizeof s5);
    aml_name_int(&a, "\\PICM", 0);
    scope = aml_method_open(&a, "\\_PIC", 1);
    aml_store_arg0(&a, "\\PICM");
    aml_close(&a, scope);
    scope = aml_scope_open(&a, "\\_SB_");
    for (unsigned i = 0; i < cfg->cpus; i++)
        add_cpu(&a, i);
    for (unsigned i = 0; i < cfg->devices; i++)
        add_isa_device(&a, &cfg->device[i]);
    if (cfg->pci.present)
        add_pci(&a, &cfg->pci);
    for (unsigned i = 0; i < cfg->virtios; i++)
        add_virtio(&a, &cfg->virtio[i], i);
    aml_close(&a, scope);

    area->used += a.len - HEADER_BYTES;
    seal(table, "DSDT", 2, a.len);
    return table;
}

/* ---- FADT, FACS -------------------------------------------------------- */

void acpi_facs_build(uint8_t facs[ACPI_FACS_BYTES])
{
    memset(facs, 0, ACPI_FACS_BYTES);
    memcpy(facs, "FACS", 4);
    put_le32(facs + 4, ACPI_FACS_BYTES);
    facs[32] = 2;
}

/* Its address. 5.2.10: aligned, no checksum. */
static uint64_t place_facs(struct area *area)
{
    uint8_t *t;

    if (area->cfg->facs.v)
        return area->cfg->facs.v;
    t = take(area, ACPI_FACS_BYTES, 64);
    acpi_facs_build(t);
    return address_of(area, t);
}

enum { ACCESS_BYTE = 1, ACCESS_WORD = 2, ACCESS_DWORD = 3, SPACE_IO = 1 };

static void put_gas(uint8_t *p, uint16_t port, uint8_t bits, uint8_t access)
{
    if (!port)
        return;
    p[0] = SPACE_IO;
    p[1] = bits;
    p[3] = access;
    put_le64(p + 4, port);
}

enum {   /* 5.2.9, tables 5.9 to 5.11 */
    FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_NO_PWR_BUTTON = 1 << 4,
    FADT_NO_SLP_BUTTON = 1 << 5, FADT_NO_FIX_RTC = 1 << 6, FADT_TMR_VAL_EXT = 1 << 8,
    FADT_RESET_REG_SUP = 1 << 10,
    BOOT_LEGACY_DEVICES = 1 << 0, BOOT_8042 = 1 << 1, BOOT_NO_VGA = 1 << 2,
    PROFILE_SERVER = 4,
};

static uint32_t fadt_flags(const struct acpi_config *cfg)
{
    return FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLP_BUTTON | FADT_RESET_REG_SUP |
           (cfg->rtc_wakes ? 0 : FADT_NO_FIX_RTC) | (cfg->power_button ? 0 : FADT_NO_PWR_BUTTON) |
           (cfg->pm_timer_32bit ? FADT_TMR_VAL_EXT : 0);
}

static uint16_t fadt_boot_arch(const struct acpi_config *cfg)
{
    return (uint16_t)(BOOT_LEGACY_DEVICES | (cfg->has_8042 ? BOOT_8042 : 0) |
                      (cfg->has_vga ? 0 : BOOT_NO_VGA));
}

static uint8_t *build_fadt(struct area *area, uint64_t facs, const uint8_t *dsdt)
{
    const struct acpi_config *cfg = area->cfg;
    uint8_t *t = take(area, FADT_BYTES, 16);

    put_le32(t + 36, (uint32_t)facs);
    put_le32(t + 40, (uint32_t)address_of(area, dsdt));
    t[45] = PROFILE_SERVER;
    put_le16(t + 46, cfg->sci_irq);
    put_le32(t + 56, cfg->pm1_event);
    put_le32(t + 64, cfg->pm1_control);
    put_le32(t + 76, cfg->pm_timer);
    t[88] = 4;                       /* PM1_EVT_LEN */
    t[89] = 2;                       /* PM1_CNT_LEN */
    t[91] = 4;                       /* PM_TMR_LEN */
    put_le16(t + 96, 101);           /* P_LVL2_LAT: over 100 us = no C2 */
    put_le16(t + 98, 1001);          /* P_LVL3_LAT: over 1000 us = no C3 */
    t[108] = cfg->rtc_century;
    put_le16(t + 109, fadt_boot_arch(cfg));
    put_le32(t + 112, fadt_flags(cfg));
    put_gas(t + 116, cfg->reset_port, 8, ACCESS_BYTE);
    t[128] = cfg->reset_value;
    put_le64(t + 140, address_of(area, dsdt));     /* 5.2.9: X_FIRMWARE_CTRL 0 = the other */
    put_gas(t + 148, cfg->pm1_event, 32, ACCESS_WORD);
    put_gas(t + 172, cfg->pm1_control, 16, ACCESS_WORD);
    put_gas(t + 208, cfg->pm_timer, 32, ACCESS_DWORD);
    memcpy(t + 268, "RING3", 5);                   /* hypervisor vendor identity */
    seal(t, "FACP", 6, FADT_BYTES);
    return t;
}

/* ---- MADT -------------------------------------------------------------- */

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4,
       MADT_PCAT_COMPAT = 1, LAPIC_ENABLED = 1 };

static uint8_t *add_entry(struct area *area, uint8_t type, uint8_t len)
{
    uint8_t *e = take(area, len, 1);

    e[0] = type;
    e[1] = len;
    return e;
}

static uint8_t *build_madt(struct area *area)
{
    const struct acpi_config *cfg = area->cfg;
    uint8_t *t = take(area, MADT_BYTES, 16), *e;

    put_le32(t + 36, cfg->lapic_base);
    put_le32(t + 40, MADT_PCAT_COMPAT);
    for (unsigned i = 0; i < cfg->cpus; i++) {
        e = add_entry(area, MADT_LAPIC, 8);
        e[2] = e[3] = (uint8_t)i;
        put_le32(e + 4, LAPIC_ENABLED);
    }
    e = add_entry(area, MADT_IOAPIC, 12);
    e[2] = cfg->ioapic_id;
    put_le32(e + 4, cfg->ioapic_base);
    for (unsigned i = 0; i < cfg->overrides; i++) {
        e = add_entry(area, MADT_OVERRIDE, 10);
        e[3] = cfg->override[i].isa_irq;
        put_le32(e + 4, cfg->override[i].gsi);
        put_le16(e + 8, cfg->override[i].flags);
    }
    e = add_entry(area, MADT_LAPIC_NMI, 6);
    e[2] = 0xff;                     /* every processor */
    e[5] = 1;                        /* LINT1 */
    seal(t, "APIC", 5, (size_t)(area->p + area->used - t));
    return t;
}

/* ---- MCFG (PCI firmware specification 3.0, 4.1.2) ------------------------ */

static uint8_t *build_mcfg(struct area *area)
{
    enum { MCFG_BYTES = HEADER_BYTES + 8 + 16 };
    uint8_t *t = take(area, MCFG_BYTES, 16);

    put_le64(t + 44, area->cfg->pci.ecam);         /* segment 0, buses 0 to 0 */
    seal(t, "MCFG", 1, MCFG_BYTES);
    return t;
}

/* ---- roots ------------------------------------------------------------- */

static uint8_t *build_root(struct area *area, const char *signature, unsigned width,
                           const uint8_t *const *tables, unsigned count)
{
    size_t len = HEADER_BYTES + (size_t)count * width;
    uint8_t *t = take(area, len, 16);

    for (unsigned i = 0; i < count; i++) {
        uint64_t at = address_of(area, tables[i]);

        if (width == 8)
            put_le64(t + HEADER_BYTES + i * 8, at);
        else
            put_le32(t + HEADER_BYTES + i * 4, (uint32_t)at);
    }
    seal(t, signature, 1, len);
    return t;
}

static void fill_rsdp(const struct area *area, uint8_t *t, const uint8_t *rsdt,
                      const uint8_t *xsdt)
{
    memcpy(t, "RSD PTR ", 8);
    memcpy(t + 9, "RING3 ", 6);
    t[15] = 2;
    put_le32(t + 16, (uint32_t)address_of(area, rsdt));
    put_le32(t + 20, RSDP_BYTES);
    put_le64(t + 24, address_of(area, xsdt));
    t[8] = checksum(t, 20);
    t[32] = checksum(t, RSDP_BYTES);
}

size_t acpi_build(const struct acpi_config *cfg, uint8_t *area, size_t size, gpa_t base)
{
    struct area a = {.cfg = cfg, .p = area, .size = size, .base = base};
    const uint8_t *tables[3], *dsdt, *rsdt, *xsdt;
    unsigned n = 0;
    uint64_t facs;
    uint8_t *rsdp;

    BUG_ON(base.v % 64 || base.v + size > 1ull << 32 || cfg->cpus < 1 || cfg->cpus > 255);
    rsdp = take(&a, RSDP_BYTES, 16);
    facs = place_facs(&a);
    dsdt = build_dsdt(&a);
    tables[n++] = build_fadt(&a, facs, dsdt);
    tables[n++] = build_madt(&a);
    if (cfg->pci.present && cfg->pci.ecam)
        tables[n++] = build_mcfg(&a);
    rsdt = build_root(&a, "RSDT", 4, tables, n);
    xsdt = build_root(&a, "XSDT", 8, tables, n);
    fill_rsdp(&a, rsdp, rsdt, xsdt);
    return a.used;
}
