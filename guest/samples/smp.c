/* SPDX-License-Identifier: MIT-0 */
/*
 * smp.c - wakes the other processors with INIT and SIPI. Each comes up in real mode at
 * 0x8000, which smp_start.S puts there, and counts.
 */
#include "interrupts.h"

extern const u8 trampoline[], trampoline_end[];
extern volatile u64 trampoline_cr3;

enum { START = 0x8000, STACK_BYTES = 4096, CPUS_MAX = 64 };

u8 stacks[CPUS_MAX][STACK_BYTES] __attribute__((aligned(16)));
static volatile u32 arrived;
static volatile u32 seen[CPUS_MAX];

/* On each of the others, in 64-bit mode, on a stack of its own. */
void other_main(u32 index);
void other_main(u32 index)
{
    if (inl(RING3_SIMPLE_CPU) == index)
        seen[index] = 1;
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static u32 number(const char *text)
{
    u32 n = 0;

    while (*text >= '0' && *text <= '9')
        n = n * 10 + (u32)(*text++ - '0');
    return n;
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    u32 cpus = number(arguments), right = 0;
    u64 cr3;

    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    trampoline_cr3 = cr3;
    for (u32 i = 0; &trampoline[i] < trampoline_end; i++)
        AT(u8, START)[i] = trampoline[i];
    lapic_write(0xf0, 0x1ff);
    lapic_write(0x310, 0);
    lapic_write(0x300, 0xc4500);                 /* INIT to all others */
    lapic_write(0x300, 0xc4600 | START >> 12);   /* start-up IPI */
    while (arrived < cpus - 1)
        pause();
    for (u32 i = 1; i < cpus; i++)
        right += seen[i];
    print_number(right + (inl(RING3_SIMPLE_CPU) == 0));
    print(" processors\n");
    return 0;
}
