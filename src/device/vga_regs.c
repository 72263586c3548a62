/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_regs.c - the registers: what is kept of a write, what a read gives.
 *
 * Bits that do nothing are kept where the chip keeps them. The ports of the colour and the
 * monochrome position (0x3Dx, 0x3Bx) are one set: bit 0 of the miscellaneous output
 * register says where it answers.
 */
#include "device/vga_priv.h"

/* ---- ports --------------------------------------------------------------- */

enum {
    PORT_ATTR = 0x3c0, PORT_ATTR_READ = 0x3c1, PORT_MISC = 0x3c2, PORT_SEQ = 0x3c4,
    PORT_SEQ_DATA = 0x3c5, PORT_DAC_MASK = 0x3c6, PORT_DAC_READ = 0x3c7, PORT_DAC_WRITE = 0x3c8,
    PORT_DAC_DATA = 0x3c9, PORT_FEATURE_READ = 0x3ca, PORT_MISC_READ = 0x3cc, PORT_GFX = 0x3ce,
    PORT_GFX_DATA = 0x3cf, PORT_CRTC = 0x3d4, PORT_CRTC_DATA = 0x3d5, PORT_STATUS = 0x3da,
};
enum { MONO_FIRST = 0x3b0, MONO_LAST = 0x3bf, COLOUR_FIRST = 0x3d0, MONO_TO_COLOUR = 0x20 };

/* Bits that exist (FreeVGA; IBM PS/2 Hardware Interface Technical Reference). */
static const uint8_t seq_bits[VGA_SEQ] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0xff, 0xff, 0xff};
static const uint8_t gfx_bits[VGA_GFX] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t attr_bits[VGA_ATTR] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0xef, 0xff, 0x3f, 0x0f, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};

static void crtc_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->state;
    unsigned n = s->crtc_index & (VGA_CRTC - 1);

    if (s->crtc[CRTC_VRETRACE_END] & CRTC_PROTECT && n <= CRTC_OVERFLOW) {
        /* The line compare bit alone can be written. */
        if (n == CRTC_OVERFLOW)
            s->crtc[n] = (uint8_t)((s->crtc[n] & ~0x10) | (value & 0x10));
        return;
    }
    s->crtc[n] = value;
}

/* ---- the attribute controller: index and data take turns at one port ------ */

static void attr_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->state;
    unsigned n = s->attr_index & (VGA_ATTR - 1);

    if (!s->attr_data)
        s->attr_index = value & 0x3f;
    /* The palette answers only while the screen does not use it. */
    else if (n > 0xf || !(s->attr_index & ATTR_INDEX_ON))
        s->attr[n] = value & attr_bits[n];
    s->attr_data = !s->attr_data;
}

/* ---- the DAC: three writes make an entry ---------------------------------- */

static bool dac_8bit(const struct vga *v)
{
    return vga_dispi_on(v) && v->state.dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;
}

static void dac_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->state;

    s->dac_latch[s->dac_part % 3] = dac_8bit(v) ? value : value & 0x3f;
    s->dac_part = (uint8_t)((s->dac_part + 1) % 3);
    if (s->dac_part == 0) {
        memcpy(s->dac + 3 * s->dac_write, s->dac_latch, 3);
        s->dac_write++;
    }
}

static uint8_t dac_read(struct vga *v)
{
    struct vga_state *s = &v->state;
    uint8_t value = s->dac[3 * s->dac_read + s->dac_part % 3];

    s->dac_part = (uint8_t)((s->dac_part + 1) % 3);
    if (s->dac_part == 0)
        s->dac_read++;
    return value;
}

static void dac_index(struct vga *v, uint8_t value, bool reading)
{
    struct vga_state *s = &v->state;

    s->dac_reading = reading;
    s->dac_part = 0;
    if (reading)
        s->dac_read = value;
    else
        s->dac_write = value;
}

/* ---- by port --------------------------------------------------------------- */

