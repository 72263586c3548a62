/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8254.h - the programmable interval timer and port 0x61 around it.
 */
#ifndef RING3_DEVICE_I8254_H
#define RING3_DEVICE_I8254_H

#include "bus/device.h"

enum { I8254_HZ = 1193182 };

struct i8254_config {
    struct irq_line irq;     /* OUT of channel 0: interrupt 0 */
};

/* Claims ports 0x40-0x43 and 0x61. State: struct i8254_state (irqchip/state.h). */
struct device *i8254_new(const struct device_env *env, const struct i8254_config *cfg,
                         struct error **err);

#endif
