/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate.c - a block of guest code becomes a block of host code.
 *
 * A block starts anywhere and ends at a branch, at an instruction the
 * interpreter has to finish the block with, at the end of the page, or when it
 * is long enough. A trace (trace.c) is the same with a guide that knows how to
 * go on behind branches. At every instruction boundary the registers are where dbt.h
 * says, so that any instruction may be left for the dispatcher and entered
 * again.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include <errno.h>
#include "base/bug.h"
#include "x86/cpuid.h"

#define M(name) ZYDIS_MNEMONIC_##name

const uint8_t dbt_home[X86_GPR_COUNT] = {
    [X86_RAX] = H_RAX, [X86_RCX] = H_R10, [X86_RDX] = H_RDX, [X86_RBX] = H_RBX,
    [X86_RSP] = H_R9,  [X86_RBP] = H_RBP, [X86_RSI] = H_RSI, [X86_RDI] = H_RDI,
    [X86_R8] = H_R8,   [X86_R9] = H_NONE, [X86_R10] = H_NONE, [X86_R11] = H_NONE,
    [X86_R12] = H_R12, [X86_R13] = H_R13, [X86_R14] = H_R14, [X86_R15] = H_R15,
};

void dbt_homes_set(struct dbt_translation *t, bool rehomed)
{
    t->rehomed = rehomed;
    t->home = rehomed ? t->loop_home : dbt_home;
    t->in_frame = rehomed ? t->loop_in_frame : DBT_IN_FRAME;
}

/* ---- sites and stubs ---------------------------------------------------- */

static void site_add(struct dbt_translation *t, enum dbt_exit exit, unsigned insn,
                     uint64_t target)
{
    if (t->sites == DBT_MAX_SITES) {
        t->e.overflow = true;
        return;
    }
    t->site[t->sites++] = (struct dbt_site){
        .host_offset = (uint32_t)(t->e.p - t->e.start), .insn = (uint16_t)insn,
        .kind = (uint8_t)exit, .target = target};
}

static void exit_for(struct dbt_translation *t, enum dbt_exit exit, unsigned insn)
{
    emit_call_mem(&t->e, h_frame(offsetof(struct dbt_frame, exit) + 8 * (unsigned)exit));
    site_add(t, exit, insn, 0);
}

/* From a loop, or where flags are dead: the guest's state as it is elsewhere. */
static void settle(struct dbt_translation *t)
{
    if (t->clobbered)
        dbt_recipe_emit(t, t->recipe);
    if (t->rehomed)
        dbt_rehome_leave(t);
}

struct dbt_site *dbt_exit_here(struct dbt_translation *t, enum dbt_exit exit)
{
    settle(t);
    exit_for(t, exit, t->insns);
    return t->e.overflow ? NULL : &t->site[t->sites - 1];
}

static struct dbt_stub *stub_new(struct dbt_translation *t, enum dbt_stub_kind kind,
                                 enum dbt_exit exit)
{
    struct dbt_stub *s;

    BUG_ON(t->stubs == DBT_MAX_STUBS);      /* dbt_has_room() */
    s = &t->stub[t->stubs++];
    *s = (struct dbt_stub){.kind = (uint8_t)kind, .address = h_base(H_R11, 0),
                           .exit = (uint8_t)exit, .insn = (uint16_t)t->insns,
                           .recipe = t->clobbered ? t->recipe : NULL, .rehomed = t->rehomed};
    return s;
}

struct dbt_stub *dbt_stub_here(struct dbt_translation *t, enum dbt_stub_kind kind,
                               enum dbt_exit exit)
{
    struct dbt_stub *s;

    if (t->nears == DBT_MAX_NEAR)
        dbt_stubs_flush(t);
    t->near[t->nears++] = (struct dbt_near){emit_jrcxz(&t->e), (uint16_t)t->stubs};
    s = stub_new(t, kind, exit);
    s->back = t->e.p;
    return s;
}

struct dbt_stub *dbt_late_here(struct dbt_translation *t, enum dbt_stub_kind kind,
                               enum dbt_exit exit, unsigned cc)
{
    uint8_t *from = emit_jcc(&t->e, cc, NULL);
    struct dbt_stub *s;

    t->clobbered = true;
    s = stub_new(t, kind, exit);
    s->from = from;
    s->back = t->e.p;
    return s;
}

