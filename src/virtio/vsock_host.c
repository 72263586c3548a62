/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsock_host.c - connections, their credit, and their Unix sockets.
 *
 * A connection owes the guest packets (a bit each in `owed`), may have data to read from
 * its socket (`readable`: its socket is not watched for that meanwhile, since the guest
 * may have no room), and keeps what its socket did not take (`buffer`). What is owed for
 * a connection that is not there any more, a reset, is in a short queue of its own: when
 * that is full the guest has to time out.
 */
#include "virtio/vsock_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"

enum { RESETS_MAX = 64, PORT_DIGITS = 11, COMMAND_MAX = 32, FIRST_PORT = 1 << 30, BACKLOG = 64 };

enum state {
    GREETING,        /* a program of the host has not said which port yet */
    REQUESTED,       /* the guest has not answered yet */
    OPEN,
};

enum { OWE_REQUEST = 1, OWE_RESPONSE = 2, OWE_CREDIT = 4, OWE_SHUTDOWN = 8 };

struct connection {
    struct connection *next;
    struct vsock_host *host;
    int fd;
    struct loop_watch *watch;
    enum state state;
    uint32_t host_port, guest_port;
    unsigned owed;
    bool readable, ended;            /* the socket: has data; will have no more */
    bool guest_ended;                /* the guest sends no more */
    bool guest_deaf;                 /* ... and takes no more */
    uint32_t guest_space, guest_taken, sent;     /* towards the guest: its credit */
    uint32_t taken, taken_told;                  /* from the guest: ours */
    uint8_t *buffer;                 /* VSOCK_BUFFER_BYTES, a ring; NULL: never needed */
    size_t start, held;
    char greeting[COMMAND_MAX];
    unsigned said;                   /* bytes of it */
};

struct vsock_host {
    struct loop *loop;
    uint32_t cid, next_port;
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
    int listener;
    struct loop_watch *watch;
    void (*ready)(void *opaque);
    void *opaque;
    struct connection *list, *turn;  /* `turn`: whose turn it is; NULL: the first's */
    unsigned connections;
    struct vsock_packet reset[RESETS_MAX];
    unsigned resets;
    uint64_t opened, refused, broken;
};

/* ---- resets without a connection ---- */

static void owe_reset(struct vsock_host *h, uint32_t host_port, uint32_t guest_port)
{
    if (h->resets < RESETS_MAX)
        h->reset[h->resets++] = (struct vsock_packet){
            .src_cid = VSOCK_HOST_CID, .dst_cid = h->cid, .src_port = host_port,
            .dst_port = guest_port, .type = VSOCK_STREAM, .op = VSOCK_RST,
        };
}

/* ---- connections ---- */

static struct connection *find(struct vsock_host *h, uint32_t host_port, uint32_t guest_port)
{
    for (struct connection *c = h->list; c; c = c->next)
        if (c->state != GREETING && c->host_port == host_port && c->guest_port == guest_port)
            return c;
    return NULL;
}

