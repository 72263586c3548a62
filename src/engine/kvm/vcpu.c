/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vcpu.c - one virtual processor: creation and the run loop.
 *
 * KVM_RUN happens on the thread that calls run(). A port, MMIO or MSR exit is
 * only half of its instruction: the kernel finishes it on the next KVM_RUN, so
 * before run() returns with one outstanding it enters once more with
 * immediate_exit set. Outside run() the registers are thus always those of an
 * instruction boundary.
 *
 * With user-space interrupt controllers the loop does what the kernel's would:
 * it keeps HALT and wait-for-SIPI, opens interrupt windows, injects vectors and
 * carries CR8 and IA32_APIC_BASE between the kernel and guest_ops.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/error.h"
#include "base/log.h"
#include "x86/cpuid.h"

#define MSR_IA32_APIC_BASE 0x1bu

/* Requests that end run() whatever the processor is doing. */
#define REQUESTS_LEAVE (REQUEST_EXIT | REQUEST_INIT | REQUEST_SIPI)

/* ---- creation ------------------------------------------------------------ */

/* A guest's machine-check banks are as many as struct x86_msrs holds. KVM gives
 * 32 unless told otherwise. */
static void setup_mce(struct kvm_vcpu *v)
{
    const unsigned banks = ARRAY_SIZE(((struct x86_msrs *)0)->mc_bank) / 4;
    uint64_t supported = 0, cap;

    if (!v->vm->caps.mce_banks ||
        ioctl(v->vm->kvm_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported) < 0)
        return;
    cap = (supported & (1u << 8 /* MCG_CTL_P */)) | min_u64(v->vm->caps.mce_banks, banks);
    if (ioctl(v->fd, KVM_X86_SETUP_MCE, &cap) < 0)
        log_trace(v->vm->vm.config.log, MSR, "kvm: machine-check banks stay as they are: %s",
                  strerror(errno));
}

/* The host's frequency unless the model's differs by more than measuring it
 * twice would (250 ppm, KVM's own tolerance). */
static void setup_tsc(struct kvm_vcpu *v)
{
    uint32_t want = v->vm->vm.config.model->tsc_khz;
    int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

    v->tsc_khz = khz > 0 ? (uint32_t)khz : want;
    uint64_t difference = want > v->tsc_khz ? want - v->tsc_khz : v->tsc_khz - want;
    if (!want || khz <= 0 || difference * 4000 <= v->tsc_khz)
        return;
    if (v->vm->caps.tsc_control && ioctl(v->fd, KVM_SET_TSC_KHZ, want) == 0)
        v->tsc_khz = want;
    else
        log_trace(v->vm->vm.config.log, CPUID, "kvm: the TSC runs at %u kHz, not %u",
                  v->tsc_khz, want);
}

static int vcpu_open(struct kvm_vcpu *v, struct error **err)
{
    struct kvm_vm *vm = v->vm;

    do
        v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, v->vcpu.index);
    while (v->fd < 0 && errno == EINTR);
    if (v->fd < 0)
        return error_set(err, errno, "KVM cannot create vCPU %u: %s", v->vcpu.index,
                         strerror(errno));
    void *run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (run == MAP_FAILED)
        return error_set(err, errno, "cannot map the run area of vCPU %u: %s", v->vcpu.index,
                         strerror(errno));
    v->run = run;
    int page = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
    if (page > 0 && !vm->coalesce_ring) {
        vm->coalesce_ring = (void *)((char *)run + (size_t)page * PAGE_SIZE);
        vm->coalesce_max = KVM_COALESCED_MMIO_MAX;
    }
    return 0;
}

