/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsock.c - socket device (virtio 1.2, 5.10): packets between queues and vsock_host.c.
 *
 * Three queues: receive, transmit, events (of which we have none). Everything runs with
 * the VM lock: in the vCPU that rang, or in the VM's loop when a socket of the host has
 * something. Connections are not part of the state: after a load the guest's are reset.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "virtio/vsock_host.h"

enum { RX, TX, EVENTS, QUEUES, QUEUE_SIZE = 128, SEGMENTS = 64, CONFIG_BYTES = 8 };

struct virtio_vsock {
    struct virtio_device vd;
    struct vsock_host *host;
    struct virtio_chain *chain;
    uint32_t cid;
    bool quiet;                      /* quiesced */
    uint8_t data[VSOCK_DATA_MAX];
};

static struct virtio_vsock *to_vsock(struct virtio_device *vd)
{
    return container_of(vd, struct virtio_vsock, vd);
}

/* As long as the guest has buffers and the host has packets. */
static void receive(struct virtio_vsock *d)
{
    struct virtio_queue *q = &d->vd.queue[RX];
    struct vsock_packet p;

    while (!d->quiet && virtio_queue_pop(q, d->chain)) {
        if (d->chain->in_bytes < VSOCK_HEADER_BYTES) {
            virtio_break(&d->vd, "a receive buffer of %llu bytes",
                         (unsigned long long)d->chain->in_bytes);
            return;
        }
        size_t room = d->chain->in_bytes - VSOCK_HEADER_BYTES;
        if (!vsock_host_next(d->host, &p, d->data, min_u64(room, sizeof d->data))) {
            virtio_queue_unpop(q, d->chain);
            break;
        }
        virtio_chain_write(d->chain, 0, &p, VSOCK_HEADER_BYTES);
        virtio_chain_write(d->chain, VSOCK_HEADER_BYTES, d->data, p.len);
        virtio_queue_push(q, d->chain, VSOCK_HEADER_BYTES + p.len);
    }
    virtio_queue_signal(q);
}

static void transmit(struct virtio_vsock *d)
{
    struct virtio_queue *q = &d->vd.queue[TX];
    struct vsock_packet p;

    while (!d->quiet && virtio_queue_pop(q, d->chain)) {
        if (virtio_chain_read(d->chain, 0, &p, sizeof p) != sizeof p || p.len > VSOCK_DATA_MAX ||
            virtio_chain_read(d->chain, sizeof p, d->data, p.len) != p.len) {
            virtio_break(&d->vd, "a packet that is shorter or longer than it says");
            return;
        }
        virtio_queue_push(q, d->chain, 0);
        vsock_host_packet(d->host, &p, d->data);
    }
    virtio_queue_signal(q);
}

static void on_ready(void *opaque)
{
    struct virtio_vsock *d = opaque;

    if (virtio_live(&d->vd))
        receive(d);
}

static void notify(struct virtio_device *vd, struct virtio_queue *q)
{
    struct virtio_vsock *d = to_vsock(vd);

    if (q->index == TX)
        transmit(d);
    /* A packet of the guest may have an answer. */
    if (q->index != EVENTS && virtio_live(vd))
        receive(d);
}

static void reset(struct virtio_device *vd)
{
    vsock_host_reset(to_vsock(vd)->host);
}

static void quiesce(struct virtio_device *vd)
{
    to_vsock(vd)->quiet = true;
}

static void resume(struct virtio_device *vd)
{
    struct virtio_vsock *d = to_vsock(vd);

    d->quiet = false;
    if (virtio_live(vd)) {
        transmit(d);
        on_ready(d);
    }
}

static void config_read(struct virtio_device *vd, unsigned offset, void *buf, unsigned len)
{
    uint8_t config[CONFIG_BYTES];

    put_le64(config, to_vsock(vd)->cid);
    memcpy(buf, config + offset, len);
}

static void describe(struct virtio_device *vd, struct strbuf *out)
{
    vsock_host_describe(to_vsock(vd)->host, out);
}

static void destroy(struct virtio_device *vd)
{
    struct virtio_vsock *d = to_vsock(vd);

    vsock_host_free(d->host);
    free(d->chain);
    free(d);
}

static const struct virtio_ops vsock_ops = {
    .type = "virtio-vsock",
    .id = VIRTIO_ID_VSOCK,
    .pci_class = 0x028000,           /* network, other */
    .config_read = config_read,
    .notify = notify,
    .reset = reset,
    .quiesce = quiesce,
    .resume = resume,
    .describe = describe,
    .destroy = destroy,
};

struct virtio_device *virtio_vsock_new(const struct device_env *env,
                                       const struct virtio_vsock_config *cfg, struct error **err)
{
    struct virtio_vsock *d = calloc(1, sizeof *d);

    BUG_ON(!env->loop || cfg->cid < VSOCK_CID_MIN);
    if (!d) {
        error_set(err, ENOMEM, "no memory for '%s'", cfg->name);
        return NULL;
    }
    _Static_assert(sizeof(struct vsock_packet) == VSOCK_HEADER_BYTES, "5.10.6");
    d->cid = cfg->cid;
    virtio_device_init(&d->vd, &vsock_ops, env, cfg->name, VIRTIO_F_IN_ORDER, CONFIG_BYTES,
                       QUEUES, QUEUE_SIZE);
    d->chain = virtio_chain_new(SEGMENTS);
    d->host = vsock_host_new(env->loop, cfg->cid, cfg->path, on_ready, d, err);
    if (d->host)
        return &d->vd;
    destroy(&d->vd);
    return NULL;
}
