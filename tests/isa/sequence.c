/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sequence.c - random sequences of 1 to 40 instructions, with their control flow.
 *
 * The sequence is the body of a loop, so that it is executed as often as it takes
 * for an engine to find it hot, with other registers and other addresses at each
 * turn:
 *
 *     head:   registers from a random number that changes, walkers moved on,
 *             targets of indirect jumps exchanged, counters of inner loops set
 *             the sequence: instructions (gen.c), jumps, inner loops, calls and
 *             returns, direct, through registers and through memory
 *     tail:   sums over flags and registers; next turn, or INT3
 *
 * All of that ends: jumps go forward, or backward a counted number of times, and
 * calls go to what was generated before. Counters live in ISA_LOOP, which no
 * operand is aimed at. What stray stack pointers and jumps out of subroutines do to
 * it is rare, and ended by the watchdog.
 *
 * Executed repeatedly, faults would end nearly everything at once. So the processor
 * tries the sequence first, and the instruction that faults in an early turn becomes
 * a NOP (isa_sequence_settle). Faults come from walkers that leave their region and
 * from what hot.c does to the pages.
 */
#include "gen.h"

#include <stdio.h>
#include <string.h>
#include "base/byteorder.h"
#include "base/bug.h"

enum { SUBS = 3 };

struct seq {
    struct gen *g;
    unsigned head;                       /* offsets in code[] */
    unsigned sub[SUBS], subs;
    unsigned counters;                   /* used so far */
    unsigned counter_imm[ISA_COUNTERS];  /* where the head sets them */
    unsigned target_imm[ISA_TARGETS];    /* XOR immediates in the head */
    unsigned targets, targets_used;
    uint64_t target[ISA_TARGETS];
    /* Indirect jumps through a target, that go to one of two later instructions. */
    struct { unsigned target, first; } pending[ISA_TARGETS];
    unsigned pendings;
};

static unsigned bits(const struct gen *g)
{
    return isa_mode_bits(g->o->mode);
}

/* ---- emission ---------------------------------------------------------- */

static unsigned put_start(const struct gen *g, uint8_t *b, unsigned reg, unsigned rm,
                          enum gen_width width)
{
    unsigned n = 0, rex = (reg >> 3) << 2 | rm >> 3;

    if (bits(g) == 16 && width != GEN_NATURAL)
        b[n++] = 0x66;
    if (bits(g) == 64 && width == GEN_WIDEST)
        rex |= 8;
    if (rex)
        b[n++] = (uint8_t)(0x40 | rex);
    return n;
}

static unsigned put_slot(const struct gen *g, uint8_t *b, unsigned opcode, unsigned reg,
                         unsigned slot, enum gen_width width)
{
    unsigned n = 0;

    if (bits(g) == 16)
        b[n++] = 0x36;                   /* SS covers the page */
    n += put_start(g, b + n, reg, 0, width);
    if (opcode > 0xff)
        b[n++] = 0x0f;
    b[n++] = (uint8_t)opcode;
    b[n++] = (uint8_t)((reg & 7) << 3 | (bits(g) == 64 ? 4 : bits(g) == 32 ? 5 : 6));
    if (bits(g) == 64)
        b[n++] = 0x25;
    if (bits(g) == 16) {
        put_le16(b + n, (uint16_t)(ISA_LOOP_BASE - ISA_STACK_BASE + slot));
        return n + 2;
    }
    put_le32(b + n, ISA_LOOP_BASE + slot);
    return n + 4;
}

void gen_slot(struct gen *g, unsigned opcode, unsigned reg, unsigned slot, enum gen_width width)
{
    uint8_t b[16];

    gen_append(g, b, put_slot(g, b, opcode, reg, slot, width), true);
}

/* With an immediate of four bytes; returns where that is. */
static unsigned slot_imm(struct gen *g, unsigned opcode, unsigned reg, unsigned slot, uint32_t imm,
                         enum gen_width width)
{
    uint8_t b[20];
    unsigned n = put_slot(g, b, opcode, reg, slot, width);

    put_le32(b + n, imm);
    gen_append(g, b, n + 4, true);
    return g->c->code_bytes - 4;
}

