/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image_change.c - the verbs of `ring3 image` that make and change images. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "cli/cli.h"
#include "cli/image.h"

/* "key=value" with its commas doubled (base/params.h). */
static void add_param(struct strbuf *sb, const char *key, const char *value)
{
    if (!value)
        return;
    strbuf_addf(sb, "%s%s=", sb->len ? "," : "", key);
    for (; *value; value++)
        strbuf_add(sb, *value == ',' ? ",," : value, *value == ',' ? 2 : 1);
}

/* A new image, and how it comes about. */
struct making {
    int (*make)(struct image_job *job, const char *where, const struct making *m);
    const char *format, *options;
    uint64_t bytes;
    struct block *from;                      /* what is copied into it */
};

static int make_empty(struct image_job *job, const char *where, const struct making *m)
{
    int rc = block_create(job->io, where, m->format, m->bytes, m->options,
                          job->o.force ? BLOCK_REPLACE : 0, &job->err);

    if (rc == -EINVAL)
        return CLI_USAGE;
    return rc ? image_failed(job) : CLI_OK;
}

/* With --force the file that is there is replaced when, and only if, all went well. */
static int make_in_place(struct image_job *job, const char *name, const struct making *m)
{
    struct block_replacement *old = NULL;
    const char *where = name;

    if (job->o.force && block_replace_begin(name, &old, &where, &job->err) < 0)
        return image_failed(job);
    int status = m->make(job, where, m);
    if (block_replace_end(old, status == CLI_OK, status ? NULL : &job->err) < 0)
        status = image_failed(job);
    return status;
}

/* The new file is as the user named it; its backing file's name is looked for from there. */
int image_create(struct image_job *job)
{
    const char *format = job->o.format ? job->o.format : "qcow2";
    uint64_t bytes = BLOCK_SIZE_OF_BACKING;
    struct strbuf options = {0};

    if (job->operands > 1 && image_size(job, job->operand[1], NULL, &bytes) < 0)
        return CLI_USAGE;
    bool has_backing = job->o.backing ||
                       (job->o.options && strstr(job->o.options, "backing="));
    if (job->operands < 2 && !has_backing) {
        error_set(&job->err, EINVAL, "image create needs FILE SIZE");
        error_hint(&job->err, "only an image with a backing file can take its size from there");
        return CLI_USAGE;
    }
    if (job->o.backing_format && !job->o.backing) {
        error_set(&job->err, EINVAL, "--backing-format without --backing says nothing");
        return CLI_USAGE;
    }
    if (job->o.options)
        strbuf_addf(&options, "%s", job->o.options);
    add_param(&options, "backing", job->o.backing);
    add_param(&options, "backing-format", job->o.backing_format);
    struct making m = {.make = make_empty, .format = format, .options = strbuf_text(&options),
                       .bytes = bytes};
    int status = make_in_place(job, job->operand[0], &m);
    strbuf_fini(&options);
    return status;
}

static void show_progress(void *opaque, uint64_t done, uint64_t bytes)
{
    unsigned *shown = opaque;
    unsigned percent = bytes ? (unsigned)((double)done / (double)bytes * 100) : 100;

    if (percent != *shown)
        fprintf(stderr, "\r%3u %%%s", percent, done == bytes ? "\n" : "");
    *shown = percent;
}

static int make_copy(struct image_job *job, const char *where, const struct making *m)
{
    unsigned shown = UINT32_MAX;
    int status = make_empty(job, where, m);

    if (status)
        return status;
    struct block_open how = {.name = where, .format = m->format, .compress = job->o.compress};
    struct block *to = block_open(job->io, &how, &job->err);
    if (!to)
        return image_failed(job);
    int rc = block_copy(m->from, to, job->o.progress ? show_progress : NULL, &shown, &job->err);
    status = image_close(job, to, rc ? image_failed(job) : CLI_OK);
    if (status)
        block_remove(where);                 /* half an image is none */
    return status;
}