static void drop(struct connection *c)
{
    struct vsock_host *h = c->host;

    for (struct connection **p = &h->list; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    if (h->turn == c)
        h->turn = c->next;
    h->connections--;
    loop_watch_change(h->watch, LOOP_READ);
    loop_unwatch(c->watch);
    close(c->fd);
    free(c->buffer);
    free(c);
}

/* The guest hears of it. */
static void cut(struct connection *c)
{
    if (c->state != GREETING)
        owe_reset(c->host, c->host_port, c->guest_port);
    drop(c);
}

/* Bytes that the guest has room for (5.10.6.3). What it says may be nonsense. */
static uint32_t credit(const struct connection *c)
{
    uint32_t flying = c->sent - c->guest_taken;

    return flying > c->guest_space ? 0 : c->guest_space - flying;
}

static void watch(struct connection *c)
{
    unsigned events = 0;

    if (c->state == GREETING || (c->state == OPEN && !c->readable && !c->ended))
        events |= LOOP_READ;
    if (c->held)
        events |= LOOP_WRITE;
    loop_watch_change(c->watch, events);
}

static struct connection *add(struct vsock_host *h, int fd, enum state state,
                              void (*fn)(void *opaque, unsigned events))
{
    struct connection *c = h->connections < VSOCK_CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;

    if (!c) {
        close(fd);
        return NULL;
    }
    *c = (struct connection){.next = h->list, .host = h, .fd = fd, .state = state};
    c->watch = loop_watch_fd(h->loop, fd, 0, fn, c, NULL);
    if (!c->watch) {
        close(fd);
        free(c);
        return NULL;
    }
    h->list = c;
    h->connections++;
    return c;
}

/* ---- from the guest to the socket ---- */

/* As much as the socket takes. False: it is broken. */
static bool put(struct connection *c, const uint8_t *data, size_t len, size_t *done)
{
    *done = 0;
    while (*done < len) {
        ssize_t n = send(c->fd, data + *done, len - *done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        *done += (size_t)n;
    }
    return true;
}

static void taken(struct connection *c, size_t bytes)
{
    c->taken += (uint32_t)bytes;
    if (c->taken - c->taken_told > VSOCK_BUFFER_BYTES / 2)
        c->owed |= OWE_CREDIT;
}

static bool flush(struct connection *c)
{
    while (c->held) {
        size_t part = min_u64(c->held, VSOCK_BUFFER_BYTES - c->start), done;
        bool fine = put(c, c->buffer + c->start, part, &done);
        c->start = (c->start + done) % VSOCK_BUFFER_BYTES;
        c->held -= done;
        taken(c, done);
        if (!fine)
            return false;
        if (done < part)
            break;
    }
    if (!c->held && c->guest_ended)
        shutdown(c->fd, SHUT_WR);
    return true;
}

static void hold(struct connection *c, const uint8_t *data, size_t len)
{
    if (!c->buffer)
        c->buffer = malloc(VSOCK_BUFFER_BYTES);
    BUG_ON(!c->buffer);
    size_t at = (c->start + c->held) % VSOCK_BUFFER_BYTES;
    size_t first = min_u64(len, VSOCK_BUFFER_BYTES - at);
    memcpy(c->buffer + at, data, first);
    memcpy(c->buffer, data + first, len - first);
    c->held += len;
}

/* Whatever it was that the guest is done with: the last bytes are out, and both sides
 * have said that there are no more. */
static bool finished(const struct connection *c)
{
    return c->guest_ended && c->guest_deaf && !c->held;
}

static void guest_data(struct connection *c, const uint8_t *data, size_t len)
{
    size_t done = 0;

    if (c->state != OPEN || c->guest_ended || len > VSOCK_BUFFER_BYTES - c->held) {
        c->host->broken++;
        cut(c);
        return;
    }
    if (!c->held && !put(c, data, len, &done)) {
        cut(c);
        return;
    }
    taken(c, done);
    if (done < len)
        hold(c, data + done, len - done);
    watch(c);
}

static void guest_shutdown(struct connection *c, uint32_t flags)
{
    if (flags & VSOCK_SHUTDOWN_SEND)
        c->guest_ended = true;
    if (flags & VSOCK_SHUTDOWN_RECEIVE)
        c->guest_deaf = true;
    if (c->state != OPEN || !flush(c) || finished(c))
        cut(c);
    else
        watch(c);
}

/* ---- sockets ---- */

/* With the lock; `ready` may end the connection, so it comes last. */
static void on_stream(void *opaque, unsigned events)
{
    struct connection *c = opaque;
    struct vsock_host *h = c->host;

    if (events & LOOP_WRITE && (!flush(c) || finished(c))) {
        cut(c);
    } else {
        if (events & LOOP_READ)
            c->readable = true;
        watch(c);
    }
    h->ready(h->opaque);
}

/* "CONNECT N\n", and not a byte more: what follows is the guest's. 0: not whole yet;
 * negative: something else. */
static int read_command(struct connection *c, uint32_t *port)
{
    unsigned long long v;
    int used = 0;

    while (!c->said || c->greeting[c->said - 1] != '\n') {
        ssize_t n = c->said < COMMAND_MAX - 1 ? recv(c->fd, c->greeting + c->said, 1, MSG_DONTWAIT)
                                              : 0;
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        c->said++;
    }
    c->greeting[c->said - 1] = '\0';
    if (sscanf(c->greeting, "CONNECT %10llu%n", &v, &used) != 1 || c->greeting[used] ||
        v >= UINT32_MAX)
        return -1;
    *port = (uint32_t)v;
    return 1;
}

static uint32_t free_port(struct vsock_host *h)
{
    for (;;) {
        uint32_t port = h->next_port++;
        bool used = port < FIRST_PORT;
        for (struct connection *c = h->list; c && !used; c = c->next)
            used = c->state != GREETING && c->host_port == port;
        if (!used)
            return port;
    }
}

static void on_greeting(struct connection *c)
{
    uint32_t port;
    int r = read_command(c, &port);

    if (r < 0) {
        c->host->refused++;
        drop(c);
        return;
    }
    if (r == 0)
        return;
    c->host_port = free_port(c->host);
    c->guest_port = port;
    c->state = REQUESTED;
    c->owed = OWE_REQUEST;
    watch(c);
}

static void on_socket(void *opaque, unsigned events)
{
    struct connection *c = opaque;
    struct vsock_host *h = c->host;

    if (c->state != GREETING) {
        on_stream(c, events);
        return;
    }
    on_greeting(c);
    h->ready(h->opaque);
}

static void on_listener(void *opaque, unsigned events)
{
    struct vsock_host *h = opaque;
    int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    struct connection *c = fd >= 0 ? add(h, fd, GREETING, on_socket) : NULL;
    if (c)
        watch(c);
    else if (fd >= 0)
        h->refused++;
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        loop_watch_change(h->watch, 0);      /* no descriptors: until one is free */
}

/* ---- packets of the guest ---- */

static void guest_request(struct vsock_host *h, const struct vsock_packet *p)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct connection *c = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* The constructor has made sure that there is room for the digits. */
    int n = snprintf(at.sun_path, sizeof at.sun_path, "%s_%u", h->path, p->dst_port);
    BUG_ON(n < 0 || (size_t)n >= sizeof at.sun_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        c = add(h, fd, OPEN, on_socket);
    else if (fd >= 0)
        close(fd);
    if (!c) {
        h->refused++;
        owe_reset(h, p->dst_port, p->src_port);
        return;
    }
    h->opened++;
    c->host_port = p->dst_port;
    c->guest_port = p->src_port;
    c->guest_space = p->buf_alloc;
    c->guest_taken = p->fwd_cnt;
    c->owed = OWE_RESPONSE;
    watch(c);
}

static void guest_response(struct connection *c)
{
    char line[COMMAND_MAX];
    size_t done;
    int n = snprintf(line, sizeof line, "OK %u\n", c->host_port);

    if (c->state != REQUESTED || !put(c, (const uint8_t *)line, (size_t)n, &done) ||
        done != (size_t)n) {
        cut(c);
        return;
    }
    c->host->opened++;
    c->state = OPEN;
    watch(c);
}

void vsock_host_packet(struct vsock_host *h, const struct vsock_packet *p, const uint8_t *data)
{
    struct connection *c = find(h, p->dst_port, p->src_port);

    if (p->src_cid != h->cid || p->dst_cid != VSOCK_HOST_CID) {
        h->broken++;
        return;
    }
    if (p->op == VSOCK_RST) {
        if (c)
            drop(c);
        return;
    }
    if (p->type != VSOCK_STREAM || !c == (p->op != VSOCK_REQUEST)) {
        if (c)
            cut(c);
        else
            owe_reset(h, p->dst_port, p->src_port);
        return;
    }
    if (!c) {
        guest_request(h, p);
        return;
    }
    c->guest_space = p->buf_alloc;
    c->guest_taken = p->fwd_cnt;
    switch (p->op) {
    case VSOCK_RESPONSE:
        guest_response(c);
        return;
    case VSOCK_SHUTDOWN:
        guest_shutdown(c, p->flags);
        return;
    case VSOCK_RW:
        guest_data(c, data, p->len);
        return;
    case VSOCK_CREDIT_UPDATE:
        return;
    case VSOCK_CREDIT_REQUEST:
        c->owed |= OWE_CREDIT;
        return;
    default:
        h->broken++;
        cut(c);
    }
}

/* ---- packets for the guest ---- */

static void fill(struct connection *c, struct vsock_packet *p, enum vsock_op op, uint32_t len,
                 uint32_t flags)
{
    *p = (struct vsock_packet){
        .src_cid = VSOCK_HOST_CID, .dst_cid = c->host->cid, .src_port = c->host_port,
        .dst_port = c->guest_port, .len = len, .type = VSOCK_STREAM, .op = (uint16_t)op,
        .flags = flags, .buf_alloc = VSOCK_BUFFER_BYTES, .fwd_cnt = c->taken,
    };
    c->taken_told = c->taken;
    c->owed &= ~(unsigned)OWE_CREDIT;
}

/* Reads from the socket. False: nothing there now, or the connection is gone. */
static bool stream(struct connection *c, struct vsock_packet *p, uint8_t *data, size_t room)
{
    size_t want = min_u64(min_u64(room, VSOCK_DATA_MAX), credit(c));

    if (!want)
        return false;
    ssize_t n = recv(c->fd, data, want, MSG_DONTWAIT);
    if (n > 0) {
        c->sent += (uint32_t)n;
        fill(c, p, VSOCK_RW, (uint32_t)n, 0);
        return true;
    }
    c->readable = false;
    if (n == 0) {
        c->ended = true;
        c->owed |= OWE_SHUTDOWN;
    } else if (errno != EAGAIN && errno != EINTR) {
        cut(c);
        return false;
    }
    watch(c);
    return false;
}

/* What this connection has for the guest. It may be gone afterwards. */
static bool next_of(struct connection *c, struct vsock_packet *p, uint8_t *data, size_t room)
{
    static const struct { unsigned owed; enum vsock_op op; uint32_t flags; } first[] = {
        {OWE_REQUEST, VSOCK_REQUEST, 0}, {OWE_RESPONSE, VSOCK_RESPONSE, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(first); i++)
        if (c->owed & first[i].owed) {
            c->owed &= ~first[i].owed;
            fill(c, p, first[i].op, 0, first[i].flags);
            return true;
        }
    if (c->state != OPEN)
        return false;
    if (c->readable && !c->guest_deaf && stream(c, p, data, room))
        return true;
    return false;
}

/* After the data. */
static bool rest_of(struct connection *c, struct vsock_packet *p)
{
    if (c->state != OPEN)
        return false;
    if (c->owed & OWE_SHUTDOWN) {
        c->owed &= ~(unsigned)OWE_SHUTDOWN;
        fill(c, p, VSOCK_SHUTDOWN, 0, VSOCK_SHUTDOWN_SEND);
        return true;
    }
    if (c->owed & OWE_CREDIT) {
        fill(c, p, VSOCK_CREDIT_UPDATE, 0, 0);
        return true;
    }
    return false;
}

static bool present(const struct vsock_host *h, const struct connection *c)
{
    const struct connection *x = h->list;

    while (x && x != c)
        x = x->next;
    return x;
}

/* One after the other, so that a busy connection leaves room to the rest. */
bool vsock_host_next(struct vsock_host *h, struct vsock_packet *p, uint8_t *data, size_t room)
{
    unsigned tries = h->connections;

    if (h->resets) {
        *p = h->reset[0];
        memmove(h->reset, h->reset + 1, --h->resets * sizeof *h->reset);
        return true;
    }
    while (tries--) {
        struct connection *c = h->turn ? h->turn : h->list;
        if (!c)
            break;
        h->turn = c->next;
        if (next_of(c, p, data, room) || (present(h, c) && rest_of(c, p)))
            return true;
    }
    /* A connection that has just broken. */
    return h->resets && vsock_host_next(h, p, data, room);
}

/* ---- life ---- */

static int start_listening(struct vsock_host *h, struct error **err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    memcpy(at.sun_path, h->path, strlen(h->path));
    h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = h->listener < 0 ? -1 : bind(h->listener, (struct sockaddr *)&at, sizeof at);
    if (r < 0) {
        int code = errno;
        error_set(err, code, "cannot make the socket '%s': %s", h->path, strerror(code));
        if (code == EADDRINUSE)
            error_hint(err, "another VM uses it, or one has left it behind: then remove it");
        h->path[0] = '\0';                   /* not ours to remove */
        return -code;
    }
    if (listen(h->listener, BACKLOG) < 0)
        return error_set(err, errno, "cannot listen on '%s': %s", h->path, strerror(errno));
    h->watch = loop_watch_fd(h->loop, h->listener, LOOP_READ, on_listener, h, err);
    return h->watch ? 0 : -EIO;
}

struct vsock_host *vsock_host_new(struct loop *loop, uint32_t cid, const char *path,
                                  void (*ready)(void *opaque), void *opaque, struct error **err)
{
    struct vsock_host *h;

    if (strlen(path) + 1 + PORT_DIGITS > sizeof h->path) {
        error_set(err, ENAMETOOLONG, "the socket's path '%s' is longer than %zu characters", path,
                  sizeof h->path - 1 - PORT_DIGITS);
        return NULL;
    }
    h = calloc(1, sizeof *h);
    BUG_ON(!h);
    h->loop = loop;
    h->cid = cid;
    h->next_port = FIRST_PORT;
    h->ready = ready;
    h->opaque = opaque;
    h->listener = -1;
    memcpy(h->path, path, strlen(path) + 1);
    if (start_listening(h, err) == 0)
        return h;
    vsock_host_free(h);
    return NULL;
}

void vsock_host_reset(struct vsock_host *h)
{
    while (h->list)
        drop(h->list);
    h->resets = 0;
}

void vsock_host_free(struct vsock_host *h)
{
    if (!h)
        return;
    vsock_host_reset(h);
    loop_unwatch(h->watch);
    if (h->listener >= 0)
        close(h->listener);
    if (h->path[0])
        unlink(h->path);
    free(h);
}

void vsock_host_describe(const struct vsock_host *h, struct strbuf *out)
{
    strbuf_addf(out, "  CID %u, socket '%s', %u connections, %llu opened, %llu refused, "
                "%llu packets against the rules\n", h->cid, h->path, h->connections,
                (unsigned long long)h->opened, (unsigned long long)h->refused,
                (unsigned long long)h->broken);
}
