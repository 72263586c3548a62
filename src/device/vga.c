/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga.c - the card: its ports, its place on PCI, what it is after reset.
 *
 * Byte accesses are the register interface; wider ones are bytes in a row, which is how
 * "index and data in one 16-bit write" works on the real thing too.
 */
#include "device/vga_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"
#include "display/font.h"

enum { PORT_DISPI = 0x1ce, PORTS_DISPI = 4 };
enum { BAR_MEMORY = 0, BAR_REGISTERS = 2, REGISTERS_BYTES = 4096 };
/* BAR 2, as QEMU's docs/specs/standard-vga.rst lays it out. */
enum { REG_PORTS = 0x400, REG_PORTS_END = 0x420, REG_DISPI = 0x500,
       REG_DISPI_END = REG_DISPI + 2 * DISPI_COUNT, REG_EXTENDED = 0x600, REG_BYTE_ORDER = 0x604,
       REG_EXTENDED_BYTES = 8 };
#define LITTLE_ENDIAN_MARK 0x1e1e1e1eu

static struct vga *to_vga(struct device *dev)
{
    return container_of(dev, struct vga, dev);
}

/* ---- ports ---------------------------------------------------------------- */

static uint64_t mono_read(void *v, uint64_t offset, unsigned size)
{
    return vga_port_read(v, 0x3b4 + (unsigned)offset);
}

static void mono_write(void *v, uint64_t offset, unsigned size, uint64_t value)
{
    vga_port_write(v, 0x3b4 + (unsigned)offset, (uint8_t)value);
}

static uint64_t mono_status_read(void *v, uint64_t offset, unsigned size)
{
    return vga_port_read(v, 0x3ba);
}

static void mono_status_write(void *v, uint64_t offset, unsigned size, uint64_t value)
{
    vga_port_write(v, 0x3ba, (uint8_t)value);
}

static uint64_t ports_read(void *v, uint64_t offset, unsigned size)
{
    return vga_port_read(v, 0x3c0 + (unsigned)offset);
}

static void ports_write(void *v, uint64_t offset, unsigned size, uint64_t value)
{
    vga_port_write(v, 0x3c0 + (unsigned)offset, (uint8_t)value);
}

/* The index at 0x1CE; the data at 0x1CF as in Bochs, and at 0x1D0 for those who mind
 * words at odd ports. */
static uint64_t dispi_port_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct vga *v = opaque;

    return offset ? vga_dispi_read(v, v->state.dispi_index) : v->state.dispi_index;
}

static void dispi_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = opaque;

    if (offset)
        vga_dispi_write(v, v->state.dispi_index, (uint16_t)value);
    else
        v->state.dispi_index = (uint16_t)value;
}

static const struct bus_region port_regions[] = {
    {"vga", 0x3b4, 2, mono_read, mono_write, NULL, 1, 0},
    {"vga", 0x3ba, 1, mono_status_read, mono_status_write, NULL, 1, 0},
    {"vga", 0x3c0, 0x20, ports_read, ports_write, NULL, 1, 0},
    {"vga dispi", PORT_DISPI, PORTS_DISPI, dispi_port_read, dispi_port_write, NULL, 2, 0},
};

/* ---- memory ----------------------------------------------------------------- */

static uint64_t window_read(void *v, uint64_t offset, unsigned size)
{
    return vga_window_read(v, (unsigned)offset);
}

static void window_write(void *v, uint64_t offset, unsigned size, uint64_t value)
{
    vga_window_write(v, (unsigned)offset, (uint8_t)value);
}

static const struct bus_region window_region = {
    "vga window", VGA_WINDOW, VGA_WINDOW_BYTES, window_read, window_write, NULL, 1, 0,
};

static uint8_t extended_byte(unsigned offset)
{
    uint32_t word = offset < REG_BYTE_ORDER ? REG_EXTENDED_BYTES : LITTLE_ENDIAN_MARK;

    return (uint8_t)(word >> offset % 4 * 8);
}

static uint64_t registers_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    struct vga *v = container_of(f, struct vga, pci);
    unsigned at = (unsigned)offset;
    uint64_t value = 0;

    if (at >= REG_DISPI && at < REG_DISPI_END)
        return vga_dispi_read(v, (at - REG_DISPI) / 2) >> at % 2 * 8;
    for (unsigned i = 0; i < size; i++, at++) {
        uint8_t byte = 0xff;

        if (at < VGA_EDID_BYTES)
            byte = v->edid[at];
        else if (at >= REG_PORTS && at < REG_PORTS_END)
            byte = vga_port_read(v, 0x3c0 + at - REG_PORTS);
        else if (at >= REG_EXTENDED && at < REG_EXTENDED + REG_EXTENDED_BYTES)
            byte = extended_byte(at);
        value |= (uint64_t)byte << 8 * i;
    }
    return value;
}

