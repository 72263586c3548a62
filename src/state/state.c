/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.c - walking state tables.
 *
 * Stream form, all numbers little-endian:
 *
 *     section  "R3ST", u32 length of the rest, name, table
 *     name     u8 length, bytes
 *     table    u32 version, u16 fields, field...
 *     field    name, u8 type, u32 elements, u32 length of the data, data
 *     data     the elements, or for a struct one table per element
 *
 * Loading reads the stream twice: first only to check it, then to apply it,
 * so a stream that is refused has changed nothing.
 */
#include "state/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/byteorder.h"
#include "base/error.h"
#include "base/strbuf.h"

static const char magic[4] = {'R', '3', 'S', 'T'};

enum { NAME_MAX_BYTES = 255, PATH_MAX_BYTES = 192 };

static unsigned type_width(enum state_type type)
{
    static const uint8_t widths[] = {0, 1, 1, 2, 4, 8, 0};

    return widths[type];
}

static uint64_t element_get(const struct state_field *f, const void *state, uint32_t i)
{
    const uint8_t *p = (const uint8_t *)state + f->offset + (size_t)i * f->stride;

    switch (type_width(f->type)) {
    case 1: return *p;
    case 2: return get_le16(p);
    case 4: return get_le32(p);
    case 8: return get_le64(p);
    }
    BUG("state field without width");
}

static void element_put(const struct state_field *f, void *state, uint32_t i, uint64_t v)
{
    uint8_t *p = (uint8_t *)state + f->offset + (size_t)i * f->stride;

    switch (type_width(f->type)) {
    case 1: *p = (uint8_t)v; return;
    case 2: put_le16(p, (uint16_t)v); return;
    case 4: put_le32(p, (uint32_t)v); return;
    case 8: put_le64(p, v); return;
    }
    BUG("state field without width");
}

static const void *element_at(const struct state_field *f, const void *state, uint32_t i)
{
    return (const uint8_t *)state + f->offset + (size_t)i * f->stride;
}

static const struct state_field *field_find(const struct state_desc *d, const char *name,
                                            size_t len)
{
    for (const struct state_field *f = d->fields; f->name; f++)
        if (strlen(f->name) == len && memcmp(f->name, name, len) == 0)
            return f;
    return NULL;
}

/* ---- saving ---- */

static void put_number(struct strbuf *out, uint64_t v, unsigned width)
{
    uint8_t bytes[8];

    put_le64(bytes, v);
    strbuf_add(out, bytes, width);
}

static void put_name(struct strbuf *out, const char *name)
{
    size_t len = strlen(name);

    BUG_ON(len > NAME_MAX_BYTES);
    put_number(out, len, 1);
    strbuf_add(out, name, len);
}

/* A place for a u32 length that is known later. */
static size_t length_begin(struct strbuf *out)
{
    put_number(out, 0, 4);
    return out->len;
}

static void length_end(struct strbuf *out, size_t from)
{
    put_le32(out->text + from - 4, (uint32_t)(out->len - from));
}

static void save_table(const struct state_desc *d, const void *state, struct strbuf *out)
{
    size_t fields = 0;

    while (d->fields[fields].name)
        fields++;
    put_number(out, d->version, 4);
    put_number(out, fields, 2);
    for (const struct state_field *f = d->fields; f->name; f++) {
        put_name(out, f->name);
        put_number(out, f->type, 1);
        put_number(out, f->count, 4);
        size_t from = length_begin(out);
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->type == STATE_TYPE_STRUCT)
                save_table(f->sub, element_at(f, state, i), out);
            else
                put_number(out, element_get(f, state, i), type_width(f->type));
        }
        length_end(out, from);
    }
}

void state_save(const struct state_desc *d, const void *state, const char *section,
                struct strbuf *out)
{
    strbuf_add(out, magic, sizeof magic);
    size_t from = length_begin(out);
    put_name(out, section);
    save_table(d, state, out);
    length_end(out, from);
}

/* ---- loading ---- */

struct reader {
    const uint8_t *at, *end;
    const char *section;
    char path[PATH_MAX_BYTES];    /* of the field being read, for messages */
    bool apply;                   /* second pass: believe the stream, write */
    struct error **err;
};

static int refuse(struct reader *in, int code, const char *why)
{
    return error_set(in->err, code, "state section '%s'%s%s: %s", in->section,
                     in->path[0] ? ", field " : "", in->path, why);
}

static int truncated(struct reader *in)
{
    return refuse(in, EINVAL, "the stream ends too early");
}

static bool get_number(struct reader *in, unsigned width, uint64_t *v)
{
    uint8_t bytes[8] = {0};

    if ((size_t)(in->end - in->at) < width)
        return false;
    memcpy(bytes, in->at, width);
    in->at += width;
    *v = get_le64(bytes);
    return true;
}

static bool get_bytes(struct reader *in, const uint8_t **p, uint64_t len)
{
    if ((uint64_t)(in->end - in->at) < len)
        return false;
    *p = in->at;
    in->at += len;
    return true;
}

