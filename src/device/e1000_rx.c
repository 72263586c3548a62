/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e1000_rx.c - filters and the receive ring (3.2).
 *
 * A frame for which there are not descriptors enough waits in the back end until the
 * driver moves the tail: nothing is lost, as if the wire were patient.
 */
#include "device/e1000_priv.h"

#include <string.h>

#include "base/barrier.h"
#include "base/byteorder.h"
#include "memory/memory.h"

enum { RX_DD = 1, RX_EOP = 2, RX_IXSM = 4, RX_VP = 8, RX_TCPCS = 0x20, RX_IPCS = 0x40 };
enum { RXCSUM_IPOFLD = 1 << 8, RXCSUM_TUOFLD = 1 << 9 };
enum { FCS_BYTES = 4, STANDARD_MAX = 1522 - FCS_BYTES, RA_VALID = (int)(1u << 31) };

static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* ---- filters (3.2.1, 13.5) ---- */

static bool exact(struct e1000 *e, const uint8_t *to)
{
    for (unsigned at = RA; at < RA_END; at += 8) {
        uint32_t high = *e1000_reg(e, at + 4);

        if (high & (uint32_t)RA_VALID && get_le32(to) == *e1000_reg(e, at) &&
            get_le16(to + 4) == (uint16_t)high)
            return true;
    }
    return false;
}

static bool hashed(struct e1000 *e, const uint8_t *to)
{
    static const uint8_t shift[] = {4, 3, 2, 0};
    uint32_t rctl = *e1000_reg(e, RCTL);
    unsigned bit = get_le16(to + 4) >> shift[rctl >> RCTL_MO_SHIFT & 3] & 0xfff;

    return *e1000_reg(e, MTA + bit / 32 * 4) >> (bit & 31) & 1;
}

static bool vlan_wanted(struct e1000 *e, const uint8_t *f, size_t len)
{
    uint16_t id;

    if (!(*e1000_reg(e, RCTL) & RCTL_VFE) || len < 18 ||
        get_be16(f + 12) != (uint16_t)*e1000_reg(e, VET))
        return true;
    id = get_be16(f + 14) & 0xfff;
    return *e1000_reg(e, VFTA + id / 32 * 4) >> (id & 31) & 1;
}

static bool wanted(struct e1000 *e, const uint8_t *f, size_t len)
{
    uint32_t rctl = *e1000_reg(e, RCTL);

    if (!vlan_wanted(e, f, len))
        return false;
    if (!memcmp(f, broadcast, MAC_BYTES))
        return rctl & (RCTL_BAM | RCTL_MPE) || exact(e, f);
    if (f[0] & 1)
        return rctl & RCTL_MPE || exact(e, f) || hashed(e, f);
    return rctl & RCTL_UPE || exact(e, f);
}

/* ---- the ring ---- */

struct incoming {
    uint8_t head[64];                /* the beginning, for filters */
    const struct iovec *iov;
    unsigned iovs;
    size_t bytes, padded;            /* padded: as it is on the wire, with FCS if asked for */
    uint16_t tag;
    bool tagged, checked;
};

static uint32_t buffer_bytes(uint32_t rctl)
{
    unsigned n = rctl >> RCTL_BSIZE_SHIFT & 3;

    return rctl & RCTL_BSEX && n ? 32768u >> n : 2048u >> n;
}

/* Copies [offset, offset + len) of the frame, behind the tag that was taken out;
 * what is behind the frame's end is padding. False: not in memory. */
static bool copy(struct e1000 *e, const struct incoming *in, size_t offset, uint64_t to,
                 size_t len)
{
    static const uint8_t zero[FRAME_MIN + FCS_BYTES];
    size_t at = 0;

    for (unsigned i = 0; i < in->iovs && len; i++) {
        const uint8_t *base = in->iov[i].iov_base;
        size_t end = at + in->iov[i].iov_len;

        if (offset < end) {
            size_t part = min_u64(end - offset, len);

            if (memory_write(e->memory, gpa(to), base + (offset - at), part) < 0)
                return false;
            offset += part;
            to += part;
            len -= part;
        }
        at = end;
    }
    return !len || memory_write(e->memory, gpa(to), zero, min_u64(len, sizeof zero)) == 0;
}

static uint8_t frame_status(struct e1000 *e, const struct incoming *in)
{
    uint32_t on = *e1000_reg(e, RXCSUM);
    uint8_t status = in->tagged ? RX_VP : 0, proto = in->head[23];
    bool ip4 = get_be16(in->head + 12) == 0x0800 && (in->head[14] & 15) == 5;

    if (!in->checked || !ip4 || in->tagged || !(on & (RXCSUM_IPOFLD | RXCSUM_TUOFLD)))
        return status | RX_IXSM;
    return status | (on & RXCSUM_IPOFLD ? RX_IPCS : 0) |
           (on & RXCSUM_TUOFLD && (proto == 6 || proto == 17) ? RX_TCPCS : 0);
}

