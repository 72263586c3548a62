/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cache.c - code memory, and which block is where.
 *
 * Code is laid down from the bottom up; when the memory is full everything but the
 * thunks is dropped at once, which is cheap because a working set is translated
 * again in milliseconds.
 *
 * Blocks are found by guest address (hash), by host address (they lie in
 * ascending order in one array) and by guest-physical page (for invalidation).
 * A dropped block can no longer be entered: its checked entry and its body are
 * overwritten with a jump to the dispatcher, so chains into it need no list.
 */
#include "engine/dbt/dbt.h"

#include <errno.h>
#include <stdlib.h>
#include "base/bug.h"
#include "base/code_memory.h"
#include "base/error.h"

enum { HASH_SIZE = 1 << 15, RIP_HASH_BITS = 17 };
enum { ROOM_FOR_ONE_BLOCK = DBT_MAX_HOST, COUNTDOWNS = 1 << 21,
       COUNTDOWN_BYTES = 4 * COUNTDOWNS };

struct dbt_cache {
    struct code_memory memory;
    const struct emit_host *host;
    uint8_t *write, *exec;                  /* the memory's */
    size_t bytes, used, keep;
    uint64_t generation;
    struct dbt_block **block;               /* ascending host addresses */
    size_t blocks, cap;
    size_t countdowns;
    struct dbt_block *by_rip[1 << RIP_HASH_BITS];
    struct dbt_part *by_page[HASH_SIZE];
};

static unsigned hash(uint64_t v)
{
    return (unsigned)((v * 0x9e3779b97f4a7c15ull) >> 49);
}

static unsigned hash_rip(uint64_t rip)
{
    return (unsigned)((rip * 0x9e3779b97f4a7c15ull) >> (64 - RIP_HASH_BITS));
}

/* Behind the code are the counters that it reaches RIP-relative. */
struct dbt_cache *dbt_cache_new(size_t bytes, const struct emit_host *host, struct error **err)
{
    struct dbt_cache *c = calloc(1, sizeof *c);

    BUG_ON(!c);
    c->bytes = bytes;
    c->host = host;
    if (code_memory_map(&c->memory, "ring3-code", bytes, COUNTDOWN_BYTES, err) < 0) {
        error_hint(err, "use --engine interp");
        dbt_cache_free(c);
        return NULL;
    }
    c->write = c->memory.write;
    c->exec = c->memory.exec;
    return c;
}

static void block_free(struct dbt_block *b)
{
    free(b->insn);
    free(b->site);
    free(b->part);
    free(b);
}

void dbt_cache_free(struct dbt_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->blocks; i++)
        block_free(c->block[i]);
    code_memory_unmap(&c->memory);
    free(c->block);
    free(c);
}

bool dbt_cache_begin(struct dbt_cache *c, struct emit *e)
{
    if (c->bytes - c->used < ROOM_FOR_ONE_BLOCK)
        return false;
    e->start = e->p = c->write + c->used;
    e->end = e->start + ROOM_FOR_ONE_BLOCK;
    e->overflow = false;
    emit_label(e);
    e->host = c->host;
    return true;
}

uint8_t *dbt_cache_exec(const struct dbt_cache *c, const uint8_t *writable)
{
    return c->exec + (writable - c->write);
}

static void *copy_of(const void *data, size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);

    BUG_ON(!p);
    memcpy(p, data, bytes);
    return p;
}

static void parts_add(struct dbt_cache *c, struct dbt_block *b)
{
    for (unsigned i = 0; i < b->parts; i++) {
        struct dbt_part **slot = &c->by_page[hash(b->part[i].phys >> PAGE_SHIFT)];

        b->part[i].block = b;
        b->part[i].next = *slot;
        *slot = &b->part[i];
    }
}

