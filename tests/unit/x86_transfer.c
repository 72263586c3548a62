/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_transfer.c - far JMP, CALL, RETF, IRET, SYSCALL and SYSENTER, in every mode. */
#include "x86_fixture.h"

#define JMP_FAR(sel, off) 0xea, (off) & 0xff, (off) >> 8 & 0xff, (off) >> 16 & 0xff, \
                          (uint8_t)((off) >> 24), (sel) & 0xff, (sel) >> 8
#define CALL_FAR(sel, off) 0x9a, (off) & 0xff, (off) >> 8 & 0xff, (off) >> 16 & 0xff, \
                           (uint8_t)((off) >> 24), (sel) & 0xff, (sel) >> 8
#define RETF 0xcb
#define IRET 0xcf

static void at(struct fixture *f, uint16_t cs, uint64_t rip, unsigned privilege)
{
    assert_int_equal(f->cpu.s.seg[X86_CS].selector, cs);
    assert_int_equal(f->cpu.s.rip, rip);
    assert_int_equal(cpl(f), privilege);
    assert_int_equal(f->cpu.mode.cpl, privilege);
}

/* ---- real and virtual-8086 mode -------------------------------------------------- */

static void real_mode_far(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    mode_real(f);
    assert_runs(f, 0x9a, 0x34, 0x12, 0x00, 0x20);    /* call 2000:1234 */
    at(f, 0x2000, 0x1234, 0);
    assert_int_equal(s->seg[X86_CS].base, 0x20000);
    assert_int_equal(peek16(f, STACK0 - 2), CODE >> 4);
    assert_int_equal(peek16(f, STACK0 - 4), 5);
    assert_runs(f, 0xca, 6, 0);                      /* retf 6 */
    at(f, CODE >> 4, 5, 0);
    assert_int_equal(s->gpr[X86_RSP], STACK0 + 6);
    /* A 32-bit offset beyond 64K. */
    assert_fault(f, X86_GP, 0, 0x66, 0xea, 0, 0, 1, 0, 0, 0x10);
    s->gpr[X86_RSP] = 1;
    assert_fault(f, X86_SS_FAULT, 0, 0x9a, 0x34, 0x12, 0x00, 0x20);
    s->gpr[X86_RSP] = 0x7fff0000;                    /* SP wraps, the rest stays */
    assert_runs(f, 0x9a, 0x34, 0x12, 0x00, 0x20);
    assert_int_equal(s->gpr[X86_RSP], 0x7ffffffc);
}

static void real_mode_iret(void **state)
{
    struct fixture *f = *state;

    mode_real(f);
    put16(f, STACK0, 0x1234);
    put16(f, STACK0 + 2, 0x3000);
    put16(f, STACK0 + 4, 0xffff);
    f->cpu.s.ev.nmi_masked = true;
    assert_runs(f, IRET);
    at(f, 0x3000, 0x1234, 0);
    assert_int_equal(f->cpu.s.rflags, 0x7fd7);
    assert_false(f->cpu.s.ev.nmi_masked);
}

static void vm86_iret(void **state)
{
    struct fixture *f = *state;
    uint32_t stack = 0x1000 * X86_SS + 0x800;

    mode_vm86(f, 3);
    put16(f, stack, 0x40);
    put16(f, stack + 2, 0x3000);
    put16(f, stack + 4, 0x0fff);                     /* IOPL 0 asked for, 3 stays */
    assert_runs(f, IRET);
    at(f, 0x3000, 0x40, 3);
    assert_int_equal(f->cpu.s.rflags, 0x3fd7 | X86_FLAG_VM);

    mode_vm86(f, 0);
    assert_fault(f, X86_GP, 0, IRET);
    f->cpu.s.cr4 |= X86_CR4_VME;
    put16(f, stack + 4, 0x0202);
    assert_runs(f, IRET);
    assert_true(f->cpu.s.rflags & X86_FLAG_VIF);
    assert_false(f->cpu.s.rflags & X86_FLAG_IF);
    mode_vm86(f, 0);
    f->cpu.s.rflags |= X86_FLAG_VIP;
    assert_fault(f, X86_GP, 0, IRET);                /* IF with VIP pending */
    put16(f, stack + 4, 0x0102);
    assert_fault(f, X86_GP, 0, IRET);                /* TF */
}

/* ---- protected mode: JMP and CALL ---------------------------------------------------- */