/* To the stub itself; the address goes to r11, where the dispatcher looks for it. */
static void exit_for_stub(struct dbt_translation *t, const struct dbt_stub *s)
{
    if (s->exit == DBT_EXIT_SLOW && (s->address.base != H_R11 || s->address.index != H_NONE))
        emit_lea(&t->e, H_R11, s->address);
    if (s->rehomed)
        dbt_rehome_leave(t);
    exit_for(t, s->exit, s->insn);
    if (t->e.overflow)
        return;
    t->site[t->sites - 1].size = s->size;
    t->site[t->sites - 1].write = s->write;
}

/* Close to the end of the page: now exactly. */
static void look_closer(struct dbt_translation *t, const struct dbt_stub *s)
{
    struct host_mem last = s->address;
    uint8_t *crosses;

    last.disp += s->size - 1;
    emit_lea(&t->e, H_RCX, last);
    emit_pext(&t->e, H_RCX, H_RCX, dbt_cross_mask(s->size));
    crosses = emit_jrcxz(&t->e);
    emit_jmp(&t->e, s->back);
    emit_patch8(&t->e, crosses);
}

/* All others go on elsewhere in translated code. */
static bool exits(const struct dbt_stub *s)
{
    return s->kind == DBT_STUB_EXIT || s->kind == DBT_STUB_CROSS;
}

static void stub_put(struct dbt_translation *t, const struct dbt_stub *s)
{
    emit_patch32(&t->e, s->from);
    if (s->kind == DBT_STUB_CROSS)
        look_closer(t, s);
    dbt_recipe_emit(t, s->recipe);
    if (exits(s)) {
        exit_for_stub(t, s);
        return;
    }
    if (s->rehomed)
        dbt_rehome_leave(t);
    dbt_homes_set(t, false);
    if (s->kind == DBT_STUB_INDIRECT) {
        dbt_emit_indirect(t);
    } else if (s->kind == DBT_STUB_PAGE) {
        dbt_emit_goto_page(t, s->target);
    } else if (s->kind == DBT_STUB_POLL) {
        emit_mov_ri(&t->e, H_R11, s->target);
        exit_for(t, s->exit, s->insn);
    } else {
        dbt_link_here(t, emit_jmp(&t->e, NULL), s->target);
        if (!t->e.overflow)
            t->site[t->sites - 1].side = true;
    }
}

static void nears_put(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->nears; i++) {
        emit_patch8(&t->e, t->near[i].from);
        t->stub[t->near[i].stub].from = emit_jmp(&t->e, NULL);
    }
    t->nears = 0;
}

/* Behind everything else: nothing falls through here. What a stub emits may need
 * stubs of its own, which come last. */
static void stubs_put(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->stubs; i++) {
        struct dbt_stub s = t->stub[i];

        t->insns = s.insn;
        dbt_homes_set(t, s.rehomed);
        nears_put(t);
        s.from = t->stub[i].from;
        stub_put(t, &s);
    }
}

static void recoveries_put(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->recoveries; i++) {
        const struct dbt_recovery *r = &t->recovery[i];

        t->insn[r->insn].recover = (uint32_t)(t->e.p - t->e.start);
        dbt_homes_set(t, r->rehomed);
        dbt_recipe_emit(t, r->recipe);
        if (r->rehomed)
            dbt_rehome_leave(t);
        exit_for(t, DBT_EXIT_INTERP, r->insn);
    }
}

void dbt_stubs_flush(struct dbt_translation *t)
{
    uint8_t *over;

    if (!t->nears)
        return;
    over = emit_jmp(&t->e, NULL);
    nears_put(t);
    emit_patch32(&t->e, over);
}

void dbt_reach(struct dbt_translation *t, unsigned bytes)
{
    const unsigned jump = 5;    /* the one over the island, and each in it */

    if (emit_is_plain(&t->e))
        return;                 /* any distance will do */
    for (unsigned i = 0; i < t->nears; i++) {
        if ((size_t)(t->e.p - t->near[i].from) + bytes + t->slack + jump * (i + 1) > 126) {
            dbt_stubs_flush(t);
            return;
        }
    }
}

/* ---- the other ways of branches ------------------------------------------- */

