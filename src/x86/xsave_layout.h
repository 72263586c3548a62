/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xsave_layout.h - where each state component lies in a standard-form XSAVE
 * image. The architecture leaves this to the processor (CPUID leaf 0xD); the
 * guest gets the host's layout, so that an image can be given to the host's
 * XRSTOR or to KVM as it is. Plain data: part of the CPU model.
 */
#ifndef RING3_X86_XSAVE_LAYOUT_H
#define RING3_X86_XSAVE_LAYOUT_H

#include "base/types.h"

/* Component numbers = XCR0 bit numbers. MPX (3, 4) and PT (8) are never used. */
enum x86_xcomp {
    X86_XCOMP_X87, X86_XCOMP_SSE, X86_XCOMP_AVX, X86_XCOMP_OPMASK = 5, X86_XCOMP_ZMM_HI256,
    X86_XCOMP_HI16_ZMM, X86_XCOMP_PKRU = 9, X86_XCOMP_COUNT,
};

enum { X86_XSAVE_LEGACY_BYTES = 512, X86_XSAVE_HEADER_BYTES = 64, X86_XSAVE_EXTENDED = 576 };

struct x86_xsave_layout {
    uint64_t components;                 /* XCR0 bits that have a place here */
    uint32_t offset[X86_XCOMP_COUNT];    /* extended ones only */
    uint32_t size[X86_XCOMP_COUNT];
};

/* The host's; where it lacks a component, the place Intel's processors give it. */
void x86_xsave_layout_host(struct x86_xsave_layout *l);
/* Bytes of an image with these components, standard or compacted form. */
uint32_t x86_xsave_layout_bytes(const struct x86_xsave_layout *l, uint64_t components,
                                bool compacted);

#endif
