/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device_ps2.c - keyboard and mouse, as a driver meets them behind the controller. */
#include "device_fixture.h"

#include <stdio.h>
#include <linux/input-event-codes.h>

#include "device/i8042.h"
#include "device/ps2.h"
#include "device/ps2_codes.h"
#include "device/ps2_keyboard.h"
#include "device/ps2_mouse.h"
#include "display/input.h"

enum { DATA = 0x60, STATUS = 0x64, COMMAND = 0x64, BYTE_NS = 300000 };
enum { OBF = 0x01, AUX = 0x20 };

struct ps2_bench {
    struct bench b;
    struct input *in;
    struct device *keyboard, *mouse;
    bool aux_line, a20;
};

static void aux_set(void *opaque, unsigned n, bool level)
{
    struct ps2_bench *p = opaque;

    if (n)
        p->a20 = level;
    else
        p->aux_line = level;
}

static void setup(struct ps2_bench *p)
{
    struct device_env env = bench_init(&p->b);
    struct i8042_config cfg = {.irq = bench_line(&p->b), .aux_irq = {aux_set, p, 0},
                               .a20 = {aux_set, p, 1}};

    p->in = input_new(p->b.clock, NULL);
    p->keyboard = ps2_keyboard_new(&env, &(struct ps2_keyboard_config){p->in}, NULL);
    p->mouse = ps2_mouse_new(&env, &(struct ps2_mouse_config){p->in}, NULL);
    p->aux_line = p->a20 = false;
    cfg.keyboard = ps2_keyboard_plug(p->keyboard);
    cfg.mouse = ps2_mouse_plug(p->mouse);
    p->b.dev = i8042_new(&env, &cfg, NULL);
    assert_non_null(p->b.dev);
}

static void teardown(struct ps2_bench *p)
{
    device_destroy(p->b.dev);
    device_destroy(p->mouse);
    device_destroy(p->keyboard);
    input_free(p->in);
    p->b.dev = NULL;
    bus_free(p->b.bus);
    clock_free(p->b.clock);
}

/* The next bytes, each of which must be there in time and from `aux`'s side; then none. */
static void expect_bytes(struct ps2_bench *p, bool aux, const char *hex)
{
    char got[256] = "";
    size_t len = 0;

    for (;;) {
        bench_run(&p->b, BYTE_NS);
        uint8_t status = inb(&p->b, STATUS);
        if (!(status & OBF))
            break;
        assert_int_equal(!!(status & AUX), aux);
        len += (size_t)snprintf(got + len, sizeof got - len, "%s%02x", len ? " " : "",
                                inb(&p->b, DATA));
        assert_true(len < sizeof got - 4);
    }
    assert_string_equal(got, hex);
}

static void ctr(struct ps2_bench *p, uint8_t value)
{
    outb(&p->b, COMMAND, 0x60);
    outb(&p->b, DATA, value);
}

static void to_keyboard(struct ps2_bench *p, uint8_t byte, const char *answer)
{
    outb(&p->b, DATA, byte);
    expect_bytes(p, false, answer);
}

static void to_mouse(struct ps2_bench *p, uint8_t byte, const char *answer)
{
    outb(&p->b, COMMAND, 0xd4);
    outb(&p->b, DATA, byte);
    expect_bytes(p, true, answer);
}

static void tap(struct ps2_bench *p, unsigned key)
{
    input_key(p->in, key, true);
    input_key(p->in, key, false);
}

static void move(struct ps2_bench *p, int dx, int dy, int wheel, unsigned buttons)
{
    input_pointer(p->in, &(struct input_pointer){.dx = dx, .dy = dy, .wheel = wheel,
                                                 .buttons = buttons});
}

/* ---- the controller ---------------------------------------------------- */

