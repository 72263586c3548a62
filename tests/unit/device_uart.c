/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_uart.c - what drivers rely on in the 16550. */
#include "device_fixture.h"

#include "device/uart16550.h"

enum { BASE = 0x3f8, RBR = BASE, THR = BASE, IER = BASE + 1, IIR = BASE + 2, FCR = BASE + 2,
       LCR = BASE + 3, MCR = BASE + 4, LSR = BASE + 5, MSR = BASE + 6, SCR = BASE + 7 };
enum { ID = 0x0f, TIMEOUT_NS = 400000, SETTLE_NS = 10000000 };

static unsigned ready_calls;

static void ready(void *opaque)
{
    ready_calls++;
}

static void init(struct bench *b)
{
    struct device_env env = bench_init(b);
    struct uart16550_config cfg = {.name = "com1", .port = BASE, .irq = bench_line(b),
                                   .write = bench_text, .ready = ready, .opaque = b};

    ready_calls = 0;
    b->dev = uart16550_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
}

static void receive(struct bench *b, const char *text)
{
    uart16550_receive(b->dev, (const uint8_t *)text, strlen(text));
}

static void registers_after_reset(void **state)
{
    struct bench b;

    init(&b);
    assert_int_equal(inb(&b, IER), 0);
    assert_int_equal(inb(&b, IIR), 0x01);
    assert_int_equal(inb(&b, LCR), 0);
    assert_int_equal(inb(&b, MCR), 0);
    assert_int_equal(inb(&b, LSR), 0x60);
    assert_int_equal(inb(&b, MSR), 0xb0);
    assert_false(b.line);
    bench_fini(&b);
}

static void writes_go_out_at_once(void **state)
{
    struct bench b;

    init(&b);
    for (const char *p = "hello"; *p; p++)
        outb(&b, THR, (uint8_t)*p);
    assert_string_equal(b.text, "hello");
    bench_fini(&b);
}

static void divisor_and_scratch_are_storage(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, LCR, 0x83);
    outb(&b, THR, 0x01);
    outb(&b, IER, 0x02);
    assert_int_equal(inb(&b, RBR), 0x01);
    assert_int_equal(inb(&b, IER), 0x02);
    outb(&b, LCR, 0x03);
    assert_int_equal(inb(&b, IER), 0);
    outb(&b, SCR, 0xa5);
    assert_int_equal(inb(&b, SCR), 0xa5);
    assert_int_equal(b.text_len, 0);
    /* Upper bits of IER and MCR do not exist: how a driver tells the type. */
    outb(&b, IER, 0xf0);
    assert_int_equal(inb(&b, IER), 0);
    outb(&b, MCR, 0xe0);
    assert_int_equal(inb(&b, MCR), 0);
    bench_fini(&b);
}

static void fifo_bits_in_iir(void **state)
{
    struct bench b;

    init(&b);
    assert_int_equal(inb(&b, IIR) & 0xc0, 0);
    outb(&b, FCR, 0x01);
    assert_int_equal(inb(&b, IIR) & 0xc0, 0xc0);
    outb(&b, FCR, 0x00);
    assert_int_equal(inb(&b, IIR) & 0xc0, 0);
    bench_fini(&b);
}

static void thre_interrupt(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, IER, 0x02);         /* raises it: THR is empty */
    assert_true(b.line);
    assert_int_equal(inb(&b, IIR) & ID, 0x02);
    assert_false(b.line);        /* reading IIR took it away */
    assert_int_equal(inb(&b, IIR) & ID, 0x01);
    unsigned before = b.rises;
    outb(&b, THR, 'x');          /* and every write makes an edge */
    outb(&b, THR, 'y');
    assert_int_equal(b.rises, before + 2);
    outb(&b, IER, 0);
    assert_false(b.line);
    bench_fini(&b);
}

