/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm_state.c - struct x86_state through KVM and back, field by field.
 */
#include "kvm_fixture.h"

#include <unistd.h>
#include "base/strbuf.h"
#include "state/state.h"
#include "x86/cpuid_features.h"

/* What must come back as it went in; a message names the field that does not. */
static void expect_same_state(const struct x86_state *a, const struct x86_state *b)
{
    struct strbuf diff = {0};
    struct x86_state x = *a, y = *b;

    x.tsc = y.tsc = 0;            /* runs on */
    if (state_diff(&x86_state_desc, &x, &y, &diff))
        fail_msg("%s", strbuf_text(&diff));
    strbuf_fini(&diff);
}

static void round_trip(struct guest *g)
{
    struct x86_state before = guest_state(g, 0);

    guest_set_state(g, 0, &before);
    struct x86_state after = guest_state(g, 0);
    expect_same_state(&before, &after);
}

static void power_on(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct x86_state want, got = guest_state(g, 0);

    x86_state_power_on(&want, true);
    assert_int_equal(got.rip, want.rip);
    assert_int_equal(got.seg[X86_CS].base, want.seg[X86_CS].base);
    assert_int_equal(got.seg[X86_CS].selector, want.seg[X86_CS].selector);
    assert_int_equal(got.cr0, want.cr0);
    assert_int_equal(got.rflags, want.rflags);
    assert_int_equal(got.dr7, want.dr7);
    assert_int_equal(got.msr.apic_base, want.msr.apic_base);
    assert_int_equal(got.ev.mp_state, X86_MP_RUNNABLE);
    round_trip(g);
    guest_free(g);
}

static void round_trips(void **state)
{
    for (unsigned flags = 0; flags <= FIXTURE_IRQCHIP; flags++) {
        struct guest *g = guest_new(1, flags);
        guest_start_real(g, 0);
        round_trip(g);
        guest_start_long(g, 0, 0);
        round_trip(g);
        guest_start_long(g, 0, 3);
        round_trip(g);
        guest_free(g);
    }
}

static void fill_general(struct x86_state *s)
{
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        s->gpr[i] = 0x0101010101010101 * (i + 1);
    s->rip = 0x123456789a;
    s->rflags = X86_FLAG_1 | X86_FLAG_CF | X86_FLAG_IF | X86_FLAG_OF | X86_FLAG_DF;
    s->gdtr = (struct x86_table){.base = 0xffff800000001000, .limit = 0x7f};
    s->idtr = (struct x86_table){.base = 0xffff800000002000, .limit = 0xfff};
    s->seg[X86_FS].base = 0x7fff00001000;
    s->seg[X86_GS].base = 0xffff888000002000;
    s->cr2 = 0xdeadbeef000;
    for (unsigned i = 0; i < 4; i++)
        s->dr[i] = 0x1000 * (i + 1);
    s->msr.star = 0x0023001000000000;
    s->msr.lstar = 0xffffffff81000000;
    s->msr.cstar = 0xffffffff81001000;
    s->msr.fmask = 0x47700;
    s->msr.kernel_gs_base = 0x7ffff000;
    s->msr.sysenter_cs = 0x10;
    s->msr.sysenter_esp = 0x88003000;      /* AMD keeps 32 bits of these */
    s->msr.sysenter_eip = 0x81002000;
    s->msr.pat = 0x0407050600070106;
}

static void general_fields(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    guest_start_long(g, 0, 0);
    struct x86_state in = guest_state(g, 0);
    fill_general(&in);
    guest_set_state(g, 0, &in);
    struct x86_state out = guest_state(g, 0);
    expect_same_state(&in, &out);
    guest_free(g);
}

