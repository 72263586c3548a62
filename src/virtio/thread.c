/* SPDX-License-Identifier: GPL-2.0-or-later */
/* thread.c - doorbells in, interrupts out, between vCPUs and an I/O thread. */
#include "virtio/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/loop.h"
#include "bus/bus.h"

/* In the I/O thread, with its lock. */
static void rung(void *opaque, unsigned events)
{
    typeof(&((struct virtio_thread *)0)->queue[0]) q = opaque;
    struct virtio_device *vd = q->thread->vd;
    uint64_t count;

    if (read(q->event, &count, sizeof count) == sizeof count && vd)
        virtio_notify(vd, q->index);
}

/* In the I/O thread, without any lock. */
static void tell(void *opaque)
{
    struct virtio_thread *t = opaque;
    struct virtio_device *vd;

    pthread_mutex_lock(t->vm_lock);
    pthread_mutex_lock(iothread_lock(t->iothread));
    atomic_store(&t->posted, false);
    vd = t->vd;
    uint64_t queues = atomic_exchange(&t->noted, 0);
    bool config = atomic_exchange(&t->noted_config, false);
    for (unsigned i = 0; vd && i < t->queues; i++)
        if (queues >> i & 1)
            vd->transport.interrupt(vd->transport.opaque, VIRTIO_INTERRUPT_QUEUE, i);
    if (vd && config)
        vd->transport.interrupt(vd->transport.opaque, VIRTIO_INTERRUPT_CONFIG, 0);
    pthread_mutex_unlock(iothread_lock(t->iothread));
    pthread_mutex_unlock(t->vm_lock);
}

void virtio_thread_note(struct virtio_thread *t, enum virtio_interrupt what, unsigned queue)
{
    if (what == VIRTIO_INTERRUPT_QUEUE)
        atomic_fetch_or(&t->noted, 1ull << queue);
    else
        atomic_store(&t->noted_config, true);
    if (!atomic_exchange(&t->posted, true))
        loop_post(iothread_loop(t->iothread), tell, t);
}

void virtio_thread_kick(struct virtio_thread *t, unsigned queue)
{
    uint64_t one = 1;

    if (queue < t->queues)
        (void)!write(t->queue[queue].event, &one, sizeof one);
}

void virtio_thread_bell(struct virtio_thread *t, struct bus *bus, unsigned queue, uint64_t addr,
                        bool match)
{
    const struct bus_doorbell bell = {.addr = addr, .value = queue, .match = match,
                                      .size = match ? 4 : 0, .fd = t->queue[queue].event};

    bus_doorbell_add(bus, &bell);
}

void virtio_thread_unbell(struct virtio_thread *t, struct bus *bus)
{
    for (unsigned i = 0; i < t->queues; i++)
        bus_doorbell_remove(bus, t->queue[i].event);
}

void virtio_thread_detach(struct virtio_thread *t)
{
    for (unsigned i = 0; i < t->queues; i++)
        loop_unwatch(t->queue[i].watch);
    t->vd = NULL;
}

void virtio_thread_free(struct virtio_thread *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < t->queues; i++)
        close(t->queue[i].event);
    free(t);
}

struct virtio_thread *virtio_thread_new(struct virtio_device *vd, struct iothread *iothread,
                                        struct error **err)
{
    struct virtio_thread *t = calloc(1, sizeof *t);

    if (!t) {
        error_set(err, ENOMEM, "no memory for the I/O thread of '%s'", vd->name);
        return NULL;
    }
    t->iothread = iothread;
    t->vm_lock = vd->vm_lock;
    t->vd = vd;
    pthread_mutex_lock(iothread_lock(iothread));
    for (unsigned i = 0; i < vd->queues; i++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0) {
            error_set(err, errno, "no doorbell for '%s': %s", vd->name, strerror(errno));
            break;
        }
        t->queues++;
        t->queue[i].thread = t;
        t->queue[i].index = i;
        t->queue[i].event = fd;
        t->queue[i].watch = loop_watch_fd(iothread_loop(iothread), fd, LOOP_READ, rung,
                                          &t->queue[i], err);
        if (!t->queue[i].watch)
            break;
    }
    if (t->queues < vd->queues || !t->queue[t->queues - 1].watch) {
        virtio_thread_detach(t);
        pthread_mutex_unlock(iothread_lock(iothread));
        virtio_thread_free(t);
        return NULL;
    }
    vd->thread = t;
    pthread_mutex_unlock(iothread_lock(iothread));
    return t;
}
