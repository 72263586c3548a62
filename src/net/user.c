/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * user.c - a network for guests without any privilege: libslirp 4.7.
 *
 * libslirp is a TCP/IP stack that turns the guest's connections into sockets of
 * this process. It is built for a program around poll(): before sleeping it
 * tells what to wait for, after it is told what came. Our loop is built on
 * epoll, so what libslirp waits for is kept in an epoll set of its own
 * (`sockets`), which the loop watches like any descriptor. What to wait for
 * changes with every frame the guest sends; that is not looked at then but once
 * in the loop's thread (`dirty`, `changed_fd`), for any number of frames.
 *
 * Frames from the guest may come with checksum and segmentation undone: libslirp
 * takes a TCP segment of 64 KiB as it takes any, which is where the speed of
 * uploads comes from; only the checksum is filled in, since it looks at that.
 *
 * FLOW. While the device has no room, frames wait here and sockets are not looked
 * at; timers go on.
 */
#include <errno.h>
#include <slirp/libslirp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "net/backends.h"
#include "net/frames.h"
#include "net/offload.h"
#include "net/user_config.h"

enum { WAITING_MAX = 4 << 20, NS_PER_MS = 1000000 };

struct user_timer {
    SlirpTimerId id;
    void *opaque;
    struct user *user;
    int64_t due_ms;                  /* INT64_MAX: not armed */
    struct user_timer *next;
};

/* What the epoll set has for a descriptor. */
struct slot { uint32_t events, round; };

struct user {
    struct net net;
    struct user_config config;
    Slirp *slirp;
    int sockets_fd, timer_fd, changed_fd;
    struct loop_watch *sockets, *timer, *changed;
    struct pollfd *poll;             /* what libslirp asked for last time */
    unsigned polls, polls_cap;
    struct slot *slot;               /* by descriptor */
    unsigned slots;
    uint32_t round;
    struct user_timer *timers;
    int64_t wake_ms;                 /* what the timerfd is set to */
    bool dirty;
    struct frames waiting;
    struct log_limit guest_errors;
    uint8_t frame[NET_FRAME_MAX];
};

