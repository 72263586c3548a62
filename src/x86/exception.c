/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exception.c - delivering exceptions and interrupts.
 *
 * Intel SDM vol. 3 ch. 6 and 21.2 (real mode) and 21.3 (virtual-8086), AMD APM
 * vol. 2 ch. 8. x86_event_enter() is one attempt and unwinds when it meets a
 * fault of its own; the functions engines call catch that, combine the two by
 * the double-fault table and try again until something is delivered or the
 * processor shuts down.
 */
#include "base/log.h"
#include "x86/event.h"
#include "x86/system_ops.h"

/* ---- the way in ----------------------------------------------------------- */

void x86_gate_parse(uint64_t raw, uint64_t high, struct x86_gate *gate)
{
    *gate = (struct x86_gate){
        .selector = (uint16_t)(raw >> 16),
        .offset = (raw & 0xffff) | (raw >> 32 & 0xffff0000) | high << 32,
        .type = raw >> 40 & 0x1f,          /* with S, which no gate has */
        .dpl = raw >> 45 & 3,
        .ist = raw >> 32 & 7,
        .params = raw >> 32 & 0x1f,
        .present = raw >> 47 & 1,
    };
    /* The 16-bit kinds have no upper half of the offset. */
    if (gate->type == X86_TYPE_CALL16 || gate->type == X86_TYPE_INT16 ||
        gate->type == X86_TYPE_TRAP16)
        gate->offset &= 0xffff;
}

void x86_code_offset_check(struct x86_cpu *cpu, const struct x86_desc *d, uint64_t offset,
                           unsigned ext)
{
    if (x86_desc_long(cpu, d) ? !x86_canonical(cpu, offset) : offset > d->limit)
        x86_raise_error(cpu, X86_GP, ext);
}

static void stack_from_tss64(struct x86_cpu *cpu, unsigned dpl, unsigned ist, unsigned ext,
                             struct x86_stack *st)
{
    const struct x86_segment *tr = &cpu->s.tr;
    uint32_t offset = ist ? 36 + 8 * (ist - 1) : 4 + 8 * dpl;

    if (offset + 7 > tr->limit)
        x86_raise_error(cpu, X86_TS, x86_selector_error(tr->selector) | ext);
    *st = (struct x86_stack){.bits = 64, .user = dpl == 3, .error = ext};
    st->sp = x86_read_sys(cpu, gva(tr->base + offset), 8);
    st->ss.selector = dpl;
    st->ss.attr = X86_ATTR_UNUSABLE | dpl << X86_ATTR_DPL_SHIFT;
}

void x86_stack_from_tss(struct x86_cpu *cpu, unsigned dpl, unsigned ist, unsigned ext,
                        struct x86_stack *st)
{
    const struct x86_segment *tr = &cpu->s.tr;
    bool wide = tr->attr & 8;                        /* a 32-bit TSS */
    uint32_t offset = wide ? 4 + 8 * dpl : 2 + 4 * dpl;
    struct x86_desc d;
    uint16_t ss;
    uint32_t error;

    if (cpu->mode.long_mode) {
        stack_from_tss64(cpu, dpl, ist, ext, st);
        return;
    }
    if (offset + (wide ? 5 : 3) > tr->limit)
        x86_raise_error(cpu, X86_TS, x86_selector_error(tr->selector) | ext);
    *st = (struct x86_stack){0};
    st->sp = x86_read_sys(cpu, gva((tr->base + offset) & 0xffffffff), wide ? 4 : 2);
    ss = (uint16_t)x86_read_sys(cpu, gva((tr->base + offset + (wide ? 4 : 2)) & 0xffffffff), 2);
    error = x86_selector_error(ss) | ext;
    x86_desc_get(cpu, ss, X86_TS, ext, &d);          /* null: #TS(0) */
    if (x86_rpl(ss) != dpl || x86_desc_dpl(&d) != dpl || !x86_desc_stack(&d))
        x86_raise_error(cpu, X86_TS, error);
    if (!x86_desc_present(&d))
        x86_raise_error(cpu, X86_SS_FAULT, error);
    x86_desc_accessed(cpu, &d);
    st->ss = (struct x86_segment){
        .base = d.base, .limit = d.limit, .attr = d.attr, .selector = ss};
    st->bits = d.attr & X86_ATTR_DB ? 32 : 16;
    st->user = dpl == 3;
    st->error = error;
}

static unsigned event_ext(const struct x86_event *ev)
{
    return !ev->soft;
}

