/* SPDX-License-Identifier: MIT-0 */
/*
 * simple.h - the machine `ring3 run --machine simple`, for the guest that drives it.
 * Freestanding: no other header is needed. The manual is docs/simple-machine.md.
 *
 * Memory starts at 0. Each device has one 32-bit port, one interrupt and perhaps some
 * memory of its own; the table at RING3_SIMPLE_TABLE says which:
 *
 *     const struct ring3_simple_device *d = RING3_SIMPLE_TABLE;
 *     while (d->id && d->id != RING3_SIMPLE_SERIAL)
 *         d++;
 *     outb(d->port, 'A');
 *
 * Interrupts come to pin `irq` of the IOAPIC at 0xfec00000 as short pulses: leave the pin
 * edge-triggered. Other processors wait for INIT and SIPI.
 */
#ifndef RING3_SIMPLE_H
#define RING3_SIMPLE_H

#define RING3_SIMPLE_TABLE_ADDRESS 0xf00000000
#define RING3_SIMPLE_ENTRIES       1024
#define RING3_SIMPLE_FIRST_PORT    100     /* device i of the table has port 100 + i */

/* Ports that belong to no device. */
#define RING3_SIMPLE_CPU       0xfffe      /* IN long: index of the processor that reads */
#define RING3_SIMPLE_HYPERCALL 0xffff      /* OUT long: as RING3_HC_PORT (hypercall.h) */

/* ids */
#define RING3_SIMPLE_NETWORK   1
#define RING3_SIMPLE_VIDEO     2
#define RING3_SIMPLE_SERIAL    3
#define RING3_SIMPLE_KEYBOARD  5
#define RING3_SIMPLE_TIMER     16
#define RING3_SIMPLE_DISK      17
#define RING3_SIMPLE_CLOCK     18
#define RING3_SIMPLE_POWER     19

/* Serial: write a byte to print it. Reading gives a byte that was typed, or all ones.
 * An interrupt says that there is one. */
#define RING3_SIMPLE_NOTHING   0xffffffffu

/* Keyboard: reading gives the next key pressed, 0 if there is none. Characters are what
 * ASCII says; other keys have X keysyms. 64 keys are kept. */
#define RING3_SIMPLE_KEY_BACKSPACE 0xff08
#define RING3_SIMPLE_KEY_TAB       0xff09
#define RING3_SIMPLE_KEY_ENTER     0xff0d
#define RING3_SIMPLE_KEY_ESCAPE    0xff1b
#define RING3_SIMPLE_KEY_HOME      0xff50
#define RING3_SIMPLE_KEY_LEFT      0xff51
#define RING3_SIMPLE_KEY_UP        0xff52
#define RING3_SIMPLE_KEY_RIGHT     0xff53
#define RING3_SIMPLE_KEY_DOWN      0xff54
#define RING3_SIMPLE_KEY_PAGE_UP   0xff55
#define RING3_SIMPLE_KEY_PAGE_DOWN 0xff56
#define RING3_SIMPLE_KEY_END       0xff57
#define RING3_SIMPLE_KEY_INSERT    0xff63
#define RING3_SIMPLE_KEY_F1        0xffbe  /* up to F12 = 0xffc9 */
#define RING3_SIMPLE_KEY_DELETE    0xffff

/* Video: writing RING3_SIMPLE_TEXT(columns, rows) makes its memory one ASCII byte per cell;
 * RING3_SIMPLE_GRAPHICS(width, height) one 32-bit 0x00RRGGBB per pixel, rows without gaps.
 * The bit for graphics is bit 1 of the width: a width that is a multiple of 8 without it
 * counts as without it. Reading gives the mode last accepted. */
#define RING3_SIMPLE_MODE           0xf0000000u
#define RING3_SIMPLE_MODE_GRAPHICS  0x00002000u
#define RING3_SIMPLE_TEXT(c, r)     (RING3_SIMPLE_MODE | (unsigned)(c) << 12 | (unsigned)(r))
#define RING3_SIMPLE_GRAPHICS(w, h) (RING3_SIMPLE_TEXT(w, h) | RING3_SIMPLE_MODE_GRAPHICS)

/* Timer: put nanoseconds into its memory (struct ring3_simple_timer), write one of these.
 * Reading gives how often it expired since the last reading. The shortest period is 10 us. */
#define RING3_SIMPLE_TIMER_STOP     0
#define RING3_SIMPLE_TIMER_ONCE     1
#define RING3_SIMPLE_TIMER_PERIODIC 2
#define RING3_SIMPLE_TIMER_NOW      3      /* only fills in now_ns */

/* Disk: fill in struct ring3_simple_disk in its memory, write one of these; an interrupt
 * says that it is done. Reading gives RING3_SIMPLE_DISK_BUSY until then, and 0 or an error
 * (the numbers of hypercall.h) from then on. One command at a time. */
#define RING3_SIMPLE_DISK_READ      1
#define RING3_SIMPLE_DISK_WRITE     2
#define RING3_SIMPLE_DISK_FLUSH     3
#define RING3_SIMPLE_DISK_BUSY      0xffffffffu

/* Clock: reading gives seconds since 1970, UTC, and puts nanoseconds since 1970 (64 bits)
 * into the first 8 bytes of its memory. */

/* Power: writing 0 switches off; s from 1 to 127 ends ring3 with status s << 1 | 1. */
#define RING3_SIMPLE_POWER_RESET    0x80000000u

/* Network: writing MAC_LOW, then reading gives the address's first four bytes, MAC_HIGH the
 * last two. Its memory has 16 transmit slots, then 16 receive slots. To send: fill a slot,
 * set status 1; it is 0 when the frame is gone. ring3 sets status 1 of a receive slot with
 * a frame in it and interrupts; set it to 0 when done. ring3 looks at the slots about a
 * thousand times a second; SEND has it look at once, QUIET only then. */
#define RING3_SIMPLE_NET_MAC_LOW    1
#define RING3_SIMPLE_NET_MAC_HIGH   2
#define RING3_SIMPLE_NET_SEND       3
#define RING3_SIMPLE_NET_QUIET      4
#define RING3_SIMPLE_NET_SLOTS      16

#ifndef __ASSEMBLER__

struct ring3_simple_device {
    unsigned short port;
    unsigned long long memory;             /* physical address, 0 = none */
    unsigned int id;                       /* 0 ends the table */
    unsigned int irq;                      /* pin of the IOAPIC */
    char name[256];
} __attribute__((packed));

#ifdef __x86_64__
#define RING3_SIMPLE_TABLE ((const struct ring3_simple_device *)RING3_SIMPLE_TABLE_ADDRESS)
#endif

struct ring3_simple_timer {
    unsigned long long ns;                 /* delay, or period */
    unsigned long long now_ns;             /* when a command was last given */
};

struct ring3_simple_disk {
    unsigned long long sector;             /* of 512 bytes */
    unsigned int count, status;            /* sectors; as the port reads */
    unsigned long long address;            /* physical; 0: `data` below, 7 sectors at most */
    unsigned long long sectors;            /* how many the disk has */
    unsigned char reserved[480];
    unsigned char data[3584];
};
#define RING3_SIMPLE_DISK_COUNT_MAX 65536

struct ring3_simple_frame {
    unsigned char status, pad;
    unsigned short size;                   /* bytes of payload */
    unsigned char tap_header[4];           /* 0, 0, EtherType: filled in when receiving */
    unsigned char payload[1500];           /* Ethernet header and what follows, no checksum */
} __attribute__((packed));

#endif
#endif
