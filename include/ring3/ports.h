/* SPDX-License-Identifier: MIT-0 */
/*
 * ports.h - I/O ports of a ring3 machine that only a guest of a virtual
 * machine knows. Freestanding: no other header is needed.
 */
#ifndef RING3_PORTS_H
#define RING3_PORTS_H

/* A byte written here ends the machine; ring3's exit status is
 * (value << 1 | 1) & 0xff, as with QEMU's isa-debug-exit. */
#define RING3_PORT_DEBUG_EXIT 0xf4

/* A byte written here appears on the debug console; reading gives 0xe9, which
 * says that there is one (the Bochs "port E9 hack"). */
#define RING3_PORT_DEBUGCON   0xe9

/* Power-on self test code: remembered and traced, nothing else. */
#define RING3_PORT_POST       0x80

/* pvpanic: reading gives the supported events, writing one reports it. */
#define RING3_PORT_PVPANIC    0x505
#define RING3_PVPANIC_PANICKED     1
#define RING3_PVPANIC_CRASH_LOADED 2

/* Only with --test-device: what the self-reporting guests of kvm-unit-tests
 * use. Four bytes of scratch memory behind ports; a port per GSI that takes the
 * level of that interrupt line (not 0 = asserted); 64 KiB of memory that counts
 * as a device; the number of processors behind QEMU's fw_cfg ports. */
#define RING3_PORT_TEST_SCRATCH    0xe0
#define RING3_PORT_TEST_FLUSH      0xe4
#define RING3_PORT_TEST_IRQ        0x2000
#define RING3_PORT_FWCFG_SELECT    0x510
#define RING3_PORT_FWCFG_DATA      0x511
#define RING3_TEST_MEMORY          0xff000000u
#define RING3_TEST_MEMORY_BYTES    0x10000u

#endif
