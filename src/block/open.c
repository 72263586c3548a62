/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * open.c - building and taking down a stack of nodes.
 *
 * The protocol is opened first, read-only or not as asked, with its lock; then the
 * format is settled, and the format opens itself on it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "block/drivers.h"
#include "block/node.h"

enum { PROBE_BYTES = 4096, DEPTH_MAX = 64, FORMATS_MAX = 16 };

static struct block *node_new(struct block_io *io, const struct block_driver *driver,
                              const struct block_open *how)
{
    struct block *b = calloc(1, sizeof *b);

    BUG_ON(!b);
    *b = (struct block){.driver = driver, .io = io, .name = strdup(how->name),
                        .cache = how->cache, .readonly = how->readonly,
                        .discard = how->discard,
                        .compress = how->compress, .log = how->log, .depth = how->depth};
    BUG_ON(!b->name);
    return b;
}

static void node_free(struct block *b)
{
    free(b->name);
    free(b);
}

void node_refresh_info(struct block *b)
{
    b->info = (struct block_info){.request_align = 1, .best_align = 4096};
    b->driver->info(b, &b->info);
    b->info.readonly = b->readonly;
    b->info.format = b->driver->name;
}

/* On success `below` is the new node's. */
static struct block *open_node(struct block_io *io, const struct block_driver *driver,
                               struct block *below, const struct block_open *how,
                               struct error **err)
{
    struct block *b = node_new(io, driver, how);

    b->below = below;
    if (driver->open(b, how, err)) {
        node_free(b);
        return NULL;
    }
    node_refresh_info(b);
    return b;
}

struct block *node_open_protocol(struct block_io *io, const struct block_open *how,
                                 struct error **err)
{
    const struct block_driver *driver = block_protocol_for(how->name);
    struct strbuf all = {0};

    if (driver) {
        driver = block_driver_load(driver, err);
        struct block *b = !driver ? NULL : open_node(io, driver, NULL, how, err);
        if (b)
            b->is_below = true;
        return b;
    }
    for (const struct block_driver *const *d = block_drivers; *d; d++)
        for (const char *const *s = (*d)->schemes; s && *s; s++)
            if (strstr(*s, "://"))
                strbuf_addf(&all, "%s%.*s", all.len ? ", " : "", (int)(strlen(*s) - 3), *s);
    error_set(err, EPROTONOSUPPORT, "cannot open '%s': this ring3 knows no such protocol",
              how->name);
    if (all.len)
        error_hint(err, "there are: %s", strbuf_text(&all));
    strbuf_fini(&all);
    return NULL;
}

/* ---- which format --------------------------------------------------------- */

static const struct block_driver *probe(struct block *below, const struct block_open *how,
                                        struct error **err)
{
    uint8_t head[PROBE_BYTES] = {0};
    const struct block_driver *best = &block_raw;
    int best_score = 0;
    uint64_t bytes = node_bytes(below);
    size_t len = min_u64(bytes, sizeof head);
    int rc = node_read(below, 0, head, len);

    if (rc) {
        error_set(err, -rc, "cannot read the first bytes of '%s': %s", how->name, strerror(-rc));
        return NULL;
    }
    for (const struct block_driver *const *d = block_drivers; *d; d++) {
        int score = (*d)->probe ? (*d)->probe(head, len, bytes) : 0;
        if (score > best_score) {
            best = *d;
            best_score = score;
        }
    }
    if (best == &block_raw && !how->readonly) {
        error_set(err, EINVAL, "'%s' looks like a raw image, and that is never guessed for writing",
                  how->name);
        error_hint(err, "say format=raw if it is one");
        return NULL;
    }
    return best;
}

const struct block_driver *node_named_format(const char *name, struct error **err)
{
    const char *names[FORMATS_MAX + 1] = {NULL};
    size_t n = 0;

    for (const struct block_driver *const *d = block_drivers; *d; d++) {
        if ((*d)->schemes)
            continue;
        if (strcmp((*d)->name, name) == 0)
            return *d;
        BUG_ON(n == FORMATS_MAX);
        names[n++] = (*d)->name;
    }
    error_no_such(err, "image format", name, names);
    return NULL;
}

struct block *block_open(struct block_io *io, const struct block_open *how, struct error **err)
{
    const struct block_driver *format = NULL;

    if (how->depth > DEPTH_MAX) {
        error_set(err, ELOOP, "'%s' has more than %d backing files on one another, or they form "
                  "a loop", how->name, DEPTH_MAX);
        return NULL;
    }
    if (how->format) {
        format = node_named_format(how->format, err);
        if (!format)
            return NULL;
    }
    struct block *below = node_open_protocol(io, how, err);
    if (!below)
        return NULL;
    if (!format)
        format = probe(below, how, err);
    struct block *b = format ? open_node(io, format, below, how, err) : NULL;
    if (!b)
        block_close(below, NULL);
    return b;
}

int block_close(struct block *b, struct error **err)
{
    int rc = 0, rc_below;

    if (!b)
        return 0;
    block_drain(b);
    if (b->driver->schemes && !b->readonly) {
        rc = node_flush(b);
        if (rc)
            error_set(err, -rc, "cannot make '%s' durable: %s", b->name, strerror(-rc));
    }
    if (b->driver->close) {
        int rc_close = b->driver->close(b, rc ? NULL : err);
        rc = rc ? rc : rc_close;
    }
    rc_below = block_close(b->below, rc ? NULL : err);
    node_free(b);
    return rc ? rc : rc_below;
}

/* ---- backing files -------------------------------------------------------- */

char *node_backing_path(const char *image, const char *backing)
{
    const char *slash = strrchr(image, '/');
    char *path = NULL;

    /* Absolute, a URL, or beside an image that is named without a directory. */
    if (backing[0] == '/' || strstr(backing, "://") || !slash ||
        block_protocol_for(backing) != &block_file || strncmp(backing, "file:", 5) == 0) {
        path = strdup(backing);
    } else {
        struct strbuf sb = {0};

        strbuf_add(&sb, image, (size_t)(slash + 1 - image));
        strbuf_add(&sb, backing, strlen(backing));
        path = sb.text;
    }
    BUG_ON(!path);
    return path;
}

struct block *node_open_backing(struct block *b, const struct block_open *how, const char *name,
                                const char *format, struct error **err)
{
    char *path = node_backing_path(block_name_path(b->name), name);
    struct block_open mine = *how;

    mine.name = path;
    mine.format = format;
    mine.readonly = true;
    mine.checking = mine.compress = false;
    mine.depth = b->depth + 1;
    struct block *backing = block_open(b->io, &mine, err);
    if (!backing)
        error_wrap(err, "backing file of '%s'", b->name);
    free(path);
    return backing;
}
