/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.c - walking argv with an option table in hand. */
#include "cli/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/strbuf.h"

enum { NAME_MAX_BYTES = 63, TABLE_MAX = 64, HELP_COLUMN = 30 };

static const char no_prefix[] = "no-";

void option_list_fini(struct option_list *list)
{
    free(list->item);
    *list = (struct option_list){0};
}

/* The row called name[0..len), or for a flag its opposite (*negated). */
static const struct option *find(const struct option *table, const char *name, size_t len,
                                 bool *negated)
{
    const size_t no_len = sizeof no_prefix - 1;

    *negated = false;
    for (const struct option *o = table; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    *negated = true;
    for (const struct option *o = table; o->name; o++) {
        if (o->type != OPTION_FLAG)
            continue;
        bool row_says_no = strncmp(o->name, no_prefix, no_len) == 0;
        if (row_says_no && strlen(o->name) == len + no_len &&
            memcmp(o->name + no_len, name, len) == 0)
            return o;
        if (!row_says_no && strlen(o->name) + no_len == len &&
            strncmp(name, no_prefix, no_len) == 0 &&
            memcmp(name + no_len, o->name, len - no_len) == 0)
            return o;
    }
    return NULL;
}

const struct option *options_find(const struct option *table, const char *name)
{
    bool negated;

    return find(table, name, strlen(name), &negated);
}

/* The option with the name closest to word, or NULL. `also` may be NULL. */
static const char *closest(const struct option *table, const char *word, const char *also)
{
    const char *names[TABLE_MAX + 2];
    size_t n = 0;

    for (const struct option *o = table; o->name; o++) {
        BUG_ON(n == TABLE_MAX);
        names[n++] = o->name;
    }
    names[n++] = also;
    names[n] = NULL;
    return str_closest(word, names);
}

static int unknown_option(const struct option *table, const char *arg, size_t len,
                          struct error **err)
{
    char word[NAME_MAX_BYTES + 1];

    snprintf(word, sizeof word, "%.*s", (int)len, arg + strspn(arg, "-"));
    word[strcspn(word, "=")] = '\0';
    const char *close = closest(table, word, "help");
    error_set(err, EINVAL, "there is no option '%.*s'", (int)strcspn(arg, "="), arg);
    if (close)
        error_hint(err, "did you mean '--%s'?", close);
    else
        error_hint(err, "--help lists them");
    return -EINVAL;
}

/* Is `arg` an option of this table? Then it is hardly meant as a value. */
static bool is_option(const struct option *table, const char *arg)
{
    bool negated;

    if (strncmp(arg, "--", 2) != 0)
        return false;
    return strcmp(arg, "--help") == 0 || find(table, arg + 2, strcspn(arg + 2, "="), &negated);
}

static bool choice_has(const char *choices, const char *word)
{
    size_t len = strlen(word);

    for (const char *c = choices; *c; c += *c == '|') {
        size_t n = strcspn(c, "|");
        if (n == len && memcmp(c, word, n) == 0)
            return true;
        c += n;
    }
    return false;
}

static void list_append(struct option_list *list, const char *value)
{
    list->item = realloc(list->item, (list->count + 2) * sizeof *list->item);
    BUG_ON(!list->item);
    list->item[list->count++] = value;
    list->item[list->count] = NULL;
}

/* `dashes` is how the name is written where it came from: "--" or "". */
static int store_number(const struct option *o, void *to, const char *value,
                        const char *dashes, struct error **err)
{
    uint64_t v;

    if (str_parse_number(value, &v) < 0)
        return error_set(err, EINVAL, "%s%s: '%s' is not a number", dashes, o->name, value);
    if (v < o->min || v > o->max)
        return error_set(err, EINVAL, "%s%s: %s is out of range (%" PRIu64 " to %" PRIu64 ")",
                         dashes, o->name, value, o->min, o->max);
    *(uint64_t *)to = v;
    return 0;
}

static int store(const struct option *o, void *target, const char *value, const char *dashes,
                 struct error **err)
{
    void *to = (char *)target + o->offset;

    switch (o->type) {
    case OPTION_FLAG:
        BUG("a flag has no value");
    case OPTION_STRING:
    case OPTION_LIST:
        if (!*value)
            return error_set(err, EINVAL, "%s%s: the %s is empty", dashes, o->name, o->metavar);
        if (o->type == OPTION_LIST)
            list_append(to, value);
        else
            *(const char **)to = value;
        return 0;
    case OPTION_TEXT:
        *(const char **)to = value;
        return 0;
    case OPTION_SIZE:
        if (str_parse_size(value, to) == 0)
            return 0;
        error_set(err, EINVAL, "%s%s: '%s' is not a size", dashes, o->name, value);
        error_hint(err, "write a number, with K, M, G or T for units");
        return -EINVAL;
    case OPTION_NUMBER:
        return store_number(o, to, value, dashes, err);
    case OPTION_CHOICE:
        if (!choice_has(o->metavar, value))
            return error_set(err, EINVAL, "%s%s: '%s' is not one of %s", dashes, o->name, value,
                             o->metavar);
        *(const char **)to = value;
        return 0;
    }
    BUG("option of no type");
}

int options_set(const struct option *table, void *target, const char *name, const char *value,
                struct error **err)
{
    bool negated;
    const struct option *o = find(table, name, strlen(name), &negated);

    if (!o) {
        const char *close = closest(table, name, NULL);
        error_set(err, EINVAL, "there is no key '%s'", name);
        if (close)
            error_hint(err, "did you mean '%s'?", close);
        else
            error_hint(err, "every option of 'ring3 run' is one; --help lists them");
        return -EINVAL;
    }
    if (o->type != OPTION_FLAG) {
        if (!value)
            return error_set(err, EINVAL, "%s needs a value (%s)", name, o->metavar);
        return store(o, target, value, "", err);
    }
    int on = value ? str_parse_bool(value) : 1;
    if (on < 0)
        return error_set(err, EINVAL, "%s: '%s' is neither yes nor no", name, value);
    *(bool *)((char *)target + o->offset) = (on == 1) != negated;
    return 0;
}

/* An argument that is no option: the operand, where one is allowed. */
static int take_operand(const char *arg, const char **operand, struct error **err)
{
    if (operand && !*operand && *arg) {
        *operand = arg;
        return 0;
    }
    error_set(err, EINVAL, "unexpected argument '%s'", arg);
    if (operand && *operand)
        error_hint(err, "there is '%s' already, and one is enough", *operand);
    else
        error_hint(err, "everything is an option here; --help lists them");
    return -EINVAL;
}

/* argv[*i] is "--name[=value]". */
static int parse_one(const struct option *table, void *target, int argc, char **argv, int *i,
                     struct error **err)
{
    const char *arg = argv[*i], *name = arg + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    bool negated;

    const struct option *o = find(table, name, len, &negated);
    if (!o)
        return unknown_option(table, arg, len, err);
    if (o->type == OPTION_FLAG) {
        if (equals)
            return error_set(err, EINVAL, "--%.*s takes no value", (int)len, name);
        *(bool *)((char *)target + o->offset) = !negated;
        return 0;
    }
    if (equals)
        return store(o, target, equals + 1, "--", err);
    if (*i + 1 == argc || is_option(table, argv[*i + 1]))
        return error_set(err, EINVAL, "--%s needs a value (%s)", o->name, o->metavar);
    return store(o, target, argv[++*i], "--", err);
}

static int parse(const struct option *table, void *target, int argc, char **argv,
                 const char **operand, struct error **err)
{
    bool only_operands = false;

    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        int r;
        if (only_operands)
            r = take_operand(arg, operand, err);
        else if (strcmp(arg, "--help") == 0)
            return OPTIONS_HELP;
        else if (strcmp(arg, "--") == 0) {
            only_operands = true;
            continue;
        } else if (arg[0] != '-' || arg[1] == '\0')
            r = take_operand(arg, operand, err);
        else if (arg[1] != '-')
            r = unknown_option(table, arg, strlen(arg), err);
        else
            r = parse_one(table, target, argc, argv, &i, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int options_parse(const struct option *table, void *target, int argc, char **argv,
                  struct error **err)
{
    return parse(table, target, argc, argv, NULL, err);
}

int options_parse_operand(const struct option *table, void *target, int argc, char **argv,
                          const char **operand, struct error **err)
{
    *operand = NULL;
    return parse(table, target, argc, argv, operand, err);
}

static void help_row(const char *name, const char *metavar, const char *help, struct strbuf *out)
{
    size_t start = out->len;

    strbuf_addf(out, "  --%s%s%s", name, metavar ? " " : "", metavar ? metavar : "");
    for (const char *line = help; *line;) {
        size_t n = strcspn(line, "\n");
        size_t used = out->len - start;
        if (used >= HELP_COLUMN)
            strbuf_addf(out, "\n%*s", HELP_COLUMN, "");
        else
            strbuf_addf(out, "%*s", (int)(HELP_COLUMN - used), "");
        strbuf_addf(out, "%.*s\n", (int)n, line);
        start = out->len;
        line += n + (line[n] == '\n');
    }
}

void options_help(const struct option *table, struct strbuf *out)
{
    for (const struct option *o = table; o && o->name; o++)
        help_row(o->name, o->metavar, o->help, out);
    help_row("help", NULL, "print this text", out);
}