static bool get_name(struct reader *in, const char **name, size_t *len)
{
    const uint8_t *p;
    uint64_t n;

    if (!get_number(in, 1, &n) || !get_bytes(in, &p, n))
        return false;
    *name = (const char *)p;
    *len = (size_t)n;
    return true;
}

static int load_table(struct reader *in, const struct state_desc *d, void *state);

/* The elements of one field, at in->at; in->end is the end of its data. */
static int load_elements(struct reader *in, const struct state_field *f, void *state)
{
    for (uint32_t i = 0; i < f->count; i++) {
        uint64_t v;
        if (f->type == STATE_TYPE_STRUCT) {
            int r = load_table(in, f->sub, (void *)element_at(f, state, i));
            if (r < 0)
                return r;
            continue;
        }
        if (!get_number(in, type_width(f->type), &v))
            return truncated(in);
        if (f->type == STATE_TYPE_BOOL && v > 1)
            return refuse(in, EINVAL, "a bool is neither 0 nor 1");
        if (in->apply)
            element_put(f, state, i, v);
    }
    return in->at == in->end ? 0 : refuse(in, EINVAL, "more data than elements");
}

struct field_head {
    const char *name;
    size_t name_len;
    uint64_t type, count, bytes;
};

static bool get_field_head(struct reader *in, struct field_head *h)
{
    return get_name(in, &h->name, &h->name_len) && get_number(in, 1, &h->type) &&
           get_number(in, 4, &h->count) && get_number(in, 4, &h->bytes);
}

/* One field of a table of version `version`; *found is its row or NULL. */
static int load_field(struct reader *in, const struct state_desc *d, uint64_t version,
                      void *state, const struct state_field **found)
{
    struct field_head h;
    const uint8_t *data, *end = in->end;
    size_t path_len = strlen(in->path);
    int r = 0;

    if (!get_field_head(in, &h))
        return truncated(in);
    snprintf(in->path + path_len, sizeof in->path - path_len, "%s%.*s", path_len ? "." : "",
             (int)h.name_len, h.name);
    if (!get_bytes(in, &data, h.bytes))
        return truncated(in);
    const struct state_field *f = *found = field_find(d, h.name, h.name_len);
    if (!f && version > d->version)
        return refuse(in, ENOTSUP, "it comes from a newer version and is unknown here");
    if (!f && version == d->version)
        return refuse(in, EINVAL, "there is no such field");
    if (f && (h.type != f->type || h.count != f->count))
        return refuse(in, EINVAL, "its type or element count is another here");
    if (f) {    /* else: dropped since that version */
        in->at = data;
        in->end = data + h.bytes;
        r = load_elements(in, f, state);
        in->end = end;
    }
    if (r == 0)
        in->path[path_len] = '\0';
    return r;
}

static int load_table(struct reader *in, const struct state_desc *d, void *state)
{
    enum { FIELDS_MAX = 512 };
    uint64_t seen[FIELDS_MAX / 64] = {0};
    uint64_t version, fields;

    if (!get_number(in, 4, &version) || !get_number(in, 2, &fields))
        return truncated(in);
    while (fields--) {
        const struct state_field *f = NULL;
        int r = load_field(in, d, version, state, &f);
        if (r < 0)
            return r;
        if (!f)
            continue;
        size_t i = (size_t)(f - d->fields);
        BUG_ON(i >= FIELDS_MAX);
        if (seen[i / 64] & 1ull << i % 64)
            return error_set(in->err, EINVAL, "state section '%s', field %s: it comes twice",
                             in->section, f->name);
        seen[i / 64] |= 1ull << i % 64;
    }
    for (size_t i = 0; d->fields[i].name; i++)
        if (!(seen[i / 64] & 1ull << i % 64) && d->fields[i].since <= version)
            return error_set(in->err, EINVAL, "state section '%s', field %s: it is missing",
                             in->section, d->fields[i].name);
    return 0;
}

/* From the magic up to the table; leaves in->end at the section's end. */
static int load_head(struct reader *in)
{
    const uint8_t *p;
    const char *name;
    uint64_t bytes;
    size_t len;

    if (!get_bytes(in, &p, sizeof magic))
        return truncated(in);
    if (memcmp(p, magic, sizeof magic) != 0)
        return refuse(in, EINVAL, "this is not a state section");
    if (!get_number(in, 4, &bytes) || bytes > (uint64_t)(in->end - in->at))
        return truncated(in);
    in->end = in->at + bytes;
    if (!get_name(in, &name, &len))
        return truncated(in);
    if (strlen(in->section) != len || memcmp(in->section, name, len) != 0)
        return error_set(in->err, EINVAL, "state section '%s' expected, found '%.*s'",
                         in->section, (int)len, name);
    return 0;
}

