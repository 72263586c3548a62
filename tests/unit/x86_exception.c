/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_exception.c - delivering exceptions, interrupts, NMIs and INT n. */
#include "x86_fixture.h"

/* Access bytes of gates. */
enum { INT32 = 0x8e, TRAP32 = 0x8f, INT16 = 0x86, TRAP16 = 0x87, USER = 0x60, TASK = 0x85 };

static bool raise_error(struct fixture *f, unsigned vector, uint32_t error)
{
    return raise_and_deliver(f, (struct x86_exception){.vector = vector, .has_error = true,
                                                       .error = error});
}

static bool raise_plain(struct fixture *f, unsigned vector)
{
    return raise_and_deliver(f, (struct x86_exception){.vector = vector});
}

static void at(struct fixture *f, uint16_t cs, uint64_t rip, unsigned privilege)
{
    assert_int_equal(f->cpu.s.seg[X86_CS].selector, cs);
    assert_int_equal(f->cpu.s.rip, rip);
    assert_int_equal(cpl(f), privilege);
    assert_int_equal(f->cpu.mode.cpl, privilege);
}

/* ---- real mode ------------------------------------------------------------------- */

static void real_mode(void **state)
{
    struct fixture *f = *state;

    mode_real(f);
    put32(f, IDT + X86_GP * 4, 0x20001234);
    f->cpu.s.rflags = X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_CF;
    assert_true(raise_error(f, X86_GP, 0));
    at(f, 0x2000, 0x1234, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 6);     /* no error code */
    assert_int_equal(peek16(f, STACK0 - 2), 0x303);
    assert_int_equal(peek16(f, STACK0 - 4), CODE >> 4);
    assert_int_equal(peek16(f, STACK0 - 6), 0);
    assert_int_equal(f->cpu.s.rflags, X86_FLAG_1 | X86_FLAG_CF);
}

static void real_mode_limit(void **state)
{
    struct fixture *f = *state;

    mode_real(f);
    f->cpu.s.idtr.limit = X86_DF * 4 + 3;            /* #GP has no vector: #DF, which has */
    put32(f, IDT + X86_DF * 4, 0x20001234);
    assert_true(raise_error(f, X86_GP, 0));
    at(f, 0x2000, 0x1234, 0);
    mode_real(f);
    f->cpu.s.idtr.limit = 0;
    assert_false(raise_plain(f, X86_UD));
    assert_true(f->cpu.halted_by_shutdown);
    at(f, CODE >> 4, 0, 0);                          /* the state is the one before */
}

static void real_mode_int(void **state)
{
    struct fixture *f = *state;

    mode_real(f);
    put32(f, IDT + 0x21 * 4, 0x30000040);
    assert_runs(f, 0xcd, 0x21);
    at(f, 0x3000, 0x40, 0);
    assert_int_equal(peek16(f, STACK0 - 6), 2);
}

/* ---- protected mode ---------------------------------------------------------------- */

static void same_privilege(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_idt(f, X86_GP, CODE0, HANDLER, INT32);
    f->cpu.s.rflags |= X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_NT;
    assert_true(raise_error(f, X86_GP, 0x1234));
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 16);
    assert_int_equal(peek32(f, STACK0 - 16), 0x1234);
    assert_int_equal(peek32(f, STACK0 - 12), CODE);
    assert_int_equal(peek32(f, STACK0 - 8), CODE0);
    assert_int_equal(peek32(f, STACK0 - 4), 0x14302);        /* with RF: a fault */
    assert_int_equal(f->cpu.s.rflags, X86_FLAG_1);
    assert_int_equal(desc_access(f, CODE0), 0x9b);
}

