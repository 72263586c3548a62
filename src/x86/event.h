/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event.h - entering handlers, gates and tasks: shared by exception.c,
 * transfer.c and task.c.
 *
 * Private to src/x86. Intel SDM vol. 3 ch. 6 to 8. Everything here may unwind;
 * until the point where it commits, nothing but stack memory below the stack
 * pointer has changed. A task switch commits early, as the architecture does:
 * faults after that belong to the new task.
 */
#ifndef RING3_X86_EVENT_H
#define RING3_X86_EVENT_H

#include "x86/segment.h"

struct x86_event {
    uint8_t vector;
    bool soft;               /* INT n, INT3, INTO: gate DPL counts, EXT stays clear */
    bool has_error;
    uint32_t error;
    uint64_t return_rip;
    uint64_t flags;          /* RFLAGS image for the handler's frame */
};

/* One delivery through the IVT or IDT. */
void x86_event_enter(struct x86_cpu *cpu, const struct x86_event *ev);

/* A call, interrupt, trap or task gate. */
struct x86_gate {
    uint16_t selector;
    uint64_t offset;
    uint8_t type, dpl, ist, params;
    bool present;
};
/* `high` is the second half of a long-mode gate, else 0. */
void x86_gate_parse(uint64_t raw, uint64_t high, struct x86_gate *gate);

/* The inner stack that the TSS names for privilege `dpl`, checked. In long mode
 * SS becomes null and `ist` (1-7) may choose the pointer. */
void x86_stack_from_tss(struct x86_cpu *cpu, unsigned dpl, unsigned ist, unsigned ext,
                        struct x86_stack *st);
/* #GP(ext) when `offset` is not one that code segment `d` can execute. */
void x86_code_offset_check(struct x86_cpu *cpu, const struct x86_desc *d, uint64_t offset,
                           unsigned ext);
/* CS, with `cpl` as its RPL. */
static inline void x86_code_enter(struct x86_cpu *cpu, struct x86_desc *d, unsigned cpl)
{
    x86_segment_set(cpu, X86_CS, (d->selector & ~3u) | cpl, d);
}

enum x86_task_source { X86_TASK_JMP, X86_TASK_CALL, X86_TASK_EVENT, X86_TASK_IRET };
struct x86_task_entry {
    enum x86_task_source source;
    uint64_t return_rip, flags;      /* what the old task resumes with */
    unsigned ext;                    /* EXT bit for error codes */
    bool has_error;                  /* pushed on the new task's stack */
    uint32_t error;
};
/* `tss` is present and busy or available as the source demands. */
void x86_task_switch(struct x86_cpu *cpu, struct x86_desc *tss, const struct x86_task_entry *e);
/* The TSS behind a task gate: available, present, in the GDT; or #GP, #NP. */
void x86_task_gate_tss(struct x86_cpu *cpu, uint16_t selector, unsigned ext,
                       struct x86_desc *tss);

/* A debug condition of the running instruction: OR into cpu->debug_due. This
 * one says that single-stepping does not trap after it (SDM vol. 3, 17.3.1.4). */
#define X86_DEBUG_NO_STEP (1ull << 63)
enum { X86_DR6_BD = 1 << 13, X86_DR6_BS = 1 << 14, X86_DR6_BT = 1 << 15 };
/* Hits of I/O breakpoints on [port, port + size). */
void x86_debug_io_access(struct x86_cpu *cpu, uint16_t port, unsigned size);

#endif
