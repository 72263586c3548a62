/* SPDX-License-Identifier: MIT-0 */
/* env32.h - the 32-bit guests' tables. */
#ifndef GUEST_ENV32_H
#define GUEST_ENV32_H

#include "sys.h"

struct tss32 {
    uint16_t link, pad0;
    struct { uint32_t esp, ss; } stack[3];
    uint32_t cr3, eip, eflags, gpr[8];
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, iomap;
    uint8_t redirect[32];            /* VME: INT n that go to the IDT */
    uint8_t ports[8193];
};
struct tss16 {
    uint16_t link;
    struct { uint16_t sp, ss; } stack[3];
    uint16_t ip, flags, gpr[8], es, cs, ss, ds, ldt;
};
extern struct tss32 tss, tss_b;
extern struct tss16 tss_c;
extern uint64_t ldt[8];

enum { CR0_TS = 8, CR0_WP = 1 << 16 };
enum { CR4_VME = 1, CR4_PVI = 2, CR4_PSE = 16, CR4_PAE = 32 };
enum { INT_GATE = 0x8e, TRAP_GATE = 0x8f, INT_GATE16 = 0x86, TASK_GATE = 0x85, DPL3 = 0x60 };

/* Virtual-8086 code at linear 0x10000 + n is 1000:n; its data and stack are at
 * 0x60000 and 0x70000. */
struct frame frame_vm86(const void *code, unsigned iopl);

#endif
