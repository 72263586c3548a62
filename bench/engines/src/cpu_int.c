/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu_int.c - integer and control-flow workloads.
 *
 * No library calls in the timed loops: what is measured is calls, jumps, loads and stores.
 */
#include <stdlib.h>
#include <string.h>
#include "bench.h"

/* ---- callmix: the everyday mixture of small calls, structs and strings -- */

struct person {
    char name[24];
    int age;
    int kind;
    struct person *boss;
};

__attribute__((noinline)) static int older(const struct person *a,
                                           const struct person *b)
{
    return a->age > b->age;
}

__attribute__((noinline)) static void promote(struct person *p, int step)
{
    switch (p->kind & 7) {
    case 0: p->age += step; break;
    case 1: p->age ^= step << 1; break;
    case 2: p->age -= step & 15; break;
    case 3: p->kind += 2; return;
    case 4: p->age = (p->age * 3) & 0xffff; break;
    case 5: p->age += p->boss->age & 31; break;
    default: p->age++; break;
    }
    p->kind++;
}

__attribute__((noinline)) static int same_name(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int b_callmix(unsigned scale, struct result *r)
{
    enum { N = 64 };
    static struct person p[N];
    uint64_t seed = 0x1234567;
    for (int i = 0; i < N; i++) {
        memset(&p[i], 0, sizeof p[i]);
        strcpy(p[i].name, "employee number ");
        p[i].name[16] = (char)('a' + i % 26);
        p[i].age = (int)(xorshift64(&seed) & 63);
        p[i].kind = i;
        p[i].boss = &p[(i * 7 + 1) % N];
    }
    uint64_t rounds = scaled(500000, scale), hits = 0;
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        for (int i = 0; i + 1 < N; i += 2) {
            if (older(&p[i], &p[i + 1])) {
                struct person t = p[i];
                p[i].age = p[i + 1].age;
                p[i + 1].age = t.age;
                hits++;
            }
            promote(&p[i], (int)(k & 31));
            hits += (uint64_t)same_name(p[i].name, p[(i + 26) % N].name);
        }
    }
    r->ns = now_ns() - t0;
    r->units = rounds * (N / 2);
    for (int i = 0; i < N; i++)
        hits = hits * 31 + (uint64_t)(unsigned)p[i].age;
    r->check = hits;
    return BENCH_OK;
}

/* ---- interp: threaded bytecode interpreter, one indirect jump per op ---- */

int b_interp(unsigned scale, struct result *r)
{
    enum { PUSH, ADD, XOR, DUP, SWAP, DEC, JNZ, ROT, HALT };
    /* Loop body run `n` times on a three-slot stack: acc, tmp, n. */
    static const uint8_t code[] = {
        PUSH, 5, ADD, ROT, DUP, XOR, PUSH, 9, SWAP, ADD,
        SWAP, ROT, DUP, ADD, XOR, DEC, JNZ, 0, HALT,
    };
    static const void *const target[] = {
        &&op_push, &&op_add, &&op_xor, &&op_dup, &&op_swap,
        &&op_dec, &&op_jnz, &&op_rot, &&op_halt,
    };
    uint64_t stack[64] = {0}, n = scaled(12000000, scale), ops = 0;
    uint64_t iterations = n;
    unsigned sp = 8;
    const uint8_t *pc = code;
    uint64_t t0 = now_ns();
#define NEXT() do { ops++; goto *target[*pc++]; } while (0)
#define TOP stack[sp & 63]
#define SEC stack[(sp - 1) & 63]
    NEXT();
op_push: sp++; TOP = *pc++; NEXT();
op_add:  SEC += TOP; sp--; NEXT();
op_xor:  SEC ^= TOP; sp--; NEXT();
op_dup:  sp++; TOP = SEC; NEXT();
op_swap: { uint64_t t = TOP; TOP = SEC; SEC = t; } NEXT();
op_rot:  TOP = TOP << 7 | TOP >> 57; NEXT();
op_dec:  n--; NEXT();
op_jnz:  if (n) pc = code + *pc; else pc++; NEXT();
op_halt:
#undef NEXT
    r->ns = now_ns() - t0;
    r->units = ops;
    r->check = TOP ^ SEC ^ iterations ^ ops;
#undef TOP
#undef SEC
    return BENCH_OK;
}

/* ---- fib: nothing but call and return ---------------------------------- */

__attribute__((noinline, optimize("no-optimize-sibling-calls",
                                  "no-inline", "no-partial-inlining")))
static uint64_t fib(unsigned n)
{
    if (n < 2)
        return n;
    return fib(n - 1) + fib(n - 2);
}

