/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lapic_irq.c - interrupts in, out and by priority.
 *
 * SDM vol. 3: "Handling Interrupts" (IRR, ISR, TMR, priorities, EOI), "Issuing
 * Interprocessor Interrupts" (ICR, destinations), "Handling Local Interrupts"
 * (LVT, ESR). SMIs are accepted and dropped: there is no SMM here.
 */
#include "irqchip/lapic.h"

#include "base/log.h"

enum { DFR_FLAT = 0xf, DFR_CLUSTER = 0 };
enum { ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15, ICR_SHORTHAND_SHIFT = 18 };

/* ---- 256-bit registers: eight dwords, one per 16-byte slot ---- */

static void vector_set(uint32_t *reg, uint8_t vector)
{
    reg[vector >> 5] |= 1u << (vector & 31);
}

static void vector_clear(uint32_t *reg, uint8_t vector)
{
    reg[vector >> 5] &= ~(1u << (vector & 31));
}

static bool vector_test(const uint32_t *reg, uint8_t vector)
{
    return reg[vector >> 5] >> (vector & 31) & 1;
}

static int vector_highest(const uint32_t *reg)
{
    for (int i = 7; i >= 0; i--)
        if (reg[i])
            return i * 32 + 31 - __builtin_clz(reg[i]);
    return -1;
}

/* ---- priorities ---- */

uint8_t lapic_priority(const struct lapic *l)
{
    int isr = vector_highest(&l->state.reg[LAPIC_ISR]);
    uint8_t in_service = isr < 0 ? 0 : (uint8_t)isr & 0xf0;
    uint8_t tpr = (uint8_t)l->state.reg[LAPIC_TPR];

    return (tpr & 0xf0) >= in_service ? tpr : in_service;
}

/* The vector that may interrupt now, or -1. */
static int deliverable(const struct lapic *l)
{
    int irr = vector_highest(&l->state.reg[LAPIC_IRR]);

    if (!lapic_enabled(l) || irr < 0 || (irr & 0xf0) <= (lapic_priority(l) & 0xf0))
        return -1;
    return irr;
}

static unsigned lvt_delivery(uint32_t lvt)
{
    return lvt >> LAPIC_LVT_DELIVERY_SHIFT & 7;
}

bool lapic_extint_wanted(const struct lapic *l)
{
    uint32_t lvt = l->state.reg[LAPIC_LVT_LINT0];

    if (l->state.extint_latched)
        return true;
    if (!(l->state.lint_levels & 1))
        return false;
    /* Without an APIC, LINT0 is the processor's INTR pin. */
    return !lapic_enabled(l) ||
           (!(lvt & LAPIC_LVT_MASKED) && lvt_delivery(lvt) == APIC_EXTINT);
}

void lapic_update(struct lapic *l)
{
    bool intr = lapic_extint_wanted(l) || deliverable(l) >= 0;

    if (intr == l->intr)
        return;
    l->intr = intr;
    l->config.cpu->intr(l->config.cpu_opaque, l->config.index, intr);
}

int lapic_ack(struct lapic *l)
{
    int vector = deliverable(l);

    if (vector >= 0) {
        vector_clear(&l->state.reg[LAPIC_IRR], (uint8_t)vector);
        vector_set(&l->state.reg[LAPIC_ISR], (uint8_t)vector);
        log_trace(l->log, IRQ, "lapic %u: vector %#x accepted", l->config.index, vector);
    }
    return vector;
}

void lapic_eoi(struct lapic *l)
{
    int vector = vector_highest(&l->state.reg[LAPIC_ISR]);

    if (vector < 0)
        return;
    vector_clear(&l->state.reg[LAPIC_ISR], (uint8_t)vector);
    if (vector_test(&l->state.reg[LAPIC_TMR], (uint8_t)vector) &&
        !(l->state.reg[LAPIC_SVR] & LAPIC_SVR_NO_EOI_BROADCAST))
        apic_bus_eoi(l->config.bus, (uint8_t)vector);
    lapic_update(l);
}

/* ---- messages in ---- */

bool lapic_accepts(const struct lapic *l)
{
    return lapic_enabled(l) && (l->state.reg[LAPIC_SVR] & LAPIC_SVR_ENABLE);
}

static bool matches_logical(const struct lapic *l, uint32_t dest)
{
    uint32_t ldr = l->state.reg[LAPIC_LDR];

    if (lapic_x2apic(l))
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    if (dest > 0xff)
        return false;
    ldr >>= 24;
    switch (l->state.reg[LAPIC_DFR] >> 28) {
    case DFR_FLAT:
        return dest & ldr;
    case DFR_CLUSTER:
        return dest >> 4 == ldr >> 4 && (dest & ldr & 0xf);
    default:
        return false;
    }
}

bool lapic_matches(const struct lapic *l, uint32_t dest, bool logical)
{
    if (dest == APIC_DEST_BROADCAST)
        return true;
    if (logical)
        return matches_logical(l, dest);
    return dest == (lapic_x2apic(l) ? l->state.reg[LAPIC_ID] : l->state.reg[LAPIC_ID] >> 24);
}

