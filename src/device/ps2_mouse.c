/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2_mouse.c - a mouse of three buttons, or with a wheel and five when asked for.
 *
 * Follows the IBM PS/2 Hardware Interface Technical Reference, "Auxiliary device", and
 * Microsoft's way to a wheel: three sample rates in a row, 200 100 80 for the wheel,
 * 200 200 80 for five buttons, change what the mouse says it is and the packets it sends.
 *
 * Movements are counted here and sent a packet at a time, the next when the host has
 * taken the one before; what comes meanwhile is refused and adds up in display/input.c,
 * where clicks keep their order. The sample rate is remembered but not kept to: the
 * controller's pace (device/i8042.c) is about that of the fastest.
 */
#include "device/ps2_mouse.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "device/ps2.h"
#include "display/input.h"

enum {
    CMD_SCALING_1 = 0xe6, CMD_SCALING_2 = 0xe7, CMD_RESOLUTION = 0xe8, CMD_STATUS = 0xe9,
    CMD_STREAM = 0xea, CMD_READ = 0xeb, CMD_UNWRAP = 0xec, CMD_WRAP = 0xee, CMD_REMOTE = 0xf0,
    CMD_IDENTIFY = 0xf2, CMD_RATE = 0xf3, CMD_ENABLE = 0xf4, CMD_DISABLE = 0xf5,
    CMD_DEFAULTS = 0xf6, CMD_RESEND = 0xfe, CMD_RESET = 0xff,
};
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_FIVE_BUTTONS = 4 };
enum { STATUS_RIGHT = 1, STATUS_MIDDLE = 2, STATUS_LEFT = 4, STATUS_SCALING_2 = 0x10,
       STATUS_ENABLED = 0x20, STATUS_REMOTE = 0x40 };
enum { PACKET_ONE = 0x08, PACKET_X_SIGN = 0x10, PACKET_Y_SIGN = 0x20,
       PACKET_BUTTONS_4_5 = 4 /* shift, in the fourth byte */ };
enum { RESOLUTION_MAX = 3, RESOLUTION_DEFAULT = 2, RATE_DEFAULT = 100, PACKET_MAX = 4 };
enum { COUNT_MAX = 255, WHEEL_MAX = 7, PENDING_MAX = 1 << 16, BUTTONS = 0x1f };

struct ps2_mouse_state {
    struct ps2_queues queues;
    uint8_t command;             /* one that waits for its data; 0 = none */
    uint8_t id, resolution, rate;
    uint8_t rates[2];            /* the two before it: the knock */
    bool remote, wrap, reporting, scaling_2;
    uint8_t buttons, told;       /* held, and as the host knows */
    uint32_t dx, dy, wheel;      /* not told yet; two's complement, y up */
};

struct ps2_mouse {
    struct device dev;
    struct ps2_device plug;
    struct ps2_mouse_state state;
    struct input *input;
    struct input_sink sink;
};

static struct ps2_mouse *to_mouse(struct device *dev)
{
    return container_of(dev, struct ps2_mouse, dev);
}

/* ---- packets ----------------------------------------------------------- */

/* Takes from a counter what one packet holds. */
static int take_count(uint32_t *counter, int most)
{
    int all = (int32_t)*counter, n = all > most ? most : all < -most - 1 ? -most - 1 : all;

    *counter -= (uint32_t)n;
    return n;
}

static uint32_t add_count(uint32_t counter, int n)
{
    int64_t sum = (int64_t)(int32_t)counter + n;

    return (uint32_t)(sum > PENDING_MAX ? PENDING_MAX : sum < -PENDING_MAX ? -PENDING_MAX : sum);
}

/* "Set scaling 2:1", for small numbers from the table, beyond that twice. */
static int scaled(const struct ps2_mouse_state *s, int n)
{
    static const uint8_t table[] = {0, 1, 1, 3, 6, 9};
    int size = abs(n);

    if (!s->scaling_2 || s->remote)
        return n;
    size = size < (int)ARRAY_SIZE(table) ? table[size] : size * 2;
    size = size > COUNT_MAX ? COUNT_MAX : size;
    return n < 0 ? -size : size;
}

static unsigned make_packet(struct ps2_mouse_state *s, uint8_t p[PACKET_MAX])
{
    int dx = scaled(s, take_count(&s->dx, COUNT_MAX));
    int dy = scaled(s, take_count(&s->dy, COUNT_MAX));
    int wheel;

    p[0] = PACKET_ONE | (s->buttons & 7) | (dx < 0 ? PACKET_X_SIGN : 0) |
           (dy < 0 ? PACKET_Y_SIGN : 0);
    p[1] = (uint8_t)dx;
    p[2] = (uint8_t)dy;
    s->told = s->buttons;
    if (s->id == ID_PLAIN) {
        s->wheel = 0;
        return 3;
    }
    wheel = take_count(&s->wheel, WHEEL_MAX);
    p[3] = (uint8_t)wheel;
    if (s->id == ID_FIVE_BUTTONS)
        p[3] = (uint8_t)((wheel & 0xf) | (s->buttons >> 3 & 3) << PACKET_BUTTONS_4_5);
    return 4;
}

