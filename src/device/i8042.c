/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042.c - PC/AT keyboard controller with its second channel.
 *
 * Follows the IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
 * Device Controller". There is one output buffer, filled from three sides: the
 * controller's own replies first, then what keyboard and mouse have to say, in turns.
 *
 * A byte from a device follows the one that was read not before BYTE_NS later, as on a
 * serial cable (a third of the real time, so that probing does not take long): programs
 * that read the data port twice, such as hooks in front of a BIOS handler, must find the
 * same byte. Answers to the guest come at once when the cable was idle.
 *
 * A byte sent to a channel where nothing is plugged in gives the controller's own "resend"
 * with the time-out bit; without a mouse the loop test of the second channel gives a wrong
 * byte, which is how one-channel controllers are told.
 */
#include "device/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"
#include "device/ps2.h"
#include "device/ps2_codes.h"

enum { PORT_DATA = 0x60, PORT_COMMAND = 0x64, RAM_BYTES = 32, BYTE_NS = 300000 };
enum { STATUS_OBF = 0x01, STATUS_SYS = 0x04, STATUS_COMMAND = 0x08, STATUS_UNLOCKED = 0x10,
       STATUS_AUX = 0x20, STATUS_TIMEOUT = 0x40 };
enum { CTR_KEYBOARD_INT = 0x01, CTR_AUX_INT = 0x02, CTR_SYS = 0x04, CTR_KEYBOARD_OFF = 0x10,
       CTR_AUX_OFF = 0x20, CTR_TRANSLATE = 0x40 };
enum { OUT_NOT_RESET = 0x01, OUT_A20 = 0x02, OUT_KEYBOARD_FULL = 0x10, OUT_AUX_FULL = 0x20 };
enum {
    CMD_READ_RAM = 0x20, CMD_WRITE_RAM = 0x60, CMD_PASSWORD_TEST = 0xa4, CMD_AUX_DISABLE = 0xa7,
    CMD_AUX_ENABLE = 0xa8, CMD_AUX_TEST = 0xa9, CMD_SELF_TEST = 0xaa, CMD_KEYBOARD_TEST = 0xab,
    CMD_KEYBOARD_DISABLE = 0xad, CMD_KEYBOARD_ENABLE = 0xae, CMD_READ_INPUT = 0xc0,
    CMD_READ_OUTPUT = 0xd0, CMD_WRITE_OUTPUT = 0xd1, CMD_WRITE_KEYBOARD_BUFFER = 0xd2,
    CMD_WRITE_AUX_BUFFER = 0xd3, CMD_WRITE_AUX = 0xd4, CMD_A20_OFF = 0xdd, CMD_A20_ON = 0xdf,
    CMD_TEST_INPUTS = 0xe0, CMD_PULSE = 0xf0,
};
enum { REPLY_SELF_TEST = 0x55, REPLY_OK = 0x00, REPLY_CLOCK_LOW = 0x01, REPLY_RESEND = 0xfe,
       REPLY_NO_PASSWORD = 0xf1, REPLY_INPUT_PORT = 0x80 /* keyboard not locked */,
       REPLY_TEST_INPUTS = 0x03 /* both clocks high */ };
enum { SCAN_BREAK = 0xf0, SET1_BREAK = 0x80 };

struct i8042_state {
    uint8_t ram[RAM_BYTES];      /* byte 0 is the command byte */
    uint8_t status, output_port, buffer;
    uint8_t command;             /* one that waits for its data byte; 0 = none */
    bool has_reply;              /* a reply of the controller's own waits for the buffer */
    uint8_t reply, reply_status;
    bool from_device;            /* the buffer is */
    bool breaking;               /* translation saw the first byte of a release */
    bool aux_next;               /* whose turn it is */
    uint64_t next_ns;            /* no byte from a device before that */
};

struct i8042 {
    struct device dev;
    struct i8042_state state;
    struct i8042_config config;
    struct power_line power;
    struct log *log;
    struct clock *clock;
    struct timer timer;
    struct bus_claims claims;
};

static struct i8042 *to_i8042(struct device *dev)
{
    return container_of(dev, struct i8042, dev);
}

/* ---- the output buffer ------------------------------------------------- */

