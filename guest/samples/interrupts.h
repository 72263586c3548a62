/* SPDX-License-Identifier: MIT-0 */
/*
 * interrupts.h - an interrupt descriptor table, the local APIC, the IOAPIC: as much of
 * them as a sample needs. The GDT is the one ring3 starts with (code selector 0x10).
 */
#ifndef SAMPLE_INTERRUPTS_H
#define SAMPLE_INTERRUPTS_H

#include "sample.h"

#define LAPIC 0xfee00000
#define IOAPIC 0xfec00000

struct interrupt_frame;
typedef void (*handler)(struct interrupt_frame *frame);

struct gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, zero;
};
static struct gate idt[256];

static inline void set_gate(u8 vector, handler h)
{
    u64 at = (u64)h;

    idt[vector] = (struct gate){.offset_low = (u16)at, .selector = 0x10, .type = 0x8e,
                                .offset_middle = (u16)(at >> 16), .offset_high = (u32)(at >> 32)};
}

static inline void lapic_write(u32 reg, u32 value)
{
    *AT(u32, LAPIC + reg) = value;
}

static inline void interrupt_done(void)
{
    lapic_write(0xb0, 0);
}

/* Pin of the IOAPIC to a vector of this processor. */
static inline void route(u32 pin, u8 vector)
{
    *AT(u32, IOAPIC) = 0x11 + 2 * pin;
    *AT(u32, IOAPIC + 0x10) = 0;
    *AT(u32, IOAPIC) = 0x10 + 2 * pin;
    *AT(u32, IOAPIC + 0x10) = vector;
}

static inline void interrupts_on(void)
{
    const struct { u16 limit; u64 base; } __attribute__((packed)) idtr = {sizeof idt - 1, (u64)idt};

    __asm__ volatile("lidt %0" : : "m"(idtr));
    lapic_write(0xf0, 0x1ff);            /* enabled; spurious vector 0xff */
    __asm__ volatile("sti");
}

/* Sleeps until `*what` is not `was`: checked with interrupts off, or one could be missed. */
static inline void wait_change(const volatile u32 *what, u32 was)
{
    __asm__ volatile("cli");
    while (*what == was)
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    __asm__ volatile("sti");
}

#endif
