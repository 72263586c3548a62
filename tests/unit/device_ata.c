/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_ata.c - hard disks by PIO: data, addresses, order of steps, errors. */
#include "ata_fixture.h"

static void init(struct ata_bench *a)
{
    ata_bench_init(a);
    ata_put(a, 0, ATA_DISK, ata_image_file(a, "disk", DISK_SECTORS * 512), false);
}

static void expect_data(const uint8_t *buf, uint64_t from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (buf[i] != ata_byte(from + i))
            fail_msg("byte %zu is %02x", i, buf[i]);
}

static void power_on_shows_what_is_there(void **state)
{
    struct ata_bench a;

    init(&a);
    assert_int_equal(inb(&a.b, STATUS), READY);
    assert_int_equal(inb(&a.b, COUNT), 1);
    assert_int_equal(inb(&a.b, MID), 0);
    outb(&a.b, DEVICE, DRIVE1);
    assert_int_equal(inb(&a.b, STATUS), 0);
    outb(&a.b, COMMAND, 0xec);               /* nobody hears it */
    assert_int_equal(inb(&a.b, STATUS), 0);
    assert_int_equal(inb(&a.b, 0x177), 0x7f);        /* an empty channel */
    ata_bench_fini(&a);
}

static void identify_tells_size_and_modes(void **state)
{
    struct ata_bench a;
    uint16_t w[256];
    uint8_t sum = 0;

    init(&a);
    ata_command(&a, 0, 0xec, 0, 0);
    assert_int_equal(ata_status(&a), READY | DRQ);
    ata_in(&a, w, sizeof w);
    assert_int_equal(w[0], 0x40);
    assert_int_equal(w[60] | w[61] << 16, DISK_SECTORS);
    assert_int_equal(w[100], DISK_SECTORS);
    assert_int_equal(w[83] & 0xc400, 0x4400);
    assert_int_equal(w[49] & 0x300, 0x300);
    for (unsigned i = 0; i < 512; i++)
        sum += ((uint8_t *)w)[i];
    assert_int_equal(sum, 0);
    assert_int_equal(ata_status(&a), READY);
    ata_bench_fini(&a);
}

static void reads_and_writes_what_is_in_the_file(void **state)
{
    static uint8_t buf[256 * 512];
    struct ata_bench a;

    init(&a);
    ata_command(&a, LBA, 0x20, 5, 3);
    ata_in(&a, buf, 3 * 512);
    expect_data(buf, 5 * 512, 3 * 512);
    ata_command(&a, LBA, 0x20, 100, 0);              /* 256 sectors: more than the buffer */
    ata_in(&a, buf, 256 * 512);
    expect_data(buf, 100 * 512, 256 * 512);
    assert_int_equal(ata_status(&a), READY);

    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)(i * 3 + i / 512);
    ata_command(&a, LBA, 0x30, 200, 0);
    ata_out(&a, buf, sizeof buf);
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, LBA, 0xe7, 0, 0);
    assert_int_equal(ata_status(&a), READY);
    memset(buf, 0, sizeof buf);
    assert_int_equal(block_read(ata_image(a.channel[0], 0), 200 * 512, buf, sizeof buf), 0);
    for (unsigned i = 0; i < sizeof buf; i++)
        assert_int_equal(buf[i], (uint8_t)(i * 3 + i / 512));
    ata_bench_fini(&a);
}

static void addresses_of_all_kinds_agree(void **state)
{
    struct ata_bench a;
    uint8_t buf[512];

    init(&a);
    /* 16 heads of 63 sectors: cylinder 0, head 3, sector 12 is 200. */
    ata_command(&a, 3, 0x20, 12, 1);
    ata_in(&a, buf, sizeof buf);
    expect_data(buf, 200 * 512, 512);
    /* 48 bits: the upper halves are written first. */
    for (unsigned reg = COUNT; reg <= HIGH; reg++)
        outb(&a.b, (uint16_t)reg, 0);
    ata_command(&a, LBA, 0x24, 0x2ff, 1);
    ata_in(&a, buf, sizeof buf);
    expect_data(buf, 0x2ff * 512, 512);
    outb(&a.b, LOW, 1);                              /* ... and are kept */
    ata_command(&a, LBA, 0x24, 0, 1);
    assert_int_equal(ata_status(&a), READY | ERR);
    assert_int_equal(inb(&a.b, ERROR), IDNF);
    outb(&a.b, CONTROL, 0x80);
    assert_int_equal(inb(&a.b, LOW), 1);
    ata_bench_fini(&a);
}

