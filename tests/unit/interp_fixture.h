/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interp_fixture.h - small guests on engine_interp, without a machine.
 *
 * 8 MiB of RAM, guest_ops that record, a manual clock. Guests are written in
 * assembly next to the test (GUEST). Long mode: everything identity-mapped
 * with 2 MiB pages except [NO_PAGE, +4K), which is not present, and the 2 MiB
 * at SMALL_PAGES, which has 4 KiB pages. Every vector's handler is a HLT at
 * HANDLERS + 16 * vector, so the RIP after a run tells what happened.
 */
#ifndef RING3_TESTS_UNIT_INTERP_FIXTURE_H
#define RING3_TESTS_UNIT_INTERP_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include "base/byteorder.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/engine.h"
#include "memory/memory.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

enum {
    GUEST_RAM = 8 << 20, TABLES = 0x1000, IDT = 0x8000, GDT = 0x9000, HANDLERS = 0xa000,
    DATA = 0x20000, STACK = 0x80000, CODE = 0x100000, SMALL_PAGES = 0x400000,
    NO_PAGE = SMALL_PAGES + 0x3000, MMIO = 0xe0000000,
};

/* Assembles `text` into a byte string `name` .. `name_end`. */
#define GUEST(name, text)                                                               \
    __asm__(".pushsection .rodata\n.balign 16\n" #name ":\n" text "\n" #name "_end:\n"     \
            ".code64\n.popsection");                                                    \
    extern const uint8_t name[], name##_end[]

struct interp_guest {
    struct memory *memory;
    struct clock *clock;
    struct log log;
    struct x86_cpu_model model;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu, *second;
    struct x86_state s;            /* of the first */
    int vector;                    /* what intr_ack gives, -1 = none */
    uint64_t io_value, io_address;
    unsigned io_count, io_size;
    void (*on_io)(struct interp_guest *g);
};

static inline uint64_t fixture_read(void *guest, unsigned vcpu, uint64_t a, unsigned size)
{
    struct interp_guest *g = guest;

    g->io_address = a;
    g->io_size = size;
    g->io_count++;
    if (g->on_io)
        g->on_io(g);
    return g->io_value;
}

static inline void fixture_write(void *guest, unsigned vcpu, uint64_t a, unsigned size,
                                 uint64_t value)
{
    struct interp_guest *g = guest;

    g->io_address = a;
    g->io_size = size;
    g->io_value = value;
    g->io_count++;
    if (g->on_io)
        g->on_io(g);
}

static inline uint64_t fixture_pio_read(void *guest, unsigned vcpu, uint16_t port, unsigned size)
{
    return fixture_read(guest, vcpu, port, size);
}

static inline void fixture_pio_write(void *guest, unsigned vcpu, uint16_t port, unsigned size,
                                     uint64_t value)
{
    fixture_write(guest, vcpu, port, size, value);
}

static inline uint64_t fixture_mmio_read(void *guest, unsigned vcpu, gpa_t a, unsigned size)
{
    return fixture_read(guest, vcpu, a.v, size);
}

static inline void fixture_mmio_write(void *guest, unsigned vcpu, gpa_t a, unsigned size,
                                      uint64_t value)
{
    fixture_write(guest, vcpu, a.v, size, value);
}

static inline int fixture_intr_ack(void *guest, unsigned vcpu)
{
    struct interp_guest *g = guest;
    int v = g->vector;

    g->vector = -1;
    engine_vcpu_clear(g->vcpu, REQUEST_INTR);
    return v;
}

static inline uint8_t fixture_tpr_get(void *guest, unsigned vcpu)
{
    return 0;
}

static inline void fixture_tpr_set(void *guest, unsigned vcpu, uint8_t tpr)
{
}

static inline int fixture_msr_read(void *guest, unsigned vcpu, uint32_t msr, uint64_t *value)
{
    *value = ((struct interp_guest *)guest)->io_value;
    return msr == 0x6e0 ? 0 : -1;
}

static inline int fixture_msr_write(void *guest, unsigned vcpu, uint32_t msr, uint64_t value)
{
    ((struct interp_guest *)guest)->io_value = value;
    return msr == 0x6e0 ? 0 : -1;
}

static const struct guest_ops fixture_ops = {
    .pio_read = fixture_pio_read, .pio_write = fixture_pio_write,
    .mmio_read = fixture_mmio_read, .mmio_write = fixture_mmio_write,
    .intr_ack = fixture_intr_ack, .tpr_get = fixture_tpr_get, .tpr_set = fixture_tpr_set,
    .msr_read = fixture_msr_read, .msr_write = fixture_msr_write,
};

static inline uint8_t *guest_ram(struct interp_guest *g, uint64_t a)
{
    return memory_host(g->memory, gpa(a), 1, false).p;
}

