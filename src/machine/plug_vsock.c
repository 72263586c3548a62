/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_vsock.c - `--device vsock,cid=N,socket=PATH`. */
#include <errno.h>

#include "base/error.h"
#include "base/params.h"
#include "machine/plug.h"
#include "virtio/vsock.h"
#include "virtio/vsock_host.h"

struct vsock_params {
    char *socket, *id;
    uint64_t cid;
    unsigned transport;
};

#define AT(field) offsetof(struct vsock_params, field)
const struct param plug_vsock_keys[] = {
    {.name = "socket", .type = PARAM_STRING, .offset = AT(socket),
     .help = "Unix socket: to the guest by 'CONNECT port', from it at PATH_port"},
    {.name = "cid", .type = PARAM_NUMBER, .offset = AT(cid), .min = VSOCK_CID_MIN,
     .max = UINT32_MAX - 1, .help = "the guest's context ID (default 3)"},
    {.name = "id", .type = PARAM_STRING, .offset = AT(id), .help = "name in the monitor"},
    {.name = "transport", .type = PARAM_CHOICE, .offset = AT(transport),
     .choices = plug_transport_names, .help = "pci (the default) or mmio"},
    {NULL},
};
#undef AT

int plug_vsock(const struct plug *p, const char *text, struct error **err)
{
    struct vsock_params v = {.cid = VSOCK_CID_MIN};
    struct error *why = NULL;
    char name[24];
    int rc = params_parse(plug_vsock_keys, &v, text, &why);

    if (!rc && !v.socket) {
        rc = error_set(&why, EINVAL, "no socket is named");
        error_hint(&why, "--device vsock,socket=PATH[,cid=N]");
    }
    if (!rc) {
        plug_name(p->machine, "vsock", name, sizeof name);
        const struct virtio_vsock_config cfg = {.name = v.id ? v.id : name,
                                                .cid = (uint32_t)v.cid, .path = v.socket};
        struct virtio_device *vd = virtio_vsock_new(p->env, &cfg, &why);
        rc = vd ? plug_virtio(p, vd, v.transport, &why) : why ? -why->code : -EIO;
    }
    if (rc)
        error_wrap(&why, "device 'vsock'");
    if (err)
        *err = why;
    else
        error_free(&why);
    params_fini(plug_vsock_keys, &v);
    return rc;
}
