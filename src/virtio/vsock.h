/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock.h - virtio socket device; its host side is vsock_host.h. */
#ifndef RING3_VIRTIO_VSOCK_H
#define RING3_VIRTIO_VSOCK_H

#include "virtio/virtio.h"

struct virtio_vsock_config {
    const char *name;                /* "vsock0" */
    uint32_t cid;                    /* the guest's, VSOCK_CID_MIN or more */
    const char *path;                /* of the Unix socket */
};

/* env->loop is needed. */
struct virtio_device *virtio_vsock_new(const struct device_env *env,
                                       const struct virtio_vsock_config *cfg, struct error **err);

#endif
