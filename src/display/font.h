/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * font.h - the built-in font: code page 437, as PCs have it in ROM.
 *
 * Made at build time from GNU Unifont (make_font.py). A row is a byte, its most
 * significant bit leftmost.
 */
#ifndef RING3_DISPLAY_FONT_H
#define RING3_DISPLAY_FONT_H

#include "base/types.h"

struct strbuf;

enum { FONT_GLYPHS = 256, FONT_WIDTH = 8, FONT_HEIGHT = 16 };

extern const uint8_t font_8x16[FONT_GLYPHS][FONT_HEIGHT];
/* What a character means; blanks for 0 and 255. */
extern const uint16_t font_unicode[FONT_GLYPHS];

/* A line of `n` characters `step` bytes apart as UTF-8, trailing blanks cut, with a
 * newline. For display_card.text. */
void font_add_line(struct strbuf *out, const uint8_t *chars, unsigned n, unsigned step);

#endif
