/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid.c - CPU models: choosing features, laying out the leaves, reading them.
 *
 * A model is made once per VM: features are chosen (--cpu, bounded by what the
 * engine executes), then written into a table of leaves together with what is
 * not a flag (signature, caches, topology, sizes). The few bits that depend on
 * a vCPU's number or state are patched when a leaf is read.
 *
 * Vendor, signature and brand are the host's, because the host executes what
 * differs between vendors. Topology: every vCPU is a core of one package.
 * References: SDM vol. 2 "CPUID", APM vol. 3 appendix E.
 */
#include "x86/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/bug.h"
#include "base/code_memory.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "x86/cpu.h"
#include "x86/xsave.h"

enum { REG_A, REG_B, REG_C, REG_D };
enum software { SOFT_NO, SOFT_OWN, SOFT_HOST, SOFT_AMD, SOFT_INTEL };

static const struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    uint8_t reg, bit, software;
} features[] = {
#define X(id, name, leaf, subleaf, reg, bit, soft) \
    [X86_FEATURE_##id] = {name, leaf, subleaf, REG_##reg, bit, SOFT_##soft},
    X86_FEATURES_ALL(X)
#undef X
};

/* ---- sets of features -------------------------------------------------------- */

static void set(struct x86_features *f, unsigned id, bool on)
{
    uint64_t bit = 1ull << (id % 64);
    f->w[id / 64] = on ? f->w[id / 64] | bit : f->w[id / 64] & ~bit;
}

const char *x86_feature_name(unsigned id)
{
    return id < ARRAY_SIZE(features) ? features[id].name : NULL;
}

/* A feature that makes no sense, or does not work, without another. */
static const struct { uint8_t feature, needs; } dependency[] = {
#define NEEDS(a, b) {X86_FEATURE_##a, X86_FEATURE_##b}
    NEEDS(SSE, FXSR), NEEDS(SSE2, SSE), NEEDS(SSE3, SSE2), NEEDS(SSSE3, SSE3),
    NEEDS(SSE4_1, SSSE3), NEEDS(SSE4_2, SSE4_1), NEEDS(SSE4A, SSE3), NEEDS(AES, SSE2),
    NEEDS(PCLMUL, SSE2), NEEDS(SHA, SSE2), NEEDS(GFNI, SSE2), NEEDS(MMXEXT, MMX),
    NEEDS(AVX, XSAVE), NEEDS(XSAVEOPT, XSAVE), NEEDS(XSAVEC, XSAVE), NEEDS(XGETBV1, XSAVE),
    NEEDS(XSAVES, XSAVEC), NEEDS(PKU, XSAVE), NEEDS(F16C, AVX), NEEDS(FMA, AVX),
    NEEDS(AVX2, AVX), NEEDS(VAES, AVX), NEEDS(VPCLMUL, AVX), NEEDS(AVXVNNI, AVX2),
    NEEDS(AVX512F, AVX2), NEEDS(AVX512DQ, AVX512F), NEEDS(AVX512IFMA, AVX512F),
    NEEDS(AVX512CD, AVX512F), NEEDS(AVX512BW, AVX512F), NEEDS(AVX512VL, AVX512F),
    NEEDS(AVX512VBMI, AVX512BW), NEEDS(AVX512VBMI2, AVX512BW), NEEDS(AVX512VNNI, AVX512F),
    NEEDS(AVX512BITALG, AVX512BW), NEEDS(AVX512VPOPCNT, AVX512F), NEEDS(AVX512BF16, AVX512BW),
    NEEDS(INVPCID, PCID), NEEDS(X2APIC, APIC), NEEDS(TSC_DEADLINE, APIC), NEEDS(ARAT, APIC),
    NEEDS(TSC_DEADLINE, TSC), NEEDS(TSC_ADJUST, TSC), NEEDS(RDTSCP, TSC), NEEDS(INVTSC, TSC),
    NEEDS(PDPE1GB, LM), NEEDS(LM, PAE), NEEDS(LAHF64, LM), NEEDS(FSGSBASE, LM),
    NEEDS(PCID, LM), NEEDS(NX, PAE), NEEDS(MCA, MCE), NEEDS(FSRM, ERMS),
#undef NEEDS
};

/* Drops what lacks its foundation, until nothing changes. */
static void prune(struct x86_features *f)
{
    for (bool changed = true; changed; ) {
        changed = false;
        for (unsigned i = 0; i < ARRAY_SIZE(dependency); i++)
            if (x86_feature(f, dependency[i].feature) && !x86_feature(f, dependency[i].needs)) {
                set(f, dependency[i].feature, false);
                changed = true;
            }
    }
}

static uint64_t host_xcr0(void)
{
    uint32_t a, b, c, d;
    __cpuid(1, a, b, c, d);
    if (!(c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a | (uint64_t)d << 32;
}

void x86_features_host(struct x86_features *f)
{
    uint32_t leaf = 0, subleaf = 0, r[4];
    bool have = false;
    *f = (struct x86_features){0};
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++) {
        const struct feature *x = &features[id];
        if (!x->name)
            continue;
        if (!have || x->leaf != leaf || x->subleaf != subleaf) {
            leaf = x->leaf;
            subleaf = x->subleaf;
            have = true;
            if (!__get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]))
                memset(r, 0, sizeof r);
        }
        set(f, id, r[x->reg] >> x->bit & 1);
    }
    /* What the host's kernel has not switched on cannot be executed. */
    uint64_t xcr0 = host_xcr0();
    if (!(xcr0 & X86_XCR0_AVX))
        set(f, X86_FEATURE_AVX, false);
    if ((xcr0 & X86_XCR0_AVX512) != X86_XCR0_AVX512)
        set(f, X86_FEATURE_AVX512F, false);
    prune(f);
}

