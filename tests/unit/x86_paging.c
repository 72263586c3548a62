/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_paging.c - translation rights, reserved bits, accessed and dirty bits.
 *
 * Every combination of entry bits, privilege and control bits is tried in every
 * paging mode and compared with expected(), which is written from the SDM's
 * tables (vol. 3, 4.6 and 4.7) without looking at the implementation.
 */
#include "x86_fixture.h"

enum { P = 1, W = 2, U = 4, A = 1 << 5, D = 1 << 6, PS = 1 << 7, G = 1 << 8 };
#define NX (1ull << 63)

enum { TABLES = 0x40000, FRAME = 0x30000 };      /* level n's table is TABLES + n pages */

static const struct paging {
    const char *name;
    unsigned levels, leaf, entry_bytes;
    uint8_t shift[4], index_bits[4];
    uint64_t cr4;
    bool lma, pdpte;                             /* pdpte: level 0 has no rights */
    uint64_t va;
} pagings[] = {
    {"legacy 4K", 2, 1, 4, {22, 12}, {10, 10}, 0, false, false, 0xc0430000},
    {"legacy 4M", 2, 0, 4, {22, 12}, {10, 10}, X86_CR4_PSE, false, false, 0xc0430000},
    {"PAE 4K", 3, 2, 8, {30, 21, 12}, {2, 9, 9}, X86_CR4_PAE, false, true, 0xc0630000},
    {"PAE 2M", 3, 1, 8, {30, 21, 12}, {2, 9, 9}, X86_CR4_PAE, false, true, 0xc0630000},
    {"long 4K", 4, 3, 8, {39, 30, 21, 12}, {9, 9, 9, 9}, X86_CR4_PAE, true, false,
     0xffff888000230000},
    {"long 2M", 4, 2, 8, {39, 30, 21, 12}, {9, 9, 9, 9}, X86_CR4_PAE, true, false,
     0xffff888000230000},
    {"long 1G", 4, 1, 8, {39, 30, 21, 12}, {9, 9, 9, 9}, X86_CR4_PAE, true, false,
     0xffff888040030000},
};

static uint32_t entry_at(const struct paging *p, unsigned level, uint64_t va)
{
    uint64_t index = va >> p->shift[level] & ((1u << p->index_bits[level]) - 1);
    return TABLES + level * 0x1000 + (uint32_t)index * p->entry_bytes;
}

static void put_entry(struct fixture *f, const struct paging *p, unsigned level, uint64_t va,
                      uint64_t entry)
{
    if (p->entry_bytes == 4)
        put32(f, entry_at(p, level, va), (uint32_t)entry);
    else
        put64(f, entry_at(p, level, va), entry);
}

static uint64_t get_entry(struct fixture *f, const struct paging *p, unsigned level, uint64_t va)
{
    uint32_t at = entry_at(p, level, va);
    return p->entry_bytes == 4 ? peek32(f, at) : peek64(f, at);
}

/* Maps the page of `va` to `frame` (for a large page: the one around it), with
 * `upper` in the entry above the leaf and everything allowed above that. */
static void map(struct fixture *f, const struct paging *p, uint64_t va, uint64_t frame,
                uint64_t upper, uint64_t leaf)
{
    for (unsigned i = 0; i < p->leaf; i++) {
        uint64_t flags = i == p->leaf - 1 ? upper : P | W | U;
        if (p->pdpte && i == 0)
            flags &= P;
        put_entry(f, p, i, va, (TABLES + (i + 1) * 0x1000) | flags);
    }
    uint64_t size = 1ull << p->shift[p->leaf];
    if (p->leaf < p->levels - 1)
        leaf |= PS;
    put_entry(f, p, p->leaf, va, (frame & ~(size - 1)) | leaf);
    f->cpu.pdpte_valid = false;
    x86_tlb_flush(&f->cpu, true);
}

static void enter(struct fixture *f, const struct paging *p)
{
    if (p->lma)
        mode_long(f, CODE64, DATA0);
    else
        mode_protected(f, CODE0, DATA0);
    memset(f->ram + TABLES, 0, 4 * 0x1000);
    f->cpu.s.cr0 |= X86_CR0_PG | X86_CR0_WP;
    f->cpu.s.cr4 = p->cr4;
    f->cpu.s.cr3 = TABLES;
    f->cpu.s.msr.efer |= X86_EFER_NXE;
    x86_cpu_state_loaded(&f->cpu);
}

