/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bus.c - finding who answers, and cutting accesses to fit.
 *
 * Each space has two sorted tables. Ordinary regions are looked up and called
 * under the VM lock, so they may come and go while vCPUs run. Lockless regions
 * are looked up with no lock at all, so they may not (see bus.h); there are
 * few of them, and they are looked at first.
 */
#include "bus/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"

struct table {
    struct bus_region *r;     /* ascending, not overlapping */
    size_t count;
    size_t hint;              /* last hit; ordinary tables only (VM lock) */
};

struct bus {
    struct log *log;
    pthread_mutex_t lock;
    struct table ordinary[BUS_SPACE_COUNT], lockless[BUS_SPACE_COUNT];
    _Atomic uint64_t unclaimed;
    /* Looked at by vCPUs without the VM lock: hence a lock of their own, inside of it. */
    pthread_rwlock_t bells_lock;
    struct bus_doorbell *bell;
    _Atomic size_t bells;
    void (*bell_changed)(void *opaque, const struct bus_doorbell *bell, bool on);
    void *bell_opaque;
};

struct bus *bus_new(struct log *log)
{
    struct bus *bus = calloc(1, sizeof *bus);

    BUG_ON(!bus);
    bus->log = log;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_rwlock_init(&bus->bells_lock, NULL);
    return bus;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    for (unsigned i = 0; i < BUS_SPACE_COUNT; i++) {
        free(bus->ordinary[i].r);
        free(bus->lockless[i].r);
    }
    free(bus->bell);
    pthread_rwlock_destroy(&bus->bells_lock);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

pthread_mutex_t *bus_lock(struct bus *bus)
{
    return &bus->lock;
}

uint64_t bus_unclaimed(const struct bus *bus)
{
    return atomic_load_explicit(&bus->unclaimed, memory_order_relaxed);
}

/* ---- tables ---- */

/* Index of the first region that ends above `addr`. */
static size_t table_index(const struct table *t, uint64_t addr)
{
    size_t lo = 0, hi = t->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->r[mid].base + (t->r[mid].size - 1) < addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The first region that shares a byte with [addr, addr+size), or NULL. */
static struct bus_region *table_overlap(const struct table *t, uint64_t addr, uint64_t size)
{
    size_t i = table_index(t, addr);

    if (i == t->count)
        return NULL;
    struct bus_region *r = &t->r[i];
    return r->base <= addr || r->base - addr < size ? r : NULL;
}

static bool region_covers(const struct bus_region *r, uint64_t addr, unsigned size)
{
    return addr >= r->base && range_inside(addr - r->base, size, r->size);
}

static void table_insert(struct table *t, const struct bus_region *r)
{
    size_t i = table_index(t, r->base);

    t->r = realloc(t->r, (t->count + 1) * sizeof *t->r);
    BUG_ON(!t->r);
    memmove(&t->r[i + 1], &t->r[i], (t->count - i) * sizeof *t->r);
    t->r[i] = *r;
    t->count++;
    t->hint = 0;
}

static bool table_remove(struct table *t, uint64_t base)
{
    size_t i = table_index(t, base);

    if (i == t->count || t->r[i].base != base)
        return false;
    t->count--;
    memmove(&t->r[i], &t->r[i + 1], (t->count - i) * sizeof *t->r);
    t->hint = 0;
    return true;
}

int bus_add(struct bus *bus, enum bus_space space, const struct bus_region *r, struct error **err)
{
    struct bus_region copy = *r;
    uint64_t limit = space == BUS_PIO ? 0x10000 : UINT64_MAX;

    if (r->size == 0 || !range_inside(r->base, r->size, limit))
        return error_set(err, EINVAL, "bus region '%s' at 0x%" PRIx64 "+0x%" PRIx64
                         " is outside its space", r->name, r->base, r->size);
    const struct bus_region *other = table_overlap(&bus->ordinary[space], r->base, r->size);
    if (!other)
        other = table_overlap(&bus->lockless[space], r->base, r->size);
    if (other)
        return error_set(err, EEXIST, "bus region '%s' at 0x%" PRIx64 "+0x%" PRIx64
                         " overlaps '%s' at 0x%" PRIx64 "+0x%" PRIx64, r->name, r->base,
                         r->size, other->name, other->base, other->size);
    if (!copy.max_width)
        copy.max_width = space == BUS_PIO ? 4 : 8;
    table_insert(r->flags & BUS_LOCKLESS ? &bus->lockless[space] : &bus->ordinary[space], &copy);
    return 0;
}

void bus_remove(struct bus *bus, enum bus_space space, uint64_t base)
{
    bool found = table_remove(&bus->ordinary[space], base) ||
                 table_remove(&bus->lockless[space], base);

    BUG_ON(!found);
}

const struct bus_region *bus_find(const struct bus *bus, enum bus_space space, uint64_t addr)
{
    const struct bus_region *r = table_overlap(&bus->ordinary[space], addr, 1);

    return r ? r : table_overlap(&bus->lockless[space], addr, 1);
}

void bus_for_each(const struct bus *bus, enum bus_space space,
                  void (*fn)(void *arg, const struct bus_region *r), void *arg)
{
    const struct table *a = &bus->ordinary[space], *b = &bus->lockless[space];
    size_t i = 0, j = 0;

    while (i < a->count || j < b->count) {
        if (j == b->count || (i < a->count && a->r[i].base < b->r[j].base))
            fn(arg, &a->r[i++]);
        else
            fn(arg, &b->r[j++]);
    }
}

/* ---- doorbells ---- */

void bus_doorbell_listen(struct bus *bus,
                         void (*changed)(void *opaque, const struct bus_doorbell *bell, bool on),
                         void *opaque)
{
    bus->bell_changed = changed;
    bus->bell_opaque = opaque;
    for (size_t i = 0; changed && i < bus->bells; i++)
        changed(opaque, &bus->bell[i], true);
}

void bus_doorbell_add(struct bus *bus, const struct bus_doorbell *bell)
{
    pthread_rwlock_wrlock(&bus->bells_lock);
    bus->bell = realloc(bus->bell, (bus->bells + 1) * sizeof *bus->bell);
    BUG_ON(!bus->bell);
    bus->bell[bus->bells] = *bell;
    bus->bells++;
    pthread_rwlock_unlock(&bus->bells_lock);
    if (bus->bell_changed)
        bus->bell_changed(bus->bell_opaque, bell, true);
}

void bus_doorbell_remove(struct bus *bus, int fd)
{
    struct bus_doorbell gone = {.fd = -1};

    pthread_rwlock_wrlock(&bus->bells_lock);
    for (size_t i = 0; i < bus->bells; i++) {
        if (bus->bell[i].fd != fd)
            continue;
        gone = bus->bell[i];
        bus->bell[i] = bus->bell[--bus->bells];
        break;
    }
    pthread_rwlock_unlock(&bus->bells_lock);
    if (gone.fd >= 0 && bus->bell_changed)
        bus->bell_changed(bus->bell_opaque, &gone, false);
}

static bool ring(struct bus *bus, uint64_t addr, unsigned size, uint64_t value)
{
    uint64_t one = 1;
    bool rung = false;

    pthread_rwlock_rdlock(&bus->bells_lock);
    for (size_t i = 0; i < bus->bells && !rung; i++) {
        const struct bus_doorbell *b = &bus->bell[i];

        rung = b->addr == addr && (!b->size || b->size == size) &&
               (!b->match || b->value == value) && write(b->fd, &one, sizeof one) == sizeof one;
    }
    pthread_rwlock_unlock(&bus->bells_lock);
    return rung;
}

/* ---- accesses ---- */

/* One access travels as one of these, so that reading and writing share the
 * way through the tables. */
struct access {
    uint64_t addr;
    unsigned size;
    bool is_write;
    uint64_t value;           /* to write, or what was read */
};

static uint64_t ones(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

/* Works on a copy: a callback may add and remove regions (PCI BARs), which
 * moves the table. */
static void region_access(const struct bus_region *found, struct access *a)
{
    const struct bus_region region = *found, *r = &region;
    uint64_t offset = a->addr - r->base;
    unsigned width = a->size < r->max_width ? a->size : r->max_width;

    if (a->is_write) {
        for (unsigned at = 0; r->write && at < a->size; at += width)
            r->write(r->opaque, offset + at, width, a->value >> 8 * at & ones(width));
        return;
    }
    a->value = 0;
    for (unsigned at = 0; at < a->size; at += width) {
        uint64_t v = r->read ? r->read(r->opaque, offset + at, width) : UINT64_MAX;
        a->value |= (v & ones(width)) << 8 * at;
    }
}

static void unclaimed(struct bus *bus, enum bus_space space, struct access *a)
{
    atomic_fetch_add_explicit(&bus->unclaimed, 1, memory_order_relaxed);
    if (bus->log)
        log_trace(bus->log, DEVICE, "nobody answers %s of %u bytes at %s 0x%" PRIx64,
                  a->is_write ? "a write" : "a read", a->size,
                  space == BUS_PIO ? "port" : "address", a->addr);
    if (!a->is_write)
        a->value = ones(a->size);
}

static void bus_access(struct bus *bus, enum bus_space space, struct access *a);

static void access_by_byte(struct bus *bus, enum bus_space space, struct access *a)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < a->size; i++) {
        struct access byte = {a->addr + i, 1, a->is_write, a->value >> 8 * i & 0xff};
        bus_access(bus, space, &byte);
        value |= byte.value << 8 * i;
    }
    if (!a->is_write)
        a->value = value;
}

/* False: the access lies across the end of a region. VM lock held. */
static bool ordinary_access(struct bus *bus, enum bus_space space, struct access *a)
{
    struct table *t = &bus->ordinary[space];
    const struct bus_region *r;

    if (t->hint < t->count && region_covers(&t->r[t->hint], a->addr, a->size)) {
        region_access(&t->r[t->hint], a);
        return true;
    }
    r = table_overlap(t, a->addr, a->size);
    if (!r) {
        unclaimed(bus, space, a);
        return true;
    }
    if (!region_covers(r, a->addr, a->size))
        return false;
    t->hint = (size_t)(r - t->r);
    region_access(r, a);
    return true;
}

static void bus_access(struct bus *bus, enum bus_space space, struct access *a)
{
    const struct bus_region *r = table_overlap(&bus->lockless[space], a->addr, a->size);
    bool done;

    if (r && region_covers(r, a->addr, a->size)) {
        region_access(r, a);
        return;
    }
    if (r) {
        access_by_byte(bus, space, a);
        return;
    }
    pthread_mutex_lock(&bus->lock);
    done = ordinary_access(bus, space, a);
    pthread_mutex_unlock(&bus->lock);
    if (!done)
        access_by_byte(bus, space, a);
}

size_t bus_string(struct bus *bus, uint16_t port, unsigned size, void *buf, size_t count,
                  bool write)
{
    size_t done = 0;

    pthread_mutex_lock(&bus->lock);
    const struct bus_region *found = table_overlap(&bus->ordinary[BUS_PIO], port, size);
    if (found && region_covers(found, port, size)) {
        const struct bus_region r = *found;

        if (write && r.write_string)
            done = r.write_string(r.opaque, port - r.base, size, buf, count);
        else if (!write && r.read_string)
            done = r.read_string(r.opaque, port - r.base, size, buf, count);
    }
    pthread_mutex_unlock(&bus->lock);
    return done;
}

static bool size_is_legal(enum bus_space space, unsigned size)
{
    return size == 1 || size == 2 || size == 4 || (size == 8 && space == BUS_MMIO);
}

uint64_t bus_read(struct bus *bus, enum bus_space space, uint64_t addr, unsigned size)
{
    struct access a = {addr, size, false, 0};

    BUG_ON(!size_is_legal(space, size));
    bus_access(bus, space, &a);
    return a.value;
}

void bus_write(struct bus *bus, enum bus_space space, uint64_t addr, unsigned size,
               uint64_t value)
{
    struct access a = {addr, size, true, value & ones(size)};

    BUG_ON(!size_is_legal(space, size));
    if (space == BUS_MMIO && bus->bells && ring(bus, addr, size, a.value))
        return;
    bus_access(bus, space, &a);
}
