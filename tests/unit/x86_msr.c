/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_msr.c - the rules of model-specific registers, for both vendors. */
#include "x86_fixture.h"

#define REFUSED (-1)
#define NONCANONICAL 0x0000800000000000ull
#define HIGH 0xffff800012345678ull

/* ---- a platform with a clock and one MSR --------------------------------------- */

struct platform {
    struct x86_env_ops ops;
    struct fixture *f;
    uint64_t tsc, apic_base;
};

static uint64_t pl_tsc(void *env)
{
    return ((struct platform *)env)->tsc;
}

static void pl_tsc_set(void *env, uint64_t tsc)
{
    ((struct platform *)env)->tsc = tsc;
}

static int pl_msr_read(void *env, uint32_t msr, uint64_t *value)
{
    if (msr != 0x1b && msr != 0x6e0 && msr != 0x802)
        return -1;
    *value = msr;
    return 0;
}

static int pl_msr_write(void *env, uint32_t msr, uint64_t value)
{
    return msr == 0x1b && !(value & 1) ? 0 : -1;
}

static void attach(struct fixture *f, struct platform *p, bool amd)
{
    *p = (struct platform){.ops = *f->cpu.ops, .f = f};
    p->ops.tsc = pl_tsc;
    p->ops.tsc_set = pl_tsc_set;
    p->ops.msr_read = pl_msr_read;
    p->ops.msr_write = pl_msr_write;
    p->ops.ram_page = NULL;                 /* nothing here touches memory */
    f->cpu.ops = &p->ops;
    f->cpu.env = p;
    f->model.amd = amd;
}

static int write_msr(struct fixture *f, uint32_t msr, uint64_t value)
{
    return x86_msr_write(&f->cpu, msr, value);
}

static uint64_t read_msr(struct fixture *f, uint32_t msr)
{
    uint64_t value = 0xdead;
    assert_int_equal(x86_msr_read(&f->cpu, msr, &value), 0);
    return value;
}

static bool readable(struct fixture *f, uint32_t msr)
{
    uint64_t value;
    return x86_msr_read(&f->cpu, msr, &value) == 0;
}

/* ---- values ----------------------------------------------------------------------- */

enum vendor { BOTH, AMD_ONLY, INTEL_ONLY };

static const struct {
    uint32_t msr;
    uint64_t value;
    int want;
    enum vendor vendor;
} writes[] = {
    {0xc0000080, 0x501, 0, BOTH}, {0xc0000080, 0x901, 0, BOTH},
    {0xc0000080, 1 << 1, REFUSED, BOTH}, {0xc0000080, 1 << 12, REFUSED, BOTH},
    {0xc0000081, HIGH, 0, BOTH}, {0xc0000084, 0x47700, 0, BOTH},
    {0xc0000082, HIGH, 0, BOTH}, {0xc0000082, NONCANONICAL, REFUSED, BOTH},
    {0xc0000083, NONCANONICAL, REFUSED, BOTH},
    {0xc0000100, HIGH, 0, BOTH}, {0xc0000100, NONCANONICAL, REFUSED, BOTH},
    {0xc0000101, NONCANONICAL, REFUSED, BOTH}, {0xc0000102, NONCANONICAL, REFUSED, BOTH},
    {0xc0000103, 1ull << 32, 0, AMD_ONLY}, {0xc0000103, 1ull << 32, REFUSED, INTEL_ONLY},
    {0x174, 0x1234, 0, BOTH}, {0x175, HIGH, 0, BOTH},
    {0x175, NONCANONICAL, 0, AMD_ONLY}, {0x176, NONCANONICAL, REFUSED, INTEL_ONLY},
    {0x277, 0x0007010600070106, 0, BOTH}, {0x277, 2, REFUSED, BOTH},
    {0x277, 0x0300000000000000, REFUSED, BOTH}, {0x277, 8, REFUSED, BOTH},
    {0x2ff, 0xc06, 0, BOTH}, {0x2ff, 7, REFUSED, BOTH}, {0x2ff, 1 << 8, REFUSED, BOTH},
    {0x200, 0x80000006, 0, BOTH}, {0x200, 2, REFUSED, BOTH}, {0x200, 0x106, REFUSED, BOTH},
    {0x201, 0xff80000800, 0, BOTH}, {0x201, 1 << 10, REFUSED, BOTH},
    {0x201, 1ull << 40, REFUSED, BOTH}, {0x210, 0, REFUSED, BOTH},
    {0x250, 0x0606060606060606, 0, BOTH}, {0x259, 0x0606020606060606, REFUSED, BOTH},
    {0x268, 0x0500000000000000, 0, BOTH}, {0x26f, 0x0700000000000000, REFUSED, BOTH},
    {0xfe, 0x508, REFUSED, BOTH}, {0x179, 0, REFUSED, BOTH},
    {0x17a, 7, 0, BOTH}, {0x17a, 8, REFUSED, BOTH}, {0x17b, 0, 0, BOTH}, {0x17b, 1, REFUSED, BOTH},
    {0x400, UINT64_MAX, 0, BOTH}, {0x400, 0, 0, BOTH}, {0x400, 1, REFUSED, BOTH},
    {0x401, 0, 0, BOTH}, {0x401, 1, REFUSED, BOTH}, {0x402, 1, 0, BOTH}, {0x403, 1, 0, BOTH},
    {0x428, 0, REFUSED, BOTH},
    {0x48, 1, 0, BOTH}, {0x48, 8, REFUSED, BOTH}, {0x49, 1, 0, BOTH}, {0x49, 2, REFUSED, BOTH},
    {0x1d9, 3, 0, BOTH}, {0x1d9, 4, 0, AMD_ONLY}, {0x1d9, 4, REFUSED, INTEL_ONLY},
    {0x1d9, 1 << 14, REFUSED, BOTH}, {0x1a0, 0x400c51889, 0, BOTH}, {0x8b, 0, 0, BOTH},
    {0x10a, 0, REFUSED, BOTH}, {0xda0, 0, 0, BOTH}, {0xda0, 1 << 8, REFUSED, BOTH},
    {0xc0010015, 1 << 24, 0, AMD_ONLY}, {0xc0010015, 0, REFUSED, INTEL_ONLY},
    {0xc0011029, 2, 0, AMD_ONLY}, {0xc001001f, 1ull << 46, 0, AMD_ONLY},
    {0xc0010000, 0x530076, 0, AMD_ONLY}, {0xc0010114, 0, REFUSED, AMD_ONLY},
    {0xc0010117, 0, REFUSED, AMD_ONLY}, {0x186, 0, REFUSED, BOTH}, {0x38f, 0, REFUSED, BOTH},
    {0x4b564d00, 0, REFUSED, BOTH}, {0x40000000, 0, REFUSED, BOTH},
};

