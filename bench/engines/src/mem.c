/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mem.c - memory latency and bandwidth.
 *
 * Pointer chases show what an address translation adds to the latency of one load; copies show
 * what it adds to throughput.
 */
#include <stdlib.h>
#include <string.h>
#include "bench.h"

struct node {
    struct node *next;
    uint64_t pad[7];
};

/* Sattolo's shuffle makes one cycle through all nodes. */
static int chase(size_t bytes, uint64_t hops, struct result *r)
{
    size_t n = bytes / sizeof(struct node);
    struct node *a = aligned_alloc(4096, bytes);
    uint32_t *perm = malloc(n * sizeof *perm);
    uint64_t seed = 99;
    if (!a || !perm)
        return BENCH_FAIL;
    for (size_t i = 0; i < n; i++)
        perm[i] = (uint32_t)i;
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = xorshift64(&seed) % i;
        uint32_t t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
    }
    for (size_t i = 0; i < n; i++)
        a[i].next = &a[perm[i]];
    struct node *p = a;
    for (size_t i = 0; i < n && i < hops; i++)
        p = p->next;
    p = a;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < hops; i += 8) {
        p = p->next; p = p->next; p = p->next; p = p->next;
        p = p->next; p = p->next; p = p->next; p = p->next;
        OPAQUE(p);
    }
    r->ns = now_ns() - t0;
    r->units = hops;
    r->check = (uint64_t)(p - a);
    free(perm);
    free(a);
    return BENCH_OK;
}

int b_chase_l1(unsigned scale, struct result *r)
{
    return chase(16 << 10, scaled(160000000, scale) & ~7ull, r);
}

int b_chase_l2(unsigned scale, struct result *r)
{
    return chase(512 << 10, scaled(40000000, scale) & ~7ull, r);
}

int b_chase_dram(unsigned scale, struct result *r)
{
    return chase(128 << 20, scaled(2000000, scale) & ~7ull, r);
}

static int copy_blocks(size_t block, size_t total, struct result *r)
{
    char *src = aligned_alloc(4096, block), *dst = aligned_alloc(4096, block);
    uint64_t n = total / block, sum = 0;
    if (!src || !dst)
        return BENCH_FAIL;
    for (size_t i = 0; i < block; i++)
        src[i] = (char)(i * 7);
    memset(dst, 0, block);
    if (!n)
        n = 1;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        src[i % block]++;
        memcpy(dst, src, block);
        sum += (unsigned char)dst[(i * 61) % block];
        CLOBBER_MEMORY();
    }
    r->ns = now_ns() - t0;
    r->units = n * block;
    r->check = sum;
    free(src);
    free(dst);
    return BENCH_OK;
}

int b_memcpy_small(unsigned scale, struct result *r)
{
    return copy_blocks(4096, scaled(12ull << 30, scale), r);
}

int b_memcpy_large(unsigned scale, struct result *r)
{
    return copy_blocks(16 << 20, scaled(6ull << 30, scale), r);
}

int b_triad(unsigned scale, struct result *r)
{
    enum { N = 1 << 20 };
    double *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b);
    double *c = malloc(N * sizeof *c), s = 3.0;
    uint64_t rounds = scaled(200, scale);
    if (!a || !b || !c)
        return BENCH_FAIL;
    for (int i = 0; i < N; i++) {
        a[i] = 0;
        b[i] = i;
        c[i] = 1.0 / (i + 1);
    }
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        for (int i = 0; i < N; i++)
            a[i] = b[i] + s * c[i];
        CLOBBER_MEMORY();
    }
    r->ns = now_ns() - t0;
    r->units = rounds * N * 3 * sizeof *a;
    memcpy(&r->check, &a[12345], sizeof r->check);
    free(a);
    free(b);
    free(c);
    return BENCH_OK;
}

int b_repmovs(unsigned scale, struct result *r)
{
    enum { BLOCK = 4096 };
    char *src = aligned_alloc(BLOCK, BLOCK), *dst = aligned_alloc(BLOCK, BLOCK);
    uint64_t n = scaled(600000, scale), sum = 0;
    if (!src || !dst)
        return BENCH_FAIL;
    memset(src, 1, BLOCK);
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        void *d = dst;
        const void *s = src;
        size_t c = BLOCK;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c)::"memory");
        d = src;
        c = BLOCK;
        __asm__ volatile("rep stosb" : "+D"(d), "+c"(c)
                         : "a"((int)(i & 0xff)) : "memory");
        sum += (unsigned char)dst[i & (BLOCK - 1)];
    }
    r->ns = now_ns() - t0;
    r->units = n * BLOCK * 2;
    r->check = sum;
    free(src);
    free(dst);
    return BENCH_OK;
}
