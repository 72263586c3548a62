/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image_show.c - the verbs of `ring3 image` that tell about images, as text or JSON.
 *
 * JSON keys are stable. info: name, format, bytes, and what the format has to say
 * (block_describe()), snapshots[], backing{} with --chain. check: the numbers of
 * struct block_check and clean. map: an array of start, bytes, depth, data, zero,
 * allocated, compressed, offset.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef RING3_JANSSON
#include <jansson.h>
#endif

#include "base/error.h"
#include "cli/cli.h"
#include "cli/image.h"

#ifdef RING3_JANSSON

/* What the tables below add to is a json_t; in the text output it is NULL. */
static void put_text(void *object, const char *key, const char *text)
{
    /* File names need not be UTF-8. */
    json_t *s = json_string(text);

    json_object_set_new(object, key, s ? s : json_string("?"));
}

static void put_number(void *object, const char *key, uint64_t n)
{
    json_object_set_new(object, key, json_integer((json_int_t)n));
}

static void put_flag(void *object, const char *key, bool flag)
{
    json_object_set_new(object, key, json_boolean(flag));
}

static void *new_object(void)
{
    return json_object();
}

static void *new_array(void)
{
    return json_array();
}

static void put_object(void *object, const char *key, void *value)
{
    json_object_set_new(object, key, value);
}

static void append(void *array, void *value)
{
    json_array_append_new(array, value);
}

