/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn_gen.c - from one guest instruction to the stub that executes it.
 *
 * First the analysis: which registers of which kind the instruction names (from
 * Zydis, hidden ones included), what its memory operand demands, and whether C
 * code has to do it instead. Then the code: loads, the instruction, stores. A
 * destination is loaded too, at the width the instruction may leave alone, so
 * that merging forms need no special case. Legacy SSE instructions keep bits
 * above 127 of a destination and therefore touch only 16 bytes of it; VEX and
 * EVEX clear them, so the whole register is stored.
 */
#include "x86/hostinsn_priv.h"

#include <stddef.h>
#include <string.h>
#include "base/bug.h"

/* Host register numbers, as encoded. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11 };

struct vector_use {
    uint8_t bytes;               /* 16, 32, 64: as loaded; 0 = not named */
    bool written;
};

struct analysis {
    const struct hostinsn_host *host;
    struct hostinsn_source src;
    struct hostinsn_regs regs;
    struct vector_use vec[32];
    uint8_t k_named, k_written;              /* bit per opmask */
    uint32_t gpr_named, gpr_written, gpr_fixed;
    uint8_t gpr_high;                        /* 1 + RAX-RBX: AH-BH is read */
    bool flags, mxcsr, x87, wide;            /* wide: uses ymm or zmm state */
    const ZydisDecodedOperand *mem;
};

unsigned x86_hostinsn_gpr(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
        return r - ZYDIS_REGISTER_RAX;
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
        return r - ZYDIS_REGISTER_EAX;
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
        return r - ZYDIS_REGISTER_AX;
    if (r >= ZYDIS_REGISTER_SPL)
        return r - ZYDIS_REGISTER_SPL + X86_RSP;
    if (r >= ZYDIS_REGISTER_AH)
        return r - ZYDIS_REGISTER_AH;
    return r - ZYDIS_REGISTER_AL;
}

/* ---- analysis ---------------------------------------------------------- */

