/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine.c - engine_interp: the reference engine.
 *
 * Executes everything a guest can do on any x86-64 host, without KVM. It is
 * the oracle for the other engines and the one that always works.
 */
#include "engine/interp/interp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bug.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/strbuf.h"
#include "x86/cpuid.h"
#include "x86/cpuid_features.h"
#include "x86/hostinsn.h"

/* What bench/interp-mips gives on a 2.6 GHz Zen, rounded down. What a KVM is
 * compared with (ENGINE_SOFTWARE_INSN_PER_US) is lower on purpose. */
enum { INSN_PER_US = 300 };

/* struct op refers to registers by 16-bit offsets. */
_Static_assert(offsetof(struct interp, cpu.s.seg[X86_SEG_COUNT]) < UINT16_MAX,
               "register state out of reach");

static struct interp_vm *vm_of(struct engine_vm *vm)
{
    return (struct interp_vm *)vm;
}

/* ---- what memory tells us ---------------------------------------------- */

/* Makes code_users cover the address space; no vCPU runs. Blocks of memory may
 * come anywhere below the end of RAM, ROM below 4 GiB. */
static int cover(struct interp_vm *vm)
{
    size_t count;
    const struct memory_region *r = memory_regions(vm->vm.config.memory, &count);
    uint64_t top = 1ull << 32;
    _Atomic uint8_t *users;

    for (size_t i = 0; i < count; i++)
        top = max_u64(top, r[i].base.v + r[i].size_bytes);
    if (top >> PAGE_SHIFT <= vm->code_pages)
        return 0;
    users = calloc(top >> PAGE_SHIFT, 1);       /* untouched pages cost nothing */
    if (!users)
        return -ENOMEM;
    for (uint64_t i = 0; i < vm->code_pages; i++)
        if (vm->code_users[i])
            atomic_store(&users[i], vm->code_users[i]);
    free((void *)vm->code_users);
    vm->code_users = users;
    vm->code_pages = top >> PAGE_SHIFT;
    return 0;
}

static void region_changed(struct interp_vm *vm, const struct memory_region *r)
{
    for (unsigned i = 0; i < vm->vm.config.cpus; i++) {
        struct interp *v = atomic_load(&vm->vcpu[i]);

        if (!v)
            continue;
        v->region = NULL;
        interp_cache_flush(v);
        x86_tlb_flush(&v->cpu, true);
    }
}

/* Without room for the page counts, pages up there are just never cached. */
static void region_added(void *opaque, const struct memory_region *r)
{
    (void)!cover(opaque);
    region_changed(opaque, r);
}

static void region_removed(void *opaque, const struct memory_region *r)
{
    region_changed(opaque, r);
}

static void written(void *opaque, gpa_t start, uint64_t size)
{
    struct interp_vm *vm = opaque;
    uint64_t end = start.v + size;

    for (uint64_t at = start.v; at < end; at = (at & PAGE_MASK) + PAGE_SIZE) {
        uint64_t to = min_u64(end, (at & PAGE_MASK) + PAGE_SIZE);

        if (interp_is_code(vm, at))
            interp_broadcast(vm, NULL, at, to - at);
    }
}

static void dirty_logging(void *opaque, bool on)
{
    struct interp_vm *vm = opaque;

    atomic_store(&vm->dirty_logging, on);
    interp_broadcast(vm, NULL, INTERP_NO_PAGE, 0);
}

/* ---- VM ---------------------------------------------------------------- */

static void interp_probe(struct engine_probe *out)
{
    out->status = ENGINE_GOOD;
    out->caps = ENGINE_CAP_INSN_BUDGET | ENGINE_CAP_DIRTY_LOG | ENGINE_CAP_DEBUGGER;
    out->insn_per_us = INSN_PER_US;
    out->exit_us = 0.2;
    snprintf(out->reason, sizeof out->reason,
             "software interpreter, some %d million instructions per second", INSN_PER_US);
}

void interp_vm_destroy(struct engine_vm *vm)
{
    struct interp_vm *m = vm_of(vm);

    if (!m)
        return;
    memory_remove_listener(vm->config.memory, &m->listener);
    free((void *)m->code_users);
    free((void *)m->vcpu);
    free(m);
    fault_uninstall();
}

static int interp_vm_create(const struct engine_vm_config *cfg, struct engine_vm **out,
                            struct error **err)
{
    struct interp_vm *m = calloc(1, sizeof *m);
    int r = fault_install(err);

    if (r < 0) {
        free(m);
        return r;
    }
    if (!m)
        goto no_memory;
    pthread_mutex_init(&m->split_lock, NULL);
    m->vm.ops = &engine_interp;
    m->vm.caps = ENGINE_CAP_DEBUGGER;
    m->vm.config = *cfg;
    m->features = cfg->model->features.w[0];
    m->vcpu = calloc(cfg->cpus, sizeof *m->vcpu);
    if (!m->vcpu || cover(m) < 0)
        goto no_memory;
    m->listener = (struct memory_listener){.region_added = region_added,
                                           .region_removed = region_removed,
                                           .written = written,
                                           .dirty_logging = dirty_logging,
                                           .opaque = m};
    memory_add_listener(cfg->memory, &m->listener);
    atomic_store(&m->dirty_logging, memory_dirty_logging(cfg->memory));
    *out = &m->vm;
    return 0;

no_memory:
    if (m)
        free((void *)m->vcpu);
    free(m);
    fault_uninstall();
    return error_set(err, ENOMEM, "out of memory");
}