/* Writes one descriptor's worth; returns the bytes it took, 0 for a bad descriptor. */
static size_t fill(struct e1000 *e, const struct incoming *in, size_t done, uint64_t ring)
{
    uint64_t at = ring + (uint64_t)*e1000_reg(e, RDH) * DESCRIPTOR_BYTES;
    size_t part = min_u64(in->padded - done, buffer_bytes(*e1000_reg(e, RCTL)));
    uint8_t d[DESCRIPTOR_BYTES], status = RX_DD;

    if (memory_read(e->memory, gpa(at), d, sizeof d) < 0 ||
        !copy(e, in, done, get_le64(d), part)) {
        e->bad_descriptors++;
        log_guest(e->log, &e->limit, "%s: a receive buffer is not in memory", e->dev.name);
        part = 0;
    }
    if (!part || done + part == in->padded)
        status |= (uint8_t)(RX_EOP | frame_status(e, in));
    put_le16(d + 8, (uint16_t)part);
    put_le16(d + 10, 0);
    d[13] = 0;
    put_le16(d + 14, in->tagged ? in->tag : 0);
    d[12] = 0;
    memory_write(e->memory, gpa(at), d, sizeof d);
    /* The driver looks at this byte; all else must be there before. */
    barrier_stores();
    memory_write(e->memory, gpa(at + 12), &status, 1);
    return part;
}

static uint32_t free_descriptors(struct e1000 *e, uint32_t entries)
{
    return (*e1000_reg(e, RDT) + entries - *e1000_reg(e, RDH)) % entries;
}

static void deliver(struct e1000 *e, const struct incoming *in, uint32_t entries)
{
    uint64_t ring = e1000_ring(e, RDBAL, RDBAH);
    uint32_t *head = e1000_reg(e, RDH), rctl = *e1000_reg(e, RCTL), causes = ICR_RXT0;

    for (size_t done = 0, part; done < in->padded; done += part) {
        part = fill(e, in, done, ring);
        *head = *head + 1 == entries ? 0 : *head + 1;
        if (!part)
            break;
    }
    if (free_descriptors(e, entries) <= entries >> ((rctl >> RCTL_RDMTS_SHIFT & 3) + 1))
        causes |= ICR_RXDMT0;
    ++*e1000_reg(e, GPRC);
    ++*e1000_reg(e, TPR);
    e1000_raise(e, causes);
}

/* With VME, tags are taken out of frames (9.2); `flat` has room for them. */
static void take_tag(struct e1000 *e, struct incoming *in, struct iovec *flat, uint8_t *room)
{
    if (!(*e1000_reg(e, CTRL) & CTRL_VME) || in->bytes < 18 || in->bytes > FRAME_MAX ||
        get_be16(in->head + 12) != (uint16_t)*e1000_reg(e, VET))
        return;
    in->tagged = true;
    in->tag = get_be16(in->head + 14);
    net_iov_gather(in->iov, in->iovs, room, in->bytes);
    memmove(room + 12, room + 12 + TAG_BYTES, in->bytes - 12 - TAG_BYTES);
    in->bytes -= TAG_BYTES;
    *flat = (struct iovec){room, in->bytes};
    in->iov = flat;
    in->iovs = 1;
}

bool e1000_receive(void *opaque, unsigned queue, const struct net_header *h,
                   const struct iovec *iov, unsigned iovs)
{
    struct e1000 *e = opaque;
    uint32_t entries = *e1000_reg(e, RDLEN) / DESCRIPTOR_BYTES, rctl = *e1000_reg(e, RCTL), need;
    struct incoming in = {.iov = iov, .iovs = iovs, .bytes = net_iov_bytes(iov, iovs),
                          .checked = h && h->flags & NET_DATA_VALID};
    uint8_t room[FRAME_MAX];
    struct iovec flat;

    if (!(rctl & RCTL_EN) || !e1000_may_dma(e) || !entries || *e1000_reg(e, RDH) >= entries ||
        *e1000_reg(e, RDT) >= entries)
        return true;                         /* nobody listens */
    net_iov_gather(iov, iovs, in.head, sizeof in.head);
    if (in.bytes > (rctl & RCTL_LPE ? FRAME_MAX - FCS_BYTES : STANDARD_MAX) ||
        !wanted(e, in.head, in.bytes)) {
        e->filtered++;
        return true;
    }
    take_tag(e, &in, &flat, room);
    in.padded = max_u64(in.bytes, FRAME_MIN) + (rctl & RCTL_SECRC ? 0 : FCS_BYTES);
    need = (uint32_t)((in.padded + buffer_bytes(rctl) - 1) / buffer_bytes(rctl));
    if (need >= entries) {
        ++*e1000_reg(e, MPC);
        return true;                         /* it never will fit */
    }
    if (free_descriptors(e, entries) < need)
        return false;
    deliver(e, &in, entries);
    return true;
}
