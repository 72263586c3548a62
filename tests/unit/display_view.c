/* SPDX-License-Identifier: GPL-2.0-or-later */
/* display_view.c - what --display takes, where keys are, and copies for viewers' threads. */
#include "unit.h"

#include <linux/input-event-codes.h>
#include <unistd.h>

#include "display/display.h"
#include "display/mirror.h"
#include "display/view.h"

static void refuse(const char *text, int code, const char *why)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct display *d = display_new(&(struct display_card){0}, NULL);
    const struct view_config cfg = {.display = d, .vm_lock = &lock};
    struct error *err = NULL;
    struct view *v;

    expect_error(view_open(text, &cfg, &v, &err), code, &err, why);
    assert_null(v);
    display_free(d);
}

static void bad_texts(void **state)
{
    const struct view_config nothing = {0};
    struct error *err = NULL;
    struct view *v;

    refuse("vcn=:1", EINVAL, "did you mean 'vnc'");
    refuse("none,x", EINVAL, "nothing further");
    assert_int_equal(view_open("none", &nothing, &v, &err), 0);
#ifdef RING3_HAVE_VNC
    refuse("vnc", EINVAL, "no [HOST]:N");
    refuse("vnc=1", EINVAL, "no [HOST]:N");
    refuse("vnc=:99999", EINVAL, "no [HOST]:N");
    refuse("vnc=:x", EINVAL, "no [HOST]:N");
    refuse("vnc=:1,passwd=x", EINVAL, "did you mean 'password'");
    refuse("vnc=:1,password=/nonexistent/p", ENOENT, "cannot open the password file");
    refuse("vnc=:1,password=/dev/null", EINVAL, "is empty");
    expect_error(view_open("vnc=:1", &nothing, &v, &err), EINVAL, &err, "no screen");
#endif
#ifdef RING3_HAVE_SDL
    refuse("sdl,escape=perhaps", EINVAL, "escape");
#endif
}

static void keys(void **state)
{
    bool shifted;

    assert_int_equal(view_key_of_usage(4), KEY_A);
    assert_int_equal(view_key_of_usage(0x28), KEY_ENTER);
    assert_int_equal(view_key_of_usage(0x52), KEY_UP);
    assert_int_equal(view_key_of_usage(0x64), KEY_102ND);
    assert_int_equal(view_key_of_usage(0xe7), KEY_RIGHTMETA);
    assert_int_equal(view_key_of_usage(0xe8), 0);
    assert_int_equal(view_key_of_usage(100000), 0);
    assert_int_equal(view_key_of_symbol('a', &shifted), KEY_A);
    assert_false(shifted);
    assert_int_equal(view_key_of_symbol('"', &shifted), KEY_APOSTROPHE);
    assert_true(shifted);
    assert_int_equal(view_key_of_symbol(0xff0d, &shifted), KEY_ENTER);
    assert_false(shifted);
    assert_int_equal(view_key_of_symbol(0xffc9, &shifted), KEY_F12);
    for (uint32_t c = ' '; c <= '~'; c++)
        assert_int_not_equal(view_key_of_symbol(c, &shifted), 0);
    assert_int_equal(view_key_of_symbol(0, &shifted), 0);
    assert_int_equal(view_key_of_symbol(0x1000000, &shifted), 0);
}

static void mirrors(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct display *d = display_new(&(struct display_card){0}, NULL);
    struct mirror m;

    mirror_init(&m, d, &lock);
    mirror_attach(&m);
    mirror_attach(&m);
    assert_true(m.resized);
    assert_int_equal(m.copy.width, 640);
    display_surface(d)->pixels[640 + 3] = 0xabcdef;
    display_dirty(d, (struct display_rect){2, 1, 4, 1});
    assert_int_equal(m.copy.pixels[640 + 3], 0xabcdef);
    assert_int_equal(m.rects, 1);
    for (unsigned i = 0; i < MIRROR_RECTS_MAX; i++)       /* one too many: all in one */
        display_dirty(d, (struct display_rect){i, 10 + i, 1, 1});
    assert_int_equal(m.rects, 1);
    assert_int_equal(m.rect[0].y, 1);
    assert_int_equal(m.rect[0].height, 10 + MIRROR_RECTS_MAX - 1);
    assert_int_equal(m.rect[0].width, MIRROR_RECTS_MAX);
    display_resize(d, 4096, 4096);
    assert_int_equal(m.copy.height, 4096);
    mirror_detach(&m);
    mirror_detach(&m);
    display_resize(d, 8, 8);
    assert_int_equal(m.copy.height, 4096);
    mirror_fini(&m);
    display_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(keys),
        cmocka_unit_test(mirrors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
