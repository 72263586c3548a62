/* SPDX-License-Identifier: MIT-0 */
/*
 * long_debug.c - 64-bit mode: single step, breakpoints on instructions, data
 * and ports, RF, general detect, interrupt shadows.
 */
#include "env64.h"

enum { B0 = 1, B1 = 2, BD = 1 << 13, BS = 1 << 14 };
enum { L0 = 1, L1 = 4, GD = 1 << 13, RW0_W = 1 << 16, RW0_IO = 2 << 16, RW0_RW = 3 << 16,
       LEN0_2 = 1 << 18, LEN0_4 = 3 << 18, LEN0_8 = 2 << 18 };
static uint64_t cell[2];

static void arm(word a, word dr7)
{
    set_dr6(0xffff0ff0);
    set_dr0(a);
    set_dr7(dr7 | 0x400);
}

static void disarm(void)
{
    set_dr7(0x400);
}

#define CHECK_DB(bits)                                            \
    do {                                                          \
        CHECK_TRAP(DB, 0);                                        \
        CHECK(last.dr6 & 0xe00f, bits);                           \
    } while (0)

/* ---- single step ------------------------------------------------------------ */

SNIPPET(s_nops, 64, "nop\n nop\n" STOP);
SNIPPET(s_popf_tf, 64, "pushfq\n orl $0x100, (%rsp)\n popfq\n1: nop\n nop\n" STOP);
SNIPPET(s_popf_clear, 64, "pushfq\n andl $~0x100, (%rsp)\n popfq\n nop\n" STOP);
SNIPPET(s_mov_ss, 64, "mov %edx, %ss\n nop\n nop\n" STOP);
SNIPPET(s_fault, 64, "ud2\n");
SNIPPET(s_syscall, 64, "syscall\n nop\n" STOP);
SNIPPET(s_entry, 64, "nop\n" STOP);
SNIPPET(s_int, 64, "int $0x80\n nop\n" STOP);
SNIPPET(s_rep, 64, "rep movsb\n nop\n" STOP);
SNIPPET(s_jump, 64, "jmp 1f\n nop\n1: nop\n" STOP);

static void step_from(const uint8_t *code, bool user)
{
    struct frame f = user ? frame_user(code) : frame_kernel(code);

    f.rflags |= F_TF;
    f.gpr[RDX] = DATA;
    set_dr6(0xffff0ff0);
    run(&f);
}

static void single_step(void)
{
    struct frame f;

    step_from(s_nops, false);                        /* IRET itself does not trap */
    CHECK_DB(BS);
    CHECK(last.rip, address(s_nops) + 1);
    CHECK(last.rflags & (F_TF | F_RF), F_TF);
    step_from(s_nops, true);
    CHECK_DB(BS);
    run_kernel(s_popf_tf);
    CHECK_DB(BS);
    CHECK(last.rip, address(s_popf_tf_end) - 3);     /* after the NOP after POPF */
    step_from(s_jump, false);
    CHECK_DB(BS);
    CHECK(last.rip, address(s_jump) + 3);
    step_from(s_mov_ss, false);
    CHECK_DB(BS);
    CHECK(last.rip, address(s_mov_ss) + 3);          /* one later than usual */
    step_from(s_fault, false);
    CHECK_TRAP(UD, 0);                               /* faults come first */
    CHECK(last.rflags & F_TF, F_TF);
    set_gate(0x80, CODE64, address(s_entry), 0x8e, 0);
    step_from(s_int, false);
    CHECK_TRAP(UD, 0);                               /* INT clears TF: no trap in the handler */
    env_reset();
    wrmsr(MSR_STAR, 0x23ull << 48 | (uint64_t)CODE64 << 32);
    wrmsr(MSR_LSTAR, address(s_entry));
    wrmsr(MSR_FMASK, F_TF);
    step_from(s_syscall, true);
    CHECK_TRAP(UD, 0);
    f = frame_kernel(s_rep);
    f.rflags |= F_TF;
    f.gpr[RSI] = f.gpr[RDI] = PAGES;
    f.gpr[RCX] = 3;
    run(&f);
    CHECK_DB(BS);                                    /* after each iteration */
    CHECK(last.gpr[RCX], 2);
    CHECK(last.rip, address(s_rep));
}

/* ---- breakpoints --------------------------------------------------------------- */

