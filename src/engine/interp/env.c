/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * env.c - memory and platform, as the shared x86 code sees them.
 *
 * The device side may take locks and may wait for other vCPUs to stop. While
 * this vCPU is there it counts as not running, so that nobody waits for it to
 * read its inbox; it does so before it goes on.
 */
#include "engine/interp/interp.h"

#include <string.h>
#include "base/clock.h"

enum { MSR_TSC_DEADLINE = 0x6e0 };

/* ---- leaving and coming back ------------------------------------------- */

void interp_outside(struct interp *v)
{
    atomic_store(&v->running, false);
}

void interp_inside(struct interp *v)
{
    atomic_store(&v->running, true);
    if (atomic_load(&v->attention))
        interp_inbox_read(v);
}

static const struct engine_vm_config *config(const struct interp *v)
{
    return &v->vm->vm.config;
}

/* ---- memory ------------------------------------------------------------ */

static const struct memory_region *region_at(struct interp *v, uint64_t a)
{
    const struct memory_region *r = v->region;

    if (likely(r && a - r->base.v < r->size_bytes))
        return r;
    r = memory_find(config(v)->memory, gpa(a));
    if (r)
        v->region = r;
    return r;
}

static uint8_t *env_ram_page(void *env, gpa_t page, bool for_write)
{
    struct interp *v = env;
    const struct memory_region *r = region_at(v, page.v);

    if (!r)
        return NULL;
    if (for_write) {
        if ((r->flags & MEMORY_READONLY) || interp_is_code(v->vm, page.v))
            return NULL;
        if (atomic_load_explicit(&v->vm->dirty_logging, memory_order_relaxed))
            memory_dirty_mark(config(v)->memory, page, PAGE_SIZE);
    }
    return r->host.p + (page.v - r->base.v);
}

/* Other vCPUs may access the same bytes: plain moves, as on a processor. */
#define GUEST_RACE __attribute__((no_sanitize("thread")))

static GUEST_RACE uint64_t load(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    switch (size) {
    case 1: memcpy(&v, p, 1); break;
    case 2: memcpy(&v, p, 2); break;
    case 4: memcpy(&v, p, 4); break;
    default: memcpy(&v, p, 8); break;
    }
    return v;
}

static GUEST_RACE void store(uint8_t *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: memcpy(p, &v, 1); break;
    case 2: memcpy(p, &v, 2); break;
    case 4: memcpy(p, &v, 4); break;
    default: memcpy(p, &v, 8); break;
    }
}

static uint64_t env_phys_read(void *env, gpa_t a, unsigned size)
{
    struct interp *v = env;
    const struct memory_region *r = region_at(v, a.v);
    uint64_t value;

    if (r)
        return load(r->host.p + (a.v - r->base.v), size);
    COUNT(&v->vcpu.counters, exit_mmio_read);
    interp_outside(v);
    value = config(v)->guest->mmio_read(config(v)->guest_opaque, v->vcpu.index, a, size);
    interp_inside(v);
    return value;
}

/* A page whose stores no longer need watching: later ones may be fast again. */
static void unwatch(struct interp *v, uint64_t page)
{
    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++) {
        for (unsigned i = 0; i < X86_TLB_SIZE; i++) {
            struct x86_tlb_entry *e = &v->cpu.tlb[kind][i];

            if (e->phys == page && e->write != X86_TLB_NONE && (e->write & X86_TLB_SLOW))
                e->write = X86_TLB_NONE;
        }
    }
}

static void ram_written(struct interp *v, gpa_t a, unsigned size)
{
    if (atomic_load_explicit(&v->vm->dirty_logging, memory_order_relaxed))
        memory_dirty_mark(config(v)->memory, a, size);
    if (!interp_is_code(v->vm, a.v)) {
        if (!(v->cpu.s.dr7 & 0xff) && !v->cpu.debugger)
            unwatch(v, a.v & PAGE_MASK);
        return;
    }
    COUNT(&v->vcpu.counters, code_writes);
    interp_code_written(v, a.v, size);
    interp_broadcast(v->vm, v, a.v, size);
}

static void env_phys_write(void *env, gpa_t a, unsigned size, uint64_t value)
{
    struct interp *v = env;
    const struct memory_region *r = region_at(v, a.v);

    if (r && !(r->flags & MEMORY_READONLY)) {
        store(r->host.p + (a.v - r->base.v), size, value);
        ram_written(v, a, size);
        return;
    }
    COUNT(&v->vcpu.counters, exit_mmio_write);
    interp_outside(v);
    config(v)->guest->mmio_write(config(v)->guest_opaque, v->vcpu.index, a, size, value);
    interp_inside(v);
}

/* ---- atomic updates of watched memory ------------------------------------ */

static uint8_t *env_ram_locked(void *env, gpa_t page)
{
    struct interp *v = env;
    const struct memory_region *r = region_at(v, page.v);

    return r && !(r->flags & MEMORY_READONLY) ? r->host.p + (page.v - r->base.v) : NULL;
}

static void env_stored(void *env, gpa_t a, unsigned size)
{
    ram_written(env, a, size);
}

