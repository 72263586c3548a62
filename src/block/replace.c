/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replace.c - a file stays what it is until what is to replace it is whole.
 *
 * The new image is made under a name of its own in the same folder, so that rename(2)
 * can put it in place and names of backing files mean the same. The old file is locked
 * for writing all the while: whoever uses it is not deprived of it, and the new image
 * cannot be made out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "block/drivers.h"
#include "block/file.h"
#include "block/node.h"
#include "block/tool.h"

struct block_replacement {
    char *old;               /* without symbolic links, which stay */
    struct strbuf new;
    int fd;                  /* the old file, locked */
};

static void replacement_free(struct block_replacement *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r->old);
    strbuf_fini(&r->new);
    free(r);
}

static int begin(struct block_replacement *r, const char *path, mode_t mode, struct error **err)
{
    int fd, rc;

    r->old = realpath(path, NULL);
    r->fd = r->old ? open(r->old, O_RDONLY | O_CLOEXEC) : -1;
    if (r->fd < 0)
        return error_set(err, errno, "cannot open '%s': %s", path, strerror(errno));
    rc = file_lock(r->fd, path, true, NULL, err);
    if (rc)
        return rc;
    strbuf_addf(&r->new, "%s.XXXXXX", r->old);
    fd = mkostemp(r->new.text, O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno, "cannot make a file beside '%s': %s", path, strerror(errno));
    if (fchmod(fd, mode & 07777) < 0) {
        error_set(err, errno, "cannot set the mode of '%s': %s", r->new.text, strerror(errno));
        unlink(r->new.text);
        rc = -EIO;
    }
    close(fd);
    return rc;
}

int block_replace_begin(const char *name, struct block_replacement **out, const char **where,
                        struct error **err)
{
    const char *path = block_name_path(name);
    struct stat st;

    *out = NULL;
    *where = name;
    if (block_protocol_for(name) != &block_file || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    struct block_replacement *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ENOMEM, "cannot replace '%s': out of memory", path);
    int rc = begin(r, path, st.st_mode, err);
    if (rc) {
        replacement_free(r);
        return rc;
    }
    *out = r;
    *where = strbuf_text(&r->new);
    return 0;
}

int block_replace_end(struct block_replacement *r, bool keep, struct error **err)
{
    int rc = 0;

    if (!r)
        return 0;
    if (keep && rename(r->new.text, r->old) < 0)
        rc = error_set(err, errno, "cannot replace '%s': %s", r->old, strerror(errno));
    if (!keep || rc)
        unlink(r->new.text);
    replacement_free(r);
    return rc;
}
