/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare.c - what has to be equal, and how a difference is shown.
 *
 * Not compared: RF (set in the image of a fault, and a matter of how it was
 * delivered), CR2 and the error code where the exception has none, upper
 * halves of registers outside 64-bit mode, and the x87 pointers unless an
 * exception is pending: AMD's XSAVE, through which the kernel shows them,
 * leaves them out otherwise. For addresses that cannot be a program's, Linux always
 * shows the protection bit. What FNSTENV stored is memory and is compared.
 */
#include "isa.h"

#include <stdio.h>
#include <string.h>

enum { FSW_ES = 0x80 };
/* From here on things of this process lie, the engine's tables included, where
 * the guest has nothing: present or not is not compared. */
#define HOST_MAPPINGS (1ull << 40)

static int insn_at_end(const struct isa_case *c, const struct isa_result *r)
{
    uint64_t at = r->out.rip - c->in.rip - (r->vector == X86_BP);

    for (unsigned i = 0; i <= c->insns; i++) {
        if (c->insn[i].at == at)
            return (int)i;
    }
    return -1;
}

unsigned isa_executed(const struct isa_case *c, const struct isa_result *r)
{
    int i = insn_at_end(c, r);

    return i < 0 ? 1 : (unsigned)i;
}

static uint64_t flags_mask(const struct isa_case *c, const struct isa_compare_options *o,
                           const struct isa_result *r)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_IF | X86_FLAG_DF | X86_FLAG_IOPL |
                    X86_FLAG_NT | X86_FLAG_VM | X86_FLAG_AC | X86_FLAG_ID;
    int i = insn_at_end(c, r);

    if (!o->undefined)
        mask &= ~(uint64_t)c->insn[i < 0 ? (int)c->insns : i].undefined;
    return mask;
}

/* One thing that may differ; the visitor decides what to do about it. */
struct field {
    const char *name;
    unsigned index;
    const void *a, *b;
    unsigned bytes;
};
typedef void visit_fn(void *opaque, const struct field *f);

static void visit(visit_fn *fn, void *opaque, const char *name, unsigned index, const void *a,
                  const void *b, unsigned bytes)
{
    struct field f = {name, index, a, b, bytes};

    if (memcmp(a, b, bytes))
        fn(opaque, &f);
}

static void visit_fpu(const struct x86_fpu *a, const struct x86_fpu *b, visit_fn *fn, void *op)
{
    for (unsigned i = 0; i < 32; i++)
        visit(fn, op, "vec", i, a->vec[i], b->vec[i], 64);
    for (unsigned i = 0; i < 8; i++)
        visit(fn, op, "k", i, &a->k[i], &b->k[i], 8);
    for (unsigned i = 0; i < 8; i++)
        visit(fn, op, "st", i, a->st[i], b->st[i], 10);
    visit(fn, op, "fcw", 0, &a->fcw, &b->fcw, 2);
    visit(fn, op, "fsw", 0, &a->fsw, &b->fsw, 2);
    visit(fn, op, "ftw", 0, &a->ftw, &b->ftw, 1);
    visit(fn, op, "mxcsr", 0, &a->mxcsr, &b->mxcsr, 4);
    if (a->fsw & b->fsw & FSW_ES) {
        visit(fn, op, "fop", 0, &a->fop, &b->fop, 2);
        visit(fn, op, "fip", 0, &a->fip, &b->fip, 8);
        visit(fn, op, "fdp", 0, &a->fdp, &b->fdp, 8);
    }
}

static bool has_error(unsigned vector)
{
    return vector == X86_DF || (vector >= X86_TS && vector <= X86_PF) || vector == X86_AC;
}

static void visit_all(const struct isa_case *c, const struct isa_compare_options *o,
                      const struct isa_result *a, const struct isa_result *b, visit_fn *fn,
                      void *op)
{
    unsigned width = c->mode == ISA_MODE_64 ? 8 : 4;
    unsigned gprs = c->mode == ISA_MODE_64 ? 16 : 8;
    uint64_t mask = flags_mask(c, o, a);
    uint64_t fa = a->out.rflags & mask, fb = b->out.rflags & mask;
    uint32_t ea = a->error, eb = b->error;

    visit(fn, op, "vector", 0, &a->vector, &b->vector, 1);
    if (a->vector == X86_PF && a->cr2 >= HOST_MAPPINGS)
        eb |= ea & 1;
    if (has_error(a->vector))
        visit(fn, op, "error", 0, &ea, &eb, 4);
    if (a->vector == X86_PF)
        visit(fn, op, "cr2", 0, &a->cr2, &b->cr2, 8);
    visit(fn, op, "rip", 0, &a->out.rip, &b->out.rip, 8);
    visit(fn, op, "rflags", 0, &fa, &fb, 8);
    for (unsigned i = 0; i < gprs; i++)
        visit(fn, op, "gpr", i, &a->out.gpr[i], &b->out.gpr[i], width);
    visit_fpu(&a->out.fpu, &b->out.fpu, fn, op);
}

static void note(void *opaque, const struct field *f)
{
    *(bool *)opaque = false;
}

bool isa_equal(const struct isa_case *c, const struct isa_compare_options *o,
               const struct isa_result *a, const struct isa_result *b, const uint8_t *image_a,
               const uint8_t *image_b)
{
    bool equal = !a->failed[0] && !b->failed[0] && !memcmp(image_a, image_b, ISA_IMAGE_BYTES);

    if (equal)
        visit_all(c, o, a, b, note, &equal);
    return equal;
}

