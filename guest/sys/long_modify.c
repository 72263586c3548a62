/* SPDX-License-Identifier: MIT-0 */
/*
 * long_modify.c - 64-bit mode: code that changes under the processor's feet.
 *
 * Rewritten by itself, ahead of itself, by string instructions, through another
 * mapping; pages that show other code, or nothing any more, while they run; jumps
 * into the middle of instructions; code from where no memory is; and more code than
 * any cache holds. Each before and after it was executed often enough to be worth
 * optimising.
 */
#include "env64.h"

enum { OFTEN = 3000, CODE_AT = PAGES + 0x10000, OTHER_AT = PAGES + 0x12000,
       ALIAS_AT = PAGES + 0x20000 };

static void put(word at, const uint8_t *bytes, unsigned n)
{
    volatile uint8_t *p = (volatile uint8_t *)at;

    for (unsigned i = 0; i < n; i++)
        p[i] = bytes[i];
}

#define PUT(at, ...) put(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static uint64_t call(word at)
{
    uint64_t value;

    __asm__ volatile("call *%1" : "=a"(value) : "r"(at) : "memory", "rcx", "rdx", "rdi", "cc");
    return value;
}

/* MOV EAX, value; RET */
static void put_constant(word at, uint32_t v)
{
    PUT(at, 0xb8, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24), 0xc3);
}

/* ---- by itself ------------------------------------------------------------- */

static void rewrites_next(void)
{
    uint64_t sum = 0;

    /* inc byte 4(rip): the immediate of the next instruction; mov eax, imm; ret */
    PUT(CODE_AT, 0xfe, 0x05, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xc3);
    for (unsigned i = 1; i <= OFTEN; i++)
        sum += call(CODE_AT) == (i & 0xff);
    CHECK(sum, OFTEN);
}

/* The first turn turns its own store into a jump out of the loop. */
static void rewrites_itself(void)
{
    uint64_t good = 0;

    for (unsigned i = 0; i < OFTEN; i++) {
        /* 0: mov word [rip-7], 0x07eb (jmp +7); 9: jmp 0; 11: mov eax, 7; ret */
        PUT(CODE_AT, 0x66, 0xc7, 0x05, 0xf7, 0xff, 0xff, 0xff, 0xeb, 0x09, 0xeb, 0xf5, 0xb8, 7, 0,
            0, 0, 0xc3);
        good += call(CODE_AT) == 7;
    }
    CHECK(good, OFTEN);
}

/* REP STOSB over what follows it: NOPs in place of an INC. */
static void rewrites_by_string(void)
{
    uint64_t good = 0;

    for (unsigned i = 0; i < OFTEN; i++) {
        /* lea rdi, [rip+11]; mov ecx, n; mov al, 0x90; rep stosb; mov eax, 1; inc eax x 2; ret */
        PUT(CODE_AT, 0x48, 0x8d, 0x3d, 14, 0, 0, 0, 0xb9, 4, 0, 0, 0, 0xb0, 0x90, 0xf3, 0xaa,
            0xb8, 1, 0, 0, 0, 0xff, 0xc0, 0xff, 0xc0, 0xc3);
        good += call(CODE_AT) == 1;
    }
    CHECK(good, OFTEN);
}

/* A hot loop whose body is patched when it is half through. */
static void rewritten_while_hot(void)
{
    uint64_t r;

    /* mov ecx, 6000; xor eax, eax; L: add eax, 1; cmp ecx, 2000; jne +7;
     * mov byte [rip-15], 3 (the addend); dec ecx; jnz L; ret */
    PUT(CODE_AT, 0xb9, 0x70, 0x17, 0, 0, 0x31, 0xc0, 0x83, 0xc0, 1, 0x81, 0xf9, 0xd0, 7, 0, 0,
        0x75, 7, 0xc6, 0x05, 0xf0, 0xff, 0xff, 0xff, 3, 0xff, 0xc9, 0x75, 0xea, 0xc3);
    r = call(CODE_AT);
    CHECK(r, 4001 + 3 * 1999);
    CHECK(call(CODE_AT), 3 * 6000);
}

/* ---- by others ------------------------------------------------------------- */

static void through_another_mapping(void)
{
    uint64_t good = 0;

    *pte(ALIAS_AT) = CODE_AT | PTE_P | PTE_W;
    invlpg(ALIAS_AT);
    for (unsigned i = 0; i < OFTEN; i++) {
        put_constant(ALIAS_AT, i);
        good += call(CODE_AT) == i;
        good += call(CODE_AT) == i;
    }
    CHECK(good, 2 * OFTEN);
    /* And data on a page of code, often. */
    put_constant(CODE_AT, 5);
    for (unsigned i = 0; i < OFTEN; i++) {
        *(volatile uint32_t *)(ALIAS_AT + 0x800) = i;
        good += call(CODE_AT) == 5;
    }
    CHECK(good, 3 * OFTEN);
    *pte(ALIAS_AT) = ALIAS_AT | 7;
    invlpg(ALIAS_AT);
}

/* One address, two pages in turn. */
static void page_reuse(void)
{
    uint64_t good = 0;

    put_constant(CODE_AT, 11);
    put_constant(OTHER_AT, 22);
    for (unsigned i = 0; i < OFTEN; i++) {
        good += call(CODE_AT) == (i & 1 ? 22 : 11);
        *pte(CODE_AT) = (i & 1 ? CODE_AT : OTHER_AT) | PTE_P | PTE_W;
        invlpg(CODE_AT);
    }
    CHECK(good, OFTEN);
    *pte(CODE_AT) = CODE_AT | 7;
    set_cr3(get_cr3());
}

