/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device_hypercall.c - hypercalls against fakes: what they print and give, and that a
 * guest which says nonsense gets an error and nothing else.
 *
 * Virtual addresses are physical ones in the first 64 KiB, except the page at BAD.
 */
#include "device_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/loop.h"
#include "block/block.h"
#include "device/hypercall.h"
#include "memory/memory.h"
#include "ring3/hypercall.h"
#include "ring3/simple.h"

enum { RAM = 1 << 20, MAPPED = 0x10000, BAD = 0x8000, SECTORS = 64 };

struct fixture {
    struct bench b;
    struct memory *memory;
    struct hypercalls *h;
    struct loop *loop;
    struct block_io *io;
    struct block *disk;
    int image;
    uint64_t exits[HYPERCALL_EXITS];
    uint8_t screen[HYPERCALL_SCREEN_BYTES];
};

static int translate(void *opaque, unsigned vcpu, gva_t a, gpa_t *out)
{
    if (a.v >= MAPPED || (a.v & PAGE_MASK) == BAD)
        return -1;
    *out = gpa(a.v);
    return 0;
}

static void exits(void *opaque, uint64_t out[HYPERCALL_EXITS])
{
    memcpy(out, ((struct fixture *)opaque)->exits, HYPERCALL_EXITS * sizeof *out);
}

static bool screen(void *opaque, unsigned first, const uint8_t *cells, unsigned count)
{
    struct fixture *f = opaque;

    assert_true(range_inside(first, count, HYPERCALL_COLUMNS * HYPERCALL_ROWS));
    memcpy(f->screen + 2 * first, cells, 2 * count);
    return true;
}

static struct block *open_disk(struct fixture *f)
{
    char path[32];
    struct block_open how = {.name = path, .format = "raw", .log = &f->b.log};

    f->image = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->image, SECTORS * 512), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", f->image);
    f->loop = loop_new(NULL);
    loop_attach(f->loop, bus_lock(f->b.bus), f->b.clock);
    f->io = block_io_new(f->loop, bus_lock(f->b.bus), NULL);
    return block_open(f->io, &how, NULL);
}

static struct device *make(struct fixture *f, const char *const *moved, struct error **err)
{
    struct device_env env = bench_init(&f->b);
    struct hypercall_config cfg = {
        .groups = HYPERCALL_SHARED_PAGE | HYPERCALL_TEACHING | HYPERCALL_SIMPLE, .moved = moved,
        .cpus = 2, .translate = translate, .exits = exits, .machine = f, .print = bench_text,
        .print_opaque = &f->b, .screen = screen, .screen_opaque = f, .base_ns = 1000,
    };

    f->memory = memory_new(RAM, NULL);
    assert_int_equal(memory_map_ram(f->memory, "ram", gpa(0), 0, RAM, 0, NULL), 0);
    env.memory = f->memory;
    cfg.disk = f->disk = open_disk(f);
    assert_non_null(f->disk);
    return hypercalls_new(&env, &cfg, err);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    f->b.dev = NULL;
    struct device *dev = make(f, NULL, NULL);
    assert_non_null(dev);
    f->b.dev = dev;
    f->h = hypercalls_of(dev);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pthread_mutex_lock(bus_lock(f->b.bus));
    block_close(f->disk, NULL);
    block_io_free(f->io);
    pthread_mutex_unlock(bus_lock(f->b.bus));
    loop_free(f->loop);
    bench_fini(&f->b);
    memory_free(f->memory);
    close(f->image);
    free(f);
    return 0;
}

static void out(struct fixture *f, uint16_t port, uint32_t value)
{
    assert_true(hypercalls_port_write(f->h, 0, port, 4, value));
}

static uint32_t in(struct fixture *f, unsigned vcpu, uint16_t port)
{
    uint64_t value = 0;

    assert_true(hypercalls_port_read(f->h, vcpu, port, 4, &value));
    return (uint32_t)value;
}

static uint32_t call(struct fixture *f, uint32_t number)
{
    out(f, RING3_HC_PORT, number);
    return in(f, 0, RING3_HC_PORT);
}

static void *page(struct fixture *f)
{
    return memory_host(f->memory, gpa((uint64_t)in(f, 0, RING3_HC_PORT_PAGE) << 12), 4096, true).p;
}

static void put(struct fixture *f, uint64_t at, const void *data, size_t len)
{
    assert_int_equal(memory_write(f->memory, gpa(at), data, len), 0);
}

/* ---- teaching calls ---------------------------------------------------------- */

