/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_fixture.h - one software processor over 1 MiB of RAM, for tests of the
 * system side of src/x86.
 *
 * No paging: linear is physical, so tables and stacks are looked at directly.
 * step() decodes what is at CS:RIP and runs it through x86_system_op(); an
 * exception comes back as its vector instead of being delivered.
 */
#ifndef RING3_TESTS_X86_FIXTURE_H
#define RING3_TESTS_X86_FIXTURE_H

#include "unit.h"

#include "base/byteorder.h"
#include "base/counters.h"
#include "x86/cpuid.h"
#include "x86/mmu.h"
#include "x86/system.h"

enum {
    RAM_BYTES = 1 << 20,
    GDT = 0x1000, IDT = 0x2000, LDT = 0x3000, TSS = 0x4000, TSS_B = 0x5000, TSS_C = 0x5800,
    STACK0 = 0x8000, STACK1 = 0x9000, STACK3 = 0xa000, IST1 = 0xb000, CODE = 0x10000,
    HANDLER = 0x20000,
};

/* The GDT. Where a long-mode descriptor needs two slots the next one is free. */
enum {
    CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x18 | 3, DATA3 = 0x20 | 3, CODE64 = 0x28,
    CODE64_3 = 0x30 | 3, CODE16 = 0x38, TSS_SEL = 0x40, CONFORMING = 0x50, DATA16 = 0x58,
    ABSENT = 0x60, EXEC_ONLY = 0x68, READ_ONLY = 0x70, CODE1 = 0x78 | 1, DATA1 = 0x80 | 1,
    LDT_SEL = 0x88, GATE = 0x98, TSS_B_SEL = 0xa8, TSS_C_SEL = 0xb8, TASK_GATE = 0xc8,
    SMALL = 0xd0, GDT_SLOTS = 32,
};
#define FLAT32 0x00cf000000000000ull
#define FLAT64 0x00af000000000000ull

struct fixture {
    struct x86_cpu cpu;
    struct x86_cpu_model model;
    struct counters counters;
    uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
    uint16_t port;
    unsigned port_size, port_count;
    uint64_t port_value;
    uint8_t port_bytes[64];
    uint8_t tpr;
};

/* ---- the processor's surroundings ----------------------------------------------- */

static inline uint8_t *fx_ram_page(void *env, gpa_t page, bool for_write)
{
    struct fixture *f = env;

    return page.v < RAM_BYTES ? f->ram + page.v : NULL;
}

