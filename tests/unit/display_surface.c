/* SPDX-License-Identifier: GPL-2.0-or-later */
/* display_surface.c - surfaces, viewers, painted text, pictures in files. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "display/display.h"
#include "display/font.h"
#include "display/picture.h"
#include "display/text.h"

struct seen {
    struct display_viewer viewer;
    unsigned resized, dirty;
    struct display_rect last;
};

static void on_resized(void *opaque, const struct display_surface *s)
{
    ((struct seen *)opaque)->resized++;
}

static void on_dirty(void *opaque, const struct display_surface *s, struct display_rect r)
{
    struct seen *seen = opaque;

    seen->dirty++;
    seen->last = r;
    assert_true(r.x + r.width <= s->width && r.y + r.height <= s->height);
}

static void seen_init(struct seen *seen)
{
    *seen = (struct seen){.viewer = {.resized = on_resized, .dirty = on_dirty, .opaque = seen}};
}

static void sizes_and_viewers(void **state)
{
    struct display *d = display_new(&(struct display_card){0}, NULL);
    struct seen a, b;

    seen_init(&a);
    seen_init(&b);
    display_attach(d, &a.viewer);
    display_attach(d, &b.viewer);
    assert_int_equal(a.resized, 1);
    display_resize(d, 0, 100000);
    assert_int_equal(display_surface(d)->width, 1);
    assert_int_equal(display_surface(d)->height, DISPLAY_HEIGHT_MAX);
    assert_int_equal(a.resized + b.resized, 4);
    display_resize(d, 0, 100000);
    assert_int_equal(a.resized, 2);
    display_resize(d, 100, 50);
    display_dirty(d, (struct display_rect){90, 40, UINT32_MAX, UINT32_MAX});
    assert_int_equal(a.last.width, 10);
    assert_int_equal(a.last.height, 10);
    a.dirty = 0;
    display_dirty(d, (struct display_rect){100, 0, 1, 1});
    display_dirty(d, (struct display_rect){0, 0, 0, 5});
    assert_int_equal(a.dirty, 0);
    display_detach(d, &a.viewer);
    display_dirty(d, (struct display_rect){0, 0, 1, 1});
    assert_int_equal(a.dirty, 0);
    display_detach(d, &b.viewer);
    display_free(d);
}

static struct text_shape shape_80x25(void)
{
    return (struct text_shape){.columns = 80, .rows = 25, .width = 8, .height = 16,
                               .font = {font_8x16[0], font_8x16[0]}, .stride = FONT_HEIGHT};
}

static void put_text(struct text_painter *t, const char *text, unsigned row)
{
    for (unsigned i = 0; text[i]; i++)
        text_put(t, i, row, &(struct text_cell){.fg = 0xffffff, .bg = 0x0000aa,
                                                .character = (uint8_t)text[i]});
}

static void text_paints_what_changed(void **state)
{
    struct display *d = display_new(&(struct display_card){0}, NULL);
    struct text_painter t = {0};
    struct text_shape shape = shape_80x25();
    struct seen seen;

    seen_init(&seen);
    display_attach(d, &seen.viewer);
    assert_true(text_begin(&t, d, &shape));
    put_text(&t, "A", 1);
    text_end(&t);
    assert_int_equal(display_surface(d)->width, 640);
    for (unsigned y = 0; y < 16; y++)
        for (unsigned x = 0; x < 8; x++)
            assert_int_equal(display_surface(d)->pixels[(16 + y) * 640 + x],
                             font_8x16['A'][y] >> (7 - x) & 1 ? 0xffffff : 0x0000aa);
    seen.dirty = 0;
    assert_true(text_begin(&t, d, &shape));
    put_text(&t, "A", 1);
    text_end(&t);
    assert_int_equal(seen.dirty, 0);
    assert_true(text_begin(&t, d, &shape));
    put_text(&t, "AbcA", 1);
    text_put(&t, 80, 0, &(struct text_cell){0});
    text_put(&t, 0, 25, &(struct text_cell){0});
    text_end(&t);
    assert_int_equal(seen.dirty, 1);
    assert_int_equal(seen.last.x, 8);
    assert_int_equal(seen.last.y, 16);
    assert_int_equal(seen.last.width, 24);
    shape.columns = shape.rows = shape.height = shape.width = 100000;
    assert_true(text_begin(&t, d, &shape));
    put_text(&t, "x", TEXT_ROWS_MAX - 1);
    text_end(&t);
    text_painter_fini(&t);
    display_detach(d, &seen.viewer);
    display_free(d);
}

static void cells_of_nine_and_doubled(void **state)
{
    struct display *d = display_new(&(struct display_card){0}, NULL);
    struct text_painter t = {0};
    struct text_shape shape = shape_80x25();
    struct text_cell line = {.fg = 1, .bg = 2, .character = 0xc4, .flags = TEXT_NINTH_REPEATS,
                             .bar = true, .bar_first = 14, .bar_last = 40};
    const uint32_t *p;

    shape.width = 9;
    assert_true(text_begin(&t, d, &shape));
    text_put(&t, 0, 0, &line);
    text_end(&t);
    p = display_surface(d)->pixels;
    assert_int_equal(p[7 * 720 + 8], 1);
    assert_int_equal(p[6 * 720 + 8], 2);
    assert_int_equal(p[15 * 720 + 8], 1);
    shape.width = 16;
    assert_true(text_begin(&t, d, &shape));
    line.character = 0xdd;       /* left half */
    text_put(&t, 1, 0, &line);
    text_end(&t);
    p = display_surface(d)->pixels + 16;
    assert_int_equal(p[7], 1);
    assert_int_equal(p[8], 2);
    text_painter_fini(&t);
    display_free(d);
}

