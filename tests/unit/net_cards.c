/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_cards.c - the rings of virtio-net and of the e1000, by drivers made by hand: good
 * ones, and ones that write whatever they like.
 */
#include "device/e1000.h"
#include "net/offload.h"
#include "virtio/net.h"
#include "virtio_fixture.h"

enum { SENT_MAX = 64 };

/* The other end of the cable: keeps what it is sent. */
struct cable {
    struct net net;
    unsigned sent, offloads, ready;
    size_t len[SENT_MAX];
    uint8_t frame[SENT_MAX][2048];
};

static bool cable_send(struct net *n, unsigned queue, const struct net_header *h,
                       const struct iovec *iov, unsigned iovs)
{
    struct cable *c = container_of(n, struct cable, net);
    unsigned at = c->sent++ % SENT_MAX;

    c->len[at] = net_iov_bytes(iov, iovs);
    net_iov_gather(iov, iovs, c->frame[at], sizeof c->frame[at]);
    return true;
}

static unsigned cable_offloads(struct net *n, unsigned offloads)
{
    return container_of(n, struct cable, net)->offloads = offloads;
}

static void cable_ready(struct net *n, unsigned queue)
{
    container_of(n, struct cable, net)->ready++;
}

static void cable_close(struct net *n)
{
}

static const struct net_ops cable_ops = {.name = "cable", .send = cable_send,
                                         .set_offloads = cable_offloads,
                                         .receive_ready = cable_ready, .close = cable_close};

/* ---- virtio ---------------------------------------------------------------- */

#define F_GUEST_CSUM 2ull
#define F_MRG (1ull << 15)
#define F_CTRL_VQ (1ull << 17)
#define F_CTRL_RX (1ull << 18)
enum { HEADER = 12 };

struct vnet { struct rig rig; struct cable cable; };

static void vnet_init(struct vnet *v)
{
    struct virtio_net_config cfg = {.name = "net0", .mac = {0x52, 0x54, 0, 1, 2, 3}, .queues = 1,
                                    .net = &v->cable.net};

    memset(v, 0, sizeof *v);
    rig_init(&v->rig);
    virtio_device_destroy(v->rig.vd);
    v->cable.net.ops = &cable_ops;
    v->rig.vd = virtio_net_new(&v->rig.env, &cfg, NULL);
    assert_non_null(v->rig.vd);
    v->rig.vd->transport = (struct virtio_transport){rig_interrupt, &v->rig};
}

static void vnet_fini(struct vnet *v)
{
    rig_fini(&v->rig);
}

/* The fixture drives one queue: this makes it queue `n`. */
static void vnet_start(struct vnet *v, unsigned n, uint64_t features)
{
    rig_start(&v->rig, features, 64);
    if (!n)
        return;
    virtio_queue_set_ready(v->rig.q, false);
    v->rig.q = virtio_queue_of(v->rig.vd, n);
    virtio_queue_set_size(v->rig.q, 64);
    v->rig.q->state->descriptors = DESC;
    v->rig.q->state->driver = DRIVER;
    v->rig.q->state->device = DEVICE;
    virtio_queue_set_ready(v->rig.q, true);
}

static bool vnet_receive(struct vnet *v, const void *frame, size_t len)
{
    const struct iovec iov = {(void *)(uintptr_t)frame, len};

    return net_receive(&v->cable.net, 0, NULL, &iov, 1);
}

