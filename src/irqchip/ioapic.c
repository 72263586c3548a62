/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioapic.c - I/O APIC with 24 pins, version 0x20.
 *
 * Follows Intel's 82093AA data sheet (290566-001) and, for the EOI register
 * that came with version 0x20, the ICH9 data sheet (13.5.1). Pins are logical:
 * the polarity bit is stored and has no effect, because every device here says
 * "asserted", not "high". An edge on a masked pin is lost and a level on one
 * has no effect (data sheet 3.2.4, bit 16).
 */
#include "irqchip/ioapic.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"
#include "irqchip/apic_bus.h"
#include "irqchip/state.h"

enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40 };
enum { IOAPICID = 0x00, IOAPICVER = 0x01, IOAPICARB = 0x02, IOREDTBL = 0x10 };
enum { ID_SHIFT = 24, ID_MASK = 0x0f };

#define IOAPIC_VERSION (0x20u | (IOAPIC_PINS - 1) << 16)

/* Redirection entry. */
enum { REDIR_DELMOD_SHIFT = 8, REDIR_DESTMOD = 1 << 11, REDIR_DELIVS = 1 << 12,
       REDIR_REMOTE_IRR = 1 << 14, REDIR_LEVEL = 1 << 15, REDIR_MASK = 1 << 16,
       REDIR_DEST_SHIFT = 56 };
#define REDIR_READ_ONLY ((uint64_t)(REDIR_DELIVS | REDIR_REMOTE_IRR))
#define REDIR_WRITABLE (0xff0000000001ffffull & ~REDIR_READ_ONLY)

struct ioapic {
    struct device dev;
    struct ioapic_state state;
    struct apic_bus *bus;
    struct log *log;
    struct bus_claims claims;
};

static struct ioapic *to_ioapic(struct device *dev)
{
    return container_of(dev, struct ioapic, dev);
}

/* Sends what waits on a pin, if the entry lets it. */
static void service(struct ioapic *io, unsigned pin)
{
    uint64_t *entry = &io->state.redir[pin];
    struct apic_message msg = {
        .dest = apic_dest8((uint8_t)(*entry >> REDIR_DEST_SHIFT)),
        .vector = (uint8_t)*entry,
        .delivery = (*entry >> REDIR_DELMOD_SHIFT) & 7,
        .logical = *entry & REDIR_DESTMOD,
        .level = *entry & REDIR_LEVEL,
    };

    if (!(io->state.irr & (1u << pin)) || (*entry & REDIR_MASK))
        return;
    if (msg.level && (*entry & REDIR_REMOTE_IRR))
        return;
    /* Only these two have an EOI; the others are edges whatever bit 15 says. */
    if (msg.delivery != APIC_FIXED && msg.delivery != APIC_LOWEST)
        msg.level = false;
    if (!msg.level)
        io->state.irr &= ~(1u << pin);
    if (msg.delivery == APIC_SIPI)
        return;                /* 110 is reserved here */
    if (apic_bus_send(io->bus, &msg) && msg.level)
        *entry |= REDIR_REMOTE_IRR;
    log_trace(io->log, IRQ, "ioapic: pin %u sends vector %#x", pin, msg.vector);
}

void ioapic_set(struct device *dev, unsigned pin, bool level)
{
    struct ioapic *io = to_ioapic(dev);
    uint32_t bit = 1u << pin;
    bool rising = level && !(io->state.lines & bit);
    uint64_t entry = io->state.redir[pin];

    io->state.lines = level ? io->state.lines | bit : io->state.lines & ~bit;
    if (entry & REDIR_LEVEL)
        io->state.irr = level ? io->state.irr | bit : io->state.irr & ~bit;
    else if (rising && !(entry & REDIR_MASK))
        io->state.irr |= bit;
    if (rising)
        service(io, pin);
}

void ioapic_eoi(struct device *dev, uint8_t vector)
{
    struct ioapic *io = to_ioapic(dev);

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = io->state.redir[pin];
        if ((uint8_t)entry != vector || !(entry & REDIR_LEVEL) || !(entry & REDIR_REMOTE_IRR))
            continue;
        io->state.redir[pin] &= ~(uint64_t)REDIR_REMOTE_IRR;
        service(io, pin);      /* the line may still be up */
    }
}