static void jump_to_code(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    assert_runs(f, JMP_FAR(CODE3 & ~3, HANDLER));
    at(f, CODE3, HANDLER, 3);                        /* RPL becomes CPL */
    assert_int_equal(desc_access(f, CODE3), 0xfb);
    assert_fault(f, X86_GP, CODE0, JMP_FAR(CODE0, HANDLER));
    assert_fault(f, X86_GP, 0, JMP_FAR(0, HANDLER));
    assert_fault(f, X86_GP, DATA3 & ~3, JMP_FAR(DATA3, HANDLER));
    assert_fault(f, X86_GP, GDT_SLOTS * 8, JMP_FAR(GDT_SLOTS * 8, HANDLER));
    assert_runs(f, JMP_FAR(CONFORMING, CODE));
    at(f, CONFORMING | 3, CODE, 3);                  /* conforming code keeps CPL */

    mode_protected(f, CODE0, DATA0);
    assert_fault(f, X86_GP, 0, JMP_FAR(SMALL, 0x100));
    assert_fault(f, X86_GP, CODE3 & ~3, JMP_FAR(CODE3, HANDLER));
    set_desc(f, ABSENT, make_desc(0, 0xfffff, 0xc01a));
    assert_fault(f, X86_NP, ABSENT, JMP_FAR(ABSENT, HANDLER));
    assert_runs(f, JMP_FAR(CODE16, 0x1234));
    assert_int_equal(f->cpu.mode.code_bits, 16);
}

static void indirect_and_sizes(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    f->cpu.s.gpr[X86_RBX] = 0x500;
    put32(f, 0x500, 0x00011234);
    put16(f, 0x504, CODE0);
    assert_runs(f, 0xff, 0x2b);                      /* jmp far [ebx] */
    at(f, CODE0, 0x11234, 0);
    f->cpu.s.rip = CODE;
    put32(f, 0x500, 0x00081234);                     /* 16-bit form: 8:1234 */
    assert_runs(f, 0x66, 0xff, 0x1b);                /* call far word [ebx] */
    at(f, CODE0, 0x1234, 0);
    assert_int_equal(peek16(f, STACK0 - 2), CODE0);
    assert_int_equal(peek16(f, STACK0 - 4), (CODE + 3) & 0xffff);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 4);
}

static void call_and_return(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    assert_runs(f, CALL_FAR(CODE3, HANDLER));
    at(f, CODE3, HANDLER, 3);
    assert_int_equal(peek32(f, STACK0 - 4), CODE3);
    assert_int_equal(peek32(f, STACK0 - 8), CODE + 7);
    assert_runs(f, RETF);
    at(f, CODE3, CODE + 7, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0);
    put32(f, STACK0 + 4, CODE0);                     /* return inwards */
    assert_fault(f, X86_GP, CODE0, RETF);
    put32(f, STACK0 + 4, 0);
    assert_fault(f, X86_GP, 0, RETF);
}

static void return_to_outer_privilege(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    seg_force(f, &f->cpu.s.seg[X86_ES], DATA3);
    put32(f, STACK0, HANDLER);
    put32(f, STACK0 + 4, CODE3);
    put32(f, STACK0 + 16, STACK3);
    put32(f, STACK0 + 20, DATA3);
    assert_runs(f, 0xca, 8, 0);                      /* retf 8 */
    at(f, CODE3, HANDLER, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK3 + 8);
    assert_int_equal(f->cpu.s.seg[X86_SS].selector, DATA3);
    assert_int_equal(f->cpu.s.seg[X86_DS].selector, 0);     /* DPL 0: taken away */
    assert_true(f->cpu.s.seg[X86_DS].attr & X86_ATTR_UNUSABLE);
    assert_int_equal(f->cpu.s.seg[X86_ES].selector, DATA3); /* its own: kept */

    mode_protected(f, CODE0, DATA0);
    put32(f, STACK0 + 8, STACK3);
    put32(f, STACK0 + 12, DATA0);
    assert_fault(f, X86_GP, DATA0, RETF);
    put32(f, STACK0 + 12, 0);
    assert_fault(f, X86_GP, 0, RETF);
    set_desc(f, ABSENT, make_desc(0, 0xfffff, 0xc072));
    put32(f, STACK0 + 12, ABSENT | 3);
    assert_fault(f, X86_SS_FAULT, ABSENT, RETF);
}

static void return_to_a_16_bit_stack_keeps_the_upper_half(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_desc(f, DATA16, make_desc(0, 0xffff, 0x00f2));
    put32(f, STACK0, HANDLER);
    put32(f, STACK0 + 4, CODE3);
    put32(f, STACK0 + 8, 0xabcd0000 | STACK3);
    put32(f, STACK0 + 12, DATA16 | 3);
    assert_runs(f, RETF);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK3);
}

