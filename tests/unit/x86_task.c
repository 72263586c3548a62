/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_task.c - hardware task switches by JMP, CALL, IRET, INT and exceptions. */
#include "x86_fixture.h"

#define JMP_TO(sel) 0xea, 0, 0, 0, 0, (sel) & 0xff, (sel) >> 8
#define CALL_TO(sel) 0x9a, 0, 0, 0, 0, (sel) & 0xff, (sel) >> 8
enum { BUSY = 2 };

/* Register images in the order of the architecture's 32-bit TSS. */
static void write_tss32(struct fixture *f, uint32_t tss, uint32_t eip, uint32_t eflags,
                        uint16_t cs, uint16_t ss)
{
    memset(f->ram + tss, 0, 0x68);
    put32(f, tss + 32, eip);
    put32(f, tss + 36, eflags);
    for (unsigned i = 0; i < 8; i++)
        put32(f, tss + 40 + 4 * i, 0x1000 + i);
    put32(f, tss + 56, STACK1);
    put16(f, tss + 72, DATA3);                       /* ES */
    put16(f, tss + 76, cs);
    put16(f, tss + 80, ss);
    put16(f, tss + 84, DATA3);                       /* DS */
}

static void write_tss16(struct fixture *f, uint32_t tss, uint16_t ip, uint16_t flags, uint16_t cs,
                        uint16_t ss)
{
    memset(f->ram + tss, 0, 0x2c);
    put16(f, tss + 14, ip);
    put16(f, tss + 16, flags);
    for (unsigned i = 0; i < 8; i++)
        put16(f, tss + 18 + 2 * i, 0x2000 + i);
    put16(f, tss + 26, 0x7000);
    put16(f, tss + 36, cs);
    put16(f, tss + 38, ss);
}

static void start(struct fixture *f, uint16_t cs, uint16_t ss)
{
    mode_protected(f, cs, ss);
    for (unsigned i = 0; i < 8; i++)
        if (i != X86_RSP)
            f->cpu.s.gpr[i] = 0x10000000 + i;
    write_tss32(f, TSS_B, HANDLER, X86_FLAG_1 | X86_FLAG_CF, CODE0, DATA0);
    write_tss16(f, TSS_C, 0x1234, X86_FLAG_1, CODE16, DATA16);
}

static void jump_to_a_task(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    start(f, CODE0, DATA0);
    s->dr7 |= 0x3ff;
    assert_runs(f, JMP_TO(TSS_B_SEL));
    assert_int_equal(s->tr.selector, TSS_B_SEL);
    assert_int_equal(s->tr.base, TSS_B);
    assert_int_equal(s->rip, HANDLER);
    assert_int_equal(s->rflags, X86_FLAG_1 | X86_FLAG_CF);
    assert_int_equal(s->gpr[X86_RAX], 0x1000);
    assert_int_equal(s->gpr[X86_RDI], 0x1007);
    assert_int_equal(s->gpr[X86_RSP], STACK1);
    assert_int_equal(s->seg[X86_CS].selector, CODE0);
    assert_int_equal(s->seg[X86_DS].selector, DATA3);
    assert_true(s->seg[X86_FS].attr & X86_ATTR_UNUSABLE);
    assert_true(s->cr0 & X86_CR0_TS);
    assert_int_equal(s->dr7 & 0x3ff, 0x2aa);         /* local enables are the task's */
    assert_false(desc_access(f, TSS_SEL) & BUSY);
    assert_true(desc_access(f, TSS_B_SEL) & BUSY);
    assert_int_equal(peek16(f, TSS_B), 0);           /* no link for a jump */
    /* What the old task left. */
    assert_int_equal(peek32(f, TSS + 32), CODE + 7);
    assert_int_equal(peek32(f, TSS + 40), 0x10000000);
    assert_int_equal(peek32(f, TSS + 56), STACK0);
    assert_int_equal(peek16(f, TSS + 76), CODE0);
    assert_int_equal(peek16(f, TSS + 92), DATA0);
    /* And back again. */
    assert_runs(f, JMP_TO(TSS_SEL));
    assert_int_equal(s->rip, CODE + 7);
    assert_int_equal(s->gpr[X86_RCX], 0x10000001);
}

