/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * barrier.h - order between our accesses to guest memory and the guest's own.
 *
 * The guest is an x86 processor, to which both sides owe x86 order (Intel SDM vol. 3,
 * "Memory Ordering"): stores are seen in program order, and only a load may overtake an
 * older store. C11 fences would do, but not under the thread sanitizer, which cannot
 * model them; the guest is no thread that it knows of anyway.
 */
#ifndef RING3_BASE_BARRIER_H
#define RING3_BASE_BARRIER_H

/* What was stored before is seen before anything that is loaded or stored after. */
static inline void barrier_full(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

/* What was stored before is seen before what is stored after. */
static inline void barrier_stores(void)
{
    __asm__ volatile("" : : : "memory");
}

#endif
