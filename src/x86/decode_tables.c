/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode_tables.c - the two tables behind x86_decode: class by mnemonic,
 * feature bits and executor by Zydis's instruction set.
 *
 * Instruction sets absent from isa_rows are offered by no model and raise #UD:
 * 3DNow!, XOP, FMA4, TBM, LWP, MPX, CET, TSX, AMX, SVM, VMX, SGX, KNC and
 * whatever a newer Zydis adds. Base sets (8086 to Pentium Pro) need nothing:
 * every model has long mode and what comes with it.
 */
#include "x86/decode_tables.h"

#include "x86/cpuid_features.h"
#include "x86/system.h"

/* ---- instruction sets -------------------------------------------------- */

struct isa_row {
    bool known;
    bool host;          /* executed by hostinsn unless a table below claims it */
    uint64_t needs;
};

#define BASE(set) [ZYDIS_ISA_SET_##set] = {true, false, 0}
#define OWN(set, bits) [ZYDIS_ISA_SET_##set] = {true, false, bits}
#define HOST(set, bits) [ZYDIS_ISA_SET_##set] = {true, true, bits}
#define F(id) X86_ISA(id)
/* AVX-512 sets come per vector length; below 512 bits they need VL as well. */
#define HOST_LENGTHS(set, bits)                                                        \
    HOST(set##_128, (bits) | F(AVX512VL)), HOST(set##_256, (bits) | F(AVX512VL)),      \
        HOST(set##_512, bits)

static const struct isa_row isa_rows[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    BASE(I86), BASE(I186), BASE(I286PROTECTED), BASE(I286REAL), BASE(I386), BASE(I486),
    BASE(I486REAL), BASE(PENTIUMREAL), BASE(PPRO), BASE(FAT_NOP), BASE(LONGMODE), BASE(PAUSE),
    BASE(PREFETCH_NOP), BASE(AMD), BASE(RDPMC),
    OWN(CMOV, F(CMOV)),
    OWN(CLFSH, F(CLFLUSH)),
    OWN(CLFLUSHOPT, F(CLFLUSHOPT)),
    OWN(CLWB, F(CLWB)),
    OWN(CMPXCHG16B, F(CX16)),
    OWN(FXSAVE, F(FXSR)),
    OWN(FXSAVE64, F(FXSR)),
    OWN(INVPCID, F(INVPCID)),
    OWN(LAHF, 0),                            /* LAHF64 in 64-bit mode: see below */
    OWN(MONITOR, F(MONITOR)),
    OWN(MOVBE, F(MOVBE)),
    OWN(PKU, F(PKU)),
    OWN(POPCNT, F(POPCNT)),
    OWN(LZCNT, 0),                           /* BSR without the feature */
    OWN(RDPID, F(RDPID)),
    OWN(RDRAND, F(RDRAND)),
    OWN(RDSEED, F(RDSEED)),
    OWN(RDTSCP, F(RDTSCP)),
    OWN(RDWRFSGS, F(FSGSBASE)),
    OWN(SMAP, F(SMAP)),
    OWN(SSE_PREFETCH, 0),
    OWN(XSAVE, F(XSAVE)),
    OWN(XSAVEC, F(XSAVEC)),
    OWN(XSAVEOPT, F(XSAVEOPT)),
    OWN(XSAVES, F(XSAVES)),
    HOST(X87, F(FPU)),
    HOST(FCMOV, F(FPU) | F(CMOV)),
    HOST(PENTIUMMMX, F(MMX)),
    HOST(SSE, F(SSE)),
    HOST(SSEMXCSR, F(SSE)),
    HOST(SSE2, F(SSE2)),
    HOST(SSE2MMX, F(SSE2)),
    HOST(SSE3, F(SSE3)),
    HOST(SSE3X87, F(SSE3)),
    HOST(SSSE3, F(SSSE3)),
    HOST(SSSE3MMX, F(SSSE3)),
    HOST(SSE4, F(SSE4_1)),
    HOST(SSE42, F(SSE4_2)),
    HOST(SSE4A, F(SSE4A)),
    HOST(AES, F(AES)),
    HOST(PCLMULQDQ, F(PCLMUL)),
    HOST(SHA, F(SHA)),
    HOST(GFNI, F(GFNI)),
    HOST(ADOX_ADCX, F(ADX)),
    HOST(BMI1, F(BMI1)),
    HOST(BMI2, F(BMI2)),
    HOST(AVX, F(AVX)),
    HOST(AVXAES, F(AVX) | F(AES)),
    HOST(AVX_GFNI, F(AVX) | F(GFNI)),
    HOST(AVX_VNNI, F(AVXVNNI)),
    HOST(AVX2, F(AVX2)),
    HOST(AVX2GATHER, F(AVX2)),
    HOST(F16C, F(F16C)),
    HOST(FMA, F(FMA)),
    HOST(VAES, F(VAES)),
    HOST(VPCLMULQDQ, F(VPCLMUL)),
    HOST_LENGTHS(AVX512F, F(AVX512F)),
    HOST(AVX512F_128N, F(AVX512F)),
    HOST(AVX512F_KOP, F(AVX512F)),
    HOST(AVX512F_SCALAR, F(AVX512F)),
    HOST_LENGTHS(AVX512DQ, F(AVX512DQ)),
    HOST(AVX512DQ_128N, F(AVX512DQ)),
    HOST(AVX512DQ_KOP, F(AVX512DQ)),
    HOST(AVX512DQ_SCALAR, F(AVX512DQ)),
    HOST_LENGTHS(AVX512BW, F(AVX512BW)),
    HOST(AVX512BW_128N, F(AVX512BW)),
    HOST(AVX512BW_KOP, F(AVX512BW)),
    HOST_LENGTHS(AVX512CD, F(AVX512CD)),
    HOST_LENGTHS(AVX512_IFMA, F(AVX512IFMA)),
    HOST_LENGTHS(AVX512_VBMI, F(AVX512VBMI)),
    HOST_LENGTHS(AVX512_VBMI2, F(AVX512VBMI2)),
    HOST_LENGTHS(AVX512_VNNI, F(AVX512VNNI)),
    HOST_LENGTHS(AVX512_BITALG, F(AVX512BITALG)),
    HOST_LENGTHS(AVX512_VPOPCNTDQ, F(AVX512VPOPCNT)),
    HOST_LENGTHS(AVX512_BF16, F(AVX512BF16)),
    HOST_LENGTHS(AVX512_GFNI, F(AVX512F) | F(GFNI)),
    HOST_LENGTHS(AVX512_VAES, F(AVX512F) | F(VAES)),
    HOST_LENGTHS(AVX512_VPCLMULQDQ, F(AVX512F) | F(VPCLMUL)),
};

uint64_t x86_decode_isa(const ZydisDecodedInstruction *z)
{
    const struct isa_row *row = &isa_rows[z->meta.isa_set];

    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_TZCNT:                            /* BSF without the feature; */
        return z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ? 0 : X86_ISA_NEVER; /* KNC's */
    case ZYDIS_MNEMONIC_FCOMI: case ZYDIS_MNEMONIC_FCOMIP:   /* Zydis: Pentium Pro */
    case ZYDIS_MNEMONIC_FUCOMI: case ZYDIS_MNEMONIC_FUCOMIP: return F(FPU) | F(CMOV);
    case ZYDIS_MNEMONIC_PREFETCHWT1: return 0;            /* a hint, known or not */
    case ZYDIS_MNEMONIC_CMPXCHG8B: return F(CX8);
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET: return F(SYSCALL);
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT: return F(SEP);
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_SAHF:
        return z->machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? F(LAHF64) : 0;
    case ZYDIS_MNEMONIC_VMCALL:                           /* the hypercalls: #UD or more, */
    case ZYDIS_MNEMONIC_VMMCALL: return 0;                /* as system.c says */
    default: return row->known ? row->needs : X86_ISA_NEVER;
    }
}

/* ---- classes by mnemonic ----------------------------------------------- */

#define M(name) ZYDIS_MNEMONIC_##name
#define I(name) [ZYDIS_MNEMONIC_##name] = 1 + X86_CLASS_INTEGER
#define B(name) [ZYDIS_MNEMONIC_##name] = 1 + X86_CLASS_BRANCH
#define U(name) [ZYDIS_MNEMONIC_##name] = 1 + X86_CLASS_INVALID

/* 1 + class; 0 = not claimed. */
static const uint8_t class_rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    I(MOV), I(MOVZX), I(MOVSX), I(MOVSXD), I(MOVBE), I(MOVNTI), I(LEA), I(XCHG), I(XADD),
    I(CMPXCHG), I(CMPXCHG8B), I(CMPXCHG16B), I(BSWAP), I(XLAT),
    I(ADD), I(OR), I(ADC), I(SBB), I(AND), I(SUB), I(XOR), I(CMP), I(TEST),
    I(INC), I(DEC), I(NEG), I(NOT), I(MUL), I(IMUL), I(DIV), I(IDIV),
    I(SHL), I(SHR), I(SAR), I(ROL), I(ROR), I(RCL), I(RCR), I(SHLD), I(SHRD),
    I(BT), I(BTS), I(BTR), I(BTC), I(BSF), I(BSR), I(TZCNT), I(LZCNT), I(POPCNT),
    I(CBW), I(CWDE), I(CDQE), I(CWD), I(CDQ), I(CQO),
    I(PUSH), I(POP), I(PUSHA), I(PUSHAD), I(POPA), I(POPAD), I(ENTER), I(LEAVE),
    I(LAHF), I(SAHF), I(SALC), I(CLC), I(STC), I(CMC), I(CLD), I(STD),
    I(AAA), I(AAS), I(AAM), I(AAD), I(DAA), I(DAS), I(BOUND),
    I(SETB), I(SETBE), I(SETL), I(SETLE), I(SETNB), I(SETNBE), I(SETNL), I(SETNLE), I(SETNO),
    I(SETNP), I(SETNS), I(SETNZ), I(SETO), I(SETP), I(SETS), I(SETZ),
    I(CMOVB), I(CMOVBE), I(CMOVL), I(CMOVLE), I(CMOVNB), I(CMOVNBE), I(CMOVNL), I(CMOVNLE),
    I(CMOVNO), I(CMOVNP), I(CMOVNS), I(CMOVNZ), I(CMOVO), I(CMOVP), I(CMOVS), I(CMOVZ),
    I(NOP), I(PAUSE), I(LFENCE), I(MFENCE), I(SFENCE), I(ENDBR32), I(ENDBR64),
    I(PREFETCH), I(PREFETCHNTA), I(PREFETCHT0), I(PREFETCHT1), I(PREFETCHT2), I(PREFETCHW),
    I(PREFETCHWT1), I(CLFLUSH), I(CLFLUSHOPT), I(CLWB),
    B(JMP), B(CALL), B(RET), B(JCXZ), B(JECXZ), B(JRCXZ), B(LOOP), B(LOOPE), B(LOOPNE),
    B(JB), B(JBE), B(JL), B(JLE), B(JNB), B(JNBE), B(JNL), B(JNLE), B(JNO), B(JNP), B(JNS),
    B(JNZ), B(JO), B(JP), B(JS), B(JZ),
    U(UD0), U(UD1), U(UD2),
};

