/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interp_mips.c - how many guest instructions per second `interp` executes.
 *
 * Integer kernels of different character: register arithmetic, memory, calls,
 * multi-precision multiplication. One line each: name, million instructions
 * per second. The machine may be noisy: the best of several runs counts.
 */
#include <stdio.h>
#include <time.h>
#include "interp_fixture.h"

GUEST(kernel_mix, "mov $0x1234567, %eax\n"
                  "mov $100000, %ecx\n"
                  "1: imul $1103515245, %eax, %eax\n"
                  "add $12345, %eax\n"
                  "mov %eax, %edx\n"
                  "shr $16, %edx\n"
                  "xor %rdx, %rbx\n"
                  "lea 3(%rbx,%rdx,2), %rsi\n"
                  "test $1, %sil\n"
                  "jz 2f\n"
                  "add %rsi, %rdi\n"
                  "2: dec %ecx\n"
                  "jnz 1b\n"
                  "hlt\n");

GUEST(kernel_memory, "mov $20, %r8d\n"
                     "3: mov $0x20000, %edi\n"
                     "mov $4096, %ecx\n"
                     "1: mov (%rdi), %rax\n"
                     "add 8(%rdi), %rax\n"
                     "mov %rax, (%rdi)\n"
                     "movzbl 3(%rdi), %edx\n"
                     "add %dl, 5(%rdi)\n"
                     "cmp $77, %dl\n"
                     "cmovb %rax, %rbx\n"
                     "add $16, %rdi\n"
                     "sub $1, %ecx\n"
                     "jnz 1b\n"
                     "dec %r8d\n"
                     "jnz 3b\n"
                     "hlt\n");

GUEST(kernel_fib, "mov $24, %edi\n"
                  "call fib\n"
                  "hlt\n"
                  "fib: push %rbx\n"
                  "mov %edi, %ebx\n"
                  "cmp $2, %edi\n"
                  "jb 1f\n"
                  "lea -1(%rbx), %edi\n"
                  "push %rbp\n"
                  "call fib\n"
                  "mov %rax, %rbp\n"
                  "lea -2(%rbx), %edi\n"
                  "call fib\n"
                  "add %rbp, %rax\n"
                  "pop %rbp\n"
                  "pop %rbx\n"
                  "ret\n"
                  "1: mov %ebx, %eax\n"
                  "pop %rbx\n"
                  "ret\n");

/* 32-word by one-word multiply-accumulate, as in RSA. */
GUEST(kernel_bignum, "mov $4000, %r8d\n"
                     "3: mov $0x20000, %esi\n"
                     "mov $0x21000, %edi\n"
                     "mov $32, %ecx\n"
                     "mov $0x9e3779b97f4a7c15, %r9\n"
                     "xor %r10d, %r10d\n"
                     "1: mov (%rsi), %rax\n"
                     "mul %r9\n"
                     "add %r10, %rax\n"
                     "adc $0, %rdx\n"
                     "add %rax, (%rdi)\n"
                     "adc $0, %rdx\n"
                     "mov %rdx, %r10\n"
                     "lea 8(%rsi), %rsi\n"
                     "lea 8(%rdi), %rdi\n"
                     "dec %ecx\n"
                     "jnz 1b\n"
                     "dec %r8d\n"
                     "jnz 3b\n"
                     "hlt\n");

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double measure(struct interp_guest *g, const uint8_t *code, const uint8_t *end)
{
    double best = 0;

    for (unsigned i = 0; i < 8; i++) {
        uint64_t before = counter_get(&g->vcpu->counters, COUNTER_instructions);
        double start, rate;

        guest_load(g, CODE, code, end);
        start = now_s();
        guest_run(g, 0);
        rate = (double)(counter_get(&g->vcpu->counters, COUNTER_instructions) - before) /
               (now_s() - start) / 1e6;
        best = rate > best ? rate : best;
    }
    return best;
}

int main(void)
{
    const struct { const char *name; const uint8_t *code, *end; } kernels[] = {
        {"registers", kernel_mix, kernel_mix_end},
        {"memory", kernel_memory, kernel_memory_end},
        {"calls", kernel_fib, kernel_fib_end},
        {"bignum", kernel_bignum, kernel_bignum_end},
    };
    struct interp_guest *g = interp_guest_new();

    for (unsigned i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
        printf("interp %-10s %7.1f million instructions per second\n", kernels[i].name,
               measure(g, kernels[i].code, kernels[i].end));
    interp_guest_free(g);
    return 0;
}
