/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transfer.c - far jumps, calls and returns, and IRET.
 *
 * Intel SDM vol. 3 ch. 5.8 (privilege of far transfers), 6.12-6.14 and 21
 * (IRET), vol. 2 for each instruction; AMD APM vol. 2 ch. 4 where the two
 * differ. Each instruction checks, then touches the stack, then commits.
 */
#include "x86/event.h"
#include "x86/system_ops.h"

static _Noreturn void selector_fault(struct x86_cpu *cpu, enum x86_vector vector,
                                     uint16_t selector)
{
    x86_raise_error(cpu, vector, x86_selector_error(selector));
}

/* ---- JMP and CALL ----------------------------------------------------------- */

struct far_transfer {
    uint16_t selector;
    uint64_t offset;
    unsigned size;              /* of what CALL pushes */
    uint64_t return_rip;
    bool call;
};

static void far_operand(struct x86_cpu *cpu, const struct x86_insn *insn, struct far_transfer *t)
{
    unsigned size = x86_far_bytes(cpu, insn);
    gva_t a;

    t->size = insn->operand_bits / 8;
    t->return_rip = x86_next_rip(cpu, insn);
    if (insn->op[0].kind == X86_OPND_FAR) {
        t->offset = (uint64_t)insn->imm[0];
        t->selector = (uint16_t)insn->imm[1];
    } else {
        a = x86_ea_linear(cpu, insn, size + 2, X86_READ);
        t->offset = x86_read(cpu, a, size);
        t->selector = (uint16_t)x86_read(cpu, gva_add(a, size), 2);
    }
    if (size < 8)
        t->offset &= (1ull << size * 8) - 1;
}

static void push_return(struct x86_cpu *cpu, struct x86_stack *st, const struct far_transfer *t)
{
    x86_stack_push(cpu, st, t->size, cpu->s.seg[X86_CS].selector);
    x86_stack_push(cpu, st, t->size, t->return_rip);
}

static void far_real(struct x86_cpu *cpu, const struct far_transfer *t)
{
    struct x86_stack st;

    if (t->offset > cpu->s.seg[X86_CS].limit)
        x86_gp0(cpu);
    x86_stack_current(cpu, &st);
    if (t->call)
        push_return(cpu, &st, t);
    x86_stack_commit(cpu, &st);
    x86_segment_set_real(cpu, X86_CS, t->selector);
    cpu->s.rip = t->offset;
}

static void code_usable(struct x86_cpu *cpu, const struct x86_desc *code)
{
    if (x86_desc_long(cpu, code) && code->attr & X86_ATTR_DB)
        selector_fault(cpu, X86_GP, code->selector);
    if (!x86_desc_present(code))
        selector_fault(cpu, X86_NP, code->selector);
}

/* To a code segment at the current privilege: direct, or through a gate. */
static void far_code(struct x86_cpu *cpu, const struct far_transfer *t, struct x86_desc *code)
{
    struct x86_stack st;

    x86_stack_current(cpu, &st);
    if (t->call) {
        /* The pushes follow the rules of the target: 64-bit ones if it is 64-bit
         * code, also without a gate (seen on AMD processors). */
        if (x86_desc_long(cpu, code))
            st.bits = 64;
        push_return(cpu, &st, t);
    }
    x86_code_offset_check(cpu, code, t->offset, 0);
    x86_desc_accessed(cpu, code);
    x86_stack_commit(cpu, &st);
    x86_code_enter(cpu, code, cpu->mode.cpl);
    cpu->s.rip = t->offset;
}

static void far_direct(struct x86_cpu *cpu, const struct far_transfer *t, struct x86_desc *code)
{
    unsigned cpl = cpu->mode.cpl;
    bool allowed = x86_desc_conforming(code)
                       ? x86_desc_dpl(code) <= cpl
                       : x86_rpl(t->selector) <= cpl && x86_desc_dpl(code) == cpl;

    if (!x86_desc_code(code) || !allowed)
        selector_fault(cpu, X86_GP, t->selector);
    code_usable(cpu, code);
    far_code(cpu, t, code);
}

