/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segment.h - descriptors, segment registers and stacks, for the files of this
 * room that move control about.
 *
 * Private to src/x86. Follows Intel SDM vol. 3 ch. 3.4-3.5 and 5 and AMD APM
 * vol. 2 ch. 4. Table accesses are supervisor accesses whatever the CPL; all
 * functions may unwind with #PF, and with what each says. Nothing here changes
 * a register before everything that can fail has succeeded.
 */
#ifndef RING3_X86_SEGMENT_H
#define RING3_X86_SEGMENT_H

#include "x86/cpuid.h"
#include "x86/mmu.h"
#include "x86/operand.h"
#include "x86/system.h"

/* Types of system descriptors (S = 0). In long mode 9, 11, 12, 14 and 15 are
 * the 64-bit ones and those below 8 other than 2 do not exist. */
enum x86_system_type {
    X86_TYPE_TSS16 = 1, X86_TYPE_LDT = 2, X86_TYPE_TSS16_BUSY = 3, X86_TYPE_CALL16 = 4,
    X86_TYPE_TASK_GATE = 5, X86_TYPE_INT16 = 6, X86_TYPE_TRAP16 = 7, X86_TYPE_TSS = 9,
    X86_TYPE_TSS_BUSY = 11, X86_TYPE_CALL = 12, X86_TYPE_INT = 14, X86_TYPE_TRAP = 15,
};
enum { X86_TYPE_BUSY = 2 };     /* the bit that makes an available TSS busy */

/* Bits of `type` when S = 1. */
enum { X86_SEG_ACCESSED = 1, X86_SEG_WRITABLE = 2, X86_SEG_READABLE = 2, X86_SEG_DOWN = 4,
       X86_SEG_CONFORMING = 4, X86_SEG_CODE = 8 };

struct x86_desc {
    gva_t at;
    uint16_t selector;
    uint64_t raw, raw_high;     /* raw_high: second half of a 16-byte descriptor, else 0 */
    uint64_t base;
    uint32_t limit, attr;       /* as in struct x86_segment */
};

static inline unsigned x86_desc_type(const struct x86_desc *d)
{
    return d->attr & X86_ATTR_TYPE;
}
static inline unsigned x86_desc_dpl(const struct x86_desc *d)
{
    return (d->attr & X86_ATTR_DPL) >> X86_ATTR_DPL_SHIFT;
}
static inline bool x86_desc_system(const struct x86_desc *d)
{
    return !(d->attr & X86_ATTR_S);
}
static inline bool x86_desc_present(const struct x86_desc *d)
{
    return d->attr & X86_ATTR_P;
}
static inline bool x86_desc_code(const struct x86_desc *d)
{
    return (d->attr & (X86_ATTR_S | X86_SEG_CODE)) == (X86_ATTR_S | X86_SEG_CODE);
}
static inline bool x86_desc_conforming(const struct x86_desc *d)
{
    return x86_desc_code(d) && (d->attr & X86_SEG_CONFORMING);
}
static inline bool x86_desc_stack(const struct x86_desc *d)
{
    return (d->attr & (X86_ATTR_S | X86_SEG_CODE | X86_SEG_WRITABLE)) ==
           (X86_ATTR_S | X86_SEG_WRITABLE);
}
static inline bool x86_desc_readable(const struct x86_desc *d)
{
    return !x86_desc_system(d) && (!x86_desc_code(d) || (d->attr & X86_SEG_READABLE));
}
/* A 64-bit code segment, in a mode that has them. */
static inline bool x86_desc_long(const struct x86_cpu *cpu, const struct x86_desc *d)
{
    return cpu->mode.long_mode && (d->attr & X86_ATTR_L);
}

static inline bool x86_selector_null(uint16_t selector)
{
    return !(selector & ~3);
}
static inline bool x86_selector_local(uint16_t selector)
{
    return selector & 4;
}
/* What an error code says of a selector: everything but the RPL. */
static inline uint32_t x86_selector_error(uint16_t selector)
{
    return selector & 0xfffc;
}
static inline unsigned x86_rpl(uint16_t selector)
{
    return selector & 3;
}
static inline unsigned x86_iopl(const struct x86_cpu *cpu)
{
    return (cpu->s.rflags & X86_FLAG_IOPL) >> 12;
}

/* Reads a descriptor. False when the selector is null or outside its table;
 * _get raises `vector` with the selector (and `ext`) in that case. */
bool x86_desc_read(struct x86_cpu *cpu, uint16_t selector, struct x86_desc *d);
void x86_desc_get(struct x86_cpu *cpu, uint16_t selector, enum x86_vector vector, unsigned ext,
                  struct x86_desc *d);
/* Sets and clears bits of the type field in memory, atomically, and in *d. */
void x86_desc_type_change(struct x86_cpu *cpu, struct x86_desc *d, unsigned set, unsigned clear);
void x86_desc_accessed(struct x86_cpu *cpu, struct x86_desc *d);

/* The whole register, from a checked descriptor; from a real-address or
 * virtual-8086 selector; null; or flat as SYSCALL and SYSENTER load it. */
void x86_segment_set(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector,
                     const struct x86_desc *d);
void x86_segment_set_real(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector);
void x86_segment_set_null(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector);
void x86_segment_set_flat(struct x86_cpu *cpu, enum x86_seg seg, uint16_t selector,
                          uint32_t attr);
/* SS = null with this CPL, as privilege changes in long mode leave it. */
void x86_segment_set_null_stack(struct x86_cpu *cpu, unsigned cpl);
/* On the way to an outer privilege: nulls data segments it may not use. */
void x86_segments_drop(struct x86_cpu *cpu, unsigned cpl);

/* A stack being used under its own terms, before (or instead of) the current
 * one. Nothing of it reaches s.gpr until x86_stack_commit. */
struct x86_stack {
    struct x86_segment ss;
    uint64_t sp;                /* whole register; only `bits` of it move */
    uint8_t bits;
    bool current;               /* the stack in use now: ordinary accesses */
    bool user;                  /* otherwise: access as CPL 3 or as supervisor */
    uint32_t error;             /* error code of the #SS outside the segment */
};
void x86_stack_current(struct x86_cpu *cpu, struct x86_stack *st);
void x86_stack_push(struct x86_cpu *cpu, struct x86_stack *st, unsigned size, uint64_t value);
uint64_t x86_stack_pop(struct x86_cpu *cpu, struct x86_stack *st, unsigned size);
void x86_stack_skip(struct x86_stack *st, uint64_t bytes);
static inline void x86_stack_commit(struct x86_cpu *cpu, const struct x86_stack *st)
{
    cpu->s.gpr[X86_RSP] = st->sp;
}

static inline bool x86_vendor_amd(const struct x86_cpu *cpu)
{
    return cpu->model && cpu->model->amd;
}
/* Bytes of the offset in a far pointer in memory. AMD has no 64-bit ones: there
 * REX.W does nothing to the operand of far JMP and CALL, LSS, LFS and LGS (it
 * still makes CALL push 64 bits). */
static inline unsigned x86_far_bytes(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned bytes = insn->operand_bits / 8;

    return bytes == 8 && x86_vendor_amd(cpu) ? 4 : bytes;
}
/* The address of the next instruction. */
static inline uint64_t x86_next_rip(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t rip = cpu->s.rip + insn->length;

    return cpu->mode.code_bits == 64 ? rip
           : cpu->mode.code_bits == 32 ? (uint32_t)rip : (uint16_t)rip;
}

#endif
