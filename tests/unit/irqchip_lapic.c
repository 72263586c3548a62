/* SPDX-License-Identifier: GPL-2.0-or-later */
/* irqchip_lapic.c - priorities, timer, IPIs, modes of the local APIC. */
#include "irqchip_fixture.h"

enum { MASKED = 1 << 16, PERIODIC = 1 << 17, DEADLINE = 2 << 17, DIVIDE_1 = 0xb, DIVIDE_16 = 3 };
enum { SELF = 1 << 18, ALL = 2 << 18, OTHERS = 3 << 18, NMI = 4 << 8, INIT = 5 << 8, SIPI = 6 << 8,
       ASSERT = 1 << 14, LEVEL = 1 << 15, LOGICAL = 1 << 11 };

static void init(struct rack *r)
{
    rack_init(r);
    apic_enable_all(r);
}

static void ipi(struct rack *r, unsigned cpu, uint32_t low, uint8_t dest)
{
    apic_write(r, cpu, APIC_ICR_HIGH, (uint32_t)dest << 24);
    apic_write(r, cpu, APIC_ICR, low);
}

static uint64_t rdmsr(struct rack *r, unsigned cpu, uint32_t msr)
{
    uint64_t value = 0;

    assert_int_equal(intc_msr_read(r->intc, cpu, msr, &value), 0);
    return value;
}

static void wrmsr(struct rack *r, unsigned cpu, uint32_t msr, uint64_t value)
{
    assert_int_equal(intc_msr_write(r->intc, cpu, msr, value), 0);
}

static void expect_gp(struct rack *r, unsigned cpu, uint32_t msr, uint64_t value)
{
    assert_int_equal(intc_msr_write(r->intc, cpu, msr, value), -1);
}

static void x2apic_on(struct rack *r, unsigned cpu)
{
    wrmsr(r, cpu, MSR_APIC_BASE, rdmsr(r, cpu, MSR_APIC_BASE) | BASE_EXTD);
}

/* ---- registers and priorities ---- */

static void registers_after_reset(void **state)
{
    struct rack r;

    rack_init(&r);
    for (unsigned i = 0; i < RACK_CPUS; i++) {
        assert_int_equal(apic_read(&r, i, APIC_ID), i << 24);
        assert_int_equal(apic_read(&r, i, APIC_VERSION), 0x01050014);
        assert_int_equal(apic_read(&r, i, APIC_SVR), 0xff);
        assert_int_equal(apic_read(&r, i, APIC_DFR), 0xffffffff);
        assert_int_equal(apic_read(&r, i, APIC_LVT_TIMER), MASKED);
        assert_int_equal(rdmsr(&r, i, MSR_APIC_BASE),
                         INTC_LAPIC_BASE | BASE_EN | (i ? 0 : BASE_BSP));
    }
    /* While disabled by software, no LVT mask can be cleared. */
    apic_write(&r, 0, APIC_LVT_TIMER, 0x40);
    assert_int_equal(apic_read(&r, 0, APIC_LVT_TIMER), MASKED | 0x40);
    apic_write(&r, 0, APIC_SVR, 0x1ff);
    apic_write(&r, 0, APIC_LVT_TIMER, 0x40);
    assert_int_equal(apic_read(&r, 0, APIC_LVT_TIMER), 0x40);
    apic_write(&r, 0, APIC_SVR, 0xff);
    assert_int_equal(apic_read(&r, 0, APIC_LVT_TIMER), MASKED | 0x40);
    rack_fini(&r);
}

static void tpr_and_ppr(void **state)
{
    struct rack r;

    init(&r);
    intc_tpr_set(r.intc, 0, 5);
    assert_int_equal(apic_read(&r, 0, APIC_TPR), 0x50);
    ipi(&r, 0, SELF | 0x5f, 0);
    assert_false(r.cpu[0].intr);              /* same class */
    ipi(&r, 0, SELF | 0x60, 0);
    assert_true(r.cpu[0].intr);
    assert_int_equal(intc_ack(r.intc, 0), 0x60);
    assert_int_equal(apic_read(&r, 0, APIC_PPR), 0x60);
    apic_write(&r, 0, APIC_TPR, 0);
    assert_int_equal(apic_read(&r, 0, APIC_PPR), 0x60);
    assert_false(r.cpu[0].intr);              /* 0x5f is below what is in service */
    ipi(&r, 0, SELF | 0x81, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x81);
    apic_write(&r, 0, APIC_EOI, 0);
    assert_false(r.cpu[0].intr);
    apic_write(&r, 0, APIC_EOI, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x5f);
    apic_write(&r, 0, APIC_TPR, 0x57);        /* TPR's low bits show when it wins */
    assert_int_equal(apic_read(&r, 0, APIC_PPR), 0x57);
    assert_int_equal(intc_tpr_get(r.intc, 0), 5);
    rack_fini(&r);
}