static void two_channels(void **state)
{
    struct ps2_bench p;

    setup(&p);
    outb(&p.b, COMMAND, 0xa9);
    expect_bytes(&p, false, "00");
    outb(&p.b, COMMAND, 0xd3);
    outb(&p.b, DATA, 0x5a);
    expect_bytes(&p, true, "5a");
    ctr(&p, 0x47);
    outb(&p.b, COMMAND, 0x20);
    expect_bytes(&p, false, "47");
    outb(&p.b, COMMAND, 0xa7);
    outb(&p.b, COMMAND, 0xad);
    outb(&p.b, COMMAND, 0x20);
    expect_bytes(&p, false, "77");
    outb(&p.b, COMMAND, 0xa8);
    outb(&p.b, COMMAND, 0xae);
    outb(&p.b, COMMAND, 0x20);
    expect_bytes(&p, false, "47");
    outb(&p.b, COMMAND, 0xa4);
    expect_bytes(&p, false, "f1");
    outb(&p.b, COMMAND, 0x65);           /* the other 31 bytes are memory */
    outb(&p.b, DATA, 0x99);
    outb(&p.b, COMMAND, 0x25);
    expect_bytes(&p, false, "99");
    teardown(&p);
}

static void a20_follows(void **state)
{
    struct ps2_bench p;

    setup(&p);
    assert_true(p.a20);
    outb(&p.b, COMMAND, 0xdd);
    assert_false(p.a20);
    outb(&p.b, COMMAND, 0xd1);
    outb(&p.b, DATA, 0x03);
    assert_true(p.a20);
    outb(&p.b, COMMAND, 0xd1);
    outb(&p.b, DATA, 0x01);
    assert_false(p.a20);
    outb(&p.b, COMMAND, 0xd0);
    expect_bytes(&p, false, "01");
    device_reset(p.b.dev);
    assert_true(p.a20);
    assert_int_equal(p.b.power_requests, 0);
    teardown(&p);
}

static void each_channel_has_its_line(void **state)
{
    struct ps2_bench p;

    setup(&p);
    ctr(&p, 0x47);
    tap(&p, KEY_A);
    assert_true(p.b.line);
    assert_false(p.aux_line);
    assert_int_equal(inb(&p.b, DATA), 0x1e);
    assert_int_equal(inb(&p.b, DATA), 0x1e);     /* the same byte until the next is here */
    assert_false(p.b.line);
    bench_run(&p.b, BYTE_NS);
    assert_true(p.b.line);
    expect_bytes(&p, false, "9e");
    to_mouse(&p, 0xf4, "fa");
    move(&p, 1, 0, 0, 0);
    assert_true(p.aux_line);
    assert_false(p.b.line);
    expect_bytes(&p, true, "08 01 00");
    ctr(&p, 0x44);
    tap(&p, KEY_B);
    assert_false(p.b.line);
    expect_bytes(&p, false, "30 b0");
    teardown(&p);
}

static void an_idle_clock_holds_bytes_back(void **state)
{
    struct ps2_bench p;

    setup(&p);
    outb(&p.b, COMMAND, 0xad);
    for (unsigned i = 0; i < 3; i++)
        tap(&p, KEY_A + i);
    expect_bytes(&p, false, "");
    outb(&p.b, COMMAND, 0x20);           /* a reply gets by */
    expect_bytes(&p, false, "75");
    outb(&p.b, COMMAND, 0xae);
    expect_bytes(&p, false, "1e 9e 1f 9f 20 a0");
    teardown(&p);
}

/* ---- the keyboard ------------------------------------------------------ */

static void keyboard_commands(void **state)
{
    struct ps2_bench p;

    setup(&p);
    ctr(&p, 0x05);                       /* untranslated */
    to_keyboard(&p, 0xff, "fa aa");
    to_keyboard(&p, 0xf2, "fa ab 83");
    to_keyboard(&p, 0xfe, "83");
    to_keyboard(&p, 0xee, "ee");
    to_keyboard(&p, 0xed, "fa");
    to_keyboard(&p, 0x07, "fa");
    to_keyboard(&p, 0xed, "fa");
    to_keyboard(&p, 0xf4, "fa");         /* a command instead of the data */
    to_keyboard(&p, 0x00, "fe");
    to_keyboard(&p, 0xf0, "fa");
    to_keyboard(&p, 0x00, "fa 02");
    to_keyboard(&p, 0xf0, "fa");
    to_keyboard(&p, 0x04, "fe");
    to_keyboard(&p, 0x03, "fa");
    to_keyboard(&p, 0xf0, "fa");
    to_keyboard(&p, 0x00, "fa 03");
    to_keyboard(&p, 0xf3, "fa");
    to_keyboard(&p, 0x7f, "fa");
    to_keyboard(&p, 0xf6, "fa");
    to_keyboard(&p, 0xef, "fe");
    ctr(&p, 0x45);
    to_keyboard(&p, 0xf2, "fa ab 41");
    to_keyboard(&p, 0xf5, "fa");         /* deaf */
    tap(&p, KEY_A);
    expect_bytes(&p, false, "");
    assert_int_equal(input_waiting(p.in), 0);
    teardown(&p);
}

