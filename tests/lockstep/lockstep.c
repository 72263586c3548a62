/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lockstep.c - one guest on two engines, compared as they go.
 *
 *     lockstep [--engines A,B] [--chunk N] [--instructions N] [--until TEXT]
 *              (--sys FILE | (--kernel FILE --initrd FILE [--append TEXT] | --firmware FILE
 *               [--cdrom FILE]) [--cpu TEXT] [--memory MIB])
 *
 * Both execute a chunk of instructions, then every register is compared, and the
 * whole of memory every so many chunks. Time moves between chunks only, a
 * nanosecond per instruction. It ends well when the guest ends, has printed TEXT,
 * or N instructions have been executed without a difference.
 *
 * The engines do not count alike: a REP may be one instruction or several, an
 * exception one or none. When registers differ after a chunk, both go on by single
 * instructions for a while, until it is clear how far ahead one of them is, and the
 * one behind catches up. Only what never meets is a difference.
 *
 * A difference is looked for again from the start: up to the chunk before, from
 * there in halves until the first instruction after which the two differ is known.
 * Devices are not set back for that, so in a chunk that talks to them the place is
 * only nearly right.
 *
 * dbt counts instructions by coming back after each block, so this is about
 * blocks. With --chunk 0 nothing is counted: both run to the end of the guest, and
 * what they have printed and left in memory is compared.
 */
#include "lockstep.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "state/state.h"
#include "x86/decode.h"
#include "x86/mmu.h"

enum { SKIPPED = 77, MEMORY_EVERY = 256, SHOWN = 12, CATCH_UP = 4096,
       ALIKE = 1000 };

struct options {
    const char *engine[2], *until;
    uint64_t chunk, instructions, memory_every;
    struct guest_spec guest;
};

enum verdict { GOES_ON, ENDED, DIFFERS };

struct lockstep {
    struct options o;
    struct side *side[2];
    struct x86_state state[2];
    uint64_t chunks;             /* done and found equal */
    uint64_t memory_at;          /* number of chunks when memory was compared last */
    struct x86_state *past[2];   /* CATCH_UP + 1 states each */
    uint64_t caught_up;          /* how often that was necessary */
    char why[160];               /* it ended, or differs */
};

/* ---- comparing -------------------------------------------------------------- */

static bool same(const struct x86_state *a, const struct x86_state *b)
{
    struct strbuf text = {0};
    bool equal;

    if (a->rip != b->rip || memcmp(a->gpr, b->gpr, sizeof a->gpr))
        return false;
    if (!memcmp(a, b, sizeof *a))
        return true;
    equal = state_diff(&x86_state_desc, a, b, &text) == 0;
    strbuf_fini(&text);
    return equal;
}

static bool registers_equal(struct lockstep *l)
{
    for (unsigned i = 0; i < 2; i++)
        side_state(l->side[i], &l->state[i]);
    return same(&l->state[0], &l->state[1]);
}

static bool memory_equal(const struct lockstep *l)
{
    const struct memory *a = l->side[0]->memory, *b = l->side[1]->memory;

    return !memcmp(memory_ram_base(a).p, memory_ram_base(b).p, memory_ram_bytes(a));
}

static bool text_equal(const struct lockstep *l)
{
    return l->side[0]->text_bytes == l->side[1]->text_bytes &&
           !memcmp(l->side[0]->text, l->side[1]->text, l->side[0]->text_bytes);
}

static void show_memory(const struct lockstep *l)
{
    const uint8_t *a = memory_ram_base(l->side[0]->memory).p;
    const uint8_t *b = memory_ram_base(l->side[1]->memory).p;
    uint64_t bytes = memory_ram_bytes(l->side[0]->memory);
    unsigned shown = 0;

    for (uint64_t at = 0; at < bytes && shown < 8; at += 8) {
        if (!memcmp(a + at, b + at, 8))
            continue;
        shown++;
        printf("  physical %#llx:", (unsigned long long)at);
        for (unsigned i = 0; i < 16; i++)
            printf("%s%02x", i % 8 ? " " : i ? "   " : " ", (i < 8 ? a : b)[at + i % 8]);
        printf("\n");
    }
}

static void show(struct lockstep *l)
{
    struct strbuf text = {0};

    registers_equal(l);
    state_diff(&x86_state_desc, &l->state[0], &l->state[1], &text);
    printf("%s -> %s:\n%s", l->side[0]->name, l->side[1]->name, strbuf_text(&text));
    strbuf_fini(&text);
    show_memory(l);
}