void kvm_vcpu_destroy(struct engine_vcpu *vcpu)
{
    struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
    struct kvm_vm *vm = v->vm;

    if (v->run) {
        char *start = (char *)v->run, *ring = (char *)vm->coalesce_ring;
        if (ring >= start && ring < start + vm->run_bytes)
            vm->coalesce_ring = NULL;
        munmap(v->run, vm->run_bytes);
    }
    if (v->fd >= 0)
        close(v->fd);
    if (vm->vcpu[vcpu->index] == v)
        vm->vcpu[vcpu->index] = NULL;
    error_free(&vcpu->failure);
    free(v);
}

int kvm_vcpu_create(struct engine_vm *engine_vm, unsigned index, struct engine_vcpu **out,
                    struct error **err)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);

    if (index >= vm->vcpus || vm->vcpu[index])
        return error_set(err, EINVAL, "vCPU %u does not exist or was made before", index);
    struct kvm_vcpu *v = calloc(1, sizeof(*v));
    if (!v)
        return error_set(err, ENOMEM, "out of memory for vCPU %u", index);
    v->vcpu.ops = &engine_kvm;
    v->vcpu.vm = engine_vm;
    v->vcpu.index = index;
    v->vm = vm;
    v->fd = -1;

    int result = vcpu_open(v, err);
    if (result == 0)
        result = kvm_cpuid_set(v, err);
    if (result == 0) {
        setup_mce(v);
        setup_tsc(v);
        struct x86_state state;
        x86_state_power_on(&state, index == 0);
        result = kvm_vcpu_set_state(&v->vcpu, &state);
        if (result < 0)
            error_set(err, -result, "KVM refuses the power-on state of vCPU %u: %s", index,
                      strerror(-result));
    }
    if (result < 0) {
        kvm_vcpu_destroy(&v->vcpu);
        return result;
    }
    vm->vcpu[index] = v;
    *out = &v->vcpu;
    return 0;
}

/* ---- the run loop -------------------------------------------------------- */

static bool set_stepping(struct kvm_vcpu *v, bool on)
{
    struct kvm_guest_debug debug = {
        .control = on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0};

    if (v->stepping == on)
        return true;
    if (ioctl(v->fd, KVM_SET_GUEST_DEBUG, &debug) < 0)
        return false;
    v->stepping = on;
    return true;
}

/* False: the processor sleeps, and nothing in `requests` wakes it. */
static bool user_irq_awake(struct kvm_vcpu *v, uint32_t requests)
{
    uint32_t wake = REQUESTS_LEAVE;

    if (v->mp_state == X86_MP_RUNNABLE)
        return true;
    if (v->mp_state == X86_MP_HALTED)
        wake |= REQUEST_NMIS | (v->if_flag ? REQUEST_INTR : 0);
    if (requests & wake) {
        v->mp_state = X86_MP_RUNNABLE;
        return true;
    }
    atomic_store(&v->vcpu.wake_mask, wake);
    return false;
}

/* Injects a vector if the guest can take one now, else asks for the moment. */
static void user_irq_inject(struct kvm_vcpu *v, uint32_t requests)
{
    const struct engine_vm_config *cfg = &v->vm->vm.config;

    if (requests & REQUEST_INTR && v->run->ready_for_interrupt_injection && v->if_flag) {
        int vector = cfg->guest->intr_ack(cfg->guest_opaque, v->vcpu.index);
        struct kvm_interrupt irq = {.irq = (uint32_t)vector};
        if (vector >= 0) {
            if (ioctl(v->fd, KVM_INTERRUPT, &irq) < 0)
                log_warn(cfg->log, "vCPU %u: KVM refuses vector 0x%x: %s", v->vcpu.index,
                         (unsigned)vector, strerror(errno));
            v->run->ready_for_interrupt_injection = 0;
            COUNT(&v->vcpu.counters, irq_injected);
            log_trace(cfg->log, IRQ, "vCPU %u: vector 0x%x", v->vcpu.index, (unsigned)vector);
        }
        requests = atomic_load(&v->vcpu.requests);   /* more behind it? */
    }
    v->run->request_interrupt_window = !!(requests & REQUEST_INTR);
}

