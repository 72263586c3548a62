/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * translate_insn.c - one instruction that is not a branch.
 *
 * The rule is to copy: bring operands that live in the frame into scratch
 * registers, translate the memory operand's address, emit the instruction with
 * the registers of the moment, store back. The exceptions are a short list.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include "x86/hostinsn.h"

#define M(name) ZYDIS_MNEMONIC_##name

/* Left to the interpreter: need more than scratch registers, keep or reset the
 * pointers of the x87, or do not exist in 64-bit mode. */
static bool left_alone(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(ENTER): case M(PUSHA): case M(PUSHAD): case M(POPA): case M(POPAD):
    case M(FNSTENV): case M(FLDENV): case M(FNSAVE): case M(FRSTOR): case M(FNINIT):
    case M(MASKMOVQ): case M(MASKMOVDQU): case M(VMASKMOVDQU):
    case M(AAA): case M(AAS): case M(DAA): case M(DAS): case M(AAM): case M(AAD):
    case M(SALC): case M(BOUND): case M(INTO): case M(ARPL):
        return true;
    case M(VZEROUPPER): case M(VZEROALL):
        return insn->code_bits != 64;           /* vector registers 8-15 stay */
    default:
        return insn->code_bits != 64 && !insn->modrm_at && insn->bytes[0] == 0x82;
    }
}

static bool does_nothing(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(NOP): case M(ENDBR32): case M(ENDBR64): case M(PREFETCH): case M(PREFETCHW):
    case M(PREFETCHNTA): case M(PREFETCHT0): case M(PREFETCHT1): case M(PREFETCHT2):
    case M(PREFETCHWT1):
        return true;
    default:
        return false;
    }
}

/* BT and its relatives on memory, with the bit offset in a register: the offset
 * moves the address by whole operands, signed, and what remains selects the bit. */
static bool is_bit_string(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(BT): case M(BTS): case M(BTR): case M(BTC):
        return insn->op[0].kind == X86_OPND_MEM && insn->op[1].kind == X86_OPND_GPR;
    default:
        return false;
    }
}

/* ---- LEA ---------------------------------------------------------------- */

static bool emit_lea_insn(struct dbt_translation *t, const struct x86_insn *insn)
{
    unsigned dst = insn->op[0].reg, size = insn->op[0].size;

    if (!dbt_emit_address(t, insn, false))
        return false;
    if (size == 2 && t->home[dst] == H_NONE) {
        e8(&t->e, 0x66);
        emit_rm(&t->e, 0x89, false, H_R11, dbt_slot(dst));
        return true;
    }
    if (size == 2) {
        e8(&t->e, 0x66);
        emit_rr(&t->e, 0x8b, false, t->home[dst], H_R11);
        return true;
    }
    if (size == 4)
        emit_mov32_rr(&t->e, H_R11, H_R11);
    dbt_emit_put(t, dst, H_R11);
    return true;
}

/* The common form, straight into the destination. */
static bool emit_lea_direct(struct dbt_translation *t, const struct x86_insn *insn)
{
    const struct x86_mem *m = &insn->mem;
    unsigned dst = insn->op[0].reg;
    struct host_mem h = {.base = H_NONE, .index = H_NONE, .scale = m->scale,
                               .disp = (int32_t)m->disp};

    if (insn->address_bits != 64 || insn->op[0].size < 4 || t->home[dst] == H_NONE ||
        m->base == X86_REG_RIP || (m->base == X86_REG_NONE && m->index == X86_REG_NONE))
        return false;
    if (m->base != X86_REG_NONE && (h.base = t->home[m->base]) == H_NONE)
        return false;
    if (m->index != X86_REG_NONE && (h.index = t->home[m->index]) == H_NONE)
        return false;
    if (insn->op[0].size == 4)
        emit_lea32(&t->e, t->home[dst], h);
    else
        emit_lea(&t->e, t->home[dst], h);
    t->keeps_current = true;
    return true;
}

/* ---- the copy ----------------------------------------------------------- */

enum { HIGH_MAX = 2 };

struct copy {
    struct x86_insn insn;       /* with high-byte operands replaced */
    struct reencode how;
    bool memory, write;
    bool to_tmp;                /* the memory operand is brought to frame.tmp first */
    unsigned moved;             /* explicit operands that need a scratch register */
    unsigned borrowed;          /* guest register whose host register serves as one, or NONE */
    bool rcx_in, rcx_out;       /* RCX by implication */
    uint8_t high[HIGH_MAX];     /* guest register whose second byte high_name() stands for */
    unsigned highs;
};

