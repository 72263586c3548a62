/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_control.c - control registers, EFER, XCR0 and the instructions about the
 * processor itself. The fixture's processor offers every feature.
 */
#include "x86_fixture.h"

#include "x86/control.h"

#define PE_ X86_CR0_PE
#define PG_ X86_CR0_PG
#define ET_ X86_CR0_ET

static int try_cr(struct fixture *f, unsigned cr, uint64_t value)
{
    if (setjmp(f->cpu.unwind))
        return f->cpu.pending.vector;
    x86_cr_write(&f->cpu, cr, value);
    return STEP_OK;
}

static int try_xcr0(struct fixture *f, uint64_t value)
{
    if (setjmp(f->cpu.unwind))
        return f->cpu.pending.vector;
    x86_xcr0_write(&f->cpu, value);
    return STEP_OK;
}

static void set_feature(struct fixture *f, enum x86_feature_id id, bool on)
{
    uint64_t bit = 1ull << id % 64, *word = &f->model.features.w[id / 64];
    *word = on ? *word | bit : *word & ~bit;
}

/* 64-bit code with paging on, identity-mapped by one 1 GiB page. */
static void long_paging(struct fixture *f)
{
    enum { PML4 = 0x40000, PDPT = 0x41000 };
    mode_long(f, CODE64, DATA0);
    put64(f, PML4, PDPT | 7);
    put64(f, PDPT, 0x87);
    f->cpu.s.cr0 |= PG_;
    f->cpu.s.cr3 = PML4;
    x86_cpu_state_loaded(&f->cpu);
}

/* ---- CR0 -------------------------------------------------------------------------- */

static void cr0_combinations(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    assert_int_equal(try_cr(f, 0, PG_), X86_GP);                       /* PG without PE */
    assert_int_equal(try_cr(f, 0, PE_ | X86_CR0_NW), X86_GP);          /* NW without CD */
    assert_int_equal(try_cr(f, 0, PE_ | 1ull << 32), X86_GP);
    assert_int_equal(f->cpu.s.cr0, PE_ | ET_);
    assert_int_equal(try_cr(f, 0, PE_ | X86_CR0_NW | X86_CR0_CD), STEP_OK);
    assert_int_equal(try_cr(f, 0, PE_ | 1 << 10), STEP_OK);            /* unknown: dropped */
    assert_int_equal(f->cpu.s.cr0, PE_ | ET_);
    assert_int_equal(try_cr(f, 0, 0), STEP_OK);
    assert_int_equal(f->cpu.s.cr0, ET_);
    assert_false(f->cpu.mode.protected_mode);
}

static void paging_with_lme_enters_long_mode(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;
    mode_protected(f, CODE0, DATA0);
    assert_int_equal(x86_efer_write(&f->cpu, X86_EFER_LME), 0);
    assert_int_equal(try_cr(f, 0, s->cr0 | PG_), X86_GP);              /* no PAE */
    assert_int_equal(try_cr(f, 4, X86_CR4_PAE), STEP_OK);
    seg_force(f, &s->tr, TSS_C_SEL);
    assert_int_equal(try_cr(f, 0, s->cr0 | PG_), X86_GP);              /* 16-bit TSS */
    seg_force(f, &s->tr, TSS_SEL);
    s->seg[X86_CS].attr |= X86_ATTR_L;
    assert_int_equal(try_cr(f, 0, s->cr0 | PG_), X86_GP);              /* CS.L */
    assert_int_equal(s->msr.efer, X86_EFER_LME);
    s->seg[X86_CS].attr &= ~(uint32_t)X86_ATTR_L;
    assert_int_equal(try_cr(f, 0, s->cr0 | PG_), STEP_OK);
    assert_int_equal(s->msr.efer, X86_EFER_LME | X86_EFER_LMA);
    assert_int_equal(f->cpu.mode.code_bits, 32);                       /* compatibility mode */
    assert_int_equal(x86_efer_write(&f->cpu, 0), -1);                  /* LME while paging */
    assert_int_equal(try_cr(f, 4, 0), X86_GP);                         /* PAE must stay */
    seg_force(f, &s->seg[X86_CS], CODE64);
    x86_mode_update(&f->cpu);
    assert_int_equal(f->cpu.mode.code_bits, 64);
    assert_int_equal(try_cr(f, 0, PE_), X86_GP);                       /* not from 64-bit code */
    seg_force(f, &s->seg[X86_CS], CODE0);
    x86_mode_update(&f->cpu);
    assert_int_equal(try_cr(f, 0, PE_), STEP_OK);
    assert_int_equal(s->msr.efer, X86_EFER_LME);
}

