/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_string.c - MOVS, CMPS, STOS, LODS, SCAS, with and without REP.
 *
 * Registers move after every element, so that a fault leaves the instruction
 * restartable (SDM vol. 2, REP). Long runs go a page at a time: what lies in
 * one page of RAM on both sides, upwards, in segments without limits, is done
 * on host pointers; everything else element by element. A call does at most
 * X86_REP_CHUNK elements, a single one when TF or a breakpoint may trap.
 */
#include "x86/exec_ops.h"

#include "base/byteorder.h"

struct run {
    struct x86_cpu *cpu;
    const struct x86_insn *insn;
    unsigned size;               /* of an element */
    uint64_t mask;               /* of the address size */
    uint64_t left;               /* elements this call may still do */
    bool repeats;
};

static uint64_t masked(const struct run *r, enum x86_gpr reg)
{
    return r->cpu->s.gpr[reg] & r->mask;
}

static void set_masked(struct run *r, enum x86_gpr reg, uint64_t v)
{
    x86_gpr_write(r->cpu, reg, r->insn->address_bits / 8, v);
}

/* After `n` elements: pointers and count. */
static void advance(struct run *r, uint64_t n, bool source, bool destination)
{
    uint64_t by = r->cpu->s.rflags & X86_FLAG_DF ? -(n * r->size) : n * r->size;

    if (source)
        set_masked(r, X86_RSI, masked(r, X86_RSI) + by);
    if (destination)
        set_masked(r, X86_RDI, masked(r, X86_RDI) + by);
    if (r->repeats)
        set_masked(r, X86_RCX, masked(r, X86_RCX) - n);
    r->left -= n;
}

static gva_t source(struct run *r, unsigned bytes)
{
    return x86_linear(r->cpu, (enum x86_seg)r->insn->mem.seg, masked(r, X86_RSI), bytes, X86_READ);
}

static gva_t destination(struct run *r, unsigned bytes, enum x86_access access)
{
    return x86_linear(r->cpu, X86_ES, masked(r, X86_RDI), bytes, access);
}

/* False when the count is zero: then nothing happens at all. */
static bool start(struct run *r, struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bool traps = (cpu->s.rflags & X86_FLAG_TF) || (cpu->s.dr7 & 0xff);

    *r = (struct run){.cpu = cpu, .insn = insn, .size = insn->mem.size,
                      .mask = x86_size_mask(insn->address_bits / 8),
                      .left = 1, .repeats = insn->rep || insn->repne};
    if (!r->repeats)
        return true;
    /* Downwards goes an element at a time: interrupts are not to wait for so many. */
    r->left = min_u64(masked(r, X86_RCX), traps                              ? 1
                                          : cpu->s.rflags & X86_FLAG_DF ? X86_REP_CHUNK / 8
                                                                        : X86_REP_CHUNK);
    return r->left != 0;
}

/* Moves on, unless iterations are left for another call. */
static void finish(struct run *r)
{
    if (!r->repeats || !masked(r, X86_RCX))
        x86_next(r->cpu, r->insn);
}

/* ---- runs within a page ------------------------------------------------ */

static bool no_limits(const struct run *r, enum x86_seg seg)
{
    return r->cpu->mode.code_bits == 64 ||
           (r->cpu->mode.flat_data && (seg == X86_DS || seg == X86_ES || seg == X86_SS));
}

/* Elements from `reg` upwards that lie in one page and do not wrap. Segment
 * bases need not be page-aligned, hence the linear address. */
static uint64_t in_page(const struct run *r, enum x86_gpr reg, enum x86_seg seg)
{
    uint64_t offset = masked(r, reg);
    uint64_t bytes = PAGE_SIZE - ((offset + r->cpu->s.seg[seg].base) & PAGE_OFFSET_MASK);

    return min_u64(bytes, r->mask - offset) / r->size;
}

/* How many elements the fast way may do now; 0 = take the other. */
static uint64_t run_length(const struct run *r, bool has_source, bool has_destination)
{
    enum x86_seg seg = (enum x86_seg)r->insn->mem.seg;
    uint64_t n = r->left;

    if (n < 2 || (r->cpu->s.rflags & X86_FLAG_DF) || r->cpu->mode.align_check)
        return 0;
    if (has_source)
        n = no_limits(r, seg) ? min_u64(n, in_page(r, X86_RSI, seg)) : 0;
    if (has_destination)
        n = no_limits(r, X86_ES) ? min_u64(n, in_page(r, X86_RDI, X86_ES)) : 0;
    return n;
}

static uint64_t element(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return *p;
    case 2: return get_le16(p);
    case 4: return get_le32(p);
    default: return get_le64(p);
    }
}

static void set_element(uint8_t *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: put_le16(p, (uint16_t)v); break;
    case 4: put_le32(p, (uint32_t)v); break;
    default: put_le64(p, v); break;
    }
}

/* ---- MOVS -------------------------------------------------------------- */

