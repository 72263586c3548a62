/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * piix.h - the south bridge: functions 0 (ISA bridge) and 3 (power management) of a slot.
 *
 * The ISA bridge is an 82371SB (PIIX3), the power management function that of an 82371AB
 * (PIIX4): the pair that firmware and systems know from QEMU's `-M pc`. Between them goes
 * the IDE controller as function 1, a device of its own.
 *
 * PIIX routes PCI's interrupt lines (PIRQA-D) to ISA interrupts by its registers 0x60-0x63;
 * at the same time each line has a pin of the IOAPIC for itself, as on later bridges. What
 * is not listened to does no harm: systems use the 8259, or the IOAPIC, and mask the other.
 *
 * The ACPI registers are where function 3 says: `pm_place` is told. The SMBus controller
 * is not there; its enable bit stays 0. SMI on writes to the APM port reads as set up
 * already, since there is no SMM: firmware leaves it alone then.
 */
#ifndef RING3_DEVICE_PIIX_H
#define RING3_DEVICE_PIIX_H

#include "bus/device.h"
#include "pci/pci.h"

enum { PIIX_ISA_IRQS = 16 };

struct piix_config {
    struct pci_bus *pci;
    unsigned slot;
    struct irq_line isa[PIIX_ISA_IRQS];   /* those PCI may be routed to: 3-7, 9-12, 14, 15 */
    struct irq_line apic[PCI_LINES];
    /* The ACPI register block is at `port` now; 0: nowhere. */
    void (*pm_place)(void *opaque, uint16_t port);
    void *pm_opaque;
    /* As firmware would leave it; zeros: as after power-on. */
    uint8_t route[PCI_LINES];             /* ISA interrupt of PIRQA-D */
    uint16_t pm_port;
};

struct device *piix_new(const struct device_env *env, const struct piix_config *cfg,
                        struct error **err);
/* Another input of PIRQA (0) to PIRQD (3). */
struct irq_line piix_pci_line(struct device *dev, unsigned n);
/* Where the ACPI registers are; 0: nowhere. */
uint16_t piix_pm_port(struct device *dev);

#endif
