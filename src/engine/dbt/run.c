/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - the dispatcher: from one piece of translated code to the next.
 *
 * The outer loop is the interpreter's (boundary(), exceptions); where the mode
 * allows, it enters translated code and handles its exits until something
 * wants the boundary again.
 *
 * This file and cache.c, tables.c and fpu.c run while the guest's vector state
 * is in the host's registers, so they are compiled for general registers only.
 * Whatever calls out of the room parks it first.
 */
#include "engine/dbt/system.h"

#include <Zydis/Mnemonic.h>
#include <errno.h>
#include "base/bug.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/dbt/frame.h"
#include "engine/dbt/translate.h"

/* ---- what can be translated ------------------------------------------------ */

/* 64-bit code, and 32-bit code with flat segments. Not while SMAP lets the kernel
 * at user pages: table entries made then would let it at them ever after. */
static bool translatable(const struct x86_cpu *cpu)
{
    const struct x86_mode *m = &cpu->mode;

    if (m->align_check || (m->tlb == X86_TLB_KERNEL_AC && cpu->s.cr4 & X86_CR4_SMAP))
        return false;
    if (m->code_bits == 64)
        return true;
    return m->code_bits == 32 && m->stack_bits == 32 && m->protected_mode && m->flat_data &&
           cpu->s.seg[X86_CS].base == 0 && cpu->s.seg[X86_CS].limit == UINT32_MAX;
}

static enum dbt_ring ring_now(const struct dbt_vcpu *d)
{
    return d->interp.cpu.mode.cpl == 3 ? DBT_RING_USER : DBT_RING_KERNEL;
}

/* ---- finding and making blocks ------------------------------------------------ */

static bool unlimited(const struct x86_segment *seg)
{
    /* Writable data, expand up, present, limit 4 GiB. */
    return seg->limit == UINT32_MAX && !(seg->attr & X86_ATTR_UNUSABLE) &&
           (seg->attr & (X86_ATTR_P | X86_ATTR_S | 0xe)) == (X86_ATTR_P | X86_ATTR_S | 0x2);
}

static uint32_t mode_key(const struct dbt_vcpu *d)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    const struct x86_state *s = &cpu->s;
    uint32_t key = cpu->mode.code_bits;

    if ((s->cr4 & X86_CR4_OSXSAVE) && (s->xcr0 & d->host.components) == d->host.components)
        key |= DBT_MODE_VEX;
    if (cpu->mode.cpl == 3)
        key |= DBT_MODE_USER;
    if (cpu->mode.cpl == 0)
        key |= DBT_MODE_IF;
    if (d->tsc_direct && (cpu->mode.cpl == 0 || !(s->cr4 & X86_CR4_TSD)))
        key |= DBT_MODE_TSC;
    if (cpu->mode.code_bits == 64)
        return key;
    return key | (unlimited(&s->seg[X86_FS]) ? DBT_MODE_FS : 0) |
           (unlimited(&s->seg[X86_GS]) ? DBT_MODE_GS : 0);
}

static void forget_all(struct dbt_vcpu *d)
{
    FILE *dump = d->interp.vcpu.vm->config.code_dump;

    d->stats.resets++;
    if (unlikely(log_tracing(d->interp.vcpu.vm->config.log, LOG_TRANSLATE)))
        dbt_trace_reset(d);
    if (unlikely(dump))
        dbt_dump_vcpu(d, dump);
    dbt_cache_reset(d->cache);
    dbt_paging_jumps_flush(d);
    for (unsigned i = 0; i < ARRAY_SIZE(d->left_at); i++)
        d->left_at[i].pc = 0;
    d->forget = false;
}

/* Translates what d->t->source and ->guide say into code memory; NULL: no room. */
static struct dbt_block *make(struct dbt_vcpu *d, struct dbt_block *proto)
{
    struct dbt_translation *t = d->t;
    struct dbt_block *b;

    if (!dbt_cache_begin(d->cache, &t->e))
        return NULL;
    t->cpu = &d->interp.cpu;
    t->thunks = &d->thunks;
    t->cache_start = dbt_cache_start(d->cache);
    t->cache = d->cache;
    t->mode = proto->mode;
    t->code_bits = proto->mode & DBT_MODE_BITS;
    t->countdown = proto->countdown;
    t->yields = d->interp.vcpu.vm->config.cpus > 1;
    t->ran = d->interp.vcpu.vm->config.code_dump ? dbt_cache_counter(d->cache) : NULL;
    if (!dbt_translate(t))
        return NULL;
    proto->ran = t->ran;
    proto->insns = (uint16_t)t->insns;
    proto->sites = (uint16_t)t->sites;
    proto->parts = (uint16_t)t->parts;
    proto->uses_fpu = t->fpu_checked;
    proto->loops = t->loops;
    proto->insn = t->insn;
    proto->site = t->site;
    proto->part = t->part;
    proto->body = t->body;
    COUNT(&d->interp.vcpu.counters, blocks_made);
    b = dbt_cache_commit(d->cache, &t->e, proto);
    if (unlikely(log_tracing(d->interp.vcpu.vm->config.log, LOG_TRANSLATE)))
        dbt_trace_made(d, b);
    return b;
}

