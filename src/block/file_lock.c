/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_lock.c - who may use an image at the same time as whom, also among
 * programs: the bytes are those that QEMU and qemu-img lock (QEMU's
 * block/file-posix.c, "permission locks"), so they and ring3 exclude each other.
 *
 * Byte 100 + n says "I do n", byte 200 + n "I bear nobody who does n", with n: 0
 * read, 1 write, 3 resize. All locks are shared ones on the open file description;
 * conflicts are found by asking for the opposite byte. Locking comes before
 * asking, so of two that come at once at least one is refused.
 *
 * The locks are advisory, die with the descriptor, and are the same inode's however
 * it is named.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "block/file.h"

enum { DOES = 100, BEARS_NOT = 200, BIT_READ = 0, BIT_WRITE = 1, BIT_RESIZE = 3, BITS = 4 };

static int lock_byte(int fd, off_t byte)
{
    struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* Whether another open file holds a lock there. */
static bool is_locked(int fd, off_t byte)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

/* The same after a moment of patience: the kernel ends a killed program's requests
 * (io_uring) after the program, and its locks only then. Who starts a VM again at once
 * is not to be told that it still runs. */
static bool stays_locked(int fd, off_t byte)
{
    enum { TRIES = 50, WAIT_NS = 20 * 1000 * 1000 };
    const struct timespec wait = {.tv_nsec = WAIT_NS};

    for (unsigned i = 0; i < TRIES && is_locked(fd, byte); i++)
        nanosleep(&wait, NULL);
    return is_locked(fd, byte);
}

static int refuse(const char *name, bool write, bool written, struct error **err)
{
    error_set(err, EBUSY, "'%s' is %s by another virtual machine or tool", name,
              written ? "being written" : "in use");
    error_hint(err, "stop that one first%s",
               write ? ", or use an image of its own with this one as its backing file" : "");
    return -EBUSY;
}

int file_lock(int fd, const char *name, bool write, struct log *log, struct error **err)
{
    const unsigned writing = 1u << BIT_WRITE | 1u << BIT_RESIZE;
    unsigned does = 1u << BIT_READ | (write ? writing : 0);
    int rc = 0;

    for (unsigned n = 0; n < BITS && !rc; n++) {
        if (does >> n & 1)
            rc = lock_byte(fd, DOES + n);
        if (!rc && writing >> n & 1)
            rc = lock_byte(fd, BEARS_NOT + n);
    }
    if (rc == -EAGAIN || rc == -EACCES)
        return refuse(name, write, false, err);     /* somebody locks more than QEMU does */
    if (rc) {
        if (log)
            log_warn(log, "'%s' cannot be locked (%s): nothing keeps another program from "
                     "writing it", name, strerror(-rc));
        return 0;
    }
    for (unsigned n = 0; n < BITS; n++) {
        if (writing >> n & 1 && stays_locked(fd, DOES + n))
            return refuse(name, write, true, err);
        if (does >> n & 1 && stays_locked(fd, BEARS_NOT + n))
            return refuse(name, write, false, err);
    }
    return 0;
}
