/* SPDX-License-Identifier: MIT-0 */
/*
 * vga_paravirtual.c - the same screen by hypercall: a character each, which gains nothing,
 * then the whole screen with one call.
 */
#include "sample.h"

static void put(u8 column, u8 row, char c, u8 attribute)
{
    volatile struct ring3_hc_cell *cell = hypercall_page();

    cell->character = (u8)c;
    cell->attribute = attribute;
    cell->column = column;
    cell->row = row;
    hypercall(RING3_HC_VGA_PUT);
}

static u64 exits(void)
{
    volatile struct ring3_hc_exits *e = hypercall_page();

    hypercall(RING3_HC_EXITS);
    return e->io_in + e->io_out;
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    volatile u16 *screen = hypercall_page();
    u64 before = exits(), used;

    for (u32 i = 0; i < 80 * 25; i++)
        screen[i] = (u16)(0x1f00 | ' ');
    for (u32 i = 0; i < 80 * 5; i++)
        screen[80 * 10 + i] = 0x2f41;
    hypercall(RING3_HC_VGA_SCREEN);
    used = exits() - before;

    for (u8 i = 0; i < 12; i++)
        put((u8)(30 + i), 12, "PARAVIRTUAL "[i], 0x4e);
    print_number(used);
    print(" exits\n");
    stay_if_asked(arguments);
    return 0;
}