void dbt_far_here(struct dbt_translation *t, unsigned cc, uint64_t target)
{
    uint8_t *from = emit_jcc(&t->e, cc, NULL);

    if (t->fars == DBT_MAX_FARS) {
        t->e.overflow = true;
        return;
    }
    t->far[t->fars++] = (struct dbt_far){from, t->insn[t->insns].rip, target, t->rehomed,
                                         (uint16_t)t->insns};
}

/* On the same page and not backward, the branch itself becomes the link. */
static void far_put(struct dbt_translation *t, const struct dbt_far *far)
{
    t->insns = far->insn;
    nears_put(t);
    emit_patch32(&t->e, far->from);
    if (far->rehomed)
        dbt_rehome_leave(t);
    if (dbt_may_link(t, far->rip, far->target) && far->target > far->rip && !far->rehomed)
        dbt_link_here(t, far->from, far->target);
    else
        dbt_emit_goto(t, far->target);
}

/* ---- the block ---------------------------------------------------------- */

/* Jumps through the jump table come in here with the target in r11. */
static void emit_checked_entry(struct dbt_translation *t)
{
    uint8_t *ok;

    emit_mov_ri(&t->e, H_RCX, -t->rip);
    emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, 0));
    ok = emit_jrcxz(&t->e);
    exit_for(t, DBT_EXIT_LOOKUP, 0);
    emit_patch8(&t->e, ok);
}

/* Every entry counts, until the block is hot. */
static void emit_countdown(struct dbt_translation *t)
{
    if (!t->countdown)
        return;
    emit_load32_rip(&t->e, H_RCX, dbt_cache_near(t->cache, t->countdown));
    emit_lea32(&t->e, H_RCX, h_base(H_RCX, -1));
    emit_store32_rip(&t->e, dbt_cache_near(t->cache, t->countdown), H_RCX);
    dbt_stub_here(t, DBT_STUB_EXIT, DBT_EXIT_HOT);
}

/* For --dump-blocks. */
static void emit_count(struct dbt_translation *t)
{
    if (!t->ran)
        return;
    emit_load_rip(&t->e, H_RCX, dbt_cache_near(t->cache, t->ran));
    emit_lea(&t->e, H_RCX, h_base(H_RCX, 1));
    emit_store_rip(&t->e, dbt_cache_near(t->cache, t->ran), H_RCX);
}

/* Features the guest does not have make #UD: the interpreter knows how. */
static bool executable(const struct dbt_translation *t, const struct x86_insn *insn)
{
    if (insn->isa & ~t->cpu->model->features.w[0])
        return false;
    if (!(t->mode & DBT_MODE_VEX) && dbt_is_vex(insn) && !dbt_is_gpr_only(insn))
        return false;
    return insn->class == X86_CLASS_INTEGER || insn->class == X86_CLASS_BRANCH ||
           insn->class == X86_CLASS_STRING || insn->class == X86_CLASS_HOST || dbt_is_flags(insn);
}

static void emit_fpu_check(struct dbt_translation *t)
{
    if (t->fpu_checked)
        return;
    if (t->dead) {
        emit_cmp_m_zero(&t->e, h_frame(offsetof(struct dbt_frame, fpu_live)));
        dbt_late_here(t, DBT_STUB_EXIT, DBT_EXIT_FPU, CC_E);
    } else {
        dbt_reach(t, 16);
        emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, fpu_live)));
        dbt_stub_here(t, DBT_STUB_EXIT, DBT_EXIT_FPU);
    }
    t->fpu_checked = true;      /* holds for the block: see dbt_block.uses_fpu */
}

static bool emit_translated(struct dbt_translation *t, const struct dbt_step *s)
{
    const struct x86_insn *insn = &s->insn;

    if (dbt_is_mxcsr(insn) && !(insn->isa & ~t->cpu->model->features.w[0])) {
        emit_fpu_check(t);
        return dbt_emit_mxcsr(t, insn);
    }
    if (insn->class == X86_CLASS_SYSTEM && !dbt_is_flags(insn))
        return !(insn->isa & ~t->cpu->model->features.w[0]) && dbt_emit_system(t, insn);
    if (!executable(t, insn))
        return false;
    if (insn->mnemonic == ZYDIS_MNEMONIC_PAUSE && t->yields)
        return dbt_emit_pause(t);
    if (insn->class == X86_CLASS_HOST && !dbt_is_gpr_only(insn))
        emit_fpu_check(t);
    /* An indirect jump to nowhere is taken back by decoding it again (run.c). */
    if (t->source.phys2 && insn->class == X86_CLASS_BRANCH &&
        (dbt_branch_is_ret(insn) || insn->op[0].kind != X86_OPND_IMM))
        return false;
    return insn->class == X86_CLASS_BRANCH ? dbt_emit_branch(t, s) : dbt_emit_insn(t, insn);
}