static bool host_amd(void)
{
    uint32_t a, b, c, d;
    __cpuid(0, a, b, c, d);
    return (b == signature_AMD_ebx && c == signature_AMD_ecx) ||
           (b == 0x6f677948 && c == 0x656e6975);        /* "HygonGenuine": a Zen */
}

void x86_features_software(struct x86_features *f)
{
    struct x86_features host = {0};
    bool amd = host_amd();
    /* The host executes its part through code that is generated. */
    if (code_memory_allowed(NULL))
        x86_features_host(&host);
    *f = (struct x86_features){0};
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++) {
        enum software s = features[id].software;
        set(f, id, s == SOFT_OWN || (s == SOFT_HOST && x86_feature(&host, id)) ||
                   (s == SOFT_AMD && amd) || (s == SOFT_INTEL && !amd));
    }
    prune(f);
    /* Each change of rights empties the TLB. */
    x86_feature_shy(f, X86_FEATURE_PKU);
    x86_feature_shy(f, X86_FEATURE_PKS);
}

void x86_features_remove(struct x86_features *f, const struct x86_features *lacking)
{
    for (unsigned i = 0; i < X86_FEATURE_WORDS; i++)
        f->w[i] &= ~lacking->w[i];
    prune(f);
}

void x86_features_lack(struct x86_features *software, const struct x86_features *lacking)
{
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++)
        if (features[id].software == SOFT_HOST && x86_feature(lacking, id))
            set(software, id, false);
    prune(software);
}

/* ---- models -------------------------------------------------------------------- */

/* Offered only when asked for: they need a hypervisor under the guest's
 * hypervisor, keep a halted vCPU busy, or are broken on many processors. */
static const uint8_t shy[] = {X86_FEATURE_VMX, X86_FEATURE_SVM, X86_FEATURE_MONITOR,
                              X86_FEATURE_HLE, X86_FEATURE_RTM};

/* The levels of the x86-64 psABI, each on top of the one before it. A level also
 * has every feature that is no instruction set (paging, timers, mitigations). */
