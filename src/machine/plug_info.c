/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_info.c - what the monitor shows of PCI, virtio and disks. VM lock taken here. */
#include <string.h>

#include "device/e1000.h"
#include "base/strbuf.h"
#include "machine/plug.h"
#include "pci/pci.h"
#include "virtio/blk.h"
#include "virtio/net.h"

void machine_describe_pci(struct machine *m, struct strbuf *out)
{
    machine_lock(m);
    for (unsigned i = 0; i < m->devices; i++)
        if (strcmp(m->device[i]->ops->type, "pci-host") == 0)
            pci_bus_describe(pci_bus_of(m->device[i]), out);
    machine_unlock(m);
}

void machine_describe_virtio(struct machine *m, struct strbuf *out)
{
    machine_lock(m);
    for (unsigned i = 0; i < m->devices; i++) {
        struct virtio_device *vd = virtio_of(m->device[i]);

        if (vd)
            virtio_describe_text(vd, out);
    }
    machine_unlock(m);
}

static void describe_image(const char *name, const struct block *b, struct strbuf *out)
{
    static const char *const ops[] = {"reads", "writes", "flushes", "discards", "zeroings"};
    struct block_info info;
    struct block_stats s;

    block_info(b, &info);
    block_stats(b, &s);
    strbuf_addf(out, "%s: %s, %llu MiB%s", name, info.format ? info.format : "raw",
                (unsigned long long)(info.bytes >> 20), info.readonly ? ", read-only" : "");
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
        strbuf_addf(out, ", %llu %s", (unsigned long long)s.requests[i], ops[i]);
    strbuf_addf(out, ", %llu failed, %u in flight\n", (unsigned long long)s.failed,
                block_in_flight(b));
}

static void describe_drive(const struct device *dev, unsigned unit, struct strbuf *out)
{
    const char *name = ata_drive_name(dev, unit);

    if (!name)
        return;
    if (ata_image(dev, unit))
        describe_image(name, ata_image(dev, unit), out);
    else
        strbuf_addf(out, "%s: no disc\n", name);
}

void machine_describe_block(struct machine *m, struct strbuf *out)
{
    machine_lock(m);
    for (unsigned i = 0; i < m->devices; i++) {
        const struct virtio_device *vd = virtio_of(m->device[i]);

        if (vd && virtio_blk_image(vd))
            describe_image(vd->name, virtio_blk_image(vd), out);
        for (unsigned u = 0; u < ATA_DRIVES; u++)
            describe_drive(m->device[i], u, out);
    }
    machine_unlock(m);
}

void machine_describe_network(struct machine *m, struct strbuf *out)
{
    size_t before = out->len;

    machine_lock(m);
    for (unsigned i = 0; i < m->devices; i++) {
        struct virtio_device *vd = virtio_of(m->device[i]);

        if (vd && virtio_net_backend(vd))
            virtio_describe_text(vd, out);
        else if (e1000_backend(m->device[i]))
            e1000_describe(m->device[i], out);
    }
    machine_unlock(m);
    if (out->len == before)
        strbuf_addf(out, "there is no network (--net)\n");
}
