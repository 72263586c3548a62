/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console.c - console device (virtio 1.2, 5.3).
 *
 * Queues: port 0 receive and transmit, control receive and transmit, then two for each
 * further port (5.3.2). What a driver is to be told by the control queue is not a list
 * of messages but a set of bits for each port (`tell`), sent as there are buffers: a
 * driver that asks again and again, and takes no answer, costs nothing.
 *
 * Without MULTIPORT there is port 0 alone, always open on both sides.
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"

enum { CONTROL_RX = 2, CONTROL_TX = 3, QUEUE_SIZE = 128, SEGMENTS = 64, CONFIG_BYTES = 12,
       PIECE_BYTES = 4096, MESSAGE_BYTES = 8 };
enum { CONFIG_ROWS = 2, CONFIG_PORTS = 4, CONFIG_EMERGENCY = 8 };

#define F_SIZE (1ull << 0)
#define F_MULTIPORT (1ull << 1)
#define F_EMERG_WRITE (1ull << 2)

/* Control messages (5.3.6.2). */
enum { DEVICE_READY = 0, DEVICE_ADD = 1, PORT_READY = 3, CONSOLE_PORT = 4, RESIZE = 5,
       PORT_OPEN = 6, PORT_NAME = 7 };
/* Bits of `tell`, in the order in which they are sent. */
enum { TELL_ADD = 1, TELL_CONSOLE = 2, TELL_NAME = 4, TELL_RESIZE = 8, TELL_OPEN = 16,
       TELL_ALL = 31 };

struct port_state {
    uint8_t tell;
    bool ready, open;                /* in the guest */
    bool told_open;                  /* what the guest believes of our side */
    uint32_t sent;                   /* bytes of the first chain that have been written */
};

struct console_state {
    bool ready;                      /* DEVICE_READY came */
    struct port_state port[CONSOLE_PORTS_MAX];
};

struct port {
    struct virtio_console *console;
    unsigned index;
    char name[CONSOLE_NAME_BYTES];   /* empty: a console */
    struct console_end *end;
    bool terminal;
    uint16_t columns, rows;
    uint64_t written, read, dropped;
};

struct virtio_console {
    struct virtio_device vd;
    struct console_state state;
    struct port port[CONSOLE_PORTS_MAX];
    unsigned ports;
    bool quiet;                      /* quiesced */
    struct virtio_chain *chain;
    uint64_t bad_control;
    uint8_t piece[PIECE_BYTES];
};

static struct virtio_console *to_console(const struct virtio_device *vd)
{
    return container_of(vd, struct virtio_console, vd);
}

static unsigned rx_queue(unsigned port)
{
    return port ? 2 * port + 2 : 0;
}

static bool multiport(const struct virtio_console *c)
{
    return virtio_has(&c->vd, F_MULTIPORT);
}

static bool is_open(const struct port *p)
{
    return multiport(p->console) ? p->console->state.port[p->index].open : p->index == 0;
}

static bool working(const struct virtio_console *c)
{
    return !c->quiet && virtio_live(&c->vd);
}

/* ---- control ------------------------------------------------------------- */

/* The message for one bit of `tell`; its bytes. */
static size_t message(struct port *p, unsigned bit, uint8_t *out, size_t room)
{
    struct port_state *s = &p->console->state.port[p->index];
    size_t len = MESSAGE_BYTES, name = strlen(p->name) + 1;
    uint16_t event = DEVICE_ADD, value = 1;

    if (bit == TELL_CONSOLE) {
        event = CONSOLE_PORT;
    } else if (bit == TELL_NAME) {
        event = PORT_NAME;
        len += name;
    } else if (bit == TELL_RESIZE) {
        /* Linux of before 2025 takes the two the other way round. */
        event = RESIZE;
        len += 4;
    } else if (bit == TELL_OPEN) {
        event = PORT_OPEN;
        value = s->told_open = console_end_connected(p->end);
    }
    BUG_ON(len > room);
    put_le32(out, p->index);
    put_le16(out + 4, event);
    put_le16(out + 6, value);
    if (event == RESIZE) {
        put_le16(out + MESSAGE_BYTES, p->columns);
        put_le16(out + MESSAGE_BYTES + 2, p->rows);
    } else if (event == PORT_NAME) {
        memcpy(out + MESSAGE_BYTES, p->name, name);
    }
    return len;
}

