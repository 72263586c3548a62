/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reencode.c - taking an instruction's encoding apart and putting it together
 * again with other registers (Intel SDM vol. 2 ch. 2).
 *
 * What is kept as raw bits: mandatory prefixes, opcode map, opcode, W, L, pp,
 * mask and rounding fields, immediates. What is rebuilt: R, X, B, vvvv where
 * they name general registers, ModRM, SIB.
 */
#include "engine/dbt/reencode.h"

#include <Zydis/Mnemonic.h>

#define M(name) ZYDIS_MNEMONIC_##name

enum form { FORM_LEGACY, FORM_VEX2, FORM_VEX3, FORM_EVEX };

struct parts {
    enum form form;
    bool p66, lock, rex_w;
    uint8_t rex;
    uint8_t rep;                    /* 0, 0xf2 or 0xf3 */
    uint8_t escape[2], escapes;     /* legacy 0F, 0F38, 0F3A */
    uint8_t vex[3];                 /* VEX3: two payload bytes; EVEX: three */
    uint8_t opcode, modrm;
    bool has_modrm;
    unsigned reg, rm, vvvv;         /* with all their extension bits */
    const uint8_t *imm;
    unsigned imm_bytes;
    bool x87;                       /* its ModRM names no general register */
};

static bool is_legacy_prefix(uint8_t b)
{
    switch (b) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
    case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3: return true;
    default: return false;
    }
}

/* Prefixes in any order; a REX counts only as the last one. */
static const uint8_t *parse_prefixes(const uint8_t *b, unsigned code_bits, struct parts *p)
{
    for (;; b++) {
        if (code_bits == 64 && (*b & 0xf0) == 0x40) {
            p->rex = *b;
            continue;
        }
        if (!is_legacy_prefix(*b))
            return b;
        p->rex = 0;
        if (*b == 0x66)
            p->p66 = true;
        else if (*b == 0xf0)
            p->lock = true;
        else if (*b == 0xf2 || *b == 0xf3)
            p->rep = *b;
    }
}

/* Bits that extend ModRM fields are kept inverted in VEX and EVEX. */
static void parse_vex(const uint8_t *b, const struct x86_insn *insn, struct parts *p)
{
    unsigned size = p->form == FORM_EVEX ? 3 : p->form == FORM_VEX3 ? 2 : 1;
    uint8_t ext = p->form == FORM_VEX2 ? (uint8_t)(b[1] | 0x60) : b[1];
    unsigned last = b[size == 3 ? 2 : size];
    bool r = !(ext & 0x80), x = !(ext & 0x40), bb = !(ext & 0x20);

    memcpy(p->vex, b + 1, size);
    p->modrm = insn->bytes[insn->modrm_at];
    p->reg = (p->modrm >> 3 & 7u) | (unsigned)r << 3;
    p->rm = (p->modrm & 7u) | (unsigned)bb << 3;
    p->vvvv = ~last >> 3 & 15u;
    if (p->form == FORM_EVEX) {
        p->reg |= (unsigned)!(ext & 0x10) << 4;
        p->rm |= (unsigned)x << 4;              /* for a vector register operand */
        p->vvvv |= (unsigned)!(b[3] & 8) << 4;
    }
    p->opcode = b[1 + size];
    p->has_modrm = insn->modrm_at != 0;         /* VZEROUPPER has none */
}

static bool names_gpr(const struct x86_insn *insn)
{
    for (unsigned i = 0; i < insn->operands; i++) {
        if (insn->op[i].kind == X86_OPND_GPR)
            return true;
    }
    return false;
}

/* Outside 64-bit mode there are eight registers of a kind and W does not widen
 * a general register or what stands in for one in memory: bits that say
 * otherwise are ignored there, so they are masked, or (rare) left alone. */
static bool narrow_vex(const struct x86_insn *insn, struct parts *p)
{
    bool w = p->form != FORM_VEX2 && p->vex[1] & 0x80;
    bool register_in_imm = p->form != FORM_EVEX && insn->imm_bytes && (p->vex[0] & 0x1f) == 3 &&
                           p->opcode >= 0x4a && p->opcode <= 0x4c;

    p->reg &= 7;
    p->rm &= 7;
    p->vvvv &= 7;
    if (register_in_imm && insn->bytes[insn->imm_at] & 0x80)
        return false;
    switch (insn->mnemonic) {
    case M(VMOVD): case M(VMOVQ): case M(VPINSRD): case M(VPEXTRD):
    case M(VPINSRQ): case M(VPEXTRQ): case M(VCVTSI2SS): case M(VCVTSI2SD):
    case M(VCVTUSI2SS): case M(VCVTUSI2SD): case M(VPCMPESTRI): case M(VPCMPESTRM):
        return !w;
    default:
        return !w || !names_gpr(insn);
    }
}

