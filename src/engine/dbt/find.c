/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * find.c - the translated code for where a vCPU is: what identifies it, finding it,
 * making it (find.h).
 *
 * Compiled for general registers only, like run.c, with whose work it alternates: the
 * guest's vector state may be in the host's registers until something calls out of
 * the room.
 */
#include "engine/dbt/find.h"

#include <errno.h>
#include "base/bug.h"
#include "base/log.h"
#include "engine/dbt/system.h"
#include "engine/dbt/tables.h"

/* ---- what can be translated ------------------------------------------------ */

/* Not while SMAP lets the kernel at user pages: table entries made then would let it
 * at them ever after. Code segments end at 64 KiB or at 4 GiB, or are interpreted. */
bool dbt_translatable(const struct x86_cpu *cpu)
{
    const struct x86_mode *m = &cpu->mode;
    uint32_t limit = cpu->s.seg[X86_CS].limit;

    if (m->align_check || (m->tlb == X86_TLB_KERNEL_AC && cpu->s.cr4 & X86_CR4_SMAP))
        return false;
    return m->code_bits == 64 || limit == UINT32_MAX || limit == UINT16_MAX;
}

/* 32-bit code as everybody has it: DS, ES and SS are all of memory. */
static bool flat(const struct x86_mode *m)
{
    return m->code_bits == 32 && m->stack_bits == 32 && m->protected_mode && m->flat_data;
}

enum dbt_ring dbt_ring_now(const struct dbt_vcpu *d)
{
    return d->interp.cpu.mode.cpl == 3 ? DBT_RING_USER : DBT_RING_KERNEL;
}

/* ---- finding and making blocks ------------------------------------------------ */

static bool unlimited(const struct x86_segment *seg)
{
    /* Writable data, expand up, present, limit 4 GiB. */
    return seg->limit == UINT32_MAX && !(seg->attr & X86_ATTR_UNUSABLE) &&
           (seg->attr & (X86_ATTR_P | X86_ATTR_S | 0xe)) == (X86_ATTR_P | X86_ATTR_S | 0x2);
}

uint32_t dbt_mode_key(const struct dbt_vcpu *d)
{
    const struct x86_cpu *cpu = &d->interp.cpu;
    const struct x86_state *s = &cpu->s;
    uint32_t key = cpu->mode.code_bits;

    if ((s->cr4 & X86_CR4_OSXSAVE) && cpu->mode.protected_mode &&
        (s->xcr0 & d->host.components) == d->host.components)
        key |= DBT_MODE_VEX;
    if (cpu->mode.cpl == 3)
        key |= DBT_MODE_USER;
    if (cpu->mode.cpl == 0)
        key |= DBT_MODE_IF;
    if (d->tsc_direct && (cpu->mode.cpl == 0 || !(s->cr4 & X86_CR4_TSD)))
        key |= DBT_MODE_TSC;
    if (cpu->mode.code_bits == 64)
        return key;
    key |= s->seg[X86_CS].limit == UINT16_MAX ? DBT_MODE_CODE64K : 0;
    if (!flat(&cpu->mode))
        return key | DBT_MODE_SEGMENTS | (dbt_segments_real(cpu) ? DBT_MODE_REAL : 0) |
               (cpu->mode.stack_bits == 16 ? DBT_MODE_STACK16 : 0);
    return key | (unlimited(&s->seg[X86_FS]) ? DBT_MODE_FS : 0) |
           (unlimited(&s->seg[X86_GS]) ? DBT_MODE_GS : 0);
}

/* Where the vCPU is, in the form that blocks know (dbt_rip). */
uint64_t dbt_here(const struct dbt_vcpu *d)
{
    const struct x86_cpu *cpu = &d->interp.cpu;

    return dbt_rip(cpu->mode.code_bits, cpu->s.seg[X86_CS].base, cpu->s.rip);
}

/* And there it is now; CS stays. */
void dbt_go_to(struct dbt_vcpu *d, uint64_t rip)
{
    d->interp.cpu.s.rip = dbt_ip(d->interp.cpu.mode.code_bits, rip);
}

gva_t dbt_linear_at(const struct dbt_vcpu *d, uint64_t rip)
{
    return gva(dbt_linear(d->interp.cpu.mode.code_bits, rip));
}

void dbt_forget_all(struct dbt_vcpu *d)
{
    FILE *dump = d->interp.vcpu.vm->config.code_dump;

    d->stats.resets++;
    if (unlikely(log_tracing(d->interp.vcpu.vm->config.log, LOG_TRANSLATE)))
        dbt_trace_reset(d);
    if (unlikely(dump))
        dbt_dump_vcpu(d, dump);
    dbt_cache_reset(d->cache);
    dbt_paging_jumps_flush(d);
    for (unsigned i = 0; i < ARRAY_SIZE(d->left_at); i++)
        d->left_at[i].pc = 0;
    d->forget = false;
}

