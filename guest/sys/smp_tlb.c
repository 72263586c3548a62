/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_tlb.c - translations that another processor takes away.
 *
 * Processor 0 shows now this, now that page at one address. After each change it
 * has the others invalidate; from then on none may read the old page or write to
 * it. Also: what page walks write to the tables while somebody else does.
 */
#include "smp.h"

enum { WINDOW = 0x40000000, PAGE_A = 0x600000, PAGE_B = 0x800000, POISON = 0x77 };
enum { SLOT = 64 };

static uint64_t *const directory = smp_tables[3];       /* of the second GiB */
static uint64_t small[512] __attribute__((aligned(4096)));
static uint64_t tables_2[3][512] __attribute__((aligned(4096)));
static volatile uint64_t current, stop, stale;
static uint64_t offsets;                        /* of what is accessed in the window */
static bool writes, user;

/* ---- readers ------------------------------------------------------------------ */

static void look(unsigned self)
{
    for (uint64_t i = 0; !stop; i++) {
        uint64_t before = current, at = WINDOW + (offsets ? (i * 37 & 511) << 12 : 0);

        if (*(volatile uint64_t *)at < before)
            xadd(&stale, 1);
        if (writes)
            *(volatile uint64_t *)(WINDOW + (word)SLOT * (self + 1)) = i;
        if (i % 8 == 0)                         /* others may have no host processor */
            pause();
    }
}

static void (*flusher)(void);
static void (*show)(uint64_t phys);
static void (*settle)(unsigned self);           /* before looking, on each processor */
static unsigned rounds;

static void number_pages(uint64_t page, uint64_t n)
{
    for (unsigned i = 0; i < (offsets ? 512 : 1); i++)
        *(volatile uint64_t *)(page + i * 4096u) = n;
}

static bool poisoned(uint64_t page)
{
    for (unsigned i = 1; i <= SMP_MAX; i++)
        if (*(volatile uint64_t *)(page + i * SLOT) != POISON)
            return false;
    return true;
}

static void poison(uint64_t page)
{
    for (unsigned i = 1; i <= SMP_MAX; i++)
        *(volatile uint64_t *)(page + i * SLOT) = POISON;
}

static void change(void)
{
    uint64_t written = 0;

    poison(PAGE_B);
    for (uint64_t n = current + 1, end = n + rounds; n < end; n++) {
        uint64_t page = n & 1 ? PAGE_B : PAGE_A;

        written += !poisoned(page);
        number_pages(page, n);
        show(page);
        barrier();
        flusher();
        shoot_down(flusher);
        current = n;
        poison(page == PAGE_A ? PAGE_B : PAGE_A);
    }
    CHECK(written, 0);
}

static void changing(unsigned self)
{
    if (settle)
        settle(self);
    if (self == 0) {
        change();
        stop = 1;
    } else if (user) {
        in_user_mode(look, self);
    } else {
        look(self);
    }
}

static void by_invlpg(void)
{
    invlpg(WINDOW);
}

static void shows(const char *name, void (*how)(uint64_t), void (*flush)(void), unsigned n)
{
    show = how;
    flusher = flush;
    rounds = n * scale;
    stop = stale = 0;
    current += 2 - (current & 1);
    poison(PAGE_A);
    poison(PAGE_B);
    number_pages(PAGE_A, current);
    show(PAGE_A);
    by_invlpg();                                /* it may have been global */
    shoot_down(by_invlpg);
    flush();
    shoot_down(flush);
    together(changing);
    CHECK(stale, 0);
    if (stale) {
        print(name);
        print("\n");
    }
}

/* ---- ways to show a page -------------------------------------------------------- */

static void show_small(uint64_t page)
{
    small[0] = page | PTE_P | PTE_W | PTE_U;
}

static void show_small_global(uint64_t page)
{
    small[0] = page | PTE_P | PTE_W | PTE_U | PTE_G;
}

static void show_large(uint64_t page)
{
    directory[0] = page | PTE_P | PTE_W | PTE_U | PTE_PS;
}

/* A large page or small ones, in turn. */
static void show_split(uint64_t page)
{
    if (page == PAGE_A) {
        show_large(page);
        return;
    }
    for (unsigned i = 0; i < 512; i++)
        small[i] = (page + i * 4096u) | PTE_P | PTE_W | PTE_U;
    barrier();
    directory[0] = address(small) | PTE_P | PTE_W | PTE_U;
}

/* ---- ways to invalidate ----------------------------------------------------------- */

/* Any address in a large page will do; small ones go each for itself. */
static void by_invlpgs(void)
{
    for (unsigned i = 0; i < 512; i++)
        invlpg(WINDOW + i * 4096u);
}

static void by_cr3(void)
{
    set_cr3(get_cr3());
}

static void by_cr4(void)
{
    set_cr4(get_cr4() ^ CR4_PGE);
    set_cr4(get_cr4() ^ CR4_PGE);
}

static void invpcid(uint64_t type, uint64_t pcid, uint64_t at)
{
    uint64_t d[2] = {pcid, at};

    __asm__ volatile("invpcid %0, %1" ::"m"(d), "r"(type) : "memory");
}

