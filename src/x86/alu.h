/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alu.h - integer arithmetic done by the host's own instructions.
 *
 * Guest and host agree on every flag, the undefined ones included, if the host
 * computes them. The six arithmetic flags travel as "host flags", the form in
 * which LAHF and SETO deliver them at a few cycles (PUSHF and POPF cost ten
 * times that): bits 15-8 are AH after LAHF (SF ZF - AF - PF 1 CF), bit 0 is OF.
 *
 * Functions that leave or read some flags take the old ones; the caller passes
 * and gets them in *hf. x86_<op>_<bits>() for compile-time sizes, x86_alu_<op>()
 * with the size in bytes for general code.
 */
#ifndef RING3_X86_ALU_H
#define RING3_X86_ALU_H

#include "x86/state.h"

enum {
    X86_HF_OF = 1 << 0, X86_HF_CF = 1 << 8, X86_HF_PF = 1 << 10, X86_HF_AF = 1 << 12,
    X86_HF_ZF = 1 << 14, X86_HF_SF = 1 << 15,
};

static inline uint16_t x86_hf_from_rflags(uint64_t rflags)
{
    return (uint16_t)((rflags & 0xd5) << 8 | (rflags >> 11 & 1));
}

static inline uint64_t x86_rflags_with_hf(uint64_t rflags, uint16_t hf)
{
    return (rflags & ~(uint64_t)X86_FLAGS_ARITH) | (hf >> 8 & 0xd5) | (uint64_t)(hf & 1) << 11;
}

/* OF comes back by letting 0x7f + OF overflow a byte; SAHF then sets the rest. */
#define X86_HF_TO_HOST "addb $0x7f, %%al\n\tsahf\n\t"
#define X86_HF_FROM_HOST "\n\tlahf\n\tseto %%al"

/* Does `hf` satisfy condition code `cc` (the low four bits of Jcc's opcode)? */
static inline __attribute__((always_inline)) bool x86_hf_condition(uint16_t hf, unsigned cc)
{
    bool less = (hf >> 15 ^ hf) & 1;
    bool r;

    switch (cc >> 1) {
    case 0: r = hf & X86_HF_OF; break;
    case 1: r = hf & X86_HF_CF; break;
    case 2: r = hf & X86_HF_ZF; break;
    case 3: r = hf & (X86_HF_CF | X86_HF_ZF); break;
    case 4: r = hf & X86_HF_SF; break;
    case 5: r = hf & X86_HF_PF; break;
    case 6: r = less; break;
    default: r = less || (hf & X86_HF_ZF); break;
    }
    return r != (cc & 1);
}

/* ---- one size at compile time ------------------------------------------ */

/* Results that depend on the operands only. */
#define X86_BINARY_(name, insn, bits, sfx)                                              \
    static inline uint##bits##_t x86_##name##_##bits(uint##bits##_t a, uint##bits##_t b, \
                                                     uint16_t *hf)                      \
    {                                                                                   \
        uint16_t f;                                                                     \
        __asm__(insn sfx " %[b], %[a]" X86_HF_FROM_HOST                                 \
                : [a] "+&q"(a), "=&a"(f) : [b] "q"(b) : "cc");                          \
        *hf = f;                                                                        \
        return a;                                                                       \
    }
/* The same, reading old flags or leaving some as they were. */
#define X86_BINARY_HF_(name, insn, bits, sfx)                                           \
    static inline uint##bits##_t x86_##name##_##bits(uint##bits##_t a, uint##bits##_t b, \
                                                     uint16_t *hf)                      \
    {                                                                                   \
        uint16_t f = *hf;                                                               \
        __asm__(X86_HF_TO_HOST insn sfx " %[b], %[a]" X86_HF_FROM_HOST                  \
                : [a] "+&q"(a), "+&a"(f) : [b] "q"(b) : "cc");                          \
        *hf = f;                                                                        \
        return a;                                                                       \
    }
#define X86_UNARY_HF_(name, insn, bits, sfx)                                            \
    static inline uint##bits##_t x86_##name##_##bits(uint##bits##_t a, uint16_t *hf)    \
    {                                                                                   \
        uint16_t f = *hf;                                                               \
        __asm__(X86_HF_TO_HOST insn sfx " %[a]" X86_HF_FROM_HOST                        \
                : [a] "+&q"(a), "+&a"(f) : : "cc");                                     \
        *hf = f;                                                                        \
        return a;                                                                       \
    }
#define X86_SHIFT_(name, insn, bits, sfx)                                               \
    static inline uint##bits##_t x86_##name##_##bits(uint##bits##_t a, uint8_t count,   \
                                                     uint16_t *hf)                      \
    {                                                                                   \
        uint16_t f = *hf;                                                               \
        __asm__(X86_HF_TO_HOST insn sfx " %%cl, %[a]" X86_HF_FROM_HOST                  \
                : [a] "+&q"(a), "+&a"(f) : "c"(count) : "cc");                          \
        *hf = f;                                                                        \
        return a;                                                                       \
    }