/* A destination shortly above the source repeats what was just copied. */
static void copy_run(uint8_t *to, const uint8_t *from, uint64_t n, unsigned size)
{
    if (to <= from || to >= from + n * size) {
        memmove(to, from, n * size);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        set_element(to + i * size, size, element(from + i * size, size));
}

static uint64_t move_run(struct run *r)
{
    uint64_t n = run_length(r, true, true);
    const uint8_t *from;
    uint8_t *to;

    if (!n)
        return 0;
    from = x86_host_ptr(r->cpu, source(r, r->size), (unsigned)n * r->size, X86_READ);
    to = from ? x86_host_ptr(r->cpu, destination(r, r->size, X86_WRITE), (unsigned)n * r->size,
                             X86_WRITE) : NULL;
    if (!to)
        return 0;
    copy_run(to, from, n, r->size);
    return n;
}

void x86_exec_MOVSB(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct run r;

    if (!start(&r, cpu, insn)) {
        x86_next(cpu, insn);
        return;
    }
    while (r.left) {
        uint64_t n = move_run(&r);

        if (!n) {
            uint64_t v = x86_read(cpu, source(&r, r.size), r.size);

            x86_write(cpu, destination(&r, r.size, X86_WRITE), r.size, v);
            n = 1;
        }
        advance(&r, n, true, true);
    }
    finish(&r);
}

/* ---- STOS, LODS -------------------------------------------------------- */

static uint64_t store_run(struct run *r, uint64_t v)
{
    uint64_t n = run_length(r, false, true);
    uint8_t *to;

    if (!n)
        return 0;
    to = x86_host_ptr(r->cpu, destination(r, r->size, X86_WRITE), (unsigned)n * r->size,
                      X86_WRITE);
    if (!to)
        return 0;
    if (r->size == 1 || !v) {
        memset(to, (int)v, n * r->size);
        return n;
    }
    for (uint64_t i = 0; i < n; i++)
        set_element(to + i * r->size, r->size, v);
    return n;
}

void x86_exec_STOSB(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct run r;

    if (!start(&r, cpu, insn)) {
        x86_next(cpu, insn);
        return;
    }
    while (r.left) {
        uint64_t v = x86_gpr_read(cpu, X86_RAX, r.size), n = store_run(&r, v);

        if (!n) {
            x86_write(cpu, destination(&r, r.size, X86_WRITE), r.size, v);
            n = 1;
        }
        advance(&r, n, false, true);
    }
    finish(&r);
}

void x86_exec_LODSB(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct run r;

    if (!start(&r, cpu, insn)) {
        x86_next(cpu, insn);
        return;
    }
    while (r.left) {
        x86_gpr_write(cpu, X86_RAX, r.size, x86_read(cpu, source(&r, r.size), r.size));
        advance(&r, 1, true, false);
    }
    finish(&r);
}

/* ---- CMPS, SCAS --------------------------------------------------------
 *
 * When both operands of CMPS fault, the fault is the one at ES:rDI, but the
 * other of REPE CMPSB: so it is on AMD's processors, and the architecture does
 * not say. */

/* Sets the flags of the last comparison; true when REPE/REPNE ends on it. */
static bool compared(struct run *r, uint64_t a, uint64_t b)
{
    uint16_t hf = 0;

    x86_alu_sub(a, b, r->size, &hf);
    x86_set_hf(r->cpu, hf);
    return r->repeats && (a == b) != r->insn->rep;
}

/* Of `n` pairs, those up to and including the one that ends the repetition.
 * A step of 0 keeps comparing with the same element (SCAS). */
static uint64_t compare_run(const struct run *r, const uint8_t *a, unsigned step,
                            const uint8_t *b, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        bool same = element(a + i * step, r->size) == element(b + i * r->size, r->size);

        if (same != r->insn->rep)
            return i + 1;
    }
    return n;
}

void x86_exec_CMPSB(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct run r;
    bool stop = false, source_first;

    if (!start(&r, cpu, insn)) {
        x86_next(cpu, insn);
        return;
    }
    source_first = r.size == 1 && insn->rep;
    while (r.left && !stop) {
        uint64_t n = run_length(&r, true, true);
        const uint8_t *a = NULL, *b = NULL;

        if (source_first)
            x86_probe(cpu, source(&r, r.size), r.size, X86_READ);
        if (n) {
            b = x86_host_ptr(cpu, destination(&r, r.size, X86_READ), (unsigned)n * r.size,
                             X86_READ);
            a = x86_host_ptr(cpu, source(&r, r.size), (unsigned)n * r.size, X86_READ);
        }
        if (a && b) {
            n = compare_run(&r, a, r.size, b, n);
            stop = compared(&r, element(a + (n - 1) * r.size, r.size),
                            element(b + (n - 1) * r.size, r.size));
        } else {
            uint64_t v = x86_read(cpu, destination(&r, r.size, X86_READ), r.size);

            n = 1;
            stop = compared(&r, x86_read(cpu, source(&r, r.size), r.size), v);
        }
        advance(&r, n, true, true);
    }
    if (stop)
        x86_next(cpu, insn);
    else
        finish(&r);
}

void x86_exec_SCASB(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t v = x86_gpr_read(cpu, X86_RAX, insn->mem.size);
    struct run r;
    bool stop = false;

    if (!start(&r, cpu, insn)) {
        x86_next(cpu, insn);
        return;
    }
    while (r.left && !stop) {
        uint64_t n = run_length(&r, false, true);
        const uint8_t *b = NULL;

        if (n)
            b = x86_host_ptr(cpu, destination(&r, r.size, X86_READ), (unsigned)n * r.size,
                             X86_READ);
        if (b) {
            n = compare_run(&r, (const uint8_t *)&v, 0, b, n);
            stop = compared(&r, v, element(b + (n - 1) * r.size, r.size));
        } else {
            n = 1;
            stop = compared(&r, v, x86_read(cpu, destination(&r, r.size, X86_READ), r.size));
        }
        advance(&r, n, false, true);
    }
    if (stop)
        x86_next(cpu, insn);
    else
        finish(&r);
}
