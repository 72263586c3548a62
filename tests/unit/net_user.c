/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_user.c - the user-mode network, with the test as the guest: DHCP, ARP, a
 * connection out and one in, all in frames made by hand. Nothing leaves loopback.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/offload.h"
#include "net_fixture.h"

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 1, 2, 3};
enum { GUEST_IP = 0x0a00020f, HOST_IP = 0x0a000202 };

struct vm {
    struct fixture f;
    struct fixture_end *e;
    uint8_t host_mac[6];
    unsigned seen;                   /* frames looked at */
    uint32_t seq, ack;
};

static void frame_head(uint8_t *f, const uint8_t *to, uint16_t type)
{
    memcpy(f, to, 6);
    memcpy(f + 6, guest_mac, 6);
    put_be16(f + 12, type);
}

static void ip_head(uint8_t *f, uint8_t proto, uint32_t from, uint32_t to, size_t l4_bytes)
{
    memset(f + 14, 0, 20);
    f[14] = 0x45;
    put_be16(f + 16, (uint16_t)(20 + l4_bytes));
    f[22] = 64;
    f[23] = proto;
    put_be32(f + 26, from);
    put_be32(f + 30, to);
    put_be16(f + 24, offload_fold(offload_sum(f + 14, 20, 0)));
}

/* The next frame for which `is` says yes, or a failure. */
static const uint8_t *await(struct vm *v, bool (*is)(const uint8_t *f, size_t len), const char *what)
{
    for (unsigned quiet = 0; quiet < 40;) {
        for (; v->seen < v->e->frames; v->seen++)
            if (is(v->e->frame[v->seen], v->e->len[v->seen]))
                return v->e->frame[v->seen++];
        unsigned before = v->e->frames;
        loop_run_once(v->f.loop, 50000000);
        quiet = v->e->frames == before ? quiet + 1 : 0;
    }
    fail_msg("no %s came", what);
    return NULL;
}

static bool is_arp(const uint8_t *f, size_t len) { return get_be16(f + 12) == 0x0806; }
static bool is_udp(const uint8_t *f, size_t len)
{
    return get_be16(f + 12) == 0x0800 && f[23] == 17;
}
static bool is_tcp(const uint8_t *f, size_t len)
{
    return get_be16(f + 12) == 0x0800 && f[23] == 6;
}

static void arp(struct vm *v, uint32_t host)
{
    uint8_t f[60] = {0};

    frame_head(f, (const uint8_t *)"\xff\xff\xff\xff\xff\xff", 0x0806);
    memcpy(f + 14, "\0\1\x08\0\6\4", 6);
    put_be16(f + 20, 1);
    memcpy(f + 22, guest_mac, 6);
    put_be32(f + 28, GUEST_IP);
    put_be32(f + 38, host);
    end_send(&v->f, v->e, NULL, f, sizeof f);
}

/* `host` answers to ARP. */
static void vm_init_at(struct vm *v, const char *spec, uint32_t host)
{
    *v = (struct vm){0};
    fixture_init(&v->f);
    v->e = end_new(&v->f, spec);
    arp(v, host);
    const uint8_t *f = await(v, is_arp, "ARP answer");
    assert_int_equal(get_be16(f + 20), 2);
    assert_int_equal(get_be32(f + 28), host);
    memcpy(v->host_mac, f + 22, 6);
}

static void vm_init(struct vm *v, const char *spec)
{
    vm_init_at(v, spec, HOST_IP);
}

static void vm_fini(struct vm *v)
{
    end_free(v->e);
    fixture_fini(&v->f);
}

static void test_dhcp(void **state)
{
    static uint8_t f[14 + 20 + 8 + 300];
    uint8_t *dhcp = f + 42;
    const uint8_t *got, *o;
    char name[64] = "";
    struct vm v;

    vm_init_at(&v, "user,hostname=tester,net=10.7.0.0/16,dns=10.7.0.9", 0x0a070002);
    memset(f, 0, sizeof f);
    frame_head(f, (const uint8_t *)"\xff\xff\xff\xff\xff\xff", 0x0800);
    ip_head(f, 17, 0, ~0u, sizeof f - 34);
    put_be16(f + 34, 68);
    put_be16(f + 36, 67);
    put_be16(f + 38, sizeof f - 34);
    memcpy(dhcp, "\1\1\6\0\1\2\3\4", 8);
    memcpy(dhcp + 28, guest_mac, 6);
    memcpy(dhcp + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8);       /* DISCOVER */
    end_send(&v.f, v.e, NULL, f, sizeof f);
    got = await(&v, is_udp, "DHCP offer");
    assert_memory_equal(got + 42 + 4, "\1\2\3\4", 4);
    assert_int_equal(get_be32(got + 42 + 16), 0x0a07000f);
    bool dns = false;
    for (o = got + 42 + 240; *o != 0xff; o += 2 + o[1]) {
        if (*o == 53)
            assert_int_equal(o[2], 2);
        if (*o == 6)
            dns = get_be32(o + 2) == 0x0a070009;
        if (*o == 12)
            memcpy(name, o + 2, o[1]);
    }
    assert_true(dns);
    assert_string_equal(name, "tester");
    vm_fini(&v);
}

