/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text.c - hand-written cases, from the files in cases/.
 *
 *     case shifts by CL           begins a group; the rest of the line is its name
 *     modes 64 32                 of the code that follows; default 64 32 16
 *     rax 0 1 0x80000000          values of a register: every one is tried
 *     rsi edge+0xffc data         region names are addresses; in 16-bit code,
 *                                 offsets in DS (stack: in SS)
 *     rflags 0 0x8d5              IF and bit 1 are always set
 *     mem data+16 01 02 ff        bytes at an address
 *     code d3 e0   ; shl eax, cl
 *
 * Registers: rax-r15, rflags, mxcsr, fcw, fsw, ftw. What is not set has random,
 * always the same, contents (isa_fill_registers). Every `code` line is run in
 * every mode with every combination of values. What comes out is compared with
 * the processor, so a case says only what goes in. `;` and `#` begin a comment.
 */
#include "isa.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"

enum { VALUES_MAX = 40, INPUTS_MAX = 24, MEM_MAX = 8, CODE_AT = 0x100 };

static const char *const names[] = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
    "r13", "r14", "r15", "rflags", "mxcsr", "fcw", "fsw", "ftw",
};
enum { IN_RFLAGS = 16, IN_MXCSR, IN_FCW, IN_FSW, IN_FTW };

struct value { uint64_t v; int region; };      /* region -1: a number */
struct input { unsigned reg, count; struct value value[VALUES_MAX]; };

struct group {
    char name[64];
    bool mode[ISA_MODES];
    struct input input[INPUTS_MAX];
    unsigned inputs;
    struct { struct value at; uint8_t bytes[64]; unsigned len; } mem[MEM_MAX];
    unsigned mems;
};

struct reader {
    const char *path;
    unsigned line;
    struct group g;
    void (*fn)(void *opaque, const struct isa_case *c);
    void *opaque;
};

static int wrong(const struct reader *r, struct error **err, const char *what)
{
    return error_set(err, EINVAL, "%s:%u: %s", r->path, r->line, what);
}

/* ---- values ------------------------------------------------------------ */

static bool parse_value(const char *word, struct value *out)
{
    char *end;

    out->region = -1;
    for (int i = 0; i < ISA_REGIONS; i++) {
        size_t n = strlen(isa_region[i].name);

        if (!strncmp(word, isa_region[i].name, n) && (!word[n] || strchr("+-", word[n]))) {
            out->region = i;
            word += n;
            if (!*word) {
                out->v = 0;
                return true;
            }
            break;
        }
    }
    errno = 0;
    out->v = word[0] == '-' ? (uint64_t)strtoll(word, &end, 0) : strtoull(word, &end, 0);
    return end != word && !*end && !errno;
}

static uint64_t resolve(const struct value *v, enum isa_mode mode)
{
    if (v->region < 0)
        return v->v;
    uint64_t base = isa_region[v->region].base;
    if (mode == ISA_MODE_16)
        base -= v->region == ISA_STACK ? ISA_STACK_BASE : v->region == ISA_CODE ? ISA_CODE_BASE
                                                                                : ISA_DATA_BASE;
    return base + v->v;
}

static void set_register(struct isa_registers *in, unsigned reg, uint64_t v)
{
    switch (reg) {
    case IN_RFLAGS: in->rflags = v | X86_FLAG_1 | X86_FLAG_IF; break;
    case IN_MXCSR: in->fpu.mxcsr = (uint32_t)v; break;
    case IN_FCW: in->fpu.fcw = (uint16_t)v; break;
    case IN_FSW: in->fpu.fsw = (uint16_t)v; break;
    case IN_FTW: in->fpu.ftw = (uint8_t)v; break;
    default: in->gpr[reg] = v; break;
    }
}

/* ---- running a line of code -------------------------------------------- */

static void base_case(const struct group *g, enum isa_mode mode, struct isa_case *c)
{
    memset(c, 0, sizeof *c);
    c->mode = mode;
    snprintf(c->name, sizeof c->name, "%s, %u bits", g->name, isa_mode_bits(mode));
    isa_fill_registers(1, mode, &c->in);
    c->in.fpu.mxcsr = 0x1f80;
    c->in.fpu.fcw = 0x37f;
    c->in.fpu.fsw = 0;
    c->in.fpu.ftw = 0xff;
    c->in.rflags = X86_FLAG_1 | X86_FLAG_IF;
    c->in.gpr[X86_RSP] = ISA_STACK_BASE + 0x1000 - (mode == ISA_MODE_16 ? ISA_STACK_BASE : 0);
    c->in.rip = CODE_AT + (mode == ISA_MODE_16 ? 0 : ISA_CODE_BASE);
    for (unsigned i = 0; i < g->mems; i++) {
        c->poke[i].address = resolve(&g->mem[i].at, ISA_MODE_64);
        c->poke[i].len = g->mem[i].len;
        memcpy(c->poke[i].bytes, g->mem[i].bytes, g->mem[i].len);
    }
    c->pokes = g->mems;
}

/* ES and B follow from flags and masks; a control word has bits that are fixed.
 * The kernel cannot load what the processor cannot hold. */
static void make_consistent(struct x86_fpu *f)
{
    f->fcw = (f->fcw & 0x1f3f) | 0x40;
    f->fsw &= (uint16_t)~0x8080;
    if (f->fsw & ~f->fcw & 0x3f)
        f->fsw |= 0x8080;
}

