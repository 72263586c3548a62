/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_vga.h - the PC's video card (--vga). */
#ifndef RING3_MACHINE_PC_VGA_H
#define RING3_MACHINE_PC_VGA_H

#include "machine/pc_devices.h"

/* Makes the card that machine_config.vga asks for and gives it, and its display, to the
 * machine. VM lock held. */
int pc_vga_make(struct pc_wiring *w, struct error **err);
bool pc_vga_wanted(const struct machine *m);

#endif
