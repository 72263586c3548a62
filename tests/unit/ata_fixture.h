/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ata_fixture.h - two channels, a bus master, images in files, RAM for DMA. */
#ifndef RING3_TESTS_ATA_FIXTURE_H
#define RING3_TESTS_ATA_FIXTURE_H

#include "block_fixture.h"
#include "device_fixture.h"

#include "device/ata.h"
#include "device/ide_pci.h"
#include "memory/memory.h"
#include "pci/pci.h"

enum { RAM_BYTES = 1 << 20, DISK_SECTORS = 1024, CD_UNITS = 64, BM = 0xc000 };
enum { DATA = 0x1f0, ERROR = 0x1f1, COUNT = 0x1f2, LOW = 0x1f3, MID = 0x1f4, HIGH = 0x1f5,
       DEVICE = 0x1f6, STATUS = 0x1f7, FEATURES = ERROR, COMMAND = STATUS, CONTROL = 0x3f6 };
enum { ERR = 0x01, DRQ = 0x08, BSY = 0x80, READY = 0x50, ABRT = 4, IDNF = 0x10, UNC = 0x40 };
enum { LBA = 0x40, DRIVE1 = 0x10 };

struct ata_bench {
    struct fixture f;
    struct bench b;
    struct memory *memory;
    struct device *host, *ide, *channel[2];
    struct error *err;
    unsigned stops;              /* on-error=stop was told */
};

static inline struct irq_line ata_no_line(void *opaque, unsigned n)
{
    return (struct irq_line){0};
}

/* A file whose every 512 bytes differ. */
static inline const char *ata_image_file(struct ata_bench *a, const char *name, uint64_t bytes)
{
    const char *path = in_dir(&a->f, name);
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    for (uint64_t i = 0; i < bytes; i++)
        fputc((int)((i * 7 + i / 512 * 13 + i / 65536) & 0xff), out);
    fclose(out);
    return path;
}
static inline uint8_t ata_byte(uint64_t i)
{
    return (uint8_t)(i * 7 + i / 512 * 13 + i / 65536);
}

static inline void ata_stopped(void *opaque, const char *name, int error)
{
    ((struct ata_bench *)opaque)->stops++;
}

static inline struct block *ata_open(struct ata_bench *a, const char *name)
{
    struct block *b = open_raw(&a->f, name, BLOCK_WRITEBACK);

    assert_non_null(b);
    return b;
}

static inline void ata_put(struct ata_bench *a, unsigned place, enum ata_kind kind,
                           const char *name, bool stops)
{
    struct ata_drive_config cfg = {.kind = kind, .name = kind == ATA_DISK ? "disk0" : "cdrom0",
                                   .write_back = true, .block = name ? ata_open(a, name) : NULL,
                                   .failed = stops ? ata_stopped : NULL, .opaque = a};

    assert_int_equal(ata_attach(a->channel[place / 2], place % 2, &cfg, &a->err), 0);
}

/* Everything but drives. */
static inline void ata_bench_init(struct ata_bench *a)
{
    const struct pci_bus_config pci = {.io = {BM, 0x1000}, .line = ata_no_line};
    struct ide_pci_config ide = {.slot = 1};
    struct device_env env;

    memset(a, 0, sizeof *a);
    fixture_init(&a->f, true);
    env = bench_init(&a->b);
    a->memory = memory_new(RAM_BYTES, NULL);
    memory_map_ram(a->memory, "ram", gpa(0), 0, RAM_BYTES, 0, NULL);
    assert_non_null(memory_map_block(a->memory, "rom", gpa(0xf0000000), 4096, MEMORY_READONLY,
                                     NULL).p);
    env.memory = a->memory;
    a->host = pci_bus_new(&env, &pci, &a->err);
    assert_non_null(a->host);
    for (unsigned i = 0; i < 2; i++) {
        struct ata_config cfg = {.name = i ? "ata1" : "ata0", .command = i ? 0x170 : 0x1f0,
                                 .control = i ? 0x376 : 0x3f6};

        if (!i)
            cfg.irq = bench_line(&a->b);
        a->channel[i] = ide.channel[i] = ata_new(&env, &cfg, &a->err);
        assert_non_null(a->channel[i]);
    }
    a->ide = ide_pci_new(&env, pci_bus_of(a->host), &ide, &a->err);
    assert_non_null(a->ide);
    pci_config_write(pci_bus_function(pci_bus_of(a->host), 1), PCI_COMMAND, 2,
                     PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static inline void ata_bench_fini(struct ata_bench *a)
{
    device_destroy(a->ide);
    device_destroy(a->channel[0]);
    device_destroy(a->channel[1]);
    device_destroy(a->host);
    bench_fini(&a->b);
    memory_free(a->memory);
    fixture_fini(&a->f);
    error_free(&a->err);
}

/* Until the requests under way are done. */
static inline void ata_wait(struct ata_bench *a)
{
    device_quiesce(a->channel[0]);
    device_quiesce(a->channel[1]);
}

static inline uint8_t ata_status(struct ata_bench *a)
{
    ata_wait(a);
    return inb(&a->b, STATUS);
}

static inline void ata_command(struct ata_bench *a, uint8_t device, uint8_t command, uint32_t lba,
                               uint8_t count)
{
    outb(&a->b, DEVICE, (uint8_t)(device | (lba >> 24 & 15)));
    outb(&a->b, COUNT, count);
    outb(&a->b, LOW, (uint8_t)lba);
    outb(&a->b, MID, (uint8_t)(lba >> 8));
    outb(&a->b, HIGH, (uint8_t)(lba >> 16));
    outb(&a->b, COMMAND, command);
    ata_wait(a);
}

static inline void ata_in(struct ata_bench *a, void *buf, size_t bytes)
{
    uint16_t *to = buf;

    for (size_t i = 0; i < bytes / 2; i++) {
        to[i] = (uint16_t)bus_read(a->b.bus, BUS_PIO, DATA, 2);
        if (i % 256 == 255)
            ata_wait(a);
    }
}

static inline void ata_out(struct ata_bench *a, const void *buf, size_t bytes)
{
    const uint16_t *from = buf;

    for (size_t i = 0; i < bytes / 2; i++) {
        bus_write(a->b.bus, BUS_PIO, DATA, 2, from[i]);
        if (i % 256 == 255)
            ata_wait(a);
    }
}

#endif
