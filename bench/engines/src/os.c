/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * os.c - workloads that live mostly in the guest's kernel.
 *
 * System calls, page tables, signals, processes, files, and code that is rewritten and run.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"

int b_getppid(unsigned scale, struct result *r)
{
    uint64_t n = scaled(1500000, scale), ok = 0;
    long parent = syscall(SYS_getppid);
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++)
        ok += syscall(SYS_getppid) == parent;
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = ok == n;
    return BENCH_OK;
}

int b_clock(unsigned scale, struct result *r)
{
    uint64_t n = scaled(5000000, scale), back = 0, last = 0;
    struct timespec t;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
        back += now < last;
        last = now;
    }
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = back; /* must be zero: time never goes backwards */
    return back ? BENCH_FAIL : BENCH_OK;
}

int b_pipe_self(unsigned scale, struct result *r)
{
    int fd[2];
    char c = 1;
    uint64_t n = scaled(500000, scale);
    if (pipe(fd))
        return BENCH_FAIL;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++)
        if (write(fd[1], &c, 1) != 1 || read(fd[0], &c, 1) != 1)
            return BENCH_FAIL;
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = (uint64_t)c;
    close(fd[0]);
    close(fd[1]);
    return BENCH_OK;
}

int b_ctxsw(unsigned scale, struct result *r)
{
    int up[2], down[2], st;
    char c = 7;
    uint64_t n = scaled(40000, scale);
    cpu_set_t old, one;
    if (pipe(up) || pipe(down))
        return BENCH_FAIL;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    int pinned = sched_getaffinity(0, sizeof old, &old) == 0 &&
                 sched_setaffinity(0, sizeof one, &one) == 0;
    pid_t pid = fork();
    if (pid < 0)
        return BENCH_FAIL;
    if (pid == 0) {
        close(up[1]);
        close(down[0]);
        while (read(up[0], &c, 1) == 1)
            if (write(down[1], &c, 1) != 1)
                break;
        _exit(0);
    }
    close(up[0]);
    close(down[1]);
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++)
        if (write(up[1], &c, 1) != 1 || read(down[0], &c, 1) != 1)
            return BENCH_FAIL;
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = (uint64_t)c;
    close(up[1]);
    close(down[0]);
    waitpid(pid, &st, 0);
    if (pinned)
        sched_setaffinity(0, sizeof old, &old);
    return BENCH_OK;
}

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    (void)sig;
    caught = caught + 1;
}

int b_signal(unsigned scale, struct result *r)
{
    uint64_t n = scaled(100000, scale);
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    caught = 0;
    if (sigaction(SIGUSR1, &sa, 0))
        return BENCH_FAIL;
    pid_t pid = getpid();
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++)
        kill(pid, SIGUSR1);
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = (uint64_t)caught == n;
    return r->check ? BENCH_OK : BENCH_FAIL;
}

int b_fork(unsigned scale, struct result *r)
{
    uint64_t n = scaled(1000, scale), ok = 0;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        int st = -1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(3);
        if (pid < 0 || waitpid(pid, &st, 0) != pid)
            return BENCH_FAIL;
        ok += WIFEXITED(st) && WEXITSTATUS(st) == 3;
    }
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = ok == n;
    return BENCH_OK;
}

/* Runs $BENCH_NOP (default ./nop), a static program that only returns. */
int b_forkexec(unsigned scale, struct result *r)
{
    uint64_t n = scaled(1000, scale), ok = 0;
    char *path = getenv("BENCH_NOP"), *env[] = {0};
    if (!path)
        path = (char *)"./nop";
    char *argv[] = {path, 0};
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        int st = -1;
        pid_t pid = fork();
        if (pid == 0) {
            execve(path, argv, env);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &st, 0) != pid)
            return BENCH_FAIL;
        ok += st == 0;
    }
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = ok == n;
    return ok == n ? BENCH_OK : BENCH_FAIL;
}

int b_pagefault(unsigned scale, struct result *r)
{
    enum { PAGES = 1024 };
    uint64_t rounds = scaled(150, scale), sum = 0;
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        unsigned char *p = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return BENCH_FAIL;
        madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
        for (int i = 0; i < PAGES; i++) {
            p[i * 4096] = (unsigned char)i;
            sum += p[i * 4096 + 1];
        }
        munmap(p, PAGES * 4096);
    }
    r->ns = now_ns() - t0;
    r->units = rounds * PAGES;
    r->check = sum;
    return BENCH_OK;
}

int b_mprotect(unsigned scale, struct result *r)
{
    uint64_t n = scaled(100000, scale);
    volatile unsigned char *p = mmap(0, 4096, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return BENCH_FAIL;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        mprotect((void *)p, 4096, PROT_READ);
        (void)p[0];
        mprotect((void *)p, 4096, PROT_READ | PROT_WRITE);
        p[0]++;
    }
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = p[0];
    munmap((void *)p, 4096);
    return BENCH_OK;
}

/* File in $BENCH_TMP, which should be a tmpfs (default /dev/shm). */
int b_tmpfs(unsigned scale, struct result *r)
{
    enum { CHUNK = 16384, CHUNKS = 2048 };
    static unsigned char buf[CHUNK];
    char path[256];
    const char *dir = getenv("BENCH_TMP");
    uint64_t rounds = scaled(6, scale), sum = 0;
    snprintf(path, sizeof path, "%s/bench-%d", dir ? dir : "/dev/shm",
             (int)getpid());
    uint64_t t0 = now_ns();
    for (uint64_t k = 0; k < rounds; k++) {
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0)
            return BENCH_FAIL;
        for (int i = 0; i < CHUNKS; i++) {
            buf[i % CHUNK] = (unsigned char)(i + (int)k);
            if (write(fd, buf, CHUNK) != CHUNK)
                return BENCH_FAIL;
        }
        lseek(fd, 0, SEEK_SET);
        for (int i = 0; i < CHUNKS; i++) {
            if (read(fd, buf, CHUNK) != CHUNK)
                return BENCH_FAIL;
            sum += buf[i % CHUNK];
        }
        close(fd);
        unlink(path);
    }
    r->ns = now_ns() - t0;
    r->units = rounds * CHUNK * CHUNKS * 2;
    r->check = sum;
    return BENCH_OK;
}

/* What a guest JIT does: write a short function, run it, write the next.
 * The page holds 64 slots; each is `mov eax,imm32; add eax,edi; ret`. */
int b_jitgen(unsigned scale, struct result *r)
{
    enum { SLOT = 64, SLOTS = 64, CALLS = 50 };
    uint64_t n = scaled(200000, scale), sum = 0;
    unsigned char *p = mmap(0, SLOT * SLOTS, PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return BENCH_SKIP;
    uint64_t t0 = now_ns();
    for (uint64_t i = 0; i < n; i++) {
        unsigned char *c = p + (i % SLOTS) * SLOT;
        uint32_t imm = (uint32_t)(i * 2654435761u);
        c[0] = 0xb8;
        memcpy(c + 1, &imm, 4);
        c[5] = 0x01;
        c[6] = 0xf8;
        c[7] = 0xc3;
        CLOBBER_MEMORY();
        unsigned (*fn)(unsigned) = (unsigned (*)(unsigned))(void *)c;
        for (unsigned k = 0; k < CALLS; k++)
            sum += fn(k);
    }
    r->ns = now_ns() - t0;
    r->units = n;
    r->check = sum;
    munmap(p, SLOT * SLOTS);
    return BENCH_OK;
}
