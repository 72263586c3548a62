/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hpet.h - high precision event timer: a 64-bit counter and three comparators.
 *
 * It is where every PC has it, and not in the ACPI tables: a guest that looks
 * for it there finds better clocks. There is no legacy replacement routing (it
 * is optional, and would take interrupts 0 and 8 from their owners) and no
 * delivery by message.
 */
#ifndef RING3_DEVICE_HPET_H
#define RING3_DEVICE_HPET_H

#include "bus/device.h"

#define HPET_BASE 0xfed00000ull

/* Interrupts 16 to 23 are nobody else's: a comparator may be routed to any. */
enum { HPET_FIRST_LINE = 16, HPET_LINES = 8 };

struct hpet_config {
    uint64_t base;
    struct irq_line line[HPET_LINES];
};

struct device *hpet_new(const struct device_env *env, const struct hpet_config *cfg,
                        struct error **err);

#endif
