/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.c - `ring3 image VERB`: which verb, its options and operands, and the
 * context that the image is opened in.
 */
#include "cli/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "cli/cli.h"
#include "cli/options.h"

#define FIELD(name) offsetof(struct image_options, name)
#define FORMAT_OPTION                                                                      \
    {"format", "NAME", "what the image is: raw, qcow2; without it, it is looked at, and a " \
     "raw\nimage is only read", OPTION_STRING, FIELD(format)}
#define JSON_OPTION {"json", NULL, "print one JSON object", OPTION_FLAG, FIELD(json)}
#define FORCE_OPTION {"force", NULL, "replace a file that is there", OPTION_FLAG, FIELD(force)}
#define OPTIONS_OPTION {"options", "KEY=VALUE,...", "what the format can be asked for",     \
                        OPTION_STRING, FIELD(options)}
#define SHARED_OPTION {"shared", NULL, "look even while another program writes it",        \
                       OPTION_FLAG, FIELD(shared)}

static const struct option create_options[] = {
    {"format", "NAME", "format of the image (qcow2)", OPTION_STRING, FIELD(format)},
    OPTIONS_OPTION,
    {"backing", "FILE", "the image that this one stands on", OPTION_STRING, FIELD(backing)},
    {"backing-format", "NAME", "format of that one", OPTION_STRING, FIELD(backing_format)},
    FORCE_OPTION,
    {NULL},
};
static const struct option info_options[] = {
    FORMAT_OPTION, JSON_OPTION, SHARED_OPTION,
    {"chain", NULL, "tell about the backing files, too", OPTION_FLAG, FIELD(chain)},
    {NULL},
};
static const struct option check_options[] = {
    FORMAT_OPTION, JSON_OPTION,
    {"repair", "leaks|all", "mend what can be mended", OPTION_CHOICE, FIELD(repair)},
    {NULL},
};
static const struct option convert_options[] = {
    FORMAT_OPTION,
    {"output-format", "NAME", "format of the new image (qcow2)", OPTION_STRING,
     FIELD(output_format)},
    {"compress", NULL, "compress what is written (qcow2)", OPTION_FLAG, FIELD(compress)},
    OPTIONS_OPTION, FORCE_OPTION,
    {"progress", NULL, "show how far it is", OPTION_FLAG, FIELD(progress)},
    {NULL},
};
static const struct option resize_options[] = {
    FORMAT_OPTION,
    {"shrink", NULL, "yes, cut off what is behind the new end", OPTION_FLAG, FIELD(shrink)},
    {NULL},
};
static const struct option snapshot_options[] = {FORMAT_OPTION, {NULL}};
static const struct option map_options[] = {FORMAT_OPTION, JSON_OPTION, SHARED_OPTION, {NULL}};
static const struct option compare_options[] = {
    FORMAT_OPTION,
    {"second-format", "NAME", "the same for the second image", OPTION_STRING,
     FIELD(second_format)},
    {"strict", NULL, "different sizes are a difference", OPTION_FLAG, FIELD(strict)},
    {NULL},
};
static const struct option commit_options[] = {FORMAT_OPTION, {NULL}};
static const struct option rebase_options[] = {
    FORMAT_OPTION,
    {"backing", "FILE", "the new backing file; without it, none", OPTION_STRING, FIELD(backing)},
    {"backing-format", "NAME", "format of that one", OPTION_STRING, FIELD(backing_format)},
    {"unsafe", NULL, "change the name only: the contents are said to be the same", OPTION_FLAG,
     FIELD(unsafe)},
    {NULL},
};

struct image_verb {
    const char *name, *operands, *summary;
    int min, max;
    const struct option *options;
    int (*run)(struct image_job *job);
};

static const struct image_verb verbs[] = {
    {"create", "FILE [SIZE]", "make an image", 1, 2, create_options, image_create},
    {"info", "FILE", "say what an image is", 1, 1, info_options, image_info},
    {"check", "FILE", "look for damage (status 2: corrupt, 3: space lost)", 1, 1, check_options,
     image_check},
    {"convert", "FILE NEW", "copy an image into another format", 2, 2, convert_options,
     image_convert},
    {"resize", "FILE [+|-]SIZE", "change the size of the disk", 2, 2, resize_options,
     image_resize},
    {"snapshot", "FILE [create|apply|delete NAME]", "list, make, go back to, drop snapshots", 1, 3,
     snapshot_options, image_snapshot},
    {"map", "FILE", "say where data is", 1, 1, map_options, image_map},
    {"compare", "FILE FILE", "tell whether a guest would see a difference (status 1)", 2, 2,
     compare_options, image_compare},
    {"commit", "FILE", "write what an image has into its backing file", 1, 1, commit_options,
     image_commit},
    {"rebase", "FILE", "put an image on another backing file", 1, 1, rebase_options,
     image_rebase},
    {NULL},
};

/* ---- for the verbs -------------------------------------------------------- */

struct block *image_open(struct image_job *job, const char *name, const char *format,
                         bool readonly, bool no_backing)
{
    struct block_open how = {.name = name, .format = format, .readonly = readonly,
                             .no_backing = no_backing, .no_lock = job->o.shared,
                             .discard = !readonly};

    return block_open(job->io, &how, &job->err);
}

int image_close(struct image_job *job, struct block *b, int status)
{
    bool failed = block_close(b, job->err ? NULL : &job->err) != 0;

    return failed && status == CLI_OK ? image_failed(job) : status;
}

