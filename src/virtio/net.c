/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c - network device (virtio 1.2, 5.1).
 *
 * Everything the driver can leave undone it may: whatever the back end does not do
 * itself is done by net_send(). Towards the guest, frames carry only what both the
 * driver and the back end agreed to.
 *
 * BUSY QUEUES COST NOTHING. Transmit: notifications are off while the queue is
 * emptied, and its buffers are given back with one interrupt at most. Receive:
 * notifications stay off until a frame finds no buffer; then the back end waits, and
 * the driver's next buffers wake it.
 *
 * Queues are receive 0, transmit 0, receive 1, ... and the control queue, whose number
 * depends on what the driver agreed to (5.1.2).
 */
#include "virtio/net.h"

#include <errno.h>
#include <stdlib.h>

#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"

enum { QUEUE_SIZE = 256, CHAIN_ROOM = 128, MERGE_MAX = 64, HEADER_BYTES = sizeof(struct net_header),
       MACS_MAX = 64, MAC_BYTES = 6, CONFIG_BYTES = 12 };
enum { PAIRS_OFFSET = 8, STATUS_OFFSET = 6, MTU_OFFSET = 10, STATUS_LINK_UP = 1 };

#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_GUEST_OFFLOADS (1ull << 2)
#define F_MTU (1ull << 3)
#define F_MAC (1ull << 5)
#define F_GUEST_TSO4 (1ull << 7)
#define F_GUEST_TSO6 (1ull << 8)
#define F_GUEST_ECN (1ull << 9)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_TSO6 (1ull << 12)
#define F_HOST_ECN (1ull << 13)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define F_CTRL_VQ (1ull << 17)
#define F_CTRL_RX (1ull << 18)
#define F_CTRL_VLAN (1ull << 19)
#define F_CTRL_RX_EXTRA (1ull << 20)
#define F_MQ (1ull << 22)
#define F_CTRL_MAC_ADDR (1ull << 23)
#define F_GUEST_USO4 (1ull << 54)
#define F_GUEST_USO6 (1ull << 55)
#define F_HOST_USO (1ull << 56)
#define GUEST_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN | \
                        F_GUEST_USO4 | F_GUEST_USO6)

/* 5.1.6.5 */
enum { CTRL_RX = 0, CTRL_MAC = 1, CTRL_VLAN = 2, CTRL_MQ = 4, CTRL_GUEST_OFFLOADS = 5 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, RX_MODES };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1, VLAN_ADD = 0, VLAN_DEL = 1, MQ_PAIRS_SET = 0,
       OFFLOADS_SET = 0 };
enum { ACK_OK = 0, ACK_ERR = 1 };

struct net_state {
    uint8_t mac[MAC_BYTES];
    uint8_t mode[RX_MODES];
    uint16_t pairs;                          /* in use */
    uint64_t guest_offloads;                 /* F_GUEST_ bits in force */
    uint16_t macs;                           /* of the table; more: all multicast, all unicast */
    uint8_t table[MACS_MAX * MAC_BYTES];
};

struct virtio_net {
    struct virtio_device vd;
    struct net_state state;
    struct net *net;
    uint8_t own_mac[MAC_BYTES];
    unsigned pairs_max;
    uint16_t mtu;
    bool link_up, quiet;                     /* quiet: quiesced */
    struct virtio_chain *tx, *rx[MERGE_MAX];
    uint64_t no_buffers, too_long, filtered, bad_control;
};

static struct virtio_net *to_net(const struct virtio_device *vd)
{
    return container_of(vd, struct virtio_net, vd);
}

static unsigned control_queue(const struct virtio_net *n)
{
    return virtio_has(&n->vd, F_MQ) ? n->pairs_max * 2 : 2;
}

/* ---- from the guest ------------------------------------------------------- */

static void transmit(struct virtio_net *n, struct virtio_queue *q)
{
    struct virtio_chain *c = n->tx;
    struct iovec *iov = c->iov;
    unsigned iovs = c->outs;
    size_t skip = HEADER_BYTES;
    struct net_header h;

    if (virtio_chain_read(c, 0, &h, sizeof h) == sizeof h) {
        for (; iovs && skip >= iov->iov_len; iov++, iovs--)
            skip -= iov->iov_len;
        if (iovs) {
            iov->iov_base = (uint8_t *)iov->iov_base + skip;
            iov->iov_len -= skip;
        }
        net_send(n->net, q->index / 2, &h, iov, iovs);
    }
    virtio_queue_push(q, c, 0);
}