static void pcid_keeps_paging_on(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    assert_int_equal(try_cr(f, 4, X86_CR4_PAE | X86_CR4_PCIDE), X86_GP);   /* not LMA */
    long_paging(f);
    f->cpu.s.cr3 |= 1;
    assert_int_equal(try_cr(f, 4, X86_CR4_PAE | X86_CR4_PCIDE), X86_GP);   /* CR3[11:0] */
    f->cpu.s.cr3 &= ~1ull;
    assert_int_equal(try_cr(f, 4, X86_CR4_PAE | X86_CR4_PCIDE), STEP_OK);
    assert_int_equal(try_cr(f, 3, f->cpu.s.cr3 | 5 | 1ull << 63), STEP_OK);
    assert_int_equal(f->cpu.s.cr3, 0x40005);                               /* bit 63 not kept */
    f->cpu.s.seg[X86_CS].attr &= ~(uint32_t)X86_ATTR_L;
    x86_mode_update(&f->cpu);
    assert_int_equal(try_cr(f, 0, PE_), X86_GP);
}

/* ---- CR3, CR4, CR8 ------------------------------------------------------------------ */

static void cr3_reserved_bits(void **state)
{
    struct fixture *f = *state;
    long_paging(f);
    assert_int_equal(try_cr(f, 3, 1ull << 40), X86_GP);
    assert_int_equal(try_cr(f, 3, 1ull << 63), X86_GP);
    assert_int_equal(try_cr(f, 3, 0x40018), STEP_OK);
}

static void cr4_bits_need_their_feature(void **state)
{
    static const struct { uint32_t bit; enum x86_feature_id id; } c[] = {
        {X86_CR4_VME, X86_FEATURE_VME}, {X86_CR4_PVI, X86_FEATURE_VME},
        {X86_CR4_TSD, X86_FEATURE_TSC}, {X86_CR4_DE, X86_FEATURE_DE},
        {X86_CR4_PSE, X86_FEATURE_PSE}, {X86_CR4_PAE, X86_FEATURE_PAE},
        {X86_CR4_MCE, X86_FEATURE_MCE}, {X86_CR4_PGE, X86_FEATURE_PGE},
        {X86_CR4_OSFXSR, X86_FEATURE_FXSR}, {X86_CR4_OSXMMEXCPT, X86_FEATURE_SSE},
        {X86_CR4_UMIP, X86_FEATURE_UMIP}, {X86_CR4_FSGSBASE, X86_FEATURE_FSGSBASE},
        {X86_CR4_OSXSAVE, X86_FEATURE_XSAVE}, {X86_CR4_SMEP, X86_FEATURE_SMEP},
        {X86_CR4_SMAP, X86_FEATURE_SMAP}, {X86_CR4_PKE, X86_FEATURE_PKU},
        {X86_CR4_PKS, X86_FEATURE_PKS},
    };
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
        assert_int_equal(try_cr(f, 4, c[i].bit), STEP_OK);
        set_feature(f, c[i].id, false);
        assert_int_equal(try_cr(f, 4, c[i].bit), X86_GP);
        set_feature(f, c[i].id, true);
    }
    static const uint64_t never[] = {X86_CR4_LA57, 1 << 13, 1 << 14, 1 << 15, 1 << 23,
                                     1 << 25, 1ull << 32};
    for (unsigned i = 0; i < ARRAY_SIZE(never); i++)
        assert_int_equal(try_cr(f, 4, never[i]), X86_GP);
}

