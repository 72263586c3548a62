/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - the loop of one vCPU.
 *
 * At a block boundary: other threads' messages, requests, interrupts; then
 * either one instruction under watch (single step, breakpoints, shadows) or
 * blocks until something wants attention. An exception unwinds to interp_run
 * and is delivered there.
 */
#include "engine/interp/chain.h"
#include "engine/interp/interp.h"

#include <sched.h>
#include <time.h>
#include "base/fault.h"
#include "x86/alu.h"
#include "x86/hostinsn.h"

/* ---- flags between their two forms ------------------------------------- */

static void flags_out(struct interp *v)
{
    v->cpu.s.rflags = x86_rflags_with_hf(v->cpu.s.rflags, v->hf);
    v->hf_live = false;
}

static void flags_in(struct interp *v)
{
    v->hf = x86_hf_from_rflags(v->cpu.s.rflags);
    v->hf_live = true;
}

static bool touches_flags(const struct x86_insn *insn)
{
    return insn->flags_read | insn->flags_written || insn->class == X86_CLASS_SYSTEM ||
           insn->class == X86_CLASS_STRING;
}

/* ---- handlers that are not specialised --------------------------------- */

/* Gives back what the current block was paid for from `op` on. */
static void refund(struct interp *v, const struct op *op)
{
    v->fuel += v->cur->n - (op - v->cur->op);
}

const struct op *interp_left(struct interp *v, const struct op *op)
{
    v->cpu.s.rip = v->block_rip + op->off;
    refund(v, op);
    return NULL;
}

const struct op *interp_fall_through(struct interp *v, const struct op *op)
{
    return interp_follow(v, &v->cur->link[0], (v->block_rip + op->off) & op->ea_mask);
}

/* What comes after an instruction that has moved s.rip itself. */
static const struct op *after(struct interp *v, const struct op *op)
{
    uint64_t rip = v->cpu.s.rip;

    if (op->insn->class == X86_CLASS_BRANCH) {
        struct block *b;

        if (op->insn->op[0].kind == X86_OPND_IMM && op->insn->operands == 1)
            return interp_follow(v, &v->cur->link[rip != v->block_rip + op->next], rip);
        b = interp_jump_find(v, rip);
        return b ? interp_enter(v, b, rip) : NULL;
    }
    if (op->insn->ends_block)
        return NULL;
    if (unlikely(rip != v->block_rip + op->next)) {      /* REP not done yet */
        refund(v, op + 1);
        return NULL;
    }
    return op[1].fn(v, op + 1);
}

const struct op *interp_general(struct interp *v, const struct op *op)
{
    v->cpu.s.rip = v->block_rip + op->off;
    v->at = op;
    if (touches_flags(op->insn)) {
        flags_out(v);
        op->exec(&v->cpu, op->insn);
        flags_in(v);
    } else {
        op->exec(&v->cpu, op->insn);
    }
    v->at = NULL;
    return after(v, op);
}

/* imm and disp, which such an op has no other use for, remember the stub and
 * the pool generation it belongs to. */
static const struct x86_hostinsn *stub_of(struct interp *v, struct op *op)
{
    uint64_t generation = x86_hostinsn_pool_generation(v->cpu.hostinsns);

    if (unlikely(!op->imm || (uint64_t)op->disp != generation)) {
        op->imm = (intptr_t)x86_hostinsn_get(v->cpu.hostinsns, op->insn);
        op->disp = (int64_t)x86_hostinsn_pool_generation(v->cpu.hostinsns);
    }
    return (const struct x86_hostinsn *)(intptr_t)op->imm;
}

const struct op *interp_host(struct interp *v, const struct op *op)
{
    bool flags = touches_flags(op->insn);
    const struct x86_hostinsn *stub;

    v->cpu.s.rip = v->block_rip + op->off;
    v->at = op;
    stub = stub_of(v, (struct op *)op);
    if (!stub)
        x86_ud(&v->cpu);
    if (flags)
        flags_out(v);
    x86_hostinsn_run(&v->cpu, op->insn, stub);
    if (flags)
        flags_in(v);
    v->at = NULL;
    return after(v, op);
}

/* ---- running blocks ---------------------------------------------------- */

static void run_ops(struct interp *v, const struct op *op)
{
    flags_in(v);
    while (op)
        op = op->fn(v, op);
    flags_out(v);
}

/* The first n instructions of `b`, which has more than may be executed. */
static struct block *shortened(struct interp *v, struct block *b, unsigned n)
{
    struct block *s = v->scratch;

    for (unsigned i = 0; i < n; i++)
        s->op[i] = b->op[i];
    s->op[n] = (struct op){.fn = interp_fall_through, .off = b->op[n].off, .ea_mask = ~0ull};
    s->n = (uint16_t)n;
    s->link[0].key = s->link[1].key = 0;
    v->origin = b;
    return s;
}