static void multiple_moves_blocks(void **state)
{
    struct ata_bench a;
    uint8_t buf[9 * 512];

    init(&a);
    ata_command(&a, LBA, 0xc4, 0, 9);                /* not switched on yet */
    assert_int_equal(ata_status(&a), READY | ERR);
    ata_command(&a, LBA, 0xc6, 0, 3);
    assert_int_equal(inb(&a.b, ERROR), ABRT);
    ata_command(&a, LBA, 0xc6, 0, 4);
    a.b.rises = 0;
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, LBA, 0xc4, 7, 9);                /* 4 + 4 + 1 */
    for (unsigned at = 0; at < 9; at += 4) {
        assert_int_equal(ata_status(&a), READY | DRQ);
        ata_in(&a, buf + at * 512, (at == 8 ? 1 : 4) * 512);
    }
    assert_int_equal(a.b.rises, 3);
    expect_data(buf, 7 * 512, sizeof buf);
    ata_bench_fini(&a);
}

static void words_at_once_are_words(void **state)
{
    struct ata_bench a;
    uint8_t buf[1024];

    init(&a);
    ata_command(&a, LBA, 0x20, 9, 2);
    assert_int_equal(bus_string(a.b.bus, DATA, 2, buf, 1, false), 1);
    /* To the block's end. */
    assert_int_equal(bus_string(a.b.bus, DATA, 2, buf + 2, 400, false), 255);
    assert_int_equal(bus_string(a.b.bus, DATA, 4, buf + 512, 128, false), 128);
    expect_data(buf, 9 * 512, sizeof buf);
    assert_int_equal(bus_string(a.b.bus, DATA, 2, buf, 1, false), 0);
    assert_int_equal(bus_string(a.b.bus, STATUS, 1, buf, 4, false), 0);
    assert_int_equal(bus_string(a.b.bus, 0x80, 1, buf, 4, true), 0);
    ata_command(&a, LBA, 0x30, 20, 1);
    assert_int_equal(bus_string(a.b.bus, DATA, 2, buf, 256, true), 256);
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, LBA, 0x20, 20, 1);
    ata_in(&a, buf, 512);
    expect_data(buf, 9 * 512, 512);
    ata_bench_fini(&a);
}

static void a_step_out_of_order_ends_the_command(void **state)
{
    struct ata_bench a;
    uint8_t buf[512];

    init(&a);
    assert_int_equal(bus_read(a.b.bus, BUS_PIO, DATA, 2), 0xffff);
    bus_write(a.b.bus, BUS_PIO, DATA, 2, 0x1234);
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, LBA, 0x30, 3, 1);
    ata_out(&a, buf, 100);
    assert_int_equal(bus_read(a.b.bus, BUS_PIO, DATA, 2), 0xffff);     /* reading amid a write */
    ata_command(&a, LBA, 0x20, 3, 1);
    assert_int_equal(ata_status(&a), READY | ERR);
    assert_int_equal(inb(&a.b, ERROR), ABRT);
    ata_command(&a, LBA, 0x20, 3, 1);                /* and back at the start */
    ata_in(&a, buf, sizeof buf);
    expect_data(buf, 3 * 512, 512);
    ata_command(&a, LBA, 0xff, 0, 0);
    assert_int_equal(ata_status(&a), READY | ERR);
    assert_int_equal(inb(&a.b, ERROR), ABRT);
    ata_bench_fini(&a);
}

static void interrupts_follow_nien_and_status(void **state)
{
    struct ata_bench a;
    uint8_t buf[512];

    init(&a);
    ata_command(&a, LBA, 0x20, 0, 1);
    assert_true(a.b.line);
    assert_int_equal(inb(&a.b, CONTROL), READY | DRQ);       /* the alternate status */
    assert_true(a.b.line);
    outb(&a.b, CONTROL, 2);
    assert_false(a.b.line);
    outb(&a.b, CONTROL, 0);
    assert_true(a.b.line);
    ata_status(&a);
    assert_false(a.b.line);
    ata_in(&a, buf, 512);
    assert_false(a.b.line);                          /* data in: nothing at the end */
    ata_command(&a, LBA, 0x30, 0, 1);
    assert_false(a.b.line);                          /* data out: nothing before */
    ata_out(&a, buf, 512);
    assert_true(a.b.line);
    ata_bench_fini(&a);
}

