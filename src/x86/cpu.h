/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.h - one processor executed in software.
 *
 * `struct x86_cpu` is the architectural state plus what the shared x86 code
 * needs to act on it: the way to physical memory and the platform, the
 * software TLB, and the unwind point for exceptions. The interpreter and the
 * translator each embed one per vCPU. Only the vCPU's own thread touches it,
 * except `requests`.
 *
 * How a shared function runs an instruction
 *  - on entry s.rip is the address of the instruction, s.rflags is complete;
 *  - it either completes, commits everything and moves s.rip on, or leaves
 *    the architectural state as it was and calls x86_raise(), which does not
 *    return: it unwinds (longjmp) to the engine's loop, which delivers the
 *    exception with x86_exception_deliver().
 *  - memory is therefore probed before anything is committed.
 *
 * Vector registers: C code compiled normally may use the host's; guest vector
 * state lives in s.fpu and is brought into host registers only inside
 * hostinsn stubs (hostinsn.h).
 */
#ifndef RING3_X86_CPU_H
#define RING3_X86_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include "base/counters.h"
#include "x86/debugger.h"
#include "x86/state.h"

struct log;
struct x86_cpu;
struct x86_cpu_model;
struct x86_insn;
struct x86_hostinsn_pool;

/* The engine's side: how shared x86 code reaches memory and the platform.
 * A fake of this tests the whole room without an engine or a machine. */
struct x86_env_ops {
    /* Host address of the 4 KiB page at `page` if it is RAM that may be
     * accessed this way, else NULL (then phys_read/phys_write are used).
     * for_write on a page with cached code: the engine returns NULL so that
     * phys_write sees every store. */
    uint8_t *(*ram_page)(void *env, gpa_t page, bool for_write);
    /* 1, 2, 4 or 8 bytes, not crossing a page. */
    uint64_t (*phys_read)(void *env, gpa_t a, unsigned size);
    void (*phys_write)(void *env, gpa_t a, unsigned size, uint64_t value);
    /* For updates that have to be atomic whatever page they are in. ram_locked gives
     * the host address of writable RAM even where ram_page() refuses; after each store
     * there, `stored` is called. split_lock is held around an update of bytes that are
     * not neighbours in host memory. NULL, all three: there is one vCPU. */
    uint8_t *(*ram_locked)(void *env, gpa_t page);
    void (*stored)(void *env, gpa_t a, unsigned size);
    void (*split_lock)(void *env, bool hold);
    uint64_t (*pio_read)(void *env, uint16_t port, unsigned size);
    void (*pio_write)(void *env, uint16_t port, unsigned size, uint64_t value);
    /* As guest_ops.pio_string (engine/guest.h). May be NULL. */
    size_t (*pio_string)(void *env, uint16_t port, unsigned size, void *buf, size_t count,
                         bool write);
    /* MSRs of the platform (APIC base, x2APIC, TSC deadline, paravirtual
     * clock): 0, or -1 for #GP. */
    int (*msr_read)(void *env, uint32_t msr, uint64_t *value);
    int (*msr_write)(void *env, uint32_t msr, uint64_t value);
    uint8_t (*tpr_get)(void *env);            /* CR8: bits 3-0 */
    void (*tpr_set)(void *env, uint8_t tpr);
    uint64_t (*tsc)(void *env);               /* guest TSC now */
    void (*tsc_set)(void *env, uint64_t tsc);
    /* Translations changed: all (lin == NULL) or one page. `global` says that
     * global ones go too. Called after the soft TLB was flushed. */
    void (*tlb_flushed)(void *env, const gva_t *lin, bool global);
    /* CR0, CR4, EFER, CS or CPL changed in a way that changes how code is
     * decoded or memory is checked; x86_mode_update() has already run. */
    void (*mode_changed)(void *env);
    /* VMCALL or VMMCALL at CPL 0: what RAX gets. Arguments are RBX, RCX, RDX, RSI,
     * of word_bits (32 or 64). NULL: there are no hypercalls. */
    int64_t (*hypercall)(void *env, uint64_t number, const uint64_t arg[4], unsigned word_bits);
    /* The legacy FERR#/IRQ13 path: x87 error with CR0.NE = 0. May be NULL. */
    void (*ferr)(void *env);
};

/* Software TLB, one array per kind of access right (see mmu.h). */
enum { X86_TLB_BITS = 10, X86_TLB_SIZE = 1 << X86_TLB_BITS };
enum x86_tlb_kind { X86_TLB_USER, X86_TLB_KERNEL, X86_TLB_KERNEL_AC, X86_TLB_KINDS };
struct x86_tlb_entry {
    uint64_t read, write, exec;   /* linear page when that access hits, else X86_TLB_NONE */
    uintptr_t addend;             /* host address = linear + addend; 0: not RAM */
    uint64_t phys;                /* guest-physical page */
};
#define X86_TLB_NONE 1ull         /* never equal to a page-aligned address */
/* Set in a tag: the access is allowed by paging but must take the slow path
 * (MMIO, a page whose stores the engine wants to see, a data breakpoint). */
