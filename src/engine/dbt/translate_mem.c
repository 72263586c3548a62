/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_mem.c - guest addresses: computing them, translating them.
 *
 * Everything here leaves flags alone; see dbt.h for the shape of an access and
 * why it is safe.
 */
#include "engine/dbt/translate.h"

#include "base/bug.h"

void dbt_emit_get(struct dbt_translation *t, enum host_reg to, unsigned gpr)
{
    if (t->home[gpr] == H_NONE)
        emit_load(&t->e, to, dbt_slot(gpr));
    else
        emit_mov_rr(&t->e, to, t->home[gpr]);
}

void dbt_emit_put(struct dbt_translation *t, unsigned gpr, enum host_reg from)
{
    if (t->home[gpr] == H_NONE)
        emit_store(&t->e, dbt_slot(gpr), from);
    else
        emit_mov_rr(&t->e, t->home[gpr], from);
}

/* A register to use in an address: its home, or `scratch` loaded from the frame. */
static enum host_reg address_reg(struct dbt_translation *t, unsigned gpr, enum host_reg scratch)
{
    if (t->home[gpr] != H_NONE)
        return t->home[gpr];
    emit_load(&t->e, scratch, dbt_slot(gpr));
    return scratch;
}

static bool emit_segment(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned seg = insn->mem.seg;

    if (t->mode & DBT_MODE_SEGMENTS) {
        t->seg = (uint8_t)seg;  /* dbt_emit_access() */
        return true;
    }
    if (seg == X86_CS && t->code_bits != 64)
        return false;           /* not writable, perhaps not readable */
    if (seg != X86_FS && seg != X86_GS)
        return true;            /* flat: 64-bit mode, or checked by the dispatcher */
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, seg_base) + 8 * seg));
    if (t->code_bits == 64) {
        emit_lea(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
        return true;
    }
    emit_lea32(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
    return t->mode & (seg == X86_FS ? DBT_MODE_FS : DBT_MODE_GS);
}

void dbt_emit_sum(struct dbt_translation *t, enum host_reg to, unsigned address_bits,
                  struct host_mem sum)
{
    if (address_bits == 64)
        emit_lea(&t->e, to, sum);
    else
        emit_lea32(&t->e, to, sum);
    if (address_bits == 16)
        emit_movzx16(&t->e, to, to);
}

static uint64_t cut(uint64_t a, unsigned address_bits)
{
    return address_bits == 64 ? a : a & ((1ull << address_bits) - 1);
}

bool dbt_emit_address(struct dbt_translation *t, const struct x86_insn *insn, bool with_segment)
{
    const struct x86_mem *m = &insn->mem;
    struct host_mem h = {.base = H_NONE, .index = H_NONE, .scale = m->scale,
                               .disp = (int32_t)m->disp};

    if (m->vsib)
        return false;
    if (m->base == X86_REG_RIP) {
        uint64_t next = t->insn[t->insns].rip + insn->length;
        emit_mov_ri(&t->e, H_R11, cut(next + (uint64_t)m->disp, insn->address_bits));
    } else if (m->base == X86_REG_NONE && m->index == X86_REG_NONE) {
        emit_mov_ri(&t->e, H_R11, cut((uint64_t)m->disp, insn->address_bits));
    } else {
        if (m->base != X86_REG_NONE)
            h.base = (uint8_t)address_reg(t, m->base, H_R11);
        if (m->index != X86_REG_NONE)
            h.index = (uint8_t)address_reg(t, m->index, H_RCX);
        dbt_emit_sum(t, H_R11, insn->address_bits, h);
    }
    return !with_segment || emit_segment(t, insn);
}

static unsigned cross_index(unsigned size)
{
    unsigned i = 0;

    while ((2u << i) < size)
        i++;
    BUG_ON(i >= DBT_CROSS_SIZES);
    return i;
}

struct host_mem dbt_cross_mask(unsigned size)
{
    return h_frame(offsetof(struct dbt_frame, cross_mask) + 8 * cross_index(size));
}

struct host_mem dbt_align_mask(unsigned size)
{
    return h_frame(offsetof(struct dbt_frame, align_mask) + 8 * cross_index(size));
}

static void slow_if_zero(struct dbt_translation *t, enum dbt_stub_kind kind,
                         const struct host_mem *address, unsigned size, bool write)
{
    struct dbt_stub *s;

    if (t->dead) {
        if (kind == DBT_STUB_EXIT)
            emit_test_rr(&t->e, H_RCX, H_RCX);
        s = dbt_late_here(t, kind, DBT_EXIT_SLOW, CC_E);
    } else {
        s = dbt_stub_here(t, kind, DBT_EXIT_SLOW);
    }
    s->address = *address;
    s->size = (uint8_t)size;
    s->write = write;
}

static struct host_mem moved_by(struct host_mem m, int32_t n)
{
    m.disp += n;
    return m;
}

/* To the stub if [address, address+size) is so close to the end of its page that it
 * may cross it: an address within the last slot of size (a power of two, at least 8)
 * makes the bits above the slot zero when one slot is added. For the common sizes
 * the bits are singled out by a rotation by 3 and a shift by 55, for which the
 * frame pointer serves as count: PEXT can only start once in a cycle. */
static void emit_cross_check(struct dbt_translation *t, const struct host_mem *address,
                             unsigned size, bool write)
{
    uint32_t slot = size <= 8 ? 8 : 2u << cross_index(size);
    struct emit *e = &t->e;

    dbt_reach(t, 32);
    if (t->dead) {
        emit_lea32(e, H_RCX, moved_by(*address, (int32_t)slot));
        emit_test32_ri(e, H_RCX, PAGE_SIZE - slot);
    } else if (size <= 8) {
        emit_lea(e, H_RCX, moved_by(*address, 8));
        emit_rorx(e, H_RCX, H_RCX, 3);
        emit_shlx(e, H_RCX, H_RCX, H_RSP);
    } else {
        emit_lea(e, H_RCX, moved_by(*address, (int32_t)slot));
        emit_pext(e, H_RCX, H_RCX, dbt_cross_mask(size));
    }
    slow_if_zero(t, DBT_STUB_CROSS, address, size, write);
}

void dbt_emit_lookup(struct dbt_translation *t, enum host_reg address, bool write)
{
    struct emit *e = &t->e;

    emit_pext(e, H_RCX, address, h_frame(offsetof(struct dbt_frame, page_mask)));
    if (write)
        emit_load(e, H_RCX, h_index(H_RSP, H_RCX, 8, H_FRAME_BIAS + dbt_tables_write_disp()));
    else
        emit_load(e, H_RCX, (struct host_mem){.base = H_NONE, .index = H_RCX, .scale = 8,
                                               .seg = H_SEG_GS});
}

/* From the offset in r11 to the linear address: leaves if the last byte is not in the
 * segment. The sum is negative as long as it is. */
static void emit_bounds(struct dbt_translation *t, unsigned size, bool write)
{
    size_t seg = 8 * (size_t)t->seg;
    size_t room = offsetof(struct dbt_frame, seg_room) + sizeof(uint64_t[X86_SEG_COUNT]) * write;

    dbt_reach(t, 48);
    emit_load(&t->e, H_RCX, h_frame(room + seg));
    emit_lea(&t->e, H_RCX, h_index(H_RCX, H_R11, 1, (int32_t)size - 1));
    if (t->dead) {
        emit_test_rr(&t->e, H_RCX, H_RCX);
        dbt_late_here(t, DBT_STUB_EXIT, DBT_EXIT_INTERP, CC_NS);
    } else {
        emit_pext(&t->e, H_RCX, H_RCX, h_frame(offsetof(struct dbt_frame, high_mask)));
        dbt_stub_here(t, DBT_STUB_EXIT, DBT_EXIT_INTERP);
    }
    emit_load(&t->e, H_RCX, h_frame(offsetof(struct dbt_frame, seg_base) + seg));
    emit_lea32(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
}

void dbt_emit_access(struct dbt_translation *t, unsigned size, bool write)
{
    const struct host_mem address = h_base(H_R11, 0);

    if (t->mode & DBT_MODE_SEGMENTS)
        emit_bounds(t, size, write);
    if (size > 1 && !t->aligned)
        emit_cross_check(t, &address, size, write);
    dbt_reach(t, 32);
    dbt_emit_lookup(t, H_R11, write);
    slow_if_zero(t, DBT_STUB_EXIT, &address, size, write);
    dbt_reach(t, 64);           /* for whatever is done with the address */
}

void dbt_emit_fold(struct dbt_translation *t)
{
    emit_lea(&t->e, H_R11, h_index(H_R11, H_RCX, 1, 0));
}

/* The address as one host operand without scratch registers, if it is one. */
static bool plain_address(const struct dbt_translation *t, const struct x86_insn *insn,
                          struct host_mem *out)
{
    const struct x86_mem *m = &insn->mem;

    *out = (struct host_mem){.base = H_NONE, .index = H_NONE, .scale = m->scale,
                               .disp = (int32_t)m->disp};
    if (insn->address_bits != 64 || m->vsib || m->seg == X86_FS || m->seg == X86_GS ||
        m->base == X86_REG_RIP || (m->base == X86_REG_NONE && m->index == X86_REG_NONE) ||
        m->disp > INT32_MAX - 256 || m->disp < INT32_MIN)
        return false;
    if (m->base != X86_REG_NONE && (out->base = t->home[m->base]) == H_NONE)
        return false;
    return m->index == X86_REG_NONE || (out->index = t->home[m->index]) != H_NONE;
}

/* Leaves r11 alone: the addend goes to rcx and takes a place in the operand. */
static void emit_plain(struct dbt_translation *t, struct host_mem address, unsigned size,
                       bool write, struct host_mem *out)
{
    enum host_reg from = H_RCX;

    if (size > 1 && !t->aligned)
        emit_cross_check(t, &address, size, write);
    dbt_reach(t, 40);
    if (address.base != H_NONE && address.index == H_NONE && !address.disp &&
        !emit_is_plain(&t->e))
        from = address.base;
    else
        emit_lea(&t->e, H_RCX, address);
    dbt_emit_lookup(t, from, write);
    slow_if_zero(t, DBT_STUB_EXIT, &address, size, write);
    dbt_reach(t, 64);
    *out = address;
    if (address.index == H_NONE) {
        out->index = H_RCX;
        out->scale = 1;
        return;
    }
    if (address.base != H_NONE)
        emit_lea(&t->e, H_RCX, h_index(address.base, H_RCX, 1, 0));
    out->base = H_RCX;
}

/* The address is a constant, and what is there does not cross a page. */
static bool known_within_page(const struct dbt_translation *t, const struct x86_insn *insn)
{
    const struct x86_mem *m = &insn->mem;
    uint64_t a = (uint64_t)m->disp;

    if (t->mode & DBT_MODE_SEGMENTS || m->seg >= X86_FS || m->index != X86_REG_NONE ||
        (m->base != X86_REG_NONE && m->base != X86_REG_RIP))
        return false;
    if (m->base == X86_REG_RIP)
        a += t->insn[t->insns].rip + insn->length;
    return (a & PAGE_OFFSET_MASK) + m->size <= PAGE_SIZE;
}

bool dbt_emit_operand(struct dbt_translation *t, const struct x86_insn *insn, bool write,
                      bool keep_rcx, struct host_mem *out)
{
    unsigned size = insn->mem.size;
    bool aligned = t->aligned;
    struct host_mem address;

    if (dbt_cluster_operand(t, out))
        return true;
    if (!keep_rcx && plain_address(t, insn, &address)) {
        emit_plain(t, address, size, write, out);
        t->keeps_current = true;
        return true;
    }
    if (!dbt_emit_address(t, insn, true))
        return false;
    t->aligned |= known_within_page(t, insn);
    dbt_emit_access(t, size, write);
    t->aligned = aligned;                   /* there may be another access */
    if (keep_rcx)
        dbt_emit_fold(t);
    *out = keep_rcx ? h_base(H_R11, 0) : h_index(H_R11, H_RCX, 1, 0);
    return true;
}
