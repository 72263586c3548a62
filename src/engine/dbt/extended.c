/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extended.c - the XSAVE family, by the host's own instructions.
 *
 * A context switch of the guest is an XSAVES and an XRSTORS: going through
 * struct x86_fpu would take microseconds. The guest's vector state is in the
 * host's registers and the guest has the host's layout, so the host's XSAVE and
 * XRSTOR do the work; between them and the guest lies an image of our own, for
 * what the guest sees of the x87's pointers is its own, what is checked must not
 * change before it is used, and guest pages are not next to each other here.
 *
 * Only the forms with 64-bit operands, at rest where the two layouts agree
 * (dbt_vcpu.xsave_direct). x86/sys_xsave.c does the others, and says why.
 */
#include "engine/dbt/system.h"

#include "base/byteorder.h"
#include "x86/cpuid.h"
#include "x86/xsave_image.h"

#define COMPACTED (1ull << 63)
enum { FSW_ES = 1 << 7, ALIGN = 64 };

/* Guest memory of up to 4 KiB: at most two pages. */
struct area {
    uint8_t *page[2];                       /* host addresses of the parts */
    unsigned first;                         /* bytes in the first */
};

/* ---- copying without vector registers ------------------------------------------ */

static void copy(void *to, const void *from, size_t bytes)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static bool area_get(struct dbt_vcpu *d, uint64_t a, unsigned bytes, bool write, struct area *r)
{
    unsigned room = PAGE_SIZE - (unsigned)(a & PAGE_OFFSET_MASK);

    r->first = room;
    r->page[0] = dbt_ptr(d, a, bytes < room ? bytes : room, write);
    r->page[1] = bytes <= room ? r->page[0] : dbt_ptr(d, a + room, bytes - room, write);
    return r->page[0] && r->page[1];
}

static void area_write(const struct area *r, unsigned at, const uint8_t *from, unsigned bytes)
{
    unsigned n = at >= r->first ? 0 : min_u64(bytes, r->first - at);

    if (n)
        copy(r->page[0] + at, from, n);
    if (bytes > n)
        copy(r->page[1] + (at + n - r->first), from + n, bytes - n);
}

static void area_read(const struct area *r, unsigned at, uint8_t *to, unsigned bytes)
{
    unsigned n = at >= r->first ? 0 : min_u64(bytes, r->first - at);

    if (n)
        copy(to, r->page[0] + at, n);
    if (bytes > n)
        copy(to + n, r->page[1] + (at + n - r->first), bytes - n);
}

/* ---- layout ------------------------------------------------------------------------ */

static uint32_t image_bytes(const struct dbt_vcpu *d, uint64_t components, bool compacted)
{
    const struct x86_xsave_layout *l = &d->layout;
    uint32_t end = X86_XSAVE_EXTENDED;

    for (unsigned c = X86_XCOMP_AVX; c < X86_XCOMP_COUNT; c++) {
        if (!(components >> c & 1))
            continue;
        if (compacted)
            end += l->size[c];
        else if (l->offset[c] + l->size[c] > end)
            end = l->offset[c] + l->size[c];
    }
    return end;
}

static uint32_t offset_of(const struct dbt_vcpu *d, unsigned c, uint64_t components,
                          bool compacted)
{
    return compacted ? image_bytes(d, components & ((1ull << c) - 1), true) : d->layout.offset[c];
}

static bool usual(const struct dbt_vcpu *d)
{
    const struct x86_state *s = &d->interp.cpu.s;

    return d->xsave_direct && s->cr4 & X86_CR4_OSXSAVE &&
           !(s->cr0 & (X86_CR0_TS | X86_CR0_EM)) && s->xcr0 == d->host.components &&
           !s->msr.xss;
}

/* The guest's state into the host's registers. */
static void registers_get(struct dbt_vcpu *d, struct dbt_frame *f)
{
    if (d->fpu == DBT_FPU_LIVE)
        return;
    dbt_fpu_load(d);
    f->x87 = d->x87;
}

static uint64_t asked_for(const struct dbt_frame *f)
{
    return (uint32_t)f->gpr[X86_RAX] | f->gpr[X86_RDX] << 32;
}

/* ---- saving ------------------------------------------------------------------------- */

/* What the guest sees of its x87's last instruction, and of MXCSR. */
static void image_amend(struct dbt_vcpu *d, const struct dbt_frame *f, uint8_t *image)
{
    bool pointers = !d->interp.cpu.model->amd || get_le16(image + 2) & FSW_ES;

    put_le16(image + 6, pointers ? (uint16_t)f->x87.fop : 0);
    put_le64(image + 8, pointers ? f->x87.fip : 0);
    put_le64(image + 16, pointers ? f->x87.fdp : 0);
    put_le32(image + X86_FX_MXCSR + 4, X86_MXCSR_MASK);
}

static void write_components(struct dbt_vcpu *d, const struct area *to, const uint8_t *image,
                             uint64_t wanted, uint64_t stored, bool compacted)
{
    bool mxcsr = compacted ? stored & X86_XCR0_SSE : wanted & (X86_XCR0_SSE | X86_XCR0_AVX);

    if (stored & X86_XCR0_X87) {
        area_write(to, 0, image, X86_FX_MXCSR);
        area_write(to, X86_FX_ST, image + X86_FX_ST, 8 * 16);
    }
    if (mxcsr)
        area_write(to, X86_FX_MXCSR, image + X86_FX_MXCSR, 8);
    if (stored & X86_XCR0_SSE)
        area_write(to, X86_FX_XMM, image + X86_FX_XMM, 16 * 16);
    for (unsigned c = X86_XCOMP_AVX; c < X86_XCOMP_COUNT; c++) {
        uint32_t at = offset_of(d, c, wanted, compacted);
        if (stored >> c & 1)
            area_write(to, at, image + at, d->layout.size[c]);
    }
    area_write(to, X86_XSAVE_BV, image + X86_XSAVE_BV, compacted ? 16 : 8);
}