static unsigned pcid_now;

static void by_invpcid_address(void)
{
    invpcid(0, get_cr3() & 0xfff, WINDOW);
}

static void by_invpcid_context(void)
{
    invpcid(1, get_cr3() & 0xfff, 0);
}

static void by_invpcid_all(void)
{
    invpcid(2, 0, 0);
}

/* The other address space, which is away at the moment. */
static void by_invpcid_elsewhere(void)
{
    uint64_t cr3 = get_cr3();

    set_cr3((address(tables_2[0]) | 9) | 1ull << 63);
    invpcid(0, cr3 & 0xfff, WINDOW);
    set_cr3(cr3 | 1ull << 63);
}

static void pcids_on(unsigned self)
{
    set_cr4(get_cr4() | CR4_PCIDE);
    set_cr3(address(smp_tables) | (pcid_now + self % 2));
}

static bool has_pcid(void)
{
    uint32_t r[4], s[4];

    cpuid(1, 0, r);
    cpuid(7, 0, s);
    return r[2] >> 17 & 1 && s[1] >> 10 & 1;
}

static void variants(void)
{
    uint64_t mapped;

    directory[0] = address(small) | PTE_P | PTE_W | PTE_U;
    show_small(PAGE_A);
    shows("invlpg", show_small, by_invlpg, 1000);
    shows("invlpg, global", show_small_global, by_invlpg, 1000);
    shows("cr3", show_small, by_cr3, 500);
    shows("cr4", show_small_global, by_cr4, 200);
    if (has_pcid()) {
        mapped = smp_tables[0][0];
        tables_2[0][0] = mapped;
        pcid_now = 3;
        settle = pcids_on;
        shows("invpcid 0", show_small, by_invpcid_address, 500);
        shows("invpcid 1", show_small, by_invpcid_context, 500);
        shows("invpcid 2", show_small_global, by_invpcid_all, 200);
        shows("invpcid elsewhere", show_small, by_invpcid_elsewhere, 500);
        shows("invlpg with pcid", show_small_global, by_invlpg, 500);
        settle = NULL;
    }
    writes = false;
    offsets = 1;
    shows("large", show_large, by_invlpg, 100);
    shows("split", show_split, by_invlpgs, 50);
    offsets = 0;
    writes = true;
    directory[0] = address(small) | PTE_P | PTE_W | PTE_U;
    by_cr3();
    shoot_down(by_cr3);
}

/* ---- accessed and dirty ------------------------------------------------------------- */

enum { MARK = 1 << 9, PAGES_AD = 64 };
static volatile uint64_t turn, arrived;

static void touch(unsigned self)
{
    for (unsigned i = 0; i < PAGES_AD; i++)
        if ((i + self) & 1)
            *(volatile uint8_t *)(WINDOW + 0x100000 + (word)i * 4096 + self) = 1;
        else
            (void)*(volatile uint8_t *)(WINDOW + 0x100000 + (word)i * 4096 + self);
}

/* The first counts in bits 9 to 11 of the entries while the others' walks set A and D. */
static void marking(unsigned self)
{
    uint64_t *e = small + 256;

    for (unsigned n = 1; n <= 200 * scale; n++) {
        if (self == 0) {
            for (unsigned i = 0; i < PAGES_AD; i++)
                __asm__ volatile("lock andq %1, %0" : "+m"(e[i]) : "r"(~(uint64_t)(PTE_A | PTE_D))
                                 : "memory", "cc");
            by_cr3();
            shoot_down(by_cr3);
            arrived = 0;
            barrier();
            turn = n;
            for (unsigned k = 0; k < 7; k++)
                for (unsigned i = 0; i < PAGES_AD; i++)
                    xadd(&e[i], MARK);
            while (arrived != cpus - 1)
                pause();
            for (unsigned i = 0; i < PAGES_AD; i++) {
                stale += !(e[i] & PTE_A) || (e[i] >> 9 & 7) != 7;
                stale += !(e[i] & PTE_D) && (cpus > 2 || (i + 1) & 1);
                xadd(&e[i], (uint64_t)-7 * MARK);
            }
        } else {
            while (turn != n)
                pause();
            touch(self);
            xadd(&arrived, 1);
        }
    }
}

static void accessed_dirty(bool beside_code)
{
    static const uint8_t ret[] = {0x90, 0x90, 0x90, 0xc3};

    for (unsigned i = 0; i < PAGES_AD; i++)
        small[256 + i] = (PAGE_A + i * 4096u) | PTE_P | PTE_W | PTE_U;
    if (beside_code) {                          /* the tables lie in a page that is executed */
        memcpy((void *)&small[508], ret, sizeof ret);
        for (unsigned i = 0; i < 10; i++)
            ((void (*)(void))&small[508])();
    }
    turn = stale = 0;
    together(marking);
    CHECK(stale, 0);
}

void smp_test(void)
{
    writes = true;
    variants();
    user = true;
    variants();
    user = false;
    if (cpus == 1)
        checks_done("smp_tlb");
    accessed_dirty(false);
    accessed_dirty(true);
    checks_done("smp_tlb");
}
