/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot_tables.c - the memory map and the ACPI tables.
 *
 * The tables are walked as an operating system walks them: from the RSDP, by
 * addresses, with every checksum. Where iasl is installed it disassembles them
 * too, and must have nothing to complain about.
 */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "boot/acpi.h"
#include "boot/e820.h"

enum { AREA_BYTES = 128 * 1024, AREA_BASE = 0xe0000 };

/* ---- e820 --------------------------------------------------------------- */

static void expect_entry(const struct e820_map *m, unsigned n, uint64_t base, uint64_t size,
                         uint32_t type)
{
    assert_true(n < m->count);
    assert_int_equal(m->entry[n].base, base);
    assert_int_equal(m->entry[n].size_bytes, size);
    assert_int_equal(m->entry[n].type, type);
}

static void e820_paints(void **state)
{
    struct e820_map m = {0};

    e820_set(&m, 0x1000, 0x9000, E820_RAM);
    e820_set(&m, 0x3000, 0x1000, E820_RESERVED);
    assert_int_equal(m.count, 3);
    expect_entry(&m, 0, 0x1000, 0x2000, E820_RAM);
    expect_entry(&m, 1, 0x3000, 0x1000, E820_RESERVED);
    expect_entry(&m, 2, 0x4000, 0x6000, E820_RAM);
    e820_set(&m, 0x3000, 0x1000, E820_RAM);
    assert_int_equal(m.count, 1);
    expect_entry(&m, 0, 0x1000, 0x9000, E820_RAM);
    e820_set(&m, 0, 0x20000, E820_NVS);
    assert_int_equal(m.count, 1);
    e820_set(&m, 0x5000, 0, E820_RAM);
    assert_int_equal(m.count, 1);
    e820_set(&m, 0x30000, 0x1000, E820_ACPI);
    e820_set(&m, 0x20000, 0x10000, E820_ACPI);
    assert_int_equal(m.count, 2);
    expect_entry(&m, 1, 0x20000, 0x11000, E820_ACPI);
    assert_int_equal(e820_ram_bytes(&m), 0);
}

static void e820_finds_ram(void **state)
{
    struct e820_map m = {0};

    e820_set(&m, 0, 0xa0000, E820_RAM);
    e820_set(&m, 0x100000, 0x700000, E820_RAM);
    assert_non_null(e820_ram_at(&m, 0x100000, 0x700000));
    assert_null(e820_ram_at(&m, 0x100000, 0x700001));
    assert_null(e820_ram_at(&m, 0x9f000, 0x2000));
    assert_null(e820_ram_at(&m, 0x100000, UINT64_MAX));
    assert_null(e820_ram_at(&m, UINT64_MAX, 1));
    assert_int_equal(e820_extended_end(&m), 0x800000);
    assert_int_equal(e820_ram_bytes(&m), 0x7a0000);
}

/* ---- ACPI --------------------------------------------------------------- */

static const struct acpi_config config = {
    .cpus = 3, .lapic_base = 0xfee00000, .ioapic_base = 0xfec00000,
    .override = {{0, 2, 0}, {9, 9, 0xd}}, .overrides = 2,
    .pm1_event = 0x600, .pm1_control = 0x604, .pm_timer = 0x608, .sci_irq = 9,
    .s5_sleep_type = 5, .reset_port = 0xcf9, .reset_value = 6, .rtc_century = 0x32,
    .has_8042 = true,
    .device = {{"COM1", "PNP0501", {0x3f8}, {8}, 4, 1}, {"RTC_", "PNP0B00", {0x70}, {2}, 8, 0},
               {"KBD_", "PNP0303", {0x60, 0x64}, {1, 1}, 1, 0}},
    .devices = 3,
};

struct tables {
    uint8_t area[AREA_BYTES];
    size_t used;
};

static const uint8_t *at(const struct tables *t, uint64_t address)
{
    assert_true(address >= AREA_BASE && address < AREA_BASE + t->used);
    return t->area + (address - AREA_BASE);
}

static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;

    while (len--)
        s = (uint8_t)(s + *p++);
    return s;
}

static const uint8_t *table(const struct tables *t, uint64_t address, const char *signature)
{
    const uint8_t *p = at(t, address);
    uint32_t len = get_le32(p + 4);

    assert_memory_equal(p, signature, 4);
    assert_true(len >= 36 && address + len <= AREA_BASE + t->used);
    assert_int_equal(sum(p, len), 0);
    return p;
}

static void build(struct tables *t, const struct acpi_config *cfg)
{
    memset(t->area, 0xa5, sizeof t->area);
    t->used = acpi_build(cfg, t->area, sizeof t->area, gpa(AREA_BASE));
    assert_true(t->used <= sizeof t->area);
}

static void acpi_is_found_and_sums_up(void **state)
{
    static struct tables t;

    build(&t, &config);
    const uint8_t *rsdp = at(&t, AREA_BASE);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    const uint8_t *rsdt = table(&t, get_le32(rsdp + 16), "RSDT");
    const uint8_t *xsdt = table(&t, get_le64(rsdp + 24), "XSDT");
    assert_int_equal(get_le32(rsdt + 4), 36 + 2 * 4);
    assert_int_equal(get_le32(xsdt + 4), 36 + 2 * 8);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(get_le32(rsdt + 36 + i * 4), get_le64(xsdt + 36 + i * 8));
}

