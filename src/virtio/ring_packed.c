/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring_packed.c - packed virtqueues (virtio 1.2, 2.8).
 *
 * One ring of descriptors that both sides write. Whose a descriptor is follows from two
 * flags and the wrap counter of who looks. Driver and device area are event suppression
 * structures of four bytes: offset and wrap bit, flags.
 */
#include "virtio/ring.h"

#include "base/byteorder.h"

enum { EVENT_BYTES = 4, EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, EVENT_WRAP = 0x8000 };

static uint64_t descriptor_bytes(unsigned size) { return (uint64_t)size * DESC_BYTES; }
static uint64_t event_bytes(unsigned size) { return EVENT_BYTES; }

static uint8_t *slot(const struct virtio_queue *q, unsigned i)
{
    return q->descriptors + (uint64_t)i * DESC_BYTES;
}

static bool available(uint16_t flags, bool wrap)
{
    return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap;
}

static bool waiting(struct virtio_queue *q)
{
    return available(ring_load16(slot(q, q->state->next_avail) + 14), q->state->avail_wrap);
}

static struct ring_descriptor read_descriptor(const uint8_t *p)
{
    uint8_t raw[DESC_BYTES];
    uint16_t flags;

    memcpy(raw, p, sizeof raw);
    flags = get_le16(raw + 14);
    return (struct ring_descriptor){
        .address = get_le64(raw), .length = get_le32(raw + 8), .id = get_le16(raw + 12),
        .writes = flags & DESC_WRITE, .more = flags & DESC_NEXT,
        .indirect = flags & DESC_INDIRECT,
    };
}

/* 2.8.7: the whole table is the chain, NEXT means nothing in it. */
static int follow_indirect(struct virtio_queue *q, struct virtio_chain *c,
                           const struct ring_descriptor *outer)
{
    const uint8_t *table = ring_indirect(q, outer);

    for (uint32_t i = 0; table && i < outer->length / DESC_BYTES; i++) {
        struct ring_descriptor d = read_descriptor(table + (uint64_t)i * DESC_BYTES);

        if (d.indirect)
            return ring_broken(q, "an indirect descriptor where none may be");
        if (!ring_add(q, c, &d))
            return -1;
    }
    return table ? 1 : -1;
}

static void advance(uint16_t *at, bool *wrap, uint16_t by, uint16_t size)
{
    unsigned next = *at + (unsigned)by;

    if (next >= size) {
        next -= size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)next;
}

static int pop(struct virtio_queue *q, struct virtio_chain *c)
{
    struct virtio_queue_state *s = q->state;
    uint16_t at = s->next_avail;
    bool wrap = s->avail_wrap;

    if (!waiting(q))
        return 0;
    c->slots = 0;
    for (;;) {
        struct ring_descriptor d = read_descriptor(slot(q, at));

        if (c->slots == s->size)
            return ring_broken(q, "the descriptors of a chain go round in a loop");
        c->slots++;
        c->id = d.id;                    /* the last one's counts (2.8.6) */
        advance(&at, &wrap, 1, s->size);
        if (d.indirect) {
            if (d.more || c->slots > 1)
                return ring_broken(q, "an indirect descriptor where none may be");
            if (follow_indirect(q, c, &d) < 0)
                return -1;
            break;
        }
        if (!ring_add(q, c, &d))
            return -1;
        if (!d.more)
            break;
    }
    s->next_avail = at;
    s->avail_wrap = wrap;
    return 1;
}

static void unpop(struct virtio_queue *q, const struct virtio_chain *c)
{
    struct virtio_queue_state *s = q->state;

    if (s->next_avail < c->slots) {
        s->next_avail = (uint16_t)(s->next_avail + s->size);
        s->avail_wrap = !s->avail_wrap;
    }
    s->next_avail = (uint16_t)(s->next_avail - c->slots);
}

/* The flags of the first are what the driver looks at, so they come last. */
static void push(struct virtio_queue *q, const struct virtio_chain *const *c,
                 const uint32_t *written, unsigned n)
{
    struct virtio_queue_state *s = q->state;
    uint8_t *first = slot(q, s->next_used);
    uint16_t first_flags = 0;

    for (unsigned i = 0; i < n; i++) {
        uint8_t *e = slot(q, s->next_used);
        uint16_t flags = (uint16_t)((s->used_wrap ? DESC_AVAIL | DESC_USED : 0) |
                                    (c[i]->ins ? DESC_WRITE : 0));

        put_le32(e + 8, written[i]);
        put_le16(e + 12, c[i]->id);
        if (i)
            ring_store16(e + 14, flags);
        else
            first_flags = flags;
        ring_written(q, q->descriptors, s->descriptors, e, DESC_BYTES);
        advance(&s->next_used, &s->used_wrap, c[i]->slots, s->size);
    }
    ring_store16(first + 14, first_flags);
    ring_written(q, q->descriptors, s->descriptors, first, DESC_BYTES);
}

/* How far it is from one position of the ring to another, in descriptors. */
static uint16_t steps(const struct virtio_queue_state *s, uint16_t from, bool from_wrap)
{
    int n = s->next_used - from;

    if (s->used_wrap != from_wrap)
        n += s->size;
    return (uint16_t)n;
}

/* 2.8.10. The event is at a descriptor that was used since the last decision. */
static bool wants_signal(struct virtio_queue *q)
{
    struct virtio_queue_state *s = q->state;
    uint16_t flags, event, pushed = steps(s, s->signalled, s->signalled_wrap);

    ring_barrier();
    flags = ring_load16(q->driver + 2) & 3;
    event = ring_load16(q->driver);
    s->signalled = s->next_used;
    s->signalled_wrap = s->used_wrap;
    if (flags != EVENT_DESC || !virtio_has(q->vd, VIRTIO_F_EVENT_IDX))
        return flags != EVENT_DISABLE;
    uint16_t back = steps(s, event & ~EVENT_WRAP, event & EVENT_WRAP);
    return back >= 1 && back <= pushed;
}

static void kicks(struct virtio_queue *q, bool on)
{
    struct virtio_queue_state *s = q->state;
    uint16_t flags = EVENT_DISABLE;

    if (on && virtio_has(q->vd, VIRTIO_F_EVENT_IDX)) {
        ring_store16(q->device, (uint16_t)(s->next_avail | (s->avail_wrap ? EVENT_WRAP : 0)));
        flags = EVENT_DESC;
    } else if (on) {
        flags = EVENT_ENABLE;
    }
    ring_store16(q->device + 2, flags);
    ring_written(q, q->device, s->device, q->device, EVENT_BYTES);
}

const struct ring_ops ring_packed = {
    .pop = pop, .waiting = waiting, .unpop = unpop, .push = push, .wants_signal = wants_signal,
    .kicks = kicks, .descriptor_bytes = descriptor_bytes, .driver_bytes = event_bytes,
    .device_bytes = event_bytes, .descriptor_align = 16, .driver_align = 4, .device_align = 4,
};
