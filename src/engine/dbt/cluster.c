/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cluster.c - accesses near each other share one address translation.
 *
 * Within a trace, accesses whose addresses differ by known constants (the stack
 * frame, the fields of a record, the elements that an unrolled loop touches) form
 * a cluster. Its first access checks that the whole range lies in one page and
 * translates it; the host address goes to r11 and to a slot in the frame, and
 * each access after that is the instruction alone. If the range crosses a page or
 * is not in the table, the trace is left for the block at that instruction,
 * which does things one at a time.
 *
 * Addresses are known symbolically: a register is a version, which stands for a
 * value nobody knows, plus a constant. PUSH, POP, ADD, LEA and MOV keep track.
 *
 * A trace that leads back to its beginning is written twice: for the first round,
 * and for all others. In those, clusters that have the same address in every round
 * are translated already, and accesses that move by multiples of their size are
 * known to be aligned, which is as good as not to cross a page. If they turn out not
 * to be, the first version runs every time.
 *
 * A translation stays good until something outside translated code may have
 * changed the tables: at an instruction that leaves, all clusters begin anew.
 */
#include "engine/dbt/translate.h"

#include <Zydis/Mnemonic.h>
#include "base/bug.h"

#define M(name) ZYDIS_MNEMONIC_##name

enum { MAX_SPAN = 1024, MAX_LIVE = 64 };

struct value { uint32_t version; int32_t delta; };

struct analysis {
    struct value reg[X86_GPR_COUNT];
    uint32_t versions;
};

/* ---- which access belongs where ---------------------------------------------- */

struct access {
    uint8_t base, index, scale, size;
    bool write;
    int64_t disp;
};

/* What `insn` accesses; false: nothing, or nothing that can be part of a cluster. */
static bool access_of(const struct dbt_translation *t, const struct x86_insn *insn,
                      struct access *a)
{
    const struct x86_mem *m = &insn->mem;
    bool write = false, memory = false;

    for (unsigned i = 0; i < insn->operands; i++) {
        memory |= insn->op[i].kind == X86_OPND_MEM;
        write |= insn->op[i].kind == X86_OPND_MEM && insn->op[i].written;
    }
    switch (insn->mnemonic) {
    case M(PUSH): case M(CALL):
        *a = (struct access){X86_RSP, X86_REG_NONE, 1, 8, true, -8};
        return !memory && dbt_stack_bytes(t, insn) == 8;
    case M(POP): case M(RET):
        *a = (struct access){X86_RSP, X86_REG_NONE, 1, 8, false, 0};
        return !memory && dbt_stack_bytes(t, insn) == 8;
    case M(LEAVE):
        *a = (struct access){X86_RBP, X86_REG_NONE, 1, 8, false, 0};
        return dbt_stack_bytes(t, insn) == 8;
    default:
        break;
    }
    if (!memory || !dbt_copies_memory(insn) || m->vsib || insn->address_bits != 64 ||
        m->seg == X86_FS || m->seg == X86_GS || m->base >= X86_GPR_COUNT || m->size > 64 ||
        m->disp != (int32_t)m->disp)
        return false;
    *a = (struct access){m->base, m->index, m->scale, (uint8_t)m->size, write, m->disp};
    return true;
}

static struct dbt_cluster *find(struct dbt_translation *t, const struct dbt_cluster *key,
                                int64_t offset, unsigned size)
{
    for (unsigned i = t->clusters; i-- > 0;) {
        struct dbt_cluster *c = &t->cluster[i];
        int64_t lo = c->lo < offset ? c->lo : offset;
        int64_t end = c->end > offset + size ? c->end : offset + size;

        if (c->version == key->version && c->index_version == key->index_version &&
            c->scale == key->scale && end - lo <= MAX_SPAN)
            return c;
    }
    if (t->clusters == DBT_MAX_CLUSTERS)
        return NULL;
    t->cluster[t->clusters] = *key;
    return &t->cluster[t->clusters++];
}

static void add_access(struct dbt_translation *t, const struct analysis *an, unsigned step,
                       const struct access *a)
{
    const struct value *b = &an->reg[a->base];
    bool indexed = a->index < X86_GPR_COUNT;
    const struct value none = {0, 0}, *x = indexed ? &an->reg[a->index] : &none;
    int64_t offset = a->disp + b->delta + (int64_t)x->delta * a->scale;
    struct dbt_cluster key = {.version = b->version, .index_version = x->version,
                              .scale = indexed ? a->scale : 0, .lo = (int32_t)offset,
                              .end = (int32_t)offset + a->size};
    struct dbt_cluster *c;

    t->step[step].address = (struct x86_mem){.base = a->base, .index = a->index, .size = a->size,
                                             .scale = a->scale, .disp = a->disp};
    t->step[step].version = b->version;
    t->step[step].delta = b->delta;
    t->step[step].index_version = x->version;
    t->step[step].index_delta = x->delta;
    if (offset != (int32_t)offset || offset > INT32_MAX / 2 || offset < INT32_MIN / 2)
        return;
    c = find(t, &key, offset, a->size);
    if (!c)
        return;
    if (offset < c->lo)
        c->lo = (int32_t)offset;
    if (offset + a->size > c->end)
        c->end = (int32_t)offset + a->size;
    c->write |= a->write;
    c->accesses++;
    c->last = (uint16_t)step;
    t->step[step].cluster = (uint8_t)(c - t->cluster + 1);
    t->step[step].offset = (int32_t)offset;
}

