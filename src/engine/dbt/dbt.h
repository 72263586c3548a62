/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dbt.h - inside the translator: conventions that its files share.
 *
 * THE SHAPE. Guest code is translated a block at a time into host code that
 * runs in this ordinary process, both rings alike. Most instructions are the
 * guest's own, re-encoded (reencode.h); a memory operand becomes an address
 * translation through a flat table followed by the same instruction. What is
 * rare is left to the interpreter, one instruction at a time, so nothing is
 * ever unsupported.
 *
 * REGISTERS in translated code, at every guest instruction boundary:
 *
 *     host rax rdx rbx rbp rsi rdi r8 r12-r15   the guest's registers of that name
 *     host r9, r10                              guest rsp, guest rcx
 *     frame.gpr[9], [10], [11]                  guest r9, r10, r11
 *     host rcx, r11                             scratch
 *     host rsp                                  the frame (below), 9 bytes before it
 *     host arithmetic flags                     the guest's
 *     host vector and x87 registers             the guest's while frame.fpu_live
 *     gs base                                   the read table
 *
 * rcx is scratch because JRCXZ is the one branch that leaves flags alone:
 * every check is made of LEA, PEXT, MOV and JRCXZ, so the guest's flags are
 * exact at every instruction without saving any.
 *
 * MEMORY. A table has an entry of 8 bytes per guest-virtual page of the whole
 * 48-bit space: host page minus guest page, or 0. Entries are only ever made
 * for guest RAM. There are two for each ring, read and write, reserved without
 * memory and filled on demand. An access is
 *
 *     lea  ea, %r11
 *     lea  8(%r11), %rcx ; rorx $3, %rcx, %rcx ; shlx %rsp, %rcx, %rcx ; jrcxz cross
 *     pext page_mask, %r11, %rcx ; mov table(,%rcx,8), %rcx ; jrcxz slow
 *     op   (%r11,%rcx)
 *
 * ISOLATION. The index is masked to the table by PEXT, so whatever the guest
 * computes selects an entry. 0 goes to the slow path. An addend moves a
 * canonical guest address into guest RAM; the mask ignores bits 48-63, and an
 * address that has other bits there than its canonical twin ends up outside
 * the canonical range of the host, so that it faults: see docs. The
 * crossing check keeps [r11, r11+size) within the page; guard pages surround RAM.
 *
 * THE FRAME lies directly below the write table of its ring: rsp + disp32 +
 * rcx*8 is the table entry, which saves a register and a segment base. The
 * host calls nothing on this stack but exit thunks; signals use their own.
 *
 * EXITS. Code leaves by `call *exit(%rsp)`: the return address says where.
 * Thunks store all registers and flags into the frame and return to
 * dbt_enter's caller, which acts and enters again, possibly in mid-block. The
 * usual ones (run.c: carry_on) leave the state in the frame and the guest's
 * vector state where it is: misses of the tables, jumps not yet linked, system
 * instructions with a helper (system.h), page faults. Before a look-up leaves,
 * its thunk tries the second jump table.
 *
 * Threads: everything here belongs to one vCPU's thread, except `go`.
 */
#ifndef RING3_ENGINE_DBT_DBT_H
#define RING3_ENGINE_DBT_DBT_H

#include "engine/dbt/emit.h"
#include "engine/engine.h"
#include "x86/cpu.h"
#include "x86/decode.h"

enum dbt_exit {
    DBT_EXIT_SLOW,       /* a memory access missed its table or crosses a page */
    DBT_EXIT_INTERP,     /* the interpreter does this instruction */
    DBT_EXIT_CHAIN,      /* a direct jump not yet linked */
    DBT_EXIT_LOOKUP,     /* target in r11: not in the jump table, or a request is waiting */
    DBT_EXIT_FPU,        /* guest vector state is wanted in the host's registers */
    DBT_EXIT_HOT,        /* a block has run often enough to become the head of a trace */
    DBT_EXIT_HELPER,     /* site.helper does this instruction */
    DBT_EXIT_DROPPED,    /* LOOKUP from a dropped block: both jump tables may lead there */
    DBT_EXIT_FAULT,      /* the host faulted in translated code */
    DBT_EXITS
};