struct dbt_block *dbt_cache_commit(struct dbt_cache *c, const struct emit *e,
                                   const struct dbt_block *proto)
{
    struct dbt_block *b;

    c->used = align_up((size_t)(e->p - c->write), 16);
    if (!proto)
        return NULL;
    b = copy_of(proto, sizeof *proto);
    b->insn = copy_of(proto->insn, (proto->insns + 1u) * sizeof *proto->insn);
    b->site = copy_of(proto->site, proto->sites * sizeof *proto->site);
    b->part = copy_of(proto->part, proto->parts * sizeof *proto->part);
    b->host = dbt_cache_exec(c, e->start);
    b->body = b->host + (proto->body - e->start);
    b->host_bytes = (uint32_t)(e->p - e->start);
    if (c->blocks == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 4096;
        c->block = realloc(c->block, c->cap * sizeof *c->block);
        BUG_ON(!c->block);
    }
    c->block[c->blocks++] = b;
    parts_add(c, b);
    if (!b->head) {
        struct dbt_block **slot = &c->by_rip[hash_rip(b->rip)];
        b->next_hash = *slot;
        *slot = b;
    }
    return b;
}

uint32_t *dbt_cache_countdown(struct dbt_cache *c)
{
    uint32_t *at = (uint32_t *)(c->exec + c->bytes) + c->countdowns;

    if (c->countdowns == COUNTDOWNS)
        return NULL;
    c->countdowns++;
    *at = DBT_HOT;
    return at;
}

uint64_t *dbt_cache_counter(struct dbt_cache *c)
{
    size_t at = align_up(c->countdowns, 2);
    uint64_t *counter = (uint64_t *)(void *)(c->exec + c->bytes + 4 * at);

    if (at + 2 > COUNTDOWNS)
        return NULL;
    c->countdowns = at + 2;
    *counter = 0;
    return counter;
}

struct dbt_block *const *dbt_cache_blocks(const struct dbt_cache *c, size_t *count)
{
    *count = c->blocks;
    return c->block;
}

size_t dbt_cache_size(const struct dbt_cache *c)
{
    return c->bytes;
}

/* Unlinked, it leads to the exit whose return address the site is. */
bool dbt_cache_linked(const struct dbt_cache *c, const struct dbt_block *b,
                      const struct dbt_site *site)
{
    const uint8_t *exit = c->write + (b->host - c->exec) + site->host_offset, *to;
    int32_t rel;

    __builtin_memcpy(&rel, site->jump, 4);
    to = site->jump + 4 + rel;
    return to >= exit || to + 16 < exit;
}

static uint8_t *writable(const struct dbt_cache *c, const uint8_t *executable)
{
    return c->write + (executable - c->exec);
}

const uint8_t *dbt_cache_near(const struct dbt_cache *c, const void *executable)
{
    return writable(c, executable);
}

void dbt_cache_trace(struct dbt_cache *c, struct dbt_block *head, struct dbt_block *trace)
{
    struct emit e = {.p = writable(c, head->body), .end = writable(c, head->body) + DBT_MIN_BODY};

    head->trace = trace;
    emit_jmp(&e, writable(c, trace->body));
}

void dbt_cache_keep(struct dbt_cache *c)
{
    c->keep = c->used;
}

void dbt_cache_reset(struct dbt_cache *c)
{
    for (size_t i = 0; i < c->blocks; i++)
        block_free(c->block[i]);
    c->blocks = 0;
    c->generation++;
    c->used = c->keep;
    c->countdowns = 0;
    memset(c->by_rip, 0, sizeof c->by_rip);
    memset(c->by_page, 0, sizeof c->by_page);
}

struct dbt_block *dbt_cache_find(struct dbt_cache *c, uint64_t rip, uint64_t phys, uint32_t mode)
{
    struct dbt_block *b = c->by_rip[hash_rip(rip)];

    while (b && (b->rip != rip || b->phys != phys || b->mode != mode))
        b = b->next_hash;
    return b;
}

bool dbt_cache_contains(const struct dbt_cache *c, uint64_t host_pc)
{
    return host_pc - (uint64_t)(uintptr_t)c->exec < c->used;
}

void dbt_cache_range(const struct dbt_cache *c, uintptr_t *start, uintptr_t *end)
{
    *start = (uintptr_t)c->exec;
    *end = *start + c->bytes;
}

struct dbt_block *dbt_cache_at(struct dbt_cache *c, uint64_t host_pc)
{
    size_t lo = 0, hi = c->blocks;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if ((uint64_t)(uintptr_t)c->block[mid]->host <= host_pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo || host_pc > (uint64_t)(uintptr_t)c->block[lo - 1]->host + c->block[lo - 1]->host_bytes)
        return NULL;
    return c->block[lo - 1];
}

