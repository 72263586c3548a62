/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h - register state of the interrupt controllers and of the 8254.
 *
 * Plain data with data-sheet names, shared by the chips emulated here and by
 * their in-kernel twins (engine/kvm), so that state saved with one loads into
 * the other. Described by the *_state_desc tables in state_desc.c.
 */
#ifndef RING3_IRQCHIP_STATE_H
#define RING3_IRQCHIP_STATE_H

#include "base/state_desc.h"

struct i8259_state {          /* one of the two chips; 8259A data sheet */
    uint8_t irr, imr, isr;
    uint8_t last_lines;       /* input levels, for edge detection */
    uint8_t irq_base;         /* ICW2 */
    uint8_t priority_add;     /* lowest-priority rotation */
    uint8_t init_state;       /* 0 ready, 1-3 next ICW expected */
    uint8_t elcr;
    bool read_isr, poll, special_mask, auto_eoi, rotate_on_auto_eoi;
    bool special_fully_nested, init4;
    bool single;              /* ICW1.SNGL: no ICW3 follows */
};

struct i8259_pair_state { struct i8259_state chip[2]; };   /* master, slave */

enum { IOAPIC_PINS = 24 };
struct ioapic_state {         /* 82093AA data sheet */
    uint8_t ioregsel, id;
    uint32_t irr;             /* pins waiting for delivery */
    uint32_t lines;           /* input levels */
    uint64_t redir[IOAPIC_PINS];
};

enum { LAPIC_REGS = 64 };     /* 16-byte spaced registers 0x000-0x3F0 */
struct lapic_state {          /* SDM vol. 3 ch. 10 */
    uint32_t reg[LAPIC_REGS]; /* index = offset >> 4 */
    uint64_t apic_base;       /* IA32_APIC_BASE */
    uint64_t tsc_deadline;    /* in clock ticks (engine/guest.h); 0 = disarmed */
    uint64_t timer_start_ns;  /* clock time when the count was TMICT */
    uint64_t timer_due_ns;    /* clock time of the next expiry; 0 = stopped */
    uint32_t esr_pending;     /* errors since the last write to ESR */
    uint8_t lint_levels;      /* bit 0 LINT0, bit 1 LINT1 */
    bool extint_latched;      /* an ExtINT message waits for its INTA cycle */
};

struct i8254_channel_state {
    uint32_t count;           /* last count written, 0x10000 for 0; 0 = none yet */
    uint16_t latched_count;
    uint8_t count_latched, status_latched, status;
    uint8_t read_state, write_state, write_latch, rw_mode, mode, bcd, gate;
    uint64_t load_time_ns;    /* clock time when counting started */
    /* What an in-kernel twin cannot say; zero means: counting from `count`. */
    uint64_t reload_time_ns;  /* modes 2, 3: when `count` takes over from `loaded` */
    uint64_t held_ticks;      /* counted so far, while `held` by the gate */
    uint32_t loaded;          /* what counting started from; 0 = `count` */
    bool held;
    bool waiting;             /* no count, or no trigger, since the control word */
    bool start_low;           /* mode 3: loaded at the start of the low half */
    bool null_count;          /* `count` not yet in the counting element */
};
struct i8254_state {
    struct i8254_channel_state channel[3];
    bool speaker_on;
    bool irq_level;           /* what channel 0 last drove */
    uint64_t irq_due_ns;      /* clock time of its next rising edge; 0 = none */
};

extern const struct state_desc i8259_pair_state_desc, ioapic_state_desc, lapic_state_desc,
    i8254_state_desc;

#endif