/* The page behind the one at s.rip, host address and guest-physical one; NULL: not
 * RAM, or the end of the world. Raises what fetching from it raises. */
static const uint8_t *next_page(struct dbt_vcpu *d, uint64_t *phys)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    gva_t page = gva((cpu->s.rip | PAGE_OFFSET_MASK) + 1);
    const uint8_t *host = x86_tlb_hit(cpu, page, 1, X86_EXEC);

    if (host) {
        *phys = x86_tlb_at(cpu, page)->phys;
        return host;
    }
    if (cpu->mode.code_bits == 64 ? !dbt_canonical(page.v) : page.v > UINT32_MAX)
        return NULL;
    dbt_fpu_park(d);
    *phys = x86_fetch_page(cpu, page, &host).v & PAGE_MASK;
    return host;
}

static bool goes_on(const struct dbt_vcpu *d, const struct dbt_source *s)
{
    struct x86_insn insn;

    return dbt_near_page_end(s->rip) &&
           x86_decode(s->code, s->bytes, d->interp.cpu.mode.code_bits, &insn) == -EAGAIN;
}

/* Its bytes, from both pages. */
static bool join(struct dbt_vcpu *d, struct dbt_source *s, uint8_t bytes[2 * X86_INSN_MAX_BYTES])
{
    const uint8_t *host = next_page(d, &s->phys2);

    /* Physical address 0 stands for none. */
    if (!host || !s->phys2 || !interp_code_hold(&d->interp, s->phys2))
        return false;
    memcpy(bytes, s->code, s->bytes);
    memcpy(bytes + s->bytes, host, X86_INSN_MAX_BYTES);
    s->code = bytes;
    s->bytes1 = s->bytes;
    s->bytes += X86_INSN_MAX_BYTES;
    return true;
}

static struct dbt_block *translate(struct dbt_vcpu *d, uint64_t phys, const uint8_t *code)
{
    uint64_t rip = d->interp.cpu.s.rip;
    struct dbt_block *b, proto = {.rip = rip, .phys = phys, .mode = mode_key(d)};
    struct dbt_source source = {.rip = rip, .phys = phys, .code = code,
                                .bytes = PAGE_SIZE - (phys & PAGE_OFFSET_MASK)};
    uint8_t bytes[2 * X86_INSN_MAX_BYTES];
    bool counted;

    /* From now on nobody stores to the page unseen. */
    if (!interp_code_hold(&d->interp, phys & PAGE_MASK) ||
        (goes_on(d, &source) && !join(d, &source, bytes)))
        return NULL;
    d->t->guide = NULL;
    d->t->source = source;
    proto.phys2 = source.phys2;
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_TRANSLATE);
    counted = !d->counting && !source.phys2;
    proto.countdown = counted ? dbt_cache_countdown(d->cache) : NULL;
    b = make(d, &proto);
    if (!b) {
        forget_all(d);
        d->t->source = source;
        proto.countdown = counted ? dbt_cache_countdown(d->cache) : NULL;
        b = make(d, &proto);
        BUG_ON(!b);
    }
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_OTHER);
    return b;
}

/* ---- traces ------------------------------------------------------------------- */

/* Does the soft TLB say that the second page is the one it was made from? */
static bool second_known(struct x86_cpu *cpu, const struct dbt_block *b)
{
    gva_t page = gva((b->rip & PAGE_MASK) + PAGE_SIZE);

    return x86_tlb_hit(cpu, page, 1, X86_EXEC) && x86_tlb_at(cpu, page)->phys == b->phys2;
}

/* The block at `rip`, if that is mapped and has been translated. */
static struct dbt_block *known(struct dbt_vcpu *d, uint64_t rip, struct dbt_source *out)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    const uint8_t *host = x86_tlb_hit(cpu, gva(rip), 1, X86_EXEC);
    struct dbt_block *b;
    uint64_t phys;

    if (!host)
        return NULL;
    phys = x86_tlb_at(cpu, gva(rip))->phys | (rip & PAGE_OFFSET_MASK);
    b = dbt_cache_find(d->cache, rip, phys, mode_key(d));
    if (b && b->phys2 && !second_known(cpu, b))
        return NULL;
    if (b && out)
        *out = (struct dbt_source){rip, phys, host, PAGE_SIZE - (rip & PAGE_OFFSET_MASK), b->host};
    return b;
}

static unsigned executions(const struct dbt_block *b)
{
    return !b || !b->countdown ? 0 : b->trace || *b->countdown > DBT_HOT ? DBT_HOT
                                                                        : DBT_HOT - *b->countdown;
}

static bool guide_follow(void *opaque, uint64_t rip, struct dbt_source *out)
{
    const struct dbt_block *b = known(opaque, rip, out);

    return executions(b) > DBT_HOT / 16 && !(b->trace && b->trace->loops);
}

