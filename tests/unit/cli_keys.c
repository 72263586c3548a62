/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli_keys.c - Ctrl-A commands and the line editor, key by key. */
#include "unit.h"

#include <stdio.h>

#include "base/strbuf.h"
#include "cli/keys.h"

/* What a sequence of keys does, as text: bytes as themselves, actions in <>. */
static const char *typed(const char *keys)
{
    static const char *const names[] = {"", "", "<end>", "<help>", "<monitor>", "<unknown>"};
    static char text[128];
    struct keys k = {0};

    text[0] = '\0';
    for (const char *c = keys; *c; c++) {
        uint8_t out = 0;
        enum keys_action a = keys_feed(&k, (uint8_t)*c, &out);
        if (a == KEYS_BYTE)
            snprintf(text + strlen(text), 2, "%c", out);
        else
            strcat(text, names[a]);
    }
    return text;
}

static void ordinary_keys_pass(void **state)
{
    assert_string_equal(typed("ls -l\r\003\004\032\177"), "ls -l\r\003\004\032\177");
}

static void commands_follow_ctrl_a(void **state)
{
    assert_string_equal(typed("\001x"), "<end>");
    assert_string_equal(typed("a\001hb"), "a<help>b");
    assert_string_equal(typed("\001?"), "<help>");
    assert_string_equal(typed("\001c"), "<monitor>");
    assert_string_equal(typed("\001z"), "<unknown>");
    assert_string_equal(typed("\001"), "");
    assert_string_equal(typed("\001\001"), "\001");
    assert_string_equal(typed("\001a"), "\001");
    assert_string_equal(typed("\001\001x"), "\001x");
    assert_string_equal(typed("\001zx"), "<unknown>x");
}

/* The lines a sequence completes; what was shown comes back in *echo. */
static const char *edited(const char *keys, struct strbuf *echo)
{
    static char text[600];
    struct prompt p = {0};

    text[0] = '\0';
    for (const char *c = keys; *c; c++) {
        enum prompt_event e = prompt_feed(&p, (uint8_t)*c, echo);
        if (e == PROMPT_LINE) {
            strcat(strcat(text, p.line), "|");
            prompt_reset(&p);
        } else if (e == PROMPT_LEAVE) {
            strcat(text, "<leave>");
            prompt_reset(&p);
        }
    }
    return text;
}

static void lines_are_edited(void **state)
{
    struct strbuf echo = {0};

    assert_string_equal(edited("info\r", &echo), "info|");
    assert_string_equal(echo.text, "info\n");
    strbuf_clear(&echo);
    assert_string_equal(edited("ix\177n\bnf\r", &echo), "inf|");
    assert_string_equal(echo.text, "ix\b \bn\b \bnf\n");
    assert_string_equal(edited("\177\177abc\025de\n", &echo), "de|");
    assert_string_equal(edited("\r", &echo), "<leave>");
    assert_string_equal(edited("abc\003", &echo), "<leave>");
    assert_string_equal(edited("\004", &echo), "<leave>");
    assert_string_equal(edited("a\001\002\tb\377\r", &echo), "ab|");
    strbuf_fini(&echo);
}

static void cursor_keys_are_swallowed_or_recall(void **state)
{
    struct strbuf echo = {0};

    assert_string_equal(edited("a\033[Bb\033[1;5Cc\033OPd\r", &echo), "abcd|");
    assert_string_equal(edited("pause\rxx\033[A\r", &echo), "pause|pause|");
    assert_string_equal(edited("\033[A\r", &echo), "<leave>");
    strbuf_fini(&echo);
}

static void long_lines_stop_growing(void **state)
{
    struct strbuf echo = {0};
    char keys[400];

    memset(keys, 'x', sizeof keys);
    strcpy(keys + 398, "\r");
    assert_int_equal(strlen(edited(keys, &echo)), PROMPT_LINE_MAX - 1 + 1);
    strbuf_fini(&echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_keys_pass),
        cmocka_unit_test(commands_follow_ctrl_a),
        cmocka_unit_test(lines_are_edited),
        cmocka_unit_test(cursor_keys_are_swallowed_or_recall),
        cmocka_unit_test(long_lines_stop_growing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