static int copy_into_new(struct image_job *job, struct block *from)
{
    struct making m = {.make = make_copy, .options = job->o.options, .from = from,
                       .format = job->o.output_format ? job->o.output_format : "qcow2"};
    struct block_info info;

    block_info(from, &info);
    m.bytes = info.bytes;
    return make_in_place(job, job->operand[1], &m);
}

int image_convert(struct image_job *job)
{
    if (strcmp(job->operand[0], job->operand[1]) == 0) {
        error_set(&job->err, EINVAL, "'%s' cannot be converted into itself", job->operand[0]);
        return CLI_USAGE;
    }
    struct block *from = image_open(job, job->operand[0], job->o.format, true, false);
    if (!from)
        return image_failed(job);
    return image_close(job, from, copy_into_new(job, from));
}

/* An image that is open for writing, handed to `fn`, and closed. */
static int with_image(struct image_job *job, bool no_backing,
                      int (*fn)(struct image_job *job, struct block *b))
{
    struct block *b = image_open(job, job->operand[0], job->o.format, false, no_backing);

    return b ? image_close(job, b, fn(job, b)) : image_failed(job);
}

static int resize(struct image_job *job, struct block *b)
{
    struct block_info info;
    uint64_t bytes;

    block_info(b, &info);
    if (image_size(job, job->operand[1], &info.bytes, &bytes) < 0)
        return CLI_USAGE;
    if (bytes < info.bytes && !job->o.shrink) {
        error_set(&job->err, EINVAL, "'%s' has %" PRIu64 " bytes; everything behind %" PRIu64
                  " would be lost", job->operand[0], info.bytes, bytes);
        error_hint(&job->err, "give --shrink if that is meant");
        return CLI_USAGE;
    }
    return block_resize(b, bytes, &job->err) ? image_failed(job) : CLI_OK;
}

int image_resize(struct image_job *job)
{
    return with_image(job, false, resize);
}

static void list_snapshot(void *opaque, const struct block_snapshot *s)
{
    time_t t = (time_t)s->time_s;
    char when[32] = "";
    struct tm tm;

    if (localtime_r(&t, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    printf("%-4s %-24s %-19s  %" PRIu64 " bytes\n", s->id, s->name, when, s->bytes);
}

static int list_snapshots(struct image_job *job)
{
    struct block *b = image_open(job, job->operand[0], job->o.format, true, true);

    if (!b)
        return image_failed(job);
    int rc = block_snapshots(b, list_snapshot, NULL, &job->err);
    return image_close(job, b, rc ? image_failed(job) : CLI_OK);
}

static const char *const snapshot_verbs[] = {"create", "apply", "delete", NULL};

static int snapshot(struct image_job *job, struct block *b)
{
    enum block_snapshot_verb verb = BLOCK_SNAPSHOT_CREATE;

    while (strcmp(snapshot_verbs[verb], job->operand[1]) != 0)
        verb++;
    return block_snapshot(b, verb, job->operand[2], &job->err) ? image_failed(job) : CLI_OK;
}

int image_snapshot(struct image_job *job)
{
    if (job->operands == 1)
        return list_snapshots(job);
    for (unsigned i = 0; snapshot_verbs[i]; i++)
        if (strcmp(snapshot_verbs[i], job->operand[1]) == 0 && job->operands == 3)
            return with_image(job, false, snapshot);
    error_set(&job->err, EINVAL, "image snapshot needs FILE, or FILE create|apply|delete NAME");
    return CLI_USAGE;
}

static int commit(struct image_job *job, struct block *b)
{
    return block_commit(b, &job->err) ? image_failed(job) : CLI_OK;
}

int image_commit(struct image_job *job)
{
    return with_image(job, false, commit);
}

static int rebase(struct image_job *job, struct block *b)
{
    const char *backing = job->o.backing ? job->o.backing : "";

    return block_rebase(b, backing, job->o.backing_format, job->o.unsafe, &job->err) ?
           image_failed(job) : CLI_OK;
}

int image_rebase(struct image_job *job)
{
    if (job->o.backing_format && !job->o.backing) {
        error_set(&job->err, EINVAL, "--backing-format without --backing says nothing");
        return CLI_USAGE;
    }
    return with_image(job, job->o.unsafe, rebase);
}
