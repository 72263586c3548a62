/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * strbuf.h - text that grows. Always NUL-terminated; a zeroed one is empty.
 * Out of memory is a BUG (small texts only: dumps, messages, tables).
 */
#ifndef RING3_BASE_STRBUF_H
#define RING3_BASE_STRBUF_H

#include "base/types.h"

struct strbuf { char *text; size_t len, cap; };

void strbuf_addf(struct strbuf *sb, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_add(struct strbuf *sb, const void *data, size_t len);
const char *strbuf_text(const struct strbuf *sb);   /* "" when empty */
void strbuf_clear(struct strbuf *sb);               /* keeps the allocation */
void strbuf_fini(struct strbuf *sb);

/* The candidate closest to `word` by edit distance, or NULL when none is close
 * enough to suggest. `words` ends with NULL. For "did you mean" lines. */
const char *str_closest(const char *word, const char *const *words);

/* "512M", "1G", "4096": binary suffixes K M G T. -EINVAL on anything else,
 * overflow included. */
int str_parse_size(const char *text, uint64_t *bytes);
/* Decimal or 0x hexadecimal, nothing else. 0 or -EINVAL. */
int str_parse_number(const char *text, uint64_t *value);
/* yes, on, true, 1: 1; no, off, false, 0: 0; else -EINVAL. */
int str_parse_bool(const char *text);

#endif
