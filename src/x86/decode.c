/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode.c - Zydis's answer, boiled down to struct x86_insn.
 *
 * Zydis (4.0) knows every encoding; what it does not know is who executes an
 * instruction here and which CPUID feature it needs. Both come from tables in
 * decode_tables.c. Instructions that no model of ours can offer (3DNow!, XOP,
 * MPX, TSX, ...) come out as X86_CLASS_INVALID, and so do encodings that decode
 * to nothing but #UD.
 *
 * CET, MPX and CLDEMOTE encodings are NOPs on a processor without the feature
 * (their opcodes lie in the reserved NOP space), which is what switching off
 * the decoder modes says; without WBNOINVD the encoding is WBINVD.
 *
 * Vendors differ in what a 66 prefix does to a near branch in 64-bit mode:
 * AMD truncates to 16 bits, Intel ignores it (SDM vol. 2, JMP; APM vol. 3,
 * 1.2.4). The host's way is ours, here and in amd_differences(), because the
 * guest sees the host's vendor.
 */
#include "x86/decode.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "x86/decode_tables.h"

#define DECODER(mode, width, amd)                                           \
    {                                                                       \
        ZYDIS_MACHINE_MODE_##mode, ZYDIS_STACK_WIDTH_##width,               \
        {                                                                   \
            [ZYDIS_DECODER_MODE_AMD_BRANCHES] = amd,                        \
            [ZYDIS_DECODER_MODE_LZCNT] = true,                              \
            [ZYDIS_DECODER_MODE_TZCNT] = true,                              \
            [ZYDIS_DECODER_MODE_WBNOINVD] = true,                           \
        }                                                                   \
    }
static const ZydisDecoder decoder_64 = DECODER(LONG_64, 64, false);
static const ZydisDecoder decoder_64_amd = DECODER(LONG_64, 64, true);
static const ZydisDecoder decoder_32 = DECODER(LEGACY_32, 32, false);
static const ZydisDecoder decoder_16 = DECODER(LEGACY_16, 16, false);

static const ZydisDecoder *decoder_for(unsigned code_bits)
{
    return code_bits == 64 ? &decoder_64 : code_bits == 32 ? &decoder_32 : &decoder_16;
}

/* Only asked for encodings that compilers do not make: CPUID is slow on a
 * virtual host, and there is nowhere to keep the answer. */
static bool host_is_amd(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(0, &a, &b, &c, &d))
        return false;
    return b == signature_AMD_ebx || b == 0x6f677948 /* Hygon */;
}

/* A legacy prefix that Zydis may have called ignored. */
static bool has_prefix(const ZydisDecodedInstruction *z, uint8_t value)
{
    for (unsigned i = 0; i < z->raw.prefix_count; i++) {
        if (z->raw.prefixes[i].value == value)
            return true;
    }
    return false;
}

/* ---- operands ---------------------------------------------------------- */

static void set_reg(struct x86_operand *o, enum x86_operand_kind kind, unsigned reg)
{
    o->kind = (uint8_t)kind;
    o->reg = (uint8_t)reg;
}

/* Number of a general register of any width; -1 for AH-BH and others. */
static int gpr_number(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
        return (int)(r - ZYDIS_REGISTER_RAX);
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
        return (int)(r - ZYDIS_REGISTER_EAX);
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
        return (int)(r - ZYDIS_REGISTER_AX);
    if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
        return (int)(r - ZYDIS_REGISTER_AL);
    if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
        return (int)(r - ZYDIS_REGISTER_SPL) + X86_RSP;
    return -1;
}

static void operand_register(struct x86_operand *o, ZydisRegister r)
{
    int n = gpr_number(r);

    if (n >= 0) {
        set_reg(o, X86_OPND_GPR, (unsigned)n);
        return;
    }
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) {
        set_reg(o, X86_OPND_GPR_HIGH, r - ZYDIS_REGISTER_AH);
        return;
    }
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_XMM: set_reg(o, X86_OPND_VEC, r - ZYDIS_REGISTER_XMM0); break;
    case ZYDIS_REGCLASS_YMM: set_reg(o, X86_OPND_VEC, r - ZYDIS_REGISTER_YMM0); break;
    case ZYDIS_REGCLASS_ZMM: set_reg(o, X86_OPND_VEC, r - ZYDIS_REGISTER_ZMM0); break;
    case ZYDIS_REGCLASS_X87: set_reg(o, X86_OPND_ST, r - ZYDIS_REGISTER_ST0); break;
    case ZYDIS_REGCLASS_MMX: set_reg(o, X86_OPND_MMX, r - ZYDIS_REGISTER_MM0); break;
    case ZYDIS_REGCLASS_MASK: set_reg(o, X86_OPND_MASK, r - ZYDIS_REGISTER_K0); break;
    case ZYDIS_REGCLASS_SEGMENT: set_reg(o, X86_OPND_SEG, r - ZYDIS_REGISTER_ES); break;
    case ZYDIS_REGCLASS_CONTROL: set_reg(o, X86_OPND_CR, r - ZYDIS_REGISTER_CR0); break;
    case ZYDIS_REGCLASS_DEBUG: set_reg(o, X86_OPND_DR, r - ZYDIS_REGISTER_DR0); break;
    default: o->kind = X86_OPND_NONE; break;
    }
}

