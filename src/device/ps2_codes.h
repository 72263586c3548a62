/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2_codes.h - scan codes of the three sets, and the controller's translation.
 */
#ifndef RING3_DEVICE_PS2_CODES_H
#define RING3_DEVICE_PS2_CODES_H

#include "base/types.h"

enum { PS2_SEQUENCE_MAX = 8 };
enum { PS2_CTRL = 1, PS2_SHIFT = 2, PS2_ALT = 4 };        /* held modifiers, left or right */

struct ps2_sequence {
    uint8_t byte[PS2_SEQUENCE_MAX];
    unsigned len;
};

/* What a byte of set 2 (without its 0xF0) is in set 1: the table in every keyboard
 * controller's ROM. */
uint8_t ps2_translate(uint8_t set2);

/* The bytes for a key (<linux/input-event-codes.h>) going down or up. Empty: no such key,
 * or nothing is sent for that. `held` is what matters for Print Screen and Pause. */
struct ps2_sequence ps2_codes(unsigned set, unsigned key, bool down, unsigned held);
/* Its code in set 3; 0 = none. */
uint8_t ps2_code3(unsigned key);

#endif
