/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net_backends.c - options, capture files, and VMs joined by sockets. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <signal.h>

#include "net/options.h"
#include "net_fixture.h"

static void bad_option(const char *text, const char *message)
{
    struct net_options o;
    struct error *err = NULL;
    int rc = net_options_parse(&o, text, "vm", 0, &err);

    expect_error(rc, EINVAL, &err, message);
    net_options_fini(&o);
}

static void test_options(void **state)
{
    struct net_options o, p;

    assert_int_equal(net_options_parse(&o, "user,mac=52:54:00:aB:cd:ef,forward=tcp:1:2,model=e1000,"
                                       "capture=a,,b.pcap", "vm", 0, NULL), 0);
    assert_string_equal(o.backend, "user,forward=tcp:1:2");
    assert_int_equal(o.model, NET_MODEL_E1000);
    assert_string_equal(o.capture, "a,b.pcap");
    assert_memory_equal(o.mac, "\x52\x54\x00\xab\xcd\xef", 6);
    net_options_fini(&o);

    assert_int_equal(net_options_parse(&o, "tap,queues=4,tap0,packed,mtu=9000", "vm", 0, NULL), 0);
    assert_string_equal(o.backend, "tap,tap0");
    assert_true(o.packed && o.mtu == 9000 && o.queues == 4);
    net_options_fini(&o);

    assert_int_equal(net_options_parse(&o, "none", "vm", 0, NULL), 0);
    assert_null(o.backend);
    net_options_fini(&o);

    /* An address of the card's own: the same each time, another for each card and VM. */
    assert_int_equal(net_options_parse(&o, "user", "vm", 0, NULL), 0);
    assert_int_equal(net_options_parse(&p, "user", "vm", 0, NULL), 0);
    assert_memory_equal(o.mac, p.mac, 6);
    net_options_fini(&p);
    assert_int_equal(net_options_parse(&p, "user", "vm", 1, NULL), 0);
    assert_memory_not_equal(o.mac, p.mac, 6);
    net_options_fini(&p);
    assert_int_equal(net_options_parse(&p, "user", "other", 0, NULL), 0);
    assert_memory_not_equal(o.mac, p.mac, 6);
    net_options_fini(&p);
    net_options_fini(&o);

    bad_option("user,mac=52:54:00:12:34", "six pairs");
    bad_option("user,mac=52:54:00:12:34:5g", "six pairs");
    bad_option("user,mac=52:54:00:12:34:56:78", "six pairs");
    bad_option("user,mac=53:54:00:12:34:56", "must be even");
    bad_option("user,mac=00:00:00:00:00:00", "zero");
    bad_option("user,queues=0", "out of range");
    bad_option("user,model=rtl8139", "not one of virtio, e1000");
    bad_option("tap,tap0,model=e1000,queues=2", "several queues");
    bad_option("user,queues=1,queues=1", "given twice");
}

static void bad_spec(const char *spec, int code, const char *message)
{
    struct fixture f;
    struct error *err = NULL;
    struct net *n;

    fixture_init(&f);
    n = net_open(&f.env, spec, &err);
    expect_error(n ? 0 : -(err ? err->code : 0), code, &err, message);
    fixture_fini(&f);
}

static void test_bad_input(void **state)
{
    bad_spec("bridge", EINVAL, "none");
    bad_spec("tap", EINVAL, "by its name or by a descriptor");
    bad_spec("tap,no-such-tap", ENODEV, "ip tuntap add dev no-such-tap mode tap");
    bad_spec("tap,name=a-name-that-is-too-long", EINVAL, "is no name of an interface");
    bad_spec("tap,tap0,nane=x", EINVAL, "did you mean 'name'?");
    bad_spec("tap,fd=0,name=x", EINVAL, "by its name or by a descriptor");
    bad_spec("socket", EINVAL, "one way to its peer");
    bad_spec("socket,listen=1:2,connect=3:4", EINVAL, "one way to its peer");
    bad_spec("socket,local=127.0.0.1:1", EINVAL, "one way to its peer");
    bad_spec("socket,listen=nowhere", EINVAL, "write HOST:PORT");
    bad_spec("socket,listen=127.0.0.1:", EINVAL, "write HOST:PORT");
    bad_spec("socket,connect=127.0.0.1:1", ECONNREFUSED, "start the side that listens first");
    bad_spec("socket,connect=unix:/nonexistent/socket", ENOENT, "start the side that listens");
    bad_spec("socket,listen=unix:/nonexistent/socket", ENOENT, "cannot listen on");
    bad_spec("socket,fd=0", EINVAL, "is no stream socket");
    bad_spec("socket,local=127.0.0.1:9,remote=/tmp/x", EINVAL, "different kinds");
}

static uint64_t fnv(const void *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325;

    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3;
    return h;
}

