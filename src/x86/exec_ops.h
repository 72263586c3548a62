/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_ops.h - private to the files behind exec.h: the functions in their
 * table, and what they share.
 */
#ifndef RING3_X86_EXEC_OPS_H
#define RING3_X86_EXEC_OPS_H

#include "x86/alu.h"
#include "x86/exec.h"
#include "x86/operand.h"

/* name: x86_exec_<name>() executes ZYDIS_MNEMONIC_<NAME>. */
#define X86_EXEC_INTEGER(X)                                                             \
    X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) X(TEST) X(INC) X(DEC) X(NEG) \
    X(NOT) X(SHL) X(SHR) X(SAR) X(ROL) X(ROR) X(RCL) X(RCR) X(SHLD) X(SHRD)             \
    X(MUL) X(IMUL) X(DIV) X(IDIV) X(BT) X(BTS) X(BTR) X(BTC)                            \
    X(BSF) X(BSR) X(TZCNT) X(LZCNT) X(POPCNT)                                           \
    X(AAA) X(AAS) X(AAM) X(AAD) X(DAA) X(DAS)                                           \
    X(MOV) X(MOVZX) X(MOVSX) X(MOVBE) X(LEA) X(XCHG) X(XADD) X(CMPXCHG) X(CMPXCHG8B)    \
    X(CMPXCHG16B) X(BSWAP) X(XLAT) X(CBW) X(CWDE) X(CDQE) X(CWD) X(CDQ) X(CQO)          \
    X(LAHF) X(SAHF) X(SALC) X(CLC) X(STC) X(CMC) X(CLD) X(STD) X(SETZ) X(CMOVZ) X(NOP)  \
    X(CLFLUSH) X(BOUND) X(MFENCE) X(PUSH) X(POP) X(PUSHA) X(POPA) X(ENTER) X(LEAVE)
#define X86_EXEC_BRANCH(X) X(JMP) X(CALL) X(RET) X(JZ) X(JCXZ) X(LOOP)
#define X86_EXEC_STRING(X) X(MOVSB) X(CMPSB) X(STOSB) X(LODSB) X(SCASB)

#define X(name) x86_op x86_exec_##name;
X86_EXEC_INTEGER(X)
X86_EXEC_BRANCH(X)
X86_EXEC_STRING(X)
#undef X

static inline uint16_t x86_hf(const struct x86_cpu *cpu)
{
    return x86_hf_from_rflags(cpu->s.rflags);
}

static inline void x86_set_hf(struct x86_cpu *cpu, uint16_t hf)
{
    cpu->s.rflags = x86_rflags_with_hf(cpu->s.rflags, hf);
}

static inline uint64_t x86_size_mask(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << size * 8) - 1;
}

static inline int64_t x86_sign_extend(uint64_t v, unsigned size)
{
    switch (size) {
    case 1: return (int8_t)v;
    case 2: return (int16_t)v;
    case 4: return (int32_t)v;
    default: return (int64_t)v;
    }
}

/* [a, a+size) = alu([a], b), atomically under LOCK where exec.h promises it.
 * Returns the old value. */
uint64_t x86_update_mem(struct x86_cpu *cpu, gva_t a, unsigned size, bool lock,
                        x86_alu_fn *alu, uint64_t b, uint16_t *hf);

#endif
