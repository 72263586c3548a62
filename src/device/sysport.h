/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sysport.h - system control port A (0x92) and the reset control register
 * (0xCF9, byte accesses to 0xCF8-0xCFB). Port 0x61 belongs to the 8254.
 */
#ifndef RING3_DEVICE_SYSPORT_H
#define RING3_DEVICE_SYSPORT_H

#include "bus/device.h"

enum { SYSPORT_RESET_CONTROL = 0xcf9, SYSPORT_RESET_VALUE = 0x06 /* for the FADT */ };

struct sysport_config {
    bool no_reset_control;       /* somebody else (a host bridge) has port 0xCF9 */
    /* Whole dwords at 0xCF8 are the PCI configuration address: whose. NULL: nobody's. */
    uint64_t (*dword_read)(void *opaque);
    void (*dword_write)(void *opaque, uint64_t value);
    void *dword_opaque;
    struct irq_line a20;         /* high: address bit 20 is the processor's */
};

struct device *sysport_new(const struct device_env *env, const struct sysport_config *cfg,
                           struct error **err);

#endif
