/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_xsave.c - extended-state images and instructions against the processor
 * this runs on.
 *
 * Each case gives the same registers, the same bytes in memory and the same
 * mask to the host's instruction and to ours, and compares every byte that can
 * be seen afterwards. The host's own registers are saved and put back within
 * one asm statement, so nothing in between can notice.
 */
#include "x86_fixture.h"

#include "x86/xsave.h"
#include "x86/xsave_image.h"

enum { AREA = 0x60000, SEED = 20240611, ROUNDS = 3000 };

struct image { uint8_t b[X86_XSAVE_MAX_BYTES]; } __attribute__((aligned(64)));

static uint64_t random64(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1d;
}

static void random_bytes(uint64_t *seed, void *p, unsigned n)
{
    for (unsigned i = 0; i < n; i += 8) {
        uint64_t v = random64(seed);
        memcpy((uint8_t *)p + i, &v, n - i < 8 ? n - i : 8);
    }
}

/* ---- the host's instructions -------------------------------------------------------- */

static uint64_t host_xcr0(void)
{
    struct x86_features host;
    uint32_t a, d;
    x86_features_host(&host);
    if (!x86_feature(&host, X86_FEATURE_XSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a | (uint64_t)d << 32) & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX |
                                      X86_XCR0_AVX512);
}

/* Loads `start`, runs `insn` with the mask in EDX:EAX on `area`, and leaves the
 * registers after that in `end`. EDX:EAX is all ones for the outer three. */
#define HOST(insn)                                                                        \
    do {                                                                                  \
        uint64_t a_ = mask;                                                               \
        __asm__ volatile("mov %%rax, %%r8\n\tmov $-1, %%eax\n\tmov $-1, %%edx\n\t"        \
                         "xsave64 (%[host])\n\txrstor64 (%[start])\n\t"                   \
                         "mov %%r8d, %%eax\n\tmov %%r8, %%rdx\n\tshr $32, %%rdx\n\t"      \
                         insn " (%[area])\n\t"                                            \
                         "mov $-1, %%eax\n\tmov $-1, %%edx\n\t"                           \
                         "xsave64 (%[end])\n\txrstor64 (%[host])"                         \
                         : "+a"(a_)                                                       \
                         : [host] "r"(host.b), [start] "r"(start->b), [area] "r"(area),   \
                           [end] "r"(end->b)                                              \
                         : "rdx", "r8", "memory");                                        \
    } while (0)

enum insn { XSAVE64, XSAVE32, XSAVEOPT64, XSAVEC64, XRSTOR64, XRSTOR32, FXSAVE64, FXSAVE32,
            FXRSTOR64, FXRSTOR32,
            XRSTOR_COMPACTED };

static const struct {
    const char *name;
    uint8_t bytes[4], length;
    enum x86_feature_id needs;
    bool saves, fx;
} insns[] = {                                        /* all on [rbx] */
    [XSAVE64] = {"xsave64", {0x48, 0x0f, 0xae, 0x23}, 4, X86_FEATURE_XSAVE, true, false},
    [XSAVE32] = {"xsave", {0x0f, 0xae, 0x23}, 3, X86_FEATURE_XSAVE, true, false},
    [XSAVEOPT64] = {"xsaveopt64", {0x48, 0x0f, 0xae, 0x33}, 4, X86_FEATURE_XSAVEOPT, true, false},
    [XSAVEC64] = {"xsavec64", {0x48, 0x0f, 0xc7, 0x23}, 4, X86_FEATURE_XSAVEC, true, false},
    [XRSTOR64] = {"xrstor64", {0x48, 0x0f, 0xae, 0x2b}, 4, X86_FEATURE_XSAVE, false, false},
    [XRSTOR32] = {"xrstor", {0x0f, 0xae, 0x2b}, 3, X86_FEATURE_XSAVE, false, false},
    [FXSAVE64] = {"fxsave64", {0x48, 0x0f, 0xae, 0x03}, 4, X86_FEATURE_FXSR, true, true},
    [FXSAVE32] = {"fxsave", {0x0f, 0xae, 0x03}, 3, X86_FEATURE_FXSR, true, true},
    [FXRSTOR64] = {"fxrstor64", {0x48, 0x0f, 0xae, 0x0b}, 4, X86_FEATURE_FXSR, false, true},
    [FXRSTOR32] = {"fxrstor", {0x0f, 0xae, 0x0b}, 3, X86_FEATURE_FXSR, false, true},
    [XRSTOR_COMPACTED] = {"xrstor64 (compacted)", {0x48, 0x0f, 0xae, 0x2b}, 4, X86_FEATURE_XSAVEC,
                          false, false},
};