static inline void fixture_tables(struct interp_guest *g)
{
    uint8_t *t = guest_ram(g, TABLES);

    put_le64(t, (TABLES + 0x1000) | 7);                       /* PML4 */
    put_le64(t + 0x1000, (TABLES + 0x2000) | 7);              /* 0 GiB */
    put_le64(t + 0x1000 + 3 * 8, (TABLES + 0x4000) | 7);      /* 3 GiB: MMIO */
    for (uint64_t i = 0; i < 512; i++) {
        put_le64(t + 0x2000 + i * 8, i << 21 | 0x87);
        put_le64(t + 0x3000 + i * 8, (SMALL_PAGES + (i << 12)) | 7);
        put_le64(t + 0x4000 + i * 8, 0xc0000000 | i << 21 | 0x87);
    }
    put_le64(t + 0x2000 + (SMALL_PAGES >> 21) * 8, (TABLES + 0x3000) | 7);
    put_le64(t + 0x3000 + 3 * 8, 0);                          /* NO_PAGE */
    for (uint64_t v = 0; v < 256; v++) {
        uint64_t h = HANDLERS + 16 * v;

        memset(guest_ram(g, h), 0xf4, 1);
        put_le64(guest_ram(g, IDT + 16 * v),
                 (h & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (h >> 16) << 48);
        put_le64(guest_ram(g, IDT + 16 * v + 8), 0);
    }
    put_le64(guest_ram(g, GDT + 8), 0x00af9b000000ffffull);
    put_le64(guest_ram(g, GDT + 16), 0x00cf93000000ffffull);
}

static inline void fixture_segments(struct x86_state *s, uint32_t code_attr)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        s->seg[i] = (struct x86_segment){.limit = UINT32_MAX, .attr = 0xc093, .selector = 16};
    s->seg[X86_CS].attr = code_attr;
    s->seg[X86_CS].selector = 8;
}

/* 64-bit mode at CPL 0, interrupts off, about to execute at CODE. */
static inline void fixture_long_mode(struct interp_guest *g)
{
    struct x86_state *s = &g->s;

    fixture_segments(s, 0xa09b);
    s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET;
    s->cr3 = TABLES;
    s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
    s->msr.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
    s->idtr = (struct x86_table){IDT, 0xfff};
    s->gdtr = (struct x86_table){GDT, 0xff};
    s->rflags = X86_FLAG_1;
    s->gpr[X86_RSP] = STACK;
    s->rip = CODE;
}

/* 32-bit protected mode without paging, flat. */
static inline void fixture_protected_mode(struct interp_guest *g)
{
    fixture_segments(&g->s, 0xc09b);
    g->s.cr0 = X86_CR0_PE | X86_CR0_ET;
    g->s.cr4 = 0;
    g->s.msr.efer = 0;
}

static inline struct interp_guest *interp_guest_new_cpus(unsigned cpus)
{
    struct interp_guest *g = calloc(1, sizeof *g);
    struct x86_features f;
    struct engine_vm_config cfg;

    if (!g)
        abort();
    g->vector = -1;
    log_init(&g->log, -1);
    g->memory = memory_new(GUEST_RAM, NULL);
    g->clock = clock_new_manual();
    x86_features_software(&f);
    if (!g->memory || !g->clock || x86_cpu_model_init(&g->model, NULL, &f, cpus, NULL) < 0 ||
        memory_map_ram(g->memory, "ram", gpa(0), 0, GUEST_RAM, 0, NULL) < 0)
        abort();
    cfg = (struct engine_vm_config){.memory = g->memory, .clock = g->clock, .guest = &fixture_ops,
                                    .guest_opaque = g, .model = &g->model, .log = &g->log,
                                    .cpus = cpus};
    if (engine_interp.vm_create(&cfg, &g->vm, NULL) < 0 ||
        engine_interp.vcpu_create(g->vm, 0, &g->vcpu, NULL) < 0 ||
        (cpus > 1 && engine_interp.vcpu_create(g->vm, 1, &g->second, NULL) < 0))
        abort();
    engine_interp.get_state(g->vcpu, &g->s);
    fixture_tables(g);
    fixture_long_mode(g);
    return g;
}

static inline struct interp_guest *interp_guest_new(void)
{
    return interp_guest_new_cpus(1);
}

static inline void interp_guest_free(struct interp_guest *g)
{
    engine_interp.vcpu_destroy(g->second);
    engine_interp.vcpu_destroy(g->vcpu);
    engine_interp.vm_destroy(g->vm);
    clock_free(g->clock);
    memory_free(g->memory);
    free(g);
}

/* Copies code to `at` and makes it the next thing to execute. */
static inline void guest_load(struct interp_guest *g, uint64_t at, const uint8_t *code,
                              const uint8_t *end)
{
    memory_write(g->memory, gpa(at), code, (uint64_t)(end - code));
    g->s.rip = at;
    g->s.ev.mp_state = X86_MP_RUNNABLE;
}

/* Runs from g->s; g->s is the state afterwards. */
static inline enum engine_exit guest_run(struct interp_guest *g, uint64_t max)
{
    enum engine_exit why;

    engine_interp.set_state(g->vcpu, &g->s);
    why = engine_interp.run(g->vcpu, max);
    engine_interp.get_state(g->vcpu, &g->s);
    return why;
}

/* The vector whose handler halted, or -1. */
static inline int guest_vector(const struct interp_guest *g)
{
    uint64_t at = g->s.rip - HANDLERS;

    return at < 256 * 16 && at % 16 == 1 ? (int)(at / 16) : -1;
}

#endif
