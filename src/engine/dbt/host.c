/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - what the translator needs from a host, tried out.
 *
 * Trying costs some ten microseconds and is right where guessing from versions
 * and settings is not: limits, seccomp filters and security modules all show.
 */
#include "engine/dbt/host.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "base/code_memory.h"
#include "base/error.h"
#include "engine/dbt/tables.h"

static bool host_has_bmi2(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & 1u << 8;
}

static bool host_has_fsgsbase(void)
{
    /* AT_HWCAP2 bit 1: the kernel lets user space use WRGSBASE. */
    return getauxval(AT_HWCAP2) & 2;
}

static bool host_allows(struct error **err)
{
    struct dbt_tables *tables;

    if (!host_has_bmi2() || !host_has_fsgsbase()) {
        error_set(err, ENOTSUP, "the translator needs a host with %s",
                  host_has_bmi2() ? "FSGSBASE" : "BMI2");
        return false;
    }
    if (!code_memory_allowed(err)) {
        error_hint(err, "without it guests have no floating point either");
        return false;
    }
    tables = dbt_tables_new(1, err);
    dbt_tables_free(tables);
    return tables;
}

void dbt_probe(struct engine_probe *out)
{
    struct error *err = NULL;

    out->caps = ENGINE_CAP_INSN_BUDGET | ENGINE_CAP_DIRTY_LOG;
    out->exit_us = 0.2;
    if (host_allows(&err)) {
        out->status = ENGINE_GOOD;
        out->insn_per_us = 1000;
        snprintf(out->reason, sizeof out->reason,
                 "translator to host code, some 1000 million instructions per second");
        return;
    }
    char *text = error_text(err);
    out->status = ENGINE_FORBIDDEN;
    snprintf(out->reason, sizeof out->reason, "%s", text);
    free(text);
    error_free(&err);
}
