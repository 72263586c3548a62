/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bug.c - last words, then abort().
 *
 * Everything here is async-signal-safe up to abort(): a BUG may be found
 * inside a signal handler or with locks held. A second BUG while the first one
 * is being reported (in the hook, or in another thread) aborts at once.
 */
#include "base/bug.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Process-wide for the reason given in bug.h. */
static _Atomic(bug_hook_fn) last_words;
static atomic_flag reporting = ATOMIC_FLAG_INIT;

bug_hook_fn bug_hook(bug_hook_fn fn)
{
    return atomic_exchange(&last_words, fn);
}

static size_t append(char *buf, size_t at, size_t cap, const char *text)
{
    size_t len = strlen(text);

    if (len > cap - at)
        len = cap - at;
    memcpy(buf + at, text, len);
    return at + len;
}

_Noreturn void bug_fail(const char *file, int line, const char *func, const char *what)
{
    char text[512], digits[12];
    size_t at = 0, d = sizeof digits - 1;

    if (atomic_flag_test_and_set(&reporting))
        abort();
    bug_hook_fn hook = atomic_load(&last_words);
    if (hook)
        hook();

    digits[d] = '\0';
    do {
        digits[--d] = (char)('0' + line % 10);
    } while (line /= 10);
    const char *parts[] = {"ring3: BUG at ", file, ":", &digits[d], " in ", func, "(): ", what};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        at = append(text, at, sizeof text - 1, parts[i]);
    text[at++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, text, at);
    (void)ignored;
    abort();
}
