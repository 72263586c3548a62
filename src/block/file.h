/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file.h - what the parts of the file protocol share: file.c (requests),
 * file_open.c (opening, sizes), file_space.c (holes and zeroes), file_lock.c.
 */
#ifndef RING3_BLOCK_FILE_H
#define RING3_BLOCK_FILE_H

#include "block/node.h"

struct file {
    int fd;
    bool is_device;              /* a block device: as long as it is */
    uint64_t device_bytes;
    uint32_t best_align;
    /* O_DIRECT only, else both 1: what the kernel wants offsets and lengths, and buffers,
     * to be multiples of. */
    uint32_t align, memory_align;
    /* Held while a piece of an aligned block is changed, by reading it and writing it back
     * or by zeroing a part: two that touch one block must not interleave. */
    pthread_mutex_t partial;
    /* After a failed sync the kernel counts the pages it lost as clean: no later sync is
     * to be believed. */
    atomic_bool sync_failed;
};

/* -ENOSPC for all the ways of being out of space. */
int file_errno(int code);
bool file_aligned(const struct file *f, uint64_t offset, uint64_t bytes);
uint64_t file_bytes(const struct file *f);

int file_open(struct block *b, const struct block_open *how, struct error **err);
int file_make(const char *name, bool replace, struct error **err);
void file_unmake(const char *name);
int file_resize(struct block *b, uint64_t bytes, struct error **err);
int file_map(struct block *b, uint64_t offset, uint64_t bytes, struct block_extent *out);
void file_describe(struct block *b, block_fact_fn *fn, void *opaque);

/* Write through whatever the alignment: file.c's, for file_space.c. */
int file_write(struct file *f, const struct block_request *r);
int file_zero(struct block *b, const struct block_request *r);
int file_discard(struct block *b, const struct block_request *r);

/* Claims the file for writing or for reading. See file_lock.c. */
int file_lock(int fd, const char *name, bool write, struct log *log, struct error **err);

#endif
