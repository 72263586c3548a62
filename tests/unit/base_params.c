/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base_params.c - "FILE,key=value,flag". */
#include "base/params.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "unit.h"

struct disk {
    char *file;
    bool readonly;
    uint64_t size, queues;
    unsigned cache;
    struct param_list forward;
};

static const char *const caches[] = {"writeback", "none", NULL};
static const struct param table[] = {
    {"file", PARAM_STRING, offsetof(struct disk, file), .operand = true},
    {"readonly", PARAM_FLAG, offsetof(struct disk, readonly)},
    {"size", PARAM_SIZE, offsetof(struct disk, size)},
    {"queues", PARAM_NUMBER, offsetof(struct disk, queues), .min = 1, .max = 16},
    {"cache", PARAM_CHOICE, offsetof(struct disk, cache), .choices = caches},
    {"forward", PARAM_LIST, offsetof(struct disk, forward)},
    {NULL},
};

static void test_values(void **state)
{
    struct disk d = {.queues = 7};

    assert_int_equal(params_parse(table, &d, "a=b,,c.img,readonly,size=2M,cache=none,"
                                  "forward=tcp:1:2,forward=tcp:3:4", NULL), 0);
    assert_string_equal(d.file, "a=b,c.img");
    assert_true(d.readonly);
    assert_int_equal(d.size, 2 << 20);
    assert_int_equal(d.queues, 7);
    assert_int_equal(d.cache, 1);
    assert_int_equal(d.forward.count, 2);
    assert_string_equal(d.forward.item[1], "tcp:3:4");
    params_fini(table, &d);
    assert_null(d.file);
    assert_int_equal(d.forward.count, 0);

    assert_int_equal(params_parse(table, &d, "readonly=off,file=x,queues=0x10", NULL), 0);
    assert_false(d.readonly);
    assert_string_equal(d.file, "x");
    assert_int_equal(d.queues, 16);
    params_fini(table, &d);
}

/* A file may be called as a key is; a flag may come first. */
static void test_operand(void **state)
{
    struct disk d = {0};

    assert_int_equal(params_parse(table, &d, "size", NULL), 0);
    assert_string_equal(d.file, "size");
    params_fini(table, &d);
    assert_int_equal(params_parse(table, &d, "readonly", NULL), 0);
    assert_null(d.file);
    assert_true(d.readonly);
}

static void refused(const char *text, const char *message)
{
    struct disk d = {0};
    struct error *err = NULL;

    assert_int_equal(params_parse(table, &d, text, &err), -EINVAL);
    char *said = error_text(err);
    assert_string_equal(said, message);
    free(said);
    error_free(&err);
    params_fini(table, &d);
}

static void test_refusals(void **state)
{
    refused("a,sise=1", "there is no key 'sise'; did you mean 'size'?");
    refused("a,zzzzzz", "there is no key 'zzzzzz'; there are: file, readonly, size, queues, "
                        "cache, forward");
    refused("a,file=b", "file is given twice");
    refused("a,size=1M,size=2M", "size is given twice");
    refused("a,size=big", "size=big is not a size; write a number, with K, M, G or T for units");
    refused("a,size", "size needs a value (size=...)");
    refused("a,size=", "size needs a value (size=...)");
    refused("a,queues=17", "queues=17 is out of range (1 to 16)");
    refused("a,queues=-1", "queues=-1 is not a number");
    refused("a,queues=1x", "queues=1x is not a number");
    refused("a,cache=maybe", "cache=maybe is not one of writeback, none");
    refused("a,readonly=perhaps", "readonly=perhaps: it is either on or off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_operand),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
