/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine.h - what executes guest instructions.
 *
 * An engine runs vCPUs over a `struct memory` and calls up through guest_ops.
 * It knows no devices and no machine. Engines are `const` tables registered in
 * engine/engines.c; everything else asks for capabilities, never for names.
 *
 * Threads: vm_create/vm_destroy from one thread while no vCPU runs. A vCPU is
 * created by any thread and then belongs to the thread that calls run();
 * get_state and set_state are called by that thread, or by another while the
 * vCPU is not in run(). kick() and engine_vcpu_request() are for any thread
 * and async-signal-safe.
 *
 * REQUESTS. `requests` is the vCPU's mailbox. Set bits with
 * engine_vcpu_request(), which also kicks. The engine looks at it at block
 * boundaries (software) or before entering the guest (kvm) and guarantees that
 * a request made before run() is entered is never lost:
 *   INTR   the interrupt controller has a vector: the engine calls
 *          guest_ops.intr_ack as soon as the guest can take it. Level-like:
 *          cleared by the controller, not by the engine.
 *   NMI    deliver one NMI; the engine clears it. A second one that comes before
 *          the first was taken is NMI_AGAIN: use engine_vcpu_nmi().
 *   EXIT   return from run() with ENGINE_KICKED; the engine clears it.
 *   INIT, SIPI  return with ENGINE_KICKED and leave them set: the machine
 *          handles them through set_state, on every engine alike.
 *
 * HALT. run() returns ENGINE_HALTED with mp_state HALTED when the guest
 * executes HLT and nothing is deliverable, and again at once when called in
 * that state without a reason to wake. `wake_mask` then says which requests
 * are such a reason (INTR only if IF is set). The machine's vCPU loop does the
 * sleeping. Engines with an in-kernel irqchip sleep inside run().
 */
#ifndef RING3_ENGINE_ENGINE_H
#define RING3_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdio.h>
#include "base/counters.h"
#include "base/types.h"
#include "engine/guest.h"
#include "x86/debugger.h"
#include "x86/state.h"

struct clock;
struct device;
struct device_env;
struct engine_ops;
struct engine_vm;
struct error;
struct log;
struct memory;
struct strbuf;
struct x86_cpu_model;
struct x86_exception;
struct x86_features;

enum engine_cap {
    ENGINE_CAP_INSN_BUDGET = 1,    /* run() honours max_instructions exactly */
    ENGINE_CAP_IRQCHIP = 2,        /* offers in-kernel 8259, IOAPIC, LAPIC, PIT */
    ENGINE_CAP_DIRTY_LOG = 4,
    ENGINE_CAP_DETERMINISTIC = 8,
    ENGINE_CAP_DEBUGGER = 16,      /* stops where engine_vm.debugger says */
};

/* What the translator manages at least, in guest instructions per microsecond: a
 * KVM that measures less does not run the guest natively and is slower. The one
 * place for this number. */
enum { ENGINE_SOFTWARE_INSN_PER_US = 500 };

enum engine_status {
    ENGINE_ABSENT,       /* no such thing on this host */
    ENGINE_FORBIDDEN,    /* there, but we may not use it */
    ENGINE_SLOW,         /* works, but the calibration says our own engine is faster */
    ENGINE_GOOD,
};

struct engine_probe {
    enum engine_status status;
    unsigned caps;
    double insn_per_us;      /* calibrated, 0 = not measured */
    double exit_us;          /* cost of a port exit, 0 = not measured */
    char reason[160];        /* one line for `ring3 doctor`, with the figure */
};

enum engine_request {
    REQUEST_INTR = 1, REQUEST_NMI = 2, REQUEST_EXIT = 4, REQUEST_INIT = 8, REQUEST_SIPI = 16,
    REQUEST_NMI_AGAIN = 32, REQUEST_NMIS = REQUEST_NMI | REQUEST_NMI_AGAIN,
};

/* What a vCPU's thread is at, for whoever samples it (`info engine`): a plain byte
 * that the thread writes when that changes. */
#define ENGINE_DOINGS(X)                                            \
    X(OTHER,       "slow paths")                                    \
    X(GUEST,       "guest code")                                    \
    X(GUEST_KERNEL, "translated kernel code")                       \
    X(GUEST_USER,  "translated user code")                          \
    X(INTERPRET,   "interpreting")                                  \
    X(TRANSLATE,   "translating")                                   \
    X(DEVICE,      "devices")                                       \
    X(IDLE,        "idle")

enum engine_doing {
#define X(id, name) ENGINE_DOES_##id,
    ENGINE_DOINGS(X)
#undef X
    ENGINE_DOINGS_COUNT
};

enum engine_exit {
    ENGINE_BUDGET,       /* max_instructions executed */
    ENGINE_KICKED,       /* REQUEST_EXIT, INIT or SIPI */
    ENGINE_HALTED,
    ENGINE_SHUTDOWN,     /* triple fault; get_state shows the state before it was reset */
    ENGINE_DEBUG,        /* breakpoint or single step for the debugger */
    ENGINE_FAILED,       /* the host side cannot go on: see vcpu->failure */
};

/* In-kernel interrupt controllers, when vm_config asked for them and the
 * engine has them. Lines are GSIs as on a PC (0-15 PIC and IOAPIC, 16-23
 * IOAPIC). The devices are twins of irqchip/ ones: same type, same state. */
struct engine_irqchip_ops {
    void (*set_line)(struct engine_vm *vm, unsigned gsi, bool level);
    void (*msi)(struct engine_vm *vm, uint64_t address, uint32_t data);
    /* Makes the twin devices; the caller destroys them. Returns how many. */
    int (*devices)(struct engine_vm *vm, const struct device_env *env, struct device **out,
                   unsigned max, struct error **err);
};

