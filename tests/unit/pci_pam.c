/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shadow RAM: what is read and written where, for every setting of the registers. */
#include "unit.h"

#include "base/log.h"
#include "bus/bus.h"
#include "memory/memory.h"
#include "pci/pam.h"

enum { ROM_BYTES = 128 << 10, PAM0 = 0x59 };

struct rig {
    struct log log;
    struct bus *bus;
    struct memory *memory;
    struct pam *pam;
    struct device *host;
    hva_t rom;
};

static struct irq_line line(void *opaque, unsigned n)
{
    return (struct irq_line){0};
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    log_init(&rig->log, -1);
    rig->bus = bus_new(NULL);
    rig->memory = memory_new(1 << 20, NULL);
    rig->rom = memory_block_new("rom", ROM_BYTES, NULL);
    memset(rig->rom.p, 0x52, ROM_BYTES);
    memset(memory_ram_base(rig->memory).p, 0x4d, 1 << 20);
    const struct device_env env = {.bus = rig->bus, .memory = rig->memory, .log = &rig->log};
    const struct pam_config cfg = {.rom = rig->rom, .rom_bytes = ROM_BYTES};
    rig->pam = pam_new(&env, &cfg, NULL);
    const struct pci_bus_config bus = {.line = line, .bridge_init = pam_bridge_init,
                                       .bridge_changed = pam_bridge_changed,
                                       .bridge_opaque = rig->pam};
    rig->host = pci_bus_new(&env, &bus, NULL);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    device_destroy(rig->host);
    pam_free(rig->pam);
    memory_block_free(rig->rom, ROM_BYTES);
    memory_free(rig->memory);
    bus_free(rig->bus);
    free(rig);
    return 0;
}

static void set(struct rig *rig, unsigned reg, unsigned value)
{
    pci_config_write(pci_bus_function(pci_bus_of(rig->host), 0), reg, 1, value);
}

/* As an engine does it: memory where there is some, else the bus. */
static uint8_t peek(struct rig *rig, uint64_t a)
{
    hva_t host = memory_host(rig->memory, gpa(a), 1, false);

    return host.p ? *host.p : (uint8_t)bus_read(rig->bus, BUS_MMIO, a, 1);
}

static void poke(struct rig *rig, uint64_t a, uint8_t v)
{
    hva_t host = memory_host(rig->memory, gpa(a), 1, true);

    if (host.p)
        *host.p = v;
    else
        bus_write(rig->bus, BUS_MMIO, a, 1, v);
}

static uint8_t *ram(struct rig *rig, uint64_t a)
{
    return memory_ram_base(rig->memory).p + a;
}

static void rom_after_reset(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(peek(rig, 0xc0000), 0xff);
    assert_int_equal(peek(rig, 0xdffff), 0xff);
    assert_int_equal(peek(rig, 0xe0000), 0x52);
    assert_int_equal(peek(rig, 0xfffff), 0x52);
    poke(rig, 0xf0000, 1);
    assert_int_equal(peek(rig, 0xf0000), 0x52);
    assert_int_equal(*ram(rig, 0xf0000), 0x4d);
}

static void the_four_settings(void **state)
{
    struct rig *rig = *state;

    set(rig, PAM0, 0x20);                          /* reads ROM, writes RAM: a copy */
    assert_int_equal(peek(rig, 0xf1234), 0x52);
    poke(rig, 0xf1234, 0x11);
    assert_int_equal(peek(rig, 0xf1234), 0x52);
    assert_int_equal(*ram(rig, 0xf1234), 0x11);
    set(rig, PAM0, 0x10);                          /* RAM, protected */
    assert_int_equal(peek(rig, 0xf1234), 0x11);
    poke(rig, 0xf1234, 0x22);
    assert_int_equal(peek(rig, 0xf1234), 0x11);
    set(rig, PAM0, 0x30);
    poke(rig, 0xf1234, 0x33);
    assert_int_equal(peek(rig, 0xf1234), 0x33);
    set(rig, PAM0, 0x0f);                          /* the low half is nobody's */
    assert_int_equal(peek(rig, 0xf1234), 0x52);
    set(rig, PAM0 + 1, 0x03);
    assert_int_equal(peek(rig, 0xc3fff), 0x4d);
    assert_int_equal(peek(rig, 0xc4000), 0xff);
    device_reset(rig->host);
    assert_int_equal(peek(rig, 0xc3fff), 0xff);
}

/* Every segment has its own bits: a model of one byte per segment says the same. */
static void random_settings(void **state)
{
    struct rig *rig = *state;
    uint8_t reg[7] = {0};
    uint64_t s = 42;

    for (unsigned i = 0; i < 20000; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        unsigned r = s % 7, segment = s >> 8 & 15, base = 0xc0000 + segment * 0x4000;
        reg[r] = (uint8_t)(s >> 16);
        set(rig, PAM0 + r, reg[r]);
        uint8_t nibble = segment >= 12 ? reg[0] >> 4
                       : segment & 1 ? reg[1 + segment / 2] >> 4 : reg[1 + segment / 2];
        uint8_t before = *ram(rig, base + 7), v = (uint8_t)(s >> 24);
        poke(rig, base + 7, v);
        assert_int_equal(*ram(rig, base + 7), nibble & 2 ? v : before);
        assert_int_equal(peek(rig, base + 7), nibble & 1 ? *ram(rig, base + 7)
                                              : base >= 0xe0000 ? 0x52 : 0xff);
    }
    assert_int_equal(rig->rom.p[7], 0x52);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rom_after_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(the_four_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(random_settings, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
