/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device_vga.c - the VGA: modes as a video BIOS sets them, what is painted of them, and
 * what no BIOS would program.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "device/vga.h"
#include "display/display.h"
#include "display/font.h"
#include "memory/memory.h"
#include "pci/pci.h"

enum { RAM_BYTES = 1 << 20, ECAM = 0xe0000000, FRAME_BUFFER = 0xc0000000, SLOT = 2 };

struct rig {
    struct log log;
    struct bus *bus;
    struct clock *clock;
    struct memory *memory;
    struct device *pci, *vga;
    struct display *display;
    unsigned moves;              /* of the memory map */
};

static void still(void *opaque, void (*change)(void *arg), void *arg)
{
    ((struct rig *)opaque)->moves++;
    change(arg);
}

static struct irq_line no_line(void *opaque, unsigned n)
{
    return (struct irq_line){0};
}

static void rig_make(struct rig *r, bool text_exits)
{
    const struct pci_bus_config pci = {.ecam = ECAM, .memory = {FRAME_BUFFER, 64 << 20},
                                       .line = no_line};
    struct vga_config cfg = {.slot = SLOT, .text_exits = text_exits};

    *r = (struct rig){.bus = bus_new(NULL), .clock = clock_new_manual(),
                      .memory = memory_new(RAM_BYTES, NULL)};
    log_init(&r->log, -1);
    const struct device_env env = {.memory = r->memory, .bus = r->bus, .clock = r->clock,
                                   .log = &r->log, .still = {still, r}};
    r->pci = pci_bus_new(&env, &pci, NULL);
    cfg.pci = pci_bus_of(r->pci);
    r->vga = vga_new(&env, &cfg, NULL);
    assert_non_null(r->vga);
    r->display = vga_display(r->vga);
}

static int setup(void **state)
{
    struct rig *r = malloc(sizeof *r);

    rig_make(r, false);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    device_destroy(r->vga);
    device_destroy(r->pci);
    memory_free(r->memory);
    bus_free(r->bus);
    clock_free(r->clock);
    free(r);
    return 0;
}

/* ---- the guest's side ---- */

static void out8(struct rig *r, unsigned port, unsigned value)
{
    bus_write(r->bus, BUS_PIO, port, 1, value);
}

static uint8_t in8(struct rig *r, unsigned port)
{
    return (uint8_t)bus_read(r->bus, BUS_PIO, port, 1);
}

static void reg(struct rig *r, unsigned port, unsigned index, unsigned value)
{
    bus_write(r->bus, BUS_PIO, port, 2, index | value << 8);
}

static uint8_t reg_get(struct rig *r, unsigned port, unsigned index)
{
    out8(r, port, index);
    return in8(r, port + 1);
}

static void attr(struct rig *r, unsigned index, unsigned value)
{
    in8(r, 0x3da);
    out8(r, 0x3c0, index);
    out8(r, 0x3c0, value);
    out8(r, 0x3c0, 0x20);
}

static void dispi(struct rig *r, unsigned index, unsigned value)
{
    bus_write(r->bus, BUS_PIO, 0x1ce, 2, index);
    bus_write(r->bus, BUS_PIO, 0x1cf, 2, value);
}

static unsigned dispi_get(struct rig *r, unsigned index)
{
    bus_write(r->bus, BUS_PIO, 0x1ce, 2, index);
    return (unsigned)bus_read(r->bus, BUS_PIO, 0x1d0, 2);
}

/* As an engine does it: what is memory is memory, the rest is the bus's. */
static void poke(struct rig *r, uint64_t a, unsigned value)
{
    hva_t host = memory_host(r->memory, gpa(a), 1, true);

    if (host.p)
        *host.p = (uint8_t)value;
    else
        bus_write(r->bus, BUS_MMIO, a, 1, value);
}

