/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_cpuid.c - CPU models from --cpu texts, and whether their leaves agree. */
#include "x86_fixture.h"

#include "base/strbuf.h"
#include "x86/xsave.h"

static struct x86_cpu_model make(const char *text, unsigned cpus)
{
    struct x86_cpu_model m;
    struct x86_features soft;
    struct error *err = NULL;
    x86_features_software(&soft);
    int rc = x86_cpu_model_init(&m, text, &soft, cpus, &err);
    if (rc)
        fail_msg("%s: %s", text ? text : "default", err->what);
    return m;
}

static void refused(const char *text, const char *says)
{
    struct x86_cpu_model m;
    struct x86_features soft;
    struct error *err = NULL;
    x86_features_software(&soft);
    expect_error(x86_cpu_model_init(&m, text, &soft, 1, &err), EINVAL, &err, says);
}

static bool has(const struct x86_cpu_model *m, enum x86_feature_id id)
{
    return x86_feature(&m->features, id);
}

static struct x86_cpuid_leaf ask(const struct x86_cpu_model *m, const struct x86_state *s,
                                 uint32_t leaf, uint32_t subleaf)
{
    uint32_t r[4];
    x86_cpuid_query(m, s, 1, leaf, subleaf, r);
    return (struct x86_cpuid_leaf){leaf, subleaf, r[0], r[1], r[2], r[3]};
}

static void texts(void **state)
{
    struct x86_cpu_model m = make(NULL, 1);
    assert_string_equal(m.name, "default");
    assert_true(has(&m, X86_FEATURE_LM));
    m = make("base64", 1);
    assert_true(has(&m, X86_FEATURE_SSE2));
    assert_false(has(&m, X86_FEATURE_SSE3));
    assert_false(has(&m, X86_FEATURE_XSAVE));
    assert_int_equal(m.xcr0_allowed, 3);
    m = make("v2,-popcnt", 1);
    assert_true(has(&m, X86_FEATURE_SSE4_2));
    assert_false(has(&m, X86_FEATURE_POPCNT));
    m = make("-sse4_1", 1);                             /* takes what needs it along */
    assert_true(has(&m, X86_FEATURE_SSSE3));
    assert_false(has(&m, X86_FEATURE_SSE4_2));
    m = make("base64,+cx16", 1);
    assert_true(has(&m, X86_FEATURE_CX16));
    m = make("default,-xsave", 1);
    assert_false(has(&m, X86_FEATURE_AVX));
    assert_false(has(&m, X86_FEATURE_AVX512F));
    assert_int_equal(m.xcr0_allowed, 3);
}

static void bad_texts(void **state)
{
    refused("defualt", "did you mean 'default'");
    refused("v2,+popcmt", "did you mean 'popcnt'");
    refused("qemu64-and-something-else", "--cpu list");
    refused("default,+vmx", "'vmx'");
    refused("default,+svm", "'svm'");
    refused("default,,", "''");
}

static void levels_contain_each_other(void **state)
{
    struct x86_features host;
    x86_features_host(&host);
    if (!x86_feature(&host, X86_FEATURE_AVX2))
        skip();
    const struct x86_cpu_model m[] = {make("base64", 1), make("v2", 1), make("v3", 1),
                                      make("default", 1), make("max", 1)};
    for (unsigned i = 1; i < ARRAY_SIZE(m); i++)
        for (unsigned w = 0; w < X86_FEATURE_WORDS; w++)
            assert_int_equal(m[i - 1].features.w[w] & ~m[i].features.w[w], 0);
    assert_true(has(&m[2], X86_FEATURE_AVX2));
    assert_false(has(&m[2], X86_FEATURE_AES));
}