static void highest_vector_first(void **state)
{
    struct rack r;

    init(&r);
    ipi(&r, 0, SELF | 0x31, 0);
    ipi(&r, 0, SELF | 0xf0, 0);
    ipi(&r, 0, SELF | 0x92, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0xf0);
    assert_int_equal(intc_ack(r.intc, 0), -1);
    apic_write(&r, 0, APIC_EOI, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x92);
    apic_write(&r, 0, APIC_EOI, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x31);
    apic_write(&r, 0, APIC_EOI, 0);
    apic_write(&r, 0, APIC_EOI, 0);           /* one too many: nothing */
    assert_int_equal(intc_ack(r.intc, 0), -1);
    rack_fini(&r);
}

static void errors_are_logged(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 0, APIC_LVT_ERROR, 0xfe);
    ipi(&r, 0, SELF | 0x05, 0);               /* send illegal vector */
    assert_int_equal(intc_ack(r.intc, 0), 0xfe);
    assert_int_equal(apic_read(&r, 0, APIC_ESR), 0);
    apic_write(&r, 0, APIC_ESR, 0);
    assert_int_equal(apic_read(&r, 0, APIC_ESR), 0x20);
    apic_write(&r, 0, APIC_ESR, 0);
    assert_int_equal(apic_read(&r, 0, APIC_ESR), 0);
    ioapic_route(&r, 16, 0x08, 0);
    gsi_set(&r, 16, true);                    /* receive illegal vector */
    apic_read(&r, 0, 0x3f0);                  /* no such register */
    apic_write(&r, 0, APIC_ESR, 0);
    assert_int_equal(apic_read(&r, 0, APIC_ESR), 0xc0);
    rack_fini(&r);
}

static void odd_accesses_do_nothing(void **state)
{
    struct rack r;
    uint64_t value;

    init(&r);
    assert_true(intc_mmio_write(r.intc, 0, gpa(INTC_LAPIC_BASE + APIC_TPR), 1, 0x40));
    assert_true(intc_mmio_write(r.intc, 0, gpa(INTC_LAPIC_BASE + APIC_TPR + 4), 4, 0x40));
    assert_int_equal(apic_read(&r, 0, APIC_TPR), 0);
    apic_write(&r, 0, APIC_TPR, 0x40);
    assert_true(intc_mmio_read(r.intc, 0, gpa(INTC_LAPIC_BASE + APIC_TPR), 1, &value));
    assert_int_equal(value, 0x40);
    assert_true(intc_mmio_read(r.intc, 0, gpa(INTC_LAPIC_BASE + 0xfff), 8, &value));
    assert_true(intc_mmio_write(r.intc, 0, gpa(INTC_LAPIC_BASE + 0xff0), 8, ~0ull));
    assert_false(intc_mmio_read(r.intc, 0, gpa(INTC_LAPIC_BASE + 0x1000), 4, &value));
    rack_fini(&r);
}

/* ---- timer ---- */

static void one_shot(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 0, APIC_TDCR, DIVIDE_1);
    apic_write(&r, 0, APIC_LVT_TIMER, 0xee);
    apic_write(&r, 0, APIC_TMICT, 1000000);
    bench_run(&r.bench, 400000);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 600000);
    bench_run(&r.bench, 599999);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 1);
    assert_false(r.cpu[0].intr);
    bench_run(&r.bench, 1);
    assert_int_equal(intc_ack(r.intc, 0), 0xee);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 0);
    apic_write(&r, 0, APIC_EOI, 0);
    bench_run(&r.bench, 10000000);
    assert_false(r.cpu[0].intr);
    assert_int_equal(apic_read(&r, 0, APIC_TMICT), 1000000);
    /* Zero stops it. */
    apic_write(&r, 0, APIC_TMICT, 1000);
    apic_write(&r, 0, APIC_TMICT, 0);
    bench_run(&r.bench, 10000000);
    assert_false(r.cpu[0].intr);
    rack_fini(&r);
}

