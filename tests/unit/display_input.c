/* SPDX-License-Identifier: GPL-2.0-or-later */
/* display_input.c - keys and pointers between sources and sinks. */
#include "unit.h"

#include <linux/input-event-codes.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "display/input.h"

enum { LOG_MAX = 64 };

struct bench {
    struct clock *clock;
    struct input *in;
    struct input_sink sink;
    unsigned room;                       /* events it takes before it refuses */
    struct strbuf keys;                  /* "+30 -30 " */
    struct input_pointer pointer[LOG_MAX];
    unsigned pointers;
    bool down[INPUT_CODES];
    unsigned events;
};

static bool take_key(void *opaque, unsigned code, bool down)
{
    struct bench *b = opaque;

    if (!b->room)
        return false;
    b->room--;
    b->events++;
    assert_int_not_equal(b->down[code], down);       /* once down, once up */
    b->down[code] = down;
    if (b->keys.len < 1000)
        strbuf_addf(&b->keys, "%c%u ", down ? '+' : '-', code);
    return true;
}

static bool take_pointer(void *opaque, const struct input_pointer *p)
{
    struct bench *b = opaque;

    if (!b->room)
        return false;
    b->room--;
    assert_true(b->pointers < LOG_MAX);
    b->pointer[b->pointers++] = *p;
    return true;
}

static void setup(struct bench *b)
{
    memset(b, 0, sizeof *b);
    b->clock = clock_new_manual();
    b->in = input_new(b->clock, NULL);
    b->sink = (struct input_sink){take_key, take_pointer, b, NULL};
    b->room = UINT32_MAX;
    input_add(b->in, &b->sink);
}

static void teardown(struct bench *b)
{
    input_free(b->in);
    clock_free(b->clock);
    strbuf_fini(&b->keys);
}

static void ready(struct bench *b, unsigned room)
{
    b->room = room;
    input_ready(b->in, &b->sink);
}

static void keys_are_seen_once(void **state)
{
    struct bench b;

    setup(&b);
    input_key(b.in, KEY_A, true);
    input_key(b.in, KEY_A, true);        /* a viewer's repeat */
    input_key(b.in, KEY_B, false);
    input_key(b.in, KEY_A, false);
    input_key(b.in, INPUT_CODES, true);
    input_key(b.in, 0x10000, true);
    assert_string_equal(strbuf_text(&b.keys), "+30 -30 ");
    input_key(b.in, KEY_LEFTALT, true);
    input_release_all(b.in);
    assert_string_equal(strbuf_text(&b.keys), "+30 -30 +56 -56 ");
    teardown(&b);
}

static void the_last_sink_gets_keys(void **state)
{
    struct bench b, other;

    setup(&b);
    setup(&other);
    struct input_sink only_keys = {.key = take_key, .opaque = &other};
    input_add(b.in, &only_keys);
    input_key(b.in, KEY_A, true);
    input_pointer(b.in, &(struct input_pointer){.dx = 1});
    assert_int_equal(other.events, 1);
    assert_int_equal(b.events, 0);
    assert_int_equal(b.pointers, 1);
    input_remove(b.in, &only_keys);
    b.down[KEY_A] = true;
    input_key(b.in, KEY_A, false);
    input_remove(b.in, &b.sink);
    input_key(b.in, KEY_A, true);        /* into the void */
    assert_int_equal(input_waiting(b.in), 0);
    teardown(&other);
    teardown(&b);
}

static void refused_keys_wait_in_order(void **state)
{
    struct bench b;

    setup(&b);
    b.room = 1;
    input_key(b.in, KEY_A, true);
    input_key(b.in, KEY_A, false);
    input_key(b.in, KEY_B, true);
    assert_string_equal(strbuf_text(&b.keys), "+30 ");
    assert_int_equal(input_waiting(b.in), 2);
    ready(&b, 1);
    assert_string_equal(strbuf_text(&b.keys), "+30 -30 ");
    b.room = 5;
    input_key(b.in, KEY_B, false);       /* not before what waits */
    assert_string_equal(strbuf_text(&b.keys), "+30 -30 ");
    ready(&b, 5);
    assert_string_equal(strbuf_text(&b.keys), "+30 -30 +48 -48 ");
    assert_int_equal(input_waiting(b.in), 0);
    teardown(&b);
}

/* Sources press keys for ever, the guest looks now and then. */
static void endless_keys_are_bounded(void **state)
{
    struct bench b;
    uint64_t seed = 42;

    setup(&b);
    b.room = 0;
    for (unsigned i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005 + 1;
        input_key(b.in, 1 + (seed >> 40) % 100, seed >> 60 & 1);
        if (i % 20000 == 19999)
            ready(&b, (unsigned)(seed >> 33) % 6000);
        assert_true(input_waiting(b.in) <= INPUT_KEYS_MAX + INPUT_CODES);
    }
    assert_true(input_dropped(b.in) > 1000);
    input_release_all(b.in);
    ready(&b, UINT32_MAX);
    assert_int_equal(input_waiting(b.in), 0);
    for (unsigned i = 0; i < INPUT_CODES; i++)
        assert_false(b.down[i]);
    teardown(&b);
}

