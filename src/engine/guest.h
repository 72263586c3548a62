/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.h - an engine's only way up.
 *
 * When guest code touches something that is not plain RAM, the engine calls
 * these from the vCPU's thread, WITHOUT the VM lock (the bus takes it). A fake
 * of this table tests an engine with no machine at all.
 *
 * An engine whose interrupt controllers run in the kernel never calls the
 * intr, tpr and APIC-related MSR operations.
 */
#ifndef RING3_ENGINE_GUEST_H
#define RING3_ENGINE_GUEST_H

#include "base/types.h"

struct guest_ops {
    /* `vcpu` is the index of the one that accesses: local APICs share one
     * address and are told apart by it. */
    uint64_t (*pio_read)(void *guest, unsigned vcpu, uint16_t port, unsigned size);
    void (*pio_write)(void *guest, unsigned vcpu, uint16_t port, unsigned size, uint64_t value);
    /* `count` accesses to one port, of a string instruction: how many a device took at
     * once; the others are to be made one by one. May be NULL. */
    size_t (*pio_string)(void *guest, unsigned vcpu, uint16_t port, unsigned size, void *buf,
                         size_t count, bool write);
    uint64_t (*mmio_read)(void *guest, unsigned vcpu, gpa_t a, unsigned size);
    void (*mmio_write)(void *guest, unsigned vcpu, gpa_t a, unsigned size, uint64_t value);
    /* The highest-priority deliverable vector, now accepted (IRR -> ISR), or
     * -1. Clears REQUEST_INTR when nothing is left. */
    int (*intr_ack)(void *guest, unsigned vcpu);
    uint8_t (*tpr_get)(void *guest, unsigned vcpu);          /* CR8 */
    void (*tpr_set)(void *guest, unsigned vcpu, uint8_t tpr);
    /* Platform MSRs: IA32_APIC_BASE, x2APIC 0x800-0x8FF, IA32_TSC_DEADLINE.
     * 0, or -1 when the MSR is not the platform's or the value is refused.
     * IA32_TSC_DEADLINE is passed in clock ticks (base/clock.h): the engine,
     * which owns the guest's TSC offset, has taken it off (0 stays 0). */
    int (*msr_read)(void *guest, unsigned vcpu, uint32_t msr, uint64_t *value);
    int (*msr_write)(void *guest, unsigned vcpu, uint32_t msr, uint64_t value);
    /* As x86_env_ops.hypercall. */
    int64_t (*hypercall)(void *guest, unsigned vcpu, uint64_t number, const uint64_t arg[4],
                         unsigned word_bits);
};

#endif