static void run_blocks(struct interp *v)
{
    struct block *b = interp_find(v);
    const struct op *op;

    if (v->patch && b != v->scratch && b->verified)
        *v->patch = (struct link){v->cpu.s.rip, v->key, b};
    v->patch = NULL;
    if (unlikely(b->n > v->fuel))
        b = shortened(v, b, (unsigned)v->fuel);
    op = interp_enter(v, b, v->cpu.s.rip);
    if (op)
        run_ops(v, op);
    if (b == v->scratch)
        v->patch = NULL;
    v->origin = NULL;
}

/* One instruction, whatever is requested meanwhile: it may be in a shadow. */
static void run_one(struct interp *v)
{
    struct block *b = interp_find(v);

    v->patch = NULL;
    if (b->n > 1)
        b = shortened(v, b, 1);
    v->fuel--;
    v->cur = b;
    v->block_rip = v->cpu.s.rip;
    run_ops(v, b->op);
    v->patch = NULL;
    v->origin = NULL;
}

/* See x86/system.h: TF, RF, DR7, shadows, debug traps. */
static void run_watched(struct interp *v)
{
    uint64_t flags_before = v->cpu.s.rflags;

    v->patch = NULL;
    x86_step_begin(&v->cpu);
    run_one(v);
    x86_step_done(&v->cpu, flags_before);
}

/* ---- boundaries -------------------------------------------------------- */

/* Outside 64-bit mode a RIP means something else under another CS. */
static void code_segment_update(struct interp *v)
{
    const struct x86_segment *cs = &v->cpu.s.seg[X86_CS];

    if (v->cpu.mode.code_bits == 64 || (v->cs.base == cs->base && v->cs.limit == cs->limit))
        return;
    v->cs.base = cs->base;
    v->cs.limit = cs->limit;
    interp_key_update(v, true);
}

/* Makes the executed instructions visible. */
static void count(struct interp *v)
{
    counter_add(&v->vcpu.counters, COUNTER_instructions, v->counted - (uint64_t)v->fuel);
    v->counted = (uint64_t)v->fuel;
}

/* Events that a saved state brought along. False on a triple fault. */
static bool deliver_saved(struct interp *v)
{
    struct x86_events *ev = &v->cpu.s.ev;

    if (ev->exception_valid) {
        ev->exception_valid = false;
        v->cpu.pending = (struct x86_exception){.vector = ev->exception_vector,
                                                .has_error = ev->exception_has_error,
                                                .error = ev->exception_error,
                                                .cr2 = v->cpu.s.cr2};
        return x86_exception_deliver(&v->cpu);
    }
    ev->interrupt_valid = false;
    return x86_interrupt_deliver(&v->cpu, ev->interrupt_vector);
}

/* Whether an NMI is to be delivered now. While one is handled the next is
 * latched and further ones are lost. */
static bool take_nmi(struct interp *v, uint32_t requests)
{
    struct x86_events *ev = &v->cpu.s.ev;

    if (ev->nmi_masked && (requests & REQUEST_NMIS)) {
        engine_vcpu_clear(&v->vcpu, REQUEST_NMIS);
        ev->nmi_pending = true;
    }
    if (!x86_nmi_possible(&v->cpu) || !(ev->nmi_pending || (requests & REQUEST_NMIS)))
        return false;
    if (!ev->nmi_pending)
        engine_vcpu_clear(&v->vcpu,
                          requests & REQUEST_NMI_AGAIN ? REQUEST_NMI_AGAIN : REQUEST_NMI);
    ev->nmi_pending = false;
    return true;
}

/* NMI, then the interrupt controller. False on a triple fault. */
static bool deliver_requests(struct interp *v, uint32_t requests)
{
    struct x86_events *ev = &v->cpu.s.ev;
    const struct engine_vm_config *cfg = &v->vm->vm.config;
    int vector;

    if (take_nmi(v, requests)) {
        ev->mp_state = X86_MP_RUNNABLE;
        COUNT(&v->vcpu.counters, nmi_injected);
        return x86_nmi_deliver(&v->cpu);
    }
    if (!(requests & REQUEST_INTR) || !x86_interruptible(&v->cpu))
        return true;
    interp_outside(v);
    vector = cfg->guest->intr_ack(cfg->guest_opaque, v->vcpu.index);
    interp_inside(v);
    if (vector < 0)
        return true;
    ev->mp_state = X86_MP_RUNNABLE;
    COUNT(&v->vcpu.counters, irq_injected);
    return x86_interrupt_deliver(&v->cpu, (uint8_t)vector);
}