static void note_vector(struct analysis *an, const ZydisDecodedOperand *op, unsigned n,
                        unsigned bytes)
{
    struct vector_use *v = &an->vec[n];

    if (v->bytes < bytes)
        v->bytes = (uint8_t)bytes;
    if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        v->written = true;
    if (an->src.z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        an->wide = true;
}

static void note_gpr(struct analysis *an, const ZydisDecodedOperand *op)
{
    unsigned n = x86_hostinsn_gpr(op->reg.value);

    if (x86_hostinsn_is_high(op->reg.value)) {
        an->gpr_high = (uint8_t)(1 + n);
        return;
    }
    an->gpr_named |= 1u << n;
    if (op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
        an->gpr_fixed |= 1u << n;
    if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        an->gpr_written |= 1u << n;
}

static bool note_register(struct analysis *an, const ZydisDecodedOperand *op)
{
    ZydisRegister r = op->reg.value;

    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8: case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
        note_gpr(an, op);
        return true;
    case ZYDIS_REGCLASS_XMM: note_vector(an, op, r - ZYDIS_REGISTER_XMM0, 16); return true;
    case ZYDIS_REGCLASS_YMM: note_vector(an, op, r - ZYDIS_REGISTER_YMM0, 32); return true;
    case ZYDIS_REGCLASS_ZMM: note_vector(an, op, r - ZYDIS_REGISTER_ZMM0, 64); return true;
    case ZYDIS_REGCLASS_MASK:
        if (op->encoding == ZYDIS_OPERAND_ENCODING_MASK && r == ZYDIS_REGISTER_K0)
            return true;                     /* "no mask" */
        an->k_named |= (uint8_t)(1u << (r - ZYDIS_REGISTER_K0));
        if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            an->k_written |= (uint8_t)(1u << (r - ZYDIS_REGISTER_K0));
        return true;
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_X87:
        an->x87 = true;
        return true;
    case ZYDIS_REGCLASS_FLAGS: return true;  /* x86_insn says which bits */
    default: break;
    }
    if (r == ZYDIS_REGISTER_MXCSR)
        an->mxcsr = true;
    else if (r == ZYDIS_REGISTER_X87CONTROL || r == ZYDIS_REGISTER_X87STATUS ||
             r == ZYDIS_REGISTER_X87TAG)
        an->x87 = true;
    else
        return false;                        /* segment, control register: not ours */
    return true;
}

static const ZydisDecoder *source_decoder(unsigned code_bits, ZydisDecoder *d)
{
    if (code_bits == 64)
        ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (code_bits == 32)
        ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    return d;
}

static bool needs_x87(enum x86_fpu_need need, unsigned mnemonic)
{
    return need == X86_NEED_X87 || need == X86_NEED_MMX || need == X86_NEED_SSE_MMX ||
           mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || mnemonic == ZYDIS_MNEMONIC_CVTPI2PD;
}

/* Floating-point arithmetic, by exception class (Zydis names MXCSR as an operand
 * only of some), and estimates and tests that look at DAZ and FZ. */
static bool needs_mxcsr(const ZydisDecodedInstruction *z)
{
    switch (z->meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE2: case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2: case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
    case ZYDIS_EXCEPTION_CLASS_E2: case ZYDIS_EXCEPTION_CLASS_E2NF:
    case ZYDIS_EXCEPTION_CLASS_E3: case ZYDIS_EXCEPTION_CLASS_E3NF:
    case ZYDIS_EXCEPTION_CLASS_E11: case ZYDIS_EXCEPTION_CLASS_E11NF:
        return true;
    default:
        break;
    }
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_RCPPS: case ZYDIS_MNEMONIC_RCPSS:
    case ZYDIS_MNEMONIC_RSQRTPS: case ZYDIS_MNEMONIC_RSQRTSS:
    case ZYDIS_MNEMONIC_VRCPPS: case ZYDIS_MNEMONIC_VRCPSS:
    case ZYDIS_MNEMONIC_VRSQRTPS: case ZYDIS_MNEMONIC_VRSQRTSS:
    case ZYDIS_MNEMONIC_VRCP14PS: case ZYDIS_MNEMONIC_VRCP14PD:
    case ZYDIS_MNEMONIC_VRCP14SS: case ZYDIS_MNEMONIC_VRCP14SD:
    case ZYDIS_MNEMONIC_VRSQRT14PS: case ZYDIS_MNEMONIC_VRSQRT14PD:
    case ZYDIS_MNEMONIC_VRSQRT14SS: case ZYDIS_MNEMONIC_VRSQRT14SD:
    case ZYDIS_MNEMONIC_VFPCLASSPS: case ZYDIS_MNEMONIC_VFPCLASSPD:
    case ZYDIS_MNEMONIC_VFPCLASSSS: case ZYDIS_MNEMONIC_VFPCLASSSD:
        return true;
    default:
        return false;
    }
}

static bool analyse(struct analysis *an, const struct x86_insn *insn)
{
    struct hostinsn_source *src = &an->src;
    ZydisDecoder decoder;

    memcpy(src->bytes, insn->bytes, insn->length);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(source_decoder(insn->code_bits, &decoder),
                                             src->bytes, insn->length, &src->z, src->op)))
        return false;
    if (src->z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE ||
        (src->z.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED))
        return false;
    for (unsigned i = 0; i < src->z.operand_count; i++) {
        const ZydisDecodedOperand *op = &src->op[i];

        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && !note_register(an, op))
            return false;
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
            an->mem = op;
    }
    an->mxcsr |= needs_mxcsr(&src->z);
    an->flags = (insn->flags_read | insn->flags_written) & X86_FLAGS_ARITH;
    /* Outside 64-bit mode Intel ignores W here, AMD does not. */
    if (an->host->amd && (src->z.mnemonic == ZYDIS_MNEMONIC_VPINSRD ||
                          src->z.mnemonic == ZYDIS_MNEMONIC_VPEXTRD) &&
        src->z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && src->z.raw.vex.W)
        return false;
    if (src->z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || an->k_named)
        return an->host->avx512;
    return !an->wide || an->host->avx;
}

/* Guest registers that an instruction uses by name stay where they are; all
 * others get a caller-saved register that is free. */
