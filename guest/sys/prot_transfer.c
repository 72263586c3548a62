/* SPDX-License-Identifier: MIT-0 */
/*
 * prot_transfer.c - 32-bit protected mode: exceptions, segments, privilege,
 * call gates, ports, flags, SYSENTER, single step.
 */
#include "env32.h"

SNIPPET(s_stop, 32, STOP);
SNIPPET(s_int80, 32, "int $0x80\n" STOP);
SNIPPET(s_into, 32, "mov $0x7fffffff, %eax\n inc %eax\n into\n" STOP);
SNIPPET(s_int3, 32, "int3\n" STOP);
SNIPPET(s_bound, 32, "bound %eax, bounds\n" STOP);
SNIPPET(s_cli, 32, "cli\n" STOP);
static const int32_t bounds[2] = {-3, 7};

/* ---- exceptions ---------------------------------------------------------------- */

static void exceptions(void)
{
    struct frame f = frame_kernel(s_bound);

    __asm__ volatile("" ::"m"(bounds));
    f.gpr[RAX] = 7;
    run(&f);
    CHECK_TRAP(UD, 0);
    f.gpr[RAX] = 8;
    run(&f);
    CHECK_TRAP(BR, 0);
    CHECK(last.rip, address(s_bound));
    f.gpr[RAX] = (word)-4;
    run(&f);
    CHECK_TRAP(BR, 0);
    run_kernel(s_into);
    CHECK_TRAP(OF, 0);
    CHECK(last.rip, address(s_into_end) - 2);
    CHECK(last.rflags & F_RF, 0);
    run_user(s_into);
    CHECK_TRAP(GP, OF * 8 + 2);
    run_user(s_int3);
    CHECK_TRAP(GP, BP * 8 + 2);
    set_gate(BP, CODE32, address(trap_stubs + 16 * BP), TRAP_GATE | DPL3, 0);
    run_user(s_int3);
    CHECK_TRAP(BP, 0);
    CHECK(last.rip, address(s_int3) + 1);
    CHECK(last.cs, CODE32_U);
    CHECK(last.gpr[RSP], USER_STACK);
    run_user(s_cli);
    CHECK_TRAP(GP, 0);
    f = frame_user(s_cli);
    f.rflags |= F_IOPL3 | F_IF;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & F_IF, 0);
    env_reset();
}

/* ---- handlers of every kind ------------------------------------------------------ */

SNIPPET(s_handler16, 32, "mov %esp, %ebx\n pop %ax\n pop %cx\n pop %dx\n" STOP);
SNIPPET(s_report, 32, "mov %cs, %eax\n mov %esp, %ebx\n" STOP);

static void gates(void)
{
    set_gate(0x80, CODE32, address(s_report), INT_GATE | DPL3, 0);
    run_user(s_int80);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], CODE32);
    CHECK(last.gpr[RBX], KERNEL_STACK - 20);
    set_gate(0x80, CONFORMING, address(s_report), INT_GATE | DPL3, 0);
    run_user(s_int80);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], CONFORMING | 3);            /* stays at CPL 3 on its own stack */
    CHECK(last.gpr[RBX], USER_STACK - 12);
    set_gate(0x80, CODE1, address(s_report), INT_GATE | DPL3, 0);
    run_user(s_int80);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], CODE1);
    CHECK(last.ss, DATA1);
    run_kernel(s_int80);                             /* to an outer privilege: never */
    CHECK_TRAP(GP, CODE1 & ~3);
    set_gate(0x80, CODE16, address(s_handler16) - 0x10000, INT_GATE16 | DPL3, 0);
    gdt[CODE16 / 8] = make_desc(0x10000, 0xffff, 0x409b);    /* but 32-bit code */
    run_user(s_int80);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RBX], KERNEL_STACK - 10);
    CHECK(last.gpr[RAX], (address(s_int80) + 2) & 0xffff);
    CHECK(last.gpr[RCX], CODE32_U);
    set_gate(0x80, CODE32, address(s_report), 0x0e | DPL3, 0);
    run_user(s_int80);
    CHECK_TRAP(NP, 0x80 * 8 + 2);
    set_gate(0x80, DATA, address(s_report), INT_GATE | DPL3, 0);
    run_user(s_int80);
    CHECK_TRAP(GP, DATA);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc01b);
    set_gate(0x80, FREE, address(s_report), INT_GATE | DPL3, 0);
    run_user(s_int80);
    CHECK_TRAP(NP, FREE);
    gdt[FREE / 8] = make_desc(0, 0xff, 0x409b);
    run_user(s_int80);
    CHECK_TRAP(GP, 0);                               /* the handler is outside CS */
    env_reset();
}