static void registers_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = container_of(f, struct vga, pci);
    unsigned at = (unsigned)offset;

    if (at >= REG_DISPI && at < REG_DISPI_END) {
        if (at % 2 == 0)
            vga_dispi_write(v, (at - REG_DISPI) / 2, (uint16_t)value);
        return;
    }
    for (unsigned i = 0; i < size; i++, at++)
        if (at >= REG_PORTS && at < REG_PORTS_END)
            vga_port_write(v, 0x3c0 + at - REG_PORTS, (uint8_t)(value >> 8 * i));
}

static const struct pci_bar_ops registers_ops = {registers_read, registers_write};

/* Back to zeroes, and the host's memory given back. */
void vga_memory_clear(struct vga *v)
{
    if (v->ram.p && madvise(v->ram.p, VGA_MEMORY_BYTES, MADV_DONTNEED) != 0)
        memset(v->ram.p, 0, VGA_MEMORY_BYTES);
}

/* Blank text and the font, while the memory map may be changed. */
static void power_on(void *opaque)
{
    struct vga *v = opaque;

    vga_window_close(v);
    vga_memory_clear(v);
    for (unsigned i = 0; i < VGA_TEXT_BYTES / 2; i++)
        vga_words(v)[i] = 0x0720;
    for (unsigned glyph = 0; glyph < FONT_GLYPHS; glyph++)
        for (unsigned row = 0; row < FONT_HEIGHT; row++)
            v->ram.p[4 * (32 * glyph + row) + 2] = font_8x16[glyph][row];
    v->repaint = true;
    vga_window_update(v);
}

/* ---- the display -------------------------------------------------------------- */

static void paint_black(struct vga *v, const struct vga_mode *m)
{
    const struct display_surface *s;

    display_resize(v->display, m->width, m->height);
    s = display_surface(v->display);
    if (!v->repaint)
        return;
    memset(s->pixels, 0, (size_t)s->stride * s->height * sizeof *s->pixels);
    display_dirty(v->display, (struct display_rect){0, 0, s->width, s->height});
}

static void card_refresh(void *opaque)
{
    struct vga *v = opaque;
    struct vga_mode m = vga_mode_now(v);

    if (!v->ram.p)
        return;
    vga_window_update(v);
    v->repaint |= m.kind != v->painted.kind;
    if (m.kind == VGA_BLANK)
        paint_black(v, &m);
    else if (m.kind == VGA_TEXT)
        vga_text_paint(v, &m);
    else
        vga_draw_paint(v, &m);
    v->painted = m;
    v->repaint = false;
}

static void card_invalidate(void *opaque)
{
    struct vga *v = opaque;

    v->repaint = true;
}

/* What a screen that is off would show counts too. */
static bool card_text(void *opaque, struct strbuf *out)
{
    const struct vga *v = opaque;
    struct vga_mode m = vga_mode_now(v);

    if (!m.text || !v->ram.p)
        return false;
    vga_text_lines(v, &m, out);
    return true;
}

struct display *vga_display(struct device *dev)
{
    return to_vga(dev)->display;
}

/* ---- the device ------------------------------------------------------------------ */

static void vga_reset(struct device *dev)
{
    struct vga *v = to_vga(dev);

    vga_registers_reset(v);
    if (v->pci.bus)
        pci_function_reset(&v->pci);
    if (v->ram.p)
        still_request(&v->still, power_on, v);
}

static void vga_resume(struct device *dev)
{
    struct vga *v = to_vga(dev);

    if (v->pci.bus)
        pci_function_resume(&v->pci);
    v->repaint = true;
    vga_window_update(v);
}

static const struct state_field fields[] = {
    STATE_U8(struct vga_state, misc),
    STATE_U8(struct vga_state, feature),
    STATE_U8(struct vga_state, seq_index),
    STATE_U8(struct vga_state, gfx_index),
    STATE_U8(struct vga_state, crtc_index),
    STATE_U8(struct vga_state, attr_index),
    STATE_BOOL(struct vga_state, attr_data),
    STATE_U8_ARRAY(struct vga_state, seq),
    STATE_U8_ARRAY(struct vga_state, gfx),
    STATE_U8_ARRAY(struct vga_state, crtc),
    STATE_U8_ARRAY(struct vga_state, attr),
    STATE_U8(struct vga_state, dac_mask),
    STATE_U8(struct vga_state, dac_read),
    STATE_U8(struct vga_state, dac_write),
    STATE_U8(struct vga_state, dac_part),
    STATE_BOOL(struct vga_state, dac_reading),
    STATE_U8_ARRAY(struct vga_state, dac_latch),
    STATE_U8_ARRAY(struct vga_state, dac),
    STATE_U32(struct vga_state, latch),
    STATE_U16(struct vga_state, dispi_index),
    STATE_U16_ARRAY(struct vga_state, dispi),
    STATE_STRUCT(struct vga_state, pci, &pci_function_state_desc),
    STATE_END
};
static const struct state_desc desc = {"vga", 1, fields};

