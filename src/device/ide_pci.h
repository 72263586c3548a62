/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ide_pci.h - the IDE function of Intel's 82371SB (PIIX3): bus-master DMA for two ATA
 * channels.
 *
 * Follows the PIIX3 data sheet (290550, 3.2 and 4.x) and "Programming Interface for Bus
 * Master IDE Controller", revision 1.0. The channels stay at their ISA addresses and
 * interrupts, whatever the function's registers say: it is their DMA, not their decoder.
 *
 * DESCRIPTORS (PRDs) are the guest's, and may say anything. One that does not lie in RAM,
 * or that names something else than RAM (nothing, a ROM, a device's registers, this one's
 * own included), ends the transfer: error bit, active bit off, the drive's command ends
 * with ABRT and an interrupt. A table that ends before the drive's data does stops with
 * the active bit off and no interrupt; the drive waits, and a new table started then goes
 * on where it was. A transfer against the direction of the command register is an error
 * likewise, as is one while the function is no bus master in its PCI command register.
 *
 * Threads: VM lock held in everything.
 */
#ifndef RING3_DEVICE_IDE_PCI_H
#define RING3_DEVICE_IDE_PCI_H

#include "bus/device.h"
#include "pci/pci.h"

enum { IDE_CHANNELS = 2 };

struct ide_pci_config {
    struct device *channel[IDE_CHANNELS];    /* primary, secondary (device/ata.h); not owned,
                                                they are destroyed later than this */
    int slot;                        /* -1: any */
    unsigned function;               /* not 0: beside the function 0 of that slot */
};
struct device *ide_pci_new(const struct device_env *env, struct pci_bus *bus,
                           const struct ide_pci_config *cfg, struct error **err);

#endif
