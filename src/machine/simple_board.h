/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_board.h - the inside of the simple machine (simple.c, simple_devices.c).
 *
 *   0             RAM up to 3 GiB; on machine `teach` the text window is at 0xB8000
 *   4 GiB         the rest of RAM, up to the device table
 *   0xFEC00000    IOAPIC, local APICs, the two pages of the hypercalls
 *   0xF_0000_0000 device table, read-only, then the memory of the devices
 */
#ifndef RING3_MACHINE_SIMPLE_BOARD_H
#define RING3_MACHINE_SIMPLE_BOARD_H

#include "boot/e820.h"
#include "boot/raw.h"
#include "device/simple.h"
#include "machine/impl.h"

#define SIMPLE_LOW_END       0xc0000000ull
#define SIMPLE_HIGH          0x100000000ull
#define SIMPLE_MAPPED_BYTES  0x80000000ull      /* of table and device memory, for ELF programs */
#define SIMPLE_DEBUG_EXIT    0xf4
#define SIMPLE_TEXT_WINDOW   0xb8000ull        /* TEXT_SCREEN_WINDOW_BYTES of it */

struct simple_board {
    struct e820_map map;
    struct boot_raw raw;
    bool boots_raw, text_window;
    uint8_t *table;                              /* what the guest sees of it */
    uint64_t next_memory;                        /* where the next device's memory goes */
    struct simple_ports ports;
    struct { uint64_t base, bytes; } memory[SIMPLE_PORTS_MAX];
    unsigned devices;
    struct device *serial, *text, *keyboard;
    struct block *disk;                          /* of the first one; its device owns it,
                                                    ATA on machine teach */
    uint16_t power_port;
};

struct simple_wiring {
    struct machine *machine;
    struct simple_board *board;
    const struct device_env *env;
};

/* The next row of the table: port, pin, memory of `bytes`. The name is copied into the
 * table; the slot has a name that is good while the table is. VM lock held. */
int simple_take_slot(struct simple_wiring *w, uint32_t id, const char *name, uint64_t bytes,
                     struct simple_slot *slot, struct error **err);
/* simple_plugs.c: --disk, --net */
int simple_plug_all(struct simple_wiring *w, struct error **err);

/* Makes all of them, writes the table. VM lock held. */
int simple_devices_make(struct machine *m, const struct device_env *env, struct error **err);
/* Device memory as after power-on. No vCPU runs. */
void simple_devices_clear(struct machine *m);

#endif
