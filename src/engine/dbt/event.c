/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event.c - into and out of ring 0: SYSCALL, SYSRET, IRET, exceptions.
 *
 * Only what a 64-bit system does all the time: flat descriptors, stacks within
 * a page, no debugging. A descriptor is read from memory each time, as the
 * processor does, and has to be one of four values to be usual. Agrees with
 * x86/syscall.c, transfer.c and exception.c, which do the rest (SDM vol. 3,
 * 6.14; AMD APM vol. 2, 8.9).
 */
#include "engine/dbt/system.h"

#include "base/log.h"
#include "engine/dbt/frame.h"
#include "x86/segment.h"

#define DESC_KERNEL_CODE 0x00af9b000000ffffull
#define DESC_KERNEL_DATA 0x00cf93000000ffffull
#define DESC_USER_CODE 0x00affb000000ffffull
#define DESC_USER_DATA 0x00cff3000000ffffull

enum { CODE = X86_SEG_CODE | X86_SEG_READABLE | X86_SEG_ACCESSED,
       DATA = X86_SEG_WRITABLE | X86_SEG_ACCESSED };

/* ---- memory, modes, segments -------------------------------------------------- */

static uint8_t *ptr(struct dbt_vcpu *d, enum x86_tlb_kind kind, uint64_t a, unsigned len,
                    bool write)
{
    enum dbt_ring ring = kind == X86_TLB_USER ? DBT_RING_USER : DBT_RING_KERNEL;
    gva_t page = gva(a & PAGE_MASK);
    uintptr_t addend;
    uint32_t error;

    if ((a & PAGE_OFFSET_MASK) + len > PAGE_SIZE || !dbt_canonical(a) ||
        d->interp.cpu.s.cr4 & X86_CR4_SMAP)
        return NULL;
    addend = dbt_tables_at(d->tables, ring, page, write);
    if (!addend) {
        if (dbt_fill(d, kind, page, write, &error) != DBT_FILLED)
            return NULL;
        addend = dbt_tables_at(d->tables, ring, page, write);
    }
    return (uint8_t *)(a + addend);
}

uint8_t *dbt_kernel_ptr(struct dbt_vcpu *d, uint64_t a, unsigned len, bool write)
{
    return ptr(d, X86_TLB_KERNEL_AC, a, len, write);
}

uint8_t *dbt_ptr(struct dbt_vcpu *d, uint64_t a, unsigned len, bool write)
{
    return ptr(d, d->interp.cpu.mode.tlb, a, len, write);
}

static bool read64(struct dbt_vcpu *d, uint64_t a, uint64_t *value)
{
    const uint64_t *p = (const uint64_t *)dbt_kernel_ptr(d, a, 8, false);

    if (p)
        *value = *p;
    return p;
}

void dbt_mode64(struct dbt_vcpu *d, unsigned cpl)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    struct x86_mode *m = &cpu->mode;

    m->cpl = (uint8_t)cpl;
    m->code_bits = m->stack_bits = 64;
    m->flat_data = true;
    m->tlb = cpl == 3 ? X86_TLB_USER : X86_TLB_KERNEL_AC;
    cpu->tlb_now = &cpu->tlb[m->tlb];
    interp_key_update(&d->interp, false);
}

/* Things that make more of it than is done here: SMAP's third table, #AC, a
 * log. */
static bool unusual(const struct x86_cpu *cpu)
{
    return !cpu->mode.long_mode || cpu->s.cr4 & X86_CR4_SMAP || cpu->mode.align_check ||
           cpu->s.dr7 & 0xff || (cpu->log && log_tracing(cpu->log, LOG_EXCEPTION));
}

/* What is watched at each boundary afterwards, or checked at each access. */
static bool flags_unusual(const struct x86_cpu *cpu, uint64_t flags, unsigned cpl)
{
    return flags & (X86_FLAG_TF | X86_FLAG_RF | X86_FLAG_VM) ||
           (cpl == 3 && flags & X86_FLAG_AC && cpu->s.cr0 & X86_CR0_AM);
}

static void flat(struct x86_segment *seg, uint16_t selector, unsigned type, unsigned size,
                 unsigned dpl)
{
    seg->base = 0;
    seg->limit = UINT32_MAX;
    seg->attr = type | size | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | dpl << X86_ATTR_DPL_SHIFT;
    seg->selector = selector;
}

static bool descriptor_is(struct dbt_vcpu *d, uint16_t selector, uint64_t expected)
{
    const struct x86_table *gdt = &d->interp.cpu.s.gdtr;
    uint64_t raw, at = selector & ~7u;

    return !x86_selector_local(selector) && at && at + 7 <= gdt->limit &&
           read64(d, gdt->base + at, &raw) && raw == expected;
}

/* ---- SYSCALL, SYSRET ------------------------------------------------------------ */

