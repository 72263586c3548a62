/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_tap.c - a TAP in a network namespace of the test's own, with the host's kernel as
 * the peer. Needs the right to make both; skips with a line otherwise.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/offload.h"
#include "net_fixture.h"

static int tun(const char *name, int flags)
{
    struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
    return fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 ? -1 : fd;
}

static bool make_tap(const char *name, int flags, uint32_t address)
{
    int fd = tun(name, flags | IFF_VNET_HDR), s = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq ifr = {0};
    struct sockaddr_in *at = (void *)&ifr.ifr_addr;
    bool made = fd >= 0 && ioctl(fd, TUNSETPERSIST, 1) == 0;

    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    made = made && ioctl(s, SIOCSIFADDR, &ifr) == 0;
    at->sin_addr.s_addr = htonl(0xffffff00);
    made = made && ioctl(s, SIOCSIFNETMASK, &ifr) == 0;
    made = made && ioctl(s, SIOCGIFFLAGS, &ifr) == 0;
    ifr.ifr_flags |= IFF_UP;
    made = made && ioctl(s, SIOCSIFFLAGS, &ifr) == 0;
    close(fd);
    close(s);
    return made;
}

/* NULL after a tenth of a second: the kernel drops what it is to send until it has noticed
 * that the interface's carrier came, so callers try again. */
static const uint8_t *await_ip(struct fixture *f, struct fixture_end *e, uint8_t proto)
{
    for (unsigned i = 0, at = 0; i < 10; i++) {
        for (; at < e->frames; at++)
            if (e->len[at] > 34 && get_be16(e->frame[at] + 12) == 0x0800 &&
                e->frame[at][23] == proto)
                return e->frame[at];
        loop_run_once(f->loop, 10000000);
    }
    return NULL;
}

enum { TRIES = 60 };

/* 192.0.2.1 is the interface, 192.0.2.2 we are. A ping, large, with its checksum undone. */
static void test_ping(void **state)
{
    uint8_t f[14 + 20 + 8 + 1000] = {0}, arp[60] = {0};
    const uint8_t *got = NULL;
    struct net_header h = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 2};
    struct fixture fx;
    struct fixture_end *e;
    struct ifreq ifr = {.ifr_name = "t0"};
    int s = socket(AF_INET, SOCK_DGRAM, 0);

    fixture_init(&fx);
    e = end_new(&fx, "tap,t0");
    assert_int_equal(net_set_offloads(e->net, NET_CSUM | NET_TSO4 | NET_TSO6),
                     NET_CSUM | NET_TSO4 | NET_TSO6);
    assert_int_equal(ioctl(s, SIOCGIFHWADDR, &ifr), 0);
    /* ARP first, so that the kernel knows us. */
    memset(arp, 0xff, 6);
    memcpy(arp + 6, "\x52\x54\0\1\2\3\x08\6\0\1\x08\0\6\4\0\1\x52\x54\0\1\2\3\xc0\0\2\2", 26);
    memcpy(arp + 38, "\xc0\0\2\1", 4);
    memcpy(f, ifr.ifr_hwaddr.sa_data, 6);
    memcpy(f + 6, "\x52\x54\0\1\2\3\x08\0\x45", 9);
    put_be16(f + 16, sizeof f - 14);
    f[22] = 64;
    f[23] = 1;
    memcpy(f + 26, "\xc0\0\2\2\xc0\0\2\1", 8);
    put_be16(f + 24, offload_fold(offload_sum(f + 14, 20, 0)));
    f[34] = 8;
    put_be16(f + 38, 77);
    for (unsigned i = 0; i < 1000; i++)
        f[42 + i] = (uint8_t)i;
    for (unsigned i = 0; i < TRIES && !got; i++) {
        end_send(&fx, e, NULL, arp, sizeof arp);
        end_send(&fx, e, &h, f, sizeof f);
        got = await_ip(&fx, e, 1);
    }
    assert_non_null(got);
    assert_int_equal(got[34], 0);
    assert_int_equal(get_be16(got + 38), 77);
    assert_memory_equal(got + 42, f + 42, 1000);
    assert_true(e->net->stats.tx_frames >= 2 && e->net->stats.rx_frames >= 2);
    end_free(e);
    close(s);
    fixture_fini(&fx);
}

/* What the kernel sends has its checksum undone only when that was agreed to. */
static void test_offloads(void **state)
{
    for (unsigned csum = 0; csum < 2; csum++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9),
                                 .sin_addr.s_addr = htonl(0xc00002ff)};       /* broadcast */
        int s = socket(AF_INET, SOCK_DGRAM, 0), one = 1, at = -1;
        struct fixture fx;
        struct fixture_end *e;

        fixture_init(&fx);
        e = end_new(&fx, "tap=t0");
        net_set_offloads(e->net, csum ? NET_CSUM : 0);
        setsockopt(s, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
        const uint8_t *got = NULL;
        for (unsigned i = 0; i < TRIES && !got; i++) {
            assert_int_equal(sendto(s, "hello", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
            got = await_ip(&fx, e, 17);
        }
        assert_non_null(got);
        for (unsigned i = 0; i < e->frames; i++)
            if (e->frame[i] == got)
                at = (int)i;
        assert_int_equal(e->header[at].flags & NET_NEEDS_CSUM, csum);
        assert_memory_equal(got + 42, "hello", 5);
        end_free(e);
        close(s);
        fixture_fini(&fx);
    }
}

static void test_queues(void **state)
{
    struct fixture fx;
    struct fixture_end *e;
    struct error *err = NULL;

    fixture_init(&fx);
    e = end_new(&fx, "tap,t0");
    expect_error(net_set_queues(e->net, 2, &err), EINVAL, &err, "multi_queue");
    assert_int_equal(net_set_queues(e->net, 1, &err), 0);
    end_free(e);
    e = end_new(&fx, "tap,tm");
    assert_int_equal(net_set_queues(e->net, 4, &err), 0);
    assert_int_equal(net_set_queues(e->net, 1, &err), 0);
    assert_int_equal(net_set_queues(e->net, 3, &err), 0);
    assert_true(net_lend(e->net, 2) >= 0);
    assert_int_equal(net_lend(e->net, 4), -1);
    end_free(e);
    fixture_fini(&fx);
}

static void test_errors(void **state)
{
    struct fixture fx;
    struct error *err = NULL;
    int fd = tun("other", 0), busy = tun("t0", IFF_VNET_HDR);
    char spec[32];

    fixture_init(&fx);
    snprintf(spec, sizeof spec, "tap,fd=%d", fd);
    assert_null(net_open(&fx.env, spec, &err));
    expect_error(-err->code, EINVAL, &err, "without IFF_VNET_HDR");
    assert_null(net_open(&fx.env, "tap,t0", &err));
    expect_error(-err->code, EBUSY, &err, "another program");
    assert_null(net_open(&fx.env, "tap,lo", &err));
    expect_error(-err->code, EINVAL, &err, "it is no TAP");
    close(fd);
    snprintf(spec, sizeof spec, "tap,fd=%d", busy);
    struct net *n = net_open(&fx.env, spec, &err);
    assert_non_null(n);
    net_close(n);
    fixture_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ping), cmocka_unit_test(test_offloads),
        cmocka_unit_test(test_queues), cmocka_unit_test(test_errors),
    };

    if (unshare(CLONE_NEWNET) < 0 || !make_tap("t0", 0, 0xc0000201) ||
        !make_tap("tm", IFF_MULTI_QUEUE, 0xc6336401)) {
        printf("SKIP: cannot make a network namespace and a TAP in it: %s\n", strerror(errno));
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
