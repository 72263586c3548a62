/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - long options from a table.
 *
 * A row says everything about an option: parsing, checking, --help, the shell
 * completion test and the man page test all read it. Values land in a struct
 * of the caller's at `offset`.
 *
 * Accepted forms: --name value, --name=value; flags --name and --no-name (a
 * flag called no-name also takes --name). The last one wins, except for lists.
 * A value that is itself the name of an option counts as forgotten; with '='
 * anything is a value. A configuration file (cli/ini.h) sets the same options
 * by options_set().
 */
#ifndef RING3_CLI_OPTIONS_H
#define RING3_CLI_OPTIONS_H

#include "base/types.h"

struct error;
struct strbuf;

enum option_type {
    OPTION_FLAG,      /* bool */
    OPTION_STRING,    /* const char *, not empty: points into argv */
    OPTION_TEXT,      /* const char *, may be empty */
    OPTION_LIST,      /* struct option_list, appended to */
    OPTION_SIZE,      /* uint64_t: "512M" */
    OPTION_NUMBER,    /* uint64_t in [min, max]: decimal or 0x... */
    OPTION_CHOICE,    /* const char *: one of the words in metavar, "a|b|c" */
};

struct option {
    const char *name;        /* without the dashes; NULL ends the table */
    const char *metavar;     /* "FILE"; NULL for flags */
    const char *help;        /* one line, or more separated by newlines */
    enum option_type type;
    size_t offset;
    uint64_t min, max;       /* OPTION_NUMBER */
    /* Where the value names host files, for cli/ini.h, which has to place them:
     * "*": all of it, unless it is one of metavar's words in small letters;
     * ":": the beginning; or of a value with commas the words named here with
     * '|' between: "," is a first word that has no key, "key" is "key=FILE". */
    const char *paths;
};

struct option_list {
    const char **item;       /* NULL-terminated once there is one */
    size_t count;
};
void option_list_fini(struct option_list *list);

enum { OPTIONS_HELP = 1 };

/* argv[0] is skipped. 0; OPTIONS_HELP when --help was among them; -EINVAL with
 * a message (did-you-mean included). There are no operands. */
int options_parse(const struct option *table, void *target, int argc, char **argv,
                  struct error **err);

/* The same with one operand at most, before, between or after the options or
 * behind "--". *operand points into argv; NULL when there is none. */
int options_parse_operand(const struct option *table, void *target, int argc, char **argv,
                          const char **operand, struct error **err);

/* Sets one option by its bare name, as --name=value does; `value` must live as
 * long as the target. NULL stands for no value at all, which only a flag can do
 * with; a flag also takes yes, no, on, off, true and false. Messages begin with
 * the bare name. */
int options_set(const struct option *table, void *target, const char *name, const char *value,
                struct error **err);

/* The row of that bare name, the opposite of a flag included; or NULL. */
const struct option *options_find(const struct option *table, const char *name);

void options_help(const struct option *table, struct strbuf *out);


#endif
