/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * irq_share.h - several devices on one level-triggered line.
 *
 * The output is high while any input is. A zeroed struct with `out` set is ready.
 * Inputs are never given back: a board has as many as it has devices. VM lock held.
 */
#ifndef RING3_BUS_IRQ_SHARE_H
#define RING3_BUS_IRQ_SHARE_H

#include "base/bug.h"
#include "bus/irq.h"

enum { IRQ_SHARE_INPUTS_MAX = 64 };

struct irq_share {
    struct irq_line out;
    uint64_t levels;             /* a bit per input */
    unsigned inputs;
};

static inline void irq_share_set(void *opaque, unsigned n, bool level)
{
    struct irq_share *s = opaque;

    s->levels = (s->levels & ~(1ull << n)) | (uint64_t)level << n;
    irq_line_set(&s->out, s->levels != 0);
}

static inline struct irq_line irq_share_input(struct irq_share *s)
{
    BUG_ON(s->inputs == IRQ_SHARE_INPUTS_MAX);
    return (struct irq_line){irq_share_set, s, s->inputs++};
}

#endif
