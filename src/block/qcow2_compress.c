/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_compress.c - clusters packed with deflate or Zstandard.
 *
 * "Compressed Clusters Descriptor" of the specification. Packed clusters follow one
 * another without regard to cluster borders, as far as counts and neighbours allow; a
 * cluster of the file that holds parts of several counts each.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { WINDOW_BITS = 12, MEMORY_LEVEL = 9 };     /* what readers of the format expect */

static int inflate_cluster(const void *packed, size_t packed_bytes, void *out, size_t bytes)
{
#ifdef HAVE_ZLIB
    z_stream z = {.next_in = (Bytef *)packed, .avail_in = (uInt)packed_bytes,
                  .next_out = out, .avail_out = (uInt)bytes};

    if (inflateInit2(&z, -WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    int rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* The input may go on behind the end: its length is in sectors. */
    return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
#else
    (void)packed, (void)packed_bytes, (void)out, (void)bytes;
    return -ENOTSUP;
#endif
}

static int unzstd_cluster(const void *packed, size_t packed_bytes, void *out, size_t bytes)
{
#ifdef HAVE_ZSTD
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer in = {packed, packed_bytes, 0};
    ZSTD_outBuffer to = {out, bytes, 0};
    size_t left = 1, before;

    if (!d)
        return -ENOMEM;
    do {
        before = in.pos + to.pos;
        left = ZSTD_decompressStream(d, &to, &in);
    } while (!ZSTD_isError(left) && to.pos < bytes && in.pos + to.pos > before);
    ZSTD_freeDCtx(d);
    return !ZSTD_isError(left) && to.pos == bytes ? 0 : -EIO;
#else
    (void)packed, (void)packed_bytes, (void)out, (void)bytes;
    return -ENOTSUP;
#endif
}

int qcow2_unpack(const struct qcow2 *q, const void *packed, size_t packed_bytes, void *out)
{
    return q->h.compression == QCOW2_ZSTD
               ? unzstd_cluster(packed, packed_bytes, out, q->cluster_bytes)
               : inflate_cluster(packed, packed_bytes, out, q->cluster_bytes);
}

/* How many bytes, 0: it does not get smaller than `cap`; -ENOTSUP: not built in. */
static int64_t pack(const struct qcow2 *q, const void *data, void *out, size_t cap)
{
    if (q->h.compression == QCOW2_ZSTD) {
#ifdef HAVE_ZSTD
        size_t n = ZSTD_compress(out, cap, data, q->cluster_bytes, ZSTD_CLEVEL_DEFAULT);
        return ZSTD_isError(n) ? 0 : (int64_t)n;
#else
        return -ENOTSUP;
#endif
    }
#ifdef HAVE_ZLIB
    z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)q->cluster_bytes,
                  .next_out = out, .avail_out = (uInt)cap};

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    int rc = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return rc == Z_STREAM_END ? (int64_t)(cap - z.avail_out) : 0;
#else
    (void)data, (void)out, (void)cap;
    return -ENOTSUP;
#endif
}

/* Room for `bytes` behind the last packed cluster, else in a new one. */
static int packed_room(struct qcow2 *q, uint64_t bytes, uint64_t *offset)
{
    uint64_t at = q->compressed_next, cs = q->cluster_bytes, fresh = 0;
    uint64_t left = at & (cs - 1) ? cs - (at & (cs - 1)) : 0;

    if (left < bytes) {
        int rc = qcow2_alloc(q, 1, NULL, &fresh);
        if (rc)
            return rc;
    }
    bool joins = left && (!fresh || fresh == at + left);
    if (joins && qcow2_refcount_add(q, at >> q->cluster_bits, 1, 1)) {
        joins = false;                          /* one count too many for its bits */
        if (!fresh) {
            int rc = qcow2_alloc(q, 1, NULL, &fresh);
            if (rc)
                return rc;
        }
    }
    *offset = joins ? at : fresh;
    q->compressed_next = *offset + bytes;
    return 0;
}

static bool all_zero(const uint8_t *p, uint64_t bytes)
{
    return !bytes || (!p[0] && !memcmp(p, p + 1, bytes - 1));
}

static int store_packed(struct qcow2 *q, uint64_t offset, const uint8_t *packed, uint64_t bytes)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t host;
    int rc = packed_room(q, bytes, &host);

    if (!rc && host + bytes > 1ull << min_u64(x, 56))
        rc = -EFBIG;
    if (rc)
        return rc;
    uint64_t sectors = ((host & 511) + bytes - 1) >> 9;
    rc = qcow2_file_write(q, host, packed, bytes);
    struct qcow2_table *t;
    if (!rc)
        rc = qcow2_l2_get(q, offset, true, &t);
    if (!rc)
        qcow2_l2_set(q, t, qcow2_l2_index(q, offset),
                     (struct qcow2_entry){QCOW2_COMPRESSED | sectors << x | host, 0});
    return rc;
}

int qcow2_write_packed(struct qcow2 *q, uint64_t offset, const void *buf, uint64_t bytes)
{
    struct qcow2_entry e = {0, 0};
    struct qcow2_table *t;
    int rc = qcow2_l2_get(q, offset, false, &t);

    if (rc)
        return rc;
    if (t)
        e = qcow2_l2_entry(q, t, qcow2_l2_index(q, offset));
    if (e.word || e.bitmap || (offset & (q->cluster_bytes - 1)))
        return qcow2_write(q, offset, buf, bytes);
    if (!q->backing && all_zero(buf, bytes))
        return 0;
    uint8_t *both = calloc(2, q->cluster_bytes), *packed = both ? both + q->cluster_bytes : NULL;
    if (!both)
        return -ENOMEM;
    memcpy(both, buf, bytes);
    int64_t n = pack(q, both, packed, q->cluster_bytes - 1);
    if (n < 0)
        rc = (int)n;
    else if (n == 0)
        rc = qcow2_write(q, offset, buf, bytes);
    else
        rc = store_packed(q, offset, packed, (uint64_t)n);
    free(both);
    return rc;
}
