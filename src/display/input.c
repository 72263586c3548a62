/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input.c - queues between those who press keys and the keyboards that guests see.
 *
 * Everything is bounded, since a source may press keys for ever and a guest may never
 * look: `queue` holds what the sink refused, `typed` what is still to be typed. When the
 * queue is full, releases of keys whose pressing the sink saw, or will see, become a bit
 * in `owed`; until those are delivered nothing else gets into the queue, so that order
 * holds.
 */
#include "display/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strbuf.h"

enum { POINTERS_MAX = 64, MOVE_MAX = 1 << 20 };

struct key_event { uint16_t code; bool down; };

struct key_ring {
    struct key_event event[INPUT_KEYS_MAX];
    unsigned first, count;
};

struct input {
    struct input_sink *sinks;
    struct key_ring queue;               /* refused by the sink */
    struct key_ring typed;               /* text on its way to input_key() */
    struct timer typing;
    bool held[INPUT_CODES];              /* as whoever is at the queue's far end sees it */
    bool owed[INPUT_CODES];              /* releases that found the queue full */
    unsigned owing;
    struct input_pointer pointer[POINTERS_MAX];
    unsigned pointer_first, pointers;
    bool draining;
    uint64_t dropped;
};

/* ---- rings ------------------------------------------------------------- */

static bool ring_put(struct key_ring *r, unsigned code, bool down)
{
    if (r->count == INPUT_KEYS_MAX)
        return false;
    r->event[(r->first + r->count++) % INPUT_KEYS_MAX] =
        (struct key_event){(uint16_t)code, down};
    return true;
}

static struct key_event *ring_first(struct key_ring *r)
{
    return &r->event[r->first];
}

static void ring_drop_first(struct key_ring *r)
{
    r->first = (r->first + 1) % INPUT_KEYS_MAX;
    r->count--;
}

/* ---- sinks ------------------------------------------------------------- */

static struct input_sink *key_sink(const struct input *in)
{
    struct input_sink *s = in->sinks;

    while (s && !s->key)
        s = s->next;
    return s;
}

static struct input_sink *pointer_sink(const struct input *in)
{
    struct input_sink *s = in->sinks;

    while (s && !s->pointer)
        s = s->next;
    return s;
}

/* A machine without a keyboard takes everything. */
static bool offer_key(struct input *in, unsigned code, bool down)
{
    struct input_sink *s = key_sink(in);

    return !s || s->key(s->opaque, code, down);
}

static bool offer_pointer(struct input *in, const struct input_pointer *p)
{
    struct input_sink *s = pointer_sink(in);

    return !s || s->pointer(s->opaque, p);
}

void input_add(struct input *in, struct input_sink *s)
{
    s->next = in->sinks;
    in->sinks = s;
}

void input_remove(struct input *in, struct input_sink *s)
{
    for (struct input_sink **at = &in->sinks; *at; at = &(*at)->next) {
        if (*at != s)
            continue;
        *at = s->next;
        s->next = NULL;
        return;
    }
}

/* ---- keys -------------------------------------------------------------- */

static void drain_owed(struct input *in)
{
    for (unsigned code = 0; code < INPUT_CODES && in->owing; code++) {
        if (!in->owed[code])
            continue;
        if (!offer_key(in, code, false))
            return;
        in->owed[code] = false;
        in->owing--;
    }
}

static void drain_keys(struct input *in)
{
    while (in->queue.count) {
        struct key_event e = *ring_first(&in->queue);

        if (!offer_key(in, e.code, e.down))
            return;
        ring_drop_first(&in->queue);
    }
    drain_owed(in);
}

static void drain_pointer(struct input *in)
{
    while (in->pointers && offer_pointer(in, &in->pointer[in->pointer_first])) {
        in->pointer_first = (in->pointer_first + 1) % POINTERS_MAX;
        in->pointers--;
    }
}

/* A sink that has room again for one event may say so from inside of taking it. */
void input_ready(struct input *in, struct input_sink *s)
{
    if (in->draining)
        return;
    in->draining = true;
    if (s == key_sink(in))
        drain_keys(in);
    if (s == pointer_sink(in))
        drain_pointer(in);
    in->draining = false;
}

static bool deliver_key(struct input *in, unsigned code, bool down)
{
    if (in->owing)
        return false;
    if (!in->queue.count && !in->draining && offer_key(in, code, down))
        return true;
    return ring_put(&in->queue, code, down);
}

void input_key(struct input *in, unsigned code, bool down)
{
    if (code >= INPUT_CODES || in->held[code] == down)
        return;
    if (deliver_key(in, code, down)) {
        in->held[code] = down;
        return;
    }
    in->dropped++;
    if (!down) {
        in->held[code] = false;
        in->owed[code] = true;
        in->owing++;
        in->dropped--;
    }
}

void input_release_all(struct input *in)
{
    for (unsigned code = 0; code < INPUT_CODES; code++)
        input_key(in, code, false);
}

