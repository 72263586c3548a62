/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn_priv.h - what the hostinsn*.c files share. Private to them.
 *
 *   hostinsn.c         pool, lookup, running a stub, faults
 *   hostinsn_gen.c     from instruction bytes to a stub: analysis and code
 *   hostinsn_encode.c  the instruction itself, re-encoded for the stub
 *   hostinsn_mask.c    accesses that touch only some elements, in C
 *   hostinsn_x87.c     x87 environment, and its control instructions in C
 *
 * THE STUB is a C function (System V ABI) of its own:
 *
 *     uint32_t enter(struct x86_state *s, void *mem, struct hostinsn_frame *f)
 *
 * It loads the registers that the instruction names from *s, executes it, and
 * stores them back; `mem` is where its memory operand is. General registers
 * are renamed: guest registers live in caller-saved host registers, so RSP,
 * the pointers above and the guest's values never meet. It returns 0, or 1
 * after a fault: then only MXCSR and, for x87 and MMX, the x87 state (as the
 * processor leaves them) have been stored.
 */
#ifndef RING3_X86_HOSTINSN_PRIV_H
#define RING3_X86_HOSTINSN_PRIV_H

#include <Zydis/Zydis.h>
#include "base/fault.h"
#include "x86/hostinsn.h"
#include "x86/mmu.h"
#include "x86/operand.h"

/* What has to be enabled for an instruction: see x86_fpu_check(). */
enum x86_fpu_need {
    X86_NEED_NOTHING,        /* general registers only, legacy encoding */
    X86_NEED_VEX,            /* general registers only, VEX: protected mode */
    X86_NEED_X87,            /* and no unmasked exception pending */
    X86_NEED_X87_NOWAIT,
    X86_NEED_FWAIT,
    X86_NEED_MMX,
    X86_NEED_SSE,
    X86_NEED_SSE_MMX,        /* both kinds of register */
    X86_NEED_AVX,
    X86_NEED_AVX512,
};

enum x86_fpu_need x86_fpu_need(const struct x86_insn *insn);
void x86_fpu_check_need(struct x86_cpu *cpu, enum x86_fpu_need need);

/* FXSAVE image as the stub loads and stores it (SDM vol. 1, table 10-2,
 * 64-bit layout). */
struct hostinsn_fxsave {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16];
    uint8_t rest[512 - 160];
};

/* Scratch of one execution; on the stack of the vCPU's thread. */
struct hostinsn_frame {
    struct hostinsn_fxsave x87 __attribute__((aligned(64)));
    uint32_t host_mxcsr;
};

struct x86_hostinsn;
typedef void hostinsn_run(struct x86_cpu *cpu, const struct x86_insn *insn,
                          const struct x86_hostinsn *st);

struct x86_hostinsn {
    uint32_t (*enter)(struct x86_state *s, void *mem, struct hostinsn_frame *f);
    hostinsn_run *run;           /* operands, execution, write-back */
    uint16_t fault_at;           /* offset of the fault exit from `enter` */
    uint8_t need;                /* enum x86_fpu_need */
    bool x87;                    /* goes through frame.x87 */
    bool mem_read, mem_write;
    bool align_relaxed;          /* `align` does not hold with MXCSR.MM (AMD) */
    uint8_t align;               /* operand must be aligned to this, or 0 */
    uint16_t mem_bytes;          /* gather, scatter: vector length */
    /* Partial accesses: which elements a mask register lets through; for
     * gathers and scatters, the shape. */
    struct {
        uint8_t reg;             /* opmask, or vector whose sign bits decide */
        uint8_t elem_bytes;      /* of the memory operand */
        uint8_t count;           /* mask elements */
        uint8_t elems;           /* elements of the memory operand */
        uint8_t index_bytes;     /* gather, scatter: of an index */
        uint8_t data;            /* gather, scatter, maskmov: vector or MMX register */
        bool vector;             /* `reg` is a vector register */
        bool packed;             /* compress/expand: the first popcount elements */
        bool probe_all;          /* excluded elements fault all the same */
    } mask;
    uint8_t length, code_bits;
    uint8_t bytes[X86_INSN_MAX_BYTES];
    struct x86_hostinsn *next;   /* same hash */
};

