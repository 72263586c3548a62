/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_segment.c - segment registers, descriptor tables, LAR and its kin. */
#include "x86_fixture.h"

/* mov ds, eax; mov es, eax; mov ss, eax; mov fs, eax */
#define MOV_DS 0x8e, 0xd8
#define MOV_ES 0x8e, 0xc0
#define MOV_SS 0x8e, 0xd0
#define MOV_FS 0x8e, 0xe0

static void set_rax(struct fixture *f, uint64_t v)
{
    f->cpu.s.gpr[X86_RAX] = v;
}

static void real_mode_moves_the_base_only(void **state)
{
    struct fixture *f = *state;
    struct x86_segment *ds = &f->cpu.s.seg[X86_DS];

    mode_real(f);
    ds->limit = 0xffffffff;                          /* "unreal" */
    set_rax(f, 0x1234);
    assert_runs(f, MOV_DS);
    assert_int_equal(ds->selector, 0x1234);
    assert_int_equal(ds->base, 0x12340);
    assert_int_equal(ds->limit, 0xffffffff);
    assert_int_equal(f->cpu.s.rip, 2);
}

static void vm86_segments_are_64k(void **state)
{
    struct fixture *f = *state;

    mode_vm86(f, 3);
    f->cpu.s.seg[X86_DS].limit = 5;
    set_rax(f, 0x2000);
    assert_runs(f, MOV_DS);
    assert_int_equal(f->cpu.s.seg[X86_DS].base, 0x20000);
    assert_int_equal(f->cpu.s.seg[X86_DS].limit, 0xffff);
    assert_int_equal(f->cpu.s.seg[X86_DS].attr, 0xf3);
}

static void data_load_sets_accessed(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_rax(f, DATA3);
    assert_int_equal(desc_access(f, DATA3), 0xf2);
    assert_runs(f, MOV_DS);
    assert_int_equal(desc_access(f, DATA3), 0xf3);
    assert_int_equal(f->cpu.s.seg[X86_DS].attr, 0xc0f3);
    assert_int_equal(f->cpu.s.seg[X86_DS].limit, 0xffffffff);
    assert_int_equal(f->cpu.s.seg[X86_DS].selector, DATA3);
}

static void data_load_faults(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_rax(f, DATA0 | 3);                           /* DPL 0 from CPL 3 */
    assert_fault(f, X86_GP, DATA0, MOV_DS);
    set_rax(f, GDT_SLOTS * 8 | 3);                   /* outside the table */
    assert_fault(f, X86_GP, GDT_SLOTS * 8, MOV_DS);
    set_rax(f, 0x07);                                /* the LDT is not there */
    assert_fault(f, X86_GP, 4, MOV_DS);
    set_desc(f, ABSENT, make_desc(0, 0xfffff, 0xc072));
    set_rax(f, ABSENT);
    assert_fault(f, X86_NP, ABSENT, MOV_DS);
    set_desc(f, EXEC_ONLY, make_desc(0, 0xfffff, 0xc0f8));
    set_rax(f, EXEC_ONLY);
    assert_fault(f, X86_GP, EXEC_ONLY, MOV_DS);
    set_rax(f, TSS_SEL);
    assert_fault(f, X86_GP, TSS_SEL, MOV_DS);
    set_rax(f, CONFORMING);                          /* readable, any privilege */
    assert_runs(f, MOV_DS);
}

static void null_selectors(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_rax(f, 3);
    assert_runs(f, MOV_DS);
    assert_true(f->cpu.s.seg[X86_DS].attr & X86_ATTR_UNUSABLE);
    assert_int_equal(f->cpu.s.seg[X86_DS].selector, 3);
    assert_fault(f, X86_GP, 0, MOV_SS);

    mode_long(f, CODE64, DATA0);
    set_rax(f, 0);
    f->cpu.s.seg[X86_FS].base = 0x1234;
    assert_runs(f, MOV_FS);
    assert_int_equal(f->cpu.s.seg[X86_FS].base, 0);
    assert_runs(f, MOV_SS);
    assert_int_equal(cpl(f), 0);
    mode_long(f, CODE64_3, DATA3);
    set_rax(f, 3);
    assert_fault(f, X86_GP, 0, MOV_SS);
}

static void stack_segment_rules(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_rax(f, DATA0);
    assert_fault(f, X86_GP, DATA0, MOV_SS);          /* RPL and DPL must be CPL */
    set_desc(f, READ_ONLY, make_desc(0, 0xfffff, 0xc0f0));
    set_rax(f, READ_ONLY | 3);
    assert_fault(f, X86_GP, READ_ONLY, MOV_SS);
    set_desc(f, ABSENT, make_desc(0, 0xfffff, 0xc072));
    set_rax(f, ABSENT | 3);
    assert_fault(f, X86_SS_FAULT, ABSENT, MOV_SS);
    set_rax(f, DATA3);
    assert_runs(f, MOV_SS);
    assert_true(f->cpu.s.ev.shadow_mov_ss);
    f->cpu.s.rflags |= X86_FLAG_IF;
    assert_false(x86_interruptible(&f->cpu));
    assert_false(x86_nmi_possible(&f->cpu));
}

