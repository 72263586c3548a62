/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_qcow2.c - images in memory against a flat model: every geometry, random traffic,
 * snapshots, resizing, full disks, kills and power cuts at every write, hostile bytes.
 */
#include <stdio.h>

#include "qcow2_fixture.h"

#include "base/byteorder.h"

enum { DISK_BYTES = 3 << 20 };

struct variant {
    uint64_t cluster, refcount_bits;
    unsigned version;
    bool extended, lazy;
    enum qcow2_compression compression;
};
static const struct variant variants[] = {
    {512, 16, 3, .lazy = false}, {512, 64, 3}, {4096, 1, 3}, {4096, 2, 3}, {65536, 16, 3},
    {65536, 16, 2}, {1024, 16, 2}, {16384, 16, 3, .extended = true}, {65536, 32, 3, .extended = true},
    {2 << 20, 8, 3}, {4096, 16, 3, .lazy = true}, {4096, 4, 3, .compression = QCOW2_ZSTD},
};

static struct qcow2_create options(const struct variant *v, uint64_t bytes)
{
    struct qcow2_create c;

    qcow2_create_defaults(&c);
    c.bytes = bytes;
    c.cluster_bytes = v->cluster;
    c.refcount_bits = v->refcount_bits;
    c.version = v->version;
    c.extended_l2 = v->extended;
    c.lazy_refcounts = v->lazy;
    c.compression = v->compression;
    return c;
}

/* ---- the model ---- */

struct world {
    struct memory_file file, behind;
    struct qcow2 q;
    uint8_t *model, *buf;
    uint64_t bytes, seed;
    bool touched[2 * DISK_BYTES / 512];          /* since the last promise */
};

static void world_new(struct world *w, const struct variant *v, uint64_t seed, bool backing)
{
    struct qcow2_create c = options(v, DISK_BYTES);

    memset(w, 0, sizeof *w);
    w->seed = seed * 0x9e3779b97f4a7c15ull + 1;
    w->bytes = DISK_BYTES;
    w->model = calloc(2, DISK_BYTES);
    w->buf = malloc(DISK_BYTES * 2);
    image_new(&w->file, &c);
    memory_init(&w->behind);
    image_open(&w->q, &w->file, 0);
    if (backing) {
        memory_reserve(&w->behind, DISK_BYTES / 2 + 512);
        w->behind.f.bytes = DISK_BYTES / 2 + 512;
        for (uint64_t i = 0; i < w->behind.f.bytes; i++)
            w->behind.data[i] = w->model[i] = (uint8_t)random_u64(&w->seed);
        w->q.backing = &w->behind.f;
    }
}

static void world_free(struct world *w)
{
    memory_fini(&w->file);
    memory_fini(&w->behind);
    free(w->model);
    free(w->buf);
}

static void pick(struct world *w, uint64_t *offset, uint64_t *bytes)
{
    uint64_t max = random_u64(&w->seed) % 4 ? 16384 : 300000;

    *offset = random_u64(&w->seed) % (w->bytes / 512) * 512;
    *bytes = min_u64((random_u64(&w->seed) % max / 512 + 1) * 512, w->bytes - *offset);
    if (random_u64(&w->seed) % 4 == 0) {        /* whole clusters, often */
        *offset = align_down(*offset, w->q.cluster_bytes);
        *bytes = min_u64(align_up(*bytes, w->q.cluster_bytes), w->bytes - *offset);
    }
}

static void compare_all(struct world *w)
{
    assert_int_equal(qcow2_read(&w->q, 0, w->buf, w->bytes), 0);
    if (!memcmp(w->buf, w->model, w->bytes))
        return;
    for (uint64_t i = 0; i < w->bytes; i++)
        if (w->buf[i] != w->model[i])
            fail_msg("byte %#llx is %02x, not %02x", (unsigned long long)i, w->buf[i], w->model[i]);
}