/* What if it faults, and does the host have the guest's flags behind it? */
static void note_done(struct dbt_translation *t, const struct dbt_step *s, bool second)
{
    bool rehomed = t->rehomed && t->second == second;

    if (!t->clobbered && !rehomed)
        return;
    if (dbt_may_leave(&s->insn))
        t->recovery[t->recoveries++] = (struct dbt_recovery){
            t->clobbered ? t->recipe : NULL, rehomed, (uint16_t)t->insns};
    if (dbt_overwrites_flags(t, &s->insn))
        t->clobbered = false;
}

/* How many of the stubs from `first` on wait for a jump from an island. */
static unsigned near_since(const struct dbt_translation *t, unsigned first)
{
    unsigned n = 0;

    for (unsigned i = first; i < t->stubs; i++)
        n += !t->stub[i].from;
    return n;
}

/* Emits instruction t->insns; t->open says whether code goes on behind it. */
static void emit_one(struct dbt_translation *t, struct dbt_step *s)
{
    uint8_t *start = t->e.p;
    unsigned sites = t->sites, stubs = t->stubs, nears = t->nears;
    bool checked = t->fpu_checked, second = t->second, clobbered = t->clobbered;

    t->keeps_current = false;
    t->open = true;
    if (emit_translated(t, s)) {
        if (!t->keeps_current)
            t->current = NULL;
        note_done(t, s, second);
        if (s->insn.class == X86_CLASS_BRANCH)
            t->open = s->flow == DBT_FLOW_FOLLOWED || t->second != second;
        return;
    }
    /* Nothing of a failed attempt may stay, and stubs that were put down
     * meanwhile belong to earlier instructions: start behind them. */
    t->fpu_checked = checked;
    if (t->sites == sites && t->nears - nears == near_since(t, stubs)) {
        t->e.p = start;
        t->stubs = stubs;
        t->nears = nears;
        t->clobbered = clobbered;
    }
    dbt_reach(t, 128);              /* what was promised may be used up; settle() is long */
    dbt_exit_here(t, DBT_EXIT_INTERP);
    t->clobbered = false;
    dbt_clusters_forget(t);
    s->flow = DBT_FLOW_ENDS;
    t->open = !s->insn.ends_block;
}

/* Does the interpreter want vector or x87 state for it? */
static bool touches_fpu(const struct x86_insn *insn)
{
    if (insn->class != X86_CLASS_SYSTEM)
        return insn->class == X86_CLASS_HOST && !dbt_is_gpr_only(insn);
    switch (insn->mnemonic) {
    case M(FXSAVE): case M(FXSAVE64): case M(FXRSTOR): case M(FXRSTOR64):
    case M(XSAVE): case M(XSAVE64): case M(XSAVEC): case M(XSAVEC64):
    case M(XSAVES): case M(XSAVES64): case M(XSAVEOPT): case M(XSAVEOPT64):
    case M(XRSTOR): case M(XRSTOR64): case M(XRSTORS): case M(XRSTORS64):
    case M(LDMXCSR): case M(VLDMXCSR): case M(STMXCSR): case M(VSTMXCSR):
    case M(XGETBV): case M(XSETBV): case M(RDPKRU): case M(WRPKRU):
        return true;
    default:
        return false;
    }
}

/* Behind the boundary: whoever comes back after the setter was interpreted comes here. */
static void begin_flags(struct dbt_translation *t)
{
    const struct dbt_step *s = &t->step[t->now];
    int setter = s->setter[t->second];

    if (t->now && s[-1].saved) {
        dbt_recipe_keep(t, s - 1);
        dbt_reach(t, 64);
    }
    t->dead = s->dead >> t->second & 1;
    t->recipe = setter < 0 ? NULL : &t->step[setter];
}