enum x86_class x86_decode_class(const ZydisDecodedInstruction *z)
{
    /* MOVSD and CMPSD are names of two instructions each. */
    if (z->meta.category == ZYDIS_CATEGORY_STRINGOP)
        return X86_CLASS_STRING;
    if (class_rows[z->mnemonic])
        return (enum x86_class)(class_rows[z->mnemonic] - 1);
    if (z->meta.category == ZYDIS_CATEGORY_X87_ALU)       /* FCOMI, of a base set, too */
        return X86_CLASS_HOST;
    if (isa_rows[z->meta.isa_set].host && !x86_system_op(z->mnemonic))
        return X86_CLASS_HOST;
    return X86_CLASS_SYSTEM;
}

/* ---- system instructions that do not end a block ------------------------ */

/* CPUID is not among them: it serializes, code after it may have been changed. */
bool x86_decode_is_calm(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(RDTSC): case M(RDTSCP): case M(RDPMC): case M(RDPID):
    case M(RDRAND): case M(RDSEED): case M(RDMSR): case M(XGETBV):
    case M(PUSHF): case M(PUSHFD): case M(PUSHFQ): case M(CLI): case M(STAC): case M(CLAC):
    case M(RDFSBASE): case M(RDGSBASE): case M(WRFSBASE): case M(WRGSBASE): case M(SWAPGS):
    case M(LAR): case M(LSL): case M(VERR): case M(VERW):
    case M(SGDT): case M(SIDT): case M(SLDT): case M(STR): case M(SMSW):
    case M(FXSAVE): case M(FXSAVE64): case M(FXRSTOR): case M(FXRSTOR64):
    case M(XSAVE): case M(XSAVE64): case M(XSAVEC): case M(XSAVEC64):
    case M(XSAVEOPT): case M(XSAVEOPT64): case M(XSAVES): case M(XSAVES64):
    case M(XRSTOR): case M(XRSTOR64): case M(XRSTORS): case M(XRSTORS64):
    case M(LDMXCSR): case M(STMXCSR): case M(PUSH):
        return true;
    case M(MOV):                           /* reading CR, DR or a segment register */
        return insn->op[0].kind == X86_OPND_GPR || insn->op[0].kind == X86_OPND_MEM;
    default:
        return false;
    }
}
