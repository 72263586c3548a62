/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate.h - pieces that the translator's files share: translate.c (the
 * block), translate_mem.c (addresses and accesses), translate_insn.c (one
 * instruction), translate_flow.c (jumps, calls, returns).
 */
#ifndef RING3_ENGINE_DBT_TRANSLATE_H
#define RING3_ENGINE_DBT_TRANSLATE_H

#include "engine/dbt/dbt.h"
#include "engine/dbt/reencode.h"

/* Where a guest register is, but for loops: a host register, or H_NONE for frame.gpr. */
extern const uint8_t dbt_home[X86_GPR_COUNT];
/* Guest registers that live in the frame, as a mask. */
#define DBT_IN_FRAME ((1u << X86_R9) | (1u << X86_R10) | (1u << X86_R11))
/* Guest registers that are not in the host register of their number. */
#define DBT_MOVED (DBT_IN_FRAME | 1u << X86_RSP | 1u << X86_RCX)

static inline struct host_mem dbt_slot(unsigned gpr)
{
    return h_frame(offsetof(struct dbt_frame, gpr) + 8 * gpr);
}

/* ---- translate.c -------------------------------------------------------- */
/* Where guest registers are from here on: as everywhere, or as in the loop (rehome.c). */
void dbt_homes_set(struct dbt_translation *t, bool rehomed);
/* May so many more instructions follow in this block? */
bool dbt_has_room(const struct dbt_translation *t, unsigned insns);
/* Makes sure that `bytes` more can be emitted before the way to pending stubs gets too
 * long for JRCXZ; puts jumps to them down (jumped over) if not. */
void dbt_reach(struct dbt_translation *t, unsigned bytes);
/* Emits the JRCXZ to it. */
struct dbt_stub *dbt_stub_here(struct dbt_translation *t, enum dbt_stub_kind kind,
                               enum dbt_exit exit);
struct dbt_site *dbt_exit_here(struct dbt_translation *t, enum dbt_exit exit);
/* The same where flags are dead, if `cc`. */
struct dbt_stub *dbt_late_here(struct dbt_translation *t, enum dbt_stub_kind kind,
                               enum dbt_exit exit, unsigned cc);
void dbt_stubs_flush(struct dbt_translation *t);
/* Jcc to code that goes on at `target`, to be put down at the end. */
void dbt_far_here(struct dbt_translation *t, unsigned cc, uint64_t target);
/* May a jump at `rip` be linked to `target` for good? */
bool dbt_may_link(const struct dbt_translation *t, uint64_t rip, uint64_t target);
/* What the jump whose displacement is at `jump` leads to until it is linked. */
void dbt_link_here(struct dbt_translation *t, uint8_t *jump, uint64_t target);

/* ---- plan.c -------------------------------------------------------------- */
/* Fills in step[] and part[] from `source` and `guide`. */
void dbt_plan(struct dbt_translation *t);

/* ---- cluster.c ----------------------------------------------------------- */
/* Which steps' accesses share translations. */
void dbt_clusters_find(struct dbt_translation *t);
/* The memory operand of the step at hand, based on r11, if a cluster has it. Uses rcx. */
bool dbt_cluster_operand(struct dbt_translation *t, struct host_mem *out);
/* Something else happens: translations are to be made anew. */
void dbt_clusters_forget(struct dbt_translation *t);
/* Behind the first round of a loop, in front of the others. */
void dbt_loop_enter(struct dbt_translation *t);
/* Does code from the step at hand on rely on a translation made before? */
bool dbt_clusters_live(const struct dbt_translation *t);

/* ---- liveness.c ------------------------------------------------------------- */
/* Where checks may change flags. */
void dbt_liveness_find(struct dbt_translation *t);
/* The flags as `setter` made them (NULL: nothing to do); uses rcx. */
void dbt_recipe_emit(struct dbt_translation *t, const struct dbt_step *setter);
/* Behind a setter: what the recipe needs and would not find any more. */
void dbt_recipe_keep(struct dbt_translation *t, const struct dbt_step *setter);
/* May it leave translated code, or fault? */
bool dbt_may_leave(const struct x86_insn *insn);
bool dbt_overwrites_flags(const struct dbt_translation *t, const struct x86_insn *insn);
/* Does more than translated code happen there, or does code go on who knows where? */
bool dbt_unknown_behind(const struct dbt_step *s);

/* ---- rehome.c ------------------------------------------------------------------ */
void dbt_rehome_find(struct dbt_translation *t);
/* Guest registers to where the loop has them, and back. Flag-free, no scratch. */
void dbt_rehome_enter(struct dbt_translation *t);
void dbt_rehome_leave(struct dbt_translation *t);

/* ---- translate_mem.c ---------------------------------------------------- */
/* r11 = linear address of the memory operand, or its offset only: always with
 * DBT_MODE_SEGMENTS, where dbt_emit_access() adds the base. False: leave the
 * instruction to the interpreter. Uses rcx. */
bool dbt_emit_address(struct dbt_translation *t, const struct x86_insn *insn, bool with_segment);
/* `to` = the sum, cut to the size of addresses. */
void dbt_emit_sum(struct dbt_translation *t, enum host_reg to, unsigned address_bits,
                  struct host_mem sum);
/* rcx = addend for an access of `size` bytes at r11; with DBT_MODE_SEGMENTS at offset
 * r11 in t->seg, which becomes the linear address. */
