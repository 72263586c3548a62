/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ps2.c - the two queues of a PS/2 device. */
#include "device/ps2.h"

#include "base/bug.h"

static void tell(const struct ps2_device *d)
{
    if (d->ready)
        d->ready(d->opaque);
}

void ps2_answer(struct ps2_device *d, uint8_t byte)
{
    struct ps2_queues *q = d->queues;

    if (q->answers < PS2_ANSWERS)
        q->answer[(q->answer_first + q->answers++) % PS2_ANSWERS] = byte;
    tell(d);
}

unsigned ps2_data_room(const struct ps2_device *d)
{
    return PS2_DATA - d->queues->datas;
}

void ps2_data(struct ps2_device *d, const uint8_t *bytes, unsigned n)
{
    struct ps2_queues *q = d->queues;

    BUG_ON(n > ps2_data_room(d));
    for (unsigned i = 0; i < n; i++)
        q->data[(q->data_first + q->datas++) % PS2_DATA] = bytes[i];
    tell(d);
}

void ps2_data_drop(struct ps2_device *d)
{
    d->queues->datas = 0;
}

void ps2_resend(struct ps2_device *d)
{
    ps2_answer(d, d->queues->last);
}

void ps2_queues_check(struct ps2_queues *q)
{
    q->answer_first %= PS2_ANSWERS;
    q->answers = (uint8_t)min_u64(q->answers, PS2_ANSWERS);
    q->data_first %= PS2_DATA;
    q->datas = (uint8_t)min_u64(q->datas, PS2_DATA);
}

bool ps2_has(const struct ps2_device *d)
{
    return d->queues->answers || d->queues->datas;
}

uint8_t ps2_take(struct ps2_device *d)
{
    struct ps2_queues *q = d->queues;

    BUG_ON(!ps2_has(d));
    if (q->answers) {
        q->last = q->answer[q->answer_first];
        q->answer_first = (q->answer_first + 1) % PS2_ANSWERS;
        q->answers--;
    } else {
        q->last = q->data[q->data_first];
        q->data_first = (q->data_first + 1) % PS2_DATA;
        q->datas--;
    }
    return q->last;
}

void ps2_taken(struct ps2_device *d)
{
    if (d->room)
        d->room(d);
}

void ps2_write(struct ps2_device *d, uint8_t byte)
{
    d->write(d, byte);
}

static const struct state_field fields[] = {
    STATE_U8_ARRAY(struct ps2_queues, answer),
    STATE_U8_ARRAY(struct ps2_queues, data),
    STATE_U8(struct ps2_queues, answer_first),
    STATE_U8(struct ps2_queues, answers),
    STATE_U8(struct ps2_queues, data_first),
    STATE_U8(struct ps2_queues, datas),
    STATE_U8(struct ps2_queues, last),
    STATE_END
};
const struct state_desc ps2_queues_desc = {"ps2_queues", 1, fields};
