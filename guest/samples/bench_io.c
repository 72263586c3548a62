/* SPDX-License-Identifier: MIT-0 */
/*
 * bench_io.c - writes so many sectors in one of four ways, and tells what it took:
 *
 *     ring3 run --machine teach --kernel bench_io --disk IMAGE --append "ata 1000"
 *
 * ata      ATA PIO, a sector per command, a word per OUT
 * string   the same with REP OUTSW
 * call     a hypercall per sector
 * run      a hypercall per 1,024 sectors
 */
#include "ata.h"

enum { RUN = 1024 };

static u8 data[RUN * 512];

static u64 now(void)
{
    volatile struct ring3_hc_time *t = hypercall_page();

    hypercall(RING3_HC_TIME);
    return t->since_start_ns;
}

static u64 exits(void)
{
    volatile struct ring3_hc_exits *e = hypercall_page();

    hypercall(RING3_HC_EXITS);
    return e->io_in + e->io_out + e->mmio_read + e->mmio_write;
}

static u32 by_ata(u32 sectors, void (*out)(const u16 *data))
{
    u32 wrong = 0;

    for (u32 s = 0; s < sectors; s++) {
        wrong |= !ata_command(ATA_WRITE, s, 1);
        out((const u16 *)data);
        wrong |= ata_wait() & ATA_ERR;
    }
    ata_command(ATA_FLUSH, 0, 0);
    return wrong;
}

static u32 by_call(u32 sectors)
{
    volatile struct ring3_hc_sector *one = hypercall_page();
    u32 wrong = 0;

    for (u32 i = 0; i < 512; i++)
        one->data[i] = data[i];
    for (u32 s = 0; s < sectors; s++) {
        one->sector = s;
        wrong |= hypercall(RING3_HC_DISK_WRITE);
    }
    return wrong | hypercall(RING3_HC_DISK_FLUSH);
}

static u32 by_run(u32 sectors)
{
    volatile struct ring3_hc_run *many = hypercall_page();
    u32 wrong = 0;

    for (u32 s = 0; s < sectors; s += many->count) {
        many->sector = s;
        many->count = sectors - s < RUN ? sectors - s : RUN;
        many->address = (u64)data;
        wrong |= hypercall(RING3_HC_DISK_WRITE_RUN);
    }
    return wrong | hypercall(RING3_HC_DISK_FLUSH);
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    char way = arguments[0];
    u32 sectors = 0, wrong;
    u64 before, start;

    while (*arguments && *arguments != ' ')
        arguments++;
    for (arguments += *arguments == ' '; *arguments >= '0' && *arguments <= '9'; arguments++)
        sectors = sectors * 10 + (u32)(*arguments - '0');
    for (u32 i = 0; i < sizeof data; i++)
        data[i] = (u8)(i * 7 + i / 512);

    before = exits();
    start = now();
    wrong = way == 'a' ? by_ata(sectors, ata_out) : way == 's' ? by_ata(sectors, ata_out_string)
            : way == 'c' ? by_call(sectors) : by_run(sectors);
    print_number(now() - start);
    print(" ns ");
    print_number(exits() - before);
    print(" exits\n");
    return wrong ? 1 : 0;
}