/* An instruction over the end of a page: its second half changes, then goes away. */
static void page_crossing(void)
{
    word at = CODE_AT + 0x1000 - 3;
    uint64_t good = 0;

    for (unsigned i = 0; i < OFTEN; i++) {
        put_constant(at, 0x01020304 + (i << 16));
        good += call(at) == 0x01020304 + (i << 16);
        *(volatile uint8_t *)(CODE_AT + 0x1000) = 0x77;
        good += call(at) == ((0x01020304 + (i << 16)) & 0xff00ffff) + 0x770000;
    }
    CHECK(good, 2 * OFTEN);
    *pte(CODE_AT + 0x1000) = 0;
    invlpg(CODE_AT + 0x1000);
    run_kernel((void *)at);
    CHECK_TRAP(PF, 0x10);
    CHECK(last.rip, at);
    CHECK(last.cr2, CODE_AT + 0x1000);
    *pte(CODE_AT + 0x1000) = (CODE_AT + 0x1000) | 7;
    invlpg(CODE_AT + 0x1000);
    CHECK(call(at), (0x01770304 + (((OFTEN - 1) << 16) & 0xff000000)) & 0xffffffff);
}

/* ---- the page itself ----------------------------------------------------------- */

/* mov qword [rdi], 0; invlpg [rsi]; nop; nop; ret */
static void unmaps_its_page(void)
{
    struct frame f = frame_kernel((void *)CODE_AT);

    PUT(CODE_AT, 0x48, 0xc7, 0x07, 0, 0, 0, 0, 0x0f, 0x01, 0x3e, 0x90, 0x0f, 0x0b);
    f.gpr[RDI] = address(pte(CODE_AT));
    f.gpr[RSI] = CODE_AT;
    for (unsigned i = 0; i < 600; i++) {
        run(&f);
        if (last.vector != PF || (last.rip != CODE_AT + 10 && last.rip != CODE_AT + 7))
            break;
        *pte(CODE_AT) = CODE_AT | 7;
        invlpg(CODE_AT);
    }
    CHECK_TRAP(PF, 0x10);
    CHECK(last.cr2, last.rip);
    CHECK(last.rip == CODE_AT + 10 || last.rip == CODE_AT + 7, 1);  /* a TLB may forget */
    *pte(CODE_AT) = CODE_AT | 7;
    invlpg(CODE_AT);
    /* The same, but another page with other code appears there. */
    PUT(OTHER_AT, 0x48, 0x89, 0x1f, 0x0f, 0x1f, 0x40, 0, 0x0f, 0x01, 0x3e, 0xb8, 9, 0, 0, 0, 0x0f, 0x0b);
    PUT(CODE_AT, 0x48, 0x89, 0x1f, 0x0f, 0x1f, 0x40, 0, 0x0f, 0x01, 0x3e, 0x90, 0x0f, 0x0b);
    f.gpr[RBX] = OTHER_AT | PTE_P | PTE_W;
    run(&f);
    CHECK_TRAP(UD, 0);
    CHECK(last.gpr[RAX], 9);
    CHECK(last.rip, CODE_AT + 15);
    *pte(CODE_AT) = CODE_AT | 7;
    set_cr3(get_cr3());
}

/* B8 B8 01 00 00 C3 ...: two ways to read the same bytes. */
static void into_the_middle(void)
{
    uint64_t good = 0;

    /* At 0: mov eax, 0x1b8; ret. At 1: mov eax, 0xc3000001; ret. */
    PUT(CODE_AT, 0xb8, 0xb8, 1, 0, 0, 0xc3, 0xc3);
    for (unsigned i = 0; i < OFTEN; i++) {
        good += call(CODE_AT) == 0x000001b8;
        good += call(CODE_AT + 1) == 0xc3000001;
    }
    CHECK(good, 2 * OFTEN);
}

/* Code where no memory is: reads as ones, which are no instruction. */
static void where_no_memory_is(void)
{
    *pte(ALIAS_AT) = 0xd0000000 | PTE_P | PTE_W;
    invlpg(ALIAS_AT);
    for (unsigned i = 0; i < 50; i++)
        run_kernel((void *)ALIAS_AT);
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, ALIAS_AT);
    /* From RAM into it. */
    PUT(ALIAS_AT - 0x1000 + 0xfff, 0x90);
    run_kernel((void *)(ALIAS_AT - 1));
    CHECK_TRAP(UD, 0);
    CHECK(last.rip, ALIAS_AT);
    *pte(ALIAS_AT) = ALIAS_AT | 7;
    invlpg(ALIAS_AT);
}

/* ---- too much ------------------------------------------------------------------ */

enum { FILL_AT = 0x600000, FILL_BYTES = 3 << 19 };

/* INC EAX; JMP +0, as often as it fits, twice, with other code the second time. */
static void more_than_a_cache(void)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        for (word at = FILL_AT; at < FILL_AT + FILL_BYTES; at += 4)
            *(volatile uint32_t *)at = turn ? 0x00ebc8ff : 0x00ebc0ff;
        PUT(FILL_AT, 0x31, 0xc0);                          /* xor eax, eax */
        PUT(FILL_AT + FILL_BYTES - 1, 0xc3);
        PUT(FILL_AT + FILL_BYTES - 4, 0x90, 0x90, 0x90, 0xc3);
        CHECK((uint32_t)call(FILL_AT), (uint32_t)((FILL_BYTES / 4 - 2) * (turn ? -1 : 1)));
    }
}

void guest_main(void)
{
    env_init();
    rewrites_next();
    rewrites_itself();
    rewrites_by_string();
    rewritten_while_hot();
    through_another_mapping();
    page_reuse();
    page_crossing();
    unmaps_its_page();
    into_the_middle();
    where_no_memory_is();
    more_than_a_cache();
    checks_done("long_modify");
}