static void host_run(enum insn which, const struct image *start, uint8_t *area, uint64_t mask,
                     struct image *end)
{
    struct image host = {{0}};
    memset(end, 0, sizeof *end);
    switch (which) {
    case XSAVE64: HOST("xsave64"); break;
    case XSAVE32: HOST("xsave"); break;
    case XSAVEOPT64: HOST("xsaveopt64"); break;
    case XSAVEC64: HOST("xsavec64"); break;
    case XRSTOR_COMPACTED:
    case XRSTOR64: HOST("xrstor64"); break;
    case XRSTOR32: HOST("xrstor"); break;
    case FXSAVE64: HOST("fxsave64"); break;
    case FXSAVE32: HOST("fxsave"); break;
    case FXRSTOR64: HOST("fxrstor64"); break;
    case FXRSTOR32: HOST("fxrstor"); break;
    }
}

/* ---- random registers ------------------------------------------------------------------ */

/* Each component is random, or at its initial value. */
static void random_fpu(uint64_t *seed, struct x86_fpu *f)
{
    uint64_t used = random64(seed);
    x86_fpu_reset(f);
    if (used & X86_XCR0_X87) {
        f->fcw = (random64(seed) & 0x0f3f) | 0x40;
        f->fsw = random64(seed) & 0x7f7f;
        f->fop = random64(seed) & 0x7ff;
        f->ftw = (uint8_t)random64(seed);
        f->fip = random64(seed) & 0x7fffffffffff;
        f->fdp = random64(seed) & 0x7fffffffffff;
        if (f->fsw & ~f->fcw & 0x3f)
            f->fsw |= 0x8080;
        for (unsigned i = 0; i < 8; i++)
            random_bytes(seed, f->st[i], 10);
    }
    for (unsigned i = 0; i < 32; i++) {
        if (i < 16 && used & X86_XCR0_SSE)
            random_bytes(seed, f->vec[i], 16);
        if (i < 16 && used & X86_XCR0_AVX)
            random_bytes(seed, f->vec[i] + 16, 16);
        if (i < 16 && used & 1 << 6)
            random_bytes(seed, f->vec[i] + 32, 32);
        if (i >= 16 && used & 1 << 7)
            random_bytes(seed, f->vec[i], 64);
    }
    if (used & 1 << 5)
        random_bytes(seed, f->k, sizeof f->k);
    if (used & 1 << 16)
        f->mxcsr = random64(seed) & 0xffff;
}

/* Registers the host does not have stay at their initial values. */
static void clip(struct x86_fpu *f, uint64_t components)
{
    for (unsigned c = 0; c < X86_XCOMP_COUNT; c++)
        if (!(components >> c & 1) && c != 3 && c != 4 && c != 8)
            x86_image_init(f, c, 16);
}

/* What the area holds before: rubbish to save over, or an image to restore. */
static void fill_area(uint64_t *seed, enum insn which, uint64_t components, uint8_t *area)
{
    struct x86_fpu f;
    struct image fx;
    if (insns[which].saves) {
        random_bytes(seed, area, X86_XSAVE_MAX_BYTES);
        put_le64(area + X86_XSAVE_BV, random64(seed) & components);
        return;
    }
    random_fpu(seed, &f);
    clip(&f, components);
    x86_fpu_to_xsave(&f, components, fx.b);
    if (which == XRSTOR_COMPACTED) {
        struct image unused;
        memset(area, 0, X86_XSAVE_MAX_BYTES);
        host_run(XSAVEC64, &fx, area, random64(seed), &unused);
        return;
    }
    memcpy(area, fx.b, sizeof fx.b);
    put_le64(area + X86_XSAVE_BV, random64(seed) & components);
    random_bytes(seed, area + 464, 48);                 /* for software: never looked at */
    put_le32(area + 28, (uint32_t)random64(seed));      /* MXCSR_MASK: ignored */
    put_le16(area, (uint16_t)random64(seed));           /* control word, reserved bits too */
    put_le16(area + 2, (uint16_t)random64(seed));
}