static void periodic_keeps_its_phase(void **state)
{
    struct rack r;
    uint64_t start;

    init(&r);
    apic_write(&r, 0, APIC_TDCR, DIVIDE_16);
    apic_write(&r, 0, APIC_LVT_TIMER, PERIODIC | 0xee);
    bench_run(&r.bench, 123);
    start = clock_now_ns(r.bench.clock);
    apic_write(&r, 0, APIC_TMICT, 62500);     /* 1 ms */
    for (unsigned i = 1; i <= 50; i++) {
        bench_run_to(&r.bench, start + i * 1000000ull - 1);
        assert_false(r.cpu[0].intr);
        assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 1);
        bench_run(&r.bench, 1);
        assert_int_equal(intc_ack(r.intc, 0), 0xee);
        assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 62500);
        apic_write(&r, 0, APIC_EOI, 0);
    }
    /* The host was away for 10.5 periods: one interrupt, same phase. */
    clock_advance(r.bench.clock, 10500000);
    clock_run_timers(r.bench.clock);
    assert_int_equal(intc_ack(r.intc, 0), 0xee);
    apic_write(&r, 0, APIC_EOI, 0);
    assert_false(r.cpu[0].intr);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 31250);
    bench_run(&r.bench, 500000);
    assert_true(r.cpu[0].intr);
    rack_fini(&r);
}

static void divider_values(void **state)
{
    static const struct { uint8_t tdcr; unsigned divide; } table[] = {
        {0x0, 2}, {0x1, 4}, {0x2, 8}, {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
    struct rack r;

    init(&r);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        apic_write(&r, 0, APIC_TDCR, table[i].tdcr);
        apic_write(&r, 0, APIC_TMICT, 1000);
        bench_run(&r.bench, table[i].divide * 300);
        assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 700);
    }
    /* Changed while counting: what is left is counted at the new rate. */
    apic_write(&r, 0, APIC_TDCR, 0x0);
    apic_write(&r, 0, APIC_TMICT, 1000);
    bench_run(&r.bench, 1000);
    apic_write(&r, 0, APIC_TDCR, 0x1);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 500);
    bench_run(&r.bench, 400);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 400);
    rack_fini(&r);
}

static void mode_changes_on_the_fly(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 0, APIC_TDCR, DIVIDE_1);
    apic_write(&r, 0, APIC_LVT_TIMER, 0xee);
    apic_write(&r, 0, APIC_TMICT, 100000);
    bench_run(&r.bench, 60000);
    apic_write(&r, 0, APIC_LVT_TIMER, PERIODIC | 0xee);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 40000);
    bench_run(&r.bench, 40001);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 99999);
    apic_write(&r, 0, APIC_LVT_TIMER, 0xee);
    bench_run(&r.bench, 200000);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 0);
    apic_write(&r, 0, APIC_LVT_TIMER, PERIODIC | 0xee);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 0);     /* stays where it is */
    rack_fini(&r);
}

static void masked_timer_counts_silently(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 0, APIC_TDCR, DIVIDE_1);
    apic_write(&r, 0, APIC_LVT_TIMER, MASKED | PERIODIC | 0xee);
    apic_write(&r, 0, APIC_TMICT, 100000);
    bench_run(&r.bench, 250000);
    assert_false(r.cpu[0].intr);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 50000);
    apic_write(&r, 0, APIC_LVT_TIMER, PERIODIC | 0xee);
    bench_run(&r.bench, 50000);
    assert_true(r.cpu[0].intr);
    rack_fini(&r);
}

