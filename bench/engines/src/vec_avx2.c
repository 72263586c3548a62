/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vec_avx2.c - 256-bit integers and fused multiply-add.
 *
 * Skipped where the processor does not offer them.
 */
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

__attribute__((target("avx2,fma")))
static int body(unsigned scale, struct result *r)
{
    enum { N = 8192 };
    int32_t *p = aligned_alloc(64, N * sizeof *p);
    float *f = aligned_alloc(64, N * sizeof *f);
    uint64_t rounds = scaled(60000, scale), sum = 0;
    if (!p || !f)
        return BENCH_FAIL;
    for (int i = 0; i < N; i++) {
        p[i] = i * 31;
        f[i] = (float)i / N;
    }
    __m256i acc = _mm256_set1_epi32(7);
    __m256i order = _mm256_setr_epi32(3, 1, 4, 0, 5, 2, 7, 6);
    __m256 k = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    uint64_t t0 = now_ns();
    for (uint64_t n = 0; n < rounds; n++) {
        for (int i = 0; i < N; i += 8) {
            __m256i a = _mm256_load_si256((__m256i *)(p + i));
            acc = _mm256_add_epi32(_mm256_permutevar8x32_epi32(acc, order), a);
            acc = _mm256_xor_si256(acc, _mm256_slli_epi32(a, 5));
            a = _mm256_max_epi32(a, _mm256_srli_epi32(acc, 9));
            _mm256_store_si256((__m256i *)(p + i), a);
        }
        if (n % 4 == 0)
            for (int i = 0; i < N; i += 8) {
                __m256 v = _mm256_load_ps(f + i);
                v = _mm256_fmadd_ps(v, k, b);
                _mm256_store_ps(f + i, _mm256_fmadd_ps(v, v, b));
            }
    }
    r->ns = now_ns() - t0;
    r->units = rounds * (N / 8);
    uint32_t out[8], w;
    memcpy(out, &acc, sizeof out);
    for (int i = 0; i < 8; i++)
        sum = sum * 1000003 + out[i];
    memcpy(&w, &f[100], sizeof w);
    r->check = sum ^ w;
    free(p);
    free(f);
    return BENCH_OK;
}

int b_vec_avx2(unsigned scale, struct result *r)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return BENCH_SKIP;
    return body(scale, r);
}