static void user_irq_before(struct kvm_vcpu *v, uint32_t requests)
{
    const struct engine_vm_config *cfg = &v->vm->vm.config;

    user_irq_inject(v, requests);
    v->tpr = cfg->guest->tpr_get(cfg->guest_opaque, v->vcpu.index);
    v->run->cr8 = v->tpr;
}

static void user_irq_after(struct kvm_vcpu *v)
{
    const struct engine_vm_config *cfg = &v->vm->vm.config;

    v->if_flag = v->run->if_flag;
    if (v->run->cr8 != v->tpr) {
        v->tpr = (uint8_t)v->run->cr8;
        cfg->guest->tpr_set(cfg->guest_opaque, v->vcpu.index, v->tpr);
    }
    if (v->run->apic_base != v->apic_base) {
        v->apic_base = v->run->apic_base;
        cfg->guest->msr_write(cfg->guest_opaque, v->vcpu.index, MSR_IA32_APIC_BASE,
                              v->apic_base);
    }
}

/* One KVM_RUN and what came of it. False: leave run() with *out. */
static bool enter(struct kvm_vcpu *v, enum engine_exit *out)
{
    int result = ioctl(v->fd, KVM_RUN, 0);
    int code = errno;

    v->io_pending = false;
    if (!v->vm->irqchip)
        user_irq_after(v);
    kvm_coalesce_drain(v->vm, v->vcpu.index);
    COUNT(&v->vcpu.counters, exits);
    if (result == 0)
        return kvm_exit_handle(v, out);
    /* EAGAIN: an application processor that was woken but not started. */
    if (code == EINTR || code == EAGAIN) {
        COUNT(&v->vcpu.counters, exit_kick);
        return true;
    }
    *out = kvm_vcpu_fail(v, code, "KVM_RUN of vCPU %u failed: %s", v->vcpu.index, strerror(code));
    return false;
}

static bool run_once(struct kvm_vcpu *v, enum engine_exit *out)
{
    /* The order of these two is half of the no-lost-kick protocol: kick.c. */
    __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    uint32_t requests = atomic_load(&v->vcpu.requests);

    if (requests & REQUESTS_LEAVE) {
        if (v->io_pending) {
            __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
            return enter(v, out);
        }
        engine_vcpu_clear(&v->vcpu, REQUEST_EXIT);
        *out = ENGINE_KICKED;
        return false;
    }
    if (!v->vm->irqchip && !user_irq_awake(v, requests)) {
        *out = ENGINE_HALTED;
        return false;
    }
    if (requests & REQUEST_NMIS)
        engine_vcpu_clear(&v->vcpu, requests & REQUEST_NMIS);
    for (uint32_t nmis = requests & REQUEST_NMIS; nmis; nmis &= nmis - 1) {
        if (ioctl(v->fd, KVM_NMI) == 0)
            COUNT(&v->vcpu.counters, nmi_injected);
    }
    if (!v->vm->irqchip)
        user_irq_before(v, requests);
    return enter(v, out);
}

enum engine_exit kvm_vcpu_run(struct engine_vcpu *vcpu, uint64_t max_instructions)
{
    struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
    enum engine_exit out = ENGINE_KICKED;
    bool more = true;

    if (v->vm->slot_error)
        return kvm_vcpu_fail(v, v->vm->slot_error->code, "%s", v->vm->slot_error->what);
    if (!set_stepping(v, max_instructions != 0))
        return kvm_vcpu_fail(v, errno, "KVM cannot single-step vCPU %u: %s", vcpu->index,
                             strerror(errno));
    v->tsc_reported_valid = false;
    kvm_kick_enter(v);
    while (more) {
        more = run_once(v, &out);
        if (!more && out == ENGINE_DEBUG && v->stepping) {
            more = --max_instructions != 0;
            out = ENGINE_BUDGET;
        }
    }
    kvm_kick_leave(v);
    return out;
}