static void trap_gate_keeps_if_and_traps_have_no_rf(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_idt(f, X86_DB, CODE0, HANDLER, TRAP32);
    f->cpu.s.rflags |= X86_FLAG_IF;
    f->cpu.s.dr7 |= 1 << 13;
    f->cpu.s.dr6 = 0xffff0ff0 | 1 << 15 | 8;
    assert_true(raise_and_deliver(f, (struct x86_exception){
        .vector = X86_DB, .trap = true, .dr6 = 1 << 14 | 1}));
    assert_true(f->cpu.s.rflags & X86_FLAG_IF);
    assert_int_equal(peek32(f, STACK0 - 4), 0x202);
    assert_int_equal(f->cpu.s.dr6, 0xffffcff1);      /* B3 gone, BT stays, B0 and BS new */
    assert_false(f->cpu.s.dr7 & 1 << 13);
    /* Fault-type #DB: RF. */
    assert_true(raise_and_deliver(f, (struct x86_exception){.vector = X86_DB, .dr6 = 2}));
    assert_true(peek32(f, STACK0 - 16) & X86_FLAG_RF);
}

static void to_inner_privilege(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    f->cpu.s.gpr[X86_RSP] = STACK3;
    set_idt(f, X86_PF, CODE0, HANDLER, INT32);
    assert_true(raise_and_deliver(f, (struct x86_exception){
        .vector = X86_PF, .has_error = true, .error = 7, .cr2 = 0x12345678}));
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(f->cpu.s.cr2, 0x12345678);
    assert_int_equal(f->cpu.s.seg[X86_SS].selector, DATA0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 24);
    assert_int_equal(peek32(f, STACK0 - 4), DATA3);
    assert_int_equal(peek32(f, STACK0 - 8), STACK3);
    assert_int_equal(peek32(f, STACK0 - 24), 7);
    assert_int_equal(f->cpu.s.seg[X86_DS].selector, DATA3);  /* data segments stay */
    assert_int_equal(counter_get(&f->counters, COUNTER_page_faults), 1);
}

static void gate_of_16_bits(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_idt(f, X86_UD, CODE0, 0xabcd1234, INT16);
    assert_true(raise_plain(f, X86_UD));
    at(f, CODE0, 0x1234, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 10);
}

static void conforming_handler_stays(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_idt(f, X86_UD, CONFORMING, HANDLER, INT32);
    assert_true(raise_plain(f, X86_UD));
    at(f, CONFORMING | 3, HANDLER, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 12);
}

static void external_interrupts_and_nmi(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_idt(f, 0x20, CODE0, HANDLER, INT32);         /* DPL 0 does not matter */
    set_idt(f, X86_NMI, CODE0, HANDLER + 16, INT32);
    f->cpu.s.rflags |= X86_FLAG_IF;
    assert_true(x86_interruptible(&f->cpu));
    assert_true(x86_interrupt_deliver(&f->cpu, 0x20));
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(peek32(f, STACK0 - 12), 0x202);         /* no RF */
    assert_false(x86_interruptible(&f->cpu));
    assert_true(x86_nmi_possible(&f->cpu));
    assert_true(x86_nmi_deliver(&f->cpu));
    at(f, CODE0, HANDLER + 16, 0);
    assert_false(x86_nmi_possible(&f->cpu));
    assert_runs(f, 0xcf);
    assert_true(x86_nmi_possible(&f->cpu));
}

/* ---- software interrupts ------------------------------------------------------------- */

static void software_interrupts(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_idt(f, 0x80, CODE0, HANDLER, TRAP32 | USER);
    set_idt(f, 0x81, CODE0, HANDLER, TRAP32);
    set_idt(f, 0x82, CODE0, HANDLER, USER | 0x0e);   /* not present */
    assert_fault(f, X86_GP, 0x81 * 8 + 2, 0xcd, 0x81);
    assert_fault(f, X86_NP, 0x82 * 8 + 2, 0xcd, 0x82);
    assert_fault(f, X86_GP, X86_BP * 8 + 2, 0xcc);
    assert_runs(f, 0xcd, 0x80);
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(peek32(f, STACK0 - 20), CODE + 2);

    mode_protected(f, CODE3, DATA3);
    assert_runs(f, 0xce);                            /* INTO without OF */
    assert_int_equal(f->cpu.s.rip, CODE + 1);
    f->cpu.s.rflags |= X86_FLAG_OF;
    assert_fault(f, X86_GP, X86_OF * 8 + 2, 0xce);
    set_idt(f, X86_DB, CODE0, HANDLER, INT32);       /* INT1 ignores the gate's DPL */
    assert_runs(f, 0xf1);
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(peek32(f, STACK0 - 20), CODE + 2);
}