/* Translates what d->t->source and ->guide say into code memory; NULL: no room. */
static struct dbt_block *make(struct dbt_vcpu *d, struct dbt_block *proto)
{
    struct dbt_translation *t = d->t;
    struct dbt_block *b;

    if (!dbt_cache_begin(d->cache, &t->e))
        return NULL;
    t->cpu = &d->interp.cpu;
    t->thunks = &d->thunks;
    t->cache_start = dbt_cache_start(d->cache);
    t->cache = d->cache;
    t->mode = proto->mode;
    t->code_bits = proto->mode & DBT_MODE_BITS;
    t->countdown = proto->countdown;
    t->yields = d->interp.vcpu.vm->config.cpus > 1;
    t->ran = d->interp.vcpu.vm->config.code_dump ? dbt_cache_counter(d->cache) : NULL;
    if (!dbt_translate(t))
        return NULL;
    proto->ran = t->ran;
    proto->insns = (uint16_t)t->insns;
    proto->sites = (uint16_t)t->sites;
    proto->parts = (uint16_t)t->parts;
    proto->uses_fpu = t->fpu_checked;
    proto->loops = t->loops;
    proto->insn = t->insn;
    proto->site = t->site;
    proto->part = t->part;
    proto->body = t->body;
    COUNT(&d->interp.vcpu.counters, blocks_made);
    b = dbt_cache_commit(d->cache, &t->e, proto);
    if (unlikely(log_tracing(d->interp.vcpu.vm->config.log, LOG_TRANSLATE)))
        dbt_trace_made(d, b);
    return b;
}

/* The page behind the one that the vCPU is in, host address and guest-physical one; NULL: not
 * RAM, or the end of the world. Raises what fetching from it raises. */
static const uint8_t *next_page(struct dbt_vcpu *d, uint64_t *phys)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    gva_t page = gva((dbt_linear_at(d, dbt_here(d)).v | PAGE_OFFSET_MASK) + 1);
    const uint8_t *host = x86_tlb_hit(cpu, page, 1, X86_EXEC);

    if (host) {
        *phys = x86_tlb_at(cpu, page)->phys;
        return host;
    }
    if (cpu->mode.code_bits == 64 ? !dbt_canonical(page.v) : page.v > UINT32_MAX)
        return NULL;
    dbt_fpu_park(d);
    *phys = x86_fetch_page(cpu, page, &host).v & PAGE_MASK;
    return host;
}

static bool goes_on(const struct dbt_vcpu *d, const struct dbt_source *s)
{
    struct x86_insn insn;

    return dbt_near_page_end(dbt_linear_at(d, s->rip).v) &&
           x86_decode(s->code, s->bytes, d->interp.cpu.mode.code_bits, &insn) == -EAGAIN;
}

/* Its bytes, from both pages. */
static bool join(struct dbt_vcpu *d, struct dbt_source *s, uint8_t bytes[2 * X86_INSN_MAX_BYTES])
{
    const uint8_t *host = next_page(d, &s->phys2);

    /* Physical address 0 stands for none. */
    if (!host || !s->phys2 || !interp_code_hold(&d->interp, s->phys2))
        return false;
    memcpy(bytes, s->code, s->bytes);
    memcpy(bytes + s->bytes, host, X86_INSN_MAX_BYTES);
    s->code = bytes;
    s->bytes1 = s->bytes;
    s->bytes += X86_INSN_MAX_BYTES;
    return true;
}

static struct dbt_block *translate(struct dbt_vcpu *d, uint64_t phys, const uint8_t *code)
{
    uint64_t rip = dbt_here(d);
    struct dbt_block *b, proto = {.rip = rip, .phys = phys, .mode = dbt_mode_key(d)};
    struct dbt_source source = {.rip = rip, .phys = phys, .code = code,
                                .bytes = PAGE_SIZE - (phys & PAGE_OFFSET_MASK)};
    uint8_t bytes[2 * X86_INSN_MAX_BYTES];
    bool counted;

    /* From now on nobody stores to the page unseen. */
    if (!interp_code_hold(&d->interp, phys & PAGE_MASK) ||
        (goes_on(d, &source) && !join(d, &source, bytes)))
        return NULL;
    d->t->guide = NULL;
    d->t->source = source;
    proto.phys2 = source.phys2;
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_TRANSLATE);
    counted = !d->counting && !source.phys2;
    proto.countdown = counted ? dbt_cache_countdown(d->cache) : NULL;
    b = make(d, &proto);
    if (!b) {
        dbt_forget_all(d);
        d->t->source = source;
        proto.countdown = counted ? dbt_cache_countdown(d->cache) : NULL;
        b = make(d, &proto);
        BUG_ON(!b);
    }
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_OTHER);
    return b;
}

/* ---- traces ------------------------------------------------------------------- */