/* ---- running ----------------------------------------------------------------- */

static enum verdict ended(struct lockstep *l, const char *why)
{
    snprintf(l->why, sizeof l->why, "%s", why);
    return ENDED;
}

static enum verdict differs(struct lockstep *l, const char *how)
{
    snprintf(l->why, sizeof l->why, "%s", how);
    return DIFFERS;
}

/* Side `i` has been, `ahead` instructions ago, where the other one is now. */
static bool follow(struct lockstep *l, unsigned i, unsigned ahead)
{
    while (ahead--)
        side_run(l->side[!i], 1);
    return registers_equal(l) && memory_equal(l);
}

/* Was side `i` for the last instructions, `ahead` before, where the other one was? */
static bool trails(const struct lockstep *l, unsigned i, unsigned ahead, unsigned alike)
{
    for (unsigned k = 0; k < alike; k++) {
        if (!same(&l->past[i][CATCH_UP - ahead - k], &l->past[!i][CATCH_UP - k]))
            return false;
    }
    return true;
}

/* Lets the one that is behind catch up: both go on by single instructions, and then
 * are compared over so many of them that it is no coincidence, as a single match in
 * a loop may be. False: they never meet. */
static bool catch_up(struct lockstep *l)
{
    l->caught_up++;
    for (unsigned k = 0; k <= CATCH_UP; k++) {
        for (unsigned i = 0; i < 2; i++) {
            if (k)
                side_run(l->side[i], 1);
            side_state(l->side[i], &l->past[i][k]);
        }
    }
    /* Less where they count differently all the time. */
    for (unsigned alike = ALIKE; alike; alike /= 10) {
        for (unsigned ahead = 0; ahead <= CATCH_UP - alike; ahead++) {
            for (unsigned i = 0; i < 2; i++) {
                if (trails(l, i, ahead, alike))
                    return follow(l, i, ahead);
            }
        }
    }
    return false;
}

/* One of them has reached its end, the other may still have to. */
static void end_both(struct lockstep *l)
{
    for (unsigned k = 0; k < CATCH_UP && l->side[0]->ended != l->side[1]->ended; k++)
        side_run(l->side[l->side[0]->ended], 1);
}

/* Executes on both. DIFFERS: they do not meet again. */
static enum verdict run_both(struct lockstep *l, uint64_t instructions, enum engine_exit why[2])
{
    for (unsigned i = 0; i < 2; i++)
        why[i] = side_run(l->side[i], instructions);
    end_both(l);
    if (!registers_equal(l) && !catch_up(l))
        return differs(l, "registers");
    return GOES_ON;
}

static enum verdict compare(struct lockstep *l, bool memory)
{
    if (!text_equal(l))
        return differs(l, "what the guest has printed");
    if (memory && !memory_equal(l))
        return differs(l, "memory");
    return GOES_ON;
}

/* After a chunk without difference: time passes, unless it was the last. */
static enum verdict afterwards(struct lockstep *l, const enum engine_exit why[2])
{
    bool asleep = l->state[0].ev.mp_state == X86_MP_HALTED, awake = true;

    if (l->side[0]->ended)
        return ended(l, "the guest ended");
    if (why[0] == ENGINE_FAILED || why[1] == ENGINE_FAILED)
        return differs(l, "an engine failed");
    if (why[0] == ENGINE_SHUTDOWN || why[1] == ENGINE_SHUTDOWN)
        return why[0] == why[1] ? ended(l, "triple fault") : differs(l, "one had a triple fault");
    if (l->o.until && strstr(l->side[0]->text, l->o.until))
        return ended(l, "the guest got there");
    if (l->chunks * l->o.chunk >= l->o.instructions)
        return ended(l, "enough instructions");
    for (unsigned i = 0; i < 2; i++)
        awake = side_advance(l->side[i], l->o.chunk, asleep) && awake;
    return awake ? GOES_ON : ended(l, "the guest sleeps for ever");
}

static enum verdict step(struct lockstep *l)
{
    bool memory = (l->chunks + 1) % l->o.memory_every == 0;
    enum engine_exit why[2];
    enum verdict v = run_both(l, l->o.chunk, why);

    if (v == GOES_ON)
        v = compare(l, memory || l->side[0]->ended);
    if (v != GOES_ON)
        return v;
    l->chunks++;
    if (memory)
        l->memory_at = l->chunks;
    return afterwards(l, why);
}

