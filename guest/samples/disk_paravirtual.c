/* SPDX-License-Identifier: MIT-0 */
/*
 * disk_paravirtual.c - the disk by hypercall: a sector each, then a run of sectors with
 * one exit.
 */
#include "sample.h"

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    static u8 run[32 * 512];
    volatile struct ring3_hc_sector *one = hypercall_page();
    volatile struct ring3_hc_run *many = hypercall_page();
    u32 wrong = 0;

    for (u32 sector = 0; sector < 32; sector++) {
        one->sector = sector;
        for (u32 i = 0; i < 512; i++)
            one->data[i] = (u8)(sector + i);
        wrong |= hypercall(RING3_HC_DISK_WRITE);
    }
    many->sector = 0;
    many->count = 32;
    many->address = (u64)run;
    wrong |= hypercall(RING3_HC_DISK_READ_RUN);
    for (u32 i = 0; i < sizeof run; i++)
        wrong |= run[i] != (u8)(i / 512 + i % 512);
    wrong |= hypercall(RING3_HC_DISK_FLUSH);
    print(wrong ? "wrong\n" : "the same came back\n");
    return wrong ? 1 : 0;
}
