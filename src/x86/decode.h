/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode.h - one instruction, decoded once, in the form both software engines use.
 *
 * Decoding itself is Zydis's; `struct x86_insn` is a compact, engine-neutral
 * summary of its answer (a ZydisDecodedInstruction is twenty times the size).
 * Mnemonics are Zydis's numbers. Explicit operands come in encoding order;
 * implicit ones are implied by the mnemonic, except in the register masks,
 * which include everything.
 */
#ifndef RING3_X86_DECODE_H
#define RING3_X86_DECODE_H

#include "x86/state.h"

enum { X86_INSN_MAX_BYTES = 15, X86_INSN_OPERANDS = 4 };

enum x86_operand_kind {
    X86_OPND_NONE,
    X86_OPND_GPR,        /* reg 0-15, size 1/2/4/8 */
    X86_OPND_GPR_HIGH,   /* AH CH DH BH: reg 0-3, size 1 */
    X86_OPND_MEM,        /* the instruction's one memory operand (x86_insn.mem) */
    X86_OPND_IMM,        /* value in x86_insn.imm[reg], sign- or zero-extended as encoded */
    X86_OPND_SEG, X86_OPND_CR, X86_OPND_DR,
    X86_OPND_VEC,        /* xmm/ymm/zmm 0-31; size 16/32/64 */
    X86_OPND_MASK, X86_OPND_MMX, X86_OPND_ST,
    X86_OPND_FAR,        /* ptr16:16/32: offset in imm[0], selector in imm[1] */
};

/* Where the encoding names a register operand; a translator that re-encodes an
 * instruction with other registers changes it there. */
enum x86_operand_field { X86_FIELD_IMPLIED, X86_FIELD_MODRM_REG, X86_FIELD_MODRM_RM,
                         X86_FIELD_OPCODE, X86_FIELD_VVVV, X86_FIELD_OTHER };

struct x86_operand {
    uint8_t kind;        /* enum x86_operand_kind */
    uint8_t reg;
    uint8_t field;       /* enum x86_operand_field */
    bool read, written;
    uint16_t size;       /* bytes */
};

enum { X86_REG_NONE = 0xff, X86_REG_RIP = 0xfe };

struct x86_mem {
    uint8_t seg;         /* enum x86_seg after overrides and defaults */
    uint8_t base;        /* GPR, X86_REG_RIP, or X86_REG_NONE */
    uint8_t index;       /* GPR, vector number for VSIB, or X86_REG_NONE */
    uint8_t scale;       /* 1 2 4 8 */
    uint16_t size;       /* bytes accessed, 0 for LEA-like and prefetch */
    bool vsib;
    int64_t disp;        /* for RIP base: relative to the END of the instruction */
};

/* What kind of work it is: decides which part of an engine executes it. */
enum x86_class {
    X86_CLASS_INTEGER,   /* GPRs, flags, memory */
    X86_CLASS_BRANCH,    /* near jumps, calls, returns, loops */
    X86_CLASS_STRING,    /* MOVS CMPS STOS LODS SCAS, with or without REP */
    X86_CLASS_HOST,      /* x87, MMX, SSE, AVX, AVX-512, BMI, ADX, CRC32, ... : hostinsn.h */
    X86_CLASS_SYSTEM,    /* shared x86 code: system.h */
    X86_CLASS_INVALID,   /* #UD */
};

struct x86_insn {
    uint16_t mnemonic;       /* ZydisMnemonic */
    uint8_t length;
    uint8_t class;           /* enum x86_class */
    uint8_t code_bits;       /* 16, 32, 64: the mode it was decoded in */
    uint8_t operand_bits;    /* 16, 32, 64 effective (8-bit forms: see the operands) */
    uint8_t address_bits;    /* 16, 32, 64 */
    uint8_t operands;        /* explicit ones */
    bool lock, rep, repne;   /* prefixes present (rep also for REPE) */
    bool ends_block;         /* may go somewhere else, or changes how code is decoded */
    struct x86_operand op[X86_INSN_OPERANDS];
    struct x86_mem mem;
    int64_t imm[2];
    /* RFLAGS bits: tested, possibly changed, left undefined. */
    uint32_t flags_read, flags_written, flags_undefined;
    uint32_t gprs_read, gprs_written;     /* bit per GPR, implicit ones included */
    uint64_t isa;            /* bit set of CPUID features it needs (cpuid.h) */
    /* Where the parts are in `bytes`; 0 when absent. For re-encoding. */
    uint8_t modrm_at, disp_at, disp_bytes, imm_at, imm_bytes;
    uint8_t bytes[X86_INSN_MAX_BYTES + 1];
};

/* Decodes at most `len` bytes. 0; -ENOEXEC: not an instruction (raise #UD);
 * -EAGAIN: more bytes are needed than `len` (fetch on, may cross a page);
 * -E2BIG: longer than 15 bytes (#GP). LOCK on an instruction that does not
 * take it is -ENOEXEC. Thread-safe, allocates nothing. */
int x86_decode(const uint8_t *bytes, size_t len, unsigned code_bits, struct x86_insn *out);

/* Disassembles one instruction (Intel syntax) for people: "mov rax, [rbx+8]".
 * Returns its length, or 1 with "(bad)". */
unsigned x86_disassemble(const uint8_t *bytes, size_t len, unsigned code_bits, uint64_t rip,
                         char *text, size_t text_size);

#endif
