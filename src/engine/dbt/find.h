/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * find.h - blocks for where a vCPU is (room-internal).
 *
 * A block is identified by `rip` (dbt_rip: with the base of CS outside 64-bit mode), the
 * physical address of its code, and the mode: everything else that its translation
 * depends on. All of these are for the vCPU's own thread.
 */
#ifndef RING3_ENGINE_DBT_FIND_H
#define RING3_ENGINE_DBT_FIND_H

#include "engine/dbt/vcpu.h"

/* Does the mode of the moment allow translated code at all? */
bool dbt_translatable(const struct x86_cpu *cpu);
enum dbt_ring dbt_ring_now(const struct dbt_vcpu *d);
uint32_t dbt_mode_key(const struct dbt_vcpu *d);       /* DBT_MODE_* */

/* Where the vCPU is, and to where it goes within CS. */
uint64_t dbt_here(const struct dbt_vcpu *d);
void dbt_go_to(struct dbt_vcpu *d, uint64_t rip);
gva_t dbt_linear_at(const struct dbt_vcpu *d, uint64_t rip);

/* The block there, translated now if need be; NULL: interpret. Raises what fetching
 * raises. */
struct dbt_block *dbt_find(struct dbt_vcpu *d);
/* The block at `rip`, if that is mapped and has been translated; calls nothing outside
 * this room. `out`, if not NULL: where its code is. */
struct dbt_block *dbt_find_known(struct dbt_vcpu *d, uint64_t rip, struct dbt_source *out);
/* The way that execution usually takes from `head` on, as one piece; NULL: not now. */
struct dbt_block *dbt_find_trace(struct dbt_vcpu *d, struct dbt_block *head);
/* Where the bytes are that the vCPU is at; NULL: not in RAM, or not in CS. Raises. */
const uint8_t *dbt_find_code(struct dbt_vcpu *d, uint64_t *phys);
/* Drops all code. */
void dbt_forget_all(struct dbt_vcpu *d);

#endif
