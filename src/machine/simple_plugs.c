/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_plugs.c - `--disk` and `--net` on the simple machine: the same texts as on a PC,
 * for devices that know less. Keys that would ask for more are refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/params.h"
#include "base/strbuf.h"
#include "block/block.h"
#include "bus/bus.h"
#include "device/ata.h"
#include "irqchip/intc.h"
#include "machine/plug.h"
#include "machine/simple_board.h"
#include "net/net.h"
#include "net/options.h"
#include "ring3/simple.h"

enum { ATA_PIN = 14 };

struct disk_params {
    char *file, *format;
    unsigned cache;
    bool readonly;
};

#define AT(field) offsetof(struct disk_params, field)
static const struct param disk_keys[] = {
    {.name = "file", .type = PARAM_STRING, .offset = AT(file), .operand = true},
    {.name = "format", .type = PARAM_STRING, .offset = AT(format)},
    {.name = "cache", .type = PARAM_CHOICE, .offset = AT(cache), .choices = block_cache_names},
    {.name = "readonly", .type = PARAM_FLAG, .offset = AT(readonly)},
    {NULL},
};
#undef AT

static int hand_on(struct error *why, struct error **err)
{
    int code = why ? why->code : ENOMEM;

    if (err)
        *err = why;
    else
        error_free(&why);
    return -code;
}

/* As a PC has it, on machine teach: the hypercalls write to the same image. */
static int add_ata(struct simple_wiring *w, struct block *block, bool write_back,
                   struct error **err)
{
    const struct ata_config channel = {
        .name = "ata0", .command = ATA_PRIMARY, .control = ATA_PRIMARY_CONTROL,
        .irq = intc_gsi(w->machine->intc, ATA_PIN),
    };
    const struct ata_drive_config drive = {.kind = ATA_DISK, .name = "disk0", .block = block,
                                           .write_back = write_back};
    struct device *dev = ata_new(w->env, &channel, err);

    if (!dev) {
        block_close(block, NULL);
        return -EIO;
    }
    machine_add_device(w->machine, dev);
    return ata_attach(dev, 0, &drive, err);
}

static int add_disk(struct simple_wiring *w, const struct disk_params *d, unsigned index,
                    struct error **err)
{
    const struct plug plug = {.machine = w->machine, .env = w->env};
    const struct block_open how = {
        .name = d->file, .format = d->format, .cache = (enum block_cache)d->cache,
        .readonly = d->readonly, .log = w->env->log,
    };
    struct block_io *io = plug_block_io(&plug, err);
    struct block *block = io ? block_open(io, &how, err) : NULL;
    struct simple_slot slot;
    struct device *dev = NULL;
    char name[24];

    if (!block)
        return -EIO;
    if (!w->board->disk)
        w->board->disk = block;
    if (w->board->text_window && !index)
        return add_ata(w, block, d->cache == BLOCK_WRITEBACK || d->cache == BLOCK_NONE, err);
    snprintf(name, sizeof name, "disk%u", index);
    if (simple_take_slot(w, RING3_SIMPLE_DISK, name, SIMPLE_DISK_BYTES, &slot, err) == 0)
        dev = simple_disk_new(w->env, &slot, block, err);
    if (!dev) {
        block_close(block, NULL);
        return -EIO;
    }
    machine_add_device(w->machine, dev);
    return 0;
}

static int plug_one_disk(struct simple_wiring *w, const char *text, unsigned index,
                         struct error **err)
{
    struct disk_params d = {.readonly = false};
    struct error *why = NULL;
    int rc = params_parse(disk_keys, &d, text, &why);

    if (!rc && !d.file)
        rc = error_set(&why, EINVAL, "no image is named");
    if (!rc)
        rc = add_disk(w, &d, index, &why);
    if (rc) {
        error_wrap(&why, "disk '%s'", d.file ? d.file : text);
        rc = hand_on(why, err);
    }
    params_fini(disk_keys, &d);
    return rc;
}

static int add_net(struct simple_wiring *w, const struct net_options *o, unsigned index,
                   struct error **err)
{
    const struct net_env env = {w->env->loop, bus_lock(w->env->bus), w->env->log};
    struct simple_net_config cfg;
    char name[24];
    struct device *dev;
    int rc;

    if (!o->backend)
        return 0;
    snprintf(name, sizeof name, "net%u", index);
    rc = simple_take_slot(w, RING3_SIMPLE_NETWORK, name, SIMPLE_NET_BYTES, &cfg.slot, err);
    if (rc)
        return rc;
    memcpy(cfg.mac, o->mac, sizeof cfg.mac);
    cfg.net = net_open(&env, o->backend, err);
    if (!cfg.net)
        return -EIO;
    if (o->capture && net_capture(cfg.net, o->capture, err) < 0) {
        net_close(cfg.net);
        return -EIO;
    }
    dev = simple_net_new(w->env, &cfg, err);
    if (!dev)
        return -EIO;
    machine_add_device(w->machine, dev);
    return 0;
}

static int plug_one_net(struct simple_wiring *w, const char *text, unsigned index,
                        struct error **err)
{
    const struct machine_config *mc = &w->machine->config;
    const char *seed = mc->kernel ? mc->kernel : mc->loads ? mc->loads[0] : "";
    struct error *why = NULL;
    struct net_options o;
    int rc = net_options_parse(&o, text, seed, index, &why);

    if (!rc)
        rc = add_net(w, &o, index, &why);
    if (rc) {
        error_wrap(&why, "network '%s'", text);
        rc = hand_on(why, err);
    }
    net_options_fini(&o);
    return rc;
}

static int refuse(const char *option, const char *const *texts, struct error **err)
{
    if (!texts || !texts[0])
        return 0;
    error_set(err, EINVAL, "%s %s: the simple machine has no place for it", option, texts[0]);
    error_hint(err, "--disk and --net fit; --machine pc has the rest");
    return -EINVAL;
}

int simple_plug_all(struct simple_wiring *w, struct error **err)
{
    const struct machine_config *cfg = &w->machine->config;
    int rc = refuse("--device", cfg->devices, err);

    if (!rc)
        rc = refuse("--share", cfg->shares, err);
    for (unsigned i = 0; cfg->disks && cfg->disks[i] && !rc; i++)
        rc = plug_one_disk(w, cfg->disks[i], i, err);
    for (unsigned i = 0; cfg->nets && cfg->nets[i] && !rc; i++)
        rc = plug_one_net(w, cfg->nets[i], i, err);
    return rc;
}
