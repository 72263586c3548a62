/* SPDX-License-Identifier: MIT-0 */
/*
 * long_transfer.c - 64-bit mode: SYSCALL and SYSRET, SYSENTER, call gates,
 * compatibility mode, IRET forms, far jumps, segment bases, interrupts, NMI.
 */
#include "env64.h"

SNIPPET(s_stop, 64, STOP);
SNIPPET(s_stop32, 32, STOP);

/* ---- SYSCALL ----------------------------------------------------------------- */

SNIPPET(s_syscall, 64, "syscall\n" STOP);
SNIPPET(s_syscall32, 32, "syscall\n" STOP);
SNIPPET(s_sysretq, 64, "sysretq\n");
SNIPPET(s_sysretl, 64, "sysretl\n");
SNIPPET(s_sysenter, 64, "sysenter\n");
SNIPPET(s_sysenter32, 32, "sysenter\n");
SNIPPET(s_kernel_entry, 64, STOP);

static void syscall_and_sysret(void)
{
    struct frame f = frame_user(s_syscall);

    /* SYSRET: CS + 16 and SS + 8 of 0x20 | 3 are CODE64_U and DATA_U. */
    wrmsr(MSR_STAR, 0x23ull << 48 | (uint64_t)FREE << 32);
    wrmsr(MSR_LSTAR, address(s_kernel_entry));
    wrmsr(MSR_CSTAR, address(s_kernel_entry));
    wrmsr(MSR_FMASK, F_IF | F_DF);
    f.rflags = F_1 | F_DF | F_CF;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_kernel_entry));
    CHECK(last.cs, FREE);                            /* the descriptor is not looked at */
    CHECK(last.ss, FREE + 8);
    CHECK(last.gpr[RCX], address(s_syscall) + 2);
    CHECK(last.gpr[11], F_1 | F_DF | F_CF);
    CHECK(last.rflags & ~(word)F_RF, F_1 | F_CF);
    CHECK(last.gpr[RSP], USER_STACK);

    f = frame_kernel(s_sysretq);
    f.gpr[RCX] = address(s_stop);
    f.gpr[11] = F_1 | F_CF | F_RF | F_VM;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE64_U);
    CHECK(last.ss, DATA_U);
    CHECK(last.rip, address(s_stop));
    CHECK(last.rflags, F_1 | F_CF | F_RF);           /* RF: of this #UD */
    f.rip = address(s_sysretl);
    f.gpr[RCX] = address(s_stop32);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE32_U);
    run_user(s_sysretq);
    CHECK_TRAP(GP, 0);
    f = frame_kernel(s_sysretq);
    f.gpr[RCX] = 0x800000000000;
    run(&f);
    CHECK_TRAP(GP, 0);
    CHECK(last.cs & 3, cpu_amd() ? 3 : 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~1ull);
    run_user(s_syscall);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_syscall));
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
}

static void vendors_differ(void)
{
    struct frame f = frame_user(s_syscall32);

    f.cs = CODE32_U;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, cpu_amd() ? address(s_kernel_entry) : address(s_syscall32));
    wrmsr(MSR_SYSENTER_CS, CODE64);
    wrmsr(MSR_SYSENTER_EIP, address(s_kernel_entry));
    wrmsr(MSR_SYSENTER_ESP, KERNEL_STACK);
    run_user(s_sysenter);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, cpu_amd() ? address(s_sysenter) : address(s_kernel_entry));
    f.rip = address(s_sysenter32);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, cpu_amd() ? address(s_sysenter32) : address(s_kernel_entry));
}

/* ---- compatibility mode --------------------------------------------------------- */

SNIPPET(s_far_to_64, 32, "ljmp $0x33, $1f\n.code64\n1: mov $-1, %rax\n" STOP);
SNIPPET(s_wrap, 32, "mov $0xfffffff0, %ebx\n mov 0x10(%ebx), %eax\n" STOP);
SNIPPET(s_inc, 32, "inc %eax\n dec %ecx\n" STOP);
SNIPPET(s_code16, 16, "mov %sp, %ax\n push %ax\n" STOP);