/* ---- what registers hold ------------------------------------------------------- */

static void forget(struct analysis *an, unsigned reg)
{
    an->reg[reg] = (struct value){++an->versions, 0};
}

static void move(struct analysis *an, unsigned to, struct value from, int64_t by)
{
    int64_t delta = from.delta + by;

    if (delta > INT32_MAX / 4 || delta < INT32_MIN / 4)
        forget(an, to);
    else
        an->reg[to] = (struct value){from.version, (int32_t)delta};
}

static bool is_gpr64(const struct x86_operand *o)
{
    return o->kind == X86_OPND_GPR && o->size == 8;
}

/* Instructions that add a constant to a register or copy one. False: some other. */
static bool follow_constant(struct analysis *an, const struct x86_insn *insn)
{
    const struct x86_operand *d = &insn->op[0], *s = &insn->op[1];

    if (!insn->operands || !is_gpr64(d))
        return false;
    switch (insn->mnemonic) {
    case M(ADD): case M(SUB):
        if (s->kind != X86_OPND_IMM)
            return false;
        move(an, d->reg, an->reg[d->reg],
             insn->mnemonic == M(ADD) ? insn->imm[s->reg] : -insn->imm[s->reg]);
        return true;
    case M(INC): move(an, d->reg, an->reg[d->reg], 1); return true;
    case M(DEC): move(an, d->reg, an->reg[d->reg], -1); return true;
    case M(MOV):
        if (!is_gpr64(s))
            return false;
        move(an, d->reg, an->reg[s->reg], 0);
        return true;
    case M(LEA):
        if (insn->mem.base >= X86_GPR_COUNT || insn->mem.index != X86_REG_NONE ||
            insn->address_bits != 64)
            return false;
        move(an, d->reg, an->reg[insn->mem.base], insn->mem.disp);
        return true;
    default:
        return false;
    }
}

static void follow(const struct dbt_translation *t, struct analysis *an,
                   const struct x86_insn *insn)
{
    struct value rsp = an->reg[X86_RSP], rbp = an->reg[X86_RBP];
    uint32_t written = insn->gprs_written;

    if (follow_constant(an, insn))
        return;
    if (dbt_stack_bytes(t, insn) == 8) {
        switch (insn->mnemonic) {
        case M(PUSH): case M(CALL):
            move(an, X86_RSP, rsp, -8);
            return;
        case M(POP): case M(RET):
            move(an, X86_RSP, rsp, 8 + (insn->mnemonic == M(RET) ? dbt_ret_drop(insn) : 0));
            if (insn->mnemonic == M(POP) && insn->op[0].kind == X86_OPND_GPR)
                forget(an, insn->op[0].reg);
            return;
        case M(LEAVE):
            move(an, X86_RSP, rbp, 8);
            forget(an, X86_RBP);
            return;
        default:
            break;
        }
    }
    for (unsigned r = 0; r < X86_GPR_COUNT; r++) {
        if (written & 1u << r)
            forget(an, r);
    }
}

/* ---- slots ---------------------------------------------------------------------- */

/* The first slots are for what stays the same in every round: whoever had one before
 * that would take it again in the second. Returns how many. */
static unsigned assign_invariant(struct dbt_translation *t)
{
    unsigned slots = 0;

    for (unsigned i = 0; i < t->clusters; i++) {
        struct dbt_cluster *c = &t->cluster[i];

        c->invariant = c->invariant && slots < DBT_CLUSTER_SLOTS / 2;
        if (c->invariant) {
            c->slot = (uint8_t)++slots;
            c->last = UINT16_MAX;
        }
    }
    return slots;
}

/* Clusters of one access are none, unless it is the same one in every round of a
 * loop. The others get slots of the frame, first come first served. */