/* ---- showing ----------------------------------------------------------- */

static void print_value(const void *p, unsigned bytes)
{
    const uint8_t *b = p;

    for (unsigned i = bytes; i-- > 0;)
        printf("%02x%s", b[i], i && i % 8 == 0 ? "_" : "");
}

struct shower {
    const char *a, *b;
    const struct isa_case *c;
};

static const void *before(const struct isa_case *c, const struct field *f)
{
    const struct isa_registers *in = &c->in;

    if (!strcmp(f->name, "gpr"))
        return &in->gpr[f->index];
    if (!strcmp(f->name, "vec"))
        return in->fpu.vec[f->index];
    if (!strcmp(f->name, "st"))
        return in->fpu.st[f->index];
    if (!strcmp(f->name, "k"))
        return &in->fpu.k[f->index];
    if (!strcmp(f->name, "rflags"))
        return &in->rflags;
    if (!strcmp(f->name, "fsw"))
        return &in->fpu.fsw;
    if (!strcmp(f->name, "mxcsr"))
        return &in->fpu.mxcsr;
    return NULL;
}

static void show(void *opaque, const struct field *f)
{
    const struct shower *s = opaque;
    const void *in = before(s->c, f);
    static const char *const gpr[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"};
    bool numbered = !strcmp(f->name, "vec") || !strcmp(f->name, "st") || !strcmp(f->name, "k");
    char name[32];

    if (!strcmp(f->name, "gpr") && f->index < 8)
        snprintf(name, sizeof name, "%s", gpr[f->index]);
    else if (!strcmp(f->name, "gpr"))
        snprintf(name, sizeof name, "r%u", f->index);
    else if (numbered)
        snprintf(name, sizeof name, "%s%u", f->name, f->index);
    else
        snprintf(name, sizeof name, "%s", f->name);
    if (in) {
        printf("  %-7s %-10s ", name, "before");
        print_value(in, f->bytes);
        printf("\n");
    }
    printf("  %-7s %-10s ", name, s->a);
    print_value(f->a, f->bytes);
    printf("\n  %-7s %-10s ", name, s->b);
    print_value(f->b, f->bytes);
    printf("\n");
}

static void show_memory(const struct isa_runner *ra, const struct isa_runner *rb)
{
    unsigned shown = 0;

    for (unsigned i = 0; i < ISA_REGIONS; i++) {
        const struct isa_region *g = &isa_region[i];

        for (unsigned at = 0; at < g->pages * PAGE_SIZE && shown < 8; at += 16) {
            const uint8_t *a = ra->image + g->page * PAGE_SIZE + at;
            const uint8_t *b = rb->image + g->page * PAGE_SIZE + at;

            if (!memcmp(a, b, 16))
                continue;
            shown++;
            for (unsigned k = 0; k < 2; k++) {
                printf("  %#llx %-10s", (unsigned long long)(g->base + at),
                       k ? rb->name : ra->name);
                for (unsigned j = 0; j < 16; j++)
                    printf(" %02x", (k ? b : a)[j]);
                printf("\n");
            }
        }
    }
}

void isa_print_case(const struct isa_case *c)
{
    uint64_t base = c->mode == ISA_MODE_16 ? ISA_CODE_BASE : 0;

    printf("%s, mxcsr %#x, fcw %#x, fsw %#x, ftw %#x, rflags %#llx\n", c->name, c->in.fpu.mxcsr,
           c->in.fpu.fcw, c->in.fpu.fsw, c->in.fpu.ftw, (unsigned long long)c->in.rflags);
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        printf("%s%016llx%s", i % 8 ? " " : "  ", (unsigned long long)c->in.gpr[i],
               i % 8 == 7 ? "\n" : "");
    for (unsigned i = 0; i <= c->insns; i++) {
        const struct isa_insn *n = &c->insn[i];
        char text[96], bytes[3 * X86_INSN_MAX_BYTES + 1] = "";

        if (n->length == 1 && c->code[n->at] == 0x90)
            continue;                                      /* minimised away */
        x86_disassemble(c->code + n->at, n->length, isa_mode_bits(c->mode),
                        base + c->in.rip + n->at, text, sizeof text);
        for (unsigned k = 0; k < n->length; k++)
            snprintf(bytes + 2 * k, 3, "%02x", c->code[n->at + k]);
        printf("  %08llx  %-30s %s\n", (unsigned long long)(c->in.rip + n->at), bytes, text);
    }
}

void isa_print_difference(const struct isa_case *c, const struct isa_compare_options *o,
                          const struct isa_runner *ra, const struct isa_result *a,
                          const struct isa_runner *rb, const struct isa_result *b)
{
    struct shower s = {ra->name, rb->name, c};

    printf("  ended with exception %u at %#llx on the %s", a->vector,
           (unsigned long long)a->out.rip, ra->name);
    if (a->vector == X86_PF)
        printf(" (address %#llx, error %#x)", (unsigned long long)a->cr2, a->error);
    printf("\n");
    if (a->failed[0])
        printf("  %s: %s\n", ra->name, a->failed);
    if (b->failed[0]) {
        printf("  %s: %s\n", rb->name, b->failed);
        return;
    }
    visit_all(c, o, a, b, show, &s);
    show_memory(ra, rb);
}