struct engine_vm_config {
    struct memory *memory;
    struct clock *clock;
    const struct guest_ops *guest;
    void *guest_opaque;
    const struct x86_cpu_model *model;   /* lives as long as the VM */
    const struct x86_features *host_lacks;   /* not to be used although they are there, or NULL */
    struct log *log;
    unsigned cpus;
    unsigned machines;                   /* VMs that share this process's addresses; 0 = one */
    bool want_irqchip;                   /* ignored without ENGINE_CAP_IRQCHIP */
    FILE *code_dump;                     /* dump_code() of code that is thrown away; blocks
                                            count their executions then. NULL: not wanted */
};

/* A write to memory that signals an eventfd; size 0: any width. */
struct engine_doorbell {
    uint64_t address, value;
    unsigned size;
    bool match;
    int fd;
};

/* Embedded first in each engine's own struct. */
struct engine_vm {
    const struct engine_ops *ops;
    struct engine_vm_config config;
    /* Where to stop with ENGINE_DEBUG, with ENGINE_CAP_DEBUGGER; NULL: nowhere. Set
     * while no vCPU runs. */
    const struct x86_debugger *debugger;
    unsigned caps;                              /* enum engine_cap */
    const struct engine_irqchip_ops *irqchip;   /* NULL: the machine brings its own */
    /* Has the kernel signal an eventfd on a write (bus/bus.h, doorbells). NULL: cannot;
     * -errno: not this one, its writes go the usual way. Any thread. */
    int (*doorbell)(struct engine_vm *vm, const struct engine_doorbell *bell, bool on);
};

struct engine_vcpu {
    const struct engine_ops *ops;
    struct engine_vm *vm;
    unsigned index;
    _Atomic uint32_t requests;
    _Atomic uint32_t wake_mask;          /* valid after ENGINE_HALTED */
    _Atomic uint8_t sipi_vector;
    _Atomic uint8_t doing;               /* enum engine_doing */
    struct counters counters;
    struct x86_debugger_hit debugger_hit;   /* after ENGINE_DEBUG; .hit false: single step */
    struct error *failure;               /* after ENGINE_FAILED; owned by the vCPU */
};

struct engine_ops {
    const char *name;                    /* "interp" */
    const char *summary;                 /* one line for --help */
    /* Cheap enough for every start (about a millisecond of calibration). */
    void (*probe)(struct engine_probe *out);
    /* CPU features this engine can give a guest on this host. */
    void (*features)(struct x86_features *out);
    int (*vm_create)(const struct engine_vm_config *cfg, struct engine_vm **out,
                     struct error **err);
    void (*vm_destroy)(struct engine_vm *vm);
    int (*vcpu_create)(struct engine_vm *vm, unsigned index, struct engine_vcpu **out,
                       struct error **err);
    void (*vcpu_destroy)(struct engine_vcpu *vcpu);
    /* max_instructions 0 = no limit; 1 = single step (all engines). */
    enum engine_exit (*run)(struct engine_vcpu *vcpu, uint64_t max_instructions);
    void (*kick)(struct engine_vcpu *vcpu);
    int (*get_state)(struct engine_vcpu *vcpu, struct x86_state *out);
    int (*set_state)(struct engine_vcpu *vcpu, const struct x86_state *in);
    /* Dirty pages since the last call are added to memory's dirty log. NULL
     * when the engine marks them itself. */
    int (*dirty_log)(struct engine_vm *vm);
    /* The exceptions before a shutdown, newest last; returns how many. May be NULL. */
    unsigned (*fault_chain)(struct engine_vcpu *vcpu, struct x86_exception *out,
                            uint64_t *rips, unsigned max);
    /* Free-form lines for `info engine`. May be NULL. */
    void (*describe)(struct engine_vm *vm, struct strbuf *out);
    /* Guest and host code of everything translated; no vCPU runs. May be NULL. */
    void (*dump_code)(struct engine_vm *vm, FILE *out);
};

extern const struct engine_ops engine_kvm, engine_dbt, engine_interp;

/* engines.c: the table, and the choice `auto` makes. */
const struct engine_ops *const *engine_all(void);            /* NULL-terminated */
const struct engine_ops *engine_find(const char *name);
/* A better engine that auto did not take: the last that could be had if the host
 * were configured otherwise, or else the first that is absent. NULL: none. */
struct engine_refusal {
    const struct engine_ops *engine;
    struct engine_probe probe;
};
/* Best usable engine behind `after` in the table (NULL: of all); `why` and `refused`
 * (may be NULL) get one line saying why, and what would have been better. */
const struct engine_ops *engine_auto(const struct engine_ops *after, char *why, size_t why_size,
                                     struct engine_refusal *refused);

static inline void engine_vcpu_request(struct engine_vcpu *v, uint32_t bits)
{
    atomic_fetch_or(&v->requests, bits);
    v->ops->kick(v);
}
/* What to request for an NMI now. A processor latches an NMI while it handles
 * one, so of two that come together the handler runs for both: the mailbox has
 * to hold as many. Of three, one is lost, as on the processor. */
static inline uint32_t engine_vcpu_nmi(struct engine_vcpu *v)
{
    return atomic_load(&v->requests) & REQUEST_NMI ? REQUEST_NMI_AGAIN : REQUEST_NMI;
}
/* Returns what it was before. */
static inline uint8_t engine_vcpu_does(struct engine_vcpu *v, enum engine_doing doing)
{
    uint8_t before = atomic_load_explicit(&v->doing, memory_order_relaxed);

    atomic_store_explicit(&v->doing, (uint8_t)doing, memory_order_relaxed);
    return before;
}
static inline void engine_vcpu_clear(struct engine_vcpu *v, uint32_t bits)
{
    atomic_fetch_and(&v->requests, ~bits);
}

#endif
