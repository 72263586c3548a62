/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lockstep.h - one guest on two engines.
 *
 * A SIDE is a vCPU with memory, clock, and whatever answers its accesses: a whole
 * machine that boots Linux, or the ports that the guests of guest/sys know. Both
 * kinds are deterministic: the clock stands still while the vCPU runs.
 *
 *   side.c      making and running sides
 *   lockstep.c  options, running both in step, comparing, bisection
 */
#ifndef RING3_TESTS_LOCKSTEP_H
#define RING3_TESTS_LOCKSTEP_H

#include "base/log.h"
#include "engine/engine.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

struct clock;
struct machine;
struct memory;

struct guest_spec {
    const char *sys;             /* a guest of guest/sys; else Linux: */
    const char *kernel, *initrd, *append, *cpu;
    const char *firmware;        /* or this, with its screen on the serial port, too */
    const char *cdrom;           /* NULL: none */
    uint64_t memory_bytes;
};

struct side {
    const char *name;            /* of the engine */
    struct engine_vcpu *vcpu;
    struct memory *memory;
    struct clock *clock;
    struct machine *machine;     /* NULL: guest/sys */
    struct engine_vm *vm;        /* the rest is of guest/sys only, but for `text` */
    struct x86_cpu_model model;
    struct log log;
    int vector;                  /* an interrupt that the guest has asked for, or -1 */
    bool ended;
    int status;
    char text[1 << 16];          /* what the guest has printed, cut */
    size_t text_bytes;
};

/* 0, or -errno. A side does not move in memory. */
int side_open(struct side *s, const struct guest_spec *spec, const char *engine,
              struct error **err);
void side_close(struct side *s);

/* Executes exactly `instructions`, or fewer when it halts, ends or fails. */
enum engine_exit side_run(struct side *s, uint64_t instructions);
/* Time passes: `ns`, or until the next timer when the guest sleeps. False: it
 * would sleep for ever. */
bool side_advance(struct side *s, uint64_t ns, bool asleep);
void side_state(struct side *s, struct x86_state *out);

#endif