static uint8_t take_register(uint32_t *taken)
{
    static const uint8_t pool[] = {RAX, RCX, R8, R9, R10, R11, RDX};

    for (unsigned i = 0; i < ARRAY_SIZE(pool); i++) {
        if (!(*taken & 1u << pool[i])) {
            *taken |= 1u << pool[i];
            return pool[i];
        }
    }
    BUG("no instruction names that many registers");
}

static void assign_registers(struct analysis *an)
{
    struct hostinsn_regs *r = &an->regs;
    bool frame = an->x87 || an->mxcsr;
    uint32_t taken = an->gpr_fixed | (frame ? 1u << RDX : 0);

    memset(r, HOSTINSN_NO_REG, sizeof *r);
    r->state = RDI;
    r->mem = RSI;
    r->frame = RDX;
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (an->gpr_fixed & 1u << g)
            r->of_guest[g] = (uint8_t)g;
        else if (an->gpr_named & 1u << g)
            r->of_guest[g] = take_register(&taken);
    }
    if (an->gpr_high)
        r->high = take_register(&taken);
}

/* ---- memory operand ---------------------------------------------------- */

static bool unaligned_by_design(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU: case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI: case ZYDIS_MNEMONIC_PCMPISTRM:
    /* AMD's processors do not check these; others do it in the stub. */
    case ZYDIS_MNEMONIC_SHA1MSG1: case ZYDIS_MNEMONIC_SHA1MSG2: case ZYDIS_MNEMONIC_SHA1NEXTE:
    case ZYDIS_MNEMONIC_SHA1RNDS4: case ZYDIS_MNEMONIC_SHA256MSG1:
    case ZYDIS_MNEMONIC_SHA256MSG2: case ZYDIS_MNEMONIC_SHA256RNDS2:
        return true;
    default:
        return false;
    }
}

/* Which operands must be aligned: the exception classes of SDM vol. 2, 2.4
 * and 2.8. The host would check too, but after page faults of ours. */
static void set_alignment(const struct hostinsn_source *src, struct x86_hostinsn *st)
{
    switch (src->z.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE1:
        st->align = st->mem_bytes == 16 ? 16 : 0;
        break;
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE4:
        if (st->mem_bytes == 16 && !unaligned_by_design(src->z.mnemonic)) {
            st->align = 16;
            st->align_relaxed = true;
        }
        break;
    case ZYDIS_EXCEPTION_CLASS_AVX1:
    case ZYDIS_EXCEPTION_CLASS_E1:
    case ZYDIS_EXCEPTION_CLASS_E1NF:
        st->align = (uint8_t)st->mem_bytes;
        break;
    default:
        /* Packed doubles to MMX have a class of their own (SDM vol. 2, 22.25). */
        if (src->z.mnemonic == ZYDIS_MNEMONIC_CVTPD2PI ||
            src->z.mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI) {
            st->align = 16;
            st->align_relaxed = true;
        }
        break;
    }
}

static bool suppresses_faults(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {                   /* E4NF, which Zydis 4.0 does not say */
    case ZYDIS_MNEMONIC_VGF2P8AFFINEQB: case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
    case ZYDIS_MNEMONIC_VDBPSADBW: case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
        return false;
    default:
        break;
    }
    switch (z->meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1: case ZYDIS_EXCEPTION_CLASS_E2: case ZYDIS_EXCEPTION_CLASS_E3:
    case ZYDIS_EXCEPTION_CLASS_E4: case ZYDIS_EXCEPTION_CLASS_E5: case ZYDIS_EXCEPTION_CLASS_E6:
    case ZYDIS_EXCEPTION_CLASS_E10: case ZYDIS_EXCEPTION_CLASS_E11:
        return true;
    default:
        return false;
    }
}

static unsigned broadcast_count(ZydisBroadcastMode mode)
{
    switch (mode) {
    case ZYDIS_BROADCAST_MODE_1_TO_2: return 2;
    case ZYDIS_BROADCAST_MODE_1_TO_4: return 4;
    case ZYDIS_BROADCAST_MODE_1_TO_8: return 8;
    case ZYDIS_BROADCAST_MODE_1_TO_16: return 16;
    case ZYDIS_BROADCAST_MODE_1_TO_32: return 32;
    case ZYDIS_BROADCAST_MODE_1_TO_64: return 64;
    default: return 1;
    }
}

