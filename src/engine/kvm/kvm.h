/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm.h - the inside of the KVM engine: what its files share.
 *
 * From outside there is only engine_kvm (engine/engine.h) and the coalescing
 * calls at the end of this file. The files:
 *
 *   kvm.c       the VM: capabilities, memory slots, dirty log, creation
 *   vcpu.c      a vCPU: creation, the run loop, stepping, user-space interrupts
 *   exit.c      what a return from KVM_RUN means
 *   regs.c      struct x86_state from and to KVM's structures
 *   msr.c       the MSR part of that
 *   cpuid.c     features KVM offers; the CPUID table a vCPU gets
 *   irqchip.c   in-kernel 8259, IOAPIC, local APIC, 8254 as devices
 *   coalesce.c  writes that the kernel collects instead of exiting
 *   kick.c      the signal that gets a thread out of KVM_RUN
 *   probe.c     is there a usable KVM, and how fast is it really
 *
 * Threads: each vCPU's ioctls are issued by its thread, or by another while it
 * is outside run(). VM-wide ioctls (lines, MSIs) come from any thread: the
 * kernel serialises them.
 *
 * What a kernel will not take (an MSR, a CPUID bit, an optional capability) is
 * left out and told in a trace line; only what no guest can do without makes
 * creation fail.
 */
#ifndef RING3_ENGINE_KVM_KVM_H
#define RING3_ENGINE_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include "engine/engine.h"
#include "memory/memory.h"

struct error;

enum { KVM_MSR_MAX = 128, KVM_SLOTS_MAX = 256 };

/* Optional abilities of this kernel, asked once per VM. */
struct kvm_caps {
    bool xcrs, debugregs, readonly_mem, signal_msi, tsc_deadline, tsc_control;
    bool smm, user_msr, msr_filter, coalesced_mmio, coalesced_pio, irq_routing;
    unsigned max_vcpus, mce_banks;
    uint64_t guest_debug;         /* KVM_GUESTDBG_ bits, where the kernel tells */
};

struct kvm_slot {
    bool used, dirty_log;
    uint32_t flags;               /* enum memory_flags */
    gpa_t base;
    uint64_t size_bytes;
    hva_t host;
};

struct kvm_vm {
    struct engine_vm vm;          /* first: the rest of the world sees this */
    int kvm_fd, fd;
    size_t run_bytes;             /* of each vCPU's shared page(s) */
    struct kvm_caps caps;
    bool irqchip;                 /* interrupt controllers and PIT in the kernel */
    uint32_t lines;               /* levels of the GSIs; VM lock */
    uint64_t xcr0_supported;      /* XSAVE components KVM can give a guest */
    struct memory_listener listener;
    struct kvm_slot slot[KVM_SLOTS_MAX];
    struct error *slot_error;     /* a memory slot KVM refused: no vCPU runs */
    struct kvm_cpuid2 *supported; /* KVM_GET_SUPPORTED_CPUID */
    /* MSRs of struct x86_msrs that this kernel knows: bit per row of msr.c. */
    uint64_t msr_known[KVM_MSR_MAX / 64];
    /* And the last value that each of them refused. */
    uint64_t msr_refused[KVM_MSR_MAX / 64], msr_refused_value[KVM_MSR_MAX];
    struct kvm_vcpu **vcpu;       /* by index, NULL until created */
    unsigned vcpus;
    /* Coalesced writes: one ring for the VM, drained by whoever exits. */
    pthread_mutex_t coalesce_lock;
    struct kvm_coalesced_mmio_ring *coalesce_ring;
    unsigned coalesce_max;
    _Atomic unsigned coalesce_zones;
};

struct kvm_vcpu {
    struct engine_vcpu vcpu;      /* first */
    struct kvm_vm *vm;
    int fd;
    struct kvm_run *run;
    _Atomic pid_t tid;            /* the thread inside run(), 0 = none */
    pid_t unblocked_tid;          /* thread that is known to let the kick signal in */
    bool io_pending;              /* the last exit's access is finished by the next KVM_RUN */
    bool stepping;                /* KVM_SET_GUEST_DEBUG is on */
    /* User-space interrupt controllers only. */
    uint8_t mp_state;             /* enum x86_mp_state: the kernel keeps none then */
    bool if_flag;                 /* RFLAGS.IF when the guest was last left */
    uint8_t tpr;                  /* CR8 that the APIC and the kernel agree on */
    uint64_t apic_base;           /* likewise IA32_APIC_BASE */
    uint64_t tsc_deadline;        /* as the guest wrote it */
    /* The guest TSC that get_state reported, while the vCPU has not run since:
     * setting that same value again must not stop the counter for a moment. */
    uint64_t tsc_reported;
    bool tsc_reported_valid;
    uint32_t tsc_khz;
};

