/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uart16550.c - 16550A UART with FIFOs.
 *
 * Follows National's PC16550D data sheet (TL/C/8652), section numbers below are
 * its. The line is infinitely fast: a byte written to THR has left at once, so
 * THRE and TEMT are always set and the divisor changes nothing. Only the
 * receiver's time-out interrupt needs a length of time: four characters at
 * 115200 baud.
 *
 * As in QEMU, and unlike on an ISA card, MCR.OUT2 does not gate the interrupt:
 * guests exist that never set it. Modem inputs say that somebody is connected.
 *
 * A driver that starts up throws away whatever the receiver holds, often more
 * than once. So nothing is taken from the host before the guest listens: its
 * receive interrupt is enabled, or it has read LSR time and again without
 * writing anything. Drivers also read LSR before they transmit, a few times
 * while they start, which is why a single read tells nothing. And Linux enables
 * the interrupt shortly before the FIFOs, which clears them once more: without
 * FIFOs it counts only after a while.
 */
#include "device/uart16550.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"

enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { IER_ERBFI = 1, IER_ETBEI = 2, IER_ELSI = 4, IER_EDSSI = 8, IER_MASK = 0xf };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THRE = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 0xc,
       IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_RX_RESET = 2, FCR_TX_RESET = 4, FCR_MASK = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum { LSR_DR = 1, LSR_OE = 2, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40,
       LSR_FIFO_ERROR = 0x80, LSR_ERRORS = 0x1e /* OE, PE, FE, BI */ };
enum { MSR_TERI = 4, MSR_DELTAS = 0xf, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40,
       MSR_DCD = 0x80 };

enum { FIFO_BYTES = 16, PORTS = 8, TIMEOUT_NS = 4 * 10 * (1000000000 / 115200),
       POLLS_LISTENING = 32, SETTLE_NS = 10000000 };

struct uart16550_state {
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint8_t dll, dlm;
    uint8_t rx[FIFO_BYTES];          /* a ring */
    uint8_t rx_errors[FIFO_BYTES];   /* LSR bits of each byte */
    uint8_t rx_head, rx_count;
    uint8_t polls;                   /* reads of LSR in a row, up to POLLS_LISTENING */
    bool thre_pending;               /* THR became empty and IIR has not said so */
    bool timeout_pending;
    uint64_t timeout_ns;             /* clock time; 0 = not running */
    uint64_t settle_ns;              /* the same; then `settled` */
    bool settled;                    /* ERBFI without FIFOs is meant so */
};

struct uart16550 {
    struct device dev;
    struct uart16550_state state;
    struct uart16550_config config;
    struct clock *clock;
    struct timer timer, settle;
    struct log *log;
    struct bus_claims claims;
};

static struct uart16550 *to_uart(struct device *dev)
{
    return container_of(dev, struct uart16550, dev);
}

static bool fifos(const struct uart16550_state *s)
{
    return s->fcr & FCR_ENABLE;
}

static unsigned rx_capacity(const struct uart16550_state *s)
{
    return fifos(s) ? FIFO_BYTES : 1;
}

/* ---- interrupts ---- */

static unsigned rx_trigger(const struct uart16550_state *s)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    return fifos(s) ? level[s->fcr >> 6] : 1;
}

