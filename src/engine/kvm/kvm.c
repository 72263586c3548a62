/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm.c - the KVM engine's virtual machine: creation, memory slots, dirty log.
 *
 * Interface: Linux Documentation/virt/kvm/api.rst. Memory regions become
 * memory slots through a listener; a slot that the kernel refuses is kept as
 * an error and shown by vm_create or, later, by the next run().
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"

/* Three pages and one page that Intel processors need in guest-physical space
 * for real mode; between the local APIC and the firmware, where nothing is. */
#define KVM_IDENTITY_MAP_ADDRESS 0xfeffc000ull
#define KVM_TSS_ADDRESS          0xfeffd000ull

int kvm_open(struct error **err)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        int code = errno;
        int result = error_set(err, code, "cannot open /dev/kvm: %s", strerror(code));
        if (code == ENOENT || code == ENODEV || code == ENXIO)
            error_hint(err, "load the module kvm_intel or kvm_amd, or switch virtualization "
                            "on in the firmware");
        else if (code == EACCES || code == EPERM)
            error_hint(err, "add yourself to group kvm (usermod -aG kvm USER) and log in "
                            "again");
        return result;
    }
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        int result = error_set(err, ENOTSUP, "/dev/kvm has API version %d, not %d", version,
                               KVM_API_VERSION);
        close(fd);
        return result;
    }
    return fd;
}

int kvm_create_vm_fd(int kvm_fd, struct error **err)
{
    int fd;

    /* The kernel returns EINTR when a signal interrupts it; it changed nothing. */
    do
        fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
    while (fd < 0 && errno == EINTR);
    if (fd >= 0)
        return fd;
    int code = errno;
    int result = error_set(err, code, "cannot create a virtual machine with KVM: %s",
                           strerror(code));
    if (code == EBUSY)
        error_hint(err, "another hypervisor (VirtualBox, VMware) has the processor's "
                        "virtualization; stop it first");
    return result;
}

static int check_extension(const struct kvm_vm *vm, int cap)
{
    int value = ioctl(vm->fd, KVM_CHECK_EXTENSION, cap);
    return value < 0 ? 0 : value;
}