enum dbt_helped dbt_help_syscall(struct dbt_vcpu *d, struct dbt_frame *f,
                                 const struct dbt_site *site)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    struct x86_state *s = &cpu->s;
    uint64_t flags = dbt_flags_get(f);
    uint16_t cs = (s->msr.star >> 32) & 0xfffc;

    if (unusual(cpu) || !(s->msr.efer & X86_EFER_SCE) || !dbt_canonical(s->msr.lstar))
        return DBT_HELPED_NOT;
    f->gpr[X86_RCX] = s->rip;               /* of the next instruction */
    f->gpr[X86_R11] = flags & ~(uint64_t)X86_FLAG_RF;
    s->rip = s->msr.lstar;
    dbt_flags_set(f, (flags & ~(s->msr.fmask | X86_FLAG_RF)) | X86_FLAG_1);
    flat(&s->seg[X86_CS], cs, CODE, X86_ATTR_L, 0);
    flat(&s->seg[X86_SS], cs + 8, DATA, X86_ATTR_DB, 0);
    dbt_mode64(d, 0);
    return DBT_HELPED_JUMP;
}

/* To 64-bit code: the form with REX.W. */
enum dbt_helped dbt_help_sysret(struct dbt_vcpu *d, struct dbt_frame *f,
                                const struct dbt_site *site)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    struct x86_state *s = &cpu->s;
    uint64_t flags = f->gpr[X86_R11] &
                     (X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_IF | X86_FLAG_DF | X86_FLAG_IOPL |
                      X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_VIF | X86_FLAG_VIP | X86_FLAG_ID);
    uint16_t base = s->msr.star >> 48;

    if (unusual(cpu) || !(s->msr.efer & X86_EFER_SCE) || flags_unusual(cpu, flags, 3) ||
        !dbt_canonical(f->gpr[X86_RCX]))
        return DBT_HELPED_NOT;
    s->rip = f->gpr[X86_RCX];
    dbt_flags_set(f, flags | X86_FLAG_1);
    flat(&s->seg[X86_CS], (base + 16) | 3, CODE, X86_ATTR_L, 3);
    flat(&s->seg[X86_SS], (base + 8) | 3, DATA, X86_ATTR_DB, 3);
    dbt_mode64(d, 3);
    return DBT_HELPED_JUMP;
}

/* ---- IRET -------------------------------------------------------------------------- */

/* Those that an outer ring may not use would have to be taken away: never the
 * case in a system that leaves them null or flat. Null ones lose their RPL. */
static bool data_segments_stay(const struct x86_state *s)
{
    static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};

    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        const struct x86_segment *seg = &s->seg[data[i]];
        if (seg->attr & X86_ATTR_UNUSABLE ? seg->selector != 0
                                          : (seg->attr & X86_ATTR_DPL) != X86_ATTR_DPL)
            return false;
    }
    return true;
}

/* Loads CS and SS of the interrupted code if they are the usual ones. */
static bool return_segments(struct dbt_vcpu *d, uint16_t cs, uint16_t ss)
{
    struct x86_state *s = &d->interp.cpu.s;

    if (x86_rpl(cs) == 3) {
        if (x86_rpl(ss) != 3 || !data_segments_stay(s) ||
            !descriptor_is(d, cs, DESC_USER_CODE) || !descriptor_is(d, ss, DESC_USER_DATA))
            return false;
        flat(&s->seg[X86_CS], cs, CODE, X86_ATTR_L, 3);
        flat(&s->seg[X86_SS], ss, DATA, X86_ATTR_DB, 3);
        return true;
    }
    if (x86_rpl(cs) || x86_rpl(ss) || !descriptor_is(d, cs, DESC_KERNEL_CODE))
        return false;
    if (!x86_selector_null(ss)) {
        if (!descriptor_is(d, ss, DESC_KERNEL_DATA))
            return false;
        flat(&s->seg[X86_SS], ss, DATA, X86_ATTR_DB, 0);
    } else {
        s->seg[X86_SS] = (struct x86_segment){.attr = X86_ATTR_UNUSABLE, .selector = ss};
    }
    flat(&s->seg[X86_CS], cs, CODE, X86_ATTR_L, 0);
    return true;
}

/* IRETQ at CPL 0. With no breakpoint enabled, RF hides nothing: it is dropped at
 * once and not behind the next instruction, unless somebody counts those. */