enum dbt_helped dbt_help_xsave(struct dbt_vcpu *d, struct dbt_frame *f,
                               const struct dbt_site *site)
{
    bool compacted = site->operand == DBT_XSAVEC;
    uint64_t wanted = asked_for(f) & d->interp.cpu.s.xcr0, in_use;
    uint8_t *image = d->bounce;
    struct area to;

    if (!usual(d) || f->target & (ALIGN - 1) ||
        !area_get(d, f->target, image_bytes(d, wanted, compacted), true, &to))
        return DBT_HELPED_NOT;
    registers_get(d, f);
    area_read(&to, X86_XSAVE_BV, image + X86_XSAVE_BV, 8);
    if (compacted)
        __asm__ volatile("xsavec64 %0" : "+m"(d->bounce)
                         : "a"((uint32_t)wanted), "d"((uint32_t)(wanted >> 32)) : "memory");
    else
        __asm__ volatile("xsave64 %0" : "+m"(d->bounce)
                         : "a"((uint32_t)wanted), "d"((uint32_t)(wanted >> 32)) : "memory");
    image_amend(d, f, image);
    in_use = get_le64(image + X86_XSAVE_BV) & wanted;
    write_components(d, &to, image, wanted, site->operand == DBT_XSAVE ? wanted : in_use,
                     compacted);
    return DBT_HELPED;
}

/* ---- restoring ------------------------------------------------------------------------ */

/* What would raise #GP is left to whoever raises it. */
static bool header_valid(const uint8_t *header, uint64_t enabled, bool supervisor)
{
    uint64_t bv = get_le64(header), comp = get_le64(header + 8), rest = 0;

    for (unsigned i = 16; i < X86_XSAVE_HEADER_BYTES; i += 8)
        rest |= get_le64(header + i);
    if (rest)
        return false;
    if (!(comp & COMPACTED))
        return !supervisor && !comp && !(bv & ~enabled);
    return !(comp & ~(enabled | COMPACTED)) && !(bv & ~comp) && !(bv & COMPACTED);
}

/* The image's x87 pointers, or initial ones. */
static void pointers_get(struct dbt_vcpu *d, struct dbt_frame *f, const uint8_t *image,
                         bool present)
{
    const struct x86_cpu_model *m = d->interp.cpu.model;
    uint16_t fcw = get_le16(image), fsw = get_le16(image + 2);

    if (!present)
        f->x87 = (struct dbt_x87){.fop = DBT_X87_OLD, .fdp_seg = X86_DS | DBT_X87_OLD};
    else if (!m->amd || x86_feature(&m->features, X86_FEATURE_XSAVEERPTR) || fsw & ~fcw & 0x3f)
        f->x87 = (struct dbt_x87){get_le64(image + 8), get_le64(image + 16),
                                  (get_le16(image + 6) & 0x7ff) | DBT_X87_OLD,
                                  X86_DS | DBT_X87_OLD};
    else
        return;
    d->x87 = f->x87;
    d->fcs = d->fds = 0;
}

/* Reads what an XRSTOR of these components reads, and checks it. */
static bool image_get(struct dbt_vcpu *d, uint64_t a, uint64_t wanted, bool supervisor)
{
    uint8_t *image = d->bounce;
    uint64_t present, comp;
    bool compacted;
    struct area from;

    if (!area_get(d, a, X86_XSAVE_EXTENDED, false, &from))
        return false;
    area_read(&from, 0, image, X86_XSAVE_EXTENDED);
    if (!header_valid(image + X86_XSAVE_BV, d->interp.cpu.s.xcr0, supervisor) ||
        get_le32(image + X86_FX_MXCSR) & ~X86_MXCSR_MASK)
        return false;
    present = get_le64(image + X86_XSAVE_BV) & wanted;
    comp = get_le64(image + X86_XSAVE_COMP);
    compacted = comp & COMPACTED;
    if (!area_get(d, a, image_bytes(d, compacted ? comp & ~COMPACTED : present, compacted), false,
                  &from))
        return false;
    for (unsigned c = X86_XCOMP_AVX; c < X86_XCOMP_COUNT; c++) {
        uint32_t at = offset_of(d, c, comp, compacted);
        if (present >> c & 1)
            area_read(&from, at, image + at, d->layout.size[c]);
    }
    return true;
}

enum dbt_helped dbt_help_xrstor(struct dbt_vcpu *d, struct dbt_frame *f,
                                const struct dbt_site *site)
{
    uint64_t wanted = asked_for(f) & d->interp.cpu.s.xcr0;

    if (!usual(d) || f->target & (ALIGN - 1) ||
        !image_get(d, f->target, wanted, site->operand == DBT_XRSTORS))
        return DBT_HELPED_NOT;
    registers_get(d, f);
    __asm__ volatile("xrstor64 %0" : : "m"(d->bounce), "a"((uint32_t)wanted),
                     "d"((uint32_t)(wanted >> 32)) : "memory");
    if (wanted & X86_XCR0_X87)
        pointers_get(d, f, d->bounce, get_le64(d->bounce + X86_XSAVE_BV) & X86_XCR0_X87);
    return DBT_HELPED;
}