static void values_are_checked(void **state)
{
    struct fixture *f = *state;
    struct platform p;
    for (unsigned amd = 0; amd < 2; amd++)
        for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
            if (writes[i].vendor == (amd ? INTEL_ONLY : AMD_ONLY))
                continue;
            attach(f, &p, amd);
            f->cpu.s.msr.amd_hwcr = 1 << 24;
            if (write_msr(f, writes[i].msr, writes[i].value) != writes[i].want)
                fail_msg("%s: MSR %x <- %llx: want %d", amd ? "AMD" : "Intel", writes[i].msr,
                         (unsigned long long)writes[i].value, writes[i].want);
        }
}

/* What was accepted reads back, except where it is defined not to. */
static void values_read_back(void **state)
{
    static const uint32_t kept[] = {0x174, 0x175, 0x176, 0x1a0, 0x277, 0x2ff, 0x200, 0x201,
        0x20f, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x17a, 0x400, 0x402, 0x427, 0x48, 0x1d9,
        0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102,
        0xc0000103, 0xc0010010, 0xc0010015, 0xc0011029};
    struct fixture *f = *state;
    struct platform p;
    attach(f, &p, true);
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
        bool control = kept[i] >= 0x400 && kept[i] <= 0x427 && kept[i] % 4 == 0;
        uint64_t value = control ? UINT64_MAX : 1;
        if (kept[i] == 0x201 || kept[i] == 0x20f)
            value = 1 << 11;
        assert_int_equal(write_msr(f, kept[i], value), 0);
        assert_int_equal(read_msr(f, kept[i]), value);
    }
    assert_int_equal(write_msr(f, 0xc0000103, 0x1234567890), 0);
    assert_int_equal(read_msr(f, 0xc0000103), 0x34567890);
    assert_int_equal(f->cpu.s.seg[X86_FS].base, 1);
    uint64_t revision = read_msr(f, 0x8b);
    assert_int_equal(write_msr(f, 0x8b, 0), 0);
    assert_int_equal(read_msr(f, 0x8b), revision);
    assert_int_equal(write_msr(f, 0xc0010000, 0x530076), 0);
    assert_int_equal(read_msr(f, 0xc0010000), 0);
    assert_false(readable(f, 0x49));
    assert_int_equal(read_msr(f, 0xfe), 8 | 1 << 8 | 1 << 10);
    assert_int_equal(read_msr(f, 0x179), 10 | 1 << 8);
}