/* CALL through a gate to a more privileged segment: new stack, parameters. */
static void gate_inner(struct x86_cpu *cpu, const struct far_transfer *t,
                       const struct x86_gate *gate, struct x86_desc *code)
{
    unsigned dpl = x86_desc_dpl(code), params = cpu->mode.long_mode ? 0 : gate->params;
    uint64_t param[31];
    struct x86_stack old, st;

    x86_stack_current(cpu, &old);
    x86_stack_from_tss(cpu, dpl, 0, 0, &st);
    for (unsigned i = 0; i < params; i++)
        param[i] = x86_stack_pop(cpu, &old, t->size);
    x86_stack_push(cpu, &st, t->size, cpu->s.seg[X86_SS].selector);
    x86_stack_push(cpu, &st, t->size, cpu->s.gpr[X86_RSP]);
    for (unsigned i = params; i-- > 0;)
        x86_stack_push(cpu, &st, t->size, param[i]);
    push_return(cpu, &st, t);
    x86_code_offset_check(cpu, code, t->offset, 0);
    x86_desc_accessed(cpu, code);
    x86_stack_commit(cpu, &st);
    cpu->s.seg[X86_SS] = st.ss;
    x86_code_enter(cpu, code, dpl);
    cpu->s.rip = t->offset;
}

static void gate_privilege_check(struct x86_cpu *cpu, uint16_t selector,
                                 const struct x86_gate *gate)
{
    if (gate->dpl < cpu->mode.cpl || gate->dpl < x86_rpl(selector))
        selector_fault(cpu, X86_GP, selector);
    if (!gate->present)
        selector_fault(cpu, X86_NP, selector);
}

static void far_call_gate(struct x86_cpu *cpu, struct far_transfer *t,
                          const struct x86_gate *gate)
{
    unsigned cpl = cpu->mode.cpl;
    struct x86_desc code;

    gate_privilege_check(cpu, t->selector, gate);
    x86_desc_get(cpu, gate->selector, X86_GP, 0, &code);
    /* A jump never changes the privilege. */
    if (!x86_desc_code(&code) || x86_desc_dpl(&code) > cpl ||
        (!t->call && !x86_desc_conforming(&code) && x86_desc_dpl(&code) != cpl))
        selector_fault(cpu, X86_GP, gate->selector);
    if (cpu->mode.long_mode && !(code.attr & X86_ATTR_L))
        selector_fault(cpu, X86_GP, gate->selector);
    code_usable(cpu, &code);
    t->offset = gate->offset;
    t->size = cpu->mode.long_mode ? 8 : gate->type == X86_TYPE_CALL ? 4 : 2;
    if (!x86_desc_conforming(&code) && x86_desc_dpl(&code) < cpl)
        gate_inner(cpu, t, gate, &code);
    else
        far_code(cpu, t, &code);
}

static void far_task(struct x86_cpu *cpu, const struct far_transfer *t, struct x86_desc *tss)
{
    struct x86_task_entry entry = {
        .source = t->call ? X86_TASK_CALL : X86_TASK_JMP,
        .return_rip = t->return_rip, .flags = cpu->s.rflags};

    x86_task_switch(cpu, tss, &entry);
}

static void far_system(struct x86_cpu *cpu, struct far_transfer *t, struct x86_desc *d)
{
    struct x86_gate gate;
    struct x86_desc tss;

    x86_gate_parse(d->raw, d->raw_high, &gate);
    switch (x86_desc_type(d)) {
    case X86_TYPE_CALL:
        if (d->raw_high >> 40 & 0x1f)
            break;
        far_call_gate(cpu, t, &gate);
        return;
    case X86_TYPE_CALL16:
        if (cpu->mode.long_mode)
            break;
        far_call_gate(cpu, t, &gate);
        return;
    case X86_TYPE_TASK_GATE:
        if (cpu->mode.long_mode)
            break;
        gate_privilege_check(cpu, t->selector, &gate);
        x86_task_gate_tss(cpu, gate.selector, 0, &tss);
        far_task(cpu, t, &tss);
        return;
    case X86_TYPE_TSS16:
    case X86_TYPE_TSS:
        if (cpu->mode.long_mode || x86_selector_local(t->selector))
            break;
        gate_privilege_check(cpu, t->selector, &gate);
        far_task(cpu, t, d);
        return;
    }
    selector_fault(cpu, X86_GP, t->selector);
}