/* ---- segments ---------------------------------------------------------------------- */

SNIPPET(s_mov_ds, 32, "mov %eax, %ds\n" STOP);
SNIPPET(s_mov_ss, 32, "mov %eax, %ss\n" STOP);
SNIPPET(s_read, 32, "mov (%ebx), %eax\n" STOP);
SNIPPET(s_write, 32, "mov %eax, (%ebx)\n" STOP);
SNIPPET(s_write_cs, 32, "mov %eax, %cs:(%ebx)\n" STOP);
SNIPPET(s_push, 32, "push %eax\n" STOP);
SNIPPET(s_stack_read, 32, "mov (%ebp), %eax\n" STOP);

static void with(const uint8_t *code, word rax, word rbx)
{
    struct frame f = frame_kernel(code);

    f.gpr[RAX] = rax;
    f.gpr[RBX] = f.gpr[RBP] = rbx;
    run(&f);
}

static void segment_loads(void)
{
    with(s_mov_ds, 0, 0);
    CHECK_TRAP(UD, 0);
    with(s_mov_ds, GDT_SLOTS * 8, 0);
    CHECK_TRAP(GP, GDT_SLOTS * 8);
    with(s_mov_ds, TSS_SEL, 0);
    CHECK_TRAP(GP, TSS_SEL);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc013);
    with(s_mov_ds, FREE, 0);
    CHECK_TRAP(NP, FREE);
    with(s_mov_ss, FREE, 0);
    CHECK_TRAP(SS, FREE);
    with(s_mov_ss, 0, 0);
    CHECK_TRAP(GP, 0);
    with(s_mov_ss, DATA_U, 0);
    CHECK_TRAP(GP, DATA_U & ~3);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc092);
    with(s_mov_ds, FREE, 0);
    CHECK_TRAP(UD, 0);
    CHECK(gdt[FREE / 8], make_desc(0, 0xfffff, 0xc093));     /* accessed */
    with(s_mov_ds, 4, 0);
    CHECK_TRAP(GP, 4);                               /* no LDT */
    __asm__ volatile("lldt %w0" ::"r"(LDT_SEL));
    ldt[1] = make_desc(0, 0xfffff, 0xc093);
    with(s_mov_ds, 8 | 4, 0);
    CHECK_TRAP(UD, 0);
    CHECK(last.ds, 8 | 4);
    with(s_mov_ds, 8 * 8 | 4, 0);
    CHECK_TRAP(GP, 8 * 8 | 4);
    __asm__ volatile("lldt %w0" ::"r"(0));
}

static void limits_and_types(void)
{
    struct frame f = frame_kernel(s_read);

    gdt[FREE / 8] = make_desc(0x60000, 0xfff, 0x4093);
    f.ds = FREE;
    f.gpr[RBX] = 0xffc;
    run(&f);
    CHECK_TRAP(UD, 0);
    f.gpr[RBX] = 0xffd;
    run(&f);
    CHECK_TRAP(GP, 0);
    f.gpr[RBX] = 0xffffffff;
    run(&f);
    CHECK_TRAP(GP, 0);
    gdt[FREE / 8] = make_desc(0x60000, 0xfff, 0x4097);       /* expand down */
    f.gpr[RBX] = 0xfff;
    run(&f);
    CHECK_TRAP(GP, 0);
    f.gpr[RBX] = 0x1000;
    run(&f);
    CHECK_TRAP(UD, 0);
    gdt[FREE / 8] = make_desc(0x60000, 0xfff, 0x0097);       /* to 64K only */
    f.gpr[RBX] = 0xfffd;
    run(&f);
    CHECK_TRAP(GP, 0);
    f.gpr[RBX] = 0xfffc;
    run(&f);
    CHECK_TRAP(UD, 0);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc091);           /* read only */
    f.rip = address(s_write);
    f.gpr[RBX] = 0x60000;
    run(&f);
    CHECK_TRAP(GP, 0);
    f.ds = 0;
    f.rip = address(s_read);
    run(&f);
    CHECK_TRAP(GP, 0);
    with(s_write_cs, 0, 0x60000);
    CHECK_TRAP(GP, 0);
    f = frame_user(s_push);
    gdt[FREE / 8] = make_desc(0, 0xfff, 0x40f3);
    f.ss = FREE | 3;
    f.gpr[RSP] = 0x1004;
    run(&f);
    CHECK_TRAP(SS, 0);
    CHECK(last.gpr[RSP], 0x1004);
    f.rip = address(s_stack_read);
    f.gpr[RBP] = 0xffd;
    run(&f);
    CHECK_TRAP(SS, 0);
    env_reset();
}

