/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_mmu.c - segments to linear addresses, and what is not plain RAM: MMIO,
 * watched pages, alignment checks, data breakpoints.
 */
#include "x86_fixture.h"

/* ---- an env that records what goes past RAM ------------------------------------- */

enum { MMIO = 0x200000, CODE_PAGE = 0x30000, MAX_ACCESSES = 16 };

struct physical {
    struct fixture *f;
    struct { uint64_t at, value; unsigned size; bool write; } seen[MAX_ACCESSES];
    unsigned n;
    bool watched;                 /* CODE_PAGE's stores go through phys_write */
};

static uint8_t *ph_ram_page(void *env, gpa_t page, bool for_write)
{
    struct physical *p = env;
    if (page.v >= RAM_BYTES || (for_write && p->watched && page.v == CODE_PAGE))
        return NULL;
    return p->f->ram + page.v;
}

static uint64_t ph_read(void *env, gpa_t a, unsigned size)
{
    struct physical *p = env;
    assert_int_equal(a.v & (size - 1), 0);
    assert_true(p->n < MAX_ACCESSES);
    p->seen[p->n].at = a.v;
    p->seen[p->n++].size = size;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= ((a.v + i) & 0xff) << (8 * i);       /* each byte is its address */
    return value;
}

static void ph_write(void *env, gpa_t a, unsigned size, uint64_t value)
{
    struct physical *p = env;
    assert_int_equal(a.v & (size - 1), 0);
    assert_true(p->n < MAX_ACCESSES);
    p->seen[p->n].at = a.v;
    p->seen[p->n].value = value;
    p->seen[p->n].write = true;
    p->seen[p->n++].size = size;
    if (a.v < RAM_BYTES)
        memcpy(p->f->ram + a.v, &value, size);
}

static const struct x86_env_ops physical_ops = {
    .ram_page = ph_ram_page, .phys_read = ph_read, .phys_write = ph_write,
};

static void attach(struct fixture *f, struct physical *p)
{
    *p = (struct physical){.f = f};
    f->cpu.ops = &physical_ops;
    f->cpu.env = p;
    mode_protected(f, CODE0, DATA0);
}

static void mmio_comes_in_aligned_pieces(void **state)
{
    struct physical p;
    struct fixture *f = *state;
    attach(f, &p);
    assert_int_equal(x86_read(&f->cpu, gva(MMIO + 4), 4), 0x07060504);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.seen[0].size, 4);
    p.n = 0;
    assert_int_equal(x86_read(&f->cpu, gva(MMIO + 1), 8), 0x0807060504030201);
    static const uint8_t sizes[] = {1, 2, 4, 1};
    assert_int_equal(p.n, ARRAY_SIZE(sizes));
    for (unsigned i = 0; i < p.n; i++)
        assert_int_equal(p.seen[i].size, sizes[i]);
    p.n = 0;
    x86_write(&f->cpu, gva(MMIO + 0xffe), 4, 0xaabbccdd);      /* two pages */
    assert_int_equal(p.n, 2);
    assert_int_equal(p.seen[0].at, MMIO + 0xffe);
    assert_int_equal(p.seen[0].value, 0xccdd);
    assert_int_equal(p.seen[1].at, MMIO + 0x1000);
    assert_int_equal(p.seen[1].value, 0xaabb);
    assert_null(x86_host_ptr(&f->cpu, gva(MMIO), 8, X86_READ));
    p.n = 0;
    uint8_t block[11];
    x86_read_block(&f->cpu, gva(MMIO + 6), block, sizeof block);
    for (unsigned i = 0; i < sizeof block; i++)
        assert_int_equal(block[i], 6 + i);
    assert_int_equal(p.n, 3);
}

static void ram_meets_mmio_in_one_access(void **state)
{
    struct physical p;
    struct fixture *f = *state;
    attach(f, &p);
    put16(f, RAM_BYTES - 2, 0x1234);
    assert_int_equal(x86_read(&f->cpu, gva(RAM_BYTES - 2), 4), 0x01001234);
}

static void watched_page_shows_every_store(void **state)
{
    struct physical p;
    struct fixture *f = *state;
    attach(f, &p);
    x86_write(&f->cpu, gva(CODE_PAGE), 4, 1);          /* plain RAM, fast from now on */
    assert_non_null(x86_tlb_hit(&f->cpu, gva(CODE_PAGE), 4, X86_WRITE));
    p.watched = true;
    x86_tlb_protect_phys(&f->cpu, gpa(CODE_PAGE));
    assert_null(x86_tlb_hit(&f->cpu, gva(CODE_PAGE), 4, X86_WRITE));
    assert_non_null(x86_tlb_hit(&f->cpu, gva(CODE_PAGE), 4, X86_READ));
    assert_null(x86_host_ptr(&f->cpu, gva(CODE_PAGE), 4, X86_WRITE));
    x86_write(&f->cpu, gva(CODE_PAGE), 4, 2);
    x86_write(&f->cpu, gva(CODE_PAGE + 6), 4, 3);
    assert_int_equal(p.n, 3);
    assert_int_equal(peek32(f, CODE_PAGE), 2);
    assert_int_equal(peek32(f, CODE_PAGE + 6), 3);
    p.watched = false;                                  /* the code went away */
    x86_write(&f->cpu, gva(CODE_PAGE), 4, 4);
    assert_int_equal(p.n, 3);
    assert_non_null(x86_tlb_hit(&f->cpu, gva(CODE_PAGE), 4, X86_WRITE));
}

