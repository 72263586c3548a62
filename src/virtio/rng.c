/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rng.c - entropy device (virtio 1.2, 5.4): the host's getrandom().
 *
 * Every request is answered at once, in whole but for a limit that keeps a greedy
 * driver from holding the VM lock for long; it gets the rest when it asks again.
 */
#include "virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/error.h"

enum { QUEUE_SIZE = 64, SEGMENTS = 32, REQUEST_BYTES_MAX = 65536 };

struct virtio_rng {
    struct virtio_device vd;
    struct virtio_chain *chain;
};

static struct virtio_rng *to_rng(struct virtio_device *vd)
{
    return container_of(vd, struct virtio_rng, vd);
}

static uint32_t fill(const struct virtio_chain *c)
{
    size_t done = 0;

    for (unsigned i = c->outs; i < c->outs + c->ins && done < REQUEST_BYTES_MAX; i++) {
        size_t want = min_u64(c->iov[i].iov_len, REQUEST_BYTES_MAX - done);
        ssize_t n = getrandom(c->iov[i].iov_base, want, 0);

        if (n < 0)
            break;
        done += (size_t)n;
    }
    return (uint32_t)done;
}

static void rng_notify(struct virtio_device *vd, struct virtio_queue *q)
{
    struct virtio_chain *c = to_rng(vd)->chain;

    while (virtio_queue_pop(q, c))
        virtio_queue_push(q, c, fill(c));
    virtio_queue_signal(q);
}

static void rng_reset(struct virtio_device *vd)
{
}

static void rng_destroy(struct virtio_device *vd)
{
    struct virtio_rng *r = to_rng(vd);

    free(r->chain);
    free(r);
}

static const struct virtio_ops rng_ops = {
    .type = "virtio-rng",
    .id = VIRTIO_ID_ENTROPY,
    .pci_class = 0x00ff00,
    .notify = rng_notify,
    .reset = rng_reset,
    .destroy = rng_destroy,
};

struct virtio_device *virtio_rng_new(const struct device_env *env, const char *name,
                                     struct error **err)
{
    struct virtio_rng *r = calloc(1, sizeof *r);

    if (!r) {
        error_set(err, ENOMEM, "no memory for the entropy device");
        return NULL;
    }
    virtio_device_init(&r->vd, &rng_ops, env, name, VIRTIO_F_IN_ORDER, 0, 1, QUEUE_SIZE);
    r->chain = virtio_chain_new(SEGMENTS);
    return &r->vd;
}
