/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs.h - a host directory that nobody gets out of.
 *
 * Everything is a descriptor: a place in the tree is an O_PATH descriptor, and a name
 * is looked up one component at a time from such a place, with openat2(RESOLVE_BENEATH)
 * and without following anything. A symbolic link is an object like any other; whoever
 * asked resolves its text, name by name, in the tree that it sees. So there is no path
 * to race with and no link that leads out.
 *
 * Only regular files and directories are ever opened: a FIFO would block, a device
 * would do something. Set-user-ID and set-group-ID bits are never set: the tree is also
 * the host's.
 *
 * Functions return 0 (or a descriptor or a count) or a negative errno, for the guest.
 * No state but the root: any thread.
 */
#ifndef RING3_SHARE_FS_H
#define RING3_SHARE_FS_H

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include "base/types.h"

struct error;

enum { FS_NAME_MAX = 255, FS_MODE_BITS = 01777 };

struct fs {
    int root;                 /* O_PATH; -1: none */
    bool readonly;
};

int fs_open(struct fs *fs, const char *dir, bool readonly, struct error **err);
void fs_close(struct fs *fs);

/* A name of one component: not empty, not ".", not "..", no slash, not too long. */
int fs_check_name(const char *name);

int fs_lookup(int dir, const char *name);              /* O_PATH descriptor */
int fs_parent(const struct fs *fs, int place);         /* the root's is the root */
/* Open for I/O what `place` is: O_ACCMODE, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC count. */
int fs_reopen(const struct fs *fs, int place, int flags);
/* Makes a regular file, or opens it when it exists and O_EXCL is not among the flags.
 * *io is for I/O; returns its place. */
int fs_create(const struct fs *fs, int dir, const char *name, int flags, mode_t mode, int *io);
int fs_mkdir(const struct fs *fs, int dir, const char *name, mode_t mode);
int fs_symlink(const struct fs *fs, int dir, const char *name, const char *target);
int fs_link(const struct fs *fs, int dir, const char *name, int place);
int fs_unlink(const struct fs *fs, int dir, const char *name, int flags);
int fs_rename(const struct fs *fs, int from, const char *old, int to, const char *name);
/* Where `place` hangs now: its directory's descriptor, and its name there. ESTALE when it
 * is gone or no longer in the tree, EBUSY for the root. */
int fs_locate(const struct fs *fs, int place, char name[FS_NAME_MAX + 1]);
ssize_t fs_readlink(int place, char *text, size_t size);

/* What is to change: NULL or -1 for what is not. */
struct fs_attributes {
    const mode_t *mode;
    const uid_t *uid;
    const gid_t *gid;
    const int64_t *size;
    struct timespec time[2];  /* access, modification; tv_nsec UTIME_OMIT, UTIME_NOW */
};
int fs_set(const struct fs *fs, int place, const struct fs_attributes *a);

#endif