/* ---- call gates ------------------------------------------------------------------------ */

static void call_gate_same_privilege(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0x8c, 4));
    assert_runs(f, CALL_FAR(GATE, 0x99999999));      /* the offset does not matter */
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 8);
    assert_runs(f, JMP_FAR(GATE, 0));
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 8);
    assert_fault(f, X86_GP, GATE, JMP_FAR(GATE | 3, 0));    /* DPL 0, RPL 3 */
}

static void call_gate_to_ring_0_copies_parameters(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0xec, 2));
    f->cpu.s.gpr[X86_RSP] = STACK3;
    put32(f, STACK3, 0x11111111);
    put32(f, STACK3 + 4, 0x22222222);
    assert_fault(f, X86_GP, CODE0, JMP_FAR(GATE | 3, 0));   /* a jump may not */
    assert_runs(f, CALL_FAR(GATE | 3, 0));
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(f->cpu.s.seg[X86_SS].selector, DATA0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 24);
    assert_int_equal(peek32(f, STACK0 - 4), DATA3);
    assert_int_equal(peek32(f, STACK0 - 8), STACK3);
    assert_int_equal(peek32(f, STACK0 - 12), 0x22222222);
    assert_int_equal(peek32(f, STACK0 - 16), 0x11111111);
    assert_int_equal(peek32(f, STACK0 - 20), CODE3);
    assert_int_equal(peek32(f, STACK0 - 24), CODE + 7);
    assert_runs(f, 0xca, 8, 0);
    at(f, CODE3, CODE + 7, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK3 + 8);
}

static void call_gate_16_and_ring_1(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_desc(f, GATE, make_gate(CODE1, 0x4321, 0xe4, 1));
    put16(f, STACK0, 0x7777);
    assert_runs(f, CALL_FAR(GATE | 3, 0));
    at(f, CODE1, 0x4321, 1);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK1 - 10);
    assert_int_equal(peek16(f, STACK1 - 6), 0x7777);
    assert_int_equal(peek16(f, STACK1 - 10), (CODE + 7) & 0xffff);
}

static void call_gate_faults(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0x8c, 0));   /* DPL 0 */
    assert_fault(f, X86_GP, GATE, CALL_FAR(GATE, 0));
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0x6c, 0));   /* not present */
    assert_fault(f, X86_NP, GATE, CALL_FAR(GATE, 0));
    set_desc(f, GATE, make_gate(DATA0, HANDLER, 0xec, 0));
    assert_fault(f, X86_GP, DATA0, CALL_FAR(GATE, 0));
    set_desc(f, GATE, make_gate(0, HANDLER, 0xec, 0));
    assert_fault(f, X86_GP, 0, CALL_FAR(GATE, 0));
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0xec, 0));
    put32(f, TSS + 8, DATA3);                        /* bad stacks: #TS */
    assert_fault(f, X86_TS, DATA3 & ~3, CALL_FAR(GATE, 0));
    put32(f, TSS + 8, 0);
    assert_fault(f, X86_TS, 0, CALL_FAR(GATE, 0));
    set_desc(f, ABSENT, make_desc(0, 0xfffff, 0xc012));
    put32(f, TSS + 8, ABSENT);
    assert_fault(f, X86_SS_FAULT, ABSENT, CALL_FAR(GATE, 0));
    put32(f, TSS + 8, DATA16);
    put32(f, TSS + 4, 6);                            /* the last push does not fit */
    assert_fault(f, X86_SS_FAULT, DATA16, CALL_FAR(GATE, 0));
    f->cpu.s.tr.limit = 8;
    assert_fault(f, X86_TS, TSS_SEL, CALL_FAR(GATE, 0));
}

/* ---- IRET in protected mode ------------------------------------------------------------- */

static void iret_frame(struct fixture *f, uint32_t eip, uint32_t cs, uint32_t flags, uint32_t esp,
                       uint32_t ss)
{
    uint32_t v[] = {eip, cs, flags, esp, ss};

    memcpy(f->ram + f->cpu.s.gpr[X86_RSP], v, sizeof v);
}

