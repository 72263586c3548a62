/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_rng.c - `--device rng`. */
#include <stdio.h>

#include "base/params.h"
#include "machine/plug.h"
#include "virtio/rng.h"

struct rng_params {
    char *id;
    unsigned transport;
    bool packed;
};

const struct param plug_rng_keys[] = {
    {.name = "id", .type = PARAM_STRING, .offset = offsetof(struct rng_params, id),
     .help = "name in the monitor"},
    {.name = "transport", .type = PARAM_CHOICE, .offset = offsetof(struct rng_params, transport),
     .choices = plug_transport_names, .help = "pci (the default) or mmio"},
    {.name = "packed", .type = PARAM_FLAG, .offset = offsetof(struct rng_params, packed),
     .help = "offer packed rings (default off)"},
    {NULL},
};

int plug_rng(const struct plug *p, const char *text, struct error **err)
{
    struct rng_params cfg = {0};
    struct virtio_device *vd = NULL;
    char name[24];
    int rc = params_parse(plug_rng_keys, &cfg, text, err);

    if (!rc) {
        plug_name(p->machine, "rng", name, sizeof name);
        vd = virtio_rng_new(p->env, cfg.id ? cfg.id : name, err);
        if (vd && cfg.packed)
            vd->features |= VIRTIO_F_PACKED;
        rc = vd ? plug_virtio(p, vd, cfg.transport, err) : -1;
    }
    params_fini(plug_rng_keys, &cfg);
    return rc;
}
