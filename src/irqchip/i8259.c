/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8259.c - two cascaded 8259A programmable interrupt controllers with ELCR.
 *
 * Follows Intel's 8259A data sheet (231468-003), with the differences of the
 * chip sets that absorbed it: the trigger mode is per input, in the edge/level
 * control registers 0x4D0/0x4D1 (ICW1.LTIM is ignored), 8080 mode and the
 * buffered modes are absent. An edge is latched until it is acknowledged, even
 * when the line falls before: devices here may pulse a line. Only the cascade
 * input follows the slave's output down again, as on the real pair, where a
 * request that vanishes between the two INTA cycles turns into IRQ 15 with
 * nothing in service.
 */
#include "irqchip/i8259.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"
#include "irqchip/state.h"

enum { MASTER, SLAVE, CASCADE_INPUT = 2, NO_PRIORITY = 8, SPURIOUS_INPUT = 7 };

enum { PORT_MASTER = 0x20, PORT_SLAVE = 0xa0, PORT_ELCR = 0x4d0 };

/* Inputs whose trigger mode may be chosen: not 0, 1, 2, 8 and 13. */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

enum { ICW1 = 0x10, ICW1_IC4 = 0x01, ICW1_SNGL = 0x02 };
enum { ICW4_AEOI = 0x02, ICW4_SFNM = 0x10 };
enum { OCW3 = 0x08, OCW3_RIS = 0x01, OCW3_RR = 0x02, OCW3_P = 0x04, OCW3_SMM = 0x20,
       OCW3_ESMM = 0x40 };
enum { INIT_READY, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

struct i8259 {
    struct device dev;
    struct i8259_pair_state state;
    struct irq_line intr;
    struct bus_claims claims;
    uint16_t elcr_reset;
};

static struct i8259 *to_i8259(const struct device *dev)
{
    return container_of(dev, struct i8259, dev);
}

/* How far down the order of priority the first of `inputs` is; 0 is highest. */
static unsigned highest_priority(const struct i8259_state *s, uint8_t inputs)
{
    unsigned p = 0;

    if (!inputs)
        return NO_PRIORITY;
    while (!(inputs & (1u << ((p + s->priority_add) & 7))))
        p++;
    return p;
}

/* The input that is to be served now, or -1. */
static int requested_input(const struct i8259_state *s, bool master)
{
    unsigned p = highest_priority(s, s->irr & ~s->imr);
    uint8_t in_service = s->isr;

    if (p == NO_PRIORITY)
        return -1;
    /* Special mask mode: a masked level in service holds nobody up. */
    if (s->special_mask)
        in_service &= ~s->imr;
    /* Special fully nested mode: the slave may ask again while in service. */
    if (s->special_fully_nested && master)
        in_service &= ~(1u << CASCADE_INPUT);
    if (p >= highest_priority(s, in_service))
        return -1;
    return (int)((p + s->priority_add) & 7);
}

static void input_set(struct i8259_state *s, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (s->elcr & bit)
        s->irr = level ? s->irr | bit : s->irr & ~bit;
    else if (level && !(s->last_lines & bit))
        s->irr |= bit;
    s->last_lines = level ? s->last_lines | bit : s->last_lines & ~bit;
}

/* Carries the slave's output to the master and the master's to the processor. */
static void update(struct i8259 *pic)
{
    struct i8259_state *master = &pic->state.chip[MASTER];
    bool slave_int = requested_input(&pic->state.chip[SLAVE], false) >= 0;

    input_set(master, CASCADE_INPUT, slave_int);
    if (!slave_int)
        master->irr &= ~(1u << CASCADE_INPUT);
    irq_line_set(&pic->intr, requested_input(master, true) >= 0);
}

static void acknowledge(struct i8259_state *s, unsigned input)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (!s->auto_eoi)
        s->isr |= bit;
    else if (s->rotate_on_auto_eoi)
        s->priority_add = (input + 1) & 7;
    if (!(s->elcr & bit))
        s->irr &= ~bit;
}