/* Frames of all sizes through a pair of ends, with the receiver full now and then. */
static void exchange(struct fixture *f, struct fixture_end *a, struct fixture_end *b)
{
    static uint8_t frame[9000];
    uint64_t sums[200];
    size_t lens[200];

    b->room = 50;
    for (unsigned i = 0; i < 200; i++) {
        lens[i] = 14 + i * 41 % (sizeof frame - 14);
        for (size_t j = 0; j < lens[i]; j++)
            frame[j] = (uint8_t)(i * 31 + j * 7);
        sums[i] = fnv(frame, lens[i]);
        end_send(f, a, NULL, frame, lens[i]);
        loop_run_once(f->loop, 0);
    }
    for (unsigned i = 0; i < 20; i++)
        loop_run_once(f->loop, 0);
    assert_int_equal(b->frames, 50);
    b->room = FIXTURE_FRAMES;
    pthread_mutex_lock(&f->lock);
    net_receive_ready(b->net, 0);
    pthread_mutex_unlock(&f->lock);
    end_wait(f, b, 200);
    assert_int_equal(b->frames, 200);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(b->len[i], lens[i]);
        assert_true(fnv(b->frame[i], lens[i]) == sums[i]);
    }
    assert_int_equal(a->net->stats.tx_frames, 200);
    assert_int_equal(a->net->stats.tx_dropped, 0);
    assert_int_equal(b->net->stats.rx_frames, 200);
}

static void test_stream(void **state)
{
    struct fixture f;
    struct fixture_end *a, *b;
    char listen_at[64], connect_to[64];

    snprintf(listen_at, sizeof listen_at, "socket,listen=/tmp/ring3-net-%d", getpid());
    snprintf(connect_to, sizeof connect_to, "socket,connect=unix:/tmp/ring3-net-%d", getpid());
    fixture_init(&f);
    a = end_new(&f, listen_at);
    b = end_new(&f, connect_to);
    for (unsigned i = 0; i < 10 && a->links < 1; i++)
        loop_run_once(f.loop, 100000000);
    assert_int_equal(a->links, 1);
    exchange(&f, a, b);
    /* The peer goes and another comes. */
    end_free(b);
    for (unsigned i = 0; i < 10 && a->links; i++)
        loop_run_once(f.loop, 100000000);
    assert_int_equal(a->links, 0);
    b = end_new(&f, connect_to);
    for (unsigned i = 0; i < 10 && !a->links; i++)
        loop_run_once(f.loop, 100000000);
    assert_int_equal(a->links, 1);
    /* The listener goes and comes back: the other side connects again by itself. */
    end_free(a);
    assert_int_not_equal(access(strchr(listen_at, '/'), F_OK), 0);
    a = end_new(&f, listen_at);
    for (unsigned i = 0; i < 40 && !a->links; i++)
        loop_run_once(f.loop, 100000000);
    assert_int_equal(a->links, 1);
    a->net->stats = b->net->stats = (struct net_stats){0};
    exchange(&f, b, a);
    end_free(b);
    end_free(a);
    fixture_fini(&f);
}

static void test_datagrams(void **state)
{
    struct fixture f;
    struct fixture_end *a, *b;
    char spec[2][128];

    for (int i = 0; i < 2; i++)
        snprintf(spec[i], sizeof spec[i], "socket,local=/tmp/ring3-net-%d-%d,remote="
                 "/tmp/ring3-net-%d-%d", getpid(), i, getpid(), !i);
    fixture_init(&f);
    a = end_new(&f, spec[0]);
    b = end_new(&f, spec[1]);
    for (unsigned i = 0; i < 20; i++) {
        uint8_t frame[100 + 1] = {(uint8_t)i};
        end_send(&f, a, NULL, frame, 60 + i);
        end_wait(&f, b, i + 1);
        assert_int_equal(b->len[i], 60 + i);
        assert_int_equal(b->frame[i][0], i);
    }
    end_free(a);
    end_free(b);
    fixture_fini(&f);
}

/* QEMU's format, byte by byte; and a peer that sends rubbish. */
static void test_wire(void **state)
{
    struct fixture f;
    struct fixture_end *a;
    uint8_t frame[60] = {1, 2, 3}, got[200];
    char spec[32];
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fixture_init(&f);
    snprintf(spec, sizeof spec, "socket,fd=%d", pair[0]);
    a = end_new(&f, spec);
    end_send(&f, a, NULL, frame, sizeof frame);
    assert_int_equal(read(pair[1], got, sizeof got), 64);
    assert_memory_equal(got, "\0\0\0\x3c", 4);
    assert_memory_equal(got + 4, frame, 60);
    /* In pieces. */
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(write(pair[1], got + i, 1), 1);
        loop_run_once(f.loop, 0);
    }
    end_wait(&f, a, 1);
    assert_int_equal(a->frames, 1);
    assert_memory_equal(a->frame[0], frame, 60);
    assert_int_equal(write(pair[1], "\xff\xff\xff\xff", 4), 4);
    for (unsigned i = 0; i < 3; i++)
        loop_run_once(f.loop, 10000000);
    assert_int_equal(read(pair[1], got, sizeof got), 0);     /* hung up on */
    end_send(&f, a, NULL, frame, sizeof frame);
    assert_int_equal(a->net->stats.tx_dropped, 1);
    end_free(a);
    close(pair[1]);
    fixture_fini(&f);
}

