/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * queue.c - what both forms of rings have in common (virtio 1.2, 2.6).
 *
 * Ring areas are looked up in host memory once, when the queue is enabled: RAM does
 * not move while a VM runs. Buffers are looked up each time, and one that lies across
 * two memory regions becomes two iovecs.
 */
#include "virtio/ring.h"

#include <stdlib.h>

#include "base/bug.h"
#include "memory/memory.h"

static const struct ring_ops *ops_of(const struct virtio_queue *q)
{
    return virtio_has(q->vd, VIRTIO_F_PACKED) ? &ring_packed : &ring_split;
}

/* ---- chains -------------------------------------------------------------- */

struct virtio_chain *virtio_chain_new(unsigned room)
{
    size_t bytes = sizeof(struct virtio_chain) + room * (sizeof(struct iovec) + sizeof(uint64_t));
    struct virtio_chain *c = calloc(1, bytes);

    BUG_ON(!c);
    c->room = room;
    c->iov = (struct iovec *)(c + 1);
    c->at = (uint64_t *)(c->iov + room);
    return c;
}

static size_t iov_copy(const struct iovec *iov, unsigned n, size_t offset, uint8_t *buf,
                       size_t len, bool to_iov)
{
    size_t done = 0;

    for (unsigned i = 0; i < n && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t part = min_u64(len - done, iov[i].iov_len - offset);
        uint8_t *there = (uint8_t *)iov[i].iov_base + offset;
        if (to_iov)
            memcpy(there, buf + done, part);
        else
            memcpy(buf + done, there, part);
        done += part;
        offset = 0;
    }
    return done;
}

size_t virtio_chain_read(const struct virtio_chain *c, size_t offset, void *buf, size_t len)
{
    return iov_copy(c->iov, c->outs, offset, buf, len, false);
}

size_t virtio_chain_write(const struct virtio_chain *c, size_t offset, const void *buf, size_t len)
{
    return iov_copy(c->iov + c->outs, c->ins, offset, (uint8_t *)buf, len, true);
}

/* ---- for the rings ------------------------------------------------------- */

int ring_broken(struct virtio_queue *q, const char *why)
{
    virtio_break(q->vd, "queue %u: %s", q->index, why);
    return -1;
}

/* 2.7.4.2: all that the device reads comes before all that it writes. */
bool ring_add(struct virtio_queue *q, struct virtio_chain *c, const struct ring_descriptor *d)
{
    uint64_t at = d->address, left = d->length;

    if (!d->writes && c->ins)
        return ring_broken(q, "a buffer to be read follows one to be written"), false;
    if (!left)
        return ring_broken(q, "an empty descriptor"), false;
    while (left) {
        const struct memory_region *r = memory_find(q->vd->memory, gpa(at));

        if (!r || (d->writes && r->flags & MEMORY_READONLY))
            return ring_broken(q, "a buffer is not in memory"), false;
        if (c->outs + c->ins == c->room)
            return ring_broken(q, "a chain is longer than the device allows"), false;
        uint64_t offset = at - r->base.v, part = min_u64(left, r->size_bytes - offset);
        unsigned n = c->outs + c->ins;
        c->iov[n] = (struct iovec){r->host.p + offset, part};
        c->at[n] = at;
        *(d->writes ? &c->ins : &c->outs) += 1;
        *(d->writes ? &c->in_bytes : &c->out_bytes) += part;
        at += part;
        left -= part;
    }
    if (c->in_bytes > UINT32_MAX || c->out_bytes > UINT32_MAX)
        return ring_broken(q, "a chain of more than 4 GiB"), false;
    return true;
}

uint8_t *ring_indirect(struct virtio_queue *q, const struct ring_descriptor *d)
{
    if (!virtio_has(q->vd, VIRTIO_F_INDIRECT))
        return ring_broken(q, "an indirect descriptor, but that was not agreed"), NULL;
    if (!d->length || d->length % DESC_BYTES)
        return ring_broken(q, "an indirect table of a wrong size"), NULL;
    uint8_t *table = memory_host(q->vd->memory, gpa(d->address), d->length, false).p;
    if (!table)
        ring_broken(q, "an indirect table is not in memory");
    return table;
}

void ring_written(struct virtio_queue *q, const uint8_t *area, uint64_t area_gpa, const void *p,
                  uint64_t bytes)
{
    memory_written(q->vd->memory, gpa(area_gpa + (uint64_t)((const uint8_t *)p - area)), bytes);
}

/* ---- areas --------------------------------------------------------------- */

static uint8_t *area(struct virtio_queue *q, uint64_t at, uint64_t bytes, unsigned align,
                     bool for_write)
{
    return at % align ? NULL : memory_host(q->vd->memory, gpa(at), bytes, for_write).p;
}

bool virtio_queue_map(struct virtio_queue *q)
{
    const struct ring_ops *ops = ops_of(q);
    const struct virtio_queue_state *s = q->state;
    bool packed = ops == &ring_packed;

    q->descriptors = area(q, s->descriptors, ops->descriptor_bytes(s->size),
                          ops->descriptor_align, packed);
    q->driver = area(q, s->driver, ops->driver_bytes(s->size), ops->driver_align, false);
    q->device = area(q, s->device, ops->device_bytes(s->size), ops->device_align, true);
    q->live = q->descriptors && q->driver && q->device;
    return q->live;
}

/* ---- operations ---------------------------------------------------------- */

static bool usable(const struct virtio_queue *q)
{
    return q->live && virtio_live(q->vd);
}

bool virtio_queue_waiting(struct virtio_queue *q)
{
    return usable(q) && ops_of(q)->waiting(q);
}

bool virtio_queue_pop(struct virtio_queue *q, struct virtio_chain *c)
{
    if (!usable(q))
        return false;
    c->outs = c->ins = 0;
    c->out_bytes = c->in_bytes = 0;
    if (ops_of(q)->pop(q, c) <= 0)
        return false;
    q->chains++;
    return true;
}

void virtio_queue_unpop(struct virtio_queue *q, const struct virtio_chain *c)
{
    if (q->live)
        ops_of(q)->unpop(q, c);
}

static void buffers_written(struct virtio_queue *q, const struct virtio_chain *c, uint64_t left)
{
    for (unsigned i = c->outs; i < c->outs + c->ins && left; i++) {
        uint64_t part = min_u64(left, c->iov[i].iov_len);

        memory_written(q->vd->memory, gpa(c->at[i]), part);
        left -= part;
    }
}

/* A queue that was reset or broken meanwhile takes nothing back. */
void virtio_queue_push_many(struct virtio_queue *q, const struct virtio_chain *const *c,
                            const uint32_t *written, unsigned n)
{
    if (!q->live)
        return;
    for (unsigned i = 0; i < n; i++)
        buffers_written(q, c[i], written[i]);
    if (!usable(q))
        return;
    ops_of(q)->push(q, c, written, n);
    q->unsignalled = (uint16_t)(q->unsignalled + n);
}

void virtio_queue_push(struct virtio_queue *q, const struct virtio_chain *c, uint32_t written)
{
    virtio_queue_push_many(q, &c, &written, 1);
}

bool virtio_queue_kicks(struct virtio_queue *q, bool on)
{
    if (!usable(q))
        return false;
    q->quiet = !on;
    ops_of(q)->kicks(q, on);
    if (!on)
        return false;
    ring_barrier();
    return ops_of(q)->waiting(q);
}