/* The colour position's number of a port, or 0: nobody answers there now. */
static unsigned position(const struct vga *v, unsigned port)
{
    bool colour = v->state.misc & MISC_COLOUR;

    if (port >= MONO_FIRST && port <= MONO_LAST)
        return colour ? 0 : port + MONO_TO_COLOUR;
    return port >= COLOUR_FIRST && !colour ? 0 : port;
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
    struct vga_state *s = &v->state;

    switch (position(v, port)) {
    case PORT_ATTR: return s->attr_index;
    case PORT_ATTR_READ: return s->attr[s->attr_index & (VGA_ATTR - 1)];
    case PORT_MISC: return 0x10;                 /* a colour monitor */
    case PORT_SEQ: return s->seq_index;
    case PORT_SEQ_DATA: return s->seq[s->seq_index & (VGA_SEQ - 1)];
    case PORT_DAC_MASK: return s->dac_mask;
    case PORT_DAC_READ: return s->dac_reading ? 3 : 0;
    case PORT_DAC_WRITE: return s->dac_write;
    case PORT_DAC_DATA: return dac_read(v);
    case PORT_FEATURE_READ: return s->feature;
    case PORT_MISC_READ: return s->misc;
    case PORT_GFX: return s->gfx_index;
    case PORT_GFX_DATA: return s->gfx[s->gfx_index & (VGA_GFX - 1)];
    case PORT_CRTC: return s->crtc_index;
    case PORT_CRTC_DATA: return s->crtc[s->crtc_index & (VGA_CRTC - 1)];
    case PORT_STATUS:
        s->attr_data = false;
        return vga_retrace(v);
    default: return 0xff;
    }
}

static void write_register(struct vga *v, unsigned port, uint8_t value)
{
    struct vga_state *s = &v->state;
    unsigned n;

    switch (position(v, port)) {
    case PORT_ATTR: attr_write(v, value); break;
    case PORT_MISC: s->misc = value; break;
    case PORT_SEQ: s->seq_index = value & (VGA_SEQ - 1); break;
    case PORT_SEQ_DATA:
        n = s->seq_index & (VGA_SEQ - 1);
        s->seq[n] = value & seq_bits[n];
        break;
    case PORT_DAC_MASK: s->dac_mask = value; break;
    case PORT_DAC_READ: dac_index(v, value, true); break;
    case PORT_DAC_WRITE: dac_index(v, value, false); break;
    case PORT_DAC_DATA: dac_write(v, value); break;
    case PORT_GFX: s->gfx_index = value & (VGA_GFX - 1); break;
    case PORT_GFX_DATA:
        n = s->gfx_index & (VGA_GFX - 1);
        s->gfx[n] = value & gfx_bits[n];
        break;
    case PORT_CRTC: s->crtc_index = value & (VGA_CRTC - 1); break;
    case PORT_CRTC_DATA: crtc_write(v, value); break;
    case PORT_STATUS: s->feature = value & 0x03; break;
    default: break;
    }
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    write_register(v, port, value);
    if (port == PORT_SEQ_DATA || port == PORT_GFX_DATA)
        vga_window_update(v);
}

/* ---- DISPI ----------------------------------------------------------------- */

static uint16_t clamp(uint16_t v, unsigned low, unsigned high)
{
    return (uint16_t)(v < low ? low : v > high ? high : v);
}

uint16_t vga_dispi_read(const struct vga *v, unsigned index)
{
    const uint16_t *d = v->state.dispi;

    if (index >= DISPI_COUNT)
        return 0;
    if (index == DISPI_MEMORY_64K)
        return VGA_MEMORY_BYTES / VGA_BANK_BYTES;
    if (d[DISPI_ENABLE] & DISPI_GETCAPS && index >= DISPI_XRES && index <= DISPI_BPP)
        return index == DISPI_XRES ? DISPI_XRES_MAX : index == DISPI_YRES ? DISPI_YRES_MAX
                                                                          : DISPI_BPP_MAX;
    return d[index];
}

static unsigned pixels_of_memory(const struct vga *v)
{
    unsigned bits = v->state.dispi[DISPI_BPP];

    return (unsigned)(VGA_MEMORY_BYTES * 8ull / (bits == 15 ? 16 : bits ? bits : 8));
}

