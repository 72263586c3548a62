/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_move.c - moving, exchanging, converting; flags as such; hints.
 */
#include "x86/exec_ops.h"

#include <Zydis/Zydis.h>
#include "x86/cpuid.h"

/* ---- plain moves ------------------------------------------------------- */

static void move(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t v)
{
    x86_operand_write(cpu, insn, 0, v);
    x86_next(cpu, insn);
}

void x86_exec_MOV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    move(cpu, insn, x86_operand_read(cpu, insn, 1));
}

void x86_exec_MOVZX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    move(cpu, insn, x86_operand_read(cpu, insn, 1));
}

void x86_exec_MOVSX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t v = x86_operand_read(cpu, insn, 1);

    move(cpu, insn, (uint64_t)x86_sign_extend(v, insn->op[1].size));
}

void x86_exec_MOVBE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->op[0].size;

    move(cpu, insn, __builtin_bswap64(x86_operand_read(cpu, insn, 1)) >> (64 - size * 8));
}

void x86_exec_LEA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    move(cpu, insn, x86_ea(cpu, insn));
}

/* Reads memory and clears the upper half whether or not it moves. */
void x86_exec_CMOVZ(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t v = x86_operand_read(cpu, insn, 1);

    if (!x86_hf_condition(x86_hf(cpu), x86_insn_condition(insn)))
        v = x86_operand_read(cpu, insn, 0);
    move(cpu, insn, v);
}

void x86_exec_SETZ(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    move(cpu, insn, x86_hf_condition(x86_hf(cpu), x86_insn_condition(insn)));
}

void x86_exec_XLAT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t ea = cpu->s.gpr[X86_RBX] + (uint8_t)cpu->s.gpr[X86_RAX];
    gva_t a = x86_linear(cpu, (enum x86_seg)insn->mem.seg,
                         ea & x86_size_mask(insn->address_bits / 8), 1, X86_READ);

    x86_gpr_write(cpu, X86_RAX, 1, x86_read(cpu, a, 1));
    x86_next(cpu, insn);
}

/* ---- exchanges --------------------------------------------------------- */

static uint64_t alu_second(uint64_t a, uint64_t b, unsigned size, uint16_t *hf)
{
    return b;
}

/* The memory operand is the first in the encodings that have one; XCHG with
 * memory locks without being asked. */
void x86_exec_XCHG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned mem = insn->op[1].kind == X86_OPND_MEM, size = insn->op[0].size;
    uint64_t b = x86_operand_read(cpu, insn, !mem), a;
    uint16_t hf = 0;

    if (insn->op[mem].kind == X86_OPND_MEM) {
        gva_t at = x86_ea_linear(cpu, insn, size, X86_WRITE);

        a = x86_update_mem(cpu, at, size, true, alu_second, b, &hf);
    } else {
        a = x86_operand_read(cpu, insn, mem);
        x86_operand_write(cpu, insn, mem, b);
    }
    x86_operand_write(cpu, insn, !mem, a);
    x86_next(cpu, insn);
}

void x86_exec_XADD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->op[0].size;
    uint64_t b = x86_operand_read(cpu, insn, 1), a;
    uint16_t hf = 0;

    if (insn->op[0].kind == X86_OPND_MEM) {
        gva_t at = x86_ea_linear(cpu, insn, size, X86_WRITE);

        a = x86_update_mem(cpu, at, size, insn->lock, x86_alu_add, b, &hf);
        x86_operand_write(cpu, insn, 1, a);
    } else {
        a = x86_operand_read(cpu, insn, 0);
        x86_operand_write(cpu, insn, 1, a);
        x86_operand_write(cpu, insn, 0, x86_alu_add(a, b, size, &hf));
    }
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

/* Operands of CMPXCHG for x86_update_mem, which has room for one. */
struct exchange { uint64_t expected, new; };

static uint64_t alu_exchange(uint64_t a, uint64_t b, unsigned size, uint16_t *hf)
{
    const struct exchange *x = (const struct exchange *)(uintptr_t)b;

    x86_alu_sub(x->expected, a, size, hf);
    return *hf & X86_HF_ZF ? x->new : a;
}

/* The destination is written in either case (SDM vol. 2, CMPXCHG), which a
 * 32-bit register destination shows by losing its upper half; AMD's processors
 * leave such a register alone. */
void x86_exec_CMPXCHG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->op[0].size;
    struct exchange x = {x86_gpr_read(cpu, X86_RAX, size), x86_operand_read(cpu, insn, 1)};
    uint16_t hf = 0;
    uint64_t old;

    if (insn->op[0].kind == X86_OPND_MEM) {
        gva_t at = x86_ea_linear(cpu, insn, size, X86_WRITE);

        old = x86_update_mem(cpu, at, size, insn->lock, alu_exchange, (uintptr_t)&x, &hf);
    } else {
        old = x86_operand_read(cpu, insn, 0);
        x.new = alu_exchange(old, (uintptr_t)&x, size, &hf);
        if ((hf & X86_HF_ZF) || !cpu->model->amd)
            x86_operand_write(cpu, insn, 0, x.new);
    }
    if (!(hf & X86_HF_ZF))
        x86_gpr_write(cpu, X86_RAX, size, old);
    x86_set_hf(cpu, hf);
    x86_next(cpu, insn);
}

