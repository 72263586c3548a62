/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kit.c - the checks of the conformance kit, run over every row of devices.c.
 *
 * Traffic is random and seeded; RING3_SEED repeats a run, and a failure prints
 * the seed. Where two rigs must agree, they are driven by the same generator.
 */
#include "../unit/unit.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "kit.h"
#include "state/state.h"

enum { TRAFFIC_SHORT = 3000, TRAFFIC_LONG = 100000, SWAP_EVERY = 200, LINE_DIGEST_BASE = 0x5000 };

static uint64_t kit_seed(void)
{
    const char *text = getenv("RING3_SEED");

    return text ? strtoull(text, NULL, 0) : 0x1234567;
}

uint64_t rig_random(struct rig_random *r)
{
    /* splitmix64 */
    uint64_t z = r->s += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t rig_random_below(struct rig_random *r, uint64_t n)
{
    return n ? rig_random(r) % n : 0;
}

/* ---- the rig ---- */

static uint64_t hash(uint64_t h, uint64_t v)
{
    return (h ^ v) * 0x100000001b3 + (h >> 47);
}

void rig_note(struct rig *rig, uint64_t what)
{
    rig->trace = hash(rig->trace, what);
}

static void line_set(void *opaque, unsigned n, bool level)
{
    struct rig *rig = opaque;

    if (rig->line[n] != level)
        rig_note(rig, LINE_DIGEST_BASE + n * 2 + level);
    rig->line[n] = level;
}

struct irq_line rig_line(struct rig *rig, unsigned n)
{
    return (struct irq_line){line_set, rig, n};
}

void rig_write(void *opaque, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        rig_note(opaque, 0x20000 + data[i]);
}

static void power_request(void *opaque, enum power_event event, int status)
{
    rig_note(opaque, 0x30000 + event);
    rig_note(opaque, (uint64_t)status);
}

static void rig_init(struct rig *rig, const struct kit_row *row, uint64_t now_ns)
{
    struct error *err = NULL;

    memset(rig, 0, sizeof *rig);
    log_init(&rig->log, -1);
    rig->bus = bus_new(&rig->log);
    rig->clock = clock_new_manual();
    clock_set_ns(rig->clock, now_ns);
    struct device_env env = {.bus = rig->bus, .clock = rig->clock, .log = &rig->log,
                             .power = {power_request, rig}};
    if (row->make(rig, &env, &err))
        fail_msg("%s: %s", row->name, err ? err->what : "no error text");
    rig->trace = 0;
}

static void count_region(void *arg, const struct bus_region *r)
{
    ++*(size_t *)arg;
}

static size_t rig_regions(const struct rig *rig)
{
    size_t n = 0;

    bus_for_each(rig->bus, BUS_PIO, count_region, &n);
    bus_for_each(rig->bus, BUS_MMIO, count_region, &n);
    return n;
}

/* Checks on the way that nothing is left behind: clock_free() is a BUG with a
 * timer still armed. */
static void rig_fini(struct rig *rig, const struct kit_row *row)
{
    if (row->destroy)
        row->destroy(rig);
    else
        for (size_t i = 0; i < rig->devices; i++)
            device_destroy(rig->device[i]);
    assert_int_equal(rig_regions(rig), 0);
    bus_free(rig->bus);
    clock_free(rig->clock);
}

static uint64_t rig_digest(struct rig *rig)
{
    uint64_t h = 0;

    for (size_t i = 0; i < rig->devices; i++) {
        void *state;
        const struct state_desc *d = rig->device[i]->ops->describe(rig->device[i], &state);
        h = hash(h, state_digest(d, state));
    }
    return h;
}

static void expect_equal_state(struct rig *a, struct rig *b, const char *what)
{
    for (size_t i = 0; i < a->devices; i++) {
        void *sa, *sb;
        struct strbuf diff = {0};
        const struct state_desc *d = a->device[i]->ops->describe(a->device[i], &sa);
        b->device[i]->ops->describe(b->device[i], &sb);
        if (state_diff(d, sa, sb, &diff))
            fail_msg("%s, %s (seed %#llx): %s", a->device[i]->name, what,
                     (unsigned long long)kit_seed(), strbuf_text(&diff));
        strbuf_fini(&diff);
    }
    assert_int_equal(rig_digest(a), rig_digest(b));
}

static void rig_each(struct rig *rig, void (*fn)(struct device *dev))
{
    for (size_t i = 0; i < rig->devices; i++)
        fn(rig->device[i]);
}

static void rig_reset(struct rig *rig) { rig_each(rig, device_reset); }
static void rig_quiesce(struct rig *rig) { rig_each(rig, device_quiesce); }
static void rig_resume(struct rig *rig) { rig_each(rig, device_resume); }

static void rig_save(struct rig *rig, struct strbuf *out)
{
    for (size_t i = 0; i < rig->devices; i++) {
        void *state;
        const struct state_desc *d = rig->device[i]->ops->describe(rig->device[i], &state);
        state_save(d, state, rig->device[i]->name, out);
    }
}

static void rig_load(struct rig *rig, const struct strbuf *in)
{
    size_t at = 0;

    for (size_t i = 0; i < rig->devices; i++) {
        struct error *err = NULL;
        size_t used = 0;
        void *state;
        const struct state_desc *d = rig->device[i]->ops->describe(rig->device[i], &state);
        if (state_load(d, state, rig->device[i]->name, in->text + at, in->len - at, &used, &err))
            fail_msg("%s: %s", rig->device[i]->name, err->what);
        at += used;
    }
    assert_int_equal(at, in->len);
}

/* ---- traffic ---- */

struct pick {
    struct rig_random *r;
    unsigned seen;
    struct bus_region chosen;
    enum bus_space space, now;
};

static void pick_region(void *arg, const struct bus_region *r)
{
    struct pick *p = arg;

    if (rig_random_below(p->r, ++p->seen) == 0) {
        p->chosen = *r;
        p->space = p->now;
    }
}

/* Mostly microseconds, sometimes a second, seldom a day. */
static uint64_t random_step_ns(struct rig_random *r)
{
    uint64_t scale[] = {2000, 2000, 100000, 100000, 30000000, 2000000000, 100000000000000};
    uint64_t pick = rig_random_below(r, 200);

    return rig_random_below(r, scale[pick < 194 ? pick % 4 : pick < 197 ? 4 : pick < 199 ? 5 : 6]);
}

static uint64_t random_value(struct rig_random *r)
{
    switch (rig_random_below(r, 4)) {
    case 0:
        return rig_random(r);
    case 1:
        return rig_random(r) & 0xff;
    case 2:
        return 1ull << rig_random_below(r, 32);
    default:
        return rig_random_below(r, 16);
    }
}

static uint64_t bus_traffic(struct rig *rig, struct rig_random *r)
{
    struct pick p = {.r = r};

    for (p.now = 0; p.now < BUS_SPACE_COUNT; p.now++)
        bus_for_each(rig->bus, p.now, pick_region, &p);
    unsigned size = 1u << rig_random_below(r, p.space == BUS_PIO ? 3 : 4);
    /* Registers sit at the start of a region; the end, and a bit beyond, too. */
    uint64_t span = rig_random_below(r, 4) ? min_u64(p.chosen.size, 0x50) : p.chosen.size + 4;
    uint64_t offset = rig_random_below(r, span);
    bool write = rig_random(r) & 1;
    uint64_t value = random_value(r);

    if (!write)
        return bus_read(rig->bus, p.space, p.chosen.base + offset, size);
    bus_write(rig->bus, p.space, p.chosen.base + offset, size, value);
    return 0;
}

/* One random event; what the guest would have seen. */
static uint64_t traffic_step(struct rig *rig, const struct kit_row *row, struct rig_random *r)
{
    uint64_t kind = rig_random_below(r, 8);

    if (kind == 0) {
        clock_advance(rig->clock, random_step_ns(r));
        clock_run_timers(rig->clock);
        return 0;
    }
    if (row->poke && kind < (rig_regions(rig) ? 4 : 8))
        return row->poke(rig, r);
    return bus_traffic(rig, r);
}

static void traffic(struct rig *rig, const struct kit_row *row, uint64_t seed, unsigned steps)
{
    struct rig_random r = {seed};

    for (unsigned i = 0; i < steps; i++)
        traffic_step(rig, row, &r);
}

/* ---- checks ---- */

static void reset_equals_new(void **state)
{
    const struct kit_row *row = *state;
    struct rig used, fresh;

    rig_init(&used, row, 1000);
    traffic(&used, row, kit_seed(), TRAFFIC_SHORT);
    rig_reset(&used);
    rig_init(&fresh, row, clock_now_ns(used.clock));
    expect_equal_state(&used, &fresh, "reset and new");
    assert_memory_equal(used.line, fresh.line, sizeof used.line);
    assert_true(clock_next_deadline_ns(used.clock) == clock_next_deadline_ns(fresh.clock));
    rig_fini(&used, row);
    rig_fini(&fresh, row);
}

static void save_load_keeps_all(void **state)
{
    const struct kit_row *row = *state;
    struct strbuf stream = {0}, again = {0};
    struct rig a, b;

    rig_init(&a, row, 0);
    traffic(&a, row, kit_seed() + 1, TRAFFIC_SHORT);
    rig_quiesce(&a);
    rig_save(&a, &stream);
    rig_init(&b, row, clock_now_ns(a.clock));
    rig_load(&b, &stream);
    expect_equal_state(&a, &b, "saved and loaded");
    rig_save(&b, &again);
    assert_int_equal(stream.len, again.len);
    assert_memory_equal(stream.text, again.text, stream.len);
    rig_resume(&a);
    rig_resume(&b);
    expect_equal_state(&a, &b, "resumed after load");
    assert_memory_equal(a.line, b.line, sizeof a.line);
    strbuf_fini(&stream);
    strbuf_fini(&again);
    rig_fini(&a, row);
    rig_fini(&b, row);
}

/* Any stream that has the right form loads, whatever it says, and the device
 * lives on with it. */
static void absurd_state_does_no_harm(void **state)
{
    const struct kit_row *row = *state;
    struct rig rig;

    for (unsigned round = 0; round < 20; round++) {
        struct strbuf stream = {0};
        uint64_t before;
        rig_init(&rig, row, 5000);
        rig_quiesce(&rig);
        for (size_t i = 0; i < rig.devices; i++) {
            void *s;
            const struct state_desc *d = rig.device[i]->ops->describe(rig.device[i], &s);
            state_scramble(d, s, kit_seed() + round * 16 + i);
        }
        before = rig_digest(&rig);
        rig_save(&rig, &stream);
        rig_load(&rig, &stream);
        assert_true(rig_digest(&rig) == before);
        rig_resume(&rig);
        traffic(&rig, row, kit_seed() + round, TRAFFIC_SHORT / 3);
        strbuf_fini(&stream);
        rig_fini(&rig, row);
    }
}

static void cut_streams_change_nothing(void **state)
{
    const struct kit_row *row = *state;
    struct rig a, b;

    rig_init(&a, row, 0);
    rig_init(&b, row, 0);
    traffic(&a, row, kit_seed() + 2, TRAFFIC_SHORT);
    for (size_t i = 0; i < a.devices; i++) {
        struct strbuf stream = {0};
        void *from, *to;
        const struct state_desc *d = a.device[i]->ops->describe(a.device[i], &from);
        b.device[i]->ops->describe(b.device[i], &to);
        state_save(d, from, a.device[i]->name, &stream);
        uint64_t before = state_digest(d, to);
        for (size_t len = 0; len < stream.len; len += 1 + stream.len / 300) {
            struct error *err = NULL;
            size_t used = 0;
            /* Its own block, so that a sanitizer sees a read past the end. */
            char *cut = malloc(len ? len : 1);
            memcpy(cut, stream.text, len);
            assert_true(state_load(d, to, a.device[i]->name, cut, len, &used, &err) < 0);
            assert_non_null(err);
            error_free(&err);
            assert_true(state_digest(d, to) == before);
            free(cut);
        }
        strbuf_fini(&stream);
    }
    rig_fini(&a, row);
    rig_fini(&b, row);
}

static void quiesce_and_resume_are_idempotent(void **state)
{
    const struct kit_row *row = *state;
    struct rig rig;
    uint64_t digest, deadline;

    rig_init(&rig, row, 0);
    traffic(&rig, row, kit_seed() + 3, TRAFFIC_SHORT);
    rig_quiesce(&rig);
    digest = rig_digest(&rig);
    assert_true(clock_next_deadline_ns(rig.clock) == CLOCK_NEVER);
    rig_quiesce(&rig);
    assert_true(rig_digest(&rig) == digest);
    rig_resume(&rig);
    digest = rig_digest(&rig);
    deadline = clock_next_deadline_ns(rig.clock);
    rig_resume(&rig);
    assert_true(rig_digest(&rig) == digest);
    assert_true(clock_next_deadline_ns(rig.clock) == deadline);
    rig_fini(&rig, row);
}

/* Puts a fresh rig with a's state in b's place, some time after the last thing
 * that happened and perhaps with a timer overdue. */
static void replace_by_copy(struct rig *a, struct rig *b, const struct kit_row *row,
                            struct rig_random *r)
{
    struct strbuf stream = {0};

    clock_advance(a->clock, random_step_ns(r));
    rig_fini(b, row);
    rig_quiesce(a);
    rig_save(a, &stream);
    rig_resume(a);
    rig_init(b, row, clock_now_ns(a->clock));
    rig_quiesce(b);
    rig_load(b, &stream);
    rig_resume(b);
    a->trace = b->trace = 0;
    assert_memory_equal(a->line, b->line, sizeof a->line);
    strbuf_fini(&stream);
}

static void copies_stay_equal_under_traffic(void **state)
{
    const struct kit_row *row = *state;
    struct rig_random ra = {kit_seed() + 4}, rb = ra;
    struct rig a, b;

    rig_init(&a, row, 0);
    rig_init(&b, row, 0);
    for (unsigned i = 1; i <= TRAFFIC_LONG; i++) {
        uint64_t va = traffic_step(&a, row, &ra), vb = traffic_step(&b, row, &rb);
        if (va != vb || a.trace != b.trace || ra.s != rb.s)
            fail_msg("%s: step %u differs: %#llx %#llx (seed %#llx)", row->name, i,
                     (unsigned long long)va, (unsigned long long)vb,
                     (unsigned long long)kit_seed());
        if (i % 1000 == 0)
            expect_equal_state(&a, &b, "after equal traffic");
        if (i % SWAP_EVERY == 0) {
            replace_by_copy(&a, &b, row, &ra);
            rb = ra;
        }
    }
    rig_fini(&a, row);
    rig_fini(&b, row);
}

static void destroy_removes_regions(void **state)
{
    const struct kit_row *row = *state;
    struct rig rig;

    rig_init(&rig, row, 0);
    assert_true(rig_regions(&rig) > 0);
    rig_fini(&rig, row);         /* checks */
}

static void fails_cleanly_when_a_port_is_taken(void **state)
{
    const struct kit_row *row = *state;
    struct error *err = NULL;
    struct rig rig;
    struct rig_random r = {kit_seed() + 5};

    rig_init(&rig, row, 0);
    struct device_env env = {.bus = rig.bus, .clock = rig.clock, .log = &rig.log};
    struct rig second = {.log = rig.log, .bus = rig.bus, .clock = rig.clock};
    size_t regions = rig_regions(&rig);
    assert_int_not_equal(row->make(&second, &env, &err), 0);
    assert_non_null(err);
    error_free(&err);
    assert_int_equal(rig_regions(&rig), regions);
    traffic_step(&rig, row, &r);
    rig_fini(&rig, row);
}

/* ---- all checks for all rows ---- */

static const struct {
    const char *name;
    CMUnitTestFunction fn;
} checks[] = {
    {"reset equals new", reset_equals_new},
    {"save and load keep everything", save_load_keeps_all},
    {"absurd state does no harm", absurd_state_does_no_harm},
    {"cut streams change nothing", cut_streams_change_nothing},
    {"quiesce and resume are idempotent", quiesce_and_resume_are_idempotent},
    {"copies stay equal under traffic", copies_stay_equal_under_traffic},
    {"destroy removes regions", destroy_removes_regions},
    {"fails cleanly when a port is taken", fails_cleanly_when_a_port_is_taken},
};

int main(void)
{
    size_t n = kit_row_count * ARRAY_SIZE(checks), at = 0;
    struct CMUnitTest *tests = calloc(n, sizeof *tests);
    char (*names)[80] = calloc(n, sizeof *names);

    for (size_t row = 0; row < kit_row_count; row++)
        for (size_t check = 0; check < ARRAY_SIZE(checks); check++, at++) {
            snprintf(names[at], sizeof names[at], "%s: %s", kit_rows[row].name, checks[check].name);
            tests[at] = (struct CMUnitTest){.name = names[at], .test_func = checks[check].fn,
                                            .initial_state = (void *)&kit_rows[row]};
        }
    int failed = _cmocka_run_group_tests("device kit", tests, n, NULL, NULL);
    free(tests);
    free(names);
    return failed != 0;
}
