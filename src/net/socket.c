/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket.c - joins VMs to one another: each frame with its length (32 bits, big
 * endian) in front on a stream, or a frame per datagram. That is what QEMU's
 * `-netdev stream`, `dgram` and `socket` speak, so either may be at the other end.
 *
 * Streams: `listen` takes one peer at a time, and the next when it is gone;
 * `connect` connects at the start (a failure is an error then) and again every
 * second when the peer goes. The guest sees a cable pulled and plugged.
 * Frames are complete: there is no word for what is left undone on this wire.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/params.h"
#include "base/strbuf.h"
#include "net/address.h"
#include "net/backends.h"

enum { LENGTH_BYTES = 4, IN_BYTES = 256 << 10, OUT_MAX = 1 << 20, BATCH = 64, RETRY_S = 1 };

struct socket_config {
    char *listen, *connect, *local, *remote;
    uint64_t fd;
};

#define FIELD(f) offsetof(struct socket_config, f)
static const struct param keys[] = {
    {"listen", PARAM_STRING, FIELD(listen), .help = "wait for a peer at this address"},
    {"connect", PARAM_STRING, FIELD(connect), .help = "connect to a peer that listens"},
    {"fd", PARAM_NUMBER, FIELD(fd), .max = INT32_MAX, .help = "a connected stream socket"},
    {"local", PARAM_STRING, FIELD(local), .help = "datagrams: our address"},
    {"remote", PARAM_STRING, FIELD(remote), .help = "datagrams: the peer's address"},
    {NULL},
};
#undef FIELD

struct socket_net {
    struct net net;
    struct socket_config config;
    struct address address;          /* listen, connect, remote */
    int listen_fd, fd, retry_fd;     /* -1: none */
    struct loop_watch *listening, *watch, *retry;
    bool datagrams, connecting, blocked;
    struct address local;
    struct log_limit complaints;
    uint8_t *out;                    /* what the stream did not take yet */
    size_t out_len;
    size_t in_len;
    uint8_t in[IN_BYTES];
};

static struct socket_net *to_socket(const struct net *n)
{
    return container_of(n, struct socket_net, net);
}

static unsigned wanted_events(const struct socket_net *s)
{
    return (s->blocked || s->connecting ? 0 : LOOP_READ) |
           (s->out_len || s->connecting ? LOOP_WRITE : 0);
}

static void set_watch(struct socket_net *s)
{
    if (s->watch)
        loop_watch_change(s->watch, wanted_events(s));
}

/* ---- a peer comes and goes ------------------------------------------------ */

static void set_retry(struct socket_net *s, bool on)
{
    const struct itimerspec t = {.it_value.tv_sec = on ? RETRY_S : 0,
                                 .it_interval.tv_sec = on ? RETRY_S : 0};

    if (s->retry_fd >= 0)
        timerfd_settime(s->retry_fd, 0, &t, NULL);
}

static void disconnect(struct socket_net *s)
{
    if (s->fd < 0)
        return;
    loop_unwatch(s->watch);
    s->watch = NULL;
    close(s->fd);
    s->fd = -1;
    s->in_len = s->out_len = 0;
    s->blocked = false;
    if (!s->connecting)
        net_link(&s->net, false);
    s->connecting = false;
    if (s->listening)
        loop_watch_change(s->listening, LOOP_READ);
    set_retry(s, true);
}

static void on_event(void *opaque, unsigned events);

static int start(struct socket_net *s, int fd, struct error **err)
{
    s->watch = loop_watch_fd(s->net.env.loop, fd, wanted_events(s), on_event, s, err);
    if (!s->watch) {
        close(fd);
        return -EIO;
    }
    s->fd = fd;
    if (!s->connecting)
        net_link(&s->net, true);
    return 0;
}

static void on_peer(void *opaque, unsigned events)
{
    struct socket_net *s = opaque;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 && start(s, fd, NULL) == 0)
        loop_watch_change(s->listening, 0);
}

static void on_retry(void *opaque, unsigned events)
{
    struct socket_net *s = opaque;
    uint64_t times;
    int fd;

    if (read(s->retry_fd, &times, sizeof times) < 0 || s->fd >= 0)
        return;
    fd = address_connect_start(&s->address);
    if (fd < 0)
        return;
    s->connecting = true;
    if (start(s, fd, NULL) == 0)
        set_retry(s, false);
    else
        s->connecting = false;
}

static void finish_connect(struct socket_net *s)
{
    socklen_t len = sizeof(int);
    int code = 0;

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 || code) {
        disconnect(s);
        return;
    }
    s->connecting = false;
    net_link(&s->net, true);
    set_watch(s);
}

/* ---- towards the guest ---------------------------------------------------- */

