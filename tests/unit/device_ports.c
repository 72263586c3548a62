/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_ports.c - keyboard controller, system ports, debug and test devices. */
#include "device_fixture.h"

#include "device/debug_exit.h"
#include "device/debugcon.h"
#include "device/i8042.h"
#include "device/postcode.h"
#include "device/pvpanic.h"
#include "device/sysport.h"
#include "device/testdev.h"

/* ---- i8042 ---- */

static void i8042_init(struct bench *b)
{
    struct device_env env = bench_init(b);
    struct i8042_config cfg = {.irq = bench_line(b)};

    b->dev = i8042_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
}

static uint8_t i8042_reply(struct bench *b)
{
    assert_int_equal(inb(b, 0x64) & 0x03, 0x01);
    return inb(b, 0x60);
}

static void i8042_answers_every_probe(void **state)
{
    struct bench b;

    i8042_init(&b);
    assert_int_equal(inb(&b, 0x64) & 0x01, 0);
    outb(&b, 0x64, 0xaa);
    assert_int_equal(i8042_reply(&b), 0x55);
    outb(&b, 0x64, 0xab);
    assert_int_equal(i8042_reply(&b), 0x00);
    outb(&b, 0x64, 0x20);
    uint8_t ctr = i8042_reply(&b);
    outb(&b, 0x64, 0x60);
    outb(&b, 0x60, ctr & ~1);    /* no interrupt */
    outb(&b, 0x64, 0x20);
    assert_int_equal(i8042_reply(&b), ctr & ~1);
    /* There is no second channel. */
    outb(&b, 0x64, 0xd3);
    outb(&b, 0x60, 0x5a);
    assert_int_not_equal(i8042_reply(&b), 0x5a);
    outb(&b, 0x64, 0xa9);
    assert_int_equal(i8042_reply(&b), 0x01);
    outb(&b, 0x64, 0xa8);
    outb(&b, 0x64, 0x20);
    assert_int_equal(i8042_reply(&b) & 0x20, 0x20);
    assert_int_equal(b.rises, 3);             /* the answers before the interrupt was off */
    bench_fini(&b);
}

static void i8042_has_no_keyboard(void **state)
{
    struct bench b;

    i8042_init(&b);
    outb(&b, 0x60, 0xf2);
    assert_int_equal(inb(&b, 0x64) & 0x41, 0x41);
    assert_true(b.line);
    assert_int_equal(inb(&b, 0x60), 0xfe);
    assert_false(b.line);
    assert_int_equal(inb(&b, 0x64) & 0x41, 0);
    outb(&b, 0x64, 0xd2);        /* as if it came from the keyboard */
    outb(&b, 0x60, 0x1e);
    assert_int_equal(i8042_reply(&b), 0x1e);
    bench_fini(&b);
}

static void i8042_resets(void **state)
{
    struct bench b;

    i8042_init(&b);
    outb(&b, 0x64, 0xfd);        /* pulses another line */
    outb(&b, 0x64, 0xd1);
    outb(&b, 0x60, 0xdd);        /* A20 off, reset line high */
    assert_int_equal(b.power_requests, 0);
    outb(&b, 0x64, 0xd0);
    assert_int_equal(i8042_reply(&b) & 3, 1);
    outb(&b, 0x64, 0xdf);
    outb(&b, 0x64, 0xd0);
    assert_int_equal(i8042_reply(&b) & 3, 3);
    outb(&b, 0x64, 0xfe);
    assert_int_equal(b.power_requests, 1);
    assert_int_equal(b.power, POWER_RESET);
    outb(&b, 0x64, 0xd1);
    outb(&b, 0x60, 0x02);
    assert_int_equal(b.power_requests, 2);
    bench_fini(&b);
}

/* ---- system ports ---- */

static void system_ports_reset_on_a_rise(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct sysport_config cfg = {0};

    b.dev = sysport_new(&env, &cfg, NULL);
    assert_int_equal(inb(&b, 0x92), 0x02);
    outb(&b, 0x92, 0x00);
    assert_int_equal(inb(&b, 0x92), 0x00);
    outb(&b, 0x92, 0x03);
    outb(&b, 0x92, 0x03);
    assert_int_equal(b.power_requests, 1);
    outb(&b, 0xcf9, 0x02);
    assert_int_equal(b.power_requests, 1);
    outb(&b, 0xcf9, SYSPORT_RESET_VALUE);
    assert_int_equal(b.power_requests, 2);
    assert_int_equal(b.power, POWER_RESET);
    device_reset(b.dev);
    assert_int_equal(inb(&b, 0xcf9), 0);
    bench_fini(&b);
}

