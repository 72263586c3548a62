/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * syscall.c - SYSCALL, SYSRET, SYSENTER, SYSEXIT.
 *
 * Intel SDM vol. 2; AMD APM vol. 2 ch. 6.1 and vol. 3. These load flat segments
 * without looking at descriptors. The vendors differ, and the model says which
 * one the guest sees:
 *   - SYSCALL/SYSRET outside 64-bit mode: AMD only (from compatibility mode
 *     through CSTAR, in legacy mode through STAR); #UD on Intel.
 *   - SYSENTER/SYSEXIT in long mode: Intel only; #UD on AMD.
 *   - SYSRET to a non-canonical RCX: #GP at CPL 0 on Intel; on AMD the fetch
 *     at CPL 3 faults.
 */
#include "x86/event.h"
#include "x86/system_ops.h"

enum { CODE = X86_SEG_CODE | X86_SEG_READABLE | X86_SEG_ACCESSED,
       DATA = X86_SEG_WRITABLE | X86_SEG_ACCESSED,
       DPL3 = 3 << X86_ATTR_DPL_SHIFT };

static void flat_segments(struct x86_cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool wide)
{
    uint32_t dpl = cpl << X86_ATTR_DPL_SHIFT;

    x86_segment_set_flat(cpu, X86_CS, cs, CODE | dpl | (wide ? X86_ATTR_L : X86_ATTR_DB));
    x86_segment_set_flat(cpu, X86_SS, ss, DATA | dpl | X86_ATTR_DB);
}

/* Whether TF traps after these two depends on TF as they leave it, so that a
 * kernel can mask the trap and a debugger steps over the call. */
static void step_by_new_flags(struct x86_cpu *cpu, uint64_t old_flags)
{
    if (cpu->s.rflags & X86_FLAG_TF)
        cpu->debug_due |= X86_DR6_BS;
    else if (old_flags & X86_FLAG_TF)
        cpu->debug_due |= X86_DEBUG_NO_STEP;
}

void x86_op_syscall(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_state *s = &cpu->s;
    uint64_t old_flags = s->rflags, next = x86_next_rip(cpu, insn);
    uint16_t cs = (s->msr.star >> 32) & 0xfffc;

    if (!(s->msr.efer & X86_EFER_SCE) || (insn->code_bits != 64 && !x86_vendor_amd(cpu)))
        x86_ud(cpu);
    s->gpr[X86_RCX] = next;
    if (cpu->mode.long_mode) {
        s->gpr[X86_R11] = old_flags & ~(uint64_t)X86_FLAG_RF;
        s->rip = insn->code_bits == 64 ? s->msr.lstar : s->msr.cstar;
        s->rflags &= ~(s->msr.fmask | X86_FLAG_RF);
        s->rflags |= X86_FLAG_1;
    } else {
        s->rip = (uint32_t)s->msr.star;
        s->rflags &= ~(uint64_t)(X86_FLAG_VM | X86_FLAG_IF | X86_FLAG_RF);
    }
    flat_segments(cpu, cs, cs + 8, 0, cpu->mode.long_mode);
    step_by_new_flags(cpu, old_flags);
    x86_mode_update(cpu);
}

void x86_op_sysret(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_state *s = &cpu->s;
    bool wide = insn->operand_bits == 64;
    uint64_t old_flags = s->rflags, flags;
    uint16_t base = s->msr.star >> 48;

    if (!(s->msr.efer & X86_EFER_SCE) || (insn->code_bits != 64 && !x86_vendor_amd(cpu)))
        x86_ud(cpu);
    if (!cpu->mode.protected_mode || cpu->mode.cpl)
        x86_gp0(cpu);
    if (wide && !x86_vendor_amd(cpu) && !x86_canonical(cpu, s->gpr[X86_RCX]))
        x86_gp0(cpu);
    s->rip = wide ? s->gpr[X86_RCX] : (uint32_t)s->gpr[X86_RCX];
    if (insn->code_bits == 64) {
        flags = s->gpr[X86_R11] & (X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_IF | X86_FLAG_DF |
                                   X86_FLAG_IOPL | X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_VIF |
                                   X86_FLAG_VIP | X86_FLAG_ID);
        s->rflags = flags | X86_FLAG_1;
    } else {
        s->rflags |= X86_FLAG_IF;
    }
    flat_segments(cpu, (wide ? base + 16 : base) | 3, (base + 8) | 3, 3, wide);
    step_by_new_flags(cpu, old_flags);
    x86_mode_update(cpu);
}

static uint16_t sysenter_selector(struct x86_cpu *cpu)
{
    if (cpu->mode.long_mode && x86_vendor_amd(cpu))
        x86_ud(cpu);
    if (!(cpu->s.cr0 & X86_CR0_PE) || !(cpu->s.msr.sysenter_cs & 0xfffc))
        x86_gp0(cpu);
    return cpu->s.msr.sysenter_cs & 0xfffc;
}

void x86_op_sysenter(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_state *s = &cpu->s;
    uint16_t cs = sysenter_selector(cpu);

    s->rflags &= ~(uint64_t)(X86_FLAG_VM | X86_FLAG_IF | X86_FLAG_RF);
    s->gpr[X86_RSP] = s->msr.sysenter_esp;
    s->rip = s->msr.sysenter_eip;
    if (!cpu->mode.long_mode) {
        s->gpr[X86_RSP] = (uint32_t)s->gpr[X86_RSP];
        s->rip = (uint32_t)s->rip;
    }
    flat_segments(cpu, cs, cs + 8, 0, cpu->mode.long_mode);
    x86_mode_update(cpu);
}

void x86_op_sysexit(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_state *s = &cpu->s;
    bool wide = insn->operand_bits == 64;
    uint16_t base;

    if (!cpu->mode.protected_mode || cpu->mode.cpl)
        x86_gp0(cpu);
    base = sysenter_selector(cpu);
    if (wide && (!x86_canonical(cpu, s->gpr[X86_RCX]) || !x86_canonical(cpu, s->gpr[X86_RDX])))
        x86_gp0(cpu);
    s->gpr[X86_RSP] = wide ? s->gpr[X86_RCX] : (uint32_t)s->gpr[X86_RCX];
    s->rip = wide ? s->gpr[X86_RDX] : (uint32_t)s->gpr[X86_RDX];
    base += wide ? 32 : 16;
    flat_segments(cpu, base | 3, (base + 8) | 3, 3, wide);
    x86_mode_update(cpu);
}
