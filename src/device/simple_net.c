/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_net.c - the simple machine's network adapter: 32 slots of memory.
 *
 * A guest says that a slot is full, or empty again, by a byte in memory, which nobody
 * hears. So the slots are looked at by a timer once the guest has shown interest (by any
 * write to the port), less often while nothing happens. A guest that rings (SEND) gets an
 * answer at once, and one that always rings need not be watched (QUIET).
 *
 * Frames are copied out before they are looked at: the guest may write there meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "device/simple.h"
#include "memory/memory.h"
#include "net/net.h"
#include "ring3/simple.h"

enum { SLOTS = RING3_SIMPLE_NET_SLOTS, PAYLOAD = 1500, FULL = 1, ETHERTYPE = 12,
       POLL_BUSY_NS = 250000, POLL_IDLE_NS = 2000000, IDLE_AFTER = 200 };

_Static_assert(sizeof(struct ring3_simple_frame) * 2 * SLOTS == SIMPLE_NET_BYTES,
               "slots are packed");

struct simple_net {
    struct device dev;
    struct simple_net_config config;
    struct memory *memory;
    struct clock *clock;
    struct timer timer;
    bool refused;                        /* a frame waits in the back end */
    /* State. */
    uint32_t command;                    /* what the port reads */
    uint32_t next_receive;               /* slot */
    uint32_t empty_looks;
    bool watched;
};

static struct simple_net *to_net(struct device *dev)
{
    return container_of(dev, struct simple_net, dev);
}

/* NULL never, but in tests whose device memory is nowhere. */
static struct ring3_simple_frame *slots(struct simple_net *n)
{
    return (void *)memory_host(n->memory, gpa(n->config.slot.base), SIMPLE_NET_BYTES, true).p;
}

static bool slot_full(const struct ring3_simple_frame *f)
{
    return __atomic_load_n(&f->status, __ATOMIC_ACQUIRE) == FULL;
}

static void set_status(struct ring3_simple_frame *f, uint8_t status)
{
    __atomic_store_n(&f->status, status, __ATOMIC_RELEASE);
}

/* ---- out ------------------------------------------------------------------- */

static bool send_one(struct simple_net *n, struct ring3_simple_frame *f)
{
    uint8_t frame[PAYLOAD];
    struct iovec iov = {frame, min_u64(f->size, PAYLOAD)};

    if (!slot_full(f))
        return false;
    memcpy(frame, f->payload, iov.iov_len);
    set_status(f, 0);
    if (iov.iov_len)
        net_send(n->config.net, 0, NULL, &iov, 1);
    return true;
}

/* All that are full; were there any? */
static bool send_all(struct simple_net *n)
{
    struct ring3_simple_frame *f = slots(n);
    bool any = false;

    for (unsigned i = 0; f && i < SLOTS; i++)
        any |= send_one(n, &f[i]);
    return any;
}

/* ---- in -------------------------------------------------------------------- */

static bool receive(void *opaque, unsigned queue, const struct net_header *h,
                    const struct iovec *iov, unsigned iovs)
{
    struct simple_net *n = opaque;
    struct ring3_simple_frame *f = slots(n);
    size_t bytes = net_iov_bytes(iov, iovs);
    uint8_t frame[PAYLOAD];

    if (bytes > PAYLOAD || bytes < NET_FRAME_MIN || !f)
        return true;                     /* does not fit: lost */
    f += SLOTS + n->next_receive;
    if (slot_full(f)) {
        n->refused = true;
        return false;
    }
    net_iov_gather(iov, iovs, frame, sizeof frame);
    memcpy(f->payload, frame, bytes);
    memset(f->tap_header, 0, sizeof f->tap_header);
    memcpy(f->tap_header + 2, frame + ETHERTYPE, 2);
    f->size = (uint16_t)bytes;
    set_status(f, FULL);
    n->next_receive = (n->next_receive + 1) % SLOTS;
    irq_line_pulse(&n->config.slot.irq);
    return true;
}

static bool room(struct simple_net *n)
{
    struct ring3_simple_frame *f = slots(n);

    return f && !slot_full(&f[SLOTS + n->next_receive]);
}