/* ---- far calls and call gates --------------------------------------------------------- */

SNIPPET(s_far_call, 32, "lcall $0x08, $1f\n mov $1, %ecx\n" STOP
                        "1: mov (%esp), %eax\n mov 4(%esp), %ebx\n lret\n");
SNIPPET(s_far_inner, 32, "lcall $0x08, $0\n" STOP);
SNIPPET(s_gate_call, 32, "push $0x1111\n push $0x2222\n lcall $0x63, $0\n mov %esp, %esi\n" STOP);
SNIPPET(s_gate_jump, 32, "ljmp $0x63, $0\n");
SNIPPET(s_gate_target, 32, "mov %esp, %eax\n mov 8(%esp), %ebx\n mov 12(%esp), %ecx\n"
                           "mov 16(%esp), %edx\n lret $8\n");
SNIPPET(s_gate_stop, 32, "mov %esp, %eax\n" STOP);
SNIPPET(s_conforming, 32, "lcall $0x58, $1f\n" STOP "1: mov %cs, %eax\n lret\n");

static void far_calls(void)
{
    run_kernel(s_far_call);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], address(s_far_call) + 7);
    CHECK(last.gpr[RBX], CODE32);
    CHECK(last.gpr[RCX], 1);
    CHECK(last.gpr[RSP], TEST_STACK);
    run_user(s_far_inner);
    CHECK_TRAP(GP, CODE32);
}

static void call_gates(void)
{
    gdt[GATE / 8] = make_gate(CODE32, address(s_gate_target), 0xec, 2);
    run_user(s_gate_call);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE32_U);
    CHECK(last.gpr[RAX], KERNEL_STACK - 24);
    CHECK(last.gpr[RBX], 0x2222);
    CHECK(last.gpr[RCX], 0x1111);
    CHECK(last.gpr[RDX], USER_STACK - 8);
    CHECK(last.gpr[RSI], USER_STACK);                /* LRET 8 released both */
    CHECK(last.ds, DATA_U);
    run_user(s_gate_jump);
    CHECK_TRAP(GP, CODE32);
    gdt[GATE / 8] = make_gate(CODE16, address(s_gate_stop) - 0x10000, 0xe4, 2);
    gdt[CODE16 / 8] = make_desc(0x10000, 0xffff, 0x409b);
    run_user(s_gate_call);                           /* a 16-bit gate */
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], KERNEL_STACK - 12);
    gdt[GATE / 8] = make_gate(CODE1, address(s_gate_stop), 0xec, 0);
    run_user(s_gate_call);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE1);
    run_kernel(s_gate_call);                         /* outwards: never */
    CHECK_TRAP(GP, CODE1 & ~3);
    gdt[GATE / 8] = make_gate(CODE32, address(s_gate_stop), 0x8c, 0);
    run_user(s_gate_call);
    CHECK_TRAP(GP, GATE);
    gdt[GATE / 8] = make_gate(CODE32, address(s_gate_stop), 0x6c, 0);
    run_user(s_gate_call);
    CHECK_TRAP(NP, GATE);
    gdt[GATE / 8] = make_gate(CODE1, address(s_gate_stop), 0xec, 0);
    tss.stack[1].ss = DATA;                          /* of the wrong privilege */
    run_user(s_gate_call);
    CHECK_TRAP(TS, DATA);
    tss.stack[1].ss = 0;
    run_user(s_gate_call);
    CHECK_TRAP(TS, 0);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc033);
    tss.stack[1].ss = FREE | 1;
    run_user(s_gate_call);
    CHECK_TRAP(SS, FREE);
    gdt[FREE / 8] = make_desc(0, 0xfff, 0x40b3);
    run_user(s_gate_call);                           /* ESP is outside it */
    CHECK_TRAP(SS, FREE);
    CHECK(last.cs, CODE32_U);
    CHECK(last.gpr[RSP], USER_STACK - 8);
    env_reset();
}

/* ---- LAR and its kin --------------------------------------------------------------------- */

SNIPPET(s_lar, 32, "lar %eax, %ecx\n setz %dl\n lsl %eax, %esi\n setz %dh\n"
                   "verr %ax\n setz %bl\n verw %ax\n setz %bh\n" STOP);