static uint8_t peek(struct rig *r, uint64_t a)
{
    hva_t host = memory_host(r->memory, gpa(a), 1, false);

    return host.p ? *host.p : (uint8_t)bus_read(r->bus, BUS_MMIO, a, 1);
}

/* Register values of a video mode: miscellaneous, sequencer, CRTC, graphics, attributes. */
struct mode {
    uint8_t misc, seq[5], crtc[25], gfx[9], attr[21];
};

static void set_mode(struct rig *r, const struct mode *m)
{
    out8(r, 0x3c2, m->misc);
    for (unsigned i = 0; i < 5; i++)
        reg(r, 0x3c4, i, m->seq[i]);
    reg(r, 0x3d4, 0x11, m->crtc[0x11] & 0x7f);
    for (unsigned i = 0; i < 25; i++)
        reg(r, 0x3d4, i, m->crtc[i]);
    for (unsigned i = 0; i < 9; i++)
        reg(r, 0x3ce, i, m->gfx[i]);
    in8(r, 0x3da);
    for (unsigned i = 0; i < 21; i++) {
        out8(r, 0x3c0, i);
        out8(r, 0x3c0, m->attr[i]);
    }
    out8(r, 0x3c0, 0x20);
    memset(memory_host(r->memory, gpa(FRAME_BUFFER), VGA_MEMORY_BYTES, true).p, 0, 1 << 18);
}

#define EGA_PALETTE 0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f
static const struct mode mode_12h = {
    0xe3, {3, 1, 0xf, 0, 6},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf,
     0x28, 0, 0xe7, 0x04, 0xe3, 0xff},
    {0, 0, 0, 0, 0, 0, 5, 0xf, 0xff}, {EGA_PALETTE, 1, 0, 0xf, 0, 0},
};
static const struct mode mode_13h = {
    0x63, {3, 1, 0xf, 0, 0xe},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f,
     0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
    {0, 0, 0, 0, 0, 0x40, 5, 0xf, 0xff},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0xf, 0, 0},
};
static const struct mode mode_4 = {
    0x63, {3, 9, 3, 0, 2},
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f,
     0x14, 0, 0x96, 0xb9, 0xa2, 0xff},
    {0, 0, 0, 0, 0, 0x30, 0xf, 0xf, 0xff},
    {0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0,
     0},
};

static uint32_t pixel(struct rig *r, unsigned x, unsigned y)
{
    const struct display_surface *s = display_surface(r->display);

    assert_true(x < s->width && y < s->height);
    return s->pixels[(size_t)y * s->stride + x];
}

static void expect_size(struct rig *r, unsigned width, unsigned height)
{
    display_refresh(r->display);
    assert_int_equal(display_surface(r->display)->width, width);
    assert_int_equal(display_surface(r->display)->height, height);
}

/* ---- text ---- */

static void text_after_reset(void **state)
{
    struct rig *r = *state;
    struct strbuf text = {0};

    expect_size(r, 720, 400);
    assert_int_equal(pixel(r, 100, 100), 0);
    for (unsigned i = 0; i < 5; i++) {
        poke(r, 0xb8000 + 160 + 2 * i, "Hi! \xc4"[i]);
        poke(r, 0xb8000 + 160 + 2 * i + 1, 0x1e);
    }
    display_refresh(r->display);
    for (unsigned y = 0; y < 16; y++)
        for (unsigned x = 0; x < 8; x++)
            assert_int_equal(pixel(r, x, 16 + y), font_8x16['H'][y] >> (7 - x) & 1 ? 0xffff55
                                                                                   : 0x0000aa);
    assert_int_equal(pixel(r, 8, 16 + 5), 0x0000aa);     /* the ninth column */
    assert_int_equal(pixel(r, 4 * 9 + 8, 16 + 7), 0xffff55);
    assert_true(display_text(r->display, &text));
    assert_int_equal(strncmp(text.text, "\nHi! \u2500\n\n", 10), 0);
    strbuf_fini(&text);
}

