/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_desc.c - the state tables of the interrupt controllers and the 8254.
 *
 * Here, and not in the chips' own files, because the in-kernel twins of an
 * engine describe their state with the same tables.
 */
#include "irqchip/state.h"

static const struct state_field i8259_fields[] = {
    STATE_U8(struct i8259_state, irr),
    STATE_U8(struct i8259_state, imr),
    STATE_U8(struct i8259_state, isr),
    STATE_U8(struct i8259_state, last_lines),
    STATE_U8(struct i8259_state, irq_base),
    STATE_U8(struct i8259_state, priority_add),
    STATE_U8(struct i8259_state, init_state),
    STATE_U8(struct i8259_state, elcr),
    STATE_BOOL(struct i8259_state, read_isr),
    STATE_BOOL(struct i8259_state, poll),
    STATE_BOOL(struct i8259_state, special_mask),
    STATE_BOOL(struct i8259_state, auto_eoi),
    STATE_BOOL(struct i8259_state, rotate_on_auto_eoi),
    STATE_BOOL(struct i8259_state, special_fully_nested),
    STATE_BOOL(struct i8259_state, init4),
    STATE_BOOL(struct i8259_state, single),
    STATE_END
};
static const struct state_desc i8259_chip_desc = {"i8259_chip", 1, i8259_fields};

static const struct state_field i8259_pair_fields[] = {
    STATE_STRUCT_ARRAY(struct i8259_pair_state, chip, &i8259_chip_desc),
    STATE_END
};
const struct state_desc i8259_pair_state_desc = {"i8259", 1, i8259_pair_fields};

static const struct state_field ioapic_fields[] = {
    STATE_U8(struct ioapic_state, ioregsel),
    STATE_U8(struct ioapic_state, id),
    STATE_U32(struct ioapic_state, irr),
    STATE_U32(struct ioapic_state, lines),
    STATE_U64_ARRAY(struct ioapic_state, redir),
    STATE_END
};
const struct state_desc ioapic_state_desc = {"ioapic", 1, ioapic_fields};

static const struct state_field lapic_fields[] = {
    STATE_U32_ARRAY(struct lapic_state, reg),
    STATE_U64(struct lapic_state, apic_base),
    STATE_U64(struct lapic_state, tsc_deadline),
    STATE_U64(struct lapic_state, timer_start_ns),
    STATE_U64(struct lapic_state, timer_due_ns),
    STATE_U32(struct lapic_state, esr_pending),
    STATE_U8(struct lapic_state, lint_levels),
    STATE_BOOL(struct lapic_state, extint_latched),
    STATE_END
};
const struct state_desc lapic_state_desc = {"lapic", 1, lapic_fields};

static const struct state_field i8254_channel_fields[] = {
    STATE_U32(struct i8254_channel_state, count),
    STATE_U16(struct i8254_channel_state, latched_count),
    STATE_U8(struct i8254_channel_state, count_latched),
    STATE_U8(struct i8254_channel_state, status_latched),
    STATE_U8(struct i8254_channel_state, status),
    STATE_U8(struct i8254_channel_state, read_state),
    STATE_U8(struct i8254_channel_state, write_state),
    STATE_U8(struct i8254_channel_state, write_latch),
    STATE_U8(struct i8254_channel_state, rw_mode),
    STATE_U8(struct i8254_channel_state, mode),
    STATE_U8(struct i8254_channel_state, bcd),
    STATE_U8(struct i8254_channel_state, gate),
    STATE_U64(struct i8254_channel_state, load_time_ns),
    STATE_U64(struct i8254_channel_state, reload_time_ns),
    STATE_U64(struct i8254_channel_state, held_ticks),
    STATE_U32(struct i8254_channel_state, loaded),
    STATE_BOOL(struct i8254_channel_state, held),
    STATE_BOOL(struct i8254_channel_state, waiting),
    STATE_BOOL(struct i8254_channel_state, start_low),
    STATE_BOOL(struct i8254_channel_state, null_count),
    STATE_END
};
static const struct state_desc i8254_channel_desc = {"i8254_channel", 1, i8254_channel_fields};

static const struct state_field i8254_fields[] = {
    STATE_STRUCT_ARRAY(struct i8254_state, channel, &i8254_channel_desc),
    STATE_BOOL(struct i8254_state, speaker_on),
    STATE_BOOL(struct i8254_state, irq_level),
    STATE_U64(struct i8254_state, irq_due_ns),
    STATE_END
};
const struct state_desc i8254_state_desc = {"i8254", 1, i8254_fields};
