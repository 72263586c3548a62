/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8259.h - the PC's pair of 8259A interrupt controllers (private to irqchip).
 *
 * Interrupt n of the pair is input n & 7 of chip n >> 3. The slave's output is
 * the master's input 2, so line 2 of the pair does not exist: setting it does
 * nothing. VM lock held in every function.
 */
#ifndef RING3_IRQCHIP_I8259_H
#define RING3_IRQCHIP_I8259_H

#include "bus/device.h"

struct i8259_config {
    struct irq_line intr;    /* the master's INT output */
    uint16_t elcr;           /* level-triggered inputs after reset */
};

/* Claims ports 0x20-0x21, 0xA0-0xA1 and 0x4D0-0x4D1. Type "i8259". */
struct device *i8259_new(const struct device_env *env, const struct i8259_config *cfg,
                         struct error **err);
struct irq_line i8259_line(struct device *dev, unsigned n);
bool i8259_intr(const struct device *dev);     /* level of the INT output */
/* The two INTA cycles: gives the vector. Without a request that is the
 * spurious interrupt 7 (or 15 when only the slave's has gone). */
uint8_t i8259_ack(struct device *dev);

#endif
