/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_acpi.c - PM timer, SCI, sleeping, reset, SMI command port. */
#include "device_fixture.h"

#include "device/acpi_pm.h"

enum { BASE = 0x600, STS = BASE, EN = BASE + 2, CNT = BASE + ACPI_PM_CONTROL,
       TMR = BASE + ACPI_PM_TIMER };
enum { TMR_STS = 1, PWRBTN = 1 << 8, RTC_STS = 1 << 10, WAK_STS = 1 << 15, SCI_EN = 1, SLP_EN = 1 << 13 };

static void init(struct bench *b, bool timer_32bit, uint16_t smi_port)
{
    struct device_env env = bench_init(b);
    struct acpi_pm_config cfg = {.port = BASE, .sci = bench_line(b), .timer_32bit = timer_32bit,
                                 .smi_port = smi_port};

    b->dev = acpi_pm_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
}

static uint16_t inw(struct bench *b, uint16_t port)
{
    return (uint16_t)bus_read(b->bus, BUS_PIO, port, 2);
}

static void outw(struct bench *b, uint16_t port, uint16_t value)
{
    bus_write(b->bus, BUS_PIO, port, 2, value);
}

static uint32_t inl(struct bench *b, uint16_t port)
{
    return (uint32_t)bus_read(b->bus, BUS_PIO, port, 4);
}

static uint64_t tick_ns(uint64_t tick)
{
    return (tick * 1000000000 + ACPI_PM_HZ - 1) / ACPI_PM_HZ;
}

static void timer_runs_at_its_rate(void **state)
{
    struct bench b;

    init(&b, false, 0);
    assert_int_equal(inl(&b, TMR), 0);
    bench_run(&b, 1000000000);
    assert_int_equal(inl(&b, TMR), ACPI_PM_HZ);
    outw(&b, TMR, 0);            /* read-only */
    assert_int_equal(inl(&b, TMR), ACPI_PM_HZ);
    bench_fini(&b);
}

static void timer_wraps(void **state)
{
    struct bench b;

    init(&b, false, 0);
    bench_run_to(&b, tick_ns((1 << 24) - 1));
    assert_int_equal(inl(&b, TMR), 0xffffff);
    bench_run_to(&b, tick_ns(1 << 24));
    assert_int_equal(inl(&b, TMR), 0);
    bench_fini(&b);
    init(&b, true, 0);
    bench_run_to(&b, tick_ns(1ull << 24));
    assert_int_equal(inl(&b, TMR), 1 << 24);
    bench_run_to(&b, tick_ns((1ull << 32) + 5));
    assert_int_equal(inl(&b, TMR), 5);
    bench_fini(&b);
}

static void timer_status_and_sci(void **state)
{
    struct bench b;
    const uint64_t half = 1 << 23;

    init(&b, false, 0);
    bench_run_to(&b, tick_ns(half) - 1);
    assert_int_equal(inw(&b, STS), 0);
    bench_run(&b, 1);
    assert_int_equal(inw(&b, STS), TMR_STS);  /* without any host timer */
    assert_false(b.line);
    outw(&b, EN, TMR_STS);
    assert_true(b.line);
    outw(&b, STS, TMR_STS);
    assert_false(b.line);
    bench_run_to(&b, tick_ns(2 * half));
    assert_true(b.line);
    assert_int_equal(b.rise_ns, tick_ns(2 * half));
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    outw(&b, EN, 0);
    assert_false(b.line);
    bench_fini(&b);
}

static void power_button(void **state)
{
    struct bench b;

    init(&b, false, 0);
    assert_false(acpi_pm_power_button(b.dev));
    assert_int_equal(inw(&b, STS), PWRBTN);
    outw(&b, STS, PWRBTN);
    outw(&b, EN, PWRBTN);
    assert_true(acpi_pm_power_button(b.dev));
    assert_true(b.line);
    outb(&b, STS + 1, PWRBTN >> 8);           /* byte accesses work, too */
    assert_false(b.line);
    bench_fini(&b);
}

