/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gen.c - random cases from a seed.
 *
 * An instruction is random bytes, shaped enough (prefixes, escape, ModRM) that
 * every map is reached, and kept when it decodes to something that may be
 * executed here. What it needs to be interesting is then set up by plain
 * instructions in front of it: an address register so that its operand lies in
 * a region, a small count for REP, a target for an indirect jump.
 *
 * Left out: what depends on time, machine or privilege (RDTSC, CPUID, ports,
 * system registers), loading segment registers, FS (libc's), backward branches, and
 * LDMXCSR, FXSAVE and XSAVE: MXCSR_MASK and XCR0 of the models are not the
 * processor's. Loops are sequence.c's.
 */
#include "gen.h"

#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "base/byteorder.h"
#include "base/bug.h"
#include "x86/cpuid_features.h"

/* Limits of a straight case. */
enum { STRAIGHT_INSNS = 96, STRAIGHT_BYTES = 1024 };

static unsigned bits(const struct gen *g)
{
    return isa_mode_bits(g->o->mode);
}

static uint64_t linear_base(const struct gen *g)
{
    return g->o->mode == ISA_MODE_16 ? ISA_CODE_BASE : 0;
}

/* ---- emission ---------------------------------------------------------- */

void gen_append(struct gen *g, const uint8_t *bytes, unsigned n, bool setup)
{
    struct isa_case *c = g->c;

    BUG_ON(c->insns >= ISA_INSNS_MAX || c->code_bytes + n > ISA_CODE_MAX);
    memcpy(c->code + c->code_bytes, bytes, n);
    c->insn[c->insns++] = (struct isa_insn){(uint16_t)c->code_bytes, (uint16_t)n, setup, 0};
    c->code_bytes += n;
}

/* MOV reg, imm of full width. */
void gen_set(struct gen *g, unsigned reg, uint64_t value)
{
    uint8_t b[10];
    unsigned n = 0;

    if (bits(g) == 64)
        b[n++] = 0x48 | (reg >> 3);
    b[n++] = 0xb8 | (reg & 7);
    if (bits(g) == 16) {
        b[0] = 0x66;
        b[1] = 0xb8 | (reg & 7);
        n = 2;
    }
    if (bits(g) == 64) {
        put_le64(b + n, value);
        n += 8;
    } else {
        put_le32(b + n, (uint32_t)value);
        n += 4;
    }
    gen_append(g, b, n, true);
}

void gen_add_fixup(struct gen *g, struct gen_fixup f)
{
    BUG_ON(g->fixups == ARRAY_SIZE(g->fixup));
    g->fixup[g->fixups++] = f;
}

/* CMP AL, imm8: leaves all arithmetic flags defined. */
static void define_flags(struct gen *g)
{
    uint8_t b[2] = {0x3c, (uint8_t)isa_rand(&g->rng)};

    gen_append(g, b, 2, true);
    g->undefined = 0;
}

/* ---- memory targets ---------------------------------------------------- */

static uint64_t region_target(struct gen *g, unsigned size)
{
    unsigned pick = isa_below(&g->rng, 100), align;
    uint64_t a;

    if (pick < 60)
        a = ISA_DATA_BASE + isa_below(&g->rng, 3 * 4096 - 64);
    else if (pick < 70)                                    /* across two pages */
        return ISA_DATA_BASE + 4096 * (1 + isa_below(&g->rng, 2)) - isa_below(&g->rng, size + 1);
    else if (pick < 76)                                    /* before the region, and its start */
        return ISA_DATA_BASE - isa_below(&g->rng, size + 1);
    else if (pick < 82)                                    /* its end */
        return ISA_DATA_BASE + 3 * 4096 - isa_below(&g->rng, size + 1);
    else if (pick < 86)                                    /* into read-only memory */
        return ISA_CONST_BASE - isa_below(&g->rng, size + 1);
    else if (pick < 88)
        a = ISA_CONST_BASE + isa_below(&g->rng, 4000);
    else if (pick < 92 && g->o->mode == ISA_MODE_64)
        a = ISA_HIGH_BASE + isa_below(&g->rng, 8100);
    else if (pick < 96)
        a = ISA_STACK_BASE + isa_below(&g->rng, 8100);
    else if (pick < 97)
        return 1ull << 47 | isa_rand(&g->rng) >> 16;       /* not canonical, often */
    else
        a = ISA_DATA_BASE + isa_below(&g->rng, 0x18000);
    align = size > 64 ? 64 : size ? size : 1;
    if (isa_chance(&g->rng, size >= 16 ? 90 : 70))
        a &= ~(uint64_t)(align - 1);
    return a;
}

/* In 16-bit code offsets are into the data segment. */
static uint64_t target(struct gen *g, unsigned size, unsigned seg)
{
    uint64_t a = region_target(g, size);

    if (g->o->mode == ISA_MODE_16) {
        a -= ISA_DATA_BASE;
        if (seg == X86_SS && a > 0x1fc0)
            a %= 0x1fc0;
    }
    return a;
}

/* Puts `value` into the displacement field; false when there is none that
 * holds it. */
static bool patch_disp(uint8_t *bytes, const struct x86_insn *insn, uint64_t value,
                       unsigned address_bits)
{
    if (insn->disp_bytes == 4 &&
        (address_bits != 64 || (int64_t)value == (int32_t)value)) {
        put_le32(bytes + insn->disp_at, (uint32_t)value);
        return true;
    }
    if (insn->disp_bytes == 8) {
        put_le64(bytes + insn->disp_at, value);
        return true;
    }
    if (insn->disp_bytes == 2 && address_bits == 16) {
        put_le16(bytes + insn->disp_at, (uint16_t)value);
        return true;
    }
    return false;
}

static bool is_evex(const struct x86_insn *insn)
{
    return insn->modrm_at >= 5 && insn->bytes[insn->modrm_at - 5] == 0x62;
}

/* Index vectors of gathers and scatters: small numbers. VMOVDQU from the table
 * (EVEX when there is AVX-512: there are 32 registers then). */
static void set_vector_index(struct gen *g, const struct x86_insn *insn)
{
    unsigned reg = insn->mem.index;
    bool qwords = insn->bytes[insn->modrm_at - 1] & 1;
    uint32_t at = ISA_INDICES + (qwords ? 64 : 0);
    bool evex = is_evex(insn);
    uint8_t b[12];
    unsigned n = 0;

    if (g->o->mode == ISA_MODE_16)
        return;
    if (evex) {
        b[n++] = 0x62;
        b[n++] = (uint8_t)(0x61 | (reg & 8 ? 0 : 0x80) | (reg & 16 ? 0 : 0x10));
        b[n++] = 0x7e;
        b[n++] = 0x48;
    } else {
        b[n++] = 0xc5;
        b[n++] = (uint8_t)(0x7e | (reg & 8 ? 0 : 0x80));
    }
    b[n++] = 0x6f;
    b[n++] = (uint8_t)((bits(g) == 64 ? 4 : 5) | (reg & 7) << 3);
    if (bits(g) == 64)
        b[n++] = 0x25;
    put_le32(b + n, at);
    gen_append(g, b, n + 4, true);
}

/* ---- addresses that stay, for loops (sequence.c) ------------------------ */

static void know(struct gen *g, unsigned reg, uint64_t address)
{
    g->known |= 1u << reg;
    g->address[reg] = address;
}

static void forget_written(struct gen *g, const struct x86_insn *insn)
{
    bool stack = insn->mnemonic == ZYDIS_MNEMONIC_PUSH || insn->mnemonic == ZYDIS_MNEMONIC_POP ||
                 insn->class == X86_CLASS_BRANCH;

    /* A few bytes up or down are nothing to the stack pointer. */
    g->known &= ~(insn->gprs_written & ~(stack ? 1u << X86_RSP : 0) & ~g->pinned);
}

/* Makes the base of a memory operand a register with a known address, mostly:
 * one of the low eight, so what needs no prefix. */
static void favour_known(struct gen *g, uint8_t b[X86_INSN_MAX_BYTES])
{
    unsigned low = g->known & 0xff & ~(1u << X86_RSP), pick;
    struct x86_insn insn;

    if (!low || isa_chance(&g->rng, 30) ||
        x86_decode(b, X86_INSN_MAX_BYTES, bits(g), &insn) < 0 || !insn.modrm_at ||
        b[insn.modrm_at] >= 0xc0 || insn.address_bits == 16)
        return;
    for (pick = isa_below(&g->rng, 8); !(low & 1u << pick); pick = (pick + 1) & 7)
        ;
    b[insn.modrm_at] = (uint8_t)((b[insn.modrm_at] & 0x38) | pick |
                                 (isa_chance(&g->rng, 50) ? 0x40 : 0x80));
}

/* Aims an operand at the neighbourhood of what its base register is known to
 * hold, by the displacement alone. */
static bool reuse(struct gen *g, uint8_t *bytes, const struct x86_insn *insn)
{
    const struct x86_mem *m = &insn->mem;
    bool small = insn->disp_bytes == 1;
    int32_t delta;

    if (!g->loop || m->vsib || m->index != X86_REG_NONE || m->base >= X86_GPR_COUNT ||
        !(g->known & 1u << m->base) || (small && is_evex(insn)))
        return false;
    if (insn->disp_bytes == 0)
        return true;
    delta = (int32_t)isa_below(&g->rng, small ? 256 : 4096) - (small ? 128 : 2048);
    if (insn->mem.size >= 16)
        delta &= -16;
    if (g->o->mode != ISA_MODE_16 &&
        (isa_image_offset(g->address[m->base] + (uint64_t)(int64_t)delta) < 0 ||
         isa_image_offset(g->address[m->base] + (uint64_t)(int64_t)delta + m->size) < 0))
        return isa_chance(&g->rng, 5);
    if (small)
        bytes[insn->disp_at] = (uint8_t)delta;
    else
        patch_disp(bytes, insn, (uint64_t)(int64_t)delta, insn->address_bits);
    return true;
}

/* MOV reg, [walker]: an address that moves from one turn to the next. */
static bool walk(struct gen *g, unsigned reg)
{
    if (isa_chance(&g->rng, 75))
        return false;
    gen_slot(g, 0x8b, reg, ISA_SLOT_WALKER + 8 * isa_below(&g->rng, ISA_WALKERS), GEN_WIDEST);
    g->known &= ~(1u << reg);
    return true;
}

/* Makes the operand's address `to`: by the displacement if that is all there
 * is, else by loading base and index in front. Returns what was reached. */
static void aim(struct gen *g, uint8_t *bytes, const struct x86_insn *insn, uint64_t to)
{
    const struct x86_mem *m = &insn->mem;
    unsigned ab = insn->address_bits;
    uint64_t index = 0;

    if (m->vsib)
        set_vector_index(g, insn);
    if (m->base == X86_REG_RIP)
        return;                                            /* patched when placed */
    if (m->index != X86_REG_NONE && !m->vsib && m->index != m->base) {
        index = isa_chance(&g->rng, 50) ? isa_below(&g->rng, 64) - 32ull : isa_below(&g->rng, 9);
        gen_set(g, m->index, index);
        if (bits(g) != 64)
            index = (uint32_t)index;
    }
    if (m->base == X86_REG_NONE) {
        patch_disp(bytes, insn, to - index * m->scale, ab);
        return;
    }
    if (m->index == m->base && !m->vsib) {                 /* base * (1 + scale) */
        gen_set(g, m->base, (to - (uint64_t)m->disp) / (1u + m->scale));
        return;
    }
    to -= index * m->scale + (uint64_t)m->disp;
    if (ab == 32)
        to = (uint32_t)to;
    if (ab == 32 && bits(g) == 64 && isa_chance(&g->rng, 50))
        to |= isa_rand(&g->rng) << 32;                     /* to be ignored */
    else if (g->loop && walk(g, m->base))
        return;
    gen_set(g, m->base, to);
    know(g, m->base, to);
}

static void aim_rip(struct gen *g, uint8_t *bytes, const struct x86_insn *insn, uint64_t to)
{
    uint64_t next = g->c->in.rip + g->c->code_bytes + insn->length;

    if (insn->mem.base == X86_REG_RIP)
        patch_disp(bytes, insn, to - next, 64);
}

/* ---- which bytes ------------------------------------------------------- */

static unsigned put_prefixes(struct gen *g, uint8_t *b, bool mandatory)
{
    static const uint8_t segments[] = {0x2e, 0x36, 0x3e, 0x26};
    unsigned n = 0;

    if (isa_chance(&g->rng, 2))
        b[n++] = segments[isa_below(&g->rng, sizeof segments)];
    if (isa_chance(&g->rng, 5))
        b[n++] = 0x67;
    if (isa_chance(&g->rng, mandatory ? 35 : 22))
        b[n++] = 0x66;
    if (isa_chance(&g->rng, mandatory ? 20 : 4))
        b[n++] = 0xf3;
    else if (isa_chance(&g->rng, mandatory ? 20 : 4))
        b[n++] = 0xf2;
    if (isa_chance(&g->rng, 3))
        b[n++] = 0xf0;
    if (bits(g) == 64 && isa_chance(&g->rng, 55))
        b[n++] = 0x40 | (uint8_t)isa_below(&g->rng, 16);
    return n;
}

static unsigned put_modrm(struct gen *g, uint8_t *b)
{
    /* Memory more often than a random byte would have it. */
    uint8_t modrm = (uint8_t)isa_rand(&g->rng);

    if (isa_chance(&g->rng, 30))
        modrm |= 0xc0;
    *b = modrm;
    return 1;
}

static unsigned put_vex(struct gen *g, uint8_t *b)
{
    unsigned n = 0;
    uint8_t r = bits(g) == 64 ? (uint8_t)(isa_rand(&g->rng) & 0xe0) : 0xe0;
    uint8_t vvvv = (uint8_t)(isa_chance(&g->rng, 35) ? 0x78 : isa_rand(&g->rng) & 0x78);
    uint8_t pp = (uint8_t)isa_below(&g->rng, 4), l = isa_chance(&g->rng, 50) ? 4 : 0;

    if (isa_chance(&g->rng, 4))
        b[n++] = 0x67;
    if (isa_chance(&g->rng, 25)) {
        b[n++] = 0xc5;
        b[n++] = (uint8_t)((r & 0x80) | (bits(g) == 64 ? 0 : 0xc0) | vvvv | l | pp);
        if (bits(g) != 64)
            b[n - 1] |= 0x40;                              /* or it would be LDS */
    } else {
        b[n++] = 0xc4;
        b[n++] = (uint8_t)(r | (1 + isa_below(&g->rng, 3)));
        b[n++] = (uint8_t)((isa_chance(&g->rng, 40) ? 0x80 : 0) | vvvv | l | pp);
    }
    return n;
}

static unsigned put_evex(struct gen *g, uint8_t *b)
{
    uint8_t r = bits(g) == 64 ? (uint8_t)(isa_rand(&g->rng) & 0xf0) : 0xf0;
    uint8_t vvvv = (uint8_t)(isa_chance(&g->rng, 35) ? 0x78 : isa_rand(&g->rng) & 0x78);
    uint8_t mask = (uint8_t)(isa_chance(&g->rng, 35) ? 0 : isa_below(&g->rng, 8));
    unsigned n = 0;

    if (isa_chance(&g->rng, 4))
        b[n++] = 0x67;
    b[n++] = 0x62;
    b[n++] = (uint8_t)(r | (1 + isa_below(&g->rng, 3)));
    b[n++] = (uint8_t)((isa_chance(&g->rng, 50) ? 0x80 : 0) | vvvv | 4 | isa_below(&g->rng, 4));
    b[n] = (uint8_t)(isa_below(&g->rng, 3) << 5 | mask | (isa_chance(&g->rng, 15) ? 0x10 : 0) |
                     (mask && isa_chance(&g->rng, 30) ? 0x80 : 0));
    b[n] |= bits(g) != 64 || vvvv == 0x78 || isa_chance(&g->rng, 50) ? 8 : 0;
    return n + 1;
}

/* Random bytes in the shape of an instruction. */
static void shape(struct gen *g, uint8_t b[X86_INSN_MAX_BYTES])
{
    unsigned pick = isa_below(&g->rng, 100), n = 0;
    bool wide = g->o->features & X86_ISA(AVX512F);

    for (unsigned i = 0; i < X86_INSN_MAX_BYTES; i += 8) {
        uint64_t r = isa_rand(&g->rng);

        memcpy(b + i, &r, i + 8 <= X86_INSN_MAX_BYTES ? 8 : X86_INSN_MAX_BYTES - i);
    }
    if (pick < 38) {
        n = put_prefixes(g, b, false);
        b[n++] = (uint8_t)isa_rand(&g->rng);
    } else if (pick < 64) {
        n = put_prefixes(g, b, true);
        b[n++] = 0x0f;
        b[n++] = (uint8_t)isa_rand(&g->rng);
    } else if (pick < 71) {
        n = put_prefixes(g, b, true);
        b[n++] = 0x0f;
        b[n++] = isa_chance(&g->rng, 60) ? 0x38 : 0x3a;
        b[n++] = (uint8_t)isa_rand(&g->rng);
    } else if (pick < 78) {
        n = put_prefixes(g, b, false);
        b[n++] = 0xd8 | (uint8_t)isa_below(&g->rng, 8);
    } else if (pick < 90 || !wide) {
        n = put_vex(g, b);
        b[n++] = (uint8_t)isa_rand(&g->rng);
    } else {
        n = put_evex(g, b);
        b[n++] = (uint8_t)isa_rand(&g->rng);
    }
    put_modrm(g, b + n);
}

/* ---- what may run ------------------------------------------------------ */

static bool system_allowed(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_STMXCSR: case ZYDIS_MNEMONIC_VSTMXCSR:
    case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_INTO:
        return true;
    default:
        return false;
    }
}

