/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioapic.h - the 82093AA I/O APIC (private to irqchip). VM lock held.
 */
#ifndef RING3_IRQCHIP_IOAPIC_H
#define RING3_IRQCHIP_IOAPIC_H

#include "bus/device.h"

struct apic_bus;

struct ioapic_config {
    struct apic_bus *bus;
    uint64_t base;           /* of the 4 KiB page */
};

struct device *ioapic_new(const struct device_env *env, const struct ioapic_config *cfg,
                          struct error **err);
void ioapic_set(struct device *dev, unsigned pin, bool level);   /* pin < IOAPIC_PINS */
/* EOI broadcast of a local APIC, or a write to the EOI register. */
void ioapic_eoi(struct device *dev, uint8_t vector);
/* Sends again what nobody took. Edges that nobody took are gone. */
void ioapic_retry(struct device *dev);

#endif
