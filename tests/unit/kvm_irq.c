/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm_irq.c - interrupts: injected from user space, and by the kernel's own
 * controllers, whose devices are checked as well.
 */
#include "kvm_fixture.h"

#include <unistd.h>
#include "bus/device.h"
#include "irqchip/state.h"
#include "state/state.h"

enum { HANDLER = 0x3000, VECTOR = 0x41 };

/* A real-mode vector to HANDLER, which is: out 0xe0,al; iret */
static void install_handler(struct guest *g, unsigned vector)
{
    const uint8_t code[] = {0xe6, 0xe0, 0xcf};
    const uint16_t entry[] = {HANDLER, 0};

    memory_write(g->memory, gpa(HANDLER), code, sizeof(code));
    memory_write(g->memory, gpa(vector * 4), entry, sizeof(entry));
}

static void offer(struct guest *g, uint8_t vector)
{
    g->vectors[g->vectors_left++] = vector;
    engine_vcpu_request(g->vcpu[0], REQUEST_INTR);
}

/* out 0x10; out 0x11; sti; jmp $: not before STI. */
static void vector_waits_for_sti(void **state)
{
    struct guest *g = guest_new(1, 0);

    install_handler(g, VECTOR);
    GUEST_CODE_BYTES(g, 0xe6, 0x10, 0xe6, 0x11, 0xfb, 0xeb, 0xfe);
    guest_start_real(g, 0);
    offer(g, VECTOR);
    g->leave_after = 3;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, PIO_WRITE, 0x10, 1, 0);
    expect_access(g, 1, PIO_WRITE, 0x11, 1, 0);
    expect_access(g, 2, PIO_WRITE, 0xe0, 1, 0);
    assert_int_equal(counter_get(&g->vcpu[0]->counters, COUNTER_irq_injected), 1);
    assert_int_equal(atomic_load(&g->vcpu[0]->requests), 0);
    guest_free(g);
}

/* Two vectors, one after the other. */
static void two_vectors(void **state)
{
    struct guest *g = guest_new(1, 0);

    install_handler(g, VECTOR);
    install_handler(g, VECTOR + 1);
    GUEST_CODE_BYTES(g, 0xfb, 0x90, 0x90, 0x90, 0xeb, 0xfb);
    guest_start_real(g, 0);
    offer(g, VECTOR);
    offer(g, VECTOR + 1);
    g->leave_after = 2;
    guest_run(g, 0, ENGINE_KICKED);
    assert_int_equal(counter_get(&g->vcpu[0]->counters, COUNTER_irq_injected), 2);
    guest_free(g);
}

/* sti; hlt; out 0x10; cli; hlt */
static void halt_and_wake(void **state)
{
    struct guest *g = guest_new(1, 0);

    install_handler(g, VECTOR);
    GUEST_CODE_BYTES(g, 0xfb, 0xf4, 0xe6, 0x10, 0xfa, 0xf4, 0xe6, 0x11, 0xeb, 0xfe);
    guest_start_real(g, 0);
    guest_run(g, 0, ENGINE_HALTED);
    assert_true(atomic_load(&g->vcpu[0]->wake_mask) & REQUEST_INTR);
    assert_int_equal(guest_state(g, 0).ev.mp_state, X86_MP_HALTED);
    guest_run(g, 0, ENGINE_HALTED);                     /* nothing has changed */
    assert_int_equal(g->accesses, 0);
    offer(g, VECTOR);
    guest_run(g, 0, ENGINE_HALTED);                     /* the second HLT, IF clear */
    expect_access(g, 0, PIO_WRITE, 0xe0, 1, 0);
    expect_access(g, 1, PIO_WRITE, 0x10, 1, 0);
    assert_false(atomic_load(&g->vcpu[0]->wake_mask) & REQUEST_INTR);
    offer(g, VECTOR);                                   /* does not wake it now */
    guest_run(g, 0, ENGINE_HALTED);
    assert_int_equal(g->accesses, 2);
    /* A kick comes out and leaves it halted; an NMI wakes it. */
    engine_vcpu_request(g->vcpu[0], REQUEST_EXIT);
    guest_run(g, 0, ENGINE_KICKED);
    guest_run(g, 0, ENGINE_HALTED);
    install_handler(g, X86_NMI);
    engine_vcpu_request(g->vcpu[0], REQUEST_NMI);
    g->leave_after = 4;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 2, PIO_WRITE, 0xe0, 1, 0);
    expect_access(g, 3, PIO_WRITE, 0x11, 1, 0);
    guest_free(g);
}

static void processor_waits_for_sipi(void **state)
{
    struct guest *g = guest_new(2, 0);

    GUEST_CODE_BYTES(g, 0xe6, 0x10, 0xeb, 0xfe);
    guest_run(g, 1, ENGINE_HALTED);
    engine_vcpu_request(g->vcpu[1], REQUEST_SIPI);
    guest_run(g, 1, ENGINE_KICKED);
    engine_vcpu_clear(g->vcpu[1], REQUEST_SIPI);
    struct x86_state s = guest_state(g, 1);
    assert_int_equal(s.ev.mp_state, X86_MP_WAIT_FOR_SIPI);
    x86_state_sipi(&s, GUEST_CODE >> 12);
    guest_set_state(g, 1, &s);
    g->leave_after = 1;
    guest_run(g, 1, ENGINE_KICKED);
    assert_int_equal(g->access[0].vcpu, 1);
    guest_free(g);
}