/* Segment registers may be looked at, not loaded. */
static bool loads_segment(const struct x86_insn *insn)
{
    return insn->op[0].kind == X86_OPND_SEG && insn->mnemonic != ZYDIS_MNEMONIC_PUSH;
}

static bool reads_segment(const struct x86_insn *insn)
{
    return (insn->mnemonic == ZYDIS_MNEMONIC_MOV && insn->op[1].kind == X86_OPND_SEG) ||
           (insn->mnemonic == ZYDIS_MNEMONIC_PUSH && insn->op[0].kind == X86_OPND_SEG);
}

static bool has_mem(const struct x86_insn *insn)
{
    for (unsigned i = 0; i < insn->operands; i++) {
        if (insn->op[i].kind == X86_OPND_MEM)
            return true;
    }
    return insn->mem.base != X86_REG_NONE;
}

static bool allowed(struct gen *g, const struct x86_insn *insn)
{
    if (insn->isa & ~g->o->features)
        return false;
    if (g->o->only) {
        const char *name = ZydisMnemonicGetString((ZydisMnemonic)insn->mnemonic);

        if (strncmp(name, g->o->only, strlen(g->o->only)))
            return false;
    }
    switch (insn->class) {
    case X86_CLASS_INVALID: return false;
    case X86_CLASS_SYSTEM:
        if (!system_allowed(insn->mnemonic) && !reads_segment(insn))
            return false;
        break;
    default: break;
    }
    if (loads_segment(insn))
        return false;
    if (has_mem(insn) && (insn->mem.seg == X86_FS || insn->mem.seg == X86_GS))
        return false;
    /* Around the end of 64 KiB, where nothing is mapped, VMASKMOV and EVEX
     * differ in what CR2 says. */
    if (insn->class == X86_CLASS_HOST && insn->address_bits == 16 && insn->mem.size > 10 &&
        g->o->mode == ISA_MODE_32)
        return false;
    /* Zen 4 reads a stale RSP after a push when EVEX.X, without meaning for a
     * general register, is set: the only error of the processor found so far. */
    if (is_evex(insn) && insn->gprs_read & 1u << X86_RSP && insn->mem.base != X86_RSP)
        return false;
    /* A stray RSP ends most cases too early. */
    if (insn->gprs_written & 1u << X86_RSP && insn->mnemonic != ZYDIS_MNEMONIC_PUSH &&
        insn->mnemonic != ZYDIS_MNEMONIC_POP && isa_chance(&g->rng, 70))
        return false;
    return true;
}

