/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.c - the software processor itself: making one, its mode, raising.
 *
 * x86_mode_update() runs at every change of privilege, so it computes the
 * whole mode without branches worth mentioning and compares once.
 */
#include <string.h>
#include "base/bug.h"
#include "x86/cpuid.h"
#include "x86/mmu.h"

/* Never hits: tlb_now while alignment is checked (CR0.AM, RFLAGS.AC, CPL 3), so
 * that every access takes the slow path, which checks. */
static const struct x86_tlb_entry tlb_empty[X86_TLB_SIZE] = {
    [0 ... X86_TLB_SIZE - 1] = {X86_TLB_NONE, X86_TLB_NONE, X86_TLB_NONE, 0, 0},
};

static void tlb_forget(struct x86_cpu *cpu)
{
    memset(cpu->tlb_map, 0, sizeof cpu->tlb_map);
    for (unsigned kind = 0; kind < X86_TLB_KINDS; kind++)
        memcpy(cpu->tlb[kind], tlb_empty, sizeof tlb_empty);
}

void x86_cpu_init(struct x86_cpu *cpu, const struct x86_env_ops *ops, void *env,
                  const struct x86_cpu_model *model, struct counters *counters,
                  struct log *log, bool bsp)
{
    memset(cpu, 0, sizeof *cpu);
    cpu->ops = ops;
    cpu->env = env;
    cpu->model = model;
    cpu->counters = counters;
    cpu->log = log;
    x86_state_power_on(&cpu->s, bsp);
    const struct x86_cpuid_leaf *signature = x86_cpuid_find(model, 1, 0);
    if (signature)
        cpu->s.gpr[X86_RDX] = signature->eax;
    x86_cpu_state_loaded(cpu);
}

/* Segment usable for reads and writes at any 32-bit offset as it is. */
static bool flat(const struct x86_segment *seg)
{
    return seg->base == 0 && seg->limit == UINT32_MAX &&
           (seg->attr & (X86_ATTR_UNUSABLE | X86_ATTR_S | 0xe)) == (X86_ATTR_S | 0x2);
}

static unsigned address_bits(const struct x86_mode *m, uint32_t attr, bool wide)
{
    return m->long_mode && wide ? 64 : attr & X86_ATTR_DB ? 32 : 16;
}

void x86_mode_update(struct x86_cpu *cpu)
{
    const struct x86_state *s = &cpu->s;
    const struct x86_segment *seg = s->seg;
    struct x86_mode m;
    memset(&m, 0, sizeof m);
    bool pe = s->cr0 & X86_CR0_PE;
    m.vm86 = pe && (s->rflags & X86_FLAG_VM);
    m.protected_mode = pe && !m.vm86;
    m.cpl = !pe ? 0 : m.vm86 ? 3 : (uint8_t)x86_state_cpl(s);
    m.long_mode = s->msr.efer & X86_EFER_LMA;
    m.paging = s->cr0 & X86_CR0_PG;
    bool wide = seg[X86_CS].attr & X86_ATTR_L;
    m.code_bits = (uint8_t)address_bits(&m, seg[X86_CS].attr, wide);
    m.stack_bits = (uint8_t)address_bits(&m, seg[X86_SS].attr, wide);
    m.flat_data = m.code_bits == 64 ||
                  (flat(&seg[X86_DS]) && flat(&seg[X86_SS]) && flat(&seg[X86_ES]));
    bool ac = s->rflags & X86_FLAG_AC;
    m.tlb = m.cpl == 3 ? X86_TLB_USER
          : (s->cr4 & X86_CR4_SMAP) && !ac ? X86_TLB_KERNEL : X86_TLB_KERNEL_AC;
    m.align_check = m.cpl == 3 && ac && (s->cr0 & X86_CR0_AM);

    if (!memcmp(&m, &cpu->mode, sizeof m))
        return;
    cpu->mode = m;
    /* Nobody writes through tlb_now: mmu.c fills cpu->tlb[] by kind. */
    cpu->tlb_now = m.align_check ? (struct x86_tlb_entry (*)[X86_TLB_SIZE])(uintptr_t)&tlb_empty
                                 : &cpu->tlb[m.tlb];
    if (cpu->ops->mode_changed)
        cpu->ops->mode_changed(cpu->env);
}

void x86_cpu_state_loaded(struct x86_cpu *cpu)
{
    tlb_forget(cpu);
    cpu->pdpte_valid = false;
    cpu->debug_due = 0;
    if (cpu->ops->tlb_flushed)
        cpu->ops->tlb_flushed(cpu->env, NULL, true);
    memset(&cpu->mode, 0xff, sizeof cpu->mode);     /* unlike any: always a change */
    x86_mode_update(cpu);
}

static _Noreturn void raise_exception(struct x86_cpu *cpu, struct x86_exception e)
{
    cpu->pending = e;
    longjmp(cpu->unwind, 1);
}

void x86_raise(struct x86_cpu *cpu, enum x86_vector vector)
{
    raise_exception(cpu, (struct x86_exception){.vector = (uint8_t)vector});
}

void x86_raise_error(struct x86_cpu *cpu, enum x86_vector vector, uint32_t error)
{
    raise_exception(cpu, (struct x86_exception){.vector = (uint8_t)vector, .has_error = true,
                                                .error = error});
}

void x86_raise_pf(struct x86_cpu *cpu, gva_t address, uint32_t error)
{
    raise_exception(cpu, (struct x86_exception){.vector = X86_PF, .has_error = true,
                                                .error = error, .cr2 = address.v});
}

void x86_raise_db(struct x86_cpu *cpu, uint64_t dr6_bits)
{
    raise_exception(cpu, (struct x86_exception){.vector = X86_DB, .dr6 = dr6_bits});
}
