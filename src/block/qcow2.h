/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2.h - the qcow2 format, versions 2 and 3, over any file that can be read
 * and written at an offset. Private to the block room.
 *
 * Follows QEMU's "Qcow2 Image File Format" (docs/interop/qcow2). Everything that
 * comes from the file is untrusted: sizes are bounded before anything is
 * allocated, offsets are checked before they are followed, and what cannot be
 * right is -EIO and sets the image's corrupt bit (when it may be written), after
 * which nothing is written any more.
 *
 * THREADS. All functions are synchronous and may block: they run in a worker of
 * the context, one at a time per image (`lock`, taken by the caller: qcow2.c).
 * Only qcow2_map_cached() may run beside them, in the loop's thread: everything
 * it looks at (the L1 table, the cached L2 tables) is changed under `map_lock`,
 * which is never held over I/O. A caller that has data in flight to a cluster
 * keeps the cluster's mapping from changing (ranges.h in qcow2.c).
 *
 * ORDER OF WRITES, which is what makes the image survive a kill at any moment
 * and, after a flush, a power cut. Changed L2 tables, L1 entries and reference
 * counts stay in memory until qcow2_sync(), which writes
 *
 *     counts that went up, new count blocks | count table entries | (flush)
 *     L2 tables | (flush) L1 entries | (flush) counts that went down
 *
 * Data is written before the L2 entry that points to it changes in memory, so
 * the first flush covers it, too. A cluster that loses a reference goes to
 * `freed` and is neither counted down nor reused before the last flush. At any
 * moment, then, whatever the file's tables point to is counted and complete; a
 * kill can only leak clusters that were allocated and not yet pointed to. With
 * lazy_refcounts counts are written at close, with the dirty bit set meanwhile;
 * an image found dirty has its counts rebuilt when it is opened for writing.
 * What must touch flags and counts together (snapshots) sets the dirty bit, too
 * (version 3; version 2 has none, and there a kill may leave clusters leaked or
 * copied once too often, never shared unawares).
 */
#ifndef RING3_BLOCK_QCOW2_H
#define RING3_BLOCK_QCOW2_H

#include <pthread.h>
#include "base/types.h"

struct error;
struct strbuf;

/* ---- what lies below, and what lies behind -------------------------------- */

struct qcow2_file;
struct qcow2_file_ops {
    /* Bytes past the end read as zeros. */
    int (*read)(struct qcow2_file *f, uint64_t offset, void *buf, size_t bytes);
    /* NULL for a backing file, as are all below. Past the end: the file grows. */
    int (*write)(struct qcow2_file *f, uint64_t offset, const void *buf, size_t bytes);
    int (*flush)(struct qcow2_file *f);
    int (*truncate)(struct qcow2_file *f, uint64_t bytes);
    /* The range need not be kept; reads of it afterwards may give anything. NULL ok. */
    int (*discard)(struct qcow2_file *f, uint64_t offset, uint64_t bytes);
};
struct qcow2_file {
    const struct qcow2_file_ops *ops;
    uint64_t bytes;              /* length; who writes past it keeps it true */
};

/* ---- the format ------------------------------------------------------------ */

enum { QCOW2_MAGIC = 0x514649fb, QCOW2_V2_HEADER = 72, QCOW2_V3_HEADER = 104,
       QCOW2_FULL_HEADER = 112 };
enum { QCOW2_MIN_CLUSTER_BITS = 9, QCOW2_MAX_CLUSTER_BITS = 21, QCOW2_SUBCLUSTERS = 32 };
enum { QCOW2_MAX_L1_BYTES = 32 << 20, QCOW2_MAX_REFTABLE_BYTES = 8 << 20,
       QCOW2_MAX_SNAPSHOTS = 65536, QCOW2_MAX_SNAPSHOT_BYTES = 64 << 20,
       QCOW2_MAX_BACKING_NAME = 1023 };

enum { QCOW2_DIRTY = 1 << 0, QCOW2_CORRUPT = 1 << 1, QCOW2_DATA_FILE = 1 << 2,
       QCOW2_COMPRESSION = 1 << 3, QCOW2_EXTENDED_L2 = 1 << 4, QCOW2_INCOMPATIBLE_KNOWN = 0x1f };
enum { QCOW2_LAZY_REFCOUNTS = 1 << 0 };
enum { QCOW2_EXT_END = 0, QCOW2_EXT_BITMAPS = 0x23852875, QCOW2_EXT_LUKS = 0x0537be77,
       QCOW2_EXT_DATA_FILE = 0x44415441, QCOW2_EXT_FEATURES = 0x6803f857 };
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

