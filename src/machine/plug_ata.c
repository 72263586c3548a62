/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plug_ata.c - ATA disks and `--cdrom`: drives on the two channels of a PC.
 *
 * The channels and their bus master are made with the first drive. Disks take the places
 * in order, CD-ROM drives begin with the second channel, as one would cable them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/loop.h"
#include "device/ide_pci.h"
#include "machine/pc_devices.h"
#include "machine/plug.h"

enum { PLACES = IDE_CHANNELS * ATA_DRIVES };

static int make_channels(const struct plug *p, struct plugs *s, struct error **err)
{
    static const struct {
        const char *name;
        uint16_t command, control;
        unsigned irq;
    } channels[IDE_CHANNELS] = {
        {"ata0", ATA_PRIMARY, ATA_PRIMARY_CONTROL, PC_IRQ_ATA_PRIMARY},
        {"ata1", ATA_SECONDARY, ATA_SECONDARY_CONTROL, PC_IRQ_ATA_SECONDARY},
    };
    struct ide_pci_config ide = {.slot = PC_PIIX_SLOT, .function = PC_IDE_FUNCTION};
    struct device *dev;

    if (s->ata[0])
        return 0;
    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        const struct ata_config cfg = {
            .name = channels[i].name, .command = channels[i].command,
            .control = channels[i].control, .irq = p->gsi(p->machine, channels[i].irq),
        };

        dev = ata_new(p->env, &cfg, err);
        if (!dev)
            return -EIO;
        machine_add_device(p->machine, dev);
        s->ata[i] = ide.channel[i] = dev;
    }
    dev = ide_pci_new(p->env, p->pci, &ide, err);
    if (!dev)
        return -EIO;
    machine_add_device(p->machine, dev);
    return 0;
}

/* The first free place, or PLACES. */
static unsigned place_for(const struct plugs *s, enum ata_kind kind)
{
    static const uint8_t disk[PLACES] = {0, 1, 2, 3}, cdrom[PLACES] = {2, 3, 1, 0};
    const uint8_t *order = kind == ATA_DISK ? disk : cdrom;

    for (unsigned i = 0; i < PLACES; i++)
        if (ata_drive_kind(s->ata[order[i] / ATA_DRIVES], order[i] % ATA_DRIVES) == ATA_NONE)
            return order[i];
    return PLACES;
}

static void bootable(const struct plug *p, const struct ata_drive_config *cfg, unsigned at)
{
    char path[PLUG_BOOT_PATH_BYTES];

    snprintf(path, sizeof path, "/pci@i0cf8/ide@%x,%x/drive@%x/disk@%x", PC_PIIX_SLOT,
             PC_IDE_FUNCTION, at / ATA_DRIVES, at % ATA_DRIVES);
    plug_bootable(p, cfg->kind == ATA_DISK ? PLUG_BOOT_DISK : PLUG_BOOT_CDROM, cfg->name, path);
}

int plug_ata_drive(const struct plug *p, const struct ata_drive_config *cfg, struct error **err)
{
    struct plugs *s = plugs_of(p->machine);
    unsigned at = PLACES;
    int rc = plug_name_free(p->machine, cfg->name, err);

    if (!rc)
        rc = make_channels(p, s, err);
    if (!rc)
        at = place_for(s, cfg->kind);
    if (!rc && at == PLACES) {
        rc = error_set(err, ENOSPC, "no more than %d ATA drives fit", PLACES);
        error_hint(err, "use bus=virtio, which has no such limit");
    }
    if (rc) {
        block_close(cfg->block, NULL);
        return rc;
    }
    rc = ata_attach(s->ata[at / ATA_DRIVES], at % ATA_DRIVES, cfg, err);
    if (!rc)
        bootable(p, cfg, at);
    return rc;
}

bool plug_ata_find(const struct machine *m, const char *name, struct device **dev, unsigned *unit)
{
    for (unsigned i = 0; m->plugs && i < PLACES; i++) {
        struct device *channel = m->plugs->ata[i / ATA_DRIVES];
        const char *has = channel ? ata_drive_name(channel, i % ATA_DRIVES) : NULL;

        if (has && strcmp(has, name) == 0) {
            *dev = channel;
            *unit = i % ATA_DRIVES;
            return true;
        }
    }
    return false;
}

/* ---- CD-ROM ---------------------------------------------------------------- */