static void resets_end_everything(void **state)
{
    struct ata_bench a;

    init(&a);
    ata_command(&a, LBA, 0x30, 3, 1);
    outb(&a.b, CONTROL, 4);
    assert_int_equal(inb(&a.b, STATUS), BSY);
    outb(&a.b, CONTROL, 0);
    assert_int_equal(ata_status(&a), READY);
    assert_int_equal(inb(&a.b, ERROR), 1);
    assert_int_equal(inb(&a.b, LOW), 1);
    /* While a request is with the image. */
    outb(&a.b, DEVICE, LBA);
    outb(&a.b, COUNT, 8);
    outb(&a.b, COMMAND, 0x20);
    outb(&a.b, CONTROL, 4);
    outb(&a.b, CONTROL, 0);
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, 0, 0x90, 0, 0);
    assert_int_equal(ata_status(&a), READY);
    assert_int_equal(inb(&a.b, ERROR), 1);
    ata_bench_fini(&a);
}

static void the_end_of_the_disk_is_the_end(void **state)
{
    struct ata_bench a;
    static const uint8_t commands[] = {0x20, 0x30, 0xc8, 0xca, 0x40};

    init(&a);
    for (unsigned i = 0; i < sizeof commands; i++) {
        ata_command(&a, LBA, commands[i], DISK_SECTORS - 1, 2);
        assert_int_equal(ata_status(&a), READY | ERR);
        assert_int_equal(inb(&a.b, ERROR), IDNF);
    }
    ata_command(&a, LBA, 0x40, DISK_SECTORS - 1, 1);
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, 0, 0x20, 0, 1);                  /* CHS sector 0 */
    assert_int_equal(ata_status(&a), READY | ERR);
    ata_bench_fini(&a);
}

static void image_errors_are_told_or_wait(void **state)
{
    struct ata_bench a;
    char name[PATH_MAX + 64];
    uint8_t buf[512] = {0};

    ata_bench_init(&a);
    snprintf(name, sizeof name, "fault:read@1=EIO,write@1=EIO,flush@1=EIO:%s",
             ata_image_file(&a, "disk", DISK_SECTORS * 512));
    ata_put(&a, 0, ATA_DISK, name, false);
    ata_command(&a, LBA, 0x20, 77, 1);
    assert_int_equal(ata_status(&a), READY | ERR);
    assert_int_equal(inb(&a.b, ERROR), UNC);
    assert_int_equal(inb(&a.b, LOW), 77);
    ata_command(&a, LBA, 0x30, 78, 1);
    ata_out(&a, buf, 512);
    assert_int_equal(ata_status(&a), READY | ERR | 0x20);
    ata_command(&a, LBA, 0xea, 0, 0);
    assert_int_equal(ata_status(&a), READY | ERR | 0x20);
    ata_bench_fini(&a);

    ata_bench_init(&a);
    snprintf(name, sizeof name, "fault:read@1=EIO:%s",
             ata_image_file(&a, "disk", DISK_SECTORS * 512));
    ata_put(&a, 0, ATA_DISK, name, true);
    ata_command(&a, LBA, 0x20, 77, 1);
    assert_int_equal(a.stops, 1);
    assert_int_equal(ata_status(&a), BSY);
    ata_retry(a.channel[0]);
    assert_int_equal(ata_status(&a), READY | DRQ);
    ata_in(&a, buf, 512);
    expect_data(buf, 77 * 512, 512);
    ata_bench_fini(&a);
}

static void odd_images_are_cut_or_refused(void **state)
{
    struct ata_bench a;
    uint16_t w[256];
    struct ata_drive_config cfg = {.kind = ATA_DISK, .name = "disk1"};

    ata_bench_init(&a);
    ata_put(&a, 0, ATA_DISK, ata_image_file(&a, "odd", 10 * 512 + 100), false);
    ata_command(&a, 0, 0xec, 0, 0);
    ata_in(&a, w, sizeof w);
    assert_int_equal(w[60], 10);
    cfg.block = ata_open(&a, ata_image_file(&a, "tiny", 100));
    expect_error(ata_attach(a.channel[0], 1, &cfg, &a.err), EINVAL, &a.err, "one sector");
    ata_bench_fini(&a);
}

