/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsock_host.h - the host's side of vsock: streams of the guest joined to Unix sockets.
 *
 * The guest connects to port N of the host (CID 2): that is the socket PATH_N, which
 * some program of the host listens on. A program of the host connects to PATH, writes
 * "CONNECT N\n", and has port N of the guest after reading "OK M\n" (M is the port the
 * guest sees it come from); a connection that is closed instead was refused.
 *
 * Packets are those of virtio 1.2, 5.10.6, without their buffers: vsock_host_packet()
 * takes one of the guest's, vsock_host_next() gives one for it. Credit is kept in both
 * directions (5.10.6.3): a guest that sends more than it was granted loses the
 * connection, and a program of the host that does not read holds up its own only.
 *
 * THREADS: all of it with the loop's lock held (the VM lock), as its callbacks are.
 */
#ifndef RING3_VIRTIO_VSOCK_HOST_H
#define RING3_VIRTIO_VSOCK_HOST_H

#include "base/types.h"

struct error;
struct loop;
struct strbuf;
struct vsock_host;

enum { VSOCK_HOST_CID = 2, VSOCK_CID_MIN = 3, VSOCK_HEADER_BYTES = 44,
       VSOCK_DATA_MAX = 64 << 10,            /* in one packet */
       VSOCK_BUFFER_BYTES = 256 << 10,       /* what the guest may send ahead */
       VSOCK_CONNECTIONS_MAX = 1024 };

enum vsock_op { VSOCK_REQUEST = 1, VSOCK_RESPONSE, VSOCK_RST, VSOCK_SHUTDOWN, VSOCK_RW,
                VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST };
enum { VSOCK_STREAM = 1, VSOCK_SHUTDOWN_RECEIVE = 1, VSOCK_SHUTDOWN_SEND = 2 };

struct vsock_packet {                        /* as it travels, little-endian */
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

/* `ready` is called when there may be something for vsock_host_next(). */
struct vsock_host *vsock_host_new(struct loop *loop, uint32_t cid, const char *path,
                                  void (*ready)(void *opaque), void *opaque, struct error **err);
void vsock_host_free(struct vsock_host *h);         /* removes the socket; NULL ok */
void vsock_host_reset(struct vsock_host *h);        /* every connection is closed */

/* p->len bytes of data; at most VSOCK_DATA_MAX. */
void vsock_host_packet(struct vsock_host *h, const struct vsock_packet *p, const uint8_t *data);
/* False: nothing to send now. At most `room` bytes of data. */
bool vsock_host_next(struct vsock_host *h, struct vsock_packet *p, uint8_t *data, size_t room);

void vsock_host_describe(const struct vsock_host *h, struct strbuf *out);

#endif