static void step(struct world *w)
{
    uint64_t offset, bytes, kind = random_u64(&w->seed) % 16;
    int rc = 0;

    pick(w, &offset, &bytes);
    for (uint64_t i = offset; i < offset + bytes || i < align_up(offset + 1, w->q.cluster_bytes);
         i += 512)
        w->touched[i / 512] = true;
    if (kind == 15)
        for (uint64_t i = align_down(offset, w->q.cluster_bytes); i < offset; i += 512)
            w->touched[i / 512] = true;
    if (kind < 9) {
        for (uint64_t i = 0; i < bytes; i++)
            w->model[offset + i] = (uint8_t)(random_u64(&w->seed) >> 8);
        rc = qcow2_write(&w->q, offset, w->model + offset, bytes);
    } else if (kind < 12) {
        rc = qcow2_write_zeroes(&w->q, offset, bytes, kind & 1);
        memset(w->model + offset, 0, bytes);
    } else if (kind < 14) {
        rc = qcow2_discard(&w->q, offset, bytes);
        int read = qcow2_read(&w->q, offset, w->model + offset, bytes);
        assert_int_equal(read, 0);
    } else if (kind < 15) {
        rc = qcow2_sync(&w->q);
    } else {
        offset = align_down(offset, w->q.cluster_bytes);
        bytes = min_u64(w->q.cluster_bytes, w->bytes - offset);
        memset(w->model + offset, (int)offset, bytes);
        for (uint64_t i = 0; i < bytes; i += 64)
            w->model[offset + i] = (uint8_t)random_u64(&w->seed);
        rc = qcow2_write_packed(&w->q, offset, w->model + offset, bytes);
    }
    if (rc)
        fail_msg("operation %d at %#llx: %d %s", (int)kind, (unsigned long long)offset, rc,
                 w->q.corrupt_reason ? w->q.corrupt_reason : "");
}

static void reopen(struct world *w)
{
    struct qcow2_file *backing = w->q.backing;

    assert_int_equal(qcow2_close(&w->q), 0);
    image_check(&w->file, false);
    image_open(&w->q, &w->file, 0);
    w->q.backing = backing;
}

static void random_traffic(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(variants) * 2; i++) {
        struct world w;
        world_new(&w, &variants[i / 2], i + 1, i & 1);
        for (unsigned round = 0; round < 4; round++) {
            for (unsigned n = 0; n < 40; n++)
                step(&w);
            compare_all(&w);
            reopen(&w);
            compare_all(&w);
        }
        assert_int_equal(qcow2_close(&w.q), 0);
        world_free(&w);
    }
}

/* ---- snapshots and sizes ---- */

static void snapshots(void **state)
{
    struct error *err = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
        struct world w;
        uint8_t *saved[2] = {malloc(DISK_BYTES), malloc(DISK_BYTES)};
        world_new(&w, &variants[i], i + 100, i & 1);
        for (unsigned n = 0; n < 30; n++)
            step(&w);
        if (variants[i].refcount_bits < 8) {
            int rc = qcow2_snapshot_create(&w.q, "a", &err);
            if (rc)
                expect_error(rc, ERANGE, &err, "too small");
            assert_int_equal(qcow2_close(&w.q), 0);
            image_check(&w.file, false);
        } else {
            for (unsigned k = 0; k < 2; k++) {
                memcpy(saved[k], w.model, DISK_BYTES);
                must(qcow2_snapshot_create(&w.q, k ? "b" : "a", &err), &err);
                for (unsigned n = 0; n < 30; n++)
                    step(&w);
                compare_all(&w);
                reopen(&w);
            }
            expect_error(qcow2_snapshot_create(&w.q, "b", &err), EEXIST, &err, "already");
            for (unsigned k = 0; k < 4; k++) {
                must(qcow2_snapshot_apply(&w.q, k & 1 ? "b" : "a", &err), &err);
                memcpy(w.model, saved[k & 1], DISK_BYTES);
                compare_all(&w);
                for (unsigned n = 0; n < 10; n++)
                    step(&w);
                reopen(&w);
                compare_all(&w);
            }
            must(qcow2_snapshot_delete(&w.q, "a", &err), &err);
            reopen(&w);
            must(qcow2_snapshot_apply(&w.q, "b", &err), &err);
            memcpy(w.model, saved[1], DISK_BYTES);
            compare_all(&w);
            must(qcow2_snapshot_delete(&w.q, "b", &err), &err);
            expect_error(qcow2_snapshot_delete(&w.q, "b", &err), ENOENT, &err, "no snapshot");
            reopen(&w);
            compare_all(&w);
            assert_int_equal(qcow2_close(&w.q), 0);
        }
        world_free(&w);
        free(saved[0]);
        free(saved[1]);
    }
}

static void resizing(void **state)
{
    static const uint64_t sizes[] = {DISK_BYTES / 2 + 1024, DISK_BYTES, 5120, DISK_BYTES * 2,
                                     DISK_BYTES / 4, DISK_BYTES + 512};
    struct error *err = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(variants) * 2; i++) {
        struct world w;
        world_new(&w, &variants[i / 2], i + 200, i & 1);
        for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
            for (unsigned n = 0; n < 15; n++)
                step(&w);
            must(qcow2_resize(&w.q, sizes[k], &err), &err);
            if (sizes[k] < w.bytes)
                memset(w.model + sizes[k], 0, w.bytes - sizes[k]);
            w.bytes = sizes[k];
            compare_all(&w);
            reopen(&w);
        }
        assert_int_equal(qcow2_close(&w.q), 0);
        world_free(&w);
    }
}

