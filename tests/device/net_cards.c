/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_cards.c - a back end that notes what is sent. RAM is nowhere, as for other devices
 * with rings (devices.c): descriptors cannot be read. tests/unit/net_cards.c has rings.
 */
#include "net_cards.h"

#include <stdlib.h>

#include "bus/bus.h"
#include "device/e1000.h"
#include "memory/memory.h"
#include "virtio/net.h"

enum { RAM_BYTES = 1 << 20, MMIO = 0xc0000000, CARD_BAR = MMIO };

struct part {
    struct memory *memory;
    struct net *net;
};

struct end { struct net net; struct rig *rig; };

static bool end_send(struct net *n, unsigned queue, const struct net_header *h,
                     const struct iovec *iov, unsigned iovs)
{
    rig_note(container_of(n, struct end, net)->rig, net_iov_bytes(iov, iovs));
    return true;
}

static unsigned end_offloads(struct net *n, unsigned offloads)
{
    rig_note(container_of(n, struct end, net)->rig, offloads);
    return offloads;
}

static void end_close(struct net *n)
{
    free(container_of(n, struct end, net));
}

static const struct net_ops end_ops = {.name = "kit", .send = end_send,
                                       .set_offloads = end_offloads, .close = end_close};

static struct irq_line line_of(void *rig, unsigned n)
{
    return rig_line(rig, n);
}

static void message(void *rig, uint64_t address, uint32_t data)
{
    rig_note(rig, address ^ data);
}

/* The bus, and what a card is made of. */
static struct pci_bus *prepare(struct rig *rig, const struct device_env *env,
                               struct device_env *with, struct error **err)
{
    const struct pci_bus_config cfg = {.ecam = 0xe0000000, .io = {0xc000, 0x1000},
                                       .memory = {MMIO, 1 << 20}, .line = line_of,
                                       .line_opaque = rig, .msi = {message, rig}};
    struct part *p = calloc(1, sizeof *p);
    struct end *e = calloc(1, sizeof *e);

    *e = (struct end){.net.ops = &end_ops, .rig = rig};
    *p = (struct part){memory_new(RAM_BYTES, err), &e->net};
    rig->part = p;
    *with = *env;
    with->memory = p->memory;
    rig->device[0] = pci_bus_new(with, &cfg, err);
    rig->devices = rig->device[0] != NULL;
    if (rig->devices)
        return pci_bus_of(rig->device[0]);
    net_close(p->net);
    net_cards_destroy(rig);
    return NULL;
}

static int made(struct rig *rig, struct device *dev)
{
    rig->device[rig->devices] = dev;
    rig->devices += dev != NULL;
    if (!dev)
        net_cards_destroy(rig);
    return dev ? 0 : -1;
}

int net_cards_e1000(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct device_env with;
    struct pci_bus *bus = prepare(rig, env, &with, err);
    struct e1000_config cfg = {.name = "net0", .mac = {0x52, 0x54, 0, 1, 2, 3}};

    if (!bus)
        return -1;
    cfg.net = ((struct part *)rig->part)->net;
    return made(rig, e1000_new(&with, bus, &cfg, err));
}

int net_cards_virtio(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct device_env with;
    struct pci_bus *bus = prepare(rig, env, &with, err);
    struct virtio_net_config cfg = {.name = "net0", .mac = {0x52, 0x54, 0, 1, 2, 3},
                                    .queues = 1};
    struct virtio_device *vd;

    if (!bus)
        return -1;
    cfg.net = ((struct part *)rig->part)->net;
    vd = virtio_net_new(&with, &cfg, err);
    return made(rig, vd ? virtio_pci_new(&with, bus, vd, err) : NULL);
}

void net_cards_destroy(struct rig *rig)
{
    struct part *p = rig->part;

    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
    memory_free(p->memory);
    free(p);
    rig->part = NULL;
}

static void driver_step(struct rig *rig, struct rig_random *r)
{
    /* Registers that matter, so that random traffic gets somewhere. */
    static const uint16_t at[] = {0x100, 0x400, 0x2808, 0x2810, 0x2818, 0x3808, 0x3810, 0x3818,
                                  0xd0, 0xd8, 0xc8, 0xc4, 0x10, 0x20, 0x0};
    uint32_t value = (uint32_t)rig_random(r);

    if (rig_random(r) & 1)
        value &= 0xff2;
    bus_write(rig->bus, BUS_MMIO, CARD_BAR + at[rig_random_below(r, ARRAY_SIZE(at))], 4, value);
}

uint64_t net_cards_poke(struct rig *rig, struct rig_random *r)
{
    struct net *n = ((struct part *)rig->part)->net;
    uint8_t frame[1600] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct iovec iov = {frame, 14 + rig_random_below(r, sizeof frame - 14)};
    struct pci_function *f = pci_bus_function(pci_bus_of(rig->device[0]), 1);

    switch (rig_random_below(r, 4)) {
    case 0:
    case 1:
        pci_config_write(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        return 0;
    case 2:
        driver_step(rig, r);
        return 0;
    default:
        for (unsigned i = 0; i < 6; i++)
            frame[i] = rig_random(r) & 1 ? 0xff : (uint8_t)rig_random(r);
        return net_receive(n, 0, NULL, &iov, 1);
    }
}
