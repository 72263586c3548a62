/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e1000_tx.c - the transmit ring (3.3, 3.4, 3.5).
 *
 * Descriptors are gathered into one buffer until one says that the frame is whole; when
 * the rest is not there yet, none is taken. Checksums and segmentation become a header
 * for net_send(), which knows who does them. One pass over the ring takes no more
 * descriptors than there are between head and tail.
 */
#include "device/e1000_priv.h"

#include <string.h>

#include "base/byteorder.h"
#include "memory/memory.h"
#include "net/offload.h"

/* DCMD and TUCMD. */
enum { CMD_EOP = 1, CMD_IC = 4, CMD_TSE = 4, CMD_RS = 8, CMD_DEXT = 0x20, CMD_VLE = 0x40 };
enum { TUCMD_TCP = 1, TUCMD_IP4 = 2 };
enum { POPTS_IXSM = 1, POPTS_TXSM = 2, STATUS_DD = 1, DTYP_CONTEXT = 0 };
enum { PROTO_TCP = 6, PROTO_UDP = 17 };

static void take_context(struct e1000 *e, const uint8_t *d)
{
    uint32_t length = get_le32(d + 8);

    e->state.context = (struct e1000_context){
        .ip_start = d[0], .ip_at = d[1], .ip_end = get_le16(d + 2), .tu_start = d[4],
        .tu_at = d[5], .tu_end = get_le16(d + 6), .payload_bytes = length & 0xfffff,
        .command = (uint8_t)(length >> 24), .header_bytes = d[13], .mss = get_le16(d + 14),
    };
}

static void bad(struct e1000 *e, const char *what)
{
    e->bad_descriptors++;
    log_guest(e->log, &e->limit, "%s: %s: the frame is dropped", e->dev.name, what);
}

/* Appends a buffer to the frame. */
static void gather(struct e1000 *e, uint64_t at, uint32_t len)
{
    struct e1000_frame *s = &e->sent;

    if (s->broken || !len)
        return;
    if (len > NET_FRAME_MAX - s->bytes) {
        s->broken = true;
        bad(e, "a frame of more than 64 KiB");
    } else if (memory_read(e->memory, gpa(at), e->frame + s->bytes, len) < 0) {
        s->broken = true;
        bad(e, "a transmit buffer is not in memory");
    } else {
        s->bytes += len;
    }
}

/* A sum over [start, end] put at `at`, as the card does it: the field's own contents
 * count, drivers put the pseudo header's sum there. end 0: to the end. */
static void fill_sum(uint8_t *f, size_t len, size_t start, size_t at, size_t end)
{
    if (end && end + 1 < len)
        len = end + 1;
    if (start < len && at + 2 <= len)
        put_be16(f + at, offload_fold(offload_sum(f + start, len - start, 0)));
}

/* The card makes lengths and sums for each segment out of the context alone, and drivers
 * leave zeroes there; others expect what stands for the whole. False: no such headers. */
static bool complete_headers(struct e1000 *e, size_t len)
{
    const struct e1000_context *c = &e->state.context;
    uint8_t *f = e->frame, *ip = f + c->ip_start;
    bool v4 = c->command & TUCMD_IP4;
    size_t l4 = c->tu_start, l4_bytes;
    uint32_t sum;

    if (c->ip_start + (v4 ? 20u : 40u) > l4 || l4 + 8 > len || c->tu_at + 2u > len ||
        c->header_bytes > len || len - c->ip_start > UINT16_MAX)
        return false;
    l4_bytes = len - l4;
    sum = (uint32_t)l4_bytes + (c->command & TUCMD_TCP ? PROTO_TCP : PROTO_UDP);
    if (v4) {
        put_be16(ip + 2, (uint16_t)(len - c->ip_start));
        put_be16(ip + 10, 0);
        put_be16(ip + 10, offload_fold(offload_sum(ip, l4 - c->ip_start, 0)));
        sum = offload_sum(ip + 12, 8, sum);
    } else {
        put_be16(ip + 4, (uint16_t)(len - c->ip_start - 40));
        sum = offload_sum(ip + 8, 32, sum);
    }
    put_be16(f + c->tu_at, (uint16_t)~offload_fold(sum));
    return true;
}

/* What is left to do of the frame; false: it makes no sense. */
static bool frame_header(struct e1000 *e, struct net_header *h, size_t len)
{
    const struct e1000_context *c = &e->state.context;
    unsigned options = e->sent.options;

    *h = (struct net_header){0};
    if (e->sent.command & CMD_TSE) {
        if (!c->mss || !complete_headers(e, len))
            return false;
        h->gso_size = c->mss;
        h->hdr_len = c->header_bytes;
        h->gso_type = !(c->command & TUCMD_TCP) ? NET_GSO_UDP_L4
                      : c->command & TUCMD_IP4 ? NET_GSO_TCPV4
                                               : NET_GSO_TCPV6;
        options |= POPTS_TXSM;
    } else if (options & POPTS_IXSM) {
        fill_sum(e->frame, len, c->ip_start, c->ip_at, c->ip_end);
    }
    if (options & POPTS_TXSM && c->tu_at >= c->tu_start && (h->gso_type || !c->tu_end)) {
        h->flags = NET_NEEDS_CSUM;
        h->csum_start = c->tu_start;
        h->csum_offset = (uint16_t)(c->tu_at - c->tu_start);
    } else if (options & POPTS_TXSM) {
        fill_sum(e->frame, len, c->tu_start, c->tu_at, c->tu_end);
    }
    return true;
}

