/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_offload.c - segmentation and checksums against a reference that is written to be
 * obviously right: every segment is built from nothing, every sum taken bytewise.
 */
#include "net/offload.h"

#include "base/byteorder.h"
#include "unit.h"

enum { ROOM = NET_FRAME_MAX, SEGMENTS = 70000 };

struct sent { size_t frames, bytes, cap; uint8_t *data; size_t refuse_after; };

static bool collect(void *opaque, const uint8_t *frame, size_t len)
{
    struct sent *s = opaque;

    if (s->refuse_after && s->frames == s->refuse_after)
        return false;
    if (s->bytes + len + 8 > s->cap) {
        s->cap = (s->bytes + len + 8) * 2;
        s->data = realloc(s->data, s->cap);
    }
    memcpy(s->data + s->bytes, &len, 8);
    memcpy(s->data + s->bytes + 8, frame, len);
    s->bytes += len + 8;
    s->frames++;
    return true;
}

static uint16_t slow_csum(uint32_t start, const uint8_t *p, size_t len)
{
    uint32_t sum = start;

    for (size_t i = 0; i < len; i++) {
        sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
        if (sum > 0xffff)
            sum -= 0xffff;
    }
    return sum == 0xffff ? 0xffff : (uint16_t)~sum;     /* zero is sent as its twin */
}

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void test_sum(void **state)
{
    static uint8_t buf[5000];

    for (unsigned round = 0; round < 3000; round++) {
        size_t len = rnd() % sizeof buf, at = rnd() % (sizeof buf - len);
        uint32_t sum = 0;

        for (size_t i = 0; i < sizeof buf / 50; i++)
            buf[rnd() % sizeof buf] = (uint8_t)rnd();
        for (size_t i = 0; i < len; i++)
            sum += i & 1 ? buf[at + i] : (uint32_t)buf[at + i] << 8;
        while (sum >> 16)
            sum = (sum & 0xffff) + (sum >> 16);
        assert_int_equal(offload_fold(offload_sum(buf + at, len, 0)), (uint16_t)~sum);
    }
}

/* A frame: `vlan` tags, IPv4 with `options` words or IPv6 with a hop-by-hop header, TCP
 * with `tcp_options` words or UDP. */
struct shape {
    bool v6, udp, vlan;
    unsigned options, tcp_options;
    size_t payload;
    uint16_t mss;
    uint8_t flags;
    uint16_t id;
    uint32_t seq;
};

/* Builds segment [at, at + len) of the payload as it must go out, or the whole unfinished
 * frame when `raw`. */
static size_t build(uint8_t *f, const struct shape *s, const uint8_t *payload, size_t at,
                    size_t len, unsigned n, bool raw)
{
    size_t p = 12, ip, l4, ip_bytes = s->v6 ? 40 + (s->options ? 8u : 0) : 20 + s->options * 4u;
    size_t l4_bytes = s->udp ? 8 : 20 + s->tcp_options * 4u;
    uint32_t pseudo = 0;

    for (unsigned i = 0; i < 12; i++)
        f[i] = (uint8_t)(i * 3);
    if (s->vlan) {
        put_be16(f + p, 0x8100);
        put_be16(f + p + 2, 42);
        p += 4;
    }
    put_be16(f + p, s->v6 ? 0x86dd : 0x0800);
    ip = p + 2;
    l4 = ip + ip_bytes;
    memset(f + ip, 0, ip_bytes + l4_bytes);
    if (s->v6) {
        f[ip] = 0x60;
        put_be16(f + ip + 4, raw ? 0 : (uint16_t)(ip_bytes - 40 + l4_bytes + len));
        f[ip + 6] = s->options ? 0 : s->udp ? 17 : 6;
        f[ip + 7] = 64;
        for (unsigned i = 8; i < 40; i++)
            f[ip + i] = (uint8_t)(i * 7);
        if (s->options)
            f[ip + 40] = s->udp ? 17 : 6;
    } else {
        f[ip] = (uint8_t)(0x40 | ip_bytes / 4);
        put_be16(f + ip + 2, raw ? 0xdead : (uint16_t)(ip_bytes + l4_bytes + len));
        put_be16(f + ip + 4, (uint16_t)(s->id + n));
        f[ip + 6] = 0x40;
        f[ip + 8] = 64;
        f[ip + 9] = s->udp ? 17 : 6;
        for (unsigned i = 12; i < ip_bytes; i++)
            f[ip + i] = (uint8_t)(i * 11);
        if (!raw) {
            uint16_t c = slow_csum(0, f + ip, ip_bytes);
            put_be16(f + ip + 10, c == 0xffff ? 0 : c);
        }
    }
    put_be16(f + l4, 1234);
    put_be16(f + l4 + 2, 80);
    if (s->udp) {
        put_be16(f + l4 + 4, raw ? 0xbeef : (uint16_t)(8 + len));
        put_be16(f + l4 + 6, raw ? 0x1111 : 0);
    } else {
        bool last = at + len == s->payload;
        uint8_t flags = s->flags;

        put_be32(f + l4 + 4, s->seq + (uint32_t)at);
        f[l4 + 12] = (uint8_t)(l4_bytes / 4 << 4);
        if (!raw && !last)
            flags &= (uint8_t)~9u;
        if (!raw && at)
            flags &= 0x7f;
        f[l4 + 13] = flags;
        put_be16(f + l4 + 16, raw ? 0x2222 : 0);
        for (unsigned i = 20; i < l4_bytes; i++)
            f[l4 + i] = (uint8_t)(i * 5);
    }
    memcpy(f + l4 + l4_bytes, payload + at, len);
    if (!raw) {
        const uint8_t *addr = f + ip + (s->v6 ? 8 : 12);
        for (unsigned i = 0; i < (s->v6 ? 32u : 8u); i += 2)
            pseudo += get_be16(addr + i);
        pseudo += (uint32_t)(l4_bytes + len) + (s->udp ? 17 : 6);
        while (pseudo >> 16)
            pseudo = (pseudo & 0xffff) + (pseudo >> 16);
        put_be16(f + l4 + (s->udp ? 6 : 16), slow_csum(pseudo, f + l4, l4_bytes + len));
    }
    return l4 + l4_bytes + len;
}

