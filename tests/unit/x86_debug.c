/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_debug.c - debug registers, breakpoints, single step and shadows. */
#include "x86_fixture.h"

enum { L0 = 1 << 0, L1 = 1 << 2, RW0_WRITE = 1 << 16, RW0_IO = 2 << 16, RW0_ACCESS = 3 << 16,
       LEN0_4 = 3 << 18, RW1_WRITE = 1 << 20, GD = 1 << 13 };
enum { NO_TRAP = 0 };

/* What an engine does around one instruction. Returns DR6 bits of the #DB, or
 * NO_TRAP. `body` may be NULL: nothing but the boundary. */
static uint64_t around_bytes(struct fixture *f, const uint8_t *bytes, size_t len)
{
    struct x86_cpu *cpu = &f->cpu;
    uint64_t before = cpu->s.rflags;

    if (!x86_step_watch(cpu)) {
        assert_int_equal(step_bytes(f, bytes, len), STEP_OK);
        return NO_TRAP;
    }
    if (setjmp(cpu->unwind)) {
        assert_int_equal(cpu->pending.vector, X86_DB);
        return cpu->pending.dr6;
    }
    x86_step_begin(cpu);
    assert_int_equal(step_bytes(f, bytes, len), STEP_OK);
    if (setjmp(cpu->unwind)) {
        assert_int_equal(cpu->pending.vector, X86_DB);
        return cpu->pending.dr6;
    }
    x86_step_done(cpu, before);
    return NO_TRAP;
}
#define around(f, ...) \
    around_bytes(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#define CLI 0xfa
#define STI 0xfb
#define PUSHF 0x9c
#define POPF 0x9d
#define MOV_SS 0x8e, 0xd0

static void registers(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    mode_protected(f, CODE0, DATA0);
    s->gpr[X86_RAX] = 0xffffffff;
    assert_runs(f, 0x0f, 0x23, 0xf0);                /* mov dr6, eax */
    assert_int_equal(s->dr6, 0xffffefff);
    s->gpr[X86_RAX] = 0xffffdfff;
    assert_runs(f, 0x0f, 0x23, 0xf8);                /* mov dr7, eax */
    assert_int_equal(s->dr7, 0xffff07ff);
    s->dr7 = 0x400;
    s->gpr[X86_RAX] = 0x1234;
    assert_runs(f, 0x0f, 0x23, 0xe0);                /* dr4 is dr6 */
    assert_int_equal(s->dr6 & 0xf, 4);
    assert_runs(f, 0x0f, 0x21, 0xe9);                /* mov ecx, dr5 */
    assert_int_equal(s->gpr[X86_RCX], 0x400);
    s->cr4 |= X86_CR4_DE;
    assert_fault(f, X86_UD, 0, 0x0f, 0x23, 0xe0);
    s->dr7 |= GD;
    assert_int_equal(step(f, 0x0f, 0x21, 0xc1), X86_DB);
    assert_int_equal(f->cpu.pending.dr6, 1 << 13);
    assert_false(f->cpu.pending.trap);

    mode_protected(f, CODE3, DATA3);
    assert_fault(f, X86_GP, 0, 0x0f, 0x21, 0xc1);
    mode_long(f, CODE64, DATA0);
    s->dr7 = 0x400;
    s->gpr[X86_RAX] = 1ull << 32;
    assert_fault(f, X86_GP, 0, 0x0f, 0x23, 0xf8);
    assert_runs(f, 0x0f, 0x23, 0xc0);                /* mov dr0, rax: all 64 bits */
    assert_int_equal(s->dr[0], 1ull << 32);
}

static void single_step(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    assert_false(x86_step_watch(&f->cpu));
    put32(f, STACK0, X86_FLAG_1 | X86_FLAG_TF);
    assert_int_equal(around(f, POPF), NO_TRAP);      /* the next one traps */
    assert_int_equal(around(f, CLI), 1 << 14);
    assert_true(f->cpu.pending.trap);
    assert_int_equal(f->cpu.s.rip, CODE + 2);
    f->cpu.s.gpr[X86_RSP] = STACK0;
    put32(f, STACK0, X86_FLAG_1);
    assert_int_equal(around(f, POPF), 1 << 14);      /* TF was set when it began */
    assert_int_equal(around(f, CLI), NO_TRAP);
}

static void int_n_does_not_trap(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_idt(f, 0x40, CODE0, HANDLER, 0x8f);
    f->cpu.s.rflags |= X86_FLAG_TF;
    assert_int_equal(around(f, 0xcd, 0x40), NO_TRAP);
    assert_int_equal(f->cpu.s.rip, HANDLER);
    assert_int_equal(around(f, CLI), NO_TRAP);
    f->cpu.s.rip = HANDLER;
    f->cpu.s.gpr[X86_RSP] = STACK0 - 12;
    assert_int_equal(around(f, 0xcf), NO_TRAP);      /* TF comes back: */
    assert_int_equal(around(f, CLI), 1 << 14);       /* traps after the next */
}

static void syscall_goes_by_the_new_tf(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE64_3, DATA3);
    f->cpu.s.msr.star = (uint64_t)CODE64 << 32;
    f->cpu.s.msr.lstar = HANDLER;
    f->cpu.s.msr.fmask = X86_FLAG_TF;
    f->cpu.s.rflags |= X86_FLAG_TF;
    assert_int_equal(around(f, 0x0f, 0x05), NO_TRAP);
    f->cpu.s.gpr[X86_R11] = X86_FLAG_1 | X86_FLAG_TF;
    assert_int_equal(around(f, 0x48, 0x0f, 0x07), NO_TRAP);
    assert_int_equal(around(f, 0x0f, 0x31), 1 << 14);    /* as if SYSCALL just ended */
    assert_int_equal(f->cpu.s.rip, CODE + 2);
}

