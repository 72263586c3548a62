/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_text.c - text modes: cells with attributes, two fonts, cursor, blinking.
 *
 * A character is a byte of plane 0, its attribute the byte of plane 1; fonts are in
 * plane 2, 32 bytes a glyph. Scrolling by single lines and columns of pixels (preset row
 * scan, panning) is left to graphics modes.
 */
#include "device/vga_priv.h"

#include "base/clock.h"
#include "base/strbuf.h"
#include "display/font.h"

/* Half a period. The chip counts 8 and 16 frames; this is the pace at 60 Hz. */
#define CURSOR_NS 133333333ull
#define BLINK_NS  266666666ull

/* The address, in cells, of a row's first cell: below the split they start over. */
static uint64_t row_address(const struct vga_mode *m, unsigned row)
{
    unsigned line_height = m->cell_height * m->repeat;
    unsigned split = m->compare / line_height + 1;       /* the first row below it */

    if (row >= split && m->compare < m->rows * line_height)
        return (row - split) * m->pitch / 4;
    return m->start / 4 + row * m->pitch / 4;
}

/* Character in bits 7-0, attribute in 15-8. */
static uint16_t cell_at(const struct vga *v, uint64_t address)
{
    const uint8_t *p;

    address &= VGA_PLANE_BYTES - 1;
    p = v->window.kind == VGA_WINDOW_TEXT && address < VGA_TEXT_BYTES / 2
            ? v->text.p + 2 * address : v->ram.p + 4 * address;
    return (uint16_t)(p[0] | p[1] << 8);
}

/* Sequencer register 3: bits 5, 3, 2 are the font of attributes with bit 3 set, 4, 1, 0
 * the other's. */
static unsigned font_address(uint8_t fonts, bool bright)
{
    static const unsigned at[] = {0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000};
    unsigned n = bright ? (fonts >> 2 & 3) | (fonts >> 5 & 1) << 2
                        : (fonts & 3) | (fonts >> 4 & 1) << 2;

    return at[n];
}

static void fetch_fonts(struct vga *v)
{
    uint8_t font[VGA_FONT_BYTES];

    for (unsigned n = 0; n < TEXT_FONTS; n++) {
        const uint8_t *from = v->ram.p + 4 * font_address(v->state.seq[SEQ_FONTS], n) + 2;

        for (unsigned i = 0; i < VGA_FONT_BYTES; i++)
            font[i] = from[4 * i];
        if (memcmp(font, v->font[n], sizeof font) == 0)
            continue;
        memcpy(v->font[n], font, sizeof font);
        text_invalidate(&v->text_painter);
    }
}

static bool phase(const struct vga *v, uint64_t half_ns)
{
    return clock_now_ns(v->clock) / half_ns % 2 == 0;
}

struct look {
    uint32_t colour[16];
    uint64_t cursor;             /* address; none: UINT64_MAX */
    uint8_t cursor_first, cursor_last;
    bool blinking, blink_on, two_fonts, line_graphics;
    unsigned underline;
};

static struct look look_now(const struct vga *v)
{
    const struct vga_state *s = &v->state;
    const uint8_t *c = s->crtc;
    struct look l = {
        .cursor = UINT64_MAX, .cursor_first = c[CRTC_CURSOR_START] & 0x1f,
        .cursor_last = c[CRTC_CURSOR_END] & 0x1f, .blinking = s->attr[ATTR_MODE] & ATTR_MODE_BLINK,
        .blink_on = phase(v, BLINK_NS), .underline = c[CRTC_UNDERLINE] & 0x1f,
        .two_fonts = font_address(s->seq[SEQ_FONTS], true) !=
                     font_address(s->seq[SEQ_FONTS], false),
        .line_graphics = s->attr[ATTR_MODE] & ATTR_MODE_LINE,
    };

    for (unsigned i = 0; i < 16; i++)
        l.colour[i] = vga_attr_colour(v, i);
    if (!(c[CRTC_CURSOR_START] & CRTC_CURSOR_OFF) && l.cursor_first <= l.cursor_last &&
        phase(v, CURSOR_NS))
        l.cursor = (unsigned)(c[CRTC_CURSOR] << 8 | c[CRTC_CURSOR + 1]);
    return l;
}

static struct text_cell cell_look(const struct look *l, uint16_t cell, uint64_t address)
{
    uint8_t attr = (uint8_t)(cell >> 8), fg = attr & 0xf, bg = attr >> 4;
    struct text_cell c = {.character = (uint8_t)cell, .font = l->two_fonts && attr & 8};

    if (l->blinking) {
        bg &= 7;
        fg = attr & 0x80 && !l->blink_on ? bg : fg;
    }
    c.fg = l->colour[fg];
    c.bg = l->colour[bg];
    if (l->line_graphics && c.character >= 0xc0 && c.character <= 0xdf)
        c.flags = TEXT_NINTH_REPEATS;
    if (address == l->cursor) {
        c.bar = true;
        c.bar_first = l->cursor_first;
        c.bar_last = l->cursor_last;
    } else if ((attr & 7) == 1 && l->underline < TEXT_GLYPH_ROWS - 1) {
        c.bar = true;
        c.bar_first = c.bar_last = (uint8_t)l->underline;
    }
    return c;
}

void vga_text_paint(struct vga *v, const struct vga_mode *m)
{
    const struct look look = look_now(v);
    struct text_shape shape = {.columns = m->columns, .rows = m->rows, .width = m->cell_width,
                               .height = m->cell_height, .font = {v->font[0], v->font[1]},
                               .stride = VGA_FONT_BYTES / 256};

    fetch_fonts(v);
    if (v->repaint)
        text_invalidate(&v->text_painter);
    if (!text_begin(&v->text_painter, v->display, &shape))
        return;
    for (unsigned row = 0; row < m->rows; row++) {
        uint64_t address = row_address(m, row);

        for (unsigned column = 0; column < m->columns; column++, address++) {
            struct text_cell c = cell_look(&look, cell_at(v, address),
                                           address & (VGA_PLANE_BYTES - 1));
            text_put(&v->text_painter, column, row, &c);
        }
    }
    text_end(&v->text_painter);
}

void vga_text_lines(const struct vga *v, const struct vga_mode *m, struct strbuf *out)
{
    uint8_t line[256];

    for (unsigned row = 0; row < m->rows; row++) {
        uint64_t address = row_address(m, row);

        for (unsigned i = 0; i < m->columns; i++)
            line[i] = (uint8_t)cell_at(v, address + i);
        font_add_line(out, line, m->columns, 1);
    }
}
