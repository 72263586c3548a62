/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bus.h - who answers at an I/O port or a memory-mapped address.
 *
 * A region is [base, base+size) in one of two spaces. Offsets given to read
 * and write are relative to the region: a device does not know where it
 * lives. Regions in a space never overlap.
 *
 * Widths: accesses are 1, 2, 4 or 8 bytes (ports: 1, 2, 4). A region states
 * the widths its device handles; the bus splits wider accesses into
 * consecutive narrower ones and does read-modify-nothing for narrower ones:
 * a narrower access than `min_width` is passed on as is. Accesses that cross
 * the end of a region are split per byte. Unclaimed reads give all ones,
 * unclaimed writes vanish, both are counted.
 *
 * THE VM LOCK. The bus owns the one lock under which all device code of a VM
 * runs: bus accesses, timers, watches, interrupt lines. bus_read() and
 * bus_write() take it (except for BUS_LOCKLESS regions, whose callbacks do
 * their own locking); other entry points into devices say "VM lock held". It
 * is not recursive: device code never calls bus_read/bus_write. An access that
 * is split because it crosses a region's end takes the lock once per byte.
 */
#ifndef RING3_BUS_BUS_H
#define RING3_BUS_BUS_H

#include <pthread.h>
#include "base/types.h"

struct bus;
struct error;
struct log;

enum bus_space { BUS_PIO, BUS_MMIO, BUS_SPACE_COUNT };
enum bus_region_flags { BUS_LOCKLESS = 1 };

struct bus_region {
    const char *name;
    uint64_t base, size;
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
    void *opaque;
    unsigned max_width;      /* 0 = 8 (MMIO) or 4 (PIO) */
    unsigned flags;
    /* Optional, ports only: `count` accesses of `size` bytes at the same offset, as REP INS
     * and REP OUTS make them. What is done at once, from the first on; 0: none. */
    size_t (*read_string)(void *opaque, uint64_t offset, unsigned size, void *buf, size_t count);
    size_t (*write_string)(void *opaque, uint64_t offset, unsigned size, const void *buf,
                           size_t count);
};

struct bus *bus_new(struct log *log);
void bus_free(struct bus *bus);
pthread_mutex_t *bus_lock(struct bus *bus);

/* Copies *r. -EEXIST names the region in the way. Either callback may be NULL
 * (reads all ones / ignores writes). Adding and removing happen with the VM
 * lock held or before any vCPU runs; for BUS_LOCKLESS regions, which are
 * looked up without the lock, only while no vCPU runs. */
int bus_add(struct bus *bus, enum bus_space space, const struct bus_region *r,
            struct error **err);
void bus_remove(struct bus *bus, enum bus_space space, uint64_t base);
const struct bus_region *bus_find(const struct bus *bus, enum bus_space space, uint64_t addr);
/* Calls fn for every region in ascending order (`info bus`). */
void bus_for_each(const struct bus *bus, enum bus_space space,
                  void (*fn)(void *arg, const struct bus_region *r), void *arg);

uint64_t bus_read(struct bus *bus, enum bus_space space, uint64_t addr, unsigned size);
void bus_write(struct bus *bus, enum bus_space space, uint64_t addr, unsigned size,
               uint64_t value);
/* A run of accesses to one port, if a device there takes several at once: how many were
 * made. Whoever asks makes the rest one by one. */
size_t bus_string(struct bus *bus, uint16_t port, unsigned size, void *buf, size_t count,
                  bool write);
/*
 * DOORBELLS. A write at `addr` in memory space (with `match`: only of `value`) adds 1 to
 * the eventfd `fd` and is done: no device is called, no VM lock taken. `size` 0 is any
 * width. Adding, removing and listening happen with the VM lock held, while vCPUs run. An
 * engine that can have the kernel do it listens; writes it takes never come to the bus.
 * The region behind stays, for reads and for what does not match.
 */
struct bus_doorbell {
    uint64_t addr, value;
    unsigned size;
    bool match;
    int fd;
};
void bus_doorbell_add(struct bus *bus, const struct bus_doorbell *bell);
void bus_doorbell_remove(struct bus *bus, int fd);          /* not there: fine */
void bus_doorbell_listen(struct bus *bus,
                         void (*changed)(void *opaque, const struct bus_doorbell *bell, bool on),
                         void *opaque);

uint64_t bus_unclaimed(const struct bus *bus);   /* how many accesses nobody answered */

#endif
