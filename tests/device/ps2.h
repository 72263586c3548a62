/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ps2.h - rows of the kit for keyboard controller, keyboard and mouse. */
#ifndef RING3_TESTS_DEVICE_PS2_H
#define RING3_TESTS_DEVICE_PS2_H

#include "kit.h"

int ps2_make(struct rig *rig, const struct device_env *env, struct error **err);
void ps2_destroy(struct rig *rig);
uint64_t ps2_poke(struct rig *rig, struct rig_random *r);

#endif
