/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pump.h - output that never makes the writer wait.
 *
 * Guest output and log lines go to descriptors that may be slow or stuck: a
 * terminal stopped with Ctrl-S, a pipe nobody reads. Setting O_NONBLOCK on
 * them is not ours to do, since the open file is shared with the user's shell.
 * So a thread does the blocking writes, and a pipe of our own in front of it
 * is the bounded buffer. What does not fit is dropped and counted.
 */
#ifndef RING3_CLI_PUMP_H
#define RING3_CLI_PUMP_H

#include "base/types.h"

struct error;
struct pump;

enum { PUMP_BYTES = 1 << 20 };

struct pump_events {
    /* Called in the pump's thread, each at most once. Either may be NULL. */
    void (*failed)(void *opaque, int error);    /* write(2) failed; the rest is discarded */
    void (*dropped)(void *opaque);              /* the reader is back, some bytes are lost */
    void *opaque;
};

/* `fd` stays the caller's and open until pump_free. */
struct pump *pump_new(int fd, const struct pump_events *events, struct error **err);

/* Any thread; never blocks. Blocks of up to PIPE_BUF go through whole or not at all. */
void pump_write(struct pump *p, const void *data, size_t len);

/* For those who write by themselves (struct log): the same, as a descriptor. */
int pump_fd(struct pump *p);

uint64_t pump_dropped_bytes(const struct pump *p);

/* Waits for what is on its way, but not for a reader that takes nothing for a
 * second; such a pump is left to the end of the process. NULL is fine. */
void pump_free(struct pump *p);

#endif
