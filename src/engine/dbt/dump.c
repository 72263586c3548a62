/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dump.c - guest and host code of every block side by side: --dump-blocks.
 *
 * docs/translator.md says how to read it. Guest code is read from guest RAM, where
 * it still is as it was translated: a block whose bytes are written to is dropped
 * at once. Of dropped blocks only the names of the instructions are known.
 */
#include "engine/dbt/vcpu.h"

#include <Zydis/Zydis.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/dbt/translate.h"
#include "memory/memory.h"

enum { TEXT_MAX = 96, NOTE_MAX = 160 };

/* ---- what a host instruction touches ---------------------------------------- */

#define FIELD(name) {offsetof(struct dbt_frame, name), sizeof((struct dbt_frame *)0)->name, #name}
static const struct { size_t offset, bytes; const char *name; } fields[] = {
    FIELD(page_mask), FIELD(low_mask), FIELD(cross_mask), FIELD(align_mask),
    FIELD(jump_mask), FIELD(high_mask),
    FIELD(go), FIELD(fpu_live), FIELD(exit), FIELD(tmp), FIELD(flag_if), FIELD(flags_system),
    FIELD(no_irq_waiting), FIELD(arith_mask), FIELD(if_mask), FIELD(df_mask),
    FIELD(bit_mask32), FIELD(bit_mask64), FIELD(other_mask), FIELD(minus_other), FIELD(x87),
    FIELD(origin), FIELD(gpr), FIELD(target), FIELD(seg_base), FIELD(kernel_gs_base),
    FIELD(tsc_offset), FIELD(tsc_aux), FIELD(cluster), FIELD(jump), FIELD(jump2),
};
#undef FIELD

static void note_frame(size_t offset, char *note, size_t size)
{
    static const char *const gpr[X86_GPR_COUNT] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
    size_t gprs = offsetof(struct dbt_frame, gpr);

    if (offset >= gprs && offset < gprs + 8 * X86_GPR_COUNT) {
        snprintf(note, size, "guest %s", gpr[(offset - gprs) / 8]);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (offset < fields[i].offset || offset >= fields[i].offset + fields[i].bytes)
            continue;
        if (fields[i].bytes > 8)
            snprintf(note, size, "%s+%zu", fields[i].name, offset - fields[i].offset);
        else
            snprintf(note, size, "%s", fields[i].name);
        return;
    }
}

/* A jump: within the block its text says enough. */
static void note_jump(const struct dbt_vcpu *d, const struct dbt_block *b, uint64_t target,
                      char *note, size_t size)
{
    const struct dbt_block *to = NULL;

    if (target - (uint64_t)(uintptr_t)b->host < b->host_bytes)
        return;
    if (dbt_cache_contains(d->cache, target))
        to = dbt_cache_at(d->cache, target);
    if (to)
        snprintf(note, size, "to %s %" PRIx64, to->head ? "trace" : "block", to->rip);
    else
        snprintf(note, size, "to a thunk");
}

static void note_memory(const ZydisDecodedOperand *o, char *note, size_t size)
{
    int64_t disp = o->mem.disp.value - H_FRAME_BIAS;

    if (o->mem.base == ZYDIS_REGISTER_RIP && o->mem.type == ZYDIS_MEMOP_TYPE_MEM)
        snprintf(note, size, "a counter");
    else if (o->mem.segment == ZYDIS_REGISTER_GS)
        snprintf(note, size, "read table");
    else if (o->mem.base != ZYDIS_REGISTER_RSP || disp < 0)
        return;
    else if (o->mem.index != ZYDIS_REGISTER_NONE && disp >= (int64_t)sizeof(struct dbt_frame))
        snprintf(note, size, "write table");
    else
        note_frame((size_t)disp, note, size);
}

/* What is worth saying about a host instruction; "" if nothing. */
static void note_host(const struct dbt_vcpu *d, const struct dbt_block *b, uint32_t at,
                      char *note, size_t size)
{
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *code = b->host + at;
    size_t bytes = b->host_bytes - at;
    ZydisDecodedInstruction z;
    ZydisDecoder decoder;

    note[0] = '\0';
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, bytes, &z, operand)))
        return;
    for (unsigned i = 0; i < z.operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
            note_memory(o, note, size);
        else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && o->imm.is_relative)
            note_jump(d, b, (uint64_t)(uintptr_t)code + z.length + o->imm.value.u, note, size);
    }
}

/* ---- sites ------------------------------------------------------------------ */

static const struct dbt_site *site_ending_at(const struct dbt_block *b, uint32_t offset)
{
    for (unsigned i = 0; i < b->sites; i++)
        if (b->site[i].host_offset == offset)
            return &b->site[i];
    return NULL;
}

