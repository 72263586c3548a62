/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ini.c - lines, keys and where paths lead.
 *
 * The file is read whole (it is small, and bounded) and cut in place; a value
 * that holds a path becomes a string of its own. All of them belong to the
 * struct ini, since options only point.
 */
#include "cli/ini.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "cli/options.h"

enum { FILE_MAX_BYTES = 1 << 20, KEYS_MAX = 64 };

struct ini {
    const char *path;
    const struct option *table;
    char *text, *dir;
    char **value;                 /* values with paths in them */
    size_t values;
    unsigned line;                /* of what is being read, from 1 */
    unsigned seen[KEYS_MAX];      /* by row: the line of a key that comes once */
};

void ini_free(struct ini *ini)
{
    if (!ini)
        return;
    for (size_t i = 0; i < ini->values; i++)
        free(ini->value[i]);
    free(ini->value);
    free(ini->text);
    free(ini->dir);
    free(ini);
}

/* ---- paths ---- */

/* Is `word` one of the fixed words of "stdio|none|FILE"? */
static bool is_fixed_word(const char *metavar, const char *word, size_t len)
{
    for (const char *c = metavar; c && *c; c += *c == '|') {
        size_t n = strcspn(c, "|");
        if (n == len && memcmp(c, word, n) == 0 && islower((unsigned char)*c))
            return true;
        c += n;
    }
    return false;
}

/* "nbd:...", "http://...": letters, digits, '+' before the first colon. */
static bool has_scheme(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && (islower((unsigned char)text[n]) || isdigit((unsigned char)text[n]) ||
                       text[n] == '+'))
        n++;
    return n > 1 && n < len && text[n] == ':';
}

static void add_path(struct strbuf *out, const char *dir, const char *path, size_t len)
{
    if (len && path[0] != '/' && strcmp(dir, ".") != 0)
        strbuf_addf(out, "%s/", dir);
    strbuf_add(out, path, len);
}

/* The end of a word of "a,b=c,,d,e": a doubled comma belongs to it. */
static size_t word_length(const char *text)
{
    size_t n = 0;

    while (text[n] && !(text[n] == ',' && text[n + 1] != ','))
        n += text[n] == ',' ? 2 : 1;
    return n;
}

/* Does the list `paths` have the entry name[0..len)? */
static bool lists(const char *paths, const char *name, size_t len)
{
    for (const char *p = paths; *p; p += *p == '|') {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, name, n) == 0)
            return true;
        p += n;
    }
    return false;
}

static void place_word(const struct option *o, const char *word, size_t len, bool first,
                       const char *dir, struct strbuf *out)
{
    const char *equals = memchr(word, '=', len);
    size_t key = equals ? (size_t)(equals - word) : 0;

    if (first && lists(o->paths, ",", 1) && !equals && !has_scheme(word, len)) {
        if (is_fixed_word(o->metavar, word, len))
            dir = ".";
        add_path(out, dir, word, len);
    } else if (equals && lists(o->paths, word, key) && !has_scheme(equals + 1, len - key - 1)) {
        strbuf_add(out, word, key + 1);
        add_path(out, dir, equals + 1, len - key - 1);
    } else {
        strbuf_add(out, word, len);
    }
}

char *ini_place_paths(const struct option *o, const char *value, const char *dir)
{
    struct strbuf out = {0};
    size_t n;

    if (!o->paths || !*value) {
        strbuf_add(&out, value, strlen(value));
    } else if (strcmp(o->paths, "*") == 0) {
        if (is_fixed_word(o->metavar, value, strlen(value)))
            dir = ".";
        add_path(&out, dir, value, strlen(value));
    } else if (strcmp(o->paths, ":") == 0) {
        add_path(&out, dir, value, strlen(value));
    } else {
        for (const char *p = value; *p; p += n + (p[n] == ',')) {
            n = word_length(p);
            if (p != value)
                strbuf_addf(&out, ",");
            place_word(o, p, n, p == value, dir, &out);
        }
    }
    char *text = strdup(strbuf_text(&out));
    BUG_ON(!text);
    strbuf_fini(&out);
    return text;
}

/* ---- lines ---- */

static int wrong(struct ini *ini, struct error **err)
{
    return error_wrap(err, "%s:%u", ini->path, ini->line);
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r\f\v");
    size_t len = strlen(text);
    while (len && strchr(" \t\r\f\v", text[len - 1]))
        len--;
    text[len] = '\0';
    return text;
}