static bool halted(struct interp *v)
{
    const struct x86_events *ev = &v->cpu.s.ev;
    uint32_t wake = REQUEST_EXIT | REQUEST_INIT | REQUEST_SIPI;

    if (ev->mp_state == X86_MP_RUNNABLE)
        return false;
    if (ev->mp_state == X86_MP_HALTED) {
        wake |= x86_nmi_possible(&v->cpu) ? REQUEST_NMIS : 0;
        wake |= x86_interruptible(&v->cpu) ? REQUEST_INTR : 0;
    }
    atomic_store(&v->vcpu.wake_mask, wake);
    COUNT(&v->vcpu.counters, exit_halt);
    return true;
}

/* Between instructions. False: leave run() with *why. */
bool interp_boundary(struct interp *v, enum engine_exit *why)
{
    struct x86_events *ev = &v->cpu.s.ev;
    bool alive = true;
    uint32_t requests;

    if (atomic_load_explicit(&v->attention, memory_order_relaxed)) {
        atomic_exchange(&v->attention, false);
        interp_inbox_read(v);
    }
    requests = atomic_load(&v->vcpu.requests);
    if (requests & (REQUEST_EXIT | REQUEST_INIT | REQUEST_SIPI)) {
        engine_vcpu_clear(&v->vcpu, REQUEST_EXIT);
        COUNT(&v->vcpu.counters, exit_kick);
        *why = ENGINE_KICKED;
        return false;
    }
    if (v->cpu.halted_by_shutdown) {
        *why = ENGINE_SHUTDOWN;
        return false;
    }
    if (v->fuel <= 0) {
        *why = ENGINE_BUDGET;
        return false;
    }
    if (unlikely(v->cpu.debugger) && x86_debugger_stops(&v->cpu, &v->vcpu.debugger_hit)) {
        *why = ENGINE_DEBUG;
        return false;
    }
    if (unlikely(ev->exception_valid || ev->interrupt_valid))
        alive = deliver_saved(v);
    else if (unlikely(requests | ev->nmi_pending) && ev->mp_state <= X86_MP_HALTED)
        alive = deliver_requests(v, requests);
    *why = alive ? ENGINE_HALTED : ENGINE_SHUTDOWN;
    return alive && !halted(v);
}

/* An instruction raised: it counts as executed. False on a triple fault. */
bool interp_unwound(struct interp *v)
{
    if (v->hf_live)
        flags_out(v);
    if (v->at)
        refund(v, v->at + 1);
    v->at = NULL;
    v->origin = NULL;
    v->patch = NULL;
    return x86_exception_deliver(&v->cpu);
}

void interp_step(struct interp *v)
{
    code_segment_update(v);
    if (unlikely(x86_step_watch(&v->cpu)))
        run_watched(v);
    else
        run_blocks(v);
}

void interp_one(struct interp *v)
{
    v->fuel = 1;
    code_segment_update(v);
    run_one(v);
}

/* Yields help when the host has somebody else to run here. Spinning that does not end
 * by them sleeps a little, so that the host moves others to this processor. */
void interp_yield(struct interp *v)
{
    enum { NEAR_TICKS = 300000, YIELDS_MAX = 40, SLEEP_NS = 20000 };
    static const struct timespec nap = {.tv_nsec = SLEEP_NS};

    v->yields = __builtin_ia32_rdtsc() - v->yielded < NEAR_TICKS ? v->yields + 1 : 0;
    v->pauses = 0;
    interp_outside(v);
    if (v->yields < YIELDS_MAX)
        sched_yield();
    else
        nanosleep(&nap, NULL);
    interp_inside(v);
    v->yielded = __builtin_ia32_rdtsc();
}

static enum engine_exit loop(struct interp *v)
{
    enum engine_exit why;

    while (interp_boundary(v, &why))
        interp_step(v);
    return why;
}

bool interp_run_enter(struct interp *v)
{
    if (fault_thread_init(NULL) < 0)
        return false;
    v->at = NULL;
    v->cpu.debugger = v->vm->vm.debugger;
    v->cpu.debugger_pass &= v->cpu.debugger != NULL;
    atomic_store(&v->running, true);
    interp_attend(v);                              /* nothing from before is lost */
    return true;
}

void interp_run_leave(struct interp *v)
{
    atomic_store(&v->running, false);
    COUNT(&v->vcpu.counters, exits);
}

enum engine_exit interp_run(struct engine_vcpu *vcpu, uint64_t max_instructions)
{
    struct interp *v = interp_of(vcpu);
    enum engine_exit why;

    if (!interp_run_enter(v))
        return ENGINE_FAILED;
    v->fuel = max_instructions && max_instructions < INT64_MAX ? (int64_t)max_instructions
                                                               : INT64_MAX;
    v->counted = (uint64_t)v->fuel;
    engine_vcpu_does(vcpu, ENGINE_DOES_INTERPRET);
    if (setjmp(v->cpu.unwind) && !interp_unwound(v))
        why = ENGINE_SHUTDOWN;
    else
        why = loop(v);
    count(v);
    interp_run_leave(v);
    return why;
}