static void transmit_all(struct virtio_net *n, struct virtio_queue *q)
{
    do {
        virtio_queue_kicks(q, false);
        while (virtio_queue_pop(q, n->tx))
            transmit(n, q);
    } while (virtio_queue_kicks(q, true));
    virtio_queue_signal(q);
}

/* ---- to the guest --------------------------------------------------------- */

static bool in_table(const struct net_state *s, const uint8_t *mac)
{
    for (unsigned i = 0; i < s->macs; i++)
        if (!memcmp(s->table + (size_t)i * MAC_BYTES, mac, MAC_BYTES))
            return true;
    return false;
}

static bool wanted(const struct net_state *s, const uint8_t *to)
{
    static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (s->mode[RX_PROMISC])
        return true;
    if (!memcmp(to, broadcast, MAC_BYTES))
        return !s->mode[RX_NOBCAST];
    if (to[0] & 1)
        return !s->mode[RX_NOMULTI] &&
               (s->mode[RX_ALLMULTI] || s->macs > MACS_MAX || in_table(s, to));
    return !s->mode[RX_NOUNI] && (s->mode[RX_ALLUNI] || !memcmp(to, s->mac, MAC_BYTES) ||
                                  s->macs > MACS_MAX || in_table(s, to));
}

/* Buffers for `bytes`: how many; 0: not enough there, all put back, and the driver
 * notifies when it adds to them; -1: all there may be are not enough. */
static int take_buffers(struct virtio_net *n, struct virtio_queue *q, size_t bytes)
{
    unsigned max = virtio_has(&n->vd, F_MRG_RXBUF) ? MERGE_MAX : 1, got = 0;
    size_t room = 0;

    while (room < bytes && got < max) {
        if (virtio_queue_pop(q, n->rx[got])) {
            room += n->rx[got++]->in_bytes;
            continue;
        }
        /* Asked for while those are taken, so that the event index is behind them. */
        if (!virtio_queue_kicks(q, true))
            break;
    }
    if (room >= bytes) {
        if (!q->quiet)
            virtio_queue_kicks(q, false);
        return (int)got;
    }
    for (unsigned i = got; i-- > 0;)
        virtio_queue_unpop(q, n->rx[i]);
    return got == max ? -1 : 0;
}

/* Copies header and frame over the buffers and gives those back. */
static void deliver(struct virtio_net *n, struct virtio_queue *q, struct net_header *h,
                    const struct iovec *iov, unsigned iovs, unsigned buffers)
{
    uint32_t written[MERGE_MAX] = {0};
    const struct virtio_chain *chain[MERGE_MAX];
    const struct iovec head = {h, sizeof *h};
    unsigned b = 0;

    h->num_buffers = (uint16_t)buffers;
    for (unsigned i = 0; i < iovs + 1; i++) {
        const struct iovec *from = i ? &iov[i - 1] : &head;
        size_t done = 0;

        while (done < from->iov_len) {
            size_t part = virtio_chain_write(n->rx[b], written[b],
                                             (const uint8_t *)from->iov_base + done,
                                             from->iov_len - done);
            written[b] += (uint32_t)part;
            done += part;
            if (done < from->iov_len)
                b++;
        }
    }
    for (unsigned i = 0; i < buffers; i++)
        chain[i] = n->rx[i];
    virtio_queue_push_many(q, chain, written, buffers);
    virtio_queue_signal(q);
}

