/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system.h - system instructions and events without the interpreter: system.c,
 * event.c.
 *
 * All of these run with the guest's registers in the frame and its vector state
 * perhaps in the host's registers. Each does the usual case of 64-bit code
 * completely or nothing at all; the rest is the shared x86 code's, by way of
 * the interpreter.
 */
#ifndef RING3_ENGINE_DBT_SYSTEM_H
#define RING3_ENGINE_DBT_SYSTEM_H

#include "engine/dbt/vcpu.h"

/* site.operand of MOV CR and MOV from a segment register, RDFSBASE, ... */
#define DBT_OPERAND(gpr, other) ((uint32_t)(gpr) | (uint32_t)(other) << 8)

dbt_helper dbt_help_syscall, dbt_help_sysret, dbt_help_iret;
dbt_helper dbt_help_read_cr, dbt_help_write_cr, dbt_help_clts;
dbt_helper dbt_help_invlpg, dbt_help_invpcid;           /* address in frame.target */
dbt_helper dbt_help_pause;
dbt_helper dbt_help_rdmsr, dbt_help_wrmsr;
/* site.operand says which; address in frame.target */
enum { DBT_XSAVE, DBT_XSAVEOPT, DBT_XSAVEC, DBT_XRSTOR, DBT_XRSTORS };
dbt_helper dbt_help_xsave, dbt_help_xrstor;
dbt_helper dbt_help_read_base, dbt_help_write_base, dbt_help_read_seg;

/* Outside 64-bit mode: what translated code wants to know of the segment registers. */
void dbt_segments_in(const struct x86_cpu *cpu, struct dbt_frame *f);
/* With DBT_MODE_REAL it may have changed bases and selectors. */
void dbt_segments_out(struct x86_cpu *cpu, const struct dbt_frame *f);
bool dbt_segments_real(const struct x86_cpu *cpu);

/* Enters the handler of an exception that the instruction at `rip` raised. */
enum dbt_helped dbt_event_fault(struct dbt_vcpu *d, struct dbt_frame *f, uint64_t rip,
                                const struct x86_exception *e);

/* 64-bit code of this privilege runs from now on. */
void dbt_mode64(struct dbt_vcpu *d, unsigned cpl);
/* Host address of [a, a + len) for ring 0, or for the code that runs now; NULL: not
 * so easily. */
uint8_t *dbt_kernel_ptr(struct dbt_vcpu *d, uint64_t a, unsigned len, bool write);
uint8_t *dbt_ptr(struct dbt_vcpu *d, uint64_t a, unsigned len, bool write);

static inline bool dbt_canonical(uint64_t a)
{
    return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

#endif