/* Which bits of a target select its jump table entry: the low ones, and some of
 * the page number, so that equal offsets in neighbouring pages do not collide. */
#define DBT_JUMP_MASK 0x1f3ffull
enum { DBT_JUMP_BITS = 15, DBT_JUMPS = 1 << DBT_JUMP_BITS };
enum { DBT_CROSS_SIZES = 7 };   /* 2, 4, ... 128 bytes */

/* A second table for what the first had no room for, by other bits. */
#define DBT_JUMP2_MASK 0xfe0df0ull
enum { DBT_JUMP2_BITS = 14, DBT_JUMPS2 = 1 << DBT_JUMP2_BITS };
struct dbt_jump2 { uint64_t rip, body; };

enum { DBT_CLUSTER_SLOTS = 12, DBT_MAX_CLUSTERS = 96, DBT_MAX_ALIGNMENTS = 8 };

/* The x87's pointers to its last instruction. The processor's own would be host
 * addresses, so translated code notes the guest's. */
struct dbt_x87 {
    uint64_t fip, fdp;
    uint32_t fop, fdp_seg;
};
/* In fop and fdp_seg: not written since the dispatcher last looked. */
#define DBT_X87_OLD (1u << 31)

/* What translated code reads and writes through rsp. The first 128 bytes have
 * short displacements. */
struct dbt_frame {
    uint64_t page_mask;                     /* bits 12-47 */
    uint64_t low_mask;                      /* bits 0-11 */
    uint64_t cross_mask[DBT_CROSS_SIZES];
    uint64_t align_mask[DBT_CROSS_SIZES];   /* 1, 3, ... 127 */
    uint64_t jump_mask;
    uint64_t high_mask;                     /* bits 47-63 */
    uint64_t go;                            /* 0: somebody wants the dispatcher */
    uint64_t fpu_live;
    uint64_t exit[DBT_EXITS];               /* addresses of the thunks */
    uint64_t tmp;                           /* within one guest instruction */
    uint64_t cluster[DBT_CLUSTER_SLOTS];    /* host addresses, see cluster.c */
    uint64_t recipe[3];                     /* operands, see liveness.c */
    uint64_t put_aside[3];                  /* guest registers, see rehome.c */
    /* RFLAGS but for the arithmetic flags, which the host has: IF alone, and the
     * rest. Apart because a store is the way to change one without flags. */
    uint64_t flag_if, flags_system;
    uint64_t no_irq_waiting;                /* 0: setting IF has to go to the dispatcher */
    uint64_t arith_mask, if_mask, df_mask;
    uint64_t bit_mask32, bit_mask64;        /* a bit's number within an operand */
    uint64_t mxcsr_reserved;
    /* POPF's plain case: the other flags, and minus their present value. */
    uint64_t other_mask, minus_other;
    struct dbt_x87 x87;
    uint32_t origin;                        /* cache offset of the last indirect jump */
    uint32_t pad;
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t hf;                            /* arithmetic flags when outside: frame.h */
    uint64_t exit_kind;
    uint64_t exit_pc;                       /* return address in translated code */
    uint64_t target;                        /* r11 at the exit */
    uint64_t entry;                         /* where dbt_enter goes */
    uint64_t host_rsp;
    uint64_t jump2_mask, jump_tmp[2];       /* of the look-up in jump2[] */
    uint64_t kept[3], kept_flags;           /* rax, rdx, r8 inside a string thunk */
    uint64_t seg_base[X86_SEG_COUNT], kernel_gs_base;
    uint64_t seg_selector[X86_SEG_COUNT];
    /* Minus the number of bytes that may be read and written from offset 0 on. */
    uint64_t seg_room[2][X86_SEG_COUNT];
    uint64_t tsc_offset, tsc_aux;           /* guest's TSC minus the host's */
    /* Checked entries, by masked target address. All up to here is one page of
     * memory under the frames of all tables. */
    uint64_t jump[DBT_JUMPS] __attribute__((aligned(PAGE_SIZE)));
    struct dbt_jump2 jump2[DBT_JUMPS2];
};

