/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state_state.c - save, load, print, diff, digest over one table with everything. */
#include "unit.h"

#include <stdio.h>

#include "base/strbuf.h"
#include "state/state.h"

struct channel {
    uint16_t count;
    bool gate;
};

struct chip {
    void *not_state;
    uint8_t ier;
    uint32_t divisor;
    uint64_t when;
    bool on;
    uint8_t fifo[16];
    uint16_t words[3];
    struct channel channels[3];
    struct channel extra;
};

static const struct state_field channel_fields[] = {
    STATE_U16(struct channel, count),
    STATE_BOOL(struct channel, gate),
    STATE_END
};
static const struct state_desc channel_desc = {"channel", 1, channel_fields};

static const struct state_field chip_fields[] = {
    STATE_U8(struct chip, ier),
    STATE_U32(struct chip, divisor),
    STATE_U64(struct chip, when),
    STATE_BOOL(struct chip, on),
    STATE_U8_ARRAY(struct chip, fifo),
    STATE_U16_ARRAY(struct chip, words),
    STATE_STRUCT_ARRAY(struct chip, channels, &channel_desc),
    STATE_STRUCT(struct chip, extra, &channel_desc),
    STATE_END
};
static const struct state_desc chip_desc = {"chip", 2, chip_fields};

/* Other versions of the same chip. */
static const struct state_field small_fields[] = {
    STATE_U8(struct chip, ier),
    STATE_END
};
static const struct state_field grown_fields[] = {
    STATE_U8(struct chip, ier),
    {"divisor", offsetof(struct chip, divisor), 1, 4, STATE_TYPE_U32, 3, NULL},
    STATE_END
};
static const struct state_desc small_v2 = {"chip", 2, small_fields};
static const struct state_desc small_v3 = {"chip", 3, small_fields};
static const struct state_desc grown_v3 = {"chip", 3, grown_fields};
static const struct state_desc grown_v2 = {"chip", 2, grown_fields};

static struct chip sample(uint64_t seed)
{
    struct chip c = {.not_state = &c};

    state_scramble(&chip_desc, &c, seed);
    return c;
}

static int load(const struct state_desc *d, struct chip *c, const struct strbuf *s,
                struct error **err)
{
    size_t used = 0;
    int r = state_load(d, c, "chip0", s->text, s->len, &used, err);

    if (r == 0)
        assert_int_equal(used, s->len);
    return r;
}

static void save_and_load_agree(void **state)
{
    for (uint64_t seed = 1; seed < 50; seed++) {
        struct chip a = sample(seed), b = {0};
        struct strbuf s = {0}, diff = {0};

        state_save(&chip_desc, &a, "chip0", &s);
        assert_int_equal(load(&chip_desc, &b, &s, NULL), 0);
        assert_null(b.not_state);
        assert_int_equal(state_diff(&chip_desc, &a, &b, &diff), 0);
        assert_true(state_digest(&chip_desc, &a) == state_digest(&chip_desc, &b));
        strbuf_fini(&s);
        strbuf_fini(&diff);
    }
}

static void sections_follow_each_other(void **state)
{
    struct chip a = sample(1), b = sample(2), c = {0};
    struct strbuf s = {0};
    size_t used;

    state_save(&chip_desc, &a, "chip0", &s);
    size_t first = s.len;
    state_save(&chip_desc, &b, "chip1", &s);
    assert_int_equal(state_load(&chip_desc, &c, "chip0", s.text, s.len, &used, NULL), 0);
    assert_int_equal(used, first);
    assert_int_equal(state_load(&chip_desc, &c, "chip1", s.text + used, s.len - used, &used,
                                NULL), 0);
    assert_true(state_digest(&chip_desc, &c) == state_digest(&chip_desc, &b));
    struct error *err = NULL;
    expect_error(state_load(&chip_desc, &c, "chip1", s.text, s.len, &used, &err), EINVAL, &err,
                 "'chip1' expected, found 'chip0'");
    strbuf_fini(&s);
}

/* Cut anywhere: refused, and nothing was changed. */
static void truncation_at_every_byte(void **state)
{
    struct chip a = sample(1);
    struct strbuf s = {0};

    state_save(&chip_desc, &a, "chip0", &s);
    for (size_t len = 0; len < s.len; len++) {
        struct chip b = sample(2), before = b;
        struct error *err = NULL;
        size_t used;
        char *copy = malloc(len + 1);    /* of exactly that size, for the sanitizer */
        memcpy(copy, s.text, len);
        copy = realloc(copy, len ? len : 1);
        expect_error(state_load(&chip_desc, &b, "chip0", copy, len, &used, &err), EINVAL, &err,
                     "chip0");
        assert_true(state_digest(&chip_desc, &b) == state_digest(&chip_desc, &before));
        free(copy);
    }
    strbuf_fini(&s);
}

/* Any damage is refused or changes described fields only; never a crash. */
static void damage_at_every_byte(void **state)
{
    struct chip a = sample(1);
    struct strbuf s = {0};

    state_save(&chip_desc, &a, "chip0", &s);
    for (size_t at = 0; at < s.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct chip b = sample(2), before = b;
            s.text[at] ^= (char)(1 << bit);
            if (load(&chip_desc, &b, &s, NULL) < 0)
                assert_true(state_digest(&chip_desc, &b) == state_digest(&chip_desc, &before));
            assert_ptr_equal(b.not_state, before.not_state);
            s.text[at] ^= (char)(1 << bit);
        }
    }
    strbuf_fini(&s);
}

