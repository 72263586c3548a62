/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c - one line, one write(2).
 *
 * Lines are built on the stack, so logging allocates nothing and needs no
 * lock. The process is expected to ignore SIGPIPE (cli/main.c does): a sink
 * that has gone away then only makes write() fail, which is not worth a word.
 */
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"

enum { LINE_MAX_BYTES = 1024 };

static const char *const category_names[LOG_CATEGORY_COUNT + 1] = {
#define X(id, name, help) name,
    LOG_TRACE_CATEGORIES(X)
#undef X
};

void log_init(struct log *log, int fd)
{
    *log = (struct log){.fd = fd};
}

static void put_line(struct log *log, const char *prefix, const char *fmt, va_list ap)
{
    char line[LINE_MAX_BYTES];
    int saved = errno;

    if (log->fd < 0)
        return;
    int n = snprintf(line, sizeof line, "%s", prefix);
    size_t at = (size_t)n;
    n = vsnprintf(line + at, sizeof line - at, fmt, ap);
    if (n < 0)
        n = 0;
    at += (size_t)n;
    if (at > sizeof line - 1) {
        at = sizeof line - 1;
        memcpy(line + at - 3, "...", 3);
    }
    line[at++] = '\n';
    ssize_t ignored = write(log->fd, line, at);
    (void)ignored;
    errno = saved;
}

void log_warn(struct log *log, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_line(log, "ring3: warning: ", fmt, ap);
    va_end(ap);
}

void log_info(struct log *log, const char *fmt, ...)
{
    va_list ap;

    if (log->quiet)
        return;
    va_start(ap, fmt);
    put_line(log, "ring3: ", fmt, ap);
    va_end(ap);
}

void log_guest(struct log *log, struct log_limit *limit, const char *fmt, ...)
{
    enum { FREE_LINES = 10 };
    char prefix[64];
    va_list ap;

    uint32_t n = atomic_fetch_add_explicit(&limit->printed, 1, memory_order_relaxed) + 1;
    if (n > FREE_LINES && (n & (n - 1)) != 0)
        return;
    if (n <= FREE_LINES)
        snprintf(prefix, sizeof prefix, "ring3: guest: ");
    else
        snprintf(prefix, sizeof prefix, "ring3: guest: (%u times by now) ", n);
    va_start(ap, fmt);
    put_line(log, prefix, fmt, ap);
    va_end(ap);
}

void log_trace_line(struct log *log, enum log_category cat, const char *fmt, ...)
{
    char prefix[32];
    va_list ap;

    snprintf(prefix, sizeof prefix, "[%s] ", category_names[cat]);
    va_start(ap, fmt);
    put_line(log, prefix, fmt, ap);
    va_end(ap);
}

static int find_category(const char *word, uint32_t *bits)
{
    if (strcmp(word, "all") == 0) {
        *bits = (1u << LOG_CATEGORY_COUNT) - 1;
        return 0;
    }
    for (unsigned i = 0; i < LOG_CATEGORY_COUNT; i++) {
        if (strcmp(word, category_names[i]) == 0) {
            *bits = 1u << i;
            return 0;
        }
    }
    return -EINVAL;
}

int log_parse_categories(const char *text, uint32_t *mask, struct error **err)
{
    uint32_t result = 0, bits;
    char word[64];

    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), at);
        if (find_category(word, &bits) < 0) {
            const char *close = str_closest(word, category_names);
            struct strbuf all = {0};
            for (unsigned i = 0; i < LOG_CATEGORY_COUNT; i++)
                strbuf_addf(&all, "%s, ", category_names[i]);
            error_set(err, EINVAL, "no trace category '%s'", word);
            if (close)
                error_hint(err, "did you mean '%s'?", close);
            else
                error_hint(err, "there are %sall", strbuf_text(&all));
            strbuf_fini(&all);
            return -EINVAL;
        }
        result |= bits;
        at += len;
        if (!*at)
            break;
    }
    *mask = result;
    return 0;
}
