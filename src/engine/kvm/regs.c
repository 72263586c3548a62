/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * regs.c - struct x86_state from and to KVM's structures.
 *
 * The order of the writes follows what the kernel derives from what: special
 * registers before the vector state (CR4.OSXSAVE), XCR0 before MSRs (XSS), the
 * TSC before its adjustment, events and MP state near the end because earlier
 * writes clear them. The PAE page directory pointers are loaded from memory by
 * KVM_SET_SREGS, so guest memory is restored before registers are.
 *
 * Approximations that KVM's interface forces: an NMI caught halfway through
 * injection is saved as pending; a soft interrupt loses its instruction length.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/log.h"
#include "x86/xsave.h"

#define MSR_IA32_TSC 0x10u

_Static_assert(sizeof(struct kvm_xsave) == X86_XSAVE_MAX_BYTES, "one image for both");

/* The encoding order of general registers, in KVM's struct. */
static const uint16_t gpr_offset[X86_GPR_COUNT] = {
    offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx),
    offsetof(struct kvm_regs, rdx), offsetof(struct kvm_regs, rbx),
    offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp),
    offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi),
    offsetof(struct kvm_regs, r8),  offsetof(struct kvm_regs, r9),
    offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
    offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13),
    offsetof(struct kvm_regs, r14), offsetof(struct kvm_regs, r15),
};

/* An ioctl whose failure is told, because set_state itself can only say -errno. */
static int vcpu_ioctl(struct kvm_vcpu *v, unsigned long request, const char *name, void *arg)
{
    if (ioctl(v->fd, request, arg) >= 0)
        return 0;
    int code = errno;
    log_warn(v->vm->vm.config.log, "vCPU %u: %s failed: %s", v->vcpu.index, name, strerror(code));
    return -code;
}
#define VCPU_IOCTL(v, request, arg) vcpu_ioctl(v, request, #request, arg)

static void segment_from_kvm(struct x86_segment *out, const struct kvm_segment *in)
{
    out->base = in->base;
    out->limit = in->limit;
    out->selector = in->selector;
    out->attr = (in->type & X86_ATTR_TYPE) | (in->s ? X86_ATTR_S : 0) |
                (uint32_t)(in->dpl & 3) << X86_ATTR_DPL_SHIFT | (in->present ? X86_ATTR_P : 0) |
                (in->avl ? X86_ATTR_AVL : 0) | (in->l ? X86_ATTR_L : 0) |
                (in->db ? X86_ATTR_DB : 0) | (in->g ? X86_ATTR_G : 0) |
                (in->unusable ? X86_ATTR_UNUSABLE : 0);
}

static void segment_to_kvm(struct kvm_segment *out, const struct x86_segment *in)
{
    bool unusable = in->attr & X86_ATTR_UNUSABLE;

    *out = (struct kvm_segment){
        .base = in->base, .limit = in->limit, .selector = in->selector,
        .type = in->attr & X86_ATTR_TYPE, .s = !!(in->attr & X86_ATTR_S),
        .dpl = (in->attr & X86_ATTR_DPL) >> X86_ATTR_DPL_SHIFT,
        .present = (in->attr & X86_ATTR_P) && !unusable, .avl = !!(in->attr & X86_ATTR_AVL),
        .l = !!(in->attr & X86_ATTR_L), .db = !!(in->attr & X86_ATTR_DB),
        .g = !!(in->attr & X86_ATTR_G), .unusable = unusable,
    };
}

static int regs_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_regs r;
    int result = VCPU_IOCTL(v, KVM_GET_REGS, &r);

    if (result < 0)
        return result;
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        memcpy(&out->gpr[i], (char *)&r + gpr_offset[i], sizeof(out->gpr[i]));
    out->rip = r.rip;
    out->rflags = r.rflags;
    return 0;
}

static int regs_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    struct kvm_regs r = {.rip = in->rip, .rflags = in->rflags | X86_FLAG_1};

    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        memcpy((char *)&r + gpr_offset[i], &in->gpr[i], sizeof(in->gpr[i]));
    return VCPU_IOCTL(v, KVM_SET_REGS, &r);
}

/* In enum x86_seg order. */
#define SREGS_SEGMENTS(s) {&(s)->es, &(s)->cs, &(s)->ss, &(s)->ds, &(s)->fs, &(s)->gs}

static int sregs_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_sregs s;
    int result = VCPU_IOCTL(v, KVM_GET_SREGS, &s);

    if (result < 0)
        return result;
    const struct kvm_segment *const seg[X86_SEG_COUNT] = SREGS_SEGMENTS(&s);
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        segment_from_kvm(&out->seg[i], seg[i]);
    segment_from_kvm(&out->ldtr, &s.ldt);
    segment_from_kvm(&out->tr, &s.tr);
    out->gdtr = (struct x86_table){.base = s.gdt.base, .limit = s.gdt.limit};
    out->idtr = (struct x86_table){.base = s.idt.base, .limit = s.idt.limit};
    out->cr0 = s.cr0;
    out->cr2 = s.cr2;
    out->cr3 = s.cr3;
    out->cr4 = s.cr4;
    out->cr8 = s.cr8;
    out->msr.efer = s.efer;
    out->msr.apic_base = s.apic_base;
    return 0;
}

