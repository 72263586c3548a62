/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sys_xsave.c - FXSAVE, XSAVE and their family, XCR0, MXCSR, PKRU.
 *
 * All state is in memory as struct x86_fpu, so these build the image in a
 * buffer, piece by piece, and write only the pieces the instruction writes:
 * what lies between them in guest memory must survive. The whole area is
 * probed before the first byte. SDM vol. 1, 10.5 and 13.7-13.12.
 */
#include "base/byteorder.h"
#include "x86/cpuid.h"
#include "x86/operand.h"
#include "x86/system_ops.h"
#include "x86/xsave.h"
#include "x86/xsave_image.h"

#define COMPACTED (1ull << 63)

static uint64_t edx_eax(const struct x86_cpu *cpu)
{
    return (uint32_t)cpu->s.gpr[X86_RAX] | cpu->s.gpr[X86_RDX] << 32;
}

static bool has(const struct x86_cpu *cpu, enum x86_feature_id id)
{
    return x86_feature(&cpu->model->features, id);
}

/* FXSAVE64 and friends are the plain ones with REX.W. */
static bool rex_w(const struct x86_insn *insn)
{
    return insn->code_bits == 64 && insn->operand_bits == 64;
}

static struct x86_image_form form_of(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
    return (struct x86_image_form){
        .wide = rex_w(insn),
        .selectors = !has(cpu, X86_FEATURE_FCS_FDS_ZERO),
        .save_pointers = !cpu->model->amd,
        .load_pointers = !cpu->model->amd || has(cpu, X86_FEATURE_XSAVEERPTR),
        .registers = insn->code_bits == 64 ? 16 : 8,
    };
}

/* The area's address: `align` is architectural (#GP), the size for the limit. */
static gva_t area(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned bytes,
                  unsigned align, enum x86_access access)
{
    gva_t a = x86_ea_linear(cpu, insn, bytes, access);
    if (a.v & (align - 1))
        x86_gp0(cpu);
    x86_probe(cpu, a, bytes, access);
    return a;
}

/* ---- FXSAVE, FXRSTOR ------------------------------------------------------------- */

static void check_fx(struct x86_cpu *cpu)
{
    if (cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS))
        x86_raise(cpu, X86_NM);
}

void x86_op_fxsave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_image_form form = form_of(cpu, insn);
    uint8_t image[X86_FX_XMM + 16 * 16];
    const struct x86_fpu *f = &cpu->s.fpu;
    check_fx(cpu);
    gva_t a = area(cpu, insn, X86_FXSAVE_BYTES, 16, X86_WRITE);
    x86_image_put_x87(f, form, image);
    put_le32(image + X86_FX_MXCSR, f->mxcsr);
    put_le32(image + X86_FX_MXCSR + 4, X86_MXCSR_MASK);
    x86_image_put(f, X86_XCOMP_SSE, form.registers, image + X86_FX_XMM);
    x86_write_block(cpu, a, image, X86_FX_XMM + 16 * form.registers);
    x86_next(cpu, insn);
}

void x86_op_fxrstor(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    struct x86_image_form form = form_of(cpu, insn);
    uint8_t image[X86_FXSAVE_BYTES];
    check_fx(cpu);
    x86_read_block(cpu, area(cpu, insn, sizeof image, 16, X86_READ), image, sizeof image);
    uint32_t mxcsr = get_le32(image + X86_FX_MXCSR);
    if (mxcsr & ~X86_MXCSR_MASK)
        x86_gp0(cpu);
    x86_image_get_x87(&cpu->s.fpu, form, image);
    x86_image_get(&cpu->s.fpu, X86_XCOMP_SSE, form.registers, image + X86_FX_XMM);
    cpu->s.fpu.mxcsr = mxcsr;
    x86_next(cpu, insn);
}

/* ---- XSAVE and its variants ---------------------------------------------------------- */

static void check_xsave(struct x86_cpu *cpu)
{
    if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
        x86_ud(cpu);
    if (cpu->s.cr0 & X86_CR0_TS)
        x86_raise(cpu, X86_NM);
}

/* Where component `c` of an image with `present` components lies. */
static uint32_t offset_of(const struct x86_cpu *cpu, unsigned c, uint64_t present,
                          bool compacted)
{
    if (!compacted)
        return cpu->model->xsave.offset[c];
    return x86_xsave_layout_bytes(&cpu->model->xsave, present & ((1ull << c) - 1), true);
}

/* Bytes of component `c` that an instruction in this mode touches. */
static uint32_t bytes_of(const struct x86_cpu *cpu, unsigned c, unsigned registers)
{
    uint32_t size = cpu->model->xsave.size[c];
    if (registers == 16 || c == X86_XCOMP_OPMASK || c == X86_XCOMP_PKRU)
        return size;
    return c == X86_XCOMP_HI16_ZMM ? 0 : size / 2;
}

