/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot_raw.c - raw images: where they land, how the processor starts, what is refused.
 */
#include "unit.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "boot/raw.h"
#include "memory/memory.h"
#include "x86/mmu.h"
#include "x86/state.h"

enum { RAM = 2 << 20, IMAGE_BYTES = 5000 };

struct fixture {
    int fd;
    struct memory *memory;
    struct log log;
    struct e820_map map;
    struct boot_target target;
    struct boot_raw raw;
    struct x86_state start;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint8_t image[IMAGE_BYTES];

    memset(image, 0xa5, sizeof image);
    f->fd = memfd_create("image", MFD_CLOEXEC);
    assert_int_equal(write(f->fd, image, sizeof image), sizeof image);
    log_init(&f->log, -1);
    f->memory = memory_new(RAM, NULL);
    memory_map_ram(f->memory, "ram", gpa(0), 0, RAM, 0, NULL);
    e820_set(&f->map, 0, RAM, E820_RAM);
    f->target = (struct boot_target){.memory = f->memory, .map = &f->map, .log = &f->log};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    boot_raw_close(&f->raw);
    memory_free(f->memory);
    close(f->fd);
    free(f);
    return 0;
}

/* `where` NULL: as it stands. The file is given with /proc. */
static int start(struct fixture *f, const char *mode, const char *where, const char *where2,
                 struct error **err)
{
    char first[64], second[64];
    const char *loads[] = {first, where2 ? second : NULL, NULL};

    snprintf(first, sizeof first, "/proc/self/fd/%d%s", f->fd, where);
    snprintf(second, sizeof second, "/proc/self/fd/%d%s", f->fd, where2 ? where2 : "");
    boot_raw_close(&f->raw);
    int rc = boot_raw_open(&f->raw, loads, mode, err);
    return rc ? rc : boot_raw_load(&f->raw, &f->target, &f->start, err);
}

static int read_entry(void *opaque, gpa_t at, uint64_t *value)
{
    return memory_read(opaque, at, value, sizeof *value);
}

static bool reaches(struct fixture *f, uint64_t a)
{
    struct x86_walk walk = {0};

    x86_walk(&f->start, gva(a), read_entry, f->memory, &walk);
    if (walk.mapped)
        assert_int_equal(walk.phys.v, a);
    return walk.mapped && (walk.user || !(f->start.cr0 & X86_CR0_PG));
}

static void images_land_where_they_are_told(void **state)
{
    struct fixture *f = *state;
    uint8_t byte = 0;

    assert_int_equal(start(f, NULL, "@0x10000", "@0x100000", NULL), 0);
    memory_read(f->memory, gpa(0x100000 + IMAGE_BYTES - 1), &byte, 1);
    assert_int_equal(byte, 0xa5);
    memory_read(f->memory, gpa(0x10000 + IMAGE_BYTES), &byte, 1);
    assert_int_equal(byte, 0);
    assert_int_equal(f->start.seg[X86_CS].base, 0x10000);
    assert_int_equal(f->start.seg[X86_DS].base, 0x10000);
    assert_int_equal(f->start.seg[X86_CS].selector, 0x1000);
    assert_int_equal(f->start.rip, 0);
    assert_int_equal(f->start.cr0 & X86_CR0_PE, 0);
}

static void modes_start_as_they_should(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(start(f, "protected", "@0", NULL, NULL), 0);
    assert_int_equal(f->start.cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
    assert_int_equal(f->start.gpr[X86_RSP], RAM);

    assert_int_equal(start(f, "paging32@0x1000", "@0", NULL, NULL), 0);
    assert_int_equal(f->start.rip, 0x1000);
    assert_int_equal(f->start.cr3, 0x2000);
    assert_true(reaches(f, 0x3fffff));
    assert_false(reaches(f, 0x400000));

    assert_int_equal(start(f, "long", "@0", NULL, NULL), 0);
    assert_true(f->start.msr.efer & X86_EFER_LMA);
    assert_true(reaches(f, 0x1fffff));
    assert_false(reaches(f, 0x200000));
    assert_int_equal(f->start.gpr[X86_RSP], RAM);
}

static void what_cannot_be_is_refused_in_one_line(void **state)
{
    struct fixture *f = *state;
    static const struct { const char *mode, *at, *at2, *why; } wrong[] = {
        {NULL, "", NULL, "names no address"},
        {NULL, "@", NULL, "'' is not an address"},
        {NULL, "@12q", NULL, "'12q' is not an address"},
        {NULL, "@-1", NULL, "is not an address"},
        {NULL, "x@0", NULL, "cannot open image"},
        {NULL, "@0x1001", NULL, "multiple of 16"},
        {NULL, "@0x100000", NULL, "below 1 MiB"},
        {"protected@0x100000000", "@0", NULL, "cannot begin at"},
        {"long@", "@0", NULL, "'' is not an address"},
        {"longer", "@0", NULL, "did you mean 'long'"},
        {"a-mode-with-a-name-that-is-rather-long", "@0", NULL, "there is no start mode"},
        {NULL, "@0x1ff000", NULL, "below 1 MiB"},
        {"long", "@0x1ff000", NULL, "has no RAM"},
        {"long", "@0xfffffffffffff000", NULL, "has no RAM"},
        {"long", "@0x10000", "@0x11000", "overlaps"},
        {"long", "@0x1000", NULL, "page tables"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct error *err = NULL;

        assert_true(start(f, wrong[i].mode, wrong[i].at, wrong[i].at2, &err) < 0);
        char *text = error_text(err);
        if (!strstr(text, wrong[i].why))
            fail_msg("%s, %s: %s", wrong[i].mode ? wrong[i].mode : "", wrong[i].at, text);
        free(text);
        error_free(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(images_land_where_they_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(modes_start_as_they_should, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_in_one_line, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