static uint8_t address_register(struct x86_insn *out, ZydisRegister r, bool *vsib)
{
    int n;

    if (r == ZYDIS_REGISTER_NONE)
        return X86_REG_NONE;
    if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
        return X86_REG_RIP;
    n = gpr_number(r);
    if (n >= 0) {
        out->gprs_read |= 1u << n;
        return (uint8_t)n;
    }
    *vsib = true;
    return (uint8_t)(r - (ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_XMM   ? ZYDIS_REGISTER_XMM0
                          : ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_YMM ? ZYDIS_REGISTER_YMM0
                                                                           : ZYDIS_REGISTER_ZMM0));
}

static void set_mem(struct x86_insn *out, const ZydisDecodedOperand *z)
{
    struct x86_mem *m = &out->mem;

    m->vsib = false;
    m->seg = X86_DS;
    if (z->mem.segment >= ZYDIS_REGISTER_ES && z->mem.segment <= ZYDIS_REGISTER_GS)
        m->seg = (uint8_t)(z->mem.segment - ZYDIS_REGISTER_ES);
    m->base = address_register(out, z->mem.base, &m->vsib);
    m->index = address_register(out, z->mem.index, &m->vsib);
    m->scale = z->mem.scale ? z->mem.scale : 1;
    m->disp = z->mem.disp.has_displacement ? z->mem.disp.value : 0;
    m->size = z->mem.type == ZYDIS_MEMOP_TYPE_AGEN ? 0 : (uint16_t)(z->size / 8);
}

