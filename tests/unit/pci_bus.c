/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI bus as a guest programs it: sizing, moving, MSI-X, and much that is wrong. */
#include "unit.h"

#include "base/byteorder.h"
#include "base/log.h"
#include "bus/bus.h"
#include "memory/memory.h"
#include "pci/pci.h"

#define ECAM   0xe0000000ull
#define WINDOW 0xc0000000ull
#define HIGH   (1ull << 39)
enum { CARDS = 3, LARGE_BYTES = 0x8000, PORT_BYTES = 32, IO = 0xc000, TABLE = 0x4000,
       PENDING = 0x5000 };

struct card {
    struct pci_function f;
    struct pci_function_state state;
    uint64_t last_offset, last_value;
    unsigned writes;
};

struct rig {
    struct log log;
    struct bus *bus;
    struct memory *memory;
    struct device *host;
    struct card card[CARDS];
    bool line[PCI_LINES];
    unsigned messages;
    uint64_t address;
    uint32_t data;
};

static uint64_t card_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    uint64_t v;

    return pci_msix_read(f, offset, size, &v) ? v : offset;
}

static void card_write(struct pci_function *f, uint64_t offset, unsigned size, uint64_t value)
{
    struct card *c = container_of(f, struct card, f);

    assert_true(offset < LARGE_BYTES);
    if (pci_msix_write(f, offset, size, value))
        return;
    c->last_offset = offset;
    c->last_value = value;
    c->writes++;
}

static const struct pci_bar_ops card_ops = {card_read, card_write};

static void set_line(void *opaque, unsigned n, bool level)
{
    ((struct rig *)opaque)->line[n] = level;
}

static struct irq_line line(void *opaque, unsigned n)
{
    return (struct irq_line){set_line, opaque, n};
}

static void message(void *opaque, uint64_t address, uint32_t data)
{
    struct rig *rig = opaque;

    rig->messages++;
    rig->address = address;
    rig->data = data;
}

static int setup(void **state)
{
    static const struct pci_identity id = {.vendor = 0x1234, .device = 0x11, .class = 0x020000,
                                           .intx = true};
    struct rig *rig = calloc(1, sizeof *rig);

    log_init(&rig->log, -1);
    rig->bus = bus_new(NULL);
    rig->memory = memory_new(1 << 20, NULL);
    const struct device_env env = {.bus = rig->bus, .memory = rig->memory, .log = &rig->log};
    const struct pci_bus_config cfg = {
        .ecam = ECAM, .io = {IO, 0x1000}, .memory = {WINDOW, 1 << 24},
        .memory64 = {HIGH, 1 << 30}, .line = line, .line_opaque = rig, .irq = {10, 10, 11, 11},
        .msi = {message, rig},
    };
    rig->host = pci_bus_new(&env, &cfg, NULL);
    assert_non_null(rig->host);
    for (unsigned i = 0; i < CARDS; i++) {
        struct card *c = &rig->card[i];

        pci_function_init(&c->f, &c->state, "card", &id);
        pci_bar_set(&c->f, 0, PCI_BAR_MEMORY64, LARGE_BYTES, &card_ops);
        pci_bar_set(&c->f, 2, PCI_BAR_MEMORY, 4096, &card_ops);
        pci_bar_set(&c->f, 3, PCI_BAR_IO, PORT_BYTES, &card_ops);
        pci_msix_set(&c->f, 4, 0, TABLE, PENDING);
        assert_int_equal(pci_bus_add(pci_bus_of(rig->host), &c->f, -1, NULL), 0);
    }
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    for (unsigned i = 0; i < CARDS; i++)
        pci_bus_remove(pci_bus_of(rig->host), &rig->card[i].f);
    device_destroy(rig->host);
    bus_free(rig->bus);
    memory_free(rig->memory);
    free(rig);
    return 0;
}

static uint64_t at(unsigned slot, unsigned offset)
{
    return ECAM + (slot << 15) + offset;
}

static uint32_t get(struct rig *rig, unsigned slot, unsigned offset, unsigned size)
{
    return (uint32_t)bus_read(rig->bus, BUS_MMIO, at(slot, offset), size);
}

static void put(struct rig *rig, unsigned slot, unsigned offset, unsigned size, uint32_t v)
{
    bus_write(rig->bus, BUS_MMIO, at(slot, offset), size, v);
}