static void movements_add_up(void **state)
{
    struct bench b;

    setup(&b);
    b.room = 0;
    for (int i = 0; i < 1000; i++)
        input_pointer(b.in, &(struct input_pointer){.dx = 2, .dy = -1, .wheel = 1});
    input_pointer(b.in, &(struct input_pointer){.dx = 5, .buttons = INPUT_LEFT});
    input_pointer(b.in, &(struct input_pointer){.dx = 1});
    ready(&b, 10);
    assert_int_equal(b.pointers, 3);
    assert_int_equal(b.pointer[0].dx, 2000);
    assert_int_equal(b.pointer[0].dy, -1000);
    assert_int_equal(b.pointer[0].wheel, 1000);
    assert_int_equal(b.pointer[1].buttons, INPUT_LEFT);
    assert_int_equal(b.pointer[2].buttons, 0);
    b.room = 0;                          /* endless clicks, impossible numbers */
    for (int i = 0; i < 100000; i++)
        input_pointer(b.in, &(struct input_pointer){.dx = i & 1 ? INT32_MIN : INT32_MAX,
                                                    .buttons = (unsigned)i & 1,
                                                    .absolute = true, .x = UINT32_MAX});
    b.pointers = 0;
    ready(&b, 1000);
    assert_true(b.pointers && b.pointers <= LOG_MAX);
    assert_int_equal(b.pointer[b.pointers - 1].buttons, 1);
    assert_int_equal(b.pointer[0].x, INPUT_ABSOLUTE_MAX);
    teardown(&b);
}

static void run(struct bench *b, uint64_t ns)
{
    clock_advance(b->clock, ns);
    clock_run_timers(b->clock);
}

static void expect_typed(const char *text, const char *keys)
{
    struct bench b;

    setup(&b);
    assert_int_equal(input_type(b.in, text, NULL), 0);
    for (unsigned i = 0; i < 200; i++)
        run(&b, INPUT_TYPE_NS);
    assert_string_equal(strbuf_text(&b.keys), keys);
    assert_int_equal(input_waiting(b.in), 0);
    teardown(&b);
}

static void text_becomes_keys(void **state)
{
    expect_typed("", "");
    expect_typed("aB1!", "+30 -30 +42 +48 -48 -42 +2 -2 +42 +2 -2 -42 ");
    expect_typed("a <lt>/\t", "+30 -30 +57 -57 +42 +51 -51 -42 +53 -53 +15 -15 ");
    expect_typed("<ret>\n<esc><f12>", "+28 -28 +28 -28 +1 -1 +88 -88 ");
    expect_typed("<ctrl-alt-del>", "+29 +56 +111 -111 -56 -29 ");
    expect_typed("<ctrl-c><Alt-F2>", "+29 +46 -46 -29 +56 +60 -60 -56 ");
    expect_typed("-_'\"`~\\|", "+12 -12 +42 +12 -12 -42 +40 -40 +42 +40 -40 -42 +41 -41 "
                               "+42 +41 -41 -42 +43 -43 +42 +43 -43 -42 ");
}

static void text_that_cannot_be_typed(void **state)
{
    struct error *err = NULL;
    struct bench b;
    char *much = malloc(INPUT_KEYS_MAX);

    setup(&b);
    expect_error(input_type(b.in, "ab<rett>", &err), EINVAL, &err, "did you mean 'ret'");
    expect_error(input_type(b.in, "ab<ret", &err), EINVAL, &err, "<lt>");
    expect_error(input_type(b.in, "a<>", &err), EINVAL, &err, "no key between");
    expect_error(input_type(b.in, "\xc3\xa4", &err), EINVAL, &err, "byte 0xc3");
    expect_error(input_type(b.in, "<a-a-a-a-a-a-a-a-a-a-a>", &err), EINVAL, &err, "at once");
    memset(much, 'x', INPUT_KEYS_MAX - 1);
    much[INPUT_KEYS_MAX - 1] = 0;
    expect_error(input_type(b.in, much, &err), ENOSPC, &err, "too many");
    assert_string_equal(strbuf_text(&b.keys), "");
    assert_int_equal(input_waiting(b.in), 0);
    much[INPUT_KEYS_MAX / 2 - 2] = 0;    /* one event at once; 5 more have room */
    assert_int_equal(input_type(b.in, much, &err), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(input_type(b.in, "<ret>", NULL), i < 2 ? 0 : -ENOSPC);
    free(much);
    teardown(&b);
}

/* One event each INPUT_TYPE_NS, and none while the guest is behind. */
static void typing_waits_for_the_guest(void **state)
{
    struct bench b;

    setup(&b);
    assert_int_equal(input_type(b.in, "ab", NULL), 0);
    assert_string_equal(strbuf_text(&b.keys), "+30 ");
    run(&b, INPUT_TYPE_NS / 2);
    assert_string_equal(strbuf_text(&b.keys), "+30 ");
    b.room = 0;
    for (unsigned i = 0; i < 20; i++)
        run(&b, INPUT_TYPE_NS);
    assert_string_equal(strbuf_text(&b.keys), "+30 ");
    assert_int_equal(input_waiting(b.in), 3);
    ready(&b, 100);
    run(&b, INPUT_TYPE_NS);
    run(&b, INPUT_TYPE_NS);
    assert_string_equal(strbuf_text(&b.keys), "+30 -30 +48 -48 ");
    assert_int_equal(input_type(b.in, "ab", NULL), 0);
    input_reset(b.in);
    run(&b, INPUT_TYPE_NS * 4);
    assert_int_equal(input_waiting(b.in), 0);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_seen_once),
        cmocka_unit_test(the_last_sink_gets_keys),
        cmocka_unit_test(refused_keys_wait_in_order),
        cmocka_unit_test(endless_keys_are_bounded),
        cmocka_unit_test(movements_add_up),
        cmocka_unit_test(text_becomes_keys),
        cmocka_unit_test(text_that_cannot_be_typed),
        cmocka_unit_test(typing_waits_for_the_guest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
