/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9.c - 9P transport device (Linux' include/uapi/linux/virtio_9p.h): one queue, a
 * message per chain, and the mount tag in the configuration space.
 *
 * THREADS. With the VM lock a chain is popped and its message copied; the worker makes
 * the answer out of the copy and writes an eventfd; the VM's loop, again with the VM
 * lock, copies the answer into the chain. So the worker touches neither guest memory
 * nor anything that the VM lock protects: while `busy`, `in` and `out` are its own, and
 * the session always is. Without a loop (tests) everything happens at once.
 */
#include "virtio/p9.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/iothread.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "share/p9.h"

enum { QUEUE_SIZE = 128, SEGMENTS = 256, CONFIG_TAG = 2 };

#define P9_F_MOUNT_TAG (1ull << 0)

struct virtio_p9 {
    struct virtio_device vd;
    struct p9 *session;
    struct iothread *worker;         /* NULL: answered in the caller's thread */
    int done;                        /* eventfd; -1: none */
    struct loop_watch *watch;
    struct virtio_chain *chain;      /* what is being answered */
    uint8_t *in, *out;               /* P9_MESSAGE_MAX each */
    size_t in_len, out_len, out_cap;
    bool busy;                       /* the worker has a request */
    bool stale;                      /* ... whose chain is no more: a reset came */
    bool quiet;                      /* quiesced: nothing new is begun */
    char tag[VIRTIO_P9_TAG_MAX + 1];
};

static struct virtio_p9 *to_p9(struct virtio_device *vd)
{
    return container_of(vd, struct virtio_p9, vd);
}

/* ---- requests ---- */

/* In the worker. */
static void answer(void *opaque)
{
    struct virtio_p9 *d = opaque;
    const uint64_t one = 1;

    d->out_len = p9_request(d->session, d->in, d->in_len, d->out, d->out_cap);
    if (d->worker && write(d->done, &one, sizeof one) < 0)
        BUG("an eventfd cannot be written");
}

static void deliver(struct virtio_p9 *d)
{
    d->busy = false;
    if (d->stale) {
        d->stale = false;
        return;
    }
    if (!d->out_len) {
        virtio_break(&d->vd, "a buffer that holds no 9P message, or no answer");
        return;
    }
    virtio_chain_write(d->chain, 0, d->out, d->out_len);
    virtio_queue_push(&d->vd.queue[0], d->chain, (uint32_t)d->out_len);
    virtio_queue_signal(&d->vd.queue[0]);
}

static void begin(struct virtio_p9 *d)
{
    while (!d->busy && !d->quiet && virtio_queue_pop(&d->vd.queue[0], d->chain)) {
        if (d->chain->out_bytes > P9_MESSAGE_MAX) {
            virtio_break(&d->vd, "a 9P message of %llu bytes",
                         (unsigned long long)d->chain->out_bytes);
            return;
        }
        d->in_len = virtio_chain_read(d->chain, 0, d->in, P9_MESSAGE_MAX);
        d->out_cap = min_u64(d->chain->in_bytes, P9_MESSAGE_MAX);
        d->busy = true;
        if (d->worker) {
            loop_post(iothread_loop(d->worker), answer, d);
        } else {
            answer(d);
            deliver(d);
        }
    }
}

static void finish(struct virtio_p9 *d)
{
    uint64_t count;

    if (read(d->done, &count, sizeof count) == sizeof count && d->busy)
        deliver(d);
}

static void on_done(void *opaque, unsigned events)
{
    (void)events;
    finish(opaque);
    begin(opaque);
}

static void notify(struct virtio_device *vd, struct virtio_queue *q)
{
    (void)q;
    begin(to_p9(vd));
}

/* ---- life ---- */

static void forget(void *opaque)
{
    p9_reset(((struct virtio_p9 *)opaque)->session);
}

/* A request in the worker comes to its end before its client is forgotten, and its
 * answer goes nowhere. */
static void reset(struct virtio_device *vd)
{
    struct virtio_p9 *d = to_p9(vd);

    d->stale = d->busy;
    if (d->worker)
        loop_post(iothread_loop(d->worker), forget, d);
    else
        forget(d);
}

static void quiesce(struct virtio_device *vd)
{
    struct virtio_p9 *d = to_p9(vd);
    struct pollfd p = {.fd = d->done, .events = POLLIN};

    d->quiet = true;
    while (d->busy && d->worker) {
        poll(&p, 1, -1);
        finish(d);
    }
}

static void resume(struct virtio_device *vd)
{
    struct virtio_p9 *d = to_p9(vd);

    d->quiet = false;
    if (virtio_live(vd))
        begin(d);
}

static void config_read(struct virtio_device *vd, unsigned offset, void *buf, unsigned len)
{
    uint8_t config[CONFIG_TAG + VIRTIO_P9_TAG_MAX] = {0};
    const char *tag = to_p9(vd)->tag;

    put_le16(config, (uint16_t)strlen(tag));
    memcpy(config + CONFIG_TAG, tag, strlen(tag));
    memcpy(buf, config + offset, len);
}

static void describe(struct virtio_device *vd, struct strbuf *out)
{
    struct virtio_p9 *d = to_p9(vd);

    strbuf_addf(out, "  tag '%s'%s\n", d->tag, d->busy ? ", a request is being served" : "");
}

static void destroy(struct virtio_device *vd)
{
    struct virtio_p9 *d = to_p9(vd);

    iothread_free(d->worker);
    loop_unwatch(d->watch);
    if (d->done >= 0)
        close(d->done);
    p9_free(d->session);
    free(d->chain);
    free(d->in);
    free(d->out);
    free(d);
}

static const struct virtio_ops p9_ops = {
    .type = "virtio-9p",
    .id = VIRTIO_ID_9P,
    .pci_class = 0x018000,           /* mass storage, other */
    .config_read = config_read,
    .notify = notify,
    .reset = reset,
    .quiesce = quiesce,
    .resume = resume,
    .describe = describe,
    .destroy = destroy,
};

static int start_worker(struct virtio_p9 *d, struct loop *loop, struct error **err)
{
    d->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->done < 0)
        return error_set(err, errno, "cannot make an eventfd: %s", strerror(errno));
    d->watch = loop_watch_fd(loop, d->done, LOOP_READ, on_done, d, err);
    if (!d->watch)
        return -EIO;
    d->worker = iothread_new(d->vd.name, err);
    return d->worker ? 0 : -EIO;
}

