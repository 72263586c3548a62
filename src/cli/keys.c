/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys.c - see keys.h. */
#include "cli/keys.h"

#include <string.h>

#include "base/strbuf.h"

enum { CTRL_A = 1, CTRL_C = 3, CTRL_D = 4, BACKSPACE = 8, CTRL_U = 21, ESC = 27, DELETE = 127 };

enum keys_action keys_feed(struct keys *k, uint8_t in, uint8_t *out)
{
    if (!k->escaped) {
        if (in == CTRL_A) {
            k->escaped = true;
            return KEYS_NOTHING;
        }
        *out = in;
        return KEYS_BYTE;
    }
    k->escaped = false;
    switch (in) {
    case CTRL_A:
    case 'a':
        *out = CTRL_A;
        return KEYS_BYTE;
    case 'x':
        return KEYS_END;
    case 'h':
    case '?':
        return KEYS_HELP;
    case 'c':
        return KEYS_MONITOR;
    }
    return KEYS_UNKNOWN;
}

static void rub_out(struct prompt *p, size_t count, struct strbuf *echo)
{
    for (; count && p->len; count--) {
        p->len--;
        strbuf_addf(echo, "\b \b");
    }
}

static void type(struct prompt *p, uint8_t c, struct strbuf *echo)
{
    if (c < ' ' || c > '~' || p->len + 1 == sizeof p->line)
        return;
    p->line[p->len++] = (char)c;
    strbuf_addf(echo, "%c", c);
}

/* ESC [ parameters letter: only cursor-up does anything. */
static void feed_escape(struct prompt *p, uint8_t in, struct strbuf *echo)
{
    if (p->escape == ESC) {
        p->escape = in == '[' || in == 'O' ? '[' : 0;
        return;
    }
    if (in < 0x40)
        return;
    p->escape = 0;
    if (in == 'A') {
        rub_out(p, p->len, echo);
        for (const char *c = p->last; *c; c++)
            type(p, (uint8_t)*c, echo);
    }
}

enum prompt_event prompt_feed(struct prompt *p, uint8_t in, struct strbuf *echo)
{
    if (p->escape) {
        feed_escape(p, in, echo);
        return PROMPT_EDITING;
    }
    switch (in) {
    case '\r':
    case '\n':
        strbuf_addf(echo, "\n");
        p->line[p->len] = '\0';
        if (p->len)
            memcpy(p->last, p->line, p->len + 1);
        return p->len ? PROMPT_LINE : PROMPT_LEAVE;
    case CTRL_C:
    case CTRL_D:
        strbuf_addf(echo, "\n");
        return PROMPT_LEAVE;
    case BACKSPACE:
    case DELETE:
        rub_out(p, 1, echo);
        break;
    case CTRL_U:
        rub_out(p, p->len, echo);
        break;
    case ESC:
        p->escape = ESC;
        break;
    default:
        type(p, in, echo);
    }
    return PROMPT_EDITING;
}

void prompt_reset(struct prompt *p)
{
    p->len = 0;
    p->escape = 0;
}