static uint64_t guide_usual(void *opaque, uint64_t a, uint64_t b)
{
    return executions(known(opaque, b, NULL)) > executions(known(opaque, a, NULL)) ? b : a;
}

/* The way that execution usually takes from `head` on, as one piece of code. */
static struct dbt_block *trace(struct dbt_vcpu *d, struct dbt_block *head)
{
    const struct dbt_guide guide = {guide_follow, guide_usual, d};
    struct dbt_block *t, proto = {.rip = head->rip, .phys = head->phys, .mode = head->mode,
                                  .head = head};

    if (known(d, head->rip, &d->t->source) != head)
        return NULL;
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_TRANSLATE);
    d->t->guide = &guide;
    t = make(d, &proto);
    d->t->guide = NULL;
    if (t) {
        d->stats.traces++;
        dbt_cache_trace(d->cache, head, t);
    }
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_OTHER);
    return t;
}

/* Where the code at s.rip is. The usual case calls nothing outside this room,
 * so that vector state may stay live. */
static const uint8_t *fetch(struct dbt_vcpu *d, uint64_t *phys)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    uint64_t rip = cpu->s.rip;
    const uint8_t *host = x86_tlb_hit(cpu, gva(rip), 1, X86_EXEC);

    if (likely(host)) {
        *phys = x86_tlb_at(cpu, gva(rip))->phys | (rip & PAGE_OFFSET_MASK);
        return host;
    }
    dbt_fpu_park(d);
    if (cpu->mode.code_bits == 64 && !dbt_canonical(rip))
        x86_gp0(cpu);
    *phys = x86_fetch_page(cpu, gva(rip), &host).v | (rip & PAGE_OFFSET_MASK);
    return host ? host + (rip & PAGE_OFFSET_MASK) : NULL;
}

/* Is the second page of this instruction the one it was translated from? */
static bool still_goes_on(struct dbt_vcpu *d, const struct dbt_block *b)
{
    uint64_t phys;

    if (next_page(d, &phys) && phys == b->phys2)
        return true;
    dbt_cache_drop(d->cache, b->phys, 1);
    return false;
}

/* The block at s.rip; NULL: interpret. Raises what fetching raises. */
static struct dbt_block *find(struct dbt_vcpu *d)
{
    uint64_t phys;
    const uint8_t *code = fetch(d, &phys);
    struct dbt_block *b;

    if (!code)
        return NULL;
    b = dbt_cache_find(d->cache, d->interp.cpu.s.rip, phys, mode_key(d));
    if (b && (!b->phys2 || still_goes_on(d, b)))
        return b;
    dbt_fpu_park(d);
    return translate(d, phys, code);
}

/* ---- in and out ------------------------------------------------------------- */

static void state_in(struct dbt_vcpu *d, struct dbt_frame *f)
{
    const struct x86_state *s = &d->interp.cpu.s;

    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        f->gpr[i] = s->gpr[i];
    dbt_flags_set(f, s->rflags);
    f->no_irq_waiting = !(atomic_load_explicit(&d->interp.vcpu.requests, memory_order_relaxed) &
                          REQUEST_INTR);
    f->x87 = d->x87;
    f->seg_base[X86_FS] = s->seg[X86_FS].base;
    f->seg_base[X86_GS] = s->seg[X86_GS].base;
    f->kernel_gs_base = s->msr.kernel_gs_base;
    f->tsc_offset = d->interp.tsc_offset - d->tsc_base;
    f->tsc_aux = s->msr.tsc_aux;
}

/* Translated code notes offsets; the selectors are still those of the moment. */
static void x87_out(struct dbt_vcpu *d, struct dbt_frame *f)
{
    const struct x86_state *s = &d->interp.cpu.s;

    if (d->x87_selectors && !(f->x87.fop & DBT_X87_OLD))
        d->fcs = s->seg[X86_CS].selector;
    if (d->x87_selectors && !(f->x87.fdp_seg & DBT_X87_OLD))
        d->fds = s->seg[f->x87.fdp_seg].selector;
    f->x87.fop |= DBT_X87_OLD;
    f->x87.fdp_seg |= DBT_X87_OLD;
    d->x87 = f->x87;
}

static void state_out(struct dbt_vcpu *d, struct dbt_frame *f)
{
    struct x86_state *s = &d->interp.cpu.s;

    if (d->fpu == DBT_FPU_LIVE)
        x87_out(d, f);
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        s->gpr[i] = f->gpr[i];
    s->rflags = dbt_flags_get(f);
    s->seg[X86_FS].base = f->seg_base[X86_FS];
    s->seg[X86_GS].base = f->seg_base[X86_GS];
    s->msr.kernel_gs_base = f->kernel_gs_base;
}

static void gs_base_set(struct dbt_vcpu *d, enum dbt_ring ring)
{
    uint64_t base = (uint64_t)(uintptr_t)dbt_tables_read_base(d->tables, ring);

    if (d->gs_base == base)
        return;
    dbt_host_set_gs(&d->host, base);
    d->gs_base = base;
}

