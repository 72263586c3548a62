/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic.h - port 0x505, through which a guest says that it panicked.
 */
#ifndef RING3_DEVICE_PVPANIC_H
#define RING3_DEVICE_PVPANIC_H

#include "bus/device.h"

struct pvpanic_config {
    uint16_t port;               /* 0x505 */
};

struct device *pvpanic_new(const struct device_env *env, const struct pvpanic_config *cfg,
                           struct error **err);

#endif
