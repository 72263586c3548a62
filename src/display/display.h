/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * display.h - a machine's screen, between a video card and those who look.
 *
 * A card (VGA, the simple machine's video card) owns a `struct display` and paints
 * into its surface. Viewers (SDL window, VNC server, screenshot) attach to it. Neither
 * knows the other. A text mode is painted too (font.h), and the card also gives the
 * characters themselves, so that tests and `ring3 screen-text` need no eyes.
 *
 * PULL. Nobody paints because the guest wrote: a viewer that wants a picture calls
 * display_refresh(), which has the card bring the surface up to date and tell what
 * changed with display_dirty(). Without viewers a screen costs nothing.
 *
 * PIXELS are 0x00RRGGBB in host byte order, rows `stride` pixels apart, top row first.
 *
 * THREADS. Everything here happens with the VM lock held. A viewer that draws in a
 * thread of its own copies the rectangles it is told of inside its callbacks. What takes
 * long (writing a file) is done with a copy: display_copy(), then without the lock.
 *
 * Ownership: the display owns the surface; pointers into it are good until the next
 * call that may resize it (display_refresh, display_resize).
 */
#ifndef RING3_DISPLAY_DISPLAY_H
#define RING3_DISPLAY_DISPLAY_H

#include "base/types.h"

struct display;
struct error;
struct strbuf;

enum { DISPLAY_WIDTH_MAX = 4096, DISPLAY_HEIGHT_MAX = 4096 };

struct display_rect { unsigned x, y, width, height; };

struct display_surface {
    uint32_t *pixels;
    unsigned width, height, stride;
};

/* The card's side. */
struct display_card {
    /* Paints what the guest has changed since the last time, calling display_resize
     * and display_dirty as needed. */
    void (*refresh)(void *opaque);
    /* Paint everything next time: a viewer has come. */
    void (*invalidate)(void *opaque);
    /* Appends the characters on the screen, a line per row, trailing blanks cut, as
     * UTF-8. False: this is a graphics mode (nothing appended). */
    bool (*text)(void *opaque, struct strbuf *out);
    void *opaque;
};

/* A viewer's side. Callbacks come from inside display_refresh(), any viewer's. */
struct display_viewer {
    void (*resized)(void *opaque, const struct display_surface *s);
    void (*dirty)(void *opaque, const struct display_surface *s, struct display_rect r);
    void *opaque;
    struct display_viewer *next;
};

/* Starts black, 640x400. Copies *card. NULL: no memory. The card frees it after its
 * viewers are gone. */
struct display *display_new(const struct display_card *card, struct error **err);
void display_free(struct display *d);

/* Card: a new size, black, all of it dirty; the same size changes nothing. Sizes
 * outside 1..MAX are clamped: guests program what they like. */
void display_resize(struct display *d, unsigned width, unsigned height);
void display_dirty(struct display *d, struct display_rect r);   /* clipped */
const struct display_surface *display_surface(const struct display *d);

/* Viewer: its `resized` comes at once. */
void display_attach(struct display *d, struct display_viewer *v);
void display_detach(struct display *d, struct display_viewer *v);
void display_refresh(struct display *d);
bool display_text(struct display *d, struct strbuf *out);

/* The picture as it is now; `pixels` is the caller's (free()), stride = width. */
int display_copy(struct display *d, struct display_surface *out, struct error **err);

#endif
