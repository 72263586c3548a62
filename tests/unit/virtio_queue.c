/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues: both rings, driven by hand, well and badly. */
#include "virtio_fixture.h"

enum { ROOM = 16, SIZE = 8 };

static int setup(void **state)
{
    struct rig *rig = malloc(sizeof *rig);

    rig_init(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    free(*state);
    return 0;
}

static bool broken(const struct rig *rig)
{
    return rig->vd->state.status & VIRTIO_NEEDS_RESET;
}

/* ---- split --------------------------------------------------------------- */

static void test_split(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);
    char text[16] = {0};

    rig_start(rig, 0, SIZE);
    assert_false(virtio_queue_pop(rig->q, c));
    for (unsigned round = 0; round < 5 * SIZE; round++) {      /* wraps more than once */
        memcpy(ram(rig, DATA), "abcdef", 6);
        put_descriptor(rig, DESC, 3, DATA, 2, D_NEXT, 5);
        put_descriptor(rig, DESC, 5, DATA + 2, 4, D_NEXT, 1);
        put_descriptor(rig, DESC, 1, DATA + 64, 8, D_WRITE, 0);
        offer(rig, 3);
        assert_true(virtio_queue_waiting(rig->q));
        assert_true(virtio_queue_pop(rig->q, c));
        assert_int_equal(c->outs, 2);
        assert_int_equal(c->ins, 1);
        assert_int_equal(c->out_bytes, 6);
        assert_int_equal(c->in_bytes, 8);
        assert_int_equal(virtio_chain_read(c, 1, text, sizeof text), 5);
        assert_memory_equal(text, "bcdef", 5);
        assert_int_equal(virtio_chain_write(c, 2, "xyz", 3), 3);
        assert_memory_equal(ram(rig, DATA + 66), "xyz", 3);
        virtio_queue_push(rig->q, c, 5);
        virtio_queue_signal(rig->q);
        virtio_queue_signal(rig->q);                           /* nothing new: no interrupt */
        assert_int_equal(get_le16(ram(rig, DEVICE + 2)), (uint16_t)(round + 1));
        assert_int_equal(get_le32(ram(rig, DEVICE + 4 + 8 * (round % SIZE))), 3);
        assert_int_equal(get_le32(ram(rig, DEVICE + 8 + 8 * (round % SIZE))), 5);
        assert_int_equal(rig->interrupts, round + 1);
        assert_false(virtio_queue_pop(rig->q, c));
    }
    assert_false(broken(rig));
    free(c);
}

/* A buffer over the seam of two memory regions is two iovecs. */
static void test_seam(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    rig_start(rig, 0, SIZE);
    put_descriptor(rig, DESC, 0, RAM_BYTES / 2 - 10, 30, D_WRITE, 0);
    offer(rig, 0);
    assert_true(virtio_queue_pop(rig->q, c));
    assert_int_equal(c->ins, 2);
    assert_int_equal(c->iov[0].iov_len, 10);
    assert_int_equal(c->iov[1].iov_len, 20);
    assert_int_equal(c->in_bytes, 30);
    virtio_queue_unpop(rig->q, c);
    assert_true(virtio_queue_pop(rig->q, c));
    assert_false(virtio_queue_pop(rig->q, c));
    free(c);
}

static void test_indirect(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    rig_start(rig, VIRTIO_F_INDIRECT, SIZE);
    put_descriptor(rig, DESC, 0, DATA, 10, D_NEXT, 1);
    put_descriptor(rig, DESC, 1, 0xa000, 32, D_INDIRECT, 0);
    put_descriptor(rig, 0xa000, 0, DATA + 100, 7, D_NEXT | D_WRITE, 1);
    put_descriptor(rig, 0xa000, 1, DATA + 200, 9, D_WRITE, 0);
    offer(rig, 0);
    assert_true(virtio_queue_pop(rig->q, c));
    assert_int_equal(c->outs, 1);
    assert_int_equal(c->ins, 2);
    assert_int_equal(c->in_bytes, 16);
    free(c);
}

