/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.h - RFLAGS in a frame.
 *
 * Outside translated code the arithmetic flags are in `hf`, in the form of
 * x86/alu.h; the others are where translated code has them.
 */
#ifndef RING3_ENGINE_DBT_FRAME_H
#define RING3_ENGINE_DBT_FRAME_H

#include "engine/dbt/dbt.h"

static inline uint64_t dbt_flags_get(const struct dbt_frame *f)
{
    return f->flags_system | f->flag_if | (f->hf >> 8 & 0xd5) | (f->hf & 1) << 11;
}

static inline void dbt_flags_set(struct dbt_frame *f, uint64_t rflags)
{
    f->minus_other = -(rflags & DBT_POPF_OTHER);
    f->hf = (rflags & 0xd5) << 8 | (rflags >> 11 & 1);
    f->flag_if = rflags & X86_FLAG_IF;
    f->flags_system = rflags & ~(uint64_t)(X86_FLAGS_ARITH | X86_FLAG_IF);
}

#endif
