/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_mul.c - MUL, IMUL, DIV, IDIV and the decimal instructions.
 *
 * The decimal ones do not exist in 64-bit mode, so the host cannot execute
 * them for us: they follow the pseudo-code of SDM vol. 2. Their undefined
 * flags: SF, ZF and PF from the result in AL, OF cleared.
 */
#include "x86/exec_ops.h"

/* ---- multiplication ---------------------------------------------------- */

/* AX = AL * v; flags by way of the 16-bit forms would differ, so by hand:
 * the host executes the very instruction. */
#define BYTE_MUL(name, insn)                                                            \
    static uint16_t name(uint8_t al, uint8_t v, uint16_t *hf)                           \
    {                                                                                   \
        uint64_t f = *hf, a = al;                                                       \
                                                                                        \
        __asm__("xchgq %[f], %%rax\n\t" X86_HF_TO_HOST "movq %[f], %%rax\n\t"           \
                insn " %[v]\n\tmovq %%rax, %[f]" X86_HF_FROM_HOST                       \
                : [f] "+&r"(f), "+&a"(a) : [v] "q"(v) : "cc");                          \
        *hf = (uint16_t)a;                                                              \
        return (uint16_t)f;                                                             \
    }
BYTE_MUL(mul_byte, "mulb")
BYTE_MUL(imul_byte, "imulb")

#define WIDE(name, bits)                                                                \
    {                                                                                   \
        uint##bits##_t lo = (uint##bits##_t)gpr[X86_RAX], hi = (uint##bits##_t)gpr[X86_RDX]; \
                                                                                        \
        x86_##name##_##bits(&lo, &hi, (uint##bits##_t)v, &hf);                          \
        x86_gpr_write(cpu, X86_RAX, bits / 8, lo);                                      \
        x86_gpr_write(cpu, X86_RDX, bits / 8, hi);                                      \
        break;                                                                          \
    }

