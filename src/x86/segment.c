/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segment.c - descriptors and segment registers.
 *
 * Intel SDM vol. 3 ch. 3 and 5, vol. 2 for the instructions; AMD APM vol. 2
 * ch. 4. In 64-bit mode the hidden parts of ES, CS, SS and DS are loaded like
 * everywhere else and ignored by x86_linear(), which is what the processor does.
 */
#include "x86/segment.h"
#include "x86/system_ops.h"

/* ---- descriptors -------------------------------------------------------- */

static bool table_find(const struct x86_cpu *cpu, uint16_t selector, uint64_t *base,
                       uint32_t *limit)
{
    if (x86_selector_null(selector))
        return false;
    if (!x86_selector_local(selector)) {
        *base = cpu->s.gdtr.base;
        *limit = cpu->s.gdtr.limit;
        return true;
    }
    if (cpu->s.ldtr.attr & X86_ATTR_UNUSABLE)
        return false;
    *base = cpu->s.ldtr.base;
    *limit = cpu->s.ldtr.limit;
    return true;
}

static void desc_parse(struct x86_desc *d)
{
    d->base = (d->raw >> 16 & 0xffffff) | (d->raw >> 32 & 0xff000000) | d->raw_high << 32;
    d->attr = d->raw >> 40 & 0xf0ff;
    d->limit = (d->raw & 0xffff) | (d->raw >> 32 & 0xf0000);
    if (d->attr & X86_ATTR_G)
        d->limit = d->limit << 12 | 0xfff;
}

bool x86_desc_read(struct x86_cpu *cpu, uint16_t selector, struct x86_desc *d)
{
    uint64_t base;
    uint32_t limit, offset = selector & 0xfff8;

    if (!table_find(cpu, selector, &base, &limit) || offset + 7 > limit)
        return false;
    base += offset;
    if (!cpu->mode.long_mode)
        base &= 0xffffffff;
    *d = (struct x86_desc){.at = gva(base), .selector = selector};
    d->raw = x86_read_sys(cpu, d->at, 8);
    /* Long mode: system descriptors take two slots. */
    if (cpu->mode.long_mode && !(d->raw >> 44 & 1)) {
        if (offset + 15 > limit)
            return false;
        d->raw_high = x86_read_sys(cpu, gva_add(d->at, 8), 8);
    }
    desc_parse(d);
    return true;
}

void x86_desc_get(struct x86_cpu *cpu, uint16_t selector, enum x86_vector vector, unsigned ext,
                  struct x86_desc *d)
{
    if (!x86_desc_read(cpu, selector, d))
        x86_raise_error(cpu, vector, x86_selector_error(selector) | ext);
}

void x86_desc_type_change(struct x86_cpu *cpu, struct x86_desc *d, unsigned set, unsigned clear)
{
    gva_t at = gva_add(d->at, 5);
    uint8_t *p = x86_host_ptr_sys(cpu, at, X86_WRITE);

    /* Each caller has bits of one kind. */
    if (p && set)
        __atomic_fetch_or(p, set, __ATOMIC_SEQ_CST);
    else if (p)
        __atomic_fetch_and(p, (uint8_t)~clear, __ATOMIC_SEQ_CST);
    else
        x86_write_sys(cpu, at, 1, (x86_read_sys(cpu, at, 1) | set) & ~(uint64_t)clear);
    d->attr = (d->attr | set) & ~clear;
}

void x86_desc_accessed(struct x86_cpu *cpu, struct x86_desc *d)
{
    if (!(d->attr & X86_SEG_ACCESSED))
        x86_desc_type_change(cpu, d, X86_SEG_ACCESSED, 0);
}

/* ---- segment registers --------------------------------------------------- */

void x86_segment_set(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector,
                     const struct x86_desc *d)
{
    cpu->s.seg[seg] = (struct x86_segment){
        .base = d->base, .limit = d->limit, .attr = d->attr, .selector = selector};
}

void x86_segment_set_real(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector)
{
    struct x86_segment *s = &cpu->s.seg[seg];

    s->selector = selector;
    s->base = (uint64_t)selector << 4;
    if (cpu->s.rflags & X86_FLAG_VM) {
        s->limit = 0xffff;
        s->attr = 3 | X86_ATTR_S | X86_ATTR_DPL | X86_ATTR_P;
        return;
    }
    /* Limit and size stay what they were in protected mode ("unreal mode"). */
    if (s->attr & X86_ATTR_UNUSABLE)
        *s = (struct x86_segment){.base = s->base, .limit = 0xffff, .selector = selector};
    s->attr &= X86_ATTR_DB | X86_ATTR_G | X86_ATTR_AVL;
    s->attr |= X86_SEG_WRITABLE | X86_SEG_ACCESSED | X86_ATTR_S | X86_ATTR_P;
    /* Still executable just after CR0.PE was set, before the far jump. */
    if (seg == X86_CS)
        s->attr |= X86_SEG_CODE;
}