struct cdrom_params {
    char *file, *format, *id, *serial;
    unsigned cache;
};

#define AT(field) offsetof(struct cdrom_params, field)
const struct param plug_cdrom_keys[] = {
    {.name = "file", .type = PARAM_STRING, .offset = AT(file), .operand = true,
     .help = "image file or URL; 'none': an empty drive"},
    {.name = "format", .type = PARAM_STRING, .offset = AT(format),
     .help = "raw (the default), qcow2, ..."},
    {.name = "cache", .type = PARAM_CHOICE, .offset = AT(cache), .choices = block_cache_names,
     .help = "writeback (the default), none, writethrough, unsafe"},
    {.name = "serial", .type = PARAM_STRING, .offset = AT(serial),
     .help = "serial number that the guest reads"},
    {.name = "id", .type = PARAM_STRING, .offset = AT(id), .help = "name in the monitor"},
    {NULL},
};
#undef AT

static struct block *open_disc(struct block_io *io, struct log *log, const char *file,
                               const char *format, unsigned cache, struct error **err)
{
    const struct block_open how = {.name = file, .format = format ? format : "raw",
                                   .cache = (enum block_cache)cache, .readonly = true, .log = log};

    return io ? block_open(io, &how, err) : NULL;
}

static int make_cdrom(const struct plug *p, const struct cdrom_params *c, struct error **err)
{
    char name[24];
    struct ata_drive_config cfg = {.kind = ATA_CDROM, .serial = c->serial};

    plug_name(p->machine, "cdrom", name, sizeof name);
    cfg.name = c->id ? c->id : name;
    if (strcmp(c->file, "none") != 0) {
        cfg.block = open_disc(plug_block_io(p, err), p->env->log, c->file, c->format, c->cache,
                              err);
        if (!cfg.block)
            return -EIO;
    }
    return plug_ata_drive(p, &cfg, err);
}

int plug_cdrom(const struct plug *p, const char *text, struct error **err)
{
    struct cdrom_params c = {0};
    struct error *why = NULL;
    int rc = params_parse(plug_cdrom_keys, &c, text, &why);

    if (!rc && !c.file)
        rc = error_set(&why, EINVAL, "no image is named ('none': an empty drive)");
    if (!rc)
        rc = make_cdrom(p, &c, &why);
    if (rc) {
        rc = why ? -why->code : rc;
        error_wrap(&why, "CD-ROM '%s'", c.file ? c.file : text);
    }
    if (err)
        *err = why;
    else
        error_free(&why);
    params_fini(plug_cdrom_keys, &c);
    return rc;
}

/* The drive of that name; the only one when NULL. VM lock held. */
static int find_cdrom(struct machine *m, const char *name, struct device **dev, unsigned *unit,
                      struct error **err)
{
    unsigned found = 0;

    for (unsigned i = 0; m->plugs && m->plugs->ata[0] && i < PLACES; i++) {
        struct device *channel = m->plugs->ata[i / ATA_DRIVES];

        if (ata_drive_kind(channel, i % ATA_DRIVES) != ATA_CDROM ||
            (name && strcmp(name, ata_drive_name(channel, i % ATA_DRIVES)) != 0))
            continue;
        *dev = channel;
        *unit = i % ATA_DRIVES;
        found++;
    }
    if (found == 1)
        return 0;
    error_set(err, ENODEV, "%s", name ? "there is no CD-ROM drive of that name"
                                 : found ? "which of the CD-ROM drives?"
                                         : "there is no CD-ROM drive");
    error_hint(err, "--cdrom makes one; 'info block' lists them");
    return -ENODEV;
}

int machine_change_disc(struct machine *m, const char *name, const char *file, bool force,
                        struct error **err)
{
    struct block *block = NULL;
    struct device *dev;
    unsigned unit;
    int rc;

    machine_lock(m);
    rc = find_cdrom(m, name, &dev, &unit, err);
    if (!rc && file) {
        const struct device_env env = {.loop = m->loop, .bus = m->bus};
        const struct plug p = {.machine = m, .env = &env};

        block = open_disc(plug_block_io(&p, err), m->log, file, NULL, 0, err);
        rc = block ? 0 : -EIO;
    }
    if (!rc)
        rc = ata_change_disc(dev, unit, block, force, err);
    machine_unlock(m);
    return rc;
}
