/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi.h - the ACPI tables of a PC.
 *
 * RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG and DSDT (ACPI 6.4), written into one
 * area of guest memory that the memory map reports as reserved. The machine
 * says what there is and where; nothing here knows addresses of its own. The
 * platform is not "hardware-reduced": it has a PM1 block, a PM timer and an
 * SCI, and is in ACPI mode from the start (SMI_CMD is 0).
 */
#ifndef RING3_BOOT_ACPI_H
#define RING3_BOOT_ACPI_H

#include "base/types.h"

enum { ACPI_ISA_DEVICES_MAX = 8, ACPI_OVERRIDES_MAX = 4, ACPI_VIRTIO_MAX = 32 };

/* A device at a fixed place, for the DSDT. */
struct acpi_isa_device {
    char name[5];              /* "COM1" */
    const char *hid;           /* "PNP0501" (EISA id) or any other string */
    uint16_t port[2];          /* 0 = none */
    uint8_t ports[2];
    uint8_t irq;               /* 0 = none */
    uint8_t uid;
};

/* MADT interrupt source override. */
struct acpi_override {
    uint8_t isa_irq;
    uint32_t gsi;
    uint16_t flags;            /* MPS INTI flags: 0 = as the bus, 0xd = level, active high */
};

/* A range of addresses; size 0: there is none. */
struct acpi_window {
    uint64_t base, size;
};

/* One PCI bus. INTx pin p (0 .. 3) of slot s is on line (s + p - 1) % gsis, which is GSI
 * first_gsi + line, and ISA interrupt irq[line] for a system that does without the IOAPIC. */
struct acpi_pci {
    bool present;
    uint64_t ecam;             /* 1 MiB of configuration space; 0 = by ports only */
    struct acpi_window memory, memory2, memory64;
    unsigned first_gsi, gsis;
    uint8_t irq[4];
};

/* A virtio-mmio device (LNRO0005). */
struct acpi_virtio {
    uint32_t base, bytes, gsi;
};

struct acpi_config {
    unsigned cpus;             /* 1 .. 255; APIC ID = index */
    uint32_t lapic_base, ioapic_base;
    uint8_t ioapic_id;
    struct acpi_override override[ACPI_OVERRIDES_MAX];
    unsigned overrides;

    uint16_t pm1_event, pm1_control, pm_timer;   /* ports: 4, 2 and 4 bytes */
    bool pm_timer_32bit;
    bool power_button;         /* the fixed one, in the PM1 registers */
    uint8_t sci_irq;
    uint8_t s3_sleep_type;     /* SLP_TYP that suspends to RAM; 0 = none */
    uint8_t s5_sleep_type;     /* SLP_TYP that powers off */
    bool rtc_wakes;            /* the RTC has its bits in the PM1 registers */
    gpa_t facs;                /* in RAM: whoever suspends writes to it; 0 = with the tables */
    uint16_t reset_port;
    uint8_t reset_value;
    uint8_t rtc_century;       /* CMOS index, 0 = none */
    bool has_8042, has_vga;

    struct acpi_isa_device device[ACPI_ISA_DEVICES_MAX];
    unsigned devices;
    struct acpi_pci pci;
    struct acpi_virtio virtio[ACPI_VIRTIO_MAX];
    unsigned virtios;
};

/* The FACS (5.2.10), and where in it the address is at which a guest that was
 * suspended goes on in real mode. */
enum { ACPI_FACS_BYTES = 64, ACPI_FACS_WAKING_VECTOR = 12 };
void acpi_facs_build(uint8_t facs[ACPI_FACS_BYTES]);

/* Writes the tables to area[0..size), which the guest sees at `base` (64-byte
 * aligned, below 4 GiB). The RSDP comes first: its address is `base`. Returns
 * the bytes used. BUG when the area is too small; 32 KiB holds 255 CPUs. */
size_t acpi_build(const struct acpi_config *cfg, uint8_t *area, size_t size, gpa_t base);

#endif