/* 2.7.7 and 2.7.10: what the driver asks for with flags and with event indices. */
static void test_suppression(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    rig_start(rig, 0, SIZE);
    put_descriptor(rig, DESC, 0, DATA, 10, 0, 0);
    put_le16(ram(rig, DRIVER), 1);                             /* no interrupts, please */
    offer(rig, 0);
    assert_true(virtio_queue_pop(rig->q, c));
    virtio_queue_push(rig->q, c, 0);
    virtio_queue_signal(rig->q);
    assert_int_equal(rig->interrupts, 0);
    virtio_queue_kicks(rig->q, false);
    assert_int_equal(get_le16(ram(rig, DEVICE)), 1);
    offer(rig, 0);
    assert_true(virtio_queue_kicks(rig->q, true));             /* came meanwhile */
    assert_int_equal(get_le16(ram(rig, DEVICE)), 0);

    rig_start(rig, VIRTIO_F_EVENT_IDX, SIZE);
    put_descriptor(rig, DESC, 0, DATA, 10, 0, 0);
    put_le16(ram(rig, DRIVER + 4 + 2 * SIZE), 2);              /* used_event: the third */
    for (unsigned i = 0; i < 5; i++) {
        offer(rig, 0);
        assert_true(virtio_queue_pop(rig->q, c));
        virtio_queue_push(rig->q, c, 0);
        virtio_queue_signal(rig->q);
        assert_int_equal(rig->interrupts, i >= 2);
    }
    virtio_queue_kicks(rig->q, true);
    assert_int_equal(get_le16(ram(rig, DEVICE + 4 + 8 * SIZE)), 5);   /* avail_event */
    free(c);
}

/* ---- packed -------------------------------------------------------------- */

static void test_packed(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM), *d = virtio_chain_new(ROOM);

    rig_start(rig, VIRTIO_F_PACKED, 7);                        /* any size will do */
    for (unsigned round = 0, slot = 0; round < 20; round++) {
        offer_packed(rig, DATA, 4, D_NEXT, 0);
        offer_packed(rig, DATA + 64, 8, D_WRITE, 11);
        offer_packed(rig, DATA + 128, 16, 0, 22);
        assert_true(virtio_queue_pop(rig->q, c));
        assert_true(virtio_queue_pop(rig->q, d));
        assert_false(virtio_queue_pop(rig->q, d));
        assert_int_equal(c->id, 11);
        assert_int_equal(c->slots, 2);
        assert_int_equal(d->id, 22);
        virtio_queue_push(rig->q, d, 0);                       /* out of order */
        virtio_queue_push(rig->q, c, 3);
        virtio_queue_signal(rig->q);
        assert_int_equal(rig->interrupts, round + 1);
        for (unsigned i = 0; i < 2; i++) {
            const uint8_t *e = ram(rig, DESC + 16ull * slot);
            uint16_t flags = get_le16(e + 14), both = 1 << 7 | 1 << 15;

            assert_int_equal(get_le16(e + 12), i ? 11 : 22);
            assert_int_equal(flags & both, rig->used_wrap ? both : 0);
            if (i)
                assert_int_equal(get_le32(e + 8), 3);
            slot += i ? 2 : 1;
            if (slot >= 7) {
                slot -= 7;
                rig->used_wrap = !rig->used_wrap;
            }
        }
    }
    assert_false(broken(rig));
    free(c);
    free(d);
}

static void test_packed_events(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    rig_start(rig, VIRTIO_F_PACKED | VIRTIO_F_EVENT_IDX, 4);
    put_le16(ram(rig, DRIVER), 2 | 0x8000);                    /* at slot 2, first lap */
    put_le16(ram(rig, DRIVER + 2), 2);
    for (unsigned i = 0; i < 7; i++) {
        offer_packed(rig, DATA, 4, 0, 1);
        assert_true(virtio_queue_pop(rig->q, c));
        virtio_queue_push(rig->q, c, 0);
        virtio_queue_signal(rig->q);
        assert_int_equal(rig->interrupts, i >= 2);
    }
    virtio_queue_kicks(rig->q, true);
    assert_int_equal(get_le16(ram(rig, DEVICE)), 3);           /* second lap: wrap bit 0 */
    assert_int_equal(get_le16(ram(rig, DEVICE + 2)), 2);
    virtio_queue_kicks(rig->q, false);
    assert_int_equal(get_le16(ram(rig, DEVICE + 2)), 1);
    free(c);
}

static void test_packed_indirect_and_unpop(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    rig_start(rig, VIRTIO_F_PACKED | VIRTIO_F_INDIRECT, 4);
    for (unsigned i = 0; i < 9; i++) {
        put_descriptor(rig, 0xa000, 0, DATA, 5, 0, 0);
        put_descriptor(rig, 0xa000, 1, DATA + 64, 6, 0, D_WRITE);      /* flags are last */
        offer_packed(rig, 0xa000, 32, D_INDIRECT, 9);
        assert_true(virtio_queue_pop(rig->q, c));
        virtio_queue_unpop(rig->q, c);
        assert_true(virtio_queue_pop(rig->q, c));
        assert_int_equal(c->outs, 1);
        assert_int_equal(c->ins, 1);
        assert_int_equal(c->slots, 1);
        virtio_queue_push(rig->q, c, 6);
    }
    assert_false(broken(rig));
    free(c);
}

