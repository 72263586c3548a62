/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid_features.h - every CPUID feature flag ring3 has a name for, in one list.
 *
 * X(ID, name, leaf, subleaf, register, bit, software)
 *
 *   name      as in Linux's /proc/cpuinfo where it has one; used by --cpu
 *   register  A, B, C or D for EAX to EDX
 *   software  how interp and dbt come by it:
 *     OWN     our own code does it on any host;
 *     HOST    the host executes it (hostinsn.h), so the host must have it;
 *     AMD, INTEL   OWN, but it means something only with that vendor's CPUID;
 *     NO      not executed, never offered by a software engine (KVM may).
 *
 * The first part holds what adds instructions: decode.h keeps those in the
 * 64-bit set x86_insn.isa, so their numbers must stay below 64. References:
 * Intel SDM vol. 2 CPUID, AMD APM vol. 3 appendix E.
 */
#ifndef RING3_X86_CPUID_FEATURES_H
#define RING3_X86_CPUID_FEATURES_H

#define X86_FEATURES_ISA(X)                                                \
    X(FPU,          "fpu",            0x00000001, 0, D,  0, HOST)          \
    X(CX8,          "cx8",            0x00000001, 0, D,  8, OWN)           \
    X(SEP,          "sep",            0x00000001, 0, D, 11, OWN)           \
    X(CMOV,         "cmov",           0x00000001, 0, D, 15, OWN)           \
    X(CLFLUSH,      "clflush",        0x00000001, 0, D, 19, OWN)           \
    X(MMX,          "mmx",            0x00000001, 0, D, 23, HOST)          \
    X(FXSR,         "fxsr",           0x00000001, 0, D, 24, OWN)           \
    X(SSE,          "sse",            0x00000001, 0, D, 25, HOST)          \
    X(SSE2,         "sse2",           0x00000001, 0, D, 26, HOST)          \
    X(SSE3,         "pni",            0x00000001, 0, C,  0, HOST)          \
    X(PCLMUL,       "pclmulqdq",      0x00000001, 0, C,  1, HOST)          \
    X(MONITOR,      "monitor",        0x00000001, 0, C,  3, NO)            \
    X(SSSE3,        "ssse3",          0x00000001, 0, C,  9, HOST)          \
    X(FMA,          "fma",            0x00000001, 0, C, 12, HOST)          \
    X(CX16,         "cx16",           0x00000001, 0, C, 13, OWN)           \
    X(SSE4_1,       "sse4_1",         0x00000001, 0, C, 19, HOST)          \
    X(SSE4_2,       "sse4_2",         0x00000001, 0, C, 20, HOST)          \
    X(MOVBE,        "movbe",          0x00000001, 0, C, 22, HOST)          \
    X(POPCNT,       "popcnt",         0x00000001, 0, C, 23, HOST)          \
    X(AES,          "aes",            0x00000001, 0, C, 25, HOST)          \
    X(XSAVE,        "xsave",          0x00000001, 0, C, 26, HOST)          \
    X(AVX,          "avx",            0x00000001, 0, C, 28, HOST)          \
    X(F16C,         "f16c",           0x00000001, 0, C, 29, HOST)          \
    X(RDRAND,       "rdrand",         0x00000001, 0, C, 30, HOST)          \
    X(FSGSBASE,     "fsgsbase",       0x00000007, 0, B,  0, OWN)           \
    X(BMI1,         "bmi1",           0x00000007, 0, B,  3, HOST)          \
    X(AVX2,         "avx2",           0x00000007, 0, B,  5, HOST)          \
    X(BMI2,         "bmi2",           0x00000007, 0, B,  8, HOST)          \
    X(INVPCID,      "invpcid",        0x00000007, 0, B, 10, OWN)           \
    X(RTM,          "rtm",            0x00000007, 0, B, 11, NO)            \
    X(AVX512F,      "avx512f",        0x00000007, 0, B, 16, HOST)          \
    X(AVX512DQ,     "avx512dq",       0x00000007, 0, B, 17, HOST)          \
    X(RDSEED,       "rdseed",         0x00000007, 0, B, 18, HOST)          \
    X(ADX,          "adx",            0x00000007, 0, B, 19, HOST)          \
    X(SMAP,         "smap",           0x00000007, 0, B, 20, OWN)           \
    X(AVX512IFMA,   "avx512ifma",     0x00000007, 0, B, 21, HOST)          \
    X(CLFLUSHOPT,   "clflushopt",     0x00000007, 0, B, 23, OWN)           \
    X(CLWB,         "clwb",           0x00000007, 0, B, 24, OWN)           \
    X(AVX512CD,     "avx512cd",       0x00000007, 0, B, 28, HOST)          \
    X(SHA,          "sha_ni",         0x00000007, 0, B, 29, HOST)          \
    X(AVX512BW,     "avx512bw",       0x00000007, 0, B, 30, HOST)          \
    X(AVX512VL,     "avx512vl",       0x00000007, 0, B, 31, HOST)          \
    X(AVX512VBMI,   "avx512vbmi",     0x00000007, 0, C,  1, HOST)          \
    X(PKU,          "pku",            0x00000007, 0, C,  3, OWN)           \
    X(AVX512VBMI2,  "avx512_vbmi2",   0x00000007, 0, C,  6, HOST)          \
    X(GFNI,         "gfni",           0x00000007, 0, C,  8, HOST)          \
    X(VAES,         "vaes",           0x00000007, 0, C,  9, HOST)          \
    X(VPCLMUL,      "vpclmulqdq",     0x00000007, 0, C, 10, HOST)          \
    X(AVX512VNNI,   "avx512_vnni",    0x00000007, 0, C, 11, HOST)          \
    X(AVX512BITALG, "avx512_bitalg",  0x00000007, 0, C, 12, HOST)          \
    X(AVX512VPOPCNT, "avx512_vpopcntdq", 0x00000007, 0, C, 14, HOST)       \
    X(RDPID,        "rdpid",          0x00000007, 0, C, 22, OWN)           \
    X(AVX512BF16,   "avx512_bf16",    0x00000007, 1, A,  5, HOST)          \
    X(AVXVNNI,      "avx_vnni",       0x00000007, 1, A,  4, HOST)          \
    X(XSAVEOPT,     "xsaveopt",       0x0000000d, 1, A,  0, OWN)           \
    X(XSAVEC,       "xsavec",         0x0000000d, 1, A,  1, OWN)           \
    X(XGETBV1,      "xgetbv1",        0x0000000d, 1, A,  2, OWN)           \
    X(XSAVES,       "xsaves",         0x0000000d, 1, A,  3, OWN)           \
    X(LAHF64,       "lahf_lm",        0x80000001, 0, C,  0, OWN)           \
    X(LZCNT,        "abm",            0x80000001, 0, C,  5, HOST)          \
    X(SSE4A,        "sse4a",          0x80000001, 0, C,  6, HOST)          \
    X(PREFETCHW,    "3dnowprefetch",  0x80000001, 0, C,  8, OWN)           \
    X(SYSCALL,      "syscall",        0x80000001, 0, D, 11, OWN)           \
    X(RDTSCP,       "rdtscp",         0x80000001, 0, D, 27, OWN)