/* CR8 at CPL 0: mov cr8,rsi; mov rax,cr8; out 0x10,al */
static void task_priority(void **state)
{
    struct guest *g = guest_new(1, 0);

    GUEST_CODE_BYTES(g, 0x44, 0x0f, 0x22, 0xc6, 0x44, 0x0f, 0x20, 0xc0, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 0);
    struct x86_state s = guest_state(g, 0);
    s.gpr[X86_RSI] = 5;
    guest_set_state(g, 0, &s);
    g->leave_after = 1;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, PIO_WRITE, 0x10, 1, 5);
    assert_int_equal(g->tpr, 5);
    guest_free(g);
}

/* The APIC's MSRs: mov ecx,0x1b; rdmsr; or ah,4 (x2APIC); wrmsr; mov ecx,0x808;
 * rdmsr; mov ecx,0x6e0; xor edx,edx; or eax,1; wrmsr; out 0x10,al */
static void apic_msrs(void **state)
{
    struct guest *g = guest_new(1, 0);

    GUEST_CODE_BYTES(g, 0xb9, 0x1b, 0x00, 0x00, 0x00, 0x0f, 0x32, 0x80, 0xcc, 0x04, 0x0f, 0x30,
                     0xb9, 0x08, 0x08, 0x00, 0x00, 0x0f, 0x32, 0xb9, 0xe0, 0x06, 0x00, 0x00,
                     0x31, 0xd2, 0x83, 0xc8, 0x01, 0x0f, 0x30, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 0);
    g->answer = 0x20;
    g->leave_after = 4;
    guest_run(g, 0, ENGINE_KICKED);
    /* The APIC base is told before the access that depends on it. */
    expect_access(g, 0, MSR_WRITE, 0x1b, 8, 0xfee00d00);
    expect_access(g, 1, MSR_READ, 0x808, 8, 0x20);
    assert_int_equal(g->access[2].kind, MSR_WRITE);
    assert_int_equal(g->access[2].address, 0x6e0);
    assert_true(g->access[2].value != 0);             /* clock ticks, in the past: now */
    expect_access(g, 3, PIO_WRITE, 0x10, 1, 0x21);
    guest_free(g);
}

/* ---- the kernel's controllers ----------------------------------------------- */

struct twins {
    struct device *dev[8];
    int count;
};

static struct twins make_twins(struct guest *g)
{
    struct device_env env = {.memory = g->memory, .clock = g->clock, .log = &g->log};
    struct twins t = {0};
    struct error *err = NULL;

    assert_non_null(g->vm->irqchip);
    t.count = g->vm->irqchip->devices(g->vm, &env, t.dev, ARRAY_SIZE(t.dev), &err);
    assert_int_equal(t.count, 3 + (int)g->cpus);
    return t;
}

static void free_twins(struct twins *t)
{
    for (int i = 0; i < t->count; i++)
        device_destroy(t->dev[i]);
}

static void *twin_state(struct twins *t, const char *type, const struct state_desc **desc)
{
    for (int i = 0; i < t->count; i++) {
        if (strcmp(t->dev[i]->ops->type, type) == 0) {
            void *state;
            const struct state_desc *d = t->dev[i]->ops->describe(t->dev[i], &state);
            if (desc)
                *desc = d;
            return state;
        }
    }
    fail_msg("no device of type %s", type);
    return NULL;
}

static struct device *twin_named(struct twins *t, const char *type)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->dev[i]->ops->type, type) == 0)
            return t->dev[i];
    return NULL;
}

static uint64_t digest(struct device *dev)
{
    void *state;
    const struct state_desc *desc = dev->ops->describe(dev, &state);
    return state_digest(desc, state);
}

/* After a reset the kernel's own idea of the state is what a new one's is. */
static void twins_reset_equals_new(void **state)
{
    struct guest *g = guest_new(2, FIXTURE_IRQCHIP);
    struct twins t = make_twins(g);

    for (int i = 0; i < t.count; i++) {
        struct device *dev = t.dev[i];
        uint64_t fresh = digest(dev);
        device_quiesce(dev);
        device_quiesce(dev);
        assert_true(digest(dev) == fresh);
        device_resume(dev);
        device_resume(dev);
        device_reset(dev);
        assert_true(digest(dev) == fresh);
    }
    free_twins(&t);
    guest_free(g);
}