static void assign_slots(struct dbt_translation *t)
{
    uint16_t busy_until[DBT_CLUSTER_SLOTS] = {0};
    unsigned first = assign_invariant(t);

    for (unsigned i = 0; i < t->steps; i++) {
        struct dbt_step *s = &t->step[i];
        struct dbt_cluster *c = s->cluster ? &t->cluster[s->cluster - 1] : NULL;

        if (!c)
            continue;
        for (unsigned k = first; c->slot == 0 && c->accesses > 1 && k < DBT_CLUSTER_SLOTS; k++) {
            if (busy_until[k] <= i) {
                c->slot = (uint8_t)(k + 1);
                busy_until[k] = c->last;
            }
        }
        if (!c->slot) {
            c->accesses = 0;            /* for good */
            s->cluster = 0;
        }
    }
}

/* ---- loops ------------------------------------------------------------------------ */

/* The register that had this value at the beginning of the trace and has it at the
 * end again, but for a multiple of `unit` (0: exactly); X86_REG_NONE: none. */
static unsigned recurring(const struct analysis *an, uint32_t version, unsigned unit)
{
    unsigned reg = version - 1;

    if (version == 0 || version > X86_GPR_COUNT || an->reg[reg].version != version)
        return X86_REG_NONE;
    return unit ? (an->reg[reg].delta % (int32_t)unit ? X86_REG_NONE : reg)
                : (an->reg[reg].delta ? X86_REG_NONE : reg);
}

static void find_invariant(struct dbt_translation *t, const struct analysis *an)
{
    for (unsigned i = 0; i < t->clusters; i++) {
        struct dbt_cluster *c = &t->cluster[i];

        c->invariant = recurring(an, c->version, 0) != X86_REG_NONE &&
                       (!c->scale || recurring(an, c->index_version, 0) != X86_REG_NONE);
    }
}

static bool require(struct dbt_translation *t, const struct dbt_alignment *a)
{
    for (unsigned i = 0; i < t->alignments; i++) {
        const struct dbt_alignment *b = &t->alignment[i];
        if (a->base == b->base && a->index == b->index && a->scale == b->scale &&
            a->size == b->size && a->disp == b->disp)
            return true;
    }
    if (t->alignments == DBT_MAX_ALIGNMENTS)
        return false;
    t->alignment[t->alignments++] = *a;
    return true;
}

/* A register that moves by multiples of an access's size keeps it aligned. */
static void find_aligned(struct dbt_translation *t, const struct analysis *an,
                         struct dbt_step *s)
{
    const struct x86_mem *m = &s->address;
    struct dbt_alignment a = {.index = X86_REG_NONE, .scale = 1, .size = (uint8_t)m->size};
    int64_t disp = m->disp + s->delta;

    if (m->size < 2 || (m->size & (m->size - 1)))
        return;
    a.base = (uint8_t)recurring(an, s->version, m->size);
    if (m->index != X86_REG_NONE && m->scale < m->size) {
        a.index = (uint8_t)recurring(an, s->index_version, m->size / m->scale);
        a.scale = m->scale;
        disp += (int64_t)s->index_delta * m->scale;
        if (a.index == X86_REG_NONE || t->home[a.index] == H_NONE)
            return;
    }
    if (a.base == X86_REG_NONE || (a.index != X86_REG_NONE && t->home[a.base] == H_NONE))
        return;
    a.disp = (int32_t)(disp & (m->size - 1));
    s->aligned = require(t, &a);
}

void dbt_clusters_find(struct dbt_translation *t)
{
    struct analysis an = {.versions = X86_GPR_COUNT};
    struct access a;

    t->clusters = t->alignments = 0;
    t->current = NULL;
    t->forgot = false;
    if (!t->guide || t->code_bits != 64)
        return;
    for (unsigned r = 0; r < X86_GPR_COUNT; r++)
        an.reg[r] = (struct value){r + 1, 0};
    for (unsigned i = 0; i < t->steps; i++) {
        if (access_of(t, &t->step[i].insn, &a))
            add_access(t, &an, i, &a);
        follow(t, &an, &t->step[i].insn);
    }
    if (t->loops) {
        find_invariant(t, &an);
        for (unsigned i = 0; i < t->steps; i++)
            find_aligned(t, &an, &t->step[i]);
    }
    assign_slots(t);
}

/* ---- code ------------------------------------------------------------------------- */

static struct host_mem slot_of(const struct dbt_cluster *c)
{
    return h_frame(offsetof(struct dbt_frame, cluster) + 8 * (c->slot - 1u));
}

static void side_exit_if_zero(struct dbt_translation *t)
{
    if (t->dead) {
        emit_test_rr(&t->e, H_RCX, H_RCX);
        dbt_late_here(t, DBT_STUB_SIDE, DBT_EXIT_CHAIN, CC_E)->target = t->insn[t->insns].rip;
        return;
    }
    dbt_stub_here(t, DBT_STUB_SIDE, DBT_EXIT_CHAIN)->target = t->insn[t->insns].rip;
}

