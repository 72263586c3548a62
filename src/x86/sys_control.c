/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sys_control.c - system instructions about the processor itself: control
 * registers, MSRs, TLB and caches, identification, time, idling.
 *
 * Privilege first, then operands, then the effect, then the next instruction
 * (SDM vol. 2, per instruction). The rules for the values are in control.c and
 * msr.c.
 */
#include "base/byteorder.h"
#include "x86/cpuid.h"
#include "x86/operand.h"
#include "x86/system_ops.h"

static void need_ring0(struct x86_cpu *cpu)
{
    if (cpu->mode.cpl)
        x86_gp0(cpu);
}

/* Many results are a register pair whose upper halves are cleared. */
static void set32(struct x86_cpu *cpu, enum x86_gpr reg, uint64_t value)
{
    cpu->s.gpr[reg] = (uint32_t)value;
}

static uint64_t edx_eax(const struct x86_cpu *cpu)
{
    return (uint32_t)cpu->s.gpr[X86_RAX] | cpu->s.gpr[X86_RDX] << 32;
}

static void set_edx_eax(struct x86_cpu *cpu, uint64_t value)
{
    set32(cpu, X86_RAX, value);
    set32(cpu, X86_RDX, value >> 32);
}

void x86_op_undefined(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_ud(cpu);
}

/* ---- control registers ----------------------------------------------------- */

void x86_op_mov_cr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bool write = insn->op[0].kind == X86_OPND_CR;
    unsigned cr = insn->op[write ? 0 : 1].reg, gpr = insn->op[write ? 1 : 0].reg;
    unsigned size = insn->code_bits == 64 ? 8 : 4;
    if (cr == 1 || (cr > 4 && cr != 8))
        x86_ud(cpu);
    need_ring0(cpu);
    if (write)
        x86_cr_write(cpu, cr, x86_gpr_read(cpu, gpr, size));
    else
        x86_gpr_write(cpu, gpr, size, x86_cr_read(cpu, cr));
    x86_next(cpu, insn);
}

/* Reaches PE, MP, EM and TS only, and cannot clear PE. */
void x86_op_lmsw(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    need_ring0(cpu);
    uint64_t value = x86_operand_read(cpu, insn, 0) & 0xf;
    x86_cr_write(cpu, 0, (cpu->s.cr0 & ~0xeull) | value);
    x86_next(cpu, insn);
}

void x86_op_smsw(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (cpu->s.cr4 & X86_CR4_UMIP)
        need_ring0(cpu);
    x86_operand_write(cpu, insn, 0, cpu->s.cr0);
    x86_next(cpu, insn);
}

void x86_op_clts(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    need_ring0(cpu);
    cpu->s.cr0 &= ~(uint64_t)X86_CR0_TS;
    x86_next(cpu, insn);
}

/* ---- TLB and caches ----------------------------------------------------------- */

/* No access is made, so no limit and no canonical check: a non-canonical address
 * invalidates nothing. */
void x86_op_invlpg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    need_ring0(cpu);
    unsigned seg = insn->mem.seg;
    uint64_t a = x86_ea(cpu, insn);
    if (cpu->mode.code_bits != 64)
        a = (a + cpu->s.seg[seg].base) & UINT32_MAX;
    else if (seg == X86_FS || seg == X86_GS)
        a += cpu->s.seg[seg].base;
    if (x86_canonical(cpu, a))
        x86_tlb_flush_page(cpu, gva(a));
    x86_next(cpu, insn);
}

/* The TLB holds the current PCID's entries only, so "one PCID" is all but the
 * global ones, whichever it is. */