static void expect_key(struct ps2_bench *p, unsigned key, const char *hex)
{
    tap(p, key);
    expect_bytes(p, false, hex);
}

static void scan_codes_of_set_2_and_translated(void **state)
{
    struct ps2_bench p;

    setup(&p);
    ctr(&p, 0x05);
    expect_key(&p, KEY_A, "1c f0 1c");
    expect_key(&p, KEY_F7, "83 f0 83");
    expect_key(&p, KEY_UP, "e0 75 e0 f0 75");
    expect_key(&p, KEY_SYSRQ, "e0 12 e0 7c e0 f0 7c e0 f0 12");
    expect_key(&p, KEY_PAUSE, "e1 14 77 e1 f0 14 f0 77");
    expect_key(&p, KEY_MICMUTE, "");
    ctr(&p, 0x45);
    expect_key(&p, KEY_A, "1e 9e");
    expect_key(&p, KEY_F7, "41 c1");
    expect_key(&p, KEY_RIGHTCTRL, "e0 1d e0 9d");
    expect_key(&p, KEY_SYSRQ, "e0 2a e0 37 e0 b7 e0 aa");
    expect_key(&p, KEY_PAUSE, "e1 1d 45 e1 9d c5");
    input_key(p.in, KEY_LEFTCTRL, true);
    expect_bytes(&p, false, "1d");
    expect_key(&p, KEY_PAUSE, "e0 46 e0 c6");
    input_key(p.in, KEY_RIGHTALT, true);
    expect_bytes(&p, false, "e0 38");
    expect_key(&p, KEY_SYSRQ, "54 d4");
    teardown(&p);
}

static void choose_set(struct ps2_bench *p, uint8_t set)
{
    to_keyboard(p, 0xf0, "fa");
    to_keyboard(p, set, "fa");
}

static void sets_1_and_3(void **state)
{
    struct ps2_bench p;

    setup(&p);
    ctr(&p, 0x05);
    choose_set(&p, 1);
    expect_key(&p, KEY_A, "1e 9e");
    expect_key(&p, KEY_DELETE, "e0 53 e0 d3");
    expect_key(&p, KEY_PAUSE, "e1 1d 45 e1 9d c5");
    choose_set(&p, 3);
    expect_key(&p, KEY_A, "1c");                 /* repeats, tells no release */
    expect_key(&p, KEY_LEFTSHIFT, "12 f0 12");
    expect_key(&p, KEY_UP, "63");
    expect_key(&p, KEY_HOME, "6e");
    to_keyboard(&p, 0xfa, "fa");
    expect_key(&p, KEY_HOME, "6e f0 6e");
    expect_key(&p, KEY_KPMINUS, "84 f0 84");
    to_keyboard(&p, 0xfd, "fa");                 /* one key, then another: make only */
    to_keyboard(&p, 0x1c, "fa");
    to_keyboard(&p, 0x84, "fa");
    to_keyboard(&p, 0xf4, "fa");
    expect_key(&p, KEY_A, "1c");
    expect_key(&p, KEY_KPMINUS, "84");
    expect_key(&p, KEY_B, "32 f0 32");
    teardown(&p);
}