/* One chip's INTA: the input it puts on the bus. */
static unsigned chip_ack(struct i8259_state *s, bool master)
{
    int input = requested_input(s, master);

    if (input < 0)
        return SPURIOUS_INPUT;
    acknowledge(s, (unsigned)input);
    return (unsigned)input;
}

bool i8259_intr(const struct device *dev)
{
    return requested_input(&to_i8259(dev)->state.chip[MASTER], true) >= 0;
}

uint8_t i8259_ack(struct device *dev)
{
    struct i8259 *pic = to_i8259(dev);
    struct i8259_state *s = &pic->state.chip[MASTER];
    unsigned input = chip_ack(s, true);

    if (input == CASCADE_INPUT) {
        s = &pic->state.chip[SLAVE];
        input = chip_ack(s, false);
        /* The slave may have more: its output falls and rises between. */
        pic->state.chip[MASTER].last_lines &= ~(1u << CASCADE_INPUT);
    }
    update(pic);
    return (uint8_t)(s->irq_base + input);
}

static void line_set(void *opaque, unsigned n, bool level)
{
    struct i8259 *pic = opaque;

    if (n == CASCADE_INPUT)
        return;
    input_set(&pic->state.chip[n >> 3], n & 7, level);
    update(pic);
}

struct irq_line i8259_line(struct device *dev, unsigned n)
{
    if (n > 15)
        return (struct irq_line){0};
    return (struct irq_line){line_set, to_i8259(dev), n};
}

/* ICW1 clears the mask, the latched edges and all modes; an input has to rise
 * again to be seen (data sheet, "Initialization Command Words"). */
static void write_icw1(struct i8259_state *s, uint8_t value)
{
    s->irr &= s->elcr;
    s->imr = s->isr = 0;
    s->priority_add = 0;
    s->special_mask = s->read_isr = s->poll = false;
    s->auto_eoi = s->rotate_on_auto_eoi = s->special_fully_nested = false;
    s->init4 = value & ICW1_IC4;
    s->single = value & ICW1_SNGL;
    s->init_state = INIT_ICW2;
}

static void end_of_interrupt(struct i8259_state *s, bool specific, bool rotate, unsigned level)
{
    if (!specific) {
        /* In special mask mode a masked level is not ended this way. */
        unsigned p = highest_priority(s, s->special_mask ? s->isr & ~s->imr : s->isr);
        if (p == NO_PRIORITY)
            return;
        level = (p + s->priority_add) & 7;
    }
    s->isr &= ~(1u << level);
    if (rotate)
        s->priority_add = (level + 1) & 7;
}

static void write_ocw2(struct i8259_state *s, uint8_t value)
{
    unsigned level = value & 7;

    switch (value >> 5) {      /* R, SL, EOI */
    case 0:
    case 4:
        s->rotate_on_auto_eoi = value >> 7;
        break;
    case 1:
    case 5:
        end_of_interrupt(s, false, value >> 7, level);
        break;
    case 3:
    case 7:
        end_of_interrupt(s, true, value >> 7, level);
        break;
    case 6:
        s->priority_add = (level + 1) & 7;
        break;
    default:                   /* 2: no operation */
        break;
    }
}

static void write_ocw3(struct i8259_state *s, uint8_t value)
{
    if (value & OCW3_P)
        s->poll = true;
    if (value & OCW3_RR)
        s->read_isr = value & OCW3_RIS;
    if (value & OCW3_ESMM)
        s->special_mask = value & OCW3_SMM;
}

static void write_a1(struct i8259_state *s, uint8_t value)
{
    switch (s->init_state) {
    case INIT_READY:           /* OCW1 */
        s->imr = value;
        break;
    case INIT_ICW2:
        s->irq_base = value & 0xf8;
        s->init_state = !s->single ? INIT_ICW3 : s->init4 ? INIT_ICW4 : INIT_READY;
        break;
    case INIT_ICW3:            /* the wiring is what it is */
        s->init_state = s->init4 ? INIT_ICW4 : INIT_READY;
        break;
    default:
        s->special_fully_nested = value & ICW4_SFNM;
        s->auto_eoi = value & ICW4_AEOI;
        s->init_state = INIT_READY;
        break;
    }
}