static void compatibility_mode(void)
{
    struct frame f = frame_user(s_inc);

    f.cs = CODE32_U;
    f.ds = f.es = DATA_U;
    f.gpr[RAX] = 0x1ffffffff;
    f.gpr[RCX] = 5;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_inc) + 2);             /* 40 is INC here, no REX */
    CHECK(last.gpr[RAX], 0);
    CHECK(last.gpr[RCX], 4);
    f.rip = address(s_wrap);
    run(&f);
    CHECK_TRAP(UD, 0);
    f.rip = address(s_far_to_64);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE64_U);
    CHECK(last.gpr[RAX], ~0ull);
    gdt[FREE / 8] = make_desc(0x10000, 0xffff, 0x00fb);      /* 16-bit code and stack */
    gdt[FREE2 / 8] = make_desc(0x10000, 0xffff, 0x00f3);
    f.cs = FREE | 3;
    f.ss = FREE2 | 3;
    f.rip = address(s_code16) - 0x10000;
    f.gpr[RSP] = 0xf000;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_code16_end) - 0x10000 - 2);
    CHECK((uint16_t)last.gpr[RSP], 0xeffe);
    CHECK((uint16_t)last.gpr[RAX], 0xf000);
    f = frame_user(s_stop32);
    f.cs = CODE32_U;
    f.rip |= 1ull << 32;                             /* beyond the limit */
    run(&f);
    CHECK_TRAP(GP, 0);
    env_reset();
}

/* ---- call gates --------------------------------------------------------------------- */

static const struct { uint32_t offset; uint16_t selector; } __attribute__((packed))
    gate_pointer = {0, GATE | 3}, data_pointer = {0, DATA_U};
SNIPPET(s_call_gate, 64, "lcall *gate_pointer\n" STOP);
SNIPPET(s_gate_target, 64, "mov %rsp, %rax\n mov (%rsp), %rbx\n mov 8(%rsp), %rcx\n"
                           "mov 16(%rsp), %rdx\n mov 24(%rsp), %rsi\n" STOP);
SNIPPET(s_gate_return, 64, "lretq\n");
SNIPPET(s_call_gate_near, 64, "lcall *gate_pointer\n mov %rsp, %rbx\n" STOP);

static void gate_set(uint16_t selector, uint64_t target, unsigned access)
{
    gdt[GATE / 8] = make_gate(selector, (uint32_t)target, access, 0);
    gdt[GATE / 8 + 1] = target >> 32;
}

static void call_gates(void)
{
    struct frame f;

    __asm__ volatile("" ::"m"(gate_pointer), "m"(data_pointer));
    gate_set(CODE64, address(s_gate_target), 0xec);
    run_user(s_call_gate);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE64);
    CHECK(last.ss, 0);
    CHECK(last.gpr[RAX], KERNEL_STACK - 32);
    CHECK(last.gpr[RBX], address(s_call_gate) + 7);
    CHECK(last.gpr[RCX], CODE64_U);
    CHECK(last.gpr[RDX], USER_STACK);
    CHECK(last.gpr[RSI], DATA_U);
    gate_set(CODE64, address(s_gate_return), 0xec);
    run_user(s_call_gate_near);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE64_U);
    CHECK(last.gpr[RBX], USER_STACK);
    run_kernel(s_call_gate);                         /* RPL 3 in the pointer, DPL 3: fine */
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_call_gate) + 7);
    gate_set(CODE64, address(s_gate_target), 0x8c);  /* DPL 0 */
    run_user(s_call_gate);
    CHECK_TRAP(GP, GATE);
    gate_set(CODE64, address(s_gate_target), 0x6c);
    run_user(s_call_gate);
    CHECK_TRAP(NP, GATE);
    gate_set(CODE32, address(s_gate_target), 0xec);
    run_user(s_call_gate);
    CHECK_TRAP(GP, CODE32);
    gate_set(CODE64, 0x800000000000, 0xec);
    run_user(s_call_gate);
    CHECK_TRAP(GP, 0);
    gate_set(CODE64, address(s_gate_target), 0xec);
    tss.rsp[0] = 0x800000000100;
    f = frame_user(s_call_gate);
    /* #SS on the gate's stack; its handler needs a stack as well. */
    set_gate(SS, CODE64, address(trap_stubs + 16 * SS), 0x8e, 1);
    run(&f);
    CHECK_TRAP(SS, 0);
    CHECK(last.cs, CODE64_U);
    env_reset();
}