/* ---- looking ----------------------------------------------------------------- */

static void rearm(struct simple_net *n)
{
    uint64_t wait = n->empty_looks < IDLE_AFTER ? POLL_BUSY_NS : POLL_IDLE_NS;

    if (n->watched || n->refused)
        timer_arm(&n->timer, clock_now_ns(n->clock) + wait);
    else
        timer_disarm(&n->timer);
}

static void look(struct simple_net *n)
{
    bool any = send_all(n);

    if (n->refused && room(n)) {
        n->refused = false;
        any = true;
        net_receive_ready(n->config.net, 0);
    }
    n->empty_looks = any ? 0 : n->empty_looks + (n->empty_looks < IDLE_AFTER);
    rearm(n);
}

static void timer_fired(void *opaque)
{
    look(opaque);
}

/* ---- port -------------------------------------------------------------------- */

static uint32_t net_read(void *opaque)
{
    struct simple_net *n = opaque;
    const uint8_t *mac = n->config.mac;

    switch (n->command) {
    case RING3_SIMPLE_NET_MAC_LOW:
        return mac[0] | mac[1] << 8 | mac[2] << 16 | (uint32_t)mac[3] << 24;
    case RING3_SIMPLE_NET_MAC_HIGH:
        return mac[4] | mac[5] << 8;
    default:
        return 0;
    }
}

static void net_write(void *opaque, uint32_t value)
{
    struct simple_net *n = opaque;

    switch (value) {
    case RING3_SIMPLE_NET_MAC_LOW:
    case RING3_SIMPLE_NET_MAC_HIGH:
        n->command = value;
        n->watched = true;
        break;
    case RING3_SIMPLE_NET_QUIET:
        n->watched = false;
        break;
    }
    n->empty_looks = 0;
    look(n);
}

/* ---- device ------------------------------------------------------------------- */

static void net_reset(struct device *dev)
{
    struct simple_net *n = to_net(dev);

    n->command = n->next_receive = n->empty_looks = 0;
    n->watched = false;
    timer_disarm(&n->timer);
    irq_line_set(&n->config.slot.irq, false);
}

static void net_quiesce(struct device *dev)
{
    timer_disarm(&to_net(dev)->timer);
}

static void net_resume(struct device *dev)
{
    struct simple_net *n = to_net(dev);

    n->next_receive %= SLOTS;
    irq_line_set(&n->config.slot.irq, false);
    rearm(n);
}

static const struct state_field fields[] = {
    STATE_U32(struct simple_net, command),
    STATE_U32(struct simple_net, next_receive),
    STATE_U32(struct simple_net, empty_looks),
    STATE_BOOL(struct simple_net, watched),
    STATE_END
};
static const struct state_desc desc = {"simple_net", 1, fields};

static const struct state_desc *net_describe_state(struct device *dev, void **state)
{
    *state = to_net(dev);
    return &desc;
}

static void net_destroy(struct device *dev)
{
    struct simple_net *n = to_net(dev);

    timer_disarm(&n->timer);
    net_close(n->config.net);
    free(n);
}

static const struct device_ops net_device_ops = {
    .type = "simple_net",
    .reset = net_reset,
    .quiesce = net_quiesce,
    .resume = net_resume,
    .describe = net_describe_state,
    .destroy = net_destroy,
};

struct device *simple_net_new(const struct device_env *env, const struct simple_net_config *cfg,
                              struct error **err)
{
    struct simple_net *n = calloc(1, sizeof *n);
    const struct net_up up = {.receive = receive, .opaque = n};

    if (!n) {
        net_close(cfg->net);
        error_set(err, ENOMEM, "no memory for the network adapter");
        return NULL;
    }
    device_init(&n->dev, &net_device_ops, cfg->slot.name);
    n->config = *cfg;
    n->memory = env->memory;
    n->clock = env->clock;
    timer_init(&n->timer, env->clock, timer_fired, n);
    net_attach(cfg->net, &up);
    *cfg->slot.port = (struct simple_port){net_read, net_write, n};
    return &n->dev;
}