int image_failed(const struct image_job *job)
{
    int code = job->err ? job->err->code : EIO;

    return code == EIO || code == ENOSPC ? CLI_HOST_FAILED : CLI_CANNOT_START;
}

int image_size(struct image_job *job, const char *text, const uint64_t *base, uint64_t *bytes)
{
    char sign = base && (*text == '+' || *text == '-') ? *text : 0;
    uint64_t v = 0;
    bool bad = str_parse_size(text + (sign != 0), &v) != 0 || v > INT64_MAX;

    if (!bad && sign == '+')
        bad = __builtin_add_overflow(*base, v, &v) || v > INT64_MAX;
    else if (!bad && sign == '-')
        bad = __builtin_sub_overflow(*base, v, &v);
    if (bad) {
        error_set(&job->err, EINVAL, "'%s' is not a possible size", text);
        error_hint(&job->err, "write a number, with K, M, G or T for units");
        return -EINVAL;
    }
    *bytes = v;
    return 0;
}

/* ---- the command line ----------------------------------------------------- */

static int usage(struct error **err)
{
    return cli_fail(CLI_USAGE, err);
}

static bool takes_value(const struct option *table, const char *arg)
{
    for (const struct option *o = table; o->name; o++)
        if (strcmp(o->name, arg + 2) == 0)
            return o->type != OPTION_FLAG;
    return false;
}

/* Operands to the job, everything else to `rest`. -EINVAL: too many. */
static int split(const struct image_verb *v, int argc, char **argv, char **rest, int *rests,
                 struct image_job *job)
{
    bool options = true;

    rest[(*rests)++] = argv[0];
    for (int i = 1; i < argc; i++) {
        char *arg = argv[i];

        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && arg[0] == '-' && arg[1] && !(arg[1] >= '0' && arg[1] <= '9')) {
            rest[(*rests)++] = arg;
            if (strncmp(arg, "--", 2) == 0 && takes_value(v->options, arg) && i + 1 < argc)
                rest[(*rests)++] = argv[++i];
        } else if (job->operands == v->max) {
            error_set(&job->err, EINVAL, "unexpected argument '%s'", arg);
            error_hint(&job->err, "ring3 image %s %s", v->name, v->operands);
            return -EINVAL;
        } else {
            job->operand[job->operands++] = arg;
        }
    }
    return 0;
}

static void print_verb_help(const struct image_verb *v)
{
    struct strbuf text = {0};

    options_help(v->options, &text);
    printf("ring3 image %s [OPTION...] %s: %s\n\n%s", v->name, v->operands, v->summary,
           strbuf_text(&text));
    strbuf_fini(&text);
}

static int print_help(void)
{
    printf("ring3 image VERB [OPTION...] FILE...: make, examine and change disk images\n\n"
           "Verbs (ring3 image VERB --help tells more):\n");
    for (const struct image_verb *v = verbs; v->name; v++)
        printf("  %-10s %s\n", v->name, v->summary);
    return cli_finish_output();
}

static int check_operands(const struct image_verb *v, struct image_job *job)
{
    if (job->operands < v->min)
        error_set(&job->err, EINVAL, "image %s needs %s", v->name, v->operands);
    for (int i = 0; i < job->operands && !job->err; i++)
        if (!*job->operand[i])
            error_set(&job->err, EINVAL, "image %s: a name is empty", v->name);
    return job->err ? -EINVAL : 0;
}

static int run_with_context(const struct image_verb *v, struct image_job *job)
{
    struct loop *loop = loop_new(&job->err);
    int status = CLI_HOST_FAILED;

    if (loop)
        job->io = block_io_new(loop, NULL, &job->err);
    if (job->io)
        status = v->run(job);
    block_io_free(job->io);
    if (loop)
        loop_free(loop);
    return job->err ? cli_fail(status, &job->err) : status;
}

static int run_verb(const struct image_verb *v, int argc, char **argv)
{
    struct image_job job = {0};
    int rests = 0;
    char **rest = calloc((size_t)argc + 1, sizeof *rest);

    int rc = split(v, argc, argv, rest, &rests, &job);
    if (!rc)
        rc = options_parse(v->options, &job.o, rests, rest, &job.err);
    free(rest);
    if (rc == OPTIONS_HELP) {
        print_verb_help(v);
        return cli_finish_output();
    }
    if (rc < 0 || check_operands(v, &job) < 0)
        return usage(&job.err);
    int status = run_with_context(v, &job);
    int output = cli_finish_output();
    return status ? status : output;
}

int cmd_image(int argc, char **argv)
{
    const char *names[ARRAY_SIZE(verbs)] = {NULL};
    struct error *err = NULL;

    if (argc < 2) {
        error_set(&err, EINVAL, "image: no verb given");
        error_hint(&err, "try 'ring3 image --help'");
        return usage(&err);
    }
    if (strcmp(argv[1], "--help") == 0)
        return print_help();
    for (size_t i = 0; verbs[i].name; i++) {
        names[i] = verbs[i].name;
        if (strcmp(verbs[i].name, argv[1]) == 0)
            return run_verb(&verbs[i], argc - 1, argv + 1);
    }
    const char *close = str_closest(argv[1], names);
    error_set(&err, EINVAL, "image: there is no verb '%s'", argv[1]);
    if (close)
        error_hint(&err, "did you mean '%s'?", close);
    else
        error_hint(&err, "try 'ring3 image --help'");
    return usage(&err);
}
