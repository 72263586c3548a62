/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan.c - which guest instructions a block or a trace is made of.
 *
 * Reading the code is apart from writing it, so that what is written for an
 * instruction can depend on those that follow. A block is straight; a trace has
 * a guide, which knows what has run so far, and goes on behind branches for as
 * long as the guide does.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include "base/bug.h"

#define M(name) ZYDIS_MNEMONIC_##name

static void source_set(struct dbt_translation *t, const struct dbt_source *source)
{
    if (t->parts)
        t->part[t->parts - 1].bytes = (uint32_t)t->at;
    t->part[t->parts++] = (struct dbt_part){.phys = source->phys};
    t->source = *source;
    t->at = 0;
}

/* What goes on in the next page is a block of its own. */
static bool decode_next(const struct dbt_translation *t, struct x86_insn *insn)
{
    if (t->source.phys2 && t->steps)
        return false;
    return t->at < t->source.bytes &&
           x86_decode(t->source.code + t->at, t->source.bytes - t->at, t->code_bits, insn) == 0;
}

/* Not across the end of its segment. */
static bool within_code(const struct dbt_translation *t, const struct dbt_step *s)
{
    uint64_t end = dbt_ip(t->mode, s->rip) + s->insn.length;

    return t->code_bits == 64 ||
           end <= (t->mode & DBT_MODE_CODE64K ? UINT16_MAX : UINT32_MAX) + 1ull;
}

static void last_part(struct dbt_translation *t)
{
    t->part[t->parts - 1].bytes = (uint32_t)t->at;
    if (!t->source.phys2)
        return;
    t->part[0].bytes = (uint32_t)t->source.bytes1;
    t->part[t->parts++] = (struct dbt_part){.phys = t->source.phys2,
                                            .bytes = (uint32_t)(t->at - t->source.bytes1)};
}

static bool visited(const struct dbt_translation *t, uint64_t rip)
{
    for (unsigned i = 0; i < t->steps; i++) {
        if (t->step[i].rip == rip)
            return true;
    }
    return false;
}

/* Where a branch usually leads to; false: that cannot be known. */
static bool onward(struct dbt_translation *t, const struct dbt_step *s, uint64_t *to)
{
    uint64_t next = dbt_rip_add(t->mode, s->rip, s->insn.length);

    switch (s->insn.mnemonic) {
    case M(RET):
        if (!t->return_depth || dbt_stack_bytes(t, &s->insn) == 0)
            return false;
        *to = t->returns[--t->return_depth];
        return true;
    case M(CALL): case M(JMP):
        if (s->insn.op[0].kind != X86_OPND_IMM || dbt_stack_bytes(t, &s->insn) == 0)
            return false;
        *to = dbt_branch_target(t, &s->insn, next);
        if (s->insn.mnemonic == M(CALL) && t->return_depth < DBT_MAX_RETURNS)
            t->returns[t->return_depth++] = next;
        return true;
    case M(JRCXZ): case M(JECXZ): case M(JCXZ): case M(LOOP): case M(LOOPE): case M(LOOPNE):
        return false;
    default:
        *to = t->guide->usual(t->guide->opaque, next, dbt_branch_target(t, &s->insn, next));
        return true;
    }
}

/* Settles how step `s`, which leaves straight code, goes on. True: the plan does. */
static bool plan_branch(struct dbt_translation *t, struct dbt_step *s)
{
    struct dbt_source next;

    if (!t->guide || s->insn.class != X86_CLASS_BRANCH || !onward(t, s, &s->onward))
        return false;
    s->flow = DBT_FLOW_LEAVES;
    if (s->onward == t->rip) {
        s->flow = DBT_FLOW_LOOPS;
        t->loops = true;
        return false;
    }
    if (t->parts == DBT_MAX_PARTS || visited(t, s->onward) ||
        !t->guide->follow(t->guide->opaque, s->onward, &next))
        return false;
    s->flow = DBT_FLOW_FOLLOWED;
    s->entry = next.entry;
    source_set(t, &next);
    return true;
}

void dbt_plan(struct dbt_translation *t)
{
    struct dbt_source source = t->source;
    unsigned limit = t->guide ? DBT_TRACE_INSNS : DBT_BLOCK_INSNS;
    bool open = true;

    t->rip = source.rip;
    t->steps = t->parts = t->return_depth = 0;
    t->loops = false;
    source_set(t, &source);
    while (open && t->steps < limit) {
        struct dbt_step *s = &t->step[t->steps];

        s->rip = dbt_rip_add(t->mode, t->source.rip, t->at);
        if (!decode_next(t, &s->insn) || !within_code(t, s))
            break;
        s->flow = DBT_FLOW_ENDS;
        s->cluster = 0;
        s->aligned = false;
        s->address.size = 0;
        t->at += s->insn.length;
        t->steps++;
        if (s->insn.ends_block && !dbt_is_flags(&s->insn) && !dbt_system_goes_on(t, &s->insn))
            open = plan_branch(t, s);
    }
    if (!t->steps)                  /* dbt_translate's emit_undecodable */
        t->at = min_u64(t->source.bytes, X86_INSN_MAX_BYTES);
    last_part(t);
}
