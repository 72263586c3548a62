/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * values.c - where instructions behave differently: registers and memory full
 * of zeros, ones, limits, denormals, NaNs, infinities and their neighbours.
 */
#include "isa.h"

#include <stdlib.h>
#include <string.h>
#include "base/byteorder.h"
#include "base/bug.h"
#include "x86/cpuid.h"
#include "x86/xsave.h"

static uint64_t limit_value(struct isa_rng *g)
{
    static const uint64_t limit[] = {
        0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7fff, 0x8000, 0x8001, 0xffff, 0x10000,
        0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
        0x8000000000000000, 0x8000000000000001, 0xffffffffffffffff, 0xfffffffffffffffe,
        0xffffffff80000000, 0xffffffffffff8000, 0xffffffffffffff80, 0x5555555555555555,
        0xaaaaaaaaaaaaaaaa, 0x0102030405060708, 0x9999999999999999, 0x00ff00ff00ff00ff,
    };

    return limit[isa_below(g, ARRAY_SIZE(limit))];
}

static uint64_t integer(struct isa_rng *g)
{
    switch (isa_below(g, 8)) {
    case 0: case 1: case 2: return limit_value(g);
    case 3: return isa_below(g, 256);
    case 4: return (uint64_t)-(int64_t)isa_below(g, 256);
    case 5: return 1ull << isa_below(g, 64);
    case 6: return (1ull << isa_below(g, 64)) - isa_below(g, 3);
    default: return isa_rand(g);
    }
}

static uint32_t float32(struct isa_rng *g)
{
    static const uint32_t special[] = {
        0, 1, 0x007fffff, 0x00800000, 0x3f800000, 0x3f7fffff, 0x40000000, 0x3f000000, 0x4b000000,
        0x4f000000, 0x5f000000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fbfffff, 0x7fc00000,
        0x7fffffff, 0x40490fdb, 0x33800000, 0x477fe000, 0x38800000, 0x33000000,
    };
    uint32_t v = special[isa_below(g, ARRAY_SIZE(special))];

    if (isa_chance(g, 30))                         /* of ordinary size */
        v = (uint32_t)isa_rand(g) % 0x04000000 + 0x3e000000;
    return v | (isa_chance(g, 40) ? 1u << 31 : 0);
}

static uint64_t float64(struct isa_rng *g)
{
    static const uint64_t special[] = {
        0, 1, 0x000fffffffffffff, 0x0010000000000000, 0x3ff0000000000000, 0x3fefffffffffffff,
        0x4000000000000000, 0x3fe0000000000000, 0x4330000000000000, 0x41e0000000000000,
        0x43e0000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0x7ff0000000000001,
        0x7ff7ffffffffffff, 0x7ff8000000000000, 0x7fffffffffffffff, 0x400921fb54442d18,
        0x36a0000000000000, 0x380fffffffffffff, 0x47efffffffffffff, 0x47f0000000000000,
        0x41dfffffffc00000, 0xc1e0000000200000,
    };
    uint64_t v = special[isa_below(g, ARRAY_SIZE(special))];

    if (isa_chance(g, 30))
        v = isa_rand(g) % 0x0080000000000000 + 0x3fc0000000000000;
    return v | (isa_chance(g, 40) ? 1ull << 63 : 0);
}

