/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga.h - a VGA with Bochs' linear frame buffer: what QEMU calls "std".
 *
 * The register set of IBM's VGA (sequencer, CRT controller, graphics and attribute
 * controllers, DAC) with 256 KiB in four planes, Bochs' "DISPI" interface beyond that
 * (resolutions up to 2560x1600 at 4 to 32 bits per pixel, banks, panning), and EDID. On
 * PCI it is 1234:1111 revision 2, so that vgabios-stdvga, OVMF's QemuVideoDxe and Linux's
 * bochs-drm drive it:
 *
 *   BAR 0   16 MiB of video memory, plain memory to the guest
 *   BAR 2   0x000 EDID, 0x400 ports 0x3C0-0x3DF, 0x500 DISPI registers, 0x600 byte order
 *   ROM     the video BIOS, where there is one
 *
 * After reset it shows 80x25 text with the built-in font and the palette of mode 3, as
 * firmware would leave it; video BIOSes program it all again.
 *
 * VIDEO MEMORY AND WINDOWS. What the guest does through the window at 0xA0000 is a call
 * for every access only where planes and latches make it one. In text modes the window at
 * 0xB8000 is plain memory of its own (exchanged with the planes when the mode changes);
 * where bytes lie linearly (mode 13h, DISPI modes of 8 bits and more) the window shows the
 * video memory itself. Nothing is told by the guest's writes; painting compares with what
 * was painted last. In the planes, bytes of one address lie side by side, and what is
 * written in chains of two or four lies packed: word and doubleword addressing of the CRT
 * controller are therefore no different from byte addressing.
 *
 * WHAT A GUEST PROGRAMS IS TAKEN AS IT COMES: sizes are clamped where they are used, and
 * addresses wrap at the end of the memory they are in.
 *
 * Not state (the tables do not have it): the contents of video memory, which is guest
 * memory. Threads: VM lock held, except by vCPUs in plain memory.
 */
#ifndef RING3_DEVICE_VGA_H
#define RING3_DEVICE_VGA_H

#include "bus/device.h"

struct display;
struct pci_bus;

enum { VGA_MEMORY_BYTES = 16 << 20 };

struct vga_config {
    struct pci_bus *pci;         /* NULL: an ISA card, no frame buffer, no ROM */
    int slot;                    /* on `pci`; < 0: the first free one */
    const uint8_t *rom;          /* copied; NULL: none */
    size_t rom_bytes;
    bool text_exits;             /* writes to text memory are calls, reads are not: slow, for
                                    comparing with paravirtual screens */
    unsigned width, height;      /* that EDID prefers; 0: 1024x768 */
};

/* Without env->memory (tests) there are registers alone. */
struct device *vga_new(const struct device_env *env, const struct vga_config *cfg,
                       struct error **err);
/* Owned by the card. */
struct display *vga_display(struct device *dev);

#endif