static void test_both_ways(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(get(rig, 0, 0, 4), 0x29c08086);
    assert_int_equal(get(rig, 1, 0, 4), 0x00111234);
    assert_int_equal(get(rig, 1, PCI_CLASS - 1, 4) & 0xffffff, 0x020000);
    assert_int_equal(get(rig, 5, 0, 4), UINT32_MAX);
    assert_int_equal(bus_read(rig->bus, BUS_MMIO, at(1, 0) + 4096, 4), UINT32_MAX);
    assert_int_equal(get(rig, 1, 0x100, 4), 0);
    pci_address_write(pci_bus_of(rig->host), 0x80000000u | 2 << 11 | 0);
    assert_int_equal(bus_read(rig->bus, BUS_PIO, 0xcfc, 4), 0x00111234);
    assert_int_equal(bus_read(rig->bus, BUS_PIO, 0xcfe, 2), 0x0011);
    pci_address_write(pci_bus_of(rig->host), 2 << 11);         /* not enabled */
    assert_int_equal(bus_read(rig->bus, BUS_PIO, 0xcfc, 4), UINT32_MAX);
    pci_address_write(pci_bus_of(rig->host), 0x80010000u);     /* another bus */
    assert_int_equal(bus_read(rig->bus, BUS_PIO, 0xcfc, 4), UINT32_MAX);
    put(rig, 1, PCI_VENDOR, 4, 0);
    assert_int_equal(get(rig, 1, 0, 4), 0x00111234);
}

/* PCI 3.0, 6.2.5.1. */
static void test_sizing_and_moving(void **state)
{
    struct rig *rig = *state;
    uint64_t where;

    put(rig, 1, PCI_BAR0, 4, UINT32_MAX);
    put(rig, 1, PCI_BAR0 + 4, 4, UINT32_MAX);
    assert_int_equal(get(rig, 1, PCI_BAR0, 4), (uint32_t)-LARGE_BYTES | 4);
    assert_int_equal(get(rig, 1, PCI_BAR0 + 4, 4), UINT32_MAX);
    put(rig, 1, PCI_BAR0 + 12, 4, UINT32_MAX);
    assert_int_equal(get(rig, 1, PCI_BAR0 + 12, 4), (uint32_t)-PORT_BYTES | 1);
    put(rig, 1, PCI_BAR0, 4, 0x10008000);
    put(rig, 1, PCI_BAR0 + 4, 4, 0x90);
    assert_true(pci_bar_mapped(&rig->card[0].f, 0, &where));
    assert_int_equal(where, 0x9010008000ull);
    bus_write(rig->bus, BUS_MMIO, where + 0x123, 1, 7);
    assert_int_equal(rig->card[0].last_offset, 0x123);
    put(rig, 1, PCI_COMMAND, 2, PCI_COMMAND_IO);               /* memory off */
    assert_false(pci_bar_mapped(&rig->card[0].f, 0, &where));
    assert_int_equal(bus_read(rig->bus, BUS_MMIO, where + 0x10, 1), 0xff);
    put(rig, 1, PCI_BAR0 + 12, 4, 0xc800);
    assert_int_equal(bus_read(rig->bus, BUS_PIO, 0xc805, 1), 5);
}

/* Two BARs at one place: the second answers as soon as the first is gone. */
static void test_in_the_way(void **state)
{
    struct rig *rig = *state;
    uint64_t where, first = get(rig, 1, PCI_BAR0 + 8, 4);

    put(rig, 2, PCI_BAR0 + 8, 4, (uint32_t)first);
    assert_false(pci_bar_mapped(&rig->card[1].f, 2, &where));
    bus_write(rig->bus, BUS_MMIO, first, 4, 1);
    assert_int_equal(rig->card[0].writes, 1);
    put(rig, 1, PCI_BAR0 + 8, 4, 0xc0800000);
    assert_true(pci_bar_mapped(&rig->card[1].f, 2, &where));
    bus_write(rig->bus, BUS_MMIO, first, 4, 1);
    assert_int_equal(rig->card[1].writes, 1);
}

static void test_intx(void **state)
{
    struct rig *rig = *state;

    pci_intx_set(&rig->card[0].f, true);
    assert_true(rig->line[0]);
    assert_true(get(rig, 1, PCI_STATUS, 2) & PCI_STATUS_INTX);
    put(rig, 1, PCI_COMMAND, 2, get(rig, 1, PCI_COMMAND, 2) | PCI_COMMAND_INTX_OFF);
    assert_false(rig->line[0]);
    put(rig, 1, PCI_COMMAND, 2, 0);
    assert_true(rig->line[0]);
    assert_int_equal(pci_intx_line(1, 0), 0);
    assert_int_equal(get(rig, 1, PCI_INTERRUPT_LINE, 1), 10);
}