/* ---- special preparations ---------------------------------------------- */

static void prepare_string(struct gen *g, const struct x86_insn *insn)
{
    if (insn->gprs_read & 1u << X86_RSI)
        gen_set(g, X86_RSI, target(g, 8, X86_DS));
    if (insn->gprs_read & 1u << X86_RDI)
        gen_set(g, X86_RDI, target(g, 8, X86_DS));
    if (insn->rep || insn->repne)
        gen_set(g, X86_RCX, isa_below(&g->rng, isa_chance(&g->rng, 10) ? 700 : 20));
}

/* Near branches go to a later instruction of the case. */
static bool prepare_branch(struct gen *g, uint8_t *bytes, const struct x86_insn *insn)
{
    const struct x86_operand *o = &insn->op[0];
    uint8_t b[16];

    if (insn->mnemonic == ZYDIS_MNEMONIC_RET) {
        b[0] = 0x68;
        gen_add_fixup(g, (struct gen_fixup){g->c->code_bytes + 1, bits(g) == 16 ? 2 : 4, true, 0,
                                    g->c->insns + 2});
        gen_append(g, b, bits(g) == 16 ? 3 : 5, true);
        return true;
    }
    if (o->kind == X86_OPND_IMM) {
        gen_add_fixup(g, (struct gen_fixup){g->c->code_bytes + insn->imm_at, insn->imm_bytes, false,
                                    g->c->code_bytes + insn->length, g->c->insns + 1});
        return true;
    }
    if (o->kind == X86_OPND_GPR) {
        unsigned at = g->c->code_bytes + (bits(g) == 32 ? 1 : 2);

        gen_set(g, o->reg, 0);
        gen_add_fixup(g, (struct gen_fixup){at, 4, true, 0, g->c->insns + 1});
        return true;
    }
    return isa_chance(&g->rng, 20);                        /* memory: wherever that leads */
}

