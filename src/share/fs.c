/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs.c - names, places, and the system calls that keep them inside.
 *
 * An O_PATH descriptor is opened anew through /proc/self/fd/N: the kernel goes straight
 * to that inode, so the name cannot have become another file meanwhile.
 */
#include "share/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

enum { SELF_PATH_BYTES = 40 };

static int negative(int r)
{
    return r < 0 ? -errno : r;
}

static int beneath(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC | O_NOFOLLOW,
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };

    return negative((int)syscall(SYS_openat2, dir, path, &how, sizeof how));
}

static void self_path(int fd, char path[SELF_PATH_BYTES])
{
    snprintf(path, SELF_PATH_BYTES, "/proc/self/fd/%d", fd);
}

/* ---- the root ---- */

static int check_host(const struct fs *fs, const char *dir, struct error **err)
{
    char path[SELF_PATH_BYTES];
    struct stat st;
    int fd = beneath(fs->root, ".", O_PATH | O_DIRECTORY, 0);

    if (fd == -ENOSYS)
        return error_set(err, ENOSYS, "cannot share '%s': this kernel has no openat2 (Linux 5.6)",
                         dir);
    if (fd < 0)
        return error_set(err, -fd, "cannot share '%s': %s", dir, strerror(-fd));
    self_path(fd, path);
    int r = stat(path, &st);
    close(fd);
    if (r < 0)
        return error_set(err, errno, "cannot share '%s': /proc is not mounted here", dir);
    return 0;
}

int fs_open(struct fs *fs, const char *dir, bool readonly, struct error **err)
{
    *fs = (struct fs){.root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), .readonly = readonly};
    if (fs->root < 0)
        return error_set(err, errno, "cannot share '%s': %s", dir, strerror(errno));
    int r = check_host(fs, dir, err);
    if (r < 0)
        fs_close(fs);
    return r;
}

void fs_close(struct fs *fs)
{
    if (fs->root >= 0)
        close(fs->root);
    fs->root = -1;
}

/* ---- names and places ---- */

int fs_check_name(const char *name)
{
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return -EINVAL;
    return strlen(name) > FS_NAME_MAX ? -ENAMETOOLONG : 0;
}

int fs_lookup(int dir, const char *name)
{
    int r = fs_check_name(name);

    return r < 0 ? r : beneath(dir, name, O_PATH, 0);
}

static bool same(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The kernel's own idea of where a descriptor is, or a negative errno. */
static int host_path(int fd, char path[PATH_MAX])
{
    char self[SELF_PATH_BYTES];

    self_path(fd, self);
    ssize_t n = readlink(self, path, PATH_MAX);
    if (n < 0 || n == PATH_MAX)
        return n < 0 ? -errno : -ENAMETOOLONG;
    path[n] = '\0';
    return 0;
}

/* The path only tells where to look: what is found there is compared with the place. */
int fs_locate(const struct fs *fs, int place, char name[FS_NAME_MAX + 1])
{
    char root[PATH_MAX], path[PATH_MAX];

    if (same(place, fs->root))
        return -EBUSY;
    int r = host_path(fs->root, root);
    if (r == 0)
        r = host_path(place, path);
    if (r < 0)
        return r;
    size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, n) != 0 || path[n] != '/')
        return -ESTALE;
    char *last = strrchr(path + n, '/');
    if (fs_check_name(last + 1) < 0)
        return -ESTALE;
    strcpy(name, last + 1);
    *last = '\0';
    int dir = beneath(fs->root, last == path + n ? "." : path + n + 1, O_PATH | O_DIRECTORY, 0);
    int found = dir < 0 ? dir : fs_lookup(dir, name);
    bool there = found >= 0 && same(found, place);
    if (found >= 0)
        close(found);
    if (there)
        return dir;
    if (dir >= 0)
        close(dir);
    return -ESTALE;
}

int fs_parent(const struct fs *fs, int place)
{
    char name[FS_NAME_MAX + 1];
    int dir = fs_locate(fs, place, name);

    return dir == -EBUSY ? negative(fcntl(fs->root, F_DUPFD_CLOEXEC, 0)) : dir;
}

ssize_t fs_readlink(int place, char *text, size_t size)
{
    ssize_t n = readlinkat(place, "", text, size);

    if (n < 0)
        return errno == ENOENT ? -EINVAL : -errno;    /* not a link */
    return (size_t)n == size ? -ENAMETOOLONG : n;
}

/* ---- files ---- */

