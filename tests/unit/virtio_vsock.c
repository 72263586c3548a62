/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio_vsock.c - the host's side of vsock: we are the guest, and the host's programs. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"
#include "virtio/vsock_host.h"

enum { CID = 7, PORT = 1234, GUEST = 99, CREDIT = 100000 };

static char folder[] = "/tmp/ring3-vsock-XXXXXX";
static char path[64];
static struct loop *loop;
static struct vsock_host *h;
static unsigned readies;
static struct vsock_packet got;
static uint8_t data[VSOCK_DATA_MAX];

static void on_ready(void *opaque)
{
    readies++;
}

static int setup(void **state)
{
    loop = loop_new(NULL);
    h = vsock_host_new(loop, CID, path, on_ready, NULL, NULL);
    assert_non_null(h);
    return 0;
}

static int teardown(void **state)
{
    vsock_host_free(h);
    loop_free(loop);
    assert_int_not_equal(access(path, F_OK), 0);
    return 0;
}

static void turn_loop(void)
{
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 0);
}

static struct sockaddr_un address(const char *suffix)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(at.sun_path, sizeof at.sun_path, "%s%s", path, suffix);
    return at;
}

static int listen_at(const char *suffix)
{
    struct sockaddr_un at = address(suffix);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    unlink(at.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static int dial(const char *text)
{
    struct sockaddr_un at = address("");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    if (text)
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void give_full(enum vsock_op op, uint32_t host_port, uint32_t guest_port, uint32_t len,
                      uint32_t flags, uint32_t taken)
{
    static uint8_t bytes[VSOCK_DATA_MAX];
    const struct vsock_packet p = {
        .src_cid = CID, .dst_cid = VSOCK_HOST_CID, .src_port = guest_port, .dst_port = host_port,
        .len = len, .type = VSOCK_STREAM, .op = (uint16_t)op, .flags = flags,
        .buf_alloc = CREDIT, .fwd_cnt = taken,
    };

    memset(bytes, 'g', len);
    vsock_host_packet(h, &p, bytes);
}

static void give(enum vsock_op op, uint32_t len, uint32_t flags)
{
    give_full(op, PORT, GUEST, len, flags, 0);
}

static bool next(void)
{
    turn_loop();
    return vsock_host_next(h, &got, data, sizeof data);
}

static void expect_next(enum vsock_op op)
{
    assert_true(next());
    assert_int_equal(got.op, op);
    assert_true(got.src_cid == VSOCK_HOST_CID && got.dst_cid == CID && got.type == VSOCK_STREAM);
}

/* The guest has called; returns the host's end. */
static int guest_calls(void)
{
    int listener = listen_at("_1234");

    give(VSOCK_REQUEST, 0, 0);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(fd >= 0);
    close(listener);
    expect_next(VSOCK_RESPONSE);
    assert_true(got.src_port == PORT && got.dst_port == GUEST);
    assert_int_equal(got.buf_alloc, VSOCK_BUFFER_BYTES);
    return fd;
}

static void guest_to_host(void **state)
{
    char buf[16] = "";
    int fd = guest_calls();

    give(VSOCK_RW, 5, 0);
    assert_int_equal(read(fd, buf, sizeof buf), 5);
    assert_memory_equal(buf, "ggggg", 5);
    assert_int_equal(write(fd, "hello", 5), 5);
    expect_next(VSOCK_RW);
    assert_int_equal(got.len, 5);
    assert_int_equal(got.fwd_cnt, 5);
    assert_memory_equal(data, "hello", 5);
    assert_false(next());
    /* The guest is done: what it sent arrives, then the end, then the connection goes. */
    give(VSOCK_RW, 3, 0);
    give(VSOCK_SHUTDOWN, 0, VSOCK_SHUTDOWN_SEND);
    assert_int_equal(read(fd, buf, sizeof buf), 3);
    assert_int_equal(read(fd, buf, sizeof buf), 0);
    assert_int_equal(write(fd, "late", 4), 4);
    expect_next(VSOCK_RW);
    give(VSOCK_SHUTDOWN, 0, VSOCK_SHUTDOWN_RECEIVE);
    expect_next(VSOCK_RST);
    close(fd);
}

static void nobody_listens(void **state)
{
    give(VSOCK_REQUEST, 0, 0);
    expect_next(VSOCK_RST);
    assert_true(got.src_port == PORT && got.dst_port == GUEST);
    assert_false(next());
}

static void host_to_guest(void **state)
{
    char buf[32] = "";
    int fd = dial("CONNECT 52\nearly");

    expect_next(VSOCK_REQUEST);
    assert_int_equal(got.dst_port, 52);
    uint32_t port = got.src_port;
    assert_int_equal(read(fd, buf, sizeof buf), -1);
    assert_false(next());                            /* nothing before the guest accepts */
    give_full(VSOCK_RESPONSE, port, 52, 0, 0, 0);
    ssize_t n = read(fd, buf, sizeof buf - 1);
    assert_true(n > 0 && strncmp(buf, "OK ", 3) == 0 && (uint32_t)atoll(buf + 3) == port);
    expect_next(VSOCK_RW);
    assert_memory_equal(data, "early", 5);
    close(fd);
    expect_next(VSOCK_SHUTDOWN);
    assert_int_equal(got.flags, VSOCK_SHUTDOWN_SEND);
    give_full(VSOCK_SHUTDOWN, port, 52, 0, 3, 0);
    expect_next(VSOCK_RST);
    /* Refused by the guest: closed. */
    fd = dial("CONNECT 53\n");
    expect_next(VSOCK_REQUEST);
    assert_int_not_equal(got.src_port, port);
    give_full(VSOCK_RST, got.src_port, 53, 0, 0, 0);
    assert_int_equal(read(fd, buf, sizeof buf), 0);
    close(fd);
}

static void greetings_that_are_none(void **state)
{
    static const char *const bad[] = {"GET / HTTP/1.0\r\n", "CONNECT\n", "CONNECT x\n",
                                      "CONNECT 99999999999999\n", "CONNECT 4294967295\n", "\n",
                                      "CONNECT 5 6\n", "CONNECT -1\n",
                                      "CONNECT 1000000000000000000000000000000000000000000"};
    char c;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int fd = dial(bad[i]);
        assert_false(next());
        ssize_t n = read(fd, &c, 1);
        assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
        close(fd);
    }
    /* In pieces. */
    int fd = dial("CONN");
    assert_false(next());
    unsigned before = readies;
    turn_loop();
    assert_int_equal(readies, before);               /* it does not spin meanwhile */
    assert_int_equal(write(fd, "ECT 8\n", 6), 6);
    expect_next(VSOCK_REQUEST);
    close(fd);
}

static void credit_of_the_guest(void **state)
{
    static uint8_t block[4096];
    size_t written = 0, sent = 0;
    int fd = guest_calls();
    ssize_t n;

    do {
        while ((n = write(fd, block, sizeof block)) > 0)
            written += (size_t)n;
        while (next())
            sent += got.len;
    } while (sent < CREDIT && written < 10 * CREDIT);
    assert_int_equal(sent, CREDIT);
    assert_false(next());
    give_full(VSOCK_CREDIT_UPDATE, PORT, GUEST, 0, 0, CREDIT / 2);
    while (next())
        sent += got.len;
    assert_int_equal(sent, CREDIT / 2 * 3);
    /* Nonsense: more taken than was ever sent. */
    give_full(VSOCK_CREDIT_UPDATE, PORT, GUEST, 0, 0, 0x7fffffff);
    turn_loop();
    close(fd);
}

static void credit_of_the_host(void **state)
{
    static uint8_t block[65536];
    size_t sent = 0, got_bytes = 0;
    uint32_t told = 0;
    int fd = guest_calls();
    ssize_t n;

    /* A sender that keeps to what it is told never loses its connection. */
    for (int i = 0; i < 400; i++) {
        while (sent + 40000 <= (size_t)told + VSOCK_BUFFER_BYTES) {
            give(VSOCK_RW, 40000, 0);
            sent += 40000;
        }
        if ((n = read(fd, block, i % 7 ? 20000 : sizeof block)) > 0)
            got_bytes += (size_t)n;
        while (next()) {
            assert_int_equal(got.op, VSOCK_CREDIT_UPDATE);
            told = got.fwd_cnt;
        }
    }
    assert_true(got_bytes > 3 * VSOCK_BUFFER_BYTES);
    give(VSOCK_CREDIT_REQUEST, 0, 0);
    expect_next(VSOCK_CREDIT_UPDATE);
    /* One that does not loses it, and nobody else does. */
    for (int i = 0; i < 40; i++)
        give(VSOCK_RW, 60000, 0);
    bool reset = false;
    while (next())
        reset |= got.op == VSOCK_RST;
    assert_true(reset);
    while (read(fd, block, sizeof block) > 0)
        ;
    assert_int_equal(read(fd, block, 1), 0);
    close(fd);
}

static void packets_out_of_place(void **state)
{
    struct vsock_packet p = {.src_cid = CID, .dst_cid = VSOCK_HOST_CID, .src_port = 1,
                             .dst_port = 2, .type = VSOCK_STREAM};

    for (unsigned op = 0; op < 12; op++) {
        p.op = (uint16_t)op;
        vsock_host_packet(h, &p, data);
        if (op == VSOCK_RST)
            assert_false(next());
        else
            expect_next(VSOCK_RST);
    }
    p.op = VSOCK_REQUEST;
    p.src_cid = 5;                                   /* somebody else's */
    vsock_host_packet(h, &p, data);
    assert_false(next());
    p.src_cid = CID;
    p.dst_cid = 9;
    vsock_host_packet(h, &p, data);
    assert_false(next());
    p.dst_cid = VSOCK_HOST_CID;
    p.type = 2;                                      /* seqpacket: not offered */
    vsock_host_packet(h, &p, data);
    expect_next(VSOCK_RST);
    for (int i = 0; i < 1000; i++)
        vsock_host_packet(h, &p, data);
    unsigned resets = 0;
    while (next())
        resets++;
    assert_true(resets > 0 && resets < 100);
    int fd = guest_calls();
    give(VSOCK_REQUEST, 0, 0);                       /* twice */
    expect_next(VSOCK_RST);
    close(fd);
}

static void many_connections(void **state)
{
    int listener = listen_at("_1234"), fd[8];

    for (unsigned i = 0; i < 8; i++) {
        give_full(VSOCK_REQUEST, PORT, i, 0, 0, 0);
        fd[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        assert_int_equal(write(fd[i], "x", 1), 1);
    }
    unsigned from[8] = {0};
    while (next())
        if (got.op == VSOCK_RW)
            from[got.dst_port]++;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(from[i], 1);
        close(fd[i]);
    }
    vsock_host_reset(h);
    assert_false(next());
    /* No more than the limit. */
    for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX + 10; i++) {
        give_full(VSOCK_REQUEST, PORT, i, 0, 0, 0);
        int a = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (a >= 0)
            close(a);
    }
    unsigned answers[8] = {0};
    while (next())
        answers[got.op]++;
    assert_int_equal(answers[VSOCK_RST], 10);
    close(listener);
}

static void random_packets(void **state)
{
    int listener = listen_at("_1234");
    uint64_t seed = 1;

    fcntl(listener, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 30000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t r = (uint32_t)(seed >> 32);
        give_full((enum vsock_op)(r % 10), r & 16 ? PORT : r % 7, r >> 5 & 3, (r >> 8) % 3000,
                  r >> 9 & 3, r & 32 ? r : 0);
        if (r % 5 == 0) {
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd >= 0 && (r & 64))
                assert_true(write(fd, "abc", 3) != 0);
            if (fd >= 0)
                close(fd);
        }
        if (r % 3 == 0)
            next();
    }
    close(listener);
}

static void where_the_socket_cannot_be(void **state)
{
    struct error *err = NULL;
    char name[200];

    assert_null(vsock_host_new(loop, CID, path, on_ready, NULL, &err));
    expect_error(-err->code, EADDRINUSE, &err, "left it behind");
    assert_int_equal(access(path, F_OK), 0);         /* and is still the other's */
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_null(vsock_host_new(loop, CID, name, on_ready, NULL, &err));
    expect_error(-err->code, ENAMETOOLONG, &err, "is longer than");
    assert_null(vsock_host_new(loop, CID, "/nonexistent/s", on_ready, NULL, &err));
    expect_error(-err->code, ENOENT, &err, "cannot make the socket '/nonexistent/s'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(guest_to_host), T(nobody_listens), T(host_to_guest), T(greetings_that_are_none),
        T(credit_of_the_guest), T(credit_of_the_host), T(packets_out_of_place),
        T(many_connections), T(random_packets), T(where_the_socket_cannot_be),
#undef T
    };

    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/s", folder);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || r;
}
