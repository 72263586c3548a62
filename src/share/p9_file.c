/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p9_file.c - 9P messages about opened files and directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "share/p9_impl.h"

enum { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_NONE = 2,                 /* Tlock: type */
       STATUS_SUCCESS = 0, STATUS_BLOCKED = 1, STATUS_ERROR = 2,           /* Rlock: status */
       DIRENT_BYTES = P9_QID + 8 + 1 + 2, DIRECTORY_BUFFER = 32 << 10 };

/* The fid, if it is open and a file (or, asked for so, a directory). */
static struct p9_fid *opened(struct p9 *s, uint32_t id, bool directory, int *r)
{
    struct p9_fid *f = p9_find(s, id);

    if (*r < 0)
        return NULL;
    if (!f || f->io < 0)
        *r = -EBADF;
    else if (f->directory != directory)
        *r = directory ? -ENOTDIR : -EISDIR;
    return *r < 0 ? NULL : f;
}

/* iounit 0: whatever fits into a message. */
static int opened_answer(struct p9 *s, struct p9_fid *f, struct p9_out *out)
{
    struct stat st;

    if (fstat(f->io, &st) < 0)
        return -errno;
    f->directory = S_ISDIR(st.st_mode);
    p9_put_qid(s, out, &st);
    p9_put(out, 0, 4);
    return 0;
}

int p9_lopen(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    int flags = (int)p9_get(in, 4);
    int r = p9_args_end(in);

    if (r == 0 && !f)
        r = -EBADF;
    if (r == 0 && f->io >= 0)
        r = -EBUSY;
    if (r < 0)
        return r;
    int io = fs_reopen(&s->fs, f->place, flags);
    if (io < 0)
        return io;
    f->io = io;
    return opened_answer(s, f, out);
}

/* The fid, which was the directory, becomes the new file. */
int p9_lcreate(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char name[FS_NAME_MAX + 1];
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    int io;

    p9_get_text(in, name, sizeof name);
    int flags = (int)p9_get(in, 4);
    mode_t mode = (mode_t)p9_get(in, 4);
    p9_get(in, 4);
    int r = p9_args_end(in);
    if (r == 0 && !f)
        r = -EBADF;
    if (r == 0 && f->io >= 0)
        r = -EBUSY;
    if (r < 0)
        return r;
    int place = fs_create(&s->fs, f->place, name, flags, mode, &io);
    if (place < 0)
        return place;
    close(f->place);
    f->place = place;
    f->io = io;
    return opened_answer(s, f, out);
}

/* ---- reading and writing ---- */

int p9_read(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    uint32_t id = (uint32_t)p9_get(in, 4);
    uint64_t offset = p9_get(in, 8);
    size_t count = p9_get(in, 4);
    int r = p9_args_end(in);
    struct p9_fid *f = opened(s, id, false, &r);

    if (r < 0)
        return r;
    if (offset > INT64_MAX || p9_room(out) < 4)
        return -EINVAL;
    size_t at = out->len;
    p9_put(out, 0, 4);
    ssize_t n = pread(f->io, out->p + out->len, min_u64(count, p9_room(out)), (off_t)offset);
    if (n < 0)
        return -errno;
    put_le32(out->p + at, (uint32_t)n);
    out->len += (size_t)n;
    return 0;
}

int p9_write(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    uint32_t id = (uint32_t)p9_get(in, 4);
    uint64_t offset = p9_get(in, 8);
    size_t count = p9_get(in, 4);
    int r = in->bad || count != in->left ? -EPROTO : 0;
    struct p9_fid *f = opened(s, id, false, &r);

    if (r < 0)
        return r;
    if (offset > INT64_MAX)
        return -EINVAL;
    ssize_t n = pwrite(f->io, in->p, count, (off_t)offset);
    if (n < 0)
        return -errno;
    p9_put(out, (uint64_t)n, 4);
    return 0;
}

int p9_fsync(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));

    (void)out;
    bool data_only = p9_get(in, 4);
    int r = p9_args_end(in);
    if (r < 0 || !f || f->io < 0)
        return r < 0 ? r : -EBADF;
    r = data_only ? fdatasync(f->io) : fsync(f->io);
    return r < 0 ? -errno : 0;
}

/* ---- directories ---- */