static void check_shape(const struct shape *s)
{
    static uint8_t payload[ROOM], frame[ROOM], want[ROOM];
    struct sent sent = {0};
    struct net_header h = {.flags = NET_NEEDS_CSUM, .gso_size = s->mss,
                    .gso_type = s->udp ? NET_GSO_UDP_L4
                                : s->v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4};
    size_t len, at = 0, pos = 0;
    unsigned n = 0;

    if (s->flags & 0x80)
        h.gso_type |= NET_GSO_ECN;
    for (size_t i = 0; i < s->payload; i++)
        payload[i] = (uint8_t)rnd();
    len = build(frame, s, payload, 0, s->payload, 0, true);
    assert_int_equal(offload_finish(&h, frame, len, collect, &sent), 0);
    do {
        size_t part = s->payload - at < s->mss ? s->payload - at : s->mss, got;

        len = build(want, s, payload, at, part, n++, false);
        assert_true(pos + 8 + len <= sent.bytes);
        memcpy(&got, sent.data + pos, 8);
        assert_int_equal(got, len);
        assert_memory_equal(sent.data + pos + 8, want, len);
        pos += 8 + len;
        at += part;
    } while (at < s->payload);
    assert_int_equal(pos, sent.bytes);
    assert_int_equal(n, sent.frames);
    free(sent.data);
}

static void test_segments(void **state)
{
    for (unsigned i = 0; i < 600; i++) {
        struct shape s = {
            .v6 = rnd() & 1, .udp = rnd() % 3 == 0, .vlan = rnd() % 4 == 0,
            .options = (unsigned)(rnd() % 3 ? 0 : rnd() % 11), .tcp_options = (unsigned)(rnd() % 11),
            .payload = rnd() % (i % 8 ? 6000 : 64000), .mss = (uint16_t)(1 + rnd() % 1460),
            .flags = (uint8_t)rnd(), .id = (uint16_t)rnd(), .seq = (uint32_t)rnd(),
        };
        if (s.payload > 8000 && s.mss < 100)
            s.mss = 536;
        check_shape(&s);
    }
    /* The largest: TSO of 64 KiB; and one segment exactly. */
    check_shape(&(struct shape){.payload = 65535 - 40, .mss = 1460, .flags = 0x98, .seq = ~0u});
    check_shape(&(struct shape){.payload = 1460, .mss = 1460, .flags = 0x19});
    check_shape(&(struct shape){.payload = 0, .mss = 1, .flags = 2});
}