/* Passes on the whole frames of `in`. False when the stream makes no sense. */
static bool parse_in(struct socket_net *s)
{
    size_t at = 0;

    while (s->in_len - at >= LENGTH_BYTES) {
        uint32_t len = get_be32(s->in + at);
        struct iovec iov = {s->in + at + LENGTH_BYTES, len};

        if (!len || len > NET_FRAME_MAX)
            return false;
        if (s->in_len - at < LENGTH_BYTES + len)
            break;
        if (len >= NET_FRAME_MIN && !net_receive(&s->net, 0, NULL, &iov, 1)) {
            s->blocked = true;
            break;
        }
        at += LENGTH_BYTES + len;
    }
    memmove(s->in, s->in + at, s->in_len - at);
    s->in_len -= at;
    return true;
}

static void take_in(struct socket_net *s)
{
    if (parse_in(s)) {
        set_watch(s);
        return;
    }
    log_guest(s->net.env.log, &s->complaints, "network socket: what the peer sends is no frame: "
              "disconnected");
    disconnect(s);
}

static void read_stream(struct socket_net *s)
{
    ssize_t got = read(s->fd, s->in + s->in_len, sizeof s->in - s->in_len);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        disconnect(s);
        return;
    }
    if (got > 0) {
        s->in_len += (size_t)got;
        take_in(s);
    }
}

/* in_len is the frame that the device had no room for. */
static bool pass_datagram(struct socket_net *s)
{
    const struct iovec iov = {s->in, s->in_len};

    s->blocked = s->in_len >= NET_FRAME_MIN && !net_receive(&s->net, 0, NULL, &iov, 1);
    if (!s->blocked)
        s->in_len = 0;
    return !s->blocked;
}

static void read_datagrams(struct socket_net *s)
{
    for (unsigned i = 0; i < BATCH && !s->blocked; i++) {
        ssize_t got = recv(s->fd, s->in, NET_FRAME_MAX, 0);

        if (got < 0)
            break;
        s->in_len = (size_t)got;
        pass_datagram(s);
    }
    set_watch(s);
}

static void socket_receive_ready(struct net *n, unsigned queue)
{
    struct socket_net *s = to_socket(n);

    if (!s->blocked)
        return;
    s->blocked = false;
    if (!s->datagrams)
        take_in(s);
    else if (pass_datagram(s))
        set_watch(s);
}

/* ---- towards the outside -------------------------------------------------- */

static void flush_out(struct socket_net *s)
{
    ssize_t wrote = send(s->fd, s->out, s->out_len, MSG_NOSIGNAL);

    if (wrote < 0 && errno != EAGAIN && errno != EINTR) {
        disconnect(s);
        return;
    }
    if (wrote > 0) {
        s->out_len -= (size_t)wrote;
        memmove(s->out, s->out + wrote, s->out_len);
        set_watch(s);
    }
}

static void on_event(void *opaque, unsigned events)
{
    struct socket_net *s = opaque;

    if (s->connecting) {
        finish_connect(s);
        return;
    }
    if (events & LOOP_WRITE && s->out_len)
        flush_out(s);
    if (events & LOOP_READ && s->fd >= 0) {
        if (s->datagrams)
            read_datagrams(s);
        else
            read_stream(s);
    }
}

/* What is left of a frame after `skip` bytes of it went out. */
static void keep_rest(struct socket_net *s, const struct iovec *v, unsigned n, size_t skip)
{
    for (unsigned i = 0; i < n; i++) {
        size_t jump = min_u64(skip, v[i].iov_len);

        memcpy(s->out + s->out_len, (const uint8_t *)v[i].iov_base + jump, v[i].iov_len - jump);
        s->out_len += v[i].iov_len - jump;
        skip -= jump;
    }
    set_watch(s);
}

static bool send_stream(struct socket_net *s, struct iovec *v, unsigned n, size_t bytes)
{
    const struct msghdr m = {.msg_iov = v, .msg_iovlen = n};
    ssize_t wrote = 0;

    if (s->out_len + bytes > OUT_MAX)
        return false;
    if (!s->out_len)
        wrote = sendmsg(s->fd, &m, MSG_NOSIGNAL);
    if (wrote < 0 && errno != EAGAIN && errno != EINTR) {
        /* Not disconnect(): we are inside the device's call. The watch tells. */
        return false;
    }
    if (wrote < 0)
        wrote = 0;
    if ((size_t)wrote < bytes)
        keep_rest(s, v, n, (size_t)wrote);
    return true;
}

static bool socket_send(struct net *n, unsigned queue, const struct net_header *h,
                        const struct iovec *iov, unsigned iovs)
{
    struct socket_net *s = to_socket(n);
    size_t bytes = net_iov_bytes(iov, iovs);
    struct iovec v[NET_IOVS_MAX];
    uint8_t length[LENGTH_BYTES];
    const struct msghdr datagram = {.msg_name = &s->address.at, .msg_namelen = s->address.len,
                                    .msg_iov = (struct iovec *)(uintptr_t)iov,
                                    .msg_iovlen = iovs};

    if (s->fd < 0 || s->connecting || iovs >= NET_IOVS_MAX)
        return false;
    if (s->datagrams)
        return sendmsg(s->fd, &datagram, MSG_NOSIGNAL) >= 0;
    put_be32(length, (uint32_t)bytes);
    v[0] = (struct iovec){length, sizeof length};
    memcpy(v + 1, iov, iovs * sizeof *iov);
    return send_stream(s, v, iovs + 1, bytes + LENGTH_BYTES);
}

