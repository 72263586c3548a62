/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_fwcfg.h - what a PC tells its firmware: memory, tables, what to boot from.
 *
 * The numbers are there from the start (kvm-unit-tests ask for the processors); the files
 * are for a firmware, and filled in when all devices are there. ACPI tables are built when
 * firmware asks for them: by then it has said where the PCI windows and the ACPI registers
 * are.
 */
#ifndef RING3_MACHINE_PC_FWCFG_H
#define RING3_MACHINE_PC_FWCFG_H

#include "machine/impl.h"

struct device;
struct device_env;

struct device *pc_fwcfg_new(struct machine *m, const struct device_env *env, struct error **err);
/* VM lock held. */
int pc_fwcfg_fill(struct machine *m, struct device *fwcfg, struct error **err);
/* CMOS memory as a BIOS before fw_cfg looks for it. */
void pc_cmos(const struct machine *m, uint8_t cmos[128]);

#endif
