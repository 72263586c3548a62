/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid.c - the features KVM can give a guest, and the CPUID table of a vCPU.
 *
 * The table is the model's (x86/cpuid.h) cut down to what KVM supports; bits
 * that had to go are told in a trace line. KVM itself keeps the dynamic bits
 * true (OSXSAVE, OSPKE, APIC, XSAVE size) and its own leaves at 0x40000000 are
 * added, so that a guest finds kvm-clock. Of KVM's paravirtual features only
 * those are shown whose state is in struct x86_msrs.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <asm/kvm_para.h>
#include "base/error.h"
#include "base/log.h"
#include "x86/cpuid.h"
#include "x86/cpuid_features.h"

enum { CPUID_ENTRIES = 256 };

#define PV_LEAF_SIGNATURE 0x40000000u
#define PV_LEAF_FEATURES  0x40000001u
#define PV_BIT(f) (1u << KVM_FEATURE_##f)
/* These need nothing that a state could miss. */
#define PV_FEATURES (PV_BIT(CLOCKSOURCE) | PV_BIT(CLOCKSOURCE2) | PV_BIT(CLOCKSOURCE_STABLE_BIT) | \
                     PV_BIT(NOP_IO_DELAY) | PV_BIT(STEAL_TIME))
/* These need the local APIC in the kernel as well. */
#define PV_FEATURES_IRQCHIP (PV_BIT(PV_EOI) | PV_BIT(PV_UNHALT) | PV_BIT(PV_TLB_FLUSH) | \
                             PV_BIT(PV_SEND_IPI) | PV_BIT(PV_SCHED_YIELD))

struct kvm_cpuid2 *kvm_cpuid_supported(int kvm_fd, struct error **err)
{
    struct kvm_cpuid2 *table = calloc(1, sizeof(*table) +
                                      CPUID_ENTRIES * sizeof(table->entries[0]));
    if (!table) {
        error_set(err, ENOMEM, "out of memory for the CPUID table");
        return NULL;
    }
    table->nent = CPUID_ENTRIES;
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, table) < 0) {
        error_set(err, errno, "KVM does not tell its CPUID features: %s", strerror(errno));
        free(table);
        return NULL;
    }
    return table;
}

const struct kvm_cpuid_entry2 *kvm_cpuid_entry(const struct kvm_cpuid2 *table, uint32_t leaf,
                                               uint32_t subleaf)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &table->entries[i];
        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
            return e;
    }
    return NULL;
}

/* Bits KVM can give although KVM_GET_SUPPORTED_CPUID does not list them. */
static uint32_t unlisted_bits(int kvm_fd, uint32_t leaf, char reg)
{
    uint32_t bits = 0;

    if (leaf == 1 && reg == 'C') {
        bits |= 1u << 31;                                    /* hypervisor */
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) > 0)
            bits |= 1u << 21;                                /* x2APIC, emulated */
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            bits |= 1u << 24;
    } else if (leaf == 1 && reg == 'D') {
        bits |= 1u << 9 | 1u << 28;                          /* APIC; HTT is topology */
    } else if (leaf == 6 && reg == 'A') {
        bits |= 1u << 2;                                     /* ARAT: the timer never stops */
    }
    return bits;
}

static uint32_t entry_register(const struct kvm_cpuid_entry2 *e, char reg)
{
    return reg == 'A' ? e->eax : reg == 'B' ? e->ebx : reg == 'C' ? e->ecx : e->edx;
}