static void chip_write(struct i8259 *pic, unsigned chip, uint64_t offset, uint8_t value)
{
    struct i8259_state *s = &pic->state.chip[chip];

    if (offset)
        write_a1(s, value);
    else if (value & ICW1)
        write_icw1(s, value);
    else if (value & OCW3)
        write_ocw3(s, value);
    else
        write_ocw2(s, value);
    update(pic);
}

static uint8_t chip_read(struct i8259 *pic, unsigned chip, uint64_t offset)
{
    struct i8259_state *s = &pic->state.chip[chip];

    if (s->poll) {
        /* The read is the INTA: bit 7 says whether there was a request. */
        bool asked = requested_input(s, chip == MASTER) >= 0;
        uint8_t value = asked ? (uint8_t)(0x80 | chip_ack(s, chip == MASTER)) : 0;
        s->poll = false;
        if (chip == SLAVE)
            pic->state.chip[MASTER].last_lines &= ~(1u << CASCADE_INPUT);
        update(pic);
        return value;
    }
    if (offset)
        return s->imr;
    return s->read_isr ? s->isr : s->irr;
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return chip_read(opaque, MASTER, offset);
}

static void master_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    chip_write(opaque, MASTER, offset, (uint8_t)value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return chip_read(opaque, SLAVE, offset);
}

static void slave_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    chip_write(opaque, SLAVE, offset, (uint8_t)value);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8259 *pic = opaque;

    return pic->state.chip[offset & 1].elcr;
}

static void elcr_set(struct i8259_state *s, uint8_t elcr)
{
    s->elcr = elcr;
    /* A level-triggered input asks exactly while its line is up. */
    s->irr = (s->irr & ~elcr) | (s->last_lines & elcr);
}

static void elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8259 *pic = opaque;

    elcr_set(&pic->state.chip[offset & 1], (uint8_t)value & elcr_writable[offset & 1]);
    update(pic);
}

static void i8259_reset(struct device *dev)
{
    struct i8259 *pic = to_i8259(dev);

    pic->state = (struct i8259_pair_state){0};
    elcr_set(&pic->state.chip[MASTER], pic->elcr_reset & elcr_writable[MASTER]);
    elcr_set(&pic->state.chip[SLAVE], (pic->elcr_reset >> 8) & elcr_writable[SLAVE]);
    irq_line_set(&pic->intr, false);
}

static void i8259_resume(struct device *dev)
{
    struct i8259 *pic = to_i8259(dev);

    irq_line_set(&pic->intr, i8259_intr(dev));
}

static const struct state_desc *i8259_describe(struct device *dev, void **state)
{
    *state = &to_i8259(dev)->state;
    return &i8259_pair_state_desc;
}

static void i8259_destroy(struct device *dev)
{
    struct i8259 *pic = to_i8259(dev);

    bus_claims_release(&pic->claims);
    free(pic);
}

static const struct device_ops i8259_ops = {
    .type = "i8259",
    .reset = i8259_reset,
    .resume = i8259_resume,
    .describe = i8259_describe,
    .destroy = i8259_destroy,
};

static const struct bus_region regions[] = {
    {"8259 master", PORT_MASTER, 2, master_read, master_write, NULL, 1, 0},
    {"8259 slave", PORT_SLAVE, 2, slave_read, slave_write, NULL, 1, 0},
    {"8259 elcr", PORT_ELCR, 2, elcr_read, elcr_write, NULL, 1, 0},
};

struct device *i8259_new(const struct device_env *env, const struct i8259_config *cfg,
                         struct error **err)
{
    struct i8259 *pic = calloc(1, sizeof *pic);

    if (!pic) {
        error_set(err, ENOMEM, "no memory for the interrupt controller");
        return NULL;
    }
    device_init(&pic->dev, &i8259_ops, "i8259");
    pic->intr = cfg->intr;
    pic->elcr_reset = cfg->elcr;
    if (bus_claims_add(&pic->claims, env->bus, BUS_PIO, regions, ARRAY_SIZE(regions), pic, err)) {
        free(pic);
        return NULL;
    }
    i8259_reset(&pic->dev);
    return &pic->dev;
}