#define X86_DOUBLE_SHIFT_(name, insn, bits, sfx)                                        \
    static inline uint##bits##_t x86_##name##_##bits(uint##bits##_t a, uint##bits##_t b, \
                                                     uint8_t count, uint16_t *hf)       \
    {                                                                                   \
        uint16_t f = *hf;                                                               \
        __asm__(X86_HF_TO_HOST insn sfx " %%cl, %[b], %[a]" X86_HF_FROM_HOST            \
                : [a] "+&r"(a), "+&a"(f) : [b] "r"(b), "c"(count) : "cc");              \
        *hf = f;                                                                        \
        return a;                                                                       \
    }
/* Bit scans leave the destination alone when the source is zero; the host says
 * what then happens to the upper half, hence 64 bits in and out. */
#define X86_SCAN_(name, insn, bits, sfx, mod)                                           \
    static inline uint64_t x86_##name##_##bits(uint64_t a, uint##bits##_t b, uint16_t *hf) \
    {                                                                                   \
        uint16_t f = *hf;                                                               \
        __asm__(X86_HF_TO_HOST insn sfx " %[b], %" mod "[a]" X86_HF_FROM_HOST           \
                : [a] "+&r"(a), "+&a"(f) : [b] "r"(b) : "cc");                          \
        *hf = f;                                                                        \
        return a;                                                                       \
    }

