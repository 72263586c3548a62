/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plug_boot.c - what firmware may boot from, and in which order (`--boot`).
 *
 * Firmware is told Open Firmware device paths, as QEMU writes them and SeaBIOS and OVMF
 * parse them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/byteorder.h"
#include "base/strbuf.h"
#include "machine/plug.h"
#include "pci/pci.h"

/* Disks first: an empty one is passed over, and what was installed on it boots then. */
static const char *const kinds[] = {
    [PLUG_BOOT_DISK] = "disk", [PLUG_BOOT_CDROM] = "cdrom", [PLUG_BOOT_NET] = "net",
};

void plug_bootable(const struct plug *p, enum plug_boot kind, const char *name, const char *path)
{
    struct plugs *s = plugs_of(p->machine);
    struct plug_boot_entry *e = &s->boot[s->boots];

    if (s->boots == PLUG_BOOTS_MAX)
        return;                            /* it can be booted from all the same, but last */
    s->boots++;
    e->kind = kind;
    snprintf(e->name, sizeof e->name, "%s", name);
    snprintf(e->path, sizeof e->path, "%s", path);
}

void plug_bootable_pci(const struct plug *p, const char *name)
{
    enum { CLASS_SCSI = 0x0100, CLASS_ETHERNET = 0x0200 };
    const struct pci_function *f = pci_bus_newest(p->pci);
    char path[PLUG_BOOT_PATH_BYTES];

    if (!f)
        return;
    switch (get_le16(f->state->config + PCI_CLASS)) {
    case CLASS_SCSI:
        snprintf(path, sizeof path, "/pci@i0cf8/scsi@%x/disk@0,0", f->slot);
        plug_bootable(p, PLUG_BOOT_DISK, name, path);
        break;
    case CLASS_ETHERNET:
        snprintf(path, sizeof path, "/pci@i0cf8/ethernet@%x/ethernet-phy@0", f->slot);
        plug_bootable(p, PLUG_BOOT_NET, name, path);
        break;
    }
}

/* All of a kind, or the one of that name, that are not in the list yet. */
static unsigned take(struct plugs *s, const char *what, size_t len, bool *taken,
                     struct strbuf *out)
{
    unsigned found = 0;

    for (unsigned i = 0; s && i < s->boots; i++) {
        const struct plug_boot_entry *e = &s->boot[i];
        const char *kind = kinds[e->kind];
        bool is_kind = strlen(kind) == len && memcmp(kind, what, len) == 0;

        if (!is_kind && (strlen(e->name) != len || memcmp(e->name, what, len) != 0))
            continue;
        found++;
        if (!taken[i])
            strbuf_addf(out, "%s\n", e->path);
        taken[i] = true;
    }
    return found;
}

static bool is_kind(const char *what, size_t len)
{
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
        if (strlen(kinds[k]) == len && memcmp(kinds[k], what, len) == 0)
            return true;
    return false;
}

static int bad_name(const char *what, size_t len, struct error **err)
{
    error_set(err, EINVAL, "--boot: there is no device '%.*s' to boot from", (int)len, what);
    error_hint(err, "disk, cdrom, net, or a device's id=, separated by commas");
    return -EINVAL;
}

int plug_boot_order(struct machine *m, struct strbuf *out, struct error **err)
{
    bool taken[PLUG_BOOTS_MAX] = {false};
    const char *at = m->config.boot_order;

    while (at && *at) {
        size_t len = strcspn(at, ",");

        if (!take(m->plugs, at, len, taken, out) && !is_kind(at, len))
            return bad_name(at, len, err);
        at += len + (at[len] == ',');
    }
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
        take(m->plugs, kinds[k], strlen(kinds[k]), taken, out);
    return 0;
}