static size_t insert_tag(struct e1000 *e, struct net_header *h, size_t len)
{
    uint8_t *f = e->frame;

    if (!(e->sent.command & CMD_VLE) || !(*e1000_reg(e, CTRL) & CTRL_VME) ||
        len < 2 * MAC_BYTES)
        return len;
    memmove(f + 2 * MAC_BYTES + TAG_BYTES, f + 2 * MAC_BYTES, len - 2 * MAC_BYTES);
    put_be16(f + 2 * MAC_BYTES, (uint16_t)*e1000_reg(e, VET));
    put_be16(f + 2 * MAC_BYTES + 2, e->sent.special);
    if (h->flags)
        h->csum_start = (uint16_t)(h->csum_start + TAG_BYTES);
    return len + TAG_BYTES;
}

static void send_frame(struct e1000 *e)
{
    size_t len = e->sent.bytes;
    struct net_header h;

    if (e->sent.broken)
        return;
    if (!frame_header(e, &h, len)) {
        bad(e, "a context that does not fit its frame");
        return;
    }
    len = insert_tag(e, &h, len);
    if (len < FRAME_MIN && *e1000_reg(e, TCTL) & TCTL_PSP) {
        memset(e->frame + len, 0, FRAME_MIN - len);
        len = FRAME_MIN;
    }
    const struct iovec iov = {e->frame, len};
    if (!h.gso_type && len > FRAME_MAX) {
        bad(e, "a frame longer than the card can send");
        return;
    }
    net_send(e->net, 0, h.flags || h.gso_type ? &h : NULL, &iov, 1);
    ++*e1000_reg(e, GPTC);
    ++*e1000_reg(e, TPT);
}

/* Legacy descriptors carry their own checksum request (3.3.3). */
static void legacy_sum(struct e1000 *e, const uint8_t *d)
{
    if (d[11] & CMD_IC && !e->sent.broken)
        fill_sum(e->frame, e->sent.bytes, d[13], d[10], 0);
}

/* True: that was the end of a frame. */
static bool take_data(struct e1000 *e, const uint8_t *d, bool first)
{
    uint32_t word = get_le32(d + 8);
    uint8_t command = (uint8_t)(word >> 24);
    bool extended = command & CMD_DEXT;

    if (first) {
        /* Bit 2 is TSE in data descriptors, IC in legacy ones. */
        e->sent = (struct e1000_frame){.command = extended ? command : 0,
                                       .options = extended ? d[13] : 0};
    }
    gather(e, get_le64(d), extended ? word & 0xfffff : word & 0xffff);
    if (!(command & CMD_EOP))
        return false;
    if (!extended)
        legacy_sum(e, d);
    e->sent.command = (uint8_t)((e->sent.command & ~CMD_VLE) | (command & CMD_VLE));
    e->sent.special = get_le16(d + 14);
    send_frame(e);
    return true;
}

struct ring { uint64_t base; uint32_t head, tail, entries; };

static uint64_t descriptor(const struct ring *r, uint32_t n)
{
    return r->base + (uint64_t)((r->head + n) % r->entries) * DESCRIPTOR_BYTES;
}

/* Takes a context or a whole frame: how many descriptors that was. 0: the rest of the
 * frame is not there yet. */
static uint32_t take_unit(struct e1000 *e, const struct ring *r)
{
    uint32_t there = (r->tail + r->entries - r->head) % r->entries;
    uint8_t d[DESCRIPTOR_BYTES];

    for (uint32_t n = 0; n < there; n++) {
        if (memory_read(e->memory, gpa(descriptor(r, n)), d, sizeof d) < 0) {
            bad(e, "the transmit ring is not in memory");
            return n + 1;
        }
        if (d[11] & CMD_DEXT && (d[10] >> 4) == DTYP_CONTEXT) {
            take_context(e, d);
            if (!n)
                return 1;
        } else if (take_data(e, d, !n)) {
            return n + 1;
        }
    }
    if (there < r->entries - 1)
        return 0;
    bad(e, "a frame that fills the ring");
    return there;
}

/* Says that they are done to those descriptors that want to know. */
static uint32_t write_back(struct e1000 *e, const struct ring *r, uint32_t count)
{
    uint32_t causes = 0;

    for (uint32_t n = 0; n < count; n++) {
        uint64_t at = descriptor(r, n);
        uint8_t tail[2];                     /* the command, and the status behind it */

        if (memory_read(e->memory, gpa(at + 11), tail, sizeof tail) < 0 || !(tail[0] & CMD_RS))
            continue;
        tail[1] |= STATUS_DD;
        memory_write(e->memory, gpa(at + 12), &tail[1], 1);
        causes |= ICR_TXDW;
    }
    return causes;
}

void e1000_transmit(struct e1000 *e)
{
    struct ring r = {e1000_ring(e, TDBAL, TDBAH), *e1000_reg(e, TDH), *e1000_reg(e, TDT),
                     *e1000_reg(e, TDLEN) / DESCRIPTOR_BYTES};
    uint32_t causes = ICR_TXQE, n;

    if (!(*e1000_reg(e, TCTL) & TCTL_EN) || !e1000_may_dma(e) || !r.entries ||
        r.head >= r.entries || r.tail >= r.entries || r.head == r.tail)
        return;
    while (r.head != r.tail && (n = take_unit(e, &r)) > 0) {
        causes |= write_back(e, &r, n);
        r.head = (r.head + n) % r.entries;
    }
    *e1000_reg(e, TDH) = r.head;
    e1000_raise(e, causes);
}