static void float80(struct isa_rng *g, uint8_t out[16])
{
    static const struct { uint16_t exponent; uint64_t significand; } special[] = {
        {0, 0}, {0, 1}, {0, 0x7fffffffffffffff}, {0, 0x8000000000000000},      /* denormals */
        {1, 0x8000000000000000}, {1, 0x7fffffffffffffff},                      /* unnormal */
        {0x3fff, 0x8000000000000000}, {0x3ffe, 0xffffffffffffffff}, {0x4000, 0xc90fdaa22168c235},
        {0x403e, 0x8000000000000000}, {0x403d, 0xfffffffffffffffe}, {0x7ffe, 0xffffffffffffffff},
        {0x7fff, 0x8000000000000000}, {0x7fff, 0xc000000000000000}, {0x7fff, 0xa000000000000000},
        {0x7fff, 0}, {0x7fff, 0x4000000000000000}, {0x3fff, 0x4000000000000000},
        {0x3f80, 0x8000000000000000}, {0x407e, 0xffffff0000000000}, {0x43fe, 0xfffffffffffff800},
        {0x403a, 0xde0b6b3a76400000},
    };
    unsigned i = isa_below(g, ARRAY_SIZE(special));
    uint16_t exponent = special[i].exponent;
    uint64_t significand = special[i].significand;

    memset(out, 0, 16);
    if (isa_chance(g, 50)) {
        exponent = (uint16_t)(0x3fff - 40 + isa_below(g, 110));
        significand = isa_rand(g) | 1ull << 63;
        if (isa_chance(g, 40))                     /* an integer or nearly */
            significand &= ~0ull << isa_below(g, 64) | 1ull << 63;
    }
    put_le64(out, significand);
    put_le16(out + 8, exponent | (isa_chance(g, 40) ? 0x8000 : 0));
}

/* A power of two of bytes of one kind of value. */
static void fill(struct isa_rng *g, uint8_t *p, unsigned bytes)
{
    unsigned kind = isa_below(g, 7);

    for (unsigned i = 0; i < bytes; i += 8) {
        switch (kind) {
        case 0: put_le64(p + i, float32(g) | (uint64_t)float32(g) << 32); break;
        case 1: put_le64(p + i, float64(g)); break;
        case 2: put_le64(p + i, integer(g)); break;
        case 3: put_le64(p + i, (uint32_t)integer(g) | integer(g) << 32); break;
        case 4: put_le64(p + i, 0x0101010101010101ull * isa_below(g, 256)); break;
        case 5: put_le64(p + i, isa_rand(g) & isa_rand(g) & 0x7f7f7f7f7f7f7f7f); break;
        default: put_le64(p + i, isa_rand(g)); break;
        }
    }
}

static void fill_fpu(struct isa_rng *g, struct x86_fpu *f)
{
    x86_fpu_reset(f);
    for (unsigned i = 0; i < 32; i++)
        fill(g, f->vec[i], 64);
    for (unsigned i = 0; i < 8; i++) {
        f->k[i] = isa_chance(g, 30) ? ~0ull : isa_chance(g, 20) ? 0 : isa_rand(g);
        float80(g, f->st[i]);
        if (isa_chance(g, 10)) {                   /* as MMX leaves them */
            fill(g, f->st[i], 8);
            put_le16(f->st[i] + 8, 0xffff);
        }
    }
    f->mxcsr = 0x1f80 | isa_below(g, 4) << 13;
    if (isa_chance(g, 12))
        f->mxcsr &= (uint32_t)isa_rand(g) | ~0x1f80u;
    if (isa_chance(g, 20))
        f->mxcsr |= isa_below(g, 64);
    if (isa_chance(g, 8))
        f->mxcsr |= 1u << 15;
    if (isa_chance(g, 8))
        f->mxcsr |= 1u << 6;
    f->fcw = (uint16_t)(0x37f & ~0x300) | (uint16_t)(isa_below(g, 4) << 8);
    f->fcw |= (uint16_t)(isa_chance(g, 40) ? isa_below(g, 4) << 10 : 0);
    if (isa_chance(g, 15))
        f->fcw &= (uint16_t)(isa_rand(g) | ~0x3full);
    f->fsw = (uint16_t)(isa_below(g, 8) << 11 | (isa_rand(g) & 0x4700));
    if (isa_chance(g, 20))
        f->fsw |= (uint16_t)isa_below(g, 128);
    if (f->fsw & ~f->fcw & 0x3f) {
        if (isa_chance(g, 80))
            f->fsw &= (uint16_t)(f->fcw | ~0x3f);
        else
            f->fsw |= 0x8080;
    }
    f->ftw = isa_chance(g, 60) ? 0xff : isa_chance(g, 20) ? 0 : (uint8_t)isa_rand(g);
}