/* ---- IRET --------------------------------------------------------------------------------- */

SNIPPET(s_iret_same, 64, "mov %rsp, %rax\n push $0\n push %rax\n pushfq\n push $0x18\n"
                         "push $1f\n iretq\n1: mov %ss, %ebx\n mov %rsp, %rcx\n" STOP);
SNIPPET(s_iret_bad_cs, 64, "push $0x10\n push $0x1000\n push $2\n push $0x10\n push $0\n iretq\n");
SNIPPET(s_iret_far, 64, "push $0x10\n push $0x1000\n push $2\n push $0x18\n"
                        "mov $0x800000000000, %rax\n push %rax\n iretq\n");
SNIPPET(s_iret_nt, 64, "pushfq\n orl $0x4000, (%rsp)\n popfq\n iretq\n");
SNIPPET(s_iretl, 64, "sub $20, %rsp\n movl $1f, (%rsp)\n movl $0x18, 4(%rsp)\n movl $2, 8(%rsp)\n"
                     "movl $0x70000, 12(%rsp)\n movl $0x10, 16(%rsp)\n iretl\n"
                     "1: mov %rsp, %rax\n" STOP);

static void iret_forms(void)
{
    run_kernel(s_iret_same);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RBX], 0);                         /* SS null is fine at CPL 0 */
    CHECK(last.gpr[RCX], TEST_STACK);
    run_kernel(s_iret_bad_cs);
    CHECK_TRAP(GP, DATA);
    CHECK(last.gpr[RSP], TEST_STACK - 40);           /* nothing popped */
    run_kernel(s_iret_far);
    CHECK_TRAP(GP, 0);
    run_kernel(s_iret_nt);
    CHECK_TRAP(GP, 0);
    run_kernel(s_iretl);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], 0x70000);
}

static void data_segments_on_the_way_out(void)
{
    struct frame f = frame_user(s_stop);

    f.ds = DATA;
    f.es = DATA_U;
    wrmsr(MSR_FS_BASE, 0x123456789000);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.ds, 0);
    CHECK(last.es, DATA_U);
    f.fs = 3;                                        /* null with an RPL */
    run(&f);
    CHECK(last.fs, 0);
}

/* ---- bases -------------------------------------------------------------------------------- */

SNIPPET(s_swapgs, 64, "swapgs\n" STOP);
SNIPPET(s_wrfsbase, 64, "wrfsbase %rax\n rdfsbase %rbx\n" STOP);
SNIPPET(s_fs_read, 64, "mov %fs:8, %rax\n" STOP);

static void bases(void)
{
    struct frame f = frame_kernel(s_swapgs);
    static const uint64_t value[] = {1, 0x1122334455667788};
    uint32_t features[4];

    f.gs = 0;
    wrmsr(MSR_KERNEL_GS, 0xffff800000001000);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(rdmsr(MSR_GS_BASE), 0xffff800000001000);
    wrmsr(MSR_GS_BASE, 0);
    run_user(s_swapgs);
    CHECK_TRAP(GP, 0);
    f = frame_kernel(s_wrfsbase);
    f.gpr[RAX] = 0x7fffffff0000;
    cpuid(7, 0, features);
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_wrfsbase));            /* CR4.FSGSBASE is clear */
    if (features[1] & 1) {
        set_cr4(get_cr4() | CR4_FSGSBASE);
        run(&f);
        CHECK_TRAP(UD, 0);
        CHECK(last.gpr[RBX], 0x7fffffff0000);
        CHECK(rdmsr(MSR_FS_BASE), 0x7fffffff0000);
        f.gpr[RAX] = 0x800000000000;
        run(&f);
        CHECK_TRAP(GP, 0);
        set_cr4(get_cr4() & ~(word)CR4_FSGSBASE);
    }
    f = frame_kernel(s_fs_read);
    run(&f);                                         /* loads FS: base from the selector */
    gdt[FREE / 8] = make_desc((uint32_t)address(value), 0xfffff, 0xc0f3);
    f.fs = FREE | 3;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], 0x1122334455667788);
    env_reset();
}

