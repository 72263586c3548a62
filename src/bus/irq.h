/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * irq.h - an interrupt line, and a message-signalled interrupt.
 *
 * A device owns a line, not an interrupt controller: it sets a level, and who
 * listens is the machine's business. Lines are values, copied freely. A zeroed
 * line is legal and goes nowhere. Setting the level a line already has is
 * allowed and cheap. VM lock held.
 */
#ifndef RING3_BUS_IRQ_H
#define RING3_BUS_IRQ_H

#include "base/types.h"

struct irq_line {
    void (*set)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n;          /* meaning is the receiver's (pin, GSI) */
};

static inline void irq_line_set(const struct irq_line *l, bool level)
{
    if (l->set)
        l->set(l->opaque, l->n, level);
}

static inline void irq_line_pulse(const struct irq_line *l)
{
    irq_line_set(l, true);
    irq_line_set(l, false);
}

/* Address and data as in the local APIC's message format (Intel SDM vol. 3,
 * "Message Signalled Interrupts"). */
struct irq_msi {
    void (*send)(void *opaque, uint64_t address, uint32_t data);
    void *opaque;
};

static inline void irq_msi_send(const struct irq_msi *m, uint64_t address, uint32_t data)
{
    if (m->send)
        m->send(m->opaque, address, data);
}

#endif
