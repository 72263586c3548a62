/* SPDX-License-Identifier: GPL-2.0-or-later */
/* machines.c - the table of machines. Adding a machine is adding a row. */
#include "machine/impl.h"

#include <string.h>

static const struct machine_ops *const machines[] = {&machine_pc, &machine_simple, &machine_teach,
                                                    NULL};

const struct machine_ops *const *machine_all(void)
{
    return machines;
}

const struct machine_ops *machine_find(const char *name)
{
    for (unsigned i = 0; machines[i]; i++)
        if (strcmp(machines[i]->name, name) == 0)
            return machines[i];
    return NULL;
}

void machine_config_defaults(struct machine_config *cfg)
{
    *cfg = (struct machine_config){.machine = machines[0]->name, .engine = "auto",
                                   .memory_bytes = 512ull << 20, .cpus = 1};
    machines[0]->defaults(cfg);
}