static void note_site(const struct dbt_vcpu *d, const struct dbt_block *b,
                      const struct dbt_site *s, char *note, size_t size)
{
    static const char *const kind[DBT_EXITS] = {
        [DBT_EXIT_SLOW] = "memory", [DBT_EXIT_INTERP] = "interpret", [DBT_EXIT_CHAIN] = "jump",
        [DBT_EXIT_LOOKUP] = "look-up", [DBT_EXIT_FPU] = "vector state", [DBT_EXIT_HOT] = "hot",
        [DBT_EXIT_HELPER] = "helper", [DBT_EXIT_DROPPED] = "dropped",
        [DBT_EXIT_FAULT] = "fault"};
    int n = snprintf(note, size, "EXIT of #%u: %s", s->insn, kind[s->kind]);

    if (s->kind == DBT_EXIT_SLOW)
        n += snprintf(note + n, size - (size_t)n, ", %s of %u", s->write ? "write" : "read",
                      s->size);
    if (s->kind == DBT_EXIT_CHAIN)
        n += snprintf(note + n, size - (size_t)n, " to %" PRIx64 "%s", s->target,
                      dbt_cache_linked(d->cache, b, s) ? ", linked" : "");
    if (s->kind != DBT_EXIT_LOOKUP)
        snprintf(note + n, size - (size_t)n, ", taken %u times", s->exits);
}

/* ---- one block --------------------------------------------------------------- */

/* Walks the guest code of a block: where the next instruction's bytes are. */
struct reader {
    const struct dbt_vcpu *d;
    const struct dbt_block *block;
    unsigned part;
    uint32_t at;                            /* within the part */
};

static const uint8_t *guest_page(const struct dbt_vcpu *d, uint64_t phys)
{
    return memory_host(d->interp.vm->vm.config.memory, gpa(phys & PAGE_MASK), PAGE_SIZE, false).p;
}

/* The next instruction's bytes; a lone one may go on in another page. */
static size_t guest_bytes(const struct reader *r, uint8_t bytes[X86_INSN_MAX_BYTES])
{
    const struct dbt_part *p = &r->block->part[r->part];
    uint64_t offset = (p->phys + r->at) & PAGE_OFFSET_MASK;
    size_t here = min_u64(X86_INSN_MAX_BYTES, PAGE_SIZE - offset);
    const uint8_t *page = guest_page(r->d, p->phys), *page2 = NULL;

    if (!page)
        return 0;
    memcpy(bytes, page + offset, here);
    if (here < X86_INSN_MAX_BYTES && r->block->phys2)
        page2 = guest_page(r->d, r->block->phys2);
    if (!page2)
        return here;
    memcpy(bytes + here, page2, X86_INSN_MAX_BYTES - here);
    return X86_INSN_MAX_BYTES;
}

/* The text of instruction `i`; its length, 0 when that is not known. */
static unsigned guest_text(struct reader *r, unsigned i, char text[TEXT_MAX])
{
    const struct dbt_block *b = r->block;
    unsigned mnemonic = b->insn[i].mnemonic, length;
    uint8_t bytes[X86_INSN_MAX_BYTES];
    size_t have = !b->dropped && r->part < b->parts ? guest_bytes(r, bytes) : 0;

    if (!have) {
        snprintf(text, TEXT_MAX, "%s ...",
                 mnemonic ? ZydisMnemonicGetString((ZydisMnemonic)mnemonic) : "(unknown)");
        return 0;
    }
    length = x86_disassemble(bytes, have, b->mode & DBT_MODE_BITS, b->insn[i].rip, text,
                             TEXT_MAX);
    r->at += length;
    if (r->at >= b->part[r->part].bytes) {
        r->part++;
        r->at = 0;
    }
    return length;
}

static const char *why_it_ends(const struct dbt_block *b, unsigned length)
{
    const struct dbt_insn *last = &b->insn[b->insns - 1];
    uint64_t next = last->rip + length;
    const char *why = "length limit, or the next instruction is left to a block of its own";

    if (b->dropped)
        return "dropped: its code was written to";
    if (!last->mnemonic)
        return "undecodable";
    if (b->phys2)
        return "its one instruction goes on in the next page";
    if (b->loops)
        return "leads back to its head";
    for (unsigned i = 0; i < b->sites; i++) {
        const struct dbt_site *s = &b->site[i];
        if (s->insn != b->insns - 1u)
            continue;
        if (s->kind == DBT_EXIT_INTERP)
            return "the last instruction is interpreted, or may be";
        if (s->kind == DBT_EXIT_CHAIN && s->target != next)
            why = "branch";
    }
    if (!(next & PAGE_OFFSET_MASK) || (next ^ last->rip) >> PAGE_SHIFT)
        return "end of the page";
    return b->insns >= DBT_BLOCK_INSNS || b->head ? why : "branch";
}

static void print_mode(const struct dbt_block *b, FILE *out)
{
    fprintf(out, "%u-bit %s%s%s%s%s", b->mode & DBT_MODE_BITS,
            b->mode & DBT_MODE_USER ? "user" : "kernel", b->mode & DBT_MODE_VEX ? " vex" : "",
            b->mode & DBT_MODE_IF ? " if" : "", b->mode & DBT_MODE_FS ? " fs" : "",
            b->mode & DBT_MODE_GS ? " gs" : "");
}

static void print_row(FILE *out, const char *left, const char *right, const char *note)
{
    if (note[0])
        fprintf(out, "%-56s | %-48s ; %s\n", left, right, note);
    else
        fprintf(out, "%-56s | %s\n", left, right);
}

