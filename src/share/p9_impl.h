/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9_impl.h - between p9.c (session, fids), p9_tree.c and p9_file.c (messages).
 *
 * A handler reads its arguments from `in` and writes its answer to `out`. Reading past
 * the end gives zeros and empty strings and sets `bad`; the dispatcher answers EPROTO
 * for that, so a handler must have no effect before it has read everything and called
 * p9_args_end(). It returns 0 or a negative errno.
 */
#ifndef RING3_SHARE_P9_IMPL_H
#define RING3_SHARE_P9_IMPL_H

#include <string.h>
#include <sys/stat.h>
#include "base/byteorder.h"
#include "share/fs.h"
#include "share/p9.h"

enum { P9_HEADER = 7, P9_NOFID = 0xffffffff, P9_NAMES_MAX = 16, P9_QID = 13,
       P9_TEXT_MAX = 4096 };

/* T-messages; the answer to each has the next number (9P2000.L, table of messages). */
enum p9_type {
    P9_RLERROR = 7, P9_TSTATFS = 8, P9_TLOPEN = 12, P9_TLCREATE = 14, P9_TSYMLINK = 16,
    P9_TMKNOD = 18, P9_TRENAME = 20, P9_TREADLINK = 22, P9_TGETATTR = 24, P9_TSETATTR = 26,
    P9_TXATTRWALK = 30, P9_TXATTRCREATE = 32, P9_TREADDIR = 40, P9_TFSYNC = 50, P9_TLOCK = 52,
    P9_TGETLOCK = 54, P9_TLINK = 70, P9_TMKDIR = 72, P9_TRENAMEAT = 74, P9_TUNLINKAT = 76,
    P9_TVERSION = 100, P9_TAUTH = 102, P9_TATTACH = 104, P9_TFLUSH = 108, P9_TWALK = 110,
    P9_TREAD = 116, P9_TWRITE = 118, P9_TCLUNK = 120, P9_TREMOVE = 122,
};

struct p9_fid {
    uint32_t id;
    int place;                /* O_PATH; -1: a free slot */
    int io;                   /* opened; -1: not */
    bool directory;           /* what `io` is */
};

struct p9 {
    struct fs fs;
    uint32_t msize;           /* 0: no version yet */
    struct p9_fid *fid;       /* open addressing, a power of two of slots */
    unsigned slots, fids;
    dev_t root_device;
    uint64_t requests, errors;
};

struct p9_in {
    const uint8_t *p;
    size_t left;
    bool bad;
};
struct p9_out {
    uint8_t *p;
    size_t len, cap;          /* cap is at least what every fixed answer needs */
};

uint64_t p9_get(struct p9_in *in, unsigned bytes);
/* A string with a NUL behind it. Longer ones, and ones with a NUL inside, are bad. */
void p9_get_text(struct p9_in *in, char *text, size_t size);
/* All arguments are read: 0, or -EPROTO when they were not what they should be. */
int p9_args_end(const struct p9_in *in);
void p9_put(struct p9_out *out, uint64_t v, unsigned bytes);
void p9_put_text(struct p9_out *out, const char *text, size_t len);
static inline size_t p9_room(const struct p9_out *out)
{
    return out->cap - out->len;
}

struct p9_fid *p9_find(struct p9 *s, uint32_t id);
/* Takes the descriptor over, on failure too. -EBADF: taken, or NOFID. May move fids. */
int p9_add(struct p9 *s, uint32_t id, int place);
void p9_drop(struct p9 *s, struct p9_fid *f);

void p9_put_qid(const struct p9 *s, struct p9_out *out, const struct stat *st);
int p9_put_qid_of(const struct p9 *s, struct p9_out *out, int fd);
int p9_put_qid_at(const struct p9 *s, struct p9_out *out, int dir, const char *name);

typedef int p9_handler(struct p9 *s, struct p9_in *in, struct p9_out *out);
p9_handler p9_walk, p9_readlink, p9_symlink, p9_link, p9_mkdir, p9_rename, p9_renameat,
    p9_unlinkat, p9_remove, p9_getattr, p9_setattr, p9_statfs;
p9_handler p9_lopen, p9_lcreate, p9_read, p9_write, p9_readdir, p9_fsync, p9_lock, p9_getlock;

#endif
