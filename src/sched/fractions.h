/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fractions.h - several machines on one core and one thread, each with its share of it.
 *
 * FRACTIONS. Time is the CPU time of that thread. A machine's turn is its fraction of the
 * quantum; the next turn goes to whoever has had least for what it was promised, so that
 * turns which end late or early are made good. What an idle machine leaves goes to the
 * others, unless `cap`: then the core rests.
 *
 * TURNS end by a timer, so that a guest that never comes out cannot keep the core: another
 * thread, which does nothing else, kicks the engine. With `until_exit` they also end with
 * each access to a device. Signals are no way: translated code is not fit for handlers.
 *
 * Threads: sched_run() makes and joins its own; the caller's is the one that kicks.
 * sched_stop() is for any thread and signal handlers.
 */
#ifndef RING3_SCHED_FRACTIONS_H
#define RING3_SCHED_FRACTIONS_H

#include <stdio.h>
#include "base/types.h"

struct error;
struct machine;
struct sched;
struct strbuf;

enum { SCHED_MACHINES_MAX = 64 };

struct sched_config {
    uint64_t quantum_ns;
    int core;                    /* to pin the thread to; -1: none */
    bool until_exit, cap;
    uint64_t run_ns;             /* end after that; 0: when all machines have ended */
    FILE *live;                  /* a plot twice a second; NULL: none */
};

struct sched *sched_new(const struct sched_config *cfg);
void sched_free(struct sched *s);
/* `fraction` is of 1. The name and the machine, which has one vCPU and is not running, are
 * the caller's. */
void sched_add(struct sched *s, const char *name, struct machine *m, double fraction);

int sched_run(struct sched *s, struct error **err);
void sched_stop(struct sched *s);

/* The table: asked, CPU time, share, switches, exits; and what a switch costs. */
void sched_report(const struct sched *s, struct strbuf *out);

#endif
