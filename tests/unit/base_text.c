/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base_text.c - errors, growing text, sizes, closest words, log lines. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/log.h"
#include "base/strbuf.h"

static void error_chain_is_one_line(void **state)
{
    struct error *err = NULL;

    assert_int_equal(error_set(&err, ENOENT, "cannot open '%s'", "a\nb"), -ENOENT);
    assert_int_equal(error_wrap(&err, "cannot load %s", "kernel"), -ENOENT);
    error_hint(&err, "an old hint");
    error_hint(&err, "is the path %s?", "right");
    char *line = error_text(err);
    assert_string_equal(line, "cannot load kernel: cannot open 'a?b'; is the path right?");
    free(line);
    error_free(&err);
    assert_null(err);
    error_free(&err);
    error_free(NULL);
}

static void error_without_receiver_keeps_the_code(void **state)
{
    struct error *none = NULL;

    assert_int_equal(error_set(NULL, EACCES, "x"), -EACCES);
    assert_true(error_wrap(NULL, "x") < 0);
    assert_true(error_wrap(&none, "x") < 0);
    error_hint(&none, "x");
    assert_null(none);
}

static void strbuf_grows(void **state)
{
    struct strbuf sb = {0};

    assert_string_equal(strbuf_text(&sb), "");
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&sb, "%03d ", i);
    assert_int_equal(sb.len, 4000);
    assert_int_equal(strlen(sb.text), 4000);
    assert_memory_equal(sb.text + 3996, "999 ", 4);
    strbuf_clear(&sb);
    assert_string_equal(strbuf_text(&sb), "");
    strbuf_add(&sb, "a\0b", 3);
    assert_int_equal(sb.len, 3);
    assert_memory_equal(sb.text, "a\0b", 4);
    strbuf_fini(&sb);
    strbuf_fini(&sb);
    assert_null(sb.text);
}

static void sizes_parse(void **state)
{
    static const struct { const char *text; uint64_t bytes; } good[] = {
        {"0", 0}, {"4096", 4096}, {"1K", 1024}, {"512M", 512ull << 20}, {"1g", 1ull << 30},
        {"16777215T", 16777215ull << 40}, {"18446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {
        "", "M", "-1", "+1", " 1", "1 ", "1KB", "1MiB", "0x10", "1.5G", "1P", "16777216T",
        "18446744073709551616", "99999999999999999999", "1K1",
    };
    uint64_t v = 7;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(str_parse_size(good[i].text, &v), 0);
        assert_true(v == good[i].bytes);
    }
    v = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (str_parse_size(bad[i], &v) != -EINVAL)
            fail_msg("'%s' was taken for a size", bad[i]);
        assert_int_equal(v, 7);
    }
}

static void closest_word(void **state)
{
    static const char *const words[] = {"run", "doctor", "help", "version", "pause", NULL};

    assert_string_equal(str_closest("doctr", words), "doctor");
    assert_string_equal(str_closest("dcotor", words), "doctor");
    assert_string_equal(str_closest("rum", words), "run");
    assert_string_equal(str_closest("run", words), "run");
    assert_string_equal(str_closest("verison", words), "version");
    assert_null(str_closest("xylophone", words));
    assert_null(str_closest("", words));
    assert_null(str_closest("q", words));
    assert_null(str_closest("a-word-that-is-much-longer-than-any-word-that-anybody-would-ever-type",
                            words));
}

static void categories_parse(void **state)
{
    struct error *err = NULL;
    uint32_t mask = 0;

    assert_int_equal(log_parse_categories("device,irq", &mask, &err), 0);
    assert_int_equal(mask, 1u << LOG_DEVICE | 1u << LOG_IRQ);
    assert_int_equal(log_parse_categories("all", &mask, &err), 0);
    assert_int_equal(mask, (1u << LOG_CATEGORY_COUNT) - 1);
    expect_error(log_parse_categories("devce", &mask, &err), EINVAL, &err,
                 "did you mean 'device'?");
    expect_error(log_parse_categories("irq,", &mask, &err), EINVAL, &err, "there are exits, ");
    expect_error(log_parse_categories("", &mask, &err), EINVAL, &err, "no trace category ''");
    assert_int_equal(mask, (1u << LOG_CATEGORY_COUNT) - 1);
}

struct sink {
    int fd[2];
    char text[65536];
};

static char *sink_read(struct sink *s)
{
    close(s->fd[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(s->fd[0], s->text + len, sizeof s->text - 1 - len)) > 0;)
        len += (size_t)n;
    s->text[len] = '\0';
    close(s->fd[0]);
    return s->text;
}

static void log_lines(void **state)
{
    struct sink s;
    struct log log;
    char longest[2000];

    assert_int_equal(pipe(s.fd), 0);
    log_init(&log, s.fd[1]);
    log_warn(&log, "disk %d", 1);
    log_info(&log, "hello");
    log.quiet = true;
    log_info(&log, "not seen");
    log_trace(&log, IRQ, "not seen");
    log.trace_mask = 1u << LOG_IRQ;
    log_trace(&log, IRQ, "line %d", 4);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    log_warn(&log, "%s", longest);
    char *text = sink_read(&s);
    char *end = strstr(text, "ring3: warning: xxxx");
    assert_non_null(end);
    assert_string_equal(end + strlen(end) - 5, "x...\n");
    *end = '\0';
    assert_string_equal(text, "ring3: warning: disk 1\nring3: hello\n[irq] line 4\n");
}

static void guest_lines_are_rare(void **state)
{
    struct sink s;
    struct log log;
    struct log_limit limit = {0};
    unsigned lines = 0;

    assert_int_equal(pipe(s.fd), 0);
    log_init(&log, s.fd[1]);
    for (int i = 0; i < 1000; i++)
        log_guest(&log, &limit, "bad access");
    for (char *c = sink_read(&s); *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 10 + 6);    /* 16, 32, 64, 128, 256, 512 */
    assert_non_null(strstr(s.text, "(512 times by now) bad access"));
}

static void log_survives_a_dead_sink(void **state)
{
    struct log log;

    log_init(&log, -1);
    log_warn(&log, "nobody hears this");
    log_init(&log, 1000);
    errno = 5;
    log_warn(&log, "nor this");
    assert_int_equal(errno, 5);
}

static void counters_have_names(void **state)
{
    struct counters c = {0};

    for (int i = 0; i < COUNTER_COUNT; i++) {
        assert_true(strlen(counter_name((enum counter_id)i)) > 0);
        assert_true(strlen(counter_help((enum counter_id)i)) > 0);
    }
    COUNT(&c, exits);
    counter_add(&c, COUNTER_exits, 4);
    assert_int_equal(counter_get(&c, COUNTER_exits), 5);
    assert_string_equal(counter_name(COUNTER_page_faults), "page_faults");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_chain_is_one_line),
        cmocka_unit_test(error_without_receiver_keeps_the_code),
        cmocka_unit_test(strbuf_grows),
        cmocka_unit_test(sizes_parse),
        cmocka_unit_test(closest_word),
        cmocka_unit_test(categories_parse),
        cmocka_unit_test(log_lines),
        cmocka_unit_test(guest_lines_are_rare),
        cmocka_unit_test(log_survives_a_dead_sink),
        cmocka_unit_test(counters_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