/* ---- interrupts ----------------------------------------------------------------------------- */

SNIPPET(s_ask, 64, "mov $0x40, %al\n out %al, $0xf0\n nop\n nop\n" STOP);
SNIPPET(s_ask_sti, 64, "mov $0x40, %al\n out %al, $0xf0\n nop\n sti\n1: nop\n nop\n" STOP);
SNIPPET(s_ask_sti_cli, 64, "mov $0x40, %al\n out %al, $0xf0\n sti\n cli\n nop\n" STOP);
SNIPPET(s_sti_hlt, 64, "mov $0x40, %al\n out %al, $0xf0\n sti\n hlt\n nop\n" STOP);
SNIPPET(s_mov_ss, 64, "mov $0x40, %al\n mov %ss, %edx\n out %al, $0xf0\n mov %edx, %ss\n nop\n"
                      "nop\n" STOP);
SNIPPET(s_popf, 64, "mov $0x40, %al\n out %al, $0xf0\n pushfq\n orl $0x200, (%rsp)\n popfq\n"
                    "1: nop\n" STOP);
SNIPPET(s_nmi, 64, "out %al, $0xf1\n nop\n nop\n" STOP);
SNIPPET(s_nmi_masked, 64, "out %al, $0xf1\n nop\n nop\n nop\n" STOP);
SNIPPET(s_iret_home, 64, "mov %ss, %edx\n mov %rsp, %rax\n push %rdx\n push %rax\n pushfq\n"
                         "push $0x18\n push $1f\n iretq\n1: nop\n nop\n" STOP);

static void interrupts(void)
{
    struct frame f = frame_kernel(s_ask);

    run(&f);                                         /* IF clear: it stays pending */
    CHECK_TRAP(UD, 0);
    f.rflags |= F_IF;
    f.rip = address(s_stop);
    run(&f);                                         /* IRET opens the window at once */
    CHECK_TRAP(0x40, 0);
    CHECK(last.rip, address(s_stop));
    CHECK(last.rflags & F_RF, 0);
    run_kernel(s_ask_sti);
    CHECK_TRAP(0x40, 0);
    CHECK(last.rip, address(s_ask_sti) + 7);         /* one instruction after STI */
    run_kernel(s_ask_sti_cli);
    CHECK_TRAP(UD, 0);                               /* never open */
    f = frame_user(s_stop);
    f.rflags |= F_IF;
    run(&f);
    CHECK_TRAP(0x40, 0);
    CHECK(last.cs, CODE64_U);
    run_kernel(s_sti_hlt);
    CHECK_TRAP(0x40, 0);
    CHECK(last.rip, address(s_sti_hlt) + 6);         /* it woke HLT */
    run_kernel(s_popf);
    CHECK_TRAP(0x40, 0);
    CHECK(last.rip, address(s_popf_end) - 3);
}

static void nmis(void)
{
    run_kernel(s_nmi);
    CHECK_TRAP(NMI, 0);
    CHECK(last.rip, address(s_nmi) + 2);
    run_kernel(s_nmi_masked);                        /* run() enters with IRET: unmasked */
    CHECK_TRAP(NMI, 0);
    __asm__ volatile("outb %%al, $0xf1\n nop\n nop" ::"a"(0));   /* masked here */
    run_kernel(s_stop);
    CHECK_TRAP(NMI, 0);                              /* the IRET let it in */
    CHECK(last.rip, address(s_stop));
    run_kernel(s_iret_home);
    CHECK_TRAP(UD, 0);
}

void guest_main(void)
{
    env_init();
    syscall_and_sysret();
    vendors_differ();
    compatibility_mode();
    call_gates();
    iret_forms();
    data_segments_on_the_way_out();
    bases();
    interrupts();
    nmis();
    checks_done("long_transfer");
}
