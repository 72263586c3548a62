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
static const struct engine_ops *const engines[] = {&engine_kvm, &engine_dbt, &engine_interp, NULL};

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

/* What is said about an engine that was passed over matters most when something
 * can be done about it, and most for the best of the rest. */
static void refuse(struct engine_refusal *r, const struct engine_ops *engine,
                   const struct engine_probe *probe)
{
    if (!r->engine || probe->status != ENGINE_ABSENT)
        *r = (struct engine_refusal){engine, *probe};
}

static void explain(const struct engine_ops *chosen, const struct engine_probe *probe,
                    const struct engine_refusal *r, char *why, size_t size)
{
    if (!chosen)
        snprintf(why, size, "no engine works on this host");
    else if (r->engine)
        snprintf(why, size, "%s, because %s: %s", chosen->name, r->engine->name,
                 r->probe.reason);
    else
        snprintf(why, size, "%s: %s", chosen->name, probe->reason);
}

const struct engine_ops *engine_auto(const struct engine_ops *after, char *why, size_t why_size,
                                     struct engine_refusal *refused)
{
    const struct engine_ops *chosen = NULL;
    struct engine_refusal slow = {0}, ignored, *r = refused ? refused : &ignored;
    struct engine_probe probe;
    unsigned i = 0;

    *r = (struct engine_refusal){0};
    while (after && engines[i] && engines[i++] != after)
        ;
    for (; engines[i] && !chosen; i++) {
        memset(&probe, 0, sizeof(probe));
        engines[i]->probe(&probe);
        if (probe.status == ENGINE_GOOD)
            chosen = engines[i];
        else
            refuse(r, engines[i], &probe);
        if (probe.status == ENGINE_SLOW && probe.insn_per_us > slow.probe.insn_per_us)
            slow = (struct engine_refusal){engines[i], probe};
    }
    /* Slower than the translator may still be faster than what is left. */
    if (chosen && slow.probe.insn_per_us > probe.insn_per_us)
        chosen = slow.engine;
    if (why)
        explain(chosen, &probe, r, why, why_size);
    return chosen;
}
