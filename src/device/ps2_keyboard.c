/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2_keyboard.c - a 102-key keyboard as its controller sees it.
 *
 * Follows the IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and
 * 102-key)". It repeats the key pressed last by itself (typematic), at the rate and after
 * the delay that the host set; whoever types only says down and up. A key is refused
 * (display/input.h) while its longest sequence has no room, so no overrun code exists.
 * Repeats that find a byte waiting are not queued: a host that does not look finds no
 * flood when it does.
 */
#include "device/ps2_keyboard.h"

#include <errno.h>
#include <stdlib.h>
#include <linux/input-event-codes.h>

#include "base/clock.h"
#include "base/error.h"
#include "device/ps2.h"
#include "device/ps2_codes.h"
#include "display/input.h"

enum {
    CMD_LEDS = 0xed, CMD_ECHO = 0xee, CMD_SCAN_SET = 0xf0, CMD_IDENTIFY = 0xf2,
    CMD_TYPEMATIC = 0xf3, CMD_ENABLE = 0xf4, CMD_DISABLE = 0xf5, CMD_DEFAULTS = 0xf6,
    CMD_ALL_TYPEMATIC = 0xf7, CMD_ALL_MAKE_BREAK = 0xf8, CMD_ALL_MAKE = 0xf9,
    CMD_ALL_BOTH = 0xfa, CMD_KEY_TYPEMATIC = 0xfb, CMD_KEY_MAKE_BREAK = 0xfc,
    CMD_KEY_MAKE = 0xfd, CMD_RESEND = 0xfe, CMD_RESET = 0xff,
};
enum { ID_FIRST = 0xab, ID_SECOND = 0x83 };
enum { TYPEMATIC_DEFAULT = 0x2b /* 500 ms, 10.9 a second */, SETS = 3, CODES3 = 0x90 };
/* What set 3 lets the host choose for each key. */
enum { SENDS_BREAK = 1, REPEATS = 2 };

struct ps2_keyboard_state {
    struct ps2_queues queues;
    uint8_t command;             /* one that waits for its data; 0 = none */
    uint8_t leds, typematic, set;
    bool scanning;
    uint8_t key_type[CODES3];    /* by set 3 code */
    uint8_t held;                /* enum of ps2_codes.h, a bit for each side of the board */
    uint8_t repeating;           /* the key that is; 0 = none */
    uint64_t repeat_ns;          /* when next */
};

struct ps2_keyboard {
    struct device dev;
    struct ps2_device plug;
    struct ps2_keyboard_state state;
    struct input *input;
    struct input_sink sink;
    struct clock *clock;
    struct timer timer;
};

static struct ps2_keyboard *to_keyboard(struct device *dev)
{
    return container_of(dev, struct ps2_keyboard, dev);
}

/* ---- keys -------------------------------------------------------------- */

/* Left and right modifiers in two halves of a byte. */
static uint8_t modifier_bit(unsigned key)
{
    switch (key) {
    case KEY_LEFTCTRL: return PS2_CTRL;
    case KEY_LEFTSHIFT: return PS2_SHIFT;
    case KEY_LEFTALT: return PS2_ALT;
    case KEY_RIGHTCTRL: return PS2_CTRL << 4;
    case KEY_RIGHTSHIFT: return PS2_SHIFT << 4;
    case KEY_RIGHTALT: return PS2_ALT << 4;
    default: return 0;
    }
}

static unsigned key_type(const struct ps2_keyboard_state *s, unsigned key)
{
    uint8_t code = s->set == 3 ? ps2_code3(key) : 0;

    if (s->set != 3)
        return key == KEY_PAUSE ? SENDS_BREAK : SENDS_BREAK | REPEATS;
    return code < CODES3 ? s->key_type[code] : 0;
}

static void send(struct ps2_keyboard *k, unsigned key, bool down)
{
    const struct ps2_keyboard_state *s = &k->state;
    struct ps2_sequence codes = ps2_codes(s->set, key, down, (s->held | s->held >> 4) & 7);

    if (down || key_type(s, key) & SENDS_BREAK)
        ps2_data(&k->plug, codes.byte, codes.len);
}

/* "Keyboard", set typematic rate/delay: (8 + A) * 2^B * 4.17 ms, and 250 ms steps. */
static uint64_t period_ns(const struct ps2_keyboard_state *s)
{
    return (8ull + (s->typematic & 7)) * (1u << (s->typematic >> 3 & 3)) * 4170000;
}

static uint64_t delay_ns(const struct ps2_keyboard_state *s)
{
    return (1 + (s->typematic >> 5 & 3)) * 250000000ull;
}

static void stop_repeating(struct ps2_keyboard *k)
{
    k->state.repeating = 0;
    timer_disarm(&k->timer);
}

static void repeat(void *opaque)
{
    struct ps2_keyboard *k = opaque;
    struct ps2_keyboard_state *s = &k->state;

    if (!s->repeating)
        return;
    if (!ps2_has(&k->plug))
        send(k, s->repeating, true);
    s->repeat_ns = clock_now_ns(k->clock) + period_ns(s);
    timer_arm(&k->timer, s->repeat_ns);
}