void x86_segment_set_null(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector)
{
    cpu->s.seg[seg] = (struct x86_segment){.attr = X86_ATTR_UNUSABLE, .selector = selector};
}

void x86_segment_set_null_stack(struct x86_cpu *cpu, unsigned cpl)
{
    cpu->s.seg[X86_SS] = (struct x86_segment){
        .attr = X86_ATTR_UNUSABLE | cpl << X86_ATTR_DPL_SHIFT, .selector = cpl};
}

void x86_segment_set_flat(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector, uint32_t attr)
{
    cpu->s.seg[seg] = (struct x86_segment){
        .limit = 0xffffffff, .selector = selector,
        .attr = attr | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G};
}

void x86_segments_drop(struct x86_cpu *cpu, unsigned cpl)
{
    static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};

    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        struct x86_segment *s = &cpu->s.seg[data[i]];
        uint32_t attr = s->attr;
        bool conforming = (attr & (X86_SEG_CODE | X86_SEG_CONFORMING)) ==
                          (X86_SEG_CODE | X86_SEG_CONFORMING);

        /* Null ones lose their RPL. Only the selector and what it allows go:
         * the base stays, and FS and GS still add it in 64-bit mode. */
        if (attr & X86_ATTR_UNUSABLE)
            s->selector = 0;
        else if (!conforming && (attr & X86_ATTR_DPL) >> X86_ATTR_DPL_SHIFT < cpl)
            *s = (struct x86_segment){.base = s->base, .attr = X86_ATTR_UNUSABLE};
    }
}

static void stack_segment_load(struct x86_cpu *cpu, uint16_t selector)
{
    unsigned cpl = cpu->mode.cpl;
    uint32_t error = x86_selector_error(selector);
    struct x86_desc d;

    if (x86_selector_null(selector)) {
        /* 64-bit mode runs without a stack segment, except at CPL 3. */
        if (cpu->mode.code_bits != 64 || cpl == 3 || x86_rpl(selector) != cpl)
            x86_gp0(cpu);
        x86_segment_set_null_stack(cpu, cpl);
        return;
    }
    x86_desc_get(cpu, selector, X86_GP, 0, &d);
    if (!x86_desc_stack(&d) || x86_rpl(selector) != cpl || x86_desc_dpl(&d) != cpl)
        x86_raise_error(cpu, X86_GP, error);
    if (!x86_desc_present(&d))
        x86_raise_error(cpu, X86_SS_FAULT, error);
    x86_desc_accessed(cpu, &d);
    x86_segment_set(cpu, X86_SS, selector, &d);
}

static void data_segment_load(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector)
{
    unsigned cpl = cpu->mode.cpl;
    uint32_t error = x86_selector_error(selector);
    struct x86_desc d;

    if (x86_selector_null(selector)) {
        x86_segment_set_null(cpu, seg, selector);
        return;
    }
    x86_desc_get(cpu, selector, X86_GP, 0, &d);
    if (!x86_desc_readable(&d))
        x86_raise_error(cpu, X86_GP, error);
    if (!x86_desc_conforming(&d) &&
        (x86_rpl(selector) > x86_desc_dpl(&d) || cpl > x86_desc_dpl(&d)))
        x86_raise_error(cpu, X86_GP, error);
    if (!x86_desc_present(&d))
        x86_raise_error(cpu, X86_NP, error);
    x86_desc_accessed(cpu, &d);
    x86_segment_set(cpu, seg, selector, &d);
}

void x86_segment_load(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector)
{
    if (!cpu->mode.protected_mode)
        x86_segment_set_real(cpu, seg, selector);
    else if (seg == X86_SS)
        stack_segment_load(cpu, selector);
    else
        data_segment_load(cpu, seg, selector);
    if (seg != X86_FS && seg != X86_GS)
        x86_mode_update(cpu);
}

/* ---- stacks ------------------------------------------------------------- */

void x86_stack_current(struct x86_cpu *cpu, struct x86_stack *st)
{
    *st = (struct x86_stack){
        .ss = cpu->s.seg[X86_SS], .sp = cpu->s.gpr[X86_RSP],
        .bits = cpu->mode.stack_bits, .current = true};
}

static uint64_t stack_mask(const struct x86_stack *st)
{
    return st->bits == 64 ? UINT64_MAX : st->bits == 32 ? 0xffffffff : 0xffff;
}