/* ---- hostile ------------------------------------------------------------- */

static const struct bad {
    const char *name;
    uint64_t features;
    uint64_t at;
    uint32_t len;
    uint16_t flags, next;
} bad_split[] = {
    {"outside of memory", 0, 1ull << 40, 16, 0, 0},
    {"wraps around", 0, UINT64_MAX - 4, 16, 0, 0},
    {"over the end", 0, RAM_BYTES - 8, 16, 0, 0},
    {"empty", 0, DATA, 0, 0, 0},
    {"next beyond the table", 0, DATA, 16, D_NEXT, SIZE},
    {"loop", 0, DATA, 16, D_NEXT, 0},
    {"indirect, not agreed", 0, 0xa000, 16, D_INDIRECT, 0},
    {"indirect of odd size", VIRTIO_F_INDIRECT, 0xa000, 17, D_INDIRECT, 0},
    {"indirect of no size", VIRTIO_F_INDIRECT, 0xa000, 0, D_INDIRECT, 0},
    {"indirect in indirect", VIRTIO_F_INDIRECT, 0xb000, 16, D_INDIRECT, 0},
    {"indirect and next", VIRTIO_F_INDIRECT, 0xa000, 16, D_INDIRECT | D_NEXT, 1},
    {"indirect outside", VIRTIO_F_INDIRECT, 1ull << 50, 16, D_INDIRECT, 0},
};

static void test_bad_split(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    for (unsigned i = 0; i < ARRAY_SIZE(bad_split); i++) {
        const struct bad *b = &bad_split[i];

        rig_start(rig, b->features, SIZE);
        put_descriptor(rig, 0xa000, 0, DATA, 16, 0, 0);
        put_descriptor(rig, 0xb000, 0, 0xa000, 16, D_INDIRECT, 0);
        put_descriptor(rig, DESC, 0, b->at, b->len, b->flags, b->next);
        offer(rig, 0);
        if (virtio_queue_pop(rig->q, c))
            fail_msg("%s: was taken", b->name);
        assert_true(broken(rig));
        assert_int_equal(rig->config_interrupts, 1);
        put_descriptor(rig, DESC, 0, DATA, 16, 0, 0);          /* too late */
        assert_false(virtio_queue_pop(rig->q, c));
        virtio_kick(rig->vd, 0);
        assert_int_equal(rig->sink->notified, 0);
    }
    rig_start(rig, 0, SIZE);                                   /* as good as new */
    put_descriptor(rig, DESC, 0, DATA, 16, 0, 0);
    offer(rig, 0);
    assert_true(virtio_queue_pop(rig->q, c));
    free(c);
}

static void test_bad_rings(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(4);

    rig_start(rig, 0, SIZE);
    put_le16(ram(rig, DRIVER + 2), SIZE + 1);                  /* more than it holds */
    assert_false(virtio_queue_pop(rig->q, c));
    assert_true(broken(rig));
    rig_start(rig, 0, SIZE);
    offer(rig, SIZE);                                          /* no such head */
    assert_false(virtio_queue_pop(rig->q, c));
    assert_true(broken(rig));
    rig_start(rig, 0, SIZE);                                   /* in, then out */
    put_descriptor(rig, DESC, 0, DATA, 16, D_WRITE | D_NEXT, 1);
    put_descriptor(rig, DESC, 1, DATA, 16, 0, 0);
    offer(rig, 0);
    assert_false(virtio_queue_pop(rig->q, c));
    assert_true(broken(rig));
    rig_start(rig, 0, SIZE);                                   /* more than the device takes */
    for (unsigned i = 0; i < 5; i++)
        put_descriptor(rig, DESC, i, DATA, 16, i < 4 ? D_NEXT : 0, (uint16_t)(i + 1));
    offer(rig, 0);
    assert_false(virtio_queue_pop(rig->q, c));
    assert_true(broken(rig));
    rig_start(rig, VIRTIO_F_PACKED, 4);                        /* goes round */
    for (unsigned i = 0; i < 4; i++)
        offer_packed(rig, DATA, 16, D_NEXT, 1);
    struct virtio_chain *wide = virtio_chain_new(ROOM);
    assert_false(virtio_queue_pop(rig->q, wide));
    assert_true(broken(rig));
    free(wide);
    free(c);
}