static void vector_fields(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    bool avx = x86_feature(&g->model.features, X86_FEATURE_AVX);

    guest_start_long(g, 0, 0);
    struct x86_state in = guest_state(g, 0);
    in.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | (avx ? X86_XCR0_AVX : 0);
    for (unsigned r = 0; r < 16; r++)
        for (unsigned i = 0; i < (avx ? 32 : 16); i++)
            in.fpu.vec[r][i] = (uint8_t)(r * 16 + i);
    for (unsigned r = 0; r < 8; r++)
        for (unsigned i = 0; i < 10; i++)
            in.fpu.st[r][i] = (uint8_t)(0x80 + r * 10 + i);
    in.fpu.fcw = 0x027f;
    in.fpu.fsw = 0x3800;
    in.fpu.ftw = 0xff;
    in.fpu.mxcsr = 0x1fa0;
    guest_set_state(g, 0, &in);
    struct x86_state out = guest_state(g, 0);
    expect_same_state(&in, &out);
    guest_free(g);
}

/* XSETBV in the guest: KVM knows the new XCR0, in the state and in CPUID.
 *   mov eax,3; xor edx,edx; xor ecx,ecx; xsetbv; out 0x10,al */
static void xcr0_from_guest(void **state)
{
    if (getenv("KVM_LAB"))
        skip();                   /* QEMU's TCG does not intercept XSETBV in a guest's guest */
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    if (!x86_feature(&g->model.features, X86_FEATURE_XSAVE)) {
        guest_free(g);
        skip();
    }
    GUEST_CODE_BYTES(g, 0xb8, 0x03, 0x00, 0x00, 0x00, 0x31, 0xd2, 0x31, 0xc9, 0x0f, 0x01, 0xd1,
                     0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 0);
    struct x86_state s = guest_state(g, 0);
    s.cr4 |= X86_CR4_OSXSAVE;
    guest_set_state(g, 0, &s);
    g->leave_after = 1;
    guest_run(g, 0, ENGINE_KICKED);
    assert_int_equal(guest_state(g, 0).xcr0, X86_XCR0_X87 | X86_XCR0_SSE);
    guest_free(g);
}

/* What the guest computes in vector registers is what get_state shows:
 *   movq xmm3,rax; pshufd xmm4,xmm3,0x44; out 0x10,al */
static void vector_from_guest(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0x66, 0x48, 0x0f, 0x6e, 0xd8, 0x66, 0x0f, 0x70, 0xe3, 0x44,
                     0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    struct x86_state s = guest_state(g, 0);
    s.gpr[X86_RAX] = 0x1122334455667788;
    guest_set_state(g, 0, &s);
    g->leave_after = 1;
    guest_run(g, 0, ENGINE_KICKED);
    s = guest_state(g, 0);
    assert_memory_equal(s.fpu.vec[4], &s.gpr[X86_RAX], 8);
    assert_memory_equal(s.fpu.vec[4] + 8, &s.gpr[X86_RAX], 8);
    guest_free(g);
}

static void event_fields(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    guest_start_long(g, 0, 0);
    struct x86_state in = guest_state(g, 0);
    in.ev.exception_valid = in.ev.exception_has_error = true;
    in.ev.exception_vector = X86_GP;
    in.ev.exception_error = 0x18;
    in.ev.nmi_masked = true;
    in.ev.nmi_pending = true;
    in.ev.shadow_sti = true;
    guest_set_state(g, 0, &in);
    struct x86_state out = guest_state(g, 0);
    assert_true(out.ev.exception_valid);
    assert_int_equal(out.ev.exception_vector, X86_GP);
    assert_true(out.ev.exception_has_error);
    assert_int_equal(out.ev.exception_error, 0x18);
    assert_true(out.ev.nmi_pending);
    assert_true(out.ev.nmi_masked);
    assert_true(out.ev.shadow_sti || out.ev.shadow_mov_ss);   /* AMD has one bit for both */
    in.ev = (struct x86_events){.interrupt_valid = true, .interrupt_vector = 0x41,
                                .mp_state = X86_MP_HALTED};
    guest_set_state(g, 0, &in);
    out = guest_state(g, 0);
    assert_false(out.ev.exception_valid);
    assert_true(out.ev.interrupt_valid);
    assert_int_equal(out.ev.interrupt_vector, 0x41);
    assert_int_equal(out.ev.mp_state, X86_MP_HALTED);
    guest_free(g);
}