/* ---- alignment, breakpoints --------------------------------------------------------- */

static int try_read(struct fixture *f, uint64_t at, unsigned size)
{
    if (setjmp(f->cpu.unwind))
        return f->cpu.pending.vector;
    x86_read(&f->cpu, gva(at), size);
    return STEP_OK;
}

static int try_write(struct fixture *f, uint64_t at, unsigned size)
{
    if (setjmp(f->cpu.unwind))
        return f->cpu.pending.vector;
    x86_write(&f->cpu, gva(at), size, 0);
    return STEP_OK;
}

static void alignment_is_checked_in_user_mode_only(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE3, DATA3);
    f->cpu.s.rflags |= X86_FLAG_AC;
    x86_mode_update(&f->cpu);
    assert_int_equal(try_read(f, CODE + 1, 4), STEP_OK);       /* CR0.AM is clear */
    f->cpu.s.cr0 |= X86_CR0_AM;
    x86_mode_update(&f->cpu);
    for (unsigned size = 1; size <= 8; size *= 2)
        for (unsigned at = 0; at < 8; at++) {
            int want = at % size ? X86_AC : STEP_OK;
            assert_int_equal(try_read(f, CODE + at, size), want);
            assert_int_equal(try_write(f, CODE + at, size), want);
        }
    assert_int_equal(x86_read_sys(&f->cpu, gva(CODE + 1), 8), peek64(f, CODE + 1));
    seg_force(f, &f->cpu.s.seg[X86_SS], DATA0);
    x86_mode_update(&f->cpu);
    assert_int_equal(try_read(f, CODE + 1, 4), STEP_OK);
}

static void data_breakpoints_see_fast_pages(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    assert_int_equal(try_write(f, CODE + 8, 4), STEP_OK);      /* in the TLB */
    f->cpu.s.dr[1] = CODE + 8;
    f->cpu.s.dr7 = 0x400 | 1 << 2 | 1 << 20 | 3 << 22;         /* L1, write, 4 bytes */
    x86_tlb_flush(&f->cpu, true);
    assert_int_equal(try_write(f, CODE + 0x100, 4), STEP_OK);
    assert_int_equal(f->cpu.debug_due, 0);
    assert_null(x86_tlb_hit(&f->cpu, gva(CODE), 4, X86_WRITE));
    assert_int_equal(try_read(f, CODE + 8, 4), STEP_OK);
    assert_int_equal(f->cpu.debug_due, 0);
    assert_int_equal(try_write(f, CODE + 9, 1), STEP_OK);
    assert_int_equal(f->cpu.debug_due & 15, 2);
    assert_int_equal(try_write(f, CODE + 0x1000, 4), STEP_OK);
    assert_non_null(x86_tlb_hit(&f->cpu, gva(CODE + 0x1000), 4, X86_WRITE));
}

/* ---- segments ---------------------------------------------------------------------- */

static int linear(struct fixture *f, enum x86_seg seg, uint64_t offset, unsigned size,
                  enum x86_access access, uint64_t *out)
{
    if (setjmp(f->cpu.unwind))
        return f->cpu.pending.vector;
    *out = x86_linear(&f->cpu, seg, offset, size, access).v;
    return STEP_OK;
}

