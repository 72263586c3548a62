/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_mode.c - what the registers amount to: a picture's size and layout, its colours,
 * and where the beam is.
 */
#include "device/vga_priv.h"

#include "base/clock.h"

/* ---- fields that are spread over registers -------------------------------- */

static unsigned bit(uint8_t reg, unsigned from, unsigned to)
{
    return (reg >> from & 1u) << to;
}

unsigned vga_vdisplay(const struct vga *v)
{
    const uint8_t *c = v->state.crtc;

    return (c[CRTC_VDISPLAY] | bit(c[CRTC_OVERFLOW], 1, 8) | bit(c[CRTC_OVERFLOW], 6, 9)) + 1;
}

static unsigned vtotal(const struct vga *v)
{
    const uint8_t *c = v->state.crtc;

    return (c[CRTC_VTOTAL] | bit(c[CRTC_OVERFLOW], 0, 8) | bit(c[CRTC_OVERFLOW], 5, 9)) + 2;
}

static unsigned vretrace(const struct vga *v)
{
    const uint8_t *c = v->state.crtc;

    return c[CRTC_VRETRACE] | bit(c[CRTC_OVERFLOW], 2, 8) | bit(c[CRTC_OVERFLOW], 7, 9);
}

static unsigned line_compare(const struct vga *v)
{
    const uint8_t *c = v->state.crtc;

    return c[CRTC_LINE_COMPARE] | bit(c[CRTC_OVERFLOW], 4, 8) | bit(c[CRTC_MAX_SCAN], 6, 9);
}

bool vga_dispi_on(const struct vga *v)
{
    return v->state.dispi[DISPI_ENABLE] & DISPI_ENABLED;
}

static unsigned char_dots(const struct vga *v)
{
    return v->state.seq[SEQ_CLOCK] & SEQ_CLOCK_8DOT ? 8 : 9;
}

static unsigned clock_divisor(const struct vga *v)
{
    return v->state.seq[SEQ_CLOCK] & SEQ_CLOCK_HALF ? 2 : 1;
}

/* ---- the beam -------------------------------------------------------------- */

uint8_t vga_retrace(const struct vga *v)
{
    static const unsigned khz[] = {25175, 28322, 36000, 40000};
    const uint8_t *c = v->state.crtc;
    unsigned clock_khz = khz[v->state.misc >> MISC_CLOCK_SHIFT & 3];
    unsigned chars = c[CRTC_HTOTAL] + 5u, shown = c[CRTC_HDISPLAY] + 1u;
    uint64_t char_ps = char_dots(v) * clock_divisor(v) * 1000000000ull / clock_khz;
    uint64_t line_ps = chars * char_ps, now_ps = clock_now_ns(v->clock) % 1000000000000 * 1000;
    unsigned line = (unsigned)(now_ps / line_ps % vtotal(v));
    unsigned length = (c[CRTC_VRETRACE_END] - vretrace(v)) & 0xf;
    bool showing = line < vga_vdisplay(v) && now_ps % line_ps / char_ps < shown;
    bool retrace = line - vretrace(v) < (length ? length : 16);

    return (uint8_t)((showing ? 0 : 1) | (retrace ? 8 : 0));
}

/* ---- colours ----------------------------------------------------------------- */

uint32_t vga_dac_colour(const struct vga *v, unsigned entry)
{
    const uint8_t *c = v->state.dac + 3 * (entry & v->state.dac_mask & 0xff);
    uint32_t rgb = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];

    if (vga_dispi_on(v) && v->state.dispi[DISPI_ENABLE] & DISPI_8BIT_DAC)
        return rgb;
    rgb &= 0x3f3f3f;
    return rgb << 2 | (rgb >> 4 & 0x030303);
}

uint32_t vga_attr_colour(const struct vga *v, unsigned n)
{
    const uint8_t *a = v->state.attr;
    unsigned entry = a[n & a[ATTR_PLANES] & 0xf];

    if (a[ATTR_MODE] & ATTR_MODE_P54S)
        entry = (entry & 0xf) | (a[ATTR_COLOUR] & 3) << 4;
    return vga_dac_colour(v, (entry & 0x3f) | (a[ATTR_COLOUR] & 0xc) << 4);
}

/* ---- modes -------------------------------------------------------------------- */

