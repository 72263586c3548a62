/* SPDX-License-Identifier: GPL-2.0-or-later */
/* strbuf.c - growing text, closest words, sizes with binary suffixes. */
#include "base/strbuf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

/* Room for `more` characters and the NUL. */
static void reserve(struct strbuf *sb, size_t more)
{
    size_t need = sb->len + more + 1;

    BUG_ON(need <= more);
    if (need <= sb->cap)
        return;
    size_t cap = sb->cap ? sb->cap : 64;
    while (cap < need) {
        BUG_ON(cap > SIZE_MAX / 2);
        cap *= 2;
    }
    sb->text = realloc(sb->text, cap);
    BUG_ON(!sb->text);
    sb->cap = cap;
}

void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    /* gcc 12 cannot see that fmt is not NULL when sanitizing. */
    int len = fmt ? vsnprintf(NULL, 0, fmt, ap) : -1;
    va_end(ap);
    BUG_ON(len < 0);
    reserve(sb, (size_t)len);
    va_start(ap, fmt);
    vsnprintf(sb->text + sb->len, (size_t)len + 1, fmt, ap);
    va_end(ap);
    sb->len += (size_t)len;
}

void strbuf_add(struct strbuf *sb, const void *data, size_t len)
{
    reserve(sb, len);
    if (len)
        memcpy(sb->text + sb->len, data, len);
    sb->len += len;
    sb->text[sb->len] = '\0';
}

const char *strbuf_text(const struct strbuf *sb)
{
    return sb->text ? sb->text : "";
}

void strbuf_clear(struct strbuf *sb)
{
    sb->len = 0;
    if (sb->text)
        sb->text[0] = '\0';
}

void strbuf_fini(struct strbuf *sb)
{
    free(sb->text);
    *sb = (struct strbuf){0};
}

enum { WORD_MAX = 63 };

/* Edit distance with adjacent transpositions counted once ("optimal string
 * alignment"): swapped letters are the commonest slip of the fingers. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned row[3][WORD_MAX + 1];
    unsigned *before = row[0], *above = row[1], *now = row[2];

    for (size_t j = 0; j <= nb; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        unsigned *spare = before;
        before = above;
        above = now;
        now = spare;
    }
    return above[nb];
}

const char *str_closest(const char *word, const char *const *words)
{
    size_t len = strlen(word);
    /* A third of the word wrong is a slip; more is another word. */
    unsigned limit = len < 3 ? 1 : (unsigned)(len + 2) / 3;
    const char *found = NULL;

    if (len == 0 || len > WORD_MAX)
        return NULL;
    for (; *words; words++) {
        size_t n = strlen(*words);
        if (n > WORD_MAX)
            continue;
        unsigned d = distance(word, len, *words, n);
        if (d <= limit && d < n) {
            found = *words;
            limit = d ? d - 1 : 0;
            if (d == 0)
                break;
        }
    }
    return found;
}

int str_parse_size(const char *text, uint64_t *bytes)
{
    static const char suffixes[] = "KMGT";
    uint64_t v = 0;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
            return -EINVAL;
    if (*text) {
        char upper = (char)(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
        const char *s = strchr(suffixes, upper);
        if (!s || text[1])
            return -EINVAL;
        unsigned shift = 10 * (unsigned)(s - suffixes + 1);
        if (v > UINT64_MAX >> shift)
            return -EINVAL;
        v <<= shift;
    }
    *bytes = v;
    return 0;
}

int str_parse_number(const char *text, uint64_t *value)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hex ? text + 2 : text;
    const char *allowed = hex ? "0123456789abcdefABCDEF" : "0123456789";

    if (!*digits || strspn(digits, allowed) != strlen(digits))
        return -EINVAL;
    errno = 0;
    unsigned long long v = strtoull(digits, NULL, hex ? 16 : 10);
    if (errno)
        return -EINVAL;
    *value = v;
    return 0;
}

int str_parse_bool(const char *text)
{
    static const char *const yes[] = {"yes", "on", "true", "1"};
    static const char *const no[] = {"no", "off", "false", "0"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (strcmp(text, yes[i]) == 0)
            return 1;
        if (strcmp(text, no[i]) == 0)
            return 0;
    }
    return -EINVAL;
}
