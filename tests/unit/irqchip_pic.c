/* SPDX-License-Identifier: GPL-2.0-or-later */
/* irqchip_pic.c - the 8259 pair, as the bootstrap processor sees it. */
#include "irqchip_fixture.h"

#include "irqchip/i8259.h"
#include "irqchip/state.h"

enum { EOI = 0x20, READ_IRR = 0x0a, READ_ISR = 0x0b, POLL = 0x0c };

static void init(struct rack *r)
{
    rack_init(r);
    pic_setup(r, 0x01);
}

static void pulse(struct rack *r, unsigned irq)
{
    gsi_set(r, irq, true);
    gsi_set(r, irq, false);
}

static int ack(struct rack *r)
{
    return intc_ack(r->intc, 0);
}

static uint8_t read_reg(struct rack *r, uint16_t port, uint8_t ocw3)
{
    outb(&r->bench, port, ocw3);
    return inb(&r->bench, port);
}

static void reset_state_is_virtual_wire(void **state)
{
    struct rack r;

    rack_init(&r);
    assert_int_equal(apic_read(&r, 0, APIC_LINT0), 0x700);
    assert_int_equal(apic_read(&r, 1, APIC_LINT0), 0x10000);
    pic_setup(&r, 0x01);
    pulse(&r, 4);
    assert_true(r.cpu[0].intr);
    assert_false(r.cpu[1].intr);
    assert_int_equal(ack(&r), 0x34);
    assert_false(r.cpu[0].intr);
    rack_fini(&r);
}

static void lower_number_goes_first(void **state)
{
    struct rack r;

    init(&r);
    pulse(&r, 5);
    pulse(&r, 1);
    pulse(&r, 12);               /* slave: above 3 and below 1 */
    assert_int_equal(read_reg(&r, 0x20, READ_IRR), 0x26);
    assert_int_equal(read_reg(&r, 0xa0, READ_IRR), 0x10);
    assert_int_equal(ack(&r), 0x31);
    assert_int_equal(ack(&r), -1);            /* 1 is in service */
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), 0x3c);
    assert_int_equal(read_reg(&r, 0x20, READ_ISR), 0x04);
    assert_int_equal(read_reg(&r, 0xa0, READ_ISR), 0x10);
    outb(&r.bench, 0xa0, EOI);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), 0x35);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), -1);
    rack_fini(&r);
}

static void higher_one_nests(void **state)
{
    struct rack r;

    init(&r);
    pulse(&r, 6);
    assert_int_equal(ack(&r), 0x36);
    pulse(&r, 7);
    assert_false(r.cpu[0].intr);
    pulse(&r, 3);
    assert_true(r.cpu[0].intr);
    assert_int_equal(ack(&r), 0x33);
    outb(&r.bench, 0x20, EOI);   /* non-specific: ends 3 */
    assert_int_equal(read_reg(&r, 0x20, READ_ISR), 0x40);
    outb(&r.bench, 0x20, 0x66);  /* specific: 6 */
    assert_int_equal(ack(&r), 0x37);
    rack_fini(&r);
}

static void mask_holds_the_edge_back(void **state)
{
    struct rack r;

    init(&r);
    outb(&r.bench, 0x21, 0x10);
    pulse(&r, 4);
    assert_false(r.cpu[0].intr);
    assert_int_equal(inb(&r.bench, 0x21), 0x10);
    outb(&r.bench, 0x21, 0);
    assert_int_equal(ack(&r), 0x34);
    rack_fini(&r);
}

static void level_input_asks_while_high(void **state)
{
    struct rack r;

    init(&r);
    outb(&r.bench, 0x4d0, 0xff); /* 0-2 cannot be level */
    outb(&r.bench, 0x4d1, 0xff);
    assert_int_equal(inb(&r.bench, 0x4d0), 0xf8);
    assert_int_equal(inb(&r.bench, 0x4d1), 0xde);
    gsi_set(&r, 10, true);
    assert_int_equal(ack(&r), 0x3a);
    outb(&r.bench, 0xa0, EOI);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), 0x3a);          /* still up */
    gsi_set(&r, 10, false);
    outb(&r.bench, 0xa0, EOI);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), -1);
    rack_fini(&r);
}

static void held_line_is_one_edge(void **state)
{
    struct rack r;

    init(&r);
    gsi_set(&r, 4, true);
    gsi_set(&r, 4, true);
    assert_int_equal(ack(&r), 0x34);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), -1);
    /* ICW1 forgets edges: the line has to rise again. */
    pic_setup(&r, 0x01);
    assert_int_equal(ack(&r), -1);
    gsi_set(&r, 4, false);
    gsi_set(&r, 4, true);
    assert_int_equal(ack(&r), 0x34);
    rack_fini(&r);
}

static void auto_eoi(void **state)
{
    struct rack r;

    rack_init(&r);
    pic_setup(&r, 0x03);
    pulse(&r, 4);
    pulse(&r, 5);
    assert_int_equal(ack(&r), 0x34);
    assert_int_equal(read_reg(&r, 0x20, READ_ISR), 0);
    assert_int_equal(ack(&r), 0x35);
    outb(&r.bench, 0x20, 0x80);  /* rotate on automatic EOI */
    pulse(&r, 3);
    assert_int_equal(ack(&r), 0x33);
    pulse(&r, 3);
    pulse(&r, 4);
    assert_int_equal(ack(&r), 0x34);          /* 3 is now the lowest */
    assert_int_equal(ack(&r), 0x33);
    rack_fini(&r);
}

