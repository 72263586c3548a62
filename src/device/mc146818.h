/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mc146818.h - real-time clock and CMOS memory.
 *
 * Guest time of day is base_s + clock. A reset puts back the time and the CMOS
 * contents the device was made with: a reset device equals a new one.
 */
#ifndef RING3_DEVICE_MC146818_H
#define RING3_DEVICE_MC146818_H

#include "bus/device.h"

enum { MC146818_CMOS_BYTES = 128, MC146818_CENTURY = 0x32 /* for the FADT */ };

struct mc146818_config {
    uint16_t port;               /* 0x70 */
    struct irq_line irq;         /* interrupt 8 */
    int64_t base_s;              /* time of day at clock time 0, seconds since 1970 */
    const uint8_t *cmos;         /* initial contents, 128 bytes, or NULL for zeros; the
                                  * clock's own registers in it (0-13, century) are ignored */
};

struct device *mc146818_new(const struct device_env *env, const struct mc146818_config *cfg,
                            struct error **err);
/* Sets a byte of the memory (14 .. 127), as somebody other than the guest does. */
void mc146818_cmos_set(struct device *dev, unsigned index, uint8_t value);
bool mc146818_nmi_masked(struct device *dev);    /* port 0x70 bit 7 */

#endif
