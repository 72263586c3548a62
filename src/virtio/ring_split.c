/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring_split.c - split virtqueues (virtio 1.2, 2.7).
 *
 * Descriptor table, available ring (the driver area) and used ring (the device area).
 * With VIRTIO_F_EVENT_IDX the two-byte words behind the rings say when to notify.
 */
#include "virtio/ring.h"

#include "base/byteorder.h"

enum { RING_HEADER = 4, USED_BYTES = 8 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

static uint64_t descriptor_bytes(unsigned size) { return (uint64_t)size * DESC_BYTES; }
static uint64_t driver_bytes(unsigned size) { return RING_HEADER + 2 * (uint64_t)size + 2; }
static uint64_t device_bytes(unsigned size)
{
    return RING_HEADER + USED_BYTES * (uint64_t)size + 2;
}

static struct ring_descriptor read_descriptor(const uint8_t *p)
{
    uint8_t raw[DESC_BYTES];
    uint16_t flags;

    memcpy(raw, p, sizeof raw);
    flags = get_le16(raw + 12);
    return (struct ring_descriptor){
        .address = get_le64(raw), .length = get_le32(raw + 8), .next = get_le16(raw + 14),
        .writes = flags & DESC_WRITE, .more = flags & DESC_NEXT,
        .indirect = flags & DESC_INDIRECT,
    };
}

/* Follows one table of `size` entries from `at`. A chain of more links than the table
 * has entries is a loop. */
static int follow(struct virtio_queue *q, struct virtio_chain *c, const uint8_t *table,
                  uint32_t size, uint32_t at, bool inner)
{
    for (uint32_t links = 0;; links++) {
        struct ring_descriptor d;

        if (at >= size)
            return ring_broken(q, "a descriptor number is beyond its table");
        if (links == size)
            return ring_broken(q, "the descriptors of a chain go round in a loop");
        d = read_descriptor(table + (uint64_t)at * DESC_BYTES);
        if (d.indirect) {
            if (inner || d.more)
                return ring_broken(q, "an indirect descriptor where none may be");
            const uint8_t *deeper = ring_indirect(q, &d);
            return deeper ? follow(q, c, deeper, d.length / DESC_BYTES, 0, true) : -1;
        }
        if (!ring_add(q, c, &d))
            return -1;
        if (!d.more)
            return 1;
        at = d.next;
    }
}

static uint16_t avail_index(const struct virtio_queue *q)
{
    return ring_load16(q->driver + 2);
}

static bool waiting(struct virtio_queue *q)
{
    return avail_index(q) != q->state->next_avail;
}

static int pop(struct virtio_queue *q, struct virtio_chain *c)
{
    struct virtio_queue_state *s = q->state;
    uint16_t there = (uint16_t)(avail_index(q) - s->next_avail);

    if (!there)
        return 0;
    if (there > s->size)
        return ring_broken(q, "more chains are available than the queue holds");
    c->id = get_le16(q->driver + RING_HEADER + 2 * (s->next_avail & (s->size - 1)));
    c->slots = 1;
    if (follow(q, c, q->descriptors, s->size, c->id, false) < 0)
        return -1;
    s->next_avail++;
    /* The word is where the driver looks whether to notify for what comes next. */
    if (virtio_has(q->vd, VIRTIO_F_EVENT_IDX) && !q->quiet)
        ring_store16(q->device + RING_HEADER + USED_BYTES * s->size, s->next_avail);
    return 1;
}

static void unpop(struct virtio_queue *q, const struct virtio_chain *c)
{
    q->state->next_avail--;
}

static void push(struct virtio_queue *q, const struct virtio_chain *const *c,
                 const uint32_t *written, unsigned n)
{
    struct virtio_queue_state *s = q->state;

    for (unsigned i = 0; i < n; i++) {
        uint8_t *e = q->device + RING_HEADER + USED_BYTES * (s->next_used & (s->size - 1));

        put_le32(e, c[i]->id);
        put_le32(e + 4, written[i]);
        ring_written(q, q->device, s->device, e, USED_BYTES);
        s->next_used++;
    }
    ring_store16(q->device + 2, s->next_used);
    ring_written(q, q->device, s->device, q->device + 2, 2);
}

/* 2.7.7.2 and 2.7.10. */
static bool wants_signal(struct virtio_queue *q)
{
    struct virtio_queue_state *s = q->state;
    uint16_t old = s->signalled, new = s->next_used, event;

    ring_barrier();
    if (!virtio_has(q->vd, VIRTIO_F_EVENT_IDX))
        return !(ring_load16(q->driver) & AVAIL_NO_INTERRUPT);
    event = ring_load16(q->driver + RING_HEADER + 2 * s->size);
    s->signalled = new;
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static void kicks(struct virtio_queue *q, bool on)
{
    struct virtio_queue_state *s = q->state;
    uint8_t *event = q->device + RING_HEADER + USED_BYTES * s->size;

    if (virtio_has(q->vd, VIRTIO_F_EVENT_IDX)) {
        /* Off: the word stays behind, and the driver has passed it. */
        if (on)
            ring_store16(event, s->next_avail);
        ring_written(q, q->device, s->device, event, 2);
        return;
    }
    ring_store16(q->device, on ? 0 : USED_NO_NOTIFY);
    ring_written(q, q->device, s->device, q->device, 2);
}

const struct ring_ops ring_split = {
    .pop = pop, .waiting = waiting, .unpop = unpop, .push = push, .wants_signal = wants_signal,
    .kicks = kicks, .descriptor_bytes = descriptor_bytes, .driver_bytes = driver_bytes,
    .device_bytes = device_bytes, .descriptor_align = 16, .driver_align = 2, .device_align = 4,
};
