/* SPDX-License-Identifier: MIT-0 */
/*
 * prot_vm86.c - virtual-8086 mode: entry and exit, sensitive instructions at
 * each IOPL, INT n by IDT and by the VME bitmap, VIF and VIP, PVI, tasks.
 */
#include "env32.h"

SNIPPET(v_stop, 16, STOP);
SNIPPET(v_int, 16, "int $0x21\n" STOP);
SNIPPET(v_int3, 16, "int3\n" STOP);
SNIPPET(v_cli, 16, "cli\n" STOP);
SNIPPET(v_sti, 16, "sti\n" STOP);
SNIPPET(v_pushf, 16, "pushf\n pop %ax\n" STOP);
SNIPPET(v_popf, 16, "push %ax\n popf\n" STOP);
SNIPPET(v_pushfl, 16, "pushfl\n" STOP);
SNIPPET(v_iret, 16, "jmp 2f\n1: iretw\n2: pushw $0x202\n push %cs\n call 1b\n" STOP);
SNIPPET(v_hlt, 16, "hlt\n");
SNIPPET(v_mov_cr, 16, "mov %cr0, %eax\n");
SNIPPET(v_lidt, 16, "lidt 0\n");
SNIPPET(v_sldt, 16, "sldt %ax\n");
SNIPPET(v_in, 16, "in $0x80, %al\n" STOP);
SNIPPET(v_segments, 16, "mov $0x6800, %ax\n mov %ax, %ds\n mov 2, %bx\n" STOP);
SNIPPET(v_limit, 16, "mov $0xffff, %bx\n mov (%bx), %ax\n");
SNIPPET(v_stack_limit, 16, "mov $1, %sp\n push %ax\n");
SNIPPET(v_far, 16, "lcall *0\n" STOP "v_far_target: mov $0x4711, %cx\n lret\n");

extern const uint8_t v_far_target[];

static void go(const uint8_t *code, unsigned iopl)
{
    struct frame f = frame_vm86(code, iopl);

    run(&f);
}

static void entry_and_exit(void)
{
    struct frame f = frame_vm86(v_stop, 3);

    f.gpr[RAX] = 0x12345678;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(v_stop) - 0x10000);
    CHECK(last.cs, 0x1000);
    CHECK(last.rflags, F_1 | F_VM | F_IOPL3 | F_RF);
    CHECK(last.gpr[RSP], 0x8000);
    CHECK(last.ss, 0x7000);
    CHECK(last.ds, 0x6000);
    CHECK(last.es, 0x6100);
    CHECK(last.fs, 0x6200);
    CHECK(last.gs, 0x6300);
    CHECK(last.gpr[RAX], 0x12345678);
    f.rip |= 0x10000;                                /* beyond 64K */
    run(&f);
    CHECK_TRAP(GP, 0);
    CHECK(last.cs, CODE32);                          /* the IRET's own fault */
}

static void code_like_a_8086(void)
{
    *(volatile uint16_t *)0x68002 = 0xabcd;
    go(v_segments, 0);
    CHECK_TRAP(UD, 0);
    CHECK((uint16_t)last.gpr[RBX], 0xabcd);
    CHECK(last.ds, 0x6800);
    *(volatile uint32_t *)0x60000 = 0x10000000 | (address(v_far_target) - 0x10000);
    go(v_far, 0);
    CHECK_TRAP(UD, 0);
    CHECK((uint16_t)last.gpr[RCX], 0x4711);
    go(v_limit, 0);
    CHECK_TRAP(GP, 0);
    go(v_stack_limit, 0);
    CHECK_TRAP(SS, 0);
}

static void sensitive_instructions(void)
{
    static const struct { const uint8_t *code, *end; } sensitive[] = {
        {v_cli, v_cli_end}, {v_sti, v_sti_end}, {v_pushf, v_pushf_end}, {v_popf, v_popf_end},
        {v_iret, v_iret_end},
    };

    for (unsigned i = 0; i < sizeof sensitive / sizeof sensitive[0]; i++) {
        go(sensitive[i].code, 3);
        CHECK_TRAP(UD, 0);
        CHECK(last.rip, address(sensitive[i].end) - 0x10000 - 2);
        go(sensitive[i].code, 0);
        CHECK_TRAP(GP, 0);
    }
    go(v_hlt, 3);
    CHECK_TRAP(GP, 0);
    go(v_mov_cr, 3);
    CHECK_TRAP(GP, 0);
    go(v_lidt, 3);
    CHECK_TRAP(GP, 0);
    go(v_sldt, 3);
    CHECK_TRAP(UD, 0);
    go(v_in, 3);                                     /* the bitmap, not IOPL */
    CHECK_TRAP(GP, 0);
    tss.ports[0x80 / 8] = 0;
    go(v_in, 0);
    CHECK_TRAP(UD, 0);
    env_reset();
}

