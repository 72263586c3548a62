/* SPDX-License-Identifier: MIT-0 */
/*
 * smp.h - what the guests with several processors have in common.
 *
 * A guest is a multiboot image (smp_start.S, smp.ld). Its command line ends in "CPUS
 * SCALE": how many processors there are, and by how much to multiply the rounds.
 * Reports through the debug console and ends through the debug-exit port.
 *
 * The first processor runs the tests; together() has all of them run a function
 * at the same time, with interrupts on. Memory is mapped one to one, user pages
 * all of it. Each processor has a CR3 of its own choice.
 */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include "env64.h"

enum { SMP_MAX = 8 };
extern unsigned cpus, scale;
/* Counts up for each processor that starts, and gives it its number. */
extern volatile uint32_t smp_number;

/* PML4, PDPT, and the directories of four gigabytes. */
extern uint64_t smp_tables[6][512];

struct interrupt_frame { uint64_t rip, cs, rflags, rsp, ss; };
#define HANDLER __attribute__((interrupt)) void
void smp_gate(unsigned vector, void (*handler)(struct interrupt_frame *));
void smp_gate_error(unsigned vector, void (*handler)(struct interrupt_frame *, uint64_t error));

unsigned smp_self(void);                        /* the APIC ID */
void together(void (*fn)(unsigned self));
/* The others never come back. */
void leave_others(void (*fn)(unsigned self));
/* How many times a processor other than the first has started. */
extern volatile uint32_t smp_started;
/* Calls fn(self) at CPL 3. */
void in_user_mode(void (*fn)(unsigned self), unsigned self);

enum { ICR_FIXED = 0, ICR_NMI = 4 << 8, ICR_INIT = 5 << 8, ICR_SIPI = 6 << 8,
       ICR_OTHERS = 3 << 18, ICR_ASSERT = 1 << 14 };
void ipi(unsigned to, uint32_t icr);
static inline void eoi(void) { *(volatile uint32_t *)0xfee000b0 = 0; }

/* Has all others flush with fn and waits until they did. */
void shoot_down(void (*fn)(void));

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);

#define pause() __builtin_ia32_pause()
#define barrier() __asm__ volatile("" ::: "memory")
static inline uint64_t xadd(volatile uint64_t *p, uint64_t n)
{
    __asm__ volatile("lock xadd %0, %1" : "+r"(n), "+m"(*p)::"memory", "cc");
    return n;
}
static inline uint64_t random64(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

void smp_test(void);                            /* the guest's own */

#endif