/* Flags that POPF at CPL 0 can change besides IF and the arithmetic ones. */
#define DBT_POPF_OTHER (X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_IOPL | X86_FLAG_NT | X86_FLAG_RF | \
                        X86_FLAG_VM | X86_FLAG_AC | X86_FLAG_ID)

/* What executes an instruction while the guest's state is in the frame and its
 * vector state perhaps in the host's registers: system.c. */
enum dbt_helped {
    DBT_HELPED,             /* on with the next instruction */
    DBT_HELPED_JUMP,        /* on at s.rip, in the ring of the moment */
    DBT_HELPED_NOT,         /* it did nothing: the interpreter's */
};
struct dbt_site;
struct dbt_vcpu;
typedef enum dbt_helped dbt_helper(struct dbt_vcpu *d, struct dbt_frame *f,
                                   const struct dbt_site *site);

/* A place where translated code may be left: found by return address. */
struct dbt_site {
    uint32_t host_offset;                   /* of the return address, from block start */
    uint16_t insn;
    uint8_t kind;                           /* enum dbt_exit */
    uint8_t size;                           /* SLOW: bytes accessed, and how */
    bool write;
    uint32_t exits;                         /* so many times */
    bool side;                              /* CHAIN: to the block itself, not to its trace */
    uint64_t target;                        /* CHAIN: guest address */
    uint8_t *jump;                          /* CHAIN: the rel32 to patch (writable mapping) */
    dbt_helper *helper;                     /* HELPER, with its operand */
    uint32_t operand;
};

struct dbt_insn {
    uint64_t rip;
    uint32_t host_offset;                   /* first host byte */
    bool fpu;                               /* may touch vector or x87 state */
    bool masked;                            /* may leave out some of its memory operand */
    uint16_t mnemonic;                      /* ZydisMnemonic; 0: undecodable */
    bool inside;                            /* relies on what the code before it left in
                                               scratch registers: not to be entered here */
    uint32_t recover;                       /* if it faults: host code that makes the guest's
                                               flags and leaves for the interpreter; or 0 */
};

/* Guest code that a block was made from. A trace has several pieces. */
struct dbt_part {
    struct dbt_block *block;
    uint64_t phys;
    uint32_t bytes;
    struct dbt_part *next;                  /* of the same guest-physical page */
};

/* A block: straight guest code within a page, entered at its first instruction. A
 * trace: the way that execution usually takes through several blocks, head first,
 * with side exits to the blocks. It is entered through its head alone, whose
 * beginning is overwritten with a jump to it.
 *
 * An instruction that crosses a page end is a block by itself. Such a block is good
 * only while the second page is what it was, so it is never linked to, but looked up
 * (dbt_near_page_end) whenever translations of addresses have changed. */
struct dbt_block {
    uint64_t rip, phys;
    uint64_t phys2;                         /* where a single instruction goes on, or 0 */
    uint32_t mode;                          /* DBT_MODE_* */
    uint32_t host_bytes;
    uint8_t *host;                          /* executable mapping: checked entry */
    uint8_t *body;                          /* past the check */
    uint16_t insns, sites, parts;
    bool dropped;
    bool uses_fpu;                          /* may be entered in mid-block only with fpu_live */
    uint32_t *countdown;                    /* to its becoming a trace; NULL: never */
    uint64_t *ran;                          /* executions; NULL: nobody asked */
    struct dbt_block *trace;                /* of which this is the head */
    struct dbt_block *head;                 /* this is the trace of that block */
    bool loops;                             /* and leads back to it */
    struct dbt_insn *insn;                  /* insns + 1: the last is the end */
    struct dbt_site *site;
    struct dbt_part *part;
    struct dbt_block *next_hash;
};

struct dbt_cache;

/* ---- cache.c: code memory and the blocks in it -------------------------- */

