/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rng.h - virtio entropy device, fed by the host's getrandom(). */
#ifndef RING3_VIRTIO_RNG_H
#define RING3_VIRTIO_RNG_H

#include "virtio/virtio.h"

struct virtio_device *virtio_rng_new(const struct device_env *env, const char *name,
                                     struct error **err);

#endif
