/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_board.h - the inside of a PC, for the pc_*.c files.
 *
 * struct pc is the machine's `board`. Devices in it are the machine's to destroy; the rest
 * is pc_destroy()'s.
 */
#ifndef RING3_MACHINE_PC_BOARD_H
#define RING3_MACHINE_PC_BOARD_H

#include "boot/e820.h"
#include "bus/irq_share.h"
#include "machine/pc_devices.h"
#include "machine/pc_map.h"
#include "machine/pc_rom.h"
#include "machine/pc_vars.h"

struct pam;

struct pc {
    struct pc_ram ram[PC_RAM_RANGES];
    unsigned rams;
    struct e820_map map;
    struct pc_rom rom;
    struct pc_vars vars;
    struct pam *pam;
    bool a20, a20_shown;             /* as the line is; as the memory map is */
    struct device *com1, *pci, *piix, *acpi_pm, *rtc, *fwcfg /* or NULL */;
    struct irq_share share[PC_GSIS];
    char firmware_line[160];         /* what it says of itself, until the line ends */
    size_t firmware_line_len;
};

static inline struct pc *pc_of(const struct machine *m)
{
    return m->board;
}

/* pc_memory.c: RAM, ROM, what covers what. */
int pc_memory_map(struct machine *m, struct error **err);
/* The shadow RAM's map; VM lock held. */
int pc_memory_make_pam(struct machine *m, const struct device_env *env, struct error **err);
/* RAM as after power-on, and given back to the host. No vCPU runs. */
void pc_memory_clear(struct machine *m);
struct irq_line pc_memory_a20(struct machine *m);
/* Before memory goes. */
void pc_memory_unmap(struct machine *m);

#endif
