/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats.c - what `info engine` and --trace translate say about a translating vCPU.
 *
 * Figures are counted where control has left translated code anyway (run.c), or
 * found by walking the blocks when somebody asks.
 */
#include "engine/dbt/vcpu.h"

#include <Zydis/Zydis.h>
#include <inttypes.h>

#include "base/log.h"
#include "base/strbuf.h"

enum { SHOWN_MNEMONICS = 20 };

static const char *const exit_name[DBT_EXITS] = {
    [DBT_EXIT_SLOW] = "memory access", [DBT_EXIT_INTERP] = "interpret",
    [DBT_EXIT_CHAIN] = "jump not linked yet", [DBT_EXIT_LOOKUP] = "look-up",
    [DBT_EXIT_FPU] = "vector state wanted", [DBT_EXIT_HOT] = "block got hot",
    [DBT_EXIT_HELPER] = "helper", [DBT_EXIT_DROPPED] = "dropped block",
    [DBT_EXIT_FAULT] = "host fault",
};

static const char *const slow_name[DBT_SLOWS_COUNT] = {
#define X(id, help) [DBT_SLOW_##id] = help,
    DBT_SLOWS(X)
#undef X
};

static const char *const flush_name[DBT_FLUSHES] = {
    [DBT_FLUSH_PAGE] = "flushes of a page",
    [DBT_FLUSH_LOCAL] = "flushes of one PCID, or of all that is not global",
    [DBT_FLUSH_ALL] = "flushes of everything",
    [DBT_FLUSH_SWITCH] = "switches to another PCID, whose entries stay",
};

/* ---- blocks --------------------------------------------------------------- */

struct census {
    size_t blocks, traces, dropped, insns, links, linked;
    size_t guest_bytes, host_bytes;
};

static void count_links(const struct dbt_cache *c, const struct dbt_block *b, struct census *n)
{
    for (unsigned i = 0; i < b->sites; i++) {
        if (b->site[i].kind != DBT_EXIT_CHAIN)
            continue;
        n->links++;
        n->linked += dbt_cache_linked(c, b, &b->site[i]);
    }
}

static struct census count_blocks(const struct dbt_cache *c)
{
    struct census n = {0};
    size_t all;
    struct dbt_block *const *block = dbt_cache_blocks(c, &all);

    for (size_t i = 0; i < all; i++) {
        const struct dbt_block *b = block[i];

        if (b->dropped) {
            n.dropped++;
            continue;
        }
        n.blocks += !b->head;
        n.traces += b->head != NULL;
        n.insns += b->insns;
        n.host_bytes += b->host_bytes;
        for (unsigned p = 0; p < b->parts; p++)
            n.guest_bytes += b->part[p].bytes;
        count_links(c, b, &n);
    }
    return n;
}

static void describe_blocks(const struct dbt_vcpu *d, struct strbuf *out)
{
    struct census n = count_blocks(d->cache);
    size_t used = dbt_cache_used(d->cache), size = dbt_cache_size(d->cache);

    strbuf_addf(out, "  blocks            %zu, and %zu traces; %zu instructions, %zu guest bytes "
                "in %zu host bytes\n", n.blocks, n.traces, n.insns, n.guest_bytes, n.host_bytes);
    strbuf_addf(out, "  code cache        %zu of %zu KiB (%zu %%), emptied %" PRIu64 " times\n",
                used >> 10, size >> 10, used * 100 / size, d->stats.resets);
    strbuf_addf(out, "  direct jumps      %zu of %zu linked (%zu %%)\n", n.linked, n.links,
                n.links ? n.linked * 100 / n.links : 0);
    strbuf_addf(out, "  invalidated       %" PRIu64 " blocks in all, %zu of them still in the "
                "cache; %" PRIu64 " writes to pages with code\n",
                counter_get(&d->interp.vcpu.counters, COUNTER_blocks_dropped), n.dropped,
                counter_get(&d->interp.vcpu.counters, COUNTER_code_writes));
}

/* ---- exits ---------------------------------------------------------------- */