/* POPF must not set TF or AC; nor ID, which the kernel's way of entering a
 * case does not set. */
static void prepare_popf(struct gen *g)
{
    uint8_t b[5] = {0x68};
    uint32_t flags = (uint32_t)isa_rand(&g->rng) & (X86_FLAGS_ARITH | X86_FLAG_DF);

    put_le32(b + 1, flags | X86_FLAG_1 | X86_FLAG_IF);
    if (bits(g) == 16)
        put_le16(b + 1, (uint16_t)flags);
    gen_append(g, b, bits(g) == 16 ? 3 : 5, true);
}

static bool prepare(struct gen *g, uint8_t *bytes, const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
        if (insn->operand_bits != (bits(g) == 64 ? 64 : bits(g)))
            return false;
        prepare_popf(g);
        return true;
    case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV:
        if (isa_chance(&g->rng, 60))
            gen_set(g, X86_RDX, isa_below(&g->rng, 4));
        if (isa_chance(&g->rng, 40))
            gen_set(g, X86_RAX, isa_below(&g->rng, 1000));
        return true;
    case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (insn->op[0].kind == X86_OPND_MEM && insn->op[1].kind == X86_OPND_GPR)
            gen_set(g, insn->op[1].reg, isa_below(&g->rng, 4000) - 2000ull);
        return true;
    default:
        break;
    }
    if (insn->class == X86_CLASS_STRING)
        prepare_string(g, insn);
    return insn->class != X86_CLASS_BRANCH || prepare_branch(g, bytes, insn);
}

