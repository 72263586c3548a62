/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli_options.c - the option table: forms, checks, complaints, help. */
#include "unit.h"

#include "base/strbuf.h"
#include "cli/options.h"

struct target {
    const char *kernel, *append, *chip;
    uint64_t memory, cpus;
    struct option_list modules;
    bool no_reboot, test_device;
};

#define FIELD(name) offsetof(struct target, name)
static const struct option table[] = {
    {"kernel", "FILE", "what to boot", OPTION_STRING, FIELD(kernel)},
    {"append", "TEXT", "command line", OPTION_TEXT, FIELD(append)},
    {"module", "FILE", "one more\nof these", OPTION_LIST, FIELD(modules)},
    {"memory", "SIZE", "how much", OPTION_SIZE, FIELD(memory)},
    {"cpus", "N", "how many", OPTION_NUMBER, FIELD(cpus), 1, 16},
    {"irqchip", "user|kernel", "where", OPTION_CHOICE, FIELD(chip)},
    {"no-reboot", NULL, "end at reset", OPTION_FLAG, FIELD(no_reboot)},
    {"test-device", NULL, "ports for tests", OPTION_FLAG, FIELD(test_device)},
    {NULL},
};

static struct target t;

/* Parses the given words into a fresh target. */
#define PARSE(err, ...)                                                          \
    parse((char *[]){(char *)"run", __VA_ARGS__ __VA_OPT__(,) NULL}, err)

static int parse(char **argv, struct error **err)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    option_list_fini(&t.modules);
    t = (struct target){0};
    return options_parse(table, &t, argc, argv, err);
}

#define W(word) (char *)(word)

static void both_forms_of_values(void **state)
{
    assert_int_equal(PARSE(NULL, W("--kernel"), W("a"), W("--memory=2G"), W("--append"), W("")), 0);
    assert_string_equal(t.kernel, "a");
    assert_string_equal(t.append, "");
    assert_true(t.memory == 2ull << 30);
    assert_int_equal(PARSE(NULL, W("--append=a=b --kernel"), W("--kernel="  "x=y")), 0);
    assert_string_equal(t.append, "a=b --kernel");
    assert_string_equal(t.kernel, "x=y");
    assert_int_equal(PARSE(NULL, W("--kernel=a"), W("--kernel=b"), W("--")), 0);
    assert_string_equal(t.kernel, "b");
    assert_int_equal(PARSE(NULL, W("--kernel"), W("-")), 0);
    assert_int_equal(parse((char *[]){W("run"), NULL}, NULL), 0);
}

static void flags_and_their_opposites(void **state)
{
    assert_int_equal(PARSE(NULL, W("--no-reboot"), W("--test-device")), 0);
    assert_true(t.no_reboot && t.test_device);
    assert_int_equal(PARSE(NULL, W("--no-reboot"), W("--reboot"), W("--test-device"),
                           W("--no-test-device")), 0);
    assert_false(t.no_reboot || t.test_device);
}

static void lists_grow(void **state)
{
    assert_int_equal(PARSE(NULL, W("--module=a"), W("--module"), W("b"), W("--module=c")), 0);
    assert_int_equal(t.modules.count, 3);
    assert_string_equal(t.modules.item[1], "b");
    assert_null(t.modules.item[3]);
}

static void numbers_and_choices(void **state)
{
    struct error *err = NULL;

    assert_int_equal(PARSE(NULL, W("--cpus=0x10"), W("--irqchip=user")), 0);
    assert_int_equal(t.cpus, 16);
    assert_string_equal(t.chip, "user");
    expect_error(PARSE(&err, W("--cpus=17")), EINVAL, &err, "17 is out of range (1 to 16)");
    expect_error(PARSE(&err, W("--cpus=0")), EINVAL, &err, "0 is out of range");
    expect_error(PARSE(&err, W("--cpus=-1")), EINVAL, &err, "'-1' is not a number");
    expect_error(PARSE(&err, W("--cpus=1x")), EINVAL, &err, "'1x' is not a number");
    expect_error(PARSE(&err, W("--cpus=0x")), EINVAL, &err, "'0x' is not a number");
    expect_error(PARSE(&err, W("--cpus=99999999999999999999")), EINVAL, &err, "not a number");
    expect_error(PARSE(&err, W("--irqchip=use")), EINVAL, &err, "not one of user|kernel");
    expect_error(PARSE(&err, W("--irqchip=user|kernel")), EINVAL, &err, "not one of");
    expect_error(PARSE(&err, W("--irqchip=")), EINVAL, &err, "not one of");
    expect_error(PARSE(&err, W("--memory=12Q")), EINVAL, &err, "--memory: '12Q' is not a size");
    expect_error(PARSE(&err, W("--memory=")), EINVAL, &err, "is not a size");
    expect_error(PARSE(&err, W("--kernel=")), EINVAL, &err, "the FILE is empty");
}

