/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h - what the workloads share.
 *
 * Every workload is one function. It does `scale` per cent of its nominal work, measures the
 * interesting part with CLOCK_MONOTONIC, and fills in a struct result. The check value must
 * depend on nothing but the scale, so that a wrong engine is caught as well as a slow one.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stddef.h>

struct result {
    uint64_t ns;     /* elapsed time of the measured part */
    uint64_t units;  /* operations done, for ns-per-operation figures */
    uint64_t check;  /* machine-independent checksum of the outcome */
};

enum { BENCH_OK = 0, BENCH_SKIP = 1, BENCH_FAIL = 2 };

typedef int bench_fn(unsigned scale, struct result *r);

struct bench {
    const char *name;
    bench_fn *fn;
    const char *what;
};

uint64_t now_ns(void);
uint64_t xorshift64(uint64_t *state);
/* Nominal count reduced or enlarged to `scale` percent, never below one. */
uint64_t scaled(uint64_t nominal, unsigned scale);
/* Hide a value from the optimiser. */
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define CLOBBER_MEMORY() __asm__ volatile("" ::: "memory")

bench_fn b_callmix, b_interp, b_fib, b_icall;
bench_fn b_chase_l1, b_chase_l2, b_chase_dram;
bench_fn b_memcpy_small, b_memcpy_large, b_triad, b_repmovs;
bench_fn b_sort, b_hash, b_atomic;
bench_fn b_nbody, b_matmul, b_x87;
bench_fn b_vec_sse2, b_vec_avx2;
bench_fn b_sha256, b_zlib, b_sqlite;
bench_fn b_getppid, b_pipe_self, b_ctxsw, b_signal, b_clock;
bench_fn b_fork, b_forkexec, b_pagefault, b_mprotect, b_tmpfs, b_jitgen;

#endif