/* What stands for a high-byte operand: registers that need a REX prefix are never
 * named beside one. */
static unsigned high_name(unsigned i)
{
    return X86_R15 - i;
}

/* AH, CH, DH and BH cannot be named beside registers that need REX, such as our
 * scratch registers; rotated by 8 they are low bytes like others. */
static bool replace_highs(struct copy *c)
{
    for (unsigned i = 0; i < c->insn.operands; i++) {
        struct x86_operand *o = &c->insn.op[i];
        unsigned n = 0;

        if (o->kind != X86_OPND_GPR_HIGH)
            continue;
        while (n < c->highs && c->high[n] != o->reg)
            n++;
        if (n == c->highs)
            c->high[c->highs++] = o->reg;
        o->kind = X86_OPND_GPR;
        o->reg = (uint8_t)high_name(n);
        c->moved |= 1u << o->reg;
        if (o->written)
            c->insn.gprs_written |= 1u << o->reg;
    }
    /* Two results in one register. */
    return !c->highs || (c->insn.mnemonic != M(XCHG) && c->insn.mnemonic != M(XADD) &&
                         c->insn.mnemonic != M(CMPXCHG));
}

static uint32_t high_gprs(const struct copy *c)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < c->highs; i++)
        mask |= 1u << c->high[i];
    return mask;
}

static uint32_t explicit_gprs(const struct x86_insn *insn)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < insn->operands; i++) {
        const struct x86_operand *o = &insn->op[i];
        if (o->kind == X86_OPND_GPR && o->field != X86_FIELD_IMPLIED)
            mask |= 1u << o->reg;
    }
    return mask;
}

static uint32_t address_gprs(const struct x86_insn *insn)
{
    uint32_t mask = 0;

    if (insn->mem.base < X86_GPR_COUNT)
        mask |= 1u << insn->mem.base;
    if (insn->mem.index < X86_GPR_COUNT)
        mask |= 1u << insn->mem.index;
    return mask;
}

static bool rcx_is_implied(const struct x86_insn *insn)
{
    for (unsigned i = 0; i < insn->operands; i++) {
        if (insn->op[i].kind == X86_OPND_GPR && insn->op[i].reg == X86_RCX &&
            insn->op[i].field == X86_FIELD_IMPLIED)
            return true;
    }
    return false;
}

/* Which registers the encoding implies besides what it names. */
static bool plan_implied(const struct x86_insn *insn, uint32_t named, struct copy *c)
{
    uint32_t address = c->memory ? address_gprs(insn) : 0;
    uint32_t read = insn->gprs_read & ~named & ~address;
    uint32_t written = insn->gprs_written & ~named;
    uint32_t implied = read | written;

    /* RCX may be an address or named operand and implied as well. */
    if (rcx_is_implied(insn) || insn->mnemonic == M(CMPXCHG8B) || insn->mnemonic == M(CMPXCHG16B)) {
        c->rcx_in = true;
        implied &= ~(1u << X86_RCX);
    } else if (implied & 1u << X86_RCX) {
        c->rcx_in = read & 1u << X86_RCX;
        c->rcx_out = written & 1u << X86_RCX;
        implied &= ~(1u << X86_RCX);
    }
    c->how.implied = 1u << X86_RCX;
    return !(implied & DBT_MOVED);
}

static bool plan(const struct dbt_translation *t, struct copy *c)
{
    const struct x86_insn *insn = &c->insn;
    uint32_t named;

    if (!replace_highs(c))
        return false;
    named = explicit_gprs(insn);
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        c->how.host[i] = t->home[i];
    for (unsigned i = 0; i < insn->operands; i++) {
        if (insn->op[i].kind != X86_OPND_MEM)
            continue;
        if (insn->op[i].field == X86_FIELD_IMPLIED || !insn->modrm_at || !insn->mem.size ||
            insn->mem.size > 128)
            return false;
        c->memory = true;
        c->write = insn->op[i].written;
    }
    c->moved |= named & t->in_frame;
    return plan_implied(insn, named | high_gprs(c), c);
}

/* A guest register in a host register of its own that has nothing to do with `insn`. */
static unsigned unconcerned(const struct dbt_translation *t, const struct x86_insn *insn)
{
    uint32_t concerned = insn->gprs_read | insn->gprs_written | explicit_gprs(insn) |
                         address_gprs(insn) | DBT_MOVED | t->in_frame;
    unsigned g = 0;

    while (concerned & 1u << g)
        g++;
    return g;
}

