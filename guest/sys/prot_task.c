/* SPDX-License-Identifier: MIT-0 */
/*
 * prot_task.c - hardware task switches between 32- and 16-bit tasks: by JMP,
 * CALL, IRET, INT and exceptions, through gates and directly.
 */
#include "env32.h"

enum { BUSY = 2 };
static volatile uint32_t seen[8];

static unsigned type_of(uint16_t selector)
{
    return gdt[selector / 8] >> 40 & 0x1f;
}

static void task_b(const void *code)
{
    tss_b.eip = address(code);
    tss_b.eflags = F_1;
    tss_b.cs = CODE32;
    tss_b.ss = tss_b.ds = tss_b.es = DATA;
    tss_b.gpr[RSP] = IST_STACK;
    tss_b.gpr[RAX] = 0xb0b0b0b0;
    tss_b.iomap = sizeof tss_b;
    gdt[TSS_B / 8] = make_desc(address(&tss_b), 0x67, 0x0089);
}

static void task_c(const void *code)
{
    tss_c.ip = (uint16_t)(address(code) - 0x10000);
    tss_c.flags = F_1;
    tss_c.cs = CODE16;
    tss_c.ss = DATA16;
    tss_c.ds = tss_c.es = DATA;
    tss_c.gpr[RSP] = 0xf800;
    gdt[TSS_C / 8] = make_desc(address(&tss_c), 0x2b, 0x0081);
}

/* ---- CALL and IRET ------------------------------------------------------------- */

SNIPPET(s_call_b, 32, "mov $0x1234, %ebx\n lcall $0x70, $0\n mov $0x5678, %edx\n" STOP);
SNIPPET(s_jmp_b, 32, "ljmp $0x70, $0\n mov $0x5678, %edx\n" STOP);
SNIPPET(t_return, 32, "mov %eax, seen\n pushf\n popl seen + 4\n str seen + 8\n"
                      "smsw %ecx\n mov %ecx, seen + 12\n iret\n"
                      "mov $7, %eax\n iret\n");
SNIPPET(t_jump_home, 32, "ljmp $0x48, $0\n");
SNIPPET(t_stop, 32, STOP);

static void call_and_return(void)
{
    __asm__ volatile("clts");
    task_b(t_return);
    run_kernel(s_call_b);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_call_b_end) - 2);
    CHECK(last.gpr[RBX], 0x1234);
    CHECK(last.gpr[RDX], 0x5678);
    CHECK(seen[0], 0xb0b0b0b0);
    CHECK(seen[1] & F_NT, F_NT);
    CHECK((uint16_t)seen[2], TSS_B);
    CHECK(seen[3] & CR0_TS, CR0_TS);
    CHECK(tss_b.link, TSS_SEL);
    CHECK(type_of(TSS_B), 0x09);                     /* free again */
    CHECK(type_of(TSS_SEL), 0x0b);
    CHECK(tss_b.eflags & F_NT, 0);
    CHECK(tss.eip, address(s_call_b) + 12);
    CHECK(tss.gpr[RBX], 0x1234);
    CHECK(tss.cs, CODE32);
    /* It goes on where it left off. */
    seen[0] = 0;
    run_kernel(s_call_b);
    CHECK_TRAP(UD, 0);
    CHECK(seen[0], 0);
    CHECK(tss_b.gpr[RAX], 7);
}

static void jumps(void)
{
    task_b(t_jump_home);
    run_kernel(s_jmp_b);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDX], 0x5678);
    CHECK(type_of(TSS_B), 0x09);
    CHECK(type_of(TSS_SEL), 0x0b);
    CHECK(tss_b.eip, address(t_jump_home) + 7);
    task_b(t_stop);                                  /* an exception in the other task */
    run_kernel(s_jmp_b);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(t_stop));
    CHECK(last.gpr[RSP], IST_STACK);
    CHECK(type_of(TSS_SEL), 0x09);
    CHECK(type_of(TSS_B), 0x0b);
    env_reset();
}

/* ---- faults --------------------------------------------------------------------- */

SNIPPET(s_call_self, 32, "lcall $0x48, $0\n");
SNIPPET(s_iret_nt, 32, "pushf\n orl $0x4000, (%esp)\n popf\n iret\n");

static void faults(void)
{
    task_b(t_stop);
    run_user(s_call_b);                              /* DPL 0 */
    CHECK_TRAP(GP, TSS_B);
    run_kernel(s_call_self);                         /* busy */
    CHECK_TRAP(GP, TSS_SEL);
    gdt[TSS_B / 8] = make_desc(address(&tss_b), 0x67, 0x0009);
    run_kernel(s_call_b);
    CHECK_TRAP(NP, TSS_B);
    gdt[TSS_B / 8] = make_desc(address(&tss_b), 0x66, 0x0089);
    run_kernel(s_call_b);
    CHECK_TRAP(TS, TSS_B);
    CHECK(last.rip, address(s_call_b) + 5);
    tss.link = DATA;
    run_kernel(s_iret_nt);
    CHECK_TRAP(TS, DATA);
    tss.link = TSS_B;                                /* not busy */
    run_kernel(s_iret_nt);
    CHECK_TRAP(TS, TSS_B);
    env_reset();
}

/* After the commit point the new task takes the fault. (One before SS is
 * loaded, as by a bad LDT or CS, needs a task gate: there is no stack yet.) */
