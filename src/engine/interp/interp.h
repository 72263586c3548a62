/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interp.h - the reference interpreter, from the inside.
 *
 * Guest code is decoded once into BLOCKS of OPS: straight runs of at most
 * INTERP_BLOCK_MAX instructions within one page. An op is a pointer to a
 * handler and the operands in the form that handler wants; it ends by calling
 * the next op's handler (a tail call), the last one of a block returns the
 * first op of the next block or NULL.
 *
 *   engine.c   engine_ops: VMs, vCPUs, state
 *   run.c      the loop: requests, interrupts, single step, faults, budget
 *   env.c      x86_env_ops: memory and platform as the shared x86 code sees them
 *   cache.c    blocks by guest-physical address; what a store drops
 *   build.c    fetching and decoding a block
 *   select.c   which handler an instruction gets
 *   ops_*.c    handlers for hot forms
 *
 * HANDLERS. Two kinds. A hot handler does one form of one instruction on the
 * fast path: registers, flags, RAM that hits the soft TLB. It never raises and
 * calls nothing; when anything is out of the ordinary it has changed nothing
 * yet and becomes interp_general(), which executes the instruction through the
 * shared general function (x86/exec.h, x86/system.h) under the rules of
 * x86/cpu.h. So s.rip is current only inside interp_general and between
 * blocks, and the arithmetic flags live in `hf` (x86/alu.h) while `hf_live`.
 *
 * VALIDITY. `key` stands for everything that decides which block belongs at a
 * RIP: mode, privilege, and a generation that moves whenever a translation or
 * the set of blocks changes. Links between blocks and the jump cache hold the
 * key under which they were found and are simply not taken under another.
 *
 * SELF-MODIFYING CODE. Pages that hold blocks are not writable through the TLB
 * (env.c: ram_page), so their stores arrive at phys_write, which drops what
 * they overlap. A dropped block is poisoned: every handler pointer in it
 * becomes one that leaves the block, so a block that overwrites itself stops
 * after the store, and nothing stale can be entered.
 *
 * SEVERAL vCPUs. Each has its own cache and its own thread. What one does to
 * code pages reaches the others through their inbox, read at block boundaries;
 * `code_users` counts, per page, the vCPUs that hold blocks of it.
 *
 * BUDGET. `fuel` is what may still be executed. A block is paid for on entry
 * and what was not executed is given back on leaving early. An instruction that
 * raises counts as executed; so does every part of a REP that was interrupted.
 */
#ifndef RING3_ENGINE_INTERP_INTERP_H
#define RING3_ENGINE_INTERP_INTERP_H

#include <pthread.h>
#include "engine/engine.h"
#include "memory/memory.h"
#include "x86/exec.h"
#include "x86/mmu.h"

struct interp;
struct op;
struct x86_hostinsn;
struct x86_hostinsn_pool;

typedef const struct op *op_fn(struct interp *v, const struct op *op);

enum {
    INTERP_BLOCK_MAX = 48,             /* instructions in a block */
    INTERP_JUMP_BITS = 12,
    INTERP_HASH_BITS = 15,
    INTERP_PAGE_HASH_BITS = 10,
    INTERP_INBOX = 64,
    INTERP_MODE_MASK = 15,             /* of `key`: what decoding depends on */
    INTERP_CACHE_BYTES = 32 << 20,     /* address space; touched as it fills */
    INTERP_PAUSES = 64,                /* PAUSEs until the host may run somebody else */
};

/* Operand references are byte offsets into struct interp, so that one handler
 * serves AL and AH, and an absent index register is a slot that holds zero. */
struct op {
    op_fn *fn;
    x86_op *exec;                      /* the general function */
    const struct x86_insn *insn;
    int64_t imm;
    int64_t disp;
    uint64_t ea_mask;                  /* of the address size */
    uint16_t dst, src;                 /* register operands */
    /* address = [seg] + (([base] + ([index] << shift) + disp) & ea_mask) */
    uint16_t base, index, seg;
    uint8_t shift;
    uint8_t size;                      /* of the memory operand */
    uint16_t off, next;                /* of this and the next one, from the block's start */
};

struct link { uint64_t rip, key; struct block *to; };

struct block {
    struct block *hash_next;
    struct block *page_next[2];        /* in the lists of the pages it lies in */
    uint64_t phys;                     /* of its first byte */
    uint64_t phys2;                    /* of the second page, or INTERP_NO_PAGE */
    uint16_t n, bytes;
    uint8_t mode;                      /* low bits of the key that decoding depends on */
    bool dropped;
    bool verified;                     /* true until dropped; else compare before use */
    struct link link[2];               /* fall through, taken */
    struct op op[];                    /* n, and one that goes on to the next block */
};
#define INTERP_NO_PAGE UINT64_MAX

