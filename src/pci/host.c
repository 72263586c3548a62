/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - the host bridge: two ways to configuration space, windows for BARs.
 *
 * There is one bus; accesses to others read
 * all ones, as if nobody answered. Mechanism #1 (PCI 3.0, 3.2.2.3.2) uses dwords at
 * 0xCF8 and 0xCFC; the first port is claimed by whoever has the reset control
 * register inside of it.
 */
#include "pci/pci.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "bus/claims.h"

enum { PORT_DATA = 0xcfc, ECAM_BYTES = 1 << 20, ECAM_FUNCTION = 4096 };
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS   0x80fffffcu

struct host_state {
    uint32_t address;
    struct pci_function_state pci;
};

struct pci_bus {
    struct device dev;
    struct host_state state;
    struct pci_function bridge;
    struct pci_bus_config config;
    struct bus *bus;
    struct log *log;
    struct memory *memory;
    struct still_line still;
    struct pci_function *function[PCI_SLOTS * PCI_FUNCTIONS];
    const struct pci_function *newest;
    struct pci_window io_left, memory_left, memory64_left;
    struct bus_claims claims;
};

static struct pci_bus *to_bus(struct device *dev)
{
    return container_of(dev, struct pci_bus, dev);
}

struct pci_bus *pci_bus_of(struct device *host_bridge) { return to_bus(host_bridge); }
struct bus *pci_bus_bus(const struct pci_bus *bus) { return bus->bus; }
struct log *pci_bus_log(const struct pci_bus *bus) { return bus->log; }
const struct irq_msi *pci_bus_msi(const struct pci_bus *bus) { return &bus->config.msi; }

struct pci_function *pci_bus_function(const struct pci_bus *bus, unsigned slot)
{
    return slot < PCI_SLOTS ? bus->function[slot * PCI_FUNCTIONS] : NULL;
}

/* ---- ports and ECAM ------------------------------------------------------ */

/* Bus, device, function as the address register has them in bits 23-8. */
static struct pci_function *find(const struct pci_bus *bus, unsigned bdf)
{
    return bdf < ARRAY_SIZE(bus->function) ? bus->function[bdf] : NULL;
}

uint64_t pci_address_read(void *opaque)
{
    const struct pci_bus *bus = opaque;

    return bus->state.address;
}

void pci_address_write(void *opaque, uint64_t value)
{
    struct pci_bus *bus = opaque;

    bus->state.address = (uint32_t)value & ADDRESS_BITS;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci_bus *bus = opaque;
    struct pci_function *f = find(bus, bus->state.address >> 8 & 0xffff);

    if (!(bus->state.address & ADDRESS_ENABLE) || !f)
        return UINT64_MAX;
    return pci_config_read(f, (bus->state.address & 0xfc) + (unsigned)offset, size);
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    const struct pci_bus *bus = opaque;
    struct pci_function *f = find(bus, bus->state.address >> 8 & 0xffff);

    if (bus->state.address & ADDRESS_ENABLE && f)
        pci_config_write(f, (bus->state.address & 0xfc) + (unsigned)offset, size,
                         (uint32_t)value);
}

/* Beyond the first 256 bytes there is nothing: reads give 0 (PCIe 7.2.2). */
static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_function *f = find(opaque, (unsigned)(offset / ECAM_FUNCTION));

    return f ? pci_config_read(f, offset % ECAM_FUNCTION, size) : UINT64_MAX;
}

static void ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *f = find(opaque, (unsigned)(offset / ECAM_FUNCTION));

    if (f)
        pci_config_write(f, offset % ECAM_FUNCTION, size, (uint32_t)value);
}

/* ---- placing ------------------------------------------------------------- */

static uint64_t take(struct pci_window *w, uint64_t size)
{
    uint64_t at = align_up(w->base, size);

    if (!w->size || at - w->base > w->size || size > w->size - (at - w->base))
        return 0;
    w->size -= at - w->base + size;
    w->base = at + size;
    return at;
}

static int place(struct pci_bus *bus, struct pci_function *f, struct error **err)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &f->bar[i];
        uint8_t *reg = f->state->config + PCI_BAR0 + 4 * i;
        uint64_t at = 0;

        if (b->kind == PCI_BAR_NONE || i == PCI_ROM)
            continue;
        if (b->kind == PCI_BAR_MEMORY64)
            at = take(&bus->memory64_left, b->size);
        if (!at)
            at = take(b->kind == PCI_BAR_IO ? &bus->io_left : &bus->memory_left, b->size);
        if (!at)
            return error_set(err, ENOSPC, "no address space is left for PCI device '%s'",
                             f->name);
        put_le32(reg, get_le32(reg) | (uint32_t)at);
        if (b->kind == PCI_BAR_MEMORY64)
            put_le32(reg + 4, (uint32_t)(at >> 32));
    }
    /* As firmware leaves it: the BARs answer. */
    f->state->config[PCI_COMMAND] |= f->writable[PCI_COMMAND] &
                                     (PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    return 0;
}