static void parse_legacy(const uint8_t *b, const struct x86_insn *insn, struct parts *p)
{
    unsigned rex = p->rex;

    p->rex_w = rex & 8;
    if (*b == 0x0f) {
        p->escape[p->escapes++] = *b++;
        if (*b == 0x38 || *b == 0x3a)
            p->escape[p->escapes++] = *b++;
    }
    p->opcode = *b;
    /* In 16-bit code it means the other size. Where it selects the instruction it stays. */
    if (insn->code_bits == 16 && (insn->class == X86_CLASS_INTEGER || insn->mnemonic == M(CRC32)))
        p->p66 = insn->operand_bits == 16;
    p->x87 = !p->escapes && p->opcode >= 0xd8 && p->opcode <= 0xdf;
    p->has_modrm = insn->modrm_at != 0;
    if (p->has_modrm) {
        p->modrm = insn->bytes[insn->modrm_at];
        p->reg = (p->modrm >> 3 & 7u) | (rex & 4) << 1;
        p->rm = (p->modrm & 7u) | (rex & 1) << 3;
    } else {
        p->rm = (p->opcode & 7u) | (rex & 1) << 3;
    }
}

static bool parse(const struct x86_insn *insn, struct parts *p)
{
    const uint8_t *b = parse_prefixes(insn->bytes, insn->code_bits, p);
    bool vex_space = insn->code_bits == 64 || (b[1] & 0xc0) == 0xc0;

    if (*b == 0x62 && vex_space)
        p->form = FORM_EVEX;
    else if (*b == 0xc4 && vex_space)
        p->form = FORM_VEX3;
    else if (*b == 0xc5 && vex_space)
        p->form = FORM_VEX2;
    else if (*b == 0x8f && insn->mnemonic && (b[1] & 0x1f) >= 8)
        return false;                            /* XOP */
    else
        p->form = FORM_LEGACY;
    if (p->form == FORM_LEGACY)
        parse_legacy(b, insn, p);
    else
        parse_vex(b, insn, p);
    if (p->form != FORM_LEGACY && insn->code_bits != 64 && !narrow_vex(insn, p))
        return false;
    if (insn->imm_bytes) {
        p->imm = insn->bytes + insn->imm_at;
        p->imm_bytes = insn->imm_bytes;
    }
    return true;
}

/* INC and DEC r16/r32 in one byte are REX prefixes in 64-bit mode. */
static bool widen_one_byte_inc(const struct x86_insn *insn, struct parts *p)
{
    if (insn->code_bits == 64 || p->form != FORM_LEGACY || p->escapes ||
        p->opcode < 0x40 || p->opcode > 0x4f)
        return true;
    p->has_modrm = true;
    p->modrm = (uint8_t)(0xc0 | (p->opcode & 8));    /* /0 INC, /1 DEC */
    p->reg = p->opcode >> 3 & 1;
    p->rm = p->opcode & 7;
    p->opcode = 0xff;
    return true;
}

struct mapped {
    bool needs_rex;         /* SPL BPL SIL DIL, or R8B.. */
    bool high_byte;
    bool memory;
};

static bool map_operands(const struct x86_insn *insn, const struct reencode *how,
                         struct parts *p, struct mapped *m)
{
    for (unsigned i = 0; i < insn->operands; i++) {
        const struct x86_operand *o = &insn->op[i];
        unsigned host;

        if (o->kind == X86_OPND_MEM) {
            m->memory = o->field != X86_FIELD_IMPLIED;
            if (insn->mem.vsib)
                return false;
            continue;
        }
        if (o->kind == X86_OPND_GPR_HIGH) {
            if (how->host[o->reg] != o->reg)
                return false;
            m->high_byte = true;
            continue;
        }
        if (o->kind != X86_OPND_GPR)
            continue;
        host = how->host[o->reg];
        if (o->size == 1 && host >= 4)
            m->needs_rex = true;
        switch (o->field) {
        case X86_FIELD_MODRM_REG: p->reg = host; break;
        case X86_FIELD_MODRM_RM: p->rm = host; break;
        case X86_FIELD_OPCODE: p->rm = host; break;
        case X86_FIELD_VVVV: p->vvvv = host; break;
        case X86_FIELD_IMPLIED:
            if (host != o->reg && !(how->implied & 1u << o->reg))
                return false;
            break;
        default: return false;
        }
    }
    return true;
}

static void emit_tail(struct emit *e, const struct parts *p, const struct mapped *m,
                      const struct reencode *how)
{
    if (p->has_modrm) {
        struct host_mem mem = how->mem;

        mem.disp32 = p->form == FORM_EVEX;
        if (m->memory)
            emit_modrm_mem(e, p->reg & 7, &mem);
        else
            e8(e, (uint8_t)((p->modrm & 0xc0) | (p->reg & 7) << 3 | (p->rm & 7)));
    }
    for (unsigned i = 0; i < p->imm_bytes; i++)
        e8(e, p->imm[i]);
}

static void mem_extensions(const struct mapped *m, const struct reencode *how, unsigned rm,
                           bool *x, bool *b)
{
    *x = m->memory && how->mem.index != H_NONE && how->mem.index > 7;
    *b = m->memory ? how->mem.base > 7 : rm >> 3 & 1;
}