static void cursor_and_blinking(void **state)
{
    struct rig *r = *state;

    reg(r, 0x3d4, 0x0f, 81);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 9, 16 + 13), 0xaaaaaa);
    assert_int_equal(pixel(r, 9, 16 + 12), 0);
    clock_advance(r->clock, 134000000);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 9, 16 + 13), 0);
    reg(r, 0x3d4, 0x0a, 0x20);
    clock_advance(r->clock, 134000000);
    poke(r, 0xb8000, 0xdb);
    poke(r, 0xb8001, 0x87);
    display_refresh(r->display);                 /* the second half of a blink */
    assert_int_equal(pixel(r, 0, 0), 0);
    clock_advance(r->clock, 266666666);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 0), 0xaaaaaa);
    attr(r, 0x10, 0x04);                         /* no blinking: bright backgrounds */
    poke(r, 0xb8000, ' ');
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 0), 0x555555);
}

/* As Linux's vgacon does it: planes 2 alone, sequential, at 0xA0000. */
static void load_font(struct rig *r, unsigned at, unsigned glyph, uint8_t rows)
{
    reg(r, 0x3c4, 2, 4);
    reg(r, 0x3c4, 4, 7);
    reg(r, 0x3ce, 4, 2);
    reg(r, 0x3ce, 5, 0);
    reg(r, 0x3ce, 6, 0);
    for (unsigned i = 0; i < 16; i++)
        poke(r, 0xa0000 + at + glyph * 32 + i, rows);
    reg(r, 0x3c4, 2, 3);
    reg(r, 0x3c4, 4, 3);
    reg(r, 0x3ce, 4, 0);
    reg(r, 0x3ce, 5, 0x10);
    reg(r, 0x3ce, 6, 0xe);
}

static void fonts_are_loaded(void **state)
{
    struct rig *r = *state;

    poke(r, 0xb8000, 'A');
    poke(r, 0xb8001, 0x07);
    poke(r, 0xb8002, 'A');
    poke(r, 0xb8003, 0x0f);
    display_refresh(r->display);
    load_font(r, 0, 'A', 0xf0);
    assert_int_equal(peek(r, 0xb8000), 'A');     /* text came through */
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 0), 0xaaaaaa);
    assert_int_equal(pixel(r, 4, 0), 0);
    assert_int_equal(pixel(r, 9, 0), 0xffffff);
    load_font(r, 0x4000, 'A', 0x0f);
    reg(r, 0x3c4, 3, 1 << 2);                    /* bright characters: the second font */
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 0), 0xaaaaaa);
    assert_int_equal(pixel(r, 9, 0), 0);
    assert_int_equal(pixel(r, 9 + 4, 0), 0xffffff);
}

static void text_of_other_sizes(void **state)
{
    struct rig *r = *state;
    struct strbuf text = {0};

    reg(r, 0x3d4, 9, 0x47);                      /* 80x50 */
    reg(r, 0x3c4, 1, 1);
    expect_size(r, 640, 400);
    poke(r, 0xb8000 + 160 * 49, 'x');
    assert_true(display_text(r->display, &text));
    assert_int_equal(strlen(text.text), 51);
    strbuf_fini(&text);
    reg(r, 0x3d4, 0x11, 0x0e);
    reg(r, 0x3d4, 1, 131);                       /* 132 columns */
    reg(r, 0x3d4, 0x13, 66);
    expect_size(r, 132 * 8, 400);
    reg(r, 0x3d4, 1, 39);
    reg(r, 0x3c4, 1, 9);                         /* 40 columns of doubled dots */
    expect_size(r, 640, 400);
    reg(r, 0x3d4, 0x0c, 0x20);                   /* elsewhere, and a split at row 10 */
    reg(r, 0x3d4, 0x18, 79);
    reg(r, 0x3d4, 7, reg_get(r, 0x3d4, 7) & ~0x10);
    reg(r, 0x3d4, 9, 0x07);
    poke(r, 0xb8000, 'S');
    assert_true(display_text(r->display, &text));
    assert_string_equal(strchr(text.text, 'S') - 10, "\n\n\n\n\n\n\n\n\n\nS\n\n\n\n\n\n\n\n\n\n\n"
                        "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
    strbuf_fini(&text);
    reg(r, 0x3c4, 1, 0x20);                      /* off */
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 80), 0);
}

