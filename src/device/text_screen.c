/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text_screen.c - the text screen (see text_screen.h).
 *
 * The cells here are the truth. What the window shows is a copy, made when a cell is
 * written, so that the guest reads without an exit.
 */
#include "device/text_screen.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"
#include "display/font.h"
#include "display/text.h"
#include "memory/memory.h"

enum { CELL_BYTES = 2, SCREEN_BYTES = TEXT_SCREEN_CELLS * CELL_BYTES, BLANK = ' ', GREY = 7 };

struct text_screen {
    struct device dev;
    struct memory *memory;
    struct bus_claims claims;
    uint64_t window;
    struct text_painter painter;
    uint8_t cell[SCREEN_BYTES];          /* state */
};

static const uint32_t palette[16] = {
    0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
    0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff,
};

static struct text_screen *to_text(struct device *dev)
{
    return container_of(dev, struct text_screen, dev);
}

/* ---- writing ---------------------------------------------------------------- */

static void show(struct text_screen *t, unsigned at, unsigned bytes)
{
    if (t->window)
        memory_write(t->memory, gpa(t->window + at), t->cell + at, bytes);
}

void text_screen_put(struct device *dev, unsigned first, const uint8_t *cells, unsigned count)
{
    struct text_screen *t = to_text(dev);

    memcpy(t->cell + first * CELL_BYTES, cells, (size_t)count * CELL_BYTES);
    show(t, first * CELL_BYTES, count * CELL_BYTES);
}

/* Behind the screen the window is just memory. */
static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct text_screen *t = opaque;

    for (unsigned i = 0; i < size && offset + i < SCREEN_BYTES; i++)
        t->cell[offset + i] = (uint8_t)(value >> 8 * i);
    memory_write(t->memory, gpa(t->window + offset), &value, size);
}

/* ---- looking ---------------------------------------------------------------- */

void text_screen_paint(struct device *dev, struct display *d)
{
    static const struct text_shape shape = {
        .columns = TEXT_SCREEN_COLUMNS, .rows = TEXT_SCREEN_ROWS, .width = FONT_WIDTH,
        .height = FONT_HEIGHT, .font = {font_8x16[0]}, .stride = FONT_HEIGHT,
    };
    struct text_screen *t = to_text(dev);

    if (!text_begin(&t->painter, d, &shape))
        return;
    for (unsigned i = 0; i < TEXT_SCREEN_CELLS; i++) {
        const uint8_t *c = t->cell + i * CELL_BYTES;
        const struct text_cell cell = {.character = c[0], .fg = palette[c[1] & 15],
                                       .bg = palette[c[1] >> 4]};

        text_put(&t->painter, i % TEXT_SCREEN_COLUMNS, i / TEXT_SCREEN_COLUMNS, &cell);
    }
    text_end(&t->painter);
}

void text_screen_invalidate(struct device *dev)
{
    text_invalidate(&to_text(dev)->painter);
}

void text_screen_lines(struct device *dev, struct strbuf *out)
{
    struct text_screen *t = to_text(dev);

    for (unsigned row = 0; row < TEXT_SCREEN_ROWS; row++)
        font_add_line(out, t->cell + row * TEXT_SCREEN_COLUMNS * CELL_BYTES, TEXT_SCREEN_COLUMNS,
                      CELL_BYTES);
}

/* ---- device ----------------------------------------------------------------- */

static void text_screen_reset(struct device *dev)
{
    struct text_screen *t = to_text(dev);

    for (unsigned i = 0; i < TEXT_SCREEN_CELLS; i++) {
        t->cell[i * CELL_BYTES] = BLANK;
        t->cell[i * CELL_BYTES + 1] = GREY;
    }
    if (t->window)
        memory_fill(t->memory, gpa(t->window), 0, TEXT_SCREEN_WINDOW_BYTES);
    show(t, 0, SCREEN_BYTES);
}

static void text_screen_resume(struct device *dev)
{
    show(to_text(dev), 0, SCREEN_BYTES);
}

static const struct state_field fields[] = {STATE_U8_ARRAY(struct text_screen, cell), STATE_END};
static const struct state_desc desc = {"text_screen", 1, fields};

static const struct state_desc *text_screen_describe(struct device *dev, void **state)
{
    *state = to_text(dev);
    return &desc;
}

static void text_screen_destroy(struct device *dev)
{
    struct text_screen *t = to_text(dev);

    bus_claims_release(&t->claims);
    text_painter_fini(&t->painter);
    free(t);
}

static const struct device_ops text_screen_ops = {
    .type = "text_screen",
    .reset = text_screen_reset,
    .resume = text_screen_resume,
    .describe = text_screen_describe,
    .destroy = text_screen_destroy,
};

static int open_window(struct text_screen *t, const struct device_env *env, struct error **err)
{
    const struct bus_region region = {"text window", t->window, TEXT_SCREEN_WINDOW_BYTES, NULL,
                                      window_write, NULL, 0, 0};

    if (!t->window)
        return 0;
    if (!memory_map_block(t->memory, "text window", gpa(t->window), TEXT_SCREEN_WINDOW_BYTES,
                          MEMORY_READONLY, err).p)
        return -ENOMEM;
    return bus_claims_add(&t->claims, env->bus, BUS_MMIO, &region, 1, t, err);
}

struct device *text_screen_new(const struct device_env *env, const struct text_screen_config *cfg,
                            struct error **err)
{
    struct text_screen *t = calloc(1, sizeof *t);

    if (!t) {
        error_set(err, ENOMEM, "no memory for the text screen");
        return NULL;
    }
    device_init(&t->dev, &text_screen_ops, "text-screen");
    t->memory = env->memory;
    t->window = cfg->window;
    if (open_window(t, env, err) < 0) {
        text_screen_destroy(&t->dev);
        return NULL;
    }
    text_screen_reset(&t->dev);
    return &t->dev;
}
