/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tap.c - a TAP interface of the host (Documentation/networking/tuntap.rst of
 * the kernel), by name or as descriptors that somebody opened.
 *
 * Frames travel with a virtio_net_hdr_v1 (IFF_VNET_HDR, 12 bytes), so checksums
 * and segmentation stay undone in both directions as far as both ends agree. A
 * TAP is never made here: `tap,name=tap0` for an interface that does not exist
 * would be one that nobody has configured.
 *
 * A descriptor per queue. All are opened when the device says how many there
 * are; those the guest does not use are detached (TUNSETQUEUE), so that the
 * kernel does not choose them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/params.h"
#include "base/strbuf.h"
#include "net/backends.h"

enum { BATCH = 64 };
/* Newer than the headers this builds with (Linux 6.2). */
enum { TUN_USO4 = 0x20, TUN_USO6 = 0x40 };

struct tap_config {
    char *name;
    uint64_t fd;
};

#define FIELD(f) offsetof(struct tap_config, f)
static const struct param keys[] = {
    {"name", PARAM_STRING, FIELD(name), .operand = true, .help = "the interface"},
    {"fd", PARAM_NUMBER, FIELD(fd), .max = INT32_MAX, .help = "an open TAP descriptor"},
    {NULL},
};
#undef FIELD

struct tap;

struct tap_queue {
    struct tap *tap;
    unsigned n;
    int fd;
    struct loop_watch *watch;
    bool attached, lent;
    size_t waiting;                  /* bytes of `frame` that the device had no room for */
    uint8_t frame[sizeof(struct net_header) + NET_FRAME_MAX];
};

struct tap {
    struct net net;
    char name[IFNAMSIZ];
    bool given;                      /* by descriptor: no more queues than that */
    bool multi, uso;
    unsigned offloads;
    unsigned queues;
    struct tap_queue *queue[NET_QUEUES_MAX];
};

static struct tap *to_tap(const struct net *n)
{
    return container_of(n, struct tap, net);
}

/* ---- towards the guest ---------------------------------------------------- */

/* True: the device took it, or it was nothing. */
static bool pass_up(struct tap_queue *q)
{
    struct net *n = &q->tap->net;
    struct net_header h;
    struct iovec iov = {q->frame + sizeof h, q->waiting - sizeof h};

    memcpy(&h, q->frame, sizeof h);
    if (!net_receive(n, q->n, &h, &iov, 1))
        return false;
    q->waiting = 0;
    return true;
}

static void on_readable(void *opaque, unsigned events)
{
    struct tap_queue *q = opaque;

    for (unsigned i = 0; i < BATCH; i++) {
        ssize_t got = read(q->fd, q->frame, sizeof q->frame);

        if (got < 0) {
            /* The interface went down or away: wait for nothing until somebody sends. */
            if (errno != EAGAIN && errno != EINTR)
                loop_watch_change(q->watch, 0);
            return;
        }
        if ((size_t)got < sizeof(struct net_header) + NET_FRAME_MIN)
            continue;
        q->waiting = (size_t)got;
        if (!pass_up(q)) {
            loop_watch_change(q->watch, 0);
            return;
        }
    }
}

static void tap_receive_ready(struct net *n, unsigned queue)
{
    struct tap *t = to_tap(n);

    if (queue >= t->queues || t->queue[queue]->lent)
        return;
    struct tap_queue *q = t->queue[queue];
    if (q->waiting && !pass_up(q))
        return;
    loop_watch_change(q->watch, q->attached ? LOOP_READ : 0);
}

/* ---- towards the outside -------------------------------------------------- */

static unsigned tap_takes(const struct net *n)
{
    return NET_CSUM | NET_TSO4 | NET_TSO6 | (to_tap(n)->uso ? NET_USO : 0);
}

static bool tap_send(struct net *n, unsigned queue, const struct net_header *h,
                     const struct iovec *iov, unsigned iovs)
{
    const struct tap *t = to_tap(n);
    struct iovec v[NET_IOVS_MAX];
    struct net_header plain = {0};

    if (iovs >= NET_IOVS_MAX)
        return false;
    if (h)
        plain = (struct net_header){.flags = h->flags & NET_NEEDS_CSUM,
                             .gso_type = h->gso_type, .hdr_len = h->hdr_len,
                             .gso_size = h->gso_size, .csum_start = h->csum_start,
                             .csum_offset = h->csum_offset};
    v[0] = (struct iovec){&plain, sizeof plain};
    memcpy(v + 1, iov, iovs * sizeof *iov);
    /* Full, down or refused (a header that makes no sense): lost, as on a wire. */
    return writev(t->queue[queue < t->queues ? queue : 0]->fd, v, (int)iovs + 1) >= 0;
}