static const struct model {
    const char *name, *help;
    unsigned level;                 /* 0: all that is supported */
} models[] = {
    {"default", "everything the engine executes on this host", 0},
    {"max", "default, and what is not for everybody: nested virtualization, MONITOR, slow ones", 0},
    {"base64", "plain x86-64: SSE2", 1},
    {"v2", "x86-64-v2: SSE4.2, POPCNT, CX16", 2},
    {"v3", "x86-64-v3: AVX2, BMI, FMA, MOVBE", 3},
    {"v4", "x86-64-v4: AVX-512 F, BW, CD, DQ, VL", 4},
};

static const struct { uint8_t level, feature; } level_adds[] = {
#define ADD(level, id) {level, X86_FEATURE_##id}
    ADD(1, FPU), ADD(1, CX8), ADD(1, SEP), ADD(1, CMOV), ADD(1, CLFLUSH), ADD(1, MMX),
    ADD(1, FXSR), ADD(1, SSE), ADD(1, SSE2), ADD(1, SYSCALL),
    ADD(2, CX16), ADD(2, LAHF64), ADD(2, POPCNT), ADD(2, SSE3), ADD(2, SSSE3),
    ADD(2, SSE4_1), ADD(2, SSE4_2),
    ADD(3, XSAVE), ADD(3, AVX), ADD(3, AVX2), ADD(3, BMI1), ADD(3, BMI2), ADD(3, F16C),
    ADD(3, FMA), ADD(3, LZCNT), ADD(3, MOVBE),
    ADD(4, AVX512F), ADD(4, AVX512BW), ADD(4, AVX512CD), ADD(4, AVX512DQ), ADD(4, AVX512VL),
#undef ADD
};

static int lacks(unsigned id, struct error **err)
{
    error_set(err, EINVAL, "this host or engine cannot give a guest the CPU feature '%s'",
              features[id].name);
    error_hint(err, "--cpu default takes what there is; see --cpu list");
    return -EINVAL;
}

static int choose_model(struct x86_cpu_model *m, const struct model *model,
                        const struct x86_features *supported, struct error **err)
{
    m->name = model->name;
    m->features = *supported;
    if (strcmp(model->name, "max")) {
        for (unsigned i = 0; i < ARRAY_SIZE(shy); i++)
            set(&m->features, shy[i], false);
        for (unsigned i = 0; i < X86_FEATURE_WORDS; i++)
            m->features.w[i] &= ~supported->shy[i];
    }
    if (!model->level)
        return 0;
    m->features.w[0] = 0;           /* the instruction sets: x86_insn.isa */
    for (unsigned i = 0; i < ARRAY_SIZE(level_adds); i++) {
        unsigned id = level_adds[i].feature;
        if (level_adds[i].level > model->level)
            continue;
        if (!x86_feature(supported, id))
            return lacks(id, err);
        set(&m->features, id, true);
    }
    return 0;
}

static int unknown_word(const char *word, bool feature, struct error **err)
{
    const char *known[ARRAY_SIZE(features) + ARRAY_SIZE(models) + 1];
    unsigned n = 0;
    if (feature) {
        for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
            known[n++] = features[i].name;
    } else {
        for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
            known[n++] = models[i].name;
    }
    known[n] = NULL;
    error_set(err, EINVAL, "unknown CPU %s '%s'", feature ? "feature" : "model", word);
    const char *near = str_closest(word, known);
    if (near)
        error_hint(err, "did you mean '%s'?", near);
    else
        error_hint(err, "--cpu list shows all");
    return -EINVAL;
}

/* "vendor=intel" or "vendor=amd": what the shared x86 code decides by vendor is then
 * that one's; what the host itself executes stays the host's. */
static int apply_vendor(struct x86_cpu_model *m, const char *name, struct error **err)
{
    bool amd = !strcmp(name, "amd");
    if (!amd && strcmp(name, "intel")) {
        error_set(err, EINVAL, "unknown CPU vendor '%s'", name);
        error_hint(err, "there are 'intel' and 'amd'");
        return -EINVAL;
    }
    m->amd = amd;
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++)
        if (features[id].software == (amd ? SOFT_INTEL : SOFT_AMD))
            set(&m->features, id, false);
    return 0;
}