#define X86_FEATURES_OTHER(X)                                              \
    X(VME,          "vme",            0x00000001, 0, D,  1, OWN)           \
    X(DE,           "de",             0x00000001, 0, D,  2, OWN)           \
    X(PSE,          "pse",            0x00000001, 0, D,  3, OWN)           \
    X(TSC,          "tsc",            0x00000001, 0, D,  4, OWN)           \
    X(MSR,          "msr",            0x00000001, 0, D,  5, OWN)           \
    X(PAE,          "pae",            0x00000001, 0, D,  6, OWN)           \
    X(MCE,          "mce",            0x00000001, 0, D,  7, OWN)           \
    X(APIC,         "apic",           0x00000001, 0, D,  9, OWN)           \
    X(MTRR,         "mtrr",           0x00000001, 0, D, 12, OWN)           \
    X(PGE,          "pge",            0x00000001, 0, D, 13, OWN)           \
    X(MCA,          "mca",            0x00000001, 0, D, 14, OWN)           \
    X(PAT,          "pat",            0x00000001, 0, D, 16, OWN)           \
    X(PSE36,        "pse36",          0x00000001, 0, D, 17, OWN)           \
    X(SS,           "ss",             0x00000001, 0, D, 27, NO)            \
    X(DTES64,       "dtes64",         0x00000001, 0, C,  2, NO)            \
    X(VMX,          "vmx",            0x00000001, 0, C,  5, NO)            \
    X(PCID,         "pcid",           0x00000001, 0, C, 17, OWN)           \
    X(X2APIC,       "x2apic",         0x00000001, 0, C, 21, OWN)           \
    X(TSC_DEADLINE, "tsc_deadline_timer", 0x00000001, 0, C, 24, OWN)       \
    X(HYPERVISOR,   "hypervisor",     0x00000001, 0, C, 31, OWN)           \
    X(ARAT,         "arat",           0x00000006, 0, A,  2, OWN)           \
    X(TSC_ADJUST,   "tsc_adjust",     0x00000007, 0, B,  1, OWN)           \
    X(HLE,          "hle",            0x00000007, 0, B,  4, NO)            \
    X(SMEP,         "smep",           0x00000007, 0, B,  7, OWN)           \
    X(ERMS,         "erms",           0x00000007, 0, B,  9, OWN)           \
    X(FCS_FDS_ZERO, "zero_fcs_fds",   0x00000007, 0, B, 13, HOST)          \
    X(UMIP,         "umip",           0x00000007, 0, C,  2, OWN)           \
    X(LA57,         "la57",           0x00000007, 0, C, 16, NO)            \
    X(PKS,          "pks",            0x00000007, 0, C, 31, OWN)           \
    X(FSRM,         "fsrm",           0x00000007, 0, D,  4, OWN)           \
    X(MD_CLEAR,     "md_clear",       0x00000007, 0, D, 10, NO)            \
    X(SPEC_CTRL,    "spec_ctrl",      0x00000007, 0, D, 26, INTEL)         \
    X(STIBP,        "intel_stibp",    0x00000007, 0, D, 27, NO)            \
    X(FLUSH_L1D,    "flush_l1d",      0x00000007, 0, D, 28, NO)            \
    X(ARCH_CAPS,    "arch_capabilities", 0x00000007, 0, D, 29, INTEL)      \
    X(SSBD,         "ssbd",           0x00000007, 0, D, 31, NO)            \
    X(CMP_LEGACY,   "cmp_legacy",     0x80000001, 0, C,  1, NO)            \
    X(SVM,          "svm",            0x80000001, 0, C,  2, NO)            \
    X(CR8_LEGACY,   "cr8_legacy",     0x80000001, 0, C,  4, NO)            \
    X(MISALIGNSSE,  "misalignsse",    0x80000001, 0, C,  7, NO)            \
    X(OSVW,         "osvw",           0x80000001, 0, C,  9, NO)            \
    X(TOPOEXT,      "topoext",        0x80000001, 0, C, 22, AMD)           \
    X(NX,           "nx",             0x80000001, 0, D, 20, OWN)           \
    X(MMXEXT,       "mmxext",         0x80000001, 0, D, 22, AMD)           \
    X(FFXSR,        "fxsr_opt",       0x80000001, 0, D, 25, NO)            \
    X(PDPE1GB,      "pdpe1gb",        0x80000001, 0, D, 26, OWN)           \
    X(LM,           "lm",             0x80000001, 0, D, 29, OWN)           \
    X(INVTSC,       "constant_tsc",   0x80000007, 0, D,  8, OWN)           \
    X(CLZERO,       "clzero",         0x80000008, 0, B,  0, NO)            \
    X(XSAVEERPTR,   "xsaveerptr",     0x80000008, 0, B,  2, AMD)           \
    X(WBNOINVD,     "wbnoinvd",       0x80000008, 0, B,  9, OWN)           \
    X(AMD_IBPB,     "ibpb",           0x80000008, 0, B, 12, NO)            \
    X(AMD_IBRS,     "ibrs",           0x80000008, 0, B, 14, NO)            \
    X(AMD_STIBP,    "stibp",          0x80000008, 0, B, 15, NO)            \
    X(AMD_SSBD,     "amd_ssbd",       0x80000008, 0, B, 24, NO)            \
    X(VIRT_SSBD,    "virt_ssbd",      0x80000008, 0, B, 25, NO)            \
    X(AMD_SSB_NO,   "ssb_no",         0x80000008, 0, B, 26, AMD)           \
    X(BTC_NO,       "btc_no",         0x80000008, 0, B, 29, AMD)           \
    X(NULL_SEL,     "null_sel_clr_base", 0x80000021, 0, A, 6, AMD)         \
    X(LFENCE_SER,   "lfence_rdtsc",   0x80000021, 0, A,  2, AMD)           \
    X(AUTOIBRS,     "autoibrs",       0x80000021, 0, A,  8, AMD)           \
    X(SRSO_NO,      "srso_no",        0x80000021, 0, A, 29, AMD)           \
    X(TSA_SQ_NO,    "tsa_sq_no",      0x80000021, 0, C,  1, AMD)           \
    X(TSA_L1_NO,    "tsa_l1_no",      0x80000021, 0, C,  2, AMD)

#define X86_FEATURES_ALL(X) X86_FEATURES_ISA(X) X86_FEATURES_OTHER(X)

enum x86_feature_id {
#define X(id, name, leaf, subleaf, reg, bit, soft) X86_FEATURE_##id,
    X86_FEATURES_ISA(X)
    X86_FEATURE_ISA_COUNT,
    X86_FEATURE_ISA_LAST = X86_FEATURE_ISA_COUNT - 1,
    X86_FEATURES_OTHER(X)
#undef X
    X86_FEATURE_COUNT
};
_Static_assert(X86_FEATURE_ISA_COUNT <= 64, "x86_insn.isa is 64 bits wide");
_Static_assert(X86_FEATURE_COUNT <= 256, "struct x86_features holds 256");

/* The bit of an instruction-set feature in x86_insn.isa. */
#define X86_ISA(id) (1ull << X86_FEATURE_##id)

#endif