static void a_stack_of_16_bits_changes_the_mode(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    assert_int_equal(f->cpu.mode.stack_bits, 32);
    set_rax(f, DATA16);
    assert_runs(f, MOV_SS);
    assert_int_equal(f->cpu.mode.stack_bits, 16);
}

static void push_and_pop(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    put32(f, STACK0 - 4, 0xffffffff);
    assert_runs(f, 0x06);                            /* push es */
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 - 4);
    assert_int_equal(peek32(f, STACK0 - 4), DATA0);
    assert_runs(f, 0x0f, 0xa1);                      /* pop fs */
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0);
    assert_int_equal(f->cpu.s.seg[X86_FS].selector, DATA0);
    /* A failed POP leaves the stack pointer. */
    put32(f, STACK0, GDT_SLOTS * 8);
    assert_fault(f, X86_GP, GDT_SLOTS * 8, 0x07);
    put32(f, STACK0, DATA0);
    assert_runs(f, 0x66, 0x17);                      /* pop ss, 16 bits */
    assert_int_equal(f->cpu.s.gpr[X86_RSP], STACK0 + 2);
    assert_true(f->cpu.s.ev.shadow_mov_ss);
}

static void far_pointers(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    put32(f, 0x500, 0xdeadbeef);
    put16(f, 0x504, DATA3);
    f->cpu.s.gpr[X86_RBX] = 0x500;
    assert_runs(f, 0xc4, 0x0b);                      /* les ecx, [ebx] */
    assert_int_equal(f->cpu.s.gpr[X86_RCX], 0xdeadbeef);
    assert_int_equal(f->cpu.s.seg[X86_ES].selector, DATA3);
    put16(f, 0x504, TSS_SEL);
    assert_fault(f, X86_GP, TSS_SEL, 0x0f, 0xb5, 0x13);   /* lgs edx, [ebx] */
}

static void descriptor_tables(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    f->cpu.s.gpr[X86_RBX] = 0x500;
    assert_runs(f, 0x0f, 0x01, 0x03);                /* sgdt [ebx] */
    assert_int_equal(peek16(f, 0x500), GDT_SLOTS * 8 - 1);
    assert_int_equal(peek32(f, 0x502), GDT);
    put16(f, 0x500, 0x7ff);
    put32(f, 0x502, 0x89abcdef);
    assert_runs(f, 0x0f, 0x01, 0x1b);                /* lidt [ebx] */
    assert_int_equal(f->cpu.s.idtr.base, 0x89abcdef);
    assert_int_equal(f->cpu.s.idtr.limit, 0x7ff);
    assert_runs(f, 0x66, 0x0f, 0x01, 0x1b);          /* 24 bits only */
    assert_int_equal(f->cpu.s.idtr.base, 0xabcdef);

    mode_long(f, CODE64, DATA0);
    put64(f, 0x502, 0x0000900000000000);             /* not canonical */
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0x1b);
    put64(f, 0x502, 0xffff800000000000);
    assert_runs(f, 0x0f, 0x01, 0x1b);
    assert_int_equal(f->cpu.s.idtr.base, 0xffff800000000000);

    mode_protected(f, CODE3, DATA3);
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0x1b);
    assert_runs(f, 0x0f, 0x01, 0x03);
    f->cpu.s.cr4 |= X86_CR4_UMIP;
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0x03);
    assert_fault(f, X86_GP, 0, 0x0f, 0x00, 0xc8);    /* str eax */
}

static void lldt_and_ltr(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_rax(f, LDT_SEL);
    assert_runs(f, 0x0f, 0x00, 0xd0);                /* lldt ax */
    assert_int_equal(f->cpu.s.ldtr.base, LDT);
    assert_int_equal(f->cpu.s.ldtr.limit, 0x3f);
    put64(f, LDT + 8, make_desc(0x7000, 0xff, 0x0092));
    set_rax(f, 8 | 4);
    assert_runs(f, MOV_DS);
    assert_int_equal(f->cpu.s.seg[X86_DS].base, 0x7000);
    set_rax(f, 0);
    assert_runs(f, 0x0f, 0x00, 0xd0);
    set_rax(f, 8 | 4);
    assert_fault(f, X86_GP, 12, MOV_ES);
    set_rax(f, TSS_SEL);
    assert_fault(f, X86_GP, TSS_SEL, 0x0f, 0x00, 0xd0);
    assert_fault(f, X86_GP, TSS_SEL, 0x0f, 0x00, 0xd8);   /* ltr ax: busy */
    set_rax(f, TSS_B_SEL);
    assert_runs(f, 0x0f, 0x00, 0xd8);
    assert_int_equal(desc_access(f, TSS_B_SEL), 0x8b);
    assert_int_equal(f->cpu.s.tr.attr, 0x8b);
    assert_fault(f, X86_GP, TSS_B_SEL, 0x0f, 0x00, 0xd8);
    assert_runs(f, 0x0f, 0x00, 0xc9);                /* str ecx */
    assert_int_equal(f->cpu.s.gpr[X86_RCX], TSS_B_SEL);
    set_rax(f, 0);
    assert_fault(f, X86_GP, 0, 0x0f, 0x00, 0xd8);

    mode_real(f);
    assert_fault(f, X86_UD, 0, 0x0f, 0x00, 0xd8);
}