/* Does the soft TLB say that the second page is the one it was made from? */
static bool second_known(struct dbt_vcpu *d, const struct dbt_block *b)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    gva_t page = gva((dbt_linear_at(d, b->rip).v & PAGE_MASK) + PAGE_SIZE);

    return x86_tlb_hit(cpu, page, 1, X86_EXEC) && x86_tlb_at(cpu, page)->phys == b->phys2;
}

/* The block at `rip`, if that is mapped and has been translated. */
struct dbt_block *dbt_find_known(struct dbt_vcpu *d, uint64_t rip, struct dbt_source *out)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    gva_t a = dbt_linear_at(d, rip);
    const uint8_t *host = x86_tlb_hit(cpu, a, 1, X86_EXEC);
    struct dbt_block *b;
    uint64_t phys;

    if (!host)
        return NULL;
    phys = x86_tlb_at(cpu, a)->phys | (a.v & PAGE_OFFSET_MASK);
    b = dbt_cache_find(d->cache, rip, phys, dbt_mode_key(d));
    if (b && b->phys2 && !second_known(d, b))
        return NULL;
    if (b && out)
        *out = (struct dbt_source){rip, phys, host, PAGE_SIZE - (a.v & PAGE_OFFSET_MASK), b->host};
    return b;
}

static unsigned executions(const struct dbt_block *b)
{
    return !b || !b->countdown ? 0 : b->trace || *b->countdown > DBT_HOT ? DBT_HOT
                                                                        : DBT_HOT - *b->countdown;
}

static bool guide_follow(void *opaque, uint64_t rip, struct dbt_source *out)
{
    const struct dbt_block *b = dbt_find_known(opaque, rip, out);

    return executions(b) > DBT_HOT / 16 && !(b->trace && b->trace->loops);
}

static uint64_t guide_usual(void *opaque, uint64_t a, uint64_t b)
{
    unsigned to_a = executions(dbt_find_known(opaque, a, NULL));

    return executions(dbt_find_known(opaque, b, NULL)) > to_a ? b : a;
}

/* The way that execution usually takes from `head` on, as one piece of code. */
struct dbt_block *dbt_find_trace(struct dbt_vcpu *d, struct dbt_block *head)
{
    const struct dbt_guide guide = {guide_follow, guide_usual, d};
    struct dbt_block *t, proto = {.rip = head->rip, .phys = head->phys, .mode = head->mode,
                                  .head = head};

    if (dbt_find_known(d, head->rip, &d->t->source) != head)
        return NULL;
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_TRANSLATE);
    d->t->guide = &guide;
    t = make(d, &proto);
    d->t->guide = NULL;
    if (t) {
        d->stats.traces++;
        dbt_cache_trace(d->cache, head, t);
    }
    engine_vcpu_does(&d->interp.vcpu, ENGINE_DOES_OTHER);
    return t;
}

/* Where the code at s.rip is. The usual case calls nothing outside this room,
 * so that vector state may stay live. */
const uint8_t *dbt_find_code(struct dbt_vcpu *d, uint64_t *phys)
{
    struct x86_cpu *cpu = &d->interp.cpu;
    gva_t a = dbt_linear_at(d, dbt_here(d));
    const uint8_t *host = x86_tlb_hit(cpu, a, 1, X86_EXEC);

    if (cpu->mode.code_bits != 64 && unlikely(cpu->s.rip > cpu->s.seg[X86_CS].limit))
        return NULL;
    if (likely(host)) {
        *phys = x86_tlb_at(cpu, a)->phys | (a.v & PAGE_OFFSET_MASK);
        return host;
    }
    dbt_fpu_park(d);
    if (cpu->mode.code_bits == 64 && !dbt_canonical(a.v))
        x86_gp0(cpu);
    *phys = x86_fetch_page(cpu, a, &host).v | (a.v & PAGE_OFFSET_MASK);
    return host ? host + (a.v & PAGE_OFFSET_MASK) : NULL;
}

/* Is the second page of this instruction the one it was translated from? */
static bool still_goes_on(struct dbt_vcpu *d, const struct dbt_block *b)
{
    uint64_t phys;

    if (next_page(d, &phys) && phys == b->phys2)
        return true;
    dbt_cache_drop(d->cache, b->phys, 1);
    return false;
}

/* The block at s.rip; NULL: interpret. Raises what fetching raises. */
struct dbt_block *dbt_find(struct dbt_vcpu *d)
{
    uint64_t phys;
    const uint8_t *code = dbt_find_code(d, &phys);
    struct dbt_block *b;

    if (!code)
        return NULL;
    b = dbt_cache_find(d->cache, dbt_here(d), phys, dbt_mode_key(d));
    if (b && (!b->phys2 || still_goes_on(d, b)))
        return b;
    dbt_fpu_park(d);
    return translate(d, phys, code);
}
