/* SPDX-License-Identifier: MIT-0 */
/*
 * long_wild.c - 64-bit mode: accesses to everywhere but memory, in both rings.
 *
 * Random instructions of all sizes, strings, stack operations and far-reaching bit
 * tests, with wild bases, indices, displacements and segment bases: next to page
 * ends and holes, at both ends of the canonical halves, at addresses that wrap
 * around, and at twins of mapped addresses that differ only in bits that a
 * translator might ignore. How each one ends goes into a sum that is printed: what
 * it has to be is what another engine says (tests/lockstep). What is checked here
 * is that memory outside the holes' neighbours is as it was.
 */
#include "env64.h"

enum { CODE_AT = PAGES + 0x10000, ONE_PAGE = PAGES + 0x20000, TWO_PAGES = PAGES + 0x30000,
       READ_ONLY = PAGES + 0x40000, LAST_PAGE = PAGES_END - 0x8000, KEPT = 0x700000,
       KEPT_BYTES = 0x8000, ROUNDS = 16000 };

static uint64_t seed = 1, sum;
static bool have_xsave;

static uint64_t next(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15ull);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static unsigned below(unsigned n)
{
    return (unsigned)(next() >> 32) % n;
}

static void add(uint64_t v)
{
    sum = (sum ^ v) * 0x100000001b3ull;
    sum ^= sum >> 29;
}

/* ---- where ------------------------------------------------------------------- */

static uint64_t mapped(void)
{
    static const uint64_t page[] = {ONE_PAGE, TWO_PAGES, TWO_PAGES + 0x1000, READ_ONLY, LAST_PAGE};

    return page[below(5)] + (below(2) ? below(4096) : 4096 - below(600));
}

static uint64_t wild(void)
{
    static const uint64_t edge[] = {
        0x800000000000, 0xffff800000000000, 0x7fffffff0000, 0x1000000000000, 0x8000000000000000,
        0x4000000000000000, 0x100000000, 0x180000000, 0xffffffff80000000, PAGES_END - 0x1000, LAST_PAGE,
        ONE_PAGE, ONE_PAGE + 0x1000, TWO_PAGES, TWO_PAGES + 0x2000, READ_ONLY, 0x555555554000,
        0x7f0000000000, 0x7ffff7000000,
    };

    switch (below(8)) {
    case 0: return mapped() | 1ull << (47 + below(17));
    case 1: return mapped() ^ next() << 47;
    case 2: return (mapped() & 0xffffffff) | next() << 32;
    case 3: return edge[below(19)] - below(130);
    case 4: return edge[below(19)] + below(130) - 65;
    case 5: return next() >> below(64) | 1ull << 40;      /* not among what is mapped low */
    default: return mapped();
    }
}

/* ---- what ---------------------------------------------------------------------- */

/* An opcode with a memory operand; ModRM.reg as given, 8: any. */
static const struct { uint8_t n, bytes[5], reg; } ops[] = {
    {1, {0x8b}, 8}, {1, {0x89}, 8}, {1, {0x8a}, 8}, {1, {0x88}, 8}, {2, {0x48, 0x8b}, 8},
    {2, {0x48, 0x89}, 8}, {2, {0x66, 0x89}, 8}, {1, {0x01}, 8}, {2, {0x48, 0x31}, 8},
    {2, {0xf0, 0x01}, 8}, {1, {0x87}, 8}, {3, {0xf0, 0x0f, 0xb1}, 8}, {2, {0x0f, 0xc7}, 1},
    {3, {0x48, 0x0f, 0xc7}, 1}, {2, {0x0f, 0x10}, 8}, {2, {0x0f, 0x11}, 8}, {2, {0x0f, 0x28}, 8},
    {2, {0x0f, 0x29}, 8}, {3, {0xf3, 0x0f, 0x6f}, 8}, {3, {0xf3, 0x0f, 0x7f}, 8},
    {2, {0x0f, 0x2b}, 8}, {2, {0x0f, 0xae}, 0}, {2, {0x0f, 0xae}, 1}, {2, {0x0f, 0xae}, 4},
    {3, {0x48, 0x0f, 0xae}, 0}, {3, {0x48, 0x0f, 0xae}, 4}, {1, {0xff}, 6}, {1, {0x8f}, 0},
    {1, {0xff}, 2}, {3, {0x48, 0x0f, 0xa3}, 8}, {3, {0x48, 0x0f, 0xab}, 8},
    {3, {0x48, 0x0f, 0xb3}, 8}, {2, {0x0f, 0x18}, 1}, {2, {0x0f, 0xae}, 7}, {1, {0xdd}, 6},
    {1, {0xdd}, 4}, {1, {0xd9}, 6}, {1, {0xdb}, 7}, {1, {0xdb}, 5},
    {1, {0xff}, 0}, {1, {0xf7}, 3}, {1, {0xc7}, 0}, {2, {0x0f, 0xc3}, 8}, {2, {0x0f, 0xb6}, 8},
    {1, {0x63}, 8}, {2, {0x48, 0x8d}, 8}, {1, {0xff}, 3},
};

