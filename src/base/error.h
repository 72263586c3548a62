/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * error.h - failures of the host and of the user's input, told in one line.
 *
 * A function that can fail takes a `struct error **err` as its last argument
 * and returns 0 or a negative errno. On failure it fills *err exactly once;
 * callers add context with error_wrap() on the way up and the cli prints the
 * chain, outermost first, as ONE line:
 *
 *     ring3: cannot load kernel 'vmlinuz': setup header points past the end
 *     of the file (offset 0x1f1, file has 100 bytes); is this a bzImage?
 *
 * `err` may be NULL when the caller only wants the code. The caller owns *err
 * and frees it with error_free(). Nothing here is thread-shared.
 *
 * Errors are for the host and the user. A misbehaving guest never makes one
 * (it gets defined device behaviour and a counter), and our own mistakes use
 * BUG_ON (bug.h).
 */
#ifndef RING3_BASE_ERROR_H
#define RING3_BASE_ERROR_H

#include "base/types.h"

struct error {
    int code;      /* positive errno; decides the exit status in cli/ */
    char *what;    /* what failed, on which object, why: no trailing period */
    char *hint;    /* what to do about it, or NULL */
};

/* Sets *err (which must be NULL) and returns -code. `code` is a positive errno. */
int error_set(struct error **err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " in front of what is already there; keeps code and hint.
 * Returns the code as a negative errno. With a NULL err there is nothing to
 * look at: a no-op that returns -EIO, so keep the code where it matters. */
int error_wrap(struct error **err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "there is no WHAT 'WORD'", with the closest of `names` (NULL-terminated) or all of them
 * as advice. Returns -EINVAL. */
int error_no_such(struct error **err, const char *what, const char *word,
                  const char *const *names);

/* Adds advice ("; do this"); replaces an older hint. */
void error_hint(struct error **err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The whole chain as one line without newline (control characters, which file
 * names may contain, become '?'); the caller frees it. */
char *error_text(const struct error *err);

/* Frees *err and sets it to NULL; NULL and pointer-to-NULL are fine. */
void error_free(struct error **err);

#endif