static void missing_values(void **state)
{
    struct error *err = NULL;

    expect_error(PARSE(&err, W("--kernel")), EINVAL, &err, "--kernel needs a value (FILE)");
    expect_error(PARSE(&err, W("--kernel"), W("--memory"), W("1G")), EINVAL, &err,
                 "--kernel needs a value");
    expect_error(PARSE(&err, W("--kernel"), W("--memory=1G")), EINVAL, &err, "--kernel needs");
    expect_error(PARSE(&err, W("--append"), W("--reboot")), EINVAL, &err, "--append needs");
    /* What is not an option of ours may be a value. */
    assert_int_equal(PARSE(NULL, W("--append"), W("--quiet")), 0);
    expect_error(PARSE(&err, W("--no-reboot=yes")), EINVAL, &err, "--no-reboot takes no value");
}

static void unknown_words(void **state)
{
    struct error *err = NULL;

    expect_error(PARSE(&err, W("--kernal"), W("x")), EINVAL, &err,
                 "there is no option '--kernal'; did you mean '--kernel'?");
    expect_error(PARSE(&err, W("--memroy=1G")), EINVAL, &err, "'--memroy'; did you mean '--memory'?");
    expect_error(PARSE(&err, W("--kern")), EINVAL, &err, "did you mean '--kernel'?");
    expect_error(PARSE(&err, W("--zzzzzzzz")), EINVAL, &err, "--help lists them");
    expect_error(PARSE(&err, W("-m"), W("1G")), EINVAL, &err, "there is no option '-m'");
    expect_error(PARSE(&err, W("-kernel"), W("x")), EINVAL, &err, "did you mean '--kernel'?");
    expect_error(PARSE(&err, W("--no-kernel")), EINVAL, &err, "there is no option '--no-kernel'");
    expect_error(PARSE(&err, W("vmlinuz")), EINVAL, &err, "unexpected argument 'vmlinuz'");
    expect_error(PARSE(&err, W("-")), EINVAL, &err, "unexpected argument '-'");
    expect_error(PARSE(&err, W("")), EINVAL, &err, "unexpected argument ''");
    expect_error(PARSE(&err, W("--"), W("x")), EINVAL, &err, "unexpected argument 'x'");
    expect_error(PARSE(&err, W("--=x")), EINVAL, &err, "there is no option '--'");
}

static void help_comes_from_the_table(void **state)
{
    struct strbuf out = {0};

    assert_int_equal(PARSE(NULL, W("--kernel"), W("x"), W("--help"), W("--bogus")), OPTIONS_HELP);
    options_help(table, &out);
    for (const struct option *o = table; o->name; o++)
        assert_non_null(strstr(out.text, o->name));
    assert_non_null(strstr(out.text, "  --module FILE               one more\n"
                                     "                              of these\n"));
    assert_non_null(strstr(out.text, "  --irqchip user|kernel       where\n"));
    strbuf_fini(&out);
}

static int teardown(void **state)
{
    option_list_fini(&t.modules);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_of_values),
        cmocka_unit_test(flags_and_their_opposites),
        cmocka_unit_test(lists_grow),
        cmocka_unit_test(numbers_and_choices),
        cmocka_unit_test(missing_values),
        cmocka_unit_test(unknown_words),
        cmocka_unit_test(help_comes_from_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
