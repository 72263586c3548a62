/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debugcon.h - a port that prints (0xE9; firmware uses 0x402). Reading it gives
 * 0xE9, which is how guests find it.
 */
#ifndef RING3_DEVICE_DEBUGCON_H
#define RING3_DEVICE_DEBUGCON_H

#include "bus/device.h"

enum { DEBUGCON_READBACK = 0xe9 };

struct debugcon_config {
    const char *name;            /* NULL = "debugcon" */
    uint16_t port;
    void (*write)(void *opaque, const uint8_t *data, size_t len);   /* may be NULL */
    void *opaque;
};

struct device *debugcon_new(const struct device_env *env, const struct debugcon_config *cfg,
                            struct error **err);

#endif