static bool tell_one(struct virtio_console *c, struct port *p, unsigned bit)
{
    struct virtio_queue *q = &c->vd.queue[CONTROL_RX];
    uint8_t raw[MESSAGE_BYTES + CONSOLE_NAME_BYTES];

    if (!virtio_queue_pop(q, c->chain))
        return false;
    size_t len = message(p, bit, raw, sizeof raw);
    virtio_queue_push(q, c->chain, (uint32_t)virtio_chain_write(c->chain, 0, raw, len));
    c->state.port[p->index].tell &= (uint8_t)~bit;
    return true;
}

static void tell(struct virtio_console *c)
{
    bool room = working(c) && multiport(c);

    for (unsigned i = 0; i < c->ports && room; i++)
        for (unsigned bit = 1; bit < TELL_ALL && room; bit <<= 1)
            if (c->state.port[i].tell & bit)
                room = tell_one(c, &c->port[i], bit);
    virtio_queue_signal(&c->vd.queue[CONTROL_RX]);
}

static void control(struct virtio_console *c, uint32_t id, uint16_t event, uint16_t value)
{
    struct port_state *s = id < c->ports ? &c->state.port[id] : NULL;

    if (event == DEVICE_READY) {
        c->state.ready = value;
        for (unsigned i = 0; i < c->ports && value; i++)
            c->state.port[i].tell |= TELL_ADD;
    } else if (event == PORT_READY && s && value) {
        const struct port *p = &c->port[id];

        s->ready = true;
        s->tell |= p->name[0] ? TELL_NAME : TELL_CONSOLE;
        s->tell |= (p->columns && !p->name[0] ? TELL_RESIZE : 0) |
                   (console_end_connected(p->end) ? TELL_OPEN : 0);
    } else if (event == PORT_OPEN && s) {
        s->open = value;
    } else {
        c->bad_control++;
    }
}

static void control_all(struct virtio_console *c, struct virtio_queue *q)
{
    uint8_t raw[MESSAGE_BYTES];

    while (virtio_queue_pop(q, c->chain)) {
        if (virtio_chain_read(c->chain, 0, raw, sizeof raw) == sizeof raw)
            control(c, get_le32(raw), get_le16(raw + 4), get_le16(raw + 6));
        else
            c->bad_control++;
        virtio_queue_push(q, c->chain, 0);
    }
    virtio_queue_signal(q);
}

/* ---- bytes --------------------------------------------------------------- */

/* From the guest: one chain, from where it was left. False: the rest has to wait. The
 * guest may have closed the port since it wrote that. */
static bool write_chain(struct port *p, const struct virtio_chain *c, uint32_t *sent)
{
    uint8_t *piece = p->console->piece;
    size_t n;

    while ((n = virtio_chain_read(c, *sent, piece, PIECE_BYTES))) {
        size_t done = console_end_write(p->end, piece, n);

        *sent += (uint32_t)done;
        p->written += done;
        if (done == n)
            continue;
        if (p->name[0])
            return false;
        p->dropped += c->out_bytes - *sent;
        return true;
    }
    return true;
}

static void transmit(struct port *p)
{
    struct virtio_console *c = p->console;
    struct virtio_queue *q = &c->vd.queue[rx_queue(p->index) + 1];
    uint32_t *sent = &c->state.port[p->index].sent;

    while (working(c) && virtio_queue_pop(q, c->chain)) {
        if (!write_chain(p, c->chain, sent)) {
            virtio_queue_unpop(q, c->chain);
            break;
        }
        *sent = 0;
        virtio_queue_push(q, c->chain, 0);
    }
    virtio_queue_signal(q);
}

static size_t fill(struct port *p, const struct virtio_chain *c)
{
    size_t done = 0;

    for (unsigned i = c->outs; i < c->outs + c->ins; i++) {
        size_t n = console_end_read(p->end, c->iov[i].iov_base, c->iov[i].iov_len);

        done += n;
        if (n < c->iov[i].iov_len)
            break;
    }
    return done;
}