/* Opcode with a register and an immediate of 0, 1 or 4 bytes. */
static void reg_imm(struct gen *g, unsigned opcode, unsigned reg, unsigned rm, uint32_t imm,
                    unsigned imm_bytes)
{
    uint8_t b[16];
    unsigned n = put_start(g, b, reg, rm, GEN_WIDEST);

    b[n++] = (uint8_t)opcode;
    b[n++] = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7));
    put_le32(b + n, imm);
    gen_append(g, b, n + imm_bytes, true);
}

static unsigned rel_bytes(const struct gen *g)
{
    return bits(g) == 16 ? 2 : 4;
}

static void put_rel(struct gen *g, unsigned at, unsigned to)
{
    uint32_t rel = to - (at + rel_bytes(g));

    memcpy(g->c->code + at, &rel, rel_bytes(g));
}

enum { JMP = 0xe9, CALL = 0xe8, JCC = 0x80, CC_S = 8, CC_Z = 4, CC_NZ = 5, CC_G = 15 };

/* JMP, CALL or Jcc (JCC + condition) to a place in code[]; returns where its
 * displacement is, for a place that is not known yet. */
static unsigned jump(struct gen *g, unsigned opcode, unsigned to)
{
    uint8_t b[8] = {0};
    unsigned n = 0;

    if (opcode < 0xe0)
        b[n++] = 0x0f;
    b[n++] = (uint8_t)opcode;
    gen_append(g, b, n + rel_bytes(g), false);
    n = g->c->code_bytes - rel_bytes(g);
    put_rel(g, n, to);
    return n;
}

static void land(struct gen *g, unsigned at)
{
    put_rel(g, at, g->c->code_bytes);
}

static uint64_t address_of(const struct gen *g, unsigned at)
{
    return g->c->in.rip + at;
}

static bool room(const struct gen *g)
{
    return g->c->insns + 60 < ISA_INSNS_MAX && g->c->code_bytes + 600 < ISA_CODE_MAX &&
           g->fixups + 8 < ARRAY_SIZE(g->fixup);
}

static void some(struct gen *g, unsigned n)
{
    for (unsigned tries = 0; n && tries < 20000 && room(g); tries++)
        n -= gen_one(g);
}

/* What jumps among the instructions since `from` gets no further than here. */
static void close_in(struct gen *g, unsigned from)
{
    gen_apply_fixups(g, from);
    g->fixups = from;
}

/* ---- pieces of control flow -------------------------------------------- */

/* A jump that is usually taken or usually not, by the turns that are left. */
static unsigned by_turn(struct gen *g)
{
    static const uint16_t mask[] = {1, 3, 0x1f, 0xff, 0x200};

    slot_imm(g, 0xf7, 0, ISA_SLOT_TURNS, mask[isa_below(&g->rng, ARRAY_SIZE(mask))], GEN_DWORD);
    return jump(g, JCC + (isa_chance(&g->rng, 50) ? CC_Z : CC_NZ), 0);
}

/* A jump over up to three instructions, mostly with whatever the flags are. */
static void forward(struct seq *s)
{
    struct gen *g = s->g;
    unsigned cc = isa_below(&g->rng, 17), at;

    if (isa_chance(&g->rng, 25))
        at = by_turn(g);
    else
        at = jump(g, cc == 16 ? JMP : JCC + cc, 0);
    some(g, isa_below(&g->rng, 4));
    land(g, at);
}

/* Backward, as long as a counter is positive, or, on top of that, as long as
 * some condition of the instruction before holds. */
static void inner_loop(struct seq *s)
{
    struct gen *g = s->g;
    unsigned counter = s->counters, top = g->c->code_bytes, fixups = g->fixups, out;

    if (counter == ISA_COUNTERS)
        return;
    s->counters++;
    some(g, 1 + isa_below(&g->rng, 4));
    close_in(g, fixups);
    slot_imm(g, 0x81, 5, ISA_SLOT_COUNTER + 4 * counter, 1, GEN_DWORD);
    if (isa_chance(&g->rng, 50)) {
        jump(g, JCC + CC_G, top);
        return;
    }
    out = jump(g, JCC + CC_S, 0);
    some(g, 1);
    jump(g, JCC + isa_below(&g->rng, 16), top);
    land(g, out);
}