/* ---- full disk ---- */

static void full_disk(void **state)
{
    for (unsigned i = 0; i < 60; i++) {
        struct world w;
        world_new(&w, &variants[i % ARRAY_SIZE(variants)], i + 300, i & 1);
        for (unsigned n = 0; n < 10; n++)
            step(&w);
        assert_int_equal(qcow2_sync(&w.q), 0);
        w.file.fail_after = i * 2;
        uint64_t offset, bytes;
        for (unsigned n = 0; n < 10; n++) {
            pick(&w, &offset, &bytes);
            memset(w.buf, (int)n, bytes);
            int rc = qcow2_write(&w.q, offset, w.buf, bytes);
            assert_true(rc == 0 || rc == -ENOSPC || rc == -EIO);
            assert_int_equal(qcow2_read(&w.q, offset, w.model + offset, bytes), 0);
        }
        w.file.fail_after = -1;
        compare_all(&w);
        (void)qcow2_close(&w.q);
        if (!variants[i % ARRAY_SIZE(variants)].lazy)
            image_check(&w.file, true);
        world_free(&w);
    }
}

/* ---- kills and power cuts ---- */

/* The guest's disk as it was when a flush ended, and where in the log that is. */
struct promise { size_t at; uint8_t *disk; };

static void apply_entry(struct memory_file *m, const struct log_entry *e)
{
    if (e->data)
        memory_write(&m->f, e->offset, e->data, e->bytes);
}

/* After the cut the image opens, has no errors, and bytes that nobody touched since the
 * promise are as promised. */
static void verify_cut(struct memory_file *m, const struct variant *v, const uint8_t *promised,
                       const bool *touched, struct qcow2_file *backing)
{
    struct qcow2 q;
    uint8_t *disk = malloc(DISK_BYTES);

    if (!v->lazy)
        image_check(m, true);
    image_open(&q, m, 0);
    q.backing = backing;
    assert_int_equal(qcow2_read(&q, 0, disk, DISK_BYTES), 0);
    for (uint64_t i = 0; i < DISK_BYTES; i++)
        if (!touched[i / 512] && disk[i] != promised[i])
            fail_msg("flushed byte %#llx is %02x, not %02x", (unsigned long long)i, disk[i],
                     promised[i]);
    assert_int_equal(qcow2_close(&q), 0);
    image_check(m, true);
    free(disk);
}

static void one_crash_run(const struct variant *v, unsigned seed, bool backing)
{
    struct world w;
    struct memory_file base, cut;
    uint8_t *promised = malloc(DISK_BYTES);

    world_new(&w, v, seed, backing);
    for (unsigned n = 0; n < 20; n++)
        step(&w);
    for (unsigned round = 0; round < 6; round++) {
        assert_int_equal(qcow2_sync(&w.q), 0);
        memory_copy(&base, &w.file);
        memcpy(promised, w.model, DISK_BYTES);
        memset(w.touched, 0, sizeof w.touched);
        w.file.logging = true;
        for (unsigned n = 0; n < 8; n++)
            step(&w);
        assert_int_equal(qcow2_sync(&w.q), 0);
        w.file.logging = false;
        for (size_t end = 0; end <= w.file.entries; end++) {
            memory_copy(&cut, &base);
            size_t safe = 0;
            for (size_t i = 0; i < end; i++)
                if (!w.file.log[i].data)
                    safe = i;
            /* Odd cuts are power cuts: of what no flush covered, some is lost, in any order. */
            for (size_t i = 0; i < end; i++)
                if (i < safe || !(end & 1) || random_u64(&w.seed) & 1)
                    apply_entry(&cut, &w.file.log[i]);
            verify_cut(&cut, v, promised, w.touched, w.q.backing);
            memory_fini(&cut);
        }
        for (size_t i = 0; i < w.file.entries; i++)
            free(w.file.log[i].data);
        w.file.entries = 0;
        memory_fini(&base);
    }
    assert_int_equal(qcow2_close(&w.q), 0);
    world_free(&w);
    free(promised);
}

static void cuts(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++)
        one_crash_run(&variants[i], i + 400, i & 1);
}

/* ---- hostile files ---- */

