/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pam.h - shadow RAM between 768 KiB and 1 MiB.
 *
 * Intel 82441FX (data sheet 290549, 3.2.18, "PAM - Programmable Attribute Map"): the area is
 * 13 segments, twelve of 16 KiB from 0xC0000 on and one of 64 KiB at 0xF0000, each with a
 * bit that sends reads to RAM and one that sends writes there. What goes elsewhere meets
 * the ROM that ends at 1 MiB, or nothing. Firmware copies itself into RAM that way and
 * write-protects it then.
 *
 * The registers are 0x59 to 0x5F of the host bridge's configuration space; the three
 * functions below are its hooks (pci/pci.h, pci_bus_config). The map changes by
 * device_env.still.
 *
 * RAM offsets in this area are addresses. Threads: VM lock held.
 */
#ifndef RING3_PCI_PAM_H
#define RING3_PCI_PAM_H

#include "bus/device.h"
#include "pci/pci.h"

#define PAM_START 0xc0000ull
#define PAM_END   0x100000ull

struct pam;

struct pam_config {
    hva_t rom;               /* the caller's; its last byte is the last below 1 MiB */
    uint64_t rom_bytes;      /* a multiple of 64 KiB, at most 256 KiB */
};

struct pam *pam_new(const struct device_env *env, const struct pam_config *cfg,
                    struct error **err);
void pam_free(struct pam *p);                                /* NULL ok */

void pam_bridge_init(void *pam, struct pci_function *bridge);
void pam_bridge_changed(void *pam, const struct pci_function *bridge);

#endif
