/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text.h - painting cells of text onto a display, only those that changed.
 *
 * Whoever has a text mode puts a picture together cell by cell, from text_begin() to
 * text_end(), as often as somebody looks; the painter compares with what it painted
 * last. Cells say everything that matters for their looks, so a changed palette or a
 * blinking cursor needs nothing further; only a changed font does (text_invalidate()).
 *
 * A zeroed struct is valid and empty. Threads: VM lock held.
 */
#ifndef RING3_DISPLAY_TEXT_H
#define RING3_DISPLAY_TEXT_H

#include "display/display.h"

enum { TEXT_COLUMNS_MAX = 512, TEXT_ROWS_MAX = 512, TEXT_FONTS = 2, TEXT_GLYPH_ROWS = 32 };

enum text_cell_flags {
    TEXT_NINTH_REPEATS = 1,      /* 9 columns: the last is the eighth again */
};

struct text_cell {
    uint32_t fg, bg;             /* 0x00RRGGBB */
    uint8_t character, font;
    uint8_t flags;
    uint8_t bar_first, bar_last; /* rows in fg whatever the glyph: cursor, underline */
    bool bar;
};

struct text_shape {
    unsigned columns, rows;      /* clamped to 1..MAX */
    unsigned width, height;      /* of a cell: 8, 9, 16 or 18 (doubled); 1..32 */
    /* Rows of a glyph are bytes; glyph n begins at n * stride, which is >= height. */
    const uint8_t *font[TEXT_FONTS];
    unsigned stride;
};

struct text_painter {
    struct text_shape shape;
    struct text_cell *shadow;    /* columns * rows */
    size_t capacity;
    struct display *display;
    unsigned dirty_first, dirty_last, dirty_row;   /* of the row being put */
    bool all;
};

void text_painter_fini(struct text_painter *t);
void text_invalidate(struct text_painter *t);
/* Resizes the display when the shape asks for it. False: no memory; put nothing. */
bool text_begin(struct text_painter *t, struct display *d, const struct text_shape *shape);
/* Out of range is ignored. Row by row, or the rectangles reported get many. */
void text_put(struct text_painter *t, unsigned column, unsigned row, const struct text_cell *c);
void text_end(struct text_painter *t);

#endif
