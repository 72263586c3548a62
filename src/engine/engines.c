/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engines.c - the table of engines, and the choice `--engine auto` makes.
 *
 * The presence of /dev/kvm says nothing about its speed: nested and
 * page-table-based KVMs may execute kernel code one emulated instruction at a
 * time. So auto measures (engine_ops.probe) and believes the figure.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

/* Best first. */
static const struct engine_ops *const engines[] = {&engine_kvm, &engine_interp, &engine_dbt, NULL};

const struct engine_ops *const *engine_all(void)
{
    return engines;
}

const struct engine_ops *engine_find(const char *name)
{
    for (unsigned i = 0; engines[i]; i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}

const struct engine_ops *engine_auto(char *why, size_t why_size, struct engine_refusal *refused)
{
    const struct engine_ops *chosen = NULL;
    struct engine_refusal none = {0}, *r = refused ? refused : &none;
    struct engine_probe probe;

    *r = none;
    for (unsigned i = 0; engines[i] && !chosen; i++) {
        memset(&probe, 0, sizeof(probe));
        engines[i]->probe(&probe);
        if (probe.status == ENGINE_GOOD) {
            chosen = engines[i];
        } else if (!r->engine) {
            r->engine = engines[i];
            r->probe = probe;
        }
    }
    if (!why)
        return chosen;
    if (!chosen)
        snprintf(why, why_size, "no engine works on this host");
    else if (r->engine)
        snprintf(why, why_size, "%s, because %s: %s", chosen->name, r->engine->name,
                 r->probe.reason);
    else
        snprintf(why, why_size, "%s: %s", chosen->name, probe.reason);
    return chosen;
}
