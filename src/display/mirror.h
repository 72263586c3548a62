/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror.h - a copy of the screen for a viewer that draws in a thread of its own.
 *
 * The mirror is a display_viewer: what changes is copied while the VM lock is held, which
 * is short, and the thread sends or shows it when it likes, under the mirror's own lock.
 * Lock order: VM lock, then the mirror's.
 */
#ifndef RING3_DISPLAY_MIRROR_H
#define RING3_DISPLAY_MIRROR_H

#include <pthread.h>

#include "display/display.h"

enum { MIRROR_RECTS_MAX = 64 };

struct mirror {
    struct display_viewer viewer;
    pthread_mutex_t *vm_lock;
    struct display *display;
    bool attached;
    pthread_mutex_t lock;          /* of everything below */
    struct display_surface copy;
    size_t capacity;
    bool resized;                  /* since it was taken */
    struct display_rect rect[MIRROR_RECTS_MAX];
    unsigned rects;
};

void mirror_init(struct mirror *m, struct display *d, pthread_mutex_t *vm_lock);
void mirror_fini(struct mirror *m);
/* Attaching and detaching, and bringing the copy up to date: no lock held. */
void mirror_attach(struct mirror *m);      /* idempotent, as is the next */
void mirror_detach(struct mirror *m);
void mirror_refresh(struct mirror *m);

#endif
