/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * backing.h - host mappings with a guard page on either side (room-internal).
 *
 * An overrun of guest memory by a bug of ours meets PROT_NONE instead of
 * somebody else's data.
 */
#ifndef RING3_MEMORY_BACKING_H
#define RING3_MEMORY_BACKING_H

#include "base/types.h"

struct error;

/* Refuses what the host cannot back: -ENOMEM, with both figures. Overcommit
 * means that the kernel itself would say yes and kill somebody later. */
int backing_check_host(uint64_t bytes, struct error **err);

/* `fd` shared, or private anonymous memory when fd is -1. NULL with errno. */
uint8_t *backing_map(uint64_t bytes, int fd);
void backing_unmap(uint8_t *p, uint64_t bytes);

#endif
