/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine.c - engine_dbt: the translator as an engine.
 *
 * A VM is the interpreter's VM; a vCPU is an interpreting vCPU (vcpu.h) with a
 * code cache, address tables and two frames. What the interpreter tells its
 * observer keeps them true.
 */
#include "engine/dbt/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/error.h"
#include "base/log.h"
#include "engine/dbt/host.h"
#include "engine/dbt/translate.h"
#include "x86/cpuid.h"
#include "x86/cpuid_features.h"
#include "x86/hostinsn.h"
#include "x86/xsave_image.h"

/* A space takes a TiB of 128: half of them for all vCPUs together. */
enum { CACHE_BYTES = 64 << 20, SPACES_MAX = 64, SPACES_MIN = 2 };

/* ---- what the interpreter tells us ------------------------------------------ */

static void attend(struct interp *v)
{
    struct dbt_vcpu *d = dbt_of(v);

    __atomic_store_n(&d->frame->go, 0, __ATOMIC_SEQ_CST);
}

static bool written(struct interp *v, uint64_t start, uint64_t last)
{
    struct dbt_vcpu *d = dbt_of(v);
    unsigned n = dbt_cache_drop(d->cache, start, last - start + 1);

    counter_add(&v->vcpu.counters, COUNTER_blocks_dropped, n);
    if (n)
        log_trace(v->vm->vm.config.log, TRANSLATE, "vcpu %u: %llx-%llx written, %u blocks dropped",
                  v->vcpu.index, (unsigned long long)start, (unsigned long long)last, n);
    return dbt_cache_page_has_code(d->cache, start);
}

static void protect(struct interp *v, uint64_t page)
{
    struct dbt_vcpu *d = dbt_of(v);
    hva_t host = memory_host(v->vm->vm.config.memory, gpa(page), PAGE_SIZE, false);

    if (host.p)
        dbt_tables_protect(d->tables, (uintptr_t)host.p);
}

static void mark_dirty(void *opaque, uintptr_t host_page)
{
    struct memory *m = opaque;
    size_t n;
    const struct memory_region *r = memory_regions(m, &n);

    for (size_t i = 0; i < n; i++) {
        uint64_t offset = host_page - (uintptr_t)r[i].host.p;
        if (offset < r[i].size_bytes)
            memory_dirty_mark(m, gpa(r[i].base.v + offset), PAGE_SIZE);
    }
}

/* What the tables allowed until now counts as written, as in the soft TLB. */
static void protect_all(struct interp *v)
{
    struct dbt_vcpu *d = dbt_of(v);

    if (atomic_load(&v->vm->dirty_logging))
        dbt_tables_visit_writable(d->tables, mark_dirty, v->vm->vm.config.memory);
    dbt_tables_flush(d->tables);
}

static void flushed(struct interp *v)
{
    struct dbt_vcpu *d = dbt_of(v);

    d->forget = true;           /* the block that led here may still be running */
    d->regions = 0;             /* the memory map may be another */
}

static const struct interp_observer observer = {
    .attend = attend,
    .written = written,
    .protect = protect,
    .protect_all = protect_all,
    .flushed = flushed,
};

static void tlb_flushed(void *env, const gva_t *lin, bool global)
{
    struct dbt_vcpu *d = dbt_of(env);

    interp_env_ops.tlb_flushed(env, lin, global);
    dbt_paging_flushed(d, lin, global);
}

/* ---- vCPU ------------------------------------------------------------------- */

static void dbt_vcpu_destroy(struct engine_vcpu *vcpu)
{
    struct dbt_vcpu *d = (struct dbt_vcpu *)vcpu;

    if (!vcpu)
        return;
    d->interp.observer = NULL;
    dbt_cache_free(d->cache);
    dbt_tables_free(d->tables);
    free(d->t);
    interp_vcpu_destroy(vcpu);
}

static void frame_init(struct dbt_frame *f)
{
    f->page_mask = 0x0000fffffffff000;
    f->low_mask = PAGE_OFFSET_MASK;
    for (unsigned i = 0; i < DBT_CROSS_SIZES; i++) {
        f->cross_mask[i] = PAGE_OFFSET_MASK & ~((2ull << i) - 1);
        f->align_mask[i] = (2ull << i) - 1;
    }
    f->jump_mask = DBT_JUMP_MASK;
    f->jump2_mask = DBT_JUMP2_MASK;
    f->high_mask = 0xffff800000000000;
    f->arith_mask = X86_FLAGS_ARITH;
    f->if_mask = X86_FLAG_IF;
    f->df_mask = X86_FLAG_DF;
    f->bit_mask32 = 31;
    f->bit_mask64 = 63;
    f->mxcsr_reserved = (uint32_t)~X86_MXCSR_MASK;
    f->other_mask = DBT_POPF_OTHER;
}