static void test_csum_only(void **state)
{
    uint8_t f[60] = {0};
    struct net_header h = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    struct sent sent = {0};

    for (unsigned i = 0; i < sizeof f; i++)
        f[i] = (uint8_t)(i * 13);
    put_be16(f + 50, 0x1234);                /* the pseudo header's sum */
    uint16_t want = slow_csum(0, f + 34, sizeof f - 34);
    assert_int_equal(offload_finish(&h, f, sizeof f, collect, &sent), 0);
    assert_int_equal(get_be16(sent.data + 8 + 50), want);
    /* A sum of zero goes out as all ones. */
    memset(f, 0, sizeof f);
    put_be16(f + 50, 0xffff);
    assert_int_equal(offload_finish(&h, f, sizeof f, collect, &sent), 0);
    assert_int_equal(get_be16(f + 50), 0xffff);
    free(sent.data);
}

static void refused(struct net_header h, const uint8_t *frame, size_t len)
{
    static uint8_t copy[ROOM];
    struct sent sent = {0};

    memcpy(copy, frame, len);
    assert_int_equal(offload_finish(&h, copy, len, collect, &sent), -EINVAL);
    assert_int_equal(sent.frames, 0);
    free(sent.data);
}

static void test_nonsense(void **state)
{
    static uint8_t f[2000], payload[1000];
    struct shape tcp = {.payload = 1000, .mss = 100};
    size_t len = build(f, &tcp, payload, 0, 1000, 0, true);
    struct net_header good = {.gso_type = NET_GSO_TCPV4, .gso_size = 100}, h;
    struct sent sent = {.refuse_after = 3};

    h = (struct net_header){.flags = NET_NEEDS_CSUM, .csum_start = (uint16_t)(len - 1)};
    refused(h, f, len);                                  /* the field is behind the end */
    h.csum_start = 65535;
    h.csum_offset = 65535;
    refused(h, f, len);
    h = good;
    h.gso_size = 0;
    refused(h, f, len);
    h = good;
    h.gso_type = NET_GSO_TCPV6;               /* not what the frame is */
    refused(h, f, len);
    h.gso_type = NET_GSO_UDP_L4;
    refused(h, f, len);
    h.gso_type = NET_GSO_UDP;                 /* fragmentation: never offered */
    refused(h, f, len);
    h.gso_type = 0x7f;
    refused(h, f, len);
    refused(good, f, 14);
    refused(good, f, 33);
    refused(good, f, 53);                                /* half a TCP header */
    f[14] = 0x41;                                        /* an IP header of 4 bytes */
    refused(good, f, len);
    f[14] = 0x4f;                                        /* of 60: then TCP is elsewhere */
    offload_finish(&good, (uint8_t[2000]){0}, 2000, collect, &sent);
    f[14] = 0x45;
    f[14 + 20 + 12] = 0x40;                              /* a TCP header of 16 */
    refused(good, f, len);
    f[14 + 20 + 12] = 0x50;
    assert_int_equal(offload_finish(&good, f, len, collect, &sent), -EIO);
    assert_int_equal(sent.frames, 3);
    free(sent.data);
}

/* Whatever the bytes: nothing is read or written outside (the sanitizers look). */
static void test_noise(void **state)
{
    static const uint8_t types[] = {0, 1, 3, 4, 5, 0x81, 0x84, 0x85};
    struct sent sent = {0};

    for (unsigned i = 0; i < 100000; i++) {
        size_t len = 14 + rnd() % 200;
        uint8_t *f = malloc(len);
        struct net_header h = {.flags = (uint8_t)rnd(), .gso_type = types[rnd() % 8],
                        .gso_size = (uint16_t)(rnd() % 64), .csum_start = (uint16_t)(rnd() % 300),
                        .csum_offset = (uint16_t)(rnd() % 300)};

        for (size_t j = 0; j < len; j++)
            f[j] = (uint8_t)rnd();
        put_be16(f + 12, rnd() & 1 ? 0x0800 : rnd() & 1 ? 0x86dd : 0x8100);
        if (rnd() & 1 && len > 24) {
            f[14] = (uint8_t)(get_be16(f + 12) == 0x0800 ? 0x45 : 0x60);
            f[23] = f[20] = rnd() & 1 ? 6 : 17;
        }
        offload_finish(&h, f, len, collect, &sent);
        sent.bytes = 0;
        free(f);
    }
    assert_true(sent.frames > 1000);
    free(sent.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum), cmocka_unit_test(test_segments),
        cmocka_unit_test(test_csum_only), cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