static inline uint64_t fx_phys_read(void *env, gpa_t a, unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

static inline void fx_phys_write(void *env, gpa_t a, unsigned size, uint64_t value)
{
}

static inline uint64_t fx_pio_read(void *env, uint16_t port, unsigned size)
{
    struct fixture *f = env;

    f->port = port;
    f->port_size = size;
    return 0x1122334455667788ull + f->port_count++;
}

static inline void fx_pio_write(void *env, uint16_t port, unsigned size, uint64_t value)
{
    struct fixture *f = env;

    f->port = port;
    f->port_size = size;
    f->port_value = value;
    f->port_bytes[f->port_count++ % sizeof f->port_bytes] = (uint8_t)value;
}

static inline int fx_msr_read(void *env, uint32_t msr, uint64_t *value)
{
    return -1;
}

static inline int fx_msr_write(void *env, uint32_t msr, uint64_t value)
{
    return -1;
}

static inline uint8_t fx_tpr_get(void *env)
{
    return ((struct fixture *)env)->tpr;
}

static inline void fx_tpr_set(void *env, uint8_t tpr)
{
    ((struct fixture *)env)->tpr = tpr;
}

static inline uint64_t fx_tsc(void *env)
{
    return 0;
}

static const struct x86_env_ops fixture_ops = {
    .ram_page = fx_ram_page, .phys_read = fx_phys_read, .phys_write = fx_phys_write,
    .pio_read = fx_pio_read, .pio_write = fx_pio_write,
    .msr_read = fx_msr_read, .msr_write = fx_msr_write,
    .tpr_get = fx_tpr_get, .tpr_set = fx_tpr_set, .tsc = fx_tsc,
};

/* ---- memory ------------------------------------------------------------------------ */

static inline void put16(struct fixture *f, uint32_t at, uint16_t v) { put_le16(f->ram + at, v); }
static inline void put32(struct fixture *f, uint32_t at, uint32_t v) { put_le32(f->ram + at, v); }
static inline void put64(struct fixture *f, uint32_t at, uint64_t v) { put_le64(f->ram + at, v); }
static inline uint16_t peek16(struct fixture *f, uint32_t at) { return get_le16(f->ram + at); }
static inline uint32_t peek32(struct fixture *f, uint32_t at) { return get_le32(f->ram + at); }
static inline uint64_t peek64(struct fixture *f, uint32_t at) { return get_le64(f->ram + at); }

static inline uint64_t make_desc(uint32_t base, uint32_t limit, uint16_t attr)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
           (uint64_t)(attr & 0xf0ff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
           (uint64_t)(base >> 24) << 56;
}

static inline uint64_t make_gate(uint16_t selector, uint32_t offset, uint8_t access, uint8_t low)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)low << 32 |
           (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

static inline void set_desc(struct fixture *f, uint16_t selector, uint64_t raw)
{
    put64(f, GDT + (selector & ~7u), raw);
}

/* The access byte of a descriptor in the GDT. */
static inline uint8_t desc_access(struct fixture *f, uint16_t selector)
{
    return f->ram[GDT + (selector & ~7u) + 5];
}

static inline void set_idt(struct fixture *f, uint8_t vector, uint16_t selector, uint32_t offset,
                           uint8_t access)
{
    put64(f, IDT + vector * 8u, make_gate(selector, offset, access, 0));
}

static inline void set_idt64(struct fixture *f, uint8_t vector, uint16_t selector,
                             uint64_t offset, uint8_t access, uint8_t ist)
{
    put64(f, IDT + vector * 16u, make_gate(selector, (uint32_t)offset, access, ist));
    put64(f, IDT + vector * 16u + 8, offset >> 32);
}

/* ---- modes --------------------------------------------------------------------------- */

static inline void fill_gdt(struct fixture *f)
{
    set_desc(f, CODE0, make_desc(0, 0xfffff, 0xc09a));
    set_desc(f, DATA0, make_desc(0, 0xfffff, 0xc092));
    set_desc(f, CODE1, make_desc(0, 0xfffff, 0xc0ba));
    set_desc(f, DATA1, make_desc(0, 0xfffff, 0xc0b2));
    set_desc(f, CODE3, make_desc(0, 0xfffff, 0xc0fa));
    set_desc(f, DATA3, make_desc(0, 0xfffff, 0xc0f2));
    set_desc(f, CODE64, make_desc(0, 0xfffff, 0xa09a));
    set_desc(f, CODE64_3, make_desc(0, 0xfffff, 0xa0fa));
    set_desc(f, CODE16, make_desc(0, 0xffff, 0x009a));
    set_desc(f, CONFORMING, make_desc(0, 0xfffff, 0xc09e));
    set_desc(f, DATA16, make_desc(0, 0xffff, 0x0092));
    set_desc(f, ABSENT, make_desc(0, 0xfffff, 0xc012));
    set_desc(f, EXEC_ONLY, make_desc(0, 0xfffff, 0xc098));
    set_desc(f, READ_ONLY, make_desc(0, 0xfffff, 0xc090));
    set_desc(f, SMALL, make_desc(0, 0xff, 0x409a));
    set_desc(f, LDT_SEL, make_desc(LDT, 0x3f, 0x0082));
    set_desc(f, TSS_SEL, make_desc(TSS, 0x2067, 0x008b));
    set_desc(f, TSS_B_SEL, make_desc(TSS_B, 0x67, 0x0089));
    set_desc(f, TSS_C_SEL, make_desc(TSS_C, 0x2b, 0x0081));
}

static inline struct fixture *fixture_new(void)
{
    struct fixture *f = aligned_alloc(4096, align_up(sizeof *f, 4096));

    assert_non_null(f);
    memset(f, 0, sizeof *f);
    memset(&f->model.features, 0xff, sizeof f->model.features);
    f->model.name = "fixture";
    f->model.phys_bits = 40;
    f->model.lin_bits = 48;
    f->model.amd = true;
    f->model.cpus = 1;
    x86_cpu_init(&f->cpu, &fixture_ops, f, &f->model, &f->counters, NULL, true);
    f->cpu.s.cr0 = X86_CR0_ET;
    f->cpu.s.gdtr = (struct x86_table){GDT, GDT_SLOTS * 8 - 1};
    f->cpu.s.idtr = (struct x86_table){IDT, 0xfff};
    fill_gdt(f);
    return f;
}

static inline int fixture_setup(void **state)
{
    *state = fixture_new();
    return 0;
}

static inline int fixture_teardown(void **state)
{
    free(*state);
    return 0;
}

/* Loads a register from the GDT without any check. */
static inline void seg_force(struct fixture *f, struct x86_segment *s, uint16_t selector)
{
    uint64_t raw = peek64(f, GDT + (selector & ~7u));

    s->selector = selector;
    s->base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
    s->limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
    s->attr = raw >> 40 & 0xf0ff;
    if (s->attr & X86_ATTR_G)
        s->limit = s->limit << 12 | 0xfff;
}

static inline void mode_segments(struct fixture *f, uint16_t cs, uint16_t ss)
{
    struct x86_state *s = &f->cpu.s;

    seg_force(f, &s->seg[X86_CS], cs);
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        if (i != X86_CS)
            seg_force(f, &s->seg[i], ss);
    seg_force(f, &s->tr, TSS_SEL);
    s->ldtr = (struct x86_segment){.attr = X86_ATTR_UNUSABLE};
    s->rip = CODE;
    s->rflags = X86_FLAG_1;
    s->gpr[X86_RSP] = STACK0;
    x86_cpu_state_loaded(&f->cpu);
}

/* 32-bit protected mode at the privilege of `cs`. */
static inline void mode_protected(struct fixture *f, uint16_t cs, uint16_t ss)
{
    f->cpu.s.cr0 = X86_CR0_ET | X86_CR0_PE;
    mode_segments(f, cs, ss);
    put32(f, TSS + 4, STACK0);
    put32(f, TSS + 8, DATA0);
    put32(f, TSS + 12, STACK1);
    put32(f, TSS + 16, DATA1);
    put16(f, TSS + 102, 104 + 32);            /* I/O bitmap, after 32 bytes for VME */
}

static inline void mode_long(struct fixture *f, uint16_t cs, uint16_t ss)
{
    f->cpu.s.cr0 = X86_CR0_ET | X86_CR0_PE;
    f->cpu.s.cr4 = X86_CR4_PAE;
    f->cpu.s.msr.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
    mode_segments(f, cs, ss);
    put64(f, TSS + 4, STACK0);
    put64(f, TSS + 12, STACK1);
    put64(f, TSS + 36, IST1);
}

static inline void mode_real(struct fixture *f)
{
    f->cpu.s.cr0 = X86_CR0_ET;
    f->cpu.s.rflags = X86_FLAG_1;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        f->cpu.s.seg[i] = (struct x86_segment){0, 0xffff, i == X86_CS ? 0x9b : 0x93, 0};
    f->cpu.s.seg[X86_CS].selector = CODE >> 4;
    f->cpu.s.seg[X86_CS].base = CODE;
    f->cpu.s.rip = 0;
    f->cpu.s.gpr[X86_RSP] = STACK0;
    x86_cpu_state_loaded(&f->cpu);
}

static inline void mode_vm86(struct fixture *f, unsigned iopl)
{
    mode_protected(f, CODE0, DATA0);
    f->cpu.s.rflags = X86_FLAG_1 | X86_FLAG_VM | iopl << 12;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        f->cpu.s.seg[i] = (struct x86_segment){0x1000u * i, 0xffff, 0xf3, (uint16_t)(0x100 * i)};
    f->cpu.s.seg[X86_CS] = (struct x86_segment){CODE, 0xffff, 0xf3, CODE >> 4};
    f->cpu.s.rip = 0;
    f->cpu.s.gpr[X86_RSP] = 0x800;
    x86_cpu_state_loaded(&f->cpu);
}

/* ---- running -------------------------------------------------------------------------- */

enum { STEP_OK = -1 };

/* Executes the instruction given by its bytes at CS:RIP. STEP_OK, or the vector
 * it raised; then cpu.pending tells more. */
static inline int step_bytes(struct fixture *f, const uint8_t *bytes, size_t len)
{
    struct x86_cpu *cpu = &f->cpu;
    struct x86_insn insn;
    uint64_t at = cpu->s.rip + (cpu->mode.code_bits == 64 ? 0 : cpu->s.seg[X86_CS].base);
    x86_op *op;

    if (at + len <= RAM_BYTES)
        memcpy(f->ram + at, bytes, len);
    assert_int_equal(x86_decode(bytes, len, cpu->mode.code_bits, &insn), 0);
    assert_int_equal(insn.length, len);
    op = x86_system_op(insn.mnemonic);
    assert_non_null(op);
    if (setjmp(cpu->unwind))
        return cpu->pending.vector;
    op(cpu, &insn);
    return STEP_OK;
}
#define step(f, ...) \
    step_bytes(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* The instruction raised `vector` with this error code and changed nothing. */
#define assert_fault(f, vector_, error_, ...)                                        \
    do {                                                                             \
        struct x86_state before_ = (f)->cpu.s;                                       \
        assert_int_equal(step(f, __VA_ARGS__), vector_);                             \
        assert_int_equal((f)->cpu.pending.error, error_);                            \
        assert_memory_equal(&before_, &(f)->cpu.s, sizeof before_);                  \
    } while (0)
#define assert_runs(f, ...) assert_int_equal(step(f, __VA_ARGS__), STEP_OK)

static inline bool raise_and_deliver(struct fixture *f, struct x86_exception e)
{
    f->cpu.pending = e;
    return x86_exception_deliver(&f->cpu);
}

static inline unsigned cpl(const struct fixture *f)
{
    return x86_state_cpl(&f->cpu.s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