/* ---- where it was left ---------------------------------------------------------- */

static unsigned insn_at(const struct dbt_block *b, uint64_t pc)
{
    uint32_t offset = (uint32_t)(pc - (uint64_t)(uintptr_t)b->host);
    unsigned i = b->insns;

    while (i > 1 && b->insn[i - 1].host_offset > offset)
        i--;
    return i - 1;
}

static struct dbt_site *site_at(struct dbt_block *b, uint64_t pc)
{
    uint32_t offset = (uint32_t)(pc - (uint64_t)(uintptr_t)b->host);

    for (unsigned i = 0; i < b->sites; i++) {
        if (b->site[i].host_offset == offset)
            return &b->site[i];
    }
    return NULL;
}

/* Which site of which block leaves at this return address. */
static const struct dbt_left *left_at(struct dbt_vcpu *d, uint64_t pc)
{
    struct dbt_left *l = &d->left_at[(pc ^ pc >> DBT_LEFT_BITS) & ((1 << DBT_LEFT_BITS) - 1)];

    if (unlikely(l->pc != pc)) {
        /* It may be the first byte of the next block. */
        struct dbt_block *b = dbt_cache_at(d->cache, pc - 1);

        BUG_ON(!b);
        *l = (struct dbt_left){pc, b, site_at(b, pc)};
        BUG_ON(!l->site);
    }
    return l;
}

/* Looking the page up first would raise the wrong fault or one too many:
 * alignment and a pending x87 exception come before, a masked access may not
 * touch the page at all. */
static bool needs_care(const struct dbt_vcpu *d, const struct dbt_insn *insn,
                       const struct dbt_site *site, uint64_t address)
{
    unsigned size = site->size;

    return insn->masked || (size >= 16 && (address & (size - 1u))) ||
           (insn->fpu && dbt_fpu_error_pending(d));
}

/* ---- on without leaving ----------------------------------------------------------- */

static bool in_map(const uint64_t *map, unsigned slot)
{
    return map[slot / 64] >> slot % 64 & 1;
}

static bool page_global(const struct x86_cpu *cpu, uint64_t rip)
{
    return in_map(cpu->tlb_map[cpu->mode.tlb].global, (rip >> PAGE_SHIFT) & (X86_TLB_SIZE - 1));
}

static void jump_remember(struct dbt_vcpu *d, const struct dbt_block *b)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    bool global = page_global(cpu, b->rip) &&
                  (!b->phys2 || page_global(cpu, b->rip + PAGE_SIZE));

    dbt_jumps_add(d->tables->now[ring_now(d)], b, global, &d->thunks);
}

/* Something to do between instructions, which is not done here. */
static bool boundary_due(const struct dbt_vcpu *d)
{
    const struct dbt_frame *f = d->frame;
    uint32_t requests = atomic_load_explicit(&d->interp.vcpu.requests, memory_order_relaxed);

    return !f->go || (requests && (f->flag_if || requests != REQUEST_INTR)) ||
           d->interp.cpu.s.ev.nmi_pending || f->flags_system & (X86_FLAG_TF | X86_FLAG_RF);
}

/* On at s.rip through the jump table; if that cannot be now, it is as if a jump
 * to there had left. */
static bool jump_on(struct dbt_vcpu *d, struct dbt_frame **f)
{
    enum dbt_ring ring = ring_now(d);
    const struct dbt_space *s = d->tables->now[ring];
    uint64_t rip = d->interp.cpu.s.rip;

    *f = s->frame;
    (*f)->target = rip;
    if (boundary_due(d) || s->mode != mode_key(d)) {
        (*f)->exit_kind = DBT_EXIT_LOOKUP;
        return false;
    }
    gs_base_set(d, ring);
    (*f)->entry = (*f)->jump[dbt_jump_index(rip)];
    return true;
}

/* The usual miss: the table entry is filled and the instruction tried again. Or
 * the usual page fault. */
static bool refill(struct dbt_vcpu *d, struct dbt_frame **f)
{
    const struct dbt_left *l = left_at(d, (*f)->exit_pc);
    const struct dbt_insn *insn = &l->block->insn[l->site->insn];
    struct x86_exception e = {.vector = X86_PF, .has_error = true, .cr2 = (*f)->target};

    if ((e.cr2 & PAGE_OFFSET_MASK) + l->site->size > PAGE_SIZE ||
        (d->interp.cpu.mode.code_bits == 64 && !dbt_canonical(e.cr2)) ||
        needs_care(d, insn, l->site, e.cr2))
        return false;
    switch (dbt_fill(d, d->interp.cpu.mode.tlb, gva(e.cr2), l->site->write, &e.error)) {
    case DBT_FILLED:
        if (insn->inside)
            return false;
        d->stats.slow[DBT_SLOW_REFILLED]++;
        l->site->exits++;
        (*f)->entry = (uint64_t)(uintptr_t)l->block->host + insn->host_offset;
        return true;
    case DBT_FILL_FAULT:
        return !d->counting && dbt_event_fault(d, *f, insn->rip, &e) != DBT_HELPED_NOT &&
               jump_on(d, f);
    default:
        return false;
    }
}

