/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_header.c - the header, its extensions and the backing file's name.
 *
 * "Header", "Additional fields" and "Header extensions" of the specification.
 * Here everything is judged that can be judged without looking at the tables.
 * Unknown extensions and unknown additional fields are kept and written again.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/error.h"

enum { FEATURE_ENTRY_BYTES = 48, FEATURE_NAME_BYTES = 46, EXT_HEAD_BYTES = 8,
       BITMAPS_EXT_BYTES = 24, MAX_BITMAPS = 65535 };

static const struct { uint8_t type, bit; const char *name; } feature_names[] = {
    {0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"}, {2, 1, "raw external data"},
};

void qcow2_header_fini(struct qcow2_header *h)
{
    free(h->backing);
    free(h->backing_format);
    free(h->fields);
    free(h->extensions);
    memset(h, 0, sizeof *h);
}

/* The image's own name of incompatible feature `bit`, from its feature name table. */
static void feature_name(const uint8_t *table, size_t bytes, unsigned bit, char name[64])
{
    strcpy(name, "unnamed");
    for (size_t at = 0; at + FEATURE_ENTRY_BYTES <= bytes; at += FEATURE_ENTRY_BYTES)
        if (table[at] == 0 && table[at + 1] == bit) {
            memcpy(name, table + at + 2, FEATURE_NAME_BYTES);
            name[FEATURE_NAME_BYTES] = 0;
        }
}

static int refuse_features(const struct qcow2_header *h, const char *name, const uint8_t *table,
                           size_t table_bytes, struct error **err)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPATIBLE_KNOWN;
    char feature[64];

    if (!unknown)
        return 0;
    feature_name(table, table_bytes, (unsigned)__builtin_ctzll(unknown), feature);
    error_set(err, ENOTSUP, "'%s' needs the qcow2 feature \"%s\" (incompatible bit %d), which is "
              "not known here", name, feature, __builtin_ctzll(unknown));
    error_hint(err, "convert it with the program that made it");
    return -ENOTSUP;
}

static int bad(const char *name, struct error **err, const char *what)
{
    return error_set(err, EINVAL, "'%s' is not a sound qcow2 image: %s", name, what);
}

static char *copy_text(const uint8_t *p, size_t bytes)
{
    char *s = malloc(bytes + 1);

    if (s) {
        memcpy(s, p, bytes);
        s[bytes] = 0;
    }
    return s;
}

static int keep_extension(struct qcow2_header *h, const uint8_t *ext, size_t bytes)
{
    size_t padded = align_up(bytes, 8);
    uint8_t *all = realloc(h->extensions, h->extensions_bytes + padded);

    if (!all)
        return -ENOMEM;
    memset(all + h->extensions_bytes, 0, padded);
    memcpy(all + h->extensions_bytes, ext, bytes);
    h->extensions = all;
    h->extensions_bytes += padded;
    return 0;
}

static int bitmaps_extension(struct qcow2_header *h, const uint8_t *data, size_t bytes)
{
    if (bytes < BITMAPS_EXT_BYTES)
        return -EINVAL;
    h->bitmaps = get_be32(data);
    h->bitmaps_bytes = get_be64(data + 8);
    h->bitmaps_offset = get_be64(data + 16);
    return h->bitmaps == 0 || h->bitmaps > MAX_BITMAPS ? -EINVAL : 0;
}

/* Walks the extensions in [at, end) of the first cluster. */
static int read_extensions(struct qcow2_header *h, const char *name, const uint8_t *head,
                           size_t at, size_t end, struct error **err)
{
    const uint8_t *features = NULL;
    size_t features_bytes = 0;
    int rc = 0;

    while (!rc && at + EXT_HEAD_BYTES <= end) {
        uint32_t type = get_be32(head + at), bytes = get_be32(head + at + 4);
        const uint8_t *data = head + at + EXT_HEAD_BYTES;

        if (type == QCOW2_EXT_END)
            break;
        if (bytes > end - at - EXT_HEAD_BYTES)
            return bad(name, err, "a header extension is longer than the header's cluster");
        if (type == QCOW2_EXT_FEATURES) {
            features = data;
            features_bytes = bytes;
        } else if (type == QCOW2_EXT_BACKING_FORMAT) {
            free(h->backing_format);
            h->backing_format = copy_text(data, bytes);
            rc = h->backing_format ? 0 : -ENOMEM;
        } else {
            if (type == QCOW2_EXT_BITMAPS && bitmaps_extension(h, data, bytes))
                return bad(name, err, "its bitmaps extension makes no sense");
            rc = keep_extension(h, head + at, EXT_HEAD_BYTES + bytes);
        }
        at += EXT_HEAD_BYTES + align_up(bytes, 8);
    }
    if (rc)
        return error_set(err, -rc, "cannot read '%s'", name);
    return refuse_features(h, name, features, features_bytes, err);
}

static int check_fields(const struct qcow2_header *h, const char *name, uint32_t crypt,
                        struct error **err)
{
    uint64_t cluster = 1ull << h->cluster_bits;

