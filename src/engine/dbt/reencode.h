/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reencode.h - the same instruction with other general registers and with its
 * memory operand somewhere else.
 *
 * Guest and host share the instruction set, so most instructions are copied:
 * legacy, VEX and EVEX encodings alike are taken apart, the fields that name
 * general registers are mapped, the memory operand is replaced by a host operand,
 * and prefixes that only made sense for the guest (segments, address size) are
 * dropped. Vector, mask, x87 and immediate fields are left as they are.
 */
#ifndef RING3_ENGINE_DBT_REENCODE_H
#define RING3_ENGINE_DBT_REENCODE_H

#include "engine/dbt/emit.h"
#include "x86/decode.h"

struct reencode {
    uint8_t host[X86_GPR_COUNT];   /* guest register -> host register for this instruction */
    uint32_t implied;              /* guest registers that have been put where the
                                      encoding implies them */
    struct host_mem mem;           /* used when the instruction has a memory operand */
};

/* False when the instruction cannot be expressed on the host: a high-byte
 * register beside one that needs REX, an encoding that 64-bit mode lacks, a
 * vector-index operand, a high-byte register that is not where it was. */
bool dbt_reencode(struct emit *e, const struct x86_insn *insn, const struct reencode *how);

/* Would it work, whatever the memory operand will be? */
bool dbt_reencodable(const struct x86_insn *insn, const struct reencode *how);

/* VEX or EVEX encoding. */
bool dbt_is_vex(const struct x86_insn *insn);
/* Elements of its memory operand that are masked off are not accessed. */
bool dbt_is_masked(const struct x86_insn *insn);
/* Raises #GP unless its memory operand is aligned to its size, whatever MXCSR says. */
bool dbt_needs_alignment(const struct x86_insn *insn);
/* Of X86_CLASS_HOST, but no vector, mask or x87 state is involved: BMI, ADX, CRC32. */
bool dbt_is_gpr_only(const struct x86_insn *insn);
/* The x87 escape opcodes D8-DF. */
bool dbt_is_x87(const struct x86_insn *insn);

#endif
