/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * params.h - "FILE,key=value,flag": the little language of --disk, --net and
 * their kin, read with a table in hand.
 *
 * A row per key, as for options (cli/options.h). The first word may be an
 * operand without a key (a file name, a kind): then the table's first row is
 * the one it lands in, and that row has `operand` set. A comma inside a value
 * is written twice. Flags are "key", "key=on" or "key=off". A key given twice
 * is an error, as is an unknown one (with a did-you-mean).
 *
 *     struct disk { char *path; bool readonly; uint64_t size; };
 *     static const struct param table[] = {
 *         {"file", PARAM_STRING, offsetof(struct disk, path), .operand = true},
 *         {"readonly", PARAM_FLAG, offsetof(struct disk, readonly)},
 *         {"size", PARAM_SIZE, offsetof(struct disk, size)},
 *         {NULL},
 *     };
 *     rc = params_parse(table, &disk, "a.qcow2,readonly", &err);
 *     ...
 *     params_fini(table, &disk);
 */
#ifndef RING3_BASE_PARAMS_H
#define RING3_BASE_PARAMS_H

#include "base/types.h"

struct error;
struct strbuf;

enum param_type {
    PARAM_FLAG,      /* bool */
    PARAM_STRING,    /* char *, not empty, owned by the struct */
    PARAM_SIZE,      /* uint64_t: "512M" */
    PARAM_NUMBER,    /* uint64_t in [min, max] */
    PARAM_CHOICE,    /* unsigned: index of the word in `choices` */
    PARAM_LIST,      /* struct param_list: the one kind of key that may come again */
};

struct param {
    const char *name;            /* NULL ends the table */
    enum param_type type;
    size_t offset;
    bool operand;                /* first row only */
    const char *const *choices;  /* PARAM_CHOICE: NULL-terminated */
    uint64_t min, max;           /* PARAM_NUMBER */
    const char *help;            /* what it is, for the user */
};

struct param_list {
    char **item;
    size_t count;
};

/* Values not named keep what they were (set defaults first; strings start as
 * NULL). On failure, too, params_fini() is due. -EINVAL with a message. */
int params_parse(const struct param *table, void *target, const char *text, struct error **err);
void params_fini(const struct param *table, void *target);    /* frees strings and lists */
/* The keys and what they are, a line each, indented. */
void params_describe(const struct param *table, struct strbuf *out);

#endif