static void far_transfer(struct x86_cpu *cpu, struct far_transfer *t)
{
    struct x86_desc d;

    if (!cpu->mode.protected_mode) {
        far_real(cpu, t);
    } else {
        x86_desc_get(cpu, t->selector, X86_GP, 0, &d);       /* null: #GP(0) */
        if (x86_desc_system(&d))
            far_system(cpu, t, &d);
        else
            far_direct(cpu, t, &d);
    }
    x86_mode_update(cpu);
}

void x86_op_jmp_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct far_transfer t = {.call = false};

    far_operand(cpu, insn, &t);
    far_transfer(cpu, &t);
}

void x86_op_call_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct far_transfer t = {.call = true};

    far_operand(cpu, insn, &t);
    far_transfer(cpu, &t);
}

/* ---- returns ------------------------------------------------------------------ */

/* What RETF and IRET have in common once they have popped CS:RIP. */
struct far_return {
    uint16_t cs, ss;
    uint64_t rip, rsp;
    struct x86_desc code, stack;
    bool null_stack;
};

static void return_code_check(struct x86_cpu *cpu, struct far_return *r)
{
    unsigned rpl = x86_rpl(r->cs);

    x86_desc_get(cpu, r->cs, X86_GP, 0, &r->code);
    if (rpl < cpu->mode.cpl || !x86_desc_code(&r->code) ||
        (x86_desc_conforming(&r->code) ? x86_desc_dpl(&r->code) > rpl
                                       : x86_desc_dpl(&r->code) != rpl))
        selector_fault(cpu, X86_GP, r->cs);
    code_usable(cpu, &r->code);
}

static void return_stack_check(struct x86_cpu *cpu, struct far_return *r)
{
    unsigned rpl = x86_rpl(r->cs);

    if (x86_selector_null(r->ss)) {
        if (!x86_desc_long(cpu, &r->code) || rpl == 3 || x86_rpl(r->ss) != rpl)
            x86_gp0(cpu);
        r->null_stack = true;
        return;
    }
    x86_desc_get(cpu, r->ss, X86_GP, 0, &r->stack);
    if (x86_rpl(r->ss) != rpl || !x86_desc_stack(&r->stack) || x86_desc_dpl(&r->stack) != rpl)
        selector_fault(cpu, X86_GP, r->ss);
    if (!x86_desc_present(&r->stack))
        selector_fault(cpu, X86_SS_FAULT, r->ss);
}

static void return_code_commit(struct x86_cpu *cpu, struct far_return *r)
{
    x86_code_enter(cpu, &r->code, x86_rpl(r->cs));
    cpu->s.rip = r->rip;
}

/* Loads SS:RSP and, when the privilege drops, takes away data segments. */
static void return_stack_commit(struct x86_cpu *cpu, struct far_return *r, uint64_t release)
{
    unsigned rpl = x86_rpl(r->cs), old_cpl = cpu->mode.cpl;
    uint64_t rsp = r->rsp + release;

    if (r->null_stack)
        x86_segment_set_null_stack(cpu, rpl);
    else
        x86_segment_set(cpu, X86_SS, r->ss, &r->stack);
    cpu->s.seg[X86_SS].selector = r->ss;
    /* A 16-bit stack gets SP only; the rest keeps what it was. */
    if (x86_desc_long(cpu, &r->code))
        cpu->s.gpr[X86_RSP] = rsp;
    else if (r->stack.attr & X86_ATTR_DB)
        cpu->s.gpr[X86_RSP] = (uint32_t)rsp;
    else
        cpu->s.gpr[X86_RSP] = (cpu->s.gpr[X86_RSP] & ~0xffffull) | (rsp & 0xffff);
    if (rpl > old_cpl)
        x86_segments_drop(cpu, rpl);
}

static void return_accessed(struct x86_cpu *cpu, struct far_return *r, bool with_stack)
{
    x86_desc_accessed(cpu, &r->code);
    if (with_stack && !r->null_stack)
        x86_desc_accessed(cpu, &r->stack);
}

