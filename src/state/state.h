/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h - what can be done with a state table: save, load, print, compare,
 * digest. No knowledge of what the state means.
 *
 * Stream form of one section: section name, version, then per field its name,
 * type, element count and little-endian data, so that a stream can be read by
 * a version with other fields (the bytes: state.c). Loading is all or nothing:
 * the whole section is checked before the first field is written.
 */
#ifndef RING3_STATE_STATE_H
#define RING3_STATE_STATE_H

#include "base/state_desc.h"

struct error;
struct strbuf;

/* Appends the section to `out` (binary). */
void state_save(const struct state_desc *d, const void *state, const char *section,
                struct strbuf *out);
/* Reads one section from data[0..len); *used = bytes consumed. Fields that the
 * stream lacks keep their present value if their `since` is newer than the
 * stream, else -EINVAL. Fields that the table lacks are skipped when the stream
 * is older (dropped since), -EINVAL at the same version, -ENOTSUP when it is
 * newer. The message names section and field. */
int state_load(const struct state_desc *d, void *state, const char *section,
               const void *data, size_t len, size_t *used, struct error **err);
void state_print(const struct state_desc *d, const void *state, struct strbuf *out);
/* One line per differing field "name: a -> b"; returns how many. */
unsigned state_diff(const struct state_desc *d, const void *a, const void *b,
                    struct strbuf *out);
uint64_t state_digest(const struct state_desc *d, const void *state);
/* Fills every described field from a seed; for tests. */
void state_scramble(const struct state_desc *d, void *state, uint64_t seed);

#endif
