/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xsave_image.h - pieces of FXSAVE and XSAVE images; private to src/x86.
 *
 * xsave.c makes whole images from them, sys_xsave.c executes the instructions,
 * which write and read only some pieces and depend on mode and CPU model.
 */
#ifndef RING3_X86_XSAVE_IMAGE_H
#define RING3_X86_XSAVE_IMAGE_H

#include "x86/state.h"
#include "x86/xsave_layout.h"

#define X86_MXCSR_RESET 0x1f80u
#define X86_MXCSR_MASK 0xffffu          /* DAZ included; not AMD's misaligned-SSE bit */
#define X86_MXCSR_MM (1u << 17)

/* Offsets in the legacy region (SDM vol. 1, table 10-2). */
enum { X86_FX_MXCSR = 24, X86_FX_ST = 32, X86_FX_XMM = 160, X86_XSAVE_BV = 512,
       X86_XSAVE_COMP = 520 };

struct x86_image_form {
    bool wide;              /* REX.W: 64-bit FIP and FDP, no selectors */
    bool selectors;         /* FCS and FDS are real, not read as zero */
    /* FOP, FIP and FDP even when no x87 exception is pending? AMD's processors save
     * zeros then, and load them only if CPUID says XSAVEERPTR (APM vol. 2, 11.5). */
    bool save_pointers, load_pointers;
    uint8_t registers;      /* vector registers reachable: 8 outside 64-bit mode, else 16 */
};

/* x87 part: bytes 0-23 and 32-159 of the legacy region. */
void x86_image_put_x87(const struct x86_fpu *f, struct x86_image_form form, uint8_t *image);
void x86_image_get_x87(struct x86_fpu *f, struct x86_image_form form, const uint8_t *image);
/* One vector component at its place `at`: X86_XCOMP_SSE and up. */
void x86_image_put(const struct x86_fpu *f, unsigned component, unsigned registers,
                   uint8_t *at);
void x86_image_get(struct x86_fpu *f, unsigned component, unsigned registers,
                   const uint8_t *at);
/* Initial values of one component; MXCSR is nobody's. */
void x86_image_init(struct x86_fpu *f, unsigned component, unsigned registers);
/* Components not in their initial configuration (XINUSE, SDM vol. 1, 13.6). */
uint64_t x86_image_in_use(const struct x86_fpu *f);

#endif