void x86_op_invpcid(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    enum { ADDRESS, CONTEXT, ALL_AND_GLOBAL, ALL };
    need_ring0(cpu);
    uint64_t type = x86_operand_read(cpu, insn, 0);
    uint8_t descriptor[16];
    x86_read_block(cpu, x86_ea_linear(cpu, insn, sizeof descriptor, X86_READ), descriptor,
                   sizeof descriptor);
    uint64_t pcid = get_le64(descriptor), a = get_le64(descriptor + 8);
    bool one = type == ADDRESS || type == CONTEXT;
    if (type > ALL || pcid >> 12 || (one && pcid && !(cpu->s.cr4 & X86_CR4_PCIDE)) ||
        (type == ADDRESS && !x86_canonical(cpu, a)))
        x86_gp0(cpu);
    if (type == ADDRESS)
        x86_tlb_flush_page(cpu, gva(a));
    else
        x86_tlb_flush(cpu, type == ALL_AND_GLOBAL);
    x86_next(cpu, insn);
}

/* Guest memory is coherent with everything that can look at it. */
void x86_op_cache_control(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    need_ring0(cpu);
    x86_next(cpu, insn);
}

void x86_op_cache_line(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_probe(cpu, x86_ea_linear(cpu, insn, 1, X86_READ), 1, X86_READ);
    x86_next(cpu, insn);
}

void x86_op_prefetch(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_next(cpu, insn);
}

/* ---- MSRs and segment bases ------------------------------------------------------ */

void x86_op_rdmsr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t value;
    need_ring0(cpu);
    if (x86_msr_read(cpu, (uint32_t)cpu->s.gpr[X86_RCX], &value) < 0)
        x86_gp0(cpu);
    set_edx_eax(cpu, value);
    x86_next(cpu, insn);
}

void x86_op_wrmsr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    need_ring0(cpu);
    if (x86_msr_write(cpu, (uint32_t)cpu->s.gpr[X86_RCX], edx_eax(cpu)) < 0)
        x86_gp0(cpu);
    x86_next(cpu, insn);
}

void x86_op_swapgs(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (cpu->mode.code_bits != 64)
        x86_ud(cpu);
    need_ring0(cpu);
    uint64_t base = cpu->s.seg[X86_GS].base;
    cpu->s.seg[X86_GS].base = cpu->s.msr.kernel_gs_base;
    cpu->s.msr.kernel_gs_base = base;
    x86_next(cpu, insn);
}

static uint64_t *base_register(struct x86_cpu *cpu, enum x86_seg seg)
{
    if (cpu->mode.code_bits != 64 || !(cpu->s.cr4 & X86_CR4_FSGSBASE))
        x86_ud(cpu);
    return &cpu->s.seg[seg].base;
}

static void read_base(struct x86_cpu *cpu, const struct x86_insn *insn, enum x86_seg seg)
{
    x86_operand_write(cpu, insn, 0, *base_register(cpu, seg));
    x86_next(cpu, insn);
}

static void write_base(struct x86_cpu *cpu, const struct x86_insn *insn, enum x86_seg seg)
{
    uint64_t *base = base_register(cpu, seg), value = x86_operand_read(cpu, insn, 0);
    if (!x86_canonical(cpu, value))
        x86_gp0(cpu);
    *base = value;
    x86_next(cpu, insn);
}

void x86_op_rdfsbase(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    read_base(cpu, insn, X86_FS);
}

void x86_op_rdgsbase(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    read_base(cpu, insn, X86_GS);
}

void x86_op_wrfsbase(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    write_base(cpu, insn, X86_FS);
}

void x86_op_wrgsbase(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    write_base(cpu, insn, X86_GS);
}

/* ---- identification, time, randomness ----------------------------------------------- */

void x86_op_cpuid(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint32_t out[4];
    x86_cpuid(cpu, (uint32_t)cpu->s.gpr[X86_RAX], (uint32_t)cpu->s.gpr[X86_RCX], out);
    set32(cpu, X86_RAX, out[0]);
    set32(cpu, X86_RBX, out[1]);
    set32(cpu, X86_RCX, out[2]);
    set32(cpu, X86_RDX, out[3]);
    x86_next(cpu, insn);
}