uint64_t input_dropped(const struct input *in)
{
    return in->dropped;
}

unsigned input_waiting(const struct input *in)
{
    return in->queue.count + in->typed.count + in->owing;
}

/* ---- pointer ----------------------------------------------------------- */

static int add_bounded(int a, int b)
{
    int sum = (a > MOVE_MAX ? MOVE_MAX : a < -MOVE_MAX ? -MOVE_MAX : a) +
              (b > MOVE_MAX ? MOVE_MAX : b < -MOVE_MAX ? -MOVE_MAX : b);

    return sum > MOVE_MAX ? MOVE_MAX : sum < -MOVE_MAX ? -MOVE_MAX : sum;
}

/* Into the last one that waits, unless a button changed and there is room. */
static void keep_pointer(struct input *in, const struct input_pointer *p)
{
    struct input_pointer *last = NULL;

    if (in->pointers)
        last = &in->pointer[(in->pointer_first + in->pointers - 1) % POINTERS_MAX];
    if (!last || (last->buttons != p->buttons && in->pointers < POINTERS_MAX)) {
        in->pointer[(in->pointer_first + in->pointers++) % POINTERS_MAX] = *p;
        return;
    }
    last->dx = add_bounded(last->dx, p->dx);
    last->dy = add_bounded(last->dy, p->dy);
    last->wheel = add_bounded(last->wheel, p->wheel);
    last->buttons = p->buttons;
    if (p->absolute) {
        last->absolute = true;
        last->x = p->x;
        last->y = p->y;
    }
}

void input_pointer(struct input *in, const struct input_pointer *p)
{
    struct input_pointer bounded = *p;

    bounded.dx = add_bounded(p->dx, 0);
    bounded.dy = add_bounded(p->dy, 0);
    bounded.wheel = add_bounded(p->wheel, 0);
    bounded.x = (unsigned)min_u64(p->x, INPUT_ABSOLUTE_MAX);
    bounded.y = (unsigned)min_u64(p->y, INPUT_ABSOLUTE_MAX);
    if (in->pointers || in->draining || !offer_pointer(in, &bounded))
        keep_pointer(in, &bounded);
}

/* ---- typing ------------------------------------------------------------ */

static void type_next(void *opaque)
{
    struct input *in = opaque;
    struct key_event e;

    if (!in->typed.count)
        return;
    /* Not while the guest is behind: text must not overflow the queue. */
    if (!in->queue.count && !in->owing) {
        e = *ring_first(&in->typed);
        ring_drop_first(&in->typed);
        input_key(in, e.code, e.down);
    }
    if (in->typed.count)
        timer_arm(&in->typing, clock_now_ns(in->typing.clock) + INPUT_TYPE_NS);
}

static void count_event(void *opaque, unsigned code, bool down)
{
    ++*(unsigned *)opaque;
}

static void type_event(void *opaque, unsigned code, bool down)
{
    struct input *in = opaque;

    ring_put(&in->typed, code, down);
}

int input_type(struct input *in, const char *keys, struct error **err)
{
    unsigned events = 0;
    int rc = input_parse(keys, count_event, &events, err);

    if (rc < 0)
        return rc;
    if (events > INPUT_KEYS_MAX - in->typed.count) {
        error_set(err, ENOSPC, "%u key presses and releases are too many (%u of %d wait to be "
                  "typed already)", events, in->typed.count, INPUT_KEYS_MAX);
        error_hint(err, "send them in pieces");
        return -ENOSPC;
    }
    input_parse(keys, type_event, in, NULL);
    if (in->typed.count && !in->typing.armed)
        type_next(in);
    return 0;
}

/* ---- life -------------------------------------------------------------- */

void input_reset(struct input *in)
{
    timer_disarm(&in->typing);
    in->queue.count = in->typed.count = in->pointers = 0;
    memset(in->owed, 0, sizeof in->owed);
    memset(in->held, 0, sizeof in->held);
    in->owing = 0;
}

void input_describe(const struct input *in, struct strbuf *out)
{
    strbuf_addf(out, "keyboard: %s, %u keys wait, %u to be typed, %llu dropped\n",
                key_sink(in) ? "yes" : "none", in->queue.count + in->owing, in->typed.count,
                (unsigned long long)in->dropped);
    strbuf_addf(out, "pointer: %s, %u events wait\n", pointer_sink(in) ? "yes" : "none",
                in->pointers);
}

struct input *input_new(struct clock *clock, struct error **err)
{
    struct input *in = calloc(1, sizeof *in);

    if (!in) {
        error_set(err, ENOMEM, "no memory for keyboard and pointer");
        return NULL;
    }
    timer_init(&in->typing, clock, type_next, in);
    return in;
}

void input_free(struct input *in)
{
    if (!in)
        return;
    timer_disarm(&in->typing);
    free(in);
}