static int open_sides(struct lockstep *l, struct error **err)
{
    int r = 0;

    l->chunks = l->memory_at = 0;
    for (unsigned i = 0; i < 2 && !r; i++)
        r = side_open(l->side[i], &l->o.guest, l->o.engine[i], err);
    return r;
}

static void close_sides(struct lockstep *l)
{
    for (unsigned i = 0; i < 2; i++)
        side_close(l->side[i]);
}

/* ---- finding the place ---------------------------------------------------------- */

struct checkpoint {
    struct x86_state state;
    uint8_t *memory;
};

static void checkpoint_take(struct side *s, struct checkpoint *c)
{
    side_state(s, &c->state);
    c->memory = malloc(memory_ram_bytes(s->memory));
    if (c->memory)
        memcpy(c->memory, memory_ram_base(s->memory).p, memory_ram_bytes(s->memory));
}

static void checkpoint_restore(struct side *s, const struct checkpoint *c)
{
    memcpy(memory_ram_base(s->memory).p, c->memory, memory_ram_bytes(s->memory));
    memory_written(s->memory, gpa(0), memory_ram_bytes(s->memory));
    s->vcpu->ops->set_state(s->vcpu, &c->state);
}

static int read_table_entry(void *opaque, gpa_t at, uint64_t *value)
{
    return memory_read(opaque, at, value, sizeof *value);
}

/* The side's guest-virtual bytes at RIP. */
static size_t code_at(struct side *s, const struct x86_state *x, uint8_t *out, size_t n)
{
    size_t done = 0;

    while (done < n) {
        gva_t at = gva(x->rip + x->seg[X86_CS].base + done);
        size_t part = min_u64(n - done, PAGE_SIZE - (at.v & PAGE_OFFSET_MASK));
        struct x86_walk walk = {0};

        x86_walk(x, at, read_table_entry, s->memory, &walk);
        if (!walk.mapped || memory_read(s->memory, walk.phys, out + done, part) != 0)
            break;
        done += part;
    }
    return done;
}

static void show_code(struct side *s, const struct x86_state *x)
{
    unsigned bits = x->seg[X86_CS].attr & X86_ATTR_L ? 64 : x->seg[X86_CS].attr & X86_ATTR_DB ? 32
                                                                                             : 16;
    uint8_t bytes[SHOWN * X86_INSN_MAX_BYTES];
    size_t n = code_at(s, x, bytes, sizeof bytes), at = 0;
    char text[96];

    for (unsigned i = 0; i < SHOWN && at + X86_INSN_MAX_BYTES <= n; i++) {
        unsigned length = x86_disassemble(bytes + at, n - at, bits, x->rip + at, text,
                                          sizeof text);

        printf("  %#llx  %s\n", (unsigned long long)(x->rip + at), text);
        at += length;
    }
}

/* Does the chunk differ after so many instructions of it? */
static bool differs_after(struct lockstep *l, const struct checkpoint c[2], uint64_t n)
{
    enum engine_exit why[2];

    for (unsigned i = 0; i < 2; i++)
        checkpoint_restore(l->side[i], &c[i]);
    return run_both(l, n, why) != GOES_ON || compare(l, true) != GOES_ON;
}

static void bisect(struct lockstep *l, const struct checkpoint c[2], uint64_t chunk)
{
    uint64_t good = 0, bad = chunk;

    if (!differs_after(l, c, chunk)) {
        printf("From a checkpoint, the chunk does not differ: a translation of code that has "
               "changed, or a device.\n");
        return;
    }
    while (bad - good > 1) {
        uint64_t middle = good + (bad - good) / 2;

        if (differs_after(l, c, middle))
            bad = middle;
        else
            good = middle;
    }
    for (unsigned i = 0; i < 2; i++)
        checkpoint_restore(l->side[i], &c[i]);
    if (good)
        run_both(l, good, (enum engine_exit[2]){0});
    side_state(l->side[0], &l->state[0]);
    printf("Equal after %llu instructions of the chunk, different after %llu. There:\n",
           (unsigned long long)good, (unsigned long long)bad);
    show_code(l->side[0], &l->state[0]);
    differs_after(l, c, bad);
    show(l);
}