static void start_repeating(struct ps2_keyboard *k, unsigned key)
{
    struct ps2_keyboard_state *s = &k->state;

    if (!(key_type(s, key) & REPEATS)) {
        stop_repeating(k);
        return;
    }
    s->repeating = (uint8_t)key;
    s->repeat_ns = clock_now_ns(k->clock) + delay_ns(s);
    timer_arm(&k->timer, s->repeat_ns);
}

static bool take_key(void *opaque, unsigned key, bool down)
{
    struct ps2_keyboard *k = opaque;
    struct ps2_keyboard_state *s = &k->state;
    uint8_t modifier = modifier_bit(key);

    if (s->scanning && ps2_data_room(&k->plug) < PS2_SEQUENCE_MAX)
        return false;
    s->held = down ? s->held | modifier : s->held & ~modifier;
    if (!s->scanning)
        return true;
    send(k, key, down);
    if (down)
        start_repeating(k, key);
    else if (s->repeating == key)
        stop_repeating(k);
    return true;
}

static void room(struct ps2_device *plug)
{
    struct ps2_keyboard *k = container_of(plug, struct ps2_keyboard, plug);

    if (k->input && ps2_data_room(plug) >= PS2_SEQUENCE_MAX)
        input_ready(k->input, &k->sink);
}

/* ---- commands ---------------------------------------------------------- */

/* Set 3's own choice: most keys repeat, modifiers tell their release too, and keys that
 * were new on this keyboard only say that they went down. */
static uint8_t default_type(unsigned code)
{
    static const uint8_t make_break[] = {0x11, 0x12, 0x14, 0x19, 0x59};
    static const uint8_t make[] = {
        0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x56, 0x57, 0x58, 0x5e,
        0x5f, 0x62, 0x39, 0x67, 0x6e, 0x6f, 0x65, 0x6d, 0x76, 0x6c, 0x75, 0x7d, 0x77, 0x7e, 0x84,
        0x6b, 0x73, 0x74, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x79, 0x8b, 0x8c, 0x8d,
    };

    for (unsigned i = 0; i < ARRAY_SIZE(make_break); i++)
        if (make_break[i] == code)
            return SENDS_BREAK;
    for (unsigned i = 0; i < ARRAY_SIZE(make); i++)
        if (make[i] == code)
            return 0;
    return REPEATS;
}

static void set_defaults(struct ps2_keyboard *k)
{
    struct ps2_keyboard_state *s = &k->state;

    stop_repeating(k);
    ps2_data_drop(&k->plug);
    s->typematic = TYPEMATIC_DEFAULT;
    s->set = 2;
    for (unsigned i = 0; i < CODES3; i++)
        s->key_type[i] = default_type(i);
}

static void set_all_types(struct ps2_keyboard_state *s, uint8_t type)
{
    for (unsigned i = 0; i < CODES3; i++)
        s->key_type[i] = type;
}

static bool wants_data(uint8_t command)
{
    return command == CMD_LEDS || command == CMD_SCAN_SET || command == CMD_TYPEMATIC ||
           (command >= CMD_KEY_TYPEMATIC && command <= CMD_KEY_MAKE);
}

static void scan_set_data(struct ps2_keyboard *k, uint8_t byte)
{
    struct ps2_keyboard_state *s = &k->state;

    if (byte > SETS) {
        ps2_answer(&k->plug, PS2_RESEND);
        s->command = CMD_SCAN_SET;
        return;
    }
    ps2_answer(&k->plug, PS2_ACK);
    if (!byte) {
        ps2_answer(&k->plug, s->set);
        return;
    }
    stop_repeating(k);
    ps2_data_drop(&k->plug);
    s->set = byte;
}

/* Key types are set for one code after the other, until a command comes. */
static void command_data(struct ps2_keyboard *k, uint8_t command, uint8_t byte)
{
    static const uint8_t types[] = {REPEATS, SENDS_BREAK, 0};
    struct ps2_keyboard_state *s = &k->state;

    switch (command) {
    case CMD_LEDS:
        s->leds = byte & (PS2_LED_SCROLL | PS2_LED_NUM | PS2_LED_CAPS);
        ps2_answer(&k->plug, PS2_ACK);
        break;
    case CMD_TYPEMATIC:
        s->typematic = byte & 0x7f;
        ps2_answer(&k->plug, PS2_ACK);
        break;
    case CMD_SCAN_SET:
        scan_set_data(k, byte);
        break;
    case CMD_KEY_TYPEMATIC ... CMD_KEY_MAKE:
        if (byte < CODES3)
            s->key_type[byte] = types[command - CMD_KEY_TYPEMATIC];
        ps2_answer(&k->plug, PS2_ACK);
        s->command = command;
        break;
    default:
        break;
    }
}

static void set_scanning(struct ps2_keyboard *k, bool on)
{
    k->state.scanning = on;
    if (!on)
        stop_repeating(k);
}

