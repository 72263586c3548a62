/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.h - between queue.c and the two forms of rings. Not for others.
 *
 * A `struct ring_ops` is one form. `pop` says 1 (a chain), 0 (nothing) or negative
 * (the ring is broken, and said so). The queue is live in all of them.
 */
#ifndef RING3_VIRTIO_RING_H
#define RING3_VIRTIO_RING_H

#include "base/barrier.h"
#include "virtio/virtio.h"

/* One descriptor, of either form, read once: the guest may change it meanwhile. */
struct ring_descriptor {
    uint64_t address;
    uint32_t length;
    bool writes, more, indirect;
    uint16_t next, id;
};

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_AVAIL = 1 << 7,
       DESC_USED = 1 << 15, DESC_BYTES = 16 };

struct ring_ops {
    int (*pop)(struct virtio_queue *q, struct virtio_chain *c);
    bool (*waiting)(struct virtio_queue *q);
    void (*unpop)(struct virtio_queue *q, const struct virtio_chain *c);
    /* `n` of them, and the driver sees all or none. */
    void (*push)(struct virtio_queue *q, const struct virtio_chain *const *c,
                 const uint32_t *written, unsigned n);
    bool (*wants_signal)(struct virtio_queue *q);
    void (*kicks)(struct virtio_queue *q, bool on);
    uint64_t (*descriptor_bytes)(unsigned size);
    uint64_t (*driver_bytes)(unsigned size);
    uint64_t (*device_bytes)(unsigned size);
    unsigned descriptor_align, driver_align, device_align;
};
extern const struct ring_ops ring_split, ring_packed;

/* Appends a buffer to the chain, after checking it. False: broken. */
bool ring_add(struct virtio_queue *q, struct virtio_chain *c, const struct ring_descriptor *d);
/* Says what is wrong and breaks the device; returns -1. */
int ring_broken(struct virtio_queue *q, const char *why);
/* Host address of an indirect table of d->length bytes, or NULL: broken. */
uint8_t *ring_indirect(struct virtio_queue *q, const struct ring_descriptor *d);
/* Tells the dirty log and the code caches. */
void ring_written(struct virtio_queue *q, const uint8_t *area, uint64_t area_gpa, const void *p,
                  uint64_t bytes);

static inline uint16_t ring_load16(const void *p)
{
    return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}
static inline void ring_store16(void *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE);
}
/* Between writing one index and reading the other side's. */
static inline void ring_barrier(void)
{
    barrier_full();
}

#endif