uint8_t *dbt_cache_start(const struct dbt_cache *c)
{
    return c->write;
}

uint64_t dbt_cache_address(const struct dbt_cache *c, uint32_t offset)
{
    return (uint64_t)(uintptr_t)c->exec + offset;
}

struct dbt_block *dbt_cache_at_offset(struct dbt_cache *c, uint32_t offset)
{
    return dbt_cache_at(c, dbt_cache_address(c, offset));
}

void dbt_cache_link(struct dbt_cache *c, struct dbt_site *site, const struct dbt_block *to)
{
    const uint8_t *at = site->side   ? to->host + to->insn[0].host_offset
                        : to->trace ? to->trace->body
                                    : to->body;
    int32_t rel = (int32_t)(writable(c, at) - (site->jump + 4));

    __builtin_memcpy(site->jump, &rel, 4);      /* in place: vector state may be live */
}

static void unhash(struct dbt_cache *c, struct dbt_block *b)
{
    struct dbt_block **link = &c->by_rip[hash_rip(b->rip)];

    while (*link != b)
        link = &(*link)->next_hash;
    *link = b->next_hash;
}

/* The head counts again. */
static void untrace(struct dbt_cache *c, struct dbt_block *trace)
{
    struct dbt_block *head = trace->head;
    struct emit e;

    if (head->trace != trace || head->dropped)
        return;
    head->trace = NULL;
    e = (struct emit){.p = writable(c, head->body), .end = writable(c, head->body) + DBT_MIN_BODY};
    emit_load32_rip(&e, H_RCX, dbt_cache_near(c, head->countdown));
    *head->countdown = DBT_HOT;
}

/* Whoever gets here leaves for the dispatcher, with the target in r11. Chained
 * jumps come to the body and mean this block; the jump table leads everybody
 * with the same low bits to the entry, so there r11 stays what it is. */
static void seal(struct dbt_cache *c, struct dbt_block *b)
{
    struct emit e = {.p = writable(c, b->host), .end = writable(c, b->host) + b->host_bytes};

    b->dropped = true;
    if (b->head) {
        untrace(c, b);
    } else {
        unhash(c, b);
        emit_call_mem(&e, h_frame(offsetof(struct dbt_frame, exit) + 8 * DBT_EXIT_DROPPED));
    }
    e.p = writable(c, b->body);
    emit_mov_ri(&e, H_R11, b->rip);
    emit_call_mem(&e, h_frame(offsetof(struct dbt_frame, exit) + 8 * DBT_EXIT_DROPPED));
}

/* All parts of a block leave their lists. */
static void parts_remove(struct dbt_cache *c, struct dbt_block *b)
{
    for (unsigned i = 0; i < b->parts; i++) {
        struct dbt_part **link = &c->by_page[hash(b->part[i].phys >> PAGE_SHIFT)];

        while (*link != &b->part[i])
            link = &(*link)->next;
        *link = b->part[i].next;
    }
}

static struct dbt_block *overlapping(struct dbt_cache *c, uint64_t page, uint64_t phys,
                                     uint64_t len)
{
    for (struct dbt_part *p = c->by_page[hash(page)]; p; p = p->next) {
        if (p->phys < phys + len && phys < p->phys + p->bytes && p->phys >> PAGE_SHIFT == page)
            return p->block;
    }
    return NULL;
}

unsigned dbt_cache_drop(struct dbt_cache *c, uint64_t phys, uint64_t len)
{
    unsigned dropped = 0;

    for (uint64_t page = phys >> PAGE_SHIFT; page <= (phys + len - 1) >> PAGE_SHIFT; page++) {
        struct dbt_block *b;
        while ((b = overlapping(c, page, phys, len))) {
            parts_remove(c, b);
            seal(c, b);
            dropped++;
        }
    }
    return dropped;
}

bool dbt_cache_page_has_code(const struct dbt_cache *c, uint64_t phys)
{
    const struct dbt_part *p = c->by_page[hash(phys >> PAGE_SHIFT)];

    while (p && p->phys >> PAGE_SHIFT != phys >> PAGE_SHIFT)
        p = p->next;
    return p;
}

size_t dbt_cache_used(const struct dbt_cache *c)
{
    return c->used;
}

uint64_t dbt_cache_generation(const struct dbt_cache *c)
{
    return c->generation;
}