/* The first byte that differs, or -1. */
static int differs(const uint8_t *a, const uint8_t *b, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        if (a[i] != b[i])
            return (int)i;
    return -1;
}

/* Takes out what the host's XSAVE does not tell about the state: MXCSR_MASK is
 * the host's own, XSTATE_BV how it tracks use, and on AMD the x87 pointers are
 * zeros unless an exception is pending. */
static void mask_image(uint8_t *image, bool amd)
{
    put_le32(image + 28, 0);
    put_le64(image + X86_XSAVE_BV, 0);
    if (amd && !(image[2] & 0x80)) {
        memset(image + 6, 0, 2);
        memset(image + 8, 0, 16);
    }
}

/* One case: `area` is what the memory holds before, for both. */
static void run_case(struct fixture *f, enum insn which, unsigned round, uint64_t mask,
                     const struct image *start, const struct image *area)
{
    static struct image ours, host, end;
    uint64_t components = f->cpu.s.xcr0;
    memcpy(f->ram + AREA, area->b, sizeof area->b);
    f->cpu.s.rip = CODE;
    f->cpu.s.gpr[X86_RAX] = mask;
    f->cpu.s.gpr[X86_RDX] = mask >> 32;
    assert_int_equal(step_bytes(f, insns[which].bytes, insns[which].length), STEP_OK);
    x86_fpu_to_xsave(&f->cpu.s.fpu, components, ours.b);
    mask_image(ours.b, f->model.amd);

    /* A context switch of the host in the middle makes it count components as in
     * use that hold their initial values: such a difference does not repeat. */
    int memory = 0, state = 0;
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        host = *area;
        host_run(which, start, host.b, mask, &end);
        if (insns[which].saves)     /* MXCSR_MASK: the host may know more bits than we offer */
            memcpy(host.b + 28, f->ram + AREA + 28, 4);
        mask_image(end.b, f->model.amd);
        memory = differs(f->ram + AREA, host.b, sizeof host.b);
        state = differs(ours.b, end.b, sizeof end.b);
        if (memory < 0 && state < 0)
            return;
    }
    fail_msg("%s, round %u of seed %u: memory differs at byte %d, state at %d (-1: equal)",
             insns[which].name, round, SEED, memory, state);
}

static void run_against_host(struct fixture *f, enum insn which)
{
    uint64_t seed = SEED + (unsigned)which, components = host_xcr0();
    static struct image start, area;
    mode_long(f, CODE64, DATA0);
    f->cpu.s.cr4 |= X86_CR4_OSXSAVE | X86_CR4_OSFXSR;
    f->cpu.s.xcr0 = components;
    f->cpu.s.gpr[X86_RBX] = AREA;
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_fpu(&seed, &f->cpu.s.fpu);
        clip(&f->cpu.s.fpu, components);
        x86_fpu_to_xsave(&f->cpu.s.fpu, components, start.b);
        put_le64(start.b + X86_XSAVE_BV, x86_image_in_use(&f->cpu.s.fpu));
        fill_area(&seed, which, components, area.b);
        run_case(f, which, round, round % 2 ? random64(&seed) : UINT64_MAX, &start, &area);
    }
}

static void prepare(struct fixture *f)
{
    struct x86_features host;
    struct x86_cpu_model model;
    x86_features_software(&host);
    assert_int_equal(x86_cpu_model_init(&model, NULL, &host, 1, NULL), 0);
    f->model.amd = model.amd;
    x86_features_host(&host);
    x86_xsave_layout_host(&f->model.xsave);
    uint64_t bit = 1ull << X86_FEATURE_XSAVEERPTR % 64;
    uint64_t *word = &f->model.features.w[X86_FEATURE_XSAVEERPTR / 64];
    *word = x86_feature(&host, X86_FEATURE_XSAVEERPTR) ? *word | bit : *word & ~bit;
    bit = 1ull << X86_FEATURE_FCS_FDS_ZERO % 64;
    word = &f->model.features.w[X86_FEATURE_FCS_FDS_ZERO / 64];
    *word = x86_feature(&host, X86_FEATURE_FCS_FDS_ZERO) ? *word | bit : *word & ~bit;
}