static bool conditional_flags(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {                              /* a count of 0 changes nothing */
    case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD:
        return true;
    default:
        return insn->class == X86_CLASS_STRING;
    }
}

static uint32_t undefined_after(const struct x86_insn *insn, uint32_t before)
{
    if (!conditional_flags(insn))
        before &= ~insn->flags_written;
    return before | insn->flags_undefined;
}

/* What is no instruction to our decoder must be none to the processor: #UD. If
 * it is one all the same, what follows is harmless. */
static bool undecodable(struct gen *g, uint8_t b[X86_INSN_MAX_BYTES])
{
    memset(b + 8, 0xcc, X86_INSN_MAX_BYTES - 8);
    if (x86_decode(b, X86_INSN_MAX_BYTES, bits(g), &(struct x86_insn){0}) == 0)
        return false;
    gen_append(g, b, X86_INSN_MAX_BYTES, false);
    return true;
}

bool gen_one(struct gen *g)
{
    uint8_t b[X86_INSN_MAX_BYTES];
    struct x86_insn insn;
    unsigned insns = g->c->insns, code_bytes = g->c->code_bytes, fixups = g->fixups;
    uint64_t to = 0;

    shape(g, b);
    if (g->loop)
        favour_known(g, b);
    if (x86_decode(b, sizeof b, bits(g), &insn) < 0)
        return g->o->garbage && isa_chance(&g->rng, 1) && undecodable(g, b);
    if (!allowed(g, &insn))
        return false;
    if (g->loop ? insn.gprs_written & g->pinned : insn.flags_read & (g->undefined | g->branched)) {
        if (g->loop)
            return false;
        define_flags(g);
    }
    if (has_mem(&insn) && insn.class != X86_CLASS_STRING && !reuse(g, b, &insn)) {
        to = target(g, insn.mem.size, insn.mem.seg);
        /* Where operands in parts wrap around a segment's end, the processor
         * leaves half-done work behind, or wraps masked elements one by one. */
        if (g->o->mode == ISA_MODE_16 && insn.class == X86_CLASS_HOST &&
            (insn.mem.size > 10 || insn.mem.vsib))
            to %= 0xff00;
        aim(g, b, &insn, to);
    }
    if (!prepare(g, b, &insn)) {
        g->c->insns = insns;
        g->c->code_bytes = code_bytes;
        g->fixups = fixups;
        return false;
    }
    aim_rip(g, b, &insn, to);
    gen_append(g, b, insn.length, false);
    forget_written(g, &insn);
    g->undefined = undefined_after(&insn, g->undefined);
    if (insn.class == X86_CLASS_BRANCH)
        g->branched |= g->undefined;
    return true;
}

