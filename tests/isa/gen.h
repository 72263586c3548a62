/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gen.h - inside generation: what gen.c (instructions, straight cases) and
 * sequence.c (loops) share.
 */
#ifndef RING3_TESTS_ISA_GEN_H
#define RING3_TESTS_ISA_GEN_H

#include "isa.h"

struct gen_fixup {
    unsigned at;                 /* in code[] */
    unsigned bytes;              /* 1, 2, 4 */
    bool absolute;               /* address of the target, else relative to `next` */
    unsigned next;
    unsigned first;              /* smallest instruction index that may be the target */
};

struct gen {
    struct isa_rng rng;
    const struct isa_gen_options *o;
    struct isa_case *c;
    struct gen_fixup fixup[192];
    unsigned fixups;
    uint32_t undefined;          /* flags, at this point of the straight line, */
    uint32_t branched;           /* and where a branch may have come from */
    /* In a loop flags are what they are, and registers may keep an address. */
    bool loop;
    uint32_t pinned;             /* registers that nothing may write to */
    uint32_t known;              /* registers whose address[] holds */
    uint64_t address[X86_GPR_COUNT];
};

void gen_append(struct gen *g, const uint8_t *bytes, unsigned n, bool setup);
/* MOV reg, imm of full width. */
void gen_set(struct gen *g, unsigned reg, uint64_t value);
void gen_add_fixup(struct gen *g, struct gen_fixup f);
/* Resolves what gen_add_fixup noted, beginning with number `from`: to one of the
 * next instructions, at most the one that will be appended next. */
void gen_apply_fixups(struct gen *g, unsigned from);
/* Appends a random instruction and its preparation; false: the dice said no. */
bool gen_one(struct gen *g);
/* An address for `bytes` of code. */
uint64_t gen_place(struct gen *g, unsigned bytes);

/* ---- sequence.c -------------------------------------------------------- */

enum gen_width { GEN_NATURAL, GEN_DWORD, GEN_WIDEST };
/* An instruction with ModRM on a slot (isa.h); GEN_WIDEST: 64 bits where there are. */
void gen_slot(struct gen *g, unsigned opcode, unsigned reg, unsigned slot, enum gen_width width);

#endif
