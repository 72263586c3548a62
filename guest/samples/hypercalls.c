/* SPDX-License-Identifier: MIT-0 */
/*
 * hypercalls.c - the teaching calls, as a course's guest makes them: a raw image at
 * address 0, 2 MiB of memory, in long mode or in 32-bit paging.
 *
 *     ring3 run --machine simple --memory 2M --load hypercalls64.bin@0 --start long
 */
#include <ring3/hypercall.h>

static void out(unsigned short port, unsigned value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static unsigned in(unsigned short port)
{
    unsigned value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static void print_str(const char *text)
{
    out(RING3_HC_PRINT_STR, (unsigned)(unsigned long)text);
}

static char types[64];

void start(void) __attribute__((noreturn, section(".start")));
void start(void)
{
    unsigned before, after;

    for (const char *c = "one character at a time\n"; *c; c++)
        __asm__ volatile("outb %0, %1" : : "a"(*c), "Nd"((unsigned short)RING3_HC_PRINT8BIT));
    before = in(RING3_HC_NUM_EXITS);
    print_str("a whole string with one exit\n");
    after = in(RING3_HC_NUM_EXITS);
    out(RING3_HC_PRINT32BIT, after - before);      /* 2: the string, and the question */

    out(RING3_HC_NUM_EXITS_BY_TYPE, (unsigned)(unsigned long)types);
    print_str(types);

    out(RING3_HC_GVA_TO_HVA, (unsigned)(unsigned long)types);
    print_str(in(RING3_HC_GVA_TO_HVA) ? "mapped\n" : "not mapped\n");
    out(RING3_HC_GVA_TO_HVA, 0x40000000);          /* beyond what is mapped */
    out(RING3_HC_PRINT32BIT, in(RING3_HC_GVA_TO_HVA));

    __asm__ volatile("outb %0, %1" : : "a"((unsigned char)21), "Nd"((unsigned short)0xf4));
    for (;;)
        __asm__ volatile("hlt");
}