void dbt_emit_access(struct dbt_translation *t, unsigned size, bool write);
/* The mask that leaves of an address what is zero just behind a page boundary. */
struct host_mem dbt_cross_mask(unsigned size);
/* The mask that leaves what is not a multiple of `size`, a power of two. */
struct host_mem dbt_align_mask(unsigned size);
/* rcx = addend of the page that `address` (rcx may be it) lies in, 0 if there is none. */
void dbt_emit_lookup(struct dbt_translation *t, enum host_reg address, bool write);
/* The operand as a host operand, checked and translated: based on r11, rcx or both.
 * `keep_rcx`: without rcx. False: leave the instruction to the interpreter. */
bool dbt_emit_operand(struct dbt_translation *t, const struct x86_insn *insn, bool write,
                      bool keep_rcx, struct host_mem *out);
/* r11 += rcx: the host address, rcx free again. */
void dbt_emit_fold(struct dbt_translation *t);
/* host register = guest register (64-bit). */
void dbt_emit_get(struct dbt_translation *t, enum host_reg to, unsigned gpr);
void dbt_emit_put(struct dbt_translation *t, unsigned gpr, enum host_reg from);

/* ---- translate_system.c -------------------------------------------------- */
/* A system instruction; also says whether the block goes on. False: the interpreter's. */
bool dbt_emit_system(struct dbt_translation *t, const struct x86_insn *insn);
bool dbt_emit_pause(struct dbt_translation *t);
/* May straight code go on behind it, although it ends blocks of the interpreter? */
bool dbt_system_goes_on(const struct dbt_translation *t, const struct x86_insn *insn);
/* Leaves for `helper`; `open`: code goes on behind the instruction. True. */
bool dbt_emit_help(struct dbt_translation *t, dbt_helper *helper, uint32_t operand, bool open);

/* ---- translate_segment.c ------------------------------------------------- */
bool dbt_emit_segment(struct dbt_translation *t, const struct x86_insn *insn);
/* Does it load a segment register by stores to the frame? */
bool dbt_loads_segment(const struct dbt_translation *t, const struct x86_insn *insn);

/* ---- translate_insn.c ---------------------------------------------------- */
/* Is it copied, with its memory operand as the only thing that is translated? */
bool dbt_copies_memory(const struct x86_insn *insn);
bool dbt_emit_insn(struct dbt_translation *t, const struct x86_insn *insn);
bool dbt_is_mxcsr(const struct x86_insn *insn);        /* LDMXCSR STMXCSR */
/* Vector state has to be live. */
bool dbt_emit_mxcsr(struct dbt_translation *t, const struct x86_insn *insn);

/* ---- translate_string.c -------------------------------------------------- */
bool dbt_emit_string(struct dbt_translation *t, const struct x86_insn *insn);

/* ---- translate_flags.c --------------------------------------------------- */
bool dbt_is_flags(const struct x86_insn *insn);        /* CLI STI PUSHF POPF */
bool dbt_emit_flags(struct dbt_translation *t, const struct x86_insn *insn);
void dbt_emit_direction(struct dbt_translation *t, bool down);         /* CLD STD */

/* ---- translate_flow.c ---------------------------------------------------- */
bool dbt_emit_stack(struct dbt_translation *t, const struct x86_insn *insn);   /* push pop leave */
/* Bytes that a stack operation of this mode moves, or 0: leave it alone. */
unsigned dbt_stack_bytes(const struct dbt_translation *t, const struct x86_insn *insn);
/* r11 = address of the new top of stack, rcx = addend; rsp does not move yet. */
void dbt_emit_push_address(struct dbt_translation *t, unsigned bytes);
/* r11 = the address in `reg`, of so many bits, in segment `seg`. */
void dbt_emit_pointer(struct dbt_translation *t, unsigned bits, enum host_reg reg,
                      enum x86_seg seg);
/* `reg` += n, in a pointer of so many bits; the others stay. */
void dbt_emit_pointer_add(struct dbt_translation *t, unsigned bits, enum host_reg reg, int32_t n);
/* r11 = the address in `reg`, used as stack pointer. */
void dbt_emit_top(struct dbt_translation *t, enum host_reg reg);
void dbt_emit_sp_add(struct dbt_translation *t, int32_t n);
/* Values of 2, 4 or 8 bytes. Loading zero-extends. */
void dbt_emit_load_value(struct dbt_translation *t, unsigned bytes, enum host_reg to,
                         struct host_mem from);
void dbt_emit_store_value(struct dbt_translation *t, unsigned bytes, struct host_mem to,
                          enum host_reg from);
/* `next` is the address of the instruction after this one. */
bool dbt_emit_branch(struct dbt_translation *t, const struct dbt_step *s);
uint64_t dbt_branch_target(const struct dbt_translation *t, const struct x86_insn *insn,
                           uint64_t next);
bool dbt_branch_is_ret(const struct x86_insn *insn);
unsigned dbt_ret_drop(const struct x86_insn *insn);    /* RET imm16 */
/* Goes on at the guest address in r11; at a known one by way of the jump table. */
void dbt_emit_indirect(struct dbt_translation *t);
void dbt_emit_goto_page(struct dbt_translation *t, uint64_t target);
/* Goes on at a known guest address. */
void dbt_emit_goto(struct dbt_translation *t, uint64_t target);

#endif