static struct user *to_user(const struct net *n)
{
    return container_of(n, struct user, net);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int64_t now_ms(void)
{
    return now_ns() / NS_PER_MS;
}

/* ---- what libslirp waits for ---------------------------------------------- */

static struct slot *slot_of(struct user *u, int fd)
{
    if ((unsigned)fd >= u->slots) {
        unsigned more = (unsigned)fd + 64;

        u->slot = realloc(u->slot, more * sizeof *u->slot);
        BUG_ON(!u->slot);
        memset(u->slot + u->slots, 0, (more - u->slots) * sizeof *u->slot);
        u->slots = more;
    }
    return &u->slot[fd];
}

/* A closed descriptor leaves the set by itself, and its number comes back as
 * another socket's: so each step takes what the kernel says for what is. */
static void set_events(struct user *u, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    struct slot *s = slot_of(u, fd);

    s->round = u->round;
    if (s->events == events)
        return;
    if (!events)
        epoll_ctl(u->sockets_fd, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(u->sockets_fd, s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
        epoll_ctl(u->sockets_fd, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    s->events = events;
}

static int add_poll(int fd, int events, void *opaque)
{
    struct user *u = opaque;
    short want = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) |
                         (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                         (events & SLIRP_POLL_PRI ? POLLPRI : 0));

    if (u->polls == u->polls_cap) {
        u->polls_cap = u->polls_cap ? u->polls_cap * 2 : 32;
        u->poll = realloc(u->poll, u->polls_cap * sizeof *u->poll);
        BUG_ON(!u->poll);
    }
    u->poll[u->polls] = (struct pollfd){.fd = fd, .events = want};
    return (int)u->polls++;
}

static int get_revents(int index, void *opaque)
{
    const struct user *u = opaque;
    short got = index >= 0 && (unsigned)index < u->polls ? u->poll[index].revents : 0;

    return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
           (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static void wake_at(struct user *u, int64_t ms)
{
    struct itimerspec t = {.it_value = {ms / 1000, ms % 1000 * NS_PER_MS}};

    /* Too early does no harm, and saves a system call for nearly every frame. */
    if (ms >= u->wake_ms && u->wake_ms > now_ms())
        return;
    if (ms == INT64_MAX)
        t = (struct itimerspec){0};
    timerfd_settime(u->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
    u->wake_ms = ms;
}

static void prepare(struct user *u)
{
    uint32_t timeout = UINT32_MAX;
    int64_t wake;

    /* Those of last time that are not asked for again go. POLLPRI as EPOLLPRI: same bits. */
    struct pollfd *before = u->poll;
    unsigned befores = u->polls;

    u->poll = NULL;
    u->polls = u->polls_cap = 0;
    slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
    u->round++;
    for (unsigned i = 0; i < u->polls; i++)
        set_events(u, u->poll[i].fd, (uint32_t)u->poll[i].events);
    for (unsigned i = 0; i < befores; i++)
        if (slot_of(u, before[i].fd)->round != u->round)
            set_events(u, before[i].fd, 0);
    free(before);
    wake = timeout == UINT32_MAX ? INT64_MAX : now_ms() + timeout;
    for (struct user_timer *t = u->timers; t; t = t->next)
        wake = t->due_ms < wake ? t->due_ms : wake;
    wake_at(u, wake);
}

/* One turn of the program that libslirp imagines itself in. */
static void turn(struct user *u)
{
    int rc = poll(u->poll, u->polls, 0);

    slirp_pollfds_poll(u->slirp, rc < 0, get_revents, u);
    prepare(u);
}

static void on_sockets(void *opaque, unsigned events)
{
    turn(opaque);
}

static void on_timer(void *opaque, unsigned events)
{
    struct user *u = opaque;
    int64_t now = now_ms();
    uint64_t times;

    if (read(u->timer_fd, &times, sizeof times) < 0)
        return;
    u->wake_ms = 0;
    for (struct user_timer *t = u->timers, *next; t; t = next) {
        next = t->next;
        if (t->due_ms <= now) {
            t->due_ms = INT64_MAX;
            slirp_handle_timer(u->slirp, t->id, t->opaque);
        }
    }
    if (!u->waiting.first)
        turn(u);
    else
        prepare(u);
}

static void on_changed(void *opaque, unsigned events)
{
    struct user *u = opaque;
    eventfd_t n;

    eventfd_read(u->changed_fd, &n);
    u->dirty = false;
    prepare(u);
}

static void mark_dirty(struct user *u)
{
    if (!u->dirty)
        eventfd_write(u->changed_fd, 1);
    u->dirty = true;
}

/* ---- what libslirp calls -------------------------------------------------- */

/* It has filled in checksums and we are on one machine: nobody need look again. */
static const struct net_header checked = {.flags = NET_DATA_VALID};

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
    struct user *u = opaque;
    const struct iovec iov = {(void *)(uintptr_t)buf, len};

    if (!u->waiting.first && net_receive(&u->net, 0, &checked, &iov, 1))
        return (ssize_t)len;
    if (!frames_add(&u->waiting, &checked, &iov, 1, WAITING_MAX))
        u->net.stats.rx_dropped++;
    else
        loop_watch_change(u->sockets, 0);
    return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
    struct user *u = opaque;

    log_guest(u->net.env.log, &u->guest_errors, "network user: %s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    return now_ns();
}

static void *timer_new_opaque(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    struct user_timer *t = calloc(1, sizeof *t);
    struct user *u = opaque;

    BUG_ON(!t);
    *t = (struct user_timer){id, cb_opaque, u, INT64_MAX, u->timers};
    u->timers = t;
    return t;
}

static void timer_free(void *timer, void *opaque)
{
    struct user *u = opaque;

    for (struct user_timer **p = &u->timers; *p; p = &(*p)->next) {
        if (*p == timer) {
            *p = (*p)->next;
            free(timer);
            return;
        }
    }
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    ((struct user_timer *)timer)->due_ms = expire_ms;
    mark_dirty(opaque);
}

static void register_poll_fd(int fd, void *opaque)
{
}

static void unregister_poll_fd(int fd, void *opaque)
{
    struct user *u = opaque;

    if (fd >= 0)
        set_events(u, fd, 0);
}

static void notify(void *opaque)
{
    mark_dirty(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new_opaque = timer_new_opaque,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_poll_fd,
    .unregister_poll_fd = unregister_poll_fd,
    .notify = notify,
};

/* ---- the back end --------------------------------------------------------- */

static unsigned user_takes(const struct net *n)
{
    return NET_CSUM | NET_TSO4 | NET_TSO6;
}

struct checksummed { size_t len; };

static bool keep_len(void *opaque, const uint8_t *frame, size_t len)
{
    ((struct checksummed *)opaque)->len = len;
    return true;
}

static bool user_send(struct net *n, unsigned queue, const struct net_header *h,
                      const struct iovec *iov, unsigned iovs)
{
    struct user *u = to_user(n);
    size_t len = net_iov_gather(iov, iovs, u->frame, sizeof u->frame);

    if (h) {
        struct net_header whole = *h;
        struct checksummed c;

        whole.gso_type = NET_GSO_NONE;
        if (offload_finish(&whole, u->frame, len, keep_len, &c) < 0)
            return false;
    }
    slirp_input(u->slirp, u->frame, (int)len);
    mark_dirty(u);
    return true;
}

static void user_receive_ready(struct net *n, unsigned queue)
{
    struct user *u = to_user(n);

    if (!frames_flush(&u->waiting, n, 0))
        return;
    loop_watch_change(u->sockets, LOOP_READ);
}

static void describe_forward(const struct user_forward *f, struct strbuf *out)
{
    char host[INET_ADDRSTRLEN], guest[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &f->host, host, sizeof host);
    inet_ntop(AF_INET, &f->guest, guest, sizeof guest);
    strbuf_addf(out, "  forward %s %s:%u -> %s:%u\n", f->udp ? "udp" : "tcp", host, f->host_port,
                guest, f->guest_port);
}

static void user_describe(const struct net *n, struct strbuf *out)
{
    const struct user *u = to_user(n);
    char net[INET_ADDRSTRLEN], host[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &u->config.net, net, sizeof net);
    inet_ntop(AF_INET, &u->config.host, host, sizeof host);
    strbuf_addf(out, "  network %s/%d, gateway %s%s\n", net,
                __builtin_popcount(u->config.mask.s_addr), host,
                u->config.restricted ? ", restricted" : "");
    for (unsigned i = 0; i < u->config.forwards; i++)
        describe_forward(&u->config.forward[i], out);
}

static void user_close(struct net *n)
{
    struct user *u = to_user(n);

    if (u->slirp)
        slirp_cleanup(u->slirp);
    loop_unwatch(u->sockets);
    loop_unwatch(u->timer);
    loop_unwatch(u->changed);
    if (u->sockets_fd >= 0)
        close(u->sockets_fd);
    if (u->timer_fd >= 0)
        close(u->timer_fd);
    if (u->changed_fd >= 0)
        close(u->changed_fd);
    while (u->timers)
        timer_free(u->timers, u);
    frames_fini(&u->waiting);
    user_config_fini(&u->config);
    free(u->poll);
    free(u->slot);
    free(u);
}

static int watch_all(struct user *u, const struct net_env *env, struct error **err)
{
    u->sockets_fd = epoll_create1(EPOLL_CLOEXEC);
    u->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    u->changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->sockets_fd < 0 || u->timer_fd < 0 || u->changed_fd < 0)
        return error_set(err, errno, "cannot start the user-mode network: %s", strerror(errno));
    u->sockets = loop_watch_fd(env->loop, u->sockets_fd, LOOP_READ, on_sockets, u, err);
    u->timer = u->sockets ? loop_watch_fd(env->loop, u->timer_fd, LOOP_READ, on_timer, u, err)
                          : NULL;
    u->changed = u->timer ? loop_watch_fd(env->loop, u->changed_fd, LOOP_READ, on_changed, u, err)
                          : NULL;
    return u->changed ? 0 : -EIO;
}

static int start_slirp(struct user *u, struct error **err)
{
    const struct user_config *c = &u->config;
    SlirpConfig sc = {
        .version = 4, .restricted = c->restricted, .in_enabled = true, .vnetwork = c->net,
        .vnetmask = c->mask, .vhost = c->host, .vdhcp_start = c->dhcp, .vnameserver = c->dns,
        .in6_enabled = c->ipv6, .vprefix_len = 64, .vhostname = c->hostname,
        .vdomainname = c->domain, .tftp_path = c->tftp, .bootfile = c->bootfile,
    };

    inet_pton(AF_INET6, "fec0::", &sc.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &sc.vhost6);
    inet_pton(AF_INET6, "fec0::3", &sc.vnameserver6);
    u->slirp = slirp_new(&sc, &callbacks, u);
    if (!u->slirp)
        return error_set(err, EINVAL, "libslirp %s does not take this configuration of the "
                         "user-mode network", slirp_version_string());
    return 0;
}

static int add_forward(struct user *u, const struct user_forward *f, struct error **err)
{
    const char *kind = f->udp ? "UDP" : "TCP";
    char host[INET_ADDRSTRLEN];
    int code;

    errno = 0;
    if (slirp_add_hostfwd(u->slirp, f->udp, f->host, f->host_port, f->guest, f->guest_port) == 0)
        return 0;
    code = errno ? errno : EADDRINUSE;
    inet_ntop(AF_INET, &f->host, host, sizeof host);
    error_set(err, code, "cannot forward %s port %u of %s to the guest: %s", kind, f->host_port,
              host, strerror(code));
    if (code == EADDRINUSE)
        error_hint(err, "another program, perhaps another VM, has it: choose another port, or "
                   "find out who with 'ss -%clnp sport = :%u'", f->udp ? 'u' : 't', f->host_port);
    else if (code == EACCES)
        error_hint(err, "ports below 1024 need privileges: choose a higher one");
    else if (code == EADDRNOTAVAIL)
        error_hint(err, "this host has no such address");
    return -code;
}

static struct net *user_open(const struct net_env *env, const char *keys, struct error **err)
{
    struct user *u = calloc(1, sizeof *u);
    int rc;

    BUG_ON(!u);
    u->net = (struct net){.ops = &net_user, .env = *env};
    u->sockets_fd = u->timer_fd = u->changed_fd = -1;
    rc = user_config_parse(&u->config, keys, err);
    if (!rc)
        rc = watch_all(u, env, err);
    if (!rc)
        rc = start_slirp(u, err);
    for (unsigned i = 0; !rc && i < u->config.forwards; i++)
        rc = add_forward(u, &u->config.forward[i], err);
    if (rc) {
        user_close(&u->net);
        return NULL;
    }
    mark_dirty(u);
    return &u->net;
}

const struct net_ops net_user = {
    .name = "user",
    .summary = "user-mode network: no privileges, DHCP, forwarded ports",
    .keys = user_keys,
    .open = user_open,
    .takes = user_takes,
    .send = user_send,
    .receive_ready = user_receive_ready,
    .describe = user_describe,
    .close = user_close,
};