static void enter_real(struct x86_cpu *cpu, const struct x86_event *ev)
{
    gva_t entry = gva(cpu->s.idtr.base + ev->vector * 4u);
    struct x86_stack st;
    uint16_t ip, cs;

    if (ev->vector * 4u + 3 > cpu->s.idtr.limit)
        x86_raise_error(cpu, X86_GP, ev->vector * 8u + 2 + event_ext(ev));
    ip = (uint16_t)x86_read_sys(cpu, entry, 2);
    cs = (uint16_t)x86_read_sys(cpu, gva_add(entry, 2), 2);
    if (ip > cpu->s.seg[X86_CS].limit)
        x86_raise_error(cpu, X86_GP, event_ext(ev));
    x86_stack_current(cpu, &st);
    x86_stack_push(cpu, &st, 2, ev->flags);
    x86_stack_push(cpu, &st, 2, cpu->s.seg[X86_CS].selector);
    x86_stack_push(cpu, &st, 2, ev->return_rip);
    x86_stack_commit(cpu, &st);
    x86_segment_set_real(cpu, X86_CS, cs);
    cpu->s.rip = ip;
    cpu->s.rflags &= ~(uint64_t)(X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_AC | X86_FLAG_RF);
}

static _Noreturn void idt_fault(struct x86_cpu *cpu, enum x86_vector fault,
                                const struct x86_event *ev)
{
    x86_raise_error(cpu, fault, ev->vector * 8u + 2 + event_ext(ev));
}

static void idt_gate_get(struct x86_cpu *cpu, const struct x86_event *ev, struct x86_gate *gate)
{
    unsigned bytes = cpu->mode.long_mode ? 16 : 8;
    gva_t at = gva(cpu->s.idtr.base + ev->vector * bytes);
    unsigned known = 1u << X86_TYPE_INT | 1u << X86_TYPE_TRAP;

    if (!cpu->mode.long_mode) {
        known |= 1u << X86_TYPE_TASK_GATE | 1u << X86_TYPE_INT16 | 1u << X86_TYPE_TRAP16;
        at.v &= 0xffffffff;
    }
    if (ev->vector * bytes + bytes - 1 > cpu->s.idtr.limit)
        idt_fault(cpu, X86_GP, ev);
    x86_gate_parse(x86_read_sys(cpu, at, 8),
                   bytes == 16 ? x86_read_sys(cpu, gva_add(at, 8), 8) : 0, gate);
    if (!(known >> gate->type & 1) || (ev->soft && gate->dpl < cpu->mode.cpl))
        idt_fault(cpu, X86_GP, ev);
    if (!gate->present)
        idt_fault(cpu, X86_NP, ev);
}

/* The handler's code segment; returns the privilege it runs at. */
static unsigned handler_code_get(struct x86_cpu *cpu, const struct x86_gate *gate, unsigned ext,
                                 struct x86_desc *code)
{
    uint32_t error = x86_selector_error(gate->selector) | ext;
    unsigned cpl = cpu->mode.cpl;

