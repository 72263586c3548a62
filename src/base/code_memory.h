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
    size_t tail_bytes;
};

/* `name` appears in /proc/PID/maps. Directly behind `exec` there are `tail_bytes` of
 * ordinary memory, which code reaches RIP-relative. Both are whole pages. */
int code_memory_map(struct code_memory *m, const char *name, size_t bytes, size_t tail_bytes,
                    struct error **err);
void code_memory_unmap(struct code_memory *m);      /* fine on a zeroed struct */

/* Does this host run generated code? Tries mapping a page; executes nothing. */
bool code_memory_allowed(struct error **err);

#endif
