/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_ide.c - bus-master DMA: descriptors good, bad and absurd. */
#include "ata_fixture.h"

#include "base/byteorder.h"

enum { TABLE = 0x1000, TARGET = 0x8000, BM_COMMAND = BM, BM_STATUS = BM + 2, BM_TABLE = BM + 4 };
enum { START = 1, TO_MEMORY = 8, ACTIVE = 1, FAULT = 2, INTERRUPT = 4, LAST = 0x8000 };
enum { READ_DMA = 0xc8, WRITE_DMA = 0xca };

static void init(struct ata_bench *a)
{
    ata_bench_init(a);
    ata_put(a, 0, ATA_DISK, ata_image_file(a, "disk", DISK_SECTORS * 512), false);
}

static void describe(struct ata_bench *a, unsigned n, uint32_t base, uint16_t bytes, uint16_t flags)
{
    uint8_t raw[8];

    put_le32(raw, base);
    put_le16(raw + 4, bytes);
    put_le16(raw + 6, flags);
    assert_int_equal(memory_write(a->memory, gpa(TABLE + n * 8), raw, sizeof raw), 0);
}

static void start(struct ata_bench *a, uint32_t table, uint8_t direction)
{
    outb(&a->b, BM_STATUS, FAULT | INTERRUPT);
    bus_write(a->b.bus, BUS_PIO, BM_TABLE, 4, table);
    outb(&a->b, BM_COMMAND, direction);
    outb(&a->b, BM_COMMAND, direction | START);
    ata_wait(a);
}

static void stop(struct ata_bench *a)
{
    outb(&a->b, BM_COMMAND, 0);
}

static void expect_ram(struct ata_bench *a, uint32_t at, uint64_t from, size_t bytes)
{
    uint8_t buf[4096];

    assert_true(bytes <= sizeof buf);
    assert_int_equal(memory_read(a->memory, gpa(at), buf, bytes), 0);
    for (size_t i = 0; i < bytes; i++)
        if (buf[i] != ata_byte(from + i))
            fail_msg("byte %zu is %02x", i, buf[i]);
}

static void data_goes_where_the_descriptors_say(void **state)
{
    struct ata_bench a;
    uint8_t buf[1024];

    init(&a);
    describe(&a, 0, TARGET, 700, 0);                 /* sectors lie across descriptors */
    describe(&a, 1, 0x20000, 2, 0);
    describe(&a, 2, 0x30000, 1536 - 702, LAST);
    ata_command(&a, LBA, READ_DMA, 9, 3);
    assert_int_equal(ata_status(&a), READY | DRQ);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT);
    assert_true(a.b.line);
    assert_int_equal(ata_status(&a), READY);
    expect_ram(&a, TARGET, 9 * 512, 700);
    expect_ram(&a, 0x20000, 9 * 512 + 700, 2);
    expect_ram(&a, 0x30000, 9 * 512 + 702, 1536 - 702);
    stop(&a);
    describe(&a, 0, TARGET + 2, 1024, LAST);
    start(&a, TABLE, 0);                             /* before the drive's command */
    ata_command(&a, LBA, WRITE_DMA, 500, 2);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT);
    assert_int_equal(block_read(ata_image(a.channel[0], 0), 500 * 512, buf, 698), 0);
    for (unsigned i = 0; i < 698; i++)
        assert_int_equal(buf[i], ata_byte(9 * 512 + 2 + i));
    ata_bench_fini(&a);
}

/* A sector in pieces of two bytes: as many as can be handed out at once. */
static void tiny_descriptors_work(void **state)
{
    struct ata_bench a;

    init(&a);
    for (unsigned i = 0; i < 512; i++)
        describe(&a, i, TARGET + 2 * i, 2, i == 511 ? LAST : 0);
    ata_command(&a, LBA, READ_DMA, 1, 2);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT);
    expect_ram(&a, TARGET, 512, 1024);
    ata_bench_fini(&a);
}