void ioapic_retry(struct device *dev)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        service(to_ioapic(dev), pin);
}

static void redir_write(struct ioapic *io, unsigned pin, unsigned shift, uint32_t value)
{
    uint64_t *entry = &io->state.redir[pin];
    uint64_t writable = REDIR_WRITABLE & ((uint64_t)UINT32_MAX << shift);
    uint32_t bit = 1u << pin;
    bool was_level = *entry & REDIR_LEVEL;

    *entry = (*entry & ~writable) | (((uint64_t)value << shift) & writable);
    if (*entry & REDIR_LEVEL) {
        io->state.irr = (io->state.irr & ~bit) | (io->state.lines & bit);
    } else {
        /* Edge mode has no remote IRR: software ends a stuck level interrupt
         * of a version without EOI register by switching back and forth. */
        *entry &= ~(uint64_t)REDIR_REMOTE_IRR;
        if (was_level || (*entry & REDIR_MASK))
            io->state.irr &= ~bit;
    }
    service(io, pin);
}

static void window_write(struct ioapic *io, uint32_t value)
{
    uint8_t index = io->state.ioregsel;

    if (index == IOAPICID)
        io->state.id = (value >> ID_SHIFT) & ID_MASK;
    else if (index >= IOREDTBL && index < IOREDTBL + 2 * IOAPIC_PINS)
        redir_write(io, (index - IOREDTBL) / 2, (index & 1) * 32, value);
}

static uint32_t window_read(const struct ioapic *io)
{
    uint8_t index = io->state.ioregsel;

    if (index == IOAPICID || index == IOAPICARB)
        return (uint32_t)io->state.id << ID_SHIFT;
    if (index == IOAPICVER)
        return IOAPIC_VERSION;
    if (index >= IOREDTBL && index < IOREDTBL + 2 * IOAPIC_PINS)
        return (uint32_t)(io->state.redir[(index - IOREDTBL) / 2] >> (index & 1) * 32);
    return 0;
}

/* Narrower reads get their part of the register. */
static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ioapic *io = opaque;
    uint32_t value = 0;

    if ((offset & ~3ull) == IOREGSEL)
        value = io->state.ioregsel;
    else if ((offset & ~3ull) == IOWIN)
        value = window_read(io);
    return value >> (offset & 3) * 8;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ioapic *io = opaque;

    /* IOREGSEL is 8 bits in a dword; the others must be written as dwords
     * (data sheet 3.0). */
    if (offset == IOREGSEL)
        io->state.ioregsel = (uint8_t)value;
    else if (offset == IOWIN && size == 4)
        window_write(io, (uint32_t)value);
    else if (offset == IOEOI && size == 4)
        ioapic_eoi(&io->dev, (uint8_t)value);
}

static void ioapic_reset(struct device *dev)
{
    struct ioapic *io = to_ioapic(dev);

    io->state = (struct ioapic_state){0};
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        io->state.redir[pin] = REDIR_MASK;
}

static const struct state_desc *ioapic_describe(struct device *dev, void **state)
{
    *state = &to_ioapic(dev)->state;
    return &ioapic_state_desc;
}

static void ioapic_destroy(struct device *dev)
{
    struct ioapic *io = to_ioapic(dev);

    bus_claims_release(&io->claims);
    free(io);
}

static const struct device_ops ioapic_ops = {
    .type = "ioapic",
    .reset = ioapic_reset,
    .describe = ioapic_describe,
    .destroy = ioapic_destroy,
};

struct device *ioapic_new(const struct device_env *env, const struct ioapic_config *cfg,
                          struct error **err)
{
    const struct bus_region page = {"ioapic", cfg->base, PAGE_SIZE, mmio_read, mmio_write, NULL,
                                    4, 0};
    struct ioapic *io = calloc(1, sizeof *io);

    if (!io) {
        error_set(err, ENOMEM, "no memory for the I/O APIC");
        return NULL;
    }
    device_init(&io->dev, &ioapic_ops, "ioapic");
    io->bus = cfg->bus;
    io->log = env->log;
    if (bus_claims_add(&io->claims, env->bus, BUS_MMIO, &page, 1, io, err)) {
        free(io);
        return NULL;
    }
    ioapic_reset(&io->dev);
    return &io->dev;
}
