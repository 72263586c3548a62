/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tool.h - what can be done to an image beside reading and writing it: the verbs
 * of `ring3 image`.
 *
 * All of these block, and are called like everything in block.h with the context's
 * lock held; nothing is in flight on the images concerned. What a driver does not
 * have answers -ENOTSUP with a message. A failure leaves the image as it was unless
 * the function says otherwise, and always consistent.
 */
#ifndef RING3_BLOCK_TOOL_H
#define RING3_BLOCK_TOOL_H

#include "block/block.h"

/* ---- create -------------------------------------------------------------- */

enum { BLOCK_REPLACE = 1 };
#define BLOCK_SIZE_OF_BACKING UINT64_MAX
/*
 * Makes an image of `bytes` (BLOCK_SIZE_OF_BACKING: as many as its backing file has)
 * in `format`. `options` is a text for base/params.h by the format's own table,
 * "" or NULL for none:
 *
 *   raw     preallocate=off|falloc|full
 *   qcow2   backing=FILE, backing-format=NAME, cluster-size=SIZE, compression=zlib|zstd,
 *           lazy-refcounts, preallocate=off|metadata|falloc|full
 *           (block/qcow2_create.c has the whole table)
 *
 * A file that is there is refused (-EEXIST) unless BLOCK_REPLACE; what was begun is
 * taken away again on failure. A device, a logical unit or an export is only filled, with
 * BLOCK_REPLACE: it is not emptied first.
 */
int block_create(struct block_io *io, const char *name, const char *format, uint64_t bytes,
                 const char *options, unsigned flags, struct error **err);

/* Takes away a file that block_create() made; a device stays. */
void block_remove(const char *name);

/*
 * To put an image in the place of a file without losing that if something fails:
 * `*where` is the name to make it under (block_create() with BLOCK_REPLACE), good until
 * the end; it is `name` itself, and *out NULL, where no file is in the way. -EBUSY: the
 * file is in use. With `keep` the new image takes the old one's place; else, and on
 * failure, it is taken away, and the old file is as it was. NULL is fine.
 */
struct block_replacement;
int block_replace_begin(const char *name, struct block_replacement **out, const char **where,
                        struct error **err);
int block_replace_end(struct block_replacement *r, bool keep, struct error **err);

/* ---- the rest ------------------------------------------------------------ */

/* Grows with zeroes, or cuts. The cli asks before it cuts. */
int block_resize(struct block *b, uint64_t bytes, struct error **err);

/* The longest run from `offset`, at most `bytes`, that is all of one kind. Of the whole
 * chain: `depth` 0 is this image, 1 its backing file and so on; a run that no image of
 * the chain has is zero, and its depth is the last one's. Negative errno, or 0. */
enum { BLOCK_EXTENT_DATA = 1,        /* reading it needs data from a file */
       BLOCK_EXTENT_ZERO = 2,        /* it reads as zeroes */
       BLOCK_EXTENT_ALLOCATED = 4,   /* some image of the chain (at `depth`) determines it */
       BLOCK_EXTENT_COMPRESSED = 8,
       BLOCK_EXTENT_OFFSET = 16 };   /* `host_offset` is where it lies in the file of that image */
struct block_extent {
    uint64_t bytes;
    unsigned flags, depth;
    uint64_t host_offset;
};
int block_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out);

/* What check found. An error is what endangers data (`corruptions`) or wastes space
 * (`leaks`); `repair` is a sum of what to mend. The returned code says only whether the
 * check could be done: an image full of corruptions that was read is 0. */
enum { BLOCK_REPAIR_LEAKS = 1, BLOCK_REPAIR_ALL = 2 };
struct block_check {
    uint64_t corruptions, leaks;               /* found, those that were mended included */
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t unreadable;                       /* metadata that could not be read */
    uint64_t clusters, allocated, compressed;  /* of the guest's disk */
    uint64_t file_end;                         /* the first byte of the file not in use */
};
int block_check(struct block *b, unsigned repair, struct block_check *out, struct error **err);

enum block_snapshot_verb { BLOCK_SNAPSHOT_CREATE, BLOCK_SNAPSHOT_APPLY, BLOCK_SNAPSHOT_DELETE };
int block_snapshot(struct block *b, enum block_snapshot_verb verb, const char *name,
                   struct error **err);
struct block_snapshot {
    const char *id, *name;
    uint64_t bytes;          /* size of the disk then */
    uint64_t state_bytes;    /* of a VM state kept with it */
    int64_t time_s;          /* since 1970 */
    uint32_t time_ns;
};
typedef void block_snapshot_fn(void *opaque, const struct block_snapshot *s);
int block_snapshots(struct block *b, block_snapshot_fn *fn, void *opaque, struct error **err);

/* Writes what this image has of its own into its backing file and empties it. The
 * backing file must be writable by this process and nobody else's. Interrupted, both
 * are consistent and commit can be run again. */
int block_commit(struct block *b, struct error **err);
/* Puts the image on another backing file ("" for none). With `unsafe` only the name is
 * changed; else what differs between the two is copied into the image first. */
int block_rebase(struct block *b, const char *backing, const char *backing_format, bool unsafe,
                 struct error **err);

/* What is to be said about an image beside its size: "cluster_size" 65536, "backing_file"
 * "base.qcow2". Keys are stable; they are those of the JSON output. */
struct block_fact {
    const char *key;
    const char *text;        /* NULL: it is a number */
    uint64_t number;
};
typedef void block_fact_fn(void *opaque, const struct block_fact *fact);
void block_describe(struct block *b, block_fact_fn *fn, void *opaque);

/* The open backing file (as block_map() numbers them, depth 1), or NULL. The image's. */
struct block *block_backing(struct block *b);
const char *block_name(const struct block *b);

/* ---- between two images -------------------------------------------------- */

/* Copies all of `from` to `to`, which is as long at least; zeroes take no space where `to`
 * has them anyway. `progress` may be NULL. */
typedef void block_progress_fn(void *opaque, uint64_t done, uint64_t bytes);
int block_copy(struct block *from, struct block *to, block_progress_fn *progress, void *opaque,
               struct error **err);
/* 0: the same to a guest (beyond the end of the shorter one the other is zero, unless
 * `strict`: then sizes must agree). 1: they differ; *at is the first byte that does. */
int block_compare(struct block *a, struct block *b, bool strict, uint64_t *at,
                  struct error **err);

#endif