/* Changed while quiesced, resumed, asked again: the kernel has it. */
static void twins_take_state(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct twins t = make_twins(g);

    for (int i = 0; i < t.count; i++)
        device_quiesce(t.dev[i]);
    struct i8259_pair_state *pic = twin_state(&t, "i8259", NULL);
    struct ioapic_state *ioapic = twin_state(&t, "ioapic", NULL);
    struct lapic_state *lapic = twin_state(&t, "lapic", NULL);
    struct i8254_state *pit = twin_state(&t, "i8254", NULL);
    pic->chip[0].irq_base = 0x20;
    pic->chip[0].imr = 0xfb;
    pic->chip[1].irq_base = 0x28;
    pic->chip[1].elcr = 0x02;
    ioapic->redir[5] = 0x10045;
    ioapic->ioregsel = 0x1a;
    lapic->reg[0x0f] = 0x1ff;                          /* enabled, spurious 0xff */
    lapic->reg[0x32] = 0x000300ec;                     /* masked timer, periodic */
    lapic->reg[0x3e] = 0xb;
    pit->channel[2].count = 0x1234;
    pit->channel[2].mode = 2;
    pit->channel[2].waiting = pit->channel[2].null_count = false;
    pit->channel[2].write_state = 1;
    for (int i = 0; i < t.count; i++)
        device_resume(t.dev[i]);
    pic = twin_state(&t, "i8259", NULL);
    assert_int_equal(pic->chip[0].irq_base, 0x20);
    assert_int_equal(pic->chip[0].imr, 0xfb);
    assert_int_equal(pic->chip[1].elcr, 0x02);
    ioapic = twin_state(&t, "ioapic", NULL);
    assert_int_equal(ioapic->redir[5], 0x10045);
    assert_int_equal(ioapic->redir[6], 0x10000);
    assert_int_equal(ioapic->ioregsel, 0x1a);
    lapic = twin_state(&t, "lapic", NULL);
    assert_int_equal(lapic->reg[0x0f], 0x1ff);
    assert_int_equal(lapic->reg[0x32], 0x000300ec);
    assert_int_equal(lapic->apic_base, 0xfee00900);
    pit = twin_state(&t, "i8254", NULL);
    assert_int_equal(pit->channel[2].count, 0x1234);
    assert_int_equal(pit->channel[2].mode, 2);
    assert_int_equal(pit->channel[2].write_state, 1);
    assert_false(pit->channel[2].waiting);
    assert_true(pit->channel[1].waiting);
    free_twins(&t);
    guest_free(g);
}

/* Line 5 through the kernel's 8259 into a real-mode handler, out of HLT. */
static void line_through_8259(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct twins t = make_twins(g);

    install_handler(g, 0x25);
    device_quiesce(twin_named(&t, "i8259"));
    struct i8259_pair_state *pic = twin_state(&t, "i8259", NULL);
    pic->chip[0].irq_base = 0x20;
    pic->chip[0].imr = 0xdf;
    pic->chip[1].imr = 0xff;
    device_resume(twin_named(&t, "i8259"));
    GUEST_CODE_BYTES(g, 0xfb, 0xf4, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_real(g, 0);
    g->vm->irqchip->set_line(g->vm, 5, true);
    g->leave_after = 2;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, PIO_WRITE, 0xe0, 1, 0);
    expect_access(g, 1, PIO_WRITE, 0x10, 1, 0);
    pic = twin_state(&t, "i8259", NULL);
    assert_int_equal(pic->chip[0].isr, 1 << 5);        /* nobody sent an EOI */
    g->vm->irqchip->set_line(g->vm, 5, false);
    free_twins(&t);
    guest_free(g);
}

/* The timer's line is on IOAPIC pin 2, as the MADT says. */
static void timer_line_is_pin_2(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct twins t = make_twins(g);

    device_quiesce(twin_named(&t, "ioapic"));
    struct ioapic_state *ioapic = twin_state(&t, "ioapic", NULL);
    ioapic->redir[2] = 0x8030;                         /* level, fixed, vector 0x30 */
    ioapic->redir[0] = 0x8031;
    device_resume(twin_named(&t, "ioapic"));
    g->vm->irqchip->set_line(g->vm, 0, true);
    ioapic = twin_state(&t, "ioapic", NULL);
    assert_true(ioapic->irr & 1 << 2);
    assert_false(ioapic->irr & 1 << 0);
    g->vm->irqchip->set_line(g->vm, 0, false);
    free_twins(&t);
    guest_free(g);
}

/* An MSI to the enabled local APIC shows up in its IRR. */
static void msi(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct twins t = make_twins(g);

    device_quiesce(twin_named(&t, "lapic"));
    ((struct lapic_state *)twin_state(&t, "lapic", NULL))->reg[0x0f] = 0x1ff;
    device_resume(twin_named(&t, "lapic"));
    g->vm->irqchip->msi(g->vm, 0xfee00000, 0x51);
    struct lapic_state *lapic = twin_state(&t, "lapic", NULL);
    assert_int_equal(lapic->reg[0x22], 1u << (0x51 & 31));
    free_twins(&t);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_waits_for_sti), cmocka_unit_test(two_vectors),
        cmocka_unit_test(halt_and_wake), cmocka_unit_test(processor_waits_for_sipi),
        cmocka_unit_test(task_priority), cmocka_unit_test(apic_msrs),
        cmocka_unit_test(twins_reset_equals_new), cmocka_unit_test(twins_take_state),
        cmocka_unit_test(line_through_8259), cmocka_unit_test(timer_line_is_pin_2),
        cmocka_unit_test(msi),
    };
    fixture_need_kvm();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
