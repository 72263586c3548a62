/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console.h - virtio console with several ports (virtio 1.2, 5.3).
 *
 * A port without a name is a console: hvc0, hvc1, ... in Linux, with a size. What nobody
 * takes is dropped and counted, because a driver waits, without sleeping, until the
 * device has taken what is written there. A port with a name is a stream of bytes
 * (/dev/virtio-ports/NAME): what cannot be passed on waits, and so does its writer.
 *
 * Lives under the VM lock.
 */
#ifndef RING3_VIRTIO_CONSOLE_H
#define RING3_VIRTIO_CONSOLE_H

#include "virtio/console_end.h"
#include "virtio/virtio.h"

enum { CONSOLE_PORTS_MAX = 16, CONSOLE_NAME_BYTES = 64 };

struct virtio_console_port {
    const char *name;                /* NULL: a console */
    struct console_end_config end;
};

struct virtio_console_config {
    const char *name;                /* "console0" */
    const struct virtio_console_port *port;
    unsigned ports;                  /* 1 to CONSOLE_PORTS_MAX */
};

struct virtio_device *virtio_console_new(const struct device_env *env,
                                         const struct virtio_console_config *cfg,
                                         struct error **err);

/* What follows is about the port whose end is stdio; false or 0: there is none here. */
bool virtio_console_has_terminal(const struct virtio_device *vd);
/* Does the guest listen there? */
bool virtio_console_open(const struct virtio_device *vd);
size_t virtio_console_room(const struct virtio_device *vd);
void virtio_console_type(struct virtio_device *vd, const uint8_t *data, size_t len);
/* 0, 0: not known. */
void virtio_console_resize(struct virtio_device *vd, uint16_t columns, uint16_t rows);

#endif