/* Assigns scratch registers to operands that need one: rcx, unless the encoding
 * implies it; r11, unless the address is in it; and one that is put aside, but
 * only where nothing can fault any more. */
static bool plan_scratch(const struct dbt_translation *t, struct copy *c)
{
    bool rcx = c->rcx_in || c->rcx_out;
    unsigned needed = (unsigned)__builtin_popcount(c->moved) + rcx, n = 0;
    uint8_t scratch[3];

    c->borrowed = X86_REG_NONE;
    if (c->memory && needed > 1) {
        if (c->write || c->insn.mem.size > 8)
            return false;
        c->to_tmp = true;
    }
    if (needed > 3)
        return false;
    if (!rcx)
        scratch[n++] = H_RCX;
    scratch[n++] = H_R11;
    if (needed > 2) {
        c->borrowed = unconcerned(t, &c->insn);
        scratch[n++] = t->home[c->borrowed];
    }
    n = 0;
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (c->moved & 1u << g)
            c->how.host[g] = scratch[n++];
    }
    return true;
}

/* Behind the instruction, so that one that faults leaves the pointers alone. */
static void emit_x87_pointers(struct dbt_translation *t, const struct x86_insn *insn, bool memory)
{
    uint64_t fip = dbt_ip(t->mode, t->insn[t->insns].rip);
    const uint8_t *b = insn->bytes + insn->modrm_at;

    dbt_reach(t, 48);
    emit_store32_imm(&t->e, h_frame(offsetof(struct dbt_frame, x87.fip)), (uint32_t)fip);
    emit_store32_imm(&t->e, h_frame(offsetof(struct dbt_frame, x87.fip) + 4),
                     (uint32_t)(fip >> 32));
    emit_store32_imm(&t->e, h_frame(offsetof(struct dbt_frame, x87.fop)),
                     (b[-1] & 7u) << 8 | b[0]);
    if (memory) {
        emit_store(&t->e, h_frame(offsetof(struct dbt_frame, x87.fdp)), H_R11);
        emit_store32_imm(&t->e, h_frame(offsetof(struct dbt_frame, x87.fdp_seg)), insn->mem.seg);
    }
}

/* The address stays in r11, for the data pointer. */
static bool emit_x87_operand(struct dbt_translation *t, struct copy *c)
{
    if (!dbt_emit_address(t, &c->insn, true))
        return false;
    dbt_emit_access(t, c->insn.mem.size, c->write);
    c->how.mem = h_index(H_R11, H_RCX, 1, 0);
    return true;
}

/* Brings the memory operand to where the instruction will find it. */
static bool emit_operand(struct dbt_translation *t, struct copy *c)
{
    const struct x86_insn *insn = &c->insn;
    const struct host_mem tmp = h_frame(offsetof(struct dbt_frame, tmp));
    bool keep_rcx = !c->to_tmp && (c->moved || c->rcx_in || c->rcx_out);

    if (dbt_is_x87(insn))
        return emit_x87_operand(t, c);
    if (!dbt_emit_operand(t, insn, c->write, keep_rcx, &c->how.mem))
        return false;
    if (c->to_tmp) {
        if (insn->mem.size == 2)
            e8(&t->e, 0x66);
        emit_rm(&t->e, insn->mem.size == 1 ? 0x8a : 0x8b, insn->mem.size == 8, H_RCX, c->how.mem);
        emit_store(&t->e, tmp, H_RCX);
        c->how.mem = tmp;
    }
    return true;
}

static void emit_operands_in(struct dbt_translation *t, const struct copy *c)
{
    if (c->rcx_in)
        emit_mov_rr(&t->e, H_RCX, H_R10);
    if (c->borrowed != X86_REG_NONE)
        emit_store(&t->e, h_frame(offsetof(struct dbt_frame, kept)), t->home[c->borrowed]);
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (c->moved & t->in_frame & 1u << g)
            emit_load(&t->e, c->how.host[g], dbt_slot(g));
    }
    for (unsigned i = 0; i < c->highs; i++)
        emit_rorx(&t->e, c->how.host[high_name(i)], t->home[c->high[i]], 8);
}

