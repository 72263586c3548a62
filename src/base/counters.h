/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * counters.h - what happened how often, in one list.
 *
 * Adding a counter is adding a row. Each vCPU owns a `struct counters` that
 * only its thread writes; anybody may read at any time (relaxed atomics, plain
 * load and store on x86). Sums are made when somebody asks.
 */
#ifndef RING3_BASE_COUNTERS_H
#define RING3_BASE_COUNTERS_H

#include <stdatomic.h>
#include "base/types.h"

#define COUNTERS(X)                                                         \
    X(exits,             "returns from guest execution to the monitor")     \
    X(exit_pio_read,     "port reads")                                      \
    X(exit_pio_write,    "port writes")                                     \
    X(exit_mmio_read,    "memory-mapped reads")                             \
    X(exit_mmio_write,   "memory-mapped writes")                            \
    X(exit_halt,         "HLT with nothing to do")                          \
    X(exit_msr,          "MSR accesses handled outside the engine")         \
    X(exit_kick,         "interruptions by another thread")                 \
    X(exit_irq_window,   "waits for the guest to accept an interrupt")      \
    X(exit_hypercall,    "hypercalls")                                      \
    X(exit_other,        "everything else")                                 \
    X(irq_injected,      "external interrupts delivered")                   \
    X(nmi_injected,      "NMIs delivered")                                  \
    X(exceptions,        "exceptions delivered by a software engine")       \
    X(page_faults,       "of these, page faults")                           \
    X(instructions,      "guest instructions (software engines)")           \
    X(blocks_made,       "blocks decoded or translated")                    \
    X(blocks_dropped,    "blocks invalidated by writes or flushes")         \
    X(code_writes,       "writes to pages that hold decoded code")          \
    X(tlb_fills,         "page walks that filled a TLB entry")              \
    X(tlb_flushes,       "whole-TLB flushes")                               \
    X(host_insns,        "vector and x87 instructions run on the host")     \
    X(guest_errors,      "accesses no device answers, bad register values")

enum counter_id {
#define X(name, help) COUNTER_##name,
    COUNTERS(X)
#undef X
    COUNTER_COUNT
};

struct counters {
    _Atomic uint64_t v[COUNTER_COUNT];
};

const char *counter_name(enum counter_id id);
const char *counter_help(enum counter_id id);

static inline void counter_add(struct counters *c, enum counter_id id, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&c->v[id], memory_order_relaxed);
    atomic_store_explicit(&c->v[id], old + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counters *c, enum counter_id id)
{
    return atomic_load_explicit(&c->v[id], memory_order_relaxed);
}

/* Only from the owning thread. */
#define COUNT(c, name) counter_add((c), COUNTER_##name, 1)

#endif