static void teaching_calls_print(void **state)
{
    struct fixture *f = *state;

    out(f, 0xe9, 'x');
    out(f, 0xea, 4294967295u);
    put(f, 0x1ffe, "across pages", 13);
    out(f, 0xec, 0x1ffe);
    assert_string_equal(f->b.text, "x4294967295\nacross pages");
    assert_int_equal(in(f, 0, 0xe9), 0xe9);
}

static void exits_are_told(void **state)
{
    struct fixture *f = *state;
    const char *text = "IO in: 3\nIO out: 40\n";
    char back[32];

    memcpy(f->exits, (uint64_t[]){3, 40, 500, 6000}, sizeof f->exits);
    assert_int_equal(in(f, 0, 0xeb), 6543);
    out(f, 0xed, 0x2ffa);
    memory_read(f->memory, gpa(0x2ffa), back, sizeof back);
    assert_string_equal(back, text);
    assert_int_equal(call(f, RING3_HC_EXITS), RING3_HC_OK);
    assert_memory_equal(page(f), f->exits, sizeof f->exits);
}

static void wrong_pointers_print_nothing(void **state)
{
    struct fixture *f = *state;
    char before[64], after[64];

    memory_fill(f->memory, gpa(BAD - 16), 'a', 16);
    memory_fill(f->memory, gpa(MAPPED - 16), 'a', 16);
    out(f, 0xec, BAD - 16);          /* runs into a page that is not mapped */
    out(f, 0xec, MAPPED - 16);       /* ... into the end */
    out(f, 0xec, 0xfffffff0);
    memory_read(f->memory, gpa(BAD - 32), before, sizeof before);
    out(f, 0xed, BAD + 1);
    out(f, 0xed, 0xffffffff);
    memory_read(f->memory, gpa(BAD - 32), after, sizeof after);
    assert_memory_equal(before, after, sizeof before);
    assert_string_equal(f->b.text, "");
}

/* All of what is mapped is one string without an end. */
static void a_string_without_an_end_is_cut_short(void **state)
{
    struct fixture *f = *state;

    memory_fill(f->memory, gpa(0), 'a', BAD);
    out(f, 0xec, 0);
    assert_string_equal(f->b.text, "");
}

static void addresses_are_translated(void **state)
{
    struct fixture *f = *state;
    uint32_t where = (uint32_t)(uintptr_t)memory_host(f->memory, gpa(0x1234), 1, false).p;

    out(f, 0xee, 0x1234);
    assert_int_equal(in(f, 0, 0xee), where);
    assert_int_equal(in(f, 1, 0xee), 0);          /* each processor asks for itself */
    out(f, 0xee, BAD);
    assert_int_equal(in(f, 0, 0xee), 0);
    assert_string_equal(f->b.text, "Invalid GVA\n");
}

/* ---- the shared page ------------------------------------------------------------ */

static void the_page_moves_within_memory(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(in(f, 0, RING3_HC_PORT_SIGNATURE), RING3_HC_SIGNATURE);
    assert_int_equal(in(f, 0, RING3_HC_PORT_PAGE), RING3_HC_PAGE >> 12);
    out(f, RING3_HC_PORT_PAGE, 0x20);
    assert_int_equal(in(f, 0, RING3_HC_PORT), RING3_HC_OK);
    put(f, 0x20000, "\3\0\0\0abc", 7);
    assert_int_equal(call(f, RING3_HC_PRINT), RING3_HC_OK);
    assert_string_equal(f->b.text, "abc");

    static const uint32_t outside[] = {RAM >> 12, 0xffffffff, RING3_HC_REGISTERS >> 12, 0xfee00};
    for (unsigned i = 0; i < ARRAY_SIZE(outside); i++) {
        out(f, RING3_HC_PORT_PAGE, outside[i]);
        assert_int_equal(in(f, 0, RING3_HC_PORT), RING3_HC_EFAULT);
        assert_int_equal(in(f, 0, RING3_HC_PORT_PAGE), 0x20);
    }
}