static void iret_same_privilege(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    iret_frame(f, HANDLER, CODE0, 0xfffdbfff, 0, 0);         /* all but VM and NT */
    assert_runs(f, IRET);
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(f->cpu.s.rflags, 0x3d3fd7);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 + 12);
    mode_protected(f, CODE3, DATA3);
    f->cpu.s.rflags = X86_FLAG_1;
    iret_frame(f, HANDLER, CODE3, 0xfffdbfff, 0, 0);
    assert_runs(f, IRET);                                    /* no IF, IOPL, VIF, VIP */
    assert_int_equal(f->cpu.s.rflags, 0x250dd7);
    f->cpu.s.rflags = X86_FLAG_1;
    f->cpu.s.gpr[X86_RSP] = STACK0;
    f->cpu.s.rip = CODE;
    put16(f, STACK0, 0x1111);
    put16(f, STACK0 + 2, CODE3);
    put16(f, STACK0 + 4, 0x0fd7);
    assert_runs(f, 0x66, IRET);
    at(f, CODE3, 0x1111, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 + 6);
    assert_int_equal(f->cpu.s.rflags, 0xdd7);
}

static void iret_to_outer_privilege(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    iret_frame(f, HANDLER, CODE3, X86_FLAG_IF | X86_FLAG_IOPL | X86_FLAG_RF, STACK3, DATA3);
    assert_runs(f, IRET);
    at(f, CODE3, HANDLER, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK3);
    assert_int_equal(f->cpu.s.rflags,
                     X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_IOPL | X86_FLAG_RF);
    assert_true(f->cpu.s.seg[X86_DS].attr & X86_ATTR_UNUSABLE);
    mode_protected(f, CODE0, DATA0);
    iret_frame(f, HANDLER, CODE3, 2, STACK3, DATA0);
    assert_fault(f, X86_GP, DATA0, IRET);
    f->cpu.s.ev.nmi_masked = true;
    assert_fault(f, X86_GP, DATA0, IRET);                    /* and NMIs stay masked */
}

static void iret_into_vm86(void **state)
{
    struct fixture *f = *state;
    uint32_t frame[] = {0x1234, 0x2000, X86_FLAG_VM | X86_FLAG_IF | 2, 0x5678, 0x3000,
                        0x4000, 0x5000, 0x6000, 0x7000};

    mode_protected(f, CODE0, DATA0);
    memcpy(f->ram + STACK0, frame, sizeof frame);
    assert_runs(f, IRET);
    at(f, 0x2000, 0x1234, 3);
    assert_true(f->cpu.mode.vm86);
    assert_int_equal(f->cpu.mode.code_bits, 16);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], 0x5678);
    assert_int_equal(f->cpu.s.seg[X86_SS].base, 0x30000);
    assert_int_equal(f->cpu.s.seg[X86_ES].selector, 0x4000);
    assert_int_equal(f->cpu.s.seg[X86_DS].selector, 0x5000);
    assert_int_equal(f->cpu.s.seg[X86_FS].selector, 0x6000);
    assert_int_equal(f->cpu.s.seg[X86_GS].limit, 0xffff);
    /* Privilege 3 cannot: VM is ignored. */
    mode_protected(f, CODE3, DATA3);
    f->cpu.s.rflags = X86_FLAG_1;
    iret_frame(f, HANDLER, CODE3, X86_FLAG_VM, 0, 0);
    assert_runs(f, IRET);
    assert_false(f->cpu.s.rflags & X86_FLAG_VM);
}

/* ---- long mode ----------------------------------------------------------------------------- */

static void frame64(struct fixture *f, uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp,
                    uint64_t ss)
{
    uint64_t v[] = {rip, cs, flags, rsp, ss};

    memcpy(f->ram + f->cpu.s.gpr[X86_RSP], v, sizeof v);
}

#define IRETQ 0x48, 0xcf

