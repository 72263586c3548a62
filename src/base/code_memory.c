/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * code_memory.c - a memfd mapped twice.
 *
 * The file itself is never executed, so it is made with MFD_NOEXEC_SEAL where
 * the kernel knows that: with vm.memfd_noexec=2 it accepts nothing else.
 */
#include "base/code_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

static int file_new(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create(name, MFD_CLOEXEC) : fd;
}

/* Code, and behind it the tail. */
static void *map_exec(int fd, size_t bytes, size_t tail_bytes)
{
    void *p = mmap(NULL, bytes + tail_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p != MAP_FAILED &&
        mmap(p, bytes, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int why = errno;

        munmap(p, bytes + tail_bytes);
        errno = why;
        p = MAP_FAILED;
    }
    return p;
}

static int map_both(struct code_memory *m, int fd, struct error **err)
{
    void *w = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *x;
    int r;

    if (w == MAP_FAILED)
        return error_set(err, errno, "cannot map %zu KiB of memory for code: %s",
                         m->bytes >> 10, strerror(errno));
    x = map_exec(fd, m->bytes, m->tail_bytes);
    if (x == MAP_FAILED) {
        r = errno == EACCES || errno == EPERM
                ? error_set(err, errno, "this host forbids executable memory (%s)",
                            strerror(errno))
                : error_set(err, errno, "cannot map %zu KiB of executable memory: %s",
                            m->bytes >> 10, strerror(errno));
        munmap(w, m->bytes);
        return r;
    }
    m->write = w;
    m->exec = x;
    return 0;
}

int code_memory_map(struct code_memory *m, const char *name, size_t bytes, size_t tail_bytes,
                    struct error **err)
{
    int fd = file_new(name), r;

    *m = (struct code_memory){.bytes = bytes, .tail_bytes = tail_bytes};
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        r = error_set(err, errno, "cannot make memory for code: %s", strerror(errno));
    else
        r = map_both(m, fd, err);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        *m = (struct code_memory){0};
    return r;
}

void code_memory_unmap(struct code_memory *m)
{
    if (m->bytes) {
        munmap(m->exec, m->bytes + m->tail_bytes);
        munmap(m->write, m->bytes);
    }
    *m = (struct code_memory){0};
}

bool code_memory_allowed(struct error **err)
{
    struct code_memory m;
    bool allowed = code_memory_map(&m, "ring3-probe", PAGE_SIZE, 0, err) == 0;

    code_memory_unmap(&m);
    return allowed;
}
