/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_atomic.c - locked instructions, and the order of stores and loads.
 *
 * All processors count in the same places: aligned, across cache lines, across
 * pages that are neighbours only virtually, in a page that is executed, with every
 * kind of locked instruction. Then the litmus tests of x86-TSO (SDM vol. 3, 9.2).
 */
#include "smp.h"

enum { WINDOW = 0x40000000, DATA_AT = 0x600000 };

static uint64_t small[512] __attribute__((aligned(4096)));
static uint64_t at;                             /* of the counter */
static unsigned rounds;

/* ---- counters --------------------------------------------------------------------- */

static void by_xadd(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++)
        xadd((volatile uint64_t *)at, 1);
}

static void by_inc32(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++)
        __asm__ volatile("lock incl (%0)" ::"r"(at) : "memory", "cc");
}

static void by_adc16(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++)
        __asm__ volatile("stc; lock adcw $0, (%0)" ::"r"(at) : "memory", "cc");
}

static void by_cmpxchg(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++)
        __asm__ volatile("mov (%0), %%rax\n1: lea 1(%%rax), %%rcx; lock cmpxchgq %%rcx, (%0); jnz 1b"
                         ::"r"(at) : "rax", "rcx", "memory", "cc");
}

/* The lower half counts up, the upper one down. */
static void by_cmpxchg8b(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++)
        __asm__ volatile("mov (%0), %%eax; mov 4(%0), %%edx\n1: lea 1(%%rax), %%ebx;"
                         "lea -1(%%rdx), %%ecx; lock cmpxchg8b (%0); jnz 1b"
                         ::"r"(at) : "rax", "rbx", "rcx", "rdx", "memory", "cc");
}

static void by_cmpxchg16b(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++)
        __asm__ volatile("mov (%0), %%rax; mov 8(%0), %%rdx\n1: lea 1(%%rax), %%rbx;"
                         "lea -1(%%rdx), %%rcx; lock cmpxchg16b (%0); jnz 1b"
                         ::"r"(at) : "rax", "rbx", "rcx", "rdx", "memory", "cc");
}

/* A lock of XCHG, around plain increments. */
static void by_lock(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (;;) {
            uint64_t was = 1;

            __asm__ volatile("xchgq %0, 8(%1)" : "+r"(was) : "r"(at) : "memory");
            if (!was)
                break;
            while (*(volatile uint64_t *)(at + 8))
                pause();
        }
        ++*(volatile uint64_t *)at;
        barrier();
        *(volatile uint64_t *)(at + 8) = 0;
    }
}

/* Each processor has a bit; nobody may lose the others'. */
static volatile uint64_t lost_bits;
static void by_bits(unsigned self)
{
    for (unsigned i = 0; i < rounds; i++) {
        uint8_t was;

        __asm__ volatile("lock btsl %2, (%1); setc %0" : "=r"(was)
                         : "r"(at), "r"(self + 3) : "memory", "cc");
        if (was)
            xadd(&lost_bits, 1);
        __asm__ volatile("lock btrl %2, (%1); setc %0" : "=r"(was)
                         : "r"(at), "r"(self + 3) : "memory", "cc");
        if (!was)
            xadd(&lost_bits, 1);
    }
}

static uint64_t count(void (*how)(unsigned), uint64_t where, unsigned n)
{
    volatile uint64_t *p = (volatile uint64_t *)(at = where);

    p[0] = p[1] = 0;
    rounds = n;
    together(how);
    return p[0];
}

static void counters(uint64_t where, unsigned n)
{
    uint64_t all = (uint64_t)n * cpus;

    CHECK(count(by_xadd, where, n), all);
    CHECK((uint32_t)count(by_inc32, where, n), (uint32_t)all);
    CHECK((uint16_t)count(by_adc16, where, n), (uint16_t)all);
    CHECK(count(by_cmpxchg, where, n), all);
    CHECK(count(by_cmpxchg8b, where, n), (uint32_t)all | -all << 32);
    CHECK(count(by_lock, where, n), all);
    CHECK(count(by_bits, where, n), 0);
    CHECK(lost_bits, 0);
    if (where % 16 == 0) {
        CHECK(count(by_cmpxchg16b, where, n), all);
        CHECK(*(volatile uint64_t *)(where + 8), -all);
    }
}