static void lines_as_utf8(void **state)
{
    static const uint8_t cells[] = {'a', 7, 0, 7, 0xc9, 7, 0xe1, 7, ' ', 7, 0xff, 7};
    struct strbuf out = {0};

    font_add_line(&out, cells, 6, 2);
    font_add_line(&out, cells + 8, 2, 2);
    assert_string_equal(out.text, "a \u2554\u00df\n\n");
    strbuf_fini(&out);
}

static void pictures(void **state)
{
    uint32_t pixels[] = {0xff0000, 0x00ff00, 9, 0x0000ff, 0xffffff, 9};
    const struct display_surface s = {.pixels = pixels, .width = 2, .height = 2, .stride = 3};
    char path[] = "/tmp/ring3-picture-XXXXXX.ppm", data[64];
    int fd = mkstemps(path, 4);
    struct error *err = NULL;

    assert_int_equal(picture_write(&s, path, &err), 0);
    assert_int_equal(read(fd, data, sizeof data), 23);
    assert_memory_equal(data, "P6\n2 2\n255\n\xff\0\0\0\xff\0\0\0\xff\xff\xff\xff", 23);
    unlink(path);
    close(fd);
    expect_error(picture_write(&s, "/dev/full", &err), ENOSPC, &err, "cannot write '/dev/full'");
}

static void copies_outlive_the_display(void **state)
{
    struct display *d = display_new(&(struct display_card){0}, NULL);
    struct display_surface copy;

    display_surface(d)->pixels[641] = 0x123456;
    assert_int_equal(display_copy(d, &copy, NULL), 0);
    display_free(d);
    assert_int_equal(copy.pixels[641], 0x123456);
    assert_int_equal(copy.height, 400);
    free(copy.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_viewers),
        cmocka_unit_test(text_paints_what_changed),
        cmocka_unit_test(cells_of_nine_and_doubled),
        cmocka_unit_test(lines_as_utf8),
        cmocka_unit_test(pictures),
        cmocka_unit_test(copies_outlive_the_display),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
