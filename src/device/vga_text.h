/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_text.h - a screen of 80 by 25 characters with attributes, and nothing else of a VGA.
 *
 * Hypercalls write to it (vga_text_put). With a window the guest can, too: 32 KiB of
 * read-only memory, as a rule at 0xB8000, whose writes come out one by one. Whoever owns
 * the display asks for paint and characters.
 *
 * Attributes: background << 4 | foreground, 16 colours each; nothing blinks.
 *
 * Threads: VM lock held.
 */
#ifndef RING3_DEVICE_VGA_TEXT_H
#define RING3_DEVICE_VGA_TEXT_H

#include "bus/device.h"

struct display;
struct strbuf;

enum { VGA_TEXT_COLUMNS = 80, VGA_TEXT_ROWS = 25,
       VGA_TEXT_CELLS = VGA_TEXT_COLUMNS * VGA_TEXT_ROWS, VGA_TEXT_WINDOW_BYTES = 0x8000 };

struct vga_text_config {
    uint64_t window;                 /* guest-physical address, 0: none */
};

struct device *vga_text_new(const struct device_env *env, const struct vga_text_config *cfg,
                            struct error **err);
/* `first` and `count` are on the screen. */
void vga_text_put(struct device *dev, unsigned first, const uint8_t *cells, unsigned count);

/* For the display's card. */
void vga_text_paint(struct device *dev, struct display *d);
void vga_text_invalidate(struct device *dev);
void vga_text_lines(struct device *dev, struct strbuf *out);

#endif
