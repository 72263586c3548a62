/* SPDX-License-Identifier: MIT-0 */
/* report.c - text and the verdict; and what compilers call behind one's back. */
#include "sys.h"

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n)::"memory");
    return to;
}

void *memset(void *to, int value, size_t n)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(value) : "memory");
    return to;
}

struct trap last;
static unsigned checks, failures;

void print(const char *text)
{
    for (; *text; text++)
        outb(0xe9, (uint8_t)*text);
}

void print_hex(uint64_t v)
{
    char text[17];
    int n = 16;

    text[n] = 0;
    do
        text[--n] = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    print(text + n);
}

static void print_decimal(unsigned v)
{
    if (v > 9)
        print_decimal(v / 10);
    outb(0xe9, (uint8_t)('0' + v % 10));
}

void guest_exit(unsigned code)
{
    for (;;)
        outb(0xf4, (uint8_t)code);
}

void check_equal(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
    checks++;
    if (got == want)
        return;
    failures++;
    print("FAIL ");
    print(file);
    print(":");
    print_decimal((unsigned)line);
    print(" ");
    print(what);
    print(" is ");
    print_hex(got);
    print(", should be ");
    print_hex(want);
    print("; last trap ");
    print_decimal((unsigned)last.vector);
    print(" error ");
    print_hex(last.error);
    print(" at ");
    print_hex(last.cs);
    print(":");
    print_hex(last.rip);
    print("\n");
}

void checks_done(const char *name)
{
    print(name);
    print(": ");
    print_decimal(checks);
    print(" checks, ");
    print_decimal(failures);
    print(" failed\n");
    guest_exit(failures != 0);
}

void trap_lost(void)
{
    print("lost: trap ");
    print_decimal((unsigned)last.vector);
    print(" error ");
    print_hex(last.error);
    print(" at ");
    print_hex(last.cs);
    print(":");
    print_hex(last.rip);
    print(" cr2 ");
    print_hex(last.cr2);
    print("\n");
    guest_exit(2);
}
