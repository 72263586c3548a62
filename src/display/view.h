/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * view.h - `--display`: a window or a VNC server that shows a display.
 *
 *     none | sdl[,escape=off] | vnc=[HOST]:N[,password=FILE]
 *
 * Each kind is a row in view.c and a file of its own; the libraries are optional, and a
 * kind that the build has not says so. A view runs in threads of its own. It takes the VM
 * lock for as long as it takes to paint and copy what changed, or to pass a key on, and
 * never waits for anything else while it holds it: a viewer that stops reading, or sends
 * rubbish, is no matter of the guest's.
 */
#ifndef RING3_DISPLAY_VIEW_H
#define RING3_DISPLAY_VIEW_H

#include <pthread.h>

#include "base/types.h"

struct display;
struct error;
struct input;
struct log;
struct view;

struct view_config {
    struct display *display;
    struct input *input;           /* or NULL: nobody types */
    pthread_mutex_t *vm_lock;
    struct log *log;
    /* The user closed the window. From the view's thread, no lock held. */
    void (*closed)(void *opaque);
    void *opaque;
};

/* -EINVAL: the text is wrong; others: the host. "none" gives NULL and 0. Before the
 * machine runs; no lock held. */
int view_open(const char *text, const struct view_config *cfg, struct view **out,
              struct error **err);
/* Ends its threads. Before the display goes; no lock held. NULL is fine. */
void view_close(struct view *v);

/* ---- for the kinds ---------------------------------------------------------- */

struct view {
    void (*close)(struct view *v);
};

int view_sdl_open(const char *text, const struct view_config *cfg, struct view **out,
                  struct error **err);
int view_vnc_open(const char *text, const struct view_config *cfg, struct view **out,
                  struct error **err);

/* Key codes (linux/input-event-codes.h) for USB usages, which SDL's scan codes are, and
 * for X11's keysyms, which VNC sends; 0: none. `shifted`: the symbol needs Shift on
 * a US keyboard. */
unsigned view_key_of_usage(unsigned usage);
unsigned view_key_of_symbol(uint32_t symbol, bool *shifted);

#endif
