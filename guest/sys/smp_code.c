/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_code.c - code that another processor, or a device, rewrites.
 *
 * By the rules for cross-modifying code (SDM vol. 3, 9.1.3): whoever executes the
 * new code has first executed a serialising instruction, in an interrupt's IRET or
 * after having seen a flag. And as Linux does it, with INT3 in between.
 */
#include "smp.h"

enum { WINDOW = 0x40000000, CODE_AT = 0x600000, SCRATCH = 0x700000, DMA_ADDRESS = 0x2020, DMA_VALUE = 0x2024 };

static uint64_t small[512] __attribute__((aligned(4096)));
static volatile uint64_t published, stop, stale, wrong, taken;
static uint64_t store_at;                       /* where the writer sees the code */
static bool by_device;

static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

/* MOV EAX, n; RET: the constant is an aligned dword. */
static void put_number(uint32_t n)
{
    if (by_device) {
        outl(DMA_ADDRESS, CODE_AT + 4);
        outl(DMA_VALUE, n);
    } else {
        *(volatile uint32_t *)(store_at + 4) = n;
    }
}

static void put_code(void)
{
    static const uint8_t code[] = {0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3};

    memcpy((void *)CODE_AT, code, sizeof code);
}

static uint32_t call_code(void)
{
    uint32_t value;

    __asm__ volatile("call *%1" : "=a"(value) : "r"((uint64_t)CODE_AT) : "memory", "cc");
    return value;
}

static void nothing(void)
{
}

/* ---- with an interrupt --------------------------------------------------------- */

static void by_interrupt(unsigned self)
{
    uint32_t n;

    if (self == 0) {
        for (n = 1; n <= 300 * scale; n++) {
            put_number(n);
            shoot_down(nothing);
            published = n;
        }
        stop = 1;
        return;
    }
    while (!stop) {
        uint64_t before = published;

        if (call_code() < before)
            xadd(&stale, 1);
    }
}

/* ---- with a flag and a serialising instruction ------------------------------------ */

enum { SERIALIZE_CPUID, SERIALIZE_IRET, SERIALIZE_CR2, SERIALIZE_CR3, SERIALIZE_INVLPG,
       SERIALIZE_WRMSR, SERIALIZE_WAYS };
static unsigned way;

static inline __attribute__((always_inline)) void serialize(void)
{
    uint32_t r[4];

    switch (way) {
    case SERIALIZE_CPUID: cpuid(0, 0, r); break;
    case SERIALIZE_IRET:
        __asm__ volatile("mov %%ss, %%eax; mov %%rsp, %%rcx; push %%rax; push %%rcx; pushf;"
                         "mov %%cs, %%eax; push %%rax; lea 1f(%%rip), %%rax; push %%rax; iretq; 1:"
                         ::: "rax", "rcx", "memory", "cc");
        break;
    case SERIALIZE_CR2: __asm__ volatile("mov %0, %%cr2" ::"r"(0ull) : "memory"); break;
    case SERIALIZE_CR3: set_cr3(get_cr3()); break;
    case SERIALIZE_INVLPG: invlpg(0x700000); break;
    default: wrmsr(MSR_KERNEL_GS, 0);
    }
}

/* Each processor has a number of its own in its copy of the code, which calls
 * nothing and does not jump back between the flag and the new code. */
static void by_flag(unsigned self)
{
    for (uint32_t n = 1; n <= 300 * scale; n++) {
        if (self == 0) {
            put_number(n);
            taken = 0;
            barrier();
            published = n;
            while (taken != cpus - 1)
                pause();
        } else {
            while (published != n)
                pause();
            serialize();
            if (call_code() != n)
                xadd(&stale, 1);
            xadd(&taken, 1);
        }
    }
}

/* ---- with INT3 ------------------------------------------------------------------------- */

static HANDLER breakpoint(struct interrupt_frame *f)
{
    f->rip--;                                   /* until it is gone */
}

/* LEA EAX, [RAX+7] or ADD EAX, 9, both of three bytes: never a mixture. */
static void by_int3(unsigned self)
{
    static const uint32_t insn[] = {0x07408d, 0x09c083};
    volatile uint8_t *p = (volatile uint8_t *)store_at;

    if (self == 0) {
        for (unsigned n = 1; n <= 200 * scale; n++) {
            uint32_t to = insn[n & 1];

            p[0] = 0xcc;
            shoot_down(nothing);
            p[1] = (uint8_t)(to >> 8);
            p[2] = (uint8_t)(to >> 16);
            shoot_down(nothing);
            p[0] = (uint8_t)to;
            shoot_down(nothing);
            published = n;
        }
        stop = 1;
        return;
    }
    while (!stop) {
        uint32_t a = SCRATCH;

        __asm__ volatile("call *%1" : "+a"(a) : "r"((uint64_t)CODE_AT) : "memory", "cc");
        if (a != SCRATCH + 7 && a != SCRATCH + 9)
            xadd(&wrong, 1);
    }
}

/* ---- all of them ------------------------------------------------------------------------ */

static void start(void (*fn)(unsigned))
{
    published = stop = stale = wrong = 0;
    put_code();
    shoot_down(nothing);
    for (unsigned i = 0; i < 5000; i++)         /* worth a trace on this one already */
        call_code();
    together(fn);
    CHECK(stale, 0);
    CHECK(wrong, 0);
}

static void run_all(void)
{
    start(by_interrupt);
    for (way = 0; way < SERIALIZE_WAYS; way++)
        start(by_flag);
}

void smp_test(void)
{
    static const uint8_t lea[] = {0x8d, 0x40, 0x07, 0xc3};

    smp_tables[3][0] = address(small) | 7;
    small[0] = CODE_AT | 7;
    store_at = CODE_AT;
    run_all();
    store_at = WINDOW;
    run_all();
    by_device = true;
    outl(DMA_ADDRESS, 0x700000);
    outl(DMA_VALUE, 0x12345678);
    CHECK(*(volatile uint32_t *)0x700000, 0x12345678);
    run_all();
    smp_gate(BP, breakpoint);
    for (store_at = CODE_AT;; store_at = WINDOW) {
        memcpy((void *)CODE_AT, lea, sizeof lea);
        published = stop = stale = wrong = 0;
        shoot_down(nothing);
        together(by_int3);
        CHECK(wrong, 0);
        if (store_at == WINDOW)
            break;
    }
    checks_done("smp_code");
}