/* The highest-priority interrupt (8.6.4, table IV). */
static uint8_t interrupt_id(const struct uart16550_state *s)
{
    if ((s->ier & IER_ELSI) && (s->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((s->ier & IER_ERBFI) && s->rx_count >= rx_trigger(s))
        return IIR_RX;
    if ((s->ier & IER_ERBFI) && s->timeout_pending)
        return IIR_TIMEOUT;
    if ((s->ier & IER_ETBEI) && s->thre_pending)
        return IIR_THRE;
    if ((s->ier & IER_EDSSI) && (s->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct uart16550 *u)
{
    irq_line_set(&u->config.irq, interrupt_id(&u->state) != IIR_NONE);
}

/* Whenever the FIFO was touched and bytes below the trigger level remain, the
 * time-out starts anew (8.6.4 "FIFO interrupt mode operation"). */
static void timeout_restart(struct uart16550 *u)
{
    struct uart16550_state *s = &u->state;

    s->timeout_pending = false;
    if (fifos(s) && s->rx_count && s->rx_count < rx_trigger(s)) {
        s->timeout_ns = clock_now_ns(u->clock) + TIMEOUT_NS;
        timer_arm(&u->timer, s->timeout_ns);
    } else {
        s->timeout_ns = 0;
        timer_disarm(&u->timer);
    }
}

static void timeout(void *opaque)
{
    struct uart16550 *u = opaque;

    u->state.timeout_ns = 0;
    u->state.timeout_pending = true;
    update_irq(u);
}

/* ---- receiver ---- */

/* DR and the error bits of the byte that will be read next (8.6.5). Those are
 * shown once; reading LSR clears them. */
static void rx_show_head(struct uart16550_state *s)
{
    uint8_t errors = 0;

    s->lsr &= ~(LSR_DR | LSR_FIFO_ERROR);
    if (!s->rx_count)
        return;
    for (unsigned i = 0; i < s->rx_count; i++)
        errors |= s->rx_errors[(s->rx_head + i) % FIFO_BYTES];
    s->lsr |= LSR_DR | s->rx_errors[s->rx_head] | (errors && fifos(s) ? LSR_FIFO_ERROR : 0);
    s->rx_errors[s->rx_head] = 0;
}

static void rx_clear(struct uart16550 *u)
{
    struct uart16550_state *s = &u->state;

    s->rx_head = s->rx_count = 0;
    memset(s->rx, 0, sizeof s->rx);
    memset(s->rx_errors, 0, sizeof s->rx_errors);
    rx_show_head(s);
    timeout_restart(u);
}

static void rx_put(struct uart16550 *u, uint8_t byte, uint8_t errors)
{
    struct uart16550_state *s = &u->state;

    if (s->rx_count == rx_capacity(s)) {
        /* The FIFO keeps what it has, a lone RBR is overwritten (8.6.5 bit 1). */
        s->lsr |= LSR_OE;
        if (!fifos(s))
            s->rx[s->rx_head] = byte;
        return;
    }
    unsigned at = (s->rx_head + s->rx_count++) % FIFO_BYTES;
    s->rx[at] = byte;
    s->rx_errors[at] = errors;
    rx_show_head(s);
    timeout_restart(u);
}

static bool listening(const struct uart16550_state *s)
{
    /* In loopback the input pin is disconnected: what comes has to wait. */
    return !(s->mcr & MCR_LOOP) && (((s->ier & IER_ERBFI) && (fifos(s) || s->settled)) ||
                                    s->polls == POLLS_LISTENING);
}

/* Only once the receiver is empty: a FIFO filled by single bytes would cost
 * the host as much per byte as it costs per FIFO. */
static void ask_for_input(struct uart16550 *u)
{
    if (u->config.ready && !u->state.rx_count && listening(&u->state))
        u->config.ready(u->config.opaque);
}

static void settled(void *opaque)
{
    struct uart16550 *u = opaque;

    u->state.settle_ns = 0;
    u->state.settled = true;
    ask_for_input(u);
}

/* Interrupts, FIFOs or modem lines: a driver sets up or leaves, and whoever
 * polled before does so no more. */
static void driver_changes(struct uart16550 *u)
{
    struct uart16550_state *s = &u->state;

    s->polls = 0;
    if (!(s->ier & IER_ERBFI) || fifos(s)) {
        s->settled = false;
        s->settle_ns = 0;
        timer_disarm(&u->settle);
    } else if (!s->settled && !s->settle_ns) {
        s->settle_ns = clock_now_ns(u->clock) + SETTLE_NS;
        timer_arm(&u->settle, s->settle_ns);
    }
    ask_for_input(u);
}

static uint8_t rx_get(struct uart16550 *u)
{
    struct uart16550_state *s = &u->state;
    uint8_t byte = s->rx[s->rx_head];

    if (!s->rx_count)
        return byte;
    s->rx_head = (s->rx_head + 1) % FIFO_BYTES;
    s->rx_count--;
    rx_show_head(s);
    timeout_restart(u);
    update_irq(u);
    ask_for_input(u);
    return byte;
}

size_t uart16550_room(struct device *dev)
{
    const struct uart16550_state *s = &to_uart(dev)->state;

    return listening(s) ? rx_capacity(s) - s->rx_count : 0;
}

void uart16550_receive(struct device *dev, const uint8_t *data, size_t len)
{
    struct uart16550 *u = to_uart(dev);

    if (u->state.mcr & MCR_LOOP)
        return;
    for (size_t i = 0; i < len; i++)
        rx_put(u, data[i], 0);
    update_irq(u);
}

void uart16550_break(struct device *dev)
{
    struct uart16550 *u = to_uart(dev);

    if (u->state.mcr & MCR_LOOP)
        return;
    rx_put(u, 0, LSR_BI);
    update_irq(u);
}

/* ---- transmitter ---- */

static void thr_write(struct uart16550 *u, uint8_t byte)
{
    struct uart16550_state *s = &u->state;

    /* THR is full for no time at all, but the interrupt must fall in between
     * for an edge-triggered controller to see that it is empty again. */
    s->thre_pending = false;
    if (s->polls < POLLS_LISTENING)
        s->polls = 0;
    update_irq(u);
    if (s->mcr & MCR_LOOP)
        rx_put(u, byte, 0);
    else if (u->config.write)
        u->config.write(u->config.opaque, &byte, 1);
    s->thre_pending = true;
}

/* ---- modem control ---- */

/* Sets the four input bits of MSR and the deltas that follow (8.6.8). */
static void modem_inputs(struct uart16550_state *s, uint8_t inputs)
{
    uint8_t changed = (s->msr ^ inputs) & 0xf0;
    uint8_t deltas = changed >> 4;

    /* RI only counts when it goes away. */
    if (inputs & MSR_RI)
        deltas &= ~MSR_TERI;
    s->msr = inputs | (s->msr & MSR_DELTAS) | deltas;
}

/* In loopback the modem outputs are connected to the inputs (8.6.7 bit 4). */
static void mcr_write(struct uart16550 *u, uint8_t value)
{
    struct uart16550_state *s = &u->state;
    uint8_t inputs = MSR_CTS | MSR_DSR | MSR_DCD;

    s->mcr = value & MCR_MASK;
    if (s->mcr & MCR_LOOP)
        inputs = (value & MCR_RTS ? MSR_CTS : 0) | (value & MCR_DTR ? MSR_DSR : 0) |
                 (value & MCR_OUT1 ? MSR_RI : 0) | (value & MCR_OUT2 ? MSR_DCD : 0);
    modem_inputs(s, inputs);
}

/* ---- registers ---- */

static void fcr_write(struct uart16550 *u, uint8_t value)
{
    struct uart16550_state *s = &u->state;

    /* Switching the FIFOs clears them; the other bits need bit 0 (8.6.3). */
    if ((value ^ s->fcr) & FCR_ENABLE)
        value |= FCR_RX_RESET;
    else if (!(value & FCR_ENABLE))
        return;
    s->fcr = value & FCR_ENABLE ? value & FCR_MASK : 0;
    if (value & FCR_RX_RESET)
        rx_clear(u);
    else
        timeout_restart(u);
}

static void ier_write(struct uart16550_state *s, uint8_t value)
{
    /* THR is empty: enabling its interrupt raises it at once. */
    if ((value & IER_ETBEI) && !(s->ier & IER_ETBEI))
        s->thre_pending = true;
    s->ier = value & IER_MASK;
}

static uint8_t iir_read(struct uart16550 *u)
{
    struct uart16550_state *s = &u->state;
    uint8_t id = interrupt_id(s);

    if (id == IIR_THRE) {
        s->thre_pending = false;
        update_irq(u);
    }
    return id | (fifos(s) ? IIR_FIFOS : 0);
}

static uint8_t lsr_read(struct uart16550 *u)
{
    struct uart16550_state *s = &u->state;
    uint8_t value = s->lsr;

    s->lsr &= ~LSR_ERRORS;
    rx_show_head(s);
    update_irq(u);
    if (s->polls < POLLS_LISTENING && ++s->polls == POLLS_LISTENING)
        ask_for_input(u);
    return value;
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
    struct uart16550 *u = opaque;
    struct uart16550_state *s = &u->state;
    uint8_t value;

    switch (offset) {
    case RBR:
        return s->lcr & LCR_DLAB ? s->dll : rx_get(u);
    case IER:
        return s->lcr & LCR_DLAB ? s->dlm : s->ier;
    case IIR:
        return iir_read(u);
    case LCR:
        return s->lcr;
    case MCR:
        return s->mcr;
    case LSR:
        return lsr_read(u);
    case MSR:
        value = s->msr;
        s->msr &= ~MSR_DELTAS;
        update_irq(u);
        return value;
    default:
        return s->scr;
    }
}

static void uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t v)
{
    struct uart16550 *u = opaque;
    struct uart16550_state *s = &u->state;
    uint8_t value = (uint8_t)v;
    bool dlab = s->lcr & LCR_DLAB;

    log_trace(u->log, DEVICE, "%s: register %u <- %#x", u->dev.name, (unsigned)offset, value);
    switch (offset) {
    case THR:
        if (dlab)
            s->dll = value;
        else
            thr_write(u, value);
        break;
    case IER:
        if (dlab)
            s->dlm = value;
        else
            ier_write(s, value);
        driver_changes(u);
        break;
    case FCR:
        fcr_write(u, value);
        driver_changes(u);
        break;
    case LCR:
        s->lcr = value;
        break;
    case MCR:
        mcr_write(u, value);
        driver_changes(u);
        break;
    case SCR:
        s->scr = value;
        break;
    default:                     /* LSR and MSR: factory testing only */
        break;
    }
    update_irq(u);
}

/* ---- the device ---- */

static void uart_reset(struct device *dev)
{
    struct uart16550 *u = to_uart(dev);

    timer_disarm(&u->timer);
    timer_disarm(&u->settle);
    u->state = (struct uart16550_state){
        .lsr = LSR_THRE | LSR_TEMT,
        .msr = MSR_CTS | MSR_DSR | MSR_DCD,
        .dll = 12,               /* 9600 baud, as firmware leaves it */
    };
    update_irq(u);
}

static void uart_quiesce(struct device *dev)
{
    timer_disarm(&to_uart(dev)->timer);
    timer_disarm(&to_uart(dev)->settle);
}

static void uart_resume(struct device *dev)
{
    struct uart16550 *u = to_uart(dev);
    struct uart16550_state *s = &u->state;

    /* A damaged stream must not index outside the FIFO. */
    s->rx_head %= FIFO_BYTES;
    s->rx_count = (uint8_t)min_u64(s->rx_count, rx_capacity(s));
    s->ier &= IER_MASK;
    s->mcr &= MCR_MASK;
    s->polls = (uint8_t)min_u64(s->polls, POLLS_LISTENING);
    if (s->timeout_ns)
        timer_arm(&u->timer, s->timeout_ns);
    else
        timer_disarm(&u->timer);
    if (s->settle_ns)
        timer_arm(&u->settle, s->settle_ns);
    else
        timer_disarm(&u->settle);
    update_irq(u);
}

static const struct state_field fields[] = {
    STATE_U8(struct uart16550_state, ier),
    STATE_U8(struct uart16550_state, fcr),
    STATE_U8(struct uart16550_state, lcr),
    STATE_U8(struct uart16550_state, mcr),
    STATE_U8(struct uart16550_state, lsr),
    STATE_U8(struct uart16550_state, msr),
    STATE_U8(struct uart16550_state, scr),
    STATE_U8(struct uart16550_state, dll),
    STATE_U8(struct uart16550_state, dlm),
    STATE_U8_ARRAY(struct uart16550_state, rx),
    STATE_U8_ARRAY(struct uart16550_state, rx_errors),
    STATE_U8(struct uart16550_state, rx_head),
    STATE_U8(struct uart16550_state, rx_count),
    STATE_U8(struct uart16550_state, polls),
    STATE_BOOL(struct uart16550_state, thre_pending),
    STATE_BOOL(struct uart16550_state, timeout_pending),
    STATE_U64(struct uart16550_state, timeout_ns),
    STATE_U64(struct uart16550_state, settle_ns),
    STATE_BOOL(struct uart16550_state, settled),
    STATE_END
};
static const struct state_desc desc = {"uart16550", 1, fields};

static const struct state_desc *uart_describe(struct device *dev, void **state)
{
    *state = &to_uart(dev)->state;
    return &desc;
}

static void uart_destroy(struct device *dev)
{
    struct uart16550 *u = to_uart(dev);

    timer_disarm(&u->timer);
    timer_disarm(&u->settle);
    bus_claims_release(&u->claims);
    free(u);
}

static const struct device_ops uart_ops = {
    .type = "uart16550",
    .reset = uart_reset,
    .quiesce = uart_quiesce,
    .resume = uart_resume,
    .describe = uart_describe,
    .destroy = uart_destroy,
};

struct device *uart16550_new(const struct device_env *env, const struct uart16550_config *cfg,
                             struct error **err)
{
    const struct bus_region ports = {cfg->name, cfg->port, PORTS, uart_read, uart_write, NULL, 1,
                                     0};
    struct uart16550 *u = calloc(1, sizeof *u);

    if (!u) {
        error_set(err, ENOMEM, "no memory for the serial port %s", cfg->name);
        return NULL;
    }
    device_init(&u->dev, &uart_ops, cfg->name);
    u->config = *cfg;
    u->clock = env->clock;
    u->log = env->log;
    timer_init(&u->timer, env->clock, timeout, u);
    timer_init(&u->settle, env->clock, settled, u);
    if (bus_claims_add(&u->claims, env->bus, BUS_PIO, &ports, 1, u, err)) {
        free(u);
        return NULL;
    }
    uart_reset(&u->dev);
    return &u->dev;
}
