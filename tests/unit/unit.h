/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit.h - what every cmocka test file needs. */
#ifndef RING3_TESTS_UNIT_H
#define RING3_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The call failed with -`code`, and the message contains `text`. Frees *err. */
static inline void expect_error(int result, int code, struct error **err, const char *text)
{
    assert_int_equal(result, -code);
    assert_non_null(*err);
    assert_int_equal((*err)->code, code);
    char *line = error_text(*err);
    if (!strstr(line, text))
        fail_msg("message \"%s\" lacks \"%s\"", line, text);
    free(line);
    error_free(err);
}

#endif