static const struct state_desc *vga_describe(struct device *dev, void **state)
{
    *state = &to_vga(dev)->state;
    return &desc;
}

static void vga_destroy(struct device *dev)
{
    struct vga *v = to_vga(dev);

    if (v->memory)
        vga_window_close(v);
    bus_claims_release(&v->ports);
    bus_claims_release(&v->memory_claims);
    if (v->pci.bus)
        pci_bus_remove(v->pci.bus, &v->pci);
    memory_block_free(v->ram, VGA_MEMORY_BYTES);
    memory_block_free(v->text, VGA_TEXT_BYTES);
    memory_block_free(v->rom, v->rom_bytes);
    text_painter_fini(&v->text_painter);
    display_free(v->display);
    free(v->shadow);
    free(v);
}

static const struct device_ops vga_ops = {
    .type = "vga",
    .reset = vga_reset,
    .resume = vga_resume,
    .describe = vga_describe,
    .destroy = vga_destroy,
};

static int make_memory(struct vga *v, const struct vga_config *cfg, struct error **err)
{
    v->ram = memory_block_new("vga memory", VGA_MEMORY_BYTES, err);
    if (!v->ram.p)
        return -ENOMEM;
    v->text = memory_block_new("vga text", VGA_TEXT_BYTES, err);
    if (!v->text.p)
        return -ENOMEM;
    if (!cfg->rom)
        return 0;
    for (v->rom_bytes = PAGE_SIZE; v->rom_bytes < cfg->rom_bytes;)
        v->rom_bytes *= 2;
    v->rom = memory_block_new("vga rom", v->rom_bytes, err);
    if (!v->rom.p)
        return -ENOMEM;
    memcpy(v->rom.p, cfg->rom, cfg->rom_bytes);
    return 0;
}

static int make_pci(struct vga *v, const struct vga_config *cfg, struct error **err)
{
    const struct pci_identity id = {.vendor = 0x1234, .device = 0x1111, .class = 0x030000,
                                    .subsystem_vendor = 0x1af4, .subsystem = 0x1100,
                                    .revision = 2};

    pci_function_init(&v->pci, &v->state.pci, "vga", &id);
    /* The ports are no BAR, and answer always; firmware takes a card whose ports cannot be
     * turned on for none. */
    v->pci.writable[PCI_COMMAND] |= PCI_COMMAND_IO;
    if (v->ram.p) {
        pci_bar_set(&v->pci, BAR_MEMORY, PCI_BAR_MEMORY, VGA_MEMORY_BYTES, NULL);
        pci_bar_memory(&v->pci, BAR_MEMORY, v->ram, 0);
        v->state.pci.config[PCI_BAR0] |= 8;      /* prefetchable: combining writes is fine */
    }
    pci_bar_set(&v->pci, BAR_REGISTERS, PCI_BAR_MEMORY, REGISTERS_BYTES, &registers_ops);
    if (v->rom.p)
        pci_rom_set(&v->pci, v->rom, v->rom_bytes);
    return pci_bus_add(cfg->pci, &v->pci, cfg->slot, err);
}

struct device *vga_new(const struct device_env *env, const struct vga_config *cfg,
                       struct error **err)
{
    struct vga *v = calloc(1, sizeof *v);
    int rc;

    if (!v) {
        error_set(err, ENOMEM, "no memory for the VGA");
        return NULL;
    }
    device_init(&v->dev, &vga_ops, "vga");
    v->clock = env->clock;
    v->memory = env->memory;
    v->still = env->still;
    v->log = env->log;
    v->text_exits = cfg->text_exits;
    vga_edid_make(v->edid, cfg->width ? cfg->width : 1024, cfg->height ? cfg->height : 768);
    v->display = display_new(&(struct display_card){card_refresh, card_invalidate, card_text, v},
                             err);
    rc = v->display ? 0 : -ENOMEM;
    if (!rc && v->memory)
        rc = make_memory(v, cfg, err);
    if (!rc)
        rc = bus_claims_add(&v->ports, env->bus, BUS_PIO, port_regions, ARRAY_SIZE(port_regions),
                            v, err);
    if (!rc && v->memory)
        rc = bus_claims_add(&v->memory_claims, env->bus, BUS_MMIO, &window_region, 1, v, err);
    if (!rc && cfg->pci)
        rc = make_pci(v, cfg, err);
    if (rc) {
        vga_destroy(&v->dev);
        return NULL;
    }
    vga_reset(&v->dev);
    return &v->dev;
}
