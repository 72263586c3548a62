/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.c - what all virtio devices share: features, status, queues, reset.
 *
 * Follows virtio 1.2, chapter 2 and 3.1. A transport turns register accesses into the
 * calls below; each may come at any time, in any order, with any value.
 */
#include "virtio/virtio.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "virtio/ring.h"
#include "virtio/thread.h"

#define ROOM_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX)

/* ---- making -------------------------------------------------------------- */

static void queue_power_on(struct virtio_queue *q)
{
    *q->state = (struct virtio_queue_state){
        .size = q->size_max, .vector = VIRTIO_NO_VECTOR, .avail_wrap = true, .used_wrap = true,
        .signalled_wrap = true,
    };
    q->live = q->quiet = false;
    q->unsignalled = 0;
}

static void power_on(struct virtio_device *vd)
{
    struct virtio_state *s = &vd->state;

    s->driver_features = 0;
    s->device_features_select = s->driver_features_select = 0;
    s->queue_select = 0;
    s->config_vector = VIRTIO_NO_VECTOR;
    s->status = s->isr = s->config_generation = 0;
    for (unsigned i = 0; i < vd->queues; i++)
        queue_power_on(&vd->queue[i]);
}

void virtio_device_init(struct virtio_device *vd, const struct virtio_ops *ops,
                        const struct device_env *env, const char *name, uint64_t features,
                        unsigned config_bytes, unsigned queues, uint16_t queue_size)
{
    BUG_ON(!queues || queues > VIRTIO_QUEUES_MAX || queue_size & (queue_size - 1) ||
           queue_size > VIRTIO_QUEUE_SIZE_MAX);
    vd->ops = ops;
    snprintf(vd->name, sizeof vd->name, "%s", name);
    vd->features = features | ROOM_FEATURES;
    vd->config_bytes = config_bytes;
    vd->queues = queues;
    vd->memory = env->memory;
    vd->log = env->log;
    vd->vm_lock = env->bus ? bus_lock(env->bus) : NULL;
    for (unsigned i = 0; i < queues; i++)
        vd->queue[i] = (struct virtio_queue){.vd = vd, .state = &vd->state.queue[i], .index = i,
                                             .size_max = queue_size};
    power_on(vd);
}

void virtio_device_destroy(struct virtio_device *vd)
{
    struct virtio_thread *t = vd ? vd->thread : NULL;

    if (!vd)
        return;
    virtio_enter(vd);
    if (t)
        virtio_thread_detach(t);
    vd->ops->destroy(vd);
    if (t)
        pthread_mutex_unlock(iothread_lock(t->iothread));
}

void virtio_enter(struct virtio_device *vd)
{
    if (vd->thread)
        pthread_mutex_lock(iothread_lock(vd->thread->iothread));
}

void virtio_leave(struct virtio_device *vd)
{
    if (vd->thread)
        pthread_mutex_unlock(iothread_lock(vd->thread->iothread));
}

/* ---- towards the driver -------------------------------------------------- */

static void interrupt(struct virtio_device *vd, enum virtio_interrupt what, unsigned queue)
{
    if (vd->thread)
        virtio_thread_note(vd->thread, what, queue);
    else if (vd->transport.interrupt)
        vd->transport.interrupt(vd->transport.opaque, what, queue);
}

void virtio_queue_signal(struct virtio_queue *q)
{
    const struct ring_ops *ops = virtio_has(q->vd, VIRTIO_F_PACKED) ? &ring_packed : &ring_split;

    if (!q->unsignalled || !q->live)
        return;
    q->unsignalled = 0;
    if (!ops->wants_signal(q))
        return;
    q->signals++;
    interrupt(q->vd, VIRTIO_INTERRUPT_QUEUE, q->index);
}

void virtio_config_changed(struct virtio_device *vd)
{
    vd->state.config_generation++;
    if (vd->state.status & VIRTIO_DRIVER_OK)
        interrupt(vd, VIRTIO_INTERRUPT_CONFIG, 0);
}

