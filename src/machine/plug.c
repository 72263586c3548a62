/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug.c - the table of pluggable devices, and where they are plugged in. */
#include "machine/plug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/iothread.h"
#include "base/strbuf.h"
#include "block/block.h"
#include "boot/acpi.h"
#include "machine/pc_devices.h"
#include "machine/pc_map.h"
#include "virtio/blk.h"
#include "virtio/thread.h"

const char *const plug_transport_names[] = {"pci", "mmio", NULL};

static const struct plug_kind kinds[] = {
    {"balloon", "virtio memory balloon; 'balloon SIZE' in the monitor sets it",
     plug_balloon_keys, plug_balloon},
    {"cdrom", "ATA CD-ROM drive, as --cdrom", plug_cdrom_keys, plug_cdrom},
    {"console", "virtio console with ports: hvc0 in Linux, and streams with names",
     plug_console_keys, plug_console},
    {"disk", "virtio or ATA disk, as --disk", plug_disk_keys, plug_disk},
    {"rng", "virtio entropy source: the host's getrandom()", plug_rng_keys, plug_rng},
    {"share", "a host directory by virtio and 9P, as --share", plug_share_keys,
     plug_share},
    {"vsock", "virtio sockets, joined to a Unix socket of the host", plug_vsock_keys,
     plug_vsock},
};

void machine_list_devices(struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        strbuf_addf(out, "%-10s %s\n", kinds[i].name, kinds[i].summary);
        params_describe(kinds[i].keys, out);
    }
}

static int no_such_device(const char *name, struct error **err)
{
    const char *names[ARRAY_SIZE(kinds) + 1] = {NULL};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        names[i] = kinds[i].name;
    return error_no_such(err, "device", name, names);
}

static int plug_text(const struct plug *p, const char *text, struct error **err)
{
    size_t len = strcspn(text, ",");
    char name[32];

    snprintf(name, sizeof name, "%.*s", (int)len, text);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].plug(p, text + len + (text[len] == ','), err);
    return no_such_device(name, err);
}

int plug_all(const struct plug *p, struct error **err)
{
    const struct machine_config *cfg = &p->machine->config;
    int rc = 0;

    if (cfg->image)
        rc = plug_image(p, cfg->image, err);
    for (size_t i = 0; cfg->disks && cfg->disks[i] && !rc; i++)
        rc = plug_disk(p, cfg->disks[i], err);
    for (size_t i = 0; cfg->cdroms && cfg->cdroms[i] && !rc; i++)
        rc = plug_cdrom(p, cfg->cdroms[i], err);
    for (unsigned i = 0; cfg->nets && cfg->nets[i] && !rc; i++)
        rc = plug_net(p, cfg->nets[i], i, err);
    for (size_t i = 0; cfg->shares && cfg->shares[i] && !rc; i++)
        rc = plug_share(p, cfg->shares[i], err);
    for (size_t i = 0; cfg->devices && cfg->devices[i] && !rc; i++)
        rc = plug_text(p, cfg->devices[i], err);
    return rc;
}

/* ---- shared things ------------------------------------------------------- */

struct plugs *plugs_of(struct machine *m)
{
    if (!m->plugs)
        m->plugs = calloc(1, sizeof *m->plugs);
    BUG_ON(!m->plugs);
    return m->plugs;
}

void plugs_free(struct machine *m)
{
    if (!m->plugs)
        return;
    for (unsigned i = 0; i < m->plugs->threads; i++) {
        struct iothread *t = m->plugs->thread[i].thread;

        pthread_mutex_lock(iothread_lock(t));
        block_io_free(m->plugs->thread[i].block_io);
        pthread_mutex_unlock(iothread_lock(t));
        iothread_free(t);
        virtio_thread_free(m->plugs->thread[i].virtio);
    }
    block_io_free(m->plugs->block_io);
    free(m->plugs);
    m->plugs = NULL;
}

void plugs_lock_threads(struct machine *m)
{
    for (unsigned i = 0; m->plugs && i < m->plugs->threads; i++)
        pthread_mutex_lock(iothread_lock(m->plugs->thread[i].thread));
}

void plugs_unlock_threads(struct machine *m)
{
    for (unsigned i = 0; m->plugs && i < m->plugs->threads; i++)
        pthread_mutex_unlock(iothread_lock(m->plugs->thread[i].thread));
}

void plugs_resumed(struct machine *m)
{
    for (unsigned i = 0; m->plugs && i < m->devices; i++) {
        struct virtio_device *vd = virtio_of(m->device[i]);

        if (vd)
            virtio_blk_retry(vd);
        machine_lock(m);
        ata_retry(m->device[i]);
        machine_unlock(m);
    }
}