/* "+name" or "-name" (also "name" after a model: the same as "+name"). */
static int apply_feature(struct x86_cpu_model *m, const char *word,
                         const struct x86_features *supported, struct error **err)
{
    bool on = *word != '-';
    if (!strncmp(word, "vendor=", 7))
        return apply_vendor(m, word + 7, err);
    if (*word == '-' || *word == '+')
        word++;
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++) {
        if (strcmp(features[id].name, word))
            continue;
        if (on && !x86_feature(supported, id))
            return lacks(id, err);
        set(&m->features, id, on);
        return 0;
    }
    return unknown_word(word, true, err);
}

static int choose_features(struct x86_cpu_model *m, char *text,
                           const struct x86_features *supported, struct error **err)
{
    const struct model *model = &models[0];
    char *rest = text, *word = strsep(&rest, ",");
    if (*word != '+' && *word != '-') {
        for (model = models; model < models + ARRAY_SIZE(models); model++)
            if (!strcmp(model->name, word))
                break;
        if (model == models + ARRAY_SIZE(models))
            return unknown_word(word, false, err);
        word = strsep(&rest, ",");
    }
    int rc = choose_model(m, model, supported, err);
    for (; !rc && word; word = strsep(&rest, ","))
        rc = apply_feature(m, word, supported, err);
    return rc;
}

/* All of AVX-512 stands on its foundation. */
static const char *feature_word(const char *word)
{
    return strcmp(word, "avx512") ? word : "avx512f";
}

static int lack_one(struct x86_features *lacking, const char *word, struct error **err)
{
    if (*word != '-') {
        error_set(err, EINVAL, "host features can only be taken away, not '%s'", word);
        error_hint(err, "-name");
        return -EINVAL;
    }
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++) {
        if (strcmp(features[id].name, feature_word(word + 1)))
            continue;
        set(lacking, id, true);
        return 0;
    }
    return unknown_word(word + 1, true, err);
}

int x86_features_parse_lacking(struct x86_features *lacking, const char *text,
                               struct error **err)
{
    char *copy = strdup(text), *rest = copy;
    int rc = copy ? 0 : error_set(err, ENOMEM, "out of memory");

    for (char *word; !rc && (word = strsep(&rest, ","));)
        rc = lack_one(lacking, word, err);
    free(copy);
    return rc;
}

void x86_cpu_models_print(struct strbuf *out)
{
    struct x86_features soft;
    x86_features_software(&soft);
    strbuf_addf(out, "CPU models:\n");
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        strbuf_addf(out, "  %-10s %s\n", models[i].name, models[i].help);
    strbuf_addf(out, "Features (* = executed by the software engines on this host):");
    for (unsigned i = 0, column = 80; i < ARRAY_SIZE(features); i++) {
        unsigned width = (unsigned)strlen(features[i].name) + 3;
        if (column + width > 79) {
            strbuf_addf(out, "\n ");
            column = 1;
        }
        strbuf_addf(out, " %s%s", features[i].name, x86_feature(&soft, i) ? "*" : "");
        column += width;
    }
    strbuf_addf(out, "\n");
}

/* ---- leaves ---------------------------------------------------------------------- */

static struct x86_cpuid_leaf *leaf_at(struct x86_cpu_model *m, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < m->leaves; i++)
        if (m->leaf[i].leaf == leaf && m->leaf[i].subleaf == subleaf)
            return &m->leaf[i];
    BUG_ON(m->leaves == X86_CPUID_MAX);
    struct x86_cpuid_leaf *l = &m->leaf[m->leaves++];
    *l = (struct x86_cpuid_leaf){leaf, subleaf, 0, 0, 0, 0};
    return l;
}

static void put(struct x86_cpu_model *m, uint32_t leaf, uint32_t subleaf, uint32_t a, uint32_t b,
                uint32_t c, uint32_t d)
{
    *leaf_at(m, leaf, subleaf) = (struct x86_cpuid_leaf){leaf, subleaf, a, b, c, d};
}

static uint32_t text4(const char *s)
{
    uint32_t v;
    memcpy(&v, s, 4);
    return v;
}