static bool receive(void *opaque, unsigned queue, const struct net_header *header,
                    const struct iovec *iov, unsigned iovs)
{
    struct virtio_net *n = opaque;
    struct virtio_queue *q = &n->vd.queue[queue < n->state.pairs ? queue * 2 : 0];
    struct net_header h = header ? *header : (struct net_header){0};
    size_t bytes = net_iov_bytes(iov, iovs) + HEADER_BYTES;
    uint8_t to[MAC_BYTES];
    int buffers;

    if (n->quiet)
        return false;
    if (!virtio_live(&n->vd))
        return true;                         /* nobody there: as without a card */
    net_iov_gather(iov, iovs, to, sizeof to);
    if (!wanted(&n->state, to)) {
        n->filtered++;
        return true;
    }
    if (!virtio_has(&n->vd, F_GUEST_CSUM))
        h.flags = 0;
    buffers = take_buffers(n, q, bytes);
    if (buffers > 0)
        deliver(n, q, &h, iov, iovs, (unsigned)buffers);
    n->too_long += buffers < 0;
    n->no_buffers += !buffers;
    return buffers != 0;
}

static void link_changed(void *opaque, bool up)
{
    struct virtio_net *n = opaque;

    if (n->link_up == up)
        return;
    n->link_up = up;
    virtio_config_changed(&n->vd);
}

/* ---- control queue -------------------------------------------------------- */

/* Two lists of addresses, unicast and multicast, each with its length in front. */
static uint8_t set_mac_table(struct virtio_net *n, const struct virtio_chain *c)
{
    struct net_state *s = &n->state;
    size_t at = 2;
    uint32_t total = 0;

    for (unsigned list = 0; list < 2; list++) {
        uint8_t raw[4];
        uint32_t entries;

        if (virtio_chain_read(c, at, raw, 4) != 4)
            return ACK_ERR;
        entries = get_le32(raw);
        at += 4;
        if (entries > (c->out_bytes - at) / MAC_BYTES)
            return ACK_ERR;
        for (uint32_t i = 0; i < entries && total + i < MACS_MAX; i++)
            virtio_chain_read(c, at + (size_t)i * MAC_BYTES,
                              s->table + (size_t)(total + i) * MAC_BYTES, MAC_BYTES);
        at += (size_t)entries * MAC_BYTES;
        total += entries;
    }
    s->macs = (uint16_t)min_u64(total, MACS_MAX + 1);
    return ACK_OK;
}

static unsigned offloads_of(uint64_t f)
{
    if (!(f & F_GUEST_CSUM))
        return 0;
    return NET_CSUM | (f & F_GUEST_TSO4 ? NET_TSO4 : 0) | (f & F_GUEST_TSO6 ? NET_TSO6 : 0) |
           ((f & (F_GUEST_USO4 | F_GUEST_USO6)) == (F_GUEST_USO4 | F_GUEST_USO6) ? NET_USO : 0);
}

static uint8_t set_offloads(struct virtio_net *n, const struct virtio_chain *c)
{
    uint8_t raw[8];
    uint64_t want;

    if (!virtio_has(&n->vd, F_GUEST_OFFLOADS) || virtio_chain_read(c, 2, raw, 8) != 8)
        return ACK_ERR;
    want = get_le64(raw);
    if (want & ~(n->vd.state.driver_features & GUEST_OFFLOADS))
        return ACK_ERR;
    n->state.guest_offloads = want;
    net_set_offloads(n->net, offloads_of(want));
    return ACK_OK;
}

static uint8_t set_pairs(struct virtio_net *n, const struct virtio_chain *c)
{
    uint8_t raw[2];
    unsigned pairs;

    if (!virtio_has(&n->vd, F_MQ) || virtio_chain_read(c, 2, raw, 2) != 2)
        return ACK_ERR;
    pairs = get_le16(raw);
    if (!pairs || pairs > n->pairs_max || net_set_queues(n->net, pairs, NULL) < 0)
        return ACK_ERR;
    n->state.pairs = (uint16_t)pairs;
    return ACK_OK;
}