struct virtio_device *virtio_p9_new(const struct device_env *env,
                                    const struct virtio_p9_config *cfg, struct error **err)
{
    struct virtio_p9 *d = calloc(1, sizeof *d);

    BUG_ON(!*cfg->tag || strlen(cfg->tag) > VIRTIO_P9_TAG_MAX);
    if (!d) {
        error_set(err, ENOMEM, "no memory for '%s'", cfg->name);
        return NULL;
    }
    strcpy(d->tag, cfg->tag);
    d->done = -1;
    virtio_device_init(&d->vd, &p9_ops, env, cfg->name, P9_F_MOUNT_TAG | VIRTIO_F_IN_ORDER,
                       CONFIG_TAG + (unsigned)strlen(cfg->tag), 1, QUEUE_SIZE);
    d->chain = virtio_chain_new(SEGMENTS);
    d->in = malloc(P9_MESSAGE_MAX);
    d->out = malloc(P9_MESSAGE_MAX);
    if (d->in && d->out)
        d->session = p9_new(cfg->dir, cfg->readonly, err);
    else
        error_set(err, ENOMEM, "no memory for the messages of '%s'", cfg->name);
    if (d->session && (!env->loop || start_worker(d, env->loop, err) == 0))
        return &d->vd;
    destroy(&d->vd);
    return NULL;
}