/* hi:lo = lo * b. */
#define X86_WIDE_MUL_(name, insn, bits, sfx)                                            \
    static inline void x86_##name##_##bits(uint##bits##_t *lo, uint##bits##_t *hi,      \
                                           uint##bits##_t b, uint16_t *hf)              \
    {                                                                                   \
        uint64_t f = *hf;                                                               \
        uint##bits##_t l = *lo, h;                                                      \
        __asm__("xchgq %[f], %%rax\n\t" X86_HF_TO_HOST                                  \
                "movq %[f], %%rax\n\t" insn sfx " %[b]\n\t"                             \
                "movq %%rax, %[f]" X86_HF_FROM_HOST                                     \
                : [f] "+&r"(f), "+&a"(l), "=&d"(h) : [b] "r"(b) : "cc");                \
        *lo = (uint##bits##_t)f;                                                        \
        *hi = h;                                                                        \
        *hf = (uint16_t)l;                                                              \
    }
/* Quotient to *lo, remainder to *hi; the caller has excluded #DE. */
#define X86_WIDE_DIV_(name, insn, bits, sfx)                                            \
    static inline void x86_##name##_##bits(uint##bits##_t *lo, uint##bits##_t *hi,      \
                                           uint##bits##_t b, uint16_t *hf)              \
    {                                                                                   \
        uint64_t f = *hf;                                                               \
        uint##bits##_t l = *lo, h = *hi;                                                \
        __asm__("xchgq %[f], %%rax\n\t" X86_HF_TO_HOST                                  \
                "movq %[f], %%rax\n\t" insn sfx " %[b]\n\t"                             \
                "movq %%rax, %[f]" X86_HF_FROM_HOST                                     \
                : [f] "+&r"(f), "+&a"(l), "+&d"(h) : [b] "r"(b) : "cc");                \
        *lo = (uint##bits##_t)f;                                                        \
        *hi = h;                                                                        \
        *hf = (uint16_t)l;                                                              \
    }

#define X86_SIZES_(M, name, insn)                                                       \
    M(name, insn, 8, "b") M(name, insn, 16, "w") M(name, insn, 32, "l") M(name, insn, 64, "q")
#define X86_WORD_SIZES_(M, name, insn)                                                  \
    M(name, insn, 16, "w") M(name, insn, 32, "l") M(name, insn, 64, "q")
#define X86_SCAN_SIZES_(name, insn)                                                     \
    X86_SCAN_(name, insn, 16, "w", "w") X86_SCAN_(name, insn, 32, "l", "k")             \
    X86_SCAN_(name, insn, 64, "q", "q")

X86_SIZES_(X86_BINARY_, add, "add")
X86_SIZES_(X86_BINARY_, sub, "sub")
X86_SIZES_(X86_BINARY_, and, "and")
X86_SIZES_(X86_BINARY_, or, "or")
X86_SIZES_(X86_BINARY_, xor, "xor")
X86_SIZES_(X86_BINARY_HF_, adc, "adc")
X86_SIZES_(X86_BINARY_HF_, sbb, "sbb")
X86_SIZES_(X86_UNARY_HF_, inc, "inc")
X86_SIZES_(X86_UNARY_HF_, dec, "dec")
X86_SIZES_(X86_UNARY_HF_, neg, "neg")
X86_SIZES_(X86_SHIFT_, shl, "shl")
X86_SIZES_(X86_SHIFT_, shr, "shr")
X86_SIZES_(X86_SHIFT_, sar, "sar")
X86_SIZES_(X86_SHIFT_, rol, "rol")
X86_SIZES_(X86_SHIFT_, ror, "ror")
X86_SIZES_(X86_SHIFT_, rcl, "rcl")
X86_SIZES_(X86_SHIFT_, rcr, "rcr")
X86_WORD_SIZES_(X86_DOUBLE_SHIFT_, shld, "shld")
X86_WORD_SIZES_(X86_DOUBLE_SHIFT_, shrd, "shrd")
X86_WORD_SIZES_(X86_BINARY_HF_, imul, "imul")
X86_WORD_SIZES_(X86_BINARY_HF_, bt, "bt")
X86_WORD_SIZES_(X86_BINARY_HF_, bts, "bts")
X86_WORD_SIZES_(X86_BINARY_HF_, btr, "btr")
X86_WORD_SIZES_(X86_BINARY_HF_, btc, "btc")
X86_SCAN_SIZES_(bsf, "bsf")
X86_SCAN_SIZES_(bsr, "bsr")
X86_SCAN_SIZES_(tzcnt, "tzcnt")
X86_SCAN_SIZES_(lzcnt, "lzcnt")
X86_SCAN_SIZES_(popcnt, "popcnt")
X86_WORD_SIZES_(X86_WIDE_MUL_, mul, "mul")
X86_WORD_SIZES_(X86_WIDE_MUL_, imulw, "imul")
X86_WORD_SIZES_(X86_WIDE_DIV_, div, "div")
X86_WORD_SIZES_(X86_WIDE_DIV_, idiv, "idiv")

/* ---- size in bytes at run time ------------------------------------------ */

#define X86_ALU_(name)                                                                  \
    static inline uint64_t x86_alu_##name(uint64_t a, uint64_t b, unsigned size, uint16_t *hf) \
    {                                                                                   \
        switch (size) {                                                                 \
        case 1: return x86_##name##_8((uint8_t)a, (uint8_t)b, hf);                      \
        case 2: return x86_##name##_16((uint16_t)a, (uint16_t)b, hf);                   \
        case 4: return x86_##name##_32((uint32_t)a, (uint32_t)b, hf);                   \
        default: return x86_##name##_64(a, b, hf);                                      \
        }                                                                               \
    }
#define X86_ALU_COUNT_(name)                                                            \
    static inline uint64_t x86_alu_##name(uint64_t a, uint64_t b, unsigned size, uint16_t *hf) \
    {                                                                                   \
        uint8_t count = (uint8_t)b;                                                     \
        switch (size) {                                                                 \
        case 1: return x86_##name##_8((uint8_t)a, count, hf);                           \
        case 2: return x86_##name##_16((uint16_t)a, count, hf);                         \
        case 4: return x86_##name##_32((uint32_t)a, count, hf);                         \
        default: return x86_##name##_64(a, count, hf);                                  \
        }                                                                               \
    }
#define X86_ALU_UNARY_(name)                                                            \
    static inline uint64_t x86_alu_##name(uint64_t a, uint64_t unused, unsigned size,   \
                                          uint16_t *hf)                                 \
    {                                                                                   \
        switch (size) {                                                                 \
        case 1: return x86_##name##_8((uint8_t)a, hf);                                  \
        case 2: return x86_##name##_16((uint16_t)a, hf);                                \
        case 4: return x86_##name##_32((uint32_t)a, hf);                                \
        default: return x86_##name##_64(a, hf);                                         \
        }                                                                               \
    }
#define X86_ALU_WORDS_(name)                                                            \
    static inline uint64_t x86_alu_##name(uint64_t a, uint64_t b, unsigned size, uint16_t *hf) \
    {                                                                                   \
        switch (size) {                                                                 \
        case 2: return x86_##name##_16((uint16_t)a, (uint16_t)b, hf);                   \
        case 4: return x86_##name##_32((uint32_t)a, (uint32_t)b, hf);                   \
        default: return x86_##name##_64(a, b, hf);                                      \
        }                                                                               \
    }
X86_ALU_(add) X86_ALU_(sub) X86_ALU_(and) X86_ALU_(or) X86_ALU_(xor) X86_ALU_(adc) X86_ALU_(sbb)
X86_ALU_UNARY_(inc) X86_ALU_UNARY_(dec) X86_ALU_UNARY_(neg)
X86_ALU_COUNT_(shl) X86_ALU_COUNT_(shr) X86_ALU_COUNT_(sar) X86_ALU_COUNT_(rol)
X86_ALU_COUNT_(ror) X86_ALU_COUNT_(rcl) X86_ALU_COUNT_(rcr)
X86_ALU_WORDS_(imul) X86_ALU_WORDS_(bt) X86_ALU_WORDS_(bts) X86_ALU_WORDS_(btr)
X86_ALU_WORDS_(btc)

static inline uint64_t x86_alu_not(uint64_t a, uint64_t unused, unsigned size, uint16_t *hf)
{
    return ~a;
}

typedef uint64_t x86_alu_fn(uint64_t a, uint64_t b, unsigned size, uint16_t *hf);

#endif
