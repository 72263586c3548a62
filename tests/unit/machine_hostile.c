/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine_hostile.c - guests that write anything anywhere: whatever they do,
 * the machine ends properly or is stopped, and nothing of the host's breaks.
 *
 * Each guest is made from a seed: raw bytes, port and memory accesses at the
 * devices, MSRs and control registers. Its exception handlers step over what
 * faulted, so that it gets far. RING3_SEED and RING3_RUNS choose others.
 */
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "machine/machine.h"

enum {
    LOAD = 0x100000, IMAGE_BYTES = 0x8000, ENTRY = 0x40, CODE_END = 0x4f00, IDT = 0x5000,
    SKIP_ERROR = 0x6000, SKIP = 0x6010, IDTR = 0x7000, RUN_US = 15000, DISK_BYTES = 64 << 10,
};

struct guest {
    uint8_t image[IMAGE_BYTES];
    size_t at;
    uint64_t random;
};

static uint32_t any(struct guest *g)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return (uint32_t)(g->random >> 16);
}

/* Of every magnitude. */
static uint32_t any_value(struct guest *g)
{
    return any(g) >> any(g) % 32;
}

static void emit(struct guest *g, const void *bytes, size_t len)
{
    memcpy(g->image + g->at, bytes, len);
    g->at += len;
}

static void emit8(struct guest *g, uint8_t byte)
{
    emit(g, &byte, 1);
}

static void emit32(struct guest *g, uint8_t opcode, uint32_t value)
{
    emit8(g, opcode);
    emit(g, &value, 4);
}

static void port_access(struct guest *g)
{
    static const uint16_t ports[] = {
        0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80,
        0x92, 0xcf8, 0xcf9, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x600, 0x602, 0x604,
        0x608, 0xe9, 0xf4, 0x505, 0x4d0, 0x4d1, 0xe0, 0xe4, 0x510, 0x511,
        /* the simple machine, hypercalls */
        100, 101, 102, 103, 104, 106, 106, 107, 0x1f0, 0x1f2, 0x1f6, 0x1f7, 0xea, 0xeb, 0xec,
        0xed, 0xee, 0xabba, 0xabba, 0xabbe, 0xabc2, 0xfffe, 0xffff,
    };
    static const uint8_t opcodes[] = {0xee, 0xef, 0xec, 0xed};     /* OUT, IN; byte, dword */
    uint16_t port = any(g) % 3 ? ports[any(g) % ARRAY_SIZE(ports)] : 0x2000 + any(g) % 24;

    /* Ports that end the machine are chosen less often. */
    if ((port == 0x64 || port == 0x92 || port == 0xcf9 || port == 0x604 || port == 0xf4 ||
         port == 0x505) && any(g) % 8)
        return;
    emit32(g, 0xba, port);                       /* mov edx, port */
    emit32(g, 0xb8, any_value(g));               /* mov eax, value */
    if (any(g) % 4 == 0)
        emit8(g, 0x66);
    emit8(g, opcodes[any(g) % ARRAY_SIZE(opcodes)]);
}

static void memory_access(struct guest *g)
{
    static const uint32_t bases[] = {0xfec00000, 0xfee00000, 0xff000000, 0xa0000, 0xe0000,
                                     0xfffff000, 0xb8000, 0xfedb0000, 0xfedb1000, 0xfedb1000};
    uint32_t address = bases[any(g) % ARRAY_SIZE(bases)] + (any(g) & 0xfff);

    if (any(g) % 2)
        address &= ~15u;
    emit32(g, 0xb8, any_value(g));
    emit32(g, 0xa3, address);                    /* mov [address], eax */
    emit32(g, 0xa1, address);                    /* mov eax, [address] */
}

static void register_access(struct guest *g)
{
    static const uint32_t msrs[] = {0x10, 0x1b, 0x3a, 0x174, 0x1a0, 0x277, 0x2ff, 0x6e0,
                                    0xc0000080, 0xc0000081, 0xc0000103};
    static const uint8_t moves[][3] = {{0x0f, 0x22, 0xc0}, {0x0f, 0x22, 0xe0}, {0x0f, 0x22, 0xd8},
                                       {0x0f, 0x20, 0xc0}, {0x0f, 0x23, 0xf8}, {0x0f, 0x01, 0xd1}};

    if (any(g) % 3 == 0) {
        emit(g, moves[any(g) % ARRAY_SIZE(moves)], 3);
        return;
    }
    emit32(g, 0xb9, any(g) % 2 ? 0x800 + any(g) % 256 : msrs[any(g) % ARRAY_SIZE(msrs)]);
    emit32(g, 0xb8, any_value(g));
    emit32(g, 0xba, any(g) % 2 ? 0 : any_value(g));
    emit(g, any(g) % 2 ? "\x0f\x30" : "\x0f\x32", 2);              /* WRMSR, RDMSR */
}

