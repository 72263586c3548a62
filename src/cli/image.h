/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.h - the verbs of `ring3 image` among themselves: image.c reads the command
 * line and opens images, image_change.c changes them, image_show.c tells about them.
 *
 * A verb gets its operands, checked in number, and a context of its own: this
 * thread, no lock, no loop that runs. It returns an exit status, with *err set for
 * those that cli_fail() is to print.
 */
#ifndef RING3_CLI_IMAGE_H
#define RING3_CLI_IMAGE_H

#include "block/tool.h"

struct error;

struct image_options {
    const char *format, *output_format, *options, *backing, *backing_format, *repair;
    const char *second_format;
    bool json, force, shrink, strict, unsafe, shared, chain, progress, compress;
};

struct image_job {
    struct block_io *io;
    struct image_options o;
    const char *operand[3];
    int operands;
    struct error *err;
};

/* NULL with job->err set. `readonly` images may be of any format that is probed. */
struct block *image_open(struct image_job *job, const char *name, const char *format,
                         bool readonly, bool no_backing);
/* Closes; a failure becomes the job's error and status unless there is one already. */
int image_close(struct image_job *job, struct block *b, int status);
/* The status for job->err. */
int image_failed(const struct image_job *job);
/* "512M"; with `base` also "+512M" and "-1G", relative to it. -EINVAL sets the error. */
int image_size(struct image_job *job, const char *text, const uint64_t *base, uint64_t *bytes);

/* What check and compare say by their exit status, beside CLI_OK. */
enum { IMAGE_DIFFERS = 1, IMAGE_CORRUPT = 2, IMAGE_LEAKS = 3 };

int image_create(struct image_job *job);
int image_convert(struct image_job *job);
int image_resize(struct image_job *job);
int image_snapshot(struct image_job *job);
int image_commit(struct image_job *job);
int image_rebase(struct image_job *job);
int image_info(struct image_job *job);
int image_check(struct image_job *job);
int image_map(struct image_job *job);
int image_compare(struct image_job *job);

#endif
