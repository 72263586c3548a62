/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm_fixture.h - a small guest on the real KVM, with fakes above it.
 *
 * No machine: RAM of 2 MiB, recorded port, memory and MSR accesses, and an
 * interrupt controller that is a list of vectors. A watchdog (alarm) ends a
 * test whose guest does not come back: on some hosts KVM emulates guest
 * kernels one instruction at a time, so guests stay at tens of instructions.
 *
 * Memory: code at 0x1000, data at 0x2000, stack below 0x8000, page tables
 * that identity-map 2 MiB pages of the first GiB for user and kernel at
 * 0x10000, the GDT is not needed (segments come from the state).
 */
#ifndef RING3_TESTS_UNIT_KVM_FIXTURE_H
#define RING3_TESTS_UNIT_KVM_FIXTURE_H

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "memory/memory.h"
#include "x86/cpuid.h"

enum { GUEST_RAM = 2 << 20, GUEST_CODE = 0x1000, GUEST_DATA = 0x2000, GUEST_STACK = 0x8000,
       GUEST_TABLES = 0x10000 };
enum { WATCHDOG_S = 20, ACCESS_MAX = 64 };

enum access_kind { PIO_READ, PIO_WRITE, MMIO_READ, MMIO_WRITE, MSR_READ, MSR_WRITE };
struct access { enum access_kind kind; uint64_t address, value; unsigned size, vcpu; };

struct guest {
    struct memory *memory;
    struct clock *clock;
    struct log log;
    struct x86_cpu_model model;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu[2];
    unsigned cpus;
    struct access access[ACCESS_MAX];
    unsigned accesses;
    uint64_t answer;              /* what every read gives */
    unsigned leave_after;         /* request EXIT at the nth access, 0 = never */
    uint8_t vectors[4];           /* pending, taken from the front */
    unsigned vectors_left;
    uint8_t tpr;
    uint64_t msr[2];              /* 0x1b and 0x6e0 as last written */
};

enum { FIXTURE_IRQCHIP = 1 };

/* Ends the process with 77 and a line where KVM cannot be had. */
void fixture_need_kvm(void);
struct guest *guest_new(unsigned cpus, unsigned flags);
void guest_free(struct guest *g);
void guest_code(struct guest *g, const void *code, size_t bytes);
#define GUEST_CODE_BYTES(g, ...) \
    guest_code(g, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* 16-bit code at 0:0x1000, data segments at 0, stack, interrupts off. */
void guest_start_real(struct guest *g, unsigned vcpu);
/* 64-bit code at 0x1000 with this privilege level, identity-mapped. */
void guest_start_long(struct guest *g, unsigned vcpu, unsigned cpl);

struct x86_state guest_state(struct guest *g, unsigned vcpu);
void guest_set_state(struct guest *g, unsigned vcpu, const struct x86_state *s);
/* run(), with the failure's text shown when it is not what was expected. */
void guest_run(struct guest *g, unsigned vcpu, enum engine_exit expected);
void expect_access(const struct guest *g, unsigned n, enum access_kind kind, uint64_t address,
                   unsigned size, uint64_t value);

#endif
