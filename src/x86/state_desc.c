/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_desc.c - struct x86_state as tables: saved, printed, compared and
 * digested from here. A field of state.h that is missing here is lost in every
 * snapshot; tests/unit/x86_state.c counts the bytes.
 */
#include "base/state_desc.h"
#include "x86/state.h"

/* A two-dimensional byte array, flattened. */
#define BYTES_2D(s, f) {#f, offsetof(s, f), STATE_ELEM_(s, f), 1, STATE_TYPE_U8, 0, NULL}

static const struct state_field segment_fields[] = {
    STATE_U64(struct x86_segment, base),
    STATE_U32(struct x86_segment, limit),
    STATE_U32(struct x86_segment, attr),
    STATE_U16(struct x86_segment, selector),
    STATE_END
};
static const struct state_desc segment_desc = {"segment", 1, segment_fields};

static const struct state_field table_fields[] = {
    STATE_U64(struct x86_table, base),
    STATE_U16(struct x86_table, limit),
    STATE_END
};
static const struct state_desc table_desc = {"table", 1, table_fields};

static const struct state_field fpu_fields[] = {
    BYTES_2D(struct x86_fpu, vec),
    STATE_U64_ARRAY(struct x86_fpu, k),
    BYTES_2D(struct x86_fpu, st),
    STATE_U16(struct x86_fpu, fcw),
    STATE_U16(struct x86_fpu, fsw),
    STATE_U16(struct x86_fpu, fop),
    STATE_U8(struct x86_fpu, ftw),
    STATE_U64(struct x86_fpu, fip),
    STATE_U64(struct x86_fpu, fdp),
    STATE_U16(struct x86_fpu, fcs),
    STATE_U16(struct x86_fpu, fds),
    STATE_U32(struct x86_fpu, mxcsr),
    STATE_U32(struct x86_fpu, pkru),
    STATE_END
};
static const struct state_desc fpu_desc = {"fpu", 1, fpu_fields};

#define MSR(f) STATE_U64(struct x86_msrs, f)
static const struct state_field msr_fields[] = {
    MSR(efer), MSR(star), MSR(lstar), MSR(cstar), MSR(fmask), MSR(kernel_gs_base),
    MSR(sysenter_cs), MSR(sysenter_esp), MSR(sysenter_eip),
    MSR(pat), MSR(tsc_adjust), MSR(tsc_aux), MSR(misc_enable), MSR(spec_ctrl), MSR(xss),
    MSR(pkrs),
    MSR(apic_base),
    MSR(mtrr_def_type),
    STATE_U64_ARRAY(struct x86_msrs, mtrr_fixed),
    STATE_U64_ARRAY(struct x86_msrs, mtrr_var),
    MSR(mcg_status), MSR(mcg_ctl),
    STATE_U64_ARRAY(struct x86_msrs, mc_bank),
    MSR(debugctl), MSR(ucode_rev), MSR(smbase),
    MSR(amd_syscfg), MSR(amd_hwcr), MSR(amd_de_cfg), MSR(amd_top_mem), MSR(amd_top_mem2),
    MSR(kvm_system_time), MSR(kvm_wall_clock), MSR(kvm_async_pf), MSR(kvm_steal_time),
    MSR(kvm_pv_eoi),
    STATE_END
};
#undef MSR
static const struct state_desc msr_desc = {"msr", 1, msr_fields};

static const struct state_field event_fields[] = {
    STATE_BOOL(struct x86_events, exception_valid),
    STATE_BOOL(struct x86_events, exception_has_error),
    STATE_U8(struct x86_events, exception_vector),
    STATE_U32(struct x86_events, exception_error),
    STATE_BOOL(struct x86_events, interrupt_valid),
    STATE_BOOL(struct x86_events, interrupt_soft),
    STATE_U8(struct x86_events, interrupt_vector),
    STATE_BOOL(struct x86_events, nmi_pending),
    STATE_BOOL(struct x86_events, nmi_masked),
    STATE_BOOL(struct x86_events, shadow_sti),
    STATE_BOOL(struct x86_events, shadow_mov_ss),
    STATE_BOOL(struct x86_events, smm),
    STATE_U8(struct x86_events, mp_state),
    STATE_END
};
static const struct state_desc event_desc = {"events", 1, event_fields};

static const struct state_field state_fields[] = {
    STATE_U64_ARRAY(struct x86_state, gpr),
    STATE_U64(struct x86_state, rip),
    STATE_U64(struct x86_state, rflags),
    STATE_STRUCT_ARRAY(struct x86_state, seg, &segment_desc),
    STATE_STRUCT(struct x86_state, ldtr, &segment_desc),
    STATE_STRUCT(struct x86_state, tr, &segment_desc),
    STATE_STRUCT(struct x86_state, gdtr, &table_desc),
    STATE_STRUCT(struct x86_state, idtr, &table_desc),
    STATE_U64(struct x86_state, cr0),
    STATE_U64(struct x86_state, cr2),
    STATE_U64(struct x86_state, cr3),
    STATE_U64(struct x86_state, cr4),
    STATE_U64(struct x86_state, cr8),
    STATE_U64_ARRAY(struct x86_state, dr),
    STATE_U64(struct x86_state, dr6),
    STATE_U64(struct x86_state, dr7),
    STATE_U64(struct x86_state, xcr0),
    STATE_U64(struct x86_state, tsc),
    STATE_STRUCT(struct x86_state, msr, &msr_desc),
    STATE_STRUCT(struct x86_state, ev, &event_desc),
    STATE_STRUCT(struct x86_state, fpu, &fpu_desc),
    STATE_END
};

const struct state_desc x86_state_desc = {"x86", 1, state_fields};
