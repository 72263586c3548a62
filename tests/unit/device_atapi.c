/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_atapi.c - a CD-ROM drive: packets, data, the door. */
#include "ata_fixture.h"

#include "base/byteorder.h"

static void init(struct ata_bench *a)
{
    ata_bench_init(a);
    ata_put(a, 0, ATA_CDROM, ata_image_file(a, "cd", CD_UNITS * 2048 + 700), false);
}

static void packet(struct ata_bench *a, const uint8_t p[12], uint16_t limit)
{
    outb(&a->b, FEATURES, 0);
    outb(&a->b, DEVICE, 0);
    outb(&a->b, MID, (uint8_t)limit);
    outb(&a->b, HIGH, (uint8_t)(limit >> 8));
    outb(&a->b, COMMAND, 0xa0);
    assert_int_equal(ata_status(a), READY | DRQ);
    assert_int_equal(inb(&a->b, COUNT), 1);
    ata_out(a, p, 12);
}

/* Takes all the data there is; returns how much. */
static size_t take(struct ata_bench *a, uint8_t *to, size_t room)
{
    size_t got = 0;

    while (ata_status(a) & DRQ) {
        size_t n = inb(&a->b, MID) | (size_t)inb(&a->b, HIGH) << 8;

        assert_int_equal(inb(&a->b, COUNT), 2);
        assert_true(n && got + n <= room);
        ata_in(a, to + got, n);
        got += n;
    }
    assert_int_equal(inb(&a->b, COUNT), 3);
    return got;
}

/* The sense key of the command that just failed; 0: it did not. */
static uint32_t sense(struct ata_bench *a)
{
    uint8_t p[12] = {3, 0, 0, 0, 18}, s[32];

    if (!(ata_status(a) & ERR))
        return 0;
    assert_int_equal(inb(&a->b, ERROR) & 4, 4);
    packet(a, p, 0xfffe);
    assert_int_equal(take(a, s, sizeof s), 18);
    return (uint32_t)(s[2] << 16 | s[12] << 8 | s[13]);
}

static uint32_t test_ready(struct ata_bench *a)
{
    packet(a, (const uint8_t[12]){0}, 0);
    return sense(a);
}

static void shows_itself_as_packet_device(void **state)
{
    struct ata_bench a;
    uint16_t w[256];
    uint8_t b[64];

    init(&a);
    assert_int_equal(inb(&a.b, STATUS), 0);
    assert_int_equal(inb(&a.b, MID), 0x14);
    outb(&a.b, COMMAND, 0xec);
    assert_int_equal(ata_status(&a), READY | ERR);
    assert_int_equal(inb(&a.b, HIGH), 0xeb);
    outb(&a.b, COMMAND, 0xa1);
    ata_in(&a, w, sizeof w);
    assert_int_equal(w[0], 0x85c0);
    packet(&a, (const uint8_t[12]){0x12, 0, 0, 0, 36}, 0xfffe);
    assert_int_equal(take(&a, b, sizeof b), 36);
    assert_int_equal(b[0], 5);
    assert_memory_equal(b + 8, "ring3   CD-ROM", 14);
    packet(&a, (const uint8_t[12]){0xff}, 0);
    assert_int_equal(sense(&a), 0x052000);
    ata_bench_fini(&a);
}

