/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rehome.c - host registers for guest registers that have none, within a loop.
 *
 * R9, R10 and R11 of the guest live in the frame. In a loop that works on them,
 * each of its rounds would wait for a store to come back as a load. But hardly a
 * loop uses all registers: in its second version (cluster.c) they get the host
 * registers of guest registers that the loop does not name, whose values wait in
 * the frame meanwhile.
 *
 * Whoever leaves the second version puts everything back first, in cold code.
 * Nobody may enter it but through its beginning, so all of its instructions are
 * `inside` (dbt.h). A loop with instructions that C has a part in is left as it is.
 */
#include "engine/dbt/translate.h"

static bool only_translated(const struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->steps; i++) {
        if (dbt_unknown_behind(&t->step[i]))
            return false;
    }
    return true;
}

/* A guest register not in `used`, with a host register; 16 if there is none. */
static unsigned spare(uint32_t used)
{
    unsigned g = 0;

    while (g < X86_GPR_COUNT && (used & 1u << g || dbt_home[g] == H_NONE))
        g++;
    return g;
}

void dbt_rehome_find(struct dbt_translation *t)
{
    uint32_t used = 0;

    t->rehomes = 0;
    memcpy(t->loop_home, dbt_home, sizeof t->loop_home);
    t->loop_in_frame = DBT_IN_FRAME;
    if (!t->loops || t->code_bits != 64 || emit_is_plain(&t->e) || !only_translated(t))
        return;
    for (unsigned i = 0; i < t->steps; i++)
        used |= t->step[i].insn.gprs_read | t->step[i].insn.gprs_written;
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        unsigned other = spare(used);

        if (!(DBT_IN_FRAME & used & 1u << g) || other == X86_GPR_COUNT)
            continue;
        used |= 1u << other;
        t->rehome[t->rehomes++] = (struct dbt_rehome){(uint8_t)g, dbt_home[other]};
        t->loop_home[g] = dbt_home[other];
        t->loop_home[other] = H_NONE;
        t->loop_in_frame = (t->loop_in_frame & ~(1u << g)) | 1u << other;
    }
}

static struct host_mem put_aside(unsigned i)
{
    return h_frame(offsetof(struct dbt_frame, put_aside) + 8 * i);
}

void dbt_rehome_enter(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->rehomes; i++) {
        enum host_reg reg = (enum host_reg)t->rehome[i].reg;

        emit_store(&t->e, put_aside(i), reg);
        emit_load(&t->e, reg, dbt_slot(t->rehome[i].gpr));
    }
}

void dbt_rehome_leave(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->rehomes; i++) {
        enum host_reg reg = (enum host_reg)t->rehome[i].reg;

        emit_store(&t->e, dbt_slot(t->rehome[i].gpr), reg);
        emit_load(&t->e, reg, put_aside(i));
    }
}