int fs_reopen(const struct fs *fs, int place, int flags)
{
    const int known = O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC;
    char path[SELF_PATH_BYTES];
    struct stat st;

    if (fstat(place, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return -ELOOP;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return -EACCES;
    flags &= known;
    if (fs->readonly && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
        return -EROFS;
    self_path(place, path);
    return negative(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}

static int create_new(int dir, const char *name, int flags, mode_t mode, int *io)
{
    const int known = O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC;
    char path[SELF_PATH_BYTES];

    *io = beneath(dir, name, (flags & known) | O_CREAT | O_EXCL, mode & FS_MODE_BITS);
    if (*io < 0)
        return *io;
    self_path(*io, path);
    int place = negative(open(path, O_PATH | O_CLOEXEC));
    if (place < 0)
        close(*io);
    return place;
}

/* Never O_CREAT without O_EXCL: what exists may be a FIFO, and is looked at first. */
int fs_create(const struct fs *fs, int dir, const char *name, int flags, mode_t mode, int *io)
{
    int r = fs_check_name(name);

    if (r < 0 || fs->readonly)
        return r < 0 ? r : -EROFS;
    int place = create_new(dir, name, flags, mode, io);
    if (place != -EEXIST || flags & O_EXCL)
        return place;
    place = fs_lookup(dir, name);
    if (place < 0)
        return place;
    *io = fs_reopen(fs, place, flags);
    if (*io >= 0)
        return place;
    close(place);
    return *io;
}

int fs_mkdir(const struct fs *fs, int dir, const char *name, mode_t mode)
{
    int r = fs_check_name(name);

    if (r < 0 || fs->readonly)
        return r < 0 ? r : -EROFS;
    return negative(mkdirat(dir, name, mode & FS_MODE_BITS));
}

int fs_symlink(const struct fs *fs, int dir, const char *name, const char *target)
{
    int r = fs_check_name(name);

    if (r < 0 || fs->readonly)
        return r < 0 ? r : -EROFS;
    return negative(symlinkat(target, dir, name));
}

int fs_link(const struct fs *fs, int dir, const char *name, int place)
{
    char path[SELF_PATH_BYTES];
    int r = fs_check_name(name);

    if (r < 0 || fs->readonly)
        return r < 0 ? r : -EROFS;
    self_path(place, path);
    return negative(linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW));
}

int fs_unlink(const struct fs *fs, int dir, const char *name, int flags)
{
    int r = fs_check_name(name);

    if (r < 0 || fs->readonly)
        return r < 0 ? r : -EROFS;
    return negative(unlinkat(dir, name, flags & AT_REMOVEDIR));
}

int fs_rename(const struct fs *fs, int from, const char *old, int to, const char *name)
{
    int r = fs_check_name(old);

    if (r == 0)
        r = fs_check_name(name);
    if (r < 0 || fs->readonly)
        return r < 0 ? r : -EROFS;
    return negative(renameat(from, old, to, name));
}

/* ---- attributes ---- */

/* An owner that stays what it is needs no privilege. */
static int set_owner(int place, const struct fs_attributes *a)
{
    struct stat st;

    if (!a->uid && !a->gid)
        return 0;
    if (fstat(place, &st) < 0)
        return -errno;
    uid_t uid = a->uid ? *a->uid : st.st_uid;
    gid_t gid = a->gid ? *a->gid : st.st_gid;
    if (uid == st.st_uid && gid == st.st_gid)
        return 0;
    return negative(fchownat(place, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int set_size(const struct fs *fs, int place, int64_t size)
{
    int fd = size < 0 ? -EINVAL : fs_reopen(fs, place, O_WRONLY);

    if (fd < 0)
        return fd;
    int r = negative(ftruncate(fd, size));
    close(fd);
    return r;
}

int fs_set(const struct fs *fs, int place, const struct fs_attributes *a)
{
    char path[SELF_PATH_BYTES];
    bool times = a->time[0].tv_nsec != UTIME_OMIT || a->time[1].tv_nsec != UTIME_OMIT;

    if (fs->readonly)
        return -EROFS;
    int r = set_owner(place, a);
    self_path(place, path);
    if (r == 0 && a->mode)
        r = negative(chmod(path, *a->mode & FS_MODE_BITS));
    if (r == 0 && a->size)
        r = set_size(fs, place, *a->size);
    if (r == 0 && times)
        r = negative(utimensat(place, "", a->time, AT_EMPTY_PATH));
    return r;
}