static void describe_exits(const struct dbt_vcpu *d, struct strbuf *out)
{
    strbuf_addf(out, "  translated code was entered %" PRIu64 " times and left for\n", d->entered);
    for (unsigned e = 0; e < DBT_EXITS; e++)
        if (d->exits[e])
            strbuf_addf(out, "    %-20s %14" PRIu64 "\n", exit_name[e], d->exits[e]);
    strbuf_addf(out, "    of the look-ups   %14" PRIu64 "  because somebody wanted the vCPU\n",
                d->stats.requests);
    strbuf_addf(out, "  memory accesses\n");
    for (unsigned i = 0; i < DBT_SLOWS_COUNT; i++)
        if (d->stats.slow[i])
            strbuf_addf(out, "    %14" PRIu64 "  %s\n", d->stats.slow[i], slow_name[i]);
    strbuf_addf(out, "  tables            %" PRIu64 " fills\n", d->fills);
    for (unsigned i = 0; i < DBT_FLUSHES; i++)
        if (d->stats.flushes[i])
            strbuf_addf(out, "    %14" PRIu64 "  %s\n", d->stats.flushes[i], flush_name[i]);
}

/* What the interpreter was given most, and how often. */
static void describe_handed_over(const struct dbt_vcpu *d, struct strbuf *out)
{
    uint64_t below = UINT64_MAX;
    unsigned last = 0;

    strbuf_addf(out, "  interpreted       %" PRIu64 " instructions%s\n", d->interpreted,
                d->interpreted ? ", most of all" : "");
    for (unsigned n = 0; n < SHOWN_MNEMONICS; n++) {
        unsigned best = 0;
        uint64_t count = 0;

        /* The next smaller count; among equals, the next number. */
        for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
            uint64_t v = d->handed_over[m];
            if (v > count && (v < below || (v == below && m > last))) {
                best = m;
                count = v;
            }
        }
        if (!count)
            return;
        strbuf_addf(out, "    %-20s %14" PRIu64 "\n",
                    best ? ZydisMnemonicGetString((ZydisMnemonic)best) : "(page end)", count);
        below = count;
        last = best;
    }
}

void dbt_describe(struct engine_vm *vm, struct strbuf *out)
{
    const struct interp_vm *m = (const struct interp_vm *)vm;

    for (unsigned i = 0; i < vm->config.cpus; i++) {
        const struct dbt_vcpu *d = (const struct dbt_vcpu *)m->vcpu[i];

        strbuf_addf(out, "vCPU %u\n", i);
        describe_blocks(d, out);
        describe_exits(d, out);
        describe_handed_over(d, out);
    }
}

/* ---- --trace translate ----------------------------------------------------- */

void dbt_trace_made(const struct dbt_vcpu *d, const struct dbt_block *b)
{
    size_t guest_bytes = 0;

    for (unsigned i = 0; i < b->parts; i++)
        guest_bytes += b->part[i].bytes;
    log_trace(d->interp.vm->vm.config.log, TRANSLATE,
              "vcpu %u: %s %" PRIx64 " at %" PRIx64 ", %u-bit %s: %u instructions, %zu bytes, "
              "become %u bytes at %p", d->interp.vcpu.index, b->head ? "trace" : "block", b->rip,
              b->phys, b->mode & DBT_MODE_BITS, b->mode & DBT_MODE_USER ? "user" : "kernel",
              b->insns, guest_bytes, b->host_bytes, (const void *)b->host);
}

void dbt_trace_reset(const struct dbt_vcpu *d)
{
    size_t blocks;

    dbt_cache_blocks(d->cache, &blocks);
    log_trace(d->interp.vm->vm.config.log, TRANSLATE,
              "vcpu %u: code cache emptied: %zu blocks, %zu KiB", d->interp.vcpu.index, blocks,
              dbt_cache_used(d->cache) >> 10);
}

void dbt_trace_flush(const struct dbt_vcpu *d, enum dbt_flush what, gva_t page)
{
    static const char *const text[DBT_FLUSHES] = {
        [DBT_FLUSH_LOCAL] = "flushed: one PCID, or all that is not global",
        [DBT_FLUSH_ALL] = "flushed: everything",
        [DBT_FLUSH_SWITCH] = "switched to another PCID",
    };
    struct log *log = d->interp.vm->vm.config.log;

    if (what == DBT_FLUSH_PAGE)
        log_trace(log, TRANSLATE, "vcpu %u: flushed: page %" PRIx64, d->interp.vcpu.index, page.v);
    else
        log_trace(log, TRANSLATE, "vcpu %u: %s", d->interp.vcpu.index, text[what]);
}