static void test_msix(void **state)
{
    struct rig *rig = *state;
    struct pci_function *f = &rig->card[0].f;
    unsigned cap = f->msix_capability;
    uint64_t bar;

    assert_true(pci_bar_mapped(f, 0, &bar));
    put(rig, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_msix_raise(f, 1);
    assert_int_equal(rig->messages, 0);                        /* off: nothing pends either */
    put(rig, 1, cap + 2, 2, 0x8000);
    bus_write(rig->bus, BUS_MMIO, bar + TABLE + 16, 8, 0x1fee00000ull);
    bus_write(rig->bus, BUS_MMIO, bar + TABLE + 24, 4, 0x4051);
    pci_msix_raise(f, 1);                                      /* masked after reset */
    assert_int_equal(rig->messages, 0);
    assert_int_equal(bus_read(rig->bus, BUS_MMIO, bar + PENDING, 8), 2);
    bus_write(rig->bus, BUS_MMIO, bar + TABLE + 28, 4, 0);
    assert_int_equal(rig->messages, 1);
    assert_int_equal(rig->address, 0x1fee00000ull);
    assert_int_equal(rig->data, 0x4051);
    assert_int_equal(bus_read(rig->bus, BUS_MMIO, bar + PENDING, 8), 0);
    put(rig, 1, cap + 2, 2, 0xc000);                           /* all masked */
    pci_msix_raise(f, 1);
    pci_msix_raise(f, 4);                                      /* no such vector */
    pci_msix_raise(f, 0xffff);
    assert_int_equal(rig->messages, 1);
    put(rig, 1, cap + 2, 2, 0x8000);
    assert_int_equal(rig->messages, 2);
}

static void test_reset(void **state)
{
    struct rig *rig = *state;
    struct card *c = &rig->card[2];
    struct pci_function_state before = c->state;

    for (unsigned i = 0; i < 256; i += 4)
        put(rig, 3, i, 4, UINT32_MAX);
    pci_intx_set(&c->f, true);
    pci_function_reset(&c->f);
    assert_memory_equal(&before, &c->state, sizeof before);
}

/* A frame buffer and a ROM: the guest sees the device's bytes where the BARs say. */
static void test_memory_behind(void **state)
{
    enum { VRAM = 1 << 16, ROM = 8192 };
    static const struct pci_identity id = {.vendor = 1, .class = 0x030000};
    struct rig *rig = *state;
    struct pci_function_state s;
    struct pci_function f;
    hva_t vram = memory_block_new("vram", VRAM, NULL), rom = memory_block_new("rom", ROM, NULL);

    pci_function_init(&f, &s, "vga", &id);
    pci_bar_set(&f, 0, PCI_BAR_MEMORY, VRAM, NULL);
    pci_bar_memory(&f, 0, vram, 0);
    pci_rom_set(&f, rom, ROM);
    assert_int_equal(pci_bus_add(pci_bus_of(rig->host), &f, 8, NULL), 0);
    uint64_t where = get(rig, 8, PCI_BAR0, 4);
    vram.p[5] = 0x55;
    assert_ptr_equal(memory_host(rig->memory, gpa(where + 5), 1, true).p, vram.p + 5);
    put(rig, 8, PCI_BAR0, 4, 0xc0900000);
    assert_null(memory_find(rig->memory, gpa(where)));
    assert_int_equal(*memory_host(rig->memory, gpa(0xc0900005), 1, false).p, 0x55);
    /* The ROM has a bit of its own; guests do not write it. */
    put(rig, 8, PCI_ROM_ADDRESS, 4, UINT32_MAX);
    assert_int_equal(get(rig, 8, PCI_ROM_ADDRESS, 4), (uint32_t)-ROM | 1);
    put(rig, 8, PCI_ROM_ADDRESS, 4, 0xc0a00000);
    assert_null(memory_find(rig->memory, gpa(0xc0a00000)));
    put(rig, 8, PCI_ROM_ADDRESS, 4, 0xc0a00001);
    assert_ptr_equal(memory_host(rig->memory, gpa(0xc0a00000), ROM, false).p, rom.p);
    assert_null(memory_host(rig->memory, gpa(0xc0a00000), 1, true).p);
    /* In each other's way: the later one waits. */
    put(rig, 8, PCI_ROM_ADDRESS, 4, 0xc0900001);
    assert_null(memory_find(rig->memory, gpa(0xc0a00000)));
    put(rig, 8, PCI_BAR0, 4, 0xc0b00000);
    assert_ptr_equal(memory_host(rig->memory, gpa(0xc0900000), ROM, false).p, rom.p);
    put(rig, 8, PCI_COMMAND, 2, 0);
    assert_null(memory_find(rig->memory, gpa(0xc0900000)));
    pci_function_reset(&f);
    assert_ptr_equal(memory_host(rig->memory, gpa(where), VRAM, true).p, vram.p);
    pci_bus_remove(pci_bus_of(rig->host), &f);
    assert_null(memory_find(rig->memory, gpa(where)));
    memory_block_free(vram, VRAM);
    memory_block_free(rom, ROM);
}

static void test_functions_of_one_slot(void **state)
{
    static const struct pci_identity id = {.vendor = 1, .device = 2};
    struct rig *rig = *state;
    struct pci_function_state s;
    struct pci_function f;

    pci_function_init(&f, &s, "second", &id);
    assert_int_equal(get(rig, 1, PCI_HEADER_TYPE, 1), 0);
    assert_int_equal(pci_bus_add_beside(pci_bus_of(rig->host), &f, 1, 3, NULL), 0);
    assert_int_equal(get(rig, 1, PCI_HEADER_TYPE, 1), PCI_MULTI_FUNCTION);
    assert_int_equal(bus_read(rig->bus, BUS_MMIO, at(1, 0) + (3 << 12), 4), 0x00020001);
    pci_function_reset(&rig->card[0].f);
    assert_int_equal(get(rig, 1, PCI_HEADER_TYPE, 1), PCI_MULTI_FUNCTION);
    pci_bus_remove(pci_bus_of(rig->host), &f);
    assert_int_equal(bus_read(rig->bus, BUS_MMIO, at(1, 0) + (3 << 12), 4), UINT32_MAX);
}

static void test_no_room(void **state)
{
    struct rig *rig = *state;
    static const struct pci_identity id = {.vendor = 1};
    struct pci_function_state s;
    struct pci_function f;
    struct error *err = NULL;

    pci_function_init(&f, &s, "large", &id);
    pci_bar_set(&f, 0, PCI_BAR_MEMORY, 1u << 31, &card_ops);
    int rc = pci_bus_add(pci_bus_of(rig->host), &f, -1, &err);
    expect_error(rc, ENOSPC, &err, "no address space");
    rc = pci_bus_add(pci_bus_of(rig->host), &f, 1, &err);
    expect_error(rc, EBUSY, &err, "slot 1");
}

/* Random configuration traffic: what is not writable stays, what is mapped is what the
 * registers say, and the bus never has two owners of one place (bus_add would tell). */
static void test_random(void **state)
{
    struct rig *rig = *state;
    uint64_t s = 7;

    for (unsigned i = 0; i < 200000; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        unsigned slot = s % (CARDS + 2), size = 1u << (s >> 8 & 1) << (s >> 9 & 1);
        unsigned offset = (s >> 16 & 1 ? s >> 20 & 0xff : PCI_BAR0 + (s >> 20) % 24) & ~(size - 1);
        uint32_t v = s >> 17 & 1 ? (uint32_t)(s >> 32) : s >> 18 & 1 ? 0xc0000000u + (s >> 40 & 0xf) * 4096
                                                                    : (uint32_t)(s >> 60);

        put(rig, slot, offset, size, v);
        if (i % 64 == 0)
            pci_msix_raise(&rig->card[s % CARDS].f, s >> 30 & 7);
        if (slot >= 1 && slot <= CARDS)
            assert_int_equal(get(rig, slot, 0, 4), 0x00111234);
    }
    for (unsigned i = 0; i < CARDS; i++)
        pci_function_reset(&rig->card[i].f);
    for (unsigned i = 0; i < CARDS; i++) {
        uint64_t where;

        pci_function_resume(&rig->card[i].f);
        assert_true(pci_bar_mapped(&rig->card[i].f, 0, &where));
        assert_true(pci_bar_mapped(&rig->card[i].f, 3, &where));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizing_and_moving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_functions_of_one_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