static void ltr_in_long_mode_takes_two_slots(void **state)
{
    struct fixture *f = *state;

    mode_long(f, CODE64, DATA0);
    put64(f, GDT + TSS_B_SEL + 8, 0xffffff80);
    set_rax(f, TSS_B_SEL);
    assert_runs(f, 0x0f, 0x00, 0xd8);
    assert_int_equal(f->cpu.s.tr.base, 0xffffff8000000000ull | TSS_B);
    put64(f, GDT + LDT_SEL + 8, 0x0012345600000000ull | 1ull << 40);
    set_rax(f, LDT_SEL);                             /* type bits in the upper half */
    assert_fault(f, X86_GP, LDT_SEL, 0x0f, 0x00, 0xd0);
}

static void lar_and_lsl(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    set_rax(f, DATA3);
    assert_runs(f, 0x0f, 0x02, 0xc8);                /* lar ecx, eax */
    assert_int_equal(f->cpu.s.gpr[X86_RCX], 0x00cff200);
    assert_true(f->cpu.s.rflags & X86_FLAG_ZF);
    assert_runs(f, 0x0f, 0x03, 0xd0);                /* lsl edx, eax */
    assert_int_equal(f->cpu.s.gpr[X86_RDX], 0xffffffff);
    set_rax(f, DATA0);                               /* invisible from CPL 3 */
    f->cpu.s.gpr[X86_RCX] = 77;
    assert_runs(f, 0x0f, 0x02, 0xc8);
    assert_int_equal(f->cpu.s.gpr[X86_RCX], 77);
    assert_false(f->cpu.s.rflags & X86_FLAG_ZF);
    set_rax(f, CONFORMING);
    assert_runs(f, 0x0f, 0x02, 0xc8);
    assert_true(f->cpu.s.rflags & X86_FLAG_ZF);

    mode_protected(f, CODE0, DATA0);
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0x8c, 0));
    set_rax(f, GATE);
    assert_runs(f, 0x0f, 0x02, 0xc8);                /* LAR knows gates, LSL does not */
    assert_true(f->cpu.s.rflags & X86_FLAG_ZF);
    assert_runs(f, 0x0f, 0x03, 0xc8);
    assert_false(f->cpu.s.rflags & X86_FLAG_ZF);
    set_desc(f, GATE, make_gate(CODE0, HANDLER, 0x8e, 0));   /* interrupt gate: neither */
    assert_runs(f, 0x0f, 0x02, 0xc8);
    assert_false(f->cpu.s.rflags & X86_FLAG_ZF);

    mode_long(f, CODE64, DATA0);
    set_rax(f, TSS_C_SEL);                           /* 16-bit TSS: not in long mode */
    assert_runs(f, 0x0f, 0x03, 0xc8);
    assert_false(f->cpu.s.rflags & X86_FLAG_ZF);
    mode_real(f);
    assert_fault(f, X86_UD, 0, 0x0f, 0x03, 0xc8);
}

static bool zf_after(struct fixture *f, uint16_t selector, bool write)
{
    set_rax(f, selector);
    assert_runs(f, 0x0f, 0x00, write ? 0xe8 : 0xe0); /* verw ax, verr ax */
    return f->cpu.s.rflags & X86_FLAG_ZF;
}

static void verr_and_verw(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    assert_true(zf_after(f, DATA0, false));
    assert_true(zf_after(f, DATA0, true));
    assert_true(zf_after(f, READ_ONLY, false));
    assert_false(zf_after(f, READ_ONLY, true));
    assert_true(zf_after(f, CODE0, false));
    assert_false(zf_after(f, CODE0, true));
    assert_false(zf_after(f, EXEC_ONLY, false));
    assert_false(zf_after(f, TSS_SEL, false));
    assert_false(zf_after(f, 0, false));
    assert_false(zf_after(f, DATA0 | 3, true));      /* RPL 3 on DPL 0 */
    assert_false(zf_after(f, 0xfff8, true));
}