static void tsc_deadline(void **state)
{
    struct rack r;

    init(&r);
    wrmsr(&r, 0, MSR_TSC_DEADLINE, 1000);     /* not in this mode: ignored */
    assert_int_equal(rdmsr(&r, 0, MSR_TSC_DEADLINE), 0);
    apic_write(&r, 0, APIC_LVT_TIMER, DEADLINE | 0xef);
    bench_run(&r.bench, 5000);
    wrmsr(&r, 0, MSR_TSC_DEADLINE, clock_ticks(r.bench.clock));   /* now */
    assert_int_equal(intc_ack(r.intc, 0), 0xef);
    assert_int_equal(rdmsr(&r, 0, MSR_TSC_DEADLINE), 0);
    apic_write(&r, 0, APIC_EOI, 0);
    uint64_t due = clock_ticks(r.bench.clock) + 70000;
    wrmsr(&r, 0, MSR_TSC_DEADLINE, due);
    assert_int_equal(rdmsr(&r, 0, MSR_TSC_DEADLINE), due);
    assert_int_equal(apic_read(&r, 0, APIC_TMCCT), 0);
    apic_write(&r, 0, APIC_TMICT, 77);        /* ignored */
    assert_int_equal(apic_read(&r, 0, APIC_TMICT), 0);
    bench_run(&r.bench, 69999);
    assert_false(r.cpu[0].intr);
    bench_run(&r.bench, 1);
    assert_int_equal(intc_ack(r.intc, 0), 0xef);
    assert_int_equal(rdmsr(&r, 0, MSR_TSC_DEADLINE), 0);
    wrmsr(&r, 0, MSR_TSC_DEADLINE, due * 2);
    wrmsr(&r, 0, MSR_TSC_DEADLINE, 0);        /* disarmed */
    assert_true(clock_next_deadline_ns(r.bench.clock) == CLOCK_NEVER);
    wrmsr(&r, 0, MSR_TSC_DEADLINE, due * 2);
    apic_write(&r, 0, APIC_LVT_TIMER, 0xef);  /* leaving the mode disarms */
    assert_int_equal(rdmsr(&r, 0, MSR_TSC_DEADLINE), 0);
    assert_true(clock_next_deadline_ns(r.bench.clock) == CLOCK_NEVER);
    rack_fini(&r);
}

static void shortest_periods_are_merged(void **state)
{
    struct rack r;
    unsigned fired = 0;

    init(&r);
    apic_write(&r, 0, APIC_TDCR, DIVIDE_1);
    apic_write(&r, 0, APIC_LVT_TIMER, PERIODIC | 0xee);
    apic_write(&r, 0, APIC_TMICT, 1);
    for (unsigned i = 0; i < 1000; i++) {
        bench_run(&r.bench, 1000);
        if (intc_ack(r.intc, 0) >= 0)
            fired++;
        apic_write(&r, 0, APIC_EOI, 0);
    }
    assert_in_range(fired, 20, 60);
    rack_fini(&r);
}

/* ---- interprocessor interrupts ---- */

static void shorthands(void **state)
{
    struct rack r;

    init(&r);
    ipi(&r, 1, SELF | 0x41, 0);
    ipi(&r, 1, OTHERS | 0x42, 0);
    ipi(&r, 1, ALL | 0x43, 0);
    for (unsigned i = 0; i < RACK_CPUS; i++) {
        assert_int_equal(bit256(&r, i, APIC_IRR, 0x41), i == 1);
        assert_int_equal(bit256(&r, i, APIC_IRR, 0x42), i != 1);
        assert_true(bit256(&r, i, APIC_IRR, 0x43));
    }
    assert_int_equal(apic_read(&r, 1, APIC_ICR) & 0x1000, 0);    /* never busy */
    rack_fini(&r);
}

static void destinations(void **state)
{
    struct rack r;

    init(&r);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        apic_write(&r, i, APIC_LDR, 1u << (24 + i));
    ipi(&r, 0, 0x41, 2);
    ipi(&r, 0, LOGICAL | 0x42, 0x06);
    ipi(&r, 0, 0x43, 0xff);
    ipi(&r, 0, 0x44, 77);                     /* nobody */
    for (unsigned i = 0; i < RACK_CPUS; i++) {
        assert_int_equal(bit256(&r, i, APIC_IRR, 0x41), i == 2);
        assert_int_equal(bit256(&r, i, APIC_IRR, 0x42), i == 1 || i == 2);
        assert_true(bit256(&r, i, APIC_IRR, 0x43));
        assert_false(bit256(&r, i, APIC_IRR, 0x44));
    }
    rack_fini(&r);
}