/* ---- graphics ---- */

static void sixteen_colours(void **state)
{
    struct rig *r = *state;

    set_mode(r, &mode_12h);
    expect_size(r, 640, 480);
    reg(r, 0x3ce, 5, 2);                         /* write mode 2: the colour itself */
    reg(r, 0x3ce, 8, 0x40);
    peek(r, 0xa0000 + 80);
    poke(r, 0xa0000 + 80, 14);
    reg(r, 0x3ce, 5, 0);                         /* mode 0 with set/reset */
    reg(r, 0x3ce, 0, 12);
    reg(r, 0x3ce, 1, 0xf);
    reg(r, 0x3ce, 8, 0x01);
    peek(r, 0xa0000 + 80);
    poke(r, 0xa0000 + 80, 0);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 1), 0);
    assert_int_equal(pixel(r, 1, 1), 0xffff55);
    assert_int_equal(pixel(r, 7, 1), 0xff5555);
    reg(r, 0x3ce, 5, 1);                         /* mode 1: latches, to the next line */
    reg(r, 0x3ce, 1, 0);
    peek(r, 0xa0000 + 80);
    poke(r, 0xa0000 + 160, 0);
    reg(r, 0x3ce, 5, 3);                         /* mode 3: the byte is the mask */
    reg(r, 0x3ce, 0, 2);
    reg(r, 0x3ce, 8, 0xff);
    reg(r, 0x3ce, 3, 1);                         /* rotated */
    peek(r, 0xa0000 + 160);
    poke(r, 0xa0000 + 160, 0x80 >> 1);
    reg(r, 0x3ce, 3, 0x18);                      /* xor */
    reg(r, 0x3ce, 5, 0);
    reg(r, 0x3c4, 2, 4);
    peek(r, 0xa0000 + 160);
    poke(r, 0xa0000 + 160, 0x03);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 1, 2), 0xffff55);
    assert_int_equal(pixel(r, 2, 2), 0x00aa00);
    assert_int_equal(pixel(r, 6, 2), 0xaa0000);
    assert_int_equal(pixel(r, 7, 2), 0x555555);
    reg(r, 0x3ce, 5, 8);                         /* read mode 1: where colour 2 is */
    reg(r, 0x3ce, 2, 2);
    reg(r, 0x3ce, 7, 0xf);
    assert_int_equal(peek(r, 0xa0000 + 160), 0x20);
    reg(r, 0x3ce, 5, 0);
    reg(r, 0x3ce, 4, 3);
    assert_int_equal(peek(r, 0xa0000 + 160), 0x41);
    attr(r, 0x13, 1);                            /* panning */
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 1), 0xffff55);
}

static void split_screen(void **state)
{
    struct rig *r = *state;

    set_mode(r, &mode_12h);
    poke(r, 0xa0000, 0xff);
    reg(r, 0x3d4, 0x0c, 0x40);
    reg(r, 0x3d4, 0x18, 99);
    reg(r, 0x3d4, 7, 0x2e);
    reg(r, 0x3d4, 9, 0);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 0), 0);
    assert_int_equal(pixel(r, 0, 99), 0);
    assert_int_equal(pixel(r, 0, 100), 0xffffff);
    assert_int_equal(pixel(r, 0, 101), 0);
}