void isa_fill_registers(uint64_t seed, enum isa_mode mode, struct isa_registers *r)
{
    struct isa_rng g = {seed};
    const uint64_t arithmetic = X86_FLAGS_ARITH;

    memset(r, 0, sizeof *r);
    for (unsigned i = 0; i < X86_GPR_COUNT; i++) {
        r->gpr[i] = integer(&g);
        if (mode != ISA_MODE_64)
            r->gpr[i] = i < 8 ? (uint32_t)r->gpr[i] : 0;
    }
    r->gpr[X86_RSP] = ISA_STACK_BASE + 0x1000 + (isa_below(&g, 0x1000) & ~7u) - 0x800;
    if (isa_chance(&g, 5))
        r->gpr[X86_RSP] += isa_below(&g, 8);
    if (isa_chance(&g, 3))
        r->gpr[X86_RSP] = ISA_STACK_BASE + isa_below(&g, 32);
    if (mode == ISA_MODE_16)
        r->gpr[X86_RSP] -= ISA_STACK_BASE;
    r->rflags = (isa_rand(&g) & arithmetic) | X86_FLAG_1 | X86_FLAG_IF |
                (isa_chance(&g, 15) ? X86_FLAG_DF : 0);
    fill_fpu(&g, &r->fpu);
}

/* Registers that the guest's processor does not have stay zero. */
void isa_limit_registers(uint64_t features, struct isa_registers *r)
{
    bool avx = features & X86_ISA(AVX), wide = features & X86_ISA(AVX512F);
    unsigned bytes = wide ? 64 : avx ? 32 : 16;

    for (unsigned i = 0; i < 32; i++) {
        if (i >= 16 && !wide)
            memset(r->fpu.vec[i], 0, 64);
        memset(r->fpu.vec[i] + bytes, 0, 64 - bytes);
    }
    if (!wide)
        memset(r->fpu.k, 0, sizeof r->fpu.k);
}

/* ---- memory ------------------------------------------------------------ */

/* Data is one of a few images: making one costs more than running a case. */
enum { IMAGES = 16 };

static const uint8_t *data_image(uint64_t seed)
{
    static uint8_t *made[IMAGES];
    unsigned n = seed % IMAGES;
    struct isa_rng g = {n + 77};

    if (made[n])
        return made[n];
    made[n] = malloc(ISA_IMAGE_BYTES);
    BUG_ON(!made[n]);
    for (unsigned at = 0; at < ISA_IMAGE_BYTES; at += 32)
        fill(&g, made[n] + at, 32);
    /* Small indices for gathers and scatters: dwords, then qwords. */
    uint8_t *index = made[n] + isa_image_offset(ISA_INDICES);
    for (unsigned i = 0; i < 16; i++)
        put_le32(index + 4 * i, isa_below(&g, 64) - 32);
    for (unsigned i = 0; i < 8; i++)
        put_le64(index + 64 + 8 * i, (uint64_t)isa_below(&g, 64) - 32);
    return made[n];
}

void isa_case_pokes(const struct isa_case *c, uint8_t *image)
{
    for (unsigned i = 0; i < c->pokes; i++)
        memcpy(image + isa_image_offset(c->poke[i].address), c->poke[i].bytes, c->poke[i].len);
}

void isa_case_image(const struct isa_case *c, uint8_t *image)
{
    const unsigned code_bytes = ISA_CODE_PAGES * PAGE_SIZE;
    uint64_t linear = c->in.rip + (c->mode == ISA_MODE_16 ? ISA_CODE_BASE : 0);

    memcpy(image + code_bytes, data_image(c->data_seed) + code_bytes,
           ISA_IMAGE_BYTES - code_bytes);
    isa_case_pokes(c, image);
    memset(image, 0xcc, code_bytes);
    memcpy(image + isa_image_offset(linear), c->code, c->code_bytes);
}
