/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware talks to: fw_cfg by port and DMA, the flash chip with its variables. */
#include "device_fixture.h"

#include "base/byteorder.h"
#include "device/flash.h"
#include "device/fwcfg.h"
#include "memory/memory.h"

/* ---- fw_cfg ---- */

enum { PORT = 0x510, REQUEST = 0x1000, TARGET = 0x2000, RAM_BYTES = 1 << 20 };

static struct memory *memory;

static void fwcfg_init(struct bench *b)
{
    struct device_env env = bench_init(b);
    const struct fwcfg_config cfg = {.port = PORT};

    memory = memory_new(RAM_BYTES, NULL);
    memory_map_ram(memory, "ram", gpa(0), 0, RAM_BYTES, 0, NULL);
    env.memory = memory;
    b->dev = fwcfg_new(&env, &cfg, NULL);
    assert_non_null(b->dev);
    fwcfg_number(b->dev, FWCFG_NB_CPUS, 2, 0x1234);
    assert_int_equal(fwcfg_file(b->dev, "etc/a", "hello", 5, NULL), 0);
}

static void fwcfg_fini(struct bench *b)
{
    bench_fini(b);
    memory_free(memory);
}

static void select_key(struct bench *b, uint16_t key)
{
    bus_write(b->bus, BUS_PIO, PORT, 2, key);
}

static uint32_t dma(struct bench *b, uint32_t control, uint32_t len, uint64_t address)
{
    uint8_t r[16];

    put_be32(r, control);
    put_be32(r + 4, len);
    put_be64(r + 8, address);
    memory_write(memory, gpa(REQUEST), r, sizeof r);
    bus_write(b->bus, BUS_PIO, PORT + 4, 4, 0);
    bus_write(b->bus, BUS_PIO, PORT + 8, 4, __builtin_bswap32(REQUEST));
    memory_read(memory, gpa(REQUEST), r, 4);
    return get_be32(r);
}

static void items_by_port(void **state)
{
    struct bench b;

    fwcfg_init(&b);
    select_key(&b, FWCFG_SIGNATURE);
    assert_int_equal(inb(&b, PORT + 1), 'Q');
    assert_int_equal(inb(&b, PORT + 1), 'E');
    select_key(&b, FWCFG_ID);
    assert_int_equal(inb(&b, PORT + 1), 3);
    select_key(&b, FWCFG_NB_CPUS);
    assert_int_equal(inb(&b, PORT + 1), 0x34);
    assert_int_equal(inb(&b, PORT + 1), 0x12);
    assert_int_equal(inb(&b, PORT + 1), 0);
    select_key(&b, 0x7777);
    assert_int_equal(inb(&b, PORT + 1), 0);
    select_key(&b, FWCFG_DIRECTORY);
    const uint8_t directory[] = {0, 0, 0, 1, 0, 0, 0, 5, 0, 0x20, 0, 0, 'e', 't', 'c', '/', 'a', 0};
    for (unsigned i = 0; i < sizeof directory; i++)
        assert_int_equal(inb(&b, PORT + 1), directory[i]);
    select_key(&b, FWCFG_FIRST_FILE);
    assert_int_equal(inb(&b, PORT + 1), 'h');
    fwcfg_fini(&b);
}

static void items_by_dma(void **state)
{
    struct bench b;
    char text[8];

    fwcfg_init(&b);
    assert_int_equal(bus_read(b.bus, BUS_PIO, PORT + 4, 4), __builtin_bswap32(0x51454d55));
    memory_fill(memory, gpa(TARGET), 0xee, 16);
    assert_int_equal(dma(&b, FWCFG_FIRST_FILE << 16 | 8 | 2, 7, TARGET), 0);
    memory_read(memory, gpa(TARGET), text, 8);
    assert_memory_equal(text, "hello\0\0\xee", 8);
    assert_int_equal(dma(&b, FWCFG_FIRST_FILE << 16 | 8 | 4, 3, 0), 0);        /* skip */
    assert_int_equal(dma(&b, 2, 1, TARGET), 0);
    memory_read(memory, gpa(TARGET), text, 1);
    assert_int_equal(text[0], 'l');
    assert_int_equal(dma(&b, FWCFG_FIRST_FILE << 16 | 8 | 16, 5, TARGET), 1);  /* read-only */
    assert_int_equal(dma(&b, FWCFG_FIRST_FILE << 16 | 8 | 2, 5, RAM_BYTES - 2), 1);
    assert_int_equal(dma(&b, 2, UINT32_MAX, TARGET), 1);
    assert_int_equal(dma(&b, 2, 16, UINT64_MAX - 4), 1);
    assert_int_equal(dma(&b, 2, 0, UINT64_MAX), 0);
    fwcfg_fini(&b);
}

static void bad_names(void **state)
{
    struct bench b;
    struct error *err = NULL;
    char name[57];

    fwcfg_init(&b);
    memset(name, 'x', sizeof name);
    name[56] = 0;
    expect_error(fwcfg_file(b.dev, name, "", 0, &err), EINVAL, &err, "55 bytes");
    expect_error(fwcfg_file(b.dev, "", "", 0, &err), EINVAL, &err, "55 bytes");
    expect_error(fwcfg_file(b.dev, "etc/a", "", 0, &err), EEXIST, &err, "already");
    fwcfg_fini(&b);
}