static void s5_powers_off(void **state)
{
    struct bench b;

    init(&b, false, 0);
    assert_int_equal(inw(&b, CNT), SCI_EN);
    outw(&b, CNT, ACPI_PM_S5_TYPE << 10 | SCI_EN);
    assert_int_equal(b.power_requests, 0);
    outw(&b, CNT, ACPI_PM_S5_TYPE << 10 | SLP_EN | SCI_EN);
    assert_int_equal(b.power_requests, 1);
    assert_int_equal(b.power, POWER_OFF);
    assert_int_equal(inw(&b, CNT), ACPI_PM_S5_TYPE << 10 | SCI_EN);    /* SLP_EN reads 0 */
    bench_fini(&b);
}

static void other_sleep_types_wake_at_once(void **state)
{
    struct bench b;

    init(&b, false, 0);
    outw(&b, CNT, 2 << 10 | SLP_EN);
    assert_int_equal(b.power_requests, 0);
    assert_int_equal(inw(&b, STS), WAK_STS);
    assert_int_equal(inw(&b, CNT) & SCI_EN, SCI_EN);
    bench_fini(&b);
}

/* S3: until an event that is enabled. The RTC's interrupt is one, and goes on. */
static void suspend_lasts_until_an_event(void **state)
{
    struct irq_line rtc;
    struct bench b;

    init(&b, false, 0);
    rtc = acpi_pm_rtc_line(b.dev);
    outw(&b, CNT, ACPI_PM_S3_TYPE << 10 | SLP_EN);
    assert_int_equal(b.power_requests, 1);
    assert_int_equal(b.power, POWER_SUSPEND);
    irq_line_set(&rtc, true);
    irq_line_set(&rtc, false);
    assert_int_equal(b.power_requests, 1);
    assert_int_equal(inw(&b, STS), RTC_STS);
    outw(&b, STS, RTC_STS);
    outw(&b, EN, RTC_STS);
    irq_line_set(&rtc, true);
    assert_int_equal(b.power_requests, 2);
    assert_int_equal(b.power, POWER_WAKE);
    assert_int_equal(inw(&b, STS), RTC_STS | WAK_STS);
    irq_line_set(&rtc, false);
    irq_line_set(&rtc, true);
    assert_int_equal(b.power_requests, 2);
    bench_fini(&b);
}

static void reset_register(void **state)
{
    struct bench b;

    init(&b, false, 0);
    outb(&b, BASE + ACPI_PM_RESET, 0);
    assert_int_equal(b.power_requests, 0);
    outb(&b, BASE + ACPI_PM_RESET, ACPI_PM_RESET_VALUE);
    assert_int_equal(b.power, POWER_RESET);
    assert_int_equal(b.power_requests, 1);
    bench_fini(&b);
}

static void smi_command_switches_acpi_mode(void **state)
{
    struct bench b;

    init(&b, false, 0xb2);
    assert_int_equal(inw(&b, CNT), 0);
    outw(&b, EN, PWRBTN);
    acpi_pm_power_button(b.dev);
    assert_false(b.line);
    outw(&b, CNT, SCI_EN);                    /* not for the guest to set */
    assert_int_equal(inw(&b, CNT), 0);
    outb(&b, 0xb2, ACPI_PM_SMI_ENABLE);
    assert_int_equal(inw(&b, CNT), SCI_EN);
    assert_true(b.line);
    outb(&b, 0xb2, ACPI_PM_SMI_DISABLE);
    assert_int_equal(inw(&b, CNT), 0);
    assert_false(b.line);
    bench_fini(&b);
}

static void gpe_block_is_empty(void **state)
{
    struct bench b;

    init(&b, false, 0);
    bus_write(b.bus, BUS_PIO, BASE + ACPI_PM_GPE0, 4, ~0u);
    assert_int_equal(inl(&b, BASE + ACPI_PM_GPE0), 0);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_runs_at_its_rate),
        cmocka_unit_test(timer_wraps),
        cmocka_unit_test(timer_status_and_sci),
        cmocka_unit_test(power_button),
        cmocka_unit_test(s5_powers_off),
        cmocka_unit_test(other_sleep_types_wake_at_once),
        cmocka_unit_test(suspend_lasts_until_an_event),
        cmocka_unit_test(reset_register),
        cmocka_unit_test(smi_command_switches_acpi_mode),
        cmocka_unit_test(gpe_block_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