/* Bits of APIC ID that number the vCPUs. */
static unsigned core_bits(unsigned cpus)
{
    unsigned bits = 0;
    while (1u << bits < cpus)
        bits++;
    return bits;
}

/* Name and signature: the host's, unless its vendor is not the guest's. */
static void identity(const struct x86_cpu_model *m, uint32_t name[3], uint32_t *signature)
{
    static const char intel[] = "GenuineIntel", amd[] = "AuthenticAMD";
    enum { SKYLAKE_SERVER = 0x50654, ZEN_2 = 0x830f10 };
    const char *text = m->amd ? amd : intel;
    uint32_t a, b, c, d;

    __cpuid(0, a, name[0], name[2], name[1]);
    __cpuid(1, *signature, b, c, d);
    if (m->amd == host_amd())
        return;
    *signature = m->amd ? ZEN_2 : SKYLAKE_SERVER;
    for (unsigned i = 0; i < 3; i++)
        name[i] = text4(text + 4 * i);
}

/* One cache as leaf 4 (Intel) and 0x8000001D (AMD) describe it. */
static void put_cache(struct x86_cpu_model *m, unsigned n, unsigned type, unsigned level,
                      unsigned kib, unsigned ways, bool shared)
{
    unsigned sharing = shared ? m->cpus : 1, sets = kib * 1024 / 64 / ways;
    uint32_t a = type | level << 5 | 1 << 8 | (sharing - 1) << 14;
    if (!m->amd)
        a |= ((1u << core_bits(m->cpus)) - 1) << 26;
    put(m, m->amd ? 0x8000001d : 4, n, a, (ways - 1) << 22 | 63, sets - 1, shared ? 1 << 1 : 0);
}

static void put_caches(struct x86_cpu_model *m)
{
    put_cache(m, 0, 1, 1, 32, 8, false);
    put_cache(m, 1, 2, 1, 32, 8, false);
    put_cache(m, 2, 3, 2, 1024, 8, false);
    put_cache(m, 3, 3, 3, 16384, 16, true);
    if (!m->amd) {
        put(m, 2, 0, 0x00feff01, 0, 0, 0);      /* "see leaf 4" */
        return;
    }
    put(m, 0x80000005, 0, 0xff40ff40, 0xff40ff40, 32 << 24 | 8 << 16 | 1 << 8 | 64,
        32 << 24 | 8 << 16 | 1 << 8 | 64);
    put(m, 0x80000006, 0, 0x5c002200, 0x6c004200, 1024 << 16 | 6 << 12 | 1 << 8 | 64,
        32 << 18 | 8 << 12 | 1 << 8 | 64);
}

static void put_basic(struct x86_cpu_model *m)
{
    uint32_t name[3], a;

    identity(m, name, &a);
    put(m, 0, 0, m->amd ? 0xd : 0x16, name[0], name[2], name[1]);
    put(m, 1, 0, a, 8 << 8 | min_u64(m->cpus, 255) << 16, 0, m->cpus > 1 ? 1 << 28 : 0);
    put(m, 5, 0, 0, 0, 0, 0);
    put(m, 6, 0, 0, 0, 0, 0);
    put(m, 7, 0, 1, 0, 0, 0);
    put(m, 7, 1, 0, 0, 0, 0);
    put(m, 0xb, 0, 0, 1, 1 << 8, 0);                             /* threads of a core */
    put(m, 0xb, 1, core_bits(m->cpus), m->cpus, 2 << 8 | 1, 0);  /* cores of the package */
    if (!m->amd) {
        put(m, 0x15, 0, 0, 0, 0, 0);
        put(m, 0x16, 0, 0, 0, 0, 0);
    }
}

static void put_xsave(struct x86_cpu_model *m)
{
    if (!x86_feature(&m->features, X86_FEATURE_XSAVE))
        return;
    uint64_t all = m->xcr0_allowed;
    uint32_t bytes = x86_xsave_layout_bytes(&m->xsave, all, false);
    put(m, 0xd, 0, (uint32_t)all, bytes, bytes, (uint32_t)(all >> 32));
    put(m, 0xd, 1, 0, 0, 0, 0);
    for (unsigned i = X86_XCOMP_AVX; i < X86_XCOMP_COUNT; i++)
        if (all >> i & 1)
            put(m, 0xd, i, m->xsave.size[i], m->xsave.offset[i], 0, 0);
}