static void two_hundred_fifty_six_colours(void **state)
{
    struct rig *r = *state;

    set_mode(r, &mode_13h);
    assert_non_null(memory_host(r->memory, gpa(0xa0000), 0x10000, true).p);
    expect_size(r, 640, 400);
    out8(r, 0x3c8, 200);
    out8(r, 0x3c9, 63);
    out8(r, 0x3c9, 32);
    out8(r, 0x3c9, 0);
    out8(r, 0x3c7, 200);
    assert_int_equal(in8(r, 0x3c7), 3);
    assert_int_equal(in8(r, 0x3c9) << 8 | in8(r, 0x3c9), 63 << 8 | 32);
    poke(r, 0xa0000 + 320 * 10 + 7, 200);
    display_refresh(r->display);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pixel(r, 14 + i % 2, 20 + i / 2), 0xff8200);
    assert_int_equal(pixel(r, 16, 20), 0);
    /* "Mode X": the same memory as planes, pages further down. */
    reg(r, 0x3c4, 4, 6);
    reg(r, 0x3d4, 0x14, 0);
    reg(r, 0x3d4, 0x17, 0xe3);
    assert_null(memory_host(r->memory, gpa(0xa0000), 1, true).p);
    reg(r, 0x3c4, 2, 1 << 2);
    poke(r, 0xa0000 + 16000 + 80 * 5 + 3, 200);
    reg(r, 0x3d4, 0x0c, 16000 >> 8);
    reg(r, 0x3d4, 0x0d, 16000 & 0xff);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 2 * (3 * 4 + 2), 10), 0xff8200);
    reg(r, 0x3d4, 9, 0x40);                      /* 400 lines */
    display_refresh(r->display);
    assert_int_equal(pixel(r, 2 * (3 * 4 + 2), 5), 0xff8200);
}

static void cga(void **state)
{
    struct rig *r = *state;

    set_mode(r, &mode_4);
    expect_size(r, 640, 400);
    poke(r, 0xb8000, 0x1b);                      /* colours 0 to 3 */
    poke(r, 0xba000 + 1, 0xc0);                  /* the odd lines */
    display_refresh(r->display);
    assert_int_equal(pixel(r, 0, 0), 0);
    assert_int_equal(pixel(r, 2, 0), 0x00ffaa);
    assert_int_equal(pixel(r, 4, 1), 0xaa55aa);
    assert_int_equal(pixel(r, 6, 0), 0xaaffaa);
    assert_int_equal(pixel(r, 6, 2), 0);
    assert_int_equal(pixel(r, 8, 2), 0xaaffaa);
}

/* ---- DISPI ---- */

static void dispi_mode(struct rig *r, unsigned width, unsigned height, unsigned bits)
{
    dispi(r, 4, 0);
    dispi(r, 1, width);
    dispi(r, 2, height);
    dispi(r, 3, bits);
    dispi(r, 4, 0x41);
    in8(r, 0x3da);
    out8(r, 0x3c0, 0x20);
}

static void frame_buffer(void **state)
{
    struct rig *r = *state;
    static const struct { unsigned bits, step; uint32_t value, colour; } cases[] = {
        {32, 4, 0xab123456, 0x123456}, {24, 3, 0x123456, 0x123456},
        {16, 2, 0xf81f, 0xff00ff},     {15, 2, 0x7c1f, 0xff00ff},
        {8, 1, 4, 0xaa0000},
    };

    assert_int_equal(dispi_get(r, 0), 0xb0c5);
    assert_int_equal(dispi_get(r, 10), 256);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t at = FRAME_BUFFER + (1920ull * 1079 + 1919) * cases[i].step;

        dispi_mode(r, 1920, 1080, cases[i].bits);
        expect_size(r, 1920, 1080);
        for (unsigned b = 0; b < cases[i].step; b++)
            poke(r, at + b, cases[i].value >> 8 * b & 0xff);
        display_refresh(r->display);
        assert_int_equal(pixel(r, 1919, 1079), cases[i].colour);
        assert_int_equal(pixel(r, 1918, 1079), 0);
    }
    dispi_mode(r, 640, 480, 32);
    dispi(r, 6, 1024);
    assert_int_equal(dispi_get(r, 7), 4096);
    dispi(r, 8, 100);
    dispi(r, 9, 50);
    poke(r, FRAME_BUFFER + (1024 * 51 + 101) * 4, 0x99);
    display_refresh(r->display);
    assert_int_equal(pixel(r, 1, 1), 0x99);
    reg(r, 0x3ce, 6, 5);
    dispi(r, 5, 3);                              /* banks at 0xA0000 */
    poke(r, 0xa0004, 0x77);
    assert_int_equal(peek(r, FRAME_BUFFER + 0x30004), 0x77);
    dispi(r, 9, 0xffff);                         /* no further than memory goes */
    assert_int_equal(dispi_get(r, 9), 4096 - 480);
    dispi(r, 4, 0);
    dispi(r, 4, 2);
    assert_int_equal(dispi_get(r, 1), 2560);
}