/* Another return address, somewhere behind, every now and then: POP rAX, PUSH imm.
 * That may be the call itself, so a turn does it only so often. */
static void divert(struct gen *g)
{
    unsigned skip = by_turn(g), spent;
    uint8_t b[5] = {0x68};

    slot_imm(g, 0x81, 5, ISA_SLOT_DIVERSIONS, 1, GEN_DWORD);
    spent = jump(g, JCC + CC_S, 0);

    gen_append(g, (const uint8_t[]){0x58}, 1, false);
    gen_add_fixup(g, (struct gen_fixup){g->c->code_bytes + 1, rel_bytes(g), true, 0,
                                        g->c->insns + 3});
    gen_append(g, b, 1 + rel_bytes(g), false);
    land(g, skip);
    land(g, spent);
}

static void put_ret(struct gen *g)
{
    if (isa_chance(&g->rng, 30))
        divert(g);
    if (isa_chance(&g->rng, 85))
        gen_append(g, (const uint8_t[]){0xc3}, 1, false);
    else
        gen_append(g, (const uint8_t[]){0xc2, (uint8_t)(8 * isa_below(&g->rng, 4)), 0}, 3, false);
}

static void call(struct seq *s)
{
    struct gen *g = s->g;
    unsigned sub = s->sub[isa_below(&g->rng, s->subs)], reg = isa_below(&g->rng, 8);
    uint8_t b[3];
    unsigned n = 0;

    switch (isa_below(&g->rng, 4)) {
    case 0:
        if (reg != X86_RSP && !(g->pinned & 1u << reg)) {
            gen_set(g, reg, address_of(g, sub));
            g->known &= ~(1u << reg);
            b[n++] = 0xff;
            b[n++] = (uint8_t)(0xd0 | reg);
            gen_append(g, b, n, false);
            return;
        }
        break;
    case 1:
        if (s->targets_used < s->targets) {
            unsigned t = s->targets_used++, other = s->sub[isa_below(&g->rng, s->subs)];

            s->target[t] = address_of(g, sub);
            put_le32(g->c->code + s->target_imm[t],
                     (uint32_t)(s->target[t] ^ address_of(g, other)));
            gen_slot(g, 0xff, 2, ISA_SLOT_TARGET + 8 * t, GEN_NATURAL);
            return;
        }
        break;
    }
    jump(g, CALL, sub);
}

/* Something to call, jumped over. */
static void subroutine(struct seq *s)
{
    struct gen *g = s->g;
    unsigned over = jump(g, JMP, 0), at = g->c->code_bytes, fixups = g->fixups;

    some(g, 1 + isa_below(&g->rng, 5));
    if (s->subs && isa_chance(&g->rng, 30))
        call(s);
    if (isa_chance(&g->rng, 90))
        close_in(g, fixups);
    put_ret(g);
    land(g, over);
    if (s->subs < SUBS)
        s->sub[s->subs++] = at;
    call(s);
}

/* JMP through memory, to one of two places that alternate. */
static void switch_jump(struct seq *s)
{
    struct gen *g = s->g;

    if (s->targets_used == s->targets)
        return;
    gen_slot(g, 0xff, 4, ISA_SLOT_TARGET + 8 * s->targets_used, GEN_NATURAL);
    s->pending[s->pendings].target = s->targets_used++;
    s->pending[s->pendings++].first = g->c->insns;
    some(g, isa_below(&g->rng, 4));
}

static void body(struct seq *s, unsigned length)
{
    struct gen *g = s->g;
    unsigned first = g->c->insns;

    for (unsigned tries = 0; g->c->insns - first < length && tries < 20000 && room(g); tries++) {
        unsigned pick = isa_below(&g->rng, 100);

        if (pick < 75)
            some(g, 1);
        else if (pick < 84)
            forward(s);
        else if (pick < 89)
            inner_loop(s);
        else if (pick < 92)
            subroutine(s);
        else if (pick < 96 && s->subs)
            call(s);
        else
            switch_jump(s);
    }
}

/* ---- the loop around it ------------------------------------------------ */