static void update_irq(struct i8042 *kbc)
{
    const struct i8042_state *s = &kbc->state;
    bool full = s->status & STATUS_OBF, aux = s->status & STATUS_AUX;

    irq_line_set(&kbc->config.irq, full && !aux && (s->ram[0] & CTR_KEYBOARD_INT));
    irq_line_set(&kbc->config.aux_irq, full && aux && (s->ram[0] & CTR_AUX_INT));
}

static void put(struct i8042 *kbc, uint8_t byte, uint8_t status)
{
    struct i8042_state *s = &kbc->state;

    s->buffer = byte;
    s->status = (s->status & ~(STATUS_AUX | STATUS_TIMEOUT)) | STATUS_OBF | status;
    update_irq(kbc);
}

/* False: it was the first byte of two that become one. */
static bool translate(struct i8042_state *s, uint8_t *byte)
{
    if (!(s->ram[0] & CTR_TRANSLATE))
        return true;
    if (*byte == SCAN_BREAK) {
        s->breaking = true;
        return false;
    }
    *byte = ps2_translate(*byte) | (s->breaking ? SET1_BREAK : 0);
    s->breaking = false;
    return true;
}

static bool can_send(const struct i8042 *kbc, const struct ps2_device *d)
{
    uint8_t off = d == kbc->config.mouse ? CTR_AUX_OFF : CTR_KEYBOARD_OFF;

    return d && !(kbc->state.ram[0] & off) && ps2_has(d);
}

static struct ps2_device *next_sender(const struct i8042 *kbc)
{
    struct ps2_device *keyboard = kbc->config.keyboard, *mouse = kbc->config.mouse;
    bool k = can_send(kbc, keyboard), m = can_send(kbc, mouse);

    if (k && m)
        return kbc->state.aux_next ? mouse : keyboard;
    return k ? keyboard : m ? mouse : NULL;
}

static void take_from(struct i8042 *kbc, struct ps2_device *d)
{
    struct i8042_state *s = &kbc->state;
    bool aux = d == kbc->config.mouse;
    uint8_t byte = ps2_take(d);

    s->aux_next = !aux;
    if (aux || translate(s, &byte)) {
        s->from_device = true;
        put(kbc, byte, aux ? STATUS_AUX : 0);
    }
    ps2_taken(d);
}

/* Fills an empty buffer. */
static void fill(struct i8042 *kbc)
{
    struct i8042_state *s = &kbc->state;
    struct ps2_device *d;

    if (s->has_reply && !(s->status & STATUS_OBF)) {
        s->has_reply = false;
        s->from_device = false;
        put(kbc, s->reply, s->reply_status);
    }
    while (!(s->status & STATUS_OBF) && (d = next_sender(kbc))) {
        if (clock_now_ns(kbc->clock) < s->next_ns) {
            timer_arm(&kbc->timer, s->next_ns);
            return;
        }
        take_from(kbc, d);
    }
}

static void fill_later(void *opaque)
{
    fill(opaque);
}

/* A newer reply takes the place of one that still waits: the guest gave up on it. */
static void reply(struct i8042 *kbc, uint8_t byte, uint8_t status)
{
    struct i8042_state *s = &kbc->state;

    s->has_reply = true;
    s->reply = byte;
    s->reply_status = status;
    fill(kbc);
}

/* ---- commands ---------------------------------------------------------- */

static void request_reset(struct i8042 *kbc)
{
    if (kbc->power.request)
        kbc->power.request(kbc->power.opaque, POWER_RESET, 0);
}

static void set_output_port(struct i8042 *kbc, uint8_t value)
{
    kbc->state.output_port = value | OUT_NOT_RESET;
    irq_line_set(&kbc->config.a20, value & OUT_A20);
    if (!(value & OUT_NOT_RESET))
        request_reset(kbc);
}

/* The command byte as it can be on this board. */
static void set_ctr(struct i8042 *kbc, uint8_t value)
{
    struct i8042_state *s = &kbc->state;

    if (!kbc->config.mouse)
        value |= CTR_AUX_OFF;
    if ((value ^ s->ram[0]) & CTR_TRANSLATE)
        s->breaking = false;
    s->ram[0] = value;
    s->status = (s->status & ~STATUS_SYS) | (value & CTR_SYS);
    update_irq(kbc);
    fill(kbc);
}

static uint8_t output_port(const struct i8042_state *s)
{
    uint8_t full = s->status & STATUS_AUX ? OUT_AUX_FULL : OUT_KEYBOARD_FULL;

    return s->output_port | (s->status & STATUS_OBF ? full : 0);
}