static void cr8_is_the_task_priority(void **state)
{
    struct fixture *f = *state;
    mode_long(f, CODE64, DATA0);
    f->cpu.s.gpr[X86_RAX] = 9;
    assert_runs(f, 0x44, 0x0f, 0x22, 0xc0);                        /* mov cr8, rax */
    assert_int_equal(f->tpr, 9);
    f->tpr = 5;
    assert_runs(f, 0x44, 0x0f, 0x20, 0xc3);                        /* mov rbx, cr8 */
    assert_int_equal(f->cpu.s.gpr[X86_RBX], 5);
    f->cpu.s.gpr[X86_RAX] = 16;
    assert_fault(f, X86_GP, 0, 0x44, 0x0f, 0x22, 0xc0);
}

/* ---- instructions --------------------------------------------------------------------- */

/* Everything that only ring 0 may do, with #GP elsewhere. */
static void ring0_only(void **state)
{
    struct fixture *f = *state;
    mode_long(f, CODE64_3, DATA3);
    assert_fault(f, X86_GP, 0, 0x0f, 0x20, 0xc0);                  /* mov rax, cr0 */
    assert_fault(f, X86_GP, 0, 0x0f, 0x22, 0xd8);                  /* mov cr3, rax */
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xf0);                  /* lmsw ax */
    assert_fault(f, X86_GP, 0, 0x0f, 0x06);                        /* clts */
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0x38);                  /* invlpg [rax] */
    assert_fault(f, X86_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x08);      /* invpcid rcx, [rax] */
    assert_fault(f, X86_GP, 0, 0x0f, 0x32);                        /* rdmsr */
    assert_fault(f, X86_GP, 0, 0x0f, 0x30);                        /* wrmsr */
    assert_fault(f, X86_GP, 0, 0x0f, 0x08);                        /* invd */
    assert_fault(f, X86_GP, 0, 0x0f, 0x09);                        /* wbinvd */
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xf8);                  /* swapgs */
    assert_fault(f, X86_GP, 0, 0xf4);                              /* hlt */
    assert_fault(f, X86_GP, 0, 0x0f, 0x33);                        /* rdpmc */
    assert_fault(f, X86_UD, 0, 0x0f, 0x01, 0xca);                  /* clac */
    assert_fault(f, X86_UD, 0, 0x0f, 0x01, 0xcb);                  /* stac */
}

static void hlt_halts(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    assert_runs(f, 0xf4);
    assert_int_equal(f->cpu.s.ev.mp_state, X86_MP_HALTED);
    assert_int_equal(f->cpu.s.rip, CODE + 1);
}

static void machine_status_word(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;
    mode_protected(f, CODE0, DATA0);
    s->gpr[X86_RAX] = 0xffff;
    assert_runs(f, 0x0f, 0x01, 0xf0);                              /* lmsw ax */
    assert_int_equal(s->cr0, ET_ | PE_ | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS);
    s->gpr[X86_RAX] = 0;
    assert_runs(f, 0x0f, 0x01, 0xf0);
    assert_int_equal(s->cr0, ET_ | PE_);                           /* PE stays */
    s->cr0 |= X86_CR0_TS;
    assert_runs(f, 0x0f, 0x06);                                    /* clts */
    assert_int_equal(s->cr0, ET_ | PE_);
    mode_protected(f, CODE3, DATA3);
    s->gpr[X86_RAX] = UINT64_MAX;
    assert_runs(f, 0x66, 0x0f, 0x01, 0xe0);                        /* smsw ax */
    assert_int_equal(s->gpr[X86_RAX], 0xffffffffffff0000 | ET_ | PE_);
    s->cr4 = X86_CR4_UMIP;
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xe0);
}

static void reserved_control_registers(void **state)
{
    struct fixture *f = *state;
    struct x86_insn insn;
    static const uint8_t numbers[] = {1, 5, 6, 7};
    mode_protected(f, CODE0, DATA0);
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint8_t bytes[] = {0x0f, 0x20, (uint8_t)(0xc0 | numbers[i] << 3)};
        /* The decoder may refuse it already; either way it is #UD. */
        if (x86_decode(bytes, sizeof bytes, 32, &insn) == 0 &&
            insn.class == X86_CLASS_SYSTEM)
            assert_int_equal(step_bytes(f, bytes, sizeof bytes), X86_UD);
    }
}