static void rotation(void **state)
{
    struct rack r;

    init(&r);
    pulse(&r, 3);
    assert_int_equal(ack(&r), 0x33);
    outb(&r.bench, 0x20, 0xa0);  /* rotate on non-specific EOI: 3 becomes lowest */
    pulse(&r, 3);
    pulse(&r, 7);
    assert_int_equal(ack(&r), 0x37);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), 0x33);
    outb(&r.bench, 0x20, 0xe3);  /* rotate on specific EOI */
    outb(&r.bench, 0x20, 0xc5);  /* set priority: 5 lowest, 6 highest */
    pulse(&r, 0);
    pulse(&r, 6);
    assert_int_equal(ack(&r), 0x36);
    rack_fini(&r);
}

static void special_mask_mode(void **state)
{
    struct rack r;

    init(&r);
    pulse(&r, 1);
    assert_int_equal(ack(&r), 0x31);
    pulse(&r, 6);
    assert_false(r.cpu[0].intr);
    outb(&r.bench, 0x21, 0x02);
    outb(&r.bench, 0x20, 0x68);  /* set special mask */
    assert_int_equal(ack(&r), 0x36);
    outb(&r.bench, 0x20, EOI);   /* does not end the masked 1 */
    assert_int_equal(read_reg(&r, 0x20, READ_ISR), 0x02);
    outb(&r.bench, 0x20, 0x48);
    outb(&r.bench, 0x21, 0);
    rack_fini(&r);
}

static void special_fully_nested_mode(void **state)
{
    struct rack r;

    init(&r);
    pulse(&r, 14);
    assert_int_equal(ack(&r), 0x3e);
    pulse(&r, 9);
    assert_false(r.cpu[0].intr); /* fully nested: the slave is in service */
    pic_setup(&r, 0x11);
    pulse(&r, 14);
    assert_int_equal(ack(&r), 0x3e);
    pulse(&r, 9);
    assert_int_equal(ack(&r), 0x39);
    rack_fini(&r);
}

static void poll_command_acknowledges(void **state)
{
    struct rack r;

    init(&r);
    assert_int_equal(read_reg(&r, 0x20, POLL), 0);
    pulse(&r, 5);
    assert_int_equal(read_reg(&r, 0x20, POLL), 0x85);
    assert_int_equal(read_reg(&r, 0x20, READ_ISR), 0x20);
    assert_false(r.cpu[0].intr);
    outb(&r.bench, 0x20, EOI);
    pulse(&r, 11);
    assert_int_equal(read_reg(&r, 0x20, POLL), 0x82);
    assert_int_equal(read_reg(&r, 0xa0, POLL), 0x83);
    rack_fini(&r);
}

static void several_on_the_slave(void **state)
{
    struct rack r;

    init(&r);
    pulse(&r, 15);
    pulse(&r, 8);
    assert_int_equal(ack(&r), 0x38);
    outb(&r.bench, 0xa0, EOI);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), 0x3f);
    outb(&r.bench, 0xa0, EOI);
    outb(&r.bench, 0x20, EOI);
    assert_int_equal(ack(&r), -1);
    rack_fini(&r);
}

static void ignore_level(void *opaque, unsigned n, bool level) {}

/* An INTA cycle without a request, which a processor starts when the request
 * goes away after it has seen INTR. */
static void spurious_interrupts(void **state)
{
    struct bench b;
    struct device_env env = bench_init(&b);
    struct i8259_config cfg = {.intr = {ignore_level, NULL, 0}};

    b.dev = i8259_new(&env, &cfg, NULL);
    outb(&b, 0x20, 0x11);
    outb(&b, 0x21, 0x30);
    outb(&b, 0x21, 0x04);
    outb(&b, 0x21, 0x01);
    assert_int_equal(i8259_ack(b.dev), 0x37);
    outb(&b, 0x20, READ_ISR);
    assert_int_equal(inb(&b, 0x20), 0);       /* that is how a handler tells */

    /* The master has latched a request that the slave no longer makes: only an
     * in-kernel twin saves such a state. */
    void *s;
    b.dev->ops->describe(b.dev, &s);
    struct i8259_pair_state *pair = s;
    pair->chip[1].irq_base = 0x38;
    pair->chip[0].irr = 0x04;
    device_resume(b.dev);
    assert_true(i8259_intr(b.dev));
    assert_int_equal(i8259_ack(b.dev), 0x3f);
    assert_int_equal(pair->chip[0].isr, 0x04);
    assert_int_equal(pair->chip[1].isr, 0);
    bench_fini(&b);
}

static void spurious_through_the_ioapic(void **state)
{
    struct rack r;

    init(&r);
    apic_enable_all(&r);
    apic_write(&r, 0, APIC_LINT0, 0x10700);   /* no virtual wire */
    ioapic_route(&r, 0, 0x700, 0);            /* ExtINT through pin 0 */
    gsi_set(&r, 4, true);
    assert_true(r.cpu[0].intr);
    outb(&r.bench, 0x21, 0xff);               /* masked before the INTA */
    assert_int_equal(ack(&r), 0x37);
    outb(&r.bench, 0x21, 0x00);
    assert_int_equal(ack(&r), 0x34);
    rack_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_state_is_virtual_wire),
        cmocka_unit_test(lower_number_goes_first),
        cmocka_unit_test(higher_one_nests),
        cmocka_unit_test(mask_holds_the_edge_back),
        cmocka_unit_test(level_input_asks_while_high),
        cmocka_unit_test(held_line_is_one_edge),
        cmocka_unit_test(auto_eoi),
        cmocka_unit_test(rotation),
        cmocka_unit_test(special_mask_mode),
        cmocka_unit_test(special_fully_nested_mode),
        cmocka_unit_test(poll_command_acknowledges),
        cmocka_unit_test(several_on_the_slave),
        cmocka_unit_test(spurious_interrupts),
        cmocka_unit_test(spurious_through_the_ioapic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
