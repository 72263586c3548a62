/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn_encode.c - a guest instruction, re-encoded for a stub.
 *
 * The stub runs in 64-bit mode whatever mode the guest is in, with general
 * registers renamed and the memory operand at [mem]. Only prefixes, the fields
 * that number general registers, and ModRM change; opcode, vector registers
 * and immediates stay (Intel SDM vol. 2, ch. 2; EVEX: 2.7). The result is
 * decoded again and compared: what does not come out as the same instruction
 * is not executed.
 */
#include "x86/hostinsn_priv.h"

#include <string.h>

/* The encoding's fields, extension bits applied and un-inverted. */
struct fields {
    uint8_t reg, rm, vvvv;       /* 5 bits each */
    uint8_t map, pp;
    bool w;
    uint8_t tail;                /* VEX: L; EVEX: z, L'L, b, aaa in place */
};

static struct fields parse(const struct hostinsn_source *src)
{
    const ZydisDecodedInstruction *z = &src->z;
    struct fields f = {.reg = z->raw.modrm.reg, .rm = z->raw.modrm.rm};
    const uint8_t *p;

    switch (z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
        p = src->bytes + z->raw.vex.offset;
        if (p[0] == 0xc5) {
            f.reg |= (uint8_t)((~p[1] >> 4) & 8);
            f.map = 1;
            p -= 1;
        } else {
            f.reg |= (uint8_t)((~p[1] >> 4) & 8);
            f.rm |= (uint8_t)((~p[1] >> 2) & 8);
            f.map = p[1] & 31;
            f.w = p[2] & 0x80;
        }
        f.vvvv = (uint8_t)((~p[2] >> 3) & 15);
        f.tail = p[2] & 4;
        f.pp = p[2] & 3;
        break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
        p = src->bytes + z->raw.evex.offset;
        f.reg |= (uint8_t)(((~p[1] >> 4) & 8) | (~p[1] & 0x10));
        f.rm |= (uint8_t)(((~p[1] >> 2) & 8) | ((~p[1] >> 2) & 0x10));
        f.map = p[1] & 7;
        f.w = p[2] & 0x80;
        f.vvvv = (uint8_t)(((~p[2] >> 3) & 15) | ((~(unsigned)p[3] << 1) & 0x10));
        f.pp = p[2] & 3;
        f.tail = p[3] & 0xf7;
        break;
    default:
        f.reg |= (uint8_t)(z->raw.rex.R << 3);
        f.rm |= (uint8_t)(z->raw.rex.B << 3);
        f.w = z->raw.rex.W;
        break;
    }
    return f;
}

static bool is_gpr(ZydisRegister r)
{
    return r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15;
}

/* Outside 64-bit mode there are eight registers of a kind, and W does not
 * widen general registers: bits that would say otherwise are ignored there. */
static void legacy_mode_fields(const struct hostinsn_source *src, struct fields *f)
{
    f->reg &= 7;
    f->rm &= 7;
    f->vvvv &= 7;
    switch (src->z.mnemonic) {
    case ZYDIS_MNEMONIC_VMOVD: case ZYDIS_MNEMONIC_VPINSRD: case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VCVTSI2SS: case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTUSI2SS: case ZYDIS_MNEMONIC_VCVTUSI2SD:
    case ZYDIS_MNEMONIC_VPCMPESTRI: case ZYDIS_MNEMONIC_VPCMPESTRM:
        f->w = false;
        return;
    default:
        break;
    }
    /* W of a KMOVD is part of the opcode, but there it is 0 with a GPR. */
    for (unsigned i = 0; i < src->z.operand_count_visible; i++) {
        if (src->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr(src->op[i].reg.value))
            f->w = false;
    }
}

/* Puts the host's numbers of general registers into their fields. */
static void rename_gprs(const struct hostinsn_source *src, const struct hostinsn_regs *regs,
                        struct fields *f)
{
    for (unsigned i = 0; i < src->z.operand_count_visible; i++) {
        const ZydisDecodedOperand *op = &src->op[i];

        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || !is_gpr(op->reg.value))
            continue;
        uint8_t host = x86_hostinsn_is_high(op->reg.value)
                           ? regs->high
                           : regs->of_guest[x86_hostinsn_gpr(op->reg.value)];
        switch (op->encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: f->reg = host; break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: f->rm = host; break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: f->vvvv = host; break;
        default: break;
        }
    }
}

static uint8_t *put_vex(uint8_t *p, const struct fields *f)
{
    *p++ = 0xc4;
    *p++ = (uint8_t)((f->reg & 8 ? 0 : 0x80) | 0x40 | (f->rm & 8 ? 0 : 0x20) | f->map);
    *p++ = (uint8_t)((f->w ? 0x80 : 0) | ((~f->vvvv & 15) << 3) | f->tail | f->pp);
    return p;
}