static void registers_in_memory(void **state)
{
    struct rig *r = *state;
    uint64_t bar = FRAME_BUFFER + VGA_MEMORY_BYTES;
    uint8_t sum = 0;

    for (unsigned i = 0; i < 128; i++)
        sum += peek(r, bar + i);
    assert_int_equal(sum, 0);
    assert_int_equal(bus_read(r->bus, BUS_MMIO, bar, 8), 0x00ffffffffffff00);
    assert_int_equal(bus_read(r->bus, BUS_MMIO, bar + 0x500, 2), 0xb0c5);
    bus_write(r->bus, BUS_MMIO, bar + 0x502, 2, 800);
    assert_int_equal(dispi_get(r, 1), 800);
    bus_write(r->bus, BUS_MMIO, bar + 0x404, 2, 0x0503);   /* sequencer 3 */
    assert_int_equal(reg_get(r, 0x3c4, 3), 5);
    assert_int_equal(bus_read(r->bus, BUS_MMIO, bar + 0x600, 8), 0x1e1e1e1e00000008);
    assert_int_equal(bus_read(r->bus, BUS_MMIO, bar + 0xff8, 8), UINT64_MAX);
}

/* ---- registers ---- */

static void registers(void **state)
{
    struct rig *r = *state;

    reg(r, 0x3d4, 0, 0x11);                      /* write-protected */
    assert_int_equal(reg_get(r, 0x3d4, 0), 0x5f);
    reg(r, 0x3d4, 7, 0x00);
    assert_int_equal(reg_get(r, 0x3d4, 7), 0x0f);
    assert_int_equal(in8(r, 0x3b5), 0xff);
    out8(r, 0x3c2, 0x66);
    assert_int_equal(in8(r, 0x3b4), 7);
    assert_int_equal(in8(r, 0x3d4), 0xff);
    assert_int_equal(in8(r, 0x3cc), 0x66);
    out8(r, 0x3c2, 0x67);
    in8(r, 0x3da);
    out8(r, 0x3c0, 3);                           /* palette off: written and read */
    out8(r, 0x3c0, 0xff);
    out8(r, 0x3c0, 3);
    assert_int_equal(in8(r, 0x3c1), 0x3f);
}

static void the_beam(void **state)
{
    struct rig *r = *state;
    unsigned retrace = 0, hidden = 0;
    const unsigned steps = 20000;

    for (unsigned i = 0; i < steps; i++) {       /* 1 us a step, 1.4 frames at 70 Hz */
        uint8_t status = in8(r, 0x3da);

        retrace += status >> 3 & 1;
        hidden += status & 1;
        assert_true(!(status & 8) || status & 1);
        clock_advance(r->clock, 1000);
    }
    assert_in_range(retrace, 60, 130);           /* two lines of 449, and perhaps again */
    assert_in_range(hidden, steps / 5, steps / 2);
}