/* EVEX with an opmask and a memory operand: elements that the mask excludes
 * are not accessed (SDM vol. 1, 15.6.2). */
static void set_opmask(const struct analysis *an, struct x86_hostinsn *st)
{
    const ZydisDecodedInstruction *z = &an->src.z;
    const ZydisDecodedOperand *dest = &an->src.op[0];
    bool scalar = an->mem->element_count <= 1 &&
                  z->avx.broadcast.mode == ZYDIS_BROADCAST_MODE_INVALID;
    unsigned bcast = !z->avx.broadcast.is_static ? broadcast_count(z->avx.broadcast.mode) : 1;

    st->mask.reg = (uint8_t)(z->avx.mask.reg - ZYDIS_REGISTER_K0);
    st->mask.elems = (uint8_t)an->mem->element_count;
    st->mask.elem_bytes = (uint8_t)(an->mem->element_size / 8);
    /* Zydis shows the 128 or 256 bits of VEXTRACTF32X4 and its kind as one
     * element; W tells the size of those that the mask is about. */
    if (bcast == 1 && !scalar && st->mask.elem_bytes > 8) {
        st->mask.elem_bytes = z->raw.evex.W ? 8 : 4;
        st->mask.elems = (uint8_t)(st->mem_bytes / st->mask.elem_bytes);
    }
    if (bcast > 1 || scalar || !st->mask.elems) {
        st->mask.elems = 1;
        st->mask.elem_bytes = (uint8_t)st->mem_bytes;
    }
    if (bcast > 1)
        st->mask.count = (uint8_t)bcast;
    else if (z->avx.broadcast.is_static)
        st->mask.count = (uint8_t)dest->element_count;
    else
        st->mask.count = st->mask.elems;
    st->mask.packed = z->meta.category == ZYDIS_CATEGORY_COMPRESS ||
                      z->meta.category == ZYDIS_CATEGORY_EXPAND ||
                      z->mnemonic == ZYDIS_MNEMONIC_VPCOMPRESSB ||
                      z->mnemonic == ZYDIS_MNEMONIC_VPCOMPRESSW ||
                      z->mnemonic == ZYDIS_MNEMONIC_VPEXPANDB ||
                      z->mnemonic == ZYDIS_MNEMONIC_VPEXPANDW;
    st->run = x86_hostinsn_run_masked;
}

/* VMASKMOV, VPMASKMOV: sign bits of the elements of the second register. */
static bool set_vector_mask(const struct analysis *an, struct x86_hostinsn *st)
{
    bool load = an->mem == &an->src.op[2];

    switch (an->src.z.mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VPMASKMOVD: st->mask.elem_bytes = 4; break;
    case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVQ: st->mask.elem_bytes = 8; break;
    default: return false;
    }
    st->mask.vector = true;
    st->mask.reg = (uint8_t)ZydisRegisterGetId(an->src.op[1].reg.value);
    st->mask.count = st->mask.elems = (uint8_t)(st->mem_bytes / st->mask.elem_bytes);
    st->mem_write = !load;
    st->mem_read = load;
    st->run = x86_hostinsn_run_masked;
    return true;
}

static bool set_gather(const struct analysis *an, struct x86_hostinsn *st)
{
    const ZydisDecodedInstruction *z = &an->src.z;
    bool evex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    const ZydisDecodedOperand *data;
    unsigned index_total;

    if (z->meta.category != ZYDIS_CATEGORY_GATHER &&
        z->meta.category != ZYDIS_CATEGORY_AVX2GATHER &&
        z->meta.category != ZYDIS_CATEGORY_SCATTER)
        return false;
    bool scatter = z->meta.category == ZYDIS_CATEGORY_SCATTER;
    data = &an->src.op[scatter ? z->operand_count_visible - 1 : 0];
    st->mask.elem_bytes = z->raw.vex.W ? 8 : 4;
    if (evex)
        st->mask.elem_bytes = z->raw.evex.W ? 8 : 4;
    st->mask.index_bytes = z->opcode & 1 ? 8 : 4;    /* 90/92/A0/A2: dword, 91/93/A1/A3: qword */
    index_total = ZydisRegisterGetWidth(z->machine_mode, an->mem->mem.index) / 8;
    st->mask.elems = (uint8_t)(min_u64(index_total / st->mask.index_bytes,
                                       data->size / 8u / st->mask.elem_bytes));
    st->mask.count = st->mask.elems;
    st->mem_bytes = (uint16_t)max_u64(index_total, data->size / 8u);     /* vector length */
    st->mask.vector = !evex;
    st->mask.data = (uint8_t)ZydisRegisterGetId(data->reg.value);
    st->mask.reg = evex ? (uint8_t)(z->avx.mask.reg - ZYDIS_REGISTER_K0)
                        : (uint8_t)ZydisRegisterGetId(an->src.op[2].reg.value);
    st->run = scatter ? x86_hostinsn_run_scatter : x86_hostinsn_run_gather;
    return true;
}