/* A register that the head may fill: not the stack pointer, nothing pinned. */
static unsigned free_register(struct gen *g)
{
    unsigned reg;

    do
        reg = isa_below(&g->rng, bits(g) == 64 ? 16 : 8);
    while (reg == X86_RSP || g->pinned & 1u << reg);
    return reg;
}

static void refresh(struct gen *g)
{
    unsigned reg = free_register(g);
    uint8_t b[24];
    unsigned n = put_slot(g, b, 0x69, reg, ISA_SLOT_RANDOM, GEN_WIDEST);

    put_le32(b + n, 0x41c64e6d);
    gen_append(g, b, n + 4, true);
    reg_imm(g, 0x81, 0, reg, 12345 + 2 * isa_below(&g->rng, 1000), 4);
    gen_slot(g, 0x89, reg, ISA_SLOT_RANDOM, GEN_WIDEST);
    switch (isa_below(&g->rng, 4)) {
    case 0: reg_imm(g, 0xc1, 0, reg, isa_below(&g->rng, 64), 1); break;    /* ROL */
    case 1: reg_imm(g, 0xc1, 7, reg, isa_below(&g->rng, 64), 1); break;    /* SAR */
    case 2: reg_imm(g, 0x83, 4, reg, 0x7f, 1); break;                      /* AND */
    default: break;
    }
}

/* Some keep to two pages, the others go on until the region ends. */
static void move_walkers(struct gen *g)
{
    for (unsigned i = 0; i < ISA_WALKERS; i++) {
        uint32_t base = g->o->mode == ISA_MODE_16 ? 0 : ISA_DATA_BASE;
        unsigned slot = ISA_SLOT_WALKER + 8 * i, stride = 1u << isa_below(&g->rng, 7);

        slot_imm(g, 0x81, 0, slot, i & 2 ? stride : 8 + 8 * stride, GEN_DWORD);
        if (!(i & 2))
            slot_imm(g, 0x81, 4, slot, base | 0x1fff, GEN_DWORD);
    }
}

static void make_head(struct seq *s, uint64_t rsp)
{
    struct gen *g = s->g;
    unsigned fresh = isa_below(&g->rng, 5);

    s->head = g->c->code_bytes;
    for (unsigned i = 0; i < fresh; i++)
        refresh(g);
    if (isa_chance(&g->rng, 80))
        move_walkers(g);
    s->targets = isa_below(&g->rng, ISA_TARGETS + 1);
    for (unsigned i = 0; i < s->targets; i++)
        s->target_imm[i] = slot_imm(g, 0x81, 6, ISA_SLOT_TARGET + 8 * i, 0, GEN_DWORD);
    for (unsigned i = 0; i < ISA_COUNTERS; i++)
        s->counter_imm[i] = slot_imm(g, 0xc7, 0, ISA_SLOT_COUNTER + 4 * i,
                                     1 + isa_below(&g->rng, isa_chance(&g->rng, 10) ? 40 : 4),
                                     GEN_DWORD);
    slot_imm(g, 0xc7, 0, ISA_SLOT_DIVERSIONS, 8, GEN_DWORD);
    if (isa_chance(&g->rng, 90))
        gen_set(g, X86_RSP, rsp);
    g->known |= 1u << X86_RSP;
    g->address[X86_RSP] = rsp;
}

/* Adds up what a turn left behind. */
static void make_sums(struct gen *g)
{
    if (isa_chance(&g->rng, 50)) {                         /* flags */
        gen_append(g, (const uint8_t[]){0x9c}, 1, true);   /* PUSHF */
        gen_append(g, (const uint8_t[]){0x58}, 1, true);   /* POP rAX */
        gen_slot(g, 0x31, X86_RAX, ISA_SLOT_SUM, GEN_WIDEST);
        gen_slot(g, 0xd1, 0, ISA_SLOT_SUM, GEN_WIDEST);    /* ROL 1 */
    } else if (isa_chance(&g->rng, 50)) {
        gen_slot(g, 0x11, free_register(g), ISA_SLOT_SUM, GEN_WIDEST);     /* ADC */
    }
    for (unsigned i = 1, n = isa_below(&g->rng, ISA_SUMS); i <= n; i++) {
        gen_slot(g, 0x31, free_register(g), ISA_SLOT_SUM + 8 * i, GEN_WIDEST);
        gen_slot(g, 0xd1, 0, ISA_SLOT_SUM + 8 * i, GEN_WIDEST);
    }
}

