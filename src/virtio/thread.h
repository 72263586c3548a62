/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * thread.h - a virtio device in an I/O thread (iothread=on).
 *
 * Everything of the device is then under the thread's lock: the transport holds it, too,
 * inside of the VM lock, while it serves a register (virtio_enter). A doorbell is an
 * eventfd per queue that the thread watches; where it can, the transport has the bus
 * ring it without the VM lock (bus/bus.h, doorbells). An interrupt is noted, and posted
 * work in the thread, which holds no lock then, takes the VM lock and raises what was
 * noted.
 *
 * The virtio_thread outlives its device, because work may still be posted: it is freed
 * after the I/O thread has ended.
 */
#ifndef RING3_VIRTIO_THREAD_H
#define RING3_VIRTIO_THREAD_H

#include <stdatomic.h>
#include "base/iothread.h"
#include "virtio/virtio.h"

struct loop_watch;

struct virtio_thread {
    struct iothread *iothread;
    pthread_mutex_t *vm_lock;
    struct virtio_device *vd;        /* both locks; NULL: destroyed */
    struct {
        struct virtio_thread *thread;
        unsigned index;
        int event;
        struct loop_watch *watch;
    } queue[VIRTIO_QUEUES_MAX];
    unsigned queues;
    _Atomic uint64_t noted;          /* queues with something to tell */
    _Atomic bool noted_config, posted;
};

/* Before the device gets its transport. NULL with a message. VM lock held. */
struct virtio_thread *virtio_thread_new(struct virtio_device *vd, struct iothread *iothread,
                                        struct error **err);
/* The I/O thread has ended. NULL ok. */
void virtio_thread_free(struct virtio_thread *t);

/* For device.c. */
void virtio_thread_note(struct virtio_thread *t, enum virtio_interrupt what, unsigned queue);
void virtio_thread_kick(struct virtio_thread *t, unsigned queue);
/* Where the queue's doorbell is in memory now; `match`: writes of its number. VM lock. */
void virtio_thread_bell(struct virtio_thread *t, struct bus *bus, unsigned queue, uint64_t addr,
                        bool match);
void virtio_thread_unbell(struct virtio_thread *t, struct bus *bus);
/* The device is about to go; thread's lock held. */
void virtio_thread_detach(struct virtio_thread *t);

#endif