struct iothread *plug_iothread(const struct plug *p, const char *name,
                               struct block_io **block_io, struct error **err)
{
    struct plugs *s = plugs_of(p->machine);
    struct iothread *t;

    if (s->threads == PLUG_THREADS_MAX) {
        error_set(err, ENOSPC, "no more than %d I/O threads", PLUG_THREADS_MAX);
        return NULL;
    }
    t = iothread_new(name, err);
    if (!t)
        return NULL;
    s->thread[s->threads++].thread = t;
    if (!block_io)
        return t;
    pthread_mutex_lock(iothread_lock(t));
    *block_io = block_io_new(iothread_loop(t), iothread_lock(t), err);
    pthread_mutex_unlock(iothread_lock(t));
    s->thread[s->threads - 1].block_io = *block_io;
    return *block_io ? t : NULL;
}

int plug_thread(const struct plug *p, struct virtio_device *vd, struct error **err)
{
    struct plugs *s = plugs_of(p->machine);
    unsigned last = s->threads - 1;

    s->thread[last].virtio = virtio_thread_new(vd, s->thread[last].thread, err);
    return s->thread[last].virtio ? 0 : -ENOMEM;
}

struct block_io *plug_block_io(const struct plug *p, struct error **err)
{
    struct plugs *s = plugs_of(p->machine);

    if (!s->block_io)
        s->block_io = block_io_new(p->env->loop, bus_lock(p->env->bus), err);
    return s->block_io;
}

static bool name_taken(const struct machine *m, const char *name)
{
    struct device *channel;
    unsigned unit;

    if (plug_ata_find(m, name, &channel, &unit))
        return true;
    for (unsigned i = 0; i < m->devices; i++)
        if (strcmp(m->device[i]->name, name) == 0)
            return true;
    return false;
}

void plug_name(const struct machine *m, const char *stem, char *out, size_t size)
{
    unsigned n = 0;

    do {
        snprintf(out, size, "%s%u", stem, n++);
    } while (name_taken(m, out));
}

/* ---- placing ------------------------------------------------------------- */

static struct device *place_mmio(const struct plug *p, struct virtio_device *vd,
                                 struct error **err)
{
    struct plugs *s = plugs_of(p->machine);
    struct virtio_mmio_config cfg;

    if (s->mmios == PLUG_MMIO_MAX) {
        error_set(err, ENOSPC, "no more than %d virtio-mmio devices fit", PLUG_MMIO_MAX);
        virtio_device_destroy(vd);
        return NULL;
    }
    s->mmio_gsi[s->mmios] = PC_MMIO_GSI + s->mmios % PC_MMIO_GSIS;
    cfg = (struct virtio_mmio_config){
        .base = PC_VIRTIO_MMIO + (uint64_t)s->mmios * PAGE_SIZE,
        .irq = p->gsi(p->machine, s->mmio_gsi[s->mmios]),
    };
    s->mmios++;
    return virtio_mmio_new(p->env, &cfg, vd, err);
}

int plug_name_free(const struct machine *m, const char *name, struct error **err)
{
    if (!name_taken(m, name))
        return 0;
    error_set(err, EEXIST, "there are two devices called '%s'", name);
    error_hint(err, "give one of them another id=");
    return -EEXIST;
}

int plug_virtio(const struct plug *p, struct virtio_device *vd, unsigned transport,
                struct error **err)
{
    struct error *why = NULL;
    struct device *dev;
    int code;

    if (plug_name_free(p->machine, vd->name, err) < 0) {
        virtio_device_destroy(vd);
        return -EEXIST;
    }
    dev = transport == PLUG_MMIO ? place_mmio(p, vd, &why)
                                 : virtio_pci_new(p->env, p->pci, vd, &why);
    if (dev) {
        machine_add_device(p->machine, dev);
        if (transport != PLUG_MMIO)
            plug_bootable_pci(p, dev->name);
        return 0;
    }
    code = why ? why->code : ENOMEM;
    if (err)
        *err = why;
    else
        error_free(&why);
    return -code;
}

void plug_acpi(const struct machine *m, struct acpi_config *acpi)
{
    for (unsigned i = 0; m->plugs && i < m->plugs->mmios; i++)
        acpi->virtio[acpi->virtios++] = (struct acpi_virtio){
            .base = (uint32_t)(PC_VIRTIO_MMIO + i * PAGE_SIZE), .bytes = VIRTIO_MMIO_BYTES,
            .gsi = m->plugs->mmio_gsi[i],
        };
}