static uint8_t *emit(uint8_t *p, const uint8_t *bytes, unsigned n)
{
    while (n--)
        *p++ = *bytes++;
    return p;
}

/* ModRM with base RBX, perhaps index RSI, perhaps a displacement: a small one or
 * more than 1 GiB, which nothing is mapped behind. */
static uint8_t *emit_operand(uint8_t *p, unsigned reg)
{
    unsigned mod = below(3), index = below(3) == 0;
    uint32_t far = ((uint32_t)next() & 0x3fffffff) | (below(2) ? 0x40000000 : 0x80000000);
    uint32_t disp = below(2) ? far : below(8192) - 4096;

    *p++ = (uint8_t)(mod << 6 | reg << 3 | (index ? 4 : 3));
    if (index)
        *p++ = (uint8_t)(below(4) << 6 | RSI << 3 | RBX);
    if (mod == 1)
        *p++ = (uint8_t)disp;
    return mod == 2 ? emit(p, (const uint8_t *)&disp, 4) : p;
}

static uint8_t *emit_op(uint8_t *p)
{
    unsigned n;

    do
        n = below(sizeof ops / sizeof ops[0]);
    while (ops[n].reg == 4 && ops[n].bytes[ops[n].n - 1] == 0xae && !have_xsave);
    if (below(12) == 0)
        *p++ = 0x64 + (uint8_t)below(2);                   /* FS or GS */
    p = emit(p, ops[n].bytes, ops[n].n);
    p = emit_operand(p, ops[n].reg == 8 ? below(8) : ops[n].reg);
    if (ops[n].bytes[0] == 0xc7 && ops[n].n == 1)
        p = emit(p, (const uint8_t *)&sum, 4);
    return p;
}

static uint8_t *emit_string(uint8_t *p)
{
    static const uint8_t op[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

    if (below(3) == 0)
        *p++ = 0xfd;                                       /* STD */
    if (below(4))
        *p++ = 0xf2 + (uint8_t)below(2);
    if (below(2))
        *p++ = 0x48;
    *p++ = op[below(10)];
    return p;
}

static uint8_t *emit_stack(uint8_t *p)
{
    static const uint8_t op[][4] = {
        {0x50}, {0x58}, {0x9c}, {0xc9}, {0xc3}, {0xc8, 0x10, 0, 0}, {0xc8, 0x10, 0, 3},
        {0x66, 0x50}, {0x6a, 1}, {0x5c}, {0x54}, {0xc2, 8, 0},
    };
    static const uint8_t length[] = {1, 1, 1, 1, 1, 4, 4, 2, 2, 1, 1, 3};
    unsigned n = below(12);

    return emit(p, op[n], length[n]);
}

/* Up to four of them, twice in a row, so that what is known of an address from the
 * first may be used for the second. */
static void make_code(void)
{
    uint8_t *p = (uint8_t *)CODE_AT;

    for (unsigned i = 1 + below(4); i > 0; i--) {
        switch (below(8)) {
        case 0: p = emit_string(p); break;
        case 1: p = emit_stack(p); break;
        default: p = emit_op(p); break;
        }
    }
    p = emit(p, (const uint8_t *)"\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b",
             16);
}

/* ---- running --------------------------------------------------------------------- */

/* Aims at something, the sum of what the operand is made of included. */
static void wild_frame(struct frame *f, bool ring0)
{
    *f = ring0 ? frame_kernel((void *)CODE_AT) : frame_user((void *)CODE_AT);
    for (unsigned i = 0; i < GPRS; i++)
        f->gpr[i] = below(2) ? next() : wild();
    f->gpr[RSI] = below(3) ? wild() : next() >> below(20);
    f->gpr[RDI] = wild();
    f->gpr[RCX] = below(3) ? below(5000) : next();
    f->gpr[RSP] = below(3) ? mapped() & ~7ull : wild();
    f->gpr[RBP] = below(2) ? mapped() : wild();
    f->gpr[RBX] = wild();
    if (below(3) == 0) {                                   /* aimed with the index */
        f->gpr[RSI] = next() | 1ull << 50;
        f->gpr[RBX] -= f->gpr[RSI];
    }
}

static void run_wild(bool ring0)
{
    struct frame f;

    wild_frame(&f, ring0);
    __asm__ volatile("fninit\n\tldmxcsr %0" : : "m"((uint32_t){0x1f80}));
    wrmsr(MSR_FS_BASE, below(2) ? wild() & 0x7fffffffffff : 0);
    wrmsr(MSR_GS_BASE, below(2) ? 0xffff800000000000 | wild() : 0);
    run(&f);
    __asm__ volatile("cld");
    add(last.vector);
    add(last.error);
    add(last.rip);
    add(last.rflags & ~(uint64_t)F_RF);
    if (last.vector == PF)
        add(last.cr2);
    for (unsigned i = 0; i < GPRS; i++)
        add(last.gpr[i]);
}

static void fill_pages(void)
{
    static const uint64_t page[] = {ONE_PAGE, TWO_PAGES, TWO_PAGES + 0x1000, LAST_PAGE, READ_ONLY};

    *pte(READ_ONLY) |= PTE_W;
    invlpg(READ_ONLY);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned k = 0; k < 512; k++)
            ((volatile uint64_t *)page[i])[k] = k % 3 ? wild() : next();
    }
    *pte(READ_ONLY) &= ~(uint64_t)PTE_W;
    invlpg(READ_ONLY);
}

