/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli_ini.c - configuration files: forms, complaints with their line, paths. */
#include "unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "cli/ini.h"
#include "cli/options.h"

struct target {
    const char *kernel, *append, *serial;
    uint64_t memory, cpus;
    struct option_list disks, shares;
    bool no_reboot, test_device;
};

#define FIELD(name) offsetof(struct target, name)
static const struct option table[] = {
    {"kernel", "FILE", "what to boot", OPTION_STRING, FIELD(kernel), .paths = "*"},
    {"append", "TEXT", "command line", OPTION_TEXT, FIELD(append)},
    {"serial", "stdio|none|FILE", "where", OPTION_STRING, FIELD(serial), .paths = "*"},
    {"memory", "SIZE", "how much", OPTION_SIZE, FIELD(memory)},
    {"cpus", "N", "how many", OPTION_NUMBER, FIELD(cpus), 1, 16},
    {"disk", "FILE[,...]", "a disk", OPTION_LIST, FIELD(disks), .paths = ",|file|log"},
    {"share", "DIR:TAG", "a folder", OPTION_LIST, FIELD(shares), .paths = ":"},
    {"no-reboot", NULL, "end at reset", OPTION_FLAG, FIELD(no_reboot)},
    {"test-device", NULL, "ports for tests", OPTION_FLAG, FIELD(test_device)},
    {NULL},
};

static struct target t;
static struct ini *ini;
static char folder[] = "/tmp/ring3-ini-XXXXXX";
static char path[PATH_MAX];

static void forget(void)
{
    option_list_fini(&t.disks);
    option_list_fini(&t.shares);
    ini_free(ini);
    ini = NULL;
    t = (struct target){0};
}

static int load_bytes(const char *text, size_t len, struct error **err)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
    forget();
    return ini_load(path, table, &t, &ini, err);
}

static int load(const char *text, struct error **err)
{
    return load_bytes(text, strlen(text), err);
}

static void keys_and_values(void **state)
{
    assert_int_equal(load("\xef\xbb\xbf# a comment\r\n; another\n\n[run]\n"
                          "kernel=/boot/vmlinuz\r\n  append = root=/dev/vda1 a=\"b c\" # ; x  \n"
                          "memory\t=\t2G\ncpus = 0x4\nno-reboot\ntest-device = yes", NULL), 0);
    assert_string_equal(t.kernel, "/boot/vmlinuz");
    assert_string_equal(t.append, "root=/dev/vda1 a=\"b c\" # ; x");
    assert_true(t.memory == 2ull << 30 && t.cpus == 4 && t.no_reboot && t.test_device);
    assert_int_equal(load("append=\"  blanks  \"\nreboot = no\nno-test-device=off\n", NULL), 0);
    assert_string_equal(t.append, "  blanks  ");
    assert_true(t.no_reboot && t.test_device);
    assert_int_equal(load("append =\n", NULL), 0);
    assert_string_equal(t.append, "");
    assert_int_equal(load("", NULL), 0);
    assert_int_equal(load("disk=/a\ndisk=/b,x\n", NULL), 0);
    assert_int_equal(t.disks.count, 2);
    assert_string_equal(t.disks.item[1], "/b,x");
}

