/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keys.h - what the user's keys mean: Ctrl-A commands, and the line editor of
 * the monitor prompt. Plain state machines; no terminal is touched here.
 */
#ifndef RING3_CLI_KEYS_H
#define RING3_CLI_KEYS_H

#include "base/types.h"

struct strbuf;

enum keys_action {
    KEYS_NOTHING,     /* the first half of a command, or swallowed */
    KEYS_BYTE,        /* an ordinary key: *out is what was typed */
    KEYS_END,         /* Ctrl-A x */
    KEYS_HELP,        /* Ctrl-A h, Ctrl-A ? */
    KEYS_MONITOR,     /* Ctrl-A c */
    KEYS_UNKNOWN,     /* Ctrl-A and something else */
};

struct keys {
    bool escaped;     /* Ctrl-A was the last key */
};

/* Ctrl-A twice, or Ctrl-A a, gives the byte Ctrl-A. */
enum keys_action keys_feed(struct keys *k, uint8_t in, uint8_t *out);

#define KEYS_HELP_TEXT                                  \
    "Ctrl-A x       end the virtual machine\n"          \
    "Ctrl-A c       monitor prompt, and back\n"         \
    "Ctrl-A Ctrl-A  send Ctrl-A to the guest\n"         \
    "Ctrl-A h       this help\n"

enum prompt_event {
    PROMPT_EDITING,
    PROMPT_LINE,      /* Enter: `line` is complete; call prompt_reset after use */
    PROMPT_LEAVE,     /* Enter on an empty line, Ctrl-C, Ctrl-D */
};

enum { PROMPT_LINE_MAX = 256 };

struct prompt {
    char line[PROMPT_LINE_MAX];
    char last[PROMPT_LINE_MAX];      /* what cursor-up brings back */
    size_t len;
    uint8_t escape;                  /* progress in an ESC [ x sequence */
};

/* Appends to `echo` what the terminal is to show. */
enum prompt_event prompt_feed(struct prompt *p, uint8_t in, struct strbuf *echo);
void prompt_reset(struct prompt *p);

#endif