static int section(struct ini *ini, char *line, struct error **err)
{
    if (strcmp(line, "[run]") == 0)
        return 0;
    error_set(err, EINVAL, "there is no section '%s'", line);
    error_hint(err, "'[run]' is the only one, and it may be left out");
    return wrong(ini, err);
}

/* "text" in quotes loses them; a quote at one end only is a mistake. */
static int unquote(struct ini *ini, char **value, struct error **err)
{
    char *v = *value;
    size_t len = strlen(v);

    if (v[0] != '"')
        return 0;
    if (len < 2 || v[len - 1] != '"') {
        error_set(err, EINVAL, "the value begins with a quote and does not end with one");
        return wrong(ini, err);
    }
    v[len - 1] = '\0';
    *value = v + 1;
    return 0;
}

static int check_once(struct ini *ini, const struct option *o, const char *key,
                      struct error **err)
{
    size_t row = (size_t)(o - ini->table);

    BUG_ON(row >= KEYS_MAX);
    if (o->type == OPTION_LIST)
        return 0;
    if (ini->seen[row]) {
        error_set(err, EINVAL, "%s: the key is given twice (first on line %u)", key,
                  ini->seen[row]);
        return wrong(ini, err);
    }
    ini->seen[row] = ini->line;
    return 0;
}

static const char *place(struct ini *ini, const struct option *o, const char *value)
{
    if (!o->paths)
        return value;
    ini->value = realloc(ini->value, (ini->values + 1) * sizeof *ini->value);
    BUG_ON(!ini->value);
    return ini->value[ini->values++] = ini_place_paths(o, value, ini->dir);
}

static int key_line(struct ini *ini, void *target, char *line, struct error **err)
{
    char *equals = strchr(line, '='), *value = NULL;

    if (equals) {
        *equals = '\0';
        value = trim(equals + 1);
    }
    char *key = trim(line);
    if (!*key) {
        error_set(err, EINVAL, "there is no key before the equals sign");
        return wrong(ini, err);
    }
    if (value && unquote(ini, &value, err) < 0)
        return -EINVAL;
    const struct option *o = options_find(ini->table, key);
    if (o && check_once(ini, o, key, err) < 0)
        return -EINVAL;
    const char *placed = o && value ? place(ini, o, value) : value;
    if (options_set(ini->table, target, key, placed, err) < 0)
        return wrong(ini, err);
    return 0;
}

static int parse(struct ini *ini, void *target, struct error **err)
{
    char *next = ini->text;
    int r = 0;

    /* What Windows' editors put in front of UTF-8. */
    if (strncmp(next, "\xef\xbb\xbf", 3) == 0)
        next += 3;
    while (r == 0 && next) {
        char *line = next;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        ini->line++;
        line = trim(line);
        if (!*line || *line == '#' || *line == ';')
            continue;
        r = *line == '[' ? section(ini, line, err) : key_line(ini, target, line, err);
    }
    return r;
}

/* ---- the file ---- */

static int read_text(struct ini *ini, struct error **err)
{
    FILE *f = fopen(ini->path, "re");
    int code = errno;

    if (!f) {
        error_set(err, code, "cannot open '%s': %s", ini->path, strerror(code));
        error_hint(err, "a disk image, an ISO or a configuration file is expected there; a kernel "
                        "is given with --kernel");
        return -code;
    }
    ini->text = calloc(1, FILE_MAX_BYTES + 2);
    BUG_ON(!ini->text);
    size_t n = fread(ini->text, 1, FILE_MAX_BYTES + 1, f);
    bool failed = ferror(f);
    code = errno;
    fclose(f);
    if (failed)
        return error_set(err, code, "cannot read configuration file '%s': %s", ini->path,
                         strerror(code));
    if (n > FILE_MAX_BYTES || memchr(ini->text, '\0', n)) {
        error_set(err, EINVAL, "'%s' is not a configuration file", ini->path);
        error_hint(err, "a kernel is given with --kernel");
        return -EINVAL;
    }
    return 0;
}

int ini_load(const char *path, const struct option *table, void *target, struct ini **out,
             struct error **err)
{
    struct ini *ini = calloc(1, sizeof *ini);
    const char *slash = strrchr(path, '/');

    BUG_ON(!ini);
    *out = ini;
    ini->path = path;
    ini->table = table;
    ini->dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    BUG_ON(!ini->dir);
    int r = read_text(ini, err);
    return r < 0 ? r : parse(ini, target, err);
}
