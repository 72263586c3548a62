/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.h - EFER, shared by WRMSR and the mode switches; private to src/x86.
 */
#ifndef RING3_X86_CONTROL_H
#define RING3_X86_CONTROL_H

#include "x86/cpu.h"

/* WRMSR to EFER: 0, or -1 for #GP. */
int x86_efer_write(struct x86_cpu *cpu, uint64_t value);

#endif
