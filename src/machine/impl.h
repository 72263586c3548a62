/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * impl.h - the inside of a machine. For machine/ only.
 *
 * THE GATE. vCPU threads execute the guest only while every reason to keep
 * them out is absent (struct machine.closed == 0). Closing sets a reason and
 * kicks every vCPU; gate_wait() returns when none is inside any more, and from
 * then on guest state may be touched. Any thread may close; only the loop's
 * thread waits, reads and opens.
 *
 * WHAT ENDS OR RESETS A MACHINE arrives in a vCPU thread (a port write with
 * the VM lock held, a triple fault) and is handled in the loop's thread: the
 * event is noted in `pending`, the gate closes, and posted work does the rest.
 * One event at a time; while one is pending, later ones are dropped, because
 * the guest that would cause them is about to be stopped anyway.
 *
 * LOCKS, in the order in which they may be taken: VM lock (bus_lock), gate
 * mutex. `closed` is read without either.
 */
#ifndef RING3_MACHINE_IMPL_H
#define RING3_MACHINE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "boot/boot.h"
#include "bus/bus.h"
#include "device/hypercall.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include "x86/cpuid.h"

struct clock;
struct input;
struct intc;
struct plugs;

enum gate_reason {
    GATE_NOT_STARTED = 1,
    GATE_PAUSED = 2,         /* machine_pause */
    GATE_EVENT = 4,          /* pending must be handled first */
    GATE_WORK = 8,           /* the loop's thread looks at or changes state */
    GATE_QUIT = 16,          /* vCPU threads end */
    GATE_ASLEEP = 32,        /* ACPI S3 */
    GATE_DEBUG = 64,         /* a vCPU is where the debugger wanted it */
    GATE_MEMORY = 64,        /* the memory map is to change (still.c) */
};

/* A local APIC per CPU may be among them. */
enum { MACHINE_DEVICES_MAX = 320 };
/* Kinds of changes of the memory map, not how often they happen. */
enum { MACHINE_CHANGES_MAX = 16 };

struct machine_vcpu {
    struct machine *machine;
    struct engine_vcpu *engine;
    pthread_t thread;
    bool started;            /* the thread exists */
    bool stepping, frozen;   /* for the debugger; written while the gate is closed */
    bool wait_sipi;          /* own thread, or the loop's while the gate is closed */
    _Atomic bool asleep;     /* in a futex wait on engine->requests */
    _Atomic uint64_t exits[HYPERCALL_EXITS];   /* own thread; hypercalls.c */
};

struct machine_pending {
    bool set;
    enum machine_end end;    /* POWERED_OFF, RESET, ... as if the machine ended so */
    int status;
    unsigned vcpu;
};

struct machine_change {
    void (*change)(void *arg);
    void *arg;
};

struct machine {
    struct machine_config config;
    const struct machine_ops *ops;
    struct log *log;

    struct memory *memory;
    struct bus *bus;
    struct clock *clock;
    struct loop *loop;
    struct input *input;

    const struct engine_ops *engine;
    struct engine_vm *vm;
    struct x86_cpu_model *model;
    struct x86_features host_lacks;        /* --host-features */
    struct machine_vcpu *vcpu;
    unsigned cpus;

    struct intc *intc;                     /* NULL: the engine's twins do it */
    struct device *device[MACHINE_DEVICES_MAX];   /* owned; not the intc's */
    unsigned devices;
    struct boot_image image;
    void *board;                           /* machine_ops' own */
    struct display *display;               /* its card's; NULL: no screen */
    struct plugs *plugs;                   /* plug.h; NULL: nothing was plugged in */
    struct hypercalls *hypercalls;         /* one of the devices; NULL: there are none */

    _Atomic uint32_t closed;               /* enum gate_reason bits */
    pthread_mutex_t gate_lock;
    pthread_cond_t gate_changed;
    unsigned inside;                       /* vCPU threads past the gate */

    struct machine_debugger debugger;
    struct x86_debugger points;            /* changes while the gate is closed */
    _Atomic int stopped_vcpu;              /* which closed GATE_DEBUG */
    struct machine_stop stopped;

    struct machine_pending pending;        /* VM lock */
    struct machine_change change[MACHINE_CHANGES_MAX];   /* asked for; VM lock */
    unsigned changes;
    bool changing;
    bool still;                            /* written by the loop's thread while no vCPU is
                                              inside the gate: none will be until it is false */
    struct machine_result result;          /* the loop's thread */
    bool finished;                         /* result says why */
    bool running;                          /* inside machine_run, or between slices */
    bool yields;                           /* a slice ends with each exit */
    _Atomic bool stop;                     /* machine_stop was called */
};

static inline void machine_lock(struct machine *m)
{
    pthread_mutex_lock(bus_lock(m->bus));
}
static inline void machine_unlock(struct machine *m)
{
    pthread_mutex_unlock(bus_lock(m->bus));
}

/* gate.c */
int gate_init(struct machine *m, struct error **err);
void gate_fini(struct machine *m);
void gate_close(struct machine *m, uint32_t reason);    /* any thread */
void gate_open(struct machine *m, uint32_t reason);
void gate_wait(struct machine *m);                      /* loop's thread, no VM lock */
/* vCPU threads: waits until the gate is open; false = end the thread. */
bool gate_enter(struct machine *m);
void gate_leave(struct machine *m);

/* vcpu.c */
int vcpus_create(struct machine *m, struct error **err);
void vcpus_destroy(struct machine *m);
int vcpus_start(struct machine *m, struct error **err);
void vcpus_join(struct machine *m);
/* Runs until the engine comes back. 0; else there is nothing to do until one of the
 * requests given. */
uint32_t vcpu_run(struct machine_vcpu *v);
/* engine_vcpu_request for a vCPU that may be asleep in its thread. */
void vcpu_request(struct machine_vcpu *v, uint32_t bits);
/* Start state for all: `start` for vCPU 0, waiting for SIPI for the others. */
int vcpus_reset(struct machine *m, const struct x86_state *start, struct error **err);

/* debug.c: the vCPU's own thread; false: go on. */
bool debug_stopped(struct machine_vcpu *v, enum engine_exit why);
/* A triple fault while a debugger looks is a stop and no end. */
bool debug_shutdown(struct machine_vcpu *v);
uint64_t debug_budget(const struct machine_vcpu *v);

/* machine.c: notes how the guest ended and closes the gate. VM lock held. */
void machine_end(struct machine *m, enum machine_end end, int status, unsigned vcpu);
/* For device_env.power; opaque is the machine. */
void machine_power(void *opaque, enum power_event event, int status);
/* still.c: for device_env.still, likewise. */
void machine_still_request(void *opaque, void (*change)(void *arg), void *arg);
/* Takes ownership; reset comes in the order of adding. */
void machine_add_device(struct machine *m, struct device *dev);
/* All but those that `spared` (may be NULL) says. */
void machine_reset_devices(struct machine *m, bool (*spared)(const struct device *dev));

/* glue.c: guest_opaque is the machine. */
extern const struct guest_ops machine_guest_ops;
/* intc_cpu_ops for a machine of its own controllers. */
struct intc_cpu_ops;
extern const struct intc_cpu_ops machine_intc_cpu_ops;

/* hypercalls.c: the machine fills in groups, screen, disk and base_ns. VM lock held. */
int machine_add_hypercalls(struct machine *m, const struct device_env *env,
                           const struct hypercall_config *partial, struct error **err);
void machine_exits(struct machine *m, uint64_t out[HYPERCALL_EXITS]);

/* machines.c */
extern const struct machine_ops machine_pc, machine_simple, machine_teach;

#endif