/* What the host has, found out once per pool. */
struct hostinsn_host {
    bool amd, avx, avx512;
    bool x87_selectors;              /* FCS and FDS are recorded */
};

/* ---- generation -------------------------------------------------------- */

/* One instruction with everything Zydis knows of it. */
struct hostinsn_source {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t bytes[X86_INSN_MAX_BYTES + 1];
};

/* Host general registers chosen for a stub; HOSTINSN_NO_REG where unused. */
enum { HOSTINSN_NO_REG = 0xff };
struct hostinsn_regs {
    uint8_t state, mem, frame;
    uint8_t of_guest[X86_GPR_COUNT];
    uint8_t high;                /* AH-BH, moved to the low byte of a register */
};

enum { HOSTINSN_CODE_MAX = 768 };

/* Fills in everything but the key. Code goes to out[0..HOSTINSN_CODE_MAX);
 * *len may come back 0 when the instruction is done in C. False: the host
 * cannot execute it. */
bool x86_hostinsn_generate(const struct hostinsn_host *host, const struct x86_insn *insn,
                           struct x86_hostinsn *st, uint8_t *out, size_t *len);
/* Number of a general register of any width; AH is RAX's. */
unsigned x86_hostinsn_gpr(ZydisRegister r);
static inline bool x86_hostinsn_is_high(ZydisRegister r)
{
    return r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
}
/* The instruction with registers renamed and its memory operand at [mem].
 * Returns its length, 0 when it cannot be done. */
size_t x86_hostinsn_encode(const struct hostinsn_source *src, const struct hostinsn_regs *regs,
                           uint8_t out[X86_INSN_MAX_BYTES]);

/* ---- execution --------------------------------------------------------- */

/* Runs the stub with its memory operand at `mem`; raises what it faults with. */
void x86_hostinsn_enter(struct x86_cpu *cpu, const struct x86_hostinsn *st, void *mem,
                        struct hostinsn_frame *f);
#define HOSTINSN_MXCSR_MM (1u << 17)     /* AMD: misaligned SSE operands allowed */
/* #GP when st->align demands it; goes before all other checks of the operand. */
void x86_hostinsn_align(struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_hostinsn *st);

/* A memory operand made contiguous, at the same offset in a cache line. */
struct hostinsn_bounce {
    uint8_t at[64 + 512] __attribute__((aligned(64)));
};
static inline uint8_t *x86_hostinsn_bounce_at(struct hostinsn_bounce *b, gva_t a)
{
    return b->at + (a.v & 63);
}

hostinsn_run x86_hostinsn_run_regs, x86_hostinsn_run_mem;
hostinsn_run x86_hostinsn_run_x87_regs, x86_hostinsn_run_x87_mem;
hostinsn_run x86_hostinsn_run_masked, x86_hostinsn_run_zero;
hostinsn_run x86_hostinsn_run_gather, x86_hostinsn_run_scatter, x86_hostinsn_run_maskmov;

/* x87 control instructions are done in C, by mnemonic; NULL for all others. */
hostinsn_run *x86_hostinsn_x87_control(unsigned mnemonic);

/* x87 state between the guest and a frame (registers, control, MXCSR). */
void x86_hostinsn_x87_load(const struct x86_cpu *cpu, struct hostinsn_frame *f);
void x86_hostinsn_x87_store(struct x86_cpu *cpu, const struct hostinsn_frame *f);
/* Moves TOP; the physical registers keep their values. */
void x86_hostinsn_x87_set_top(struct x86_fpu *f, unsigned top);
/* ES, and B which mirrors it, follow from flags and masks. */
void x86_hostinsn_x87_summary(struct x86_fpu *f);

const struct hostinsn_host *x86_hostinsn_host(const struct x86_hostinsn_pool *pool);

#endif