#define AGAINST_HOST(test, which)                                                  \
    static void test(void **state)                                                 \
    {                                                                              \
        struct x86_features host;                                                  \
        x86_features_host(&host);                                                  \
        if (!host_xcr0() || !x86_feature(&host, insns[which].needs))               \
            skip();                                                                \
        prepare(*state);                                                           \
        run_against_host(*state, which);                                           \
    }
AGAINST_HOST(xsave64_like_the_processor, XSAVE64)
AGAINST_HOST(xsave_like_the_processor, XSAVE32)
AGAINST_HOST(xsaveopt_like_the_processor, XSAVEOPT64)
AGAINST_HOST(xsavec_like_the_processor, XSAVEC64)
AGAINST_HOST(xrstor64_like_the_processor, XRSTOR64)
AGAINST_HOST(xrstor_like_the_processor, XRSTOR32)
AGAINST_HOST(compacted_xrstor_like_the_processor, XRSTOR_COMPACTED)
AGAINST_HOST(fxsave64_like_the_processor, FXSAVE64)
AGAINST_HOST(fxsave_like_the_processor, FXSAVE32)
AGAINST_HOST(fxrstor64_like_the_processor, FXRSTOR64)
AGAINST_HOST(fxrstor_like_the_processor, FXRSTOR32)

/* ---- what is refused ---------------------------------------------------------------------- */

static void xrstor_refuses_bad_headers(void **state)
{
    static const struct { unsigned at; uint64_t value; } bad[] = {
        {X86_XSAVE_BV, 1 << 3}, {X86_XSAVE_BV, 1ull << 62}, {X86_XSAVE_COMP, 1},
        {X86_XSAVE_COMP, 1ull << 63 | 1 << 3}, {X86_XSAVE_COMP + 8, 1},
        {X86_FX_MXCSR, 1 << 16},
    };
    struct fixture *f = *state;
    prepare(f);
    mode_long(f, CODE64, DATA0);
    f->cpu.s.cr4 |= X86_CR4_OSXSAVE;
    f->cpu.s.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    f->cpu.s.gpr[X86_RBX] = AREA;
    f->cpu.s.gpr[X86_RAX] = 7;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(f->ram + AREA, 0, X86_XSAVE_MAX_BYTES);
        put64(f, AREA + bad[i].at, bad[i].value);
        assert_fault(f, X86_GP, 0, 0x48, 0x0f, 0xae, 0x2b);
    }
    memset(f->ram + AREA, 0, X86_XSAVE_MAX_BYTES);
    f->cpu.s.gpr[X86_RBX] = AREA + 32;
    assert_fault(f, X86_GP, 0, 0x48, 0x0f, 0xae, 0x2b);      /* xrstor64: not on 64 bytes */
    assert_fault(f, X86_GP, 0, 0x48, 0x0f, 0xae, 0x23);      /* xsave64 */
    f->cpu.s.gpr[X86_RBX] = AREA + 8;
    assert_fault(f, X86_GP, 0, 0x48, 0x0f, 0xae, 0x0b);      /* fxrstor64: not on 16 */
    f->cpu.s.gpr[X86_RBX] = AREA;
    f->cpu.s.cr0 |= X86_CR0_TS;
    assert_fault(f, X86_NM, 0, 0x48, 0x0f, 0xae, 0x23);
    assert_fault(f, X86_NM, 0, 0x48, 0x0f, 0xae, 0x03);
    f->cpu.s.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
    assert_fault(f, X86_UD, 0, 0x48, 0x0f, 0xae, 0x23);
}