static void read_tsc(struct x86_cpu *cpu)
{
    if (cpu->s.cr4 & X86_CR4_TSD)
        need_ring0(cpu);
    set_edx_eax(cpu, cpu->ops->tsc(cpu->env));
}

void x86_op_rdtsc(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    read_tsc(cpu);
    x86_next(cpu, insn);
}

void x86_op_rdtscp(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    read_tsc(cpu);
    set32(cpu, X86_RCX, cpu->s.msr.tsc_aux);
    x86_next(cpu, insn);
}

/* AMD's four counters that every processor has never count here (msr.c); Intel
 * announces how many there are, and we announce none. */
void x86_op_rdpmc(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (!(cpu->s.cr4 & X86_CR4_PCE))
        need_ring0(cpu);
    if (!cpu->model->amd || (uint32_t)cpu->s.gpr[X86_RCX] >= 4)
        x86_gp0(cpu);
    set_edx_eax(cpu, 0);
    x86_next(cpu, insn);
}

void x86_op_rdpid(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_operand_write(cpu, insn, 0, (uint32_t)cpu->s.msr.tsc_aux);
    x86_next(cpu, insn);
}

/* Failure of the host's generator (CF clear, zero) is passed on: guests retry. */
static void deliver_random(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t value,
                           bool ok)
{
    x86_operand_write(cpu, insn, 0, ok ? value : 0);
    cpu->s.rflags = (cpu->s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | (ok ? X86_FLAG_CF : 0);
    x86_next(cpu, insn);
}

void x86_op_rdrand(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t value;
    bool ok;
    __asm__ volatile("rdrand %0" : "=r"(value), "=@ccc"(ok));
    deliver_random(cpu, insn, value, ok);
}

void x86_op_rdseed(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t value;
    bool ok;
    __asm__ volatile("rdseed %0" : "=r"(value), "=@ccc"(ok));
    deliver_random(cpu, insn, value, ok);
}

/* ---- SMAP, idling ----------------------------------------------------------------------- */

static void set_ac(struct x86_cpu *cpu, const struct x86_insn *insn, bool ac)
{
    if (cpu->mode.cpl)
        x86_ud(cpu);
    uint64_t others = cpu->s.rflags & ~(uint64_t)X86_FLAG_AC;
    cpu->s.rflags = others | (ac ? X86_FLAG_AC : 0);
    x86_next(cpu, insn);
    x86_mode_update(cpu);
}

void x86_op_clac(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    set_ac(cpu, insn, false);
}

void x86_op_stac(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    set_ac(cpu, insn, true);
}

/* Numbers, registers and errors are KVM's. Without a hypervisor in CPUID these
 * instructions are #UD. */
void x86_op_hypercall(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned bytes = cpu->mode.code_bits == 64 ? 8 : 4;
    const uint64_t mask = bytes == 8 ? UINT64_MAX : UINT32_MAX, *gpr = cpu->s.gpr;
    const uint64_t arg[4] = {gpr[X86_RBX] & mask, gpr[X86_RCX] & mask, gpr[X86_RDX] & mask,
                             gpr[X86_RSI] & mask};
    int64_t answer = -X86_KVM_ENOSYS;

    if (!x86_feature(&cpu->model->features, X86_FEATURE_HYPERVISOR))
        x86_ud(cpu);
    COUNT(cpu->counters, exit_hypercall);
    if (cpu->mode.cpl)
        answer = -X86_KVM_EPERM;
    else if (cpu->ops->hypercall)
        answer = cpu->ops->hypercall(cpu->env, gpr[X86_RAX] & mask, arg, bytes * 8);
    x86_gpr_write(cpu, X86_RAX, bytes, (uint64_t)answer);
    x86_next(cpu, insn);
}

void x86_op_hlt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    need_ring0(cpu);
    cpu->s.ev.mp_state = X86_MP_HALTED;
    x86_next(cpu, insn);
}