static void tables_of_other_lengths(void **state)
{
    struct ata_bench a;

    init(&a);
    describe(&a, 0, TARGET, 4096, LAST);             /* longer: it stays active */
    ata_command(&a, LBA, READ_DMA, 1, 1);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT | ACTIVE);
    stop(&a);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT);
    ata_status(&a);

    describe(&a, 0, TARGET, 1000, LAST);             /* shorter: the drive waits, and goes on */
    ata_command(&a, LBA, READ_DMA, 1, 2);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), 0);
    assert_int_equal(ata_status(&a), READY | DRQ);
    expect_ram(&a, TARGET, 512, 512);
    stop(&a);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS) & INTERRUPT, INTERRUPT);
    assert_int_equal(ata_status(&a), READY);
    expect_ram(&a, TARGET, 1024, 512);

    stop(&a);
    describe(&a, 0, TARGET, 0, LAST);                /* 64 KiB */
    ata_command(&a, LBA, READ_DMA, 0, 128);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT);
    ata_bench_fini(&a);
}

/* What a descriptor names, and the table's place. */
static void what_is_no_ram_is_an_error(void **state)
{
    static const struct {
        uint32_t table, base;
        uint8_t command, direction;
    } bad[] = {
        {TABLE, RAM_BYTES, READ_DMA, TO_MEMORY},             /* nothing there */
        {TABLE, RAM_BYTES - 256, READ_DMA, TO_MEMORY},       /* over the end */
        {TABLE, 0xfffffffe, WRITE_DMA, 0},
        {TABLE, 0xf0000000, READ_DMA, TO_MEMORY},            /* a ROM */
        {TABLE, BM, WRITE_DMA, 0x40},                        /* RAM, not ports: fine */
        {0xfffffff8, TARGET, READ_DMA, TO_MEMORY},           /* the table is nowhere */
        {RAM_BYTES - 4, TARGET, READ_DMA, TO_MEMORY},
        {TABLE, TARGET, READ_DMA, 0},                        /* the wrong way */
        {TABLE, TARGET, WRITE_DMA, TO_MEMORY},
    };
    struct ata_bench a;

    init(&a);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        bool fine = bad[i].direction == 0x40;

        describe(&a, 0, bad[i].base, 512, LAST);
        ata_command(&a, LBA, bad[i].command, 3, 1);
        start(&a, bad[i].table, bad[i].direction & TO_MEMORY);
        assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT | (fine ? 0 : FAULT));
        assert_int_equal(ata_status(&a), fine ? READY : READY | ERR);
        assert_int_equal(inb(&a.b, ERROR), fine ? 0 : ABRT);
        stop(&a);
    }
    pci_config_write(pci_bus_function(pci_bus_of(a.host), 1), PCI_COMMAND, 2, PCI_COMMAND_IO);
    describe(&a, 0, TARGET, 512, LAST);
    ata_command(&a, LBA, READ_DMA, 3, 1);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), INTERRUPT | FAULT);
    ata_bench_fini(&a);
}

static void a_reset_ends_dma(void **state)
{
    struct ata_bench a;

    init(&a);
    describe(&a, 0, TARGET, 512, LAST);
    ata_command(&a, LBA, READ_DMA, 3, 1);
    outb(&a.b, CONTROL, 4);
    outb(&a.b, CONTROL, 0);
    start(&a, TABLE, TO_MEMORY);
    assert_int_equal(inb(&a.b, BM_STATUS), ACTIVE);
    assert_int_equal(ata_status(&a), READY);
    stop(&a);
    /* With the request on its way. */
    outb(&a.b, DEVICE, LBA);
    outb(&a.b, COUNT, 1);
    outb(&a.b, BM_COMMAND, TO_MEMORY);
    outb(&a.b, BM_COMMAND, TO_MEMORY | START);
    outb(&a.b, COMMAND, READ_DMA);
    outb(&a.b, CONTROL, 4);
    outb(&a.b, CONTROL, 0);
    assert_int_equal(ata_status(&a), READY);
    ata_bench_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_goes_where_the_descriptors_say),
        cmocka_unit_test(tiny_descriptors_work),
        cmocka_unit_test(tables_of_other_lengths),
        cmocka_unit_test(what_is_no_ram_is_an_error),
        cmocka_unit_test(a_reset_ends_dma),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
