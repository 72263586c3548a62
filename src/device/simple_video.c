/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_video.c - the simple machine's video card: a mode, and memory that is shown.
 *
 * Nobody hears of the guest's writes to that memory: whoever looks compares it with what
 * is on the surface, row by row. Until the guest has set a mode the text screen of the
 * hypercalls is shown.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "device/simple.h"
#include "device/text_screen.h"
#include "display/display.h"
#include "display/font.h"
#include "display/text.h"
#include "memory/memory.h"
#include "ring3/simple.h"

enum { WHITE = 0xffffff, PIXEL_BYTES = 4, ROWS_MAX = DISPLAY_HEIGHT_MAX / FONT_HEIGHT };

struct simple_video {
    struct device dev;
    struct simple_slot slot;
    struct memory *memory;
    struct log *log;
    struct log_limit wrong;
    struct device *text;                 /* before a mode is set */
    struct display *display;
    struct text_painter painter;
    bool repaint;
    uint32_t mode;                       /* as accepted; 0 = none yet */
};

struct mode {
    bool graphics;
    unsigned width, height;
};

static struct simple_video *to_video(struct device *dev)
{
    return container_of(dev, struct simple_video, dev);
}

/* The bit that says graphics is one of the width's: guests set it beside a width that is
 * a multiple of 8, or have a width (1366) that has it anyway. */
static struct mode decode(uint32_t value)
{
    enum { OVERLAP = 2 };
    struct mode m = {.graphics = value & RING3_SIMPLE_MODE_GRAPHICS,
                     .width = value >> 12 & 0xfff, .height = value & 0xfff};

    if (m.graphics && (m.width & ~(unsigned)OVERLAP) % 8 == 0)
        m.width &= ~(unsigned)OVERLAP;
    return m;
}

static bool possible(const struct simple_video *v, const struct mode *m)
{
    if (!m->width || !m->height)
        return false;
    if (m->graphics)
        return (uint64_t)m->width * m->height * PIXEL_BYTES <= v->slot.bytes;
    return m->width <= TEXT_COLUMNS_MAX && m->height <= ROWS_MAX;
}

static uint32_t video_read(void *opaque)
{
    return ((struct simple_video *)opaque)->mode;
}

static void video_write(void *opaque, uint32_t value)
{
    struct simple_video *v = opaque;
    struct mode m = decode(value);

    if ((value & RING3_SIMPLE_MODE) != RING3_SIMPLE_MODE || !possible(v, &m)) {
        log_guest(v->log, &v->wrong, "video: 0x%08x is no mode", value);
        return;
    }
    v->mode = value;
    v->repaint = true;
}

/* ---- display_card ----------------------------------------------------------- */

static const uint8_t *video_memory(const struct simple_video *v)
{
    return memory_host(v->memory, gpa(v->slot.base), v->slot.bytes, false).p;
}

static void paint_text(struct simple_video *v, const struct mode *m, const uint8_t *chars)
{
    const struct text_shape shape = {
        .columns = m->width, .rows = m->height, .width = FONT_WIDTH, .height = FONT_HEIGHT,
        .font = {font_8x16[0]}, .stride = FONT_HEIGHT,
    };

    if (!text_begin(&v->painter, v->display, &shape))
        return;
    for (unsigned row = 0; row < m->height; row++) {
        for (unsigned column = 0; column < m->width; column++) {
            const struct text_cell c = {.character = chars[row * m->width + column], .fg = WHITE};

            text_put(&v->painter, column, row, &c);
        }
    }
    text_end(&v->painter);
}

static void paint_pixels(struct simple_video *v, const struct mode *m, const uint8_t *pixels)
{
    const struct display_surface *s;
    size_t bytes = (size_t)m->width * PIXEL_BYTES;

    display_resize(v->display, m->width, m->height);
    s = display_surface(v->display);
    for (unsigned y = 0; y < min_u64(m->height, s->height); y++) {
        uint32_t *row = s->pixels + (size_t)y * s->stride;
        const uint8_t *seen = pixels + y * bytes;

        if (!v->repaint && !memcmp(row, seen, bytes))
            continue;
        memcpy(row, seen, bytes);
        display_dirty(v->display, (struct display_rect){0, y, m->width, 1});
    }
}

static void refresh(void *opaque)
{
    struct simple_video *v = opaque;
    const uint8_t *memory = video_memory(v);
    struct mode m = decode(v->mode);

    if (!v->mode || !memory) {
        text_screen_paint(v->text, v->display);
        return;
    }
    if (v->repaint)
        text_invalidate(&v->painter);
    if (m.graphics)
        paint_pixels(v, &m, memory);
    else
        paint_text(v, &m, memory);
    v->repaint = false;
}

static void invalidate(void *opaque)
{
    struct simple_video *v = opaque;

    v->repaint = true;
    text_screen_invalidate(v->text);
}

static bool text(void *opaque, struct strbuf *out)
{
    struct simple_video *v = opaque;
    const uint8_t *memory = video_memory(v);
    struct mode m = decode(v->mode);

    if (v->mode && m.graphics)
        return false;
    if (!v->mode || !memory)
        text_screen_lines(v->text, out);
    for (unsigned row = 0; v->mode && memory && row < m.height; row++)
        font_add_line(out, memory + (size_t)row * m.width, m.width, 1);
    return true;
}

/* ---- device ----------------------------------------------------------------- */

static void video_reset(struct device *dev)
{
    to_video(dev)->mode = 0;
    invalidate(to_video(dev));
}

static const struct state_field fields[] = {STATE_U32(struct simple_video, mode), STATE_END};
static const struct state_desc desc = {"simple_video", 1, fields};

static void video_resume(struct device *dev)
{
    struct simple_video *v = to_video(dev);
    struct mode m = decode(v->mode);

    if (v->mode && !possible(v, &m))
        v->mode = 0;
    invalidate(v);
}

static const struct state_desc *video_describe(struct device *dev, void **state)
{
    *state = to_video(dev);
    return &desc;
}

static void video_destroy(struct device *dev)
{
    struct simple_video *v = to_video(dev);

    display_free(v->display);
    text_painter_fini(&v->painter);
    free(v);
}

static const struct device_ops video_ops = {
    .type = "simple_video",
    .reset = video_reset,
    .resume = video_resume,
    .describe = video_describe,
    .destroy = video_destroy,
};

struct display *simple_video_display(struct device *dev)
{
    return to_video(dev)->display;
}

struct device *simple_video_new(const struct device_env *env, const struct simple_slot *slot,
                                struct device *text_screen, struct error **err)
{
    struct simple_video *v = calloc(1, sizeof *v);
    const struct display_card card = {refresh, invalidate, text, v};

    if (!v) {
        error_set(err, ENOMEM, "no memory for the video card");
        return NULL;
    }
    device_init(&v->dev, &video_ops, slot->name);
    v->slot = *slot;
    v->memory = env->memory;
    v->log = env->log;
    v->text = text_screen;
    v->display = display_new(&card, err);
    if (!v->display) {
        free(v);
        return NULL;
    }
    *slot->port = (struct simple_port){video_read, video_write, v};
    return &v->dev;
}