    if (crypt) {
        error_set(err, ENOTSUP, "'%s' is encrypted (%s), which ring3 does not do", name,
                  crypt == 1 ? "AES" : crypt == 2 ? "LUKS" : "an unknown method");
        error_hint(err, "decrypt it with qemu-img convert");
        return -ENOTSUP;
    }
    if (h->incompatible & QCOW2_DATA_FILE) {
        error_set(err, ENOTSUP, "'%s' keeps its data in another file, which ring3 does not do",
                  name);
        error_hint(err, "make one file of it with qemu-img convert");
        return -ENOTSUP;
    }
    if (h->incompatible & QCOW2_EXTENDED_L2 && h->cluster_bits < 14)
        return bad(name, err, "subclusters need clusters of at least 16 KiB");
    if (h->refcount_order > 6)
        return bad(name, err, "reference counts of more than 64 bits");
    if ((h->l1_offset | h->reftable_offset | (h->snapshots ? h->snapshots_offset : 0)) &
        (cluster - 1))
        return bad(name, err, "a table does not start with a cluster");
    if (h->l1_entries > QCOW2_MAX_L1_BYTES / 8)
        return bad(name, err, "its L1 table has more than 32 MiB");
    if (!h->reftable_clusters ||
        h->reftable_clusters > (uint32_t)QCOW2_MAX_REFTABLE_BYTES >> h->cluster_bits)
        return bad(name, err, "its reference count table is empty or has more than 8 MiB");
    if (h->snapshots > QCOW2_MAX_SNAPSHOTS)
        return bad(name, err, "more than 65536 snapshots");
    return 0;
}

static int read_version3(struct qcow2_header *h, const char *name, const uint8_t *head,
                         struct error **err)
{
    h->incompatible = get_be64(head + 72);
    h->compatible = get_be64(head + 80);
    h->autoclear = get_be64(head + 88);
    h->refcount_order = get_be32(head + 96);
    h->header_bytes = get_be32(head + 100);
    if (h->header_bytes < QCOW2_V3_HEADER || h->header_bytes % 8 ||
        h->header_bytes > 1u << h->cluster_bits)
        return bad(name, err, "a header length that cannot be");
    h->fields_bytes = h->header_bytes - QCOW2_V3_HEADER;
    h->fields = malloc(h->fields_bytes + 1);
    if (!h->fields)
        return error_set(err, ENOMEM, "cannot read '%s'", name);
    memcpy(h->fields, head + QCOW2_V3_HEADER, h->fields_bytes);
    unsigned compression = h->fields_bytes ? h->fields[0] : 0;
    if (!(h->incompatible & QCOW2_COMPRESSION) != !compression)
        return bad(name, err, "compression type and feature bit do not agree");
    if (compression > QCOW2_ZSTD)
        return error_set(err, ENOTSUP, "'%s' has an unknown compression type (%u)", name,
                         compression);
    h->compression = compression;
    return 0;
}

static int read_backing(struct qcow2_header *h, const char *name, const uint8_t *head,
                        uint64_t offset, uint32_t bytes, struct error **err)
{
    uint64_t cluster = 1ull << h->cluster_bits;

    if (!offset || !bytes)
        return 0;
    if (bytes > QCOW2_MAX_BACKING_NAME || !range_inside(offset, bytes, cluster))
        return bad(name, err, "its backing file's name lies outside the header");
    h->backing = copy_text(head + offset, bytes);
    if (!h->backing)
        return error_set(err, ENOMEM, "cannot read '%s'", name);
    if (strlen(h->backing) != bytes)
        return bad(name, err, "its backing file's name has a zero byte");
    return 0;
}

static int parse(struct qcow2_header *h, const char *name, const uint8_t *head, struct error **err)
{
    uint64_t cluster = 1ull << h->cluster_bits, backing_offset = get_be64(head + 8);
    size_t end = backing_offset && backing_offset < cluster ? backing_offset : cluster;

    h->bytes = get_be64(head + 24);
    h->l1_entries = get_be32(head + 36);
    h->l1_offset = get_be64(head + 40);
    h->reftable_offset = get_be64(head + 48);
    h->reftable_clusters = get_be32(head + 56);
    h->snapshots = get_be32(head + 60);
    h->snapshots_offset = get_be64(head + 64);
    h->refcount_order = 4;
    h->header_bytes = QCOW2_V2_HEADER;
    int rc = h->version == 3 ? read_version3(h, name, head, err) : 0;
    if (!rc)
        rc = read_extensions(h, name, head, h->header_bytes, end, err);
    if (!rc)
        rc = check_fields(h, name, get_be32(head + 32), err);
    if (!rc)
        rc = read_backing(h, name, head, backing_offset, get_be32(head + 16), err);
    return rc;
}

int qcow2_header_read(struct qcow2_file *f, const char *name, struct qcow2_header *h,
                      struct error **err)
{
    uint8_t first[24];
    int rc = f->ops->read(f, 0, first, sizeof first);