/* ---- the window ---- */

static void text_exits(void **state)
{
    struct rig *heap = malloc(sizeof *heap);
    void *p = heap;

    rig_make(heap, true);
    assert_null(memory_host(heap->memory, gpa(0xb8000), 2, true).p);
    assert_non_null(memory_host(heap->memory, gpa(0xb8000), 2, false).p);
    bus_write(heap->bus, BUS_MMIO, 0xb8000, 8, 0x0742074107410741);
    assert_int_equal(peek(heap, 0xb8006), 'B');
    teardown(&p);
}

static void windows_do_not_flutter(void **state)
{
    struct rig *r = *state;

    for (unsigned i = 0; i < 500; i++) {
        reg(r, 0x3ce, 6, 4);
        reg(r, 0x3ce, 6, 0xe);
        poke(r, 0xb8000, i);
        assert_int_equal(peek(r, 0xb8000), (uint8_t)i);
    }
    assert_in_range(r->moves, 64, 150);
    clock_advance(r->clock, 2000000000);
    display_refresh(r->display);
    assert_non_null(memory_host(r->memory, gpa(0xb8000), 2, true).p);
    assert_int_equal(peek(r, 0xb8000), 499 & 0xff);
}

/* ---- what no BIOS programs ---- */

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static void random_step(struct rig *r, uint64_t *s)
{
    static const unsigned indexed[] = {0x3c4, 0x3ce, 0x3d4, 0x3d4, 0x3c4};
    uint64_t v = next(s);

    switch (v % 16) {
    case 0: attr(r, v >> 8 & 0x1f, v >> 16 & 0xff); break;
    case 1: dispi(r, v >> 8 & 15, v >> 16 & (v & 1 << 12 ? 0xffff : 0x1fff)); break;
    case 2: out8(r, 0x3b0 + (v >> 8) % 0x30, v >> 16 & 0xff); break;
    case 3: in8(r, 0x3b0 + (v >> 8) % 0x30); break;
    case 4: display_refresh(r->display); break;
    case 5: dispi(r, 4, v >> 8 & 1); break;
    case 6: clock_advance(r->clock, v >> 8 & 0xfffffff); break;
    case 7: case 8: case 9: peek(r, 0xa0000 + (v >> 8 & 0x1ffff)); break;
    case 10: case 11: case 12: poke(r, 0xa0000 + (v >> 8 & 0x1ffff), v >> 40 & 0xff); break;
    default:
        if (v >> 8 & 1)                          /* mostly shown and in text or graphics */
            reg(r, 0x3c4, 0, 3);
        else
            reg(r, indexed[(v >> 9) % 5], v >> 16 & 0x1f, v >> 24 & 0xff);
    }
}

static void random_traffic(void **state)
{
    struct rig *r = *state;
    struct strbuf text = {0};
    uint64_t s = 0x9e3779b97f4a7c15;

    for (unsigned i = 0; i < 60000; i++) {
        random_step(r, &s);
        if (i % 512)
            continue;
        strbuf_clear(&text);
        display_text(r->display, &text);
        device_resume(r->vga);
        if (i % 8192 == 0)
            device_reset(r->vga);
    }
    device_reset(r->vga);
    expect_size(r, 720, 400);
    poke(r, 0xb8000, 'k');
    strbuf_clear(&text);
    assert_true(display_text(r->display, &text));
    assert_int_equal(text.text[0], 'k');
    strbuf_fini(&text);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(text_after_reset), TEST(cursor_and_blinking), TEST(fonts_are_loaded),
        TEST(text_of_other_sizes), TEST(sixteen_colours), TEST(split_screen),
        TEST(two_hundred_fifty_six_colours), TEST(cga), TEST(frame_buffer),
        TEST(registers_in_memory), TEST(registers), TEST(the_beam),
        cmocka_unit_test(text_exits), TEST(windows_do_not_flutter), TEST(random_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
