/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.h - a network card's other end.
 *
 * A back end (user, tap, socket, ...) moves Ethernet frames between one device
 * and the outside. The device calls down: net_send, net_receive_ready,
 * net_close; the back end calls up through the functions it was given by
 * net_attach. Nothing here knows virtio devices or guests.
 *
 * FRAMES are Ethernet II without FCS. With each goes a header that says what was
 * left undone: a checksum to fill in (NEEDS_CSUM), a TCP or UDP payload to cut
 * into segments (gso_type, gso_size). No header: nothing, the frame is complete.
 * Devices may send any of it: what the back end does not take is done in software
 * on the way (offload.h). Towards the guest a header asks only for what the
 * device agreed to with net_set_offloads. Of a header only flags, gso_type,
 * gso_size, csum_start and csum_offset count, all of them checked: a frame that
 * contradicts its header is dropped and counted.
 *
 * THREADS. A back end belongs to one event loop and the lock its callbacks run
 * under (the VM's or an I/O thread's). Every call in either direction is made
 * with that lock held, net_open and net_close included unless nothing runs yet
 * or any more. `receive` may be called inside net_send (an ARP answer).
 *
 * FLOW. `receive` returns false when the device has no room: the back end then
 * keeps the frame (or drops it, counted, when it cannot) and stops reading until
 * the device calls net_receive_ready. Sending never blocks: what does not fit is
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
struct pcap;
struct strbuf;

/* What may be left undone to a frame. */
enum net_offloads { NET_CSUM = 1, NET_TSO4 = 2, NET_TSO6 = 4, NET_USO = 8 };

enum {
    NET_FRAME_MAX = 65535 + 64,      /* with everything left undone */
    NET_FRAME_MIN = 14,              /* shorter ones are dropped */
    NET_QUEUES_MAX = 16,
    NET_IOVS_MAX = 1024,
};

/* What is left undone to a frame. The form is that of the kernel's virtio_net_hdr_v1,
 * which TAP interfaces and virtio drivers speak. */
struct net_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
enum { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2 };
enum { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_UDP = 3, NET_GSO_TCPV6 = 4,
       NET_GSO_UDP_L4 = 5, NET_GSO_ECN = 0x80 };

struct net_stats { uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped; };

struct net_up {
    /* Towards the guest; the frame is the callee's to copy. `h` may be NULL.
     * False: no room, and then net_receive_ready will come. */
    bool (*receive)(void *opaque, unsigned queue, const struct net_header *h,
                    const struct iovec *iov, unsigned iovs);
    void (*link)(void *opaque, bool up);               /* may be NULL */
    void *opaque;
};

struct net_env {
    struct loop *loop;
    pthread_mutex_t *lock;
    struct log *log;
};

/* A row of net.c's table. */
struct net_ops {
    const char *name, *summary;
    const struct param *keys;
    /* `keys` is the text after the kind, "" for none. */
    struct net *(*open)(const struct net_env *env, const char *keys, struct error **err);
    /* What `send` takes undone. NULL: nothing. */
    unsigned (*takes)(const struct net *n);
    /* Which of `offloads` frames towards the guest may be left with; returns what
     * will be made use of. NULL: none. */
    unsigned (*set_offloads)(struct net *n, unsigned offloads);
    /* Uses queues 0 to `queues` - 1. NULL: there is one. -errno with a message. */
    int (*set_queues)(struct net *n, unsigned queues, struct error **err);
    /* False: dropped. h is NULL when nothing is left undone. */
    bool (*send)(struct net *n, unsigned queue, const struct net_header *h, const struct iovec *iov,
                 unsigned iovs);
    void (*receive_ready)(struct net *n, unsigned queue);
    /* vhost takes queue n over: its descriptor, which is no longer read here; or -1.
     * NULL: none. */
    int (*lend)(struct net *n, unsigned queue);
    void (*describe)(const struct net *n, struct strbuf *out);   /* whole lines */
    void (*close)(struct net *n);                      /* frees */
};

/* Embedded first in each back end's own struct. */
struct net {
    const struct net_ops *ops;
    struct net_env env;
    struct net_up up;                /* set by net_attach */
    struct net_stats stats;
    bool link_down;                  /* as net_link said last */
    struct pcap *pcap;               /* net_capture */
    uint8_t *bounce;                 /* NET_FRAME_MAX, once software has to finish frames */
};

/* ---- for whoever makes a VM ---------------------------------------------- */

/* "KIND[,key=value...]" without the device's keys (options.h). One line of error. */
struct net *net_open(const struct net_env *env, const char *spec, struct error **err);
void net_close(struct net *n);                               /* NULL ok */
/* Everything that passes goes into this file too (pcap.h). */
int net_capture(struct net *n, const char *file, struct error **err);
/* "user: ..." and what it did so far, for `info network`. */
void net_describe(const struct net *n, struct strbuf *out);
/* The kinds, NULL-terminated, for help and did-you-mean. */
const struct net_ops *const *net_kinds(void);

/* ---- for devices --------------------------------------------------------- */

void net_attach(struct net *n, const struct net_up *up);     /* once */
unsigned net_set_offloads(struct net *n, unsigned offloads); /* towards the guest */
int net_set_queues(struct net *n, unsigned queues, struct error **err);
/* Towards the outside; whatever the header says and whatever the bytes are. The
 * frame may be in guest memory that changes meanwhile. */
void net_send(struct net *n, unsigned queue, const struct net_header *h, const struct iovec *iov,
              unsigned iovs);
void net_receive_ready(struct net *n, unsigned queue);
int net_lend(struct net *n, unsigned queue);

/* ---- for back ends ------------------------------------------------------- */

/* Up to the device, counted and captured. False: keep it. */
bool net_receive(struct net *n, unsigned queue, const struct net_header *h, const struct iovec *iov,
                 unsigned iovs);
void net_link(struct net *n, bool up);
size_t net_iov_bytes(const struct iovec *iov, unsigned iovs);
/* Copies up to `max` bytes; returns how many. */
size_t net_iov_gather(const struct iovec *iov, unsigned iovs, void *to, size_t max);

#endif