/* Every key of the board gives the same, native in set 1 and translated from set 2. */
static void translation_agrees_with_set_1(void **state)
{
    for (unsigned key = 0; key < INPUT_CODES; key++) {
        for (unsigned held = 0; held < 8; held++) {
            struct ps2_sequence one = ps2_codes(1, key, true, held);
            struct ps2_sequence two = ps2_codes(2, key, true, held);
            uint8_t translated[PS2_SEQUENCE_MAX], release = 0;
            unsigned n = 0;

            for (unsigned i = 0; i < two.len; i++) {
                if (two.byte[i] == 0xf0)
                    release = 0x80;
                else
                    translated[n++] = ps2_translate(two.byte[i]) | release;
                if (two.byte[i] != 0xf0)
                    release = 0;
            }
            assert_int_equal(n, one.len);
            assert_memory_equal(translated, one.byte, n);
        }
    }
}

static void typematic(void **state)
{
    struct ps2_bench p;

    setup(&p);
    to_keyboard(&p, 0xf3, "fa");
    to_keyboard(&p, 0x00, "fa");         /* 250 ms, then every 33.36 ms */
    input_key(p.in, KEY_A, true);
    expect_bytes(&p, false, "1e");
    bench_run(&p.b, 240000000);
    expect_bytes(&p, false, "");
    bench_run(&p.b, 10000000);
    expect_bytes(&p, false, "1e");
    bench_run(&p.b, 33000000);
    expect_bytes(&p, false, "1e");
    bench_run(&p.b, 10000000000);        /* nobody looks: two wait, not hundreds */
    expect_bytes(&p, false, "1e 1e");
    input_key(p.in, KEY_B, true);        /* the last one repeats */
    expect_bytes(&p, false, "30");
    bench_run(&p.b, 260000000);
    expect_bytes(&p, false, "30");
    input_key(p.in, KEY_B, false);
    expect_bytes(&p, false, "b0");
    bench_run(&p.b, 1000000000);
    expect_bytes(&p, false, "");
    teardown(&p);
}

/* Keys for ever and a guest that never reads; then it does, and finds them in order. */
static void a_full_keyboard_loses_nothing(void **state)
{
    struct ps2_bench p;

    setup(&p);
    for (unsigned i = 0; i < 1000; i++)
        tap(&p, KEY_A + i % 2);
    for (unsigned i = 0; i < 2000; i++) {
        bench_run(&p.b, BYTE_NS);
        assert_int_equal(inb(&p.b, STATUS) & OBF, OBF);
        assert_int_equal(inb(&p.b, DATA), (0x1e + i / 2 % 2) | (i % 2 ? 0x80 : 0));
    }
    expect_bytes(&p, false, "");
    assert_int_equal(input_dropped(p.in), 0);
    for (unsigned i = 0; i < 100000; i++)
        tap(&p, KEY_A);
    assert_true(input_waiting(p.in) <= INPUT_KEYS_MAX + INPUT_CODES);
    assert_true(input_dropped(p.in) > 0);
    teardown(&p);
}

/* ---- the mouse --------------------------------------------------------- */

static void mouse_commands(void **state)
{
    struct ps2_bench p;

    setup(&p);
    to_mouse(&p, 0xff, "fa aa 00");
    to_mouse(&p, 0xf2, "fa 00");
    to_mouse(&p, 0xe9, "fa 00 02 64");
    to_mouse(&p, 0xe8, "fa");
    to_mouse(&p, 0x04, "fe");
    to_mouse(&p, 0x03, "fa");
    to_mouse(&p, 0xf3, "fa");
    to_mouse(&p, 40, "fa");
    to_mouse(&p, 0xe7, "fa");
    to_mouse(&p, 0xf4, "fa");
    to_mouse(&p, 0xe9, "fa 30 03 28");
    to_mouse(&p, 0xfe, "28");
    to_mouse(&p, 0xee, "fa");            /* wrap: an echo of everything */
    to_mouse(&p, 0xf4, "f4");
    to_mouse(&p, 0x12, "12");
    to_mouse(&p, 0xec, "fa");
    to_mouse(&p, 0xf6, "fa");
    to_mouse(&p, 0xe9, "fa 00 02 64");
    to_mouse(&p, 0xe1, "fe");
    teardown(&p);
}

static void knock(struct ps2_bench *p, uint8_t second, const char *id)
{
    const uint8_t rates[] = {200, second, 80};

    for (unsigned i = 0; i < sizeof rates; i++) {
        to_mouse(p, 0xf3, "fa");
        to_mouse(p, rates[i], "fa");
    }
    to_mouse(p, 0xf2, id);
}