static void test_virtio_receive(void **state)
{
    static uint8_t frame[3000];
    struct vnet v;

    for (unsigned i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)(i * 7);
    vnet_init(&v);
    vnet_start(&v, 0, F_MRG);
    /* Nothing there: wait; the driver's notification wakes the back end. */
    assert_false(vnet_receive(&v, frame, 1000));
    for (uint16_t i = 0; i < 2; i++) {
        put_descriptor(&v.rig, DESC, i, DATA + 0x1000 * i, 1024, D_WRITE, 0);
        offer(&v.rig, i);
    }
    unsigned before = v.cable.ready;
    virtio_kick(v.rig.vd, 0);
    assert_int_equal(v.cable.ready, before + 1);
    /* Two buffers are not enough for 3000 bytes, and none is taken. */
    assert_false(vnet_receive(&v, frame, sizeof frame));
    assert_int_equal(get_le16(ram(&v.rig, DEVICE + 2)), 0);
    put_descriptor(&v.rig, DESC, 2, DATA + 0x2000, 1024, D_WRITE, 0);
    offer(&v.rig, 2);
    assert_true(vnet_receive(&v, frame, sizeof frame));
    assert_int_equal(get_le16(ram(&v.rig, DEVICE + 2)), 3);
    assert_int_equal(get_le16(ram(&v.rig, DATA + 10)), 3);       /* num_buffers */
    assert_memory_equal(ram(&v.rig, DATA + HEADER), frame, 1024 - HEADER);
    assert_memory_equal(ram(&v.rig, DATA + 0x1000), frame + 1012, 1024);
    assert_memory_equal(ram(&v.rig, DATA + 0x2000), frame + 2036, 3000 - 2036);
    assert_int_equal(get_le32(ram(&v.rig, DEVICE + 4 + 4)), 1024);
    assert_int_equal(get_le32(ram(&v.rig, DEVICE + 4 + 16 + 4)), 3000 - 2036);
    assert_int_equal(v.rig.interrupts, 1);
    vnet_fini(&v);
}

static void test_virtio_transmit(void **state)
{
    struct net_header h = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
    struct vnet v;
    uint8_t *f;

    vnet_init(&v);
    vnet_start(&v, 1, 1);
    f = ram(&v.rig, DATA);
    memcpy(f, &h, HEADER);
    for (unsigned i = 0; i < 100; i++)
        f[HEADER + i] = (uint8_t)i;
    uint16_t want = offload_fold(offload_sum(f + HEADER + 34, 66, 0));
    /* Header and frame cut where nobody expects it. */
    put_descriptor(&v.rig, DESC, 0, DATA, 5, D_NEXT, 1);
    put_descriptor(&v.rig, DESC, 1, DATA + 5, 20, D_NEXT, 2);
    put_descriptor(&v.rig, DESC, 2, DATA + 25, 87, 0, 0);
    offer(&v.rig, 0);
    virtio_kick(v.rig.vd, 1);
    assert_int_equal(v.cable.sent, 1);
    assert_int_equal(v.cable.len[0], 100);
    assert_int_equal(get_be16(v.cable.frame[0] + 40), want);
    assert_int_equal(v.cable.frame[0][99], 99);
    assert_int_equal(get_le16(ram(&v.rig, DEVICE + 2)), 1);
    /* Shorter than a header: given back, nothing sent. */
    put_descriptor(&v.rig, DESC, 3, DATA, 11, 0, 0);
    offer(&v.rig, 3);
    virtio_kick(v.rig.vd, 1);
    assert_int_equal(v.cable.sent, 1);
    assert_int_equal(get_le16(ram(&v.rig, DEVICE + 2)), 2);
    vnet_fini(&v);
}

static uint8_t command(struct vnet *v, const void *bytes, unsigned len)
{
    uint16_t slot = (uint16_t)(v->rig.next * 2 % 64);

    memcpy(ram(&v->rig, DATA), bytes, len);
    *ram(&v->rig, DATA + 0x1000) = 99;
    put_descriptor(&v->rig, DESC, slot, DATA, len, D_NEXT, (uint16_t)(slot + 1));
    put_descriptor(&v->rig, DESC, slot + 1u, DATA + 0x1000, 1, D_WRITE, 0);
    offer(&v->rig, slot);
    virtio_kick(v->rig.vd, 2);
    return *ram(&v->rig, DATA + 0x1000);
}

