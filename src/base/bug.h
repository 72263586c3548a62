/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bug.h - for states that only a mistake of ours can reach.
 *
 * Live in release builds. Never reachable from guest or user input: a guest
 * that can trigger one has found a security bug in ring3. bug_fail() runs the
 * hooks that restore the terminal (bug_hook), prints where, and aborts.
 */
#ifndef RING3_BASE_BUG_H
#define RING3_BASE_BUG_H

#include "base/types.h"

_Noreturn void bug_fail(const char *file, int line, const char *func, const char *what);

#define BUG_ON(cond)                                            \
    do {                                                        \
        if (unlikely(cond))                                     \
            bug_fail(__FILE__, __LINE__, __func__, #cond);      \
    } while (0)
#define BUG(what) bug_fail(__FILE__, __LINE__, __func__, what)

/* Registers the one process-wide last-words hook (async-signal-safe code only,
 * e.g. tcsetattr). Returns the previous one. The terminal belongs to the
 * process, not to a VM, which is why this is the one place allowed to keep a
 * process-wide pointer. */
typedef void (*bug_hook_fn)(void);
bug_hook_fn bug_hook(bug_hook_fn fn);

#endif
