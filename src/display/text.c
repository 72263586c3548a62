/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text.c - cells of text become pixels.
 *
 * What is reported as changed is one stretch of cells per row: few rectangles, and
 * hardly more pixels than there were changes.
 */
#include "display/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "display/font.h"

void text_painter_fini(struct text_painter *t)
{
    free(t->shadow);
    *t = (struct text_painter){0};
}

void text_invalidate(struct text_painter *t)
{
    t->all = true;
}

static unsigned clamp(unsigned v, unsigned max)
{
    return v < 1 ? 1 : v > max ? max : v;
}

static bool same_shape(const struct text_shape *a, const struct text_shape *b)
{
    return a->columns == b->columns && a->rows == b->rows && a->width == b->width &&
           a->height == b->height && a->font[0] == b->font[0] && a->font[1] == b->font[1] &&
           a->stride == b->stride;
}

bool text_begin(struct text_painter *t, struct display *d, const struct text_shape *shape)
{
    struct text_shape s = *shape;
    const struct display_surface *now;
    size_t cells;

    s.columns = clamp(s.columns, TEXT_COLUMNS_MAX);
    s.rows = clamp(s.rows, TEXT_ROWS_MAX);
    s.height = clamp(s.height, TEXT_GLYPH_ROWS);
    s.width = clamp(s.width, 2 * FONT_WIDTH + 2);
    cells = (size_t)s.columns * s.rows;
    if (cells > t->capacity) {
        struct text_cell *more = realloc(t->shadow, cells * sizeof *more);

        if (!more)
            return false;
        t->shadow = more;
        t->capacity = cells;
    }
    now = display_surface(d);
    t->all |= t->display != d || !same_shape(&t->shape, &s) ||
              now->width != s.columns * s.width || now->height != s.rows * s.height;
    t->shape = s;
    t->display = d;
    t->dirty_row = UINT32_MAX;
    display_resize(d, s.columns * s.width, s.rows * s.height);
    if (t->all)
        memset(t->shadow, 0, cells * sizeof *t->shadow);
    return true;
}

/* One row of a glyph, `width` pixels: 8 or 9 columns, or these doubled. */
static void paint_row(uint32_t *to, unsigned width, uint8_t bits, const struct text_cell *c)
{
    unsigned scale = width > FONT_WIDTH + 1 ? 2 : 1;

    for (unsigned x = 0; x < width; x++) {
        unsigned column = x / scale;
        bool on = column < FONT_WIDTH ? bits >> (FONT_WIDTH - 1 - column) & 1
                                      : c->flags & TEXT_NINTH_REPEATS && bits & 1;

        to[x] = on ? c->fg : c->bg;
    }
}

static void paint(struct text_painter *t, unsigned column, unsigned row,
                  const struct text_cell *c)
{
    const struct text_shape *s = &t->shape;
    const struct display_surface *out = display_surface(t->display);
    const uint8_t *glyph = s->font[c->font % TEXT_FONTS] + (size_t)c->character * s->stride;
    unsigned x = column * s->width, y = row * s->height;

    if (x + s->width > out->width || y + s->height > out->height)
        return;                  /* the display could not be made so large */
    for (unsigned i = 0; i < s->height; i++) {
        bool bar = c->bar && i >= c->bar_first && i <= c->bar_last;

        paint_row(out->pixels + (size_t)(y + i) * out->stride + x, s->width,
                  bar ? 0xff : glyph[i], c);
        if (bar && s->width % 9 == 0)            /* bars reach across the ninth column */
            for (unsigned k = s->width - s->width / 9; k < s->width; k++)
                out->pixels[(size_t)(y + i) * out->stride + x + k] = c->fg;
    }
}

static void report(struct text_painter *t)
{
    const struct text_shape *s = &t->shape;

    if (t->dirty_row != UINT32_MAX)
        display_dirty(t->display, (struct display_rect){
            t->dirty_first * s->width, t->dirty_row * s->height,
            (t->dirty_last - t->dirty_first + 1) * s->width, s->height});
    t->dirty_row = UINT32_MAX;
}

static bool same_cell(const struct text_cell *a, const struct text_cell *b)
{
    return a->fg == b->fg && a->bg == b->bg && a->character == b->character &&
           a->font == b->font && a->flags == b->flags && a->bar == b->bar &&
           (!a->bar || (a->bar_first == b->bar_first && a->bar_last == b->bar_last));
}

void text_put(struct text_painter *t, unsigned column, unsigned row, const struct text_cell *c)
{
    const struct text_shape *s = &t->shape;
    struct text_cell *old;

    if (column >= s->columns || row >= s->rows)
        return;
    old = &t->shadow[(size_t)row * s->columns + column];
    if (!t->all && same_cell(old, c))
        return;
    *old = *c;
    paint(t, column, row, c);
    if (t->dirty_row != row) {
        report(t);
        t->dirty_row = row;
        t->dirty_first = column;
    }
    t->dirty_first = column < t->dirty_first ? column : t->dirty_first;
    t->dirty_last = column;
}

void text_end(struct text_painter *t)
{
    report(t);
    t->all = false;
}

/* ---- the text of the screen ---- */

static void add_utf8(struct strbuf *out, uint16_t c)
{
    uint8_t bytes[3] = {(uint8_t)(0xe0 | c >> 12), (uint8_t)(0x80 | (c >> 6 & 0x3f)),
                        (uint8_t)(0x80 | (c & 0x3f))};

    if (c < 0x80) {
        bytes[0] = (uint8_t)c;
        strbuf_add(out, bytes, 1);
    } else if (c < 0x800) {
        bytes[1] = (uint8_t)(0xc0 | c >> 6);
        strbuf_add(out, bytes + 1, 2);
    } else {
        strbuf_add(out, bytes, 3);
    }
}

static bool blank(uint8_t c)
{
    return font_unicode[c] == ' ' || font_unicode[c] == 0xa0;
}

void font_add_line(struct strbuf *out, const uint8_t *chars, unsigned n, unsigned step)
{
    while (n && blank(chars[(n - 1) * step]))
        n--;
    for (unsigned i = 0; i < n; i++)
        add_utf8(out, blank(chars[i * step]) ? ' ' : font_unicode[chars[i * step]]);
    strbuf_add(out, "\n", 1);
}
