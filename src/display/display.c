/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * display.c - the surface and the list of those who look at it.
 *
 * The surface only ever grows in memory: a guest that switches modes all day does not
 * have the host allocate all day.
 */
#include "display/display.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"

enum { START_WIDTH = 640, START_HEIGHT = 400 };

struct display {
    struct display_card card;
    struct display_surface surface;
    size_t capacity;                   /* pixels allocated */
    struct display_viewer *viewers;
};

static unsigned clamp(unsigned v, unsigned max)
{
    return v < 1 ? 1 : v > max ? max : v;
}

/* False: no memory, and the surface is as it was. */
static bool surface_set(struct display *d, unsigned width, unsigned height)
{
    size_t pixels = (size_t)width * height;

    if (pixels > d->capacity) {
        uint32_t *more = realloc(d->surface.pixels, pixels * sizeof *more);

        if (!more)
            return false;
        d->surface.pixels = more;
        d->capacity = pixels;
    }
    d->surface.width = d->surface.stride = width;
    d->surface.height = height;
    memset(d->surface.pixels, 0, pixels * sizeof *d->surface.pixels);
    return true;
}

struct display *display_new(const struct display_card *card, struct error **err)
{
    struct display *d = calloc(1, sizeof *d);

    if (!d || !surface_set(d, START_WIDTH, START_HEIGHT)) {
        free(d);
        error_set(err, ENOMEM, "no memory for a screen");
        return NULL;
    }
    d->card = *card;
    return d;
}

void display_free(struct display *d)
{
    if (!d)
        return;
    BUG_ON(d->viewers);
    free(d->surface.pixels);
    free(d);
}

/* A host without memory for a larger picture goes on showing one of the old size, and
 * cards clip what they paint to what there is. */
void display_resize(struct display *d, unsigned width, unsigned height)
{
    width = clamp(width, DISPLAY_WIDTH_MAX);
    height = clamp(height, DISPLAY_HEIGHT_MAX);
    if (width == d->surface.width && height == d->surface.height)
        return;
    if (!surface_set(d, width, height))
        return;
    for (struct display_viewer *v = d->viewers; v; v = v->next)
        v->resized(v->opaque, &d->surface);
    display_dirty(d, (struct display_rect){0, 0, width, height});
}

void display_dirty(struct display *d, struct display_rect r)
{
    const struct display_surface *s = &d->surface;

    if (r.x >= s->width || r.y >= s->height)
        return;
    r.width = r.width > s->width - r.x ? s->width - r.x : r.width;
    r.height = r.height > s->height - r.y ? s->height - r.y : r.height;
    if (!r.width || !r.height)
        return;
    for (struct display_viewer *v = d->viewers; v; v = v->next)
        v->dirty(v->opaque, s, r);
}

const struct display_surface *display_surface(const struct display *d)
{
    return &d->surface;
}

void display_attach(struct display *d, struct display_viewer *v)
{
    v->next = d->viewers;
    d->viewers = v;
    v->resized(v->opaque, &d->surface);
    if (d->card.invalidate)
        d->card.invalidate(d->card.opaque);
}

void display_detach(struct display *d, struct display_viewer *v)
{
    for (struct display_viewer **p = &d->viewers; *p; p = &(*p)->next) {
        if (*p == v) {
            *p = v->next;
            return;
        }
    }
}

void display_refresh(struct display *d)
{
    if (d->card.refresh)
        d->card.refresh(d->card.opaque);
}

bool display_text(struct display *d, struct strbuf *out)
{
    return d->card.text && d->card.text(d->card.opaque, out);
}

int display_copy(struct display *d, struct display_surface *out, struct error **err)
{
    const struct display_surface *s = &d->surface;

    display_refresh(d);
    *out = (struct display_surface){.width = s->width, .height = s->height, .stride = s->width};
    out->pixels = malloc((size_t)s->width * s->height * sizeof *out->pixels);
    if (!out->pixels)
        return error_set(err, ENOMEM, "no memory for a picture of %ux%u", s->width, s->height);
    for (unsigned y = 0; y < s->height; y++)
        memcpy(out->pixels + (size_t)y * s->width, s->pixels + (size_t)y * s->stride,
               s->width * sizeof *s->pixels);
    return 0;
}
