/* SPDX-License-Identifier: GPL-2.0-or-later */
/* irqchip_ioapic.c - redirection, trigger modes, EOI, destinations, MSI. */
#include "irqchip_fixture.h"

enum { LEVEL = 1 << 15, RIRR = 1 << 14, MASKED = 1 << 16, LOGICAL = 1 << 11, LOWEST = 1 << 8,
       NMI = 4 << 8, INIT = 5 << 8, SMI = 2 << 8 };

static void init(struct rack *r)
{
    rack_init(r);
    apic_enable_all(r);
    outb(&r->bench, 0x21, 0xff);              /* the 8259 pair has the same lines */
    outb(&r->bench, 0xa1, 0xff);
}

static uint32_t entry(struct rack *r, unsigned pin)
{
    return ioapic_read(r, 0x10 + pin * 2);
}

static void eoi(struct rack *r, unsigned cpu)
{
    apic_write(r, cpu, APIC_EOI, 0);
}

static void registers(void **state)
{
    struct rack r;

    init(&r);
    assert_int_equal(ioapic_read(&r, 0), 0);
    assert_int_equal(ioapic_read(&r, 1), 0x00170020);
    for (unsigned pin = 0; pin < 24; pin++) {
        assert_int_equal(ioapic_read(&r, 0x10 + pin * 2), MASKED);
        assert_int_equal(ioapic_read(&r, 0x11 + pin * 2), 0);
    }
    ioapic_write(&r, 0, 0xffffffff);
    assert_int_equal(ioapic_read(&r, 0), 0x0f000000);
    ioapic_write(&r, 0x10, 0xffffffff);
    assert_int_equal(ioapic_read(&r, 0x10), 0x1afff);   /* status bits are read-only */
    assert_int_equal(ioapic_read(&r, 0x40), 0);
    ioapic_write(&r, 0x40, 0xffffffff);
    rack_fini(&r);
}

static void edge_is_delivered_once(void **state)
{
    struct rack r;

    init(&r);
    ioapic_route(&r, 14, 0x77, 0);
    gsi_set(&r, 14, true);
    assert_int_equal(intc_ack(r.intc, 0), 0x77);
    assert_false(bit256(&r, 0, APIC_TMR, 0x77));
    eoi(&r, 0);
    assert_int_equal(intc_ack(r.intc, 0), -1);
    gsi_set(&r, 14, false);
    gsi_set(&r, 14, true);
    assert_int_equal(intc_ack(r.intc, 0), 0x77);
    rack_fini(&r);
}

static void masked_edge_is_lost_masked_level_waits(void **state)
{
    struct rack r;

    init(&r);
    ioapic_route(&r, 14, MASKED | 0x77, 0);
    ioapic_route(&r, 15, MASKED | LEVEL | 0x78, 0);
    gsi_set(&r, 14, true);
    gsi_set(&r, 14, false);
    gsi_set(&r, 15, true);
    assert_false(r.cpu[0].intr);
    ioapic_route(&r, 14, 0x77, 0);
    assert_false(r.cpu[0].intr);
    ioapic_route(&r, 15, LEVEL | 0x78, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x78);
    rack_fini(&r);
}

static void level_is_sent_again_after_eoi(void **state)
{
    struct rack r;

    init(&r);
    ioapic_route(&r, 20, LEVEL | 0x51, 0);
    gsi_set(&r, 20, true);
    assert_int_equal(entry(&r, 20), LEVEL | RIRR | 0x51);
    assert_int_equal(intc_ack(r.intc, 0), 0x51);
    assert_true(bit256(&r, 0, APIC_TMR, 0x51));
    gsi_set(&r, 20, false);
    gsi_set(&r, 20, true);       /* nothing while remote IRR is set */
    assert_false(r.cpu[0].intr);
    eoi(&r, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x51);
    gsi_set(&r, 20, false);
    eoi(&r, 0);
    assert_int_equal(entry(&r, 20), LEVEL | 0x51);
    assert_int_equal(intc_ack(r.intc, 0), -1);
    rack_fini(&r);
}

static void level_waits_for_somebody_to_take_it(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 0, APIC_SVR, 0xff);
    ioapic_route(&r, 20, LEVEL | 0x51, 0);
    gsi_set(&r, 20, true);
    assert_int_equal(entry(&r, 20), LEVEL | 0x51);
    apic_write(&r, 0, APIC_SVR, 0x1ff);
    assert_int_equal(intc_ack(r.intc, 0), 0x51);
    rack_fini(&r);
}

static void directed_eoi(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 0, APIC_SVR, 0x11ff);      /* suppress the broadcast */
    ioapic_route(&r, 20, LEVEL | 0x51, 0);
    gsi_set(&r, 20, true);
    assert_int_equal(intc_ack(r.intc, 0), 0x51);
    gsi_set(&r, 20, false);
    eoi(&r, 0);
    assert_int_equal(entry(&r, 20), LEVEL | RIRR | 0x51);
    bus_write(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x40, 4, 0x50);
    assert_int_equal(entry(&r, 20), LEVEL | RIRR | 0x51);
    bus_write(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x40, 4, 0x51);
    assert_int_equal(entry(&r, 20), LEVEL | 0x51);
    /* The way of older versions: to edge mode and back. */
    gsi_set(&r, 20, true);
    assert_true(entry(&r, 20) & RIRR);
    ioapic_write(&r, 0x10 + 40, MASKED | 0x51);
    ioapic_write(&r, 0x10 + 40, LEVEL | MASKED | 0x51);
    assert_false(entry(&r, 20) & RIRR);
    rack_fini(&r);
}

