/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_planes.c - the window at 0xA0000 as planes and latches shape it.
 *
 * The bytes of the four planes at one address are one 32-bit word, so that what the
 * chip does to four planes at once is one operation here too.
 */
#include "device/vga_priv.h"

enum { NOWHERE = UINT32_MAX };

/* A bit for each plane becomes a byte for each. */
static uint32_t spread(unsigned bits)
{
    return (bits & 1) * 0xffu | (bits >> 1 & 1) * 0xff00u | (bits >> 2 & 1) * 0xff0000u |
           (bits >> 3 & 1) * 0xff000000u;
}

static uint32_t repeat(uint8_t byte)
{
    return byte * 0x01010101u;
}

/* Graphics register 6, bits 3-2: where the window is. The offset in it, or NOWHERE. */
static uint32_t in_window(const struct vga *v, uint32_t offset)
{
    static const struct { uint32_t start, size; } windows[] = {
        {0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000},
    };
    unsigned n = v->state.gfx[GFX_MISC] >> 2 & 3;

    return offset - windows[n].start < windows[n].size ? offset - windows[n].start : NOWHERE;
}

static bool chained(const struct vga *v)
{
    return v->state.seq[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4 ||
           (vga_dispi_on(v) && v->state.dispi[DISPI_BPP] > 4);
}

/* Plain VGA has 64 KiB in a plane; DISPI's banks reach the rest. */
static uint32_t bank(const struct vga *v)
{
    return vga_dispi_on(v) ? (uint32_t)v->state.dispi[DISPI_BANK] * VGA_BANK_BYTES : 0;
}

static uint32_t byte_index(const struct vga *v, uint32_t a)
{
    return (a + bank(v)) & (VGA_MEMORY_BYTES - 1);
}

static uint32_t word_index(const struct vga *v, uint32_t a)
{
    return vga_dispi_on(v) ? (a + bank(v)) & (VGA_MEMORY_BYTES / 4 - 1)
                           : a & (VGA_PLANE_BYTES - 1);
}

/* While the text window is in the map it holds these planes (vga_window.c). */
static uint8_t *text_byte(const struct vga *v, uint32_t offset)
{
    uint32_t at = offset - (VGA_TEXT_WINDOW - VGA_WINDOW);

    return v->window.kind == VGA_WINDOW_TEXT && at < VGA_TEXT_BYTES ? v->text.p + at : NULL;
}

static uint8_t compare_read(const struct vga *v)
{
    const uint8_t *g = v->state.gfx;
    uint32_t differ = (v->state.latch ^ spread(g[GFX_COMPARE])) & spread(g[GFX_DONT_CARE]);

    return (uint8_t)~(differ | differ >> 8 | differ >> 16 | differ >> 24);
}

uint8_t vga_window_read(struct vga *v, unsigned offset)
{
    struct vga_state *s = &v->state;
    uint32_t a = in_window(v, offset);
    const uint8_t *text = text_byte(v, offset);
    unsigned plane = s->gfx[GFX_READ_MAP] & 3;

    if (text)
        return *text;
    if (a == NOWHERE)
        return 0xff;
    if (chained(v))
        return v->ram.p[byte_index(v, a)];
    if (s->gfx[GFX_MODE] & GFX_MODE_ODD_EVEN) {
        plane = (plane & 2) | (a & 1);
        a >>= 1;
    }
    s->latch = vga_words(v)[word_index(v, a)];
    if (s->gfx[GFX_MODE] & GFX_MODE_COMPARE)
        return compare_read(v);
    return (uint8_t)(s->latch >> 8 * plane);
}

static uint8_t rotated(const struct vga *v, uint8_t value)
{
    unsigned n = v->state.gfx[GFX_ROTATE] & 7;

    return (uint8_t)(value >> n | value << (8 - n));
}

static uint32_t combined(const struct vga *v, uint32_t data)
{
    switch (v->state.gfx[GFX_ROTATE] >> 3 & 3) {
    case 1: return data & v->state.latch;
    case 2: return data | v->state.latch;
    case 3: return data ^ v->state.latch;
    default: return data;
    }
}

/* What the four planes would become, by write mode (graphics register 5, bits 1-0). */
static uint32_t written(const struct vga *v, uint8_t value)
{
    const uint8_t *g = v->state.gfx;
    uint32_t data, set = spread(g[GFX_SET_RESET]), enable = spread(g[GFX_ENABLE_SET_RESET]);
    uint32_t bits = repeat(g[GFX_BIT_MASK]);

    switch (g[GFX_MODE] & 3) {
    case 1:
        return v->state.latch;
    case 2:
        data = spread(value);
        break;
    case 3:
        data = set;
        bits &= repeat(rotated(v, value));
        break;
    default:
        data = (repeat(rotated(v, value)) & ~enable) | (set & enable);
        break;
    }
    return (combined(v, data) & bits) | (v->state.latch & ~bits);
}

void vga_window_write(struct vga *v, unsigned offset, uint8_t value)
{
    const struct vga_state *s = &v->state;
    uint32_t a = in_window(v, offset), *word, planes;
    uint8_t *text = text_byte(v, offset);
    unsigned mask = s->seq[SEQ_MAP_MASK] & 0xf;

    if (text) {
        *text = value;
        return;
    }
    if (a == NOWHERE)
        return;
    if (chained(v)) {
        if (mask >> (a & 3) & 1 || vga_dispi_on(v))
            v->ram.p[byte_index(v, a)] = value;
        return;
    }
    if (!(s->seq[SEQ_MEMORY] & SEQ_MEMORY_SEQUENTIAL)) {
        mask &= a & 1 ? 0xa : 0x5;
        a >>= 1;
    }
    planes = spread(mask);
    word = vga_words(v) + word_index(v, a);
    *word = (*word & ~planes) | (written(v, value) & planes);
}