enum dbt_helped dbt_help_iret(struct dbt_vcpu *d, struct dbt_frame *f,
                              const struct dbt_site *site)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    struct x86_state *s = &cpu->s;
    const uint64_t *p = (const uint64_t *)dbt_kernel_ptr(d, f->gpr[X86_RSP], 40, false);
    const uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_IF | X86_FLAG_DF |
                          X86_FLAG_IOPL | X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_VIF |
                          X86_FLAG_VIP | X86_FLAG_ID;
    uint64_t old = dbt_flags_get(f), flags;
    unsigned cpl;

    if (!p || unusual(cpu) || old & X86_FLAG_NT || s->ev.nmi_masked || !dbt_canonical(p[0]) ||
        (d->counting && p[2] & X86_FLAG_RF))
        return DBT_HELPED_NOT;
    cpl = x86_rpl((uint16_t)p[1]);
    flags = (old & ~mask) | (p[2] & mask) | X86_FLAG_1;
    if (flags_unusual(cpu, flags, cpl) || !return_segments(d, (uint16_t)p[1], (uint16_t)p[4]))
        return DBT_HELPED_NOT;
    s->rip = p[0];
    f->gpr[X86_RSP] = p[3];
    dbt_flags_set(f, flags);
    dbt_mode64(d, cpl);
    return DBT_HELPED_JUMP;
}

/* ---- exceptions ------------------------------------------------------------------------ */

struct gate { uint64_t offset; uint16_t selector; unsigned ist; bool interrupt; };

static bool gate_get(struct dbt_vcpu *d, unsigned vector, struct gate *g)
{
    const struct x86_table *idt = &d->interp.cpu.s.idtr;
    const uint64_t *p;
    unsigned type;

    if (vector * 16u + 15 > idt->limit)
        return false;
    p = (const uint64_t *)dbt_kernel_ptr(d, idt->base + vector * 16u, 16, false);
    if (!p)
        return false;
    type = p[0] >> 40 & 0x1f;
    *g = (struct gate){.offset = (p[0] & 0xffff) | (p[0] >> 32 & 0xffff0000) | p[1] << 32,
                       .selector = (uint16_t)(p[0] >> 16), .ist = p[0] >> 32 & 7,
                       .interrupt = type == X86_TYPE_INT};
    return (type == X86_TYPE_INT || type == X86_TYPE_TRAP) && p[0] >> 47 & 1 &&
           dbt_canonical(g->offset) && descriptor_is(d, g->selector, DESC_KERNEL_CODE);
}

/* The stack of the handler, before anything is pushed. */
static bool stack_get(struct dbt_vcpu *d, const struct dbt_frame *f, const struct gate *g,
                      uint64_t *sp)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    const struct x86_segment *tr = &cpu->s.tr;
    unsigned offset = g->ist ? 36 + 8 * (g->ist - 1) : 4;

    if (cpu->mode.cpl == 0 && !g->ist)
        *sp = f->gpr[X86_RSP];
    else if (offset + 7 > tr->limit || !read64(d, tr->base + offset, sp))
        return false;
    *sp &= ~15ull;
    return true;
}

static void exception_record(struct x86_cpu *cpu, const struct x86_exception *e, uint64_t rip)
{
    unsigned slot = cpu->fault_count++ % X86_FAULT_LOG;

    cpu->fault_log[slot].e = *e;
    cpu->fault_log[slot].rip = rip;
    cpu->fault_log[slot].cs = cpu->s.seg[X86_CS].selector;
    COUNT(cpu->counters, exceptions);
    if (e->vector == X86_PF) {
        COUNT(cpu->counters, page_faults);
        cpu->s.cr2 = e->cr2;
    }
}

enum dbt_helped dbt_event_fault(struct dbt_vcpu *d, struct dbt_frame *f, uint64_t rip,
                                const struct x86_exception *e)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    struct x86_state *s = &cpu->s;
    uint64_t flags = dbt_flags_get(f), sp, *p;
    unsigned bytes = e->has_error ? 48 : 40;
    struct gate g;

    if (unusual(cpu) || (cpu->mode.cpl != 0 && cpu->mode.cpl != 3) || !gate_get(d, e->vector, &g) ||
        !stack_get(d, f, &g, &sp))
        return DBT_HELPED_NOT;
    p = (uint64_t *)dbt_kernel_ptr(d, sp - bytes, bytes, true);
    if (!p)
        return DBT_HELPED_NOT;
    exception_record(cpu, e, rip);
    if (e->has_error)
        *p++ = e->error;
    p[0] = rip;
    p[1] = s->seg[X86_CS].selector;
    p[2] = flags | X86_FLAG_RF;
    p[3] = f->gpr[X86_RSP];
    p[4] = s->seg[X86_SS].selector;
    f->gpr[X86_RSP] = sp - bytes;
    if (cpu->mode.cpl == 3)
        s->seg[X86_SS] = (struct x86_segment){.attr = X86_ATTR_UNUSABLE};
    flat(&s->seg[X86_CS], g.selector & ~3u, CODE, X86_ATTR_L, 0);
    s->rip = g.offset;
    dbt_flags_set(f, flags & ~(uint64_t)(X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF | X86_FLAG_VM |
                                         (g.interrupt ? X86_FLAG_IF : 0)));
    s->ev.shadow_sti = s->ev.shadow_mov_ss = false;
    dbt_mode64(d, 0);
    return DBT_HELPED_JUMP;
}