static uint8_t control(struct virtio_net *n, const struct virtio_chain *c)
{
    uint8_t head[2], byte, mac[MAC_BYTES];

    if (virtio_chain_read(c, 0, head, 2) != 2)
        return ACK_ERR;
    switch (head[0]) {
    case CTRL_RX:
        if (head[1] >= RX_MODES || virtio_chain_read(c, 2, &byte, 1) != 1)
            return ACK_ERR;
        n->state.mode[head[1]] = byte != 0;
        return ACK_OK;
    case CTRL_MAC:
        if (head[1] == MAC_TABLE_SET)
            return set_mac_table(n, c);
        if (head[1] != MAC_ADDR_SET || virtio_chain_read(c, 2, mac, MAC_BYTES) != MAC_BYTES)
            return ACK_ERR;
        memcpy(n->state.mac, mac, MAC_BYTES);
        return ACK_OK;
    case CTRL_VLAN:                          /* a hint: frames of all VLANs are passed on */
        return head[1] <= VLAN_DEL ? ACK_OK : ACK_ERR;
    case CTRL_MQ:
        return head[1] == MQ_PAIRS_SET ? set_pairs(n, c) : ACK_ERR;
    case CTRL_GUEST_OFFLOADS:
        return head[1] == OFFLOADS_SET ? set_offloads(n, c) : ACK_ERR;
    default:
        return ACK_ERR;
    }
}

static void control_all(struct virtio_net *n, struct virtio_queue *q)
{
    while (virtio_queue_pop(q, n->tx)) {
        uint8_t ack = control(n, n->tx);

        n->bad_control += ack != ACK_OK;
        virtio_queue_push(q, n->tx, (uint32_t)virtio_chain_write(n->tx, 0, &ack, 1));
    }
    virtio_queue_signal(q);
}

/* ---- the device ----------------------------------------------------------- */

static void net_notify(struct virtio_device *vd, struct virtio_queue *q)
{
    struct virtio_net *n = to_net(vd);

    if (q->index == control_queue(n) && virtio_has(vd, F_CTRL_VQ)) {
        control_all(n, q);
    } else if (q->index < n->pairs_max * 2 && q->index & 1) {
        transmit_all(n, q);
    } else if (q->index < n->pairs_max * 2) {
        virtio_queue_kicks(q, false);
        net_receive_ready(n->net, q->index / 2);
    }
}

static void net_config_read(struct virtio_device *vd, unsigned offset, void *buf, unsigned len)
{
    const struct virtio_net *n = to_net(vd);
    uint8_t config[CONFIG_BYTES] = {0};

    memcpy(config, n->state.mac, MAC_BYTES);
    put_le16(config + STATUS_OFFSET, n->link_up ? STATUS_LINK_UP : 0);
    put_le16(config + PAIRS_OFFSET, (uint16_t)n->pairs_max);
    put_le16(config + MTU_OFFSET, n->mtu);
    memcpy(buf, config + offset, len);
}

/* What follows from the state. */
static void apply(struct virtio_net *n)
{
    net_set_offloads(n->net, offloads_of(n->state.guest_offloads));
    net_set_queues(n->net, n->state.pairs, NULL);
    for (unsigned i = 0; i < n->state.pairs; i++)
        net_receive_ready(n->net, i);
}

static void net_activate(struct virtio_device *vd)
{
    struct virtio_net *n = to_net(vd);

    n->state.guest_offloads = vd->state.driver_features & GUEST_OFFLOADS;
    for (unsigned i = 0; i < n->pairs_max; i++)
        virtio_queue_kicks(&vd->queue[i * 2], false);
    apply(n);
}

static void power_on(struct virtio_net *n)
{
    n->state = (struct net_state){.pairs = 1};
    memcpy(n->state.mac, n->own_mac, MAC_BYTES);
    /* Drivers that know nothing of filters must see everything (5.1.6.5.1). */
    n->state.mode[RX_PROMISC] = 1;
}

static void net_reset(struct virtio_device *vd)
{
    struct virtio_net *n = to_net(vd);

    power_on(n);
    apply(n);
}

static void net_quiesce(struct virtio_device *vd)
{
    to_net(vd)->quiet = true;
}

/* A loaded state may be anything. */
static void net_resume(struct virtio_device *vd)
{
    struct virtio_net *n = to_net(vd);

    if (!n->state.pairs || n->state.pairs > n->pairs_max)
        n->state.pairs = 1;
    if (n->state.macs > MACS_MAX)
        n->state.macs = MACS_MAX + 1;
    n->state.guest_offloads &= GUEST_OFFLOADS;
    n->quiet = false;
    apply(n);
}