static void set_memory(const struct analysis *an, struct x86_hostinsn *st)
{
    const ZydisDecodedInstruction *z = &an->src.z;

    st->mem_bytes = (uint16_t)(an->mem->size / 8);
    st->mem_read = an->mem->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    st->mem_write = an->mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    st->run = an->x87 ? x86_hostinsn_run_x87_mem : x86_hostinsn_run_mem;
    set_alignment(&an->src, st);
    if (set_vector_mask(an, st))
        return;
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && z->avx.mask.reg > ZYDIS_REGISTER_K0 &&
        z->avx.mask.reg <= ZYDIS_REGISTER_K7 &&
        (st->mem_write || suppresses_faults(z))) {
        set_opmask(an, st);
        st->mask.probe_all = !suppresses_faults(z);
    }
}

/* ---- code -------------------------------------------------------------- */

struct code {
    uint8_t *p, *start;
};

static void put(struct code *c, const void *bytes, size_t n)
{
    BUG_ON(c->p + n > c->start + HOSTINSN_CODE_MAX);
    memcpy(c->p, bytes, n);
    c->p += n;
}
#define PUT(c, ...)                                                          \
    do {                                                                     \
        const uint8_t bytes_[] = {__VA_ARGS__};                              \
        put(c, bytes_, sizeof bytes_);                                       \
    } while (0)

/* ModRM and displacement for reg, [base + disp32]; base needs no SIB. */
static void put_rm(struct code *c, unsigned reg, unsigned base, size_t disp)
{
    uint32_t d = (uint32_t)disp;

    PUT(c, (uint8_t)(0x80 | (reg & 7) << 3 | (base & 7)));
    put(c, &d, sizeof d);
}

/* MOV r64, [state + disp] and back. */
static void gpr_move(struct code *c, bool store, unsigned reg, unsigned base, size_t disp)
{
    PUT(c, (uint8_t)(0x48 | (reg & 8 ? 4 : 0) | (base & 8 ? 1 : 0)), store ? 0x89 : 0x8b);
    put_rm(c, reg, base, disp);
}

static size_t gpr_at(unsigned n) { return offsetof(struct x86_state, gpr) + n * 8; }
static size_t vec_at(unsigned n) { return offsetof(struct x86_state, fpu.vec) + n * 64; }
static size_t k_at(unsigned n) { return offsetof(struct x86_state, fpu.k) + n * 8; }
#define MXCSR_AT offsetof(struct x86_state, fpu.mxcsr)
#define HOST_MXCSR_AT offsetof(struct hostinsn_frame, host_mxcsr)
#define RFLAGS_AT offsetof(struct x86_state, rflags)

/* MOVUPS and its VEX and EVEX forms; base is RDI, so no extension bits. */
static void vec_move(struct code *c, const struct analysis *an, bool store, unsigned n,
                     unsigned bytes)
{
    uint8_t opcode = store ? 0x11 : 0x10;

    if (an->src.z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
        if (n & 8)
            PUT(c, 0x44);
        PUT(c, 0x0f, opcode);
    } else if (n < 16 && bytes < 64) {
        PUT(c, 0xc5, (uint8_t)((n & 8 ? 0 : 0x80) | 0x78 | (bytes == 32 ? 4 : 0)), opcode);
    } else {
        PUT(c, 0x62, (uint8_t)((n & 8 ? 0 : 0x80) | 0x60 | (n & 16 ? 0 : 0x10) | 1), 0x7c,
            (uint8_t)((bytes / 32) << 5 | 8), opcode);
    }
    put_rm(c, n, an->regs.state, vec_at(n));
}