static void settings_are_taken_or_refused(void **state)
{
    struct ata_bench a;
    uint16_t w[256];

    init(&a);
    outb(&a.b, FEATURES, 0x82);                      /* write cache off */
    ata_command(&a, 0, 0xef, 0, 0);
    assert_int_equal(ata_status(&a), READY);
    outb(&a.b, FEATURES, 3);
    ata_command(&a, 0, 0xef, 0, 0x22);
    assert_int_equal(ata_status(&a), READY);
    outb(&a.b, FEATURES, 3);
    ata_command(&a, 0, 0xef, 0, 0x47);               /* UDMA 7 */
    assert_int_equal(ata_status(&a), READY | ERR);
    ata_command(&a, 0, 0xec, 0, 0);
    ata_in(&a, w, sizeof w);
    assert_int_equal(w[85] & 0x20, 0);
    assert_int_equal(w[63], 0x407);
    assert_int_equal(w[88], 0x3f);
    ata_command(&a, 0, 0xe0, 0, 0);
    ata_command(&a, 0, 0xe5, 0, 0);
    assert_int_equal(inb(&a.b, COUNT), 0);           /* standby */
    outb(&a.b, FEATURES, 0xda);
    ata_command(&a, 0, 0xb0, 0xc24f00, 0);
    assert_int_equal(ata_status(&a), READY);
    ata_command(&a, LBA, 0xf8, 0, 0);
    assert_int_equal(inb(&a.b, LOW) | inb(&a.b, MID) << 8, DISK_SECTORS - 1);
    ata_bench_fini(&a);
}

/* Anything at all, in any order; what remains after a reset works. */
static void random_traffic_does_no_harm(void **state)
{
    struct ata_bench a;
    uint64_t seed = 88172645463325252ull;
    uint8_t buf[512];

    init(&a);
    ata_put(&a, 1, ATA_CDROM, ata_image_file(&a, "cd", CD_UNITS * 2048), false);
    for (unsigned i = 0; i < 60000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint16_t port = (uint16_t)(seed % 97 == 0 ? CONTROL : seed % 5 < 2 ? DATA
                                                            : DATA + (seed >> 8) % 8);
        unsigned size = 1u << (seed >> 16) % 3;
        uint64_t value = seed >> 20;

        if (port == COMMAND && (seed >> 60) < 8)
            value = (uint64_t[]){0x20, 0x30, 0xc4, 0xc5, 0xca, 0xc8, 0xa0, 0x35}[seed >> 40 & 7];
        if (seed >> 62)
            bus_write(a.b.bus, BUS_PIO, port, size, value);
        else
            bus_read(a.b.bus, BUS_PIO, port, size);
        if (seed % 211 == 0)
            bus_write(a.b.bus, BUS_PIO, BM + (seed >> 30) % 16, 1, seed >> 40);
        if (seed % 7 == 0)
            ata_wait(&a);
    }
    device_reset(a.ide);
    device_reset(a.channel[0]);
    ata_command(&a, LBA, 0x20, 1, 1);
    ata_in(&a, buf, sizeof buf);
    assert_int_equal(ata_status(&a), READY);
    ata_bench_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_on_shows_what_is_there),
        cmocka_unit_test(identify_tells_size_and_modes),
        cmocka_unit_test(reads_and_writes_what_is_in_the_file),
        cmocka_unit_test(addresses_of_all_kinds_agree),
        cmocka_unit_test(multiple_moves_blocks),
        cmocka_unit_test(words_at_once_are_words),
        cmocka_unit_test(a_step_out_of_order_ends_the_command),
        cmocka_unit_test(interrupts_follow_nien_and_status),
        cmocka_unit_test(resets_end_everything),
        cmocka_unit_test(the_end_of_the_disk_is_the_end),
        cmocka_unit_test(image_errors_are_told_or_wait),
        cmocka_unit_test(odd_images_are_cut_or_refused),
        cmocka_unit_test(settings_are_taken_or_refused),
        cmocka_unit_test(random_traffic_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