/* Makes the thunks, and lets frames and jump tables lead to them. */
static bool thunks_init(struct dbt_vcpu *d)
{
    d->frame = dbt_tables_frame(d->tables, DBT_RING_KERNEL);
    frame_init(d->frame);
    d->host.emit.frame = d->frame;
    if (!dbt_thunks_make(d->cache, &d->thunks))
        return false;
    for (unsigned i = 0; i < DBT_EXITS; i++)
        d->frame->exit[i] = d->thunks.exit[i];
    dbt_paging_jumps_flush(d);
    return true;
}

/* Does the guest have its extended state where the host has it? */
static bool xsave_direct(const struct dbt_vcpu *d)
{
    const struct x86_xsave_layout *guest = &d->interp.cpu.model->xsave, *host = &d->layout;

    for (unsigned c = X86_XCOMP_AVX; c < X86_XCOMP_COUNT; c++) {
        if (d->host.components >> c & 1 && (guest->offset[c] != host->offset[c] ||
                                            guest->size[c] != host->size[c]))
            return false;
    }
    return d->host.xsavec;
}

/* What several VMs of a process share is not divided further than to 2 for each. */
static unsigned spaces(const struct engine_vm_config *cfg)
{
    unsigned vms = cfg->machines ? cfg->machines : 1;
    unsigned n = SPACES_MAX / (cfg->cpus + 1) / vms;

    return n < SPACES_MIN && vms > 1 ? SPACES_MIN : n;
}

static int dbt_vcpu_create(struct engine_vm *vm, unsigned index, struct engine_vcpu **out,
                           struct error **err)
{
    struct x86_env_ops env = interp_env_ops;
    struct interp *v;
    struct dbt_vcpu *d;
    int r;

    env.tlb_flushed = tlb_flushed;
    r = interp_vcpu_new(vm, index, &engine_dbt, &interp_env_ops, sizeof *d, &v, err);
    if (r < 0)
        return r;
    d = dbt_of(v);
    d->env_ops = env;
    dbt_host_init(&d->host, vm->config.host_lacks);
    x86_xsave_layout_host(&d->layout);
    d->layout.components |= X86_XCR0_X87 | X86_XCR0_SSE;
    d->xsave_direct = xsave_direct(d);
    d->x87_selectors = x86_hostinsn_x87_selectors(v->cpu.hostinsns);
    d->t = calloc(1, sizeof *d->t);
    d->cache = dbt_cache_new(CACHE_BYTES, &d->host.emit, err);
    d->tables = d->cache ? dbt_tables_new(spaces(&vm->config), err) : NULL;
    if (!d->t || !d->tables || !thunks_init(d)) {
        dbt_vcpu_destroy(&v->vcpu);
        return err && *err ? -(*err)->code : error_set(err, ENOMEM, "out of memory");
    }
    v->cpu.ops = &d->env_ops;
    v->observer = &observer;
    *out = &v->vcpu;
    return 0;
}

static int dbt_vm_create(const struct engine_vm_config *cfg, struct engine_vm **out,
                         struct error **err)
{
    int r = engine_interp.vm_create(cfg, out, err);

    if (r == 0)
        (*out)->ops = &engine_dbt;
    return r;
}

/* Without tables for each value of AC, what runs with it set is interpreted. */
static void dbt_features(struct x86_features *out)
{
    x86_features_software(out);
    x86_feature_shy(out, X86_FEATURE_SMAP);
}

const struct engine_ops engine_dbt = {
    .name = "dbt",
    .summary = "our own translator: near-native speed, no KVM needed",
    .probe = dbt_probe,
    .features = dbt_features,
    .vm_create = dbt_vm_create,
    .vm_destroy = interp_vm_destroy,
    .vcpu_create = dbt_vcpu_create,
    .vcpu_destroy = dbt_vcpu_destroy,
    .run = dbt_run,
    .kick = interp_kick,
    .get_state = interp_get_state,
    .set_state = interp_set_state,
    .dirty_log = interp_dirty_log,
    .fault_chain = interp_fault_chain,
    .describe = dbt_describe,
    .dump_code = dbt_dump_code,
};