/* Memory against expected, replaced by `new` if equal, else written back; the
 * old value comes back in `expected`. */
static bool exchange_at(uint8_t *p, unsigned size, uint64_t expected[2], const uint64_t new[2])
{
    bool same;

    if (size == 16) {
        __asm__ volatile("lock cmpxchg16b %[mem]"
                         : "+a"(expected[0]), "+d"(expected[1]),
                           [mem] "+m"(*(uint8_t(*)[16])p), "=@ccz"(same)
                         : "b"(new[0]), "c"(new[1]) : "memory");
        return same;
    }
    __asm__ volatile("lock cmpxchgq %[new], %[mem]"
                     : "+a"(expected[0]), [mem] "+m"(*(uint8_t(*)[8])p), "=@ccz"(same)
                     : [new] "r"(new[0]) : "memory");
    return same;
}

/* Of 8 bytes in two places; see x86_update_mem. */
static bool exchange_split(struct x86_cpu *cpu, const struct x86_locked *l, uint64_t *expected,
                           uint64_t new)
{
    uint64_t old;
    bool same;

    cpu->ops->split_lock(cpu->env, true);
    memcpy(&old, l->p[0], l->bytes[0]);
    memcpy((uint8_t *)&old + l->bytes[0], l->p[1], l->bytes[1]);
    same = old == *expected;
    if (same) {
        memcpy(l->p[0], &new, l->bytes[0]);
        memcpy(l->p[1], (uint8_t *)&new + l->bytes[0], l->bytes[1]);
    }
    cpu->ops->split_lock(cpu->env, false);
    *expected = old;
    return same;
}

static bool exchange_block(struct x86_cpu *cpu, gva_t at, unsigned size, uint64_t expected[2],
                           const uint64_t new[2])
{
    uint8_t *p = x86_host_ptr(cpu, at, size, X86_WRITE);
    struct x86_locked locked;
    uint64_t old[2] = {0};
    bool same;

    if (p)
        return exchange_at(p, size, expected, new);
    /* CMPXCHG16B is aligned: it is never in two places. */
    if (x86_locked_ptr(cpu, at, size, &locked) && (locked.whole || size == 8)) {
        same = locked.whole ? exchange_at(locked.p[0], size, expected, new)
                            : exchange_split(cpu, &locked, expected, new[0]);
        x86_locked_done(cpu, &locked);
        return same;
    }
    x86_probe(cpu, at, size, X86_WRITE);
    x86_read_block(cpu, at, old, size);
    same = old[0] == expected[0] && (size == 8 || old[1] == expected[1]);
    x86_write_block(cpu, at, same ? new : old, size);
    expected[0] = old[0];
    expected[1] = old[1];
    return same;
}

void x86_exec_CMPXCHG8B(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t *gpr = cpu->s.gpr;
    gva_t at = x86_ea_linear(cpu, insn, 8, X86_WRITE);
    uint64_t expected[2] = {gpr[X86_RDX] << 32 | (uint32_t)gpr[X86_RAX], 0};
    uint64_t new[2] = {gpr[X86_RCX] << 32 | (uint32_t)gpr[X86_RBX], 0};

    if (exchange_block(cpu, at, 8, expected, new)) {
        cpu->s.rflags |= X86_FLAG_ZF;
    } else {
        cpu->s.rflags &= ~(uint64_t)X86_FLAG_ZF;
        x86_gpr_write(cpu, X86_RAX, 4, expected[0]);
        x86_gpr_write(cpu, X86_RDX, 4, expected[0] >> 32);
    }
    x86_next(cpu, insn);
}

void x86_exec_CMPXCHG16B(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t *gpr = cpu->s.gpr;
    bool based = insn->mem.seg == X86_FS || insn->mem.seg == X86_GS;
    uint64_t base = based ? cpu->s.seg[insn->mem.seg].base : 0;
    uint64_t expected[2] = {gpr[X86_RAX], gpr[X86_RDX]}, new[2] = {gpr[X86_RBX], gpr[X86_RCX]};
    gva_t at;

    /* Comes before the address is found not to be canonical, which is #SS on the stack. */
    if ((x86_ea(cpu, insn) + base) & 15)
        x86_gp0(cpu);
    at = x86_ea_linear(cpu, insn, 16, X86_WRITE);
    if (exchange_block(cpu, at, 16, expected, new)) {
        cpu->s.rflags |= X86_FLAG_ZF;
    } else {
        cpu->s.rflags &= ~(uint64_t)X86_FLAG_ZF;
        gpr[X86_RAX] = expected[0];
        gpr[X86_RDX] = expected[1];
    }
    x86_next(cpu, insn);
}

