/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * intc.c - the wiring between 8259 pair, IOAPIC and local APICs, and the door
 * through which vCPUs come in.
 *
 * Nothing here is state: levels live in the chips, and the wiring is fixed.
 */
#include "irqchip/intc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/error.h"
#include "bus/bus.h"
#include "irqchip/i8259.h"
#include "irqchip/ioapic.h"
#include "irqchip/lapic.h"

enum { ISA_IRQS = 16, ISA_TIMER_PIN = 2, PIC_PIN = 0, PHYS_BITS_DEFAULT = 40 };

struct intc {
    pthread_mutex_t *lock;
    struct apic_bus apic_bus;
    struct device *pic, *ioapic;
    struct lapic *lapic[INTC_MAX_CPUS];
    unsigned cpus;
};

/* ---- wires ---- */

/* The pair's INT output: LINT0 of every processor, and IOAPIC pin 0, where an
 * operating system may ask for it as ExtINT (MP specification 1.4, 3.6.2.2). */
static void pic_intr_set(void *opaque, unsigned n, bool level)
{
    struct intc *intc = opaque;

    for (unsigned i = 0; i < intc->cpus; i++)
        lapic_lint_set(intc->lapic[i], 0, level);
    ioapic_set(intc->ioapic, PIC_PIN, level);
}

static void gsi_set(void *opaque, unsigned gsi, bool level)
{
    struct intc *intc = opaque;

    if (gsi < ISA_IRQS && intc->pic) {
        struct irq_line line = i8259_line(intc->pic, gsi);
        irq_line_set(&line, level);
    }
    ioapic_set(intc->ioapic, gsi == 0 && intc->pic ? ISA_TIMER_PIN : gsi, level);
}

struct irq_line intc_gsi(struct intc *intc, unsigned gsi)
{
    if (gsi >= IOAPIC_PINS || (gsi == ISA_TIMER_PIN && intc->pic))
        return (struct irq_line){0};
    return (struct irq_line){gsi_set, intc, gsi};
}

static void lint1_set(void *opaque, unsigned n, bool level)
{
    struct intc *intc = opaque;

    for (unsigned i = 0; i < intc->cpus; i++)
        lapic_lint_set(intc->lapic[i], 1, level);
}

struct irq_line intc_lint1(struct intc *intc)
{
    return (struct irq_line){lint1_set, intc, 0};
}

static void msi_send(void *opaque, uint64_t address, uint32_t data)
{
    struct intc *intc = opaque;

    apic_bus_msi(&intc->apic_bus, address, data);
}

struct irq_msi intc_msi(struct intc *intc)
{
    return (struct irq_msi){msi_send, intc};
}

static void eoi_broadcast(void *opaque, uint8_t vector)
{
    struct intc *intc = opaque;

    ioapic_eoi(intc->ioapic, vector);
}

static void apic_ready(void *opaque)
{
    struct intc *intc = opaque;

    ioapic_retry(intc->ioapic);
}

/* ---- life ---- */

static int make_parts(struct intc *intc, const struct device_env *env,
                      const struct intc_config *cfg, struct error **err)
{
    struct lapic_config lapic = {
        .bus = &intc->apic_bus,
        .cpu = cfg->cpu,
        .cpu_opaque = cfg->cpu_opaque,
        .x2apic = cfg->x2apic,
        .phys_bits = cfg->phys_bits ? cfg->phys_bits : PHYS_BITS_DEFAULT,
    };
    struct ioapic_config ioapic = {.bus = &intc->apic_bus, .base = INTC_IOAPIC_BASE};
    struct i8259_config pic = {.intr = {pic_intr_set, intc, 0}, .elcr = cfg->elcr};

    for (unsigned i = 0; i < cfg->cpus; i++) {
        lapic.index = i;
        struct device *dev = lapic_new(env, &lapic, err);
        if (!dev)
            return -ENOMEM;
        intc->lapic[i] = lapic_of(dev);
        intc->apic_bus.cpus = intc->cpus = i + 1;
    }
    /* The pair last: its constructor already drives the wires to the others. */
    intc->ioapic = ioapic_new(env, &ioapic, err);
    if (!intc->ioapic)
        return -EINVAL;
    if (cfg->no_pic)
        return 0;
    intc->pic = i8259_new(env, &pic, err);
    return intc->pic ? 0 : -EINVAL;
}

struct intc *intc_new(const struct device_env *env, const struct intc_config *cfg,
                      struct error **err)
{
    struct intc *intc;

