/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xsave.c - struct x86_fpu from and to FXSAVE and XSAVE images.
 *
 * The struct keeps vector registers whole; the image scatters them over
 * components (XMM, the upper half of YMM, the upper half of ZMM, ZMM16-31),
 * because each was added later. Where an extended component lies is the
 * host's choice (xsave_layout.h). SDM vol. 1, 10.5 and ch. 13.
 */
#include "x86/xsave.h"

#include <cpuid.h>
#include <errno.h>
#include "base/byteorder.h"
#include "x86/xsave_image.h"

enum { FSW_ES = 1 << 7 };

static const struct x86_image_form form_host = {.wide = true, .save_pointers = true,
                                                .load_pointers = true, .registers = 16};

/* ---- layout ----------------------------------------------------------------- */

void x86_xsave_layout_host(struct x86_xsave_layout *l)
{
    static const struct { uint8_t component; uint16_t offset, size; } usual[] = {
        {X86_XCOMP_AVX, 576, 256}, {X86_XCOMP_OPMASK, 1088, 64},
        {X86_XCOMP_ZMM_HI256, 1152, 512}, {X86_XCOMP_HI16_ZMM, 1664, 1024},
        {X86_XCOMP_PKRU, 2688, 8},
    };
    *l = (struct x86_xsave_layout){.components = X86_XCR0_X87 | X86_XCR0_SSE};
    for (unsigned i = 0; i < ARRAY_SIZE(usual); i++) {
        unsigned n = usual[i].component, a, b, c, d;
        if (!__get_cpuid_count(0xd, n, &a, &b, &c, &d) || a != usual[i].size ||
            a + b > X86_XSAVE_MAX_BYTES) {
            a = usual[i].size;
            b = usual[i].offset;
        }
        l->components |= 1ull << n;
        l->size[n] = a;
        l->offset[n] = b;
    }
}

uint32_t x86_xsave_layout_bytes(const struct x86_xsave_layout *l, uint64_t components,
                                bool compacted)
{
    uint32_t end = X86_XSAVE_EXTENDED;
    for (unsigned i = X86_XCOMP_AVX; i < X86_XCOMP_COUNT; i++) {
        if (!((components & l->components) >> i & 1))
            continue;
        if (compacted)
            end += l->size[i];
        else if (l->offset[i] + l->size[i] > end)
            end = l->offset[i] + l->size[i];
    }
    return end;
}

uint32_t x86_xsave_bytes(uint64_t components)
{
    struct x86_xsave_layout l;
    x86_xsave_layout_host(&l);
    return x86_xsave_layout_bytes(&l, components, false);
}

/* ---- x87 ---------------------------------------------------------------------- */