static uint64_t find_table(const struct tables *t, const char *signature)
{
    const uint8_t *xsdt = table(t, get_le64(at(t, AREA_BASE) + 24), "XSDT");

    for (uint32_t i = 36; i < get_le32(xsdt + 4); i += 8)
        if (memcmp(at(t, get_le64(xsdt + i)), signature, 4) == 0)
            return get_le64(xsdt + i);
    fail_msg("no table %s", signature);
    return 0;
}

static void acpi_fadt(void **state)
{
    static struct tables t;

    build(&t, &config);
    const uint8_t *fadt = table(&t, find_table(&t, "FACP"), "FACP");
    assert_int_equal(get_le32(fadt + 4), 276);
    assert_int_equal(get_le16(fadt + 46), 9);
    assert_int_equal(get_le32(fadt + 48), 0);
    assert_int_equal(get_le32(fadt + 56), 0x600);
    assert_int_equal(get_le64(fadt + 172 + 4), 0x604);
    assert_int_equal(get_le64(fadt + 208 + 4), 0x608);
    assert_int_equal(get_le64(fadt + 116 + 4), 0xcf9);
    assert_int_equal(fadt[116], 1);
    assert_int_equal(fadt[128], 6);
    assert_int_equal(get_le16(fadt + 109), 7);             /* legacy, 8042, no VGA */
    assert_true(get_le32(fadt + 112) & 1 << 10);           /* RESET_REG_SUP */
    assert_false(get_le32(fadt + 112) & 1 << 20);          /* HW_REDUCED_ACPI */
    assert_int_equal(get_le32(fadt + 40), get_le64(fadt + 140));
    const uint8_t *dsdt = table(&t, get_le32(fadt + 40), "DSDT");
    assert_memory_equal(dsdt + 36, "\x08\\_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00", 15);
    const uint8_t *facs = at(&t, get_le32(fadt + 36));
    assert_memory_equal(facs, "FACS", 4);
    assert_int_equal(get_le32(fadt + 36) % 64, 0);
}

static void acpi_madt(void **state)
{
    static struct tables t;
    unsigned seen[8] = {0};

    build(&t, &config);
    const uint8_t *madt = table(&t, find_table(&t, "APIC"), "APIC");
    uint32_t len = get_le32(madt + 4), i = 44;
    assert_int_equal(get_le32(madt + 36), 0xfee00000);
    for (; i < len; i += madt[i + 1]) {
        assert_true(madt[i] < 8 && madt[i + 1] >= 6);
        seen[madt[i]]++;
        if (madt[i] == 1)
            assert_int_equal(get_le32(madt + i + 4), 0xfec00000);
        if (madt[i] == 2 && madt[i + 3] == 0)
            assert_int_equal(get_le32(madt + i + 4), 2);
        if (madt[i] == 2 && madt[i + 3] == 9)
            assert_int_equal(get_le16(madt + i + 8), 0xd);
    }
    assert_int_equal(i, len);
    assert_int_equal(seen[0], 3);
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[2], 2);
    assert_int_equal(seen[4], 1);
}

static void acpi_with_many_cpus(void **state)
{
    static struct tables t;
    struct acpi_config many = config;

    many.cpus = 255;
    build(&t, &many);
    table(&t, get_le32(table(&t, find_table(&t, "FACP"), "FACP") + 40), "DSDT");
    assert_true(t.used <= 32 * 1024);
}

static void write_table(const struct tables *t, uint64_t address, const char *signature,
                        const char *path)
{
    const uint8_t *p = table(t, address, signature);
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, get_le32(p + 4), f), get_le32(p + 4));
    fclose(f);
}

/* iasl -d exits with 0 on many errors: its words count. */
static void expect_iasl_content(const char *dir, const char *name)
{
    char cmd[512];

    snprintf(cmd, sizeof cmd,
             "cd %s && iasl -d %s.dat >%s.log 2>&1 && ! grep -Ei 'error|warning|invalid|"
             "checksum' %s.log && { [ %s != dsdt ] || iasl -tc dsdt.dsl >asl.log 2>&1 || "
             "{ cat asl.log; false; }; }", dir, name, name, name, name);
    if (system(cmd) != 0)
        fail_msg("iasl finds fault with the %s", name);
}

static void acpi_pleases_iasl(void **state)
{
    static struct tables t;
    char dir[] = "/tmp/ring3-acpi-XXXXXX", path[64], cmd[64];

    if (system("command -v iasl >/dev/null 2>&1") != 0) {
        print_message("iasl is not installed (package acpica-tools)\n");
        skip();
    }
    build(&t, &config);
    assert_non_null(mkdtemp(dir));
    uint64_t fadt = find_table(&t, "FACP");
    const struct { uint64_t at; const char *signature, *name; } all[] = {
        {fadt, "FACP", "facp"}, {find_table(&t, "APIC"), "APIC", "apic"},
        {get_le32(at(&t, fadt) + 40), "DSDT", "dsdt"},
        {get_le64(at(&t, AREA_BASE) + 24), "XSDT", "xsdt"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        snprintf(path, sizeof path, "%s/%s.dat", dir, all[i].name);
        write_table(&t, all[i].at, all[i].signature, path);
        expect_iasl_content(dir, all[i].name);
    }
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e820_paints),
        cmocka_unit_test(e820_finds_ram),
        cmocka_unit_test(acpi_is_found_and_sums_up),
        cmocka_unit_test(acpi_fadt),
        cmocka_unit_test(acpi_madt),
        cmocka_unit_test(acpi_with_many_cpus),
        cmocka_unit_test(acpi_pleases_iasl),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
