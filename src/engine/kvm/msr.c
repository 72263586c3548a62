/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * msr.c - model-specific registers between struct x86_msrs and KVM.
 *
 * Which MSRs exist differs from kernel to kernel and from processor to
 * processor: KVM_GET_MSR_INDEX_LIST names most, MTRRs and machine-check banks
 * are only found by trying. KVM_GET_MSRS and KVM_SET_MSRS stop at the first one
 * they do not take and say how far they came; that one is left out with a trace
 * line and the rest goes on.
 *
 * With user-space interrupt controllers, the guest's accesses to the APIC's
 * MSRs have to come out. KVM refuses x2APIC registers when it has no APIC, and
 * refusals can be made exits; it swallows IA32_TSC_DEADLINE, which therefore
 * needs a filter. IA32_APIC_BASE stays KVM's (the CPUID APIC bit hangs on it);
 * the run loop passes changes on.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#define MSR_IA32_TSC          0x10u
#define MSR_IA32_TSC_DEADLINE 0x6e0u

struct msr_row {
    uint32_t index;
    uint16_t offset;      /* in struct x86_msrs */
    bool unlisted;        /* try even if KVM_GET_MSR_INDEX_LIST does not name it */
};

#define ROW(index, field) {index, offsetof(struct x86_msrs, field), false}
#define TRY(index, field) {index, offsetof(struct x86_msrs, field), true}
#define BANK(n) TRY(0x400 + 4 * (n), mc_bank[4 * (n)]),                                  \
                TRY(0x401 + 4 * (n), mc_bank[4 * (n) + 1]),                              \
                TRY(0x402 + 4 * (n), mc_bank[4 * (n) + 2]),                              \
                TRY(0x403 + 4 * (n), mc_bank[4 * (n) + 3])
#define MTRR_VAR(n) TRY(0x200 + 2 * (n), mtrr_var[2 * (n)]),                             \
                    TRY(0x201 + 2 * (n), mtrr_var[2 * (n) + 1])

/* Numbers: Intel SDM vol. 4; KVM's own: Documentation/virt/kvm/x86/msr.rst.
 * EFER and APIC_BASE travel with the special registers. */
static const struct msr_row rows[] = {
    ROW(0xc0000081, star), ROW(0xc0000082, lstar), ROW(0xc0000083, cstar),
    ROW(0xc0000084, fmask), ROW(0xc0000102, kernel_gs_base), ROW(0xc0000103, tsc_aux),
    ROW(0x174, sysenter_cs), ROW(0x175, sysenter_esp), ROW(0x176, sysenter_eip),
    ROW(0x277, pat), ROW(0x3b, tsc_adjust), ROW(0x1a0, misc_enable), ROW(0x48, spec_ctrl),
    ROW(0xda0, xss), ROW(0x1d9, debugctl), ROW(0x8b, ucode_rev), ROW(0x9e, smbase),
    TRY(0xc0010010, amd_syscfg), TRY(0xc0010015, amd_hwcr), TRY(0xc0011029, amd_de_cfg),
    TRY(0xc001001a, amd_top_mem), TRY(0xc001001d, amd_top_mem2),
    TRY(0x2ff, mtrr_def_type),
    TRY(0x250, mtrr_fixed[0]), TRY(0x258, mtrr_fixed[1]), TRY(0x259, mtrr_fixed[2]),
    TRY(0x268, mtrr_fixed[3]), TRY(0x269, mtrr_fixed[4]), TRY(0x26a, mtrr_fixed[5]),
    TRY(0x26b, mtrr_fixed[6]), TRY(0x26c, mtrr_fixed[7]), TRY(0x26d, mtrr_fixed[8]),
    TRY(0x26e, mtrr_fixed[9]), TRY(0x26f, mtrr_fixed[10]),
    MTRR_VAR(0), MTRR_VAR(1), MTRR_VAR(2), MTRR_VAR(3),
    MTRR_VAR(4), MTRR_VAR(5), MTRR_VAR(6), MTRR_VAR(7),
    ROW(0x17a, mcg_status), ROW(0x17b, mcg_ctl),
    BANK(0), BANK(1), BANK(2), BANK(3), BANK(4), BANK(5), BANK(6), BANK(7), BANK(8), BANK(9),
    ROW(0x4b564d01, kvm_system_time), ROW(0x4b564d00, kvm_wall_clock),
    ROW(0x4b564d02, kvm_async_pf), ROW(0x4b564d03, kvm_steal_time), ROW(0x4b564d04, kvm_pv_eoi),
};
_Static_assert(ARRAY_SIZE(rows) <= KVM_MSR_MAX, "msr_known is too small");