static void raw_bytes(struct guest *g)
{
    for (unsigned n = 1 + any(g) % 6; n; n--)
        emit8(g, (uint8_t)any(g));
}

/* 32-bit interrupt gates to handlers that move the return address by one. */
static void make_idt(struct guest *g)
{
    for (unsigned v = 0; v < 256; v++) {
        bool error = v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21;
        uint32_t to = LOAD + (error ? SKIP_ERROR : SKIP);
        uint8_t *gate = g->image + IDT + v * 8;

        put_le16(gate, (uint16_t)to);
        put_le16(gate + 2, 0x10);
        gate[5] = 0x8e;
        put_le16(gate + 6, (uint16_t)(to >> 16));
    }
    memcpy(g->image + SKIP_ERROR, "\x83\xc4\x04\xff\x04\x24\xcf", 7);
    memcpy(g->image + SKIP, "\xff\x04\x24\xcf", 4);
    put_le16(g->image + IDTR, 0x7ff);
    put_le32(g->image + IDTR + 2, LOAD + IDT);
}

static void make_guest(struct guest *g, uint64_t seed)
{
    memset(g, 0, sizeof *g);
    g->random = seed * 0x9e3779b97f4a7c15 + 1;
    put_le32(g->image, 0x1badb002);
    put_le32(g->image + 4, 0x10000);
    put_le32(g->image + 8, -(0x1badb002 + 0x10000));
    put_le32(g->image + 12, LOAD);
    put_le32(g->image + 16, LOAD);
    put_le32(g->image + 28, LOAD + ENTRY);
    make_idt(g);
    g->at = ENTRY;
    emit(g, "\x0f\x01\x1d", 3);                  /* lidt [IDTR] */
    put_le32(g->image + g->at, LOAD + IDTR);
    g->at += 4;
    emit32(g, 0xbc, 0x200000);                   /* mov esp, 2 MiB */
    while (g->at < CODE_END) {
        unsigned kind = any(g) % 16;

        if (seed % 3 == 0 || kind < 3)
            raw_bytes(g);
        else if (kind < 10)
            port_access(g);
        else if (kind < 13)
            memory_access(g);
        else if (kind < 14)
            emit(g, "\xfb\x90", 2);              /* sti; nop */
        else
            register_access(g);
    }
}

static void swallow(void *opaque, const uint8_t *data, size_t len)
{
}

static void *stop_soon(void *opaque)
{
    usleep(RUN_US);
    machine_stop(opaque);
    return NULL;
}

static void run_seed(uint64_t seed)
{
    static struct guest g;
    struct machine_result result = {0};
    struct machine_config cfg;
    struct log log = {.fd = -1};
    struct machine *m = NULL;
    pthread_t stopper;
    char path[32], disk[64];
    const char *const disks[] = {disk, NULL};
    int fd = memfd_create("guest", MFD_CLOEXEC), image = memfd_create("disk", MFD_CLOEXEC);

    make_guest(&g, seed);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, g.image, sizeof g.image), sizeof g.image);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    machine_config_defaults(&cfg);
    cfg.machine = seed % 4 == 1 ? "simple" : seed % 4 == 3 ? "teach" : "pc";
    cfg.engine = "interp";
    cfg.kernel = path;
    assert_int_equal(ftruncate(image, DISK_BYTES), 0);
    snprintf(disk, sizeof disk, "/proc/self/fd/%d,format=raw%s", image,
             seed % 2 ? "" : ",bus=ata");
    cfg.disks = disks;
    cfg.memory_bytes = 4 << 20;
    cfg.cpus = 1 + seed % 2;
    cfg.test_device = true;
    cfg.no_reboot = seed % 5 == 0;
    cfg.serial = cfg.debugcon = (struct machine_serial){.write = swallow};
    cfg.log = &log;
    assert_int_equal(machine_new(&cfg, &m, NULL), 0);
    assert_int_equal(pthread_create(&stopper, NULL, stop_soon, m), 0);
    assert_int_equal(machine_run(m, &result, NULL), 0);
    pthread_join(stopper, NULL);
    if (result.end == MACHINE_FAILED)
        fail_msg("seed %llu: %s", (unsigned long long)seed, error_text(result.error));
    machine_free(m);
    close(fd);
    close(image);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void nothing_a_guest_does_breaks_the_monitor(void **state)
{
    uint64_t first = number("RING3_SEED", 1), runs = number("RING3_RUNS", 60);

    for (uint64_t seed = first; seed < first + runs; seed++)
        run_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_a_guest_does_breaks_the_monitor)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