static void other_versions(void **state)
{
    struct chip a = sample(1), b = {0};
    struct strbuf old = {0}, new = {0}, full = {0};
    struct error *err = NULL;

    state_save(&small_v2, &a, "chip0", &old);
    state_save(&grown_v3, &a, "chip0", &new);
    state_save(&chip_desc, &a, "chip0", &full);

    /* A field that came later keeps its value. */
    b.divisor = 77;
    assert_int_equal(load(&grown_v3, &b, &old, NULL), 0);
    assert_int_equal(b.ier, a.ier);
    assert_int_equal(b.divisor, 77);
    /* A field the stream should have. */
    expect_error(load(&chip_desc, &b, &old, &err), EINVAL, &err, "field divisor: it is missing");
    /* A field we do not know yet. */
    expect_error(load(&small_v2, &b, &new, &err), ENOTSUP, &err, "field divisor");
    /* A field nobody knows at this version. */
    expect_error(load(&grown_v2, &b, &full, &err), EINVAL, &err, "no such field");
    /* A field that was dropped since. */
    assert_int_equal(load(&small_v3, &b, &full, NULL), 0);
    assert_int_equal(b.ier, a.ier);
    /* A newer stream that holds nothing new. */
    assert_int_equal(load(&grown_v2, &b, &new, NULL), 0);
    strbuf_fini(&old);
    strbuf_fini(&new);
    strbuf_fini(&full);
}

static void repeated_fields_and_bad_bools(void **state)
{
    static const struct state_field twice[] = {
        STATE_U8(struct chip, ier), STATE_U8(struct chip, ier), STATE_END
    };
    static const struct state_field as_byte[] = {
        {"on", offsetof(struct chip, ier), 1, 1, STATE_TYPE_BOOL, 0, NULL}, STATE_END
    };
    static const struct state_field one_bool[] = {STATE_BOOL(struct chip, on), STATE_END};
    const struct state_desc twice_desc = {"chip", 2, twice}, byte_desc = {"chip", 2, as_byte},
                            bool_desc = {"chip", 2, one_bool};
    struct chip a = sample(1), b = {0};
    struct strbuf s = {0};
    struct error *err = NULL;

    state_save(&twice_desc, &a, "chip0", &s);
    expect_error(load(&small_v2, &b, &s, &err), EINVAL, &err, "field ier: it comes twice");
    strbuf_clear(&s);
    a.ier = 2;
    state_save(&byte_desc, &a, "chip0", &s);
    expect_error(load(&bool_desc, &b, &s, &err), EINVAL, &err, "field on: a bool");
    strbuf_fini(&s);
}

static void print_and_diff(void **state)
{
    struct chip a = {.ier = 5, .when = 0x1234, .fifo = {[3] = 7}, .channels = {{1, true}}};
    struct chip b = a;
    struct strbuf out = {0};

    state_print(&chip_desc, &a, &out);
    assert_non_null(strstr(out.text, "ier = 0x5\n"));
    assert_non_null(strstr(out.text, "when = 0x1234\n"));
    assert_non_null(strstr(out.text, "fifo = 0x0 x3 0x7 0x0 x12\n"));
    assert_non_null(strstr(out.text, "channels[0].count = 0x1\n"));
    assert_non_null(strstr(out.text, "extra.gate = 0x0\n"));

    strbuf_clear(&out);
    b.ier = 6;
    b.fifo[1] = 1;
    b.fifo[2] = 2;
    b.channels[2].count = 9;
    b.not_state = &b;
    assert_int_equal(state_diff(&chip_desc, &a, &b, &out), 3);
    assert_string_equal(out.text, "ier: 0x5 -> 0x6\n"
                                  "fifo[1]: 0x0 -> 0x1 (and 1 more)\n"
                                  "channels[2].count: 0x0 -> 0x9\n");
    strbuf_fini(&out);
}

static void digest_sees_every_field(void **state)
{
    struct chip a = sample(3), b = a;
    uint64_t digest = state_digest(&chip_desc, &a);

    b.not_state = NULL;
    assert_true(state_digest(&chip_desc, &b) == digest);
    b.channels[1].gate = !b.channels[1].gate;
    assert_true(state_digest(&chip_desc, &b) != digest);
    b = a;
    b.fifo[0] = a.fifo[1];
    b.fifo[1] = a.fifo[0];
    assert_true(a.fifo[0] == a.fifo[1] || state_digest(&chip_desc, &b) != digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(save_and_load_agree),
        cmocka_unit_test(sections_follow_each_other),
        cmocka_unit_test(truncation_at_every_byte),
        cmocka_unit_test(damage_at_every_byte),
        cmocka_unit_test(other_versions),
        cmocka_unit_test(repeated_fields_and_bad_bools),
        cmocka_unit_test(print_and_diff),
        cmocka_unit_test(digest_sees_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
