/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp.c - scalar floating point.
 *
 * Built without auto-vectorisation and without contraction, so that the checksums are those of
 * IEEE arithmetic in program order.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

static uint64_t bits(double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

/* Eight bodies on a softened inverse-square law, leapfrog steps. */
int b_nbody(unsigned scale, struct result *r)
{
    enum { N = 8 };
    double x[N][3], v[N][3], m[N], dt = 0.001;
    uint64_t steps = scaled(800000, scale), seed = 5;
    for (int i = 0; i < N; i++) {
        m[i] = 1.0 + i * 0.25;
        for (int d = 0; d < 3; d++) {
            x[i][d] = (double)(xorshift64(&seed) & 0xffff) / 6553.6 - 5.0;
            v[i][d] = 0;
        }
    }
    uint64_t t0 = now_ns();
    for (uint64_t s = 0; s < steps; s++) {
        for (int i = 0; i < N; i++)
            for (int j = i + 1; j < N; j++) {
                double dx = x[i][0] - x[j][0];
                double dy = x[i][1] - x[j][1];
                double dz = x[i][2] - x[j][2];
                double q = dx * dx + dy * dy + dz * dz + 0.01;
                double f = dt / (q * sqrt(q));
                v[i][0] -= dx * m[j] * f;
                v[i][1] -= dy * m[j] * f;
                v[i][2] -= dz * m[j] * f;
                v[j][0] += dx * m[i] * f;
                v[j][1] += dy * m[i] * f;
                v[j][2] += dz * m[i] * f;
            }
        for (int i = 0; i < N; i++)
            for (int d = 0; d < 3; d++)
                x[i][d] += dt * v[i][d];
    }
    r->ns = now_ns() - t0;
    r->units = steps;
    r->check = bits(x[0][0]) ^ bits(x[N - 1][2]) ^ bits(v[3][1]);
    return BENCH_OK;
}

int b_matmul(unsigned scale, struct result *r)
{
    enum { N = 192 };
    double *a = malloc(sizeof(double) * N * N);
    double *b = malloc(sizeof(double) * N * N);
    double *c = malloc(sizeof(double) * N * N);
    uint64_t rounds = scaled(40, scale);
    if (!a || !b || !c)
        return BENCH_FAIL;
    for (int i = 0; i < N * N; i++) {
        a[i] = (i % 17) * 0.5 - 3;
        b[i] = (i % 23) * 0.25 - 2;
        c[i] = 0;
    }
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++)
        for (int i = 0; i < N; i++)
            for (int l = 0; l < N; l++) {
                double s = a[i * N + l];
                for (int j = 0; j < N; j++)
                    c[i * N + j] += s * b[l * N + j];
            }
    r->ns = now_ns() - t0;
    r->units = rounds * N * N * N * 2;
    r->check = bits(c[N * 5 + 7]) ^ bits(c[N * N - 1]);
    free(a);
    free(b);
    free(c);
    return BENCH_OK;
}

/* Mandelbrot set in 80-bit x87 arithmetic. */
int b_x87(unsigned scale, struct result *r)
{
    enum { W = 128, LIMIT = 200 };
    uint64_t rounds = scaled(30, scale), sum = 0;
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++)
        for (int py = 0; py < W; py++)
            for (int px = 0; px < W; px++) {
                long double cx = -2.0L + px * 3.0L / W;
                long double cy = -1.5L + py * 3.0L / W, x = 0, y = 0;
                int i = 0;
                for (; i < LIMIT; i++) {
                    long double xx = x * x, yy = y * y;
                    if (xx + yy > 4.0L)
                        break;
                    y = 2 * x * y + cy;
                    x = xx - yy + cx;
                }
                sum += (uint64_t)i;
            }
    r->ns = now_ns() - t0;
    r->units = sum;
    r->check = sum;
    return BENCH_OK;
}
