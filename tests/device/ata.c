/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ata.c - drives in the kit. Images are read-only: copies of a device have images of
 * their own, and what is in them is no state of the device. Requests complete in poke()
 * and at no other time, since nobody runs the loop: so copies see the same. RAM is
 * nowhere; tests/unit/device_ide.c has descriptors.
 */
#include "ata.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/loop.h"
#include "base/types.h"
#include "bus/bus.h"
#include "device/ata.h"
#include "device/ide_pci.h"
#include "memory/memory.h"
#include "pci/pci.h"

enum { IMAGE_BYTES = 256 << 10, RAM_BYTES = 1 << 20, CHANNELS = 2, HOST = 0, PRIMARY = 1,
       COMMAND_BLOCK = 0x1f0, BUS_MASTER = 0xc000 };

struct part {
    struct loop *loop;
    struct block_io *io;
    struct memory *memory;
    char path[32];
};

static struct irq_line line_of(void *rig, unsigned n)
{
    return rig_line(rig, n);
}

static int make_image(struct part *p)
{
    uint8_t *bytes = malloc(IMAGE_BYTES);
    int fd;
    bool ok;

    strcpy(p->path, "kit-ata-XXXXXX");
    fd = mkstemp(p->path);
    BUG_ON(!bytes);
    for (unsigned i = 0; i < IMAGE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 512);
    ok = fd >= 0 && write(fd, bytes, IMAGE_BYTES) == IMAGE_BYTES;
    free(bytes);
    if (fd >= 0)
        close(fd);
    return ok ? 0 : -1;
}

static int put(struct rig *rig, unsigned place, enum ata_kind kind, struct error **err)
{
    struct part *p = rig->part;
    const struct block_open how = {.name = p->path, .format = "raw", .readonly = true,
                                   .log = &rig->log};
    struct ata_drive_config cfg = {.kind = kind, .name = kind == ATA_DISK ? "disk0" : "cdrom0",
                                   .write_back = true, .block = block_open(p->io, &how, err)};

    return cfg.block ? ata_attach(rig->device[PRIMARY + place / 2], place % 2, &cfg, err) : -1;
}

void ata_destroy(struct rig *rig)
{
    struct part *p = rig->part;

    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
    block_io_free(p->io);
    loop_free(p->loop);
    memory_free(p->memory);
    unlink(p->path);
    free(p);
}

/* NULL: the device was not made. */
static bool added(struct rig *rig, struct device *dev)
{
    if (dev)
        rig->device[rig->devices++] = dev;
    return dev != NULL;
}

static bool make_devices(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct pci_bus_config pci = {.io = {BUS_MASTER, 0x1000}, .line = line_of,
                                       .line_opaque = rig};
    struct ide_pci_config ide = {.slot = -1};

    if (!added(rig, pci_bus_new(env, &pci, err)))
        return false;
    for (unsigned i = 0; i < CHANNELS; i++) {
        const struct ata_config cfg = {.name = i ? "ata1" : "ata0", .irq = rig_line(rig, 14 + i),
                                       .command = i ? 0x170 : COMMAND_BLOCK,
                                       .control = i ? 0x376 : 0x3f6};

        if (!added(rig, ide.channel[i] = ata_new(env, &cfg, err)))
            return false;
    }
    return added(rig, ide_pci_new(env, pci_bus_of(rig->device[HOST]), &ide, err)) &&
           !put(rig, 0, ATA_DISK, err) && !put(rig, 1, ATA_CDROM, err);
}

int ata_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct device_env with = *env;
    struct part *p = calloc(1, sizeof *p);

    BUG_ON(!p);
    rig->part = p;
    p->loop = loop_new(err);
    p->io = p->loop ? block_io_new(p->loop, NULL, err) : NULL;
    p->memory = p->io ? memory_new(RAM_BYTES, err) : NULL;
    with.memory = p->memory;
    if (p->memory && make_image(p) == 0 && make_devices(rig, &with, err))
        return 0;
    ata_destroy(rig);
    return -1;
}

static uint64_t command(struct rig *rig, struct rig_random *r)
{
    static const uint8_t commands[] = {0x20, 0x24, 0x29, 0xc4, 0xc8, 0x25, 0x30, 0xca, 0xec, 0xa0,
                                       0xa0, 0xa0, 0xa1, 0xe7, 0xc6, 0xef, 0xb0, 0x08, 0x90};
    uint8_t device = rig_random_below(r, 2) ? 0x50 : 0x40;

    bus_write(rig->bus, BUS_PIO, COMMAND_BLOCK + 6, 1, device);
    for (unsigned reg = 1; reg <= 5; reg++)
        bus_write(rig->bus, BUS_PIO, COMMAND_BLOCK + reg, 1,
                  rig_random_below(r, 3) ? rig_random_below(r, 6) : rig_random(r) & 0xff);
    bus_write(rig->bus, BUS_PIO, COMMAND_BLOCK + 7, 1,
              commands[rig_random_below(r, sizeof commands)]);
    return bus_read(rig->bus, BUS_PIO, 0x3f6, 1);
}

static void send_packet(struct rig *rig, struct rig_random *r)
{
    static const uint8_t packets[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x28, 0x43, 0x46,
                                      0x4a, 0x51, 0x5a, 0xa8, 0xbe};
    uint8_t p[12] = {packets[rig_random_below(r, sizeof packets)]};

    for (unsigned i = 1; i < sizeof p; i++)
        p[i] = (uint8_t)(rig_random_below(r, 4) ? 0 : rig_random(r));
    for (unsigned i = 0; i < sizeof p; i += 4)
        bus_write(rig->bus, BUS_PIO, COMMAND_BLOCK, 4, *(uint32_t *)(void *)(p + i));
}

uint64_t ata_poke(struct rig *rig, struct rig_random *r)
{
    uint8_t data[2048];
    uint64_t sum = 0;
    size_t n;

    switch (rig_random_below(r, 5)) {
    case 0:
        return command(rig, r);
    case 1:
        send_packet(rig, r);
        return bus_read(rig->bus, BUS_PIO, COMMAND_BLOCK + 7, 1);
    case 2:
        n = bus_string(rig->bus, COMMAND_BLOCK, 2, data, 1 + rig_random_below(r, 1000), false);
        for (size_t i = 0; i < 2 * n; i++)
            sum = sum * 31 + data[i];
        return sum;
    case 3:
        bus_write(rig->bus, BUS_PIO, BUS_MASTER, 1, rig_random_below(r, 2) * 9);
        return bus_read(rig->bus, BUS_PIO, BUS_MASTER + 2, 1);
    default:
        device_quiesce(rig->device[PRIMARY]);        /* requests complete */
        return bus_read(rig->bus, BUS_PIO, COMMAND_BLOCK + 7, 1);
    }
}
