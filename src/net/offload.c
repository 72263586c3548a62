/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * offload.c - checksums and segmentation.
 *
 * Segmentation follows what Linux's own (net/ipv4/tcp_offload.c and friends)
 * puts on the wire: IP identification counts up, FIN and PSH are the last
 * segment's, CWR the first one's (RFC 3168, 6.1.2). Checksums come out of the
 * headers of each segment, never out of what the guest left in the field.
 */
#include "net/offload.h"

#include <errno.h>
#include <string.h>

#include "base/byteorder.h"

enum { ETHERTYPE_IP4 = 0x0800, ETHERTYPE_IP6 = 0x86dd, ETHERTYPE_VLAN = 0x8100,
       ETHERTYPE_QINQ = 0x88a8 };
enum { PROTO_TCP = 6, PROTO_UDP = 17, PROTO_HOPOPTS = 0, PROTO_ROUTING = 43, PROTO_DSTOPTS = 60 };
enum { IP4_MIN = 20, IP4_LENGTH = 2, IP4_ID = 4, IP4_PROTO = 9, IP4_CSUM = 10, IP4_SRC = 12 };
enum { IP6_BYTES = 40, IP6_LENGTH = 4, IP6_NEXT = 6, IP6_SRC = 8 };
enum { TCP_MIN = 20, TCP_SEQ = 4, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CSUM = 16,
       UDP_BYTES = 8, UDP_LENGTH = 4, UDP_CSUM = 6 };
enum { FLAG_FIN = 1, FLAG_PSH = 8, FLAG_CWR = 0x80 };
enum { HEADERS_MAX = 512 };          /* Ethernet, tags, IP with options, TCP with options */

/* Where things are in a frame to be cut. */
struct layout {
    size_t ip, l4, payload;          /* offsets */
    bool v6, tcp;
};

uint32_t offload_sum(const void *data, size_t len, uint32_t sum)
{
    const uint8_t *p = data;
    uint64_t wide = 0;

    /* Summing in the host's byte order and swapping once is the same (RFC 1071, 2B). */
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v = get_le64(p);

        wide += (v & UINT32_MAX) + (v >> 32);
    }
    for (; len >= 2; p += 2, len -= 2)
        wide += get_le16(p);
    if (len)
        wide += *p;
    while (wide >> 16)
        wide = (wide & 0xffff) + (wide >> 16);
    return sum + __builtin_bswap16((uint16_t)wide);
}

uint16_t offload_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

unsigned offload_needs(const struct net_header *h)
{
    unsigned need = h->flags & NET_NEEDS_CSUM ? NET_CSUM : 0;

    switch (h->gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE:
        return need;
    case NET_GSO_TCPV4:
        return need | NET_TSO4;
    case NET_GSO_TCPV6:
        return need | NET_TSO6;
    case NET_GSO_UDP_L4:
        return need | NET_USO;
    default:
        return ~0u;
    }
}

/* The field holds the pseudo header's sum already (virtio 1.2, 5.1.6.2). A UDP
 * checksum of zero means "none" (RFC 768), so zero is sent as its twin: to TCP
 * that is the same number. */
static int fill_csum(const struct net_header *h, uint8_t *frame, size_t len)
{
    size_t start = h->csum_start, at = start + h->csum_offset;
    uint16_t csum;

    if (start >= len || at + 2 > len)
        return -EINVAL;
    csum = offload_fold(offload_sum(frame + start, len - start, 0));
    put_be16(frame + at, csum ? csum : 0xffff);
    return 0;
}

/* The transport header behind IPv6 extension headers; 0 when there is none. */
static size_t ip6_transport(const uint8_t *f, size_t len, size_t ip, uint8_t *proto)
{
    size_t at = ip + IP6_BYTES;
    uint8_t next;

    if (at > len || f[ip] >> 4 != 6)
        return 0;
    next = f[ip + IP6_NEXT];
    while (next == PROTO_HOPOPTS || next == PROTO_ROUTING || next == PROTO_DSTOPTS) {
        if (at + 8 > len)
            return 0;
        next = f[at];
        at += 8 + (size_t)f[at + 1] * 8;
    }
    *proto = next;
    return at;
}

static size_t ip4_transport(const uint8_t *f, size_t len, size_t ip, uint8_t *proto)
{
    size_t bytes;

    if (ip + IP4_MIN > len || f[ip] >> 4 != 4)
        return 0;
    bytes = (f[ip] & 15) * 4u;
    *proto = f[ip + IP4_PROTO];
    return bytes < IP4_MIN ? 0 : ip + bytes;
}