static void test_virtio_control(void **state)
{
    uint8_t mac[6];
    struct vnet v;

    vnet_init(&v);
    vnet_start(&v, 2, F_CTRL_VQ | F_CTRL_RX | F_GUEST_CSUM);
    assert_int_equal(v.cable.offloads, NET_CSUM);
    assert_int_equal(command(&v, "\0\0\0", 3), 0);               /* promiscuous off */
    assert_true(vnet_receive(&v, "\x52\x54\0\x09\x09\x09------------", 18));      /* filtered */
    assert_int_equal(command(&v, "\0\x06\1", 3), 1);             /* no such mode */
    assert_int_equal(command(&v, "\1\1\x52\x54\0\7\7\7", 8), 0);
    virtio_config_access(v.rig.vd, 0, mac, 6, false);
    assert_memory_equal(mac, "\x52\x54\0\7\7\7", 6);
    assert_int_equal(command(&v, "\1\0\1\0\0\0\x52\x54\0\1\1\1\0\0\0\0", 16), 0);
    assert_int_equal(command(&v, "\1\0\xff\xff\xff\xff\x52\x54\0\1\1\1\0\0\0\0", 16), 1);
    assert_int_equal(command(&v, "\1\0\1\0\0\0\x52\x54\0\1\1\1", 12), 1);
    assert_int_equal(command(&v, "\2\0\5\0", 4), 0);             /* VLAN filter */
    assert_int_equal(command(&v, "\4\0\2\0", 4), 1);             /* pairs: not agreed */
    assert_int_equal(command(&v, "\x77\0", 2), 1);
    assert_int_equal(command(&v, "\0", 1), 1);
    vnet_fini(&v);
}

/* Random rings in random memory on all queues: it may break the device, nothing else. */
static void test_virtio_noise(void **state)
{
    static uint8_t frame[9000];
    uint64_t s = 4711;
    unsigned broken = 0;
    struct vnet v;

    vnet_init(&v);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned n = (unsigned)(unit_random(&s) % 3);

        vnet_start(&v, n, (unit_random(&s) & v.rig.vd->features & ~VIRTIO_F_PACKED) |
                              (n == 2 ? F_CTRL_VQ : 0));
        for (unsigned i = 0; i < 64; i++) {
            uint64_t x = unit_random(&s);
            put_descriptor(&v.rig, DESC, i, x % 64 ? DATA + x % 0x60000 : x,
                           (uint32_t)(x >> 20 & (x >> 60 ? 0x7ff : 0xffffff)),
                           (uint16_t)(x >> 44 & 7 & (x >> 62 ? 3 : 7)), (uint16_t)(x >> 48 & 63));
        }
        for (unsigned i = 0; i < 2000; i++)
            *ram(&v.rig, DATA + unit_random(&s) % 0x60000) = (uint8_t)unit_random(&s);
        for (unsigned i = 0; i < 20; i++)
            offer(&v.rig, (uint16_t)(unit_random(&s) % 66));
        virtio_kick(v.rig.vd, n);
        for (unsigned i = 0; i < 5; i++)
            vnet_receive(&v, frame, 14 + unit_random(&s) % (sizeof frame - 14));
        broken += v.rig.vd->state.status & VIRTIO_NEEDS_RESET ? 1 : 0;
    }
    assert_true(broken > 100 && broken < 3000);
    vnet_fini(&v);
}

/* ---- e1000 ----------------------------------------------------------------- */

#define BAR 0xc0000000ull
enum { TX_RING = 0x2000, RX_RING = 0x3000, ENTRIES = 8, BUFFERS = 0x20000 };

struct card {
    struct log log;
    struct memory *memory;
    struct bus *bus;
    struct clock *clock;
    struct device *host, *dev;
    struct cable cable;
    bool line;
};

static void card_line(void *opaque, unsigned n, bool level)
{
    ((struct card *)opaque)->line = level;
}

static struct irq_line card_lines(void *opaque, unsigned n)
{
    return (struct irq_line){card_line, opaque, n};
}

static void reg(struct card *c, unsigned at, uint32_t value)
{
    bus_write(c->bus, BUS_MMIO, BAR + at, 4, value);
}

static uint32_t reg_get(struct card *c, unsigned at)
{
    return (uint32_t)bus_read(c->bus, BUS_MMIO, BAR + at, 4);
}