static void id_can_be_written(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 1, APIC_ID, 0x77123456);
    assert_int_equal(apic_read(&r, 1, APIC_ID), 0x77000000);
    ipi(&r, 0, 0x40, 1);
    assert_false(r.cpu[1].intr);
    ipi(&r, 0, 0x40, 0x77);
    assert_true(r.cpu[1].intr);
    /* A mode that has no such register takes it back. */
    x2apic_on(&r, 1);
    assert_int_equal(rdmsr(&r, 1, MSR_X2APIC + 2), 1);
    expect_gp(&r, 1, MSR_X2APIC + 2, 5);
    rack_fini(&r);
}

static void many_destinations_at_once(void **state)
{
    uint64_t mask[2] = {0xb, 0}, high[2] = {0, 1}, all[2] = {~0ull, ~0ull};
    struct rack r;

    init(&r);
    assert_int_equal(intc_send_many(r.intc, 0, mask, 64, 0, 0x51), 3);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_int_equal(r.cpu[i].intr, i != 2);
    assert_int_equal(intc_send_many(r.intc, 0, mask, 64, 2, NMI), 2);
    assert_int_equal(r.cpu[2].nmis + r.cpu[3].nmis, 2);
    /* Words of a 32-bit caller. */
    assert_int_equal(intc_send_many(r.intc, 0, high, 32, 0xffffffe0, 0x52), 0);
    assert_int_equal(intc_send_many(r.intc, 0, high, 32, 0, 0x52), 0);
    /* No identifier wraps, and none is the broadcast. */
    assert_int_equal(intc_send_many(r.intc, 0, all, 64, 0xffffffff, 0x52), 0);
    assert_int_equal(intc_send_many(r.intc, 0, all, 64, 0xfffffff0, 0x52), 0);
    rack_fini(&r);
}

static void start_up_sequence(void **state)
{
    struct rack r;

    init(&r);
    apic_write(&r, 1, APIC_TPR, 0x30);
    ipi(&r, 0, INIT | ASSERT | LEVEL, 1);
    assert_int_equal(r.cpu[1].inits, 1);
    assert_int_equal(apic_read(&r, 1, APIC_TPR), 0);
    assert_int_equal(apic_read(&r, 1, APIC_ID), 1 << 24);
    ipi(&r, 0, INIT | LEVEL, 1);              /* de-assert: nothing */
    assert_int_equal(r.cpu[1].inits, 1);
    ipi(&r, 0, SIPI | 0x9a, 1);
    ipi(&r, 0, SIPI | 0x9b, 1);
    assert_int_equal(r.cpu[1].sipis, 2);
    assert_int_equal(r.cpu[1].sipi_vector, 0x9b);
    ipi(&r, 0, OTHERS | NMI, 0);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        assert_int_equal(r.cpu[i].nmis, i != 0);
    rack_fini(&r);
}

static void software_disabled_takes_only_signals(void **state)
{
    struct rack r;

    rack_init(&r);
    apic_write(&r, 0, APIC_SVR, 0x1ff);
    ipi(&r, 0, 0x41, 1);
    ipi(&r, 0, NMI, 1);
    assert_false(bit256(&r, 1, APIC_IRR, 0x41));
    assert_int_equal(r.cpu[1].nmis, 1);
    rack_fini(&r);
}

static void nmi_button_goes_through_lint1(void **state)
{
    struct rack r;

    init(&r);
    struct irq_line button = intc_lint1(r.intc);
    irq_line_pulse(&button);
    assert_int_equal(r.cpu[0].nmis, 0);       /* masked after reset */
    apic_write(&r, 0, APIC_LINT1, NMI);
    irq_line_pulse(&button);
    assert_int_equal(r.cpu[0].nmis, 1);
    apic_write(&r, 0, APIC_LINT1, 0x55);      /* any vector will do, too */
    irq_line_pulse(&button);
    assert_int_equal(intc_ack(r.intc, 0), 0x55);
    rack_fini(&r);
}

static void lapic_goes_before_extint(void **state)
{
    struct rack r;

    init(&r);
    pic_setup(&r, 0x01);
    apic_write(&r, 0, APIC_LINT0, 0x700);
    gsi_set(&r, 4, true);
    ipi(&r, 0, SELF | 0x41, 0);
    assert_int_equal(intc_ack(r.intc, 0), 0x41);
    assert_true(r.cpu[0].intr);               /* ExtINT knows no priority */
    assert_int_equal(intc_ack(r.intc, 0), 0x34);
    assert_false(r.cpu[0].intr);
    apic_write(&r, 0, APIC_LINT0, 0x10700);
    gsi_set(&r, 3, true);
    assert_false(r.cpu[0].intr);
    rack_fini(&r);
}