static void bound(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    put32(f, 0x500, -5u);
    put32(f, 0x504, 5);
    f->cpu.s.gpr[X86_RBX] = 0x500;
    f->cpu.s.gpr[X86_RAX] = (uint32_t)-5;
    assert_runs(f, 0x62, 0x03);
    f->cpu.s.gpr[X86_RAX] = 6;
    assert_fault(f, X86_BR, 0, 0x62, 0x03);
    f->cpu.s.gpr[X86_RAX] = (uint32_t)-6;
    assert_fault(f, X86_BR, 0, 0x62, 0x03);
}

/* ---- virtual-8086 mode ------------------------------------------------------------------ */

static void vm86_to_ring_0(void **state)
{
    struct fixture *f = *state;

    mode_vm86(f, 3);
    set_idt(f, 0x21, CODE0, HANDLER, INT32 | USER);
    assert_runs(f, 0xcd, 0x21);
    at(f, CODE0, HANDLER, 0);
    assert_false(f->cpu.mode.vm86);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 36);
    assert_int_equal(peek32(f, STACK0 - 4), 0x100 * X86_GS);
    assert_int_equal(peek32(f, STACK0 - 8), 0x100 * X86_FS);
    assert_int_equal(peek32(f, STACK0 - 12), 0x100 * X86_DS);
    assert_int_equal(peek32(f, STACK0 - 16), 0x100 * X86_ES);
    assert_int_equal(peek32(f, STACK0 - 20), 0x100 * X86_SS);
    assert_int_equal(peek32(f, STACK0 - 24), 0x800);
    assert_int_equal(peek32(f, STACK0 - 28), 0x23002);       /* VM, IOPL 3 */
    assert_int_equal(peek32(f, STACK0 - 36), 2);
    assert_true(f->cpu.s.seg[X86_DS].attr & X86_ATTR_UNUSABLE);
    assert_int_equal(f->cpu.s.seg[X86_GS].selector, 0);
    assert_runs(f, 0xcf);                                    /* and back */
    at(f, CODE >> 4, 2, 3);
    assert_true(f->cpu.mode.vm86);
    assert_int_equal(f->cpu.s.seg[X86_FS].selector, 0x100 * X86_FS);
}

static void vm86_faults(void **state)
{
    struct fixture *f = *state;

    mode_vm86(f, 0);
    set_idt(f, 0x21, CODE0, HANDLER, INT32 | USER);
    assert_fault(f, X86_GP, 0, 0xcd, 0x21);                  /* IOPL */
    assert_fault(f, X86_GP, 0, 0x9c);
    assert_fault(f, X86_GP, 0, 0xfa);
    mode_vm86(f, 3);
    set_idt(f, 0x21, CODE1, HANDLER, INT32 | USER);          /* privilege 0 only */
    assert_fault(f, X86_GP, CODE1 & ~3, 0xcd, 0x21);
    set_idt(f, 0x21, CONFORMING, HANDLER, INT32 | USER);
    assert_fault(f, X86_GP, CONFORMING, 0xcd, 0x21);
}

