/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * postcode.h - port 0x80: the last byte written is remembered and traced.
 */
#ifndef RING3_DEVICE_POSTCODE_H
#define RING3_DEVICE_POSTCODE_H

#include "bus/device.h"

struct postcode_config {
    uint16_t port;               /* 0x80 */
};

struct device *postcode_new(const struct device_env *env, const struct postcode_config *cfg,
                            struct error **err);
uint8_t postcode_last(struct device *dev);

#endif