static int find_layout(const struct net_header *h, const uint8_t *f, size_t len, struct layout *l)
{
    unsigned kind = h->gso_type & ~NET_GSO_ECN;
    size_t at = 12;
    uint8_t proto = 0;
    uint16_t type;

    while (at + 2 <= len && ((type = get_be16(f + at)) == ETHERTYPE_VLAN ||
                             type == ETHERTYPE_QINQ))
        at += 4;
    if (at + 2 > len)
        return -EINVAL;
    type = get_be16(f + at);
    *l = (struct layout){.ip = at + 2, .v6 = type == ETHERTYPE_IP6,
                         .tcp = kind != NET_GSO_UDP_L4};
    if (type != ETHERTYPE_IP4 && type != ETHERTYPE_IP6)
        return -EINVAL;
    if ((kind == NET_GSO_TCPV4 && l->v6) || (kind == NET_GSO_TCPV6 && !l->v6))
        return -EINVAL;
    l->l4 = l->v6 ? ip6_transport(f, len, l->ip, &proto) : ip4_transport(f, len, l->ip, &proto);
    if (!l->l4 || proto != (l->tcp ? PROTO_TCP : PROTO_UDP) ||
        l->l4 + (l->tcp ? TCP_MIN : UDP_BYTES) > len)
        return -EINVAL;
    l->payload = l->l4 + (l->tcp ? (f[l->l4 + TCP_OFFSET] >> 4) * 4u : UDP_BYTES);
    if (l->payload < l->l4 + (l->tcp ? TCP_MIN : UDP_BYTES) || l->payload > len ||
        l->payload > HEADERS_MAX || !h->gso_size)
        return -EINVAL;
    return 0;
}

static uint32_t pseudo_sum(const uint8_t *f, const struct layout *l, size_t l4_bytes)
{
    uint32_t sum = (uint32_t)l4_bytes + (l->tcp ? PROTO_TCP : PROTO_UDP);

    return l->v6 ? offload_sum(f + l->ip + IP6_SRC, 32, sum)
                 : offload_sum(f + l->ip + IP4_SRC, 8, sum);
}

/* `f` has room for the headers of a segment, and its payload stands behind them. */
static void finish_segment(uint8_t *f, const struct layout *l, size_t bytes)
{
    size_t l4_bytes = bytes - l->l4, csum_at = l->l4 + (l->tcp ? TCP_CSUM : UDP_CSUM);
    uint16_t csum;

    if (l->v6) {
        put_be16(f + l->ip + IP6_LENGTH, (uint16_t)(bytes - l->ip - IP6_BYTES));
    } else {
        put_be16(f + l->ip + IP4_LENGTH, (uint16_t)(bytes - l->ip));
        put_be16(f + l->ip + IP4_CSUM, 0);
        put_be16(f + l->ip + IP4_CSUM, offload_fold(offload_sum(f + l->ip, l->l4 - l->ip, 0)));
    }
    if (!l->tcp)
        put_be16(f + l->l4 + UDP_LENGTH, (uint16_t)l4_bytes);
    put_be16(f + csum_at, 0);
    csum = offload_fold(offload_sum(f + l->l4, l4_bytes, pseudo_sum(f, l, l4_bytes)));
    put_be16(f + csum_at, csum ? csum : 0xffff);
}

/* Each segment is built in place: its headers overwrite the end of the payload
 * that was sent before, so nothing but headers is ever copied. */
static int segment(const struct net_header *h, uint8_t *frame, size_t len,
                   bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    uint8_t headers[HEADERS_MAX];
    struct layout l;
    size_t done = 0, payload;
    uint16_t id = 0;
    uint32_t seq = 0;

    if (find_layout(h, frame, len, &l) < 0)
        return -EINVAL;
    payload = len - l.payload;
    memcpy(headers, frame, l.payload);
    if (!l.v6)
        id = get_be16(headers + l.ip + IP4_ID);
    if (l.tcp)
        seq = get_be32(headers + l.l4 + TCP_SEQ);
    do {
        size_t part = min_u64(payload - done, h->gso_size);
        uint8_t *f = frame + done;

        memcpy(f, headers, l.payload);
        if (!l.v6)
            put_be16(f + l.ip + IP4_ID, id++);
        if (l.tcp) {
            put_be32(f + l.l4 + TCP_SEQ, seq + (uint32_t)done);
            if (done + part < payload)
                f[l.l4 + TCP_FLAGS] &= (uint8_t)~(FLAG_FIN | FLAG_PSH);
            if (done)
                f[l.l4 + TCP_FLAGS] &= (uint8_t)~FLAG_CWR;
        }
        finish_segment(f, &l, l.payload + part);
        if (!emit(opaque, f, l.payload + part))
            return -EIO;
        done += part;
    } while (done < payload);
    return 0;
}

int offload_finish(const struct net_header *h, uint8_t *frame, size_t len,
                   bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    unsigned need = offload_needs(h);

    if (need == ~0u)
        return -EINVAL;
    if (need & (NET_TSO4 | NET_TSO6 | NET_USO))
        return segment(h, frame, len, emit, opaque);
    if (need & NET_CSUM && fill_csum(h, frame, len) < 0)
        return -EINVAL;
    return emit(opaque, frame, len) ? 0 : -EIO;
}
