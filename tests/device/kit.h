/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kit.h - the conformance kit: what every device gets tested for without any
 * code of its own.
 *
 * A rig is a bus, a manual clock and one device (or a few that only exist
 * together). Everything a device says to the outside ends up in rig.trace, a
 * running hash, so two rigs that were treated alike can be compared by what
 * the guest read, by their state and by what they did to the world.
 *
 * A device joins by a row in devices.c.
 */
#ifndef RING3_TESTS_DEVICE_KIT_H
#define RING3_TESTS_DEVICE_KIT_H

#include "bus/device.h"
#include "base/log.h"

enum { RIG_DEVICES_MAX = 8, RIG_LINES = 64 };

struct rig {
    struct log log;
    struct bus *bus;
    struct clock *clock;
    struct device *device[RIG_DEVICES_MAX];
    size_t devices;
    void *part;                       /* the row's own: whatever `make` wants to keep */
    uint64_t trace;
    bool line[RIG_LINES];             /* levels of the outputs */
};

struct rig_random { uint64_t s; };
uint64_t rig_random(struct rig_random *r);
uint64_t rig_random_below(struct rig_random *r, uint64_t n);

/* Outputs for a device's configuration; all of them feed the trace. */
struct irq_line rig_line(struct rig *rig, unsigned n);
void rig_note(struct rig *rig, uint64_t what);
void rig_write(void *rig, const uint8_t *data, size_t len);     /* console output */

struct kit_row {
    const char *name;
    /* Fills rig->device[]. The clock may already show any time. */
    int (*make)(struct rig *rig, const struct device_env *env, struct error **err);
    /* For what is not destroyed device by device; may be NULL. */
    void (*destroy)(struct rig *rig);
    /* One random input that does not come over the bus; may be NULL. What it
     * gives is part of the comparison. */
    uint64_t (*poke)(struct rig *rig, struct rig_random *r);
};

extern const struct kit_row kit_rows[];
extern const size_t kit_row_count;

#endif