/* ---- IA32_APIC_BASE and x2APIC ---- */

static void apic_base_states(void **state)
{
    struct rack r;
    const uint64_t base = INTC_LAPIC_BASE | BASE_BSP;
    uint64_t value;

    init(&r);
    expect_gp(&r, 0, MSR_APIC_BASE, base | BASE_EXTD);            /* invalid */
    expect_gp(&r, 0, MSR_APIC_BASE, base | BASE_EN | 1);          /* reserved */
    expect_gp(&r, 0, MSR_APIC_BASE, base | BASE_EN | 1ull << 40); /* MAXPHYADDR */
    wrmsr(&r, 0, MSR_APIC_BASE, base | BASE_EN | BASE_EXTD);
    assert_false(intc_mmio_read(r.intc, 0, gpa(INTC_LAPIC_BASE), 4, &value));
    expect_gp(&r, 0, MSR_APIC_BASE, base | BASE_EN);
    wrmsr(&r, 0, MSR_APIC_BASE, base);
    expect_gp(&r, 0, MSR_APIC_BASE, base | BASE_EN | BASE_EXTD);
    assert_false(intc_mmio_read(r.intc, 0, gpa(INTC_LAPIC_BASE), 4, &value));
    intc_tpr_set(r.intc, 0, 9);               /* CR8 works without an APIC */
    assert_int_equal(intc_tpr_get(r.intc, 0), 9);
    intc_tpr_set(r.intc, 0, 0);
    wrmsr(&r, 0, MSR_APIC_BASE, base | BASE_EN);
    assert_int_equal(apic_read(&r, 0, APIC_SVR), 0xff);           /* was reset */
    rack_fini(&r);
}

static void page_can_be_moved(void **state)
{
    struct rack r;
    uint64_t value = 0;

    init(&r);
    wrmsr(&r, 0, MSR_APIC_BASE, 0xfed40000 | BASE_BSP | BASE_EN);
    assert_true(intc_mmio_read(r.intc, 0, gpa(0xfed40030), 4, &value));
    assert_int_equal(value, 0x01050014);
    assert_false(intc_mmio_read(r.intc, 0, gpa(INTC_LAPIC_BASE + 0x30), 4, &value));
    assert_true(intc_mmio_read(r.intc, 1, gpa(INTC_LAPIC_BASE + 0x30), 4, &value));
    rack_fini(&r);
}

static void disabled_apic_passes_intr(void **state)
{
    struct rack r;

    init(&r);
    pic_setup(&r, 0x01);
    apic_write(&r, 0, APIC_LINT0, MASKED | 0x700);
    gsi_set(&r, 4, true);
    assert_false(r.cpu[0].intr);
    wrmsr(&r, 0, MSR_APIC_BASE, INTC_LAPIC_BASE | BASE_BSP);
    assert_true(r.cpu[0].intr);
    assert_int_equal(intc_ack(r.intc, 0), 0x34);
    rack_fini(&r);
}

