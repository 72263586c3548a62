/* SPDX-License-Identifier: MIT-0 */
/*
 * sample.h - what the samples share: ports, the device table, printing.
 *
 * A sample is one file. ring3 starts it in 64-bit mode at guest_main, with a stack, with
 * the device table as first argument; what guest_main returns is the end of the machine.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <ring3/hypercall.h>
#include <ring3/simple.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes);

static inline void outb(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void outw(u16 port, u16 value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void outl(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline u8 inb(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline u16 inw(u16 port)
{
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline u32 inl(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

/* Device memory and shared pages: ring3 looks at them, too. */
#define AT(type, address) ((volatile type *)(u64)(address))

static inline const struct ring3_simple_device *device(const struct ring3_simple_device *table,
                                                       u32 id)
{
    while (table->id && table->id != id)
        table++;
    return table->id ? table : 0;
}

static inline void print(const char *text)
{
    while (*text)
        outb(RING3_HC_PRINT8BIT, (u8)*text++);
}

static inline void print_number(u64 n)
{
    char text[24], *at = text + sizeof text - 1;

    *at = 0;
    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    print(at);
}

/* The page that hypercalls look at, as ring3 offers it. */
static inline volatile void *hypercall_page(void)
{
    return AT(void, (u64)inl(RING3_HC_PORT_PAGE) << 12);
}

static inline u32 hypercall(u32 number)
{
    outl(RING3_HC_PORT, number);
    return inl(RING3_HC_PORT);
}

/* For those who want to look at the screen: with `wait` as argument a sample stays. */
static inline void stay_if_asked(const char *arguments)
{
    while (*arguments == 'w')
        __asm__ volatile("cli; hlt");
}

static inline void pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

#endif
