/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - what one can ask of a running machine, as lines of text.
 *
 * The monitor prompt of the console speaks this language. Nothing here knows a
 * terminal: a line goes in, text comes out. Commands run in the machine's loop
 * thread, without the VM lock (work posted with loop_post is the place).
 *
 * Adding a command is adding a row to one of the tables in command.c.
 */
#ifndef RING3_CONTROL_COMMAND_H
#define RING3_CONTROL_COMMAND_H

#include "base/types.h"

struct error;
struct machine;
struct strbuf;

enum { COMMAND_ARGS_MAX = 16 };

struct command {
    const char *name;
    const char *args;        /* "/NFU ADDRESS", or "" */
    const char *help;
    /* argv[0] is the name. 0, or -errno after appending a line that says what
     * was wrong. */
    int (*run)(struct machine *m, int argc, char **argv, struct strbuf *out);
};

extern const struct command command_table[];         /* ends with a NULL name */
extern const struct command command_info_table[];    /* the words after `info` */

/* Runs one line; an empty one does nothing. The text to show is appended to
 * `out`, complete lines. 0 or -errno. */
int command_execute(struct machine *m, const char *line, struct strbuf *out);

/* The same with words already taken apart: argc from 1 to COMMAND_ARGS_MAX. */
int command_run(struct machine *m, int argc, char **argv, struct strbuf *out);

/* Room-internal: one line of complaint; returns -EINVAL. */
int command_refuse(struct strbuf *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room-internal, examine.c: `x` and `xp`. */
int command_examine(struct machine *m, int argc, char **argv, struct strbuf *out);
/* Room-internal, examine.c: "0x1000", "$rip+8"; -EINVAL. */
struct x86_state;
int command_address(const char *text, const struct x86_state *s, uint64_t *result);
/* Room-internal, debug.c. */
int command_explain(struct machine *m, int argc, char **argv, struct strbuf *out);
int command_step(struct machine *m, int argc, char **argv, struct strbuf *out);
int command_break(struct machine *m, int argc, char **argv, struct strbuf *out);
int command_watch(struct machine *m, int argc, char **argv, struct strbuf *out);
int command_delete(struct machine *m, int argc, char **argv, struct strbuf *out);
/* Room-internal, keys.c: `keys` and `mouse`. */
int command_keys(struct machine *m, int argc, char **argv, struct strbuf *out);
int command_mouse(struct machine *m, int argc, char **argv, struct strbuf *out);
/* Room-internal: appends what a failure says, as a line, and frees it; returns -errno. */
int command_failed(struct strbuf *out, struct error **err);

#endif