/* `host` lives as long as the cache. */
struct dbt_cache *dbt_cache_new(size_t bytes, const struct emit_host *host, struct error **err);
void dbt_cache_free(struct dbt_cache *c);
/* Room at the end of the used part; NULL when the cache is full. */
bool dbt_cache_begin(struct dbt_cache *c, struct emit *e);
struct dbt_block *dbt_cache_commit(struct dbt_cache *c, const struct emit *e,
                                   const struct dbt_block *proto);
uint8_t *dbt_cache_exec(const struct dbt_cache *c, const uint8_t *writable);
void dbt_cache_reset(struct dbt_cache *c);            /* drops everything but the thunks */
void dbt_cache_keep(struct dbt_cache *c);             /* what is there now survives resets */
struct dbt_block *dbt_cache_find(struct dbt_cache *c, uint64_t rip, uint64_t phys,
                                 uint32_t mode);
struct dbt_block *dbt_cache_at(struct dbt_cache *c, uint64_t host_pc);
bool dbt_cache_contains(const struct dbt_cache *c, uint64_t host_pc);
uint8_t *dbt_cache_start(const struct dbt_cache *c);  /* writable mapping */
/* Of the code at this offset, and the block it belongs to. */
uint64_t dbt_cache_address(const struct dbt_cache *c, uint32_t offset);
struct dbt_block *dbt_cache_at_offset(struct dbt_cache *c, uint32_t offset);
void dbt_cache_range(const struct dbt_cache *c, uintptr_t *start, uintptr_t *end);
/* Drops blocks that overlap [phys, phys+len); returns how many. */
unsigned dbt_cache_drop(struct dbt_cache *c, uint64_t phys, uint64_t len);
bool dbt_cache_page_has_code(const struct dbt_cache *c, uint64_t phys);
void dbt_cache_link(struct dbt_cache *c, struct dbt_site *site, const struct dbt_block *to);
/* A counter for the next block, within reach of RIP-relative addresses; NULL: there
 * are no more. */
uint32_t *dbt_cache_countdown(struct dbt_cache *c);
uint64_t *dbt_cache_counter(struct dbt_cache *c);     /* the same, starting from 0 */
/* All blocks and traces, in the order of their host code, dropped ones too. */
struct dbt_block *const *dbt_cache_blocks(const struct dbt_cache *c, size_t *count);
size_t dbt_cache_size(const struct dbt_cache *c);
/* Does this CHAIN site's jump lead to a block by now? */
bool dbt_cache_linked(const struct dbt_cache *c, const struct dbt_block *b,
                      const struct dbt_site *site);
/* What RIP-relative emitters (emit.h) want to know of an address. */
const uint8_t *dbt_cache_near(const struct dbt_cache *c, const void *executable);
/* From now on `head` jumps to `trace`. */
void dbt_cache_trace(struct dbt_cache *c, struct dbt_block *head, struct dbt_block *trace);
size_t dbt_cache_used(const struct dbt_cache *c);
/* Moves with every reset: blocks and sites found before are gone. */
uint64_t dbt_cache_generation(const struct dbt_cache *c);

/* ---- modes and tables ---------------------------------------------------- */

/* dbt_block.mode: what besides the bytes decides the translation. */
enum {
    DBT_MODE_BITS = 0xff,                   /* code size */
    DBT_MODE_VEX = 0x100,                   /* VEX and EVEX encodings are allowed */
    DBT_MODE_USER = 0x200,                  /* CPL 3 */
    DBT_MODE_FS = 0x400,                    /* outside 64-bit mode: the segment has no limit */
    DBT_MODE_GS = 0x800,
    DBT_MODE_IF = 0x1000,                   /* CPL 0: no check of privilege anywhere */
    DBT_MODE_TSC = 0x2000,                  /* RDTSC is allowed, and the host's plus an offset */
    DBT_MODE_SEGMENTS = 0x4000,             /* outside 64-bit mode: bases and limits count */
    DBT_MODE_STACK16 = 0x8000,              /* with SEGMENTS: the stack pointer is SP */
    DBT_MODE_REAL = 0x10000,                /* a segment's base is 16 times its selector */
    DBT_MODE_CODE64K = 0x20000,             /* CS ends at 64 KiB, else at 4 GiB */
};

