/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vcpu.h - one translating vCPU.
 *
 * It IS an interpreting vCPU (engine/interp/interp.h) with a code cache beside
 * it: requests, interrupts, exceptions, single step, and whatever the
 * translator leaves alone are the interpreter's own code, so the two cannot
 * disagree about them.
 *
 * Where the guest's vector state is: in cpu.s.fpu (SYNCED), in `image` as the
 * processor stores it (PARKED), or in the host's registers (LIVE). The files
 * of this room that run while it is LIVE are compiled to use general registers
 * only; everything else parks first.
 */
#ifndef RING3_ENGINE_DBT_VCPU_H
#define RING3_ENGINE_DBT_VCPU_H

#include <Zydis/Mnemonic.h>
#include "base/fault.h"
#include "engine/dbt/dbt.h"
#include "engine/dbt/host.h"
#include "engine/dbt/tables.h"
#include "engine/interp/interp.h"
#include "x86/xsave.h"

enum { DBT_LEFT_BITS = 12, DBT_REGIONS = 4 };
/* Where translated code was left, found once: by return address. */
struct dbt_left {
    uint64_t pc;
    struct dbt_block *block;
    struct dbt_site *site;
};

/* Why a memory access left translated code. */
#define DBT_SLOWS(X)                                                        \
    X(REFILLED,  "table entry filled")                                      \
    X(WALKED,    "table entry filled by the shared page walk")              \
    X(CROSSES,   "crosses a page")                                          \
    X(WILD,      "not canonical")                                           \
    X(CARE,      "alignment, masks or a pending exception to look at first") \
    X(NO_RAM,    "devices, read-only memory, pages that hold code")

enum dbt_slow {
#define X(id, help) DBT_SLOW_##id,
    DBT_SLOWS(X)
#undef X
    DBT_SLOWS_COUNT
};

enum dbt_flush {
    DBT_FLUSH_PAGE,
    DBT_FLUSH_LOCAL,        /* all but global pages, or one PCID */
    DBT_FLUSH_ALL,
    DBT_FLUSH_SWITCH,       /* to another PCID, whose entries stay */
    DBT_FLUSHES
};

/* For `info engine` (stats.c); counted where control has left translated code
 * anyway. */
struct dbt_stats {
    uint64_t slow[DBT_SLOWS_COUNT];
    uint64_t requests;                      /* of the look-ups: somebody wanted the vCPU */
    uint64_t traces, resets;
    uint64_t flushes[DBT_FLUSHES];
};

enum dbt_fpu { DBT_FPU_SYNCED, DBT_FPU_PARKED, DBT_FPU_LIVE };

struct dbt_vcpu {
    struct interp interp;                   /* first */
    struct dbt_cache *cache;
    struct dbt_tables *tables;
    struct dbt_thunks thunks;
    struct dbt_host host;
    struct dbt_frame *frame;                /* for its head, which all frames share */
    struct dbt_translation *t;
    struct x86_env_ops env_ops;             /* the interpreter's, some overridden */
    struct fault_guard guard;
    enum dbt_fpu fpu;
    struct dbt_x87 x87;
    uint16_t fcs, fds;
    bool x87_selectors;                     /* the host keeps them */
    struct x86_xsave_layout layout;         /* of `image`: the host's */
    uint64_t gs_base;                       /* what the thread's GS base is now */
    bool tsc_direct;                        /* the clock's ticks are the host's TSC */
    uint64_t tsc_base;                      /* minus this */
    bool counting;                          /* exactly `left` instructions may be executed */
    bool interpreting;                      /* interp_step is running: it counts in fuel */
    int64_t left;
    int64_t kept;                           /* of which interp_step() may not have so much */
    bool forget;                            /* drop all code before going on */
    const struct memory_region *region[DBT_REGIONS];    /* where page walks met RAM */
    unsigned regions;                       /* met so far */
    struct dbt_left left_at[1 << DBT_LEFT_BITS];
    struct dbt_stats stats;
    uint64_t exits[DBT_EXITS], fills, interpreted, entered;
    /* Of `interpreted`, what translated code handed over, by mnemonic. */
    uint64_t handed_over[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    uint8_t image[X86_XSAVE_MAX_BYTES] __attribute__((aligned(64)));
    uint8_t bounce[X86_XSAVE_MAX_BYTES] __attribute__((aligned(64)));    /* extended.c */
    bool xsave_direct;                      /* the guest has the host's layout of it */
};

static inline struct dbt_vcpu *dbt_of(struct interp *v)
{
    return (struct dbt_vcpu *)v;
}

/* fpu.c */
void dbt_fpu_sync(struct dbt_vcpu *d);      /* -> SYNCED */
void dbt_fpu_park(struct dbt_vcpu *d);      /* LIVE -> PARKED; host state fit for C */
void dbt_fpu_load(struct dbt_vcpu *d);      /* -> LIVE */
bool dbt_fpu_error_pending(const struct dbt_vcpu *d);   /* FSW.ES, if LIVE */

/* run.c */
enum engine_exit dbt_run(struct engine_vcpu *vcpu, uint64_t max_instructions);

/* stats.c: `info engine` and --trace translate. Vector state is parked. */
void dbt_describe(struct engine_vm *vm, struct strbuf *out);
void dbt_trace_made(const struct dbt_vcpu *d, const struct dbt_block *b);
void dbt_trace_reset(const struct dbt_vcpu *d);
void dbt_trace_flush(const struct dbt_vcpu *d, enum dbt_flush what, gva_t page);

/* dump.c: guest and host code of every block. Vector state is parked. */
void dbt_dump_code(struct engine_vm *vm, FILE *out);
void dbt_dump_vcpu(const struct dbt_vcpu *d, FILE *out);

/* fill.c */
enum dbt_filled { DBT_FILLED, DBT_FILL_FAULT, DBT_FILL_UNUSUAL };
/* Fills the table entry for an access to this address. FAULT: it raises #PF
 * with *error. UNUSUAL: ask x86_host_ptr(). */
enum dbt_filled dbt_fill(struct dbt_vcpu *d, enum x86_tlb_kind kind, gva_t a, bool write,
                         uint32_t *error);

/* paging.c */
/* Translations changed: see x86_env_ops.tlb_flushed. */
void dbt_paging_flushed(struct dbt_vcpu *d, const gva_t *lin, bool global);
void dbt_paging_jumps_flush(struct dbt_vcpu *d);
/* MOV CR3 in long mode; false, and nothing done, if it raises. */
bool dbt_paging_cr3_load(struct dbt_vcpu *d, uint64_t value);
void dbt_paging_invlpg(struct dbt_vcpu *d, gva_t a);
enum dbt_invpcid { DBT_INVPCID_ADDRESS, DBT_INVPCID_CONTEXT, DBT_INVPCID_ALL_AND_GLOBAL,
                   DBT_INVPCID_ALL };
void dbt_paging_invpcid(struct dbt_vcpu *d, enum dbt_invpcid type, uint16_t pcid, gva_t a);

#endif
