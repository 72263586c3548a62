/* SPDX-License-Identifier: MIT-0 */
/*
 * prot_paging.c - 2-level and PAE paging in 32-bit protected mode: rights and
 * error codes, accessed and dirty bits, large pages, reserved bits, NX.
 */
#include "env32.h"

enum { P = 1, W = 2, U = 4, A = 32, D = 64, PS = 128 };
enum { PAGES = 0x400000, AT = PAGES + 0x5000, LARGE = 0x800000 };
static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t directory_pae[512] __attribute__((aligned(4096)));
static uint64_t table_pae[512] __attribute__((aligned(4096)));

SNIPPET(s_read, 32, "mov (%ebx), %eax\n" STOP);
SNIPPET(s_write, 32, "mov %eax, (%ebx)\n" STOP);
SNIPPET(s_jump, 32, "jmp *%ebx\n");

static void touch(const void *code, bool user, word at)
{
    struct frame f = user ? frame_user(code) : frame_kernel(code);

    __asm__ volatile("invlpg (%0)" ::"r"(at) : "memory");
    f.gpr[RBX] = at;
    run(&f);
}

static void expect_fault(const void *code, bool user, word at, word error)
{
    touch(code, user, at);
    CHECK_TRAP(PF, error);
    CHECK(last.cr2, at);
    CHECK(last.rip, code == s_jump ? at : address(code));
}

static void expect_none(const void *code, bool user, word at)
{
    touch(code, user, at);
    CHECK_TRAP(UD, 0);
}

static void paging_off(void)
{
    set_cr0(get_cr0() & 0x7fffffff);
}

/* ---- 2-level ------------------------------------------------------------------ */

static void two_level_rights(void)
{
    uint32_t *pte = &table[(AT - PAGES) >> 12];

    expect_none(s_write, true, AT);
    CHECK(*pte, AT | P | W | U | A | D);
    CHECK(directory[PAGES >> 22] & (A | D), A);
    *pte = AT | P | W | U;
    expect_none(s_read, true, AT);
    CHECK(*pte & (A | D), A);
    *pte = 0;
    expect_fault(s_read, false, AT, 0);
    expect_fault(s_write, true, AT, 6);
    expect_fault(s_jump, true, AT, 4);               /* no I bit without NX or SMEP */
    *pte = AT | P | W;
    expect_fault(s_read, true, AT, 5);
    expect_none(s_write, false, AT);
    *pte = AT | P | U;
    expect_fault(s_write, true, AT, 7);
    expect_none(s_write, false, AT);                 /* CR0.WP is clear */
    CHECK(*pte & D, D);
    set_cr0(get_cr0() | CR0_WP);
    expect_fault(s_write, false, AT, 3);
    set_cr0(get_cr0() & ~(word)CR0_WP);
    *pte = AT | P | W | U;
    directory[PAGES >> 22] &= ~(uint32_t)U;          /* both levels must allow */
    expect_fault(s_read, true, AT, 5);
    directory[PAGES >> 22] |= U;
    directory[PAGES >> 22] &= ~(uint32_t)W;
    expect_fault(s_write, true, AT, 7);
    directory[PAGES >> 22] |= W;
    directory[PAGES >> 22] &= ~(uint32_t)P;
    expect_fault(s_read, true, AT, 4);
    directory[PAGES >> 22] |= P;
}

static void two_level(void)
{
    for (unsigned i = 0; i < 4; i++)
        directory[i] = i << 22 | P | W | U | PS;
    for (unsigned i = 0; i < 1024; i++)
        table[i] = (PAGES + (i << 12)) | P | W | U;
    directory[PAGES >> 22] = address(table) | P | W | U;
    set_cr4(get_cr4() | CR4_PSE);
    set_cr3(address(directory));
    set_cr0(get_cr0() | 0x80000000);
    two_level_rights();
    expect_none(s_write, true, LARGE + 0x123456);
    CHECK(directory[LARGE >> 22], LARGE | P | W | U | PS | A | D);
    directory[LARGE >> 22] |= 1 << 21;               /* reserved in a 4 MiB page */
    expect_fault(s_read, true, LARGE, 0xd);
    directory[LARGE >> 22] = LARGE | P | W | U | PS;
    paging_off();
}

/* ---- PAE ------------------------------------------------------------------------ */

static void pae_rights(void)
{
    uint64_t *pte = &table_pae[(AT - PAGES) >> 12];

    expect_none(s_write, true, AT);
    CHECK(*pte, AT | P | W | U | A | D);
    *pte = AT | P | W | U | 1ull << 63;              /* NX without EFER.NXE: reserved */
    expect_fault(s_read, true, AT, 0xd);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 11);
    expect_none(s_read, true, AT);
    expect_fault(s_jump, true, AT, 0x15);
    expect_fault(s_jump, false, AT, 0x11);
    *pte = AT | P | W | U;
    *(volatile uint16_t *)AT = 0x0b0f;
    expect_none(s_jump, true, AT);
    *pte = AT | P | W | U | 1ull << 62;
    expect_fault(s_read, true, AT, 0xd);
    *pte = 0;
    expect_fault(s_jump, true, AT, 0x14);
    *pte = AT | P | W | U;
    wrmsr(0xc0000080, rdmsr(0xc0000080) & ~(1ull << 11));
}

/* The four pointers are read when CR3 is loaded, not when used. */
static void pae_pointers_are_cached(void)
{
    pdpt[0] &= ~1ull;
    expect_none(s_read, false, AT);
    pdpt[0] |= 1;
    set_cr3(address(pdpt));
    expect_none(s_read, false, AT);
}

SNIPPET(s_set_cr3, 32, "mov %ebx, %cr3\n" STOP);

static void pae_reserved_pointers(void)
{
    pdpt[1] = 1 | 1 << 1;
    touch(s_set_cr3, false, address(pdpt));
    CHECK_TRAP(GP, 0);
    pdpt[1] = 0;
    touch(s_set_cr3, false, address(pdpt));
    CHECK_TRAP(UD, 0);
}

static void pae(void)
{
    pdpt[0] = address(directory_pae) | P;
    for (unsigned i = 0; i < 8; i++)
        directory_pae[i] = i << 21 | P | W | U | PS;
    for (unsigned i = 0; i < 512; i++)
        table_pae[i] = (PAGES + (i << 12)) | P | W | U;
    directory_pae[PAGES >> 21] = address(table_pae) | P | W | U;
    set_cr4(get_cr4() | CR4_PAE);
    set_cr3(address(pdpt));
    set_cr0(get_cr0() | 0x80000000);
    pae_rights();
    expect_none(s_write, true, LARGE + 0x54321);
    CHECK(directory_pae[LARGE >> 21], LARGE | P | W | U | PS | A | D);
    directory_pae[LARGE >> 21] |= 1 << 13;
    expect_fault(s_read, true, LARGE, 0xd);
    directory_pae[LARGE >> 21] = LARGE | P | W | U | PS;
    pae_pointers_are_cached();
    pae_reserved_pointers();
    paging_off();
    set_cr4(get_cr4() & ~(word)CR4_PAE);
}

void guest_main(void)
{
    env_init();
    two_level();
    pae();
    checks_done("prot_paging");
}