static void questions(void)
{
    struct frame f = frame_user(s_lar);

    f.gpr[RAX] = DATA_U;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RCX], 0x00cff300);
    CHECK(last.gpr[RSI], 0xffffffff);
    CHECK(last.gpr[RDX] & 0xffff, 0x0101);
    CHECK(last.gpr[RBX] & 0xffff, 0x0101);
    f.gpr[RAX] = DATA;
    run(&f);
    CHECK(last.gpr[RDX] & 0xffff, 0);
    CHECK(last.gpr[RBX] & 0xffff, 0);
    f.gpr[RAX] = CONFORMING;
    run(&f);
    CHECK(last.gpr[RDX] & 0xffff, 0x0101);
    CHECK(last.gpr[RBX] & 0xffff, 0x0001);
}

/* ---- ports ---- */

SNIPPET(s_in, 32, "in %dx, %al\n" STOP);
SNIPPET(s_in4, 32, "in %dx, %eax\n" STOP);

static void ports(void)
{
    struct frame f = frame_user(s_in);

    f.gpr[RDX] = 0x80;
    run(&f);
    CHECK_TRAP(GP, 0);
    tss.ports[0x80 / 8] = 0xfe;
    run(&f);
    CHECK_TRAP(UD, 0);
    f.rip = address(s_in4);
    run(&f);
    CHECK_TRAP(GP, 0);
    tss.ports[0x80 / 8] = 0xf0;
    run(&f);
    CHECK_TRAP(UD, 0);
    f.rip = address(s_in);
    tss.ports[0x80 / 8] = 0xff;
    f.rflags |= F_IOPL3;
    run(&f);
    CHECK_TRAP(UD, 0);
    f.rflags = F_1;
    tss.iomap = 0xffff;
    run(&f);
    CHECK_TRAP(GP, 0);
    env_reset();
}

/* ---- SYSENTER ---- */

SNIPPET(s_sysenter, 32, "sysenter\n");
SNIPPET(s_sysexit, 32, "sysexit\n");

static void sysenter(void)
{
    struct frame f = frame_kernel(s_sysexit);

    wrmsr(0x174, 0);
    run_user(s_sysenter);
    CHECK_TRAP(GP, 0);
    wrmsr(0x174, CODE32);                            /* DATA follows */
    wrmsr(0x175, KERNEL_STACK - 16);
    wrmsr(0x176, address(s_stop));
    run_user(s_sysenter);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_stop));
    CHECK(last.cs, CODE32);
    CHECK(last.ss, DATA);
    CHECK(last.gpr[RSP], KERNEL_STACK - 16);
    wrmsr(0x174, CODE32_U - 3 - 16);                 /* CS + 16, CS + 24 */
    f.gpr[RCX] = USER_STACK;
    f.gpr[RDX] = address(s_stop);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE32_U);
    CHECK(last.ss, DATA_U);
    CHECK(last.gpr[RSP], USER_STACK);
    run_user(s_sysexit);
    CHECK_TRAP(GP, 0);
}

/* ---- flags ---- */

SNIPPET(s_popf, 32, "push %eax\n popf\n pushf\n pop %ebx\n" STOP);

static void flags(void)
{
    struct frame f = frame_user(s_popf);

    f.gpr[RAX] = 0xffffffff & ~(word)(F_TF | F_AC);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RBX], 0x204cd7);                  /* ID, NT, DF and the arithmetic ones */
    f.rflags |= F_IOPL3;
    f.gpr[RAX] = F_IF;
    run(&f);
    CHECK(last.gpr[RBX], F_1 | F_IF | F_IOPL3);
    f = frame_kernel(s_popf);
    f.gpr[RAX] = F_IOPL3 | F_RF | F_VM | F_VIF | F_VIP;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RBX], F_1 | F_IOPL3);
}

/* A conforming segment runs at the caller's privilege. */
static void conforming_code(void)
{
    struct frame f = frame_user(s_stop);

    f.cs = CONFORMING | 3;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CONFORMING | 3);
    CHECK(last.ss, DATA_U);
    run_user(s_conforming);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], CONFORMING | 3);
    CHECK(last.cs, CODE32_U);
}

void guest_main(void)
{
    env_init();
    exceptions();
    gates();
    segment_loads();
    limits_and_types();
    far_calls();
    conforming_code();
    call_gates();
    questions();
    ports();
    sysenter();
    flags();
    checks_done("prot_transfer");
}
