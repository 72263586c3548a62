/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_draw.c - graphics modes: lines of video memory become lines of pixels.
 *
 * Each line is compared with the copy painted last and painted from that copy, so that a
 * guest that draws meanwhile cannot make the two differ. Lines next to each other that
 * changed are reported as one rectangle.
 */
#include "device/vga_priv.h"

#include <stdlib.h>

#include "base/byteorder.h"

struct painter {
    const struct vga_mode *mode;
    uint32_t palette[VGA_COLOURS];
    size_t line_bytes;           /* of video memory that a line shows */
};

/* ---- a line's pixels from its bytes; `out` has mode->width of them -------------- */

static void paint_planar(const struct painter *p, const uint8_t *from, unsigned pan, uint32_t *out)
{
    const struct vga_mode *m = p->mode;

    for (unsigned x = 0; x < m->width; x++) {
        unsigned dot = x / m->scale + pan;
        uint32_t word = get_le32(from + dot / 8 * 4) >> (7 - dot % 8);

        out[x] = p->palette[(word & 1) | (word >> 7 & 2) | (word >> 14 & 4) | (word >> 21 & 8)];
    }
}

/* Two bits a pixel: those of planes 0 and 1 lie in turns, planes 2 and 3 as the high ones
 * (interleaved shift mode). */
static void paint_cga(const struct painter *p, const uint8_t *from, unsigned pan, uint32_t *out)
{
    const struct vga_mode *m = p->mode;

    for (unsigned x = 0; x < m->width; x++) {
        unsigned dot = x / m->scale + pan, pair = 2 * (3 - dot % 4);
        const uint8_t *word = from + dot / 8 * 4 + dot / 4 % 2;

        out[x] = p->palette[(word[0] >> pair & 3) | (word[2] >> pair & 3) << 2];
    }
}

static void paint_packed(const struct painter *p, const uint8_t *from, unsigned pan, uint32_t *out)
{
    const struct vga_mode *m = p->mode;

    for (unsigned x = 0; x < m->width; x++)
        out[x] = p->palette[from[x / m->scale + pan]];
}

static uint32_t widen(unsigned v, unsigned bits)
{
    return v << (8 - bits) | v >> (2 * bits - 8);
}

static uint32_t from_15(unsigned v)
{
    return widen(v >> 10 & 31, 5) << 16 | widen(v >> 5 & 31, 5) << 8 | widen(v & 31, 5);
}

static uint32_t from_16(unsigned v)
{
    return widen(v >> 11 & 31, 5) << 16 | widen(v >> 5 & 63, 6) << 8 | widen(v & 31, 5);
}

static void paint_linear(const struct painter *p, const uint8_t *from, uint32_t *out)
{
    unsigned width = p->mode->width;

    switch (p->mode->bits) {
    case 15:
        for (unsigned x = 0; x < width; x++)
            out[x] = from_15(get_le16(from + 2 * x));
        break;
    case 16:
        for (unsigned x = 0; x < width; x++)
            out[x] = from_16(get_le16(from + 2 * x));
        break;
    case 24:
        for (unsigned x = 0; x < width; x++, from += 3)
            out[x] = (uint32_t)from[2] << 16 | (uint32_t)from[1] << 8 | from[0];
        break;
    case 32:
        for (unsigned x = 0; x < width; x++)
            out[x] = get_le32(from + 4 * x) & 0xffffff;
        break;
    default:
        for (unsigned x = 0; x < width; x++)
            out[x] = p->palette[from[x]];
        break;
    }
}

static void paint_line(const struct painter *p, const uint8_t *from, unsigned pan, uint32_t *out)
{
    switch (p->mode->kind) {
    case VGA_PLANAR: paint_planar(p, from, pan, out); break;
    case VGA_CGA: paint_cga(p, from, pan, out); break;
    case VGA_PACKED: paint_packed(p, from, pan, out); break;
    default: paint_linear(p, from, out); break;
    }
}

/* ---- where a line's bytes are --------------------------------------------------- */

/* The CRT controller's counters: the address of the row, the line in it, how often the
 * line was shown. */
struct beam {
    uint64_t row;
    unsigned line, times, pan;
};

/* With bits 0 and 1 of the mode register clear, the line in the row takes the place of
 * address bits 13 and 14: CGA's two banks, Hercules' four. What was written in chains of
 * two lies packed, so that the bit is one lower there. */