/* Virtual sizes and offsets that fit the memory: what the guest reads back is what it got. */
static void dispi_fit(struct vga *v)
{
    uint16_t *d = v->state.dispi;
    unsigned lines;

    d[DISPI_VIRT_WIDTH] = clamp(d[DISPI_VIRT_WIDTH], d[DISPI_XRES], 0x7fff);
    lines = d[DISPI_VIRT_WIDTH] ? pixels_of_memory(v) / d[DISPI_VIRT_WIDTH] : 0;
    d[DISPI_VIRT_HEIGHT] = (uint16_t)min_u64(lines, 0xffff);
    d[DISPI_X_OFFSET] = clamp(d[DISPI_X_OFFSET], 0, d[DISPI_VIRT_WIDTH] - d[DISPI_XRES]);
    d[DISPI_Y_OFFSET] = clamp(d[DISPI_Y_OFFSET], 0, d[DISPI_VIRT_HEIGHT] > d[DISPI_YRES]
                                                        ? d[DISPI_VIRT_HEIGHT] - d[DISPI_YRES] : 0);
}

static void dispi_enable(struct vga *v, uint16_t value)
{
    uint16_t *d = v->state.dispi;
    bool was_on = vga_dispi_on(v);

    d[DISPI_ENABLE] = value;
    if (!vga_dispi_on(v)) {
        d[DISPI_BANK] = 0;
        return;
    }
    if (was_on)
        return;
    d[DISPI_VIRT_WIDTH] = d[DISPI_XRES];
    d[DISPI_X_OFFSET] = d[DISPI_Y_OFFSET] = 0;
    dispi_fit(v);
    if (!(value & DISPI_NOCLEAR))
        vga_memory_clear(v);
}

static bool bits_known(uint16_t bits)
{
    return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

void vga_dispi_write(struct vga *v, unsigned index, uint16_t value)
{
    uint16_t *d = v->state.dispi;

    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID0 && value <= DISPI_ID5)
            d[index] = value;
        break;
    case DISPI_XRES: d[index] = clamp(value, 8, DISPI_XRES_MAX); break;
    case DISPI_YRES: d[index] = clamp(value, 8, DISPI_YRES_MAX); break;
    case DISPI_BPP:
        if (value == 0)
            value = 8;
        if (bits_known(value))
            d[index] = value;
        break;
    case DISPI_ENABLE: dispi_enable(v, value); break;
    case DISPI_BANK: d[index] = value & (VGA_MEMORY_BYTES / VGA_BANK_BYTES - 1); break;
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET: d[index] = value; break;
    default: return;
    }
    dispi_fit(v);
    vga_window_update(v);
}

/* ---- reset: mode 3 ----------------------------------------------------------- */

static void palette_reset(struct vga_state *s)
{
    for (unsigned i = 0; i < 64; i++) {          /* EGA's: rgbRGB, the small ones a third */
        s->dac[3 * i] = (uint8_t)((i >> 2 & 1) * 0x2a + (i >> 5 & 1) * 0x15);
        s->dac[3 * i + 1] = (uint8_t)((i >> 1 & 1) * 0x2a + (i >> 4 & 1) * 0x15);
        s->dac[3 * i + 2] = (uint8_t)((i & 1) * 0x2a + (i >> 3 & 1) * 0x15);
    }
}

void vga_registers_reset(struct vga *v)
{
    static const uint8_t seq[] = {0x03, 0x00, 0x03, 0x00, 0x02};
    static const uint8_t gfx[] = {0, 0, 0, 0, 0, GFX_MODE_ODD_EVEN, 0x0e, 0, 0xff};
    static const uint8_t crtc[] = {
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
        0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
    };
    static const uint8_t attr[] = {
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
        0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00,
    };
    struct pci_function_state pci = v->state.pci;
    struct vga_state *s = &v->state;

    *s = (struct vga_state){.misc = 0x67, .attr_index = ATTR_INDEX_ON, .dac_mask = 0xff,
                            .pci = pci};
    memcpy(s->seq, seq, sizeof seq);
    memcpy(s->gfx, gfx, sizeof gfx);
    memcpy(s->crtc, crtc, sizeof crtc);
    memcpy(s->attr, attr, sizeof attr);
    palette_reset(s);
    s->dispi[DISPI_ID] = DISPI_ID5;
    s->dispi[DISPI_XRES] = 640;
    s->dispi[DISPI_YRES] = 480;
    s->dispi[DISPI_BPP] = 8;
    dispi_fit(v);
}
