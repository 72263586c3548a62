/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - the list of workloads, and what runs and times one.
 *
 *   bench list                       names, and what each does
 *   bench NAME... [SCALE]            at SCALE per cent of the nominal work; `all` names all
 *   bench timeit LABEL CMD ARG...    times another program the same way
 *
 * Prints a line per workload, between a BEGIN and an END line:
 *   RESULT name nanoseconds units checksum cpu-share elapsed
 * nanoseconds is the measured part, elapsed all of it with its preparations, both by the
 * machine's own clock: a script on the host compares elapsed with the time between BEGIN and
 * END on its own. cpu-share is how many per mille of elapsed the workload had a CPU.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "bench.h"

static const struct bench table[] = {
    {"callmix",      b_callmix,      "records, string compares, small calls"},
    {"interp",       b_interp,       "bytecode interpreter, indirect jumps"},
    {"fib",          b_fib,          "recursive call/return"},
    {"icall",        b_icall,        "unpredictable indirect calls"},
    {"sort",         b_sort,         "quicksort of 32-bit keys"},
    {"hash",         b_hash,         "open-addressing hash table"},
    {"atomic",       b_atomic,       "uncontended lock-prefixed updates"},
    {"chase-l1",     b_chase_l1,     "pointer chase in 16 KiB"},
    {"chase-l2",     b_chase_l2,     "pointer chase in 512 KiB"},
    {"chase-dram",   b_chase_dram,   "pointer chase in 128 MiB"},
    {"memcpy-4k",    b_memcpy_small, "libc memcpy of 4 KiB"},
    {"memcpy-16m",   b_memcpy_large, "libc memcpy of 16 MiB"},
    {"triad",        b_triad,        "a[i] = b[i] + s*c[i], scalar double"},
    {"repmovs",      b_repmovs,      "rep movsb / rep stosb of 4 KiB"},
    {"nbody",        b_nbody,        "scalar double with sqrt and divide"},
    {"matmul",       b_matmul,       "scalar double matrix product"},
    {"x87",          b_x87,          "long double Mandelbrot"},
    {"vec-sse2",     b_vec_sse2,     "packed int16 and float, SSE2"},
    {"vec-avx2",     b_vec_avx2,     "packed int32 and float FMA, AVX2"},
    {"sha256",       b_sha256,       "SHA-256 in plain C"},
    {"zlib",         b_zlib,         "deflate and inflate"},
    {"sqlite",       b_sqlite,       "in-memory inserts and selects"},
    {"getppid",      b_getppid,      "trivial system call"},
    {"clock",        b_clock,        "clock_gettime"},
    {"pipe-self",    b_pipe_self,    "one-byte write and read of a pipe"},
    {"ctxsw",        b_ctxsw,        "two processes, two pipes, one CPU"},
    {"signal",       b_signal,       "raise and handle a signal"},
    {"fork",         b_fork,         "fork, exit, wait"},
    {"forkexec",     b_forkexec,     "fork, exec of a static binary, wait"},
    {"pagefault",    b_pagefault,    "mmap, touch every page, munmap"},
    {"mprotect",     b_mprotect,     "change protection and touch"},
    {"tmpfs",        b_tmpfs,        "write, read back, unlink a file"},
    {"jitgen",       b_jitgen,       "rewrite and run generated code"},
};
enum { N_BENCH = sizeof table / sizeof table[0] };

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t xorshift64(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

uint64_t scaled(uint64_t nominal, unsigned scale)
{
    uint64_t n = nominal * scale / 100;
    return n ? n : 1;
}

/* User and system time in ns, with that of children waited for. */
static uint64_t cpu_ns(void)
{
    uint64_t us = 0;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        struct rusage u;
        if (getrusage(who, &u))
            return 0;
        us += (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u;
        us += (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    }
    return us * 1000;
}

static unsigned share(uint64_t cpu, uint64_t wall)
{
    return wall ? (unsigned)(cpu * 1000 / wall) : 0;
}

static int run_one(const struct bench *b, unsigned scale)
{
    struct result r = {0, 0, 0};
    printf("BEGIN %s\n", b->name);
    fflush(stdout);
    uint64_t c0 = cpu_ns(), t0 = now_ns();
    int rc = b->fn(scale, &r);
    uint64_t c1 = cpu_ns(), t1 = now_ns();
    if (rc == BENCH_OK)
        printf("RESULT %s %llu %llu %016llx %u %llu\n", b->name,
               (unsigned long long)r.ns, (unsigned long long)r.units,
               (unsigned long long)r.check, share(c1 - c0, t1 - t0),
               (unsigned long long)(t1 - t0));
    else
        printf("%s %s\n", rc == BENCH_SKIP ? "SKIP" : "FAIL", b->name);
    printf("END %s\n", b->name);
    fflush(stdout);
    return rc == BENCH_FAIL;
}

static int timeit(char **argv)
{
    printf("BEGIN %s\n", argv[0]);
    fflush(stdout);
    uint64_t c0 = cpu_ns(), t0 = now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[1], argv + 1);
        _exit(127);
    }
    int st = -1;
    if (pid < 0 || waitpid(pid, &st, 0) != pid)
        st = -1;
    uint64_t ns = now_ns() - t0;
    if (st == 0)
        printf("RESULT %s %llu 1 0 %u %llu\n", argv[0], (unsigned long long)ns,
               share(cpu_ns() - c0, ns), (unsigned long long)ns);
    else
        printf("FAIL %s\n", argv[0]);
    printf("END %s\n", argv[0]);
    return st != 0;
}

int main(int argc, char **argv)
{
    unsigned scale = 100;
    int failed = 0;

    if (argc < 2 || !strcmp(argv[1], "list")) {
        for (int i = 0; i < N_BENCH; i++)
            printf("%-12s %s\n", table[i].name, table[i].what);
        return argc < 2;
    }
    if (!strcmp(argv[1], "timeit") && argc > 3)
        return timeit(argv + 2);

    char *end;
    unsigned long v = strtoul(argv[argc - 1], &end, 10);
    if (*end == '\0' && v > 0) {
        scale = (unsigned)v;
        argc--;
    }
    for (int a = 1; a < argc; a++) {
        int known = 0;
        for (int i = 0; i < N_BENCH; i++) {
            if (strcmp(argv[a], "all") && strcmp(argv[a], table[i].name))
                continue;
            failed |= run_one(&table[i], scale);
            known = 1;
        }
        if (!known) {
            printf("FAIL %s\n", argv[a]);
            failed = 1;
        }
    }
    return failed;
}
