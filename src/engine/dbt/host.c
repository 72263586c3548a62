/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.c - what the translator needs from a host, tried out.
 *
 * Trying costs some ten microseconds and is right where guessing from versions
 * and settings is not: limits, seccomp filters and security modules all show.
 */
#include "engine/dbt/host.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "base/code_memory.h"
#include "base/error.h"
#include "engine/dbt/tables.h"
#include "x86/cpuid.h"

static uint64_t host_xcr0(void)
{
    uint32_t lo, hi;

    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo | (uint64_t)hi << 32;
}

/* Zen 1 and 2, Hygon's included: PEXT takes hundreds of cycles. */
static bool pext_is_microcode(void)
{
    uint32_t a, b, c, d, family;

    __cpuid(0, a, b, c, d);
    if (b != signature_AMD_ebx && b != 0x6f677948 /* Hygo(nGenuine) */)
        return false;
    __cpuid(1, a, b, c, d);
    family = a >> 8 & 15;
    if (family == 15)
        family += a >> 20 & 255;
    return family == 0x17 || family == 0x18;
}

/* Which flags shifts leave undefined is one question; whether what they are then
 * depends on what they were is another, that the specification does not answer. */
enum { FLAG_FIXED = 2 };

static uint64_t flags_after_shifts(uint64_t value, uint64_t before)
{
    uint64_t all = 0;

#define SHIFT(text)                                                                      \
    do {                                                                                 \
        uint64_t v = value, f;                                                           \
        __asm__("lea -128(%%rsp), %%rsp; push %2; popfq; " text "; "                     \
                "pushfq; pop %0; lea 128(%%rsp), %%rsp"                                  \
                : "=&r"(f), "+r"(v) : "r"(before) : "cc", "memory");                     \
        all = (all << 7 | all >> 57) ^ (f & X86_FLAGS_ARITH);                            \
    } while (0)
    SHIFT("shlq $1, %1"); SHIFT("shlq $13, %1"); SHIFT("shll $5, %k1"); SHIFT("shlb $3, %b1");
    SHIFT("shrq $1, %1"); SHIFT("shrq $13, %1"); SHIFT("shrl $5, %k1"); SHIFT("shrb $9, %b1");
    SHIFT("sarq $1, %1"); SHIFT("sarq $13, %1"); SHIFT("sarl $5, %k1"); SHIFT("sarw $17, %w1");
#undef SHIFT
    return all;
}

static bool shifts_overwrite_flags(void)
{
    uint64_t value = 1;

    for (unsigned i = 0; i < 32; i++) {
        if (flags_after_shifts(value, FLAG_FIXED) !=
            flags_after_shifts(value, FLAG_FIXED | X86_FLAGS_ARITH))
            return false;
        value = value * 0x5851f42d4c957f2d + 0x14057b7ef767814f;
    }
    return true;
}

void dbt_host_init(struct dbt_host *h, const struct x86_features *hidden)
{
    struct x86_features has;
    uint64_t wanted = X86_XCR0_X87 | X86_XCR0_SSE;

    x86_features_host(&has);
    if (hidden)
        x86_features_remove(&has, hidden);
    *h = (struct dbt_host){
        .emit.no_bmi2 = !x86_feature(&has, X86_FEATURE_BMI2),
        .emit.slow_pext = pext_is_microcode(),
        .emit.shifts_overwrite = shifts_overwrite_flags(),
        /* AT_HWCAP2 bit 1: the kernel lets user space use WRGSBASE. */
        .fsgsbase = x86_feature(&has, X86_FEATURE_FSGSBASE) && getauxval(AT_HWCAP2) & 2,
        .fxsave = !x86_feature(&has, X86_FEATURE_XSAVE),
        .xsavec = x86_feature(&has, X86_FEATURE_XSAVE) && x86_feature(&has, X86_FEATURE_XSAVEC),
    };
    if (x86_feature(&has, X86_FEATURE_AVX))
        wanted |= X86_XCR0_AVX;
    if (x86_feature(&has, X86_FEATURE_AVX512F))
        wanted |= X86_XCR0_AVX512;
    h->components = h->fxsave ? wanted : wanted & host_xcr0();
}

static bool host_suffices(struct error **err)
{
    struct dbt_tables *tables;
    struct x86_features has;

    x86_features_host(&has);
    if (!x86_feature(&has, X86_FEATURE_BMI2) && !x86_feature(&has, X86_FEATURE_LAHF64)) {
        error_set(err, ENOTSUP, "the translator needs BMI2, or LAHF in 64-bit mode");
        return false;
    }
    if (!code_memory_allowed(err)) {
        error_hint(err, "without it guests have no floating point either");
        return false;
    }
    tables = dbt_tables_new(1, err);
    dbt_tables_free(tables);
    return tables;
}

/* What makes it slower here than it could be, or "". */
static const char *handicap(void)
{
    struct dbt_host h;

    dbt_host_init(&h, NULL);
    if (h.emit.no_bmi2)
        return "; slower here, without BMI2";
    if (h.emit.slow_pext)
        return "; slower here, with a PEXT that is microcode";
    return h.fsgsbase ? "" : "; slower here, without FSGSBASE";
}

void dbt_probe(struct engine_probe *out)
{
    struct error *err = NULL;

    out->caps = ENGINE_CAP_INSN_BUDGET | ENGINE_CAP_DIRTY_LOG | ENGINE_CAP_DEBUGGER;
    out->exit_us = 0.2;
    if (host_suffices(&err)) {
        out->status = ENGINE_GOOD;
        out->insn_per_us = 1000;
        snprintf(out->reason, sizeof out->reason,
                 "translator to host code, some 1000 million instructions per second%s",
                 handicap());
        return;
    }
    char *text = error_text(err);
    out->status = err->code == ENOTSUP ? ENGINE_ABSENT : ENGINE_FORBIDDEN;
    snprintf(out->reason, sizeof out->reason, "%s", text);
    free(text);
    error_free(&err);
}
