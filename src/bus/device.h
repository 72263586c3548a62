/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.h - what every device is, seen from outside.
 *
 * A constructor `foo_new(const struct device_env *env, const struct foo_config
 * *cfg, struct error **err)` returns a `struct device *` embedded in the
 * device's own struct, has already added its regions to the bus, and leaves
 * the device as after reset. Everything a device may touch comes in through
 * device_env; there are no globals, so two VMs live in one process.
 *
 * Contract of the operations (VM lock held in all of them):
 *  reset     power-on values, lines low, timers disarmed. A reset device equals
 *            a new one: same digest (the device kit checks).
 *  quiesce   stop touching guest memory and host resources; idempotent; state
 *            may then be saved. NULL when there is nothing to stop.
 *  resume    after quiesce or after state was loaded into the struct: derive
 *            what is derived again, re-arm timers, re-drive lines. Idempotent.
 *  describe  the state table and the struct it describes.
 *  destroy   remove regions, free. The device is quiescent.
 *
 * What a guest does wrong is the chip's defined behaviour, a counter, a
 * log_guest() line: never an exit, never an assertion.
 */
#ifndef RING3_BUS_DEVICE_H
#define RING3_BUS_DEVICE_H

#include <string.h>
#include "base/state_desc.h"
#include "base/types.h"
#include "bus/irq.h"

struct bus;
struct clock;
struct error;
struct log;
struct loop;
struct memory;
struct device;

/* What a guest can ask of the whole machine. */
enum power_event {
    POWER_OFF,           /* ACPI S5, and friends: exit status 0 */
    POWER_RESET,         /* port 0x92, 0xCF9, i8042 pulse, FADT reset register */
    POWER_DEBUG_EXIT,    /* isa-debug-exit: `status` is the process exit status */
    POWER_PANIC,         /* pvpanic */
    POWER_SUSPEND,       /* ACPI S3: RAM stays, processors stop */
    POWER_WAKE,          /* from it */
};

/* Callable from any device with the VM lock held; takes effect before the
 * vCPU that caused it executes another instruction. */
struct power_line {
    void (*request)(void *opaque, enum power_event event, int status);
    void *opaque;
};

/*
 * Changes of the guest's memory map (shadow RAM, a frame buffer that moves), with the VM
 * lock held. change(arg) runs in the loop's thread, VM lock held, while no vCPU executes
 * and no I/O thread looks at memory, before the vCPU that caused it executes another
 * instruction; at once when vCPUs are held anyway (while the machine is made or reset).
 * The same change asked for twice before it could run runs once: it is to bring the map
 * in line with the device's state, whatever that is by then. Every vCPU stops and forgets
 * what it has cached of memory: this is for what is rare.
 */
struct still_line {
    void (*request)(void *opaque, void (*change)(void *arg), void *arg);
    void *opaque;
};

/* Where nobody listens (tests without vCPUs) the change is made at once. */
static inline void still_request(const struct still_line *l, void (*change)(void *arg), void *arg)
{
    if (l->request)
        l->request(l->opaque, change, arg);
    else
        change(arg);
}

struct device_env {
    struct memory *memory;
    struct bus *bus;
    struct clock *clock;
    struct loop *loop;        /* may be NULL in tests */
    struct log *log;
    struct power_line power;
    struct still_line still;
};

struct device_ops {
    const char *type;         /* "uart16550": stable, names the state section */
    void (*reset)(struct device *dev);
    void (*quiesce)(struct device *dev);
    void (*resume)(struct device *dev);
    const struct state_desc *(*describe)(struct device *dev, void **state);
    void (*destroy)(struct device *dev);
};

struct device {
    const struct device_ops *ops;
    char name[24];            /* unique in the machine: "com1" */
};

/* For constructors. A name that is too long is cut. */
static inline void device_init(struct device *d, const struct device_ops *ops, const char *name)
{
    size_t n = min_u64(strlen(name), sizeof d->name - 1);

    d->ops = ops;
    memcpy(d->name, name, n);
    d->name[n] = 0;
}

static inline void device_reset(struct device *d) { d->ops->reset(d); }
static inline void device_quiesce(struct device *d)
{
    if (d->ops->quiesce)
        d->ops->quiesce(d);
}
static inline void device_resume(struct device *d)
{
    if (d->ops->resume)
        d->ops->resume(d);
}
static inline void device_destroy(struct device *d)
{
    if (d)
        d->ops->destroy(d);
}

#endif
