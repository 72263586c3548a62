/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * task.c - hardware task switching through 16- and 32-bit task state segments.
 *
 * Intel SDM vol. 3 ch. 8. Up to the commit point every fault belongs to the old
 * task, which is left untouched; after it (LDT and segment loads, pushing the
 * error code) the registers are the new task's and faults are delivered there.
 * Long mode has no task switches.
 */
#include "x86/event.h"

/* Byte offsets in a TSS, and which of them are saved. */
struct tss_layout {
    uint8_t bytes;                 /* width of EIP, EFLAGS and general registers */
    uint8_t minimum;               /* limit at least */
    uint8_t saved_start, saved_end;
    uint8_t cr3, eip, eflags, gpr, seg, segs, ldt;
};
static const struct tss_layout layout16 = {
    .bytes = 2, .minimum = 0x2b, .saved_start = 14, .saved_end = 42,
    .eip = 14, .eflags = 16, .gpr = 18, .seg = 34, .segs = 4, .ldt = 42};
static const struct tss_layout layout32 = {
    .bytes = 4, .minimum = 0x67, .saved_start = 32, .saved_end = 96,
    .cr3 = 28, .eip = 32, .eflags = 36, .gpr = 40, .seg = 72, .segs = 6, .ldt = 96};
enum { TSS_LINK = 0, TSS_TRAP = 100 };

struct task_image {
    uint32_t cr3, eip, eflags, gpr[8];
    uint16_t seg[X86_SEG_COUNT], ldt;
    bool trap;
};

static const struct tss_layout *tss_layout(uint32_t attr)
{
    return attr & 8 ? &layout32 : &layout16;
}

void x86_task_gate_tss(struct x86_cpu *cpu, uint16_t selector, unsigned ext,
                       struct x86_desc *tss)
{
    uint32_t error = x86_selector_error(selector) | ext;
    unsigned type;

    if (x86_selector_local(selector))
        x86_raise_error(cpu, X86_GP, error);
    x86_desc_get(cpu, selector, X86_GP, ext, tss);
    type = x86_desc_type(tss);
    if (!x86_desc_system(tss) || (type != X86_TYPE_TSS && type != X86_TYPE_TSS16))
        x86_raise_error(cpu, X86_GP, error);
    if (!x86_desc_present(tss))
        x86_raise_error(cpu, X86_NP, error);
}

/* ---- images ------------------------------------------------------------------ */

static gva_t tss_at(uint64_t base, unsigned offset)
{
    return gva((base + offset) & 0xffffffff);
}

static void image_read(struct x86_cpu *cpu, const struct x86_desc *tss, struct task_image *t)
{
    const struct tss_layout *l = tss_layout(tss->attr);

    *t = (struct task_image){0};
    if (l->cr3)
        t->cr3 = (uint32_t)x86_read_sys(cpu, tss_at(tss->base, l->cr3), 4);
    t->eip = (uint32_t)x86_read_sys(cpu, tss_at(tss->base, l->eip), l->bytes);
    t->eflags = (uint32_t)x86_read_sys(cpu, tss_at(tss->base, l->eflags), l->bytes);
    for (unsigned i = 0; i < 8; i++)
        t->gpr[i] = (uint32_t)x86_read_sys(cpu, tss_at(tss->base, l->gpr + i * l->bytes),
                                           l->bytes);
    for (unsigned i = 0; i < l->segs; i++)
        t->seg[i] = (uint16_t)x86_read_sys(cpu, tss_at(tss->base, l->seg + i * l->bytes), 2);
    t->ldt = (uint16_t)x86_read_sys(cpu, tss_at(tss->base, l->ldt), 2);
    if (l->bytes == 4)
        t->trap = x86_read_sys(cpu, tss_at(tss->base, TSS_TRAP), 2) & 1;
    else
        for (unsigned i = 0; i < 8; i++)
            t->gpr[i] |= 0xffff0000;               /* SDM vol. 3, 8.6 */
}

