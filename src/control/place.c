/* SPDX-License-Identifier: GPL-2.0-or-later */
/* place.c - see place.h. */
#include "control/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

enum { BACKLOG = 128, LOCK_TRIES = 100 };

static int check_directory(const char *path, struct error **err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? -ENOENT
               : error_set(err, errno, "cannot look at '%s': %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
        error_set(err, EPERM, "'%s' is not a directory that only you can enter", path);
        error_hint(err, "remove it, or set XDG_RUNTIME_DIR");
        return -EPERM;
    }
    return 0;
}

int place_directory(char path[PLACE_PATH_MAX], bool make, struct error **err)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    int n;

    if (run && *run == '/')
        n = snprintf(path, PLACE_PATH_MAX, "%s/ring3", run);
    else
        n = snprintf(path, PLACE_PATH_MAX, "/tmp/ring3-%u", (unsigned)geteuid());
    if (n >= PLACE_PATH_MAX - 16)
        return error_set(err, ENAMETOOLONG, "'%s/ring3' is too long for a socket's name", run);
    if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set(err, errno, "cannot make the directory '%s': %s", path, strerror(errno));
    return check_directory(path, err);
}

static int check_name(const char *name, struct error **err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t len = strlen(name);

    if (len && len <= PLACE_NAME_MAX && name[0] != '.' && name[0] != '-' &&
        strspn(name, letters) == len)
        return 0;
    error_set(err, EINVAL, "'%s' cannot be a machine's name", name);
    error_hint(err, "letters, digits, '.', '_' and '-', at most %d, none of '.-' first",
               PLACE_NAME_MAX);
    return -EINVAL;
}

static int paths_of(const char *name, bool make, char socket_path[PLACE_PATH_MAX],
                    char lock_path[PLACE_PATH_MAX], struct error **err)
{
    char dir[PLACE_PATH_MAX];
    int rc = check_name(name, err);

    if (!rc)
        rc = place_directory(dir, make, err);
    if (rc)
        return rc;
    if (snprintf(socket_path, PLACE_PATH_MAX, "%s/%s.sock", dir, name) >= PLACE_PATH_MAX ||
        snprintf(lock_path, PLACE_PATH_MAX, "%s/%s.lock", dir, name) >= PLACE_PATH_MAX)
        return error_set(err, ENAMETOOLONG, "'%s/%s.sock' is too long for a socket's name", dir,
                         name);
    return 0;
}

int place_socket(const char *name, char path[PLACE_PATH_MAX], struct error **err)
{
    char lock[PLACE_PATH_MAX];
    int rc = paths_of(name, false, path, lock, err);

    return rc == -ENOENT && err && !*err
           ? error_set(err, ENOENT, "there is no running machine '%s'", name) : rc;
}

/* Whoever ends removes the file while holding the lock: one that was locked but is no
 * longer at its path is nobody's. 1: try again. */
static int lock_once(struct place *p, struct error **err)
{
    struct stat mine, there;

    p->lock_fd = open(p->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p->lock_fd < 0)
        return error_set(err, errno, "cannot open '%s': %s", p->lock, strerror(errno));
    if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        char pid[16] = "";
        ssize_t n = pread(p->lock_fd, pid, sizeof pid - 1, 0);

        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        close(p->lock_fd);
        p->lock_fd = -1;
        error_set(err, EADDRINUSE, "a machine called '%s' is running (process %s)", p->name,
                  *pid ? pid : "unknown");
        error_hint(err, "give this one another name with --name");
        return -EADDRINUSE;
    }
    if (fstat(p->lock_fd, &mine) == 0 && stat(p->lock, &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
        return 0;
    close(p->lock_fd);
    p->lock_fd = -1;
    return 1;
}

static int listen_at(struct place *p, struct error **err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    memcpy(at.sun_path, p->socket, strlen(p->socket) + 1);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->listen_fd < 0)
        return error_set(err, errno, "cannot make a socket: %s", strerror(errno));
    unlink(p->socket);
    if (bind(p->listen_fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(p->listen_fd, BACKLOG) < 0)
        return error_set(err, errno, "cannot listen at '%s': %s", p->socket, strerror(errno));
    return 0;
}

int place_claim(struct place *p, const char *name, struct error **err)
{
    int rc;

    *p = (struct place){.lock_fd = -1, .listen_fd = -1};
    rc = paths_of(name, true, p->socket, p->lock, err);
    if (rc)
        return rc;
    memcpy(p->name, name, strlen(name) + 1);
    rc = 1;
    for (unsigned i = 0; i < LOCK_TRIES && rc > 0; i++)
        rc = lock_once(p, err);
    if (rc > 0)
        rc = error_set(err, EAGAIN, "cannot lock '%s': somebody keeps replacing it", p->lock);
    if (!rc) {
        dprintf(p->lock_fd, "%ld\n", (long)getpid());
        rc = listen_at(p, err);
    }
    if (rc)
        place_release(p);
    return rc;
}

void place_release(struct place *p)
{
    if (p->listen_fd >= 0) {
        unlink(p->socket);
        close(p->listen_fd);
    }
    if (p->lock_fd >= 0) {
        unlink(p->lock);
        close(p->lock_fd);
    }
    p->listen_fd = p->lock_fd = -1;
}
