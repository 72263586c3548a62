/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fwcfg.h - the read-only part of QEMU's firmware configuration device: a
 * selector and a data port.
 *
 * Self-reporting guests (kvm-unit-tests) ask it how many processors to wait
 * for. Items are small numbers, read byte by byte, little-endian; what is
 * not there reads as zeros.
 */
#ifndef RING3_DEVICE_FWCFG_H
#define RING3_DEVICE_FWCFG_H

#include "bus/device.h"

enum { FWCFG_SIGNATURE = 0, FWCFG_ID = 1, FWCFG_RAM_SIZE = 3, FWCFG_NB_CPUS = 5,
       FWCFG_MAX_CPUS = 15, FWCFG_ITEMS_MAX = 8 };
#define FWCFG_SIGNATURE_VALUE 0x554d4551ull      /* "QEMU" */

struct fwcfg_item {
    uint16_t key;
    uint8_t bytes;               /* 1 .. 8 */
    uint64_t value;
};

struct fwcfg_config {
    uint16_t port;               /* 0x510; the data port is the next one */
    struct fwcfg_item item[FWCFG_ITEMS_MAX];
    unsigned items;
};

struct device *fwcfg_new(const struct device_env *env, const struct fwcfg_config *cfg,
                         struct error **err);

#endif