static bool look_up_fast(struct dbt_vcpu *d, struct dbt_frame *f)
{
    const struct dbt_space *s = d->tables->now[ring_now(d)];
    struct dbt_block *b;

    if (!f->go || !dbt_canonical(f->target))
        return false;
    b = known(d, f->target, NULL);
    if (!b || s->mode != b->mode)
        return false;
    jump_remember(d, b);
    f->entry = (uint64_t)(uintptr_t)b->host;
    return true;
}

static bool chain_fast(struct dbt_vcpu *d, struct dbt_frame *f)
{
    struct dbt_site *site = left_at(d, f->exit_pc)->site;
    struct dbt_block *b = known(d, site->target, NULL);

    if (!b)
        return false;
    site->exits++;
    dbt_cache_link(d->cache, site, b);
    f->target = b->rip;
    f->entry = (uint64_t)(uintptr_t)b->host;
    return true;
}

static bool help(struct dbt_vcpu *d, struct dbt_frame **f)
{
    const struct dbt_left *l = left_at(d, (*f)->exit_pc);
    uint64_t next = l->block->insn[l->site->insn + 1].rip;

    if (d->fpu == DBT_FPU_LIVE)
        x87_out(d, *f);
    d->interp.cpu.s.rip = next;
    l->site->exits++;
    switch (l->site->helper(d, *f, l->site)) {
    case DBT_HELPED:
        /* Most of these instructions serialise: what others wrote to code counts now. */
        if (!d->frame->go || l->block->dropped || (l->block->uses_fpu && d->fpu != DBT_FPU_LIVE))
            return jump_on(d, f);
        (*f)->entry = (*f)->exit_pc;
        return true;
    case DBT_HELPED_JUMP:
        return jump_on(d, f);
    default:
        return false;
    }
}

/* The guest's flags were not there when it faulted: code makes them, and leaves. */
static bool recover(struct dbt_vcpu *d, struct dbt_frame *f)
{
    const struct dbt_block *b = dbt_cache_at(d->cache, d->guard.pc);
    uint32_t at;

    BUG_ON(!b);
    at = b->insn[insn_at(b, d->guard.pc)].recover;
    f->entry = (uint64_t)(uintptr_t)b->host + at;
    return at;
}

/* The usual exits, with the state left in the frame. False: another one, or
 * as frame.exit_kind then says. */
static bool carry_on(struct dbt_vcpu *d, struct dbt_frame **f)
{
    unsigned kind = (unsigned)(*f)->exit_kind;
    bool on = false;

    if (kind == DBT_EXIT_SLOW)
        on = refill(d, f);
    else if (kind == DBT_EXIT_FAULT)
        on = recover(d, *f);
    else if (d->counting)
        return false;
    else if (kind == DBT_EXIT_HELPER)
        on = help(d, f);
    else if (kind == DBT_EXIT_LOOKUP)
        on = look_up_fast(d, *f);
    else if (kind == DBT_EXIT_CHAIN)
        on = chain_fast(d, *f);
    d->exits[kind] += on;
    return on;
}

/* ---- running ------------------------------------------------------------------- */

/* Runs translated code at `entry` until it leaves; registers are then back in
 * cpu.s, except RIP, which depends on the exit. */
static struct dbt_frame *enter(struct dbt_vcpu *d, const uint8_t *entry)
{
    enum dbt_ring ring = ring_now(d);
    struct dbt_frame *f = dbt_tables_frame(d->tables, ring);

    gs_base_set(d, ring);
    state_in(d, f);
    f->entry = (uint64_t)(uintptr_t)entry;
    d->entered++;
    do {
        engine_vcpu_does(&d->interp.vcpu, ring_now(d) == DBT_RING_USER
                                              ? ENGINE_DOES_GUEST_USER
                                              : ENGINE_DOES_GUEST_KERNEL);
        d->thunks.enter(f);
        engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_OTHER);
    } while (carry_on(d, &f));
    state_out(d, f);
    d->exits[f->exit_kind]++;
    return f;
}

/* ---- exits ------------------------------------------------------------------- */

/* What to do next: enter `block` at `insn`, or (NULL) look up s.rip, after the
 * boundary if that is wanted. */
struct next {
    struct dbt_block *block;
    unsigned insn;
    bool boundary;
};

static const struct next LOOK_UP = {NULL, 0, false}, BOUNDARY = {NULL, 0, true};

static struct next resume(struct dbt_vcpu *d, struct dbt_block *b, unsigned insn)
{
    /* A new block checks again, and relies on nothing. */
    if ((b->uses_fpu && d->fpu != DBT_FPU_LIVE && insn) || b->insn[insn].inside) {
        d->interp.cpu.s.rip = b->insn[insn].rip;
        return LOOK_UP;
    }
    return (struct next){b, insn, false};
}

/* The dispatcher enters behind the code that counts executions (--dump-blocks). */
static void count_entry(struct dbt_block *b)
{
    if (unlikely(b && b->ran))
        ++*b->ran;
}