static void set_cpl(struct fixture *f, unsigned ring)
{
    struct x86_segment *ss = &f->cpu.s.seg[X86_SS];
    ss->attr = (ss->attr & ~(uint32_t)X86_ATTR_DPL) | ring << X86_ATTR_DPL_SHIFT;
    x86_mode_update(&f->cpu);
}

static int try(struct fixture *f, enum x86_access access, uint64_t va)
{
    struct x86_cpu *cpu = &f->cpu;
    const uint8_t *host;
    if (setjmp(cpu->unwind))
        return cpu->pending.vector;
    switch (access) {
    case X86_READ: assert_int_equal(x86_read(cpu, gva(va), 4), 0x12345678); break;
    case X86_WRITE: x86_write(cpu, gva(va), 4, 0x12345678); break;
    case X86_EXEC:
        assert_int_equal(x86_fetch_page(cpu, gva(va), &host).v, FRAME);
        assert_ptr_equal(host, f->ram + FRAME);
        break;
    }
    return STEP_OK;
}

/* ---- the matrix ------------------------------------------------------------------- */

struct conditions {
    bool user, wp, nxe, smep, smap, ac;
    enum x86_access access;
    uint64_t upper, leaf;
};

/* The error code, or -1 when the access is allowed. */
static int expected(const struct paging *p, const struct conditions *c)
{
    bool wide = p->entry_bytes == 8;
    bool upper_rights = p->leaf > 0 && !(p->pdpte && p->leaf == 1);
    uint64_t upper = upper_rights ? c->upper : (c->upper & P) | W | U;
    uint64_t both = (p->leaf ? upper : P | W | U) & c->leaf;
    bool nx = wide && ((c->leaf & NX) || (upper_rights && c->upper & NX));
    int code = (c->access == X86_WRITE ? 2 : 0) | (c->user ? 4 : 0);
    if (c->access == X86_EXEC && ((wide && c->nxe) || c->smep))
        code |= 16;

    if (p->leaf && !(c->upper & P))
        return code;
    if (upper_rights && wide && c->upper & NX && !c->nxe)
        return code | 1 | 8;
    if (!(c->leaf & P))
        return code;
    if (wide && c->leaf & NX && !c->nxe)
        return code | 1 | 8;

    bool user_page = both & U, writable = both & W, ok;
    if (c->user)
        ok = user_page && (c->access != X86_WRITE || writable) &&
             (c->access != X86_EXEC || !nx);
    else if (c->access == X86_EXEC)
        ok = !nx && !(c->smep && user_page);
    else
        ok = !(c->smap && user_page && !c->ac) &&
             (c->access == X86_READ || writable || !c->wp);
    return ok ? -1 : code | 1;
}

static void check_case(struct fixture *f, const struct paging *p, const struct conditions *c)
{
    map(f, p, p->va, FRAME, c->upper, c->leaf);
    uint64_t before = get_entry(f, p, p->leaf, p->va);
    int want = expected(p, c), got = try(f, c->access, p->va);
    uint64_t after = get_entry(f, p, p->leaf, p->va);
    int code = got == STEP_OK ? -1 : (int)f->cpu.pending.error;
    uint64_t set = want >= 0 ? 0 : c->access == X86_WRITE ? A | D : A;
    if (code == want && (got == STEP_OK || got == X86_PF) && after == (before | set) &&
        (want < 0 || f->cpu.pending.cr2 == p->va))
        return;
    fail_msg("%s: upper %llx leaf %llx access %d user %d wp %d nxe %d smep %d smap %d ac %d: "
             "error %d, want %d; entry %llx", p->name, (unsigned long long)c->upper,
             (unsigned long long)c->leaf, c->access, c->user, c->wp, c->nxe, c->smep, c->smap,
             c->ac, code, want, (unsigned long long)after);
}

static uint64_t rights(unsigned n)
{
    return (n & 1 ? P : 0) | (n & 2 ? W : 0) | (n & 4 ? U : 0) | (n & 8 ? NX : 0);
}

