/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vec_sse2.c - packed 16-bit integer and float work with SSE2.
 *
 * The x86-64 baseline: present everywhere.
 */
#include <emmintrin.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

int b_vec_sse2(unsigned scale, struct result *r)
{
    enum { N = 8192 };
    int16_t *p = aligned_alloc(64, N * sizeof *p);
    int16_t *q = aligned_alloc(64, N * sizeof *q);
    float *f = aligned_alloc(64, N * sizeof *f);
    uint64_t rounds = scaled(60000, scale), sum = 0;
    if (!p || !q || !f)
        return BENCH_FAIL;
    for (int i = 0; i < N; i++) {
        p[i] = (int16_t)(i * 31);
        q[i] = (int16_t)(i * 17 - 999);
        f[i] = (float)i / N;
    }
    __m128i acc = _mm_setzero_si128();
    __m128 k = _mm_set1_ps(0.999f), b = _mm_set1_ps(0.001f);
    uint64_t t0 = now_ns();
    for (uint64_t n = 0; n < rounds; n++) {
        for (int i = 0; i < N; i += 8) {
            __m128i a = _mm_load_si128((__m128i *)(p + i));
            __m128i c = _mm_load_si128((__m128i *)(q + i));
            __m128i m = _mm_madd_epi16(a, c);
            __m128i s = _mm_adds_epi16(a, _mm_srai_epi16(c, 3));
            acc = _mm_add_epi32(acc, m);
            acc = _mm_xor_si128(acc, _mm_unpacklo_epi16(s, a));
            _mm_store_si128((__m128i *)(p + i), _mm_max_epi16(s, c));
        }
        if (n % 4 == 0)
            for (int i = 0; i < N; i += 4) {
                __m128 v = _mm_load_ps(f + i);
                v = _mm_add_ps(_mm_mul_ps(v, k), b);
                _mm_store_ps(f + i, _mm_min_ps(v, _mm_shuffle_ps(v, v, 0x1b)));
            }
    }
    r->ns = now_ns() - t0;
    r->units = rounds * (N / 8);
    uint32_t out[4], w;
    memcpy(out, &acc, sizeof out);
    for (int i = 0; i < 4; i++)
        sum = sum * 1000003 + out[i];
    memcpy(&w, &f[100], sizeof w);
    r->check = sum ^ w;
    free(p);
    free(q);
    free(f);
    return BENCH_OK;
}
