/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_share.c - `--share DIR:TAG`: a host directory by 9P. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/params.h"
#include "machine/plug.h"
#include "virtio/p9.h"

struct share_params {
    char *place, *id;
    unsigned transport;
    bool readonly;
};

#define AT(field) offsetof(struct share_params, field)
const struct param plug_share_keys[] = {
    {.name = "dir", .type = PARAM_STRING, .offset = AT(place), .operand = true,
     .help = "DIR:TAG: host directory, and the name that the guest mounts"},
    {.name = "readonly", .type = PARAM_FLAG, .offset = AT(readonly),
     .help = "the guest cannot write"},
    {.name = "id", .type = PARAM_STRING, .offset = AT(id), .help = "name in the monitor"},
    {.name = "transport", .type = PARAM_CHOICE, .offset = AT(transport),
     .choices = plug_transport_names, .help = "pci (the default) or mmio"},
    {NULL},
};
#undef AT

static int check(const struct share_params *s, const char *text, struct error **err)
{
    const char *colon = s->place ? strrchr(s->place, ':') : NULL;

    if (!colon || colon == s->place || !colon[1]) {
        error_set(err, EINVAL, "share '%s': a directory and a tag are needed", text);
        error_hint(err, "--share DIR:TAG[,readonly]; the guest mounts TAG");
        return -EINVAL;
    }
    if (strlen(colon + 1) > VIRTIO_P9_TAG_MAX)
        return error_set(err, EINVAL, "share '%s': the tag is longer than %d bytes", text,
                         VIRTIO_P9_TAG_MAX);
    return 0;
}

int plug_share(const struct plug *p, const char *text, struct error **err)
{
    struct share_params s = {0};
    struct error *why = NULL;
    char name[24];
    int rc = params_parse(plug_share_keys, &s, text, &why);

    if (rc)
        error_wrap(&why, "share '%s'", text);
    else
        rc = check(&s, text, &why);
    if (!rc) {
        char *colon = strrchr(s.place, ':');
        *colon = '\0';
        plug_name(p->machine, "share", name, sizeof name);
        const struct virtio_p9_config cfg = {.name = s.id ? s.id : name, .dir = s.place,
                                             .tag = colon + 1, .readonly = s.readonly};
        struct virtio_device *vd = virtio_p9_new(p->env, &cfg, &why);
        rc = vd ? plug_virtio(p, vd, s.transport, &why) : why ? -why->code : -EIO;
    }
    if (err)
        *err = why;
    else
        error_free(&why);
    params_fini(plug_share_keys, &s);
    return rc;
}
