/* SPDX-License-Identifier: MIT-0 */
/*
 * keyboard.c - shows what is typed, until Escape: on the simple machine's text screen,
 * with an interrupt per key.
 */
#include "interrupts.h"

enum { COLUMNS = 40, ROWS = 12, VECTOR = 0x30 };

static volatile u32 interrupts;

__attribute__((interrupt)) static void on_key(struct interrupt_frame *frame)
{
    interrupts++;
    interrupt_done();
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    const struct ring3_simple_device *keyboard = device(table, RING3_SIMPLE_KEYBOARD);
    const struct ring3_simple_device *video = device(table, RING3_SIMPLE_VIDEO);
    volatile u8 *cell = AT(u8, video->memory);
    u32 at = 0;

    outl(video->port, RING3_SIMPLE_TEXT(COLUMNS, ROWS));
    set_gate(VECTOR, on_key);
    route(keyboard->irq, VECTOR);
    interrupts_on();
    print("type\n");
    for (;;) {
        u32 seen = interrupts, key;

        while ((key = inl(keyboard->port))) {
            if (key == RING3_SIMPLE_KEY_ESCAPE) {
                print_number(interrupts);
                print(" interrupts\n");
                return 0;
            }
            if (key == RING3_SIMPLE_KEY_ENTER)
                at = (at / COLUMNS + 1) * COLUMNS;
            else if (key < 0x80)
                cell[at++] = (u8)key;
            at %= COLUMNS * ROWS;
        }
        wait_change(&interrupts, seen);
    }
}
