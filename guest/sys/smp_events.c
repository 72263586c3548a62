/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_events.c - interrupts, NMIs, INIT and SIPI between processors: none is lost,
 * none comes twice, and who sleeps wakes up.
 */
#include "smp.h"

enum { VECTOR = 0x40, VECTOR_WAKE = 0x60, SIPI_PAGE = 8 };

static volatile uint64_t got[SMP_MAX][SMP_MAX], stop, spurious, nmis;

static void sleep(void)
{
    __asm__ volatile("sti; hlt" ::: "memory");
}

/* ---- storm -------------------------------------------------------------------------- */

#define FROM(n) \
    static HANDLER from_##n(struct interrupt_frame *f) { got[n][smp_self()]++; eoi(); }
FROM(0) FROM(1) FROM(2) FROM(3) FROM(4) FROM(5) FROM(6) FROM(7)

/* Each sends to a random other one and waits, sometimes asleep, until it got there. */
static volatile uint64_t running;
static void storm(unsigned self)
{
    uint64_t sent[SMP_MAX] = {0}, seed = 88172645463325252ull + self, wrong = 0;

    for (unsigned i = 0; i < 3000 * scale; i++) {
        uint64_t r = random64(&seed);
        unsigned to = (unsigned)(r % cpus);

        if (to == self)
            to = (to + 1) % cpus;
        sent[to]++;
        __asm__ volatile("cli");                /* the two halves of the ICR */
        ipi(to, ICR_ASSERT | (VECTOR + self));
        __asm__ volatile("sti");
        while (got[self][to] < sent[to])
            pause();
        wrong += got[self][to] != sent[to];
    }
    xadd(&spurious, wrong);
    xadd(&running, (uint64_t)-1);
    while (running)                             /* others still send to this one */
        pause();
}

/* ---- ping-pong asleep ------------------------------------------------------------------ */

static volatile uint64_t ball[SMP_MAX];

static HANDLER wake(struct interrupt_frame *f)
{
    eoi();
}

/* Pairs of processors wake each other; both sleep in between. */
static void ping_pong(unsigned self)
{
    unsigned peer = self ^ 1;

    if (peer >= cpus)
        return;
    for (uint64_t n = 1; n <= 20000 * scale; n++) {
        if (self & 1)
            goto wait;
    send:
        ball[peer] = n;
        barrier();
        ipi(peer, ICR_ASSERT | VECTOR_WAKE);
        if (self & 1)
            continue;
    wait:
        __asm__ volatile("cli");
        while (ball[self] != n) {
            sleep();
            __asm__ volatile("cli");
        }
        __asm__ volatile("sti");
        if (self & 1)
            goto send;
    }
}

/* ---- NMIs -------------------------------------------------------------------------------- */

static HANDLER nmi(struct interrupt_frame *f)
{
    xadd(&nmis, 1);
}

static HANDLER soft(struct interrupt_frame *f)
{
}

static void nmi_race(unsigned self)
{
    if (self == 0) {
        for (uint64_t n = 1; n <= 2000 * scale; n++) {
            ipi(1, ICR_ASSERT | ICR_NMI);
            while (nmis < n)
                pause();
        }
        stop = 1;
        ipi(1, ICR_ASSERT | VECTOR_WAKE);
        return;
    }
    if (self != 1)
        return;
    for (uint64_t i = 0; !stop; i++) {          /* traps, sleep, interrupts off, all in turn */
        __asm__ volatile("int $0x61");
        if (i % 64 == 0) {
            __asm__ volatile("cli");
            if (!stop)
                sleep();
        }
        if (i % 3 == 0)
            __asm__ volatile("cli; nop; sti");
    }
}

/* ---- INIT and SIPI --------------------------------------------------------------------------- */

/* What a processor does when it gets INIT. */
static void busy(unsigned self)
{
    switch (self % 3) {
    case 0:
        for (;;)
            pause();
    case 1:
        for (;;)
            sleep();
    default:
        __asm__ volatile("cli");
        for (;;)
            __asm__ volatile("hlt");
    }
}

/* They come up in any order, numbers mean nothing here. */
static void init_sipi(void)
{
    uint64_t early = 0;

    for (unsigned n = 0; n < 100 * scale; n++) {
        uint32_t before;

        ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
        smp_number = 1;
        before = smp_started;
        for (unsigned i = 0; i < (n & 1 ? 0 : 300); i++)
            pause();
        early += smp_started != before;
        ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | SIPI_PAGE);
        if (n & 2)                              /* as systems do: the second is of no use */
            ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | SIPI_PAGE);
        while (smp_started != before + cpus - 1)
            pause();
    }
    CHECK(early, 0);
}

void smp_test(void)
{
    static void (*const from[])(struct interrupt_frame *) = {from_0, from_1, from_2, from_3,
                                                             from_4, from_5, from_6, from_7};

    for (unsigned i = 0; i < SMP_MAX; i++)
        smp_gate(VECTOR + i, from[i]);
    smp_gate(VECTOR_WAKE, wake);
    smp_gate(0x61, soft);
    smp_gate(NMI, nmi);
    running = cpus;
    together(storm);
    CHECK(spurious, 0);
    together(ping_pong);
    together(nmi_race);
    CHECK(nmis, 2000 * scale);
    leave_others(busy);
    init_sipi();
    checks_done("smp_events");
}
