/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_priv.h - between the files of the VGA.
 *
 *   vga.c        the device: construction, reset, ports, PCI
 *   vga_regs.c   registers read and written
 *   vga_planes.c accesses through the window that planes and latches shape
 *   vga_window.c which memory the window shows
 *   vga_mode.c   what the registers mean: geometry, palette
 *   vga_text.c   painting text
 *   vga_draw.c   painting everything else
 *   vga_edid.c   what the monitor says of itself
 *
 * Registers are named by IBM's names and by index as in every VGA manual (FreeVGA
 * project, "VGA Chip Level Documentation"); DISPI ones as in Bochs' vbe.h.
 */
#ifndef RING3_DEVICE_VGA_PRIV_H
#define RING3_DEVICE_VGA_PRIV_H

#include "bus/claims.h"
#include "device/vga.h"
#include "display/display.h"
#include "display/text.h"
#include "memory/memory.h"
#include "pci/pci.h"

enum { VGA_SEQ = 8, VGA_GFX = 16, VGA_CRTC = 32, VGA_ATTR = 32, VGA_DISPI = 16,
       VGA_DAC_BYTES = 768 };
enum { VGA_PLANE_BYTES = 0x10000, VGA_WINDOW = 0xa0000, VGA_WINDOW_BYTES = 0x20000,
       VGA_TEXT_WINDOW = 0xb8000, VGA_TEXT_BYTES = 0x8000, VGA_BANK_BYTES = 0x10000,
       VGA_EDID_BYTES = 128, VGA_FONT_BYTES = 256 * 32, VGA_COLOURS = 256 };

enum { SEQ_CLOCK = 1, SEQ_MAP_MASK = 2, SEQ_FONTS = 3, SEQ_MEMORY = 4 };
enum { SEQ_CLOCK_8DOT = 1, SEQ_CLOCK_HALF = 1 << 3, SEQ_CLOCK_OFF = 1 << 5,
       SEQ_MEMORY_SEQUENTIAL = 1 << 2, SEQ_MEMORY_CHAIN4 = 1 << 3 };
enum { GFX_SET_RESET = 0, GFX_ENABLE_SET_RESET, GFX_COMPARE, GFX_ROTATE, GFX_READ_MAP, GFX_MODE,
       GFX_MISC, GFX_DONT_CARE, GFX_BIT_MASK };
enum { GFX_MODE_ODD_EVEN = 1 << 4, GFX_MODE_COMPARE = 1 << 3, GFX_MODE_CGA = 1 << 5,
       GFX_MODE_256 = 1 << 6, GFX_MISC_GRAPHICS = 1 };
enum { CRTC_HTOTAL = 0, CRTC_HDISPLAY = 1, CRTC_VTOTAL = 6, CRTC_OVERFLOW = 7, CRTC_PRESET = 8,
       CRTC_MAX_SCAN = 9, CRTC_CURSOR_START = 0xa, CRTC_CURSOR_END = 0xb, CRTC_START = 0xc,
       CRTC_CURSOR = 0xe, CRTC_VRETRACE = 0x10, CRTC_VRETRACE_END = 0x11, CRTC_VDISPLAY = 0x12,
       CRTC_OFFSET = 0x13, CRTC_UNDERLINE = 0x14, CRTC_MODE = 0x17, CRTC_LINE_COMPARE = 0x18 };
enum { CRTC_SCAN_DOUBLE = 1 << 7, CRTC_CURSOR_OFF = 1 << 5, CRTC_PROTECT = 1 << 7 };
enum { ATTR_MODE = 0x10, ATTR_PLANES = 0x12, ATTR_PANNING = 0x13, ATTR_COLOUR = 0x14 };
enum { ATTR_MODE_GRAPHICS = 1, ATTR_MODE_LINE = 1 << 2, ATTR_MODE_BLINK = 1 << 3,
       ATTR_MODE_SPLIT_PAN = 1 << 5, ATTR_MODE_P54S = 1 << 7, ATTR_INDEX_ON = 1 << 5 };
enum { MISC_COLOUR = 1, MISC_CLOCK_SHIFT = 2 };
enum { DISPI_ID, DISPI_XRES, DISPI_YRES, DISPI_BPP, DISPI_ENABLE, DISPI_BANK, DISPI_VIRT_WIDTH,
       DISPI_VIRT_HEIGHT, DISPI_X_OFFSET, DISPI_Y_OFFSET, DISPI_MEMORY_64K, DISPI_COUNT };
enum { DISPI_ENABLED = 1, DISPI_GETCAPS = 2, DISPI_8BIT_DAC = 0x20, DISPI_NOCLEAR = 0x80,
       DISPI_ID0 = 0xb0c0, DISPI_ID5 = 0xb0c5, DISPI_XRES_MAX = 2560, DISPI_YRES_MAX = 1600,
       DISPI_BPP_MAX = 32 };