void virtio_break(struct virtio_device *vd, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    vd->broken++;
    log_guest(vd->log, &vd->limit, "%s: the driver broke the rules: %s; the device stops until "
              "it is reset", vd->name, text);
    if (vd->state.status & VIRTIO_NEEDS_RESET)
        return;
    vd->state.status |= VIRTIO_NEEDS_RESET;
    if (vd->state.status & VIRTIO_DRIVER_OK)
        interrupt(vd, VIRTIO_INTERRUPT_CONFIG, 0);
}

/* ---- registers ----------------------------------------------------------- */

uint64_t virtio_get_features(const struct virtio_device *vd, unsigned select)
{
    return select < 2 ? (uint32_t)(vd->features >> 32 * select) : 0;
}

void virtio_set_features(struct virtio_device *vd, unsigned select, uint32_t value)
{
    uint64_t *f = &vd->state.driver_features;

    if (vd->state.status & VIRTIO_FEATURES_OK || select >= 2)
        return;
    *f = (*f & ~(0xffffffffull << 32 * select)) | (uint64_t)value << 32 * select;
}

struct virtio_queue *virtio_queue_of(struct virtio_device *vd, unsigned index)
{
    return index < vd->queues ? &vd->queue[index] : NULL;
}

/* Packed rings may be of any size; ours are powers of two or refused. */
void virtio_queue_set_size(struct virtio_queue *q, uint32_t size)
{
    bool packed = virtio_has(q->vd, VIRTIO_F_PACKED);

    if (q->state->ready || !size || size > q->size_max || (!packed && size & (size - 1)))
        log_guest(q->vd->log, &q->vd->limit, "%s: queue %u cannot have %u entries", q->vd->name,
                  q->index, size);
    else
        q->state->size = (uint16_t)size;
}

void virtio_queue_set_ready(struct virtio_queue *q, bool ready)
{
    if (!ready) {
        q->state->ready = q->live = false;
        return;
    }
    if (q->state->ready || q->vd->state.status & VIRTIO_NEEDS_RESET)
        return;
    q->state->ready = true;
    if (!virtio_queue_map(q))
        virtio_break(q->vd, "queue %u: its ring is not in memory", q->index);
}

void virtio_kick(struct virtio_device *vd, unsigned queue)
{
    if (vd->thread)
        virtio_thread_kick(vd->thread, queue);
    else
        virtio_notify(vd, queue);
}

void virtio_notify(struct virtio_device *vd, unsigned queue)
{
    struct virtio_queue *q = virtio_queue_of(vd, queue);

    if (!q || !q->live || !virtio_live(vd))
        return;
    q->kicks++;
    vd->ops->notify(vd, q);
}

void virtio_config_access(struct virtio_device *vd, unsigned offset, void *buf, unsigned len,
                          bool write)
{
    if (!write)
        memset(buf, 0, len);
    if (!range_inside(offset, len, vd->config_bytes))
        return;
    if (!write && vd->ops->config_read)
        vd->ops->config_read(vd, offset, buf, len);
    else if (write && vd->ops->config_write)
        vd->ops->config_write(vd, offset, buf, len);
}

/* FEATURES_OK stays off when the driver took something that was not offered, or not
 * version 1 (3.1.1, step 5). */
void virtio_set_status(struct virtio_device *vd, uint8_t status)
{
    struct virtio_state *s = &vd->state;
    uint8_t news = (uint8_t)(status & ~s->status);

    if (!status) {
        virtio_device_reset(vd);
        return;
    }
    if (news & VIRTIO_FEATURES_OK &&
        (s->driver_features & ~vd->features || !(s->driver_features & VIRTIO_F_VERSION_1)))
        status &= (uint8_t)~VIRTIO_FEATURES_OK;
    /* Bits are only added, and NEEDS_RESET is ours. */
    s->status |= status & (uint8_t)~VIRTIO_NEEDS_RESET;
    if (news & VIRTIO_DRIVER_OK && s->status & VIRTIO_FEATURES_OK && vd->ops->activate)
        vd->ops->activate(vd);
}

/* ---- life ---------------------------------------------------------------- */

void virtio_device_reset(struct virtio_device *vd)
{
    for (unsigned i = 0; i < vd->queues; i++)
        vd->queue[i].live = false;
    vd->ops->reset(vd);
    power_on(vd);
}

void virtio_device_quiesce(struct virtio_device *vd)
{
    if (vd->ops->quiesce)
        vd->ops->quiesce(vd);
}

