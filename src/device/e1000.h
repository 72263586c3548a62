/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e1000.h - Intel 82540EM gigabit Ethernet controller, for guests without virtio.
 *
 * Follows Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual" (317453), as far as drivers go: legacy, context and data
 * descriptors with checksum and TCP segmentation, filters for addresses and VLANs,
 * EEPROM by bits and by EERD, a PHY that is always happy, interrupt throttling.
 * Not there: wake-up, flow control, receive descriptor delays (RDTR, RADV, TIDV:
 * what they delay is not).
 *
 * The device owns its back end. VM lock held in everything.
 */
#ifndef RING3_DEVICE_E1000_H
#define RING3_DEVICE_E1000_H

#include "bus/device.h"
#include "net/net.h"
#include "pci/pci.h"

struct e1000_config {
    const char *name;                /* "net0" */
    struct net *net;                 /* taken over, on failure too */
    uint8_t mac[6];
};

struct device *e1000_new(const struct device_env *env, struct pci_bus *bus,
                         const struct e1000_config *cfg, struct error **err);
/* The back end behind it; NULL: another kind of device. */
struct net *e1000_backend(const struct device *dev);
/* Whole lines for `info network`: what it is, accesses and interrupts per frame. */
void e1000_describe(const struct device *dev, struct strbuf *out);

#endif
