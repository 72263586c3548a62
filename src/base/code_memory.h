/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * code_memory.h - memory for code that is generated at run time.
 *
 * The same pages are mapped twice, writable at one address and executable at
 * another, so that nothing is ever both. Hosts may forbid the second mapping
 * (seccomp, SELinux): an ordinary failure of the host, EACCES or EPERM.
 */
#ifndef RING3_BASE_CODE_MEMORY_H
#define RING3_BASE_CODE_MEMORY_H

#include "base/types.h"

struct error;

struct code_memory {
    uint8_t *write;
    uint8_t *exec;          /* the same bytes */
    size_t bytes;           /* 0: not mapped */
};

/* `name` appears in /proc/PID/maps. `low`: the executable mapping in the lowest
 * 2 GiB if there is room, so that addresses of code fit 32 bits. */
int code_memory_map(struct code_memory *m, const char *name, size_t bytes, bool low,
                    struct error **err);
void code_memory_unmap(struct code_memory *m);      /* fine on a zeroed struct */

/* Does this host run generated code? Tries mapping a page; executes nothing. */
bool code_memory_allowed(struct error **err);

#endif
