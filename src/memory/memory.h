/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.h - guest RAM and the guest-physical address space.
 *
 * RAM is one memfd, mapped once, with a PROT_NONE guard page on either side.
 * The address space is a short sorted list of non-overlapping regions; what no
 * region covers belongs to the bus (MMIO). Regions are page-aligned.
 *
 * Ownership: memory_free() unmaps everything it allocated. Engines learn of
 * regions through a listener, replayed for existing regions when added.
 *
 * Threads: the region list changes only while no vCPU runs and with the VM lock and
 * those of all I/O threads held (while the machine is made; later by way of
 * device_env.still, bus/device.h), so lookups take no lock. RAM bytes are shared between
 * guest and host like memory between CPUs; memory_read/write use plain copies
 * (naturally aligned 1-, 2-, 4- and 8-byte accesses are single moves). All of these and
 * memory_written() are for any thread; a listener's `written` is called in that thread.
 */
#ifndef RING3_MEMORY_MEMORY_H
#define RING3_MEMORY_MEMORY_H

#include "base/types.h"

struct error;
struct memory;

enum memory_flags {
    MEMORY_READONLY = 1,     /* guest writes go to the bus (MMIO) */
};

struct memory_region {
    const char *name;        /* static or owned by memory */
    gpa_t base;
    uint64_t size_bytes;
    unsigned flags;
    hva_t host;              /* size_bytes of it */
    int slot;                /* stable small index, for KVM memslots */
    bool owned;              /* `host` goes with the region */
};

struct memory_listener {
    void (*region_added)(void *opaque, const struct memory_region *r);
    void (*region_removed)(void *opaque, const struct memory_region *r);
    /* The host (a loader, DMA) changed RAM: engines that cache code look. */
    void (*written)(void *opaque, gpa_t start, uint64_t size_bytes);
    /* The dirty log was switched; from now on the engine records (or not).
     * Callbacks may be NULL. */
    void (*dirty_logging)(void *opaque, bool on);
    void *opaque;
    struct memory_listener *next;
};

/* Reserves `ram_bytes` (page multiple, > 0) of RAM backing; no region yet.
 * -ENOMEM/-EINVAL with a message that names size and host limit. */
struct memory *memory_new(uint64_t ram_bytes, struct error **err);
void memory_free(struct memory *m);
int memory_fd(const struct memory *m);
uint64_t memory_ram_bytes(const struct memory *m);
hva_t memory_ram_base(const struct memory *m);

/* Shows RAM backing [ram_offset, +size) at `base`. */
int memory_map_ram(struct memory *m, const char *name, gpa_t base, uint64_t ram_offset,
                   uint64_t size_bytes, unsigned flags, struct error **err);
/* A separate anonymous block (ROM, device memory); returns its host address. */
hva_t memory_map_block(struct memory *m, const char *name, gpa_t base, uint64_t size_bytes,
                       unsigned flags, struct error **err);
/*
 * Host memory that regions show and hide again: a frame buffer behind a PCI BAR
 * (pci/pci.h), a ROM that shadow RAM covers. memory_block_new() gives pages of zeroes that
 * live until memory_block_free(), mapped or not, so that whoever holds a pointer into them
 * (a device that draws, DMA under way) need not care where the guest sees them. The map
 * they are shown in is changed under the rule above; unmapping leaves them as they are.
 */
hva_t memory_block_new(const char *name, uint64_t size_bytes, struct error **err);
void memory_block_free(hva_t block, uint64_t size_bytes);      /* {NULL} is fine */
/* Shows `host`, the caller's whole pages. -EEXIST names the region in the way. */
int memory_map_host(struct memory *m, const char *name, gpa_t base, hva_t host,
                    uint64_t size_bytes, unsigned flags, struct error **err);
void memory_unmap(struct memory *m, gpa_t base);

void memory_add_listener(struct memory *m, struct memory_listener *l);
void memory_remove_listener(struct memory *m, struct memory_listener *l);

/* The region that contains `a`, or NULL (then it is the bus's). Pointers to
 * regions are good until the list changes. */
const struct memory_region *memory_find(const struct memory *m, gpa_t a);
const struct memory_region *memory_regions(const struct memory *m, size_t *count);

/* Host address of [a, a+len) when it lies in ONE region, else {NULL}.
 * For write access READONLY regions do not count. The caller that writes
 * through it calls memory_written() afterwards. */
hva_t memory_host(const struct memory *m, gpa_t a, uint64_t len, bool for_write);

/* Copies; may span adjacent regions. -EFAULT if any byte is not RAM, and then
 * nothing was changed. memory_write ignores READONLY (it is the host's pen)
 * and notifies `written` and the dirty log. */
int memory_read(const struct memory *m, gpa_t a, void *buf, uint64_t len);
int memory_write(struct memory *m, gpa_t a, const void *buf, uint64_t len);
int memory_fill(struct memory *m, gpa_t a, uint8_t byte, uint64_t len);
void memory_written(struct memory *m, gpa_t a, uint64_t len);

/* Dirty log: a bit per RAM page. Engines and memory_written() set bits while
 * logging is on. memory_dirty_fetch copies and clears (bitmap of
 * ram pages, RAM-backing order). Blocks have no backing there: not logged.
 * mark is for any thread. */
int memory_dirty_start(struct memory *m, struct error **err);
void memory_dirty_stop(struct memory *m);
bool memory_dirty_logging(const struct memory *m);
void memory_dirty_mark(struct memory *m, gpa_t a, uint64_t len);
size_t memory_dirty_fetch(struct memory *m, uint64_t *bitmap, size_t words); /* pages dirty */

/* FNV-1a style 64-bit digest over all writable memory, for lockstep and tests.
 * Pages of zeroes do not count, so untouched RAM is not brought in. */
uint64_t memory_digest(const struct memory *m);

#endif