static void note_gpr(struct x86_insn *out, const ZydisDecodedOperand *z)
{
    ZydisRegister r = z->reg.value;
    int n = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH ? (int)(r - ZYDIS_REGISTER_AH)
                                                             : gpr_number(r);

    if (n < 0)
        return;
    if (z->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
        out->gprs_read |= 1u << n;
    if (z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        out->gprs_written |= 1u << n;
}

/* PUSH, POP, CALL and RET touch the stack through a hidden operand that says
 * nothing new; other hidden memory operands (XLAT, MASKMOVDQU, string
 * sources) carry the segment. A string destination is always ES:rDI. */
static bool hidden_mem_counts(const ZydisDecodedOperand *z, const struct x86_insn *out)
{
    if (gpr_number(z->mem.base) == X86_RSP || z->mem.base == ZYDIS_REGISTER_NONE)
        return false;
    return out->class != X86_CLASS_STRING || gpr_number(z->mem.base) == X86_RSI;
}

/* Zydis lists the pointers of a string instruction only as address parts. */
static void note_string_pointer(struct x86_insn *out, const ZydisDecodedOperand *z)
{
    unsigned moved = 1u << gpr_number(z->mem.base);

    if (out->rep || out->repne)
        moved |= 1u << X86_RCX;
    out->gprs_read |= moved;
    out->gprs_written |= moved;
    out->mem.size = (uint16_t)(z->size / 8);
}

static enum x86_operand_field operand_field(const ZydisDecodedOperand *z)
{
    switch (z->encoding) {
    case ZYDIS_OPERAND_ENCODING_NONE: return X86_FIELD_IMPLIED;
    case ZYDIS_OPERAND_ENCODING_MODRM_REG: return X86_FIELD_MODRM_REG;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM: return X86_FIELD_MODRM_RM;
    case ZYDIS_OPERAND_ENCODING_OPCODE: return X86_FIELD_OPCODE;
    case ZYDIS_OPERAND_ENCODING_NDSNDD: return X86_FIELD_VVVV;
    default: return X86_FIELD_OTHER;
    }
}

static void convert_operand(struct x86_insn *out, const ZydisDecodedOperand *z, unsigned *imms)
{
    bool visible = z->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                   out->class != X86_CLASS_STRING;
    struct x86_operand *o, hidden;

    if (z->type == ZYDIS_OPERAND_TYPE_REGISTER)
        note_gpr(out, z);
    o = visible && out->operands < X86_INSN_OPERANDS ? &out->op[out->operands] : &hidden;
    *o = (struct x86_operand){.size = (uint16_t)((z->size + 7) / 8),
                              .field = (uint8_t)operand_field(z),
                              .read = z->actions & ZYDIS_OPERAND_ACTION_MASK_READ,
                              .written = z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE};
    switch (z->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        operand_register(o, z->reg.value);
        break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        o->kind = X86_OPND_MEM;
        if (visible || hidden_mem_counts(z, out))
            set_mem(out, z);
        if (out->class == X86_CLASS_STRING)
            note_string_pointer(out, z);
        break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (!visible || *imms >= ARRAY_SIZE(out->imm))
            return;
        o->kind = X86_OPND_IMM;
        o->reg = (uint8_t)*imms;
        out->imm[(*imms)++] = z->imm.is_signed ? z->imm.value.s : (int64_t)z->imm.value.u;
        break;
    case ZYDIS_OPERAND_TYPE_POINTER:
        o->kind = X86_OPND_FAR;
        out->imm[0] = z->ptr.offset;
        out->imm[1] = z->ptr.segment;
        break;
    default:
        return;
    }
    if (visible && out->operands < X86_INSN_OPERANDS)
        out->operands++;
}

/* ---- the whole instruction --------------------------------------------- */

/* MOV, PUSH and POP are plain computing unless they name a segment, control or
 * debug register; JMP, CALL and RET unless they are far. */
static enum x86_class refine_class(const struct x86_insn *out, const ZydisDecodedInstruction *z)
{
    if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return X86_CLASS_SYSTEM;
    if (out->class == X86_CLASS_INTEGER) {
        for (unsigned i = 0; i < out->operands; i++) {
            if (out->op[i].kind == X86_OPND_SEG || out->op[i].kind == X86_OPND_CR ||
                out->op[i].kind == X86_OPND_DR)
                return X86_CLASS_SYSTEM;
        }
    }
    return out->class;
}

static void set_flags(struct x86_insn *out, const ZydisDecodedInstruction *z)
{
    const ZydisAccessedFlags *f = z->cpu_flags;

    if (!f)
        return;
    out->flags_read = f->tested;
    out->flags_written = f->modified | f->set_0 | f->set_1 | f->undefined;
    out->flags_undefined = f->undefined;
}

/* Operand size in force: Zydis says 8 for byte forms. */
static uint8_t effective_bits(const ZydisDecodedInstruction *z, unsigned code_bits)
{
    bool osize = z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;

    if (z->operand_width >= 16)
        return z->operand_width;
    if (code_bits == 64)
        return z->raw.rex.W ? 64 : osize ? 16 : 32;
    return (code_bits == 32) != osize ? 32 : 16;
}

static void set_layout(struct x86_insn *out, const ZydisDecodedInstruction *z)
{
    const struct ZydisDecodedInstructionRawImm_ *imm = z->raw.imm;

    if (z->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        out->modrm_at = z->raw.modrm.offset;
    if (z->raw.disp.size) {
        out->disp_at = z->raw.disp.offset;
        out->disp_bytes = z->raw.disp.size / 8;
    }
    if (imm[0].size) {
        out->imm_at = imm[0].offset;
        out->imm_bytes = (uint8_t)((imm[0].size + imm[1].size) / 8);
    }
}

static int decode_error(ZyanStatus status, size_t len)
{
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return len < X86_INSN_MAX_BYTES ? -EAGAIN : -E2BIG;
    return status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? -E2BIG : -ENOEXEC;
}

static bool ends_block(const struct x86_insn *out)
{
    switch (out->class) {
    case X86_CLASS_BRANCH:
    case X86_CLASS_INVALID: return true;
    case X86_CLASS_SYSTEM: return !x86_decode_is_calm(out);
    default: return false;
    }
}

/* What AMD's processors do differently (seen on Zen; not in the APM): a REP
 * prefix overrides the condition of LOOPE and LOOPNE, and PREFETCH (0F 0D) with
 * a register, a NOP elsewhere, is #UD. */
static void amd_differences(struct x86_insn *out, const ZydisDecodedInstruction *z)
{
    bool loop = out->mnemonic == ZYDIS_MNEMONIC_LOOPE || out->mnemonic == ZYDIS_MNEMONIC_LOOPNE;

    for (unsigned i = 0; loop && i < z->raw.prefix_count; i++) {
        uint8_t prefix = z->raw.prefixes[i].value;

        if ((prefix == 0xf2 || prefix == 0xf3) && host_is_amd())
            out->mnemonic = prefix == 0xf2 ? ZYDIS_MNEMONIC_LOOPNE : ZYDIS_MNEMONIC_LOOPE;
    }
    if (out->mnemonic == ZYDIS_MNEMONIC_NOP && z->opcode_map == ZYDIS_OPCODE_MAP_0F &&
        z->opcode == 0x0d && host_is_amd())
        out->class = X86_CLASS_INVALID;
}

/* Zydis knows of AMD's 16-bit branches only where the length depends on it. */
static void amd_branch(struct x86_insn *out)
{
    out->operand_bits = 16;
    for (unsigned i = 0; i < out->operands; i++) {
        if (out->op[i].kind == X86_OPND_GPR || out->op[i].kind == X86_OPND_MEM)
            out->op[i].size = 2;
    }
    if (out->mem.size)
        out->mem.size = 2;
}

/* Zydis 4.0 takes SIB base 101 with mod 00 and REX.B for R13 when addresses are
 * 32 bits wide; it means a displacement and no base (SDM vol. 2, table 2-5). */
static void sib_without_base(struct x86_insn *out, const ZydisDecodedInstruction *z)
{
    if ((z->attributes & ZYDIS_ATTRIB_HAS_SIB) && z->raw.modrm.mod == 0 &&
        z->raw.sib.base == 5 && out->mem.base == X86_R13) {
        out->mem.base = X86_REG_NONE;
        out->mem.disp = z->raw.disp.value;
    }
}

static void convert(struct x86_insn *out, const ZydisDecodedInstruction *z,
                    const ZydisDecodedOperand *operands, unsigned code_bits)
{
    const uint64_t rep_marks = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE;
    unsigned imms = 0;

    out->mnemonic = (uint16_t)z->mnemonic;
    out->length = z->length;
    out->code_bits = (uint8_t)code_bits;
    out->operand_bits = effective_bits(z, code_bits);
    out->address_bits = z->address_width;
    out->lock = z->attributes & ZYDIS_ATTRIB_HAS_LOCK;
    out->rep = z->attributes & rep_marks;
    out->repne = z->attributes & ZYDIS_ATTRIB_HAS_REPNE;
    out->mem = (struct x86_mem){.seg = X86_DS, .base = X86_REG_NONE, .index = X86_REG_NONE,
                                .scale = 1};
    out->class = (uint8_t)x86_decode_class(z);
    for (unsigned i = 0; i < z->operand_count; i++)
        convert_operand(out, &operands[i], &imms);
    sib_without_base(out, z);
    out->class = (uint8_t)refine_class(out, z);
    set_flags(out, z);
    set_layout(out, z);
    out->isa = x86_decode_isa(z);
    if (out->isa == X86_ISA_NEVER) {
        out->class = X86_CLASS_INVALID;
        out->isa = 0;
    }
    amd_differences(out, z);
    out->ends_block = ends_block(out);
}

/* F3 90 with REX.B is not PAUSE but XCHG with R8. Zydis sees that when the F3
 * is a prefix without meaning. */
static ZyanStatus decode_exchange(const ZydisDecoder *decoder, ZydisDecoderContext *context,
                                  const uint8_t *bytes, ZydisDecodedInstruction *z)
{
    uint8_t copy[X86_INSN_MAX_BYTES], length = z->length;

    for (unsigned i = 0; i < length; i++)
        copy[i] = bytes[i] == 0xf3 ? 0x3e : bytes[i];
    return ZydisDecoderDecodeInstruction(decoder, context, copy, length, z);
}

int x86_decode(const uint8_t *bytes, size_t len, unsigned code_bits, struct x86_insn *out)
{
    const ZydisDecoder *decoder = decoder_for(code_bits);
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction z;
    ZydisDecoderContext context;
    ZyanStatus status;

    len = len < X86_INSN_MAX_BYTES ? len : X86_INSN_MAX_BYTES;
    status = ZydisDecoderDecodeInstruction(decoder, &context, bytes, len, &z);
    if (ZYAN_SUCCESS(status) && z.mnemonic == ZYDIS_MNEMONIC_PAUSE && z.raw.rex.B)
        status = decode_exchange(decoder, &context, bytes, &z);
    if (ZYAN_SUCCESS(status) && code_bits == 64 && z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
        has_prefix(&z, 0x66) && host_is_amd()) {
        decoder = &decoder_64_amd;
        status = ZydisDecoderDecodeInstruction(decoder, &context, bytes, len, &z);
    }
    if (ZYAN_SUCCESS(status))
        status = ZydisDecoderDecodeOperands(decoder, &context, &z, operands, z.operand_count);
    if (!ZYAN_SUCCESS(status))
        return decode_error(status, len);
    memset(out, 0, sizeof *out);
    memcpy(out->bytes, bytes, z.length);
    convert(out, &z, operands, code_bits);
    if (decoder == &decoder_64_amd && out->class == X86_CLASS_BRANCH && !z.raw.rex.W)
        amd_branch(out);
    return 0;
}

unsigned x86_disassemble(const uint8_t *bytes, size_t len, unsigned code_bits, uint64_t rip,
                         char *text, size_t text_size)
{
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction z;
    ZydisFormatter formatter;

    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder_for(code_bits), bytes, len, &z, operands)) &&
        ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) &&
        ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &z, operands,
                                                     z.operand_count_visible, text, text_size,
                                                     rip, NULL)))
        return z.length;
    snprintf(text, text_size, "(bad)");
    return 1;
}