static void rights_matrix(void **state)
{
    struct fixture *f = *state;
    struct x86_state *s = &f->cpu.s;
    for (const struct paging *p = pagings; p < pagings + ARRAY_SIZE(pagings); p++) {
        enter(f, p);
        put32(f, FRAME, 0x12345678);
        for (unsigned env = 0; env < 64; env++) {
            struct conditions c = {env & 1, env & 2, env & 4, env & 8, env & 16, env & 32};
            s->cr0 = c.wp ? s->cr0 | X86_CR0_WP : s->cr0 & ~(uint64_t)X86_CR0_WP;
            s->cr4 = p->cr4 | (c.smep ? X86_CR4_SMEP : 0) | (c.smap ? X86_CR4_SMAP : 0);
            s->msr.efer = c.nxe ? s->msr.efer | X86_EFER_NXE
                                : s->msr.efer & ~(uint64_t)X86_EFER_NXE;
            s->rflags = X86_FLAG_1 | (c.ac ? X86_FLAG_AC : 0);
            set_cpl(f, c.user ? 3 : 0);
            for (unsigned n = 0; n < 16 * 16 * 3; n++) {
                c.access = (enum x86_access)(n % 3);
                c.upper = rights(n / 3 % 16);
                c.leaf = rights(n / 48);
                check_case(f, p, &c);
            }
        }
    }
}

/* ---- reserved bits ------------------------------------------------------------------ */

/* Bits that fault in the leaf and in the entry above it; phys_bits is 40. */
static const struct { uint64_t leaf, upper; } reserved_bits[ARRAY_SIZE(pagings)] = {
    {0, 0},
    {1 << 21, 0},
    {0x7fffff0000000000, 0x7fffff0000000000},
    {0x7fffff00001fe000, 0},
    {0x000fff0000000000, 0x000fff0000000000},
    {0x000fff00001fe000, 0x000fff0000000000 | G},
    {0x000fff003fffe000, 0x000fff0000000000 | PS | G},
};

static void reserved_bits_fault(void **state)
{
    struct fixture *f = *state;
    for (unsigned m = 0; m < ARRAY_SIZE(pagings); m++) {
        const struct paging *p = &pagings[m];
        unsigned width = p->entry_bytes * 8;
        bool upper_rights = p->leaf > 0 && !(p->pdpte && p->leaf == 1);
        enter(f, p);
        put32(f, FRAME, 0x12345678);
        for (unsigned bit = 12; bit < width - (width == 64); bit++) {
            uint64_t one = 1ull << bit;
            if (!(reserved_bits[m].leaf & one))
                continue;
            map(f, p, p->va, FRAME, P | W | U, P | W | U | one);
            assert_int_equal(try(f, X86_READ, p->va), X86_PF);
            assert_int_equal(f->cpu.pending.error, 1 | 8);
        }
        for (unsigned bit = 7; upper_rights && bit < width - (width == 64); bit++) {
            uint64_t one = 1ull << bit;
            if (!(reserved_bits[m].upper & one))
                continue;
            map(f, p, p->va, FRAME, P | W | U | one, P | W | U);
            assert_int_equal(try(f, X86_READ, p->va), X86_PF);
            assert_int_equal(f->cpu.pending.error, 1 | 8);
        }
        /* Nothing else does: available bits, PCD, PWT, G, PAT. */
        for (unsigned bit = 3; bit < 12; bit++)
            if (bit != 7) {
                map(f, p, p->va, FRAME, P | W | U, P | W | U | 1ull << bit);
                assert_int_equal(try(f, X86_READ, p->va), STEP_OK);
            }
    }
}

static void gigabyte_pages_are_optional(void **state)
{
    struct fixture *f = *state;
    const struct paging *p = &pagings[6];
    enter(f, p);
    f->model.features.w[X86_FEATURE_PDPE1GB / 64] &= ~(1ull << X86_FEATURE_PDPE1GB % 64);
    map(f, p, p->va, FRAME, P | W | U, P | W | U);
    assert_int_equal(try(f, X86_READ, p->va), X86_PF);
    assert_int_equal(f->cpu.pending.error, 1 | 8);
}

