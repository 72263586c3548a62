/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text_screen.h - a screen of 80 by 25 characters with attributes, and nothing else of a VGA.
 *
 * Hypercalls write to it (text_screen_put). With a window the guest can, too: 32 KiB of
 * read-only memory, as a rule at 0xB8000, whose writes come out one by one. Whoever owns
 * the display asks for paint and characters.
 *
 * Attributes: background << 4 | foreground, 16 colours each; nothing blinks.
 *
 * Threads: VM lock held.
 */
#ifndef RING3_DEVICE_TEXT_SCREEN_H
#define RING3_DEVICE_TEXT_SCREEN_H

#include "bus/device.h"

struct display;
struct strbuf;

enum { TEXT_SCREEN_COLUMNS = 80, TEXT_SCREEN_ROWS = 25,
       TEXT_SCREEN_CELLS = TEXT_SCREEN_COLUMNS * TEXT_SCREEN_ROWS,
       TEXT_SCREEN_WINDOW_BYTES = 0x8000 };

struct text_screen_config {
    uint64_t window;                 /* guest-physical address, 0: none */
};

struct device *text_screen_new(const struct device_env *env, const struct text_screen_config *cfg,
                            struct error **err);
/* `first` and `count` are on the screen. */
void text_screen_put(struct device *dev, unsigned first, const uint8_t *cells, unsigned count);

/* For the display's card. */
void text_screen_paint(struct device *dev, struct display *d);
void text_screen_invalidate(struct device *dev);
void text_screen_lines(struct device *dev, struct strbuf *out);

#endif
