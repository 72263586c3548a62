/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * balloon.h - virtio memory balloon: RAM the guest gives back to the host.
 *
 * Whoever made the device sets a target; the guest's driver follows as it can, and gives
 * itself memory back when it runs short (deflate on OOM). With free page reporting it
 * tells of free memory without being asked. VM lock held in everything here.
 */
#ifndef RING3_VIRTIO_BALLOON_H
#define RING3_VIRTIO_BALLOON_H

#include "virtio/virtio.h"

struct virtio_device *virtio_balloon_new(const struct device_env *env, const char *name,
                                         struct error **err);
/* How much the guest should do without. False: not a balloon. */
bool virtio_balloon_set(struct virtio_device *vd, uint64_t bytes);

#endif
