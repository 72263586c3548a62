/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_segment.c - instructions on segment registers where segments count.
 *
 * Reading one is a load from the frame. In real and virtual-8086 mode loading DS, ES,
 * FS or GS is two stores to it, for the selector and the base; what may be accessed
 * stays. In protected mode, and for SS, whose load holds interrupts off, it is the
 * interpreter's.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>

#define M(name) ZYDIS_MNEMONIC_##name

static struct host_mem selector(unsigned seg)
{
    return h_frame(offsetof(struct dbt_frame, seg_selector) + 8 * seg);
}

/* The segment register that it loads, or X86_SEG_COUNT. */
static unsigned loads(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(LDS): return X86_DS;
    case M(LES): return X86_ES;
    case M(LFS): return X86_FS;
    case M(LGS): return X86_GS;
    case M(MOV): case M(POP):
        return insn->op[0].kind == X86_OPND_SEG ? insn->op[0].reg : X86_SEG_COUNT;
    default: return X86_SEG_COUNT;
    }
}

bool dbt_loads_segment(const struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned seg = loads(insn);

    return t->mode & DBT_MODE_REAL && seg < X86_SEG_COUNT && seg != X86_CS && seg != X86_SS;
}

/* r11 = 16 bits from `from`. */
static void emit_selector(struct dbt_translation *t, struct host_mem from)
{
    dbt_emit_load_value(t, 2, H_R11, from);
}

static bool emit_mov_to(struct dbt_translation *t, const struct x86_insn *insn)
{
    struct host_mem from;

    if (insn->op[1].kind == X86_OPND_GPR) {
        dbt_emit_get(t, H_R11, insn->op[1].reg);
        return true;
    }
    if (!dbt_emit_operand(t, insn, false, false, &from))
        return false;
    emit_selector(t, from);
    return true;
}

static void emit_pop(struct dbt_translation *t, unsigned bytes)
{
    dbt_emit_top(t, H_R9);
    dbt_emit_access(t, 2, false);           /* of 4 bytes only the selector is read */
    emit_selector(t, h_index(H_R11, H_RCX, 1, 0));
    dbt_emit_sp_add(t, (int32_t)bytes);
}

/* Offset first, then selector: within one page, or the interpreter does it. */
static bool emit_far_pointer(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned bytes = insn->operand_bits / 8u;
    enum host_reg to = t->home[insn->op[0].reg];
    bool aligned = t->aligned;

    if (!dbt_emit_address(t, insn, true))
        return false;
    t->aligned = false;
    dbt_emit_access(t, bytes == 2 ? 4 : 8, false);
    t->aligned = aligned;
    dbt_emit_fold(t);
    emit_rm(&t->e, bytes == 2 ? 0x0f | 0xb7 << 8 : 0x8b, false, H_RCX, h_base(H_R11, 0));
    emit_selector(t, h_base(H_R11, (int32_t)bytes));
    if (bytes == 2)
        e8(&t->e, 0x66);
    emit_rr(&t->e, 0x8b, false, to, H_RCX);
    return true;
}

static struct host_mem scaled(enum host_reg index, uint8_t scale)
{
    return (struct host_mem){.base = H_NONE, .index = index, .scale = scale};
}

static bool emit_load_seg(struct dbt_translation *t, const struct x86_insn *insn)
{
    if (insn->mnemonic == M(MOV)) {
        if (!emit_mov_to(t, insn))
            return false;
    } else if (insn->mnemonic == M(POP)) {
        emit_pop(t, insn->operand_bits / 8u);
    } else if (insn->operand_bits != 16 || !emit_far_pointer(t, insn)) {
        return false;
    }
    emit_movzx16(&t->e, H_R11, H_R11);
    emit_store(&t->e, selector(loads(insn)), H_R11);
    emit_lea(&t->e, H_R11, scaled(H_R11, 8));
    emit_lea(&t->e, H_R11, scaled(H_R11, 2));
    emit_store(&t->e, h_frame(offsetof(struct dbt_frame, seg_base) + 8 * loads(insn)), H_R11);
    t->open = true;
    return true;
}

static bool emit_mov_from(struct dbt_translation *t, const struct x86_insn *insn)
{
    const struct x86_operand *to = &insn->op[0];
    struct host_mem at;

    if (to->kind == X86_OPND_GPR) {
        emit_load(&t->e, H_RCX, selector(insn->op[1].reg));
        if (to->size == 2)
            e8(&t->e, 0x66);
        emit_rr(&t->e, 0x8b, false, t->home[to->reg], H_RCX);
        return true;
    }
    if (!dbt_emit_operand(t, insn, true, true, &at))
        return false;
    emit_load(&t->e, H_RCX, selector(insn->op[1].reg));
    dbt_emit_store_value(t, 2, at, H_RCX);
    return true;
}

/* A push of 4 bytes writes 2 or 4, as the processor likes: the interpreter knows. */
static bool emit_push(struct dbt_translation *t, const struct x86_insn *insn)
{
    if (insn->operand_bits != 16)
        return false;
    dbt_emit_push_address(t, 2);
    dbt_emit_fold(t);
    emit_load(&t->e, H_RCX, selector(insn->op[0].reg));
    dbt_emit_store_value(t, 2, h_base(H_R11, 0), H_RCX);
    dbt_emit_sp_add(t, -2);
    return true;
}

bool dbt_emit_segment(struct dbt_translation *t, const struct x86_insn *insn)
{
    if (!(t->mode & DBT_MODE_SEGMENTS))
        return false;
    if (dbt_loads_segment(t, insn))
        return emit_load_seg(t, insn);
    if (insn->mnemonic == M(MOV) && insn->op[1].kind == X86_OPND_SEG)
        return emit_mov_from(t, insn);
    return insn->mnemonic == M(PUSH) && insn->op[0].kind == X86_OPND_SEG && emit_push(t, insn);
}
