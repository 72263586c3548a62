/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_pm.h - ACPI fixed hardware: PM1a event and control, PM timer, an empty
 * GPE0 block, a reset register and, if wanted, the SMI command port.
 */
#ifndef RING3_DEVICE_ACPI_PM_H
#define RING3_DEVICE_ACPI_PM_H

#include "bus/device.h"

/* Offsets from the base port, for the FADT. */
enum {
    ACPI_PM_EVENT = 0x00,        /* PM1a_EVT_BLK, 4 bytes */
    ACPI_PM_CONTROL = 0x04,      /* PM1a_CNT_BLK, 2 bytes */
    ACPI_PM_TIMER = 0x08,        /* PM_TMR_BLK, 4 bytes */
    ACPI_PM_GPE0 = 0x0c,         /* GPE0_BLK, 4 bytes, all zero */
    ACPI_PM_RESET = 0x10,        /* RESET_REG, 1 byte */
    ACPI_PM_PORTS = 0x14,
};
enum { ACPI_PM_HZ = 3579545, ACPI_PM_RESET_VALUE = 1, ACPI_PM_S3_TYPE = 1, ACPI_PM_S5_TYPE = 5,
       ACPI_PM_SMI_ENABLE = 0xa1, ACPI_PM_SMI_DISABLE = 0xa0 };

struct acpi_pm_config {
    uint16_t port;               /* 0: nowhere until acpi_pm_place() */
    struct irq_line sci;         /* a level */
    bool timer_32bit;            /* as in the FADT's TMR_VAL_EXT */
    struct irq_line rtc;         /* where acpi_pm_rtc_line() leads on to */
    uint16_t smi_port;           /* SMI_CMD; 0 = none, and ACPI mode from the start */
};

struct device *acpi_pm_new(const struct device_env *env, const struct acpi_pm_config *cfg,
                           struct error **err);
/* The registers move to `port` (0: nowhere), as a chip set's PMBASE says. A place that is
 * taken is nowhere, too. */
void acpi_pm_place(struct device *dev, uint16_t port);
/* The RTC's interrupt comes through here, since it also wakes from S3. */
struct irq_line acpi_pm_rtc_line(struct device *dev);
/* Presses the power button. False when the guest does not listen to it. */
bool acpi_pm_power_button(struct device *dev);

#endif
