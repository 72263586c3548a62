/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uart16550.h - the 16550A serial port.
 *
 * Output goes to `write` in the moment the guest writes it; `write` takes
 * everything and never blocks. Input is offered with uart16550_receive(); the
 * caller asks uart16550_room() first and keeps what does not fit: all of it while
 * no driver listens, since one that starts clears the receiver. `ready` says
 * that the guest listens and has taken everything.
 * VM lock held in every function and callback.
 */
#ifndef RING3_DEVICE_UART16550_H
#define RING3_DEVICE_UART16550_H

#include "bus/device.h"

struct uart16550_config {
    const char *name;            /* "com1" */
    uint16_t port;               /* base; 8 ports */
    struct irq_line irq;
    void (*write)(void *opaque, const uint8_t *data, size_t len);   /* may be NULL */
    void (*ready)(void *opaque);                                    /* may be NULL */
    void *opaque;
};

struct device *uart16550_new(const struct device_env *env, const struct uart16550_config *cfg,
                             struct error **err);
/* How many bytes the receiver takes now without an overrun or being thrown away. */
size_t uart16550_room(struct device *dev);
/* More than there is room for is an overrun, as on the wire. */
void uart16550_receive(struct device *dev, const uint8_t *data, size_t len);
void uart16550_break(struct device *dev);        /* the line was held low */

#endif