/* What no guest can do without. All of it is older than Linux 4.13. */
static int check_required(const struct kvm_vm *vm, struct error **err)
{
    static const struct { int cap; const char *name; } required[] = {
        {KVM_CAP_USER_MEMORY, "user memory"},
        {KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
        {KVM_CAP_VCPU_EVENTS, "vCPU events"},
        {KVM_CAP_XSAVE, "XSAVE state"},
        {KVM_CAP_EXT_CPUID, "extended CPUID"},
        {KVM_CAP_MP_STATE, "multiprocessor state"},
        {KVM_CAP_USER_NMI, "NMI"},
        {KVM_CAP_SET_TSS_ADDR, "TSS address"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(required); i++)
        if (check_extension(vm, required[i].cap) <= 0)
            return error_set(err, ENOTSUP, "this kernel's KVM lacks '%s'", required[i].name);
    return 0;
}

static int set_doorbell(struct engine_vm *engine_vm, const struct engine_doorbell *bell, bool on)
{
    struct kvm_ioeventfd io = {
        .addr = bell->address, .len = bell->size, .fd = bell->fd, .datamatch = bell->value,
        .flags = (bell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };

    return ioctl(kvm_vm_of(engine_vm)->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

static void ask_caps(struct kvm_vm *vm)
{
    struct kvm_caps *c = &vm->caps;

    c->xcrs = check_extension(vm, KVM_CAP_XCRS);
    c->debugregs = check_extension(vm, KVM_CAP_DEBUGREGS);
    c->readonly_mem = check_extension(vm, KVM_CAP_READONLY_MEM);
    c->signal_msi = check_extension(vm, KVM_CAP_SIGNAL_MSI);
    vm->vm.doorbell = check_extension(vm, KVM_CAP_IOEVENTFD) ? set_doorbell : NULL;
    c->tsc_deadline = check_extension(vm, KVM_CAP_TSC_DEADLINE_TIMER);
    c->tsc_control = check_extension(vm, KVM_CAP_TSC_CONTROL);
    c->smm = check_extension(vm, KVM_CAP_X86_SMM);
    c->mce_banks = (unsigned)check_extension(vm, KVM_CAP_MCE);
    c->user_msr = check_extension(vm, KVM_CAP_X86_USER_SPACE_MSR);
    c->msr_filter = check_extension(vm, KVM_CAP_X86_MSR_FILTER);
    c->coalesced_mmio = check_extension(vm, KVM_CAP_COALESCED_MMIO);
    c->coalesced_pio = check_extension(vm, KVM_CAP_COALESCED_PIO);
    c->irq_routing = check_extension(vm, KVM_CAP_IRQ_ROUTING);
    c->guest_debug = (uint64_t)check_extension(vm, KVM_CAP_SET_GUEST_DEBUG2);
    c->max_vcpus = (unsigned)check_extension(vm, KVM_CAP_MAX_VCPUS);
    if (!c->max_vcpus)
        c->max_vcpus = (unsigned)check_extension(vm, KVM_CAP_NR_VCPUS);
}

/* ---- memory slots -------------------------------------------------------- */

static int slot_write(struct kvm_vm *vm, unsigned index)
{
    const struct kvm_slot *s = &vm->slot[index];
    struct kvm_userspace_memory_region r = {
        .slot = index,
        .flags = (s->flags & MEMORY_READONLY ? KVM_MEM_READONLY : 0) |
                 (s->dirty_log ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = s->base.v,
        .memory_size = s->used ? s->size_bytes : 0,
        .userspace_addr = (uintptr_t)s->host.p,
    };

    return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r) < 0 ? -errno : 0;
}

static void slot_failed(struct kvm_vm *vm, const struct memory_region *r, int code)
{
    if (vm->slot_error)
        return;
    error_set(&vm->slot_error, code, "KVM refuses memory region '%s' at 0x%llx, 0x%llx bytes: %s",
              r->name, (unsigned long long)r->base.v, (unsigned long long)r->size_bytes,
              strerror(code));
}

static void on_region_added(void *opaque, const struct memory_region *r)
{
    struct kvm_vm *vm = opaque;

    if (r->slot < 0 || r->slot >= KVM_SLOTS_MAX) {
        slot_failed(vm, r, ENOSPC);
        return;
    }
    if (r->flags & MEMORY_READONLY && !vm->caps.readonly_mem)
        log_trace(vm->vm.config.log, MEMORY, "kvm: no read-only memory here, '%s' is writable",
                  r->name);
    vm->slot[r->slot] = (struct kvm_slot){
        .used = true, .base = r->base, .size_bytes = r->size_bytes, .host = r->host,
        .flags = vm->caps.readonly_mem ? r->flags : r->flags & ~(unsigned)MEMORY_READONLY,
        .dirty_log = memory_dirty_logging(vm->vm.config.memory),
    };
    int result = slot_write(vm, (unsigned)r->slot);
    if (result < 0) {
        vm->slot[r->slot].used = false;
        slot_failed(vm, r, -result);
    }
}

static void on_region_removed(void *opaque, const struct memory_region *r)
{
    struct kvm_vm *vm = opaque;

    if (r->slot < 0 || r->slot >= KVM_SLOTS_MAX || !vm->slot[r->slot].used)
        return;
    vm->slot[r->slot].used = false;
    slot_write(vm, (unsigned)r->slot);
}

/* ---- dirty log ----------------------------------------------------------- */

/* Brings a slot's logging in line with memory's. */
static int slot_logging(struct kvm_vm *vm, unsigned index, bool on)
{
    struct kvm_slot *s = &vm->slot[index];

    if (!s->used || s->dirty_log == on)
        return 0;
    s->dirty_log = on;
    int result = slot_write(vm, index);
    if (result < 0)
        s->dirty_log = !on;
    return result;
}

static void mark_dirty_pages(struct kvm_vm *vm, const struct kvm_slot *s, const uint64_t *bits,
                             size_t words)
{
    for (size_t w = 0; w < words; w++) {
        for (uint64_t left = bits[w]; left; left &= left - 1) {
            uint64_t page = w * 64 + (unsigned)__builtin_ctzll(left);
            memory_dirty_mark(vm->vm.config.memory, gpa_add(s->base, page << PAGE_SHIFT),
                              PAGE_SIZE);
        }
    }
}

static int slot_dirty_fetch(struct kvm_vm *vm, unsigned index)
{
    const struct kvm_slot *s = &vm->slot[index];
    size_t words = (s->size_bytes / PAGE_SIZE + 63) / 64;
    uint64_t *bits = calloc(words, sizeof(*bits));
    struct kvm_dirty_log log = {.slot = index, .dirty_bitmap = bits};
    int result = 0;

    if (!bits)
        return -ENOMEM;
    if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
        result = -errno;
    else
        mark_dirty_pages(vm, s, bits, words);
    free(bits);
    return result;
}

static void on_dirty_logging(void *opaque, bool on)
{
    struct kvm_vm *vm = opaque;

    for (unsigned i = 0; i < KVM_SLOTS_MAX; i++) {
        int result = slot_logging(vm, i, on);
        if (result < 0)
            log_warn(vm->vm.config.log, "KVM cannot log dirty pages of slot %u: %s", i,
                     strerror(-result));
    }
}

static int kvm_dirty_log(struct engine_vm *engine_vm)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);
    int result = 0;

    for (unsigned i = 0; i < KVM_SLOTS_MAX && result == 0; i++)
        if (vm->slot[i].used && vm->slot[i].dirty_log)
            result = slot_dirty_fetch(vm, i);
    return result;
}

/* ---- the VM -------------------------------------------------------------- */

static void kvm_vm_destroy(struct engine_vm *engine_vm)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);

    for (unsigned i = 0; i < vm->vcpus; i++)
        BUG_ON(vm->vcpu[i]);
    if (vm->listener.opaque)
        memory_remove_listener(vm->vm.config.memory, &vm->listener);
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->kvm_fd >= 0)
        close(vm->kvm_fd);
    kvm_kick_uninstall();
    pthread_mutex_destroy(&vm->coalesce_lock);
    error_free(&vm->slot_error);
    free(vm->supported);
    free(vm->vcpu);
    free(vm);
}