int state_load(const struct state_desc *d, void *state, const char *section,
               const void *data, size_t len, size_t *used, struct error **err)
{
    struct reader in;

    for (int pass = 0; pass < 2; pass++) {
        in = (struct reader){.at = data, .end = (const uint8_t *)data + len,
                             .section = section, .apply = pass == 1, .err = err};
        int r = load_head(&in);
        if (r == 0)
            r = load_table(&in, d, state);
        if (r == 0 && in.at != in.end)
            r = refuse(&in, EINVAL, "more data than fields");
        if (r < 0)
            return r;
    }
    *used = (size_t)(in.at - (const uint8_t *)data);
    return 0;
}

/* ---- printing and comparing ---- */

/* "0 x13 1 2": a run of equal elements is told once. */
static void print_elements(const struct state_field *f, const void *state, struct strbuf *out)
{
    uint32_t run;

    for (uint32_t i = 0; i < f->count; i += run) {
        uint64_t v = element_get(f, state, i);
        for (run = 1; i + run < f->count && element_get(f, state, i + run) == v; run++)
            ;
        strbuf_addf(out, " 0x%" PRIx64, v);
        if (run > 1)
            strbuf_addf(out, " x%u", run);
    }
}

static void print_table(const struct state_desc *d, const void *state, const char *prefix,
                        struct strbuf *out)
{
    char path[PATH_MAX_BYTES];

    for (const struct state_field *f = d->fields; f->name; f++) {
        if (f->type != STATE_TYPE_STRUCT) {
            strbuf_addf(out, "%s%s =", prefix, f->name);
            print_elements(f, state, out);
            strbuf_addf(out, "\n");
            continue;
        }
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->count == 1)
                snprintf(path, sizeof path, "%s%s.", prefix, f->name);
            else
                snprintf(path, sizeof path, "%s%s[%u].", prefix, f->name, i);
            print_table(f->sub, element_at(f, state, i), path, out);
        }
    }
}

void state_print(const struct state_desc *d, const void *state, struct strbuf *out)
{
    print_table(d, state, "", out);
}

/* A line for the field if its elements differ: the first pair, and how many. */
static unsigned diff_elements(const struct state_field *f, const void *a, const void *b,
                              const char *prefix, struct strbuf *out)
{
    uint32_t first = 0, differing = 0;

    for (uint32_t i = 0; i < f->count; i++)
        if (element_get(f, a, i) != element_get(f, b, i) && differing++ == 0)
            first = i;
    if (!differing)
        return 0;
    strbuf_addf(out, "%s%s", prefix, f->name);
    if (f->count > 1)
        strbuf_addf(out, "[%u]", first);
    strbuf_addf(out, ": 0x%" PRIx64 " -> 0x%" PRIx64, element_get(f, a, first),
                element_get(f, b, first));
    if (differing > 1)
        strbuf_addf(out, " (and %u more)", differing - 1);
    strbuf_addf(out, "\n");
    return 1;
}

static unsigned diff_table(const struct state_desc *d, const void *a, const void *b,
                           const char *prefix, struct strbuf *out)
{
    char path[PATH_MAX_BYTES];
    unsigned lines = 0;

    for (const struct state_field *f = d->fields; f->name; f++) {
        if (f->type != STATE_TYPE_STRUCT) {
            lines += diff_elements(f, a, b, prefix, out);
            continue;
        }
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->count == 1)
                snprintf(path, sizeof path, "%s%s.", prefix, f->name);
            else
                snprintf(path, sizeof path, "%s%s[%u].", prefix, f->name, i);
            lines += diff_table(f->sub, element_at(f, a, i), element_at(f, b, i), path, out);
        }
    }
    return lines;
}

unsigned state_diff(const struct state_desc *d, const void *a, const void *b,
                    struct strbuf *out)
{
    return diff_table(d, a, b, "", out);
}

/* ---- digest and scrambling ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x100000001b3ull;
    return h ^ h >> 32;
}

static uint64_t digest_table(const struct state_desc *d, const void *state, uint64_t h)
{
    for (const struct state_field *f = d->fields; f->name; f++) {
        for (const char *c = f->name; *c; c++)
            h = mix(h, (uint8_t)*c);
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->type == STATE_TYPE_STRUCT)
                h = digest_table(f->sub, element_at(f, state, i), h);
            else
                h = mix(h, element_get(f, state, i));
        }
    }
    return h;
}

uint64_t state_digest(const struct state_desc *d, const void *state)
{
    return digest_table(d, state, 0xcbf29ce484222325ull);
}

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", 2014). */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void scramble_table(const struct state_desc *d, void *state, uint64_t *seed)
{
    for (const struct state_field *f = d->fields; f->name; f++) {
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->type == STATE_TYPE_STRUCT)
                scramble_table(f->sub, (void *)element_at(f, state, i), seed);
            else
                element_put(f, state, i,
                            f->type == STATE_TYPE_BOOL ? next_random(seed) & 1
                                                       : next_random(seed));
        }
    }
}

void state_scramble(const struct state_desc *d, void *state, uint64_t seed)
{
    scramble_table(d, state, &seed);
}