static void delivery_modes(void **state)
{
    struct rack r;

    init(&r);
    ioapic_route(&r, 16, NMI, 1);
    ioapic_route(&r, 17, INIT, 2);
    ioapic_route(&r, 18, SMI, 0);
    for (unsigned gsi = 16; gsi <= 18; gsi++)
        gsi_set(&r, gsi, true);
    assert_int_equal(r.cpu[1].nmis, 1);
    assert_int_equal(r.cpu[2].inits, 1);
    assert_int_equal(apic_read(&r, 2, APIC_SVR), 0xff);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_false(r.cpu[i].intr);
    rack_fini(&r);
}

static void physical_destinations(void **state)
{
    struct rack r;

    init(&r);
    ioapic_route(&r, 16, 0x61, 3);
    gsi_set(&r, 16, true);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_int_equal(r.cpu[i].intr, i == 3);
    ioapic_route(&r, 17, 0x62, 0xff);
    gsi_set(&r, 17, true);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_true(bit256(&r, i, APIC_IRR, 0x62));
    rack_fini(&r);
}

static void logical_destinations(void **state)
{
    struct rack r;

    init(&r);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        apic_write(&r, i, APIC_LDR, 1u << (24 + i));
    ioapic_route(&r, 16, LOGICAL | 0x61, 0x0a);
    gsi_set(&r, 16, true);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_int_equal(r.cpu[i].intr, i & 1);
    for (unsigned i = 0; i < RACK_CPUS; i++) {      /* two clusters of two */
        apic_write(&r, i, APIC_DFR, 0x0fffffff);
        apic_write(&r, i, APIC_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    ioapic_route(&r, 17, LOGICAL | 0x62, 0x13);
    gsi_set(&r, 17, true);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_int_equal(bit256(&r, i, APIC_IRR, 0x62), i >= 2);
    rack_fini(&r);
}

static void lowest_priority_picks_the_idlest(void **state)
{
    struct rack r;

    init(&r);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        apic_write(&r, i, APIC_TPR, i == 2 ? 0x10 : 0x40);
    ioapic_route(&r, 16, LOWEST | 0x61, 0xff);
    gsi_set(&r, 16, true);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_int_equal(bit256(&r, i, APIC_IRR, 0x61), i == 2);
    /* One that is switched off by software takes none. */
    apic_write(&r, 2, APIC_SVR, 0xff);
    ioapic_route(&r, 17, LOWEST | 0x62, 0xff);
    gsi_set(&r, 17, true);
    unsigned takers = 0;
    for (unsigned i = 0; i < RACK_CPUS; i++)
        takers += bit256(&r, i, APIC_IRR, 0x62);
    assert_int_equal(takers, 1);
    assert_false(bit256(&r, 2, APIC_IRR, 0x62));
    rack_fini(&r);
}

static void timer_is_on_pin_2(void **state)
{
    struct rack r;

    init(&r);
    ioapic_route(&r, 2, 0x30, 0);
    gsi_set(&r, 0, true);
    assert_int_equal(intc_ack(r.intc, 0), 0x30);
    assert_null(intc_gsi(r.intc, 2).set);
    assert_null(intc_gsi(r.intc, 24).set);
    rack_fini(&r);
}

static void messages_from_devices(void **state)
{
    struct rack r;

    init(&r);
    struct irq_msi msi = intc_msi(r.intc);
    irq_msi_send(&msi, 0xfee01000, 0x45);
    assert_int_equal(intc_ack(r.intc, 1), 0x45);
    irq_msi_send(&msi, 0xfeeff000, 0x46);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_true(bit256(&r, i, APIC_IRR, 0x46));
    irq_msi_send(&msi, 0xfee02000, NMI);
    assert_int_equal(r.cpu[2].nmis, 1);
    irq_msi_send(&msi, 0xfee03000, LEVEL | 0x47);          /* de-asserted */
    assert_false(bit256(&r, 3, APIC_IRR, 0x47));
    rack_fini(&r);
}

static void narrow_accesses(void **state)
{
    struct rack r;

    init(&r);
    bus_write(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE, 1, 1);
    assert_int_equal(bus_read(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x10, 1), 0x20);
    assert_int_equal(bus_read(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x12, 1), 0x17);
    bus_write(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE, 1, 0x10);
    bus_write(r.bench.bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x10, 1, 0x55);
    assert_int_equal(entry(&r, 0), MASKED);
    rack_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers),
        cmocka_unit_test(edge_is_delivered_once),
        cmocka_unit_test(masked_edge_is_lost_masked_level_waits),
        cmocka_unit_test(level_is_sent_again_after_eoi),
        cmocka_unit_test(level_waits_for_somebody_to_take_it),
        cmocka_unit_test(directed_eoi),
        cmocka_unit_test(delivery_modes),
        cmocka_unit_test(physical_destinations),
        cmocka_unit_test(logical_destinations),
        cmocka_unit_test(lowest_priority_picks_the_idlest),
        cmocka_unit_test(timer_is_on_pin_2),
        cmocka_unit_test(messages_from_devices),
        cmocka_unit_test(narrow_accesses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
