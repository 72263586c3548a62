/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid.h - what the guest's processor says it is, as a table.
 *
 * A model is a vendor/family/model/stepping, a set of features and limits.
 * Features are one X-macro list (cpuid_features.h): name, leaf, subleaf,
 * register, bit, and which engine can execute it. The default model exposes
 * what the engine really executes on this host and nothing that is expensive
 * to honour. The vendor is the host's, because some of the behaviour that differs
 * between vendors is executed by the host; asked for another one, the shared x86
 * code behaves as that, and the rest stays as it is.
 *
 * --cpu NAME[,+feature][,-feature][,vendor=intel|amd]; `--cpu list` prints models
 * and features.
 */
#ifndef RING3_X86_CPUID_H
#define RING3_X86_CPUID_H

#include "base/types.h"
#include "x86/cpuid_features.h"
#include "x86/xsave_layout.h"

struct error;
struct strbuf;
struct x86_cpu;

struct x86_cpuid_leaf { uint32_t leaf, subleaf, eax, ebx, ecx, edx; };

enum { X86_CPUID_MAX = 64, X86_FEATURE_WORDS = 4 };

/* What the local APIC's timer counts with before its divider: told to the guest
 * in the timing leaves, obeyed by irqchip's APIC. */
enum { X86_APIC_BUS_KHZ = 1000000 };

/* Bit numbers of the X-macro list; up to 256 features. Of those in `w`, the ones
 * also in `shy` are expensive for the engine: a guest has them only if it is asked
 * for by name, or for the model "max". */
struct x86_features { uint64_t w[X86_FEATURE_WORDS], shy[X86_FEATURE_WORDS]; };

struct x86_cpu_model {
    const char *name;
    struct x86_features features;      /* what the guest sees */
    uint64_t xcr0_allowed;             /* XCR0 bits the guest may set */
    struct x86_xsave_layout xsave;
    /* Set by whoever makes the VM, before the first CPUID; shown in the timing
     * leaves (0x40000010, and 0x15/0x16 on Intel). 0 = not told. */
    uint32_t tsc_khz;
    uint8_t phys_bits, lin_bits;
    bool amd;                          /* behaves as AMD where vendors differ, else Intel */
    unsigned cpus;
    struct x86_cpuid_leaf leaf[X86_CPUID_MAX];   /* dynamic bits are patched on reading */
    unsigned leaves;
};

/* `text` is the --cpu argument or NULL for the default; `supported` what the
 * engine executes. -EINVAL with did-you-mean; a feature that the host or the
 * engine lacks is an error that names it. */
int x86_cpu_model_init(struct x86_cpu_model *m, const char *text,
                       const struct x86_features *supported, unsigned cpus,
                       struct error **err);
/* What the host processor has, of the features we know. */
void x86_features_host(struct x86_features *f);
/* What interp (and dbt) execute on this host. */
void x86_features_software(struct x86_features *f);
static inline bool x86_feature(const struct x86_features *f, unsigned id)
{
    return f->w[id / 64] >> (id % 64) & 1;
}
static inline void x86_feature_shy(struct x86_features *f, unsigned id)
{
    f->shy[id / 64] |= 1ull << id % 64;
}
const char *x86_feature_name(unsigned id);
/* Takes `lacking` out of *f, and what makes no sense without. */
void x86_features_remove(struct x86_features *f, const struct x86_features *lacking);
/* What a software engine offers, if the host lacked these features. */
void x86_features_lack(struct x86_features *software, const struct x86_features *lacking);
/* "-bmi2,-avx512f": -EINVAL with did-you-mean. */
int x86_features_parse_lacking(struct x86_features *lacking, const char *text,
                               struct error **err);
void x86_cpu_models_print(struct strbuf *out);

/* CPUID as executed by a vCPU: static table plus OSXSAVE, APIC ID, XSAVE size,
 * OSPKE, which depend on state. */
void x86_cpuid(const struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* The same for an engine that has no struct x86_cpu: dynamic bits from `s` (may
 * be NULL: as after reset) and the vCPU's number. */
struct x86_state;
void x86_cpuid_query(const struct x86_cpu_model *m, const struct x86_state *s, unsigned index,
                     uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
const struct x86_cpuid_leaf *x86_cpuid_find(const struct x86_cpu_model *m, uint32_t leaf,
                                            uint32_t subleaf);

#endif