static int vm_open(struct kvm_vm *vm, struct error **err)
{
    int result = kvm_open(err);
    if (result < 0)
        return result;
    vm->kvm_fd = result;
    result = kvm_create_vm_fd(vm->kvm_fd, err);
    if (result < 0)
        return result;
    vm->fd = result;
    result = check_required(vm, err);
    if (result < 0)
        return result;
    ask_caps(vm);
    if (vm->vm.config.cpus > vm->caps.max_vcpus)
        return error_set(err, EINVAL, "KVM allows %u processors here, %u were asked for",
                         vm->caps.max_vcpus, vm->vm.config.cpus);
    result = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (result < (int)sizeof(struct kvm_run))
        return error_set(err, EIO, "KVM reports a vCPU area of %d bytes", result);
    vm->run_bytes = (size_t)result;
    return 0;
}

/* Processor-wide set-up that has to come before the first vCPU. */
static int vm_setup(struct kvm_vm *vm, struct error **err)
{
    uint64_t identity = KVM_IDENTITY_MAP_ADDRESS;

    ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);   /* Intel only; ENOTTY elsewhere */
    if (ioctl(vm->fd, KVM_SET_TSS_ADDR, KVM_TSS_ADDRESS) < 0)
        log_trace(vm->vm.config.log, ENGINE, "kvm: no TSS address: %s", strerror(errno));
    vm->supported = kvm_cpuid_supported(vm->kvm_fd, err);
    if (!vm->supported)
        return -EIO;
    const struct kvm_cpuid_entry2 *xsave = kvm_cpuid_entry(vm->supported, 0xd, 0);
    vm->xcr0_supported = xsave ? xsave->eax | (uint64_t)xsave->edx << 32 : 0;
    vm->xcr0_supported |= X86_XCR0_X87 | X86_XCR0_SSE;
    int result = kvm_msr_list_init(vm, err);
    if (result < 0)
        return result;
    if (vm->vm.config.want_irqchip)
        return kvm_irqchip_create(vm, err);
    kvm_msr_exits_enable(vm);
    return 0;
}