static uint64_t beam_address(const struct vga *v, const struct beam *b)
{
    uint8_t mode = v->state.crtc[CRTC_MODE];
    unsigned bit = mode & 0x40 ? 15 : 14;        /* byte mode or word mode; times 4 planes */
    uint64_t address = b->row;

    if (vga_dispi_on(v))
        return address;
    if (!(mode & 1))
        address = (address & ~(1ull << bit)) | (uint64_t)(b->line & 1) << bit;
    if (!(mode & 2))
        address = (address & ~(2ull << bit)) | (uint64_t)(b->line >> 1 & 1) << (bit + 1);
    return address;
}

static void beam_next(const struct vga_mode *m, struct beam *b, unsigned y)
{
    if (y == m->compare) {
        b->row = 0;
        b->line = b->times = 0;
        b->pan = m->split_pans ? b->pan : 0;
    } else if (++b->times == m->repeat) {
        b->times = 0;
        if (++b->line == m->scans) {
            b->line = 0;
            b->row += m->pitch;
        } else if (b->line > 31) {
            b->line = 0;
        }
    }
}

static size_t bytes_of_line(const struct vga_mode *m)
{
    switch (m->kind) {
    case VGA_PLANAR:
    case VGA_CGA: return (m->width / m->scale + 7) / 8 * 4 + 4;
    case VGA_PACKED: return m->width / m->scale + 4;
    default: return (size_t)m->width * ((m->bits + 7) / 8);
    }
}

/* Copies what differs from what was painted last; says whether anything did. */
static bool fetch(const struct vga *v, const struct vga_mode *m, uint64_t address, uint8_t *to,
                  size_t len)
{
    bool changed = false;

    for (size_t at = 0; at < len;) {
        uint64_t from = (address + at) & (m->wrap - 1);
        size_t n = min_u64(len - at, m->wrap - from);

        if (memcmp(to + at, v->ram.p + from, n) != 0) {
            memcpy(to + at, v->ram.p + from, n);
            changed = true;
        }
        at += n;
    }
    return changed;
}

/* ---- a picture -------------------------------------------------------------------- */

static bool same_layout(const struct vga_mode *a, const struct vga_mode *b)
{
    return a->kind == b->kind && a->width == b->width && a->height == b->height &&
           a->bits == b->bits && a->scale == b->scale && a->pan == b->pan &&
           a->compare == b->compare && a->split_pans == b->split_pans;
}

/* False: no memory for it. */
static bool prepare(struct vga *v, const struct vga_mode *m, struct painter *p)
{
    bool sixteen = m->kind == VGA_PLANAR || m->kind == VGA_CGA;
    size_t need;

    *p = (struct painter){.mode = m, .line_bytes = bytes_of_line(m)};
    for (unsigned i = 0; i < (sixteen ? 16 : VGA_COLOURS); i++)
        p->palette[i] = sixteen ? vga_attr_colour(v, i) : vga_dac_colour(v, i);
    need = p->line_bytes * m->height;
    if (need > v->shadow_bytes) {
        uint8_t *more = realloc(v->shadow, need);

        if (!more)
            return false;
        v->shadow = more;
        v->shadow_bytes = need;
        v->repaint = true;
    }
    if (!same_layout(m, &v->painted) || memcmp(p->palette, v->palette, sizeof v->palette) != 0)
        v->repaint = true;
    memcpy(v->palette, p->palette, sizeof v->palette);
    display_resize(v->display, m->width, m->height);
    return true;
}

static void report(struct vga *v, const struct vga_mode *m, unsigned first, unsigned end)
{
    if (first < end)
        display_dirty(v->display, (struct display_rect){0, first, m->width, end - first});
}

void vga_draw_paint(struct vga *v, const struct vga_mode *m)
{
    const struct display_surface *out = display_surface(v->display);
    struct beam b = {.row = m->start, .line = m->preset, .pan = m->pan};
    struct painter p;
    unsigned first = 0;          /* of a run of changed lines that ends before y */

    if (!prepare(v, m, &p) || out->width != m->width || out->height != m->height)
        return;
    for (unsigned y = 0; y < m->height; y++) {
        uint8_t *line = v->shadow + y * p.line_bytes;
        bool changed = fetch(v, m, beam_address(v, &b), line, p.line_bytes) || v->repaint;

        if (changed) {
            paint_line(&p, line, b.pan, out->pixels + (size_t)y * out->stride);
        } else {
            report(v, m, first, y);
            first = y + 1;
        }
        beam_next(m, &b, y);
    }
    report(v, m, first, m->height);
}