static void test_bad_areas(void **state)
{
    static const uint64_t bad[][3] = {
        {RAM_BYTES - 64, DRIVER, DEVICE}, {DESC + 1, DRIVER, DEVICE}, {DESC, 1ull << 60, DEVICE},
        {DESC, DRIVER + 1, DEVICE}, {DESC, DRIVER, UINT64_MAX & ~3ull}, {DESC, DRIVER, DEVICE + 2},
        {RAM_BYTES / 2 - 64, DRIVER, DEVICE},
    };
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct virtio_queue *q;

        rig_start(rig, 0, SIZE);
        q = virtio_queue_of(rig->vd, 1);
        q->state->descriptors = bad[i][0];
        q->state->driver = bad[i][1];
        q->state->device = bad[i][2];
        virtio_queue_set_ready(q, true);
        assert_true(broken(rig));
        assert_false(virtio_queue_pop(q, c));
    }
    rig_start(rig, 0, SIZE);
    virtio_queue_set_size(virtio_queue_of(rig->vd, 1), 3);     /* split: powers of two */
    assert_int_equal(virtio_queue_of(rig->vd, 1)->state->size, 256);
    virtio_queue_set_size(virtio_queue_of(rig->vd, 1), 512);
    assert_int_equal(virtio_queue_of(rig->vd, 1)->state->size, 256);
    free(c);
}

static void test_features(void **state)
{
    struct rig *rig = *state;

    virtio_set_status(rig->vd, 0);
    virtio_set_features(rig->vd, 0, 1 << 20);                  /* not offered */
    virtio_set_features(rig->vd, 1, 1);
    virtio_set_status(rig->vd, VIRTIO_FEATURES_OK);
    assert_false(rig->vd->state.status & VIRTIO_FEATURES_OK);
    virtio_set_features(rig->vd, 0, 0);
    virtio_set_features(rig->vd, 1, 0);                        /* no VERSION_1 */
    virtio_set_status(rig->vd, VIRTIO_FEATURES_OK);
    assert_false(rig->vd->state.status & VIRTIO_FEATURES_OK);
    virtio_set_features(rig->vd, 1, 1);
    virtio_set_status(rig->vd, VIRTIO_FEATURES_OK);
    assert_true(rig->vd->state.status & VIRTIO_FEATURES_OK);
    virtio_set_features(rig->vd, 1, 0);                        /* too late */
    assert_true(virtio_has(rig->vd, VIRTIO_F_VERSION_1));
}

/* Random rings, mostly near what is right; every chain given out lies in memory, and the
 * sanitizers watch. */
static void test_random(void **state)
{
    struct rig *rig = *state;
    struct virtio_chain *c = virtio_chain_new(ROOM);
    uint64_t seed = 42;
    unsigned taken = 0, breaks = 0;

    for (unsigned round = 0; round < 20000; round++) {
        uint64_t f = unit_random(&seed);

        rig_start(rig, f & (VIRTIO_F_PACKED | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX), SIZE);
        for (unsigned i = 0; i < 2 * SIZE; i++) {
            uint64_t r = unit_random(&seed), table = i < SIZE ? DESC : 0xa000;
            uint64_t at = r & 1 ? DATA + (r >> 8 & 0xffff) : r & 2 ? 0xa000 : r >> (r >> 2 & 63);

            put_descriptor(rig, table, i % SIZE, at, (uint32_t)(r >> 20 & 0x70),
                           (uint16_t)unit_random(&seed) & (f & 1ull << 50 ? 0xffff : 7),
                           (uint16_t)(unit_random(&seed) & (f & 1ull << 51 ? 0xffff : 0x8087)));
        }
        for (unsigned i = 0; i < SIZE; i++)
            offer(rig, (uint16_t)(unit_random(&seed) % (SIZE + (f >> 40 & 1))));
        for (unsigned i = 0; i < 2 * SIZE && virtio_queue_pop(rig->q, c); i++) {
            taken++;
            for (unsigned k = 0; k < c->outs + c->ins; k++) {
                assert_true(range_inside(c->at[k], c->iov[k].iov_len, RAM_BYTES));
                assert_ptr_equal(c->iov[k].iov_base, ram(rig, c->at[k]));
            }
            virtio_queue_push(rig->q, c, (uint32_t)c->in_bytes);
            virtio_queue_signal(rig->q);
            virtio_queue_kicks(rig->q, unit_random(&seed) & 1);
        }
        breaks += broken(rig);
    }
    assert_true(taken > 1000);
    assert_true(breaks > 1000);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seam, setup, teardown),
        cmocka_unit_test_setup_teardown(test_indirect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suppression, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packed_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packed_indirect_and_unpop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_rings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_areas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_features, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