static unsigned apply_offloads(const struct tap *t, int fd, unsigned offloads)
{
    unsigned tun = 0;

    if (offloads & NET_CSUM)
        tun = TUN_F_CSUM | (offloads & NET_TSO4 ? TUN_F_TSO4 : 0) |
              (offloads & NET_TSO6 ? TUN_F_TSO6 : 0);
    if (t->uso && offloads & NET_CSUM && offloads & NET_USO &&
        ioctl(fd, TUNSETOFFLOAD, tun | TUN_USO4 | TUN_USO6) == 0)
        return offloads;
    return ioctl(fd, TUNSETOFFLOAD, tun) == 0 ? offloads & ~(unsigned)NET_USO : 0;
}

static unsigned tap_set_offloads(struct net *n, unsigned offloads)
{
    struct tap *t = to_tap(n);
    unsigned got = offloads;

    t->offloads = offloads;
    for (unsigned i = 0; i < t->queues; i++)
        got &= apply_offloads(t, t->queue[i]->fd, offloads);
    return got;
}

/* ---- opening -------------------------------------------------------------- */

static int not_there(const char *name, struct error **err)
{
    error_set(err, ENODEV, "there is no TAP interface '%s'", name);
    error_hint(err, "make one, as root: ip tuntap add dev %s mode tap user $USER && "
               "ip link set %s up", name, name);
    return -ENODEV;
}

static int refused(const struct tap *t, int code, struct error **err)
{
    error_set(err, code, "cannot open TAP interface '%s': %s", t->name, strerror(code));
    if (code == EPERM || code == EACCES)
        error_hint(err, "it must belong to you; as root: ip tuntap del dev %s mode tap; "
                   "ip tuntap add dev %s mode tap user $USER", t->name, t->name);
    else if (code == EBUSY)
        error_hint(err, "another program, perhaps another VM, uses it");
    else if (code == EINVAL)
        error_hint(err, "it is no TAP, or has one queue only; as root: ip tuntap add dev %s "
                   "mode tap multi_queue user $USER", t->name);
    else if (code == ENOENT)
        error_hint(err, "the kernel's tun module is missing; as root: modprobe tun");
    return -code;
}

/* An interface was made either with or without multi_queue, and must be opened so. */
static int tun_open(struct tap *t, struct error **err)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), rc;

    if (fd < 0)
        return refused(t, errno, err);
    memcpy(ifr.ifr_name, t->name, sizeof ifr.ifr_name);
    if (t->multi)
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
    rc = ioctl(fd, TUNSETIFF, &ifr);
    if (rc < 0 && errno == EINVAL && !t->multi && !t->queues) {
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
        rc = ioctl(fd, TUNSETIFF, &ifr);
        t->multi = rc == 0;
    }
    if (rc < 0) {
        rc = refused(t, errno, err);
        close(fd);
        return rc;
    }
    return fd;
}

/* What somebody gave us must be a TAP with the header we speak. */
static int check_given(struct tap *t, int fd, struct error **err)
{
    struct ifreq ifr = {0};

    if (ioctl(fd, TUNGETIFF, &ifr) < 0)
        return error_set(err, errno, "descriptor %d is no TAP interface: %s", fd, strerror(errno));
    if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_VNET_HDR)) {
        error_set(err, EINVAL, "descriptor %d was opened without %s", fd,
                  ifr.ifr_flags & IFF_TAP ? "IFF_VNET_HDR" : "IFF_TAP");
        error_hint(err, "open it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR");
        return -EINVAL;
    }
    memcpy(t->name, ifr.ifr_name, sizeof t->name);
    t->multi = ifr.ifr_flags & IFF_MULTI_QUEUE;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