/* Executes the instruction at s.rip in the interpreter. */
static void interpret_one(struct dbt_vcpu *d, bool fpu)
{
    d->interpreted++;
    if (fpu)
        dbt_fpu_sync(d);
    else
        dbt_fpu_park(d);
    d->left--;                              /* even if it raises */
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_INTERPRET);
    interp_one(&d->interp);
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_OTHER);
}

/* Blocks by the interpreter, with at most `fuel` instructions each. */
static void interpret_step(struct dbt_vcpu *d, int64_t fuel)
{
    struct interp *v = &d->interp;

    dbt_fpu_sync(d);
    d->kept = d->left - fuel;
    v->fuel = fuel;
    d->interpreting = true;
    engine_vcpu_does(&v->vcpu, ENGINE_DOES_INTERPRET);
    interp_step(v);
    engine_vcpu_does(&v->vcpu, ENGINE_DOES_OTHER);
    d->left = d->kept + v->fuel;
    d->interpreting = false;
}

static bool quiet(const struct dbt_vcpu *d)
{
    return !atomic_load_explicit(&d->interp.attention, memory_order_relaxed) &&
           d->interp.cpu.s.ev.mp_state == X86_MP_RUNNABLE && !x86_step_watch(&d->interp.cpu) &&
           !d->interp.cpu.halted_by_shutdown;
}

/* After instruction `insn` of `b` was interpreted: on with the block if it is
 * still the code at s.rip. */
static struct next after_interpreting(struct dbt_vcpu *d, struct dbt_block *b, unsigned insn,
                                      uint64_t key)
{
    /* It may have been what a waiting interrupt was waiting for (IRET, MOV CR8). */
    if (!quiet(d) || d->interp.key != key || d->interp.cpu.s.ev.nmi_pending ||
        !translatable(&d->interp.cpu) ||
        atomic_load_explicit(&d->interp.vcpu.requests, memory_order_relaxed))
        return BOUNDARY;
    if (b->dropped || b->mode != mode_key(d) || insn + 1u >= b->insns ||
        d->interp.cpu.s.rip != b->insn[insn + 1].rip)
        return LOOK_UP;
    return resume(d, b, insn + 1);
}

static struct next exit_interp(struct dbt_vcpu *d, struct dbt_block *b, unsigned insn)
{
    uint64_t key = d->interp.key;

    d->interp.cpu.s.rip = b->insn[insn].rip;
    d->handed_over[b->insn[insn].mnemonic]++;
    interpret_one(d, b->insn[insn].fpu);
    return after_interpreting(d, b, insn, key);
}

/* Copies what the soft TLB knows of a page, if it does, into the tables. */
static void fill_from_tlb(struct dbt_vcpu *d, gva_t page, bool write)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    const struct x86_tlb_map *map = &cpu->tlb_map[cpu->mode.tlb];
    const struct x86_tlb_entry *e = x86_tlb_at(&d->interp.cpu, page);
    unsigned slot = (unsigned)(e - *cpu->tlb_now);

    if (!e->addend || (write ? e->write : e->read) != page.v)
        return;
    d->fills++;
    dbt_tables_fill(d->tables, ring_now(d), page, e->addend,
                    (e->read == page.v ? DBT_FILL_READ : 0) |
                        (e->write == page.v ? DBT_FILL_WRITE : 0) |
                        (in_map(map->large, slot) ? DBT_FILL_LARGE : 0) |
                        (in_map(map->global, slot) ? DBT_FILL_GLOBAL : 0));
}

/* The instruction after a translated STI: no interrupt may come before it, so
 * it is not left to a look-up, which lets one in. */
static bool in_shadow(const struct dbt_block *b, unsigned insn)
{
    return insn && b->insn[insn - 1].mnemonic == ZYDIS_MNEMONIC_STI;
}

/* An access missed: fill its table entry and try again, or interpret it. */
static struct next exit_slow(struct dbt_vcpu *d, struct dbt_block *b, const struct dbt_site *site,
                             uint64_t address)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    gva_t page = gva(address & PAGE_MASK);
    uint8_t *host;

    cpu->s.rip = b->insn[site->insn].rip;
    if ((address & PAGE_OFFSET_MASK) + site->size > PAGE_SIZE ||
        (cpu->mode.code_bits == 64 && !dbt_canonical(address))) {
        d->stats.slow[(address & PAGE_OFFSET_MASK) + site->size > PAGE_SIZE ? DBT_SLOW_CROSSES
                                                                            : DBT_SLOW_WILD]++;
        return exit_interp(d, b, site->insn);
    }
    if (in_shadow(b, site->insn) || needs_care(d, &b->insn[site->insn], site, address)) {
        bool write = site->write;           /* the block may be gone afterwards */
        struct next next;

        d->stats.slow[DBT_SLOW_CARE]++;
        next = exit_interp(d, b, site->insn);
        fill_from_tlb(d, page, write);
        return next;
    }
    dbt_fpu_park(d);
    d->left--;                              /* if it raises it counts as executed */
    host = x86_host_ptr(cpu, gva(address), site->size, site->write ? X86_WRITE : X86_READ);
    d->left++;
    d->stats.slow[host ? DBT_SLOW_WALKED : DBT_SLOW_NO_RAM]++;
    if (!host)
        return exit_interp(d, b, site->insn);
    fill_from_tlb(d, page, site->write);
    return resume(d, b, site->insn);
}

