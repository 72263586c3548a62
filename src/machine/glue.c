/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * glue.c - what an engine asks for, answered by bus and interrupt controllers;
 * what the interrupt controllers decide, told to the vCPUs.
 */
#include "machine/impl.h"

#include "irqchip/intc.h"

/* The time is the devices' until device_left(). */
static uint8_t device_entered(struct machine *m, unsigned vcpu)
{
    return engine_vcpu_does(m->vcpu[vcpu].engine, ENGINE_DOES_DEVICE);
}

static void device_left(struct machine *m, unsigned vcpu, uint8_t before)
{
    engine_vcpu_does(m->vcpu[vcpu].engine, (enum engine_doing)before);
    if (unlikely(m->yields))
        engine_vcpu_request(m->vcpu[vcpu].engine, REQUEST_EXIT);
}

static void count_exits(struct machine *m, unsigned vcpu, enum hypercall_exit kind, uint64_t by)
{
    _Atomic uint64_t *n = &m->vcpu[vcpu].exits[kind];

    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static void count_exit(struct machine *m, unsigned vcpu, enum hypercall_exit kind)
{
    count_exits(m, vcpu, kind, 1);
}

static uint64_t pio_read(void *guest, unsigned vcpu, uint16_t port, unsigned size)
{
    struct machine *m = guest;
    uint8_t before = device_entered(m, vcpu);
    uint64_t value;

    count_exit(m, vcpu, HYPERCALL_IO_IN);
    if (!m->hypercalls || !hypercalls_port_read(m->hypercalls, vcpu, port, size, &value))
        value = bus_read(m->bus, BUS_PIO, port, size);
    device_left(m, vcpu, before);
    return value;
}

static void pio_write(void *guest, unsigned vcpu, uint16_t port, unsigned size, uint64_t value)
{
    struct machine *m = guest;
    uint8_t before = device_entered(m, vcpu);

    count_exit(m, vcpu, HYPERCALL_IO_OUT);
    if (!m->hypercalls || !hypercalls_port_write(m->hypercalls, vcpu, port, size, value))
        bus_write(m->bus, BUS_PIO, port, size, value);
    device_left(m, vcpu, before);
}

static size_t pio_string(void *guest, unsigned vcpu, uint16_t port, unsigned size, void *buf,
                         size_t count, bool write)
{
    struct machine *m = guest;
    uint8_t before = device_entered(m, vcpu);
    size_t done = bus_string(m->bus, port, size, buf, count, write);

    count_exits(m, vcpu, write ? HYPERCALL_IO_OUT : HYPERCALL_IO_IN, done);

    device_left(m, vcpu, before);
    return done;
}

static uint64_t mmio_read(void *guest, unsigned vcpu, gpa_t a, unsigned size)
{
    struct machine *m = guest;
    uint8_t before = device_entered(m, vcpu);
    uint64_t value;

    count_exit(m, vcpu, HYPERCALL_MMIO_READ);
    if (!m->intc || !intc_mmio_read(m->intc, vcpu, a, size, &value))
        value = bus_read(m->bus, BUS_MMIO, a.v, size);
    device_left(m, vcpu, before);
    return value;
}

static void mmio_write(void *guest, unsigned vcpu, gpa_t a, unsigned size, uint64_t value)
{
    struct machine *m = guest;
    uint8_t before = device_entered(m, vcpu);

    count_exit(m, vcpu, HYPERCALL_MMIO_WRITE);
    if ((!m->intc || !intc_mmio_write(m->intc, vcpu, a, size, value)) &&
        (!m->hypercalls || !hypercalls_mmio_write(m->hypercalls, vcpu, a, size, value)))
        bus_write(m->bus, BUS_MMIO, a.v, size, value);
    device_left(m, vcpu, before);
}

static int intr_ack(void *guest, unsigned vcpu)
{
    struct machine *m = guest;

    return m->intc ? intc_ack(m->intc, vcpu) : -1;
}

static uint8_t tpr_get(void *guest, unsigned vcpu)
{
    struct machine *m = guest;

    return m->intc ? intc_tpr_get(m->intc, vcpu) : 0;
}

static void tpr_set(void *guest, unsigned vcpu, uint8_t tpr)
{
    struct machine *m = guest;

    if (m->intc)
        intc_tpr_set(m->intc, vcpu, tpr);
}

static int msr_read(void *guest, unsigned vcpu, uint32_t msr, uint64_t *value)
{
    struct machine *m = guest;

    return m->intc ? intc_msr_read(m->intc, vcpu, msr, value) : -1;
}

static int msr_write(void *guest, unsigned vcpu, uint32_t msr, uint64_t value)
{
    struct machine *m = guest;

    return m->intc ? intc_msr_write(m->intc, vcpu, msr, value) : -1;
}

static int64_t hypercall(void *guest, unsigned vcpu, uint64_t number, const uint64_t arg[4],
                         unsigned word_bits)
{
    struct machine *m = guest;

    if (number == X86_KVM_SEND_IPI && m->intc)
        return intc_send_many(m->intc, vcpu, arg, word_bits, (uint32_t)arg[2], arg[3]);
    return -X86_KVM_ENOSYS;
}

const struct guest_ops machine_guest_ops = {
    .pio_read = pio_read,
    .pio_write = pio_write,
    .pio_string = pio_string,
    .mmio_read = mmio_read,
    .mmio_write = mmio_write,
    .intr_ack = intr_ack,
    .tpr_get = tpr_get,
    .tpr_set = tpr_set,
    .msr_read = msr_read,
    .msr_write = msr_write,
    .hypercall = hypercall,
};

/* ---- from the interrupt controllers (VM lock held) ---------------------- */

static void cpu_intr(void *opaque, unsigned cpu, bool pending)
{
    struct machine *m = opaque;

    if (pending)
        vcpu_request(&m->vcpu[cpu], REQUEST_INTR);
    else
        engine_vcpu_clear(m->vcpu[cpu].engine, REQUEST_INTR);
}

static void cpu_nmi(void *opaque, unsigned cpu)
{
    struct machine *m = opaque;

    vcpu_request(&m->vcpu[cpu], engine_vcpu_nmi(m->vcpu[cpu].engine));
}

static void cpu_init(void *opaque, unsigned cpu)
{
    struct machine *m = opaque;

    /* A SIPI from before is not the one it will wait for. */
    engine_vcpu_clear(m->vcpu[cpu].engine, REQUEST_SIPI);
    vcpu_request(&m->vcpu[cpu], REQUEST_INIT);
}

static void cpu_sipi(void *opaque, unsigned cpu, uint8_t vector)
{
    struct machine *m = opaque;

    atomic_store(&m->vcpu[cpu].engine->sipi_vector, vector);
    vcpu_request(&m->vcpu[cpu], REQUEST_SIPI);
}

const struct intc_cpu_ops machine_intc_cpu_ops = {
    .intr = cpu_intr,
    .nmi = cpu_nmi,
    .init = cpu_init,
    .sipi = cpu_sipi,
};
