/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2_keyboard.h - the keyboard of a PC: a sink for keys, a device on a PS/2 cable.
 */
#ifndef RING3_DEVICE_PS2_KEYBOARD_H
#define RING3_DEVICE_PS2_KEYBOARD_H

#include "bus/device.h"

struct input;
struct ps2_device;

enum { PS2_LED_SCROLL = 1, PS2_LED_NUM = 2, PS2_LED_CAPS = 4 };

struct ps2_keyboard_config {
    struct input *input;         /* outlives the keyboard; NULL: nobody types */
};

struct device *ps2_keyboard_new(const struct device_env *env,
                                const struct ps2_keyboard_config *cfg, struct error **err);
/* Its plug, for the controller. */
struct ps2_device *ps2_keyboard_plug(struct device *dev);

#endif