static void faults_in_the_new_task(void)
{
    task_b(t_stop);
    tss_b.ds = TSS_SEL;
    run_kernel(s_jmp_b);
    CHECK_TRAP(TS, TSS_SEL);
    CHECK(last.rip, address(t_stop));
    CHECK(type_of(TSS_SEL), 0x09);
    env_reset();
    task_b(t_stop);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc013);
    tss_b.es = FREE;
    run_kernel(s_jmp_b);
    CHECK_TRAP(NP, FREE);
    env_reset();
    task_b(t_stop);
    gdt[FREE / 8] = make_desc(0, 0xff, 0x409b);
    tss_b.cs = FREE;
    run_kernel(s_jmp_b);
    CHECK_TRAP(GP, 0);
    CHECK(last.cs, FREE);
    env_reset();
}

/* ---- task gates ----------------------------------------------------------------------- */

SNIPPET(s_int80, 32, "int $0x80\n mov $0x99, %edi\n" STOP);
SNIPPET(s_gate, 32, "lcall $0x63, $0\n mov $0x99, %edi\n" STOP);
SNIPPET(s_divide, 32, "xor %ecx, %ecx\n div %ecx\n mov $0x99, %edi\n" STOP);
SNIPPET(s_np, 32, "mov $0xb0, %eax\n mov %eax, %ds\n mov $0x99, %edi\n" STOP);
SNIPPET(t_plain, 32, "iret\n");
SNIPPET(t_skip_div, 32, "addl $2, tss + 32\n iret\n");
SNIPPET(t_skip_np, 32, "popl seen\n addl $2, tss + 32\n iret\n");

static void task_gates(void)
{
    task_b(t_plain);
    set_gate(0x80, TSS_B, 0, TASK_GATE | DPL3, 0);
    run_kernel(s_int80);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDI], 0x99);
    task_b(t_plain);
    run_user(s_int80);                               /* and from CPL 3 and back */
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDI], 0x99);
    CHECK(last.cs, CODE32_U);
    CHECK(last.gpr[RSP], USER_STACK);
    CHECK(tss.cs, CODE32_U);
    task_b(t_plain);
    gdt[GATE / 8] = make_gate(TSS_B, 0, TASK_GATE | DPL3, 0);
    run_user(s_gate);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDI], 0x99);
    gdt[GATE / 8] = make_gate(TSS_B, 0, TASK_GATE, 0);
    run_user(s_gate);
    CHECK_TRAP(GP, GATE);
    task_b(t_skip_div);
    set_gate(DE, TSS_B, 0, TASK_GATE, 0);
    run_kernel(s_divide);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDI], 0x99);
    CHECK(tss.eflags & F_RF, F_RF);
    task_b(t_skip_np);
    gdt[FREE / 8] = make_desc(0, 0xfffff, 0xc013);
    set_gate(NP, TSS_B, 0, TASK_GATE, 0);
    run_kernel(s_np);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDI], 0x99);
    CHECK(seen[0], FREE);                            /* the error code, on its stack */
    env_reset();
}

SNIPPET(s_bad_int, 32, "int $0x81\n" STOP);

static void double_fault_task(void)
{
    task_b(t_stop);
    set_gate(GP, 0, 0, 0, 0);
    set_gate(0x81, 0, 0, 0, 0);
    set_gate(DF, TSS_B, 0, TASK_GATE, 0);
    run_kernel(s_bad_int);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(t_stop));
    CHECK(last.gpr[RSP], IST_STACK - 4);
    CHECK(*(volatile uint32_t *)(IST_STACK - 4), 0);
    CHECK(tss.eip, address(s_bad_int));
    env_reset();
}

/* ---- 16-bit tasks, the T bit ------------------------------------------------------------- */

SNIPPET(s_call_c, 32, "mov $0x12345678, %ebx\n lcall $0x80, $0\n mov $0x77, %edx\n" STOP);
SNIPPET(t_16, 16, "mov %esp, %ebx\n mov $seen, %esi\n mov %ebx, (%esi)\n iret\n");
SNIPPET(t_16_stop, 16, "mov %eax, %ecx\n" STOP);

static void tasks_of_16_bits(void)
{
    task_c(t_16_stop);
    tss_c.gpr[RAX] = 0x4321;
    run_kernel(s_call_c);
    CHECK_TRAP(UD, 0);
    CHECK(last.cs, CODE16);
    CHECK(last.rip, address(t_16_stop_end) - 0x10000 - 2);
    CHECK((uint16_t)last.gpr[RCX], 0x4321);
    CHECK(tss_c.link, TSS_SEL);
    env_reset();
    task_c(t_16);
    run_kernel(s_call_c);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RDX], 0x77);
    CHECK(last.gpr[RBX], 0x12345678);
    CHECK((uint16_t)seen[0], 0xf800);
    env_reset();
}

static void trap_bit(void)
{
    set_dr6(0xffff0ff0);
    task_b(t_stop);
    tss_b.trap = 1;
    run_kernel(s_jmp_b);
    CHECK_TRAP(DB, 0);
    CHECK(last.dr6 & 0xe00f, 1 << 15);
    CHECK(last.rip, address(t_stop));
    env_reset();
}

static void ldt_of_a_task(void)
{
    ldt[1] = make_desc(0, 0xfffff, 0xc093);
    task_b(t_stop);
    tss_b.ldt = LDT_SEL;
    tss_b.ds = 8 | 4;
    run_kernel(s_jmp_b);
    CHECK_TRAP(UD, 0);
    CHECK(last.ds, 8 | 4);
    __asm__ volatile("lldt %w0" ::"r"(0));
    env_reset();
}

void guest_main(void)
{
    env_init();
    call_and_return();
    env_reset();
    jumps();
    faults();
    faults_in_the_new_task();
    task_gates();
    double_fault_task();
    tasks_of_16_bits();
    trap_bit();
    ldt_of_a_task();
    checks_done("prot_task");
}
