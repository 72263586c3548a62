/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.h - `--cpu-weight`, `--cpu-max`: this process in a control group of its own.
 *
 * A group ring3-PID is made beside the one the process is in, version 2 or, where the CPU
 * controller is there, version 1. That takes the right to make one: root's, or that of a
 * user to whom a service manager delegates. On the way out the process goes back to where
 * it was and the group is removed.
 */
#ifndef RING3_CLI_CGROUP_H
#define RING3_CLI_CGROUP_H

#include "base/types.h"

struct error;

struct cgroup {
    char *home, *own;            /* directories; NULL: not in one of ours */
};

/* 0: not asked for. Weight as in cpu.weight (100 is everybody's), max in percent of one
 * CPU. Before other threads are made. */
int cgroup_enter(struct cgroup *g, uint64_t weight, uint64_t max_percent, struct error **err);
void cgroup_leave(struct cgroup *g);             /* zeroed is fine */

#endif