static void call_links_and_iret_returns(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    start(f, CODE0, DATA0);
    assert_runs(f, CALL_TO(TSS_B_SEL));
    assert_true(s->rflags & X86_FLAG_NT);
    assert_int_equal(peek16(f, TSS_B), TSS_SEL);
    assert_true(desc_access(f, TSS_SEL) & BUSY);     /* both stay busy */
    assert_true(desc_access(f, TSS_B_SEL) & BUSY);
    assert_fault(f, X86_GP, TSS_SEL, CALL_TO(TSS_SEL));      /* no recursion */
    s->gpr[X86_RAX] = 0x55;
    assert_runs(f, 0xcf);
    assert_int_equal(s->tr.selector, TSS_SEL);
    assert_int_equal(s->rip, CODE + 7);
    assert_false(s->rflags & X86_FLAG_NT);
    assert_false(desc_access(f, TSS_B_SEL) & BUSY);
    assert_true(desc_access(f, TSS_SEL) & BUSY);
    assert_int_equal(peek32(f, TSS_B + 40), 0x55);
    assert_int_equal(peek32(f, TSS_B + 36) & X86_FLAG_NT, 0);
    assert_int_equal(peek32(f, TSS_B + 32), HANDLER + 1);    /* after its IRET */
}

static void iret_link_faults(void **state)
{
    struct fixture *f = *state;

    start(f, CODE0, DATA0);
    f->cpu.s.rflags |= X86_FLAG_NT;
    put16(f, TSS, TSS_B_SEL);                        /* not busy */
    assert_fault(f, X86_TS, TSS_B_SEL, 0xcf);
    put16(f, TSS, DATA0);
    assert_fault(f, X86_TS, DATA0, 0xcf);
    put16(f, TSS, 0x0c);                             /* local */
    assert_fault(f, X86_TS, 0x0c, 0xcf);
}

static void tasks_of_16_bits(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    start(f, CODE0, DATA0);
    assert_runs(f, CALL_TO(TSS_C_SEL));
    assert_int_equal(s->rip, 0x1234);
    assert_int_equal(f->cpu.mode.code_bits, 16);
    assert_int_equal(s->gpr[X86_RAX], 0xffff2000);
    assert_int_equal((uint16_t)s->gpr[X86_RSP], 0x7000);
    assert_int_equal(peek16(f, TSS_C), TSS_SEL);
    s->gpr[X86_RBX] = 0xabcd4444;
    s->rip = 0x1235;
    assert_runs(f, 0xcf);
    assert_int_equal(s->rip, CODE + 7);
    assert_int_equal(peek16(f, TSS_C + 24), 0x4444);
    assert_int_equal(peek16(f, TSS_C + 14), 0x1236);
    assert_int_equal(f->cpu.mode.code_bits, 32);
}

static void task_gates(void **state)
{
    struct fixture *f = *state;

    start(f, CODE3, DATA3);
    set_desc(f, TASK_GATE, make_gate(TSS_B_SEL, 0, 0x85, 0));
    assert_fault(f, X86_GP, TASK_GATE, JMP_TO(TASK_GATE));   /* DPL 0 */
    assert_fault(f, X86_GP, TSS_B_SEL, JMP_TO(TSS_B_SEL));
    set_desc(f, TASK_GATE, make_gate(TSS_B_SEL, 0, 0xe5, 0));
    assert_runs(f, CALL_TO(TASK_GATE));
    assert_int_equal(f->cpu.s.tr.selector, TSS_B_SEL);
    assert_int_equal(cpl(f), 0);
    assert_runs(f, 0xcf);
    assert_int_equal(cpl(f), 3);
    set_desc(f, TASK_GATE, make_gate(TSS_SEL, 0, 0xe5, 0));  /* busy */
    assert_fault(f, X86_GP, TSS_SEL, CALL_TO(TASK_GATE));
    set_desc(f, TASK_GATE, make_gate(TSS_B_SEL, 0, 0x65, 0));
    assert_fault(f, X86_NP, TASK_GATE, CALL_TO(TASK_GATE));
}

static void exception_through_a_task_gate(void **state)
{
    struct fixture *f = *state;

    start(f, CODE3, DATA3);
    put64(f, IDT + X86_DF * 8, make_gate(TSS_B_SEL, 0, 0x85, 0));
    assert_true(raise_and_deliver(f, (struct x86_exception){
        .vector = X86_DF, .has_error = true}));
    assert_int_equal(f->cpu.s.tr.selector, TSS_B_SEL);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK1 - 4);
    assert_int_equal(peek32(f, STACK1 - 4), 0);
    assert_true(f->cpu.s.rflags & X86_FLAG_NT);
    assert_int_equal(peek32(f, TSS + 32), CODE);             /* fault: same EIP */
    assert_int_equal(peek16(f, TSS_B), TSS_SEL);

    start(f, CODE0, DATA0);
    set_desc(f, TSS_B_SEL, make_desc(TSS_B, 0x67, 0x0089));
    put64(f, IDT + 0x30 * 8, make_gate(TSS_B_SEL, 0, 0x85, 0));
    assert_runs(f, 0xcd, 0x30);
    assert_int_equal(peek32(f, TSS + 32), CODE + 2);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK1);
}

