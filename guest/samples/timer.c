/* SPDX-License-Identifier: MIT-0 */
/* timer.c - ten ticks of 10 ms by interrupt, one delay of 5 ms, the time of day. */
#include "interrupts.h"

enum { VECTOR = 0x31 };

static volatile u32 interrupts;

__attribute__((interrupt)) static void on_timer(struct interrupt_frame *frame)
{
    interrupts++;
    interrupt_done();
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    const struct ring3_simple_device *d = device(table, RING3_SIMPLE_TIMER);
    const struct ring3_simple_device *clock = device(table, RING3_SIMPLE_CLOCK);
    volatile struct ring3_simple_timer *timer = AT(struct ring3_simple_timer, d->memory);
    u32 ticks = 0;
    u64 start;

    set_gate(VECTOR, on_timer);
    route(d->irq, VECTOR);
    interrupts_on();

    timer->ns = 10 * 1000 * 1000;
    outl(d->port, RING3_SIMPLE_TIMER_PERIODIC);
    start = timer->now_ns;
    while (ticks < 10) {
        u32 seen = interrupts;

        ticks += inl(d->port);
        if (ticks < 10)
            wait_change(&interrupts, seen);
    }
    outl(d->port, RING3_SIMPLE_TIMER_STOP);
    /* A guest that was held up reads several at once, perhaps more than ten. */
    print(timer->now_ns - start >= 100 * 1000 * 1000 ? "ten ticks\n" : "ten ticks, too early\n");

    timer->ns = 5 * 1000 * 1000;
    outl(d->port, RING3_SIMPLE_TIMER_ONCE);
    start = timer->now_ns;
    while (!inl(d->port))
        wait_change(&interrupts, interrupts);
    outl(d->port, RING3_SIMPLE_TIMER_NOW);
    print(timer->now_ns - start >= 5 * 1000 * 1000 ? "a delay\n" : "too early\n");

    print(inl(clock->port) > 946684800 ? "a date\n" : "no date\n");
    return interrupts >= 2 ? 0 : 1;
}