static void net_describe_text(struct virtio_device *vd, struct strbuf *out)
{
    const struct virtio_net *n = to_net(vd);
    const uint8_t *m = n->state.mac;

    strbuf_addf(out, "  %s, %02x:%02x:%02x:%02x:%02x:%02x, link %s, %u of %u queue pairs\n",
                n->net->ops->name, m[0], m[1], m[2], m[3], m[4], m[5], n->link_up ? "up" : "down",
                n->state.pairs, n->pairs_max);
    strbuf_addf(out, "  waited for buffers %llu times; %llu frames filtered, %llu too long; "
                "%llu commands refused\n", (unsigned long long)n->no_buffers,
                (unsigned long long)n->filtered, (unsigned long long)n->too_long,
                (unsigned long long)n->bad_control);
    net_describe(n->net, out);
}

static void net_destroy(struct virtio_device *vd)
{
    struct virtio_net *n = to_net(vd);

    net_close(n->net);
    free(n->tx);
    for (unsigned i = 0; i < MERGE_MAX; i++)
        free(n->rx[i]);
    free(n);
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct net_state, mac),
    STATE_U8_ARRAY(struct net_state, mode),
    STATE_U16(struct net_state, pairs),
    STATE_U64(struct net_state, guest_offloads),
    STATE_U16(struct net_state, macs),
    STATE_U8_ARRAY(struct net_state, table),
    STATE_END
};
static const struct state_desc desc = {"net", 1, fields};

static const struct virtio_ops net_ops = {
    .type = "virtio-net",
    .id = VIRTIO_ID_NET,
    .pci_class = 0x020000,
    .config_read = net_config_read,
    .activate = net_activate,
    .notify = net_notify,
    .reset = net_reset,
    .quiesce = net_quiesce,
    .resume = net_resume,
    .describe = net_describe_text,
    .destroy = net_destroy,
    .state = &desc,
    .state_offset = offsetof(struct virtio_net, state),
};

struct net *virtio_net_backend(const struct virtio_device *vd)
{
    return vd->ops == &net_ops ? to_net(vd)->net : NULL;
}

static uint64_t offered(const struct virtio_net *n)
{
    unsigned gives = net_set_offloads(n->net, NET_CSUM | NET_TSO4 | NET_TSO6 | NET_USO);
    uint64_t f = F_CSUM | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_HOST_USO | F_GUEST_CSUM |
                 F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA |
                 F_CTRL_VLAN | F_CTRL_MAC_ADDR;

    net_set_offloads(n->net, 0);
    if (gives)
        f |= F_GUEST_OFFLOADS | F_GUEST_ECN;
    f |= gives & NET_TSO4 ? F_GUEST_TSO4 : 0;
    f |= gives & NET_TSO6 ? F_GUEST_TSO6 : 0;
    f |= gives & NET_USO ? F_GUEST_USO4 | F_GUEST_USO6 : 0;
    f |= n->mtu ? F_MTU : 0;
    f |= n->pairs_max > 1 ? F_MQ : 0;
    return f;
}

struct virtio_device *virtio_net_new(const struct device_env *env,
                                     const struct virtio_net_config *cfg, struct error **err)
{
    const struct net_up up = {receive, link_changed, NULL};
    struct net_up mine = up;
    struct virtio_net *n;

    if (net_set_queues(cfg->net, cfg->queues, err) < 0) {
        net_close(cfg->net);
        return NULL;
    }
    n = calloc(1, sizeof *n);
    if (!n) {
        error_set(err, ENOMEM, "no memory for network card '%s'", cfg->name);
        net_close(cfg->net);
        return NULL;
    }
    n->net = cfg->net;
    n->pairs_max = cfg->queues;
    n->mtu = cfg->mtu;
    n->link_up = !cfg->net->link_down;
    memcpy(n->own_mac, cfg->mac, MAC_BYTES);
    n->tx = virtio_chain_new(CHAIN_ROOM);
    for (unsigned i = 0; i < MERGE_MAX; i++)
        n->rx[i] = virtio_chain_new(CHAIN_ROOM);
    power_on(n);
    virtio_device_init(&n->vd, &net_ops, env, cfg->name, offered(n), CONFIG_BYTES,
                       cfg->queues * 2 + 1, QUEUE_SIZE);
    net_set_queues(n->net, 1, NULL);
    mine.opaque = n;
    net_attach(n->net, &mine);
    return &n->vd;
}