static void emit_operands_out(struct dbt_translation *t, const struct copy *c)
{
    if (c->rcx_out)
        emit_mov_rr(&t->e, H_R10, H_RCX);
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if (c->moved & t->in_frame & c->insn.gprs_written & 1u << g)
            emit_store(&t->e, dbt_slot(g), c->how.host[g]);
    }
    for (unsigned i = 0; i < c->highs; i++) {
        if (c->insn.gprs_written & 1u << high_name(i))
            emit_rorx(&t->e, t->home[c->high[i]], c->how.host[high_name(i)], 56);
    }
    if (c->borrowed != X86_REG_NONE)
        emit_load(&t->e, t->home[c->borrowed], h_frame(offsetof(struct dbt_frame, kept)));
}

static bool uses_r11(const struct copy *c)
{
    for (unsigned g = 0; g < X86_GPR_COUNT; g++) {
        if ((c->moved & 1u << g) && c->how.host[g] == H_R11)
            return true;
    }
    return false;
}

bool dbt_copies_memory(const struct x86_insn *insn)
{
    if (insn->mnemonic == M(LEA) || left_alone(insn) || does_nothing(insn) || is_bit_string(insn) ||
        !insn->modrm_at || !insn->mem.size || dbt_is_x87(insn) || dbt_is_masked(insn))
        return false;
    return insn->class == X86_CLASS_INTEGER || insn->class == X86_CLASS_HOST;
}

static bool emit_copy(struct dbt_translation *t, const struct x86_insn *insn)
{
    struct copy c = {.insn = *insn};
    bool x87 = dbt_is_x87(insn);

    if (!plan(t, &c) || !plan_scratch(t, &c))
        return false;
    if (x87 && c.memory && (insn->mem.seg == X86_FS || insn->mem.seg == X86_GS ||
                            t->mode & DBT_MODE_SEGMENTS))
        return false;           /* its data pointer is an offset: not at hand */
    /* Before anything is checked that the interpreter would check later. */
    if (c.memory && (!dbt_reencodable(&c.insn, &c.how) || !emit_operand(t, &c)))
        return false;
    if (uses_r11(&c) || x87)
        t->keeps_current = false;
    else if (!c.memory)
        t->keeps_current = true;
    dbt_reach(t, 64);
    emit_operands_in(t, &c);
    if (!dbt_reencode(&t->e, &c.insn, &c.how))
        return false;
    if (x87 && !x86_hostinsn_is_x87_control(insn))
        emit_x87_pointers(t, insn, c.memory);
    emit_operands_out(t, &c);
    return true;
}

/* MOV AL/eAX, moffs and back: the one memory operand without ModRM. */
static bool emit_moffs(struct dbt_translation *t, const struct x86_insn *insn)
{
    bool store = insn->op[0].kind == X86_OPND_MEM;
    unsigned size = insn->mem.size;

    if (!dbt_emit_address(t, insn, true))
        return false;
    dbt_emit_access(t, size, store);
    if (size == 2)
        e8(&t->e, 0x66);
    emit_rm(&t->e, (store ? 0x88u : 0x8au) | (size > 1), size == 8, H_RAX,
            h_index(H_R11, H_RCX, 1, 0));
    return true;
}

/* Its address is all there is to it. */
static bool emit_xlat(struct dbt_translation *t, const struct x86_insn *insn)
{
    struct x86_insn as = *insn;

    as.mem.base = X86_RBX;
    as.mem.index = X86_REG_NONE;
    as.mem.disp = 0;
    as.mem.scale = 1;
    /* The offset is added to BX before the segment's base, as one sum. */
    if ((!(t->mode & DBT_MODE_SEGMENTS) && insn->mem.seg >= X86_FS) ||
        !dbt_emit_address(t, &as, true))
        return false;
    emit_rr(&t->e, 0x0f | 0xb6 << 8, false, H_RCX, H_RAX);             /* movzx ecx, al */
    dbt_emit_sum(t, H_R11, insn->address_bits, h_index(H_R11, H_RCX, 1, 0));
    dbt_emit_access(t, 1, false);
    emit_rm(&t->e, 0x8a, false, H_RAX, h_index(H_R11, H_RCX, 1, 0));
    return true;
}

/* ---- bits of memory ------------------------------------------------------- */

static unsigned bit_opcode(const struct x86_insn *insn)
{
    switch (insn->mnemonic) {
    case M(BT): return 0xa3;
    case M(BTS): return 0xab;
    case M(BTR): return 0xb3;
    default: return 0xbb;
    }
}

