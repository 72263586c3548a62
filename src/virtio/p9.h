/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9.h - virtio 9P transport: a host directory that the guest mounts.
 *
 * Messages are carried between the queue and the file server (share/p9.h), which works
 * in a thread of its own, so that a slow host file system holds up nobody but whoever
 * uses the share. One request at a time, in order.
 *
 * What the server knows of its client (open files) is not part of the device's state.
 */
#ifndef RING3_VIRTIO_P9_H
#define RING3_VIRTIO_P9_H

#include "virtio/virtio.h"

enum { VIRTIO_P9_TAG_MAX = 64 };

struct virtio_p9_config {
    const char *name;                /* "share0" */
    const char *dir, *tag;           /* what the guest mounts; 1 .. VIRTIO_P9_TAG_MAX bytes */
    bool readonly;
};

struct virtio_device *virtio_p9_new(const struct device_env *env,
                                    const struct virtio_p9_config *cfg, struct error **err);

#endif