#define X86_TLB_SLOW 2ull

/* Which slots of one array are in use, came from a global page, came from a
 * page larger than 4 KiB. Flushing walks these, not 40 KiB of entries. */
struct x86_tlb_map {
    uint64_t used[X86_TLB_SIZE / 64], global[X86_TLB_SIZE / 64], large[X86_TLB_SIZE / 64];
    uint64_t large_gib;           /* hashed: gigabytes that large pages were met in */
};

static inline uint64_t x86_tlb_gib(gva_t a)
{
    return 1ull << ((a.v >> 30) * 0x9e3779b97f4a7c15ull >> 58);
}

struct x86_exception {
    uint8_t vector;
    bool has_error;
    bool trap;                    /* #DB after an instruction: RF is not set for it */
    uint32_t error;
    uint64_t cr2;                 /* for #PF */
    uint64_t dr6;                 /* for #DB: bits to set */
};

/* How to interpret code and addresses now; recomputed by x86_mode_update(). */
struct x86_mode {
    uint8_t cpl;
    uint8_t code_bits;            /* 16, 32, 64 */
    uint8_t stack_bits;           /* 16, 32, 64 */
    bool protected_mode;          /* PE and not VM86 */
    bool vm86;
    bool long_mode;               /* EFER.LMA */
    bool paging;
    bool flat_data;               /* DS, ES, SS base 0 and limit 4G-1 (or 64-bit) */
    bool align_check;             /* #AC is live: tlb_now never hits */
    uint8_t tlb;                  /* enum x86_tlb_kind, for explicit data accesses */
};

enum { X86_FAULT_LOG = 4 };

struct x86_cpu {
    struct x86_state s;
    struct x86_mode mode;
    struct x86_tlb_entry (*tlb_now)[X86_TLB_SIZE];   /* = &tlb[mode.tlb] */
    struct x86_exception pending;                    /* filled by x86_raise */
    jmp_buf unwind;                                  /* set by the engine's loop */
    const struct x86_env_ops *ops;
    void *env;
    const struct x86_cpu_model *model;
    unsigned index;                                  /* vCPU number = APIC ID; 0 after init */
    struct x86_hostinsn_pool *hostinsns;
    struct counters *counters;
    struct log *log;
    bool halted_by_shutdown;                         /* triple fault */
    /* DR6 bits of traps that are due at the next instruction boundary (system.h,
     * "debug"). Derived: never part of a saved state. */
    uint64_t debug_due;
    const struct x86_debugger *debugger;             /* debugger.h; NULL: nobody looks */
    struct x86_debugger_hit debugger_hit;
    bool debugger_pass;                              /* it stopped at debugger_at */
    uint64_t debugger_at;
    /* The last exceptions, for the triple-fault report: a ring, exception number
     * n (from 0) is at n % X86_FAULT_LOG, fault_count so far. */
    struct { struct x86_exception e; uint64_t rip; uint16_t cs; } fault_log[X86_FAULT_LOG];
    unsigned fault_count;
    /* The four PAE directory pointers, read when CR3, CR0 or CR4 is written and
     * cached as the architecture says (SDM vol. 3, 4.4.1). Derived state. */
    uint64_t pdpte[4];
    bool pdpte_valid;
    struct x86_tlb_map tlb_map[X86_TLB_KINDS];
    struct x86_tlb_entry tlb[X86_TLB_KINDS][X86_TLB_SIZE];
};

/* Zeroes, sets power-on state. All pointers stay the caller's. */
void x86_cpu_init(struct x86_cpu *cpu, const struct x86_env_ops *ops, void *env,
                  const struct x86_cpu_model *model, struct counters *counters,
                  struct log *log, bool bsp);

/* Recomputes cpu->mode and tlb_now after any change of CR0/CR4/EFER, RFLAGS.AC
 * or VM, CPL, or CS, SS, DS or ES; calls ops->mode_changed if anything in
 * cpu->mode changed. Cheap: called on every change of privilege. */
void x86_mode_update(struct x86_cpu *cpu);

/* After cpu->s was replaced as a whole (set_state, INIT, SIPI, reset): forgets
 * everything derived from the old state, then x86_mode_update(). */
void x86_cpu_state_loaded(struct x86_cpu *cpu);

/* x86_raise: a vector without error code; x86_raise_db: a fault-type #DB. */
_Noreturn void x86_raise(struct x86_cpu *cpu, enum x86_vector vector);
_Noreturn void x86_raise_error(struct x86_cpu *cpu, enum x86_vector vector, uint32_t error);
_Noreturn void x86_raise_pf(struct x86_cpu *cpu, gva_t address, uint32_t error);
_Noreturn void x86_raise_db(struct x86_cpu *cpu, uint64_t dr6_bits);
static inline _Noreturn void x86_gp0(struct x86_cpu *cpu) { x86_raise_error(cpu, X86_GP, 0); }
static inline _Noreturn void x86_ud(struct x86_cpu *cpu) { x86_raise(cpu, X86_UD); }

#endif