static void pse36_reaches_above_4g(void **state)
{
    struct fixture *f = *state;
    struct translation_of { uint64_t entry, phys; } cases[] = {
        {0x00400000 | 0x1 << 13, 0x100400000}, {0x00c00000 | 0x80 << 13, 0x8000c00000},
    };
    enter(f, &pagings[1]);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const uint8_t *host;
        put_entry(f, &pagings[1], 0, pagings[1].va, cases[i].entry | PS | P);
        x86_tlb_flush(&f->cpu, true);
        assert_int_equal(x86_fetch_page(&f->cpu, gva(pagings[1].va), &host).v,
                         cases[i].phys + 0x30000);
        assert_null(host);
    }
}

/* ---- accessed and dirty, crossing, TLB --------------------------------------------- */

static void dirty_only_when_written(void **state)
{
    struct fixture *f = *state;
    for (const struct paging *p = pagings; p < pagings + ARRAY_SIZE(pagings); p++) {
        enter(f, p);
        put32(f, FRAME, 0x12345678);
        map(f, p, p->va, FRAME, P | W | U, P | W | U);
        assert_int_equal(try(f, X86_READ, p->va), STEP_OK);
        assert_int_equal(get_entry(f, p, p->leaf, p->va) & (A | D), A);
        for (unsigned i = p->pdpte ? 1 : 0; i < p->leaf; i++)
            assert_int_equal(get_entry(f, p, i, p->va) & (A | D), A);
        if (p->pdpte)
            assert_int_equal(get_entry(f, p, 0, p->va) & (A | D), 0);
        assert_int_equal(try(f, X86_WRITE, p->va), STEP_OK);
        assert_int_equal(get_entry(f, p, p->leaf, p->va) & (A | D), A | D);
    }
}

static void crossing_checks_both_pages_first(void **state)
{
    struct fixture *f = *state;
    const struct paging *p = &pagings[4];
    enter(f, p);
    uint64_t next = p->va + 0x1000;
    map(f, p, p->va, FRAME, P | W | U, P | W);
    put64(f, FRAME + 0xff8, 0);
    assert_int_equal(try(f, X86_WRITE, p->va + 0xffe), X86_PF);
    assert_int_equal(f->cpu.pending.cr2, next);
    assert_int_equal(f->cpu.pending.error, 2);
    assert_int_equal(peek64(f, FRAME + 0xff8), 0);

    put_entry(f, p, p->leaf, next, (FRAME + 0x4000) | P | W);
    assert_int_equal(try(f, X86_WRITE, p->va + 0xffe), STEP_OK);
    assert_int_equal(peek16(f, FRAME + 0xffe), 0x5678);
    assert_int_equal(peek16(f, FRAME + 0x4000), 0x1234);
    assert_int_equal(try(f, X86_READ, p->va + 0xffe), STEP_OK);
    assert_null(x86_host_ptr(&f->cpu, gva(p->va + 0xffe), 4, X86_WRITE));

    uint8_t block[64], back[64];
    for (unsigned i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 7);
    x86_write_block(&f->cpu, gva(next - 30), block, sizeof block);
    x86_read_block(&f->cpu, gva(next - 30), back, sizeof back);
    assert_memory_equal(block, back, sizeof block);
    assert_memory_equal(f->ram + FRAME + 0x4000, block + 30, 34);
}

static void change_frame(struct fixture *f, const struct paging *p, uint64_t va, uint64_t entry)
{
    put_entry(f, p, p->leaf, va, entry);
}

static uint32_t value_at(struct fixture *f, uint64_t va)
{
    return (uint32_t)x86_read(&f->cpu, gva(va), 4);
}

