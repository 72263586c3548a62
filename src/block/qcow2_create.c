/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_create.c - a new, empty image.
 *
 * Header, count table, count blocks and L1 table one after the other; the header is
 * written last, so that a half-made image is none.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/error.h"

struct layout { uint64_t table, blocks, l1, all; };      /* in clusters */

void qcow2_create_defaults(struct qcow2_create *c)
{
    memset(c, 0, sizeof *c);
    c->cluster_bytes = 65536;
    c->refcount_bits = 16;
    c->version = 3;
}

static int check_options(const struct qcow2_create *c, struct error **err)
{
    if (c->cluster_bytes & (c->cluster_bytes - 1) || c->cluster_bytes < 512 ||
        c->cluster_bytes > 2 << 20)
        return error_set(err, EINVAL, "cluster-size must be a power of two between 512 and 2M");
    if (!c->refcount_bits || c->refcount_bits & (c->refcount_bits - 1) || c->refcount_bits > 64)
        return error_set(err, EINVAL, "refcount-bits must be a power of two, at most 64");
    if (c->version == 2 && (c->refcount_bits != 16 || c->lazy_refcounts || c->extended_l2 ||
                            c->compression != QCOW2_ZLIB))
        return error_set(err, EINVAL, "refcount-bits other than 16, lazy-refcounts, extended-l2 "
                         "and compression=zstd need compat=1.1");
    if (c->extended_l2 && c->cluster_bytes < 16384)
        return error_set(err, EINVAL, "extended-l2 needs clusters of at least 16K");
    if (c->backing && strlen(c->backing) > QCOW2_MAX_BACKING_NAME)
        return error_set(err, EINVAL, "the backing file's name has more than 1023 bytes");
    if (c->backing && !c->backing_format) {
        error_set(err, EINVAL, "the backing file's format must be named");
        error_hint(err, "add backing-format=raw or backing-format=qcow2");
        return -EINVAL;
    }
    if (c->backing && c->preallocation != QCOW2_PREALLOC_OFF && !c->extended_l2)
        return error_set(err, EINVAL, "preallocation with a backing file needs extended-l2");
    return 0;
}

static void header_of(const struct qcow2_create *c, const struct layout *l, uint32_t l1_entries,
                      struct qcow2_header *h)
{
    *h = (struct qcow2_header){
        .version = c->version, .bytes = c->bytes, .l1_entries = l1_entries,
        .cluster_bits = (unsigned)__builtin_ctzll(c->cluster_bytes),
        .refcount_order = (unsigned)__builtin_ctzll(c->refcount_bits),
        .header_bytes = c->version == 2 ? QCOW2_V2_HEADER : QCOW2_FULL_HEADER,
        .compression = c->compression, .reftable_offset = c->cluster_bytes,
        .reftable_clusters = (uint32_t)l->table,
        .l1_offset = (1 + l->table + l->blocks) * c->cluster_bytes,
        .incompatible = (c->compression ? QCOW2_COMPRESSION : 0) |
                        (c->extended_l2 ? QCOW2_EXTENDED_L2 : 0),
        .compatible = c->lazy_refcounts ? QCOW2_LAZY_REFCOUNTS : 0,
    };
}

static void lay_out(const struct qcow2_create *c, uint64_t l1_entries, struct layout *l)
{
    uint64_t per_block = c->cluster_bytes * 8 / c->refcount_bits, old;

    l->l1 = max_u64(1, (l1_entries * 8 + c->cluster_bytes - 1) / c->cluster_bytes);
    l->table = l->blocks = 1;
    l->all = 0;
    do {
        old = l->all;
        l->all = 1 + l->table + l->blocks + l->l1;
        l->blocks = (l->all + per_block - 1) / per_block;
        l->table = (l->blocks * 8 + c->cluster_bytes - 1) / c->cluster_bytes;
    } while (l->all != old);
}

static int write_counts(struct qcow2_file *f, const struct qcow2_create *c, const struct layout *l,
                        uint8_t *buf)
{
    uint64_t per_block = c->cluster_bytes * 8 / c->refcount_bits;
    unsigned order = (unsigned)__builtin_ctzll(c->refcount_bits);
    int rc = 0;

    for (uint64_t b = 0; !rc && b < l->blocks; b++) {
        memset(buf, 0, c->cluster_bytes);
        for (uint64_t i = 0; i < per_block && b * per_block + i < l->all; i++)
            qcow2_rc_set(buf, order, i, 1);
        rc = f->ops->write(f, (1 + l->table + b) * c->cluster_bytes, buf, c->cluster_bytes);
    }
    for (uint64_t t = 0; !rc && t < l->table; t++) {
        memset(buf, 0, c->cluster_bytes);
        for (uint64_t i = 0; i < c->cluster_bytes / 8 && t * c->cluster_bytes / 8 + i < l->blocks;
             i++)
            put_be64(buf + i * 8, (1 + l->table + t * c->cluster_bytes / 8 + i) *
                                      c->cluster_bytes);
        rc = f->ops->write(f, (1 + t) * c->cluster_bytes, buf, c->cluster_bytes);
    }
    return rc;
}

static int write_all(struct qcow2_file *f, const struct qcow2_create *c, uint32_t l1_entries,
                     struct error **err)
{
    struct layout l;
    struct qcow2_header h;
    uint8_t fields[8] = {(uint8_t)c->compression}, *buf = malloc(c->cluster_bytes);

    if (!buf)
        return error_set(err, ENOMEM, "cannot make the image");
    lay_out(c, l1_entries, &l);
    header_of(c, &l, l1_entries, &h);
    h.backing = (char *)c->backing;
    h.backing_format = (char *)c->backing_format;
    h.fields = fields;
    h.fields_bytes = c->version == 3 ? sizeof fields : 0;
    int rc = f->ops->truncate(f, l.all * c->cluster_bytes);
    if (!rc) {
        f->bytes = l.all * c->cluster_bytes;
        rc = write_counts(f, c, &l, buf);
    }
    if (!rc) {
        rc = qcow2_header_bytes(&h, buf, c->cluster_bytes);
        if (rc > 0)
            rc = f->ops->write(f, 0, buf, c->cluster_bytes);
    }
    if (!rc)
        rc = f->ops->flush(f);
    free(buf);
    if (rc == -E2BIG)
        return error_set(err, E2BIG, "the backing file's name does not fit into a cluster");
    return rc ? error_set(err, -rc, "cannot write the image: %s", strerror(-rc)) : 0;
}

int qcow2_create_in(struct qcow2_file *f, const struct qcow2_create *c, struct error **err)
{
    int rc = check_options(c, err);

    if (rc)
        return rc;
    unsigned cluster_bits = (unsigned)__builtin_ctzll(c->cluster_bytes);
    unsigned span = 2 * cluster_bits - (c->extended_l2 ? 4 : 3);
    uint64_t entries = (c->bytes >> span) + ((c->bytes & ((1ull << span) - 1)) != 0);
    if (c->bytes > 1ull << 62 || entries * 8 > QCOW2_MAX_L1_BYTES) {
        error_set(err, EFBIG, "the disk is too big for clusters of %llu bytes",
                  (unsigned long long)c->cluster_bytes);
        error_hint(err, "take a bigger cluster_size");
        return -EFBIG;
    }
    return write_all(f, c, (uint32_t)max_u64(entries, 1), err);
}