static void iretq(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE64, DATA0);
    f->cpu.s.seg[X86_FS].base = 0x123456789a;
    f->cpu.s.seg[X86_FS].attr = X86_ATTR_UNUSABLE;
    frame64(f, 0x7f0000001234, CODE64_3, 0x202, 0x7f0000005678, DATA3);
    assert_runs(f, IRETQ);
    at(f, CODE64_3, 0x7f0000001234, 3);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], 0x7f0000005678);
    assert_int_equal(f->cpu.s.seg[X86_FS].base, 0x123456789a);  /* null already */

    mode_long(f, CODE64, DATA0);
    frame64(f, HANDLER, CODE64, 2, STACK1, 0);               /* same privilege: SS null */
    assert_runs(f, IRETQ);
    at(f, CODE64, HANDLER, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK1);
    assert_true(f->cpu.s.seg[X86_SS].attr & X86_ATTR_UNUSABLE);

    mode_long(f, CODE64, DATA0);
    frame64(f, 0x0000800000000000, CODE64_3, 2, STACK3, DATA3);
    assert_fault(f, X86_GP, 0, IRETQ);
    frame64(f, HANDLER, CODE64_3, 2, STACK3, 3);
    assert_fault(f, X86_GP, 0, IRETQ);                       /* SS null at CPL 3 */
    f->cpu.s.rflags |= X86_FLAG_NT;
    assert_fault(f, X86_GP, 0, IRETQ);
    f->cpu.s.rflags &= ~(uint64_t)X86_FLAG_NT;
    frame64(f, HANDLER, CODE3, 2, STACK3, DATA3);            /* to compatibility mode */
    assert_runs(f, IRETQ);
    assert_int_equal(f->cpu.mode.code_bits, 32);
    assert_int_equal(f->cpu.mode.stack_bits, 32);
}

static void call_gate_64(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE3, DATA3);                              /* from compatibility mode */
    set_desc(f, GATE, make_gate(CODE64, 0x80001234, 0xec, 3));
    put64(f, GDT + GATE + 8, 0xffffffff);
    put64(f, TSS + 4, STACK0 | 4);                           /* not aligned by a call gate */
    assert_runs(f, CALL_FAR(GATE | 3, 0));
    at(f, CODE64, 0xffffffff80001234, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 + 4 - 32);
    assert_int_equal(peek64(f, STACK0 + 4 - 8), DATA3);
    assert_int_equal(peek64(f, STACK0 + 4 - 24), CODE3);
    assert_int_equal(peek64(f, STACK0 + 4 - 32), CODE + 7);
    assert_true(f->cpu.s.seg[X86_SS].attr & X86_ATTR_UNUSABLE);
    f->cpu.s.rip = HANDLER;
    assert_runs(f, 0x48, RETF);
    at(f, CODE3, CODE + 7, 3);

    mode_long(f, CODE3, DATA3);
    put64(f, GDT + GATE + 8, 1ull << 40);
    assert_fault(f, X86_GP, GATE, CALL_FAR(GATE | 3, 0));
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0xec, 0));   /* 32-bit code behind it */
    put64(f, GDT + GATE + 8, 0);
    assert_fault(f, X86_GP, CODE0, CALL_FAR(GATE | 3, 0));
    set_desc(f, GATE, make_gate(CODE64, HANDLER, 0xe4, 0));  /* 16-bit gate */
    assert_fault(f, X86_GP, GATE, CALL_FAR(GATE | 3, 0));
    assert_fault(f, X86_GP, TSS_B_SEL, JMP_FAR(TSS_B_SEL, 0));
}

static void to_and_from_compatibility_mode(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE64_3, DATA3);
    put32(f, STACK0, HANDLER);
    put32(f, STACK0 + 4, CODE3);
    assert_runs(f, RETF);
    at(f, CODE3, HANDLER, 3);
    assert_int_equal(f->cpu.mode.code_bits, 32);
    assert_runs(f, JMP_FAR(CODE64_3, CODE));
    at(f, CODE64_3, CODE, 3);
    assert_int_equal(f->cpu.mode.code_bits, 64);
    set_desc(f, CODE64, make_desc(0, 0xfffff, 0xe0fa));      /* L and D: reserved */
    put32(f, STACK0, HANDLER);
    put32(f, STACK0 + 4, CODE64 | 3);
    f->cpu.s.gpr[X86_RSP] = STACK0;
    assert_fault(f, X86_GP, CODE64, RETF);
}