static void complaints_name_file_and_line(void **state)
{
    static const struct { const char *text, *line, *what; } cases[] = {
        {"# x\n\nkernal = x\n", ":3: ", "there is no key 'kernal'; did you mean 'kernel'?"},
        {"zzzzzzzz\n", ":1: ", "there is no key 'zzzzzzzz'; every option"},
        {"help = yes", ":1: ", "there is no key 'help'"},
        {"--kernel = x", ":1: ", "there is no key '--kernel'; did you mean 'kernel'?"},
        {"cpus = 1\ncpus = 17\n", ":2: ", "cpus: the key is given twice (first on line 1)"},
        {"cpus = 17", ":1: ", "cpus: 17 is out of range (1 to 16)"},
        {"cpus = four", ":1: ", "cpus: 'four' is not a number"},
        {"\nmemory = much", ":2: ", "memory: 'much' is not a size"},
        {"kernel", ":1: ", "kernel needs a value (FILE)"},
        {"kernel =", ":1: ", "kernel: the FILE is empty"},
        {"no-reboot = maybe", ":1: ", "no-reboot: 'maybe' is neither yes nor no"},
        {"[disk]\n", ":1: ", "there is no section '[disk]'; '[run]' is the only one"},
        {"[run\n", ":1: ", "there is no section '[run'"},
        {"= x\n", ":1: ", "there is no key before the equals sign"},
        {"append = \"x\n", ":1: ", "does not end with one"},
        {"append = \"\n", ":1: ", "does not end with one"},
        {"kernel \xff = \x01\n", ":1: ", "there is no key"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error *err = NULL;
        struct strbuf start = {0};
        assert_int_equal(load(cases[i].text, &err), -EINVAL);
        char *text = error_text(err);
        strbuf_addf(&start, "%s%s", path, cases[i].line);
        assert_true(strncmp(text, strbuf_text(&start), start.len) == 0);
        assert_non_null(strstr(text, cases[i].what));
        free(text);
        error_free(&err);
        strbuf_fini(&start);
    }
}

static void no_configuration_file(void **state)
{
    struct error *err = NULL;
    static char big[(1 << 20) + 1];

    expect_error(load_bytes("kernel\0x", 8, &err), EINVAL, &err, "is not a configuration file");
    memset(big, '\n', sizeof big);
    expect_error(load_bytes(big, sizeof big, &err), EINVAL, &err, "is not a configuration file");
    assert_int_equal(load_bytes(big, sizeof big - 1, NULL), 0);
    forget();
    expect_error(ini_load("/nonexistent.ini", table, &t, &ini, &err), ENOENT, &err,
                 "cannot open '/nonexistent.ini'");
    forget();
    expect_error(ini_load("/", table, &t, &ini, &err), EISDIR, &err,
                 "cannot read configuration file '/'");
}

static void check_place(const char *name, const char *value, const char *expected)
{
    char *text = ini_place_paths(options_find(table, name), value, "/d");

    assert_string_equal(text, expected);
    free(text);
    text = ini_place_paths(options_find(table, name), value, ".");
    assert_string_equal(text, value);
    free(text);
}

static void paths_are_relative_to_the_file(void **state)
{
    check_place("kernel", "vmlinuz", "/d/vmlinuz");
    check_place("kernel", "/vmlinuz", "/vmlinuz");
    check_place("kernel", "a,b:c", "/d/a,b:c");
    check_place("append", "root=x", "root=x");
    check_place("serial", "stdio", "stdio");
    check_place("serial", "none", "none");
    check_place("serial", "FILE", "/d/FILE");
    check_place("disk", "a.raw", "/d/a.raw");
    check_place("disk", "a,,b.raw,cache=none,log=x", "/d/a,,b.raw,cache=none,log=/d/x");
    check_place("disk", "cache=none,file=a.raw,,", "cache=none,file=/d/a.raw,,");
    check_place("disk", "/a.raw,file=/b,log=", "/a.raw,file=/b,log=");
    check_place("disk", "http://host/a.raw,log=x", "http://host/a.raw,log=/d/x");
    check_place("disk", "nbd:unix=/s", "nbd:unix=/s");
    check_place("disk", "a.raw,,", "/d/a.raw,,");
    check_place("share", "./src:src,readonly", "/d/./src:src,readonly");
    check_place("share", "/src:src", "/src:src");

    assert_int_equal(load("kernel = k\nserial = stdio\ndisk = a.raw,log=b\n", NULL), 0);
    struct strbuf name = {0};
    strbuf_addf(&name, "%s/k", folder);
    assert_string_equal(t.kernel, strbuf_text(&name));
    assert_string_equal(t.serial, "stdio");
    strbuf_clear(&name);
    strbuf_addf(&name, "%s/a.raw,log=%s/b", folder, folder);
    assert_string_equal(t.disks.item[0], strbuf_text(&name));
    strbuf_fini(&name);
}

static void random_bytes_survive(void **state)
{
    static const char *const pieces[] = {"kernel", "disk", "=", "\n", ",", ":", "\"", "[run]", "#",
                                         " ", "no-", "reboot", "append", "\xff", "file", "//"};
    uint32_t seed = 1;

    for (int round = 0; round < 2000; round++) {
        struct strbuf text = {0};
        struct error *err = NULL;
        for (int i = 0; i < 40; i++) {
            seed = seed * 1664525 + 1013904223;
            strbuf_addf(&text, "%s", pieces[(seed >> 16) % ARRAY_SIZE(pieces)]);
        }
        int r = load(strbuf_text(&text), &err);
        assert_true(r == 0 || (r == -EINVAL && err));
        error_free(&err);
        strbuf_fini(&text);
    }
}

static int setup(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/vm.ini", folder);
    return 0;
}

static int teardown(void **state)
{
    forget();
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values),
        cmocka_unit_test(complaints_name_file_and_line),
        cmocka_unit_test(no_configuration_file),
        cmocka_unit_test(paths_are_relative_to_the_file),
        cmocka_unit_test(random_bytes_survive),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
