/* SPDX-License-Identifier: MIT-0 */
/*
 * long_faults.c - 64-bit mode: exceptions with their error codes, stacks and
 * return addresses; page faults of every kind; NX, WP, SMEP, SMAP, PCID.
 */
#include "env64.h"

/* ---- vectors --------------------------------------------------------------- */

SNIPPET(s_stop, 64, STOP);
SNIPPET(s_div0, 64, "xor %ecx, %ecx\n div %ecx\n");
SNIPPET(s_div_overflow, 64, "mov $-1, %edx\n mov $1, %ecx\n div %ecx\n");
SNIPPET(s_idiv_min, 64, "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx\n idiv %ecx\n");
SNIPPET(s_int3, 64, "int3\n" STOP);
SNIPPET(s_int1, 64, ".byte 0xf1\n" STOP);
SNIPPET(s_int80, 64, "int $0x80\n" STOP);
SNIPPET(s_hlt, 64, "hlt\n" STOP);
SNIPPET(s_noncanonical, 64, "mov $0x800000000000, %rax\n mov (%rax), %eax\n");
SNIPPET(s_noncanonical_stack, 64, "mov $0x800000000000, %rbp\n mov (%rbp), %eax\n");
SNIPPET(s_noncanonical_push, 64, "mov $0x800000000004, %rsp\n push %rax\n");
SNIPPET(s_long_insn, 64, ".fill 14, 1, 0x66\n nop\n.byte 0x90\n");
SNIPPET(s_too_long, 64, ".fill 15, 1, 0x66\n nop\n");
SNIPPET(s_lock_nop, 64, ".byte 0xf0, 0x90\n");
SNIPPET(s_x87, 64, "fld1\n" STOP);
SNIPPET(s_align, 64, "mov 1(%rsp), %eax\n" STOP);
SNIPPET(s_movaps, 64, "movaps 8(%rsp), %xmm0\n" STOP);

static void vectors(void)
{
    run_kernel(s_div0);
    CHECK_TRAP(DE, 0);
    CHECK(last.rip, address(s_div0) + 2);
    CHECK(last.cs, CODE64);
    CHECK(last.ss, DATA);
    CHECK(last.gpr[RSP], TEST_STACK);
    CHECK(last.rflags & F_RF, F_RF);
    run_kernel(s_div_overflow);
    CHECK_TRAP(DE, 0);
    run_kernel(s_idiv_min);
    CHECK_TRAP(DE, 0);
    run_kernel(s_int3);
    CHECK_TRAP(BP, 0);
    CHECK(last.rip, address(s_int3) + 1);
    CHECK(last.rflags & F_RF, 0);
    run_kernel(s_int1);
    CHECK_TRAP(DB, 0);
    CHECK(last.rip, address(s_int1) + 1);
    run_kernel(s_int80);
    CHECK_TRAP(0x80, 0);
    CHECK(last.rip, address(s_int80) + 2);
    run_kernel(s_stop);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_stop));
    run_kernel(s_noncanonical);
    CHECK_TRAP(GP, 0);
    run_kernel(s_noncanonical_stack);
    CHECK_TRAP(SS, 0);
    run_user(s_noncanonical_push);
    CHECK_TRAP(SS, 0);
    CHECK(last.gpr[RSP], 0x800000000004);
    run_kernel(s_too_long);
    CHECK_TRAP(GP, 0);
    run_kernel(s_lock_nop);
    CHECK_TRAP(UD, 0);
}

