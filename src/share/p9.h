/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * p9.h - a 9P2000.L file server over one host directory: the protocol, and no word
 * about how messages travel.
 *
 * 9P2000.L is 9P2000 (Plan 9's intro(5)) with the messages that Linux' client adds
 * (diod's protocol.md). One message in, one out, in the order they came: nothing is
 * ever pending, so Tflush has nothing to do.
 *
 * The client is hostile. A message that is too short, or longer than it says, gets
 * EPROTO; names, counts and offsets are checked; fids are bounded. share/fs.h keeps it
 * inside the directory. Files show their host owner; what is made belongs to whoever
 * runs ring3. Device nodes and FIFOs are not made, extended attributes not kept.
 *
 * THREADS: one at a time. A request may block for as long as the host's file system
 * does, so the caller is an I/O thread.
 */
#ifndef RING3_SHARE_P9_H
#define RING3_SHARE_P9_H

#include "base/types.h"

struct error;
struct p9;
struct strbuf;

/* Bounds of the message size that a client may agree on, and what a client that agreed
 * on nothing yet may send. */
enum { P9_MESSAGE_MIN = 4096, P9_MESSAGE_MAX = 512 << 10, P9_FIDS_MAX = 65536 };

struct p9 *p9_new(const char *dir, bool readonly, struct error **err);
void p9_free(struct p9 *s);
void p9_reset(struct p9 *s);          /* a new client: forgets every fid */

/* The answer to `in`, in `out` (`cap` bytes). Returns its length; 0 when not even a
 * header was there or `cap` does not hold an error. */
size_t p9_request(struct p9 *s, const uint8_t *in, size_t len, uint8_t *out, size_t cap);

void p9_describe(const struct p9 *s, struct strbuf *out);

#endif
