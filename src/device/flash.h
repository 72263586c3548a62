/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flash.h - a parallel flash chip with Intel's command set, as UEFI firmware keeps its
 * variables in.
 *
 * Contents are the caller's bytes; the chip changes them and says which. The guest's reads
 * always come to the chip: nothing executes from a variable store, and going back and
 * forth between memory and registers for each byte that is written would stop every vCPU
 * each time (bus/device.h, still_line).
 */
#ifndef RING3_DEVICE_FLASH_H
#define RING3_DEVICE_FLASH_H

#include "bus/device.h"

enum { FLASH_SECTOR_BYTES = 4096 };

struct flash_config {
    const char *name;
    uint64_t base;
    uint8_t *data;               /* outlives the device */
    uint64_t bytes;              /* of whole sectors */
    /* These bytes are not what they were. May be NULL. */
    void (*changed)(void *opaque, uint64_t offset, uint64_t bytes);
    void *opaque;
};

struct device *flash_new(const struct device_env *env, const struct flash_config *cfg,
                         struct error **err);

#endif