static int kvm_vm_create(const struct engine_vm_config *cfg, struct engine_vm **out,
                         struct error **err)
{
    int result = kvm_kick_install(err);
    if (result < 0)
        return result;
    struct kvm_vm *vm = calloc(1, sizeof(*vm));
    struct kvm_vcpu **vcpu = calloc(cfg->cpus ? cfg->cpus : 1, sizeof(*vcpu));
    if (!vm || !vcpu) {
        free(vm);
        free(vcpu);
        kvm_kick_uninstall();
        return error_set(err, ENOMEM, "out of memory for a virtual machine");
    }
    vm->vm.ops = &engine_kvm;
    vm->vm.config = *cfg;
    vm->vcpu = vcpu;
    vm->vcpus = cfg->cpus;
    vm->kvm_fd = vm->fd = -1;
    pthread_mutex_init(&vm->coalesce_lock, NULL);

    result = vm_open(vm, err);
    if (result == 0)
        result = vm_setup(vm, err);
    if (result == 0) {
        vm->listener = (struct memory_listener){
            .region_added = on_region_added, .region_removed = on_region_removed,
            .dirty_logging = on_dirty_logging, .opaque = vm};
        memory_add_listener(cfg->memory, &vm->listener);
        if (vm->slot_error) {
            result = -vm->slot_error->code;
            if (err) {
                *err = vm->slot_error;
                vm->slot_error = NULL;
            }
        }
    }
    if (result < 0) {
        kvm_vm_destroy(&vm->vm);
        return result;
    }
    *out = &vm->vm;
    return 0;
}

static void kvm_describe(struct engine_vm *engine_vm, struct strbuf *out)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);
    unsigned slots = 0;

    for (unsigned i = 0; i < KVM_SLOTS_MAX; i++)
        slots += vm->slot[i].used;
    strbuf_addf(out, "kvm: interrupt controllers and PIT in %s, %u memory slots\n",
                vm->irqchip ? "the kernel" : "user space", slots);
    if (!vm->irqchip && !(vm->caps.user_msr && vm->caps.msr_filter))
        strbuf_addf(out, "kvm: this kernel passes no MSR on: no x2APIC, no TSC deadline timer\n");
    for (unsigned i = 0; i < vm->vcpus; i++)
        if (vm->vcpu[i])
            strbuf_addf(out, "kvm: vCPU %u has a TSC of %u kHz\n", i, vm->vcpu[i]->tsc_khz);
}

const struct engine_ops engine_kvm = {
    .name = "kvm",
    .summary = "the host processor's virtualization, through /dev/kvm",
    .probe = kvm_probe,
    .features = kvm_features,
    .vm_create = kvm_vm_create,
    .vm_destroy = kvm_vm_destroy,
    .vcpu_create = kvm_vcpu_create,
    .vcpu_destroy = kvm_vcpu_destroy,
    .run = kvm_vcpu_run,
    .kick = kvm_vcpu_kick,
    .get_state = kvm_vcpu_get_state,
    .set_state = kvm_vcpu_set_state,
    .dirty_log = kvm_dirty_log,
    .describe = kvm_describe,
};
