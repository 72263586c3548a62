/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode_tables.h - who executes an instruction, and what it needs.
 *
 * Private to the decoder. Adding an instruction to one of our own executors is
 * adding its mnemonic to the table in decode_tables.c.
 */
#ifndef RING3_X86_DECODE_TABLES_H
#define RING3_X86_DECODE_TABLES_H

#include <Zydis/Zydis.h>
#include "x86/decode.h"

/* x86_decode_isa: of an instruction set that no CPU model offers. */
#define X86_ISA_NEVER UINT64_MAX

/* Class by mnemonic and instruction set, operands not yet considered. */
enum x86_class x86_decode_class(const ZydisDecodedInstruction *z);
/* Features (X86_ISA bits) it needs, or X86_ISA_NEVER. */
uint64_t x86_decode_isa(const ZydisDecodedInstruction *z);
/* A system instruction that neither transfers control nor changes how code is
 * fetched, decoded or translated: a block may go on after it. */
bool x86_decode_is_calm(const struct x86_insn *insn);

#endif