int b_fib(unsigned scale, struct result *r)
{
    uint64_t rounds = scaled(250, scale), sum = 0;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < rounds; i++) {
        unsigned n = 27;
        OPAQUE(n);
        sum += fib(n);
    }
    r->ns = now_ns() - t0;
    r->units = rounds * 832040;
    r->check = sum;
    return BENCH_OK;
}

/* ---- icall: indirect calls whose target changes every time ------------- */

#define LEAF(k) \
    __attribute__((noinline)) static uint64_t leaf##k(uint64_t x) \
    { return x * (2 * k + 3) + (k ^ (x >> (k + 7))); }
LEAF(0) LEAF(1) LEAF(2) LEAF(3) LEAF(4) LEAF(5) LEAF(6) LEAF(7)
LEAF(8) LEAF(9) LEAF(10) LEAF(11) LEAF(12) LEAF(13) LEAF(14) LEAF(15)

int b_icall(unsigned scale, struct result *r)
{
    static uint64_t (*const fn[16])(uint64_t) = {
        leaf0, leaf1, leaf2, leaf3, leaf4, leaf5, leaf6, leaf7,
        leaf8, leaf9, leaf10, leaf11, leaf12, leaf13, leaf14, leaf15,
    };
    uint64_t n = scaled(20000000, scale), x = 1;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++)
        x = fn[(x >> 11) & 15](x);
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = x;
    return BENCH_OK;
}

/* ---- sort -------------------------------------------------------------- */

static void quick(uint32_t *a, long lo, long hi)
{
    while (hi - lo > 16) {
        uint32_t p = a[lo + (hi - lo) / 2];
        long i = lo, j = hi;
        do {
            while (a[i] < p) i++;
            while (a[j] > p) j--;
            if (i <= j) {
                uint32_t t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        } while (i <= j);
        if (j - lo < hi - i) {
            quick(a, lo, j);
            lo = i;
        } else {
            quick(a, i, hi);
            hi = j;
        }
    }
    for (long i = lo + 1; i <= hi; i++) {
        uint32_t v = a[i];
        long j = i;
        for (; j > lo && a[j - 1] > v; j--)
            a[j] = a[j - 1];
        a[j] = v;
    }
}

int b_sort(unsigned scale, struct result *r)
{
    enum { N = 500000 };
    uint32_t *a = malloc(N * sizeof *a);
    uint64_t rounds = scaled(6, scale), seed = 42, sum = 0;
    if (!a)
        return BENCH_FAIL;
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        for (int i = 0; i < N; i++)
            a[i] = (uint32_t)xorshift64(&seed);
        quick(a, 0, N - 1);
        for (int i = 0; i < N; i += 1000)
            sum = sum * 131 + a[i];
    }
    r->ns = now_ns() - t0;
    r->units = rounds * N;
    r->check = sum;
    free(a);
    return BENCH_OK;
}

/* ---- hash -------------------------------------------------------------- */

int b_hash(unsigned scale, struct result *r)
{
    enum { BITS = 18, SIZE = 1 << BITS, KEYS = SIZE / 2 };
    struct slot { uint64_t key, val; } *t = malloc(SIZE * sizeof *t);
    uint64_t rounds = scaled(50, scale), sum = 0;
    if (!t)
        return BENCH_FAIL;
    memset(t, 0, SIZE * sizeof *t);
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        memset(t, 0, SIZE * sizeof *t);
        for (int pass = 0; pass < 3; pass++) {
            uint64_t seed = 77 + k;
            for (int i = 0; i < KEYS; i++) {
                uint64_t key = xorshift64(&seed);
                uint64_t h = (key * 0x9e3779b97f4a7c15u) >> (64 - BITS);
                while (t[h].key && t[h].key != key)
                    h = (h + 1) & (SIZE - 1);
                if (pass == 0) {
                    t[h].key = key;
                    t[h].val = (uint64_t)i;
                } else {
                    sum += t[h].val;
                }
            }
        }
    }
    r->ns = now_ns() - t0;
    r->units = rounds * 3 * KEYS;
    r->check = sum;
    free(t);
    return BENCH_OK;
}

/* ---- atomic ------------------------------------------------------------ */

int b_atomic(unsigned scale, struct result *r)
{
    static uint64_t word[4];
    uint64_t n = scaled(12000000, scale), got = 0;
    memset(word, 0, sizeof word);
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        got += __atomic_fetch_add(&word[0], i, __ATOMIC_SEQ_CST);
        __atomic_fetch_or(&word[1], i, __ATOMIC_SEQ_CST);
        uint64_t e = word[2];
        __atomic_compare_exchange_n(&word[2], &e, i, 0, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    }
    r->ns = now_ns() - t0;
    r->units = n * 3;
    r->check = got ^ word[1] ^ word[2];
    return BENCH_OK;
}
