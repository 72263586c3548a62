/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * build.c - from bytes to a block.
 *
 * A block stays within one page, so that one page's write protection covers
 * it. Only an instruction that itself crosses into the next page makes a block
 * (of its own) with two. What cannot be decoded is an instruction too: one that
 * raises #UD (or #GP when longer than 15 bytes), and like any other it takes
 * effect only when it is reached.
 */
#include "engine/interp/interp.h"

#include <errno.h>
#include <string.h>
#include "base/bug.h"

static void exec_undefined(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_ud(cpu);
}

static void exec_too_long(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_gp0(cpu);
}

/* Bytes of code from s.rip to the end of the CS limit. */
static uint64_t limit_bytes(const struct x86_cpu *cpu)
{
    return cpu->mode.code_bits == 64 ? UINT64_MAX
                                     : cpu->s.seg[X86_CS].limit - cpu->s.rip + 1;
}

/* Decodes one instruction; -EAGAIN when it needs more than `len` bytes. What
 * is no instruction becomes one of X86_CLASS_INVALID; *too_long tells which. */
static int decode(const struct interp *v, const uint8_t *bytes, size_t len,
                  struct x86_insn *insn, bool *too_long)
{
    int r = x86_decode(bytes, len, v->cpu.mode.code_bits, insn);

    *too_long = r == -E2BIG;
    if (r == 0) {
        if (insn->isa & ~v->vm->features) {
            insn->class = X86_CLASS_INVALID;
            insn->ends_block = true;
        }
        return 0;
    }
    if (r == -EAGAIN)
        return r;
    memset(insn, 0, sizeof *insn);
    insn->class = X86_CLASS_INVALID;
    insn->code_bits = v->cpu.mode.code_bits;
    /* A store to any byte that was looked at may make it valid. */
    insn->length = (uint8_t)min_u64(len, X86_INSN_MAX_BYTES);
    memcpy(insn->bytes, bytes, insn->length);
    insn->ends_block = true;
    return 0;
}

static void make_op(const struct interp *v, const struct x86_insn *insn, unsigned off,
                    bool too_long, struct op *op)
{
    *op = (struct op){.insn = insn, .off = (uint16_t)off,
                      .next = (uint16_t)(off + insn->length)};
    interp_select(v, insn, op);
    if (insn->class == X86_CLASS_INVALID) {
        op->fn = interp_general;
        op->exec = too_long ? exec_too_long : exec_undefined;
    }
}

static struct block *finish(struct interp *v, struct block *b, const struct fetch *f,
                            unsigned n, unsigned bytes)
{
    b->n = (uint16_t)n;
    b->bytes = (uint16_t)bytes;
    b->phys = f->phys;
    b->mode = v->key & INTERP_MODE_MASK;
    b->op[n] = (struct op){.fn = interp_fall_through, .off = (uint16_t)bytes,
                           .ea_mask = v->cpu.mode.code_bits == 64   ? UINT64_MAX
                                      : v->cpu.mode.code_bits == 32 ? UINT32_MAX
                                                                    : UINT16_MAX};
    return b;
}

/* v->scratch keeps its instruction in v->insn[0]. */
static struct block *single(struct interp *v, const struct fetch *f, bool scratch, uint64_t phys2,
                            bool too_long)
{
    struct block *b = scratch ? v->scratch : interp_block_alloc(v, 1);
    struct x86_insn *insn = &v->insn[0];

    if (!scratch) {
        insn = (struct x86_insn *)b->op[0].insn;
        *insn = v->insn[0];
    }
    b->phys2 = phys2;
    b->link[0].key = b->link[1].key = 0;
    make_op(v, insn, 0, too_long, &b->op[0]);
    return finish(v, b, f, 1, insn->length);
}

/* One instruction, byte by byte: from MMIO, across a page, or up to the CS
 * limit. Raises #GP(0) when the limit cuts it, #PF at the page that is missing. */
static struct block *build_single(struct interp *v, const struct fetch *f, bool scratch)
{
    struct x86_cpu *cpu = &v->cpu;
    uint64_t in_page = PAGE_SIZE - (f->phys & PAGE_OFFSET_MASK), limit = limit_bytes(cpu);
    uint64_t lin = cpu->s.seg[X86_CS].base + cpu->s.rip, phys = f->phys, phys2 = INTERP_NO_PAGE;
    const uint8_t *host = f->host;
    uint8_t bytes[X86_INSN_MAX_BYTES];
    bool too_long, ram = host;

    if (cpu->mode.code_bits == 64)
        lin = cpu->s.rip;
    for (unsigned len = 0;;) {
        if (len == limit)
            x86_gp0(cpu);
        if (len == in_page) {
            uint64_t next = lin + len;

            next = cpu->mode.code_bits == 64 ? next : (uint32_t)next;
            phys2 = phys = x86_fetch_page(cpu, gva(next), &host).v;
            ram &= host != NULL;
        }
        bytes[len] = host ? *host++
                          : (uint8_t)cpu->ops->phys_read(cpu->env, gpa(phys), 1);
        phys++;
        len++;
        if (decode(v, bytes, len, &v->insn[0], &too_long) == 0)
            return single(v, f, scratch || !ram, phys2, too_long);
        BUG_ON(len == sizeof bytes);
    }
}

struct block *interp_build(struct interp *v, const struct fetch *f, unsigned max, bool scratch)
{
    uint64_t room = min_u64(PAGE_SIZE - (f->phys & PAGE_OFFSET_MASK), limit_bytes(&v->cpu));
    unsigned n = 0, pos = 0;
    bool too_long = false;
    struct block *b;

    if (!f->host || scratch)
        return build_single(v, f, scratch);
    while (n < max && pos < room) {
        struct x86_insn *insn = &v->insn[n];

        if (decode(v, f->host + pos, (size_t)(room - pos), insn, &too_long) < 0)
            break;
        n++;
        pos += insn->length;
        if (insn->ends_block)
            break;
    }
    if (!n)
        return build_single(v, f, false);
    b = interp_block_alloc(v, n);
    for (unsigned i = 0, off = 0; i < n; i++) {
        struct x86_insn *insn = (struct x86_insn *)b->op[i].insn;

        *insn = v->insn[i];
        make_op(v, insn, off, too_long && i == n - 1, &b->op[i]);
        off += insn->length;
    }
    return finish(v, b, f, n, pos);
}
