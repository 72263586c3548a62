/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_keyboard.c - the simple machine's keyboard: key symbols in a ring.
 *
 * A symbol is what a US keyboard's key means with shift and control as they are: ASCII
 * for characters, X keysyms for the rest. Only presses count. A full ring refuses, and
 * whoever types waits (display/input.h).
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>

#include "base/error.h"
#include "device/simple.h"
#include "display/input.h"
#include "ring3/simple.h"

enum { RING = 64, SHIFT = 1, CONTROL = 2, CAPS = 4 };

struct simple_keyboard {
    struct device dev;
    struct simple_keyboard_config config;
    struct input_sink sink;
    uint32_t ring[RING];                 /* state */
    uint32_t head, count;
    uint32_t modifiers;                  /* SHIFT, ... */
};

/* What a key gives without and with shift. */
static const struct { uint16_t plain, shifted; } symbols[] = {
    [KEY_ESC] = {RING3_SIMPLE_KEY_ESCAPE, RING3_SIMPLE_KEY_ESCAPE},
    [KEY_1] = {'1', '!'}, [KEY_2] = {'2', '@'}, [KEY_3] = {'3', '#'}, [KEY_4] = {'4', '$'},
    [KEY_5] = {'5', '%'}, [KEY_6] = {'6', '^'}, [KEY_7] = {'7', '&'}, [KEY_8] = {'8', '*'},
    [KEY_9] = {'9', '('}, [KEY_0] = {'0', ')'}, [KEY_MINUS] = {'-', '_'},
    [KEY_EQUAL] = {'=', '+'},
    [KEY_BACKSPACE] = {RING3_SIMPLE_KEY_BACKSPACE, RING3_SIMPLE_KEY_BACKSPACE},
    [KEY_TAB] = {RING3_SIMPLE_KEY_TAB, RING3_SIMPLE_KEY_TAB},
    [KEY_Q] = {'q', 'Q'}, [KEY_W] = {'w', 'W'}, [KEY_E] = {'e', 'E'}, [KEY_R] = {'r', 'R'},
    [KEY_T] = {'t', 'T'}, [KEY_Y] = {'y', 'Y'}, [KEY_U] = {'u', 'U'}, [KEY_I] = {'i', 'I'},
    [KEY_O] = {'o', 'O'}, [KEY_P] = {'p', 'P'}, [KEY_LEFTBRACE] = {'[', '{'},
    [KEY_RIGHTBRACE] = {']', '}'},
    [KEY_ENTER] = {RING3_SIMPLE_KEY_ENTER, RING3_SIMPLE_KEY_ENTER},
    [KEY_A] = {'a', 'A'}, [KEY_S] = {'s', 'S'}, [KEY_D] = {'d', 'D'}, [KEY_F] = {'f', 'F'},
    [KEY_G] = {'g', 'G'}, [KEY_H] = {'h', 'H'}, [KEY_J] = {'j', 'J'}, [KEY_K] = {'k', 'K'},
    [KEY_L] = {'l', 'L'}, [KEY_SEMICOLON] = {';', ':'}, [KEY_APOSTROPHE] = {'\'', '"'},
    [KEY_GRAVE] = {'`', '~'}, [KEY_BACKSLASH] = {'\\', '|'},
    [KEY_Z] = {'z', 'Z'}, [KEY_X] = {'x', 'X'}, [KEY_C] = {'c', 'C'}, [KEY_V] = {'v', 'V'},
    [KEY_B] = {'b', 'B'}, [KEY_N] = {'n', 'N'}, [KEY_M] = {'m', 'M'}, [KEY_COMMA] = {',', '<'},
    [KEY_DOT] = {'.', '>'}, [KEY_SLASH] = {'/', '?'}, [KEY_SPACE] = {' ', ' '},
    [KEY_102ND] = {'<', '>'}, [KEY_KPASTERISK] = {'*', '*'}, [KEY_KPMINUS] = {'-', '-'},
    [KEY_KPPLUS] = {'+', '+'}, [KEY_KPSLASH] = {'/', '/'}, [KEY_KPDOT] = {'.', '.'},
    [KEY_KP0] = {'0', '0'}, [KEY_KP1] = {'1', '1'}, [KEY_KP2] = {'2', '2'},
    [KEY_KP3] = {'3', '3'}, [KEY_KP4] = {'4', '4'}, [KEY_KP5] = {'5', '5'},
    [KEY_KP6] = {'6', '6'}, [KEY_KP7] = {'7', '7'}, [KEY_KP8] = {'8', '8'},
    [KEY_KP9] = {'9', '9'},
    [KEY_KPENTER] = {RING3_SIMPLE_KEY_ENTER, RING3_SIMPLE_KEY_ENTER},
    [KEY_F11] = {RING3_SIMPLE_KEY_F1 + 10, RING3_SIMPLE_KEY_F1 + 10},
    [KEY_F12] = {RING3_SIMPLE_KEY_F1 + 11, RING3_SIMPLE_KEY_F1 + 11},
    [KEY_HOME] = {RING3_SIMPLE_KEY_HOME, RING3_SIMPLE_KEY_HOME},
    [KEY_UP] = {RING3_SIMPLE_KEY_UP, RING3_SIMPLE_KEY_UP},
    [KEY_PAGEUP] = {RING3_SIMPLE_KEY_PAGE_UP, RING3_SIMPLE_KEY_PAGE_UP},
    [KEY_LEFT] = {RING3_SIMPLE_KEY_LEFT, RING3_SIMPLE_KEY_LEFT},
    [KEY_RIGHT] = {RING3_SIMPLE_KEY_RIGHT, RING3_SIMPLE_KEY_RIGHT},
    [KEY_END] = {RING3_SIMPLE_KEY_END, RING3_SIMPLE_KEY_END},
    [KEY_DOWN] = {RING3_SIMPLE_KEY_DOWN, RING3_SIMPLE_KEY_DOWN},
    [KEY_PAGEDOWN] = {RING3_SIMPLE_KEY_PAGE_DOWN, RING3_SIMPLE_KEY_PAGE_DOWN},
    [KEY_INSERT] = {RING3_SIMPLE_KEY_INSERT, RING3_SIMPLE_KEY_INSERT},
    [KEY_DELETE] = {RING3_SIMPLE_KEY_DELETE, RING3_SIMPLE_KEY_DELETE},
};