static void instruction_breakpoint_and_rf(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    f->cpu.s.dr[0] = CODE + 1;
    f->cpu.s.dr7 |= L0;
    assert_int_equal(around(f, CLI), NO_TRAP);
    assert_int_equal(around(f, CLI), 1);
    assert_int_equal(f->cpu.s.rip, CODE + 1);        /* a fault: not executed */
    assert_false(f->cpu.pending.trap);
    f->cpu.s.rflags |= X86_FLAG_RF;
    assert_int_equal(around(f, CLI), NO_TRAP);
    assert_false(f->cpu.s.rflags & X86_FLAG_RF);     /* once */
    f->cpu.s.rip = CODE + 1;
    assert_int_equal(around(f, CLI), 1);
}

static void data_breakpoint(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    f->cpu.s.gpr[X86_RAX] = STACK0 - 4;
    assert_runs(f, 0x0f, 0x23, 0xc0);                /* mov dr0, eax */
    f->cpu.s.gpr[X86_RAX] = L0 | RW0_WRITE | LEN0_4;
    assert_runs(f, 0x0f, 0x23, 0xf8);
    assert_int_equal(around(f, PUSHF), 1);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 4);     /* a trap: executed */
    assert_true(f->cpu.pending.trap);
    assert_int_equal(around(f, POPF), NO_TRAP);      /* reading */
    f->cpu.s.gpr[X86_RAX] = L0 | RW0_ACCESS | LEN0_4;
    assert_int_equal(around(f, 0x0f, 0x23, 0xf8), NO_TRAP);
    f->cpu.s.gpr[X86_RSP] = STACK0 - 2;              /* overlapping is enough */
    assert_int_equal(around(f, 0x66, POPF), 1);
    f->cpu.s.gpr[X86_RSP] = STACK0;
    assert_int_equal(around(f, 0x66, POPF), NO_TRAP);
}

static void io_breakpoint(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    f->cpu.s.dr[0] = 0x80;
    f->cpu.s.dr7 |= L0 | RW0_IO;
    assert_int_equal(around(f, 0xe6, 0x80), NO_TRAP);        /* CR4.DE is clear */
    f->cpu.s.cr4 |= X86_CR4_DE;
    assert_int_equal(around(f, 0xe6, 0x80), 1);
    assert_int_equal(f->port_count, 2);
    assert_int_equal(around(f, 0xe6, 0x81), NO_TRAP);
    f->cpu.s.gpr[X86_RSI] = 0x600;
    f->cpu.s.gpr[X86_RDX] = 0x80;
    f->cpu.s.gpr[X86_RCX] = 2;
    f->cpu.s.rip = CODE;
    assert_int_equal(around(f, 0xf3, 0x6e), 1);      /* after each iteration */
    assert_int_equal(f->cpu.s.gpr[X86_RCX], 1);
    assert_int_equal(f->cpu.s.rip, CODE);
    assert_int_equal(around(f, 0xf3, 0x6e), 1);
    assert_int_equal(f->cpu.s.rip, CODE + 2);
}

static void sti_shadow_lasts_one_instruction(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    assert_int_equal(around(f, STI), NO_TRAP);
    assert_false(x86_interruptible(&f->cpu));
    assert_false(x86_nmi_possible(&f->cpu));
    assert_int_equal(around(f, PUSHF), NO_TRAP);
    assert_true(x86_interruptible(&f->cpu));
    assert_int_equal(around(f, STI), NO_TRAP);       /* IF is set already: none */
    assert_true(x86_interruptible(&f->cpu));
    assert_false(x86_step_watch(&f->cpu));
}

static void mov_ss_holds_traps_back(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    f->cpu.s.gpr[X86_RAX] = DATA0;
    f->cpu.s.rflags |= X86_FLAG_TF;
    assert_int_equal(around(f, MOV_SS), NO_TRAP);    /* no step trap between */
    assert_false(x86_nmi_possible(&f->cpu));
    assert_int_equal(around(f, CLI), 1 << 14);
    assert_int_equal(f->cpu.s.rip, CODE + 3);
    /* A data breakpoint hit by POP SS comes after the next instruction. */
    f->cpu.s.rflags = X86_FLAG_1;
    f->cpu.s.dr[1] = STACK0;
    f->cpu.s.dr7 |= L1 | 3 << 20;
    x86_tlb_flush(&f->cpu, true);
    put32(f, STACK0, DATA0);
    assert_int_equal(around(f, 0x17), NO_TRAP);
    f->cpu.s.dr[0] = f->cpu.s.rip;
    f->cpu.s.dr7 |= L0;                              /* and no instruction breakpoint */
    f->model.amd = false;
    assert_int_equal(around(f, CLI), 2);
    assert_int_equal(f->cpu.s.rip, CODE + 5);
    /* except on AMD's processors, where it brings the other along. */
    f->model.amd = true;
    f->cpu.s.gpr[X86_RSP] -= 4;
    assert_int_equal(around(f, 0x17), NO_TRAP);
    f->cpu.s.dr[0] = f->cpu.s.rip;
    assert_int_equal(around(f, CLI), 3);
    assert_int_equal(f->cpu.s.rip, CODE + 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(registers), T(single_step), T(int_n_does_not_trap), T(syscall_goes_by_the_new_tf),
        T(instruction_breakpoint_and_rf), T(data_breakpoint), T(io_breakpoint),
        T(sti_shadow_lasts_one_instruction), T(mov_ss_holds_traps_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