/* ---- opening -------------------------------------------------------------- */

static void socket_describe(const struct net *n, struct strbuf *out)
{
    const struct socket_net *s = to_socket(n);
    const struct socket_config *c = &s->config;

    strbuf_addf(out, "  %s %s, %s\n", c->listen ? "listens on" : c->connect ? "connects to" :
                c->remote ? "datagrams to" : "descriptor",
                c->listen ? c->listen : c->connect ? c->connect : c->remote ? c->remote : "given",
                s->fd >= 0 && !s->connecting ? "connected" : "not connected");
}

static void socket_close(struct net *n)
{
    struct socket_net *s = to_socket(n);
    const struct address *own = s->config.local ? &s->local : &s->address;
    bool bound = s->config.local ? s->fd >= 0 : s->listen_fd >= 0;

    loop_unwatch(s->watch);
    loop_unwatch(s->listening);
    loop_unwatch(s->retry);
    if (bound && address_path(own))
        unlink(address_path(own));
    if (s->fd >= 0)
        close(s->fd);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->retry_fd >= 0)
        close(s->retry_fd);
    params_fini(keys, &s->config);
    free(s->out);
    free(s);
}

static int check_config(const struct socket_config *c, struct error **err)
{
    int ways = !!c->listen + !!c->connect + (c->fd != UINT64_MAX) + (c->local || c->remote);

    if (ways == 1 && !c->local == !c->remote)
        return 0;
    error_set(err, EINVAL, "a socket network needs one way to its peer");
    error_hint(err, "write listen=ADDRESS, connect=ADDRESS, fd=N, or local=ADDRESS,remote=ADDRESS");
    return -EINVAL;
}

static int open_listen(struct socket_net *s, struct error **err)
{
    s->listen_fd = address_listen(&s->address, SOCK_STREAM, s->config.listen, err);
    if (s->listen_fd < 0)
        return s->listen_fd;
    s->net.link_down = true;
    s->listening = loop_watch_fd(s->net.env.loop, s->listen_fd, LOOP_READ, on_peer, s, err);
    return s->listening ? 0 : -EIO;
}

static int open_connect(struct socket_net *s, struct error **err)
{
    int fd = address_connect(&s->address, s->config.connect, err);

    if (fd < 0)
        return fd;
    s->retry_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->retry_fd >= 0)
        s->retry = loop_watch_fd(s->net.env.loop, s->retry_fd, LOOP_READ, on_retry, s, NULL);
    return start(s, fd, err);
}

static int open_datagrams(struct socket_net *s, struct error **err)
{
    int rc = address_parse(&s->local, s->config.local, err), fd;

    if (!rc && s->local.at.ss_family != s->address.at.ss_family)
        rc = error_set(err, EINVAL, "local=%s and remote=%s are of different kinds",
                       s->config.local, s->config.remote);
    if (rc)
        return rc;
    fd = address_listen(&s->local, SOCK_DGRAM, s->config.local, err);
    s->datagrams = true;
    return fd < 0 ? fd : start(s, fd, err);
}

static int open_any(struct socket_net *s, const char *text, struct error **err)
{
    struct socket_config *c = &s->config;
    const char *address;
    int rc = params_parse(keys, c, text, err);

    if (!rc)
        rc = check_config(c, err);
    if (rc)
        return rc;
    if (c->fd != UINT64_MAX) {
        int type = 0;
        socklen_t len = sizeof type;

        if (getsockopt((int)c->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
            return error_set(err, EINVAL, "descriptor %d is no stream socket", (int)c->fd);
        return start(s, (int)c->fd, err);
    }
    address = c->listen ? c->listen : c->connect ? c->connect : c->remote;
    rc = address_parse(&s->address, address, err);
    if (rc)
        return rc;
    return c->listen ? open_listen(s, err) : c->connect ? open_connect(s, err)
                                                        : open_datagrams(s, err);
}

static struct net *socket_open(const struct net_env *env, const char *text, struct error **err)
{
    struct socket_net *s = calloc(1, sizeof *s);

    BUG_ON(!s);
    s->net = (struct net){.ops = &net_socket, .env = *env};
    s->config.fd = UINT64_MAX;
    s->listen_fd = s->fd = s->retry_fd = -1;
    s->out = malloc(OUT_MAX);
    BUG_ON(!s->out);
    if (open_any(s, text, err) == 0)
        return &s->net;
    socket_close(&s->net);
    return NULL;
}

const struct net_ops net_socket = {
    .name = "socket",
    .summary = "a stream or datagrams to another VM",
    .keys = keys,
    .open = socket_open,
    .send = socket_send,
    .receive_ready = socket_receive_ready,
    .describe = socket_describe,
    .close = socket_close,
};