static void mouse_packets(void **state)
{
    struct ps2_bench p;

    setup(&p);
    move(&p, 5, 5, 0, INPUT_RIGHT);      /* not asked for */
    expect_bytes(&p, true, "");
    to_mouse(&p, 0xf4, "fa");
    move(&p, 5, 3, 0, INPUT_RIGHT);      /* up is positive here */
    expect_bytes(&p, true, "2a 05 fd");
    move(&p, -300, 0, 0, INPUT_LEFT);    /* more than one packet's */
    expect_bytes(&p, true, "19 00 00 19 d4 00");
    move(&p, 0, 0, 1, INPUT_LEFT);       /* a wheel nobody knows of */
    expect_bytes(&p, true, "");
    knock(&p, 100, "fa 03");
    move(&p, 0, 0, 1, INPUT_LEFT);
    expect_bytes(&p, true, "09 00 00 01");
    move(&p, 0, 0, -9, INPUT_LEFT);
    expect_bytes(&p, true, "09 00 00 f8 09 00 00 ff");
    knock(&p, 200, "fa 04");
    move(&p, 0, 0, -1, INPUT_SIDE);
    expect_bytes(&p, true, "08 00 00 1f");
    move(&p, 0, 0, 0, INPUT_EXTRA);
    expect_bytes(&p, true, "08 00 00 20");
    to_mouse(&p, 0xff, "fa aa 00");
    to_mouse(&p, 0xf4, "fa");
    move(&p, 1, 0, 0, 0);
    expect_bytes(&p, true, "08 01 00");
    teardown(&p);
}

static void mouse_modes(void **state)
{
    struct ps2_bench p;

    setup(&p);
    to_mouse(&p, 0xf0, "fa");            /* remote: only when asked */
    move(&p, 2, 0, 0, 0);
    move(&p, 3, 0, 0, INPUT_LEFT);
    expect_bytes(&p, true, "");
    to_mouse(&p, 0xeb, "fa 09 05 00");
    to_mouse(&p, 0xeb, "fa 09 00 00");
    to_mouse(&p, 0xea, "fa");
    to_mouse(&p, 0xf4, "fa");
    to_mouse(&p, 0xe7, "fa");            /* 2:1 */
    move(&p, 3, -10, 0, INPUT_LEFT);
    expect_bytes(&p, true, "09 03 14");
    teardown(&p);
}

/* Clicks while the guest does not look, and a packet that a command cuts off. */
static void mouse_order(void **state)
{
    struct ps2_bench p;

    setup(&p);
    to_mouse(&p, 0xf4, "fa");
    move(&p, 1, 0, 0, 0);
    move(&p, 1, 0, 0, INPUT_LEFT);
    move(&p, 1, 0, 0, 0);
    move(&p, 1, 0, 0, 0);
    expect_bytes(&p, true, "08 01 00 09 01 00 08 02 00");
    move(&p, 1, 0, 0, 0);
    assert_int_equal(inb(&p.b, DATA), 0x08);
    to_mouse(&p, 0xf2, "fa 00");
    move(&p, 7, 0, 0, 0);
    expect_bytes(&p, true, "08 07 00");
    for (int i = 0; i < 100000; i++)
        move(&p, 100, 100, 100, (unsigned)i & 7);
    device_reset(p.mouse);
    teardown(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_channels),
        cmocka_unit_test(a20_follows),
        cmocka_unit_test(each_channel_has_its_line),
        cmocka_unit_test(an_idle_clock_holds_bytes_back),
        cmocka_unit_test(keyboard_commands),
        cmocka_unit_test(scan_codes_of_set_2_and_translated),
        cmocka_unit_test(sets_1_and_3),
        cmocka_unit_test(translation_agrees_with_set_1),
        cmocka_unit_test(typematic),
        cmocka_unit_test(a_full_keyboard_loses_nothing),
        cmocka_unit_test(mouse_commands),
        cmocka_unit_test(mouse_packets),
        cmocka_unit_test(mouse_modes),
        cmocka_unit_test(mouse_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