/* Where code is, `rip` in every structure here: outside 64-bit mode the base of CS in
 * bits 32 to 63 and EIP below them. So equal offsets in different segments differ, and
 * with a base of 0 it is the offset. */
static inline uint64_t dbt_rip(uint32_t mode, uint64_t cs_base, uint64_t ip)
{
    return (mode & DBT_MODE_BITS) == 64 ? ip : cs_base << 32 | (uint32_t)ip;
}
static inline uint64_t dbt_ip(uint32_t mode, uint64_t rip)
{
    return (mode & DBT_MODE_BITS) == 64 ? rip : (uint32_t)rip;
}
static inline uint64_t dbt_linear(uint32_t mode, uint64_t rip)
{
    return (mode & DBT_MODE_BITS) == 64 ? rip : (uint32_t)((rip >> 32) + rip);
}
/* `n` bytes on. */
static inline uint64_t dbt_rip_add(uint32_t mode, uint64_t rip, uint64_t n)
{
    return dbt_rip(mode, rip >> 32, rip + n);
}

enum dbt_ring { DBT_RING_KERNEL, DBT_RING_USER, DBT_RINGS };

/* Displacement from the frame to entry 0 of its write table. The rest of
 * tables.c: tables.h. */
int32_t dbt_tables_write_disp(void);

/* ---- thunks_string.c: repeated string instructions ---------------------- */

enum dbt_string { DBT_MOVS, DBT_STOS, DBT_REPE_CMPS, DBT_REPNE_CMPS, DBT_REPE_SCAS,
                  DBT_REPNE_SCAS, DBT_STRINGS };
enum dbt_string_result {
    DBT_STRING_DONE,
    DBT_STRING_READ_MISS, DBT_STRING_WRITE_MISS,    /* r11: address not in the table */
    DBT_STRING_OTHER,                               /* go on by interpreting */
};
struct dbt_thunks;
bool dbt_string_thunks_make(struct dbt_cache *c, struct dbt_thunks *out);

/* ---- thunks.c: entering and leaving -------------------------------------- */

struct dbt_thunks {
    void (*enter)(struct dbt_frame *f);     /* to f->entry; returns with f->exit_* set */
    uint64_t exit[DBT_EXITS];
    uint64_t jump_miss;                     /* what an empty jump table entry holds */
    uint64_t jump2_miss;                    /* and one of the second */
    uint64_t fault_resume;
    /* By log2 of the element size and whether addresses have 64 bits. Called with
     * registers as at an instruction boundary; result in rcx. Writable mapping. */
    const uint8_t *string[DBT_STRINGS][4][2];
};
bool dbt_thunks_make(struct dbt_cache *c, struct dbt_thunks *out);

/* ---- translate.c ---------------------------------------------------------- */

enum {
    DBT_MIN_BODY = 24,                      /* room to seal a dropped block (cache.c) */
    DBT_BLOCK_INSNS = 48, DBT_TRACE_INSNS = 160,
    DBT_PLANNED_SITES = 640,
    /* With what stubs for indirect jumps and branches add. */
    DBT_MAX_SITES = DBT_PLANNED_SITES + 256,
    DBT_MAX_HOST = 49152, DBT_MAX_FARS = 96, DBT_MAX_PARTS = 48, DBT_MAX_RETURNS = 16,
    DBT_HOT = 400,                          /* executions that make a block hot */
};

/* Cold code, put down behind everything else. */
enum dbt_stub_kind { DBT_STUB_EXIT, DBT_STUB_CROSS, DBT_STUB_POLL, DBT_STUB_SIDE,
                     DBT_STUB_INDIRECT, DBT_STUB_PAGE };