void x86_image_put_x87(const struct x86_fpu *f, struct x86_image_form form, uint8_t *image)
{
    bool pointers = form.save_pointers || f->fsw & FSW_ES;
    uint64_t fip = pointers ? f->fip : 0, fdp = pointers ? f->fdp : 0;
    put_le16(image, f->fcw);
    put_le16(image + 2, f->fsw);
    image[4] = f->ftw;
    image[5] = 0;
    put_le16(image + 6, pointers ? f->fop : 0);
    if (form.wide) {
        put_le64(image + 8, fip);
        put_le64(image + 16, fdp);
    } else {
        bool selectors = pointers && form.selectors;
        put_le32(image + 8, (uint32_t)fip);
        put_le32(image + 12, selectors ? f->fcs : 0);
        put_le32(image + 16, (uint32_t)fdp);
        put_le32(image + 20, selectors ? f->fds : 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        memcpy(image + X86_FX_ST + 16 * i, f->st[i], 10);
        memset(image + X86_FX_ST + 16 * i + 10, 0, 6);
    }
}

void x86_image_get_x87(struct x86_fpu *f, struct x86_image_form form, const uint8_t *image)
{
    /* Bit 6 of the control word reads as one; ES and B follow from the masks
     * (SDM vol. 1, 8.1.3.3). */
    f->fcw = (get_le16(image) & 0x1f3f) | 0x40;
    f->fsw = get_le16(image + 2) & ~(uint16_t)(FSW_ES | 1 << 15);
    if (f->fsw & ~f->fcw & 0x3f)
        f->fsw |= FSW_ES | 1 << 15;
    f->ftw = image[4];
    if (form.load_pointers || f->fsw & FSW_ES) {
        f->fop = get_le16(image + 6) & 0x7ff;
        f->fip = form.wide ? get_le64(image + 8) : get_le32(image + 8);
        f->fdp = form.wide ? get_le64(image + 16) : get_le32(image + 16);
        f->fcs = form.wide ? 0 : get_le16(image + 12);
        f->fds = form.wide ? 0 : get_le16(image + 20);
    }
    for (unsigned i = 0; i < 8; i++) {
        memcpy(f->st[i], image + X86_FX_ST + 16 * i, 10);
        memset(f->st[i] + 10, 0, 6);
    }
}

/* ---- vector components ---------------------------------------------------------- */

/* Which part of which registers a component holds. */
static const struct vector_part {
    uint8_t first, at, bytes;
} vector_part[X86_XCOMP_COUNT] = {
    [X86_XCOMP_SSE] = {0, 0, 16}, [X86_XCOMP_AVX] = {0, 16, 16},
    [X86_XCOMP_ZMM_HI256] = {0, 32, 32}, [X86_XCOMP_HI16_ZMM] = {16, 0, 64},
};

/* Registers of a component that the mode can name: none of 16-31 outside 64-bit. */
static unsigned reachable(unsigned component, unsigned registers)
{
    return component == X86_XCOMP_HI16_ZMM && registers < 16 ? 0 : registers;
}

void x86_image_put(const struct x86_fpu *f, unsigned component, unsigned registers,
                   uint8_t *at)
{
    const struct vector_part *p = &vector_part[component];
    if (component == X86_XCOMP_OPMASK)
        memcpy(at, f->k, sizeof f->k);
    else if (component == X86_XCOMP_PKRU)
        put_le64(at, f->pkru);
    else
        for (unsigned i = 0; i < reachable(component, registers); i++)
            memcpy(at + i * p->bytes, f->vec[p->first + i] + p->at, p->bytes);
}

void x86_image_get(struct x86_fpu *f, unsigned component, unsigned registers,
                   const uint8_t *at)
{
    const struct vector_part *p = &vector_part[component];
    if (component == X86_XCOMP_OPMASK)
        memcpy(f->k, at, sizeof f->k);
    else if (component == X86_XCOMP_PKRU)
        f->pkru = get_le32(at);
    else
        for (unsigned i = 0; i < reachable(component, registers); i++)
            memcpy(f->vec[p->first + i] + p->at, at + i * p->bytes, p->bytes);
}

static void reset_x87(struct x86_fpu *f)
{
    f->fcw = 0x37f;
    f->fsw = f->fop = f->fcs = f->fds = 0;
    f->ftw = 0;
    f->fip = f->fdp = 0;
    memset(f->st, 0, sizeof f->st);
}

void x86_image_init(struct x86_fpu *f, unsigned component, unsigned registers)
{
    static const uint8_t zero[1024];
    if (component == X86_XCOMP_X87)
        reset_x87(f);
    else
        x86_image_get(f, component, registers, zero);
}

static bool x87_in_use(const struct x86_fpu *f)
{
    struct x86_fpu init;
    reset_x87(&init);
    return f->fcw != init.fcw || f->fsw || f->ftw || f->fop || f->fip || f->fdp || f->fcs ||
           f->fds || memcmp(f->st, init.st, sizeof f->st);
}

static bool any_set(const uint8_t *p, unsigned bytes)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < bytes; i += 8)
        all |= get_le64(p + i);
    return all;
}

uint64_t x86_image_in_use(const struct x86_fpu *f)
{
    uint64_t used = x87_in_use(f) ? X86_XCR0_X87 : 0;
    for (unsigned c = X86_XCOMP_SSE; c < X86_XCOMP_COUNT; c++) {
        const struct vector_part *p = &vector_part[c];
        for (unsigned i = 0; p->bytes && i < 16; i++)
            if (any_set(f->vec[p->first + i] + p->at, p->bytes)) {
                used |= 1ull << c;
                break;
            }
    }
    if (any_set((const uint8_t *)f->k, sizeof f->k))
        used |= 1ull << X86_XCOMP_OPMASK;
    if (f->pkru)
        used |= 1ull << X86_XCOMP_PKRU;
    return used;
}