static void reads_in_blocks_of_the_limit(void **state)
{
    static uint8_t buf[CD_UNITS * 2048 + 2];
    struct ata_bench a;

    init(&a);
    packet(&a, (const uint8_t[12]){0x28, 0, 0, 0, 0, 2, 0, 0, 3}, 1000);
    assert_int_equal(take(&a, buf, sizeof buf), 3 * 2048);
    for (unsigned i = 0; i < 3 * 2048; i++)
        assert_int_equal(buf[i], ata_byte(2 * 2048 + i));
    packet(&a, (const uint8_t[12]){0xa8, 0, 0, 0, 0, 0, 0, 0, 0, CD_UNITS}, 0xffff);
    assert_int_equal(take(&a, buf, sizeof buf), CD_UNITS * 2048);
    packet(&a, (const uint8_t[12]){0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0x10}, 2048);
    assert_int_equal(take(&a, buf, sizeof buf), 2048);
    assert_int_equal(buf[100], ata_byte(2048 + 100));
    /* The last sector of a truncated image is not there. */
    packet(&a, (const uint8_t[12]){0x28, 0, 0, 0, 0, CD_UNITS, 0, 0, 1}, 2048);
    assert_int_equal(sense(&a), 0x052100);
    packet(&a, (const uint8_t[12]){0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 2048);
    assert_int_equal(sense(&a), 0x052100);
    ata_bench_fini(&a);
}

static void reads_by_dma(void **state)
{
    struct ata_bench a;
    uint8_t prd[8], buf[4096];

    init(&a);
    put_le32(prd, 0x8000);
    put_le32(prd + 4, 0x80000000u | 4096);
    memory_write(a.memory, gpa(0x1000), prd, sizeof prd);
    bus_write(a.b.bus, BUS_PIO, BM + 4, 4, 0x1000);
    outb(&a.b, FEATURES, 1);
    outb(&a.b, COMMAND, 0xa0);
    ata_out(&a, (const uint8_t[12]){0x28, 0, 0, 0, 0, 5, 0, 0, 2}, 12);
    outb(&a.b, BM, 9);
    assert_int_equal(ata_status(&a), READY);
    assert_int_equal(inb(&a.b, BM + 2), 4);
    memory_read(a.memory, gpa(0x8000), buf, sizeof buf);
    for (unsigned i = 0; i < sizeof buf; i++)
        assert_int_equal(buf[i], ata_byte(5 * 2048 + i));
    /* An answer from the buffer takes the same way. */
    outb(&a.b, BM, 0);
    outb(&a.b, FEATURES, 1);
    outb(&a.b, COMMAND, 0xa0);
    ata_out(&a, (const uint8_t[12]){0x25}, 12);
    outb(&a.b, BM, 9);
    memory_read(a.memory, gpa(0x8000), buf, 8);
    assert_int_equal(get_be32(buf), CD_UNITS - 1);
    assert_int_equal(get_be32(buf + 4), 2048);
    ata_bench_fini(&a);
}

static void tells_of_the_disc(void **state)
{
    struct ata_bench a;
    uint8_t b[256];

    init(&a);
    packet(&a, (const uint8_t[12]){0x43, 2, 0, 0, 0, 0, 0, 0, 200}, 0xfffe);
    assert_int_equal(take(&a, b, sizeof b), 20);
    assert_int_equal(get_be16(b), 18);
    assert_int_equal(b[14], 0xaa);
    assert_int_equal(get_be32(b + 16), 2 << 8 | CD_UNITS);
    packet(&a, (const uint8_t[12]){0x43, 0, 1, 0, 0, 0, 0, 0, 12}, 0xfffe);
    assert_int_equal(take(&a, b, sizeof b), 12);
    packet(&a, (const uint8_t[12]){0x46, 0, 0, 0, 0, 0, 0, 0, 200}, 0xfffe);
    assert_true(take(&a, b, sizeof b) > 8);
    assert_int_equal(get_be16(b + 6), 8);
    packet(&a, (const uint8_t[12]){0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 200}, 0xfffe);
    assert_int_equal(take(&a, b, sizeof b), 28);
    packet(&a, (const uint8_t[12]){0x5a, 0, 0x3e, 0, 0, 0, 0, 0, 200}, 0xfffe);
    assert_int_equal(sense(&a), 0x052400);
    ata_bench_fini(&a);
}

static uint8_t event(struct ata_bench *a)
{
    uint8_t b[8];

    packet(a, (const uint8_t[12]){0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}, 0xfffe);
    assert_int_equal(take(a, b, sizeof b), 8);
    return b[4];
}

static void discs_come_and_go(void **state)
{
    struct ata_bench a;
    uint8_t b[8];

    init(&a);
    assert_int_equal(test_ready(&a), 0);
    packet(&a, (const uint8_t[12]){0x1e, 0, 0, 0, 1}, 0);            /* locked */
    expect_error(ata_change_disc(a.channel[0], 0, NULL, false, &a.err), EBUSY, &a.err, "locked");
    assert_int_equal(event(&a), 1);
    assert_int_equal(event(&a), 0);
    packet(&a, (const uint8_t[12]){0x1b, 0, 0, 0, 2}, 0);
    assert_int_equal(sense(&a), 0x055302);
    assert_int_equal(ata_change_disc(a.channel[0], 0, NULL, true, &a.err), 0);
    assert_int_equal(test_ready(&a), 0x023a02);
    assert_int_equal(event(&a), 3);
    assert_int_equal(ata_change_disc(a.channel[0], 0,
                                     ata_open(&a, ata_image_file(&a, "other", 2048)), false,
                                     &a.err), 0);
    assert_int_equal(test_ready(&a), 0x062800);
    assert_int_equal(test_ready(&a), 0);
    assert_int_equal(event(&a), 2);
    packet(&a, (const uint8_t[12]){0x25}, 0xfffe);
    assert_int_equal(take(&a, b, sizeof b), 8);
    assert_int_equal(get_be32(b), 0);
    /* The guest opens and closes it: the disc lies in the tray. */
    packet(&a, (const uint8_t[12]){0x1b, 0, 0, 0, 2}, 0);
    assert_int_equal(sense(&a), 0);
    assert_int_equal(test_ready(&a), 0x023a02);
    packet(&a, (const uint8_t[12]){0x1b, 0, 0, 0, 3}, 0);
    assert_int_equal(test_ready(&a), 0x062800);
    assert_int_equal(test_ready(&a), 0);
    ata_bench_fini(&a);
}

static void an_empty_drive_says_so(void **state)
{
    struct ata_bench a;

    ata_bench_init(&a);
    ata_put(&a, 0, ATA_CDROM, NULL, false);
    assert_int_equal(test_ready(&a), 0x023a01);
    packet(&a, (const uint8_t[12]){0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 2048);
    assert_int_equal(sense(&a), 0x023a01);
    ata_bench_fini(&a);
}

static void image_errors_are_medium_errors(void **state)
{
    struct ata_bench a;
    char name[PATH_MAX + 64];

    ata_bench_init(&a);
    snprintf(name, sizeof name, "fault:read@1=EIO:%s", ata_image_file(&a, "cd", 4 * 2048));
    ata_put(&a, 0, ATA_CDROM, name, false);
    packet(&a, (const uint8_t[12]){0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 2048);
    assert_int_equal(sense(&a), 0x031100);
    ata_bench_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_itself_as_packet_device),
        cmocka_unit_test(reads_in_blocks_of_the_limit),
        cmocka_unit_test(reads_by_dma),
        cmocka_unit_test(tells_of_the_disc),
        cmocka_unit_test(discs_come_and_go),
        cmocka_unit_test(an_empty_drive_says_so),
        cmocka_unit_test(image_errors_are_medium_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
