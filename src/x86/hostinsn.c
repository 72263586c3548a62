/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn.c - the pool of stubs, and running one.
 *
 * Code lies in memory that is never writable and executable at one address
 * (base/code_memory.h). A stub runs under a fault guard that covers all of it up
 * to its fault exit; what the processor reports there is the guest's exception.
 */
#include "x86/hostinsn_priv.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/bug.h"
#include "base/code_memory.h"
#include "base/error.h"

enum { POOL_BYTES = 2 << 20, POOL_STUBS = 8192, POOL_HASH = 4096 };

struct x86_hostinsn_pool {
    struct hostinsn_host host;
    uint64_t generation;
    struct code_memory code;
    size_t used;
    unsigned stubs;
    struct x86_hostinsn *hash[POOL_HASH];
    struct x86_hostinsn stub[POOL_STUBS];
};

/* ---- the pool ---------------------------------------------------------- */

static void host_init(struct hostinsn_host *h)
{
    unsigned a = 0, b = 0, c = 0, d = 0;

    __builtin_cpu_init();
    h->avx = __builtin_cpu_supports("avx");
    h->avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    __get_cpuid(0, &a, &b, &c, &d);
    h->amd = b == signature_AMD_ebx || b == 0x6f677948 /* Hygon */;
    b = 0;
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    h->x87_selectors = !(b & 1u << 13);
}

/* Without executable memory there are no stubs: x86_features_software() does not
 * offer then what needs them. */
static int pool_map(struct x86_hostinsn_pool *p, struct error **err)
{
    struct error *why = NULL;
    int r = code_memory_map(&p->code, "ring3-hostinsn", POOL_BYTES, 0, &why);

    if (r == -EACCES || r == -EPERM)
        r = 0;
    if (r < 0 && err)
        *err = why;
    else
        error_free(&why);
    return r;
}

struct x86_hostinsn_pool *x86_hostinsn_pool_new(struct error **err)
{
    struct x86_hostinsn_pool *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "cannot allocate the table of instruction stubs");
        return NULL;
    }
    host_init(&p->host);
    if (pool_map(p, err) < 0)
        goto fail;
    if (fault_install(err) < 0)
        goto fail;
    return p;
fail:
    code_memory_unmap(&p->code);
    free(p);
    return NULL;
}

void x86_hostinsn_pool_free(struct x86_hostinsn_pool *p)
{
    if (!p)
        return;
    fault_uninstall();
    code_memory_unmap(&p->code);
    free(p);
}

uint64_t x86_hostinsn_pool_generation(const struct x86_hostinsn_pool *p)
{
    return p->generation;
}

const struct hostinsn_host *x86_hostinsn_host(const struct x86_hostinsn_pool *p)
{
    return &p->host;
}

static void pool_empty(struct x86_hostinsn_pool *p)
{
    memset(p->hash, 0, sizeof p->hash);
    p->used = 0;
    p->stubs = 0;
    p->generation++;
}

/* FNV-1a over what identifies a stub. */
static unsigned hash_of(const struct x86_insn *insn)
{
    uint32_t h = 2166136261u ^ insn->code_bits;

    for (unsigned i = 0; i < insn->length; i++)
        h = (h ^ insn->bytes[i]) * 16777619u;
    return (h ^ h >> 16) % POOL_HASH;
}

const struct x86_hostinsn *x86_hostinsn_get(struct x86_hostinsn_pool *p,
                                            const struct x86_insn *insn)
{
    struct x86_hostinsn **bucket, *st;
    size_t len;

    if (insn->class != X86_CLASS_HOST || !p->code.bytes)
        return NULL;
    bucket = &p->hash[hash_of(insn)];
    for (st = *bucket; st; st = st->next) {
        if (st->length == insn->length && st->code_bits == insn->code_bits &&
            !memcmp(st->bytes, insn->bytes, insn->length))
            return st;
    }
    if (p->stubs == POOL_STUBS || POOL_BYTES - p->used < HOSTINSN_CODE_MAX)
        pool_empty(p);
    st = &p->stub[p->stubs];
    memset(st, 0, sizeof *st);
    if (!x86_hostinsn_generate(&p->host, insn, st, p->code.write + p->used, &len))
        return NULL;
    st->enter = (uint32_t(*)(struct x86_state *, void *, struct hostinsn_frame *))(
        uintptr_t)(p->code.exec + p->used);
    st->length = insn->length;
    st->code_bits = insn->code_bits;
    memcpy(st->bytes, insn->bytes, insn->length);
    st->next = *bucket;
    *bucket = st;
    p->stubs++;
    p->used += align_up(len, 16);
    return st;
}