    if (cfg->cpus < 1 || cfg->cpus > INTC_MAX_CPUS) {
        error_set(err, EINVAL, "cannot have %u processors (1 to %d)", cfg->cpus, INTC_MAX_CPUS);
        return NULL;
    }
    intc = calloc(1, sizeof *intc);
    if (!intc) {
        error_set(err, ENOMEM, "no memory for the interrupt controllers");
        return NULL;
    }
    intc->lock = bus_lock(env->bus);
    intc->apic_bus = (struct apic_bus){.lapic = intc->lapic, .eoi = eoi_broadcast,
                                       .ready = apic_ready, .opaque = intc};
    if (make_parts(intc, env, cfg, err)) {
        intc_free(intc);
        return NULL;
    }
    return intc;
}

void intc_free(struct intc *intc)
{
    if (!intc)
        return;
    device_destroy(intc->pic);
    device_destroy(intc->ioapic);
    for (unsigned i = 0; i < intc->cpus; i++)
        device_destroy(&intc->lapic[i]->dev);
    free(intc);
}

size_t intc_devices(struct intc *intc, struct device **out, size_t max)
{
    size_t n = 0;

    for (unsigned i = 0; i < intc->cpus; i++, n++)
        if (n < max)
            out[n] = &intc->lapic[i]->dev;
    if (n < max)
        out[n] = intc->ioapic;
    if (n + 1 < max && intc->pic)
        out[n + 1] = intc->pic;
    return n + 1 + (intc->pic != NULL);
}

/* ---- vCPU side ---- */

static struct lapic *enter(struct intc *intc, unsigned vcpu)
{
    BUG_ON(vcpu >= intc->cpus);
    pthread_mutex_lock(intc->lock);
    return intc->lapic[vcpu];
}

static void leave(struct intc *intc)
{
    pthread_mutex_unlock(intc->lock);
}

int intc_ack(struct intc *intc, unsigned vcpu)
{
    struct lapic *l = enter(intc, vcpu);
    int vector = lapic_ack(l);

    if (vector < 0 && lapic_extint_wanted(l)) {
        l->state.extint_latched = false;
        vector = intc->pic ? i8259_ack(intc->pic) : -1;
    }
    lapic_update(l);
    leave(intc);
    return vector;
}

uint8_t intc_tpr_get(struct intc *intc, unsigned vcpu)
{
    struct lapic *l = enter(intc, vcpu);
    uint8_t cr8 = (uint8_t)l->state.reg[LAPIC_TPR] >> 4;

    leave(intc);
    return cr8;
}

void intc_tpr_set(struct intc *intc, unsigned vcpu, uint8_t cr8)
{
    struct lapic *l = enter(intc, vcpu);

    l->state.reg[LAPIC_TPR] = (cr8 & 0xfu) << 4;
    lapic_update(l);
    leave(intc);
}

int intc_msr_read(struct intc *intc, unsigned vcpu, uint32_t msr, uint64_t *value)
{
    int rc = lapic_msr_read(enter(intc, vcpu), msr, value);

    leave(intc);
    return rc;
}

int intc_msr_write(struct intc *intc, unsigned vcpu, uint32_t msr, uint64_t value)
{
    int rc = lapic_msr_write(enter(intc, vcpu), msr, value);

    leave(intc);
    return rc;
}

int intc_send_many(struct intc *intc, unsigned vcpu, const uint64_t mask[2], unsigned word_bits,
                   uint32_t min, uint64_t icr)
{
    struct lapic *l = enter(intc, vcpu);
    struct apic_message msg = {.vector = (uint8_t)icr, .delivery = icr >> 8 & 7};
    int taken = 0;

    for (unsigned i = 0; i < 2 * word_bits; i++) {
        uint64_t id = (uint64_t)min + i;

        if (!(mask[i / word_bits] >> i % word_bits & 1) || id >= APIC_DEST_BROADCAST)
            continue;
        msg.dest = (uint32_t)id;
        taken += apic_bus_send(l->config.bus, &msg);
    }
    leave(intc);
    return taken;
}

bool intc_mmio_read(struct intc *intc, unsigned vcpu, gpa_t a, unsigned size, uint64_t *value)
{
    BUG_ON(vcpu >= intc->cpus);
    if (!lapic_in_page(intc->lapic[vcpu], a))
        return false;
    *value = lapic_mmio_read(enter(intc, vcpu), a.v & PAGE_OFFSET_MASK, size);
    if (size < 8)
        *value &= (1ull << size * 8) - 1;
    leave(intc);
    return true;
}

bool intc_mmio_write(struct intc *intc, unsigned vcpu, gpa_t a, unsigned size, uint64_t value)
{
    BUG_ON(vcpu >= intc->cpus);
    if (!lapic_in_page(intc->lapic[vcpu], a))
        return false;
    lapic_mmio_write(enter(intc, vcpu), a.v & PAGE_OFFSET_MASK, size, value);
    leave(intc);
    return true;
}