static void accept_vector(struct lapic *l, uint8_t vector, bool level)
{
    uint32_t *tmr = &l->state.reg[LAPIC_TMR];

    vector_set(&l->state.reg[LAPIC_IRR], vector);
    if (level)
        vector_set(tmr, vector);
    else
        vector_clear(tmr, vector);
    lapic_update(l);
}

/* An illegal vector in the error entry itself raises nothing further. */
void lapic_error(struct lapic *l, uint32_t esr_bit)
{
    uint32_t lvt = l->state.reg[LAPIC_LVT_ERROR];

    l->state.esr_pending |= esr_bit;
    if (!lapic_accepts(l) || (lvt & LAPIC_LVT_MASKED) || (lvt & 0xff) < LAPIC_VECTOR_MIN)
        return;
    accept_vector(l, (uint8_t)lvt, false);
}

bool lapic_receive(struct lapic *l, const struct apic_message *msg)
{
    const struct intc_cpu_ops *cpu = l->config.cpu;
    unsigned index = l->config.index;

    if (!lapic_enabled(l))
        return false;
    switch (msg->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        if (!lapic_accepts(l))
            return false;
        if (msg->vector < LAPIC_VECTOR_MIN)
            lapic_error(l, LAPIC_ESR_RECEIVE_VECTOR);
        else
            accept_vector(l, msg->vector, msg->level);
        return true;
    case APIC_NMI:
        cpu->nmi(l->config.cpu_opaque, index);
        return true;
    case APIC_INIT:
        lapic_init_state(l);
        cpu->init(l->config.cpu_opaque, index);
        return true;
    case APIC_SIPI:
        cpu->sipi(l->config.cpu_opaque, index, msg->vector);
        return true;
    case APIC_EXTINT:
        l->state.extint_latched = true;
        lapic_update(l);
        return true;
    default:
        return true;
    }
}

/* ---- local interrupts ---- */

void lapic_lvt_deliver(struct lapic *l, enum lapic_reg reg)
{
    uint32_t lvt = l->state.reg[reg];
    bool lint = reg == LAPIC_LVT_LINT0 || reg == LAPIC_LVT_LINT1;
    /* Timer and error have no delivery mode field: always fixed. */
    bool has_mode = reg != LAPIC_LVT_TIMER && reg != LAPIC_LVT_ERROR;
    struct apic_message msg = {
        .vector = (uint8_t)lvt,
        .delivery = has_mode ? (uint8_t)lvt_delivery(lvt) : APIC_FIXED,
        .level = lint && (lvt & LAPIC_LVT_LEVEL),
    };

    if ((lvt & LAPIC_LVT_MASKED) || !lapic_enabled(l))
        return;
    switch (msg.delivery) {
    case APIC_FIXED:
    case APIC_NMI:
    case APIC_INIT:
        lapic_receive(l, &msg);
        break;
    default:                   /* ExtINT is a level, see lapic_extint_wanted(); SMI */
        break;
    }
}

void lapic_lint_set(struct lapic *l, unsigned pin, bool level)
{
    uint8_t bit = (uint8_t)(1u << pin);
    bool rising = level && !(l->state.lint_levels & bit);

    l->state.lint_levels = level ? l->state.lint_levels | bit : l->state.lint_levels & ~bit;
    if (rising)
        lapic_lvt_deliver(l, pin ? LAPIC_LVT_LINT1 : LAPIC_LVT_LINT0);
    lapic_update(l);
}

/* ---- messages out ---- */

void lapic_icr_send(struct lapic *l)
{
    uint32_t low = l->state.reg[LAPIC_ICR], high = l->state.reg[LAPIC_ICR_HIGH];
    unsigned shorthand = low >> ICR_SHORTHAND_SHIFT & 3;
    struct apic_message msg = {
        .dest = lapic_x2apic(l) ? high : apic_dest8((uint8_t)(high >> 24)),
        .vector = (uint8_t)low,
        .delivery = low >> 8 & 7,
        .logical = low & ICR_LOGICAL,
        /* The trigger mode only tells INIT from its de-assert. */
    };
    bool fixed = msg.delivery == APIC_FIXED || msg.delivery == APIC_LOWEST;

    log_trace(l->log, IRQ, "lapic %u: icr %08x %08x", l->config.index, high, low);
    if (msg.delivery == APIC_EXTINT || msg.delivery == 3)
        return;                /* reserved in the ICR */
    if (msg.delivery == APIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT))
        return;                /* INIT level de-assert does nothing since the Pentium 4 */
    if (fixed && msg.vector < LAPIC_VECTOR_MIN) {
        lapic_error(l, LAPIC_ESR_SEND_VECTOR);
        return;
    }
    if (shorthand == APIC_DEST_NONE)
        apic_bus_send(l->config.bus, &msg);
    else
        apic_bus_send_short(l->config.bus, &msg, shorthand, l);
}

void lapic_self_ipi(struct lapic *l, uint8_t vector)
{
    struct apic_message msg = {.vector = vector, .delivery = APIC_FIXED};

    lapic_receive(l, &msg);
}