static void privileged(void)
{
    struct frame f;

    run_user(s_hlt);
    CHECK_TRAP(GP, 0);
    CHECK(last.cs, CODE64_U);
    CHECK(last.ss, DATA_U);
    run_user(s_int3);                                /* gates have DPL 0 */
    CHECK_TRAP(GP, BP * 8 + 2);
    run_user(s_int80);
    CHECK_TRAP(GP, 0x80 * 8 + 2);
    set_gate(0x80, CODE64, address(trap_stubs + 16 * 0x80), 0xee, 0);
    run_user(s_int80);
    CHECK_TRAP(0x80, 0);
    set_gate(0x80, CODE64, address(trap_stubs + 16 * 0x80), 0x6e, 0);
    run_user(s_int80);
    CHECK_TRAP(NP, 0x80 * 8 + 2);
    set_gate(0x80, DATA, address(trap_stubs), 0xee, 0);
    run_user(s_int80);
    CHECK_TRAP(GP, DATA);
    set_gate(0x80, CODE32, address(trap_stubs), 0xee, 0);
    run_user(s_int80);
    CHECK_TRAP(GP, CODE32);
    set_gate(0x80, 0, address(trap_stubs), 0xee, 0);
    run_user(s_int80);
    CHECK_TRAP(GP, 0);
    set_gate(0x80, CODE64, 0x800000000000, 0xee, 0);
    run_user(s_int80);
    CHECK_TRAP(GP, 0);
    env_reset();
    f = frame_user(s_stop);
    f.gpr[RSP] = USER_STACK + 5;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RSP], USER_STACK + 5);
}

static void fpu_and_alignment(void)
{
    struct frame f = frame_user(s_align);

    set_cr0(get_cr0() | CR0_TS);
    run_kernel(s_x87);
    CHECK_TRAP(NM, 0);
    set_cr0(get_cr0() & ~(word)CR0_TS);
    run_kernel(s_x87);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, address(s_x87) + 2);

    set_cr0(get_cr0() | CR0_AM);
    f.rflags |= F_AC;
    run(&f);
    CHECK_TRAP(AC, 0);
    f.rflags = F_1;
    run(&f);
    CHECK_TRAP(UD, 0);
    f = frame_kernel(s_align);
    f.rflags |= F_AC;                                /* CPL 3 only */
    run(&f);
    CHECK_TRAP(UD, 0);
    set_cr0(get_cr0() & ~(word)CR0_AM);
    set_cr4(get_cr4() | CR4_OSFXSR);
    run_kernel(s_movaps);
    CHECK_TRAP(GP, 0);
}

/* ---- stacks and double faults -------------------------------------------------- */

static void stacks(void)
{
    struct frame f = frame_kernel(s_stop);

    f.gpr[RSP] = TEST_STACK + 3;                     /* pushed as it was, aligned for use */
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RSP], TEST_STACK + 3);
    set_gate(UD, CODE64, address(trap_stubs + 16 * UD), 0x8e, 1);
    f.gpr[RSP] = 0x800000000100;                     /* unusable: the IST is not */
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RSP], 0x800000000100);
    set_gate(DF, CODE64, address(trap_stubs + 16 * DF), 0x8e, 1);
    set_gate(UD, CODE64, address(trap_stubs + 16 * UD), 0x8e, 0);
    run(&f);                                         /* #UD, then #SS: not a double fault */
    CHECK_TRAP(DF, 0);                               /* but #SS meets #SS */
    f = frame_kernel(s_noncanonical);
    set_gate(GP, 0, 0, 0, 0);
    run(&f);
    CHECK_TRAP(DF, 0);
    CHECK(last.rip, address(s_noncanonical) + 10);
    f = frame_kernel(s_stop);                        /* benign first: the second is delivered */
    env_reset();
    set_gate(UD, CODE64, address(trap_stubs), 0x0e, 0);
    run(&f);
    CHECK_TRAP(NP, UD * 8 + 3);
    env_reset();
}

/* ---- paging --------------------------------------------------------------------- */

enum { AT = PAGES + 0x5000, CODE_AT = PAGES + 0x8000 };
SNIPPET(s_read, 64, "mov (%rbx), %eax\n" STOP);
SNIPPET(s_write, 64, "mov %eax, (%rbx)\n" STOP);
SNIPPET(s_jump, 64, "jmp *%rbx\n");
SNIPPET(s_push_pop, 64, "pop (%rbx)\n" STOP);
SNIPPET(s_xchg, 64, "lock xadd %eax, (%rbx)\n" STOP);

static void touch(const void *code, bool user, uint64_t at)
{
    struct frame f = user ? frame_user(code) : frame_kernel(code);

    invlpg(at);
    f.gpr[RBX] = at;
    run(&f);
}

