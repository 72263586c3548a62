/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2_mouse.h - the mouse of a PC: a sink for pointers, a device on a PS/2 cable.
 */
#ifndef RING3_DEVICE_PS2_MOUSE_H
#define RING3_DEVICE_PS2_MOUSE_H

#include "bus/device.h"

struct input;
struct ps2_device;

struct ps2_mouse_config {
    struct input *input;         /* outlives the mouse; NULL: nobody moves it */
};

struct device *ps2_mouse_new(const struct device_env *env, const struct ps2_mouse_config *cfg,
                             struct error **err);
/* Its plug, for the controller. */
struct ps2_device *ps2_mouse_plug(struct device *dev);

#endif