static void receive(struct port *p)
{
    struct virtio_console *c = p->console;
    struct virtio_queue *q = &c->vd.queue[rx_queue(p->index)];

    while (working(c) && is_open(p) && virtio_queue_pop(q, c->chain)) {
        size_t n = fill(p, c->chain);

        if (!n) {
            virtio_queue_unpop(q, c->chain);
            break;
        }
        p->read += n;
        virtio_queue_push(q, c->chain, (uint32_t)n);
    }
    virtio_queue_signal(q);
}

/* A client that has gone takes what waits for it along. */
static void on_changed(void *opaque)
{
    struct port *p = opaque;
    struct virtio_console *c = p->console;
    struct port_state *s = &c->state.port[p->index];

    if (!p->end || !working(c))
        return;
    if (s->ready && console_end_connected(p->end) != s->told_open)
        s->tell |= TELL_OPEN;
    tell(c);
    transmit(p);
    receive(p);
}

static void notify(struct virtio_device *vd, struct virtio_queue *q)
{
    struct virtio_console *c = to_console(vd);
    unsigned port = q->index < CONTROL_RX ? 0 : (q->index - 2) / 2;

    if (q->index == CONTROL_TX)
        control_all(c, q);
    if (q->index == CONTROL_RX || q->index == CONTROL_TX) {
        tell(c);
        /* A port may have been opened. */
        for (unsigned i = 0; i < c->ports; i++)
            receive(&c->port[i]);
    } else if (q->index & 1) {
        transmit(&c->port[port]);
    } else {
        receive(&c->port[port]);
    }
}

/* ---- the device ---------------------------------------------------------- */

static void config_read(struct virtio_device *vd, unsigned offset, void *buf, unsigned len)
{
    const struct virtio_console *c = to_console(vd);
    uint8_t raw[CONFIG_BYTES] = {0};

    put_le16(raw, c->port[0].columns);
    put_le16(raw + CONFIG_ROWS, c->port[0].rows);
    put_le32(raw + CONFIG_PORTS, c->ports);
    memcpy(buf, raw + offset, len);
}

/* 5.3.4: a character, whether the driver is there or not. */
static void config_write(struct virtio_device *vd, unsigned offset, const void *buf, unsigned len)
{
    if (offset == CONFIG_EMERGENCY && len)
        console_end_write(to_console(vd)->port[0].end, buf, 1);
}

static void reset(struct virtio_device *vd)
{
    to_console(vd)->state = (struct console_state){0};
}

static void quiesce(struct virtio_device *vd)
{
    to_console(vd)->quiet = true;
}

/* A loaded state may be anything; and who is at the other end is ours to know. */
static void resume(struct virtio_device *vd)
{
    struct virtio_console *c = to_console(vd);

    c->quiet = false;
    for (unsigned i = 0; i < CONSOLE_PORTS_MAX; i++)
        c->state.port[i].tell &= TELL_ALL;
    for (unsigned i = 0; i < c->ports; i++)
        on_changed(&c->port[i]);
}

static void describe(struct virtio_device *vd, struct strbuf *out)
{
    const struct virtio_console *c = to_console(vd);

    for (unsigned i = 0; i < c->ports; i++) {
        const struct port *p = &c->port[i];

        strbuf_addf(out, "  port %u %s: ", i, p->name[0] ? p->name : "(console)");
        console_end_describe(p->end, out);
        strbuf_addf(out, ", %s by the guest, %llu bytes from it, %llu to it, %llu dropped\n",
                    is_open(p) ? "open" : "not opened", (unsigned long long)p->written,
                    (unsigned long long)p->read, (unsigned long long)p->dropped);
    }
    if (c->bad_control)
        strbuf_addf(out, "  %llu control messages that mean nothing\n",
                    (unsigned long long)c->bad_control);
}

static void destroy(struct virtio_device *vd)
{
    struct virtio_console *c = to_console(vd);

    for (unsigned i = 0; i < c->ports; i++)
        console_end_free(c->port[i].end);
    free(c->chain);
    free(c);
}