static void ret_protected(struct x86_cpu *cpu, unsigned size, uint64_t release)
{
    struct far_return r = {0};
    struct x86_stack st;
    bool outer;

    x86_stack_current(cpu, &st);
    r.rip = x86_stack_pop(cpu, &st, size);
    r.cs = (uint16_t)x86_stack_pop(cpu, &st, size);
    return_code_check(cpu, &r);
    x86_code_offset_check(cpu, &r.code, r.rip, 0);
    outer = x86_rpl(r.cs) > cpu->mode.cpl;
    x86_stack_skip(&st, release);
    if (outer) {
        r.rsp = x86_stack_pop(cpu, &st, size);
        r.ss = (uint16_t)x86_stack_pop(cpu, &st, size);
        return_stack_check(cpu, &r);
    }
    return_accessed(cpu, &r, outer);
    return_code_commit(cpu, &r);
    if (outer)
        return_stack_commit(cpu, &r, release);
    else
        x86_stack_commit(cpu, &st);
}

static void ret_real(struct x86_cpu *cpu, unsigned size, uint64_t release)
{
    struct x86_stack st;
    uint64_t ip;
    uint16_t cs;

    x86_stack_current(cpu, &st);
    ip = x86_stack_pop(cpu, &st, size);
    cs = (uint16_t)x86_stack_pop(cpu, &st, size);
    if (ip > cpu->s.seg[X86_CS].limit)
        x86_gp0(cpu);
    x86_stack_skip(&st, release);
    x86_stack_commit(cpu, &st);
    x86_segment_set_real(cpu, X86_CS, cs);
    cpu->s.rip = ip;
}

void x86_op_ret_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t release = insn->imm_bytes ? (uint16_t)insn->imm[0] : 0;

    if (cpu->mode.protected_mode)
        ret_protected(cpu, insn->operand_bits / 8, release);
    else
        ret_real(cpu, insn->operand_bits / 8, release);
    x86_mode_update(cpu);
}

/* ---- IRET --------------------------------------------------------------------- */

/* Bits that IRET with this operand size may change at this privilege. */
static uint64_t iret_flags_mask(const struct x86_cpu *cpu, unsigned size)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

    if (size > 2)
        mask |= X86_FLAG_RF | X86_FLAG_AC | X86_FLAG_ID;
    if (cpu->mode.cpl <= x86_iopl(cpu))
        mask |= X86_FLAG_IF;
    if (cpu->mode.cpl == 0) {
        mask |= X86_FLAG_IOPL;
        if (size > 2)
            mask |= X86_FLAG_VIF | X86_FLAG_VIP;
    }
    return mask;
}

static void flags_merge(struct x86_cpu *cpu, uint64_t value, uint64_t mask)
{
    cpu->s.rflags = (cpu->s.rflags & ~mask) | (value & mask) | X86_FLAG_1;
}

/* Real mode, and virtual-8086 mode with IOPL 3. */
static void iret_real(struct x86_cpu *cpu, unsigned size)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT | X86_FLAG_IF, ip;
    uint64_t flags;
    struct x86_stack st;
    uint16_t cs;

    x86_stack_current(cpu, &st);
    ip = x86_stack_pop(cpu, &st, size);
    cs = (uint16_t)x86_stack_pop(cpu, &st, size);
    flags = x86_stack_pop(cpu, &st, size);
    if (ip > cpu->s.seg[X86_CS].limit)
        x86_gp0(cpu);
    if (!cpu->mode.vm86)
        mask |= X86_FLAG_IOPL;
    if (size > 2)
        mask |= X86_FLAG_RF | X86_FLAG_AC | X86_FLAG_ID;
    x86_stack_commit(cpu, &st);
    x86_segment_set_real(cpu, X86_CS, cs);
    cpu->s.rip = ip;
    flags_merge(cpu, flags, mask);
}

/* Virtual-8086 mode with IOPL < 3 and CR4.VME: VIF stands in for IF. */
static void iret_vme(struct x86_cpu *cpu)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT | X86_FLAG_VIF;
    struct x86_stack st;
    uint64_t ip, flags;
    uint16_t cs;

    x86_stack_current(cpu, &st);
    ip = x86_stack_pop(cpu, &st, 2);
    cs = (uint16_t)x86_stack_pop(cpu, &st, 2);
    flags = x86_stack_pop(cpu, &st, 2);
    if (flags & X86_FLAG_TF || (flags & X86_FLAG_IF && cpu->s.rflags & X86_FLAG_VIP))
        x86_gp0(cpu);
    if (flags & X86_FLAG_IF)
        flags |= X86_FLAG_VIF;
    x86_stack_commit(cpu, &st);
    x86_segment_set_real(cpu, X86_CS, cs);
    cpu->s.rip = ip;
    flags_merge(cpu, flags, mask);
}