static void expect_fault(const void *code, bool user, uint64_t at, uint64_t error)
{
    touch(code, user, at);
    CHECK_TRAP(PF, error);
    CHECK(last.cr2, at);
    CHECK(last.rip, code == s_jump ? at : address(code));
}

static void expect_none(const void *code, bool user, uint64_t at)
{
    touch(code, user, at);
    CHECK_TRAP(UD, 0);
}

static void paging_errors(void)
{
    *pte(AT) = 0;
    expect_fault(s_read, false, AT, 0);
    expect_fault(s_write, false, AT, 2);
    expect_fault(s_read, true, AT, 4);
    expect_fault(s_write, true, AT, 6);
    expect_fault(s_jump, false, AT, 0x10);
    expect_fault(s_jump, true, AT, 0x14);
    *pte(AT) = AT | PTE_P | PTE_W;
    expect_none(s_write, false, AT);
    expect_fault(s_read, true, AT, 5);
    expect_fault(s_write, true, AT, 7);
    *pte(AT) = AT | PTE_P | PTE_U;
    expect_none(s_read, true, AT);
    expect_fault(s_write, true, AT, 7);
    expect_fault(s_write, false, AT, 3);
    expect_fault(s_xchg, false, AT, 3);
    set_cr0(get_cr0() & ~(word)CR0_WP);
    expect_none(s_write, false, AT);
    expect_fault(s_write, true, AT, 7);
    set_cr0(get_cr0() | CR0_WP);
    *pte(AT) = AT | 7 | 1ull << 51;                  /* reserved address bit */
    expect_fault(s_read, false, AT, 9);
    *pte(AT) = AT | 7;
}

static void page_crossing(void)
{
    uint32_t *straddle = (uint32_t *)(AT + 0xffe);

    *pte(AT) = AT | 7;
    *pte(AT + 0x1000) = 0;
    *(volatile uint16_t *)straddle = 0x1234;
    touch(s_write, false, AT + 0xffe);
    CHECK_TRAP(PF, 2);
    CHECK(last.cr2, AT + 0x1000);
    CHECK(*(volatile uint16_t *)straddle, 0x1234);   /* nothing was written */
    touch(s_push_pop, false, AT + 0xffc);
    CHECK_TRAP(PF, 2);
    CHECK(last.gpr[RSP], TEST_STACK);
    *pte(AT + 0x1000) = (AT + 0x1000) | 7;
}

static void accessed_and_dirty(void)
{
    *pte(AT) = AT | 7;
    expect_none(s_read, true, AT);
    CHECK(*pte(AT), AT | 7 | PTE_A);
    expect_none(s_write, true, AT);
    CHECK(*pte(AT), AT | 7 | PTE_A | PTE_D);
    *pte(AT) = AT | PTE_P | PTE_U;
    expect_fault(s_write, true, AT, 7);
    CHECK(*pte(AT) & PTE_D, 0);
    *pte(AT) = AT | 7;
}

static void no_execute(void)
{
    *(volatile uint16_t *)AT = 0x0b0f;               /* ud2 */
    *pte(AT) = AT | 7 | PTE_NX;
    expect_fault(s_jump, false, AT, 0x11);
    expect_fault(s_jump, true, AT, 0x15);
    expect_none(s_read, true, AT);
    *pte(AT) = AT | 7;
    expect_none(s_jump, true, AT);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(1ull << 11));
    *pte(AT) = AT | 7 | PTE_NX;                      /* reserved now */
    expect_fault(s_read, false, AT, 9);
    *pte(AT) = AT | 7;
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1 << 11);
}

/* ---- SMEP and SMAP ------------------------------------------------------------------ */

SNIPPET(s_stac_read, 64, "stac\n mov (%rbx), %eax\n clac\n" STOP);
SNIPPET(s_stac, 64, "stac\n" STOP);

/* The guest itself runs from user pages: make everything but PAGES supervisor's. */
static void user_bit(bool set)
{
    uint64_t *directory = (uint64_t *)0x3000;

    for (unsigned i = 0; i < 512; i++)
        if (i != PAGES >> 21)
            directory[i] = set ? directory[i] | PTE_U : directory[i] & ~(uint64_t)PTE_U;
    set_cr3(get_cr3());
}

