/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042.c - PC/AT keyboard controller with no keyboard and no second channel.
 *
 * Follows the IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller". Every command that has an answer is answered at
 * once, so that probing does not run into its time-outs: a byte sent to the
 * missing keyboard gives the controller's own "resend" with the time-out bit,
 * a byte sent to the auxiliary port the same, and the loop test of a second
 * channel gives a wrong byte, which is how one-channel controllers are told.
 */
#include "device/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"

enum { PORT_DATA = 0x60, PORT_COMMAND = 0x64, RAM_BYTES = 32 };
enum { STATUS_OBF = 0x01, STATUS_SYS = 0x04, STATUS_COMMAND = 0x08, STATUS_UNLOCKED = 0x10,
       STATUS_TIMEOUT = 0x40 };
enum { CTR_KEYBOARD_INT = 0x01, CTR_SYS = 0x04, CTR_KEYBOARD_OFF = 0x10, CTR_AUX_OFF = 0x20,
       CTR_TRANSLATE = 0x40 };
enum { OUT_NOT_RESET = 0x01, OUT_A20 = 0x02 };
enum {
    CMD_READ_RAM = 0x20, CMD_WRITE_RAM = 0x60, CMD_AUX_DISABLE = 0xa7, CMD_AUX_ENABLE = 0xa8,
    CMD_AUX_TEST = 0xa9, CMD_SELF_TEST = 0xaa, CMD_KEYBOARD_TEST = 0xab,
    CMD_KEYBOARD_DISABLE = 0xad, CMD_KEYBOARD_ENABLE = 0xae, CMD_READ_INPUT = 0xc0,
    CMD_READ_OUTPUT = 0xd0, CMD_WRITE_OUTPUT = 0xd1, CMD_WRITE_KEYBOARD_BUFFER = 0xd2,
    CMD_WRITE_AUX_BUFFER = 0xd3, CMD_WRITE_AUX = 0xd4, CMD_A20_OFF = 0xdd, CMD_A20_ON = 0xdf,
    CMD_PULSE = 0xf0,
};
enum { REPLY_SELF_TEST = 0x55, REPLY_OK = 0x00, REPLY_CLOCK_LOW = 0x01, REPLY_RESEND = 0xfe,
       REPLY_INPUT_PORT = 0x80 /* keyboard not locked */ };

struct i8042_state {
    uint8_t ram[RAM_BYTES];      /* byte 0 is the command byte */
    uint8_t status, output_port, buffer;
    uint8_t command;             /* one that waits for its data byte; 0 = none */
};

struct i8042 {
    struct device dev;
    struct i8042_state state;
    struct irq_line irq;
    struct power_line power;
    struct log *log;
    struct bus_claims claims;
};

static struct i8042 *to_i8042(struct device *dev)
{
    return container_of(dev, struct i8042, dev);
}

static void update_irq(struct i8042 *kbc)
{
    const struct i8042_state *s = &kbc->state;

    irq_line_set(&kbc->irq, (s->status & STATUS_OBF) && (s->ram[0] & CTR_KEYBOARD_INT));
}

/* A new byte replaces one that nobody fetched; the interrupt is an edge. */
static void reply(struct i8042 *kbc, uint8_t byte, uint8_t status)
{
    struct i8042_state *s = &kbc->state;

    s->status &= ~(STATUS_OBF | STATUS_TIMEOUT);
    update_irq(kbc);
    s->buffer = byte;
    s->status |= STATUS_OBF | status;
    update_irq(kbc);
}