static void tsc_is_set_and_runs(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct x86_state in = guest_state(g, 0);
    const uint64_t far = 1ull << 50;

    in.tsc = far;
    guest_set_state(g, 0, &in);
    struct x86_state out = guest_state(g, 0);
    if (out.tsc < far) {
        print_message("this KVM gives guests the host's TSC\n");
        guest_free(g);
        skip();
    }
    /* Putting back what was read does not move it backwards. */
    guest_set_state(g, 0, &out);
    assert_true(guest_state(g, 0).tsc >= out.tsc);
    guest_free(g);
}

/* A state with a value no MSR takes is still set, all but that MSR. */
static void refused_msr_is_left_out(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    guest_start_long(g, 0, 0);
    struct x86_state in = guest_state(g, 0);
    in.msr.lstar = 0x8000000000000000;           /* not canonical */
    in.msr.kernel_gs_base = 0x1234000;
    in.msr.sysenter_eip = 0x5678000;
    guest_set_state(g, 0, &in);
    struct x86_state out = guest_state(g, 0);
    assert_int_not_equal(out.msr.lstar, in.msr.lstar);
    assert_int_equal(out.msr.kernel_gs_base, 0x1234000);
    assert_int_equal(out.msr.sysenter_eip, 0x5678000);
    guest_free(g);
}

/* A registers image that is impossible is an error, not a crash. */
static void impossible_state(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct x86_state s = guest_state(g, 0);

    atomic_store(&g->log.trace_mask, 0);
    g->log.fd = -1;
    s.cr0 = X86_CR0_PG | X86_CR0_ET;             /* paging without protection */
    s.msr.efer = X86_EFER_LMA;
    assert_true(engine_kvm.set_state(g->vcpu[0], &s) < 0);
    guest_free(g);
}

/* CPUID as the guest sees it: the model's, an APIC ID, KVM's own leaves.
 * mov eax,esi; cpuid; out 0x10,eax ... ebx, ecx, edx */
static void cpuid(void **state)
{
    struct guest *g = guest_new(2, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0x66, 0x89, 0xf0, 0x66, 0x31, 0xc9, 0x0f, 0xa2, 0x66, 0xe7, 0x10,
                     0x66, 0x89, 0xd8, 0x66, 0xe7, 0x10, 0x66, 0x89, 0xc8, 0x66, 0xe7, 0x10,
                     0x66, 0x89, 0xd0, 0x66, 0xe7, 0x10, 0xeb, 0xfe);
    guest_start_real(g, 1);
    struct x86_state s = guest_state(g, 1);
    s.gpr[X86_RSI] = 1;
    guest_set_state(g, 1, &s);
    g->leave_after = 4;
    guest_run(g, 1, ENGINE_KICKED);
    assert_int_equal(g->access[1].value >> 24, 1);                  /* APIC ID */
    assert_true(g->access[2].value >> 31 & 1);                      /* hypervisor */
    assert_true(g->access[3].value >> 5 & 1);                       /* MSR */
    guest_start_real(g, 1);
    s = guest_state(g, 1);
    s.gpr[X86_RSI] = 0x40000000;
    guest_set_state(g, 1, &s);
    g->accesses = 0;
    guest_run(g, 1, ENGINE_KICKED);
    assert_int_equal(g->access[1].value, 0x4b4d564b);               /* "KVMK" */
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_on), cmocka_unit_test(round_trips),
        cmocka_unit_test(general_fields), cmocka_unit_test(vector_fields),
        cmocka_unit_test(vector_from_guest), cmocka_unit_test(xcr0_from_guest),
        cmocka_unit_test(event_fields),
        cmocka_unit_test(tsc_is_set_and_runs), cmocka_unit_test(refused_msr_is_left_out),
        cmocka_unit_test(impossible_state), cmocka_unit_test(cpuid),
    };
    fixture_need_kvm();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