enum { DBT_MAX_STUBS = DBT_MAX_SITES, DBT_MAX_NEAR = 8, DBT_MAX_REHOMES = 3 };
struct dbt_stub {
    uint8_t *from;                          /* 32-bit displacement of the jump to it */
    uint8_t *back;                          /* CROSS: where to go on */
    uint64_t target;                        /* POLL, SIDE: guest address to go on at */
    struct host_mem address;                /* SLOW exits: of the access, as LEA takes it */
    const struct dbt_step *recipe;          /* makes the guest's flags; NULL: they are there */
    uint8_t kind, exit;
    uint8_t size;
    bool write;
    bool rehomed;                           /* from a loop with other homes (rehome.c) */
    uint16_t insn;
};

/* JRCXZ reaches 127 bytes: jumps to the stubs are put down in islands before the
 * oldest JRCXZ gets out of reach. */
struct dbt_near {
    uint8_t *from;                          /* the JRCXZ's displacement byte */
    uint16_t stub;
};

/* A guest register that lives in the frame, and where it lives in the loop. */
struct dbt_rehome {
    uint8_t gpr, reg;
};

/* An instruction that may fault while the guest's flags are not there. */
struct dbt_recovery {
    const struct dbt_step *recipe;
    bool rehomed;
    uint16_t insn;
};

/* The other way of a conditional branch: put down behind everything else. */
struct dbt_far {
    uint8_t *from;                          /* the branch's 32-bit displacement */
    uint64_t rip, target;                   /* of the branch; guest address to go on at */
    bool rehomed;
    uint16_t insn;
};

/* Where guest code is to be read. */
struct dbt_source {
    uint64_t rip, phys;
    const uint8_t *code;                    /* up to the end of the page */
    size_t bytes;
    const uint8_t *entry;                   /* its block's checked entry */
    /* A single instruction that goes on in the next page: where that is, and how
     * many bytes are in this one. */
    uint64_t phys2;
    size_t bytes1;
};

/* What the translator asks about the way that a trace takes. */
struct dbt_guide {
    /* May it go on at `rip`? Then says where that is. */
    bool (*follow)(void *opaque, uint64_t rip, struct dbt_source *out);
    /* Which of two ways is usual? */
    uint64_t (*usual)(void *opaque, uint64_t a, uint64_t b);
    void *opaque;
};

/* An instruction here may go on in the next page. */
static inline bool dbt_near_page_end(uint64_t rip)
{
    return (rip & PAGE_OFFSET_MASK) > PAGE_SIZE - X86_INSN_MAX_BYTES;
}

/* How it goes on behind an instruction. */
enum dbt_flow {
    DBT_FLOW_ENDS,                          /* straight on, or the plan ends there */
    DBT_FLOW_LEAVES,                        /* usually at `onward`, with a jump */
    DBT_FLOW_FOLLOWED,                      /* usually at `onward`: the next step */
    DBT_FLOW_LOOPS,                         /* usually at the beginning */
};

/* One instruction of the plan. */
struct dbt_step {
    struct x86_insn insn;
    uint64_t rip, onward;
    const uint8_t *entry;                   /* FOLLOWED: checked entry of the block there */
    uint8_t flow;                           /* enum dbt_flow */
    uint8_t cluster;                        /* its access is part of cluster[n - 1]; 0: none */
    int32_t offset;                         /* in the cluster */
    struct x86_mem address;                 /* of the access, implied ones too; size 0: none */
    uint32_t version, index_version;        /* what base and index stand for (cluster.c) */
    int32_t delta, index_delta;
    bool aligned;                           /* in the loop it was found to be */
    /* liveness.c; [0] and bit 0: in the first round of a loop, or if there is none */
    int16_t setter[2];                      /* step that made the flags in front of it, or -1 */
    uint8_t dead, dead_behind;              /* flags are of no use before or while it runs; after */
    uint8_t saved;                          /* a setter's operands that the frame gets */
};

/* An address that has to be a multiple of `size`, in terms of registers at the
 * beginning of the loop. */
struct dbt_alignment {
    uint8_t base, index, scale;             /* index: X86_REG_NONE if it does not matter */
    uint8_t size;
    int32_t disp;                           /* modulo size */
};

