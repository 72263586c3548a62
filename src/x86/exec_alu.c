/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_alu.c - arithmetic, logic, shifts, bits; in registers or memory.
 *
 * Read-modify-write on memory asks for write access first, so that a page
 * fault says W=1 and nothing is half done.
 */
#include "x86/exec_ops.h"

#include "base/byteorder.h"
#include "x86/cpuid.h"
#include "x86/cpuid_features.h"

/* ---- memory as a destination ------------------------------------------- */

static uint64_t load_host(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return *p;
    case 2: return get_le16(p);
    case 4: return get_le32(p);
    default: return get_le64(p);
    }
}

static void store_host(uint8_t *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: put_le16(p, (uint16_t)v); break;
    case 4: put_le32(p, (uint32_t)v); break;
    default: put_le64(p, v); break;
    }
}

/* In assembly because guest operands may be misaligned, which the compiler's
 * atomics do not allow for. */
#define CAS(sfx, bits)                                                                  \
    {                                                                                   \
        uint##bits##_t expected = (uint##bits##_t)*old;                                 \
        __asm__ volatile("lock cmpxchg" sfx " %[new], %[mem]"                           \
                         : "+a"(expected), [mem] "+m"(*(uint8_t(*)[bits / 8])p),        \
                           "=@ccz"(done)                                                \
                         : [new] "q"((uint##bits##_t)new) : "memory");                  \
        *old = expected;                                                                \
        break;                                                                          \
    }
static bool compare_and_swap(uint8_t *p, unsigned size, uint64_t *old, uint64_t new)
{
    bool done;

    switch (size) {
    case 1: CAS("b", 8)
    case 2: CAS("w", 16)
    case 4: CAS("l", 32)
    default: CAS("q", 64)
    }
    return done;
}

static uint64_t update_atomically(uint8_t *p, unsigned size, x86_alu_fn *alu, uint64_t b,
                                  uint16_t *hf)
{
    uint16_t before = *hf;
    uint64_t old = load_host(p, size), new;

    do {
        *hf = before;
        new = alu(old, b, size, hf);
    } while (!compare_and_swap(p, size, &old, new));
    return old;
}

/* Of bytes in two places: atomic among updates of this kind. */
static uint64_t update_split(struct x86_cpu *cpu, const struct x86_locked *l, unsigned size,
                             x86_alu_fn *alu, uint64_t b, uint16_t *hf)
{
    uint8_t bytes[8];
    uint64_t old;

    cpu->ops->split_lock(cpu->env, true);
    memcpy(bytes, l->p[0], l->bytes[0]);
    memcpy(bytes + l->bytes[0], l->p[1], l->bytes[1]);
    old = load_host(bytes, size);
    store_host(bytes, size, alu(old, b, size, hf));
    memcpy(l->p[0], bytes, l->bytes[0]);
    memcpy(l->p[1], bytes + l->bytes[0], l->bytes[1]);
    cpu->ops->split_lock(cpu->env, false);
    return old;
}

uint64_t x86_update_mem(struct x86_cpu *cpu, gva_t a, unsigned size, bool lock,
                        x86_alu_fn *alu, uint64_t b, uint16_t *hf)
{
    uint8_t *p = x86_host_ptr(cpu, a, size, X86_WRITE);
    struct x86_locked locked;
    uint64_t old;

    if (p && lock)
        return update_atomically(p, size, alu, b, hf);
    if (p) {
        old = load_host(p, size);
        store_host(p, size, alu(old, b, size, hf));
        return old;
    }
    if (lock && x86_locked_ptr(cpu, a, size, &locked)) {
        old = locked.whole ? update_atomically(locked.p[0], size, alu, b, hf)
                           : update_split(cpu, &locked, size, alu, b, hf);
        x86_locked_done(cpu, &locked);
        return old;
    }
    x86_probe(cpu, a, size, X86_WRITE);
    old = x86_read(cpu, a, size);
    x86_write(cpu, a, size, alu(old, b, size, hf));
    return old;
}

/* ---- two operands, one operand ----------------------------------------- */

static void update(struct x86_cpu *cpu, const struct x86_insn *insn, x86_alu_fn *alu, uint64_t b)
{
    unsigned size = insn->op[0].size;
    uint16_t hf = x86_hf(cpu);

    if (insn->op[0].kind == X86_OPND_MEM) {
        x86_update_mem(cpu, x86_ea_linear(cpu, insn, size, X86_WRITE), size, insn->lock, alu, b,
                       &hf);
    } else {
        uint64_t a = x86_operand_read(cpu, insn, 0);

        x86_operand_write(cpu, insn, 0, alu(a, b, size, &hf));
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

/* CMP and TEST: the result goes nowhere. */
static void compare(struct x86_cpu *cpu, const struct x86_insn *insn, x86_alu_fn *alu)
{
    uint64_t a = x86_operand_read(cpu, insn, 0), b = x86_operand_read(cpu, insn, 1);
    uint16_t hf = x86_hf(cpu);

    alu(a, b, insn->op[0].size, &hf);
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

#define BINARY(NAME, name)                                                              \
    void x86_exec_##NAME(struct x86_cpu *cpu, const struct x86_insn *insn)              \
    {                                                                                   \
        update(cpu, insn, x86_alu_##name, x86_operand_read(cpu, insn, 1));              \
    }
#define UNARY(NAME, name)                                                               \
    void x86_exec_##NAME(struct x86_cpu *cpu, const struct x86_insn *insn)              \
    {                                                                                   \
        update(cpu, insn, x86_alu_##name, 0);                                           \
    }
BINARY(ADD, add)
BINARY(OR, or)
BINARY(ADC, adc)
BINARY(SBB, sbb)
BINARY(AND, and)
BINARY(SUB, sub)
BINARY(XOR, xor)
BINARY(SHL, shl)
BINARY(SHR, shr)
BINARY(SAR, sar)
BINARY(ROL, rol)
BINARY(ROR, ror)
BINARY(RCL, rcl)
BINARY(RCR, rcr)
UNARY(INC, inc)
UNARY(DEC, dec)
UNARY(NEG, neg)
UNARY(NOT, not)

void x86_exec_CMP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    compare(cpu, insn, x86_alu_sub);
}

void x86_exec_TEST(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    compare(cpu, insn, x86_alu_and);
}

/* ---- SHLD, SHRD -------------------------------------------------------- */

/* Source and count travel in one value: x86_alu_fn has two operands. The
 * struct lives on the caller's stack. */
struct double_shift { uint64_t source; uint8_t count; };

#define DOUBLE_SHIFT(NAME, name)                                                        \
    static uint64_t alu_##name(uint64_t a, uint64_t b, unsigned size, uint16_t *hf)     \
    {                                                                                   \
        const struct double_shift *d = (const struct double_shift *)(uintptr_t)b;       \
                                                                                        \
        switch (size) {                                                                 \
        case 2: return x86_##name##_16((uint16_t)a, (uint16_t)d->source, d->count, hf); \
        case 4: return x86_##name##_32((uint32_t)a, (uint32_t)d->source, d->count, hf); \
        default: return x86_##name##_64(a, d->source, d->count, hf);                    \
        }                                                                               \
    }                                                                                   \
    void x86_exec_##NAME(struct x86_cpu *cpu, const struct x86_insn *insn)              \
    {                                                                                   \
        struct double_shift d = {x86_operand_read(cpu, insn, 1),                        \
                                 (uint8_t)x86_operand_read(cpu, insn, 2)};              \
                                                                                        \
        update(cpu, insn, alu_##name, (uintptr_t)&d);                                   \
    }
DOUBLE_SHIFT(SHLD, shld)
DOUBLE_SHIFT(SHRD, shrd)

/* ---- BT, BTS, BTR, BTC ------------------------------------------------- */

/* With a register bit offset, a memory operand is a bit string: the offset,
 * signed, selects the unit that is accessed (SDM vol. 2, BT). */
static gva_t bit_address(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t bit,
                         enum x86_access access)
{
    unsigned size = insn->op[0].size;
    uint64_t ea = x86_ea(cpu, insn);

    if (insn->op[1].kind != X86_OPND_IMM) {
        int64_t unit = x86_sign_extend(bit, size) >> (size == 2 ? 4 : size == 4 ? 5 : 6);

        ea = (ea + (uint64_t)unit * size) & x86_size_mask(insn->address_bits / 8);
    }
    return x86_linear(cpu, (enum x86_seg)insn->mem.seg, ea, size, access);
}

static void bit_op(struct x86_cpu *cpu, const struct x86_insn *insn, x86_alu_fn *alu)
{
    unsigned size = insn->op[0].size;
    uint64_t bit = x86_operand_read(cpu, insn, 1);
    uint16_t hf = x86_hf(cpu);

    if (insn->op[0].kind != X86_OPND_MEM) {
        uint64_t r = alu(x86_operand_read(cpu, insn, 0), bit, size, &hf);

        if (insn->op[0].written)
            x86_operand_write(cpu, insn, 0, r);
    } else if (insn->op[0].written) {
        x86_update_mem(cpu, bit_address(cpu, insn, bit, X86_WRITE), size, insn->lock, alu,
                       bit & (size * 8 - 1), &hf);
    } else {
        gva_t a = bit_address(cpu, insn, bit, X86_READ);

        alu(x86_read(cpu, a, size), bit & (size * 8 - 1), size, &hf);
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

void x86_exec_BT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bit_op(cpu, insn, x86_alu_bt);
}

void x86_exec_BTS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bit_op(cpu, insn, x86_alu_bts);
}

void x86_exec_BTR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bit_op(cpu, insn, x86_alu_btr);
}

void x86_exec_BTC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    bit_op(cpu, insn, x86_alu_btc);
}

/* ---- scans and counts -------------------------------------------------- */

/* The whole destination register goes through the host: what BSF leaves in it
 * for a zero source differs between processors. */
#define SCAN(name)                                                                      \
    static void scan_##name(struct x86_cpu *cpu, const struct x86_insn *insn)           \
    {                                                                                   \
        uint64_t b = x86_operand_read(cpu, insn, 1), *slot = &cpu->s.gpr[insn->op[0].reg]; \
        uint16_t hf = x86_hf(cpu);                                                      \
                                                                                        \
        switch (insn->op[0].size) {                                                     \
        case 2: *slot = x86_##name##_16(*slot, (uint16_t)b, &hf); break;                \
        case 4: *slot = x86_##name##_32(*slot, (uint32_t)b, &hf); break;                \
        default: *slot = x86_##name##_64(*slot, b, &hf); break;                         \
        }                                                                               \
        x86_set_hf(cpu, hf);                                                            \
        x86_next(cpu, insn);                                                            \
    }
SCAN(bsf)
SCAN(bsr)
SCAN(tzcnt)
SCAN(lzcnt)
SCAN(popcnt)

void x86_exec_BSF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    scan_bsf(cpu, insn);
}

void x86_exec_BSR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    scan_bsr(cpu, insn);
}

/* A processor without BMI1 ignores the F3 and executes BSF; LZCNT likewise. */
void x86_exec_TZCNT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (x86_feature(&cpu->model->features, X86_FEATURE_BMI1))
        scan_tzcnt(cpu, insn);
    else
        scan_bsf(cpu, insn);
}

void x86_exec_LZCNT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    if (x86_feature(&cpu->model->features, X86_FEATURE_LZCNT))
        scan_lzcnt(cpu, insn);
    else
        scan_bsr(cpu, insn);
}

void x86_exec_POPCNT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    scan_popcnt(cpu, insn);
}
