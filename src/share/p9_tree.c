/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p9_tree.c - 9P messages about names and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "share/p9_impl.h"

/* Tgetattr and Tsetattr (9P2000.L): which attributes. */
enum { GETATTR_BASIC = 0x7ff,
       SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_SIZE = 8, SET_ATIME = 16, SET_MTIME = 32,
       SET_CTIME = 64, SET_ATIME_TO = 128, SET_MTIME_TO = 256 };

/* ---- walk ---- */

static int step(const struct p9 *s, int from, const char *name)
{
    if (strcmp(name, "..") == 0)
        return fs_parent(&s->fs, from);
    return fs_lookup(from, name);
}

/* From `from`, which stays open, over the names as far as they lead. *walked says how
 * far; a qid each. Returns the last place, or why the first name was not there. */
static int follow(struct p9 *s, int from, struct p9_in *in, struct p9_out *out, unsigned names,
                  unsigned *walked)
{
    char name[FS_NAME_MAX + 1];
    int here = fcntl(from, F_DUPFD_CLOEXEC, 0), next = 0;

    if (here < 0)
        return -errno;
    for (*walked = 0; *walked < names; ++*walked) {
        p9_get_text(in, name, sizeof name);
        next = in->bad ? -EPROTO : step(s, here, name);
        if (next >= 0 && p9_put_qid_of(s, out, next) < 0) {
            close(next);
            next = -EIO;
        }
        if (next < 0)
            break;
        close(here);
        here = next;
    }
    if (next >= 0 || (*walked && !in->bad))
        return here;
    close(here);
    return next;
}

/* A walk that ends early answers how far it came, and makes no fid (walk(5)). */
int p9_walk(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    uint32_t from_id = (uint32_t)p9_get(in, 4), to_id = (uint32_t)p9_get(in, 4);
    unsigned names = (unsigned)p9_get(in, 2), walked = 0;
    struct p9_fid *from = p9_find(s, from_id);

    if (in->bad || names > P9_NAMES_MAX)
        return -EPROTO;
    if (!from || to_id == P9_NOFID || (to_id != from_id && p9_find(s, to_id)))
        return -EBADF;
    /* An open fid does not walk. */
    if (from->io >= 0 && (names || to_id == from_id))
        return -EBUSY;
    if (p9_room(out) < 2 + (size_t)names * P9_QID)
        return -EMSGSIZE;
    size_t count_at = out->len;
    p9_put(out, 0, 2);
    int place = follow(s, from->place, in, out, names, &walked);
    if (place < 0)
        return place;
    int r = walked == names ? p9_args_end(in) : 0;
    put_le16(out->p + count_at, (uint16_t)walked);
    if (r < 0 || walked < names) {
        close(place);
        return r;
    }
    if (to_id != from_id)
        return p9_add(s, to_id, place);
    close(from->place);
    from->place = place;
    return 0;
}

/* ---- names ---- */

int p9_readlink(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    char text[P9_TEXT_MAX];
    int r = p9_args_end(in);

    if (r < 0 || !f)
        return r < 0 ? r : -EBADF;
    ssize_t n = fs_readlink(f->place, text, sizeof text);
    if (n < 0)
        return (int)n;
    if (p9_room(out) < 2 + (size_t)n)
        return -EMSGSIZE;
    p9_put_text(out, text, (size_t)n);
    return 0;
}

int p9_symlink(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char name[FS_NAME_MAX + 1], target[P9_TEXT_MAX];
    struct p9_fid *dir = p9_find(s, (uint32_t)p9_get(in, 4));

    p9_get_text(in, name, sizeof name);
    p9_get_text(in, target, sizeof target);
    p9_get(in, 4);
    int r = p9_args_end(in);
    if (r == 0)
        r = dir ? fs_symlink(&s->fs, dir->place, name, target) : -EBADF;
    return r < 0 ? r : p9_put_qid_at(s, out, dir->place, name);
}

int p9_link(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char name[FS_NAME_MAX + 1];
    struct p9_fid *dir = p9_find(s, (uint32_t)p9_get(in, 4));
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));

    (void)out;
    p9_get_text(in, name, sizeof name);
    int r = p9_args_end(in);
    if (r < 0)
        return r;
    return dir && f ? fs_link(&s->fs, dir->place, name, f->place) : -EBADF;
}

int p9_mkdir(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char name[FS_NAME_MAX + 1];
    struct p9_fid *dir = p9_find(s, (uint32_t)p9_get(in, 4));

    p9_get_text(in, name, sizeof name);
    mode_t mode = (mode_t)p9_get(in, 4);
    p9_get(in, 4);
    int r = p9_args_end(in);
    if (r == 0)
        r = dir ? fs_mkdir(&s->fs, dir->place, name, mode) : -EBADF;
    return r < 0 ? r : p9_put_qid_at(s, out, dir->place, name);
}

int p9_renameat(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char old[FS_NAME_MAX + 1], name[FS_NAME_MAX + 1];
    struct p9_fid *from = p9_find(s, (uint32_t)p9_get(in, 4));

    (void)out;
    p9_get_text(in, old, sizeof old);
    struct p9_fid *to = p9_find(s, (uint32_t)p9_get(in, 4));
    p9_get_text(in, name, sizeof name);
    int r = p9_args_end(in);
    if (r < 0)
        return r;
    return from && to ? fs_rename(&s->fs, from->place, old, to->place, name) : -EBADF;
}

