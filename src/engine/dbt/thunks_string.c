/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * thunks_string.c - REP MOVS, STOS, CMPS and SCAS as code that blocks call.
 *
 * A thunk looks up the pages of source and destination, runs the host's own
 * instruction on host addresses up to the nearer page end, and goes round. The
 * guest's registers move with every round, so whatever makes it stop finds the
 * instruction partly done and restartable (SDM vol. 2, REP), overlapping
 * operands included: the host repeats element by element as the guest would.
 * A page with code in it has no write entry, so it is never stored to here.
 *
 * It returns in rcx why it stopped, with the address of a miss in r11:
 * enum dbt_string_result. Only upwards (DF clear); elements that cross a page,
 * addresses that are none and a dispatcher that waits are left to the caller.
 *
 * Unlike all other translated code it puts the guest's flags aside, since the
 * sums here are no place for LEA and JRCXZ.
 */
#include "engine/dbt/translate.h"

/* While it runs: */
#define SOURCE      H_R8        /* addend of the source page */
#define DESTINATION H_RDX       /* and of the destination page */
#define REMAINING   H_R10       /* guest RCX */
#define CHUNK       H_RCX       /* elements of this round */
#define TMP         H_R11

enum exit { EXIT_DONE, EXIT_SOURCE, EXIT_DESTINATION, EXIT_WRITE, EXIT_OTHER, EXITS };
enum { MAX_JUMPS = 8 };

struct thunk {
    struct emit *e;
    enum dbt_string kind;
    unsigned shift;             /* element size: 1 << shift */
    bool wide;                  /* 64-bit addresses */
    bool source;                /* RSI is used */
    uint8_t *jump[EXITS][MAX_JUMPS];            /* to be patched */
    unsigned jumps[EXITS];
};

static struct host_mem frame(size_t offset)
{
    struct host_mem m = h_frame(offset);

    m.disp += 8;                                    /* the return address */
    return m;
}

#define FRAME(field) frame(offsetof(struct dbt_frame, field))

/* ---- arithmetic, which changes flags ---------------------------------------- */

enum alu { ALU_ADD = 0, ALU_AND = 4, ALU_SUB = 5, ALU_CMP = 7 };

static void alu_rr(struct thunk *t, enum alu op, bool w, enum host_reg dst, enum host_reg src)
{
    emit_rr(t->e, (unsigned)op << 3 | 1, w, src, dst);
}

static void alu_ri(struct thunk *t, enum alu op, enum host_reg dst, uint32_t imm)
{
    emit_rr(t->e, 0x81, false, (enum host_reg)op, dst);
    e32(t->e, imm);
}

enum shift { SHIFT_LEFT = 4, SHIFT_RIGHT = 5, SHIFT_ARITHMETIC = 7 };

static void shift_ri(struct thunk *t, enum shift op, bool w, enum host_reg dst, uint8_t by)
{
    emit_rr(t->e, 0xc1, w, (enum host_reg)op, dst);
    e8(t->e, by);
}

static void exit_if(struct thunk *t, unsigned cc, enum exit why)
{
    t->jump[why][t->jumps[why]++] = emit_jcc(t->e, cc, NULL);
}

/* ---- the pieces --------------------------------------------------------------- */

/* Flags into the frame, by way of AH and AL; rax, rdx and r8 to work with. */
static void put_aside(struct thunk *t)
{
    emit_store(t->e, FRAME(kept[0]), H_RAX);
    emit_store(t->e, FRAME(kept[1]), DESTINATION);
    emit_store(t->e, FRAME(kept[2]), SOURCE);
}

static void flags_aside(struct thunk *t)
{
    e8(t->e, 0x9f);                                 /* lahf */
    emit_rr(t->e, 0x0f | 0x90 << 8, false, 0, H_RAX);      /* seto al */
    emit_store32(t->e, FRAME(kept_flags), H_RAX);
}

static void put_back(struct thunk *t)
{
    emit_load32(t->e, H_RAX, FRAME(kept_flags));
    e8(t->e, 0x04);                                 /* add al, 0x7f: overflows if al is 1 */
    e8(t->e, 0x7f);
    e8(t->e, 0x9e);                                 /* sahf */
    emit_load(t->e, H_RAX, FRAME(kept[0]));
    emit_load(t->e, DESTINATION, FRAME(kept[1]));
    emit_load(t->e, SOURCE, FRAME(kept[2]));
    e8(t->e, 0xc3);
}

/* The dispatcher is wanted, or DF is set. */
static void check_state(struct thunk *t, bool first)
{
    emit_rm(t->e, 0x83, true, (enum host_reg)ALU_CMP, FRAME(go));
    e8(t->e, 0);
    exit_if(t, CC_E, EXIT_OTHER);
    if (!first)
        return;
    emit_rm(t->e, 0xf7, false, 0, FRAME(flags_system));    /* test */
    e32(t->e, X86_FLAG_DF);
    exit_if(t, CC_NE, EXIT_OTHER);
}