struct msr_batch {
    unsigned count;
    struct kvm_msr_entry entry[KVM_MSR_MAX];
    unsigned row[KVM_MSR_MAX];      /* which row each entry came from */
};

/* As the kernel wants it: the entries right behind the header. */
union msr_buffer {
    struct kvm_msrs msrs;
    uint8_t bytes[sizeof(struct kvm_msrs) + KVM_MSR_MAX * sizeof(struct kvm_msr_entry)];
};

static uint64_t *row_field(struct x86_msrs *m, unsigned row)
{
    return (uint64_t *)((char *)m + rows[row].offset);
}

static bool row_known(const struct kvm_vm *vm, unsigned row)
{
    return vm->msr_known[row / 64] >> row % 64 & 1;
}

static void row_know(struct kvm_vm *vm, unsigned row, bool known)
{
    uint64_t bit = 1ull << row % 64;
    vm->msr_known[row / 64] = (vm->msr_known[row / 64] & ~bit) | (known ? bit : 0);
}

int kvm_msr_list_init(struct kvm_vm *vm, struct error **err)
{
    struct kvm_msr_list probe = {.nmsrs = 0};

    /* Fails with E2BIG and tells how many there are. */
    if (ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, &probe) < 0 && errno != E2BIG)
        return error_set(err, errno, "KVM does not list its MSRs: %s", strerror(errno));
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
    if (!list)
        return error_set(err, ENOMEM, "out of memory for the list of MSRs");
    list->nmsrs = probe.nmsrs;
    int result = 0;
    if (ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
        result = error_set(err, errno, "KVM does not list its MSRs: %s", strerror(errno));
        goto out;
    }
    for (unsigned row = 0; row < ARRAY_SIZE(rows); row++) {
        bool known = rows[row].unlisted;
        for (uint32_t i = 0; i < list->nmsrs && !known; i++)
            known = list->indices[i] == rows[row].index;
        if (!known)
            log_trace(vm->vm.config.log, MSR, "kvm: MSR 0x%x does not exist here, left out",
                      rows[row].index);
        row_know(vm, row, known);
    }
out:
    free(list);
    return result;
}

static void batch_fill(const struct kvm_vm *vm, struct msr_batch *b, const struct x86_msrs *values)
{
    memset(b, 0, sizeof(*b));
    for (unsigned row = 0; row < ARRAY_SIZE(rows); row++) {
        if (!row_known(vm, row))
            continue;
        struct kvm_msr_entry *e = &b->entry[b->count];
        e->index = rows[row].index;
        if (values)
            memcpy(&e->data, (const char *)values + rows[row].offset, sizeof(e->data));
        b->row[b->count++] = row;
    }
}

/* Entries [first, count) of the batch. Returns how many were done. */
static int batch_ioctl(struct kvm_vcpu *v, unsigned long request, struct msr_batch *b,
                       unsigned first)
{
    union msr_buffer part;
    unsigned count = b->count - first;

    memset(&part.msrs, 0, sizeof(part.msrs));
    part.msrs.nmsrs = count;
    memcpy(part.msrs.entries, &b->entry[first], count * sizeof(b->entry[0]));
    int done = ioctl(v->fd, request, &part);
    if (done > 0 && request == KVM_GET_MSRS)
        memcpy(&b->entry[first], part.msrs.entries, (size_t)done * sizeof(b->entry[0]));
    return done;
}

void kvm_msrs_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct msr_batch b;
    unsigned i = 0;

    batch_fill(v->vm, &b, NULL);
    while (i < b.count) {
        int done = batch_ioctl(v, KVM_GET_MSRS, &b, i);
        unsigned end = i + (done > 0 ? (unsigned)done : 0);
        for (; i < end; i++)
            *row_field(&out->msr, b.row[i]) = b.entry[i].data;
        if (i < b.count) {
            /* One the kernel cannot read: never ask again. */
            log_trace(v->vm->vm.config.log, MSR, "kvm: MSR 0x%x cannot be read, left out",
                      b.entry[i].index);
            row_know(v->vm, b.row[i++], false);
        }
    }
}

/* The kernel complains in its log about every refusal: the same value is not
 * tried twice. */
static void batch_drop_refused(const struct kvm_vm *vm, struct msr_batch *b)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < b->count; i++) {
        unsigned row = b->row[i];
        if (vm->msr_refused[row / 64] >> row % 64 & 1 && vm->msr_refused_value[row] ==
            b->entry[i].data)
            continue;
        b->entry[kept] = b->entry[i];
        b->row[kept++] = row;
    }
    b->count = kept;
}

static void refused(struct kvm_vm *vm, unsigned row, uint64_t value)
{
    vm->msr_refused[row / 64] |= 1ull << row % 64;
    vm->msr_refused_value[row] = value;
    log_trace(vm->vm.config.log, MSR, "kvm: MSR 0x%x does not take 0x%llx, left out",
              rows[row].index, (unsigned long long)value);
}