/* ---- running ----------------------------------------------------------- */

static _Noreturn void raise_fault(struct x86_cpu *cpu, const struct fault_guard *g)
{
    switch (g->trapno) {
    case X86_DE:
    case X86_MF:
        x86_raise(cpu, (enum x86_vector)g->trapno);
    case X86_UD:
        x86_ud(cpu);
    case X86_XM:
        if (!(cpu->s.cr4 & X86_CR4_OSXMMEXCPT))
            x86_ud(cpu);
        x86_raise(cpu, X86_XM);
    case X86_GP:
        x86_gp0(cpu);
    case X86_AC:
        x86_raise_error(cpu, X86_AC, 0);
    default:
        BUG("a stub cannot reach memory of ours");
    }
}

void x86_hostinsn_enter(struct x86_cpu *cpu, const struct x86_hostinsn *st, void *mem,
                        struct hostinsn_frame *f)
{
    uintptr_t at = (uintptr_t)st->enter;
    struct fault_guard g;                    /* the rest is filled in by a fault */
    bool faulted;

    g.code_start = at;
    g.code_end = g.resume = at + st->fault_at;
    fault_guard_push(&g);
    faulted = st->enter(&cpu->s, mem, f);
    fault_guard_pop(&g);
    if (unlikely(faulted)) {
        if (st->x87)
            x86_hostinsn_x87_store(cpu, f);
        raise_fault(cpu, &g);
    }
}

void x86_hostinsn_align(struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_hostinsn *st)
{
    uint64_t a = x86_ea(cpu, insn) + cpu->s.seg[insn->mem.seg].base;

    if (likely(!(a & (st->align - 1))))
        return;
    if (!st->align_relaxed || !(cpu->s.fpu.mxcsr & HOSTINSN_MXCSR_MM))
        x86_gp0(cpu);
}

/* MXCSR.MM: the stub need not run with the guest's MXCSR, so an operand that
 * only this bit allows to be misaligned is moved. */
static bool misplaced(const struct x86_hostinsn *st, gva_t a)
{
    return st->align && (a.v & (st->align - 1));
}

void x86_hostinsn_run_regs(struct x86_cpu *cpu, const struct x86_insn *insn,
                           const struct x86_hostinsn *st)
{
    struct hostinsn_frame f;

    x86_hostinsn_enter(cpu, st, NULL, &f);
}

static void run_bounced(struct x86_cpu *cpu, const struct x86_hostinsn *st, gva_t a)
{
    struct hostinsn_bounce b;
    struct hostinsn_frame f;
    uint8_t *p = misplaced(st, a) ? b.at : x86_hostinsn_bounce_at(&b, a);

    if (st->mem_write)
        x86_probe(cpu, a, st->mem_bytes, X86_WRITE);
    if (st->mem_read)
        x86_read_block(cpu, a, p, st->mem_bytes);
    x86_hostinsn_enter(cpu, st, p, &f);
    if (st->mem_write)
        x86_write_block(cpu, a, p, st->mem_bytes);
}

void x86_hostinsn_run_mem(struct x86_cpu *cpu, const struct x86_insn *insn,
                          const struct x86_hostinsn *st)
{
    enum x86_access access = st->mem_write ? X86_WRITE : X86_READ;
    struct hostinsn_frame f;
    uint8_t *p;
    gva_t a;

    if (st->align)
        x86_hostinsn_align(cpu, insn, st);
    a = x86_ea_linear(cpu, insn, st->mem_bytes, access);
    p = x86_tlb_hit(cpu, a, st->mem_bytes, access);
    if (unlikely(!p))
        p = x86_host_ptr(cpu, a, st->mem_bytes, access);
    if (likely(p && !misplaced(st, a)))
        x86_hostinsn_enter(cpu, st, p, &f);
    else
        run_bounced(cpu, st, a);
}

void x86_hostinsn_run(struct x86_cpu *cpu, const struct x86_insn *insn,
                      const struct x86_hostinsn *st)
{
    x86_fpu_check_need(cpu, st->need);
    COUNT(cpu->counters, host_insns);
    st->run(cpu, insn, st);
    x86_next(cpu, insn);
}
