/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * irqchip_fixture.h - an intc with processors that only listen.
 */
#ifndef RING3_TESTS_IRQCHIP_FIXTURE_H
#define RING3_TESTS_IRQCHIP_FIXTURE_H

#include "device_fixture.h"

#include "irqchip/intc.h"

enum { RACK_CPUS = 4 };
enum { APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_PPR = 0xa0, APIC_EOI = 0xb0,
       APIC_LDR = 0xd0, APIC_DFR = 0xe0, APIC_SVR = 0xf0, APIC_ISR = 0x100, APIC_TMR = 0x180,
       APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310,
       APIC_LVT_TIMER = 0x320, APIC_LINT0 = 0x350, APIC_LINT1 = 0x360, APIC_LVT_ERROR = 0x370,
       APIC_TMICT = 0x380, APIC_TMCCT = 0x390, APIC_TDCR = 0x3e0 };
enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };
enum { BASE_EN = 0x800, BASE_EXTD = 0x400, BASE_BSP = 0x100 };

struct rack_cpu {
    bool intr;
    unsigned nmis, inits, sipis;
    uint8_t sipi_vector;
};

struct rack {
    struct bench bench;
    struct intc *intc;
    struct rack_cpu cpu[RACK_CPUS];
};

static inline void rack_intr(void *opaque, unsigned cpu, bool pending)
{
    ((struct rack *)opaque)->cpu[cpu].intr = pending;
}

static inline void rack_nmi(void *opaque, unsigned cpu)
{
    ((struct rack *)opaque)->cpu[cpu].nmis++;
}

static inline void rack_cpu_init(void *opaque, unsigned cpu)
{
    ((struct rack *)opaque)->cpu[cpu].inits++;
}

static inline void rack_sipi(void *opaque, unsigned cpu, uint8_t vector)
{
    struct rack *r = opaque;

    r->cpu[cpu].sipis++;
    r->cpu[cpu].sipi_vector = vector;
}

static inline void rack_init(struct rack *r)
{
    static const struct intc_cpu_ops ops = {rack_intr, rack_nmi, rack_cpu_init, rack_sipi};
    struct intc_config cfg = {.cpus = RACK_CPUS, .cpu = &ops, .cpu_opaque = r, .x2apic = true,
                              .phys_bits = 40};

    memset(r->cpu, 0, sizeof r->cpu);
    struct device_env env = bench_init(&r->bench);
    r->intc = intc_new(&env, &cfg, NULL);
    assert_non_null(r->intc);
}

static inline void rack_fini(struct rack *r)
{
    intc_free(r->intc);
    bench_fini(&r->bench);
}

static inline uint32_t apic_read(struct rack *r, unsigned cpu, unsigned offset)
{
    uint64_t value = 0;

    assert_true(intc_mmio_read(r->intc, cpu, gpa(INTC_LAPIC_BASE + offset), 4, &value));
    return (uint32_t)value;
}

static inline void apic_write(struct rack *r, unsigned cpu, unsigned offset, uint32_t value)
{
    assert_true(intc_mmio_write(r->intc, cpu, gpa(INTC_LAPIC_BASE + offset), 4, value));
}

static inline void apic_enable_all(struct rack *r)
{
    for (unsigned i = 0; i < RACK_CPUS; i++)
        apic_write(r, i, APIC_SVR, 0x1ff);
}

static inline void gsi_set(struct rack *r, unsigned gsi, bool level)
{
    struct irq_line line = intc_gsi(r->intc, gsi);

    irq_line_set(&line, level);
}

static inline uint32_t ioapic_read(struct rack *r, unsigned reg)
{
    bus_write(r->bench.bus, BUS_MMIO, INTC_IOAPIC_BASE, 4, reg);
    return (uint32_t)bus_read(r->bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x10, 4);
}

static inline void ioapic_write(struct rack *r, unsigned reg, uint32_t value)
{
    bus_write(r->bench.bus, BUS_MMIO, INTC_IOAPIC_BASE, 4, reg);
    bus_write(r->bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x10, 4, value);
}

static inline void ioapic_route(struct rack *r, unsigned pin, uint32_t low, uint8_t dest)
{
    ioapic_write(r, 0x11 + pin * 2, (uint32_t)dest << 24);
    ioapic_write(r, 0x10 + pin * 2, low);
}

static inline bool bit256(struct rack *r, unsigned cpu, unsigned offset, uint8_t vector)
{
    return apic_read(r, cpu, offset + (vector >> 5) * 16) >> (vector & 31) & 1;
}

/* A pair as DOS and Linux program it: vectors 0x30-0x3f, everything unmasked. */
static inline void pic_setup(struct rack *r, uint8_t icw4)
{
    static const struct { uint16_t port; uint8_t value; } icw[] = {
        {0x20, 0x11}, {0x21, 0x30}, {0x21, 0x04}, {0xa0, 0x11}, {0xa1, 0x38}, {0xa1, 0x02}};

    for (size_t i = 0; i < sizeof icw / sizeof icw[0]; i++) {
        outb(&r->bench, icw[i].port, icw[i].value);
        if (i == 2)
            outb(&r->bench, 0x21, icw4);
    }
    outb(&r->bench, 0xa1, 0x01);
    outb(&r->bench, 0x21, 0);
    outb(&r->bench, 0xa1, 0);
}

#endif
