/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_balloon.c - `--device balloon`, and the monitor's `balloon`. */
#include <errno.h>

#include "base/error.h"
#include "base/params.h"
#include "machine/plug.h"
#include "virtio/balloon.h"

struct balloon_params {
    char *id;
    unsigned transport;
    bool packed;
    uint64_t bytes;
};

#define AT(field) offsetof(struct balloon_params, field)
const struct param plug_balloon_keys[] = {
    {.name = "id", .type = PARAM_STRING, .offset = AT(id), .help = "name in the monitor"},
    {.name = "size", .type = PARAM_SIZE, .offset = AT(bytes),
     .help = "what the guest does without from the start"},
    {.name = "transport", .type = PARAM_CHOICE, .offset = AT(transport),
     .choices = plug_transport_names, .help = "pci (the default) or mmio"},
    {.name = "packed", .type = PARAM_FLAG, .offset = AT(packed),
     .help = "offer packed rings (default off)"},
    {NULL},
};
#undef AT

int plug_balloon(const struct plug *p, const char *text, struct error **err)
{
    struct balloon_params cfg = {0};
    struct virtio_device *vd = NULL;
    char name[24];
    int rc = params_parse(plug_balloon_keys, &cfg, text, err);

    if (!rc) {
        plug_name(p->machine, "balloon", name, sizeof name);
        vd = virtio_balloon_new(p->env, cfg.id ? cfg.id : name, err);
        if (vd && cfg.packed)
            vd->features |= VIRTIO_F_PACKED;
        if (vd)
            virtio_balloon_set(vd, cfg.bytes);
        rc = vd ? plug_virtio(p, vd, cfg.transport, err) : -ENOMEM;
    }
    params_fini(plug_balloon_keys, &cfg);
    return rc;
}

int machine_balloon(struct machine *m, uint64_t bytes, struct error **err)
{
    bool found = false;

    machine_lock(m);
    for (unsigned i = 0; i < m->devices && !found; i++) {
        struct virtio_device *vd = virtio_of(m->device[i]);

        found = vd && virtio_balloon_set(vd, bytes);
    }
    machine_unlock(m);
    if (found)
        return 0;
    error_set(err, ENODEV, "there is no balloon");
    error_hint(err, "start with --device balloon");
    return -ENODEV;
}