static void env_split_lock(void *env, bool hold)
{
    struct interp *v = env;

    if (hold)
        pthread_mutex_lock(&v->vm->split_lock);
    else
        pthread_mutex_unlock(&v->vm->split_lock);
}

/* ---- ports, MSRs, task priority ---------------------------------------- */

static uint64_t env_pio_read(void *env, uint16_t port, unsigned size)
{
    struct interp *v = env;
    uint64_t value;

    COUNT(&v->vcpu.counters, exit_pio_read);
    interp_outside(v);
    value = config(v)->guest->pio_read(config(v)->guest_opaque, v->vcpu.index, port, size);
    interp_inside(v);
    return value;
}

static void env_pio_write(void *env, uint16_t port, unsigned size, uint64_t value)
{
    struct interp *v = env;

    COUNT(&v->vcpu.counters, exit_pio_write);
    interp_outside(v);
    config(v)->guest->pio_write(config(v)->guest_opaque, v->vcpu.index, port, size, value);
    interp_inside(v);
}

/* What a device took at once is one access. */
static size_t env_pio_string(void *env, uint16_t port, unsigned size, void *buf, size_t count,
                             bool write)
{
    struct interp *v = env;
    const struct guest_ops *guest = config(v)->guest;
    size_t done;

    if (!guest->pio_string)
        return 0;
    interp_outside(v);
    done = guest->pio_string(config(v)->guest_opaque, v->vcpu.index, port, size, buf, count,
                             write);
    interp_inside(v);
    if (done && write)
        COUNT(&v->vcpu.counters, exit_pio_write);
    else if (done)
        COUNT(&v->vcpu.counters, exit_pio_read);
    return done;
}

static int env_msr_read(void *env, uint32_t msr, uint64_t *value)
{
    struct interp *v = env;
    int r;

    COUNT(&v->vcpu.counters, exit_msr);
    interp_outside(v);
    r = config(v)->guest->msr_read(config(v)->guest_opaque, v->vcpu.index, msr, value);
    interp_inside(v);
    if (r == 0 && msr == MSR_TSC_DEADLINE && *value)
        *value += v->tsc_offset;
    return r;
}

/* A deadline before clock tick 1 has passed, but 0 would disarm. */
static int env_msr_write(void *env, uint32_t msr, uint64_t value)
{
    struct interp *v = env;
    int r;

    COUNT(&v->vcpu.counters, exit_msr);
    if (msr == MSR_TSC_DEADLINE && value) {
        int64_t ticks = (int64_t)(value - v->tsc_offset);

        value = ticks > 0 ? (uint64_t)ticks : 1;
    }
    interp_outside(v);
    r = config(v)->guest->msr_write(config(v)->guest_opaque, v->vcpu.index, msr, value);
    interp_inside(v);
    return r;
}

static uint8_t env_tpr_get(void *env)
{
    struct interp *v = env;
    uint8_t tpr;

    interp_outside(v);
    tpr = config(v)->guest->tpr_get(config(v)->guest_opaque, v->vcpu.index);
    interp_inside(v);
    return tpr;
}

static void env_tpr_set(void *env, uint8_t tpr)
{
    struct interp *v = env;

    interp_outside(v);
    config(v)->guest->tpr_set(config(v)->guest_opaque, v->vcpu.index, tpr);
    interp_inside(v);
}

static int64_t env_hypercall(void *env, uint64_t number, const uint64_t arg[4],
                             unsigned word_bits)
{
    struct interp *v = env;
    const struct guest_ops *guest = config(v)->guest;
    int64_t answer;

    if (!guest->hypercall)
        return -X86_KVM_ENOSYS;
    interp_outside(v);
    answer = guest->hypercall(config(v)->guest_opaque, v->vcpu.index, number, arg, word_bits);
    interp_inside(v);
    return answer;
}

/* ---- time -------------------------------------------------------------- */

uint64_t interp_tsc(const struct interp *v)
{
    return clock_ticks(config(v)->clock) + v->tsc_offset;
}

static uint64_t env_tsc(void *env)
{
    return interp_tsc(env);
}

static void env_tsc_set(void *env, uint64_t tsc)
{
    struct interp *v = env;

    v->tsc_offset = tsc - clock_ticks(config(v)->clock);
}

/* ---- changes that blocks depend on ------------------------------------- */

static void env_tlb_flushed(void *env, const gva_t *lin, bool global)
{
    interp_key_update(env, true);
}

static void env_mode_changed(void *env)
{
    interp_key_update(env, false);
}

const struct x86_env_ops interp_env_ops = {
    .ram_page = env_ram_page,
    .phys_read = env_phys_read,
    .phys_write = env_phys_write,
    .ram_locked = env_ram_locked,
    .stored = env_stored,
    .split_lock = env_split_lock,
    .pio_read = env_pio_read,
    .pio_write = env_pio_write,
    .pio_string = env_pio_string,
    .msr_read = env_msr_read,
    .msr_write = env_msr_write,
    .tpr_get = env_tpr_get,
    .tpr_set = env_tpr_set,
    .hypercall = env_hypercall,
    .tsc = env_tsc,
    .tsc_set = env_tsc_set,
    .tlb_flushed = env_tlb_flushed,
    .mode_changed = env_mode_changed,
};
