/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_devices.h - the devices of a PC, their addresses and their interrupts.
 *
 * Addresses are those of every PC since the AT; where one is ours to choose it
 * is QEMU's, so that guests written for it feel at home.
 */
#ifndef RING3_MACHINE_PC_DEVICES_H
#define RING3_MACHINE_PC_DEVICES_H

#include "machine/impl.h"

struct acpi_config;

enum {
    PC_COM1 = 0x3f8, PC_RTC = 0x70, PC_PM = 0x600, PC_DEBUG_EXIT = 0xf4, PC_DEBUGCON = 0xe9,
    PC_POST = 0x80, PC_PVPANIC = 0x505, PC_FWCFG = 0x510, PC_FIRMWARE_LOG = 0x402,
};
/* Lines that several devices share. Systems want one polarity on a line, and PCI's is
 * low, virtio-mmio's high. */
enum { PC_PCI_GSI = 16, PC_PCI_GSIS = 4, PC_MMIO_GSI = 20, PC_MMIO_GSIS = 4, PC_GSIS = 24 };
/* Also the ISA interrupts that PCI may be routed to (device/piix.h). */
#define PC_SHARED_GSI_MASK 0xffdef8u
/* Slot 1 is the south bridge: functions 0 and 3, and 1 for an IDE controller. */
enum { PC_PIIX_SLOT = 1, PC_IDE_FUNCTION = 1 };
enum { PC_IRQ_TIMER = 0, PC_IRQ_KEYBOARD = 1, PC_IRQ_COM1 = 4, PC_IRQ_RTC = 8, PC_SCI = 9,
       PC_IRQ_MOUSE = 12, PC_IRQ_ATA_PRIMARY = 14, PC_IRQ_ATA_SECONDARY = 15 };

struct pc_wiring {
    struct machine *machine;
    const struct device_env *env;
    /* Each call gives another input of a shared line. */
    struct irq_line (*gsi)(struct machine *m, unsigned gsi);
    struct irq_msi msi;
    struct device *keyboard, *mouse;   /* plugged into the controller */
};

/* Since 1970, when the machine's clock was 0. */
uint64_t pc_devices_epoch_ns(const struct machine *m);
/* Makes every device but the interrupt controllers and gives it to the machine
 * (machine_add_device), in the order in which they are reset. Some are noted in struct pc. */
int pc_devices_make(struct pc_wiring *w, struct error **err);

/* What the ACPI tables say about this hardware, as it is programmed now. */
void pc_devices_acpi(const struct machine *m, struct acpi_config *acpi);

#endif
