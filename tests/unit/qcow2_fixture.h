/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_fixture.h - a file in memory under an image, which can keep a log of what was
 * written and be cut off at any point of it; and a model of what the guest should see.
 */
#ifndef RING3_TESTS_QCOW2_FIXTURE_H
#define RING3_TESTS_QCOW2_FIXTURE_H

#include <stdio.h>

#include "base/strbuf.h"
#include "block/qcow2.h"
#include "unit.h"

struct log_entry { uint64_t offset; size_t bytes; uint8_t *data; };      /* no data: a flush */

struct memory_file {
    struct qcow2_file f;
    uint8_t *data;
    size_t cap;
    bool logging;
    struct log_entry *log;
    size_t entries, log_cap;
    int64_t fail_after;          /* writes until -ENOSPC; negative: never */
};

static inline void memory_reserve(struct memory_file *m, uint64_t bytes)
{
    if (bytes > m->cap) {
        size_t cap = bytes * 2;
        m->data = realloc(m->data, cap);
        assert_non_null(m->data);
        memset(m->data + m->cap, 0, cap - m->cap);
        m->cap = cap;
    }
}

static inline int memory_read(struct qcow2_file *f, uint64_t offset, void *buf, size_t bytes)
{
    struct memory_file *m = container_of(f, struct memory_file, f);
    size_t have = offset < f->bytes ? min_u64(bytes, f->bytes - offset) : 0;

    memset(buf, 0, bytes);
    if (have)
        memcpy(buf, m->data + offset, have);
    return 0;
}

static inline void memory_log(struct memory_file *m, uint64_t offset, const void *buf, size_t bytes)
{
    if (!m->logging)
        return;
    if (m->entries == m->log_cap) {
        m->log_cap = m->log_cap * 2 + 64;
        m->log = realloc(m->log, m->log_cap * sizeof *m->log);
    }
    struct log_entry *e = &m->log[m->entries++];
    *e = (struct log_entry){offset, bytes, buf ? malloc(bytes) : NULL};
    if (buf)
        memcpy(e->data, buf, bytes);
}

static inline int memory_write(struct qcow2_file *f, uint64_t offset, const void *buf, size_t bytes)
{
    struct memory_file *m = container_of(f, struct memory_file, f);

    if (m->fail_after == 0)
        return -ENOSPC;
    if (m->fail_after > 0)
        m->fail_after--;
    if (offset + bytes > 1u << 30)
        return -EFBIG;
    memory_reserve(m, offset + bytes);
    memcpy(m->data + offset, buf, bytes);
    f->bytes = max_u64(f->bytes, offset + bytes);
    memory_log(m, offset, buf, bytes);
    return 0;
}

static inline int memory_flush(struct qcow2_file *f)
{
    memory_log(container_of(f, struct memory_file, f), 0, NULL, 0);
    return 0;
}

static inline int memory_truncate(struct qcow2_file *f, uint64_t bytes)
{
    struct memory_file *m = container_of(f, struct memory_file, f);

    if (bytes > 1u << 30)
        return -EFBIG;
    memory_reserve(m, bytes);
    f->bytes = bytes;
    return 0;
}

static const struct qcow2_file_ops memory_ops = {
    .read = memory_read, .write = memory_write, .flush = memory_flush, .truncate = memory_truncate,
};

static inline void memory_init(struct memory_file *m)
{
    *m = (struct memory_file){.f.ops = &memory_ops, .fail_after = -1};
}

static inline void memory_fini(struct memory_file *m)
{
    for (size_t i = 0; i < m->entries; i++)
        free(m->log[i].data);
    free(m->log);
    free(m->data);
    memset(m, 0, sizeof *m);
}

/* Copies the present contents (not the log). */
static inline void memory_copy(struct memory_file *to, const struct memory_file *from)
{
    memory_init(to);
    memory_reserve(to, from->f.bytes + 1);
    memcpy(to->data, from->data, from->f.bytes);
    to->f.bytes = from->f.bytes;
}

static inline uint64_t random_u64(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static inline void must(int rc, struct error **err)
{
    if (rc) {
        char *text = *err ? error_text(*err) : NULL;
        fail_msg("%d: %s", rc, text ? text : "(no message)");
    }
}

static inline void image_new(struct memory_file *m, const struct qcow2_create *c)
{
    struct error *err = NULL;

    memory_init(m);
    must(qcow2_create_in(&m->f, c, &err), &err);
}

static inline void image_open(struct qcow2 *q, struct memory_file *m, unsigned flags)
{
    struct error *err = NULL;

    must(qcow2_open(q, &m->f, "image", flags, &err), &err);
}

/* Errors and leaks are 0 (or leaks are allowed). */
static inline void image_check(struct memory_file *m, bool leaks_allowed)
{
    struct strbuf report = {0};
    struct qcow2_check_result r = {.report = &report};
    struct qcow2 q;

    image_open(&q, m, QCOW2_READONLY | QCOW2_CHECKING);
    assert_int_equal(qcow2_check(&q, QCOW2_REPAIR_NOTHING, &r), 0);
    if (r.errors || (r.leaks && !leaks_allowed))
        fail_msg("%d errors, %d leaks:\n%s", (int)r.errors, (int)r.leaks, strbuf_text(&report));
    qcow2_close(&q);
    strbuf_fini(&report);
}

#endif