/* "0x0000000000000012" is long for an offset. */
static void squeeze(char *text)
{
    char *digits = strstr(text, "0x0");
    size_t zeros;

    if (!digits)
        return;
    digits += 2;
    zeros = strspn(digits, "0");
    zeros -= zeros && !isxdigit((unsigned char)digits[zeros]);
    memmove(digits, digits + zeros, strlen(digits + zeros) + 1);
}

/* Host code from offset `from` to `to`, the first line beside `left`. */
static void print_host(const struct dbt_vcpu *d, const struct dbt_block *b, uint32_t from,
                       uint32_t to, const char *left, FILE *out)
{
    for (uint32_t at = from; at < to;) {
        char text[TEXT_MAX], row[TEXT_MAX + 16], note[NOTE_MAX];
        const struct dbt_site *site;
        /* As if the block lay at 0, like the offsets in front. */
        unsigned length = x86_disassemble(b->host + at, to - at, 64, at, text, sizeof text);

        squeeze(text);
        note_host(d, b, at, note, sizeof note);
        site = site_ending_at(b, at + length);
        if (site)
            note_site(d, b, site, note, sizeof note);
        snprintf(row, sizeof row, "%4x  %s", at, text);
        print_row(out, left, row, note);
        left = "";
        at += length;
    }
    if (from >= to)
        print_row(out, left, "", "");
}

static void print_code(const struct dbt_vcpu *d, const struct dbt_block *b, FILE *out,
                       unsigned *last_length)
{
    struct reader r = {.d = d, .block = b};

    print_host(d, b, 0, b->insn[0].host_offset, "(entry)", out);
    for (unsigned i = 0; i < b->insns; i++) {
        uint32_t to = i + 1u < b->insns ? b->insn[i + 1].host_offset : b->host_bytes;
        char text[TEXT_MAX], left[TEXT_MAX + 32];

        *last_length = guest_text(&r, i, text);
        snprintf(left, sizeof left, "#%-3u %" PRIx64 "  %s", i, b->insn[i].rip, text);
        print_host(d, b, b->insn[i].host_offset, to, left, out);
    }
}

static void print_block(const struct dbt_vcpu *d, const struct dbt_block *b, FILE *out)
{
    unsigned length = 0;

    fprintf(out, "\n%s %" PRIx64 "  phys %" PRIx64 "  ", b->head ? "trace" : "block", b->rip,
            b->phys);
    print_mode(b, out);
    fprintf(out, "  host %p+%u  vcpu %u\n", (const void *)b->host, b->host_bytes,
            d->interp.vcpu.index);
    if (b->ran)
        fprintf(out, "  ran %" PRIu64 " times; ", *b->ran);
    else if (b->countdown && !b->trace && *b->countdown <= DBT_HOT)
        fprintf(out, "  ran %u times; ", DBT_HOT - *b->countdown);
    else
        fprintf(out, "  ran %u times or more; ", DBT_HOT);
    fprintf(out, "%u instructions in %u piece%s%s%s\n", b->insns, b->parts,
            b->parts == 1 ? "" : "s", b->trace ? "; head of a trace, which runs instead" : "",
            b->uses_fpu ? "; wants vector state" : "");
    print_code(d, b, out, &length);
    fprintf(out, "  ends: %s\n", why_it_ends(b, length));
}

/* ---- all of them ---------------------------------------------------------------- */

static uint64_t work(const struct dbt_block *b)
{
    return b->ran ? *b->ran * b->insns : 0;
}

/* What ran most comes first; without counts, the order of translation stays. */
static int hotter(const void *left, const void *right)
{
    const struct dbt_block *a = *(struct dbt_block *const *)left;
    const struct dbt_block *b = *(struct dbt_block *const *)right;

    if (work(a) != work(b))
        return work(a) < work(b) ? 1 : -1;
    return (a->host > b->host) - (a->host < b->host);
}

void dbt_dump_vcpu(const struct dbt_vcpu *d, FILE *out)
{
    size_t n;
    struct dbt_block *const *all = dbt_cache_blocks(d->cache, &n);
    struct dbt_block **sorted = n ? malloc(n * sizeof *sorted) : NULL;

    if (!n)
        return;
    flockfile(out);                         /* other vCPUs may be at it, too */
    fprintf(out, "# vcpu %u: %zu blocks and traces, %zu KiB of host code\n", d->interp.vcpu.index,
            n, dbt_cache_used(d->cache) >> 10);
    if (sorted) {
        memcpy(sorted, all, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, hotter);
    }
    for (size_t i = 0; i < n; i++)
        print_block(d, sorted ? sorted[i] : all[i], out);
    fprintf(out, "\n");
    funlockfile(out);
    free(sorted);
}

void dbt_dump_code(struct engine_vm *vm, FILE *out)
{
    const struct interp_vm *m = (const struct interp_vm *)vm;

    for (unsigned i = 0; i < vm->config.cpus; i++)
        dbt_dump_vcpu((const struct dbt_vcpu *)m->vcpu[i], out);
}
