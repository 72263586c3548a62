/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apic_bus.h - messages between local APICs, IOAPIC and MSI (private to irqchip).
 *
 * A message is what Intel's SDM vol. 3 ch. 10 puts into the interrupt command
 * register, an IOAPIC redirection entry or an MSI, in one form. The bus finds
 * the destinations; each local APIC decides what the message does to it.
 *
 * Destinations are 32 bits wide. Sources that have 8 bits (IOAPIC, MSI without
 * extension, xAPIC ICR) say APIC_DEST_BROADCAST for 0xff: apic_dest8().
 *
 * VM lock held in every function.
 */
#ifndef RING3_IRQCHIP_APIC_BUS_H
#define RING3_IRQCHIP_APIC_BUS_H

#include "base/types.h"

struct lapic;

/* Encoding of ICR, LVT, redirection entry and MSI data bits 10-8. */
enum apic_delivery {
    APIC_FIXED = 0, APIC_LOWEST = 1, APIC_SMI = 2, APIC_NMI = 4, APIC_INIT = 5, APIC_SIPI = 6,
    APIC_EXTINT = 7,
};

/* Encoding of ICR bits 19-18. */
enum apic_shorthand { APIC_DEST_NONE, APIC_DEST_SELF, APIC_DEST_ALL, APIC_DEST_OTHERS };

#define APIC_DEST_BROADCAST 0xffffffffu

struct apic_message {
    uint32_t dest;
    uint8_t vector;
    uint8_t delivery;        /* enum apic_delivery */
    bool logical;
    bool level;              /* trigger mode: sets TMR, so that the EOI is broadcast */
};

struct apic_bus {
    struct lapic **lapic;    /* by vCPU index */
    unsigned cpus;
    void (*eoi)(void *opaque, uint8_t vector);
    void (*ready)(void *opaque);
    void *opaque;
};

static inline uint32_t apic_dest8(uint8_t dest)
{
    return dest == 0xff ? APIC_DEST_BROADCAST : dest;
}

/* True when at least one local APIC took the message. */
bool apic_bus_send(struct apic_bus *bus, const struct apic_message *msg);
/* A shorthand instead of a destination; `from` is the sender. */
bool apic_bus_send_short(struct apic_bus *bus, const struct apic_message *msg,
                         enum apic_shorthand shorthand, const struct lapic *from);
/* Decodes a write to 0xFEExxxxx (SDM vol. 3, "Message Signalled Interrupts"). */
void apic_bus_msi(struct apic_bus *bus, uint64_t address, uint32_t data);
/* A level-triggered vector was ended by a processor. */
void apic_bus_eoi(struct apic_bus *bus, uint8_t vector);
/* A local APIC that took no messages does now: what waits is sent again. */
void apic_bus_ready(struct apic_bus *bus);

#endif