/* Legacy region: x87, XMM and MXCSR overlap in it, so each is its own piece. */
static void write_legacy(struct x86_cpu *cpu, gva_t a, struct x86_image_form form,
                         uint64_t components, bool mxcsr)
{
    uint8_t image[X86_XSAVE_LEGACY_BYTES];
    if (components & X86_XCR0_X87) {
        x86_image_put_x87(&cpu->s.fpu, form, image);
        x86_write_block(cpu, a, image, X86_FX_MXCSR);
        x86_write_block(cpu, gva_add(a, X86_FX_ST), image + X86_FX_ST, 8 * 16);
    }
    if (mxcsr) {
        put_le32(image + X86_FX_MXCSR, cpu->s.fpu.mxcsr);
        put_le32(image + X86_FX_MXCSR + 4, X86_MXCSR_MASK);
        x86_write_block(cpu, gva_add(a, X86_FX_MXCSR), image + X86_FX_MXCSR, 8);
    }
    if (components & X86_XCR0_SSE) {
        x86_image_put(&cpu->s.fpu, X86_XCOMP_SSE, form.registers, image);
        x86_write_block(cpu, gva_add(a, X86_FX_XMM), image, 16 * form.registers);
    }
}

enum variant { XSAVE, XSAVEOPT, XSAVEC, XSAVES };

static void save(struct x86_cpu *cpu, const struct x86_insn *insn, enum variant v)
{
    struct x86_image_form form = form_of(cpu, insn);
    bool compacted = v >= XSAVEC;
    check_xsave(cpu);
    if (v == XSAVES && cpu->mode.cpl)
        x86_gp0(cpu);
    uint64_t wanted = edx_eax(cpu) & (cpu->s.xcr0 | (v == XSAVES ? cpu->s.msr.xss : 0));
    uint32_t bytes = x86_xsave_layout_bytes(&cpu->model->xsave, wanted, compacted);
    gva_t a = area(cpu, insn, bytes, 64, X86_WRITE);

    uint64_t used = x86_image_in_use(&cpu->s.fpu) & wanted;
    /* MXCSR is tracked apart from the registers: a changed one makes SSE in use
     * for the compacted forms (13.10), and always goes with SSE or AVX in the
     * others (13.7, 13.9). */
    if (compacted && wanted & X86_XCR0_SSE && cpu->s.fpu.mxcsr != X86_MXCSR_RESET)
        used |= X86_XCR0_SSE;
    uint64_t stored = v == XSAVE ? wanted : used;
    bool mxcsr = compacted ? stored & X86_XCR0_SSE : wanted & (X86_XCR0_SSE | X86_XCR0_AVX);
    uint64_t header[2] = {used, wanted | COMPACTED};
    if (!compacted)
        header[0] |= x86_read(cpu, gva_add(a, X86_XSAVE_BV), 8) & ~wanted;

    write_legacy(cpu, a, form, stored, mxcsr);
    for (unsigned c = X86_XCOMP_AVX; c < X86_XCOMP_COUNT; c++) {
        uint8_t piece[1024];
        if (!(stored >> c & 1))
            continue;
        x86_image_put(&cpu->s.fpu, c, form.registers, piece);
        x86_write_block(cpu, gva_add(a, offset_of(cpu, c, wanted, compacted)), piece,
                        bytes_of(cpu, c, form.registers));
    }
    x86_write_block(cpu, gva_add(a, X86_XSAVE_BV), header, compacted ? 16 : 8);
    x86_next(cpu, insn);
}

void x86_op_xsave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    save(cpu, insn, XSAVE);
}

void x86_op_xsaveopt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    save(cpu, insn, XSAVEOPT);
}

void x86_op_xsavec(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    save(cpu, insn, XSAVEC);
}

void x86_op_xsaves(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    save(cpu, insn, XSAVES);
}

/* What the TLB says was true under the old rights. */
static void pkru_set(struct x86_cpu *cpu, uint32_t value)
{
    bool changed = value != cpu->s.fpu.pkru;

    cpu->s.fpu.pkru = value;
    if (changed && cpu->s.cr4 & X86_CR4_PKE)
        x86_tlb_flush(cpu, true);
}

/* ---- XRSTOR, XRSTORS -------------------------------------------------------------------- */

/* Header rules (13.8.1, 13.8.2, 13.12). */
static bool header_valid(const uint8_t header[X86_XSAVE_HEADER_BYTES], uint64_t enabled,
                         bool supervisor)
{
    uint64_t bv = get_le64(header), comp = get_le64(header + 8);
    if (!(comp & COMPACTED))
        return !supervisor && !(bv & ~enabled) && !comp && !get_le64(header + 16);
    if (comp & ~(enabled | COMPACTED) || bv & ~comp || bv & COMPACTED)
        return false;
    for (unsigned i = 16; i < X86_XSAVE_HEADER_BYTES; i += 8)
        if (get_le64(header + i))
            return false;
    return true;
}

/* MXCSR comes with SSE in the compacted form, with SSE or AVX in the standard one,
 * where it is loaded even if XSTATE_BV says that SSE is in its initial state. */
