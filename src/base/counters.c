/* SPDX-License-Identifier: GPL-2.0-or-later */
/* counters.c - names and explanations of the counters, from the one list. */
#include "base/counters.h"

#include "base/bug.h"

static const struct {
    const char *name, *help;
} rows[COUNTER_COUNT] = {
#define X(name, help) {#name, help},
    COUNTERS(X)
#undef X
};

const char *counter_name(enum counter_id id)
{
    BUG_ON((unsigned)id >= COUNTER_COUNT);
    return rows[id].name;
}

const char *counter_help(enum counter_id id)
{
    BUG_ON((unsigned)id >= COUNTER_COUNT);
    return rows[id].help;
}
