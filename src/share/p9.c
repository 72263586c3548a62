/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9.c - the session: messages apart, fids, and which handler.
 *
 * A fid is the client's number for a place in the tree. They are in a table with open
 * addressing and linear probing, so that a client with tens of thousands of files open
 * costs what it should; each holds a descriptor, and the host's limit of those is what
 * a greedy client meets (EMFILE, which it can live with).
 */
#include "share/p9.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "share/p9_impl.h"

enum { FIRST_SLOTS = 64 };

/* ---- reading and writing messages ---- */

uint64_t p9_get(struct p9_in *in, unsigned bytes)
{
    uint64_t v = 0;

    if (in->left < bytes) {
        in->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)in->p[i] << 8 * i;
    in->p += bytes;
    in->left -= bytes;
    return v;
}

void p9_get_text(struct p9_in *in, char *text, size_t size)
{
    size_t len = p9_get(in, 2);

    text[0] = '\0';
    if (len > in->left || len >= size || memchr(in->p, '\0', len)) {
        in->bad = true;
        return;
    }
    memcpy(text, in->p, len);
    text[len] = '\0';
    in->p += len;
    in->left -= len;
}

int p9_args_end(const struct p9_in *in)
{
    return in->bad || in->left ? -EPROTO : 0;
}

/* Handlers check the room for what has no fixed size. */
void p9_put(struct p9_out *out, uint64_t v, unsigned bytes)
{
    BUG_ON(p9_room(out) < bytes);
    for (unsigned i = 0; i < bytes; i++)
        out->p[out->len++] = (uint8_t)(v >> 8 * i);
}

void p9_put_text(struct p9_out *out, const char *text, size_t len)
{
    p9_put(out, len, 2);
    BUG_ON(p9_room(out) < len);
    memcpy(out->p + out->len, text, len);
    out->len += len;
}

/* A qid names a file for ever (9P, intro(5)): type, version, path. */
void p9_put_qid(const struct p9 *s, struct p9_out *out, const struct stat *st)
{
    uint8_t type = S_ISDIR(st->st_mode) ? 0x80 : S_ISLNK(st->st_mode) ? 0x02 : 0;
    uint64_t path = st->st_ino;

    /* Inode numbers of another file system that is mounted inside, apart from ours. */
    if (st->st_dev != s->root_device)
        path ^= (uint64_t)st->st_dev << 40;
    p9_put(out, type, 1);
    p9_put(out, (uint32_t)(st->st_mtim.tv_sec ^ st->st_mtim.tv_nsec), 4);
    p9_put(out, path, 8);
}

int p9_put_qid_of(const struct p9 *s, struct p9_out *out, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    p9_put_qid(s, out, &st);
    return 0;
}

int p9_put_qid_at(const struct p9 *s, struct p9_out *out, int dir, const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    p9_put_qid(s, out, &st);
    return 0;
}

/* ---- fids ---- */

static unsigned slot_of(const struct p9 *s, uint32_t id)
{
    return (id * 2654435761u) & (s->slots - 1);
}

/* Where `id` is, or the free slot where it would be. */
static struct p9_fid *probe(struct p9 *s, uint32_t id)
{
    unsigned i = slot_of(s, id);

    while (s->fid[i].place >= 0 && s->fid[i].id != id)
        i = (i + 1) & (s->slots - 1);
    return &s->fid[i];
}

static void make_table(struct p9 *s, unsigned slots)
{
    s->fid = calloc(slots, sizeof *s->fid);
    BUG_ON(!s->fid);
    s->slots = slots;
    for (unsigned i = 0; i < slots; i++)
        s->fid[i].place = s->fid[i].io = -1;
}

static void grow(struct p9 *s)
{
    struct p9_fid *old = s->fid;
    unsigned slots = s->slots;

    make_table(s, slots * 2);
    for (unsigned i = 0; i < slots; i++)
        if (old[i].place >= 0)
            *probe(s, old[i].id) = old[i];
    free(old);
}