/* What a software engine must not promise. */
static void software_promises(void **state)
{
    static const enum x86_feature_id never[] = {
        X86_FEATURE_LA57, X86_FEATURE_VMX, X86_FEATURE_SVM, X86_FEATURE_MONITOR,
        X86_FEATURE_RTM, X86_FEATURE_HLE, X86_FEATURE_CLZERO, X86_FEATURE_FFXSR};
    static const enum x86_feature_id always[] = {
        X86_FEATURE_SSE2, X86_FEATURE_CX16, X86_FEATURE_SMEP, X86_FEATURE_SMAP, X86_FEATURE_PCID,
        X86_FEATURE_INVPCID, X86_FEATURE_UMIP, X86_FEATURE_FSGSBASE, X86_FEATURE_PDPE1GB,
        X86_FEATURE_RDTSCP, X86_FEATURE_NX, X86_FEATURE_X2APIC, X86_FEATURE_TSC_DEADLINE,
        X86_FEATURE_TSC_ADJUST, X86_FEATURE_ARAT, X86_FEATURE_INVTSC, X86_FEATURE_HYPERVISOR};
    struct x86_cpu_model m = make("max", 1);
    for (unsigned i = 0; i < ARRAY_SIZE(never); i++)
        assert_false(has(&m, never[i]));
    for (unsigned i = 0; i < ARRAY_SIZE(always); i++)
        assert_true(has(&m, always[i]));
}

/* Protection keys cost a TLB each time: only for who asks. */
static void shy_features_are_asked_for(void **state)
{
    struct x86_cpu_model plain = make(NULL, 1), max = make("max", 1), one = make("v3,+pku", 1);

    assert_false(has(&plain, X86_FEATURE_PKU) || has(&plain, X86_FEATURE_PKS));
    assert_true(has(&max, X86_FEATURE_PKU) && has(&max, X86_FEATURE_PKS));
    assert_true(has(&one, X86_FEATURE_PKU) && !has(&one, X86_FEATURE_PKS));
    assert_true(one.xcr0_allowed & X86_XCR0_PKRU);
}

static void vendor_can_be_chosen(void **state)
{
    struct x86_cpu_model m[2] = {make("default,vendor=amd", 1), make("default,vendor=intel", 1)};
    uint32_t r[4];

    for (unsigned i = 0; i < 2; i++) {
        x86_cpuid_query(&m[i], NULL, 0, 0, 0, r);
        assert_memory_equal(&r[1], i ? "Genu" : "Auth", 4);
        assert_memory_equal(&r[3], i ? "ineI" : "enti", 4);
        assert_memory_equal(&r[2], i ? "ntel" : "cAMD", 4);
        assert_int_equal(m[i].amd, !i);
        x86_cpuid_query(&m[i], NULL, 0, 1, 0, r);
        assert_true(i ? (r[0] >> 8 & 15) == 6 : (r[0] >> 8 & 15) == 15);
    }
    assert_false(has(&m[1], X86_FEATURE_TOPOEXT));
    refused("default,vendor=via", "unknown CPU vendor");
}

/* Every name is unique, every bit is listed once. */
static void the_list_is_sound(void **state)
{
    for (unsigned a = 0; a < X86_FEATURE_COUNT; a++) {
        assert_non_null(x86_feature_name(a));
        for (unsigned b = a + 1; b < X86_FEATURE_COUNT; b++)
            assert_string_not_equal(x86_feature_name(a), x86_feature_name(b));
    }
    assert_null(x86_feature_name(X86_FEATURE_COUNT));
    static const struct { uint32_t leaf, subleaf, reg, bit; } place[] = {
#define REG_OF_A 0
#define REG_OF_B 1
#define REG_OF_C 2
#define REG_OF_D 3
#define X(id, name, leaf, subleaf, reg, bit, soft) {leaf, subleaf, REG_OF_##reg, bit},
        X86_FEATURES_ALL(X)
#undef X
    };
    for (unsigned a = 0; a < ARRAY_SIZE(place); a++)
        for (unsigned b = a + 1; b < ARRAY_SIZE(place); b++)
            assert_true(memcmp(&place[a], &place[b], sizeof place[a]) != 0);
}