/* To the side exit if [r11, r11+span) is not within one page. */
static void emit_range_check(struct dbt_translation *t, unsigned span)
{
    struct emit *e = &t->e;

    dbt_reach(t, 48);
    if (t->dead) {                  /* do first and last byte differ in their page? */
        emit_lea32(e, H_RCX, h_base(H_R11, (int32_t)span - 1));
        emit_xor32_rr(e, H_RCX, H_R11);
        emit_test32_ri(e, H_RCX, (uint32_t)PAGE_MASK);
        dbt_late_here(t, DBT_STUB_SIDE, DBT_EXIT_CHAIN, CC_NE)->target = t->insn[t->insns].rip;
        return;
    }
    if (span <= 8) {
        emit_lea(e, H_RCX, h_base(H_R11, 8));
        emit_rorx(e, H_RCX, H_RCX, 3);
        emit_shlx(e, H_RCX, H_RCX, H_RSP);
    } else {                        /* negative exactly if it fits; then shifted to -1 */
        emit_pext(e, H_RCX, H_R11, h_frame(offsetof(struct dbt_frame, low_mask)));
        emit_lea(e, H_RCX, h_base(H_RCX, (int32_t)span - (int32_t)PAGE_SIZE - 1));
        emit_sarx(e, H_RCX, H_RCX, H_RSP);
    }
    side_exit_if_zero(t);
}

/* r11 and the slot = host address of offset `lo`. */
static void establish(struct dbt_translation *t, struct dbt_cluster *c, const struct dbt_step *s)
{
    struct x86_insn at = {.mem = s->address, .address_bits = 64, .length = s->insn.length};
    struct emit *e = &t->e;

    at.mem.disp += c->lo - s->offset;
    at.mem.seg = X86_DS;
    if (at.mem.index == X86_REG_NONE)
        at.mem.scale = 1;
    dbt_emit_address(t, &at, false);
    if (c->end - c->lo > 1 && !(t->aligned && c->end - c->lo == s->address.size))
        emit_range_check(t, (unsigned)(c->end - c->lo));
    dbt_reach(t, 40);
    dbt_emit_lookup(t, H_R11, c->write);
    side_exit_if_zero(t);
    dbt_emit_fold(t);
    emit_store(e, slot_of(c), H_R11);
    dbt_reach(t, 64);
    c->live = true;
}

bool dbt_cluster_operand(struct dbt_translation *t, struct host_mem *out)
{
    const struct dbt_step *s = &t->step[t->now];
    struct dbt_cluster *c = s->cluster ? &t->cluster[s->cluster - 1] : NULL;

    if (!c || (!c->live && c->last == t->now))        /* alone from here on */
        return false;
    if (!c->live)
        establish(t, c, s);
    else if (t->current != c)
        emit_load(&t->e, H_R11, slot_of(c));
    t->current = c;
    t->keeps_current = true;
    *out = h_base(H_R11, s->offset - c->lo);
    return true;
}

void dbt_clusters_forget(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->clusters; i++)
        t->cluster[i].live = false;
    t->current = NULL;
    t->forgot = true;
}

bool dbt_clusters_live(const struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->clusters; i++) {
        if (t->cluster[i].live && t->cluster[i].last >= t->now)
            return true;
    }
    return false;
}

static void emit_alignment_check(struct dbt_translation *t, const struct dbt_alignment *a)
{
    struct emit *e = &t->e;
    uint8_t *aligned;

    dbt_reach(t, 104);
    if (a->index != X86_REG_NONE) {
        emit_lea(e, H_RCX, h_index(t->home[a->base], t->home[a->index], a->scale, a->disp));
    } else {
        dbt_emit_get(t, H_RCX, a->base);
        emit_lea(e, H_RCX, h_base(H_RCX, a->disp));
    }
    emit_pext(e, H_RCX, H_RCX, dbt_align_mask(a->size));
    aligned = emit_jrcxz(e);
    if (t->clobbered)
        dbt_recipe_emit(t, t->recipe);
    emit_jmp(e, t->body);
    emit_patch8(e, aligned);
}

void dbt_loop_enter(struct dbt_translation *t)
{
    for (unsigned i = 0; i < t->alignments; i++)
        emit_alignment_check(t, &t->alignment[i]);
    for (unsigned i = 0; i < t->clusters; i++) {
        struct dbt_cluster *c = &t->cluster[i];
        c->live = c->live && c->invariant && !t->forgot;
    }
    t->current = NULL;
    t->clobbered = t->dead;         /* as it may be at the end of the second version */
    if (t->rehomes) {
        dbt_reach(t, 64);
        dbt_rehome_enter(t);
        dbt_homes_set(t, true);
    }
    emit_label(&t->e);
    t->again = t->e.p;
    t->second = true;
}