static void invpcid_checks_its_descriptor(void **state)
{
    static const struct { uint64_t type, pcid, address, cr4; int want; } c[] = {
        {0, 0, 0x1000, 0, STEP_OK}, {1, 0, 0, 0, STEP_OK}, {2, 0, 0, 0, STEP_OK},
        {3, 0, 0, 0, STEP_OK}, {4, 0, 0, 0, X86_GP},
        {0, 1, 0, 0, X86_GP}, {1, 1, 0, 0, X86_GP}, {2, 1, 0, 0, STEP_OK},
        {0, 1, 0, X86_CR4_PCIDE, STEP_OK}, {0, 0x1000, 0, X86_CR4_PCIDE, X86_GP},
        {0, 0, 0x800000000000, 0, X86_GP}, {1, 0, 0x800000000000, 0, STEP_OK},
    };
    struct fixture *f = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
        mode_long(f, CODE64, DATA0);
        f->cpu.s.cr4 |= c[i].cr4;
        f->cpu.s.gpr[X86_RAX] = 0x6000;
        f->cpu.s.gpr[X86_RCX] = c[i].type;
        put64(f, 0x6000, c[i].pcid);
        put64(f, 0x6008, c[i].address);
        assert_int_equal(step(f, 0x66, 0x0f, 0x38, 0x82, 0x08), c[i].want);
    }
}

static void segment_base_instructions(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;
    mode_long(f, CODE64_3, DATA3);
    assert_fault(f, X86_UD, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd0);      /* wrfsbase rax: not on */
    s->cr4 |= X86_CR4_FSGSBASE;
    s->gpr[X86_RAX] = 0xffff800012345678;
    assert_runs(f, 0xf3, 0x48, 0x0f, 0xae, 0xd0);                  /* wrfsbase rax */
    assert_int_equal(s->seg[X86_FS].base, 0xffff800012345678);
    assert_runs(f, 0xf3, 0x0f, 0xae, 0xd8);                        /* wrgsbase eax */
    assert_int_equal(s->seg[X86_GS].base, 0x12345678);
    assert_runs(f, 0xf3, 0x0f, 0xae, 0xc1);                        /* rdfsbase ecx */
    assert_int_equal(s->gpr[X86_RCX], 0x12345678);
    s->gpr[X86_RAX] = 1ull << 47;
    assert_fault(f, X86_GP, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8);
    mode_long(f, CODE64, DATA0);
    s->seg[X86_GS].base = 1;
    s->msr.kernel_gs_base = 2;
    assert_runs(f, 0x0f, 0x01, 0xf8);                              /* swapgs */
    assert_int_equal(s->seg[X86_GS].base, 2);
    assert_int_equal(s->msr.kernel_gs_base, 1);
    mode_protected(f, CODE0, DATA0);
    s->cr4 |= X86_CR4_FSGSBASE;
    struct x86_insn insn;
    static const uint8_t rdfsbase[] = {0xf3, 0x0f, 0xae, 0xc1};
    if (x86_decode(rdfsbase, sizeof rdfsbase, 32, &insn) == 0 && insn.class == X86_CLASS_SYSTEM)
        assert_fault(f, X86_UD, 0, 0xf3, 0x0f, 0xae, 0xc1);
}

static void time_stamp_can_be_denied(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;
    mode_protected(f, CODE3, DATA3);
    s->gpr[X86_RAX] = s->gpr[X86_RDX] = UINT64_MAX;
    assert_runs(f, 0x0f, 0x31);                                    /* rdtsc */
    assert_int_equal(s->gpr[X86_RAX] | s->gpr[X86_RDX], 0);
    s->msr.tsc_aux = 7;
    assert_runs(f, 0x0f, 0x01, 0xf9);                              /* rdtscp */
    assert_int_equal(s->gpr[X86_RCX], 7);
    s->cr4 = X86_CR4_TSD;
    assert_fault(f, X86_GP, 0, 0x0f, 0x31);
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xf9);
}

static void stac_and_clac_select_the_tlb(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    f->cpu.s.cr4 = X86_CR4_SMAP;
    x86_mode_update(&f->cpu);
    assert_int_equal(f->cpu.mode.tlb, X86_TLB_KERNEL);
    assert_runs(f, 0x0f, 0x01, 0xcb);
    assert_int_equal(f->cpu.mode.tlb, X86_TLB_KERNEL_AC);
    assert_ptr_equal(f->cpu.tlb_now, &f->cpu.tlb[X86_TLB_KERNEL_AC]);
    assert_runs(f, 0x0f, 0x01, 0xca);
    assert_int_equal(f->cpu.mode.tlb, X86_TLB_KERNEL);
}

