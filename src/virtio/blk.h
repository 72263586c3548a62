/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blk.h - virtio block device over an open image (block/block.h).
 *
 * The image's context belongs to the same loop and lock as the device. The device owns
 * the image: it is closed, and with that made durable, in destroy.
 */
#ifndef RING3_VIRTIO_BLK_H
#define RING3_VIRTIO_BLK_H

#include "block/block.h"
#include "virtio/virtio.h"

enum { VIRTIO_BLK_SERIAL_BYTES = 20 };

struct virtio_blk_config {
    const char *name;                /* "disk0" */
    struct block *block;             /* taken over, on failure too */
    struct block_io *io;
    const char *serial;              /* NULL: the name; longer ones are cut */
    unsigned queues;                 /* 1 .. VIRTIO_QUEUES_MAX */
    bool write_back;                 /* writes are durable only after a flush */
    bool discard;
    /* An I/O error: NULL reports it to the guest. Else the request waits for
     * virtio_blk_retry(), and this is called to stop the VM. */
    void (*failed)(void *opaque, const char *name, int error);
    void *opaque;
};

struct virtio_device *virtio_blk_new(const struct device_env *env,
                                     const struct virtio_blk_config *cfg, struct error **err);
/* The VM goes on: what failed is tried again. Other kinds of devices: nothing. */
void virtio_blk_retry(struct virtio_device *vd);
/* The image behind it; NULL: another kind of device. */
struct block *virtio_blk_image(const struct virtio_device *vd);

#endif