static uint8_t *put_evex(uint8_t *p, const struct fields *f)
{
    *p++ = 0x62;
    *p++ = (uint8_t)((f->reg & 8 ? 0 : 0x80) | (f->rm & 0x10 ? 0 : 0x40) |
                     (f->rm & 8 ? 0 : 0x20) | (f->reg & 0x10 ? 0 : 0x10) | f->map);
    *p++ = (uint8_t)((f->w ? 0x80 : 0) | ((~f->vvvv & 15) << 3) | 4 | f->pp);
    *p++ = (uint8_t)(f->tail | (f->vvvv & 0x10 ? 0 : 8));
    return p;
}

static uint8_t *put_legacy(uint8_t *p, const struct hostinsn_source *src,
                           const struct fields *f)
{
    const ZydisDecodedInstruction *z = &src->z;
    bool byte_register = false;
    uint8_t rex = (uint8_t)((f->w ? 8 : 0) | (f->reg & 8 ? 4 : 0) | (f->rm & 8 ? 1 : 0));

    /* The one instruction here whose operand size is not part of the opcode. */
    if (z->mnemonic == ZYDIS_MNEMONIC_CRC32) {
        if (src->op[1].size == 16)
            *p++ = 0x66;
        byte_register = src->op[1].size == 8;
    }
    for (unsigned i = 0; i < z->raw.prefix_count; i++) {
        if (z->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
            *p++ = z->raw.prefixes[i].value;
    }
    if (rex || byte_register)
        *p++ = 0x40 | rex;
    if (z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        *p++ = 0x0f;
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        *p++ = 0x38;
    else if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
        *p++ = 0x3a;
    return p;
}

/* Mnemonic, and for a memory operand place and size, must survive. */
static bool same_instruction(const struct hostinsn_source *src,
                             const struct hostinsn_regs *regs, const uint8_t *bytes, size_t len)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoder decoder;

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, len, &z, op)) ||
        z.mnemonic != src->z.mnemonic || z.length != len ||
        z.operand_count_visible != src->z.operand_count_visible)
        return false;
    for (unsigned i = 0; i < z.operand_count_visible; i++) {
        if (op[i].type != src->op[i].type || op[i].size != src->op[i].size)
            return false;
        if (op[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (op[i].mem.base != (ZydisRegister)(ZYDIS_REGISTER_RAX + regs->mem) ||
            op[i].mem.index != ZYDIS_REGISTER_NONE || op[i].mem.disp.has_displacement ||
            op[i].mem.segment == ZYDIS_REGISTER_FS || op[i].mem.segment == ZYDIS_REGISTER_GS)
            return false;
    }
    return true;
}

/* The immediate is one of the operands of VBLENDVPS and its kind. */
static bool names_register(const struct hostinsn_source *src)
{
    for (unsigned i = 0; i < src->z.operand_count; i++) {
        if (src->op[i].encoding == ZYDIS_OPERAND_ENCODING_IS4)
            return true;
    }
    return false;
}

size_t x86_hostinsn_encode(const struct hostinsn_source *src, const struct hostinsn_regs *regs,
                           uint8_t out[X86_INSN_MAX_BYTES])
{
    const ZydisDecodedInstruction *z = &src->z;
    uint8_t code[32], *p = code;
    struct fields f = parse(src);
    bool modrm = z->attributes & ZYDIS_ATTRIB_HAS_MODRM;
    bool memory = modrm && z->raw.modrm.mod != 3;

    if (z->machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
        legacy_mode_fields(src, &f);
    rename_gprs(src, regs, &f);
    if (memory)
        f.rm = regs->mem;
    switch (z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY: p = put_legacy(p, src, &f); break;
    case ZYDIS_INSTRUCTION_ENCODING_VEX: p = put_vex(p, &f); break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: p = put_evex(p, &f); break;
    default: return 0;
    }
    *p++ = z->opcode;
    if (modrm)
        *p++ = (uint8_t)((memory ? 0 : 0xc0) | (f.reg & 7) << 3 | (f.rm & 7));
    for (unsigned i = 0; i < 2; i++) {
        unsigned bytes = z->raw.imm[i].size / 8;

        memcpy(p, src->bytes + z->raw.imm[i].offset, bytes);
        /* A register number in bits 7-4: there are eight outside 64-bit mode. */
        if (names_register(src) && z->machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
            *p &= 0x7f;
        p += bytes;
    }
    size_t len = (size_t)(p - code);
    if (len > X86_INSN_MAX_BYTES || !same_instruction(src, regs, code, len))
        return 0;
    memcpy(out, code, len);
    return len;
}