static int sregs_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    struct kvm_sregs s = {
        .gdt = {.base = in->gdtr.base, .limit = in->gdtr.limit},
        .idt = {.base = in->idtr.base, .limit = in->idtr.limit},
        .cr0 = in->cr0, .cr2 = in->cr2, .cr3 = in->cr3, .cr4 = in->cr4, .cr8 = in->cr8,
        .efer = in->msr.efer, .apic_base = in->msr.apic_base,
    };
    struct kvm_segment *const seg[X86_SEG_COUNT] = SREGS_SEGMENTS(&s);

    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        segment_to_kvm(seg[i], &in->seg[i]);
    segment_to_kvm(&s.ldt, &in->ldtr);
    segment_to_kvm(&s.tr, &in->tr);
    return VCPU_IOCTL(v, KVM_SET_SREGS, &s);
}

/* ---- vector state -------------------------------------------------------- */

static int fpu_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_xsave image;
    int result = VCPU_IOCTL(v, KVM_GET_XSAVE, &image);

    if (result < 0)
        return result;
    return x86_fpu_from_xsave(&out->fpu, v->vm->xcr0_supported, (const uint8_t *)&image);
}

static int fpu_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    struct kvm_xsave image;

    memset(&image, 0, sizeof(image));
    x86_fpu_to_xsave(&in->fpu, v->vm->xcr0_supported, (uint8_t *)&image);
    return VCPU_IOCTL(v, KVM_SET_XSAVE, &image);
}

static int xcr0_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_xcrs x;

    memset(&x, 0, sizeof(x));
    out->xcr0 = X86_XCR0_X87;
    if (!v->vm->caps.xcrs)
        return 0;
    int result = VCPU_IOCTL(v, KVM_GET_XCRS, &x);
    for (uint32_t i = 0; i < x.nr_xcrs && i < KVM_MAX_XCRS; i++)
        if (x.xcrs[i].xcr == 0)
            out->xcr0 = x.xcrs[i].value;
    return result;
}

static int xcr0_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    struct kvm_xcrs x;

    if (!v->vm->caps.xcrs)
        return 0;
    memset(&x, 0, sizeof(x));
    x.nr_xcrs = 1;
    x.xcrs[0].value = in->xcr0;
    if (ioctl(v->fd, KVM_SET_XCRS, &x) < 0)
        log_trace(v->vm->vm.config.log, CPUID, "kvm: XCR0 does not take 0x%llx, left out",
                  (unsigned long long)in->xcr0);
    return 0;
}

/* ---- debug registers, events, time --------------------------------------- */

static int debug_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_debugregs d;

    if (!v->vm->caps.debugregs)
        return 0;
    int result = VCPU_IOCTL(v, KVM_GET_DEBUGREGS, &d);
    if (result < 0)
        return result;
    memcpy(out->dr, d.db, sizeof(out->dr));
    out->dr6 = d.dr6;
    out->dr7 = d.dr7;
    return 0;
}

static int debug_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    struct kvm_debugregs d;

    if (!v->vm->caps.debugregs)
        return 0;
    memset(&d, 0, sizeof(d));
    memcpy(d.db, in->dr, sizeof(in->dr));
    d.dr6 = in->dr6;
    d.dr7 = in->dr7;
    return VCPU_IOCTL(v, KVM_SET_DEBUGREGS, &d);
}

static int events_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_vcpu_events e;
    int result = VCPU_IOCTL(v, KVM_GET_VCPU_EVENTS, &e);

    if (result < 0)
        return result;
    out->ev = (struct x86_events){
        .exception_valid = e.exception.injected || e.exception.pending,
        .interrupt_valid = e.interrupt.injected,
        .nmi_pending = e.nmi.pending || e.nmi.injected,
        .nmi_masked = e.nmi.masked && !e.nmi.injected,
        .shadow_sti = e.interrupt.shadow & KVM_X86_SHADOW_INT_STI,
        .shadow_mov_ss = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS,
        .smm = (e.flags & KVM_VCPUEVENT_VALID_SMM) && e.smi.smm,
    };
    if (out->ev.exception_valid) {
        out->ev.exception_vector = e.exception.nr;
        out->ev.exception_has_error = e.exception.has_error_code;
        out->ev.exception_error = e.exception.has_error_code ? e.exception.error_code : 0;
    }
    if (out->ev.interrupt_valid) {
        out->ev.interrupt_vector = e.interrupt.nr;
        out->ev.interrupt_soft = e.interrupt.soft;
    }
    return 0;
}