/* The frame is sent with its checksum undone, as a guest with offload sends it. */
static void tcp(struct vm *v, uint16_t from, uint16_t to, uint8_t flags, const void *data,
                size_t len, uint16_t gso)
{
    static uint8_t f[54 + 65000];
    struct net_header h = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16,
                    .gso_type = gso ? NET_GSO_TCPV4 : NET_GSO_NONE,
                    .gso_size = gso};

    memset(f, 0, 54);
    frame_head(f, v->host_mac, 0x0800);
    ip_head(f, 6, GUEST_IP, HOST_IP, 20 + len);
    put_be16(f + 34, from);
    put_be16(f + 36, to);
    put_be32(f + 38, v->seq);
    put_be32(f + 42, v->ack);
    f[46] = 0x50;
    f[47] = flags;
    put_be16(f + 48, 0xffff);
    if (len)
        memcpy(f + 54, data, len);
    put_be16(f + 50, (uint16_t)~offload_fold(offload_sum(f + 26, 8, 6 + 20 + (uint32_t)len)));
    end_send(&v->f, v->e, &h, f, 54 + len);
    v->seq += (uint32_t)len + !!(flags & 3);
}

enum { SYN = 2, ACK = 16, PSH = 8, FIN = 1 };

static void test_out(void **state)
{
    static uint8_t big[40000], back[40000];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t al = sizeof at;
    int s = socket(AF_INET, SOCK_STREAM, 0), c;
    const uint8_t *f;
    size_t got = 0;
    struct vm v;

    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s, 1), 0);
    getsockname(s, (struct sockaddr *)&at, &al);
    vm_init(&v, "user");
    tcp(&v, 4000, ntohs(at.sin_port), SYN, NULL, 0, 0);
    f = await(&v, is_tcp, "SYN ACK");
    assert_int_equal(f[47], SYN | ACK);
    v.ack = get_be32(f + 38) + 1;
    tcp(&v, 4000, ntohs(at.sin_port), ACK, NULL, 0, 0);
    c = accept(s, NULL, NULL);
    /* 40000 bytes in one segment, which no wire could carry. */
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 17 + i / 251);
    tcp(&v, 4000, ntohs(at.sin_port), ACK | PSH, big, sizeof big, 1460);
    for (unsigned i = 0; i < 200 && got < sizeof back; i++) {
        ssize_t n = recv(c, back + got, sizeof back - got, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        else
            loop_run_once(v.f.loop, 10000000);
    }
    assert_int_equal(got, sizeof back);
    assert_memory_equal(big, back, sizeof big);
    /* And the other way, with checksums that are right. */
    assert_int_equal(write(c, "hello, guest", 12), 12);
    do
        f = await(&v, is_tcp, "data");
    while (get_be16(f + 16) != 52);
    assert_memory_equal(f + 54, "hello, guest", 12);
    assert_int_equal(offload_fold(offload_sum(f + 34, 32, offload_sum(f + 26, 8, 6 + 32))), 0);
    assert_int_equal(v.e->header[v.seen - 1].flags, NET_DATA_VALID);
    close(c);
    close(s);
    vm_fini(&v);
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t al = sizeof at;

    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    getsockname(s, (struct sockaddr *)&at, &al);
    close(s);
    return ntohs(at.sin_port);
}