static void load_vectors(struct code *c, const struct analysis *an)
{
    for (unsigned n = 0; n < 32; n++) {
        if (an->vec[n].bytes)
            vec_move(c, an, false, n, an->vec[n].bytes);
    }
    for (unsigned k = 0; k < 8; k++) {
        if (an->k_named & 1u << k) {
            PUT(c, 0xc4, 0xe1, 0xf8, 0x90);          /* KMOVQ k, m64 */
            put_rm(c, k, an->regs.state, k_at(k));
        }
    }
}

static void store_vectors(struct code *c, const struct analysis *an)
{
    bool legacy = an->src.z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    unsigned bytes = legacy ? 16 : an->host->avx512 ? 64 : 32;

    for (unsigned n = 0; n < 32; n++) {
        if (an->vec[n].written)
            vec_move(c, an, true, n, bytes);
    }
    for (unsigned k = 0; k < 8; k++) {
        if (an->k_written & 1u << k) {
            PUT(c, 0xc4, 0xe1, 0xf8, 0x91);          /* KMOVQ m64, k */
            put_rm(c, k, an->regs.state, k_at(k));
        }
    }
}

/* POPF is slow: SF to CF come by SAHF, OF by an addition that overflows
 * exactly if the flag is set. */
static void load_flags(struct code *c)
{
    PUT(c, 0x8b);
    put_rm(c, RAX, RDI, RFLAGS_AT);                  /* mov eax, [rflags] */
    PUT(c, 0x89, 0xc1);                              /* mov ecx, eax */
    PUT(c, 0xc1, 0xe9, 8);                           /* shr ecx, 8 */
    PUT(c, 0x83, 0xe1, 8);                           /* and ecx, 8: OF */
    PUT(c, 0x88, 0xc4);                              /* mov ah, al */
    PUT(c, 0x80, 0xc1, 0x78);                        /* add cl, 0x78 */
    PUT(c, 0x9e);                                    /* sahf */
}

static void store_flags(struct code *c)
{
    const uint32_t keep = ~(uint32_t)X86_FLAGS_ARITH;
    const uint32_t low = X86_FLAGS_ARITH & 0xff;

    PUT(c, 0x9f, 0x0f, 0x90, 0xc0);                  /* lahf; seto al */
    PUT(c, 0x0f, 0xb6, 0xcc);                        /* movzx ecx, ah */
    PUT(c, 0x0f, 0xb6, 0xc0);                        /* movzx eax, al */
    PUT(c, 0xc1, 0xe0, 11);                          /* shl eax, 11 */
    PUT(c, 0x81, 0xe1);                              /* and ecx, low */
    put(c, &low, 4);
    PUT(c, 0x09, 0xc1);                              /* or ecx, eax */
    PUT(c, 0x8b);
    put_rm(c, RAX, RDI, RFLAGS_AT);                  /* mov eax, [rflags] */
    PUT(c, 0x25);                                    /* and eax, keep */
    put(c, &keep, 4);
    PUT(c, 0x09, 0xc8, 0x89);                        /* or eax, ecx; mov [rflags], eax */
    put_rm(c, RAX, RDI, RFLAGS_AT);
}

static void load_gprs(struct code *c, const struct analysis *an)
{
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (!(an->gpr_named & 1u << g))
            continue;
        gpr_move(c, false, an->regs.of_guest[g], an->regs.state, gpr_at(g));
    }
    if (an->gpr_high)                                /* its byte 1, as a low byte */
        gpr_move(c, false, an->regs.high, an->regs.state, gpr_at(an->gpr_high - 1u) + 1);
}

static void store_gprs(struct code *c, const struct analysis *an)
{
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (an->gpr_written & 1u << g)
            gpr_move(c, true, an->regs.of_guest[g], an->regs.state, gpr_at(g));
    }
}

