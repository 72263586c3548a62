/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mirror.c - copies what changed, and remembers where. */
#include "display/mirror.h"

#include <stdlib.h>
#include <string.h>

static void on_resized(void *opaque, const struct display_surface *s)
{
    struct mirror *m = opaque;
    size_t pixels = (size_t)s->width * s->height;

    pthread_mutex_lock(&m->lock);
    if (pixels > m->capacity) {
        uint32_t *more = realloc(m->copy.pixels, pixels * sizeof *more);

        if (more) {
            m->copy.pixels = more;
            m->capacity = pixels;
        }
    }
    if (pixels <= m->capacity) {
        m->copy.width = m->copy.stride = s->width;
        m->copy.height = s->height;
        memset(m->copy.pixels, 0, pixels * sizeof *m->copy.pixels);
        m->rects = 0;
        m->resized = true;
    }
    pthread_mutex_unlock(&m->lock);
}

/* More rectangles than there is room for become one around all of them. */
static void note(struct mirror *m, struct display_rect r)
{
    if (m->rects < MIRROR_RECTS_MAX) {
        m->rect[m->rects++] = r;
        return;
    }
    for (unsigned i = 0; i < m->rects; i++) {
        const struct display_rect *a = &m->rect[i];
        unsigned right = (unsigned)max_u64(a->x + a->width, r.x + r.width);
        unsigned bottom = (unsigned)max_u64(a->y + a->height, r.y + r.height);

        r.x = (unsigned)min_u64(a->x, r.x);
        r.y = (unsigned)min_u64(a->y, r.y);
        r.width = right - r.x;
        r.height = bottom - r.y;
    }
    m->rect[0] = r;
    m->rects = 1;
}

static void on_dirty(void *opaque, const struct display_surface *s, struct display_rect r)
{
    struct mirror *m = opaque;

    pthread_mutex_lock(&m->lock);
    if (m->copy.width == s->width && m->copy.height == s->height) {
        for (unsigned y = r.y; y < r.y + r.height; y++)
            memcpy(m->copy.pixels + (size_t)y * m->copy.stride + r.x,
                   s->pixels + (size_t)y * s->stride + r.x, r.width * sizeof *s->pixels);
        note(m, r);
    }
    pthread_mutex_unlock(&m->lock);
}

void mirror_init(struct mirror *m, struct display *d, pthread_mutex_t *vm_lock)
{
    *m = (struct mirror){.viewer = {.resized = on_resized, .dirty = on_dirty, .opaque = m},
                         .vm_lock = vm_lock, .display = d};
    pthread_mutex_init(&m->lock, NULL);
}

void mirror_fini(struct mirror *m)
{
    mirror_detach(m);
    free(m->copy.pixels);
    pthread_mutex_destroy(&m->lock);
}

void mirror_attach(struct mirror *m)
{
    pthread_mutex_lock(m->vm_lock);
    if (!m->attached)
        display_attach(m->display, &m->viewer);
    m->attached = true;
    pthread_mutex_unlock(m->vm_lock);
}

void mirror_detach(struct mirror *m)
{
    pthread_mutex_lock(m->vm_lock);
    if (m->attached)
        display_detach(m->display, &m->viewer);
    m->attached = false;
    pthread_mutex_unlock(m->vm_lock);
}

void mirror_refresh(struct mirror *m)
{
    pthread_mutex_lock(m->vm_lock);
    display_refresh(m->display);
    pthread_mutex_unlock(m->vm_lock);
}
