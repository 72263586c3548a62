/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042.h - the keyboard controller, with nothing attached to it.
 */
#ifndef RING3_DEVICE_I8042_H
#define RING3_DEVICE_I8042_H

#include "bus/device.h"

struct i8042_config {
    struct irq_line irq;         /* interrupt 1 */
};

/* Claims ports 0x60 and 0x64. */
struct device *i8042_new(const struct device_env *env, const struct i8042_config *cfg,
                         struct error **err);

#endif