/* Nobody reads: frames are lost, we do not wait, and what arrives is whole. */
static void test_full(void **state)
{
    struct fixture f;
    struct fixture_end *a;
    static uint8_t frame[1500], got[4 << 20];
    size_t len = 0;
    char spec[32];
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    fixture_init(&f);
    snprintf(spec, sizeof spec, "socket,fd=%d", pair[0]);
    a = end_new(&f, spec);
    for (unsigned i = 0; i < 3000; i++)
        end_send(&f, a, NULL, frame, sizeof frame);
    assert_true(a->net->stats.tx_dropped > 500);
    for (unsigned idle = 0; idle < 20; idle++) {
        ssize_t n = read(pair[1], got + len, sizeof got - len);
        if (n > 0) {
            len += (size_t)n;
            idle = 0;
        }
        loop_run_once(f.loop, 0);
    }
    assert_int_equal(len, a->net->stats.tx_frames * 1504);
    for (size_t at = 0; at < len; at += 1504)
        assert_int_equal(get_be32(got + at), 1500);
    end_free(a);
    close(pair[1]);
    fixture_fini(&f);
}

static void test_capture(void **state)
{
    struct fixture f;
    struct fixture_end *a;
    struct error *err = NULL;
    uint8_t frame[60] = {9, 8, 7}, got[200];
    char spec[32], path[] = "/tmp/ring3-pcap-XXXXXX";
    struct rlimit before, small = {.rlim_cur = 24 + 76 + 40};
    int pair[2], fd = mkstemp(path);
    struct stat st;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fixture_init(&f);
    snprintf(spec, sizeof spec, "socket,fd=%d", pair[0]);
    a = end_new(&f, spec);
    assert_int_equal(net_capture(a->net, "/nonexistent/x.pcap", &err), -EINVAL);
    error_free(&err);
    assert_int_equal(net_capture(a->net, path, &err), 0);
    end_send(&f, a, NULL, frame, sizeof frame);
    assert_int_equal(read(fd, got, sizeof got), 24 + 16 + 60);
    assert_memory_equal(got, "\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(get_le32(got + 20), 1);
    assert_int_equal(get_le32(got + 24 + 8), 60);
    assert_int_equal(get_le32(got + 24 + 12), 60);
    assert_memory_equal(got + 40, frame, 60);
    /* The disk is full in the middle of the next one: whole records stay, frames go on. */
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    end_send(&f, a, NULL, frame, sizeof frame);
    end_send(&f, a, NULL, frame, sizeof frame);
    setrlimit(RLIMIT_FSIZE, &before);
    fstat(fd, &st);
    assert_int_equal(st.st_size, 24 + 76);
    assert_int_equal(a->net->stats.tx_frames, 3);
    end_free(a);
    close(pair[1]);
    close(fd);
    unlink(path);
    fixture_fini(&f);
}

/* What a guest's header says is done on the way to a back end that takes nothing. */
static void test_fallback(void **state)
{
    struct fixture f;
    struct fixture_end *a;
    static uint8_t frame[54 + 3000], got[8000];
    struct net_header h = {.flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_TCPV4,
                    .gso_size = 1000, .csum_start = 34, .csum_offset = 16};
    char spec[32];
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fixture_init(&f);
    snprintf(spec, sizeof spec, "socket,fd=%d", pair[0]);
    a = end_new(&f, spec);
    put_be16(frame + 12, 0x0800);
    frame[14] = 0x45;
    frame[23] = 6;
    frame[46] = 0x50;
    end_send(&f, a, &h, frame, sizeof frame);
    assert_int_equal(read(pair[1], got, sizeof got), 3 * (4 + 1054));
    assert_int_equal(get_be32(got + 4 + 1054), 1054);
    assert_int_equal(a->net->stats.tx_frames, 1);
    h.gso_size = 0;
    end_send(&f, a, &h, frame, sizeof frame);
    end_send(&f, a, NULL, frame, 13);
    assert_int_equal(a->net->stats.tx_dropped, 2);
    end_free(a);
    close(pair[1]);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options), cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_stream), cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_wire), cmocka_unit_test(test_full),
        cmocka_unit_test(test_capture), cmocka_unit_test(test_fallback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
