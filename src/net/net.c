/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c - the table of back ends, and what all of them have in common:
 * counting, capturing, and finishing frames in software for those that take
 * only complete ones.
 */
#include "net/net.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "net/backends.h"
#include "net/offload.h"
#include "net/pcap.h"

static const struct net_ops *const kinds[] = {
#ifdef RING3_HAVE_SLIRP
    &net_user,
#endif
    &net_tap, &net_socket, NULL,
};

const struct net_ops *const *net_kinds(void)
{
    return kinds;
}

static int unknown_kind(const char *kind, struct error **err)
{
    const char *names[ARRAY_SIZE(kinds) + 1] = {NULL};
    size_t n = 0;

    for (; kinds[n]; n++)
        names[n] = kinds[n]->name;
    names[n] = "none";
    error_no_such(err, "kind of network", kind, names);
#ifndef RING3_HAVE_SLIRP
    if (!strcmp(kind, "user"))
        error_hint(err, "this ring3 was built without libslirp: install libslirp-dev and "
                   "build it again");
#endif
    return -EINVAL;
}

struct net *net_open(const struct net_env *env, const char *spec, struct error **err)
{
    size_t len = strcspn(spec, ",=");
    const char *keys = spec[len] ? spec + len + 1 : "";
    char *kind = strndup(spec, len);
    struct net *n = NULL;
    bool found = false;

    BUG_ON(!kind);
    for (size_t i = 0; kinds[i] && !found; i++) {
        if (strcmp(kinds[i]->name, kind) != 0)
            continue;
        found = true;
        n = kinds[i]->open(env, keys, err);
        if (n) {
            n->ops = kinds[i];
            n->env = *env;
        }
    }
    if (!found)
        unknown_kind(kind, err);
    free(kind);
    return n;
}

void net_close(struct net *n)
{
    if (!n)
        return;
    pcap_close(n->pcap);
    free(n->bounce);
    n->ops->close(n);
}

int net_capture(struct net *n, const char *file, struct error **err)
{
    n->pcap = pcap_open(file, n->env.log, err);
    return n->pcap ? 0 : -EINVAL;
}

void net_describe(const struct net *n, struct strbuf *out)
{
    const struct net_stats *s = &n->stats;

    strbuf_addf(out, "  received %" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64 " dropped\n",
                s->rx_frames, s->rx_bytes, s->rx_dropped);
    strbuf_addf(out, "  sent     %" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64 " dropped\n",
                s->tx_frames, s->tx_bytes, s->tx_dropped);
    if (n->ops->describe)
        n->ops->describe(n, out);
}

void net_attach(struct net *n, const struct net_up *up)
{
    BUG_ON(n->up.receive);
    n->up = *up;
    net_receive_ready(n, 0);
}

unsigned net_set_offloads(struct net *n, unsigned offloads)
{
    return n->ops->set_offloads ? n->ops->set_offloads(n, offloads) : 0;
}

int net_set_queues(struct net *n, unsigned queues, struct error **err)
{
    if (n->ops->set_queues)
        return n->ops->set_queues(n, queues, err);
    if (queues == 1)
        return 0;
    error_set(err, EINVAL, "network %s has one queue, not %u", n->ops->name, queues);
    error_hint(err, "only tap has several");
    return -EINVAL;
}

int net_lend(struct net *n, unsigned queue)
{
    return n->ops->lend ? n->ops->lend(n, queue) : -1;
}

void net_receive_ready(struct net *n, unsigned queue)
{
    if (n->ops->receive_ready)
        n->ops->receive_ready(n, queue);
}

/* ---- towards the outside -------------------------------------------------- */

static bool pass_down(struct net *n, unsigned queue, const struct net_header *h,
                      const struct iovec *iov, unsigned iovs)
{
    pcap_frame(n->pcap, iov, iovs);
    return n->ops->send(n, queue, h, iov, iovs);
}

struct finishing { struct net *n; unsigned queue; };

static bool finished_frame(void *opaque, const uint8_t *frame, size_t len)
{
    const struct finishing *f = opaque;
    const struct iovec iov = {(void *)(uintptr_t)frame, len};

    return pass_down(f->n, f->queue, NULL, &iov, 1);
}

/* Copied first: the guest may not change what was checked. */
static bool finish_and_send(struct net *n, unsigned queue, const struct net_header *h,
                            const struct iovec *iov, unsigned iovs)
{
    struct finishing f = {n, queue};
    size_t len;

    if (!n->bounce)
        n->bounce = malloc(NET_FRAME_MAX);
    BUG_ON(!n->bounce);
    len = net_iov_gather(iov, iovs, n->bounce, NET_FRAME_MAX);
    return offload_finish(h, n->bounce, len, finished_frame, &f) == 0;
}

void net_send(struct net *n, unsigned queue, const struct net_header *h, const struct iovec *iov,
              unsigned iovs)
{
    unsigned undone = h ? offload_needs(h) : 0;
    unsigned takes = n->ops->takes ? n->ops->takes(n) : 0;
    size_t len = net_iov_bytes(iov, iovs);
    bool sent;

    if (len < NET_FRAME_MIN || len > NET_FRAME_MAX || iovs > NET_IOVS_MAX) {
        n->stats.tx_dropped++;
        return;
    }
    if (undone & ~takes)
        sent = finish_and_send(n, queue, h, iov, iovs);
    else
        sent = pass_down(n, queue, undone ? h : NULL, iov, iovs);
    if (sent) {
        n->stats.tx_frames++;
        n->stats.tx_bytes += len;
    } else {
        n->stats.tx_dropped++;
    }
}

/* ---- towards the guest ---------------------------------------------------- */

bool net_receive(struct net *n, unsigned queue, const struct net_header *h, const struct iovec *iov,
                 unsigned iovs)
{
    if (!n->up.receive || !n->up.receive(n->up.opaque, queue, h, iov, iovs))
        return false;
    n->stats.rx_frames++;
    n->stats.rx_bytes += net_iov_bytes(iov, iovs);
    pcap_frame(n->pcap, iov, iovs);
    return true;
}

void net_link(struct net *n, bool up)
{
    n->link_down = !up;
    if (n->up.link)
        n->up.link(n->up.opaque, up);
}

size_t net_iov_bytes(const struct iovec *iov, unsigned iovs)
{
    size_t len = 0;

    for (unsigned i = 0; i < iovs; i++)
        len += iov[i].iov_len;
    return len;
}

size_t net_iov_gather(const struct iovec *iov, unsigned iovs, void *to, size_t max)
{
    size_t done = 0;

    for (unsigned i = 0; i < iovs && done < max; i++) {
        size_t part = min_u64(iov[i].iov_len, max - done);

        memcpy((uint8_t *)to + done, iov[i].iov_base, part);
        done += part;
    }
    return done;
}