int p9_rename(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char old[FS_NAME_MAX + 1], name[FS_NAME_MAX + 1];
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    struct p9_fid *to = p9_find(s, (uint32_t)p9_get(in, 4));

    (void)out;
    p9_get_text(in, name, sizeof name);
    int r = p9_args_end(in);
    if (r < 0 || !f || !to)
        return r < 0 ? r : -EBADF;
    int dir = fs_locate(&s->fs, f->place, old);
    if (dir < 0)
        return dir;
    r = fs_rename(&s->fs, dir, old, to->place, name);
    close(dir);
    return r;
}

int p9_unlinkat(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char name[FS_NAME_MAX + 1];
    struct p9_fid *dir = p9_find(s, (uint32_t)p9_get(in, 4));

    (void)out;
    p9_get_text(in, name, sizeof name);
    int flags = (int)p9_get(in, 4);
    int r = p9_args_end(in);
    if (r < 0)
        return r;
    return dir ? fs_unlink(&s->fs, dir->place, name, flags) : -EBADF;
}

/* The fid is gone afterwards, whether it worked or not (remove(5)). */
int p9_remove(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    char name[FS_NAME_MAX + 1];
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    struct stat st;
    int r = p9_args_end(in);

    (void)out;
    if (r < 0 || !f)
        return r < 0 ? r : -EBADF;
    int dir = fstat(f->place, &st) < 0 ? -errno : fs_locate(&s->fs, f->place, name);
    r = dir;
    if (dir >= 0) {
        r = fs_unlink(&s->fs, dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
        close(dir);
    }
    p9_drop(s, f);
    return r;
}

/* ---- attributes ---- */

static void put_time(struct p9_out *out, const struct timespec *t)
{
    p9_put(out, (uint64_t)t->tv_sec, 8);
    p9_put(out, (uint64_t)t->tv_nsec, 8);
}

int p9_getattr(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    static const struct timespec none;
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    struct stat st;

    p9_get(in, 8);
    int r = p9_args_end(in);
    if (r < 0 || !f)
        return r < 0 ? r : -EBADF;
    if (fstat(f->place, &st) < 0)
        return -errno;
    if (p9_room(out) < 153)
        return -EMSGSIZE;
    p9_put(out, GETATTR_BASIC, 8);
    p9_put_qid(s, out, &st);
    p9_put(out, st.st_mode, 4);
    p9_put(out, st.st_uid, 4);
    p9_put(out, st.st_gid, 4);
    p9_put(out, st.st_nlink, 8);
    p9_put(out, st.st_rdev, 8);
    p9_put(out, (uint64_t)st.st_size, 8);
    p9_put(out, (uint64_t)st.st_blksize, 8);
    p9_put(out, (uint64_t)st.st_blocks, 8);
    put_time(out, &st.st_atim);
    put_time(out, &st.st_mtim);
    put_time(out, &st.st_ctim);
    put_time(out, &none);                /* birth, generation, data version: not told */
    p9_put(out, 0, 8);
    p9_put(out, 0, 8);
    return 0;
}

static struct timespec new_time(uint32_t valid, uint32_t changes, uint32_t to, uint64_t sec,
                                uint64_t nsec)
{
    if (!(valid & changes))
        return (struct timespec){0, UTIME_OMIT};
    if (!(valid & to))
        return (struct timespec){0, UTIME_NOW};
    return (struct timespec){(time_t)sec, nsec < 1000000000 ? (long)nsec : 0};
}

int p9_setattr(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    uint32_t valid = (uint32_t)p9_get(in, 4);
    mode_t mode = (mode_t)p9_get(in, 4);
    uid_t uid = (uid_t)p9_get(in, 4);
    gid_t gid = (gid_t)p9_get(in, 4);
    int64_t size = (int64_t)p9_get(in, 8);
    uint64_t atime = p9_get(in, 8), atime_ns = p9_get(in, 8);
    uint64_t mtime = p9_get(in, 8), mtime_ns = p9_get(in, 8);
    int r = p9_args_end(in);

    (void)out;
    if (r < 0 || !f)
        return r < 0 ? r : -EBADF;
    const struct fs_attributes a = {
        .mode = valid & SET_MODE ? &mode : NULL, .uid = valid & SET_UID ? &uid : NULL,
        .gid = valid & SET_GID ? &gid : NULL, .size = valid & SET_SIZE ? &size : NULL,
        .time = {new_time(valid, SET_ATIME, SET_ATIME_TO, atime, atime_ns),
                 new_time(valid, SET_MTIME, SET_MTIME_TO, mtime, mtime_ns)},
    };
    return fs_set(&s->fs, f->place, &a);
}

int p9_statfs(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
    enum { V9FS_MAGIC = 0x01021997 };
    struct p9_fid *f = p9_find(s, (uint32_t)p9_get(in, 4));
    struct statfs st;
    int r = p9_args_end(in);

    if (r < 0 || !f)
        return r < 0 ? r : -EBADF;
    if (fstatfs(f->place, &st) < 0)
        return -errno;
    if (p9_room(out) < 60)
        return -EMSGSIZE;
    p9_put(out, V9FS_MAGIC, 4);
    p9_put(out, (uint64_t)st.f_bsize, 4);
    p9_put(out, st.f_blocks, 8);
    p9_put(out, st.f_bfree, 8);
    p9_put(out, st.f_bavail, 8);
    p9_put(out, st.f_files, 8);
    p9_put(out, st.f_ffree, 8);
    p9_put(out, (uint32_t)st.f_fsid.__val[0] | (uint64_t)(uint32_t)st.f_fsid.__val[1] << 32, 8);
    p9_put(out, FS_NAME_MAX, 4);
    return 0;
}