#define QCOW2_COPIED     (1ull << 63)    /* L1, L2: reference count is exactly one */
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO       1ull            /* standard L2 entry, version 3, no subclusters */
#define QCOW2_OFFSET     0x00fffffffffffe00ull

struct qcow2_snapshot {
    uint64_t l1_offset, vm_clock_ns, vm_state_bytes, disk_bytes;
    uint32_t l1_entries, date_s, date_ns;
    uint32_t extra_bytes;        /* all of them, known or not */
    uint8_t *extra;
    char *id, *name;             /* owned */
    size_t id_bytes, name_bytes;
};

/* What the file's header says, checked on its own (qcow2_header.c). */
struct qcow2_header {
    unsigned version, cluster_bits, refcount_order, header_bytes;
    enum qcow2_compression compression;
    uint64_t bytes;              /* the guest's disk */
    uint64_t l1_offset, reftable_offset, snapshots_offset;
    uint32_t l1_entries, reftable_clusters, snapshots;
    uint64_t incompatible, compatible, autoclear;
    char *backing, *backing_format;          /* owned; NULL: none */
    uint8_t *fields, *extensions;            /* kept as found, to be written again: header */
    size_t fields_bytes, extensions_bytes;   /* fields past 104, unknown extensions */
    uint64_t bitmaps_offset, bitmaps_bytes;  /* bitmap directory; 0: none */
    uint32_t bitmaps;
};

/* ---- caches of L2 tables and of reference count blocks --------------------- */

struct qcow2_table {
    uint64_t offset;             /* in the file; 0: unused */
    uint8_t *data;               /* a cluster */
    uint64_t dirty;              /* a bit per 64th of the cluster (qcow2_cache.dirty_unit) */
    bool recent;
    int next;                    /* in the hash chain */
};
struct qcow2_cache {
    struct qcow2_table *table;
    int *hash;
    unsigned count, hand, dirty_unit, dirty_tables;
    bool holds_l2;               /* L2 tables are written in order only, by qcow2_sync() */
};

struct qcow2_freed { uint64_t cluster, count; };     /* cluster numbers */

struct qcow2 {
    struct qcow2_file *file, *backing;       /* not owned; backing NULL: none */
    struct qcow2_header h;
    bool readonly, repairing, broken;        /* broken: corrupt; nothing is written any more */
    bool discard_below;                      /* pass freed clusters on to file->ops->discard */
    bool dirty_marked;                       /* we set QCOW2_DIRTY and clear it at close */
    bool keep_dirty;                         /* an operation under the dirty bit failed half way */
    unsigned cluster_bits, l2_bits, l2_entry_bytes, subcluster_bits, refcount_bits, rb_bits;
    uint64_t cluster_bytes;
    char *corrupt_reason;                    /* first thing found wrong */

    pthread_mutex_t map_lock;
    uint64_t *l1;                            /* host byte order */
    uint32_t l1_entries;
    uint32_t l1_dirty_from, l1_dirty_to;     /* [from, to): to 0 = clean */
    struct qcow2_cache l2, rb;

    uint64_t *reftable;                      /* host byte order */
    uint32_t reftable_entries;
    uint32_t reftable_dirty_from, reftable_dirty_to;
    bool reftable_moving;                    /* qcow2_reftable_grow() writes it */
    uint64_t free_hint;                      /* no free cluster below this number */
    struct qcow2_freed *freed;
    size_t freed_count, freed_cap;
    uint64_t compressed_next;                /* where the next compressed cluster may go */

    struct qcow2_snapshot *snapshot;
    uint32_t snapshots;
    uint64_t snapshot_table_bytes;
};

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_bytes - 1)) != 0);
}

/* The loop's thread reads it while a worker makes the file longer. */
static inline uint64_t qcow2_file_bytes(const struct qcow2 *q)
{
    return __atomic_load_n(&q->file->bytes, __ATOMIC_RELAXED);
}
static inline void qcow2_file_grew(struct qcow2 *q, uint64_t end)
{
    if (end > q->file->bytes)
        __atomic_store_n(&q->file->bytes, end, __ATOMIC_RELAXED);
}

/* ---- opening and closing (qcow2_header.c, qcow2_open.c) --------------------- */

enum qcow2_open_flags { QCOW2_READONLY = 1, QCOW2_CHECKING = 2 };

/* Parses and checks the header alone: for probing chains. `name` is for messages.
 * On success qcow2_header_fini() is due. */
int qcow2_header_read(struct qcow2_file *f, const char *name, struct qcow2_header *h,
                      struct error **err);
void qcow2_header_fini(struct qcow2_header *h);
/* Writes all of the header and its extensions, in one write of the first cluster's
 * used part; -E2BIG when names do not fit a cluster. Not durable before a flush. */