unsigned pci_intx_line(unsigned slot, unsigned pin)
{
    return (slot + pin + PCI_LINES - 1) % PCI_LINES;
}

static int add(struct pci_bus *bus, struct pci_function *f, unsigned at, struct error **err)
{
    const struct pci_function *there = bus->function[at];
    unsigned pin = f->state->config[PCI_INTERRUPT_PIN];
    int rc = 0;

    if (there)
        return error_set(err, EBUSY, "PCI slot %u is taken by '%s'", at / PCI_FUNCTIONS,
                         there->name);
    if (!bus->config.unplaced)
        rc = place(bus, f, err);
    if (rc)
        return rc;
    f->bus = bus;
    f->slot = at / PCI_FUNCTIONS;
    f->function = at % PCI_FUNCTIONS;
    bus->function[at] = f;
    bus->newest = f;
    if (pin) {
        unsigned line = pci_intx_line(f->slot, pin - 1);

        f->line = bus->config.line(bus->config.line_opaque, line);
        if (!bus->config.unplaced)
            f->state->config[PCI_INTERRUPT_LINE] = bus->config.irq[line];
    }
    memcpy(f->initial, f->state->config, PCI_CONFIG_BYTES);
    pci_function_map(f);
    return 0;
}

int pci_bus_add(struct pci_bus *bus, struct pci_function *f, int slot, struct error **err)
{
    unsigned at = slot < 0 ? 0 : (unsigned)slot;

    while (slot < 0 && at < PCI_SLOTS && pci_bus_function(bus, at))
        at++;
    if (at >= PCI_SLOTS)
        return error_set(err, ENOSPC, "no PCI slot is free for '%s': there are %d", f->name,
                         PCI_SLOTS);
    return add(bus, f, at * PCI_FUNCTIONS, err);
}

int pci_bus_add_beside(struct pci_bus *bus, struct pci_function *f, unsigned slot,
                       unsigned function, struct error **err)
{
    struct pci_function *first = pci_bus_function(bus, slot);

    BUG_ON(!first || !function || function >= PCI_FUNCTIONS);
    first->state->config[PCI_HEADER_TYPE] |= PCI_MULTI_FUNCTION;
    first->initial[PCI_HEADER_TYPE] |= PCI_MULTI_FUNCTION;
    return add(bus, f, slot * PCI_FUNCTIONS + function, err);
}

void pci_bus_remove(struct pci_bus *bus, struct pci_function *f)
{
    if (!f->bus)
        return;
    irq_line_set(&f->line, false);
    pci_function_unmap(f);
    bus->function[f->slot * PCI_FUNCTIONS + f->function] = NULL;
    f->bus = NULL;
    if (bus->newest == f)
        bus->newest = NULL;
}

const struct pci_function *pci_bus_newest(const struct pci_bus *bus) { return bus->newest; }

void pci_bus_remap(struct pci_bus *bus)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bus->function); i++)
        if (bus->function[i])
            pci_function_map(bus->function[i]);
}

/* No vCPU runs. What goes makes room for what comes. */
static void show_memory(void *opaque)
{
    struct pci_bus *bus = opaque;

    for (unsigned out = 2; out--;)
        for (unsigned i = 0; i < ARRAY_SIZE(bus->function); i++)
            if (bus->function[i])
                pci_function_show(bus->function[i], bus->memory, out);
}

void pci_bus_memory_changed(struct pci_bus *bus)
{
    still_request(&bus->still, show_memory, bus);
}

bool pci_bus_high(const struct pci_bus *bus, uint64_t *first, uint64_t *last)
{
    *first = UINT64_MAX;
    *last = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(bus->function) * PCI_BARS; i++) {
        const struct pci_function *f = bus->function[i / PCI_BARS];
        const struct pci_bar *b = f ? &f->bar[i % PCI_BARS] : NULL;

        if (!b || !b->mapped || b->kind != PCI_BAR_MEMORY64 || b->base >> 32 == 0)
            continue;
        *first = min_u64(*first, b->base);
        *last = b->base + b->size - 1 > *last ? b->base + b->size - 1 : *last;
    }
    return *last != 0;
}