static void syscall_and_sysret(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    mode_long(f, CODE64_3, DATA3);
    s->msr.star = 0x0018ull << 48 | (uint64_t)CODE64 << 32;
    s->msr.lstar = 0xffffffff80000000;
    s->msr.cstar = 0xffffffff90000000;
    s->msr.fmask = X86_FLAG_IF | X86_FLAG_TF;
    s->rflags = X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_RF | X86_FLAG_CF;
    assert_runs(f, 0x0f, 0x05);
    at(f, CODE64, 0xffffffff80000000, 0);
    assert_int_equal(s->gpr[X86_RCX], CODE + 2);
    assert_int_equal(s->gpr[X86_R11], X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_CF);
    assert_int_equal(s->rflags, X86_FLAG_1 | X86_FLAG_CF);
    assert_int_equal(s->seg[X86_SS].selector, CODE64 + 8);
    s->gpr[X86_R11] |= X86_FLAG_VM | X86_FLAG_RF;
    assert_runs(f, 0x48, 0x0f, 0x07);
    at(f, 0x18 + 16 + 3, CODE + 2, 3);
    assert_int_equal(s->seg[X86_SS].selector, 0x18 + 8 + 3);
    assert_int_equal(s->rflags, X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_CF);
    assert_fault(f, X86_GP, 0, 0x48, 0x0f, 0x07);            /* at CPL 3 */

    mode_long(f, CODE64, DATA0);
    s->gpr[X86_RCX] = CODE;
    assert_runs(f, 0x0f, 0x07);                              /* to compatibility mode */
    at(f, 0x1b, CODE, 3);
    assert_int_equal(f->cpu.mode.code_bits, 32);
    assert_runs(f, 0x0f, 0x05);                              /* AMD: through CSTAR */
    at(f, CODE64, 0xffffffff90000000, 0);

    mode_long(f, CODE64, DATA0);
    s->gpr[X86_RCX] = 0x800000000000;
    f->model.amd = false;
    assert_fault(f, X86_GP, 0, 0x48, 0x0f, 0x07);            /* Intel: here */
    f->model.amd = true;
    assert_runs(f, 0x48, 0x0f, 0x07);                        /* AMD: when fetching */
    mode_long(f, CODE3, DATA3);
    f->model.amd = false;
    assert_fault(f, X86_UD, 0, 0x0f, 0x05);
    f->model.amd = true;
    s->msr.efer &= ~(uint64_t)X86_EFER_SCE;
    assert_fault(f, X86_UD, 0, 0x0f, 0x05);
}

static void legacy_syscall_is_amds(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    mode_protected(f, CODE3, DATA3);
    s->msr.efer = X86_EFER_SCE;
    s->msr.star = 0x0018ull << 48 | (uint64_t)CODE0 << 32 | HANDLER;
    s->rflags = X86_FLAG_1 | X86_FLAG_IF;
    assert_runs(f, 0x0f, 0x05);
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(s->gpr[X86_RCX], CODE + 2);
    assert_int_equal(s->rflags, X86_FLAG_1);
    assert_runs(f, 0x0f, 0x07);
    at(f, 0x1b, CODE + 2, 3);
    assert_int_equal(s->rflags, X86_FLAG_1 | X86_FLAG_IF);
}

static void sysenter_and_sysexit(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    mode_protected(f, CODE3, DATA3);
    assert_fault(f, X86_GP, 0, 0x0f, 0x34);                  /* SYSENTER_CS is null */
    s->msr.sysenter_cs = CODE0;
    s->msr.sysenter_esp = STACK1;
    s->msr.sysenter_eip = HANDLER;
    assert_runs(f, 0x0f, 0x34);
    at(f, CODE0, HANDLER, 0);
    assert_int_equal(s->gpr[X86_RSP], STACK1);
    s->gpr[X86_RCX] = STACK3;
    s->gpr[X86_RDX] = CODE;
    assert_runs(f, 0x0f, 0x35);
    at(f, (CODE0 + 16) | 3, CODE, 3);
    assert_int_equal(s->gpr[X86_RSP], STACK3);
    assert_fault(f, X86_GP, 0, 0x0f, 0x35);

    mode_long(f, CODE64_3, DATA3);
    assert_fault(f, X86_UD, 0, 0x0f, 0x34);                  /* AMD */
    f->model.amd = false;
    s->msr.sysenter_cs = CODE64;
    assert_runs(f, 0x0f, 0x34);
    at(f, CODE64, HANDLER, 0);
    assert_int_equal(f->cpu.mode.code_bits, 64);
    assert_runs(f, 0x48, 0x0f, 0x35);
    at(f, (CODE64 + 32) | 3, CODE, 3);
    assert_int_equal(f->cpu.mode.code_bits, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(real_mode_far), T(real_mode_iret), T(vm86_iret), T(jump_to_code),
        T(indirect_and_sizes), T(call_and_return), T(return_to_outer_privilege),
        T(return_to_a_16_bit_stack_keeps_the_upper_half), T(call_gate_same_privilege),
        T(call_gate_to_ring_0_copies_parameters), T(call_gate_16_and_ring_1),
        T(call_gate_faults), T(iret_same_privilege), T(iret_to_outer_privilege),
        T(iret_into_vm86), T(iretq), T(call_gate_64), T(to_and_from_compatibility_mode),
        T(syscall_and_sysret), T(legacy_syscall_is_amds), T(sysenter_and_sysexit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