static void x2apic_registers(void **state)
{
    struct rack r;
    uint64_t value;

    init(&r);
    assert_int_equal(intc_msr_read(r.intc, 3, MSR_X2APIC + 2, &value), -1);
    x2apic_on(&r, 3);
    assert_int_equal(rdmsr(&r, 3, MSR_X2APIC + 0x02), 3);
    assert_int_equal(rdmsr(&r, 3, MSR_X2APIC + 0x0d), 1 << 3);
    assert_int_equal(rdmsr(&r, 3, MSR_X2APIC + 0x0f), 0x1ff);     /* kept over the change */
    expect_gp(&r, 3, MSR_X2APIC + 0x02, 0);
    expect_gp(&r, 3, MSR_X2APIC + 0x0d, 0);
    expect_gp(&r, 3, MSR_X2APIC + 0x0e, 0);
    expect_gp(&r, 3, MSR_X2APIC + 0x31, 0);
    expect_gp(&r, 3, MSR_X2APIC + 0x0b, 1);   /* EOI takes only 0 */
    expect_gp(&r, 3, MSR_X2APIC + 0x28, 1);
    expect_gp(&r, 3, MSR_X2APIC + 0x08, 0x100);
    expect_gp(&r, 3, MSR_X2APIC + 0x30, 1 << 20);
    expect_gp(&r, 3, MSR_X2APIC + 0x40, 0);
    expect_gp(&r, 3, MSR_X2APIC + 0xff, 0);
    assert_int_equal(intc_msr_read(r.intc, 3, MSR_X2APIC + 0x0b, &value), -1);
    assert_int_equal(intc_msr_read(r.intc, 3, MSR_X2APIC + 0x3f, &value), -1);
    wrmsr(&r, 3, MSR_X2APIC + 0x3f, 0x45);    /* self IPI */
    assert_int_equal(intc_ack(r.intc, 3), 0x45);
    wrmsr(&r, 3, MSR_X2APIC + 0x0b, 0);
    wrmsr(&r, 3, MSR_X2APIC + 0x30, 0x100000041ull);
    assert_int_equal(rdmsr(&r, 3, MSR_X2APIC + 0x30), 0x100000041ull);
    assert_int_equal(intc_ack(r.intc, 1), 0x41);
    rack_fini(&r);
}

static void x2apic_destinations(void **state)
{
    struct rack r;

    init(&r);
    for (unsigned i = 0; i < RACK_CPUS; i++)
        x2apic_on(&r, i);
    wrmsr(&r, 0, MSR_X2APIC + 0x30, LOGICAL | 0x41 | 0x0000000cull << 32);
    wrmsr(&r, 0, MSR_X2APIC + 0x30, LOGICAL | 0x42 | 0x00010001ull << 32);  /* next cluster */
    wrmsr(&r, 0, MSR_X2APIC + 0x30, 0x43 | 0xffffffffull << 32);
    wrmsr(&r, 0, MSR_X2APIC + 0x30, 0x44 | 0xffull << 32);                  /* APIC ID 255 */
    for (unsigned i = 0; i < RACK_CPUS; i++) {
        unsigned irr = MSR_X2APIC + 0x20 + 2;
        uint64_t bits = rdmsr(&r, i, irr);
        assert_int_equal(bits >> 1 & 1, i >= 2);
        assert_int_equal(bits >> 2 & 1, 0);
        assert_int_equal(bits >> 3 & 1, 1);
        assert_int_equal(bits >> 4 & 1, 0);
    }
    rack_fini(&r);
}

static void other_msrs_are_not_ours(void **state)
{
    struct rack r;
    uint64_t value;

    init(&r);
    assert_int_equal(intc_msr_read(r.intc, 0, 0x10, &value), -1);
    assert_int_equal(intc_msr_write(r.intc, 0, 0xc0000080, 0), -1);
    rack_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_after_reset),
        cmocka_unit_test(tpr_and_ppr),
        cmocka_unit_test(highest_vector_first),
        cmocka_unit_test(errors_are_logged),
        cmocka_unit_test(odd_accesses_do_nothing),
        cmocka_unit_test(one_shot),
        cmocka_unit_test(periodic_keeps_its_phase),
        cmocka_unit_test(divider_values),
        cmocka_unit_test(mode_changes_on_the_fly),
        cmocka_unit_test(masked_timer_counts_silently),
        cmocka_unit_test(tsc_deadline),
        cmocka_unit_test(shortest_periods_are_merged),
        cmocka_unit_test(shorthands),
        cmocka_unit_test(destinations),
        cmocka_unit_test(id_can_be_written),
        cmocka_unit_test(many_destinations_at_once),
        cmocka_unit_test(start_up_sequence),
        cmocka_unit_test(software_disabled_takes_only_signals),
        cmocka_unit_test(nmi_button_goes_through_lint1),
        cmocka_unit_test(lapic_goes_before_extint),
        cmocka_unit_test(apic_base_states),
        cmocka_unit_test(page_can_be_moved),
        cmocka_unit_test(disabled_apic_passes_intr),
        cmocka_unit_test(x2apic_registers),
        cmocka_unit_test(x2apic_destinations),
        cmocka_unit_test(other_msrs_are_not_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