/* From privilege 0 to virtual-8086 mode; EIP, CS and EFLAGS are popped already. */
static void iret_to_vm86(struct x86_cpu *cpu, struct x86_stack *st, uint64_t ip, uint16_t cs,
                         uint64_t flags)
{
    static const uint8_t order[] = {X86_SS, X86_ES, X86_DS, X86_FS, X86_GS};
    uint16_t selector[ARRAY_SIZE(order)];
    uint64_t esp = x86_stack_pop(cpu, st, 4);

    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        selector[i] = (uint16_t)x86_stack_pop(cpu, st, 4);
    if (ip > 0xffff)
        x86_gp0(cpu);
    flags_merge(cpu, flags, iret_flags_mask(cpu, 4) | X86_FLAG_VM);
    x86_segment_set_real(cpu, X86_CS, cs);
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        x86_segment_set_real(cpu, order[i], selector[i]);
    cpu->s.gpr[X86_RSP] = esp;
    cpu->s.rip = ip;
}

/* NT set: back to the task that the TSS links to. */
static void iret_task(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_task_entry entry = {
        .source = X86_TASK_IRET, .return_rip = x86_next_rip(cpu, insn),
        .flags = cpu->s.rflags & ~(uint64_t)X86_FLAG_NT};
    uint16_t link;
    struct x86_desc tss;
    unsigned type;

    if (cpu->mode.long_mode)
        x86_gp0(cpu);
    link = (uint16_t)x86_read_sys(cpu, gva(cpu->s.tr.base), 2);
    if (x86_selector_local(link) || !x86_desc_read(cpu, link, &tss))
        selector_fault(cpu, X86_TS, link);
    type = x86_desc_type(&tss);
    if (!x86_desc_system(&tss) || (type != X86_TYPE_TSS_BUSY && type != X86_TYPE_TSS16_BUSY))
        selector_fault(cpu, X86_TS, link);
    if (!x86_desc_present(&tss))
        selector_fault(cpu, X86_NP, link);
    x86_task_switch(cpu, &tss, &entry);
}

static void iret_protected(struct x86_cpu *cpu, unsigned size)
{
    bool wide = cpu->mode.code_bits == 64, with_stack;
    struct far_return r = {0};
    struct x86_stack st;
    uint64_t flags, mask = iret_flags_mask(cpu, size);

    x86_stack_current(cpu, &st);
    r.rip = x86_stack_pop(cpu, &st, size);
    r.cs = (uint16_t)x86_stack_pop(cpu, &st, size);
    flags = x86_stack_pop(cpu, &st, size);
    if (flags & X86_FLAG_VM && size == 4 && cpu->mode.cpl == 0 && !cpu->mode.long_mode) {
        iret_to_vm86(cpu, &st, r.rip, r.cs, flags);
        return;
    }
    /* A bad RIP is found before a bad SS (as AMD processors do). */
    return_code_check(cpu, &r);
    x86_code_offset_check(cpu, &r.code, r.rip, 0);
    /* 64-bit mode always pops the stack too. */
    with_stack = wide || x86_rpl(r.cs) > cpu->mode.cpl;
    if (with_stack) {
        r.rsp = x86_stack_pop(cpu, &st, size);
        r.ss = (uint16_t)x86_stack_pop(cpu, &st, size);
        return_stack_check(cpu, &r);
    }
    return_accessed(cpu, &r, with_stack);
    return_code_commit(cpu, &r);
    if (with_stack)
        return_stack_commit(cpu, &r, 0);
    else
        x86_stack_commit(cpu, &st);
    flags_merge(cpu, flags, mask);
}

void x86_op_iret(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->operand_bits / 8;

    if (cpu->mode.protected_mode && cpu->s.rflags & X86_FLAG_NT)
        iret_task(cpu, insn);
    else if (cpu->mode.protected_mode)
        iret_protected(cpu, size);
    else if (!cpu->mode.vm86 || x86_iopl(cpu) == 3)
        iret_real(cpu, size);
    else if (cpu->s.cr4 & X86_CR4_VME && size == 2)
        iret_vme(cpu);
    else
        x86_gp0(cpu);
    cpu->s.ev.nmi_masked = false;
    x86_mode_update(cpu);
}
