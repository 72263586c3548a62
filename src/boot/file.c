/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file.c - the files a user boots from.
 *
 * They are read, not mapped: a file that is truncated under a mapping would
 * kill the monitor with SIGBUS, a short read is an error with a message.
 */
#include "boot/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "memory/memory.h"

/* What comes out of a pipe may not be endless. */
#define PIPE_MAX_BYTES (4ull << 30)

static int refuse(const struct boot_file *f, struct error **err, int code, const char *why)
{
    return error_set(err, code, "cannot read %s '%s': %s", f->role, f->path, why);
}

/* `ring3 run --kernel <(zcat vmlinux.gz)`: keeps what a pipe gives in a memfd. */
static int spool_pipe(struct boot_file *f, struct error **err)
{
    int mem = memfd_create("ring3-boot-file", MFD_CLOEXEC);
    uint64_t total = 0;
    char buf[65536];
    ssize_t n = 0;

    if (mem < 0)
        return refuse(f, err, errno, strerror(errno));
    while (total <= PIPE_MAX_BYTES && (n = read(f->fd, buf, sizeof buf)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || write(mem, buf, (size_t)n) != n)
            break;
        total += (uint64_t)n;
    }
    if (n != 0) {
        int code = n < 0 ? errno : total > PIPE_MAX_BYTES ? EFBIG : ENOSPC;

        close(mem);
        return refuse(f, err, code, strerror(code));
    }
    close(f->fd);
    f->fd = mem;
    f->size_bytes = total;
    return 0;
}

static int check_kind(struct boot_file *f, struct error **err)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return refuse(f, err, errno, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return refuse(f, err, EISDIR, "it is a directory");
    if (S_ISFIFO(st.st_mode)) {
        int rc = spool_pipe(f, err);

        if (rc)
            return rc;
    } else if (!S_ISREG(st.st_mode)) {
        return refuse(f, err, ENOTSUP, "it is neither a file nor a pipe");
    } else {
        f->size_bytes = (uint64_t)st.st_size;
    }
    if (f->size_bytes == 0)
        return refuse(f, err, ENODATA, "it is empty");
    return 0;
}

int boot_file_open(struct boot_file *f, const char *role, const char *path, struct error **err)
{
    int rc;

    *f = (struct boot_file){.role = role, .fd = -1, .path = strdup(path)};
    if (!f->path)
        return error_set(err, ENOMEM, "cannot open %s '%s': out of memory", role, path);
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        rc = error_set(err, errno, "cannot open %s '%s': %s", role, path, strerror(errno));
    else
        rc = check_kind(f, err);
    if (rc)
        boot_file_close(f);
    return rc;
}

void boot_file_close(struct boot_file *f)
{
    if (boot_file_given(f))
        close(f->fd);
    free(f->path);
    *f = BOOT_FILE_NONE;
}

int boot_file_read(const struct boot_file *f, uint64_t offset, void *buf, uint64_t len,
                   struct error **err)
{
    uint64_t done = 0;

    if (!range_inside(offset, len, INT64_MAX))
        return refuse(f, err, EINVAL, "offset out of range");
    while (done < len) {
        ssize_t n = pread(f->fd, (char *)buf + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(f, err, errno, strerror(errno));
        if (n == 0)
            return error_set(err, ENODATA,
                             "%s '%s' is truncated: %#llx bytes wanted at offset %#llx, "
                             "the file ends at %#llx",
                             f->role, f->path, (unsigned long long)len,
                             (unsigned long long)offset, (unsigned long long)(offset + done));
        done += (uint64_t)n;
    }
    return 0;
}

int boot_file_load(const struct boot_file *f, uint64_t offset, struct memory *m, gpa_t to,
                   uint64_t len, struct error **err)
{
    hva_t host;
    int rc;

    if (len == 0)
        return 0;
    host = memory_host(m, to, len, true);
    if (!host.p)
        return error_set(err, EFAULT, "%s '%s': no RAM at %#llx (%#llx bytes)", f->role, f->path,
                         (unsigned long long)to.v, (unsigned long long)len);
    rc = boot_file_read(f, offset, host.p, len, err);
    memory_written(m, to, len);
    return rc;
}