/* Next turn: with flags from the count, or with those of the sequence. */
static void make_tail(struct seq *s)
{
    struct gen *g = s->g;
    unsigned out;

    for (unsigned i = 0; i < X86_GPR_COUNT; i++) {
        if (g->pinned & 1u << i && isa_chance(&g->rng, 40))
            reg_imm(g, 0x83, 0, i, isa_chance(&g->rng, 50) ? 8 : 1, 1);    /* ADD */
    }
    make_sums(g);
    if (isa_chance(&g->rng, 50) && bits(g) != 16) {
        gen_slot(g, 0x8b, X86_RCX, ISA_SLOT_TURNS, GEN_DWORD);
        gen_append(g, (const uint8_t[]){0x8d, 0x49, 0xff}, 3, true);       /* LEA ECX, [rCX-1] */
        gen_slot(g, 0x89, X86_RCX, ISA_SLOT_TURNS, GEN_DWORD);
        gen_append(g, (const uint8_t[]){0xe3, 5}, 2, false);               /* JrCXZ */
        jump(g, JMP, s->head);
    } else {
        slot_imm(g, 0x81, 5, ISA_SLOT_TURNS, 1, GEN_DWORD);
        out = jump(g, JCC + CC_NZ, s->head);
        BUG_ON(!out);
    }
    gen_append(g, (const uint8_t[]){0xcc}, 1, false);
    g->c->insns--;
}

/* Both places of each indirect jump: behind it, not between a preparation and its
 * instruction. */
static void resolve_targets(struct seq *s)
{
    struct gen *g = s->g;
    const struct isa_case *c = g->c;

    for (unsigned i = 0; i < s->pendings; i++) {
        uint64_t to[2];

        for (unsigned k = 0; k < 2; k++) {
            unsigned n = s->pending[i].first + isa_below(&g->rng, 5);

            n = n < c->insns ? n : c->insns;
            while (n > s->pending[i].first && n < c->insns && c->insn[n - 1].setup)
                n--;
            to[k] = address_of(g, c->insn[n].at);
        }
        s->target[s->pending[i].target] = to[0];
        put_le32(g->c->code + s->target_imm[s->pending[i].target], (uint32_t)(to[0] ^ to[1]));
    }
}

static void poke(struct isa_case *c, unsigned slot, const void *bytes, unsigned n)
{
    c->poke[c->pokes].address = ISA_LOOP_BASE + slot;
    memcpy(c->poke[c->pokes].bytes, bytes, n);
    c->poke[c->pokes++].len = n;
}

static void poke_slots(struct seq *s, uint32_t turns)
{
    struct gen *g = s->g;
    uint64_t random = isa_rand(&g->rng), walker[ISA_WALKERS];
    uint64_t base = g->o->mode == ISA_MODE_16 ? 0 : ISA_DATA_BASE;

    for (unsigned i = 0; i < ISA_WALKERS; i++)
        walker[i] = base + (isa_below(&g->rng, 0x2000) & (i & 1 ? ~0u : ~63u));
    poke(g->c, ISA_SLOT_TURNS, &turns, sizeof turns);
    poke(g->c, ISA_SLOT_WALKER, walker, sizeof walker);
    poke(g->c, ISA_SLOT_TARGET, s->target, sizeof s->target);
    poke(g->c, ISA_SLOT_RANDOM, &random, sizeof random);
}

/* Some registers hold an address for as long as the loop runs. */
static void pin(struct gen *g)
{
    for (unsigned n = isa_below(&g->rng, 3); n > 0; n--) {
        static const uint8_t may[] = {X86_RBX, X86_RBP, X86_RSI, X86_RDI};
        unsigned reg = may[isa_below(&g->rng, sizeof may)];
        uint64_t at = isa_below(&g->rng, 3 * 4096 - 64) & (isa_chance(&g->rng, 70) ? ~15u : ~0u);

        if (g->o->mode != ISA_MODE_16)
            at += ISA_DATA_BASE;
        g->pinned |= 1u << reg;
        g->known |= 1u << reg;
        g->address[reg] = g->c->in.gpr[reg] = at;
    }
}