int qcow2_header_write(struct qcow2 *q);
int qcow2_header_bytes(const struct qcow2_header *h, uint8_t *buf, size_t cap);

/* Opens what lies in `file`. QCOW2_CHECKING opens corrupt and dirty images as they
 * are; otherwise a dirty one is repaired (for writing) and a corrupt one refused
 * (for writing). q->backing is the caller's to set afterwards. */
int qcow2_open(struct qcow2 *q, struct qcow2_file *file, const char *name, unsigned flags,
               struct error **err);
/* Writes everything back, unless readonly, and frees; the first failure is returned. */
int qcow2_close(struct qcow2 *q);
/* Sets the corrupt bit, remembers the reason (for describe), returns -EIO. */
int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Sets or clears the dirty bit, durably. Nothing for version 2. */
int qcow2_mark_dirty(struct qcow2 *q, bool dirty);

/* ---- caches and order (qcow2_cache.c) ---------------------------------------- */

int qcow2_cache_init(struct qcow2_cache *c, unsigned cluster_bits, bool holds_l2);
void qcow2_cache_fini(struct qcow2_cache *c);
/* The table at `offset`, read if need be; fresh: zeroed instead, all of it dirty.
 * Valid until the next call. Errors as of the file. */
int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset, bool fresh,
                    struct qcow2_table **out);
struct qcow2_table *qcow2_cache_find(const struct qcow2_cache *c, uint64_t offset);
void qcow2_cache_touch(struct qcow2_cache *c, struct qcow2_table *t, size_t at, size_t bytes);
void qcow2_cache_drop(struct qcow2 *q, struct qcow2_cache *c, uint64_t offset);  /* unwritten */
/* Writes what is dirty, in no order. */
int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *c);

/* Makes everything durable, in order (see ORDER above). */
int qcow2_sync(struct qcow2 *q);
bool qcow2_is_clean(struct qcow2 *q);        /* a flush of the file is all there is to do */

int qcow2_file_read(struct qcow2 *q, uint64_t offset, void *buf, size_t bytes);
int qcow2_file_write(struct qcow2 *q, uint64_t offset, const void *buf, size_t bytes);
int qcow2_file_flush(struct qcow2 *q);
int qcow2_file_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes);
/* A table of big-endian 64-bit words, from and to host order. */
int qcow2_words_read(struct qcow2 *q, uint64_t offset, uint64_t *words, size_t count);
int qcow2_words_write(struct qcow2 *q, uint64_t offset, const uint64_t *words, size_t count);

/* ---- reference counts (qcow2_refcount.c) ------------------------------------- */

uint64_t qcow2_rc_get(const uint8_t *block, unsigned order, uint64_t index);
void qcow2_rc_set(uint8_t *block, unsigned order, uint64_t index, uint64_t value);
int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count);
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t count);
/* Adds `delta` (+1 or -1): at once and in memory. -ERANGE: no room in the count's bits. */
int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t clusters, int delta);
/* Takes `want` neighbouring free clusters and counts them 1; with `got`, fewer will do
 * (at least one). Returns the offset. */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *got, uint64_t *offset);
/* One reference less, after the next sync. */
int qcow2_free(struct qcow2 *q, uint64_t offset, uint64_t bytes);
/* For clusters that nothing in the file points to yet: free at once. */
void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t clusters);
int qcow2_freed_apply(struct qcow2 *q);
/* Is this cluster part of the header or of a table in use? (Overlap check: guest data
 * is never written there, whatever the tables say.) */
bool qcow2_is_metadata(const struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* ---- mapping (qcow2_map.c) ---------------------------------------------------- */

enum qcow2_kind { QCOW2_UNALLOCATED, QCOW2_ZEROS, QCOW2_DATA, QCOW2_PACKED };
struct qcow2_extent {
    enum qcow2_kind kind;
    bool in_place;               /* DATA: may be written where it is */
    uint64_t host;               /* DATA: of the first byte; PACKED: of the compressed data */
    uint64_t bytes;              /* of the guest's disk; never 0 */
    uint32_t packed_bytes;       /* PACKED: upper bound; and bytes ends with the cluster */
};
/* What lies at guest `offset`, at most `bytes` of one kind. */
int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *out);
/* The same from what is cached, else -EAGAIN; takes map_lock. */
int qcow2_map_cached(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *out);

/* An L2 entry, both halves. */
struct qcow2_entry { uint64_t word, bitmap; };
/* The L2 table of guest `offset`, for reading: *out NULL when there is none. For
 * writing: made, or copied when a snapshot has it, too. */