struct p9_fid *p9_find(struct p9 *s, uint32_t id)
{
    struct p9_fid *f = probe(s, id);

    return f->place >= 0 ? f : NULL;
}

int p9_add(struct p9 *s, uint32_t id, int place)
{
    int r = id == P9_NOFID || p9_find(s, id) ? -EBADF : s->fids >= P9_FIDS_MAX ? -ENFILE : 0;

    if (r < 0) {
        close(place);
        return r;
    }
    if (s->fids * 2 >= s->slots)
        grow(s);
    *probe(s, id) = (struct p9_fid){.id = id, .place = place, .io = -1};
    s->fids++;
    return 0;
}

/* What was probed past the slot moves back into it. */
void p9_drop(struct p9 *s, struct p9_fid *f)
{
    unsigned mask = s->slots - 1, hole = (unsigned)(f - s->fid);

    close(f->place);
    if (f->io >= 0)
        close(f->io);
    f->place = f->io = -1;
    s->fids--;
    for (unsigned i = (hole + 1) & mask; s->fid[i].place >= 0; i = (i + 1) & mask) {
        unsigned home = slot_of(s, s->fid[i].id);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        s->fid[hole] = s->fid[i];
        s->fid[i].place = s->fid[i].io = -1;
        hole = i;
    }
}

void p9_reset(struct p9 *s)
{
    for (unsigned i = 0; i < s->slots; i++) {
        if (s->fid[i].place >= 0)
            close(s->fid[i].place);
        if (s->fid[i].io >= 0)
            close(s->fid[i].io);
    }
    free(s->fid);
    make_table(s, FIRST_SLOTS);
    s->fids = 0;
    s->msize = 0;
}

/* ---- the session's own messages ---- */

/* A version begins anew (version(5)). */
static int version(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char text[32];
    uint32_t msize = (uint32_t)p9_get(in, 4);

    p9_get_text(in, text, sizeof text);
    int r = p9_args_end(in);
    if (r < 0)
        return r;
    if (msize < P9_MESSAGE_MIN)
        return -EMSGSIZE;
    p9_reset(s);
    bool known = strcmp(text, "9P2000.L") == 0;
    msize = (uint32_t)min_u64(msize, P9_MESSAGE_MAX);
    s->msize = known ? msize : 0;
    p9_put(out, msize, 4);
    p9_put_text(out, known ? text : "unknown", known ? 8 : 7);
    return 0;
}

/* Everything of anybody's is the whole directory: names of users and of trees (uname,
 * aname) do not choose. */
static int attach(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char text[P9_TEXT_MAX];
    uint32_t fid = (uint32_t)p9_get(in, 4), afid = (uint32_t)p9_get(in, 4);

    p9_get_text(in, text, sizeof text);
    p9_get_text(in, text, sizeof text);
    p9_get(in, 4);
    int r = p9_args_end(in);
    if (r == 0 && afid != P9_NOFID)
        r = -EOPNOTSUPP;
    if (r < 0)
        return r;
    int place = fcntl(s->fs.root, F_DUPFD_CLOEXEC, 0);
    if (place < 0)
        return -errno;
    r = p9_add(s, fid, place);
    return r < 0 ? r : p9_put_qid_of(s, out, s->fs.root);
}

static int flush(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    (void)s;
    (void)out;
    p9_get(in, 2);
    return p9_args_end(in);
}

static int clunk(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    int r = p9_args_end(in);

    (void)out;
    if (r == 0 && !f)
        r = -EBADF;
    if (r == 0)
        p9_drop(s, f);
    return r;
}

static int not_permitted(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    (void)s;
    (void)in;
    (void)out;
    return -EPERM;
}

static int not_supported(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    (void)s;
    (void)in;
    (void)out;
    return -EOPNOTSUPP;
}

/* ---- dispatch ---- */

