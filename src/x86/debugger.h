/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debugger.h - where a debugger outside of the guest wants it to stop.
 *
 * Nothing of this is in the guest: no debug register, no byte of its memory, so the guest
 * can neither see nor lose it. The list belongs to the debugger and changes only while no
 * vCPU runs; x86_cpu.debugger points to it, NULL when there is nothing to look for. While
 * there is, software engines execute one instruction at a time (x86_step_watch()).
 *
 * Addresses are linear. A hit is noted in the processor, and the engine leaves run() with
 * ENGINE_DEBUG at the next boundary: before the instruction of an execution point, after
 * the one that touched watched memory. What stopped at an execution point gets past it
 * when it goes on from there. Changing data points takes x86_cpu_state_loaded()
 * (set_state), since pages that are watched must not be in the TLB as plain ones.
 */
#ifndef RING3_X86_DEBUGGER_H
#define RING3_X86_DEBUGGER_H

#include "base/types.h"

struct x86_cpu;

enum x86_point_kind { X86_POINT_EXECUTE, X86_POINT_WRITE, X86_POINT_READ, X86_POINT_ACCESS };
enum { X86_POINTS_MAX = 64 };

struct x86_debugger {
    struct x86_point {
        enum x86_point_kind kind;
        uint64_t address, bytes;         /* bytes: of data points */
    } point[X86_POINTS_MAX];
    unsigned points;
};

struct x86_debugger_hit {
    bool hit;
    enum x86_point_kind kind;
    uint64_t address;
};

/* At a boundary: is this a place to stop? Fills *hit and forgets what was noted. */
bool x86_debugger_stops(struct x86_cpu *cpu, struct x86_debugger_hit *hit);
bool x86_debugger_watches(const struct x86_debugger *d, uint64_t page);
void x86_debugger_access(struct x86_cpu *cpu, gva_t a, unsigned len, bool write);

#endif