static void smep_and_smap(void)
{
    uint32_t features[4];
    struct frame f;

    cpuid(7, 0, features);
    *(volatile uint16_t *)AT = 0x0b0f;
    user_bit(false);
    if (features[1] & 1 << 7) {
        set_cr4(get_cr4() | CR4_SMEP);
        expect_fault(s_jump, false, AT, 0x11);
        *pte(AT) = AT | 3;
        expect_none(s_jump, false, AT);
        *pte(AT) = AT | 7;
        set_cr4(get_cr4() & ~(word)CR4_SMEP);
        expect_none(s_jump, false, AT);
    }
    if (features[1] & 1 << 20) {
        set_cr4(get_cr4() | CR4_SMAP);
        expect_fault(s_read, false, AT, 1);
        expect_fault(s_write, false, AT, 3);
        expect_none(s_stac_read, false, AT);
        f = frame_kernel(s_read);
        f.rflags |= F_AC;
        f.gpr[RBX] = AT;
        run(&f);
        CHECK_TRAP(UD, 0);
        *pte(AT) = AT | 3;
        expect_none(s_read, false, AT);
        *pte(AT) = AT | 7;
        set_cr4(get_cr4() & ~(word)CR4_SMAP);
        user_bit(true);
        run_user(s_stac);
        CHECK_TRAP(UD, 0);
        CHECK(last.rip, address(s_stac));
    }
    user_bit(true);
}

/* ---- translations that stay ----------------------------------------------------------- */

static void global_pages_and_pcid(void)
{
    uint32_t features[4];
    volatile uint32_t *at = (volatile uint32_t *)AT;

    *(volatile uint32_t *)(AT + 0x1000) = 0x2222;
    *at = 0x1111;
    *pte(AT) = (AT + 0x1000) | 7;
    invlpg(AT);
    CHECK(*at, 0x2222);
    *pte(AT) = AT | 7;
    set_cr3(get_cr3());
    CHECK(*at, 0x1111);
    cpuid(1, 0, features);
    if (!(features[2] & 1 << 17))
        return;
    set_cr4(get_cr4() | CR4_PCIDE);
    set_cr3(get_cr3() | 5);
    *pte(AT) = (AT + 0x1000) | 7;
    invlpg(AT);
    CHECK(*at, 0x2222);
    *pte(AT) = AT | 7;
    set_cr3(get_cr3());
    CHECK(*at, 0x1111);
    set_cr3(get_cr3() & ~(word)0xfff);
    set_cr4(get_cr4() & ~(word)CR4_PCIDE);
}

/* ---- restart ------------------------------------------------------------------------------ */

SNIPPET(s_rep_movsb, 64, "rep movsb\n" STOP);

static void string_restart(void)
{
    struct frame f = frame_kernel(s_rep_movsb);

    *pte(AT + 0x1000) = 0;
    invlpg(AT + 0x1000);
    f.gpr[RSI] = PAGES;
    f.gpr[RDI] = AT + 0xff0;
    f.gpr[RCX] = 0x40;
    run(&f);
    CHECK_TRAP(PF, 2);
    CHECK(last.gpr[RCX], 0x30);
    CHECK(last.gpr[RSI], PAGES + 0x10);
    CHECK(last.gpr[RDI], AT + 0x1000);
    CHECK(last.rip, address(s_rep_movsb));
    *pte(AT + 0x1000) = (AT + 0x1000) | 7;
    f.gpr[RCX] = last.gpr[RCX];
    f.gpr[RSI] = last.gpr[RSI];
    f.gpr[RDI] = last.gpr[RDI];
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RCX], 0);
}

void guest_main(void)
{
    env_init();
    vectors();
    privileged();
    fpu_and_alignment();
    stacks();
    paging_errors();
    page_crossing();
    accessed_and_dirty();
    no_execute();
    smep_and_smap();
    global_pages_and_pcid();
    string_restart();
    checks_done("long_faults");
}