static void restore_mxcsr(struct x86_cpu *cpu, struct x86_fpu *f, const uint8_t *image,
                          uint64_t wanted, uint64_t present, bool compacted)
{
    uint32_t mxcsr = get_le32(image + X86_FX_MXCSR);
    if (compacted) {
        if (!(wanted & X86_XCR0_SSE))
            return;
        if (!(present & X86_XCR0_SSE))
            mxcsr = X86_MXCSR_RESET;
    } else if (!(wanted & (X86_XCR0_SSE | X86_XCR0_AVX))) {
        return;
    }
    if (mxcsr & ~X86_MXCSR_MASK)
        x86_gp0(cpu);
    f->mxcsr = mxcsr;
}

static void restore(struct x86_cpu *cpu, const struct x86_insn *insn, bool supervisor)
{
    struct x86_image_form form = form_of(cpu, insn);
    uint8_t image[X86_XSAVE_MAX_BYTES];
    check_xsave(cpu);
    if (supervisor && cpu->mode.cpl)
        x86_gp0(cpu);
    uint64_t enabled = cpu->s.xcr0 | (supervisor ? cpu->s.msr.xss : 0);
    gva_t a = area(cpu, insn, X86_XSAVE_EXTENDED, 64, X86_READ);
    x86_read_block(cpu, a, image, X86_XSAVE_EXTENDED);
    const uint8_t *header = image + X86_XSAVE_BV;
    if (!header_valid(header, enabled, supervisor))
        x86_gp0(cpu);
    uint64_t wanted = edx_eax(cpu) & enabled, present = get_le64(header);
    uint64_t comp = get_le64(header + 8);
    bool compacted = comp & COMPACTED;

    /* Into a copy: the rest of the area may still fault. */
    struct x86_fpu f = cpu->s.fpu;
    restore_mxcsr(cpu, &f, image, wanted, present, compacted);
    for (unsigned c = 0; c < X86_XCOMP_COUNT; c++) {
        if (!(wanted >> c & 1))
            continue;
        if (!(present >> c & 1)) {
            x86_image_init(&f, c, form.registers);
        } else if (c == X86_XCOMP_X87) {
            x86_image_get_x87(&f, form, image);
        } else if (c == X86_XCOMP_SSE) {
            x86_image_get(&f, c, form.registers, image + X86_FX_XMM);
        } else {
            uint32_t at = offset_of(cpu, c, comp & ~COMPACTED, compacted);
            x86_read_block(cpu, gva_add(a, at), image + at, bytes_of(cpu, c, form.registers));
            x86_image_get(&f, c, form.registers, image + at);
        }
    }
    pkru_set(cpu, f.pkru);
    cpu->s.fpu = f;
    x86_next(cpu, insn);
}

void x86_op_xrstor(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    restore(cpu, insn, false);
}

void x86_op_xrstors(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    restore(cpu, insn, true);
}

/* ---- XCR0 --------------------------------------------------------------------------------- */

static void set_edx_eax(struct x86_cpu *cpu, uint64_t value)
{
    cpu->s.gpr[X86_RAX] = (uint32_t)value;
    cpu->s.gpr[X86_RDX] = value >> 32;
}

/* Register 1 is XCR0 & XINUSE, for software that wants to skip saving. */
void x86_op_xgetbv(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
        x86_ud(cpu);
    uint32_t which = (uint32_t)cpu->s.gpr[X86_RCX];
    if (which == 0)
        set_edx_eax(cpu, cpu->s.xcr0);
    else if (which == 1 && has(cpu, X86_FEATURE_XGETBV1))
        set_edx_eax(cpu, cpu->s.xcr0 & x86_image_in_use(&cpu->s.fpu));
    else
        x86_gp0(cpu);
    x86_next(cpu, insn);
}

void x86_op_xsetbv(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
        x86_ud(cpu);
    if (cpu->mode.cpl || (uint32_t)cpu->s.gpr[X86_RCX])
        x86_gp0(cpu);
    x86_xcr0_write(cpu, edx_eax(cpu));
    x86_next(cpu, insn);
}

/* ---- MXCSR, PKRU ---------------------------------------------------------------------------- */

void x86_op_ldmxcsr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_fpu_check(cpu, insn);
    uint32_t value = (uint32_t)x86_operand_read(cpu, insn, 0);
    if (value & ~X86_MXCSR_MASK)
        x86_gp0(cpu);
    cpu->s.fpu.mxcsr = value;
    x86_next(cpu, insn);
}

void x86_op_stmxcsr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_fpu_check(cpu, insn);
    x86_operand_write(cpu, insn, 0, cpu->s.fpu.mxcsr);
    x86_next(cpu, insn);
}

static void check_pkru(struct x86_cpu *cpu)
{
    if (!(cpu->s.cr4 & X86_CR4_PKE))
        x86_ud(cpu);
    if ((uint32_t)cpu->s.gpr[X86_RCX])
        x86_gp0(cpu);
}

void x86_op_rdpkru(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    check_pkru(cpu);
    set_edx_eax(cpu, cpu->s.fpu.pkru);
    x86_next(cpu, insn);
}

void x86_op_wrpkru(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    check_pkru(cpu);
    if ((uint32_t)cpu->s.gpr[X86_RDX])
        x86_gp0(cpu);
    pkru_set(cpu, (uint32_t)cpu->s.gpr[X86_RAX]);
    x86_next(cpu, insn);
}
