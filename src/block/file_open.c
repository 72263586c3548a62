/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_open.c - opening, making and sizing files and block devices.
 *
 * Cache modes become flags of open(2) here: none is O_DIRECT, writethrough is
 * O_DSYNC. What O_DIRECT demands of offsets and buffers the kernel says (statx,
 * Linux 6.1), or the device; else 4096 is safe everywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "block/file.h"

enum { ALIGN_SAFE = 4096 };

static int cannot_open(const char *path, int code, const struct block_open *how,
                       struct error **err)
{
    error_set(err, code, "cannot open disk image '%s': %s", path, strerror(code));
    if (code == EINVAL && how->cache == BLOCK_NONE)
        error_hint(err, "its file system cannot do without the page cache; use another cache mode");
    else if (code == EROFS || (code == EACCES && !how->readonly))
        error_hint(err, "open it read-only, or make it writable");
    else if (code == ENOENT)
        error_hint(err, "'ring3 image create' makes one");
    return -code;
}

static int check_kind(struct file *f, const char *path, struct error **err)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return error_set(err, errno, "cannot examine '%s': %s", path, strerror(errno));
    f->best_align = st.st_blksize >= 512 && st.st_blksize <= 1 << 20 ? (uint32_t)st.st_blksize :
                    ALIGN_SAFE;
    if (S_ISREG(st.st_mode))
        return 0;
    if (!S_ISBLK(st.st_mode))
        return error_set(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL,
                         "'%s' is %s and no disk image", path,
                         S_ISDIR(st.st_mode) ? "a directory" :
                         S_ISCHR(st.st_mode) ? "a character device" : "a pipe or socket");
    f->is_device = true;
    if (ioctl(f->fd, BLKGETSIZE64, &f->device_bytes) < 0)
        return error_set(err, errno, "cannot find the size of '%s': %s", path, strerror(errno));
    return 0;
}

static void find_alignment(struct file *f, bool direct)
{
    f->align = f->memory_align = 1;
    if (!direct)
        return;
    f->align = f->memory_align = ALIGN_SAFE;
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        sx.stx_mask & STATX_DIOALIGN && sx.stx_dio_offset_align) {
        f->align = sx.stx_dio_offset_align;
        f->memory_align = sx.stx_dio_mem_align;
        return;
    }
#endif
    int sector;
    if (f->is_device && ioctl(f->fd, BLKSSZGET, &sector) == 0 && sector >= 512)
        f->align = f->memory_align = (uint32_t)sector;
}

int file_open(struct block *b, const struct block_open *how, struct error **err)
{
    const char *path = block_name_path(b->name);
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (b->readonly ? O_RDONLY : O_RDWR);
    struct file *f = calloc(1, sizeof *f);

    BUG_ON(!f);
    if (b->cache == BLOCK_NONE)
        flags |= O_DIRECT;
    if (b->cache == BLOCK_WRITETHROUGH && !b->readonly)
        flags |= O_DSYNC;
    f->fd = open(path, flags);
    if (f->fd < 0) {
        int rc = cannot_open(path, errno, how, err);
        free(f);
        return rc;
    }
    /* That was for pipes, which open(2) would wait for. io_uring would not wait for the disk. */
    fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_NONBLOCK);
    pthread_mutex_init(&f->partial, NULL);
    int rc = check_kind(f, path, err);
    if (!rc && !how->no_lock)
        rc = file_lock(f->fd, path, !b->readonly, b->log, err);
    if (rc) {
        close(f->fd);
        pthread_mutex_destroy(&f->partial);
        free(f);
        return rc;
    }
    find_alignment(f, b->cache == BLOCK_NONE);
    b->state = f;
    return 0;
}

int file_make(const char *name, bool replace, struct error **err)
{
    const char *path = block_name_path(name);
    struct stat st;

    if (replace && stat(path, &st) == 0 && S_ISBLK(st.st_mode))
        return 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (replace ? 0 : O_EXCL), 0666);
    if (fd < 0) {
        int code = errno;

        error_set(err, code, "cannot create '%s': %s", path, strerror(code));
        if (code == EEXIST)
            error_hint(err, "give --force to replace it");
        return -code;
    }
    /* Not emptied before it is known that nobody uses it. */
    int rc = file_lock(fd, path, true, NULL, err);
    if (!rc && ftruncate(fd, 0) < 0)
        rc = error_set(err, errno, "cannot empty '%s': %s", path, strerror(errno));
    close(fd);
    return rc;
}

void file_unmake(const char *name)
{
    const char *path = block_name_path(name);
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        unlink(path);
}

int file_resize(struct block *b, uint64_t bytes, struct error **err)
{
    struct file *f = b->state;

    if (f->is_device && bytes > f->device_bytes)
        return error_set(err, ENOSPC, "'%s' is a device of %" PRIu64 " bytes and holds no more",
                         b->name, f->device_bytes);
    if (f->is_device)
        return 0;
    if (bytes > INT64_MAX || ftruncate(f->fd, (off_t)bytes) < 0) {
        int rc = bytes > INT64_MAX ? -ENOSPC : file_errno(errno);

        return error_set(err, -rc, "cannot make '%s' %" PRIu64 " bytes long: %s", b->name, bytes,
                         strerror(-rc));
    }
    return 0;
}

void file_describe(struct block *b, block_fact_fn *fn, void *opaque)
{
    struct file *f = b->state;
    struct stat st;

    if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode))
        fn(opaque, &(struct block_fact){.key = "allocated_bytes",
                                        .number = (uint64_t)st.st_blocks * 512});
}