static const struct state_field port_fields[] = {
    STATE_U8(struct port_state, tell),
    STATE_BOOL(struct port_state, ready),
    STATE_BOOL(struct port_state, open),
    STATE_BOOL(struct port_state, told_open),
    STATE_U32(struct port_state, sent),
    STATE_END
};
static const struct state_desc port_desc = {"console-port", 1, port_fields};

static const struct state_field fields[] = {
    STATE_BOOL(struct console_state, ready),
    STATE_STRUCT_ARRAY(struct console_state, port, &port_desc),
    STATE_END
};
static const struct state_desc desc = {"console", 1, fields};

static const struct virtio_ops console_ops = {
    .type = "virtio-console",
    .id = VIRTIO_ID_CONSOLE,
    .pci_class = 0x078000,           /* communication, other */
    .config_read = config_read,
    .config_write = config_write,
    .notify = notify,
    .reset = reset,
    .quiesce = quiesce,
    .resume = resume,
    .describe = describe,
    .destroy = destroy,
    .state = &desc,
    .state_offset = offsetof(struct virtio_console, state),
};

struct virtio_device *virtio_console_new(const struct device_env *env,
                                         const struct virtio_console_config *cfg,
                                         struct error **err)
{
    struct virtio_console *c = calloc(1, sizeof *c);

    BUG_ON(!cfg->ports || cfg->ports > CONSOLE_PORTS_MAX);
    if (!c) {
        error_set(err, ENOMEM, "no memory for '%s'", cfg->name);
        return NULL;
    }
    virtio_device_init(&c->vd, &console_ops, env, cfg->name, F_SIZE | F_MULTIPORT | F_EMERG_WRITE,
                       CONFIG_BYTES, 2 * cfg->ports + 2, QUEUE_SIZE);
    c->chain = virtio_chain_new(SEGMENTS);
    for (unsigned i = 0; i < cfg->ports; i++) {
        struct port *p = &c->port[i];

        *p = (struct port){.console = c, .index = i,
                           .terminal = cfg->port[i].end.kind == CONSOLE_END_STDIO};
        snprintf(p->name, sizeof p->name, "%s", cfg->port[i].name ? cfg->port[i].name : "");
        p->end = console_end_new(env->loop, &cfg->port[i].end, on_changed, p, err);
        if (!p->end) {
            destroy(&c->vd);
            return NULL;
        }
        if (cfg->port[i].end.kind == CONSOLE_END_PTY)
            log_info(env->log, "port %u of %s is %s", i, cfg->name, console_end_path(p->end));
        c->ports++;
    }
    return &c->vd;
}

/* ---- the terminal -------------------------------------------------------- */

static struct port *terminal_of(const struct virtio_device *vd)
{
    struct virtio_console *c = vd->ops == &console_ops ? to_console(vd) : NULL;

    for (unsigned i = 0; c && i < c->ports; i++)
        if (c->port[i].terminal)
            return &c->port[i];
    return NULL;
}

bool virtio_console_has_terminal(const struct virtio_device *vd)
{
    return terminal_of(vd);
}

bool virtio_console_open(const struct virtio_device *vd)
{
    const struct port *p = terminal_of(vd);

    return p && virtio_live(vd) && is_open(p);
}

size_t virtio_console_room(const struct virtio_device *vd)
{
    const struct port *p = terminal_of(vd);

    return p ? console_end_room(p->end) : 0;
}

void virtio_console_type(struct virtio_device *vd, const uint8_t *data, size_t len)
{
    struct port *p = terminal_of(vd);

    BUG_ON(!p);
    console_end_type(p->end, data, len);
}

void virtio_console_resize(struct virtio_device *vd, uint16_t columns, uint16_t rows)
{
    struct port *p = terminal_of(vd);

    if (!p || (p->columns == columns && p->rows == rows))
        return;
    p->columns = columns;
    p->rows = rows;
    if (p->index == 0)
        virtio_config_changed(vd);
    if (p->console->state.port[p->index].ready && !p->name[0])
        p->console->state.port[p->index].tell |= TELL_RESIZE;
    tell(p->console);
}