void x86_fpu_reset(struct x86_fpu *f)
{
    memset(f, 0, sizeof *f);
    reset_x87(f);
    f->mxcsr = X86_MXCSR_RESET;
}

/* ---- whole images, as the host's FXSAVE64 and XSAVE64 make them -------------------- */

void x86_fpu_to_fxsave(const struct x86_fpu *f, uint8_t image[X86_FXSAVE_BYTES])
{
    memset(image, 0, X86_FXSAVE_BYTES);
    x86_image_put_x87(f, form_host, image);
    put_le32(image + X86_FX_MXCSR, f->mxcsr);
    put_le32(image + X86_FX_MXCSR + 4, X86_MXCSR_MASK);
    x86_image_put(f, X86_XCOMP_SSE, 16, image + X86_FX_XMM);
}

/* Images come from the host too, whose AMD processors know one bit more. */
static bool mxcsr_valid(uint32_t mxcsr)
{
    return !(mxcsr & ~(X86_MXCSR_MASK | X86_MXCSR_MM));
}

int x86_fpu_from_fxsave(struct x86_fpu *f, const uint8_t image[X86_FXSAVE_BYTES])
{
    if (!mxcsr_valid(get_le32(image + X86_FX_MXCSR)))
        return -EINVAL;
    x86_image_get_x87(f, form_host, image);
    f->mxcsr = get_le32(image + X86_FX_MXCSR);
    x86_image_get(f, X86_XCOMP_SSE, 16, image + X86_FX_XMM);
    return 0;
}

void x86_fpu_to_layout(const struct x86_fpu *f, const struct x86_xsave_layout *l,
                       uint64_t components, uint8_t image[X86_XSAVE_MAX_BYTES])
{
    components &= l->components;
    memset(image, 0, X86_XSAVE_MAX_BYTES);
    put_le32(image + X86_FX_MXCSR, f->mxcsr);
    put_le32(image + X86_FX_MXCSR + 4, X86_MXCSR_MASK);
    put_le64(image + X86_XSAVE_BV, components);
    if (components & X86_XCR0_X87)
        x86_image_put_x87(f, form_host, image);
    if (components & X86_XCR0_SSE)
        x86_image_put(f, X86_XCOMP_SSE, 16, image + X86_FX_XMM);
    for (unsigned c = X86_XCOMP_AVX; c < X86_XCOMP_COUNT; c++)
        if (components >> c & 1)
            x86_image_put(f, c, 16, image + l->offset[c]);
}

int x86_fpu_from_layout(struct x86_fpu *f, const struct x86_xsave_layout *l,
                        uint64_t components, const uint8_t image[X86_XSAVE_MAX_BYTES])
{
    uint64_t present = get_le64(image + X86_XSAVE_BV);
    if (present & ~components || get_le64(image + X86_XSAVE_COMP) ||
        !mxcsr_valid(get_le32(image + X86_FX_MXCSR)))
        return -EINVAL;
    components &= l->components;
    for (unsigned c = 0; c < X86_XCOMP_COUNT; c++) {
        if (!(components >> c & 1))
            continue;
        if (!(present >> c & 1))
            x86_image_init(f, c, 16);
        else if (c == X86_XCOMP_X87)
            x86_image_get_x87(f, form_host, image);
        else
            x86_image_get(f, c, 16, image + (c == X86_XCOMP_SSE ? X86_FX_XMM : l->offset[c]));
    }
    if (components & (X86_XCR0_SSE | X86_XCR0_AVX))
        f->mxcsr = get_le32(image + X86_FX_MXCSR);
    return 0;
}

void x86_fpu_to_xsave(const struct x86_fpu *f, uint64_t components,
                      uint8_t image[X86_XSAVE_MAX_BYTES])
{
    struct x86_xsave_layout l;
    x86_xsave_layout_host(&l);
    x86_fpu_to_layout(f, &l, components, image);
}

int x86_fpu_from_xsave(struct x86_fpu *f, uint64_t components,
                       const uint8_t image[X86_XSAVE_MAX_BYTES])
{
    struct x86_xsave_layout l;
    x86_xsave_layout_host(&l);
    return x86_fpu_from_layout(f, &l, components, image);
}