void x86_exec_MUL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t v = x86_operand_read(cpu, insn, 0), *gpr = cpu->s.gpr;
    uint16_t hf = x86_hf(cpu);

    switch (insn->op[0].size) {
    case 1: x86_gpr_write(cpu, X86_RAX, 2, mul_byte((uint8_t)gpr[0], (uint8_t)v, &hf)); break;
    case 2: WIDE(mul, 16)
    case 4: WIDE(mul, 32)
    default: WIDE(mul, 64)
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

static void imul_wide(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t v = x86_operand_read(cpu, insn, 0), *gpr = cpu->s.gpr;
    uint16_t hf = x86_hf(cpu);

    switch (insn->op[0].size) {
    case 1: x86_gpr_write(cpu, X86_RAX, 2, imul_byte((uint8_t)gpr[0], (uint8_t)v, &hf)); break;
    case 2: WIDE(imulw, 16)
    case 4: WIDE(imulw, 32)
    default: WIDE(imulw, 64)
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

/* One, two or three operands; the two-operand form reads its destination. */
void x86_exec_IMUL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t hf = x86_hf(cpu);
    uint64_t a, b;

    if (insn->operands == 1) {
        imul_wide(cpu, insn);
        return;
    }
    a = x86_operand_read(cpu, insn, insn->operands == 2 ? 0 : 1);
    b = x86_operand_read(cpu, insn, insn->operands == 2 ? 1 : 2);
    x86_operand_write(cpu, insn, 0, x86_alu_imul(a, b, insn->op[0].size, &hf));
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

/* ---- division ---------------------------------------------------------- */

#define BYTE_DIV(name, insn)                                                            \
    static uint16_t name(uint16_t ax, uint8_t v, uint16_t *hf)                          \
    {                                                                                   \
        uint64_t f = *hf, a = ax;                                                       \
                                                                                        \
        __asm__("xchgq %[f], %%rax\n\t" X86_HF_TO_HOST "movq %[f], %%rax\n\t"           \
                insn " %[v]\n\tmovq %%rax, %[f]" X86_HF_FROM_HOST                       \
                : [f] "+&r"(f), "+&a"(a) : [v] "q"(v) : "cc");                          \
        *hf = (uint16_t)a;                                                              \
        return (uint16_t)f;                                                             \
    }
BYTE_DIV(div_byte, "divb")
BYTE_DIV(idiv_byte, "idivb")

static unsigned __int128 dividend(const struct x86_cpu *cpu, unsigned size)
{
    uint64_t a = cpu->s.gpr[X86_RAX], d = cpu->s.gpr[X86_RDX];

    switch (size) {
    case 1: return (uint16_t)a;
    case 2: return (uint32_t)(uint16_t)d << 16 | (uint16_t)a;
    case 4: return (uint64_t)(uint32_t)d << 32 | (uint32_t)a;
    default: return (unsigned __int128)d << 64 | a;
    }
}

/* #DE: by zero, or a quotient that does not fit. Without dividing: the
 * quotient has at most `bits` bits exactly when high half < divisor. */
static bool div_overflows(unsigned __int128 n, uint64_t v, unsigned size)
{
    return (uint64_t)(n >> size * 8) >= v;
}

static bool idiv_overflows(unsigned __int128 n, uint64_t v, unsigned size)
{
    unsigned bits = size * 8;
    bool n_negative = n >> (2 * bits - 1) & 1, v_negative = v >> (bits - 1) & 1;
    unsigned __int128 wide = bits == 64 ? ~(unsigned __int128)0
                                        : ((unsigned __int128)1 << 2 * bits) - 1;
    unsigned __int128 n_abs = n_negative ? -n & wide : n;
    uint64_t v_abs = v_negative ? -v & x86_size_mask(size) : v;
    uint64_t limit = (1ull << (bits - 1)) - 1 + (n_negative != v_negative);

    /* |q| <= limit exactly when |n| < (limit + 1) * |v|. */
    return !v_abs || n_abs >= ((unsigned __int128)limit + 1) * v_abs;
}

void x86_exec_DIV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->op[0].size;
    uint64_t v = x86_operand_read(cpu, insn, 0), *gpr = cpu->s.gpr;
    uint16_t hf = x86_hf(cpu);

    if (div_overflows(dividend(cpu, size), v, size))
        x86_raise(cpu, X86_DE);
    switch (size) {
    case 1: x86_gpr_write(cpu, X86_RAX, 2, div_byte((uint16_t)gpr[0], (uint8_t)v, &hf)); break;
    case 2: WIDE(div, 16)
    case 4: WIDE(div, 32)
    default: WIDE(div, 64)
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

void x86_exec_IDIV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->op[0].size;
    uint64_t v = x86_operand_read(cpu, insn, 0), *gpr = cpu->s.gpr;
    uint16_t hf = x86_hf(cpu);

    if (idiv_overflows(dividend(cpu, size), v, size))
        x86_raise(cpu, X86_DE);
    switch (size) {
    case 1: x86_gpr_write(cpu, X86_RAX, 2, idiv_byte((uint16_t)gpr[0], (uint8_t)v, &hf)); break;
    case 2: WIDE(idiv, 16)
    case 4: WIDE(idiv, 32)
    default: WIDE(idiv, 64)
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

/* ---- decimal arithmetic ------------------------------------------------
 *
 * Flags that the SDM leaves undefined are those of the addition or subtraction
 * that the adjustment is, as on AMD's processors: of AX for AAA and AAS, of AL
 * for the others. */

static void decimal_done(struct x86_cpu *cpu, const struct x86_insn *insn, uint16_t ax,
                         uint16_t hf)
{
    x86_gpr_write(cpu, X86_RAX, 2, ax);
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

static uint16_t with_carries(uint16_t hf, bool carry, bool adjust)
{
    hf &= (uint16_t) ~(X86_HF_CF | X86_HF_AF);
    return (uint16_t)(hf | (carry ? X86_HF_CF : 0) | (adjust ? X86_HF_AF : 0));
}

static bool decimal_adjust_due(const struct x86_cpu *cpu, uint8_t al)
{
    return (al & 0xf) > 9 || (cpu->s.rflags & X86_FLAG_AF);
}

void x86_exec_AAA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t ax = (uint16_t)cpu->s.gpr[X86_RAX], hf = 0;
    bool due = decimal_adjust_due(cpu, (uint8_t)ax);

    ax = (uint16_t)x86_alu_add(ax, due ? 0x106 : 0, 2, &hf);
    decimal_done(cpu, insn, ax & 0xff0f, with_carries(hf, due, due));
}

void x86_exec_AAS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t ax = (uint16_t)cpu->s.gpr[X86_RAX], hf = 0;
    bool due = decimal_adjust_due(cpu, (uint8_t)ax);

    ax = (uint16_t)x86_alu_sub(ax, due ? 0x106 : 0, 2, &hf);
    decimal_done(cpu, insn, ax & 0xff0f, with_carries(hf, due, due));
}

void x86_exec_AAM(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint8_t al = (uint8_t)cpu->s.gpr[X86_RAX], base = (uint8_t)insn->imm[0];
    uint16_t hf = 0;

    if (!base)
        x86_raise(cpu, X86_DE);
    x86_alu_add(al % base, 0, 1, &hf);
    decimal_done(cpu, insn, (uint16_t)((al / base) << 8 | al % base), hf);
}

void x86_exec_AAD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t ax = (uint16_t)cpu->s.gpr[X86_RAX], hf = 0;
    uint8_t tens = (uint8_t)((ax >> 8) * (uint8_t)insn->imm[0]);

    ax = (uint8_t)x86_alu_add((uint8_t)ax, tens, 1, &hf);
    decimal_done(cpu, insn, ax, hf);
}

/* DAA and DAS differ in the sign of the adjustment and in when the low digit's
 * adjustment carries out. */
static void decimal_packed(struct x86_cpu *cpu, const struct x86_insn *insn, int sign)
{
    uint16_t ax = (uint16_t)cpu->s.gpr[X86_RAX], hf = 0;
    uint8_t al = (uint8_t)ax, by = 0;
    bool old_cf = cpu->s.rflags & X86_FLAG_CF, adjust = decimal_adjust_due(cpu, al);
    bool high = al > 0x99 || old_cf, carry = high;

    if (adjust) {
        by += 6;
        carry |= sign < 0 && al < 6;
    }
    if (high)
        by += 0x60;
    al = (uint8_t)(sign > 0 ? x86_alu_add(al, by, 1, &hf) : x86_alu_sub(al, by, 1, &hf));
    decimal_done(cpu, insn, (uint16_t)((ax & 0xff00) | al), with_carries(hf, carry, adjust));
}

void x86_exec_DAA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    decimal_packed(cpu, insn, 1);
}

void x86_exec_DAS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    decimal_packed(cpu, insn, -1);
}