static int add_queue(struct tap *t, int fd, struct error **err)
{
    struct tap_queue *q = calloc(1, sizeof *q);
    int header = sizeof(struct net_header);

    BUG_ON(!q);
    *q = (struct tap_queue){.tap = t, .n = t->queues, .fd = fd, .attached = true};
    q->watch = loop_watch_fd(t->net.env.loop, fd, LOOP_READ, on_readable, q, err);
    if (!q->watch || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) {
        if (q->watch)
            error_set(err, errno, "TAP interface '%s' takes no header of %d bytes: %s", t->name,
                      header, strerror(errno));
        loop_unwatch(q->watch);
        close(fd);
        free(q);
        return -EIO;
    }
    t->uso = ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_USO4 | TUN_USO6) == 0;
    apply_offloads(t, fd, t->offloads);
    t->queue[t->queues++] = q;
    return 0;
}

static void attach_queue(struct tap_queue *q, bool on)
{
    struct ifreq ifr = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

    if (q->attached == on || !q->tap->multi)
        return;
    if (ioctl(q->fd, TUNSETQUEUE, &ifr) == 0)
        q->attached = on;
    if (!q->lent)
        loop_watch_change(q->watch, q->attached && !q->waiting ? LOOP_READ : 0);
}

static int tap_set_queues(struct net *n, unsigned queues, struct error **err)
{
    struct tap *t = to_tap(n);

    if (queues > t->queues && t->given)
        return error_set(err, EINVAL, "a TAP given by descriptor has one queue, not %u", queues);
    if (queues > 1 && t->queues && !t->multi)
        return refused(t, EINVAL, err);
    while (t->queues < queues) {
        int fd = tun_open(t, err), rc;

        if (fd < 0)
            return fd;
        rc = add_queue(t, fd, err);
        if (rc)
            return rc;
    }
    for (unsigned i = 0; i < t->queues; i++)
        attach_queue(t->queue[i], i < queues);
    return 0;
}

static int tap_lend(struct net *n, unsigned queue)
{
    struct tap *t = to_tap(n);

    if (queue >= t->queues)
        return -1;
    t->queue[queue]->lent = true;
    loop_watch_change(t->queue[queue]->watch, 0);
    return t->queue[queue]->fd;
}

static void tap_describe(const struct net *n, struct strbuf *out)
{
    const struct tap *t = to_tap(n);

    strbuf_addf(out, "  interface %s, %u queue%s\n", t->name, t->queues,
                t->queues == 1 ? "" : "s");
}

static void tap_close(struct net *n)
{
    struct tap *t = to_tap(n);

    for (unsigned i = 0; i < t->queues; i++) {
        loop_unwatch(t->queue[i]->watch);
        close(t->queue[i]->fd);
        free(t->queue[i]);
    }
    free(t);
}

static int open_first(struct tap *t, const struct tap_config *c, bool by_fd, struct error **err)
{
    int fd;

    if (by_fd) {
        int rc = check_given(t, (int)c->fd, err);

        t->given = true;
        return rc ? rc : add_queue(t, (int)c->fd, err);
    }
    if (strlen(c->name) >= IFNAMSIZ || strchr(c->name, '/'))
        return error_set(err, EINVAL, "'%s' is no name of an interface", c->name);
    memcpy(t->name, c->name, strlen(c->name));
    if (!if_nametoindex(t->name))
        return not_there(t->name, err);
    fd = tun_open(t, err);
    return fd < 0 ? fd : add_queue(t, fd, err);
}

static struct net *tap_open(const struct net_env *env, const char *text, struct error **err)
{
    struct tap_config c = {.fd = UINT64_MAX};
    struct tap *t = calloc(1, sizeof *t);
    int rc;

    BUG_ON(!t);
    t->net = (struct net){.ops = &net_tap, .env = *env};
    rc = params_parse(keys, &c, text, err);
    if (!rc && !c.name == (c.fd == UINT64_MAX)) {
        rc = error_set(err, EINVAL, "a TAP is given by its name or by a descriptor");
        error_hint(err, "write tap,name=tap0 or tap,fd=3");
    }
    if (!rc)
        rc = open_first(t, &c, !c.name, err);
    params_fini(keys, &c);
    if (!rc)
        return &t->net;
    tap_close(&t->net);
    return NULL;
}

const struct net_ops net_tap = {
    .name = "tap",
    .summary = "a TAP interface of the host",
    .keys = keys,
    .open = tap_open,
    .takes = tap_takes,
    .set_offloads = tap_set_offloads,
    .set_queues = tap_set_queues,
    .send = tap_send,
    .receive_ready = tap_receive_ready,
    .lend = tap_lend,
    .describe = tap_describe,
    .close = tap_close,
};
