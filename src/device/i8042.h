/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042.h - the keyboard controller of a PC, with a channel for a mouse.
 */
#ifndef RING3_DEVICE_I8042_H
#define RING3_DEVICE_I8042_H

#include "bus/device.h"

struct ps2_device;

struct i8042_config {
    struct irq_line irq;         /* interrupt 1 */
    struct irq_line aux_irq;     /* interrupt 12 */
    struct irq_line a20;         /* high: address line 20 works. May be nobody's */
    /* What is plugged in; they live longer. NULL: nothing is, and a controller without a
     * mouse has no second channel. */
    struct ps2_device *keyboard, *mouse;
};

/* Claims ports 0x60 and 0x64. */
struct device *i8042_new(const struct device_env *env, const struct i8042_config *cfg,
                         struct error **err);

#endif
