/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * claims.h - the regions one device has on the bus.
 *
 * A device that claims several regions gets all of them or none, and gives
 * back exactly those it got. A zeroed struct is valid and empty. Threads as
 * for bus_add() and bus_remove().
 */
#ifndef RING3_BUS_CLAIMS_H
#define RING3_BUS_CLAIMS_H

#include "base/bug.h"
#include "bus/bus.h"

enum { BUS_CLAIMS_MAX = 8 };

struct bus_claims {
    struct bus *bus;
    unsigned count;
    struct {
        enum bus_space space;
        uint64_t base;
    } at[BUS_CLAIMS_MAX];
};

static inline void bus_claims_release(struct bus_claims *c)
{
    while (c->count) {
        c->count--;
        bus_remove(c->bus, c->at[c->count].space, c->at[c->count].base);
    }
}

/* Adds the `n` regions of a table with `opaque` put into each. On failure
 * everything claimed so far is released again. */
static inline int bus_claims_add(struct bus_claims *c, struct bus *bus, enum bus_space space,
                                 const struct bus_region *table, size_t n, void *opaque,
                                 struct error **err)
{
    c->bus = bus;
    for (size_t i = 0; i < n; i++) {
        struct bus_region r = table[i];
        BUG_ON(c->count == BUS_CLAIMS_MAX);
        r.opaque = opaque;
        int rc = bus_add(bus, space, &r, err);
        if (rc) {
            bus_claims_release(c);
            return rc;
        }
        c->at[c->count].space = space;
        c->at[c->count++].base = r.base;
    }
    return 0;
}

#endif
