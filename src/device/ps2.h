/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ps2.h - the cable between a keyboard or mouse and its controller.
 *
 * Follows the IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and
 * 102-key)" and "Auxiliary device". The device queues bytes; the controller takes one
 * whenever it has room and its clock line is high. Answers to commands overtake what the
 * device has to tell by itself, since the host that sent the command waits for them.
 *
 * Writing takes effect at once. Queues are bounded: an answer that finds no room is lost
 * (a host that never reads gets none), and a device does not start what does not fit.
 *
 * Threads: VM lock held.
 */
#ifndef RING3_DEVICE_PS2_H
#define RING3_DEVICE_PS2_H

#include "base/state_desc.h"
#include "base/types.h"

enum { PS2_ANSWERS = 16, PS2_DATA = 32 };
enum { PS2_ACK = 0xfa, PS2_BAT_OK = 0xaa, PS2_RESEND = 0xfe };

struct ps2_queues {
    uint8_t answer[PS2_ANSWERS], data[PS2_DATA];
    uint8_t answer_first, answers, data_first, datas;
    uint8_t last;                    /* sent last, for the command "resend" */
};
extern const struct state_desc ps2_queues_desc;

struct ps2_device {
    struct ps2_queues *queues;
    void (*write)(struct ps2_device *d, uint8_t byte);     /* from the host */
    void (*room)(struct ps2_device *d);                    /* a byte was taken */
    /* The controller's: there is something to take. Not from inside of ps2_take(). */
    void (*ready)(void *opaque);
    void *opaque;
};

/* The device's side. */
void ps2_answer(struct ps2_device *d, uint8_t byte);
unsigned ps2_data_room(const struct ps2_device *d);
void ps2_data(struct ps2_device *d, const uint8_t *bytes, unsigned n);   /* fits, else a BUG */
void ps2_data_drop(struct ps2_device *d);
void ps2_resend(struct ps2_device *d);
/* After loading: what a stream said may be nonsense. */
void ps2_queues_check(struct ps2_queues *q);

/* The controller's side. When it has put the byte where the guest will find it, it says
 * so: ps2_taken(), whereupon the device may queue more. */
bool ps2_has(const struct ps2_device *d);
uint8_t ps2_take(struct ps2_device *d);
void ps2_taken(struct ps2_device *d);
void ps2_write(struct ps2_device *d, uint8_t byte);

#endif
