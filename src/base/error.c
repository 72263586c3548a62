/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * error.c - building and telling error chains.
 *
 * File names and command lines end up in messages, so error_text() makes sure
 * that whatever they contain, the user sees one line.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/strbuf.h"

static char *format(const char *fmt, va_list ap)
{
    char *text;

    BUG_ON(vasprintf(&text, fmt, ap) < 0);
    return text;
}

int error_set(struct error **err, int code, const char *fmt, ...)
{
    va_list ap;

    BUG_ON(code <= 0);
    if (!err)
        return -code;
    BUG_ON(*err);
    struct error *e = calloc(1, sizeof *e);
    BUG_ON(!e);
    e->code = code;
    va_start(ap, fmt);
    e->what = format(fmt, ap);
    va_end(ap);
    *err = e;
    return -code;
}

int error_wrap(struct error **err, const char *fmt, ...)
{
    va_list ap;
    char *whole;

    if (!err || !*err)
        return -EIO;
    va_start(ap, fmt);
    char *context = format(fmt, ap);
    va_end(ap);
    BUG_ON(asprintf(&whole, "%s: %s", context, (*err)->what) < 0);
    free(context);
    free((*err)->what);
    (*err)->what = whole;
    return -(*err)->code;
}

void error_hint(struct error **err, const char *fmt, ...)
{
    va_list ap;

    if (!err || !*err)
        return;
    va_start(ap, fmt);
    char *hint = format(fmt, ap);
    va_end(ap);
    free((*err)->hint);
    (*err)->hint = hint;
}

char *error_text(const struct error *err)
{
    struct strbuf sb = {0};

    strbuf_add(&sb, err->what, strlen(err->what));
    if (err->hint)
        strbuf_addf(&sb, "; %s", err->hint);
    for (size_t i = 0; i < sb.len; i++)
        if ((unsigned char)sb.text[i] < ' ' || sb.text[i] == 0x7f)
            sb.text[i] = '?';
    if (!sb.text)
        strbuf_add(&sb, "", 0);
    return sb.text;
}

void error_free(struct error **err)
{
    if (!err || !*err)
        return;
    free((*err)->what);
    free((*err)->hint);
    free(*err);
    *err = NULL;
}

int error_no_such(struct error **err, const char *what, const char *word,
                  const char *const *names)
{
    const char *close = str_closest(word, names);
    struct strbuf all = {0};

    error_set(err, EINVAL, "there is no %s '%s'", what, word);
    for (size_t i = 0; names[i]; i++)
        strbuf_addf(&all, "%s%s", i ? ", " : "", names[i]);
    if (close)
        error_hint(err, "did you mean '%s'?", close);
    else
        error_hint(err, "there are: %s", strbuf_text(&all));
    strbuf_fini(&all);
    return -EINVAL;
}