static void request_reset(struct i8042 *kbc)
{
    if (kbc->power.request)
        kbc->power.request(kbc->power.opaque, POWER_RESET, 0);
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
    case CMD_AUX_DISABLE:
        s->ram[0] |= CTR_AUX_OFF;
        break;
    case CMD_AUX_ENABLE:         /* no second channel: stays off */
        break;
    case CMD_AUX_TEST:
        reply(kbc, REPLY_CLOCK_LOW, 0);
        break;
    case CMD_SELF_TEST:
        s->status |= STATUS_SYS;
        reply(kbc, REPLY_SELF_TEST, 0);
        break;
    case CMD_KEYBOARD_TEST:
        reply(kbc, REPLY_OK, 0);
        break;
    case CMD_KEYBOARD_DISABLE:
        s->ram[0] |= CTR_KEYBOARD_OFF;
        break;
    case CMD_KEYBOARD_ENABLE:
        s->ram[0] &= ~CTR_KEYBOARD_OFF;
        break;
    case CMD_READ_INPUT:
        reply(kbc, REPLY_INPUT_PORT, 0);
        break;
    case CMD_READ_OUTPUT:
        reply(kbc, s->output_port, 0);
        break;
    case CMD_A20_OFF:
        s->output_port &= ~OUT_A20;
        break;
    case CMD_A20_ON:
        s->output_port |= OUT_A20;
        break;
    case CMD_PULSE ... 0xff:     /* pulses the output bits that are 0 in the command */
        if (!(cmd & OUT_NOT_RESET))
            request_reset(kbc);
        break;
    default:
        break;
    }
}

static void data_write(struct i8042 *kbc, uint8_t value)
{
    struct i8042_state *s = &kbc->state;
    uint8_t cmd = s->command;

    s->status &= ~STATUS_COMMAND;
    s->command = 0;
    switch (cmd) {
    case CMD_WRITE_RAM ... CMD_WRITE_RAM + RAM_BYTES - 1:
        s->ram[cmd - CMD_WRITE_RAM] = cmd == CMD_WRITE_RAM ? value | CTR_AUX_OFF : value;
        if (cmd == CMD_WRITE_RAM)
            s->status = (s->status & ~STATUS_SYS) | (value & CTR_SYS);
        update_irq(kbc);
        break;
    case CMD_WRITE_OUTPUT:
        s->output_port = value | OUT_NOT_RESET;
        if (!(value & OUT_NOT_RESET))
            request_reset(kbc);
        break;
    case CMD_WRITE_KEYBOARD_BUFFER:
        reply(kbc, value, 0);
        break;
    case CMD_WRITE_AUX_BUFFER:   /* not what was sent, and not from the second channel */
        reply(kbc, (uint8_t)~value, 0);
        break;
    default:                     /* to the keyboard, or behind 0xD4 to the mouse */
        reply(kbc, REPLY_RESEND, STATUS_TIMEOUT);
        break;
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *kbc = opaque;

    kbc->state.status &= ~(STATUS_OBF | STATUS_TIMEOUT);
    update_irq(kbc);
    return kbc->state.buffer;
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

/* ---- the device ---- */

/* As firmware leaves it: tested, keyboard enabled, A20 on. */
static void i8042_reset(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);

    kbc->state = (struct i8042_state){
        .ram = {CTR_KEYBOARD_INT | CTR_SYS | CTR_AUX_OFF | CTR_TRANSLATE},
        .status = STATUS_SYS | STATUS_UNLOCKED,
        .output_port = OUT_NOT_RESET | OUT_A20,
    };
    update_irq(kbc);
}

static void i8042_resume(struct device *dev)
{
    update_irq(to_i8042(dev));
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct i8042_state, ram),
    STATE_U8(struct i8042_state, status),
    STATE_U8(struct i8042_state, output_port),
    STATE_U8(struct i8042_state, buffer),
    STATE_U8(struct i8042_state, command),
    STATE_END
};
static const struct state_desc desc = {"i8042", 1, fields};

static const struct state_desc *i8042_describe(struct device *dev, void **state)
{
    *state = &to_i8042(dev)->state;
    return &desc;
}

static void i8042_destroy(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);

    bus_claims_release(&kbc->claims);
    free(kbc);
}

static const struct device_ops i8042_ops = {
    .type = "i8042",
    .reset = i8042_reset,
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
    kbc->irq = cfg->irq;
    kbc->power = env->power;
    kbc->log = env->log;
    if (bus_claims_add(&kbc->claims, env->bus, BUS_PIO, regions, ARRAY_SIZE(regions), kbc, err)) {
        free(kbc);
        return NULL;
    }
    i8042_reset(&kbc->dev);
    return &kbc->dev;
}
