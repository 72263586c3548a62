/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input.h - keys and pointers on their way to the guest.
 *
 * A machine owns one `struct input`. Keyboards and pointers that the guest sees (i8042,
 * the simple machine's keyboard) are sinks; viewers, the control socket and tests are
 * sources. Nobody sees a scan code here but the sink that makes it.
 *
 * KEYS are the codes of <linux/input-event-codes.h> (KEY_A = 30, ...): positions on a US
 * keyboard, not characters. Repeats are the guest's business: a key goes down once and up
 * once; a second "down" without "up" is passed on as typematic repeat.
 *
 * FLOW. A sink takes an event or refuses it (its queue is full: false). Keys refused
 * are kept, in order, up to INPUT_KEYS_MAX, and offered again when the sink calls
 * input_ready(); beyond that they are dropped and counted, except that a key that the
 * sink saw go down will be seen to go up. Pointer movements that are refused add up.
 *
 * Threads: VM lock held in all of these.
 */
#ifndef RING3_DISPLAY_INPUT_H
#define RING3_DISPLAY_INPUT_H

#include "base/types.h"

struct error;
struct input;

enum { INPUT_KEYS_MAX = 4096 };
enum input_buttons { INPUT_LEFT = 1, INPUT_RIGHT = 2, INPUT_MIDDLE = 4 };
enum { INPUT_ABSOLUTE_MAX = 0x7fff };

struct input_pointer {
    int dx, dy;                /* right and down are positive */
    int wheel;                 /* towards the user is positive */
    unsigned buttons;          /* held now */
    bool absolute;             /* x, y are valid, 0..INPUT_ABSOLUTE_MAX of the screen */
    unsigned x, y;
};

struct input_sink {
    bool (*key)(void *opaque, unsigned code, bool down);               /* or NULL */
    bool (*pointer)(void *opaque, const struct input_pointer *p);      /* or NULL */
    void *opaque;
    struct input_sink *next;
};

struct input *input_new(struct error **err);
void input_free(struct input *in);
/* Keys go to the sink added last that has `key`; pointers likewise. */
void input_add(struct input *in, struct input_sink *s);
void input_remove(struct input *in, struct input_sink *s);
void input_ready(struct input *in, struct input_sink *s);

void input_key(struct input *in, unsigned code, bool down);
void input_pointer(struct input *in, const struct input_pointer *p);
/* Releases whatever is held: a viewer lost the focus. */
void input_release_all(struct input *in);
uint64_t input_dropped(const struct input *in);

/* "root<ret>": characters of a US keyboard, names in angle brackets (<ret> <esc> <tab>
 * <f1>.. <up> <ctrl-alt-del> <lt> for '<'), modifiers joined with '-'. Types it. -EINVAL
 * names what is unknown; then nothing was typed. */
int input_type(struct input *in, const char *keys, struct error **err);

#endif