static bool something_to_tell(const struct ps2_mouse_state *s)
{
    unsigned seen = s->id == ID_FIVE_BUTTONS ? BUTTONS : 7;

    return s->dx || s->dy || (s->wheel && s->id != ID_PLAIN) || (s->buttons ^ s->told) & seen;
}

/* In stream mode, one at a time. */
static void stream(struct ps2_mouse *m)
{
    struct ps2_mouse_state *s = &m->state;
    uint8_t p[PACKET_MAX];

    if (s->remote || s->wrap || !s->reporting || s->queues.datas || !something_to_tell(s))
        return;
    ps2_data(&m->plug, p, make_packet(s, p));
}

static bool streaming_behind(const struct ps2_mouse_state *s)
{
    return !s->remote && !s->wrap && s->reporting && s->queues.datas;
}

/* Who does not listen hears nothing, but will know the buttons. */
static bool take_pointer(void *opaque, const struct input_pointer *p)
{
    struct ps2_mouse *m = opaque;
    struct ps2_mouse_state *s = &m->state;

    if (streaming_behind(s))
        return false;
    s->buttons = p->buttons & BUTTONS;
    if (s->remote || s->reporting) {
        s->dx = add_count(s->dx, p->dx);
        s->dy = add_count(s->dy, -p->dy);
        if (s->id != ID_PLAIN)
            s->wheel = add_count(s->wheel, p->wheel);
    } else {
        s->told = s->buttons;
    }
    stream(m);
    return true;
}

static void room(struct ps2_device *plug)
{
    struct ps2_mouse *m = container_of(plug, struct ps2_mouse, plug);

    stream(m);
    if (m->input && !streaming_behind(&m->state))
        input_ready(m->input, &m->sink);
}

/* ---- commands ---------------------------------------------------------- */

static void forget_movement(struct ps2_mouse *m)
{
    m->state.dx = m->state.dy = m->state.wheel = 0;
    ps2_data_drop(&m->plug);
}

static void set_defaults(struct ps2_mouse *m)
{
    struct ps2_mouse_state *s = &m->state;

    forget_movement(m);
    s->resolution = RESOLUTION_DEFAULT;
    s->rate = RATE_DEFAULT;
    s->scaling_2 = s->remote = s->reporting = false;
}

static void set_rate(struct ps2_mouse_state *s, uint8_t rate)
{
    bool knocked = s->rates[0] == 200 && rate == 80;

    if (knocked && s->rates[1] == 100)
        s->id = ID_WHEEL;
    if (knocked && s->rates[1] == 200)
        s->id = ID_FIVE_BUTTONS;
    s->rates[0] = s->rates[1];
    s->rates[1] = s->rate = rate;
}

static void tell_status(struct ps2_mouse *m)
{
    const struct ps2_mouse_state *s = &m->state;
    unsigned status = (s->buttons & INPUT_LEFT ? STATUS_LEFT : 0) |
                      (s->buttons & INPUT_RIGHT ? STATUS_RIGHT : 0) |
                      (s->buttons & INPUT_MIDDLE ? STATUS_MIDDLE : 0) |
                      (s->scaling_2 ? STATUS_SCALING_2 : 0) |
                      (s->reporting ? STATUS_ENABLED : 0) | (s->remote ? STATUS_REMOTE : 0);

    ps2_answer(&m->plug, (uint8_t)status);
    ps2_answer(&m->plug, s->resolution);
    ps2_answer(&m->plug, s->rate);
}

static void tell_packet(struct ps2_mouse *m)
{
    uint8_t p[PACKET_MAX];
    unsigned n = make_packet(&m->state, p);

    for (unsigned i = 0; i < n; i++)
        ps2_answer(&m->plug, p[i]);
}

static void reset_by_command(struct ps2_mouse *m)
{
    set_defaults(m);
    m->state.id = ID_PLAIN;
    m->state.wrap = false;
    ps2_answer(&m->plug, PS2_ACK);
    ps2_answer(&m->plug, PS2_BAT_OK);
    ps2_answer(&m->plug, ID_PLAIN);
}

static void set_mode(struct ps2_mouse *m, uint8_t command)
{
    struct ps2_mouse_state *s = &m->state;

    switch (command) {
    case CMD_SCALING_1:
    case CMD_SCALING_2:
        s->scaling_2 = command == CMD_SCALING_2;
        return;
    case CMD_STREAM:
    case CMD_REMOTE:
        s->remote = command == CMD_REMOTE;
        break;
    case CMD_WRAP:
    case CMD_UNWRAP:
        s->wrap = command == CMD_WRAP;
        break;
    default:
        s->reporting = command == CMD_ENABLE;
        break;
    }
    forget_movement(m);
}