static void command_write(struct i8042 *kbc, uint8_t cmd)
{
    struct i8042_state *s = &kbc->state;

    log_trace(kbc->log, DEVICE, "i8042: command %#x", cmd);
    s->status |= STATUS_COMMAND;
    s->command = 0;
    switch (cmd) {
    case CMD_READ_RAM ... CMD_READ_RAM + RAM_BYTES - 1:
        reply(kbc, s->ram[cmd - CMD_READ_RAM], 0);
        break;
    case CMD_WRITE_RAM ... CMD_WRITE_RAM + RAM_BYTES - 1:
    case CMD_WRITE_OUTPUT ... CMD_WRITE_AUX:
        s->command = cmd;
        break;
    case CMD_PASSWORD_TEST:
        reply(kbc, REPLY_NO_PASSWORD, 0);
        break;
    case CMD_AUX_DISABLE:
        set_ctr(kbc, s->ram[0] | CTR_AUX_OFF);
        break;
    case CMD_AUX_ENABLE:
        set_ctr(kbc, s->ram[0] & ~CTR_AUX_OFF);
        break;
    case CMD_AUX_TEST:
        reply(kbc, kbc->config.mouse ? REPLY_OK : REPLY_CLOCK_LOW, 0);
        break;
    case CMD_SELF_TEST:
        s->status |= STATUS_SYS;
        reply(kbc, REPLY_SELF_TEST, 0);
        break;
    case CMD_KEYBOARD_TEST:
        reply(kbc, REPLY_OK, 0);
        break;
    case CMD_KEYBOARD_DISABLE:
        set_ctr(kbc, s->ram[0] | CTR_KEYBOARD_OFF);
        break;
    case CMD_KEYBOARD_ENABLE:
        set_ctr(kbc, s->ram[0] & ~CTR_KEYBOARD_OFF);
        break;
    case CMD_READ_INPUT:
        reply(kbc, REPLY_INPUT_PORT, 0);
        break;
    case CMD_READ_OUTPUT:
        reply(kbc, output_port(s), 0);
        break;
    case CMD_A20_OFF:
        set_output_port(kbc, s->output_port & ~OUT_A20);
        break;
    case CMD_A20_ON:
        set_output_port(kbc, s->output_port | OUT_A20);
        break;
    case CMD_TEST_INPUTS:
        reply(kbc, REPLY_TEST_INPUTS, 0);
        break;
    case CMD_PULSE ... 0xff:     /* pulses the output bits that are 0 in the command */
        if (!(cmd & OUT_NOT_RESET))
            request_reset(kbc);
        break;
    default:
        break;
    }
}

/* Sending to a device lets its clock go. */
static void send(struct i8042 *kbc, struct ps2_device *d, uint8_t byte, uint8_t off, uint8_t from)
{
    if (!d) {
        reply(kbc, REPLY_RESEND, STATUS_TIMEOUT | from);
        return;
    }
    kbc->state.ram[0] &= ~off;
    ps2_write(d, byte);
    fill(kbc);
}

static void data_write(struct i8042 *kbc, uint8_t value)
{
    struct i8042_state *s = &kbc->state;
    uint8_t cmd = s->command;

    s->status &= ~STATUS_COMMAND;
    s->command = 0;
    switch (cmd) {
    case CMD_WRITE_RAM:
        set_ctr(kbc, value);
        break;
    case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + RAM_BYTES - 1:
        s->ram[cmd - CMD_WRITE_RAM] = value;
        break;
    case CMD_WRITE_OUTPUT:
        set_output_port(kbc, value);
        break;
    case CMD_WRITE_KEYBOARD_BUFFER:
        reply(kbc, value, 0);
        break;
    case CMD_WRITE_AUX_BUFFER:   /* without a mouse: not what was sent, nor from there */
        if (kbc->config.mouse)
            reply(kbc, value, STATUS_AUX);
        else
            reply(kbc, (uint8_t)~value, 0);
        break;
    case CMD_WRITE_AUX:
        send(kbc, kbc->config.mouse, value, CTR_AUX_OFF, kbc->config.mouse ? STATUS_AUX : 0);
        break;
    default:
        send(kbc, kbc->config.keyboard, value, CTR_KEYBOARD_OFF, 0);
        break;
    }
}