static uint32_t turns_of(struct isa_rng *rng)
{
    unsigned pick = isa_below(rng, 100);

    return pick < 20   ? 1 + isa_below(rng, 3)
           : pick < 50 ? 20 + isa_below(rng, 200)
                       : 600 + isa_below(rng, 2000);
}

void isa_sequence(const struct isa_gen_options *o, uint64_t index, struct isa_case *c)
{
    struct gen g = {.o = o, .c = c, .loop = true,
                    .rng = {(o->seed + 1) * 0x9e3779b97f4a7c15ull ^ index << 20}};
    struct seq s = {.g = &g};
    unsigned length = o->length ? o->length : 1 + isa_below(&g.rng, 40);

    isa_rand(&g.rng);
    memset(c, 0, sizeof *c);
    c->mode = o->mode;
    c->endless = true;
    snprintf(c->name, sizeof c->name, "sequence: seed %llu index %llu mode %u",
             (unsigned long long)o->seed, (unsigned long long)index, isa_mode_bits(o->mode));
    isa_fill_registers(isa_rand(&g.rng), o->mode, &c->in);
    c->in.gpr[X86_RSP] = ISA_STACK_BASE + 0xe00 + 8 * isa_below(&g.rng, 0x80);
    if (o->mode == ISA_MODE_16)
        c->in.gpr[X86_RSP] -= ISA_STACK_BASE;
    c->in.rip = gen_place(&g, ISA_CODE_MAX);
    c->data_seed = isa_rand(&g.rng);
    pin(&g);
    make_head(&s, c->in.gpr[X86_RSP]);
    body(&s, length);
    make_tail(&s);
    gen_apply_fixups(&g, 0);
    resolve_targets(&s);
    poke_slots(&s, turns_of(&g.rng));
}

/* ---- trying it out ------------------------------------------------------ */

/* So many early turns may not fault, in most sequences. */
enum { EARLY = 300, REPAIRS = 24 };

uint32_t isa_sequence_turns(const uint8_t *image)
{
    return get_le32(image + isa_image_offset(ISA_LOOP_BASE + ISA_SLOT_TURNS));
}

void isa_sequence_remove(struct isa_case *c, unsigned insn)
{
    static const uint8_t nop[][9] = {
        {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}, {0x0f, 0x1f, 0x40}, {0x0f, 0x1f, 0x44},
        {0x66, 0x0f, 0x1f, 0x44}, {0x0f, 0x1f, 0x80}, {0x0f, 0x1f, 0x84}, {0x66, 0x0f, 0x1f, 0x84},
    };
    unsigned at = c->insn[insn].at, left = c->insn[insn].length;

    if (c->mode == ISA_MODE_16) {                          /* those are longer there */
        memset(c->code + at, 0x90, left);
        return;
    }
    while (left) {
        unsigned n = left < 9 ? left : 9;

        memcpy(c->code + at, nop[n - 1], n);
        at += n;
        left -= n;
    }
}

static int insn_at(const struct isa_case *c, uint64_t rip)
{
    for (unsigned i = 0; i < c->insns; i++) {
        if (c->in.rip + c->insn[i].at == rip)
            return (int)i;
    }
    return -1;
}

bool isa_sequence_settle(struct isa_case *c, struct isa_runner *host)
{
    uint32_t turns = get_le32(c->poke[0].bytes);
    uint32_t early = turns < EARLY ? turns : EARLY;

    for (unsigned i = 0; i < REPAIRS; i++) {
        struct isa_result r;
        int insn;

        isa_case_image(c, host->image);
        host->run(host, c, &r);
        if (r.failed[0])
            return false;
        if (r.vector == X86_BP || turns - isa_sequence_turns(host->image) >= early)
            return true;
        insn = insn_at(c, r.out.rip);
        if (insn < 0)
            return true;                                   /* jumped to nowhere */
        isa_sequence_remove(c, (unsigned)insn);
    }
    return true;
}