    memset(h, 0, sizeof *h);
    if (rc)
        return error_set(err, -rc, "cannot read '%s': %s", name, strerror(-rc));
    if (f->bytes < QCOW2_V2_HEADER || get_be32(first) != QCOW2_MAGIC)
        return error_set(err, EINVAL, "'%s' is not a qcow2 image", name);
    h->version = get_be32(first + 4);
    h->cluster_bits = get_be32(first + 20);
    if (h->version != 2 && h->version != 3)
        return error_set(err, ENOTSUP, "'%s' is a qcow image of version %u, not 2 or 3", name,
                         h->version);
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return bad(name, err, "its clusters are not between 512 bytes and 2 MiB");

    uint8_t *head = malloc(1ull << h->cluster_bits);
    if (!head)
        return error_set(err, ENOMEM, "cannot read '%s'", name);
    rc = f->ops->read(f, 0, head, 1ull << h->cluster_bits);
    if (rc)
        error_set(err, -rc, "cannot read '%s': %s", name, strerror(-rc));
    else
        rc = parse(h, name, head, err);
    free(head);
    if (rc)
        qcow2_header_fini(h);
    return rc;
}

/* ---- writing ---- */

struct writer { uint8_t *buf; size_t at, cap; bool full; };

static uint8_t *room(struct writer *w, size_t bytes)
{
    if (bytes > w->cap - w->at) {
        w->full = true;
        return NULL;
    }
    uint8_t *p = w->buf + w->at;
    w->at += bytes;
    return p;
}

static void put_extension(struct writer *w, uint32_t type, const void *data, size_t bytes)
{
    uint8_t *p = room(w, EXT_HEAD_BYTES + align_up(bytes, 8));

    if (p) {
        put_be32(p, type);
        put_be32(p + 4, (uint32_t)bytes);
        if (bytes)
            memcpy(p + EXT_HEAD_BYTES, data, bytes);
    }
}

static void put_features(struct writer *w)
{
    uint8_t table[ARRAY_SIZE(feature_names) * FEATURE_ENTRY_BYTES] = {0};

    for (size_t i = 0; i < ARRAY_SIZE(feature_names); i++) {
        uint8_t *e = table + i * FEATURE_ENTRY_BYTES;
        e[0] = feature_names[i].type;
        e[1] = feature_names[i].bit;
        memcpy(e + 2, feature_names[i].name, strlen(feature_names[i].name));
    }
    put_extension(w, QCOW2_EXT_FEATURES, table, sizeof table);
}

static void put_fields(const struct qcow2_header *h, uint8_t *p)
{
    put_be32(p, QCOW2_MAGIC);
    put_be32(p + 4, h->version);
    put_be32(p + 20, h->cluster_bits);
    put_be64(p + 24, h->bytes);
    put_be32(p + 36, h->l1_entries);
    put_be64(p + 40, h->l1_offset);
    put_be64(p + 48, h->reftable_offset);
    put_be32(p + 56, h->reftable_clusters);
    put_be32(p + 60, h->snapshots);
    put_be64(p + 64, h->snapshots ? h->snapshots_offset : 0);
    if (h->version == 2)
        return;
    put_be64(p + 72, h->incompatible);
    put_be64(p + 80, h->compatible);
    put_be64(p + 88, h->autoclear);
    put_be32(p + 96, h->refcount_order);
    put_be32(p + 100, h->header_bytes);
    if (h->fields_bytes)
        memcpy(p + QCOW2_V3_HEADER, h->fields, h->fields_bytes);
}

int qcow2_header_bytes(const struct qcow2_header *h, uint8_t *buf, size_t cap)
{
    struct writer w = {buf, 0, cap, false};

    memset(buf, 0, cap);
    uint8_t *p = room(&w, h->header_bytes);
    if (!p)
        return -E2BIG;
    put_fields(h, p);
    if (h->backing && h->backing_format)
        put_extension(&w, QCOW2_EXT_BACKING_FORMAT, h->backing_format, strlen(h->backing_format));
    /* A small cluster may have no room for names of features, which are only comfort. */
    size_t before = w.at;
    if (h->version == 3)
        put_features(&w);
    size_t rest = h->extensions_bytes + EXT_HEAD_BYTES + (h->backing ? strlen(h->backing) : 0);
    if (w.full || w.at + rest > cap) {
        memset(buf + before, 0, w.at - before);
        w.at = before;
        w.full = false;
    }
    uint8_t *kept = room(&w, h->extensions_bytes);
    if (kept && h->extensions_bytes)
        memcpy(kept, h->extensions, h->extensions_bytes);
    put_extension(&w, QCOW2_EXT_END, NULL, 0);
    if (h->backing && p) {
        uint64_t offset = w.at;
        uint8_t *name = room(&w, strlen(h->backing));
        if (name) {
            memcpy(name, h->backing, strlen(h->backing));
            put_be64(p + 8, offset);
            put_be32(p + 16, (uint32_t)strlen(h->backing));
        }
    }
    return w.full ? -E2BIG : (int)w.at;
}

int qcow2_header_write(struct qcow2 *q)
{
    uint8_t *buf = malloc(q->cluster_bytes);
    int rc = buf ? qcow2_header_bytes(&q->h, buf, q->cluster_bytes) : -ENOMEM;

    if (rc > 0)
        rc = qcow2_file_write(q, 0, buf, q->cluster_bytes);
    free(buf);
    return rc;
}