/* ---- ports ------------------------------------------------------------- */

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *kbc = opaque;
    struct i8042_state *s = &kbc->state;
    uint8_t byte = s->buffer;

    if (!(s->status & STATUS_OBF))
        return byte;
    s->status &= ~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
    if (s->from_device)
        s->next_ns = clock_now_ns(kbc->clock) + BYTE_NS;
    update_irq(kbc);
    fill(kbc);
    return byte;
}

static void data_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    data_write(opaque, (uint8_t)value);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct i8042 *kbc = opaque;

    return kbc->state.status;
}

static void command_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    command_write(opaque, (uint8_t)value);
}

/* ---- the device -------------------------------------------------------- */

/* As firmware leaves it: tested, keyboard enabled, A20 on. */
static void i8042_reset(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);

    timer_disarm(&kbc->timer);
    kbc->state = (struct i8042_state){
        .ram = {CTR_KEYBOARD_INT | CTR_SYS | CTR_AUX_OFF | CTR_TRANSLATE},
        .status = STATUS_SYS | STATUS_UNLOCKED,
        .output_port = OUT_NOT_RESET | OUT_A20,
    };
    irq_line_set(&kbc->config.a20, true);
    update_irq(kbc);
}

static void i8042_quiesce(struct device *dev)
{
    timer_disarm(&to_i8042(dev)->timer);
}

static void i8042_resume(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);

    irq_line_set(&kbc->config.a20, kbc->state.output_port & OUT_A20);
    update_irq(kbc);
    fill(kbc);
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct i8042_state, ram),
    STATE_U8(struct i8042_state, status),
    STATE_U8(struct i8042_state, output_port),
    STATE_U8(struct i8042_state, buffer),
    STATE_U8(struct i8042_state, command),
    STATE_BOOL(struct i8042_state, has_reply),
    STATE_U8(struct i8042_state, reply),
    STATE_U8(struct i8042_state, reply_status),
    STATE_BOOL(struct i8042_state, from_device),
    STATE_BOOL(struct i8042_state, breaking),
    STATE_BOOL(struct i8042_state, aux_next),
    STATE_U64(struct i8042_state, next_ns),
    STATE_END
};
static const struct state_desc desc = {"i8042", 1, fields};

static const struct state_desc *i8042_describe(struct device *dev, void **state)
{
    *state = &to_i8042(dev)->state;
    return &desc;
}

static void plug_in(struct i8042 *kbc, struct ps2_device *d, bool in)
{
    if (!d)
        return;
    d->ready = in ? fill_later : NULL;
    d->opaque = kbc;
}

static void i8042_destroy(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);

    timer_disarm(&kbc->timer);
    plug_in(kbc, kbc->config.keyboard, false);
    plug_in(kbc, kbc->config.mouse, false);
    bus_claims_release(&kbc->claims);
    free(kbc);
}

static const struct device_ops i8042_ops = {
    .type = "i8042",
    .reset = i8042_reset,
    .quiesce = i8042_quiesce,
    .resume = i8042_resume,
    .describe = i8042_describe,
    .destroy = i8042_destroy,
};

static const struct bus_region regions[] = {
    {"i8042 data", PORT_DATA, 1, data_read, data_port_write, NULL, 1, 0},
    {"i8042 command", PORT_COMMAND, 1, status_read, command_port_write, NULL, 1, 0},
};

struct device *i8042_new(const struct device_env *env, const struct i8042_config *cfg,
                         struct error **err)
{
    struct i8042 *kbc = calloc(1, sizeof *kbc);

    if (!kbc) {
        error_set(err, ENOMEM, "no memory for the keyboard controller");
        return NULL;
    }
    device_init(&kbc->dev, &i8042_ops, "i8042");
    kbc->config = *cfg;
    kbc->power = env->power;
    kbc->log = env->log;
    kbc->clock = env->clock;
    timer_init(&kbc->timer, env->clock, fill_later, kbc);
    if (bus_claims_add(&kbc->claims, env->bus, BUS_PIO, regions, ARRAY_SIZE(regions), kbc, err)) {
        free(kbc);
        return NULL;
    }
    plug_in(kbc, cfg->keyboard, true);
    plug_in(kbc, cfg->mouse, true);
    i8042_reset(&kbc->dev);
    return &kbc->dev;
}
