/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xsave.h - struct x86_fpu from and to the architectural memory images.
 *
 * FXSAVE image: 512 bytes (SDM vol. 1, table 10-2). XSAVE image, standard
 * form: legacy region, header, components at the offsets CPUID leaf 0xD gives
 * on this host; XSAVEC/XSAVES compacted form for the instructions.
 */
#ifndef RING3_X86_XSAVE_H
#define RING3_X86_XSAVE_H

#include "x86/system.h"
#include "x86/xsave_layout.h"

enum { X86_FXSAVE_BYTES = 512, X86_XSAVE_MAX_BYTES = 4096 };

/* Standard-form image, all of `components` (XCR0 bits) present. */
void x86_fpu_to_xsave(const struct x86_fpu *f, uint64_t components,
                      uint8_t image[X86_XSAVE_MAX_BYTES]);
/* Components absent from XSTATE_BV get their init values. -EINVAL for a bad
 * header or MXCSR. */
int x86_fpu_from_xsave(struct x86_fpu *f, uint64_t components,
                       const uint8_t image[X86_XSAVE_MAX_BYTES]);
/* The same for whoever does it often and keeps the host's layout: finding that
 * out executes CPUID, which takes microseconds on a virtual host. */
void x86_fpu_to_layout(const struct x86_fpu *f, const struct x86_xsave_layout *l,
                       uint64_t components, uint8_t image[X86_XSAVE_MAX_BYTES]);
int x86_fpu_from_layout(struct x86_fpu *f, const struct x86_xsave_layout *l,
                        uint64_t components, const uint8_t image[X86_XSAVE_MAX_BYTES]);
void x86_fpu_to_fxsave(const struct x86_fpu *f, uint8_t image[X86_FXSAVE_BYTES]);
int x86_fpu_from_fxsave(struct x86_fpu *f, const uint8_t image[X86_FXSAVE_BYTES]);
void x86_fpu_reset(struct x86_fpu *f);
/* Bytes of a standard-form image with these components. */
uint32_t x86_xsave_bytes(uint64_t components);

#endif
