/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - the dispatcher: from one piece of translated code to the next.
 *
 * The outer loop is the interpreter's (boundary(), exceptions); where the mode
 * allows, it enters translated code and handles its exits until something
 * wants the boundary again.
 *
 * This file and find.c, cache.c, tables.c and fpu.c run while the guest's vector state
 * is in the host's registers, so they are compiled for general registers only.
 * Whatever calls out of the room parks it first.
 */
#include "engine/dbt/find.h"

#include <Zydis/Mnemonic.h>
#include "base/bug.h"
#include "base/clock.h"
#include "engine/dbt/frame.h"
#include "engine/dbt/system.h"
#include "engine/dbt/translate.h"

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
    if (d->interp.cpu.mode.code_bits != 64)
        dbt_segments_in(&d->interp.cpu, f);
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
    if (d->interp.cpu.mode.code_bits != 64 && dbt_segments_real(&d->interp.cpu))
        dbt_segments_out(&d->interp.cpu, f);
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

static bool page_global(const struct x86_cpu *cpu, uint64_t a)
{
    return in_map(cpu->tlb_map[cpu->mode.tlb].global, (a >> PAGE_SHIFT) & (X86_TLB_SIZE - 1));
}

static void jump_remember(struct dbt_vcpu *d, const struct dbt_block *b)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    uint64_t a = dbt_linear_at(d, b->rip).v;
    bool global = page_global(cpu, a) && (!b->phys2 || page_global(cpu, a + PAGE_SIZE));

    dbt_jumps_add(d->tables->now[dbt_ring_now(d)], b, global, &d->thunks);
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
    enum dbt_ring ring = dbt_ring_now(d);
    const struct dbt_space *s = d->tables->now[ring];
    uint64_t rip = dbt_here(d);

    *f = s->frame;
    (*f)->target = rip;
    if (boundary_due(d) || s->mode != dbt_mode_key(d)) {
        (*f)->exit_kind = DBT_EXIT_LOOKUP;
        return false;
    }
    gs_base_set(d, ring);
    (*f)->entry = (*f)->jump[dbt_jump_index(rip)];
    return true;
}

static enum dbt_helped fault_at(struct dbt_vcpu *d, struct dbt_frame *f, uint64_t rip,
                                struct x86_exception *e)
{
    return dbt_event_fault(d, f, dbt_ip(d->interp.cpu.mode.code_bits, rip), e);
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
        return !d->counting && fault_at(d, *f, insn->rip, &e) != DBT_HELPED_NOT &&
               jump_on(d, f);
    default:
        return false;
    }
}

static bool look_up_fast(struct dbt_vcpu *d, struct dbt_frame *f)
{
    const struct dbt_space *s = d->tables->now[dbt_ring_now(d)];
    struct dbt_block *b;

    if (!f->go || (d->interp.cpu.mode.code_bits == 64 && !dbt_canonical(f->target)))
        return false;
    b = dbt_find_known(d, f->target, NULL);
    if (!b || s->mode != b->mode)
        return false;
    jump_remember(d, b);
    f->entry = (uint64_t)(uintptr_t)b->host;
    return true;
}

static bool chain_fast(struct dbt_vcpu *d, struct dbt_frame *f)
{
    struct dbt_site *site = left_at(d, f->exit_pc)->site;
    struct dbt_block *b = dbt_find_known(d, site->target, NULL);

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
    dbt_go_to(d, next);
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
    enum dbt_ring ring = dbt_ring_now(d);
    struct dbt_frame *f = dbt_tables_frame(d->tables, ring);

    gs_base_set(d, ring);
    state_in(d, f);
    f->entry = (uint64_t)(uintptr_t)entry;
    d->entered++;
    do {
        engine_vcpu_does(&d->interp.vcpu, dbt_ring_now(d) == DBT_RING_USER
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
        dbt_go_to(d, b->insn[insn].rip);
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
        !dbt_translatable(&d->interp.cpu) ||
        atomic_load_explicit(&d->interp.vcpu.requests, memory_order_relaxed))
        return BOUNDARY;
    if (b->dropped || b->mode != dbt_mode_key(d) || insn + 1u >= b->insns ||
        dbt_here(d) != b->insn[insn + 1].rip)
        return LOOK_UP;
    return resume(d, b, insn + 1);
}

static struct next exit_interp(struct dbt_vcpu *d, struct dbt_block *b, unsigned insn)
{
    uint64_t key = d->interp.key;

    dbt_go_to(d, b->insn[insn].rip);
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
    dbt_tables_fill(d->tables, dbt_ring_now(d), page, e->addend,
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

    dbt_go_to(d, b->insn[site->insn].rip);
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

    dbt_go_to(d, b->rip);
    *b->countdown = UINT32_MAX;                 /* once is enough */
    dbt_fpu_park(d);
    t = dbt_find_trace(d, b);
    count_entry(t ? t : b);
    return resume(d, t ? t : b, 0);
}

static struct next exit_chain(struct dbt_vcpu *d, struct dbt_site *site)
{
    uint64_t generation = dbt_cache_generation(d->cache);
    struct dbt_block *to;

    dbt_go_to(d, site->target);
    if (!quiet(d))
        return BOUNDARY;
    to = dbt_find(d);
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
    code = dbt_find_code(d, &phys);
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
    dbt_go_to(d, f->target);
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
        dbt_go_to(d, b->insn[site->insn + 1].rip);
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
    struct dbt_block *b = dbt_find(d);
    struct dbt_space *s = d->tables->now[dbt_ring_now(d)];

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
        if (!quiet(d) || !dbt_translatable(&d->interp.cpu) ||
            atomic_load_explicit(&d->interp.vcpu.requests, memory_order_relaxed))
            return;
    }
}

/* Translated code until the boundary is wanted. */
static void run_translated(struct dbt_vcpu *d)
{
    struct next next = LOOK_UP;

    if (d->forget)
        dbt_forget_all(d);
    while (!next.boundary) {
        if (!next.block && !dbt_translatable(&d->interp.cpu))
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
        if (x86_step_watch(&v->cpu) || !dbt_translatable(&v->cpu)) {
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