static void flags_depend_on_state(void **state)
{
    struct x86_cpu_model m = make("default", 2);
    struct x86_state s;
    x86_state_power_on(&s, true);
    assert_int_equal(ask(&m, &s, 1, 0).ecx & 1 << 27, 0);
    s.cr4 |= X86_CR4_OSXSAVE;
    assert_int_equal(ask(&m, &s, 1, 0).ecx & 1 << 27, 1 << 27);
    assert_int_equal(ask(&m, &s, 1, 0).edx & 1 << 9, 1 << 9);
    s.msr.apic_base &= ~(1ull << 11);
    assert_int_equal(ask(&m, &s, 1, 0).edx & 1 << 9, 0);
    assert_int_equal(ask(&m, &s, 1, 0).ebx >> 24, 1);
    assert_int_equal(ask(&m, &s, 0xb, 0).edx, 1);
    assert_int_equal(ask(&m, &s, 0xb, 7).ecx, 7);
}

static void xsave_sizes_follow_xcr0(void **state)
{
    struct x86_cpu_model m = make("default", 1);
    if (!has(&m, X86_FEATURE_AVX))
        skip();
    struct x86_state s;
    x86_state_power_on(&s, true);
    assert_int_equal(ask(&m, &s, 0xd, 0).ebx, 576);
    s.xcr0 = 7;
    assert_int_equal(ask(&m, &s, 0xd, 0).ebx, 832);
    struct x86_cpuid_leaf all = ask(&m, &s, 0xd, 0);
    assert_int_equal(all.eax, m.xcr0_allowed);
    assert_int_equal(all.ecx, x86_xsave_bytes(m.xcr0_allowed));
    uint32_t end = 576;
    for (unsigned i = 2; i < 10; i++) {
        struct x86_cpuid_leaf l = ask(&m, &s, 0xd, i);
        assert_int_equal(!l.eax, !(m.xcr0_allowed >> i & 1));
        if (l.eax)
            end = l.ebx + l.eax > end ? l.ebx + l.eax : end;
    }
    assert_int_equal(all.ecx, end);
    if (has(&m, X86_FEATURE_XSAVEC))
        assert_int_equal(ask(&m, &s, 0xd, 1).ebx, 832);
}

static void topology_counts_the_vcpus(void **state)
{
    for (unsigned cpus = 1; cpus <= 9; cpus += 2) {
        struct x86_cpu_model m = make("default", cpus);
        struct x86_cpuid_leaf core = ask(&m, NULL, 0xb, 1);
        assert_int_equal(core.ebx, cpus);
        assert_true(1u << core.eax >= cpus);
        assert_int_equal(core.ecx >> 8, 2);
        assert_int_equal(ask(&m, NULL, 1, 0).ebx >> 16 & 0xff, cpus);
        assert_int_equal(!(ask(&m, NULL, 1, 0).edx >> 28 & 1), cpus == 1);
        if (m.amd)
            assert_int_equal((ask(&m, NULL, 0x80000008, 0).ecx & 0xff) + 1, cpus);
    }
}

static void leaves_are_reachable(void **state)
{
    struct x86_cpu_model m = make("max", 4);
    uint32_t basic = ask(&m, NULL, 0, 0).eax, extended = ask(&m, NULL, 0x80000000, 0).eax;
    uint32_t hyper = ask(&m, NULL, 0x40000000, 0).eax;
    for (unsigned i = 0; i < m.leaves; i++) {
        uint32_t leaf = m.leaf[i].leaf;
        assert_true(leaf <= basic || (leaf >= 0x80000000 && leaf <= extended) ||
                    (leaf >= 0x40000000 && leaf <= hyper));
    }
    struct x86_cpuid_leaf none = ask(&m, NULL, 0x12345678, 0);
    assert_int_equal(none.eax | none.ebx | none.ecx | none.edx, 0);
    assert_true(m.phys_bits >= 36 && m.phys_bits <= 52);
    assert_int_equal(ask(&m, NULL, 0x80000008, 0).eax & 0xffff, m.phys_bits | 48 << 8);
}