static struct vga_mode dispi_mode(const struct vga *v)
{
    const uint16_t *d = v->state.dispi;
    uint64_t bits = d[DISPI_BPP] == 15 ? 16 : d[DISPI_BPP];
    uint64_t pixel = d[DISPI_Y_OFFSET] * (uint64_t)d[DISPI_VIRT_WIDTH] + d[DISPI_X_OFFSET];
    struct vga_mode m = {
        .kind = VGA_LINEAR, .width = d[DISPI_XRES], .height = d[DISPI_YRES], .scale = 1,
        .bits = d[DISPI_BPP], .start = pixel * bits / 8, .pitch = d[DISPI_VIRT_WIDTH] * bits / 8,
        .wrap = VGA_MEMORY_BYTES, .scans = 1, .repeat = 1, .compare = UINT32_MAX,
    };

    if (m.bits != 4 && m.bits != 15 && m.bits != 16 && m.bits != 24 && m.bits != 32)
        m.bits = 8;
    if (m.bits == 4) {           /* planes: a byte of each for eight pixels */
        m.kind = VGA_PLANAR;
        m.start = pixel / 8 * 4;
        m.pitch = d[DISPI_VIRT_WIDTH] / 8 * 4;
        m.pan = d[DISPI_X_OFFSET] % 8;
    }
    m.width = m.width < 1 ? 1 : m.width > DISPI_XRES_MAX ? DISPI_XRES_MAX : m.width;
    m.height = m.height < 1 ? 1 : m.height > DISPI_YRES_MAX ? DISPI_YRES_MAX : m.height;
    return m;
}

static void text_mode(const struct vga *v, struct vga_mode *m)
{
    m->kind = VGA_TEXT;
    m->text = true;
    m->columns = v->state.crtc[CRTC_HDISPLAY] + 1u;
    m->cell_width = char_dots(v) * clock_divisor(v);
    m->cell_height = m->scans;
    m->rows = vga_vdisplay(v) / (m->scans * m->repeat);
    m->rows = m->rows ? m->rows : 1;
    m->width = m->columns * m->cell_width;
    m->height = m->rows * m->cell_height;
}

/* Pixels are two dots wide in 256-colour modes, and where the dot clock is halved. */
static void graphics_mode(const struct vga *v, struct vga_mode *m)
{
    uint8_t mode = v->state.gfx[GFX_MODE];

    m->kind = mode & GFX_MODE_256 ? VGA_PACKED : mode & GFX_MODE_CGA ? VGA_CGA : VGA_PLANAR;
    m->scale = m->kind == VGA_PACKED ? 2 : clock_divisor(v);
    m->width = (v->state.crtc[CRTC_HDISPLAY] + 1u) * 8 * clock_divisor(v);
    m->height = vga_vdisplay(v);
    m->pan = v->state.attr[ATTR_PANNING] & 7;
    if (m->kind == VGA_PACKED)
        m->pan /= 2;
}

struct vga_mode vga_mode_now(const struct vga *v)
{
    const struct vga_state *s = &v->state;
    const uint8_t *c = s->crtc;
    struct vga_mode m = {
        .scale = 1, .start = 4u * (c[CRTC_START] << 8 | c[CRTC_START + 1]),
        .pitch = 4u * 2 * c[CRTC_OFFSET], .wrap = 4 * VGA_PLANE_BYTES,
        .scans = (c[CRTC_MAX_SCAN] & 0x1f) + 1u, .preset = c[CRTC_PRESET] & 0x1f,
        .repeat = c[CRTC_MAX_SCAN] & CRTC_SCAN_DOUBLE ? 2 : 1, .compare = line_compare(v),
        .split_pans = !(s->attr[ATTR_MODE] & ATTR_MODE_SPLIT_PAN),
    };

    if (vga_dispi_on(v))
        return dispi_mode(v);
    if (s->gfx[GFX_MISC] & GFX_MISC_GRAPHICS)
        graphics_mode(v, &m);
    else
        text_mode(v, &m);
    /* The sequencer held in reset, the screen turned off, the palette being loaded. */
    if ((s->seq[0] & 3) != 3 || s->seq[SEQ_CLOCK] & SEQ_CLOCK_OFF ||
        !(s->attr_index & ATTR_INDEX_ON))
        m.kind = VGA_BLANK;
    return m;
}