static void interrupts(void)
{
    go(v_int, 3);                                    /* gate of DPL 0 */
    CHECK_TRAP(GP, 0x21 * 8 + 2);
    set_gate(0x21, CODE32, address(trap_stubs + 16 * 0x21), INT_GATE | DPL3, 0);
    go(v_int, 3);
    CHECK_TRAP(0x21, 0);
    CHECK(last.rip, address(v_int) - 0x10000 + 2);
    CHECK(last.rflags & F_VM, F_VM);
    go(v_int, 0);
    CHECK_TRAP(GP, 0);
    set_gate(BP, CODE32, address(trap_stubs + 16 * BP), INT_GATE | DPL3, 0);
    go(v_int3, 0);                                   /* not IOPL-sensitive */
    CHECK_TRAP(BP, 0);
    set_gate(0x21, CODE1, address(trap_stubs), INT_GATE | DPL3, 0);
    go(v_int, 3);
    CHECK_TRAP(GP, CODE1 & ~3);
    set_gate(0x21, CONFORMING, address(trap_stubs), INT_GATE | DPL3, 0);
    go(v_int, 3);
    CHECK_TRAP(GP, CONFORMING);
    env_reset();
}

/* ---- VME --------------------------------------------------------------------- */

SNIPPET(v_handler, 16, "pop %ax\n pop %bx\n pop %cx\n pushf\n pop %dx\n" STOP);

static void with_flags(const uint8_t *code, word flags, word rax)
{
    struct frame f = frame_vm86(code, 0);

    f.rflags |= flags;
    f.gpr[RAX] = rax;
    run(&f);
}

static void vme(void)
{
    uint32_t features[4];

    cpuid(1, 0, features);
    if (!(features[3] & 2))
        return;
    set_cr4(get_cr4() | CR4_VME);
    *(volatile uint16_t *)(0x21 * 4) = (uint16_t)(address(v_handler) - 0x10000);
    *(volatile uint16_t *)(0x21 * 4 + 2) = 0x1000;
    tss.redirect[0x21 / 8] &= ~(1 << 0x21 % 8);
    with_flags(v_int, F_VIF, 0);
    CHECK_TRAP(UD, 0);
    CHECK((uint16_t)last.gpr[RAX], address(v_int) - 0x10000 + 2);
    CHECK((uint16_t)last.gpr[RBX], 0x1000);
    CHECK((uint16_t)last.gpr[RCX], F_1 | F_IF | F_IOPL3);    /* IF stands for VIF */
    CHECK((uint16_t)last.gpr[RDX], F_1 | F_IOPL3);           /* now clear */
    CHECK(last.rflags & F_VIF, 0);
    tss.redirect[0x21 / 8] |= 1 << 0x21 % 8;
    with_flags(v_int, 0, 0);
    CHECK_TRAP(GP, 0);
    with_flags(v_sti, 0, 0);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & (F_VIF | F_IF), F_VIF);
    with_flags(v_cli, F_VIF, 0);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & F_VIF, 0);
    with_flags(v_sti, F_VIP, 0);
    CHECK_TRAP(GP, 0);
    with_flags(v_popf, 0, F_IF);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & (F_VIF | F_IF), F_VIF);
    with_flags(v_popf, F_VIP, F_IF);
    CHECK_TRAP(GP, 0);
    with_flags(v_popf, 0, F_TF);
    CHECK_TRAP(GP, 0);
    with_flags(v_pushfl, 0, 0);
    CHECK_TRAP(GP, 0);
    with_flags(v_iret, 0, 0);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & (F_VIF | F_IF), F_VIF);
    set_cr4(get_cr4() & ~(word)CR4_VME);
    env_reset();
}

SNIPPET(p_cli, 32, "cli\n" STOP);
SNIPPET(p_sti, 32, "sti\n" STOP);

static void pvi(void)
{
    uint32_t features[4];
    struct frame f = frame_user(p_sti);

    cpuid(1, 0, features);
    if (!(features[3] & 2))
        return;
    set_cr4(get_cr4() | CR4_PVI);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & (F_VIF | F_IF), F_VIF);
    f.rflags |= F_VIP;
    run(&f);
    CHECK_TRAP(GP, 0);
    f = frame_user(p_cli);
    f.rflags |= F_VIF | F_IF;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & (F_VIF | F_IF), F_IF);
    set_cr4(get_cr4() & ~(word)CR4_PVI);
}

/* ---- a task in virtual-8086 mode -------------------------------------------------- */

SNIPPET(s_jmp_b, 32, "ljmp $0x70, $0\n");

static void task(void)
{
    tss_b.eip = address(v_pushf) - 0x10000;
    tss_b.eflags = F_1 | F_VM | F_IOPL3;
    tss_b.cs = 0x1000;
    tss_b.ss = 0x7000;
    tss_b.ds = 0x6000;
    tss_b.gpr[RSP] = 0x8000;
    tss_b.stack[0].esp = KERNEL_STACK;
    tss_b.stack[0].ss = DATA;
    tss_b.iomap = offsetof(struct tss32, ports);
    run_kernel(s_jmp_b);
    CHECK_TRAP(UD, 0);
    CHECK(last.rflags & F_VM, F_VM);
    CHECK(last.cs, 0x1000);
    CHECK((uint16_t)last.gpr[RAX], F_1 | F_IOPL3);
    env_reset();
}

void guest_main(void)
{
    env_init();
    entry_and_exit();
    code_like_a_8086();
    sensitive_instructions();
    interrupts();
    vme();
    pvi();
    task();
    checks_done("prot_vm86");
}