int qcow2_l2_get(struct qcow2 *q, uint64_t offset, bool write, struct qcow2_table **out);
struct qcow2_entry qcow2_l2_entry(const struct qcow2 *q, const struct qcow2_table *t, unsigned i);
void qcow2_l2_set(struct qcow2 *q, struct qcow2_table *t, unsigned i, struct qcow2_entry e);
void qcow2_l1_set(struct qcow2 *q, uint32_t i, uint64_t word);
static inline unsigned qcow2_l2_index(const struct qcow2 *q, uint64_t offset)
{
    return (offset >> q->cluster_bits) & ((1u << q->l2_bits) - 1);
}
static inline uint64_t qcow2_l1_index(const struct qcow2 *q, uint64_t offset)
{
    return offset >> (q->cluster_bits + q->l2_bits);
}
/* The clusters in the file that an entry refers to; 0 bytes: none. -EIO when it cannot be. */
int qcow2_entry_host(const struct qcow2 *q, struct qcow2_entry e, uint64_t *host, uint64_t *bytes);

/* ---- reading and writing (qcow2_io.c) ------------------------------------------ */

int qcow2_read(struct qcow2 *q, uint64_t offset, void *buf, uint64_t bytes);
int qcow2_write(struct qcow2 *q, uint64_t offset, const void *buf, uint64_t bytes);
int qcow2_discard(struct qcow2 *q, uint64_t offset, uint64_t bytes);
int qcow2_write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool may_unmap);
/* Gives every cluster of the range a place in the file, reading as zeros do today. */
int qcow2_preallocate(struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* ---- compression (qcow2_compress.c) --------------------------------------------- */

/* Unpacks one cluster (cluster_bytes of it). -EIO for bad data, -ENOTSUP: not built in. */
int qcow2_unpack(const struct qcow2 *q, const void *packed, size_t packed_bytes, void *out);
/* Writes one cluster compressed; `offset` is a cluster's, which must be unallocated. Falls
 * back to qcow2_write() when it does not get smaller. Zeros stay unallocated where they may. */
int qcow2_write_packed(struct qcow2 *q, uint64_t offset, const void *buf, uint64_t bytes);

/* ---- snapshots (qcow2_snapshot.c, qcow2_snapshot_table.c) -------------------------- */

int qcow2_snapshots_load(struct qcow2 *q, const char *name, struct error **err);
void qcow2_snapshots_free(struct qcow2 *q);
int qcow2_snapshot_create(struct qcow2 *q, const char *name, struct error **err);
int qcow2_snapshot_apply(struct qcow2 *q, const char *name, struct error **err);
int qcow2_snapshot_delete(struct qcow2 *q, const char *name, struct error **err);
void qcow2_snapshot_list(const struct qcow2 *q, struct strbuf *out);
/* Writes q->snapshot[] to a new place and turns the header to it; frees the old. */
int qcow2_snapshots_store(struct qcow2 *q);
int qcow2_snapshot_find(const struct qcow2 *q, const char *name);     /* by id, then name; -1 */

/* ---- check and repair (qcow2_check.c) ---------------------------------------------- */

enum qcow2_repair { QCOW2_REPAIR_NOTHING, QCOW2_REPAIR_LEAKS, QCOW2_REPAIR_ALL };
struct qcow2_check_result {
    uint64_t errors, leaks, errors_fixed, leaks_fixed;
    uint64_t clusters, allocated, packed, image_end;
    struct strbuf *report;       /* a line per finding (the first 100), or NULL */
};
/* 0 when the walk could be done; what was found is in *result. */
int qcow2_check(struct qcow2 *q, enum qcow2_repair repair, struct qcow2_check_result *result);

/* ---- making and resizing (qcow2_create.c, qcow2_resize.c) ------------------------------ */

enum qcow2_prealloc { QCOW2_PREALLOC_OFF, QCOW2_PREALLOC_METADATA, QCOW2_PREALLOC_FALLOC,
                      QCOW2_PREALLOC_FULL };
struct qcow2_create {
    uint64_t bytes, cluster_bytes, refcount_bits;
    unsigned version, compression, preallocation;    /* the last: enum qcow2_prealloc */
    bool lazy_refcounts, extended_l2;
    const char *backing, *backing_format;
};
void qcow2_create_defaults(struct qcow2_create *c);
/* Makes an image in an empty file; metadata preallocation is the caller's next call. */
int qcow2_create_in(struct qcow2_file *f, const struct qcow2_create *c, struct error **err);
int qcow2_resize(struct qcow2 *q, uint64_t bytes, struct error **err);
/* Names another backing file (NULL: none), durably. */
int qcow2_set_backing(struct qcow2 *q, const char *backing, const char *format,
                      struct error **err);

#endif
