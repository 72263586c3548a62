/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_desc.h - describing state in a table.
 *
 * A device or CPU lists its state fields once; saving, loading, printing,
 * comparing and digesting (state/state.h) all walk that list. What is not in
 * the table is not state: configuration (who owns which port), host resources
 * and anything that can be derived again in `resume`.
 *
 * Rules for a table
 *  - names are stable forever: they are what a stream is matched by;
 *  - types have fixed width; never enums or size_t in a described struct;
 *  - a field added later says in which version (`since`); loading an older
 *    stream leaves it at its reset value;
 *  - a field dropped later simply disappears from the table; `version` goes up.
 *
 *     static const struct state_field fields[] = {
 *         STATE_U8(struct uart16550, ier),
 *         STATE_U8_ARRAY(struct uart16550, rx_fifo),
 *         STATE_END
 *     };
 *     static const struct state_desc desc = {"uart16550", 1, fields};
 */
#ifndef RING3_BASE_STATE_DESC_H
#define RING3_BASE_STATE_DESC_H

#include "base/types.h"

enum state_type { STATE_TYPE_END, STATE_TYPE_BOOL, STATE_TYPE_U8, STATE_TYPE_U16,
                  STATE_TYPE_U32, STATE_TYPE_U64, STATE_TYPE_STRUCT };

struct state_desc;

struct state_field {
    const char *name;
    uint32_t offset;                 /* in the described struct */
    uint32_t count;                  /* elements; 1 for a scalar */
    uint32_t stride;                 /* bytes from one element to the next */
    enum state_type type;
    uint32_t since;                  /* first version that has it; 0 = always */
    const struct state_desc *sub;    /* for STATE_TYPE_STRUCT */
};

struct state_desc {
    const char *name;
    uint32_t version;
    const struct state_field *fields;   /* ended by STATE_END */
};

#define STATE_ELEM_(s, f) sizeof(((s *)0)->f)
#define STATE_FIELD_(s, f, t, w)                                             \
    {#f, offsetof(s, f), 1, STATE_ELEM_(s, f) / (STATE_ELEM_(s, f) == (w)),  \
     t, 0, NULL}   /* a wrong width divides by zero: does not compile */
#define STATE_ARRAY_(s, f, t, w)                                             \
    {#f, offsetof(s, f), STATE_ELEM_(s, f) / (w),                            \
     (w) / (sizeof(((s *)0)->f[0]) == (w)), t, 0, NULL}
#define STATE_BOOL(s, f) STATE_FIELD_(s, f, STATE_TYPE_BOOL, 1)
#define STATE_U8(s, f)   STATE_FIELD_(s, f, STATE_TYPE_U8, 1)
#define STATE_U16(s, f)  STATE_FIELD_(s, f, STATE_TYPE_U16, 2)
#define STATE_U32(s, f)  STATE_FIELD_(s, f, STATE_TYPE_U32, 4)
#define STATE_U64(s, f)  STATE_FIELD_(s, f, STATE_TYPE_U64, 8)
#define STATE_BOOL_ARRAY(s, f) STATE_ARRAY_(s, f, STATE_TYPE_BOOL, 1)
#define STATE_U8_ARRAY(s, f)  STATE_ARRAY_(s, f, STATE_TYPE_U8, 1)
#define STATE_U16_ARRAY(s, f) STATE_ARRAY_(s, f, STATE_TYPE_U16, 2)
#define STATE_U32_ARRAY(s, f) STATE_ARRAY_(s, f, STATE_TYPE_U32, 4)
#define STATE_U64_ARRAY(s, f) STATE_ARRAY_(s, f, STATE_TYPE_U64, 8)
#define STATE_STRUCT(s, f, d) \
    {#f, offsetof(s, f), 1, sizeof(((s *)0)->f), STATE_TYPE_STRUCT, 0, d}
#define STATE_STRUCT_ARRAY(s, f, d)                                          \
    {#f, offsetof(s, f), ARRAY_SIZE(((s *)0)->f), sizeof(((s *)0)->f[0]),    \
     STATE_TYPE_STRUCT, 0, d}
#define STATE_END {NULL, 0, 0, 0, STATE_TYPE_END, 0, NULL}

#endif