static void reset_control_can_be_left_out(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct sysport_config cfg = {.no_reset_control = true};

    b.dev = sysport_new(&env, &cfg, NULL);
    outb(&b, 0xcf9, 0x06);
    assert_int_equal(b.power_requests, 0);
    assert_null(bus_find(b.bus, BUS_PIO, 0xcf9));
    bench_fini(&b);
}

/* ---- debug ports ---- */

static void debug_console(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct debugcon_config cfg = {.name = "firmware", .port = 0x402, .write = bench_text,
                                  .opaque = &b};

    b.dev = debugcon_new(&env, &cfg, NULL);
    assert_string_equal(b.dev->name, "firmware");
    assert_int_equal(inb(&b, 0x402), 0xe9);
    outb(&b, 0x402, 'o');
    outb(&b, 0x402, 'k');
    assert_string_equal(b.text, "ok");
    bench_fini(&b);
}

static void post_port(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct postcode_config cfg = {.port = 0x80};

    b.dev = postcode_new(&env, &cfg, NULL);
    outb(&b, 0x80, 0x5b);
    assert_int_equal(postcode_last(b.dev), 0x5b);
    assert_int_equal(inb(&b, 0x80), 0x5b);
    bench_fini(&b);
}

static void debug_exit_status(void **state)
{
    static const struct { unsigned size; uint32_t value; int status; } writes[] = {
        {1, 0, 1}, {1, 0x10, 33}, {2, 0x1234, 0x2469}, {4, 3, 7}, {4, 0xffffffff, -1}};
    struct bench b;
    struct device_env env = bench_init(&b);
    struct debug_exit_config cfg = {.port = 0xf4};

    b.dev = debug_exit_new(&env, &cfg, NULL);
    assert_int_equal(inb(&b, 0xf4), 0);
    for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
        bus_write(b.bus, BUS_PIO, 0xf4, writes[i].size, writes[i].value);
        assert_int_equal(b.power_requests, i + 1);
        assert_int_equal(b.power, POWER_DEBUG_EXIT);
        assert_int_equal(b.power_status, writes[i].status);
    }
    bench_fini(&b);
}

static void panic_port(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct pvpanic_config cfg = {.port = 0x505};

    b.dev = pvpanic_new(&env, &cfg, NULL);
    assert_int_equal(inb(&b, 0x505), 3);
    outb(&b, 0x505, 2);
    assert_int_equal(b.power_requests, 0);
    outb(&b, 0x505, 1);
    assert_int_equal(b.power_requests, 1);
    assert_int_equal(b.power, POWER_PANIC);
    bench_fini(&b);
}

/* ---- test device ---- */

static void test_device(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct testdev_config cfg = {0};

    cfg.line[14] = bench_line(&b);
    b.dev = testdev_new(&env, &cfg, NULL);
    bus_write(b.bus, BUS_PIO, 0xe0, 4, 0x12345678);
    assert_int_equal(bus_read(b.bus, BUS_PIO, 0xe0, 4), 0x12345678);
    assert_int_equal(bus_read(b.bus, BUS_PIO, 0xe0, 2), 0x5678);
    assert_int_equal(bus_read(b.bus, BUS_PIO, 0xe2, 2), 0x1234);
    outb(&b, 0xe1, 0xab);
    assert_int_equal(bus_read(b.bus, BUS_PIO, 0xe0, 4), 0x1234ab78);
    bus_write(b.bus, BUS_PIO, 0xe4, 4, 0x1000);
    assert_int_equal(bus_read(b.bus, BUS_PIO, 0xe0, 4), 0x1234ab78);
    outb(&b, 0x200e, 1);
    assert_true(b.line);
    outb(&b, 0x200e, 0);
    assert_false(b.line);
    bus_write(b.bus, BUS_MMIO, 0xff00fff8, 8, 0x1122334455667788);
    assert_int_equal(bus_read(b.bus, BUS_MMIO, 0xff00fffc, 4), 0x11223344);
    assert_int_equal(bus_read(b.bus, BUS_MMIO, 0xff00ffff, 1), 0x11);
    outb(&b, 0x200e, 1);
    device_reset(b.dev);
    assert_false(b.line);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(i8042_answers_every_probe),
        cmocka_unit_test(i8042_has_no_keyboard),
        cmocka_unit_test(i8042_resets),
        cmocka_unit_test(system_ports_reset_on_a_rise),
        cmocka_unit_test(reset_control_can_be_left_out),
        cmocka_unit_test(debug_console),
        cmocka_unit_test(post_port),
        cmocka_unit_test(debug_exit_status),
        cmocka_unit_test(panic_port),
        cmocka_unit_test(test_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