static void calls_by_memory_do_the_same(void **state)
{
    struct fixture *f = *state;
    const struct ring3_hc_registers *r =
        (void *)memory_host(f->memory, gpa(RING3_HC_REGISTERS), 4096, false).p;

    assert_int_equal(r->call, RING3_HC_SIGNATURE);
    assert_int_equal(r->page, RING3_HC_PAGE);
    assert_true(hypercalls_mmio_write(f->h, 0, gpa(RING3_HC_REGISTERS + 8), 8, 0x30000));
    assert_int_equal(r->page, 0x30000);
    put(f, 0x30000, "\2\0\0\0hi", 6);
    assert_true(hypercalls_mmio_write(f->h, 0, gpa(RING3_HC_REGISTERS), 4, RING3_HC_PRINT));
    assert_int_equal(r->result, RING3_HC_OK);
    assert_true(hypercalls_mmio_write(f->h, 0, gpa(RING3_HC_REGISTERS), 4, 999));
    assert_int_equal(r->result, RING3_HC_ENOSYS);
    assert_true(hypercalls_mmio_write(f->h, 0, gpa(RING3_HC_REGISTERS + 8), 8, 0x30001));
    assert_int_equal(r->result, RING3_HC_EFAULT);
    assert_true(hypercalls_mmio_write(f->h, 0, gpa(RING3_HC_REGISTERS + 0xfff), 1, 1));
    assert_false(hypercalls_mmio_write(f->h, 0, gpa(RING3_HC_REGISTERS + 0x1000), 4, 1));
    assert_string_equal(f->b.text, "hi");
}

static void screens_take_cells_that_are_on_them(void **state)
{
    struct fixture *f = *state;
    uint8_t all[HYPERCALL_SCREEN_BYTES];

    memcpy(page(f), &(struct ring3_hc_cell){'A', 0x1f, 79, 24}, 4);
    assert_int_equal(call(f, RING3_HC_VGA_PUT), RING3_HC_OK);
    assert_int_equal(f->screen[HYPERCALL_SCREEN_BYTES - 2], 'A');
    assert_int_equal(f->screen[HYPERCALL_SCREEN_BYTES - 1], 0x1f);
    memcpy(page(f), &(struct ring3_hc_cell){'A', 7, 80, 0}, 4);
    assert_int_equal(call(f, RING3_HC_VGA_PUT), RING3_HC_EINVAL);
    memcpy(page(f), &(struct ring3_hc_cell){'A', 7, 0, 25}, 4);
    assert_int_equal(call(f, RING3_HC_VGA_PUT), RING3_HC_EINVAL);
    for (unsigned i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)(i * 7);
    memcpy(page(f), all, sizeof all);
    assert_int_equal(call(f, RING3_HC_VGA_SCREEN), RING3_HC_OK);
    assert_memory_equal(f->screen, all, sizeof all);
}

static void wrong_numbers_and_lengths_are_errors(void **state)
{
    struct fixture *f = *state;
    static const uint32_t numbers[] = {0, 13, 14, 0x7fffffff, 0x80000001, 0xffffffff};

    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        assert_int_equal(call(f, numbers[i]), RING3_HC_ENOSYS);
    memcpy(page(f), "\xfd\x0f\0\0", 4);          /* one more than there is room for */
    assert_int_equal(call(f, RING3_HC_PRINT), RING3_HC_EINVAL);
    memset(page(f), 0xff, 4);
    assert_int_equal(call(f, RING3_HC_PRINT), RING3_HC_EINVAL);
    assert_int_equal(call(f, RING3_HC_EXIT), RING3_HC_EINVAL);
    assert_int_equal(f->b.power_requests, 0);
    memcpy(page(f), "\5\0\0\0", 4);
    assert_int_equal(call(f, RING3_HC_EXIT), RING3_HC_OK);
    assert_int_equal(f->b.power_status, 11);
}

/* ---- disk -------------------------------------------------------------------------- */

static uint32_t run(struct fixture *f, uint32_t number, uint64_t sector, uint32_t count,
                    uint64_t address)
{
    struct ring3_hc_run r = {sector, count, 0, address};

    memcpy(page(f), &r, sizeof r);
    return call(f, number);
}

static void sectors_go_out_and_come_back(void **state)
{
    struct fixture *f = *state;
    struct ring3_hc_sector s = {.sector = 3}, back = {.sector = 3};
    uint8_t data[10 * 512], seen[10 * 512];

    memset(s.data, 0x5a, sizeof s.data);
    memcpy(page(f), &s, sizeof s);
    assert_int_equal(call(f, RING3_HC_DISK_WRITE), RING3_HC_OK);
    memcpy(page(f), &back, sizeof back);
    assert_int_equal(call(f, RING3_HC_DISK_READ), RING3_HC_OK);
    assert_memory_equal(page(f), &s, sizeof s);

    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i / 3);
    put(f, 0x40000, data, sizeof data);
    assert_int_equal(run(f, RING3_HC_DISK_WRITE_RUN, 20, 10, 0x40000), RING3_HC_OK);
    assert_int_equal(pread(f->image, seen, sizeof seen, 20 * 512), sizeof seen);
    assert_memory_equal(seen, data, sizeof data);
    assert_int_equal(run(f, RING3_HC_DISK_READ_RUN, 21, 7, 0), RING3_HC_OK);
    assert_memory_equal((uint8_t *)page(f) + 512, data + 512, 7 * 512);
    assert_int_equal(call(f, RING3_HC_DISK_FLUSH), RING3_HC_OK);
    assert_int_equal(call(f, RING3_HC_DISK_INFO), RING3_HC_OK);
    assert_int_equal(((struct ring3_hc_disk_info *)page(f))->sectors, SECTORS);
}