static void receive_interrupt_without_fifo(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, IER, 0x01);
    bench_run(&b, SETTLE_NS);
    assert_int_equal(uart16550_room(b.dev), 1);
    receive(&b, "a");
    assert_int_equal(uart16550_room(b.dev), 0);
    assert_true(b.line);
    assert_int_equal(inb(&b, IIR) & ID, 0x04);
    assert_int_equal(inb(&b, LSR), 0x61);
    receive(&b, "b");            /* overrun: the new byte takes the place */
    assert_int_equal(inb(&b, LSR), 0x63);
    assert_int_equal(inb(&b, LSR), 0x61);
    assert_int_equal(inb(&b, RBR), 'b');
    assert_int_equal(ready_calls, 2);    /* one when it began to listen */
    assert_false(b.line);
    bench_fini(&b);
}

static void fifo_trigger_and_timeout(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, FCR, 0x81);         /* trigger at 8 */
    outb(&b, IER, 0x01);
    receive(&b, "1234567");
    assert_false(b.line);
    receive(&b, "8");
    assert_int_equal(inb(&b, IIR) & ID, 0x04);
    assert_int_equal(inb(&b, RBR), '1');
    assert_false(b.line);        /* below the level again */
    bench_run(&b, TIMEOUT_NS);
    assert_true(b.line);
    assert_int_equal(inb(&b, IIR) & ID, 0x0c);
    assert_int_equal(inb(&b, RBR), '2');
    assert_false(b.line);        /* a read starts the time-out anew */
    bench_run(&b, TIMEOUT_NS);
    assert_true(b.line);
    for (char c = '3'; c <= '8'; c++)
        assert_int_equal(inb(&b, RBR), c);
    bench_run(&b, TIMEOUT_NS);
    assert_false(b.line);
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    bench_fini(&b);
}

static void fifo_overrun_keeps_the_old(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, FCR, 0x01);
    outb(&b, IER, 0x05);
    assert_int_equal(uart16550_room(b.dev), 16);
    receive(&b, "0123456789abcdef");
    outb(&b, IER, 0x04);
    assert_int_equal(uart16550_room(b.dev), 0);
    assert_false(b.line);
    receive(&b, "X");
    assert_int_equal(inb(&b, IIR) & ID, 0x06);
    assert_int_equal(inb(&b, LSR) & 0x1f, 0x03);
    assert_false(b.line);
    for (const char *p = "0123456789abcdef"; *p; p++)
        assert_int_equal(inb(&b, RBR), *p);
    assert_int_equal(inb(&b, LSR), 0x60);
    receive(&b, "z");
    outb(&b, FCR, 0x03);         /* reset of the receiver */
    assert_int_equal(inb(&b, LSR), 0x60);
    bench_fini(&b);
}

static void break_is_shown_with_its_byte(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, FCR, 0x01);
    outb(&b, IER, 0x05);
    receive(&b, "a");
    uart16550_break(b.dev);
    assert_int_equal(inb(&b, LSR), 0xe1);     /* an error further back */
    assert_int_equal(inb(&b, RBR), 'a');
    assert_int_equal(inb(&b, IIR) & ID, 0x06);
    assert_int_equal(inb(&b, LSR), 0xf1);
    assert_int_equal(inb(&b, LSR), 0x61);
    assert_int_equal(inb(&b, RBR), 0);
    bench_fini(&b);
}

static void priorities(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, MCR, 0x10);         /* loopback: modem inputs drop */
    outb(&b, IER, 0x0f);
    outb(&b, THR, 'a');
    outb(&b, THR, 'b');          /* overrun */
    assert_int_equal(inb(&b, IIR) & ID, 0x06);
    inb(&b, LSR);
    assert_int_equal(inb(&b, IIR) & ID, 0x04);
    assert_int_equal(inb(&b, RBR), 'b');
    assert_int_equal(inb(&b, IIR) & ID, 0x02);
    assert_int_equal(inb(&b, IIR) & ID, 0x00);
    inb(&b, MSR);
    assert_int_equal(inb(&b, IIR) & ID, 0x01);
    assert_false(b.line);
    assert_int_equal(b.text_len, 0);
    bench_fini(&b);
}

