/* SPDX-License-Identifier: MIT-0 */
/* disk_simple.c - the simple machine's disk: sectors out, sectors back, one page. */
#include "sample.h"

static u32 command(const struct ring3_simple_device *d, u32 what)
{
    u32 status;

    outl(d->port, what);
    while ((status = inl(d->port)) == RING3_SIMPLE_DISK_BUSY)
        pause();
    return status;
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    const struct ring3_simple_device *d = device(table, RING3_SIMPLE_DISK);
    static u8 big[64 * 512];
    volatile struct ring3_simple_disk *page;
    u32 wrong = 0;

    if (!d) {
        print("no disk\n");
        return 1;
    }
    page = AT(struct ring3_simple_disk, d->memory);
    print_number(page->sectors);
    print(" sectors\n");

    page->sector = 5;                            /* in the page */
    page->count = 2;
    page->address = 0;
    for (u32 i = 0; i < 1024; i++)
        page->data[i] = (u8)(i * 3);
    wrong |= command(d, RING3_SIMPLE_DISK_WRITE);

    page->sector = 0;                            /* and from anywhere in memory */
    page->count = 64;
    page->address = (u64)big;
    wrong |= command(d, RING3_SIMPLE_DISK_READ);
    for (u32 i = 0; i < 1024; i++)
        wrong |= big[5 * 512 + i] != (u8)(i * 3);
    wrong |= command(d, RING3_SIMPLE_DISK_FLUSH);
    print(wrong ? "wrong\n" : "the same came back\n");

    page->sector = page->sectors;                /* one behind the last */
    page->count = 1;
    if (command(d, RING3_SIMPLE_DISK_READ) != RING3_HC_EINVAL)
        wrong = 1;
    return (int)wrong;
}
