/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apic_bus.c - finding the local APICs a message is for.
 *
 * Lowest-priority arbitration takes the matching APIC with the lowest processor
 * priority (SDM vol. 3, "Lowest Priority Delivery Mode"). Among equals the
 * vector chooses, as later processors do it by hashing: that spreads interrupts
 * without any state that a snapshot would have to carry.
 */
#include "irqchip/apic_bus.h"

#include "irqchip/lapic.h"

enum { MSI_RH = 1 << 3, MSI_DM = 1 << 2 };             /* address */
enum { MSI_DELIVERY_SHIFT = 8, MSI_ASSERT = 1 << 14, MSI_LEVEL = 1 << 15 };   /* data */

static bool send_lowest(struct apic_bus *bus, const struct apic_message *msg)
{
    unsigned best = 256, equals = 0, pick;

    for (unsigned i = 0; i < bus->cpus; i++) {
        const struct lapic *l = bus->lapic[i];
        if (!lapic_accepts(l) || !lapic_matches(l, msg->dest, msg->logical))
            continue;
        unsigned priority = lapic_priority(l);
        if (priority < best)
            equals = 0;
        if (priority <= best) {
            best = priority;
            equals++;
        }
    }
    if (!equals)
        return false;
    pick = msg->vector % equals;
    for (unsigned i = 0; i < bus->cpus; i++) {
        struct lapic *l = bus->lapic[i];
        if (lapic_accepts(l) && lapic_matches(l, msg->dest, msg->logical) &&
            lapic_priority(l) == best && !pick--)
            return lapic_receive(l, msg);
    }
    return false;
}

bool apic_bus_send(struct apic_bus *bus, const struct apic_message *msg)
{
    bool taken = false;

    if (msg->delivery == APIC_LOWEST)
        return send_lowest(bus, msg);
    for (unsigned i = 0; i < bus->cpus; i++)
        if (lapic_matches(bus->lapic[i], msg->dest, msg->logical))
            taken |= lapic_receive(bus->lapic[i], msg);
    return taken;
}

bool apic_bus_send_short(struct apic_bus *bus, const struct apic_message *msg,
                         enum apic_shorthand shorthand, const struct lapic *from)
{
    bool taken = false;

    for (unsigned i = 0; i < bus->cpus; i++) {
        bool self = bus->lapic[i] == from;
        if (shorthand == APIC_DEST_ALL || self == (shorthand == APIC_DEST_SELF))
            taken |= lapic_receive(bus->lapic[i], msg);
    }
    return taken;
}

void apic_bus_msi(struct apic_bus *bus, uint64_t address, uint32_t data)
{
    uint32_t high = (uint32_t)(address >> 32) & 0xffffff00;
    uint8_t low = (uint8_t)(address >> 12);
    struct apic_message msg = {
        .dest = high ? high | low : apic_dest8(low),
        .logical = address & MSI_DM,
        .vector = (uint8_t)data,
        .delivery = (data >> MSI_DELIVERY_SHIFT) & 7,
        .level = data & MSI_LEVEL,
    };

    if (msg.level && !(data & MSI_ASSERT))
        return;
    if (msg.delivery == APIC_SIPI)
        return;                /* reserved in an MSI */
    if (msg.delivery == APIC_FIXED && (address & MSI_RH) && msg.logical)
        msg.delivery = APIC_LOWEST;
    apic_bus_send(bus, &msg);
}

void apic_bus_eoi(struct apic_bus *bus, uint8_t vector)
{
    if (bus->eoi)
        bus->eoi(bus->opaque, vector);
}

void apic_bus_ready(struct apic_bus *bus)
{
    if (bus->ready)
        bus->ready(bus->opaque);
}