static void switch_faults_leave_the_old_task(void **state)
{
    struct fixture *f = *state;

    start(f, CODE0, DATA0);
    set_desc(f, TSS_B_SEL, make_desc(TSS_B, 0x66, 0x0089));
    assert_fault(f, X86_TS, TSS_B_SEL, JMP_TO(TSS_B_SEL));
    set_desc(f, TSS_B_SEL, make_desc(TSS_B, 0x67, 0x0009));
    assert_fault(f, X86_NP, TSS_B_SEL, JMP_TO(TSS_B_SEL));
    assert_fault(f, X86_GP, TSS_SEL, JMP_TO(TSS_SEL));
}

/* After the commit point faults are the new task's: TR, registers and selectors
 * are its own, and the busy bits have moved. */
static void faults_in_the_new_task(void **state)
{
    struct fixture *f = *state;

    start(f, CODE0, DATA0);
    put16(f, TSS_B + 80, DATA3);                     /* SS of the wrong privilege */
    assert_int_equal(step(f, JMP_TO(TSS_B_SEL)), X86_TS);
    assert_int_equal(f->cpu.pending.error, DATA3 & ~3);
    assert_int_equal(f->cpu.s.tr.selector, TSS_B_SEL);
    assert_int_equal(f->cpu.s.rip, HANDLER);
    assert_false(desc_access(f, TSS_SEL) & BUSY);

    fill_gdt(f);
    start(f, CODE0, DATA0);
    put16(f, TSS_B + 96, DATA0);                     /* LDT is none */
    assert_int_equal(step(f, JMP_TO(TSS_B_SEL)), X86_TS);
    assert_int_equal(f->cpu.pending.error, DATA0);

    fill_gdt(f);
    start(f, CODE0, DATA0);
    put16(f, TSS_B + 76, SMALL);                     /* EIP outside CS */
    assert_int_equal(step(f, JMP_TO(TSS_B_SEL)), X86_GP);
    assert_int_equal(f->cpu.pending.error, 0);
    assert_int_equal(f->cpu.s.seg[X86_CS].selector, SMALL);
}

static void ldt_and_vm86_tasks(void **state)
{
    struct fixture *f = *state;

    start(f, CODE0, DATA0);
    put16(f, TSS_B + 96, LDT_SEL);
    assert_runs(f, JMP_TO(TSS_B_SEL));
    assert_int_equal(f->cpu.s.ldtr.base, LDT);

    fill_gdt(f);
    start(f, CODE0, DATA0);
    put32(f, TSS_B + 36, X86_FLAG_VM | X86_FLAG_IOPL);
    put32(f, TSS_B + 32, 0x40);
    assert_runs(f, JMP_TO(TSS_B_SEL));
    assert_true(f->cpu.mode.vm86);
    assert_int_equal(cpl(f), 3);
    assert_int_equal(f->cpu.s.seg[X86_DS].base, DATA3 << 4);
}

static void the_t_bit_traps(void **state)
{
    struct fixture *f = *state;

    start(f, CODE0, DATA0);
    put16(f, TSS_B + 100, 1);
    assert_runs(f, JMP_TO(TSS_B_SEL));
    assert_true(x86_step_watch(&f->cpu));
    if (setjmp(f->cpu.unwind) == 0) {
        x86_step_begin(&f->cpu);
        fail_msg("no #DB");
    }
    assert_int_equal(f->cpu.pending.vector, X86_DB);
    assert_int_equal(f->cpu.pending.dr6, 1 << 15);
    assert_true(f->cpu.pending.trap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(jump_to_a_task), T(call_links_and_iret_returns), T(iret_link_faults),
        T(tasks_of_16_bits), T(task_gates), T(exception_through_a_task_gate),
        T(switch_faults_leave_the_old_task), T(faults_in_the_new_task), T(ldt_and_vm86_tasks),
        T(the_t_bit_traps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
