/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * intc.h - the interrupt controllers of a PC as one part: a pair of 8259A, one
 * IOAPIC and a local APIC per processor, wired together.
 *
 * A machine whose engine brings no controllers of its own makes one intc, gives
 * its GSI lines and its MSI to the devices, plugs the vCPU side into guest_ops
 * and hears about every change through intc_cpu_ops. The intc knows no engine.
 *
 * WIRING. GSIs are a PC's: 0-15 are the ISA interrupts, on the 8259 pair and on
 * the IOAPIC alike, 16-23 only on the IOAPIC. ISA interrupt 0 (the timer) is on
 * IOAPIC pin 2, so the MADT needs the interrupt source override 0 -> 2; GSI 2,
 * the 8259 cascade, cannot be driven. Lines are logical (true = asserted);
 * the polarity bit of a redirection entry is kept and has no effect. The INTR
 * output of the 8259 pair goes to LINT0 of every local APIC. As there is no
 * firmware, the bootstrap processor (index 0) comes out of reset in virtual
 * wire mode: LINT0 is unmasked ExtINT. An APIC switched off in IA32_APIC_BASE
 * passes INTR straight to its processor. APIC ID = vCPU index, IOAPIC ID = 0.
 *
 * WHO ACCESSES. The local APIC is the one chip whose answer depends on which
 * processor asks, and its page can be moved by each of them, so it is no bus
 * region: the machine's mmio_read/mmio_write ask intc_mmio_* first, with the
 * index of the calling vCPU, and go to the bus when that says false. Engines
 * make up-calls in the vCPU's own thread; the machine therefore knows the index
 * (its vCPU thread function keeps it). The address test touches only what the
 * calling vCPU itself changes and costs a compare; it takes no lock.
 *
 * THREADS. Functions under "vCPU side" are called without the VM lock and take
 * it. Everything else, and all intc_cpu_ops callbacks: VM lock held.
 *
 * STATE. The parts are devices ("i8259", "ioapic", "lapic" with the structs of
 * irqchip/state.h), listed by intc_devices() for reset, save and load. The intc
 * owns them: intc_free() destroys them, nobody else does.
 */
#ifndef RING3_IRQCHIP_INTC_H
#define RING3_IRQCHIP_INTC_H

#include "base/types.h"
#include "bus/device.h"
#include "bus/irq.h"

struct intc;

/* What a processor hears. Callbacks must not call back into the intc. */
struct intc_cpu_ops {
    /* Whether intc_ack() would now give a vector: REQUEST_INTR set or cleared.
     * Called on changes only, and from resume with the present level. */
    void (*intr)(void *opaque, unsigned cpu, bool pending);
    void (*nmi)(void *opaque, unsigned cpu);
    /* The local APIC has already put itself into its INIT state. */
    void (*init)(void *opaque, unsigned cpu);
    /* To be ignored by a processor that is not waiting for it. The start
     * address is vector << 12. */
    void (*sipi)(void *opaque, unsigned cpu, uint8_t vector);
};

struct intc_config {
    unsigned cpus;                   /* 1 .. INTC_MAX_CPUS */
    const struct intc_cpu_ops *cpu;  /* lives as long as the intc */
    void *cpu_opaque;
    bool x2apic;                     /* as in the guest's CPUID */
    unsigned phys_bits;              /* MAXPHYADDR in the guest's CPUID; 0 = 40 */
    uint16_t elcr;                   /* level-triggered ISA interrupts after reset */
    bool no_pic;                     /* no 8259 pair: GSI n is IOAPIC pin n, whatever n is */
};

enum { INTC_MAX_CPUS = 255 };
#define INTC_IOAPIC_BASE 0xfec00000ull
#define INTC_LAPIC_BASE  0xfee00000ull   /* after reset */

/* Local APIC timers count at this rate divided by the divide register. */
enum { INTC_LAPIC_TIMER_HZ = 1000000000 };

/* Claims ports 0x20-0x21, 0xA0-0xA1, 0x4D0-0x4D1 and the IOAPIC's page. */
struct intc *intc_new(const struct device_env *env, const struct intc_config *cfg,
                      struct error **err);
void intc_free(struct intc *intc);               /* NULL is fine */

/* The parts, in the order in which they are to be reset; returns how many
 * there are, which may be more than `max`. */
size_t intc_devices(struct intc *intc, struct device **out, size_t max);

struct irq_line intc_gsi(struct intc *intc, unsigned gsi);  /* gsi < 24, else a dead line */
struct irq_line intc_lint1(struct intc *intc);              /* the NMI button: all LINT1 pins */
struct irq_msi intc_msi(struct intc *intc);

/* ---- vCPU side: guest_ops (engine/guest.h), without the VM lock ---------- */

int intc_ack(struct intc *intc, unsigned vcpu);
uint8_t intc_tpr_get(struct intc *intc, unsigned vcpu);     /* CR8: TPR bits 7-4 */
void intc_tpr_set(struct intc *intc, unsigned vcpu, uint8_t cr8);
/* IA32_APIC_BASE, IA32_TSC_DEADLINE (clock ticks), 0x800-0x8FF: 0, or -1 = #GP
 * or not ours. */
int intc_msr_read(struct intc *intc, unsigned vcpu, uint32_t msr, uint64_t *value);
int intc_msr_write(struct intc *intc, unsigned vcpu, uint32_t msr, uint64_t value);
/* One IPI to every APIC ID min + n whose bit n is set in the two words of `mask`;
 * `icr` gives vector and delivery mode. Returns how many took it. */
int intc_send_many(struct intc *intc, unsigned vcpu, const uint64_t mask[2], unsigned word_bits,
                   uint32_t min, uint64_t icr);
/* False: not this vCPU's APIC page (or no xAPIC mode): ask the bus. */
bool intc_mmio_read(struct intc *intc, unsigned vcpu, gpa_t a, unsigned size, uint64_t *value);
bool intc_mmio_write(struct intc *intc, unsigned vcpu, gpa_t a, unsigned size, uint64_t value);

#endif