static void image_write(struct x86_cpu *cpu, const struct x86_task_entry *e)
{
    const struct tss_layout *l = tss_layout(cpu->s.tr.attr);
    uint64_t base = cpu->s.tr.base;

    x86_write_sys(cpu, tss_at(base, l->eip), l->bytes, e->return_rip);
    x86_write_sys(cpu, tss_at(base, l->eflags), l->bytes, e->flags);
    for (unsigned i = 0; i < 8; i++)
        x86_write_sys(cpu, tss_at(base, l->gpr + i * l->bytes), l->bytes, cpu->s.gpr[i]);
    for (unsigned i = 0; i < l->segs; i++)
        x86_write_sys(cpu, tss_at(base, l->seg + i * l->bytes), 2, cpu->s.seg[i].selector);
}

/* Everything that can fault in the old task's name, without changing anything. */
static void switch_probe(struct x86_cpu *cpu, const struct x86_desc *tss,
                         const struct x86_task_entry *e)
{
    const struct tss_layout *from = tss_layout(cpu->s.tr.attr), *to = tss_layout(tss->attr);
    bool links = e->source == X86_TASK_CALL || e->source == X86_TASK_EVENT;

    if (tss->limit < to->minimum)
        x86_raise_error(cpu, X86_TS, x86_selector_error(tss->selector) | e->ext);
    if (cpu->s.tr.limit < (uint32_t)from->saved_end - 1)
        x86_raise_error(cpu, X86_TS, x86_selector_error(cpu->s.tr.selector) | e->ext);
    x86_probe_as(cpu, false, tss_at(cpu->s.tr.base, from->saved_start),
                 from->saved_end - from->saved_start, X86_WRITE);
    x86_probe_as(cpu, false, tss_at(tss->base, 0), to->minimum + 1u, X86_READ);
    if (links)
        x86_probe_as(cpu, false, tss_at(tss->base, TSS_LINK), 2, X86_WRITE);
}

/* ---- the new task's segments -------------------------------------------------- */

static void task_fault(struct x86_cpu *cpu, enum x86_vector vector, uint16_t selector,
                       unsigned ext)
{
    x86_raise_error(cpu, vector, x86_selector_error(selector) | ext);
}

static void task_ldt_load(struct x86_cpu *cpu, uint16_t selector, unsigned ext)
{
    struct x86_desc d;

    cpu->s.ldtr = (struct x86_segment){
        .attr = X86_TYPE_LDT | X86_ATTR_UNUSABLE, .selector = selector};
    if (x86_selector_null(selector))
        return;
    if (x86_selector_local(selector) || !x86_desc_read(cpu, selector, &d) ||
        !x86_desc_system(&d) || x86_desc_type(&d) != X86_TYPE_LDT || !x86_desc_present(&d))
        task_fault(cpu, X86_TS, selector, ext);
    cpu->s.ldtr = (struct x86_segment){
        .base = d.base, .limit = d.limit, .attr = d.attr, .selector = selector};
}

static void task_cs_load(struct x86_cpu *cpu, uint16_t selector, unsigned ext)
{
    unsigned rpl = x86_rpl(selector);
    struct x86_desc d;

    x86_desc_get(cpu, selector, X86_TS, ext, &d);
    if (!x86_desc_code(&d) || (x86_desc_conforming(&d) ? x86_desc_dpl(&d) > rpl
                                                       : x86_desc_dpl(&d) != rpl))
        task_fault(cpu, X86_TS, selector, ext);
    if (!x86_desc_present(&d))
        task_fault(cpu, X86_NP, selector, ext);
    x86_desc_accessed(cpu, &d);
    x86_segment_set(cpu, X86_CS, selector, &d);
}

static void task_ss_load(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, unsigned ext)
{
    struct x86_desc d;

    x86_desc_get(cpu, selector, X86_TS, ext, &d);
    if (!x86_desc_stack(&d) || x86_rpl(selector) != cpl || x86_desc_dpl(&d) != cpl)
        task_fault(cpu, X86_TS, selector, ext);
    if (!x86_desc_present(&d))
        task_fault(cpu, X86_SS_FAULT, selector, ext);
    x86_desc_accessed(cpu, &d);
    x86_segment_set(cpu, X86_SS, selector, &d);
}

static void task_data_load(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector,
                           unsigned cpl, unsigned ext)
{
    struct x86_desc d;

    if (x86_selector_null(selector))
        return;
    x86_desc_get(cpu, selector, X86_TS, ext, &d);
    if (!x86_desc_readable(&d) ||
        (!x86_desc_conforming(&d) &&
         (x86_desc_dpl(&d) < cpl || x86_desc_dpl(&d) < x86_rpl(selector))))
        task_fault(cpu, X86_TS, selector, ext);
    if (!x86_desc_present(&d))
        task_fault(cpu, X86_NP, selector, ext);
    x86_desc_accessed(cpu, &d);
    x86_segment_set(cpu, seg, selector, &d);
}