/* Hypervisor range: who we are, and how fast the clocks are (the layout of leaf
 * 0x40000010 is the one VMware defined and others took over). */
static void put_hypervisor(struct x86_cpu_model *m)
{
    if (!x86_feature(&m->features, X86_FEATURE_HYPERVISOR))
        return;
    static const char name[] = "ring3virtual";
    put(m, 0x40000000, 0, 0x40000010, text4(name), text4(name + 4), text4(name + 8));
    put(m, 0x40000010, 0, 0, X86_APIC_BUS_KHZ, 0, 0);
}

static void put_extended(struct x86_cpu_model *m)
{
    uint32_t name[3], signature, a, b, c, d, v[4];
    bool amd = m->amd;

    identity(m, name, &signature);
    put(m, 0x80000000, 0, amd ? 0x80000021 : 0x80000008, amd ? name[0] : 0, amd ? name[2] : 0,
        amd ? name[1] : 0);
    __cpuid(0x80000001, a, b, c, d);
    put(m, 0x80000001, 0, amd ? signature : 0, amd && host_amd() ? b & 0xf0000000 : 0, 0, 0);
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        if (!__get_cpuid(leaf, &v[0], &v[1], &v[2], &v[3]))
            memset(v, 0, sizeof v);
        put(m, leaf, 0, v[0], v[1], v[2], v[3]);
    }
    put(m, 0x80000007, 0, 0, 0, 0, 0);
    put(m, 0x80000008, 0, m->phys_bits | m->lin_bits << 8, 0,
        m->amd ? core_bits(m->cpus) << 12 | (min_u64(m->cpus, 256) - 1) : 0, 0);
    if (m->amd) {
        put(m, 0x8000001e, 0, 0, 0, 0, 0);
        put(m, 0x80000021, 0, 0, 0, 0, 0);
    }
}

static void put_features(struct x86_cpu_model *m)
{
    for (unsigned id = 0; id < ARRAY_SIZE(features); id++) {
        const struct feature *f = &features[id];
        if (!x86_feature(&m->features, id))
            continue;
        struct x86_cpuid_leaf *l = leaf_at(m, f->leaf, f->subleaf);
        uint32_t *reg[] = {&l->eax, &l->ebx, &l->ecx, &l->edx};
        *reg[f->reg] |= 1u << f->bit;
    }
    /* AMD repeats the old flags of leaf 1 in the extended one. */
    if (m->amd) {
        leaf_at(m, 0x80000001, 0)->edx |= leaf_at(m, 1, 0)->edx & 0x0183f3ff;
        if (m->cpus > 1)
            leaf_at(m, 0x80000001, 0)->ecx |= 1 << 1;       /* CmpLegacy: cores, not threads */
    }
}

static void limits(struct x86_cpu_model *m)
{
    uint32_t a, b, c, d;
    m->phys_bits = 40;
    m->lin_bits = x86_feature(&m->features, X86_FEATURE_LA57) ? 57 : 48;
    if (__get_cpuid(0x80000008, &a, &b, &c, &d))
        m->phys_bits = (uint8_t)a;
    if (m->phys_bits > 52)
        m->phys_bits = 52;
    m->xcr0_allowed = X86_XCR0_X87 | X86_XCR0_SSE;
    if (x86_feature(&m->features, X86_FEATURE_AVX))
        m->xcr0_allowed |= X86_XCR0_AVX;
    if (x86_feature(&m->features, X86_FEATURE_AVX512F))
        m->xcr0_allowed |= X86_XCR0_AVX512;
    if (x86_feature(&m->features, X86_FEATURE_PKU))
        m->xcr0_allowed |= X86_XCR0_PKRU;
}

