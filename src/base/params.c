/* SPDX-License-Identifier: GPL-2.0-or-later */
/* params.c - one comma-separated text against one table. */
#include "base/params.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/strbuf.h"

enum { PARAMS_MAX = 64 };

static void *field(const struct param *p, void *target)
{
    return (char *)target + p->offset;
}

/* The text up to the next single comma, doubled ones made single; *at moves
 * behind it. The caller frees. */
static char *next_word(const char **at)
{
    const char *s = *at;
    char *word = malloc(strlen(s) + 1), *to = word;

    BUG_ON(!word);
    while (*s && (s[0] != ',' || s[1] == ',')) {
        s += s[0] == ',';
        *to++ = *s++;
    }
    *to = 0;
    *at = *s ? s + 1 : s;
    return word;
}

static const struct param *find(const struct param *table, const char *name, size_t len)
{
    for (const struct param *p = table; p->name; p++)
        if (strlen(p->name) == len && memcmp(p->name, name, len) == 0)
            return p;
    return NULL;
}

static int unknown(const struct param *table, const char *word, size_t len, struct error **err)
{
    const char *names[PARAMS_MAX + 1];
    struct strbuf key = {0};
    size_t n = 0;

    strbuf_add(&key, word, len);
    for (const struct param *p = table; p->name; p++) {
        BUG_ON(n == PARAMS_MAX);
        names[n++] = p->name;
    }
    names[n] = NULL;
    error_no_such(err, "key", strbuf_text(&key), names);
    strbuf_fini(&key);
    return -EINVAL;
}

static int set_flag(const struct param *p, void *target, const char *value, struct error **err)
{
    int on = value ? str_parse_bool(value) : 1;

    if (on < 0)
        return error_set(err, EINVAL, "%s=%s: it is either on or off", p->name, value);
    *(bool *)field(p, target) = on;
    return 0;
}

static int set_number(const struct param *p, void *target, const char *value, struct error **err)
{
    uint64_t v;

    if (str_parse_number(value, &v) < 0)
        return error_set(err, EINVAL, "%s=%s is not a number", p->name, value);
    if (v < p->min || v > p->max)
        return error_set(err, EINVAL, "%s=%s is out of range (%" PRIu64 " to %" PRIu64 ")",
                         p->name, value, p->min, p->max);
    *(uint64_t *)field(p, target) = v;
    return 0;
}

static int set_choice(const struct param *p, void *target, const char *value, struct error **err)
{
    struct strbuf all = {0};

    for (unsigned i = 0; p->choices[i]; i++) {
        if (strcmp(p->choices[i], value) == 0) {
            *(unsigned *)field(p, target) = i;
            strbuf_fini(&all);
            return 0;
        }
        strbuf_addf(&all, "%s%s", i ? ", " : "", p->choices[i]);
    }
    error_set(err, EINVAL, "%s=%s is not one of %s", p->name, value, strbuf_text(&all));
    strbuf_fini(&all);
    return -EINVAL;
}

static void add_to_list(struct param_list *list, const char *value)
{
    list->item = realloc(list->item, (list->count + 1) * sizeof *list->item);
    BUG_ON(!list->item);
    list->item[list->count] = strdup(value);
    BUG_ON(!list->item[list->count]);
    list->count++;
}

static void set_string(char **to, const char *value)
{
    free(*to);
    *to = strdup(value);
    BUG_ON(!*to);
}

static int set(const struct param *p, void *target, const char *value, struct error **err)
{
    if (p->type == PARAM_FLAG)
        return set_flag(p, target, value, err);
    if (!value || !*value)
        return error_set(err, EINVAL, "%s needs a value (%s=...)", p->name, p->name);
    switch (p->type) {
    case PARAM_STRING:
        set_string(field(p, target), value);
        return 0;
    case PARAM_LIST:
        add_to_list(field(p, target), value);
        return 0;
    case PARAM_SIZE:
        if (str_parse_size(value, field(p, target)) == 0)
            return 0;
        error_set(err, EINVAL, "%s=%s is not a size", p->name, value);
        error_hint(err, "write a number, with K, M, G or T for units");
        return -EINVAL;
    case PARAM_NUMBER:
        return set_number(p, target, value, err);
    case PARAM_CHOICE:
        return set_choice(p, target, value, err);
    case PARAM_FLAG:
        break;
    }
    BUG("parameter of no type");
}

/* `first`: the word may be the operand. A word with '=' whose part before it is
 * no key is an operand, too: file names may contain one. */
static int take_word(const struct param *table, void *target, const char *word, bool first,
                     uint64_t *seen, struct error **err)
{
    size_t len = strcspn(word, "=");
    const struct param *p = find(table, word, len);
    const char *value = word[len] ? word + len + 1 : NULL;

    if (first && table->operand && (!p || (!value && p->type != PARAM_FLAG))) {
        p = table;
        value = word;
    }
    if (!p)
        return unknown(table, word, len, err);
    uint64_t bit = 1ull << (p - table);
    if (*seen & bit && p->type != PARAM_LIST)
        return error_set(err, EINVAL, "%s is given twice", p->name);
    *seen |= bit;
    return set(p, target, value, err);
}

int params_parse(const struct param *table, void *target, const char *text, struct error **err)
{
    uint64_t seen = 0;
    bool first = true;
    int rc = 0;

    while (*text && !rc) {
        char *word = next_word(&text);

        rc = take_word(table, target, word, first, &seen, err);
        free(word);
        first = false;
    }
    return rc;
}

void params_fini(const struct param *table, void *target)
{
    for (const struct param *p = table; p->name; p++) {
        if (p->type == PARAM_STRING) {
            char **s = field(p, target);

            free(*s);
            *s = NULL;
        } else if (p->type == PARAM_LIST) {
            struct param_list *list = field(p, target);

            while (list->count)
                free(list->item[--list->count]);
            free(list->item);
            *list = (struct param_list){0};
        }
    }
}

void params_describe(const struct param *table, struct strbuf *out)
{
    for (const struct param *p = table; p->name; p++)
        strbuf_addf(out, "    %-11s %s\n", p->name, p->help ? p->help : "");
}
