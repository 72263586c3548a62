/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.h - virtio network card (virtio 1.2, 5.1) over a back end (net/net.h).
 *
 * The back end belongs to the same loop and lock as the device, which owns it.
 */
#ifndef RING3_VIRTIO_NET_H
#define RING3_VIRTIO_NET_H

#include "net/net.h"
#include "virtio/virtio.h"

struct virtio_net_config {
    const char *name;                /* "net0" */
    struct net *net;                 /* taken over, on failure too */
    uint8_t mac[6];
    unsigned queues;                 /* pairs, 1 to NET_QUEUES_MAX */
    uint16_t mtu;                    /* 0: not told */
};

struct virtio_device *virtio_net_new(const struct device_env *env,
                                     const struct virtio_net_config *cfg, struct error **err);
/* The back end behind it; NULL: another kind of device. */
struct net *virtio_net_backend(const struct virtio_device *vd);

#endif