/* Whatever a guest does: nothing outside of RAM is touched, and the file stays. */
static void random_requests(void **state)
{
    struct bench b;
    uint64_t s = 11;
    size_t len;

    fwcfg_init(&b);
    for (unsigned i = 0; i < 100000; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        if (s & 1)
            dma(&b, (uint32_t)(s >> 8 & 0x003f001f), (uint32_t)(s >> 20 & 0xffff),
                s >> 3 & 1 ? s >> 40 & 0xfffff : s);
        else if (s & 2)
            select_key(&b, (uint16_t)(s >> 8 & 0x3f));
        else
            bus_read(b.bus, BUS_PIO, PORT + (s >> 8) % 12, 1u << (s >> 16) % 3);
        if (i % 1000 == 0)
            bus_write(b.bus, BUS_PIO, PORT + 8, 4, s);
    }
    assert_memory_equal(fwcfg_file_get(b.dev, "etc/a", &len), "hello", 5);
    assert_int_equal(len, 5);
    fwcfg_fini(&b);
}

/* ---- flash ---- */

enum { CHIP = 2 * FLASH_SECTOR_BYTES };
#define BASE 0xffe00000ull

struct chip {
    struct bench b;
    uint8_t data[CHIP], file[CHIP];
};

static void chip_changed(void *opaque, uint64_t offset, uint64_t bytes)
{
    struct chip *c = opaque;

    assert_true(range_inside(offset, bytes, CHIP));
    memcpy(c->file + offset, c->data + offset, bytes);
}

static void chip_init(struct chip *c)
{
    struct device_env env = bench_init(&c->b);
    const struct flash_config cfg = {.name = "vars", .base = BASE, .data = c->data,
                                     .bytes = CHIP, .changed = chip_changed, .opaque = c};

    memset(c->data, 0xff, CHIP);
    memset(c->file, 0xff, CHIP);
    c->b.dev = flash_new(&env, &cfg, NULL);
    assert_non_null(c->b.dev);
}

static uint64_t chip_get(struct chip *c, uint64_t at, unsigned size)
{
    return bus_read(c->b.bus, BUS_MMIO, BASE + at, size);
}

static void chip_put(struct chip *c, uint64_t at, unsigned size, uint64_t v)
{
    bus_write(c->b.bus, BUS_MMIO, BASE + at, size, v);
}

/* How OVMF's driver tells flash from RAM and ROM, writes and erases. */
static void flash_as_uefi_uses_it(void **state)
{
    struct chip *c = calloc(1, sizeof *c);

    chip_init(c);
    chip_put(c, 1, 1, 0x50);
    assert_int_equal(chip_get(c, 1, 1), 0xff);
    chip_put(c, 1, 1, 0x70);
    assert_int_equal(chip_get(c, 1, 1), 0x00);
    chip_put(c, 1, 1, 0xff);
    assert_int_equal(chip_get(c, 1, 1), 0xff);
    chip_put(c, 5, 1, 0x10);
    chip_put(c, 5, 1, 0x3c);
    assert_int_equal(chip_get(c, 0, 1), 0x80);
    chip_put(c, 5, 1, 0x10);
    chip_put(c, 5, 1, 0xf0);                       /* bits are only cleared */
    chip_put(c, 5, 1, 0xff);
    assert_int_equal(chip_get(c, 5, 1), 0x30);
    assert_int_equal(chip_get(c, 4, 4), 0xffff30ff);
    assert_int_equal(c->file[5], 0x30);
    chip_put(c, FLASH_SECTOR_BYTES, 1, 0x10);
    chip_put(c, FLASH_SECTOR_BYTES, 1, 0x01);
    chip_put(c, 7, 1, 0x20);
    chip_put(c, 7, 1, 0xd0);
    chip_put(c, 7, 1, 0xff);
    assert_int_equal(c->file[5], 0xff);
    assert_int_equal(c->file[FLASH_SECTOR_BYTES], 0x01);
    chip_put(c, 0, 1, 0x98);
    assert_int_equal(chip_get(c, 0x10, 1), 'Q');
    bench_fini(&c->b);
    free(c);
}

static void flash_random(void **state)
{
    static const uint8_t commands[] = {0xff, 0x10, 0x40, 0x20, 0xd0, 0x50, 0x70, 0x90, 0x98, 0xe8};
    struct chip *c = calloc(1, sizeof *c);
    uint64_t s = 5;

    chip_init(c);
    for (unsigned i = 0; i < 200000; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        unsigned size = 1u << (s >> 4) % 4;
        uint64_t at = (s >> 8) % (CHIP + 1 - size);
        if (s & 1)
            chip_put(c, at, size, s & 2 ? commands[(s >> 40) % sizeof commands] : s >> 24);
        else
            chip_get(c, at, size);
    }
    assert_memory_equal(c->data, c->file, CHIP);
    bench_fini(&c->b);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_by_port),
        cmocka_unit_test(items_by_dma),
        cmocka_unit_test(bad_names),
        cmocka_unit_test(random_requests),
        cmocka_unit_test(flash_as_uefi_uses_it),
        cmocka_unit_test(flash_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
