/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frames.h - room-internal: frames that the device had no room for, in order.
 * Bounded; a zeroed one is empty.
 */
#ifndef RING3_NET_FRAMES_H
#define RING3_NET_FRAMES_H

#include "net/net.h"

struct frame;
struct frames { struct frame *first, *last; size_t bytes; };

/* False, and nothing kept, when that would be more than `max_bytes` in all. */
bool frames_add(struct frames *q, const struct net_header *h, const struct iovec *iov,
                unsigned iovs, size_t max_bytes);
/* Passes on what the device takes; true when nothing is left. */
bool frames_flush(struct frames *q, struct net *n, unsigned queue);
void frames_fini(struct frames *q);

#endif
