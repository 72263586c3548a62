/* SPDX-License-Identifier: MIT-0 */
/*
 * vga_emulated.c - fills the text screen by writing to 0xB8000 (machine teach), and tells
 * how many exits that took: one per write.
 */
#include "sample.h"

static u64 exits(void)
{
    volatile struct ring3_hc_exits *e = hypercall_page();

    hypercall(RING3_HC_EXITS);
    return e->mmio_write;
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    u64 before = exits();

    for (u32 i = 0; i < 80 * 25; i++)            /* a word each: character and attribute */
        AT(u16, 0xb8000)[i] = (u16)(0x1f00 | ' ');
    for (u32 i = 0; i < 40 * 5; i++)             /* four cells at once */
        AT(u64, 0xb8000 + 160 * 10)[i / 2] = 0x2f412f412f412f41;
    for (u32 i = 0; i < 9; i++) {
        AT(u8, 0xb8000 + 160 * 12 + 60)[2 * i] = (u8)" EMULATED"[i];
        AT(u8, 0xb8000 + 160 * 12 + 60)[2 * i + 1] = 0x4e;
    }
    print_number(exits() - before);
    print(" exits\n");
    stay_if_asked(arguments);
    return AT(u16, 0xb8000 + 160 * 12 + 62)[0] == (0x4e00 | 'E') ? 0 : 1;
}