static void tlb_keeps_until_told(void **state)
{
    struct fixture *f = *state;
    const struct paging *p = &pagings[4];
    enter(f, p);
    f->cpu.s.cr4 |= X86_CR4_PGE;
    put32(f, FRAME, 1);
    put32(f, FRAME + 0x4000, 2);
    uint64_t other = p->va + 0x1000;
    map(f, p, p->va, FRAME, P | W | U, P | W);
    change_frame(f, p, other, FRAME | P | W | G);
    assert_int_equal(value_at(f, p->va), 1);
    assert_int_equal(value_at(f, other), 1);
    change_frame(f, p, p->va, (FRAME + 0x4000) | P | W);
    change_frame(f, p, other, (FRAME + 0x4000) | P | W | G);
    assert_int_equal(value_at(f, p->va), 1);
    x86_cr_write(&f->cpu, 3, TABLES);                 /* drops all but global */
    assert_int_equal(value_at(f, p->va), 2);
    assert_int_equal(value_at(f, other), 1);
    x86_tlb_flush_page(&f->cpu, gva(other));
    assert_int_equal(value_at(f, other), 2);
    change_frame(f, p, other, FRAME | P | W | G);
    x86_cr_write(&f->cpu, 4, f->cpu.s.cr4 & ~(uint64_t)X86_CR4_PGE);
    assert_int_equal(value_at(f, other), 1);
}

static void invlpg_drops_all_of_a_large_page(void **state)
{
    struct fixture *f = *state;
    for (unsigned m = 0; m < ARRAY_SIZE(pagings); m++) {
        const struct paging *p = &pagings[m];
        if (p->leaf == p->levels - 1)
            continue;
        enter(f, p);
        map(f, p, p->va, FRAME, P | W | U, P | W);
        put32(f, FRAME, 1);
        assert_int_equal(value_at(f, p->va), 1);
        put_entry(f, p, p->leaf, p->va, 0);
        x86_tlb_flush_page(&f->cpu, gva(p->va + 0x5000));
        assert_int_equal(try(f, X86_READ, p->va), X86_PF);
    }
}

/* ---- PAE's directory pointers ---------------------------------------------------------- */

static int try_cr_write(struct fixture *f, unsigned cr, uint64_t value)
{
    if (setjmp(f->cpu.unwind))
        return f->cpu.pending.vector;
    x86_cr_write(&f->cpu, cr, value);
    return STEP_OK;
}

static void pdptes_are_registers(void **state)
{
    struct fixture *f = *state;
    const struct paging *p = &pagings[2];
    enter(f, p);
    map(f, p, p->va, FRAME, P | W | U, P | W | U);
    put32(f, FRAME, 0x12345678);
    assert_int_equal(try_cr_write(f, 3, TABLES), STEP_OK);
    put_entry(f, p, 0, p->va, 0);                     /* in memory only */
    x86_tlb_flush(&f->cpu, true);
    assert_int_equal(try(f, X86_READ, p->va), STEP_OK);
    assert_int_equal(try_cr_write(f, 3, TABLES), STEP_OK);
    assert_int_equal(try(f, X86_READ, p->va), X86_PF);

    static const uint64_t bad[] = {1 << 1, 1 << 2, 1 << 5, 1 << 8, 1ull << 40, 1ull << 63};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        put_entry(f, p, 0, p->va, (TABLES + 0x1000) | P | bad[i]);
        f->cpu.s.cr3 = 0x1234000;
        assert_int_equal(try_cr_write(f, 3, TABLES), X86_GP);
        assert_int_equal(f->cpu.s.cr3, 0x1234000);
        put_entry(f, p, 0, p->va, bad[i]);            /* not present: not looked at */
        assert_int_equal(try_cr_write(f, 3, TABLES), STEP_OK);
    }
}

/* ---- the monitor's walk ------------------------------------------------------------------ */

static int read64(void *opaque, gpa_t at, uint64_t *value)
{
    struct fixture *f = opaque;
    if (at.v + 8 > RAM_BYTES)
        return -EFAULT;
    *value = peek64(f, (uint32_t)at.v);
    return 0;
}