static bool emit_bit_string(struct dbt_translation *t, const struct x86_insn *insn)
{
    const struct host_mem tmp = h_frame(offsetof(struct dbt_frame, tmp));
    bool wide = insn->mem.size == 8;
    unsigned offset = insn->op[1].reg;

    if (insn->mem.size == 2 ||
        (insn->address_bits != 64 && !(t->mode & DBT_MODE_SEGMENTS) && insn->mem.seg >= X86_FS) ||
        !dbt_emit_address(t, insn, true))
        return false;
    dbt_reach(t, 64);
    dbt_emit_get(t, H_RCX, offset);
    if (!wide)
        emit_rr(&t->e, 0x63, true, H_RCX, H_RCX);                      /* movsxd */
    emit_sar(&t->e, H_RCX, wide ? 6 : 5, tmp);
    dbt_emit_sum(t, H_R11, insn->address_bits, h_index(H_R11, H_RCX, wide ? 8 : 4, 0));
    dbt_emit_access(t, insn->mem.size, insn->mnemonic != M(BT));
    dbt_emit_fold(t);
    dbt_emit_get(t, H_RCX, offset);
    emit_pext(&t->e, H_RCX, H_RCX, h_frame(wide ? offsetof(struct dbt_frame, bit_mask64)
                                                : offsetof(struct dbt_frame, bit_mask32)));
    if (insn->lock)
        e8(&t->e, 0xf0);
    emit_rm(&t->e, 0x0f | bit_opcode(insn) << 8, wide, H_RCX, h_base(H_R11, 0));
    return true;
}

static bool is_moffs(const struct x86_insn *insn)
{
    return insn->mnemonic == M(MOV) && !insn->modrm_at &&
           (insn->op[0].kind == X86_OPND_MEM || insn->op[1].kind == X86_OPND_MEM);
}

/* ---- MXCSR ------------------------------------------------------------------ */

/* The VEX forms are rare. */
bool dbt_is_mxcsr(const struct x86_insn *insn)
{
    return insn->mnemonic == M(LDMXCSR) || insn->mnemonic == M(STMXCSR);
}

/* The host may have bits that the guest's processor reserves. */
static void emit_ldmxcsr(struct dbt_translation *t)
{
    const struct host_mem tmp = h_frame(offsetof(struct dbt_frame, tmp));
    uint8_t *fine;

    dbt_reach(t, 80);
    emit_load32(&t->e, H_RCX, h_index(H_R11, H_RCX, 1, 0));
    emit_store(&t->e, tmp, H_RCX);
    emit_keep(&t->e, H_RCX, H_RCX, h_frame(offsetof(struct dbt_frame, mxcsr_reserved)));
    fine = emit_jrcxz(&t->e);
    dbt_exit_here(t, DBT_EXIT_INTERP);
    emit_patch8(&t->e, fine);
    emit_rm(&t->e, 0x0f | 0xae << 8, false, (enum host_reg)2, tmp);
}

bool dbt_emit_mxcsr(struct dbt_translation *t, const struct x86_insn *insn)
{
    bool load = insn->mnemonic == M(LDMXCSR);

    if (!dbt_emit_address(t, insn, true))
        return false;
    dbt_emit_access(t, 4, !load);
    if (load)
        emit_ldmxcsr(t);
    else
        emit_rm(&t->e, 0x0f | 0xae << 8, false, (enum host_reg)3, h_index(H_R11, H_RCX, 1, 0));
    return true;
}

bool dbt_emit_insn(struct dbt_translation *t, const struct x86_insn *insn)
{
    if (left_alone(insn))
        return false;
    if (does_nothing(insn)) {
        t->keeps_current = true;
        return true;
    }
    if (insn->class == X86_CLASS_STRING)
        return dbt_emit_string(t, insn);
    if (dbt_is_flags(insn))
        return dbt_emit_flags(t, insn);
    switch (insn->mnemonic) {
    case M(LEA):
        return emit_lea_direct(t, insn) || emit_lea_insn(t, insn);
    case M(PUSH):
    case M(POP):
    case M(LEAVE):
        return dbt_emit_stack(t, insn);
    case M(XLAT):
        return emit_xlat(t, insn);
    case M(CLD):
    case M(STD):
        dbt_emit_direction(t, insn->mnemonic == M(STD));
        return true;
    default:
        break;
    }
    if (is_bit_string(insn))
        return emit_bit_string(t, insn);
    return is_moffs(insn) ? emit_moffs(t, insn) : emit_copy(t, insn);
}