static void card_init(struct card *c)
{
    const struct pci_bus_config bus = {.ecam = 0xe0000000, .io = {0xc000, 0x1000},
                                       .memory = {BAR, 1 << 20}, .line = card_lines,
                                       .line_opaque = c};
    struct e1000_config cfg = {.name = "net0", .net = &c->cable.net,
                               .mac = {0x52, 0x54, 0, 1, 2, 3}};

    memset(c, 0, sizeof *c);
    log_init(&c->log, -1);
    c->bus = bus_new(NULL);
    c->clock = clock_new_manual();
    c->memory = memory_new(RAM_BYTES, NULL);
    assert_int_equal(memory_map_ram(c->memory, "ram", gpa(0), 0, RAM_BYTES, 0, NULL), 0);
    const struct device_env env = {.memory = c->memory, .bus = c->bus, .clock = c->clock,
                                   .log = &c->log};
    c->host = pci_bus_new(&env, &bus, NULL);
    c->cable.net.ops = &cable_ops;
    c->dev = e1000_new(&env, pci_bus_of(c->host), &cfg, NULL);
    assert_non_null(c->dev);
    pci_config_write(pci_bus_function(pci_bus_of(c->host), 1), PCI_COMMAND, 2,
                     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    reg(c, 0x3800, TX_RING);
    reg(c, 0x3808, ENTRIES * 16);
    reg(c, 0x2800, RX_RING);
    reg(c, 0x2808, ENTRIES * 16);
    reg(c, 0x400, 0xa);
    reg(c, 0x100, 0x8002);
    reg(c, 0xd0, 0xff);
}

static void card_fini(struct card *c)
{
    device_destroy(c->dev);
    device_destroy(c->host);
    clock_free(c->clock);
    bus_free(c->bus);
    memory_free(c->memory);
}

static uint8_t *mem(struct card *c, uint64_t at)
{
    return memory_ram_base(c->memory).p + at;
}

static void tx(struct card *c, unsigned n, uint64_t low, uint64_t high)
{
    put_le64(mem(c, TX_RING + n * 16), low);
    put_le64(mem(c, TX_RING + n * 16 + 8), high);
}

enum { EOP = 1, RS = 8, DEXT = 0x20, TSE = 4, VLE = 0x40 };

static void test_e1000_send(void **state)
{
    struct card c;

    card_init(&c);
    for (unsigned i = 0; i < 200; i++)
        *mem(&c, BUFFERS + i) = (uint8_t)i;
    /* Legacy, in two parts; the first alone sends nothing. */
    tx(&c, 0, BUFFERS, 20);
    tx(&c, 1, BUFFERS + 20, 30 | (uint64_t)(EOP | RS) << 24);
    reg(&c, 0x3818, 1);
    assert_int_equal(c.cable.sent, 0);
    reg(&c, 0x3818, 2);
    assert_int_equal(c.cable.sent, 1);
    assert_int_equal(c.cable.len[0], 60);                        /* padded */
    assert_int_equal(c.cable.frame[0][49], 49);
    assert_int_equal(c.cable.frame[0][50], 0);
    assert_int_equal(*mem(&c, TX_RING + 16 + 12), 1);            /* DD where asked for */
    assert_int_equal(*mem(&c, TX_RING + 12), 0);
    assert_true(c.line);
    assert_int_equal(reg_get(&c, 0xc0) & 3, 3);
    assert_false(c.line);
    /* A tag in front of the type. */
    reg(&c, 0, 1u << 30);
    tx(&c, 2, BUFFERS, 60 | (uint64_t)(EOP | VLE) << 24 | 0x0123ull << 48);
    reg(&c, 0x3818, 3);
    assert_int_equal(c.cable.len[1], 64);
    assert_memory_equal(c.cable.frame[1] + 12, "\x81\x00\x01\x23\x0c\x0d", 6);
    card_fini(&c);
}

static void test_e1000_segments(void **state)
{
    struct card c;
    uint8_t *f;

    card_init(&c);
    f = mem(&c, BUFFERS);
    memset(f, 0, 54);
    put_be16(f + 12, 0x0800);
    f[14] = 0x45;
    f[22] = 64;
    f[23] = 6;
    put_be32(f + 26, 0x0a00020f);
    put_be32(f + 30, 0x0a000202);
    f[46] = 0x50;
    for (unsigned i = 0; i < 2500; i++)
        f[54 + i] = (uint8_t)(i * 3);
    /* Context: IP at 14, its sum at 24; TCP at 34, its sum at 50; MSS 1000, headers 54. */
    tx(&c, 0, 14 | 24 << 8 | 33ull << 16 | 34ull << 32 | 50ull << 40,
       2500 | (uint64_t)(DEXT | TSE | 3) << 24 | 54ull << 40 | 1000ull << 48);
    tx(&c, 1, BUFFERS, 2554 | 1 << 20 | (uint64_t)(DEXT | TSE | EOP | RS) << 24 | 3ull << 40);
    reg(&c, 0x3818, 2);
    assert_int_equal(c.cable.sent, 3);
    for (unsigned i = 0, len; i < 3; i++) {
        uint8_t *s = c.cable.frame[i];

        len = i < 2 ? 1000 : 500;
        assert_int_equal(c.cable.len[i], 54 + len);
        assert_int_equal(get_be16(s + 16), 40 + len);
        assert_int_equal(get_be32(s + 38), i * 1000);
        assert_int_equal(offload_fold(offload_sum(s + 14, 20, 0)), 0);
        assert_int_equal(offload_fold(offload_sum(s + 34, 20 + len,
                                                  offload_sum(s + 26, 8, 6 + 20 + len))), 0);
        assert_memory_equal(s + 54, f + 54 + i * 1000, len);
    }
    card_fini(&c);
}

static void test_e1000_receive(void **state)
{
    static uint8_t frame[1500];
    struct iovec iov = {frame, 100};
    struct card c;

    card_init(&c);
    for (unsigned i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)i;
    memcpy(frame, "\x52\x54\0\1\2\3", 6);
    for (unsigned i = 0; i < ENTRIES; i++)
        put_le64(mem(&c, RX_RING + i * 16), BUFFERS + i * 4096);
    assert_false(net_receive(&c.cable.net, 0, NULL, &iov, 1));   /* no room yet */
    unsigned before = c.cable.ready;
    reg(&c, 0x2818, 7);
    assert_int_equal(c.cable.ready, before + 1);
    assert_true(net_receive(&c.cable.net, 0, NULL, &iov, 1));
    assert_int_equal(get_le16(mem(&c, RX_RING + 8)), 104);       /* with room for the FCS */
    assert_int_equal(*mem(&c, RX_RING + 12) & 3, 3);
    assert_memory_equal(mem(&c, BUFFERS), frame, 100);
    assert_true(c.line);
    /* Buffers of 256 bytes: 1500 take six. */
    reg(&c, 0x100, 0x8002 | 3 << 16 | 1 << 26);
    iov.iov_len = 1500;
    assert_true(net_receive(&c.cable.net, 0, NULL, &iov, 1));
    assert_int_equal(*mem(&c, RX_RING + 16 + 12), 1);
    assert_int_equal(*mem(&c, RX_RING + 6 * 16 + 12) & 3, 3);
    assert_int_equal(get_le16(mem(&c, RX_RING + 6 * 16 + 8)), 1500 - 5 * 256);
    assert_false(net_receive(&c.cable.net, 0, NULL, &iov, 1));
    /* Filters: not ours, multicast that was not asked for. */
    frame[5] = 9;
    assert_true(net_receive(&c.cable.net, 0, NULL, &iov, 1));
    frame[0] = 1;
    assert_true(net_receive(&c.cable.net, 0, NULL, &iov, 1));
    assert_int_equal(reg_get(&c, 0x2810), 7);
    card_fini(&c);
}

/* The EEPROM as Linux reads it: word after word by its pins. */
static void test_e1000_eeprom(void **state)
{
    uint16_t sum = 0, word[3];
    struct card c;

    card_init(&c);
    for (unsigned a = 0; a < 64; a++) {
        uint32_t bits = 6u << 6 | a;
        uint16_t v = 0;

        reg(&c, 0x10, 0x42);
        for (int i = 8; i >= 0; i--) {
            uint32_t di = bits >> i & 1 ? 4 : 0;
            reg(&c, 0x10, 0x42 | di);
            reg(&c, 0x10, 0x43 | di);
            reg(&c, 0x10, 0x42 | di);
        }
        for (unsigned i = 0; i < 16; i++) {
            reg(&c, 0x10, 0x43);
            v = (uint16_t)(v << 1 | (reg_get(&c, 0x10) >> 3 & 1));
            reg(&c, 0x10, 0x42);
        }
        reg(&c, 0x10, 0x40);
        sum = (uint16_t)(sum + v);
        if (a < 3)
            word[a] = v;
        reg(&c, 0x14, a << 8 | 1);
        assert_int_equal(reg_get(&c, 0x14) >> 16, v);
    }
    assert_int_equal(sum, 0xbaba);
    assert_memory_equal(word, "\x52\x54\0\1\2\3", 6);
    card_fini(&c);
}

static void test_e1000_throttle(void **state)
{
    struct card c;

    card_init(&c);
    clock_advance(c.clock, 1000000);
    reg(&c, 0xc4, 1000);                                         /* 256 us apart */
    reg(&c, 0xc8, 4);
    assert_true(c.line);
    reg_get(&c, 0xc0);
    reg(&c, 0xc8, 4);
    assert_false(c.line);
    clock_advance(c.clock, 255000);
    clock_run_timers(c.clock);
    assert_false(c.line);
    clock_advance(c.clock, 2000);
    clock_run_timers(c.clock);
    assert_true(c.line);
    card_fini(&c);
}

static void test_e1000_noise(void **state)
{
    static const uint16_t at[] = {0x0, 0x100, 0x400, 0x2800, 0x2808, 0x2810, 0x2818, 0x3800, 0x3808,
                                  0x3810, 0x3818, 0x3818, 0x3818, 0x2818, 0x5000, 0xd0, 0x38};
    static uint8_t frame[9000];
    uint64_t s = 815;
    struct card c;

    card_init(&c);
    for (unsigned round = 0; round < 60000; round++) {
        uint64_t x = unit_random(&s);
        struct iovec iov = {frame, 14 + x % (sizeof frame - 14)};

        switch (x >> 60) {
        case 0: case 1: case 2:
            reg(&c, at[x % ARRAY_SIZE(at)], (uint32_t)(x >> 8 & (x & 1 << 30 ? 0xfff0 : 0x7f)));
            break;
        case 3:                              /* and now as it should be */
            reg(&c, 0x3800, TX_RING);
            reg(&c, 0x3808, 4096);
            reg(&c, 0x3810, 0);
            reg(&c, 0x2800, RX_RING);
            reg(&c, 0x2808, 4096);
            reg(&c, 0x2810, 0);
            reg(&c, 0x400, 0xa);
            reg(&c, 0x100, 0x803e | (uint32_t)(x & 0x2030000));
            reg(&c, 0x3818, (uint32_t)(x >> 8 & 0xff));
            break;
        case 4: case 5:
            for (unsigned i = 0; i < 6; i++)
                frame[i] = 0xff;
            net_receive(&c.cable.net, 0, NULL, &iov, 1);
            break;
        default: {
            uint64_t d = unit_random(&s);
            unsigned n = (unsigned)(x >> 8 & 0xff);

            tx(&c, n, x & 3 ? BUFFERS + (d & 0x3ffff) : d,
               (d & 0xffffff) >> (d >> 60) | unit_random(&s) << 24);
            break;
        }
        }
    }
    assert_true(c.cable.sent > 100);
    card_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtio_receive), cmocka_unit_test(test_virtio_transmit),
        cmocka_unit_test(test_virtio_control), cmocka_unit_test(test_virtio_noise),
        cmocka_unit_test(test_e1000_send), cmocka_unit_test(test_e1000_segments),
        cmocka_unit_test(test_e1000_receive), cmocka_unit_test(test_e1000_eeprom),
        cmocka_unit_test(test_e1000_throttle), cmocka_unit_test(test_e1000_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