/* TMP = index of the page at `pointer`. */
static void page_index(struct thunk *t, enum host_reg pointer)
{
    if (!t->wide) {
        emit_mov32_rr(t->e, TMP, pointer);
        shift_ri(t, SHIFT_RIGHT, false, TMP, PAGE_SHIFT);
        return;
    }
    emit_mov_rr(t->e, TMP, pointer);
    shift_ri(t, SHIFT_LEFT, true, TMP, 16);
    emit_mov_rr(t->e, CHUNK, TMP);
    shift_ri(t, SHIFT_ARITHMETIC, true, CHUNK, 16);
    alu_rr(t, ALU_CMP, true, CHUNK, pointer);
    exit_if(t, CC_NE, EXIT_OTHER);            /* not canonical */
    shift_ri(t, SHIFT_RIGHT, true, TMP, 16 + PAGE_SHIFT);
}

/* An element that crosses a page end is left alone: before the other operand is
 * looked at, since its second part may fault first. */
static void check_element(struct thunk *t, enum host_reg pointer)
{
    if (!t->shift)
        return;
    emit_mov32_rr(t->e, CHUNK, pointer);
    alu_ri(t, ALU_AND, CHUNK, PAGE_OFFSET_MASK);
    alu_ri(t, ALU_CMP, CHUNK, PAGE_SIZE - (1u << t->shift));
    exit_if(t, CC_A, EXIT_OTHER);
}

static void look_up(struct thunk *t, enum host_reg pointer, bool write)
{
    enum host_reg addend = pointer == H_RSI ? SOURCE : DESTINATION;
    enum exit miss = write ? EXIT_WRITE : pointer == H_RSI ? EXIT_SOURCE : EXIT_DESTINATION;

    check_element(t, pointer);
    page_index(t, pointer);
    if (write)
        emit_load(t->e, addend, h_index(H_RSP, TMP, 8,
                                        8 + H_FRAME_BIAS + dbt_tables_write_disp()));
    else
        emit_load(t->e, addend, (struct host_mem){H_NONE, TMP, 8, H_SEG_GS, 0});
    emit_test_rr(t->e, addend, addend);
    exit_if(t, CC_E, miss);
}

/* In the order in which they fault: see x86/exec_string.c. */
static void look_up_both(struct thunk *t)
{
    bool write = t->kind == DBT_MOVS || t->kind == DBT_STOS;
    bool source_first = t->kind == DBT_MOVS || (t->kind == DBT_REPE_CMPS && !t->shift);

    if (t->source && source_first)
        look_up(t, H_RSI, false);
    look_up(t, H_RDI, write);
    if (t->source && !source_first)
        look_up(t, H_RSI, false);
}

/* CHUNK = elements to the nearer page end, REMAINING at most; REMAINING less by so many. */
static void take_chunk(struct thunk *t)
{
    emit_mov32_rr(t->e, CHUNK, H_RDI);
    alu_ri(t, ALU_AND, CHUNK, PAGE_OFFSET_MASK);
    if (t->source) {
        emit_mov32_rr(t->e, TMP, H_RSI);
        alu_ri(t, ALU_AND, TMP, PAGE_OFFSET_MASK);
        alu_rr(t, ALU_CMP, false, CHUNK, TMP);
        emit_rr(t->e, 0x0f | 0x42 << 8, false, CHUNK, TMP);            /* cmovb */
    }
    emit_rr(t->e, 0xf7, false, 3, CHUNK);                              /* neg */
    alu_ri(t, ALU_ADD, CHUNK, PAGE_SIZE);
    if (t->shift)
        shift_ri(t, SHIFT_RIGHT, false, CHUNK, (uint8_t)t->shift);
    alu_rr(t, ALU_CMP, t->wide, CHUNK, REMAINING);
    emit_rr(t->e, 0x0f | 0x47 << 8, t->wide, CHUNK, REMAINING);            /* cmova */
    alu_rr(t, ALU_SUB, t->wide, REMAINING, CHUNK);
}

static void run_host(struct thunk *t)
{
    static const uint8_t opcode[DBT_STRINGS] = {
        [DBT_MOVS] = 0xa4, [DBT_STOS] = 0xaa, [DBT_REPE_CMPS] = 0xa6, [DBT_REPNE_CMPS] = 0xa6,
        [DBT_REPE_SCAS] = 0xae, [DBT_REPNE_SCAS] = 0xae,
    };
    bool repne = t->kind == DBT_REPNE_CMPS || t->kind == DBT_REPNE_SCAS;

    if (t->shift == 1)
        e8(t->e, 0x66);
    e8(t->e, repne ? 0xf2 : 0xf3);
    if (t->shift == 3)
        e8(t->e, 0x48);
    e8(t->e, opcode[t->kind] | (t->shift > 0));
}