    x86_desc_get(cpu, gate->selector, X86_GP, ext, code);
    if (!x86_desc_code(code) || x86_desc_dpl(code) > cpl)
        x86_raise_error(cpu, X86_GP, error);
    if (cpu->mode.long_mode && (code->attr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)
        x86_raise_error(cpu, X86_GP, error);
    if (!x86_desc_present(code))
        x86_raise_error(cpu, X86_NP, error);
    /* Virtual-8086 code is left for privilege 0 only. */
    if (cpu->mode.vm86 && (x86_desc_conforming(code) || x86_desc_dpl(code)))
        x86_raise_error(cpu, X86_GP, error);
    return x86_desc_conforming(code) ? cpl : x86_desc_dpl(code);
}

static void push_frame(struct x86_cpu *cpu, struct x86_stack *st, const struct x86_event *ev,
                       unsigned size, bool with_stack)
{
    if (cpu->mode.vm86) {
        x86_stack_push(cpu, st, size, cpu->s.seg[X86_GS].selector);
        x86_stack_push(cpu, st, size, cpu->s.seg[X86_FS].selector);
        x86_stack_push(cpu, st, size, cpu->s.seg[X86_DS].selector);
        x86_stack_push(cpu, st, size, cpu->s.seg[X86_ES].selector);
    }
    if (with_stack) {
        x86_stack_push(cpu, st, size, cpu->s.seg[X86_SS].selector);
        x86_stack_push(cpu, st, size, cpu->s.gpr[X86_RSP]);
    }
    x86_stack_push(cpu, st, size, ev->flags);
    x86_stack_push(cpu, st, size, cpu->s.seg[X86_CS].selector);
    x86_stack_push(cpu, st, size, ev->return_rip);
    if (ev->has_error)
        x86_stack_push(cpu, st, size, ev->error);
}

static void enter_task(struct x86_cpu *cpu, const struct x86_event *ev, uint16_t selector)
{
    struct x86_task_entry entry = {
        .source = X86_TASK_EVENT, .return_rip = ev->return_rip, .flags = ev->flags,
        .ext = event_ext(ev), .has_error = ev->has_error, .error = ev->error};
    struct x86_desc tss;

    x86_task_gate_tss(cpu, selector, event_ext(ev), &tss);
    x86_task_switch(cpu, &tss, &entry);
}

/* Which stack the handler gets, and with how much of the frame. */
static void handler_stack(struct x86_cpu *cpu, const struct x86_gate *gate, unsigned new_cpl,
                          unsigned ext, struct x86_stack *st)
{
    bool inner = new_cpl != cpu->mode.cpl;

    if (inner || (cpu->mode.long_mode && gate->ist)) {
        x86_stack_from_tss(cpu, new_cpl, gate->ist, ext, st);
        if (!inner)
            st->ss = cpu->s.seg[X86_SS];
    } else {
        x86_stack_current(cpu, st);
        st->error = ext;
    }
    if (cpu->mode.long_mode) {
        st->bits = 64;
        st->sp &= ~15ull;
    }
}

static void enter_protected(struct x86_cpu *cpu, const struct x86_event *ev)
{
    unsigned ext = event_ext(ev), new_cpl, size;
    bool with_stack, from_vm86 = cpu->mode.vm86;
    struct x86_gate gate;
    struct x86_desc code;
    struct x86_stack st;

    idt_gate_get(cpu, ev, &gate);
    if (gate.type == X86_TYPE_TASK_GATE) {
        enter_task(cpu, ev, gate.selector);
        return;
    }
    new_cpl = handler_code_get(cpu, &gate, ext, &code);
    handler_stack(cpu, &gate, new_cpl, ext, &st);
    with_stack = cpu->mode.long_mode || new_cpl != cpu->mode.cpl;
    size = cpu->mode.long_mode ? 8 : gate.type & 8 ? 4 : 2;
    x86_code_offset_check(cpu, &code, gate.offset, ext);
    push_frame(cpu, &st, ev, size, with_stack);
    x86_desc_accessed(cpu, &code);

    x86_stack_commit(cpu, &st);
    cpu->s.seg[X86_SS] = st.ss;
    x86_code_enter(cpu, &code, new_cpl);
    cpu->s.rip = gate.offset;
    cpu->s.rflags &= ~(uint64_t)(X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF | X86_FLAG_VM);
    if (!(gate.type & 1))                            /* interrupt gate */
        cpu->s.rflags &= ~(uint64_t)X86_FLAG_IF;
    if (from_vm86) {
        x86_segment_set_null(cpu, X86_ES, 0);
        x86_segment_set_null(cpu, X86_DS, 0);
        x86_segment_set_null(cpu, X86_FS, 0);
        x86_segment_set_null(cpu, X86_GS, 0);
    }
}

void x86_event_enter(struct x86_cpu *cpu, const struct x86_event *ev)
{
    if (cpu->s.cr0 & X86_CR0_PE)
        enter_protected(cpu, ev);
    else
        enter_real(cpu, ev);
    x86_mode_update(cpu);
}

/* ---- combining exceptions (SDM vol. 3, table 6-5) -------------------------- */

enum fault_kind { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_kind fault_kind(unsigned vector)
{
    switch (vector) {
    case X86_DE: case X86_TS: case X86_NP: case X86_SS_FAULT: case X86_GP:
        return CONTRIBUTORY;
    case X86_PF:
        return PAGE_FAULT;
    case X86_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

static bool makes_double_fault(enum fault_kind first, enum fault_kind second)
{
    return (first == CONTRIBUTORY && second == CONTRIBUTORY) ||
           (first == PAGE_FAULT && (second == CONTRIBUTORY || second == PAGE_FAULT));
}

/* False: `second` while delivering `first` shuts the processor down. */
static bool combine(enum fault_kind first, struct x86_exception *second)
{
    enum fault_kind kind = fault_kind(second->vector);

    if (first == DOUBLE_FAULT && kind != BENIGN)
        return false;
    if (makes_double_fault(first, kind))
        *second = (struct x86_exception){.vector = X86_DF, .has_error = true};
    return true;
}

/* ---- from exception to event ----------------------------------------------- */

static void exception_record(struct x86_cpu *cpu, const struct x86_exception *e)
{
    unsigned slot = cpu->fault_count++ % X86_FAULT_LOG;

    cpu->fault_log[slot].e = *e;
    cpu->fault_log[slot].rip = cpu->s.rip;
    cpu->fault_log[slot].cs = cpu->s.seg[X86_CS].selector;
    if (cpu->counters) {
        COUNT(cpu->counters, exceptions);
        if (e->vector == X86_PF)
            COUNT(cpu->counters, page_faults);
    }
    if (cpu->log)
        log_trace(cpu->log, EXCEPTION, "exception %u error %#x cr2 %#llx at %04x:%#llx",
                  e->vector, e->error, (unsigned long long)e->cr2,
                  cpu->s.seg[X86_CS].selector, (unsigned long long)cpu->s.rip);
}

/* Commits what an exception leaves in registers and makes the event of it. */
static void exception_begin(struct x86_cpu *cpu, const struct x86_exception *e,
                            struct x86_event *ev)
{
    bool fault = e->vector != X86_DF && e->vector != X86_MC && !e->trap;

    exception_record(cpu, e);
    if (e->vector == X86_PF)
        cpu->s.cr2 = e->cr2;
    if (e->vector == X86_DB) {
        /* Bn tell about this one; the others stay until software clears them. */
        cpu->s.dr6 = (cpu->s.dr6 & ~0xfull) | e->dr6;
        cpu->s.dr7 &= ~(1ull << 13);                 /* GD */
        cpu->s.msr.debugctl &= ~3ull;                /* LBR, BTF */
    }
    cpu->debug_due = 0;
    cpu->s.ev.shadow_sti = cpu->s.ev.shadow_mov_ss = false;
    *ev = (struct x86_event){
        .vector = e->vector, .error = e->error, .return_rip = cpu->s.rip,
        /* Real mode has no error codes. */
        .has_error = e->has_error && (cpu->s.cr0 & X86_CR0_PE),
        .flags = cpu->s.rflags | (fault ? X86_FLAG_RF : 0)};
}

static bool attempt(struct x86_cpu *cpu, const struct x86_event *ev)
{
    if (setjmp(cpu->unwind))
        return false;
    x86_event_enter(cpu, ev);
    return true;
}

/* Delivers `ev` and whatever comes of it. A chain that never ends (a benign
 * exception that raises itself) is as dead as a triple fault. */
static bool deliver(struct x86_cpu *cpu, struct x86_event *ev, enum fault_kind kind)
{
    enum { CHAIN_MAX = 16 };
    jmp_buf outer;
    bool done = false;

    /* Every event ends HLT; a single-step trap comes right behind it. */
    if (cpu->s.ev.mp_state == X86_MP_HALTED)
        cpu->s.ev.mp_state = X86_MP_RUNNABLE;
    memcpy(&outer, &cpu->unwind, sizeof(outer));
    for (unsigned n = 0; n < CHAIN_MAX && !(done = attempt(cpu, ev)); n++) {
        struct x86_exception next = cpu->pending;

        if (!combine(kind, &next)) {
            exception_record(cpu, &next);
            break;
        }
        exception_begin(cpu, &next, ev);
        kind = fault_kind(next.vector);
    }
    memcpy(&cpu->unwind, &outer, sizeof(outer));
    cpu->halted_by_shutdown |= !done;
    return done;
}

bool x86_exception_deliver(struct x86_cpu *cpu)
{
    struct x86_exception e = cpu->pending;
    struct x86_event ev;

    exception_begin(cpu, &e, &ev);
    return deliver(cpu, &ev, fault_kind(e.vector));
}

bool x86_interrupt_deliver(struct x86_cpu *cpu, uint8_t vector)
{
    struct x86_event ev = {
        .vector = vector, .return_rip = cpu->s.rip, .flags = cpu->s.rflags};

    return deliver(cpu, &ev, BENIGN);
}

bool x86_nmi_deliver(struct x86_cpu *cpu)
{
    struct x86_event ev = {
        .vector = X86_NMI, .return_rip = cpu->s.rip, .flags = cpu->s.rflags};

    cpu->s.ev.nmi_pending = false;
    cpu->s.ev.nmi_masked = true;
    return deliver(cpu, &ev, BENIGN);
}

bool x86_interruptible(const struct x86_cpu *cpu)
{
    return cpu->s.rflags & X86_FLAG_IF && !cpu->s.ev.shadow_sti && !cpu->s.ev.shadow_mov_ss;
}

/* NMIs "may be blocked for one macroinstruction following an STI" (SDM vol. 2,
 * STI), and are on real processors. */
bool x86_nmi_possible(const struct x86_cpu *cpu)
{
    return !cpu->s.ev.nmi_masked && !cpu->s.ev.shadow_sti && !cpu->s.ev.shadow_mov_ss;
}

/* ---- instructions that are events ------------------------------------------ */

static void soft_event(struct x86_cpu *cpu, const struct x86_insn *insn, uint8_t vector, bool soft)
{
    struct x86_event ev = {
        .vector = vector, .soft = soft, .return_rip = x86_next_rip(cpu, insn),
        .flags = cpu->s.rflags & ~(uint64_t)X86_FLAG_RF};
    uint64_t stepping = cpu->s.rflags & X86_FLAG_TF;

    x86_event_enter(cpu, &ev);
    /* TF was cleared on the way in: no trap after this instruction. */
    if (stepping)
        cpu->debug_due |= X86_DEBUG_NO_STEP;
}

/* Whether CR4.VME and the bitmap below the I/O bitmap send an INT n of
 * virtual-8086 code to its own handler (SDM vol. 3, 20.3.3). */
static bool vme_redirects(struct x86_cpu *cpu, uint8_t vector)
{
    const struct x86_segment *tr = &cpu->s.tr;
    uint32_t at;

    if (!(cpu->s.cr4 & X86_CR4_VME) || tr->limit < 103)
        return false;
    at = (uint32_t)x86_read_sys(cpu, gva((tr->base + 102) & 0xffffffff), 2) - 32 + vector / 8;
    if (at > tr->limit)
        x86_gp0(cpu);
    return !(x86_read_sys(cpu, gva((tr->base + at) & 0xffffffff), 1) >> vector % 8 & 1);
}

static void enter_vm86(struct x86_cpu *cpu, const struct x86_insn *insn, uint8_t vector)
{
    uint64_t flags = cpu->s.rflags, clear = X86_FLAG_TF | X86_FLAG_RF;
    uint32_t entry = (uint32_t)x86_read_sys(cpu, gva(vector * 4u), 4);
    struct x86_stack st;

    clear |= x86_iopl(cpu) == 3 ? X86_FLAG_IF : X86_FLAG_VIF;
    if (x86_iopl(cpu) < 3) {
        flags = (flags & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL;
        if (flags & X86_FLAG_VIF)
            flags |= X86_FLAG_IF;
    }
    x86_stack_current(cpu, &st);
    x86_stack_push(cpu, &st, 2, flags);
    x86_stack_push(cpu, &st, 2, cpu->s.seg[X86_CS].selector);
    x86_stack_push(cpu, &st, 2, x86_next_rip(cpu, insn));
    x86_stack_commit(cpu, &st);
    if (cpu->s.rflags & X86_FLAG_TF)
        cpu->debug_due |= X86_DEBUG_NO_STEP;
    x86_segment_set_real(cpu, X86_CS, entry >> 16);
    cpu->s.rip = entry & 0xffff;
    cpu->s.rflags &= ~clear;
    x86_mode_update(cpu);
}

void x86_op_int(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint8_t vector = (uint8_t)insn->imm[0];

    if (cpu->mode.vm86) {
        if (vme_redirects(cpu, vector)) {
            enter_vm86(cpu, insn, vector);
            return;
        }
        if (x86_iopl(cpu) < 3)
            x86_gp0(cpu);
    }
    soft_event(cpu, insn, vector, true);
}

void x86_op_int3(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    soft_event(cpu, insn, X86_BP, true);
}

/* ICEBP: a #DB that leaves DR6 alone and asks no gate for permission. A trap
 * that MOV SS held back is part of it: there is one #DB, not two. */
void x86_op_int1(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t held = cpu->debug_due & ~X86_DEBUG_NO_STEP;

    soft_event(cpu, insn, X86_DB, false);
    cpu->debug_due &= ~held;
    cpu->s.dr6 |= held;
}

void x86_op_into(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (insn->code_bits == 64)
        x86_ud(cpu);
    if (cpu->s.rflags & X86_FLAG_OF)
        soft_event(cpu, insn, X86_OF, true);
    else
        x86_next(cpu, insn);
}

void x86_op_bound(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8;
    gva_t a = x86_ea_linear(cpu, insn, 2 * size, X86_READ);
    uint64_t raw = x86_read(cpu, a, size), raw_high = x86_read(cpu, gva_add(a, size), size);
    uint64_t raw_index = x86_gpr_read(cpu, insn->op[0].reg, size);
    int32_t low = size == 2 ? (int16_t)raw : (int32_t)raw;
    int32_t high = size == 2 ? (int16_t)raw_high : (int32_t)raw_high;
    int32_t index = size == 2 ? (int16_t)raw_index : (int32_t)raw_index;

    if (index < low || index > high)
        x86_raise(cpu, X86_BR);
    x86_next(cpu, insn);
}