static struct next exit_fpu(struct dbt_vcpu *d, struct dbt_block *b, unsigned insn)
{
    const struct x86_state *s = &d->interp.cpu.s;

    /* Only the plain case; the interpreter knows the rest. */
    if ((s->cr0 & (X86_CR0_EM | X86_CR0_TS)) || !(s->cr0 & X86_CR0_NE) ||
        !(s->cr4 & X86_CR4_OSFXSR) || !(s->cr4 & X86_CR4_OSXMMEXCPT) || in_shadow(b, insn))
        return exit_interp(d, b, insn);
    dbt_fpu_load(d);
    return resume(d, b, insn);
}

static struct next exit_hot(struct dbt_vcpu *d, struct dbt_block *b)
{
    struct dbt_block *t;

    d->interp.cpu.s.rip = b->rip;
    *b->countdown = UINT32_MAX;                 /* once is enough */
    dbt_fpu_park(d);
    t = trace(d, b);
    count_entry(t ? t : b);
    return resume(d, t ? t : b, 0);
}

static struct next exit_chain(struct dbt_vcpu *d, struct dbt_site *site)
{
    uint64_t generation = dbt_cache_generation(d->cache);
    struct dbt_block *to;

    d->interp.cpu.s.rip = site->target;
    if (!quiet(d))
        return BOUNDARY;
    to = find(d);
    if (!to)
        return BOUNDARY;
    /* Translating may have emptied the cache, the site with it. */
    if (dbt_cache_generation(d->cache) == generation && !d->counting)
        dbt_cache_link(d->cache, site, to);
    count_entry(to);
    return (struct next){to, 0, false};
}

/* An indirect jump to an address that is none faults itself, with the stack as
 * it was before: a RET or CALL has moved it already. */
static struct next undo_jump(struct dbt_vcpu *d, const struct dbt_frame *f)
{
    struct x86_state *s = &d->interp.cpu.s;
    struct dbt_block *b = dbt_cache_at_offset(d->cache, f->origin);
    struct x86_insn insn;
    const uint8_t *code;
    uint64_t phys;

    if (!b || b->dropped)
        return BOUNDARY;                    /* faults at the target instead */
    s->rip = b->insn[insn_at(b, dbt_cache_address(d->cache, f->origin))].rip;
    code = fetch(d, &phys);
    dbt_fpu_park(d);
    if (!code || x86_decode(code, PAGE_SIZE - (phys & PAGE_OFFSET_MASK), 64, &insn) < 0)
        return BOUNDARY;
    if (insn.gprs_written & 1u << X86_RSP)
        s->gpr[X86_RSP] += dbt_branch_is_ret(&insn) ? -(uint64_t)(8 + dbt_ret_drop(&insn)) : 8;
    interpret_one(d, false);
    return BOUNDARY;
}

/* Exits that end a block: the jump itself was executed. */
static struct next left_at_end(struct dbt_vcpu *d, const struct dbt_frame *f,
                               const struct next *from)
{
    d->left -= from->block->insns - from->insn;
    d->stats.requests += !f->go;
    d->interp.cpu.s.rip = f->target;
    if (unlikely(d->interp.cpu.mode.code_bits == 64 && !dbt_canonical(f->target)))
        return undo_jump(d, f);
    return quiet(d) && !boundary_due(d) ? LOOK_UP : BOUNDARY;
}

/* A helper while instructions are counted, or one that did nothing. */
static struct next exit_helper(struct dbt_vcpu *d, struct dbt_frame *f, struct dbt_block *b,
                               const struct dbt_site *site)
{
    enum dbt_helped helped = DBT_HELPED_NOT;

    if (d->counting) {
        d->interp.cpu.s.rip = b->insn[site->insn + 1].rip;
        helped = site->helper(d, f, site);
    }
    if (helped == DBT_HELPED_NOT)
        return exit_interp(d, b, site->insn);
    state_out(d, f);
    d->left--;
    return BOUNDARY;
}

/* `from` is where translated code was entered: only exact while counting,
 * otherwise it may have gone through many blocks since. */
static struct next left(struct dbt_vcpu *d, struct dbt_frame *f, const struct next *from)
{
    struct dbt_block *b;
    struct dbt_site *site = NULL;
    unsigned insn;