static void loopback_connects_modem_lines(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, MCR, 0x1a);         /* RTS, OUT2: Linux's test for a UART */
    assert_int_equal(inb(&b, MSR) & 0xf0, 0x90);
    outb(&b, MCR, 0x1f);
    inb(&b, MSR);
    assert_int_equal(inb(&b, MSR), 0xf0);
    outb(&b, MCR, 0x1b);         /* RI goes away: trailing edge */
    assert_int_equal(inb(&b, MSR), 0xb4);
    outb(&b, MCR, 0x1f);         /* comes: no delta */
    assert_int_equal(inb(&b, MSR), 0xf0);
    assert_int_equal(uart16550_room(b.dev), 0);
    receive(&b, "lost");
    outb(&b, IER, 0x01);
    bench_run(&b, SETTLE_NS);
    assert_int_equal(uart16550_room(b.dev), 0);
    unsigned before = ready_calls;
    outb(&b, MCR, 0x0b);
    assert_int_equal(ready_calls, before + 1);
    assert_int_equal(uart16550_room(b.dev), 1);
    assert_int_equal(inb(&b, LSR), 0x60);
    bench_fini(&b);
}

/* What is typed before a driver has set up must not be lost to its start. */
static void input_waits_for_a_driver(void **state)
{
    struct bench b;

    init(&b);
    assert_int_equal(uart16550_room(b.dev), 0);
    for (const char *p = "console output while booting"; *p; p++) {
        inb(&b, LSR);
        outb(&b, THR, (uint8_t)*p);
        inb(&b, LSR);
    }
    outb(&b, FCR, 0x07);
    outb(&b, MCR, 0x0b);
    for (int i = 0; i < 8; i++)
        inb(&b, LSR);
    assert_int_equal(uart16550_room(b.dev), 0);
    assert_int_equal(ready_calls, 0);
    outb(&b, IER, 0x05);
    assert_int_equal(ready_calls, 1);
    assert_int_equal(uart16550_room(b.dev), 16);
    receive(&b, "ab");
    inb(&b, RBR);
    assert_int_equal(ready_calls, 1);    /* asks again once it is empty */
    inb(&b, RBR);
    assert_int_equal(ready_calls, 2);
    outb(&b, IER, 0);                    /* the driver leaves */
    outb(&b, FCR, 0);
    assert_int_equal(uart16550_room(b.dev), 0);
    outb(&b, IER, 0x05);                 /* and comes back, in Linux' order */
    assert_int_equal(uart16550_room(b.dev), 0);
    outb(&b, FCR, 0x01);
    outb(&b, FCR, 0x81);
    assert_int_equal(uart16550_room(b.dev), 16);
    bench_run(&b, SETTLE_NS);
    assert_true(clock_next_deadline_ns(b.clock) == CLOCK_NEVER);
    bench_fini(&b);
}

static void polling_is_listening_too(void **state)
{
    struct bench b;

    init(&b);
    outb(&b, FCR, 0x01);
    for (int i = 0; i < 1000 && !ready_calls; i++)
        inb(&b, LSR);
    assert_int_equal(ready_calls, 1);
    assert_int_equal(uart16550_room(b.dev), 16);
    receive(&b, "a");
    assert_int_equal(inb(&b, LSR), 0x61);
    outb(&b, THR, inb(&b, RBR));         /* an echo changes nothing */
    assert_int_equal(uart16550_room(b.dev), 16);
    outb(&b, FCR, 0x07);                 /* another driver starts */
    assert_int_equal(uart16550_room(b.dev), 0);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_after_reset),
        cmocka_unit_test(writes_go_out_at_once),
        cmocka_unit_test(divisor_and_scratch_are_storage),
        cmocka_unit_test(fifo_bits_in_iir),
        cmocka_unit_test(thre_interrupt),
        cmocka_unit_test(receive_interrupt_without_fifo),
        cmocka_unit_test(fifo_trigger_and_timeout),
        cmocka_unit_test(fifo_overrun_keeps_the_old),
        cmocka_unit_test(break_is_shown_with_its_byte),
        cmocka_unit_test(priorities),
        cmocka_unit_test(loopback_connects_modem_lines),
        cmocka_unit_test(input_waits_for_a_driver),
        cmocka_unit_test(polling_is_listening_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