static bool emit_legacy(struct emit *e, const struct parts *p, const struct mapped *m,
                        const struct reencode *how)
{
    bool x, b;
    unsigned rex;

    mem_extensions(m, how, p->rm, &x, &b);
    rex = 0x40 | (unsigned)p->rex_w << 3 | (unsigned)(p->reg > 7) << 2 | (unsigned)x << 1 |
          (unsigned)b;
    if (p->x87 && !m->memory)
        rex = 0x40;
    if (m->high_byte && (rex != 0x40 || m->needs_rex))
        return false;
    if (p->lock)
        e8(e, 0xf0);
    if (p->p66)
        e8(e, 0x66);
    if (p->rep)
        e8(e, p->rep);
    if (rex != 0x40 || m->needs_rex)
        e8(e, (uint8_t)rex);
    for (unsigned i = 0; i < p->escapes; i++)
        e8(e, p->escape[i]);
    e8(e, p->has_modrm ? p->opcode : (uint8_t)((p->opcode & 0xf8) | (p->rm & 7)));
    emit_tail(e, p, m, how);
    return true;
}

static bool emit_vex(struct emit *e, const struct parts *p, const struct mapped *m,
                     const struct reencode *how)
{
    uint8_t v0, v1 = p->vex[1];
    bool x, b;

    mem_extensions(m, how, p->rm, &x, &b);
    if (p->form == FORM_VEX2) {      /* always as three bytes: map 0F, W0 */
        v0 = 1;
        v1 = p->vex[0] & 0x7f;
    } else {
        v0 = p->vex[0] & (p->form == FORM_EVEX ? 0x0f : 0x1f);
    }
    v0 |= (uint8_t)((p->reg & 8 ? 0 : 0x80) | (b ? 0 : 0x20));
    v1 = (uint8_t)((v1 & 0x87) | (~p->vvvv & 15) << 3);
    if (p->form == FORM_EVEX) {
        bool x_bit = m->memory ? x : p->rm >> 4 & 1;
        v0 |= (uint8_t)((x_bit ? 0 : 0x40) | (p->reg & 16 ? 0 : 0x10));
        e8(e, 0x62);
        e8(e, v0);
        e8(e, v1);
        e8(e, (uint8_t)((p->vex[2] & 0xf7) | (p->vvvv & 16 ? 0 : 8)));
    } else {
        v0 |= x ? 0 : 0x40;
        e8(e, 0xc4);
        e8(e, v0);
        e8(e, v1);
    }
    e8(e, p->opcode);
    emit_tail(e, p, m, how);
    return true;
}

static bool take_apart(const struct x86_insn *insn, const struct reencode *how, struct parts *p,
                       struct mapped *m)
{
    return parse(insn, p) && widen_one_byte_inc(insn, p) && map_operands(insn, how, p, m);
}

bool dbt_reencodable(const struct x86_insn *insn, const struct reencode *how)
{
    struct parts p = {0};
    struct mapped m = {0};

    return take_apart(insn, how, &p, &m);
}

bool dbt_reencode(struct emit *e, const struct x86_insn *insn, const struct reencode *how)
{
    struct parts p = {0};
    struct mapped m = {0};

    if (!take_apart(insn, how, &p, &m))
        return false;
    return p.form == FORM_LEGACY ? emit_legacy(e, &p, &m, how) : emit_vex(e, &p, &m, how);
}

bool dbt_is_vex(const struct x86_insn *insn)
{
    struct parts p = {0};

    return parse(insn, &p) && p.form != FORM_LEGACY;
}

bool dbt_is_masked(const struct x86_insn *insn)
{
    struct parts p = {0};

    switch (insn->mnemonic) {
    case M(VMASKMOVPS): case M(VMASKMOVPD): case M(VPMASKMOVD): case M(VPMASKMOVQ):
        return true;
    default:
        return insn->class == X86_CLASS_HOST && parse(insn, &p) && p.form == FORM_EVEX &&
               p.vex[2] & 7;
    }
}

bool dbt_needs_alignment(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(MOVAPS): case M(MOVAPD): case M(MOVDQA): case M(MOVNTPS): case M(MOVNTPD):
    case M(MOVNTDQ): case M(MOVNTDQA): case M(VMOVAPS): case M(VMOVAPD): case M(VMOVDQA):
    case M(VMOVNTPS): case M(VMOVNTPD): case M(VMOVNTDQ): case M(VMOVNTDQA):
        return !dbt_is_masked(insn);
    default:
        return false;
    }
}

bool dbt_is_gpr_only(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(ANDN): case M(BEXTR): case M(BLSI): case M(BLSMSK): case M(BLSR): case M(BZHI):
    case M(MULX): case M(PDEP): case M(PEXT): case M(RORX): case M(SARX): case M(SHLX):
    case M(SHRX): case M(ADCX): case M(ADOX): case M(CRC32): return true;
    default: return false;
    }
}

bool dbt_is_x87(const struct x86_insn *insn)
{
    struct parts p = {0};

    return insn->class == X86_CLASS_HOST && parse(insn, &p) && p.x87;
}
