/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plug_disk.c - `--disk`: an image, and the device that shows it: virtio, or an ATA drive. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/iothread.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/params.h"
#include "machine/plug.h"
#include "virtio/blk.h"

enum on_error { ON_ERROR_REPORT, ON_ERROR_STOP };
static const char *const on_error_names[] = {"report", "stop", NULL};
enum disk_bus { BUS_VIRTIO, BUS_ATA };
static const char *const bus_names[] = {"virtio", "ata", NULL};

struct disk_params {
    char *file, *format, *serial, *id;
    unsigned cache, on_error, transport, bus;
    bool readonly, discard, packed, iothread;
    uint64_t queues;
};

#define AT(field) offsetof(struct disk_params, field)
const struct param plug_disk_keys[] = {
    {.name = "file", .type = PARAM_STRING, .offset = AT(file), .operand = true,
     .help = "image file or URL"},
    {.name = "format", .type = PARAM_STRING, .offset = AT(format),
     .help = "raw, qcow2, ...: not guessed for writing"},
    {.name = "cache", .type = PARAM_CHOICE, .offset = AT(cache), .choices = block_cache_names,
     .help = "writeback (the default), none, writethrough, unsafe"},
    {.name = "readonly", .type = PARAM_FLAG, .offset = AT(readonly),
     .help = "the guest cannot write"},
    {.name = "serial", .type = PARAM_STRING, .offset = AT(serial),
     .help = "serial number that the guest reads"},
    {.name = "id", .type = PARAM_STRING, .offset = AT(id), .help = "name in the monitor"},
    {.name = "queues", .type = PARAM_NUMBER, .offset = AT(queues), .min = 1, .max = 16,
     .help = "request queues"},
    {.name = "on-error", .type = PARAM_CHOICE, .offset = AT(on_error), .choices = on_error_names,
     .help = "report errors to the guest (the default), or stop the VM"},
    {.name = "discard", .type = PARAM_FLAG, .offset = AT(discard),
     .help = "discarded blocks are given back (default on)"},
    {.name = "transport", .type = PARAM_CHOICE, .offset = AT(transport),
     .choices = plug_transport_names, .help = "pci (the default) or mmio"},
    {.name = "iothread", .type = PARAM_FLAG, .offset = AT(iothread),
     .help = "serve it in a thread of its own"},
    {.name = "packed", .type = PARAM_FLAG, .offset = AT(packed),
     .help = "offer packed rings (default off)"},
    {.name = "bus", .type = PARAM_CHOICE, .offset = AT(bus), .choices = bus_names,
     .help = "virtio (the default), or ata: IDE, which every system knows"},
    {NULL},
};
#undef AT

/* In the loop's thread, where the VM may be paused. */
static void pause(void *opaque)
{
    machine_pause(opaque);
}

static void failed(void *opaque, const char *name, int error)
{
    struct machine *m = opaque;

    log_warn(m->log, "disk %s: %s; the VM is stopped ('continue' in the monitor tries again)",
             name, strerror(error));
    loop_post(m->loop, pause, m);
}

/* IDE has no such choices. */
static int check_ata(const struct disk_params *d, struct error **err)
{
    const char *key = d->queues > 1 ? "queues" : d->transport ? "transport"
                      : d->iothread ? "iothread" : d->packed ? "packed" : NULL;

    return key ? error_set(err, EINVAL, "%s= is for bus=virtio only", key) : 0;
}

static int make_ata(const struct plug *p, const struct disk_params *d, const char *name,
                    struct error **err)
{
    const struct block_open how = {
        .name = d->file, .format = d->format, .cache = (enum block_cache)d->cache,
        .readonly = d->readonly, .log = p->env->log,
    };
    struct ata_drive_config cfg = {
        .kind = ATA_DISK, .name = name, .serial = d->serial, .opaque = p->machine,
        .write_back = d->cache == BLOCK_WRITEBACK || d->cache == BLOCK_NONE,
        .failed = d->on_error == ON_ERROR_STOP ? failed : NULL,
    };
    int rc = check_ata(d, err);
    struct block_io *io = rc ? NULL : plug_block_io(p, err);

    if (!io)
        return rc ? rc : -EIO;
    cfg.block = block_open(io, &how, err);
    return cfg.block ? plug_ata_drive(p, &cfg, err) : -EIO;
}

static struct virtio_device *make(const struct plug *p, const struct disk_params *d,
                                  const char *name, struct error **err)
{
    const struct block_open how = {
        .name = d->file, .format = d->format, .cache = (enum block_cache)d->cache,
        .readonly = d->readonly, .discard = d->discard, .log = p->env->log,
    };
    struct virtio_blk_config cfg = {
        .name = name, .serial = d->serial,
        .queues = (unsigned)d->queues, .discard = d->discard, .opaque = p->machine,
        .write_back = d->cache == BLOCK_WRITEBACK || d->cache == BLOCK_NONE,
        .failed = d->on_error == ON_ERROR_STOP ? failed : NULL,
    };

    struct virtio_device *vd = NULL;
    struct iothread *thread = NULL;

    if (d->iothread)
        thread = plug_iothread(p, name, &cfg.io, err);
    else
        cfg.io = plug_block_io(p, err);
    if (!cfg.io)
        return NULL;
    if (thread)
        pthread_mutex_lock(iothread_lock(thread));
    cfg.block = block_open(cfg.io, &how, err);
    if (cfg.block)
        vd = virtio_blk_new(p->env, &cfg, err);
    if (thread)
        pthread_mutex_unlock(iothread_lock(thread));
    if (vd && thread && plug_thread(p, vd, err) < 0) {
        virtio_device_destroy(vd);
        vd = NULL;
    }
    return vd;
}

static int make_virtio(const struct plug *p, const struct disk_params *d, const char *name,
                       struct error **err)
{
    struct virtio_device *vd = make(p, d, name, err);

    if (vd && d->packed)
        vd->features |= VIRTIO_F_PACKED;
    return vd ? plug_virtio(p, vd, d->transport, err) : -EIO;
}

int plug_disk(const struct plug *p, const char *text, struct error **err)
{
    struct disk_params d = {.queues = 1, .discard = true};
    struct error *why = NULL;
    char name[24];
    int rc = params_parse(plug_disk_keys, &d, text, &why);

    if (!rc && !d.file) {
        rc = error_set(&why, EINVAL, "no image is named");
        error_hint(&why, "--disk FILE[,key=value...]");
    }
    if (!rc) {
        plug_name(p->machine, "disk", name, sizeof name);
        rc = (d.bus == BUS_ATA ? make_ata : make_virtio)(p, &d, d.id ? d.id : name, &why);
    }
    if (rc)
        rc = why ? -why->code : rc;
    if (rc)
        error_wrap(&why, "disk '%s'", d.file ? d.file : text);
    if (err)
        *err = why;
    else
        error_free(&why);
    params_fini(plug_disk_keys, &d);
    return rc;
}
