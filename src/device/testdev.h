/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * testdev.h - what the guests of kvm-unit-tests expect of a "pc-testdev".
 *
 *   0xE0-0xE3     a dword of storage, read and written in any width
 *   0xE4-0xE7     "flush page": written with a guest address, has no effect
 *   0x2000 + n    interrupt line n of 24: asserted while non-zero
 *   0x2020        guest-physical address (dword) for the next, which kvm-unit-tests
 *                 does not know: 0x2024, a dword that the device stores there
 *   0xFF000000    64 KiB of storage that is a device, not RAM
 *
 * The byte-wide alias at 0xE8 is left out: 0xE9 is the debug console.
 */
#ifndef RING3_DEVICE_TESTDEV_H
#define RING3_DEVICE_TESTDEV_H

#include "bus/device.h"

enum { TESTDEV_LINES = 24 };

struct testdev_config {
    struct irq_line line[TESTDEV_LINES];
};

struct device *testdev_new(const struct device_env *env, const struct testdev_config *cfg,
                           struct error **err);

#endif