/* What another thread did to guest memory; size 0: a page became code. */
struct inbox_item { uint64_t start, size; };

struct inbox {
    pthread_mutex_t lock;
    struct inbox_item item[INTERP_INBOX];
    unsigned n;
    bool lost_writes, lost_protects;   /* there was no room: act upon everything */
    uint64_t posted;                   /* messages so far */
    _Atomic uint64_t seen;             /* of those, acted upon */
};

struct code_page {
    struct code_page *next;            /* in the hash, or free */
    struct block *blocks;
    bool held;                         /* the observer has code of it too */
    uint64_t page;
    uint64_t granules;                 /* bit per 64 bytes that may hold code */
    bool settled;                      /* no other vCPU can store to it unseen */
    uint64_t ticket[];                 /* per vCPU: its inbox.seen by then */
};

struct jump { uint64_t rip, key; struct block *b; };

/* A translator that sits on this vCPU (engine/dbt) and has code of its own made
 * from the same pages. All but `attend` run in the vCPU's thread. */
struct interp_observer {
    void (*attend)(struct interp *v);          /* any thread: attention was set */
    /* [start, last] was written; true if code of that page is left. */
    bool (*written)(struct interp *v, uint64_t start, uint64_t last);
    void (*protect)(struct interp *v, uint64_t page);    /* it holds code from now on */
    void (*protect_all)(struct interp *v);     /* every store is wanted again */
    void (*flushed)(struct interp *v);         /* all code is to be forgotten */
};

struct interp_vm {
    struct engine_vm vm;               /* first */
    struct memory_listener listener;
    _Atomic uint8_t *code_users;       /* per guest-physical page */
    uint64_t code_pages;               /* entries in it */
    struct interp *_Atomic *vcpu;      /* config.cpus of them, NULL until created */
    uint64_t features;                 /* the model's, as far as x86_insn.isa goes */
    _Atomic bool dirty_logging;
    pthread_mutex_t split_lock;        /* x86_env_ops.split_lock */
};

/* The fields up to `cpu` are at small offsets, for struct op. */
struct interp {
    struct engine_vcpu vcpu;           /* first */
    uint64_t zero;                     /* the absent register */
    uint64_t block_rip;                /* RIP of the current block's first byte */
    uint16_t hf;                       /* arithmetic flags while hf_live */
    bool hf_live;
    _Atomic bool attention;            /* look at requests and inbox at the next boundary */
    int64_t fuel;
    uint64_t key;
    struct block *cur;                 /* the block being executed */
    struct x86_cpu cpu;

    const struct op *at;               /* the op inside interp_general, or NULL */
    struct block *origin;              /* cur is a shortened copy of this, or NULL */
    struct link *patch;                /* wants to know the block at s.rip */
    struct interp_vm *vm;
    const struct interp_observer *observer;        /* may be NULL */
    uint64_t generation;
    struct { uint64_t base; uint32_t limit; } cs;   /* that `key` stands for outside 64-bit mode */
    uint64_t counted;                  /* fuel not yet in the instruction counter */
    uint64_t tsc_offset;               /* guest TSC - clock_ticks */
    _Atomic bool running;
    unsigned pauses, yields;           /* since the last yield; of these, close together */
    uint64_t yielded;                  /* host TSC */
    const struct memory_region *region;    /* the last one looked at */

    uint8_t *arena;                    /* blocks, ops, insns; emptied as a whole */
    size_t arena_used;
    bool flushed;                      /* nothing in the arena is in use any more */
    struct block *hash[1 << INTERP_HASH_BITS];
    struct code_page *page[1 << INTERP_PAGE_HASH_BITS], *free_pages;
    struct jump jump[1 << INTERP_JUMP_BITS];
    struct inbox inbox;
    struct x86_insn insn[INTERP_BLOCK_MAX];        /* of the block being built */
    struct block *scratch;             /* for code that is not cached, shortened blocks */
};

static inline struct interp *interp_of(struct engine_vcpu *vcpu)
{
    return (struct interp *)vcpu;
}

/* ---- run.c ------------------------------------------------------------- */

enum engine_exit interp_run(struct engine_vcpu *vcpu, uint64_t max_instructions);
/* Executes op->insn through op->exec; see above. */
const struct op *interp_general(struct interp *v, const struct op *op);
/* Like it, for X86_CLASS_HOST. */
const struct op *interp_host(struct interp *v, const struct op *op);
/* In every op of a dropped block. */
const struct op *interp_left(struct interp *v, const struct op *op);
/* After the last instruction of a block that does not end in a branch. */
const struct op *interp_fall_through(struct interp *v, const struct op *op);
/* The pieces of interp_run, for a loop that does more than interpret. Between
 * enter and leave, all of them under an unwind point (x86/cpu.h). */