static void run_command(struct ps2_keyboard *k, uint8_t command)
{
    static const uint8_t all_types[] = {REPEATS, SENDS_BREAK, 0, REPEATS | SENDS_BREAK};
    struct ps2_keyboard_state *s = &k->state;

    switch (command) {
    case CMD_IDENTIFY:
        ps2_answer(&k->plug, ID_FIRST);
        ps2_answer(&k->plug, ID_SECOND);
        break;
    case CMD_ENABLE:
        ps2_data_drop(&k->plug);
        set_scanning(k, true);
        break;
    case CMD_DISABLE:
        set_defaults(k);
        set_scanning(k, false);
        break;
    case CMD_DEFAULTS:
        set_defaults(k);
        break;
    case CMD_ALL_TYPEMATIC ... CMD_ALL_BOTH:
        set_all_types(s, all_types[command - CMD_ALL_TYPEMATIC]);
        break;
    case CMD_RESET:
        set_defaults(k);
        set_scanning(k, true);
        s->leds = 0;
        ps2_answer(&k->plug, PS2_BAT_OK);
        break;
    default:                     /* those that want data */
        s->command = command;
        break;
    }
}

static void keyboard_write(struct ps2_device *plug, uint8_t byte)
{
    struct ps2_keyboard *k = container_of(plug, struct ps2_keyboard, plug);
    uint8_t waiting = k->state.command;

    k->state.command = 0;
    if (waiting && byte < CMD_LEDS) {
        command_data(k, waiting, byte);
    } else if (byte == CMD_ECHO) {
        ps2_answer(plug, CMD_ECHO);
    } else if (byte == CMD_RESEND) {
        ps2_resend(plug);
    } else if (wants_data(byte) || byte >= CMD_IDENTIFY) {
        ps2_answer(plug, PS2_ACK);
        run_command(k, byte);
    } else {
        ps2_answer(plug, PS2_RESEND);
    }
}

/* ---- the device -------------------------------------------------------- */

static void keyboard_reset(struct device *dev)
{
    struct ps2_keyboard *k = to_keyboard(dev);

    k->state = (struct ps2_keyboard_state){.scanning = true};
    set_defaults(k);
}

static void keyboard_quiesce(struct device *dev)
{
    timer_disarm(&to_keyboard(dev)->timer);
}

static void keyboard_resume(struct device *dev)
{
    struct ps2_keyboard *k = to_keyboard(dev);
    struct ps2_keyboard_state *s = &k->state;

    ps2_queues_check(&s->queues);
    s->set = s->set >= 1 && s->set <= SETS ? s->set : 2;
    if (s->repeating)
        timer_arm(&k->timer, s->repeat_ns);
    if (k->plug.ready)
        k->plug.ready(k->plug.opaque);
}

static const struct state_field fields[] = {
    STATE_STRUCT(struct ps2_keyboard_state, queues, &ps2_queues_desc),
    STATE_U8(struct ps2_keyboard_state, command),
    STATE_U8(struct ps2_keyboard_state, leds),
    STATE_U8(struct ps2_keyboard_state, typematic),
    STATE_U8(struct ps2_keyboard_state, set),
    STATE_BOOL(struct ps2_keyboard_state, scanning),
    STATE_U8_ARRAY(struct ps2_keyboard_state, key_type),
    STATE_U8(struct ps2_keyboard_state, held),
    STATE_U8(struct ps2_keyboard_state, repeating),
    STATE_U64(struct ps2_keyboard_state, repeat_ns),
    STATE_END
};
static const struct state_desc desc = {"ps2_keyboard", 1, fields};

static const struct state_desc *keyboard_describe(struct device *dev, void **state)
{
    *state = &to_keyboard(dev)->state;
    return &desc;
}

static void keyboard_destroy(struct device *dev)
{
    struct ps2_keyboard *k = to_keyboard(dev);

    timer_disarm(&k->timer);
    if (k->input)
        input_remove(k->input, &k->sink);
    free(k);
}

static const struct device_ops keyboard_ops = {
    .type = "ps2_keyboard",
    .reset = keyboard_reset,
    .quiesce = keyboard_quiesce,
    .resume = keyboard_resume,
    .describe = keyboard_describe,
    .destroy = keyboard_destroy,
};

struct device *ps2_keyboard_new(const struct device_env *env,
                                const struct ps2_keyboard_config *cfg, struct error **err)
{
    struct ps2_keyboard *k = calloc(1, sizeof *k);

    if (!k) {
        error_set(err, ENOMEM, "no memory for the keyboard");
        return NULL;
    }
    device_init(&k->dev, &keyboard_ops, "keyboard");
    k->plug = (struct ps2_device){.queues = &k->state.queues, .write = keyboard_write,
                                  .room = room};
    k->clock = env->clock;
    timer_init(&k->timer, env->clock, repeat, k);
    k->input = cfg->input;
    k->sink = (struct input_sink){.key = take_key, .opaque = k};
    if (k->input)
        input_add(k->input, &k->sink);
    keyboard_reset(&k->dev);
    return &k->dev;
}

struct ps2_device *ps2_keyboard_plug(struct device *dev)
{
    return &to_keyboard(dev)->plug;
}