void pci_bus_describe(const struct pci_bus *bus, struct strbuf *out)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bus->function); i++) {
        const struct pci_function *f = bus->function[i];

        if (!f)
            continue;
        const uint8_t *c = f->state->config;
        strbuf_addf(out, "00:%02x.%x %04x:%04x class %04x  %s%s\n", f->slot, f->function,
                    get_le16(c + PCI_VENDOR), get_le16(c + PCI_DEVICE), get_le16(c + PCI_CLASS),
                    f->name,
                    pci_msix_enabled(f) ? ", MSI-X" : c[PCI_INTERRUPT_PIN] ? ", INTx" : "");
        for (unsigned b = 0; b < PCI_BARS; b++)
            if (f->bar[b].kind != PCI_BAR_NONE)
                strbuf_addf(out, "        BAR %u: %s at 0x%llx, %llu bytes%s\n", b,
                            f->bar[b].kind == PCI_BAR_IO ? "ports" : "memory",
                            (unsigned long long)f->bar[b].base,
                            (unsigned long long)f->bar[b].size,
                            f->bar[b].mapped ? "" : " (off)");
    }
}

/* ---- the device ---------------------------------------------------------- */

static void bridge_changed(struct pci_function *f, unsigned offset, unsigned size)
{
    struct pci_bus *bus = container_of(f, struct pci_bus, bridge);

    if (bus->config.bridge_changed)
        bus->config.bridge_changed(bus->config.bridge_opaque, f);
}

static void host_reset(struct device *dev)
{
    struct pci_bus *bus = to_bus(dev);

    bus->state.address = 0;
    pci_function_reset(&bus->bridge);
    bridge_changed(&bus->bridge, 0, PCI_CONFIG_BYTES);
}

static void host_resume(struct device *dev)
{
    struct pci_bus *bus = to_bus(dev);

    pci_function_resume(&bus->bridge);
    bridge_changed(&bus->bridge, 0, PCI_CONFIG_BYTES);
}

static const struct state_field fields[] = {
    STATE_U32(struct host_state, address),
    STATE_STRUCT(struct host_state, pci, &pci_function_state_desc),
    STATE_END
};
static const struct state_desc desc = {"pci-host", 1, fields};

static const struct state_desc *host_describe(struct device *dev, void **state)
{
    *state = &to_bus(dev)->state;
    return &desc;
}

static void host_destroy(struct device *dev)
{
    struct pci_bus *bus = to_bus(dev);

    pci_bus_remove(bus, &bus->bridge);
    bus_claims_release(&bus->claims);
    free(bus);
}

static const struct device_ops host_ops = {
    .type = "pci-host",
    .reset = host_reset,
    .resume = host_resume,
    .describe = host_describe,
    .destroy = host_destroy,
};

static int claim(struct pci_bus *bus, struct error **err)
{
    const struct bus_region port = {"pci-data", PORT_DATA, 4, data_read, data_write, NULL, 4, 0};
    const struct bus_region ecam = {"pci-ecam", bus->config.ecam, ECAM_BYTES, ecam_read,
                                    ecam_write, NULL, 4, 0};
    int rc = bus_claims_add(&bus->claims, bus->bus, BUS_PIO, &port, 1, bus, err);

    if (!rc && bus->config.ecam)
        rc = bus_claims_add(&bus->claims, bus->bus, BUS_MMIO, &ecam, 1, bus, err);
    return rc;
}

struct device *pci_bus_new(const struct device_env *env, const struct pci_bus_config *cfg,
                           struct error **err)
{
    static const struct pci_identity q35 = {.vendor = 0x8086, .device = 0x29c0, .class = 0x060000,
                                            .subsystem_vendor = 0x1af4, .subsystem = 0x1100};
    const struct pci_identity *id = cfg->bridge.vendor ? &cfg->bridge : &q35;
    struct pci_bus *bus = calloc(1, sizeof *bus);

    if (!bus) {
        error_set(err, ENOMEM, "no memory for the PCI bus");
        return NULL;
    }
    device_init(&bus->dev, &host_ops, "pci-host");
    bus->config = *cfg;
    bus->bus = env->bus;
    bus->log = env->log;
    bus->memory = env->memory;
    bus->still = env->still;
    bus->io_left = cfg->io;
    bus->memory_left = cfg->memory;
    bus->memory64_left = cfg->memory64;
    pci_function_init(&bus->bridge, &bus->state.pci, "host bridge", id);
    bus->bridge.config_written = bridge_changed;
    if (cfg->bridge_init)
        cfg->bridge_init(cfg->bridge_opaque, &bus->bridge);
    if (claim(bus, err) || pci_bus_add(bus, &bus->bridge, 0, err)) {
        bus_claims_release(&bus->claims);
        free(bus);
        return NULL;
    }
    return &bus->dev;
}
