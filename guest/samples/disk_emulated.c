/* SPDX-License-Identifier: MIT-0 */
/*
 * disk_emulated.c - the disk as a PC has it (machine teach): what the drive says of
 * itself, a sector out, the same sector back, a step out of order.
 */
#include "ata.h"

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    u16 identity[256], out[256], back[256];
    u32 wrong = 0;

    if (!ata_command(ATA_IDENTIFY, 0, 0)) {
        print("no drive\n");
        return 1;
    }
    ata_in(identity);
    print_number(identity[60] | (u32)identity[61] << 16);
    print(" sectors\n");

    for (u32 i = 0; i < 256; i++)
        out[i] = (u16)(i * 257);
    wrong |= !ata_command(ATA_WRITE, 7, 1);
    ata_out(out);
    wrong |= ata_wait() & ATA_ERR;
    wrong |= !ata_command(ATA_READ, 7, 1);
    ata_in(back);
    for (u32 i = 0; i < 256; i++)
        wrong |= back[i] != out[i];
    print(wrong ? "wrong\n" : "the same came back\n");

    if (ata_command(ATA_READ, 0xfffffff, 1)) /* far behind the end */
        wrong = 1;
    print(inb(ATA_STATUS) & ATA_ERR ? "an error, as it should be\n" : "no error\n");
    return (int)wrong;
}