static void enter_fpu(struct code *c, const struct analysis *an)
{
    if (an->x87 || an->mxcsr) {
        PUT(c, 0x0f, 0xae);                          /* stmxcsr [frame] */
        put_rm(c, 3, an->regs.frame, HOST_MXCSR_AT);
    }
    if (an->x87) {
        PUT(c, 0x48, 0x0f, 0xae);                    /* fxrstor64 [frame] */
        put_rm(c, 1, an->regs.frame, offsetof(struct hostinsn_frame, x87));
    } else if (an->mxcsr) {
        PUT(c, 0x0f, 0xae);                          /* ldmxcsr [state] */
        put_rm(c, 2, an->regs.state, MXCSR_AT);
    }
}

/* Stores what even a fault changes, puts the host's state back, returns. */
static void leave(struct code *c, const struct analysis *an, uint32_t result)
{
    if (an->x87) {
        PUT(c, 0x48, 0x0f, 0xae);                    /* fxsave64 [frame] */
        put_rm(c, 0, an->regs.frame, offsetof(struct hostinsn_frame, x87));
        PUT(c, 0xdb, 0xe3);                          /* fninit */
    } else if (an->mxcsr) {
        PUT(c, 0x0f, 0xae);                          /* stmxcsr [state] */
        put_rm(c, 3, an->regs.state, MXCSR_AT);
    }
    if (an->x87 || an->mxcsr) {
        PUT(c, 0x0f, 0xae);                          /* ldmxcsr [frame] */
        put_rm(c, 2, an->regs.frame, HOST_MXCSR_AT);
    }
    if (an->wide)
        PUT(c, 0xc5, 0xf8, 0x77);                    /* vzeroupper */
    PUT(c, 0xb8);                                    /* mov eax, result */
    put(c, &result, sizeof result);
    PUT(c, 0xc3);
}

static bool put_stub(const struct analysis *an, struct x86_hostinsn *st, uint8_t *out,
                     size_t *len)
{
    struct code c = {out, out};
    uint8_t insn[X86_INSN_MAX_BYTES];
    size_t n = x86_hostinsn_encode(&an->src, &an->regs, insn);

    if (!n)
        return false;
    enter_fpu(&c, an);
    load_vectors(&c, an);
    if (an->flags)
        load_flags(&c);
    load_gprs(&c, an);
    put(&c, insn, n);
    store_gprs(&c, an);
    store_vectors(&c, an);
    if (an->flags)
        store_flags(&c);
    leave(&c, an, 0);
    st->fault_at = (uint16_t)(c.p - c.start);
    leave(&c, an, 1);
    *len = (size_t)(c.p - c.start);
    return true;
}

bool x86_hostinsn_generate(const struct hostinsn_host *host, const struct x86_insn *insn,
                           struct x86_hostinsn *st, uint8_t *out, size_t *len)
{
    struct analysis an = {.host = host};

    *len = 0;
    st->need = (uint8_t)x86_fpu_need(insn);
    st->run = x86_hostinsn_x87_control(insn->mnemonic);
    if (st->run)
        return true;
    an.x87 = needs_x87(st->need, insn->mnemonic);
    if (!analyse(&an, insn))
        return false;
    if (an.src.z.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
        an.src.z.mnemonic == ZYDIS_MNEMONIC_VZEROALL) {
        st->run = x86_hostinsn_run_zero;
        return true;
    }
    if (an.src.z.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
        an.src.z.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
        an.src.z.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU) {
        st->run = x86_hostinsn_run_maskmov;
        st->mem_bytes = an.src.z.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? 8 : 16;
        st->mask.data = (uint8_t)ZydisRegisterGetId(an.src.op[0].reg.value);
        st->mask.reg = (uint8_t)ZydisRegisterGetId(an.src.op[1].reg.value);
        if (an.src.op[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            st->mask.data = (uint8_t)ZydisRegisterGetId(an.src.op[1].reg.value);
            st->mask.reg = (uint8_t)ZydisRegisterGetId(an.src.op[2].reg.value);
        }
        return true;
    }
    if (an.mem && set_gather(&an, st))
        return true;
    if (an.mem)
        set_memory(&an, st);
    else
        st->run = an.x87 ? x86_hostinsn_run_x87_regs : x86_hostinsn_run_regs;
    st->x87 = an.x87;
    assign_registers(&an);
    return put_stub(&an, st, out, len);
}