static void run_command(struct ps2_mouse *m, uint8_t command)
{
    struct ps2_mouse_state *s = &m->state;

    ps2_answer(&m->plug, PS2_ACK);
    switch (command) {
    case CMD_RESOLUTION:
    case CMD_RATE:
        s->command = command;
        break;
    case CMD_STATUS:
        tell_status(m);
        break;
    case CMD_READ:
        tell_packet(m);
        break;
    case CMD_IDENTIFY:
        ps2_answer(&m->plug, s->id);
        break;
    case CMD_DEFAULTS:
        set_defaults(m);
        break;
    default:
        set_mode(m, command);
        break;
    }
}

static void command_data(struct ps2_mouse *m, uint8_t command, uint8_t byte)
{
    if (command == CMD_RESOLUTION && byte > RESOLUTION_MAX) {
        ps2_answer(&m->plug, PS2_RESEND);
        m->state.command = command;
        return;
    }
    ps2_answer(&m->plug, PS2_ACK);
    if (command == CMD_RATE)
        set_rate(&m->state, byte);
    else
        m->state.resolution = byte;
}

static bool known(uint8_t c)
{
    return (c >= CMD_SCALING_1 && c <= CMD_UNWRAP) || c == CMD_WRAP || c == CMD_REMOTE ||
           (c >= CMD_IDENTIFY && c <= CMD_DEFAULTS);
}

/* A packet of which the host has only a part is not gone on with: the host that sends a
 * command expects its answer, and then a packet's first byte. */
static void mouse_write(struct ps2_device *plug, uint8_t byte)
{
    struct ps2_mouse *m = container_of(plug, struct ps2_mouse, plug);
    uint8_t waiting = m->state.command;

    ps2_data_drop(plug);
    m->state.command = 0;
    if (byte == CMD_RESET)
        reset_by_command(m);
    else if (m->state.wrap && byte != CMD_UNWRAP)
        ps2_answer(plug, byte);
    else if (waiting)
        command_data(m, waiting, byte);
    else if (byte == CMD_RESEND)
        ps2_resend(plug);
    else if (known(byte))
        run_command(m, byte);
    else
        ps2_answer(plug, PS2_RESEND);
}

/* ---- the device -------------------------------------------------------- */

static void mouse_reset(struct device *dev)
{
    struct ps2_mouse *m = to_mouse(dev);

    m->state = (struct ps2_mouse_state){0};
    set_defaults(m);
}

static void mouse_resume(struct device *dev)
{
    struct ps2_mouse *m = to_mouse(dev);

    ps2_queues_check(&m->state.queues);
    if (m->plug.ready)
        m->plug.ready(m->plug.opaque);
}

static const struct state_field fields[] = {
    STATE_STRUCT(struct ps2_mouse_state, queues, &ps2_queues_desc),
    STATE_U8(struct ps2_mouse_state, command),
    STATE_U8(struct ps2_mouse_state, id),
    STATE_U8(struct ps2_mouse_state, resolution),
    STATE_U8(struct ps2_mouse_state, rate),
    STATE_U8_ARRAY(struct ps2_mouse_state, rates),
    STATE_BOOL(struct ps2_mouse_state, remote),
    STATE_BOOL(struct ps2_mouse_state, wrap),
    STATE_BOOL(struct ps2_mouse_state, reporting),
    STATE_BOOL(struct ps2_mouse_state, scaling_2),
    STATE_U8(struct ps2_mouse_state, buttons),
    STATE_U8(struct ps2_mouse_state, told),
    STATE_U32(struct ps2_mouse_state, dx),
    STATE_U32(struct ps2_mouse_state, dy),
    STATE_U32(struct ps2_mouse_state, wheel),
    STATE_END
};
static const struct state_desc desc = {"ps2_mouse", 1, fields};

static const struct state_desc *mouse_describe(struct device *dev, void **state)
{
    *state = &to_mouse(dev)->state;
    return &desc;
}

static void mouse_destroy(struct device *dev)
{
    struct ps2_mouse *m = to_mouse(dev);

    if (m->input)
        input_remove(m->input, &m->sink);
    free(m);
}

static const struct device_ops mouse_ops = {
    .type = "ps2_mouse",
    .reset = mouse_reset,
    .resume = mouse_resume,
    .describe = mouse_describe,
    .destroy = mouse_destroy,
};

struct device *ps2_mouse_new(const struct device_env *env, const struct ps2_mouse_config *cfg,
                             struct error **err)
{
    struct ps2_mouse *m = calloc(1, sizeof *m);

    if (!m) {
        error_set(err, ENOMEM, "no memory for the mouse");
        return NULL;
    }
    device_init(&m->dev, &mouse_ops, "mouse");
    m->plug = (struct ps2_device){.queues = &m->state.queues, .write = mouse_write, .room = room};
    m->input = cfg->input;
    m->sink = (struct input_sink){.pointer = take_pointer, .opaque = m};
    if (m->input)
        input_add(m->input, &m->sink);
    mouse_reset(&m->dev);
    return &m->dev;
}

struct ps2_device *ps2_mouse_plug(struct device *dev)
{
    return &to_mouse(dev)->plug;
}