/* A loaded state may be anything, too. */
void virtio_device_resume(struct virtio_device *vd)
{
    for (unsigned i = 0; i < vd->queues; i++) {
        struct virtio_queue *q = &vd->queue[i];
        struct virtio_queue_state *s = q->state;
        bool packed = virtio_has(vd, VIRTIO_F_PACKED);

        q->live = false;
        if (!s->ready)
            continue;
        if (!s->size || s->size > q->size_max || (!packed && s->size & (s->size - 1)) ||
            (packed && (s->next_avail >= s->size || s->next_used >= s->size)) ||
            !virtio_queue_map(q))
            virtio_break(vd, "queue %u: its ring is not in memory", i);
    }
    if (vd->ops->resume)
        vd->ops->resume(vd);
}

const struct state_desc *virtio_device_describe(struct virtio_device *vd, void **state)
{
    unsigned n = 0;

    vd->fields[n++] = (struct state_field){"virtio", 0, 1, sizeof vd->state, STATE_TYPE_STRUCT, 0,
                                           &virtio_state_desc};
    if (vd->ops->state)
        vd->fields[n++] = (struct state_field){"device", (uint32_t)vd->ops->state_offset, 1, 1,
                                               STATE_TYPE_STRUCT, 0, vd->ops->state};
    vd->fields[n] = (struct state_field)STATE_END;
    vd->desc = (struct state_desc){vd->ops->type, 1, vd->fields};
    *state = vd;
    return &vd->desc;
}

void virtio_describe_text(struct virtio_device *vd, struct strbuf *out)
{
    virtio_enter(vd);
    strbuf_addf(out, "%s: %s, status 0x%02x, features 0x%llx, %s ring%s\n", vd->name,
                vd->ops->type, vd->state.status,
                (unsigned long long)vd->state.driver_features,
                virtio_has(vd, VIRTIO_F_PACKED) ? "packed" : "split",
                vd->broken ? ", was broken by its driver" : "");
    for (unsigned i = 0; i < vd->queues; i++) {
        const struct virtio_queue *q = &vd->queue[i];

        if (q->live)
            strbuf_addf(out, "  queue %u: %u entries, %llu chains, %llu doorbells, "
                        "%llu interrupts\n", i, q->state->size, (unsigned long long)q->chains,
                        (unsigned long long)q->kicks, (unsigned long long)q->signals);
    }
    if (vd->ops->describe)
        vd->ops->describe(vd, out);
    virtio_leave(vd);
}

static const struct state_field queue_fields[] = {
    STATE_U64(struct virtio_queue_state, descriptors),
    STATE_U64(struct virtio_queue_state, driver),
    STATE_U64(struct virtio_queue_state, device),
    STATE_U16(struct virtio_queue_state, size),
    STATE_U16(struct virtio_queue_state, vector),
    STATE_BOOL(struct virtio_queue_state, ready),
    STATE_U16(struct virtio_queue_state, next_avail),
    STATE_U16(struct virtio_queue_state, next_used),
    STATE_BOOL(struct virtio_queue_state, avail_wrap),
    STATE_BOOL(struct virtio_queue_state, used_wrap),
    STATE_U16(struct virtio_queue_state, signalled),
    STATE_BOOL(struct virtio_queue_state, signalled_wrap),
    STATE_END
};
static const struct state_desc queue_desc = {"virtio-queue", 1, queue_fields};

static const struct state_field fields[] = {
    STATE_STRUCT(struct virtio_state, pci, &pci_function_state_desc),
    STATE_U64(struct virtio_state, driver_features),
    STATE_U32(struct virtio_state, device_features_select),
    STATE_U32(struct virtio_state, driver_features_select),
    STATE_U16(struct virtio_state, queue_select),
    STATE_U16(struct virtio_state, config_vector),
    STATE_U8(struct virtio_state, status),
    STATE_U8(struct virtio_state, isr),
    STATE_U8(struct virtio_state, config_generation),
    STATE_STRUCT_ARRAY(struct virtio_state, queue, &queue_desc),
    STATE_END
};
const struct state_desc virtio_state_desc = {"virtio", 1, fields};
