/* SPDX-License-Identifier: MIT-0 */
/* ata.h - the first ATA disk by programmed I/O: ports 0x1F0 to 0x1F7, 28-bit addresses. */
#ifndef SAMPLE_ATA_H
#define SAMPLE_ATA_H

#include "sample.h"

enum { ATA_DATA = 0x1f0, ATA_ERROR, ATA_COUNT, ATA_LBA, ATA_DRIVE = 0x1f6, ATA_STATUS };
enum { ATA_READ = 0x20, ATA_WRITE = 0x30, ATA_FLUSH = 0xe7, ATA_IDENTIFY = 0xec };
enum { ATA_BSY = 0x80, ATA_DRQ = 8, ATA_ERR = 1 };

static inline u8 ata_wait(void)
{
    u8 status;

    while ((status = inb(ATA_STATUS)) & ATA_BSY)
        pause();
    return status;
}

/* Ready for data afterwards, if true. */
static inline int ata_command(u8 command, u32 sector, u8 count)
{
    outb(ATA_DRIVE, (u8)(0xe0 | sector >> 24));
    outb(ATA_COUNT, count);
    outb(ATA_LBA, (u8)sector);
    outb(ATA_LBA + 1, (u8)(sector >> 8));
    outb(ATA_LBA + 2, (u8)(sector >> 16));
    outb(ATA_STATUS, command);
    return (ata_wait() & (ATA_DRQ | ATA_ERR)) == ATA_DRQ;
}

static inline void ata_out(const u16 *data)
{
    for (u32 i = 0; i < 256; i++)
        outw(ATA_DATA, data[i]);
}

/* The same with one instruction, which is 256 exits all the same unless somebody sees
 * what is meant. */
static inline void ata_out_string(const u16 *data)
{
    u64 n = 256;

    __asm__ volatile("rep outsw" : "+S"(data), "+c"(n) : "d"((u16)ATA_DATA) : "memory");
}

static inline void ata_in(u16 *data)
{
    for (u32 i = 0; i < 256; i++)
        data[i] = inw(ATA_DATA);
}

#endif