static void walk_shows_without_touching(void **state)
{
    struct fixture *f = *state;
    for (const struct paging *p = pagings; p < pagings + ARRAY_SIZE(pagings); p++) {
        struct x86_walk w;
        enter(f, p);
        map(f, p, p->va, FRAME, P | W | U, P | U | (p->entry_bytes == 8 ? NX : 0));
        x86_walk(&f->cpu.s, gva(p->va + 0x123), read64, f, &w);
        assert_true(w.mapped);
        assert_int_equal(w.phys.v, FRAME + 0x123);
        assert_int_equal(w.steps, p->leaf + 1);
        assert_int_equal(w.page_bytes, 1ull << p->shift[p->leaf]);
        assert_true(w.user);
        assert_false(w.writable);
        assert_int_equal(w.executable, p->entry_bytes == 4);
        assert_int_equal(w.step[p->leaf].entry.v, entry_at(p, p->leaf, p->va));
        assert_int_equal(get_entry(f, p, p->leaf, p->va) & A, 0);
        put_entry(f, p, p->leaf, p->va, 0);
        x86_walk(&f->cpu.s, gva(p->va), read64, f, &w);
        assert_false(w.mapped);
        f->cpu.s.cr3 = 1ull << 32;                    /* tables out of RAM */
        if (p->lma) {
            x86_walk(&f->cpu.s, gva(p->va), read64, f, &w);
            assert_false(w.mapped);
        }
    }
}

/* ---- accesses that are not the program's ---------------------------------------------------- */

static void implicit_accesses_obey_smap_despite_ac(void **state)
{
    struct fixture *f = *state;
    const struct paging *p = &pagings[4];
    enter(f, p);
    put32(f, FRAME, 0x12345678);
    map(f, p, p->va, FRAME, P | W | U, P | W | U);
    f->cpu.s.cr4 |= X86_CR4_SMAP;
    f->cpu.s.rflags |= X86_FLAG_AC;
    x86_mode_update(&f->cpu);
    assert_int_equal(try(f, X86_READ, p->va), STEP_OK);
    if (!setjmp(f->cpu.unwind)) {
        x86_read_sys(&f->cpu, gva(p->va), 8);
        fail_msg("a user page was read as a system table");
    }
    assert_int_equal(f->cpu.pending.error, 1);
    /* As user, whatever the current privilege. */
    if (setjmp(f->cpu.unwind))
        fail_msg("the page is the user's");
    assert_int_equal(x86_read_as(&f->cpu, true, gva(p->va), 4), 0x12345678);
}

/* Key 5 of a user page by PKRU, of a supervisor page by IA32_PKRS: bit 10 forbids
 * access, bit 11 writing, the latter to the kernel only with CR0.WP. */
static void protection_keys(void **state)
{
    struct fixture *f = *state;
    const struct paging *p = &pagings[4];

    enter(f, p);
    put32(f, FRAME, 0x12345678);
    for (unsigned i = 0; i < 64; i++) {
        bool user_page = i & 1, user = i & 2, wp = i & 4, on = i & 8;
        unsigned rights = i >> 4;
        uint64_t leaf = P | W | (user_page ? U : 0) | 5ull << 59;

        if (user && !user_page)
            continue;
        f->cpu.s.cr0 = (f->cpu.s.cr0 & ~(uint64_t)X86_CR0_WP) | (wp ? X86_CR0_WP : 0);
        f->cpu.s.cr4 = p->cr4 | (on ? X86_CR4_PKE | X86_CR4_PKS : 0);
        /* What is not in charge forbids everything. */
        f->cpu.s.fpu.pkru = user_page ? rights << 10 : UINT32_MAX;
        f->cpu.s.msr.pkrs = user_page ? UINT32_MAX : rights << 10;
        set_cpl(f, user ? 3 : 0);
        for (unsigned access = X86_READ; access <= X86_EXEC; access++) {
            bool denied = on && access != X86_EXEC &&
                          (rights & 1 || (access == X86_WRITE && rights & 2 && (user || wp)));
            int got;

            map(f, p, p->va, FRAME, P | W | U, leaf);
            got = try(f, access, p->va);
            assert_int_equal(got, denied ? X86_PF : STEP_OK);
            if (denied)
                assert_int_equal(f->cpu.pending.error, X86_PF_P | X86_PF_PK |
                                 (access == X86_WRITE ? X86_PF_W : 0) | (user ? X86_PF_U : 0));
        }
    }
    set_cpl(f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rights_matrix), T(reserved_bits_fault), T(gigabyte_pages_are_optional),
        T(pse36_reaches_above_4g), T(dirty_only_when_written),
        T(crossing_checks_both_pages_first), T(tlb_keeps_until_told),
        T(invlpg_drops_all_of_a_large_page), T(pdptes_are_registers),
        T(walk_shows_without_touching), T(implicit_accesses_obey_smap_despite_ac),
        T(protection_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