void kvm_msrs_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    struct msr_batch b;
    unsigned i = 0;

    batch_fill(v->vm, &b, &in->msr);
    batch_drop_refused(v->vm, &b);
    while (i < b.count) {
        int done = batch_ioctl(v, KVM_SET_MSRS, &b, i);
        i += done > 0 ? (unsigned)done : 0;
        if (i < b.count) {
            refused(v->vm, b.row[i], b.entry[i].data);
            i++;
        }
    }
}

static int one_ioctl(struct kvm_vcpu *v, unsigned long request, struct kvm_msr_entry *entry)
{
    struct msr_batch b = {.count = 1};

    b.entry[0] = *entry;
    int done = batch_ioctl(v, request, &b, 0);
    *entry = b.entry[0];
    return done < 0 ? -errno : done == 1 ? 0 : -EINVAL;
}

int kvm_msr_read(struct kvm_vcpu *v, uint32_t msr, uint64_t *value)
{
    struct kvm_msr_entry entry = {.index = msr};
    int result = one_ioctl(v, KVM_GET_MSRS, &entry);

    *value = entry.data;
    return result;
}

int kvm_msr_write(struct kvm_vcpu *v, uint32_t msr, uint64_t value)
{
    return one_ioctl(v, KVM_SET_MSRS, &(struct kvm_msr_entry){.index = msr, .data = value});
}

/* ---- accesses that come out to us ---------------------------------------- */

void kvm_msr_exits_enable(struct kvm_vm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
                 KVM_MSR_EXIT_REASON_FILTER}};
    uint8_t deny = 0;   /* a clear bit denies, that is: comes to us */
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges = {{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                    .base = MSR_IA32_TSC_DEADLINE, .nmsrs = 1, .bitmap = &deny}}};

    if (vm->caps.user_msr && ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
        vm->caps.user_msr = false;
    if (vm->caps.msr_filter && ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
        vm->caps.msr_filter = false;
    if (!vm->caps.user_msr || !vm->caps.msr_filter)
        log_trace(vm->vm.config.log, ENGINE, "kvm: MSR accesses cannot be had here: no %sTSC "
                  "deadline timer with user-space interrupt controllers",
                  vm->caps.user_msr ? "" : "x2APIC and no ");
}

static uint64_t rescale(uint64_t ticks, uint32_t from_khz, uint32_t to_khz)
{
    if (!from_khz || from_khz == to_khz)
        return ticks;
    return (uint64_t)((unsigned __int128)ticks * to_khz / from_khz);
}

uint64_t kvm_deadline_to_clock(struct kvm_vcpu *v, uint64_t deadline)
{
    const struct clock *clock = v->vm->vm.config.clock;
    uint64_t tsc = 0, now = clock_ticks(clock);

    if (deadline == 0 || kvm_msr_read(v, MSR_IA32_TSC, &tsc) < 0)
        return 0;
    if (deadline <= tsc)
        return now ? now : 1;
    return now + rescale(deadline - tsc, v->tsc_khz, clock_tick_khz(clock));
}

uint64_t kvm_deadline_from_clock(struct kvm_vcpu *v, uint64_t ticks)
{
    const struct clock *clock = v->vm->vm.config.clock;
    uint64_t tsc = 0, now = clock_ticks(clock);

    if (ticks == 0 || kvm_msr_read(v, MSR_IA32_TSC, &tsc) < 0)
        return 0;
    if (ticks <= now)
        return tsc ? tsc : 1;
    return tsc + rescale(ticks - now, clock_tick_khz(clock), v->tsc_khz);
}

bool kvm_msr_exit_read(struct kvm_vcpu *v, uint32_t msr, uint64_t *value)
{
    const struct engine_vm_config *cfg = &v->vm->vm.config;

    *value = 0;
    if (cfg->guest->msr_read(cfg->guest_opaque, v->vcpu.index, msr, value) < 0)
        return false;
    /* An armed deadline reads back as the guest wrote it (SDM vol. 3, 10.5.4.1). */
    if (msr == MSR_IA32_TSC_DEADLINE && *value)
        *value = v->tsc_deadline;
    return true;
}

bool kvm_msr_exit_write(struct kvm_vcpu *v, uint32_t msr, uint64_t value)
{
    const struct engine_vm_config *cfg = &v->vm->vm.config;

    if (msr == MSR_IA32_TSC_DEADLINE) {
        v->tsc_deadline = value;
        value = kvm_deadline_to_clock(v, value);
    }
    return cfg->guest->msr_write(cfg->guest_opaque, v->vcpu.index, msr, value) == 0;
}