void x86_stack_skip(struct x86_stack *st, uint64_t bytes)
{
    uint64_t mask = stack_mask(st);

    /* 32-bit stack pointers clear the upper half like any 32-bit result. */
    st->sp = st->bits == 16 ? (st->sp & ~mask) | ((st->sp + bytes) & mask)
                            : (st->sp + bytes) & mask;
}

static gva_t stack_linear(struct x86_cpu *cpu, const struct x86_stack *st, uint64_t at,
                          unsigned size)
{
    uint64_t last = at + size - 1;
    bool inside;

    if (st->bits == 64) {
        if (!x86_canonical(cpu, at) || !x86_canonical(cpu, last))
            x86_raise_error(cpu, X86_SS_FAULT, st->error);
        return gva(at);
    }
    if ((cpu->mode.protected_mode || !st->current) &&
        (st->ss.attr & (X86_SEG_CODE | X86_SEG_DOWN)) == X86_SEG_DOWN)
        inside = at > st->ss.limit && last <= (st->ss.attr & X86_ATTR_DB ? 0xffffffff : 0xffff);
    else
        inside = last <= st->ss.limit;
    if (!inside || st->ss.attr & X86_ATTR_UNUSABLE)
        x86_raise_error(cpu, X86_SS_FAULT, st->error);
    return gva((st->ss.base + at) & 0xffffffff);
}

void x86_stack_push(struct x86_cpu *cpu, struct x86_stack *st, unsigned size, uint64_t value)
{
    struct x86_stack next = *st;
    gva_t a;

    x86_stack_skip(&next, -(uint64_t)size);
    a = stack_linear(cpu, st, next.sp & stack_mask(st), size);
    if (st->current)
        x86_write(cpu, a, size, value);
    else
        x86_write_as(cpu, st->user, a, size, value);
    st->sp = next.sp;
}

uint64_t x86_stack_pop(struct x86_cpu *cpu, struct x86_stack *st, unsigned size)
{
    gva_t a = stack_linear(cpu, st, st->sp & stack_mask(st), size);
    uint64_t value = st->current ? x86_read(cpu, a, size) : x86_read_as(cpu, st->user, a, size);

    x86_stack_skip(st, size);
    return value;
}

/* ---- instructions on segment registers ----------------------------------- */

void x86_op_mov_seg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (insn->op[1].kind == X86_OPND_SEG) {
        x86_operand_write(cpu, insn, 0, cpu->s.seg[insn->op[1].reg].selector);
        x86_next(cpu, insn);
        return;
    }
    if (insn->op[0].reg == X86_CS || insn->op[0].reg >= X86_SEG_COUNT)
        x86_ud(cpu);
    x86_segment_load(cpu, insn->op[0].reg, (uint16_t)x86_operand_read(cpu, insn, 1));
    if (insn->op[0].reg == X86_SS)
        cpu->s.ev.shadow_mov_ss = true;
    x86_next(cpu, insn);
}

void x86_op_push_seg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_push(cpu, insn->operand_bits / 8, cpu->s.seg[insn->op[0].reg].selector);
    x86_next(cpu, insn);
}

void x86_op_pop_seg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_stack st;
    uint16_t selector;

    /* The pointer moves by the terms of the old SS, and only if the load succeeds. */
    x86_stack_current(cpu, &st);
    selector = (uint16_t)x86_stack_pop(cpu, &st, 2);
    x86_stack_skip(&st, insn->operand_bits / 8 - 2);
    x86_segment_load(cpu, insn->op[0].reg, selector);
    x86_stack_commit(cpu, &st);
    if (insn->op[0].reg == X86_SS)
        cpu->s.ev.shadow_mov_ss = true;
    x86_next(cpu, insn);
}

/* LDS, LES, LSS, LFS, LGS. */
static void load_far_pointer(struct x86_cpu *cpu, const struct x86_insn *insn, enum x86_seg seg)
{
    unsigned size = x86_far_bytes(cpu, insn);
    gva_t a = x86_ea_linear(cpu, insn, size + 2, X86_READ);
    uint64_t offset = x86_read(cpu, a, size);

    x86_segment_load(cpu, seg, (uint16_t)x86_read(cpu, gva_add(a, size), 2));
    x86_gpr_write(cpu, insn->op[0].reg, size, offset);
    x86_next(cpu, insn);
}

void x86_op_lds(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    load_far_pointer(cpu, insn, X86_DS);
}

void x86_op_les(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    load_far_pointer(cpu, insn, X86_ES);
}