static void protected_segments_are_checked(void **state)
{
    enum { DATA = 0x93, READ_ONLY_DATA = 0x91, DOWN = 0x97, CODE_R = 0x9b, CODE_X = 0x99,
           NO = STEP_OK };
    static const struct {
        uint32_t attr, limit;
        uint64_t offset;
        unsigned size;
        enum x86_access access;
        int want;
    } c[] = {
        {DATA, 0xfff, 0xffc, 4, X86_READ, NO}, {DATA, 0xfff, 0xffd, 4, X86_READ, X86_GP},
        {DATA, 0xfff, 0xffc, 4, X86_WRITE, NO}, {DATA, 0xfff, 0x1000, 1, X86_WRITE, X86_GP},
        {DATA, UINT32_MAX, 0xfffffffc, 4, X86_READ, NO},
        {DATA, UINT32_MAX, 0xfffffffd, 4, X86_READ, X86_GP},
        {READ_ONLY_DATA, 0xfff, 0, 4, X86_READ, NO},
        {READ_ONLY_DATA, 0xfff, 0, 4, X86_WRITE, X86_GP},
        {CODE_R, 0xfff, 0, 4, X86_READ, NO}, {CODE_R, 0xfff, 0, 4, X86_WRITE, X86_GP},
        {CODE_X, 0xfff, 0, 4, X86_READ, X86_GP}, {CODE_X, 0xfff, 0, 4, X86_EXEC, NO},
        {DATA, 0xfff, 0, 4, X86_EXEC, X86_GP},
        {DOWN, 0xfff, 0xfff, 1, X86_READ, X86_GP}, {DOWN, 0xfff, 0x1000, 4, X86_READ, NO},
        {DOWN, 0xfff, 0xfffc, 4, X86_WRITE, NO}, {DOWN, 0xfff, 0xfffd, 4, X86_WRITE, X86_GP},
        {DOWN | X86_ATTR_DB, 0xfff, 0xfffffffc, 4, X86_WRITE, NO},
        {DATA | X86_ATTR_UNUSABLE, 0xfff, 0, 1, X86_READ, X86_GP},
    };
    struct fixture *f = *state;
    uint64_t out = 0;
    mode_protected(f, CODE0, DATA0);
    for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
        f->cpu.s.seg[X86_DS] = (struct x86_segment){0xfffff000, c[i].limit, c[i].attr, 8};
        f->cpu.s.seg[X86_SS] = f->cpu.s.seg[X86_DS];
        x86_mode_update(&f->cpu);
        assert_int_equal(linear(f, X86_DS, c[i].offset, c[i].size, c[i].access, &out), c[i].want);
        if (c[i].want == STEP_OK)
            assert_int_equal(out, (uint32_t)(0xfffff000 + c[i].offset));    /* wraps at 4 GiB */
        int ss = c[i].want == X86_GP ? X86_SS_FAULT : c[i].want;
        assert_int_equal(linear(f, X86_SS, c[i].offset, c[i].size, c[i].access, &out), ss);
        if (ss != STEP_OK)
            assert_int_equal(f->cpu.pending.error, 0);
    }
}

static void real_mode_checks_the_limit_only(void **state)
{
    struct fixture *f = *state;
    uint64_t out;
    mode_real(f);
    assert_int_equal(linear(f, X86_CS, 0, 4, X86_WRITE, &out), STEP_OK);
    assert_int_equal(linear(f, X86_DS, 0xffff, 2, X86_READ, &out), X86_GP);
    assert_int_equal(linear(f, X86_SS, 0xffff, 2, X86_READ, &out), X86_SS_FAULT);
    f->cpu.s.seg[X86_DS].limit = UINT32_MAX;                                /* "unreal" */
    assert_int_equal(linear(f, X86_DS, 0x12345678, 2, X86_READ, &out), STEP_OK);
    assert_int_equal(out, 0x12345678);
}

static void long_mode_checks_for_canonical_addresses(void **state)
{
    struct fixture *f = *state;
    uint64_t out;
    mode_long(f, CODE64, DATA0);
    f->cpu.s.seg[X86_DS] = (struct x86_segment){0x1000, 0, X86_ATTR_UNUSABLE, 0};
    f->cpu.s.seg[X86_FS].base = 0x1000;
    assert_int_equal(linear(f, X86_DS, 0x1234, 8, X86_WRITE, &out), STEP_OK);
    assert_int_equal(out, 0x1234);
    assert_int_equal(linear(f, X86_FS, 0x1234, 8, X86_WRITE, &out), STEP_OK);
    assert_int_equal(out, 0x2234);
    assert_int_equal(linear(f, X86_DS, 0x00007ffffffffff8, 8, X86_READ, &out), STEP_OK);
    assert_int_equal(linear(f, X86_DS, 0x00007ffffffffff9, 8, X86_READ, &out), X86_GP);
    assert_int_equal(linear(f, X86_SS, 0x0000800000000000, 1, X86_READ, &out), X86_SS_FAULT);
    assert_int_equal(linear(f, X86_DS, 0xffff800000000000, 1, X86_READ, &out), STEP_OK);
    assert_int_equal(linear(f, X86_FS, 0x00007ffffffff000, 1, X86_READ, &out), X86_GP);
}

static void flat_data_is_noticed(void **state)
{
    struct fixture *f = *state;
    mode_protected(f, CODE0, DATA0);
    assert_true(f->cpu.mode.flat_data);
    f->cpu.s.seg[X86_ES].base = 1;
    x86_mode_update(&f->cpu);
    assert_false(f->cpu.mode.flat_data);
    mode_long(f, CODE64, DATA0);
    assert_true(f->cpu.mode.flat_data);
    assert_int_equal(f->cpu.mode.code_bits, 64);
    mode_real(f);
    assert_false(f->cpu.mode.flat_data);
    assert_int_equal(f->cpu.mode.code_bits, 16);
    assert_int_equal(f->cpu.mode.cpl, 0);
    mode_vm86(f, 0);
    assert_int_equal(f->cpu.mode.cpl, 3);
    assert_int_equal(f->cpu.mode.tlb, X86_TLB_USER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mmio_comes_in_aligned_pieces), T(ram_meets_mmio_in_one_access),
        T(watched_page_shows_every_store), T(alignment_is_checked_in_user_mode_only),
        T(data_breakpoints_see_fast_pages), T(protected_segments_are_checked),
        T(real_mode_checks_the_limit_only), T(long_mode_checks_for_canonical_addresses),
        T(flat_data_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