int x86_cpu_model_init(struct x86_cpu_model *m, const char *text,
                       const struct x86_features *supported, unsigned cpus,
                       struct error **err)
{
    *m = (struct x86_cpu_model){.cpus = cpus ? cpus : 1, .amd = host_amd()};
    char *copy = strdup(text && *text ? text : "default");
    BUG_ON(!copy);
    int rc = choose_features(m, copy, supported, err);
    free(copy);
    if (rc)
        return rc;
    prune(&m->features);
    limits(m);
    x86_xsave_layout_host(&m->xsave);
    put_basic(m);
    put_extended(m);
    put_caches(m);
    put_xsave(m);
    put_hypervisor(m);
    put_features(m);
    return 0;
}

/* ---- reading -------------------------------------------------------------------- */

static bool has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
}

const struct x86_cpuid_leaf *x86_cpuid_find(const struct x86_cpu_model *m, uint32_t leaf,
                                            uint32_t subleaf)
{
    if (!has_subleaves(leaf))
        subleaf = 0;
    for (unsigned i = 0; i < m->leaves; i++)
        if (m->leaf[i].leaf == leaf && m->leaf[i].subleaf == subleaf)
            return &m->leaf[i];
    return NULL;
}

/* The TSC's rate as a fraction of the "crystal", which is what the APIC timer counts.
 * Linux multiplies numerator and crystal in kHz in 32 bits: a fraction too fine for
 * that is not told, and it measures. */
static void put_tsc_ratio(uint32_t tsc_khz, uint32_t out[4])
{
    uint32_t a = tsc_khz, b = X86_APIC_BUS_KHZ;
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    if (tsc_khz / a > UINT32_MAX / X86_APIC_BUS_KHZ)
        return;
    out[0] = X86_APIC_BUS_KHZ / a;
    out[1] = tsc_khz / a;
    out[2] = X86_APIC_BUS_KHZ * 1000u;
}

static void patch_timing(const struct x86_cpu_model *m, uint32_t leaf, uint32_t out[4])
{
    if (!m->tsc_khz)
        return;
    switch (leaf) {
    case 0x15:
        put_tsc_ratio(m->tsc_khz, out);
        break;
    case 0x16:
        out[0] = out[1] = m->tsc_khz / 1000;
        out[2] = 100;
        break;
    case 0x40000010:
        out[0] = m->tsc_khz;
        break;
    default: break;
    }
}

void x86_cpuid_query(const struct x86_cpu_model *m, const struct x86_state *s, unsigned index,
                     uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    const struct x86_cpuid_leaf *l = x86_cpuid_find(m, leaf, subleaf);
    memset(out, 0, 4 * sizeof out[0]);
    if (l) {
        out[0] = l->eax;
        out[1] = l->ebx;
        out[2] = l->ecx;
        out[3] = l->edx;
    }
    switch (leaf) {
    case 1:
        out[1] |= index << 24;
        if (s && s->cr4 & X86_CR4_OSXSAVE)
            out[2] |= 1 << 27;
        if (s && !(s->msr.apic_base & 1 << 11))
            out[3] &= ~(1u << 9);
        break;
    case 7:
        if (l && subleaf == 0 && s && s->cr4 & X86_CR4_PKE)
            out[2] |= 1 << 4;
        break;
    case 0xb:
        out[2] |= subleaf & 0xff;
        out[3] = index;
        break;
    case 0xd:
        if (l && subleaf == 0)
            out[1] = x86_xsave_layout_bytes(&m->xsave, s ? s->xcr0 : 1, false);
        if (l && subleaf == 1 && x86_feature(&m->features, X86_FEATURE_XSAVEC))
            out[1] = x86_xsave_layout_bytes(&m->xsave, s ? s->xcr0 | s->msr.xss : 1, true);
        break;
    case 0x8000001e:
        if (l)
            out[0] = out[1] = index;
        break;
    case 0x15: case 0x16: case 0x40000010:
        if (l)
            patch_timing(m, leaf, out);
        break;
    default: break;
    }
}

void x86_cpuid(const struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    x86_cpuid_query(cpu->model, &cpu->s, cpu->index, leaf, subleaf, out);
}