static inline struct kvm_vm *kvm_vm_of(struct engine_vm *vm) { return (struct kvm_vm *)vm; }
static inline struct kvm_vcpu *kvm_vcpu_of(struct engine_vcpu *v) { return (struct kvm_vcpu *)v; }

/* kvm.c: opens /dev/kvm and checks the API version. Returns the descriptor or
 * -errno with a message that says what to do: ENOENT/ENODEV no KVM here,
 * EACCES/EPERM not for this user. */
int kvm_open(struct error **err);
/* KVM_CREATE_VM; EBUSY means another hypervisor has the processor. */
int kvm_create_vm_fd(int kvm_fd, struct error **err);

/* kick.c: the kick signal's handler is process-wide and reference-counted. */
int kvm_kick_install(struct error **err);
void kvm_kick_uninstall(void);
int kvm_kick_signal(void);
/* Around run(): who is to be signalled. */
void kvm_kick_enter(struct kvm_vcpu *v);
void kvm_kick_leave(struct kvm_vcpu *v);
void kvm_vcpu_kick(struct engine_vcpu *v);

/* vcpu.c */
int kvm_vcpu_create(struct engine_vm *vm, unsigned index, struct engine_vcpu **out,
                    struct error **err);
void kvm_vcpu_destroy(struct engine_vcpu *v);
enum engine_exit kvm_vcpu_run(struct engine_vcpu *v, uint64_t max_instructions);

/* exit.c: handles run->exit_reason. True: go on; false: leave run() with *out. */
bool kvm_exit_handle(struct kvm_vcpu *v, enum engine_exit *out);
/* Records why the host side cannot go on; always ENGINE_FAILED. */
enum engine_exit kvm_vcpu_fail(struct kvm_vcpu *v, int code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* regs.c */
int kvm_vcpu_get_state(struct engine_vcpu *v, struct x86_state *out);
int kvm_vcpu_set_state(struct engine_vcpu *v, const struct x86_state *in);

/* msr.c */
int kvm_msr_list_init(struct kvm_vm *vm, struct error **err);
void kvm_msrs_get(struct kvm_vcpu *v, struct x86_state *out);
void kvm_msrs_set(struct kvm_vcpu *v, const struct x86_state *in);
/* One MSR by number: 0 or -errno (-EINVAL: the kernel does not take it). */
int kvm_msr_read(struct kvm_vcpu *v, uint32_t msr, uint64_t *value);
int kvm_msr_write(struct kvm_vcpu *v, uint32_t msr, uint64_t value);
/* With user-space interrupt controllers: lets the APIC's MSRs come to us. */
void kvm_msr_exits_enable(struct kvm_vm *vm);
/* A guest RDMSR/WRMSR that KVM passed on. False: #GP. */
bool kvm_msr_exit_read(struct kvm_vcpu *v, uint32_t msr, uint64_t *value);
bool kvm_msr_exit_write(struct kvm_vcpu *v, uint32_t msr, uint64_t value);

/* IA32_TSC_DEADLINE, which counts guest TSC ticks, from and to the ticks of the
 * VM's clock; 0 stays 0, a deadline in the past becomes the present. */
uint64_t kvm_deadline_to_clock(struct kvm_vcpu *v, uint64_t deadline);
uint64_t kvm_deadline_from_clock(struct kvm_vcpu *v, uint64_t ticks);

/* cpuid.c */
void kvm_features(struct x86_features *out);
/* KVM_GET_SUPPORTED_CPUID; the caller frees it. */
struct kvm_cpuid2 *kvm_cpuid_supported(int kvm_fd, struct error **err);
const struct kvm_cpuid_entry2 *kvm_cpuid_entry(const struct kvm_cpuid2 *table, uint32_t leaf,
                                               uint32_t subleaf);
int kvm_cpuid_set(struct kvm_vcpu *v, struct error **err);

/* irqchip.c */
extern const struct engine_irqchip_ops kvm_irqchip_ops;
int kvm_irqchip_create(struct kvm_vm *vm, struct error **err);

/* probe.c */
void kvm_probe(struct engine_probe *out);

/* coalesce.c. The kernel keeps writes to [base, base+size) in a ring and they
 * reach guest_ops in order, before the next thing that does exit. For registers
 * whose writes have no immediate effect (VGA memory). -ENOTSUP where the kernel
 * cannot. Any thread. */
int kvm_coalesce_add(struct engine_vm *vm, bool pio, uint64_t base, uint32_t size_bytes);
int kvm_coalesce_remove(struct engine_vm *vm, bool pio, uint64_t base, uint32_t size_bytes);
/* `vcpu`: on whose account; the kernel does not say who wrote. */
void kvm_coalesce_drain(struct kvm_vm *vm, unsigned vcpu);

#endif
