/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_vars.c - opening, making, checking and writing the variable store's file. */
#include "machine/pc_vars.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "device/flash.h"
#include "machine/pc_map.h"

enum { LARGEST_BYTES = 4 << 20 };

static int failed(struct error **err, const char *what, const char *path)
{
    int code = errno ? errno : EIO;

    return error_set(err, code, "cannot %s variable store '%s': %s", what, path, strerror(code));
}

static int read_all(int fd, const char *path, uint8_t *to, uint64_t bytes, struct error **err)
{
    for (uint64_t at = 0; at < bytes;) {
        ssize_t n = pread(fd, to + at, bytes - at, (off_t)at);

        if (n <= 0) {
            errno = n ? errno : EIO;
            return failed(err, "read", path);
        }
        at += (uint64_t)n;
    }
    return 0;
}

/* Code and variables together fill a flash part: a power of two. */
static bool fits(const struct pc_rom *rom, uint64_t bytes)
{
    uint64_t whole = rom->bytes + bytes;

    return bytes && bytes <= LARGEST_BYTES && bytes % FLASH_SECTOR_BYTES == 0 &&
           (whole & (whole - 1)) == 0;
}

static int load(struct pc_vars *v, const struct pc_rom *rom, int fd, const char *path,
                struct error **err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return failed(err, "look at", path);
    if (!S_ISREG(st.st_mode) || !fits(rom, (uint64_t)st.st_size)) {
        error_set(err, EINVAL, "variable store '%s' has %lld bytes, which does not go with "
                  "firmware '%s'", path, (long long)st.st_size, rom->path);
        error_hint(err, "a store is made when the file does not exist");
        return -EINVAL;
    }
    v->bytes = (uint64_t)st.st_size;
    v->data = malloc(v->bytes);
    if (!v->data)
        return error_set(err, ENOMEM, "no memory for the variable store");
    return read_all(fd, path, v->data, v->bytes, err);
}

static int load_template(struct pc_vars *v, const struct pc_rom *rom, struct error **err)
{
    int fd = open(rom->vars, O_RDONLY | O_CLOEXEC), rc;

    if (fd < 0)
        return failed(err, "open", rom->vars);
    rc = load(v, rom, fd, rom->vars, err);
    close(fd);
    return rc;
}

static int no_template(const struct pc_rom *rom, const char *path, struct error **err)
{
    error_set(err, ENOENT, "there is no variable store '%s', and none known to go with firmware "
              "'%s'", path, rom->path);
    error_hint(err, "copy the OVMF_VARS file that came with it");
    return -ENOENT;
}

/* Whole or not at all: what is half written would be refused the next time. */
static int make_file(struct pc_vars *v, const struct pc_rom *rom, const char *path,
                     struct error **err)
{
    int rc = rom->vars ? load_template(v, rom, err) : no_template(rom, path, err);

    if (rc)
        return rc;
    v->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (v->fd < 0)
        return failed(err, "make", path);
    errno = 0;
    if (pwrite(v->fd, v->data, v->bytes, 0) != (ssize_t)v->bytes) {
        rc = failed(err, "write", path);
        unlink(path);
    }
    return rc;
}

static int open_file(struct pc_vars *v, const struct pc_rom *rom, const char *path,
                     struct error **err)
{
    int rc;

    v->path = path;
    v->fd = open(path, O_RDWR | O_CLOEXEC);
    if (v->fd < 0 && errno != ENOENT)
        return failed(err, "open", path);
    rc = v->fd < 0 ? make_file(v, rom, path, err) : load(v, rom, v->fd, path, err);
    if (rc || flock(v->fd, LOCK_EX | LOCK_NB) == 0)
        return rc;
    error_set(err, errno, "variable store '%s' is another VM's just now", path);
    error_hint(err, "give each VM a --firmware-vars file of its own");
    return -EBUSY;
}

int pc_vars_open(struct pc_vars *v, const struct pc_rom *rom, const char *path, struct log *log,
                 struct error **err)
{
    *v = (struct pc_vars){.fd = -1, .log = log};
    if (rom->uefi && path)
        return open_file(v, rom, path, err);
    if (path) {
        error_set(err, EINVAL, "a BIOS has no variable store");
        error_hint(err, "--firmware-vars goes with --firmware uefi");
        return -EINVAL;
    }
    return rom->uefi && rom->vars && access(rom->vars, R_OK) == 0 ? load_template(v, rom, err) : 0;
}

void pc_vars_close(struct pc_vars *v)
{
    if (v->data && v->fd >= 0)
        close(v->fd);
    free(v->data);
    *v = (struct pc_vars){.fd = -1};
}

/* VM lock held: this is rare, and small. */
static void changed(void *opaque, uint64_t offset, uint64_t bytes)
{
    struct pc_vars *v = opaque;

    if (v->fd < 0 || pwrite(v->fd, v->data + offset, bytes, (off_t)offset) == (ssize_t)bytes)
        return;
    if (!v->failed)
        log_warn(v->log, "variable store '%s' cannot be written: %s", v->path, strerror(errno));
    v->failed = true;
}

struct device *pc_vars_chip(struct pc_vars *v, const struct pc_rom *rom,
                            const struct device_env *env, struct error **err)
{
    const struct flash_config cfg = {
        .name = "firmware-vars", .base = PC_HIGH - rom->bytes - v->bytes, .data = v->data,
        .bytes = v->bytes, .changed = changed, .opaque = v,
    };

    return flash_new(env, &cfg, err);
}