void x86_op_lss(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    load_far_pointer(cpu, insn, X86_SS);
}

void x86_op_lfs(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    load_far_pointer(cpu, insn, X86_FS);
}

void x86_op_lgs(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    load_far_pointer(cpu, insn, X86_GS);
}

/* ---- descriptor tables --------------------------------------------------- */

static void table_load(struct x86_cpu *cpu, const struct x86_insn *insn, struct x86_table *table)
{
    bool wide = insn->code_bits == 64;
    gva_t a;
    uint64_t base;
    uint16_t limit;

    if (cpu->mode.cpl)
        x86_gp0(cpu);
    a = x86_ea_linear(cpu, insn, wide ? 10 : 6, X86_READ);
    limit = (uint16_t)x86_read(cpu, a, 2);
    base = x86_read(cpu, gva_add(a, 2), wide ? 8 : 4);
    if (wide && !x86_canonical(cpu, base))
        x86_gp0(cpu);
    if (!wide && insn->operand_bits == 16)
        base &= 0xffffff;
    *table = (struct x86_table){.base = base, .limit = limit};
    x86_next(cpu, insn);
}

static void umip_check(struct x86_cpu *cpu)
{
    if (cpu->s.cr4 & X86_CR4_UMIP && cpu->mode.cpl)
        x86_gp0(cpu);
}

static void table_store(struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_table *table)
{
    uint8_t image[10];
    unsigned size = insn->code_bits == 64 ? 10 : 6;

    umip_check(cpu);
    memcpy(image, &table->limit, 2);
    memcpy(image + 2, &table->base, 8);
    x86_write_block(cpu, x86_ea_linear(cpu, insn, size, X86_WRITE), image, size);
    x86_next(cpu, insn);
}

void x86_op_lgdt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    table_load(cpu, insn, &cpu->s.gdtr);
}

void x86_op_lidt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    table_load(cpu, insn, &cpu->s.idtr);
}

void x86_op_sgdt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    table_store(cpu, insn, &cpu->s.gdtr);
}

void x86_op_sidt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    table_store(cpu, insn, &cpu->s.idtr);
}

/* Reads the system descriptor that LLDT or LTR names. */
static void system_desc_get(struct x86_cpu *cpu, uint16_t selector, struct x86_desc *d)
{
    uint32_t error = x86_selector_error(selector);

    if (x86_selector_local(selector))
        x86_raise_error(cpu, X86_GP, error);
    x86_desc_get(cpu, selector, X86_GP, 0, d);
    if (!x86_desc_system(d))
        x86_raise_error(cpu, X86_GP, error);
    if (cpu->mode.long_mode && ((d->raw_high >> 40 & 0x1f) || !x86_canonical(cpu, d->base)))
        x86_raise_error(cpu, X86_GP, error);
}

static uint16_t privileged_selector(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (!cpu->mode.protected_mode)
        x86_ud(cpu);
    if (cpu->mode.cpl)
        x86_gp0(cpu);
    return (uint16_t)x86_operand_read(cpu, insn, 0);
}

void x86_op_lldt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t selector = privileged_selector(cpu, insn);
    struct x86_desc d;

    if (x86_selector_null(selector)) {
        cpu->s.ldtr = (struct x86_segment){
            .attr = X86_TYPE_LDT | X86_ATTR_UNUSABLE, .selector = selector};
        x86_next(cpu, insn);
        return;
    }
    system_desc_get(cpu, selector, &d);
    if (x86_desc_type(&d) != X86_TYPE_LDT)
        x86_raise_error(cpu, X86_GP, x86_selector_error(selector));
    if (!x86_desc_present(&d))
        x86_raise_error(cpu, X86_NP, x86_selector_error(selector));
    cpu->s.ldtr = (struct x86_segment){
        .base = d.base, .limit = d.limit, .attr = d.attr, .selector = selector};
    x86_next(cpu, insn);
}

void x86_op_ltr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t selector = privileged_selector(cpu, insn);
    struct x86_desc d;
    unsigned type;

    if (x86_selector_null(selector))
        x86_gp0(cpu);
    system_desc_get(cpu, selector, &d);
    type = x86_desc_type(&d);
    if (type != X86_TYPE_TSS && (type != X86_TYPE_TSS16 || cpu->mode.long_mode))
        x86_raise_error(cpu, X86_GP, x86_selector_error(selector));
    if (!x86_desc_present(&d))
        x86_raise_error(cpu, X86_NP, x86_selector_error(selector));
    x86_desc_type_change(cpu, &d, X86_TYPE_BUSY, 0);
    cpu->s.tr = (struct x86_segment){
        .base = d.base, .limit = d.limit, .attr = d.attr, .selector = selector};
    x86_next(cpu, insn);
}

