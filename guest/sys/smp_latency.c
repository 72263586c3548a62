/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_latency.c - how long an interrupt waits for translated code to let it in.
 *
 * Processor 0 sends interrupts with the time of sending to processor 1, which is in the
 * middle of something; its handler looks at the clock. Prints the distribution for each
 * kind of code. What it measures is the host's doing as well: nothing is checked.
 */
#include "smp.h"

enum { VECTOR = 0x50, SAMPLES = 4000, BUFFER = 0x600000, BYTES = 1 << 20 };

static volatile uint64_t sent, got, stop;
static uint32_t sample[SAMPLES];

static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

static HANDLER arrived(struct interrupt_frame *f)
{
    uint64_t late = rdtsc() - sent;

    sample[got % SAMPLES] = late > UINT32_MAX ? UINT32_MAX : (uint32_t)late;
    eoi();
    got++;
}

/* ---- what it interrupts ----------------------------------------------------------- */

static void loop(void)
{
    for (unsigned i = 0; i < 10000; i++)
        __asm__ volatile("" ::: "memory");
}

/* No branch for as long as a block can be. */
static void straight(void)
{
    for (unsigned i = 0; i < 100; i++)
        __asm__ volatile(".rept 2000\n\tadd $3, %%rax\n\tror $5, %%rax\n\t.endr" ::: "rax", "cc");
}

static void divides(void)
{
    for (unsigned i = 0; i < 100; i++)
        __asm__ volatile(".rept 200\n\tmov $-1, %%eax\n\txor %%edx, %%edx\n\tdiv %%rcx\n\t.endr"
                         ::"c"(3ull) : "rax", "rdx", "cc");
}

static void stores(void)
{
    memset((void *)BUFFER, 0, BYTES);
}

static void moves(void)
{
    memcpy((void *)(BUFFER + BYTES), (void *)BUFFER, BYTES);
}

static void backwards(void)
{
    uint64_t to = BUFFER + BYTES - 1, n = BYTES / 16;

    __asm__ volatile("std; rep stosb; cld" : "+D"(to), "+c"(n) : "a"(0) : "memory");
}

static const struct { const char *name; void (*fn)(void); } kinds[] = {
    {"loop", loop}, {"straight code", straight}, {"divisions", divides}, {"rep stosb 1M", stores},
    {"rep movsb 1M", moves}, {"rep stosb downwards", backwards},
};
static unsigned kind;

static void measure(unsigned self)
{
    uint64_t seed = 88172645463325252ull;

    if (self == 1)
        while (!stop)
            kinds[kind].fn();
    if (self)
        return;
    for (uint64_t n = 0; n < SAMPLES; n++) {
        for (uint64_t until = rdtsc() + random64(&seed) % 60000; rdtsc() < until;)
            ;
        sent = rdtsc();
        ipi(1, ICR_ASSERT | VECTOR);
        while (got == n)
            ;
    }
    stop = 1;
}

static void sort(void)
{
    for (unsigned gap = SAMPLES / 2; gap; gap /= 2)
        for (unsigned i = gap; i < SAMPLES; i++)
            for (unsigned j = i; j >= gap && sample[j - gap] > sample[j]; j -= gap) {
                uint32_t t = sample[j];

                sample[j] = sample[j - gap];
                sample[j - gap] = t;
            }
}

static void print_number(uint64_t v)
{
    char text[21], *p = text + 20;

    *p = 0;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    print(p);
}

void smp_test(void)
{
    static const unsigned at[] = {SAMPLES / 2, SAMPLES * 9 / 10, SAMPLES * 99 / 100,
                                  SAMPLES - SAMPLES / 1000, SAMPLES - 1};

    smp_gate(VECTOR, arrived);
    print("ticks until the handler runs: median, 90 %, 99 %, 99.9 %, longest\n");
    for (kind = 0; cpus > 1 && kind < sizeof kinds / sizeof kinds[0]; kind++) {
        got = stop = 0;
        together(measure);
        sort();
        print(kinds[kind].name);
        print(":");
        for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
            print(" ");
            print_number(sample[at[i]]);
        }
        print("\n");
    }
    checks_done("smp_latency");
}
