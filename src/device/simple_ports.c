/* SPDX-License-Identifier: GPL-2.0-or-later */
/* simple_ports.c - from a port to the device of the simple machine that has it. */
#include "bus/bus.h"
#include "device/simple.h"

enum { WIDEST = 4 };

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct simple_ports *p = opaque;

    if (offset >= p->count || !p->port[offset].read)
        return UINT32_MAX;
    return p->port[offset].read(p->port[offset].opaque);
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct simple_ports *p = opaque;

    if (offset < p->count && p->port[offset].write)
        p->port[offset].write(p->port[offset].opaque, (uint32_t)value);
}

int simple_ports_init(struct simple_ports *p, struct bus *bus, uint16_t first, unsigned count,
                      struct error **err)
{
    const struct bus_region region = {"simple devices", first, count + WIDEST - 1, port_read,
                                      port_write, p, WIDEST, 0};
    int rc = bus_add(bus, BUS_PIO, &region, err);

    if (rc)
        return rc;
    p->bus = bus;
    p->count = count;
    return 0;
}

void simple_ports_fini(struct simple_ports *p, uint16_t first)
{
    if (p->bus)
        bus_remove(p->bus, BUS_PIO, first);
    p->bus = NULL;
}