/* Each register answers for itself: none shares storage with a neighbour. */
static void registers_are_separate(void **state)
{
    struct fixture *f = *state;
    struct platform p;
    attach(f, &p, true);
    for (uint32_t msr = 0x268; msr <= 0x26f; msr++)
        assert_int_equal(write_msr(f, msr, msr & 1 ? 6 : 5), 0);
    assert_int_equal(write_msr(f, 0x250, 4), 0);
    assert_int_equal(write_msr(f, 0x258, 1), 0);
    assert_int_equal(write_msr(f, 0x259, 0), 0);
    for (uint32_t msr = 0x268; msr <= 0x26f; msr++)
        assert_int_equal(read_msr(f, msr), msr & 1 ? 6 : 5);
    assert_int_equal(read_msr(f, 0x250), 4);
    assert_int_equal(read_msr(f, 0x258), 1);
    assert_int_equal(read_msr(f, 0x259), 0);
    for (uint32_t i = 0; i < 40; i++)
        if (i % 4 >= 2)
            assert_int_equal(write_msr(f, 0x400 + i, 1000 + i), 0);
    for (uint32_t i = 0; i < 40; i++)
        if (i % 4 >= 2)
            assert_int_equal(read_msr(f, 0x400 + i), 1000 + i);
}

static void machine_check_status_opens_with_hwcr(void **state)
{
    struct fixture *f = *state;
    struct platform p;
    attach(f, &p, true);
    assert_int_equal(write_msr(f, 0x401, 5), REFUSED);
    assert_int_equal(write_msr(f, 0xc0010015, 1 << 18), 0);
    assert_int_equal(write_msr(f, 0x401, 5), 0);
    assert_int_equal(read_msr(f, 0x401), 5);
}

/* ---- time, platform, features -------------------------------------------------------- */

static void tsc_and_its_adjustment_move_together(void **state)
{
    struct fixture *f = *state;
    struct platform p;
    attach(f, &p, false);
    p.tsc = 1000;
    assert_int_equal(read_msr(f, 0x10), 1000);
    assert_int_equal(write_msr(f, 0x10, 5000), 0);
    assert_int_equal(p.tsc, 5000);
    assert_int_equal(read_msr(f, 0x3b), 4000);
    assert_int_equal(write_msr(f, 0x3b, 0), 0);
    assert_int_equal(p.tsc, 1000);
    assert_int_equal(write_msr(f, 0x3b, (uint64_t)-100), 0);
    assert_int_equal(p.tsc, 900);
    assert_int_equal(read_msr(f, 0x3b), (uint64_t)-100);
}

static void the_platform_is_asked_for_its_own(void **state)
{
    struct fixture *f = *state;
    struct platform p;
    attach(f, &p, true);
    assert_int_equal(read_msr(f, 0x6e0), 0x6e0);
    assert_int_equal(read_msr(f, 0x802), 0x802);
    assert_int_equal(write_msr(f, 0x1b, 0xfee00900), 0);
    assert_int_equal(f->cpu.s.msr.apic_base, 0xfee00900);
    assert_int_equal(write_msr(f, 0x1b, 0xfee00001), REFUSED);
    assert_int_equal(f->cpu.s.msr.apic_base, 0xfee00900);
    uint64_t errors = counter_get(&f->counters, COUNTER_guest_errors);
    assert_false(readable(f, 0x12345));
    assert_int_equal(counter_get(&f->counters, COUNTER_guest_errors), errors + 1);
}

static void absent_features_have_no_registers(void **state)
{
    static const struct { uint32_t msr; enum x86_feature_id id; } c[] = {
        {0x10, X86_FEATURE_TSC}, {0x3b, X86_FEATURE_TSC_ADJUST}, {0x48, X86_FEATURE_SPEC_CTRL},
        {0xfe, X86_FEATURE_MTRR}, {0x200, X86_FEATURE_MTRR}, {0x10a, X86_FEATURE_ARCH_CAPS},
        {0x174, X86_FEATURE_SEP}, {0x179, X86_FEATURE_MCA}, {0x400, X86_FEATURE_MCA},
        {0x277, X86_FEATURE_PAT}, {0xda0, X86_FEATURE_XSAVES}, {0xc0000081, X86_FEATURE_SYSCALL},
        {0xc0000082, X86_FEATURE_LM}, {0xc0000100, X86_FEATURE_LM},
        {0xc0000103, X86_FEATURE_RDTSCP}, {0x6e0, X86_FEATURE_TSC_DEADLINE},
        {0x802, X86_FEATURE_X2APIC},
    };
    struct fixture *f = *state;
    struct platform p;
    attach(f, &p, false);
    for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
        assert_true(readable(f, c[i].msr));
        f->model.features.w[c[i].id / 64] &= ~(1ull << c[i].id % 64);
        assert_false(readable(f, c[i].msr));
        f->model.features.w[c[i].id / 64] |= 1ull << c[i].id % 64;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_are_checked), T(values_read_back), T(registers_are_separate),
        T(machine_check_status_opens_with_hwcr), T(tsc_and_its_adjustment_move_together),
        T(the_platform_is_asked_for_its_own), T(absent_features_have_no_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