/* ---- whole cases ------------------------------------------------------- */

void gen_apply_fixups(struct gen *g, unsigned from)
{
    struct isa_case *c = g->c;

    c->insn[c->insns].at = (uint16_t)c->code_bytes;        /* of what comes next */
    for (unsigned i = from; i < g->fixups; i++) {
        const struct gen_fixup *f = &g->fixup[i];
        unsigned first = f->first < c->insns ? f->first : c->insns;
        unsigned to = first + isa_below(&g->rng, min_u64(4, c->insns - first + 1));
        long value;

        /* Not between a preparation and its instruction, mostly. */
        while (to < c->insns && to > first && c->insn[to - 1].setup)
            to--;
        value = f->absolute ? (long)(c->in.rip + c->insn[to].at)
                            : (long)c->insn[to].at - (long)f->next;
        if (f->bytes == 1 && value > 127)
            value = 0;
        memcpy(c->code + f->at, &value, f->bytes);
    }
}

int isa_case_scan(struct isa_case *c)
{
    uint32_t at_target[ISA_INSNS_MAX + 1] = {0}, undefined = 0;

    c->insns = 0;
    for (unsigned at = 0; at < c->code_bytes;) {
        struct x86_insn insn;
        struct isa_insn *i = &c->insn[c->insns];

        if (c->insns == ISA_INSNS_MAX + 1)
            return -1;
        if (x86_decode(c->code + at, c->code_bytes - at, isa_mode_bits(c->mode), &insn) < 0) {
            if (c->code_bytes - at <= X86_INSN_MAX_BYTES)
                return -1;
            insn = (struct x86_insn){.length = X86_INSN_MAX_BYTES};   /* see undecodable() */
        }
        undefined |= at_target[c->insns];
        *i = (struct isa_insn){(uint16_t)at, insn.length, i->at == at && i->setup, undefined};
        undefined = undefined_after(&insn, undefined);
        at += insn.length;
        c->insns++;
    }
    c->insns--;                                            /* not the INT3 */
    return 0;
}

