/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.h - from one block to the next, inlined into the handlers that end one.
 */
#ifndef RING3_ENGINE_INTERP_CHAIN_H
#define RING3_ENGINE_INTERP_CHAIN_H

#include "engine/interp/interp.h"

/* Starts `b`, which is the block at `rip`; NULL (with s.rip set) when the loop
 * has to look first: a request, or not enough fuel for the whole block. */
static inline const struct op *interp_enter(struct interp *v, struct block *b, uint64_t rip)
{
    if (unlikely(atomic_load_explicit(&v->attention, memory_order_relaxed)) ||
        unlikely(v->fuel < b->n)) {
        v->cpu.s.rip = rip;
        return NULL;
    }
    v->fuel -= b->n;
    v->cur = b;
    v->block_rip = rip;
    return b->op;
}

static inline bool interp_link_holds(const struct interp *v, const struct link *l, uint64_t rip)
{
    return l->key == v->key && l->rip == rip;
}

/* Follows a link; if it does not hold, the loop finds the block and mends it. */
static inline const struct op *interp_follow(struct interp *v, struct link *l, uint64_t rip)
{
    if (likely(interp_link_holds(v, l, rip)))
        return interp_enter(v, l->to, rip);
    v->cpu.s.rip = rip;
    v->patch = l;
    return NULL;
}

static inline struct jump *interp_jump_at(struct interp *v, uint64_t rip)
{
    return &v->jump[(rip ^ rip >> INTERP_JUMP_BITS) & ((1 << INTERP_JUMP_BITS) - 1)];
}

/* The block at `rip` if the jump cache knows it. */
static inline struct block *interp_jump_find(struct interp *v, uint64_t rip)
{
    const struct jump *j = interp_jump_at(v, rip);

    return likely(j->rip == rip && j->key == v->key) ? j->b : NULL;
}

#endif