/* Every combination of the values of inputs n and following. */
static void combine(struct reader *r, struct isa_case *c, unsigned n)
{
    const struct input *in = &r->g.input[n];

    if (n == r->g.inputs) {
        make_consistent(&c->in.fpu);
        r->fn(r->opaque, c);
        return;
    }
    for (unsigned i = 0; i < in->count; i++) {
        uint64_t v = resolve(&in->value[i], c->mode);

        if (c->mode != ISA_MODE_64 && in->reg < IN_RFLAGS)
            v = (uint32_t)v;
        set_register(&c->in, in->reg, v);
        combine(r, c, n + 1);
    }
}

static int run_code(struct reader *r, const uint8_t *bytes, unsigned n, struct error **err)
{
    struct isa_case c;

    for (enum isa_mode m = 0; m < ISA_MODES; m++) {
        if (!r->g.mode[m])
            continue;
        base_case(&r->g, m, &c);
        memcpy(c.code, bytes, n);
        c.code[n] = 0xcc;
        c.code_bytes = n + 1;
        if (isa_case_scan(&c) < 0)
            return wrong(r, err, "these bytes are no instructions");
        combine(r, &c, 0);
    }
    return 0;
}

/* ---- lines ------------------------------------------------------------- */

static int parse_bytes(struct reader *r, char *words, uint8_t *out, unsigned max, unsigned *n,
                       struct error **err)
{
    char *save;

    *n = 0;
    for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        char *end;
        unsigned long v = strtoul(w, &end, 16);

        if (*n == max || *end || v > 255)
            return wrong(r, err, "bytes are two hexadecimal digits each");
        out[(*n)++] = (uint8_t)v;
    }
    return *n ? 0 : wrong(r, err, "there are no bytes");
}

static int parse_modes(struct reader *r, char *words, struct error **err)
{
    char *save;

    memset(r->g.mode, 0, sizeof r->g.mode);
    for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        enum isa_mode m = 0;

        while (m < ISA_MODES && (unsigned)atoi(w) != isa_mode_bits(m))
            m++;
        if (m == ISA_MODES)
            return wrong(r, err, "modes are 64, 32 and 16");
        r->g.mode[m] = true;
    }
    return 0;
}

/* A later line for the same register replaces the earlier one. */
static int parse_register(struct reader *r, unsigned reg, char *words, struct error **err)
{
    struct input *in = r->g.input;
    char *save;

    while (in < r->g.input + r->g.inputs && in->reg != reg)
        in++;
    if (in == r->g.input + INPUTS_MAX)
        return wrong(r, err, "too many registers");
    if (in == r->g.input + r->g.inputs)
        r->g.inputs++;
    in->reg = reg;
    in->count = 0;
    for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        if (in->count == VALUES_MAX || !parse_value(w, &in->value[in->count++]))
            return wrong(r, err, "bad value, or too many");
    }
    return in->count ? 0 : wrong(r, err, "no value");
}

static int parse_mem(struct reader *r, char *words, struct error **err)
{
    char *bytes = words + strcspn(words, " \t");

    if (!*bytes || r->g.mems == MEM_MAX)
        return wrong(r, err, "mem ADDRESS BYTES..., at most eight");
    *bytes++ = '\0';
    if (!parse_value(words, &r->g.mem[r->g.mems].at) ||
        isa_image_offset(resolve(&r->g.mem[r->g.mems].at, ISA_MODE_64)) < 0)
        return wrong(r, err, "bad address");
    int e = parse_bytes(r, bytes, r->g.mem[r->g.mems].bytes, 64, &r->g.mem[r->g.mems].len, err);
    r->g.mems++;
    return e;
}

static int parse_line(struct reader *r, char *line, struct error **err)
{
    char *rest = line + strcspn(line, " \t");
    uint8_t bytes[256];
    unsigned n;

    if (*rest)
        *rest++ = '\0';
    rest += strspn(rest, " \t");
    if (!strcmp(line, "case")) {
        memset(&r->g, 0, sizeof r->g);
        snprintf(r->g.name, sizeof r->g.name, "%s", rest);
        memset(r->g.mode, true, sizeof r->g.mode);
        return 0;
    }
    if (!strcmp(line, "modes"))
        return parse_modes(r, rest, err);
    if (!strcmp(line, "mem"))
        return parse_mem(r, rest, err);
    if (!strcmp(line, "code")) {
        int e = parse_bytes(r, rest, bytes, sizeof bytes, &n, err);
        return e < 0 ? e : run_code(r, bytes, n, err);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (!strcmp(line, names[i]))
            return parse_register(r, i, rest, err);
    }
    return wrong(r, err, "unknown word");
}

int isa_text_read(const char *path, void (*fn)(void *opaque, const struct isa_case *c),
                  void *opaque, struct error **err)
{
    struct reader *r = calloc(1, sizeof *r);
    FILE *f = fopen(path, "re");
    char line[1024];
    int e = 0;

    if (!r || !f) {
        e = error_set(err, errno, "cannot open %s: %s", path, strerror(errno));
        goto out;
    }
    *r = (struct reader){.path = path, .fn = fn, .opaque = opaque};
    while (!e && fgets(line, sizeof line, f)) {
        size_t end = strcspn(line, ";#\n");

        r->line++;
        while (end && isspace((unsigned char)line[end - 1]))
            end--;
        line[end] = '\0';
        if (end)
            e = parse_line(r, line, err);
    }
out:
    if (f)
        fclose(f);
    free(r);
    return e;
}