/* Outside 64-bit mode registers 8-15 are neither saved nor restored. */
static void half_the_registers_outside_64_bit_mode(void **state)
{
    struct fixture *f = *state;
    struct x86_fpu *fpu = &f->cpu.s.fpu;
    prepare(f);
    mode_protected(f, CODE0, DATA0);
    f->cpu.s.cr4 = X86_CR4_OSXSAVE | X86_CR4_OSFXSR;
    f->cpu.s.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    memset(f->ram + AREA, 0xcc, X86_XSAVE_MAX_BYTES);
    for (unsigned i = 0; i < 16; i++)
        memset(fpu->vec[i], (int)i + 1, 32);
    f->cpu.s.gpr[X86_RBX] = AREA;
    f->cpu.s.gpr[X86_RAX] = 7;
    put64(f, AREA + X86_XSAVE_BV, 0);
    assert_runs(f, 0x0f, 0xae, 0x23);                        /* xsave [ebx] */
    uint32_t avx = AREA + f->model.xsave.offset[X86_XCOMP_AVX];
    assert_int_equal(f->ram[AREA + X86_FX_XMM + 7 * 16], 8);
    assert_int_equal(f->ram[AREA + X86_FX_XMM + 8 * 16], 0xcc);
    assert_int_equal(f->ram[avx + 7 * 16], 8);
    assert_int_equal(f->ram[avx + 8 * 16], 0xcc);
    put64(f, AREA + X86_XSAVE_COMP, 0);
    memset(f->ram + AREA + X86_XSAVE_COMP, 0, 56);
    put64(f, AREA + X86_XSAVE_BV, 0);                        /* everything initial */
    assert_runs(f, 0x0f, 0xae, 0x2b);                        /* xrstor [ebx] */
    assert_int_equal(fpu->vec[7][0] | fpu->vec[7][16], 0);
    assert_int_equal(fpu->vec[8][0], 9);
    assert_int_equal(fpu->vec[8][16], 9);
}

static void mxcsr_has_reserved_bits(void **state)
{
    struct fixture *f = *state;
    mode_long(f, CODE64, DATA0);
    f->cpu.s.cr4 |= X86_CR4_OSFXSR;
    f->cpu.s.gpr[X86_RBX] = AREA;
    put32(f, AREA, 0x1fbf);
    assert_runs(f, 0x0f, 0xae, 0x13);                        /* ldmxcsr [rbx] */
    assert_int_equal(f->cpu.s.fpu.mxcsr, 0x1fbf);
    put32(f, AREA, 0x11f80);
    assert_fault(f, X86_GP, 0, 0x0f, 0xae, 0x13);
    assert_runs(f, 0x0f, 0xae, 0x1b);                        /* stmxcsr [rbx] */
    assert_int_equal(peek32(f, AREA), 0x1fbf);
    f->cpu.s.cr4 &= ~(uint64_t)X86_CR4_OSFXSR;
    assert_fault(f, X86_UD, 0, 0x0f, 0xae, 0x13);
}

static void images_convert_both_ways(void **state)
{
    uint64_t seed = SEED, components = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX |
                                       X86_XCR0_AVX512 | X86_XCR0_PKRU;
    static struct x86_fpu a, b;
    struct image image;
    for (unsigned i = 0; i < 100; i++) {
        random_fpu(&seed, &a);
        a.pkru = (uint32_t)random64(&seed);
        x86_fpu_to_xsave(&a, components, image.b);
        x86_fpu_reset(&b);
        assert_int_equal(x86_fpu_from_xsave(&b, components, image.b), 0);
        assert_memory_equal(&a, &b, sizeof a);
        assert_in_range(x86_xsave_bytes(components), 2696 - 256, X86_XSAVE_MAX_BYTES);
    }
    x86_fpu_to_fxsave(&a, image.b);
    x86_fpu_reset(&b);
    assert_int_equal(x86_fpu_from_fxsave(&b, image.b), 0);
    assert_memory_equal(a.st, b.st, sizeof a.st);
    for (unsigned i = 0; i < 16; i++)
        assert_memory_equal(a.vec[i], b.vec[i], 16);
    put_le32(image.b + X86_FX_MXCSR, 1u << 31);
    assert_int_equal(x86_fpu_from_fxsave(&b, image.b), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(xsave64_like_the_processor), T(xsave_like_the_processor),
        T(xsaveopt_like_the_processor), T(xsavec_like_the_processor),
        T(xrstor64_like_the_processor), T(xrstor_like_the_processor),
        T(compacted_xrstor_like_the_processor),
        T(fxsave64_like_the_processor), T(fxsave_like_the_processor),
        T(fxrstor64_like_the_processor), T(fxrstor_like_the_processor),
        T(xrstor_refuses_bad_headers), T(half_the_registers_outside_64_bit_mode),
        T(mxcsr_has_reserved_bits), T(images_convert_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
