/* SPDX-License-Identifier: GPL-2.0-or-later */
/* machine_pc_map.c - a PC's memory for sizes around every boundary. */
#include "unit.h"

#include "machine/pc_map.h"

#define KIB 1024ull
#define MIB (KIB << 10)
#define GIB (MIB << 10)

static const uint64_t sizes[] = {
    MIB, MIB + 4 * KIB, 2 * MIB, 512 * MIB, 3 * GIB - 4 * KIB, 3 * GIB, 3 * GIB + 4 * KIB,
    4 * GIB, 5 * GIB, 1024 * GIB,
};

static void ram_ranges_cover_the_backing(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct pc_ram r[PC_RAM_RANGES];
        unsigned n = pc_ram_layout(sizes[i], r);
        uint64_t sum = 0;

        for (unsigned k = 0; k < n; k++) {
            sum += r[k].size_bytes;
            assert_true(r[k].size_bytes > 0 && r[k].size_bytes % PAGE_SIZE == 0);
            assert_true(range_inside(r[k].offset, r[k].size_bytes, sizes[i]));
            if (k)
                assert_true(r[k - 1].base + r[k - 1].size_bytes <= r[k].base);
            assert_true(r[k].base + r[k].size_bytes <= PC_HOLE || r[k].base >= PC_HIGH);
        }
        assert_int_equal(sum, sizes[i] - (PC_EXTENDED - PC_LOW_END));
    }
}

static void map_agrees_with_ranges(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct pc_ram r[PC_RAM_RANGES];
        struct e820_map map;
        unsigned n = pc_ram_layout(sizes[i], r);

        pc_e820(sizes[i], &map);
        assert_non_null(e820_ram_at(&map, 0, PC_EBDA));
        assert_null(e820_ram_at(&map, PC_EBDA, 1));
        assert_null(e820_ram_at(&map, PC_LOW_END, 1));
        assert_null(e820_ram_at(&map, PC_ROM, 1));
        assert_null(e820_ram_at(&map, PC_HOLE, 1));
        for (unsigned k = 1; k < n; k++)
            assert_non_null(e820_ram_at(&map, r[k].base, r[k].size_bytes));
        assert_int_equal(e820_ram_bytes(&map), sizes[i] - (PC_EXTENDED - PC_EBDA));
        for (unsigned k = 1; k < map.count; k++)
            assert_true(map.entry[k - 1].base + map.entry[k - 1].size_bytes <=
                        map.entry[k].base);
    }
}

static void the_hole_splits_ram(void **state)
{
    struct e820_map map;

    pc_e820(3 * GIB, &map);
    assert_int_equal(e820_extended_end(&map), 3 * GIB);
    assert_null(e820_ram_at(&map, 4 * GIB, 1));
    pc_e820(3 * GIB + 4 * KIB, &map);
    assert_int_equal(e820_extended_end(&map), 3 * GIB);
    assert_non_null(e820_ram_at(&map, 4 * GIB, 4 * KIB));
    assert_null(e820_ram_at(&map, 4 * GIB, 4 * KIB + 1));
    pc_e820(MIB, &map);
    assert_int_equal(e820_extended_end(&map), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ram_ranges_cover_the_backing),
        cmocka_unit_test(map_agrees_with_ranges),
        cmocka_unit_test(the_hole_splits_ram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
