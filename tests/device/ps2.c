/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ps2.c - the keyboard controller with what is plugged into it, for the kit. */
#include "ps2.h"

#include <linux/input-event-codes.h>

#include "bus/bus.h"
#include "device/i8042.h"
#include "device/ps2.h"
#include "device/ps2_codes.h"
#include "device/ps2_keyboard.h"
#include "device/ps2_mouse.h"
#include "display/input.h"

enum { KEYBOARD, MOUSE, CONTROLLER, DEVICES };

int ps2_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct input *input = input_new(env->clock, err);
    const struct ps2_keyboard_config kc = {.input = input};
    const struct ps2_mouse_config mc = {.input = input};
    struct i8042_config cfg = {.irq = rig_line(rig, 1), .aux_irq = rig_line(rig, 12),
                               .a20 = rig_line(rig, 20)};

    rig->part = input;
    rig->device[KEYBOARD] = ps2_keyboard_new(env, &kc, err);
    rig->device[MOUSE] = ps2_mouse_new(env, &mc, err);
    cfg.keyboard = ps2_keyboard_plug(rig->device[KEYBOARD]);
    cfg.mouse = ps2_mouse_plug(rig->device[MOUSE]);
    rig->device[CONTROLLER] = i8042_new(env, &cfg, err);
    rig->devices = DEVICES;
    if (rig->device[CONTROLLER])
        return 0;
    ps2_destroy(rig);
    return -1;
}

void ps2_destroy(struct rig *rig)
{
    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
    input_free(rig->part);
    rig->part = NULL;
}

/* Only what finds room: what is refused waits in a place that is no device's state. */
static void press(struct rig *rig, struct rig_random *r)
{
    static const uint8_t keys[] = {KEY_A, KEY_UP, KEY_SYSRQ, KEY_PAUSE, KEY_F7, KEY_LEFTCTRL};
    unsigned key = keys[rig_random_below(r, sizeof keys)];

    if (ps2_data_room(ps2_keyboard_plug(rig->device[KEYBOARD])) < 2 * PS2_SEQUENCE_MAX)
        return;
    input_key(rig->part, key, true);
    input_key(rig->part, key, false);
}

static void move(struct rig *rig, struct rig_random *r)
{
    const struct input_pointer p = {.dx = (int)rig_random_below(r, 40) - 20,
                                    .dy = (int)rig_random_below(r, 40) - 20,
                                    .wheel = (int)rig_random_below(r, 5) - 2,
                                    .buttons = (unsigned)rig_random_below(r, 32)};

    if (!ps2_mouse_plug(rig->device[MOUSE])->queues->datas)
        input_pointer(rig->part, &p);
}

uint64_t ps2_poke(struct rig *rig, struct rig_random *r)
{
    static const uint8_t knock[] = {0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf4};
    bool wheel = rig_random_below(r, 2);

    switch (rig_random_below(r, 8)) {
    case 0:                      /* as drivers do */
        bus_write(rig->bus, BUS_PIO, 0x64, 1, 0x60);
        bus_write(rig->bus, BUS_PIO, 0x60, 1, 0x47);
        for (unsigned i = 0; i < sizeof knock; i++) {
            bus_write(rig->bus, BUS_PIO, 0x64, 1, 0xd4);
            bus_write(rig->bus, BUS_PIO, 0x60, 1, i == 3 && wheel ? 100 : knock[i]);
        }
        break;
    case 1:
        bus_write(rig->bus, BUS_PIO, 0x60, 1, 0xe6 + rig_random_below(r, 26));
        break;
    case 2:
        bus_write(rig->bus, BUS_PIO, 0x64, 1, 0xd4);
        bus_write(rig->bus, BUS_PIO, 0x60, 1, 0xe6 + rig_random_below(r, 26));
        break;
    case 3 ... 5:
        press(rig, r);
        break;
    default:
        move(rig, r);
        break;
    }
    return bus_read(rig->bus, BUS_PIO, 0x60, 1);
}