static void add_pages(void)
{
    static const uint64_t page[] = {ONE_PAGE, TWO_PAGES, TWO_PAGES + 0x1000, LAST_PAGE};

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < 512; k++)
            add(((volatile uint64_t *)page[i])[k]);
    }
}

/* ---- surroundings ------------------------------------------------------------------ */

static void map_pages(void)
{
    for (uint64_t a = PAGES; a < PAGES_END; a += 0x1000)
        *pte(a) = 0;
    *pte(CODE_AT) = CODE_AT | 7;
    *pte(ONE_PAGE) = ONE_PAGE | 7 | PTE_NX;
    *pte(TWO_PAGES) = TWO_PAGES | 7 | PTE_NX;
    *pte(TWO_PAGES + 0x1000) = (TWO_PAGES + 0x5000) | 7 | PTE_NX;
    *pte(READ_ONLY) = READ_ONLY | 5 | PTE_NX;
    *pte(LAST_PAGE) = LAST_PAGE | 7 | PTE_NX;
    set_cr3(get_cr3());
}

static void vector_state_on(void)
{
    uint32_t r[4];

    set_cr4(get_cr4() | CR4_OSFXSR | 1 << 10);
    cpuid(1, 0, r);
    have_xsave = r[2] & 1u << 26;
    if (have_xsave) {
        set_cr4(get_cr4() | 1 << 18);
        __asm__ volatile("xsetbv" : : "a"(3), "d"(0), "c"(0));
    }
}

/* Ring 0 stacks may be anywhere: exceptions get one of their own. */
static void gates_with_stack(void)
{
    for (unsigned i = 0; i < 32; i++)
        set_gate(i, CODE64, address(trap_stubs + 16 * i), 0x8e, 1);
}

/* What is stored as zeros and small numbers may be returned to: INT3s. */
static void low_page(void)
{
    volatile uint8_t *low = (volatile uint8_t *)1;

    for (unsigned i = 0; i < 0xfff; i++)
        low[i] = 0xcc;
}

static void keep(void)
{
    for (unsigned i = 0; i < KEPT_BYTES / 8; i++)
        ((volatile uint64_t *)KEPT)[i] = i * 0x0101010101010101ull;
}

static void check_kept(void)
{
    uint64_t bad = 0;

    for (unsigned i = 0; i < KEPT_BYTES / 8; i++)
        bad += ((volatile uint64_t *)KEPT)[i] != i * 0x0101010101010101ull;
    CHECK(bad, 0);
}

void guest_main(void)
{
    env_init();
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1 << 11);
    map_pages();
    vector_state_on();
    gates_with_stack();
    low_page();
    keep();
    set_cr0(get_cr0() | CR0_WP);
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool ring0 = i & 1;

        if (i % 64 == 0)
            fill_pages();
        make_code();
        for (unsigned k = 0; k < 3; k++)
            run_wild(ring0);
        if (i % 64 == 63)
            add_pages();
    }
    wrmsr(MSR_FS_BASE, 0);
    check_kept();
    print("sum ");
    print_hex(sum);
    print("\n");
    checks_done("long_wild");
}