static void selector_store(struct x86_cpu *cpu, const struct x86_insn *insn, uint16_t selector)
{
    if (!cpu->mode.protected_mode)
        x86_ud(cpu);
    umip_check(cpu);
    x86_operand_write(cpu, insn, 0, selector);
    x86_next(cpu, insn);
}

void x86_op_sldt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    selector_store(cpu, insn, cpu->s.ldtr.selector);
}

void x86_op_str(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    selector_store(cpu, insn, cpu->s.tr.selector);
}

/* ---- asking about descriptors -------------------------------------------- */

static void zf_set(struct x86_cpu *cpu, bool on)
{
    cpu->s.rflags = on ? cpu->s.rflags | X86_FLAG_ZF : cpu->s.rflags & ~(uint64_t)X86_FLAG_ZF;
}

/* Whether a program at CPL with this selector's RPL sees the segment at all. */
static bool desc_visible(const struct x86_cpu *cpu, const struct x86_desc *d)
{
    return x86_desc_conforming(d) ||
           (cpu->mode.cpl <= x86_desc_dpl(d) && x86_rpl(d->selector) <= x86_desc_dpl(d));
}

/* System types that LAR (gates too) or LSL tells about; bit per type. */
static bool system_type_known(const struct x86_cpu *cpu, const struct x86_desc *d, bool lar)
{
    unsigned legacy = 1u << X86_TYPE_TSS16 | 1u << X86_TYPE_LDT | 1u << X86_TYPE_TSS16_BUSY |
                      1u << X86_TYPE_TSS | 1u << X86_TYPE_TSS_BUSY;
    unsigned wide = 1u << X86_TYPE_LDT | 1u << X86_TYPE_TSS | 1u << X86_TYPE_TSS_BUSY;

    if (lar) {
        legacy |= 1u << X86_TYPE_CALL16 | 1u << X86_TYPE_TASK_GATE | 1u << X86_TYPE_CALL;
        wide |= 1u << X86_TYPE_CALL;
    }
    if (cpu->mode.long_mode && d->raw_high >> 40 & 0x1f)
        return false;
    return (cpu->mode.long_mode ? wide : legacy) >> x86_desc_type(d) & 1;
}

/* Reads the descriptor that the second operand names, for LAR and LSL. */
static bool desc_asked(struct x86_cpu *cpu, const struct x86_insn *insn, bool lar,
                       struct x86_desc *d)
{
    if (!cpu->mode.protected_mode)
        x86_ud(cpu);
    if (!x86_desc_read(cpu, (uint16_t)x86_operand_read(cpu, insn, 1), d))
        return false;
    if (x86_desc_system(d) && !system_type_known(cpu, d, lar))
        return false;
    return desc_visible(cpu, d);
}

void x86_op_lar(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_desc d;
    bool known = desc_asked(cpu, insn, true, &d);

    if (known)
        x86_gpr_write(cpu, insn->op[0].reg, insn->operand_bits / 8, d.raw >> 32 & 0x00ffff00);
    zf_set(cpu, known);
    x86_next(cpu, insn);
}

void x86_op_lsl(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_desc d;
    bool known = desc_asked(cpu, insn, false, &d);

    if (known)
        x86_gpr_write(cpu, insn->op[0].reg, insn->operand_bits / 8, d.limit);
    zf_set(cpu, known);
    x86_next(cpu, insn);
}

static void verify(struct x86_cpu *cpu, const struct x86_insn *insn, bool write)
{
    struct x86_desc d;
    bool ok;

    if (!cpu->mode.protected_mode)
        x86_ud(cpu);
    ok = x86_desc_read(cpu, (uint16_t)x86_operand_read(cpu, insn, 0), &d) &&
         (write ? x86_desc_stack(&d) : x86_desc_readable(&d)) && desc_visible(cpu, &d);
    zf_set(cpu, ok);
    x86_next(cpu, insn);
}

void x86_op_verr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    verify(cpu, insn, false);
}

void x86_op_verw(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    verify(cpu, insn, true);
}

void x86_op_arpl(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t target, rpl;

    if (!cpu->mode.protected_mode)
        x86_ud(cpu);
    target = (uint16_t)x86_operand_read(cpu, insn, 0);
    rpl = x86_operand_read(cpu, insn, 1) & 3;
    if ((target & 3) < rpl) {
        x86_operand_write(cpu, insn, 0, (target & ~3u) | rpl);
        zf_set(cpu, true);
    } else {
        zf_set(cpu, false);
    }
    x86_next(cpu, insn);
}