static void print_json(void *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

static bool json_possible(struct image_job *job)
{
    return true;
}

#else

static void put_text(void *object, const char *key, const char *text) { }
static void put_number(void *object, const char *key, uint64_t n) { }
static void put_flag(void *object, const char *key, bool flag) { }
static void *new_object(void) { return NULL; }
static void *new_array(void) { return NULL; }
static void put_object(void *object, const char *key, void *value) { }
static void append(void *array, void *value) { }
static void print_json(void *root) { }

static bool json_possible(struct image_job *job)
{
    if (!job->o.json)
        return true;
    error_set(&job->err, ENOTSUP, "--json is not built in (libjansson was not there)");
    return false;
}

#endif

static void size_text(uint64_t bytes, char *out, size_t len)
{
    static const char units[] = "KMGTPE";
    double v = (double)bytes;
    int unit = -1;

    while (v >= 1024 && unit < 5) {
        v /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(out, len, "%" PRIu64 " bytes", bytes);
    else
        snprintf(out, len, "%.4g %ciB (%" PRIu64 " bytes)", v, units[unit], bytes);
}

/* ---- info ----------------------------------------------------------------- */

static void show_fact(void *object, const struct block_fact *f)
{
    char text[64];

    if (object) {
        if (f->text)
            put_text(object, f->key, f->text);
        else
            put_number(object, f->key, f->number);
        return;
    }
    printf("  ");
    for (const char *c = f->key; *c; c++)
        putchar(*c == '_' ? ' ' : *c);
    if (f->text) {
        printf(": %s\n", f->text);
        return;
    }
    size_text(f->number, text, sizeof text);
    if (strstr(f->key, "bytes") || strstr(f->key, "size"))
        printf(": %s\n", text);
    else
        printf(": %" PRIu64 "\n", f->number);
}

static void show_snapshot(void *array, const struct block_snapshot *s)
{
    if (!array) {
        printf("  snapshot %s: %s\n", s->id, s->name);
        return;
    }
    void *o = new_object();
    put_text(o, "id", s->id);
    put_text(o, "name", s->name);
    put_number(o, "bytes", s->bytes);
    put_number(o, "state_bytes", s->state_bytes);
    put_number(o, "time", (uint64_t)s->time_s);
    append(array, o);
}

static void describe(struct image_job *job, struct block *b, void *object)
{
    struct block_info info;
    char size[64];
    struct block *backing = job->o.chain ? block_backing(b) : NULL;

    block_info(b, &info);
    if (object) {
        put_text(object, "name", block_name(b));
        put_text(object, "format", info.format);
        put_number(object, "bytes", info.bytes);
    } else {
        size_text(info.bytes, size, sizeof size);
        printf("%s: %s, %s\n", block_name(b), info.format, size);
    }
    block_describe(b, show_fact, object);
    void *snapshots = object ? new_array() : NULL;
    block_snapshots(b, show_snapshot, snapshots, NULL);
    if (object)
        put_object(object, "snapshots", snapshots);
    if (backing) {
        void *o = object ? new_object() : NULL;
        describe(job, backing, o);
        if (object)
            put_object(object, "backing", o);
    }
}

int image_info(struct image_job *job)
{
    if (!json_possible(job))
        return CLI_CANNOT_START;
    struct block *b = image_open(job, job->operand[0], job->o.format, true, !job->o.chain);
    if (!b)
        return image_failed(job);
    void *object = job->o.json ? new_object() : NULL;
    describe(job, b, object);
    if (object)
        print_json(object);
    return image_close(job, b, CLI_OK);
}

/* ---- check ---------------------------------------------------------------- */

static void print_check(const struct image_job *job, const struct block_check *c)
{
    const char *name = job->operand[0];

    if (c->corruptions)
        printf("%s: %" PRIu64 " errors in its metadata, %" PRIu64 " mended\n", name, c->corruptions,
               c->corruptions_fixed);
    if (c->leaks)
        printf("%s: %" PRIu64 " clusters are lost space, %" PRIu64 " regained\n", name, c->leaks,
               c->leaks_fixed);
    if (c->unreadable)
        printf("%s: %" PRIu64 " pieces of metadata could not be read\n", name, c->unreadable);
    if (!c->corruptions && !c->leaks && !c->unreadable)
        printf("%s: no errors\n", name);
    if (c->clusters)
        printf("%" PRIu64 " of %" PRIu64 " clusters allocated, %" PRIu64 " of them compressed\n",
               c->allocated, c->clusters, c->compressed);
}

static int check(struct image_job *job, struct block *b)
{
    unsigned repair = !job->o.repair ? 0 : strcmp(job->o.repair, "all") == 0 ?
                      BLOCK_REPAIR_ALL | BLOCK_REPAIR_LEAKS : BLOCK_REPAIR_LEAKS;
    struct block_check c;

    if (block_check(b, repair, &c, &job->err))
        return image_failed(job);
    bool corrupt = c.corruptions > c.corruptions_fixed || c.unreadable;
    bool leaks = c.leaks > c.leaks_fixed;
    if (job->o.json) {
        void *o = new_object();
        put_text(o, "name", job->operand[0]);
        put_flag(o, "clean", !corrupt && !leaks);
        put_number(o, "corruptions", c.corruptions);
        put_number(o, "corruptions_fixed", c.corruptions_fixed);
        put_number(o, "leaks", c.leaks);
        put_number(o, "leaks_fixed", c.leaks_fixed);
        put_number(o, "unreadable", c.unreadable);
        put_number(o, "clusters", c.clusters);
        put_number(o, "allocated", c.allocated);
        put_number(o, "compressed", c.compressed);
        put_number(o, "file_end", c.file_end);
        print_json(o);
    } else {
        print_check(job, &c);
    }
    return corrupt ? IMAGE_CORRUPT : leaks ? IMAGE_LEAKS : CLI_OK;
}

int image_check(struct image_job *job)
{
    if (!json_possible(job))
        return CLI_CANNOT_START;
    struct block_open how = {.name = job->operand[0], .format = job->o.format,
                             .readonly = !job->o.repair, .no_backing = true,
                             .no_lock = job->o.shared, .checking = true};
    struct block *b = block_open(job->io, &how, &job->err);
    return b ? image_close(job, b, check(job, b)) : image_failed(job);
}

/* ---- map ------------------------------------------------------------------ */

static void show_extent(void *array, uint64_t start, const struct block_extent *e)
{
    if (!array) {
        if (!(e->flags & BLOCK_EXTENT_DATA))
            return;
        printf("%#14" PRIx64 " %#14" PRIx64 " %5u  ", start, e->bytes, e->depth);
        if (e->flags & BLOCK_EXTENT_OFFSET)
            printf("%#" PRIx64 "\n", e->host_offset);
        else
            printf("%s\n", e->flags & BLOCK_EXTENT_COMPRESSED ? "compressed" : "-");
        return;
    }
    void *o = new_object();
    put_number(o, "start", start);
    put_number(o, "bytes", e->bytes);
    put_number(o, "depth", e->depth);
    put_flag(o, "data", e->flags & BLOCK_EXTENT_DATA);
    put_flag(o, "zero", e->flags & BLOCK_EXTENT_ZERO);
    put_flag(o, "allocated", e->flags & BLOCK_EXTENT_ALLOCATED);
    put_flag(o, "compressed", e->flags & BLOCK_EXTENT_COMPRESSED);
    if (e->flags & BLOCK_EXTENT_OFFSET)
        put_number(o, "offset", e->host_offset);
    append(array, o);
}

static bool joins(const struct block_extent *a, const struct block_extent *b)
{
    return a->flags == b->flags && a->depth == b->depth &&
           !(a->flags & BLOCK_EXTENT_COMPRESSED) &&
           (!(a->flags & BLOCK_EXTENT_OFFSET) || a->host_offset + a->bytes == b->host_offset);
}

static int map(struct image_job *job, struct block *b, void *array)
{
    struct block_extent run = {0}, e;
    struct block_info info;
    uint64_t start = 0;
    int rc = 0;

    block_info(b, &info);
    for (uint64_t at = 0; at < info.bytes && !rc; at += e.bytes) {
        rc = block_map(b, at, info.bytes - at, &e);
        if (rc) {
            error_set(&job->err, -rc, "cannot map '%s' at offset %" PRIu64 ": %s",
                      job->operand[0], at, strerror(-rc));
        } else if (at && joins(&run, &e)) {
            run.bytes += e.bytes;
        } else {
            if (at)
                show_extent(array, start, &run);
            start = at;
            run = e;
        }
    }
    if (info.bytes && !rc)
        show_extent(array, start, &run);
    return rc ? image_failed(job) : CLI_OK;
}

int image_map(struct image_job *job)
{
    if (!json_possible(job))
        return CLI_CANNOT_START;
    struct block *b = image_open(job, job->operand[0], job->o.format, true, false);
    if (!b)
        return image_failed(job);
    void *array = job->o.json ? new_array() : NULL;
    if (!array)
        printf("%14s %14s %5s  %s\n", "start", "bytes", "depth", "offset in that file");
    int status = map(job, b, array);
    if (array)
        print_json(array);
    return image_close(job, b, status);
}

/* ---- compare -------------------------------------------------------------- */

static int compare(struct image_job *job, struct block *a, struct block *b)
{
    struct block_info ia, ib;
    uint64_t at;
    int rc = block_compare(a, b, job->o.strict, &at, &job->err);

    if (rc < 0)
        return image_failed(job);
    block_info(a, &ia);
    block_info(b, &ib);
    if (!rc)
        printf("the images are the same%s\n",
               ia.bytes == ib.bytes ? "" : ", but for zeroes at the end of the longer one");
    else if (at == min_u64(ia.bytes, ib.bytes) && ia.bytes != ib.bytes && job->o.strict)
        printf("the images differ in size: %" PRIu64 " and %" PRIu64 " bytes\n", ia.bytes,
               ib.bytes);
    else
        printf("the images differ at offset %" PRIu64 "\n", at);
    return rc ? IMAGE_DIFFERS : CLI_OK;
}

int image_compare(struct image_job *job)
{
    struct block *a = image_open(job, job->operand[0], job->o.format, true, false);

    if (!a)
        return image_failed(job);
    struct block *b = image_open(job, job->operand[1], job->o.second_format, true, false);
    int status = b ? image_close(job, b, compare(job, a, b)) : image_failed(job);
    return image_close(job, a, status);
}