static void timing_is_told_when_known(void **state)
{
    struct x86_cpu_model m = make("default", 1);
    assert_int_equal(ask(&m, NULL, 0x40000010, 0).eax, 0);
    m.tsc_khz = 2600000;
    assert_int_equal(ask(&m, NULL, 0x40000010, 0).eax, 2600000);
    assert_int_equal(ask(&m, NULL, 0x40000010, 0).ebx, X86_APIC_BUS_KHZ);
    struct x86_cpuid_leaf hyper = ask(&m, NULL, 0x40000000, 0);
    uint32_t name[3] = {hyper.ebx, hyper.ecx, hyper.edx};
    assert_memory_equal(name, "ring3virtual", 12);
}

/* Numerator by crystal in kHz fits 32 bits, or nothing is said. */
static void tsc_ratio_fits_linux(void **state)
{
    struct x86_cpu_model m = make("default,vendor=intel", 1);

    m.tsc_khz = 2600000;
    assert_int_equal(ask(&m, NULL, 0x15, 0).eax, 5);
    assert_int_equal(ask(&m, NULL, 0x15, 0).ebx, 13);
    assert_int_equal(ask(&m, NULL, 0x15, 0).ecx, X86_APIC_BUS_KHZ * 1000u);
    m.tsc_khz = 2596123;
    assert_int_equal(ask(&m, NULL, 0x15, 0).eax, 0);
    assert_int_equal(ask(&m, NULL, 0x15, 0).ebx, 0);
    assert_int_equal(ask(&m, NULL, 0x16, 0).eax, 2596);
}

static void the_instruction_answers(void **state)
{
    struct fixture *f = *state;
    f->model = make("default", 1);
    mode_protected(f, CODE3, DATA3);
    f->cpu.s.gpr[X86_RAX] = 0xffffffff00000000;
    f->cpu.s.gpr[X86_RBX] = UINT64_MAX;
    assert_runs(f, 0x0f, 0xa2);
    struct x86_cpuid_leaf l = ask(&f->model, NULL, 0, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RAX], l.eax);
    assert_int_equal(f->cpu.s.gpr[X86_RBX], l.ebx);
    assert_int_equal(f->cpu.s.gpr[X86_RDX], l.edx);
}

static void models_are_listed(void **state)
{
    struct strbuf out = {0};
    x86_cpu_models_print(&out);
    assert_non_null(strstr(strbuf_text(&out), "base64"));
    assert_non_null(strstr(strbuf_text(&out), "avx2"));
    strbuf_fini(&out);
}

static void lacking(void **state)
{
    struct x86_features lack = {0}, f;

    assert_int_equal(x86_features_parse_lacking(&lack, "-avx,-bmi2,-fsgsbase", NULL), 0);
    x86_features_software(&f);
    x86_features_lack(&f, &lack);
    assert_false(x86_feature(&f, X86_FEATURE_AVX));
    assert_false(x86_feature(&f, X86_FEATURE_AVX2));          /* stands on it */
    assert_false(x86_feature(&f, X86_FEATURE_BMI2));
    assert_true(x86_feature(&f, X86_FEATURE_FSGSBASE));       /* ours, on any host */
    assert_true(x86_feature(&f, X86_FEATURE_SSE2));
    x86_features_host(&f);
    x86_features_remove(&f, &lack);
    assert_false(x86_feature(&f, X86_FEATURE_FSGSBASE));
    assert_int_equal(x86_features_parse_lacking(&lack, "bmi2", NULL), -EINVAL);
    assert_int_equal(x86_features_parse_lacking(&lack, "-", NULL), -EINVAL);
    assert_int_equal(x86_features_parse_lacking(&lack, "", NULL), -EINVAL);
    assert_int_equal(x86_features_parse_lacking(&lack, "-avx512", NULL), 0);
    assert_true(x86_feature(&lack, X86_FEATURE_AVX512F));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(texts), T(bad_texts), T(levels_contain_each_other), T(software_promises),
        T(shy_features_are_asked_for), T(vendor_can_be_chosen),
        T(the_list_is_sound), T(flags_depend_on_state), T(xsave_sizes_follow_xcr0),
        T(topology_counts_the_vcpus), T(leaves_are_reachable), T(timing_is_told_when_known),
        T(tsc_ratio_fits_linux),
        T(the_instruction_answers), T(models_are_listed), T(lacking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