/* Up to the last place where everything was equal, then closer. */
static void find_place(struct lockstep *l)
{
    uint64_t bad = l->chunks, from = l->memory_at;
    struct checkpoint c[2] = {{.memory = NULL}};
    enum engine_exit why[2];
    struct error *err = NULL;

    close_sides(l);
    l->o.memory_every = 1;
    if (open_sides(l, &err) < 0)
        return;
    while (l->chunks < from && run_both(l, l->o.chunk, why) == GOES_ON) {
        l->chunks++;
        if (afterwards(l, why) != GOES_ON)
            return;
    }
    while (l->chunks <= bad) {
        enum verdict v;

        for (unsigned i = 0; i < 2; i++) {
            free(c[i].memory);
            checkpoint_take(l->side[i], &c[i]);
        }
        v = run_both(l, l->o.chunk, why);
        if (v == GOES_ON)
            v = compare(l, true);
        if (v == DIFFERS && c[0].memory && c[1].memory) {
            bisect(l, c, l->o.chunk);
            break;
        }
        l->chunks++;
        if (afterwards(l, why) != GOES_ON)
            break;
    }
    for (unsigned i = 0; i < 2; i++)
        free(c[i].memory);
}

/* ---- options ------------------------------------------------------------------------ */

static bool parse_engines(struct options *o, char *arg)
{
    char *comma = strchr(arg, ',');

    if (!comma)
        return false;
    *comma = 0;
    o->engine[0] = arg;
    o->engine[1] = comma + 1;
    return true;
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"engines", 1, NULL, 'e'}, {"chunk", 1, NULL, 'c'}, {"instructions", 1, NULL, 'n'},
        {"until", 1, NULL, 'u'}, {"sys", 1, NULL, 's'}, {"kernel", 1, NULL, 'k'},
        {"initrd", 1, NULL, 'i'}, {"append", 1, NULL, 'a'}, {"cpu", 1, NULL, 'p'},
        {"memory", 1, NULL, 'm'}, {"firmware", 1, NULL, 'f'}, {"cdrom", 1, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        switch (c) {
        case 'e':
            if (!parse_engines(o, optarg))
                return false;
            break;
        case 'c': o->chunk = strtoull(optarg, NULL, 0); break;
        case 'n': o->instructions = strtoull(optarg, NULL, 0); break;
        case 'u': o->until = optarg; break;
        case 's': o->guest.sys = optarg; break;
        case 'k': o->guest.kernel = optarg; break;
        case 'f': o->guest.firmware = optarg; break;
        case 'd': o->guest.cdrom = optarg; break;
        case 'i': o->guest.initrd = optarg; break;
        case 'a': o->guest.append = optarg; break;
        case 'p': o->guest.cpu = optarg; break;
        case 'm': o->guest.memory_bytes = strtoull(optarg, NULL, 0) << 20; break;
        default: return false;
        }
    }
    return o->guest.sys || o->guest.kernel || o->guest.firmware;
}

static int skip(struct error **err)
{
    char *text = error_text(*err);

    printf("skipped: %s\n", text);
    free(text);
    error_free(err);
    return SKIPPED;
}

int main(int argc, char **argv)
{
    static struct side side[2];
    struct lockstep l = {.side = {&side[0], &side[1]},
                         .o = {.engine = {"interp", "dbt"}, .chunk = 10000,
                               .instructions = UINT64_MAX / 2, .memory_every = MEMORY_EVERY,
                               .guest = {.memory_bytes = 256 << 20}}};
    struct error *err = NULL;
    enum verdict v = GOES_ON;

    if (!parse(&l.o, argc, argv)) {
        fprintf(stderr, "lockstep: see the head of tests/lockstep/lockstep.c\n");
        return 2;
    }
    if (open_sides(&l, &err) < 0)
        return skip(&err);
    for (unsigned i = 0; i < 2; i++) {
        l.past[i] = calloc(CATCH_UP + 1, sizeof *l.past[i]);
        if (!l.past[i])
            return 1;
    }
    while (v == GOES_ON)
        v = step(&l);
    if (v == ENDED && compare(&l, true) != GOES_ON)
        v = DIFFERS;
    printf("%s: %s in or after %llu chunks of %llu instructions, "
           "%llu caught up\n", l.o.guest.sys ? l.o.guest.sys
           : l.o.guest.kernel ? l.o.guest.kernel : l.o.guest.firmware, l.why, (unsigned long long)l.chunks, (unsigned long long)l.o.chunk,
           (unsigned long long)l.caught_up);
    if (v == DIFFERS) {
        show(&l);
        fflush(stdout);
        find_place(&l);
    }
    if (v == DIFFERS || (l.o.until && !strstr(side[0].text, l.o.until)) || side[0].status)
        printf("The guest printed:\n%s\n", side[0].text);
    else
        v = GOES_ON;
    close_sides(&l);
    for (unsigned i = 0; i < 2; i++)
        free(l.past[i]);
    return v == GOES_ON ? 0 : 1;
}