static void vme_redirection(void **state)
{
    struct fixture *f = *state;
    uint32_t stack = 0x1000 * X86_SS + 0x800;

    mode_vm86(f, 0);
    f->cpu.s.cr4 |= X86_CR4_VME;
    put32(f, 0x21 * 4, 0x30000040);                          /* its own IVT, at linear 0 */
    f->cpu.s.rflags |= X86_FLAG_VIF;
    assert_runs(f, 0xcd, 0x21);                              /* bitmap says redirect */
    at(f, 0x3000, 0x40, 3);
    assert_int_equal(peek16(f, stack - 2), 0x3202);          /* IF is VIF, IOPL reads 3 */
    assert_false(f->cpu.s.rflags & X86_FLAG_VIF);
    f->ram[TSS + 104 + 0x21 / 8] |= 1 << 0x21 % 8;           /* bit set: to ring 0 */
    mode_vm86(f, 0);
    f->cpu.s.cr4 |= X86_CR4_VME;
    assert_fault(f, X86_GP, 0, 0xcd, 0x21);
    assert_runs(f, 0xfb);                                    /* STI sets VIF */
    assert_true(f->cpu.s.rflags & X86_FLAG_VIF);
    assert_false(f->cpu.s.rflags & X86_FLAG_IF);
    assert_runs(f, 0x9c);
    assert_int_equal(peek16(f, stack - 2), 0x3202);
    f->cpu.s.rflags |= X86_FLAG_VIP;
    assert_fault(f, X86_GP, 0, 0xfb);
    assert_runs(f, 0xfa);
    assert_false(f->cpu.s.rflags & X86_FLAG_VIF);
}

/* ---- long mode --------------------------------------------------------------------------- */

static void long_mode_stack(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE64, DATA0);
    f->cpu.s.gpr[X86_RSP] = STACK0 + 13;
    set_idt64(f, X86_GP, CODE64, 0xffffffff80001234, INT32, 0);
    assert_true(raise_error(f, X86_GP, 5));
    at(f, CODE64, 0xffffffff80001234, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 48);    /* aligned, six words */
    assert_int_equal(peek64(f, STACK0 - 8), DATA0);
    assert_int_equal(peek64(f, STACK0 - 16), STACK0 + 13);
    assert_int_equal(peek64(f, STACK0 - 48), 5);
    assert_int_equal(f->cpu.s.seg[X86_SS].selector, DATA0);  /* same privilege: SS stays */

    mode_long(f, CODE3, DATA3);                              /* from compatibility mode */
    assert_true(raise_error(f, X86_GP, 5));
    at(f, CODE64, 0xffffffff80001234, 0);
    assert_int_equal(f->cpu.s.seg[X86_SS].selector, 0);
    assert_int_equal(peek64(f, STACK0 - 8), DATA3);

    mode_long(f, CODE64, DATA0);
    set_idt64(f, X86_DF, CODE64, HANDLER, INT32, 1);
    assert_true(raise_error(f, X86_DF, 0));
    assert_int_equal(f->cpu.s.gpr[X86_RSP], IST1 - 48);
    assert_int_equal(f->cpu.s.seg[X86_SS].selector, DATA0);
}

static void long_mode_faults(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE64_3, DATA3);
    set_idt64(f, 0x80, CODE0, HANDLER, INT32 | USER, 0);     /* 32-bit code */
    assert_fault(f, X86_GP, CODE0, 0xcd, 0x80);
    set_idt64(f, 0x80, CODE64, 0x0000800000000000, INT32 | USER, 0);
    assert_fault(f, X86_GP, 0, 0xcd, 0x80);
    set_idt64(f, 0x80, CODE64, HANDLER, INT16 | USER, 0);
    assert_fault(f, X86_GP, 0x80 * 8 + 2, 0xcd, 0x80);
    set_idt64(f, 0x80, CODE64, HANDLER, INT32 | USER, 0);
    put64(f, TSS + 4, 0x0000900000000000);
    assert_fault(f, X86_SS_FAULT, 0, 0xcd, 0x80);
    f->cpu.s.tr.limit = 10;
    assert_fault(f, X86_TS, TSS_SEL, 0xcd, 0x80);
}

/* ---- two at once --------------------------------------------------------------------------- */

