/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * offload.h - what a network card does to frames on their way out, in software:
 * filling in checksums (RFC 1071) and cutting a large TCP or UDP payload into
 * segments. Headers and frames are guests' and may say anything; what makes no
 * sense is refused with -EINVAL and nothing is sent.
 */
#ifndef RING3_NET_OFFLOAD_H
#define RING3_NET_OFFLOAD_H

#include "net/net.h"

/* enum net_offloads that this header asks for; all ones when it asks for something
 * that there is not (which nobody takes and offload_finish refuses). */
unsigned offload_needs(const struct net_header *h);

/* Calls `emit` with each complete frame; `frame` is changed. 0, -EINVAL, or -EIO
 * when one was not taken (the rest is not tried). */
int offload_finish(const struct net_header *h, uint8_t *frame, size_t len,
                   bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque);

/* Ones' complement sum, not inverted, of big-endian words; `sum` is one to go on from. */
uint32_t offload_sum(const void *data, size_t len, uint32_t sum);
/* The checksum itself, in host order. */
uint16_t offload_fold(uint32_t sum);

#endif