/* Accesses that share a translation: cluster.c. */
struct dbt_cluster {
    uint32_t version, index_version;        /* what the address is made of */
    uint8_t scale;                          /* 0: no index */
    uint8_t slot;                           /* 0: none */
    bool write, live;
    bool invariant;                         /* the same in every round of the loop */
    uint16_t accesses, last;                /* last: step */
    int32_t lo, end;                        /* offsets: [lo, end) */
};

struct dbt_translation {
    struct emit e;
    uint64_t rip;                           /* guest-virtual address of the block */
    uint32_t mode;
    unsigned code_bits;
    struct dbt_source source;               /* the piece of code at hand */
    size_t at;                              /* how far it has been read */
    bool open;                              /* goes on behind what has been read */
    struct dbt_step step[DBT_TRACE_INSNS];
    unsigned steps;
    struct dbt_cluster cluster[DBT_MAX_CLUSTERS];
    unsigned clusters;
    bool forgot;                            /* some were forgotten half-way */
    struct dbt_alignment alignment[DBT_MAX_ALIGNMENTS];
    unsigned alignments;
    unsigned now;                           /* the step at hand */
    bool second;                            /* of a loop, the rounds after the first */
    uint8_t *again;                         /* where they begin */
    struct dbt_cluster *current;            /* the one whose address is in r11, or NULL */
    bool keeps_current;                     /* this instruction does not change r11 */
    uint8_t *body;                          /* behind the checked entry */
    struct dbt_insn insn[DBT_TRACE_INSNS + 1];
    struct dbt_site site[DBT_MAX_SITES];
    struct dbt_part part[DBT_MAX_PARTS];
    struct dbt_far far[DBT_MAX_FARS];
    struct dbt_stub stub[DBT_MAX_STUBS];
    struct dbt_near near[DBT_MAX_NEAR];
    struct dbt_recovery recovery[DBT_TRACE_INSNS];
    unsigned insns, sites, parts, fars, stubs, nears, recoveries;
    unsigned slack;                         /* bytes that dbt_reach() adds to what is promised */
    /* Where guest registers are, by number: host registers or, H_NONE, the frame; and
     * the latter as a mask. In the second version of a loop: rehome.c. */
    const uint8_t *home;
    uint32_t in_frame;
    bool rehomed;                           /* home is loop_home */
    uint8_t loop_home[X86_GPR_COUNT];
    uint32_t loop_in_frame;
    struct dbt_rehome rehome[DBT_MAX_REHOMES];
    unsigned rehomes;
    bool dead;                              /* checks may change flags here */
    bool clobbered;                         /* and have: the guest's are to be made by `recipe` */
    const struct dbt_step *recipe;
    uint8_t seg;                            /* with SEGMENTS: r11 is an offset in it */
    const struct dbt_guide *guide;          /* a trace; NULL: a block */
    uint64_t returns[DBT_MAX_RETURNS];      /* return addresses pushed within the trace */
    unsigned return_depth;
    bool fpu_checked;
    bool yields;                            /* PAUSE leaves: there are several vCPUs */
    bool loops;                             /* the trace leads back to its head */
    bool aligned;                           /* this instruction faults unless its operand is */
    uint32_t *countdown;
    uint64_t *ran;
    const struct x86_cpu *cpu;
    const struct dbt_cache *cache;
    const struct dbt_thunks *thunks;
    const uint8_t *cache_start;             /* writable mapping: what origin counts from */
};

/* Translates the code at t->source into t->e. False: out of room (e.overflow). */
bool dbt_translate(struct dbt_translation *t);

/* Which entry of the jump table a guest address has: as PEXT by DBT_JUMP_MASK. */
static inline unsigned dbt_jump_index(uint64_t rip)
{
    return (unsigned)((rip & 0x3ff) | (rip >> 2 & 0x7c00));
}
static inline unsigned dbt_jump2_index(uint64_t rip)
{
    return (unsigned)((rip >> 4 & 0x1f) | (rip >> 5 & 0x60) | (rip >> 10 & 0x3f80));
}

#endif
