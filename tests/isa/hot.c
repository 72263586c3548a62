/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hot.c - running a sequence until it is hot, then changing what it finds.
 *
 * A case of sequence.c is run in PHASES, with the engine told nothing between them
 * that would make it forget the code: the first executes it as often as it says,
 * the others enter it again with other registers, data, addresses, and turns, and
 * with a page that is suddenly absent, read-only, or another one. What faults in
 * a phase may have its page given back and go on from there. After each phase
 * everything is compared, but what happened on the way only by what it left.
 *
 * Which phases there are depends on the case alone.
 */
#include "isa.h"

#include <stdio.h>
#include <string.h>
#include "base/byteorder.h"

enum { PHASES = 6, POKE_TURNS = 0, POKE_WALKERS = 1, POKE_RANDOM = 3 };

struct event {
    enum isa_region_id region;
    unsigned page;
    enum isa_page what;
};

struct hot {
    struct isa_rng rng;
    struct isa_runner *host, *guest;
    struct isa_hot_result *out;
    struct isa_registers first;          /* registers of the case */
    uint64_t original_seed;
    bool whole;                          /* this phase begins with fresh memory */
    struct event event;
};

static void show_page(struct hot *h, enum isa_page what)
{
    h->host->protect(h->host, h->event.region, h->event.page, what);
    h->guest->protect(h->guest, h->event.region, h->event.page, what);
    h->event.what = what;
}

static void pick_event(struct hot *h)
{
    static const enum isa_region_id where[] = {ISA_DATA, ISA_DATA, ISA_DATA, ISA_STACK, ISA_EDGE,
                                               ISA_HIGH, ISA_CONST};
    static const enum isa_page what[] = {ISA_PAGE_ABSENT, ISA_PAGE_ABSENT, ISA_PAGE_READ_ONLY,
                                         ISA_PAGE_READ_ONLY, ISA_PAGE_ALIAS};

    h->event.region = where[isa_below(&h->rng, ARRAY_SIZE(where))];
    h->event.page = isa_below(&h->rng, isa_region[h->event.region].pages);
    show_page(h, what[isa_below(&h->rng, ARRAY_SIZE(what))]);
}

/* The registers that sequence.c pins keep their addresses, or nearly. */
static void fresh_registers(struct hot *h, struct isa_case *c)
{
    static const uint8_t keep[] = {X86_RBX, X86_RBP, X86_RSI, X86_RDI, X86_RSP};
    unsigned shift = isa_chance(&h->rng, 30) ? isa_below(&h->rng, 32) : 0;

    isa_fill_registers(isa_rand(&h->rng), c->mode, &c->in);
    isa_limit_registers(h->guest->features, &c->in);
    for (unsigned i = 0; i < ARRAY_SIZE(keep); i++)
        c->in.gpr[keep[i]] = h->first.gpr[keep[i]] + shift;
    c->in.rip = h->first.rip;
}

static void fresh_turns(struct hot *h, struct isa_case *c)
{
    uint64_t base = c->mode == ISA_MODE_16 ? 0 : ISA_DATA_BASE;

    put_le32(c->poke[POKE_TURNS].bytes, isa_chance(&h->rng, 70) ? 1 + isa_below(&h->rng, 40)
                                                                : 200 + isa_below(&h->rng, 1500));
    put_le64(c->poke[POKE_RANDOM].bytes, isa_rand(&h->rng));
    if (isa_chance(&h->rng, 40))                           /* soon over an edge */
        put_le64(c->poke[POKE_WALKERS].bytes + 8 * isa_below(&h->rng, ISA_WALKERS),
                 base + 0x1000 * (1 + isa_below(&h->rng, 3)) - isa_below(&h->rng, 512));
}

/* Sets up the phase after one that ended with `last`. */
static void next_phase(struct hot *h, struct isa_case *c, const struct isa_result *last)
{
    bool event = h->event.what != ISA_PAGE_NORMAL;

    c->warm = true;
    h->whole = false;
    if (event)
        show_page(h, ISA_PAGE_NORMAL);
    if (event && last->vector == X86_PF && isa_chance(&h->rng, 60)) {
        c->in = last->out;
        c->in.rflags = (c->in.rflags & ~(uint64_t)X86_FLAG_RF) | X86_FLAG_IF;
        h->out->resumed = true;
        return;
    }
    h->out->resumed = false;
    fresh_registers(h, c);
    fresh_turns(h, c);
    if (isa_chance(&h->rng, 25)) {
        c->data_seed = isa_rand(&h->rng);
        h->whole = true;
    }
    if (isa_chance(&h->rng, 65))
        pick_event(h);
}

static bool run_phase(struct hot *h, const struct isa_case *c,
                      const struct isa_compare_options *o)
{
    struct isa_hot_result *r = h->out;
    uint32_t before;
    bool equal;

    if (h->whole) {
        isa_case_image(c, h->host->image);
        isa_case_image(c, h->guest->image);
    } else if (!r->resumed) {
        isa_case_pokes(c, h->host->image);
        isa_case_pokes(c, h->guest->image);
    }
    before = isa_sequence_turns(h->host->image);
    h->host->run(h->host, c, &r->a);
    if (r->a.failed[0]) {
        r->endless = true;
        return true;
    }
    h->guest->run(h->guest, c, &r->b);
    equal = isa_equal(c, o, &r->a, &r->b, h->host->image, h->guest->image);
    r->turns += before - isa_sequence_turns(h->host->image) + (r->a.vector != X86_BP);
    r->ended[r->a.vector & 31]++;
    return equal;
}

bool isa_hot_run(const struct isa_case *given, struct isa_runner *host, struct isa_runner *guest,
                 const struct isa_compare_options *o, struct isa_hot_result *out)
{
    struct hot h = {.rng = {given->data_seed}, .host = host, .guest = guest, .out = out,
                    .first = given->in, .whole = true};
    unsigned phases = 1 + isa_below(&h.rng, PHASES);
    struct isa_case *c = &out->c;
    bool equal = true;

    memset(out, 0, offsetof(struct isa_hot_result, c));
    *c = *given;
    for (out->phase = 0; out->phase < phases && !out->endless; out->phase++) {
        if (out->phase)
            next_phase(&h, c, &out->a);
        equal = run_phase(&h, c, o);
        if (!equal)
            break;
    }
    snprintf(out->event, sizeof out->event, "%s page %u %s", isa_region[h.event.region].name,
             h.event.page,
             (const char *[]){"as usual", "absent", "read-only", "an alias"}[h.event.what]);
    if (h.event.what != ISA_PAGE_NORMAL)
        show_page(&h, ISA_PAGE_NORMAL);
    return equal;
}