/* As the kernel gives them (getdents64(2)). */
struct entry {
    uint64_t ino;
    int64_t next;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

/* False: no room for it. */
static bool put_entry(struct p9_out *out, const struct entry *e, uint64_t ino)
{
    size_t len = strlen(e->name);

    if (p9_room(out) < DIRENT_BYTES + len)
        return false;
    p9_put(out, e->type == DT_DIR ? 0x80 : e->type == DT_LNK ? 0x02 : 0, 1);
    p9_put(out, 0, 4);
    p9_put(out, ino, 8);
    p9_put(out, (uint64_t)e->next, 8);
    p9_put(out, e->type, 1);
    p9_put_text(out, e->name, len);
    return true;
}

/* The cookies are the host's own, so nothing has to be kept between two messages; the
 * kernel checks one that a client made up. The inode above the root is nobody's
 * business. */
int p9_readdir(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    uint32_t id = (uint32_t)p9_get(in, 4);
    int64_t offset = (int64_t)p9_get(in, 8);
    size_t count = p9_get(in, 4);
    _Alignas(struct entry) char buf[DIRECTORY_BUFFER];
    int r = p9_args_end(in);
    struct p9_fid *f = opened(s, id, true, &r);
    struct stat st;

    if (r < 0)
        return r;
    if (offset < 0 || p9_room(out) < 4)
        return -EINVAL;
    if (fstat(f->io, &st) < 0 || lseek(f->io, offset, SEEK_SET) < 0)
        return -errno;
    size_t at = out->len;
    p9_put(out, 0, 4);
    struct p9_out part = {.p = out->p, .len = out->len,
                          .cap = out->len + min_u64(count, p9_room(out))};
    long n = syscall(SYS_getdents64, f->io, buf, min_u64(sizeof buf, count));
    /* EINVAL: not even one fits. */
    if (n < 0)
        return -errno;
    for (long i = 0; i < n;) {
        const struct entry *e = (const struct entry *)(buf + i);
        if (!put_entry(&part, e, strcmp(e->name, "..") == 0 ? st.st_ino : e->ino))
            break;
        i += e->bytes;
    }
    if (n > 0 && part.len == out->len)
        return -EINVAL;
    put_le32(out->p + at, (uint32_t)(part.len - out->len));
    out->len = part.len;
    return 0;
}

/* ---- locks ---- */

struct lock {
    struct flock range;
    uint64_t start, length;
    uint32_t process;
    char client[FS_NAME_MAX + 1];
};

static int get_lock(struct p9_in *in, struct lock *l, bool flags)
{
    unsigned type = (unsigned)p9_get(in, 1);

    /* P9_LOCK_FLAGS_BLOCK: the client asks again by itself. */
    if (flags)
        p9_get(in, 4);
    l->start = p9_get(in, 8);
    l->length = p9_get(in, 8);
    l->process = (uint32_t)p9_get(in, 4);
    p9_get_text(in, l->client, sizeof l->client);
    int r = p9_args_end(in);
    if (r == 0 && (type > TYPE_NONE || l->start > INT64_MAX || l->length > INT64_MAX))
        r = -EINVAL;
    l->range = (struct flock){
        .l_type = type == TYPE_READ ? F_RDLCK : type == TYPE_WRITE ? F_WRLCK : F_UNLCK,
        .l_whence = SEEK_SET, .l_start = (off_t)l->start, .l_len = (off_t)l->length,
    };
    return r;
}

/* Locks belong to the open file (F_OFD_SETLK): processes of the guest are told apart
 * by the guest, which has a fid for each open. */
int p9_lock(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    uint32_t id = (uint32_t)p9_get(in, 4);
    struct lock l = {0};
    int r = get_lock(in, &l, true);
    struct p9_fid *f = opened(s, id, false, &r);

    if (r < 0)
        return r;
    r = fcntl(f->io, F_OFD_SETLK, &l.range);
    bool blocked = r < 0 && (errno == EAGAIN || errno == EACCES);
    p9_put(out, r == 0 ? STATUS_SUCCESS : blocked ? STATUS_BLOCKED : STATUS_ERROR, 1);
    return 0;
}

int p9_getlock(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    uint32_t id = (uint32_t)p9_get(in, 4);
    struct lock l = {0};
    int r = get_lock(in, &l, false);
    struct p9_fid *f = opened(s, id, false, &r);

    if (r < 0)
        return r;
    if (l.range.l_type == F_UNLCK)
        return -EINVAL;
    if (fcntl(f->io, F_OFD_GETLK, &l.range) < 0)
        return -errno;
    if (l.range.l_type != F_UNLCK) {
        l.start = (uint64_t)l.range.l_start;
        l.length = (uint64_t)l.range.l_len;
    }
    size_t len = strlen(l.client);
    if (p9_room(out) < 1 + 8 + 8 + 4 + 2 + len)
        return -EMSGSIZE;
    p9_put(out, l.range.l_type == F_RDLCK ? TYPE_READ : l.range.l_type == F_WRLCK ? TYPE_WRITE
                                                                                : TYPE_NONE, 1);
    p9_put(out, l.start, 8);
    p9_put(out, l.length, 8);
    p9_put(out, l.process, 4);
    p9_put_text(out, l.client, len);
    return 0;
}