/* ---- vCPU -------------------------------------------------------------- */

void interp_vcpu_destroy(struct engine_vcpu *vcpu)
{
    struct interp *v = interp_of(vcpu);

    if (!vcpu)
        return;
    atomic_store(&v->vm->vcpu[vcpu->index], NULL);
    interp_cache_fini(v);
    x86_hostinsn_pool_free(v->cpu.hostinsns);
    error_free(&vcpu->failure);
    free(v);
}

int interp_vcpu_new(struct engine_vm *vm, unsigned index, const struct engine_ops *ops,
                    const struct x86_env_ops *env, size_t size, struct interp **out,
                    struct error **err)
{
    struct interp_vm *m = vm_of(vm);
    struct interp *v;
    int r;

    BUG_ON(index >= vm->config.cpus || size < sizeof *v);
    size = (size + 63) & ~(size_t)63;
    v = aligned_alloc(64, size);
    if (!v)
        return error_set(err, ENOMEM, "out of memory");
    memset(v, 0, size);
    v->vcpu.ops = ops;
    v->vcpu.vm = vm;
    v->vcpu.index = index;
    v->vm = m;
    x86_cpu_init(&v->cpu, env, v, vm->config.model, &v->vcpu.counters, vm->config.log,
                 index == 0);
    v->cpu.index = index;
    r = interp_cache_init(v, err);
    if (r == 0) {
        v->cpu.hostinsns = x86_hostinsn_pool_new(err);
        r = v->cpu.hostinsns ? 0 : -ENOMEM;
    }
    if (r < 0) {
        interp_vcpu_destroy(&v->vcpu);
        return r;
    }
    interp_key_update(v, true);
    atomic_store(&m->vcpu[index], v);
    *out = v;
    return 0;
}

static int interp_vcpu_create(struct engine_vm *vm, unsigned index, struct engine_vcpu **out,
                              struct error **err)
{
    struct interp *v;
    int r = interp_vcpu_new(vm, index, &engine_interp, &interp_env_ops, sizeof *v, &v, err);

    if (r == 0)
        *out = &v->vcpu;
    return r;
}

void interp_attend(struct interp *v)
{
    atomic_store(&v->attention, true);
    if (v->observer)
        v->observer->attend(v);
}

void interp_kick(struct engine_vcpu *vcpu)
{
    interp_attend(interp_of(vcpu));
}

int interp_get_state(struct engine_vcpu *vcpu, struct x86_state *out)
{
    struct interp *v = interp_of(vcpu);
    const struct engine_vm_config *cfg = &vcpu->vm->config;

    *out = v->cpu.s;
    out->tsc = interp_tsc(v);
    out->cr8 = cfg->guest->tpr_get(cfg->guest_opaque, vcpu->index);
    return 0;
}

int interp_set_state(struct engine_vcpu *vcpu, const struct x86_state *in)
{
    struct interp *v = interp_of(vcpu);
    const struct engine_vm_config *cfg = &vcpu->vm->config;

    v->cpu.s = *in;
    v->cpu.s.rflags |= X86_FLAG_1;
    v->cpu.halted_by_shutdown = false;
    v->cpu.debug_due = 0;
    v->tsc_offset += in->tsc - interp_tsc(v);
    cfg->guest->tpr_set(cfg->guest_opaque, vcpu->index, (uint8_t)in->cr8);
    x86_cpu_state_loaded(&v->cpu);
    return 0;
}

/* Pages were marked when they became writable; now they stop being so, each
 * vCPU for itself before it executes anything more. */
int interp_dirty_log(struct engine_vm *vm)
{
    interp_broadcast(vm_of(vm), NULL, INTERP_NO_PAGE, 0);
    return 0;
}

unsigned interp_fault_chain(struct engine_vcpu *vcpu, struct x86_exception *out,
                                   uint64_t *rips, unsigned max)
{
    const struct x86_cpu *cpu = &interp_of(vcpu)->cpu;
    unsigned n = cpu->fault_count < X86_FAULT_LOG ? cpu->fault_count : X86_FAULT_LOG;

    n = n < max ? n : max;
    for (unsigned i = 0; i < n; i++) {
        unsigned slot = (cpu->fault_count - n + i) % X86_FAULT_LOG;

        out[i] = cpu->fault_log[slot].e;
        rips[i] = cpu->fault_log[slot].rip;
    }
    return n;
}

static void interp_describe(struct engine_vm *vm, struct strbuf *out)
{
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        const struct interp *v = atomic_load(&vm_of(vm)->vcpu[i]);

        if (v)
            strbuf_addf(out, "vcpu %u: %zu KiB of decoded code, generation %llu\n", i,
                        v->arena_used >> 10, (unsigned long long)v->generation);
    }
}

const struct engine_ops engine_interp = {
    .name = "interp",
    .summary = "our own interpreter: works everywhere, no KVM needed",
    .probe = interp_probe,
    .features = x86_features_software,
    .vm_create = interp_vm_create,
    .vm_destroy = interp_vm_destroy,
    .vcpu_create = interp_vcpu_create,
    .vcpu_destroy = interp_vcpu_destroy,
    .run = interp_run,
    .kick = interp_kick,
    .get_state = interp_get_state,
    .set_state = interp_set_state,
    .dirty_log = interp_dirty_log,
    .fault_chain = interp_fault_chain,
    .describe = interp_describe,
};