static void random_numbers_set_carry(void **state)
{
    struct fixture *f = *state;
    struct x86_features host;
    x86_features_host(&host);
    if (!x86_feature(&host, X86_FEATURE_RDRAND))
        skip();
    mode_protected(f, CODE3, DATA3);
    f->cpu.s.rflags |= X86_FLAGS_ARITH;
    assert_runs(f, 0x0f, 0xc7, 0xf0);                              /* rdrand eax */
    assert_int_equal(f->cpu.s.rflags & X86_FLAGS_ARITH & ~(unsigned)X86_FLAG_CF, 0);
    assert_int_equal(f->cpu.s.gpr[X86_RAX] >> 32, 0);
}

static void cache_line_needs_a_mapped_address(void **state)
{
    struct fixture *f = *state;
    long_paging(f);
    f->cpu.s.gpr[X86_RAX] = 0x2000;
    assert_runs(f, 0x0f, 0xae, 0x38);                              /* clflush [rax] */
    f->cpu.s.gpr[X86_RAX] = 1ull << 30;
    assert_fault(f, X86_PF, 0, 0x0f, 0xae, 0x38);
    assert_runs(f, 0x0f, 0x18, 0x00);                              /* prefetchnta [rax] */
    f->cpu.s.gpr[X86_RAX] = 1ull << 47;
    assert_fault(f, X86_GP, 0, 0x0f, 0xae, 0x38);
    assert_runs(f, 0x0f, 0x01, 0x38);                              /* invlpg [rax] */
}

/* ---- XCR0 ------------------------------------------------------------------------------- */

static void xcr0_combinations(void **state)
{
    static const struct { uint64_t value; int want; } c[] = {
        {1, STEP_OK}, {3, STEP_OK}, {7, STEP_OK}, {0xe7, STEP_OK},
        {0, X86_GP}, {2, X86_GP}, {5, X86_GP}, {6, X86_GP}, {0xe3, X86_GP}, {0x27, X86_GP},
        {0x67, X86_GP}, {0x207, X86_GP}, {1ull << 63 | 1, X86_GP},
    };
    struct fixture *f = *state;
    f->model.xcr0_allowed = 0xe7;
    mode_protected(f, CODE0, DATA0);
    for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
        assert_int_equal(try_xcr0(f, c[i].value), c[i].want);
    assert_int_equal(f->cpu.s.xcr0, 0xe7);
    f->cpu.s.gpr[X86_RAX] = 3;
    f->cpu.s.gpr[X86_RDX] = 0;
    assert_fault(f, X86_UD, 0, 0x0f, 0x01, 0xd1);                  /* xsetbv: OSXSAVE clear */
    f->cpu.s.cr4 = X86_CR4_OSXSAVE;
    assert_runs(f, 0x0f, 0x01, 0xd1);
    assert_int_equal(f->cpu.s.xcr0, 3);
    f->cpu.s.gpr[X86_RCX] = 1;
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xd1);
    f->cpu.s.gpr[X86_RCX] = 2;
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xd0);                  /* xgetbv */
    f->cpu.s.gpr[X86_RCX] = 0;
    assert_runs(f, 0x0f, 0x01, 0xd0);
    assert_int_equal(f->cpu.s.gpr[X86_RAX], 3);
    seg_force(f, &f->cpu.s.seg[X86_SS], DATA3);
    x86_mode_update(&f->cpu);
    assert_fault(f, X86_GP, 0, 0x0f, 0x01, 0xd1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(cr0_combinations), T(paging_with_lme_enters_long_mode), T(pcid_keeps_paging_on),
        T(cr3_reserved_bits), T(cr4_bits_need_their_feature), T(cr8_is_the_task_priority),
        T(ring0_only), T(hlt_halts), T(machine_status_word), T(reserved_control_registers),
        T(invpcid_checks_its_descriptor), T(segment_base_instructions),
        T(time_stamp_can_be_denied), T(stac_and_clac_select_the_tlb),
        T(random_numbers_set_carry), T(cache_line_needs_a_mapped_address), T(xcr0_combinations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