SNIPPET(s_write, 64, "mov %eax, (%rbx)\n1: nop\n" STOP);
SNIPPET(s_read, 64, "mov (%rbx), %eax\n nop\n" STOP);
SNIPPET(s_write8, 64, "mov %rax, (%rbx)\n nop\n" STOP);
SNIPPET(s_out, 64, "out %al, $0x80\n nop\n" STOP);
SNIPPET(s_push, 64, "push %rax\n nop\n" STOP);
SNIPPET(s_bp_iret, 64, "mov %rsp, %rax\n push $0x10\n push %rax\n pushfq\n orl $0x10000, (%rsp)\n"
                       "push $0x18\n push $s_nops\n iretq\n");
SNIPPET(s_stos, 64, "rep stosb\n nop\n" STOP);

static void at(const uint8_t *code, word rbx)
{
    struct frame f = frame_kernel(code);

    f.gpr[RBX] = rbx;
    run(&f);
}

static void instruction_breakpoints(void)
{
    struct frame f = frame_kernel(s_nops);

    arm(address(s_nops) + 1, L0);
    run_kernel(s_nops);
    CHECK_DB(B0);
    CHECK(last.rip, address(s_nops) + 1);
    CHECK(last.rflags & F_RF, F_RF);                 /* a fault */
    f.rip = last.rip;
    f.rflags |= F_RF;
    run(&f);
    CHECK_TRAP(UD, 0);                               /* RF passes it once */
    arm(address(s_nops), L0);
    f.rip = address(s_bp_iret);
    f.rflags = F_1;
    run(&f);
    CHECK_TRAP(UD, 0);
    f.rip = address(s_nops);
    f.rflags |= F_TF;                                /* breakpoint and step */
    run(&f);
    CHECK_DB(B0);
    arm(address(s_nops), 0);
    run_kernel(s_nops);
    CHECK_TRAP(UD, 0);
    disarm();
}

static void data_breakpoints(void)
{
    word a = address(cell);

    arm(a, L0 | RW0_W | LEN0_4);
    at(s_write, a);
    CHECK_DB(B0);
    CHECK(last.rip, address(s_write) + 2);           /* a trap */
    at(s_read, a);
    CHECK_TRAP(UD, 0);
    at(s_write, a + 2);                              /* overlapping */
    CHECK_DB(B0);
    at(s_write, a + 4);
    CHECK_TRAP(UD, 0);
    arm(a, L0 | RW0_RW | LEN0_4);
    at(s_read, a + 3);
    CHECK_DB(B0);
    arm(a, L0 | RW0_RW | LEN0_8);
    at(s_write8, a + 4);
    CHECK_DB(B0);
    arm(TEST_STACK - 8, L0 | RW0_W | LEN0_8);
    run_kernel(s_push);
    CHECK_DB(B0);
    set_dr1(a);
    arm(a, L0 | L1 | RW0_W | LEN0_4 | 1 << 20 | 3 << 22);
    at(s_write, a);
    CHECK_DB(B0 | B1);
    disarm();
    at(s_write, a);
    CHECK_TRAP(UD, 0);
}

static void port_breakpoints(void)
{
    arm(0x80, L0 | RW0_IO);
    run_kernel(s_out);
    CHECK_TRAP(UD, 0);                               /* without CR4.DE it is undefined: none */
    set_cr4(get_cr4() | CR4_DE);
    run_kernel(s_out);
    CHECK_DB(B0);
    CHECK(last.rip, address(s_out) + 2);
    disarm();
    set_cr4(get_cr4() & ~(word)CR4_DE);
}

SNIPPET(s_read_dr, 64, "mov %dr0, %rax\n" STOP);
SNIPPET(s_read_dr4, 64, "mov %dr4, %rax\n" STOP);
SNIPPET(s_write_dr7, 64, "mov %rax, %dr7\n" STOP);

static void registers(void)
{
    struct frame f = frame_kernel(s_write_dr7);

    set_dr6(0xffff0ff0);
    set_dr7(0x400 | GD);
    run_kernel(s_read_dr);
    CHECK_DB(BD);
    CHECK(last.rip, address(s_read_dr));
    CHECK(get_dr7(), 0x400);                         /* GD is cleared for the handler */
    run_user(s_read_dr);
    CHECK_TRAP(GP, 0);
    f.gpr[RAX] = 1ull << 32;
    run(&f);
    CHECK_TRAP(GP, 0);
    set_dr6(0xffff0ff5);
    run_kernel(s_read_dr4);                          /* DR6 under its other name */
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], 0xffff0ff5);
    set_cr4(get_cr4() | CR4_DE);
    run_kernel(s_read_dr4);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_read_dr4));
    set_cr4(get_cr4() & ~(word)CR4_DE);
    set_dr6(0xffff0ff0);
}

void guest_main(void)
{
    env_init();
    single_step();
    instruction_breakpoints();
    data_breakpoints();
    port_breakpoints();
    registers();
    checks_done("long_debug");
}