/* Selectors first, so that a handler of a fault in here sees the new task's. */
static void task_segments_load(struct x86_cpu *cpu, const struct task_image *t, unsigned ext)
{
    static const uint8_t data[] = {X86_DS, X86_ES, X86_FS, X86_GS};
    unsigned cpl = x86_rpl(t->seg[X86_CS]);

    if (cpu->s.rflags & X86_FLAG_VM) {
        for (unsigned i = 0; i < X86_SEG_COUNT; i++)
            x86_segment_set_real(cpu, i, t->seg[i]);
        x86_mode_update(cpu);
        task_ldt_load(cpu, t->ldt, ext);
        return;
    }
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        x86_segment_set_null(cpu, i, t->seg[i]);
    cpu->s.seg[X86_SS].attr |= cpl << X86_ATTR_DPL_SHIFT;
    x86_mode_update(cpu);
    task_ldt_load(cpu, t->ldt, ext);
    task_cs_load(cpu, t->seg[X86_CS], ext);
    task_ss_load(cpu, t->seg[X86_SS], cpl, ext);
    x86_mode_update(cpu);
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
        task_data_load(cpu, data[i], t->seg[data[i]], cpl, ext);
    x86_mode_update(cpu);
}

/* ---- the switch ----------------------------------------------------------------- */

static void old_task_busy_clear(struct x86_cpu *cpu)
{
    struct x86_desc old;

    if (x86_desc_read(cpu, cpu->s.tr.selector, &old))
        x86_desc_type_change(cpu, &old, 0, X86_TYPE_BUSY);
}

/* Takes over the registers of the image: the commit point. */
static void registers_load(struct x86_cpu *cpu, struct x86_desc *tss, const struct task_image *t,
                           bool links)
{
    const uint64_t keep_out = 0xffffffffffc08028ull;     /* reserved bits of EFLAGS */

    cpu->s.tr = (struct x86_segment){.base = tss->base, .limit = tss->limit,
                                     .attr = tss->attr | X86_TYPE_BUSY,
                                     .selector = tss->selector};
    cpu->s.cr0 |= X86_CR0_TS;
    cpu->s.rip = t->eip;
    cpu->s.rflags = (t->eflags & ~keep_out) | X86_FLAG_1 | (links ? X86_FLAG_NT : 0);
    for (unsigned i = 0; i < 8; i++)
        cpu->s.gpr[i] = t->gpr[i];
    cpu->s.dr7 &= ~0x155ull;                             /* L0-L3, LE: task-local */
}

static void error_push(struct x86_cpu *cpu, const struct x86_desc *tss, uint32_t error)
{
    struct x86_stack st;

    x86_stack_current(cpu, &st);
    x86_stack_push(cpu, &st, tss_layout(tss->attr)->bytes, error);
    x86_stack_commit(cpu, &st);
}

void x86_task_switch(struct x86_cpu *cpu, struct x86_desc *tss, const struct x86_task_entry *e)
{
    bool links = e->source == X86_TASK_CALL || e->source == X86_TASK_EVENT;
    uint16_t old = cpu->s.tr.selector;
    struct task_image t;

    switch_probe(cpu, tss, e);
    if (!links)
        old_task_busy_clear(cpu);
    image_write(cpu, e);
    image_read(cpu, tss, &t);
    if (links)
        x86_write_sys(cpu, tss_at(tss->base, TSS_LINK), 2, old);
    if (e->source != X86_TASK_IRET)
        x86_desc_type_change(cpu, tss, X86_TYPE_BUSY, 0);
    registers_load(cpu, tss, &t, links);
    if (tss->attr & 8 && cpu->mode.paging)
        x86_cr_write(cpu, 3, t.cr3);
    task_segments_load(cpu, &t, e->ext);
    if (e->has_error)
        error_push(cpu, tss, e->error);
    if (cpu->s.rip > cpu->s.seg[X86_CS].limit)
        x86_raise_error(cpu, X86_GP, e->ext);
    if (t.trap)
        cpu->debug_due |= X86_DR6_BT;
}