static p9_handler *const handlers[] = {
    [P9_TVERSION] = version, [P9_TAUTH] = not_supported, [P9_TATTACH] = attach,
    [P9_TFLUSH] = flush, [P9_TCLUNK] = clunk,
    [P9_TWALK] = p9_walk, [P9_TREADLINK] = p9_readlink, [P9_TSYMLINK] = p9_symlink,
    [P9_TLINK] = p9_link, [P9_TMKDIR] = p9_mkdir, [P9_TMKNOD] = not_permitted,
    [P9_TRENAME] = p9_rename, [P9_TRENAMEAT] = p9_renameat, [P9_TUNLINKAT] = p9_unlinkat,
    [P9_TREMOVE] = p9_remove, [P9_TGETATTR] = p9_getattr, [P9_TSETATTR] = p9_setattr,
    [P9_TSTATFS] = p9_statfs, [P9_TXATTRWALK] = not_supported,
    [P9_TXATTRCREATE] = not_supported,
    [P9_TLOPEN] = p9_lopen, [P9_TLCREATE] = p9_lcreate, [P9_TREAD] = p9_read,
    [P9_TWRITE] = p9_write, [P9_TREADDIR] = p9_readdir, [P9_TFSYNC] = p9_fsync,
    [P9_TLOCK] = p9_lock, [P9_TGETLOCK] = p9_getlock,
};

static int handle(struct p9 *s, unsigned type, struct p9_in *in, struct p9_out *out)
{
    p9_handler *h = type < ARRAY_SIZE(handlers) ? handlers[type] : NULL;

    if (in->bad)
        return -EPROTO;
    if (!h)
        return -EOPNOTSUPP;
    /* Nothing but a version may come first. */
    return s->msize || type == P9_TVERSION ? h(s, in, out) : -EPROTO;
}

size_t p9_request(struct p9 *s, const uint8_t *msg, size_t len, uint8_t *buf, size_t cap)
{
    struct p9_out out = {.p = buf, .len = P9_HEADER, .cap = min_u64(cap, P9_MESSAGE_MAX)};
    struct p9_in in = {.p = msg + P9_HEADER, .left = len - P9_HEADER};

    if (len < P9_HEADER || cap < P9_HEADER + 4)
        return 0;
    unsigned type = msg[4], tag = get_le16(msg + 5);
    if (s->msize)
        out.cap = min_u64(out.cap, s->msize);
    /* A buffer for the answer may be longer than the message in it, never shorter. */
    if (get_le32(msg) != len || len > (s->msize ? s->msize : P9_MESSAGE_MIN))
        in.bad = true;
    s->requests++;
    int r = handle(s, type, &in, &out);
    if (r < 0) {
        s->errors++;
        type = P9_RLERROR - 1;
        out.len = P9_HEADER;
        p9_put(&out, (uint64_t)-r, 4);
    }
    put_le32(buf, (uint32_t)out.len);
    buf[4] = (uint8_t)(type + 1);
    put_le16(buf + 5, (uint16_t)tag);
    return out.len;
}

/* ---- life ---- */

/* A fid is a descriptor or two, and the usual soft limit of 1024 is soon reached. */
static void raise_descriptor_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
}

struct p9 *p9_new(const char *dir, bool readonly, struct error **err)
{
    struct p9 *s = calloc(1, sizeof *s);
    struct stat st;

    BUG_ON(!s);
    make_table(s, FIRST_SLOTS);
    if (fs_open(&s->fs, dir, readonly, err) < 0) {
        p9_free(s);
        return NULL;
    }
    if (fstat(s->fs.root, &st) == 0)
        s->root_device = st.st_dev;
    raise_descriptor_limit();
    return s;
}

void p9_free(struct p9 *s)
{
    if (!s)
        return;
    p9_reset(s);
    free(s->fid);
    fs_close(&s->fs);
    free(s);
}

void p9_describe(const struct p9 *s, struct strbuf *out)
{
    strbuf_addf(out, "  9P2000.L, messages of %u bytes, %u fids, %llu requests, %llu errors%s\n",
                s->msize, s->fids, (unsigned long long)s->requests,
                (unsigned long long)s->errors, s->fs.readonly ? ", read-only" : "");
}