struct vga_state {
    uint8_t misc, feature;
    uint8_t seq_index, gfx_index, crtc_index, attr_index;
    bool attr_data;              /* the next write to 0x3C0 is data */
    uint8_t seq[VGA_SEQ], gfx[VGA_GFX], crtc[VGA_CRTC], attr[VGA_ATTR];
    uint8_t dac_mask, dac_read, dac_write, dac_part;
    bool dac_reading;
    uint8_t dac_latch[3], dac[VGA_DAC_BYTES];
    uint32_t latch;              /* a byte of each plane, plane 0 lowest */
    uint16_t dispi_index, dispi[VGA_DISPI];
    struct pci_function_state pci;
};

enum vga_window_kind {
    VGA_WINDOW_CALLS,            /* planes: every access is a call */
    VGA_WINDOW_TEXT,             /* `text` at 0xB8000 */
    VGA_WINDOW_LINEAR,           /* video memory from `offset` on at 0xA0000 */
};

struct vga_window {
    enum vga_window_kind kind;
    uint64_t offset;
};

enum vga_kind { VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA, VGA_PACKED, VGA_LINEAR };

/* What the registers amount to; everything is within bounds. Addresses count bytes of
 * video memory. */
struct vga_mode {
    enum vga_kind kind;
    bool text;                   /* VGA_TEXT, or would be if it were not blank */
    unsigned width, height;      /* pixels of the picture */
    unsigned bits;               /* VGA_LINEAR: of a pixel */
    unsigned scale;              /* a pixel's width in the picture: 1 or 2 */
    uint64_t start, pitch, wrap; /* addresses modulo wrap, a power of two */
    unsigned scans, repeat;      /* lines of a row; times each is shown */
    unsigned preset;             /* the first row begins with this line */
    unsigned compare;            /* after this line the address is 0 */
    unsigned pan;                /* pixels that are cut at the left */
    bool split_pans;             /* below the split too */
    unsigned columns, rows, cell_width, cell_height;      /* VGA_TEXT */
};

struct vga {
    struct device dev;
    struct vga_state state;
    struct pci_function pci;
    struct bus_claims ports, memory_claims;
    struct clock *clock;
    struct memory *memory;
    struct still_line still;
    struct log *log;
    struct display *display;
    bool text_exits;

    hva_t ram, text, rom;        /* ram: VGA_MEMORY_BYTES; text: VGA_TEXT_BYTES */
    uint64_t rom_bytes;
    struct vga_window window;    /* that is in the memory map */
    uint64_t window_moves_ns;    /* when it moved last */
    unsigned window_moves;       /* often in a short time: calls are cheaper */
    uint8_t edid[VGA_EDID_BYTES];

    /* Painting */
    struct text_painter text_painter;
    uint8_t font[TEXT_FONTS][VGA_FONT_BYTES];
    struct vga_mode painted;
    uint32_t palette[VGA_COLOURS];
    uint8_t *shadow;             /* lines of video memory as painted last */
    size_t shadow_bytes;
    bool repaint;
};

/* vga_regs.c: ports 0x3B0-0x3DF, and 0x1CE-0x1D0 */
uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
uint16_t vga_dispi_read(const struct vga *v, unsigned index);
void vga_dispi_write(struct vga *v, unsigned index, uint16_t value);
void vga_registers_reset(struct vga *v);

/* vga.c: all of video memory, to zeroes */
void vga_memory_clear(struct vga *v);

/* vga_planes.c: `offset` from 0xA0000 */
uint8_t vga_window_read(struct vga *v, unsigned offset);
void vga_window_write(struct vga *v, unsigned offset, uint8_t value);

/* vga_window.c: brings the memory map in line with the registers (later, when vCPUs hold
 * still); vga_window_close takes the window out now. */
void vga_window_update(struct vga *v);
void vga_window_close(struct vga *v);

/* vga_mode.c */
bool vga_dispi_on(const struct vga *v);
struct vga_mode vga_mode_now(const struct vga *v);
/* The colour of a DAC entry; of the 16 that attributes and planes select. */
uint32_t vga_dac_colour(const struct vga *v, unsigned entry);
uint32_t vga_attr_colour(const struct vga *v, unsigned n);
unsigned vga_vdisplay(const struct vga *v);              /* lines */
/* Input status 1: bit 0 = not displaying, bit 3 = vertical retrace. */
uint8_t vga_retrace(const struct vga *v);

/* vga_text.c, vga_draw.c */
void vga_text_paint(struct vga *v, const struct vga_mode *m);
void vga_text_lines(const struct vga *v, const struct vga_mode *m, struct strbuf *out);
void vga_draw_paint(struct vga *v, const struct vga_mode *m);

/* vga_edid.c */
void vga_edid_make(uint8_t edid[VGA_EDID_BYTES], unsigned width, unsigned height);

static inline uint32_t *vga_words(const struct vga *v)
{
    return (uint32_t *)(void *)v->ram.p;
}

#endif