static void arpl(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE0, DATA0);
    set_rax(f, 0x10);
    f->cpu.s.gpr[X86_RCX] = 3;
    assert_runs(f, 0x63, 0xc8);                      /* arpl ax, cx */
    assert_int_equal(f->cpu.s.gpr[X86_RAX], 0x13);
    assert_true(f->cpu.s.rflags & X86_FLAG_ZF);
    f->cpu.s.gpr[X86_RCX] = 2;
    assert_runs(f, 0x63, 0xc8);
    assert_int_equal(f->cpu.s.gpr[X86_RAX], 0x13);
    assert_false(f->cpu.s.rflags & X86_FLAG_ZF);
}

static void flags_and_ports(void **state)
{
    struct fixture *f = *state;

    mode_protected(f, CODE3, DATA3);
    assert_fault(f, X86_GP, 0, 0xfa);                /* cli at CPL 3, IOPL 0 */
    put32(f, STACK0, 0xffffffff);
    assert_runs(f, 0x9d);                            /* popfd */
    assert_int_equal(f->cpu.s.rflags, 0x244dd7);     /* no IF, IOPL, VM, RF, VIF, VIP */
    f->cpu.s.rflags = X86_FLAG_1 | X86_FLAG_IOPL;
    assert_runs(f, 0xfb);
    assert_true(f->cpu.s.rflags & X86_FLAG_IF);
    assert_true(f->cpu.s.ev.shadow_sti);
    assert_false(x86_interruptible(&f->cpu));

    f->cpu.s.rflags = X86_FLAG_1;
    f->cpu.s.gpr[X86_RDX] = 0x3f8;
    f->ram[TSS + 104 + 32 + 0x3f8 / 8] = 0xfe;
    assert_runs(f, 0xec);                            /* in al, dx: allowed by the bitmap */
    assert_int_equal(f->port, 0x3f8);
    assert_int_equal((uint8_t)f->cpu.s.gpr[X86_RAX], 0x88);
    assert_fault(f, X86_GP, 0, 0xed);                /* four ports: not all of them */
    f->cpu.s.tr.limit = 104 + 32 + 0x3f8 / 8;        /* the second byte is outside */
    assert_fault(f, X86_GP, 0, 0xec);
    mode_protected(f, CODE0, DATA0);
    assert_runs(f, 0xe7, 0x80);                      /* out 0x80, eax */
    assert_int_equal(f->port_size, 4);
}

static void string_ports(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;

    mode_protected(f, CODE0, DATA0);
    memcpy(f->ram + 0x600, "port", 4);
    s->gpr[X86_RSI] = 0x600;
    s->gpr[X86_RCX] = 4;
    s->gpr[X86_RDX] = 0xe9;
    assert_runs(f, 0xf3, 0x6e);                      /* rep outsb */
    assert_memory_equal(f->port_bytes, "port", 4);
    assert_int_equal(s->gpr[X86_RSI], 0x604);
    assert_int_equal(s->gpr[X86_RCX], 0);
    assert_int_equal(s->rip, CODE + 2);
    assert_runs(f, 0xf3, 0x6e);                      /* zero times */
    assert_int_equal(f->port_count, 4);

    /* The third of four stores leaves the segment: two are done, RIP stays. */
    s->seg[X86_ES].limit = 0x707;
    s->gpr[X86_RDI] = 0x700;
    s->gpr[X86_RCX] = 4;
    s->rip = CODE;
    assert_int_equal(step(f, 0xf3, 0x6d), X86_GP);   /* rep insd */
    assert_int_equal(s->gpr[X86_RCX], 2);
    assert_int_equal(s->gpr[X86_RDI], 0x708);
    assert_int_equal(s->rip, CODE);
    assert_int_equal(f->port_count, 6);              /* and no port was read for it */
    s->gpr[X86_RCX] = 5000;                          /* more than one helping */
    s->gpr[X86_RSI] = 0x600;
    assert_runs(f, 0xf3, 0x6e);
    assert_int_equal(s->rip, CODE);
    while (s->rip == CODE)
        assert_runs(f, 0xf3, 0x6e);
    assert_int_equal(s->gpr[X86_RSI], 0x600 + 5000);
    assert_int_equal(f->port_count, 5006);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(real_mode_moves_the_base_only), T(vm86_segments_are_64k), T(data_load_sets_accessed),
        T(data_load_faults), T(null_selectors), T(stack_segment_rules),
        T(a_stack_of_16_bits_changes_the_mode), T(push_and_pop), T(far_pointers),
        T(descriptor_tables), T(lldt_and_ltr), T(ltr_in_long_mode_takes_two_slots),
        T(lar_and_lsl), T(verr_and_verw), T(arpl), T(flags_and_ports), T(string_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