static void double_faults(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_idt(f, X86_DF, CODE0, HANDLER, INT32);
    assert_true(raise_error(f, X86_GP, 0));          /* no gate for #GP: #GP again */
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(peek32(f, STACK0 - 16), 0);     /* error code 0 */
    assert_int_equal(f->cpu.fault_count, 2);
    assert_int_equal(f->cpu.fault_log[1].e.vector, X86_DF);

    /* Benign first, then #GP(vector * 8 + IDT + EXT). */
    mode_protected(f, CODE0, DATA0);
    set_idt(f, X86_GP, CODE0, HANDLER + 8, INT32);
    assert_true(raise_plain(f, X86_UD));
    at(f, CODE0, HANDLER + 8, 0);
    assert_int_equal(peek32(f, STACK0 - 16), X86_UD * 8 + 3);
    /* An interrupt through a missing gate likewise. */
    mode_protected(f, CODE0, DATA0);
    assert_true(x86_interrupt_deliver(&f->cpu, 0x55));
    assert_int_equal(peek32(f, STACK0 - 16), 0x55 * 8 + 3);
    /* Contributory first, benign never second; #PF first, then #GP. */
    mode_protected(f, CODE0, DATA0);
    assert_true(raise_error(f, X86_PF, 0));
    at(f, CODE0, HANDLER, 0);
}

static void triple_fault(void **state)
{
    struct fixture *f = *state;
    jmp_buf mine;

    mode_protected(f, CODE3, DATA3);
    memset(&mine, 0x5a, sizeof mine);
    memcpy(&f->cpu.unwind, &mine, sizeof mine);
    f->cpu.s.idtr.limit = 0;
    assert_false(raise_and_deliver(f, (struct x86_exception){
        .vector = X86_PF, .has_error = true, .cr2 = 0x77}));
    assert_true(f->cpu.halted_by_shutdown);
    assert_int_equal(f->cpu.s.cr2, 0x77);
    at(f, CODE3, CODE, 3);
    assert_memory_equal(&f->cpu.unwind, &mine, sizeof mine);
    /* #PF, the #DF it became, and what stopped that. */
    assert_int_equal(f->cpu.fault_count, 3);
    assert_int_equal(f->cpu.fault_log[0].e.vector, X86_PF);
    assert_int_equal(f->cpu.fault_log[1].e.vector, X86_DF);
    assert_int_equal(f->cpu.fault_log[2].e.vector, X86_GP);
}

static void a_bad_stack_in_the_tss(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_idt(f, 0x20, CODE0, HANDLER, INT32);
    set_idt(f, X86_TS, CONFORMING, HANDLER + 8, INT32);
    put32(f, TSS + 8, DATA3);
    assert_true(x86_interrupt_deliver(&f->cpu, 0x20));
    at(f, CONFORMING | 3, HANDLER + 8, 3);
    assert_int_equal(peek32(f, STACK0 - 16), (DATA3 & ~3) | 1);      /* with EXT */
}

static void delivery_ends_shadows(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_idt(f, X86_UD, CODE0, HANDLER, INT32);
    f->cpu.s.ev.shadow_sti = f->cpu.s.ev.shadow_mov_ss = true;
    assert_true(raise_plain(f, X86_UD));
    assert_false(f->cpu.s.ev.shadow_sti || f->cpu.s.ev.shadow_mov_ss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(real_mode), T(real_mode_limit), T(real_mode_int), T(same_privilege),
        T(trap_gate_keeps_if_and_traps_have_no_rf), T(to_inner_privilege), T(gate_of_16_bits),
        T(conforming_handler_stays), T(external_interrupts_and_nmi), T(software_interrupts),
        T(bound), T(vm86_to_ring_0), T(vm86_faults), T(vme_redirection), T(long_mode_stack),
        T(long_mode_faults), T(double_faults), T(triple_fault), T(a_bad_stack_in_the_tss),
        T(delivery_ends_shadows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
