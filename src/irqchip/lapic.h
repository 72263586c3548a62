/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lapic.h - the local APIC of one processor (private to irqchip).
 *
 * Follows the Intel SDM vol. 3 ch. "Advanced Programmable Interrupt Controller
 * (APIC)": xAPIC and x2APIC modes, timer with one-shot, periodic and
 * TSC-deadline modes, six LVT entries without CMCI, EOI-broadcast suppression.
 *
 *   lapic.c        registers as MMIO page and as MSRs, IA32_APIC_BASE, device
 *   lapic_irq.c    IRR/ISR/PPR, messages in and out, local vector table, errors
 *   lapic_timer.c  the timer
 *
 * Registers live in state.reg[] by offset >> 4, except what is computed when it
 * is read: PPR and the timer's current count. VM lock held in every function,
 * except lapic_in_page().
 */
#ifndef RING3_IRQCHIP_LAPIC_H
#define RING3_IRQCHIP_LAPIC_H

#include "base/clock.h"
#include "bus/device.h"
#include "irqchip/apic_bus.h"
#include "irqchip/intc.h"
#include "irqchip/state.h"

enum lapic_reg {
    LAPIC_ID = 0x02, LAPIC_VERSION = 0x03, LAPIC_TPR = 0x08, LAPIC_APR = 0x09, LAPIC_PPR = 0x0a,
    LAPIC_EOI = 0x0b, LAPIC_RRD = 0x0c, LAPIC_LDR = 0x0d, LAPIC_DFR = 0x0e, LAPIC_SVR = 0x0f,
    LAPIC_ISR = 0x10, LAPIC_TMR = 0x18, LAPIC_IRR = 0x20, LAPIC_ESR = 0x28, LAPIC_ICR = 0x30,
    LAPIC_ICR_HIGH = 0x31, LAPIC_LVT_TIMER = 0x32, LAPIC_LVT_THERMAL = 0x33, LAPIC_LVT_PMC = 0x34,
    LAPIC_LVT_LINT0 = 0x35, LAPIC_LVT_LINT1 = 0x36, LAPIC_LVT_ERROR = 0x37, LAPIC_TMICT = 0x38,
    LAPIC_TMCCT = 0x39, LAPIC_TDCR = 0x3e, LAPIC_SELF_IPI = 0x3f,
};

enum { LAPIC_BASE_BSP = 1 << 8, LAPIC_BASE_EXTD = 1 << 10, LAPIC_BASE_EN = 1 << 11 };
enum { LAPIC_SVR_ENABLE = 1 << 8, LAPIC_SVR_NO_EOI_BROADCAST = 1 << 12 };
enum { LAPIC_LVT_DELIVERY_SHIFT = 8, LAPIC_LVT_LEVEL = 1 << 15, LAPIC_LVT_MASKED = 1 << 16,
       LAPIC_LVT_TIMER_MODE = 3 << 17, LAPIC_LVT_PERIODIC = 1 << 17,
       LAPIC_LVT_TSC_DEADLINE = 2 << 17 };
enum { LAPIC_ESR_SEND_VECTOR = 1 << 5, LAPIC_ESR_RECEIVE_VECTOR = 1 << 6,
       LAPIC_ESR_REGISTER = 1 << 7 };
enum { LAPIC_VECTOR_MIN = 16 };

struct lapic_config {
    unsigned index;                 /* vCPU index = initial APIC ID */
    struct apic_bus *bus;
    const struct intc_cpu_ops *cpu;
    void *cpu_opaque;
    bool x2apic;
    unsigned phys_bits;
};

struct lapic {
    struct device dev;
    struct lapic_state state;
    struct lapic_config config;
    struct clock *clock;
    struct log *log;
    struct timer timer;
    bool intr;                      /* what the processor was last told; derived */
};

/* env needs only a clock and a log. The caller puts it on config.bus. */
struct device *lapic_new(const struct device_env *env, const struct lapic_config *cfg,
                         struct error **err);

static inline struct lapic *lapic_of(struct device *dev)
{
    return container_of(dev, struct lapic, dev);
}

static inline bool lapic_enabled(const struct lapic *l)
{
    return l->state.apic_base & LAPIC_BASE_EN;
}

static inline bool lapic_x2apic(const struct lapic *l)
{
    return (l->state.apic_base & LAPIC_BASE_EXTD) && lapic_enabled(l);
}

/* ---- lapic.c ---- */
/* Whether `a` is in this APIC's page now; xAPIC mode only. For the vCPU's own
 * thread without the VM lock: only that thread changes IA32_APIC_BASE. */
bool lapic_in_page(const struct lapic *l, gpa_t a);
uint64_t lapic_mmio_read(struct lapic *l, uint32_t offset, unsigned size);
void lapic_mmio_write(struct lapic *l, uint32_t offset, unsigned size, uint64_t value);
int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value);
int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value);
/* The INIT state: like power-on, but IA32_APIC_BASE stays. */
void lapic_init_state(struct lapic *l);

/* ---- lapic_irq.c ---- */
bool lapic_accepts(const struct lapic *l);          /* fixed and lowest-priority messages */
bool lapic_matches(const struct lapic *l, uint32_t dest, bool logical);
uint8_t lapic_priority(const struct lapic *l);      /* PPR */
bool lapic_receive(struct lapic *l, const struct apic_message *msg);
void lapic_lvt_deliver(struct lapic *l, enum lapic_reg lvt);
void lapic_lint_set(struct lapic *l, unsigned pin, bool level);
void lapic_icr_send(struct lapic *l);
void lapic_self_ipi(struct lapic *l, uint8_t vector);
void lapic_eoi(struct lapic *l);
void lapic_error(struct lapic *l, uint32_t esr_bit);
void lapic_update(struct lapic *l);                 /* tell the processor what changed */
bool lapic_extint_wanted(const struct lapic *l);    /* the next INTA goes to the 8259 */
int lapic_ack(struct lapic *l);                     /* own vector, or -1 */

/* ---- lapic_timer.c ---- */
void lapic_timer_init(struct lapic *l);
uint32_t lapic_timer_count(const struct lapic *l);  /* TMCCT */
void lapic_timer_start(struct lapic *l);            /* TMICT was written */
void lapic_timer_divide(struct lapic *l, uint32_t tdcr);
void lapic_timer_mode(struct lapic *l, uint32_t lvt);   /* before the LVT register changes */
uint64_t lapic_timer_deadline(const struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, uint64_t ticks);
void lapic_timer_stop(struct lapic *l);             /* quiesce: state stays */
void lapic_timer_rearm(struct lapic *l);

#endif
