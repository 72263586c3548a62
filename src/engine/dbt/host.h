/* SPDX-License-Identifier: GPL-2.0-or-later */
/* host.h - what the translator needs from a host (host.c). */
#ifndef RING3_ENGINE_DBT_HOST_H
#define RING3_ENGINE_DBT_HOST_H

#include "engine/engine.h"

void dbt_probe(struct engine_probe *out);

#endif