static void move_pointers(struct thunk *t, enum alu op)
{
    if (t->source)
        alu_rr(t, op, true, H_RSI, SOURCE);
    alu_rr(t, op, true, H_RDI, DESTINATION);
}

/* What the host was given as 64-bit registers and comes back as offsets. */
static void narrow_pointers(struct thunk *t)
{
    if (t->wide)
        return;
    if (t->source)
        emit_mov32_rr(t->e, H_RSI, H_RSI);
    emit_mov32_rr(t->e, H_RDI, H_RDI);
}

/* After a comparison: done if it ended the repetition. */
static void check_compared(struct thunk *t)
{
    bool repe = t->kind == DBT_REPE_CMPS || t->kind == DBT_REPE_SCAS;

    emit_store(t->e, FRAME(tmp), CHUNK);
    flags_aside(t);
    emit_load(t->e, CHUNK, FRAME(tmp));
    alu_rr(t, ALU_ADD, t->wide, REMAINING, CHUNK);
    move_pointers(t, ALU_SUB);
    narrow_pointers(t);
    e8(t->e, 0xf6);                                 /* test ah, ZF */
    e8(t->e, 0xc4);
    e8(t->e, X86_FLAG_ZF);
    exit_if(t, repe ? CC_E : CC_NE, EXIT_DONE);
}

static void run_chunk(struct thunk *t)
{
    narrow_pointers(t);
    move_pointers(t, ALU_ADD);
    if (t->kind != DBT_MOVS && t->kind != DBT_REPE_CMPS && t->kind != DBT_REPNE_CMPS)
        emit_load(t->e, H_RAX, FRAME(kept[0]));
    run_host(t);
    if (t->kind == DBT_MOVS || t->kind == DBT_STOS) {
        move_pointers(t, ALU_SUB);
        narrow_pointers(t);
    } else {
        check_compared(t);
    }
}

static void make_exit(struct thunk *t, enum exit why)
{
    static const struct {
        enum dbt_string_result result;
        uint8_t pointer;
    } is[EXITS] = {
        [EXIT_DONE] = {DBT_STRING_DONE, H_NONE}, [EXIT_OTHER] = {DBT_STRING_OTHER, H_NONE},
        [EXIT_SOURCE] = {DBT_STRING_READ_MISS, H_RSI},
        [EXIT_DESTINATION] = {DBT_STRING_READ_MISS, H_RDI},
        [EXIT_WRITE] = {DBT_STRING_WRITE_MISS, H_RDI},
    };

    for (unsigned i = 0; i < t->jumps[why]; i++)
        emit_patch32(t->e, t->jump[why][i]);
    if (is[why].pointer != H_NONE && t->wide)
        emit_mov_rr(t->e, TMP, is[why].pointer);
    else if (is[why].pointer != H_NONE)
        emit_mov32_rr(t->e, TMP, is[why].pointer);
    emit_mov_ri(t->e, H_RCX, is[why].result);
    put_back(t);
}

static void make(struct thunk *t)
{
    const uint8_t *round;

    put_aside(t);
    flags_aside(t);
    emit_rr(t->e, 0x85, t->wide, REMAINING, REMAINING);     /* test: nothing at all happens */
    exit_if(t, CC_E, EXIT_DONE);
    check_state(t, true);
    round = t->e->p;
    look_up_both(t);
    take_chunk(t);
    run_chunk(t);
    emit_rr(t->e, 0x85, t->wide, REMAINING, REMAINING);
    exit_if(t, CC_E, EXIT_DONE);
    check_state(t, false);
    emit_jmp(t->e, round);
    for (unsigned i = 0; i < EXITS; i++)
        make_exit(t, i);
}

bool dbt_string_thunks_make(struct dbt_cache *c, struct dbt_thunks *out)
{
    struct emit e;

    for (unsigned kind = 0; kind < DBT_STRINGS; kind++) {
        if (!dbt_cache_begin(c, &e))
            return false;
        for (unsigned i = 0; i < 8; i++) {
            struct thunk t = {.e = &e, .kind = kind, .shift = i & 3, .wide = i & 4,
                              .source = kind == DBT_MOVS || kind == DBT_REPE_CMPS ||
                                        kind == DBT_REPNE_CMPS};

            out->string[kind][i & 3][t.wide] = e.p;
            make(&t);
        }
        if (e.overflow)
            return false;
        dbt_cache_commit(c, &e, NULL);
    }
    return true;
}
