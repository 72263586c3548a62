/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vga_window.c - which memory the guest sees from 0xA0000 to 0xBFFFF.
 *
 * Changing the memory map stops every vCPU, which is nothing when a mode is set and much
 * when a program switches for every byte. One that does so gets calls, the window that is
 * always right, until it has been quiet for a while.
 */
#include "device/vga_priv.h"

#include "base/clock.h"
#include "base/log.h"

enum { MOVES_MAX = 64 };
#define QUIET_NS 1000000000ull

/* Reads and writes of text memory that are bytes of planes 0 and 1, unchanged. */
static bool plain_text(const struct vga *v)
{
    const struct vga_state *s = &v->state;
    const uint8_t *g = s->gfx;

    return (g[GFX_MISC] >> 2 & 3) == 3 && !(g[GFX_MISC] & GFX_MISC_GRAPHICS) &&
           (s->seq[SEQ_MAP_MASK] & 0xf) == 3 &&
           !(s->seq[SEQ_MEMORY] & (SEQ_MEMORY_SEQUENTIAL | SEQ_MEMORY_CHAIN4)) &&
           g[GFX_MODE] == GFX_MODE_ODD_EVEN && !(g[GFX_READ_MAP] & 2) &&
           !(g[GFX_ENABLE_SET_RESET] & 0xf) && !(g[GFX_ROTATE] & 0x1f) &&
           g[GFX_BIT_MASK] == 0xff;
}

/* Chain 4 as mode 13h uses it, or a DISPI mode of whole bytes. */
static bool linear(const struct vga *v)
{
    const struct vga_state *s = &v->state;

    if ((s->gfx[GFX_MISC] >> 2 & 3) > 1)
        return false;
    if (vga_dispi_on(v))
        return s->dispi[DISPI_BPP] > 4;
    return s->seq[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4 && (s->seq[SEQ_MAP_MASK] & 0xf) == 0xf;
}

static struct vga_window wanted(const struct vga *v)
{
    uint64_t bank = vga_dispi_on(v) ? v->state.dispi[DISPI_BANK] : 0;

    if (linear(v))
        return (struct vga_window){VGA_WINDOW_LINEAR,
                                   bank * VGA_BANK_BYTES & (VGA_MEMORY_BYTES - 1)};
    return (struct vga_window){!vga_dispi_on(v) && plain_text(v) ? VGA_WINDOW_TEXT
                                                                 : VGA_WINDOW_CALLS, 0};
}

/* Planes 0 and 1 and the text window hold the same bytes, one of them at a time. */
static void text_from_planes(struct vga *v)
{
    for (unsigned i = 0; i < VGA_TEXT_BYTES; i++)
        v->text.p[i] = v->ram.p[4 * (i / 2) + i % 2];
}

static void text_to_planes(struct vga *v)
{
    for (unsigned i = 0; i < VGA_TEXT_BYTES; i++)
        v->ram.p[4 * (i / 2) + i % 2] = v->text.p[i];
}

void vga_window_close(struct vga *v)
{
    if (v->window.kind == VGA_WINDOW_TEXT) {
        memory_unmap(v->memory, gpa(VGA_TEXT_WINDOW));
        text_to_planes(v);
    } else if (v->window.kind == VGA_WINDOW_LINEAR) {
        memory_unmap(v->memory, gpa(VGA_WINDOW));
    }
    v->window = (struct vga_window){VGA_WINDOW_CALLS, 0};
}

/* A map that has no room for it (nobody puts anything there) leaves calls. */
static void open_window(struct vga *v, struct vga_window w)
{
    int rc = 0;

    if (w.kind == VGA_WINDOW_TEXT) {
        text_from_planes(v);
        rc = memory_map_host(v->memory, "vga text", gpa(VGA_TEXT_WINDOW), v->text, VGA_TEXT_BYTES,
                             v->text_exits ? MEMORY_READONLY : 0, NULL);
    } else if (w.kind == VGA_WINDOW_LINEAR) {
        rc = memory_map_host(v->memory, "vga window", gpa(VGA_WINDOW), hva(v->ram.p + w.offset),
                             VGA_BANK_BYTES, 0, NULL);
    }
    if (rc == 0)
        v->window = w;
}

static void change(void *opaque)
{
    struct vga *v = opaque;
    struct vga_window w = wanted(v);

    if (w.kind == v->window.kind && w.offset == v->window.offset)
        return;
    vga_window_close(v);
    open_window(v, w);
}

/* So many moves without a quiet second in between. */
static bool too_often(struct vga *v)
{
    uint64_t now = clock_now_ns(v->clock);

    if (now - v->window_moves_ns > QUIET_NS)
        v->window_moves = 0;
    if (v->window_moves >= MOVES_MAX)
        return true;
    v->window_moves++;
    v->window_moves_ns = now;
    return false;
}

void vga_window_update(struct vga *v)
{
    struct vga_window w = wanted(v);

    if (!v->memory || (w.kind == v->window.kind && w.offset == v->window.offset))
        return;
    /* Calls are right for every mode, but the present window is not: out of it always. */
    if (v->window.kind == VGA_WINDOW_CALLS && too_often(v))
        return;
    log_trace(v->log, DEVICE, "vga: window %d, 0x%llx", w.kind, (unsigned long long)w.offset);
    still_request(&v->still, change, v);
}