/* Everything at once over a damaged image: no crash, no hang. */
static void run_over(struct memory_file *m, uint64_t *seed)
{
    struct qcow2_check_result r = {0};
    uint8_t buf[4096];
    struct qcow2 q;

    if (!qcow2_open(&q, &m->f, "image", QCOW2_READONLY | QCOW2_CHECKING, NULL)) {
        (void)qcow2_check(&q, QCOW2_REPAIR_NOTHING, &r);
        qcow2_close(&q);
    }
    if (qcow2_open(&q, &m->f, "image", 0, NULL) == 0) {
        for (unsigned n = 0; n < 12 && q.h.bytes > sizeof buf; n++) {
            uint64_t at = random_u64(seed) % (q.h.bytes - sizeof buf);
            (void)qcow2_read(&q, at, buf, sizeof buf);
            (void)qcow2_write(&q, at, buf, sizeof buf);
            (void)qcow2_discard(&q, at, sizeof buf * 4);
            (void)qcow2_write_zeroes(&q, at, min_u64(70000, q.h.bytes - at), n & 1);
        }
        (void)qcow2_snapshot_create(&q, "new", NULL);
        (void)qcow2_snapshot_apply(&q, "a", NULL);
        (void)qcow2_snapshot_delete(&q, "a", NULL);
        (void)qcow2_resize(&q, 1 << 20, NULL);
        (void)qcow2_close(&q);
    }
    if (!qcow2_open(&q, &m->f, "image", QCOW2_CHECKING, NULL)) {
        (void)qcow2_check(&q, QCOW2_REPAIR_ALL, &r);
        (void)qcow2_close(&q);
    }
}

static void hostile_bytes(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
        struct world w;
        struct error *err = NULL;
        if (variants[i].cluster > 65536)
            continue;
        world_new(&w, &variants[i], i + 500, false);
        for (unsigned n = 0; n < 10; n++)
            step(&w);
        if (qcow2_snapshot_create(&w.q, "a", &err))
            error_free(&err);
        uint64_t places[] = {0, w.q.h.l1_offset, w.q.h.reftable_offset, w.q.h.snapshots_offset,
                             w.q.l1[0] & QCOW2_OFFSET, w.q.reftable[0]};
        assert_int_equal(qcow2_close(&w.q), 0);
        for (unsigned n = 0; n < 150; n++) {
            struct memory_file m;
            memory_copy(&m, &w.file);
            unsigned flips = 1 + random_u64(&w.seed) % 4;
            for (unsigned k = 0; k < flips; k++) {
                uint64_t p = places[random_u64(&w.seed) % ARRAY_SIZE(places)];
                uint64_t at = p + random_u64(&w.seed) % (p ? 256 : 112);
                if (at >= m.f.bytes)
                    continue;
                m.data[at] = random_u64(&w.seed) & 1 ? (uint8_t)random_u64(&w.seed)
                                                     : m.data[at] ^ (1 << random_u64(&w.seed) % 8);
            }
            if (n % 8 == 0)
                m.f.bytes = random_u64(&w.seed) % m.f.bytes;
            run_over(&m, &w.seed);
            memory_fini(&m);
        }
        world_free(&w);
    }
}

static void refused_with(size_t at, const void *bytes, size_t n, int code, const char *text)
{
    struct qcow2_create c = options(&variants[4], DISK_BYTES);
    struct memory_file m;
    struct qcow2 q;
    struct error *err = NULL;

    image_new(&m, &c);
    memcpy(m.data + at, bytes, n);
    expect_error(qcow2_open(&q, &m.f, "bad.qcow2", 0, &err), code, &err, text);
    memory_fini(&m);
}

static void refused_headers(void **state)
{
    static const uint8_t one[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t far[8] = {0, 0x10, 0, 0, 0, 0, 0, 0};
    static const uint8_t zero[8] = {0};

    refused_with(0, "x", 1, EINVAL, "is not a qcow2 image");
    refused_with(7, "\1", 1, ENOTSUP, "version 1");
    refused_with(23, "\10", 1, EINVAL, "clusters are not between");
    refused_with(35, "\2", 1, ENOTSUP, "LUKS");
    refused_with(79, "\4", 1, ENOTSUP, "data in another file");
    refused_with(72, "\100", 1, ENOTSUP, "incompatible bit 62");
    refused_with(79, "\2", 1, EIO, "marked corrupt");
    refused_with(36, "\177", 1, EINVAL, "32 MiB");
    refused_with(40, one, 8, EINVAL, "does not start with a cluster");
    refused_with(40, far, 8, EINVAL, "outside the file");
    refused_with(40, zero, 8, EINVAL, "overlap");
    refused_with(56, zero, 4, EINVAL, "reference count table");
    refused_with(24, far, 8, EINVAL, "too short");
    refused_with(99, "\7", 1, EINVAL, "64 bits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_traffic), cmocka_unit_test(snapshots),
        cmocka_unit_test(resizing), cmocka_unit_test(full_disk), cmocka_unit_test(cuts),
        cmocka_unit_test(hostile_bytes), cmocka_unit_test(refused_headers),
    };

#ifdef __SANITIZE_THREAD__
    printf("SKIP: there is one thread only, and the sanitizer takes minutes\n");
    return 77;
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