/* `insn` NULL: unknown. */
static void begin_insn(struct dbt_translation *t, uint64_t rip, const struct x86_insn *insn)
{
    struct dbt_insn *i = &t->insn[t->insns];

    dbt_reach(t, 64);
    emit_label(&t->e);
    *i = (struct dbt_insn){.host_offset = (uint32_t)(t->e.p - t->e.start), .rip = rip,
                           .fpu = true, .inside = dbt_clusters_live(t) || t->rehomed};
    t->aligned = t->dead = false;
    if (!insn)
        return;
    begin_flags(t);
    i->mnemonic = insn->mnemonic;
    i->fpu = touches_fpu(insn);
    t->aligned = dbt_needs_alignment(insn) || (t->second && t->step[t->now].aligned);
    i->masked = dbt_is_masked(insn);
}

/* What so many more instructions, and the end of the block, may need at most. */
bool dbt_has_room(const struct dbt_translation *t, unsigned insns)
{
    return t->sites + t->stubs + t->fars + t->recoveries + 16 * insns < DBT_PLANNED_SITES &&
           t->recoveries + insns < DBT_TRACE_INSNS &&
           t->fars + insns <= DBT_MAX_FARS &&
           t->e.end - t->e.p > 1024 * (ptrdiff_t)insns + 128 * (ptrdiff_t)t->fars +
                                   160 * (ptrdiff_t)t->stubs + 96 * (ptrdiff_t)t->recoveries;
}

/* The bytes at the start are no instruction, or one that goes on in the next
 * page: a block that says so saves finding out again. */
static void emit_undecodable(struct dbt_translation *t)
{
    begin_insn(t, t->rip, NULL);
    dbt_exit_here(t, DBT_EXIT_INTERP);
    t->insns++;
    t->open = false;
}

static void begin(struct dbt_translation *t)
{
    t->insns = t->sites = t->fars = t->stubs = t->nears = t->recoveries = 0;
    dbt_homes_set(t, false);
    t->clobbered = t->dead = false;
    t->open = true;
    t->fpu_checked = t->second = false;
    t->now = 0;
    if (!t->guide)
        emit_checked_entry(t);
    t->body = t->e.p;
    emit_countdown(t);
    emit_count(t);
}

/* What is left: the jump to where the code goes on, and everything cold. */
static void end(struct dbt_translation *t, uint64_t next)
{
    unsigned insns = t->insns;

    if (t->open) {
        dbt_reach(t, 100);
        settle(t);
    }
    t->clobbered = t->dead = false;
    dbt_homes_set(t, false);
    if (t->open) {
        t->insns--;             /* what follows is accounted to the last instruction */
        dbt_emit_goto(t, next);
    }
    for (unsigned i = 0; i < t->fars; i++)
        far_put(t, &t->far[i]);
    stubs_put(t);
    recoveries_put(t);
    t->insns = insns;
    t->insn[t->insns] = (struct dbt_insn){.host_offset = (uint32_t)(t->e.p - t->e.start),
                                          .rip = next};
    while (t->e.p < t->body + DBT_MIN_BODY && !t->e.overflow)
        e8(&t->e, 0xcc);
}

static void translate(struct dbt_translation *t)
{
    struct dbt_step *s = t->step;

    dbt_homes_set(t, false);
    dbt_plan(t);
    dbt_clusters_find(t);
    dbt_liveness_find(t);
    dbt_rehome_find(t);
    begin(t);
    while (t->open && t->now < t->steps && dbt_has_room(t, 1)) {
        bool second = t->second;

        s = &t->step[t->now];
        begin_insn(t, s->rip, &s->insn);
        emit_one(t, s);
        t->insns++;
        t->now = t->second != second ? 0 : t->now + 1;
    }
    if (t->steps) {
        end(t, s->flow == DBT_FLOW_FOLLOWED || s->flow == DBT_FLOW_LOOPS
                   ? s->onward : dbt_rip_add(t->mode, s->rip, s->insn.length));
    } else {
        emit_undecodable(t);
        end(t, t->rip);
    }
}

/* How much an instruction takes between two calls of dbt_reach() is promised for the
 * usual ones. Where that was not enough, islands come more often. */
bool dbt_translate(struct dbt_translation *t)
{
    const struct dbt_source source = t->source;

    for (t->slack = 0;; t->slack += 40) {
        t->source = source;
        t->e.p = t->e.start;
        t->e.too_far = false;
        translate(t);
        if (!t->e.too_far || t->e.overflow)
            return !t->e.overflow;
        BUG_ON(t->slack > 120);
    }
}
