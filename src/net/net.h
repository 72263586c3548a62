/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.h - a network card's other end.
 *
 * A back end (user-mode, tap, socket, ...) moves Ethernet frames between one
 * device and the outside. The device calls down: send, receive_ready, close; the
 * back end calls up through the one function it was given: receive.
 *
 * FRAMES are Ethernet II without FCS, preceded by a `struct virtio_net_hdr_v1`
 * (12 bytes, linux/virtio_net.h) if and only if both sides agreed on
 * NET_VNET_HDR. Without it frames are complete: checksummed and no longer than
 * the MTU.
 *
 * THREADS. A back end belongs to one event loop and the lock its callbacks run
 * under (the VM's or an I/O thread's). Every call in either direction is made
 * with that lock held. `receive` may be called inside `send` (an ARP answer).
 *
 * FLOW. `receive` returns false when the device has no room: the back end then
 * keeps the frame (or drops it, counted, when it cannot) and stops reading until
 * the device calls receive_ready. Sending never blocks: what does not fit is
 * dropped and counted, as by a real wire.
 */
#ifndef RING3_NET_NET_H
#define RING3_NET_NET_H

#include <pthread.h>
#include <sys/uio.h>
#include "base/types.h"

struct error;
struct log;
struct loop;
struct net;
struct strbuf;

enum net_features {
    NET_VNET_HDR = 1,        /* frames carry a virtio_net_hdr_v1 */
    NET_CSUM = 2,            /* takes frames whose checksum is not filled in */
    NET_TSO4 = 4, NET_TSO6 = 8, NET_USO = 16,
    NET_MULTIQUEUE = 32,
};

enum { NET_FRAME_MAX = 65536 + 64, NET_QUEUES_MAX = 16 };

struct net_stats { uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped; };

struct net_up {
    /* Towards the guest; the frame is the callee's to copy. False: no room. */
    bool (*receive)(void *opaque, unsigned queue, const struct iovec *iov, unsigned iovs);
    void (*link)(void *opaque, bool up);               /* may be NULL */
    void *opaque;
};

struct net_env {
    struct loop *loop;
    pthread_mutex_t *lock;
    struct log *log;
};

struct net_ops {
    const char *name, *summary;                        /* "user" */
    unsigned (*features)(const struct net *n);
    /* What the guest agreed to; a subset of features(). -errno when the host refuses. */
    int (*set_features)(struct net *n, unsigned features);
    int (*set_queues)(struct net *n, unsigned queues); /* NULL: one */
    void (*send)(struct net *n, unsigned queue, const struct iovec *iov, unsigned iovs);
    void (*receive_ready)(struct net *n, unsigned queue);
    /* A descriptor per queue for vhost, or -1. NULL: none. */
    int (*fd)(const struct net *n, unsigned queue);
    void (*describe)(const struct net *n, struct strbuf *out);
    void (*close)(struct net *n);
};

/* Embedded first in each back end's own struct. */
struct net {
    const struct net_ops *ops;
    struct net_env env;
    struct net_up up;                /* set by net_attach */
    struct net_stats stats;
};

/* `spec` is the text of --net up to the device's own keys, which the caller takes
 * off: "user,forward=tcp:2222:22", "tap=tap0", "socket=...". One line of error. */
struct net *net_open(const struct net_env *env, const char *spec, struct error **err);
void net_attach(struct net *n, const struct net_up *up);     /* the device; once */
void net_close(struct net *n);                               /* NULL ok */

#endif