    if (f->exit_kind == DBT_EXIT_LOOKUP)
        return left_at_end(d, f, from);
    if (f->exit_kind == DBT_EXIT_FAULT) {
        b = dbt_cache_at(d->cache, d->guard.pc);
        BUG_ON(!b);
        insn = insn_at(b, d->guard.pc);
    } else {
        const struct dbt_left *l = left_at(d, f->exit_pc);
        b = l->block;
        site = l->site;
        site->exits += f->exit_kind != DBT_EXIT_HELPER;
        insn = site->insn;
    }
    d->left -= insn - from->insn;
    switch (f->exit_kind) {
    case DBT_EXIT_SLOW: return exit_slow(d, b, site, f->target);
    case DBT_EXIT_CHAIN:
        d->left--;
        return exit_chain(d, site);
    case DBT_EXIT_FPU: return exit_fpu(d, b, insn);
    case DBT_EXIT_HOT: return exit_hot(d, b);
    case DBT_EXIT_HELPER: return exit_helper(d, f, b, site);
    default: return exit_interp(d, b, insn);
    }
}

/* ---- the loop ---------------------------------------------------------------- */

/* The block at s.rip, remembered for indirect jumps. */
static struct dbt_block *look_up(struct dbt_vcpu *d)
{
    struct dbt_block *b = find(d);
    struct dbt_space *s = d->tables->now[ring_now(d)];

    count_entry(b);
    if (!b || d->counting)
        return b;
    if (s->mode != b->mode) {
        dbt_jumps_flush(s, &d->thunks);
        s->mode = b->mode;
    }
    jump_remember(d, b);
    return b;
}

static void interpret_last(struct dbt_vcpu *d)
{
    if (d->left > 0)
        interpret_one(d, true);
}

/* What cannot be translated now: usually a page of which another vCPU has not said yet
 * that it will not store to it unseen (interp_code_hold), as it has no host processor
 * at the moment. */
static void interpret_some(struct dbt_vcpu *d)
{
    enum { STEPS = 16, FUEL = 256 };

    for (unsigned i = 0; i < STEPS; i++) {
        d->interpreted++;
        interpret_step(d, FUEL);
        if (!quiet(d) || !translatable(&d->interp.cpu) ||
            atomic_load_explicit(&d->interp.vcpu.requests, memory_order_relaxed))
            return;
    }
}

/* Translated code until the boundary is wanted. */
static void run_translated(struct dbt_vcpu *d)
{
    struct next next = LOOK_UP;

    if (d->forget)
        forget_all(d);
    while (!next.boundary) {
        if (!next.block && !translatable(&d->interp.cpu))
            return;
        if (!next.block)
            next.block = look_up(d);
        if (!next.block || (d->counting && next.block->insns - next.insn > d->left)) {
            if (next.block || d->counting)
                interpret_last(d);
            else
                interpret_some(d);
            return;
        }
        next = left(d, enter(d, next.block->host + next.block->insn[next.insn].host_offset),
                    &next);
    }
}

/* `go` is set before attention is looked at, so a kick is never lost. */
static void arm(struct dbt_vcpu *d)
{
    __atomic_exchange_n(&d->frame->go, 1, __ATOMIC_SEQ_CST);
}

static enum engine_exit loop(struct dbt_vcpu *d)
{
    struct interp *v = &d->interp;
    enum engine_exit why;

    for (;;) {
        arm(d);
        dbt_fpu_park(d);
        d->tsc_direct = clock_is_tsc(v->vm->vm.config.clock, &d->tsc_base);
        v->fuel = d->left;
        if (!interp_boundary(v, &why))
            return why;
        if (x86_step_watch(&v->cpu) || !translatable(&v->cpu)) {
            interpret_step(d, d->left);
        } else {
            run_translated(d);
        }
    }
}

/* Counting instructions means coming back after every block. */
static void set_budget(struct dbt_vcpu *d, uint64_t max_instructions)
{
    bool counting = max_instructions != 0;

    d->left = counting && max_instructions < INT64_MAX ? (int64_t)max_instructions : INT64_MAX;
    d->forget |= counting != d->counting;
    d->counting = counting;
}

enum engine_exit dbt_run(struct engine_vcpu *vcpu, uint64_t max_instructions)
{
    struct dbt_vcpu *d = (struct dbt_vcpu *)vcpu;
    struct interp *v = &d->interp;
    enum engine_exit why;

    if (!interp_run_enter(v))
        return ENGINE_FAILED;
    set_budget(d, max_instructions);
    d->gs_base = 0;
    d->guard.resume = d->thunks.fault_resume;
    dbt_cache_range(d->cache, &d->guard.code_start, &d->guard.code_end);
    fault_guard_push(&d->guard);
    engine_vcpu_does(vcpu, ENGINE_DOES_OTHER);
    if (setjmp(v->cpu.unwind)) {
        dbt_fpu_park(d);
        engine_vcpu_does(vcpu, ENGINE_DOES_OTHER);
        if (d->interpreting)
            d->left = d->kept + v->fuel;
        d->interpreting = false;
        if (!interp_unwound(v)) {
            why = ENGINE_SHUTDOWN;
            goto out;
        }
    }
    why = loop(d);
out:
    dbt_fpu_sync(d);
    fault_guard_pop(&d->guard);
    interp_run_leave(v);
    return why;
}
