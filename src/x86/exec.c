/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec.c - which function executes an instruction.
 */
#include "x86/exec_ops.h"

#include <Zydis/Zydis.h>
#include "base/bug.h"

#define ROW(name) [ZYDIS_MNEMONIC_##name] = x86_exec_##name,
#define SAME(name, as) [ZYDIS_MNEMONIC_##name] = x86_exec_##as,
#define CONDITIONS(prefix, as)                                                          \
    SAME(prefix##B, as) SAME(prefix##BE, as) SAME(prefix##L, as) SAME(prefix##LE, as)   \
    SAME(prefix##NB, as) SAME(prefix##NBE, as) SAME(prefix##NL, as) SAME(prefix##NLE, as) \
    SAME(prefix##NO, as) SAME(prefix##NP, as) SAME(prefix##NS, as) SAME(prefix##NZ, as) \
    SAME(prefix##O, as) SAME(prefix##P, as) SAME(prefix##S, as)

static x86_op *const integer_ops[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    X86_EXEC_INTEGER(ROW)
    CONDITIONS(SET, SETZ)
    CONDITIONS(CMOV, CMOVZ)
    SAME(MOVSXD, MOVSX)
    SAME(MOVNTI, MOV)
    SAME(PUSHAD, PUSHA)
    SAME(POPAD, POPA)
    SAME(PAUSE, NOP)
    SAME(ENDBR32, NOP)
    SAME(ENDBR64, NOP)
    SAME(PREFETCH, NOP)
    SAME(PREFETCHNTA, NOP)
    SAME(PREFETCHT0, NOP)
    SAME(PREFETCHT1, NOP)
    SAME(PREFETCHT2, NOP)
    SAME(PREFETCHW, NOP)
    SAME(PREFETCHWT1, NOP)
    SAME(LFENCE, NOP)
    SAME(SFENCE, NOP)
    SAME(CLFLUSHOPT, CLFLUSH)
    SAME(CLWB, CLFLUSH)
};

static x86_op *const branch_ops[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    X86_EXEC_BRANCH(ROW)
    CONDITIONS(J, JZ)
    SAME(JECXZ, JCXZ)
    SAME(JRCXZ, JCXZ)
    SAME(LOOPE, LOOP)
    SAME(LOOPNE, LOOP)
};

/* MOVSD and CMPSD are also SSE2 mnemonics, which is why the class comes first. */
static x86_op *const string_ops[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    X86_EXEC_STRING(ROW)
    SAME(MOVSW, MOVSB) SAME(MOVSD, MOVSB) SAME(MOVSQ, MOVSB)
    SAME(CMPSW, CMPSB) SAME(CMPSD, CMPSB) SAME(CMPSQ, CMPSB)
    SAME(STOSW, STOSB) SAME(STOSD, STOSB) SAME(STOSQ, STOSB)
    SAME(LODSW, LODSB) SAME(LODSD, LODSB) SAME(LODSQ, LODSB)
    SAME(SCASW, SCASB) SAME(SCASD, SCASB) SAME(SCASQ, SCASB)
};

static void exec_undefined(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_ud(cpu);
}

x86_op *x86_exec_op(const struct x86_insn *insn)
{
    x86_op *op = NULL;

    BUG_ON(insn->mnemonic > ZYDIS_MNEMONIC_MAX_VALUE);
    switch (insn->class) {
    case X86_CLASS_INTEGER: op = integer_ops[insn->mnemonic]; break;
    case X86_CLASS_BRANCH: op = branch_ops[insn->mnemonic]; break;
    case X86_CLASS_STRING: op = string_ops[insn->mnemonic]; break;
    case X86_CLASS_SYSTEM: op = x86_system_op(insn->mnemonic); break;
    case X86_CLASS_HOST: return NULL;
    default: break;
    }
    return op ? op : exec_undefined;
}