/* A branch carries what is undefined to its target: only forward, one pass. */
static void spread_undefined(struct gen *g)
{
    struct isa_case *c = g->c;
    uint32_t all = 0;

    for (unsigned i = 0; i <= c->insns; i++) {
        if (g->fixups)
            c->insn[i].undefined |= all;
        all |= c->insn[i].undefined;
    }
}

uint64_t gen_place(struct gen *g, unsigned bytes)
{
    unsigned room = ISA_CODE_PAGES * 4096 - bytes - 16;

    if (isa_chance(&g->rng, 30))                           /* over the page boundary */
        return ISA_CODE_BASE + 4096 - isa_below(&g->rng, 120) - linear_base(g);
    return ISA_CODE_BASE + isa_below(&g->rng, room) - linear_base(g);
}

void isa_generate(const struct isa_gen_options *o, uint64_t index, struct isa_case *c)
{
    struct gen g = {.o = o, .c = c, .rng = {o->seed * 0x9e3779b97f4a7c15ull ^ index << 20}};
    unsigned length = o->length ? o->length : 1 + isa_below(&g.rng, 20);

    isa_rand(&g.rng);
    memset(c, 0, offsetof(struct isa_case, code));
    c->code_bytes = c->insns = c->pokes = 0;
    c->endless = c->warm = false;
    c->mode = o->mode;
    snprintf(c->name, sizeof c->name, "seed %llu index %llu mode %u",
             (unsigned long long)o->seed, (unsigned long long)index, isa_mode_bits(o->mode));
    isa_fill_registers(isa_rand(&g.rng), o->mode, &c->in);
    c->in.rip = gen_place(&g, STRAIGHT_BYTES);
    c->data_seed = isa_rand(&g.rng);
    for (unsigned n = 0, tries = 0; n < length && tries < 200000; tries++) {
        if (c->insns + 8 > STRAIGHT_INSNS || c->code_bytes + 100 > STRAIGHT_BYTES)
            break;
        n += gen_one(&g);
    }
    gen_append(&g, (const uint8_t[]){0xcc}, 1, false);
    c->insns--;
    gen_apply_fixups(&g, 0);
    isa_case_scan(c);
    spread_undefined(&g);
}
