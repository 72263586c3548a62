/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug_exit.h - writing v ends the VM with POWER_DEBUG_EXIT, status (v << 1) | 1.
 */
#ifndef RING3_DEVICE_DEBUG_EXIT_H
#define RING3_DEVICE_DEBUG_EXIT_H

#include "bus/device.h"

struct debug_exit_config {
    uint16_t port;               /* 0xF4, 4 ports: writes of 1, 2 or 4 bytes */
};

struct device *debug_exit_new(const struct device_env *env, const struct debug_exit_config *cfg,
                              struct error **err);

#endif
