/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input.h - keys and pointers on their way to the guest.
 *
 * A machine owns one `struct input`. Keyboards and pointers that the guest sees (PS/2,
 * the simple machine's keyboard) are sinks; viewers, the control socket and tests are
 * sources. Nobody sees a scan code here but the sink that makes it.
 *
 * KEYS are the codes of <linux/input-event-codes.h> (KEY_A = 30, ...), below INPUT_CODES:
 * positions on a US keyboard, not characters. A key goes down once and up once. Repeats
 * are the keyboard's business, as on a PC: a second "down" without an "up" and an "up"
 * without a "down", which viewers send, go nowhere.
 *
 * FLOW. A sink takes an event or refuses it (its queue is full: false). Keys refused
 * are kept, in order, up to INPUT_KEYS_MAX, and offered again when the sink calls
 * input_ready(); beyond that they are dropped and counted, except that a key that the
 * sink saw go down will be seen to go up. Pointer movements that are refused add up;
 * clicks among them keep their places as long as there are few of them.
 *
 * TEXT (input_type) is typed as a person does, an event each INPUT_TYPE_NS of guest time:
 * keyboards of firmware and boot loaders hold fifteen keys and lose the others.
 *
 * Threads: VM lock held in all of these.
 */
#ifndef RING3_DISPLAY_INPUT_H
#define RING3_DISPLAY_INPUT_H

#include "base/types.h"

struct clock;
struct error;
struct input;
struct strbuf;

enum { INPUT_KEYS_MAX = 4096, INPUT_CODES = 256, INPUT_TYPE_NS = 10000000 };
enum input_buttons { INPUT_LEFT = 1, INPUT_RIGHT = 2, INPUT_MIDDLE = 4, INPUT_SIDE = 8,
                     INPUT_EXTRA = 16 };
enum { INPUT_ABSOLUTE_MAX = 0x7fff };

struct input_pointer {
    int dx, dy;                /* pixels; right and down are positive. Also when absolute:
                                  a mouse that can only tell movements takes these */
    int wheel;                 /* notches; towards the user is positive */
    unsigned buttons;          /* held now */
    bool absolute;             /* x, y are valid, 0..INPUT_ABSOLUTE_MAX of the screen */
    unsigned x, y;
};

/* Callbacks may come from inside input_ready(). */
struct input_sink {
    bool (*key)(void *opaque, unsigned code, bool down);               /* or NULL */
    bool (*pointer)(void *opaque, const struct input_pointer *p);      /* or NULL */
    void *opaque;
    struct input_sink *next;
};

/* The clock is for typing; it outlives this. */
struct input *input_new(struct clock *clock, struct error **err);
void input_free(struct input *in);
/* Keys go to the sink added last that has `key`; pointers likewise. */
void input_add(struct input *in, struct input_sink *s);
void input_remove(struct input *in, struct input_sink *s);
void input_ready(struct input *in, struct input_sink *s);
/* The machine was reset: what waits and what is held is forgotten. */
void input_reset(struct input *in);

void input_key(struct input *in, unsigned code, bool down);
void input_pointer(struct input *in, const struct input_pointer *p);
/* Releases whatever is held: a viewer lost the focus. */
void input_release_all(struct input *in);
uint64_t input_dropped(const struct input *in);
/* Keys that the guest has not taken yet, typed text included. */
unsigned input_waiting(const struct input *in);
void input_describe(const struct input *in, struct strbuf *out);       /* `info input` */

/* "root<ret>": characters of a US keyboard, names in angle brackets (<ret> <esc> <tab>
 * <f1>.. <up> <ctrl-alt-del> <lt> for '<'), modifiers joined with '-'. Types it, after
 * what is being typed already. -EINVAL names what is unknown, -ENOSPC says that more
 * than INPUT_KEYS_MAX events would wait; then nothing was typed. */
int input_type(struct input *in, const char *keys, struct error **err);

/* Room-internal, input_text.c: `emit` for each event of a text, up to the first error. */
int input_parse(const char *keys, void (*emit)(void *opaque, unsigned code, bool down),
                void *opaque, struct error **err);

#endif