static void sectors_outside_are_errors(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t sector, address;
        uint32_t count, result;
    } wrong[] = {
        {SECTORS, 0, 1, RING3_HC_EINVAL},          {SECTORS - 1, 0, 2, RING3_HC_EINVAL},
        {UINT64_MAX, 0, 1, RING3_HC_EINVAL},       {1ull << 55, 0, 1, RING3_HC_EINVAL},
        {0, 0, 0, RING3_HC_EINVAL},                {0, 0, 8, RING3_HC_EINVAL},
        {0, 0x1000, UINT32_MAX, RING3_HC_EINVAL},  {0, RAM - 512, 2, RING3_HC_EFAULT},
        {0, UINT64_MAX - 511, 1, RING3_HC_EFAULT}, {0, RAM, 1, RING3_HC_EFAULT},
        {0, 0x1000, SECTORS + 1, RING3_HC_EINVAL},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        for (unsigned n = RING3_HC_DISK_WRITE_RUN; n <= RING3_HC_DISK_READ_RUN; n++)
            assert_int_equal(run(f, n, wrong[i].sector, wrong[i].count, wrong[i].address),
                             wrong[i].result);
    }
    memset(page(f), 0xff, 8);
    assert_int_equal(call(f, RING3_HC_DISK_WRITE), RING3_HC_EINVAL);
    assert_int_equal(call(f, RING3_HC_DISK_READ), RING3_HC_EINVAL);
    assert_int_equal(run(f, RING3_HC_DISK_READ_RUN, 0, 1, RING3_HC_REGISTERS), RING3_HC_EFAULT);
}

/* ---- ports ------------------------------------------------------------------------------ */

static void calls_move_to_other_ports(void **state)
{
    static const char *const moved[] = {"printStr=0xe5", "HC_numExits=0x1000", NULL};
    struct fixture *f = calloc(1, sizeof *f);
    uint64_t value;
    void *s = f;

    f->b.dev = make(f, moved, NULL);
    struct device *dev = f->b.dev;
    assert_non_null(dev);
    f->h = hypercalls_of(dev);
    put(f, 0x100, "moved", 6);
    out(f, 0xe5, 0x100);
    assert_string_equal(f->b.text, "moved");
    assert_false(hypercalls_port_write(f->h, 0, 0xec, 4, 0x100));
    assert_true(hypercalls_port_read(f->h, 0, 0x1000, 4, &value));
    assert_int_equal(in(f, 1, RING3_SIMPLE_CPU), 1);
    teardown(&s);
}

static void wrong_moves_are_refused(void **state)
{
    static const char *const wrong[][3] = {
        {"printString=0xe5", "did you mean 'printStr'"}, {"printStr", "names no port"},
        {"printStr=", "names no port"}, {"printStr=0x10000", "names no port"},
        {"printStr=0xea", "is that of 'printStr'"}, {"call=0xe9", "'print8bit'"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        const char *moved[] = {wrong[i][0], NULL};
        struct fixture *f = calloc(1, sizeof *f);
        struct error *err = NULL;
        void *s = f;

        assert_null(make(f, moved, &err));
        char *text = error_text(err);
        if (!strstr(text, wrong[i][1]) && !strstr(text, "port 0xe"))
            fail_msg("%s: %s", wrong[i][0], text);
        free(text);
        error_free(&err);
        teardown(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(teaching_calls_print),
        T(exits_are_told),
        T(wrong_pointers_print_nothing),
        T(a_string_without_an_end_is_cut_short),
        T(addresses_are_translated),
        T(the_page_moves_within_memory),
        T(calls_by_memory_do_the_same),
        T(screens_take_cells_that_are_on_them),
        T(wrong_numbers_and_lengths_are_errors),
        T(sectors_go_out_and_come_back),
        T(sectors_outside_are_errors),
#undef T
        cmocka_unit_test(calls_move_to_other_ports),
        cmocka_unit_test(wrong_moves_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