/* ---- conversions within registers -------------------------------------- */

/* With a 16-bit operand the result is undefined: the host says what it is. */
void x86_exec_BSWAP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t v = cpu->s.gpr[insn->op[0].reg];

    switch (insn->op[0].size) {
    case 2: __asm__(".byte 0x66, 0x0f, 0xc8" : "+a"(v)); break;    /* bswap %ax */
    case 4: v = __builtin_bswap32((uint32_t)v); break;
    default: v = __builtin_bswap64(v); break;
    }
    cpu->s.gpr[insn->op[0].reg] = v;
    x86_next(cpu, insn);
}

/* AL to AX, AX to EAX, EAX to RAX. */
static void widen(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size)
{
    int64_t v = x86_sign_extend(cpu->s.gpr[X86_RAX], size / 2);

    x86_gpr_write(cpu, X86_RAX, size, (uint64_t)v);
    x86_next(cpu, insn);
}

/* rDX = sign of rAX. */
static void spread_sign(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size)
{
    int64_t v = x86_sign_extend(cpu->s.gpr[X86_RAX], size);

    x86_gpr_write(cpu, X86_RDX, size, v < 0 ? ~0ull : 0);
    x86_next(cpu, insn);
}

void x86_exec_CBW(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    widen(cpu, insn, 2);
}

void x86_exec_CWDE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    widen(cpu, insn, 4);
}

void x86_exec_CDQE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    widen(cpu, insn, 8);
}

void x86_exec_CWD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    spread_sign(cpu, insn, 2);
}

void x86_exec_CDQ(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    spread_sign(cpu, insn, 4);
}

void x86_exec_CQO(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    spread_sign(cpu, insn, 8);
}

/* ---- flags ------------------------------------------------------------- */

static void change_flags(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t clear,
                         uint64_t set)
{
    cpu->s.rflags = (cpu->s.rflags & ~clear) | set;
    x86_next(cpu, insn);
}

enum { AH_FLAGS = X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF };

void x86_exec_LAHF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint64_t ah = (cpu->s.rflags & AH_FLAGS) | X86_FLAG_1;

    cpu->s.gpr[X86_RAX] = (cpu->s.gpr[X86_RAX] & ~0xff00ull) | ah << 8;
    x86_next(cpu, insn);
}

void x86_exec_SAHF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    change_flags(cpu, insn, AH_FLAGS, cpu->s.gpr[X86_RAX] >> 8 & AH_FLAGS);
}

void x86_exec_SALC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_gpr_write(cpu, X86_RAX, 1, cpu->s.rflags & X86_FLAG_CF ? 0xff : 0);
    x86_next(cpu, insn);
}

void x86_exec_CLC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    change_flags(cpu, insn, X86_FLAG_CF, 0);
}

void x86_exec_STC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    change_flags(cpu, insn, 0, X86_FLAG_CF);
}

void x86_exec_CMC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    change_flags(cpu, insn, X86_FLAG_CF, ~cpu->s.rflags & X86_FLAG_CF);
}

void x86_exec_CLD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    change_flags(cpu, insn, X86_FLAG_DF, 0);
}

void x86_exec_STD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    change_flags(cpu, insn, 0, X86_FLAG_DF);
}

/* ---- hints, fences, checks --------------------------------------------- */

void x86_exec_NOP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_next(cpu, insn);
}

void x86_exec_MFENCE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    __asm__ volatile("mfence" : : : "memory");
    x86_next(cpu, insn);
}

/* Nothing to flush, but it faults as a load does. */
void x86_exec_CLFLUSH(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    x86_probe(cpu, x86_ea_linear(cpu, insn, 1, X86_READ), 1, X86_READ);
    x86_next(cpu, insn);
}

/* One bound: each wraps around the address size by itself. */
static int64_t bound_at(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size,
                        unsigned offset)
{
    uint64_t ea = (x86_ea(cpu, insn) + offset) & x86_size_mask(insn->address_bits / 8);
    gva_t at = x86_linear(cpu, (enum x86_seg)insn->mem.seg, ea, size, X86_READ);

    return x86_sign_extend(x86_read(cpu, at, size), size);
}

void x86_exec_BOUND(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->op[0].size;
    int64_t index = x86_sign_extend(x86_operand_read(cpu, insn, 0), size);
    int64_t low = bound_at(cpu, insn, size, 0), high = bound_at(cpu, insn, size, size);

    if (index < low || index > high)
        x86_raise(cpu, X86_BR);
    x86_next(cpu, insn);
}