bool interp_run_enter(struct interp *v);
void interp_run_leave(struct interp *v);
/* Messages, requests, interrupts. False: leave run() with *why. */
bool interp_boundary(struct interp *v, enum engine_exit *why);
/* After an unwind: delivers the exception. False on a triple fault. */
bool interp_unwound(struct interp *v);
/* What comes next at s.rip: a block, or one instruction under watch. */
void interp_step(struct interp *v);
/* One instruction, not under watch. */
void interp_one(struct interp *v);
/* PAUSE: the guest spins. Who it waits for may have no host processor, so now and
 * then, when interp_paused() says so, interp_yield() gives this one away. */
static inline bool interp_paused(struct interp *v)
{
    return ++v->pauses >= INTERP_PAUSES && v->vm->vm.config.cpus > 1;
}
void interp_yield(struct interp *v);
/* Recomputes `key`; `forget` also moves the generation. */
static inline void interp_key_update(struct interp *v, bool forget)
{
    const struct x86_mode *m = &v->cpu.mode;
    unsigned bits = m->code_bits == 64 ? 2 : m->code_bits == 32 ? 1 : 0;

    if (forget)
        v->generation++;
    v->key = v->generation << 8 | (uint64_t)m->cpl << 4 | (m->stack_bits != 16 ? 8u : 0u) |
             (m->flat_data ? 4u : 0u) | bits;
}

/* ---- env.c ------------------------------------------------------------- */

extern const struct x86_env_ops interp_env_ops;
uint64_t interp_tsc(const struct interp *v);
/* Around every call of guest_ops: see env.c. */
void interp_outside(struct interp *v);
void interp_inside(struct interp *v);

/* ---- cache.c ----------------------------------------------------------- */

int interp_cache_init(struct interp *v, struct error **err);
void interp_cache_fini(struct interp *v);
void interp_cache_flush(struct interp *v);
/* The block at s.rip, decoded if need be; may be v->scratch. Raises. */
struct block *interp_find(struct interp *v);
/* A zeroed block with room for n instructions; interp_find made sure of it. */
struct block *interp_block_alloc(struct interp *v, unsigned n);
/* [start, start+size) was written: drops blocks that overlap it. */
void interp_code_written(struct interp *v, uint64_t start, uint64_t size);
/* The observer is going to keep code of this page. False: not now, perhaps later. */
bool interp_code_hold(struct interp *v, uint64_t page);
static inline bool interp_is_code(const struct interp_vm *vm, uint64_t phys)
{
    uint64_t page = phys >> PAGE_SHIFT;

    return page < vm->code_pages && atomic_load(&vm->code_users[page]);
}
/* Tells all vCPUs but `from` (may be NULL), any thread. */
void interp_broadcast(struct interp_vm *vm, const struct interp *from, uint64_t start,
                      uint64_t size);
void interp_inbox_read(struct interp *v);

/* ---- build.c ----------------------------------------------------------- */

/* Where the first byte is. */
struct fetch {
    uint64_t phys;
    const uint8_t *host;               /* NULL: not RAM */
};

/* Decodes at most `max` instructions at s.rip, into a new block or, for one
 * instruction that is not to be cached or lies partly in MMIO, into v->scratch.
 * Raises what fetching the first instruction raises. */
struct block *interp_build(struct interp *v, const struct fetch *f, unsigned max, bool scratch);

/* ---- select.c ---------------------------------------------------------- */

/* Fills in fn, exec and the operand references. */
void interp_select(const struct interp *v, const struct x86_insn *insn, struct op *op);

/* ---- engine.c ---------------------------------------------------------- */

/* A vCPU inside `size` bytes of its own, for another engine's operations. The
 * operations that the translator takes over as they are follow. */
int interp_vcpu_new(struct engine_vm *vm, unsigned index, const struct engine_ops *ops,
                    const struct x86_env_ops *env, size_t size, struct interp **out,
                    struct error **err);
void interp_vm_destroy(struct engine_vm *vm);
void interp_vcpu_destroy(struct engine_vcpu *vcpu);
void interp_kick(struct engine_vcpu *vcpu);
int interp_get_state(struct engine_vcpu *vcpu, struct x86_state *out);
int interp_set_state(struct engine_vcpu *vcpu, const struct x86_state *in);
int interp_dirty_log(struct engine_vm *vm);
unsigned interp_fault_chain(struct engine_vcpu *vcpu, struct x86_exception *out, uint64_t *rips,
                            unsigned max);
void interp_attend(struct interp *v);      /* any thread: look at the next boundary */

#endif