void kvm_features(struct x86_features *out)
{
    static const struct { uint32_t leaf, subleaf; char reg; uint8_t bit; } where[] = {
#define X(id, name, leaf, subleaf, reg, bit, soft) \
        [X86_FEATURE_##id] = {leaf, subleaf, #reg[0], bit},
        X86_FEATURES_ALL(X)
#undef X
    };
    memset(out, 0, sizeof(*out));
    int fd = kvm_open(NULL);
    struct kvm_cpuid2 *table = fd < 0 ? NULL : kvm_cpuid_supported(fd, NULL);
    if (!table)
        goto out;
    for (unsigned id = 0; id < ARRAY_SIZE(where); id++) {
        const struct kvm_cpuid_entry2 *e = kvm_cpuid_entry(table, where[id].leaf,
                                                           where[id].subleaf);
        uint32_t bits = e ? entry_register(e, where[id].reg) : 0;
        bits |= unlisted_bits(fd, where[id].leaf, where[id].reg);
        if (bits >> where[id].bit & 1)
            out->w[id / 64] |= 1ull << id % 64;
    }
out:
    free(table);
    if (fd >= 0)
        close(fd);
}

/* ---- the table of one vCPU ------------------------------------------------ */

static bool leaf_has_subleaves(uint32_t leaf)
{
    switch (leaf) {
    case 4: case 7: case 0xb: case 0xd: case 0x14: case 0x1f: case 0x8000001d:
        return true;
    default:
        return false;
    }
}

/* Which registers of a leaf hold feature bits, as a string of letters. */
static const char *feature_registers(uint32_t leaf, uint32_t subleaf)
{
    if (leaf == 1 || leaf == 0x80000001)
        return "CD";
    if (leaf == 7)
        return subleaf == 0 ? "BCD" : subleaf == 1 ? "A" : "";
    if (leaf == 0xd)
        return subleaf == 1 ? "A" : "";
    if (leaf == 0x80000007)
        return "D";
    return leaf == 0x80000008 ? "B" : leaf == 0x80000021 ? "A" : "";
}

static uint32_t *register_of(struct kvm_cpuid_entry2 *e, char reg)
{
    return reg == 'A' ? &e->eax : reg == 'B' ? &e->ebx : reg == 'C' ? &e->ecx : &e->edx;
}

/* x2APIC and the TSC deadline live in MSRs: without the kernel's APIC they work
 * only if the kernel passes those on. */
static uint32_t unreachable_bits(const struct kvm_vm *vm, uint32_t leaf, char reg)
{
    uint32_t bits = 0;

    if (leaf != 1 || reg != 'C' || vm->irqchip)
        return 0;
    if (!vm->caps.user_msr)
        bits |= 1u << 21;
    if (!vm->caps.user_msr || !vm->caps.msr_filter)
        bits |= 1u << 24;
    return bits;
}

static void restrict_features(struct kvm_vm *vm, struct kvm_cpuid_entry2 *e)
{
    const struct kvm_cpuid_entry2 *s = kvm_cpuid_entry(vm->supported, e->function, e->index);

    for (const char *reg = feature_registers(e->function, e->index); *reg; reg++) {
        uint32_t *value = register_of(e, *reg);
        uint32_t allowed = (s ? entry_register(s, *reg) : 0) |
                           unlisted_bits(vm->kvm_fd, e->function, *reg);
        allowed &= ~unreachable_bits(vm, e->function, *reg);
        if (*value & ~allowed)
            log_trace(vm->vm.config.log, CPUID, "kvm: leaf 0x%x.%u E%cX bits 0x%x left out",
                      e->function, e->index, *reg, *value & ~allowed);
        *value &= allowed;
    }
}

/* The numbers by which a processor knows itself; APIC ID = index. */
static void set_apic_id(struct kvm_cpuid_entry2 *e, unsigned index)
{
    switch (e->function) {
    case 1:
        e->ebx = (e->ebx & 0xffffff) | index << 24;
        break;
    case 0xb: case 0x1f:
        e->edx = index;
        break;
    case 0x8000001e:
        e->eax = index;
        break;
    }
}

static void add_pv_leaves(struct kvm_vm *vm, struct kvm_cpuid2 *table)
{
    const struct kvm_cpuid_entry2 *sig = kvm_cpuid_entry(vm->supported, PV_LEAF_SIGNATURE, 0);
    const struct kvm_cpuid_entry2 *features = kvm_cpuid_entry(vm->supported, PV_LEAF_FEATURES, 0);

    if (!sig || !features || table->nent + 2 > CPUID_ENTRIES)
        return;
    struct kvm_cpuid_entry2 *e = &table->entries[table->nent];
    e[0] = *sig;
    e[0].eax = PV_LEAF_FEATURES;
    e[1] = *features;
    e[1].eax &= PV_FEATURES | (vm->irqchip ? PV_FEATURES_IRQCHIP : 0);
    e[1].edx = 0;
    table->nent += 2;
}

int kvm_cpuid_set(struct kvm_vcpu *v, struct error **err)
{
    struct kvm_vm *vm = v->vm;
    const struct x86_cpu_model *model = vm->vm.config.model;
    struct kvm_cpuid2 *table = calloc(1, sizeof(*table) +
                                      CPUID_ENTRIES * sizeof(table->entries[0]));
    if (!table)
        return error_set(err, ENOMEM, "out of memory for the CPUID table");
    for (unsigned i = 0; i < model->leaves; i++) {
        const struct x86_cpuid_leaf *leaf = &model->leaf[i];
        struct kvm_cpuid_entry2 *e = &table->entries[table->nent];
        /* A hypervisor leaf in the model is the software engines' own. */
        if (leaf->leaf >> 16 == PV_LEAF_SIGNATURE >> 16)
            continue;
        *e = (struct kvm_cpuid_entry2){
            .function = leaf->leaf, .index = leaf->subleaf,
            .flags = leaf_has_subleaves(leaf->leaf) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = leaf->eax, .ebx = leaf->ebx, .ecx = leaf->ecx, .edx = leaf->edx};
        restrict_features(vm, e);
        set_apic_id(e, v->vcpu.index);
        table->nent++;
    }
    add_pv_leaves(vm, table);
    int result = 0;
    if (ioctl(v->fd, KVM_SET_CPUID2, table) < 0)
        result = error_set(err, errno, "KVM refuses the CPUID table of vCPU %u: %s",
                           v->vcpu.index, strerror(errno));
    free(table);
    return result;
}