static int events_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    const struct x86_events *ev = &in->ev;
    struct kvm_vcpu_events e;

    memset(&e, 0, sizeof(e));
    e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    e.exception.injected = ev->exception_valid;
    e.exception.nr = ev->exception_vector;
    e.exception.has_error_code = ev->exception_has_error;
    e.exception.error_code = ev->exception_error;
    e.interrupt.injected = ev->interrupt_valid;
    e.interrupt.nr = ev->interrupt_vector;
    e.interrupt.soft = ev->interrupt_soft;
    e.interrupt.shadow = (ev->shadow_sti ? KVM_X86_SHADOW_INT_STI : 0) |
                         (ev->shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0);
    e.nmi.pending = ev->nmi_pending;
    e.nmi.masked = ev->nmi_masked;
    if (v->vm->caps.smm) {
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
        e.smi.smm = ev->smm;
    }
    return VCPU_IOCTL(v, KVM_SET_VCPU_EVENTS, &e);
}

/* KVM calls an application processor that waits for INIT "uninitialized" and
 * one that waits for SIPI "INIT received". */
static int mp_state_get(struct kvm_vcpu *v, struct x86_state *out)
{
    struct kvm_mp_state mp;

    if (!v->vm->irqchip) {
        out->ev.mp_state = v->mp_state;
        return 0;
    }
    int result = VCPU_IOCTL(v, KVM_GET_MP_STATE, &mp);
    if (result < 0)
        return result;
    switch (mp.mp_state) {
    case KVM_MP_STATE_UNINITIALIZED:
        out->ev.mp_state = X86_MP_INIT;
        break;
    case KVM_MP_STATE_INIT_RECEIVED:
        out->ev.mp_state = X86_MP_WAIT_FOR_SIPI;
        break;
    case KVM_MP_STATE_HALTED:
        out->ev.mp_state = X86_MP_HALTED;
        break;
    default:
        out->ev.mp_state = X86_MP_RUNNABLE;
    }
    return 0;
}

static int mp_state_set(struct kvm_vcpu *v, const struct x86_state *in)
{
    static const uint32_t kvm_mp[] = {
        [X86_MP_RUNNABLE] = KVM_MP_STATE_RUNNABLE,
        [X86_MP_HALTED] = KVM_MP_STATE_HALTED,
        [X86_MP_WAIT_FOR_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
        [X86_MP_INIT] = KVM_MP_STATE_UNINITIALIZED,
    };
    uint8_t want = in->ev.mp_state < ARRAY_SIZE(kvm_mp) ? in->ev.mp_state : X86_MP_RUNNABLE;

    v->mp_state = want;
    if (!v->vm->irqchip)
        return 0;
    struct kvm_mp_state mp = {.mp_state = kvm_mp[want]};
    return VCPU_IOCTL(v, KVM_SET_MP_STATE, &mp);
}

/* The counter runs on between get_state and set_state; writing back what was
 * read would hold it for that long, so the value just reported is not set. */
static void tsc_set(struct kvm_vcpu *v, uint64_t tsc)
{
    if (v->tsc_reported_valid && v->tsc_reported == tsc)
        return;
    v->tsc_reported_valid = false;
    if (kvm_msr_write(v, MSR_IA32_TSC, tsc) < 0)
        log_trace(v->vm->vm.config.log, MSR, "kvm: the TSC cannot be set, left out");
}

static void tsc_get(struct kvm_vcpu *v, struct x86_state *out)
{
    v->tsc_reported_valid = kvm_msr_read(v, MSR_IA32_TSC, &out->tsc) == 0;
    v->tsc_reported = out->tsc;
}

/* ---- all of it ----------------------------------------------------------- */

int kvm_vcpu_get_state(struct engine_vcpu *vcpu, struct x86_state *out)
{
    static int (*const part[])(struct kvm_vcpu *, struct x86_state *) = {
        regs_get, sregs_get, fpu_get, xcr0_get, debug_get, events_get, mp_state_get};
    struct kvm_vcpu *v = kvm_vcpu_of(vcpu);

    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
        int result = part[i](v, out);
        if (result < 0)
            return result;
    }
    kvm_msrs_get(v, out);
    tsc_get(v, out);
    return 0;
}

int kvm_vcpu_set_state(struct engine_vcpu *vcpu, const struct x86_state *in)
{
    static int (*const part[])(struct kvm_vcpu *, const struct x86_state *) = {
        sregs_set, regs_set, xcr0_set, fpu_set, debug_set};
    struct kvm_vcpu *v = kvm_vcpu_of(vcpu);

    for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
        int result = part[i](v, in);
        if (result < 0)
            return result;
    }
    tsc_set(v, in->tsc);
    kvm_msrs_set(v, in);
    int result = mp_state_set(v, in);
    if (result == 0)
        result = events_set(v, in);
    /* What the shared page says about interrupts is about the old state. */
    v->run->ready_for_interrupt_injection = 0;
    v->run->cr8 = in->cr8;
    v->run->apic_base = in->msr.apic_base;
    v->apic_base = in->msr.apic_base;
    v->tpr = (uint8_t)in->cr8;
    v->if_flag = in->rflags & X86_FLAG_IF;
    return result;
}