static void test_forward(void **state)
{
    uint16_t port = free_port();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct error *err = NULL;
    const uint8_t *f;
    char spec[64], buf[16] = "";
    uint16_t from;
    struct vm v;

    snprintf(spec, sizeof spec, "user,restrict,forward=tcp:%u:22", port);
    vm_init(&v, spec);
    assert_null(net_open(&v.f.env, spec, &err));
    expect_error(-err->code, EADDRINUSE, &err, "choose another port, or find out who with 'ss -tlnp");
    assert_int_equal(connect(s, (struct sockaddr *)&at, sizeof at), 0);
    f = await(&v, is_tcp, "SYN");
    assert_int_equal(f[47], SYN);
    assert_int_equal(get_be16(f + 36), 22);
    from = get_be16(f + 34);
    v.ack = get_be32(f + 38) + 1;
    tcp(&v, 22, from, SYN | ACK, NULL, 0, 0);
    tcp(&v, 22, from, ACK | PSH, "SSH-2.0", 7, 0);
    for (unsigned i = 0; i < 100 && recv(s, buf, 7, MSG_DONTWAIT) < 7; i++)
        loop_run_once(v.f.loop, 10000000);
    assert_string_equal(buf, "SSH-2.0");
    close(s);
    vm_fini(&v);
}

/* A guest that takes nothing for a while: frames wait, none is lost. */
static void test_full_guest(void **state)
{
    struct vm v;

    vm_init(&v, "user,ipv6=off");
    v.e->room = 0;
    for (unsigned i = 0; i < 20; i++)
        arp(&v, HOST_IP);
    for (unsigned i = 0; i < 3; i++)
        loop_run_once(v.f.loop, 1000000);
    assert_int_equal(v.e->frames, v.seen);
    v.e->room = 1000;
    pthread_mutex_lock(&v.f.lock);
    net_receive_ready(v.e->net, 0);
    pthread_mutex_unlock(&v.f.lock);
    for (unsigned i = 0; i < 20; i++)
        await(&v, is_arp, "ARP answer that waited");
    assert_int_equal(v.e->net->stats.rx_dropped, 0);
    vm_fini(&v);
}

static void bad(const char *spec, const char *message)
{
    struct error *err = NULL;
    struct fixture f;

    fixture_init(&f);
    assert_null(net_open(&f.env, spec, &err));
    expect_error(-err->code, err->code, &err, message);
    fixture_fini(&f);
}

static void test_bad_keys(void **state)
{
    bad("usr", "did you mean 'user'?");
    bad("user,fwd=tcp:1:2", "there is no key 'fwd'");
    bad("user,forward=2222:22", "cannot be understood");
    bad("user,forward=sctp:2222:22", "cannot be understood");
    bad("user,forward=tcp:0:22", "cannot be understood");
    bad("user,forward=tcp:99999:22", "cannot be understood");
    bad("user,forward=tcp:1.2.3:22:22", "cannot be understood");
    bad("user,forward=tcp:1.2.3.4:1:5.6.7.8:9:10", "cannot be understood");
    bad("user,forward=tcp:192.0.2.1:2222:22", "this host has no such address");
    bad("user,net=10.0.2.0/30", "prefix must be");
    bad("user,net=ten", "no IPv4 network");
    bad("user,dns=10.1.1.1", "in the guest's network");
    bad("user,tftp=/nonexistent", "cannot serve folder");
    bad("user,tftp=/dev/null", "not a folder");
    bad("user,restrict=perhaps", "either on or off");
}

/* Whatever a guest sends: nothing ends us. */
static void test_noise(void **state)
{
    uint64_t x = 88172645463325252ull;
    struct vm v;

    vm_init(&v, "user,restrict");
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t f[400];
        size_t len;
        struct net_header h = {0};

        for (size_t j = 0; j < sizeof f; j++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            f[j] = (uint8_t)x;
        }
        len = 14 + f[0] + (f[1] & 127);
        frame_head(f, v.host_mac, f[2] & 1 ? 0x0800 : f[2] & 2 ? 0x86dd : f[2] & 4 ? 0x0806
                                                                        : get_be16(f + 12));
        if (f[3] & 1)
            ip_head(f, f[4] & 1 ? 6 : 17, GUEST_IP, f[4] & 2 ? HOST_IP : get_be32(f + 30), len - 34);
        h.flags = f[5] & 1;
        h.csum_start = get_le16(f + 6) & 511;
        h.csum_offset = get_le16(f + 8) & 63;
        h.gso_type = f[10] & 5;
        h.gso_size = 100;
        end_send(&v.f, v.e, f[11] & 1 ? &h : NULL, f, len);
        loop_run_once(v.f.loop, 0);
        if (v.e->frames > FIXTURE_FRAMES - 100)
            end_clear(v.e);
        v.e->room = 100;
    }
    vm_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dhcp), cmocka_unit_test(test_out), cmocka_unit_test(test_forward),
        cmocka_unit_test(test_full_guest), cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