static struct simple_keyboard *to_keyboard(struct device *dev)
{
    return container_of(dev, struct simple_keyboard, dev);
}

/* 0: none. */
static uint32_t symbol_of(unsigned code, uint32_t modifiers)
{
    bool shift = modifiers & SHIFT;
    uint32_t symbol, plain;

    if (code >= KEY_F1 && code <= KEY_F10)
        return RING3_SIMPLE_KEY_F1 + (code - KEY_F1);
    if (code >= ARRAY_SIZE(symbols))
        return 0;
    plain = symbols[code].plain;
    if (modifiers & CAPS && plain >= 'a' && plain <= 'z')
        shift = !shift;
    symbol = shift ? symbols[code].shifted : plain;
    return modifiers & CONTROL && plain >= 'a' && plain <= 'z' ? plain & 0x1f : symbol;
}

static uint32_t modifier_of(unsigned code)
{
    switch (code) {
    case KEY_LEFTSHIFT:
    case KEY_RIGHTSHIFT:
        return SHIFT;
    case KEY_LEFTCTRL:
    case KEY_RIGHTCTRL:
        return CONTROL;
    default:
        return 0;
    }
}

static bool key(void *opaque, unsigned code, bool down)
{
    struct simple_keyboard *k = opaque;
    uint32_t modifier = modifier_of(code), symbol = symbol_of(code, k->modifiers);

    if (modifier)
        k->modifiers = down ? k->modifiers | modifier : k->modifiers & ~modifier;
    if (code == KEY_CAPSLOCK && down)
        k->modifiers ^= CAPS;
    if (!down || !symbol)
        return true;
    if (k->count == RING)
        return false;
    k->ring[(k->head + k->count++) % RING] = symbol;
    irq_line_pulse(&k->config.slot.irq);
    return true;
}

static uint32_t keyboard_read(void *opaque)
{
    struct simple_keyboard *k = opaque;
    uint32_t symbol;

    if (!k->count)
        return 0;
    symbol = k->ring[k->head];
    k->head = (k->head + 1) % RING;
    k->count--;
    if (k->config.input)
        input_ready(k->config.input, &k->sink);
    return symbol;
}

static void keyboard_reset(struct device *dev)
{
    struct simple_keyboard *k = to_keyboard(dev);

    memset(k->ring, 0, sizeof k->ring);
    k->head = k->count = k->modifiers = 0;
    irq_line_set(&k->config.slot.irq, false);
}

static void keyboard_resume(struct device *dev)
{
    struct simple_keyboard *k = to_keyboard(dev);

    k->head %= RING;
    k->count = (uint32_t)min_u64(k->count, RING);
    irq_line_set(&k->config.slot.irq, false);
}

static const struct state_field fields[] = {
    STATE_U32_ARRAY(struct simple_keyboard, ring),
    STATE_U32(struct simple_keyboard, head),
    STATE_U32(struct simple_keyboard, count),
    STATE_U32(struct simple_keyboard, modifiers),
    STATE_END
};
static const struct state_desc desc = {"simple_keyboard", 1, fields};

static const struct state_desc *keyboard_describe(struct device *dev, void **state)
{
    *state = to_keyboard(dev);
    return &desc;
}

static void keyboard_destroy(struct device *dev)
{
    struct simple_keyboard *k = to_keyboard(dev);

    if (k->config.input)
        input_remove(k->config.input, &k->sink);
    free(k);
}

static const struct device_ops keyboard_ops = {
    .type = "simple_keyboard",
    .reset = keyboard_reset,
    .resume = keyboard_resume,
    .describe = keyboard_describe,
    .destroy = keyboard_destroy,
};

struct input_sink *simple_keyboard_sink(struct device *dev)
{
    return &to_keyboard(dev)->sink;
}

struct device *simple_keyboard_new(const struct device_env *env,
                                   const struct simple_keyboard_config *cfg, struct error **err)
{
    struct simple_keyboard *k = calloc(1, sizeof *k);

    if (!k) {
        error_set(err, ENOMEM, "no memory for the keyboard");
        return NULL;
    }
    device_init(&k->dev, &keyboard_ops, cfg->slot.name);
    k->config = *cfg;
    k->sink = (struct input_sink){.key = key, .opaque = k};
    if (cfg->input)
        input_add(cfg->input, &k->sink);
    *cfg->slot.port = (struct simple_port){keyboard_read, NULL, k};
    return &k->dev;
}
