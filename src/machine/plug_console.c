/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_console.c - `--device console`, and the user's terminal behind one of its ports. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/params.h"
#include "machine/plug.h"
#include "virtio/console.h"

struct console_params {
    struct param_list ports;
    char *id;
    unsigned transport;
    bool packed;
};

#define AT(field) offsetof(struct console_params, field)
const struct param plug_console_keys[] = {
    {.name = "port", .type = PARAM_LIST, .offset = AT(ports),
     .help = "[NAME@]stdio|pty|unix:PATH|file:PATH|none; may come again (default stdio).\n"
             "Without a name it is a console of the guest (hvc0, ...)"},
    {.name = "id", .type = PARAM_STRING, .offset = AT(id), .help = "name in the monitor"},
    {.name = "transport", .type = PARAM_CHOICE, .offset = AT(transport),
     .choices = plug_transport_names, .help = "pci (the default) or mmio"},
    {.name = "packed", .type = PARAM_FLAG, .offset = AT(packed),
     .help = "offer packed rings (default off)"},
    {NULL},
};
#undef AT

/* Cuts "NAME@" off: `text` is changed. */
static int read_port(char *text, struct virtio_console_port *port, struct error **err)
{
    char *at = strchr(text, '@'), *colon = strchr(text, ':');

    *port = (struct virtio_console_port){0};
    if (at && (!colon || at < colon)) {
        *at = '\0';
        if (at == text || at - text >= CONSOLE_NAME_BYTES)
            return error_set(err, EINVAL, "a port's name has 1 to %d characters",
                             CONSOLE_NAME_BYTES - 1);
        port->name = text;
        text = at + 1;
    }
    return console_end_parse(text, &port->end, err);
}

static int read_ports(struct console_params *cp, struct virtio_console_port *port, unsigned *ports,
                      struct error **err)
{
    int rc = 0;

    if (!cp->ports.count) {
        *port = (struct virtio_console_port){.end = {.kind = CONSOLE_END_STDIO}};
        *ports = 1;
        return 0;
    }
    if (cp->ports.count > CONSOLE_PORTS_MAX)
        return error_set(err, EINVAL, "a console has no more than %d ports", CONSOLE_PORTS_MAX);
    for (unsigned i = 0; i < cp->ports.count && !rc; i++)
        rc = read_port(cp->ports.item[i], &port[i], err);
    *ports = (unsigned)cp->ports.count;
    return rc;
}

static struct virtio_device *terminal_of(struct machine *m)
{
    for (unsigned i = 0; i < m->devices; i++) {
        struct virtio_device *vd = virtio_of(m->device[i]);

        if (vd && virtio_console_has_terminal(vd))
            return vd;
    }
    return NULL;
}

/* The first that wants it gets the terminal. */
static int give_terminal(struct machine *m, struct virtio_console_port *port, unsigned ports,
                         struct error **err)
{
    const struct machine_serial *t = &m->config.terminal;
    bool taken = terminal_of(m);

    for (unsigned i = 0; i < ports; i++) {
        if (port[i].end.kind != CONSOLE_END_STDIO)
            continue;
        if (taken || !t->write)
            return error_set(err, EINVAL, taken ? "two ports are on stdio"
                                                : "there is no stdio for a port here");
        taken = true;
        port[i].end.write = t->write;
        port[i].end.ready = t->ready;
        port[i].end.opaque = t->opaque;
    }
    return 0;
}

static int make(const struct plug *p, struct console_params *cp, struct error **err)
{
    struct virtio_console_port port[CONSOLE_PORTS_MAX];
    struct virtio_console_config cfg = {.port = port};
    struct virtio_device *vd;
    char name[24];
    int rc = read_ports(cp, port, &cfg.ports, err);

    if (!rc)
        rc = give_terminal(p->machine, port, cfg.ports, err);
    if (rc)
        return rc;
    plug_name(p->machine, "console", name, sizeof name);
    cfg.name = cp->id ? cp->id : name;
    vd = virtio_console_new(p->env, &cfg, err);
    if (vd && cp->packed)
        vd->features |= VIRTIO_F_PACKED;
    return vd ? plug_virtio(p, vd, cp->transport, err) : -EIO;
}

int plug_console(const struct plug *p, const char *text, struct error **err)
{
    struct console_params cp = {0};
    struct error *why = NULL;
    int rc = params_parse(plug_console_keys, &cp, text, &why);

    if (!rc)
        rc = make(p, &cp, &why);
    if (rc) {
        rc = why ? -why->code : rc;
        error_wrap(&why, "device 'console'");
    }
    if (err)
        *err = why;
    else
        error_free(&why);
    params_fini(plug_console_keys, &cp);
    return rc;
}

/* Texts that are not right are refused when the device is made. */
bool machine_uses_terminal(const struct machine_config *cfg)
{
    static const char word[] = "console";
    bool uses = false;

    for (unsigned i = 0; cfg->devices && cfg->devices[i] && !uses; i++) {
        const char *text = cfg->devices[i];
        size_t len = strcspn(text, ",");
        struct virtio_console_port port[CONSOLE_PORTS_MAX];
        struct console_params cp = {0};
        unsigned ports = 0;

        if (len != sizeof word - 1 || strncmp(text, word, len) != 0)
            continue;
        if (params_parse(plug_console_keys, &cp, text + len + (text[len] == ','), NULL) == 0 &&
            read_ports(&cp, port, &ports, NULL) == 0)
            for (unsigned k = 0; k < ports; k++)
                uses |= port[k].end.kind == CONSOLE_END_STDIO;
        params_fini(plug_console_keys, &cp);
    }
    return uses;
}

/* ---- what is typed ------------------------------------------------------- */

/* VM lock held. The port once the guest listens there; before that, and without one, the
 * serial port if that is on the terminal. */
static struct virtio_device *typed_to(struct machine *m)
{
    struct virtio_device *vd = terminal_of(m);
    bool serial = m->config.serial.opaque == m->config.terminal.opaque;

    return vd && (virtio_console_open(vd) || !serial) ? vd : NULL;
}

void machine_terminal_input(struct machine *m, const uint8_t *data, size_t len)
{
    machine_lock(m);
    struct virtio_device *vd = typed_to(m);
    if (vd)
        virtio_console_type(vd, data, min_u64(len, virtio_console_room(vd)));
    else
        m->ops->serial_input(m, data, len);
    machine_unlock(m);
}

size_t machine_terminal_room(struct machine *m)
{
    size_t room;

    machine_lock(m);
    struct virtio_device *vd = typed_to(m);
    room = vd ? virtio_console_room(vd) : m->ops->serial_room(m);
    machine_unlock(m);
    return room;
}

void machine_terminal_size(struct machine *m, unsigned columns, unsigned rows)
{
    machine_lock(m);
    struct virtio_device *vd = terminal_of(m);
    if (vd)
        virtio_console_resize(vd, (uint16_t)columns, (uint16_t)rows);
    machine_unlock(m);
}
