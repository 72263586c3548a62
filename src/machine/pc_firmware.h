/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_firmware.h - what a PC's firmware leaves behind for whoever boots.
 *
 * There is no firmware, and no BIOS call does anything. But operating systems
 * read its tables, and real-mode code counts on interrupts finding something
 * harmless at their vectors. All of this is written at every reset, after RAM
 * was cleared and the devices were reset, before the boot image.
 */
#ifndef RING3_MACHINE_PC_FIRMWARE_H
#define RING3_MACHINE_PC_FIRMWARE_H

#include "machine/impl.h"

struct acpi_config;

/* The RSDP is at the very start of the firmware area. */
int pc_firmware_write(struct machine *m, struct error **err);
/* Everything but the place of the FACS. */
void pc_firmware_acpi(const struct machine *m, struct acpi_config *cfg);
/* Registers of the boot processor when it leaves ACPI S3 (ACPI 6.4, 16.3.2). False:
 * the guest said no address. */
bool pc_firmware_waking(struct machine *m, struct x86_state *start);
/* What a processor's registers owe to firmware; for all of them. */
void pc_firmware_cpu(struct x86_state *s);

#endif
