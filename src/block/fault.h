/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.h - a protocol that breaks another one on purpose: for tests.
 *
 * "fault:RULES:NAME" opens NAME and does to its requests what the rules say.
 * RULES is a comma-separated list, possibly empty, of
 *
 *     OP@N[+][=ACTION]      the N-th (from 1; '+': and every later one) OP
 *
 * where OP is read, write, flush, discard, zero, any or change (everything but
 * reads), and ACTION is
 *
 *     EIO ENOSPC EROFS ENOTSUP    that error, and nothing reaches NAME (default EIO)
 *     late                        that error EIO, but the request was carried out
 *     <n>ms                       carried out after that time
 *     torn                        of a write the first half reaches NAME, then EIO
 *     kill                        SIGKILL to this process before it is carried out
 *     tornkill                    both: the first half, then SIGKILL
 *
 * Requests are counted in the order in which they arrive, from the opening on,
 * those of block_open() itself included. Any thread.
 */
#ifndef RING3_BLOCK_FAULT_H
#define RING3_BLOCK_FAULT_H

#include "block/block.h"

/* How many requests of that kind came. `b`: an image over a "fault:" protocol. */
uint64_t block_fault_count(const struct block *b, enum block_op op);
/* From now on other rules, counting from 0. Nothing is in flight. */
int block_fault_rules(struct block *b, const char *rules, struct error **err);

#endif