/* ---- litmus tests ------------------------------------------------------------------------ */

/* Each variable in a cache line of its own. */
static struct { volatile uint64_t v; uint64_t pad[7]; } var[4] __attribute__((aligned(64)));
static volatile uint64_t seen[4], turn, ready, forbidden, relaxed;

static void meet(unsigned who, unsigned members, uint64_t n)
{
    if (who == 0) {
        while (ready != members - 1)
            pause();
        ready = 0;
        turn = n;
    } else {
        xadd(&ready, 1);
        while (turn != n)
            pause();
    }
}

/* Loads and stores that stay as they are written. */
#define LOAD(to, x) __asm__ volatile("movq %1, %0" : "=r"(to) : "m"(var[x].v) : "memory")
#define STORE(x, n) __asm__ volatile("movq %1, %0" : "=m"(var[x].v) : "r"((uint64_t)(n)) : "memory")

enum { SB, SB_FENCED, SB_LOCKED, MP, LB, IRIW, LITMUS };
static unsigned litmus;

static void once(unsigned who, uint64_t n)
{
    uint64_t a = 0, b = 0;

    switch (litmus) {
    case SB: STORE(who, n); LOAD(a, !who); break;
    case SB_FENCED: STORE(who, n); __asm__ volatile("mfence" ::: "memory"); LOAD(a, !who); break;
    case SB_LOCKED:
        __asm__ volatile("xchgq %0, %1" : "+r"(b), "+m"(var[2 + who].v)::"memory");
        b = n;
        __asm__ volatile("xchgq %0, %1" : "+r"(b), "+m"(var[who].v)::"memory");
        LOAD(a, !who);
        break;
    case MP:
        if (who == 0) { STORE(0, n); STORE(1, n); }
        else { LOAD(a, 1); LOAD(b, 0); }
        break;
    case LB: LOAD(a, !who); STORE(who, n); break;
    default:
        if (who < 2) { STORE(who, n); }
        else { LOAD(a, who & 1); LOAD(b, !(who & 1)); }
    }
    seen[who] = (a == n) | (uint64_t)(b == n) << 1;
}

static void judge(void)
{
    switch (litmus) {
    case SB: relaxed += !seen[0] && !seen[1]; break;
    case SB_FENCED: case SB_LOCKED: forbidden += !seen[0] && !seen[1]; break;
    case MP: forbidden += seen[1] == 1; break;
    case LB: forbidden += seen[0] == 1 && seen[1] == 1; break;
    default: forbidden += seen[2] == 1 && seen[3] == 1;
    }
}

static void tries(unsigned self)
{
    unsigned members = litmus == IRIW ? 4 : 2;
    uint64_t n = turn;

    if (self >= members)
        return;
    for (unsigned i = 0; i < 3000 * scale; i++) {
        meet(self, members, n += 1);
        once(self, n / 2);
        meet(self, members, n += 1);
        if (self == 0)
            judge();
    }
}

static void order(void)
{
    for (litmus = 0; litmus < LITMUS; litmus++) {
        if (litmus == IRIW && cpus < 4)
            continue;
        turn = (turn + 1) & ~1ull;              /* n / 2 is the same on all */
        turn += 1;
        forbidden = 0;
        together(tries);
        CHECK(forbidden, 0);
    }
}

void smp_test(void)
{
    static const uint8_t ret[] = {0xc3};

    smp_tables[3][0] = address(small) | 7;
    small[0] = DATA_AT | 7;
    small[1] = (DATA_AT + 0x5000) | 7;
    counters(DATA_AT, 20000 * scale);
    counters(DATA_AT + 61, 5000 * scale);
    counters(DATA_AT + 0xffd, 500 * scale);     /* neighbours in memory, too */
    counters(WINDOW + 0xffd, 500 * scale);      /* not neighbours */
    counters(WINDOW + 0xfff, 500 * scale);
    memcpy((void *)(DATA_AT + 0x800), ret, sizeof ret);
    for (unsigned i = 0; i < 10; i++)
        ((void (*)(void))(DATA_AT + 0x800))();
    counters(DATA_AT + 0x840, 500 * scale);
    order();
    checks_done("smp_atomic");
}
